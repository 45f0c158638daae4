// The options of clients and calls: their names, the checks of a client's options, and suggestions for unknown names.

import { inBrowser } from "./platform.js";
import { snapshot } from "./snapshot.js";

export const READ = ["timeout", "signal"];
export const CHARGE = ["operation", "timeout", "signal", "waitUntil", "extra", "metadata"];
export const POLLING = ["timeout", "until", "expectedMs", "maxInterval", "urgency", "onUpdate", "signal"];
export const WAITING = POLLING.filter((name) => name !== "until");
export const SETTLING = ["jobId", "signal"];
export const QUESTION = ["step", "seconds", "model_version"];
export const REQUEST = ["template_id", "variables", "name", "webhook_url", "model_version", "is_hidden", "seconds"];

const isText = (it) => typeof it === "string";
const isFunction = (it) => typeof it === "function";
const isObject = (it) => typeof it === "object" && it !== null;
const isAbove = (it) => typeof it === "number" && it > 0;

const text = [isText, "must be a string"];
const whole = [(it) => isText(it) && !/\p{Cs}/u.test(it), "must be a string of whole characters"];
const url = [(it) => isText(it?.href ?? it), "must be a string or a URL"];
const truth = [(it) => typeof it === "boolean", "must be true or false"];
const call = [isFunction, "must be a function"];
const ms = [isAbove, "must be a number of milliseconds above 0"];
const amount = (it) => Number.isFinite(it) && it >= 0;

const CLIENT = {
  account: whole,
  apiId: text,
  apiKey: [(it) => isText(it) || isFunction(it), "must be a string or a function"],
  baseUrl: url,
  budgetKey: whole,
  budgetPeriod: [(it) => it === "day" || it === "month", 'must be "day" or "month"'],
  dangerouslyAllowBrowser: truth,
  fetch: call,
  headers: [(it) => isObject(it) || isFunction(it), "must be headers or a function"],
  idempotencyHeader: truth,
  journal: [
    (it) => it === "memory" || ["create", "read", "write", "delete", "list"].every((name) => isFunction(it[name])),
    'must be "memory" or an object with the methods create, read, write, delete and list',
  ],
  listJobs: call,
  maxCredits: [amount, "must be a finite number of credits, 0 or more"],
  maxRetries: [(it) => Number.isInteger(it) && it >= 0, "must be a whole number, 0 or more"],
  onEvent: call,
  previewTimeout: ms,
  prices: [isObject, "must be an object"],
  relay: url,
  timeout: ms,
  waitUntil: call,
};
const PRICES = ["preview", "submit", "render", "aurora_v1", "aurora_v1_fast"];

// Names from other libraries, in lower case, and ours for them.
const ALIASES = { __proto__: null, idempotencykey: "operation", key: "apiKey", token: "apiKey", url: "baseUrl", budget: "maxCredits", onprogress: "onUpdate" };

const refuse = (field, advice, cause) => {
  throw { field, message: `${field} ${advice}`, cause };
};

const plain = (name) => name.toLowerCase().replace(/[^a-z\d]/g, "");

// The edit distance of two words (Levenshtein).
function distance(word, other) {
  let last = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 0; i < word.length; i++) {
    const row = [i + 1];
    for (let j = 0; j < other.length; j++) row.push(Math.min(row[j] + 1, last[j + 1] + 1, last[j] + (word[i] !== other[j])));
    last = row;
  }
  return last[other.length];
}

// The most similar of `names`, if one is similar enough.
function meant(name, names) {
  const word = plain(name);
  let least = Math.min(3, word.length / 2);
  let found = names.find((known) => known === ALIASES[word]);
  for (const known of found ? [] : names) {
    const far = distance(word, plain(known));
    if (far < least) [least, found] = [far, known];
  }
  const holds = (one, other) => other.length > 3 && one.includes(other);
  return found ?? names.find((known) => holds(word, plain(known)) || holds(plain(known), word));
}

// The advice for an unknown name.
function advise(name, names) {
  if (names === REQUEST) {
    if (CHARGE.includes(name) || POLLING.includes(name)) {
      return `is an option, and was passed in the request: pass { ${name} } after it, to render third`;
    }
  } else if (REQUEST.includes(name) && !names.some((known) => plain(known) === plain(name))) return "belongs in the request";
  else if (Object.hasOwn(CLIENT, name)) return "is an option of the client: pass it to new TemplateJobs()";
  const known = meant(name, names);
  if (known) return `is unknown: did you mean \`${known}\`?`;
  return `is unknown. There are ${names.join(", ")}${names === REQUEST ? "; a new field of the provider goes into the option extra" : ""}`;
}

// The names of an object's members, those of its classes included.
function* namesOf(object) {
  for (let it = object; it && (it === object || !Object.hasOwn(it, "isPrototypeOf")); it = Object.getPrototypeOf(it)) {
    for (const key of Reflect.ownKeys(it)) {
      if (typeof key === "symbol" ? {}.propertyIsEnumerable.call(it, key) : it === object || key !== "constructor") yield key;
    }
  }
}

/**
 * Copies the members of `options` that are in `names`, and refuses any other. Throws `{ field, message, cause? }`, where `field` is
 * `argument`, or the unknown name inside `within`.
 */
export function readOptions(options, names, argument = "options", within = "") {
  const read = {};
  if (options === undefined) return read;
  let wrong;
  let stranger;
  try {
    wrong = !isObject(options) || Array.isArray(options) || isFunction(options.then);
    for (const name of wrong ? [] : names) {
      const value = options[name];
      if (value !== undefined) read[name] = value;
    }
    const strangers = wrong ? [] : [...namesOf(options)].filter((name) => !names.includes(name));
    stranger = strangers.find(isText) ?? strangers[0];
  } catch (cause) {
    refuse(argument, "cannot be read", cause);
  }
  if (wrong) refuse(argument, "must be an object");
  if (stranger !== undefined) {
    stranger = String(stranger).slice(0, 60);
    refuse(within + stranger, advise(stranger, names));
  }
  return read;
}

/** Checks the wait options of a preview before it is charged. Throws like `readOptions`. */
export function checkPreviewWait(read) {
  if (read.until !== undefined && read.until !== "preview") refuse("until", "must be preview");
  for (const name of ["expectedMs", "maxInterval"]) {
    const [fits, advice] = ms;
    if (name in read && !fits(read[name])) refuse(name, advice);
  }
  if ("urgency" in read && !["low", "normal", "high"].includes(read.urgency)) refuse("urgency", "must be low, normal or high");
}

/** Separates a request into its JSON text and its `seconds`. Throws like `readOptions`. */
export function snapshotRequest(request) {
  let seconds;
  const json = snapshot(request, "request", (key, refuse) => {
    if (!REQUEST.includes(key)) refuse(advise(key.slice(0, 60), REQUEST));
    return key === "seconds" && ((seconds = request.seconds), true);
  });
  return { json, seconds };
}

/**
 * Copies and checks a client's options. Adds `place`, the parsed base URL. Throws `{ field, message, cause? }` if one is invalid.
 */
export function copyOptions(options) {
  const copy = readOptions(options, Object.keys(CLIENT));
  for (const [name, value] of Object.entries(copy)) {
    const [check, advice] = CLIENT[name];
    let fits;
    try {
      fits = check(value);
    } catch (cause) {
      refuse(name, "cannot be read", cause);
    }
    if (!fits) refuse(name, advice);
  }
  copy.prices = readPrices(copy.prices);
  const { headers } = copy;
  if (isObject(headers)) {
    try {
      copy.headers = Array.from(headers[Symbol.iterator] ? headers : Object.entries(headers), ([name, value]) => [name, value]);
    } catch (cause) {
      refuse("headers", "cannot be read", cause);
    }
  }
  if ("relay" in copy) {
    for (const name of ["apiKey", "baseUrl"]) if (name in copy) refuse(name, "cannot be beside relay: the relay adds the key and knows the provider");
    copy.baseUrl = copy.relay;
    copy.idempotencyHeader ??= true;
  }
  if ("budgetKey" in copy && !("journal" in copy) && !inBrowser) {
    refuse("budgetKey", 'needs a journal that outlives this process: pass fileJournal(dir), durableObjectJournal(storage), or journal: "memory" to accept one process');
  }
  if ("baseUrl" in copy) {
    copy.baseUrl = String(copy.baseUrl);
    copy.place = parsed(copy.baseUrl);
  }
  return copy;
}

// An unknown name is that of a new model, which needs both numbers.
function readPrices(prices) {
  const models = [];
  try {
    if (isObject(prices) && !Array.isArray(prices)) {
      for (const name of namesOf(prices)) if (isText(name) && !PRICES.includes(name) && !PRICES.includes(meant(name, PRICES.slice(0, 3)))) models.push(name);
    }
  } catch (cause) {
    refuse("prices", "cannot be read", cause);
  }
  const read = readOptions(prices, [...PRICES, ...models], "prices", "prices.");
  for (const [name, given] of Object.entries(read)) {
    const at = `prices.${name}`;
    const price = (read[name] = readOptions(given, ["credits", "seconds"], at, `${at}.`));
    const { credits = 0, seconds = 1 } = models.includes(name) ? { credits: NaN, seconds: NaN, ...price } : price;
    if (!amount(credits)) refuse(`${at}.credits`, "must be a finite number, 0 or more");
    if (!(Number.isFinite(seconds) && seconds > 0)) refuse(`${at}.seconds`, "must be a finite number above 0");
  }
  return read;
}

// The parsed URL, so that two spellings of one URL are equal.
function parsed(url) {
  try {
    return new URL(url, globalThis.location?.href).href.replace(/\/+$/, "");
  } catch {
    return url;
  }
}
