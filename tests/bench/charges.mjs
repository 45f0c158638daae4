// Measures how often one call charges under a fault: this client and its peers, against the sandbox, on fresh and reused
// connections. Counts the client's requests, the POSTs on the wire (which a runtime may resend), and the charges in the sandbox's
// ledger. Prints JSON.

import { subscribe } from "node:diagnostics_channel";
import { readFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { startRuntime } from "../faults/runtimes.mjs";
import { NOWHERE, startWire } from "../faults/wire.mjs";
import { startSandbox } from "../node/harness.mjs";
import { project, scene } from "../runtimes/harness.mjs";
import { startBrowser } from "./harness.mjs";

const AT_ONCE = 12;
/** The timeout for a stalled answer, in ms: of clients that have the option, and before this program gives up on others. */
const [TIMEOUT, PATIENCE] = [2_000, 20_000];
const STALLS = "answer stalls";
const timeout = (fault) => (fault === STALLS ? TIMEOUT : PATIENCE);
/** How often a call is repeated until it uses a connection of the wanted kind; browsers decide that themselves. */
const TRIES = 5;

/** Nothing listens, so there is no connection. */
const REFUSED = "refused";
/** The fault of every charging request during the call. */
const FAULTS = {
  "nothing": undefined,
  "connection refused": REFUSED,
  "closed before the charge": { kind: "drop_before_commit" },
  "reset before the charge": { kind: "drop_before_commit", reset: true },
  "closed after the charge": { kind: "drop_after_commit" },
  "reset after the charge": { kind: "drop_after_commit", reset: true },
  "429 before the charge": { kind: "status_before_commit", status: 429, headers: { "retry-after": "1" } },
  "503 before the charge": { kind: "status_before_commit", status: 503 },
  "500 after the charge": { kind: "status_after_commit", status: 500 },
  "502 after the charge": { kind: "status_after_commit", status: 502 },
  "504 after the charge": { kind: "status_after_commit", status: 504 },
  "answer cut short": { kind: "truncate", bytes: 20 },
  "answer cut by a reset": { kind: "truncate", bytes: 20, reset: true },
  [STALLS]: { kind: "stall", bytes: 20 },
  "a page in its place": { kind: "html", commit: true },
  // Once, since a client that follows it is redirected to the same URL.
  "307 after the charge": { kind: "redirect", commit: true, status: 307, location: "/api/custom_template_jobs/", times: 1 },
};
const PEERS = ["openai", "fal-ai-client", "replicate", "tsavo-creatify-api-ts"];
const RUNTIMES = ["Node", "workerd", "Deno", "Chromium"];

const templates = fileURLToPath(new URL("../faults/templates.json", import.meta.url));
const [{ template_id }] = JSON.parse(await readFile(templates, "utf8"));
const request = { template_id, variables: {} };

/* ---- clients --------------------------------------------------------------------------------- */

const patiently = (promise) => {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, PATIENCE, "does not end");
  });
  const ended = promise.then(() => "resolves", ({ name }) => name ?? "rejects");
  return Promise.race([ended, late]).finally(() => clearTimeout(timer));
};

/** Turns any POST of a peer into a submit of the sandbox, whatever API the peer was made for. */
const translated = (target) => ({ method, head }) => {
  if (method !== "POST") return undefined;
  const body = JSON.stringify(request);
  const key = /\r\nidempotency-key: [^\r]*/i.exec(head)?.[0] ?? "";
  return {
    instead: `POST /api/custom_template_jobs/ HTTP/1.1\r\nhost: ${new URL(target).host}\r\nx-api-id: sandbox\r\nx-api-key: sandbox\r\ncontent-type: application/json\r\ncontent-length: ${body.length}${key}\r\n\r\n${body}`,
  };
};

/** Requests by port, of clients that use Node's `http`. */
const begun = new Map();
subscribe("http.client.request.start", ({ request }) => {
  const { method, host } = request;
  const port = /:(\d+)$/.exec(request.getHeader("host"))?.[1] ?? host;
  if (method === "POST") begun.set(port, (begun.get(port) ?? 0) + 1);
});

/** A peer, in this process. */
const peer = (name) => ({
  name,
  translated: true,
  async call({ url, at = url, warm, fault }) {
    const { client } = await import(pathToFileURL(fileURLToPath(new URL(`../../xtask/bench/charge/${name}.js`, import.meta.url))));
    let requests = 0;
    const counting = (...given) => (requests++, fetch(...given));
    if (warm) await warming(name, url);
    const ended = await patiently(client({ url: at, fetch: counting, timeout: timeout(fault) })());
    return { requests: requests || (begun.get(new URL(at).port) ?? 0), ended };
  },
});

/** Leaves an idle connection in the client's pool. */
async function warming(name, url) {
  const path = `${url}/api/remaining_credits/`;
  if (name === "tsavo-creatify-api-ts") {
    const { get } = await import("node:http");
    await new Promise((resolve) => get(path, (answer) => answer.resume().on("end", resolve)));
  } else await (await fetch(path)).text();
  await new Promise((resolve) => setTimeout(resolve, 10));
}

const client = (baseUrl, fault, idempotencyHeader) => ({
  baseUrl, apiId: "sandbox", apiKey: "sandbox", timeout: timeout(fault), previewTimeout: timeout(fault), idempotencyHeader,
});
const steps = (warm) => [...(warm ? [{ warms: "templates" }] : []), { call: "submit", args: [request] }];
const told = ({ ends }) => {
  const { fetches, error } = ends.at(-1);
  return { requests: fetches.length, ended: error?.name ?? "resolves" };
};

/** This client, in a runtime that runs acts. */
const ours = (runtime, idempotencyHeader) => ({
  name: runtime.name,
  call: async ({ url, at = url, warm, fault }) => told(await runtime.act({ client: client(at, fault, idempotencyHeader), steps: steps(warm) })),
});

/** This client, in a page of the sandbox's own origin. */
const inChromium = (browser, idempotencyHeader) => ({
  name: "Chromium",
  async call({ url, at = url, warm, fault, wire }) {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(`${url}/faults-page/index.html`);
      await page.waitForFunction(() => globalThis.act);
      // The page's own connection is closed, so that the call opens one.
      if (!warm) wire.hangUp();
      const given = { client: { ...client(at, fault, idempotencyHeader), dangerouslyAllowBrowser: true }, steps: steps(warm) };
      return told(await page.evaluate((given) => globalThis.act(given), given));
    } finally {
      await context.close();
    }
  },
});

/* ---- counts ---------------------------------------------------------------------------------- */

async function measured(caller, fault, warm, flags, tries = TRIES) {
  const sandbox = await startSandbox("--templates", templates, "--speed", "1000", "--www", project, ...flags);
  const wire = await startWire(sandbox.url, caller.translated && translated(sandbox.url));
  try {
    const rule = FAULTS[fault];
    if (rule && rule !== REFUSED) await sandbox.faults([{ on: "submit", ...rule }]);
    const at = rule === REFUSED ? NOWHERE : undefined;
    const { requests, ended } = await caller.call({ url: wire.url, at, warm, fault, wire });
    const [first, ...others] = wire.requests.filter(({ method }) => method === "POST");
    const used = wire.requests.slice(0, wire.requests.indexOf(first)).some(({ connection }) => connection === first?.connection);
    if (!first || used === warm) {
      return { requests, posts: first ? 1 + others.length : 0, charges: (await sandbox.ledger()).charges.length, ended };
    }
  } finally {
    wire.stop();
    await sandbox.stop();
  }
  if (tries === 1) throw new Error(`${caller.name}: ${fault}: no call met a ${warm ? "used" : "fresh"} connection`);
  return measured(caller, fault, warm, flags, tries - 1);
}

/** All faults for all clients, several in parallel. */
async function results(callers, ...flags) {
  const found = Object.fromEntries(callers.map(({ name }) => [name, Object.fromEntries(Object.keys(FAULTS).map((fault) => [fault, {}]))]));
  const cells = callers.flatMap((caller) => Object.keys(FAULTS).flatMap((fault) => (FAULTS[fault] === REFUSED ? [false] : [false, true]).map((warm) => ({ caller, fault, warm }))));
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let cell; (cell = cells.shift()); ) {
      const { caller, fault, warm } = cell;
      found[caller.name][fault][warm ? "reused" : "fresh"] = await measured(caller, fault, warm, flags);
    }
  }));
  return found;
}

await scene("faults-page", {
  "index.html": '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="./main.js"></script>',
  "act.mjs": await readFile(new URL("../faults/act.mjs", import.meta.url), "utf8"),
  "main.js": 'import * as library from "../node_modules/custom-template-jobs/web.js"; import { act } from "./act.mjs"; await library.init(); globalThis.act = (given) => act(library, given);',
});
const runtimes = [];
for (const name of RUNTIMES.slice(0, -1)) runtimes.push(await startRuntime(name));
const browser = await startBrowser();
const all = (key) => [...runtimes.map((runtime) => ours(runtime, key)), inChromium(browser, key)];
const found = {
  what: "one call that charges, while a fault lasts: requests that the client made / POSTs on the wire / charges",
  faults: Object.keys(FAULTS),
  peers: await results(PEERS.map(peer)),
  ours: await results(all(false)),
  "ours, with the key honoured": await results(all(true), "--honour-idempotency-key"),
};
for (const runtime of runtimes) await runtime.stop();
await browser.close();
console.log(JSON.stringify(found));
process.exit();
