// The facade: loads the WebAssembly, gives its numbers names, and makes errors of plain records. It decides nothing.
//
// The core runs in tasks: `start` begins one, and `resume` hands it what it waited for. So whatever the core throws is
// thrown here, and rejects the call.

import { imports } from "./custom_template_jobs_bg.js";
import { checkOperation, newOperation } from "./operation.js";
import { copyOptions, readOptions } from "./options.js";
import { LONGEST, Plumbing, calls, clients, hasTabs, inBrowser, keptOf, later, report } from "./plumbing.js";
import { redact, redactError } from "./redact.js";
import { snapshot } from "./snapshot.js";
import { Tabs } from "./tabs.js";
import { attach, put, value } from "./values.js";
import { fillWebhook, parseWebhook as readWebhook } from "./webhook.js";

// What the core is told.
const [
  RESUME, RESUME_THROWN, LEAVE, LATE, DISCONNECT,
  SUBMIT, PREVIEW_ASYNC, PREVIEW_SYNC, RENDER, GET, TEMPLATES, REMAINING_CREDITS, ESTIMATE, PENDING, SETTLE, POLL, HEAR,
] = Array(17).keys();

/* ---- errors ---------------------------------------------------------------------------------- */

export class TemplateJobsError extends Error {
  constructor({ cause, ...record }, secrets = []) {
    const { message, text, ...members } = { ...redact(record, secrets), ...keptOf(record) };
    super(message, cause === undefined ? undefined : { cause: redactError(cause, secrets) });
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

const problem = (name, message, more, secrets) => new TemplateJobsError({ name, message, ...more }, secrets);

// Runs a check that throws `{ field, message }`.
function checked(secrets, check, ...given) {
  try {
    return check(...given);
  } catch ({ field, message, cause }) {
    throw problem("InvalidRequestError", message, { field, cause }, secrets);
  }
}

/* ---- loading --------------------------------------------------------------------------------- */

let source; // where the entry finds the .wasm
let reader; // how the entry reads a place, if not by fetch
let compiled; // the WebAssembly.Module, for a fresh instance after a trap
let exported; // the exports of the living instance
let loading;

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
      : inBrowser
        ? "Add 'wasm-unsafe-eval' to script-src in the page's Content-Security-Policy."
        : "Here no bytes are compiled: import the .wasm as a module, as the entry custom-template-jobs does.";
    throw problem("LoadError", `The WebAssembly could not be loaded${place ? ` from ${place.url ?? place}` : ""}: ${words}. ${remedy}`, { cause });
  }
}

function instantiate() {
  const { exports } = new WebAssembly.Instance(compiled, imports);
  exports.tell(-1); // nobody; what is not ours has no such function
  attach(exports.memory);
  exported = exports;
}

/* ---- calls ----------------------------------------------------------------------------------- */

// Runs the core. Whatever it throws, a trap above all, leaves the instance unusable.
function enter(run) {
  try {
    return run();
  } catch (thrown) {
    crash(thrown);
  }
}

// What the instance had begun is dead with it.
function crash(cause) {
  const all = [...calls.values()];
  for (const { client } of all) client.forgetAll();
  clients.clear();
  try {
    instantiate();
  } catch {
    exported = loading = undefined;
  }
  for (const call of all) {
    call.fail(
      call.posted
        ? problem("ChargeUnknownError", "The WebAssembly stopped while a charge was under way: call settle(operation) or look at your account before you start a new one.", { cause, operation: call.posted })
        : problem("LoadError", "The WebAssembly stopped; the next call starts it anew. Please report this.", { cause }),
    );
    call.over();
  }
}

let youngest = 0; // the number of the call that was made last

// Why a call ended that was aborted. Not every signal gives a reason.
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

// One call of a method. How it ends is heard by the functions `resolve` and `reject` of whoever made it, and what it sees of
// a job meanwhile by `onUpdate`, if that is there. Ten thousand may wait, so it holds no more than it needs.
class Call {
  constructor(client, heard, signal, about) {
    this.client = client;
    this.heard = heard;
    this.signal = signal;
    this.about = about;
    calls.set((this.number = ++youngest), this);
    if (signal) {
      this.onAbort = () => this.quit(reasonOf(signal));
      signal.addEventListener("abort", this.onAbort);
    }
  }

  // Called by the core.
  settle(ok, value) {
    if (ok) this.finish("resolve", value);
    else this.fail(new TemplateJobsError(value, this.client.secrets));
    if (!this.left) this.over();
  }

  update(job, nextLookMs, remainingMs) {
    later(() => this.left || this.heard.onUpdate?.(job, remainingMs > 0 ? { remainingMs, nextLookMs } : { nextLookMs }));
  }

  alarm(task, ms) {
    if (ms > 2147483647) return;
    this.timer = setTimeout(() => {
      const unsent = this.client.withdraw(task);
      if (unsent) this.fail(problem("ConnectionError", "The functions for headers and apiKey gave no answer in time; nothing was sent.", { sent: false, ...this.about }));
      this.left = true;
      this.client.tell(unsent ? LEAVE : LATE, task);
    }, ms);
  }

  // Whatever was begun for this call has come to its end.
  over() {
    this.rest?.();
    calls.delete(this.number);
    this.client.part();
  }

  // Called by the facade.
  fail(error) {
    this.finish("reject", error);
  }

  // Its caller does not want it any more. A charge that may have been sent goes on by itself.
  quit(reason) {
    this.fail(reason);
    this.left = true;
    if (this.task) {
      this.client.withdraw(this.task);
      this.client.tell(LEAVE, this.task);
    } else this.over();
  }

  finish(how, value) {
    if (this.ended) return;
    this.ended = true;
    this.heard[how](value);
    clearTimeout(this.timer);
    try {
      this.signal?.removeEventListener?.("abort", this.onAbort);
    } catch (thrown) {
      report(thrown);
    }
    if (this.listens) this.client.listen(-1);
  }
}

// What the calls of one client share, and where the core hears of what it began for them.
class Connection extends Plumbing {
  tabs = hasTabs && new Tabs((look) => this.tell(HEAR, 0, look));

  build(init, headers) {
    return value(exported.check(put(headers))) ?? { ...init, headers: new Headers(headers) };
  }

  resume(task, ok, value) {
    this.tell(ok ? RESUME : RESUME_THROWN, task, value);
  }

  posted(task, operation) {
    for (const call of this.calls()) if (call.task === task) call.posted ??= operation;
  }

  // Those of which something goes on, waited for or not.
  calls() {
    return [...calls.values()].filter((call) => call.client === this);
  }

  // In the instance that lives now; what an earlier one began is dead.
  tell(what, number, given) {
    if (clients.get(this.number) === this) return enter(() => exported.tell(this.number, what, number, put(given)));
  }

  // The core sums what the journal has under the budget's name and a slash: no name may be the beginning of another.
  #told() {
    const { budgetKey, ...options } = this.options;
    return budgetKey === undefined ? options : { ...options, budgetKey: encodeURIComponent(budgetKey) };
  }

  start(wanted, call, given) {
    if (clients.get(this.number) !== this) clients.set((this.number = exported.connect(put(this.#told()))), this);
    call.task = this.tell(wanted, call.number, given);
    if (call.left) this.tell(LEAVE, call.task);
  }

  // Once it is closed and nothing of it goes on, the core forgets it.
  async part() {
    await undefined; // the core may be in the middle of something
    if (!this.closed) return;
    for (const call of calls.values()) if (call.client === this) return;
    this.tell(DISCONNECT);
    if (clients.get(this.number) === this) clients.delete(this.number);
  }
}

/* ---- watching -------------------------------------------------------------------------------- */

// The steps of a job, as its call tells them, until somebody asks for them. There may be thousands, so each holds little.
class Steps {
  told = []; // which nobody has asked for yet
  asked = []; // by [resolve, reject]
  last; // the job that was told last
  over;

  constructor(listener) {
    this.listener = listener;
  }

  // Whoever asked first hears of a step, as 0 says, or of an error, as 1 does.
  tell(how, step = { done: true, value: undefined }) {
    const asked = this.asked.shift();
    if (asked) asked[how](step);
    else this.told.push([how, step]);
  }

  ask(...hears) {
    this.asked = this.asked.concat([hears]); // as long as it must be: what grows takes more
    const step = this.told.shift() ?? (this.over && [0]);
    if (step) this.tell(...step);
  }

  end() {
    this.over = true;
    while (this.asked.length) this.tell(0);
  }

  // Called by the call; what it updated before it ended was only put off.
  onUpdate(job, info) {
    this.last = job;
    this.tell(0, { done: false, value: { job, ...info } });
    this.listener?.(job, info);
  }

  resolve(job) {
    later(() => {
      if (job !== this.last) this.tell(0, { done: false, value: { job } });
      this.end();
    });
  }

  reject(error) {
    later(() => {
      if (!this.over) this.tell(1, error);
      this.end();
    });
  }
}

// What a caller iterates over. Nothing is begun before it is asked.
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
    return new Promise((...hears) => this.#steps.ask(...hears));
  }

  async return(value) {
    this.#begin = undefined;
    this.#steps.told = [];
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

  // Begins a call for whoever hears of it.
  #begin(wanted, given, { signal, waitUntil }, heard) {
    const client = this.#client;
    if (client.closed) throw closed();
    if (signal?.aborted) throw reasonOf(signal);
    const { operation, id } = given;
    const call = this.#checked(() => {
      try {
        return new Call(client, heard, signal, operation && (wanted === RENDER ? { operation, jobId: id } : { operation }));
      } catch (cause) {
        throw { field: "signal", message: "signal cannot be listened to", cause };
      }
    });
    try {
      waitUntil?.(new Promise((resolve) => (call.rest = resolve)));
    } catch (thrown) {
      report(thrown);
    }
    if (wanted === POLL) {
      call.listens = true;
      client.listen(1);
    }
    const begin = () => call.ended || enter(() => client.start(wanted, call, given));
    if (exported) begin();
    else this.#load(wanted, given, call, begin);
    return call;
  }

  // Loads the WebAssembly, which counts as time of the call.
  #load(wanted, given, call, begin) {
    const { timeout, options } = this.#client;
    const usual = wanted === PREVIEW_SYNC ? (options.previewTimeout > 0 ? options.previewTimeout : 300000) : timeout;
    const own = typeof given.timeout === "number" && given.timeout === given.timeout ? given.timeout : usual;
    const ms = wanted === POLL ? Math.min(own, usual) : own;
    const begun = performance.now();
    const fail = (error) => {
      if (call.ended) return;
      call.fail(error);
      call.left = true;
      call.over();
    };
    const late = () => {
      const message = "The WebAssembly was not loaded in time; nothing was sent. Check that custom_template_jobs_bg.wasm is served, or raise timeout.";
      if (wanted === POLL && given.timeout <= usual) fail(problem("PollTimeoutError", message, { jobId: given.id }));
      else fail(problem("ConnectionError", message, { sent: false, ...call.about }));
    };
    const timer = setTimeout(late, Math.min(ms, LONGEST));
    init()
      .then(() => {
        if (wanted <= RENDER) given.timeout = Math.max(0, own - (performance.now() - begun));
        begin();
      }, fail)
      .finally(() => clearTimeout(timer));
  }

  // Begins a call whose promise is returned. What `prepare` throws rejects it.
  #run(wanted, names, options, prepare) {
    return new Promise((resolve, reject) => {
      const read = this.#options(options, names);
      this.#begin(wanted, prepare(read), read, { resolve, reject, onUpdate: read.onUpdate });
    });
  }

  #charge(wanted, request, options, target) {
    return this.#run(wanted, CHARGE, options, ({ operation, seconds, timeout }) => {
      const given = { operation, seconds, timeout };
      if (wanted === RENDER) {
        given.id = this.#checked(idOf, target);
        this.#checked(refuseOptions, request);
        if (typeof given.id === "string" && operation === undefined) given.operation = `render:${given.id}`;
      }
      if (given.operation === undefined) given.drawn = given.operation = newOperation();
      const wrong = checkOperation(given.operation);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      if (wanted === RENDER && request === undefined) return given;
      request = given.request = JSON.parse(this.#checked(snapshot, request, "request"));
      if (request === null) throw problem("InvalidRequestError", "request must be an object", { field: "request" });
      const { webhook_url: webhook } = request;
      if (typeof webhook === "string" && webhook.includes("{operation}")) {
        request.webhook_url = this.#checked(fillWebhook, webhook, given.operation);
        given.filled = true;
      } else given.filled = false;
      return given;
    });
  }

  submit(request, options) {
    return this.#charge(SUBMIT, request, options);
  }

  previewAsync(request, options) {
    return this.#charge(PREVIEW_ASYNC, request, options);
  }

  previewSync(request, options) {
    return this.#charge(PREVIEW_SYNC, request, options);
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
    return this.#charge(RENDER, request, options, target);
  }

  get(id, options) {
    return this.#run(GET, READ, options, ({ timeout }) => ({ id: lower(id), timeout }));
  }

  #polling(target, { timeout, until, expectedMs, maxInterval }, attentive) {
    const id = this.#checked(idOf, target);
    return { id, job: this.#checked(jobOf, target), timeout, until, expectedMs, maxInterval, attentive };
  }

  poll(target, options) {
    return this.#run(POLL, POLLING, options, (read) => this.#polling(target, read, !!read.onUpdate));
  }

  watch(target, options) {
    let read = {};
    let begin;
    try {
      read = this.#options(options, POLLING);
      const given = this.#polling(target, read, true);
      begin = (steps) => this.#begin(POLL, given, read, steps);
    } catch (thrown) {
      begin = () => {
        throw thrown;
      };
    }
    return new Updates(begin, read.onUpdate);
  }

  templates(options) {
    return this.#run(TEMPLATES, READ, options, ({ timeout }) => ({ timeout }));
  }

  remainingCredits(options) {
    return this.#run(REMAINING_CREDITS, READ, options, ({ timeout }) => ({ timeout }));
  }

  estimate(question) {
    return this.#run(ESTIMATE, [], undefined, () => ({ request: JSON.parse(this.#checked(snapshot, this.#checked(readOptions, question, QUESTION, "question"), "question")) }));
  }

  pending() {
    return this.#run(PENDING, [], undefined, () => ({}));
  }

  settle(operation, options) {
    return this.#run(SETTLE, ["jobId", "signal"], options, ({ jobId }) => {
      const wrong = checkOperation(operation);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      if (jobId !== undefined && typeof jobId !== "string") throw problem("InvalidRequestError", "jobId must be a string: the id of the job", { field: "jobId" });
      return { id: operation, jobId: lower(jobId) };
    });
  }

  close() {
    const client = this.#client;
    if (client.closed) return;
    client.closed = true;
    for (const call of client.calls()) if (!call.ended) call.quit(closed());
    client.part();
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
