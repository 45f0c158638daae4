// Measures the overhead of a library: a status read over loopback on an open connection, beside a bare fetch, in Node and in
// Chromium, each library in turn.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath, pathToFileURL } from "node:url";
import { LIBRARIES, bundle, entry, noTimes, startBrowser, summary, turns } from "./harness.mjs";
import { serve } from "./server.mjs";

const WARM_UP = 500;
const CALLS = { node: 4_000, chromium: 1_000 };
const files = process.argv[2];

/** A server in a process of its own, so that its work is not counted. */
async function startServer() {
  const child = spawn(process.execPath, [fileURLToPath(new URL("server.mjs", import.meta.url))], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(child.stdout, "data");
  return { url: String(line).trim(), stop: () => child.kill() };
}

async function inNode() {
  const server = await startServer();
  const calls = {};
  for (const library of LIBRARIES) calls[library] = (await import(pathToFileURL(entry(library)))).client(server.url);
  const times = noTimes();
  for (let round = -WARM_UP; round < CALLS.node; round++) {
    for (const library of turns(round + WARM_UP)) {
      const begun = performance.now();
      await calls[library]();
      if (round >= 0) times[library].push(performance.now() - begun);
    }
  }
  server.stop();
  return summary(times);
}

async function inChromium() {
  await bundle(files);
  const server = await serve({ files });
  const browser = await startBrowser();
  const page = await browser.newPage();
  await page.goto(`${server.url}/page/${LIBRARIES[0]}`);
  const schedule = Array.from({ length: WARM_UP + CALLS.chromium }, (_, round) => turns(round));
  const times = await page.evaluate(async ([libraries, rounds, warmUp]) => {
    const [calls, found] = [{}, {}];
    for (const library of libraries) {
      calls[library] = (await import(`/${library}.js`)).client(location.origin);
      found[library] = [];
    }
    for (const [round, order] of rounds.entries()) {
      for (const library of order) {
        const begun = performance.now();
        await calls[library]();
        if (round >= warmUp) found[library].push(performance.now() - begun);
      }
    }
    return found;
  }, [LIBRARIES, schedule, WARM_UP]);
  await browser.close();
  server.stop();
  return summary(times);
}

const results = { "Node": await inNode(), "Chromium": await inChromium() };
console.log(JSON.stringify({
  what: `ms of one status read over loopback: medians of ${CALLS.node} calls in Node and ${CALLS.chromium} in Chromium, after ${WARM_UP} each, and how often a bare fetch`,
  libraries: LIBRARIES,
  results,
}));
process.exit();
