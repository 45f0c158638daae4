// The entry for tools that do not copy the .wasm: it is in the script, as base64, and decoded on first use.
import base64 from "./custom_template_jobs_bg.base64.js";
import { use } from "./loading.js";

const bytes = () => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

// Cloudflare's workers compile bytes only while they start, if at all; if not, the first call says why.
let module;
try {
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers") module = new WebAssembly.Module(bytes());
} catch {}
use(async () => module ?? bytes());

export * from "./client.js";
