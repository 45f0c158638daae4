// Tests of two users who log in to one page, one after the other, with one journal: neither sees an operation of the other.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { load, rejection } from "../node/harness.mjs";
import { ID, JOBS, KEY, PATIENCE, RUNTIMES, job, startRelay, startSandbox } from "./harness.mjs";

let sandbox;
let library;
before(async () => {
  [sandbox, library] = await Promise.all([startSandbox("--speed", "50", "--credits", "100000", "--key", `${ID}:${KEY}`), load()]);
});
after(() => sandbox?.stop());
beforeEach(() => sandbox.reset());
const charges = async () => (await sandbox.ledger()).charges;

/** The journal of a browser, which stays there after a log-out. */
function browserJournal() {
  const entries = new Map();
  return {
    create: async (id, entry) => !entries.has(id) && !!entries.set(id, entry),
    read: async (id) => entries.get(id),
    write: async (id, entry) => void entries.set(id, entry),
    replace: async (id, old, entry) => entries.get(id) === old && !!entries.set(id, entry),
    delete: async (id, entry) => (entry === undefined || entries.get(id) === entry) && entries.delete(id),
    list: async (prefix) => [...entries.keys()].filter((id) => id.startsWith(prefix)),
  };
}

for (const runtime of RUNTIMES) {
  describe(runtime, () => {
    let relay;
    before(async () => (relay = await startRelay(runtime, sandbox)));
    after(() => relay?.stop());

    /** A browser: `login` returns the client of its page for a user, and closes that of the user before. */
    function browser() {
      const journal = browserJournal();
      let page;
      return (account, more) => {
        page?.close();
        page = new library.TemplateJobs({ relay: `${relay.url}/relay`, journal, account, headers: { authorization: `Bearer ${account}` }, ...more });
        return page;
      };
    }

    test("after_a_log_out_the_next_user_sees_no_operation_and_no_job_of_the_one_before", async () => {
      const login = browser();
      const [ann, bob] = [`ann-${randomUUID()}`, `bob-${randomUUID()}`];
      const { id } = await login(ann).previewSync(job(), { operation: "order 7", metadata: { title: "Hers" } });
      const jobs = login(bob);
      assert.deepEqual(await jobs.pending(), []);
      for (const call of [() => jobs.settle("order 7"), () => jobs.resume("order 7")]) {
        assert.equal((await rejection(call(), PATIENCE)).name, "InvalidRequestError");
      }
      for (const call of [() => jobs.get(id), () => jobs.render(id)]) {
        const error = await rejection(call(), PATIENCE);
        assert.deepEqual([error.name, error.status], ["ApiError", 404]);
      }
      assert.deepEqual((await relay.ask("GET", "/relay/operations?key=order%207", { user: bob })).body, { operation: "order 7", state: "never_seen" });
      assert.equal((await charges()).length, 1);
      // The same operation id of another user is another charge.
      const own = await jobs.previewSync(job(), { operation: "order 7" });
      assert.notEqual(own.id, id);
      assert.equal((await charges()).length, 2);
      const again = login(ann);
      assert.equal((await again.previewSync(job(), { operation: "order 7" })).id, id);
      assert.equal((await charges()).length, 2);
      again.close();
    });

    test("a_charge_with_a_lost_answer_is_settled_for_its_user_when_that_user_returns", async () => {
      const login = browser();
      const [ann, bob] = [`ann-${randomUUID()}`, `bob-${randomUUID()}`];
      const offline = async (url, init) => {
        if (init.method === "POST") await fetch(url, init);
        throw new TypeError("Failed to fetch");
      };
      const lost = await rejection(login(ann, { fetch: offline, maxRetries: 0 }).submit(job(), { operation: "order 7" }), PATIENCE);
      assert.equal(lost.name, "ChargeUnknownError");
      const jobs = login(bob);
      assert.deepEqual(await jobs.pending(), []);
      assert.equal((await rejection(jobs.resume("order 7"), PATIENCE)).charged, "no");
      const again = login(ann);
      assert.deepEqual((await again.pending()).map(({ operation }) => operation), ["order 7"]);
      const { jobId, state } = await again.settle("order 7");
      assert.deepEqual([state, jobId], ["bound", (await charges())[0].job_id]);
      assert.equal((await relay.ask("GET", `${JOBS}${jobId}/`, { user: bob })).status, 404);
      assert.equal((await charges()).length, 1);
      again.close();
    });

    test("a_client_that_was_closed_at_the_log_out_does_not_send_its_charge_as_the_next_user", async () => {
      let user = `ann-${randomUUID()}`;
      let fails;
      const failed = new Promise((resolve) => (fails = resolve));
      const sent = [];
      const link = async (url, init) => {
        if (init.method !== "POST") return fetch(url, init);
        sent.push(user);
        fails();
        throw new TypeError("Failed to fetch");
      };
      // The page's cookies are those of the user who logged in last.
      const headers = () => ({ authorization: `Bearer ${user}` });
      const page = new library.TemplateJobs({ relay: `${relay.url}/relay`, journal: browserJournal(), account: user, headers, fetch: link });
      const charge = rejection(page.submit(job(), { operation: "order 7" }), PATIENCE);
      await failed;
      page.close();
      user = `bob-${randomUUID()}`;
      await charge;
      assert.equal(sent.filter((name) => name === user).length, 0);
      assert.deepEqual(await charges(), []);
    });
  });
}
