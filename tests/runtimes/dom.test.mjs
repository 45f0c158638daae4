// Tests of the package in Vitest's DOM environments, as used for unit tests of pages.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { PATIENCE, scene, startStage, tool } from "./harness.mjs";
import { INLINE, MAIN, pinned, seen } from "./seen.mjs";

let stage;
before(async () => {
  stage = await startStage();
});
after(() => stage.stop());

// Neither has IndexedDB, so the default journal is in memory.
const spec = (entry, before) => `
  import { readFileSync, writeFileSync } from "node:fs";
  import { expect, test } from "vitest";
  import * as library from "${entry}";
  import { story } from "./story.mjs";
  test("story", async () => {
    expect(document.body).toBeTruthy();
    expect(() => new library.TemplateJobs({ apiKey: "key" })).toThrow(/readable by everybody/);
    ${before}
    writeFileSync("told.json", JSON.stringify(await story(library, ${stage.script})));
  }, ${PATIENCE});`;

const withBytes = 'await library.init(readFileSync(new URL(import.meta.resolve("custom-template-jobs/custom_template_jobs_bg.wasm"))));';

for (const environment of ["jsdom", "happy-dom"]) {
  for (const [entry, how, before] of [[MAIN, "", ""], [INLINE, "", ""], [`${MAIN}/slim`, "_with_bytes", withBytes]]) {
    test(`vitest_with_${environment}_runs_${entry}${how}`, async () => {
      const directory = await scene(`${environment}-${entry.replace("/", "-")}`, { "story.spec.mjs": spec(entry, before) });
      const args = [tool("vitest/vitest.mjs"), "run", "--root", directory, "--environment", environment];
      await stage.plays(async () => {
        await promisify(execFile)(process.execPath, args, { cwd: directory, timeout: PATIENCE }).catch(({ stdout, stderr }) =>
          assert.fail(stdout + stderr),
        );
        return JSON.parse(await readFile(join(directory, "told.json"), "utf8"));
      });
      if (!how) await seen("Vitest", await pinned("vitest"), entry, environment);
    });
  }
}
