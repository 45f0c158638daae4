// Tests of a page that polls while it is hidden or in the back-forward cache: it sends nothing, and polls once when it is shown.

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

/** The page's polling interval, in milliseconds. */
const INTERVAL = 2_000;

/** A page that polls and watches a job with the default journal, and records when it polls and when it is shown. */
const waiting = (template) => `
  import { TemplateJobs, text } from "${PLAIN}";
  const polls = [];
  let answers = 0;
  const jobs = new TemplateJobs({
    baseUrl: "/relay",
    fetch: async (url, init) => {
      if (init.method !== "GET") return fetch(url, init);
      polls.push(performance.now());
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
    polls: () => polls,
    // True once it has polled, with no request in flight and no lock held: Firefox caches only such pages.
    isIdle: async () => answers > 0 && answers === polls.length && !(await navigator.locks.query()).held.length,
    // Only Chromium reports why a page was not cached.
    shown: () => ({ shown, reasons: performance.getEntriesByType("navigation")[0].notRestoredReasons ?? null }),
    seen: () => seen,
    ends: () => ends,
  };`;

/** Opens such a page in this engine and waits until its first polls are answered; `polls` counts them. */
async function withWaiting(engine, use) {
  const stage = await startStage("--speed", "1", "--www", project);
  try {
    const browser = browsers[engine];
    const elsewhere = { "elsewhere.html": "<!doctype html><title>elsewhere</title>" };
    const path = await page(`back-forward-${engine}`, waiting(stage.setting.template), elsewhere);
    await browser.visit(`${stage.url}/${path}`);
    await browser.act("wait");
    const polls = async () => (await browser.act("polls")).length;
    await until(() => browser.act("isIdle"));
    await use({ browser, stage, polls, elsewhere: `${stage.url}/${path.replace("index", "elsewhere")}` });
    assert.deepEqual(await browser.errors(), []);
  } finally {
    await stage.stop();
  }
}

/** Waits longer than a visible page would between two polls, and ends the job. */
async function unseen(stage) {
  const asked = (await stage.requests()).length;
  await setTimeout(2 * INTERVAL);
  assert.equal((await stage.requests()).length, asked, "a hidden page sends no request for a minute");
  await stage.faults([]);
  await stage.advance(600);
}

/** Asserts that both calls end by one poll right after the page is shown again. */
async function continues(browser, before, again) {
  const ends = await browser.act("ends");
  assert.deepEqual(ends.map(({ status }) => status), ["done", "done"]);
  const [poll, ...others] = (await browser.act("polls")).slice(before);
  assert.deepEqual(others, [], "one poll for both calls");
  assert.ok(poll - again < 1_000, `it polls at once, not after ${poll - again} ms`);
}

/** Leaves the page, with a poll in flight if `inFlight`, and goes back after the job has ended. */
const comesBack = (engine, inFlight) =>
  withWaiting(engine, async ({ browser, stage, polls, elsewhere }) => {
    if (inFlight) {
      await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000 }]);
      const before = await polls();
      await until(async () => (await polls()) > before);
    }
    const before = await polls();
    await browser.visit(elsewhere);
    await unseen(stage);
    await browser.back();
    const { shown, reasons } = await browser.act("shown");
    assert.equal(reasons, null);
    assert.deepEqual(shown.map(({ persisted }) => persisted), [false, true], "the page came from the cache");
    await continues(browser, before, shown[1].at);
  });

describe("a page that polls", { concurrency: engines.length }, () => {
  for (const engine of engines) {
    describe(engine, { concurrency: 1 }, () => {
      test(`in_${engine}_a_page_from_the_cache_polls_once_and_at_once`, () => comesBack(engine, false));

      // Firefox does not cache a page with a request in flight; a reload finds the job by pending().
      if (engine !== "firefox") {
        test(`in_${engine}_a_poll_in_flight_does_not_prevent_caching_and_does_not_delay_the_next`, () => comesBack(engine, true));
      }

      // WebKit's MiniBrowser cannot hide a page behind another.
      if (engine !== "webkit") {
        test(`in_${engine}_a_page_behind_another_tab_sends_nothing_and_polls_at_once_when_it_is_shown`, () =>
          withWaiting(engine, async ({ browser, stage, polls, elsewhere }) => {
            const before = await polls();
            await browser.inAnotherTab(elsewhere, () => unseen(stage));
            const seen = await until(async () => (await browser.act("seen")).find(({ state }) => state === "visible"));
            await continues(browser, before, seen.at);
          }));
      }
    });
  }
});
