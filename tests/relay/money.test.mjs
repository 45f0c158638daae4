// Tests of a relay's users and limits, in Node and workerd: users are separate, and one key is one charge.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { JOBS, OTHER, TEASER, job, until } from "./harness.mjs";
import { charges, inEachRuntime, post, relay, requests, sandbox } from "./stage.mjs";

inEachRuntime(() => {
  test("sixty_requests_at_once_spend_no_more_than_the_limit", async () => {
    const user = 'sixty {"maxCredits":50}';
    const answers = await Promise.all(Array.from({ length: 60 }, () => post(JOBS, job(), randomUUID(), { user })));
    const refused = answers.filter(({ status }) => status === 402);
    assert.equal(answers.filter(({ status }) => status === 200).length, 10);
    assert.equal(refused.length, 50);
    assert.deepEqual([refused[0].body.remaining, refused[0].body.estimate], [0, 5]);
    assert.ok(Date.parse(refused[0].body.renews_at) > Date.now());
    assert.equal((await charges()).length, 10);
  });

  test("requests_of_one_key_are_one_charge_at_once_and_later", async () => {
    const key = randomUUID();
    await sandbox.faults([{ on: "submit", kind: "delay", ms: 500, times: 1 }]);
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(JOBS, job(), key)));
    answers.push(await post(JOBS, job(), key));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
    assert.equal((await charges()).length, 1);
  });

  test("keys_that_differ_in_white_space_or_script_are_different_keys", async () => {
    const keys = ["order 7", "order 7 ", " order 7", "order\t7", "订单 7", "Größe/7?%", "order%207"];
    const ids = [];
    for (const key of keys) ids.push((await post(JOBS, job(), key, { user: "keys" })).body.id);
    assert.equal(new Set(ids).size, keys.length);
    for (const [at, key] of keys.entries()) {
      assert.equal((await post(JOBS, job(), key, { user: "keys" })).body.id, ids[at]);
      const { body } = await relay.ask("GET", `/relay/operations?key=${encodeURIComponent(key)}`, { user: "keys" });
      assert.deepEqual([body.operation, body.state, body.job_id], [key, "bound", ids[at]]);
    }
    assert.equal((await charges()).length, keys.length);
  });

  test("a_key_with_another_body_is_409_whatever_the_order_of_its_members", async () => {
    const key = randomUUID();
    const { body: { id } } = await post(JOBS, job(), key);
    const turned = `{"variables":{"headline":{"properties":{"content":"Hello"},"type":"text"}},"template_id":"${TEASER}"}`;
    assert.equal((await post(JOBS, turned, key)).body.id, id);
    assert.equal((await post(JOBS, job(OTHER), key)).status, 409);
    assert.equal((await post(`${JOBS}preview_async/`, job(), key)).status, 409);
    assert.equal((await charges()).length, 1);
  });

  test("two_users_share_no_key_no_job_no_operation_and_no_budget", async () => {
    const key = randomUUID();
    const [ann, bob] = [await post(`${JOBS}preview_async/`, job(), key), await post(`${JOBS}preview_async/`, job(), key, { user: "bob" })];
    assert.notEqual(ann.body.id, bob.body.id);
    await until(async () => (await relay.ask("GET", `${JOBS}${ann.body.id}/`)).body.status === "done");
    await sandbox.faults([]);
    const before = (await requests()).length;
    for (const id of [ann.body.id, ann.body.id.toUpperCase()]) {
      assert.equal((await relay.ask("GET", `${JOBS}${id}/`, { user: "bob" })).status, 404);
      assert.equal((await post(`${JOBS}${id}/render/`, {}, `render:${id}`, { user: "bob" })).status, 404);
    }
    assert.equal((await requests()).length, before);
    await post(JOBS, job(), "hers", { user: "ann" });
    assert.deepEqual((await relay.ask("GET", "/relay/operations?key=hers", { user: "bob" })).body, { operation: "hers", state: "never_seen" });
  });

  test("what_a_job_cost_counts_once_it_is_done_and_what_a_refusal_reserved_is_free", async () => {
    const user = 'costs {"maxCredits":9}';
    const ask = (call, body, key = randomUUID()) => post(`${JOBS}${call}`, body, key, { user });
    await sandbox.faults([{ on: "submit", kind: "status_before_commit", status: 422, times: 1 }]);
    assert.equal((await ask("", job())).status, 422);
    const { body: { id } } = await ask("preview_async/", job());
    assert.equal((await ask("", job())).status, 200);
    const refused = await ask("", job());
    assert.deepEqual([refused.status, refused.body.remaining], [402, 3]);
    await until(async () => (await relay.ask("GET", `${JOBS}${id}/`, { user })).body.status === "done");
    const over = await ask(`${id}/render/`, {});
    assert.deepEqual([over.status, over.body.remaining, over.body.estimate], [402, 3, 4]);
    assert.equal((await charges()).length, 2);
  });

  test("a_user_has_no_more_jobs_and_requests_at_once_than_allowed", async () => {
    const jobs = await Promise.all(Array.from({ length: 8 }, () => post(JOBS, job(), randomUUID(), { user: 'busy {"jobsAtOnce":3}' })));
    assert.deepEqual(jobs.map(({ status }) => status).toSorted(), [200, 200, 200, 429, 429, 429, 429, 429]);
    const user = 'often {"requestsPerMinute":5}';
    const asks = await Promise.all(Array.from({ length: 9 }, () => relay.ask("GET", "/relay/operations?key=a", { user })));
    assert.deepEqual(asks.map(({ status }) => status).toSorted(), [200, 200, 200, 200, 200, 429, 429, 429, 429]);
    const { headers } = asks.find(({ status }) => status === 429);
    assert.ok(Number(headers.get("retry-after")) > 50);
    assert.equal((await relay.ask("GET", "/relay/operations?key=a", { user: "another" })).status, 200);
  });
});
