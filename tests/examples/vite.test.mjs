// Tests of the Vite example in Chromium, built and in development: form to video, reloads, faults, and accessibility.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { chromium } from "playwright-core";
import * as vite from "vite";
import { CHROMIUM } from "../chromium.mjs";
import { PATIENCE, settleIn, startSandbox } from "./harness.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const VIEWS = [
  { name: "desktop", width: 1280, height: 900, colorScheme: "light" },
  { name: "desktop-dark", width: 1280, height: 900, colorScheme: "dark" },
  { name: "phone", width: 390, height: 844, colorScheme: "light" },
  { name: "phone-dark", width: 390, height: 844, colorScheme: "dark" },
];

let example;
let sandbox;
let browser;

before(async () => {
  example = await settleIn("vite");
  await vite.build({ root: example.directory, logLevel: "error" });
  sandbox = await startSandbox("--speed", "10", "--www", join(example.directory, "dist"));
  browser = await chromium.launch({
    ...CHROMIUM,
    timeout: PATIENCE,
  });
});

after(async () => {
  await browser?.close();
  await sandbox?.stop();
  await example?.leave();
});

beforeEach(async () => {
  await sandbox.reset();
  await sandbox.faults([]);
});

/** Opens the page and checks what always holds: no console error, nothing wider than the window. */
async function visit(use, { url = sandbox.url, expected } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !expected?.test(message.text())) errors.push(message.text());
  });
  try {
    await page.goto(url);
    await page.getByLabel("Picture").fill(`${sandbox.url}/samples/coffee.png`);
    await use(page);
    assert.deepEqual(errors, []);
    assert.equal(await overflow(page), 0, "pixels wider than the window");
  } finally {
    await context.close();
  }
}

const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
const says = (page, words) => page.getByRole("status").filter({ hasText: words }).waitFor();
const steps = async () => (await sandbox.ledger()).charges.map(({ step }) => step);

/** Waits until the video plays. */
const plays = (page) => page.locator("video").evaluate(async (video) => {
  while (video.readyState < 2) {
    if (video.error) throw new Error(video.error.message);
    await new Promise((resolve) => {
      for (const event of ["loadeddata", "error"]) video.addEventListener(event, resolve, { once: true });
    });
  }
});

/** The violations that axe finds, one per line. */
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { iframes: false }));
  assert.ok(found.passes.length > 15, "axe ran its rules");
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
}

/** A screenshot, grown so that the embedded page is painted too. */
async function picture(page, name) {
  const directory = process.env.SCREENSHOT_DIR;
  if (!directory) return;
  await mkdir(directory, { recursive: true });
  const { width, height } = page.viewportSize();
  await page.setViewportSize({ width, height: Math.max(height, await page.evaluate(() => document.documentElement.scrollHeight)) });
  await page.screenshot({ path: join(directory, `example-${name}.png`) });
}

/** Fills in the form, previews, renders and plays the video. */
async function fromFormToVideo(page, press) {
  await page.getByLabel("Headline").fill("Written by the test");
  await press(page, "Preview");
  await says(page, "Your preview is ready.");
  await page.frameLocator("iframe").getByText("Written by the test").first().waitFor();
  await press(page, "Render the video");
  await says(page, "Your video is ready.");
  await plays(page);
  assert.match(await page.getByRole("link", { name: "Open the video" }).getAttribute("href"), /^http/);
  assert.deepEqual(await steps(), ["preview", "render"]);
}

/** Presses Tab until a button has the focus, then Enter. */
async function pressByKeyboard(page, name) {
  const button = page.getByRole("button", { name, exact: true });
  for (let steps = 0; !(await button.evaluate((element) => element === document.activeElement)); steps++) {
    assert.ok(steps < 20, `the Tab key does not reach ${name}`);
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
}

test("the_built_page_goes_from_the_form_to_the_video_by_keyboard_alone", () => visit((page) => fromFormToVideo(page, pressByKeyboard)));

test("the_development_server_goes_from_the_form_to_the_video", async () => {
  const { directory } = example;
  process.env.RELAY = sandbox.url;
  const server = await vite.createServer({ root: directory, logLevel: "error", server: { host: "127.0.0.1", port: 0, watch: null } });
  try {
    await server.listen();
    await visit((page) => fromFormToVideo(page, press), { url: `http://127.0.0.1:${server.httpServer.address().port}/` });
  } finally {
    await server.close();
  }
});

test("a_reload_continues_a_running_job_shows_a_finished_one_and_charges_nothing_twice", async () => {
  // In real time, so that a job is still running after a reload.
  const slow = await startSandbox("--speed", "1", "--www", join(example.directory, "dist"));
  try {
    await visit(async (page) => {
      await press(page, "Preview");
      await says(page, "Making the preview …");
      // Without the job's id in the URL, so that only the journal has it.
      await page.goto("about:blank");
      await page.goto(slow.url);
      await says(page, "Making the preview …");
      await slow.advance(60);
      await says(page, "Your preview is ready.");
      await page.reload();
      await says(page, "Your preview is ready.");
      await page.frameLocator("iframe").locator("body").waitFor();
      await press(page, "Render the video");
      await says(page, "Making the video …");
      await page.reload();
      await says(page, "Making the video …");
      await slow.advance(600);
      await says(page, "Your video is ready.");
      await page.reload();
      await says(page, "Your video is ready.");
      await plays(page);
      assert.deepEqual((await slow.ledger()).charges.map(({ step }) => step), ["preview", "render"]);
    }, { url: slow.url });
  } finally {
    await slow.stop();
  }
});

test("while_a_job_runs_the_page_shows_its_progress_and_the_time_left", async () => {
  const slow = await startSandbox("--speed", "1", "--www", join(example.directory, "dist"));
  try {
    await visit(async (page) => {
      await press(page, "Preview");
      await says(page, "Making the preview …");
      await slow.advance(60);
      await says(page, "Your preview is ready.");
      await press(page, "Render the video");
      await page.waitForFunction(() => document.querySelector("progress").value > 0);
      await page.getByText(/^(about \d+ minutes left|less than a minute left|any moment now)$/).waitFor();
      assert.ok(await page.getByRole("button", { name: "Preview", exact: true }).isDisabled(), "one thing at a time");
      assert.deepEqual(await violations(page), []);
      await picture(page, "progress");
    }, { url: slow.url });
  } finally {
    await slow.stop();
  }
});

const PROBLEMS = [
  ["a_job_that_fails", { on: "preview_async", kind: "fail_job", reason: "The picture is broken." }, /could not be made.*preview it again.*The picture is broken\./s, ["preview"]],
  ["a_lack_of_credits", { on: "preview_async", kind: "status_before_commit", status: 402 }, /not enough credits/, []],
  ["a_lost_answer", { on: "preview_async", kind: "status_after_commit", status: 502 }, /Nobody knows whether this was paid for.*Look at your account/s, ["preview"]],
];

for (const [what, fault, words, paid] of PROBLEMS) {
  test(`${what}_is_shown_with_a_remedy_and_the_form_can_be_sent_again`, () => visit(async (page) => {
    await sandbox.faults([{ ...fault, times: 1 }]);
    await press(page, "Preview");
    const alert = page.getByRole("alert");
    await alert.waitFor();
    assert.match(await alert.innerText(), words);
    assert.deepEqual(await violations(page), []);
    assert.deepEqual(await steps(), paid);
    await picture(page, what);
    await press(page, "Preview");
    await says(page, "Making the preview …");
    assert.ok(await alert.isHidden());
  }, { expected: /Failed to load resource/ }));
}

test("axe_finds_no_violation_and_nothing_is_wider_than_the_window", () => visit(async (page) => {
  const checkScreens = async (what) => {
    for (const { name, width, height, colorScheme } of VIEWS) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await violations(page), [], `${name}, ${what}`);
      assert.equal(await overflow(page), 0, `pixels wider than the window: ${name}, ${what}`);
      await picture(page, `${name}-${what}`);
    }
  };
  await checkScreens("form");
  await press(page, "Preview");
  await says(page, "Your preview is ready.");
  await page.frameLocator("iframe").locator("body").waitFor();
  await checkScreens("preview");
}));

test("the_required_vite_is_the_tested_one", () => {
  assert.equal(example.manifest.devDependencies.vite, `^${example.tools.vite}`);
});
