// Tests of each fault on the wire with each call that it applies to, in Node, workerd and (for broken connections) Deno, on fresh
// and reused connections. The outcomes must be those of `table.mjs`; FAULTS_TABLE is the file for a table of them.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import { ELSEWHERE } from "./elsewhere.mjs";
import { callOf, has, openStage, previewed, startStages, wireName } from "./harness.mjs";
import { startRuntime } from "./runtimes.mjs";
import { CHARGES, READS, TABLE } from "./table.mjs";
import { NOWHERE, startWire } from "./wire.mjs";

const AT_ONCE = 16;
const RUNTIMES = ["Node", "workerd", "Deno"];
/** The timeout of a caller that gets no answer, and how long the client waits for the answer to a charge. */
const [SHORT, POSTED] = [500, 1_500];
/** The timeout of a caller that gets an answer. */
const LONG = 20_000;
/** The most that a promise may settle after its deadline. */
const GRACE = 1_000;
/** The longest delay before the retry of a read. */
const PAUSE = 500;

const runtimes = {};
const addresses = { refused: NOWHERE, nameless: "http://nothing.invalid:8787" };
const outcomes = [];
let stages;
let elsewhere;
before(async () => {
  stages = await startStages(AT_ONCE);
  for (const name of RUNTIMES) runtimes[name] = await startRuntime(name);
  // A host that must receive no request: requests to it are counted.
  elsewhere = await startWire(NOWHERE);
});
after(async () => {
  await Promise.all([...Object.values(runtimes).map((runtime) => runtime.stop()), stages?.stop()]);
  elsewhere?.stop();
  const file = process.env.FAULTS_TABLE;
  if (!file) return;
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, table());
});

/** The outcome of a read or a charge, as a word. */
const word = ({ error }) =>
  error ? [error.name, error.kind ?? (error.sent === false ? "sent: false" : ""), `charged: ${error.charged}`].filter(Boolean).join(" ") : "its value";

/** Checks `charged` of the errors of an operation against the number of accepted charges; "maybe" is never wrong. */
function checkCharged(ends, operation, accepted) {
  for (const { error } of ends.filter((end) => end.error)) {
    assert.equal(error.operation, operation);
    assert.ok(["no", "yes", "maybe"].includes(error.charged), error.charged);
    if (error.charged !== "maybe") assert.equal(error.charged, accepted ? "yes" : "no", `${error.name}: ${error.message}`);
    assert.ok(error.remedy.length > 3);
  }
}

/** Runs one cell of the table. */
async function cell(row, call, runtime, warm) {
  const { rule, inject, base, big, hangs } = row;
  return stages.with(async (sandbox) => {
    let strikes = 0;
    const struck = (request) => (inject && callOf(request) === call && strikes-- > 0 ? inject() : undefined);
    const client = { ...(hangs && { timeout: POSTED, previewTimeout: POSTED }), ...row.options };
    const stage = await openStage(sandbox, runtime, { inject: struck, big, client });
    try {
      const job = call === "render" || call === "get" ? await previewed(sandbox, { ...stage.request, variables: {} }) : undefined;
      const paid = (await stage.charges()).length;
      const at = base === "plain" ? stage.wire.url.replace("http:", "https:") : addresses[base];
      const strike = async (times) => {
        strikes = times;
        if (!rule) return;
        const made = typeof rule === "function" ? rule({ elsewhere: elsewhere.url }) : rule;
        await sandbox.faults(times ? [{ on: wireName(call), ...made, ...(times < Infinity && { times }) }] : []);
      };
      const options = hangs ? { timeout: SHORT } : {};
      const warming = warm ? [{ warms: call === "templates" ? "remainingCredits" : "templates" }] : [];
      const given = { stage, job, paid, warming, strike, options, away: at && { client: { baseUrl: at } } };
      const result = READS.includes(call) ? await reads(row, call, runtime.name, given) : await charges(row, call, runtime.name, given);
      const [met] = stage.seen(call);
      const used = stage.wire.requests.slice(0, stage.wire.requests.indexOf(met)).some(({ connection }) => connection === met?.connection);
      if (warm) assert.ok(used, "the request was not sent on a reused connection");
      assert.deepEqual(elsewhere.requests, []);
      return { ...result, used };
    } finally {
      stage.stop();
    }
  });
}

async function reads(row, call, runtime, { stage, job, warming, strike, options, away }) {
  const { again, error } = row.reads;
  const result = [];
  // A wrong base URL fails every attempt.
  for (const times of again && !row.base ? [1, Infinity] : [Infinity]) {
    await strike(times);
    // The second attempt must be answered in time, even on a busy machine.
    const timeout = options.timeout && (times === 1 ? 5 * options.timeout : options.timeout);
    const { ends } = await stage.play([...warming, stage.step(call, { job }, { ...options, timeout })], away);
    const end = ends.at(-1);
    const fails = error && times === Infinity;
    if (fails) {
      assert.ok(end.typed);
      has(end.error, { charged: "no", operation: undefined, ...error }, "the error");
      if (call === "get") assert.equal(end.error.jobId, job);
    } else {
      assert.equal(end.error, undefined);
      if (call === "get") assert.equal(end.value.id, job);
    }
    const requests = again ? 2 : 1;
    // Deno itself resends a request whose connection was dropped, so that a fault that occurs once may stay unnoticed.
    const hidden = runtime === "Deno" && times === 1 && stage.seen(call).length > end.fetches.length;
    assert.deepEqual(end.fetches, Array(hidden ? 1 : requests).fill("GET"));
    // A delay by Retry-After may be a second longer than the lower bound.
    const pause = row.waits ? row.waits + 1_000 + PAUSE : PAUSE;
    const deadline = requests * (timeout ?? LONG) + (requests - 1) * pause;
    assert.ok(end.ms <= deadline + GRACE, `settled after ${end.ms} ms`);
    if (row.waits) assert.ok(end.ms >= row.waits, `it waited ${end.ms} ms`);
    result.push(`${times === 1 ? "once: " : ""}${word(end)}, ${end.fetches.length} fetch${end.fetches.length > 1 ? "es" : ""}`);
  }
  assert.equal((await stage.charges()).length, job ? 1 : 0, "charges after a read");
  return { outcome: result.join("; ") };
}

async function charges(row, call, runtime, { stage, job, paid, warming, strike, options, away }) {
  const wanted = row.charges.verdict ? row.charges : row.charges[runtime] ?? row.charges.others;
  const renders = call === "render";
  const operation = renders ? `render:${job}` : `order ${randomUUID()}`;
  const asked = (more) => stage.step(call, { job }, { operation, timeout: LONG, ...more });
  const accepted = async () => (await stage.charges()).length - paid;
  await strike(Infinity);
  const { ends, events } = await stage.play([...warming, asked(options), { call: "pending" }, asked()], away);
  const [end, pending, again] = ends.slice(-3);

  // A runtime may send more on the wire than the client requested.
  const posts = ({ fetches }) => fetches.filter((method) => method === "POST").length;
  const [made, madeAgain] = [posts(end), posts(again)];
  const sent = stage.seen(call).length;
  const replayed = row.base ? 0 : sent - made - madeAgain;
  assert.ok(runtime === "Deno" || replayed === 0, `${sent} POSTs on the wire for ${made + madeAgain} of the client`);
  const found = wanted.charged + (wanted.charged && replayed);
  assert.equal(await accepted(), found, "charges");
  checkCharged([end, again], operation, found);

  // A render reads its job before the charge, and after it if the outcome is unknown.
  const read = renders ? ["GET"] : [];
  const settledByRead = renders && wanted.verdict === "unknown" && wanted.charged > 0;
  const verdict = settledByRead ? "bound" : wanted.verdict;
  if (wanted.verdict === "not sent") assert.deepEqual(end.fetches, renders ? ["GET", "GET"] : Array(3).fill("POST"));
  else if (row.base && renders) assert.deepEqual(end.fetches, ["GET", "GET"]);
  else if (!row.hangs) assert.deepEqual(end.fetches, [...read, "POST", ...(wanted.found || renders && wanted.verdict === "unknown" ? ["GET"] : [])]);
  if (verdict === "unknown" || verdict === "bound") assert.equal(madeAgain, 0, "a second call sends nothing");
  assert.ok(made <= 1 || wanted.verdict === "not sent");
  assert.ok(end.ms <= (options.timeout ?? LONG) + GRACE, `settled after ${end.ms} ms`);
  if (end.error) assert.ok(end.typed);
  const unsent = row.base && renders;
  const result = { outcome: `${word(end)}, ${made} POST by fetch, ${row.base ? 0 : sent - madeAgain} on the wire, ${found} charged` };

  if (unsent || verdict === "not sent" || verdict === "rejected") {
    has(end.error, { charged: "no", ...(unsent ? { name: "ConnectionError", sent: false } : wanted.error) }, "the error");
    assert.deepEqual(pending.value.filter((each) => each.operation === operation), [], "the operation is not listed");
    await strike(0);
    const { ends: [then] } = await stage.play([asked()]);
    assert.equal(then.error, undefined);
    assert.equal(await accepted(), 1, "a second call is charged once");
    return result;
  }
  const late = row.hangs && renders;
  if (verdict === "bound" && !late) {
    assert.equal(end.error, undefined);
    assert.equal(end.value.id, job ?? (await stage.charges()).at(-1).job_id);
    assert.equal(again.value.id, end.value.id, "a second call returns the same job");
  } else {
    has(end.error, { name: "ChargeUnknownError", charged: "maybe", remedy: "settle_or_discard", ...(job && { jobId: job }) }, "the error");
    const open = pending.value.find((each) => each.operation === operation);
    assert.equal(open.state, row.hangs ? "sending" : "unknown");
    if (late) assert.equal(again.value?.id, job, `the render is found: ${JSON.stringify(again.error)}`);
    else assert.equal(again.error?.name, "ChargeUnknownError", "a second call sends nothing");
    // Settles with another client of the same account and journal, without a fault.
    await strike(0);
    const jobId = found ? (await stage.charges())[paid].job_id : undefined;
    const { ends: [settled, then] } = await stage.play([{ call: "settle", args: [operation, { jobId }] }, asked()], away);
    assert.ok((found ? ["bound", ...(late ? ["ended"] : [])] : ["unknown"]).includes(settled.value.state), settled.value.state);
    checkCharged([settled, then], operation, found);
    if (found) assert.equal(then.value.id, jobId);
    else assert.equal(then.error?.name, "ChargeUnknownError");
  }
  assert.equal(stage.seen(call).length, sent, "no further charging request");
  assert.equal(await accepted(), found, "no further charge");
  assert.ok(events.some((event) => event.type === "verdict" || row.hangs));
  return result;
}

test("every_fault_of_the_list_has_a_row_and_every_named_test_exists", async () => {
  const numbers = new Set([...TABLE, ...ELSEWHERE].map(({ n }) => n));
  assert.deepEqual([...numbers].sort((a, b) => a - b), Array.from({ length: 50 }, (_, at) => at + 1));
  for (const { n, tests = [], note } of ELSEWHERE) {
    assert.ok(tests.length || note, `${n} has neither a test nor a note`);
    for (const [file, name] of tests) {
      const text = await readFile(new URL(`../../${file}`, import.meta.url), "utf8");
      assert.ok(text.includes(name), `${n}: ${file} has no ${name}`);
    }
  }
});

describe("the matrix", { concurrency: AT_ONCE }, () => {
  for (const row of TABLE) {
    for (const name of RUNTIMES) {
      // Deno differs from Node only after a dropped connection.
      if (name === "Deno" && !row.warm) continue;
      test(`in_${name}_${row.n}_${row.fault}`.replaceAll(/\W+/g, "_").toLowerCase(), async () => {
        const failed = [];
        const plays = [];
        for (const call of row.calls ?? [...READS, ...CHARGES]) {
          for (const warm of row.warm ? [false, true] : [false]) {
            const where = `${call}${warm ? ", reused connection" : ""}`;
            const play = cell(row, call, runtimes[name], warm).then(
              (result) => outcomes.push({ row, name, call, ...result }),
              ({ message }) => failed.push(`${where}: ${message.replaceAll(/\s+/g, " ")}`),
            );
            plays.push(play);
          }
        }
        await Promise.all(plays);
        assert.deepEqual(failed, []);
      });
    }
  }
});

/** The outcomes as a table. Calls with the same outcome share a line. */
function table() {
  const order = [...READS, ...CHARGES];
  const inOrder = (calls) => [...calls].sort((a, b) => order.indexOf(a) - order.indexOf(b));
  const lines = ["| # | fault | calls | outcome | where |", "| --- | --- | --- | --- | --- |"];
  for (const row of TABLE) {
    const line = (calls, outcome, where) => lines.push(`| ${row.n} | ${row.fault} | ${calls} | ${outcome} | ${where} |`);
    const places = new Map();
    for (const { call, used, name, outcome } of outcomes.filter((each) => each.row === row)) {
      const key = JSON.stringify([call, outcome]);
      places.set(key, (places.get(key) ?? new Set()).add(row.warm ? `${name} ${used ? "reused" : "fresh"}` : name));
    }
    const calls = new Map();
    for (const [key, where] of places) {
      const [call, outcome] = JSON.parse(key);
      const alike = JSON.stringify([outcome, [...where].sort()]);
      calls.set(alike, [...(calls.get(alike) ?? []), call]);
    }
    const lined = [...calls].map(([alike, names]) => [inOrder(names), ...JSON.parse(alike)]);
    lined.sort(([a], [b]) => order.indexOf(a[0]) - order.indexOf(b[0]));
    for (const [names, outcome, where] of lined) line(names.join(", "), outcome, where.join(", "));
    if (row.not) line("the others", "does not apply", row.not);
  }
  for (const { n, fault, tests = [], note = "" } of ELSEWHERE) {
    lines.push(`| ${n} | ${fault} | | ${note} | ${tests.map(([file, name]) => `${file}: ${name}`).join("<br>")} |`);
  }
  return `${lines.join("\n")}\n`;
}
