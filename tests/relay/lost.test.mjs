// Tests of a relay after lost responses, kills and timers, in Node and workerd: nothing that was paid for is lost.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { JOBS, OTHER, job, until } from "./harness.mjs";
import { charges, inEachRuntime, library, post, relay, requests, sandbox, withRelay } from "./stage.mjs";

inEachRuntime(() => {
  const CALLS = { submit: "", preview: "preview/", preview_async: "preview_async/", render: "render/" };
  const state = async (key, from = relay) => (await from.ask("GET", `/relay/operations?key=${encodeURIComponent(key)}`)).body;
  const ended = (id, from = relay) => until(async () => (await from.ask("GET", `${JOBS}${id}/`)).body.status === "done");

  /** Makes a charging call of that name. */
  async function charge(call, key, from = relay) {
    if (call !== "render") return from.ask("POST", JOBS + CALLS[call], { body: job(), key });
    const { body: { id } } = await from.ask("POST", `${JOBS}preview_async/`, { body: job(), key: `before ${key}` });
    await ended(id, from);
    return from.ask("POST", `${JOBS}${id}/render/`, { body: {}, key });
  }

  test("a_question_about_an_operation_in_flight_is_answered_with_its_outcome", async () => {
    assert.deepEqual(await state("nobody's"), { operation: "nobody's", state: "never_seen" });
    await sandbox.faults([{ on: "submit", kind: "delay", ms: 700, times: 1 }]);
    const answer = post(JOBS, job(), "slow");
    await until(async () => (await charges()).length);
    const { created_at, ...found } = await state("slow");
    assert.deepEqual(found, { operation: "slow", state: "bound", step: "submit", job_id: (await answer).body.id });
    assert.ok(Math.abs(Date.now() - Date.parse(created_at)) < 60_000);
  });

  test("a_late_first_copy_after_never_seen_is_still_one_charge", async () => {
    const key = randomUUID();
    assert.equal((await state(key)).state, "never_seen");
    const [late, again] = await Promise.all([post(JOBS, job(), key), post(JOBS, job(), key)]);
    assert.equal(late.body.id, again.body.id);
    assert.equal((await charges()).length, 1);
  });

  for (const call of Object.keys(CALLS)) {
    test(`a_${call}_whose_answer_the_relay_lost_is_settled_by_its_webhook_and_charged_once`, async () => {
      await withRelay({ hooks: true }, async (ringing) => {
        await sandbox.faults([{ on: call, kind: "drop_after_commit", times: 1 }]);
        const key = randomUUID();
        const { status } = await charge(call, key, ringing);
        assert.ok([200, 502].includes(status), String(status));
        const { job_id: id } = await until(async () => (await state(key, ringing)).state === "bound" && state(key, ringing));
        assert.equal((await charges()).at(-1).job_id, id);
        await ended(id, ringing);
        const jobs = await charges();
        assert.equal((await charge(call === "render" ? "submit" : call, call === "render" ? randomUUID() : key, ringing)).status, 200);
        assert.equal((await charges()).length, jobs.length + (call === "render" ? 1 : 0));
        assert.equal(jobs.length, call === "render" ? 2 : 1);
      });
    });
  }

  /** A client in a page whose connection breaks: with `lose` the answers to charges do not arrive, with `drop` the charges do not. */
  function page({ lose = 0, drop = 0, ...options } = {}) {
    const sent = [];
    const link = async (url, init) => {
      const charges = init.method === "POST";
      if (charges) sent.push(new Headers(init.headers).get("idempotency-key"));
      if (charges && drop-- > 0) throw new TypeError("Failed to fetch");
      const answer = await fetch(url, init);
      if (charges && lose-- > 0) throw new TypeError("Failed to fetch");
      return answer;
    };
    const jobs = new library.TemplateJobs({ relay: `${relay.url}/relay`, journal: "memory", account: randomUUID(), headers: { authorization: "Bearer ann" }, fetch: link, ...options });
    return { jobs, sent };
  }
  const soon = { expectedMs: 200, maxInterval: 200 };
  const CLIENTS = {
    submit: (jobs) => jobs.submit(job()),
    previewSync: (jobs) => jobs.previewSync(job()),
    previewAsync: (jobs) => jobs.previewAsync(job()),
    render: async (jobs) => {
      const { body: { id } } = await post(`${JOBS}preview_async/`, job());
      await ended(id);
      return jobs.render(id);
    },
  };
  for (const [call, run] of Object.entries(CLIENTS)) {
    test(`a_${call}_whose_answer_the_page_lost_brings_its_job_and_is_charged_once`, async () => {
      const { jobs, sent } = page({ lose: 1 });
      const { id } = await run(jobs);
      assert.equal((await charges()).at(-1).job_id, id);
      assert.equal((await charges()).length, call === "render" ? 2 : 1);
      assert.equal(sent.length, 1);
      jobs.close();
    });

    test(`a_${call}_that_never_reached_the_relay_is_sent_again_with_its_key`, async () => {
      const { jobs, sent } = page({ drop: 1 });
      await run(jobs);
      assert.equal((await charges()).length, call === "render" ? 2 : 1);
      assert.deepEqual([sent.length, new Set(sent).size], [2, 1]);
      jobs.close();
    });
  }

  test("after_a_reload_pending_and_resume_bring_what_the_relay_knows", async () => {
    const account = randomUUID();
    const { jobs, sent } = page({ lose: 1, account });
    // The connection stays broken, so the relay cannot be asked either.
    const offline = page({ account, fetch: async (url, init) => {
      if (init.method === "POST") await fetch(url, init);
      throw new TypeError("Failed to fetch");
    }, maxRetries: 0 });
    const operation = "order 7, Größe ä/b?c=%20";
    const lost = await offline.jobs.submit(job(), { operation }).then(() => undefined, (error) => error);
    assert.deepEqual([lost.name, lost.charged], ["ChargeUnknownError", "maybe"]);
    offline.jobs.close();
    const [open] = await jobs.pending();
    assert.deepEqual([open.operation, open.state], [operation, "bound"]);
    const video = await jobs.resume(operation).wait(soon);
    assert.match(video.video_output, /^http/);
    assert.equal((await charges()).length, 1);
    assert.deepEqual(sent, []);
    jobs.close();
  });

  test("a_key_of_another_request_is_an_operation_conflict_in_the_page", async () => {
    await post(JOBS, job(), "taken");
    const { jobs } = page();
    const error = await jobs.submit(job(OTHER), { operation: "taken" }).then(() => undefined, (thrown) => thrown);
    assert.deepEqual([error.name, error.charged], ["OperationConflictError", "maybe"]);
    assert.equal((await charges()).length, 1);
    jobs.close();
  });

  test("a_charge_whose_answer_was_lost_without_a_webhook_stays_unknown_and_is_not_sent_again", async () => {
    await sandbox.faults([{ on: "submit", kind: "drop_after_commit", times: 1 }]);
    const key = randomUUID();
    for (const _ of [1, 2]) assert.equal((await post(JOBS, job(), key)).status, 502);
    assert.equal((await state(key)).state, "unknown");
    assert.equal((await charges()).length, 1);
  });

  test("a_forged_or_replayed_webhook_changes_nothing_and_asks_the_provider_nothing", async () => {
    await withRelay({ hooks: true }, async (ringing) => {
      const { body: { id } } = await ringing.ask("POST", JOBS, { body: job(), key: "mine" });
      await ended(id, ringing);
      await until(async () => (await sandbox.webhooks()).some(({ body, tries }) => body.status === "done" && tries.length));
      const [{ url }] = await sandbox.webhooks();
      const before = (await requests()).length;
      const own = new URL(url).pathname;
      const body = { id: randomUUID(), status: "done", video_output: "https://evil.example/v.mp4" };
      for (const path of [own, own.slice(0, -32) + "0".repeat(32), `/relay/webhooks/${"0".repeat(32)}/${"0".repeat(32)}`]) {
        for (const text of [JSON.stringify(body), JSON.stringify({ id, status: "failed" }), "{", ""]) {
          assert.equal((await ringing.ask("POST", path, { user: "", body: text })).status, 204, `${path} ${text}`);
        }
      }
      assert.equal((await ringing.ask("POST", own, { user: "", body: "x".repeat(300_000) })).status, 413);
      assert.equal((await ringing.ask("POST", own.slice(0, -1), { user: "", body })).status, 404);
      assert.equal((await ringing.ask("GET", own, { user: "" })).status, 405);
      assert.equal((await requests()).length, before);
      assert.equal((await state("mine", ringing)).job_id, id);
    });
  });

  test("a_relay_that_is_killed_while_the_provider_answers_makes_no_second_charge", async () => {
    await withRelay({ hooks: true }, async (fragile) => {
      await sandbox.faults([{ on: "submit", kind: "delay", ms: 1_500, times: 1 }]);
      const lost = fragile.ask("POST", JOBS, { body: job(), key: "killed" }).then(() => "answered", () => "lost");
      await until(async () => (await charges()).length);
      await fragile.kill();
      assert.equal(await lost, "lost");
      await fragile.restart();
      const { job_id: id } = await until(async () => (await state("killed", fragile)).state === "bound" && state("killed", fragile));
      const again = await fragile.ask("POST", JOBS, { body: job(), key: "killed" });
      assert.deepEqual([again.status, again.body.id], [200, id]);
      assert.equal((await charges()).length, 1);
    });
  });

  test("a_relay_that_is_started_again_knows_its_keys_owners_and_budgets", async () => {
    await withRelay({}, async (fragile) => {
      const user = 'ann {"maxCredits":7}';
      const { body: { id } } = await fragile.ask("POST", JOBS, { body: job(), key: "kept", user });
      await fragile.kill();
      await fragile.restart();
      assert.equal((await fragile.ask("POST", JOBS, { body: job(), key: "kept", user })).body.id, id);
      assert.equal((await fragile.ask("GET", `${JOBS}${id}/`, { user })).status, 200);
      assert.equal((await fragile.ask("GET", `${JOBS}${id}/`, { user: "bob" })).status, 404);
      assert.equal((await fragile.ask("POST", JOBS, { body: job(), key: "new", user })).status, 402);
      assert.equal((await charges()).length, 1);
    });
  });
});
