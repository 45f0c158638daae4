// The tables in README and docs: each is what its source says. `BLESS=1 cargo xtask test guides` writes them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PLACES, bless, isSize, places, recordSize } from "./tables.mjs";

/** What `pack` measured, in bytes of brotli. */
const bytes = Number(process.env.PAGE_BROTLI);

if (process.env.BLESS) {
  if (!(await isSize(bytes))) await recordSize(bytes);
  await bless();
}

test("the_size_of_a_page_in_the_tables_is_what_pack_measured_to_a_kilobyte", async () => {
  assert.ok(await isSize(bytes), `${bytes} bytes; BLESS=1 cargo xtask test guides writes it`);
});

for (const [file, name] of PLACES) {
  test(`the_table_${name}_in_${file}_is_what_its_source_says`, async () => {
    const { text, wanted } = await places(file, name);
    assert.equal(text, wanted, "BLESS=1 cargo xtask test guides writes it");
  });
}
