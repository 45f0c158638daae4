// A journal in the storage of a Durable Object: what was charged outlives the worker's memory.
export const durableObjectJournal = (storage) => ({
  create: (id, entry) =>
    storage.transaction(async (inside) => (await inside.get(id)) === undefined && (await inside.put(id, entry), true)),
  read: (id) => storage.get(id),
  write: (id, entry) => storage.put(id, entry),
  delete: (id, entry) =>
    storage.transaction(async (inside) => {
      const found = await inside.get(id);
      if ((entry ?? found) === found) await inside.delete(id);
    }),
  list: async (prefix) => [...(await storage.list({ prefix })).keys()],
});
