import { TemplateJobs } from "custom-template-jobs";
import { takeUp } from "../reload.js";
import { request } from "../request.js";

const output = document.querySelector("output");
if (location.hash) {
  takeUp((metadata, job) => (output.value = `${metadata.form} ${job.status}`), console.error);
} else {
  await new TemplateJobs({ relay: "/relay" }).submit(request, { metadata: { form: "spring" } });
  output.value = "submitted";
}
