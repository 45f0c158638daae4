// Helpers of the runtime and bundler tests: the project with the installed tarball, directories in it, and the story's sandbox.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startSandbox } from "../node/harness.mjs";

export { rejection, settles } from "../node/harness.mjs";

/** The timeout of a step on a busy machine. */
export const PATIENCE = 60_000;

export const packageDirectory = resolve(process.env.PACKAGE_DIR);
export const project = resolve(packageDirectory, "../..");

/** The path of a tool of `tests/package.json`. */
export const tool = (path) => fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url));

/** A directory in the project with these files and the story. */
export async function scene(name, files) {
  const directory = join(project, name);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await copyFile(new URL("story.mjs", import.meta.url), join(directory, "story.mjs"));
  for (const [file, content] of Object.entries(files)) await writeFile(join(directory, file), content);
  return directory;
}

/** Runs a program and returns the JSON that it prints last. */
export async function told(program, args, cwd, env) {
  const options = { cwd, timeout: PATIENCE, env: { ...process.env, ...env } };
  const { stdout } = await promisify(execFile)(program, args, options);
  return JSON.parse(stdout.trim().split("\n").at(-1));
}

/** A sandbox for the story, and a check of its result: a video, and one charge. */
export async function startStage(...flags) {
  const sandbox = await startSandbox("--cors", "*", ...(flags.length ? flags : ["--speed", "20"]));
  const template = (await sandbox.templates()).find(({ behaviour }) => behaviour === "done").template_id;
  const setting = { url: sandbox.url, template };
  return {
    ...sandbox,
    setting,
    /** The setting as JavaScript source. */
    script: JSON.stringify(setting),
    async plays(telling) {
      await sandbox.reset();
      const { video_output, ...rest } = await telling();
      assert.deepEqual(rest, { submitted: "pending", status: "done" });
      assert.match(video_output, /^http/);
      assert.equal((await sandbox.ledger()).charges.length, 1);
    },
  };
}
