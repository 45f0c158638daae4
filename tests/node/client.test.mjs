// Tests of the packed client against a sandbox: every call, every typed error, one charge for each operation.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { UNKNOWN_ID, load, rejection, settles, startSandbox } from "./harness.mjs";

const { TemplateJobs, audio, avatar, image, isTemplateJobsError, parseWebhook, prices, text, video, voiceover } = await load();

let sandbox;
let templates;
let jobs;
const clients = [];

const client = (options) => {
  const made = new TemplateJobs({ ...sandbox.options, journal: "memory", ...options });
  clients.push(made);
  return made;
};
const ending = (behaviour) => templates.find((template) => template.behaviour === behaviour);
const titled = (template, more) => ({ template_id: template.template_id, variables: { title: text("Hello") }, ...more });
const soon = { maxInterval: 1_500, expectedMs: 1_500 };
const charges = async () => (await sandbox.ledger()).charges;

before(async () => {
  sandbox = await startSandbox("--speed", "20");
  templates = await sandbox.templates();
});
after(async () => {
  for (const made of clients) made.close();
  await sandbox.stop();
});
beforeEach(async () => {
  await sandbox.reset();
  await sandbox.faults([]);
  jobs = client();
});

test("a preview, its render and the video cost what was estimated", async () => {
  const template = ending("done");
  const seconds = template.duration_seconds;
  const before = await jobs.remainingCredits();
  const preview = await settles(jobs.preview(titled(template), soon), 20_000);
  assert.match(preview.preview, /^http/);
  assert.equal(preview.video_output, null);
  await jobs.render(preview, { seconds });
  const rendered = await settles(jobs.poll(preview, { ...soon, until: "video" }), 20_000);
  assert.match(rendered.video_output, /^http/);
  assert.equal(rendered.duration, seconds);
  const estimated = (await jobs.estimate({ step: "preview", seconds })) + (await jobs.estimate({ step: "render", seconds }));
  assert.equal(before - (await jobs.remainingCredits()), estimated);
  assert.deepEqual((await charges()).map(({ step }) => step), ["preview", "render"]);
});

test("a submit goes straight to the video", async () => {
  const pending = await jobs.submit(titled(ending("done"), { name: "mine", is_hidden: true }));
  assert.equal(pending.status, "pending");
  assert.equal(pending.name, "mine");
  assert.deepEqual(pending.variables, { title: text("Hello") });
  const done = await settles(jobs.poll(pending.id, soon), 20_000);
  assert.match(done.video_output, /^http/);
  assert.deepEqual(await jobs.get(done.id), done);
});

test("a blocking preview answers with the preview", async () => {
  const job = await settles(jobs.previewSync(titled(ending("done"))), 20_000);
  assert.equal(job.status, "done");
  assert.match(job.preview, /^http/);
  assert.ok(!(await jobs.pending()).some(({ jobId }) => jobId === job.id), "a returned preview is not pending");
});

test("watching yields every change and ends with the video", async () => {
  const job = await jobs.submit(titled(ending("done")));
  const seen = [];
  for await (const update of jobs.watch(job, soon)) seen.push(update);
  assert.ok(seen.length >= 1);
  assert.match(seen.at(-1).job.video_output, /^http/);
  const progress = seen.map((update) => update.job.progress);
  assert.deepEqual(progress, progress.toSorted((a, b) => a - b));
});

test("watching a finished job yields it once, without a request", async () => {
  const job = await settles(jobs.previewSync(titled(ending("done"))), 20_000);
  const before = (await sandbox.requests()).length;
  const seen = [];
  for await (const { job: update } of jobs.watch(job, { until: "preview" })) seen.push(update);
  assert.deepEqual(seen, [job]);
  assert.equal((await sandbox.requests()).length, before);
});

for (const [behaviour, word] of [["failed", /failed/], ["rejected", /rejected/]]) {
  test(`a job that is ${behaviour} rejects with its reason`, async () => {
    const job = await jobs.submit(titled(ending(behaviour)));
    const error = await rejection(jobs.poll(job, soon), 20_000);
    assert.equal(error.name, "JobFailedError");
    assert.equal(error.jobId, job.id);
    assert.equal(error.job.status, behaviour);
    assert.ok(error.reason.length > 5);
    assert.match(error.message, word);
    assert.ok(!(await jobs.pending()).some(({ jobId }) => jobId === job.id));
  });
}

test("templates are listed as the API lists them", async () => {
  const list = await jobs.templates();
  assert.deepEqual(
    list.map(({ template_id }) => template_id).toSorted(),
    templates.map(({ template_id }) => template_id).toSorted(),
  );
});

test("an estimate follows the price table", async () => {
  const estimate = (given, options) => client(options).estimate(given);
  assert.equal(await estimate({ step: "submit", seconds: 31 }), 10);
  assert.equal(await estimate({ step: "render", seconds: 16, model_version: "aurora_v1_fast" }), 20);
  assert.equal(await estimate({ step: "submit", seconds: 10.4, model_version: "aurora_v1_fast" }, { prices: prices.perSecond }), 5.5);
  assert.equal(await estimate({ step: "preview", seconds: 10 }, { prices: { preview: { credits: 3, seconds: 5 } } }), 6);
  for (const [wrong, field] of [[{ step: "export", seconds: 1 }, "step"], [{ step: "submit" }, "seconds"], [{ step: "submit", seconds: 1, model_version: "x" }, "model_version"]]) {
    assert.equal((await rejection(jobs.estimate(wrong))).field, field);
  }
});

test("one operation id is one job and one charge, in parallel and later", async () => {
  const request = titled(ending("done"));
  const [a, b] = await Promise.all([jobs.submit(request, { operation: "click" }), jobs.submit(request, { operation: "click" })]);
  assert.equal(a.id, b.id);
  const c = await client().submit(request, { operation: "click" });
  assert.equal(c.id, a.id, "another client of the same account");
  assert.equal((await sandbox.requests()).filter(({ method }) => method === "POST").length, 1);
  const error = await rejection(jobs.submit({ ...request, name: "other" }, { operation: "click" }));
  assert.equal(error.name, "OperationConflictError");
  assert.equal(error.operation, "click");
});

test("rendering twice is one charge", async () => {
  const preview = await settles(jobs.preview(titled(ending("done")), soon), 20_000);
  await Promise.all([jobs.render(preview), jobs.render(preview.id)]);
  await settles(jobs.poll(preview.id, { ...soon, until: "video" }), 20_000);
  const again = await jobs.render(preview.id);
  assert.match(again.video_output, /^http/);
  assert.equal((await charges()).filter(({ step }) => step === "render").length, 1);
});

for (const [kind, more] of [["drop_after_commit", {}], ["drop_after_commit", { reset: true }], ["status_after_commit", { status: 502 }], ["truncate", { bytes: 20 }], ["html", { commit: true }], ["redirect", { commit: true }]]) {
  test(`an answer lost by ${kind} ${JSON.stringify(more)} is one charge and one unknown outcome`, async () => {
    await sandbox.faults([{ on: "submit", kind, ...more }]);
    const error = await rejection(jobs.submit(titled(ending("done")), { operation: `lost-${kind}${JSON.stringify(more)}` }));
    assert.equal(error.name, "ChargeUnknownError");
    assert.match(error.message, /settle/);
    await sandbox.faults([]);
    const pending = (await jobs.pending()).find(({ operation }) => operation === error.operation);
    assert.equal(pending.state, "unknown");
    const again = await rejection(jobs.submit(titled(ending("done")), { operation: error.operation }));
    assert.equal(again.name, "ChargeUnknownError");
    assert.equal((await sandbox.requests()).filter(({ method }) => method === "POST").length, 1);
  });
}

test("a render whose answer is lost settles by a read of its job", async () => {
  const preview = await settles(jobs.preview(titled(ending("done")), soon), 20_000);
  await sandbox.faults([{ on: "render", kind: "drop_after_commit" }]);
  const job = await jobs.render(preview);
  assert.equal(job.id, preview.id);
  const done = await settles(jobs.poll(job, soon), 20_000);
  assert.match(done.video_output, /^http/);
  assert.equal((await charges()).filter(({ step }) => step === "render").length, 1);
});

test("an unknown charge is settled by a list in which a webhook URL carries its operation", async () => {
  await sandbox.faults([{ on: "submit", kind: "drop_after_commit" }]);
  const seen = [];
  const lister = client({ listJobs: async (since) => (seen.push(since), (await fetch(`${sandbox.url}/__sandbox/jobs`)).json()) });
  const webhook_url = "https://example.com/hook/{operation}";
  const error = await rejection(lister.submit(titled(ending("done"), { webhook_url }), { operation: "by-list" }));
  assert.equal(error.name, "ChargeUnknownError");
  const settled = await lister.settle("by-list");
  assert.ok(seen[0] instanceof Date);
  assert.equal(settled.state, "bound");
  assert.equal((await jobs.get(settled.jobId)).webhook_url, "https://example.com/hook/by-list");
});

test("reads are retried in an outage, and a charge is not", async () => {
  const job = await jobs.submit(titled(ending("done")));
  await sandbox.faults([{ on: "get", kind: "drop_before_commit", times: 2 }, { on: "get", kind: "status_before_commit", status: 502, times: 2, after: 2 }]);
  const done = await settles(jobs.poll(job, soon), 30_000);
  assert.equal(done.status, "done");
});

const keyless = /sandbox:|"sandbox"|wrong-key/;

test("a wrong key is an authentication error that does not contain the key", async () => {
  const error = await rejection(client({ apiKey: "wrong-key" }).submit(titled(ending("done"))));
  assert.equal(error.name, "ApiError");
  assert.equal(error.status, 401);
  assert.equal(error.kind, "authentication");
  assert.match(error.message, /key/);
  assert.doesNotMatch(JSON.stringify(error) + error.stack + error.message, keyless);
});

test("an unknown template and an unknown job have a message that says what to do", async () => {
  const error = await rejection(jobs.submit({ template_id: UNKNOWN_ID, variables: {} }));
  assert.equal(error.name, "ApiError");
  assert.ok(["invalid", "not_found"].includes(error.kind), error.kind);
  assert.match(error.message, /template/i);
  const missing = await rejection(jobs.get(UNKNOWN_ID));
  assert.equal(missing.kind, "not_found");
  assert.equal(missing.jobId, UNKNOWN_ID);
  assert.equal((await charges()).length, 0);
});

test("a render without a preview is refused with the API's message", async () => {
  const job = await jobs.previewAsync(titled(ending("done")));
  const error = await rejection(jobs.render(job));
  assert.equal(error.name, "ApiError");
  assert.equal(error.status, 400);
  assert.equal(error.jobId, job.id);
});

test("too few credits reject with insufficient_credits, and the next call works", async () => {
  const poor = await startSandbox("--credits", "2");
  try {
    const client = new TemplateJobs({ ...poor.options, journal: "memory" });
    const error = await rejection(client.submit(titled(ending("done"))));
    assert.equal(error.kind, "insufficient_credits");
    assert.match(error.message, /credit/i);
    await client.previewAsync(titled(ending("done")));
    client.close();
  } finally {
    await poor.stop();
  }
});

test("a field error of the API is reported by field", async () => {
  const wire = client({ fetch: (url, init) => fetch(url, { ...init, body: init.body?.replace('"mine"', JSON.stringify("x".repeat(256))) }) });
  const error = await rejection(wire.submit(titled(ending("done"), { name: "mine" })));
  assert.equal(error.kind, "invalid");
  assert.ok(Array.isArray(error.fields.name), JSON.stringify(error.fields));
  assert.match(error.message, /name/);
});

test("a body of 10 MB is refused with a reason, and the next call works", async () => {
  const error = await rejection(jobs.submit(titled(ending("done"), { variables: { title: text("x".repeat(10_000_000)) } })), 20_000);
  assert.equal(error.name, "ApiError");
  assert.equal(error.status, 413);
  assert.match(error.message, /too large/);
  assert.equal((await jobs.submit(titled(ending("done")))).status, "pending");
});

test("a read with an HTML page or a truncated answer is retried, then rejects", async () => {
  const job = await jobs.submit(titled(ending("done")));
  const hasty = client({ maxRetries: 0 });
  for (const [kind, words] of [["html", /not JSON/], ["truncate", /broke off/]]) {
    await sandbox.faults([{ on: "get", kind }]);
    const error = await rejection(hasty.get(job.id));
    assert.equal(error.name, "ApiError", kind);
    assert.equal(error.kind, "unexpected", kind);
    assert.match(error.message, words);
    assert.equal(error.jobId, job.id);
  }
  await sandbox.faults([{ on: "get", kind: "html", times: 1 }]);
  assert.equal((await jobs.get(job.id)).id, job.id);
});

test("a stalled body rejects at the timeout", async () => {
  await sandbox.faults([{ on: "get", kind: "stall", bytes: 10 }]);
  const error = await rejection(client({ maxRetries: 0, timeout: 300 }).get(UNKNOWN_ID), 3_000);
  assert.equal(error.name, "ConnectionError");
  assert.match(error.message, /in time/);
});

test("an invalid request is refused before anything is sent", async () => {
  const good = titled(ending("done"));
  const cycle = {};
  cycle.self = cycle;
  for (const [bad, field] of [
    [undefined, "request"], [null, "request"], ["text", "request"], [[], "request"], [42, "request"], [new Map(), "request"],
    [{ ...good, template_id: "mine" }, "template_id"], [{ variables: {} }, "template_id"],
    [{ template_id: good.template_id }, "variables"], [{ ...good, variables: [] }, "variables"],
    [{ ...good, variables: cycle }, /^variables\.self/], [{ ...good, variables: { a: new File(["x"], "a.png") } }, "variables.a"],
    [{ ...good, variables: { a: { b: 1n } } }, "variables.a.b"], [{ ...good, variables: { a: new Blob([]) } }, "variables.a"],
    [{ ...good, name: "x".repeat(256) }, "name"], [{ ...good, webhook_url: "/hook" }, "webhook_url"],
    [{ ...good, webhook_url: `https://a.test/${"x".repeat(200)}` }, "webhook_url"], [{ ...good, model_version: "v2" }, "model_version"],
    [{ ...good, is_hidden: "no" }, "is_hidden"],
  ]) {
    for (const call of ["submit", "previewAsync", "previewSync", "preview"]) {
      const error = await rejection(jobs[call](bad));
      assert.equal(error.name, "InvalidRequestError", String(field));
      assert.match(error.field, field instanceof RegExp ? field : new RegExp(`^${field}$`));
      assert.ok(isTemplateJobsError(error));
    }
  }
  for (const id of [undefined, null, 7, "", "../templates", {}, []]) {
    for (const call of ["get", "poll", "render"]) assert.equal((await rejection(jobs[call](id))).field, "id", `${call} ${id}`);
  }
  assert.deepEqual((await sandbox.requests()).filter(({ path }) => path.startsWith("/api/")), []);
});

test("with idempotencyHeader a charge carries its operation id as Idempotency-Key, and a read never does", async () => {
  const keys = async () => (await sandbox.requests()).map(({ method, idempotency_key }) => [method, idempotency_key]);
  await client({ idempotencyHeader: true }).submit(titled(ending("done")), { operation: "with-key" });
  await client({ idempotencyHeader: true }).remainingCredits();
  await client().submit(titled(ending("done")), { operation: "without-key" });
  const seen = await keys();
  assert.deepEqual(seen.filter(([method]) => method === "POST").map(([, key]) => key ?? null).toSorted(), [null, "with-key"]);
  assert.ok(seen.filter(([method]) => method === "GET").every(([, key]) => !key));
});

test("parallel calls keep within a budget", async () => {
  const careful = client({ maxCredits: 12 });
  const calls = Array.from({ length: 5 }, () => careful.submit({ ...titled(ending("done")), seconds: 30 }));
  const results = await Promise.allSettled(calls);
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 2);
  for (const { reason } of results.filter(({ status }) => status === "rejected")) {
    assert.equal(reason.name, "BudgetExceededError");
    assert.equal(reason.estimate, 5);
    assert.equal(reason.remaining, 2);
  }
});

test("after a lost answer the balance shows at most one charge", async () => {
  const before = await jobs.remainingCredits();
  await sandbox.faults([{ on: "*", kind: "drop_after_commit", times: 1 }]);
  await rejection(jobs.submit(titled(ending("done"))));
  await sandbox.faults([]);
  await sandbox.advance(3_600);
  const spent = before - (await jobs.remainingCredits());
  const price = await jobs.estimate({ step: "submit", seconds: ending("done").duration_seconds });
  assert.equal(spent, price);
});

/** The global `fetch` of Next.js 16 while it renders: a repeated GET gets the first answer again. */
function memoising(fetch) {
  const answers = new Map();
  return async (input, init) => {
    if (input instanceof Request && init) [input, init] = [new Request(input, init)];
    const { url, method } = input instanceof Request ? input : new Request(input, init);
    if (method !== "GET" || init?.signal) return fetch(input, init);
    if (!answers.has(url)) answers.set(url, fetch(input, init));
    return (await answers.get(url)).clone();
  };
}

test("each read reaches the provider under a fetch that reuses answers", async () => {
  const { fetch } = globalThis;
  globalThis.fetch = memoising(fetch);
  try {
    const { id } = await jobs.submit(titled(ending("done")));
    await jobs.get(id);
    await sandbox.advance(600);
    assert.equal((await jobs.get(id)).status, "done");
  } finally {
    globalThis.fetch = fetch;
  }
});

test("variable helpers build what the provider documents", () => {
  assert.deepEqual(text("a"), { type: "text", properties: { content: "a" } });
  assert.deepEqual(image("u"), { type: "image", properties: { url: "u" } });
  assert.deepEqual(video("u"), { type: "video", properties: { url: "u" } });
  assert.deepEqual(audio("u"), { type: "audio", properties: { url: "u" } });
  assert.deepEqual(avatar("i"), { type: "avatar", properties: { avatar_id: "i" } });
  assert.deepEqual(voiceover("i"), { type: "voiceover", properties: { voice_id: "i" } });
});

test("parseWebhook reads both documented shapes", () => {
  const created = { id: UNKNOWN_ID, status: "done", failed_reason: "", video_output: "https://v" };
  const rendered = { id: UNKNOWN_ID, status: "failed", failed_reason: "No face.", output: null };
  assert.deepEqual(parseWebhook(JSON.stringify(created)), { jobId: UNKNOWN_ID, status: "done", output: "https://v" });
  assert.deepEqual(parseWebhook(rendered, "https://me.test/hook/op-1?x=1", { webhookUrl: "https://me.test/hook/{operation}" }), { jobId: UNKNOWN_ID, status: "failed", failedReason: "No face.", operation: "op-1" });
  assert.equal(parseWebhook(created, "/hook?operation=op%202").operation, "op 2");
  for (const wrong of ["", "null", "[]", "<html>", undefined, 1, { id: 1, status: "done" }, { id: UNKNOWN_ID }]) {
    assert.throws(() => parseWebhook(wrong), { name: "InvalidRequestError", field: "body" });
  }
});
