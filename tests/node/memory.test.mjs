// Tests of the client's memory: polls take little, and finished calls and closed clients leave nothing behind.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { UNKNOWN_ID } from "./harness.mjs";

const directory = process.env.PACKAGE_DIR ?? new URL("../../target/npm/package", import.meta.url).pathname;

/** The output of a script with common helpers, run in a process of its own. */
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

test("20,000 calls and 1,000 clients leave no heap and no WebAssembly memory behind", () => {
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
  // Compiled code and caches settle late. One leaked object of 100 bytes a call would be 2 MB.
  assert.ok(grown.heap < 1_000_000, `${grown.heap} bytes of heap`);
});

for (const [how, most, wait] of [["poll()", 2_048, "jobs.poll(id)"], ["watch()", 2_560, "asked(jobs.watch(id))"]]) {
  test(`10,000 jobs awaited by ${how} take at most ${most} bytes each in addition to the job, and one timer`, () => {
    const found = measured(`
      const COUNT = 10_000;
      const ids = Array.from({ length: COUNT }, (_, at) => String(at).padStart(8, "0") + id.slice(8));
      // Requests the second change right after the first, as a loop does.
      const asked = (changes) => changes.next().then(() => changes.next());
      const text = (id) => JSON.stringify({
        id, status: "running", progress: 0.4, preview: null, video_output: null, editor_url: null, failed_reason: null, credits_used: 0,
        duration: 15, media_job: null, name: "Slow Sundays", webhook_url: null, model_version: "standard", is_hidden: false,
        created_at: "2026-02-03T10:24:11.482913Z", updated_at: "2026-02-03T10:24:31.107358Z",
        variables: { headline: { type: "text", properties: { content: "Slow Sundays" } } },
      });
      let polls = 0;
      const fetch = async (url) => (polls++, { status: 200, text: async () => text(url.slice(-37, -1)) });
      const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
      await jobs.get(id);
      // The clock stands still, so that no job is polled twice on a slow machine.
      performance.now = () => 1_000;
      const sum = () => taken().reduce((heap, wasm) => heap + wasm);
      const held = ids.map((id) => JSON.parse(text(id)));
      const before = sum();
      held.length = polls = 0;
      for (const id of ids) ${wait};
      while (polls < COUNT) await new Promise((resolve) => setTimeout(resolve, 50));
      await new Promise((resolve) => setTimeout(resolve, 100));
      const timers = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
      console.log(JSON.stringify({ bytes: (sum() - before) / COUNT, timers, polls }));
      process.exit();
    `);
    assert.ok(found.bytes < most, `${found.bytes} bytes a job`);
    assert.equal(found.timers, 1);
    assert.equal(found.polls, 10_000);
  });
}

test("a job that does not change is kept once, however often it is polled", () => {
  const found = measured(`
    let polls = 0;
    const fetch = async () => (polls++, { status: 200, text: async () => JSON.stringify({ id, status: "running", updated_at: "2026-02-03T10:24:31Z" }) });
    const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
    const updates = [];
    const error = await jobs.poll(id, { maxInterval: 500, timeout: 2_500, onUpdate: (job) => updates.push(job) }).catch((thrown) => thrown);
    console.log(JSON.stringify({ polls, updates: updates.length, copies: new Set([error.job, ...updates]).size }));
  `);
  assert.ok(found.polls > 1, `${found.polls} polls`);
  assert.ok(found.updates > 1, "updates");
  assert.equal(found.copies, 1);
});
