// The entry with the WebAssembly in the script, for bundles of one file.
import { half as first } from "./custom_template_jobs_bg.base64.1.js";
import { half as second } from "./custom_template_jobs_bg.base64.2.js";
import { decode, use } from "./loading.js";

const bytes = () => decode(first, second);

// Cloudflare Workers compile bytes at startup only, if at all. Otherwise the first call rejects with the cause.
let module;
try {
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers") module = new WebAssembly.Module(bytes());
} catch {}
use(() => module ?? bytes());

export * from "./client.js";
