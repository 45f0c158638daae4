// Tests of a relay that is killed, or whose storage or provider fails, at each point of a charge.

import assert from "node:assert/strict";
import { after, before, describe, mock, test } from "node:test";
import { random } from "../node/random.mjs";
import { JOBS, job } from "./harness.mjs";
import { createWorld } from "./world.mjs";

// The pauses between retries end at once. Longer timers never fire; those of a killed process would keep this one alive.
const PAUSE = 10_000; // ms
const timers = new Set();
const { setTimeout: startTimer } = globalThis;
globalThis.setTimeout = (act, ms, ...given) => {
  const timer = startTimer(act, ms < PAUSE ? 0 : ms, ...given);
  timers.add(timer);
  return timer;
};
after(() => timers.forEach(clearTimeout));

// A relay reports the faults of its storage.
before(() => void mock.method(console, "error", () => {}));

const KEY = "order 7";
const COSTS = { submit: 5, preview: 1, preview_async: 1, render: 4 };

/** The call to be interrupted: the preview of a render is made before, by a process of its own. */
async function prepare(call, world) {
  if (call !== "render") return { path: JOBS + (call === "submit" ? "" : `${call}/`), body: job(), before: 0 };
  const whole = world.start();
  const { body: { id } } = await whole.ask("POST", `${JOBS}preview/`, { body: job(), key: "preview" });
  whole.kill();
  return { path: `${JOBS}${id}/render/`, body: {}, before: COSTS.preview };
}

/** What the page of a charge whose response was lost does: it asks, and sends the same key again if it may. */
async function recover(life, { path, body }) {
  const answer = await life.ask("GET", `/relay/operations?key=${encodeURIComponent(KEY)}`);
  const state = answer?.body.state; // missing if the process died
  if (state === "never_seen" || state === "rejected") await life.ask("POST", path, { body, key: KEY });
}

/** Checks what must hold when a process that is not disturbed has all webhooks. */
async function check(world, life, call, { path, body, before }, isKnown, where) {
  const paid = () => world.provider.charges.filter(({ step }) => !before || step === "render");
  const asked = async () => (await life.ask("GET", `/relay/operations?key=${encodeURIComponent(KEY)}`)).body;
  // A page that does not ask, and sends the key again.
  await life.ask("POST", path, { body, key: KEY });
  await life.ring();
  const { state, job_id: id } = await asked();
  assert.ok(paid().length <= 1, `${where}: ${paid().length} charges`);
  const cost = COSTS[call];
  if (paid().length && isKnown) assert.equal(state, "bound", where);
  if (state === "bound") {
    assert.equal(id, paid()[0]?.jobId, where);
    assert.equal((await life.ask("GET", `${JOBS}${id}/`)).status, 200, where);
    assert.equal((await life.ask("GET", `${JOBS}${id}/`, { user: { id: "bob" } })).status, 404, where);
    assert.equal((await life.ask("POST", path, { body, key: KEY })).body.id, id, where);
  } else {
    assert.equal(state, "unknown", where);
    // Its credits stay reserved, as it may have been charged.
    assert.equal((await life.ask("POST", path, { body, key: KEY })).status, 502, where);
  }
  assert.equal(await life.reserved(), before + cost, where);
}

for (const how of ["crash", "fault"]) {
  describe(how === "crash" ? "a_relay_that_is_killed" : "a_relay_whose_storage_or_provider_fails", () => {
    for (const call of Object.keys(COSTS)) {
      for (const hooks of [true, false]) {
        test(`at_any_point_of_a_${call}_${hooks ? "with" : "without"}_webhooks_charges_once_and_keeps_its_owner`, async () => {
          let at = 0;
          for (let disturbed = true; disturbed; ) {
            at += 1;
            const world = await createWorld(hooks ? { publicUrl: "http://relay.test" } : {});
            const charge = await prepare(call, world);
            const first = world.start({ at, how });
            await first.ask("POST", charge.path, { body: charge.body, key: KEY });
            disturbed = first.faults > 0;
            let life = first;
            if (how === "crash") {
              first.kill();
              life = world.start();
            }
            await recover(life, charge);
            // Without a webhook only the process that was disturbed can know the job of a submit or a preview.
            const isKnown = hooks || call === "render" || !disturbed || (how === "crash" ? first.isRecorded : first.isAnswered);
            await check(world, life, call, charge, isKnown, `point ${at}`);
            world.end();
          }
          assert.ok(at > 15, `only ${at} points`);
        });
      }
    }
  });
}

test("a_relay_that_is_killed_again_and_again_charges_once_and_keeps_its_owner", async () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const below = random(seed);
    const call = Object.keys(COSTS)[below(4)];
    const hooks = below(2) === 1;
    const world = await createWorld(hooks ? { publicUrl: "http://relay.test" } : {});
    const charge = await prepare(call, world);
    const most = call === "render" ? 60 : 20;
    for (let number = below(4); number >= 0; number -= 1) {
      const life = world.start({ at: 1 + below(most), how: ["crash", "late", "fault"][below(3)] });
      await life.ask("POST", charge.path, { body: charge.body, key: KEY });
      if (below(2)) await recover(life, charge);
      if (below(2)) await world.arrive();
      if (below(2)) await life.ring();
      life.kill();
    }
    const last = world.start();
    if (below(2)) await recover(last, charge);
    await world.arrive();
    await recover(last, charge);
    await check(world, last, call, charge, hooks || call === "render", `seed ${seed}`);
    world.end();
  }
});
