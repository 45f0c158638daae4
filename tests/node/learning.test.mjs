// Decides whether packed clients of one journal share how long jobs took, and what that asks of the journal.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { UNKNOWN_ID, answer, load, settles } from "./harness.mjs";

const { TemplateJobs } = await load();
const request = { template_id: UNKNOWN_ID, variables: {} };

/** A journal with the documented methods and no other, which says what it was asked. */
function journal(asked = []) {
  const kept = new Map();
  const methods = {
    create: (key, entry) => !kept.has(key) && !!kept.set(key, entry),
    read: (key) => kept.get(key),
    write: (key, entry) => void kept.set(key, entry),
    delete: (key) => void kept.delete(key),
    list: (prefix) => [...kept.keys()].filter((key) => key.startsWith(prefix)),
  };
  const heard = Object.entries(methods).map(([name, method]) => [
    name, async (key, entry) => (asked.push(`${name} ${/:took\//.test(key) ? "duration" : "operation"}`), method(key, entry)),
  ]);
  return { kept, ...Object.fromEntries(heard) };
}

/** A client of that journal, whose jobs are done when they are looked at; and when it looked, in milliseconds since it charged. */
function client(journal) {
  const looks = [];
  let begun;
  const fetch = async (url, { method }) => {
    if (method === "POST") begun = performance.now();
    else looks.push(performance.now() - begun);
    const id = method === "POST" ? randomUUID() : String(url).split("/").at(-2);
    return answer(200, method === "POST" ? { id, status: "pending" } : { id, status: "done", video_output: "https://cdn.test/v" });
  };
  return { jobs: new TemplateJobs({ baseUrl: "https://api.test", journal, fetch }), looks };
}

/** When a client first looks at a job that it charged for. */
async function firstLook(journal, body, options) {
  const { jobs, looks } = client(journal);
  await settles(jobs.poll(await jobs.submit(body), options), 10_000);
  jobs.close();
  return looks[0];
}

test("what one client learned another one of the same journal looks by, for that template and model alone", async () => {
  const shared = journal();
  assert.ok(await firstLook(shared, request, { maxInterval: 1_500 }) < 2_500);
  const [learned, other, aurora] = await Promise.all([
    firstLook(shared, request),
    firstLook(shared, { ...request, template_id: "99999999-0d44-4b50-8888-8dd25736052a" }),
    firstLook(shared, { ...request, model_version: "aurora_v1" }),
  ]);
  assert.ok(learned < 3_000, `${learned} ms`);
  assert.ok(other > 4_200 && aurora > 4_200, `${other} and ${aurora} ms`);
});

test("a charge asks nothing of it; the first wait for a kind of job reads once, and the end of each job writes once", async () => {
  const asked = [];
  const { jobs } = client(journal(asked));
  const wait = async () => {
    const job = await jobs.submit(request);
    const charging = asked.splice(0);
    await settles(jobs.poll(job, { maxInterval: 1_500 }), 5_000);
    // The end is written beside the wait.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { charging, waiting: asked.splice(0) };
  };
  // The operation is marked as open, and a verdict is written after what is there was compared.
  const charging = ["create operation", "write operation", "read operation", "write operation"];
  const ending = ["read operation", "write operation", "write operation", "delete operation"];
  const sorted = ({ charging, waiting }) => ({ charging, waiting: waiting.toSorted() });
  assert.deepEqual(sorted(await wait()), { charging, waiting: ["read duration", ...ending, "write duration"].toSorted() });
  assert.deepEqual(sorted(await wait()), { charging, waiting: [...ending, "write duration"].toSorted() });
  jobs.close();
});

test("what it has names neither the template nor the job, and is not pending", async () => {
  const shared = journal();
  await firstLook(shared, request, { maxInterval: 1_500 });
  const [[key, entry], ...others] = [...shared.kept].filter(([name]) => /:took\//.test(name));
  assert.deepEqual(others, []);
  assert.deepEqual(Object.keys(JSON.parse(entry)).toSorted(), ["at", "kind", "ms"]);
  // Ids have hyphens, and a template's or job's first eight digits are not there either.
  assert.doesNotMatch(key + entry, /-/);
  assert.ok(!(key + entry).includes(UNKNOWN_ID.slice(0, 8)));
  const events = [];
  const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: shared, onEvent: (event) => events.push(event) });
  assert.deepEqual(await jobs.pending(), []);
  assert.deepEqual(events, []);
  jobs.close();
});

for (const [what, read] of [["throws", () => { throw new Error("full"); }], ["never answers", () => new Promise(() => {})], ["answers nonsense", () => "{"]]) {
  test(`a journal that ${what} where durations are read delays no wait and fails none`, async () => {
    const broken = journal();
    const { read: honest } = broken;
    broken.read = (key) => (/:took\//.test(key) ? read() : honest(key));
    const first = await firstLook(broken, request);
    assert.ok(first > 4_200 && first < 5_200, `${first} ms`);
  });
}
