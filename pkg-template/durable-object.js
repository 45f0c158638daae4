// A journal in the storage of a Durable Object.
export const durableObjectJournal = (storage) => {
  // Changes the entry under `id` if it equals `expected`; an undefined `expected` matches every entry.
  const change = (id, expected, act) =>
    storage.transaction(async (inside) => {
      const found = await inside.get(id);
      if (found === undefined || (expected ?? found) !== found) return false;
      await act(inside);
      return true;
    });
  return {
    create: (id, entry) =>
      storage.transaction(async (inside) => (await inside.get(id)) === undefined && (await inside.put(id, entry), true)),
    read: (id) => storage.get(id),
    write: (id, entry) => storage.put(id, entry),
    replace: (id, old, entry) => change(id, old, (inside) => inside.put(id, entry)),
    delete: (id, entry) => change(id, entry, (inside) => inside.delete(id)),
    list: async (prefix) => [...(await storage.list({ prefix })).keys()],
  };
};
