// Tests of the requests and resources of polling: calls for one job share requests within a client, and an aborted call
// leaves nothing behind.

import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { UNKNOWN_ID, answer, deferred, load, rejection, settles } from "./harness.mjs";

const { TemplateJobs } = await load();

const soon = { until: "video", maxInterval: 1_500, expectedMs: 1_500 };
const state = (poll) => (poll < 3 ? { status: "running", progress: poll / 10 } : { status: "done", progress: 1, video_output: "https://v" });

/** Runs these calls with one client for a job that is done at the third poll; returns their results and the requests. */
async function watched(...waits) {
  let polls = 0;
  let inFlight = 0;
  let most = 0;
  const fetch = async () => {
    most = Math.max(most, ++inFlight);
    await new Promise((resolve) => setTimeout(resolve, 20));
    inFlight--;
    return answer(200, { id: UNKNOWN_ID, ...state(++polls) });
  };
  const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
  const seen = await settles(Promise.all(waits.map((wait) => wait(jobs))), 15_000);
  jobs.close();
  return { seen, polls, most };
}

test("ten calls for one job, five of them loops, poll it as often as one", async () => {
  const poll = async (jobs) => [(await jobs.poll(UNKNOWN_ID, soon)).progress];
  const watch = async (jobs) => {
    const seen = new Set();
    for await (const { job } of jobs.watch(UNKNOWN_ID, soon)) seen.add(job);
    return Array.from(seen, ({ progress }) => progress);
  };
  const [one, ten] = await Promise.all([watched(watch), watched(...Array(5).fill(poll), ...Array(5).fill(watch))]);
  assert.deepEqual(one, { seen: [[0.1, 0.2, 1]], polls: 3, most: 1 });
  assert.deepEqual(ten, { seen: [...Array(5).fill([1]), ...Array(5).fill([0.1, 0.2, 1])], polls: 3, most: 1 });
});

test("huge and tiny numbers neither end nor hasten a poll, and a timeout of 0 ends at once", async () => {
  const odd = [Infinity, 2 ** 40, 1e300, undefined];
  const nothing = [0, -0];
  const waits = [...odd.map((value) => ({ timeout: value })), ...[...odd, 5e-324].flatMap((value) => [{ expectedMs: value }, { maxInterval: value }])];
  const polls = waits.map(() => 0);
  const clients = waits.map((_, at) => {
    const fetch = async () => (polls[at]++, answer(200, { id: UNKNOWN_ID, status: "running", progress: 0.5 }));
    return new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
  });
  const ended = [];
  waits.forEach((options, at) => clients[at].poll(UNKNOWN_ID, options).then(ended.push.bind(ended), (error) => ended.push(error.name)));
  for (const timeout of nothing) assert.equal((await rejection(clients[0].poll(UNKNOWN_ID, { timeout }), 500)).name, "PollTimeoutError");
  await new Promise((resolve) => setTimeout(resolve, 800));
  assert.deepEqual(ended, []);
  assert.deepEqual(polls, waits.map(() => 1), "the next poll is at least a second later");
  for (const jobs of clients) jobs.close();
});

/** A server whose job runs for ever; if `silent`, it answers nothing. */
let server;
let requests = 0;
let asked = deferred();
let silent = false;
before(async () => {
  server = createServer((request, response) => {
    requests++;
    asked.resolve(request);
    asked = deferred();
    if (!silent) response.end(JSON.stringify({ id: UNKNOWN_ID, status: "running" }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
after(() => {
  server.closeAllConnections();
  server.close();
});

const resources = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout" || /Req/.test(name)).toSorted();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const WAITS = {
  poll: (jobs, signal) => jobs.poll(UNKNOWN_ID, { ...soon, signal }),
  watch: async (jobs, signal) => {
    for await (const { job } of jobs.watch(UNKNOWN_ID, { ...soon, signal })) assert.equal(job.status, "running");
  },
  get: (jobs, signal) => jobs.get(UNKNOWN_ID, { signal }),
};
for (const [what, wait] of Object.entries(WAITS)) {
  for (const when of ["while a request is in flight", "between two polls"]) {
    if (what === "get" && when === "between two polls") continue;
    test(`${what}() that is aborted ${when} settles at once and leaves no timer, no listener and no request`, async () => {
      silent = when !== "between two polls";
      const before = resources();
      const jobs = new TemplateJobs({ baseUrl: `http://127.0.0.1:${server.address().port}`, journal: "memory" });
      const controller = new AbortController();
      const { signal } = controller;
      const reached = asked.promise;
      let thrown;
      wait(jobs, signal).then(() => assert.fail("it ended"), (error) => (thrown = { error }));
      const request = await settles(reached);
      const closed = once(request.socket, "close");
      if (!silent) await pause(300);
      const sent = requests;
      assert.equal(getEventListeners(signal, "abort").length, 1);

      const reason = new Error("mine");
      controller.abort(reason);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(thrown?.error, reason, "before the next event");
      assert.equal(getEventListeners(signal, "abort").length, 0);
      // A request in flight is aborted with its connection; an idle connection may be kept for the next call.
      if (silent) await settles(closed, 1_000);
      await pause(2_000);
      assert.equal(requests, sent, "polls after the abort");
      assert.deepEqual(resources(), before);
    });
  }
}
