// Tests of the package in Node, Deno and Bun, by `import` and by `require`, and of the file journal in each.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { EXPECTED } from "../node/journal-contract.mjs";
import { packageDirectory, project, scene, startStage, told, tool } from "./harness.mjs";
import { INLINE, MAIN, seen, version } from "./seen.mjs";

let stage;
before(async () => {
  stage = await startStage();
});
after(() => stage.stop());

const importing = (entry) => `
  import * as library from "${entry}";
  import { story } from "./story.mjs";
  console.log(JSON.stringify(await story(library, ${stage.script})));`;

const requiring = (entry) => `
  const library = require("${entry}");
  import("./story.mjs")
    .then(({ story }) => story(library, ${stage.script}))
    .then((end) => console.log(JSON.stringify(end)));`;

const DENO_ENV = { DENO_DIR: `${project}/.deno`, DENO_NO_UPDATE_CHECK: "1" };
const deno = (...permissions) => ["run", "--cached-only", "--no-prompt", "--allow-net=127.0.0.1", ...permissions, "main.mjs"];

/** Runs the story in a runtime, and records it. */
async function plays(where, entry, how, files, [program, args, env]) {
  const directory = await scene(`${where}-${how}-${entry === INLINE ? "inline" : "main"}`.toLowerCase().replaceAll(/\W+/g, "-"), files);
  await stage.plays(() => told(program, args, directory, env));
  await seen(where, await version(program), entry, how, { machine: where === "Node" });
}

test("node_imports_it", () => plays("Node", MAIN, "`import`", { "main.mjs": importing(MAIN) }, [process.execPath, ["main.mjs"]]));

test("node_requires_it", () => plays("Node", MAIN, "`require`", { "main.cjs": requiring(MAIN) }, [process.execPath, ["main.cjs"]]));

test("node_imports_the_inline_entry", () =>
  plays("Node", INLINE, "`import`", { "main.mjs": importing(INLINE) }, [process.execPath, ["main.mjs"]]));

test("node_requires_the_inline_entry", () =>
  plays("Node", INLINE, "`require`", { "main.cjs": requiring(INLINE) }, [process.execPath, ["main.cjs"]]));

// Jest and similar tools resolve `require` to these files; Node itself requires the modules.
for (const file of ["cjs/node.js", "cjs/inline.js"]) {
  test(`node_runs_${file}_which_is_common_js`, async () => {
    const directory = await scene(`node-${file.replace(/\W/g, "-")}`, { "main.cjs": requiring(join(packageDirectory, file)) });
    await stage.plays(() => told(process.execPath, ["--no-experimental-require-module", "main.cjs"], directory));
  });
}

test("deno_imports_it_without_permission_to_read_files", () =>
  plays("Deno", MAIN, "`import`", { "main.mjs": importing(MAIN) }, [tool(".bin/deno"), deno(), DENO_ENV]));

test("deno_imports_the_inline_entry", () =>
  plays("Deno", INLINE, "`import`", { "main.mjs": importing(INLINE) }, [tool(".bin/deno"), deno(), DENO_ENV]));

test("bun_imports_it", () => plays("Bun", MAIN, "`import`", { "main.mjs": importing(MAIN) }, [tool(".bin/bun"), ["--no-install", "main.mjs"]]));

test("bun_requires_it", () => plays("Bun", MAIN, "`require`", { "main.cjs": requiring(MAIN) }, [tool(".bin/bun"), ["--no-install", "main.cjs"]]));

test("bun_imports_the_inline_entry", () =>
  plays("Bun", INLINE, "`import`", { "main.mjs": importing(INLINE) }, [tool(".bin/bun"), ["--no-install", "main.mjs"]]));

const journal = `
  import { fileJournal } from "${MAIN}/file-journal";
  import { observe } from "./journal-contract.mjs";
  console.log(JSON.stringify(await observe(fileJournal("./journal"))));`;

for (const [where, program, args, env] of [
  ["node", process.execPath, ["main.mjs"]],
  ["deno", tool(".bin/deno"), deno(`--allow-read=${project}`, `--allow-write=${join(project, "deno-journal")}`), DENO_ENV],
  ["bun", tool(".bin/bun"), ["--no-install", "main.mjs"]],
]) {
  test(`in_${where}_the_file_journal_keeps_the_contract`, async () => {
    const contract = await readFile(new URL("../node/journal-contract.mjs", import.meta.url));
    const directory = await scene(`${where}-journal`, { "main.mjs": journal, "journal-contract.mjs": contract });
    assert.deepEqual(await told(program, args, directory, env), EXPECTED);
  });
}
