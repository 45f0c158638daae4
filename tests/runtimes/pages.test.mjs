// Tests of pages without a bundler, and of their workers, in Chromium under a strict Content-Security-Policy.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { html, policy, serving, startBrowser, strictest, telling } from "./browser.mjs";
import { packageDirectory, project, scene, startStage } from "./harness.mjs";
import { INLINE, MAIN } from "./seen.mjs";

/** The path of the package from a page beside `node_modules`. */
const PLACE = "/node_modules/custom-template-jobs";
const WASM = `${PLACE}/custom_template_jobs_bg.wasm`;
const ENTRIES = { [MAIN]: `${PLACE}/web.js`, [INLINE]: `${PLACE}/inline.js` };
const SERVE = /Serve custom_template_jobs_bg\.wasm beside the script, or pass its place to init\(\)/;
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

  test(`a_page_runs_${name}_where_only_wasm_and_its_own_scripts_are_allowed`, async () => {
    await scene("plain", { "main.js": telling(file, stage), "index.html": PAGE });
    await stage.plays(() => browser.page(project, "plain/index.html", policy(stage)));
    await browser.ran(entry, "a page");
  });

  test(`a_page_runs_${name}_where_trusted_types_are_required_and_none_is_allowed`, async () => {
    await scene("plain", { "main.js": telling(file, stage), "index.html": PAGE });
    await stage.plays(() => browser.page(project, "plain/index.html", strictest(stage)));
  });
}

/** A worker, dedicated or service, that answers each message with the result of the story. */
const worker = (file) => `
  import * as library from "${file}";
  import { story } from "./story.mjs";
  onmessage = ({ data: port }) =>
    story(library, ${stage.script}).then((end) => port.postMessage(end), ({ name, message }) => port.postMessage({ name, message }));`;

/** A page whose worker runs the story. */
const working = (start) => `
  const { port1, port2 } = new MessageChannel();
  globalThis.told = new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data);
  });
  (${start}).postMessage(port2, [port2]);`;

for (const [entry, file] of Object.entries(ENTRIES)) {
  // The page starts the worker by a string, which Trusted Types forbid there; the worker has the stricter policy.
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
  test(`a_page_whose_policy_forbids_wasm_rejects_with_the_missing_source_by_${entry === MAIN ? "it" : "the_inline_entry"}`, async () => {
    await scene("forbidden", { "main.js": telling(file, stage), "index.html": PAGE });
    const { name, message } = await browser.page(project, "forbidden/index.html", policy(stage, ""));
    assert.equal(name, "LoadError");
    assert.match(message, /Add 'wasm-unsafe-eval' to script-src/);
    assert.doesNotMatch(message, /beside the script/);
  });
}

/** The outcomes of a page's two parallel calls, and of a third one after the server was repaired. */
const loading = () => `
  import * as library from "${ENTRIES[MAIN]}";
  const events = [];
  const options = { baseUrl: "${stage.url}", apiId: "sandbox", apiKey: "sandbox", dangerouslyAllowBrowser: true };
  const jobs = new library.TemplateJobs({ ...options, onEvent: (event) => event.type === "warning" && events.push(event) });
  const outcome = (promise) => promise.then(() => "resolved", ({ name, message }) => ({ name, message }));
  globalThis.told = (async () => {
    const first = await Promise.all([outcome(jobs.templates()), outcome(jobs.remainingCredits())]);
    await fetch("/repair");
    const outcomes = [...first, await outcome(jobs.templates())];
    await new Promise((resolve) => setTimeout(resolve));
    return { outcomes, events };
  })();`;

/**
 * The outcomes in the page, and its requests for files of the WebAssembly, in order. `answers` are faulty answers, until the page
 * requests a repair.
 */
async function loads(answers, page = PAGE, policies = policy(stage)) {
  await scene("loading", { "main.js": loading(), "index.html": page });
  const requested = [];
  let repaired = false;
  const instead = (file) => {
    if (file === "/repair") repaired = true;
    if (/_bg\./.test(file)) requested.push(file.replace(`${PLACE}/custom_template_jobs_bg.`, ""));
    return repaired ? undefined : answers[file];
  };
  const seen = await serving(project, { "*": policies }, (url) => browser.visit(`${url}/loading/index.html`), instead);
  return { ...seen, requested };
}

const HALVES = ["base64.1.js", "base64.2.js"].map((name) => `${PLACE}/custom_template_jobs_bg.${name}`);
const original = await readFile(join(packageDirectory, "custom_template_jobs_bg.wasm"));
const wasm = (body) => ({ status: 200, type: "application/wasm", body });
const missing = { status: 404, type: "text/plain", body: "not found" };

/** The .wasm as it would be in another version of the package. */
function ofVersion(version) {
  const { version: ours } = JSON.parse(readFileSync(join(packageDirectory, "package.json"), "utf8"));
  const [from, to] = [ours, version].map((it) => Buffer.from(`version_${it.replaceAll(".", "_")}`));
  assert.equal(from.length, to.length);
  const at = original.indexOf(from);
  assert.ok(at > 0 && original.indexOf(from, at + 1) < 0);
  const copy = Buffer.from(original);
  to.copy(copy, at);
  return copy;
}

test("a_page_requests_the_wasm_once_and_no_script_that_carries_it", async () => {
  const { outcomes, events, requested } = await loads({});
  assert.deepEqual(outcomes, ["resolved", "resolved", "resolved"]);
  assert.deepEqual(events, []);
  assert.deepEqual(requested, ["wasm"]);
});

const broken = {
  is_missing: [missing, /404 text\/plain/],
  is_a_page_of_html: [{ status: 200, type: "text/html", body: "<!doctype html>" }, /200 text\/html/],
  is_html_of_the_type_of_wasm: [wasm("<!doctype html>"), /magic word/],
  is_truncated: [wasm(original.subarray(0, original.length / 2)), /./],
  is_compressed_twice: [wasm(gzipSync(original)), /magic word/],
  is_another_projects: [wasm(Buffer.from([0, 97, 115, 109, 1, 0, 0, 0])), /it is another WebAssembly/],
  is_an_older_versions: [wasm(ofVersion("0.0.9")), /it is that of version 0\.0\.9, and the scripts are of 0\.1\.0/],
};
for (const [what, [answer, cause]] of Object.entries(broken)) {
  test(`where_the_wasm_${what}_the_page_loads_it_from_scripts_once_and_emits_the_reason`, async () => {
    const { outcomes, events, requested } = await loads({ [WASM]: answer });
    assert.deepEqual(outcomes, ["resolved", "resolved", "resolved"]);
    assert.deepEqual(requested, ["wasm", "base64.1.js", "base64.2.js"]);
    assert.equal(events.length, 1);
    const { type, code, message } = events[0];
    assert.deepEqual([type, code], ["warning", "wasm_fallback"]);
    assert.match(message, new RegExp(`from http://127\\.0\\.0\\.1:\\d+${WASM}: `));
    assert.match(message, cause);
    assert.match(message, SERVE);
  });

  test(`where_the_wasm_${what}_and_the_scripts_are_missing_waiting_calls_reject_with_load_error_and_the_next_call_loads_it`, async () => {
    const { outcomes, events } = await loads({ [WASM]: answer, ...Object.fromEntries(HALVES.map((half) => [half, missing])) });
    for (const { name, message } of outcomes.slice(0, 2)) {
      assert.equal(name, "LoadError");
      assert.match(message, new RegExp(`from http://127\\.0\\.0\\.1:\\d+${WASM}: `));
      assert.match(message, cause);
      assert.match(message, /Nor could the script that carries it: .*base64/);
      assert.match(message, SERVE);
    }
    assert.equal(outcomes[2], "resolved");
    assert.deepEqual(events, []);
  });
}

test("load_error_reports_scripts_that_an_import_map_redirects", async () => {
  const map = JSON.stringify({ imports: { [HALVES[0]]: "/loading/elsewhere.js" } });
  const page = html(`<script type="importmap">${map}</script><script type="module" src="./main.js"></script>`);
  const elsewhere = { status: 200, type: "text/javascript", body: 'export const half = "";' };
  const answers = { [WASM]: missing, "/loading/elsewhere.js": elsewhere };
  const { outcomes } = await loads(answers, page, policy(stage, "'wasm-unsafe-eval' 'unsafe-inline'"));
  assert.equal(outcomes[0].name, "LoadError");
  assert.match(outcomes[0].message, /Nor could the script that carries it: .*magic word/);
  assert.equal(outcomes[2], "resolved");
});

test("a_package_redirected_by_an_import_map_without_its_wasm_loads_its_scripts", async () => {
  await scene("elsewhere", { "main.js": telling(MAIN, stage), "index.html": html(`<script type="importmap">{"imports":{"${MAIN}":"/elsewhere/package/web.js"}}</script><script type="module" src="./main.js"></script>`) });
  await cp(packageDirectory, join(project, "elsewhere/package"), { recursive: true, filter: (file) => !file.endsWith(".wasm") });
  await stage.plays(() => browser.page(project, "elsewhere/index.html", policy(stage, "'wasm-unsafe-eval' 'unsafe-inline'")));
});

test("an_older_wasm_from_a_service_workers_cache_is_reported_and_the_right_one_loaded", async () => {
  const worker = `
    addEventListener("activate", (event) => event.waitUntil(clients.claim()));
    addEventListener("fetch", (event) => {
      if (event.request.url.endsWith(".wasm")) event.respondWith(caches.match("/old.wasm"));
    });`;
  const main = `
    import { TemplateJobs } from "${ENTRIES[MAIN]}";
    globalThis.told = (async () => {
      await (await caches.open("old")).put("/old.wasm", await fetch("/old.wasm"));
      const controlled = new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve));
      await navigator.serviceWorker.register("./worker.js", { scope: "/cached/" });
      await controlled;
      const events = [];
      const jobs = new TemplateJobs({ relay: "/relay", onEvent: ({ message }) => events.push(message) });
      return { credits: await jobs.estimate({ step: "submit", seconds: 30 }), events };
    })();`;
  await scene("cached", { "main.js": main, "worker.js": worker, "index.html": PAGE });
  const instead = (file) => (file === "/old.wasm" ? wasm(ofVersion("0.0.9")) : undefined);
  const { credits, events } = await serving(project, { "*": policy(stage) }, (url) => browser.visit(`${url}/cached/index.html`), instead);
  assert.equal(credits, 5);
  assert.match(events.join(), /it is that of version 0\.0\.9/);
});

test("two_versions_of_the_package_run_in_one_page_each_with_its_own_wasm", async () => {
  const main = `
    import * as one from "${ENTRIES[MAIN]}";
    import * as two from "./other/web.js";
    import { story } from "./story.mjs";
    globalThis.told = (async () => {
      const warnings = [];
      const own = ({ TemplateJobs }) => new TemplateJobs({ relay: "/relay", onEvent: ({ message }) => warnings.push(message) });
      const credits = await Promise.all([one, two].map((library) => own(library).estimate({ step: "submit", seconds: 30 })));
      return { credits, warnings, classes: one.TemplateJobs !== two.TemplateJobs, end: await story(two, ${stage.script}) };
    })();`;
  const directory = await scene("two", { "main.js": main, "index.html": PAGE });
  await cp(packageDirectory, join(directory, "other"), { recursive: true });
  await writeFile(join(directory, "other/version.js"), 'export const version = "0.2.0";');
  await writeFile(join(directory, "other/custom_template_jobs_bg.wasm"), ofVersion("0.2.0"));
  await stage.plays(async () => {
    const { end, ...rest } = await browser.page(project, "two/index.html", policy(stage));
    assert.deepEqual(rest, { credits: [5, 5], warnings: [], classes: true });
    return end;
  });
});

test("without_web_assembly_load_error_says_how_it_may_have_been_turned_off", async () => {
  const main = `
    delete globalThis.WebAssembly;
    import("${ENTRIES[MAIN]}").then(({ TemplateJobs }) => new TemplateJobs({ relay: "/relay" }).templates()).catch(({ name, message }) => (globalThis.found = { name, message }));
    globalThis.told = new Promise((resolve) => setInterval(() => globalThis.found && resolve(globalThis.found), 10));`;
  await scene("lockdown", { "main.js": main, "index.html": PAGE });
  const { name, message } = await browser.page(project, "lockdown/index.html", policy(stage));
  assert.equal(name, "LoadError");
  assert.match(message, /turn Lockdown Mode off for this site/);
  assert.doesNotMatch(message, SERVE);
});

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
