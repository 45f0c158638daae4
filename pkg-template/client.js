// The facade: copies options, snapshots requests, makes operation ids, loads the WebAssembly, and delegates. It decides nothing.

import { Core, initSync } from "./custom_template_jobs.js";
import { checkOperation, newOperation } from "./operation.js";
import { copyOptions, readOptions } from "./options.js";
import { onPanic } from "./panic.js";
import { inBrowser } from "./platform.js";
import { redactError } from "./redact.js";
import { snapshot } from "./snapshot.js";
import { parseWebhook as readWebhook } from "./webhook.js";

/* ---- errors ---------------------------------------------------------------------------------- */

export class TemplateJobsError extends Error {
  constructor({ message, cause, text, ...members }) {
    super(message, cause === undefined ? undefined : { cause });
    if (members.name === "ApiError") {
      members.body ??= text;
      const { body } = members;
      members.fields = body && typeof body === "object" && !Array.isArray(body) && !body.detail ? body : {};
    }
    // Defined, and not assigned: `Error.prototype` may be frozen.
    for (const [key, value] of Object.entries(members)) {
      Object.defineProperty(this, key, { value, enumerable: true, writable: true, configurable: true });
    }
  }
}

export const isTemplateJobsError = (error) => error instanceof TemplateJobsError || !!error?.[brand];

// Two copies of this package on one page know each other's errors.
const brand = Symbol.for("custom-template-jobs.error");
Object.defineProperty(TemplateJobsError.prototype, brand, { value: true });

const problem = (name, message, more) => new TemplateJobsError({ name, message, ...more });

// Runs a check that throws `{ field, message }`.
function checked(secrets, check, ...given) {
  try {
    return check(...given);
  } catch ({ field, message, cause }) {
    if (cause !== undefined) cause = redactError(cause, secrets);
    throw problem("InvalidRequestError", message, { field, cause });
  }
}

/* ---- loading --------------------------------------------------------------------------------- */

let source; // where the entry finds the .wasm
let reader; // how the entry reads a place, if not by fetch
let loaded = false;
let loading;
let dead; // why no call can be made any more

export function use(found, reads) {
  source ??= found;
  reader ??= reads;
}

export const init = (given) => {
  const started = (loading ??= load(given));
  // A load that failed is retried by the next call.
  started.catch(() => loading === started && (loading = undefined));
  return started.then(() => {});
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
    const module = given instanceof WebAssembly.Module ? given : await WebAssembly.compile(given);
    // The glue keeps the first module that it is given, whatever that is.
    if (!WebAssembly.Module.exports(module).some(({ name }) => name === "core_new")) throw new Error("it is another WebAssembly");
    initSync({ module });
    loaded = true;
  } catch (cause) {
    const words = cause?.message ?? cause;
    const remedy = !/unsafe-eval|by CSP|disallowed by/.test(words)
      ? "Serve custom_template_jobs_bg.wasm beside the script, or pass its place to init()."
      : inBrowser
        ? "Add 'wasm-unsafe-eval' to script-src in the page's Content-Security-Policy."
        : "Here no bytes are compiled: import the .wasm as a module, as the entry custom-template-jobs does.";
    throw problem("LoadError", `The WebAssembly could not be loaded${place ? ` from ${place.url ?? place}` : ""}: ${words}. ${remedy}`, { cause });
  }
}

/* ---- calls ----------------------------------------------------------------------------------- */

const LONGEST = 2147483647; // ms that a timer can be given

// The calls that have not ended, and the charges that run on after theirs, by their numbers.
const calls = new Map();
let last = 0;

// A panic of the core leaves its module unusable: every call that waits is rejected, and so is every later one.
function die(cause) {
  if (dead) return;
  dead = { cause: plain(cause) };
  for (const call of calls.values()) {
    call.fail(
      call.sent
        ? problem("ChargeUnknownError", "The core stopped while a charge was in flight, so it may have been charged: call settle(operation) after a reload, or look at your account.", { ...dead, ...call.about })
        : problem("LoadError", "The core stopped by an error of its own. Reload the page or restart the worker, and please report this.", dead),
    );
    call.end();
  }
}
onPanic(die);

const plain = (thrown) => redactError(thrown, []);

function report(thrown) {
  if (typeof reportError === "function") reportError(thrown);
  else console.error(thrown);
}

// Calls a function of the caller's when the core is not running: it may make calls of its own.
const later = (call) =>
  queueMicrotask(() => {
    try {
      call();
    } catch (thrown) {
      report(thrown);
    }
  });

// The reason of a call that was aborted. Not every signal gives one.
const reasonOf = (signal) => signal.reason ?? new DOMException("This operation was aborted", "AbortError");

function checkSignal({ signal, waitUntil, onUpdate }) {
  const refuse = (field, advice) => {
    throw { field, message: `${field} ${advice}` };
  };
  let listens = !signal;
  try {
    listens ||= typeof signal.aborted === "boolean" && typeof signal.addEventListener === "function";
  } catch {}
  if (!listens) refuse("signal", "must be an AbortSignal");
  if (waitUntil !== undefined && typeof waitUntil !== "function") refuse("waitUntil", "must be a function");
  if (onUpdate !== undefined && typeof onUpdate !== "function") refuse("onUpdate", "must be a function");
}

// One call of a method, for the functions `resolve`, `reject` and perhaps `onUpdate` of its listener. Ten thousand may wait, so it
// holds no more than it needs.
class Call {
  constructor(client, listener, signal, about) {
    this.client = client;
    this.listener = listener;
    this.about = about; // what belongs to each of its errors
    calls.set((this.number = ++last), this);
    if (signal) {
      this.signal = signal;
      this.onAbort = () => this.quit(reasonOf(signal));
      signal.addEventListener("abort", this.onAbort);
    }
  }

  // Begins it. `run` calls the core, which returns a promise.
  begin(run) {
    if (this.ended) return;
    if (dead) return this.fail(problem("LoadError", "The core stopped by an error of its own. Reload the page or restart the worker.", dead));
    try {
      this.begun = true;
      run(this.client.core(), this.number).then(
        (value) => this.finish("resolve", value),
        (record) => this.fail(record && new TemplateJobsError(record)),
      );
    } catch (thrown) {
      die(thrown);
    }
  }

  update(job, nextLookMs, remainingMs) {
    later(() => this.quitted || this.listener.onUpdate?.(job, remainingMs > 0 ? { remainingMs, nextLookMs } : { nextLookMs }));
  }

  // Its caller does not want it any more. A charge that may have been sent runs on.
  quit(reason) {
    this.quitted = true;
    this.fail(reason);
  }

  fail(error) {
    const running = this.begun && !this.ended;
    this.finish("reject", error);
    if (running && !dead) this.client.abort(this.number);
  }

  finish(how, value) {
    if (this.ended) return;
    this.ended = true;
    this.listener[how](value);
    try {
      this.signal?.removeEventListener?.("abort", this.onAbort);
    } catch (thrown) {
      report(thrown);
    }
    if (!this.rest || !this.begun) this.end();
  }

  // Nothing of it runs on.
  end() {
    this.rest?.();
    calls.delete(this.number);
  }
}

// What the calls of one client share.
class Connection {
  #core;

  constructor(options) {
    const { baseUrl = "https:", onEvent } = options;
    options.idempotencyHeader ??= !/^[a-z][a-z\d+.-]*:/i.test(baseUrl);
    if (onEvent) options.onEvent = (event) => later(() => onEvent(event));
    // Called when a charging request is about to be sent.
    options.onSend = (operation) => {
      for (const call of calls.values()) if (call.client === this && call.about?.operation === operation) call.sent = true;
    };
    this.options = options;
    // Of errors that the facade makes; the core keeps a list of its own.
    const values = Array.isArray(options.headers) ? options.headers.map(([, value]) => value) : [];
    this.secrets = [options.apiKey, ...values].filter((value, index) => typeof value === "string" && value.length >= (index && 8));
  }

  core() {
    return (this.#core ??= new Core(this.options));
  }

  abort(call) {
    this.#core?.abort(call);
  }

  // Charges that may have been sent run on without it.
  close() {
    this.#core?.free();
    this.#core = undefined;
  }
}

/* ---- watching -------------------------------------------------------------------------------- */

// The updates of a job until they are read. There may be thousands of these, so each holds little.
class Steps {
  unread = []; // [0, result] or [1, error]
  readers = []; // [resolve, reject] of reads that wait
  last; // the job of the newest update
  over;

  constructor(listener) {
    this.listener = listener;
  }

  // Gives a result (how = 0) or an error (how = 1) to the first reader.
  push(how, step = { done: true, value: undefined }) {
    const reader = this.readers.shift();
    if (reader) reader[how](step);
    else this.unread.push([how, step]);
  }

  read(...reader) {
    this.readers = this.readers.concat([reader]); // an array that grows by push reserves more memory
    const step = this.unread.shift() ?? (this.over && [0]);
    if (step) this.push(...step);
  }

  end() {
    this.over = true;
    while (this.readers.length) this.push(0);
  }

  // Called by the call, in a microtask of its own.
  onUpdate(job, info) {
    this.last = job;
    this.push(0, { done: false, value: { job, ...info } });
    this.listener?.(job, info);
  }

  resolve(job) {
    later(() => {
      if (job !== this.last) this.push(0, { done: false, value: { job } });
      this.end();
    });
  }

  reject(error) {
    later(() => {
      if (!this.over) this.push(1, error);
      this.end();
    });
  }
}

// The iterator of `watch`. Nothing is sent before the first read.
class Updates {
  #begin;
  #call;
  #steps;

  constructor(begin, onUpdate) {
    this.#begin = begin;
    this.#steps = new Steps(onUpdate);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    const begin = this.#begin;
    this.#begin = undefined;
    try {
      if (begin) this.#call = begin(this.#steps);
    } catch (thrown) {
      this.#steps.reject(thrown);
    }
    return new Promise((...reader) => this.#steps.read(...reader));
  }

  async return(value) {
    this.#begin = undefined;
    this.#steps.unread = [];
    this.#steps.end();
    if (this.#call && !this.#call.ended) this.#call.quit();
    return { done: true, value };
  }
}

/* ---- the client ------------------------------------------------------------------------------ */

// The options that a call reads.
const READ = ["timeout", "signal"];
const CHARGE = ["operation", "seconds", "timeout", "signal", "waitUntil"];
const POLLING = ["timeout", "until", "expectedMs", "maxInterval", "onUpdate", "signal"];
const QUESTION = ["step", "seconds", "model_version"];

// One job has one id, however it is spelled.
const lower = (id) => (typeof id === "string" ? id.toLowerCase() : id);

function idOf(target) {
  try {
    return lower(target?.id ?? target);
  } catch (cause) {
    throw { field: "id", message: "id cannot be read", cause };
  }
}

// What a caller knows of a job, which later changes do not reach.
function jobOf(target) {
  if (typeof target !== "object" || !target) return;
  try {
    return { ...target, id: lower(target.id) };
  } catch (cause) {
    throw { field: "job", message: "job cannot be read", cause };
  }
}

// Options passed in the place of a render's request would be sent as variables and paid for.
function refuseOptions(request) {
  if (typeof request !== "object" || !request) return;
  let field;
  try {
    field = CHARGE.find((name) => name in request);
  } catch {
    return; // the snapshot says why
  }
  if (field) throw { field, message: `${field} is an option, and was passed in the request. Pass the options third: render(job, undefined, { ${field} })` };
}

const closed = () => problem("ClosedError", "The client was closed; make a new one.");

export class TemplateJobs {
  #client;

  constructor(given) {
    const options = checked([], copyOptions, given);
    if (options.apiKey !== undefined && inBrowser && !options.dangerouslyAllowBrowser) {
      throw problem("InvalidRequestError", "apiKey is readable by everybody who opens this page. Call a relay of yours instead (baseUrl), or set dangerouslyAllowBrowser if the page is yours alone.", { field: "apiKey" });
    }
    this.#client = new Connection(options);
  }

  #checked(check, ...given) {
    return checked(this.#client.secrets, check, ...given);
  }

  // The options of a call, and the signal among them.
  #options(options, names) {
    const read = this.#checked(readOptions, options, names);
    this.#checked(checkSignal, read);
    return read;
  }

  // Begins a call for a listener. `run` calls the core with the milliseconds that are left of `timeout`.
  #begin(run, { signal, waitUntil }, listener, { about, timeout, late } = {}) {
    const client = this.#client;
    if (client.closed) throw closed();
    if (signal?.aborted) throw reasonOf(signal);
    const call = this.#checked(() => {
      try {
        return new Call(client, listener, signal, about);
      } catch (cause) {
        throw { field: "signal", message: "signal cannot be listened to", cause };
      }
    });
    try {
      waitUntil?.(new Promise((resolve) => (call.rest = resolve)));
    } catch (thrown) {
      report(thrown);
    }
    if (loaded) call.begin((core, number) => run(core, number, timeout, call));
    else this.#load(run, call, timeout, late);
    return call;
  }

  // Loads the WebAssembly, which counts as time of the call.
  #load(run, call, timeout, name = "ConnectionError") {
    const { timeout: usual } = this.#client.options;
    const ms = Math.min(timeout >= 0 ? timeout : usual > 0 ? usual : 30000, LONGEST);
    const begun = performance.now();
    const late = () =>
      call.fail(problem(name, `The WebAssembly was not loaded within ${ms} ms; nothing was sent. Check that custom_template_jobs_bg.wasm is served.`, { sent: false, ...call.about }));
    const timer = setTimeout(late, ms);
    init()
      .then(
        () => call.begin((core, number) => run(core, number, timeout >= 0 ? Math.max(0, timeout - (performance.now() - begun)) : timeout, call)),
        (error) => call.fail(error),
      )
      .finally(() => clearTimeout(timer));
  }

  // Begins a call whose promise is returned. `prepare` makes the function that calls the core; what it throws rejects the call.
  #run(names, options, prepare) {
    return new Promise((resolve, reject) => {
      const read = this.#options(options, names);
      const { run, ...more } = prepare(read);
      this.#begin(run, read, { resolve, reject, onUpdate: read.onUpdate }, more);
    });
  }

  #charge(endpoint, request, options, target) {
    return this.#run(CHARGE, options, ({ operation, seconds, timeout }) => {
      const explicit = operation !== undefined;
      let id;
      if (endpoint === "render") {
        id = this.#checked(idOf, target);
        this.#checked(refuseOptions, request);
        if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
      }
      if (!explicit) operation = id === undefined ? newOperation() : `render:${id}`;
      const wrong = checkOperation(operation);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      const json = endpoint === "render" && request === undefined ? undefined : this.#checked(snapshot, request, "request");
      const { previewTimeout } = this.#client.options;
      return {
        about: id === undefined ? { operation } : { operation, jobId: id },
        timeout: timeout ?? (endpoint === "previewSync" ? (previewTimeout > 0 ? previewTimeout : 300000) : undefined),
        run: (core, number, left, call) =>
          core.charge(number, endpoint, id, json, { operation, explicit, seconds, timeout: left, over: call.rest && (() => call.end()) }),
      };
    });
  }

  submit(request, options) {
    return this.#charge("submit", request, options);
  }

  previewAsync(request, options) {
    return this.#charge("previewAsync", request, options);
  }

  previewSync(request, options) {
    return this.#charge("previewSync", request, options);
  }

  async preview(request, options) {
    const begun = performance.now();
    const read = this.#options(options, [...CHARGE, ...POLLING]);
    const job = await this.previewAsync(request, read);
    const { timeout } = read;
    const left = typeof timeout === "number" ? Math.max(0, timeout - (performance.now() - begun)) : undefined;
    return this.poll(job, { ...read, timeout: left, until: "preview" });
  }

  render(target, request, options) {
    return this.#charge("render", request, options, target);
  }

  get(id, options) {
    return this.#run(READ, options, ({ timeout }) => {
      if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
      return { timeout, run: (core, number) => core.read(number, "get", lower(id), timeout) };
    });
  }

  // What a wait needs. It is not bounded by the time that loading takes, so `timeout` is the core's.
  #polling(target, { timeout, until, expectedMs, maxInterval }) {
    const id = this.#checked(idOf, target);
    if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
    const job = this.#checked(jobOf, target);
    return (core, number, _, call) =>
      core.poll(number, id, job, { timeout, until, expectedMs, maxInterval }, call.listener.onUpdate && ((...update) => call.update(...update)));
  }

  poll(target, options) {
    return this.#run(POLLING, options, (read) => {
      const { timeout = 30000 } = this.#client.options;
      const own = read.timeout < timeout;
      return { run: this.#polling(target, read), timeout: own ? read.timeout : timeout, late: own ? "PollTimeoutError" : undefined };
    });
  }

  watch(target, options) {
    let read = {};
    let begin;
    try {
      read = this.#options(options, POLLING);
      const run = this.#polling(target, read);
      begin = (steps) => this.#begin(run, read, steps);
    } catch (thrown) {
      begin = () => {
        throw thrown;
      };
    }
    return new Updates(begin, read.onUpdate);
  }

  templates(options) {
    return this.#run(READ, options, ({ timeout }) => ({ timeout, run: (core, number) => core.read(number, "templates", undefined, timeout) }));
  }

  remainingCredits(options) {
    return this.#run(READ, options, ({ timeout }) => ({ timeout, run: (core, number) => core.read(number, "remainingCredits", undefined, timeout) }));
  }

  estimate(question) {
    return this.#run([], undefined, () => {
      const read = this.#checked(readOptions, question, QUESTION, "question");
      return { run: (core, number) => core.estimate(number, read) };
    });
  }

  pending() {
    return this.#run([], undefined, () => ({ run: (core, number) => core.pending(number) }));
  }

  settle(operation, options) {
    return this.#run(["jobId", "signal"], options, ({ jobId }) => {
      const wrong = checkOperation(operation);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      if (jobId !== undefined && typeof jobId !== "string") throw problem("InvalidRequestError", "jobId must be the UUID of a job", { field: "jobId" });
      return { about: { operation }, run: (core, number) => core.settle(number, operation, lower(jobId)) };
    });
  }

  discard(operation) {
    return this.#run([], undefined, () => {
      const wrong = checkOperation(operation);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      return { about: { operation }, run: (core, number) => core.discard(number, operation) };
    });
  }

  close() {
    const client = this.#client;
    if (client.closed) return;
    client.closed = true;
    for (const call of calls.values()) if (call.client === client && !call.ended) call.quit(closed());
    if (!dead) client.close();
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

export const parseWebhook = (...given) => checked([], readWebhook, ...given);
