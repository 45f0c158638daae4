// Tests of the journals: the contract of every store, and races and kills of the file journal. `JOURNAL_KILLS=200` runs longer;
// JOURNAL_SEED replays a seed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { answer, deferred, load, packageDirectory, rejection, settles, UNKNOWN_ID } from "./harness.mjs";
import { EXPECTED, observe } from "./journal-contract.mjs";
import { random } from "./random.mjs";

const { memoryJournal } = await load("journal.js");
const { fileJournal } = await load("file-journal.js");
const { durableObjectJournal } = await load("durable-object.js");

const KILLS = Number(process.env.JOURNAL_KILLS ?? 20);
const SEED = Number(process.env.JOURNAL_SEED ?? 1);
const NAMESPACE = "0123456789abcdef";
const PROGRAM = fileURLToPath(new URL("journal-process.mjs", import.meta.url));

/** An unused directory for a test. */
async function fresh(context) {
  const parent = await mkdtemp(join(tmpdir(), "journal-"));
  context.after(() => rm(parent, { recursive: true, force: true }));
  return join(parent, "made", "by", "the journal");
}

/** A process that runs an act on a journal: its output lines and its exit. */
function start(directory, act, options) {
  const child = spawn(process.execPath, [PROGRAM, join(packageDirectory, "file-journal.js"), directory, act, JSON.stringify(options)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    pid: child.pid,
    say: (line) => child.stdin.write(`${JSON.stringify(line)}\n`),
    next: async () => JSON.parse((await lines.next()).value ?? "null"),
    async all() {
      const found = [];
      for await (const line of lines) found.push(JSON.parse(line));
      return found;
    },
    kill: () => child.kill("SIGKILL"),
    exit: once(child, "exit"),
  };
}

/** The file names in a directory of the journal; none if it is missing. */
const inside = (directory, folder) => readdir(join(directory, folder)).catch(() => []);

/** The only entry file of a journal with one entry. */
async function onlyFile(directory) {
  const groups = (await readdir(directory)).filter((name) => name !== "tmp" && name !== "locks");
  const [name, ...others] = await readdir(join(directory, groups[0]));
  assert.deepEqual([groups.length, others], [1, []]);
  return join(directory, groups[0], name);
}

/** The transactions of a Durable Object's storage: isolated from each other. */
function durableObjectStorage() {
  const stored = new Map();
  let turn = Promise.resolve();
  const inside = {
    get: async (key) => stored.get(key),
    put: async (key, value) => void stored.set(key, value),
    delete: async (key) => stored.delete(key),
  };
  return {
    ...inside,
    list: async ({ prefix }) => new Map([...stored].filter(([key]) => key.startsWith(prefix)).sort()),
    transaction: (closure) => (turn = turn.then(() => closure(inside))),
  };
}

const stores = {
  memory: () => memoryJournal(),
  file: async (context) => fileJournal(await fresh(context)),
  "Durable Object": () => durableObjectJournal(durableObjectStorage()),
};
for (const [name, make] of Object.entries(stores)) {
  test(`the ${name} journal keeps the contract`, async (context) => {
    assert.deepEqual(await observe(await make(context)), EXPECTED);
  });
}

/* ---- memory ---------------------------------------------------------------------------------- */

test("copies of the package in one process charge an operation once", async (context) => {
  const directory = await fresh(context);
  await cp(packageDirectory, join(directory, "copy"), { recursive: true });
  const copies = [
    await load("node.js"),
    await import(pathToFileURL(join(directory, "copy", "node.js")).href),
    createRequire(import.meta.url)(join(directory, "copy", "inline.js")),
  ];
  assert.equal(new Set(copies.map(({ TemplateJobs }) => TemplateJobs)).size, 2);
  let charges = 0;
  const send = async (url, { method }) => {
    if (method === "POST") charges++;
    return answer(200, { id: UNKNOWN_ID, status: "pending" });
  };
  for (const { TemplateJobs } of copies) {
    const jobs = new TemplateJobs({ baseUrl: "https://copies.test", fetch: send, journal: "memory" });
    const job = await settles(jobs.submit({ template_id: UNKNOWN_ID, variables: {} }, { operation: "one" }));
    assert.equal(job.id, UNKNOWN_ID);
    jobs.close();
  }
  assert.equal(charges, 1);
});

/* ---- files ----------------------------------------------------------------------------------- */

test("a charge in a file journal is known to the next client", async (context) => {
  const { TemplateJobs } = await load("node.js");
  const directory = await fresh(context);
  let charges = 0;
  const send = async (url, { method }) => {
    if (method === "POST") charges++;
    return answer(200, { id: UNKNOWN_ID, status: "pending" });
  };
  for (let run = 0; run < 2; run++) {
    const jobs = new TemplateJobs({ baseUrl: "https://files.test", fetch: send, journal: fileJournal(directory), maxCredits: 9, budgetKey: "all" });
    await settles(jobs.submit({ template_id: UNKNOWN_ID, variables: {}, seconds: 15 }, { operation: "order/1" }));
    assert.deepEqual((await jobs.pending()).map(({ operation, state }) => [operation, state]), [["order/1", "bound"]]);
    jobs.close();
  }
  assert.equal(charges, 1);
});

test("the directory is accessible to its owner only, and may be given as a URL", async (context) => {
  const directory = await fresh(context);
  await fileJournal(pathToFileURL(directory)).create(`${NAMESPACE}/a`, "x");
  for (const path of [directory, join(directory, "tmp"), join(directory, "locks"), dirname(await onlyFile(directory))]) {
    assert.equal(((await stat(path).catch(() => ({ mode: 0o700 }))).mode & 0o777).toString(8), "700", path);
  }
  assert.equal(((await stat(await onlyFile(directory))).mode & 0o777).toString(8), "600");
  assert.throws(() => fileJournal(), TypeError);
});

test("every method rejects with the path and the reason if the directory cannot be used", async (context) => {
  const parent = dirname(await fresh(context));
  await mkdir(dirname(parent), { recursive: true });
  await writeFile(parent, "a file");
  const directory = join(parent, "journal");
  const journal = fileJournal(directory);
  for (const [method, ...args] of [["create", "x"], ["read"], ["write", "x"], ["replace", "x", "y"], ["delete"]]) {
    const { message, cause } = await rejection(journal[method](`${NAMESPACE}/a`, ...args));
    assert.ok(message.includes(directory) && message.includes("ENOTDIR"), message);
    assert.equal(cause.code, "ENOTDIR");
  }
  assert.match((await rejection(journal.list(`${NAMESPACE}/`))).message, /ENOTDIR/);
});

test("a damaged file is an unreadable entry, and its id stays taken", async (context) => {
  for (const left of [0, 10, 60]) {
    const directory = await fresh(context);
    const journal = fileJournal(directory);
    const id = `${NAMESPACE}:open/order`;
    await journal.create(id, "an entry that is longer than what is left of the file");
    await truncate(await onlyFile(directory), left);
    const text = await journal.read(id);
    assert.equal(text, await readFile(await onlyFile(directory), "utf8"));
    assert.equal(text.length, left);
    assert.equal(await journal.create(id, "new"), false);
    assert.equal(await journal.replace(id, "other", "new"), false);
    // If the file still has its id, it is listed.
    assert.deepEqual(await fileJournal(directory).list(`${NAMESPACE}:open/`), left === 60 ? [id] : []);
    assert.equal(await journal.replace(id, text, "new"), true);
    assert.equal(await journal.read(id), "new");
  }
});

test("with 100,000 ended operations a list reads only the open ones, and each once", async (context) => {
  const directory = await fresh(context);
  const journal = fileJournal(directory);
  for (const [key, count] of [["/", 3], [":ended/20260101/", 3], [":ended/20260102/", 4], [":open/", 5]]) {
    for (let at = 0; at < count; at++) await journal.create(`${NAMESPACE}${key}order/${at}`, "x");
  }
  // Hard links of one file, under the names of ended operations.
  for (const group of await readdir(directory)) {
    if (group === "tmp" || group === "locks") continue;
    const names = await readdir(join(directory, group));
    const { id } = JSON.parse(await readFile(join(directory, group, names[0])));
    if (id.includes(":open/")) continue;
    for (let at = 0; at < 50_000; at++) {
      const name = names[at % names.length];
      fs.linkSync(join(directory, group, name), join(directory, group, name.replace(/[0-9a-f]{64}$/, String(at).padStart(64, "0"))));
    }
  }
  const counted = { readFile: 0, names: 0 };
  const { readFile: read, readdir: names } = fs.promises;
  context.after(() => {
    Object.assign(fs.promises, { readFile: read, readdir: names });
    syncBuiltinESMExports();
  });
  fs.promises.readFile = (...args) => (counted.readFile++, read(...args));
  fs.promises.readdir = (...args) => names(...args).then((found) => ((counted.names += found.length), found));
  syncBuiltinESMExports();

  assert.equal((await journal.list(`${NAMESPACE}:open/`)).length, 5);
  assert.deepEqual(counted, { readFile: 5, names: 5 });
  assert.equal((await journal.list(`${NAMESPACE}:open/`)).length, 5);
  assert.deepEqual(counted, { readFile: 5, names: 10 });
  // No entries of the other days are read.
  await journal.list(`${NAMESPACE}:ended/20260103/`);
  assert.equal(counted.readFile, 5);
});

/* ---- files: locks ---------------------------------------------------------------------------- */

/** Replaces a function of the file system, for a test or until `restore`. */
function patch(context, name, replacement) {
  const real = fs[name];
  const restore = () => {
    fs[name] = real;
    syncBuiltinESMExports();
  };
  context.after(restore);
  fs[name] = replacement(real, restore);
  syncBuiltinESMExports();
}

const OTHER = "ffffffff.1.1.aaaaaaaaaaaa.1"; // an owner on another machine, which may be alive

/** A journal with one entry, and the path of its lock, whose process was killed. */
async function locked(context, id) {
  const directory = await fresh(context);
  const journal = fileJournal(directory);
  await journal.create(id, "old");
  const dead = start(directory, "leaveLocks", { ids: [id], old: "old", keepsLocks: true });
  assert.deepEqual(await dead.exit, [null, "SIGKILL"]);
  const [name] = await inside(directory, "locks");
  return { directory, journal, lock: join(directory, "locks", name) };
}

/** Sets the clock that limits waiting for a lock. Returns a function that waits until it was read `count` more times. */
function counted(context, now) {
  let reads = 0;
  context.mock.method(performance, "now", () => (reads++, now()));
  return async (count) => {
    const [from, until] = [reads, Date.now() + 10_000];
    while (reads < from + count) {
      assert.ok(Date.now() < until, "the lock is not waited for");
      await new Promise(setImmediate);
    }
  };
}

test("the lock of a killed process is taken over at once, and its files are removed", async (context) => {
  const id = `${NAMESPACE}/order`;
  const { directory, journal } = await locked(context, id);
  context.mock.method(performance, "now", () => 0); // the clock stands still, so that no lock gets old
  assert.equal(await settles(journal.replace(id, "old", "new")), true);
  assert.deepEqual([await inside(directory, "locks"), await inside(directory, "tmp")], [[], []]);
});

test("a later process removes all locks of a killed one", async (context) => {
  const { directory } = await locked(context, `${NAMESPACE}/order`);
  assert.equal((await inside(directory, "locks")).length, 1);
  await fileJournal(directory).create(`${NAMESPACE}/another`, "x");
  assert.deepEqual([await inside(directory, "locks"), await inside(directory, "tmp")], [[], []]);
});

test("of two processes that find a dead owner, the slower one does not take the lock from the new owner", async (context) => {
  const id = `${NAMESPACE}/order`;
  const { journal, lock } = await locked(context, id);
  const turns = counted(context, () => 0);
  // It has read the dead owner; then another process takes the lock first.
  patch(context, "readFileSync", (real, restore) => (path, ...rest) => {
    const found = real(path, ...rest);
    if (path === lock) {
      restore();
      fs.writeFileSync(lock, OTHER);
    }
    return found;
  });
  const change = journal.replace(id, "old", "new");
  await turns(10);
  assert.equal(await readFile(lock, "utf8"), OTHER);
  await rm(lock);
  assert.equal(await settles(change), true);
});

test("only one process at a time replaces the lock of a dead one", async (context) => {
  const id = `${NAMESPACE}/order`;
  const { journal, lock } = await locked(context, id);
  const dead = await readFile(lock, "utf8");
  const turns = counted(context, () => 0);
  let claim;
  patch(context, "linkSync", (real, restore) => (from, to) => {
    if (to !== lock) {
      restore();
      fs.writeFileSync((claim = to), OTHER);
    }
    return real(from, to);
  });
  const change = journal.replace(id, "old", "new");
  await turns(10);
  assert.equal(await readFile(lock, "utf8"), dead);
  await rm(claim);
  assert.equal(await settles(change), true);
});

test("a process with the pid of a dead one does not keep its lock", { skip: !fs.existsSync("/proc/self/stat") && "only Linux provides the start time of a process" }, async (context) => {
  const id = `${NAMESPACE}/order`;
  const { journal, lock } = await locked(context, id);
  const [where, , start, ...rest] = (await readFile(lock, "utf8")).split(".");
  await writeFile(lock, [where, process.pid, start, ...rest].join("."));
  context.mock.method(performance, "now", () => 0);
  assert.equal(await settles(journal.replace(id, "old", "new")), true);
});

for (const [how, owner] of [
  ["of a living process", async (lock, context) => {
    // One of our own processes, which is alive.
    const held = deferred();
    patch(context, "writeFileSync", (real, restore) => (path, text, ...rest) => (restore(), held.resolve(text), real(path, text, ...rest)));
    await fileJournal(join(dirname(dirname(lock)), "other")).delete("x");
    return held.promise;
  }],
  ["of another machine", async () => OTHER],
  ["emptied by a power loss", async () => ""],
]) {
  test(`a lock ${how} is waited for, and taken once it has not changed for 10 s`, async (context) => {
    const id = `${NAMESPACE}/order`;
    const { directory, journal, lock } = await locked(context, id);
    const other = await owner(lock, context);
    let now = 0;
    const turns = counted(context, () => now);
    await writeFile(lock, other);
    const change = journal.replace(id, "old", "new");
    await turns(10);
    assert.equal(await journal.read(id), "old");
    // A lock that was taken again in the meantime is not old.
    now = 9_000;
    await writeFile(lock, `${other}1`);
    await turns(10);
    now = 15_000;
    await turns(10);
    assert.equal(await journal.read(id), "old");
    now = 20_000;
    assert.equal(await settles(change), true);
    assert.deepEqual([await journal.read(id), await inside(directory, "locks"), await inside(directory, "tmp")], ["new", [], []]);
  });
}

test("a process that was paused until its lock was taken over changes nothing", async (context) => {
  const id = `${NAMESPACE}/order`;
  const { journal, lock } = await locked(context, id);
  const entry = await onlyFile(dirname(dirname(lock)));
  // During its comparison another process takes the lock, replaces the entry and releases the lock.
  patch(context, "readFileSync", (real, restore) => (path, ...rest) => {
    const found = real(path, ...rest);
    if (path === entry) {
      restore();
      fs.unlinkSync(lock);
      fs.writeFileSync(entry, JSON.stringify({ id, entry: "another's" }));
    }
    return found;
  });
  assert.equal(await settles(journal.replace(id, "old", "new")), false);
  assert.equal(await journal.read(id), "another's");
});

test("a lock that is never released rejects with its path", async (context) => {
  const id = `${NAMESPACE}/order`;
  const { journal, lock } = await locked(context, id);
  let now = 0;
  // Another owner each time.
  context.mock.method(performance, "now", () => (fs.writeFileSync(lock, `ffffffff.1.1.a.${now}`), (now += 1_000)));
  assert.ok((await rejection(journal.replace(id, "old", "new"))).message.includes(lock));
});

test("of 8 processes that create or replace the same entries exactly one succeeds, also if a killed one holds the locks", async (context) => {
  const directory = await fresh(context);
  const ids = Array.from({ length: 40 }, (_, at) => `${NAMESPACE}/order/${at}`);
  const racers = Array.from({ length: 8 }, (_, at) => start(directory, "race", { me: `racer ${at}`, seed: SEED + at, slow: true }));
  context.after(() => racers.forEach(({ kill }) => kill()));
  for (const racer of racers) assert.equal(await settles(racer.next(), 30_000), "ready");
  const race = async (line) => {
    for (const racer of racers) racer.say({ ids, ...line });
    const wins = await Promise.all(racers.map(async ({ next }) => (await settles(next(), 60_000)).wins));
    assert.deepEqual(wins.flat().sort(), [...ids].sort(), `${line.method}: one success each`);
  };
  const journal = fileJournal(directory);
  const fill = async (entry) => {
    for (const id of ids) await journal.write(id, entry);
  };
  await race({ method: "create" });
  await fill("first");
  await race({ method: "replace", old: "first" });
  await fill("second");
  const dead = start(directory, "leaveLocks", { ids, old: "second", keepsLocks: true });
  assert.deepEqual(await dead.exit, [null, "SIGKILL"]);
  assert.equal((await inside(directory, "locks")).length, ids.length);
  await race({ method: "replace", old: "second" });
  assert.deepEqual([await inside(directory, "locks"), await inside(directory, "tmp")], [[], []]);
});

/* ---- files: kills ---------------------------------------------------------------------------- */

/**
 * Compares the output of the processes with the journal. Each text is written once, so a text identifies its change.
 * The last change before a kill may have happened or not.
 */
function check(id, before, runs, after) {
  const live = new Set(before === undefined ? [] : [before]);
  const ended = new Set();
  const open = [];
  const changes = [];
  for (const lines of runs) {
    for (let at = 0; at < lines.length; at++) {
      const { change } = lines[at];
      if (change?.id !== id) continue;
      if (lines[at + 1] === undefined) open.push(change);
      else if (lines[at + 1].done) changes.push(change);
    }
  }
  for (const { method, entry } of changes) if (method !== "delete") live.add(entry);
  for (const { method, old } of changes) {
    if (method === "create") continue;
    assert.ok(!ended.has(old), `${id}: two changes of ${old} were acknowledged`);
    ended.add(old);
  }
  const kept = [...live].filter((entry) => !ended.has(entry));
  for (const entry of kept) {
    const mayHaveEnded = open.some(({ method, old }) => method !== "create" && old === entry);
    assert.ok(entry === after || mayHaveEnded, `${id}: ${entry} was acknowledged, but the journal has ${after}`);
  }
  assert.ok(after === undefined || kept.includes(after) || open.some(({ entry }) => entry === after), `${id}: no change wrote ${after}`);
}

test(`a file journal survives ${KILLS} kills: no acknowledged change is lost, no entry is doubled, no file is left behind`, async (context) => {
  const directory = await fresh(context);
  const ids = Array.from({ length: 4 }, (_, at) => `${NAMESPACE}/order/${at}`);
  const state = new Map();
  for (let kills = 0, round = 0; kills < KILLS; round++) {
    const seed = SEED + round;
    const draw = random(seed);
    const processes = Array.from({ length: 3 }, (_, at) => {
      // Two of three are killed. Their first calls clean up after earlier processes.
      const killAt = at ? 1 + draw(draw(2) ? 40 : 300) : undefined;
      return start(directory, "change", { seed: seed * 3 + at, me: `${seed}.${at}`, ids, changes: 12, slow: !draw(2), killAt });
    });
    const runs = await settles(Promise.all(processes.map(({ all }) => all())), 60_000);
    const ends = await Promise.all(processes.map(({ exit }) => exit));
    assert.deepEqual(ends[0], [0, null], `seed ${seed}`);
    kills += ends.filter(([, signal]) => signal === "SIGKILL").length;

    const journal = fileJournal(directory);
    for (const id of ids) {
      const after = await journal.read(id);
      try {
        check(id, state.get(id), runs, after);
      } catch (error) {
        throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
      }
      state.set(id, after);
    }
    const listed = (await journal.list(`${NAMESPACE}/`)).sort();
    assert.deepEqual(listed, ids.filter((id) => state.get(id) !== undefined), `seed ${seed}`);
  }
  // A later process cleans up without waiting.
  const journal = fileJournal(directory);
  context.mock.method(performance, "now", () => 0);
  for (const id of ids) await settles(journal.write(id, "end"));
  assert.deepEqual([await inside(directory, "locks"), await inside(directory, "tmp")], [[], []]);
});
