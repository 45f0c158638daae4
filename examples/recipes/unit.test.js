// A unit test of code that makes videos, without network or account: `fetch` returns fixed responses.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TemplateJobs, defineTemplate, text } from "custom-template-jobs";

const greeting = defineTemplate("3c90c3cc-0d44-4b50-8888-8dd25736052a", { title: text });
const greet = (jobs, name) => jobs.submit(greeting({ title: `Hi ${name}` })).wait();

test("a greeting ends with its video", async () => {
  const sent = [];
  const job = { id: "7c1f0b1e-9f5e-4f39-9d53-5b3f1f6f2a11", status: "done", video_output: "https://cdn.test/hi.mp4" };
  const fetch = async (url, { method, body }) => (sent.push({ method, body }), Response.json(job));
  const jobs = new TemplateJobs({ baseUrl: "https://api.test", journal: "memory", fetch });
  assert.equal((await greet(jobs, "Ada")).video_output, job.video_output);
  assert.deepEqual(JSON.parse(sent[0].body).variables, { title: text("Hi Ada") });
});
