// Tests of the package in Nuxt without configuration: in development, and built and run from a copy.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { STORY, elsewhere, heldToTheTable, pins, project, run, serve, stage, told, visit, works } from "./harness.mjs";

const files = {
  // As `npm create nuxt` writes it.
  "nuxt.config.ts": 'export default defineNuxtConfig({ compatibilityDate: "2025-07-15", devtools: { enabled: true } })',
  "app/app.vue": "<template><NuxtPage /></template>",
  "shared/utils/story.mjs": STORY,
  "shared/utils/play.mjs": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.mjs";
    export const play = () => story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));`,
  "app/pages/index.vue": `
    <script setup>
    import { play } from "#shared/utils/play.mjs";
    onMounted(() => { globalThis.told = play(); });
    </script>
    <template><p>Hello</p></template>`,
  "app/pages/rendered.vue": `
    <script setup>
    import { play } from "#shared/utils/play.mjs";
    const { data } = await useAsyncData("told", play);
    </script>
    <template><pre id="told">{{ JSON.stringify(data) }}</pre></template>`,
  "server/api/job.get.js": 'import { play } from "#shared/utils/play.mjs";\nexport default defineEventHandler(play);',
};

/** What the server left in the page's HTML. */
async function rendered(url) {
  const html = await (await fetch(url)).text();
  const [, json] = /<pre id="told">(.*?)<\/pre>/.exec(html) ?? assert.fail(html);
  return JSON.parse(json.replaceAll("&quot;", '"'));
}

for (const [version, dependencies] of pins("nuxt")) {
  const made = () => project(`nuxt-${version}`, { dependencies, files });
  const plays = (directory, program, args, how) =>
    serve(directory, program, args, { env: { NITRO_HOST: "127.0.0.1" } }, async (url) => {
      await works("Nuxt", version, `page, ${how}`, () => visit(url));
      await works("Nuxt", version, `rendered on the server, ${how}`, () => rendered(`${url}/rendered`));
      await works("Nuxt", version, `server route, ${how}`, () => told(`${url}/api/job`));
    });

  test(`nuxt_${version}_serves_it_while_developing`, async () => {
    await plays(await made(), "nuxt", ["dev", "--host", "127.0.0.1", "--port", "{port}"], "dev");
  });

  test(`nuxt_${version}_builds_it`, async () => {
    const directory = await made();
    await run(directory, "nuxt", ["build"]);
    await plays(await elsewhere(join(directory, ".output")), "node", ["server/index.mjs"], "build");
  });
}

heldToTheTable(import.meta.url);
