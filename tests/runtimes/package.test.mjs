// Tests of the tarball with the tools of package authors: publint, attw, TypeDoc and TypeScript.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import ts from "typescript";
import { PATIENCE, packageDirectory, scene, tool } from "./harness.mjs";

/** Runs a tool's script; if it fails, its output is the error. */
async function passes(script, args, cwd) {
  await promisify(execFile)(process.execPath, [tool(script), ...args], { cwd, timeout: PATIENCE }).catch(({ stdout, stderr, message }) =>
    assert.fail(stdout || stderr || message),
  );
}

test("publint_finds_nothing", async () => {
  const { buffer } = new Uint8Array(await readFile(process.env.TARBALL));
  const { messages, pkg } = await publint({ pack: { tarball: buffer }, strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, pkg, { color: false })), []);
});

const typesOf = (...args) => passes("@arethetypeswrong/cli/dist/index.js", [process.env.TARBALL, "--no-color", ...args]);

// The file of WebAssembly and the Durable Object are the exceptions: neither is given to `require`.
test("every_way_to_import_or_require_an_entry_finds_its_types", () =>
  typesOf("--profile", "strict", "--exclude-entrypoints", "custom_template_jobs_bg.wasm", "relay/cloudflare"));

test("every_way_to_import_the_wasm_and_the_durable_object_finds_their_types", () =>
  typesOf("--profile", "esm-only", "--entrypoints", "custom_template_jobs_bg.wasm", "relay/cloudflare"));

test("typedoc_documents_every_entry_without_a_warning", async () => {
  const files = ["index.d.ts", "file-journal.d.ts", "durable-object.d.ts", "relay.d.ts"];
  const sources = await Promise.all(files.map(async (file) => [file, await readFile(join(packageDirectory, file))]));
  const compilerOptions = { target: "es2022", module: "nodenext", moduleResolution: "nodenext", lib: ["es2022", "dom"], types: [], strict: true, noEmit: true };
  const directory = await scene("typedoc", { ...Object.fromEntries(sources), "tsconfig.json": JSON.stringify({ compilerOptions, files }) });
  const entries = files.flatMap((file) => ["--entryPoints", file]);
  await passes("typedoc/bin/typedoc", [...entries, "--name", "custom-template-jobs", "--out", "site", "--disableSources", "--treatWarningsAsErrors"], directory);
});

const compilers = { 5: "typescript", 7: "typescript-7" };
// The types of `fetch` and the like in a page, on a server and in a worker.
const platforms = {
  the_dom: { lib: ["es2022", "dom"], types: [] },
  node: { lib: ["es2022"], types: ["node"] },
  workers: { lib: ["es2022"], types: ["@cloudflare/workers-types"] },
};
// `calls.cts` is CommonJS, where `import` means `require`, which cannot load a .wasm.
const ways = [
  { moduleResolution: "bundler", module: "esnext", platform: "the_dom" },
  { moduleResolution: "bundler", module: "esnext", platform: "workers" },
  { moduleResolution: "nodenext", module: "nodenext", platform: "the_dom" },
  { moduleResolution: "nodenext", module: "nodenext", platform: "node" },
  { moduleResolution: "node16", module: "node16", platform: "node" },
  { moduleResolution: "node16", module: "node16", platform: "node", file: "calls.cts" },
  { moduleResolution: "node10", module: "commonjs", platform: "node", before: 6 },
];
const cases = Object.entries(compilers).flatMap(([version, compiler]) =>
  ways.filter(({ before = Infinity }) => version < before).map((way) => ({ version, compiler, file: "calls.ts", ...way })),
);

for (const { version, compiler, moduleResolution, module, platform, file } of cases) {
  const required = file === "calls.cts" ? "_of_commonjs" : "";
  test(`typescript_${version}_with_${moduleResolution}${required}_and_types_of_${platform}_accepts_right_calls_and_refuses_wrong_ones`, async () => {
    const calls = await readFile(new URL("../types/calls.ts", import.meta.url), "utf8");
    const directory = await scene(`types-${version}-${moduleResolution}${required}-${platform}`, {
      [file]: required ? calls.replace(/^import module from .*$/m, "declare const module: WebAssembly.Module;") : calls,
      "tsconfig.json": JSON.stringify({
        compilerOptions: {
          target: "es2022", module, moduleResolution, ...platforms[platform], typeRoots: [tool("@types"), tool("")],
          strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, isolatedModules: true, skipLibCheck: false, noEmit: true,
        },
        files: [file],
      }),
    });
    await passes(`${compiler}/lib/tsc.js`, ["--project", directory, "--pretty", "false"], directory);
  });
}

/** Every exported declaration, and every member of interfaces and classes, by name. */
async function declarations() {
  const text = await readFile(join(packageDirectory, "index.d.ts"), "utf8");
  const source = ts.createSourceFile("index.d.ts", text, ts.ScriptTarget.Latest, true);
  const found = [];
  const add = (node, name) => found.push({ name, comment: ts.getJSDocCommentsAndTags(node).map((doc) => doc.getText()).join(""), node });
  for (const statement of source.statements) {
    const declared = statement.name ?? statement.declarationList?.declarations[0].name;
    if (!declared || ts.isModuleDeclaration(statement)) continue;
    const name = declared.getText();
    if (statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) add(statement, name);
    for (const member of statement.members ?? []) add(member, `${name}.${member.name?.getText() ?? "constructor"}`);
  }
  assert.ok(found.length > 150, `only ${found.length} were found`);
  return found;
}

test("every_declaration_and_field_of_the_types_is_documented", async () => {
  const bare = (await declarations()).filter(({ comment }) => !comment);
  assert.deepEqual(bare.map(({ name }) => name), []);
});

test("every_option_documents_its_default_and_the_unit_of_a_number", async () => {
  const options = (await declarations()).filter(({ name, node }) => /Options\.|^JobRequest\./.test(name) && node.questionToken);
  assert.ok(options.length > 25, `only ${options.length} were found`);
  const vague = options.filter(({ comment, node }) => {
    const number = node.type?.getText() === "number";
    return !/Default: /.test(comment) || (number && !/milliseconds|seconds|credits|how often/i.test(comment));
  });
  assert.deepEqual(vague.map(({ name }) => name), []);
});

test("every_example_of_the_readme_passes_the_type_checker", async () => {
  const readme = await readFile(join(packageDirectory, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/```(js|html)\n([^]*?)```/g)].filter(([, language, code]) => language === "js" || code.includes("<script"));
  const examples = blocks.map(([, , code]) => code.replaceAll(/<\/?script.*>/g, ""));
  assert.ok(examples.length > 4, `only ${examples.length} were found`);
  // A page imports the package's file; its types are those of the package.
  const files = examples.map((code, at) => [`example-${at}.js`, code.replace(/"\/node_modules\/custom-template-jobs\/web.js"/, '"custom-template-jobs"')]);
  const directory = await scene("readme", {
    ...Object.fromEntries(files),
    "around.d.ts": `
      declare const template_id: string;
      declare const process: { env: { [name: string]: string } };
      declare module "@opentelemetry/api" { export const SpanKind: { CLIENT: number }; export const trace: { getTracer(name: string): any }; }
      declare module "@vercel/functions" { export function waitUntil(promise: Promise<unknown>): void; }`,
    "tsconfig.json": JSON.stringify({
      compilerOptions: {
        target: "es2022", lib: ["es2022", "dom"], types: [], module: "esnext", moduleResolution: "bundler", moduleDetection: "force",
        allowJs: true, checkJs: true, strict: true, noImplicitAny: false, noEmit: true,
      },
      files: ["around.d.ts", ...files.map(([name]) => name)],
    }),
  });
  await passes("typescript-7/lib/tsc.js", ["--project", directory, "--pretty", "false"], directory);
});
