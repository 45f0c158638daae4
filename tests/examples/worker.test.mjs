// Tests of the worker example: a relay that forwards listed requests only, charges an operation id once, and reveals no key.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import ts from "typescript";
import { PATIENCE, readEnv, settleIn, startSandbox } from "./harness.mjs";

const ID = `id-${randomUUID()}`;
const KEY = `key-${randomUUID()}`;
const WASM = "node_modules/custom-template-jobs/custom_template_jobs_bg.wasm";

let example;
let config;
let modules;
let library;
let sandbox;
let storage;
let relay;
let listed;
let unlisted;

before(async () => {
  [example, sandbox] = await Promise.all([settleIn("worker"), startSandbox("--speed", "20", "--key", `${ID}:${KEY}`)]);
  const { directory } = example;
  const read = (file) => readFile(join(directory, file));
  ({ config } = ts.parseConfigFileTextToJson("wrangler.jsonc", await readFile(join(directory, "wrangler.jsonc"), "utf8")));
  const { outputFiles } = await build({
    absWorkingDir: directory, entryPoints: [config.main], bundle: true, write: false, format: "esm", target: "es2022", logLevel: "error",
    conditions: ["workerd", "worker", "browser"], external: ["cloudflare:*", "*.wasm"],
  });
  modules = [
    { type: "ESModule", path: "main.js", contents: outputFiles[0].text },
    { type: "CompiledWasm", path: "custom_template_jobs_bg.wasm", contents: await read(WASM) },
  ];
  library = await import(pathToFileURL(join(directory, "node_modules/custom-template-jobs/node.js")));
  storage = await mkdtemp(join(tmpdir(), "example-storage-"));
  [listed] = config.vars.TEMPLATES;
  unlisted = (await sandbox.templates()).map(({ template_id }) => template_id).find((id) => !config.vars.TEMPLATES.includes(id));
  relay = await startRelay({ DEV_CALLER: "somebody" });
});

after(async () => {
  await relay?.stop();
  await sandbox?.stop();
  await example?.leave();
  if (storage) await rm(storage, { recursive: true, force: true });
});

beforeEach(async () => {
  await sandbox.reset();
  await sandbox.faults([]);
});

/** The worker in workerd, configured as in its wrangler.jsonc, with these variables. */
async function startRelay(variables, persist = storage) {
  const worker = new Miniflare({
    cf: false, modules, compatibilityDate: config.compatibility_date, compatibilityFlags: config.compatibility_flags,
    durableObjectsPersist: persist,
    durableObjects: Object.fromEntries(config.durable_objects.bindings.map(({ name, class_name: className }) => [
      name, { className, useSQLite: config.migrations.some(({ new_sqlite_classes: classes }) => classes.includes(className)) },
    ])),
    bindings: { ...config.vars, CREATIFY_URL: sandbox.url, CREATIFY_API_ID: ID, CREATIFY_API_KEY: KEY, ...variables },
  });
  const url = new URL(await worker.ready).origin;
  return {
    url,
    stop: () => worker.dispose(),
    /** Sends a request to the relay, and asserts that the answer contains no part of the key. */
    async ask(method, path, { body, headers } = {}) {
      const answer = await fetch(`${url}${path}`, {
        method, headers, duplex: "half", signal: AbortSignal.timeout(PATIENCE),
        body: body === undefined || body instanceof ReadableStream || typeof body === "string" ? body : JSON.stringify(body),
      });
      const text = await answer.text();
      const whole = JSON.stringify([...answer.headers]) + text;
      assert.ok(!whole.includes(KEY) && !whole.includes(ID), `the key is in the answer to ${method} ${path}`);
      return { status: answer.status, headers: answer.headers, body: text ? JSON.parse(text) : undefined };
    },
  };
}

const JOBS = "/relay/api/custom_template_jobs/";
const job = (template_id = listed) => ({ template_id, variables: { headline: { type: "text", properties: { content: "Hello" } } } });
const post = (path, body, operation = randomUUID(), headers = {}) =>
  relay.ask("POST", path, { body, headers: { "content-type": "application/json", "idempotency-key": operation, ...headers } });
const charges = async () => (await sandbox.ledger()).charges;

/** Waits until `so` returns a truthy value, and returns that. */
async function until(so) {
  const patience = AbortSignal.timeout(PATIENCE);
  for (;;) {
    const found = await so();
    if (found) return found;
    await setTimeout(50, undefined, { signal: patience });
  }
}

test("the_package_in_a_page_previews_and_renders_through_it", async () => {
  const jobs = new library.TemplateJobs({ relay: `${relay.url}/relay`, journal: "memory" });
  const soon = { expectedMs: 500, maxInterval: 500 };
  const preview = await jobs.preview(job(), soon);
  assert.match(preview.preview, /^http/);
  await jobs.render(preview);
  const { video_output } = await jobs.poll(preview, { ...soon, until: "video" });
  assert.match(video_output, /^http/);
  const blocked = await jobs.previewSync(job());
  assert.match(blocked.preview, /^http/);
  const straight = await jobs.poll(await jobs.submit(job()), { ...soon, until: "video" });
  assert.match(straight.video_output, /^http/);
  jobs.close();
  assert.deepEqual((await charges()).map(({ step }) => step), ["preview", "render", "preview", "submit"]);
});

test("the_list_of_templates_has_only_the_allowed_ones", async () => {
  const { status, body } = await relay.ask("GET", "/relay/api/custom_templates/");
  assert.equal(status, 200);
  assert.deepEqual(body.map(({ template_id }) => template_id).toSorted(), config.vars.TEMPLATES.toSorted());
});

test("requests_that_are_not_allowed_are_refused_without_a_request_to_the_provider", async () => {
  const id = randomUUID();
  const large = JSON.stringify({ ...job(), name: "x".repeat(70_000) });
  const inPieces = () => new ReadableStream({
    start(controller) {
      for (let at = 0; at < large.length; at += 10_000) controller.enqueue(new TextEncoder().encode(large.slice(at, at + 10_000)));
      controller.close();
    },
  });
  const refusals = {
    "another template": [400, () => post(JOBS, job(unlisted))],
    "another template, for a preview": [400, () => post(`${JOBS}preview_async/`, job(unlisted))],
    "no template": [400, () => post(JOBS, { variables: {} })],
    "a template that is a list": [400, () => post(JOBS, job([listed]))],
    "a model, which sets the price": [400, () => post(JOBS, { ...job(), model_version: "aurora_v1" })],
    "a webhook": [400, () => post(JOBS, { ...job(), webhook_url: "https://example.com/" })],
    "no JSON": [400, () => post(JOBS, "{")],
    "a number": [400, () => post(JOBS, "7")],
    "a long body": [413, () => post(JOBS, large)],
    "a long body without a Content-Length": [413, () => post(JOBS, inPieces())],
    "a charge without an operation id": [400, () => relay.ask("POST", JOBS, { body: job() })],
    "a job of nobody": [404, () => relay.ask("GET", `${JOBS}${id}/`)],
    "a render of it": [404, () => post(`${JOBS}${id}/render/`, {})],
    "the balance": [404, () => relay.ask("GET", "/relay/api/remaining_credits/")],
    "another group of the API": [404, () => relay.ask("GET", "/relay/api/lipsyncs/")],
    "a path that climbs": [404, () => relay.ask("GET", "/relay/api/custom_templates/%2e%2e/remaining_credits/")],
    "a deletion": [404, () => relay.ask("DELETE", `${JOBS}${id}/`)],
    "a read by POST": [404, () => post("/relay/api/custom_templates/", {})],
    "the root": [404, () => relay.ask("GET", "/")],
    "a page of another origin": [403, () => post(JOBS, job(), randomUUID(), { origin: "https://elsewhere.example" })],
    "a page without an origin": [403, () => post(JOBS, job(), randomUUID(), { origin: "null" })],
  };
  for (const [what, [status, ask]] of Object.entries(refusals)) assert.equal((await ask()).status, status, what);
  assert.deepEqual(await sandbox.requests(), []);
});

test("callers_without_a_login_are_refused_without_a_request_to_the_provider", async () => {
  const closed = await startRelay({});
  try {
    for (const [method, path] of [["POST", JOBS], ["POST", `${JOBS}preview_async/`], ["GET", `${JOBS}${randomUUID()}/`], ["GET", "/relay/api/custom_templates/"]]) {
      const answer = await closed.ask(method, path, method === "POST" ? { body: job(), headers: { "idempotency-key": randomUUID() } } : {});
      assert.equal(answer.status, 401, `${method} ${path}`);
    }
    assert.deepEqual(await sandbox.requests(), []);
  } finally {
    await closed.stop();
  }
});

test("one_operation_id_is_one_charge_in_parallel_and_later", async () => {
  const operation = randomUUID();
  await sandbox.faults([{ on: "submit", kind: "delay", ms: 1_000, times: 1 }]);
  const answers = await Promise.all([1, 2, 3].map(() => post(JOBS, job(), operation)));
  answers.push(await post(JOBS, job(), operation));
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 200]);
  assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
  assert.equal((await charges()).length, 1);
});

test("one_operation_id_is_one_charge_after_a_restart_of_the_worker", async () => {
  const operation = randomUUID();
  const first = await post(JOBS, job(), operation);
  await relay.stop();
  relay = await startRelay({ DEV_CALLER: "somebody" });
  const second = await post(JOBS, job(), operation);
  assert.equal(second.body.id, first.body.id);
  assert.equal((await charges()).length, 1);
});

test("a_charge_whose_answer_was_lost_is_not_sent_again", async () => {
  const operation = randomUUID();
  await sandbox.faults([{ on: "submit", kind: "drop_after_commit", times: 1 }]);
  for (const _ of [1, 2]) assert.equal((await post(JOBS, job(), operation)).status, 502);
  assert.equal((await charges()).length, 1);
});

test("an_operation_id_of_another_request_is_refused", async () => {
  const operation = randomUUID();
  assert.equal((await post(JOBS, job(), operation)).status, 200);
  assert.equal((await post(JOBS, { ...job(), name: "Another" }, operation)).status, 422);
  assert.equal((await charges()).length, 1);
});

test("a_refusal_of_the_provider_is_passed_on", async () => {
  await sandbox.faults([{ on: "submit", kind: "status_before_commit", status: 429, headers: { "retry-after": "7" }, times: 1 }]);
  const { status, headers } = await post(JOBS, job());
  assert.equal(status, 429);
  assert.equal(headers.get("retry-after"), "7");
});

test("a_job_of_another_user_can_be_neither_read_nor_rendered", async () => {
  const { body: { id } } = await post(`${JOBS}preview_async/`, job());
  await until(async () => (await relay.ask("GET", `${JOBS}${id}/`)).body.status === "done");
  const other = await startRelay({ DEV_CALLER: "another" });
  try {
    assert.equal((await other.ask("GET", `${JOBS}${id}/`)).status, 404);
    const headers = { "idempotency-key": `render:${id}` };
    assert.equal((await other.ask("POST", `${JOBS}${id}/render/`, { body: {}, headers })).status, 404);
    assert.deepEqual((await charges()).map(({ step }) => step), ["preview"]);
  } finally {
    await other.stop();
  }
});

test("a_charge_continues_after_its_client_disconnects_and_is_returned_later", async () => {
  const operation = randomUUID();
  await sandbox.faults([{ on: "submit", kind: "delay", ms: 2_000, times: 1 }]);
  const leaving = request(`${relay.url}${JOBS}`, { method: "POST", headers: { "idempotency-key": operation } });
  leaving.on("error", () => {}).end(JSON.stringify(job()));
  const [charge] = await until(async () => (await charges()).length && charges());
  leaving.socket.resetAndDestroy();
  const { status, body } = await post(JOBS, job(), operation);
  assert.equal(status, 200);
  assert.equal(body.id, charge.job_id);
  assert.equal((await charges()).length, 1);
});

test("the_configured_origin_may_call_and_read", async () => {
  const origin = "https://page.example";
  const apart = await startRelay({ DEV_CALLER: "somebody", PAGE_ORIGIN: origin });
  try {
    const asked = await apart.ask("OPTIONS", JOBS, { headers: { origin, "access-control-request-method": "POST" } });
    assert.equal(asked.status, 204);
    assert.match(asked.headers.get("access-control-allow-headers"), /idempotency-key/);
    const { status, headers } = await apart.ask("POST", JOBS, { body: job(), headers: { origin, "idempotency-key": randomUUID() } });
    assert.equal(status, 200);
    assert.equal(headers.get("access-control-allow-origin"), origin);
    assert.equal((await apart.ask("OPTIONS", JOBS, { headers: { origin: "https://elsewhere.example" } })).status, 403);
  } finally {
    await apart.stop();
  }
});

test("the_secrets_and_variables_that_it_reads_are_those_in_its_files", async () => {
  const source = await readFile(join(example.directory, config.main), "utf8");
  const named = new Set([
    ...Object.keys(config.vars), ...config.durable_objects.bindings.map(({ name }) => name), ...Object.keys(await readEnv(join(example.directory, "sandbox.env"))),
  ]);
  const read = new Set(Array.from(source.matchAll(/\benv\.([A-Z_]+)/g), ([, name]) => name));
  assert.deepEqual([...read].toSorted(), [...named].toSorted());
});
