// Tests of mistakes in options and requests: unknown names, values out of range, and operation ids without a journal are
// errors, and charge nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UNKNOWN_ID, answer, jobOf, load, recorder, rejection, settles, usual } from "./harness.mjs";

const { TemplateJobs, defineTemplate, image, parseWebhook, text, voiceover } = await load();

const OTHER_ID = "9b2f1c52-0b6d-4f0e-9a41-5d2c8b7f0002";
const request = (more) => ({ template_id: UNKNOWN_ID, variables: { title: text("Hello") }, ...more });
let hosts = 0;
const host = () => `https://inputs-${++hosts}.test`;
function client(options, reply) {
  const wire = recorder(reply);
  return { ...wire, jobs: new TemplateJobs({ baseUrl: host(), journal: "memory", fetch: wire.fetch, ...options }) };
}
const invalid = (error, field, hint = "") => {
  assert.deepEqual([error.name, error.field], ["InvalidRequestError", field], error.message);
  assert.ok(error.message.includes(hint), `${error.message} hints at ${hint}`);
  assert.ok(error.message.length < 400, error.message);
};

/* ---- unknown names --------------------------------------------------------------------------- */

test("a misspelled option is an error that suggests the right name, and charges nothing", async () => {
  const { jobs, sent } = client();
  for (const [options, field, hint] of [
    [{ idempotencyKey: "order-1" }, "idempotencyKey", "did you mean `operation`?"],
    [{ idempotency_key: "order-1" }, "idempotency_key", "did you mean `operation`?"],
    [{ opration: "order-1" }, "opration", "did you mean `operation`?"],
    [{ operation: "order-1", Operation: "order-1" }, "Operation", "did you mean `operation`?"],
    [{ operationId: "order-1" }, "operationId", "did you mean `operation`?"],
    [{ timeoutMs: 5 }, "timeoutMs", "did you mean `timeout`?"],
    [{ abortSignal: AbortSignal.timeout(1) }, "abortSignal", "did you mean `signal`?"],
    [{ meta: {} }, "meta", "did you mean `metadata`?"],
    [{ nothing: 1 }, "nothing", "operation, timeout"],
    [{ opration: undefined }, "opration", "operation"],
    [{ seconds: 30 }, "seconds", "belongs in the request"],
    [{ maxCredits: 5 }, "maxCredits", "new TemplateJobs()"],
    [{ toString: () => "a" }, "toString"],
  ]) {
    for (const call of [() => jobs.submit(request(), options), () => jobs.previewAsync(request(), options), () => jobs.previewSync(request(), options), () => jobs.render(OTHER_ID, undefined, options)]) {
      invalid(await rejection(call()), field, hint);
    }
  }
  invalid(await rejection(jobs.preview(request(), { until: "preview", opration: "a" })), "opration", "operation");
  invalid(await rejection(jobs.poll(OTHER_ID, { unitl: "video" })), "unitl", "did you mean `until`?");
  invalid(await rejection(jobs.poll(OTHER_ID, { onProgress() {} })), "onProgress", "did you mean `onUpdate`?");
  invalid(await rejection(jobs.watch(OTHER_ID, { interval: 5 }).next()), "interval", "did you mean `maxInterval`?");
  invalid(await rejection(jobs.get(OTHER_ID, { operation: "a" })), "operation");
  invalid(await rejection(jobs.templates({ retries: 1 })), "retries");
  invalid(await rejection(jobs.settle("op", { jobid: OTHER_ID })), "jobid", "did you mean `jobId`?");
  assert.throws(() => parseWebhook({ id: OTHER_ID, status: "done" }, "/", { webhook_url: "/" }), (error) => (invalid(error, "webhook_url", "webhookUrl"), true));
  invalid(await rejection(jobs.estimate({ step: "submit", seconds: 1, modelVersion: "aurora_v1" })), "modelVersion", "did you mean `model_version`?");
  assert.deepEqual(sent, []);
});

test("a misspelled field of a request is an error that suggests the right name, and charges nothing", async () => {
  const { jobs, sent } = client();
  for (const [more, field, hint] of [
    [{ modelVersion: "aurora_v1" }, "modelVersion", "did you mean `model_version`?"],
    [{ model: "aurora_v1" }, "model", "did you mean `model_version`?"],
    [{ webhookUrl: "https://me.test" }, "webhookUrl", "did you mean `webhook_url`?"],
    [{ hidden: true }, "hidden", "did you mean `is_hidden`?"],
    [{ resolution: "4k" }, "resolution", "option extra"],
    [{ resolution: undefined }, "resolution", "option extra"],
    [{ operation: "order-1" }, "operation", "is an option"],
    [{ timeout: 5 }, "timeout", "is an option"],
  ]) {
    for (const call of [() => jobs.submit(request(more)), () => jobs.preview(request(more)), () => jobs.render(OTHER_ID, more)]) {
      invalid(await rejection(call()), field, hint);
    }
  }
  assert.deepEqual(sent, []);
});

test("the constructor refuses an unknown option at once, with a suggestion", () => {
  for (const [options, field, hint] of [
    [{ baseURL: "https://mine.test" }, "baseURL", "did you mean `baseUrl`?"],
    [{ url: "https://mine.test" }, "url", "did you mean `baseUrl`?"],
    [{ apikey: "k" }, "apikey", "did you mean `apiKey`?"],
    [{ token: "k" }, "token", "did you mean `apiKey`?"],
    [{ maxCredit: 5 }, "maxCredit", "did you mean `maxCredits`?"],
    [{ retries: 5 }, "retries", "did you mean `maxRetries`?"],
    [{ operation: "a" }, "operation", "baseUrl"],
    [{ prices: { sumbit: { credits: 1, seconds: 1 } } }, "prices.sumbit", "did you mean `submit`?"],
    [{ prices: { submit: { credits: 1, second: 1 } } }, "prices.submit.second", "did you mean `seconds`?"],
  ]) {
    assert.throws(() => new TemplateJobs(options), (error) => (invalid(error, field, hint), true));
  }
});

test("inherited names, symbols and names of a class are checked too", async () => {
  const { jobs, posts } = client();
  class Slip {
    get opration() {
      return "order-1";
    }
  }
  class Fine {
    get operation() {
      return "order-2";
    }
  }
  for (const [options, field] of [
    [Object.create({ opration: "a" }), "opration"], [new Slip(), "opration"], [{ [Symbol("opration")]: "a" }, "Symbol(opration)"],
    [new Map([["operation", "a"]]), "get"], [AbortSignal.timeout(1_000), "aborted"], [new Date(), undefined], ["order-1", "options"],
    [[], "options"], [["order-1"], "options"], [null, "options"], [7, "options"], [() => ({}), "options"],
  ]) {
    const error = await rejection(jobs.submit(request(), options));
    invalid(error, field ?? error.field);
  }
  assert.equal(posts().length, 0);
  for (const options of [new Fine(), Object.create({ operation: "order-2" }), Object.assign(Object.create(null), { operation: "order-2" })]) {
    await settles(jobs.submit(request(), options));
  }
  assert.equal(posts().length, 1, "one operation");
  for (const bad of [Object.create(request()), new (class { template_id = UNKNOWN_ID; variables = {}; })(), request({ [Symbol("name")]: "a" }), [], "text", null]) {
    assert.equal((await rejection(jobs.submit(bad))).name, "InvalidRequestError");
  }
  assert.equal(posts().length, 1);
});

test("two hundred unknown names, or one of ten megabytes, are one short error", async () => {
  const { jobs, sent } = client();
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`unknown_${index}`, index]));
  const long = { ["operatio".repeat(1_300_000)]: 1 };
  for (const bad of [many, long]) {
    for (const call of [() => jobs.submit(request(), bad), () => jobs.submit(request(bad)), () => jobs.estimate(bad), () => jobs.poll(OTHER_ID, bad)]) {
      const error = await rejection(call());
      assert.equal(error.name, "InvalidRequestError");
      assert.ok(error.message.length < 400 && error.field.length < 100, error.message);
    }
    assert.throws(() => new TemplateJobs(bad), { name: "InvalidRequestError" });
  }
  assert.deepEqual(sent, []);
});

test("a journal of the caller's own may have further members", async () => {
  const kept = new Map();
  const journal = {
    name: "mine", kept,
    create: (id, entry) => !kept.has(id) && !!kept.set(id, entry),
    read: (id) => kept.get(id),
    write: (id, entry) => void kept.set(id, entry),
    delete: (id) => kept.delete(id),
    list: (prefix) => [...kept.keys()].filter((id) => id.startsWith(prefix)),
  };
  await settles(client({ journal }).jobs.submit(request(), { operation: "order-1" }));
  assert.ok(kept.size > 0);
});

/* ---- values out of range --------------------------------------------------------------------- */

test("an option of a call that is out of range is an error, and charges nothing", async () => {
  const { jobs, sent } = client();
  const none = [null, "5", NaN, -1, -Infinity, 5n, true, {}, [], Symbol("5"), () => 5];
  for (const bad of none) {
    for (const call of [
      () => jobs.submit(request(), { timeout: bad }), () => jobs.preview(request(), { timeout: bad }), () => jobs.previewSync(request(), { timeout: bad }),
      () => jobs.render(OTHER_ID, undefined, { timeout: bad }), () => jobs.get(OTHER_ID, { timeout: bad }), () => jobs.templates({ timeout: bad }),
      () => jobs.remainingCredits({ timeout: bad }), () => jobs.poll(OTHER_ID, { timeout: bad }), () => jobs.watch(OTHER_ID, { timeout: bad }).next(),
    ]) invalid(await rejection(call()), "timeout");
    for (const field of ["expectedMs", "maxInterval"]) invalid(await rejection(jobs.poll(OTHER_ID, { [field]: bad })), field);
    invalid(await rejection(jobs.submit(request({ seconds: bad }))), "seconds");
    for (const call of [(options) => jobs.poll(OTHER_ID, options), (options) => jobs.watch(OTHER_ID, options).next(), (options) => jobs.preview(request(), options)]) {
      for (const urgency of [bad, "urgent", "High", ""]) invalid(await rejection(call({ urgency })), "urgency", "low, normal or high");
    }
  }
  for (const field of ["expectedMs", "maxInterval"]) invalid(await rejection(jobs.poll(OTHER_ID, { [field]: 0 })), field);
  for (const seconds of [0, 86_401, Infinity]) invalid(await rejection(jobs.submit(request({ seconds }))), "seconds");
  for (const until of ["vidoe", "done", "settled", "", null, 7, {}, Symbol("video")]) invalid(await rejection(jobs.poll(OTHER_ID, { until })), "until", "preview or video");
  assert.deepEqual(sent, []);
});

test("the constructor refuses an option that is out of range at once", () => {
  const none = [null, "5", NaN, 5n, {}, [], Symbol("5")];
  for (const [field, bad] of [
    ["timeout", [...none, 0, -1, true]], ["previewTimeout", [...none, 0, -1, true]], ["maxRetries", [...none, -1, 0.5, Infinity, true]],
    ["journal", [null, "localStorage", "", 7, {}, [], () => {}, { create() {}, read() {}, write() {}, delete() {} }]],
    ["baseUrl", [null, 7, true, {}, [], () => ""]], ["relay", [null, 7, true, {}, [], () => ""]], ["apiId", [null, 7, {}]], ["apiKey", [null, 7, {}, []]],
    ["fetch", [null, "fetch", {}]], ["onEvent", [null, "log", {}]], ["listJobs", [null, [], {}]], ["headers", [null, 7, "x: y"]],
    ["idempotencyHeader", [null, 1, "yes"]], ["dangerouslyAllowBrowser", [null, 1, "yes"]], ["budgetPeriod", [null, "year", "Day", "", 1, {}]],
    ["budgetKey", [null, 7, {}, "\ud800"]],
  ]) {
    for (const value of bad) {
      assert.throws(() => new TemplateJobs({ journal: "memory", [field]: value }), { name: "InvalidRequestError", field }, `${field}: ${typeof value}`);
    }
  }
  for (const fine of [{ timeout: Infinity }, { maxRetries: 0 }, { apiKey: async () => "k" }, { headers: new Headers() }, { headers: [["a", "b"]] }, { apiKey: "" }, { baseUrl: new URL("https://a.test") }]) new TemplateJobs(fine);
});

test("a variable without type and properties is refused by its path", async () => {
  const { jobs, sent } = client();
  for (const bad of ["Hello", "", 7, true, null, [], [text("a")], {}, { type: "text" }, { properties: { content: "a" } }, { type: "", properties: {} }, { type: 7, properties: {} }, { type: "text", properties: "a" }, { type: "text", properties: [] }]) {
    for (const call of [() => jobs.submit(request({ variables: { ok: text("a"), "the title": bad } })), () => jobs.render(OTHER_ID, { variables: { "the title": bad } })]) {
      invalid(await rejection(call()), "variables.the title", "text()");
    }
  }
  assert.deepEqual(sent, []);
  await settles(jobs.submit(request({ variables: { odd: { type: "of the future", properties: {}, more: 1 } } })));
});

/* ---- operation ids without a journal --------------------------------------------------------- */

test("an explicit operation id or budget key needs a journal, or the journal `memory`", async () => {
  const wire = recorder();
  const jobs = new TemplateJobs({ baseUrl: host(), fetch: wire.fetch });
  const advice = 'journal: "memory"';
  for (const call of [() => jobs.submit(request(), { operation: "order-42" }), () => jobs.preview(request(), { operation: "order-42" }), () => jobs.render(OTHER_ID, undefined, { operation: "order-42" })]) {
    invalid(await rejection(call()), "operation", advice);
  }
  assert.deepEqual(wire.sent, []);
  assert.throws(() => new TemplateJobs({ maxCredits: 5, budgetKey: "may" }), (error) => (invalid(error, "budgetKey", advice), true));
  await settles(jobs.submit(request()));
  assert.equal(wire.posts().length, 1, "a generated id needs no journal");
  const chosen = client({ budgetKey: "may", maxCredits: 10 });
  await settles(chosen.jobs.submit(request({ seconds: 10 }), { operation: "order-42" }));
  assert.equal(chosen.posts().length, 1);
});

/* ---- relay ----------------------------------------------------------------------------------- */

test("a relay receives the requests, with the operation as Idempotency-Key", async () => {
  for (const relay of ["https://relay.test/creatify", "https://relay.test/creatify/", new URL("https://relay.test/creatify")]) {
    const urls = [];
    const wire = recorder();
    const fetch = (url, init) => (urls.push(url), wire.fetch(url, init));
    const jobs = new TemplateJobs({ relay, journal: "memory", fetch, account: `relay-${++hosts}` });
    await settles(jobs.submit(request(), { operation: "order-1" }));
    assert.deepEqual(urls, ["https://relay.test/creatify/api/custom_template_jobs/"]);
    assert.equal(wire.sent[0].headers.get("idempotency-key"), "order-1");
  }
  for (const [more, field] of [[{ apiKey: "k" }, "apiKey"], [{ apiKey: async () => "k" }, "apiKey"], [{ baseUrl: "https://a.test" }, "baseUrl"]]) {
    assert.throws(() => new TemplateJobs({ relay: "https://relay.test", ...more }), { name: "InvalidRequestError", field });
  }
});

/* ---- extra, metadata, seconds ----------------------------------------------------------------- */

test("extra fields are sent with the request, are part of the fingerprint, and replace nothing", async () => {
  const { jobs, posts } = client();
  const extra = { resolution: { height: 2160 }, model_version: "aurora_v2" };
  await settles(jobs.submit(request(), { operation: "op", extra }));
  assert.deepEqual(posts()[0].body, { ...request(), ...extra });
  await settles(jobs.submit(request(), { operation: "op", extra: { model_version: "aurora_v2", resolution: { height: 2160 } } }));
  assert.equal((await rejection(jobs.submit(request(), { operation: "op" }))).name, "OperationConflictError");
  const cycle = {};
  cycle.self = cycle;
  for (const [bad, field] of [
    [{ name: "a" }, "extra.name"], [{ seconds: 5 }, "extra.seconds"], [{ model_version: "aurora_v1" }, "extra.model_version"], [null, "extra"], ["a", "extra"], [[], "extra"], [7, "extra"],
    [new Map(), "extra"], [{ a: NaN }, "extra.a"], [{ a: { b: undefined } }, "extra.a.b"], [cycle, /^extra\.self/], [{ [Symbol("a")]: 1 }, "extra"], [new (class { a = 1; })(), "extra"],
  ]) {
    const error = await rejection(jobs.submit(request(), { extra: bad }));
    if (field instanceof RegExp) assert.match(error.field, field);
    else invalid(error, field);
    assert.equal(error.name, "InvalidRequestError");
  }
  assert.equal(posts().length, 1);
});

test("a new model is charged under a limit only if prices has it", async () => {
  const { jobs, posts } = client({ maxCredits: 30, prices: { aurora_v2: { credits: 3, seconds: 1 } } });
  const submit = (model_version, seconds) => jobs.submit(request({ seconds }), { extra: { model_version } });
  invalid(await rejection(submit("aurora_v3", 1)), "model_version", "prices");
  const error = await rejection(submit("aurora_v2", 11));
  assert.deepEqual([error.name, error.estimate], ["BudgetExceededError", 33]);
  assert.equal(posts().length, 0);
  await settles(submit("aurora_v2", 10));
  assert.equal(await settles(jobs.estimate({ step: "render", seconds: 2, model_version: "aurora_v2" })), 6);
  for (const price of [{ credits: 1 }, { seconds: 1 }, {}]) assert.throws(() => client({ prices: { aurora_v2: price } }), { name: "InvalidRequestError" });
});

test("metadata is listed by pending after a reload, and is not sent", async () => {
  const wire = recorder();
  const options = { baseUrl: host(), journal: "memory", fetch: wire.fetch };
  const all = [{ row: 7, form: ["a", { b: null }] }, "row 7", 7, null, [1], true];
  for (const [index, metadata] of all.entries()) await settles(new TemplateJobs(options).submit(request(), { operation: `op-${index}`, metadata }));
  assert.deepEqual(wire.posts().map(({ body }) => body), all.map(() => request()));
  const pending = await settles(new TemplateJobs(options).pending());
  assert.deepEqual(pending.map(({ operation, metadata }) => [operation, metadata]).toSorted(), all.map((metadata, index) => [`op-${index}`, metadata]));
  assert.deepEqual((await settles(new TemplateJobs(options).settle("op-0"))).metadata, all[0]);
  await settles(new TemplateJobs(options).submit(request()));
  assert.ok((await settles(new TemplateJobs(options).pending())).some((open) => !("metadata" in open)));
});

test("metadata of 10 KB, with a cycle, or that is not JSON is refused, and charges nothing", async () => {
  const { jobs, posts } = client();
  const cycle = { row: {} };
  cycle.row.self = cycle;
  for (const [metadata, field] of [
    ["x".repeat(10_000), "metadata"], [{ row: "x".repeat(10_000) }, "metadata"], ["€".repeat(400), "metadata"], [cycle, "metadata.row.self"], [{ at: new Date() }, "metadata.at"],
    [() => {}, "metadata"], [Symbol("a"), "metadata"], [5n, "metadata"], [{ get row() { throw new Error("read"); } }, "metadata.row"], [new Map(), "metadata"],
  ]) invalid(await rejection(jobs.submit(request(), { metadata })), field);
  assert.equal(posts().length, 0);
  await settles(jobs.submit(request(), { metadata: "x".repeat(1_022) }));
});

test("the length of the video is never sent, and one operation is one request whatever its length", async () => {
  const { jobs, posts } = client();
  await settles(jobs.submit(request({ seconds: 15 }), { operation: "op" }));
  await settles(jobs.submit(request({ seconds: 30 }), { operation: "op" }));
  await settles(jobs.submit(request(), { operation: "op" }));
  assert.deepEqual(posts().map(({ body }) => body), [request()]);
  const render = client({ maxCredits: 4 }, ({ method }) => answer(200, jobOf(OTHER_ID, { status: method === "POST" ? "running" : "done", preview: "https://p" })));
  for (const changes of [{ seconds: 30 }, {}, undefined, { seconds: 15, name: undefined }]) await settles(render.jobs.render(OTHER_ID, changes));
  assert.deepEqual(render.posts().map(({ text }) => text), [undefined]);
});

test("a budget starts again each day", async () => {
  const now = Date.now;
  try {
    const { jobs, posts } = client({ maxCredits: 5, budgetPeriod: "day" });
    const submit = () => jobs.submit(request({ seconds: 30 }));
    await settles(submit());
    assert.equal((await rejection(submit())).name, "BudgetExceededError");
    Date.now = () => now() + 86_400_000;
    await settles(submit());
    assert.equal((await rejection(submit())).name, "BudgetExceededError");
    assert.equal(posts().length, 2);
  } finally {
    Date.now = now;
  }
});

/* ---- templates ------------------------------------------------------------------------------- */

test("a defined template builds a request from plain values", async () => {
  const teaser = defineTemplate(UNKNOWN_ID, { headline: text, picture: image, voice: voiceover }, { seconds: 15, name: "teaser", model_version: "aurora_v1" });
  const values = { headline: "Hello", picture: "https://a.test/a.png", voice: "anna" };
  const variables = { headline: text("Hello"), picture: image("https://a.test/a.png"), voice: voiceover("anna") };
  assert.deepEqual(teaser(values), { template_id: UNKNOWN_ID, variables, seconds: 15, name: "teaser", model_version: "aurora_v1" });
  const more = teaser(values, { name: "other", variables: { end: text("Bye") } });
  assert.deepEqual(more, { template_id: UNKNOWN_ID, variables: { end: text("Bye"), ...variables }, seconds: 15, name: "other", model_version: "aurora_v1" });
  const { jobs, posts } = client({ maxCredits: 100 });
  await settles(jobs.submit(teaser(values)));
  assert.deepEqual(posts()[0].body, { template_id: UNKNOWN_ID, variables, name: "teaser", model_version: "aurora_v1" });
  assert.deepEqual(defineTemplate(UNKNOWN_ID, {})({}).variables, {});
});

test("a missing, misspelled or invalid value is an error before any charge", () => {
  const teaser = defineTemplate(UNKNOWN_ID, { headline: text, picture: image });
  const good = { headline: "a", picture: "b" };
  for (const [values, field, hint] of [
    [{ headline: "a" }, "variables.picture", "missing"], [{ ...good, headline: undefined }, "variables.headline", "missing"],
    [{ ...good, headlin: "a" }, "variables.headlin", "did you mean `headline`?"], [{ ...good, toString: "a" }, "variables.toString"],
    [null, "values"], [[], "values"], ["a", "values"], [undefined, "variables.headline", "missing"],
  ]) assert.throws(() => teaser(values), (error) => (invalid(error, field, hint), true));
  assert.throws(() => teaser(good, { webhookUrl: "https://a.test" }), (error) => (invalid(error, "webhookUrl", "webhook_url"), true));
  assert.throws(() => teaser(good, null), (error) => (invalid(error, "request"), true));
  for (const [variables, field] of [[{ headline: "text" }, "variables.headline"], [null, "variables"], [undefined, "variables"], [[text], "variables"], ["text", "variables"]]) {
    assert.throws(() => defineTemplate(UNKNOWN_ID, variables), (error) => (invalid(error, field), true));
  }
  assert.throws(() => defineTemplate(UNKNOWN_ID, {}, { second: 5 }), (error) => (invalid(error, "second", "seconds"), true));
  const broken = defineTemplate(UNKNOWN_ID, { headline() { throw new Error("made"); } });
  assert.throws(() => broken({ headline: "a" }), (error) => (invalid(error, "variables.headline"), error.cause.message === "made"));
});

test("an invalid option rejects its own call, and the next call works", async () => {
  const { jobs } = client({}, usual);
  await rejection(jobs.get(OTHER_ID, { timeout: 5n }));
  assert.equal((await settles(jobs.get(OTHER_ID))).id, OTHER_ID);
});
