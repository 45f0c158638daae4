// The entry for Cloudflare Workers: the runtime compiles the .wasm with the worker, since a request must not.
import module from "./custom_template_jobs_bg.wasm";
import { use } from "./loading.js";

use(() => module);

export * from "./client.js";
