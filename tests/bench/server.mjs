// A local server that answers every call with one job, serves the bundled libraries, and reports the time of each call.
// Run as a program, it prints its URL.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { pathToFileURL } from "node:url";

const JOB = JSON.stringify({
  id: "3c90c3cc-0d44-4b50-8888-8dd25736052a", status: "running", progress: 0.4, preview: null, video_output: null, editor_url: null,
  failed_reason: null, credits_used: 0, duration: 15, media_job: null, name: "Slow Sundays", webhook_url: null, model_version: "standard",
  is_hidden: false, created_at: "2026-02-03T10:24:11.482913Z", updated_at: "2026-02-03T10:24:31.107358Z",
  variables: { headline: { type: "text", properties: { content: "Slow Sundays" } }, photo: { type: "image", properties: { url: "https://example.com/a.jpg" } } },
});
const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

/** A page that imports a library once the server has answered `/begin`, and makes a first call. */
const page = (library) => `<!doctype html><link rel="icon" href="data:,"><script type="module">
  await (await fetch("/begin", { cache: "no-store" })).text();
  const { client } = await import("/${library}.js");
  await client(location.origin)();
  document.title = "called";
</script>`;

/**
 * Starts the server. `files` are the bundles, which a browser may cache. `onCall` is called at each call, and just before each
 * `/begin` is answered, with the time in nanoseconds on the machine's monotonic clock.
 */
export async function serve({ files, onCall } = {}) {
  const server = createServer(async ({ url }, response) => {
    const now = process.hrtime.bigint();
    // Cross-origin isolated pages have a finer clock.
    const headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
    const send = (type, body, cache = "no-store") => {
      response.writeHead(200, { ...headers, "content-type": type, "content-length": Buffer.byteLength(body), "cache-control": cache });
      response.end(body);
    };
    if (url === "/begin") {
      onCall?.("begin", process.hrtime.bigint());
      send("text/plain", "");
    } else if (url.startsWith("/page/")) {
      send("text/html", page(url.slice("/page/".length)));
    } else if (files && TYPES[extname(url)]) {
      send(TYPES[extname(url)], await readFile(join(files, normalize(url))), "max-age=31536000, immutable");
    } else {
      onCall?.("call", now);
      send("application/json", JOB);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) console.log((await serve()).url);
