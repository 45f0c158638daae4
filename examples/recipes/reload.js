// Resumes every open job after a reload or a crash, or in another tab.

import { TemplateJobs } from "custom-template-jobs";

const jobs = new TemplateJobs({ relay: "/relay" });

export async function takeUp(show, report) {
  for (const open of await jobs.pending()) {
    const result = jobs.resume(open).wait();
    result.then((job) => show(open.metadata, job), (error) => report(open.metadata, error));
  }
}
