// What a page bundles to submit a job to fal and wait for its end, through a relay of its own.
import { createFalClient } from "@fal-ai/client";

const client = createFalClient({ proxyUrl: "/relay" });

export function run(input, onQueueUpdate) {
  return client.subscribe("owner/model", { input, onQueueUpdate });
}
