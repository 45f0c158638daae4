// Helpers of the page tests: Chromium, a server with a Content-Security-Policy, and pages that run the story.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../chromium.mjs";
import { PATIENCE } from "./harness.mjs";
import { major, seen } from "./seen.mjs";

export const html = (script) => `<!doctype html><meta charset="utf-8"><title>story</title><link rel="icon" href="data:,">${script}`;

/** A script that runs the story and leaves its result where {@link visit} reads it. */
export const telling = (entry, stage) => `
  import * as library from "${entry}";
  import { story } from "./story.mjs";
  globalThis.told = story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));`;

/** Only the page's own scripts, and no code from strings; `wasm` is the source that WebAssembly needs. */
export const policy = (stage, wasm = "'wasm-unsafe-eval'") =>
  `default-src 'self'; img-src data:; script-src 'self' ${wasm}; connect-src 'self' ${stage.url}`;

/** Additionally, no string as a script or its URL. */
export const strictest = (stage, wasm) => `${policy(stage, wasm)}; require-trusted-types-for 'script'; trusted-types 'none'`;

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/**
 * Serves a directory while `use` has its URL. `policies` has a policy for each file that needs another than `"*"`.
 * `instead` may answer a request: it receives the file's path, and returns a status, a type and a body, or nothing.
 */
export async function serving(directory, policies, use, instead = () => undefined) {
  const server = createServer(async ({ url }, response) => {
    const file = normalize(new URL(url, "http://localhost").pathname);
    const found = async () => {
      const body = await readFile(join(directory, file)).catch(() => undefined);
      return { status: body ? 200 : 404, type: TYPES[extname(file)] ?? "text/plain", body };
    };
    const { status, type, body } = instead(file) ?? (await found());
    const contentSecurityPolicy = policies[file] ?? policies["*"];
    response.writeHead(status, { "content-type": type, "content-security-policy": contentSecurityPolicy });
    response.end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    return await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

export async function startBrowser() {
  const browser = await chromium.launch({
    ...CHROMIUM,
    timeout: PATIENCE,
  });
  /** The result of the page at a URL. */
  const visit = async (url) => {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      page.setDefaultTimeout(PATIENCE);
      const errors = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      await page.goto(url, { timeout: PATIENCE });
      // A development server may reload the page before the story runs.
      const end = await (await page.waitForFunction(() => globalThis.told)).jsonValue();
      assert.deepEqual(errors, []);
      return end;
    } finally {
      await context.close();
    }
  };
  return {
    visit,
    /** The result of a page in a directory. `policies` is one policy for all files, or has one for each. */
    page(directory, path, policies) {
      const all = typeof policies === "string" ? { "*": policies } : policies;
      return serving(directory, all, (url) => visit(`${url}/${path}`));
    },
    /** Records that Chromium ran an entry. */
    ran: (entry, how) => seen("Chromium", major(browser.version()), entry, how, { machine: true }),
    stop: () => browser.close(),
  };
}
