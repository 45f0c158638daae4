// The entry for one single file: the WebAssembly is in the script.
import { half as first } from "./custom_template_jobs_bg.base64.1.js";
import { half as second } from "./custom_template_jobs_bg.base64.2.js";
import { decode, use } from "./loading.js";

const bytes = () => decode(first, second);

// Cloudflare's workers compile bytes only while they start, if at all; if not, the first call says why.
let module;
try {
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers") module = new WebAssembly.Module(bytes());
} catch {}
use(() => module ?? bytes());

export * from "./client.js";
