// A page that creates a prediction at Replicate and polls it to its end.
import Replicate from "replicate";

const client = new Replicate({ auth: "token", baseUrl: "/relay" });

export async function run(input) {
  return client.wait(await client.predictions.create({ version: "version", input }), {});
}
