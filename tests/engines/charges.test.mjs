// Tests of charges in three browser engines: reloads, aborts, tabs, missing storage, and connections that are reset.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PATIENCE, PLAIN, engines, page, project, rejection, startBrowser, startStage, until } from "./harness.mjs";

const browsers = {};
before(async () => {
  for (const engine of engines) browsers[engine] = await startBrowser(engine);
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.quit();
});

/** A page that charges through a relay at its own origin with the default journal, and counts its POSTs. */
const charging = (template) => `
  import { TemplateJobs, text } from "${PLAIN}";
  const { fetch } = globalThis;
  let posted = 0;
  globalThis.fetch = function (what, init) {
    if ((init?.method ?? what.method) === "POST") posted++;
    return fetch.call(this, what, init);
  };
  const jobs = new TemplateJobs({ baseUrl: "/relay" });
  const request = { template_id: "${template}", variables: { title: text("Hello") } };
  const leaving = new AbortController();
  let charge;
  window.acts = {
    submit: (operation) => jobs.submit(request, { operation }),
    // Started, not awaited.
    start: (operation) => {
      charge = jobs.submit(request, { operation, signal: leaving.signal });
      charge.catch(() => {});
    },
    leave: async () => {
      leaving.abort("left");
      const reason = await charge.catch((thrown) => thrown);
      return { reason, pending: await jobs.pending() };
    },
    startPolling: (id) => {
      jobs.poll(id, { expectedMs: 1_000, maxInterval: 1_000 });
    },
    poll: (id) => jobs.poll(id, { until: "video", expectedMs: 1_000, maxInterval: 1_000 }),
    pending: () => jobs.pending(),
    settle: (operation, jobId) => jobs.settle(operation, { jobId }),
    posted: () => posted,
    // The state of a page without a network.
    offline: () => {
      Object.defineProperty(navigator, "onLine", { value: false, configurable: true });
    },
    online: () => {
      delete navigator.onLine;
      dispatchEvent(new Event("online"));
    },
    // The events of a page that goes to the back-forward cache and comes back.
    goAway: () => {
      Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    },
    comeBack: () => {
      delete document.visibilityState;
      document.dispatchEvent(new Event("visibilitychange"));
      dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    },
    // Started; waited() returns the result.
    wait: (id) => {
      charge = jobs.poll(id, { until: "video", expectedMs: 600_000 });
      charge.catch(() => {});
    },
    waited: () => charge,
    // As in a frame without access to storage.
    withoutStorage: async (operation) => {
      Object.defineProperty(globalThis, "indexedDB", { get: () => { throw new DOMException("The operation is insecure.", "SecurityError"); } });
      const refused = await jobs.submit(request, { operation }).catch((error) => error);
      const { id } = await new TemplateJobs({ baseUrl: "/relay", journal: "memory" }).submit(request, { operation });
      return { name: refused.name, message: refused.message, cause: refused.cause?.name, id };
    },
  };`;

/** Opens such a page in this engine, at the origin of a new sandbox in real time. A job ends when the test advances the clock. */
async function withPage(name, engine, use) {
  const stage = await startStage("--speed", "1", "--www", project);
  try {
    const path = await page(`${name}-${engine}`, charging(stage.setting.template));
    const browser = browsers[engine];
    await browser.visit(`${stage.url}/${path}`);
    await use({ ...browser, inAnotherTab: (act) => browser.inAnotherTab(`${stage.url}/${path}`, act) }, { ...stage, charges: async () => (await stage.ledger()).charges });
    assert.deepEqual(await browser.errors(), []);
  } finally {
    await stage.stop();
  }
}

for (const engine of engines) {
  test(`in_${engine}_a_job_is_found_by_pending_after_a_reload_and_polled_to_its_end`, () =>
    withPage("reload", engine, async (browser, stage) => {
      const { id } = await browser.act("submit", "order-1");
      await browser.act("startPolling", id);
      await until(async () => (await stage.requests()).some(({ method }) => method === "GET"));
      await browser.reload();
      const [operation, ...others] = await browser.act("pending");
      assert.deepEqual(others, []);
      assert.deepEqual([operation.operation, operation.step, operation.state, operation.jobId], ["order-1", "submit", "bound", id]);
      await stage.advance(600);
      const { status, video_output } = await browser.act("poll", operation.jobId);
      assert.equal(status, "done");
      assert.match(video_output, /^http/);
      assert.deepEqual(await browser.act("pending"), []);
      assert.equal((await stage.charges()).length, 1);
    }));

  test(`in_${engine}_a_charge_interrupted_by_a_reload_is_unknown_and_never_sent_again`, () =>
    withPage("interrupted", engine, async (browser, stage) => {
      await stage.faults([{ on: "submit", kind: "delay", ms: 3_600_000 }]);
      await browser.act("start", "order-1");
      const [charge] = await until(async () => {
        const charges = await stage.charges();
        return charges.length > 0 && charges;
      });
      await browser.reload();
      await stage.faults([]);
      const [operation] = await browser.act("pending");
      assert.equal(operation.operation, "order-1");
      assert.equal(operation.state, "unknown");
      const again = await rejection(browser.act("submit", "order-1"), PATIENCE);
      assert.deepEqual([again.name, again.operation], ["ChargeUnknownError", "order-1"]);
      const settled = await browser.act("settle", "order-1", charge.job_id);
      assert.deepEqual([settled.state, settled.jobId], ["bound", charge.job_id]);
      assert.equal((await browser.act("submit", "order-1")).id, charge.job_id);
      assert.equal(await browser.act("posted"), 0);
      assert.equal((await stage.charges()).length, 1);
    }));

  test(`in_${engine}_an_abort_rejects_at_once_and_the_charge_is_bound_when_its_answer_comes`, () =>
    withPage("abort", engine, async (browser, stage) => {
      await stage.faults([{ on: "submit", kind: "delay", ms: 3_600_000 }]);
      await browser.act("start", "order-1");
      await until(async () => (await stage.charges()).length > 0);
      const { reason, pending } = await browser.act("leave");
      assert.equal(reason, "left");
      assert.deepEqual(pending.map(({ operation, state }) => [operation, state]), [["order-1", "sending"]]);
      // Now the answer comes.
      await stage.advance(3_600);
      const operation = await until(async () => (await browser.act("pending")).find(({ state }) => state !== "sending"));
      const [charge] = await stage.charges();
      assert.deepEqual([operation.operation, operation.state, operation.jobId], ["order-1", "bound", charge.job_id]);
      assert.equal(await browser.act("posted"), 1);
      assert.equal((await stage.charges()).length, 1);
    }));

  test(`in_${engine}_two_tabs_with_one_operation_are_one_post_and_one_job`, () =>
    withPage("tabs", engine, async (browser, stage) => {
      await stage.faults([{ on: "submit", kind: "delay", ms: 3_600_000 }]);
      await browser.act("start", "order-1");
      await until(async () => (await stage.charges()).length > 0);
      await browser.inAnotherTab(async () => {
        // The second tab calls with the same operation, and waits for the first.
        await browser.act("start", "order-1");
        await stage.advance(3_600);
        const { id } = await browser.act("waited");
        assert.equal(id, (await stage.charges())[0].job_id);
        assert.equal(await browser.act("posted"), 0);
      });
      assert.equal((await browser.act("waited")).id, (await stage.charges())[0].job_id);
      assert.equal((await stage.charges()).length, 1);
    }));

  // `navigator.onLine` may be wrong, so it only slows polling.
  test(`in_${engine}_offline_a_charge_is_sent_and_a_poll_follows_at_once_when_the_network_is_back`, () =>
    withPage("offline", engine, async (browser, stage) => {
      await browser.act("offline");
      const { id } = await browser.act("submit", "order-1");
      await browser.act("wait", id);
      const polls = async () => (await stage.requests()).filter(({ method }) => method === "GET").length;
      await until(async () => (await polls()) === 1);
      await stage.advance(600);
      assert.equal(await polls(), 1, "no further poll");
      const begun = performance.now();
      await browser.act("online");
      assert.equal((await browser.act("waited")).status, "done");
      // Sooner than the longest interval, 30 seconds.
      assert.ok(performance.now() - begun < 15_000);
      assert.equal(await browser.act("posted"), 1);
      assert.equal((await stage.charges()).length, 1);
    }));

  test(`in_${engine}_a_page_that_is_shown_again_polls_at_once`, () =>
    withPage("back", engine, async (browser, stage) => {
      const { id } = await browser.act("submit", "order-1");
      await browser.act("wait", id);
      const polls = async () => (await stage.requests()).filter(({ method }) => method === "GET").length;
      await until(async () => (await polls()) === 1);
      await browser.act("goAway");
      await stage.advance(600);
      assert.equal(await polls(), 1, "no further poll");
      const begun = performance.now();
      await browser.act("comeBack");
      assert.equal((await browser.act("waited")).status, "done");
      // Sooner than the longest interval, 30 seconds.
      assert.ok(performance.now() - begun < 15_000);
    }));

  test(`in_${engine}_a_frame_without_storage_rejects_with_a_remedy_and_is_charged_once`, () =>
    withPage("storage", engine, async (browser, stage) => {
      const result = await browser.act("withoutStorage", "order-1");
      assert.deepEqual([result.name, result.cause], ["JournalError", "SecurityError"]);
      assert.match(result.message, /journal: "memory"/);
      const charges = await stage.charges();
      assert.deepEqual(charges.map(({ job_id }) => job_id), [result.id]);
      assert.equal(await browser.act("posted"), 1);
    }));

  for (const [kind, when] of [["drop_before_commit", "before"], ["drop_after_commit", "after"]]) {
    test(`in_${engine}_a_reset_${when}_the_charge_rejects_with_charge_unknown_error_and_charges_at_most_once`, (t) =>
      withPage(kind, engine, async (browser, stage) => {
        await stage.faults([{ on: "submit", kind, reset: true }]);
        const error = await rejection(browser.act("submit", "order-1"), PATIENCE);
        assert.deepEqual([error.name, error.operation], ["ChargeUnknownError", "order-1"]);
        assert.match(error.message, /settle/);
        await stage.faults([]);
        assert.equal((await browser.act("pending"))[0].state, "unknown");
        const again = await rejection(browser.act("submit", "order-1"), PATIENCE);
        assert.equal(again.name, "ChargeUnknownError");
        assert.equal(await browser.act("posted"), 1);
        // The browser may resend the request (Chromium and Firefox do, WebKit does not); the relay drops keys that it knows.
        assert.ok((await stage.requests()).every(({ method, idempotency_key }) => method !== "POST" || idempotency_key === "order-1"));
        t.diagnostic(`${(await stage.requests()).filter(({ method }) => method === "POST").length} POSTs on the wire`);
        assert.ok((await stage.charges()).length <= 1);
      }));
  }
}
