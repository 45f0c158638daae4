// The responses of a relay: listed fields only, errors in the provider's shape, and the headers of every response.

const JOB = [
  "id", "status", "progress", "preview", "video_output", "failed_reason", "credits_used", "duration", "variables", "media_job",
  "created_at", "updated_at", "name", "model_version", "is_hidden",
];
const TEMPLATE = ["template_id", "name", "preview", "aspect_ratio", "created_at", "updated_at"];

const pick = (object, names) => Object.fromEntries(names.filter((name) => object[name] !== undefined).map((name) => [name, object[name]]));

/** A job for a page. Without `webhook_url`, which contains the operation's token. */
export const jobFor = (job, allow) => pick(job, allow.editor_url ? [...JOB, "editor_url"] : JOB);

export const templateFor = (template) => pick(template, TEMPLATE);

/** A response as plain data, for the way from a Durable Object to its worker. */
export const ok = (body) => ({ status: 200, body });

export const refuse = (status, detail, more) => ({ status, body: { detail, ...more } });

export const later = (status, detail, ms, more) => ({ ...refuse(status, detail, more), headers: { "retry-after": String(Math.max(1, Math.ceil(ms / 1000))) } });

/** The response to a key that another request has. The page's client recognises its status. */
export const conflict = () => refuse(409, "This Idempotency-Key was used before for another request; this one was not sent.", { code: "operation_conflict" });

/** The response to a charge with an unknown outcome. */
export const unknown = () => refuse(502, "The charge was sent, and its outcome is not known yet.", { code: "charge_unknown" });

// The statuses of refusals: the page's client knows that nothing was charged.
const REFUSALS = [400, 402, 404, 405, 413, 414, 415, 422, 429, 431];

/**
 * The response to a failed call. Refusals keep their status. A charge with an unknown outcome is 502, and one that was not sent 503:
 * the page's client then asks for the state of the operation.
 */
export function failure(error) {
  const { name, message, status, fields, field, charged, operation, retryAfterMs } = error;
  switch (name) {
    case "ApiError": {
      if (status === 401 || status === 403) return refuse(403, "The provider does not accept the key of this relay.");
      if (!REFUSALS.includes(status)) break;
      const body = { detail: message, ...fields };
      return status === 429 && retryAfterMs !== undefined ? { ...later(status, message, retryAfterMs), body } : { status, body };
    }
    case "InvalidRequestError":
      return { status: 400, body: { [field]: [message] } };
    case "OperationConflictError":
      return conflict();
  }
  if (operation && charged === "no") return refuse(503, "The charge was not sent: the provider could not be reached.", { code: "not_sent" });
  if (operation) return unknown();
  return retryAfterMs === undefined ? refuse(503, "The provider did not answer.") : later(503, "The provider did not answer.", retryAfterMs);
}

/* ---- headers --------------------------------------------------------------------------------- */

const METHODS = "GET, POST, OPTIONS";
const HEADERS = "authorization, content-type, idempotency-key";

/**
 * The origin of a request: `{ foreign: false }` for the relay's own origin or none, `{ foreign: true, headers }` for a listed one,
 * `{ refused: true }` for any other.
 */
export function pageOf(request, url, { origins, publicUrl }) {
  const origin = request.headers.get("origin");
  if (origin === null) {
    // An image or a frame of another site. Its request has no origin, but the user's cookies.
    return request.headers.get("sec-fetch-site") === "cross-site" ? { refused: true } : { foreign: false };
  }
  // Compare hosts: behind a proxy that terminates TLS, the scheme differs.
  const host = origin.replace(/^https?:\/\//, "");
  if (host !== origin && (host === url.host || (publicUrl && host === publicUrl.host))) return { foreign: false };
  if (!origins.includes(origin)) return { refused: true };
  return {
    foreign: true,
    headers: {
      "access-control-allow-origin": origin,
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": "retry-after",
    },
  };
}

/** The response to a preflight. */
export const preflight = () => ({
  status: 204,
  headers: { "access-control-allow-methods": METHODS, "access-control-allow-headers": HEADERS, "access-control-max-age": "7200" },
});

/** Converts the plain data to a `Response`. */
export function respond({ status, body, headers }, page) {
  const all = { "cache-control": "no-store", vary: "origin", "x-content-type-options": "nosniff", ...headers, ...page.headers };
  if (body === undefined) return new Response(null, { status, headers: all });
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...all } });
}
