// Polls of this client: with an expected duration, with a listener, and with neither.
import { TemplateJobs } from "custom-template-jobs";

const client = (base) => new TemplateJobs({ baseUrl: base, apiId: "id", apiKey: "key", journal: "memory" });
const submit = (jobs) => jobs.submit({ template_id: "5d7f4a1e-6c1b-4c57-9b5e-3f2b8a9c0d11", variables: {} });

async function wait(base, options) {
  const jobs = client(base);
  await jobs.poll(await submit(jobs), options);
  jobs.close();
}

export const dialect = "creatify";
export const waits = {
  "ours": { progress: true, wait: (base, { expected }) => wait(base, { expectedMs: expected }) },
  "ours, watched": { progress: true, wait: (base, { expected }) => wait(base, { expectedMs: expected, onUpdate() {} }) },
  "ours, told nothing": { progress: false, wait: (base) => wait(base) },
};

/** A poll that a signal aborts. */
export async function abortable(base, signal) {
  const jobs = client(base);
  await jobs.poll(await submit(jobs), { signal });
}
