// A process that polls many jobs and prints the cost: memory, processor time, requests, and the delay until an end is seen.
// Argument: a record with `script`, a module of xtask/bench/wait, `client`, one of its polls, and `url` of the waiting server,
// with `jobs` of a given kind; or with `url` of a sandbox and `list`, a file of its jobs, which this client polls in the way
// `how`. `abort` is how often the module's `abortable` poll is aborted.

import { readFile } from "node:fs/promises";

const { script, client, how, url, list, jobs: count, job, abort } = JSON.parse(process.argv[2]);

/** The time limit of all polls. */
const TIMEOUT = 600_000;
/** When memory is measured, in milliseconds after the start: every job was polled once, and most are waiting. */
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

/** The cost of many polls in addition to `before` bytes. `begin` starts them, and receives a function to call at each end. */
async function measured(begin, before, number) {
  requests = 0;
  const [cpu, began] = [process.cpuUsage(), performance.now()];
  let [left, failed] = [number, 0];
  let over;
  // No promise for each call, so that only the client's own memory is measured.
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

/** This client, with the jobs of a sandbox. The baseline includes as many job objects as are polled. */
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

/** Any client, with the jobs of the waiting server. */
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

/** The time from an abort to the end of the poll, and the requests after it. */
async function aborted() {
  const { dialect, abortable } = await import(script);
  const found = [];
  let after = 0;
  await Promise.all(Array.from({ length: abort }, async (_, at) => {
    const made = await (await send(`${url}/jobs`, { method: "POST", body: JSON.stringify({ ...job, dialect, speed: 1 }) })).json();
    const polls = async () => (await (await send(`${url}/jobs/${made.id}`)).json()).requests;
    const controller = new AbortController();
    const wait = abortable(`${url}/${made.id}`, controller.signal).catch(() => {});
    // At any moment between two polls.
    await pause(3_000 + (2_000 * at) / abort);
    const before = await polls();
    const began = performance.now();
    controller.abort();
    await wait;
    found.push(performance.now() - began);
    await pause(6_000);
    after += (await polls()) - before;
  }));
  found.sort((a, b) => a - b);
  return { aborts: abort, median: quantile(found, 0.5), worst: found.at(-1), looksAfter: after / abort };
}

console.log(JSON.stringify(await (abort ? aborted() : list ? ours() : any())));
process.exit();
