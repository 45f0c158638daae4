// Polls the jobs of a replay with the real clients, side by side over loopback on an accelerated clock, and prints their requests
// beside the replay's. Argument: the replay's JSON.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** The acceleration: a render of two minutes takes half a minute, and a request of 3 ms counts as 12 ms. */
const SPEED = 4;

const server = spawn(process.execPath, [fileURLToPath(new URL("waiting-server.mjs", import.meta.url))], { stdio: ["ignore", "pipe", "inherit"] });
const url = String((await once(server.stdout, "data"))[0]).trim();

// The clients' clock. They are imported after it is set; fetch and sockets use the real one.
const sleep = setTimeout;
const now = performance.now.bind(performance);
const begun = Date.now();
globalThis.setTimeout = (call, ms = 0, ...rest) => sleep(call, ms / SPEED, ...rest);
performance.now = () => now() * SPEED;
Date.now = () => begun + now() * SPEED;

const ask = async (path, init) => (await fetch(`${url}/jobs${path}`, init)).json();

async function waited(dialect, { progress = false, wait }, { running, end, expected }) {
  const { id } = await ask("", { method: "POST", body: JSON.stringify({ running, end, progress, dialect, speed: SPEED }) });
  await wait(`${url}/${id}`, { expected });
  return ask(`/${id}`);
}

const { side } = JSON.parse(await readFile(process.argv[2], "utf8"));
const scripts = new URL("../../xtask/bench/wait/", import.meta.url);
const runs = [];
for (const file of await readdir(scripts)) {
  const { dialect, waits } = await import(new URL(file, scripts));
  for (const [client, given] of Object.entries(waits)) {
    const mode = typeof given === "function" ? { wait: given } : given;
    for (const job of side) {
      runs.push(waited(dialect, mode, job).then((found) => ({ client, seconds: job.end / 1_000, real: found, replayed: job.replayed[client] })));
    }
  }
}
console.log(JSON.stringify({ speed: SPEED, waits: await Promise.all(runs) }));
server.kill();
process.exit();
