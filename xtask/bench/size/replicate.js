// What a page bundles to create a prediction at Replicate and wait for its end.
import Replicate from "replicate";

const client = new Replicate({ auth: "token", baseUrl: "/relay" });

export async function run(input) {
  return client.wait(await client.predictions.create({ version: "version", input }), {});
}
