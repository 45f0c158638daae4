// The stores of accounts: in this process, or one Durable Object for each.

import { Account } from "./account.js";

/**
 * A store whose accounts are in this process. `journalOf(name)` returns an account's storage. `note(name, isOpen)` records whether an
 * account has open operations, and `names()` lists those of an earlier process.
 */
export function processStore(journalOf, { names = async () => [], note = async () => {} } = {}) {
  const accounts = new Map(); // name -> { account, active, timer, at }
  let resumed = false;

  function find(name, settings) {
    let found = accounts.get(name);
    if (!found) {
      found = { active: 0, at: Infinity };
      found.account = new Account(settings, journalOf(name), (ms) => wake(name, found, ms));
      accounts.set(name, found);
    }
    return found;
  }

  async function wake(name, found, ms) {
    const at = Date.now() + ms;
    if (at >= found.at) return;
    const isFirst = found.at === Infinity;
    clearTimeout(found.timer);
    found.at = at;
    found.timer = setTimeout(() => tick(name, found), ms);
    found.timer.unref?.();
    if (isFirst) await note(name, true);
  }

  async function tick(name, found) {
    found.at = Infinity;
    found.active += 1;
    try {
      if (!(await found.account.tick())) {
        await note(name, false);
        if (found.active === 1) accounts.delete(name);
      }
    } catch {
      await wake(name, found, 60_000).catch(() => {});
    } finally {
      found.active -= 1;
    }
  }

  // Settles what an earlier process left open, even if none of its users returns.
  async function resume(settings) {
    if (resumed) return;
    resumed = true;
    for (const name of await names()) tick(name, find(name, settings));
  }

  return {
    async run(ask, settings) {
      await resume(settings);
      const found = find(ask.name, settings);
      found.active += 1;
      try {
        return await found.account.run(ask);
      } finally {
        found.active -= 1;
      }
    },
    resume,
  };
}

/** A store in memory, for tests: it ends with its process. */
export function memoryStore() {
  const all = new Map();
  return processStore((name) => {
    if (!all.has(name)) all.set(name, memoryJournal());
    return all.get(name);
  });
}

function memoryJournal() {
  const entries = new Map();
  return {
    create: async (id, entry) => !entries.has(id) && !!entries.set(id, entry),
    read: async (id) => entries.get(id),
    write: async (id, entry) => void entries.set(id, entry),
    replace: async (id, old, entry) => entries.get(id) === old && !!entries.set(id, entry),
    delete: async (id, entry) => (entry === undefined || entries.get(id) === entry) && entries.delete(id),
    list: async (prefix) => [...entries.keys()].filter((id) => id.startsWith(prefix)),
  };
}

/** A store of Durable Objects, one for each user. Its namespace is that of a class that extends `RelayAccount`. */
export const durableObjectStore = (namespace) => ({
  run: (ask) => namespace.get(namespace.idFromName(ask.name)).run(ask),
});
