// Tests of the package in React Router's framework mode without configuration: a loader on the server, a component in the page.

import { test } from "node:test";
import { STORY, heldToTheTable, pins, project, run, serve, stage, told, visit, works } from "./harness.mjs";

const files = {
  "vite.config.js": 'import { reactRouter } from "@react-router/dev/vite";\nexport default { plugins: [reactRouter()] };',
  "app/story.js": STORY,
  "app/routes.js": `
    import { index, route } from "@react-router/dev/routes";
    export default [index("page.jsx"), route("loader", "loader.jsx"), route("resource", "resource.js")];`,
  "app/root.jsx": `
    import { Links, Meta, Outlet, Scripts } from "react-router";
    export default function Root() {
      return <html><head><link rel="icon" href="data:," /><Meta /><Links /></head><body><Outlet /><Scripts /></body></html>;
    }`,
  "app/page.jsx": `
    import { useEffect } from "react";
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    export default function Page() {
      useEffect(() => {
        globalThis.told ??= story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));
      }, []);
      return <p>Hello</p>;
    }`,
  "app/loader.jsx": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    export const loader = () => story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));
    export default function Loader({ loaderData }) {
      return <script id="told" type="application/json" dangerouslySetInnerHTML={{ __html: JSON.stringify(loaderData) }} />;
    }`,
  "app/resource.js": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.js";
    export const loader = async () =>
      Response.json(await story(library, ${stage.script}).catch(({ name, message }) => ({ name, message })));`,
};

/** What the loader left in the page's HTML. */
async function rendered(url) {
  const html = await (await fetch(url)).text();
  return JSON.parse(/<script id="told"[^>]*>(.*?)<\/script>/.exec(html)?.[1] ?? JSON.stringify({ html }));
}

for (const [version, dependencies] of pins("react-router")) {
  const made = () => project(`react-router-${version}`, { dependencies, files });
  const plays = (directory, program, args, options, when) =>
    serve(directory, program, args, options, async (url) => {
      await works("React Router", version, `component, ${when}`, () => visit(url));
      await works("React Router", version, `loader, ${when}`, () => rendered(`${url}/loader`));
      await works("React Router", version, `resource route, ${when}`, () => told(`${url}/resource`));
    });

  test(`react_router_${version}_serves_it_while_developing`, async () => {
    await plays(await made(), "react-router", ["dev", "--host", "127.0.0.1", "--port", "{port}"], {}, "dev");
  });

  test(`react_router_${version}_builds_it`, async () => {
    const directory = await made();
    await run(directory, "react-router", ["build"]);
    await plays(directory, "react-router-serve", ["build/server/index.js"], { env: { NODE_ENV: "production" } }, "build");
  });
}

heldToTheTable(import.meta.url);
