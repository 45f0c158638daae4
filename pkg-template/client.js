// The facade: copies options, snapshots requests, makes operation ids, loads the WebAssembly, and delegates. It decides nothing.

import { Connection, LONGEST, calls, closed, dead, markSent, refusing } from "./calls.js";
import { checked, problem } from "./errors.js";
import { init } from "./loading.js";
import { checkOperation, newOperation } from "./operation.js";
import { CHARGE, POLLING, QUESTION, READ, SETTLING, WAITING, checkPreviewWait, copyOptions, readOptions, snapshotRequest } from "./options.js";
import { inBrowser } from "./platform.js";
import { snapshot } from "./snapshot.js";
import { Updates } from "./updates.js";
import { readRequest, parseWebhook as readWebhook } from "./webhook.js";

export { TemplateJobsError, isTemplateJobsError } from "./errors.js";
export { init } from "./loading.js";
export { defineTemplate } from "./template.js";

// Job ids are compared in lower case.
const lower = (id) => (typeof id === "string" ? id.toLowerCase() : id);

function idOf(target) {
  try {
    return lower(target?.id ?? target);
  } catch (cause) {
    throw { field: "id", message: "id cannot be read", cause };
  }
}

// A copy of what the caller knows of a job.
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

// The result that each step is waited for.
const GOALS = { submit: "video", preview: "preview", render: "video" };

const pick = (object, names) => Object.fromEntries(names.filter((name) => name in object).map((name) => [name, object[name]]));

// A promise with extra members. It is not a subclass, so `then` returns plain promises.
const withMembers = (promise, members) => Object.defineProperties(promise, Object.getOwnPropertyDescriptors(members));

export class TemplateJobs {
  #client;

  constructor(given) {
    const options = checked([], copyOptions, given);
    if (options.apiKey !== undefined && inBrowser && !options.dangerouslyAllowBrowser) {
      throw problem("InvalidRequestError", "apiKey is readable by everybody who opens this page. Call a relay of yours instead (relay), or set dangerouslyAllowBrowser if the page is yours alone.", { field: "apiKey" });
    }
    this.#client = new Connection(options);
    // Frameworks wrap objects in proxies, and a proxy has no private members.
    for (const name of METHODS) Object.defineProperty(this, name, { value: this[name].bind(this), configurable: true, writable: true });
  }

  // Starts a charge. Returns the promise of its job, with its operation.
  #charge(endpoint, request, options, target) {
    // If the options cannot be read, nothing is sent under this id.
    const about = { operation: newOperation() };
    let signal;
    const promise = this.#client.run(CHARGE, options, (read) => {
      const { timeout } = read;
      const explicit = read.operation !== undefined;
      let id;
      if (endpoint === "render") {
        id = this.#client.checked(idOf, target);
        if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
      }
      const operation = explicit ? read.operation : id === undefined ? about.operation : `render:${id}`;
      const wrong = checkOperation(operation);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      about.operation = operation;
      if (id !== undefined) about.jobId = id;
      ({ signal } = read);
      const { json, seconds } = endpoint === "render" && request === undefined ? {} : this.#client.checked(snapshotRequest, request);
      const [extra, metadata] = ["extra", "metadata"].map((name) => (name in read ? this.#client.checked(snapshot, read[name], name) : undefined));
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

  // Adds `wait()` and the updates to the promise of a charged job. `goal` is the goal of its step; it is unset if the promise
  // resolves with `{ job, step }`.
  #jobPromise({ promise, about, signal }, goal) {
    const { operation } = about;
    const job = goal ? promise : promise.then(({ job }) => job);
    // Waits for the result of the job, once its id is known.
    const wait = (read, listener) => {
      const call = this.#client.call(listener, [signal, read.signal], about);
      promise
        .then((found) => {
          const run = this.#polling(goal ? found : found.job, { ...read, operation, until: goal ?? GOALS[found.step] });
          call.begin((core, number) => run(core, number, undefined, call));
        })
        .catch((error) => call.fail(error));
      return call;
    };
    // A failure rejects the wait too, so it needs only one handler.
    const handled = () => job.catch(() => {});
    return withMembers(job, {
      operation,
      wait: (options) => {
        handled();
        return new Promise((resolve, reject) => {
          const read = refusing(about, () => this.#client.read(options, WAITING));
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
      const read = refusing(charge.about, () => {
        const read = this.#client.read(options, [...CHARGE, ...POLLING]);
        this.#client.checked(checkPreviewWait, read);
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
    const promise = this.#client.run([], undefined, () => {
      const id = this.#client.checked(operationOf, operation);
      const wrong = checkOperation(id);
      if (wrong) throw problem("InvalidRequestError", wrong.message, wrong);
      about.operation = id;
      // It was started before.
      markSent(about);
      return { run: (core, number) => core.resume(number, id) };
    }, about);
    about.operation ??= newOperation();
    const resumed = this.#jobPromise({ promise, about });
    resumed.catch(() => {});
    return resumed;
  }

  get(target, options) {
    return this.#client.run(READ, options, ({ timeout }) => {
      const id = this.#client.checked(idOf, target);
      if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
      return { timeout, run: (core, number) => core.read(number, "get", id, timeout) };
    });
  }

  // The parts of a wait. Loading is not limited by `timeout` here, which the core applies to the wait.
  #polling(target, { timeout, until, expectedMs, maxInterval, urgency, operation }) {
    const id = this.#client.checked(idOf, target);
    if (typeof id !== "string") throw problem("InvalidRequestError", "id must be the UUID of a job", { field: "id" });
    const job = this.#client.checked(jobOf, target);
    return (core, number, _, call) =>
      core.poll(number, id, job, { timeout, until, expectedMs, maxInterval, urgency, operation }, call.listener.onUpdate && call.updating());
  }

  poll(target, options) {
    return this.#client.run(POLLING, options, (read) => {
      const { timeout = 30000 } = this.#client.options;
      const own = typeof read.timeout === "number" && read.timeout < timeout;
      return { run: this.#polling(target, read), timeout: own ? read.timeout : timeout, late: own ? "PollTimeoutError" : undefined };
    });
  }

  watch(target, options) {
    let read = {};
    let begin;
    try {
      read = this.#client.read(options, POLLING);
      const run = this.#polling(target, read);
      begin = (steps) => this.#client.begin(run, read, steps);
    } catch (thrown) {
      begin = () => {
        throw thrown;
      };
    }
    return new Updates(begin, read.onUpdate);
  }

  templates(options) {
    return this.#client.run(READ, options, ({ timeout }) => ({ timeout, run: (core, number) => core.read(number, "templates", undefined, timeout) }));
  }

  remainingCredits(options) {
    return this.#client.run(READ, options, ({ timeout }) => ({ timeout, run: (core, number) => core.read(number, "remainingCredits", undefined, timeout) }));
  }

  estimate(question) {
    return this.#client.run([], undefined, () => {
      const read = this.#client.checked(readOptions, question, QUESTION, "question");
      return { run: (core, number) => core.estimate(number, read) };
    });
  }

  async pending() {
    const list = () => this.#client.run([], undefined, () => ({ run: (core, number) => core.pending(number) }));
    // The relay may know those whose outcome is unknown; of the others nothing is asked.
    if (this.#client.options.relay) await Promise.allSettled((await list()).map(({ operation }) => this.settle(operation)));
    return list();
  }

  settle(operation, options) {
    return this.#client.run(SETTLING, options, ({ jobId }) => {
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
      this.#client.checked(() => {
        throw refusal;
      }),
    );
    return this.#client.run([], undefined, () => ({ run: (core, number) => core.handleWebhook(number, jobId, candidates) }));
  }

  discard(operation) {
    return this.#client.run([], undefined, () => {
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
