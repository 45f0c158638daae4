// The entry for pages, their workers and bundlers: loads the .wasm beside it on first use.
import { use } from "./loading.js";

use(() => new URL("./custom_template_jobs_bg.wasm", import.meta.url));

export * from "./client.js";
