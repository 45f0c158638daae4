// Tests of durations shared through a journal, and of the journal calls that this takes.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { UNKNOWN_ID, answer, load, settles } from "./harness.mjs";

const { TemplateJobs } = await load();
const request = { template_id: UNKNOWN_ID, variables: {} };

/** A journal with the documented methods only; `asked` receives its calls. */
function journal(asked = []) {
  const kept = new Map();
  const methods = {
    create: (key, entry) => !kept.has(key) && !!kept.set(key, entry),
    read: (key) => kept.get(key),
    write: (key, entry) => void kept.set(key, entry),
    delete: (key) => void kept.delete(key),
    list: (prefix) => [...kept.keys()].filter((key) => key.startsWith(prefix)),
  };
  const recorded = Object.entries(methods).map(([name, method]) => [
    name, async (key, entry) => (asked.push(`${name} ${/:took\//.test(key) ? "duration" : "operation"}`), method(key, entry)),
  ]);
  return { kept, ...Object.fromEntries(recorded) };
}

/** A client whose jobs are done at the first poll; `polls` are the times of polls since the charge, in milliseconds. */
function client(journal) {
  const polls = [];
  let begun;
  const fetch = async (url, { method }) => {
    if (method === "POST") begun = performance.now();
    else polls.push(performance.now() - begun);
    const id = method === "POST" ? randomUUID() : String(url).split("/").at(-2);
    return answer(200, method === "POST" ? { id, status: "pending" } : { id, status: "done", video_output: "https://cdn.test/v" });
  };
  return { jobs: new TemplateJobs({ baseUrl: "https://api.test", journal, fetch }), polls };
}

/** The time of the first poll after a charge, in milliseconds. */
async function firstPoll(journal, body, options) {
  const { jobs, polls } = client(journal);
  await settles(jobs.poll(await jobs.submit(body), options), 10_000);
  jobs.close();
  return polls[0];
}

test("a duration learned by one client sets the first poll of another, for that template and model only", async () => {
  const shared = journal();
  assert.ok(await firstPoll(shared, request, { maxInterval: 1_500 }) < 2_500);
  const [learned, other, aurora] = await Promise.all([
    firstPoll(shared, request),
    firstPoll(shared, { ...request, template_id: "99999999-0d44-4b50-8888-8dd25736052a" }),
    firstPoll(shared, { ...request, model_version: "aurora_v1" }),
  ]);
  assert.ok(learned < 3_000, `${learned} ms`);
  assert.ok(other > 4_200 && aurora > 4_200, `${other} and ${aurora} ms`);
});

test("the first poll of a kind of job reads one duration, the end of each job writes one, and a charge none", async () => {
  const asked = [];
  const { jobs } = client(journal(asked));
  const wait = async () => {
    const job = await jobs.submit(request);
    const charging = asked.splice(0);
    await settles(jobs.poll(job, { maxInterval: 1_500 }), 5_000);
    // The end is written in the background.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { charging, waiting: asked.splice(0) };
  };
  // The operation is marked as open, and the verdict is written by a read and a write, as the journal has no `replace`.
  const charging = ["create operation", "write operation", "read operation", "write operation"];
  const ending = ["read operation", "write operation", "write operation", "delete operation"];
  const sorted = ({ charging, waiting }) => ({ charging, waiting: waiting.toSorted() });
  assert.deepEqual(sorted(await wait()), { charging, waiting: ["read duration", ...ending, "write duration"].toSorted() });
  assert.deepEqual(sorted(await wait()), { charging, waiting: [...ending, "write duration"].toSorted() });
  jobs.close();
});

test("an entry of a duration contains no template or job id, and is not pending", async () => {
  const shared = journal();
  await firstPoll(shared, request, { maxInterval: 1_500 });
  const [[key, entry], ...others] = [...shared.kept].filter(([name]) => /:took\//.test(name));
  assert.deepEqual(others, []);
  assert.deepEqual(Object.keys(JSON.parse(entry)).toSorted(), ["at", "kind", "ms"]);
  // Ids contain hyphens; the first eight digits are looked for too.
  assert.doesNotMatch(key + entry, /-/);
  assert.ok(!(key + entry).includes(UNKNOWN_ID.slice(0, 8)));
  const events = [];
  const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: shared, onEvent: (event) => events.push(event) });
  assert.deepEqual(await jobs.pending(), []);
  assert.deepEqual(events, []);
  jobs.close();
});

for (const [what, read] of [["throws", () => { throw new Error("full"); }], ["never answers", () => new Promise(() => {})], ["answers nonsense", () => "{"]]) {
  test(`a journal that ${what} for durations neither delays nor fails a poll`, async () => {
    const broken = journal();
    const { read: honest } = broken;
    broken.read = (key) => (/:took\//.test(key) ? read() : honest(key));
    const first = await firstPoll(broken, request);
    assert.ok(first > 4_200 && first < 5_200, `${first} ms`);
  });
}
