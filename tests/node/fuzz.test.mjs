// Fuzz tests of the packed client: answers, journal entries and webhooks made from a seed. `FUZZ_SECONDS=60` runs each target
// for that time. A failing seed is printed, and FUZZ_SEED replays it.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { IDS, NEVER_SENT, Source } from "../fuzz/inputs.mjs";
import { answer, load, rejection, settles } from "./harness.mjs";

const { TemplateJobs, isTemplateJobsError, parseWebhook } = await load();

const packageEntry = pathToFileURL(join(process.env.PACKAGE_DIR ?? new URL("../../target/npm/package", import.meta.url).pathname, "node.js")).href;
const KEY = "hunter2";
const request = { template_id: IDS[2], variables: {} };
const OPERATIONS = ["op", "order/7", "__proto__", "a=5", "two\nlines", "{operation}", `render:${IDS[0]}`];
const TYPED = [
  "InvalidRequestError", "ApiError", "ConnectionError", "ChargeUnknownError", "JobFailedError", "PollTimeoutError", "IncompleteResultError",
  "BudgetExceededError", "OperationConflictError", "JournalError", "ClosedError",
];
const REFUSALS = [400, 401, 402, 403, 404, 405, 413, 414, 415, 422, 429, 431];
const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** Checks a property for `runs` seeds, for the seed in FUZZ_SEED, or for FUZZ_SECONDS. */
async function fuzz(runs, property) {
  const { FUZZ_SEED, FUZZ_SECONDS } = process.env;
  const begun = performance.now();
  const first = FUZZ_SEED ? Number(FUZZ_SEED) : FUZZ_SECONDS ? Date.now() % 2 ** 31 : 1;
  const goes = (run) => (FUZZ_SEED ? run < 1 : FUZZ_SECONDS ? performance.now() - begun < FUZZ_SECONDS * 1_000 : run < runs);
  const { random } = Math;
  // The core's random numbers: no random delays, and the same seed gives the same run.
  Math.random = () => 0;
  let run = 0;
  try {
    for (; goes(run); run++) {
      try {
        await property(new Source(first + run), first + run);
      } catch (error) {
        throw new Error(`seed ${first + run} (again with FUZZ_SEED=${first + run}): ${error?.stack ?? error}`, { cause: error });
      }
    }
  } finally {
    Math.random = random;
  }
  if (FUZZ_SECONDS) console.log(`${run} seeds from ${first}`);
}

/** The outcome of a call, in time: a value or a typed error. A trap is neither. */
async function outcome(call) {
  try {
    return { value: await settles(call()) };
  } catch (error) {
    if (!isTemplateJobsError(error)) throw error;
    assert.ok(TYPED.includes(error.name), `${error.name}: ${error.message} ${error.cause?.stack}`);
    assert.doesNotMatch(error.message, /WebAssembly stopped/, error.cause?.stack);
    assert.match(error.message, /\S \S/);
    if (error.name === "ApiError") {
      assert.equal(typeof error.status, "number");
      assert.match(error.kind, /^(authentication|insufficient_credits|not_found|rate_limited|invalid|server|unexpected)$/);
      assert.ok(error.retryAfterMs === undefined || error.retryAfterMs >= 1_000 && error.retryAfterMs <= 60_000, `${error.retryAfterMs}`);
    }
    return { error };
  }
}

/** A client over made-up answers, with a record of its POSTs. */
function over(source, options) {
  const posts = new Map(); // operation -> outcomes of its POSTs
  const fetch = (url, { method, headers }) => {
    const id = IDS.find((known) => String(url).includes(known)) ?? IDS[1];
    const fetched = source.fetched(id);
    if (method === "POST") {
      const operation = decodeURIComponent(headers.get("idempotency-key") ?? "");
      const before = posts.get(operation) ?? [];
      const free = ({ status, code }) => REFUSALS.includes(status) || status === undefined && NEVER_SENT.includes(code);
      assert.ok(!operation || before.every(free), `${operation} is sent a second time after ${JSON.stringify(before)}`);
      posts.set(operation, [...before, { ...fetched, render: String(url).endsWith("/render/") }]);
    }
    return fetched.answer();
  };
  const events = [];
  const jobs = new TemplateJobs({
    baseUrl: "https://api.test", apiId: String(source.next()), apiKey: KEY, idempotencyHeader: true, journal: "memory",
    timeout: 500, previewTimeout: 600, maxRetries: 0, onEvent: (event) => events.push(event), fetch, ...options,
  });
  return { jobs, posts, events };
}

function calls(source, jobs) {
  const id = source.one(IDS);
  const operation = source.once(3) ? undefined : source.one(OPERATIONS);
  const timeout = source.one([undefined, undefined, 0, 20, 200]);
  const charge = { operation, timeout };
  const timed = { ...request, seconds: source.one([undefined, 30]) };
  const job = source.once(3) ? { id, status: "running", ...plain(source.job(id)) } : id;
  return source.one([
    () => jobs.submit(timed, charge), () => jobs.previewAsync(timed, charge), () => jobs.previewSync(timed, charge),
    () => jobs.preview(timed, { ...charge, timeout: 20 }), () => jobs.render(id, undefined, charge), () => jobs.render(id, { name: "mine" }, charge),
    () => jobs.get(id, { timeout }), () => jobs.poll(job, { timeout: source.one([0, 20]), until: source.one([undefined, "preview", "video"]) }),
    () => jobs.templates(), () => jobs.remainingCredits(), () => jobs.pending(), () => jobs.settle(source.one(OPERATIONS), { jobId: source.one([undefined, id]) }),
  ]);
}

/** The members of a JSON text that are read from a job; none if it is not an object. */
function plain(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? { id: value.id, status: value.status, updated_at: value.updated_at } : {};
  } catch {
    return {};
  }
}

test("with any answers every call settles with a value or a typed error, and no operation is charged twice", async () => {
  await fuzz(300, async (source) => {
    const { jobs, posts, events } = over(source);
    const made = Array.from({ length: 1 + source.below(5) }, () => outcome(calls(source, jobs)));
    for (const { error } of await Promise.all(made)) {
      for (let each = error; each; each = each.cause) assert.doesNotMatch(`${each.message} ${each.stack}`, new RegExp(KEY));
    }
    jobs.close();
    for (const { type, operation, verdict, jobId } of events) {
      // Without the header, a POST cannot be assigned to an operation.
      if (type !== "verdict" || !/^[ -~]+$/.test(operation)) continue;
      const { status, body, code, render } = posts.get(operation).shift();
      const accepted = typeof status === "number" && status >= 200 && status < 300;
      if (accepted) assert.match(verdict, /^(bound|unknown)$/, `${status}`);
      // An accepted render is bound to its job, which the answer need not name.
      if (verdict === "bound") assert.ok(accepted && UUID.test(jobId) && (body.includes(jobId) || render), `${status} ${jobId}`);
      if (verdict === "not_sent") assert.ok(NEVER_SENT.includes(code), String(code));
      if (verdict === "rejected") assert.ok(REFUSALS.includes(status), `${status}`);
    }
  });
});

test("with any journal every call settles, and only operations that it reported as new are sent", async () => {
  await fuzz(300, async (source) => {
    const kept = new Map();
    const created = new Set();
    const lies = source.once(2);
    const lie = (honest) => {
      if (!lies || !source.once(5)) return honest();
      honest();
      return source.one([
        () => { throw source.one([new Error("full"), null, Symbol("thrown"), Object.create(null)]); },
        () => Promise.reject(new DOMException("closed", "InvalidStateError")),
        () => source.one([undefined, null, false, 0, "", "true", {}, [], [undefined], [Symbol("key")], [Object.create(null)], ["x", 7, {}], "text"]),
      ])();
    };
    const foreign = (key) => {
      if (!kept.has(key) && source.once(2)) kept.set(key, source.entry());
    };
    const journal = {
      create: (key, entry) => {
        foreign(key);
        return lie(() => {
          const is = !kept.has(key) && !!kept.set(key, entry);
          // By its owner token the entry is new, whatever the journal returned.
          if (is) created.add(key);
          return is;
        });
      },
      read: (key) => lie(() => (key.includes(":took/") && source.once(2) ? source.duration(kept.get(key)) : kept.get(key))),
      write: (key, entry) => lie(() => void kept.set(key, entry)),
      delete: (key) => lie(() => void (created.delete(key), kept.delete(key))),
      list: (prefix) => lie(() => {
        for (const operation of OPERATIONS) foreign(prefix + operation);
        return [...kept.keys()].filter((key) => key.startsWith(prefix));
      }),
    };
    const { jobs, posts, events } = over(source, { journal, listJobs: source.once(2) ? async () => JSON.parse(`[${source.job(IDS[0])}]`) : undefined });
    await Promise.all(Array.from({ length: 1 + source.below(5) }, () => outcome(calls(source, jobs))));
    jobs.close();
    const posted = events.filter(({ type, method }) => type === "request" && method === "POST");
    for (const { operation } of posted) {
      const known = [...created].some((key) => key.endsWith(`/${operation}`)) || posts.get(operation)?.every(({ status, code }) => REFUSALS.includes(status) || NEVER_SENT.includes(code));
      assert.ok(known || !/^[ -~]+$/.test(operation), `${operation} is sent although the journal never reported it as new`);
    }
  });
});

test("any webhook is read or refused with a typed error, and none causes a charge", async () => {
  await fuzz(1_500, async (source, seed) => {
    const body = source.one([() => new TextDecoder().decode(source.damaged(source.job(source.one(IDS)))), () => source.json(), () => source.text(), () => plain(source.json())])();
    const url = source.one([undefined, `https://me.test/hook?operation=${source.text()}`, `/hook/${source.text()}`, "https://[", "%", "/%E0%A4%A", "//", "x".repeat(10_000), new URL("https://me.test/op")]);
    let found;
    try {
      found = parseWebhook(body, url);
    } catch (error) {
      assert.ok(isTemplateJobsError(error), `${error?.stack}`);
      assert.equal(error.name, "InvalidRequestError");
      assert.equal(error.field, "body");
      return;
    }
    assert.equal(typeof found.jobId, "string");
    assert.equal(typeof found.status, "string");
    for (const part of Object.values(found)) assert.equal(typeof part, "string");
    if (seed % 10) return;
    const { jobs, posts } = over(source);
    await outcome(() => jobs.settle(found.operation ?? "op", { jobId: found.jobId }));
    await outcome(() => jobs.get(found.jobId));
    assert.equal(posts.size, 0);
    jobs.close();
  });
});

/* ---- regressions ------------------------------------------------------------------------------- */

const answering = (fetch, options) => over(new Source(1), { fetch, ...options }).jobs;
const deep = "[".repeat(100_000) + "]".repeat(100_000);

test("a field that cannot be converted to a string is ignored", async () => {
  for (const odd of ['{"toString":1}', '{"toString":1,"valueOf":null}', deep]) {
    const done = `{"id":"${IDS[0]}","status":"done","preview":"https://p","video_output":"https://v","updated_at":${odd}}`;
    const jobs = answering(async (url, { method }) => answer(method === "POST" ? 201 : 200, done));
    assert.equal((await settles(jobs.submit(request))).id, IDS[0]);
    assert.equal((await settles(jobs.poll(IDS[0]))).id, IDS[0]);
    assert.equal((await settles(jobs.render(IDS[0]))).id, IDS[0]);
    jobs.close();
  }
});

test("a deeply nested error body is an ApiError", async () => {
  for (const body of [deep, '{"a":'.repeat(100_000) + "1" + "}".repeat(100_000), `{"detail":${deep}}`]) {
    const jobs = answering(async () => answer(400, body));
    for (const call of [() => jobs.get(IDS[0]), () => jobs.submit(request)]) {
      const error = await rejection(call());
      assert.deepEqual([error.name, error.kind], ["ApiError", "invalid"]);
    }
    jobs.close();
  }
});

test("a fetch that rejects with a value that cannot be converted to a string is a typed error", async () => {
  for (const thrown of [Object.create(null), { message: { toString: null } }, { name: Object.create(null) }, { get message() { throw new Error("mine"); } }]) {
    const jobs = answering(() => Promise.reject(thrown));
    assert.equal((await rejection(jobs.get(IDS[0]))).name, "ConnectionError");
    const error = await rejection(jobs.submit(request));
    assert.equal(error.name, "ChargeUnknownError");
    assert.doesNotMatch(error.message, /WebAssembly/);
    jobs.close();
  }
});

test("settle ignores webhook URLs in a list that are not strings", async () => {
  const jobs = answering(() => Promise.reject(new TypeError("reset")), { listJobs: async () => [{ id: IDS[0], webhook_url: { toString: 1 } }] });
  await rejection(jobs.submit({ ...request, webhook_url: "https://me.test/{operation}" }, { operation: "op" }));
  assert.equal((await settles(jobs.settle("op"))).state, "unknown");
  jobs.close();
});

test("credits that are not a number reject", async () => {
  const jobs = answering(async () => answer(200, '{"remaining_credits":1e999}'));
  assert.equal((await rejection(jobs.remainingCredits())).kind, "unexpected");
  jobs.close();
});

test("a webhook with an invalid URL returns its job without an operation", () => {
  for (const url of ["/%E0%A4%A", "%", "https://["]) {
    assert.deepEqual(parseWebhook({ id: IDS[0], status: "done" }, url), { jobId: IDS[0], status: "done" });
  }
});

test("an entry with an invalid job id is not listed", async () => {
  for (const job of ['{"toString":1}', '"../../../admin"', "7", "[]"]) {
    const entry = `{"version":1,"state":"unknown","step":"submit","fingerprint":1,"at":1,"job":${job}}`;
    const asked = [];
    const jobs = answering(async (url) => (asked.push(url), answer(404, {})), {
      journal: { list: (prefix) => [`${prefix}op`], read: () => entry, create: () => false, write() {}, delete() {} },
    });
    assert.deepEqual(await settles(jobs.pending()), []);
    assert.equal((await rejection(jobs.settle("op"))).field, "operation");
    assert.deepEqual(asked, []);
    jobs.close();
  }
});

test("a journal that reports an operation as neither new nor present rejects the call", () => {
  // In a process of its own: an endless loop would block all timers of this one.
  const script = `
    const { TemplateJobs } = await import(${JSON.stringify(packageEntry)});
    const journal = { create: () => false, read: () => null, write() {}, delete() {}, list: () => [] };
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal, fetch: () => console.log("posted") });
    console.log(await jobs.submit(${JSON.stringify(request)}, { operation: "op" }).catch(({ name }) => name));
  `;
  const { stdout, signal } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8", timeout: 10_000 });
  assert.equal(signal, null, "it had to be killed");
  assert.equal(stdout.trim(), "JournalError");
});
