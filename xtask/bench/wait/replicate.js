// How a prediction is waited for with Replicate's client.
import Replicate from "replicate";

export const dialect = "replicate";
export const waits = {
  async replicate(base) {
    const client = new Replicate({ auth: "token", baseUrl: base });
    await client.wait(await client.predictions.create({ version: "version", input: {} }), {});
  },
};
