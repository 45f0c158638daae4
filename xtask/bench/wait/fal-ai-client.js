// A poll of fal's client, redirected by its middleware.
import { createFalClient } from "@fal-ai/client";

export const dialect = "fal";
export const waits = {
  fal: (base) => abortable(base),
};

/** A poll that a signal aborts. */
export async function abortable(base, abortSignal) {
  const requestMiddleware = async (request) => ({ ...request, url: `${base}/status` });
  const fal = createFalClient({ credentials: "key", suppressLocalCredentialsWarning: true, requestMiddleware });
  const { request_id: requestId } = await fal.queue.submit("owner/model", { input: {} });
  await fal.queue.subscribeToStatus("owner/model", { requestId, abortSignal });
}
