// Decides what waiting asks of the server and of the process: many who wait for one job are one to the server, and whoever
// stops waiting leaves nothing behind. Clients do not know of each other: two of them in one process look twice.

import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { UNKNOWN_ID, answer, deferred, load, rejection, settles } from "./harness.mjs";

const { TemplateJobs } = await load();

const soon = { until: "video", maxInterval: 1_500, expectedMs: 1_500 };
const state = (look) => (look < 3 ? { status: "running", progress: look / 10 } : { status: "done", progress: 1, video_output: "https://v" });

/** Begins these waits with one client for a job that is done at the third look; what they saw, and what was asked. */
async function watched(...waits) {
  let looks = 0;
  let under = 0;
  let most = 0;
  const fetch = async () => {
    most = Math.max(most, ++under);
    await new Promise((resolve) => setTimeout(resolve, 20));
    under--;
    return answer(200, { id: UNKNOWN_ID, ...state(++looks) });
  };
  const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
  const seen = await settles(Promise.all(waits.map((wait) => wait(jobs))), 15_000);
  jobs.close();
  return { seen, looks, most };
}

test("ten who wait for one job, five of them for each change, ask for it as often as one", async () => {
  const poll = async (jobs) => [(await jobs.poll(UNKNOWN_ID, soon)).progress];
  const watch = async (jobs) => {
    const seen = new Set();
    for await (const { job } of jobs.watch(UNKNOWN_ID, soon)) seen.add(job);
    return Array.from(seen, ({ progress }) => progress);
  };
  const [one, ten] = await Promise.all([watched(watch), watched(...Array(5).fill(poll), ...Array(5).fill(watch))]);
  assert.deepEqual(one, { seen: [[0.1, 0.2, 1]], looks: 3, most: 1 });
  assert.deepEqual(ten, { seen: [...Array(5).fill([1]), ...Array(5).fill([0.1, 0.2, 1])], looks: 3, most: 1 });
});

test("huge numbers and tiny ones neither end a wait nor hurry it, and no time is over at once", async () => {
  const odd = [Infinity, 2 ** 40, 1e300, undefined];
  const nothing = [0, -0];
  const waits = [...odd.map((value) => ({ timeout: value })), ...[...odd, 5e-324].flatMap((value) => [{ expectedMs: value }, { maxInterval: value }])];
  const looks = waits.map(() => 0);
  const clients = waits.map((_, at) => {
    const fetch = async () => (looks[at]++, answer(200, { id: UNKNOWN_ID, status: "running", progress: 0.5 }));
    return new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
  });
  const ended = [];
  waits.forEach((options, at) => clients[at].poll(UNKNOWN_ID, options).then(ended.push.bind(ended), (error) => ended.push(error.name)));
  for (const timeout of nothing) assert.equal((await rejection(clients[0].poll(UNKNOWN_ID, { timeout }), 500)).name, "PollTimeoutError");
  await new Promise((resolve) => setTimeout(resolve, 800));
  assert.deepEqual(ended, []);
  assert.deepEqual(looks, waits.map(() => 1), "the next is at least a second later");
  for (const jobs of clients) jobs.close();
});

/** A server on which a job runs for ever; `silent` answers nothing. */
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
  for (const when of ["while an answer is on its way", "between two looks"]) {
    if (what === "get" && when === "between two looks") continue;
    test(`${what}() that is aborted ${when} settles at once and leaves no timer, no listener and no request`, async () => {
      silent = when !== "between two looks";
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
      const looked = requests;
      assert.equal(getEventListeners(signal, "abort").length, 1);

      const reason = new Error("mine");
      controller.abort(reason);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(thrown?.error, reason, "in the same turn");
      assert.equal(getEventListeners(signal, "abort").length, 0);
      // What waited for an answer hangs up; a connection that is idle may be kept for the next call.
      if (silent) await settles(closed, 1_000);
      await pause(2_000);
      assert.equal(requests, looked, "looks after the abort");
      assert.deepEqual(resources(), before);
    });
  }
}
