// Test of a relay with a slow provider, whatever the page's timeout. It waits in real time, in parallel with the other files.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ID, JOBS, KEY, RUNTIMES, job, startRelay, startSandbox } from "./harness.mjs";

const SLOW = 33_000; // ms, more than the 30 s of the client's usual timeout

let sandbox;
before(async () => (sandbox = await startSandbox("--speed", "50", "--key", `${ID}:${KEY}`)));
after(() => sandbox?.stop());

describe("a_job_of_a_provider_that_took_33_seconds_belongs_to_its_user", { concurrency: true }, () => {
  for (const runtime of RUNTIMES) {
    test(runtime, async () => {
      const relay = await startRelay(runtime, sandbox);
      try {
        await sandbox.faults([{ on: "submit", kind: "delay", ms: SLOW }]);
        const begun = Date.now();
        // This page waits for one second.
        await assert.rejects(fetch(relay.url + JOBS, { method: "POST", body: JSON.stringify(job()), headers: { authorization: "Bearer ann", "idempotency-key": "slow" }, signal: AbortSignal.timeout(1_000) }));
        const again = await relay.ask("POST", JOBS, { body: job(), key: "slow", patience: 2 * SLOW });
        assert.equal(again.status, 200);
        assert.ok(Date.now() - begun >= SLOW - 1_000);
        assert.equal((await relay.ask("GET", `${JOBS}${again.body.id}/`)).status, 200);
        assert.equal((await relay.ask("GET", "/relay/operations?key=slow")).body.job_id, again.body.id);
      } finally {
        await relay.stop();
      }
    });
  }
  after(async () => assert.equal((await sandbox.ledger()).charges.length, RUNTIMES.length));
});
