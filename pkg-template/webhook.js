// Webhooks: the job in the body, and the operation in the URL.

import { readOptions } from "./options.js";

const MARK = "{operation}";

const refuse = (field, advice) => {
  throw { field, message: `${field} ${advice}` };
};

/**
 * Parses a webhook. `body` is text, bytes or parsed JSON; `url` is the URL that was called. The operation is read from the position
 * of `{operation}` in `webhookUrl`, the `webhook_url` of the request, or from `?operation=`. Throws `{ field, message, cause? }` if
 * the body is no webhook.
 */
export function parseWebhook(body, url, options) {
  let found;
  const { webhookUrl } = readOptions(options, ["webhookUrl"]);
  if (webhookUrl !== undefined && typeof webhookUrl !== "string") refuse("webhookUrl", "must be a string, as webhook_url was given");
  try {
    const bytes = ArrayBuffer.isView(body) || {}.toString.call(body) === "[object ArrayBuffer]";
    const text = bytes ? new TextDecoder().decode(body) : body;
    const data = typeof text === "string" ? JSON.parse(text) : text;
    const { id: jobId, status, failed_reason: failedReason } = data;
    const output = data.video_output ?? data.output;
    if (!isText(jobId) || typeof status !== "string") throw undefined;
    found = { jobId, status };
    if (isText(output)) found.output = output;
    if (isText(failedReason)) found.failedReason = failedReason;
  } catch (cause) {
    throw { field: "body", message: "body is no webhook of a job: it has no id and status. Pass the text or the bytes that were sent, or what JSON.parse makes of them", cause };
  }
  try {
    const sent = new URL(url ?? "/", "http://localhost");
    const operation = (webhookUrl && marked(new URL(webhookUrl, "http://localhost"), sent)) || sent.searchParams.get("operation");
    if (operation) found.operation = operation;
  } catch {
    // Anybody can call any URL. Only the job's id is required; an unreadable operation is left out.
  }
  return found;
}

const MOST = 1048576; // the most bytes of a body; a job has a few thousand

/**
 * Reads a webhook's `Request`: the id of its job, and `candidates`, the parts of its URL that may be the operation. The body must
 * arrive within `ms` milliseconds. Rejects with `{ field, message, cause? }`.
 */
export async function readRequest(request, ms) {
  const refuseRequest = (advice, cause) => {
    throw { field: "request", message: `request ${advice}`, cause };
  };
  let given;
  try {
    const { method, url, bodyUsed, body } = request;
    given = typeof request.text === "function" && typeof url === "string" && { method, url, bodyUsed, body };
  } catch (cause) {
    refuseRequest("cannot be read", cause);
  }
  if (!given) refuseRequest("must be the Request that the webhook came with");
  if (given.method !== "POST") refuseRequest("is no webhook: its method is not POST");
  if (given.bodyUsed) refuseRequest("was read already: pass it first, or a clone of it; or pass what was read to parseWebhook()");
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(reject, ms, "its body did not come in time")));
  let text;
  try {
    text = await Promise.race([textOf(request, given.body), late]);
  } catch (cause) {
    refuseRequest(typeof cause === "string" ? `cannot be read: ${cause}` : "cannot be read", cause);
  } finally {
    clearTimeout(timer);
  }
  const { jobId } = parseWebhook(text);
  return { jobId, candidates: candidatesOf(given.url) };
}

// The body, at most `MOST` bytes.
async function textOf(request, body) {
  const reader = body?.getReader?.();
  if (!reader) return request.text();
  const decoder = new TextDecoder();
  let [text, length] = ["", 0];
  for (let part; (part = await reader.read()), !part.done; ) {
    if ((length += part.value.byteLength) > MOST) {
      reader.cancel().catch(() => {});
      throw "it has more than 1 MB";
    }
    text += decoder.decode(part.value, { stream: true });
  }
  return text + decoder.decode();
}

// The values of the query, `operation` first, then the parts of the path from the last to the first.
function candidatesOf(url) {
  try {
    const { searchParams, pathname } = new URL(url, "http://localhost");
    const all = [searchParams.get("operation"), ...parts(pathname, "/").reverse(), ...searchParams.values()];
    return [...new Set(all.filter(isText))];
  } catch {
    return [];
  }
}

const isText = (it) => typeof it === "string" && it !== "";

// The operation at the position that a template marks: in a path that fits the template, or in the query.
function marked(template, sent) {
  const wanted = parts(template.pathname, "/");
  const given = parts(sent.pathname, "/");
  let found;
  const fits = (part, index) => {
    if (!part.includes(MARK)) return part === given[index];
    const operation = match(part, given[index]);
    return operation && operation === (found ??= operation);
  };
  if (wanted.length === given.length && wanted.every(fits) && found) return found;
  const pieces = parts(sent.search.slice(1), "&");
  for (const part of parts(template.search.slice(1), "&")) {
    for (const piece of pieces) if ((found = match(part, piece))) return found;
  }
}

const parts = (text, separator) => text.split(separator).map((part) => decode(separator === "&" ? part.replaceAll("+", " ") : part));

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// The text of `piece` at the position of the mark in `part`.
function match(part, piece) {
  const marks = part.split(MARK).length - 1;
  const length = MARK.length + (piece.length - part.length) / marks;
  const start = part.indexOf(MARK);
  const operation = piece.slice(start, start + length);
  return marks && part.replaceAll(MARK, () => operation) === piece ? operation : undefined;
}
