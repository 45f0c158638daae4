// Helpers of the examples' tests: an example in a directory of its own, with the tarball installed.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export { startSandbox } from "../node/harness.mjs";

/** The timeout of a step on a busy machine. */
export const PATIENCE = 60_000;

const examples = fileURLToPath(new URL("../../examples/", import.meta.url));
const tools = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")).devDependencies;

/**
 * Copies an example to a temporary directory outside of this repository, so that no file of the repository is found by accident,
 * and installs the tarball as its package. Its tools come from `tests/package.json`.
 */
export async function settleIn(name) {
  const directory = await mkdtemp(join(tmpdir(), `example-${name}-`));
  await cp(join(examples, name), directory, {
    recursive: true, filter: (path) => !/[\\/](node_modules|dist|\.wrangler|package-lock\.json)$/.test(path),
  });
  const path = join(directory, "package.json");
  const manifest = JSON.parse(await readFile(path, "utf8"));
  assert.ok(manifest.dependencies["custom-template-jobs"], "the example depends on the package");
  manifest.dependencies["custom-template-jobs"] = `file:${resolve(process.env.TARBALL)}`;
  await writeFile(path, JSON.stringify({ ...manifest, devDependencies: {} }));
  await promisify(execFile)("npm", ["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: directory });
  return { directory, manifest, tools, leave: () => rm(directory, { recursive: true, force: true }) };
}

/** The `NAME=value` lines of a file. */
export async function readEnv(path) {
  const lines = (await readFile(path, "utf8")).split("\n").filter((line) => /^\w+=/.test(line));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
}
