// Helpers of the demo page's tests: a sandbox, Chromium, and checks that hold for every page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../chromium.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const screenshots = path.resolve(process.env.SCREENSHOT_DIR ?? path.join(root, "target/screenshots"));
export const readmeScreenshot = path.join(root, "www/screenshot.png");

/** The timeout of a step on a busy machine. */
export const PATIENCE = 60_000;

/** Starts a sandbox that serves the page. `args` are options of the sandbox. */
export async function startSandbox(...args) {
  const bin = process.env.SANDBOX_BIN;
  assert.ok(bin, "SANDBOX_BIN must be the path of the sandbox");
  const www = (process.env.WWW_DIRS ?? `${root}/www${path.delimiter}${root}/target/demo`).split(path.delimiter);
  const child = spawn(bin, ["--port", "0", ...www.flatMap((dir) => ["--www", dir]), ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const url = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the sandbox ended before it listened (code ${code})`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /listening on (http:\/\/\S+)/.exec(line);
      if (found) resolve(found[1].replace(/\/$/, ""));
    });
  });
  const control = async (method, name, body) => {
    const response = await fetch(`${url}/__sandbox/${name}`, {
      method, headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    assert.ok(response.ok, `${method} /__sandbox/${name} answered ${response.status}`);
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  };
  return {
    url,
    templates: () => control("GET", "templates"),
    ledger: () => control("GET", "ledger"),
    faults: (rules) => control("PUT", "faults", rules),
    reset: () => control("POST", "reset"),
    stop: () => new Promise((resolve) => {
      child.removeAllListeners("exit").once("exit", resolve);
      child.kill();
    }),
  };
}

export function startBrowser() {
  return chromium.launch(CHROMIUM);
}

/**
 * Opens the page (at `path` of the sandbox), passes it to `use`, and then checks what holds for every page: no console error, no
 * request to another host, nothing wider than the window. `expected` matches console errors that a test provokes.
 */
export async function withPage(browser, sandbox, use, { expected = null, width = 1280, height = 900, colorScheme = "light", path: at = "", before } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  const strangers = [];
  page.on("pageerror", (error) => errors.push(String(error.stack ?? error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !expected?.test(message.text())) errors.push(`${message.text()} (${message.location().url})`);
  });
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== sandbox.url) strangers.push(request.url());
  });
  try {
    await before?.(page);
    await page.goto(sandbox.url + at);
    await use(page);
    assert.deepEqual(errors, [], "errors on the console");
    assert.deepEqual(strangers, [], "requests to other hosts");
    assert.equal(await overflow(page), 0, "pixels wider than the window");
  } finally {
    await context.close();
  }
}

/** How many pixels the page exceeds the window's width. */
export function overflow(page) {
  return page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth));
}

/** The violations that axe finds, one per line. Embedded pages are not checked. */
export async function violations(page) {
  // Evaluated, since the page's policy allows no added script.
  await page.evaluate(axe);
  // Transitions between colour schemes are finished first.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((each) => each instanceof CSSTransition).map((each) => each.finished)));
  const found = await page.evaluate(() => globalThis.axe.run(document, { iframes: false }));
  assert.ok(found.passes.length > 20, "axe ran its rules");
  return found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
}

/** A screenshot, grown to `height` so that embedded pages are painted too. */
export async function picture(page, name, height) {
  await mkdir(screenshots, { recursive: true });
  const { width } = page.viewportSize();
  await page.setViewportSize({ width, height: height ?? await page.evaluate(() => document.documentElement.scrollHeight) });
  await page.evaluate(() => scrollTo(0, 0));
  return page.screenshot({ path: path.join(screenshots, name) });
}

export const button = (scope, name) => scope.getByRole("button", { name, exact: true });

export async function choose(page, template) {
  await page.getByRole("radio", { name: template.name }).check();
}

/** The newest card. */
export const newest = (page) => page.locator(".card").first();

/** Presses a button of the form and returns the card of the new job once the server has accepted it. */
export async function press(page, name) {
  const before = await page.locator(".card").count();
  await button(page, name).click();
  await page.waitForFunction((count) => document.querySelectorAll(".card").length > count, before);
  const key = await newest(page).getAttribute("data-key");
  const card = page.locator(`.card[data-key="${key}"]`);
  await page.locator(`.card[data-key="${key}"]:not([data-phase="sending"])`).waitFor();
  return card;
}

/** Waits until a card's status is `word`. */
export async function status(card, word) {
  await card.locator(".status", { hasText: new RegExp(`^${word}$`) }).waitFor();
}

/** Waits until the card's video can be played, and returns its size and duration. */
export async function playable(card) {
  const video = card.locator("video");
  await video.waitFor();
  return video.evaluate(async (element) => {
    while (element.readyState < 2) {
      if (element.error) throw new Error(`the video does not play: ${element.error.message}`);
      await new Promise((resolve) => {
        for (const event of ["loadeddata", "canplay", "error"]) element.addEventListener(event, resolve, { once: true });
      });
    }
    return { width: element.videoWidth, height: element.videoHeight, duration: element.duration };
  });
}
