// Tests of the package at the edge: in workerd, at an old and a recent compatibility date, and in Vercel's edge runtime.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { EdgeRuntime } from "edge-runtime";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { PATIENCE, packageDirectory, scene, settles, startStage } from "./harness.mjs";
import { INLINE, MAIN, pinned, seen } from "./seen.mjs";

const OLD = "2023-03-01";
const RECENT = "2026-04-01";
/** From the second date on, workerd compiles bytes at the start of a worker. */
const [LAST_WITHOUT_START, FIRST_WITH_START] = ["2025-05-31", "2025-06-01"];
const WASM = "custom_template_jobs_bg.wasm";

let stage;
before(async () => {
  stage = await startStage();
});
after(() => stage.stop());

/** Bundles `main.js` of a scene as a platform's tools do. */
async function bundled(name, main, options) {
  const directory = await scene(name, { "main.js": main });
  const { outputFiles } = await build({
    absWorkingDir: directory, entryPoints: ["main.js"], bundle: true, write: false, format: "esm", target: "es2022", logLevel: "error", ...options,
  });
  return outputFiles[0].text;
}

/** Runs a worker in workerd with its .wasm as a module, as wrangler uploads it. */
async function withWorker(name, main, compatibilityDate, use) {
  const contents = await bundled(name, main, { conditions: ["workerd", "worker", "browser"], external: ["*.wasm"] });
  const worker = new Miniflare({
    compatibilityDate,
    cf: false,
    modules: [
      { type: "ESModule", path: "main.js", contents },
      { type: "CompiledWasm", path: WASM, contents: await readFile(join(packageDirectory, WASM)) },
    ],
  });
  try {
    await use(String(await worker.ready));
  } finally {
    await worker.dispose();
  }
}

const answering = (entry) => `
  import * as library from "${entry}";
  import { story } from "./story.mjs";
  export default {
    fetch: () => story(library, ${stage.script}).then((end) => Response.json(end), ({ name, message }) => Response.json({ name, message })),
  };`;

const asked = async (url, init) => (await fetch(url, { signal: AbortSignal.timeout(PATIENCE), ...init })).json();

const seenInWorkerd = async (entry, date) => seen("Cloudflare Workers", `workerd ${await pinned("workerd")}`, entry, date);

for (const date of [OLD, RECENT]) {
  test(`workerd_of_${date}_runs_it`, async () => {
    await withWorker(`workerd-${date}`, answering(MAIN), date, (url) => stage.plays(() => asked(url)));
    await seenInWorkerd(MAIN, date);
  });
}

for (const date of [FIRST_WITH_START, RECENT]) {
  test(`workerd_of_${date}_runs_the_inline_entry`, async () => {
    await withWorker(`workerd-inline-${date}`, answering(INLINE), date, (url) => stage.plays(() => asked(url)));
    await seenInWorkerd(INLINE, date);
  });
}

/** Each request to a worker gets an error with the cause and the entry to use. */
const refusesBytes = (name, main, date) =>
  withWorker(name, main, date, async (url) => {
    for (const _ of [1, 2]) {
      const { name, message } = await asked(url);
      assert.equal(name, "LoadError");
      assert.match(message, /disallowed by embedder/);
      assert.match(message, /import the \.wasm as a module, as the entry custom-template-jobs does/);
      assert.doesNotMatch(message, /beside the script|Content-Security-Policy/);
    }
  });

test("the_inline_entry_rejects_with_load_error_where_workerd_compiles_no_bytes_at_its_start", () =>
  refusesBytes("workerd-inline-old", answering(INLINE), LAST_WITHOUT_START));

test("init_with_bytes_rejects_with_load_error_in_a_handler_of_workerd", async () => {
  const base64 = (await readFile(join(packageDirectory, WASM))).toString("base64");
  const main = `
    import { init } from "custom-template-jobs/slim";
    const bytes = () => Uint8Array.from(atob("${base64}"), (character) => character.charCodeAt(0));
    export default {
      fetch: () => init(bytes()).then(() => Response.json({}), ({ name, message }) => Response.json({ name, message })),
    };`;
  await refusesBytes("workerd-bytes", main, RECENT);
});

/** A worker with one client for all requests: it submits, polls the job in `?poll=`, or returns pending operations. */
const sharing = ({ url, template }, options = "{ waitUntil: (promise) => ctx.waitUntil(promise) }") => `
  import { TemplateJobs, text } from "custom-template-jobs";
  const jobs = new TemplateJobs({ baseUrl: "${url}", apiId: "sandbox", apiKey: "sandbox" });
  const request = { template_id: "${template}", variables: { title: text("Hello") } };
  const answer = (params, ctx) => {
    if (params.has("pending")) return jobs.pending();
    if (params.has("poll")) return jobs.poll(params.get("poll"), { until: "video", expectedMs: 500, maxInterval: 500 });
    return jobs.submit(request, ${options});
  };
  export default {
    fetch: async ({ url }, env, ctx) => Response.json(await answer(new URL(url).searchParams, ctx)),
  };`;

/** Sends a request; the result disconnects before there is an answer. */
function visitor(url) {
  const asking = get(url);
  const gone = new Promise((resolve) => {
    asking.on("response", () => resolve("answered")).on("error", () => resolve("left"));
  });
  return async () => {
    // By a reset, since workerd does not notice an orderly end while it has nothing to write.
    asking.socket.resetAndDestroy();
    assert.equal(await gone, "left");
  };
}

/** Waits until `so` returns a truthy value, and returns that. */
async function until(so) {
  const patience = AbortSignal.timeout(PATIENCE);
  for (;;) {
    const found = await so();
    if (found) return found;
    await setTimeout(50, undefined, { signal: patience });
  }
}

for (const date of [OLD, RECENT]) {
  test(`in_workerd_of_${date}_a_poll_settles_after_another_client_of_the_same_job_has_disconnected`, async () => {
    // In real time, so that the job ends when the test advances the clock.
    const slow = await startStage("--speed", "1");
    try {
      await withWorker(`workerd-left-${date}`, sharing(slow.setting), date, async (url) => {
        const { id } = await asked(url);
        const polls = async () => (await slow.requests()).filter(({ method, path }) => method === "GET" && path.includes(id)).length;
        const leave = visitor(`${url}?poll=${id}`);
        await until(async () => (await polls()) >= 1);
        const second = asked(`${url}?poll=${id}`);
        await until(async () => (await polls()) >= 4);
        await leave();
        await slow.advance(600);
        const { status, video_output } = await second;
        assert.equal(status, "done");
        assert.match(video_output, /^http/);
      });
    } finally {
      await slow.stop();
    }
  });

  test(`in_workerd_of_${date}_a_charge_with_wait_until_continues_after_its_client_has_disconnected`, () => continues(`workerd-charge-${date}`, date));
}

// From about 2025-08 on the runtime does so by itself, depending on the version of workerd and not on the date.
test("in_workerd_a_charge_without_wait_until_continues_after_its_client_has_disconnected", () =>
  continues("workerd-own", RECENT, "{}"));

async function continues(name, date, options) {
  await stage.reset();
  await stage.faults([{ on: "submit", kind: "delay", ms: 4_000, times: 1 }]);
  await withWorker(name, sharing(stage.setting, options), date, async (url) => {
    const leave = visitor(url);
    const [charge] = await until(async () => {
      const { charges } = await stage.ledger();
      return charges.length > 0 && charges;
    });
    await leave();
    const [operation] = await until(async () => {
      const operations = await asked(`${url}?pending`);
      return operations.every(({ state }) => state !== "sending") && operations;
    });
    assert.equal(operation.state, "bound");
    assert.equal(operation.jobId, charge.job_id);
  });
}

test("in_workerd_one_client_serves_200_parallel_requests", () =>
  withWorker("workerd-many", sharing(stage.setting), RECENT, async (url) => {
    await stage.reset();
    const { id } = await asked(url);
    const jobs = await Promise.all(Array.from({ length: 200 }, () => asked(`${url}?poll=${id}`)));
    assert.deepEqual(new Set(jobs.map(({ status }) => status)), new Set(["done"]));
    assert.equal((await stage.ledger()).charges.length, 1);
  }));

const listening = (entry) => `
  import * as library from "${entry}";
  import { story } from "./story.mjs";
  addEventListener("fetch", (event) => event.respondWith(story(library, ${stage.script}).then((end) => Response.json(end))));`;

const seenAtVercel = async (entry, how) => seen("Vercel's edge runtime", `edge-runtime ${await pinned("edge-runtime")}`, entry, how);

const edgeConditions = ["edge-light", "worker", "browser"];

test("the_edge_runtime_runs_the_entry_with_a_precompiled_wasm", async () => {
  // As Vercel's builder does: an import with ?module becomes a global of the function.
  const ahead = {
    name: "module",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\.wasm\?module$/ }, ({ path }) => ({ path, namespace: "ahead" }));
      onLoad({ filter: /./, namespace: "ahead" }, () => ({ contents: "export default globalThis.wasm_ahead;" }));
    },
  };
  const main = listening(MAIN);
  const initialCode = await bundled("edge-module", main, { conditions: edgeConditions, format: "iife", plugins: [ahead] });
  const module = await WebAssembly.compile(await readFile(join(packageDirectory, WASM)));
  const runtime = new EdgeRuntime({ initialCode, extend: (context) => Object.assign(context, { wasm_ahead: module }) });
  await stage.plays(async () => (await settles(runtime.dispatchFetch("http://localhost/"), PATIENCE)).json());
  await seenAtVercel(MAIN, "`?module`, compiled ahead");
});

test("the_edge_runtime_runs_the_inline_entry", async () => {
  const main = listening(INLINE);
  const runtime = new EdgeRuntime({ initialCode: await bundled("edge-inline", main, { conditions: edgeConditions, format: "iife" }) });
  await stage.plays(async () => (await settles(runtime.dispatchFetch("http://localhost/"), PATIENCE)).json());
  await seenAtVercel(INLINE, "bytes");
});

/** A Durable Object that charges under one operation id, with the journal in its storage. */
const account = ({ url, template }) => `
  import { TemplateJobs, text } from "custom-template-jobs";
  import { durableObjectJournal } from "custom-template-jobs/durable-object";
  export class Account {
    constructor({ storage }) {
      this.jobs = new TemplateJobs({ baseUrl: "${url}", apiId: "sandbox", apiKey: "sandbox", journal: durableObjectJournal(storage) });
    }
    fetch({ url }) {
      const request = { template_id: "${template}", variables: { title: text("Hello") } };
      const call = url.endsWith("pending") ? this.jobs.pending() : this.jobs.submit(request, { operation: "order-7" });
      return call.then((end) => Response.json(end), ({ name }) => Response.json({ name }));
    }
  }
  export default { fetch: (request, { ACCOUNTS }) => ACCOUNTS.get(ACCOUNTS.idFromName("one")).fetch(request) };`;

test("a_charge_whose_isolate_is_killed_before_its_verdict_stays_in_the_journal_and_is_not_sent_again", async () => {
  const contents = await bundled("durable-object", account(stage.setting), { conditions: ["workerd", "worker", "browser"], external: ["*.wasm"] });
  const durableObjectsPersist = await scene("durable-object-storage", {});
  const start = async () => {
    const worker = new Miniflare({
      compatibilityDate: RECENT,
      cf: false,
      durableObjects: { ACCOUNTS: "Account" },
      durableObjectsPersist,
      modules: [
        { type: "ESModule", path: "main.js", contents },
        { type: "CompiledWasm", path: WASM, contents: await readFile(join(packageDirectory, WASM)) },
      ],
    });
    return { worker, url: String(await worker.ready) };
  };
  const told = async (url) => (await settles(fetch(url), PATIENCE)).json();
  const charges = async () => (await stage.ledger()).charges.length;

  await stage.reset();
  await stage.faults([{ on: "submit", kind: "stall" }]);
  const first = await start();
  const lost = visitor(first.url);
  await until(async () => (await stage.requests()).length > 0);
  await first.worker.dispose();
  await lost().catch(() => {});
  await stage.faults([]);
  const before = await charges();

  const second = await start();
  try {
    const [operation, ...others] = await told(`${second.url}pending`);
    assert.deepEqual([operation.operation, operation.state, others.length], ["order-7", "unknown", 0]);
    assert.deepEqual(await told(second.url), { name: "ChargeUnknownError" });
    assert.equal(await charges(), before);
  } finally {
    await second.worker.dispose();
  }
});

/** A worker whose Durable Object is `Account` of the script. */
async function accounts(name, script) {
  const contents = await bundled(name, script, { conditions: ["workerd", "worker", "browser"], external: ["*.wasm"] });
  return new Miniflare({
    compatibilityDate: RECENT,
    cf: false,
    durableObjects: { ACCOUNTS: "Account" },
    modules: [
      { type: "ESModule", path: "main.js", contents },
      { type: "CompiledWasm", path: WASM, contents: await readFile(join(packageDirectory, WASM)) },
    ],
  });
}

test("one_operation_id_is_one_charge_for_every_request_that_reaches_a_durable_object", async () => {
  await stage.reset();
  const worker = await accounts("durable-object", account(stage.setting));
  try {
    const url = String(await worker.ready);
    const told = () => settles(fetch(url), PATIENCE).then((answer) => answer.json());
    const first = await told();
    const again = await Promise.all(Array.from({ length: 5 }, told));
    assert.deepEqual(again.map(({ id }) => id), Array(5).fill(first.id));
    assert.equal((await stage.ledger()).charges.length, 1);
  } finally {
    await worker.dispose();
  }
});

/** A Durable Object with a client for each request and the journal in its storage, whose jobs are done at the first poll. */
const learning = `
  import { TemplateJobs } from "custom-template-jobs";
  import { durableObjectJournal } from "custom-template-jobs/durable-object";
  export class Account {
    constructor({ storage }) {
      this.journal = durableObjectJournal(storage);
    }
    async fetch({ url }) {
      const id = crypto.randomUUID();
      const done = { id, status: "done", video_output: "https://cdn.test/v" };
      const fetch = async (url, { method }) => Response.json(method === "POST" ? { id, status: "pending" } : done);
      const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: this.journal, fetch });
      const job = await jobs.submit({ template_id: "3c90c3cc-0d44-4b50-8888-8dd25736052a", variables: {} });
      return Response.json(await jobs.poll(job, { maxInterval: url.endsWith("learn") ? 1_500 : undefined }));
    }
  }
  export default { fetch: (request, { ACCOUNTS }) => ACCOUNTS.get(ACCOUNTS.idFromName("one")).fetch(request) };`;

test("requests_of_a_durable_object_share_learned_durations", async () => {
  const worker = await accounts("learning", learning);
  try {
    const url = String(await worker.ready);
    await (await settles(fetch(`${url}learn`), PATIENCE)).json();
    const begun = performance.now();
    const { status } = await (await settles(fetch(url), PATIENCE)).json();
    assert.equal(status, "done");
    // Without a learned duration the first poll comes after 4.4 s.
    assert.ok(performance.now() - begun < 3_500, `${performance.now() - begun} ms`);
  } finally {
    await worker.dispose();
  }
});
