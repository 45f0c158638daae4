// A status read with this client.
import { TemplateJobs } from "custom-template-jobs";

export function client(base) {
  const jobs = new TemplateJobs({ baseUrl: base, journal: "memory" });
  return () => jobs.get("3c90c3cc-0d44-4b50-8888-8dd25736052a");
}
