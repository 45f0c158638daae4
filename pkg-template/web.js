// The entry for pages and their workers. Loads the .wasm beside it on first use; where something else is there, scripts that carry it.
import { decode, use } from "./loading.js";

// Vite 5 to 7 build each worker into one file, and fail at an `import()` that would be a second one. In Vite's builds, and those of
// webpack, which defines the same names, the scripts are files to copy, as the .wasm is. Every other bundler follows the plain
// `import()`. The query keeps Parcel from taking the two for one, and `NODE_ENV` in an `if` of its own keeps Turbopack 14 away.
function scripts() {
  if (import.meta.env?.PROD) {
    if (process.env.NODE_ENV === "production") {
      return [
        import(/* @vite-ignore */ /* webpackIgnore: true */ new URL("./custom_template_jobs_bg.base64.1.js?file", import.meta.url).href),
        import(/* @vite-ignore */ /* webpackIgnore: true */ new URL("./custom_template_jobs_bg.base64.2.js?file", import.meta.url).href),
      ];
    }
  }
  return [import("./custom_template_jobs_bg.base64.1.js"), import("./custom_template_jobs_bg.base64.2.js")];
}

const carried = async () => decode(...(await Promise.all(scripts())).map(({ half }) => half));

use(() => new URL("./custom_template_jobs_bg.wasm", import.meta.url), { carried });

export * from "./client.js";
