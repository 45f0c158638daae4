// Tests of learned durations in three browser engines: a reload keeps them for the next job.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PLAIN, engines, page, project, startBrowser, startStage } from "./harness.mjs";

const TEMPLATES = ["3c90c3cc-0d44-4b50-8888-8dd25736052a", "99999999-0d44-4b50-8888-8dd25736052a"];

const browsers = {};
let stage;
before(async () => {
  stage = await startStage("--www", project);
  for (const engine of engines) browsers[engine] = await startBrowser(engine);
});
after(async () => {
  for (const browser of Object.values(browsers)) await browser.quit();
  await stage?.stop();
});

/** A page with the default journal, whose jobs are done at the first poll or never. */
const learning = `
  import { TemplateJobs } from "${PLAIN}";
  let done;
  let id;
  const fetch = async (url, { method }) => {
    if (method === "POST") id = crypto.randomUUID();
    return new Response(JSON.stringify({ id, status: method === "POST" || !done ? "running" : "done", video_output: done && "https://cdn.test/v" }));
  };
  const jobs = new TemplateJobs({ baseUrl: "/relay", fetch });
  window.acts = {
    learn: async (template_id) => {
      done = true;
      await jobs.poll(await jobs.submit({ template_id, variables: {} }), { maxInterval: 1_500 });
    },
    poll: async (template_id) => {
      done = false;
      const job = await jobs.submit({ template_id, variables: {} });
      const begun = performance.now();
      let given;
      for await (const { job: seen, nextPollMs } of jobs.watch(job)) {
        given ??= seen;
        // The first poll returns another object.
        if (seen !== given) return { first: performance.now() - begun, next: nextPollMs };
      }
    },
  };`;

for (const engine of engines) {
  test(`in_${engine}_a_job_after_a_reload_is_polled_by_the_learned_duration`, async () => {
    const browser = browsers[engine];
    await browser.visit(`${stage.url}/${await page(`learning-${engine}`, learning)}`);
    const [known, other] = TEMPLATES;
    await browser.act("learn", known);
    await browser.reload();
    const learned = await browser.act("poll", known);
    const blind = await browser.act("poll", other);
    assert.ok(learned.first < 2_800 && blind.first > 4_000, `${learned.first} and ${blind.first} ms until the first poll`);
    assert.ok(learned.next < 3_000 && blind.next > 4_000, `${learned.next} and ${blind.next} ms until the next one`);
    assert.deepEqual(await browser.errors(), []);
  });
}
