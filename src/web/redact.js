// Removes secrets from values for callers and logs.

/**
 * Copies a string, an array or a plain object without the secrets, in every spelling: plain, escaped for JSON or a URL, or without
 * a leading `Bearer` or `Basic`. Any other object becomes an error with its texts.
 */
export const redact = (value, secrets) => copier(secrets).copy(value, 0);

/** Copies an exception without the secrets: its name, message, stack, code and cause. */
export const redactError = (thrown, secrets) => copier(secrets).error(thrown, 0);

function copier(secrets) {
  const forms = secrets
    .flatMap((secret) => [secret, secret.replace(/^(bearer|basic)\s+/i, "")])
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), percent(secret), percent(secret).replace(/%../g, lower)])
    .filter((form) => form.length > 3)
    .sort((one, other) => other.length - one.length);
  const clean = (text) => forms.reduce((text, form) => text.replaceAll(form, "…"), text);
  const copies = new Map(); // of the objects that were visited

  const copy = (it, depth) => {
    if (typeof it === "string") return clean(it);
    if (typeof it !== "object" || it === null) return it;
    if (copies.has(it)) return copies.get(it);
    if (depth > 100) return "…";
    try {
      const list = Array.isArray(it);
      const prototype = Object.getPrototypeOf(it);
      if (!list && prototype && Object.getPrototypeOf(prototype)) return error(it, depth);
      const copied = list ? [] : {};
      copies.set(it, copied);
      for (const key of Object.keys(it)) define(copied, clean(key), copy(it[key], depth + 1), true);
      return copied;
    } catch {
      return "unreadable";
    }
  };

  const error = (thrown, depth) => {
    const copied = new Error();
    copies.set(thrown, copied);
    try {
      const { name, message, code, stack, cause } = Object(thrown);
      define(copied, "message", clean(String(message ?? thrown)));
      define(copied, "name", clean(String(name ?? "Error")));
      if (typeof stack === "string") define(copied, "stack", clean(stack));
      if (cause !== undefined) define(copied, "cause", copy(cause, depth + 1));
      const told = code ?? cause?.code;
      if (told !== undefined) define(copied, "code", copy(told, depth + 1), true);
    } catch {
      define(copied, "message", "unreadable");
    }
    return copied;
  };

  return { copy, error };
}

// An assignment would fail if `Error.prototype` is frozen.
const define = (object, key, value, enumerable = false) =>
  Object.defineProperty(object, key, { value, enumerable, writable: true, configurable: true });

const lower = (text) => text.toLowerCase();

function percent(secret) {
  try {
    return encodeURIComponent(secret);
  } catch {
    return secret; // it contains a lone surrogate
  }
}
