// Writes the tables of README and docs from a report of `cargo xtask bench`. Argument: the report.

import { readFile } from "node:fs/promises";
import { record } from "../guides/tables.mjs";

await record(JSON.parse(await readFile(process.argv[2], "utf8")));
