// Tests of pages without a bundler, and of their workers, in three browser engines under a strict Content-Security-Policy.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MAIN, major, seen } from "../runtimes/seen.mjs";
import { PATIENCE, PLAIN, engines, page, rejection, served, startBrowser, startStage } from "./harness.mjs";

let stage;
const browsers = {};
before(async () => {
  stage = await startStage();
  for (const engine of engines) browsers[engine] = await startBrowser(engine);
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.quit();
  await stage.stop();
});

const NAMES = { chromium: "Chromium", firefox: "Firefox", webkit: "WebKitGTK" };
/** Records that this engine ran the package, unless another suite does. The browser is the machine's, in any version. */
const ran = (engine, how) => engine === "chromium" || seen(NAMES[engine], major(browsers[engine].version), MAIN, how, { machine: true });

/** Only the page's own scripts, and no code from strings; `wasm` is the source that WebAssembly needs. */
const policy = (wasm = "'wasm-unsafe-eval'") =>
  `default-src 'self'; img-src data:; script-src 'self' ${wasm}; connect-src 'self' ${stage.url}; require-trusted-types-for 'script'`;

const playing = () => `
  import * as library from "${PLAIN}";
  import { story } from "./story.mjs";
  window.acts = { story: () => story(library, ${stage.script}) };`;

/** A page whose worker runs the story. */
const working = (start) => `
  // Trusted Types apply to the URL of a worker too, so the page has a policy of its own.
  const own = globalThis.trustedTypes?.createPolicy("own", { createScriptURL: (url) => url });
  const address = own?.createScriptURL("./worker.js") ?? "./worker.js";
  const start = async () => ${start};
  window.acts = {
    story: async () => {
      const { port1, port2 } = new MessageChannel();
      const end = new Promise((resolve) => {
        port1.onmessage = ({ data }) => resolve(data);
      });
      (await start()).postMessage(port2, [port2]);
      return end;
    },
  };`;

/** A worker, dedicated or service, that answers each message with the result of the story. */
const worker = () => `
  import * as library from "${PLAIN}";
  import { story } from "./story.mjs";
  onmessage = ({ data: port }) => story(library, ${stage.script})
    .catch(({ name, message }) => ({ name, message }))
    .then((end) => port.postMessage(end));`;

/** The result of the story on a page in this engine. */
const runStory = (engine, path, contentSecurityPolicy = policy()) =>
  served(contentSecurityPolicy, async (origin) => {
    const browser = browsers[engine];
    await browser.visit(`${origin}/${path}`);
    const end = await browser.act("story");
    assert.deepEqual(await browser.errors(), []);
    return end;
  });

for (const engine of engines) {
  test(`in_${engine}_a_page_without_a_bundler_runs_it_under_a_policy_with_only_wasm_unsafe_eval`, async () => {
    const path = await page(`plain-${engine}`, playing());
    await stage.plays(() => runStory(engine, path));
    await ran(engine, "a page");
  });

  test(`in_${engine}_a_dedicated_worker_runs_it`, async () => {
    const main = working('new Worker(address, { type: "module" })');
    const path = await page(`dedicated-${engine}`, main, { "worker.js": worker() });
    await stage.plays(() => runStory(engine, path));
    await ran(engine, "a dedicated worker");
  });

  test(`in_${engine}_a_service_worker_runs_it`, async () => {
    const main = working('(await navigator.serviceWorker.register(address, { type: "module" }), (await navigator.serviceWorker.ready).active)');
    const path = await page(`service-${engine}`, main, { "worker.js": worker() });
    await stage.plays(() => runStory(engine, path));
    await ran(engine, "a service worker");
  });

  test(`in_${engine}_a_page_whose_policy_forbids_wasm_rejects_with_load_error`, async () => {
    await stage.reset();
    const path = await page(`forbidden-${engine}`, playing());
    const { name, message } = await rejection(runStory(engine, path, policy("")), PATIENCE);
    assert.equal(name, "LoadError");
    const [cause, remedy] = message.split(". Add ");
    assert.match(cause, /Content.Security.Policy|CSP/i);
    assert.match(remedy, /^'wasm-unsafe-eval' to script-src/);
    assert.deepEqual((await stage.ledger()).charges, []);
  });
}
