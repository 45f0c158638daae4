// Decides whether a page that a bundler built from the main entry works, without a word of configuration.

import { test } from "node:test";
import { html, serving, strictest } from "../runtimes/browser.mjs";
import { STORY, heldToTheTable, pins, project, run, stage, visit, works } from "./harness.mjs";

const MODULE = "module.html";
const SCRIPT = "script.html";

const files = {
  "src/index.js": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    globalThis.told = story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));`,
  "src/story.js": STORY,
  "source.html": html('<script type="module" src="./src/index.js"></script>'),
  [MODULE]: html('<script type="module" src="./dist/main.js"></script>'),
  [SCRIPT]: html('<script defer src="./dist/main.js"></script>'),
};

const ESBUILD = ["src/index.js", "--bundle", "--minify"];
// Each way to build: how the table has it, the command, the page, and the policy where it is not the strictest.
const ways = {
  "bun build": [
    ["build", "bun", ["build", "src/index.js", "--target=browser", "--outfile=dist/main.js"], MODULE],
    ["build with `--splitting`", "bun", ["build", "src/index.js", "--target=browser", "--splitting", "--outdir=dist", "--entry-naming=main.js"], MODULE],
  ],
  esbuild: [
    ["esm", "esbuild", [...ESBUILD, "--format=esm", "--outfile=dist/main.js"], MODULE],
    ["esm with `--splitting`", "esbuild", [...ESBUILD, "--format=esm", "--splitting", "--outdir=dist", "--entry-names=main"], MODULE],
    ["iife", "esbuild", [...ESBUILD, "--outfile=dist/main.js"], SCRIPT],
  ],
  // Parcel writes an import map into the page, whose hash the strictest policy would have to name.
  Parcel: [["build", "parcel", ["build", "source.html", "--public-url=./"], "dist/source.html", ""]],
  Rollup: [["build", "rollup", ["src/index.js", "--plugin=node-resolve={browser:true}", "--dir=dist", "--entryFileNames=main.js"], MODULE]],
  Rspack: [["build", "rspack", ["build", "--mode=production"], SCRIPT]],
  webpack: [["build", "webpack", ["--mode=production"], SCRIPT]],
};

for (const [where, all] of Object.entries(ways)) {
  for (const [version, dependencies] of pins(where)) {
    for (const [how, program, args, page, policy = strictest(stage)] of all) {
      test(`${where} ${version}: ${how}`.replaceAll(/\W+/g, "_").toLowerCase(), async () => {
        const name = `${where}-${version}`.toLowerCase().replaceAll(" ", "-");
        const directory = await project(name, { dependencies, files, scripts: where === "bun build" });
        await run(directory, program, args);
        await works(where, version, how, () => serving(directory, { "*": policy }, (url) => visit(`${url}/${page}`)));
      });
    }
  }
}

heldToTheTable(import.meta.url);
