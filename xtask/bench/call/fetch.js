// A status read with a bare `fetch`, the baseline.

export function client(base) {
  return () => fetch(`${base}/api/custom_template_jobs/3c90c3cc-0d44-4b50-8888-8dd25736052a/`).then((answer) => answer.json());
}
