// Decides whether the package's README says what the tests saw: where the package ran, and what a page of it weighs.
// With BLESS=1 the README is rewritten instead.

import assert from "node:assert/strict";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { INLINE, MAIN } from "../runtimes/seen.mjs";

const README = new URL("../../pkg-template/README.md", import.meta.url);
/** What the suite `frameworks` wrote down. It takes long and does not run with this one, so each of its files is held there. */
const FRAMEWORKS = new URL("../frameworks/seen/", import.meta.url);

/** In this order; what else was seen comes last. */
const ORDER = [
  "Chromium", "Firefox", "WebKitGTK", "Next.js", "Nuxt", "SvelteKit", "Astro", "React Router", "Angular CLI",
  "Vite", "webpack", "Rspack", "Parcel", "esbuild", "Rollup", "bun build",
  "Node", "Deno", "Bun", "pnpm", "Yarn Plug'n'Play", "Vercel's file tracing", "Netlify's bundler",
  "Cloudflare Workers", "Vercel's edge runtime", "Jest", "Vitest",
];
/** Each of these belongs to a suite of its own, and stays as it is where that suite was not run. */
const ELSEWHERE = ["Firefox", "WebKitGTK"];
/** `Next.js: route in Node` stands where `Next.js` does. */
const place = ({ where }) => (ORDER.findIndex((name) => where === name || where.startsWith(`${name}: `)) + 1 || Infinity);

/** What the suites wrote down, each in its own directory. */
async function sights(directory) {
  const files = (await readdir(directory, { recursive: true })).filter((file) => file.endsWith(".json"));
  const records = await Promise.all(files.map(async (file) => JSON.parse(await readFile(join(directory, file), "utf8"))));
  return records.flat();
}

/** The text between two markers of the README, told apart by name; `edge` stands between them and the text. */
const between = (name, edge) => new RegExp(`(?<=<!-- ${name} -->${edge})[^]*?(?=${edge}<!-- /${name} -->)`);

/** Holds the README to what it should say at a marker. */
async function says(name, edge, wanted) {
  const readme = await readFile(README, "utf8");
  const [written] = between(name, edge).exec(readme) ?? assert.fail(`the README has no <!-- ${name} -->`);
  const text = wanted(written);
  if (process.env.BLESS) await writeFile(README, readme.replace(between(name, edge), () => text));
  else assert.equal(written, text, "BLESS=1 cargo xtask test runtimes rewrites it");
}

const cells = (row) => row.split("|").slice(1, -1).map((cell) => cell.trim());

const versionsOf = (records) =>
  [...new Set(records.map(({ version }) => version))].sort((a, b) => a.localeCompare(b, "en", { numeric: true })).join(", ");

/** `build, dev; worker: build` for what ran as `build`, `dev` and `worker, build`, with the versions where those are not all. */
function ways(records, versions) {
  const groups = new Map();
  for (const way of [...new Set(records.map(({ how }) => how))].sort()) {
    const [what, when] = way.includes(", ") ? way.split(", ") : ["", way];
    const seen = versionsOf(records.filter(({ how }) => how === way));
    groups.set(what, [...(groups.get(what) ?? []), seen === versions ? when : `${when} (${seen})`]);
  }
  const sorted = [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([what, all]) => (what ? `${what}: ` : "") + all.join(", ")).join("; ");
}

/** The table, one row for each place; `written` is the one that the README has. */
function table(records, written) {
  const rows = new Map(written.split("\n").slice(2).map((row) => [cells(row)[0], cells(row)]));
  const found = [...new Set(records.map(({ where }) => where))].map((where) => {
    const here = records.filter((record) => record.where === where);
    const versions = versionsOf(here);
    const how = (entry) => ways(here.filter((record) => record.entry === entry), versions);
    // The version of what the machine has changes with its updates, and that is no news of ours.
    const shown = here[0].machine && !process.env.BLESS ? rows.get(where)?.[1] : versions;
    return { where, row: [where, shown ?? versions, how(MAIN), how(INLINE)] };
  });
  const kept = ELSEWHERE.filter((where) => rows.has(where) && !found.some((row) => row.where === where));
  const all = [...found, ...kept.map((where) => ({ where, row: rows.get(where) }))].sort((a, b) => place(a) - place(b));
  const head = ["", "seen with", `\`${MAIN}\``, "`/inline`"];
  return [head, head.map(() => "---"), ...all.map(({ row }) => row)].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

test("the_table_of_runtimes_is_what_the_tests_saw", async () => {
  const records = await sights(process.env.SEEN_DIR);
  assert.ok(records.length > 20, `only ${records.length} were written down`);
  const frameworks = await sights(fileURLToPath(FRAMEWORKS));
  await says("runtimes", "\n", (written) => table([...records, ...frameworks], written));
});

for (const [name, variable] of [["size", "PAGE_BROTLI"], ["inline-size", "INLINE_BROTLI"]]) {
  test(`the_${name}_is_what_pack_measured_to_a_kilobyte`, async () => {
    const brotli = Number(process.env[variable]);
    assert.ok(brotli > 1_000);
    await says(name, "", (written) => {
      const near = Math.abs(parseInt(written, 10) * 1_000 - brotli) < 1_000;
      return near && !process.env.BLESS ? written : `${Math.round(brotli / 1_000)} KB`;
    });
  });
}
