// Decides whether a page of each bundler, and one of none, works in a real Chromium under a strict Content-Security-Policy.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { readFile, readdir } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { nodeResolve } from "@rollup/plugin-node-resolve";
import { build as esbuild } from "esbuild";
import { chromium } from "playwright-core";
import { rollup } from "rollup";
import * as vite from "vite";
import webpack from "webpack";
import { PATIENCE, project, scene, startStage } from "./harness.mjs";

let stage;
let browser;
before(async () => {
  stage = await startStage();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    timeout: PATIENCE,
  });
});
after(async () => {
  await browser?.close();
  await stage.stop();
});

const main = (entry) => `
  import * as library from "${entry}";
  import { story } from "./story.mjs";
  globalThis.told = story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));`;
/** The package as a page beside `node_modules` sees it. */
const PLAIN = "../node_modules/custom-template-jobs/web.js";
const html = (script) => `<!doctype html><meta charset="utf-8"><title>story</title><link rel="icon" href="data:,">${script}`;
const MODULE = html('<script type="module" src="./main.js"></script>');
const BUILT_MODULE = html('<script type="module" src="./dist/main.js"></script>');
const BUILT_SCRIPT = html('<script defer src="./dist/main.js"></script>');

/** No script but the page's own, no code from strings; `wasm` is what WebAssembly needs. */
const policy = (wasm = "'wasm-unsafe-eval'") => `default-src 'self'; img-src data:; script-src 'self' ${wasm}; connect-src 'self' ${stage.url}`;
const strictest = () => `${policy()}; require-trusted-types-for 'script'`;

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** What a page says that this directory holds, served with a policy. */
async function page(directory, path, contentSecurityPolicy = strictest()) {
  const server = createServer(async ({ url }, response) => {
    const file = normalize(new URL(url, "http://localhost").pathname);
    const content = await readFile(join(directory, file)).catch(() => undefined);
    response.writeHead(content ? 200 : 404, {
      "content-type": TYPES[extname(file)] ?? "text/plain",
      "content-security-policy": contentSecurityPolicy,
    });
    response.end(content);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    return await visited(`http://127.0.0.1:${server.address().port}/${path}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** What the page at this address says. */
async function visited(url) {
  const context = await browser.newContext();
  try {
    const visit = await context.newPage();
    visit.setDefaultTimeout(PATIENCE);
    const errors = [];
    visit.on("pageerror", (error) => errors.push(String(error)));
    await visit.goto(url, { timeout: PATIENCE });
    const end = await visit.evaluate(() => globalThis.told);
    assert.deepEqual(errors, []);
    return end;
  } finally {
    await context.close();
  }
}

const wasmFiles = async (directory) => (await readdir(directory, { recursive: true })).filter((file) => file.endsWith(".wasm"));

test("a_page_without_a_bundler_runs_it", async () => {
  await scene("plain", { "main.js": main(PLAIN), "index.html": MODULE });
  await stage.plays(() => page(project, "plain/index.html"));
});

/** What a worker of either kind says to whom it hears. */
const worker = () => `
  import * as library from "${PLAIN}";
  import { story } from "./story.mjs";
  onmessage = ({ data: port }) => story(library, ${stage.script}).then((end) => port.postMessage(end));`;

/** A page that has its worker play the story. */
const working = (start) => `
  const { port1, port2 } = new MessageChannel();
  globalThis.told = new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data);
  });
  (${start}).postMessage(port2, [port2]);`;

test("a_dedicated_worker_runs_it", async () => {
  const main = working('new Worker("./worker.js", { type: "module" })');
  await scene("dedicated", { "main.js": main, "worker.js": worker(), "index.html": MODULE });
  await stage.plays(() => page(project, "dedicated/index.html", policy()));
});

test("a_service_worker_runs_it", async () => {
  const main = working('await navigator.serviceWorker.register("./worker.js", { type: "module" }), (await navigator.serviceWorker.ready).active');
  await scene("service", { "main.js": main, "worker.js": worker(), "index.html": MODULE });
  await stage.plays(() => page(project, "service/index.html", policy()));
});

test("a_page_whose_policy_forbids_wasm_is_told_so_by_load_error", async () => {
  await scene("forbidden", { "main.js": main(PLAIN), "index.html": MODULE });
  const { name, message } = await page(project, "forbidden/index.html", policy(""));
  assert.equal(name, "LoadError");
  assert.match(message, /wasm-unsafe-eval/);
});

test("vite_builds_it_with_one_wasm_file", async () => {
  const directory = await scene("vite", { "main.js": main("custom-template-jobs"), "index.html": MODULE });
  await vite.build({ root: directory, base: "./", configFile: false, logLevel: "error" });
  assert.equal((await wasmFiles(join(directory, "dist"))).length, 1);
  await stage.plays(() => page(join(directory, "dist"), "index.html"));
});

test("vite_serves_it_while_developing", async () => {
  const directory = await scene("vite-dev", { "main.js": main("custom-template-jobs"), "index.html": MODULE });
  const server = await vite.createServer({
    root: directory, cacheDir: join(directory, ".vite"), configFile: false, logLevel: "error",
    server: { host: "127.0.0.1", port: 0, hmr: false, watch: null, fs: { allow: [project] } },
    optimizeDeps: { include: ["custom-template-jobs"] },
  });
  try {
    await server.listen();
    await stage.plays(() => visited(`http://127.0.0.1:${server.httpServer.address().port}/`));
  } finally {
    await server.close();
  }
});

test("webpack_builds_it_with_one_wasm_file", async () => {
  const directory = await scene("webpack", { "main.js": main("custom-template-jobs"), "index.html": BUILT_SCRIPT });
  const compiler = webpack({
    mode: "production", context: directory, entry: "./main.js", output: { path: join(directory, "dist"), filename: "main.js" },
  });
  await new Promise((resolve, reject) => {
    compiler.run((error, stats) => {
      if (error || stats.hasErrors() || stats.hasWarnings()) reject(error ?? new Error(stats.toString()));
      else compiler.close(resolve);
    });
  });
  assert.equal((await wasmFiles(join(directory, "dist"))).length, 1);
  await stage.plays(() => page(directory, "index.html"));
});

test("esbuild_builds_the_inline_entry_into_one_file", async () => {
  const directory = await scene("esbuild", { "main.js": main("custom-template-jobs/inline"), "index.html": BUILT_MODULE });
  const outfile = join(directory, "dist/main.js");
  await esbuild({ absWorkingDir: directory, entryPoints: ["main.js"], bundle: true, minify: true, format: "esm", outfile, logLevel: "error" });
  await stage.plays(() => page(directory, "index.html"));
});

test("rollup_builds_the_inline_entry_into_one_file", async () => {
  const directory = await scene("rollup", { "main.js": main("custom-template-jobs/inline"), "index.html": BUILT_MODULE });
  const bundle = await rollup({
    input: join(directory, "main.js"), plugins: [nodeResolve({ browser: true })],
    onwarn: ({ message }) => assert.fail(message),
  });
  await bundle.write({ file: join(directory, "dist/main.js"), format: "es" });
  await bundle.close();
  await stage.plays(() => page(directory, "index.html"));
});
