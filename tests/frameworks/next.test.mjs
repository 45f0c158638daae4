// Tests of the package in Next.js without configuration, with webpack and Turbopack: on the server, at the edge and in a page.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startStage } from "../runtimes/harness.mjs";
import { STORY, heldToTheTable, pins, project, run, serve, stage, told, visit, works } from "./harness.mjs";

// Its jobs take as long as they do in life until the clock is moved, so that they are polled more than once.
const slow = await startStage("--speed", "1");
after(() => slow.stop());

/** A page that plays once it is in the browser, by a function of this file. */
const page = (file) => `
  "use client";
  import { useEffect } from "react";
  import { play } from "${file}";
  export default function Page() {
    useEffect(() => {
      globalThis.told ??= play();
    }, []);
    return <p>Hello</p>;
  }`;

/** Waits for a job by polls, of which the first shows no video. */
const waits = `
  import { TemplateJobs, text } from "custom-template-jobs";
  export async function wait() {
    const jobs = new TemplateJobs({ baseUrl: "${slow.url}", apiId: "sandbox", apiKey: "sandbox" });
    const request = { template_id: "${slow.setting.template}", variables: { title: text("Hello") } };
    const { status } = await jobs.submit(request).wait({ maxInterval: 1_000 });
    return { status };
  }`;

const waiting = (options) => `
  import { wait } from "../wait.mjs";
  ${options}
  export default async function Page() {
    return <pre id="told">{JSON.stringify(await wait().catch(({ name, message }) => ({ name, message })))}</pre>;
  }`;

const files = {
  "app/story.mjs": STORY,
  "app/play.mjs": `
    import * as library from "custom-template-jobs";
    import { story } from "./story.mjs";
    export const play = () => story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));`,
  "app/layout.jsx": `
    export default function Layout({ children }) {
      return <html><head><link rel="icon" href="data:," /></head><body>{children}</body></html>;
    }`,
  // It does not say that it is dynamic: what it fetches does.
  "app/server/page.jsx": `
    import { play } from "../play.mjs";
    export default async function Page() {
      return <pre id="told">{JSON.stringify(await play())}</pre>;
    }`,
  "app/action/act.js": '"use server";\nimport * as own from "../play.mjs";\nexport const play = async () => own.play();',
  "app/action/page.jsx": page("./act.js"),
  "app/client/page.jsx": page("../play.mjs"),
  "app/node/route.js": 'import { play } from "../play.mjs";\nexport const dynamic = "force-dynamic";\nexport const GET = async () => Response.json(await play());',
  "app/edge/route.js": 'import { play } from "../play.mjs";\nexport const runtime = "edge";\nexport const GET = async () => Response.json(await play());',
  "app/wait.mjs": waits,
  "app/waiting/page.jsx": waiting('export const dynamic = "force-dynamic";'),
  "app/waiting-edge/page.jsx": waiting('export const runtime = "edge";\nexport const revalidate = 60;\nexport const fetchCache = "default-cache";'),
  "app/waiting-route/route.js": `
    import { wait } from "../wait.mjs";
    export const runtime = "edge";
    export const GET = async () => Response.json(await wait().catch(({ name, message }) => ({ name, message })));`,
};

/** What a server component left in the page's HTML. */
async function rendered(url) {
  const html = await (await fetch(url)).text();
  const [, json] = /<pre id="told">(.*?)<\/pre>/.exec(html) ?? assert.fail(html);
  return JSON.parse(json.replaceAll("&quot;", '"'));
}

/** Has the server wait for a job until it ends, for which each poll has to reach the provider. */
async function polls(url, ask) {
  await slow.reset();
  const asked = ask(url);
  const patience = AbortSignal.timeout(60_000);
  const reads = async () => (await slow.requests()).filter(({ method }) => method === "GET").length;
  while ((await reads()) < 2) await sleep(100, undefined, { signal: patience });
  await slow.advance(600);
  assert.deepEqual(await asked, { status: "done" });
}

/** The bundlers of each version. */
const BUNDLERS = {
  14: { webpack: { build: ["build"], dev: ["dev"] }, Turbopack: { dev: ["dev", "--turbo"] } },
  16: { webpack: { build: ["build", "--webpack"], dev: ["dev", "--webpack"] }, Turbopack: { build: ["build"], dev: ["dev"] } },
};

for (const [version, dependencies] of pins("next")) {
  const plays = (directory, args, how) =>
    serve(directory, "next", [...args, "-p", "{port}"], { ready: "/client" }, async (address) => {
      // While developing, Next.js serves what a page loads under the name that it prints, and no other.
      const url = address.replace("127.0.0.1", "localhost");
      await works("Next.js", version, `server component, ${how}`, () => rendered(`${url}/server`));
      await works("Next.js", version, `server action, ${how}`, () => visit(`${url}/action`));
      await works("Next.js", version, `route in Node, ${how}`, () => told(`${url}/node`));
      await works("Next.js", version, `route at the edge, ${how}`, () => told(`${url}/edge`));
      await works("Next.js", version, `client component, ${how}`, () => visit(`${url}/client`));
      await polls(`${url}/waiting`, rendered);
      await polls(`${url}/waiting-edge`, rendered);
      await polls(`${url}/waiting-route`, told);
    });

  for (const [bundler, { build, dev }] of Object.entries(BUNDLERS[version])) {
    const made = () => project(`next-${version}-${bundler.toLowerCase()}`, { dependencies, files, manifest: { type: undefined } });

    if (build) {
      test(`next_${version}_builds_it_with_${bundler}_and_charges_nothing_meanwhile`, async () => {
        const directory = await made();
        await stage.reset();
        await run(directory, "next", build);
        assert.deepEqual((await stage.ledger()).charges, []);
        await plays(directory, ["start"], `${bundler} build`);
      });
    }

    test(`next_${version}_serves_it_with_${bundler}_while_developing`, async () => {
      await plays(await made(), dev, `${bundler} dev`);
    });
  }
}

heldToTheTable(import.meta.url);
