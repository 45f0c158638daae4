// The body of a request: read with a limit of bytes and time, and parsed strictly.

export const MAX_BODY = 262144; // bytes
const DISCARDED = 16_777_216; // the most bytes to read and discard of a body that is too long, since its sender reads no response before
const MAX_DEPTH = 100; // levels, as the client allows
const PATIENCE = 30_000; // ms

const refusal = (status, detail) => ({ refusal: { status, body: { detail } } });

/** Reads a body: `{ text }`, or `{ refusal }` if it is too long or does not arrive in time. */
export async function readText(request) {
  const reader = request.body?.getReader?.();
  if (!reader) return { text: "" };
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, PATIENCE, "late")));
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let [text, length] = ["", 0];
  try {
    for (;;) {
      const part = await Promise.race([reader.read(), late]);
      if (part === "late") return refusal(408, "The body of the request did not come in time.");
      length += part.value?.byteLength ?? 0;
      if (length > MAX_BODY && (part.done || length > DISCARDED)) return refusal(413, `The request is longer than ${MAX_BODY} bytes.`);
      if (part.done) return { text: text + decoder.decode() };
      if (length <= MAX_BODY) text += decoder.decode(part.value, { stream: true });
    }
  } catch {
    return refusal(400, "The body of the request cannot be read.");
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}

/** Parses a body: `{ value }`, or `{ refusal }` if it is no JSON object, is nested too deep, or has a member twice. */
export function parseObject(text) {
  const deep = tooDeep(text);
  if (deep) return refusal(400, `The body has more than ${MAX_DEPTH} levels.`);
  let value;
  try {
    value = JSON.parse(text || "{}");
  } catch {
    return refusal(400, "The body is not JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refusal(400, "The body must be a JSON object.");
  const twice = repeatedMember(text);
  return twice === undefined ? { value } : refusal(400, `The body names the member ${JSON.stringify(twice.slice(0, 60))} twice.`);
}

// The strings and the punctuation of JSON.
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]/gs;

function tooDeep(text) {
  let depth = 0;
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

/** The first duplicate member of valid JSON. Parsers differ in which of the two they take. */
function repeatedMember(text) {
  const open = []; // the names of each open object, undefined for an array
  let last;
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (token === ":") {
      const name = JSON.parse(last);
      const names = open.at(-1);
      if (names.has(name)) return name;
      names.add(name);
    }
    last = token;
  }
  return undefined;
}

/** JSON with sorted members, so that two spellings of one request are equal. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join()}}`;
}

/** The SHA-256 of a text, as hex digits. */
export async function hash(text) {
  // Hashes the JSON: UTF-8 has no lone surrogates, so two different texts could have one hash.
  const bytes = new TextEncoder().encode(JSON.stringify(text));
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
