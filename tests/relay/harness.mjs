// What the tests of the relay share: a relay of the packed package in Node or in workerd, in front of a sandbox.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { packageDirectory, scene } from "../runtimes/harness.mjs";

export { startSandbox } from "../node/harness.mjs";

/** How long a step may take on a busy machine. Nothing waits this long when all is well. */
export const PATIENCE = 30_000;
export const KEY = `key-${randomUUID()}`;
export const ID = `id-${randomUUID()}`;
/** Templates of the sandbox. */
export const TEASER = "7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0001";
export const OTHER = "7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0002";
/** The relay's own part of the package. */
export const loadRelay = () => import(pathToFileURL(join(packageDirectory, "relay-node.js")));

/** A user is who a request names: `Bearer NAME`, with limits of their own after a space, as JSON. */
const AUTHORIZE = `(request) => {
  const [, name, limits] = /^Bearer ([^ ]+) ?(.*)$/.exec(request.headers.get("authorization") ?? "") ?? [];
  return name ? { id: name, ...JSON.parse(limits || "{}") } : null;
}`;

const WORKER = `
  import { createRelay } from "custom-template-jobs/relay";
  import { RelayAccount, durableObjectStore } from "custom-template-jobs/relay/cloudflare";
  const authorize = ${AUTHORIZE};
  const relay = createRelay((env) => ({ ...env.OPTIONS, authorize, store: durableObjectStore(env.ACCOUNTS) }));
  export class Account extends RelayAccount { relay = relay; }
  export default relay;`;

const defaults = (sandbox) => ({
  apiId: ID, apiKey: KEY, baseUrl: sandbox.url,
  templates: { [TEASER]: { seconds: 6 }, [OTHER]: { seconds: 6 } },
});

// The relay in a process of its own, which can be killed.
const SERVER = `
  import { createServer } from "node:http";
  import { createRelay, fileStore, toNodeListener } from "custom-template-jobs/relay";
  const { options, directory, port } = JSON.parse(process.argv[2]);
  const relay = createRelay({ ...options, authorize: ${AUTHORIZE}, store: fileStore(directory) });
  const server = createServer(toNodeListener(relay)).listen(port, "127.0.0.1", () => console.log("listening"));
  process.stdin.on("end", () => process.exit()).resume();`;

let server;
async function inNode(options, directory, port) {
  const cwd = await (server ??= scene("relay-node", { "server.mjs": SERVER }));
  const child = spawn(process.execPath, ["server.mjs", JSON.stringify({ options, directory, port })], { cwd, stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  assert.equal(line, "listening");
  return () => (child.kill("SIGKILL"), once(child, "exit"));
}

let bundle;
async function workerModules() {
  const absWorkingDir = await scene("relay-workerd", { "main.mjs": WORKER });
  const { outputFiles } = await build({
    absWorkingDir, entryPoints: ["main.mjs"], bundle: true, write: false, format: "esm", target: "es2022",
    conditions: ["workerd", "worker", "browser"], external: ["*.wasm", "cloudflare:*"], logLevel: "error",
  });
  const wasm = "custom_template_jobs_bg.wasm";
  return [
    { type: "ESModule", path: "main.js", contents: outputFiles[0].text },
    { type: "CompiledWasm", path: wasm, contents: await readFile(join(packageDirectory, wasm)) },
  ];
}

async function inWorkerd(options, directory, port) {
  const worker = new Miniflare({
    cf: false, port, modules: await (bundle ??= workerModules()), compatibilityDate: "2026-04-01",
    durableObjectsPersist: directory, durableObjects: { ACCOUNTS: { className: "Account", useSQLite: true } },
    bindings: { OPTIONS: options },
  });
  await worker.ready;
  return () => worker.dispose();
}

/** A port that nobody listens on. */
async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

const STARTS = { Node: inNode, workerd: inWorkerd };
export const RUNTIMES = Object.keys(STARTS);

/**
 * Starts a relay with these options; with `hooks` it has the provider send webhooks. It can be killed and started again at its
 * address, with all that it had on its disk.
 */
export async function startRelay(runtime, sandbox, { hooks, ...options } = {}) {
  const [directory, port] = await Promise.all([mkdtemp(join(tmpdir(), "relay-")), freePort()]);
  const url = `http://127.0.0.1:${port}`;
  const start = () => STARTS[runtime]({ ...defaults(sandbox), ...(hooks && { publicUrl: url }), ...options }, directory, port);
  let kill = await start();
  return {
    url, directory,
    kill: () => kill(),
    async restart() {
      kill = await start();
    },
    async stop() {
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
    /** Asks it as a user, and holds every answer to the first rules: no part of the key, never 500, never stored. */
    async ask(method, path, { user = "ann", body, key, headers, patience = PATIENCE } = {}) {
      const answer = await fetch(`${url}${path}`, {
        method, duplex: "half", signal: AbortSignal.timeout(patience),
        headers: { ...(user && { authorization: `Bearer ${user}` }), ...(key !== undefined && { "idempotency-key": encodeURIComponent(key) }), ...headers },
        body: body === undefined || body instanceof ReadableStream || typeof body === "string" ? body : JSON.stringify(body),
      });
      const text = await answer.text();
      const whole = JSON.stringify([...answer.headers]) + text;
      assert.ok(!whole.includes(KEY) && !whole.includes(ID), `the key is in the answer to ${method} ${path}`);
      assert.notEqual(answer.status, 500, `${method} ${path}: ${text}`);
      assert.equal(answer.headers.get("cache-control"), "no-store");
      return { status: answer.status, headers: answer.headers, body: text ? JSON.parse(text) : undefined };
    },
  };
}

export const JOBS = "/relay/api/custom_template_jobs/";
export const job = (template_id = TEASER) => ({ template_id, variables: { headline: { type: "text", properties: { content: "Hello" } } } });

/** Waits until something is so, and returns it. */
export async function until(so) {
  const patience = AbortSignal.timeout(PATIENCE);
  for (;;) {
    const found = await so();
    if (found) return found;
    patience.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
