// Tests of a charge's promise: operation, wait, updates, and resume.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { UNKNOWN_ID, answer, deferred, jobOf, load, packageDirectory, recorder, rejection, settles, usual } from "./harness.mjs";

const { TemplateJobs } = await load();

const REQUEST = { template_id: UNKNOWN_ID, variables: {} };
const done = { status: "done", preview: "https://x.test/p", video_output: "https://x.test/v" };

/** A client whose jobs are done at the first poll. */
function quick(more, reply) {
  const world = recorder(reply ?? ((call, number) => (call.method === "GET" && call.path.includes("custom_template_jobs") ? answer(200, jobOf(call.path.split("/").at(-2), done)) : usual(call, number))));
  const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch: world.fetch, account: String(Math.random()), ...more });
  return { jobs, ...world };
}

const soon = { maxInterval: 1_000, expectedMs: 1_000 };

test("submit, previewAsync and render wait for the result of their step", async () => {
  const { jobs } = quick();
  const video = await settles(jobs.submit(REQUEST).wait(soon), 10_000);
  assert.equal(video.video_output, done.video_output);
  const preview = await settles(jobs.previewAsync(REQUEST).wait(soon), 10_000);
  assert.equal(preview.preview, done.preview);
  const rendered = await settles(jobs.render(preview, {}).wait(soon), 10_000);
  assert.equal(rendered.video_output, done.video_output);
});

test("the promise resolves with the accepted job", async () => {
  const { jobs } = quick();
  const promise = jobs.submit(REQUEST);
  assert.ok(promise instanceof Promise);
  assert.equal(Object.getPrototypeOf(promise), Promise.prototype);
  assert.equal((await promise).status, "pending");
});

test("operation is set at once, for every charging call", async () => {
  const { jobs } = quick();
  const id = "00000000-0000-4000-8000-000000000001";
  assert.equal(jobs.submit(REQUEST, { operation: "mine" }).operation, "mine");
  assert.equal(jobs.render(id.toUpperCase()).operation, `render:${id}`);
  const operations = [jobs.submit(REQUEST), jobs.preview(REQUEST, soon), jobs.previewAsync(REQUEST), jobs.previewSync(REQUEST)].map(({ operation }) => operation);
  assert.equal(new Set(operations).size, 4);
  for (const operation of operations) assert.match(operation, /^[0-9a-f-]{36}$/);
});

test("an unreadable operation is replaced by a new id, and the call rejects", async () => {
  const { jobs, sent } = quick();
  for (const options of [null, 5, { operation: 5 }, { operation: "" }, { get operation() { throw new Error("no"); } }]) {
    for (const call of ["submit", "previewAsync", "previewSync", "preview"]) {
      const promise = jobs[call](REQUEST, options);
      assert.match(promise.operation, /^[0-9a-f-]{36}$/, call);
      assert.equal((await rejection(promise)).name, "InvalidRequestError", call);
    }
  }
  assert.equal(sent.length, 0);
});

test("the updates end with the result of the step", async () => {
  const { jobs } = quick();
  const seen = [];
  for await (const { job } of jobs.submit(REQUEST)) seen.push(job.status);
  assert.equal(seen.at(-1), "done");
});

test("leaving the loop over updates ends the polling", async () => {
  const { jobs, sent } = quick({}, usual);
  for await (const update of jobs.submit(REQUEST)) {
    assert.equal(update.job.status, "pending");
    break;
  }
  const before = sent.length;
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.equal(sent.length, before);
});

test("a failed charge rejects the promise, wait() and the updates once each, with the operation", async () => {
  const { jobs } = quick({}, () => answer(402, { detail: "Not enough credits" }));
  const promise = jobs.submit(REQUEST, { operation: "poor" });
  const errors = [await rejection(promise), await rejection(promise.wait()), await rejection(promise[Symbol.asyncIterator]().next())];
  for (const error of errors) assert.deepEqual([error.name, error.operation], ["ApiError", "poor"]);
});

test("a failed wait() rejects with the operation", async () => {
  const failing = (call, number) => (call.method === "GET" ? answer(200, jobOf(call.path.split("/").at(-2), { status: "failed", failed_reason: "no" })) : usual(call, number));
  const { jobs } = quick({}, failing);
  const failed = await rejection(jobs.submit(REQUEST, { operation: "a" }).wait(soon), 10_000);
  assert.deepEqual([failed.name, failed.operation], ["JobFailedError", "a"]);
  const { jobs: slow } = quick({}, usual);
  const late = await rejection(slow.submit(REQUEST, { operation: "b" }).wait({ timeout: 50 }));
  assert.deepEqual([late.name, late.operation], ["PollTimeoutError", "b"]);
  const preview = slow.preview(REQUEST, { timeout: 100 });
  const error = await rejection(preview);
  assert.deepEqual([error.name, error.operation], ["PollTimeoutError", preview.operation]);
});

test("the signal of the charge, or of wait(), ends wait() and the updates", async () => {
  const { jobs } = quick({}, usual);
  const charge = new AbortController();
  const wait = new AbortController();
  const promise = jobs.submit(REQUEST, { signal: charge.signal });
  await promise;
  const both = promise.wait({ signal: wait.signal });
  const other = promise.wait();
  const updates = promise[Symbol.asyncIterator]();
  await updates.next();
  const next = updates.next();
  wait.abort("wait");
  assert.equal(await rejection(both), "wait");
  charge.abort("charge");
  assert.equal(await rejection(other), "charge");
  assert.equal(await rejection(next), "charge");
  assert.equal(await rejection(promise.wait()), "charge");
});

test("the signal of wait() ends it while the charge is in flight, and the charge goes on", async () => {
  const gate = deferred();
  const { jobs } = quick({}, async (call, number) => (await gate.promise, usual(call, number)));
  const wait = new AbortController();
  const promise = jobs.submit(REQUEST);
  const waiting = promise.wait({ signal: wait.signal });
  wait.abort("left");
  assert.equal(await rejection(waiting), "left");
  gate.resolve();
  assert.equal((await settles(promise)).status, "pending");
});

test("close() ends a wait() that has not started to poll", async () => {
  const { jobs } = quick({}, () => new Promise(() => {}));
  const waiting = jobs.submit(REQUEST).wait();
  jobs.close();
  assert.equal((await rejection(waiting)).name, "ClosedError");
});

test("wait(), updates and resume() leave no unhandled rejection", async () => {
  const script = `
    import { TemplateJobs } from ${JSON.stringify(new URL(`file://${packageDirectory}/node.js`).href)};
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch: async () => new Response("{}", { status: 402 }) });
    const request = ${JSON.stringify(REQUEST)};
    const names = [];
    await jobs.submit(request).wait().catch(({ name }) => names.push(name));
    try { for await (const update of jobs.submit(request)); } catch ({ name }) { names.push(name); }
    await jobs.preview(request).catch(({ name }) => names.push(name));
    await jobs.resume("none").wait().catch(({ name }) => names.push(name));
    jobs.resume("none");
    await jobs.submit(request).wait({ timeout: "soon" }).catch(({ name }) => names.push(name));
    await new Promise((resolve) => setTimeout(resolve, 50));
    console.log(names.join());
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ["--unhandled-rejections=strict", "--input-type=module", "--eval", script]);
  assert.equal(stdout.trim(), "ApiError,ApiError,ApiError,InvalidRequestError,ApiError");
});

test("resume continues a bound operation, also one of another client, and never charges", async () => {
  const account = "resume-bound";
  const first = quick({ account });
  await first.jobs.previewAsync(REQUEST, { operation: "row-1" });
  const second = quick({ account });
  const resumed = second.jobs.resume("row-1");
  assert.equal(resumed.operation, "row-1");
  assert.equal((await resumed).preview, done.preview);
  const preview = await settles(second.jobs.resume((await first.jobs.pending())[0] ?? "row-1").wait(soon), 10_000);
  assert.equal(preview.preview, done.preview);
  assert.equal(second.posts().length, 0);
});

test("resume settles an unknown operation first, and rejects if it stays unknown", async () => {
  const created_at = new Date().toISOString();
  const { jobs, posts } = quick({ listJobs: async () => [] }, ({ method, path }) => (method === "POST" ? answer(500, "broken") : answer(200, jobOf(path.split("/").at(-2), { created_at }))));
  await rejection(jobs.submit(REQUEST, { operation: "lost" }));
  const error = await rejection(jobs.resume("lost"));
  assert.deepEqual([error.name, error.operation], ["ChargeUnknownError", "lost"]);
  assert.equal(posts().length, 1);

  const id = "00000000-0000-4000-8000-00000000000a";
  await jobs.settle("lost", { jobId: id });
  assert.equal((await settles(jobs.resume("lost"))).id, id);
  assert.equal(posts().length, 1);
});

test("resume of an operation in flight waits for its job", async () => {
  const gate = deferred();
  const { jobs, posts } = quick({}, async (call, number) => {
    if (call.method === "POST") await gate.promise;
    return usual(call, number);
  });
  const charge = jobs.submit(REQUEST);
  const resumed = jobs.resume(charge.operation);
  setTimeout(gate.resolve, 300);
  const [charged, found] = await settles(Promise.all([charge, resumed]));
  assert.equal(found.id, charged.id);
  assert.equal(posts().length, 1);
});

test("resume of another account's operation, or of a missing one, is refused", async () => {
  const { jobs } = quick({ account: "one" });
  await jobs.submit(REQUEST, { operation: "theirs" });
  const { jobs: others, sent } = quick({ account: "two" });
  for (const operation of [undefined, "theirs", "", 5, null, {}, { operation: 5 }, { get operation() { throw new Error("no"); } }]) {
    const promise = others.resume(operation);
    assert.equal(typeof promise.operation, "string");
    const error = await rejection(promise);
    assert.deepEqual([error.name, error.field], ["InvalidRequestError", "operation"]);
  }
  assert.equal(sent.length, 0);
});

test("resume of an entry of a newer version rejects with that reason", async () => {
  const entries = new Map();
  const journal = {
    create: (id, entry) => !entries.has(id) && !!entries.set(id, entry),
    read: (id) => entries.get(id),
    write: (id, entry) => void entries.set(id, entry),
    delete: (id) => entries.delete(id),
    list: (prefix) => [...entries.keys()].filter((id) => id.startsWith(prefix)),
  };
  const { jobs } = quick({ journal });
  await jobs.submit(REQUEST, { operation: "new" });
  for (const [id, entry] of entries) if (id.endsWith("/new") && entry.startsWith("{")) entries.set(id, entry.replace('"version":2', '"version":9'));
  const error = await rejection(jobs.resume("new"));
  assert.deepEqual([error.name, error.field], ["InvalidRequestError", "operation"]);
  assert.match(error.message, /newer version/);
});

test("a preview with an invalid poll option is refused before the charge", async () => {
  const { jobs, sent } = quick();
  for (const [field, value] of [["until", "video"], ["until", null], ["expectedMs", -1], ["expectedMs", 5n], ["maxInterval", 0], ["maxInterval", "1 s"], ["timeout", NaN], ["onUpdate", 5]]) {
    const promise = jobs.preview(REQUEST, { [field]: value });
    const error = await rejection(promise);
    assert.deepEqual([error.name, error.field, error.charged, error.operation], ["InvalidRequestError", field, "no", promise.operation]);
  }
  assert.equal(sent.length, 0);
  assert.equal((await settles(jobs.preview(REQUEST, { ...soon, until: "preview" }), 10_000)).preview, done.preview);
});
