// The entry for Cloudflare Workers. The runtime compiles the .wasm with the worker, since requests may not compile.
import module from "./custom_template_jobs_bg.wasm";
import { use } from "./loading.js";

// Not awaited: the old worker format has no top-level await. Not static: bundlers and old runtimes do not know this import.
let workers;
(async () => {
  try {
    workers = await import(/* webpackIgnore: true */ "cloudflare:workers");
  } catch {}
})();

function waitUntil(promise) {
  try {
    workers?.waitUntil?.(promise);
  } catch {
    // `waitUntil` throws outside of a request.
  }
}
use(() => module, { waitUntil });

export * from "./client.js";
