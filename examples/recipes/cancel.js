// A button that ends the wait. The provider cannot cancel a job, so a paid job continues and can be resumed.

import { TemplateJobs } from "custom-template-jobs";

const jobs = new TemplateJobs({ relay: "/relay" });

export async function cancellable(request, button) {
  const controller = new AbortController();
  button.addEventListener("click", () => controller.abort(), { once: true });
  const charge = jobs.submit(request, { signal: controller.signal });
  try {
    return await charge.wait();
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    return { resume: () => jobs.resume(charge.operation).wait() };
  }
}
