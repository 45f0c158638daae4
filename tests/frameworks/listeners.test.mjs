// Tests of a relay in Express and Fastify, also behind their parsers of bodies.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pins, project, serve, stage } from "./harness.mjs";

const relay = `
  import { createRelay, fileStore, toNodeListener } from "custom-template-jobs/relay";
  const listener = toNodeListener(createRelay({
    apiId: "sandbox", apiKey: "sandbox", baseUrl: "${stage.url}",
    authorize: (request) => (request.headers.get("authorization") ? { id: "ann" } : null),
    templates: { "${stage.setting.template}": { seconds: 15 } },
    store: fileStore("./store"),
  }));`;

const express = (use) => `
  import express from "express";
  ${relay}
  const app = express();
  ${use}
  app.get("/ready", (request, response) => response.end());
  app.listen(process.env.PORT, "127.0.0.1");`;

const fastify = `
  import Fastify from "fastify";
  ${relay}
  const app = Fastify();
  app.all("/relay/*", listener);
  app.get("/ready", () => "ready");
  await app.listen({ port: process.env.PORT, host: "127.0.0.1" });`;

const PROGRAMS = {
  express: {
    "its own path": express('app.use("/relay", listener);'),
    "a parser of bodies": express("app.use(express.json()); app.use(listener);"),
  },
  fastify: { "its own path": fastify },
};

for (const [family, programs] of Object.entries(PROGRAMS)) {
  for (const [version, dependencies] of pins(family)) {
    for (const [how, program] of Object.entries(programs)) {
      test(`${family}_${version}_with_${how.replaceAll(" ", "_")}_relays_one_charge_for_a_key`, async () => {
        const directory = await project(`${family}-${version}`, { dependencies, files: { "main.mjs": program } });
        await stage.reset();
        await serve(directory, process.execPath, ["main.mjs"], { ready: "/ready" }, async (url) => {
          const ask = async (path, init) => {
            const answer = await fetch(`${url}/relay${path}`, init);
            return [answer.status, await answer.json()];
          };
          const headers = { authorization: "Bearer ann" };
          const [, templates] = await ask("/api/custom_templates/", { headers });
          assert.deepEqual(templates.map(({ template_id }) => template_id), [stage.setting.template]);
          const body = JSON.stringify({ template_id: stage.setting.template, variables: { title: { type: "text", properties: { content: "Hello" } } } });
          const charge = { method: "POST", headers: { ...headers, "content-type": "application/json", "idempotency-key": "order%207" }, body };
          const [[status, first], [again, second]] = [await ask("/api/custom_template_jobs/", charge), await ask("/api/custom_template_jobs/", charge)];
          assert.deepEqual([status, again, second.id], [200, 200, first.id], JSON.stringify(first));
          assert.equal((await ask("/operations?key=order%207", { headers }))[1].job_id, first.id);
          assert.equal((await ask("/api/custom_templates/"))[0], 401);
          assert.equal((await stage.ledger()).charges.length, 1);
        });
      });
    }
  }
}
