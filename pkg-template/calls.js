// The calls in flight. Each settles once: by the core, by its caller, or by a panic.

import { Core } from "./custom_template_jobs.js";
import { TemplateJobsError, checked, ofCharge, problem } from "./errors.js";
import { entry, fallback, init, loaded } from "./loading.js";
import { readOptions } from "./options.js";
import { onPanic } from "./panic.js";
import { redactError } from "./redact.js";

export const LONGEST = 2147483647; // the longest delay of a timer, in ms

// The calls that have not settled, and the charges that continue after their calls, by number.
export const calls = new Map();
let last = 0;
export let dead; // the error of every call after a panic

// Members of the errors of a charge that may have been sent. The call and the waits for its job share one object.
const sent = new WeakSet();
export const mayBeSent = (about) => sent.has(about);
export const markSent = (about) => void sent.add(about);

// After a panic the module is unusable: rejects every pending call, and every later one.
function die(cause) {
  if (dead) return;
  dead = { cause: plain(cause) };
  for (const call of calls.values()) {
    call.fail(
      mayBeSent(call.about)
        ? problem("ChargeUnknownError", "The WebAssembly panicked while a charge was in flight, so it may have been charged: call settle(operation) after a reload, or check your account.", { ...dead, ...call.about, charged: "maybe", remedy: "settle_or_discard" })
        : stopped(call),
    );
    call.end();
  }
}
onPanic(die);

const stopped = ({ about }) =>
  problem("LoadError", "The WebAssembly panicked. Reload the page or restart the worker, and please report this.", { ...dead, ...about, remedy: "none" });

const plain = (thrown) => redactError(thrown, []);

export function report(thrown) {
  if (typeof reportError === "function") reportError(thrown);
  else console.error(thrown);
}

// Calls a function of the caller's after the core has returned, since it may call the client again.
export const later = (call) =>
  queueMicrotask(() => {
    try {
      call();
    } catch (thrown) {
      report(thrown);
    }
  });

// The reason of an aborted call. Some signals have none.
export const reasonOf = (signal) => signal.reason ?? new DOMException("This operation was aborted", "AbortError");

export function checkSignal({ signal, waitUntil, onUpdate }) {
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

// One call of a method. Its listener has the functions `resolve`, `reject` and perhaps `onUpdate`. Ten thousand calls may be
// pending, so each holds as little as possible.
export class Call {
  constructor(client, listener, signals, about) {
    this.client = client;
    this.listener = listener;
    this.about = about; // members of each of its errors
    if (signals.length) {
      this.signals = signals;
      this.onAbort = () => this.quit(reasonOf(signals.find(({ aborted }) => aborted) ?? signals[0]));
      for (const signal of signals) signal.addEventListener("abort", this.onAbort);
    }
    calls.set((this.number = ++last), this);
  }

  // Starts the call. `run` calls the core and returns its promise.
  begin(run) {
    if (this.ended) return;
    if (dead) return this.fail(stopped(this));
    try {
      this.begun = true;
      run(this.client.core(), this.number).then(
        (value) => this.finish("resolve", value),
        (record) => this.fail(record && new TemplateJobsError({ ...this.about, ...record })),
      );
    } catch (thrown) {
      die(thrown);
    }
  }

  // Passes an update to the listener.
  update(job, step, progress = null, remainingMs, nextPollMs) {
    later(() => this.hasQuit || this.listener.onUpdate?.(job, { job, step, progress, remainingMs, nextPollMs }));
  }

  // `update` as a function that references nothing but this call.
  updating() {
    return (...update) => this.update(...update);
  }

  // Rejects the call at its caller's wish. A charge that may have been sent continues.
  quit(reason) {
    this.hasQuit = true;
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
    if (how === "resolve" && this.about) markSent(this.about);
    this.listener[how](value);
    try {
      for (const signal of this.signals ?? []) signal.removeEventListener?.("abort", this.onAbort);
    } catch (thrown) {
      report(thrown);
    }
    if (!this.rest || !this.begun) this.end();
  }

  // The charge has ended too.
  end() {
    this.rest?.();
    calls.delete(this.number);
  }
}

export const closed = (about) =>
  mayBeSent(about)
    ? problem("ClosedError", "The client was closed, and the charge continues: call resume(operation) on a new client to get its job.", { ...about, charged: "maybe", remedy: "resume" })
    : problem("ClosedError", "The client was closed; make a new one.", about);

// Checks the arguments of a charge. An error names the operation.
export function refusing(about, check) {
  try {
    return check();
  } catch (error) {
    throw ofCharge(error, about && { ...about, charged: mayBeSent(about) ? "maybe" : "no" });
  }
}

// The state that the calls of one client share. Its methods are not private, since Turbopack of Next.js 14 loses the imports in a
// function that is passed to a private method.
export class Connection {
  #core;

  constructor(options) {
    const { baseUrl = "https:", onEvent } = options;
    options.idempotencyHeader ??= !/^[a-z][a-z\d+.-]*:/i.test(baseUrl);
    if (onEvent) options.onEvent = (event) => later(() => onEvent(event));
    // Called right before a charging request is sent.
    options.onSend = (operation) => {
      for (const call of calls.values()) if (call.client === this && call.about?.operation === operation) markSent(call.about);
    };
    this.options = options;
    // Removes secrets from errors of the facade. The core has its own list.
    const values = Array.isArray(options.headers) ? options.headers.map(([, value]) => value) : [];
    this.secrets = [options.apiKey, ...values].filter((value, index) => typeof value === "string" && value.length >= (index && 8));
  }

  core() {
    if (!this.#core && fallback) this.options.onEvent?.({ type: "warning", code: "wasm_fallback", message: fallback });
    return (this.#core ??= new Core(this.options));
  }

  abort(call) {
    this.#core?.abort(call);
  }

  checked(check, ...given) {
    return checked(this.secrets, check, ...given);
  }

  // Copies the options of a call and separates the signal.
  read(options, names) {
    const read = this.checked(readOptions, options, names);
    this.checked(checkSignal, read);
    return read;
  }

  // Creates a call that the abort of a signal rejects.
  call(listener, signals, about) {
    if (this.closed) throw closed(about);
    signals = signals.filter((signal) => signal);
    const aborted = signals.find((signal) => signal.aborted);
    if (aborted) throw reasonOf(aborted);
    return refusing(about, () =>
      this.checked(() => {
        try {
          return new Call(this, listener, signals, about);
        } catch (cause) {
          throw { field: "signal", message: "signal cannot be listened to", cause };
        }
      }),
    );
  }

  // Starts a call for a listener. `run` calls the core with the remaining milliseconds of `timeout`.
  begin(run, { signal, waitUntil }, listener, { about, charges, timeout, late } = {}) {
    const call = this.call(listener, [signal], about);
    if (charges) waitUntil ??= this.options.waitUntil ?? entry.waitUntil;
    try {
      waitUntil?.(new Promise((resolve) => (call.rest = resolve)));
    } catch (thrown) {
      report(thrown);
    }
    if (loaded) call.begin((core, number) => run(core, number, timeout, call));
    else this.load(run, call, timeout, late);
    return call;
  }

  // Loads the WebAssembly. Its time counts towards `timeout`.
  load(run, call, timeout, name = "ConnectionError") {
    // The core refuses an invalid number.
    const limited = typeof timeout === "number" && timeout >= 0;
    const ms = Math.min(limited ? timeout : (this.options.timeout ?? 30000), LONGEST);
    const begun = performance.now();
    const late = () =>
      call.fail(problem(name, `The WebAssembly was not loaded within ${ms} ms; nothing was sent. Check that custom_template_jobs_bg.wasm is served.`, { sent: false, ...call.about }));
    const timer = setTimeout(late, ms);
    init()
      .then(
        () => call.begin((core, number) => run(core, number, limited ? Math.max(0, timeout - (performance.now() - begun)) : timeout, call)),
        (error) => call.fail(ofCharge(error, call.about)),
      )
      .finally(() => clearTimeout(timer));
  }

  // Starts a call and returns its promise. `prepare` returns the function that calls the core; if it throws, the call rejects.
  // `about` holds members of each of its errors.
  run(names, options, prepare, about) {
    return new Promise((resolve, reject) => {
      const [read, { run, ...more }] = refusing(about, () => {
        const read = this.read(options, names);
        return [read, prepare(read)];
      });
      this.begin(run, read, { resolve, reject, onUpdate: read.onUpdate }, { about, ...more });
    });
  }

  // Charges that may have been sent continue.
  close() {
    this.#core?.free();
    this.#core = undefined;
  }
}
