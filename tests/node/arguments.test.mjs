// Tests of invalid arguments: each rejects its own call, and no other, for every argument of every method and of the constructor.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UNKNOWN_ID, answer, deferred, jobOf, load, recorder, rejection, settles, usual } from "./harness.mjs";

const { TemplateJobs, text } = await load();

const OTHER_ID = "9b2f1c52-0b6d-4f0e-9a41-5d2c8b7f0002";
const request = (more) => ({ template_id: UNKNOWN_ID, variables: { title: text("Hello") }, ...more });
const clients = [];
let hosts = 0;
function client(options, reply) {
  const wire = recorder(reply);
  const jobs = new TemplateJobs({ baseUrl: `https://arguments-${++hosts}.test`, journal: "memory", fetch: wire.fetch, ...options });
  clients.push(jobs);
  return { ...wire, jobs };
}
test.after(() => {
  for (const jobs of clients) jobs.close();
});

function revoked() {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
const throwing = (...names) =>
  Object.defineProperties({}, Object.fromEntries(names.map((name) => [name, { enumerable: true, get: () => { throw new Error("read"); } }])));
const deep = (() => {
  let it = [];
  for (let level = 0; level < 5_000_000; level++) it = [it];
  return it;
})();
const NAMES = [
  "template_id", "variables", "name", "webhook_url", "id", "status", "operation", "seconds", "timeout", "signal", "waitUntil", "until",
  "expectedMs", "maxInterval", "urgency", "onUpdate", "step", "model_version", "jobId",
];
const BAD = {
  "null": null,
  "a number": 7,
  "a symbol": Symbol("bad"),
  "a revoked proxy": revoked(),
  "an object whose getters throw": throwing(...NAMES),
  "a proxy that throws": new Proxy({}, { get: () => { throw new Error("read"); }, ownKeys: () => { throw new Error("read"); }, getPrototypeOf: () => { throw new Error("read"); } }),
  "a promise": Promise.resolve({}),
  "10 MB of nesting": deep,
};

// A value for the whole request, or for a field of it by its path.
const REQUEST = new RegExp(`^(request|${NAMES.join("|")})`);
const OPTIONS = /^options$/;
const ID = /^(id|job)$/;
// How each argument is passed, and the `field` that names it in the error.
const ARGUMENTS = [
  ...["submit", "previewAsync", "previewSync", "preview"].flatMap((name) => [
    [`${name}(request)`, (jobs, bad) => jobs[name](bad), REQUEST],
    [`${name}(_, options)`, (jobs, bad) => jobs[name](request(), bad), OPTIONS],
  ]),
  ["render(job)", (jobs, bad) => jobs.render(bad), ID],
  ["render(_, request)", (jobs, bad) => jobs.render(OTHER_ID, bad), REQUEST],
  ["render(_, _, options)", (jobs, bad) => jobs.render(OTHER_ID, undefined, bad), OPTIONS],
  ["get(id)", (jobs, bad) => jobs.get(bad), ID],
  ["get(_, options)", (jobs, bad) => jobs.get(OTHER_ID, bad), OPTIONS],
  ["poll(job)", (jobs, bad) => jobs.poll(bad), ID],
  ["poll(_, options)", (jobs, bad) => jobs.poll(OTHER_ID, bad), OPTIONS],
  ["watch(job)", (jobs, bad) => jobs.watch(bad).next(), ID],
  ["watch(_, options)", (jobs, bad) => jobs.watch(OTHER_ID, bad).next(), OPTIONS],
  ["templates(options)", (jobs, bad) => jobs.templates(bad), OPTIONS],
  ["remainingCredits(options)", (jobs, bad) => jobs.remainingCredits(bad), OPTIONS],
  ["estimate(question)", (jobs, bad) => jobs.estimate(bad), /^(question|step|seconds|model_version)$/],
  ["settle(operation)", (jobs, bad) => jobs.settle(bad), /^operation$/],
  ["settle(_, options)", (jobs, bad) => jobs.settle("op", bad), OPTIONS],
];

for (const [argument, call, field] of ARGUMENTS) {
  test(`an invalid ${argument} rejects its own call and names the argument`, async () => {
    const gate = deferred();
    const { jobs, sent } = client({}, async (call, number) => (await gate.promise, usual(call, number)));
    const other = jobs.submit(request(), { operation: "other" });
    const watched = jobs.poll(UNKNOWN_ID, { until: "preview" });
    for (const [name, bad] of Object.entries(BAD)) {
      let promise;
      assert.doesNotThrow(() => (promise = call(jobs, bad)), `${name} throws`);
      const error = await rejection(promise);
      assert.equal(error.name, "InvalidRequestError", `${name}: ${error.stack}`);
      assert.match(error.field, field, name);
      assert.ok(error.message.length < 1_000, name);
    }
    assert.ok(sent.length <= 2, "the invalid calls send nothing");
    gate.resolve();
    assert.equal((await settles(other)).status, "pending");
    assert.equal(await Promise.race([watched, new Promise((resolve) => setTimeout(resolve, 10, "waits"))]), "waits");
  });
}

test("an invalid option of a call rejects its own call and names the option", async () => {
  const { jobs, sent } = client();
  const functions = { "a class": class {} };
  for (const [name, bad] of Object.entries({ ...BAD, ...functions })) {
    for (const [field, call] of [
      ["operation", () => jobs.submit(request(), { operation: bad })],
      ["operation", () => jobs.render(OTHER_ID, undefined, { operation: bad })],
      ["signal", () => jobs.submit(request(), { signal: bad })],
      ["signal", () => jobs.get(OTHER_ID, { signal: bad })],
      ["signal", () => jobs.poll(OTHER_ID, { signal: bad })],
      ["jobId", () => jobs.settle("op", { jobId: bad })],
      ["waitUntil", () => jobs.submit(request(), { waitUntil: bad })],
      ["onUpdate", () => jobs.poll(OTHER_ID, { onUpdate: bad })],
    ]) {
      if (field === "signal" && bad === null) continue; // null is allowed, as by `fetch`
      if (/waitUntil|onUpdate/.test(field) && name === "a class") continue;
      const error = await rejection(call());
      assert.deepEqual([error.name, error.field], ["InvalidRequestError", field], `${field} as ${name}: ${error.stack}`);
    }
  }
  assert.deepEqual(sent, []);
});

test("invalid options are refused by the constructor", () => {
  for (const [name, bad] of Object.entries({ ...BAD, "an array": [], "a text": "https://api.test", "a function": () => ({}) })) {
    if (name === "an object whose getters throw") continue; // it has none of the constructor's options
    assert.throws(() => new TemplateJobs(bad), { name: "InvalidRequestError", field: "options" }, name);
  }
  assert.throws(() => new TemplateJobs(throwing("baseUrl")), { name: "InvalidRequestError", field: "options" });
});

test("an option that cannot be sent rejects the calls of its client, and of no other", async () => {
  const { jobs: other } = client();
  for (const [name, bad] of Object.entries(BAD)) {
    for (const option of ["apiKey", "headers"]) {
      let made;
      try {
        made = client({ [option]: bad });
      } catch (error) {
        assert.deepEqual([error.name, error.field], ["InvalidRequestError", option], name);
        continue;
      }
      const outcome = await settles(made.jobs.submit(request()).then(() => "sent", (error) => error));
      if (outcome !== "sent") assert.equal(outcome.name, "InvalidRequestError", `${option} as ${name}: ${outcome.stack}`);
      else assert.ok(option === "headers", `${option} as ${name} is sent`);
    }
  }
  await settles(other.get(UNKNOWN_ID));
});

test("options of a render passed as its request are refused with a hint", async () => {
  const { jobs, sent } = client();
  for (const options of [{ operation: "again" }, { metadata: 10 }, { signal: AbortSignal.timeout(1_000) }, { timeout: 10 }, { waitUntil() {} }]) {
    const error = await rejection(jobs.render(UNKNOWN_ID, options));
    assert.deepEqual([error.name, error.field], ["InvalidRequestError", Object.keys(options)[0]]);
    assert.match(error.message, /third/);
  }
  assert.deepEqual(sent, []);
});

test("a job has one render, whatever the case of its id", async () => {
  const { jobs, posts, sent } = client({}, ({ method }) => answer(200, jobOf(UNKNOWN_ID, { status: method === "POST" ? "running" : "done", preview: "https://p" })));
  await settles(Promise.all([jobs.render(UNKNOWN_ID), jobs.render(UNKNOWN_ID.toUpperCase()), jobs.render({ id: UNKNOWN_ID.toUpperCase() })]));
  assert.equal(posts().length, 1);
  await settles(jobs.get(UNKNOWN_ID.toUpperCase()));
  assert.deepEqual([...new Set(sent.map(({ path }) => path))].filter((path) => /[A-F]/.test(path.split("/")[3])), []);
});

test("a job with throwing getters is refused, and later changes of a job are ignored", async () => {
  const { jobs } = client({}, () => answer(200, jobOf(UNKNOWN_ID, { status: "done", preview: "https://p", video_output: "https://v" })));
  for (const call of ["poll", "watch"]) {
    const bad = Object.defineProperties({ id: UNKNOWN_ID }, Object.getOwnPropertyDescriptors(throwing("status", "preview")));
    const calling = jobs[call](bad);
    const error = await rejection(call === "watch" ? calling.next() : calling);
    assert.deepEqual([error.name, error.field], ["InvalidRequestError", "job"]);
  }
  const changing = { id: UNKNOWN_ID, status: "running" };
  const polled = jobs.poll(changing, { until: "video", maxInterval: 500, expectedMs: 500 });
  changing.id = "none";
  assert.equal((await settles(polled, 20_000)).video_output, "https://v");
});
