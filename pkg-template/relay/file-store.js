// A store in a directory for one process: a file journal that all accounts share, and a lock on the directory.

import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fileJournal } from "../file-journal.js";
import { newOwner, release, take } from "../file-lock.js";
import { processStore } from "./stores.js";

const OPEN = "open/"; // the prefix of the names of accounts with open operations

// A server may load this module twice: by `import` and by `require`, or again after a change.
const stores = (globalThis[Symbol.for("custom-template-jobs.relay.stores")] ??= new Map());

export function fileStore(given) {
  if (typeof given !== "string" && !(given instanceof URL)) throw new TypeError("fileStore(directory): the directory must be a path or a file: URL");
  const directory = given instanceof URL ? fileURLToPath(given) : resolve(given);
  if (!stores.has(directory)) stores.set(directory, open(directory));
  return stores.get(directory);
}

function open(directory) {
  for (const part of ["tmp", "locks"]) mkdirSync(join(directory, part), { recursive: true, mode: 0o700 });
  const lock = join(directory, "locks", "relay");
  const owner = newOwner();
  const holder = take(directory, lock, owner);
  if (holder !== undefined) throw new Error(`fileStore: ${directory} is used by another process (${holder.split(".")[1]}). It is for one process; use a directory for each, or durableObjectStore.`);
  process.once("exit", () => release(lock, owner));
  const journal = fileJournal(directory);
  const below = (name) => {
    const at = (id) => `${name}/${id}`;
    return {
      create: (id, entry) => journal.create(at(id), entry),
      read: (id) => journal.read(at(id)),
      write: (id, entry) => journal.write(at(id), entry),
      replace: (id, old, entry) => journal.replace(at(id), old, entry),
      delete: (id, entry) => journal.delete(at(id), entry),
      list: async (prefix) => (await journal.list(at(prefix))).map((id) => id.slice(name.length + 1)),
    };
  };
  return processStore(below, {
    names: async () => (await journal.list(OPEN)).map((id) => id.slice(OPEN.length)),
    note: (name, isOpen) => (isOpen ? journal.create(OPEN + name, "") : journal.delete(OPEN + name)),
  });
}
