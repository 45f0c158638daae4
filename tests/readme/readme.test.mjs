// Tests of the package README's tables: where the package was tested, and the size of a page. BLESS=1 rewrites the README.

import assert from "node:assert/strict";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { INLINE, MAIN } from "../runtimes/seen.mjs";

const README = new URL("../../pkg-template/README.md", import.meta.url);
/** The records of the suite `frameworks`, which takes long and runs separately, so they are kept in the repository. */
const FRAMEWORKS = new URL("../frameworks/seen/", import.meta.url);

/** The order of the rows. Others come last. */
const ORDER = [
  "Chromium", "Firefox", "WebKitGTK", "Next.js", "Nuxt", "SvelteKit", "Astro", "React Router", "Angular CLI",
  "Vite", "webpack", "Rspack", "Parcel", "esbuild", "Rollup", "bun build",
  "Node", "Deno", "Bun", "pnpm", "Yarn Plug'n'Play", "Vercel's file tracing", "Netlify's bundler",
  "Cloudflare Workers", "Vercel's edge runtime", "Jest", "Vitest",
];
/** Rows of other suites, which are kept if those suites did not run. */
const ELSEWHERE = ["Firefox", "WebKitGTK"];
/** The rank of a row; `Next.js: route in Node` ranks as `Next.js`. */
const place = ({ where }) => (ORDER.findIndex((name) => where === name || where.startsWith(`${name}: `)) + 1 || Infinity);

/** The records of all suites. */
async function sights(directory) {
  const files = (await readdir(directory, { recursive: true })).filter((file) => file.endsWith(".json"));
  const records = await Promise.all(files.map(async (file) => JSON.parse(await readFile(join(directory, file), "utf8"))));
  return records.flat();
}

/** The text between two markers with this name in the README; `edge` is between the markers and the text. */
const between = (name, edge) => new RegExp(`(?<=<!-- ${name} -->${edge})[^]*?(?=${edge}<!-- /${name} -->)`);

/** Asserts the text at a marker of the README, or writes it with BLESS. */
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

/** The ways as one text: `build, dev; worker: build` for `build`, `dev` and `worker, build`, with versions where they differ. */
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

/** The table, one row for each place. `written` is the README's present table. */
function table(records, written) {
  const rows = new Map(written.split("\n").slice(2).map((row) => [cells(row)[0], cells(row)]));
  const found = [...new Set(records.map(({ where }) => where))].map((where) => {
    const here = records.filter((record) => record.where === where);
    const versions = versionsOf(here);
    const how = (entry) => ways(here.filter((record) => record.entry === entry), versions);
    // The version of an unpinned program changes with the machine's updates, so the README's number is kept.
    const shown = here[0].machine && !process.env.BLESS ? rows.get(where)?.[1] : versions;
    return { where, row: [where, shown ?? versions, how(MAIN), how(INLINE)] };
  });
  const kept = ELSEWHERE.filter((where) => rows.has(where) && !found.some((row) => row.where === where));
  const all = [...found, ...kept.map((where) => ({ where, row: rows.get(where) }))].sort((a, b) => place(a) - place(b));
  const head = ["", "seen with", `\`${MAIN}\``, "`/inline`"];
  return [head, head.map(() => "---"), ...all.map(({ row }) => row)].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

test("the_table_of_runtimes_equals_the_records_of_the_tests", async () => {
  const records = await sights(process.env.SEEN_DIR);
  assert.ok(records.length > 20, `only ${records.length} were written down`);
  const frameworks = await sights(fileURLToPath(FRAMEWORKS));
  await says("runtimes", "\n", (written) => table([...records, ...frameworks], written));
});

for (const [name, variable] of [["size", "PAGE_BROTLI"], ["inline-size", "INLINE_BROTLI"]]) {
  test(`the_${name}_equals_the_measured_size_to_a_kilobyte`, async () => {
    const brotli = Number(process.env[variable]);
    assert.ok(brotli > 1_000);
    await says(name, "", (written) => {
      const near = Math.abs(parseInt(written, 10) * 1_000 - brotli) < 1_000;
      return near && !process.env.BLESS ? written : `${Math.round(brotli / 1_000)} KB`;
    });
  });
}
