// A process that uses a file journal and can be killed before or after any call of the file system.
//
// It prints a line of JSON before and after each call of the journal, synchronously, so that a kill loses no line.

import fs, { writeSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import process from "node:process";
import { random } from "./random.mjs";

const [file, directory, act, given] = process.argv.slice(2);
const options = JSON.parse(given ?? "{}");
const print = (line) => writeSync(1, `${JSON.stringify(line)}\n`);

// A pause of up to 2 ms after each synchronous call, so that other processes run in between.
const clock = new Int32Array(new SharedArrayBuffer(4));
const draw = random(options.seed ?? process.pid);

let calls = 0;
const step = () => {
  if (++calls === options.killAt) process.kill(process.pid, "SIGKILL");
};
/** Writes in two steps, so that a kill may leave half of a file. */
function torn(write, path, text, ...rest) {
  write(path, text.slice(0, text.length / 2), ...rest);
  step();
  write(path, text.slice(text.length / 2), { flag: "a" });
}
for (const [module, names] of [
  [fs, ["linkSync", "readFileSync", "renameSync", "unlinkSync", "writeFileSync"]],
  [fs.promises, ["link", "mkdir", "open", "readFile", "readdir", "stat", "unlink"]],
]) {
  for (const name of names) {
    const real = module[name];
    module[name] = (...args) => {
      step();
      // Locks are kept, as after a kill before their release.
      if (name === "unlinkSync" && options.keepsLocks && /[/\\]locks[/\\]/.test(args[0])) return undefined;
      const result = name === "writeFileSync" ? torn(real, ...args) : real(...args);
      if (name.endsWith("Sync") && options.slow) Atomics.wait(clock, 0, 0, draw(3));
      step();
      return result;
    };
  }
}
syncBuiltinESMExports();

const { fileJournal } = await import(file);
const journal = fileJournal(directory);

const acts = {
  /** Creates or replaces each id as the parent asks; one race per line of the parent. */
  async race() {
    print("ready");
    for await (const text of process.stdin.setEncoding("utf8")) {
      for (const line of text.trim().split("\n")) {
        const { method, ids, old } = JSON.parse(line);
        const wins = [];
        for (const id of ids) if (await journal[method](id, ...(old ? [old] : []), options.me)) wins.push(id);
        print({ wins });
      }
    }
  },
  /** Makes random changes, and prints each before and after. */
  async change() {
    for (let at = 0; at < options.changes; at++) {
      const id = options.ids[draw(options.ids.length)];
      const old = await journal.read(id);
      const entry = `${options.me}.${at}`;
      const change = old === undefined ? { method: "create", id, entry } : draw(4) ? { method: "replace", id, old, entry } : { method: "delete", id, old };
      print({ change });
      const args = { create: [entry], replace: [old, entry], delete: [old] }[change.method];
      print({ done: await journal[change.method](id, ...args) });
    }
    print("end");
  },
  /** Replaces each id by the same text, then is killed while it holds the locks. */
  async leaveLocks() {
    for (const id of options.ids) await journal.replace(id, options.old, options.old);
    process.kill(process.pid, "SIGKILL");
  },
};
await acts[act]();
