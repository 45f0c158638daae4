// Tests in a DOM of a test environment: no IndexedDB, and an AbortController whose signals the platform's `fetch` refuses.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { JSDOM } from "jsdom";
import { UNKNOWN_ID, load, recorder, rejection, settles, startSandbox, usual } from "./harness.mjs";

const { window } = new JSDOM("", { url: "http://localhost/" });
const platform = { AbortController, AbortSignal, Request, fetch };
for (const name of ["document", "navigator", "AbortController", "AbortSignal", "DOMException"]) {
  Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
}
// Browsers check the realm of a signal; not every version of Node does.
globalThis.Request = class extends platform.Request {
  constructor(input, init) {
    if (init?.signal && !(init.signal instanceof platform.AbortSignal)) throw new TypeError("the signal is not an AbortSignal");
    super(input, init);
  }
};
globalThis.fetch = async (input, init) => platform.fetch(new Request(input, init));
const { TemplateJobs, text } = await load();

let sandbox;
before(async () => {
  sandbox = await startSandbox("--speed", "200");
});
after(() => sandbox.stop());

const request = { template_id: UNKNOWN_ID, variables: {}, seconds: 15 };

/** A client as in a page, and the warnings that it emits. */
function client(options) {
  const warnings = [];
  const onEvent = (event) => event.type === "warning" && warnings.push(event);
  const jobs = new TemplateJobs({ baseUrl: "https://api.test", apiKey: "key", dangerouslyAllowBrowser: true, maxRetries: 0, onEvent, ...options });
  return { jobs, warnings };
}

test("without IndexedDB the journal is in memory, and each client emits one warning", async () => {
  const wire = recorder(usual);
  for (const page of [client({ fetch: wire.fetch }), client({ fetch: wire.fetch, budgetKey: "november", maxCredits: 50 })]) {
    const jobs = [];
    for (let i = 0; i < 2; i++) jobs.push(await page.jobs.submit(request, { operation: "order-1" }));
    assert.equal(jobs[0].id, jobs[1].id);
    const [operation] = await page.jobs.pending();
    assert.deepEqual([operation.operation, operation.state], ["order-1", "bound"]);
    assert.deepEqual(page.warnings.map(({ code, operation }) => [code, operation]), [["no_indexeddb", undefined]]);
    assert.match(page.warnings[0].message, /memory/);
  }
  assert.equal(wire.sent.filter(({ method }) => method === "POST").length, 1, "both clients share a journal");
});

test("a journal option emits no warning", async () => {
  const { jobs, warnings } = client({ fetch: recorder(usual).fetch, journal: "memory", account: "chosen" });
  await jobs.submit(request, { operation: "order-1" });
  assert.deepEqual(warnings, []);
});

test("the platform's fetch works with an AbortController of the DOM", async () => {
  const [template] = await sandbox.templates();
  const { jobs } = client({ ...sandbox.options });
  const { signal } = new AbortController();
  const named = { template_id: template.id ?? template.template_id, variables: { title: text("Hi") } };
  const preview = await settles(jobs.preview(named, { signal }), 20_000);
  assert.match(preview.preview, /^http/);
  const video = await settles(jobs.render(preview, {}, { signal }).wait(), 20_000);
  assert.equal(video.status, "done");
});

test("a call rejects with the reason of a signal of either realm, and fetch receives no signal of the DOM", async () => {
  for (const Controller of [AbortController, platform.AbortController]) {
    const given = [];
    const { jobs } = client({ fetch: (url, init) => (given.push(init.signal), new Promise(() => {})) });
    const controller = new Controller();
    const call = rejection(jobs.get(UNKNOWN_ID, { signal: controller.signal }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    controller.abort("enough");
    assert.equal(await call, "enough");
    assert.deepEqual(given, [undefined]);
  }
});
