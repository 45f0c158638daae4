// The table of faults on the wire: how each is caused, and the outcomes of a read and of a charge. The numbers are those of the
// list of 50 faults; `elsewhere.mjs` has the others.
//
// A fault is caused by one of
// - `rule`: a fault rule of the sandbox without its `on`, or a function that makes one from a host of another origin;
// - `inject`: a function that returns a fault of the relay for each affected request (see `wire.mjs`);
// - `base`: another base URL in place of the relay's.
// `warm`: also on a reused connection. `big`: a large request. `hangs`: no answer comes, so that the timeouts are short.
// `waits`: the least delay before a retry of a read, in milliseconds. `options`: the client's. `calls`: the calls that it
// applies to, all seven by default. `not`: why it does not apply to the others.

export const READS = ["get", "templates", "remainingCredits"];
export const CHARGES = ["submit", "previewSync", "previewAsync", "render"];

/* ---- outcomes of a read ---------------------------------------------------------------------- */

/** If the fault occurs once, the retry succeeds; if always, the read rejects with this error after two attempts. */
const again = (error) => ({ again: true, error });
/** The read rejects with this error at once, since a retry would not help. */
const atOnce = (error) => ({ error });
/** The read succeeds. */
const fine = {};

const lost = { name: "ConnectionError", remedy: "retry" };
/** The remedy after a failed answer: if the client retries a read, so may its caller. */
const remedy = (kind, status) =>
  kind === "insufficient_credits" ? "add_credits" : kind === "rate_limited" ? "wait" : [408, 425].includes(status) || status >= 500 || status < 300 ? "retry" : "fix_request";
const api = (kind, status, more) => ({ name: "ApiError", kind, status, remedy: remedy(kind, status), ...more });
const odd = (status = 200) => api("unexpected", status);

/* ---- outcomes of a charge -------------------------------------------------------------------- */

/** The outcome is unknown; the provider charged so often. */
const unknown = (charged) => ({ verdict: "unknown", charged });
/** The answer is the job. */
const bound = { verdict: "bound", charged: 1 };
/** The answer is not the job, and its id is. */
const found = { verdict: "bound", charged: 1, found: true };
/** The charge was refused. */
const rejected = (error) => ({ verdict: "rejected", charged: 0, error });
/** Proven unsent, after three attempts. */
const notSent = { verdict: "not sent", charged: 0, error: { name: "ConnectionError", sent: false, remedy: "retry" } };

/* ---- faults of the relay --------------------------------------------------------------------- */

const withStatus = (status) => () => ({ turn: (head, body) => Buffer.concat([Buffer.from(head.replace(/^HTTP\/1\.1 \d+ [^\r]*/, `HTTP/1.1 ${status}`), "latin1"), body]) });
const jsonHead = (more) => `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${more}\r\n\r\n`;
/** As in HTTP/1.0: the body ends with the connection, so that a cut cannot be detected. */
const unsized = (bytes) => () => ({ end: true, turn: (_, body) => Buffer.concat([Buffer.from(jsonHead("connection: close")), body.subarray(0, bytes)]) });
/** Chunked, but the last chunk never comes. */
const unchunked = (bytes) => () => ({
  end: true,
  turn: (_, body) => {
    const part = body.subarray(0, bytes);
    return Buffer.concat([Buffer.from(`${jsonHead("transfer-encoding: chunked")}${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]);
  },
});
const FIVE_MB = JSON.stringify("x".repeat(5_000_000));
/** The job with an extra member of 5 MB, or a list with an item of that size. */
const padded = () => ({
  turn: (_, body) => {
    const text = body.toString();
    const long = text.startsWith("[") ? `${text.slice(0, -1)},${FIVE_MB}]` : `${text.slice(0, -1)},"more":${FIVE_MB}}`;
    return Buffer.from(`${jsonHead(`content-length: ${Buffer.byteLength(long)}`)}${long}`);
  },
});

const after = (status, body, headers) => ({ kind: "status_after_commit", status, ...(body !== undefined && { body }), ...(headers && { headers }) });
const before = (status, body, headers) => ({ ...after(status, body, headers), kind: "status_before_commit" });

/** A number of bytes that ends within the id of an answer, and one after it. */
const [WITHIN_ID, PAST_ID] = [20, 60];
const throttled = { detail: "Request was throttled." };
const asking = (asked) => before(429, throttled, asked === undefined ? undefined : { "retry-after": asked });
const shortly = () => new Date(Date.now() + 2_000).toUTCString();

/* ---- the table ------------------------------------------------------------------------------- */

const STATUSES = [
  ...[400, 422].map((status) => ({
    n: 15, fault: `${status} with field errors`, rule: before(status, { name: ["Too long."] }),
    reads: atOnce(api("invalid", status, { fields: { name: ["Too long."] } })), charges: rejected(api("invalid", status, { fields: { name: ["Too long."] } })),
  })),
  ...[401, 403].map((status) => ({
    n: 16, fault: `${status}`, rule: before(status, { detail: "No." }), reads: atOnce(api("authentication", status)), charges: rejected(api("authentication", status)),
  })),
  ...[[402, { detail: "Insufficient credits." }], [400, { detail: "Not enough credits left." }], [403, ["Insufficient credits"]]].map(([status, body]) => ({
    n: 17, fault: `${status} because of too few credits`, rule: before(status, body), calls: CHARGES, not: "a read costs nothing", charges: rejected(api("insufficient_credits", status)),
  })),
  // By the design, a read that is answered 404 rejects at once. The list of faults would retry for 30 s.
  { n: 18, fault: "404", rule: before(404), reads: atOnce(api("not_found", 404)), charges: rejected(api("not_found", 404)) },
  ...[408, 425].flatMap((status) => [
    { n: 19, fault: `${status} before the charge`, rule: before(status), reads: again(api("invalid", status)), charges: unknown(0) },
    { n: 19, fault: `${status} after the charge`, rule: after(status), calls: CHARGES, not: "a read changes nothing", charges: unknown(1) },
  ]),
  { n: 19, fault: "409", rule: after(409), reads: atOnce(api("invalid", 409)), charges: unknown(1) },
  ...[413, 414, 431].map((status) => ({ n: 20, fault: `${status}`, rule: before(status), reads: atOnce(api("invalid", status)), charges: rejected(api("invalid", status)) })),
  ...[["1", 1_000], ["0", 1_000], ["-5", 0], ["soon", 0], [undefined, 0]].map(([asked, waits]) => ({
    n: 21, fault: `429 with Retry-After: ${asked ?? "(none)"}`, rule: asking(asked), waits, reads: again(api("rate_limited", 429)), charges: rejected(api("rate_limited", 429)),
  })),
  { n: 21, fault: "429 with Retry-After: (a date)", rule: () => asking(shortly()), waits: 1_000, reads: again(api("rate_limited", 429)), charges: rejected(api("rate_limited", 429)) },
  // A year must be a mistake: the wait is limited to a minute, and without retries the error shows that.
  {
    n: 21, fault: "429 with Retry-After: 31536000", rule: asking("31536000"), options: { maxRetries: 0 },
    reads: atOnce(api("rate_limited", 429, { retryAfterMs: 60_000 })), charges: rejected(api("rate_limited", 429, { retryAfterMs: 60_000 })),
  },
  ...[500, 502, 503, 504].flatMap((status) => [
    { n: status === 500 ? 22 : 23, fault: `${status} before the charge`, rule: before(status), reads: again(api("server", status)), charges: unknown(0) },
    { n: status === 500 ? 22 : 23, fault: `${status} after the charge`, rule: after(status), calls: CHARGES, not: "a read changes nothing", charges: unknown(1) },
  ]),
];

const BODIES = [["nothing", ""], ["half a JSON", '{"id":'], ["an empty object", {}], ["an id that is a number", { id: 7, status: "done" }], ["an id that is not a UUID", { id: "../templates", status: "done" }], ["null", null]];

export const TABLE = [
  { n: 1, fault: "connection refused", base: "refused", reads: again(lost), charges: { Node: notSent, others: unknown(0) } },
  { n: 1, fault: "no such host", base: "nameless", reads: again(lost), charges: { Node: notSent, others: unknown(0) } },
  // Nothing was sent, but no known code proves it, so the outcome is unknown.
  { n: 1, fault: "TLS fails", base: "plain", reads: again(lost), charges: unknown(0) },
  { n: 4, fault: "reset while the body is sent", inject: () => ({ cut: true }), big: true, warm: true, calls: CHARGES, not: "a read has no body", charges: unknown(0) },
  ...[["closed", {}], ["reset", { reset: true }]].flatMap(([how, more]) => [
    { n: 5, fault: `${how} before the charge`, rule: { kind: "drop_before_commit", ...more }, warm: true, reads: again(lost), charges: unknown(0) },
    { n: 5, fault: `${how} after the charge`, rule: { kind: "drop_after_commit", ...more }, warm: true, calls: CHARGES, not: "a read changes nothing", charges: unknown(1) },
  ]),
  { n: 6, fault: "no headers in time", rule: { kind: "delay", ms: 3_600_000 }, hangs: true, warm: true, reads: again(lost), charges: unknown(1) },
  ...[["closed", {}], ["reset", { reset: true }]].flatMap(([how, more]) => [
    { n: 7, fault: `${how} within the id`, rule: { kind: "truncate", bytes: WITHIN_ID, ...more }, warm: true, reads: again(odd()), charges: unknown(1) },
    { n: 7, fault: `${how} past the id`, rule: { kind: "truncate", bytes: PAST_ID, ...more }, warm: true, calls: CHARGES, not: "as within the id", charges: found },
  ]),
  { n: 7, fault: "cut within the id, no length", inject: unsized(WITHIN_ID), reads: again(odd()), charges: unknown(1) },
  { n: 7, fault: "cut past the id, no length", inject: unsized(PAST_ID), calls: CHARGES, not: "as within the id", charges: found },
  { n: 7, fault: "cut within the id, in chunks", inject: unchunked(WITHIN_ID), reads: again(odd()), charges: unknown(1) },
  { n: 7, fault: "cut past the id, in chunks", inject: unchunked(PAST_ID), calls: CHARGES, not: "as within the id", charges: found },
  { n: 8, fault: "the body stalls", rule: { kind: "stall", bytes: WITHIN_ID }, hangs: true, warm: true, reads: again(lost), charges: unknown(1) },
  { n: 8, fault: "a byte each second", rule: { kind: "drip", bytes: 1, ms: 1_000 }, hangs: true, reads: again(lost), charges: unknown(1) },
  { n: 9, fault: "200 and a page before the charge", rule: { kind: "html" }, reads: again(odd()), charges: unknown(0) },
  { n: 9, fault: "200 and a page after the charge", rule: { kind: "html", commit: true }, calls: CHARGES, not: "a read changes nothing", charges: unknown(1) },
  ...BODIES.map(([what, body]) => ({ n: 10, fault: `200 and ${what}`, rule: after(200, body), reads: again(odd()), charges: unknown(1) })),
  { n: 10, fault: "200 and a list of lists", rule: after(200, [[]]), calls: ["get", "remainingCredits", ...CHARGES], not: "it is a list", reads: again(odd()), charges: unknown(1) },
  { n: 11, fault: "an undocumented status", rule: { kind: "unknown_status" }, calls: ["get", ...CHARGES], not: "it has no job", reads: fine, charges: bound },
  { n: 12, fault: "a body of 5 MB", inject: padded, reads: again(odd()), charges: unknown(1) },
  ...["200 OK", "201 Created", "202 Accepted"].map((status) => ({ n: 13, fault: `${status.slice(0, 3)} with the job`, inject: withStatus(status), reads: fine, charges: bound })),
  { n: 13, fault: "204", inject: () => ({ turn: () => "HTTP/1.1 204 No Content\r\n\r\n" }), reads: again(odd(204)), charges: unknown(1) },
  ...[301, 302, 303, 307, 308].map((status) => ({
    n: 14, fault: `${status} to the same call`, rule: { kind: "redirect", status, commit: true, location: "/api/custom_template_jobs/" }, reads: atOnce(odd(status)), charges: unknown(1),
  })),
  { n: 14, fault: "302 before the charge", rule: { kind: "redirect", location: "/" }, calls: CHARGES, not: "a read changes nothing", charges: unknown(0) },
  ...STATUSES,
  { n: 50, fault: "307 to another host", rule: ({ elsewhere }) => ({ kind: "redirect", status: 307, commit: true, location: `${elsewhere}/api/custom_template_jobs/` }), reads: atOnce(odd(307)), charges: unknown(1) },
];
