// The set-up of the relay's tests: one sandbox, and one relay in each runtime. Each test file is a process, so its state is in here.

import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe } from "node:test";
import { load } from "../node/harness.mjs";
import { ID, KEY, RUNTIMES, startRelay, startSandbox } from "./harness.mjs";

export let sandbox;
export let library;
export let relay;
let runtime;

before(async () => {
  [sandbox, library] = await Promise.all([startSandbox("--speed", "50", "--credits", "100000", "--key", `${ID}:${KEY}`), load()]);
});
after(() => sandbox?.stop());
beforeEach(async () => {
  await sandbox.reset();
  await sandbox.faults([]);
});

/** Runs the tests that `define` defines in each runtime, with a relay of their own. */
export function inEachRuntime(define) {
  for (const name of RUNTIMES) {
    describe(name, () => {
      before(async () => {
        runtime = name;
        relay = await startRelay(name, sandbox);
      });
      after(() => relay?.stop());
      define(name);
    });
  }
}

export const charges = async () => (await sandbox.ledger()).charges;
export const requests = async () => (await sandbox.requests()).map(({ method, path }) => `${method} ${path}`);
export const post = (path, body, key = randomUUID(), more = {}) => relay.ask("POST", path, { body, key, ...more });

/** Starts a relay with other options in this runtime, for the time of `use`. */
export async function withRelay(options, use) {
  const other = await startRelay(runtime, sandbox, options);
  try {
    return await use(other);
  } finally {
    await other.stop();
  }
}
