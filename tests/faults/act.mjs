// The act of a runtime for one cell of the matrix: it makes a client, calls it step by step, and returns the outcomes, the
// methods of its requests and its events. Every runtime runs this file.

/** The JSON of a thrown value with all its members, so that a key in any of them is found. */
function describe(thrown, depth = 0) {
  if (typeof thrown !== "object" || !thrown || depth > 4) return thrown === undefined ? "undefined" : thrown;
  const { name, message, stack, cause } = thrown;
  return { ...thrown, name, message, stack, ...(cause !== undefined && { cause: describe(cause, depth + 1) }) };
}

const kept = new Map();
const map = {
  create: async (id, entry) => !kept.has(id) && !!kept.set(id, entry),
  read: async (id) => kept.get(id),
  write: async (id, entry) => void kept.set(id, entry),
  delete: async (id) => void kept.delete(id),
  list: async (prefix) => [...kept.keys()].filter((id) => id.startsWith(prefix)),
};
const full = async () => {
  throw Object.assign(new Error("The quota has been exceeded."), { name: "QuotaExceededError" });
};
/** The calls with a `waitUntil` option. */
const CHARGES = ["submit", "previewAsync", "previewSync", "preview", "render"];

/** Journals by name. `map` lives as long as the runtime. `sent` are the methods of the requests. */
const journals = (sent) => ({
  memory: "memory",
  map,
  forbidden: { create: full, read: full, write: full, delete: full, list: full },
  "full after the first": { ...map, write: full },
  "full after a charge": { ...map, write: (...given) => (sent.includes("POST") ? full() : map.write(...given)) },
});

/** The updates of a watched job. */
async function watched(jobs, ...given) {
  const seen = [];
  for await (const { job } of jobs.watch(...given)) seen.push({ status: job.status, progress: job.progress });
  return seen;
}

/** Makes the wall clock jump by `jumps` milliseconds at each request, or the runtime report offline, during an act. */
function surroundings({ jumps, offline }) {
  const { now } = Date;
  let jumped = 0;
  const navigator = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  if (offline) Object.defineProperty(globalThis, "navigator", { value: { onLine: false }, configurable: true });
  return {
    jump() {
      jumped += jumps;
      if (jumps) Date.now = () => now.call(Date) + jumped;
    },
    restore() {
      if (jumps) Date.now = now;
      if (offline && navigator) Object.defineProperty(globalThis, "navigator", navigator);
      else if (offline) delete globalThis.navigator;
    },
  };
}

/**
 * Runs `steps` with one client, and returns the outcome of each. A step is one of
 * - `{ call, args, options, times }`: calls a method, `times` times in parallel. `options.abortAfter` is the time of an abort in
 *   milliseconds; below zero it is before the call;
 * - `{ read }`: parses a webhook `{ body, url }`; with `repeat`, the body's `…` stands for so many letters;
 * - `{ warms }`: calls this method twice in parallel, so that two idle connections are open;
 * - `{ entry, becomes }`: replaces the text of an entry of the journal `map`, or some of its fields.
 * `listJobs` returns `listed`, or what is found at the URL `listedBy`. `jumps` and `offline` are as above.
 */
export async function act(library, { client, journal = "memory", listed, listedBy, steps, ...rest }, waitUntil) {
  const { TemplateJobs, isTemplateJobsError } = library;
  const around = surroundings(rest);
  const sent = [];
  const events = [];
  const jobs = new TemplateJobs({
    ...client,
    journal: journals(sent)[journal],
    fetch: (url, init) => {
      sent.push(init.method);
      around.jump();
      return fetch(url, init);
    },
    listJobs: listedBy ? async () => (await fetch(listedBy)).json() : listed && (async () => listed),
    onEvent: (event) => events.push(event),
  });
  const ends = [];
  for (const { call, args = [], options: { abortAfter, ...options } = {}, warms, read, entry, becomes, times = 1 } of steps) {
    if (entry) {
      const key = [...kept.keys()].find((each) => each.endsWith(entry));
      kept.set(key, typeof becomes === "string" ? becomes : JSON.stringify({ ...JSON.parse(kept.get(key)), ...becomes }));
      continue;
    }
    if (warms) {
      await Promise.all([jobs[warms](), jobs[warms]()]);
      // A connection returns to its pool after its answer was read.
      await new Promise((resolve) => setTimeout(resolve, 10));
      continue;
    }
    const from = sent.length;
    const begun = performance.now();
    const leaving = abortAfter === undefined ? undefined : abortAfter < 0 ? AbortSignal.abort("left") : new AbortController();
    if (leaving instanceof AbortController) setTimeout(() => leaving.abort("left"), abortAfter);
    const signal = leaving?.signal ?? leaving;
    const one = async () => {
      const given = [...args.map((each) => each ?? undefined), { ...options, signal, ...(CHARGES.includes(call) && { waitUntil }) }];
      if (read) return library.parseWebhook(read.repeat ? read.body.replace("…", "x".repeat(read.repeat)) : read.body, read.url);
      return call === "watch" ? watched(jobs, ...given) : jobs[call](...given);
    };
    const end = () => one().then((value) => ({ value }), (thrown) => ({ error: describe(thrown), typed: isTemplateJobsError(thrown) }));
    const [first, ...others] = await Promise.all(Array.from({ length: times }, end));
    ends.push({ ...first, ...(others.length && { others }), fetches: sent.slice(from), ms: performance.now() - begun });
  }
  around.restore();
  return { ends, events };
}
