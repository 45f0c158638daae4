// Locks in a directory, for the file journal and the relay's file store. A lock is held until its owner releases it or ends.
//
//   <directory>/locks/<name>    the owner that holds the lock of that name
//   <directory>/tmp/<owner>     a file before it is linked or renamed to its place

import { createHash, randomBytes } from "node:crypto";
import { linkSync, readFileSync, readlinkSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";

// Hashes the JSON: UTF-8 has no lone surrogates, so two different ids could have one hash.
export const hash = (text) => createHash("sha256").update(JSON.stringify(text)).digest("hex");

/* ---- owners of locks and temporary files ------------------------------------------------------ */

export function attempt(act) {
  try {
    return act();
  } catch {
    return undefined;
  }
}

// Deno prompts for a permission that it was started without. Without it an owner cannot be looked up.
const permitted = ["read", "run", "sys"].every((name) => !globalThis.Deno || attempt(() => Deno.permissions.querySync({ name }).state) === "granted");
const proc = (file) => (permitted ? attempt(() => readFileSync(`/proc/${file}`, "utf8")) : undefined);

/** The state and the start time of a process, since its number may be reused. Linux only. */
function look(pid) {
  const [state, ...fields] = proc(`${pid}/stat`)?.replace(/^.*\) /s, "").split(" ") ?? [];
  return { ended: state === "Z" || state === "X", start: fields[18] ?? "" };
}

/** The scope in which process numbers are unique: this container on this machine, until it restarts. */
function findPlace() {
  const boot = proc("sys/kernel/random/boot_id");
  const known = boot ? boot + attempt(() => readlinkSync("/proc/self/ns/pid")) : permitted ? attempt(hostname) : undefined;
  return hash(known ?? randomBytes(16).toString("hex")).slice(0, 8);
}

const place = findPlace();
const copy = [place, process.pid, look(process.pid).start, randomBytes(6).toString("hex")].join(".");
let owners = 0;

/** A new owner, for one call of this copy of the module. */
export const newOwner = () => `${copy}.${++owners}`;

/** Whether the process of an owner has ended for certain. */
export function isGone(owner) {
  const [where, pid, start] = owner.split(".");
  if (where !== place || !(pid > 0) || !permitted) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (thrown) {
    return thrown.code === "ESRCH";
  }
  const found = look(pid);
  return found.ended || (!!start && !!found.start && found.start !== start);
}

/* ---- files ----------------------------------------------------------------------------------- */

/** Undefined if there is no such file. */
export const orMissing = (thrown) => {
  if (thrown.code !== "ENOENT") throw thrown;
};

export function readTextSync(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    return orMissing(thrown);
  }
}

export function removeSync(path) {
  try {
    unlinkSync(path);
  } catch (thrown) {
    orMissing(thrown);
  }
}

/* ---- locks ----------------------------------------------------------------------------------- */

/** Releases a lock, unless it was taken from this owner. */
export function release(lock, owner) {
  if (readTextSync(lock) === owner) removeSync(lock);
}

/**
 * Takes a lock, also from an owner that has ended or is `stuck`. Returns the owner that holds it if it could not be taken.
 *
 * Only its owner removes the file of a lock. If the owner has ended, one process replaces the file: the one that has the claim on
 * that owner. The file is never removed and created again. The claim is a lock itself, named after the owner. The process with
 * the claim reads the lock again, so a slow process cannot replace the lock of a new owner.
 */
export function take(directory, lock, owner, stuck) {
  const file = join(directory, "tmp", owner);
  writeFileSync(file, owner, { flag: "wx", mode: 0o600 });
  try {
    for (;;) {
      try {
        linkSync(file, lock);
        return undefined;
      } catch (thrown) {
        if (thrown.code !== "EEXIST") throw thrown;
      }
      const holder = readTextSync(lock);
      if (holder === undefined) continue; // released in between
      if (holder !== stuck && !isGone(holder)) return holder;
      const claim = join(directory, "locks", hash(holder));
      const claimant = newOwner();
      const other = take(directory, claim, claimant, stuck);
      if (other !== undefined) return other;
      try {
        if (readTextSync(lock) !== holder) continue;
        renameSync(file, lock);
        return undefined;
      } finally {
        release(claim, claimant);
      }
    }
  } finally {
    removeSync(file);
  }
}
