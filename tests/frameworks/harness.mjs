// What the tests of frameworks share: a project with the tarball installed, its servers, and what is written down for the table.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join, resolve } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startBrowser } from "../runtimes/browser.mjs";
import { startStage } from "../runtimes/harness.mjs";
import { MAIN } from "../runtimes/seen.mjs";

/** How long a build may take, or a server until it answers. Nothing waits this long when all is well. */
const PATIENCE = 300_000;

const root = resolve(process.env.FRAMEWORKS_DIR ?? fileURLToPath(new URL("../../target/test/frameworks", import.meta.url)));

const versions = JSON.parse(await readFile(new URL("versions.json", import.meta.url), "utf8"));

/** The pins of a family by the name that the table has for each: `[["5", { vite: "5.4.21" }], …]`. */
export const pins = (family) => Object.entries(versions[family]);

/** The script that every project has somewhere. */
export const STORY = await readFile(new URL("../runtimes/story.mjs", import.meta.url), "utf8");

export const stage = await startStage();

/** A page that plays the story, and at `?worker` has a worker play it. */
export const PAGE_AND_WORKER = {
  "src/index.js": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    const inWorker = () => new Promise((told) => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      worker.onmessage = ({ data }) => told(data);
      worker.onerror = ({ message }) => told({ message });
    });
    const inPage = () => story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));
    globalThis.told = location.search === "?worker" ? inWorker() : inPage();`,
  "src/worker.js": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    story(library, ${stage.script}).catch(({ name, message }) => ({ name, message })).then((end) => postMessage(end));`,
  "src/story.js": STORY,
};

let browser;
after(async () => {
  await browser?.stop();
  await stage.stop();
});

/** What the page at this address says, in a Chromium that has seen none before. */
export async function visit(url) {
  browser ??= await startBrowser();
  return browser.visit(url);
}

/** What a server says at this address. */
export async function told(url, init) {
  const answer = await fetch(url, init);
  const text = await answer.text();
  assert.match(text, /^\{[^]*\}\s*$/, `${answer.status} ${text}`);
  return JSON.parse(text);
}

const QUIET = {
  ASTRO_TELEMETRY_DISABLED: "1", NEXT_TELEMETRY_DISABLED: "1", NG_CLI_ANALYTICS: "false", NUXT_TELEMETRY_DISABLED: "1", NO_COLOR: "1",
};

/** The variables of a program that runs in a project: its own tools come first, and nothing of our test runner is passed on. */
function surroundings(directory, env) {
  const { NODE_TEST_CONTEXT, NODE_OPTIONS, FORCE_COLOR, CI, ...ours } = process.env;
  const path = [join(directory, "node_modules/.bin"), dirname(process.execPath), env?.PATH ?? ours.PATH].join(delimiter);
  return { ...ours, ...QUIET, ...env, PATH: path };
}

/** Runs a program to its end, and returns what it printed. */
export async function run(directory, program, args, { env } = {}) {
  const options = { cwd: directory, timeout: PATIENCE, env: surroundings(directory, env), maxBuffer: 1 << 26 };
  const { stdout, stderr } = await promisify(execFile)(program, args, options).catch(({ message, stdout, stderr }) =>
    assert.fail(`${message}\n${stdout}\n${stderr}`),
  );
  return stdout + stderr;
}

/**
 * A project with these exact dependencies and files, and the packed package, as a person would have it. What an earlier run
 * installed is kept where the dependencies are the same; the package itself is always put in afresh, and all that tools
 * have made is cleared. `scripts` lets the dependencies run theirs.
 */
export async function project(name, { dependencies, files, manifest, scripts = false }) {
  const directory = join(root, name);
  const modules = join(directory, "node_modules");
  await mkdir(directory, { recursive: true });
  const stamp = join(modules, ".installed.json");
  const wanted = JSON.stringify({ dependencies, scripts });
  const kept = (await readFile(stamp, "utf8").catch(() => "")) === wanted;
  for (const entry of await readdir(directory)) {
    if (!kept || entry !== "node_modules") await rm(join(directory, entry), { recursive: true, force: true });
  }
  const all = { ...dependencies, [MAIN]: `file:${resolve(process.env.TARBALL)}` };
  const content = { name, version: "1.0.0", private: true, type: "module", ...manifest, dependencies: all };
  await writeFile(join(directory, "package.json"), JSON.stringify(content, null, 2));
  if (kept) await unpack(modules);
  else {
    const quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
    await run(directory, "npm", ["install", ...quiet, ...(scripts ? [] : ["--ignore-scripts"])]);
    await writeFile(stamp, wanted);
  }
  for (const [file, content] of Object.entries(files)) {
    await mkdir(dirname(join(directory, file)), { recursive: true });
    await writeFile(join(directory, file), content);
  }
  return directory;
}

/** Puts the tarball's files where an earlier package was, and clears what bundlers made of that. */
async function unpack(modules) {
  const made = (await readdir(modules)).filter((name) => /^\.(?!bin$|installed\.json$|package-lock\.json$)/.test(name));
  for (const name of [MAIN, ...made]) await rm(join(modules, name), { recursive: true, force: true });
  await mkdir(join(modules, MAIN));
  await run(modules, "tar", ["-xzf", resolve(process.env.TARBALL), "-C", MAIN, "--strip-components=1"]);
}

/** Takes every .wasm out of what a tool built, as a server does that knows nothing of it. */
export async function withoutTheWasm(directory) {
  const files = (await readdir(join(directory, "dist"), { recursive: true })).filter((file) => file.endsWith(".wasm"));
  for (const file of files) await rm(join(directory, "dist", file));
}

/** A copy of a folder, elsewhere on the disk: it runs with what it holds, or not at all. */
export async function elsewhere(directory) {
  const copy = await mkdtemp(join(tmpdir(), `${basename(directory)}-`));
  after(() => rm(copy, { recursive: true, force: true }));
  await cp(directory, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

const groups = new Set();
const kill = (pid, signal) => {
  try {
    process.kill(-pid, signal);
  } catch {} // it has ended
};
process.on("exit", () => groups.forEach((pid) => kill(pid, "SIGKILL")));
process.once("SIGTERM", () => process.exit(143));
process.once("SIGINT", () => process.exit(130));

/**
 * Starts a server, as a group of processes of its own, and waits until `ready`, a path, is answered. `{port}` in its
 * arguments is a free port, which `PORT` has as well.
 */
async function start(directory, program, args, { env, ready = "/" } = {}) {
  const port = await freePort();
  const words = args.map((word) => word.replace("{port}", port));
  const child = spawn(program, words, {
    cwd: directory, detached: true, stdio: ["ignore", "pipe", "pipe"],
    env: surroundings(directory, { PORT: String(port), HOST: "127.0.0.1", ...env }),
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const ended = once(child, "close").catch((error) => (output += error));
  groups.add(child.pid);
  const stop = async () => {
    kill(child.pid, "SIGKILL");
    groups.delete(child.pid);
    await ended;
  };
  const url = `http://127.0.0.1:${port}`;
  const late = AbortSignal.timeout(PATIENCE);
  let answered = false;
  while (!answered && !late.aborted && child.exitCode === null && child.signalCode === null) {
    answered = await fetch(url + ready, { signal: late }).then(() => true, () => sleep(200, false));
  }
  if (!answered) await stop();
  assert.ok(answered, `${program} ${words.join(" ")} did not answer:\n${output}`);
  return { url, output: () => output, stop };
}

/** Runs a server while `use` has its address; where that fails, what the server printed is part of the error. */
export async function serve(directory, program, args, options, use) {
  const server = await start(directory, program, args, options);
  try {
    return await use(server.url);
  } catch (error) {
    throw new Error(`${error.stack}\n${server.output()}`);
  } finally {
    await server.stop();
  }
}

const records = [];

/** Plays the story by `act`, which returns its end, and writes down that it ended well: with a video, for one charge. */
export async function works(where, version, how, act) {
  await stage.plays(act);
  records.push({ where, version, entry: MAIN, how });
}

/** The last test of each file: what ran is what the table is made from. With BLESS=1 it is written down instead. */
export function heldToTheTable(file) {
  test("what_ran_is_what_the_table_has", async () => {
    const name = basename(fileURLToPath(file), ".test.mjs");
    const path = new URL(`seen/${name}.json`, import.meta.url);
    const lines = new Set(records.map((record) => `  ${JSON.stringify(record)}`));
    const text = `[\n${[...lines].sort().join(",\n")}\n]\n`;
    await mkdir(new URL("seen/", import.meta.url), { recursive: true });
    if (process.env.BLESS) await writeFile(path, text);
    else assert.equal(await readFile(path, "utf8").catch(() => ""), text, "BLESS=1 cargo xtask test frameworks rewrites it");
  });
}
