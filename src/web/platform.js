// The platform: the runtime, its page, the caller's functions, requests and bodies.

const agent = globalThis.navigator?.userAgent ?? "";
const server =
  globalThis.process?.versions?.node || globalThis.Deno || globalThis.Bun || globalThis.EdgeRuntime || agent === "Cloudflare-Workers";

/** Whether this is a page, a worker of one, or a simulated page such as jsdom. */
export const inBrowser = !!globalThis.document || (!server && typeof WorkerGlobalScope === "function");

/** Only pages have other tabs. Elsewhere an open channel would keep the process alive. */
export const hasTabs = () => inBrowser && !server;

/**
 * The most polls of a client in flight. Browsers open six connections to a host. Elsewhere ten thousand jobs need some 800 polls a
 * second. 0 if the calls of a client must not wake one another.
 */
export const pollsAtOnce = () => (agent === "Cloudflare-Workers" || globalThis.EdgeRuntime ? 0 : inBrowser ? 6 : 100);

export const isVisible = () => globalThis.document?.visibilityState !== "hidden";
export const isOnline = () => globalThis.navigator?.onLine !== false;
export const monotonic = () => performance.now();

/* ---- the caller's functions ---- */

/** The headers of a request as pairs of name and value. Calls the caller's functions. */
export async function headerPairs({ apiId, apiKey, headers }) {
  const pairs = [];
  if (apiId !== undefined) pairs.push(["x-api-id", apiId]);
  const key = typeof apiKey === "function" ? await apiKey() : apiKey;
  if (key !== undefined) pairs.push(["x-api-key", key]);
  const given = typeof headers === "function" ? await headers() : headers;
  if (given) for (const [name, value] of given[Symbol.iterator] ? given : Object.entries(given)) pairs.push([name, value]);
  return pairs;
}

/** Replaces an entry in a journal. If the journal has no `replace`, another client may write in between. */
export function replaceEntry(journal, id, old, entry) {
  if (typeof journal.replace === "function") return journal.replace(id, old, entry);
  return (async () => {
    const same = (await journal.read(id)) === old;
    if (same) await journal.write(id, entry);
    return same;
  })();
}

/** The runtime's code of a failure. The exception may be unreadable. */
export function codeOf(thrown) {
  try {
    const code = thrown?.code ?? thrown?.cause?.code ?? thrown?.cause?.message;
    return typeof code === "string" ? code : undefined;
  } catch {}
}

/* ---- requests ---- */

/**
 * The init of a request. No redirect is followed, since it would carry the key, and nothing is cached. Only `fetch` gets the
 * signal: Node keeps the signal of a request that is never sent until its event loop turns.
 */
export function requestInit(method, headers, body) {
  const init = { method, headers, body, redirect: "manual" };
  // workerd rejects this option at older compatibility dates, and caches nothing anyway.
  if (agent !== "Cloudflare-Workers") init.cache = "no-store";
  return init;
}

// A page may enter the back-forward cache with a read in flight, whose response would then never arrive or be old. So the read is
// aborted, and retried when the page is restored. Charges continue.
const reads = new Set();
const abortReads = () => reads.forEach((read) => read.abort());

// The DOM of a test may have its own AbortController, whose signals the platform refuses.
let fits;
function signalOf({ signal }) {
  try {
    fits ??= !!new Request("https://a.test", { signal: new AbortController().signal });
  } catch {
    fits = false;
  }
  if (fits) return signal;
}

/** The abort controller of a request. */
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

  /** Ends the request, and aborts it unless its response is `complete`. An abort takes 0.1 ms in Node. */
  over(complete) {
    if (!complete) this.abort();
    if (reads.delete(this) && !reads.size) globalThis.removeEventListener?.("pagehide", abortReads);
  }
}

/* ---- answers ---- */

const MOST = 4194304; // the most UTF-16 units of a response; a job has a few thousand

/**
 * Reads a response: its status, `Retry-After` in milliseconds from now, `X-Request-Id`, and its body as `json` or `text`. `cut` means
 * that the body broke off; the part that arrived may contain the id of a charged job.
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

// The response of an injected fetch may have no headers.
function header(answer, name) {
  try {
    const value = answer.headers.get(name);
    if (typeof value === "string") return value;
  } catch {}
}

// The most levels and texts that are read from an error's body, and the most characters of a path.
const DEEP = 16;
const MANY = 1000;
const LONG = 1000;

// The texts in the body of an error, sorted by name, each with the path of its field.
function textsOf(body, path = "", depth = DEEP, texts = []) {
  if (typeof body === "string") texts.push([path, body]);
  else if (depth && typeof body === "object" && body && path.length <= LONG) {
    const keys = Object.keys(body);
    for (const key of Array.isArray(body) ? keys : keys.sort()) {
      if (texts.length >= MANY) break;
      // A text in a list belongs to the list's field.
      const at = path && `${path}.`;
      textsOf(body[key], Array.isArray(body) && typeof body[key] === "string" ? path : at + key, depth - 1, texts);
    }
  }
  return texts;
}

/** The messages about single fields in the body of an error, by path, such as `variables.headline`. */
export function fieldsOf(body) {
  const fields = new Map();
  for (const [path, text] of body?.detail ? [] : textsOf(body)) {
    if (path && path.length <= LONG) fields.set(path, [...(fields.get(path) ?? []), text]);
  }
  return Object.fromEntries(fields);
}

/** The first text in the body of an error: its `detail`, or the text of a field with the field's path. */
export function reasonOf(body) {
  if (typeof body?.detail === "string") return body.detail;
  const [[path, text] = []] = textsOf(body);
  return path ? `${path}: ${text}` : text;
}

/* ---- the page ---- */

/** Calls `changed` with the event when the page is shown, hidden or restored, and when its network changes. */
export function listen(begin, changed) {
  const verb = begin ? "addEventListener" : "removeEventListener";
  globalThis.document?.[verb]("visibilitychange", changed);
  globalThis[verb]?.("online", changed);
  globalThis[verb]?.("pageshow", changed);
}

/** A lock on a name, also against other tabs. `ready` resolves once it is held; `release()` releases it. */
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
