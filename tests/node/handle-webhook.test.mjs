// Tests of handleWebhook(): which requests it accepts, and what it returns.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UNKNOWN_ID, answer, jobOf, load, recorder, rejection, settles } from "./harness.mjs";

const { TemplateJobs } = await load();

const WEBHOOK = "https://me.test/hook?operation={operation}";
const body = (more) => JSON.stringify({ id: UNKNOWN_ID, status: "done", failed_reason: "", video_output: "https://forged", ...more });
const posted = (url = "https://me.test/hook", init) => new Request(url, { method: "POST", body: body(), ...init });
let hosts = 0;

/** A client of a provider that makes one job of the request, or loses its answer. */
function client({ lost = false, ...options } = {}) {
  let job;
  const wire = recorder(({ method, body }) => {
    if (method === "GET") return job ? answer(200, { ...job, status: "done", video_output: "https://v" }) : answer(404, { detail: "Not found." });
    job = jobOf(UNKNOWN_ID, { ...body, created_at: new Date().toISOString() });
    return lost ? answer(502, "lost") : answer(201, job);
  });
  return { ...wire, jobs: new TemplateJobs({ baseUrl: `https://handle-${++hosts}.test`, journal: "memory", fetch: wire.fetch, ...options }) };
}
const submit = (jobs, operation, webhook_url = WEBHOOK) => jobs.submit({ template_id: UNKNOWN_ID, variables: {}, webhook_url }, { operation });

test("a webhook returns the job as the API has it, and settles and ends its operation", async () => {
  for (const lost of [false, true]) {
    const { jobs, sent } = client({ lost });
    const operation = `order ${lost}/ü+1`;
    await submit(jobs, operation).catch(({ name }) => assert.equal(name, "ChargeUnknownError"));
    const url = WEBHOOK.replace("{operation}", encodeURIComponent(operation));
    for (const delivery of ["first", "second"]) {
      const handled = await settles(jobs.handleWebhook(posted(url)));
      assert.equal(handled.job.video_output, "https://v", "the API's value, not the webhook's");
      assert.deepEqual([handled.operation.operation, handled.operation.state, handled.operation.jobId], [operation, "ended", UNKNOWN_ID], delivery);
    }
    assert.deepEqual(await jobs.pending(), []);
    assert.equal(sent.filter(({ method }) => method === "POST").length, 1);
  }
});

test("an operation is taken from the path, also from a part of a segment, if the journal has it", async () => {
  for (const template of ["https://me.test/{operation}/hook", "https://me.test/hooks/order-{operation}.json"]) {
    const { jobs } = client({ lost: true });
    await rejection(submit(jobs, "a/b", template));
    const { operation } = await settles(jobs.handleWebhook(posted(template.replace("{operation}", "a%2Fb"))));
    assert.deepEqual([operation.operation, operation.state], ["a/b", "ended"]);
  }
  const { jobs } = client();
  await submit(jobs, "mine");
  const before = await jobs.pending();
  assert.equal(before.length, 1);
  const { operation } = await settles(jobs.handleWebhook(posted("https://me.test/hooks/creatify")));
  assert.equal(operation.operation, "mine", "found by its job");
});

test("a forged webhook settles nothing", async () => {
  const { jobs } = client({ lost: true });
  await rejection(submit(jobs, "mine"));
  const other = client({ lost: true, baseUrl: "https://handle-forged.test" });
  await rejection(submit(other.jobs, "theirs"));
  await rejection(submit(other.jobs, "ours", "https://me.test/fixed"));
  // A job of this account, but of neither operation.
  const { job, operation } = await settles(other.jobs.handleWebhook(posted("https://me.test/theirs?operation=theirs&a=mine")));
  assert.equal(job.webhook_url, "https://me.test/fixed");
  assert.equal(operation, undefined);
  assert.deepEqual((await other.jobs.pending()).map(({ state }) => state), ["unknown", "unknown"]);
});

test("bodies in parts, and requests without a stream, are read", async () => {
  const { jobs } = client();
  await submit(jobs, "mine");
  const parts = [...new TextEncoder().encode(body({ failed_reason: "Grüße" }))].map((byte) => Uint8Array.of(byte));
  const stream = new ReadableStream({ pull: (controller) => (parts.length ? controller.enqueue(parts.shift()) : controller.close()) });
  const bare = { method: "POST", url: "/hook?operation=mine", text: async () => body() };
  const url = "https://me.test/hook?operation=mine";
  for (const request of [posted(url, { body: stream, duplex: "half" }), bare, posted(url).clone()]) {
    assert.equal((await settles(jobs.handleWebhook(request))).operation.operation, "mine");
  }
});

const read = posted();
await read.text();
const locked = posted();
locked.body.getReader();
const { proxy: revoked, revoke } = Proxy.revocable({}, {});
revoke();
const throwing = (name) => Object.defineProperty({ method: "POST", url: "/", text: async () => body() }, name, { get() { throw new Error("no"); } });
const breaking = new ReadableStream({ pull: (controller) => controller.error(new Error("reset")) });
let poured = 0;
const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array((poured += 65_536) && 65_536).fill(32)) });
const BAD = {
  "a GET": [new Request("https://me.test/hook?operation=mine"), "request", /POST/],
  "a PUT": [posted(undefined, { method: "PUT" }), "request", /POST/],
  "a body already read": [read, "request", /read already/],
  "a locked body": [locked, "request", /cannot be read/],
  "a body that breaks off": [posted(undefined, { body: breaking, duplex: "half" }), "request", /cannot be read/],
  "a form": [posted(undefined, { body: new URLSearchParams({ id: UNKNOWN_ID, status: "done" }) }), "body", /no webhook/],
  "a form of parts": [posted(undefined, { body: Object.entries({ id: UNKNOWN_ID }).reduce((form, entry) => (form.append(...entry), form), new FormData()) }), "body", /no webhook/],
  "no body": [posted(undefined, { body: undefined }), "body", /no webhook/],
  "10 MB": [posted(undefined, { body: body({ padding: "x".repeat(10_000_000) }) }), "request", /1 MB/],
  "a body without end": [posted(undefined, { body: endless, duplex: "half" }), "request", /1 MB/],
  "a body that does not come": [posted(undefined, { body: new ReadableStream(), duplex: "half" }), "request", /in time/],
  "an id that is none": [posted(undefined, { body: body({ id: "../templates" }) }), "id", /UUID/],
  "undefined": [undefined, "request"], "null": [null, "request"], "text": [body(), "request"], "an array": [[posted()], "request"],
  "what was parsed": [JSON.parse(body()), "request"], "a number": [7, "request"], "a symbol": [Symbol("a"), "request"], "a revoked proxy": [revoked, "request"],
  "a getter that throws": [throwing("url"), "request"], "a body that throws": [throwing("body"), "request"],
  "a text that is none": [{ method: "POST", url: "/", text: async () => 7 }, "body"],
  "a text that throws": [{ method: "POST", url: "/", text: () => { throw undefined; } }, "request"],
};
for (const [what, [request, field, words]] of Object.entries(BAD)) {
  test(`${what} is refused, and nothing is requested`, async () => {
    const { jobs, sent } = client({ timeout: 300 });
    const error = await rejection(jobs.handleWebhook(request));
    assert.deepEqual([error.name, error.field], ["InvalidRequestError", field], error.message);
    if (words) assert.match(error.message, words);
    assert.deepEqual(sent, []);
    assert.ok(poured < 4_000_000, "an endless body is not read on");
  });
}

test("an invalid URL returns the job, and one with thousands of segments is not looked up completely", async () => {
  const asked = [];
  const kept = new Map();
  const journal = {
    create: (key, entry) => !kept.has(key) && !!kept.set(key, entry),
    read: (key) => (asked.push(key), kept.get(key)), write: (key, entry) => void kept.set(key, entry),
    delete: (key) => kept.delete(key), list: (prefix) => [...kept.keys()].filter((key) => key.startsWith(prefix)),
  };
  const { jobs } = client({ journal });
  await submit(jobs, "mine");
  asked.length = 0;
  await settles(jobs.handleWebhook(posted(`https://me.test/${"a/b/".repeat(3_000)}?${Array.from({ length: 3_000 }, (_, at) => `q${at}=${at}`).join("&")}`)));
  assert.ok(asked.length < 40, `${asked.length} reads`);
  const bad = { method: "POST", url: "https://[", text: async () => body() };
  assert.equal((await settles(jobs.handleWebhook(bad))).job.id, UNKNOWN_ID);
});

test("a job of another account rejects with the API's error, and a closed client with ClosedError", async () => {
  const { jobs } = client();
  const error = await rejection(jobs.handleWebhook(posted()));
  assert.deepEqual([error.name, error.kind, error.jobId], ["ApiError", "not_found", UNKNOWN_ID]);
  jobs.close();
  assert.equal((await rejection(jobs.handleWebhook(posted()))).name, "ClosedError");
});
