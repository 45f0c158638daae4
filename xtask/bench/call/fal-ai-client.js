// A status read with fal's client, redirected by its middleware.
import { createFalClient } from "@fal-ai/client";

export function client(base) {
  const requestMiddleware = async (request) => ({ ...request, url: `${base}/status` });
  const fal = createFalClient({ credentials: "key", suppressLocalCredentialsWarning: true, requestMiddleware });
  return () => fal.queue.status("owner/model", { requestId: "3c90c3cc-0d44-4b50-8888-8dd25736052a" });
}
