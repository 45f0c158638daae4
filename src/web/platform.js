// The parts of the platform that JavaScript reaches best: the runtime, its page, the caller's functions, and bodies.

const agent = globalThis.navigator?.userAgent ?? "";
const server =
  globalThis.process?.versions?.node || globalThis.Deno || globalThis.Bun || globalThis.EdgeRuntime || agent === "Cloudflare-Workers";

/** A page, a worker of one, or something that plays one, such as jsdom. */
export const inBrowser = !!globalThis.document || (!server && typeof WorkerGlobalScope === "function");

/** Elsewhere there are no other tabs, and an open channel would keep a process alive. */
export const hasTabs = () => inBrowser && !server;

/**
 * How many polls a client may have in flight. Browsers open six connections to a host; elsewhere ten thousand jobs are
 * polled some 800 times a second. 0 where the calls of a client must not wake one another.
 */
export const pollsAtOnce = () => (agent === "Cloudflare-Workers" || globalThis.EdgeRuntime ? 0 : inBrowser ? 6 : 100);

export const isVisible = () => globalThis.document?.visibilityState !== "hidden";
export const isOnline = () => globalThis.navigator?.onLine !== false;
export const monotonic = () => performance.now();

/* ---- the caller's functions ---- */

/** The pairs of name and value of a request's headers. Asks the caller's functions for them. */
export async function headerPairs({ apiId, apiKey, headers }) {
  const pairs = [];
  if (apiId !== undefined) pairs.push(["x-api-id", apiId]);
  const key = typeof apiKey === "function" ? await apiKey() : apiKey;
  if (key !== undefined) pairs.push(["x-api-key", key]);
  const given = typeof headers === "function" ? await headers() : headers;
  if (given) for (const [name, value] of given[Symbol.iterator] ? given : Object.entries(given)) pairs.push([name, value]);
  return pairs;
}

/** Replaces an entry in a journal. Where a journal of the caller's cannot, another client may write between the two. */
export function replaceEntry(journal, id, old, entry) {
  if (typeof journal.replace === "function") return journal.replace(id, old, entry);
  return (async () => {
    const same = (await journal.read(id)) === old;
    if (same) await journal.write(id, entry);
    return same;
  })();
}

/** The code by which a runtime names what failed; what was thrown may not even be readable. */
export function codeOf(thrown) {
  try {
    const code = thrown?.code ?? thrown?.cause?.code ?? thrown?.cause?.message;
    return typeof code === "string" ? code : undefined;
  } catch {}
}

/* ---- requests ---- */

/**
 * What a request is made of: no redirect is followed, since the key would go along, and nothing is cached. The signal is
 * given to `fetch` alone: Node keeps the signal of a request that is never sent until its event loop turns.
 */
export function requestInit(method, headers, body) {
  const init = { method, headers, body, redirect: "manual" };
  // workerd refuses this option at older compatibility dates, and caches nothing anyway.
  if (agent !== "Cloudflare-Workers") init.cache = "no-store";
  return init;
}

// A page that goes to the back-forward cache with a read in flight would come back to an answer that never comes, or of long
// ago: the read is aborted, and retried when the page is back. Charges go on.
const reads = new Set();
const abortReads = () => reads.forEach((read) => read.abort());

// The DOM of a test may bring an AbortController of its own, whose signals the platform refuses.
let fits;
function signalOf({ signal }) {
  try {
    fits ??= !!new Request("https://a.test", { signal: new AbortController().signal });
  } catch {
    fits = false;
  }
  if (fits) return signal;
}

/** Aborts a request that is given up. */
export class Abort {
  #controller = new AbortController();

  constructor(isRead) {
    if (!isRead) return;
    if (!reads.size) globalThis.addEventListener?.("pagehide", abortReads);
    reads.add(this);
  }

  get signal() {
    return signalOf(this.#controller);
  }

  abort() {
    this.#controller.abort();
  }

  /** The request is over. One whose answer is `complete` is not aborted: that would cost 0.1 ms in Node. */
  over(complete) {
    if (!complete) this.abort();
    if (reads.delete(this) && !reads.size) globalThis.removeEventListener?.("pagehide", abortReads);
  }
}

/* ---- answers ---- */

const MOST = 4194304; // UTF-16 units of an answer that are read: a job has a few thousand

/**
 * The status, `Retry-After` in milliseconds from now, `X-Request-Id`, and the body of an answer: `json`, or `text`, which is `cut` where it
 * broke off. What arrived of a charge's answer counts: the id of a job that was paid for may be in it.
 */
export async function readAnswer(answer, charges) {
  const { status } = answer;
  if (typeof status !== "number") throw new TypeError("fetch returned no Response");
  const read = { status, retryAfter: retryAfter(answer), requestId: header(answer, "x-request-id"), text: "" };
  try {
    const reader = charges && answer.body?.getReader?.();
    if (reader) {
      const decoder = new TextDecoder();
      for (let part; read.text.length <= MOST && ((part = await reader.read()), !part.done); ) {
        read.text += decoder.decode(part.value, { stream: true });
      }
      read.text += decoder.decode();
      if (read.text.length > MOST) reader.cancel().catch(() => {});
    } else read.text = await answer.text();
  } catch {
    read.cut = true;
    return read;
  }
  if (read.text.length > MOST) read.text = "(more than 4 MB)";
  else
    try {
      read.json = JSON.parse(read.text);
    } catch {}
  return read;
}

// Seconds or a date.
function retryAfter(answer) {
  const asked = header(answer, "retry-after");
  const ms = /^[\d.]+$/.test(asked) ? asked * 1000 : Date.parse(asked) - Date.now();
  if (ms === ms) return ms;
}

// What an injected fetch returned may have no headers.
function header(answer, name) {
  try {
    const value = answer.headers.get(name);
    if (typeof value === "string") return value;
  } catch {}
}

// Levels and texts of an error's body that are read, and characters of a path.
const DEEP = 16;
const MANY = 1000;
const LONG = 1000;

// The texts in the body of an error, in the order of their names, each with the path of its field.
function textsOf(body, path = "", depth = DEEP, texts = []) {
  if (typeof body === "string") texts.push([path, body]);
  else if (depth && typeof body === "object" && body && path.length <= LONG) {
    const keys = Object.keys(body);
    for (const key of Array.isArray(body) ? keys : keys.sort()) {
      if (texts.length >= MANY) break;
      // A text in a list is one of its field's.
      const at = path && `${path}.`;
      textsOf(body[key], Array.isArray(body) && typeof body[key] === "string" ? path : at + key, depth - 1, texts);
    }
  }
  return texts;
}

/** What the body of an error says about single fields: texts by the path of each, as `variables.headline`. */
export function fieldsOf(body) {
  const fields = new Map();
  for (const [path, text] of body?.detail ? [] : textsOf(body)) {
    if (path && path.length <= LONG) fields.set(path, [...(fields.get(path) ?? []), text]);
  }
  return Object.fromEntries(fields);
}

/** The first text in the body of an error: its `detail`, or that of a field, then with the path of that. */
export function reasonOf(body) {
  if (typeof body?.detail === "string") return body.detail;
  const [[path, text] = []] = textsOf(body);
  return path ? `${path}: ${text}` : text;
}

/* ---- the page ---- */

/** Calls `changed(false)` when the page is shown or hidden or its network changes, and `changed(true)` when it was restored. */
export function listen(begin, changed) {
  const verb = begin ? "addEventListener" : "removeEventListener";
  globalThis.document?.[verb]("visibilitychange", changed);
  globalThis[verb]?.("online", changed);
  globalThis[verb]?.("pageshow", changed);
}

/** A lock against every holder of its name, in other tabs too: `ready` once it is held, `release()` when it no longer is. */
export class Lock {
  constructor(name) {
    const waiting = new AbortController();
    const held = new Promise((resolve) => (this.unlock = resolve));
    this.release = () => {
      this.unlock();
      waiting.abort();
    };
    this.ready = new Promise((resolve) => {
      navigator.locks.request(name, { signal: signalOf(waiting) }, () => (resolve(), held)).catch(resolve);
    });
  }
}
export const hasLocks = () => inBrowser && !!globalThis.navigator?.locks;
