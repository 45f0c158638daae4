// Tests of the batch recipe: of 50 videos in a process that is killed four times, none is charged twice.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { random } from "../node/random.mjs";
import { settleIn, startSandbox } from "./harness.mjs";

const VIDEOS = 50;
const KILLS = 4;
/** The delay of the answer to a charge, in milliseconds. */
const ANSWER_MS = 1_500;
const SEED = Number(process.env.BATCH_SEED ?? 13);

let home;
let sandbox;
let env;

before(async () => {
  [home, sandbox] = await Promise.all([settleIn("recipes"), startSandbox("--speed", "40", "--credits", "100000")]);
  const [{ template_id }] = (await sandbox.templates()).filter(({ behaviour, duration_seconds }) => behaviour === "done" && duration_seconds <= 30);
  env = { ...process.env, CREATIFY_URL: sandbox.url, CREATIFY_ID: "sandbox", CREATIFY_KEY: "sandbox", TEMPLATE: template_id };
  const rows = Array.from({ length: VIDEOS }, (_, row) => `${row},Guest ${row}`);
  await writeFile(join(home.directory, "rows.csv"), ["id,name", ...rows].join("\n"));
});
after(async () => {
  await sandbox?.stop();
  await home?.leave();
});
beforeEach(async () => {
  await sandbox.reset();
  await sandbox.faults([{ on: "submit", kind: "delay", ms: ANSWER_MS }]);
  await rm(join(home.directory, "jobs"), { recursive: true, force: true });
});

/** Runs the batch to its end, or kills it when `until` resolves. Returns the rows with a video and those with an error. */
async function run(script, until) {
  const child = spawn(process.execPath, [script], { cwd: home.directory, env, stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const name of Object.keys(output)) child[name].on("data", (data) => (output[name] += data));
  const ended = once(child, "exit");
  if (until) {
    await until(child);
    child.kill("SIGKILL");
  }
  await ended;
  const rows = (text) => text.trim().split("\n").filter(Boolean).map((line) => line.split(" "));
  return { videos: rows(output.stdout), errors: rows(output.stderr) };
}

/** How often each row was charged. */
async function paid() {
  const jobs = await (await fetch(`${sandbox.url}/__sandbox/jobs`)).json();
  const titles = new Map(jobs.map(({ id, variables }) => [id, variables.title.properties.content]));
  const count = {};
  for (const { job_id } of (await sandbox.ledger()).charges) count[titles.get(job_id)] = (count[titles.get(job_id)] ?? 0) + 1;
  return { count, jobs };
}

/** A client over the batch's journal. */
async function owner() {
  const load = (file) => import(pathToFileURL(join(home.directory, "node_modules/custom-template-jobs", file)));
  const [{ TemplateJobs }, { fileJournal }] = [await load("node.js"), await load("file-journal.js")];
  return new TemplateJobs({ ...sandbox.options, journal: fileJournal(join(home.directory, "jobs")) });
}

/** The operations that have not ended. */
async function open() {
  const jobs = await owner();
  const operations = await jobs.pending();
  jobs.close();
  return operations;
}

const most = (count) => Math.max(...Object.values(count));

/** Kills the batch repeatedly, each time between a charge and its answer. */
async function killed(script, draw) {
  const charges = async () => (await sandbox.ledger()).charges.length;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const enough = (await charges()) + 1 + draw(8);
    await run(script, async (child) => {
      while (child.exitCode === null && (await charges()) < enough) await setTimeout(20);
      await setTimeout(draw(ANSWER_MS - 500));
    });
    assert.ok(most((await paid()).count) <= 1, `seed ${SEED}`);
    const unknown = (await open()).filter(({ state }) => state === "unknown");
    assert.ok(unknown.length > 0, `seed ${SEED}: the answer came before the kill`);
  }
}

test(`${VIDEOS}_videos_killed_${KILLS}_times_are_charged_once_each_and_unknown_operations_are_settled_or_discarded`, async () => {
  await killed("batch.js", random(SEED));
  const rest = await run("batch.js");
  for (const error of rest.errors) assert.deepEqual(error.slice(1), ["ChargeUnknownError", "maybe", "settle_or_discard"]);
  assert.equal(rest.videos.length + rest.errors.length, VIDEOS);

  const jobs = await owner();
  const unknown = (await jobs.pending()).filter(({ state }) => state === "unknown");
  assert.deepEqual(unknown.map(({ metadata }) => metadata.row).sort(), rest.errors.map(([row]) => row).sort());
  // The jobs as the user's account shows them.
  const { count, jobs: made } = await paid();
  for (const { operation, metadata } of unknown) {
    const title = `Hi Guest ${metadata.row}`;
    const job = made.find(({ variables }) => variables.title.properties.content === title);
    if (job) assert.equal((await jobs.settle(operation, { jobId: job.id })).state, "bound");
    else await jobs.discard(operation);
    assert.equal(count[title] ?? 0, job ? 1 : 0);
  }
  jobs.close();
  const last = await run("batch.js");
  assert.deepEqual(last.errors, []);
  assert.equal(last.videos.length, VIDEOS);
  assert.deepEqual([most((await paid()).count), Object.keys((await paid()).count).length], [1, VIDEOS]);
});

test("with_list_jobs_every_charged_video_ends_by_itself", async () => {
  const source = await readFile(join(home.directory, "batch.js"), "utf8");
  const listed = source
    .replace("new TemplateJobs({", "new TemplateJobs({ listJobs: async () => (await fetch(`${baseUrl}/__sandbox/jobs`)).json(),")
    .replace("greeting({ title: `Hi ${name}` })", "greeting({ title: `Hi ${name}` }, { webhook_url: 'http://127.0.0.1:9/?operation={operation}' })")
    .replace("await pMap", "for (const { operation } of await jobs.pending()) await jobs.resume(operation).catch(() => {});\n\nawait pMap");
  await writeFile(join(home.directory, "listed.js"), listed);
  await killed("listed.js", random(SEED + 1));
  const rest = await run("listed.js");
  const { count } = await paid();
  assert.equal(most(count), 1);
  // Only operations that were never sent stay unknown: the list has no job of theirs.
  for (const [row, name] of rest.errors) assert.deepEqual([name, count[`Hi Guest ${row}`]], ["ChargeUnknownError", undefined]);
  assert.equal(rest.videos.length + rest.errors.length, VIDEOS);
});
