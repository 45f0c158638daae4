// Tests of the recipes as printed, against the sandbox: pages in Chromium, the Worker in workerd, the others in Node.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { chromium } from "playwright-core";
import * as vite from "vite";
import { CHROMIUM } from "../chromium.mjs";
import { PATIENCE, settleIn, startSandbox } from "./harness.mjs";

/** The most lines of a recipe, without imports, comments and blank lines. */
const LINES = {
  "approve.js": 12, "batch.js": 20, "cancel.js": 12, "errors.js": 6, "form.js": 12, "react.jsx": 17, "reload.js": 8, "tenants.js": 4,
  "tracing.js": 12, "unit.test.js": 12, "worker.js": 20,
};

const USUAL = "<iframe></iframe><button>Go</button><output></output><video></video>";

/** The body of each page. */
const PAGES = {
  form: `
    <form>
      <input name="headline" value="Slow Sundays"><input name="offer" value="Second cup free">
      <input name="product_image" value="https://example.com/coffee.jpg"><button>Make</button>
    </form>
    <progress></progress><video></video>`,
  approve: USUAL,
  cancel: USUAL,
  reload: USUAL,
  react: "<main></main>",
};

let home;
let sandbox;
let browser;
const running = (args) => {
  // A nested test runner would report to the outer one.
  const { NODE_TEST_CONTEXT, ...env } = process.env;
  return promisify(execFile)(process.execPath, args, { cwd: home.directory, env });
};

before(async () => {
  home = await settleIn("recipes");
  // Each page is a directory whose `main.js` imports the recipe and acts as the user.
  await cp(new URL("pages/request.js", import.meta.url), join(home.directory, "request.js"));
  const input = {};
  for (const [name, body] of Object.entries(PAGES)) {
    await mkdir(join(home.directory, name));
    await cp(new URL(`pages/${name}.js`, import.meta.url), join(home.directory, name, "main.js"));
    const page = `<!doctype html><link rel="icon" href="data:,">${body}<script type="module" src="main.js"></script>`;
    await writeFile((input[name] = join(home.directory, name, "index.html")), page);
  }
  await vite.build({ root: home.directory, logLevel: "error", build: { rollupOptions: { input } } });
  sandbox = await startSandbox("--speed", "20", "--www", join(home.directory, "dist"));
  browser = await chromium.launch({ ...CHROMIUM, timeout: PATIENCE });
});

after(async () => {
  await browser?.close();
  await sandbox?.stop();
  await home?.leave();
});

beforeEach(() => sandbox.reset());

const steps = async () => (await sandbox.ledger()).charges.map(({ step }) => step);

/** The result of `act` in a page, after a check that the page threw no error. */
async function visit(name, act) {
  const page = await browser.newPage();
  try {
    page.setDefaultTimeout(PATIENCE);
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(`${sandbox.url}/${name}/`);
    const seen = await act(page);
    assert.deepEqual(errors, []);
    return seen;
  } finally {
    await page.close();
  }
}

const video = (page) => page.locator("video[src]").waitFor({ state: "attached" });

for (const [file, most] of Object.entries(LINES)) {
  test(`${file.replaceAll(".", "_")}_takes_at_most_${most}_lines`, async () => {
    const code = (await readFile(join(home.directory, file), "utf8")).replace(/^import [^;]*;$/gm, "");
    const lines = code.split("\n").filter((line) => line.trim() && !/^\s*\/[/*]/.test(line));
    assert.ok(lines.length <= most, `${lines.length} lines:\n${lines.join("\n")}`);
    const table = await readFile(join(home.directory, "README.md"), "utf8");
    assert.ok(table.includes(`(${file}) | ${lines.length} |`), `the README does not say ${lines.length} lines`);
  });
}

test("a_form_becomes_a_video_with_a_progress_bar_that_never_falls", () =>
  visit("form", async (page) => {
    await page.evaluate(() => {
      const bar = document.querySelector("progress");
      window.seen = [];
      new MutationObserver(() => window.seen.push(bar.value)).observe(bar, { attributes: true });
    });
    await page.locator("button").click();
    await video(page);
    const seen = await page.evaluate(() => window.seen);
    assert.ok(seen.length >= 2, seen);
    assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
    assert.deepEqual(await steps(), ["submit"]);
  }));

test("a_preview_is_approved_and_then_rendered", () =>
  visit("approve", async (page) => {
    await page.locator("iframe[src]").waitFor();
    assert.deepEqual(await steps(), ["preview"]);
    await page.locator("button").click();
    await video(page);
    assert.deepEqual(await steps(), ["preview", "render"]);
  }));

test("a_cancelled_wait_can_be_resumed_and_is_charged_once", () =>
  visit("cancel", async (page) => {
    await video(page);
    assert.equal(await page.locator("output").evaluate(({ value }) => value), "cancelled");
    assert.deepEqual(await steps(), ["submit"]);
  }));

test("after_a_reload_the_job_is_resumed_with_its_metadata", () =>
  visit("reload", async (page) => {
    const says = (words) => page.waitForFunction((value) => document.querySelector("output").value === value, words);
    await says("submitted");
    await page.goto(`${sandbox.url}/reload/#again`);
    await page.reload();
    await says("spring done");
    assert.deepEqual(await steps(), ["submit"]);
  }));

test("a_react_hook_shows_progress_and_the_video", () =>
  visit("react", async (page) => {
    await page.locator("button").click();
    await video(page);
    assert.equal(await page.locator("output").textContent(), "1");
    assert.deepEqual(await steps(), ["submit"]);
  }));

test("a_worker_charges_an_order_once_and_handles_its_webhook", async () => {
  const { outputFiles } = await build({
    absWorkingDir: home.directory, entryPoints: ["worker.js"], bundle: true, write: false, format: "esm", target: "es2022", logLevel: "error",
    conditions: ["workerd", "worker", "browser"], external: ["cloudflare:*", "*.wasm"],
  });
  const [{ template_id }] = (await sandbox.templates()).filter(({ behaviour }) => behaviour === "done");
  const worker = new Miniflare({
    host: "127.0.0.1", port: 0, compatibilityDate: "2026-04-01",
    modules: [
      { type: "ESModule", path: "main.js", contents: outputFiles[0].text },
      { type: "CompiledWasm", path: "custom_template_jobs_bg.wasm", contents: await readFile(join(home.directory, "node_modules/custom-template-jobs/custom_template_jobs_bg.wasm")) },
    ],
    durableObjects: { VIDEOS: { className: "Videos", useSQLite: true } },
    bindings: { CREATIFY_URL: sandbox.url, CREATIFY_ID: "sandbox", CREATIFY_KEY: "sandbox", TEMPLATE: template_id },
  });
  try {
    const { origin } = await worker.ready;
    const order = () => fetch(origin, { method: "POST", body: JSON.stringify({ order: "order-1", title: "Hello" }) }).then((answer) => answer.json());
    const [job, again] = [await order(), await order()];
    assert.equal(again.id, job.id);
    assert.deepEqual(await steps(), ["submit"]);
    for (let tries = 0; ; tries += 1) {
      const tried = (await (await fetch(`${sandbox.url}/__sandbox/webhooks`)).json()).filter(({ status }) => status === "done").flatMap(({ tries: all }) => all);
      if (tried.some(({ answer }) => answer === 200 || answer === "200")) break;
      assert.ok(tries < 600, JSON.stringify(tried));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    await worker.dispose();
  }
});

test("a_unit_test_needs_no_network", async () => {
  const { stdout } = await running(["--test", "unit.test.js"]);
  assert.match(stdout, /pass 1/);
});

test("every_error_has_its_charge_and_a_remedy", async () => {
  const load = (file) => import(pathToFileURL(join(home.directory, file)));
  const [{ handle }, { TemplateJobs }] = [await load("errors.js"), await load("node_modules/custom-template-jobs/node.js")];
  const jobs = new TemplateJobs({ ...sandbox.options, journal: "memory", maxRetries: 0 });
  const [template] = await sandbox.templates();
  const told = async (on, kind, more) => {
    await sandbox.faults([{ on, kind, ...more }]);
    const seen = [];
    const say = { show: (_, charged) => seen.push(charged), later: (operation) => seen.push("later", typeof operation), again: () => seen.push("again") };
    await jobs.submit({ template_id: template.template_id, variables: {} }).then(() => seen.push("fine"), (error) => handle(error, say));
    return seen.join();
  };
  assert.equal(await told("submit", "drop_after_commit"), "maybe,later,string");
  assert.equal(await told("submit", "status_before_commit", { status: 429 }), "no,again");
  assert.equal(await told("submit", "status_before_commit", { status: 402 }), "no");
  assert.throws(() => handle(new TypeError("ours"), {}), TypeError);
});

test("each_request_is_a_span", async () => {
  await writeFile(join(home.directory, "traced.mjs"), `
    import { trace } from "@opentelemetry/api";
    import { TemplateJobs } from "custom-template-jobs";
    import { traced } from "./tracing.js";
    const spans = [];
    const span = (name) => ({ setAttributes: (given) => spans.push([name, given["http.response.status_code"]]), setAttribute() {}, setStatus() {}, end() {} });
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan: span }) });
    const jobs = new TemplateJobs({ ...${JSON.stringify(sandbox.options)}, onEvent: traced });
    await jobs.templates();
    await jobs.get("3c90c3cc-0d44-4b50-8888-8dd25736052a").catch(() => {});
    console.log(JSON.stringify(spans));`);
  const { stdout } = await running(["traced.mjs"]);
  assert.deepEqual(JSON.parse(stdout), [["GET /api/custom_templates/", 200], ["GET /api/custom_template_jobs/3c90c3cc-0d44-4b50-8888-8dd25736052a/", 404]]);
});

test("each_tenant_has_its_own_journal_and_limit", async () => {
  await writeFile(join(home.directory, "two.mjs"), `
    import { clientOf } from "./tenants.js";
    const shared = ${JSON.stringify(sandbox.options)};
    const [template] = await (await fetch("${sandbox.url}/__sandbox/templates")).json();
    const order = (id) => clientOf({ id, credits: 6 }, shared).submit({ template_id: template.template_id, variables: {}, seconds: 15 }, { operation: "order-1" });
    const [one, other] = [await order("one"), await order("two")];
    const over = await clientOf({ id: "one", credits: 6 }, shared).submit({ template_id: template.template_id, variables: {}, seconds: 15 }, { operation: "order-2" }).catch(({ name }) => name);
    console.log(one.id !== other.id, (await order("one")).id === one.id, over);`);
  const { stdout } = await running(["two.mjs"]);
  assert.equal(stdout, "true true BudgetExceededError\n");
});
