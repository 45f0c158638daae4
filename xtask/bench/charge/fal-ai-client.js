// A charging call of fal's client, redirected by its middleware: a job in the queue.
import { createFalClient } from "@fal-ai/client";

export function client({ url, fetch }) {
  const requestMiddleware = async (request) => ({ ...request, url: `${url}/submit` });
  const fal = createFalClient({ credentials: "key", suppressLocalCredentialsWarning: true, requestMiddleware, fetch });
  return () => fal.queue.submit("owner/model", { input: { prompt: "Slow Sundays" } });
}
