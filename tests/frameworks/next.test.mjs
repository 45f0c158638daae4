// Tests of the package in Next.js without configuration, with webpack and Turbopack: on the server, at the edge and in a page.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
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

/** A video behind a login: all that a user of the package writes. Its route is closed without the cookie that `login` sets. */
const RELAY = {
  // Otherwise Next.js redirects each call to its path without the last slash.
  "next.config.mjs": "export default { skipTrailingSlashRedirect: true };",
  "app/login/route.js": `
    import { cookies } from "next/headers";
    export async function GET() {
      (await cookies()).set("session", "ada", { httpOnly: true, sameSite: "lax" });
      return new Response("Welcome");
    }`,
  "app/relay/[...path]/route.js": `
    import { createRelay, fileStore } from "custom-template-jobs/relay";
    import { cookies } from "next/headers";
    const relay = createRelay(() => ({
      apiId: process.env.CREATIFY_ID,
      apiKey: process.env.CREATIFY_KEY,
      baseUrl: process.env.CREATIFY_URL,
      authorize: async () => {
        const session = (await cookies()).get("session");
        return session ? { id: session.value } : null;
      },
      templates: { "${stage.setting.template}": { seconds: 15 } },
      store: fileStore("./relay-store"),
      limits: { maxCredits: 100, budgetPeriod: "month" },
    }));
    export const GET = (request) => relay.fetch(request);
    export const POST = GET;`,
  "app/video/page.jsx": `
    "use client";
    import { useState } from "react";
    import { TemplateJobs, text } from "custom-template-jobs";
    export default function Page() {
      const [video, setVideo] = useState();
      async function make() {
        const jobs = new TemplateJobs({ relay: "/relay" });
        const request = { template_id: "${stage.setting.template}", variables: { title: text("Hello") } };
        const { video_output } = await jobs.submit(request, { operation: "order 7" }).wait();
        setVideo(video_output);
      }
      return video ? <video src={video} controls /> : <button onClick={make}>Make the video</button>;
    }`,
};

/** The same page, which clicks by itself once the browser is logged in, and gives the video to the test. */
const CLICKS = {
  "app/watched/page.jsx": `
    "use client";
    import { useEffect } from "react";
    import Page from "../video/page.jsx";
    async function click() {
      await fetch("/login");
      for (const _ of [1, 2]) document.querySelector("button")?.click();
      for (;;) {
        const video = document.querySelector("video");
        if (video) return { video: video.src };
        await new Promise(requestAnimationFrame);
      }
    }
    export default function Watched() {
      useEffect(() => {
        globalThis.told ??= click();
      }, []);
      return <Page />;
    }`,
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

test("a_video_behind_a_login_takes_under_40_lines_of_the_user", () => {
  const lines = Object.values(RELAY).flatMap((file) => file.split("\n")).filter((line) => line.trim());
  assert.ok(lines.length < 40, `${lines.length} lines`);
});

for (const [version, dependencies] of pins("next")) {
  /** A page behind a login makes one video by the relay, and nobody else is let in. */
  const relays = async (directory, args) => {
    await rm(join(directory, "relay-store"), { recursive: true, force: true });
    const env = { CREATIFY_ID: "sandbox", CREATIFY_KEY: "sandbox", CREATIFY_URL: stage.url };
    return serve(directory, "next", [...args, "-p", "{port}"], { env, ready: "/login" }, async (address) => {
      const url = address.replace("127.0.0.1", "localhost");
      await stage.reset();
      assert.equal((await fetch(`${url}/relay/api/custom_templates/`)).status, 401);
      const { video } = await visit(`${url}/watched`);
      assert.match(video, /^http/);
      const headers = { cookie: "session=ada" };
      const operation = await told(`${url}/relay/operations?key=order%207`, { headers });
      assert.equal(operation.state, "bound");
      assert.equal((await fetch(`${url}/relay/api/custom_template_jobs/${operation.job_id}/`, { headers: { cookie: "session=bob" } })).status, 404);
      assert.equal((await stage.ledger()).charges.length, 1);
    });
  };

  const { build, dev } = Object.values(BUNDLERS[version]).findLast(({ build }) => build);
  test(`next_${version}_relays_the_jobs_of_a_page_behind_a_login`, async () => {
    const directory = await project(`next-${version}-relay`, { dependencies, files: { "app/layout.jsx": files["app/layout.jsx"], ...RELAY, ...CLICKS }, manifest: { type: undefined } });
    await run(directory, "next", build);
    await relays(directory, ["start"]);
    await relays(directory, dev);
  });

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
