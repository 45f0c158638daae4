// Tests that every promise settles, whatever the caller, the runtime or the WebAssembly does.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { UNKNOWN_ID, answer, deferred, load, rejection, settles } from "./harness.mjs";

const { TemplateJobs } = await load();

const request = { template_id: UNKNOWN_ID, variables: {} };
const job = (status, more) => ({ id: UNKNOWN_ID, status, ...more });
const over = (fetch, options) => new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", apiId: String(Math.random()), previewTimeout: 10_000, fetch, ...options });
/** Timers that keep the process alive. */
const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

for (const reason of ["a bare string", undefined, new Error("mine"), 0]) {
  test(`an abort with ${String(reason)} rejects with it at once, before and during a call`, async () => {
    const jobs = over(() => new Promise(() => {}));
    const wanted = reason === undefined ? "AbortError" : reason;
    const same = (error) => (wanted === "AbortError" ? assert.equal(error.name, wanted) : assert.equal(error, wanted));
    const gone = AbortSignal.abort(reason);
    const calls = [
      (signal) => jobs.get(UNKNOWN_ID, { signal }),
      (signal) => jobs.submit(request, { signal }),
      (signal) => jobs.poll(UNKNOWN_ID, { signal }),
      (signal) => jobs.templates({ signal }),
      (signal) => jobs.watch(UNKNOWN_ID, { signal }).next(),
    ];
    for (const call of calls) {
      same(await rejection(call(gone), 100));
      const controller = new AbortController();
      const running = call(controller.signal);
      setTimeout(() => controller.abort(reason), 10);
      same(await rejection(running, 200));
    }
    jobs.close();
  });
}

test("a render whose timeout ends while it reads its job rejects, and charges nothing", async () => {
  const jobs = over(() => new Promise(() => {}));
  const error = await rejection(jobs.render(UNKNOWN_ID, undefined, { timeout: 20 }), 500);
  assert.deepEqual([error.name, error.sent], ["ConnectionError", false]);
  jobs.close();
});

test("a charge that ends after its client was closed affects no other client", async () => {
  const posted = deferred();
  const jobs = over(() => posted.promise);
  const closed = rejection(jobs.submit(request));
  await new Promise((resolve) => setTimeout(resolve, 20)); // until the request is in flight
  const other = over(() => new Promise((resolve) => setTimeout(() => resolve(answer(200, job("done"))), 100)));
  const got = other.get(UNKNOWN_ID);
  jobs.close();
  assert.equal((await closed).name, "ClosedError");
  posted.resolve(answer(201, job("pending")));
  assert.equal((await settles(got)).id, UNKNOWN_ID);
  other.close();
});

test("the journal of a Durable Object deletes a given entry only if it matches, and any entry if none is given", async () => {
  const { durableObjectJournal } = await load("durable-object.js");
  const kept = new Map();
  const storage = { get: async (id) => kept.get(id), put: async (id, entry) => void kept.set(id, entry), delete: async (id) => kept.delete(id) };
  const journal = durableObjectJournal({ ...storage, transaction: (act) => act(storage) });
  assert.equal(await journal.create("op", "new"), true);
  await journal.delete("op", "old");
  assert.equal(await journal.read("op"), "new");
  await journal.delete("op", "new");
  assert.equal(await journal.read("op"), undefined);
  await journal.write("op", "new");
  await journal.delete("op");
  assert.equal(await journal.read("op"), undefined);
});

test("an abort stops the request and leaves no timer and no listener", async () => {
  const before = timers();
  const stopped = deferred();
  const jobs = over((url, init) => new Promise(() => init.signal.addEventListener("abort", stopped.resolve)));
  const controller = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = controller.signal;
  controller.signal.addEventListener = function (...given) { listeners++; return addEventListener.apply(this, given); };
  controller.signal.removeEventListener = function (...given) { listeners--; return removeEventListener.apply(this, given); };
  const running = jobs.poll(UNKNOWN_ID, { signal: controller.signal });
  await new Promise((resolve) => setTimeout(resolve, 20));
  controller.abort();
  await rejection(running, 100);
  await settles(stopped.promise, 500);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(listeners, 0);
  assert.equal(timers(), before);
});

test("an abort detaches the caller and not the charge, and waitUntil outlives both", async () => {
  const reached = deferred();
  const release = deferred();
  const jobs = over(async () => (reached.resolve(), await release.promise, answer(201, job("pending"))));
  const controller = new AbortController();
  let alive;
  const running = jobs.submit(request, { operation: "op", signal: controller.signal, waitUntil: (promise) => (alive = promise) });
  await settles(reached.promise);
  controller.abort("left");
  assert.equal(await rejection(running, 100), "left");
  let over_ = false;
  alive.then(() => (over_ = true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(over_, false, "the charge is still in flight");
  assert.equal((await jobs.pending())[0].state, "sending");
  release.resolve();
  await settles(alive);
  const [operation] = await jobs.pending();
  assert.deepEqual([operation.operation, operation.state, operation.jobId], ["op", "bound", UNKNOWN_ID]);
  jobs.close();
});

test("the waitUntil of a client receives each charge without its own waitUntil, and no read", async () => {
  const kept = [];
  const keeper = (name) => (promise) => kept.push([name, promise]);
  const jobs = over(async (url, { method }) => (method === "POST" ? answer(201, job("pending")) : answer(200, job("done"))), { waitUntil: keeper("client") });
  await settles(jobs.submit(request));
  await settles(jobs.previewAsync(request, { waitUntil: keeper("call") }));
  await settles(jobs.get(UNKNOWN_ID));
  assert.deepEqual(kept.map(([name]) => name), ["client", "call"]);
  await settles(Promise.all(kept.map(([, promise]) => promise)));
  jobs.close();
});

test("an abort before the request charges nothing", async () => {
  let posted = 0;
  const key = deferred();
  const jobs = over(async () => (posted++, answer(201, job("pending"))), { apiKey: () => key.promise });
  const controller = new AbortController();
  const running = jobs.get(UNKNOWN_ID, { signal: controller.signal });
  await new Promise((resolve) => setTimeout(resolve, 10));
  controller.abort("left");
  assert.equal(await rejection(running, 100), "left");
  key.resolve("key");
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(posted, 0);
});

for (const [name, fetch] of Object.entries({
  "throws": () => { throw new Error("sync"); },
  "throws a string": () => { throw "sync"; },
  "rejects with a bare string": () => Promise.reject("bare"),
  "rejects with nothing": () => Promise.reject(),
  "gives nothing": () => undefined,
  "returns an object that is not a Response": () => ({ status: 200, text: async () => "null" }),
  "returns a body that throws": () => ({ status: 200, text() { throw new Error("body"); } }),
  "returns a body that rejects": () => ({ status: 200, text: () => Promise.reject(new TypeError("terminated")) }),
  "returns a thenable that throws": () => ({ get then() { throw new Error("then"); } }),
  "returns a status that throws": () => ({ get status() { throw new Error("status"); } }),
  "never answers": () => new Promise(() => {}),
  "never ends its body": () => ({ status: 200, text: () => new Promise(() => {}) }),
})) {
  test(`a fetch that ${name} settles every call with a typed error`, async () => {
    const jobs = over(fetch, { maxRetries: 0, timeout: 100, previewTimeout: 200 });
    for (const call of [() => jobs.get(UNKNOWN_ID), () => jobs.submit(request), () => jobs.render(UNKNOWN_ID), () => jobs.templates(), () => jobs.remainingCredits(), () => jobs.preview(request), () => jobs.poll(UNKNOWN_ID, { timeout: 200 })]) {
      const error = await rejection(call(), 2_000);
      assert.ok(["ApiError", "ConnectionError", "ChargeUnknownError", "PollTimeoutError"].includes(error.name), `${error.name}: ${error.message}`);
    }
    jobs.close();
  });
}

test("a charge whose answer is cut off after the job's id is bound to that job", async () => {
  const sent = [];
  const breaking = (text) => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(text));
        setTimeout(() => controller.error(new TypeError("terminated")), 20);
      },
    });
    return new Response(body, { status: 201 });
  };
  const whole = `{"id":"${UNKNOWN_ID}","status":"pend`;
  for (const [text, name] of [[whole, undefined], [whole.slice(0, 30), "ChargeUnknownError"], ["", "ChargeUnknownError"]]) {
    const jobs = over(async (url, { method }) => (sent.push(method), method === "POST" ? breaking(text) : answer(200, job("running"))));
    const outcome = await settles(jobs.submit(request).then(({ id }) => ({ id }), (error) => error));
    assert.equal(outcome.name, name);
    if (!name) assert.equal(outcome.id, UNKNOWN_ID);
  }
  assert.deepEqual(sent, ["POST", "GET", "POST", "POST"]);
});

test("clients with one budgetKey never exceed it together", async () => {
  let posted = 0;
  const options = { apiId: "budget", maxCredits: 9, budgetKey: "november", journal: "memory" };
  const clients = [0, 1, 2].map(() => over(async () => (posted++, answer(201, job("pending"))), options));
  const outcomes = await Promise.all(clients.map((jobs) => jobs.submit({ ...request, seconds: 30 }).catch(({ name }) => name)));
  assert.ok(posted <= 1, `${posted} of 5 credits each were sent`);
  assert.ok(outcomes.filter((outcome) => outcome === "BudgetExceededError").length >= 2);
  const other = over(async () => answer(201, job("pending")), { ...options, budgetKey: "december" });
  assert.equal((await other.submit({ ...request, seconds: 30 })).id, UNKNOWN_ID);
});

test("a key or header that cannot be sent is an error that does not contain it", async () => {
  const never = () => assert.fail("sent");
  for (const [options, field] of [
    [{ apiKey: "secret\n" }, "apiKey"], [{ apiKey: () => 42 }, "apiKey"], [{ headers: { "x-a": "sécret\u{1F511}" } }, "headers"],
    [{ headers: { "x a": "1" } }, "headers"], [{ apiKey: () => Promise.reject(new Error("vault is closed")) }, "headers"],
    [{ headers: () => { throw new Error("secret"); } }, "headers"],
  ]) {
    const jobs = over(never, options);
    for (const call of [() => jobs.get(UNKNOWN_ID), () => jobs.submit(request)]) {
      const error = await rejection(call(), 500);
      assert.equal(error.name, "InvalidRequestError");
      assert.equal(error.field, field);
      assert.doesNotMatch(error.message, /secret|sécret/);
    }
    assert.deepEqual(await jobs.pending(), []);
  }
});

test("a cause keeps its message and code without the key", async () => {
  const thrown = Object.assign(new TypeError("cannot send hunter2 to https://api.test"), { code: "ECONNRESET", request: { headers: { "x-api-key": "hunter2" } } });
  const jobs = over(() => Promise.reject(thrown), { apiKey: "hunter2", maxRetries: 0 });
  const error = await rejection(jobs.get(UNKNOWN_ID));
  assert.equal(error.cause.name, "TypeError");
  assert.equal(error.cause.code, "ECONNRESET");
  assert.match(error.cause.message, /cannot send … to/);
  const seen = [];
  for (let each = error; each; each = each.cause) seen.push(each.message, each.stack, JSON.stringify(each), ...Object.values(each).map(String));
  assert.doesNotMatch(seen.join("\n"), /hunter2/);
});

test("events describe each step and contain no key", async () => {
  const events = [];
  const jobs = over(async (url, init) => answer(init.method === "POST" ? 201 : 200, init.method === "POST" ? job("pending") : job("done", { preview: "https://p" })), { apiKey: "hunter2", onEvent: (event) => events.push(event) });
  await jobs.preview(request, { operation: "op" });
  assert.deepEqual(events.map(({ type }) => type), ["request", "response", "verdict", "request", "response", "poll"]);
  const { ms, ...response } = events[1];
  assert.ok(ms >= 0 && ms < 5_000, `${ms}`);
  assert.deepEqual(response, { type: "response", method: "POST", path: "/api/custom_template_jobs/preview_async/", status: 201, attempt: 1, operation: "op" });
  assert.deepEqual(events[2], { type: "verdict", operation: "op", verdict: "bound", jobId: UNKNOWN_ID });
  assert.doesNotMatch(JSON.stringify(events), /hunter2/);
});

test("a callback that throws is reported, and the poll goes on", async () => {
  const reported = [];
  const { error } = console;
  console.error = (thrown) => reported.push(thrown);
  try {
    let polls = 0;
    const jobs = over(async () => answer(200, polls++ ? job("done", { preview: "https://p" }) : job("running")), {
      onEvent: () => { throw new Error("event"); },
    });
    const done = await settles(jobs.poll(UNKNOWN_ID, { onUpdate: () => { throw new Error("update"); }, expectedMs: 10, until: "preview" }), 10_000);
    assert.equal(done.status, "done");
  } finally {
    console.error = error;
  }
  assert.ok(reported.some(({ message }) => message === "update"));
  assert.ok(reported.some(({ message }) => message === "event"));
});

test("a callback may call the client, and may close it", async () => {
  const inner = [];
  let jobs = over(async () => answer(200, job("running", { progress: 0.5 })));
  const running = jobs.poll(UNKNOWN_ID, { onUpdate: () => { inner.push(jobs.get(UNKNOWN_ID)); jobs.close(); } });
  const error = await rejection(running);
  assert.equal(error.name, "ClosedError");
  assert.equal((await rejection(inner[0])).name, "ClosedError");
  jobs = over(async () => answer(200, job("done", { preview: "https://p" })));
  const got = deferred();
  await jobs.poll(UNKNOWN_ID, { until: "preview", onUpdate: () => got.resolve(jobs.get(UNKNOWN_ID)) });
  assert.equal((await settles(got.promise)).id, UNKNOWN_ID);
});

test("closing ends every call and refuses new ones", async () => {
  const before = timers();
  const jobs = over(() => new Promise(() => {}));
  const calls = [jobs.get(UNKNOWN_ID), jobs.poll(UNKNOWN_ID), jobs.submit(request), jobs.watch(UNKNOWN_ID).next(), jobs.templates()];
  await new Promise((resolve) => setTimeout(resolve, 20));
  jobs.close();
  jobs.close();
  for (const call of [...calls, jobs.get(UNKNOWN_ID), jobs.pending()]) assert.equal((await rejection(call, 200)).name, "ClosedError");
  await new Promise((resolve) => setImmediate(resolve));
  // The charge goes on until its job id is known; only its own timer remains.
  assert.ok(timers() <= before + 1, `${timers()} timers, ${before} before`);
});

test("leaving a loop over updates stops the polling", async () => {
  let polls = 0;
  const jobs = over(async () => answer(200, job("running", { progress: ++polls / 100 })));
  for await (const { job: seen } of jobs.watch(UNKNOWN_ID, { expectedMs: 1 })) {
    assert.equal(seen.status, "running");
    break;
  }
  const at = polls;
  const before = timers();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  assert.equal(polls, at);
  assert.equal(before, timers());
  const iterator = jobs.watch(UNKNOWN_ID);
  const waiting = iterator.next();
  await iterator.return();
  await settles(waiting.catch(() => {}), 500);
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
});

test("several next() calls in parallel all settle", async () => {
  const jobs = over(async () => answer(200, job("done", { preview: "https://p", video_output: "https://v" })));
  const iterator = jobs.watch(UNKNOWN_ID, { until: "video" });
  const steps = await settles(Promise.all([iterator.next(), iterator.next(), iterator.next()]));
  assert.deepEqual(steps.map(({ done }) => done), [false, true, true]);
  const waiting = over(() => new Promise(() => {})).watch(UNKNOWN_ID);
  const asked = [waiting.next(), waiting.next()];
  await waiting.return();
  assert.deepEqual(await settles(Promise.all(asked)), [{ done: true, value: undefined }, { done: true, value: undefined }]);
});

test("a slow reader receives every change in order, then the failure, then the end", async () => {
  let polls = 0;
  const jobs = over(async () => answer(200, polls++ ? job("failed", { failed_reason: "no voice" }) : job("running", { progress: 0.1 })));
  const iterator = jobs.watch(UNKNOWN_ID, { maxInterval: 500 });
  const statuses = [(await settles(iterator.next())).value.job.status];
  while (polls < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setTimeout(resolve, 20));
  statuses.push((await settles(iterator.next(), 200)).value.job.status);
  assert.deepEqual(statuses, ["running", "failed"]);
  assert.equal((await rejection(iterator.next(), 200)).name, "JobFailedError");
  assert.deepEqual(await settles(iterator.next(), 200), { done: true, value: undefined });
});

test("a waitUntil that throws is reported, and the charge is made", async () => {
  const reported = [];
  const { error } = console;
  console.error = (thrown) => reported.push(thrown.message);
  try {
    const jobs = over(async () => answer(201, job("pending")));
    const made = await settles(jobs.submit(request, { waitUntil: () => { throw new Error("too late"); } }));
    assert.equal(made.id, UNKNOWN_ID);
  } finally {
    console.error = error;
  }
  assert.deepEqual(reported, ["too late"]);
});

test("a frozen or exotic argument rejects its call and breaks no later one", async () => {
  const jobs = over(async () => answer(200, job("done")));
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const thrower = new Proxy({}, { get() { throw new Error("trap"); }, ownKeys() { throw new Error("trap"); }, getPrototypeOf() { throw new Error("trap"); } });
  for (const strange of [revoked.proxy, thrower, Object.freeze({ template_id: UNKNOWN_ID, variables: thrower })]) {
    await rejection(jobs.submit(strange), 500);
    assert.equal((await settles(jobs.get(UNKNOWN_ID))).id, UNKNOWN_ID, "the next call works");
  }
});

test("where calls must not share requests, each poll runs by itself, and ends, aborts and closes as usual", async () => {
  const script = `
    Object.defineProperty(globalThis, "navigator", { value: { userAgent: "Cloudflare-Workers" } });
    const { TemplateJobs } = await import(${JSON.stringify((await entry()).href)});
    const id = ${JSON.stringify(UNKNOWN_ID)};
    let polls = 0;
    const inits = [];
    const fetch = async (url, init) => (inits.push(init), new Response(JSON.stringify({ id, status: ++polls < 4 ? "running" : "done", preview: polls < 4 ? null : "https://p" })));
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", fetch });
    const options = { until: "preview", expectedMs: 10 };
    const [a, b] = await Promise.all([jobs.poll(id, options), jobs.poll(id, options)]);
    console.log(a.status, b.status, polls, inits.some((init) => "cache" in init));
    polls = -100;
    const controller = new AbortController();
    const waits = [jobs.poll(id, { ...options, signal: controller.signal }), jobs.poll(id, { ...options, timeout: 50 }), jobs.poll(id, options)];
    setTimeout(() => controller.abort("left"), 10);
    setTimeout(() => jobs.close(), 100);
    console.log((await Promise.allSettled(waits)).map(({ reason }) => reason.name ?? reason).join());
  `;
  assert.equal(run(script), "done done 5 false\nleft,PollTimeoutError,ClosedError");
});

test("a key in a page throws before anything is loaded", async () => {
  const script = `
    globalThis.document = {}; globalThis.window = globalThis;
    const { TemplateJobs } = await import(${JSON.stringify(new URL("client.js", await entry()).href)});
    try { new TemplateJobs({ apiKey: "k" }); } catch (error) { console.log(error.name, error.field); }
    new TemplateJobs({ apiKey: "k", dangerouslyAllowBrowser: true }); new TemplateJobs({ baseUrl: "/relay" });
    console.log("allowed");
  `;
  assert.equal(run(script), "InvalidRequestError apiKey\nallowed");
});

test("a failed load rejects the waiting calls, and the next call retries it", async () => {
  const script = `
    const { TemplateJobs, init } = await import(${JSON.stringify(new URL("client.js", await entry()).href)});
    const { use } = await import(${JSON.stringify(new URL("loading.js", await entry()).href)});
    const { readFile } = await import("node:fs/promises");
    let tries = 0;
    use(async () => { if (!tries++) throw new Error("404"); return readFile(new URL(${JSON.stringify(new URL("custom_template_jobs_bg.wasm", await entry()).href)})); });
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", fetch: async () => new Response("[]") });
    const first = await Promise.allSettled([jobs.templates(), jobs.templates(), init()]);
    console.log(first.map(({ reason }) => reason.name).join(), tries);
    console.log(JSON.stringify(await jobs.templates()), tries);
  `;
  assert.equal(run(script), "LoadError,LoadError,LoadError 1\n[] 2");
});

test("a wasm URL that returns an HTML page is a LoadError with the URL", async () => {
  const script = `
    const { init } = await import(${JSON.stringify(new URL("client.js", await entry()).href)});
    globalThis.fetch = async (place) => new Response("<html>", { status: String(place).includes("404") ? 404 : 200 });
    for (const place of ["https://x.test/404.wasm", "https://x.test/page.wasm", new Uint8Array([1, 2, 3])]) await init(place).catch((error) => console.log(error.name, error.message.includes("init()")));
  `;
  assert.equal(run(script), "LoadError true\nLoadError true\nLoadError true");
});

test("a panic rejects every call, a charge as unknown, and so does every later call", async () => {
  const script = `
    const { TemplateJobs } = await import(${JSON.stringify((await entry()).href)});
    const { panicked } = await import(${JSON.stringify(new URL("panic.js", await entry()).href)});
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch: () => new Promise(() => {}) });
    const id = ${JSON.stringify(UNKNOWN_ID)};
    const calls = [jobs.get(id), jobs.poll(id), jobs.submit({ template_id: id, variables: {} }, { operation: "op" })];
    let alive;
    jobs.submit({ template_id: id, variables: {} }, { waitUntil: (promise) => { alive = promise; } }).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    panicked("by hand");
    const settled = await Promise.allSettled(calls);
    console.log(settled.map(({ reason }) => reason.name).join(), settled[2].reason.operation);
    console.log(await Promise.race([alive.then(() => "rests"), new Promise((resolve) => setTimeout(resolve, 2_000, "is kept alive for ever"))]));
    console.log(await jobs.get(id).catch(({ name, message }) => name + " " + /[Rr]eload/.test(message)));
    process.exit(0);
  `;
  assert.equal(run(script), "LoadError,LoadError,ChargeUnknownError op\nrests\nLoadError true");
});

async function entry() {
  const { pathToFileURL } = await import("node:url");
  const { join } = await import("node:path");
  const directory = process.env.PACKAGE_DIR ?? new URL("../../target/npm/package", import.meta.url).pathname;
  return pathToFileURL(join(directory, "node.js"));
}

/** The output of a script in a process of its own, which may modify globals. */
function run(script) {
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8", timeout: 20_000 });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}
