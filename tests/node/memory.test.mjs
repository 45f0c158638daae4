// Decides whether the client gives back what it takes: calls and clients that come and go leave memory where it was.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { UNKNOWN_ID } from "./harness.mjs";

const directory = process.env.PACKAGE_DIR ?? new URL("../../target/npm/package", import.meta.url).pathname;

test("20,000 calls and 1,000 clients leave heap and WebAssembly memory where they were", () => {
  const script = `
    const { TemplateJobs } = await import(${JSON.stringify(pathToFileURL(join(directory, "node.js")).href)});
    const id = ${JSON.stringify(UNKNOWN_ID)};
    const memories = [];
    const { Instance } = WebAssembly;
    WebAssembly.Instance = function (...given) {
      const instance = new Instance(...given);
      memories.push(instance.exports.memory);
      return instance;
    };
    const answer = JSON.stringify({ id, status: "done", preview: "https://p", video_output: "https://v" });
    const fetch = async () => ({ status: 200, text: async () => answer });
    const client = () => new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
    const taken = () => (gc(), gc(), [process.memoryUsage().heapUsed, memories.at(-1).buffer.byteLength]);
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
  `;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", script], { encoding: "utf8", timeout: 120_000 });
  assert.equal(status, 0, stderr);
  const grown = JSON.parse(stdout);
  assert.equal(grown.wasm, 0, "pages of WebAssembly memory");
  // Compiled code and caches settle late; one leaked object of 100 bytes a call would be 2 MB.
  assert.ok(grown.heap < 1_000_000, `${grown.heap} bytes of heap`);
});
