// What the tests of faults share: the stages that cells are played on, and how a cell is played and told.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { startSandbox } from "../node/harness.mjs";
import { startWire } from "./wire.mjs";

/** No error and no event may hold it. */
export const KEY = "k3y-th4t-must-n0t-l34k";
const ID = "matrix";

/** The sandbox's names of the calls, and how each is made. */
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

/** Which call a request is. */
export function callOf({ method, path }) {
  if (method === "GET") return path === "/api/custom_templates/" ? "templates" : path === "/api/remaining_credits/" ? "remainingCredits" : "get";
  if (method !== "POST") return undefined;
  return path.endsWith("/render/") ? "render" : path.endsWith("/preview/") ? "previewSync" : path.endsWith("/preview_async/") ? "previewAsync" : "submit";
}

/** Sandboxes, each for one cell at a time; `stop` them. */
export async function startStages(count, ...flags) {
  // Its videos are of 64 pixels and one second, for they are all made.
  const templates = fileURLToPath(new URL("templates.json", import.meta.url));
  const start = () => startSandbox("--templates", templates, "--speed", "1000", "--credits", "1000000", "--key", `${ID}:${KEY}`, ...flags);
  const all = await Promise.all(Array.from({ length: count }, start));
  const free = [...all];
  const waiting = [];
  return {
    /** Has one for as long as `use` takes. */
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

/** A job whose preview is ready, made without the client. */
export async function previewed(sandbox, request) {
  const made = await fetch(`${sandbox.url}/api/custom_template_jobs/preview_async/`, { method: "POST", headers, body: JSON.stringify(request) });
  assert.equal(made.status, 201);
  await sandbox.advance(600);
  return (await made.json()).id;
}

const [{ template_id }] = JSON.parse(await readFile(new URL("templates.json", import.meta.url), "utf8"));
/** A request for the template whose jobs end well. */
const requestOf = (big) => ({ template_id, variables: big ? { filler: { type: "text", properties: { content: "x".repeat(2_000_000) } } } : {} });

/**
 * A place to play in: a sandbox, a wire before it, and what a client needs to be told of them. `spoil` is the wire's.
 * `play` has a runtime act; nothing that it tells may hold the key.
 */
export async function place(sandbox, runtime, { spoil, big, client } = {}) {
  const wire = await startWire(sandbox.url, spoil);
  const request = requestOf(big);
  const options = { baseUrl: wire.url, apiId: ID, apiKey: KEY, maxRetries: 1, timeout: 20_000, ...client };
  return {
    sandbox, wire, request,
    charges: async () => (await sandbox.ledger()).charges,
    /** How often the wire has seen this call. */
    seen: (call) => wire.requests.filter((each) => callOf(each) === call),
    step: (call, given, options) => ({ call, args: CALLS[call][1]({ request, ...given }), options }),
    async play(steps, { client: more, ...rest } = {}) {
      const begun = performance.now();
      const told = await runtime.act({ client: { ...options, ...more }, steps, ...rest });
      assert.ok(!JSON.stringify(told).includes(KEY), "the key is told");
      return { ...told, ms: performance.now() - begun };
    },
    stop: () => wire.stop(),
  };
}

/** Whether all that is expected of a value is there. */
export function has(value, expected, what) {
  for (const [field, wanted] of Object.entries(expected)) assert.deepEqual(value?.[field], wanted, `${what}: ${field} of ${JSON.stringify(value)?.slice(0, 400)}`);
}
