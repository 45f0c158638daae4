// A journal in the storage of a Durable Object: what was charged outlives the worker's memory.
export const durableObjectJournal = (storage) => {
  // Changes what is under `id` if that is `expected`; anything where that is undefined.
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
