// Decides whether each fault of the wire, met by each call to which it applies, ends as the table says: in Node and in workerd,
// and where a connection is involved on a fresh and on a reused one, there in Deno too. What was seen is written down as a table.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import { ELSEWHERE } from "./elsewhere.mjs";
import { callOf, has, place, previewed, startStages, wireName } from "./harness.mjs";
import { startRuntime } from "./runtimes.mjs";
import { CHARGES, READS, TABLE } from "./table.mjs";
import { NOWHERE, startWire } from "./wire.mjs";

const AT_ONCE = 16;
const RUNTIMES = ["Node", "workerd", "Deno"];
/** How long a caller waits where no answer comes, and how long the answer to a charge is waited for. */
const [SHORT, POSTED] = [500, 1_500];
/** How long a caller waits whose answer comes. */
const LONG = 20_000;
/** What a promise may take beyond its deadline. */
const GRACE = 1_000;
/** The longest pause before the second try of a read. */
const PAUSE = 500;

const runtimes = {};
const addresses = { refused: NOWHERE, nameless: "http://nothing.invalid:8787" };
const outcomes = [];
let stages;
let elsewhere;
before(async () => {
  stages = await startStages(AT_ONCE);
  for (const name of RUNTIMES) runtimes[name] = await startRuntime(name);
  // What is sent here was sent to the wrong host. The wire leads nowhere: whoever comes is counted.
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

/** How a read or a charge ended, in a word. */
const word = ({ error }) =>
  error ? [error.name, error.kind ?? (error.sent === false ? "sent: false" : ""), `charged: ${error.charged}`].filter(Boolean).join(" ") : "its value";

/** What the errors of an operation say of its charge, against how often the sandbox accepted it: "maybe" is never wrong. */
function checkCharged(ends, operation, accepted) {
  for (const { error } of ends.filter((end) => end.error)) {
    assert.equal(error.operation, operation);
    assert.ok(["no", "yes", "maybe"].includes(error.charged), error.charged);
    if (error.charged !== "maybe") assert.equal(error.charged, accepted ? "yes" : "no", `${error.name}: ${error.message}`);
    assert.ok(error.remedy.length > 3);
  }
}

/** Plays one cell of the table. */
async function cell(row, call, runtime, warm) {
  const { rule, spoil, base, big, hangs } = row;
  return stages.with(async (sandbox) => {
    let strikes = 0;
    const struck = (request) => (spoil && callOf(request) === call && strikes-- > 0 ? spoil() : undefined);
    const client = { ...(hangs && { timeout: POSTED, previewTimeout: POSTED }), ...row.options };
    const stage = await place(sandbox, runtime, { spoil: struck, big, client });
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
      const told = READS.includes(call) ? await reads(row, call, runtime.name, given) : await charges(row, call, runtime.name, given);
      const [met] = stage.seen(call);
      const used = stage.wire.requests.slice(0, stage.wire.requests.indexOf(met)).some(({ connection }) => connection === met?.connection);
      if (warm) assert.ok(used, "it was to meet a connection that was used");
      assert.deepEqual(elsewhere.requests, []);
      return { ...told, used };
    } finally {
      stage.stop();
    }
  });
}

async function reads(row, call, runtime, { stage, job, warming, strike, options, away }) {
  const { again, error } = row.reads;
  const told = [];
  // An address is wrong for every try.
  for (const times of again && !row.base ? [1, Infinity] : [Infinity]) {
    await strike(times);
    // The second try is to be answered in time, however busy the machine is.
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
    // Deno itself asks again on a connection that was dropped, so that what strikes once is not met at all.
    const hidden = runtime === "Deno" && times === 1 && stage.seen(call).length > end.fetches.length;
    assert.deepEqual(end.fetches, Array(hidden ? 1 : requests).fill("GET"));
    // What the server asks for may be a second more than the least that is waited.
    const pause = row.waits ? row.waits + 1_000 + PAUSE : PAUSE;
    const deadline = requests * (timeout ?? LONG) + (requests - 1) * pause;
    assert.ok(end.ms <= deadline + GRACE, `it took ${end.ms} ms`);
    if (row.waits) assert.ok(end.ms >= row.waits, `it waited ${end.ms} ms`);
    told.push(`${times === 1 ? "once: " : ""}${word(end)}, ${end.fetches.length} fetch${end.fetches.length > 1 ? "es" : ""}`);
  }
  assert.equal((await stage.charges()).length, job ? 1 : 0, "a read charges nothing");
  return { outcome: told.join("; ") };
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

  // Seen on the wire, a runtime may have sent more than the client made it send.
  const posts = ({ fetches }) => fetches.filter((method) => method === "POST").length;
  const [made, madeAgain] = [posts(end), posts(again)];
  const sent = stage.seen(call).length;
  const replayed = row.base ? 0 : sent - made - madeAgain;
  assert.ok(runtime === "Deno" || replayed === 0, `${sent} were sent where ${made + madeAgain} were made`);
  const found = wanted.charged + (wanted.charged && replayed);
  assert.equal(await accepted(), found, "charges");
  checkCharged([end, again], operation, found);

  // A render looks before it charges, and after it where nobody knows.
  const look = renders ? ["GET"] : [];
  const settledByLook = renders && wanted.verdict === "unknown" && wanted.charged > 0;
  const verdict = settledByLook ? "bound" : wanted.verdict;
  if (wanted.verdict === "not sent") assert.deepEqual(end.fetches, renders ? ["GET", "GET"] : Array(3).fill("POST"));
  else if (row.base && renders) assert.deepEqual(end.fetches, ["GET", "GET"]);
  else if (!row.hangs) assert.deepEqual(end.fetches, [...look, "POST", ...(wanted.found || renders && wanted.verdict === "unknown" ? ["GET"] : [])]);
  if (verdict === "unknown" || verdict === "bound") assert.equal(madeAgain, 0, "called again, it is not sent again");
  assert.ok(made <= 1 || wanted.verdict === "not sent");
  assert.ok(end.ms <= (options.timeout ?? LONG) + GRACE, `it took ${end.ms} ms`);
  if (end.error) assert.ok(end.typed);
  const unsent = row.base && renders;
  const told = { outcome: `${word(end)}, ${made} POST by fetch, ${row.base ? 0 : sent - madeAgain} on the wire, ${found} charged` };

  if (unsent || verdict === "not sent" || verdict === "rejected") {
    has(end.error, { charged: "no", ...(unsent ? { name: "ConnectionError", sent: false } : wanted.error) }, "the error");
    assert.deepEqual(pending.value.filter((each) => each.operation === operation), [], "it is as if it had not been called");
    await strike(0);
    const { ends: [then] } = await stage.play([asked()]);
    assert.equal(then.error, undefined);
    assert.equal(await accepted(), 1, "called again, it is charged once");
    return told;
  }
  const late = row.hangs && renders;
  if (verdict === "bound" && !late) {
    assert.equal(end.error, undefined);
    assert.equal(end.value.id, job ?? (await stage.charges()).at(-1).job_id);
    assert.equal(again.value.id, end.value.id, "called again, it is the same job");
  } else {
    has(end.error, { name: "ChargeUnknownError", charged: "maybe", remedy: "settle_or_discard", ...(job && { jobId: job }) }, "the error");
    const open = pending.value.find((each) => each.operation === operation);
    assert.equal(open.state, row.hangs ? "sending" : "unknown");
    if (late) assert.equal(again.value?.id, job, `the render is seen: ${JSON.stringify(again.error)}`);
    else assert.equal(again.error?.name, "ChargeUnknownError", "called again, it is not sent again");
    // Another client of the same account and journal, and the wire as it should be.
    await strike(0);
    const jobId = found ? (await stage.charges())[paid].job_id : undefined;
    const { ends: [settled, then] } = await stage.play([{ call: "settle", args: [operation, { jobId }] }, asked()], away);
    assert.ok((found ? ["bound", ...(late ? ["ended"] : [])] : ["unknown"]).includes(settled.value.state), settled.value.state);
    checkCharged([settled, then], operation, found);
    if (found) assert.equal(then.value.id, jobId);
    else assert.equal(then.error?.name, "ChargeUnknownError");
  }
  assert.equal(stage.seen(call).length, sent, "nothing more was sent that charges");
  assert.equal(await accepted(), found, "nothing more was charged");
  assert.ok(events.some((event) => event.type === "verdict" || row.hangs));
  return told;
}

test("every_fault_of_the_list_is_in_a_table_and_every_test_that_a_table_names_is_there", async () => {
  const numbers = new Set([...TABLE, ...ELSEWHERE].map(({ n }) => n));
  assert.deepEqual([...numbers].sort((a, b) => a - b), Array.from({ length: 50 }, (_, at) => at + 1));
  for (const { n, held = [], word: reason } of ELSEWHERE) {
    assert.ok(held.length || reason, `${n} has neither a test nor a reason`);
    for (const [file, name] of held) {
      const text = await readFile(new URL(`../../${file}`, import.meta.url), "utf8");
      assert.ok(text.includes(name), `${n}: ${file} has no ${name}`);
    }
  }
});

describe("the matrix", { concurrency: AT_ONCE }, () => {
  for (const row of TABLE) {
    for (const name of RUNTIMES) {
      // Deno is like Node but for what it does with a connection that was dropped.
      if (name === "Deno" && !row.warm) continue;
      test(`in_${name}_${row.n}_${row.fault}`.replaceAll(/\W+/g, "_").toLowerCase(), async () => {
        const failed = [];
        const plays = [];
        for (const call of row.calls ?? [...READS, ...CHARGES]) {
          for (const warm of row.warm ? [false, true] : [false]) {
            const where = `${call}${warm ? ", reused connection" : ""}`;
            const play = cell(row, call, runtimes[name], warm).then(
              (told) => outcomes.push({ row, name, call, ...told }),
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

/** What was seen: calls that ended alike in one line, and where they did. */
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
  for (const { n, fault, held = [], word: reason = "" } of ELSEWHERE) {
    lines.push(`| ${n} | ${fault} | | ${reason} | ${held.map(([file, name]) => `${file}: ${name}`).join("<br>")} |`);
  }
  return `${lines.join("\n")}\n`;
}
