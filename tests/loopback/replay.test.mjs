// Compares the polls of the packed client over loopback, in real time, with the replay of `tests/polling`. REPLAY is the file
// that `polling --loopback` wrote.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { load } from "../node/harness.mjs";

const { TemplateJobs, init } = await load();
await init();
const worlds = JSON.parse(await readFile(process.env.REPLAY, "utf8"));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const jobs = new Map();

/** What a job shows so long after it was begun. */
function shown(id, states, passed) {
  const [, status, progress] = states.findLast(([at]) => at <= passed);
  return { id, status, progress, video_output: status === "done" ? "https://cdn.test/v" : null };
}

const server = createServer(async (request, response) => {
  const job = jobs.get(request.url.split("/").at(-2));
  await pause(job.answer / 2);
  const passed = performance.now() - job.begun;
  job.requests += 1;
  job.lag = (passed - job.end) / 1_000;
  const body = JSON.stringify(shown(job.id, job.states, passed));
  await pause(job.answer / 2);
  response.writeHead(200, { "content-type": "application/json" });
  response.end(body);
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
after(() => server.close());

/** Waits for a job with a client of its own. */
async function waited({ answer, expected }, { end, states }, number) {
  // One after the other, so that none begins late.
  await pause(100 * number);
  const job = { id: randomUUID(), answer, end, states, requests: 0, lag: NaN, begun: performance.now() };
  jobs.set(job.id, job);
  const client = new TemplateJobs({ baseUrl: `http://127.0.0.1:${server.address().port}`, journal: "memory" });
  const options = { until: "video", expectedMs: expected ?? undefined };
  await client.poll(shown(job.id, states, 0), options).catch((error) => assert.equal(error.name, "JobFailedError", error.message));
  client.close();
  return job;
}

const mean = (found, name) => found.reduce((sum, job) => sum + job[name], 0) / found.length;
const found = await Promise.all(worlds.map((world) => Promise.all(world.jobs.map((job, number) => waited(world, job, number)))));

for (const [number, { world, replayed }] of worlds.entries()) {
  test(`the replay finds what happens: ${world}`, (context) => {
    const [requests, lag] = [mean(found[number], "requests"), mean(found[number], "lag")];
    const text = `${requests.toFixed(2)} requests, ${lag.toFixed(2)} s late; replayed ${replayed.requests.toFixed(2)}, ${replayed.lag.toFixed(2)} s`;
    context.diagnostic(text);
    assert.ok(Math.abs(requests - replayed.requests) <= 0.1 * replayed.requests, text);
    assert.ok(Math.abs(lag - replayed.lag) <= Math.max(0.2, 0.1 * replayed.lag), text);
  });
}
