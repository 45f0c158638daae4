// A poll of OpenAI's client.
import OpenAI from "openai";

export const dialect = "openai";
export const waits = {
  openai: (base) => abortable(base),
};

/** A poll that a signal aborts. */
export async function abortable(base, signal) {
  const client = new OpenAI({ apiKey: "key", baseURL: base });
  await client.vectorStores.fileBatches.createAndPoll("store", { file_ids: [] }, { signal });
}
