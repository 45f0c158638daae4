// The entry for pages and their workers. Fetches the .wasm beside it; if that is not the module, imports the scripts that contain it.
import { decode, use } from "./loading.js";

// Vite 5 to 7 build each worker into one file, and fail at an `import()` that needs a second one. So builds of Vite, and of webpack,
// which defines the same names, copy the scripts as assets, like the .wasm. Every other bundler follows the plain `import()`. The
// query keeps Parcel from merging the two, and the separate `if` for `NODE_ENV` keeps Turbopack 14 from following this branch.
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
