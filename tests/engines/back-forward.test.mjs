// Decides whether a page that waits may be kept in the back-forward cache, and whether its waits go on when it is come back to.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { PLAIN, engines, page, project, startBrowser, startStage, until } from "./harness.mjs";

const browsers = {};
before(async () => {
  for (const engine of engines) browsers[engine] = await startBrowser(engine);
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.quit();
});

/** How often the page looks, in milliseconds. */
const INTERVAL = 2_000;

/** A page that polls and watches a job, with the default journal, and writes down when it looks and when it is shown. */
const waiting = (template) => `
  import { TemplateJobs, text } from "${PLAIN}";
  const looks = [];
  const jobs = new TemplateJobs({
    baseUrl: "/relay",
    fetch: (url, init) => {
      if (init.method === "GET") looks.push(performance.now());
      return fetch(url, init);
    },
  });
  const shown = [];
  addEventListener("pageshow", ({ persisted }) => shown.push({ persisted, at: performance.now() }));
  let ends;
  const watched = async (job) => {
    let last;
    for await (const update of jobs.watch(job, { maxInterval: ${INTERVAL} })) last = update.job;
    return last;
  };
  window.acts = {
    wait: async () => {
      const job = await jobs.submit({ template_id: "${template}", variables: { title: text("Hello") } });
      ends = Promise.all([jobs.poll(job, { maxInterval: ${INTERVAL} }), watched(job)]);
      ends.catch(() => {});
    },
    looks: () => looks,
    // Only Chromium tells what kept a page out.
    shown: () => ({ shown, reasons: performance.getEntriesByType("navigation")[0].notRestoredReasons ?? null }),
    ends: () => ends,
  };`;

/** Leaves such a page of this engine, perhaps with a look under way, and comes back to it when the job has ended. */
async function comesBack(engine, underWay) {
  const stage = await startStage("--speed", "1", "--www", project);
  try {
    const browser = browsers[engine];
    const elsewhere = { "elsewhere.html": "<!doctype html><title>elsewhere</title>" };
    const path = await page(`back-forward-${engine}`, waiting(stage.setting.template), elsewhere);
    await browser.visit(`${stage.url}/${path}`);
    await browser.act("wait");
    const looks = async () => (await browser.act("looks")).length;
    await until(looks);
    if (underWay) {
      await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000 }]);
      const before = await looks();
      await until(async () => (await looks()) > before);
    }
    const before = await looks();
    await browser.visit(`${stage.url}/${path.replace("index", "elsewhere")}`);
    const asked = (await stage.requests()).length;
    await setTimeout(2 * INTERVAL);
    assert.equal((await stage.requests()).length, asked, "a page that is kept asks nothing");
    await stage.faults([]);
    await stage.advance(600);
    await browser.back();

    const { shown, reasons } = await browser.act("shown");
    assert.equal(reasons, null);
    assert.deepEqual(shown.map(({ persisted }) => persisted), [false, true], "it was kept, and not loaded again");
    const ends = await browser.act("ends");
    assert.deepEqual(ends.map(({ status }) => status), ["done", "done"]);
    const [look, ...others] = (await browser.act("looks")).slice(before);
    assert.deepEqual(others, [], "one look for both");
    assert.ok(look - shown[1].at < 1_000, `it looks at once, and not after ${look - shown[1].at} ms`);
    assert.deepEqual(await browser.errors(), []);
  } finally {
    await stage.stop();
  }
}

describe("a page that waits", { concurrency: true }, () => {
  for (const engine of engines) {
    describe(engine, { concurrency: 1 }, () => {
      test(`in_${engine}_it_is_kept_when_it_is_left_and_looks_once_and_at_once_when_it_is_come_back_to`, () => comesBack(engine, false));

      // Firefox keeps no page that has a request under way; a reload finds the job by pending().
      if (engine !== "firefox") {
        test(`in_${engine}_a_look_under_way_keeps_it_neither_out_nor_waiting`, () => comesBack(engine, true));
      }
    });
  }
});
