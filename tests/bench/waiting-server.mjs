// Jobs that end when they are told to, in the dialect of each client, on a clock that runs faster; and when they were looked at.
// Run as a program it prints its address. `POST /jobs` makes a job that begins when a client posts anything below `/<id>`;
// every GET below it is a look; `GET /jobs/<id>` is what the looks came to.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** How each dialect calls a job that waits, that runs, and that is done. */
const WORDS = {
  creatify: ["in_queue", "running", "done"],
  fal: ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"],
  replicate: ["starting", "processing", "succeeded"],
  openai: ["in_progress", "in_progress", "completed"],
};
const jobs = new Map();

/** What a client is told of a job, `now` milliseconds of its clock after it was begun. */
function told({ id, running, end, progress, dialect }, now) {
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
  return told(job, clock - job.begun);
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
