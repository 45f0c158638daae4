// A status read with ky.
import ky from "ky";

export function client(base) {
  const jobs = ky.create();
  return () => jobs.get(`${base}/api/custom_template_jobs/3c90c3cc-0d44-4b50-8888-8dd25736052a/`).json();
}
