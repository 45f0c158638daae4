// The entry for Node, Deno and Bun: reads the .wasm from the disk on first use, because none of them fetches files alike.
import { readFile } from "node:fs/promises";
import { use } from "./loading.js";

const read = (place) => (/^file:/.test(place) ? readFile(new URL(place)) : fetch(place));
use(() => new URL("./custom_template_jobs_bg.wasm", import.meta.url), read);

export * from "./client.js";
