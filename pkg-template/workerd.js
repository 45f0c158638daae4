// The entry for Cloudflare Workers: the runtime compiles the .wasm with the worker, since a request must not.
import module from "./custom_template_jobs_bg.wasm";
import { use } from "./loading.js";

// Not awaited, since a worker in the old format cannot; not static, since bundlers stumble and old runtimes have no waitUntil.
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
    // Outside of a request there is none.
  }
}
use(() => module, { waitUntil });

export * from "./client.js";
