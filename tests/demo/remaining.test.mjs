// Decides whether the words for the time that is left are honest and calm, by what the packed client tells of a thousand made-up jobs.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { bandWords, expectedEnd, nextBand } from "../../www/remaining.js";
import { load } from "../node/harness.mjs";

const { TemplateJobs, init } = await load();

const JOBS = 1_000;

/** Numbers from 0 to 1, the same in each run. */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A job as they are: it queues, runs for minutes, and tells its progress in fine steps, in coarse ones, or not at all. */
function makeUp(chance, number) {
  const bell = () => Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance());
  const queued = chance() * 40_000;
  const ran = Math.min(1_200_000, Math.max(15_000, 90_000 * Math.exp(0.7 * bell())));
  const step = [0.01, 0.01, 0.1, null][number % 4];
  const bend = 0.6 + 1.1 * chance();
  const end = queued + ran;
  // What is remembered of others is short rather than long, and none of them was like this one.
  const expectedMs = chance() < 0.5 ? undefined : 0.85 * end * Math.exp(0.4 * bell());
  const at = (now) => {
    if (now >= end) return { status: "done", progress: 1, video_output: "https://cdn.example/video.mp4" };
    if (now < queued) return { status: now < queued / 4 ? "pending" : "in_queue", progress: 0 };
    const part = ((now - queued) / ran) ** bend;
    return { status: "running", progress: step === null ? null : Math.floor(part / step) * step };
  };
  return { id: `${String(number).padStart(8, "0")}-0d44-4b50-8888-8dd25736052a`, end, expectedMs, at, updates: [] };
}

/** Has the packed client watch all of them on a clock of ours, and writes down its updates. */
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

/** What a page that ticks every second says of a job until it ends: the words, and how long it really took from then. */
function replay({ updates, end }) {
  const said = [];
  let [band, expected, heard] = [null, null, 0];
  for (let now = 0; now < end; now += 1_000) {
    for (; heard < updates.length && updates[heard].at <= now; heard += 1) expected = expectedEnd(expected, updates[heard], updates[heard].at);
    band = nextBand(band, expected === null ? null : expected - now);
    said.push({ band, words: bandWords(band), truth: end - now });
  }
  return said;
}

let made;
let stories;
before(async () => {
  const chance = seeded(5);
  made = Array.from({ length: JOBS }, (_, number) => makeUp(chance, number));
  await watchAll(made);
  stories = made.map(replay);
});

/** The share of jobs of which this is so. */
const jobs = (is) => stories.filter(is).length / stories.length;
/** The share of the seconds of all jobs, those with such words, in which this is so. */
const seconds = (words, is) => {
  const spoken = stories.flat().filter((second) => words.test(second.words));
  return spoken.filter(is).length / spoken.length;
};
/** What is said of a job, without repeating it, and for how many seconds. */
const sayings = (said) =>
  said.reduce((list, { band, words }) => {
    if (list.at(-1)?.words === words) list.at(-1).seconds += 1;
    else list.push({ band, words, seconds: 1 });
    return list;
  }, []);
const percent = (share) => `${(share * 100).toFixed(1)} %`;

test("less than a minute is said of a job that takes more than two in 5 % of jobs at most, and any moment now of one that takes more than one in 5 %", (t) => {
  const minute = jobs((said) => said.some(({ words, truth }) => /less|moment/.test(words) && truth > 120_000));
  const moment = jobs((said) => said.some(({ words, truth }) => /moment/.test(words) && truth > 60_000));
  t.diagnostic(`${percent(minute)} and ${percent(moment)}`);
  assert.ok(minute <= 0.05, percent(minute));
  assert.ok(moment <= 0.05, percent(moment));
});

test("a range is no further off than its half or its double in nine seconds of ten", (t) => {
  for (const [words, least, most] of [["less than", 0, 60], ["1 to 2", 60, 120], ["2 to 4", 120, 240], ["several", 180, Infinity]]) {
    const right = seconds(new RegExp(words), ({ truth }) => truth / 1_000 >= least / 2 && truth / 1_000 <= most * 2);
    t.diagnostic(`${words}: ${percent(right)}`);
    assert.ok(right >= 0.9, `${words}: ${percent(right)}`);
  }
});

test("the words change six times at most and grow longer once at most in nineteen jobs of twenty, and come back within ten seconds in one of fifty", (t) => {
  const changes = jobs((said) => sayings(said).length <= 7);
  const grows = jobs((said) => sayings(said).filter(({ band }, index, all) => index > 0 && band !== null && all[index - 1].band !== null && band > all[index - 1].band).length <= 1);
  const flickers = jobs((said) => sayings(said).some(({ words, seconds }, index, all) => index > 0 && seconds < 10 && all[index - 1].words === all[index + 1]?.words && words));
  t.diagnostic(`${percent(changes)}, ${percent(grows)} and ${percent(flickers)}`);
  assert.ok(changes >= 0.95, percent(changes));
  assert.ok(grows >= 0.95, percent(grows));
  assert.ok(flickers <= 0.02, percent(flickers));
});

test("any moment now is not said for longer than a minute, and nothing shorter is said after longer than expected", () => {
  for (const said of stories) {
    const list = sayings(said);
    for (const { words, seconds } of list) assert.ok(!/moment/.test(words) || seconds <= 60, JSON.stringify(list));
    const again = list.findIndex(({ words }, index) => /longer/.test(list[index - 1]?.words) && /moment/.test(words));
    assert.equal(again, -1, JSON.stringify(list));
  }
});

test("nothing is said where nobody knows", () => {
  const silent = stories.filter((_, number) => made[number].expectedMs === undefined && made[number].at(made[number].end - 1).progress === null);
  assert.ok(silent.length > 50, `${silent.length} jobs say nothing`);
  assert.ok(silent.every((said) => said.every(({ words }) => words === "")));
});
