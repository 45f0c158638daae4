// Tests of the IndexedDB journal in three browser engines: its contract, and a database that is deleted, closed or upgraded.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { EXPECTED } from "../node/journal-contract.mjs";
import { engines, page, project, startBrowser, startStage } from "./harness.mjs";

const browsers = {};
let stage;
before(async () => {
  stage = await startStage("--www", project);
  for (const engine of engines) browsers[engine] = await startBrowser(engine);
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.quit();
  await stage?.stop();
});

const acting = `
  import { indexedDbJournal } from "../node_modules/custom-template-jobs/journal.js";
  import { observe } from "./journal-contract.mjs";
  const journal = indexedDbJournal();
  const ended = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked"));
  });
  const remove = () => ended(indexedDB.deleteDatabase("custom-template-jobs"));
  const failure = (promise) => promise.then(() => "none", ({ message }) => message);
  window.acts = {
    contract: () => observe(journal),
    async deleted() {
      await journal.write("n/a", "1");
      await remove();
      return [await journal.create("n/a", "2"), await journal.read("n/a")];
    },
    async newer() {
      await journal.write("n/a", "1");
      const newer = await ended(indexedDB.open("custom-template-jobs", 2));
      const while_ = await failure(journal.read("n/a"));
      newer.close();
      await remove();
      return [while_, await journal.create("n/a", "2")];
    },
    // The connection is closed without an event.
    async closed() {
      const { transaction } = IDBDatabase.prototype;
      IDBDatabase.prototype.transaction = function () {
        IDBDatabase.prototype.transaction = transaction;
        this.close();
        return transaction.apply(this, arguments);
      };
      return [await failure(journal.write("n/a", "1")), await journal.read("n/a")];
    },
  };`;

for (const engine of engines) {
  test(`in_${engine}_the_journal_keeps_the_contract_and_survives_a_deleted_closed_or_newer_database`, async () => {
    const browser = browsers[engine];
    const contract = await readFile(new URL("../node/journal-contract.mjs", import.meta.url), "utf8");
    await browser.visit(`${stage.url}/${await page(`journal-${engine}`, acting, { "journal-contract.mjs": contract })}`);
    assert.deepEqual(await browser.act("contract"), EXPECTED);
    assert.deepEqual(await browser.act("deleted"), [true, "2"]);
    const [message, created] = await browser.act("newer");
    assert.match(message, /made by a newer version/);
    assert.equal(created, true);
    assert.deepEqual(await browser.act("closed"), ["none", "1"]);
    assert.deepEqual(await browser.errors(), []);
  });
}
