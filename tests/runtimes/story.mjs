// The story that every runtime runs: a job is submitted and polled until its video is there.

export async function story({ TemplateJobs, text }, { url, template, ...options }) {
  const jobs = new TemplateJobs({ baseUrl: url, apiId: "sandbox", apiKey: "sandbox", dangerouslyAllowBrowser: true, ...options });
  const job = await jobs.submit({ template_id: template, variables: { title: text("Hello") } });
  const { status, video_output } = await jobs.poll(job, { until: "video", expectedMs: 1_000, maxInterval: 1_000 });
  jobs.close();
  return { submitted: job.status, status, video_output };
}
