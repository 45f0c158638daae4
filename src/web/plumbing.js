// What the core needs of the world: time, the network, and a journal. It decides nothing.

import { indexedDbJournal, memoryJournal } from "./journal.js";
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
const LONGEST = 2147483647; // ms that a timer can be given

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
  #listening = 0;

  // Whoever has it adds: resume(task, ok, value), which hears of what was begun; build(init, headers), which makes the
  // settings of a request; and perhaps posted(task, operation), which hears of what is being sent, and `tabs`, with which it
  // shares its looks.
  constructor(options) {
    this.options = options;
    this.idempotent = options.idempotencyHeader ?? !/^[a-z][a-z\d+.-]*:/i.test(options.baseUrl ?? "https:");
    const { journal } = options;
    this.store = journal === "memory" || !journal && !inBrowser ? memoryJournal() : journal ?? indexedDbJournal();
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
    let timer;
    const stop = () => {
      clearTimeout(timer);
      controller.abort();
    };
    operation = value(operation);
    url = value(url);
    body = value(body);
    shared = value(shared);
    const late = (resolve) => {
      timer = setTimeout(() => {
        resolve({ late: true });
        stop();
      }, timeout);
    };
    const exchange = () =>
      Promise.race([this.#exchange(post, url, body, operation, signal), new Promise(late)]).finally(stop);
    if (operation) this.posted?.(task, operation);
    // A page that goes to the back-forward cache with a read under way would come back to an answer that never comes, or of
    // long ago. What failed when it was left is tried again when it is back. Charges go on.
    if (!post) globalThis.addEventListener?.("pagehide", stop, { signal });
    this.#promise(task, shared && this.tabs ? this.tabs.look(shared, signal, exchange) : exchange(), stop);
  }

  async #exchange(post, url, body, operation, signal) {
    const init = { method: post ? "POST" : "GET", redirect: "manual", signal };
    // workerd refuses the word at older compatibility dates, and caches nothing anyway.
    if (shares) init.cache = "no-store";
    const { fetch: send = fetch } = this.options;
    await undefined; // the functions for headers and keys are the caller's, and the core is in the middle of something
    let settings;
    try {
      const headers = [...(await this.#headers()), ["accept", "application/json"]];
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
    if (signal.aborted) return {};
    try {
      const answer = await send(url, settings);
      const { status } = answer;
      return typeof status === "number" ? { status, retryAfter: retryAfter(answer), ...(await bodyOf(answer, post)) } : {};
    } catch (cause) {
      return { cause, code: cause?.code ?? cause?.cause?.code };
    }
  }

  async #headers() {
    const { apiId, apiKey, headers } = this.options;
    const pairs = [];
    if (apiId !== undefined) pairs.push(["x-api-id", apiId]);
    const key = typeof apiKey === "function" ? await apiKey() : apiKey;
    if (key !== undefined) {
      this.secret = key;
      pairs.push(["x-api-key", key]);
    }
    const given = typeof headers === "function" ? await headers() : headers;
    if (given) pairs.push(...(given[Symbol.iterator] ? given : Object.entries(given)));
    return pairs;
  }

  /* ---- the journal, and lists ---- */

  journal(task, call, key, entry) {
    this.#promise(task, this.#stored(value(call), value(key), value(entry)));
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
    if (listJobs) this.#promise(task, Promise.resolve(new Date(since)).then(listJobs));
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
    later(() => this.options.onEvent(event));
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
export const uuid = () =>
  // Pages without TLS have no `randomUUID`. Ours keeps operations apart as well; it guards no secret.
  put(globalThis.crypto?.randomUUID?.() ?? "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace(/x/g, () => ((Math.random() * 16) | 0).toString(16)));
export const visible = () => globalThis.document?.visibilityState !== "hidden";
export const online = () => globalThis.navigator?.onLine !== false;

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
    return { text: text.slice(0, 500), broken: true };
  }
  if (text.length > MOST) return { text: "(more than 4 MB)" };
  try {
    return { body: JSON.parse(text) };
  } catch {
    return { text: text.slice(0, 500) };
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
