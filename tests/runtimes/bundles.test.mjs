// Tests of the pages of each bundler in Chromium under the strictest Content-Security-Policy.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { nodeResolve } from "@rollup/plugin-node-resolve";
import { build as esbuild } from "esbuild";
import { rollup } from "rollup";
import * as vite from "vite";
import webpack from "webpack";
import { html, startBrowser, strictest, telling } from "./browser.mjs";
import { PATIENCE, project, scene, startStage, tool } from "./harness.mjs";
import { INLINE, MAIN, pinned, seen } from "./seen.mjs";

const MODULE = html('<script type="module" src="./main.js"></script>');
const BUILT_MODULE = html('<script type="module" src="./dist/main.js"></script>');
const BUILT_SCRIPT = html('<script defer src="./dist/main.js"></script>');

let stage;
let browser;
before(async () => {
  stage = await startStage();
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  await stage.stop();
});

/** Runs the story in a page that a tool built, and records it. */
async function builds(where, entry, directory, page, policy = strictest(stage)) {
  await stage.plays(() => browser.page(directory, page, policy));
  await seen(where, await pinned(where.toLowerCase()), entry, "build");
}

const wasmFiles = async (directory) => (await readdir(directory, { recursive: true })).filter((file) => file.endsWith(".wasm"));

for (const entry of [MAIN, INLINE]) {
  const inline = entry === INLINE;
  const [name, files] = inline ? ["the_inline_entry_into_no_wasm_file", 0] : ["it_with_one_wasm_file", 1];
  const at = (where) => (inline ? `${where}-inline` : where);

  test(`vite_builds_${name}`, async () => {
    const directory = await scene(at("vite"), { "main.js": telling(entry, stage), "index.html": MODULE });
    await vite.build({ root: directory, base: "./", configFile: false, logLevel: "error" });
    assert.equal((await wasmFiles(join(directory, "dist"))).length, files);
    await builds("Vite", entry, join(directory, "dist"), "index.html");
  });

  test(`webpack_builds_${name}`, async () => {
    const directory = await scene(at("webpack"), { "main.js": telling(entry, stage), "index.html": BUILT_SCRIPT });
    const compiler = webpack({
      mode: "production", context: directory, entry: "./main.js", output: { path: join(directory, "dist"), filename: "main.js" },
      // webpack warns of scripts over 244 KiB, as the one with the wasm is; the README says so.
      performance: { hints: inline ? false : "warning" },
    });
    await new Promise((resolve, reject) => {
      compiler.run((error, stats) => {
        if (error || stats.hasErrors() || stats.hasWarnings()) reject(error ?? new Error(stats.toString()));
        else compiler.close(resolve);
      });
    });
    assert.equal((await wasmFiles(join(directory, "dist"))).length, files);
    await builds("webpack", entry, directory, "index.html");
  });

  test(`parcel_builds_${name}`, async () => {
    const directory = await scene(at("parcel"), { "main.js": telling(entry, stage), "index.html": MODULE });
    const flags = ["--dist-dir", "dist", "--public-url", "./", "--cache-dir", ".cache", "--no-source-maps", "--no-autoinstall", "--log-level", "warn"];
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath, [tool("parcel/lib/bin.js"), "build", "index.html", ...flags], { cwd: directory, timeout: PATIENCE },
    );
    assert.equal(stdout + stderr, "");
    const dist = join(directory, "dist");
    assert.equal((await wasmFiles(dist)).length, files);
    // Parcel puts the URL of the .wasm into an inline import map, which the policy must allow.
    const map = /<script type="?importmap"?>(.*?)<\/script>/.exec(await readFile(join(dist, "index.html"), "utf8"))?.[1];
    assert.equal(map === undefined, inline);
    const hash = inline ? "" : ` 'sha256-${createHash("sha256").update(map).digest("base64")}'`;
    await builds("Parcel", entry, dist, "index.html", strictest(stage, `'wasm-unsafe-eval'${hash}`));
  });
}

test("vite_serves_it_in_development", async () => {
  const directory = await scene("vite-dev", { "main.js": telling(MAIN, stage), "index.html": MODULE });
  const server = await vite.createServer({
    root: directory, cacheDir: join(directory, ".vite"), configFile: false, logLevel: "error",
    server: { host: "127.0.0.1", port: 0, hmr: false, watch: null, fs: { allow: [project] } },
  });
  try {
    await server.listen();
    await stage.plays(() => browser.visit(`http://127.0.0.1:${server.httpServer.address().port}/`));
  } finally {
    await server.close();
  }
  await seen("Vite", await pinned("vite"), MAIN, "dev server");
});

for (const entry of [MAIN, INLINE]) {
  const name = entry === INLINE ? "the_inline_entry" : "it";
  const at = (where) => (entry === INLINE ? `${where}-inline` : where);

  // Neither copies the .wasm, so the main entry falls back to the scripts that carry it.
  for (const [format, page] of [["esm", BUILT_MODULE], ["iife", BUILT_SCRIPT]]) {
    test(`esbuild_builds_${name}_into_one_file_as_${format}`, async () => {
      const directory = await scene(`${at("esbuild")}-${format}`, { "main.js": telling(entry, stage), "index.html": page });
      const outfile = join(directory, "dist/main.js");
      // `iife` has no import.meta.url; esbuild warns of that.
      const logLevel = format === "iife" ? "silent" : "error";
      await esbuild({ absWorkingDir: directory, entryPoints: ["main.js"], bundle: true, minify: true, format, outfile, logLevel });
      await builds("esbuild", entry, directory, "index.html");
    });
  }

  test(`rollup_builds_${name}`, async () => {
    const directory = await scene(at("rollup"), { "main.js": telling(entry, stage), "index.html": BUILT_MODULE });
    const bundle = await rollup({
      input: join(directory, "main.js"), plugins: [nodeResolve({ browser: true })],
      onwarn: ({ message }) => assert.fail(message),
    });
    await bundle.write({ dir: join(directory, "dist"), format: "es" });
    await bundle.close();
    await builds("Rollup", entry, directory, "index.html");
  });
}
