// Decides whether a page of each version of Vite works with no configuration: while developing, and built.

import { test } from "node:test";
import { STORY, heldToTheTable, pins, project, run, serve, stage, visit, works } from "./harness.mjs";

// One page for both, as Vite builds what `index.html` leads to.
const files = {
  "index.html": '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/main.js"></script>',
  "main.js": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    const inWorker = () => new Promise((told) => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      worker.onmessage = ({ data }) => told(data);
      worker.onerror = ({ message }) => told({ message });
    });
    const inPage = () => story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));
    globalThis.told = location.search === "?worker" ? inWorker() : inPage();`,
  "worker.js": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    story(library, ${stage.script}).catch(({ name, message }) => ({ name, message })).then((end) => postMessage(end));`,
  "story.js": STORY,
};

async function plays(version, how, url) {
  await works("Vite", version, `page, ${how}`, () => visit(url));
  await works("Vite", version, `worker, ${how}`, () => visit(`${url}/?worker`));
}

for (const [version, dependencies] of pins("vite")) {
  const at = ["--host", "127.0.0.1", "--port", "{port}", "--strictPort"];

  test(`vite_${version}_serves_it_while_developing`, async () => {
    const directory = await project(`vite-${version}`, { dependencies, files });
    await serve(directory, "vite", at, {}, (url) => plays(version, "dev server", url));
  });

  test(`vite_${version}_builds_it`, async () => {
    const directory = await project(`vite-${version}`, { dependencies, files });
    await run(directory, "vite", ["build"]);
    await serve(directory, "vite", ["preview", ...at], {}, (url) => plays(version, "build", url));
  });
}

heldToTheTable(import.meta.url);
