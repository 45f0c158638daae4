// Tests of a relay on the servers of Node, Deno and Bun: templates, one charge for a key, and a file store.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, beforeEach, test } from "node:test";
import { scene, tool } from "../runtimes/harness.mjs";
import { ID, JOBS, KEY, OTHER, TEASER, job, startSandbox } from "./harness.mjs";

let sandbox;
before(async () => (sandbox = await startSandbox("--speed", "50", "--key", `${ID}:${KEY}`)));
after(() => sandbox?.stop());
beforeEach(() => sandbox.reset());

const options = () => JSON.stringify({ apiId: ID, apiKey: KEY, baseUrl: sandbox.url, templates: { [TEASER]: { seconds: 6 }, [OTHER]: { seconds: 6 } } });

/** A program that serves a relay with the runtime's own server, and prints its port. */
const program = (serve) => `
  import { createRelay, fileStore, toNodeListener } from "custom-template-jobs/relay";
  const authorize = (request) => (request.headers.get("authorization") ? { id: "ann" } : null);
  const relay = createRelay({ ...${options()}, authorize, store: fileStore("./store") });
  ${serve}`;

const NODE_SERVER = `
  import { createServer } from "node:http";
  const server = createServer(toNodeListener(relay)).listen(0, "127.0.0.1", () => console.log(server.address().port));`;
const DENO_SERVER = 'Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: ({ port }) => console.log(port) }, (request) => relay.fetch(request));';
const BUN_SERVER = 'console.log(Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: (request) => relay.fetch(request) }).port);';

const deno = ["run", "--cached-only", "--no-prompt", "--allow-net=127.0.0.1", "--allow-read", "--allow-write", "--allow-sys", "--allow-env", "main.mjs"];
const SERVERS = {
  node: [NODE_SERVER, process.execPath, ["main.mjs"]],
  deno: [DENO_SERVER, tool(".bin/deno"), deno],
  deno_with_the_listener_of_node: [NODE_SERVER, tool(".bin/deno"), deno],
  bun: [BUN_SERVER, tool(".bin/bun"), ["--no-install", "main.mjs"]],
  bun_with_the_listener_of_node: [NODE_SERVER, tool(".bin/bun"), ["--no-install", "main.mjs"]],
};

for (const [name, [serve, runtime, args]] of Object.entries(SERVERS)) {
  test(`in_${name}_a_key_is_one_charge`, async () => {
    const cwd = await scene(`relay-in-${name}`, { "main.mjs": program(serve) });
    const child = spawn(runtime, args, { cwd, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" } });
    try {
      const [port] = await once(createInterface(child.stdout), "line");
      const ask = async (path, init) => {
        const answer = await fetch(`http://127.0.0.1:${port}${path}`, init);
        return [answer.status, await answer.json()];
      };
      const headers = { authorization: "Bearer ann" };
      const [, templates] = await ask("/relay/api/custom_templates/", { headers });
      assert.deepEqual(templates.map(({ template_id }) => template_id).toSorted(), [TEASER, OTHER]);
      const charge = { method: "POST", headers: { ...headers, "idempotency-key": "order%207" }, body: JSON.stringify(job()) };
      const [[status, first], [again, second]] = [await ask(JOBS, charge), await ask(JOBS, charge)];
      assert.deepEqual([status, again, second.id], [200, 200, first.id]);
      assert.equal((await ask("/relay/operations?key=order%207", { headers }))[1].job_id, first.id);
      assert.equal((await ask(JOBS, { ...charge, headers: { "idempotency-key": "a" } }))[0], 401);
      assert.equal((await sandbox.ledger()).charges.length, 1);
    } finally {
      child.kill();
      await once(child, "exit");
    }
  });
}
