// Measures the sandbox: status requests a second beside Prism on the same OpenAPI document, with the load generator on the same
// cores; the time from its start to the first answer; and the memory of ten thousand jobs.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { start } from "./programs.mjs";

const [sandbox, generator, tools, scratch] = process.argv.slice(2);

const ROUNDS = 3;
const SECONDS = 5;
const CONNECTIONS = 20;
const STARTS = 20;
const JOBS = 10_000;
const KEYS = { "X-API-ID": "sandbox", "X-API-KEY": "sandbox" };
/** The sandbox's limits. */
const LIMITS = { ratio: 10, firstAnswerMs: 100, jobsMegabytes: 100 };

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];

const startSandbox = (...flags) => start(sandbox, ["--port", "0", ...flags], /listening on (http:\S+)\n/);

/** A free port. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function startPrism(document) {
  const port = await freePort();
  const prism = join(tools, "node_modules/@stoplight/prism-cli/dist/index.js");
  const args = [prism, "mock", document, "--host", "127.0.0.1", "--port", String(port), "--verboseLevel", "silent"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.resume();
  const url = `http://127.0.0.1:${port}`;
  while (!(await answers(port))) if (child.exitCode !== null) throw new Error("Prism ended before it listened");
  return { url, stop: () => (child.kill(), once(child, "exit")) };
}

const answers = (port) => new Promise((resolve) => {
  const socket = connect(port, "127.0.0.1", () => { socket.destroy(); resolve(true); });
  socket.on("error", () => setTimeout(resolve, 20, false));
});

/** Status requests a second that were answered with a job. Any other answer is an error. */
async function load(url, id) {
  const args = [new URL(url).host, `/api/custom_template_jobs/${id}/`, String(CONNECTIONS), String(SECONDS)];
  return Number((await promisify(execFile)(generator, args)).stdout);
}

/** Makes jobs, and returns the id of the last. */
async function makeJobs(url, count) {
  const [template] = await (await fetch(`${url}/__sandbox/templates`)).json();
  const variables = Object.fromEntries(template.variables.map(({ name, type, default: value }) =>
    [name, { type, properties: { [type === "text" ? "content" : "url"]: value } }]));
  const body = JSON.stringify({ template_id: template.template_id, variables, webhook_url: null });
  let id;
  let left = count;
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    while (left-- > 0) {
      const response = await fetch(`${url}/api/custom_template_jobs/preview_async/`, { method: "POST", body, headers: { ...KEYS, "content-type": "application/json" } });
      if (response.status !== 201) throw new Error(await response.text());
      ({ id } = await response.json());
    }
  }));
  return id;
}

async function throughput() {
  const ours = await startSandbox();
  const id = await makeJobs(ours.url, 1);
  const document = join(scratch, "openapi.json");
  await writeFile(document, await (await fetch(`${ours.url}/__sandbox/openapi.json`)).text());
  const prism = await startPrism(document);
  const found = { sandbox: [], prism: [] };
  for (let round = 0; round < ROUNDS; round++) {
    found.prism.push(await load(prism.url, id));
    found.sandbox.push(await load(ours.url, id));
  }
  await Promise.all([ours.stop(), prism.stop()]);
  return { sandbox: median(found.sandbox), prism: median(found.prism), ratio: median(found.sandbox) / median(found.prism), rounds: found };
}

/** Milliseconds from the start of the program to the end of its first answer. */
async function firstAnswer() {
  const times = [];
  for (let n = 0; n < STARTS; n++) {
    const begun = performance.now();
    const ours = await startSandbox();
    await (await fetch(`${ours.url}/api/remaining_credits/`, { headers: KEYS })).text();
    times.push(performance.now() - begun);
    await ours.stop();
  }
  return { ms: median(times), worst: Math.max(...times) };
}

async function memory() {
  const ours = await startSandbox("--credits", "1000000");
  const megabytes = async () => Number(/VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${ours.pid}/status`, "utf8"))[1]) / 1024;
  const empty = await megabytes();
  await makeJobs(ours.url, JOBS);
  const full = await megabytes();
  await ours.stop();
  return { jobs: JOBS, empty, full };
}

const found = { ...(await throughput()), firstAnswer: await firstAnswer(), memory: process.platform === "linux" ? await memory() : null };
const missed = [
  found.ratio < LIMITS.ratio && `${found.ratio.toFixed(1)} times Prism's requests a second in place of ${LIMITS.ratio}`,
  found.firstAnswer.ms > LIMITS.firstAnswerMs && `the first answer after ${found.firstAnswer.ms.toFixed(0)} ms in place of ${LIMITS.firstAnswerMs}`,
  found.memory && found.memory.full >= LIMITS.jobsMegabytes && `${found.memory.full.toFixed(0)} MB for ${JOBS} jobs in place of ${LIMITS.jobsMegabytes}`,
].filter(Boolean);
console.log(JSON.stringify({ ...found, missed }));
process.exit();
