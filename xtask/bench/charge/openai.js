// A charging call of OpenAI's client: an image.
import OpenAI from "openai";

export function client({ url, fetch, timeout }) {
  const openai = new OpenAI({ apiKey: "key", baseURL: url, fetch, timeout });
  return () => openai.images.generate({ model: "gpt-image-1", prompt: "Slow Sundays" });
}
