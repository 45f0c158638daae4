// Records of what ran in which version, for the tables of the package's README; `tests/readme` reads them.

import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** The entries of the package that the table has a column for. */
export const [MAIN, INLINE] = ["custom-template-jobs", "custom-template-jobs/inline"];

/** The compatible part of a version: `8` of 8.3.8, `0.28` of 0.28.2. */
export const major = (version) => /^0\.\d+|^\d+/.exec(version)[0];

/** The version of a tool that `tests/package.json` pins. */
export async function pinned(name) {
  const { version } = JSON.parse(await readFile(new URL(`../node_modules/${name}/package.json`, import.meta.url), "utf8"));
  return major(version);
}

/** The version that a program prints. */
export async function version(program) {
  const { stdout } = await promisify(execFile)(program, ["--version"]);
  return major(/\d+\.\d+\.\d+/.exec(stdout)[0]);
}

/**
 * Records that `where`, in `version`, ran an entry of the package, and `how`. The version of the `machine`'s own program is not
 * pinned and changes with updates; then the README keeps its number.
 */
export async function seen(where, version, entry, how, { machine = false } = {}) {
  const directory = process.env.SEEN_DIR;
  if (!directory) return;
  await mkdir(directory, { recursive: true });
  const name = [where, entry, how].join(" ").replaceAll(/\W+/g, "-");
  await writeFile(join(directory, `${name}.json`), JSON.stringify({ where, version, entry, how, machine }));
}
