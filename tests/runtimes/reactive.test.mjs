// Tests of clients, jobs and updates in the reactive state of common frameworks, which wraps them in proxies.

import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import * as mobx from "mobx";
import * as valtio from "valtio/vanilla";
import * as vue from "vue";
import { html, policy, startBrowser } from "./browser.mjs";
import { packageDirectory, project, scene, startStage, tool } from "./harness.mjs";

const library = await import(pathToFileURL(join(packageDirectory, "node.js")));

let stage;
before(async () => {
  stage = await startStage();
});
after(() => stage.stop());

/** The story with all its objects kept in state that `wrap` makes. */
const kept = `async (library, { url, template }, wrap) => {
  const { TemplateJobs, text } = library;
  const options = wrap({ baseUrl: url, apiId: "sandbox", apiKey: "sandbox", dangerouslyAllowBrowser: true, journal: "memory" });
  const request = { template_id: template, variables: { title: text("Hello") } };
  const state = wrap({ jobs: new TemplateJobs(options), request });
  const { submit } = state.jobs;
  state.job = await submit(state.request);
  state.updates = state.jobs.watch(state.job);
  let last;
  for await (const { job } of state.updates) last = job;
  const { video_output, status } = await state.jobs.poll(state.job, { until: "video" });
  if (last.status !== status) throw new Error(last.status);
  return { submitted: state.job.status, status, video_output };
}`;

const frameworks = {
  vue_reactive: vue.reactive,
  vue_ref: (value) => vue.ref(value).value,
  vue_readonly: (value) => (value.jobs ? vue.reactive(value) : vue.readonly(value)),
  mobx_observable: (value) => mobx.observable(value),
};
for (const [name, wrap] of Object.entries(frameworks)) {
  test(`a_client_in_${name}_runs_a_job`, () => stage.plays(() => (0, eval)(kept)(library, stage.setting, wrap)));
}

test("a_client_in_valtio_runs_a_job", () =>
  stage.plays(async () => {
    const { url, template } = stage.setting;
    const state = valtio.proxy({ jobs: new library.TemplateJobs({ baseUrl: url, apiId: "sandbox", apiKey: "sandbox" }) });
    state.job = await state.jobs.submit({ template_id: template, variables: { title: library.text("Hello") } });
    const { status, video_output } = await state.jobs.poll(state.job, { until: "video" });
    return { submitted: state.job.status, status, video_output };
  }));

test("a_client_in_alpine_runs_a_job_in_a_page", async () => {
  const browser = await startBrowser();
  try {
    const main = `
      import Alpine from "./alpine.js";
      import * as library from "/node_modules/custom-template-jobs/web.js";
      globalThis.told = (${kept})(library, ${stage.script}, Alpine.reactive).catch(({ name, message }) => ({ name, message }));`;
    const directory = await scene("alpine", { "main.js": main, "index.html": html('<script type="module" src="./main.js"></script>') });
    await cp(tool("alpinejs/dist/module.esm.js"), join(directory, "alpine.js"));
    await stage.plays(() => browser.page(project, "alpine/index.html", policy(stage)));
  } finally {
    await browser.stop();
  }
});

test("methods_are_bound_to_their_client_and_a_subclass_may_override_them", async () => {
  class Mine extends library.TemplateJobs {
    estimate(question) {
      return super.estimate(question).then((credits) => credits + 1000);
    }
  }
  const { estimate } = new Mine();
  assert.equal(await estimate({ step: "submit", seconds: 30 }), 1005);
  assert.deepEqual(Object.keys(new Mine()), []);
});
