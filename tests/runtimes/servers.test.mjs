// Decides whether the installed package works in Node, Deno and Bun, and whether its entries are one module.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { project, scene, startStage, told, tool } from "./harness.mjs";

let stage;
before(async () => {
  stage = await startStage();
});
after(() => stage.stop());

const importing = (entry) => `
  import * as library from "${entry}";
  import { story } from "./story.mjs";
  console.log(JSON.stringify(await story(library, ${stage.script})));`;

const requiring = () => `
  const library = require("custom-template-jobs");
  import("./story.mjs")
    .then(({ story }) => story(library, ${stage.script}))
    .then((end) => console.log(JSON.stringify(end)));`;

test("node_imports_it", async () => {
  const directory = await scene("node-import", { "main.mjs": importing("custom-template-jobs") });
  await stage.plays(() => told(process.execPath, ["main.mjs"], directory));
});

test("node_requires_it", async () => {
  const directory = await scene("node-require", { "main.cjs": requiring() });
  await stage.plays(() => told(process.execPath, ["main.cjs"], directory));
});

test("node_imports_the_inline_entry", async () => {
  const directory = await scene("node-inline", { "main.mjs": importing("custom-template-jobs/inline") });
  await stage.plays(() => told(process.execPath, ["main.mjs"], directory));
});

test("deno_imports_it", async () => {
  const directory = await scene("deno", { "main.mjs": importing("custom-template-jobs") });
  const permissions = ["--no-prompt", "--allow-net=127.0.0.1", `--allow-read=${project}`];
  const env = { DENO_DIR: `${project}/.deno`, DENO_NO_UPDATE_CHECK: "1" };
  await stage.plays(() => told(tool(".bin/deno"), ["run", "--cached-only", ...permissions, "main.mjs"], directory, env));
});

test("deno_imports_the_inline_entry_without_leave_to_read_files", async () => {
  const directory = await scene("deno-inline", { "main.mjs": importing("custom-template-jobs/inline") });
  const env = { DENO_DIR: `${project}/.deno`, DENO_NO_UPDATE_CHECK: "1" };
  const args = ["run", "--cached-only", "--no-prompt", "--allow-net=127.0.0.1", "main.mjs"];
  await stage.plays(() => told(tool(".bin/deno"), args, directory, env));
});

test("bun_imports_it", async () => {
  const directory = await scene("bun-import", { "main.mjs": importing("custom-template-jobs") });
  await stage.plays(() => told(tool(".bin/bun"), ["--no-install", "main.mjs"], directory));
});

test("bun_requires_it", async () => {
  const directory = await scene("bun-require", { "main.cjs": requiring() });
  await stage.plays(() => told(tool(".bin/bun"), ["--no-install", "main.cjs"], directory));
});

test("slim_rejects_with_load_error_until_init_has_loaded_the_wasm", async () => {
  const main = `
    import { readFileSync } from "node:fs";
    import * as library from "custom-template-jobs/slim";
    import { story } from "./story.mjs";
    const name = (promise) => promise.then(() => "resolved", (error) => library.isTemplateJobsError(error) && error.name);
    const jobs = new library.TemplateJobs({ baseUrl: ${JSON.stringify(stage.url)}, apiId: "sandbox", apiKey: "sandbox" });
    const names = [
      await Promise.all([name(jobs.templates()), name(jobs.templates())]),
      await name(library.init("${stage.url}/no.wasm")),
      await name(library.init(new TextEncoder().encode("<!doctype html>"))),
      await name(jobs.templates()),
    ].flat();
    await library.init(readFileSync(new URL(import.meta.resolve("custom-template-jobs/custom_template_jobs_bg.wasm"))));
    names.push(await name(jobs.templates()));
    console.log(JSON.stringify({ names, end: await story(library, ${stage.script}) }));`;
  const directory = await scene("node-slim", { "main.mjs": main });
  await stage.plays(async () => {
    const { names, end } = await told(process.execPath, ["main.mjs"], directory);
    assert.deepEqual(names, [...Array(5).fill("LoadError"), "resolved"]);
    return end;
  });
});

test("all_entries_are_one_module", async () => {
  const main = `
    import * as main from "custom-template-jobs";
    import * as inline from "custom-template-jobs/inline";
    import * as slim from "custom-template-jobs/slim";
    await slim.init();
    const names = Object.keys(main);
    console.log(JSON.stringify(names.length > 10 && names.every((name) => main[name] === inline[name] && main[name] === slim[name])));`;
  const directory = await scene("node-entries", { "main.mjs": main });
  assert.equal(await told(process.execPath, ["main.mjs"], directory), true);
});
