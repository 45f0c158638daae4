// Fuzzing inputs for the packed client, made from a seed: JSON of every shape, nearly valid objects, and damaged bytes.

export const IDS = ["11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555", "abcdefab-2222-4333-8444-abcdefabcdef"];

const WORDS = [
  "", "done", "pending", "running", "failed", "rejected", "archived", "DONE", "https://cdn.test/v.mp4", "12", "1.5", "-3", "NaN", "1e999", "\n", "%0 %1",
  "{operation}", "<html><h1>Sign in</h1>", "Not enough credits", "2026-11-22T00:00:00Z", "sending", "bound", "\ud800", "\udfff\ud83d", "\u0000\u2028\ufeff",
  "$& $1 $`", "İ ﬀ", "__proto__", ...IDS, IDS[2].toUpperCase(),
];
const KEYS = [
  "id", "status", "progress", "preview", "video_output", "output", "failed_reason", "updated_at", "credits_used", "duration", "webhook_url", "detail", "results",
  "remaining_credits", "__proto__", "constructor", "prototype", "toString", "valueOf", "toJSON", "then", "length", "name", "message", "cause", "0", "",
];
const STATUSES = [200, 201, 202, 299, 301, 302, 307, 400, 401, 402, 403, 404, 406, 408, 409, 413, 422, 425, 429, 451, 500, 502, 503, 504, 599];
const RETRY_AFTER = [
  "0", "5", "1.5", "-3", "1e3", "1.2.3", "...", "31536000", "9".repeat(400), "Infinity", "NaN", "soon", "0x10", "5, 7",
  "Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 1999 07:28:00 GMT", "Wed, 99 Xyz 2099", "+275761-01-01", "x".repeat(5_000),
];
// Only the first three prove that nothing was sent.
export const NEVER_SENT = ["ECONNREFUSED", "ENOTFOUND", "ConnectionRefused"];
const CODES = [...NEVER_SENT, "ECONNRESET", "UND_ERR_SOCKET", "econnrefused", "ECONNREFUSED ECONNREFUSED", "", 7, null, ["ECONNREFUSED"], { toString: null }];

export class Source {
  constructor(seed) {
    this.state = (seed * 2654435769) >>> 0 || 1;
    for (let round = 0; round < 8; round++) this.next();
  }

  next() {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>>= 0);
  }

  below = (end) => this.next() % end;
  one = (list) => list[this.below(list.length)];
  /** True in one of `times` cases. */
  once = (times) => this.below(times) === 0;

  number() {
    return this.one([0, 1, -0, -1, 0.5, 42, 100, 1e15, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, "1e999", "-1e999", 2 ** 31, this.next(), this.next() / 7]);
  }

  text() {
    if (this.once(60)) return "x".repeat(this.below(200_000));
    return this.once(3) ? this.one(WORDS) + this.one(WORDS) : this.one(WORDS);
  }

  /** JSON as text, since not every JSON text is a JavaScript value: `1e999`, duplicate keys, a thousand nested lists. */
  json(depth = 0) {
    switch (this.below(depth > 4 ? 6 : 10)) {
      case 0: return "null";
      case 1: return this.one(["true", "false"]);
      case 2: return String(this.number()).replace("Infinity", "1e999");
      case 3: case 4: return JSON.stringify(this.text());
      case 5: return this.one(["[]", "{}", '{"toString":1,"valueOf":1}', '{"__proto__":null}', '{"toJSON":1}', '[[[{"toString":null}]]]']);
      case 6: return `[${this.several(() => this.json(depth + 1))}]`;
      case 7: case 8: return this.object([], depth);
      default: {
        const deep = this.one([10, 1_000, 50_000]);
        const [open, close] = this.one([["[", "]"], ['{"a":', "}"], ['{"detail":[', "]}"]]);
        return open.repeat(deep) + this.one(["0", "null", '"x"']) + close.repeat(deep);
      }
    }
  }

  several(make) {
    return Array.from({ length: this.below(4) }, make).join();
  }

  /** An object with the given fields (values as JSON text), of which some may be changed, and other fields. */
  object(fields, depth = 0) {
    const all = [...fields];
    for (let more = this.below(3); more > 0; more--) all.push([this.one(KEYS), this.json(depth + 1)]);
    if (all.length && this.once(3)) all[this.below(all.length)][1] = this.json(depth + 1);
    if (all.length && this.once(6)) all.splice(this.below(all.length), 1);
    return `{${all.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join()}}`;
  }

  job(id) {
    const text = JSON.stringify;
    const status = this.one(["done", "done", "pending", "running", "failed", "rejected", "archived"]);
    const fields = [["id", text(this.once(8) ? this.one(IDS) : id)], ["status", text(status)], ["updated_at", text("2026-11-22T00:00:00Z")]];
    if (this.once(2)) fields.push(["preview", text("https://cdn.test/p")]);
    if (this.once(2)) fields.push(["video_output", text("https://cdn.test/v")]);
    if (this.once(2)) fields.push(["progress", String(this.below(101))], ["credits_used", "5"], ["duration", "30"]);
    return this.object(fields);
  }

  /** The bytes of a text, some of the time damaged. */
  damaged(text) {
    let bytes = new TextEncoder().encode(text);
    if (!this.once(4)) return bytes;
    for (let times = 1 + this.below(3); times > 0; times--) {
      const [from, to] = [this.below(bytes.length + 1), this.below(bytes.length + 1)].sort((one, other) => one - other);
      switch (this.below(5)) {
        case 0: bytes = bytes.slice(0, to); break;
        case 1: bytes = bytes.slice(); if (bytes.length) bytes[this.below(bytes.length)] = this.next(); break;
        case 2: bytes = Buffer.concat([bytes.slice(0, from), bytes.slice(to)]); break;
        case 3: bytes = Buffer.concat([bytes.slice(0, to), bytes.slice(from, Math.min(to, from + 100)), bytes.slice(to)]); break;
        default: bytes = Buffer.concat([bytes.slice(0, from), Buffer.from(this.one([[0xef, 0xbb, 0xbf], [0xff], [0xed, 0xa0, 0x80], [0]])), bytes.slice(from)]);
      }
    }
    return bytes;
  }

  /** An outcome of `fetch` for a job id. `status`, `code` and `body` describe it for the checks. */
  fetched(id) {
    if (this.once(12)) {
      const thrown = this.one([undefined, null, "bare", 7, new TypeError("fetch failed"), Object.create(null), { message: { toString: null } }, Symbol("thrown")]);
      const code = this.one(CODES);
      const error = this.once(2) ? Object.assign(new TypeError("fetch failed"), this.once(2) ? { code } : { cause: { code } }) : thrown;
      return { code: error?.code ?? error?.cause?.code, answer: () => Promise.reject(error) };
    }
    const text = this.below(3) ? this.job(id) : this.json();
    const body = this.once(10) ? new TextEncoder().encode(this.text()) : this.damaged(text);
    const headers = {};
    if (this.once(3)) headers["retry-after"] = this.one(RETRY_AFTER);
    if (this.once(4)) headers["content-type"] = this.one(["text/html", "application/json; charset=utf-16", "x", ""]);
    const status = this.once(2) ? this.one([200, 201]) : this.one(STATUSES);
    if (this.once(20)) {
      // Not a real Response, as an injected `fetch` may return.
      const odd = { status: this.once(2) ? status : this.one([0, -1, 1e9, 200.5, "200", null, Infinity]), headers: this.one([undefined, {}, new Headers(headers)]) };
      odd.text = this.one([async () => text, async () => undefined, async () => ({}), () => Promise.reject(new TypeError("terminated")), undefined]);
      return { status: odd.status, body: text, answer: async () => odd };
    }
    const breaks = this.once(10);
    const cut = this.below(body.length + 1);
    const stream = () =>
      new ReadableStream({
        start(controller) {
          if (cut) controller.enqueue(body.slice(0, cut));
          if (breaks) return void setTimeout(() => controller.error(new TypeError("terminated")));
          if (cut < body.length) controller.enqueue(body.slice(cut));
          controller.close();
        },
      });
    const arrived = new TextDecoder().decode(breaks ? body.slice(0, cut) : body);
    return { status, body: arrived, answer: async () => new Response(stream(), { status, headers }) };
  }

  /** A value found in a journal: an entry, nearly one, or anything else. */
  entry() {
    const text = JSON.stringify;
    if (this.once(6)) return this.one([7, true, {}, [], null, "", "null", "undefined", "{", Symbol("entry"), Object.create(null)]);
    if (this.once(6)) return new TextDecoder().decode(this.damaged(this.json()));
    const fields = [["version", this.once(10) ? "2" : "1"], ["fingerprint", String(this.next())], ["at", String(1_795_000_000_000)]];
    fields.push(["state", text(this.one(["sending", "bound", "unknown", "ended", "rejected"]))]);
    fields.push(["step", text(this.one(["submit", "preview", "render", "delete"]))]);
    if (this.once(2)) fields.push(["job", text(this.one(IDS))]);
    return new TextDecoder().decode(this.damaged(this.object(fields)));
  }

  /** A job duration found in a journal, of the kind of `known` if given; or nearly one, or anything else. */
  duration(known) {
    if (this.once(6)) return this.entry();
    const { kind } = /"kind":(?<kind>\d+)/.exec(known)?.groups ?? { kind: String(this.next()) };
    const fields = [["kind", kind], ["ms", String(this.number()).replace("Infinity", "1e999")], ["at", String(Date.now())]];
    return new TextDecoder().decode(this.damaged(this.object(fields)));
  }
}
