// A page that submits a job to fal through a relay and polls it to its end.
import { createFalClient } from "@fal-ai/client";

const client = createFalClient({ proxyUrl: "/relay" });

export function run(input, onQueueUpdate) {
  return client.subscribe("owner/model", { input, onQueueUpdate });
}
