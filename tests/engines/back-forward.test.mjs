// Decides whether a page that waits keeps still while nobody sees it, in another tab's shade or in the back-forward cache, where it may
// be kept, and whether its waits go on when it is come back to.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { PLAIN, engines, page, project, startBrowser, startStage, until } from "./harness.mjs";

const browsers = {};
before(async () => {
  await Promise.all(engines.map(async (engine) => {
    browsers[engine] = await startBrowser(engine);
  }));
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
  let answers = 0;
  const jobs = new TemplateJobs({
    baseUrl: "/relay",
    fetch: async (url, init) => {
      if (init.method !== "GET") return fetch(url, init);
      looks.push(performance.now());
      const answer = await fetch(url, init);
      answers++;
      return answer;
    },
  });
  const shown = [];
  addEventListener("pageshow", ({ persisted }) => shown.push({ persisted, at: performance.now() }));
  const seen = [];
  document.addEventListener("visibilitychange", () => seen.push({ state: document.visibilityState, at: performance.now() }));
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
    // Whether it has polled, and no request is in flight and no lock held: such a page is kept out by Firefox.
    rests: async () => answers > 0 && answers === looks.length && !(await navigator.locks.query()).held.length,
    // Only Chromium tells what kept a page out.
    shown: () => ({ shown, reasons: performance.getEntriesByType("navigation")[0].notRestoredReasons ?? null }),
    seen: () => seen,
    ends: () => ends,
  };`;

/** Uses such a page of this engine once it has looked and seen; `looks` gives how often it has. */
async function withWaiting(engine, use) {
  const stage = await startStage("--speed", "1", "--www", project);
  try {
    const browser = browsers[engine];
    const elsewhere = { "elsewhere.html": "<!doctype html><title>elsewhere</title>" };
    const path = await page(`back-forward-${engine}`, waiting(stage.setting.template), elsewhere);
    await browser.visit(`${stage.url}/${path}`);
    await browser.act("wait");
    const looks = async () => (await browser.act("looks")).length;
    await until(() => browser.act("rests"));
    await use({ browser, stage, looks, elsewhere: `${stage.url}/${path.replace("index", "elsewhere")}` });
    assert.deepEqual(await browser.errors(), []);
  } finally {
    await stage.stop();
  }
}

/** Lets time pass in which a page that is seen would look, and the job end. */
async function unseen(stage) {
  const asked = (await stage.requests()).length;
  await setTimeout(2 * INTERVAL);
  assert.equal((await stage.requests()).length, asked, "a page that nobody sees asks nothing for a minute");
  await stage.faults([]);
  await stage.advance(600);
}

/** Both waits end by one look at the moment at which the page is seen again. */
async function goesOn(browser, before, again) {
  const ends = await browser.act("ends");
  assert.deepEqual(ends.map(({ status }) => status), ["done", "done"]);
  const [look, ...others] = (await browser.act("looks")).slice(before);
  assert.deepEqual(others, [], "one look for both");
  assert.ok(look - again < 1_000, `it looks at once, and not after ${look - again} ms`);
}

/** Leaves the page, perhaps with a look under way, and comes back to it when the job has ended. */
const comesBack = (engine, underWay) =>
  withWaiting(engine, async ({ browser, stage, looks, elsewhere }) => {
    if (underWay) {
      await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000 }]);
      const before = await looks();
      await until(async () => (await looks()) > before);
    }
    const before = await looks();
    await browser.visit(elsewhere);
    await unseen(stage);
    await browser.back();
    const { shown, reasons } = await browser.act("shown");
    assert.equal(reasons, null);
    assert.deepEqual(shown.map(({ persisted }) => persisted), [false, true], "it was kept, and not loaded again");
    await goesOn(browser, before, shown[1].at);
  });

describe("a page that waits", { concurrency: engines.length }, () => {
  for (const engine of engines) {
    describe(engine, { concurrency: 1 }, () => {
      test(`in_${engine}_it_is_kept_when_it_is_left_and_looks_once_and_at_once_when_it_is_come_back_to`, () => comesBack(engine, false));

      // Firefox keeps no page that has a request under way; a reload finds the job by pending().
      if (engine !== "firefox") {
        test(`in_${engine}_a_look_under_way_keeps_it_neither_out_nor_waiting`, () => comesBack(engine, true));
      }

      // WebKit's MiniBrowser hides no page behind another.
      if (engine !== "webkit") {
        test(`in_${engine}_behind_another_tab_it_asks_nothing_and_looks_once_and_at_once_when_it_is_seen_again`, () =>
          withWaiting(engine, async ({ browser, stage, looks, elsewhere }) => {
            const before = await looks();
            await browser.inAnotherTab(elsewhere, () => unseen(stage));
            const seen = await until(async () => (await browser.act("seen")).find(({ state }) => state === "visible"));
            await goesOn(browser, before, seen.at);
          }));
      }
    });
  }
});
