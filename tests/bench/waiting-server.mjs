// A server with jobs of a given duration, in the dialect of each client, on an accelerated clock. It records polls.
// Run as a program, it prints its URL. `POST /jobs` makes a job that starts when a client posts anything below `/<id>`; every GET
// below it is a poll; `GET /jobs/<id>` returns the record.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** The statuses of each dialect: queued, running, done. */
const WORDS = {
  creatify: ["in_queue", "running", "done"],
  fal: ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"],
  replicate: ["starting", "processing", "succeeded"],
  openai: ["in_progress", "in_progress", "completed"],
};
const jobs = new Map();

/** The answer about a job, `now` milliseconds after its start on the client's clock. */
function record({ id, running, end, progress, dialect }, now) {
  const [waits, runs, done] = WORDS[dialect];
  const part = Math.max(0, Math.min(1, (now - running) / (end - running)));
  return {
    id, request_id: id, status: now >= end ? done : now >= running ? runs : waits,
    progress: progress ? Math.floor(part * 100) / 100 : undefined, video_output: now >= end ? "https://example.com/v.mp4" : null,
  };
}

async function answer(method, path, body) {
  const [, first, second] = path.split("/");
  if (first === "jobs" && method === "POST") {
    const id = randomUUID();
    jobs.set(id, { ...JSON.parse(body), id, requests: 0 });
    return { id };
  }
  if (first === "jobs") {
    const { requests, lag } = jobs.get(second);
    return { requests, lag };
  }
  const job = jobs.get(first);
  const clock = performance.now() * job.speed;
  if (method === "POST") {
    job.begun = clock;
  } else {
    job.requests += 1;
    job.lag = clock - job.begun - job.end;
  }
  return record(job, clock - job.begun);
}

const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(await answer(request.method, request.url, body)));
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
console.log(`http://127.0.0.1:${server.address().port}`);
