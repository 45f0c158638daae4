// Tests of a relay's access in Node and workerd: the key, the listed calls and templates, and clear responses to everything else.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { ID, JOBS, KEY, OTHER, TEASER, job, loadRelay } from "./harness.mjs";
import { charges, inEachRuntime, library, post, relay, requests, sandbox, withRelay } from "./stage.mjs";

test("a_relay_without_a_login_templates_or_a_store_is_not_made", async () => {
  const { createRelay, memoryStore } = await loadRelay();
  const whole = { apiId: ID, apiKey: KEY, authorize: () => null, templates: { [TEASER]: { seconds: 6 } }, store: memoryStore() };
  createRelay(whole);
  const wrong = [
    ...["apiId", "apiKey", "authorize", "templates", "store"].map((name) => [name, { ...whole, [name]: undefined }]),
    ["templates", { ...whole, templates: {} }],
    ["templates.any", { ...whole, templates: { any: false, maxSeconds: 60 } }],
    ["templates.maxSeconds", { ...whole, templates: { any: true } }],
    [`templates.${TEASER}.seconds`, { ...whole, templates: { [TEASER]: { seconds: NaN } } }],
    ["limits.maxCredits", { ...whole, limits: { maxCredits: Infinity } }],
    ["limits.maxCredit", { ...whole, limits: { maxCredit: 5 } }],
    ["limits.budgetPeriod", { ...whole, limits: { budgetPeriod: "week" } }],
    ["allow.model_version", { ...whole, allow: { model_version: true } }],
    ["origins", { ...whole, origins: ["*"] }],
    ["origins", { ...whole, origins: ["https://app.example/"] }],
    ["publicUrl", { ...whole, publicUrl: `https://app.example/${"x".repeat(150)}` }],
    ["path", { ...whole, path: "relay/" }],
    ["baseUrl", { ...whole, baseUrl: "/api" }],
    ["dev", { ...whole, dev: true }],
    ["options", undefined],
  ];
  for (const [field, options] of wrong) {
    assert.throws(() => createRelay(options), (error) => {
      assert.deepEqual([error.name, error.field], ["InvalidRequestError", field]);
      assert.ok(!error.message.includes(KEY));
      return true;
    });
  }
});

test("a_login_that_fails_or_returns_no_user_lets_nobody_in", async () => {
  const { createRelay, memoryStore } = await loadRelay();
  const { error } = console;
  console.error = () => {};
  try {
    const cases = [[null, 401], [undefined, 401], [true, 503], [{}, 503], [{ id: "" }, 503], [{ id: 7 }, 503], [{ id: "ann", maxCredits: NaN }, 503], [{ id: "ann", templates: TEASER }, 503]];
    for (const [user, status] of cases) {
      const relay = createRelay({ apiId: ID, apiKey: KEY, authorize: async () => user, templates: { any: true, maxSeconds: 60 }, store: memoryStore(), baseUrl: sandbox.url });
      const answer = await relay.fetch(new Request("http://localhost/relay/api/custom_templates/"));
      assert.equal(answer.status, status, JSON.stringify(user));
    }
    const thrown = createRelay({ apiId: ID, apiKey: KEY, authorize: () => { throw new Error("no session"); }, templates: { any: true, maxSeconds: 60 }, store: memoryStore(), baseUrl: sandbox.url });
    assert.equal((await thrown.fetch(new Request("http://localhost/relay/operations?key=a"))).status, 503);
    assert.deepEqual(await sandbox.requests(), []);
  } finally {
    console.error = error;
  }
});

inEachRuntime(() => {
  test("a_page_previews_renders_and_submits_through_it", async () => {
    const jobs = new library.TemplateJobs({ relay: `${relay.url}/relay`, journal: "memory", headers: { authorization: "Bearer ann" } });
    const soon = { expectedMs: 200, maxInterval: 200 };
    const preview = await jobs.preview(job(), soon);
    const video = await jobs.render(preview).wait(soon);
    assert.match(video.video_output, /^http/);
    assert.match((await jobs.previewSync(job(OTHER))).preview, /^http/);
    assert.match((await jobs.submit(job()).wait(soon)).video_output, /^http/);
    assert.deepEqual((await jobs.templates()).map(({ template_id }) => template_id).toSorted(), [TEASER, OTHER]);
    jobs.close();
    assert.deepEqual((await charges()).map(({ step }) => step), ["preview", "render", "preview", "submit"]);
  });

  test("what_it_does_not_list_is_refused_before_the_provider_gets_a_request", async () => {
    const id = randomUUID();
    const large = JSON.stringify({ ...job(), variables: { headline: { type: "text", properties: { content: "x".repeat(10_000_000) } } } });
    const inPieces = () => new ReadableStream({
      start(controller) {
        for (let at = 0; at < 1_000_000; at += 50_000) controller.enqueue(new TextEncoder().encode(large.slice(at, at + 50_000)));
        controller.close();
      },
    });
    const twice = `{"template_id":"${OTHER}","variables":{},"template_id":"${TEASER}"}`;
    const hidden = `{"template_id":"${OTHER}","variables":{},"template\\u005fid":"${TEASER}"}`;
    const refusals = {
      "another template": [400, () => post(JOBS, job(randomUUID()))],
      "another template, for a preview": [400, () => post(`${JOBS}preview_async/`, job(randomUUID()))],
      "no template": [400, () => post(JOBS, { variables: {} })],
      "a template that is a list": [400, () => post(JOBS, job([TEASER]))],
      "a template with a prototype's name": [400, () => post(JOBS, job("constructor"))],
      "a webhook": [400, () => post(JOBS, { ...job(), webhook_url: "https://example.com/" })],
      "seconds": [400, () => post(JOBS, { ...job(), seconds: 1 })],
      "a field that nobody knows": [400, () => post(JOBS, { ...job(), quality: "4k" })],
      "a model": [400, () => post(JOBS, { ...job(), model_version: "aurora_v1" })],
      "a name": [400, () => post(JOBS, { ...job(), name: "Mine" })],
      "a hidden job": [400, () => post(JOBS, { ...job(), is_hidden: true })],
      "a prototype": [400, () => post(JOBS, `{"__proto__":{"template_id":"${TEASER}"},"variables":{}}`)],
      "no JSON": [400, () => post(JOBS, "{")],
      "a number": [400, () => post(JOBS, "7")],
      "an array": [400, () => post(JOBS, "[]")],
      "bytes that are no text": [400, () => post(JOBS, "x", randomUUID(), { body: new ReadableStream({ start: (c) => (c.enqueue(new Uint8Array([0xff, 0xfe])), c.close()) }) })],
      "a member that is there twice": [400, () => post(JOBS, twice)],
      "a member that is there twice, once escaped": [400, () => post(JOBS, hidden)],
      "100,000 levels": [400, () => post(JOBS, `{"template_id":"${TEASER}","variables":${"[".repeat(100_000)}${"]".repeat(100_000)}}`)],
      "100,000 levels of objects": [413, () => post(JOBS, `{"template_id":"${TEASER}","variables":${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}}`)],
      "10 MB": [413, () => post(JOBS, large)],
      "a long body that does not give its length": [413, () => post(JOBS, "", randomUUID(), { body: inPieces() })],
      "a charge without a key": [400, () => relay.ask("POST", JOBS, { body: job() })],
      "a key that is too long": [400, () => post(JOBS, job(), "x".repeat(256))],
      "a key that is no percent-encoding": [400, () => relay.ask("POST", JOBS, { body: job(), headers: { "idempotency-key": "50%" } })],
      "a job of nobody": [404, () => relay.ask("GET", `${JOBS}${id}/`)],
      "a render of it": [404, () => post(`${JOBS}${id}/render/`, {})],
      "the balance": [404, () => relay.ask("GET", "/relay/api/remaining_credits/")],
      "another group of the API": [404, () => relay.ask("GET", "/relay/api/lipsyncs/")],
      "an encoded slash": [404, () => relay.ask("GET", "/relay/api%2Fcustom_templates/")],
      "an encoded dot segment": [404, () => relay.ask("GET", "/relay/api/custom_templates/%2e%2e/remaining_credits/")],
      "a doubled slash": [404, () => relay.ask("GET", "/relay/api//custom_templates/")],
      "another case": [404, () => relay.ask("GET", "/Relay/API/custom_templates/")],
      "a slash that is missing": [404, () => relay.ask("GET", "/relay/api/custom_templates")],
      "a backslash": [404, () => relay.ask("GET", "/relay/api/custom_templates/%5c")],
      "a null byte": [404, () => relay.ask("GET", "/relay/api/custom_templates/%00")],
      "a deletion": [405, () => relay.ask("DELETE", `${JOBS}${id}/`)],
      "a read by POST": [405, () => post("/relay/api/custom_templates/", {})],
      "the root": [404, () => relay.ask("GET", "/")],
      "an operation without a key": [400, () => relay.ask("GET", "/relay/operations")],
      "an operation with two keys": [400, () => relay.ask("GET", "/relay/operations?key=a&key=b")],
      "nobody": [401, () => post(JOBS, job(), randomUUID(), { user: "" })],
      "nobody, for an operation": [401, () => relay.ask("GET", "/relay/operations?key=a", { user: "" })],
    };
    for (const [what, [status, ask]] of Object.entries(refusals)) assert.equal((await ask()).status, status, what);
    assert.deepEqual(await requests(), []);
  });

  test("what_is_allowed_is_forwarded", async () => {
    await withRelay({ allow: { model_version: ["aurora_v1_fast"], name: true, is_hidden: true } }, async (open) => {
      const body = { ...job(), model_version: "aurora_v1_fast", name: "Mine", is_hidden: true };
      const { status, body: made } = await open.ask("POST", JOBS, { body, key: randomUUID() });
      assert.equal(status, 200);
      assert.deepEqual([made.name, made.model_version, made.is_hidden], ["Mine", "aurora_v1_fast", true]);
      assert.equal((await open.ask("POST", JOBS, { body: { ...body, model_version: "aurora_v1" }, key: randomUUID() })).status, 400);
      assert.deepEqual((await charges()).map(({ credits }) => credits), [10]);
    });
  });

  test("a_user_may_use_no_template_but_their_own", async () => {
    const user = `one {"templates":["${OTHER}"]}`;
    assert.equal((await post(JOBS, job(), randomUUID(), { user })).status, 400);
    assert.equal((await post(JOBS, job(OTHER), randomUUID(), { user })).status, 200);
    const { body } = await relay.ask("GET", "/relay/api/custom_templates/", { user });
    assert.deepEqual(body.map(({ template_id }) => template_id), [OTHER]);
  });

  test("answers_have_listed_fields_only", async () => {
    const { body } = await post(JOBS, job());
    const fields = ["id", "status", "progress", "preview", "video_output", "failed_reason", "credits_used", "duration", "variables", "media_job", "created_at", "updated_at", "name", "model_version", "is_hidden"];
    assert.deepEqual(Object.keys(body).filter((field) => !fields.includes(field)), []);
    const { body: templates } = await relay.ask("GET", "/relay/api/custom_templates/");
    assert.deepEqual(Object.keys(templates[0]).toSorted(), ["aspect_ratio", "created_at", "name", "preview", "template_id", "updated_at"]);
  });

  test("pages_of_other_origins_are_refused_and_listed_ones_can_read_every_answer", async () => {
    const origin = "https://page.example";
    await withRelay({ origins: [origin] }, async (apart) => {
      const asks = {
        "a preflight": [204, () => apart.ask("OPTIONS", JOBS, { user: "", headers: { origin, "access-control-request-method": "POST" } })],
        "a charge": [200, () => apart.ask("POST", JOBS, { body: job(), key: randomUUID(), headers: { origin } })],
        "a refusal": [400, () => apart.ask("POST", JOBS, { body: "[", key: randomUUID(), headers: { origin } })],
        "a long body": [413, () => apart.ask("POST", JOBS, { body: "x".repeat(300_000), key: randomUUID(), headers: { origin } })],
        "deep JSON": [400, () => apart.ask("POST", JOBS, { body: "[".repeat(100_000), key: randomUUID(), headers: { origin } })],
        "no login": [401, () => apart.ask("POST", JOBS, { user: "", body: job(), key: randomUUID(), headers: { origin } })],
        "an unknown path": [404, () => apart.ask("GET", "/relay/api/", { headers: { origin } })],
        "another method": [405, () => apart.ask("PUT", JOBS, { body: "", headers: { origin } })],
      };
      for (const [what, [status, ask]] of Object.entries(asks)) {
        const answer = await ask();
        assert.equal(answer.status, status, what);
        assert.equal(answer.headers.get("access-control-allow-origin"), origin, what);
        assert.equal(answer.headers.get("vary"), "origin", what);
      }
      const asked = await apart.ask("OPTIONS", JOBS, { user: "", headers: { origin, "access-control-request-method": "POST" } });
      assert.match(asked.headers.get("access-control-allow-headers"), /idempotency-key/);
      await sandbox.reset();
      for (const foreign of ["https://elsewhere.example", "null", "http://page.example", "https://page.example.evil.example"]) {
        for (const method of ["POST", "OPTIONS"]) {
          const { status, headers } = await apart.ask(method, JOBS, { ...(method === "POST" && { body: job() }), key: randomUUID(), headers: { origin: foreign } });
          assert.deepEqual([status, headers.get("access-control-allow-origin")], [403, null], foreign);
        }
      }
      assert.equal((await apart.ask("GET", "/relay/api/custom_templates/", { headers: { "sec-fetch-site": "cross-site" } })).status, 403);
      assert.deepEqual(await requests(), []);
    });
  });

  test("what_the_provider_refuses_stays_a_refusal", async () => {
    await sandbox.faults([{ on: "submit", kind: "status_before_commit", status: 429, headers: { "retry-after": "7" }, times: 1 }]);
    const key = randomUUID();
    const refused = await post(JOBS, job(), key);
    assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "7"]);
    assert.equal((await relay.ask("GET", `/relay/operations?key=${key}`)).body.state, "rejected");
    assert.equal((await post(JOBS, job(), key)).status, 200);
    const faulty = { variables: { headline: ["Too long."] } };
    await sandbox.faults([{ on: "submit", kind: "status_before_commit", status: 400, body: JSON.stringify(faulty), headers: { "content-type": "application/json" }, times: 1 }]);
    const wrong = await post(JOBS, job());
    assert.deepEqual([wrong.status, wrong.body["variables.headline"]], [400, ["Too long."]]);
    await sandbox.faults([{ on: "*", kind: "status_before_commit", status: 401, times: 2 }]);
    assert.deepEqual([(await post(JOBS, job())).status, (await relay.ask("GET", "/relay/api/custom_templates/")).status], [403, 403]);
  });
});
