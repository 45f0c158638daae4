// How one thing that is paid for is asked of fal's client, which goes where its middleware says: a job in the queue.
import { createFalClient } from "@fal-ai/client";

export function client({ url, fetch }) {
  const requestMiddleware = async (request) => ({ ...request, url: `${url}/submit` });
  const fal = createFalClient({ credentials: "key", suppressLocalCredentialsWarning: true, requestMiddleware, fetch });
  return () => fal.queue.submit("owner/model", { input: { prompt: "Slow Sundays" } });
}
