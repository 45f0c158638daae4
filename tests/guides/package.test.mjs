// The guides in the npm package: each link leads to a file of the package or to an address.

import assert from "node:assert/strict";
import { access, readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { packageDirectory } from "../node/harness.mjs";

test("every_link_of_the_packed_guides_leads_to_a_file_of_the_package_or_to_an_address", async () => {
  const guides = (await readdir(join(packageDirectory, "docs"))).map((file) => `docs/${file}`);
  assert.ok(guides.length > 15, `only ${guides.length}`);
  const wrong = [];
  for (const file of [...guides, "llms.txt", "README.md"]) {
    const text = await readFile(join(packageDirectory, file), "utf8");
    for (const [, path] of text.matchAll(/\]\(([^)#\s]+)/g)) {
      if (/^[a-z]+:/.test(path)) continue;
      const exists = await access(join(packageDirectory, dirname(file), path)).then(() => true, () => false);
      if (!exists) wrong.push(`${file}: ${path}`);
    }
  }
  assert.deepEqual(wrong, []);
});
