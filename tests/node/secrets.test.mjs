// Tests that no error and no event contains a key or a token, however a server echoes it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { UNKNOWN_ID, answer, deferred, jobOf, load, recorder, rejection, settles } from "./harness.mjs";

const { TemplateJobs } = await load();

const request = { template_id: UNKNOWN_ID, variables: {} };
const KEY = 'key-"7f/3+9é\\"-secret';
const TOKEN = "tok-en/5+5=%20-secret";
const LOGIN = "dXNlcjpwYXNz-secret==";
const secrets = { apiKey: KEY, headers: { authorization: `Bearer ${TOKEN}`, "x-login": `Basic ${LOGIN}`, "x-tenant": "acme" } };
const lower = (encoded) => encoded.replace(/%../g, (each) => each.toLowerCase());
const json = (secret) => JSON.stringify(secret).slice(1, -1);
const forms = [KEY, TOKEN, LOGIN].flatMap((secret) => [secret, json(secret), encodeURIComponent(secret), lower(encodeURIComponent(secret))]);

/** Everything that can be read from an error or an event. */
function readable(it) {
  const seen = new Set();
  const words = [];
  const walk = (each) => {
    if (typeof each === "string") words.push(each);
    if ((typeof each !== "object" && typeof each !== "function") || !each || seen.has(each)) return;
    seen.add(each);
    for (const key of Reflect.ownKeys(each)) {
      words.push(String(key));
      walk(each[key]);
    }
  };
  walk(it);
  return [...words, inspect(it, { depth: Infinity, showHidden: true }), JSON.stringify(it)].join("\n");
}
function assertClean(it, what) {
  const text = readable(it);
  for (const form of forms) assert.ok(!text.includes(form), `${what} has ${form}: ${text}`);
}

let hosts = 0;
function client(reply, options) {
  const wire = recorder(reply);
  const events = [];
  const jobs = new TemplateJobs({
    baseUrl: `https://secrets-${++hosts}.test`, journal: "memory", fetch: wire.fetch, maxRetries: 0, onEvent: (event) => events.push(event), ...secrets, ...options,
  });
  return { ...wire, jobs, events };
}

const echoed = ({ headers }) => Object.fromEntries(headers);
const plain = `You sent ${KEY} and Bearer ${TOKEN} and Basic ${LOGIN}`;
const bare = `You sent ${KEY}, ${TOKEN}, ${LOGIN}`;
const escaped = `You sent ${json(KEY)} and ${json(TOKEN)}; /?a=${encodeURIComponent(KEY)}&b=${encodeURIComponent(TOKEN)}&c=${lower(encodeURIComponent(LOGIN))}`;
const REPLIES = {
  "its headers as JSON": (call) => answer(400, { detail: "bad", headers: { ...echoed(call), key: KEY } }),
  "a detail": () => answer(403, { detail: plain }),
  "fields by the key": () => answer(422, { [KEY]: [bare], name: [plain, { deep: [bare] }], non_field_errors: bare }),
  "a text": () => answer(500, bare),
  "a page": () => answer(401, `<html><pre>${plain}</pre>${escaped}</html>`),
  "escapes": () => answer(400, { detail: escaped, message: escaped }),
  "escapes in escapes": () => answer(400, JSON.stringify({ detail: JSON.stringify({ key: KEY, token: TOKEN }) })),
  "a text that is not JSON": () => answer(200, bare),
  "JSON that is not a job": () => answer(200, { echo: bare }),
  "a text that is cut off within a secret": () => answer(500, "x".repeat(490) + bare),
  "an invalid balance": () => answer(200, { remaining_credits: bare }),
};

test("a response event has the request id, without a secret that a server puts there", async () => {
  for (const [id, expected] of [["req-7", "req-7"], [`req-${bare}`, undefined], [undefined, undefined]]) {
    const { jobs, events } = client(({ path }) => answer(200, { id: UNKNOWN_ID, status: "done" }, id && { "x-request-id": id }));
    await jobs.get(UNKNOWN_ID);
    const [{ requestId }] = events.filter(({ type }) => type === "response");
    if (expected || !id) assert.equal(requestId, expected);
    else assert.match(requestId, /^req-You sent /);
    assertClean(events, "the events");
  }
});

for (const [name, reply] of Object.entries(REPLIES)) {
  test(`a server that answers ${name} puts no secret into an error`, async () => {
    const { jobs, events } = client(reply);
    for (const call of [() => jobs.submit(request), () => jobs.get(UNKNOWN_ID), () => jobs.templates(), () => jobs.remainingCredits(), () => jobs.render(UNKNOWN_ID)]) {
      const error = await rejection(call());
      assertClean(error, name);
      assert.ok(error.message.length > 5);
    }
    assertClean(events, "the events");
  });
}

test("no part of a secret remains where a long answer is cut", async () => {
  for (let at = 440; at <= 500; at += 3) {
    const { jobs } = client(() => answer(500, "x".repeat(at) + KEY));
    const error = await rejection(jobs.get(UNKNOWN_ID));
    assert.doesNotMatch(readable(error), /key-"7f/);
    assert.doesNotMatch(readable(error), /x(k|ke|key|key-)("|\n|$)/);
  }
});

test("a failing fetch puts no secret into an error or its causes", async () => {
  for (const thrown of [
    new TypeError(bare),
    Object.assign(new Error("failed", { cause: new Error(plain, { cause: { text: escaped, list: [bare] } }) }), { request: { headers: secrets.headers }, code: `E ${KEY}` }),
    Object.assign(new Error("failed"), { stack: `Error: failed\n  at ${bare}`, name: TOKEN }),
    new AggregateError([new Error(bare)], plain),
    bare, { message: bare, toString: () => bare },
  ]) {
    const { jobs, events } = client(() => Promise.reject(thrown));
    for (const call of [() => jobs.submit(request), () => jobs.get(UNKNOWN_ID)]) assertClean(await rejection(call()), "the error");
    assertClean(events, "the events");
  }
});

test("keys and headers returned by functions are secrets too, also after they change", async () => {
  const tokens = ["first-secret-1", "second-secret-2"];
  const gates = [deferred(), deferred()];
  let asked = 0;
  let given = 0;
  const { jobs } = client((call, number) => gates[number - 1].promise, {
    apiKey: async () => `key-${tokens[asked++]}`,
    headers: () => new Headers({ authorization: `bearer ${tokens[given++]}` }),
  });
  const calls = [jobs.get(UNKNOWN_ID), jobs.remainingCredits()].map((call) => rejection(call));
  await new Promise((resolve) => setTimeout(resolve, 20));
  for (const gate of gates.toReversed()) gate.resolve(answer(500, tokens.join(" and ") + ` in key-${tokens[0]}`));
  for (const error of await Promise.all(calls)) assert.doesNotMatch(readable(error), /(first|second)-secret/);
});

test("a headers() that fails after it returned a token puts the token into no error", async () => {
  let calls = 0;
  const { jobs } = client(undefined, {
    headers: () => {
      if (calls++) throw new Error(`refused: ${TOKEN}`, { cause: new Error(encodeURIComponent(TOKEN)) });
      return { authorization: `Bearer ${TOKEN}` };
    },
  });
  await settles(jobs.get(UNKNOWN_ID));
  const error = await rejection(jobs.get(UNKNOWN_ID));
  assert.equal(error.field, "headers");
  assertClean(error, "the error");
});

test("a journal that fails puts no secret into an error or an event", async () => {
  const journal = { create: () => Promise.reject(new Error(bare)), read: () => Promise.reject(new Error(plain)), write() {}, delete() {}, list: () => Promise.reject(new Error(escaped)) };
  const { jobs, events } = client(undefined, { journal });
  for (const call of [() => jobs.submit(request, { operation: "op" }), () => jobs.pending(), () => jobs.settle("op")]) {
    const error = await rejection(call());
    assert.equal(error.name, "JournalError");
    assertClean(error, "the error");
  }
  assertClean(events, "the events");
});

test("an invalid header is named without its value", async () => {
  for (const options of [{ apiKey: `${KEY}\n` }, { apiKey: () => `${KEY}\n` }, { headers: { authorization: `Bearer ${TOKEN}\0` } }, { headers: () => [["x y", LOGIN]] }]) {
    const error = await rejection(client(undefined, options).jobs.submit(request));
    assert.equal(error.name, "InvalidRequestError");
    assertClean(error, "the error");
  }
});

test("short header values and names stay readable", async () => {
  const { jobs } = client(() => answer(400, { detail: "The tenant acme has no such job" }));
  const error = await rejection(jobs.get(UNKNOWN_ID));
  assert.match(error.message, /acme/);
  assert.equal(error.jobId, UNKNOWN_ID);
});

test("a job is returned unchanged", async () => {
  const job = jobOf(UNKNOWN_ID, { variables: { title: { type: "text", properties: { content: bare } } } });
  const { jobs } = client(() => answer(200, job));
  assert.deepEqual(await settles(jobs.get(UNKNOWN_ID)), job);
});

test("a failure before the first request puts no secret into its error", async () => {
  const fail = () => { throw new Error(forms.join(" ")); };
  const failing = { create: fail, read: fail, write: fail, replace: fail, delete: fail, list: fail };
  for (const call of [(jobs) => jobs.pending(), (jobs) => jobs.settle("op"), (jobs) => jobs.submit(request)]) {
    const { jobs } = client(undefined, { journal: failing });
    const error = await rejection(call(jobs));
    assert.equal(error.name, "JournalError");
    assertClean(error, "a journal's error");
  }
  const { jobs } = client();
  const error = await rejection(jobs.submit({ ...request, get name() { return fail(); } }));
  assert.deepEqual([error.name, error.field], ["InvalidRequestError", "name"]);
  assertClean(error, "an argument's error");
});

test("keys of many parallel requests stay out of the errors of all of them", async () => {
  const COUNT = 40;
  const gate = deferred();
  let made = 0;
  const { jobs, sent } = client(async ({ headers }) => (await gate.promise, answer(400, { detail: headers.get("x-api-key") })), { apiKey: () => `many-keys-${made++}` });
  const errors = Promise.all(Array.from({ length: COUNT }, () => rejection(jobs.get(UNKNOWN_ID))));
  while (sent.length < COUNT) await new Promise(setImmediate);
  gate.resolve();
  for (const error of await errors) assert.doesNotMatch(readable(error), /many-keys/);
});

test("any thrown value settles the call with a readable error", async () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const looped = new Error("loop");
  looped.cause = looped;
  for (const thrown of [proxy, { get message() { throw undefined; } }, looped, Symbol("a"), null, undefined, () => {}, Object.create(null)]) {
    const { jobs } = client(() => Promise.reject(thrown));
    const error = await rejection(jobs.get(UNKNOWN_ID));
    assert.equal(error.name, "ConnectionError");
    assertClean(error, "an error");
  }
});
