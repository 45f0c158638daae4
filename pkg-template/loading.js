// Loads the WebAssembly: with the first call, or by `init`.

import { initSync } from "./custom_template_jobs.js";
import { problem } from "./errors.js";
import { inBrowser } from "./platform.js";
import { version } from "./version.js";

export let entry = {}; // the arguments of `use`
export let loaded = false;
export let fallback; // why the copy in the scripts was loaded, if it was
let loading;

/**
 * Called by an entry. `source` returns a source for `init`; `read` replaces `fetch` for URLs; `carried` returns the bytes from
 * scripts, for when `source` fails. `waitUntil` is the runtime's own, if it has one.
 */
export const use = (source, more) => (entry = { source, ...more, ...entry });

/** The bytes of the WebAssembly from two scripts. webpack warns of a script above 244 KiB. */
export function decode(...halves) {
  const text = halves.join("");
  return globalThis.Buffer?.from?.(text, "base64") ?? Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

export const init = (given) => {
  const started = (loading ??= load(given));
  // After a failure the next call tries again.
  started.catch(() => loading === started && (loading = undefined));
  return started.then(() => {});
};

async function load(given) {
  try {
    await start(given ?? entry.source);
  } catch (failure) {
    if (given !== undefined || !entry.carried || failure.remedy) throw loadError(failure);
    // The file is missing or is not this module.
    await start(entry.carried).catch((second) => {
      throw loadError(failure, second);
    });
    fallback = `The WebAssembly was loaded from a script, which is larger, since the file could not be${reasonOf(failure)}. ${SERVE}`;
  }
  loaded = true;
}

const SERVE = "Serve custom_template_jobs_bg.wasm beside the script, or pass its place to init().";

const reasonOf = ({ place, cause }) => `${place ? ` loaded from ${place}` : " loaded"}: ${cause?.message ?? cause}`;

const loadError = (failure, second) =>
  problem("LoadError", `The WebAssembly could not be${reasonOf(failure)}.${second ? ` Nor could the script that carries it: ${second.cause?.message ?? second.cause}.` : ""} ${failure.remedy ?? SERVE}`, { cause: failure.cause });

// Instantiates the source. Throws `{ cause, place?, remedy? }`.
async function start(given) {
  let place;
  try {
    given = await (typeof given === "function" ? given() : given);
    if (given === undefined) throw new Error("no source was given");
    if (typeof given === "string" || "href" in given || "method" in given) {
      place = given.url ?? given;
      given = await (entry.read ?? fetch)(given);
    }
    if ("arrayBuffer" in given) {
      place = given.url || place;
      given = await answered(given);
    }
    const module = given instanceof WebAssembly.Module ? given : await WebAssembly.compile(given);
    check(module);
    initSync({ module });
  } catch (cause) {
    throw { cause, place, remedy: remedyOf(cause) };
  }
}

// The module or the bytes of a response.
async function answered(response) {
  const type = response.headers.get("content-type");
  if (!response.ok || /html/.test(type)) throw new Error(`the answer was ${response.status} ${type ?? ""}`);
  // Compiles while it streams. `compileStreaming` refuses a Response of another realm.
  const streams = type === "application/wasm" && WebAssembly.compileStreaming && globalThis.Response && response instanceof Response;
  return streams ? WebAssembly.compileStreaming(response) : response.arrayBuffer();
}

// The glue keeps the first module that it instantiates, so the exports are checked before.
function check(module) {
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  const [found] = names.filter((name) => name.startsWith("version_"));
  if (!names.includes("core_new") || !found) throw new Error("it is another WebAssembly");
  const other = found.slice(8).replaceAll("_", ".");
  if (other !== version) throw new Error(`it is that of version ${other}, and the scripts are of ${version}`);
}

function remedyOf(cause) {
  if (!globalThis.WebAssembly) {
    return inBrowser
      ? "This browser has WebAssembly turned off: turn Lockdown Mode off for this site, or make the calls on a server."
      : "This runtime has WebAssembly turned off: start it without --jitless.";
  }
  if (!/unsafe-eval|by CSP|disallowed by/.test(cause?.message ?? cause)) return;
  return inBrowser
    ? "Add 'wasm-unsafe-eval' to script-src in the page's Content-Security-Policy."
    : "Here no bytes are compiled: import the .wasm as a module, as the entry custom-template-jobs does.";
}
