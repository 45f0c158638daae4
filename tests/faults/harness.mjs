// Helpers of the fault tests: sandboxes, stages, and calls by name.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { startSandbox } from "../node/harness.mjs";
import { startWire } from "./wire.mjs";

/** The key of every client. No error and no event may contain it. */
export const KEY = "k3y-th4t-must-n0t-l34k";
const ID = "matrix";

/** For each call: its name in the sandbox, and its arguments. */
const CALLS = {
  submit: ["submit", ({ request }) => [request]],
  previewSync: ["preview", ({ request }) => [request]],
  previewAsync: ["preview_async", ({ request }) => [request]],
  render: ["render", ({ job, request }) => [job, request.variables.filler && { variables: request.variables }]],
  get: ["get", ({ job }) => [job]],
  templates: ["templates", () => []],
  remainingCredits: ["credits", () => []],
};
export const wireName = (call) => CALLS[call][0];

/** The call that a request belongs to. */
export function callOf({ method, path }) {
  if (method === "GET") return path === "/api/custom_templates/" ? "templates" : path === "/api/remaining_credits/" ? "remainingCredits" : "get";
  if (method !== "POST") return undefined;
  return path.endsWith("/render/") ? "render" : path.endsWith("/preview/") ? "previewSync" : path.endsWith("/preview_async/") ? "previewAsync" : "submit";
}

/** A pool of sandboxes, each used by one cell at a time. `stop` ends them. */
export async function startStages(count, ...flags) {
  // The videos have 64 pixels and one second, since all of them are rendered.
  const templates = fileURLToPath(new URL("templates.json", import.meta.url));
  const start = () => startSandbox("--templates", templates, "--speed", "1000", "--credits", "1000000", "--key", `${ID}:${KEY}`, ...flags);
  const all = await Promise.all(Array.from({ length: count }, start));
  const free = [...all];
  const waiting = [];
  return {
    /** Passes a free sandbox to `use`. */
    async with(use) {
      const sandbox = free.pop() ?? (await new Promise((resolve) => waiting.push(resolve)));
      try {
        await sandbox.reset();
        return await use(sandbox);
      } finally {
        const next = waiting.shift();
        if (next) next(sandbox);
        else free.push(sandbox);
      }
    },
    stop: () => Promise.all(all.map((sandbox) => sandbox.stop())),
  };
}

const headers = { "x-api-id": ID, "x-api-key": KEY, "content-type": "application/json" };

/** The id of a job with a finished preview, made without the client. */
export async function previewed(sandbox, request) {
  const made = await fetch(`${sandbox.url}/api/custom_template_jobs/preview_async/`, { method: "POST", headers, body: JSON.stringify(request) });
  assert.equal(made.status, 201);
  await sandbox.advance(600);
  return (await made.json()).id;
}

const [{ template_id }] = JSON.parse(await readFile(new URL("templates.json", import.meta.url), "utf8"));
/** A request for the template whose jobs succeed. */
const requestOf = (big) => ({ template_id, variables: big ? { filler: { type: "text", properties: { content: "x".repeat(2_000_000) } } } : {} });

/**
 * A stage: a sandbox, a relay in front of it, and a client's options for them. `inject` is the relay's.
 * `play` runs an act in the runtime. Its result must not contain the key.
 */
export async function openStage(sandbox, runtime, { inject, big, client } = {}) {
  const wire = await startWire(sandbox.url, inject);
  const request = requestOf(big);
  const options = { baseUrl: wire.url, apiId: ID, apiKey: KEY, maxRetries: 1, timeout: 20_000, ...client };
  return {
    sandbox, wire, request,
    charges: async () => (await sandbox.ledger()).charges,
    /** The requests of this call that the relay has seen. */
    seen: (call) => wire.requests.filter((each) => callOf(each) === call),
    step: (call, given, options) => ({ call, args: CALLS[call][1]({ request, ...given }), options }),
    async play(steps, { client: more, ...rest } = {}) {
      const begun = performance.now();
      const result = await runtime.act({ client: { ...options, ...more }, steps, ...rest });
      assert.ok(!JSON.stringify(result).includes(KEY), "the result contains the key");
      return { ...result, ms: performance.now() - begun };
    },
    stop: () => wire.stop(),
  };
}

/** Asserts that a value has all expected members. */
export function has(value, expected, what) {
  for (const [field, wanted] of Object.entries(expected)) assert.deepEqual(value?.[field], wanted, `${what}: ${field} of ${JSON.stringify(value)?.slice(0, 400)}`);
}
