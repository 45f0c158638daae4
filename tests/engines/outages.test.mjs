// Tests of polls during an outage in three browser engines: they continue, at reasonable intervals.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { OUTAGE, OUTAGES, bursts, startOutage } from "../faults/outage.mjs";
import { PLAIN, engines, page, project, startBrowser, startStage, offlineEngines, until } from "./harness.mjs";

const browsers = {};
before(async () => {
  await Promise.all(engines.map(async (engine) => {
    browsers[engine] = await startBrowser(engine);
  }));
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.quit();
});

/** A page that polls one job and watches another at each of several servers, and records the times of their polls. */
const waiting = (template) => `
  import { TemplateJobs, text } from "${PLAIN}";
  const polls = {};
  const ends = {};
  const noting = (key) => (url, init) => {
    if (init.method === "GET") polls[key].push(performance.now());
    return fetch(url, init);
  };
  const client = (baseUrl, key) =>
    new TemplateJobs({ baseUrl, apiId: "sandbox", apiKey: "sandbox", dangerouslyAllowBrowser: true, journal: "memory", fetch: noting(key) });
  const waits = {
    poll: (jobs, job) => jobs.poll(job, { timeout: 60_000, maxInterval: 5_000 }),
    watch: async (jobs, job) => {
      let last;
      for await (const update of jobs.watch(job, { timeout: 60_000, maxInterval: 5_000 })) last = update.job;
      return last;
    },
  };
  window.acts = {
    wait: async (servers) => {
      for (const [name, url] of Object.entries(servers)) {
        for (const [how, wait] of Object.entries(waits)) {
          const key = \`\${name} \${how}\`;
          polls[key] = [];
          const jobs = client(url, key);
          const job = await jobs.submit({ template_id: "${template}", variables: { title: text("Hello") } });
          ends[key] = wait(jobs, job).then(({ status }) => status, ({ name, message }) => \`\${name}: \${message}\`);
        }
      }
    },
    polls: () => polls,
    now: () => performance.now(),
    ends: async () => {
      const result = {};
      for (const key of Object.keys(ends)) result[key] = await ends[key];
      return result;
    },
  };`;

/** Opens such a page in this engine, with a server for each kind of outage. `away` starts the outage and returns what ends it. */
async function outlives(engine, kinds, away, check) {
  const stage = await startStage("--speed", "1", "--www", project);
  const servers = await Promise.all(kinds.map((kind) => startOutage(stage.url, kind)));
  try {
    const browser = browsers[engine];
    const path = await page(`outage-${kinds[0]}-${engine}`, waiting(stage.setting.template));
    await browser.visit(`${stage.url}/${path}`);
    await browser.act("wait", Object.fromEntries(kinds.map((kind, index) => [kind, servers[index].url])));
    await until(async () => Object.values(await browser.act("polls")).every((times) => times.length > 0));
    const come = await away(browser, servers);
    const before = await browser.act("polls");
    await setTimeout(OUTAGE);
    const meanwhile = await browser.act("polls");
    // The jobs end during the outage.
    await stage.advance(600);
    const back = await browser.act("now");
    await come();
    const ends = await browser.act("ends");
    const polls = await browser.act("polls");
    for (const [key, times] of Object.entries(polls)) {
      assert.equal(ends[key], "done", key);
      check({ key, times, meanwhile: meanwhile[key].length - before[key].length, after: times.slice(meanwhile[key].length), back });
    }
    assert.deepEqual(await browser.errors(), []);
  } finally {
    for (const server of servers) server.stop();
    await stage.stop();
  }
}

describe("an outage of ten seconds", { concurrency: engines.length }, () => {
  for (const engine of engines) {
    test(`in_${engine}_an_outage_of_the_server_ends_no_poll_and_takes_at_most_seven_requests_1.5_s_apart`, (t) => {
      const away = async (browser, servers) => {
        for (const server of servers) server.begin();
        return () => Promise.all(servers.map((server) => server.end()));
      };
      return outlives(engine, OUTAGES, away, ({ key, times, meanwhile, after, back }) => {
        t.diagnostic(`${key}: ${meanwhile} polls meanwhile, then ${after.map((at) => Math.round(at - back))} ms after it`);
        assert.ok(meanwhile >= 1 && meanwhile <= 7, `${key}: ${meanwhile} polls`);
        assert.equal(after.length, 1, `${key}: the first poll after the outage finds the job`);
        assert.deepEqual(bursts(times), [], key);
      });
    });
  }
});

// After the others, since this affects the whole browser.
describe("ten seconds without a network", { concurrency: engines.length }, () => {
  for (const engine of offlineEngines) {
    test(`in_${engine}_an_offline_browser_sends_nothing_and_polls_once_and_at_once_when_online`, () => {
      const away = async (browser) => {
        await browser.offline(true);
        return () => browser.offline(false);
      };
      return outlives(engine, ["nothing"], away, ({ key, meanwhile, after, back }) => {
        assert.equal(meanwhile, 0, key);
        assert.equal(after.length, 1, key);
        assert.ok(after[0] - back < 1_000, `${key}: ${after[0] - back} ms`);
      });
    });
  }
});
