// Servers that the benches start, each in a process of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";

/** Starts a program and waits until it prints its URL. */
export async function start(program, args, ready) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  for await (const chunk of child.stdout) {
    text += chunk;
    if (ready.test(text)) break;
  }
  if (!ready.test(text)) throw new Error(`${program} did not start: ${text}`);
  child.stdout.resume();
  return { url: ready.exec(text)[1], pid: child.pid, stop: () => (child.kill(), once(child, "exit")) };
}
