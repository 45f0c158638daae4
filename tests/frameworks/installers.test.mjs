// Tests of the package under other package managers: pnpm's links, and Yarn's archives without node_modules.

import { copyFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { told } from "../runtimes/harness.mjs";
import { STORY, elsewhere, heldToTheTable, pins, project, run, stage, works } from "./harness.mjs";

const play = `story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }))`;
const files = {
  "app/story.mjs": STORY,
  "app/main.mjs": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.mjs";
    console.log(JSON.stringify(await ${play}));`,
  "app/main.cjs": `
    const library = require("custom-template-jobs");
    import("./story.mjs").then(({ story }) => ${play}).then((end) => console.log(JSON.stringify(end)));`,
};

/** A folder outside of what npm installed, with the tarball beside its files. */
async function app(name, dependencies, more) {
  const directory = await project(name, { dependencies, files: { ...files, ...more } });
  const manifest = { name: "app", private: true, dependencies: { "custom-template-jobs": "file:./package.tgz" } };
  await writeFile(join(directory, "app/package.json"), JSON.stringify(manifest));
  await copyFile(resolve(process.env.TARBALL), join(directory, "app/package.tgz"));
  return { copy: await elsewhere(join(directory, "app")), tools: join(directory, "node_modules") };
}

for (const [version, dependencies] of pins("pnpm")) {
  test(`pnpm_${version}_installs_what_runs`, async () => {
    const { copy, tools } = await app(`pnpm-${version}`, dependencies);
    await run(copy, process.execPath, [join(tools, "pnpm/bin/pnpm.cjs"), "install", "--store-dir", join(copy, ".store")]);
    for (const [main, how] of [["main.mjs", "`import`"], ["main.cjs", "`require`"]]) {
      await works("pnpm", version, how, () => told(process.execPath, [main], copy));
    }
  });
}

for (const [version, dependencies] of pins("yarn")) {
  test(`yarn_${version}_installs_what_runs_by_plug_n_play`, async () => {
    const settings = "nodeLinker: pnp\nenableTelemetry: false\nenableGlobalCache: false\n";
    const { copy, tools } = await app(`yarn-${version}`, dependencies, { "app/.yarnrc.yml": settings, "app/yarn.lock": "" });
    const yarn = join(tools, "@yarnpkg/cli-dist/bin/yarn.js");
    await run(copy, process.execPath, [yarn, "install"]);
    for (const [main, how] of [["main.mjs", "`import`"], ["main.cjs", "`require`"]]) {
      await works("Yarn Plug'n'Play", version, how, () => told(process.execPath, [yarn, "node", main], copy));
    }
  });
}

heldToTheTable(import.meta.url);
