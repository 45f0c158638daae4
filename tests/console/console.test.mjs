// Tests of the sandbox's console in Chromium: it shows jobs, requests and charges live, and its controls work.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { overflow, picture, playable, startBrowser, violations, withPage } from "../demo/harness.mjs";
import { startSandbox } from "../node/harness.mjs";

const VIEWS = [
  { name: "desktop", width: 1280, height: 1000, scheme: "light" },
  { name: "phone", width: 390, height: 844, scheme: "light" },
  { name: "desktop-dark", width: 1280, height: 1000, scheme: "dark" },
  { name: "phone-dark", width: 390, height: 844, scheme: "dark" },
];

let browser;
let sandbox;
let templates;

before(async () => {
  [browser, sandbox] = await Promise.all([startBrowser(), startSandbox("--speed", "1")]);
  templates = await sandbox.templates();
});

after(async () => {
  await Promise.all([browser?.close(), sandbox?.stop()]);
});

beforeEach(() => sandbox.reset());

const open = (use, options) => withPage(browser, sandbox, async (page) => {
  await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
  await use(page);
}, { path: "/__sandbox/", ...options });
const template = (name) => templates.find((each) => each.name === name);

/** Calls the API as a client does. */
async function call(path, body, name = "Product teaser") {
  const response = await fetch(`${sandbox.url}/api/custom_template_jobs/${path}`, {
    method: body ? "POST" : "GET", body: body && JSON.stringify({ template_id: template(name).template_id, variables: {}, ...body }),
    headers: { "X-API-ID": "sandbox", "X-API-KEY": "sandbox", "content-type": "application/json" },
  });
  return response.json();
}

const job = (page, name) => page.locator(".job", { hasText: name });
const figure = (page, name) => page.locator(".figures div", { has: page.getByText(name, { exact: true }) }).locator("dd");
const shows = (locator, text) => locator.filter({ hasText: text }).waitFor();

test("a job and its requests appear live, with state, progress and credits, and its video plays", () => open(async (page) => {
  await page.getByText("No job yet.").waitFor();
  await call("", { name: "Seen at once" });
  const card = job(page, "Seen at once");
  await card.waitFor();
  await page.locator("#requests tr", { hasText: "POST /api/custom_template_jobs/" }).filter({ hasText: "201" }).waitFor();
  await shows(figure(page, "Reserved"), "5");
  await shows(card.locator(".status"), "Running");
  const bar = await card.getByRole("progressbar").elementHandle();
  await page.waitForFunction((node) => node.value > 0, bar);
  await page.getByRole("button", { name: "+1 min" }).click();
  await shows(card.locator(".status"), "Done");
  await shows(figure(page, "Credits left"), "495");
  await page.locator("#charges tr", { hasText: "debited" }).waitFor();

  await card.getByRole("button", { name: "Preview of Seen at once" }).click();
  assert.equal(await card.locator("iframe").getAttribute("sandbox"), "");
  await page.frameLocator("iframe").getByText("Product teaser").first().waitFor();
  await card.getByRole("button", { name: "Video of Seen at once" }).click();
  assert.equal((await playable(card)).width, template("Product teaser").width);
  assert.equal(await card.locator("iframe").count(), 0);
  await card.getByRole("button", { name: "Video of Seen at once" }).click();
  assert.equal(await card.locator("video").count(), 0);
}));

test("duplicate charges are shown as a number, as a message and in their rows", () => open(async (page) => {
  await call("", {});
  assert.equal(await figure(page, "Duplicate charges").innerText(), "0");
  await call("", {});
  await shows(figure(page, "Duplicate charges"), "1");
  await page.getByText("the same body was sent again to submit, 2 charges for one request, 5 credits too many.").waitFor();
  assert.equal(await page.locator("#charges tr", { hasText: "duplicate" }).count(), 1);
}));

test("a fault can be switched on and off, and a custom rule can be added, is counted, and can be removed", () => open(async (page) => {
  const lost = page.getByRole("switch", { name: "Jobs fail" });
  await lost.check();
  await page.locator("#rule-list li", { hasText: "every call: fail job" }).waitFor();
  await call("", { name: "Doomed" });
  await page.getByText("matched 1, applied 1").waitFor();
  await page.getByRole("button", { name: "+1 min" }).click();
  const card = job(page, "Doomed");
  await shows(card.locator(".status"), "Failed");
  assert.ok(await card.locator(".job__reason").innerText());
  await lost.uncheck();
  await page.getByText("Nothing goes wrong.").waitFor();
  assert.deepEqual(await (await fetch(`${sandbox.url}/__sandbox/faults`)).json(), []);

  await page.getByLabel("On", { exact: true }).selectOption("get");
  await page.getByLabel("Fault", { exact: true }).selectOption("status_before_commit");
  await page.getByLabel("Times").fill("2");
  await page.getByLabel("More fields").fill("{ not json");
  await page.getByRole("button", { name: "Add the rule" }).click();
  await page.getByText("More fields are written as a JSON object").waitFor();
  await page.getByLabel("More fields").fill('{"colour": 1}');
  await page.getByRole("button", { name: "Add the rule" }).click();
  await page.getByText("unknown field `colour`").waitFor();
  await page.getByLabel("More fields").fill('{"status": 418}');
  await page.getByRole("button", { name: "Add the rule" }).click();
  await page.locator("#rule-list li", { hasText: "get: status before commit" }).waitFor();
  const faults = await (await fetch(`${sandbox.url}/__sandbox/faults`)).json();
  assert.deepEqual(faults, [{ on: "get", kind: "status_before_commit", times: 2, status: 418, seen: 0, struck: 0 }]);
  await call("00000000-0000-4000-8000-000000000000/");
  await page.locator("#requests tr", { hasText: "418" }).filter({ hasText: "status_before_commit" }).waitFor();
  await page.getByRole("button", { name: "Remove status_before_commit on get" }).click();
  await page.getByText("Nothing goes wrong.").waitFor();
}, { expected: /400/ }));

test("the clock can be advanced, and a reset needs a confirmation", () => open(async (page) => {
  await call("", { name: "Soon gone" });
  await job(page, "Soon gone").waitFor();
  const before = await page.locator("#now").innerText();
  await page.getByRole("button", { name: "+1 day" }).click();
  await page.getByText("86400 s ahead").waitFor();
  const days = (text) => Date.parse(text.replace(" UTC", "Z").replace(" ", "T")) / 86_400_000;
  assert.ok(Math.abs(days(await page.locator("#now").innerText()) - days(before) - 1) < 0.01);
  await page.getByLabel("Seconds", { exact: true }).fill("90");
  await page.getByRole("button", { name: "Move" }).click();
  await page.getByText("86490 s ahead").waitFor();
  page.once("dialog", (dialog) => dialog.dismiss());
  await page.getByRole("button", { name: "Start anew" }).click();
  assert.equal(await job(page, "Soon gone").count(), 1);
  page.once("dialog", (dialog) => dialog.accept());
  await page.getByRole("button", { name: "Start anew" }).click();
  await page.getByText("No job yet.").waitFor();
  assert.equal(await page.locator("#requests tr").count(), 0);
}));

test("webhooks and images are listed with their outcomes", () => open(async (page) => {
  const variables = { photo: { type: "image", properties: { url: "https://images.example.com/a.jpg" } } };
  await call("", { webhook_url: "http://127.0.0.1:1/hook", variables });
  await page.getByRole("button", { name: "+10 s" }).click();
  await page.locator("#webhooks tr", { hasText: "http://127.0.0.1:1/hook" }).filter({ hasText: "1 try:" }).first().waitFor();
  await page.locator("#images tr", { hasText: "https://images.example.com/a.jpg" }).filter({ hasText: "fetches nothing" }).waitFor();
}));

test("data from a client is shown as text and never as markup", () => open(async (page) => {
  const evil = "<img src=x onerror=alert(1)>";
  await call("", { name: evil });
  await page.getByRole("heading", { name: evil }).waitFor();
  await fetch(`${sandbox.url}/api/${encodeURIComponent(evil)}/`, { headers: { "X-API-ID": "sandbox", "X-API-KEY": "sandbox" } });
  await page.locator("#requests tr", { hasText: encodeURIComponent(evil) }).waitFor();
  assert.equal(await page.locator("img").count(), 0);
}));

test("faults, rules, the clock and videos work by keyboard alone, and updates do not move the focus", () => open(async (page) => {
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent);
  await call("", { name: "By keyboard" });
  await job(page, "By keyboard").waitFor();
  await page.locator(".skip").focus();
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "+10 s");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const card = job(page, "By keyboard");
  await shows(card.locator(".status"), "Done");
  assert.equal(await focused(), "+1 min", "new rows do not move the focus");
  for (const next of ["+1 h", "+1 day", "", "Move", "Start anew", "Preview of By keyboard", "Video of By keyboard"]) {
    await page.keyboard.press("Tab");
    assert.equal(await focused(), next);
  }
  await page.keyboard.press("Enter");
  await card.locator("video").waitFor();
  const lost = page.getByRole("switch").first();
  await lost.focus();
  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Remove drop_after_commit on submit" }).waitFor();
  assert.ok(await lost.evaluate((node) => node === document.activeElement && node.checked));
  await page.getByRole("button", { name: "Remove drop_after_commit on submit" }).focus();
  await page.keyboard.press("Enter");
  await page.getByText("Nothing goes wrong.").waitFor();
  assert.ok(await page.locator("#fault-on").evaluate((node) => node === document.activeElement), "the focus moves to the place of the removed rule");
}));

test("the page reports that the sandbox has stopped, and continues with a new one at its URL", async () => {
  const first = await startSandbox();
  const { port } = new URL(first.url);
  await withPage(browser, first, async (page) => {
    await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
    await first.stop();
    await page.getByText("The sandbox does not answer").waitFor();
    const second = await startSandbox("--port", port, "--credits", "77");
    try {
      await shows(figure(page, "Credits left"), "77");
    } finally {
      await second.stop();
    }
  }, { path: "/__sandbox/", expected: /ERR_|Failed to load/ });
});

test("axe finds no violation and nothing is wider than the window: empty and filled, light and dark, desktop and phone", () => open(async (page) => {
  const inEveryView = async (state) => {
    for (const view of VIEWS) {
      // A new row is highlighted for a moment, which does not count for contrast.
      await page.emulateMedia({ colorScheme: view.scheme, reducedMotion: "reduce" });
      await page.setViewportSize(view);
      assert.deepEqual(await violations(page), [], `${state}, ${view.name}`);
      assert.equal(await overflow(page), 0, `pixels wider than the window, ${state}, ${view.name}`);
      if (state === "filled") await picture(page, `${view.name}.png`);
    }
  };
  await inEveryView("empty");
  await call("", { name: "Slow Sundays", webhook_url: "http://127.0.0.1:1/hook" });
  await call("", { name: "Slow Sundays", webhook_url: "http://127.0.0.1:1/hook" });
  await call("", {}, "Always fails");
  await call("", { variables: { photo: { type: "image", properties: { url: "https://images.example.com/a.jpg" } } } }, "Weekend sale");
  await sandbox.advance(60);
  await sandbox.faults([{ on: "get", kind: "status_before_commit", status: 429, headers: { "Retry-After": "5" } }, { on: "render", kind: "stall", bytes: 20 }]);
  await call("00000000-0000-4000-8000-000000000000/");
  await call("", { name: "On its way" }, "Property tour");
  await shows(job(page, "On its way").locator(".status"), "Running");
  await job(page, "Slow Sundays").first().getByRole("button", { name: "Video of Slow Sundays" }).click();
  await playable(job(page, "Slow Sundays").first());
  await inEveryView("filled");
}));
