// Tests of tabs of one origin in three browser engines: they share the polls of a job, and no tab depends on another.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PLAIN, engines, page, project, startBrowser, startStage, until } from "./harness.mjs";

const browsers = {};
before(async () => {
  for (const engine of engines) browsers[engine] = await startBrowser(engine);
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.quit();
});

/** The shortest interval between two polls of a job, in milliseconds; every call uses it. */
const FLOOR = 1_500;
/** The longest time that a poll waits for another tab that is polling and does not answer. */
const PATIENCE = 2_000;

/** A page that polls a job, and records its requests and updates. */
const waiting = (template) => `
  import { TemplateJobs, text } from "${PLAIN}";
  let requested = 0;
  const options = {
    baseUrl: "/relay",
    fetch: (url, init) => {
      if (init.method === "GET") requested++;
      return fetch(url, init);
    },
  };
  const jobs = new TemplateJobs(options);
  const updates = [];
  let ends;
  let before; // the number of its requests at its first update
  const wait = (id, first) => {
    let last;
    const onUpdate = (job) => {
      if (job === last) return; // an update without a change
      last = job;
      const { status, progress } = job;
      if (updates.push([status, progress]) > 1) return;
      before = requested;
      first?.();
    };
    ends = jobs.poll(id, { until: "video", maxInterval: ${FLOOR}, onUpdate }).then((job) => ({ job, at: Date.now() }));
    ends.catch(() => {});
  };
  const together = new BroadcastChannel("together");
  together.onmessage = ({ data }) => wait(data);
  // The locks of the library, held and requested.
  const locks = async () => {
    const { held, pending } = await navigator.locks.query();
    return [...held, ...pending].map(({ name }) => name).filter((name) => name.includes("/look/"));
  };
  window.acts = {
    submit: () => jobs.submit({ template_id: "${template}", variables: { title: text("Hello") } }),
    wait: (id) => wait(id),
    // The other tabs start at this tab's first update.
    waitFirst: (id) => wait(id, () => together.postMessage(id)),
    waitTogether: (id) => {
      together.postMessage(id);
      wait(id);
    },
    received: () => ({ requested, updates, before }),
    ends: () => ends,
    locks,
    hide: () => {
      Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    },
    // The events of a page that goes to the back-forward cache and comes back.
    leave: () => dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })),
    comeBack: () => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })),
    // Messages that another script of this origin may send to the library.
    invalid: async (id, other) => {
      const name = (await locks())[0].replace("/look", "").replace("/" + id, "");
      const channel = new BroadcastChannel(name);
      const at = Date.now();
      const deep = JSON.parse("[".repeat(2_000) + "]".repeat(2_000));
      const done = { id, status: "done", video_output: "https://example.com/not-this" };
      const circle = { id };
      circle.body = circle;
      const invalid = [
        undefined, null, 0, "id", [], new Map([["id", id]]), new ArrayBuffer(8), new Date(), circle, { status: 200 }, { id: {}, status: {} },
        { id, status: 200 }, { id, status: 200, at, body: null }, { id, status: 200, at, body: deep }, { id, status: 503, body: deep, at: {} },
        { id, status: "200", at: "now", body: done }, { id, status: 200, body: done }, { id, status: 200, at: at - 3_600_000, body: done },
        { id, status: 200, at, body: { ...done, id: other } },
        { id, status: 401, at, body: { detail: "No." } }, { id, status: 404, at, body: {} }, { id, status: 302, at }, { id, at, late: true },
        { id, at, field: "headers", message: "could not be made" }, { id: other, status: 200, at, body: { ...done, id: other } }, circle,
      ];
      for (const one of invalid) channel.postMessage(one);
      channel.close();
      return invalid.length;
    },
    // As in a frame of an opaque origin, on a page without TLS, or in an old browser.
    without: async (what, id) => {
      const [owner, refuse] = { locks: [navigator], channel: [window], leave: [navigator, true] }[what];
      const name = what === "channel" ? "BroadcastChannel" : "locks";
      const refused = async () => {
        throw new DOMException("The operation is insecure.", "SecurityError");
      };
      Object.defineProperty(owner, name, { value: refuse ? { request: refused } : undefined, configurable: true });
      return new TemplateJobs(options).poll(id, { until: "video" });
    },
  };`;

/** Opens several such pages in this engine, at the origin of a new sandbox. A job ends when the test advances the clock. */
async function withTabs(name, engine, count, use) {
  const stage = await startStage("--speed", "1", "--www", project);
  try {
    const path = await page(`tabs-${name}-${engine}`, waiting(stage.setting.template));
    await browsers[engine].inWindows(`${stage.url}/${path}`, count, async (tabs) => {
      const { id } = await tabs[0].act("submit");
      const polls = async () => (await stage.requests()).filter(({ method }) => method === "GET").length;
      await use(tabs, { ...stage, id, polls, ends: () => stage.advance(600) });
    });
  } finally {
    await stage.stop();
  }
}

const received = (tab) => tab.act("received");

for (const engine of engines) {
  for (const count of [3, 10]) {
    test(`in_${engine}_${count}_tabs_that_poll_one_job_send_the_requests_of_one`, (t) =>
      withTabs(`${count}`, engine, count, async (tabs, stage) => {
        const begun = performance.now();
        await tabs[0].act("waitTogether", stage.id);
        await until(async () => (await stage.polls()) >= 6);
        await stage.ends();
        for (const tab of tabs) assert.equal((await tab.act("ends")).job.status, "done");
        const [polls, most] = [await stage.polls(), 1 + (performance.now() - begun) / FLOOR];
        t.diagnostic(`${polls} polls, of at most ${most}`);
        assert.ok(polls <= most, `${polls} polls in the time of ${most}`);
        const all = await Promise.all(tabs.map(received));
        assert.ok(all[0].updates.length > 1);
        for (const { updates } of all) assert.deepEqual(updates, all[0].updates);
        for (const tab of tabs) assert.deepEqual(await tab.errors(), []);
      }));
  }

  test(`in_${engine}_a_later_tab_receives_the_latest_answer_of_another_without_a_request`, () =>
    withTabs("later", engine, 2, async ([first, second], stage) => {
      await first.act("waitFirst", stage.id);
      await until(async () => (await received(second)).updates.length > 0);
      assert.equal((await received(first)).before, 1);
      assert.equal((await received(second)).before, 0);
    }));

  test(`in_${engine}_a_hidden_tab_sends_nothing_and_receives_the_end_from_a_visible_one`, () =>
    withTabs("hidden", engine, 2, async ([hidden, visible], stage) => {
      await hidden.act("wait", stage.id);
      await until(async () => (await received(hidden)).updates.length > 0);
      await hidden.act("hide");
      const { requested } = await received(hidden);
      await visible.act("wait", stage.id);
      const polls = await stage.polls();
      await until(async () => (await stage.polls()) > polls + 2);
      await stage.ends();
      const begun = Date.now();
      const [one, other] = [await visible.act("ends"), await hidden.act("ends")];
      assert.ok(one.at - begun < FLOOR + 1_000, `${one.at - begun} ms after the job`);
      assert.ok(other.at - one.at < 1_000, `${other.at - one.at} ms after the visible one`);
      assert.equal((await received(hidden)).requested, requested);
    }));

  // How the polling tab ends. Only Chromium has a page that crashes it.
  for (const end of engine === "chromium" ? ["close", "crash"] : ["close"]) {
    test(`in_${engine}_another_tab_takes_over_at_once_from_a_polling_tab_that_ends_by_a_${end}`, () =>
      withTabs(end, engine, 2, async ([first, second], stage) => {
        await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000, times: 1 }]);
        await first.act("wait", stage.id);
        await until(async () => (await stage.polls()) === 1);
        await second.act("wait", stage.id);
        const begun = Date.now();
        await first[end]();
        await until(async () => (await received(second)).updates.length > 0);
        assert.equal((await received(second)).requested, 1);
        assert.ok(Date.now() - begun < PATIENCE, `${Date.now() - begun} ms`);
        await stage.ends();
        assert.equal((await second.act("ends")).job.status, "done");
      }));
  }

  test(`in_${engine}_a_tab_whose_request_hangs_does_not_delay_another`, () =>
    withTabs("hangs", engine, 2, async ([first, second], stage) => {
      await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000, times: 1 }]);
      await first.act("wait", stage.id);
      await until(async () => (await stage.polls()) === 1);
      await stage.ends();
      const begun = Date.now();
      await second.act("wait", stage.id);
      const end = await second.act("ends");
      assert.equal(end.job.status, "done");
      assert.ok(end.at - begun < PATIENCE + 1_000, `${end.at - begun} ms`);
      // The first tab receives the end too, and aborts its own request.
      assert.ok((await first.act("ends")).at - end.at < 1_000);
    }));

  test(`in_${engine}_invalid_messages_on_the_channel_change_nothing`, () =>
    withTabs("rubbish", engine, 2, async ([tab, other], stage) => {
      await tab.act("wait", stage.id);
      await until(async () => (await tab.act("locks")).length > 0);
      assert.ok((await tab.act("invalid", stage.id, "3c90c3cc-0d44-4b50-8888-8dd25736052a")) > 20);
      await until(async () => (await stage.polls()) > 3);
      const { updates } = await received(tab);
      assert.deepEqual(updates.filter(([status]) => !["pending", "in_queue", "running"].includes(status)), []);
      await other.act("wait", stage.id);
      await stage.ends();
      const [one, two] = [await tab.act("ends"), await other.act("ends")];
      assert.equal(one.job.status, "done");
      assert.deepEqual(two.job, one.job);
      assert.deepEqual(await tab.errors(), []);
    }));

  test(`in_${engine}_a_page_in_the_cache_holds_no_lock_and_continues_when_it_is_shown`, () =>
    withTabs("left", engine, 1, async ([tab], stage) => {
      await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000 }]);
      await tab.act("wait", stage.id);
      await until(async () => (await tab.act("locks")).length > 0);
      await tab.act("leave");
      // The poll in flight does not end by itself.
      await until(async () => (await tab.act("locks")).length === 0);
      await stage.faults([]);
      await stage.advance(3_600);
      await tab.act("comeBack");
      assert.equal((await tab.act("ends")).job.status, "done");
      // Nor after the call has ended.
      await until(async () => (await tab.act("locks")).length === 0);
    }));

  for (const what of ["locks", "channel", "leave"]) {
    test(`in_${engine}_without_${what === "leave" ? "permission to use them" : what}_each_tab_polls_for_itself`.replaceAll(" ", "_"), () =>
      withTabs(`without-${what}`, engine, 1, async ([tab], stage) => {
        await stage.ends();
        assert.equal((await tab.act("without", what, stage.id)).status, "done");
        assert.deepEqual(await tab.act("locks").catch(() => []), []);
      }));
  }
}
