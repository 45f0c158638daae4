// Decides whether a wait outlives an outage in every engine, and whether the page keeps its distance meanwhile and after.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { OUTAGE, OUTAGES, bursts, startOutage } from "../faults/outage.mjs";
import { PLAIN, engines, page, project, startBrowser, startStage, unpluggable, until } from "./harness.mjs";

const browsers = {};
before(async () => {
  await Promise.all(engines.map(async (engine) => {
    browsers[engine] = await startBrowser(engine);
  }));
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.quit();
});

/** A page that polls one job and watches another at each server that it is told of, and writes down when it looks at which. */
const waiting = (template) => `
  import { TemplateJobs, text } from "${PLAIN}";
  const looks = {};
  const ends = {};
  const noting = (key) => (url, init) => {
    if (init.method === "GET") looks[key].push(performance.now());
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
          looks[key] = [];
          const jobs = client(url, key);
          const job = await jobs.submit({ template_id: "${template}", variables: { title: text("Hello") } });
          ends[key] = wait(jobs, job).then(({ status }) => status, ({ name, message }) => \`\${name}: \${message}\`);
        }
      }
    },
    looks: () => looks,
    now: () => performance.now(),
    ends: async () => {
      const told = {};
      for (const key of Object.keys(ends)) told[key] = await ends[key];
      return told;
    },
  };`;

/** Such a page of this engine, which waits at servers that can be away in these ways; `away` begins it and gives what ends it. */
async function outlives(engine, kinds, away, check) {
  const stage = await startStage("--speed", "1", "--www", project);
  const servers = await Promise.all(kinds.map((kind) => startOutage(stage.url, kind)));
  try {
    const browser = browsers[engine];
    const path = await page(`outage-${kinds[0]}-${engine}`, waiting(stage.setting.template));
    await browser.visit(`${stage.url}/${path}`);
    await browser.act("wait", Object.fromEntries(kinds.map((kind, index) => [kind, servers[index].url])));
    await until(async () => Object.values(await browser.act("looks")).every((times) => times.length > 0));
    const come = await away(browser, servers);
    const before = await browser.act("looks");
    await setTimeout(OUTAGE);
    const meanwhile = await browser.act("looks");
    // The jobs end while nobody can see it.
    await stage.advance(600);
    const back = await browser.act("now");
    await come();
    const ends = await browser.act("ends");
    const looks = await browser.act("looks");
    for (const [key, times] of Object.entries(looks)) {
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
    test(`in_${engine}_a_server_that_is_away_is_waited_out_with_seven_looks_at_most_and_none_within_1.5_s_of_another`, (t) => {
      const away = async (browser, servers) => {
        for (const server of servers) server.begin();
        return () => Promise.all(servers.map((server) => server.end()));
      };
      return outlives(engine, OUTAGES, away, ({ key, times, meanwhile, after, back }) => {
        t.diagnostic(`${key}: ${meanwhile} looks meanwhile, then ${after.map((at) => Math.round(at - back))} ms after it`);
        assert.ok(meanwhile >= 1 && meanwhile <= 7, `${key}: ${meanwhile} looks`);
        assert.equal(after.length, 1, `${key}: the first look after it finds the job`);
        assert.deepEqual(bursts(times), [], key);
      });
    });
  }
});

// After the others: what is taken is the whole browser's.
describe("ten seconds without a network", { concurrency: engines.length }, () => {
  for (const engine of unpluggable) {
    test(`in_${engine}_a_browser_that_is_offline_asks_nothing_and_looks_once_and_at_once_when_it_is_back`, () => {
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
