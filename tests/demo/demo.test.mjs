// Tests of the demo page in Chromium against a sandbox, one for each property.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, beforeEach, test } from "node:test";
import {
  button, choose, newest, overflow, picture, playable, press, readmeScreenshot, startBrowser, startSandbox, status, violations, withPage,
} from "./harness.mjs";

// Most tests need fast jobs; tests of a running job need slow ones.
const FAST = ["--speed", "8", "--editor-access"];
const SLOW = ["--speed", "1", "--editor-access"];
const VIEWS = [
  { name: "desktop", width: 1280, height: 1000, scheme: "light" },
  { name: "phone", width: 390, height: 844, scheme: "light" },
  { name: "desktop-dark", width: 1280, height: 1000, scheme: "dark" },
  { name: "phone-dark", width: 390, height: 844, scheme: "dark" },
];

/** The possible texts for the time left. */
const LEFT = /^(less than a minute left|about \d to \d minutes left|several minutes left|any moment now|taking longer than expected)$/;

let browser;
let sandbox;
let slow;
let templates;
let short;

before(async () => {
  [browser, sandbox, slow] = await Promise.all([startBrowser(), startSandbox(...FAST), startSandbox(...SLOW)]);
  templates = await sandbox.templates();
  [short] = byLength(templates.filter(({ behaviour }) => behaviour === "done"));
});

after(async () => {
  await Promise.all([browser?.close(), sandbox?.stop(), slow?.stop()]);
});

beforeEach(async () => {
  await Promise.all([sandbox, slow].map(async (each) => {
    await each.reset();
    await each.faults([]);
  }));
});

const open = (use, options) => withPage(browser, sandbox, use, options);
const ending = (behaviour) => templates.find((template) => template.behaviour === behaviour);
const byLength = (list) => list.toSorted((a, b) => a.duration_seconds - b.duration_seconds);
const firstText = (template) => template.variables.find(({ type }) => type === "text");
const charges = async () => (await sandbox.ledger()).charges;

test("a preview shows the text of the form, and its render is a video that plays", () => open(async (page) => {
  const words = "Written by the test & <b>shown</b> as text";
  await choose(page, short);
  await page.getByLabel(firstText(short).label, { exact: true }).fill(words);
  await page.getByLabel("Name of the video").fill("My first video");
  assert.match(await page.locator("#credits").innerText(), /\d+ credits left/);
  const price = page.locator(".price");
  await price.getByText(/credit/).first().waitFor();

  const card = await press(page, "Preview");
  await status(card, "Done");
  await page.frameLocator("iframe").getByText(words).first().waitFor();
  const frame = card.locator("iframe");
  assert.equal(await frame.getAttribute("sandbox"), "");
  assert.equal(await frame.getAttribute("referrerpolicy"), "no-referrer");
  assert.equal(await frame.getAttribute("title"), "Preview of My first video");
  assert.equal(await card.locator("video").count(), 0);

  await button(card, "Render").click();
  const video = await playable(card);
  await status(card, "Done");
  assert.deepEqual([video.width, video.height], [short.width, short.height]);
  assert.ok(Math.abs(video.duration - short.duration_seconds) < 0.5, `the video lasts ${video.duration} s`);
  assert.equal(await button(card, "Render").count(), 0);
  assert.match(await card.innerText(), /credits used/);
  assert.ok(await card.getByRole("link", { name: "Download" }).getAttribute("href"));
  assert.ok(await card.getByRole("link", { name: "Open in the editor" }).getAttribute("href"));
  assert.deepEqual((await charges()).map(({ step }) => step), ["preview", "render"]);
}));

test("submit goes straight to the video", () => open(async (page) => {
  await choose(page, short);
  const card = await press(page, "Submit");
  const video = await playable(card);
  assert.deepEqual([video.width, video.height], [short.width, short.height]);
  assert.deepEqual((await charges()).map(({ step }) => step), ["submit"]);
}));

test("a job runs to its video while the browser reports offline", () => open(async (page) => {
  assert.equal(await page.evaluate(() => navigator.onLine), false);
  await choose(page, short);
  await playable(await press(page, "Submit"));
  assert.deepEqual((await charges()).map(({ step }) => step), ["submit"]);
}, { before: (page) => page.addInitScript(() => Object.defineProperty(navigator, "onLine", { value: false })) }));

test("a running job shows its status, its progress and its time", () => withPage(browser, slow, async (page) => {
  await choose(page, byLength(templates).at(-1));
  const card = await press(page, "Submit");
  await status(card, "Running");
  const bar = await card.getByRole("progressbar").elementHandle();
  await page.waitForFunction((node) => Number(node.getAttribute("aria-valuenow")) > 0, bar);
  await card.locator(".card__left", { hasText: LEFT }).waitFor();
  assert.match(await card.locator(".card__line").innerText(), /^Making the video · \d+:\d\d\s+\S/);
  await playable(card);
  await bar.waitForElementState("hidden");
}));

test("the time left is a text that is announced once per change, and the clock is not announced", () => withPage(browser, slow, async (page) => {
  await page.evaluate(() => {
    globalThis.observed = { clock: [], words: [], aloud: [] };
    new MutationObserver(() => {
      const [clock, words] = document.querySelectorAll(".card__line span");
      for (const [name, node] of Object.entries({ clock, words, aloud: document.getElementById("announcer") })) {
        if (node && observed[name].at(-1) !== node.textContent) observed[name].push(node.textContent);
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await choose(page, byLength(templates).at(-1));
  await playable(await press(page, "Submit"));
  const { clock, words, aloud } = await page.evaluate(() => observed);
  const shownWords = words.filter((each) => each !== "");
  assert.ok(shownWords.length > 0 && shownWords.every((each) => LEFT.test(each)), JSON.stringify(words));
  assert.ok(clock.length > 4 * words.length, `${clock.length} times and ${JSON.stringify(words)}`);
  assert.deepEqual(aloud.filter((each) => shownWords.some((those) => each.endsWith(`, ${those}`))).length, shownWords.length, JSON.stringify(aloud));
  assert.deepEqual(aloud.filter((each) => /\d:\d\d/.test(each)), []);
}));

test("only https and the page's own addresses are safe, and none that carries credentials", () => open(async (page) => {
  const host = new URL(sandbox.url).host;
  const judge = (urls) => page.evaluate(async (list) => {
    const { safeUrl } = await import("/safe-url.js");
    return list.map(safeUrl);
  }, urls);
  const safe = ["https://cdn.example/a.mp4?b=c#d", `${sandbox.url}/videos/a.mp4`];
  assert.deepEqual(await judge(safe), safe);
  assert.deepEqual(await judge(["/videos/a.mp4"]), [`${sandbox.url}/videos/a.mp4`]);
  const refused = [
    null, undefined, 7, {}, "", "  ", "javascript:alert(1)", " java\nscript:alert(1)", "data:text/html,x", `blob:${sandbox.url}/a`, "file:///etc/passwd",
    "http://cdn.example/a.mp4", "//cdn.example/a.mp4", "https://user:word@cdn.example/a.mp4", `http://user@${host}/a.mp4`, "https://", "ftp://cdn.example/a",
  ];
  assert.deepEqual(await judge(refused), refused.map(() => null));
}));

for (const [behaviour, word] of [["failed", "Failed"], ["rejected", "Rejected"]]) {
  test(`a job that ends as ${behaviour} shows the reason, and the page stays usable`, () => open(async (page) => {
    await choose(page, ending(behaviour));
    const card = await press(page, "Preview");
    await status(card, word);
    const { charges: [{ job_id: id }] } = await sandbox.ledger();
    const job = await (await fetch(`${sandbox.url}/relay/api/custom_template_jobs/${id}/`)).json();
    assert.ok(job.failed_reason);
    await card.getByText(job.failed_reason).waitFor();
    assert.match(await card.innerText(), /JobFailedError/);
    await choose(page, short);
    await status(await press(page, "Preview"), "Done");
  }));
}

test("a reload during a job finds the job, and it ends", () => open(async (page) => {
  await choose(page, short);
  const finished = await press(page, "Preview");
  await status(finished, "Done");
  await choose(page, ending("failed"));
  await status(await press(page, "Preview"), "Failed");
  await choose(page, short);
  await page.getByLabel("Name of the video").fill("Seen after the reload");
  await press(page, "Submit");
  await page.reload();

  const cards = page.locator(".card");
  await page.waitForFunction(() => document.querySelectorAll(".card").length === 3);
  const running = cards.filter({ hasText: "Seen after the reload" });
  await playable(running);
  await status(running, "Done");
  await status(cards.nth(1), "Failed");
  await status(cards.nth(2), "Done");
  await cards.nth(2).locator("iframe").waitFor();
  await button(cards.nth(2), "Render").waitFor();
  assert.equal((await charges()).length, 3);
}));

test("a job missing from the page's storage is found in the journal, and a dismissed one stays away", () => open(async (page) => {
  await choose(page, short);
  await press(page, "Submit");
  await page.evaluate(() => localStorage.clear());
  await page.reload();
  await playable(newest(page));
  await newest(page).getByText("Job of an earlier visit").waitFor();
  assert.doesNotMatch(await newest(page).innerText(), /NaN|undefined/);
  await page.getByRole("button", { name: /^Dismiss/ }).click();
  await page.reload();
  await button(page, "Preview").waitFor();
  await page.locator("#empty").waitFor();
  assert.equal((await charges()).length, 1);
}));

test("a job that the server no longer has is reported as gone, and can be dismissed", () => open(async (page) => {
  await choose(page, short);
  await press(page, "Preview");
  await sandbox.reset();
  await page.reload();
  await status(newest(page), "Gone");
  await page.getByRole("button", { name: /^Dismiss/ }).click();
  await page.locator("#empty").waitFor();
  await page.reload();
  await button(page, "Preview").waitFor();
  assert.equal(await page.locator(".card").count(), 0);
}, { expected: /404/ }));

test("a double click is one charge", () => open(async (page) => {
  const posts = [];
  page.on("request", (request) => {
    if (request.method() === "POST") posts.push(request.url());
  });
  await choose(page, short);
  await button(page, "Preview").dblclick();
  await status(newest(page), "Done");
  await button(newest(page), "Render").dblclick();
  await playable(newest(page));
  assert.equal(posts.length, 2);
  const ledger = await sandbox.ledger();
  assert.deepEqual(ledger.charges.map(({ step }) => step), ["preview", "render"]);
  assert.deepEqual(ledger.duplicates, []);
}));

test("the keyboard alone chooses a template and starts a job", () => open(async (page) => {
  await button(page, "Preview").waitFor();
  const focused = () => page.evaluate(() => document.activeElement.value || document.activeElement.textContent);
  await page.getByRole("radio", { name: templates[0].name }).focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await focused(), templates[1].template_id);
  const outline = await page.locator(".template", { has: page.locator(":focus-visible") }).evaluate((node) => getComputedStyle(node).outlineStyle);
  assert.equal(outline, "solid");
  // The variables, the model and the name are between the template and the first button.
  for (let i = 0; i < templates[1].variables.length + 3; i += 1) await page.keyboard.press("Tab");
  assert.equal(await focused(), "Preview");
  await page.keyboard.press("Enter");
  await page.locator('.card:not([data-phase="sending"])').waitFor();
  assert.equal(await focused(), "Preview");
  await status(newest(page), "Done");

  await button(newest(page), "Render").focus();
  await page.keyboard.press("Enter");
  await playable(newest(page));
  assert.equal(await focused(), templates[1].name, "the focus stays on the template's card");
  await page.getByRole("button", { name: /^Dismiss/ }).focus();
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "Jobs", "the focus moves to the heading above the removed card");
}));

test("an invalid field shows its error, and nothing is sent", () => open(async (page) => {
  const template = templates.find(({ variables }) => variables.some(({ type }) => type === "image"));
  await choose(page, template);
  const picture = page.getByLabel(template.variables.find(({ type }) => type === "image").label);
  for (const wrong of ["", "not an address", "javascript:alert(1)"]) {
    await picture.fill(wrong);
    await button(page, "Preview").click();
    assert.equal(await picture.getAttribute("aria-invalid"), "true", wrong);
    assert.ok(await picture.evaluate((node) => node === document.activeElement));
  }
  await picture.fill("https://example.com/picture.png");
  const name = page.getByLabel("Name of the video");
  await name.fill("n".repeat(256));
  await page.getByText("256 / 255").waitFor();
  await button(page, "Preview").click();
  await page.getByText("A name has at most 255 characters.").waitFor();
  assert.deepEqual(await charges(), []);
  await name.fill("n".repeat(255));
  await status(await press(page, "Preview"), "Done");
}));

test("a text of 10 MB is refused with a message, and the page stays usable", () => open(async (page) => {
  await choose(page, short);
  const text = page.getByLabel(firstText(short).label, { exact: true });
  await text.evaluate((input) => {
    input.value = "x".repeat(10_000_000);
    input.dispatchEvent(new Event("input"));
  });
  await button(page, "Preview").click();
  const alert = page.locator(".composer__failure .notice");
  await alert.waitFor();
  assert.match(await alert.innerText(), /ApiError 413/);
  assert.deepEqual(await charges(), []);
  await text.fill("Short enough");
  await status(await press(page, "Preview"), "Done");
}, { expected: /413/ }));

test("an HTML page as the answer leaves the charge unknown, and a check settles it", () => open(async (page) => {
  await sandbox.faults([{ on: "preview_async", kind: "html", times: 1 }]);
  await choose(page, short);
  const card = await press(page, "Preview");
  await status(card, "Unknown");
  assert.match(await card.innerText(), /ChargeUnknownError/);
  await button(card, "Look again").click();
  await status(card, "Not charged");
  assert.deepEqual(await charges(), []);
  await status(await press(page, "Preview"), "Done");
}));

test("a lost answer is settled by a check, and charged once", () => open(async (page) => {
  await sandbox.faults([{ on: "submit", kind: "status_after_commit", status: 502, times: 1 }]);
  await choose(page, short);
  const card = await press(page, "Submit");
  await status(card, "Unknown");
  await page.reload();
  await status(card, "Unknown");
  await button(card, "Look again").click();
  await playable(card);
  assert.equal((await charges()).length, 1);
}, { expected: /502/ }));

test("an HTML page in place of the balance or a poll does not stop the page", () => open(async (page) => {
  await choose(page, short);
  await sandbox.faults([{ on: "credits", kind: "html", times: 1 }, { on: "get", kind: "html", times: 2 }]);
  await status(await press(page, "Preview"), "Done");
}));

test("an unknown template is refused with a message", () => open(async (page) => {
  const unknown = templates.find(({ behaviour }) => behaviour === "done");
  await choose(page, unknown);
  await button(page, "Preview").click();
  const alert = page.locator(".composer__failure .notice");
  await alert.waitFor();
  assert.match(await alert.innerText(), /ApiError 40\d/);
  assert.equal(await page.locator(".card").count(), 0);
  await choose(page, ending("failed"));
  assert.equal(await alert.count(), 0);
  await status(await press(page, "Preview"), "Failed");
}, {
  expected: /40\d/,
  before: (page) => page.route("**/__sandbox/templates", async (route) => {
    const list = await (await route.fetch()).json();
    for (const template of list) {
      if (template.behaviour === "done") template.template_id = `ffff${template.template_id.slice(4)}`;
    }
    await route.fulfill({ json: list });
  }),
}));

test("too few credits are shown in advance and refused with a message, and the page stays usable", async () => {
  const poor = await startSandbox(...FAST, "--credits", "2");
  try {
    await withPage(browser, poor, async (page) => {
      await choose(page, short);
      await page.getByText("Submit asks for more than the 2 credits left.").waitFor();
      await button(page, "Submit").click();
      const alert = page.locator(".composer__failure .notice");
      await alert.waitFor();
      assert.match(await alert.innerText(), /Not enough credits\s+ApiError/);
      assert.deepEqual((await poor.ledger()).charges, []);
      const card = await press(page, "Preview");
      await status(card, "Done");
      await button(card, "Render").click();
      await card.locator(".notice").waitFor();
      assert.match(await card.innerText(), /Not enough credits/);
      await button(card, "Render").waitFor();
      await card.locator("iframe").waitFor();
    }, { expected: /40\d/ });
  } finally {
    await poor.stop();
  }
});

test("an unreachable server is reported, and Try again loads the page", () => open(async (page) => {
  const banner = page.locator("#banner");
  await banner.getByText("ConnectionError").waitFor();
  assert.deepEqual(await violations(page), []);
  await page.unroute(/relay|__sandbox/);
  await button(banner, "Try again").click();
  await choose(page, short);
  assert.equal(await banner.locator(".notice").count(), 0);
  await status(await press(page, "Preview"), "Done");
}, { expected: /ERR_FAILED/, before: (page) => page.route(/relay|__sandbox/, (route) => route.abort()) }));

test("without the sandbox's own routes the variables are entered as JSON", () => open(async (page) => {
  await choose(page, short);
  const json = page.getByLabel("Variables as JSON");
  await json.fill("{ not json");
  await button(page, "Preview").click();
  assert.equal(await json.getAttribute("aria-invalid"), "true");
  const values = short.variables.map(({ name, type, default: value }) => {
    const property = { text: "content", avatar: "avatar_id", voiceover: "voice_id" }[type] ?? "url";
    return [name, { type, properties: { [property]: value } }];
  });
  await json.fill(JSON.stringify(Object.fromEntries(values)));
  await page.getByLabel("Length of the video in seconds").fill("31");
  await page.getByText("2 credits", { exact: true }).waitFor();
  assert.deepEqual(await violations(page), []);
  await status(await press(page, "Preview"), "Done");
  await button(newest(page), "Render").click();
  await playable(newest(page));
}, { expected: /404/, before: (page) => page.route("**/__sandbox/**", (route) => route.fulfill({ status: 404, body: "" })) }));

test("a URL that is not safe never reaches the page", () => open(async (page) => {
  const hostile = {
    preview: "javascript:alert(1)//preview", video_output: " javascript:alert(1)//video", editor_url: "http://elsewhere.example/editor",
  };
  await page.route(/relay\/api\/custom_template_jobs\/[0-9a-f-]{36}\/$/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), ...hostile, status: "done" } });
  });
  await choose(page, short);
  const card = await press(page, "Submit");
  await card.getByText("An address was refused").waitFor();
  const urls = await page.evaluate(() => [...document.querySelectorAll("[src], [href]")].map((node) => node.getAttribute("src") ?? node.getAttribute("href")));
  assert.deepEqual(urls.filter((url) => /javascript|elsewhere/.test(url)), []);
  assert.equal(await card.locator("video, iframe").count(), 0);
}));

test("no word of a template's name is broken, on a desktop and on a phone", () => open(async (page) => {
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 900 });
    const broken = await page.locator(".template__name").evaluateAll((names) => names.flatMap(({ firstChild }) =>
      [...firstChild.data.matchAll(/\S+/g)].filter(({ 0: word, index }) => {
        const range = new Range();
        range.setStart(firstChild, index);
        range.setEnd(firstChild, index + word.length);
        return range.getClientRects().length > 1;
      }).map(([word]) => word)));
    assert.deepEqual(broken, [], `at ${width} px`);
  }
}));

test("axe finds no violation and nothing is wider than the window: empty and filled, light and dark, desktop and phone", () => withPage(browser, slow, async (page) => {
  await button(page, "Preview").waitFor();
  await inEveryView(page, async (view) => {
    assert.deepEqual(await violations(page), [], `empty, ${view.name}`);
  });

  await choose(page, ending("failed"));
  const failed = await press(page, "Preview");
  await choose(page, templates.find(({ aspect_ratio: ratio, behaviour }) => ratio === "16:9" && behaviour === "done"));
  const video = await press(page, "Submit");
  await choose(page, short);
  await page.getByLabel(firstText(short).label, { exact: true }).fill("Slow Sundays");
  const preview = await press(page, "Preview");
  await status(failed, "Failed");
  await status(preview, "Done");
  await page.frameLocator("iframe").getByText("Slow Sundays").first().waitFor();
  await playable(video);
  await seek(video);
  await choose(page, byLength(templates).at(-1));
  const running = await press(page, "Submit");
  await choose(page, short);
  await status(running, "Running");
  await page.waitForFunction((node) => node.hasAttribute("aria-valuenow"), await running.getByRole("progressbar").elementHandle());
  await running.locator(".card__left", { hasText: LEFT }).waitFor();
  await inEveryView(page, async (view) => {
    assert.deepEqual(await violations(page), [], `filled, ${view.name}`);
    await photograph(page, view);
  });
}));

async function inEveryView(page, check) {
  for (const view of VIEWS) {
    await page.emulateMedia({ colorScheme: view.scheme });
    await page.setViewportSize(view);
    await check(view);
    assert.equal(await overflow(page), 0, `pixels wider than the window, ${view.name}`);
  }
}

async function seek(card) {
  await card.locator("video").evaluate((video) => new Promise((resolve) => {
    video.addEventListener("seeked", resolve, { once: true });
    video.currentTime = Math.min(2, video.duration / 2);
  }));
}

async function photograph(page, view) {
  await picture(page, `${view.name}-full.png`);
  const png = await picture(page, `${view.name}.png`, view.height);
  if (process.env.UPDATE_SCREENSHOT && view.name === "desktop") {
    assert.ok(png.length < 300_000, `the screenshot has ${png.length} bytes`);
    await writeFile(readmeScreenshot, png);
  }
}
