// Tests of a page and a worker in each version of Vite without configuration: in development, and built.

import { test } from "node:test";
import { PAGE_AND_WORKER, heldToTheTable, pins, project, run, serve, stage, visit, withoutTheWasm, works } from "./harness.mjs";

const files = {
  "index.html": '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/src/index.js"></script>',
  ...PAGE_AND_WORKER,
};

async function plays(version, how, url) {
  await works("Vite", version, how, () => visit(url));
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
    await serve(directory, "vite", ["preview", ...at], {}, async (url) => {
      await plays(version, "build", url);
      await withoutTheWasm(directory);
      await stage.plays(() => visit(url));
      await stage.plays(() => visit(`${url}/?worker`));
    });
  });
}

heldToTheTable(import.meta.url);
