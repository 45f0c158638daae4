// Decides whether a page without a bundler, and a worker of one, work in every engine under a strict Content-Security-Policy.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
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

/** No script but the page's own, no code from strings; `wasm` is what WebAssembly needs. */
const policy = (wasm = "'wasm-unsafe-eval'") =>
  `default-src 'self'; img-src data:; script-src 'self' ${wasm}; connect-src 'self' ${stage.url}; require-trusted-types-for 'script'`;

const playing = () => `
  import * as library from "${PLAIN}";
  import { story } from "./story.mjs";
  window.acts = { story: () => story(library, ${stage.script}) };`;

const working = `
  // What the policy above takes for code is the worker's address, which is the page's own word.
  const own = globalThis.trustedTypes?.createPolicy("own", { createScriptURL: (url) => url });
  const worker = new Worker(own?.createScriptURL("./worker.js") ?? "./worker.js", { type: "module" });
  window.acts = {
    story: () => new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage("story");
    }),
  };`;

const worker = () => `
  import * as library from "${PLAIN}";
  import { story } from "./story.mjs";
  onmessage = () => story(library, ${stage.script}).then(postMessage, ({ name, message }) => postMessage({ name, message }));`;

/** What the story comes to on a page of this engine. */
const told = (engine, path, contentSecurityPolicy = policy()) =>
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
    await stage.plays(() => told(engine, path));
  });

  test(`in_${engine}_a_dedicated_worker_runs_it`, async () => {
    const path = await page(`worker-${engine}`, working, { "worker.js": worker() });
    await stage.plays(() => told(engine, path));
  });

  test(`in_${engine}_a_page_whose_policy_forbids_wasm_is_told_so_by_load_error`, async () => {
    await stage.reset();
    const path = await page(`forbidden-${engine}`, playing());
    const { name, message } = await rejection(told(engine, path, policy("")), PATIENCE);
    assert.equal(name, "LoadError");
    const [cause, remedy] = message.split("Check that");
    assert.match(cause, /Content.Security.Policy|CSP/i);
    assert.match(remedy, /'wasm-unsafe-eval'/);
    assert.deepEqual((await stage.ledger()).charges, []);
  });
}
