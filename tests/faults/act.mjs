// What a runtime does for one cell of the matrix: it makes a client and calls it, step by step, and tells how each call ended,
// which requests the client made by `fetch` for it, and what the client told of itself. The same lines run in every runtime.

/** Something thrown, with all that hangs on it: whoever looks for a key there finds it. */
function told(thrown, depth = 0) {
  if (typeof thrown !== "object" || !thrown || depth > 4) return thrown === undefined ? "undefined" : thrown;
  const { name, message, stack, cause } = thrown;
  return { ...thrown, name, message, stack, ...(cause !== undefined && { cause: told(cause, depth + 1) }) };
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
/** Journals by their names; each keeps what it keeps for as long as the runtime lives. */
const JOURNALS = {
  memory: "memory",
  map,
  forbidden: { create: full, read: full, write: full, delete: full, list: full },
  "full after the first": { ...map, write: full },
};

/**
 * Plays `steps`, each `{ call, args, options }`, where `options.abortAfter` is when its caller leaves, in milliseconds; below
 * zero, before the call. A step `{ entry, becomes }` puts other text in the place of that entry of the journal `map`, or other
 * fields into it. A step `{ warms }` calls that twice at once, so that two connections are open and rest. `listJobs` gives `listed`, or what is found at the address `listedBy`.
 */
export async function act({ TemplateJobs, isTemplateJobsError }, { client, journal = "memory", listed, listedBy, steps }, waitUntil) {
  const sent = [];
  const events = [];
  const jobs = new TemplateJobs({
    ...client,
    journal: JOURNALS[journal],
    fetch: (url, init) => {
      sent.push(init.method);
      return fetch(url, init);
    },
    listJobs: listedBy ? async () => (await fetch(listedBy)).json() : listed && (async () => listed),
    onEvent: (event) => events.push(event),
  });
  const ends = [];
  for (const { call, args = [], options: { abortAfter, ...options } = {}, warms, entry, becomes } of steps) {
    if (entry) {
      const key = [...kept.keys()].find((each) => each.endsWith(entry));
      kept.set(key, typeof becomes === "string" ? becomes : JSON.stringify({ ...JSON.parse(kept.get(key)), ...becomes }));
      continue;
    }
    if (warms) {
      await Promise.all([jobs[warms](), jobs[warms]()]);
      // A connection goes back to its pool after its answer was read.
      await new Promise((resolve) => setTimeout(resolve, 10));
      continue;
    }
    const from = sent.length;
    const begun = performance.now();
    const leaving = abortAfter === undefined ? undefined : abortAfter < 0 ? AbortSignal.abort("left") : new AbortController();
    if (leaving instanceof AbortController) setTimeout(() => leaving.abort("left"), abortAfter);
    const signal = leaving?.signal ?? leaving;
    const end = await jobs[call](...args.map((given) => given ?? undefined), { ...options, signal, waitUntil }).then(
      (value) => ({ value }),
      (thrown) => ({ error: told(thrown), typed: isTemplateJobsError(thrown) }),
    );
    ends.push({ ...end, fetches: sent.slice(from), ms: performance.now() - begun });
  }
  return { ends, events };
}
