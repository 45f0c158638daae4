// A journal in a directory, for Node, Deno and Bun. It survives a process that is killed.
//
//   <directory>/<hash of the id up to its first slash>/<name>   an entry: {"id": ..., "entry": ...}
//   <directory>/locks/<hash>                                    which owner is changing an entry at this moment
//   <directory>/tmp/<owner>                                     a file before it is linked or renamed to its place
//
// A file is complete and on the disk before it becomes an entry: by `link`, which fails if there is one, or by `rename`, which
// replaces. `replace`, `write` and `delete` hold a lock while they compare and then rename or unlink. They await nothing while they
// hold it, so they hold it for a few system calls.

import { renameSync, unlinkSync } from "node:fs";
import { link, mkdir, open, readFile, readdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { attempt, hash, isGone, newOwner, orMissing, readTextSync, release, take } from "./file-lock.js";

const STUCK = 10_000; // ms after which a lock is taken from an owner that still holds it
const PATIENCE = 30_000; // ms after which waiting for a lock fails
const ABANDONED = 3_600_000; // ms after which files of an owner that cannot be looked up are removed
const AT_ONCE = 32; // files that `list` reads at the same time
const LISTS = 8; // lists whose file names are cached

/* ---- names ----------------------------------------------------------------------------------- */

/** The prefixes of a text up to its first, second and third slash. */
function levels(text) {
  const found = [];
  for (let at; found.length < 3 && (at = text.indexOf("/", at + 1 || 0)) >= 0; ) found.push(text.slice(0, at + 1));
  return found;
}

// Short hashes of the second and third level precede the hash of the id, so that `list` reads only files that match.
const label = (level) => hash(level).slice(0, 8);
const groupOf = (id) => hash(levels(id)[0] ?? "").slice(0, 16);
const nameOf = (id) => [...levels(id).slice(1).map(label), hash(id)].join("-");

/** The id in a file, even if only the beginning of the file is left. */
function idOf(text, name) {
  const [, json] = /^\{"id":("(?:[^"\\]|\\.)*")/.exec(text) ?? [];
  const id = json && attempt(() => JSON.parse(json));
  return id !== undefined && nameOf(id) === name ? id : undefined;
}

/** The entry in a file. A damaged file is returned as it is, since a missing entry would allow a new charge. */
function entryOf(text, id) {
  const found = attempt(() => JSON.parse(text));
  return found?.id === id && typeof found.entry === "string" ? found.entry : text;
}

/* ---- files ----------------------------------------------------------------------------------- */

/** Reads a file; undefined if there is none. */
const readText = (path) => readFile(path, "utf8").catch(orMissing);

const remove = (path) => unlink(path).catch(orMissing);

/** Runs `act`. If the directory is missing, creates it and runs `act` again. */
async function within(directory, act) {
  try {
    return await act();
  } catch (thrown) {
    orMissing(thrown);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return act();
  }
}

/** Flushes a directory to the disk, on platforms that can. */
async function syncDirectory(directory) {
  let handle;
  try {
    handle = await open(directory, "r");
    await handle.sync();
  } catch (thrown) {
    if (!["EACCES", "EBADF", "EINVAL", "EISDIR", "ENOSYS", "ENOTSUP", "EPERM"].includes(thrown.code)) throw thrown;
  } finally {
    await handle?.close();
  }
}

/** Removes the temporary files and locks of killed processes. */
async function tidy(directory) {
  const each = async (folder, act) => {
    for (const name of await readdir(join(directory, folder)).catch(() => [])) {
      const path = join(directory, folder, name);
      await (async () => act(path, name, Date.now() - (await stat(path)).mtimeMs > ABANDONED))().catch(() => {});
    }
  };
  await each("tmp", (path, owner, old) => (old || isGone(owner)) && remove(path));
  await each("locks", (path, name, old) => {
    const holder = readTextSync(path);
    const owner = newOwner();
    if (holder !== undefined && (old || isGone(holder)) && take(directory, path, owner, holder) === undefined) release(path, owner);
  });
}

/* ---- the journal ----------------------------------------------------------------------------- */

export function fileJournal(given) {
  if (typeof given !== "string" && !(given instanceof URL)) throw new TypeError("fileJournal(directory): the directory must be a path or a file: URL");
  const directory = given instanceof URL ? fileURLToPath(given) : resolve(given);
  const tmp = join(directory, "tmp");
  const locks = join(directory, "locks");
  const pathOf = (id) => join(directory, groupOf(id), nameOf(id));
  const lists = new Map(); // prefix -> name of a file -> its id, which never changes
  const synced = new Set();
  let tidied;

  /** Writes an entry to a temporary file, flushes it, runs `use` on it, and removes it. */
  async function prepared(id, entry, use) {
    await (tidied ??= tidy(directory));
    const file = join(tmp, newOwner());
    try {
      const handle = await within(tmp, () => open(file, "wx", 0o600));
      try {
        await handle.writeFile(JSON.stringify({ id, entry }));
        await handle.sync();
      } finally {
        await handle.close();
      }
      return await use(file);
    } finally {
      await remove(file).catch(() => {});
    }
  }

  /** Flushes the creation or removal of an entry's file to the disk. */
  async function sync(path) {
    const group = dirname(path);
    await syncDirectory(group);
    if (synced.has(group)) return;
    await syncDirectory(directory);
    await syncDirectory(dirname(directory));
    synced.add(group);
  }

  /** Changes an entry's file if `expects` returns true for its entry. Returns whether it did. */
  async function change(id, expects, act) {
    const path = pathOf(id);
    const lock = join(locks, hash(id));
    const begun = performance.now();
    let watched;
    for (let now = begun; ; now = performance.now()) {
      const owner = newOwner();
      const stuck = watched && now - watched.since > STUCK ? watched.holder : undefined;
      const holder = await within(tmp, () => within(locks, () => take(directory, lock, owner, stuck)));
      if (holder === undefined) {
        try {
          const text = readTextSync(path);
          if (!expects(text === undefined ? undefined : entryOf(text, id))) return false;
          // Otherwise this process was paused for so long that its lock was taken.
          if (readTextSync(lock) === owner) {
            act(path);
            break;
          }
        } finally {
          release(lock, owner);
        }
      } else if (watched?.holder !== holder) watched = { holder, since: now };
      if (now - begun > PATIENCE) throw new Error(`${lock} is held by ${holder}`);
      await setTimeout(1 + Math.random() * 10);
    }
    await sync(path);
    return true;
  }

  const methods = {
    create: (id, entry) =>
      prepared(id, entry, async (file) => {
        const path = pathOf(id);
        try {
          await within(dirname(path), () => link(file, path));
        } catch (thrown) {
          if (thrown.code !== "EEXIST") throw thrown;
          return false;
        }
        await sync(path);
        return true;
      }),
    async read(id) {
      const text = await readText(pathOf(id));
      return text === undefined ? undefined : entryOf(text, id);
    },
    write: (id, entry) =>
      prepared(id, entry, async (file) => {
        await mkdir(dirname(pathOf(id)), { recursive: true, mode: 0o700 });
        await change(id, () => true, (path) => renameSync(file, path));
      }),
    replace: (id, old, entry) => prepared(id, entry, (file) => change(id, (found) => found === old, (path) => renameSync(file, path))),
    delete: (id, entry) => change(id, (found) => found !== undefined && (entry ?? found) === found, unlinkSync),
    async list(prefix) {
      const [first] = levels(prefix);
      const depth = levels(prefix).length;
      const wanted = depth > 1 ? label(levels(prefix)[depth - 1]) : undefined;
      const groups = first ? [groupOf(prefix)] : (await readdir(directory).catch(orMissing))?.filter((name) => /^[0-9a-f]{16}$/.test(name)) ?? [];
      const before = lists.get(prefix);
      const known = new Map();
      for (const group of groups) {
        const names = (await readdir(join(directory, group)).catch(orMissing)) ?? [];
        const matching = names.filter((name) => !wanted || name.split("-")[depth - 2] === wanted);
        for (let at = 0; at < matching.length; at += AT_ONCE) {
          await Promise.all(
            matching.slice(at, at + AT_ONCE).map(async (name) => {
              const id = before?.get(name) ?? idOf((await readText(join(directory, group, name))) ?? "", name);
              if (id !== undefined) known.set(name, id);
            }),
          );
        }
      }
      lists.delete(prefix);
      lists.set(prefix, known);
      if (lists.size > LISTS) lists.delete(lists.keys().next().value);
      return [...known.values()].filter((id) => id.startsWith(prefix));
    },
  };

  // The message names the directory; the cause names the file, if there is one.
  const explained = ([name, method]) => [
    name,
    (...given) =>
      method(...given).catch((cause) => {
        throw new Error(`the journal in ${directory} cannot be used: ${cause.message}`, { cause });
      }),
  ];
  return Object.fromEntries(Object.entries(methods).map(explained));
}
