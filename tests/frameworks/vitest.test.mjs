// Tests of the package in Vitest without configuration: in Node, jsdom and happy-dom.

import { test } from "node:test";
import { STORY, heldToTheTable, pins, project, run } from "./harness.mjs";
import { passes, tests } from "./test-runners.mjs";

const files = {
  "story.mjs": STORY,
  "story.test.mjs": tests(`
    import { writeFileSync } from "node:fs";
    import { createRequire } from "node:module";
    import { expect, test } from "vitest";
    import * as library from "custom-template-jobs";
    import { story } from "./story.mjs";
    const second = async () => createRequire(import.meta.url)("./node_modules/custom-template-jobs/cjs/node.js");`),
};

for (const [version, dependencies] of pins("vitest")) {
  for (const environment of ["node", "jsdom", "happy-dom"]) {
    test(`vitest_${version}_in_${environment}_runs_it`, async () => {
      const directory = await project(`vitest-${version}`, { dependencies, files });
      await passes("Vitest", version, environment, directory, () => run(directory, "vitest", ["run", "--environment", environment]));
    });
  }
}

heldToTheTable(import.meta.url);
