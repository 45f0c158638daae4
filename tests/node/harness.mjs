// Helpers of the packed client's tests: the package, a sandbox, and a deadline for every promise.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export const packageDirectory = process.env.PACKAGE_DIR ?? new URL("../../target/npm/package", import.meta.url).pathname;

/** Imports a file of the installed package. */
export const load = (file = "node.js") => import(pathToFileURL(join(packageDirectory, file)).href);

export const UNKNOWN_ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a";

/** Starts a sandbox on a free port, unless the flags name one. `stop` ends it. */
export async function startSandbox(...flags) {
  const program = process.env.SANDBOX_BIN ?? new URL("../../target/debug/sandbox", import.meta.url).pathname;
  const child = spawn(program, [...(flags.includes("--port") ? [] : ["--port", "0"]), ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface(child.stdout);
  let url;
  for await (const line of lines) {
    url = /listening on (\S+)/.exec(line)?.[1];
    if (url) break;
  }
  if (!url) throw new Error("the sandbox did not start");
  const control = async (path, init) => {
    const answer = await fetch(`${url}/__sandbox/${path}`, init && { headers: { "content-type": "application/json" }, ...init });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json().catch(() => undefined);
  };
  return {
    url,
    pid: child.pid,
    options: { baseUrl: url, apiId: "sandbox", apiKey: "sandbox" },
    templates: () => control("templates"),
    ledger: () => control("ledger"),
    requests: async () => (await control("requests")).requests,
    webhooks: () => control("webhooks"),
    reset: () => control("reset", { method: "POST", body: "{}" }),
    faults: (rules) => control("faults", { method: "PUT", body: JSON.stringify(rules) }),
    advance: (seconds) => control("clock", { method: "POST", body: JSON.stringify({ advance_seconds: seconds }) }),
    async stop() {
      child.kill();
      await once(child, "exit");
    },
  };
}

/** Fails if a promise does not settle in time. */
export function settles(promise, ms = 5_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not settled within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What a promise rejects with. */
export async function rejection(promise, ms) {
  try {
    await settles(promise, ms);
  } catch (error) {
    return error;
  }
  throw new Error("it was expected to reject");
}

/** A promise with its `resolve` and `reject`. */
export function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

/** An answer of `fetch`. */
export const answer = (status, body, headers) =>
  new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers });

/**
 * A `fetch` that records calls and answers with `reply(call)`, by default with the requested job or list.
 * A call has `method`, `path`, `headers`, `body` (parsed) and `signal`.
 */
export function recorder(reply = usual) {
  const sent = [];
  const fetch = async (url, init) => {
    const { method, headers, body, signal } = init;
    const { pathname } = new URL(url);
    const call = { method, path: pathname, headers: new Headers(headers), body: body && JSON.parse(body), text: body, signal };
    sent.push(call);
    return reply(call, sent.length);
  };
  return { fetch, sent, posts: () => sent.filter(({ method }) => method === "POST") };
}

/** A job as the provider returns it. */
export const jobOf = (id, more) => ({
  id, status: "pending", progress: 0, preview: null, video_output: null, editor_url: null, failed_reason: null, credits_used: 0, duration: 15,
  variables: {}, media_job: null, created_at: "2026-02-03T10:24:11Z", updated_at: "2026-02-03T10:24:11Z", ...more,
});

/** The answer of a provider that accepts everything; each charge makes a new job. */
export function usual({ method, path, body }, number = 1) {
  const [, id] = /custom_template_jobs\/([^/]+)\//.exec(path) ?? [];
  const found = /^[\da-f-]{36}$/i.test(id) ? id : `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
  if (path.includes("remaining_credits")) return answer(200, { remaining_credits: 100 });
  if (path.includes("custom_templates")) return answer(200, []);
  return answer(method === "POST" ? 201 : 200, jobOf(found, { ...body, ...(path.endsWith("/render/") && { status: "running" }) }));
}
