// Measures the cost of polling many jobs in one process: ten thousand of the sandbox's jobs with this client, over loopback
// and with answers after 100 ms; a few hundred with this client and with each peer's own loop; and the time from an abort to
// the end of a poll. Only the polling process is measured. Argument: the sandbox.

import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { start } from "./programs.mjs";

const [sandbox] = process.argv.slice(2);

const JOBS = 10_000;
/** The sandbox's speed: a preview takes about 130 s, as a render of two minutes after ten seconds in the queue does. */
const SPEED = "0.031";
const LATENCY = 100;
const CONNECTIONS = 20;
const KEYS = { "X-API-ID": "sandbox", "X-API-KEY": "sandbox" };
/** The limits for ten thousand jobs. With watch(), the caller's loop is included. */
const LIMITS = { bytes: 2_048, cores: 0.5 };
/** The jobs of every client, which run for a minute. */
const SIDE = { jobs: 200, job: { running: 2_000, end: 60_000 } };
const ABORTS = 20;

async function client(what) {
  const args = ["--expose-gc", fileURLToPath(new URL("watching-client.mjs", import.meta.url)), JSON.stringify(what)];
  return JSON.parse((await promisify(execFile)(process.execPath, args)).stdout);
}

/** Makes jobs and returns their records. */
async function makeJobs(url) {
  const [template] = await (await fetch(`${url}/__sandbox/templates`)).json();
  const variables = Object.fromEntries(template.variables.map(({ name, type, default: value }) =>
    [name, { type, properties: { [type === "text" ? "content" : "url"]: value } }]));
  const body = JSON.stringify({ template_id: template.template_id, variables, webhook_url: null });
  const made = [];
  let left = JOBS;
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    while (left-- > 0) {
      const response = await fetch(`${url}/api/custom_template_jobs/preview_async/`, { method: "POST", body, headers: { ...KEYS, "content-type": "application/json" } });
      if (response.status !== 201) throw new Error(await response.text());
      made.push(await response.json());
    }
  }));
  return made;
}

const scratch = await mkdtemp(join(tmpdir(), "watch-"));

/** Ten thousand jobs of a new sandbox. */
async function many(how, latency) {
  const { url, stop } = await start(sandbox, ["--port", "0", "--speed", SPEED, "--credits", "1000000"], /listening on (http:\S+)\n/);
  const list = join(scratch, "jobs.json");
  await writeFile(list, JSON.stringify(await makeJobs(url)));
  if (latency) {
    const rules = JSON.stringify([{ on: "get", kind: "delay", ms: latency }]);
    await fetch(`${url}/__sandbox/faults`, { method: "PUT", body: rules, headers: { "content-type": "application/json" } });
  }
  const found = await client({ url, list, how });
  await stop();
  return found;
}

/** The same jobs with each client, and aborted polls. */
async function beside() {
  const server = await start(process.execPath, [fileURLToPath(new URL("waiting-server.mjs", import.meta.url))], /(http:\S+)\n/);
  const scripts = new URL("../../xtask/bench/wait/", import.meta.url);
  const [side, aborts, waiting] = [{}, {}, []];
  for (const file of await readdir(scripts)) {
    const script = new URL(file, scripts).href;
    const { waits, abortable } = await import(script);
    if (abortable) aborts[Object.keys(waits)[0]] = await client({ script, url: server.url, job: SIDE.job, abort: ABORTS });
    for (const name of Object.keys(waits)) {
      waiting.push(client({ script, client: name, url: server.url, ...SIDE }).then((found) => (side[name] = found)));
    }
  }
  await Promise.all(waiting);
  await server.stop();
  return { side, aborts };
}

const found = {
  "poll()": await many("poll", 0),
  "watch()": await many("watch", 0),
  [`poll(), answers take ${LATENCY} ms`]: await many("poll", LATENCY),
};
const missed = Object.entries(found).flatMap(([what, { failed, bytes, cores }]) => [
  failed && `${what}: ${failed} waits failed`,
  bytes > LIMITS.bytes && `${what}: ${bytes.toFixed(0)} bytes a job in place of ${LIMITS.bytes}`,
  cores > LIMITS.cores && `${what}: ${cores.toFixed(2)} cores in place of ${LIMITS.cores}`,
]).filter(Boolean);
const { side, aborts } = await beside();
await rm(scratch, { recursive: true });
console.log(JSON.stringify({ many: found, side, aborts, missed }));
process.exit();
