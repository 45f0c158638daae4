// One process that waits for many jobs, and prints what that takes: memory, processor time, requests, and how late the
// ends are seen. Argument: a record of `script`, a module of xtask/bench/wait, `client`, one of its waits, and `url` of the
// waiting server, with `jobs` of them and what they are like; or of `url` of a sandbox and `list`, a file of its jobs, which
// are waited for by ours, in the way that `how` says. With `abort` the module's `abortable` wait is aborted so many times.

import { readFile } from "node:fs/promises";

const { script, client, how, url, list, jobs: count, job, abort } = JSON.parse(process.argv[2]);

/** Ends the waits, should one last for ever. */
const TIMEOUT = 600_000;
/** When memory is measured, in milliseconds after the waits were begun: every job was looked at, and most wait. */
const MOMENTS = [20_000, 25_000, 30_000];

const memories = [];
const { Instance } = WebAssembly;
WebAssembly.Instance = function (...given) {
  const instance = new Instance(...given);
  memories.push(instance.exports.memory);
  return instance;
};

let requests = 0;
const send = globalThis.fetch;
globalThis.fetch = (...given) => (requests++, send(...given));

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
function taken() {
  gc();
  gc();
  return process.memoryUsage().heapUsed + memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
}
const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];

/** What so many waits took beside `before` bytes; `begin` is given what each calls with a job at its end, or with an error. */
async function measured(begin, before, number) {
  requests = 0;
  const [cpu, began] = [process.cpuUsage(), performance.now()];
  let [left, failed] = [number, 0];
  let over;
  // No promise of ours for each: only what the client holds is to be measured.
  const ended = new Promise((resolve) => (over = resolve));
  const one = () => --left || over();
  begin(one, () => (failed++, one()));
  const bytes = [];
  for (const moment of MOMENTS) {
    await pause(began + moment - performance.now());
    bytes.push((taken() - before) / number);
  }
  await ended;
  const wall = (performance.now() - began) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const used = (user + system) / 1e6;
  return { jobs: number, failed, bytes: Math.min(...bytes), cpu: used, wall, cores: used / wall, requests };
}

/** Ours, for the jobs of a sandbox. What a job object takes is in the baseline: as many are kept as are waited for. */
async function ours() {
  const { TemplateJobs } = await import(new URL("../../xtask/bench/node_modules/custom-template-jobs/node.js", import.meta.url));
  const jobs = new TemplateJobs({ baseUrl: url, apiId: "sandbox", apiKey: "sandbox", journal: "memory" });
  let listed = JSON.parse(await readFile(list, "utf8"));
  await jobs.get(listed[0].id);
  await pause(500);
  const before = taken();
  const ids = listed.map(({ id }) => id);
  listed = undefined;
  const lags = [];
  const options = { until: "preview", timeout: TIMEOUT };
  const found = await measured((end, fail) => {
    const ended = ({ updated_at: at }) => (lags.push(Date.now() - Date.parse(at)), end());
    const follow = (changes, last) => void changes.next().then(({ done, value }) => (done ? ended(last) : follow(changes, value.job)), fail);
    for (const id of ids) {
      if (how === "poll") jobs.poll(id, options).then(ended, fail);
      else follow(jobs.watch(id, options));
    }
  }, before, ids.length);
  lags.sort((a, b) => a - b);
  return { ...found, lag: { median: quantile(lags, 0.5), last: quantile(lags, 0.99) } };
}

/** Any client, for the jobs of the waiting server. */
async function any() {
  const { dialect, waits } = await import(script);
  const given = waits[client];
  const { wait, progress } = typeof given === "function" ? { wait: given, progress: false } : given;
  const ask = async (path, init) => (await send(`${url}/jobs${path}`, init)).json();
  const made = [];
  for (let at = 0; at < count; at++) made.push(await ask("", { method: "POST", body: JSON.stringify({ ...job, progress, dialect, speed: 1 }) }));
  await pause(500);
  const before = taken();
  const found = await measured((end, fail) => {
    for (const { id } of made) wait(`${url}/${id}`, { expected: job.end }).then(end, fail);
  }, before, count);
  const lags = [];
  for (const { id } of made) lags.push((await ask(`/${id}`)).lag);
  lags.sort((a, b) => a - b);
  return { ...found, lag: { median: quantile(lags, 0.5), last: quantile(lags, 0.99) } };
}

/** How long it takes from an abort to the end of the wait, and what is asked after it. */
async function aborted() {
  const { dialect, abortable } = await import(script);
  const found = [];
  let after = 0;
  await Promise.all(Array.from({ length: abort }, async (_, at) => {
    const made = await (await send(`${url}/jobs`, { method: "POST", body: JSON.stringify({ ...job, dialect, speed: 1 }) })).json();
    const looks = async () => (await (await send(`${url}/jobs/${made.id}`)).json()).requests;
    const controller = new AbortController();
    const wait = abortable(`${url}/${made.id}`, controller.signal).catch(() => {});
    // At any moment between two looks.
    await pause(3_000 + (2_000 * at) / abort);
    const before = await looks();
    const began = performance.now();
    controller.abort();
    await wait;
    found.push(performance.now() - began);
    await pause(6_000);
    after += (await looks()) - before;
  }));
  found.sort((a, b) => a - b);
  return { aborts: abort, median: quantile(found, 0.5), worst: found.at(-1), looksAfter: after / abort };
}

console.log(JSON.stringify(await (abort ? aborted() : list ? ours() : any())));
process.exit();
