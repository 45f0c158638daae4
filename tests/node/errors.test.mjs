// Tests of errors: `charged`, `remedy`, `fields`, `instanceof` and JSON.

import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { runInNewContext } from "node:vm";
import { UNKNOWN_ID, answer, deferred, jobOf, load, packageDirectory, recorder, rejection, usual } from "./harness.mjs";

const { TemplateJobs, TemplateJobsError, isTemplateJobsError, parseWebhook } = await load();

const request = { template_id: UNKNOWN_ID, variables: {}, seconds: 15 };
const client = (fetch, options) =>
  new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", apiId: String(Math.random()), maxRetries: 0, timeout: 200, previewTimeout: 200, fetch, ...options });
/** A server that gives this answer to charges and the usual answers to reads. */
const charging = (reply) => recorder((call, number) => (call.method === "POST" ? reply(call, number) : usual(call, number))).fetch;
const refused = () => Promise.reject(Object.assign(new Error("refused"), { code: "ECONNREFUSED" }));
const never = () => new Promise(() => {});

/** What a charge with the operation `op` rejects with, if charges get this answer. */
const charge = (reply, options, more) => rejection(client(charging(reply), options).submit(request, { operation: "op", ...more }));
const summary = ({ name, charged, remedy, operation }) => [name, charged, remedy, operation];

const full = () => {
  throw new Error("the quota has been exceeded");
};
const journal = (more) => ({ create: () => true, read: () => null, write() {}, delete() {}, list: () => [], ...more });

const ENDS = {
  a_refusal: [() => charge(() => answer(400, { name: ["Too long."] })), ["ApiError", "no", "fix_request", "op"], /Correct the request/],
  wrong_keys: [() => charge(() => answer(401, {})), ["ApiError", "no", "fix_request", "op"], /Check the API id and key/],
  too_few_credits: [() => charge(() => answer(402, {})), ["ApiError", "no", "add_credits", "op"], /Buy credits/],
  too_many_requests: [() => charge(() => answer(429, {})), ["ApiError", "no", "wait", "op"], /Wait before/],
  a_lost_answer: [() => charge(() => Promise.reject(new TypeError("reset"))), ["ChargeUnknownError", "maybe", "settle_or_discard", "op"], /settle\(operation\), or discard\(operation\)/],
  a_server_error: [() => charge(() => answer(502, {})), ["ChargeUnknownError", "maybe", "settle_or_discard", "op"], /settle/],
  no_answer_in_time: [() => charge(never), ["ChargeUnknownError", "maybe", "settle_or_discard", "op"], /settle/],
  nothing_was_sent: [() => charge(refused, { timeout: 5_000 }), ["ConnectionError", "no", "retry", "op"], /Try again/],
  an_invalid_request: [() => rejection(client(usual).submit({ ...request, template_id: "x" }, { operation: "op" })), ["InvalidRequestError", "no", "fix_request", "op"], /template_id/],
  a_missing_request: [() => rejection(client(usual).submit(null, { operation: "op" })), ["InvalidRequestError", "no", "fix_request", "op"], /request/],
  a_spent_budget: [() => charge(usual, { maxCredits: 1 }), ["BudgetExceededError", "no", "add_credits", "op"], /Raise maxCredits/],
  // An earlier call may have been charged; the journal cannot be read.
  a_journal_that_cannot_be_read: [() => charge(usual, { journal: journal({ read: full }) }), ["JournalError", "maybe", "retry", "op"], /Free some storage/],
  a_journal_that_is_full: [() => charge(usual, { journal: journal({ create: full }) }), ["JournalError", "no", "retry", "op"], /Free some storage/],
  a_failing_key_function: [() => charge(usual, { apiKey: full }), ["InvalidRequestError", "no", "fix_request", "op"], /apiKey/],
  a_key_function_that_never_returns: [() => charge(usual, { apiKey: never }), ["ConnectionError", "no", "retry", "op"], /Try again/],
};
for (const [what, [end, wanted, words]] of Object.entries(ENDS)) {
  test(`${what}_sets_charged_and_remedy`, async () => {
    const error = await end();
    assert.deepEqual(summary(error), wanted, error.stack);
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, / {2}|\.\./);
  });
}

test("a_read_charges_nothing_and_names_no_operation", async () => {
  for (const [reply, remedy] of [
    [() => answer(404, {}), "fix_request"], [() => answer(500, {}), "retry"], [() => answer(200, "<html>"), "retry"],
    [() => answer(302, {}), "fix_request"], [() => answer(429, {}), "wait"], [refused, "retry"], [never, "retry"],
  ]) {
    for (const call of ["get", "templates", "remainingCredits"]) {
      const error = await rejection(client(reply)[call](...(call === "get" ? [UNKNOWN_ID] : [])));
      assert.deepEqual([error.charged, error.remedy, error.operation], ["no", remedy, undefined], `${call}: ${error.message}`);
    }
  }
  const error = await rejection(client(() => answer(200, jobOf(UNKNOWN_ID, { status: "failed" }))).poll(UNKNOWN_ID));
  assert.deepEqual(summary(error), ["JobFailedError", "no", "new_operation", undefined]);
});

test("a_charged_operation_stays_charged_yes_in_later_errors", async () => {
  let reads = () => answer(500, {});
  const jobs = client(recorder((call) => (call.method === "POST" ? answer(201, jobOf(UNKNOWN_ID)) : reads())).fetch);
  await jobs.submit(request, { operation: "op" });
  const again = await rejection(jobs.submit(request, { operation: "op" }));
  assert.deepEqual(summary(again), ["ApiError", "yes", "resume", "op"]);
  assert.match(again.message, /It was charged: resume\(operation\)/);
  const conflict = await rejection(jobs.submit({ ...request, name: "other" }, { operation: "op" }));
  assert.deepEqual(summary(conflict), ["OperationConflictError", "yes", "new_operation", "op"]);
  assert.deepEqual(summary(await rejection(jobs.discard("op"))), ["InvalidRequestError", "yes", "fix_request", "op"]);
  // Polling its job concerns the same charge.
  reads = () => answer(200, jobOf(UNKNOWN_ID, { status: "running" }));
  assert.deepEqual(summary(await rejection(jobs.poll(UNKNOWN_ID, { timeout: 20 }))), ["PollTimeoutError", "yes", "wait", "op"]);
  reads = () => answer(200, jobOf(UNKNOWN_ID, { status: "failed", failed_reason: "no speaker" }));
  const failed = await rejection(jobs.poll(UNKNOWN_ID));
  assert.deepEqual(summary(failed), ["JobFailedError", "yes", "new_operation", "op"]);
  assert.match(failed.message, /no speaker\. To pay for another job, pass a new operation\.$/);
});

test("a_render_without_a_charge_stays_charged_no_in_later_errors", async () => {
  let reads = () => answer(200, jobOf(UNKNOWN_ID, { status: "done", preview: "https://a.test/p", video_output: "https://a.test/v" }));
  const wire = recorder(() => reads());
  const jobs = client(wire.fetch);
  await jobs.render(UNKNOWN_ID, undefined, { operation: "op" });
  reads = () => answer(500, {});
  const error = await rejection(jobs.render(UNKNOWN_ID, undefined, { operation: "op" }));
  assert.deepEqual(summary(error), ["ApiError", "no", "retry", "op"]);
  assert.equal(wire.posts().length, 0);
});

test("a_preview_timeout_names_the_charged_operation", async () => {
  const error = await rejection(client(recorder().fetch).preview(request, { operation: "op", timeout: 50 }));
  assert.deepEqual(summary(error), ["PollTimeoutError", "yes", "wait", "op"]);
});

test("an_unknown_operation_that_cannot_be_settled_is_charged_maybe", async () => {
  const jobs = client(recorder(({ method }) => (method === "POST" ? Promise.reject(new TypeError("reset")) : answer(500, {}))).fetch, { listJobs: full });
  await rejection(jobs.submit(request, { operation: "op" }));
  assert.deepEqual(summary(await rejection(jobs.settle("op", { jobId: UNKNOWN_ID }))), ["ApiError", "maybe", "retry", "op"]);
  assert.deepEqual(summary(await rejection(jobs.settle("op"))), ["InvalidRequestError", "maybe", "fix_request", "op"]);
  assert.deepEqual(summary(await rejection(jobs.settle("other"))), ["InvalidRequestError", "no", "fix_request", "other"]);
});

test("close_rejects_a_charge_in_flight_with_charged_maybe", async () => {
  const sent = deferred();
  const jobs = client(charging(() => (sent.resolve(), never())), { timeout: 5_000 });
  const error = rejection(jobs.submit(request, { operation: "op" }));
  await sent.promise;
  jobs.close();
  assert.deepEqual(summary(await error), ["ClosedError", "maybe", "resume", "op"]);
  assert.match((await error).message, /resume\(operation\)/);
  assert.deepEqual(summary(await rejection(jobs.submit(request, { operation: "later" }))), ["ClosedError", "no", "none", "later"]);
});

test("wait_of_a_charged_operation_never_rejects_with_charged_no", async () => {
  const jobs = client(recorder().fetch, { timeout: 5_000 });
  const charge = jobs.submit(request, { operation: "op" });
  await charge;
  assert.deepEqual(summary(await rejection(charge.wait({ timeout: 20 }))), ["PollTimeoutError", "yes", "wait", "op"]);
  assert.deepEqual(summary(await rejection(charge.wait({ signal: 1 }))), ["InvalidRequestError", "maybe", "fix_request", "op"]);
  const claimed = client(recorder().fetch, { timeout: 5_000 }); // another account, whose journal does not have it
  await claimed.submit(request, { operation: "op" });
  const again = claimed.submit(request, { operation: "op" });
  await again;
  const waiting = [charge.wait(), again.wait()].map((wait) => rejection(wait));
  jobs.close();
  claimed.close();
  for (const error of await Promise.all(waiting)) assert.deepEqual(summary(error), ["ClosedError", "maybe", "resume", "op"]);
  assert.deepEqual(summary(await rejection(again.wait())), ["ClosedError", "maybe", "resume", "op"]);
});

test("resume_sets_charged_as_the_journal_has_it", async () => {
  let reads = () => answer(500, {});
  const wire = recorder((call) => (call.method === "POST" ? answer(201, jobOf(UNKNOWN_ID)) : reads()));
  const jobs = client(wire.fetch);
  await jobs.submit(request, { operation: "op" });
  assert.deepEqual(summary(await rejection(jobs.resume("op"))), ["ApiError", "yes", "resume", "op"]);
  assert.deepEqual(summary(await rejection(jobs.resume("other"))), ["InvalidRequestError", "no", "fix_request", "other"]);
  reads = () => answer(200, jobOf(UNKNOWN_ID, { status: "failed" }));
  assert.deepEqual(summary(await rejection(jobs.resume("op").wait())), ["JobFailedError", "yes", "new_operation", "op"]);
  const lost = client(charging(() => Promise.reject(new TypeError("reset"))));
  await rejection(lost.submit(request, { operation: "op" }));
  assert.deepEqual(summary(await rejection(lost.resume("op"))), ["ChargeUnknownError", "maybe", "settle_or_discard", "op"]);
});

test("an_abort_with_an_error_of_this_library_rejects_with_the_same_object", async () => {
  const reason = await rejection(client(usual).get("x"));
  for (const call of ["submit", "previewAsync", "preview"]) {
    assert.equal(await rejection(client(usual)[call](request, { signal: AbortSignal.abort(reason) })), reason);
    const leaving = new AbortController();
    const charge = rejection(client(never)[call](request, { signal: leaving.signal }));
    setTimeout(() => leaving.abort(reason), 10);
    assert.equal(await charge, reason);
  }
});

test("every_error_of_a_charge_names_an_operation_even_if_its_options_cannot_be_read", async () => {
  const jobs = client(usual);
  for (const options of [null, [], "x", { operation: 7 }, { operation: "" }, { signal: 1 }, { get timeout() { throw new Error("mine"); } }]) {
    for (const call of ["submit", "previewAsync", "previewSync", "preview"]) {
      const charge = jobs[call](request, options);
      const error = await rejection(charge);
      assert.deepEqual([error.name, error.charged], ["InvalidRequestError", "no"]);
      assert.equal(error.operation, charge.operation, call);
    }
    const render = jobs.render(UNKNOWN_ID, undefined, options);
    assert.equal((await rejection(render)).operation, render.operation);
  }
});

/* ---- instanceof --------------------------------------------------------------------------- */

const directory = await mkdtemp(join(tmpdir(), "custom-template-jobs-copy-"));
after(() => rm(directory, { recursive: true }));
await cp(packageDirectory, directory, { recursive: true });
const copy = await import(pathToFileURL(join(directory, "node.js")).href);

test("instanceof_works_across_copies_and_realms_and_refuses_everything_else", async () => {
  const error = await rejection(client(usual).get("x"));
  const others = await rejection(new copy.TemplateJobs().get("x"));
  assert.notEqual(copy.TemplateJobsError, TemplateJobsError);
  for (const one of [error, others]) {
    for (const known of [TemplateJobsError, copy.TemplateJobsError]) assert.ok(one instanceof known);
    assert.ok(one instanceof Error && isTemplateJobsError(one));
  }
  const elsewhere = runInNewContext(`class TemplateJobsError extends Error {}
    Object.defineProperty(TemplateJobsError.prototype, Symbol.for("custom-template-jobs.error"), { value: true });
    new TemplateJobsError("x")`);
  assert.ok(elsewhere instanceof TemplateJobsError && !(elsewhere instanceof Error));
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const throwing = new Proxy({}, { get: full });
  const imitation = { name: "ApiError", message: "x", charged: "no", remedy: "retry" };
  for (const other of [undefined, null, 0, "ApiError", Symbol("x"), {}, imitation, new Error("x"), () => {}, proxy, throwing, error.toJSON()]) {
    assert.equal(other instanceof TemplateJobsError, false);
  }
});

test("instanceof_tells_subclasses_apart", () => {
  class Mine extends TemplateJobsError {}
  const mine = new Mine({ name: "ApiError", message: "x" });
  const base = TemplateJobsError.from({ name: "LoadError", message: "x", charged: "no", remedy: "none" });
  assert.deepEqual([mine instanceof Mine, mine instanceof TemplateJobsError, base instanceof Mine], [true, true, false]);
});

/* ---- fields of an API error -------------------------------------------------------------------- */

const BLANK = "This field may not be blank.";
const REPORTS = [
  [{ name: ["Too long.", "Odd."] }, { name: ["Too long.", "Odd."] }],
  [{ name: BLANK }, { name: [BLANK] }],
  [{ variables: { headline: [BLANK] } }, { "variables.headline": [BLANK] }],
  [{ variables: { headline: { properties: { content: [BLANK] } } } }, { "variables.headline.properties.content": [BLANK] }],
  [{ variables: { shots: [{}, { url: [BLANK] }, [BLANK]] } }, { "variables.shots.1.url": [BLANK], "variables.shots.2": [BLANK] }],
  [{ name: [BLANK, { deep: ["No."] }, 7, null] }, { name: [BLANK], "name.1.deep": ["No."] }],
  [[{ name: [BLANK] }], { "0.name": [BLANK] }],
  [{ non_field_errors: ["Archived."], code: 7, ok: false, none: null }, { non_field_errors: ["Archived."] }],
  [{ "a.b": ["one"], a: { b: ["two"] } }, { "a.b": ["two", "one"] }],
  ['{"__proto__":["one"],"constructor":{"prototype":["two"]},"toString":"three"}', JSON.parse('{"__proto__":["one"],"constructor.prototype":["two"],"toString":["three"]}')],
  ...[{ detail: "No.", name: [BLANK] }, { detail: ["No."] }, ["No."], "No.", null, 7, {}, []].map((body) => [body, {}]),
];

test("fields are messages by the path of each field, however the API nests them", async () => {
  for (const [body, fields] of REPORTS) {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const error = await charge(() => answer(400, text));
    assert.equal(error.name, "ApiError");
    assert.deepEqual(error.fields, fields, text);
    const [[path, [words] = []] = []] = Object.entries(fields).toSorted();
    if (path) assert.ok(error.message.includes(`${path}: ${words}`), error.message);
    for (const texts of Object.values(error.fields)) assert.equal(typeof texts.join(" "), "string");
    assert.deepEqual(TemplateJobsError.from(error.toJSON()).fields, fields);
  }
});

test("fields are limited in depth and number", async () => {
  const deep = (depth, end) => (depth ? { a: deep(depth - 1, end) } : end);
  for (const body of [deep(90, [BLANK]), Object.fromEntries(Array.from({ length: 30_000 }, (_, at) => [`f${at}`, [BLANK, BLANK]])), { ["x".repeat(900_000)]: Object.fromEntries(Array.from({ length: 3_000 }, (_, at) => [at, BLANK])) }]) {
    const begun = performance.now();
    const { fields, message } = await charge(() => answer(400, body));
    assert.ok(performance.now() - begun < 2_000);
    assert.ok(Object.values(fields).flat().length <= 1_000);
    assert.ok(Object.keys(fields).every((path) => path.length <= 1_000 && path.split(".").length <= 20));
    assert.ok(message.length < 1_200, message.slice(0, 100));
  }
});

test("an answer without field messages has no fields", async () => {
  for (const status of [200, 302]) assert.deepEqual((await charge(() => answer(status, { name: [BLANK] }))).fields ?? {}, {});
  assert.deepEqual((await rejection(client(() => answer(200, { name: "A job?" })).get(UNKNOWN_ID))).fields, {});
});

/* ---- JSON ------------------------------------------------------------------------------------- */

test("an_error_survives_a_round_trip_through_JSON", async () => {
  const cause = Object.assign(new Error("reset", { cause: new Error("below") }), { code: "ECONNRESET" });
  const errors = [
    await charge(() => Promise.reject(cause)), await charge(() => answer(400, { name: ["Too long."] })), await charge(() => answer(404, "gone")),
    await charge(usual, { maxCredits: 1 }), await rejection(client(usual).get("x")),
    await rejection(client(() => answer(200, jobOf(UNKNOWN_ID, { status: "failed" }))).poll(UNKNOWN_ID)),
    await rejection(client(() => answer(429, {}, { "retry-after": "7" })).templates()),
  ];
  for (const error of errors) {
    const text = JSON.stringify(error);
    const back = TemplateJobsError.from(JSON.parse(text));
    assert.ok(back instanceof TemplateJobsError && back instanceof Error);
    assert.equal(JSON.stringify(back), text);
    for (const member of ["name", "message", "charged", "remedy", "operation", "jobId", "field", "status", "kind", "body", "fields", "job", "reason", "estimate", "retryAfterMs", "sent"]) {
      assert.deepEqual(back[member], error[member], member);
    }
    assert.doesNotMatch(text, /node:|file:|errors\.test/, "no stack");
    assert.deepEqual(TemplateJobsError.from(structuredClone(error.toJSON())).toJSON(), JSON.parse(text));
  }
  const [lost] = errors.map((error) => TemplateJobsError.from(JSON.parse(JSON.stringify(error))));
  assert.deepEqual([lost.cause.message, lost.cause.code, lost.cause.cause.message], ["reset", "ECONNRESET", "below"]);
  assert.equal(TemplateJobsError.from(errors[0]), errors[0]);
});

test("a_cause_of_any_kind_becomes_JSON", async () => {
  const cycle = new Error("round");
  cycle.cause = cycle;
  for (const thrown of [cycle, "words", 7, null, Symbol("x"), { get message() { throw new Error("no"); } }, new Proxy({}, { get: full }), { big: 1n }]) {
    const error = await rejection(client(() => Promise.reject(thrown)).templates());
    assert.equal(JSON.parse(JSON.stringify(error)).name, "ConnectionError");
  }
});

test("from_refuses_anything_but_an_errors_JSON", () => {
  const record = { name: "ApiError", message: "x", charged: "no", remedy: "retry" };
  const cycle = { ...record };
  cycle.cause = cycle;
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`unknown${index}`, index]));
  for (const bad of [
    undefined, null, [], "ApiError", 7, {}, new Error("x"), [record], cycle, Object.create(record), { [Symbol("name")]: "ApiError" }, many,
    { ...record, name: "TypeError" }, { ...record, name: ["ApiError"] }, { ...record, message: 7 }, { ...record, charged: "perhaps" },
    { ...record, remedy: undefined }, { ...record, status: 1n }, { ...record, get body() { throw new Error("mine"); } }, () => record,
    new Proxy(record, { ownKeys: full }),
  ]) {
    assert.throws(() => TemplateJobsError.from(bad), (error) => error instanceof TemplateJobsError && error.name === "InvalidRequestError" && error.field === "record");
  }
  // A newer version may have more members.
  const read = TemplateJobsError.from({ ...record, ...many, ["__proto__"]: { hidden: 1 }, toJSON: undefined });
  assert.deepEqual([read.name, read.unknown7, read.hidden, Object.getPrototypeOf(read)], ["ApiError", 7, undefined, TemplateJobsError.prototype]);
});

test("no_argument_of_the_module_throws_another_error", () => {
  for (const body of [undefined, null, 7, "x", [], {}]) assert.throws(() => parseWebhook(body), TemplateJobsError);
  for (const options of [null, 7, "x", []]) assert.throws(() => new TemplateJobs(options), TemplateJobsError);
});
