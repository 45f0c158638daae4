// Measures the time from a click to a page's first request on a slow connection with an empty cache: with no preparation, with
// `init()` at the start of the script, with a preloaded .wasm, and with both.
//
// Chromium is throttled to 10 Mbit/s and 40 ms. The server compresses with brotli. Times are the page's own, from the click until
// the client calls `fetch`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { build } from "vite";
import { entry, median, startBrowser } from "./harness.mjs";

const PAGES = 9;
const WAYS = { "neither": {}, "init()": { init: true }, "preload": { preload: true }, "preload and init()": { init: true, preload: true } };
const CLICKS = { "click at once": 0, "click after 1 s": 1_000 };
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

const page = ({ init }) => `
  import { TemplateJobs, init } from "custom-template-jobs";
  ${init ? "init().catch(() => {});" : ""}
  const called = new Promise((resolve) => {
    const fetch = async () => (resolve(performance.now()), Response.json([]));
    const jobs = new TemplateJobs({ relay: "/relay", fetch });
    globalThis.click = () => (jobs.templates().catch(() => {}), performance.now());
  });
  globalThis.called = called;`;

/** Builds the page of each way with Vite, and returns its files. */
async function built(directory) {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const files = new Map();
  for (const [index, way] of Object.values(WAYS).entries()) {
    const root = join(directory, `page-${index}`);
    await mkdir(root);
    await writeFile(join(root, "main.js"), page(way));
    await writeFile(join(root, "index.html"), '<!doctype html><link rel="icon" href="data:,"><script type="module" src="./main.js"></script>');
    await build({
      root, base: "./", configFile: false, logLevel: "error",
      resolve: { alias: { "custom-template-jobs": join(entry("custom-template-jobs"), "../../node_modules/custom-template-jobs/web.js") } },
    });
    for (const file of await readdir(join(root, "dist"), { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const path = join(file.parentPath, file.name);
      let body = await readFile(path);
      if (way.preload && file.name === "index.html") {
        const wasm = (await readdir(join(root, "dist/assets"))).find((name) => name.endsWith(".wasm"));
        body = Buffer.from(String(body).replace("<head>", "").replace("<!doctype html>", `<!doctype html><link rel="preload" as="fetch" crossorigin href="./assets/${wasm}">`));
      }
      files.set(`/page-${index}${path.slice(join(root, "dist").length)}`, { type: TYPES[extname(path)], body: brotliCompressSync(body) });
    }
  }
  return files;
}

const files = await built(join(process.argv[2], "preload"));
const requested = [];
const server = createServer(({ url }, response) => {
  const file = files.get(url);
  requested.push(url);
  if (!file) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": file.type, "content-encoding": "br", "content-length": file.body.length, "cache-control": "no-store" });
  response.end(file.body);
}).listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${server.address().port}`;
const browser = await startBrowser();

/** Milliseconds from the click to the first request, in a new page. */
async function clicked(index, wait) {
  const context = await browser.newContext();
  try {
    const tab = await context.newPage();
    const devtools = await context.newCDPSession(tab);
    await devtools.send("Network.enable");
    await devtools.send("Network.emulateNetworkConditions", { offline: false, latency: 40, downloadThroughput: 1_250_000, uploadThroughput: 1_250_000 });
    await tab.addInitScript((wait) => {
      // The click comes `wait` ms after the script has run, even on a busy machine.
      addEventListener("DOMContentLoaded", () => setTimeout(() => {
        const from = globalThis.click();
        globalThis.took = globalThis.called.then((at) => at - from);
      }, wait));
    }, wait);
    requested.length = 0;
    await tab.goto(`${url}/page-${index}/index.html`);
    await tab.waitForFunction(() => globalThis.took);
    const took = await tab.evaluate(() => globalThis.took);
    // The preloaded file must be the one that is used.
    assert.equal(requested.filter((path) => path.endsWith(".wasm")).length, 1, requested.join(" "));
    return took;
  } finally {
    await context.close();
  }
}

const results = {};
for (const [click, wait] of Object.entries(CLICKS)) {
  const times = Object.fromEntries(Object.keys(WAYS).map((name) => [name, []]));
  for (let round = -1; round < PAGES; round++) {
    for (const [index, name] of Object.keys(WAYS).entries()) {
      const took = await clicked(index, wait);
      if (round >= 0) times[name].push(took);
    }
  }
  const bare = median(times.neither);
  results[click] = Object.fromEntries(Object.entries(times).map(([name, of]) => [name, { ms: median(of), ratio: median(of) / bare }]));
}
await browser.close();
server.closeAllConnections();
server.close();

console.log(JSON.stringify({ what: `ms from a click to the first request, 10 Mbit/s and 40 ms, nothing cached: medians of ${PAGES} pages, and how often nothing loaded before`, libraries: Object.keys(WAYS), results }));
