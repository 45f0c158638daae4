// The options of a client and of a call, read once.

const CLIENT = [
  "account", "apiId", "apiKey", "baseUrl", "budgetKey", "dangerouslyAllowBrowser", "fetch", "headers", "idempotencyHeader", "journal",
  "listJobs", "maxCredits", "maxRetries", "onEvent", "previewTimeout", "prices", "timeout",
];
const PRICES = ["preview", "submit", "render", "aurora_v1", "aurora_v1_fast"];

const refuse = (field, advice, cause) => {
  throw { field, message: `${field} ${advice}`, cause };
};

/**
 * The members of `names` that `options` has, in an object of their own. Throws `{ field, message, cause? }`, where `field` is
 * `argument`.
 */
export function readOptions(options, names, argument = "options") {
  const read = {};
  if (options === undefined) return read;
  let wrong;
  try {
    wrong = typeof options !== "object" || options === null || Array.isArray(options) || typeof options.then === "function";
    for (const name of wrong ? [] : names) {
      const value = options[name];
      if (value !== undefined) read[name] = value;
    }
  } catch (cause) {
    refuse(argument, "cannot be read", cause);
  }
  if (wrong) refuse(argument, "must be an object");
  return read;
}

/**
 * A client's options, which later changes do not reach, with `place`: the base URL as it parses. Throws
 * `{ field, message, cause? }` where one of them cannot be used.
 */
export function copyOptions(options) {
  const copy = readOptions(options, CLIENT);
  const { maxCredits, headers } = copy;
  for (const name of ["account", "budgetKey"]) {
    if (name in copy && (typeof copy[name] !== "string" || /\p{Cs}/u.test(copy[name]))) refuse(name, "must be a string of whole characters");
  }
  if (maxCredits !== undefined && !(Number.isFinite(maxCredits) && maxCredits >= 0)) {
    refuse("maxCredits", "must be a finite number of credits, 0 or more");
  }
  copy.prices = readOptions(copy.prices, PRICES, "prices");
  for (const name of Object.keys(copy.prices)) {
    const price = (copy.prices[name] = readOptions(copy.prices[name], ["credits", "seconds"], `prices.${name}`));
    const { credits = 0, seconds = 1 } = price;
    if (!(Number.isFinite(credits) && credits >= 0)) refuse(`prices.${name}.credits`, "must be a finite number, 0 or more");
    if (!(Number.isFinite(seconds) && seconds > 0)) refuse(`prices.${name}.seconds`, "must be a finite number above 0");
  }
  if (headers && typeof headers === "object") {
    try {
      copy.headers = Array.from(headers[Symbol.iterator] ? headers : Object.entries(headers), ([name, value]) => [name, value]);
    } catch (cause) {
      refuse("headers", "cannot be read", cause);
    }
  }
  if (copy.baseUrl !== undefined) {
    try {
      copy.baseUrl = String(copy.baseUrl);
    } catch (cause) {
      refuse("baseUrl", "must be a string", cause);
    }
    copy.place = parsed(copy.baseUrl);
  }
  return copy;
}

// Two spellings of one base URL are one place.
function parsed(url) {
  try {
    return new URL(url, globalThis.location?.href).href.replace(/\/+$/, "");
  } catch {
    return url;
  }
}
