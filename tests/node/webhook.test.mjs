// Tests of operation ids in webhook URLs: each id comes back unchanged, and nothing else is read as an operation.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UNKNOWN_ID, answer, jobOf, load, recorder, rejection, settles } from "./harness.mjs";

const { TemplateJobs, parseWebhook } = await load();

const request = (webhook_url) => ({ template_id: UNKNOWN_ID, variables: {}, webhook_url });
const BODY = { id: UNKNOWN_ID, status: "done", failed_reason: "", video_output: "https://v" };
let hosts = 0;
function client(options, reply) {
  const wire = recorder(reply);
  return { ...wire, jobs: new TemplateJobs({ baseUrl: `https://webhook-${++hosts}.test`, journal: "memory", fetch: wire.fetch, ...options }) };
}
/** The URL to which the webhook of this operation is sent. */
async function filled(webhook, operation) {
  const { jobs, posts } = client();
  await settles(jobs.submit(request(webhook), { operation }));
  return posts()[0].body.webhook_url;
}

const TEMPLATES = [
  "https://me.test/hook/{operation}", "https://me.test/hook/{operation}/done?x=1", "https://me.test/hook/order-{operation}.json",
  "https://me.test/hook?operation={operation}", "https://me.test/hook?order={operation}&x=1", "https://me.test/hook?x=1&order=a-{operation}-b",
  "https://me.test/{operation}?again={operation}", "https://me.test/{operation}/{operation}", "https://me.test/a%20b/%C3%BC/{operation}?%C3%9F={operation}",
];
const PIECES = [
  "+", "&", "#", "/", "%", "?", " ", "=", ";", ":", "@", "\\", "'", '"', "<", "$&", "$1", "%2F", "%zz", "..", ".", "{operation}", "{", "}", "~", "*", "(",
  "a", "Z", "7", "ä", "日本", "🎬", "\n", "\t", "\0", "\u2028", "e\u0301",
];

test("any operation id comes back unchanged", async () => {
  const ids = [...PIECES.map((piece) => `a${piece}b`), ...PIECES.map((piece) => `${piece}x`), ...PIECES.map((piece) => `x${piece}`), "a+b", "a/b", "50%", "Straße 7", "render:" + UNKNOWN_ID];
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let count = 0; count < 60; count++) ids.push(Array.from({ length: 1 + random(6) }, () => PIECES[random(PIECES.length)]).join("") + "i");
  let tried = 0;
  for (const [index, id] of ids.entries()) {
    for (const template of index % 3 ? [TEMPLATES[index % TEMPLATES.length]] : TEMPLATES) {
      const given = template.replaceAll("{operation}", encodeURIComponent(id));
      if (given.length > 200) continue;
      const url = await filled(template, id);
      const { href, pathname, search } = new URL(url);
      // As servers pass it: the whole URL, or path and query.
      for (const sent of [url, href, pathname + search, new URL(url)]) {
        assert.equal(parseWebhook(BODY, sent, { webhookUrl: template }).operation, id, `${JSON.stringify(id)} in ${template} as ${sent}`);
      }
      if (template.includes("?operation=")) assert.equal(parseWebhook(BODY, href).operation, id);
      tried++;
    }
  }
  assert.ok(tried > 200, `${tried}`);
});

test("a URL that differs from the template has no operation", () => {
  const webhookUrl = "https://me.test/hook/{operation}";
  for (const url of ["/other/op", "/hook", "/hook/", "/hook/op/more", "/hook/op/", "/HOOK/op", "/a/hook/op", undefined, "", "https://[", "%", "/hook?operation="]) {
    assert.equal(parseWebhook(BODY, url, { webhookUrl }).operation, undefined, String(url));
  }
  assert.equal(parseWebhook(BODY, "/hook/op", { webhookUrl }).operation, "op");
  assert.equal(parseWebhook(BODY, "/hook/7.json", { webhookUrl: "https://me.test/hook/order-{operation}" }).operation, undefined);
  assert.equal(parseWebhook(BODY, "/a/b", { webhookUrl: "https://me.test/{operation}/{operation}" }).operation, undefined, "the same operation in both places");
});

test("the last segment of a path is not an operation by itself", () => {
  for (const url of ["https://me.test/hook/op-1", "/hook/op-1", "/op-1?x=1", new URL("https://me.test/hooks/creatify")]) {
    assert.deepEqual(parseWebhook(BODY, url), { jobId: UNKNOWN_ID, status: "done", output: "https://v" });
  }
  assert.equal(parseWebhook(BODY, "/hook/creatify?operation=a%20b%2Bc").operation, "a b+c");
});

test("a body is read as text, as bytes of every kind and as parsed JSON", () => {
  const text = JSON.stringify({ ...BODY, video_output: "https://v/ü" });
  const bytes = new TextEncoder().encode(text);
  const padded = new Uint8Array(bytes.length + 8);
  padded.set(bytes, 4);
  for (const body of [text, Buffer.from(text), bytes, bytes.buffer, new DataView(bytes.buffer), padded.subarray(4, -4), JSON.parse(text), structuredClone(bytes.buffer)]) {
    assert.deepEqual(parseWebhook(body), { jobId: UNKNOWN_ID, status: "done", output: "https://v/ü" });
  }
});

test("an invalid body is refused, and so are invalid options", () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  for (const bad of [undefined, null, 7, Symbol("a"), proxy, Promise.resolve(BODY), () => {}, [], {}, "", "[]", Buffer.from("<html>"), new Uint8Array(), { id: 7, status: "done" }]) {
    assert.throws(() => parseWebhook(bad, "/hook"), { name: "InvalidRequestError", field: "body" });
  }
  for (const bad of [null, 7, "https://me.test/{operation}", Symbol("a"), proxy]) {
    assert.throws(() => parseWebhook(BODY, "/hook", bad), { name: "InvalidRequestError", field: "options" });
  }
  for (const bad of [null, 7, Symbol("a"), {}]) {
    assert.throws(() => parseWebhook(BODY, "/hook", { webhookUrl: bad }), { name: "InvalidRequestError", field: "webhookUrl" });
  }
  for (const bad of [7, Symbol("a"), proxy, null, {}]) assert.equal(parseWebhook(BODY, bad).jobId, UNKNOWN_ID, "a bad URL is ignored");
});

test("the placeholder is allowed in path and query only", async () => {
  const { jobs, sent } = client();
  for (const webhook of [
    "https://{operation}.test/hook", "https://{operation}/hook", "https://me.test:{operation}/", "https://{operation}@me.test/hook", "https://me.test/hook#{operation}",
    "https://me.test#{operation}/", "{operation}://me.test/", "https:{operation}", "https:/{operation}", "https:\\\\{operation}\\hook", "https:\\\\me.test\\hook#{operation}", "{operation}",
    "https://me.test\\@{operation}/hook", "https://me.test/hook?a=1#{operation}",
  ]) {
    const error = await rejection(jobs.submit(request(webhook), { operation: "evil.test" }));
    assert.deepEqual([error.name, error.field], ["InvalidRequestError", "webhook_url"], webhook);
  }
  assert.deepEqual(sent, []);
});

test("an operation that URLs normalize away is refused in a path and comes back from a query", async () => {
  const { jobs, sent } = client();
  for (const operation of [".", ".."]) {
    for (const webhook of ["https://me.test/hook/{operation}", "https://me.test/{operation}/done?o={operation}", "https://me.test/hook/{operation}#done"]) {
      const error = await rejection(jobs.submit(request(webhook), { operation }));
      assert.deepEqual([error.name, error.field], ["InvalidRequestError", "webhook_url"]);
      assert.match(error.message, /query/);
    }
    const url = await filled("https://me.test/hook?operation={operation}", operation);
    assert.equal(parseWebhook(BODY, url).operation, operation);
  }
  assert.deepEqual(sent, []);
});

test("the limit of 200 characters applies to the filled-in URL", async () => {
  const start = "https://me.test/hook?operation=";
  const operation = (length) => "x".repeat(length - start.length);
  assert.equal((await filled(`${start}{operation}`, operation(200))).length, 200);
  for (const [webhook, id] of [[`${start}{operation}`, operation(201)], [`${start}{operation}`, "ä".repeat(60)], [`${start}${"y".repeat(170)}`, "op"]]) {
    const error = await rejection(client().jobs.submit(request(webhook), { operation: id }));
    assert.deepEqual([error.name, error.field], ["InvalidRequestError", "webhook_url"]);
    assert.match(error.message, /200/);
  }
  // The placeholder is longer than the id.
  const long = `${start}{operation}&x=${"y".repeat(195 - start.length - 4)}`;
  assert.ok(long.length > 200);
  assert.ok((await filled(long, "op")).length < 200);
});

test("an operation id is 1 to 255 characters of whole Unicode", async () => {
  const { jobs, posts } = client();
  for (const bad of ["", "x".repeat(256), "\ud800", "a\udc00b", "🎬".slice(0, 1), "x".repeat(254) + "🎬", null, 7, {}]) {
    for (const call of [() => jobs.submit(request(), { operation: bad }), () => jobs.render(UNKNOWN_ID, undefined, { operation: bad }), () => jobs.settle(bad)]) {
      const error = await rejection(call());
      assert.deepEqual([error.name, error.field], ["InvalidRequestError", "operation"], JSON.stringify(bad));
    }
  }
  for (const good of ["x", "x".repeat(255), "🎬", "日本"]) await settles(jobs.submit(request(), { operation: good }));
  assert.equal(posts().length, 4);
});

test("generated operations are random and different, also without randomUUID", async () => {
  const { crypto } = globalThis;
  const { random } = Math;
  const seen = new Set();
  try {
    Math.random = () => 0.5; // must not be used
    for (const replaced of [crypto, { getRandomValues: (bytes) => crypto.getRandomValues(bytes) }]) {
      Object.defineProperty(globalThis, "crypto", { value: replaced, configurable: true, writable: true });
      for (let count = 0; count < 20; count++) {
        const url = await filled("https://me.test/hook?operation={operation}", undefined);
        const { operation } = parseWebhook(BODY, url);
        assert.match(operation, /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
        seen.add(operation);
      }
    }
  } finally {
    Math.random = random;
    Object.defineProperty(globalThis, "crypto", { value: crypto, configurable: true, writable: true });
  }
  assert.equal(seen.size, 40);
});

test("a lost charge is settled by the job whose URL carries its operation, for any id", async () => {
  const operation = "Straße 7/b + 50% #1 {operation} $&";
  const webhook = "https://me.test/hook?operation={operation}";
  const listed = [];
  const { jobs } = client({ listJobs: async () => listed }, ({ method, body }) => {
    if (method === "GET") return answer(200, listed[0]);
    listed.push(jobOf(UNKNOWN_ID, { ...body, created_at: new Date().toISOString() }));
    return answer(502, "lost");
  });
  assert.equal((await rejection(jobs.submit(request(webhook), { operation }))).name, "ChargeUnknownError");
  const settled = await settles(jobs.settle(operation));
  assert.deepEqual([settled.state, settled.jobId], ["bound", UNKNOWN_ID]);
});
