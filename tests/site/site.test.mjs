// The built site: its links, its accessibility, its width and what it loads, in Chromium.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { access, mkdir, readFile, readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../chromium.mjs";
import { startSandbox } from "../node/harness.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const site = process.env.SITE_DIR ?? fileURLToPath(new URL("../../target/site", import.meta.url));
const screenshots = process.env.SCREENSHOT_DIR ?? fileURLToPath(new URL("../../target/screenshots/site", import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const LOOKS = [["desktop", 1280, 900], ["phone", 390, 844]].flatMap(([name, width, height]) => ["light", "dark"].map((scheme) => ({ name: `${name}-${scheme}`, width, height, scheme })));

/** The pages that VitePress made; the Rust reference is rustdoc's. */
const pages = (await readdir(site, { recursive: true })).filter((file) => file.endsWith(".html") && !file.startsWith("rust/") && file !== "404.html").sort();
const REFERENCE = ["js/index.html", "js/index/classes/TemplateJobs.html", "js/index/interfaces/ChargeOptions.html"];
/** Every guide and some of the JavaScript reference; of these, some have a part of each kind and are looked at closely. */
const seen = pages.filter((file) => !file.startsWith("js/")).concat(REFERENCE);
const close = ["index.html", "page.html", "faults.html", ...REFERENCE];

let browser;
let server;
before(async () => {
  [browser, server] = await Promise.all([chromium.launch(CHROMIUM), startSandbox("--www", site)]);
  await mkdir(screenshots, { recursive: true });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const decoded = (text) => decodeURIComponent(text.replaceAll("&amp;", "&"));
const idsOf = (html) => new Set([...html.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => decoded(id)));

test("every_link_inside_the_site_leads_to_a_page_and_to_an_anchor_on_it", async () => {
  assert.ok(pages.length > 60, `only ${pages.length} pages`);
  const html = new Map(await Promise.all(pages.map(async (file) => [file, await readFile(join(site, file), "utf8")])));
  const wrong = [];
  for (const [file, text] of html) {
    for (const [, href] of text.matchAll(/<a\b[^>]*?\bhref="([^"]+)"/g)) {
      const [, path] = /^https:\/\/github\.com\/custom-template-jobs\/custom-template-jobs\/blob\/main\/([^#]*)/.exec(href) ?? [];
      if (path && !existsSync(join(root, path))) wrong.push(`${file}: ${href}`);
      if (/^[a-z]+:/.test(href)) continue;
      const { pathname, hash } = new URL(href.replaceAll("&amp;", "&"), `http://site/${file}`);
      const target = decoded(pathname.slice(1) + (pathname.endsWith("/") ? "index.html" : ""));
      const exists = await access(join(site, target)).then(() => true, () => false);
      const anchored = !hash || !html.has(target) || idsOf(html.get(target)).has(decoded(hash.slice(1)));
      if (!exists || !anchored) wrong.push(`${file}: ${href}`);
    }
  }
  assert.deepEqual([...new Set(wrong)], []);
});

test("every_link_of_the_readme_and_of_llms_txt_leads_to_a_file_and_to_a_heading_in_it", async () => {
  const slug = (heading) => heading.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-");
  const wrong = [];
  for (const [file, base] of [["README.md", root], ["docs/llms.txt", root], ["pkg-template/README.md", join(root, "pkg-template")]]) {
    const text = await readFile(join(root, file), "utf8");
    for (const [, path, anchor] of text.matchAll(/(?:\]\(|\bsrc(?:set)?=")([^)#\s"]+)(?:#([^)]+))?[)"]/g)) {
      if (/^[a-z]+:/.test(path)) continue;
      const target = await readFile(join(base, path), "utf8").catch(({ code }) => (code === "EISDIR" ? "" : undefined));
      const headings = [...(target ?? "").matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading));
      if (target === undefined || (anchor && !headings.includes(anchor))) wrong.push(`${file}: ${path}${anchor ? `#${anchor}` : ""}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("every_guide_is_in_llms_txt_and_in_the_sidebar", async () => {
  const list = await readFile(join(site, "llms.txt"), "utf8");
  const home = await readFile(join(site, "index.html"), "utf8");
  const guides = (await readdir(join(site, "docs"))).filter((file) => file.endsWith(".md"));
  assert.ok(guides.length > 15);
  assert.deepEqual(guides.filter((file) => !list.includes(`(docs/${file})`)), []);
  assert.deepEqual(guides.filter((file) => file !== "index.md" && !home.includes(`href="/${file.replace(/md$/, "html")}"`)), []);
});

/** What is wrong with a page, in lines. `closely` runs axe and takes a picture. */
async function wrongWith(page, file, look, closely) {
  const wrong = [];
  const report = (what) => wrong.push(`${file}: ${what}`);
  const listeners = {
    pageerror: (error) => report(error),
    console: (message) => message.type() === "error" && report(message.text()),
    request: (request) => request.url().startsWith("http") && !request.url().startsWith(server.url) && report(`loads ${request.url()}`),
  };
  for (const [name, listener] of Object.entries(listeners)) page.on(name, listener);
  await page.goto(`${server.url}/${file}`);
  await page.evaluate(() => document.fonts.ready);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wider > 0) report(`${wider} pixels wider than the window`);
  if (closely) {
    await page.evaluate(axe);
    const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document));
    if (passes.length < 15) report(`axe ran only ${passes.length} rules`);
    for (const { id, nodes } of violations) report(`${id}: ${nodes.map(({ html }) => html.slice(0, 140)).slice(0, 3).join(" | ")}`);
    await page.screenshot({ path: join(screenshots, `${look.name}-${file.replaceAll("/", "-")}.png`) });
  }
  for (const [name, listener] of Object.entries(listeners)) page.off(name, listener);
  return wrong;
}

for (const look of LOOKS) {
  test(`axe_finds_nothing_and_no_page_is_wider_than_the_window_on_a_${look.name}`, async () => {
    const context = await browser.newContext({ viewport: look, colorScheme: look.scheme });
    const page = await context.newPage();
    const wrong = [];
    for (const file of seen) wrong.push(...(await wrongWith(page, file, look, close.includes(file) || look === LOOKS[0])));
    await context.close();
    assert.deepEqual(wrong, []);
  });
}
