// Decides what an outage is: a server that is away for a while, each time in another way, and then is as it was.

import { startWire } from "./wire.mjs";

/** How long an outage lasts, in milliseconds. */
export const OUTAGE = 10_000;

const PAGE = "<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>";
const GATEWAY = `HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\naccess-control-allow-origin: *\r\ncontent-length: ${PAGE.length}\r\n\r\n${PAGE}`;

/** What becomes of a request meanwhile; where nothing listens, none comes. */
const SPOILED = { refused: undefined, reset: { cut: true }, gateway: { answer: GATEWAY } };

export const OUTAGES = Object.keys(SPOILED);

/** A relay to the server at `target` that can be away; `stop` it. */
export async function startOutage(target, kind) {
  let away = false;
  const wire = await startWire(target, () => (away ? SPOILED[kind] : undefined));
  return {
    url: wire.url,
    begin() {
      away = true;
      if (kind === "refused") wire.stop();
    },
    async end() {
      away = false;
      if (kind === "refused") await wire.listensAt(wire.url);
    },
    stop: wire.stop,
  };
}

/**
 * What is wrong with how a job was looked at, by the times of its looks: none may follow another within 1.5 s, so there are at
 * most seven in an outage of ten seconds, and nobody who was away comes back with a burst.
 */
export function bursts(times) {
  // A timer may come a little early.
  return times.filter((at, index) => index > 0 && at - times[index - 1] < 1_480);
}
