// Decides whether the tabs of one origin that wait for one job ask the server as one tab would, in every engine, and whether a tab depends on none of the others.

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

/** The closest that a client makes two looks at one job, in milliseconds: here each wait asks for it. */
const FLOOR = 1_500;
/** How long a look waits at most for a tab that is looking already, and says nothing. */
const PATIENCE = 2_000;

/** A page that waits for a job, and writes down what it asks and hears. */
const waiting = (template) => `
  import { TemplateJobs, text } from "${PLAIN}";
  let asked = 0;
  const options = {
    baseUrl: "/relay",
    fetch: (url, init) => {
      if (init.method === "GET") asked++;
      return fetch(url, init);
    },
  };
  const jobs = new TemplateJobs(options);
  const updates = [];
  let ends;
  let before; // what it had asked when it first heard something
  const wait = (id, first) => {
    let last;
    const onUpdate = (job) => {
      if (job === last) return; // nothing but time has changed
      last = job;
      const { status, progress } = job;
      if (updates.push([status, progress]) > 1) return;
      before = asked;
      first?.();
    };
    ends = jobs.poll(id, { until: "video", maxInterval: ${FLOOR}, onUpdate }).then((job) => ({ job, at: Date.now() }));
    ends.catch(() => {});
  };
  const together = new BroadcastChannel("together");
  together.onmessage = ({ data }) => wait(data);
  // What the library holds, or waits for.
  const locks = async () => {
    const { held, pending } = await navigator.locks.query();
    return [...held, ...pending].map(({ name }) => name).filter((name) => name.includes("/look/"));
  };
  window.acts = {
    submit: () => jobs.submit({ template_id: "${template}", variables: { title: text("Hello") } }),
    wait: (id) => wait(id),
    // Others begin as soon as this one has heard something.
    waitFirst: (id) => wait(id, () => together.postMessage(id)),
    waitTogether: (id) => {
      together.postMessage(id);
      wait(id);
    },
    heard: () => ({ asked, updates, before }),
    ends: () => ends,
    locks,
    hide: () => {
      Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    },
    // What a page hears that goes to the back-forward cache, and comes back.
    leave: () => dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })),
    comeBack: () => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })),
    // Whatever a script of this origin may say to the library.
    babble: async (id, other) => {
      const name = (await locks())[0].replace("/look", "").replace("/" + id, "");
      const channel = new BroadcastChannel(name);
      const at = Date.now();
      const deep = JSON.parse("[".repeat(2_000) + "]".repeat(2_000));
      const done = { id, status: "done", video_output: "https://example.com/not-this" };
      const circle = { id };
      circle.body = circle;
      const babble = [
        undefined, null, 0, "id", [], new Map([["id", id]]), new ArrayBuffer(8), new Date(), circle, { status: 200 }, { id: {}, status: {} },
        { id, status: 200 }, { id, status: 200, at, body: null }, { id, status: 200, at, body: deep }, { id, status: 503, body: deep, at: {} },
        { id, status: "200", at: "now", body: done }, { id, status: 200, body: done }, { id, status: 200, at: at - 3_600_000, body: done },
        { id, status: 200, at, body: { ...done, id: other } },
        { id, status: 401, at, body: { detail: "No." } }, { id, status: 404, at, body: {} }, { id, status: 302, at }, { id, at, late: true },
        { id, at, field: "headers", message: "could not be made" }, { id: other, status: 200, at, body: { ...done, id: other } }, circle,
      ];
      for (const one of babble) channel.postMessage(one);
      channel.close();
      return babble.length;
    },
    // As in a frame of no origin, on a page without TLS, or in an old browser.
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

/** So many such pages of this engine, at the origin of a sandbox of its own. A job ends when the test says so. */
async function withTabs(name, engine, count, use) {
  const stage = await startStage("--speed", "1", "--www", project);
  try {
    const path = await page(`tabs-${name}-${engine}`, waiting(stage.setting.template));
    await browsers[engine].inWindows(`${stage.url}/${path}`, count, async (tabs) => {
      const { id } = await tabs[0].act("submit");
      const looks = async () => (await stage.requests()).filter(({ method }) => method === "GET").length;
      await use(tabs, { ...stage, id, looks, ends: () => stage.advance(600) });
    });
  } finally {
    await stage.stop();
  }
}

const heard = (tab) => tab.act("heard");

for (const engine of engines) {
  for (const count of [3, 10]) {
    test(`in_${engine}_the_requests_of_${count}_tabs_that_wait_for_one_job_are_those_of_one`, (t) =>
      withTabs(`${count}`, engine, count, async (tabs, stage) => {
        const begun = performance.now();
        await tabs[0].act("waitTogether", stage.id);
        await until(async () => (await stage.looks()) >= 6);
        await stage.ends();
        for (const tab of tabs) assert.equal((await tab.act("ends")).job.status, "done");
        const [looks, most] = [await stage.looks(), 1 + (performance.now() - begun) / FLOOR];
        t.diagnostic(`${looks} looks, of at most ${most}`);
        assert.ok(looks <= most, `${looks} looks in the time of ${most}`);
        const all = await Promise.all(tabs.map(heard));
        assert.ok(all[0].updates.length > 1);
        for (const { updates } of all) assert.deepEqual(updates, all[0].updates);
        for (const tab of tabs) assert.deepEqual(await tab.errors(), []);
      }));
  }

  test(`in_${engine}_a_tab_that_comes_later_is_told_what_another_has_just_heard_and_asks_nothing`, () =>
    withTabs("later", engine, 2, async ([first, second], stage) => {
      await first.act("waitFirst", stage.id);
      await until(async () => (await heard(second)).updates.length > 0);
      assert.equal((await heard(first)).before, 1);
      assert.equal((await heard(second)).before, 0);
    }));

  test(`in_${engine}_a_hidden_tab_asks_nothing_and_hears_the_end_with_a_visible_one_that_is_not_late`, () =>
    withTabs("hidden", engine, 2, async ([hidden, visible], stage) => {
      await hidden.act("wait", stage.id);
      await until(async () => (await heard(hidden)).updates.length > 0);
      await hidden.act("hide");
      const { asked } = await heard(hidden);
      await visible.act("wait", stage.id);
      const looks = await stage.looks();
      await until(async () => (await stage.looks()) > looks + 2);
      await stage.ends();
      const begun = Date.now();
      const [one, other] = [await visible.act("ends"), await hidden.act("ends")];
      assert.ok(one.at - begun < FLOOR + 1_000, `${one.at - begun} ms after the job`);
      assert.ok(other.at - one.at < 1_000, `${other.at - one.at} ms after the visible one`);
      assert.equal((await heard(hidden)).asked, asked);
    }));

  // What ends the tab that is looking. Only Chromium has a page on which it crashes.
  for (const end of engine === "chromium" ? ["close", "crash"] : ["close"]) {
    test(`in_${engine}_nobody_waits_for_a_tab_that_looks_and_comes_to_its_end_by_a_${end}`, () =>
      withTabs(end, engine, 2, async ([first, second], stage) => {
        await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000, times: 1 }]);
        await first.act("wait", stage.id);
        await until(async () => (await stage.looks()) === 1);
        await second.act("wait", stage.id);
        const begun = Date.now();
        await first[end]();
        await until(async () => (await heard(second)).updates.length > 0);
        assert.equal((await heard(second)).asked, 1);
        assert.ok(Date.now() - begun < PATIENCE, `${Date.now() - begun} ms`);
        await stage.ends();
        assert.equal((await second.act("ends")).job.status, "done");
      }));
  }

  test(`in_${engine}_a_tab_whose_request_hangs_is_not_waited_for`, () =>
    withTabs("hangs", engine, 2, async ([first, second], stage) => {
      await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000, times: 1 }]);
      await first.act("wait", stage.id);
      await until(async () => (await stage.looks()) === 1);
      await stage.ends();
      const begun = Date.now();
      await second.act("wait", stage.id);
      const end = await second.act("ends");
      assert.equal(end.job.status, "done");
      assert.ok(end.at - begun < PATIENCE + 1_000, `${end.at - begun} ms`);
      // The other hears of it too, and its request is taken back.
      assert.ok((await first.act("ends")).at - end.at < 1_000);
    }));

  test(`in_${engine}_rubbish_on_the_channel_changes_nothing`, () =>
    withTabs("rubbish", engine, 2, async ([tab, other], stage) => {
      await tab.act("wait", stage.id);
      await until(async () => (await tab.act("locks")).length > 0);
      assert.ok((await tab.act("babble", stage.id, "3c90c3cc-0d44-4b50-8888-8dd25736052a")) > 20);
      await until(async () => (await stage.looks()) > 3);
      const { updates } = await heard(tab);
      assert.deepEqual(updates.filter(([status]) => !["pending", "in_queue", "running"].includes(status)), []);
      await other.act("wait", stage.id);
      await stage.ends();
      const [one, two] = [await tab.act("ends"), await other.act("ends")];
      assert.equal(one.job.status, "done");
      assert.deepEqual(two.job, one.job);
      assert.deepEqual(await tab.errors(), []);
    }));

  test(`in_${engine}_a_page_that_is_left_holds_nothing_and_goes_on_when_it_is_back`, () =>
    withTabs("left", engine, 1, async ([tab], stage) => {
      await stage.faults([{ on: "get", kind: "delay", ms: 3_600_000 }]);
      await tab.act("wait", stage.id);
      await until(async () => (await tab.act("locks")).length > 0);
      await tab.act("leave");
      // The look under way does not end by itself.
      await until(async () => (await tab.act("locks")).length === 0);
      await stage.faults([]);
      await stage.advance(3_600);
      await tab.act("comeBack");
      assert.equal((await tab.act("ends")).job.status, "done");
      // Nor when nobody waits any more.
      await until(async () => (await tab.act("locks")).length === 0);
    }));

  for (const what of ["locks", "channel", "leave"]) {
    test(`in_${engine}_without_${what === "leave" ? "leave to use them" : what}_each_tab_looks_for_itself`.replaceAll(" ", "_"), () =>
      withTabs(`without-${what}`, engine, 1, async ([tab], stage) => {
        await stage.ends();
        assert.equal((await tab.act("without", what, stage.id)).status, "done");
        assert.deepEqual(await tab.act("locks").catch(() => []), []);
      }));
  }
}
