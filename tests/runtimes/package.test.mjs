// Decides whether the tarball is what tools and type checkers expect of a package.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { PATIENCE, scene, tool } from "./harness.mjs";

/** Runs a script of a tool; what it says is the error where it fails. */
async function passes(script, args, cwd) {
  await promisify(execFile)(process.execPath, [tool(script), ...args], { cwd, timeout: PATIENCE }).catch(({ stdout, stderr, message }) =>
    assert.fail(stdout || stderr || message),
  );
}

test("publint_finds_nothing", async () => {
  const { buffer } = new Uint8Array(await readFile(process.env.TARBALL));
  const { messages, pkg } = await publint({ pack: { tarball: buffer }, strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, pkg, { color: false })), []);
});

test("every_way_to_import_it_finds_its_types", () =>
  passes("@arethetypeswrong/cli/dist/index.js", [process.env.TARBALL, "--profile", "esm-only", "--no-color"]));

const compilers = { 5: "typescript", 7: "typescript-7" };
const resolutions = { bundler: "esnext", nodenext: "nodenext" };
const cases = Object.entries(compilers).flatMap(([version, compiler]) =>
  Object.entries(resolutions).map(([moduleResolution, module]) => ({ version, compiler, moduleResolution, module })),
);

for (const { version, compiler, moduleResolution, module } of cases) {
  test(`typescript_${version}_with_${moduleResolution}_lets_through_what_is_right_and_refuses_what_is_wrong`, async () => {
    const directory = await scene(`types-${version}-${moduleResolution}`, {
      "calls.ts": await readFile(new URL("../types/calls.ts", import.meta.url)),
      "tsconfig.json": JSON.stringify({
        compilerOptions: {
          target: "es2022", lib: ["es2022", "dom", "dom.iterable", "esnext.disposable"], types: [], module, moduleResolution,
          strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, isolatedModules: true, skipLibCheck: false, noEmit: true,
        },
        files: ["calls.ts"],
      }),
    });
    await passes(`${compiler}/lib/tsc.js`, ["--project", directory, "--pretty", "false"], directory);
  });
}
