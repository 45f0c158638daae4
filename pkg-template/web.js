// The entry for pages and their workers. Loads the .wasm beside it on first use; where something else is there, scripts that carry it.
import { decode, use } from "./loading.js";

async function carried() {
  const scripts = await Promise.all([import("./custom_template_jobs_bg.base64.1.js"), import("./custom_template_jobs_bg.base64.2.js")]);
  return decode(...scripts.map(({ half }) => half));
}
use(() => new URL("./custom_template_jobs_bg.wasm", import.meta.url), { carried });

export * from "./client.js";
