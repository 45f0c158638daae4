// What a page bundles to start a job of OpenAI's that is polled to its end.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: "key", baseURL: "/relay", dangerouslyAllowBrowser: true });

export function run(store, file_ids) {
  return client.vectorStores.fileBatches.createAndPoll(store, { file_ids });
}
