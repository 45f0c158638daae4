// Loads the WebAssembly: with the first call, or by `init`.

import { initSync } from "./custom_template_jobs.js";
import { problem } from "./errors.js";
import { inBrowser } from "./platform.js";

let source; // where the entry finds the .wasm
let reader; // how the entry reads a place, if not by fetch
export let loaded = false;
let loading;

export function use(found, reads) {
  source ??= found;
  reader ??= reads;
}

export const init = (given) => {
  const started = (loading ??= load(given));
  // A load that failed is retried by the next call.
  started.catch(() => loading === started && (loading = undefined));
  return started.then(() => {});
};

async function load(given) {
  let place;
  try {
    given = await (given ?? source?.());
    if (given === undefined) throw new Error("no source was given");
    if (typeof given === "string" || "href" in given || "method" in given) {
      given = await (reader ?? fetch)((place = given));
    }
    if ("arrayBuffer" in given) {
      place = given.url || place;
      const type = given.headers.get("content-type");
      if (!given.ok || /html/.test(type)) throw new Error(`the answer was ${given.status} ${type ?? ""}`);
      given = await given.arrayBuffer();
    }
    const module = given instanceof WebAssembly.Module ? given : await WebAssembly.compile(given);
    // The glue keeps the first module that it is given, whatever that is.
    if (!WebAssembly.Module.exports(module).some(({ name }) => name === "core_new")) throw new Error("it is another WebAssembly");
    initSync({ module });
    loaded = true;
  } catch (cause) {
    const words = cause?.message ?? cause;
    const remedy = !/unsafe-eval|by CSP|disallowed by/.test(words)
      ? "Serve custom_template_jobs_bg.wasm beside the script, or pass its place to init()."
      : inBrowser
        ? "Add 'wasm-unsafe-eval' to script-src in the page's Content-Security-Policy."
        : "Here no bytes are compiled: import the .wasm as a module, as the entry custom-template-jobs does.";
    throw problem("LoadError", `The WebAssembly could not be loaded${place ? ` from ${place.url ?? place}` : ""}: ${words}. ${remedy}`, { cause });
  }
}
