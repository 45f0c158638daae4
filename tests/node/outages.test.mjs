// Decides whether a wait outlives an outage that is shorter than its deadline, and whether it keeps its distance meanwhile and after.

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
      test(`that is ${kind} is outlived by ${name}, which looks at most seven times meanwhile and never twice within 1.5 s`, async (t) => {
        const sandbox = await startSandbox("--speed", "1");
        const server = await startOutage(sandbox.url, kind);
        const looks = [];
        const jobs = new TemplateJobs({
          ...sandbox.options,
          baseUrl: server.url,
          journal: "memory",
          fetch: (url, init) => {
            if (init.method === "GET") looks.push(performance.now());
            return fetch(url, init);
          },
        });
        try {
          const template = (await sandbox.templates()).find(({ behaviour }) => behaviour === "done");
          const job = await jobs.submit({ template_id: template.template_id, variables: { title: text("Hello") } });
          const waiting = wait(jobs, job);
          waiting.catch(() => {});
          while (looks.length === 0) await setTimeout(50);
          const answered = looks.length;
          server.begin();
          await setTimeout(OUTAGE);
          const meanwhile = looks.length - answered;
          // The job ends while nobody can see it.
          await sandbox.advance(600);
          await server.end();
          const back = performance.now();
          const { status, video_output } = await settles(waiting, 20_000);
          t.diagnostic(`${meanwhile} looks meanwhile, ${looks.length - answered - meanwhile} after, the last ${Math.round(looks.at(-1) - back)} ms after it`);
          assert.equal(status, "done");
          assert.match(video_output, /^http/);
          assert.ok(meanwhile >= 1 && meanwhile <= 7, `${meanwhile} looks`);
          assert.equal(looks.length, answered + meanwhile + 1, "the first look after it finds the job");
          assert.deepEqual(bursts(looks), []);
        } finally {
          jobs.close();
          server.stop();
          await sandbox.stop();
        }
      });
    }
  }
});
