// Outages: a server that is unreachable for some time in one of several ways, and then works again.

import { startWire } from "./wire.mjs";

/** How long an outage lasts, in milliseconds. */
export const OUTAGE = 10_000;

const PAGE = "<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>";
const GATEWAY = `HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\naccess-control-allow-origin: *\r\ncontent-length: ${PAGE.length}\r\n\r\n${PAGE}`;

/** The fault of each request during an outage of a kind; where nothing listens, no request arrives. */
const INJECTED = { refused: undefined, reset: { cut: true }, gateway: { answer: GATEWAY } };

export const OUTAGES = Object.keys(INJECTED);

/** A relay to the server at `target` with an outage between `begin` and `end`. `stop` ends it. */
export async function startOutage(target, kind) {
  let away = false;
  const wire = await startWire(target, () => (away ? INJECTED[kind] : undefined));
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
 * The polls of a job that follow another within 1.5 s, of the times of its polls. There must be none, so that there are at most
 * seven in an outage of ten seconds, and no burst after it.
 */
export function bursts(times) {
  // A timer may fire a little early.
  return times.filter((at, index) => index > 0 && at - times[index - 1] < 1_480);
}
