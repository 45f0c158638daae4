// The contract of a journal: calls of every method, and the results that are expected in every runtime.

const NAMESPACE = "0123456789abcdef";
const ODD = "a/b//ü😀\u0000\"\\%2F../..\uffff";

/** Calls every method of an empty journal; returns the results by situation. */
export async function observe(journal) {
  const id = `${NAMESPACE}/order`;
  const odd = `${NAMESPACE}/${ODD}`;
  const seen = {};
  const note = async (situation, answer) => (seen[situation] = (await answer) ?? null);

  await note("read of a missing entry", journal.read(id));
  await note("replace of a missing entry", journal.replace(id, "1", "2"));
  await note("delete of a missing entry", journal.delete(id));
  await note("list of an empty journal", journal.list(`${NAMESPACE}/`));
  await note("create", journal.create(id, "1"));
  await note("create again", journal.create(id, "2"));
  await note("read", journal.read(id));
  await note("replace of another value", journal.replace(id, "2", "3"));
  await note("replace", journal.replace(id, "1", "3"));
  await note("read after a replace", journal.read(id));
  await note("delete of another value", journal.delete(id, "1"));
  await note("delete of the value", journal.delete(id, "3"));
  await note("read after a delete", journal.read(id));
  await note("create after a delete", journal.create(id, "4"));
  await journal.write(id, "5");
  await journal.write(odd, ODD);
  await note("read after a write", journal.read(id));
  await note("read of odd text", Promise.resolve(journal.read(odd)).then((text) => text === ODD));
  await note("delete of any value", journal.delete(id));

  const keys = ["open/a", "open/a/b", "ended/1/a", "ended/1/b/c", "ended/10/a", "budget/2026-11/my/key/a=5", "budget/2026-11/my/kez/a=5", "took/7"];
  for (const key of keys) await journal.create(`${NAMESPACE}:${key}`, "x");
  for (const prefix of [":open/", ":ended/1/", ":ended/10/", ":budget/2026-11/my/key/", ":budget/2026-12/my/key/"]) {
    await note(`list of ${prefix}`, Promise.resolve(journal.list(NAMESPACE + prefix)).then((ids) => ids.sort().map((id) => id.slice(16))));
  }
  await note("list of the entries", Promise.resolve(journal.list(`${NAMESPACE}/`)).then((ids) => ids.length === 1 && ids[0] === odd));

  const wins = async (act) => (await Promise.all(Array.from({ length: 20 }, (_, at) => act(String(at))))).filter(Boolean).length;
  const raced = `${NAMESPACE}/raced`;
  await note("20 creates at once", wins((mine) => journal.create(raced, mine)));
  const won = await journal.read(raced);
  await note("20 replaces at once", wins((mine) => journal.replace(raced, won, `new ${mine}`)));
  const now = await journal.read(raced);
  await note("10 deletes and 10 replaces at once", wins((mine) => (mine % 2 ? journal.delete(raced, now) : journal.replace(raced, now, "newer"))));
  return seen;
}

export const EXPECTED = {
  "read of a missing entry": null,
  "replace of a missing entry": false,
  "delete of a missing entry": false,
  "list of an empty journal": [],
  create: true,
  "create again": false,
  read: "1",
  "replace of another value": false,
  replace: true,
  "read after a replace": "3",
  "delete of another value": false,
  "delete of the value": true,
  "read after a delete": null,
  "create after a delete": true,
  "read after a write": "5",
  "read of odd text": true,
  "delete of any value": true,
  "list of :open/": [":open/a", ":open/a/b"],
  "list of :ended/1/": [":ended/1/a", ":ended/1/b/c"],
  "list of :ended/10/": [":ended/10/a"],
  "list of :budget/2026-11/my/key/": [":budget/2026-11/my/key/a=5"],
  "list of :budget/2026-12/my/key/": [],
  "list of the entries": true,
  "20 creates at once": 1,
  "20 replaces at once": 1,
  "10 deletes and 10 replaces at once": 1,
};
