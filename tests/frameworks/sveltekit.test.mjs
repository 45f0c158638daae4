// Tests of the package in SvelteKit's pages and server routes without configuration: in development, and built for Node and for
// Vercel, whose function runs from a copy of the deployed files.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { STORY, elsewhere, heldToTheTable, pins, project, run, serve, stage, told, visit, works } from "./harness.mjs";

const PAGE = "page";
const ROUTE = "`+server.js`";

const files = (adapter) => ({
  "svelte.config.js": `import adapter from "@sveltejs/adapter-${adapter}";\nexport default { kit: { adapter: adapter() } };`,
  "vite.config.js": 'import { sveltekit } from "@sveltejs/kit/vite";\nexport default { plugins: [sveltekit()] };',
  "src/app.html": "<!doctype html><head>%sveltekit.head%</head><body><div>%sveltekit.body%</div></body>",
  "src/lib/story.js": STORY,
  "src/routes/+page.svelte": `
    <script>
      import { onMount } from "svelte";
      import * as library from "custom-template-jobs";
      import { story } from "$lib/story.js";
      onMount(() => {
        globalThis.told = story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));
      });
    </script>
    <p>Hello</p>`,
  "src/routes/server/+server.js": `
    import { json } from "@sveltejs/kit";
    import * as library from "custom-template-jobs";
    import { story } from "$lib/story.js";
    export const GET = async () => json(await story(library, ${stage.script}).catch(({ name, message }) => ({ name, message })));`,
});

/** What Vercel does with the output: it serves the static files, and has the function answer what is none of them. */
const VERCEL = `
  import { readFile, writeFile } from "node:fs/promises";
  import { createServer } from "node:http";
  import { pathToFileURL } from "node:url";
  const { handler } = JSON.parse(await readFile("functions/index.func/.vc-config.json", "utf8"));
  const { default: entry } = await import(pathToFileURL("functions/index.func/" + handler));
  const types = { js: "text/javascript", wasm: "application/wasm" };
  createServer(async ({ url }, response) => {
    const file = await readFile("static" + url).catch(() => undefined);
    if (file) return response.writeHead(200, { "content-type": types[url.split(".").at(-1)] }).end(file);
    const answer = await entry.fetch(new Request("http://127.0.0.1:" + process.env.PORT + url, { headers: { "x-forwarded-for": "127.0.0.1" } }));
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  }).listen(process.env.PORT, "127.0.0.1");`;

for (const [version, dependencies] of pins("sveltekit")) {
  const made = (adapter) => project(`sveltekit-${version}-${adapter}`, { dependencies, files: files(adapter) });

  test(`sveltekit_${version}_serves_it_while_developing`, async () => {
    const at = ["dev", "--host", "127.0.0.1", "--port", "{port}", "--strictPort"];
    await serve(await made("node"), "vite", at, {}, async (url) => {
      await works("SvelteKit", version, `${PAGE}, dev`, () => visit(url));
      await works("SvelteKit", version, `${ROUTE}, dev`, () => told(`${url}/server`));
    });
  });

  test(`sveltekit_${version}_builds_it_for_node`, async () => {
    const directory = await made("node");
    await run(directory, "vite", ["build"]);
    await serve(directory, "node", ["build"], {}, async (url) => {
      await works("SvelteKit", version, `${PAGE}, adapter-node`, () => visit(url));
      await works("SvelteKit", version, `${ROUTE}, adapter-node`, () => told(`${url}/server`));
    });
  });

  test(`sveltekit_${version}_bundles_it_for_node_where_it_is_a_development_dependency`, async () => {
    const directory = await made("node");
    const manifest = await readFile(join(directory, "package.json"), "utf8");
    await writeFile(join(directory, "package.json"), manifest.replace('"dependencies"', '"devDependencies"'));
    await run(directory, "vite", ["build"]);
    const output = await elsewhere(join(directory, "build"));
    await writeFile(join(output, "package.json"), '{ "type": "module" }');
    await serve(output, "node", ["index.js"], {}, async (url) => {
      await stage.plays(() => visit(url));
      await stage.plays(() => told(`${url}/server`));
    });
  });

  test(`sveltekit_${version}_builds_it_for_vercel`, async () => {
    const directory = await made("vercel");
    await run(directory, "vite", ["build"]);
    const output = await elsewhere(join(directory, ".vercel/output"));
    await serve(output, "node", ["--input-type=module", "--eval", VERCEL], {}, async (url) => {
      await works("SvelteKit", version, `${PAGE}, adapter-vercel`, () => visit(url));
      await works("SvelteKit", version, `${ROUTE}, adapter-vercel`, () => told(`${url}/server`));
    });
  });
}

heldToTheTable(import.meta.url);
