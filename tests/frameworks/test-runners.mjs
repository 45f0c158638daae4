// What the tests of Jest and Vitest share: a file of tests that plays the story, aborts by a signal, and charges from two copies.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after } from "node:test";
import { startStage } from "../runtimes/harness.mjs";
import { stage, works } from "./harness.mjs";

// The charges of the other tests are counted apart from the story's.
const others = await startStage();
after(() => others.stop());

const setting = { apiId: "sandbox", apiKey: "sandbox", dangerouslyAllowBrowser: true, journal: "memory" };

/** Tests, which have `library`, `story` and `writeFileSync` from their beginning; `second()` loads a second copy. */
export const tests = (beginning, second) => `
  ${beginning}
  const setting = ${JSON.stringify({ ...setting, baseUrl: others.url })};
  const request = { template_id: "${others.setting.template}", variables: { title: library.text("Hello") } };
  const PATIENCE = 60_000;

  test("story", async () => {
    writeFileSync("told.json", JSON.stringify(await story(library, ${JSON.stringify(stage.setting)})));
  }, PATIENCE);

  test("a signal of this realm ends a wait", async () => {
    const controller = new AbortController();
    const jobs = new library.TemplateJobs(setting);
    const promise = jobs.submit(request, { signal: controller.signal });
    const { id } = await promise;
    const waiting = promise.wait();
    controller.abort();
    const reason = await waiting.then(() => "done", (thrown) => thrown);
    expect(reason).toBe(controller.signal.reason ?? reason);
    expect(reason.name).toBe("AbortError");
    expect((await jobs.get(id)).id).toBe(id);
    jobs.close();
  }, PATIENCE);

  test("two copies charge one operation once", async () => {
    const { TemplateJobs } = await second();
    expect(TemplateJobs).not.toBe(library.TemplateJobs);
    const copies = [new library.TemplateJobs(setting), new TemplateJobs(setting)];
    const found = [];
    for (const jobs of copies) found.push((await jobs.submit(request, { operation: "order-7" })).id);
    expect(found[1]).toBe(found[0]);
    for (const jobs of copies) jobs.close();
  }, PATIENCE);`;

/** What a run of these tests came to: each passed, and each of the others charged once. */
export async function passes(where, version, how, directory, play) {
  await others.reset();
  await works(where, version, how, async () => {
    await play();
    return JSON.parse(await readFile(join(directory, "told.json"), "utf8"));
  });
  assert.equal((await others.ledger()).charges.length, 2);
}
