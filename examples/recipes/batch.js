// A video for each row of a CSV file, five at once, within a budget. If the process is killed, run it again: it continues, and
// pays for no row twice.

import { readFile } from "node:fs/promises";
import { parse } from "csv-parse/sync";
import pMap from "p-map";
import { TemplateJobs, TemplateJobsError, defineTemplate, text } from "custom-template-jobs";
import { fileJournal } from "custom-template-jobs/file-journal";

const { CREATIFY_URL: baseUrl, CREATIFY_ID: apiId, CREATIFY_KEY: apiKey, TEMPLATE } = process.env;
const greeting = defineTemplate(TEMPLATE, { title: text }, { seconds: 15 });
const jobs = new TemplateJobs({ baseUrl, apiId, apiKey, journal: fileJournal("./jobs"), maxCredits: 300, budgetKey: "campaign-7" });
const rows = parse(await readFile("rows.csv"), { columns: true });

await pMap(rows, async ({ id, name }) => {
  try {
    const charge = { operation: `campaign-7:${id}`, metadata: { row: id } };
    const video = await jobs.submit(greeting({ title: `Hi ${name}` }), charge).wait();
    console.log(id, video.video_output);
  } catch (error) {
    if (!(error instanceof TemplateJobsError)) throw error;
    console.error(id, error.name, error.charged, error.remedy);
  }
}, { concurrency: 5 });
