// What the benches share: the libraries, their pages, a browser, and how many times make one figure.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../chromium.mjs";
import { build } from "vite";

/** What the others are measured by, then the others. */
export const BARE = "fetch";
export const LIBRARIES = [BARE, "custom-template-jobs", "ky", "fal-ai-client"];

/** The script that asks for a job's status with a library. */
export const entry = (library) => fileURLToPath(new URL(`../../xtask/bench/call/${library}.js`, import.meta.url));

/** One turn of each library, beginning with another one each round: what the machine does besides meets all of them. */
export const turns = (round) => LIBRARIES.map((_, at) => LIBRARIES[(round + at) % LIBRARIES.length]);

/** The middle of some times. */
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
 * The median of each library, in milliseconds, and how often it holds that of a bare fetch; and the same of the first
 * tenth, which says more where the machine is busy with something else.
 */
export function summary(times) {
  const of = (library, part) => {
    const ms = quantile(times[library], part);
    return { ms, ratio: ms / quantile(times[BARE], part) };
  };
  return Object.fromEntries(LIBRARIES.map((library) => [library, { ...of(library, 0.5), tenth: of(library, 0.1) }]));
}

/** Bundles each library's script as a page in production has it, one beside the other. */
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
