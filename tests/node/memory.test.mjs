// Decides what the client takes, and whether it gives it back: what waits is small, and calls and clients that come and go
// leave memory where it was.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { UNKNOWN_ID } from "./harness.mjs";

const directory = process.env.PACKAGE_DIR ?? new URL("../../target/npm/package", import.meta.url).pathname;

/** Runs a script in a process of its own, with what all of them need; what it prints. */
function measured(script) {
  const all = `
    const { TemplateJobs } = await import(${JSON.stringify(pathToFileURL(join(directory, "node.js")).href)});
    const id = ${JSON.stringify(UNKNOWN_ID)};
    const memories = [];
    const { Instance } = WebAssembly;
    WebAssembly.Instance = function (...given) {
      const instance = new Instance(...given);
      memories.push(instance.exports.memory);
      return instance;
    };
    const taken = () => (gc(), gc(), [process.memoryUsage().heapUsed, memories.at(-1).buffer.byteLength]);
    ${script}
  `;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", all], { encoding: "utf8", timeout: 120_000 });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

test("20,000 calls and 1,000 clients leave heap and WebAssembly memory where they were", () => {
  const grown = measured(`
    const answer = JSON.stringify({ id, status: "done", preview: "https://p", video_output: "https://v" });
    const fetch = async () => ({ status: 200, text: async () => answer });
    const client = () => new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
    const jobs = client();
    const calls = async (count) => {
      for (let call = 0; call < count; call++) await (call % 10 ? jobs.get(id) : jobs.poll(id));
    };
    await calls(2_000);
    const before = taken();
    await calls(20_000);
    for (let made = 0; made < 1_000; made++) {
      const other = client();
      await other.get(id);
      other.close();
    }
    const after = taken();
    jobs.close();
    console.log(JSON.stringify({ heap: after[0] - before[0], wasm: after[1] - before[1] }));
  `);
  assert.equal(grown.wasm, 0, "pages of WebAssembly memory");
  // Compiled code and caches settle late; one leaked object of 100 bytes a call would be 2 MB.
  assert.ok(grown.heap < 1_000_000, `${grown.heap} bytes of heap`);
});

for (const [how, most, wait] of [["poll()", 2_048, "jobs.poll(id)"], ["watch()", 2_560, "asked(jobs.watch(id))"]]) {
  test(`10,000 jobs that ${how} waits for take at most ${most} bytes each beside the job, and one timer`, () => {
    const found = measured(`
      const COUNT = 10_000;
      const ids = Array.from({ length: COUNT }, (_, at) => String(at).padStart(8, "0") + id.slice(8));
      // As a loop asks, for the second change after the first.
      const asked = (changes) => changes.next().then(() => changes.next());
      const text = (id) => JSON.stringify({
        id, status: "running", progress: 0.4, preview: null, video_output: null, editor_url: null, failed_reason: null, credits_used: 0,
        duration: 15, media_job: null, name: "Slow Sundays", webhook_url: null, model_version: "standard", is_hidden: false,
        created_at: "2026-02-03T10:24:11.482913Z", updated_at: "2026-02-03T10:24:31.107358Z",
        variables: { headline: { type: "text", properties: { content: "Slow Sundays" } } },
      });
      let looks = 0;
      const fetch = async (url) => (looks++, { status: 200, text: async () => text(url.slice(-37, -1)) });
      const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
      await jobs.get(id);
      // Time stands still: however slow the machine is, no job is looked at twice.
      performance.now = () => 1_000;
      const sum = () => taken().reduce((heap, wasm) => heap + wasm);
      const held = ids.map((id) => JSON.parse(text(id)));
      const before = sum();
      held.length = looks = 0;
      for (const id of ids) ${wait};
      while (looks < COUNT) await new Promise((resolve) => setTimeout(resolve, 50));
      await new Promise((resolve) => setTimeout(resolve, 100));
      const timers = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
      console.log(JSON.stringify({ bytes: (sum() - before) / COUNT, timers, looks }));
      process.exit();
    `);
    assert.ok(found.bytes < most, `${found.bytes} bytes a job`);
    assert.equal(found.timers, 1);
    assert.equal(found.looks, 10_000);
  });
}

test("of a job in which nothing changes one copy is kept, however often it is looked at", () => {
  const found = measured(`
    let looks = 0;
    const fetch = async () => (looks++, { status: 200, text: async () => JSON.stringify({ id, status: "running", updated_at: "2026-02-03T10:24:31Z" }) });
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
    const told = [];
    const error = await jobs.poll(id, { maxInterval: 500, timeout: 2_500, onUpdate: (job) => told.push(job) }).catch((thrown) => thrown);
    console.log(JSON.stringify({ looks, told: told.length, copies: new Set([error.job, ...told]).size }));
  `);
  assert.ok(found.looks > 1, `${found.looks} looks`);
  assert.ok(found.told > 1, "an update each second");
  assert.equal(found.copies, 1);
});
