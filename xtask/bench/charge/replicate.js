// A charging call of Replicate's client: a prediction.
import Replicate from "replicate";

export function client({ url, fetch }) {
  const replicate = new Replicate({ auth: "token", baseUrl: url, fetch });
  return () => replicate.predictions.create({ version: "version", input: { prompt: "Slow Sundays" } });
}
