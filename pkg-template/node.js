// The entry for Node, Deno and Bun. The WebAssembly is in the scripts, so bundlers and file tracing always include it.
import { readFile } from "node:fs/promises";
import { half as first } from "./custom_template_jobs_bg.base64.1.js";
import { half as second } from "./custom_template_jobs_bg.base64.2.js";
import { decode, use } from "./loading.js";

// Node's `fetch` does not read files.
const read = (place) => (/^file:/.test(place) ? readFile(new URL(place)) : fetch(place));
use(() => decode(first, second), { read });

export * from "./client.js";
