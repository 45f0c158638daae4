// A relay in this process with a fake provider and a storage that can fail, for tests of crashes and of timers.

import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { packageDirectory } from "../runtimes/harness.mjs";
import { TEASER, loadRelay } from "./harness.mjs";

const PRICES = { submit: 5, preview: 1, render: 4 };
const PROVIDER = "http://provider.test";
const RELAY = "http://relay.test";

/** Requests to the fake provider. The key of a request is the name of the process that sent it. */
const processes = new Map();
const { fetch: platformFetch } = globalThis;
globalThis.fetch = (input, init) => {
  const request = new Request(input, init);
  const found = processes.get(request.headers.get("x-api-key"));
  return found ? found.exchange(request) : platformFetch(input, init);
};

const never = new Promise(() => {});
const json = (status, body) => new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });

/** A provider whose jobs end when they are read. `isOpen` keeps them running, `share` is the part of the price that they cost. */
function startProvider() {
  const jobs = new Map();
  const charges = [];
  const cost = (steps) => steps.reduce((sum, step) => sum + PRICES[step], 0) * provider.share;
  const shown = ({ steps, isOpen, ...job }) => ({ ...job, credits_used: isOpen ? 0 : cost(steps) });
  const end = (job) => {
    if (job.isOpen) return;
    job.status = "done";
    job.preview = `${PROVIDER}/preview`;
    if (job.steps.some((step) => step !== "preview")) job.video_output = `${PROVIDER}/video`;
  };
  const charge = (job, step, { webhook_url }) => {
    charges.push({ step, jobId: job.id, webhook: webhook_url });
    Object.assign(job, { status: "pending", webhook_url: webhook_url ?? null, isOpen: provider.isOpen });
    job.steps.push(step);
    job.updated_at = new Date().toISOString();
  };
  const provider = {
    jobs, charges, reads: 0, isOpen: false, share: 1, breaks: false,
    /** Lets a running job end. */
    finish: (id) => (jobs.get(id).isOpen = false),
    async answer(request) {
      const [id, call] = new URL(request.url).pathname.split("/").slice(3);
      if (request.method === "GET") {
        provider.reads += 1;
        const job = jobs.get(id);
        if (!job) return json(404, { detail: "Not found." });
        end(job);
        return json(200, shown(job));
      }
      const body = JSON.parse((await request.text()) || "{}");
      if (call === "render") {
        const job = jobs.get(id);
        charge(job, "render", body);
        return json(200, shown(job));
      }
      const now = new Date().toISOString();
      const { variables, model_version = "standard" } = body;
      const job = { id: randomUUID(), created_at: now, updated_at: now, variables, model_version, preview: null, video_output: null, failed_reason: "", steps: [] };
      jobs.set(job.id, job);
      charge(job, id ? "preview" : "submit", body);
      if (id === "preview") end(job);
      return json(200, shown(job));
    },
  };
  return provider;
}

/** A provider, a storage, and the processes of a relay, one after the other. */
export async function createWorld(options = {}) {
  const { createRelay } = await loadRelay();
  const { processStore } = await import(pathToFileURL(join(packageDirectory, "relay/stores.js")));
  const provider = startProvider();
  const disk = new Map(); // the storage of all accounts
  const open = new Set(); // the names of accounts with open operations
  const keys = [];
  const late = []; // requests on their way

  /**
   * Starts a process of the relay. `isAnswered` tells whether it has the answer to a charge, and `isRecorded` whether its storage
   * has changed since.
   * At the point `at` of its storage calls and exchanges it is killed (`how: "crash"`), or that
   * call fails (`how: "fault"`). With `how: "late"` it is killed, and a charge that it was sending arrives later. Each call has two points: before its effect and after it.
   */
  function start({ at = Infinity, how } = {}) {
    const key = `key-${randomUUID()}`;
    const life = { points: 0, isDead: false, faults: 0, isAnswered: false, isRecorded: false };
    const point = (fault) => {
      if (life.isDead) return never;
      life.points += 1;
      if (life.points !== at) return undefined;
      life.faults += 1;
      if (how === "fault") throw fault();
      life.isDead = true;
      life.died();
      return never;
    };
    life.death = new Promise((resolve) => (life.died = resolve));
    const around = async (act, fault = () => new Error("the disk failed")) => {
      await point(fault);
      const result = await act();
      await point(fault);
      return result;
    };
    const journalOf = (name) => {
      const place = (id) => `${name} ${id}`;
      const calls = {
        create: (id, entry) => !disk.has(place(id)) && !!disk.set(place(id), entry),
        read: (id) => disk.get(place(id)),
        write: (id, entry) => void disk.set(place(id), entry),
        replace: (id, old, entry) => disk.get(place(id)) === old && !!disk.set(place(id), entry),
        delete: (id, entry) => (entry === undefined || disk.get(place(id)) === entry) && disk.delete(place(id)),
        list: (prefix) => [...disk.keys()].filter((id) => id.startsWith(place(prefix))).map((id) => id.slice(name.length + 1)),
      };
      const called = ([call, act]) => [
        call,
        (...given) =>
          around(() => {
            if (call !== "read" && call !== "list") life.isRecorded ||= life.isAnswered;
            return act(...given);
          }),
      ];
      return Object.fromEntries(Object.entries(calls).map(called));
    };
    processes.set(key, {
      async exchange(request) {
        // The request leaves the process before it dies, and arrives later.
        if (how === "late" && request.method === "POST" && life.points + 1 === at) late.push(request.clone());
        const answer = await around(() => provider.answer(request), () => new TypeError("fetch failed"));
        // With `breaks`, the next charge and all that follows loses its answer.
        life.isBroken = provider.breaks && (life.isBroken || request.method === "POST");
        if (life.isBroken) throw new TypeError("fetch failed");
        life.isAnswered ||= request.method === "POST";
        return answer;
      },
    });
    keys.push(key);
    const store = processStore(journalOf, {
      names: async () => [...open],
      note: async (name, isOpen) => void (isOpen ? open.add(name) : open.delete(name)),
    });
    const relay = createRelay({
      apiId: "id", apiKey: key, baseUrl: PROVIDER, store,
      authorize: (request) => JSON.parse(request.headers.get("authorization")),
      templates: { [TEASER]: { seconds: 6 }, [LONG]: { seconds: 60_000 } },
      ...options,
    });
    /** Sends a request as a user. If the process dies, the answer is undefined. */
    life.ask = async (method, path, { user = { id: "ann" }, body, key } = {}) => {
      const headers = { authorization: JSON.stringify(user), ...(key && { "idempotency-key": encodeURIComponent(key) }) };
      const request = new Request(RELAY + path, { method, headers, body: body && JSON.stringify(body), duplex: "half" });
      const answer = await Promise.race([relay.fetch(request), life.death]);
      return answer && { status: answer.status, headers: answer.headers, body: answer.status === 204 ? undefined : await answer.json() };
    };
    /** Delivers the provider's webhooks for all charges. */
    life.ring = async () => {
      for (const { webhook, jobId } of provider.charges) {
        if (webhook) await life.ask("POST", new URL(webhook).pathname, { user: null, body: { id: jobId, status: "done" } });
      }
    };
    /** The credits that the operations of a user have reserved or spent. */
    life.reserved = async () => {
      const { status, body } = await life.ask("POST", JOBS, { user: { id: "ann", maxCredits: RICH }, body: { template_id: LONG, variables: {} }, key: randomUUID() });
      if (status !== 402) throw new Error(`a charge above the limit got ${status}: ${JSON.stringify(body)}`);
      return RICH - body.remaining;
    };
    life.kill = () => {
      life.isDead = true;
      life.died();
    };
    return life;
  }
  /** Lets the late requests arrive. */
  const arrive = () => Promise.all(late.splice(0).map((request) => provider.answer(request)));
  return { provider, disk, start, arrive, end: () => keys.forEach((key) => processes.delete(key)) };
}

const JOBS = "/relay/api/custom_template_jobs/";
const RICH = 1_000;
/** A template whose videos cost more than `RICH`. */
const LONG = "7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0009";
