// The tables in README and docs: each is what its source says. `BLESS=1 cargo xtask test guides` writes them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PLACES, bless, places } from "./tables.mjs";

if (process.env.BLESS) await bless();

for (const [file, name] of PLACES) {
  test(`the_table_${name}_in_${file}_is_what_its_source_says`, async () => {
    const { text, wanted } = await places(file, name);
    assert.equal(text, wanted, "BLESS=1 cargo xtask test guides writes it");
  });
}
