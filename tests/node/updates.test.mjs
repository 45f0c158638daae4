// Tests of updates: what listeners and loops receive at once, each second, and with each change.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UNKNOWN_ID, answer, jobOf, load, settles } from "./harness.mjs";

const { TemplateJobs } = await load();

const request = { template_id: UNKNOWN_ID, variables: {} };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let hosts = 0;

/** A client whose job is `state(ms)`, `ms` after the client was made; `polls` are the times of its polls. */
function client(state, options) {
  const begun = performance.now();
  const polls = [];
  const fetch = async (url, { method }) => {
    const now = performance.now() - begun;
    if (method === "POST") return answer(201, jobOf(UNKNOWN_ID, { progress: null }));
    polls.push(now);
    return answer(200, jobOf(UNKNOWN_ID, state(now)));
  };
  return { polls, now: () => performance.now() - begun, jobs: new TemplateJobs({ baseUrl: `https://updates-${++hosts}.test`, journal: "memory", fetch, ...options }) };
}

const running = () => ({ status: "running", progress: null });
const until = (end) => (ms) => (ms < end ? { status: "running", progress: Math.min(0.9, ms / end) } : { status: "done", progress: 1, video_output: "https://v" });

test("the first update comes at once, the next ones each second, and none takes a request", async () => {
  const { jobs, polls, now } = client(running);
  const submitted = await jobs.submit(request);
  await jobs.get(submitted.id);
  const [before, polled] = [now(), polls.length];
  const got = [];
  const call = jobs.poll(submitted, { onUpdate: (job, update) => got.push({ at: now() - before, job, update, polls: polls.length - polled }) });
  call.catch(() => {});
  await pause(3_300);
  jobs.close();
  assert.deepEqual(got.map(({ polls }) => polls), [0, 0, 0, 0]);
  assert.ok(got[0].at < 100, `${got[0].at}`);
  for (const [second, { at, job, update }] of got.entries()) {
    assert.ok(at >= 1_000 * second - 5 && at < 1_000 * second + 250, `${at}`);
    assert.deepEqual(job, submitted);
    assert.equal(update.job, job);
    assert.equal(update.step, "submit");
    assert.equal(update.progress, null);
    assert.ok(Math.abs(update.nextPollMs - (4_800 - at)) < 300, `${update.nextPollMs} at ${at}`);
  }
});

test("the more urgent a wait is, the sooner its next poll", async () => {
  const { jobs } = client(running);
  const next = [];
  for (const urgency of ["low", "normal", undefined, "high"]) {
    const { value } = await jobs.watch(jobOf(UNKNOWN_ID, { progress: null }), { urgency }).next();
    next.push(Math.round(value.nextPollMs / 100));
  }
  jobs.close();
  assert.deepEqual(next, [96, 48, 48, 24]);
});

test("a listener and a reader get the same updates, which end with a progress of 1", async () => {
  const { jobs } = client(until(4_000));
  const submitted = await jobs.submit(request);
  const received = [];
  const read = [];
  const options = { maxInterval: 1_500, expectedMs: 4_000, onUpdate: (...update) => received.push(update) };
  for await (const update of jobs.watch(submitted, options)) read.push(update);
  assert.ok(read.length >= 5, `${read.length}`);
  assert.deepEqual(received.map(([, update]) => update), read);
  for (const [job, update] of received) assert.equal(update.job, job);
  const progress = read.map((update) => update.progress);
  assert.deepEqual(progress, progress.toSorted((a, b) => a - b));
  assert.equal(progress.at(-1), 1);
  assert.ok(new Set(progress).size >= 4, `progress moves between polls: ${progress}`);
  assert.deepEqual(Object.keys(read.at(-1)).toSorted(), ["job", "nextPollMs", "progress", "remainingMs", "step"]);
  assert.equal(read.at(-1).nextPollMs, undefined);
});

test("a slow reader receives each change of the job, and only the newest of the other updates", async () => {
  const { jobs } = client(until(6_000));
  const updates = jobs.watch(await jobs.submit(request), { maxInterval: 1_500 });
  const first = await updates.next();
  assert.equal(first.value.job.status, "pending");
  await pause(7_500);
  const read = [];
  for await (const update of updates) read.push(update);
  const states = read.map(({ job }) => job);
  assert.equal(new Set([first.value.job, ...states]).size, states.length + 1, "each change once");
  assert.ok(read.length >= 4, `${read.length} changes`);
  assert.equal(read.at(-1).progress, 1);
});

test("a finished job emits one update, also for a listener", async () => {
  const { jobs, polls } = client(running);
  const done = jobOf(UNKNOWN_ID, { status: "done", video_output: "https://v" });
  const received = [];
  await settles(jobs.poll(done, { until: "video", onUpdate: (job, update) => received.push(update) }));
  const read = [];
  for await (const update of jobs.watch(done, { until: "video" })) read.push(update);
  for (const updates of [received, read]) {
    assert.deepEqual(updates, [{ job: done, step: undefined, progress: 1, remainingMs: undefined, nextPollMs: undefined }]);
  }
  assert.deepEqual(polls, []);
});

test("an abandoned loop receives no more updates", async () => {
  const { jobs } = client(running);
  const controller = new AbortController();
  let received = 0;
  const call = jobs.poll(UNKNOWN_ID, { signal: controller.signal, onUpdate: () => (++received === 2 ? controller.abort(new Error("mine")) : undefined) });
  await assert.rejects(settles(call), { message: "mine" });
  await pause(1_500);
  assert.equal(received, 2);
  jobs.close();
});

test("an unrendered preview is incomplete after two polls ten seconds apart", async () => {
  const previewed = jobOf(UNKNOWN_ID, { status: "done", preview: "https://p" });
  const { jobs, polls } = client(() => previewed);
  await assert.rejects(settles(jobs.poll(previewed, { until: "video" }), 15_000), (error) => {
    assert.equal(error.name, "IncompleteResultError");
    assert.equal(error.jobId, UNKNOWN_ID);
    assert.deepEqual([error.charged, error.remedy], ["no", "fix_request"]);
    assert.match(error.message, /render\(\)/);
    return true;
  });
  assert.equal(polls.length, 2);
  assert.ok(polls[1] - polls[0] >= 10_000, `${polls}`);
});
