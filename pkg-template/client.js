// The facade: copies options, snapshots requests, makes operation ids, loads the WebAssembly, and delegates. It decides nothing.

import { Call, Connection, LONGEST, calls, checkSignal, dead, markSent, mayBeSent, reasonOf, report } from "./calls.js";
import { checked, ofCharge, problem } from "./errors.js";
import { entry, init, loaded } from "./loading.js";
import { checkOperation, newOperation } from "./operation.js";
import { CHARGE, POLLING, QUESTION, READ, SETTLING, WAITING, checkPreviewWait, copyOptions, readOptions, snapshotRequest } from "./options.js";
import { inBrowser } from "./platform.js";
import { snapshot } from "./snapshot.js";
import { Updates } from "./updates.js";
import { readRequest, parseWebhook as readWebhook } from "./webhook.js";

export { TemplateJobsError, isTemplateJobsError } from "./errors.js";
export { init } from "./loading.js";
export { defineTemplate } from "./template.js";

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

function operationOf(target) {
  try {
    return typeof target === "string" ? target : target.operation;
  } catch (cause) {
    throw { field: "operation", message: "operation cannot be read", cause };
  }
}

// What each step is waited for.
const GOALS = { submit: "video", preview: "preview", render: "video" };

const pick = (object, names) => Object.fromEntries(names.filter((name) => name in object).map((name) => [name, object[name]]));

// A promise with members of its own. Not a subclass: it stays a plain promise.
const withMembers = (promise, members) => Object.defineProperties(promise, Object.getOwnPropertyDescriptors(members));

const closed = (about) =>
  mayBeSent(about)
    ? problem("ClosedError", "The client was closed, and the charge goes on: resume(operation) of a new client brings its job.", { ...about, charged: "maybe", remedy: "resume" })
    : problem("ClosedError", "The client was closed; make a new one.", about);

export class TemplateJobs {
  #client;

  constructor(given) {
    const options = checked([], copyOptions, given);
    if (options.apiKey !== undefined && inBrowser && !options.dangerouslyAllowBrowser) {
      throw problem("InvalidRequestError", "apiKey is readable by everybody who opens this page. Call a relay of yours instead (relay), or set dangerouslyAllowBrowser if the page is yours alone.", { field: "apiKey" });
    }
    this.#client = new Connection(options);
    // Frameworks put proxies around objects, and a proxy has no private members.
    for (const name of METHODS) Object.defineProperty(this, name, { value: this[name].bind(this), configurable: true, writable: true });
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

  // Checks arguments of a charge: what is refused names its operation.
  #refusing(about, check) {
    try {
      return check();
    } catch (error) {
      throw ofCharge(error, about && { ...about, charged: mayBeSent(about) ? "maybe" : "no" });
    }
  }

  // A call for a listener, which an abort of a signal ends.
  #call(listener, signals, about) {
    const client = this.#client;
    if (client.closed) throw closed(about);
    signals = signals.filter((signal) => signal);
    const aborted = signals.find((signal) => signal.aborted);
    if (aborted) throw reasonOf(aborted);
    return this.#refusing(about, () =>
      this.#checked(() => {
        try {
          return new Call(client, listener, signals, about);
        } catch (cause) {
          throw { field: "signal", message: "signal cannot be listened to", cause };
        }
      }),
    );
  }

  // Begins a call for a listener. `run` calls the core with the milliseconds that are left of `timeout`.
  #begin(run, { signal, waitUntil }, listener, { about, charges, timeout, late } = {}) {
    const call = this.#call(listener, [signal], about);
    if (charges) waitUntil ??= this.#client.options.waitUntil ?? entry.waitUntil;
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
    // What is no such number is refused by the core.
    const limited = typeof timeout === "number" && timeout >= 0;
    const ms = Math.min(limited ? timeout : (this.#client.options.timeout ?? 30000), LONGEST);
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

  // Begins a call whose promise is returned. `prepare` makes the function that calls the core; what it throws rejects the call.
  // `about` belongs to each of its errors.
  #run(names, options, prepare, about) {
    return new Promise((resolve, reject) => {
      const [read, { run, ...more }] = this.#refusing(about, () => {
        const read = this.#options(options, names);
        return [read, prepare(read)];
      });
      this.#begin(run, read, { resolve, reject, onUpdate: read.onUpdate }, { about, ...more });
    });
  }

  // A charge: the promise of its job, with its operation.
  #charge(endpoint, request, options, target) {
    // Where the options cannot be read, nothing is sent under it.
    const about = { operation: newOperation() };
    let signal;
    const promise = this.#run(CHARGE, options, (read) => {
      const { timeout } = read;
      const explicit = read.operation !== undefined;
      let id;
      if (endpoint === "render") {
        id = this.#checked(idOf, target);
        if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
      }
      const operation = explicit ? read.operation : id === undefined ? about.operation : `render:${id}`;
      const wrong = checkOperation(operation);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      about.operation = operation;
      if (id !== undefined) about.jobId = id;
      ({ signal } = read);
      const { json, seconds } = endpoint === "render" && request === undefined ? {} : this.#checked(snapshotRequest, request);
      const [extra, metadata] = ["extra", "metadata"].map((name) => (name in read ? this.#checked(snapshot, read[name], name) : undefined));
      const { previewTimeout = 300000 } = this.#client.options;
      return {
        charges: true,
        timeout: timeout === undefined && endpoint === "previewSync" ? previewTimeout : timeout,
        run: (core, number, left, call) =>
          core.charge(number, endpoint, id, json, { operation, explicit, seconds, extra, metadata, timeout: left, over: call.rest && (() => call.end()) }),
      };
    }, about);
    return { promise, about, signal };
  }

  // The promise of a job that was charged for, which can be waited for too. `goal` is the goal of its step, or where the
  // promise brings `{ job, step }`, unset.
  #jobPromise({ promise, about, signal }, goal) {
    const { operation } = about;
    const job = goal ? promise : promise.then(({ job }) => job);
    // The call that waits for the job's result, once it has one.
    const wait = (read, listener) => {
      const call = this.#call(listener, [signal, read.signal], about);
      promise
        .then((found) => {
          const run = this.#polling(goal ? found : found.job, { ...read, operation, until: goal ?? GOALS[found.step] });
          call.begin((core, number) => run(core, number, undefined, call));
        })
        .catch((error) => call.fail(error));
      return call;
    };
    // A failure rejects the wait, and nobody needs to handle it twice.
    const handled = () => job.catch(() => {});
    return withMembers(job, {
      operation,
      wait: (options) => {
        handled();
        return new Promise((resolve, reject) => {
          const read = this.#refusing(about, () => this.#options(options, WAITING));
          wait(read, { resolve, reject, onUpdate: read.onUpdate });
        });
      },
      [Symbol.asyncIterator]: () => {
        handled();
        return new Updates((steps) => wait({}, steps));
      },
    });
  }

  submit(request, options) {
    return this.#jobPromise(this.#charge("submit", request, options), "video");
  }

  previewAsync(request, options) {
    return this.#jobPromise(this.#charge("previewAsync", request, options), "preview");
  }

  previewSync(request, options) {
    const { promise, about } = this.#charge("previewSync", request, options);
    return withMembers(promise, { operation: about.operation });
  }

  preview(request, options) {
    const begun = performance.now();
    let charge = { about: { operation: newOperation() } };
    const promise = new Promise((resolve) => {
      const read = this.#refusing(charge.about, () => {
        const read = this.#options(options, [...CHARGE, ...POLLING]);
        this.#checked(checkPreviewWait, read);
        return read;
      });
      const { timeout } = read;
      charge = this.#charge("previewAsync", request, pick(read, CHARGE));
      const wait = () => {
        const left = typeof timeout === "number" ? Math.max(0, timeout - (performance.now() - begun)) : undefined;
        return this.#jobPromise(charge, "preview").wait({ ...pick(read, WAITING), timeout: left });
      };
      resolve(charge.promise.then(wait));
    });
    return withMembers(promise, { operation: charge.about.operation });
  }

  render(target, request, options) {
    return this.#jobPromise(this.#charge("render", request, options, target), "video");
  }

  resume(operation) {
    const about = {};
    const promise = this.#run([], undefined, () => {
      const id = this.#checked(operationOf, operation);
      const wrong = checkOperation(id);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      about.operation = id;
      // It was begun before.
      markSent(about);
      return { run: (core, number) => core.resume(number, id) };
    }, about);
    about.operation ??= newOperation();
    const resumed = this.#jobPromise({ promise, about });
    resumed.catch(() => {});
    return resumed;
  }

  get(target, options) {
    return this.#run(READ, options, ({ timeout }) => {
      const id = this.#checked(idOf, target);
      if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
      return { timeout, run: (core, number) => core.read(number, "get", id, timeout) };
    });
  }

  // What a wait needs. It is not bounded by the time that loading takes, so `timeout` is the core's.
  #polling(target, { timeout, until, expectedMs, maxInterval, operation }) {
    const id = this.#checked(idOf, target);
    if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
    const job = this.#checked(jobOf, target);
    return (core, number, _, call) =>
      core.poll(number, id, job, { timeout, until, expectedMs, maxInterval, operation }, call.listener.onUpdate && call.updating());
  }

  poll(target, options) {
    return this.#run(POLLING, options, (read) => {
      const { timeout = 30000 } = this.#client.options;
      const own = typeof read.timeout === "number" && read.timeout < timeout;
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
    return this.#run(SETTLING, options, ({ jobId }) => {
      const wrong = checkOperation(operation);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      if (jobId !== undefined && typeof jobId !== "string") throw problem("InvalidRequestError", "jobId must be the UUID of a job", { field: "jobId" });
      return { about: { operation }, run: (core, number) => core.settle(number, operation, lower(jobId)) };
    });
  }

  async handleWebhook(request) {
    const { timeout } = this.#client.options;
    const read = readRequest(request, Math.min(timeout > 0 ? timeout : 30000, LONGEST));
    const { jobId, candidates } = await read.catch((refusal) =>
      this.#checked(() => {
        throw refusal;
      }),
    );
    return this.#run([], undefined, () => ({ run: (core, number) => core.handleWebhook(number, jobId, candidates) }));
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
    for (const call of calls.values()) if (call.client === client && !call.ended) call.quit(closed(call.about));
    if (!dead) client.close();
  }
}
const METHODS = Object.getOwnPropertyNames(TemplateJobs.prototype).filter((name) => name !== "constructor");
if (Symbol.dispose) {
  TemplateJobs.prototype[Symbol.dispose] = function () {
    this.close();
  };
}

/* ---- helpers --------------------------------------------------------------------------------- */

const isFilled = (text) => typeof text === "string" && text !== "";

export const isPreviewed = (job) => isFilled(job?.preview);
export const isRendered = (job) => job?.status === "done" && isFilled(job.video_output);

const variable = (type, field) => (value) => ({ type, properties: { [field]: value } });

export const text = variable("text", "content");
export const image = variable("image", "url");
export const video = variable("video", "url");
export const audio = variable("audio", "url");
export const avatar = variable("avatar", "avatar_id");
export const voiceover = variable("voiceover", "voice_id");

export const prices = {
  perBlock: {},
  perSecond: { aurora_v1: { credits: 1, seconds: 1 }, aurora_v1_fast: { credits: 0.5, seconds: 1 } },
};

export const parseWebhook = (...given) => checked([], readWebhook, ...given);
