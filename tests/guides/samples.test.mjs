// The code samples of the docs run as they are printed: in Node, in a page, or as a worker's module, against the sandbox. All
// of them pass the type checker.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../chromium.mjs";
import { packageDirectory, startSandbox } from "../node/harness.mjs";
import { nameOf, samples } from "./samples.mjs";

const PATIENCE = 60_000;
const SPEED = ["--speed", "40"];
const run = promisify(execFile);
const all = await samples();
const of = (how) => all.filter((sample) => sample.how === how);
const tools = fileURLToPath(new URL("../node_modules/", import.meta.url));
const route = new URL("route.mjs", import.meta.url).href;

/** Where a sample may import the package and what it imports beside it. */
let home;
let browser;
before(async () => {
  home = await mkdtemp(join(tmpdir(), "samples-"));
  const modules = join(home, "node_modules");
  await mkdir(modules);
  await cp(packageDirectory, join(modules, "custom-template-jobs"), { recursive: true });
  await mkdir(join(modules, "@opentelemetry/api"), { recursive: true });
  await writeFile(join(modules, "@opentelemetry/api/package.json"), '{"type":"module","exports":"./index.js"}');
  await writeFile(join(modules, "@opentelemetry/api/index.js"), "export const SpanKind = { CLIENT: 2 };\nexport const trace = { getTracer: () => ({ startSpan: () => ({ end() {} }) }) };\n");
  await mkdir(join(modules, "@vercel/functions"), { recursive: true });
  await writeFile(join(modules, "@vercel/functions/package.json"), '{"type":"module","exports":"./index.js"}');
  await writeFile(join(modules, "@vercel/functions/index.js"), "export const waitUntil = () => {};\n");
  browser = await chromium.launch(CHROMIUM);
});
after(async () => {
  await browser?.close();
  await rm(home, { recursive: true, force: true });
});

/** A folder of its own, in which a sample may keep a journal. */
async function folder(sample) {
  const directory = join(home, nameOf(sample));
  await mkdir(directory);
  return directory;
}

async function inNode(sample, code) {
  const sandbox = await startSandbox(...SPEED);
  try {
    const directory = await folder(sample);
    await writeFile(join(directory, "sample.mjs"), code);
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined, SAMPLE_SANDBOX: sandbox.url, CREATIFY_URL: sandbox.url, CREATIFY_ID: "sandbox", CREATIFY_KEY: "sandbox" };
    const { stdout } = await run(process.execPath, ["--import", route, "sample.mjs"], { cwd: directory, env, timeout: PATIENCE });
    return { stdout, ledger: await sandbox.ledger() };
  } finally {
    await sandbox.stop();
  }
}

test("every_kind_of_sample_is_there", () => {
  for (const how of ["node", "page", "worker", "fragment"]) assert.ok(of(how).length > 3, `${of(how).length} of ${how}`);
  assert.deepEqual(all.filter(({ how }) => !["node", "page", "worker", "fragment", "html"].includes(how)), []);
});

describe("samples", { concurrency: 3 }, () => {
  for (const sample of of("node")) {
    test(`the_sample_of_${nameOf(sample)}_runs_in_node`, async () => {
      const { stdout, ledger } = await inNode(sample, sample.code);
      for (const [, expected] of sample.code.matchAll(/\/\/ => (.*)/g)) assert.ok(stdout.includes(`${expected}\n`), stdout);
      // A sample that handles its error would pass without its video.
      if (/submit\([^]*console\.log\(.*video_output/.test(sample.code)) assert.match(stdout, /^\S* ?http\S+$/m);
      assert.deepEqual(ledger.duplicates, []);
    });
  }

  for (const sample of of("worker")) {
    test(`the_sample_of_${nameOf(sample)}_answers_a_request_with_a_job`, async () => {
      const call = `
        import * as worker from "./worker.mjs";
        const handler = worker.POST ?? worker.default.fetch ?? worker.default;
        const request = new Request("http://app.test/api/videos", { method: "POST", body: JSON.stringify({ headline: "Hello" }) });
        const answer = await handler(request, { CREATIFY_ID: "sandbox", CREATIFY_KEY: "sandbox" }, { waitUntil() {} });
        console.log(JSON.stringify(await answer.json()));`;
      const directory = join(home, nameOf(sample));
      await mkdir(directory);
      await writeFile(join(directory, "worker.mjs"), sample.code);
      const { stdout, ledger } = await inNode({ ...sample, file: `${sample.file}.run` }, call.replace("./worker.mjs", `../${nameOf(sample)}/worker.mjs`));
      assert.match(JSON.parse(stdout).id, /^[0-9a-f-]{36}$/);
      assert.equal(ledger.charges.length, 1);
    });
  }

  for (const sample of of("page")) {
    test(`the_sample_of_${nameOf(sample)}_runs_in_a_page`, async () => {
      const directory = await folder(sample);
      await cp(packageDirectory, join(directory, "custom-template-jobs"), { recursive: true });
      await writeFile(join(directory, "main.js"), `${sample.code}\nglobalThis.ended = true;\n`);
      await writeFile(join(directory, "index.html"), `<!doctype html><link rel="icon" href="data:,"><title>Sample</title>
        <script type="importmap">{"imports": {"custom-template-jobs": "/custom-template-jobs/web.js"}}</script>
        <iframe></iframe><progress></progress><video></video><button>Stop</button><script type="module" src="main.js"></script>`);
      const sandbox = await startSandbox(...SPEED, "--www", directory);
      const page = await browser.newPage();
      try {
        const errors = [];
        page.on("pageerror", (error) => errors.push(String(error)));
        await page.goto(sandbox.url);
        await Promise.race([page.waitForFunction(() => globalThis.ended, undefined, { timeout: PATIENCE }), page.waitForEvent("pageerror", { timeout: PATIENCE })]);
        assert.deepEqual(errors, []);
        assert.deepEqual((await sandbox.ledger()).duplicates, []);
      } finally {
        await page.close();
        await sandbox.stop();
      }
    });
  }
});

test("every_sample_is_right_by_the_types", async () => {
  const directory = join(home, "types");
  await mkdir(directory);
  const files = all.filter(({ how, code }) => how !== "html" || code.includes("<script")).map((sample) => {
    const code = sample.code.replaceAll(/<\/?script.*>/g, "").replace(/"\/node_modules\/custom-template-jobs\/web.js"/, '"custom-template-jobs"');
    return [`${nameOf(sample)}.js`, code];
  });
  await Promise.all(files.map(([name, code]) => writeFile(join(directory, name), code)));
  await writeFile(join(directory, "around.d.ts"), `
    interface ParentNode { querySelector<K extends keyof HTMLElementTagNameMap>(name: K): HTMLElementTagNameMap[K]; } // the page has it
    declare const process: { env: { [name: string]: string } };
    declare module "@opentelemetry/api" { export const SpanKind: { CLIENT: number }; export const trace: { getTracer(name: string): any }; }
    declare module "@vercel/functions" { export function waitUntil(promise: Promise<unknown>): void; }
    declare module "cloudflare:workers" { export class DurableObject { ctx: any; env: any; } }
    declare module "node:http" { const http: any; export default http; }
    declare module "vite" { export function defineConfig(config: object): object; }
    declare module "react" { export function useEffect(effect: () => void | (() => void), given: unknown[]): void; export function useState<S>(first: S): [any, (next: any) => void]; }
    declare module "node:assert/strict" { const assert: { equal(one: unknown, other: unknown): void }; export default assert; }`);
  await writeFile(join(directory, "tsconfig.json"), JSON.stringify({
    compilerOptions: {
      target: "es2022", lib: ["es2022", "dom", "dom.iterable"], types: [], module: "esnext", moduleResolution: "bundler", moduleDetection: "force",
      allowJs: true, checkJs: true, strict: true, noImplicitAny: false, noEmit: true,
    },
    files: ["around.d.ts", ...files.map(([name]) => name)],
  }));
  await run(process.execPath, [join(tools, "typescript-7/lib/tsc.js"), "--project", directory, "--pretty", "false"], { timeout: PATIENCE })
    .catch(({ stdout, stderr }) => assert.fail(stdout || stderr));
});
