// Tests of the README's examples as printed: the page's in Chromium, to a video that plays, and the server's in Node.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import * as vite from "vite";
import { CHROMIUM } from "../chromium.mjs";
import { PATIENCE, settleIn, startSandbox } from "./harness.mjs";

const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
/** The only example under a heading. */
const under = (heading) => new RegExp(`^## ${heading}$[^]*?^\`\`\`js\n([^]*?)^\`\`\``, "m").exec(readme)[1];

let home;
let sandbox;

before(async () => {
  home = await settleIn("vite");
  const root = join(home.directory, "page");
  await mkdir(root);
  await writeFile(join(root, "index.html"), '<!doctype html><link rel="icon" href="data:,"><iframe></iframe><progress></progress><video></video><script type="module" src="main.js"></script>');
  await writeFile(join(root, "main.js"), under("In a page"));
  await vite.build({ root, logLevel: "error" });
  sandbox = await startSandbox("--speed", "20", "--www", join(root, "dist"));
});

after(async () => {
  await sandbox?.stop();
  await home?.leave();
});

beforeEach(() => sandbox.reset());

const steps = async () => (await sandbox.ledger()).charges.map(({ step }) => step);

test("the_example_of_a_page_ends_with_a_video_that_plays", async () => {
  const browser = await chromium.launch({ ...CHROMIUM, timeout: PATIENCE });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE);
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(sandbox.url);
    const video = page.locator("video[src]");
    await video.waitFor({ state: "attached" });
    assert.match(await page.locator("iframe").getAttribute("src"), /^http/);
    assert.equal(await page.locator("progress").evaluate(({ value }) => value), 1);
    await video.evaluate((element) => new Promise((resolve, reject) => {
      if (element.readyState >= 2) resolve();
      element.addEventListener("loadeddata", resolve);
      element.addEventListener("error", () => reject(element.error));
    }));
    assert.deepEqual(errors, []);
    assert.deepEqual(await steps(), ["preview", "render"]);
  } finally {
    await browser.close();
  }
});

test("the_example_of_a_server_continues_its_job_after_a_kill", async () => {
  const [{ template_id }] = await sandbox.templates();
  const given = `
    const [apiId, apiKey] = ["sandbox", "sandbox"];
    const template_id = ${JSON.stringify(template_id)};
    const orderId = "order-1";
  `;
  const example = under("On a server");
  // The sandbox in place of the provider.
  const local = example.replace("new TemplateJobs({", `new TemplateJobs({ baseUrl: ${JSON.stringify(sandbox.url)},`);
  assert.notEqual(local, example);
  const told = local.replace(/(const \{ video_output \} = .*)/, "$1\nconsole.log(video_output);");
  await writeFile(join(home.directory, "server.mjs"), given + told);

  const first = spawn(process.execPath, ["server.mjs"], { cwd: home.directory, stdio: "ignore" });
  const exit = once(first, "exit");
  // Its charge was answered, and it polls.
  while (!(await sandbox.requests()).some(({ call }) => call === "get")) await setTimeout(5);
  first.kill("SIGKILL");
  assert.deepEqual(await exit, [null, "SIGKILL"]);

  const { stdout } = await promisify(execFile)(process.execPath, ["server.mjs"], { cwd: home.directory });
  assert.match(stdout, /^http\S+\n$/);
  assert.deepEqual(await steps(), ["submit"]);
});
