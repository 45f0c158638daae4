// Tests of the package in Astro's pages and endpoints without configuration: in development, and built for Node.

import { test } from "node:test";
import { STORY, heldToTheTable, pins, project, run, serve, stage, told, visit, works } from "./harness.mjs";

const files = {
  // Node's adapter is what an endpoint on a server of one's own needs, in Astro's own words.
  "astro.config.mjs": 'import node from "@astrojs/node";\nexport default { adapter: node({ mode: "standalone" }) };',
  "src/story.js": STORY,
  "src/pages/index.astro": `
<html><head><link rel="icon" href="data:,"></head><body>
<script>
  import * as library from "custom-template-jobs";
  import { story } from "../story.js";
  globalThis.told = story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));
</script>
</body></html>`,
  "src/pages/server.js": `
    import * as library from "custom-template-jobs";
    import { story } from "../story.js";
    export const prerender = false;
    export const GET = async () =>
      Response.json(await story(library, ${stage.script}).catch(({ name, message }) => ({ name, message })));`,
};

for (const [version, dependencies] of pins("astro")) {
  const made = () => project(`astro-${version}`, { dependencies, files });
  const plays = (directory, program, args, when) =>
    serve(directory, program, args, {}, async (url) => {
      await works("Astro", version, `page, ${when}`, () => visit(url));
      await works("Astro", version, `endpoint, ${when}`, () => told(`${url}/server`));
    });

  test(`astro_${version}_serves_it_while_developing`, async () => {
    await plays(await made(), "astro", ["dev", "--host", "127.0.0.1", "--port", "{port}"], "dev");
  });

  test(`astro_${version}_builds_it`, async () => {
    const directory = await made();
    await run(directory, "astro", ["build"]);
    await plays(directory, "node", ["dist/server/entry.mjs"], "build");
  });
}

heldToTheTable(import.meta.url);
