// Tests of the options: read once by the constructor or the call, and limits that hold.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UNKNOWN_ID, load, recorder, rejection, settles } from "./harness.mjs";

const { TemplateJobs, text } = await load();

const request = (more) => ({ template_id: UNKNOWN_ID, variables: { title: text("Hello") }, ...more });
let hosts = 0;
const host = () => `https://options-${++hosts}.test`;
function client(options) {
  const wire = recorder();
  return { ...wire, jobs: new TemplateJobs({ baseUrl: host(), journal: "memory", fetch: wire.fetch, ...options }) };
}
/** A journal that several clients may share. */
function journal() {
  const kept = new Map();
  return {
    create: (id, entry) => !kept.has(id) && !!kept.set(id, entry),
    read: (id) => kept.get(id),
    write: (id, entry) => void kept.set(id, entry),
    replace: (id, old, entry) => kept.get(id) === old && !!kept.set(id, entry),
    delete: (id, entry = kept.get(id)) => kept.get(id) === entry && kept.delete(id),
    list: (prefix) => [...kept.keys()].filter((id) => id.startsWith(prefix)),
  };
}

test("an options object that is changed for a second account charges each account separately", async () => {
  const wire = recorder();
  const options = { baseUrl: host(), journal: "memory", fetch: wire.fetch, apiId: "ann", apiKey: "key-of-ann", headers: { "x-tenant": "ann" } };
  const ann = new TemplateJobs(options);
  Object.assign(options, { apiId: "bob", apiKey: "key-of-bob" });
  options.headers["x-tenant"] = "bob";
  const bob = new TemplateJobs(options);
  await settles(Promise.all([ann.submit(request(), { operation: "ann" }), bob.submit(request(), { operation: "bob" })]));
  await settles(ann.get(UNKNOWN_ID));
  const seen = wire.sent.map(({ headers }) => ["x-api-id", "x-api-key", "x-tenant"].map((name) => headers.get(name)).join());
  assert.deepEqual(seen.toSorted(), ["ann,key-of-ann,ann", "ann,key-of-ann,ann", "bob,key-of-bob,bob"]);
});

test("a change after the constructor changes neither limits nor the base URL", async () => {
  const wire = recorder();
  const other = recorder();
  const headers = [["x-tenant", "ann"]];
  const prices = { submit: { credits: 5, seconds: 30 } };
  const options = { baseUrl: host(), journal: "memory", fetch: wire.fetch, maxCredits: 5, prices, headers };
  const jobs = new TemplateJobs(options);
  Object.assign(options, { baseUrl: "https://other.test", fetch: other.fetch, maxCredits: 1_000, journal: {}, apiKey: "other" });
  prices.submit.credits = 0.01;
  headers[0][1] = "bob";
  await settles(jobs.submit(request({ seconds: 30 })));
  assert.equal((await rejection(jobs.submit(request({ seconds: 30 })))).name, "BudgetExceededError");
  assert.equal(await settles(jobs.estimate({ step: "submit", seconds: 30 })), 5);
  assert.deepEqual(wire.sent.map(({ headers }) => headers.get("x-tenant")), ["ann"]);
  assert.deepEqual(other.sent, []);
});

test("each option is read once", async () => {
  const reads = {};
  const wire = recorder();
  const given = { baseUrl: host(), journal: "memory", fetch: wire.fetch, apiId: "a", apiKey: "k", headers: {}, timeout: 1_000, maxCredits: 10, prices: {}, maxRetries: 0, onEvent() {}, listJobs: async () => [] };
  const options = new Proxy(given, {
    get: (target, key) => {
      if (Object.hasOwn(target, key)) reads[key] = (reads[key] ?? 0) + 1;
      return target[key];
    },
  });
  const jobs = new TemplateJobs(options);
  await settles(jobs.submit(request({ seconds: 10 })));
  await settles(jobs.get(UNKNOWN_ID));
  assert.deepEqual(reads, Object.fromEntries(Object.keys(given).map((key) => [key, 1])));
});

test("the options of a call are read once, and later changes are ignored", async () => {
  const { jobs, posts } = client({ idempotencyHeader: true });
  let reads = 0;
  const options = { get operation() { return `op-${++reads}`; } };
  await settles(jobs.submit(request(), options));
  assert.deepEqual([reads, posts()[0].headers.get("idempotency-key")], [1, "op-1"]);
});

test("a limit that is not a finite number of credits is refused", () => {
  for (const bad of [NaN, Infinity, -Infinity, -5, -0.01, "1,000", "5", "", true, false, null, 10n, [], [5], {}, Symbol("5"), new Number(5), () => 5]) {
    assert.throws(() => client({ maxCredits: bad }), { name: "InvalidRequestError", field: "maxCredits" });
  }
  for (const good of [0, -0, 0.5, 1e9, undefined]) client({ maxCredits: good });
});

test("a limit of 0 allows only free charges", async () => {
  const { jobs, sent } = client({ maxCredits: 0 });
  const error = await rejection(jobs.submit(request({ seconds: 1 })));
  assert.deepEqual([error.name, error.remaining], ["BudgetExceededError", 0]);
  assert.deepEqual(sent, []);
});

test("a price of 0 counts as 0", async () => {
  const { jobs, posts } = client({ maxCredits: 0, prices: { submit: { credits: 0, seconds: 30 }, preview: { credits: 2, seconds: 10 } } });
  assert.equal(await settles(jobs.estimate({ step: "submit", seconds: 31 })), 0);
  assert.equal(await settles(jobs.estimate({ step: "preview", seconds: 11 })), 4);
  await settles(jobs.submit(request({ seconds: 31 })));
  assert.equal((await rejection(jobs.previewAsync(request({ seconds: 1 })))).name, "BudgetExceededError");
  assert.equal(posts().length, 1);
});

test("an invalid price is refused with its path", () => {
  for (const [price, field] of [
    [{ credits: -1, seconds: 1 }, "prices.submit.credits"], [{ credits: NaN, seconds: 1 }, "prices.submit.credits"], [{ credits: "5", seconds: 1 }, "prices.submit.credits"],
    [{ credits: Infinity, seconds: 1 }, "prices.submit.credits"], [{ credits: 5n, seconds: 1 }, "prices.submit.credits"], [{ credits: 5, seconds: 0 }, "prices.submit.seconds"],
    [{ credits: 5, seconds: -1 }, "prices.submit.seconds"], [{ credits: 5, seconds: "30" }, "prices.submit.seconds"], [{ credits: 5, seconds: NaN }, "prices.submit.seconds"],
    [null, "prices.submit"], [5, "prices.submit"], ["5", "prices.submit"], [[5, 30], "prices.submit"],
  ]) {
    assert.throws(() => client({ prices: { submit: price } }), { name: "InvalidRequestError", field });
  }
  for (const prices of [null, 5, "seed", [], () => ({})]) assert.throws(() => client({ prices }), { name: "InvalidRequestError", field: "prices" });
});

test("base URLs that parse alike are one namespace, and others are not", async () => {
  for (const [spellings, count] of [
    [["https://NAME.test/relay", "https://name.test/relay/", "https://name.test:443/relay", "HTTPS://name.test/a/../relay", " https://name.test/relay", new URL("https://name.test/relay")], 1],
    [["https://name.test/relay", "https://name.test/Relay", "https://name.test", "http://name.test/relay", "https://name.test:444/relay"], 5],
  ]) {
    const store = journal();
    const wire = recorder();
    const found = new Set();
    for (const baseUrl of spellings) {
      const { id } = await settles(new TemplateJobs({ baseUrl, journal: store, fetch: wire.fetch }).submit(request(), { operation: "op" }));
      found.add(id);
    }
    assert.equal(wire.posts().length, count);
  }
});

test("accounts of one page have separate operations, and clients of one account share them", async () => {
  const store = journal();
  const wire = recorder();
  const baseUrl = host();
  const submit = (options) => new TemplateJobs({ baseUrl, journal: store, fetch: wire.fetch, ...options }).submit(request(), { operation: "op" });
  for (const options of [{}, { account: "ann" }, { account: "bob" }, { account: "" }, { apiId: "ann" }, { apiId: "ann", account: "ann" }]) await settles(submit(options));
  const posts = wire.posts().length;
  assert.ok(posts >= 5, `${posts} charges`);
  for (const options of [{ account: "ann" }, { account: "bob" }, { apiId: "ann", account: "ann" }]) await settles(submit(options));
  assert.equal(wire.posts().length, posts);
  assert.ok(wire.sent.every(({ headers }) => !["ann", "bob"].includes(headers.get("account"))));
});

test("an account that is not a string is refused", () => {
  for (const bad of [null, 7, {}, Symbol("a"), "\ud800"]) assert.throws(() => client({ account: bad }), { name: "InvalidRequestError", field: "account" });
});

test("budget keys with a common prefix are separate budgets", async () => {
  const baseUrl = host();
  const spend = (budgetKey) => client({ baseUrl, maxCredits: 5, budgetKey }).jobs.submit(request({ seconds: 3 }));
  for (const key of ["2026/05", "2026", "2026/", "2026%2F05", "é"]) {
    assert.equal((await settles(spend(key))).status, "pending", key);
    assert.equal((await rejection(spend(key))).name, "BudgetExceededError", key);
  }
});
