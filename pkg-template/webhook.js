// What a webhook reports: its job, and the operation that its URL carries.

import { readOptions } from "./options.js";

const MARK = "{operation}";

const refuse = (field, advice) => {
  throw { field, message: `${field} ${advice}` };
};

/**
 * What a webhook reports. `body` is text, bytes, or what JSON gives; `url` is where it was sent. The operation is taken from
 * the part that `webhookUrl`, the `webhook_url` of the request, marks with `{operation}`, or else from `?operation=`.
 * Throws `{ field, message, cause? }` where the body is no webhook.
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
    // Anybody can send a webhook, to any URL. The job's id counts; an operation that cannot be read is left out.
  }
  return found;
}

const MOST = 1048576; // bytes of a webhook's body that are read: a job has a few thousand

/**
 * What a `Request` with a webhook reports: the id of its job, and `candidates`, the parts of its URL that may be the operation.
 * Its body must come within `ms` milliseconds. Rejects with `{ field, message, cause? }`.
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

// The body, as far as a webhook is long.
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

// The values of the query, `operation` first, and the parts of the path, the last first.
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

// The operation in the places that a template marks: parts of the path, which must be the template's, or else of the query.
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

// What `piece` has where `part` has the mark.
function match(part, piece) {
  const marks = part.split(MARK).length - 1;
  const length = MARK.length + (piece.length - part.length) / marks;
  const start = part.indexOf(MARK);
  const operation = piece.slice(start, start + length);
  return marks && part.replaceAll(MARK, () => operation) === piece ? operation : undefined;
}
