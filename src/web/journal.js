// The default journals: one in memory, one in IndexedDB. Their methods are those of `Journal` in index.d.ts.

// One for the process, so that a second copy of the package, loaded by `require` or in another bundle, charges no operation
// again. The number is the version of the format.
const SHARED = Symbol.for("custom-template-jobs.journal.1");
let entries;
try {
  entries = globalThis[SHARED] ??= new Map();
} catch {
  entries = new Map(); // the global object is frozen
}

const memory = {
  create: (id, entry) => !entries.has(id) && !!entries.set(id, entry),
  read: (id) => entries.get(id),
  write: (id, entry) => void entries.set(id, entry),
  replace: (id, old, entry) => entries.get(id) === old && !!entries.set(id, entry),
  delete: (id, entry = entries.get(id)) => entries.get(id) === entry && entries.delete(id),
  list: (prefix) => [...entries.keys()].filter((id) => id.startsWith(prefix)),
};
export const memoryJournal = () => memory;

let opened;
const open = () =>
  (opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("custom-template-jobs", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("journal");
    // If another tab blocks a deletion, no event fires here. The caller's timeout ends that wait.
    request.onblocked = () => reject(new Error("another tab keeps the IndexedDB database from opening: close or reload it"));
    request.onerror = () =>
      reject(
        request.error.name === "VersionError"
          ? new Error("the IndexedDB database was made by a newer version of custom-template-jobs: reload the page", { cause: request.error })
          : request.error,
      );
    request.onsuccess = () => {
      // Close, so that others can delete or upgrade the database.
      request.result.onversionchange = request.result.onclose = () => {
        request.result.close();
        opened = undefined;
      };
      resolve(request.result);
    };
  }).catch((thrown) => {
    opened = undefined;
    throw thrown;
  }));

const begin = async (mode) => (await open()).transaction("journal", mode, { durability: "strict" });

/** Returns the `result` of the request that `act` returns, once the transaction is complete. */
async function transact(mode, act) {
  const transaction = await begin(mode).catch((thrown) => {
    // Browsers may close a connection without an event (WebKit does).
    if (thrown?.name !== "InvalidStateError") throw thrown;
    opened = undefined;
    return begin(mode);
  });
  return new Promise((resolve, reject) => {
    const outcome = act(transaction.objectStore("journal"));
    transaction.oncomplete = () => resolve(outcome.result);
    transaction.onabort = () => reject(transaction.error ?? new Error("the IndexedDB database was closed"));
  });
}

/** Changes the entry under `id` if it equals `expected`; an undefined `expected` matches every entry. */
const change = (id, expected, act) =>
  transact("readwrite", (store) => {
    const outcome = { result: false };
    const request = store.get(id);
    request.onsuccess = () => {
      const found = request.result;
      if (found !== undefined && (expected ?? found) === found) {
        act(store);
        outcome.result = true;
      }
    };
    return outcome;
  });

const stored = {
  create: (id, entry) =>
    transact("readwrite", (store) => store.add(entry, id)).then(
      () => true,
      (thrown) => {
        if (thrown?.name !== "ConstraintError") throw thrown;
        return false;
      },
    ),
  read: (id) => transact("readonly", (store) => store.get(id)),
  write: (id, entry) => transact("readwrite", (store) => store.put(entry, id)).then(() => {}),
  replace: (id, old, entry) => change(id, old, (store) => store.put(entry, id)),
  delete: (id, entry) => change(id, entry, (store) => store.delete(id)),
  // Up to the first text without this prefix.
  list: (prefix) => transact("readonly", (store) => store.getAllKeys(IDBKeyRange.bound(prefix, after(prefix), false, true))),
};
const after = (prefix) => prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);

/** The journal in IndexedDB; undefined without IndexedDB, as in the DOMs of tests. If IndexedDB is blocked, its methods reject. */
export function indexedDbJournal() {
  try {
    if (globalThis.indexedDB === undefined) return;
  } catch {}
  return stored;
}
