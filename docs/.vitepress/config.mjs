// The documentation site. `cargo xtask site` puts the pages together and runs the build: SITE_PAGES is where they are, SITE_OUT
// where the site goes. SITE_BASE is the path that it will be served under, `/` by default.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitepress";

const pages = process.env.SITE_PAGES;
const base = process.env.SITE_BASE ?? "/";
const repository = "https://github.com/custom-template-jobs/custom-template-jobs";

/** Pages that are made of files outside of this folder. */
const MADE = { "CONTRIBUTING.md": "/contributing", "CHANGELOG.md": "/changelog", "pkg-template/index.d.ts": "/js/" };

/** The page or the address of a file of the repository. */
function placeOf(path) {
  if (path in MADE && (path !== "CONTRIBUTING.md" || existsSync(join(pages, "contributing.md")))) return MADE[path];
  const [, guide] = /^docs\/(.*)\.md$/.exec(path) ?? [];
  return guide ? `/${guide}` : `${repository}/blob/main/${path}`;
}

/** Links out of `docs`, and those of the pages that are files of the root, lead to pages or to the repository. */
function outward(markdown) {
  markdown.core.ruler.push("outward", ({ tokens, env }) => {
    // `rust,no_run` is for rustdoc.
    for (const token of tokens.filter(({ type }) => type === "fence")) token.info = token.info.replace(/,.*/, "");
    if (env.relativePath.startsWith("js/")) return;
    const ofRoot = ["changelog.md", "contributing.md"].includes(env.relativePath);
    const link = ofRoot ? /^(?![a-z]+:|[#/])([^#]+)(#.*)?$/ : /^\.\.\/([^#]*)(#.*)?$/;
    for (const token of tokens.flatMap(({ children }) => children ?? []).filter(({ type }) => type === "link_open")) {
      const [, path, anchor = ""] = link.exec(token.attrGet("href")) ?? [];
      if (path !== undefined) token.attrSet("href", placeOf(path) + anchor);
    }
  });
}

/** The pages lie outside of this folder, where Vue is installed. */
const vueOfThisFolder = {
  name: "vue-of-this-folder",
  enforce: "pre",
  resolveId(id, importer) {
    return /^vue($|\/)/.test(id) && importer?.startsWith(pages) ? this.resolve(id, fileURLToPath(import.meta.url), { skipSelf: true }) : undefined;
  },
};

const item = (text, link) => ({ text, link });

/** The pages that TypeDoc made, by kind. */
function reference() {
  const kinds = { classes: "Classes", functions: "Functions", interfaces: "Interfaces", "type-aliases": "Types", variables: "Values" };
  const groups = Object.entries(kinds).map(([kind, text]) => {
    const names = readdirSync(join(pages, "js", "index", kind)).map((file) => file.replace(/\.md$/, ""));
    return { text, items: names.sort().map((name) => item(name, `/js/index/${kind}/${name}`)) };
  });
  const folders = readdirSync(join(pages, "js"), { withFileTypes: true }).filter((each) => each.isDirectory() && each.name !== "index");
  const entries = folders.map(({ name }) => item(name, `/js/${name}/`));
  return [item("All entries", "/js/"), ...groups, { text: "Other entries", items: entries }];
}

const contributing = existsSync(join(pages, "contributing.md")) ? [item("How to contribute", "/contributing")] : [];

export default defineConfig({
  title: "custom-template-jobs",
  description: "Run Creatify's custom template video jobs from a web page, an edge worker or a server",
  lang: "en",
  base,
  head: [["link", { rel: "icon", type: "image/svg+xml", href: `${base}icon.svg` }]],
  srcDir: pages,
  outDir: process.env.SITE_OUT,
  cacheDir: join(pages, ".cache"),
  // The other references are put beside the pages after the build.
  ignoreDeadLinks: [/^\/rust\//, /^\/llms\.txt$/],
  vite: { plugins: [vueOfThisFolder] },
  lastUpdated: false,
  markdown: { config: outward, theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" } },
  themeConfig: {
    search: { provider: "local" },
    outline: { level: [2, 3] },
    externalLinkIcon: true,
    nav: [item("Guides", "/"), item("JavaScript API", "/js/"), item("GitHub", repository)],
    sidebar: {
      "/js/": reference(),
      "/": [
        {
          text: "Start",
          items: [
            item("Getting started", "/"), item("In a web page", "/page"), item("With Vite", "/vite"), item("With Next.js", "/next"),
            item("In a worker", "/worker"), item("On a server", "/server"), item("In a Rust front end", "/rust"),
          ],
        },
        {
          text: "Guides",
          items: [
            item("Charge once", "/charge-once"), item("Settle an unknown charge", "/unknown-charge"), item("Webhooks", "/webhooks"),
            item("A relay for pages", "/relay"), item("Test with the sandbox", "/sandbox"), item("Options that few need", "/options"),
          ],
        },
        {
          text: "Background",
          items: [
            item("What is guaranteed", "/guarantee"), item("The table of faults", "/faults"), item("How polling works", "/polling"),
            item("What is known about the provider", "/provider"),
          ],
        },
        {
          text: "Reference",
          items: [item("JavaScript API", "/js/"), { ...item("Rust API", "/rust/custom_template_jobs/index.html"), target: "_self" }, item("Changelog", "/changelog")],
        },
        { text: "Project", items: [item("Repository layout", "/layout"), ...contributing] },
      ],
    },
  },
});
