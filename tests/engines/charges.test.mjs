// Decides whether the promises about charges hold in every engine: through a reload, an abort, and a server that resets.

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

/** A page that charges through the relay of its own origin, with the default journal, and counts what it posts. */
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
    // Begun, and not waited for.
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
  };`;

/** Such a page of this engine, at the origin of a sandbox of its own. Jobs take as long as in life, so they end when the test says so. */
async function withPage(name, engine, use) {
  const stage = await startStage("--speed", "1", "--www", project);
  try {
    const path = await page(`${name}-${engine}`, charging(stage.setting.template));
    const browser = browsers[engine];
    await browser.visit(`${stage.url}/${path}`);
    await use(browser, { ...stage, charges: async () => (await stage.ledger()).charges });
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

  test(`in_${engine}_a_charge_that_a_reload_interrupted_is_known_and_never_sent_again`, () =>
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
      assert.deepEqual(pending.map(({ operation, state }) => [operation, state]), [["order-1", "posting"]]);
      // The answer comes now.
      await stage.advance(3_600);
      const operation = await until(async () => (await browser.act("pending")).find(({ state }) => state !== "posting"));
      const [charge] = await stage.charges();
      assert.deepEqual([operation.operation, operation.state, operation.jobId], ["order-1", "bound", charge.job_id]);
      assert.equal(await browser.act("posted"), 1);
      assert.equal((await stage.charges()).length, 1);
    }));

  for (const [kind, when] of [["drop_before_commit", "before"], ["drop_after_commit", "after"]]) {
    test(`in_${engine}_a_reset_${when}_the_charge_is_charge_unknown_error_and_one_charge_at_most`, () =>
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
        // The browser may have sent it more often (Chromium and Firefox do, WebKit does not), and the relay drops what it knows.
        assert.ok((await stage.requests()).every(({ method, idempotency_key }) => method !== "POST" || idempotency_key === "order-1"));
        assert.ok((await stage.charges()).length <= 1);
      }));
  }
}
