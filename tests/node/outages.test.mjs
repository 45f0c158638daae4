// Tests of polls during an outage that is shorter than their deadline: they continue, at reasonable intervals.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { OUTAGE, OUTAGES, bursts, startOutage } from "../faults/outage.mjs";
import { load, settles, startSandbox } from "./harness.mjs";

const { TemplateJobs, text } = await load();

const WAITS = {
  poll: (jobs, job) => jobs.poll(job, { timeout: 60_000, maxInterval: 5_000 }),
  watch: async (jobs, job) => {
    let last;
    for await (const update of jobs.watch(job, { timeout: 60_000, maxInterval: 5_000 })) last = update.job;
    return last;
  },
};

describe("an outage of ten seconds", { concurrency: true }, () => {
  for (const kind of OUTAGES) {
    for (const [name, wait] of Object.entries(WAITS)) {
      test(`that is ${kind} does not end ${name}, which polls at most seven times meanwhile and never twice within 1.5 s`, async (t) => {
        const sandbox = await startSandbox("--speed", "1");
        const server = await startOutage(sandbox.url, kind);
        const polls = [];
        const jobs = new TemplateJobs({
          ...sandbox.options,
          baseUrl: server.url,
          journal: "memory",
          fetch: (url, init) => {
            if (init.method === "GET") polls.push(performance.now());
            return fetch(url, init);
          },
        });
        try {
          const template = (await sandbox.templates()).find(({ behaviour }) => behaviour === "done");
          const job = await jobs.submit({ template_id: template.template_id, variables: { title: text("Hello") } });
          const waiting = wait(jobs, job);
          waiting.catch(() => {});
          while (polls.length === 0) await setTimeout(50);
          const answered = polls.length;
          server.begin();
          await setTimeout(OUTAGE);
          const meanwhile = polls.length - answered;
          // The job ends during the outage.
          await sandbox.advance(600);
          await server.end();
          const back = performance.now();
          const { status, video_output } = await settles(waiting, 20_000);
          t.diagnostic(`${meanwhile} polls meanwhile, ${polls.length - answered - meanwhile} after, the last ${Math.round(polls.at(-1) - back)} ms after it`);
          assert.equal(status, "done");
          assert.match(video_output, /^http/);
          assert.ok(meanwhile >= 1 && meanwhile <= 7, `${meanwhile} polls`);
          assert.equal(polls.length, answered + meanwhile + 1, "the first poll after the outage finds the job");
          assert.deepEqual(bursts(polls), []);
        } finally {
          jobs.close();
          server.stop();
          await sandbox.stop();
        }
      });
    }
  }
});
