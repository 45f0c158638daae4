// A poll of Replicate's client.
import Replicate from "replicate";

export const dialect = "replicate";
export const waits = {
  async replicate(base) {
    const client = new Replicate({ auth: "token", baseUrl: base });
    await client.wait(await client.predictions.create({ version: "version", input: {} }), {});
  },
};

/** A poll that a signal aborts. */
export async function abortable(base, signal) {
  const client = new Replicate({ auth: "token", baseUrl: base });
  await client.run("owner/model:version", { input: {}, wait: { mode: "poll" }, signal });
}
