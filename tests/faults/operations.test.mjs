// Tests of operations under faults that are not one answer on the wire: late commits, crossed answers, lagging lists, webhooks,
// clocks, journals and aborts. They run in Node and workerd over real sockets. The numbers are those of the list of 50 faults.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { load } from "../node/harness.mjs";
import { has, openStage, previewed, startStages, wireName } from "./harness.mjs";
import { startRuntime } from "./runtimes.mjs";
import { CHARGES, READS } from "./table.mjs";
import { vacant } from "./wire.mjs";

const { parseWebhook } = await load();
const AT_ONCE = 6;
const together = [];
const runtimes = {};
let stages;
before(async () => {
  stages = await startStages(AT_ONCE);
  for (const name of ["Node", "workerd", "Deno"]) runtimes[name] = await startRuntime(name);
});
after(() => Promise.all([...Object.values(runtimes).map((runtime) => runtime.stop()), stages?.stop()]));

const UNKNOWN_JOB = "3c90c3cc-0d44-4b50-8888-8dd25736052a";
/** The timeout of a caller that gets no answer, and how long the client waits for the answer to a charge. */
const [SHORT, POSTED] = [300, 1_000];
const hasty = { timeout: POSTED, previewTimeout: POSTED };
/** Options of a poll with short intervals. */
const soon = { expectedMs: 200, maxInterval: 200 };

/** Tests a property in each runtime. A test that changes globals of the process (clock, network state) runs `alone`. */
function holds(name, play, options = () => undefined, { where = ["Node", "workerd"], alone } = {}) {
  for (const runtime of where) {
    const begin = () =>
      test(`in_${runtime.toLowerCase()}_${name}`, () =>
        stages.with(async (sandbox) => {
          const given = options();
          const stage = await openStage(sandbox, runtimes[runtime], given);
          try {
            await play({ ...stage, ...given }, runtime);
          } finally {
            stage.stop();
          }
        }));
    if (alone) begin();
    else together.push(begin);
  }
}

/** The option `listJobs` for the sandbox's jobs, and a request whose webhook URL carries the operation. */
const listed = (stage) => ({ listedBy: `${stage.sandbox.url}/__sandbox/jobs` });
const hooked = ({ request }, webhook = "http://127.0.0.1:9/hook/{operation}") => ({ ...request, webhook_url: webhook });
const submit = (request, operation, more) => ({ call: "submit", args: [request], options: { operation, ...more } });
const warnings = (events) => events.filter(({ type }) => type === "warning").map(({ code, operation, jobId }) => [code, operation, jobId]);
const lose = (stage, times) => stage.sandbox.faults([{ on: "submit", kind: "drop_after_commit", ...(times && { times }) }]);
const stopFaults = (stage) => stage.sandbox.faults([]);

/** Waits until `so` returns a truthy value, and returns that. */
async function until(so) {
  const patience = AbortSignal.timeout(20_000);
  for (;;) {
    const found = await so();
    if (found) return found;
    patience.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A promise for `hold` of the relay, and the function that resolves it. */
function gate() {
  let open;
  const hold = new Promise((resolve) => {
    open = resolve;
  });
  return { hold, open };
}

holds("1_a_render_whose_server_stops_after_the_read_is_not_sent_or_unknown_and_never_charged", async (stage, runtime) => {
  const job = await previewed(stage.sandbox, stage.request);
  stage.wire.leaves();
  const { ends: [end, pending] } = await stage.play([stage.step("render", { job }), { call: "pending" }]);
  if (runtime === "Node") has(end.error, { name: "ConnectionError", sent: false }, "the error");
  else has(end.error, { name: "ChargeUnknownError", operation: `render:${job}` }, "the error");
  assert.deepEqual(pending.value.map(({ state }) => state), runtime === "Node" ? [] : ["unknown"]);
  assert.equal((await stage.charges()).length, 1, "only the preview");
});

holds("1_a_server_that_starts_between_two_attempts_charges_once", async (stage) => {
  // The port was free a moment ago; the relay listens on it after the first attempt.
  const base = await vacant();
  const playing = stage.play([submit(stage.request, "order-1")], { client: { baseUrl: base } });
  await stage.wire.listensAt(base);
  const { ends: [end] } = await playing;
  assert.ok(end.value?.id);
  assert.ok(end.fetches.length <= 3);
  assert.equal((await stage.charges()).length, 1);
}, undefined, { where: ["Node"] });

// A render reads its job before the charge, so it would fail there.
for (const call of CHARGES.filter((each) => each !== "render")) {
  holds(`7_${call}_whose_job_cannot_be_read_after_its_id_arrived_is_reported_as_charged`, async (stage) => {
    const operation = `order ${randomUUID()}`;
    await stage.sandbox.faults([{ on: wireName(call), kind: "truncate", bytes: 60 }, { on: "get", kind: "status_before_commit", status: 503 }]);
    const { ends: [end] } = await stage.play([stage.step(call, {}, { operation })]);
    const charge = (await stage.charges()).at(-1);
    has(end.error, { name: "ApiError", status: 503, charged: "yes", remedy: "resume", operation, jobId: charge.job_id }, "the error");
    await stopFaults(stage);
    const { ends: [resumed] } = await stage.play([{ call: "resume", args: [operation] }]);
    assert.equal(resumed.value.id, charge.job_id);
    assert.equal((await stage.charges()).length, 1);
  });
}

// `navigator.onLine` may be wrong, so it only slows polling.
holds("3_a_client_that_is_reported_offline_charges_once_and_polls_at_the_longest_interval", async (stage) => {
  const job = await previewed(stage.sandbox, stage.request);
  for (const call of CHARGES) {
    const { ends: [end] } = await stage.play([stage.step(call, { job })], { offline: true });
    assert.ok(end.value?.id, call);
    assert.deepEqual(end.fetches, call === "render" ? ["GET", "POST"] : ["POST"]);
  }
  const preview = await previewed(stage.sandbox, stage.request);
  const { ends: [waited] } = await stage.play([{ call: "poll", args: [preview], options: { ...soon, until: "video", timeout: 3_000 } }], { offline: true });
  assert.equal(waited.error.name, "PollTimeoutError");
  assert.deepEqual(waited.fetches, ["GET"]);
  assert.equal((await stage.charges()).length, 2 + CHARGES.length, "the previews, and one charge for each call");
}, undefined, { where: ["Node"], alone: true });

holds("24_a_charge_committed_after_the_timeout_stays_unknown_until_the_list_has_it", async (stage) => {
  const request = hooked(stage);
  const { ends: [end, settled] } = await stage.play(
    [submit(request, "order-24", { timeout: SHORT }), { call: "settle", args: ["order-24"] }], { client: hasty, ...listed(stage) },
  );
  assert.equal(end.error.name, "ChargeUnknownError");
  assert.notEqual(settled.value.state, "bound");
  assert.equal((await stage.charges()).length, 0);
  stage.late.open();
  const [charge] = await until(async () => (await stage.charges()).length && stage.charges());
  const { ends: [found, again] } = await stage.play([{ call: "settle", args: ["order-24"] }, submit(request, "order-24")], listed(stage));
  assert.deepEqual([found.value.state, found.value.jobId, again.value.id], ["bound", charge.job_id, charge.job_id]);
  assert.deepEqual(again.fetches, ["GET"]);
  assert.equal((await stage.charges()).length, 1);
}, () => {
  const late = gate();
  return { late, inject: ({ method }) => (method === "POST" ? { hold: late.hold } : undefined) };
});

holds("6_an_answer_after_the_timeout_binds_the_operation", async (stage) => {
  await stage.sandbox.faults([{ on: "submit", kind: "delay", ms: 3_600_000 }]);
  const playing = stage.play([submit(stage.request, "order-6", { timeout: SHORT }), submit(stage.request, "order-6")]);
  const [charge] = await until(async () => (await stage.charges()).length && stage.charges());
  await new Promise((resolve) => setTimeout(resolve, 2 * SHORT));
  await stage.sandbox.advance(3_600);
  const { ends: [end, joined] } = await playing;
  assert.equal(end.error.name, "ChargeUnknownError");
  assert.equal(joined.value.id, charge.job_id);
  assert.deepEqual(joined.fetches, ["GET"]);
  assert.equal((await stage.charges()).length, 1);
});

holds("25_an_answer_received_twice_binds_the_next_request_only_with_a_warning", async (stage) => {
  const { ends, events } = await stage.play([submit(stage.request, "order-a"), submit({ ...stage.request, name: "b" }, "order-b"), { call: "remainingCredits" }]);
  const charges = await stage.charges();
  assert.equal(ends[0].value.id, charges[0].job_id);
  // workerd reads bytes left on a connection as the next answer, which is then about the job of another operation.
  if (ends[1].value.id === charges[1].job_id) assert.deepEqual(warnings(events), []);
  else assert.deepEqual([ends[1].value.id, warnings(events)], [charges[0].job_id, [["known_job_id", "order-b", charges[0].job_id]]]);
  assert.equal(ends[2].error ? ends[2].error.kind : typeof ends[2].value, ends[2].error ? "unexpected" : "number");
  assert.equal(charges.length, 2);
}, () => ({ inject: ({ method }) => (method === "POST" ? { turn: (head, body) => Buffer.concat([Buffer.from(head), body, Buffer.from(head), body]) } : undefined) }));

holds("25_an_answer_about_another_job_is_unexpected_and_does_not_bind_a_render", async (stage) => {
  const [job, other] = [await previewed(stage.sandbox, stage.request), await previewed(stage.sandbox, { ...stage.request, name: "other" })];
  const body = { id: other, status: "done", preview: "https://p", video_output: "https://v" };
  await stage.sandbox.faults(["get", "render"].map((on) => ({ on, kind: "status_after_commit", status: 200, body, ...(on === "get" && { times: 2 }) })));
  const { ends: [got, rendered] } = await stage.play([stage.step("get", { job }), stage.step("render", { job })]);
  has(got.error, { name: "ApiError", kind: "unexpected", jobId: job }, "the error");
  assert.equal(rendered.value.id, job, "a read shows the render");
  assert.deepEqual(rendered.fetches, ["GET", "POST", "GET"]);
});

for (const jumps of [86_400_000, -86_400_000]) {
  holds(`26_a_clock_that_jumps_${jumps < 0 ? "back" : "on"}_by_a_day_with_each_request_ends_no_poll_and_unbinds_nothing`, async (stage) => {
    await stage.sandbox.faults([{ on: "submit", kind: "drop_after_commit", times: 1 }, { on: "submit", kind: "stuck" }]);
    const request = hooked(stage);
    const { ends: [lost, settled, waited] } = await stage.play([
      submit(request, "order-26"), { call: "settle", args: ["order-26"] },
      { call: "poll", args: [(await previewed(stage.sandbox, stage.request))], options: { ...soon, until: "video", timeout: 4_000 } },
    ], { jumps, ...listed(stage) });
    assert.equal(lost.error.name, "ChargeUnknownError");
    assert.equal(settled.value.state, "bound");
    assert.equal(waited.error.name, "PollTimeoutError", "an unrendered job has no video");
    assert.ok(waited.fetches.length >= 2 && waited.fetches.length <= 5, `${waited.fetches.length} polls`);
    assert.ok(waited.ms > 3_900 && waited.ms < 5_000, `${waited.ms} ms`);
  }, undefined, { alone: true });
}

holds("27_28_a_list_that_lags_or_hides_the_job_leaves_it_unknown_until_settled_by_id", async (stage) => {
  const request = hooked(stage);
  await lose(stage);
  const { ends: [, lagging] } = await stage.play([submit(request, "order-27"), { call: "settle", args: ["order-27"] }], { listed: [] });
  assert.equal(lagging.value.state, "unknown");
  await stopFaults(stage);
  const [{ job_id: id }] = await stage.charges();
  const hidden = await (await fetch(`${stage.sandbox.url}/__sandbox/jobs`)).json();
  const others = hidden.map((job) => ({ ...job, webhook_url: null }));
  const { ends: [still, again, brought] } = await stage.play(
    [{ call: "settle", args: ["order-27"] }, submit(request, "order-27"), { call: "settle", args: ["order-27", { jobId: id }] }], { listed: others },
  );
  assert.equal(still.value.state, "unknown");
  assert.deepEqual([again.error.name, again.fetches], ["ChargeUnknownError", []]);
  assert.deepEqual([brought.value.state, brought.value.jobId], ["bound", id]);
});

holds("29_a_list_with_duplicate_reordered_and_invalid_rows_binds_the_job_of_the_operation", async (stage) => {
  const request = hooked(stage);
  await lose(stage);
  await stage.play([submit(request, "order-29")]);
  await stopFaults(stage);
  await stage.play([submit({ ...request, name: "another" }, "order-30")]);
  const jobs = await (await fetch(`${stage.sandbox.url}/__sandbox/jobs`)).json();
  const [{ job_id: id }] = await stage.charges();
  for (const rows of [[...jobs, ...jobs], [...jobs].reverse()]) {
    const { ends: [settled] } = await stage.play([{ call: "settle", args: ["order-29"] }], { listed: [{}, { id: 7 }, { webhook_url: 7 }, ...rows] });
    assert.deepEqual([settled.value.state, settled.value.jobId], ["bound", id]);
  }
});

holds("30_an_operation_that_the_runtime_sent_twice_is_bound_to_one_job", async (stage) => {
  const request = hooked(stage);
  await lose(stage);
  const { ends: [lost] } = await stage.play([submit(request, "order-30")]);
  assert.deepEqual([lost.error.name, lost.fetches], ["ChargeUnknownError", ["POST"]]);
  const charges = await stage.charges();
  assert.deepEqual([stage.seen("submit").length, charges.length], [2, 2], "Deno resends the request itself");
  await stopFaults(stage);
  const { ends: [settled, again, pending] } = await stage.play([{ call: "settle", args: ["order-30"] }, submit(request, "order-30"), { call: "pending" }], listed(stage));
  assert.equal(settled.value.state, "bound");
  assert.ok(charges.some(({ job_id }) => job_id === settled.value.jobId));
  assert.equal(again.value.id, settled.value.jobId);
  assert.ok(pending.value.every(({ jobId }) => jobId === settled.value.jobId));
  assert.equal((await stage.charges()).length, 2);
}, undefined, { where: ["Deno"] });

/* ---- webhooks -------------------------------------------------------------------------------- */

/** A server that receives webhooks. */
async function receiver() {
  const got = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    got.push({ body, url: request.url });
    response.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { got, url: `http://127.0.0.1:${server.address().port}/hook?operation={operation}`, stop: () => (server.closeAllConnections(), server.close()) };
}

holds("37_a_job_whose_webhooks_are_lost_is_polled_to_its_end", async (stage) => {
  await stage.sandbox.faults([{ on: "*", kind: "webhook_lost" }]);
  const { ends: [{ value: job }] } = await stage.play([submit(hooked(stage), "order-37")]);
  // Another client, which has the operation from the journal.
  const { ends: [, done, pending] } = await stage.play([{ call: "pending" }, { call: "poll", args: [job.id], options: { ...soon, until: "video", timeout: 10_000 } }, { call: "pending" }]);
  assert.match(done.value.video_output, /^http/);
  assert.deepEqual(pending.value, []);
});

holds("38_webhooks_that_come_twice_and_out_of_order_settle_a_lost_charge_to_one_job", async (stage) => {
  const hook = await receiver();
  try {
    await stage.sandbox.faults([
      { on: "submit", kind: "drop_after_commit", times: 1 },
      { on: "submit", kind: "webhook_reordered", value: "running" },
      { on: "submit", kind: "webhook_duplicated" },
    ]);
    const request = hooked(stage, hook.url);
    const { ends: [lost] } = await stage.play([submit(request, "order-38")]);
    assert.equal(lost.error.name, "ChargeUnknownError");
    await until(() => hook.got.some(({ body }) => JSON.parse(body).status === "done") && hook.got.length >= 4);
    const [{ job_id: id }] = await stage.charges();
    for (const read of hook.got) {
      const { ends: [{ value: webhook }] } = await stage.play([{ read }]);
      assert.deepEqual([webhook.operation, webhook.jobId], ["order-38", id]);
      const { ends: [settled] } = await stage.play([{ call: "settle", args: [webhook.operation, { jobId: webhook.jobId }] }]);
      assert.equal(settled.value.jobId, id);
      assert.ok(["bound", "ended"].includes(settled.value.state));
    }
    const { ends: [again] } = await stage.play([submit(request, "order-38")]);
    assert.equal(again.value.id, id);
    assert.equal((await stage.charges()).length, 1);
  } finally {
    hook.stop();
  }
});

holds("39_a_webhook_that_comes_before_the_answer_binds_the_operation_and_the_answer_changes_nothing", async (stage) => {
  const hook = await receiver();
  try {
    await stage.sandbox.faults([{ on: "submit", kind: "webhook_early", value: "done" }, { on: "submit", kind: "delay", ms: 3_600_000 }]);
    const playing = stage.play([submit(hooked(stage, hook.url), "order-39"), { call: "pending" }]);
    await until(() => hook.got.length > 0);
    const { jobId, operation } = parseWebhook(hook.got[0].body, hook.got[0].url);
    const { ends: [settled] } = await stage.play([{ call: "settle", args: [operation, { jobId }] }]);
    assert.deepEqual([settled.value.state, settled.value.jobId], ["bound", jobId]);
    await stage.sandbox.advance(3_600);
    const { ends: [end] } = await playing;
    assert.equal(end.value.id, jobId);
    assert.equal((await stage.charges()).length, 1);
  } finally {
    hook.stop();
  }
});

holds("40_a_webhook_of_an_unknown_operation_is_a_typed_error_without_a_request", async (stage) => {
  const { ends: [nobody, noId] } = await stage.play([
    { call: "settle", args: [`never-${randomUUID()}`, { jobId: UNKNOWN_JOB }] },
    { call: "settle", args: ["order", { jobId: "../templates" }] },
  ]);
  has(nobody.error, { name: "InvalidRequestError", field: "operation" }, "the error");
  has(noId.error, { name: "InvalidRequestError", field: "jobId" }, "the error");
  assert.deepEqual([nobody.fetches, noId.fetches], [[], []]);
});

holds("40_a_forged_webhook_with_a_job_that_does_not_exist_leaves_the_operation_unknown", async (stage) => {
  await lose(stage);
  const { ends: [, forged, pending] } = await stage.play([
    submit(hooked(stage), "order-40"), { call: "settle", args: ["order-40", { jobId: UNKNOWN_JOB }] }, { call: "pending" },
  ]);
  has(forged.error, { name: "ApiError", kind: "not_found" }, "the error");
  assert.deepEqual(pending.value.map(({ state }) => state), ["unknown"]);
});

holds("40_a_forged_webhook_with_the_job_of_another_operation_leaves_the_operation_unknown", async (stage) => {
  const { ends: [{ value: other }] } = await stage.play([submit({ ...hooked(stage), name: "other" }, "order-other")]);
  await lose(stage);
  const { ends: [, forged, pending] } = await stage.play([
    submit(hooked(stage), "order-40b"), { call: "settle", args: ["order-40b", { jobId: other.id }] }, { call: "pending" },
  ]);
  assert.notEqual(forged.value?.state, "bound", "the webhook URL of that job carries another operation");
  assert.equal(pending.value.find(({ operation }) => operation === "order-40b").state, "unknown");
});

holds("40_a_webhook_of_10_mb_is_read_or_refused_with_a_typed_error_at_once", async (stage) => {
  const repeat = 10_000_000;
  const { ends: [rubbish, padded] } = await stage.play([
    { read: { body: "…", repeat } },
    { read: { body: JSON.stringify({ id: UNKNOWN_JOB, status: "done", more: "…" }), repeat, url: "/hook?operation=order-1" } },
  ]);
  has(rubbish.error, { name: "InvalidRequestError", field: "body" }, "the error");
  assert.deepEqual(padded.value, { jobId: UNKNOWN_JOB, status: "done", operation: "order-1" });
  assert.ok(rubbish.ms + padded.ms < 1_000);
});

/* ---- jobs that end badly, or never ----------------------------------------------------------- */

const bodies = (list) => {
  let at = 0;
  const polls = [];
  return {
    polls,
    inject: ({ method }) => {
      if (method !== "GET") return undefined;
      const body = JSON.stringify({ id: UNKNOWN_JOB, preview: null, video_output: null, ...list[Math.min(at++, list.length - 1)] });
      polls.push(body);
      return { answer: `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}` };
    },
  };
};

holds("31_a_status_that_goes_back_does_not_end_a_poll_before_the_video", async (stage) => {
  const { ends: [seen] } = await stage.play([{ call: "watch", args: [UNKNOWN_JOB], options: { ...soon, until: "video", timeout: 10_000 } }]);
  assert.equal(seen.error, undefined);
  assert.equal(seen.value.at(-1).status, "done");
}, () => bodies([{ status: "running", progress: 0.6 }, { status: "pending", progress: 0 }, { status: "done", progress: 1, preview: "https://p" }, { status: "running", progress: 0.7 }, { status: "done", progress: 1, video_output: "https://v" }]));

holds("32_a_job_that_never_ends_rejects_at_the_timeout_with_the_job_and_stays_pending", async (stage) => {
  await stage.sandbox.faults([{ on: "submit", kind: "stuck" }]);
  const { ends: [made, , pending] } = await stage.play([submit(stage.request, "order-32"), { call: "remainingCredits" }, { call: "pending" }]);
  const { ends: [waited, after] } = await stage.play([{ call: "poll", args: [made.value.id], options: { ...soon, timeout: 1_000 } }, { call: "pending" }]);
  has(waited.error, { name: "PollTimeoutError", jobId: made.value.id }, "the error");
  assert.equal(waited.error.job.id, made.value.id);
  assert.ok(waited.ms < 2_000);
  for (const { value } of [pending, after]) assert.deepEqual(value.map(({ state }) => state), ["bound"]);
  assert.equal((await stage.charges()).length, 1);
});

for (const [kind, reason, status] of [["fail_job", "The file is gone.", "failed"], ["fail_job", "", "failed"], ["reject_job", "Policy.", "rejected"]]) {
  holds(`33_a_job_that_is_${status}_with_${reason ? "a" : "no"}_reason_ends_the_poll_and_is_not_pending`, async (stage) => {
    await stage.sandbox.faults([{ on: "submit", kind, reason }]);
    const { ends: [made] } = await stage.play([submit(stage.request, "order-33")]);
    const { ends: [open, waited, pending] } = await stage.play([
      { call: "pending" }, { call: "poll", args: [made.value.id], options: { ...soon, timeout: 10_000 } }, { call: "pending" },
    ]);
    assert.equal(open.value.length, 1);
    has(waited.error, { name: "JobFailedError", jobId: made.value.id }, "the error");
    assert.equal(waited.error.job.status, status);
    if (reason) assert.equal(waited.error.reason, reason);
    assert.ok(waited.error.message.length > 10);
    assert.deepEqual(pending.value, []);
  });
}

holds("34_a_job_that_is_done_without_its_video_is_incomplete_after_a_few_polls", async (stage) => {
  const { ends: [waited] } = await stage.play([{ call: "poll", args: [UNKNOWN_JOB], options: { ...soon, until: "video", timeout: 60_000 } }]);
  has(waited.error, { name: "IncompleteResultError", jobId: UNKNOWN_JOB }, "the error");
  assert.ok(stage.polls.length >= 2 && stage.polls.length <= 6, `${stage.polls.length} polls`);
}, () => bodies([{ status: "done", progress: 1 }]));

/* ---- callers --------------------------------------------------------------------------------- */

holds("45_a_double_click_with_one_operation_is_one_request_and_both_calls_return_the_job", async (stage, runtime) => {
  const { ends: [end] } = await stage.play([{ ...submit(stage.request, "order-45"), times: 3 }]);
  for (const each of [end, ...end.others]) assert.equal(each.error, undefined);
  assert.equal(new Set([end, ...end.others].map(({ value }) => value.id)).size, 1);
  assert.equal(end.fetches.filter((method) => method === "POST").length, 1, runtime);
  assert.equal((await stage.charges()).length, 1);
});

holds("45_parallel_clients_with_one_operation_are_one_charge", async (stage) => {
  const ends = await Promise.all([1, 2, 3].map(() => stage.play([submit(stage.request, "order-46")])));
  const posts = ends.flatMap(({ ends: [{ fetches }] }) => fetches).filter((method) => method === "POST");
  assert.equal(posts.length, 1);
  for (const { ends: [{ value, error }] } of ends) assert.ok(value?.id || error.name === "ChargeUnknownError");
  assert.equal((await stage.charges()).length, 1);
});

for (const call of [...READS, ...CHARGES]) {
  holds(`46_an_abort_of_${call}_rejects_at_once_and_a_sent_charge_is_bound`, async (stage) => {
    const job = await previewed(stage.sandbox, stage.request);
    const { ends: [before] } = await stage.play([stage.step(call, { job }, { abortAfter: -1 })]);
    assert.deepEqual([before.error, before.fetches], ["left", []]);
    const on = { submit: "submit", previewSync: "preview", previewAsync: "preview_async", render: "render", get: "get", templates: "templates", remainingCredits: "credits" }[call];
    await stage.sandbox.faults([{ on, kind: "delay", ms: 3_600_000 }]);
    const operation = CHARGES.includes(call) ? `order ${randomUUID()}` : undefined;
    const { ends: [during] } = await stage.play([stage.step(call, { job }, { operation, abortAfter: SHORT })]);
    assert.equal(during.error, "left");
    assert.ok(during.ms >= SHORT - 50 && during.ms < SHORT + 1_000, `${during.ms} ms`);
    if (!operation) return;
    // The charge goes on and is bound by its answer.
    await stage.sandbox.advance(3_600);
    await stopFaults(stage);
    const charge = (await stage.charges()).at(-1);
    assert.equal((await stage.charges()).length, 2, "the preview and the charge");
    const found = await until(async () => {
      const { ends: [again] } = await stage.play([stage.step(call, { job }, { operation })]);
      return again.value;
    });
    assert.equal(found.id, charge.job_id);
    assert.equal(stage.seen(call).length, 1, "one request");
  });
}

/* ---- journals -------------------------------------------------------------------------------- */

for (const call of CHARGES) {
  holds(`47_${call}_with_a_journal_that_is_forbidden_sends_nothing`, async (stage) => {
    const job = await previewed(stage.sandbox, stage.request);
    const { ends: [end] } = await stage.play([stage.step(call, { job })], { journal: "forbidden" });
    // The operation of a render is derived from its job: an earlier call may have been charged under it.
    has(end.error, { name: "JournalError", charged: call === "render" ? "maybe" : "no", remedy: "retry" }, "the error");
    assert.equal(end.error.cause.name, "QuotaExceededError");
    assert.match(end.error.message, /journal: "memory"/);
    assert.deepEqual(end.fetches, []);
    assert.equal((await stage.charges()).length, 1, "only the preview");
  });

  holds(`47_${call}_with_a_journal_that_is_full_before_the_marker_sends_no_charge`, async (stage) => {
    const job = await previewed(stage.sandbox, stage.request);
    const { ends: [end, pending] } = await stage.play([stage.step(call, { job }), { call: "pending" }], { journal: "full after the first" });
    has(end.error, { name: "JournalError", charged: "no", remedy: "retry" }, "the error");
    assert.deepEqual(end.fetches, call === "render" ? ["GET"] : []);
    assert.deepEqual(pending.value, []);
  });

  holds(`47_${call}_with_a_journal_that_is_full_after_the_charge_returns_its_job_and_is_not_sent_again`, async (stage) => {
    const job = await previewed(stage.sandbox, stage.request);
    const operation = `order ${randomUUID()}`;
    const { ends: [end, again] } = await stage.play([stage.step(call, { job }, { operation }), stage.step(call, { job }, { operation })], { journal: "full after a charge" });
    assert.ok(end.value?.id);
    assert.ok(again.value?.id === end.value.id || again.error.name === "ChargeUnknownError");
    assert.equal(stage.seen(call).length, 1);
    assert.equal((await stage.charges()).length, 2, "the preview and the charge");
  });
}

for (const [what, becomes] of [["of_a_newer_version", { version: 3 }], ["that_is_half_written", '{"version":2,"st'], ["that_is_not_an_object", "7"], ["of_an_unknown_step", { step: "delete" }], ["of_another_request", { fingerprint: 1 }]]) {
  holds(`an_entry_${what}_is_never_overwritten_nor_charged_again`, async (stage) => {
    const operation = `order ${randomUUID()}`;
    const steps = [submit(stage.request, operation), { entry: operation, becomes }, submit(stage.request, operation), { call: "pending" }, { call: "settle", args: [operation, {}] }];
    const { ends: [first, again, pending, settled], events } = await stage.play(steps, { journal: "map" });
    assert.ok(first.value.id);
    has(again.error, { name: "OperationConflictError", operation, charged: "maybe" }, "the error");
    assert.deepEqual(again.fetches, []);
    if (what === "of_another_request") return;
    assert.deepEqual(pending.value, []);
    const skipped = events.filter(({ type }) => type === "skipped");
    assert.deepEqual(skipped.map(({ key }) => key.endsWith(`/${operation}`)), [true], "the skipped entry is reported");
    has(settled.error, { name: "InvalidRequestError", field: "operation" }, "the error");
    assert.equal((await stage.charges()).length, 1);
  });
}

holds("an_entry_of_another_account_is_not_listed_and_its_operation_id_is_free", async (stage) => {
  const operation = `order ${randomUUID()}`;
  await stage.play([submit(stage.request, operation)], { journal: "map" });
  const { ends: [pending, end] } = await stage.play([{ call: "pending" }, submit(stage.request, operation)], { journal: "map", client: { apiId: "another" } });
  assert.deepEqual(pending.value, []);
  has(end.error, { name: "ApiError", kind: "authentication" }, "the error");
  assert.equal((await stage.charges()).length, 1);
});

holds("49_reads_in_an_outage_are_retried_within_the_clients_retry_budget", async (stage) => {
  await stage.sandbox.faults([{ on: "credits", kind: "status_before_commit", status: 503 }]);
  const { ends: [end] } = await stage.play([{ call: "remainingCredits", times: 20 }], { client: { maxRetries: 3 } });
  for (const { error } of [end, ...end.others]) assert.equal(error.kind, "server");
  assert.equal(end.fetches.length, 20 + 10);
});

describe("operations", { concurrency: AT_ONCE }, () => {
  for (const begin of together) begin();
});
