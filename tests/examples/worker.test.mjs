// Tests of the example's worker: with a login it is a relay for pages; without one it refuses everybody. The rules of a relay are
// tested in `tests/relay`.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
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
let library;
let sandbox;
let storage;
let relay;
let listed;

before(async () => {
  [example, sandbox] = await Promise.all([settleIn("worker"), startSandbox("--speed", "20", "--key", `${ID}:${KEY}`)]);
  const { directory } = example;
  ({ config } = ts.parseConfigFileTextToJson("wrangler.jsonc", await readFile(join(directory, "wrangler.jsonc"), "utf8")));
  library = await import(pathToFileURL(join(directory, "node_modules/custom-template-jobs/node.js")));
  storage = await mkdtemp(join(tmpdir(), "example-storage-"));
  [listed] = Object.keys(config.vars.TEMPLATES);
  relay = await startRelay(LOGIN);
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

const NO_LOGIN = "return null;";
/** A login that a user might write. */
const LOGIN = 'const id = request.headers.get("x-user");\n  return id ? { id } : null;';

/** The worker with that login in workerd, set up as its wrangler.jsonc says. */
async function startRelay(login) {
  const { directory } = example;
  const source = await readFile(join(directory, config.main), "utf8");
  assert.equal(source.split(NO_LOGIN).length, 2);
  await writeFile(join(directory, "src/with-login.js"), source.replace(NO_LOGIN, () => login));
  const { outputFiles } = await build({
    absWorkingDir: directory, entryPoints: ["src/with-login.js"], bundle: true, write: false, format: "esm", target: "es2022", logLevel: "error",
    conditions: ["workerd", "worker", "browser"], external: ["cloudflare:*", "*.wasm"],
  });
  const worker = new Miniflare({
    cf: false, compatibilityDate: config.compatibility_date, compatibilityFlags: config.compatibility_flags,
    modules: [
      { type: "ESModule", path: "main.js", contents: outputFiles[0].text },
      { type: "CompiledWasm", path: "custom_template_jobs_bg.wasm", contents: await readFile(join(directory, WASM)) },
    ],
    durableObjectsPersist: storage,
    durableObjects: Object.fromEntries(config.durable_objects.bindings.map(({ name, class_name: className }) => [
      name, { className, useSQLite: config.migrations.some(({ new_sqlite_classes: classes }) => classes.includes(className)) },
    ])),
    bindings: { ...config.vars, CREATIFY_URL: sandbox.url, CREATIFY_API_ID: ID, CREATIFY_API_KEY: KEY },
  });
  const url = new URL(await worker.ready).origin;
  return {
    url,
    stop: () => worker.dispose(),
    /** Asks the relay, and holds every answer to the first rule: no part of the key. */
    async ask(method, path, { body, key, user = "ann" } = {}) {
      const answer = await fetch(`${url}${path}`, {
        method, signal: AbortSignal.timeout(PATIENCE), body: body && JSON.stringify(body),
        headers: { ...(user && { "x-user": user }), ...(key && { "idempotency-key": key }) },
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
const charges = async () => (await sandbox.ledger()).charges;

test("the_package_in_a_page_previews_and_renders_through_it", async () => {
  const jobs = new library.TemplateJobs({ relay: `${relay.url}/relay`, journal: "memory", headers: { "x-user": "ann" } });
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

test("until_its_login_is_written_everybody_is_refused_and_the_provider_gets_no_request", async () => {
  const closed = await startRelay(NO_LOGIN);
  try {
    assert.equal((await closed.ask("POST", JOBS, { body: job(), key: randomUUID() })).status, 401);
    assert.equal((await closed.ask("GET", "/relay/api/custom_templates/")).status, 401);
    assert.deepEqual(await sandbox.requests(), []);
  } finally {
    await closed.stop();
  }
});

test("its_templates_are_those_that_wrangler_jsonc_lists", async () => {
  const { body } = await relay.ask("GET", "/relay/api/custom_templates/");
  assert.deepEqual(body.map(({ template_id }) => template_id).toSorted(), Object.keys(config.vars.TEMPLATES).toSorted());
  assert.equal((await relay.ask("POST", JOBS, { body: job(randomUUID()), key: randomUUID() })).status, 400);
});

test("a_user_has_the_limits_that_it_sets_and_no_job_of_another_user", async () => {
  const answers = await Promise.all(Array.from({ length: 5 }, () => relay.ask("POST", JOBS, { body: job(), key: randomUUID(), user: "bob" })));
  assert.deepEqual(answers.map(({ status }) => status).toSorted(), [200, 200, 200, 429, 429]);
  const { body: { id } } = answers.find(({ status }) => status === 200);
  assert.equal((await relay.ask("GET", `${JOBS}${id}/`, { user: "bob" })).status, 200);
  assert.equal((await relay.ask("GET", `${JOBS}${id}/`)).status, 404);
});

test("one_key_is_one_charge_after_the_worker_was_started_again", async () => {
  const key = randomUUID();
  const first = await relay.ask("POST", JOBS, { body: job(), key, user: "carol" });
  await relay.stop();
  relay = await startRelay(LOGIN);
  const second = await relay.ask("POST", JOBS, { body: job(), key, user: "carol" });
  assert.equal(second.body.id, first.body.id);
  assert.equal((await charges()).length, 1);
});

test("the_secrets_and_variables_that_it_reads_are_those_that_its_files_name", async () => {
  const source = await readFile(join(example.directory, config.main), "utf8");
  const named = new Set([
    ...Object.keys(config.vars), ...config.durable_objects.bindings.map(({ name }) => name), ...Object.keys(await readEnv(join(example.directory, "sandbox.env"))),
  ]);
  const read = new Set(Array.from(source.matchAll(/\benv\.([A-Z_]+)/g), ([, name]) => name));
  assert.deepEqual([...read].toSorted(), [...named].toSorted());
});
