// Measures the time from a library's import to its first request, as the server sees it: in new processes of Node and new pages of
// Chromium, with an empty and with a full HTTP cache, each library in turn.
//
// Both moments are on one clock. In Node that is the machine's monotonic clock, read by both processes. A page requests `/begin`
// and then imports: the time runs from the server's answer to that until the call arrives.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { LIBRARIES, bundle, entry, noTimes, startBrowser, summary, turns } from "./harness.mjs";
import { serve } from "./server.mjs";

const PROCESSES = 30;
const PAGES = 15;
const FIRST_CALL = fileURLToPath(new URL("first-call.mjs", import.meta.url));
const files = process.argv[2];

const log = [];
const server = await serve({ files, onCall: (what, at) => log.push({ what, at }) });
const milliseconds = (from, to) => Number(to - from) / 1e6;

async function inProcess(library) {
  log.length = 0;
  const { stdout } = await promisify(execFile)(process.execPath, [FIRST_CALL, pathToFileURL(entry(library)).href, server.url]);
  assert.deepEqual(log.map(({ what }) => what), ["call"], library);
  return milliseconds(BigInt(stdout), log[0].at);
}

async function inPage(context, library) {
  log.length = 0;
  const page = await context.newPage();
  await page.goto(`${server.url}/page/${library}`);
  await page.waitForFunction(() => document.title === "called");
  await page.close();
  assert.deepEqual(log.map(({ what }) => what), ["begin", "call"], library);
  return milliseconds(log[0].at, log[1].at);
}

const node = noTimes();
for (let round = -1; round < PROCESSES; round++) {
  for (const library of turns(round + 1)) {
    const time = await inProcess(library);
    // The first round reads the files from disk, and is not counted.
    if (round >= 0) node[library].push(time);
  }
}

await bundle(files);
const browser = await startBrowser();
const [empty, full] = [noTimes(), noTimes()];
for (let round = -1; round < PAGES; round++) {
  for (const library of turns(round + 1)) {
    const context = await browser.newContext();
    const first = await inPage(context, library);
    const second = await inPage(context, library);
    await context.close();
    if (round < 0) continue;
    empty[library].push(first);
    full[library].push(second);
  }
}
await browser.close();
server.stop();

console.log(JSON.stringify({
  what: `ms from import to the first request: medians of ${PROCESSES} processes and ${PAGES} pages, and how often a bare fetch`,
  libraries: LIBRARIES,
  results: { "Node": summary(node), "Chromium, nothing cached": summary(empty), "Chromium, files cached": summary(full) },
}));
