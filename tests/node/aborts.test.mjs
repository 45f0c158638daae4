// Tests of aborts and timeouts of the packed client: an aborted call sends nothing more, and every call ends within its timeout.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { UNKNOWN_ID, answer, deferred, load, recorder, rejection, settles, usual } from "./harness.mjs";

const { TemplateJobs, init, isTemplateJobsError } = await load();
await init();

const OTHER_ID = "9b2f1c52-0b6d-4f0e-9a41-5d2c8b7f0002";
const request = { template_id: UNKNOWN_ID, variables: {} };
const clients = [];
let hosts = 0;
function client(options, reply) {
  const wire = recorder(reply);
  const jobs = new TemplateJobs({ baseUrl: `https://aborts-${++hosts}.test`, journal: "memory", fetch: wire.fetch, maxRetries: 0, previewTimeout: 500, ...options });
  clients.push(jobs);
  return { ...wire, jobs };
}
test.after(() => {
  for (const jobs of clients) jobs.close();
});
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The two functions of the caller that a request waits for; the test decides when they return.
const HELD = {
  headers: (gate, asked) => ({ headers: async () => (asked.resolve(), await gate.promise, {}) }),
  apiKey: (gate, asked) => ({ apiKey: async () => (asked.resolve(), await gate.promise, "key-7f3a9") }),
};

for (const [name, held] of Object.entries(HELD)) {
  test(`a charge that is aborted while ${name}() is awaited is never sent, and its operation is free`, async () => {
    const gate = deferred();
    const asked = deferred();
    const { jobs, posts } = client(held(gate, asked));
    const controller = new AbortController();
    const reason = new Error("left");
    let alive;
    const call = rejection(jobs.submit(request, { operation: "op", signal: controller.signal, waitUntil: (promise) => (alive = promise) }));
    await settles(asked.promise);
    controller.abort(reason);
    assert.equal(await call, reason);
    await settles(alive);
    gate.resolve();
    await pause(20);
    assert.deepEqual(posts(), []);
    assert.deepEqual(await settles(jobs.pending()), []);
    await settles(jobs.submit({ ...request, name: "another" }, { operation: "op" }));
    assert.equal(posts().length, 1);
  });

  test(`a charge whose timeout ends while ${name}() is awaited is never sent and rejects with sent: false`, async () => {
    const gate = deferred();
    const { jobs, posts } = client(held(gate, deferred()));
    const error = await rejection(jobs.submit(request, { operation: "op", timeout: 50 }));
    assert.deepEqual([error.name, error.sent, error.operation], ["ConnectionError", false, "op"]);
    assert.match(error.message, /nothing was sent/);
    gate.resolve();
    await pause(20);
    assert.deepEqual(posts(), []);
    assert.deepEqual(await settles(jobs.pending()), []);
    await settles(jobs.submit({ ...request, name: "another" }, { operation: "op" }));
    assert.equal(posts().length, 1);
  });

  test(`a ${name}() that never returns is bounded by the client's timeout and leaves no unknown charge`, async () => {
    const stuck = client({ ...held(deferred(), deferred()), timeout: 100 });
    for (const [what, call] of [
      ["submit", () => stuck.jobs.submit(request, { operation: "op" })], ["preview", () => stuck.jobs.preview(request)], ["render", () => stuck.jobs.render(OTHER_ID)],
      ["get", () => stuck.jobs.get(OTHER_ID)], ["templates", () => stuck.jobs.templates()], ["balance", () => stuck.jobs.remainingCredits()],
    ]) {
      const error = await rejection(call());
      assert.deepEqual([error.name, error.sent], ["ConnectionError", false], what);
    }
    assert.deepEqual(stuck.sent, []);
    assert.deepEqual(await settles(stuck.jobs.pending()), []);
  });

  test(`a render that is aborted while ${name}() is awaited after the read of its job is never sent`, async () => {
    const gate = deferred();
    let calls = 0;
    const slow = async () => {
      if (++calls > 1) await gate.promise;
      return name === "headers" ? {} : "key-7f3a9";
    };
    const { jobs, sent, posts } = client({ [name]: slow }, (call, number) => (call.method === "GET" ? answer(200, { id: OTHER_ID, status: "done", preview: "https://p" }) : usual(call, number)));
    const controller = new AbortController();
    const call = rejection(jobs.render(OTHER_ID, undefined, { signal: controller.signal }));
    while (calls < 2) await pause(5);
    assert.equal(sent.length, 1);
    controller.abort();
    assert.equal((await call).name, "AbortError");
    gate.resolve();
    await pause(20);
    assert.deepEqual(posts(), []);
    await settles(jobs.render(OTHER_ID));
    assert.equal(posts().length, 1);
  });
}

test("a charge whose client is closed while headers() is awaited is never sent", async () => {
  const gate = deferred();
  const asked = deferred();
  const { jobs, posts } = client(HELD.headers(gate, asked));
  const call = rejection(jobs.submit(request));
  await settles(asked.promise);
  jobs.close();
  assert.equal((await call).name, "ClosedError");
  gate.resolve();
  await pause(20);
  assert.deepEqual(posts(), []);
});

test("a charge shared by two calls is still sent if the first is aborted before the request", async () => {
  const gate = deferred();
  const asked = deferred();
  const { jobs, posts } = client(HELD.headers(gate, asked));
  const controller = new AbortController();
  const first = rejection(jobs.submit(request, { operation: "op", signal: controller.signal }));
  const second = jobs.submit(request, { operation: "op" });
  await settles(asked.promise);
  controller.abort("left");
  assert.equal(await first, "left");
  gate.resolve();
  assert.equal((await settles(second)).status, "pending");
  assert.equal(posts().length, 1);
});

test("a read whose headers() never returns ends within one timeout, whatever maxRetries is", async () => {
  const { jobs, sent } = client({ headers: () => new Promise(() => {}), timeout: 200, maxRetries: 3 });
  for (const call of [jobs.get(OTHER_ID), jobs.templates(), jobs.remainingCredits()]) {
    const error = await rejection(call, 600);
    assert.deepEqual([error.name, error.sent], ["ConnectionError", false]);
  }
  assert.deepEqual(sent, []);
});

/** A signal of another realm, as a test environment or a polyfill has it. */
class ForeignSignal {
  aborted = false;
  listeners = new Set();
  addEventListener(type, listener) {
    if (type === "abort") this.listeners.add(listener);
  }
  removeEventListener(type, listener) {
    this.listeners.delete(listener);
  }
  abort() {
    this.aborted = true;
    for (const listener of this.listeners) typeof listener === "function" ? listener.call(this, { type: "abort" }) : listener.handleEvent({ type: "abort" });
  }
}

test("a signal of another realm aborts, and one without a reason rejects with an AbortError", async () => {
  const { jobs } = client({ timeout: 500 }, () => new Promise(() => {}));
  for (const call of [(options) => jobs.get(OTHER_ID, options), (options) => jobs.submit(request, options), (options) => jobs.poll(OTHER_ID, options), (options) => jobs.watch(OTHER_ID, options).next()]) {
    const signal = new ForeignSignal();
    const calling = rejection(call({ signal }));
    setTimeout(() => signal.abort(), 10);
    const error = await calling;
    assert.equal(error?.name, "AbortError");
    assert.equal(signal.listeners.size, 0);
    const gone = Object.assign(new ForeignSignal(), { aborted: true });
    assert.equal((await rejection(call({ signal: gone })))?.name, "AbortError");
    const reason = { why: "left" };
    assert.equal(await rejection(call({ signal: Object.assign(new ForeignSignal(), { aborted: true, reason }) })), reason);
  }
});

test("calls work with a signal of another realm that is never aborted", async () => {
  const { jobs } = client();
  const signal = new ForeignSignal();
  assert.equal((await settles(jobs.submit(request, { signal }))).status, "pending");
  assert.equal((await settles(jobs.get(OTHER_ID, { signal }))).id, OTHER_ID);
  assert.equal(signal.listeners.size, 0);
});

test("a signal without addEventListener is refused, and one without removeEventListener affects no call", async () => {
  const { error } = console;
  console.error = () => {};
  const fail = () => { throw new Error("mine"); };
  const { jobs } = client();
  try {
    for (const signal of [{ get aborted() { return fail(); } }, { aborted: false, addEventListener: fail }]) {
      const refused = await rejection(jobs.get(OTHER_ID, { signal }));
      assert.deepEqual([refused.name, refused.field], ["InvalidRequestError", "signal"]);
    }
    for (const removeEventListener of [undefined, fail]) {
      assert.equal((await settles(jobs.get(OTHER_ID, { signal: { aborted: false, addEventListener() {}, removeEventListener } }))).id, OTHER_ID);
    }
  } finally {
    console.error = error;
  }
});

test("an AbortController whose signal the runtime's fetch refuses makes no call fail", () => {
  const found = run(`
    import { createServer } from "node:http";
    class Foreign extends EventTarget { aborted = false; }
    globalThis.AbortSignal = Foreign;
    globalThis.AbortController = class {
      signal = new Foreign();
      abort() { this.signal.aborted = true; this.signal.dispatchEvent(new Event("abort")); }
    };
    const { TemplateJobs } = await import(entry("node.js"));
    const server = createServer((request, response) => request.url.includes("templates") || response.end(JSON.stringify({ id, status: "done" })));
    server.listen(0, "127.0.0.1", async () => {
      const jobs = new TemplateJobs({ baseUrl: "http://127.0.0.1:" + server.address().port, journal: "memory", maxRetries: 0 });
      const controller = new AbortController();
      const ends = [(await jobs.get(id)).id, (await jobs.templates({ timeout: 100 }).catch((error) => error)).name];
      setTimeout(() => controller.abort(), 50);
      ends.push((await jobs.templates({ signal: controller.signal }).catch((error) => error)).name);
      print(ends);
    });
  `);
  assert.deepEqual(found, [OTHER_ID, "ConnectionError", "AbortError"]);
});

test("an answered request is not aborted afterwards, and an abandoned one is", async () => {
  const { jobs, sent } = client();
  await settles(jobs.get(OTHER_ID));
  await settles(jobs.submit(request));
  await pause(20);
  assert.deepEqual(sent.map(({ signal }) => !!signal?.aborted), [false, false]);
  const hanging = client({}, () => new Promise(() => {}));
  const controller = new AbortController();
  const call = rejection(hanging.jobs.get(OTHER_ID, { signal: controller.signal }));
  while (!hanging.sent.length) await pause(5);
  controller.abort();
  await call;
  await pause(20);
  assert.deepEqual(hanging.sent.map(({ signal }) => signal.aborted), [true]);
});

test("every call ends within the client's timeout if the journal never returns", async () => {
  const never = () => new Promise(() => {});
  const journal = { create: never, read: never, write: never, replace: never, delete: never, list: never };
  const { jobs, posts } = client({ journal, timeout: 100 });
  for (const [what, call] of [["pending", () => jobs.pending()], ["settle", () => jobs.settle("op")], ["submit", () => jobs.submit(request, { operation: "op" })]]) {
    const error = await rejection(call(), 3_000);
    assert.ok(error.name === "JournalError" || (error.name === "ConnectionError" && error.sent === false), `${what}: ${error.stack}`);
  }
  assert.equal((await settles(jobs.get(OTHER_ID), 3_000)).id, OTHER_ID);
  assert.deepEqual(posts(), []);
});

test("settle ends within the client's timeout if listJobs never returns", async () => {
  const { jobs } = client({ listJobs: () => new Promise(() => {}), timeout: 100 }, () => answer(502, "lost"));
  assert.equal((await rejection(jobs.submit(request, { operation: "op" }))).name, "ChargeUnknownError");
  const ended = await settles(jobs.settle("op").catch((error) => error), 3_000);
  assert.ok(isTemplateJobsError(ended) || ended.state === "unknown", ended);
  assert.equal((await settles(jobs.pending()))[0].state, "unknown");
});

test("every call ends within its timeout and sends nothing if the WebAssembly never loads", () => {
  const seen = run(`
    const { TemplateJobs, init } = await import(entry("slim.js"));
    init(new Promise(() => {})).catch(() => {});
    const sent = [];
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", timeout: 200, fetch: async (...call) => sent.push(call) });
    const calls = {
      get: jobs.get(id), pending: jobs.pending(), settle: jobs.settle("op"), submit: jobs.submit(request, { operation: "op" }), render: jobs.render(id), poll: jobs.poll(id),
      templates: jobs.templates(), own: new TemplateJobs({ journal: "memory" }).submit(request, { timeout: 100 }), polling: jobs.poll(id, { timeout: 50 }),
    };
    const within = (call) => Promise.race([call.catch(({ name, sent }) => [name, sent]), new Promise((resolve) => setTimeout(resolve, 3_000, "hangs"))]);
    const ends = await Promise.all(Object.entries(calls).map(async ([name, call]) => [name, await within(call)]));
    print({ ends: Object.fromEntries(ends), sent });
  `);
  const { polling, ...ends } = seen.ends;
  for (const [name, end] of Object.entries(ends)) assert.deepEqual(end, ["ConnectionError", false], name);
  assert.equal(polling[0], "PollTimeoutError");
  assert.deepEqual(seen.sent, []);
});

test("every call settles as usual with frozen intrinsics", () => {
  const script = `
    const { TemplateJobs } = await import(entry("node.js"));
    const reply = (status, body) => new Response(JSON.stringify(body), { status });
    let respond = () => reply(200, { id, status: "done", video_output: "https://v" });
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", maxRetries: 0, fetch: async () => respond() });
    const within = (call) => Promise.race([call.then(({ id }) => id, ({ name, message, cause }) => [name, !!message, cause?.message]), new Promise((resolve) => setTimeout(resolve, 3_000, "hangs"))]);
    const ends = [await within(jobs.get(id)), await within(jobs.submit(request)), await within(jobs.submit({})), await within(jobs.poll(id, { until: "video" }))];
    respond = () => reply(404, { detail: "none" });
    ends.push(await within(jobs.get(id)));
    respond = () => { throw new TypeError("refused"); };
    ends.push(await within(jobs.get(id)), await within(jobs.submit(request)));
    ends.push(await within(jobs.get(id, { signal: AbortSignal.abort() })));
    print(ends);
  `;
  const freeze = `
    Object.freeze(Error.prototype);
    for (const it of [Object, Function, Array, Error, TypeError, Promise, Map, Set, String, Number, RegExp, Date]) { Object.freeze(it.prototype); Object.freeze(it); }
  `;
  const usualEnds = run(script);
  assert.equal(usualEnds.length, 8);
  assert.deepEqual(run(freeze + script), usualEnds);
});

/** The output of a script in a process of its own, which may modify globals. */
function run(script) {
  const directory = process.env.PACKAGE_DIR ?? new URL("../../target/npm/package", import.meta.url).pathname;
  const before = `
    const entry = (file) => ${JSON.stringify(pathToFileURL(join(directory, "/")).href)} + file;
    const id = ${JSON.stringify(OTHER_ID)};
    const request = ${JSON.stringify(request)};
    const print = (found) => { console.log(JSON.stringify(found)); process.exit(); };
  `;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", before + script], { encoding: "utf8", timeout: 40_000 });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}
