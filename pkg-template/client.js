// The facade: loads the WebAssembly, gives its numbers names, and makes errors of plain records. It decides nothing.
//
// The core runs in tasks. `start` begins one and returns as soon as the task has to wait; what it waits for is a Cell,
// and a settled cell resumes its task. So whatever the core throws is thrown here, and rejects the call.

import * as glue from "./custom_template_jobs_bg.js";
import { cancel, connect, disconnect, resume, start, unwatch, watch } from "./custom_template_jobs_bg.js";

const [SUBMIT, PREVIEW_ASYNC, PREVIEW_SYNC, RENDER, GET, TEMPLATES, REMAINING_CREDITS, ESTIMATE, PENDING, SETTLE, POLL] =
  Array(11).keys();

/* ---- errors ---------------------------------------------------------------------------------- */

export class TemplateJobsError extends Error {
  constructor({ message, cause, text, ...rest }, secret) {
    super(message, cause === undefined ? undefined : { cause: plainCause(cause, secret) });
    if (rest.name === "ApiError") {
      rest.body ??= text;
      const { body } = rest;
      rest.fields = body && typeof body === "object" && !Array.isArray(body) && !body.detail ? body : {};
    }
    Object.assign(this, rest);
  }
}

export const isTemplateJobsError = (error) => error instanceof TemplateJobsError || !!error?.[brand];

// Two copies of this package on one page know each other's errors.
const brand = Symbol.for("custom-template-jobs.error");
Object.defineProperty(TemplateJobsError.prototype, brand, { value: true });

const problem = (name, message, more) => new TemplateJobsError({ name, message, ...more });

// A runtime's error may hold the request, and so the key: only its words are kept, without the key.
function plainCause(cause, secret) {
  const inner = cause?.cause;
  const words = String(cause?.message ?? cause);
  const plain = new Error(secret ? words.replaceAll(secret, "…") : words);
  plain.name = String(cause?.name ?? "Error");
  const code = cause?.code ?? inner?.code;
  if (code !== undefined) plain.code = code;
  return plain;
}

/* ---- loading --------------------------------------------------------------------------------- */

let source; // where the entry finds the .wasm
let reader; // how the entry reads a place, if not by fetch
let compiled; // the WebAssembly.Module, for a fresh instance after a trap
let exported; // the exports of the living instance
let loading;
let generation = 0; // of the instance: what an earlier one began is dead
const living = new Set(); // every call that is under way

export function use(found, reads) {
  source ??= found;
  reader ??= reads;
}

export const init = (given) => {
  const loaded = (loading ??= load(given));
  // A load that failed is tried again by the next call.
  loaded.catch(() => loading === loaded && (loading = undefined));
  return loaded.then(() => {});
};

async function load(given) {
  let place;
  try {
    given = await (given ?? source?.());
    if (given?.module_or_path) given = await given.module_or_path;
    if (given === undefined) throw new Error("no source was given");
    if (typeof given === "string" || "href" in given || "method" in given) {
      given = await (reader ?? fetch)((place = given));
    }
    if ("arrayBuffer" in given) {
      place = given.url || place;
      const type = given.headers.get("content-type");
      if (!given.ok || /html/.test(type)) throw new Error(`the answer was ${given.status} ${type ?? ""}`);
      given = await given.arrayBuffer();
    }
    compiled = given instanceof WebAssembly.Module ? given : await WebAssembly.compile(given);
    instantiate();
  } catch (cause) {
    const words = cause?.message ?? cause;
    const remedy = !/unsafe-eval|by CSP|disallowed by/.test(words)
      ? "Serve custom_template_jobs_bg.wasm beside the script, or pass its place to init()."
      : shares
        ? "Add 'wasm-unsafe-eval' to script-src in the page's Content-Security-Policy."
        : "Here no bytes are compiled: import the .wasm as a module, as the entry custom-template-jobs does.";
    throw problem("LoadError", `The WebAssembly could not be loaded${place ? ` from ${place.url ?? place}` : ""}: ${words}. ${remedy}`, { cause });
  }
}

function instantiate() {
  // The glue keeps a view of the memory until that is detached, and growing it by nothing detaches it.
  exported?.memory.grow(0);
  const { exports } = new WebAssembly.Instance(compiled, { "./custom_template_jobs_bg.js": glue });
  glue.__wbg_set_wasm(exports);
  exports.__wbindgen_start();
  exported = exports; // last, so that what is not ours is not called
}

/* ---- tasks ----------------------------------------------------------------------------------- */

const tasks = new Map(); // number of a task -> the call that it belongs to
const sleepers = new Set(); // cells that wait for a timer
let current; // the call whose task is being polled

// Runs the core for a call. Whatever it throws, a trap above all, leaves the instance unusable.
function enter(call, run) {
  const outer = current;
  current = call;
  try {
    return run();
  } catch (thrown) {
    crash(thrown);
  } finally {
    current = outer;
  }
}

function crash(cause) {
  generation++;
  tasks.clear();
  for (const cell of sleepers) cell.drop();
  const calls = [...living];
  try {
    instantiate();
  } catch {
    loading = undefined;
  }
  for (const call of calls) {
    call.fail(
      call.posted
        ? problem("ChargeUnknownError", "The WebAssembly stopped while a request was under way that may have been charged. It is not sent again: call settle(operation) or look at your account before you start a new one.", { cause, operation: call.posted })
        : problem("LoadError", "The WebAssembly stopped; the next call starts a fresh one. Please report this.", { cause }),
    );
    call.left(call.tasks);
  }
}

class Cell {
  state = 0;
  generation = generation;

  constructor(task) {
    this.task = task;
  }

  settle(state, value) {
    if (this.state || this.generation !== generation) return;
    this.state = state;
    this.value = value;
    const { task } = this;
    const call = tasks.get(task);
    if (enter(call, () => resume(task))) {
      tasks.delete(task);
      call?.left(1);
    }
  }

  drop() {
    this.state ||= 3;
    clearTimeout(this.timer);
    sleepers.delete(this);
  }
}

// One call of a method, as the core sees it.
class Call {
  tasks = 0;

  constructor(jobs, fields, options) {
    Object.assign(this, fields);
    this.jobs = jobs;
    this.options = options;
    this.settled = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.alive = new Promise((resolve) => {
      this.rest = resolve;
    });
    living.add(this);
    jobs.calls.add(this);
    const { signal } = options;
    if (signal) {
      this.onAbort = () => this.quit(signal.reason);
      signal.addEventListener("abort", this.onAbort);
    }
  }

  // Called by the core.
  resolve(value) {
    this.over();
    this.settle.resolve(value);
  }

  reject(record) {
    this.fail(new TemplateJobsError(record, this.jobs.secret));
  }

  update(job, info) {
    if (this.ended) return;
    try {
      this.options.onUpdate?.(job, info);
    } catch (thrown) {
      report(thrown);
    }
  }

  // Called by the facade.
  fail(error) {
    this.over();
    this.settle.reject(error);
  }

  // Its caller does not want it any more. A charge that is under way goes on by itself, in a task of its own.
  quit(reason) {
    this.fail(reason);
    const { task, key } = this;
    if (key) enter(this, () => unwatch(this.jobs.number, key));
    if (task && tasks.get(task) === this) {
      // First, because a charge that goes on may take the number of the task that it leaves.
      tasks.delete(task);
      enter(this, () => cancel(task));
      this.left(1);
    }
  }

  over() {
    if (this.ended) return;
    this.ended = true;
    living.delete(this);
    this.jobs.calls.delete(this);
    this.options.signal?.removeEventListener("abort", this.onAbort);
    if (this.listens) this.jobs.listen(-1);
    if (!this.tasks) this.rest();
  }

  joined(task) {
    this.tasks++;
    tasks.set(task, this);
  }

  left(count) {
    this.tasks -= count;
    if (this.tasks <= 0 && this.ended) this.rest();
  }
}

function report(thrown) {
  if (typeof reportError === "function") reportError(thrown);
  else console.error(thrown);
}

/* ---- what the core asks for ------------------------------------------------------------------- */

class Plumbing {
  scope = globalThis;
  calls = new Set();
  watchers = 0;

  constructor(options) {
    this.options = options;
    this.fetch = options.fetch;
    this.shares = shares;
    this.idempotencyHeader = options.idempotencyHeader ?? !/^[a-z][a-z\d+.-]*:/i.test(options.baseUrl ?? "https:");
    this.journal = options.journal === "memory" || !options.journal && !inBrowser ? memory : options.journal ?? stored;
    if (options.listJobs) this.listJobs = (since) => options.listJobs(new Date(since));
  }

  // The number of the client in the instance that lives now.
  connected() {
    if (this.generation !== generation) {
      this.number = connect(this);
      this.generation = generation;
    }
    return this.number;
  }

  async headers() {
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

  wait(promise, task) {
    const cell = new Cell(task);
    Promise.resolve(promise).then(
      (value) => cell.settle(1, value),
      (thrown) => cell.settle(2, thrown),
    );
    return cell;
  }

  sleep(ms, task) {
    const cell = new Cell(task);
    sleepers.add(cell);
    cell.timer = setTimeout(() => cell.settle(1), Math.min(ms, 2147483647));
    return cell;
  }

  // A sleep that `wake` ends.
  nap(ms, task) {
    const cell = this.sleep(ms, task);
    cell.napper = this;
    return cell;
  }

  // In a microtask: the core that calls this may be the one that naps. Where requests must not share, it would wake the
  // naps of other requests, which then hang; there nobody naps for another's sake, and the timer is enough.
  wake = () => {
    if (!this.shares) return;
    const woken = [...sleepers].filter((cell) => cell.napper === this);
    queueMicrotask(() => woken.forEach((cell) => cell.settle(1)));
  };

  detached(task) {
    if (task) current?.joined(task);
  }

  event(event) {
    if (event.operation && current) current.posted = event.type === "request" && event.operation;
    try {
      this.options.onEvent?.(event);
    } catch (thrown) {
      report(thrown);
    }
  }

  // While something is watched, a page that is shown again or a network that came back is worth a look.
  listen(count) {
    const before = this.watchers;
    this.watchers += count;
    if (!before === !this.watchers) return;
    const verb = before ? "removeEventListener" : "addEventListener";
    globalThis.document?.[verb]("visibilitychange", this.wake);
    globalThis[verb]?.("online", this.wake);
    globalThis[verb]?.("pageshow", this.wake);
  }
}

const agent = globalThis.navigator?.userAgent ?? "";
const server = globalThis.process?.versions?.node || globalThis.Deno || globalThis.Bun || globalThis.EdgeRuntime || agent === "Cloudflare-Workers";
// A page, a worker of one, or something that plays one, such as jsdom.
const inBrowser = !!globalThis.document || !server && typeof WorkerGlobalScope === "function";
// On these a task that another request's event wakes hangs, so no two calls share anything.
const shares = agent !== "Cloudflare-Workers" && !globalThis.EdgeRuntime;

/* ---- journals -------------------------------------------------------------------------------- */

// For the whole process, so that two clients of one account do not charge twice for one operation.
const kept = new Map();
const memory = {
  create: (id, entry) => !kept.has(id) && !!kept.set(id, entry),
  read: (id) => kept.get(id),
  write: (id, entry) => void kept.set(id, entry),
  delete: (id) => void kept.delete(id),
  list: (prefix) => [...kept.keys()].filter((id) => id.startsWith(prefix)),
};

let opened;
const open = () =>
  (opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("custom-template-jobs", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("journal");
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      // Nobody is kept from deleting or upgrading the database.
      request.result.onversionchange = request.result.onclose = () => {
        request.result.close();
        opened = undefined;
      };
      resolve(request.result);
    };
  }).catch((thrown) => {
    opened = undefined;
    throw thrown;
  }));

async function transact(mode, act) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction("journal", mode, { durability: "strict" });
    const request = act(transaction.objectStore("journal"));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

const stored = {
  create: (id, entry) =>
    transact("readwrite", (store) => store.add(entry, id)).then(
      () => true,
      (thrown) => {
        if (thrown?.name !== "ConstraintError") throw thrown;
        return false;
      },
    ),
  read: (id) => transact("readonly", (store) => store.get(id)),
  write: (id, entry) => transact("readwrite", (store) => store.put(entry, id)),
  delete: (id) => transact("readwrite", (store) => store.delete(id)),
  list: (prefix) => transact("readonly", (store) => store.getAllKeys(IDBKeyRange.bound(prefix, prefix + "\uffff"))),
};

/* ---- the client ------------------------------------------------------------------------------ */

const closed = () => problem("ClosedError", "The client was closed; make a new one.");

export class TemplateJobs {
  #plumbing;
  #closed = false;

  constructor(options = {}) {
    if (options.apiKey !== undefined && inBrowser && !options.dangerouslyAllowBrowser) {
      throw problem("InvalidRequestError", "apiKey is readable by everybody who opens this page. Call a relay of yours instead (baseUrl), or set dangerouslyAllowBrowser if the page is yours alone.", { field: "apiKey" });
    }
    this.#plumbing = new Plumbing(options);
  }

  async #run(operation, fields, options = {}) {
    const { signal } = options;
    if (this.#closed) throw closed();
    if (signal?.aborted) throw signal.reason;
    const plumbing = this.#plumbing;
    const call = new Call(plumbing, fields, options);
    try {
      options.waitUntil?.(call.alive);
    } catch (thrown) {
      report(thrown);
    }
    const begin = () => {
      if (call.ended) return;
      enter(call, () => {
        const number = plumbing.connected();
        if (operation === POLL && plumbing.shares) {
          call.key = watch(number, call);
          return;
        }
        const task = start(number, operation, call);
        if (task) {
          call.task = task;
          call.joined(task);
        }
      });
    };
    if (operation === POLL) {
      call.listens = true;
      plumbing.listen(1);
    }
    if (exported) begin();
    else init().then(begin, (error) => call.fail(error));
    return call.settled;
  }

  #charge(operation, fields, { operation: id, seconds, timeout, signal, waitUntil } = {}) {
    return this.#run(operation, { ...fields, operation: id, seconds, timeout }, { signal, waitUntil });
  }

  submit(request, options) {
    return this.#charge(SUBMIT, { request }, options);
  }

  previewAsync(request, options) {
    return this.#charge(PREVIEW_ASYNC, { request }, options);
  }

  previewSync(request, options) {
    return this.#charge(PREVIEW_SYNC, { request }, options);
  }

  async preview(request, options = {}) {
    const begun = performance.now();
    const job = await this.previewAsync(request, options);
    const { timeout } = options;
    const left = timeout === undefined ? undefined : Math.max(0, timeout - (performance.now() - begun));
    return this.poll(job, { ...options, timeout: left, until: "preview" });
  }

  render(target, request, options) {
    return this.#charge(RENDER, { id: target?.id ?? target, request }, options);
  }

  get(id, { timeout, signal } = {}) {
    return this.#run(GET, { id, timeout }, { signal });
  }

  poll(target, { timeout, until, expectedMs, maxInterval, signal, onUpdate } = {}) {
    const job = typeof target === "object" && target ? target : undefined;
    const fields = { id: job ? job.id : target, job, timeout, until, expectedMs, maxInterval, attentive: !!onUpdate };
    return this.#run(POLL, fields, { signal, onUpdate });
  }

  watch(target, options = {}) {
    const stop = new AbortController();
    const { signal } = options;
    const queue = [];
    let bell; // rings for everybody who waits for the next step
    let ring;
    let last;
    let end;
    const push = (step) => {
      queue.push(step);
      ring?.();
      bell = undefined;
    };
    const forward = () => stop.abort(signal.reason);
    const begin = () => {
      if (signal?.aborted) forward();
      signal?.addEventListener("abort", forward);
      end = this.poll(target, {
        ...options,
        signal: stop.signal,
        onUpdate: (job, info) => {
          last = job;
          push({ value: { job, ...info } });
          options.onUpdate?.(job, info);
        },
      })
        .then(
          (job) => {
            if (job !== last) push({ value: { job } });
            push({ done: true });
          },
          (error) => push({ error }),
        )
        .finally(() => signal?.removeEventListener("abort", forward));
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      async next() {
        if (!end) begin();
        while (!queue.length) await (bell ??= new Promise((resolve) => (ring = resolve)));
        const step = queue[0];
        if (!step.done) queue.shift();
        if ("error" in step) {
          queue.push({ done: true });
          throw step.error;
        }
        return { done: !!step.done, value: step.value };
      },
      async return(value) {
        end ??= Promise.resolve();
        queue.length = 0;
        push({ done: true });
        stop.abort();
        return { done: true, value };
      },
    };
  }

  templates({ timeout, signal } = {}) {
    return this.#run(TEMPLATES, { timeout }, { signal });
  }

  remainingCredits({ timeout, signal } = {}) {
    return this.#run(REMAINING_CREDITS, { timeout }, { signal });
  }

  estimate(request) {
    return this.#run(ESTIMATE, { request });
  }

  pending() {
    return this.#run(PENDING);
  }

  settle(operation, { jobId, signal } = {}) {
    return this.#run(SETTLE, { id: operation, jobId }, { signal });
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    const plumbing = this.#plumbing;
    for (const call of [...plumbing.calls]) call.quit(closed());
    if (plumbing.generation === generation) enter(undefined, () => disconnect(plumbing.number));
  }
}
if (Symbol.dispose) TemplateJobs.prototype[Symbol.dispose] = TemplateJobs.prototype.close;

/* ---- helpers --------------------------------------------------------------------------------- */

const variable = (type, field) => (value) => ({ type, properties: { [field]: value } });

export const text = variable("text", "content");
export const image = variable("image", "url");
export const video = variable("video", "url");
export const audio = variable("audio", "url");
export const avatar = variable("avatar", "avatar_id");
export const voiceover = variable("voiceover", "voice_id");

export const prices = {
  seed: {},
  perSecond: { aurora_v1: { credits: 1, seconds: 1 }, aurora_v1_fast: { credits: 0.5, seconds: 1 } },
};

export function parseWebhook(body, url) {
  let data = body;
  try {
    if (typeof body === "string") data = JSON.parse(body);
  } catch {
    data = undefined;
  }
  const jobId = data?.id;
  if (typeof jobId !== "string" || typeof data.status !== "string") {
    throw problem("InvalidRequestError", "body is no webhook of a job: it has no id and status", { field: "body" });
  }
  const found = { jobId, status: data.status };
  const output = data.video_output ?? data.output;
  if (typeof output === "string" && output) found.output = output;
  if (typeof data.failed_reason === "string" && data.failed_reason) found.failedReason = data.failed_reason;
  if (url !== undefined) {
    const { pathname, searchParams } = new URL(url, "http://localhost");
    const operation = searchParams.get("operation") ?? decodeURIComponent(pathname.split("/").pop());
    if (operation) found.operation = operation;
  }
  return found;
}
