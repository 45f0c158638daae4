// Tests of loading in Node: what `init` accepts, the errors of a failed load, and one instance for all entries.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { packageDirectory, scene, told } from "./harness.mjs";

const FILE = join(packageDirectory, "custom_template_jobs_bg.wasm");
const THERE = pathToFileURL(FILE).href;

/** A server with the .wasm at every path, except for some faulty paths. */
let server;
let url;
before(async () => {
  const wasm = await readFile(FILE);
  server = createServer((request, response) => {
    if (request.url === "/missing") response.writeHead(404, { "content-type": "text/plain" }).end("not found");
    else if (request.url === "/page") response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
    else response.writeHead(200, { "content-type": "application/wasm" }).end(wasm);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${server.address().port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

/** Runs a module in a new process of Node, and returns what it prints. */
async function says(name, body) {
  const directory = await scene(name, { "main.mjs": body });
  return told(process.execPath, ["main.mjs"], directory);
}

/** A price from the core, after `init(source)` of an entry without a .wasm of its own. */
const loads = (source, entry = "custom-template-jobs/slim") =>
  says("node-init", `
    import { readFile } from "node:fs/promises";
    import { TemplateJobs, init } from "${entry}";
    const bytes = await readFile(new URL("${THERE}"));
    await init(${source});
    console.log(await new TemplateJobs().estimate({ step: "submit", seconds: 30 }));`);

const sources = {
  a_string: () => `"${url}/"`,
  a_url: () => `new URL("${url}/")`,
  a_request: () => `new Request("${url}/")`,
  a_response: () => `await fetch("${url}/")`,
  a_response_that_was_made: () => `new Response(bytes, { headers: { "content-type": "application/wasm" } })`,
  a_response_of_no_type: () => "new Response(bytes)",
  a_promise_of_a_response: () => `fetch("${url}/")`,
  a_promise_of_bytes: () => "Promise.resolve(bytes)",
  a_buffer: () => "bytes",
  an_array_buffer: () => "new Uint8Array(bytes).buffer",
  an_array_with_an_offset: () => "new Uint8Array([1, 2, 3, ...bytes, 4]).subarray(3, 3 + bytes.length)",
  a_module: () => "await WebAssembly.compile(bytes)",
  a_promise_of_a_module: () => "WebAssembly.compile(bytes)",
};
for (const [what, source] of Object.entries(sources)) {
  test(`in_node_init_takes_${what}`, async () => assert.equal(await loads(source()), 5));
}

for (const [what, source] of Object.entries({ a_file_url: `new URL("${THERE}")`, the_string_of_a_file_url: `"${THERE}"` })) {
  test(`in_node_init_takes_${what}_though_fetch_reads_no_files`, async () => assert.equal(await loads(source, "custom-template-jobs"), 5));
}

/** The outcomes of `init`, of a client's call at the same time, and of a second `init` with the right source. */
const fails = (source, entry = "custom-template-jobs/slim") =>
  says("node-broken", `
    import { readFileSync } from "node:fs";
    import { TemplateJobs, init } from "${entry}";
    const jobs = new TemplateJobs();
    const outcome = (promise) => promise.then(() => "resolved", ({ name, message, cause }) => ({ name, message, cause: cause?.name }));
    const estimate = () => outcome(jobs.estimate({ step: "submit", seconds: 30 }));
    const first = await Promise.all([outcome(init(${source})), estimate()]);
    console.log(JSON.stringify([...first, await outcome(init(readFileSync(new URL("${THERE}")))), await estimate()]));`);

const SERVE = /Serve custom_template_jobs_bg\.wasm beside the script, or pass its place to init\(\)\.$/;
const mistakes = {
  nothing: [() => "", /no source was given/],
  a_place_that_answers_404: [() => `"${url}/missing"`, /from http:\/\/[\d.:]+\/missing: the answer was 404 text\/plain/],
  a_request_that_is_answered_404: [() => `new Request("${url}/missing")`, /from http:\/\/[\d.:]+\/missing: the answer was 404 text\/plain/],
  a_place_that_answers_html: [() => `new URL("${url}/page")`, /from http:\/\/[\d.:]+\/page: the answer was 200 text\/html/],
  a_response_of_html: [() => `fetch("${url}/page")`, /from http:\/\/[\d.:]+\/page: the answer was 200 text\/html/],
  a_place_where_nobody_listens: [() => '"http://127.0.0.1:9/"', /from http:\/\/127\.0\.0\.1:9\/: fetch failed/],
  bytes_that_are_no_wasm: [() => 'new TextEncoder().encode("<!doctype html>")', /magic word/],
  another_wasm: [() => "new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])", /could not be loaded: /],
  a_promise_that_rejects: [() => 'Promise.reject(new Error("no luck"))', /no luck/],
  a_number: [() => "1", /could not be loaded: /],
};
for (const [what, [source, cause]] of Object.entries(mistakes)) {
  test(`init_of_${what}_rejects_all_waiting_calls_with_load_error_and_the_next_one_loads`, async () => {
    const [given, waited, again, then] = await fails(source());
    for (const { name, message, cause: reason } of [given, waited]) {
      assert.equal(name, "LoadError");
      assert.match(message, cause);
      assert.match(message, SERVE);
      assert.match(reason, /Error$/);
    }
    assert.deepEqual([again, then], ["resolved", "resolved"]);
  });
}

test("a_path_that_contains_eval_is_not_taken_for_a_policy_error", async () => {
  const [{ message }] = await fails('new URL("file:///medieval/CSP/disallowed.wasm")', "custom-template-jobs");
  assert.match(message, /ENOENT/);
  assert.match(message, SERVE);
});

test("slim_rejects_with_load_error_until_init_has_loaded_the_wasm", async () => {
  const names = await says("node-slim", `
    import { readFileSync } from "node:fs";
    import * as library from "custom-template-jobs/slim";
    const jobs = new library.TemplateJobs();
    const name = (promise) => promise.then(() => "resolved", (error) => library.isTemplateJobsError(error) && error.name);
    const estimate = () => name(jobs.estimate({ step: "submit", seconds: 30 }));
    const names = await Promise.all([estimate(), estimate()]);
    names.push(await estimate());
    await library.init(readFileSync(new URL(import.meta.resolve("custom-template-jobs/custom_template_jobs_bg.wasm"))));
    names.push(await estimate());
    console.log(JSON.stringify(names));`);
  assert.deepEqual(names, ["LoadError", "LoadError", "LoadError", "resolved"]);
});

/** In any order of imports, all entries have the same classes, and the first call loads the wasm for all. */
for (const order of [["custom-template-jobs", "custom-template-jobs/inline"], ["custom-template-jobs/inline", "custom-template-jobs"]]) {
  test(`after_${order[0].split("/").at(-1)}_all_entries_share_one_instance`, async () => {
    const end = await says("node-entries", `
      import { createRequire } from "node:module";
      let instances = 0;
      WebAssembly.Instance = new Proxy(WebAssembly.Instance, { construct: (target, args) => (instances++, new target(...args)) });
      const [first, second] = [await import("${order[0]}"), await import("${order[1]}")];
      const slim = await import("custom-template-jobs/slim");
      const required = createRequire(import.meta.url)("custom-template-jobs");
      const names = Object.keys(first);
      const same = [second, slim, required].every((entry) => names.every((name) => entry[name] === first[name]));
      await slim.init();
      for (const { TemplateJobs } of [first, second, slim, required]) await new TemplateJobs().estimate({ step: "submit", seconds: 30 });
      console.log(JSON.stringify({ names: names.length > 10, same, instances }));`);
    assert.deepEqual(end, { names: true, same: true, instances: 1 });
  });
}
