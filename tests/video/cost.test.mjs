// Tests of the cost of a video: the processor time of one, and the memory of four in parallel.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { startSandbox } from "./harness.mjs";

const SECONDS = 30;
const CORE_SECONDS = 6;
const MEGABYTES = 200;

const directory = resolve(process.env.VIDEO_DIR ?? "target/test/video", "cost");
const skip = process.platform === "linux" ? false : "only Linux has /proc";
const TICKS = skip ? 1 : Number(execFileSync("getconf", ["CLK_TCK"]));

/** The processor time of a process in seconds, and its peak memory in MB. */
async function spent(pid) {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1].split(" ");
  const [, peak] = /VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, "utf8"));
  return { seconds: (Number(fields[11]) + Number(fields[12])) / TICKS, megabytes: Number(peak) / 1024 };
}

test(`a video of ${SECONDS} s at 720 x 1280 takes at most ${CORE_SECONDS} s of one core, and four at once less than ${MEGABYTES} MB`, { skip }, async (t) => {
  await mkdir(directory, { recursive: true });
  const list = join(directory, "templates.json");
  const names = ["first", "second", "third", "fourth"];
  const template = {
    template_id: "00000000-0000-4000-8000-000000000000", name: "Costly", aspect_ratio: "9:16", duration_seconds: SECONDS,
    variables: [...names.map((name) => ({ name, type: "text" })), { name: "photo", type: "image", default: "{origin}/samples/skyline.png" }],
  };
  await writeFile(list, JSON.stringify([template]));
  const sandbox = await startSandbox("--templates", list);
  try {
    const [{ template_id, variables }] = await sandbox.templates();
    const filled = variables.map(({ name, type, default: url }) =>
      [name, { type, properties: type === "text" ? { content: `The ${name} of four sentences, each a little different` } : { url } }]);
    const submit = async () => {
      const response = await fetch(`${sandbox.url}/api/custom_template_jobs/`, {
        method: "POST", body: JSON.stringify({ template_id, variables: Object.fromEntries(filled) }),
        headers: { "X-API-ID": "sandbox", "X-API-KEY": "sandbox", "content-type": "application/json" },
      });
      return (await response.json()).id;
    };
    const video = async (id) => {
      const answer = await fetch(`${sandbox.url}/api/custom_template_jobs/${id}/`, { headers: { "X-API-ID": "sandbox", "X-API-KEY": "sandbox" } });
      const bytes = await (await fetch((await answer.json()).video_output)).arrayBuffer();
      assert.ok(bytes.byteLength > 10_000);
    };
    const before = await spent(sandbox.pid);
    const one = await submit();
    await sandbox.advance(300);
    await video(one);
    const after = await spent(sandbox.pid);
    const took = after.seconds - before.seconds;
    t.diagnostic(`one: ${took.toFixed(1)} s of one core, ${after.megabytes.toFixed(0)} MB`);
    assert.ok(took <= CORE_SECONDS, `it took ${took.toFixed(1)} s`);

    const four = await Promise.all(Array.from({ length: 4 }, submit));
    await sandbox.advance(300);
    await Promise.all(four.map(video));
    const { megabytes } = await spent(sandbox.pid);
    t.diagnostic(`four at once: ${megabytes.toFixed(0)} MB`);
    assert.ok(megabytes < MEGABYTES, `they took ${megabytes.toFixed(0)} MB`);
  } finally {
    await sandbox.stop();
  }
});
