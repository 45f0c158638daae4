// Tests of server builds that run from a copy: traced functions, bundles and single executables.

import { cp, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { told } from "../runtimes/harness.mjs";
import { STORY, elsewhere, heldToTheTable, pins, project, run, stage, works } from "./harness.mjs";

const play = `story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }))`;
const files = {
  "story.mjs": STORY,
  "main.mjs": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.mjs";
    ${play}.then((end) => console.log(JSON.stringify(end)));`,
  "main.cjs": `
    const library = require("custom-template-jobs");
    require("custom-template-jobs/file-journal").fileJournal("journal");
    import("./story.mjs").then(({ story }) => ${play}).then((end) => console.log(JSON.stringify(end)));`,
  "trace.mjs": `
    import { nodeFileTrace } from "@vercel/nft";
    const { fileList } = await nodeFileTrace([process.argv[2]]);
    console.log(JSON.stringify([...fileList]));`,
  "functions/job.mjs": `
    import * as library from "custom-template-jobs";
    import { story } from "../story.mjs";
    export default async () => Response.json(await ${play});`,
  "functions/common.js": `
    const library = require("custom-template-jobs");
    exports.handler = async () => {
      const { story } = await import("../story.mjs");
      return { statusCode: 200, body: JSON.stringify(await ${play}) };
    };`,
  "functions/package.json": '{ "type": "commonjs" }',
  "zip.mjs": `
    import { zipFunctions } from "@netlify/zip-it-and-ship-it";
    await zipFunctions("functions", "out", { archiveFormat: "none", config: JSON.parse(process.argv[2]) });`,
};

/** Plays the story by a program in a copy of a folder that has nothing else. */
const playsIn = async (directory, program, args) => told(program, args, await elsewhere(directory));

for (const [version, dependencies] of pins("@vercel/nft")) {
  for (const main of ["main.mjs", "main.cjs"]) {
    test(`what_nft_${version}_traces_of_${main.replace(".", "_")}_runs`, async () => {
      const directory = await project("nft", { dependencies, files });
      const traced = await told(process.execPath, ["trace.mjs", main], directory);
      const copy = join(directory, "traced");
      for (const file of traced) {
        await mkdir(dirname(join(copy, file)), { recursive: true });
        await cp(join(directory, file), join(copy, file));
      }
      const how = main === "main.mjs" ? "`import`" : "`require`";
      await works("Vercel's file tracing", `nft ${version}`, how, () => playsIn(copy, process.execPath, [main]));
    });
  }
}

const module = 'const { default: play } = await import("./functions/job.mjs"); console.log(await (await play()).text());';
const common = 'const { default: { handler } } = await import("./common.js"); console.log((await handler({})).body);';

for (const [version, dependencies] of pins("zip-it-and-ship-it")) {
  for (const [name, how, call, config] of [
    ["job", "`import`", module, {}],
    ["common", "`require`", common, {}],
    ["common", "`require` with esbuild", common, { "*": { nodeBundler: "esbuild" } }],
  ]) {
    test(`what_netlify_${version}_ships_of${how.replaceAll(/\W+/g, "_").replace(/_?$/, "_")}runs`, async () => {
      const directory = await project("zip-it-and-ship-it", { dependencies, files });
      await run(directory, process.execPath, ["zip.mjs", JSON.stringify(config)]);
      const args = ["--input-type=module", "--eval", call];
      await works("Netlify's bundler", `zip-it-and-ship-it ${version}`, how, () => playsIn(join(directory, "out", name), process.execPath, args));
    });
  }
}

for (const [version, dependencies] of pins("esbuild")) {
  for (const [main, format, extension, how] of [
    ["main.mjs", "esm", "mjs", "esm"], ["main.mjs", "cjs", "cjs", "cjs"], ["main.cjs", "cjs", "cjs", "cjs of `require`"],
  ]) {
    test(`what_esbuild_${version}_bundles_of_${main.replace(".", "_")}_for_node_as_${format}_runs`, async () => {
      const directory = await project(`esbuild-${version}-node`, { dependencies, files });
      const flags = ["--bundle", "--platform=node", `--format=${format}`, `--outfile=dist/bundle.${extension}`];
      await run(directory, "esbuild", [main, ...flags]);
      await works("esbuild", version, `for Node, ${how}`, () => playsIn(join(directory, "dist"), process.execPath, [`bundle.${extension}`]));
    });
  }
}

for (const [version, dependencies] of pins("bun build")) {
  const made = () => project(`bun-build-${version}-servers`, { dependencies, files, scripts: true });

  for (const [target, program] of [["bun", (directory) => join(directory, "node_modules/.bin/bun")], ["node", () => process.execPath]]) {
    test(`what_bun_${version}_builds_for_${target}_runs`, async () => {
      const directory = await made();
      await run(directory, "bun", ["build", `--target=${target}`, "--outfile=dist/bundle.mjs", "main.mjs"]);
      await works("bun build", version, `\`--target=${target}\``, () => playsIn(join(directory, "dist"), program(directory), ["bundle.mjs"]));
    });
  }

  test(`what_bun_${version}_compiles_to_one_program_runs`, async () => {
    const directory = await made();
    await mkdir(join(directory, "dist"));
    await run(directory, "bun", ["build", "--compile", "--outfile=dist/program", "main.mjs"]);
    await works("bun build", version, "`--compile`", () => playsIn(join(directory, "dist"), "./program", []));
  });
}

heldToTheTable(import.meta.url);
