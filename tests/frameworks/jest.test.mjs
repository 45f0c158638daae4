// Tests of the package in Jest, configured only with Babel for `import`: in Node and jsdom, as CommonJS and as modules.

import { test } from "node:test";
import { STORY, heldToTheTable, pins, project, run } from "./harness.mjs";
import { passes, tests } from "./test-runners.mjs";

const BABEL = 'module.exports = { presets: [["@babel/preset-env", { targets: { node: "current" } }]] };';
const isolated = `async () => {
  let copy;
  jest.isolateModules(() => { copy = require("custom-template-jobs"); });
  return copy;
}`;

const forms = {
  "`import` by Babel": {
    "babel.config.js": BABEL,
    "story.js": STORY,
    "story.test.js": tests('import { writeFileSync } from "node:fs"; import * as library from "custom-template-jobs"; import { story } from "./story.js";\nconst second = ' + isolated),
  },
  "`require`": {
    "babel.config.js": BABEL,
    "story.js": STORY,
    "story.test.js": tests('const { writeFileSync } = require("node:fs"); const library = require("custom-template-jobs"); const { story } = require("./story.js");\nconst second = ' + isolated),
  },
  "`import` as modules": {
    "story.mjs": STORY,
    "story.test.mjs": tests(`
      import { writeFileSync } from "node:fs";
      import { createRequire } from "node:module";
      import * as library from "custom-template-jobs";
      import { story } from "./story.mjs";
      const second = async () => createRequire(import.meta.url)("custom-template-jobs");`),
  },
};

// jsdom has no fetch of its own: this is the environment that adds Node's.
const environments = { Node: "node", jsdom: "jest-fixed-jsdom" };

for (const [version, dependencies] of pins("jest")) {
  for (const [name, environment] of Object.entries(environments)) {
    for (const [form, files] of Object.entries(forms)) {
      test(`jest_${version}_in_${name}_runs_it_by_${form.replaceAll("`", "").replaceAll(" ", "_")}`, async () => {
        const manifest = { type: undefined, jest: { testMatch: ["**/*.test.?(m)js"], testEnvironment: environment } };
        const directory = await project(`jest-${version}`, { dependencies, files, manifest });
        const env = form.endsWith("modules") ? { NODE_OPTIONS: "--experimental-vm-modules" } : {};
        await passes("Jest", version, `${form}, ${name}`, directory, () => run(directory, "jest", ["--ci"], { env }));
      });
    }
  }
}

heldToTheTable(import.meta.url);
