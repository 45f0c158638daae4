// From a form to a video. The page has no key; the relay adds it.

import { TemplateJobs, defineTemplate, image, text } from "custom-template-jobs";

const teaser = defineTemplate("7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0001", { headline: text, offer: text, product_image: image });
const jobs = new TemplateJobs({ relay: "/relay" });
const [form, bar, player] = ["form", "progress", "video"].map((name) => document.querySelector(name));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const values = Object.fromEntries(new FormData(form));
  const onUpdate = (_, { progress }) => (bar.value = progress ?? 0);
  const video = await jobs.submit(teaser(values)).wait({ onUpdate });
  player.src = video.video_output;
});
