// Tests of the demo's texts for the time left, on the updates of a thousand simulated jobs: they are accurate and steady.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { bandWords, expectedEnd, nextBand } from "../../www/remaining.js";
import { load } from "../node/harness.mjs";

const { TemplateJobs, init } = await load();

const JOBS = 1_000;

/** A seeded generator of numbers from 0 to 1. */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A simulated job: it queues, runs for minutes, and reports progress in fine steps, in coarse steps, or not at all. */
function simulatedJob(chance, number) {
  const bell = () => Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance());
  const queued = chance() * 40_000;
  const ran = Math.min(1_200_000, Math.max(15_000, 90_000 * Math.exp(0.7 * bell())));
  const step = [0.01, 0.01, 0.1, null][number % 4];
  const bend = 0.6 + 1.1 * chance();
  const end = queued + ran;
  // The expected duration tends to be short, and is never exact.
  const expectedMs = chance() < 0.5 ? undefined : 0.85 * end * Math.exp(0.4 * bell());
  const at = (now) => {
    if (now >= end) return { status: "done", progress: 1, video_output: "https://cdn.example/video.mp4" };
    if (now < queued) return { status: now < queued / 4 ? "pending" : "in_queue", progress: 0 };
    const part = ((now - queued) / ran) ** bend;
    return { status: "running", progress: step === null ? null : Math.floor(part / step) * step };
  };
  return { id: `${String(number).padStart(8, "0")}-0d44-4b50-8888-8dd25736052a`, end, expectedMs, at, updates: [] };
}

/** Watches all jobs with the packed client on a virtual clock, and records the updates. */
async function watchAll(jobs) {
  await init();
  const { setTimeout, clearTimeout } = globalThis;
  const { now: real } = performance;
  const timers = new Map();
  let now = 0;
  let last = 0;
  globalThis.setTimeout = (call, ms) => {
    timers.set(++last, { call, due: now + ms });
    return last;
  };
  globalThis.clearTimeout = (timer) => timers.delete(timer);
  performance.now = () => now;
  try {
    const watching = jobs.map(async ({ id, at, expectedMs, updates }) => {
      const fetch = async () => ({ status: 200, headers: new Headers(), text: async () => JSON.stringify({ id, ...at(now) }) });
      const client = new TemplateJobs({ baseUrl: "https://api.example", apiKey: "key", journal: "memory", fetch });
      for await (const update of client.watch(id, { until: "video", expectedMs, timeout: 3_600_000 })) updates.push({ ...update, at: now });
    });
    let over = false;
    const all = Promise.all(watching).finally(() => (over = true));
    while (!over) {
      await new Promise(setImmediate);
      const [next, timer] = [...timers].reduce((one, other) => (other[1].due < one[1].due ? other : one), [0, { due: Infinity }]);
      if (timer.due === Infinity) continue;
      timers.delete(next);
      now = Math.max(now, timer.due);
      timer.call();
    }
    await all;
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout });
    performance.now = real;
  }
}

/** The texts that a page shows for a job, one per second, with the actual time left. */
function replay({ updates, end }) {
  const shown = [];
  let [band, expected, received] = [null, null, 0];
  for (let now = 0; now < end; now += 1_000) {
    for (; received < updates.length && updates[received].at <= now; received += 1) expected = expectedEnd(expected, updates[received], updates[received].at);
    band = nextBand(band, expected === null ? null : expected - now);
    shown.push({ band, words: bandWords(band), actual: end - now });
  }
  return shown;
}

let made;
let stories;
before(async () => {
  const chance = seeded(5);
  made = Array.from({ length: JOBS }, (_, number) => simulatedJob(chance, number));
  await watchAll(made);
  stories = made.map(replay);
});

/** The share of jobs with this property. */
const jobs = (is) => stories.filter(is).length / stories.length;
/** The share of seconds with this property, among all seconds with such a text. */
const seconds = (words, is) => {
  const matching = stories.flat().filter((second) => words.test(second.words));
  return matching.filter(is).length / matching.length;
};
/** The texts of a job without repetitions, each with its seconds. */
const texts = (shown) =>
  shown.reduce((list, { band, words }) => {
    if (list.at(-1)?.words === words) list.at(-1).seconds += 1;
    else list.push({ band, words, seconds: 1 });
    return list;
  }, []);
const percent = (share) => `${(share * 100).toFixed(1)} %`;

test("'less than a minute' with over two minutes left, and 'any moment' with over one, each appear in at most 5 % of jobs", (t) => {
  const minute = jobs((shown) => shown.some(({ words, actual }) => /less|moment/.test(words) && actual > 120_000));
  const moment = jobs((shown) => shown.some(({ words, actual }) => /moment/.test(words) && actual > 60_000));
  t.diagnostic(`${percent(minute)} and ${percent(moment)}`);
  assert.ok(minute <= 0.05, percent(minute));
  assert.ok(moment <= 0.05, percent(moment));
});

test("the time left is between half and double the shown range in 90 % of seconds", (t) => {
  for (const [words, least, most] of [["less than", 0, 60], ["1 to 2", 60, 120], ["2 to 4", 120, 240], ["several", 180, Infinity]]) {
    const right = seconds(new RegExp(words), ({ actual }) => actual / 1_000 >= least / 2 && actual / 1_000 <= most * 2);
    t.diagnostic(`${words}: ${percent(right)}`);
    assert.ok(right >= 0.9, `${words}: ${percent(right)}`);
  }
});

test("in 95 % of jobs the text changes at most six times and grows at most once; in at most 2 % it flickers within ten seconds", (t) => {
  const changes = jobs((shown) => texts(shown).length <= 7);
  const grows = jobs((shown) => texts(shown).filter(({ band }, index, all) => index > 0 && band !== null && all[index - 1].band !== null && band > all[index - 1].band).length <= 1);
  const flickers = jobs((shown) => texts(shown).some(({ words, seconds }, index, all) => index > 0 && seconds < 10 && all[index - 1].words === all[index + 1]?.words && words));
  t.diagnostic(`${percent(changes)}, ${percent(grows)} and ${percent(flickers)}`);
  assert.ok(changes >= 0.95, percent(changes));
  assert.ok(grows >= 0.95, percent(grows));
  assert.ok(flickers <= 0.02, percent(flickers));
});

test("'any moment' is shown for at most a minute, and never after 'longer than expected'", () => {
  for (const shown of stories) {
    const list = texts(shown);
    for (const { words, seconds } of list) assert.ok(!/moment/.test(words) || seconds <= 60, JSON.stringify(list));
    const again = list.findIndex(({ words }, index) => /longer/.test(list[index - 1]?.words) && /moment/.test(words));
    assert.equal(again, -1, JSON.stringify(list));
  }
});

test("no text is shown without an estimate", () => {
  const silent = stories.filter((_, number) => made[number].expectedMs === undefined && made[number].at(made[number].end - 1).progress === null);
  assert.ok(silent.length > 50, `${silent.length} jobs without an estimate`);
  assert.ok(silent.every((shown) => shown.every(({ words }) => words === "")));
});
