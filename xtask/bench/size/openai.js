// A page that starts a job of OpenAI's and polls it to its end.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: "key", baseURL: "/relay", dangerouslyAllowBrowser: true });

export function run(store, file_ids) {
  return client.vectorStores.fileBatches.createAndPoll(store, { file_ids });
}
