// Decides whether a page of each version of Vite works with no configuration: while developing, and built.

import { test } from "node:test";
import { STORY, heldToTheTable, pins, project, run, serve, stage, visit, works } from "./harness.mjs";

const files = {
  "index.html": '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/main.js"></script>',
  "main.js": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    globalThis.told = story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));`,
  "story.js": STORY,
};

for (const [version, dependencies] of pins("vite")) {
  const at = ["--host", "127.0.0.1", "--port", "{port}", "--strictPort"];

  test(`vite_${version}_serves_it_while_developing`, async () => {
    const directory = await project(`vite-${version}`, { dependencies, files });
    await serve(directory, "vite", at, {}, (url) => works("Vite", version, "dev server", () => visit(url)));
  });

  test(`vite_${version}_builds_it`, async () => {
    const directory = await project(`vite-${version}`, { dependencies, files });
    await run(directory, "vite", ["build"]);
    await serve(directory, "vite", ["preview", ...at], {}, (url) => works("Vite", version, "build", () => visit(url)));
  });
}

heldToTheTable(import.meta.url);
