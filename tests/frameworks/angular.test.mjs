// Tests of the package in a page of the Angular CLI without configuration: served in development, and built.

import { join } from "node:path";
import { test } from "node:test";
import { serving } from "../runtimes/browser.mjs";
import { STORY, heldToTheTable, pins, project, run, serve, stage, visit, works } from "./harness.mjs";

// What `ng new` makes, without what a page can do without.
const files = {
  "angular.json": JSON.stringify({
    version: 1,
    cli: { analytics: false },
    projects: {
      app: {
        projectType: "application", root: "", sourceRoot: "src",
        architect: {
          build: {
            builder: "@angular/build:application",
            options: { browser: "src/main.ts", index: "src/index.html", tsConfig: "tsconfig.json" },
            configurations: {
              production: { outputHashing: "all" },
              development: { optimization: false, extractLicenses: false, sourceMap: true },
            },
            defaultConfiguration: "production",
          },
          serve: {
            builder: "@angular/build:dev-server",
            configurations: { development: { buildTarget: "app:build:development" } },
            defaultConfiguration: "development",
          },
        },
      },
    },
  }),
  "tsconfig.json": JSON.stringify({
    compilerOptions: {
      strict: true, skipLibCheck: true, isolatedModules: true, experimentalDecorators: true, importHelpers: true,
      target: "ES2022", module: "preserve", types: [],
    },
    angularCompilerOptions: { strictTemplates: true },
    include: ["src/**/*.ts"],
  }),
  "src/index.html": '<!doctype html><base href="/"><link rel="icon" href="data:,"><app-root></app-root>',
  "src/main.ts": `
    import { bootstrapApplication } from "@angular/platform-browser";
    import { App } from "./app";
    bootstrapApplication(App).catch((error) => console.error(error));`,
  "src/app.ts": `
    import { Component, signal } from "@angular/core";
    import * as library from "custom-template-jobs";
    import { story } from "./story";
    @Component({ selector: "app-root", template: "<p>{{ said() }}</p>" })
    export class App {
      readonly said = signal("");
      constructor() {
        const told = story(library, ${stage.script}).catch(({ name, message }) => ({ name, message }));
        void told.then((end) => this.said.set(JSON.stringify(end)));
        Object.assign(globalThis, { told });
      }
    }`,
  "src/story.js": STORY,
  "src/story.d.ts": `
    export function story(library: typeof import("custom-template-jobs"), setting: { url: string; template: string }): Promise<unknown>;`,
};

for (const [version, dependencies] of pins("angular")) {
  // Its CLI needs a Node that is newer than what the tests may have: one is installed with it, by a script.
  const made = () => project(`angular-${version}`, { dependencies, files, scripts: true });

  test(`angular_${version}_serves_it_while_developing`, async () => {
    await serve(await made(), "ng", ["serve", "--host", "127.0.0.1", "--port", "{port}"], {}, (url) =>
      works("Angular CLI", version, "`ng serve`", () => visit(url)),
    );
  });

  test(`angular_${version}_builds_it`, async () => {
    const directory = await made();
    await run(directory, "ng", ["build"]);
    await works("Angular CLI", version, "`ng build`", () =>
      serving(join(directory, "dist/app/browser"), { "*": "" }, (url) => visit(`${url}/index.html`)),
    );
  });
}

heldToTheTable(import.meta.url);
