// The facade: loads the WebAssembly, gives its numbers names, and makes errors of plain records. It decides nothing.
//
// The core runs in tasks: `start` begins one, and `resume` hands it what it waited for. So whatever the core throws is
// thrown here, and rejects the call.

import { imports } from "./custom_template_jobs_bg.js";
import { Plumbing, calls, clients, hasTabs, inBrowser, later, report } from "./plumbing.js";
import { Tabs } from "./tabs.js";
import { attach, put, value } from "./values.js";

// What the core is told.
const [
  RESUME, RESUME_THROWN, LEAVE, LATE, DISCONNECT,
  SUBMIT, PREVIEW_ASYNC, PREVIEW_SYNC, RENDER, GET, TEMPLATES, REMAINING_CREDITS, ESTIMATE, PENDING, SETTLE, POLL, HEAR,
] = Array(17).keys();

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
  try {
    const words = String(cause?.message ?? cause);
    const plain = new Error(secret ? words.replaceAll(secret, "…") : words);
    plain.name = String(cause?.name ?? "Error");
    const code = cause?.code ?? cause?.cause?.code;
    if (code !== undefined) plain.code = code;
    return plain;
  } catch {
    return new Error("unreadable");
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

// One call of a method. How it ends is heard by the functions `resolve` and `reject` of whoever made it, and what it sees of
// a job meanwhile by `onUpdate`, if that is there. Ten thousand may wait, so it holds no more than it needs.
class Call {
  constructor(client, heard, signal) {
    this.client = client;
    this.heard = heard;
    this.signal = signal;
    calls.set((this.number = ++youngest), this);
    if (signal) {
      this.onAbort = () => this.quit(signal.reason);
      signal.addEventListener("abort", this.onAbort);
    }
  }

  // Called by the core.
  settle(ok, value) {
    if (ok) this.finish("resolve", value);
    else this.fail(new TemplateJobsError(value, this.client.secret));
    if (!this.left) this.over();
  }

  update(job, nextLookMs, remainingMs) {
    later(() => this.left || this.heard.onUpdate?.(job, remainingMs > 0 ? { remainingMs, nextLookMs } : { nextLookMs }));
  }

  alarm(task, ms) {
    if (ms > 2147483647) return;
    this.timer = setTimeout(() => {
      this.left = true;
      this.client.tell(LATE, task);
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
    if (this.task) this.client.tell(LEAVE, this.task);
    else this.over();
  }

  finish(how, value) {
    if (this.ended) return;
    this.ended = true;
    this.heard[how](value);
    clearTimeout(this.timer);
    this.signal?.removeEventListener("abort", this.onAbort);
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

  start(wanted, call, given) {
    if (clients.get(this.number) !== this) clients.set((this.number = exported.connect(put(this.options))), this);
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

const closed = () => problem("ClosedError", "The client was closed; make a new one.");

export class TemplateJobs {
  #client;

  constructor(options = {}) {
    if (options.apiKey !== undefined && inBrowser && !options.dangerouslyAllowBrowser) {
      throw problem("InvalidRequestError", "apiKey is readable by everybody who opens this page. Call a relay of yours instead (baseUrl), or set dangerouslyAllowBrowser if the page is yours alone.", { field: "apiKey" });
    }
    this.#client = new Connection(options);
  }

  #run(wanted, given, options) {
    return new Promise((resolve, reject) => this.#begin(wanted, given, options, { resolve, reject }));
  }

  // Begins a call for whoever hears of it.
  #begin(wanted, given, { signal, waitUntil } = {}, heard) {
    const client = this.#client;
    if (client.closed) throw closed();
    if (signal?.aborted) throw signal.reason;
    const call = new Call(client, heard, signal);
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
    else
      init().then(begin, (error) => {
        call.fail(error);
        call.over();
      });
    return call;
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

  #poll(target, { timeout, until, expectedMs, maxInterval, signal } = {}, heard) {
    const job = typeof target === "object" && target ? target : undefined;
    const given = { id: job ? job.id : target, job, timeout, until, expectedMs, maxInterval, attentive: !!heard.onUpdate };
    return this.#begin(POLL, given, { signal }, heard);
  }

  poll(target, options) {
    return new Promise((resolve, reject) => this.#poll(target, options, { resolve, reject, onUpdate: options?.onUpdate }));
  }

  watch(target, options = {}) {
    return new Updates((steps) => this.#poll(target, options, steps), options.onUpdate);
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
  try {
    const { pathname, searchParams } = new URL(url ?? "/", "http://localhost");
    const operation = searchParams.get("operation") ?? decodeURIComponent(pathname.split("/").pop());
    if (operation) found.operation = operation;
  } catch {
    // Whoever called us wrote the URL. What rings is the job's id; the operation is left out where nobody can read it.
  }
  return found;
}
