// Tests of request snapshots: later changes of the object change nothing, and values that JSON would change are refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import vm from "node:vm";
import { UNKNOWN_ID, load, recorder, rejection, settles } from "./harness.mjs";

const { TemplateJobs, text } = await load();

const request = (more) => ({ template_id: UNKNOWN_ID, variables: { title: text("Hello") }, ...more });
let hosts = 0;
function client(options, reply) {
  const wire = recorder(reply);
  return { ...wire, jobs: new TemplateJobs({ baseUrl: `https://snapshot-${++hosts}.test`, journal: "memory", fetch: wire.fetch, ...options }) };
}
const nested = (levels) => {
  let it = "end";
  for (let level = 0; level < levels; level++) it = [it];
  return it;
};

// The first round starts before the WebAssembly is loaded, the second one afterwards.
for (const round of ["while the WebAssembly loads", "after it has loaded"]) {
  test(`three calls with one object that changes in between send three different requests, ${round}`, async () => {
    const { jobs, posts } = client();
    const changing = request();
    const calls = ["Ann", "Bob", "Cid"].map((name) => {
      changing.variables.title = text(name);
      return jobs.submit(changing);
    });
    changing.variables.title.properties.content = "Dan";
    await settles(Promise.all(calls));
    assert.deepEqual(posts().map(({ body }) => body.variables.title.properties.content).toSorted(), ["Ann", "Bob", "Cid"]);
  });
}

test("a change after the call evades neither a check nor the budget", async () => {
  const { jobs, posts } = client({ maxCredits: 5 });
  const changing = request({ webhook_url: "https://me.test/hook", seconds: 30 });
  const call = jobs.submit(changing);
  Object.assign(changing, { webhook_url: "ftp://me.test", model_version: "aurora_v1", template_id: "none", seconds: 1, more: 1 });
  await settles(call);
  assert.deepEqual(posts().map(({ body }) => body), [request({ webhook_url: "https://me.test/hook" })]);
});

test("each property is read once", async () => {
  const { jobs, posts } = client();
  const reads = {};
  const counting = (it, path) =>
    new Proxy(it, {
      get(target, key) {
        if (Object.hasOwn(target, key)) reads[`${path}${String(key)}`] = (reads[`${path}${String(key)}`] ?? 0) + 1;
        const value = target[key];
        return typeof value === "object" && value ? counting(value, `${path}${String(key)}.`) : value;
      },
    });
  await settles(jobs.submit(counting(request(), "")));
  assert.deepEqual(Object.values(reads).filter((count) => count !== 1), []);
  assert.deepEqual(posts()[0].body, request());
});

test("what JSON would drop or change is refused with the path of the field, and nothing is sent", async () => {
  const { jobs, sent } = client();
  const cycle = {};
  cycle.self = cycle;
  const named = Object.assign(["a"], { more: "b" });
  class List extends Array {}
  class Title {
    content = "a";
  }
  const hidden = Object.defineProperty(["a"], "toJSON", { value: () => "b" });
  for (const [name, bad, field] of [
    ["a sparse array", [1, , 3], "variables.it[1]"],
    ["an array that is longer than it has elements", Object.assign([1], { length: 3 }), "variables.it[1]"],
    ["an array of nothing", new Array(4_000_000), /^variables\.it/],
    ["an array with a name", named, "variables.it"],
    ["an array of a class", List.from(["a"]), "variables.it"],
    ["an object of a class", new Title(), "variables.it"],
    ["an object with a prototype", Object.create({ content: "a" }), "variables.it"],
    ["a symbol as a key", { [Symbol("a")]: 1 }, "variables.it"],
    ["an array with a symbol", Object.assign([1], { [Symbol("a")]: 1 }), "variables.it"],
    ["a function toJSON", { toJSON: () => "b" }, /^variables\.it/],
    ["a hidden function toJSON", hidden, "variables.it"],
    ["NaN", NaN, "variables.it"],
    ["Infinity", [1, -Infinity], "variables.it[1]"],
    ["undefined", undefined, "variables.it"],
    ["undefined in an array", [undefined], "variables.it[0]"],
    ["a bigint", { a: 1n }, "variables.it.a"],
    ["a symbol", Symbol("a"), "variables.it"],
    ["a function", () => {}, "variables.it"],
    ["a date", new Date(), "variables.it"],
    ["a map", new Map(), "variables.it"],
    ["a boxed text", new String("a"), "variables.it"],
    ["bytes", new Uint8Array(2), "variables.it"],
    ["a file", new File(["x"], "a.png"), "variables.it"],
    ["a cycle", cycle, /^variables\.it\.self/],
    ["too many levels", nested(101), /^variables\.it\[0\]/],
    ["far too many levels", nested(200_000), /^variables\.it\[0\]/],
  ]) {
    for (const call of ["submit", "previewAsync"]) {
      const error = await rejection(jobs[call](request({ variables: { it: bad } })));
      assert.equal(error.name, "InvalidRequestError", `${name}: ${error.message}`);
      if (field instanceof RegExp) assert.match(error.field, field, name);
      else assert.equal(error.field, field, name);
      assert.ok(error.message.includes(error.field), `${name}: ${error.message}`);
    }
    assert.equal((await rejection(jobs.render(UNKNOWN_ID, { variables: { it: bad } }))).name, "InvalidRequestError", name);
  }
  assert.deepEqual(sent, []);
});

test("a file is refused with a hint on what to do instead", async () => {
  const { message } = await rejection(client().jobs.submit(request({ variables: { it: new File(["x"], "a.png") } })));
  assert.match(message, /upload/);
});

test("plain data is sent as JSON.stringify makes it", async () => {
  const { jobs, posts } = client();
  const shared = text("twice");
  const foreign = vm.runInNewContext(`({ type: "text", properties: { content: "foreign", list: [1, [2]] } })`);
  const bare = Object.assign(Object.create(null), text("bare"));
  const of = (properties) => ({ type: "new", properties });
  const variables = { a: shared, b: shared, foreign, bare, proxy: new Proxy(text("proxy"), {}), list: of({ all: [0, -0, 1e300, "\ud83c\udfac", "\u2028\"\\"] }), deep: of({ all: nested(96) }), __proto: of({ ["__proto__"]: 1, none: null }) };
  await settles(jobs.submit(request({ variables })));
  assert.deepEqual(posts()[0].body, JSON.parse(JSON.stringify(request({ variables }))));
});

test("undefined is the same as unset at the top level and in voice_id", async () => {
  const { jobs, posts } = client();
  const variables = { voice: { type: "voiceover", properties: { voice_id: undefined } } };
  await settles(jobs.submit(request({ name: undefined, webhook_url: undefined, variables })));
  assert.deepEqual(posts()[0].body, { template_id: UNKNOWN_ID, variables: { voice: { type: "voiceover", properties: {} } } });
});

test("a request of more than 10 MB of UTF-8 is refused, and the next call works", async () => {
  const { jobs, posts } = client();
  for (const content of ["x".repeat(10_485_760), "€".repeat(3_600_000), '"'.repeat(5_300_000)]) {
    const error = await rejection(jobs.submit(request({ variables: { title: text(content) } })), 20_000);
    assert.deepEqual([error.name, error.field], ["InvalidRequestError", "request"]);
    assert.match(error.message, /10 MB/);
    assert.ok(error.message.length < 500);
  }
  await settles(jobs.submit(request()));
  assert.equal(posts().length, 1);
});

test("one operation is one request, whatever the order of its keys", async () => {
  const { jobs, posts } = client();
  const one = { template_id: UNKNOWN_ID, variables: { a: text("1"), b: text("2") }, name: "n" };
  const other = { name: "n", variables: { b: { properties: { content: "2" }, type: "text" }, a: text("1") }, template_id: UNKNOWN_ID };
  const calls = await settles(Promise.all([jobs.submit(one, { operation: "op" }), jobs.submit(other, { operation: "op" })]));
  assert.equal(calls[0].id, calls[1].id);
  assert.equal(posts().length, 1);
  assert.equal((await rejection(jobs.submit({ ...one, name: "m" }, { operation: "op" }))).name, "OperationConflictError");
});

test("a small request that would become huge JSON is refused quickly", async () => {
  const { jobs, posts } = client();
  let shared = "x".repeat(1_000);
  for (let level = 0; level < 60; level++) shared = [shared, shared];
  for (const it of [shared, new Array(4e9)]) {
    const error = await rejection(jobs.submit(request({ variables: { it } })));
    assert.equal(error.name, "InvalidRequestError");
    assert.match(error.message, /10 MB|missing/);
  }
  assert.deepEqual(posts(), []);
});

test("a getter that makes another call affects neither call", async () => {
  const { jobs, posts } = client();
  let inner;
  const outer = jobs.submit(request({ get name() { inner = jobs.submit(request({ name: "inner" })); return "outer"; } }));
  await settles(Promise.all([outer, inner]));
  assert.equal(posts().length, 2);
});

test("a job with all members of a request covers it, whatever else the job has", async () => {
  const { covers } = await load("snapshot.js");
  const job = { id: "1", variables: { title: { type: "text", properties: { content: "a", font: "b" } }, list: [1, { a: 2, b: 3 }] }, name: null };
  for (const [given, expected] of [
    [{}, true], [{ variables: { title: { properties: { content: "a" } } } }, true], [{ variables: { list: [1, { a: 2 }] } }, true],
    [{ name: null, model_version: null }, true], [{ variables: { title: { properties: { content: "b" } } } }, false],
    [{ variables: { list: [1] } }, false], [{ variables: { list: { 0: 1 } } }, false], [{ variables: { other: 1 } }, false],
    [JSON.parse('{"__proto__": {}}'), false], [{ name: "x" }, false], [{ variables: null }, false],
  ]) assert.equal(covers(given, job), expected, JSON.stringify(given));
});
