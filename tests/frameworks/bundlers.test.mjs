// Tests of pages that bundlers build from the main entry without configuration, also if the .wasm is not served.

import { test } from "node:test";
import { html, policy as policyOf, serving, strictest } from "../runtimes/browser.mjs";
import { PAGE_AND_WORKER, heldToTheTable, pins, project, run, stage, visit, withoutTheWasm, works } from "./harness.mjs";

const MODULE = "module.html";
const SCRIPT = "script.html";

const files = {
  ...PAGE_AND_WORKER,
  "src/page.js": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    globalThis.told = story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));`,
  "page.html": html('<script type="module" src="./src/page.js"></script>'),
  "source.html": html('<script type="module" src="./src/index.js"></script>'),
  [MODULE]: html('<script type="module" src="./dist/main.js"></script>'),
  [SCRIPT]: html('<script defer src="./dist/main.js"></script>'),
};

const PARCEL = ["--public-url=./", "--cache-dir=.cache"];
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
  // It makes other bundles where the scripts that carry the wasm are shared with a worker.
  Parcel: ["page.html", "source.html"].map((page) => ["build", "parcel", ["build", page, ...PARCEL], `dist/${page}`, ""]),
  Rollup: [["build", "rollup", ["src/index.js", "--plugin=node-resolve={browser:true}", "--dir=dist", "--entryFileNames=main.js"], MODULE]],
  Rspack: [["build", "rspack", ["build", "--mode=production"], SCRIPT]],
  webpack: [["build", "webpack", ["--mode=production"], SCRIPT]],
};

/** Those that know what `new Worker(new URL("./worker.js", import.meta.url))` is. */
const WITH_WORKERS = ["Parcel", "Rspack", "webpack"];

for (const [where, all] of Object.entries(ways)) {
  for (const [version, dependencies] of pins(where)) {
    for (const [how, program, args, page, policy = strictest(stage)] of all) {
      test(`${where} ${version}: ${how} of ${page}`.replaceAll(/\W+/g, "_").toLowerCase(), async () => {
        const name = `${where}-${version}`.toLowerCase().replaceAll(" ", "-");
        const directory = await project(name, { dependencies, files, scripts: where === "bun build" });
        await run(directory, program, args);
        const at = (search, use = policy) => serving(directory, { "*": use }, (url) => visit(`${url}/${page}${search}`));
        await works(where, version, how, () => at(""));
        // webpack makes a URL of a string for a worker, and for a script that it loads later: what Trusted Types are there to refuse.
        const common = policy && policyOf(stage);
        const worker = WITH_WORKERS.includes(where) && page !== "dist/page.html";
        if (worker) await works(where, version, `worker, ${how}`, () => at("?worker", common));
        await withoutTheWasm(directory);
        await stage.plays(() => at("", common));
        if (worker) await stage.plays(() => at("?worker", common));
      });
    }
  }
}

heldToTheTable(import.meta.url);
