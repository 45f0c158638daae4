// What the core needs of the world: time, the network, and a journal. It decides nothing.

import { indexedDbJournal, memoryJournal } from "./journal.js";
import { newOperation } from "./operation.js";
import { redact } from "./redact.js";
import { put, value } from "./values.js";

const agent = globalThis.navigator?.userAgent ?? "";
const server =
  globalThis.process?.versions?.node || globalThis.Deno || globalThis.Bun || globalThis.EdgeRuntime || agent === "Cloudflare-Workers";

// A page, a worker of one, or something that plays one, such as jsdom.
export const inBrowser = !!globalThis.document || !server && typeof WorkerGlobalScope === "function";

// Elsewhere there are no other tabs, and an open channel would keep a process alive.
export const hasTabs = inBrowser && !server;

// How many looks at jobs the calls of a client share at once. Browsers open six connections to a host. On these two a task
// that another request's event wakes hangs, so no two calls share anything. Elsewhere ten thousand jobs are looked at some
// 800 times a second, which at 100 ms for each takes 80 at once.
const shares = agent === "Cloudflare-Workers" || globalThis.EdgeRuntime ? 0 : inBrowser ? 6 : 100;

const MOST = 4194304; // UTF-16 units of an answer that are taken apart: a job has a few thousand
export const LONGEST = 2147483647; // ms that a timer can be given
const SECRETS = 16; // that are remembered when no request uses them any more

// What names things is never taken for a secret, and a job is handed on as it is.
export const keptOf = ({ name, type, kind, operation, jobId, job }) =>
  Object.fromEntries(Object.entries({ name, type, kind, operation, jobId, job }).filter(([, value]) => value !== undefined));

export function report(thrown) {
  if (typeof reportError === "function") reportError(thrown);
  else console.error(thrown);
}

// A caller's own function, called when the core is not: it may come back with calls of its own.
export const later = (call) =>
  queueMicrotask(() => {
    try {
      call();
    } catch (thrown) {
      report(thrown);
    }
  });

// The plumbing of each client, and each call, by their numbers.
export const clients = new Map();
export const calls = new Map();

// For clients that Rust numbers: no others are in the same module.
let last = 0;
export function enlist(plumbing) {
  clients.set(++last, plumbing);
  return last;
}
export const dismiss = (client) => void clients.delete(client);

const of = (method) => (client, ...given) => clients.get(client)[method](...given);
export const send = of("send");
export const sleep = of("sleep");
export const wake = of("wake");
export const forget = of("forget");
export const journal = of("journal");
export const listJobs = of("listJobs");
export const lock = of("lock");
export const unlock = of("unlock");
export const event = of("event");

export const settle = (call, ok, it) => calls.get(call)?.settle(ok, value(it));
export const over = (call) => calls.get(call)?.over();
export const update = (call, job, ...look) => calls.get(call)?.update(value(job), ...look);
export const alarm = (call, ...when) => calls.get(call)?.alarm(...when);

export class Plumbing {
  #waits = new Map(); // number of a task -> { stop, light }
  #locks = new Map(); // number of a task -> what gives its lock back
  #unsent = new Map(); // number of a task whose charge waits for its headers -> what stops it
  #secrets = new Map(); // secret -> the number of requests in flight that carry it; the newest last
  #listening = 0;

  // Whoever has it adds: resume(task, ok, value), which hears of what was begun; build(init, headers), which makes the
  // settings of a request; and perhaps posted(task, operation), which hears of what is being sent, and `tabs`, with which it
  // shares its looks.
  constructor(options) {
    this.options = options;
    this.idempotent = options.idempotencyHeader ?? !/^[a-z][a-z\d+.-]*:/i.test(options.baseUrl ?? "https:");
    const { journal } = options;
    this.store = journal === "memory" || !journal && !inBrowser ? memoryJournal() : journal ?? indexedDbJournal();
    this.timeout = options.timeout > 0 ? Math.min(options.timeout, LONGEST) : 30000;
    const { apiKey, headers } = options;
    this.#carry(secretsIn([["x-api-key", apiKey], ...(Array.isArray(headers) ? headers : [])]))();
  }

  // What may not be read in errors and events.
  get secrets() {
    return [...this.#secrets.keys()];
  }

  // Counts a request that carries these secrets; returns the function that ends it.
  #carry(secrets) {
    for (const secret of secrets) {
      const requests = this.#secrets.get(secret) ?? 0;
      this.#secrets.delete(secret);
      this.#secrets.set(secret, requests + 1);
    }
    for (const [secret, requests] of this.#secrets) if (this.#secrets.size > SECRETS && !requests) this.#secrets.delete(secret);
    let carried = secrets;
    return () => {
      for (const secret of carried) this.#secrets.set(secret, this.#secrets.get(secret) - 1);
      carried = [];
    };
  }

  /* ---- waits: one for each task ---- */

  #wait(task, stop, light) {
    this.forget(task);
    const wait = { stop, light };
    if (task) this.#waits.set(task, wait);
    return wait;
  }

  #done(task, wait, ok, value) {
    if (this.#waits.get(task) !== wait) return;
    this.#waits.delete(task);
    this.resume(task, ok, value);
  }

  #promise(task, promise, stop) {
    const wait = this.#wait(task, stop);
    promise.then(
      (value) => this.#done(task, wait, true, value),
      (thrown) => this.#done(task, wait, false, thrown),
    );
  }

  // The same for what may never settle.
  #within(ms, task, promise) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    });
    const stop = () => clearTimeout(timer);
    promise.then(stop, stop);
    this.#promise(task, Promise.race([promise, late]), stop);
  }

  forget(task) {
    const wait = this.#waits.get(task);
    this.#waits.delete(task);
    wait?.stop?.();
  }

  forgetAll() {
    for (const task of [...this.#waits.keys()]) this.forget(task);
    for (const task of [...this.#locks.keys()]) this.unlock(task);
  }

  sleep(task, ms, light) {
    const timer = setTimeout(() => this.#done(task, wait, true), Math.min(ms, LONGEST));
    const wait = this.#wait(task, () => clearTimeout(timer), light);
  }

  // In a microtask: the core that calls this may be the one that sleeps. Where requests must not share, it would wake the
  // sleeps of other requests, which then hang; there nobody sleeps for another's sake, and the timer is enough.
  wake = () => {
    if (!shares) return;
    const light = [...this.#waits].filter(([, wait]) => wait.light);
    queueMicrotask(() => {
      for (const [task, wait] of light) {
        wait.stop();
        this.#done(task, wait, true);
      }
    });
  };

  /* ---- the network ---- */

  send(task, post, url, body, operation, shared, timeout) {
    const controller = new AbortController();
    const { signal } = controller;
    operation = value(operation);
    url = value(url);
    body = value(body);
    shared = value(shared);
    const request = { post, url, body, operation, signal };
    let end;
    const stop = () => {
      end?.({});
      controller.abort();
    };
    const exchange = async () => {
      let timer;
      const ended = new Promise((resolve) => {
        end = (reply) => resolve(request.sent ? reply : { ...reply, code: "NotSent" });
        timer = setTimeout(() => (end({ late: true }), stop()), timeout);
        if (post) this.#unsent.set(task, stop);
      });
      request.begin = () => {
        request.sent = true;
        this.#unsent.delete(task);
        if (operation) this.posted?.(task, operation);
      };
      // A page that goes to the back-forward cache with a read under way would come back to an answer that never comes, or
      // of long ago. What failed when it was left is tried again when it is back. Charges go on.
      if (!post) globalThis.addEventListener?.("pagehide", stop);
      try {
        return await Promise.race([this.#exchange(request), ended]);
      } finally {
        clearTimeout(timer);
        if (!request.sent) this.#unsent.delete(task);
        globalThis.removeEventListener?.("pagehide", stop);
        request.done?.();
      }
    };
    this.#promise(task, shared && this.tabs ? this.tabs.look(shared, signal, exchange) : exchange(), stop);
  }

  // Stops a charge that has not been sent yet, so that it never is; whether it could.
  withdraw(task) {
    const stop = this.#unsent.get(task);
    this.#unsent.delete(task);
    stop?.();
    return !!stop;
  }

  async #exchange(request) {
    const { post, url, body, operation, signal } = request;
    const init = { method: post ? "POST" : "GET", redirect: "manual" };
    if (takesSignal()) init.signal = signal;
    // workerd refuses the word at older compatibility dates, and caches nothing anyway.
    if (shares) init.cache = "no-store";
    const { fetch: send = fetch } = this.options;
    await undefined; // the functions for headers and keys are the caller's, and the core is in the middle of something
    let settings;
    try {
      const headers = [...(await this.#headers(request)), ["accept", "application/json"]];
      // The caller has left meanwhile.
      if (signal.aborted) return { code: "NotSent" };
      if (body) {
        init.body = JSON.stringify(body);
        headers.push(["content-type", "application/json"]);
      }
      if (this.idempotent && /^[ -~]+$/.test(operation ?? "")) headers.push(["idempotency-key", operation]);
      settings = this.build(init, headers);
    } catch (cause) {
      return { field: "headers", message: "could not be made: the function for headers or apiKey failed", cause };
    }
    if (settings.field) return settings;
    try {
      const { protocol, username, password } = new URL(url, globalThis.location?.href);
      if (!/^https?:/.test(protocol) || username || password) throw undefined;
    } catch (cause) {
      return { field: "baseUrl", message: "is no URL that can be fetched; outside a page it must be absolute, and hold no login", cause };
    }
    request.begin();
    try {
      const answer = await send(url, settings);
      const { status } = answer;
      if (typeof status !== "number") return {};
      const found = await bodyOf(answer, post);
      // A server may answer what it was sent. A job is handed on as it is.
      const { secrets } = this;
      const clean = found.body && status >= 200 && status < 300 ? found : redact(found, secrets);
      if (clean.text) clean.text = clean.text.slice(0, 500);
      return { status, retryAfter: retryAfter(answer), ...clean };
    } catch (cause) {
      return { cause, code: codeOf(cause) };
    }
  }

  async #headers(request) {
    const { apiId, apiKey, headers } = this.options;
    const pairs = [];
    if (apiId !== undefined) pairs.push(["x-api-id", apiId]);
    const key = typeof apiKey === "function" ? await apiKey() : apiKey;
    if (key !== undefined) pairs.push(["x-api-key", key]);
    const given = typeof headers === "function" ? await headers() : headers;
    if (given) pairs.push(...(given[Symbol.iterator] ? given : Object.entries(given)));
    request.done = this.#carry(secretsIn(pairs));
    if (request.signal.aborted) request.done(); // the request is over
    return pairs;
  }

  /* ---- the journal, and lists ---- */

  journal(task, call, key, entry) {
    call = value(call);
    const stored = this.#stored(call, value(key), value(entry));
    // What is created or deleted late is seen to by the charge, whose own time is bounded.
    if (task && !/create|delete/.test(call)) this.#within(this.timeout, task, stored);
    else this.#promise(task, stored);
  }

  async #stored(call, key, entry) {
    await undefined; // the journal is the caller's, and the core is in the middle of something
    const found = await this.store[call](key, entry && JSON.stringify(entry));
    if (call !== "read" || found === undefined || found === null) return found ?? undefined;
    try {
      return JSON.parse(found);
    } catch {
      return null; // somebody else's
    }
  }

  listJobs(task, since) {
    const { listJobs } = this.options;
    if (listJobs) this.#within(this.timeout, task, Promise.resolve(new Date(since)).then(listJobs));
    return !!listJobs;
  }

  /* ---- locks: held against other tabs ---- */

  lock(task, name) {
    const { locks } = globalThis.navigator ?? {};
    if (!inBrowser || !locks) return false;
    const waiting = new AbortController();
    const held = new Promise((resolve) => this.#locks.set(task, resolve));
    const got = new Promise((resolve, reject) => {
      locks.request(`custom-template-jobs/${value(name)}`, { signal: waiting.signal }, () => (resolve(), held)).catch(reject);
    });
    this.#promise(task, got, () => waiting.abort());
    return true;
  }

  unlock(task) {
    this.#locks.get(task)?.();
    this.#locks.delete(task);
  }

  /* ---- the surroundings ---- */

  event(event) {
    event = value(event);
    later(() => this.options.onEvent({ ...redact(event, this.secrets), ...keptOf(event) }));
  }

  // While something is watched, a page that is shown again or a network that came back is worth a look.
  listen(count) {
    const before = this.#listening;
    this.#listening += count;
    if (!before === !this.#listening) return;
    const verb = before ? "removeEventListener" : "addEventListener";
    globalThis.document?.[verb]("visibilitychange", this.wake);
    globalThis[verb]?.("online", this.wake);
    globalThis[verb]?.("pageshow", this.wake);
    // Others who ask in this moment are still answered.
    if (before && this.tabs) setTimeout(() => this.#listening || this.tabs.close(), 1000);
  }
}

/* ---- the surroundings ---- */

export const isShared = () => shares;
export const now = () => performance.now();
export const wall = Date.now;
export const random = Math.random;
export const uuid = () => put(newOperation());
export const visible = () => globalThis.document?.visibilityState !== "hidden";
export const online = () => globalThis.navigator?.onLine !== false;

// The values of headers that are secrets: the key, and what is long enough to be one.
const secretsIn = (pairs) =>
  new Set(pairs.filter(([name, value]) => typeof value === "string" && (name === "x-api-key" || (name !== "x-api-id" && value.length >= 8))).map(([, value]) => value));

// What arrived of a charge's answer counts even where it broke off: the id of a job that was paid for may be in it.
async function bodyOf(answer, post) {
  let text = "";
  try {
    const reader = post && answer.body?.getReader?.();
    if (reader) {
      const decoder = new TextDecoder();
      for (let part; (part = await reader.read()), !part.done; ) text += decoder.decode(part.value, { stream: true });
      text += decoder.decode();
    } else text = await answer.text();
  } catch {
    return { text, broken: true };
  }
  if (text.length > MOST) return { text: "(more than 4 MB)" };
  try {
    return { body: JSON.parse(text) };
  } catch {
    return { text };
  }
}

// The code by which a runtime names what failed; whatever was thrown may not even be readable.
function codeOf(thrown) {
  try {
    return thrown?.code ?? thrown?.cause?.code;
  } catch {}
}

// A test environment may bring an `AbortController` that the runtime's `fetch` refuses. Then requests are not cancelled, and
// their answers are ignored.
let accepted;
function takesSignal() {
  try {
    return (accepted ??= !!new Request("http://localhost", { signal: new AbortController().signal }));
  } catch {
    return (accepted = false);
  }
}

// What `Retry-After` asks for, seconds or a date, as milliseconds from now.
function retryAfter(answer) {
  try {
    const asked = answer.headers.get("retry-after");
    const ms = /^[\d.]+$/.test(asked) ? asked * 1000 : Date.parse(asked) - Date.now();
    if (ms === ms) return ms;
  } catch {}
}
