// Tests of a relay's timers on a mocked clock: polls without a page, the expiry of keys and jobs, and budget periods.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, mock, test } from "node:test";
import { JOBS, OTHER, job } from "./harness.mjs";
import { createWorld } from "./world.mjs";

const MINUTE = 60_000;
const DAY = 86_400_000;
const HOOKS = { publicUrl: "http://relay.test" };

let world;
beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.UTC(2026, 0, 15, 12) }));
afterEach(() => {
  world.end();
  mock.timers.reset();
});

/** Runs all work that does not wait for the clock. */
async function work() {
  for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
}

/** Moves the clock in steps, and runs the work of each. */
async function pass(ms, step = MINUTE) {
  for (let passed = 0; passed < ms; passed += step) {
    mock.timers.tick(Math.min(step, ms - passed));
    await work();
  }
}

const submit = (life, key, more = {}) => life.ask("POST", JOBS, { body: job(), key, ...more });
const state = async (life, key) => (await life.ask("GET", `/relay/operations?key=${key}`)).body.state;

for (const [how, options] of [["without_webhooks", {}], ["whose_webhook_never_comes", HOOKS]]) {
  test(`an_open_job_${how}_is_polled_and_settled_with_nobody_connected`, async () => {
    world = await createWorld(options);
    world.provider.isOpen = true;
    const life = world.start();
    const { body: { id } } = await submit(life, "order");
    const before = world.provider.reads;
    await pass(14_000, 1_000);
    assert.equal(world.provider.reads, before);
    await pass(10 * MINUTE);
    const polls = world.provider.reads - before;
    assert.ok(polls >= 3 && polls <= 6, `${polls} polls`);
    assert.equal(await life.reserved(), 5);
    world.provider.share = 0.6;
    world.provider.finish(id);
    await pass(20 * MINUTE);
    assert.equal(await life.reserved(), 3);
    const ended = world.provider.reads;
    await pass(3 * DAY, DAY / 4);
    assert.equal(world.provider.reads, ended);
    assert.equal(world.provider.charges.length, 1);
  });
}

test("a_render_whose_answer_was_lost_is_settled_with_nobody_connected", async () => {
  world = await createWorld();
  const life = world.start();
  const { body: { id } } = await life.ask("POST", `${JOBS}preview/`, { body: job(), key: "preview" });
  world.provider.breaks = true;
  const lost = life.ask("POST", `${JOBS}${id}/render/`, { body: {}, key: "render" });
  await pass(5 * MINUTE, 1_000);
  assert.equal((await lost).status, 502);
  world.provider.breaks = false;
  await pass(20 * MINUTE);
  const before = world.provider.reads;
  assert.equal(await state(life, "render"), "bound");
  assert.equal(world.provider.reads, before);
  assert.equal(await life.reserved(), 5);
  assert.equal(world.provider.charges.length, 2);
});

test("a_new_process_settles_the_jobs_of_the_one_before_with_nobody_connected", async () => {
  world = await createWorld();
  world.provider.isOpen = true;
  const first = world.start();
  const { body: { id } } = await submit(first, "order");
  first.kill();
  world.provider.share = 0.6;
  world.provider.finish(id);
  const life = world.start();
  await pass(MINUTE, 1_000);
  assert.equal(world.provider.jobs.get(id).status, "done");
  assert.equal(await life.reserved(), 3);
});

test("a_key_is_kept_for_30_days_and_its_job_has_its_owner_for_longer", async () => {
  world = await createWorld();
  const life = world.start();
  const { body: { id } } = await submit(life, "order");
  await pass(30 * DAY, DAY / 2);
  assert.equal((await submit(life, "order")).body.id, id);
  assert.equal((await submit(life, "order", { body: job(OTHER) })).status, 400);
  assert.equal(world.provider.charges.length, 1);
  await pass(4 * DAY, DAY / 2);
  assert.equal(await state(life, "order"), "never_seen");
  assert.equal((await life.ask("GET", `${JOBS}${id}/`)).status, 200);
  assert.equal((await life.ask("GET", `${JOBS}${id}/`, { user: { id: "bob" } })).status, 404);
  assert.notEqual((await submit(life, "order")).body.id, id);
});

test("the_storage_of_a_user_who_left_keeps_only_the_owners_of_jobs", async () => {
  world = await createWorld(HOOKS);
  const life = world.start();
  for (let at = 0; at < 20; at += 1) await submit(life, randomUUID());
  const lost = world.start({ at: 30, how: "crash" });
  life.kill();
  await submit(lost, "lost");
  lost.kill();
  world.start();
  await pass(100 * DAY, DAY);
  const left = [...world.disk.keys()].filter((key) => !key.includes(" relay:job/") && !key.includes(":took/"));
  assert.deepEqual(left, []);
});

test("the_entries_of_a_user_who_returns_do_not_grow", async () => {
  world = await createWorld();
  const life = world.start();
  const sizes = [];
  for (let month = 0; month < 6; month += 1) {
    for (let at = 0; at < 5; at += 1) await submit(life, randomUUID());
    await pass(35 * DAY, DAY);
    sizes.push([...world.disk.keys()].filter((key) => !key.includes(" relay:job/")).length);
  }
  assert.ok(sizes.at(-1) <= sizes[0], String(sizes));
});

for (const [budgetPeriod, renews] of [["day", Date.UTC(2026, 0, 16)], ["month", Date.UTC(2026, 1, 1)]]) {
  test(`a_budget_of_a_${budgetPeriod}_renews_when_it_ends_and_not_before`, async () => {
    world = await createWorld({ limits: { maxCredits: 9, budgetPeriod } });
    const life = world.start();
    await submit(life, "first");
    const refused = await submit(life, "second");
    assert.deepEqual([refused.status, refused.body.remaining, Date.parse(refused.body.renews_at)], [402, 4, renews]);
    await pass(renews - 1_000 - Date.now(), DAY / 4);
    assert.equal((await submit(life, "second")).status, 402);
    await pass(1_000, 1_000);
    assert.equal((await submit(life, "second")).status, 200);
    assert.equal((await submit(life, "third")).status, 402);
  });
}

test("a_limit_of_requests_renews_after_a_minute", async () => {
  world = await createWorld({ limits: { requestsPerMinute: 2 } });
  const life = world.start();
  const ask = async () => (await life.ask("GET", "/relay/operations?key=a")).status;
  assert.deepEqual([await ask(), await ask(), await ask()], [200, 200, 429]);
  await pass(59_000, 59_000);
  assert.equal(await ask(), 429);
  await pass(1_000, 1_000);
  assert.deepEqual([await ask(), await ask(), await ask()], [200, 200, 429]);
});
