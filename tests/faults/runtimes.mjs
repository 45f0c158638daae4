// The runtimes of the fault tests: each runs an act in this process, in workerd, or in Deno.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { load } from "../node/harness.mjs";
import { packageDirectory, project, scene, tool } from "../runtimes/harness.mjs";
import { act } from "./act.mjs";

const WASM = "custom_template_jobs_bg.wasm";
/** The most that an act may take, in milliseconds. */
const PATIENCE = 30_000;

/** A directory with the act and a program that runs it. */
const stage = async (name, main) =>
  scene(`faults-${name}`, { "act.mjs": await readFile(new URL("act.mjs", import.meta.url), "utf8"), "main.mjs": main });

/** A function that posts an act's arguments to a server that runs it. */
const asking = (url) => async (given) => {
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(given), signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
};

async function inNode() {
  const library = await load();
  return {
    // Passed as JSON, as in the other runtimes.
    act: async (given) => JSON.parse(JSON.stringify(await act(library, JSON.parse(JSON.stringify(given))))),
    stop() {},
  };
}

async function inWorkerd() {
  const absWorkingDir = await stage("workerd", `
    import * as library from "custom-template-jobs";
    import { act } from "./act.mjs";
    export default {
      fetch: async (request, env, ctx) => Response.json(await act(library, await request.json(), (promise) => ctx.waitUntil(promise))),
    };`);
  const { outputFiles } = await build({
    absWorkingDir, entryPoints: ["main.mjs"], bundle: true, write: false, format: "esm", target: "es2022",
    conditions: ["workerd", "worker", "browser"], external: ["*.wasm"], logLevel: "error",
  });
  const worker = new Miniflare({
    compatibilityDate: "2026-04-01",
    cf: false,
    modules: [
      { type: "ESModule", path: "main.js", contents: outputFiles[0].text },
      { type: "CompiledWasm", path: WASM, contents: await readFile(join(packageDirectory, WASM)) },
    ],
  });
  return { act: asking(String(await worker.ready)), stop: () => worker.dispose() };
}

async function inDeno() {
  const cwd = await stage("deno", `
    import * as library from "custom-template-jobs";
    import { act } from "./act.mjs";
    const onListen = ({ port }) => console.log(\`http://127.0.0.1:\${port}\`);
    Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, async (request) => Response.json(await act(library, await request.json())));`);
  const child = spawn(tool(".bin/deno"), ["run", "--cached-only", "--no-prompt", "--allow-net=127.0.0.1", `--allow-read=${project}`, "main.mjs"], {
    cwd,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, DENO_DIR: join(project, ".deno"), DENO_NO_UPDATE_CHECK: "1" },
  });
  const [url] = await once(createInterface(child.stdout), "line");
  return {
    act: asking(url),
    async stop() {
      child.kill();
      await once(child, "exit");
    },
  };
}

const STARTS = { Node: inNode, workerd: inWorkerd, Deno: inDeno };

/** Starts a runtime. `stop` ends it. */
export const startRuntime = async (name) => ({ name, ...(await STARTS[name]()) });
