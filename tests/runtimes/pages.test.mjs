// Decides whether pages of no bundler, and workers of theirs, run the package in a real Chromium under a strict policy.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { html, policy, serving, startBrowser, strictest, telling } from "./browser.mjs";
import { project, scene, startStage } from "./harness.mjs";
import { INLINE, MAIN } from "./seen.mjs";

/** The package as a page beside `node_modules` sees it. */
const PLACE = "/node_modules/custom-template-jobs";
const WASM = `${PLACE}/custom_template_jobs_bg.wasm`;
const ENTRIES = { [MAIN]: `${PLACE}/web.js`, [INLINE]: `${PLACE}/inline.js` };
const PAGE = html('<script type="module" src="./main.js"></script>');

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

for (const [entry, file] of Object.entries(ENTRIES)) {
  const name = entry === MAIN ? "it" : "the_inline_entry";

  test(`a_page_runs_${name}_where_only_wasm_is_allowed_beside_its_own_scripts`, async () => {
    await scene("plain", { "main.js": telling(file, stage), "index.html": PAGE });
    await stage.plays(() => browser.page(project, "plain/index.html", policy(stage)));
    await browser.ran(entry, "a page");
  });

  test(`a_page_runs_${name}_where_trusted_types_are_required_and_none_is_allowed`, async () => {
    await scene("plain", { "main.js": telling(file, stage), "index.html": PAGE });
    await stage.plays(() => browser.page(project, "plain/index.html", strictest(stage)));
  });
}

/** What a worker of either kind says to whom it hears. */
const worker = (file) => `
  import * as library from "${file}";
  import { story } from "./story.mjs";
  onmessage = ({ data: port }) =>
    story(library, ${stage.script}).then((end) => port.postMessage(end), ({ name, message }) => port.postMessage({ name, message }));`;

/** A page that has its worker play the story. */
const working = (start) => `
  const { port1, port2 } = new MessageChannel();
  globalThis.told = new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data);
  });
  (${start}).postMessage(port2, [port2]);`;

for (const [entry, file] of Object.entries(ENTRIES)) {
  // The page starts the worker by a string, which Trusted Types forbid to it; the worker has the stricter policy.
  test(`a_dedicated_worker_under_the_strictest_policy_runs_${entry === MAIN ? "it" : "the_inline_entry"}`, async () => {
    const main = working('new Worker("./worker.js", { type: "module" })');
    await scene("dedicated", { "main.js": main, "worker.js": worker(file), "index.html": PAGE });
    const policies = { "*": policy(stage), "/dedicated/worker.js": strictest(stage) };
    await stage.plays(() => browser.page(project, "dedicated/index.html", policies));
    await browser.ran(entry, "a dedicated worker");
  });
}

test("a_service_worker_under_the_strictest_policy_runs_it", async () => {
  const main = working('await navigator.serviceWorker.register("./worker.js", { type: "module" }), (await navigator.serviceWorker.ready).active');
  await scene("service", { "main.js": main, "worker.js": worker(ENTRIES[MAIN]), "index.html": PAGE });
  const policies = { "*": policy(stage), "/service/worker.js": strictest(stage) };
  await stage.plays(() => browser.page(project, "service/index.html", policies));
  await browser.ran(MAIN, "a service worker");
});

for (const [entry, file] of Object.entries(ENTRIES)) {
  test(`a_page_whose_policy_forbids_wasm_is_told_what_to_add_by_${entry === MAIN ? "it" : "the_inline_entry"}`, async () => {
    await scene("forbidden", { "main.js": telling(file, stage), "index.html": PAGE });
    const { name, message } = await browser.page(project, "forbidden/index.html", policy(stage, ""));
    assert.equal(name, "LoadError");
    assert.match(message, /Add 'wasm-unsafe-eval' to script-src/);
    assert.doesNotMatch(message, /beside the script/);
  });
}

/** Two calls at once and a third after the server was repaired, each by its outcome. */
const repaired = () => `
  import * as library from "${ENTRIES[MAIN]}";
  const jobs = new library.TemplateJobs({ baseUrl: "${stage.url}", apiId: "sandbox", apiKey: "sandbox", dangerouslyAllowBrowser: true });
  const outcome = (promise) => promise.then(() => "resolved", ({ name, message }) => ({ name, message }));
  globalThis.told = (async () => {
    const first = await Promise.all([outcome(jobs.templates()), outcome(jobs.remainingCredits())]);
    await fetch("/repair");
    return [...first, await outcome(jobs.templates())];
  })();`;

const broken = {
  is_missing: { answer: { status: 404, type: "text/plain", body: "not found" }, cause: /404 text\/plain/ },
  is_a_page_of_html: { answer: { status: 200, type: "text/html", body: "<!doctype html>" }, cause: /200 text\/html/ },
  is_html_of_no_type: { answer: { status: 200, type: "application/wasm", body: "<!doctype html>" }, cause: /magic word/ },
};
for (const [what, { answer, cause }] of Object.entries(broken)) {
  test(`where_the_wasm_${what}_all_who_waited_are_told_its_place_and_the_next_call_tries_again`, async () => {
    await scene("broken", { "main.js": repaired(), "index.html": PAGE });
    let served = false;
    const instead = (file) => {
      if (file === "/repair") served = true;
      return file === WASM && !served ? answer : undefined;
    };
    const told = serving(project, { "*": policy(stage) }, (url) => browser.visit(`${url}/broken/index.html`), instead);
    const [one, two, after] = await told;
    for (const { name, message } of [one, two]) {
      assert.equal(name, "LoadError");
      assert.match(message, new RegExp(`from http://127\\.0\\.0\\.1:\\d+${WASM}: `));
      assert.match(message, cause);
      assert.match(message, /Serve custom_template_jobs_bg\.wasm beside the script, or pass its place to init\(\)/);
    }
    assert.equal(after, "resolved");
  });
}

const sources = {
  a_string: `"${WASM}"`,
  a_url: `new URL("${WASM}", location)`,
  a_request: `new Request("${WASM}")`,
  a_response: `await fetch("${WASM}")`,
  a_promise_of_a_response: `fetch("${WASM}")`,
  bytes: `await (await fetch("${WASM}")).arrayBuffer()`,
  a_module: `await WebAssembly.compileStreaming(fetch("${WASM}"))`,
};
for (const [what, source] of Object.entries(sources)) {
  test(`in_a_page_init_takes_${what}`, async () => {
    const main = `
      import { TemplateJobs, init } from "${PLACE}/slim.js";
      globalThis.told = (async () => {
        await init(${source});
        return new TemplateJobs().estimate({ step: "submit", seconds: 30 });
      })().catch(({ message }) => message);`;
    await scene("init", { "main.js": main, "index.html": PAGE });
    assert.equal(await browser.page(project, "init/index.html", policy(stage)), 5);
  });
}
