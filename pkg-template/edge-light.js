// The entry for Vercel's edge runtime: `?module` has the .wasm compiled when the function is deployed.
import module from "./custom_template_jobs_bg.wasm?module";
import { use } from "./loading.js";

// The module comes from another realm there, so `instanceof WebAssembly.Module` is false.
use(() => Object.setPrototypeOf(module, WebAssembly.Module.prototype));

export * from "./client.js";
