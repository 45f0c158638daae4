// A cheap preview first, and the video after somebody has approved it.

import { TemplateJobs, defineTemplate, image, text } from "custom-template-jobs";

const teaser = defineTemplate("7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0001", { headline: text, offer: text, product_image: image });
const jobs = new TemplateJobs({ relay: "/relay" });

export async function approve(values, iframe, button, player) {
  const preview = await jobs.preview(teaser(values));
  iframe.src = preview.preview;
  await new Promise((approved) => button.addEventListener("click", approved, { once: true }));
  const video = await jobs.render(preview).wait();
  player.src = video.video_output;
}
