// Helpers of the benches: the libraries, their pages, a browser, and statistics.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../chromium.mjs";
import { build } from "vite";

/** The baseline, then the libraries that are compared with it. */
export const BARE = "fetch";
export const LIBRARIES = [BARE, "custom-template-jobs", "ky", "fal-ai-client"];

/** A library's script that requests a job's status. */
export const entry = (library) => fileURLToPath(new URL(`../../xtask/bench/call/${library}.js`, import.meta.url));

/** One turn of each library, starting with another one each round, so that other load on the machine affects all alike. */
export const turns = (round) => LIBRARIES.map((_, at) => LIBRARIES[(round + at) % LIBRARIES.length]);

/** The median. */
export const median = (times) => quantile(times, 0.5);

/** Times by library, in milliseconds. */
export const noTimes = () => Object.fromEntries(LIBRARIES.map((library) => [library, []]));

function quantile(times, part) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * part;
  const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return below + (above - below) * (at % 1);
}

/**
 * The median of each library in milliseconds and its ratio to a bare fetch, and the same for the first tenth, which means more on
 * a busy machine.
 */
export function summary(times) {
  const of = (library, part) => {
    const ms = quantile(times[library], part);
    return { ms, ratio: ms / quantile(times[BARE], part) };
  };
  return Object.fromEntries(LIBRARIES.map((library) => [library, { ...of(library, 0.5), tenth: of(library, 0.1) }]));
}

/** Bundles each library's script as for production. */
export async function bundle(outDir) {
  await build({
    root: join(entry(BARE), ".."), base: "./", configFile: false, logLevel: "error",
    build: {
      outDir, emptyOutDir: true,
      rollupOptions: {
        input: Object.fromEntries(LIBRARIES.map((library) => [library, entry(library)])),
        preserveEntrySignatures: "strict", output: { entryFileNames: "[name].js" },
      },
    },
  });
}

export const startBrowser = () =>
  chromium.launch(CHROMIUM);
