// A relay of bytes between a client and the sandbox, connection by connection. It counts the requests, and injects faults that
// the sandbox cannot. The end or reset of a connection on one side is passed on to the other.

import { once } from "node:events";
import { createServer, connect } from "node:net";

const HEAD_END = Buffer.from("\r\n\r\n");
/** The number of bytes that follow a head. */
const bodyLength = (head) => Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
/** The first head of these bytes and the rest, if the head is complete. */
function firstHead(bytes) {
  const end = bytes.indexOf(HEAD_END);
  return end < 0 ? undefined : { head: bytes.subarray(0, end + 4).toString("latin1"), rest: bytes.subarray(end + 4) };
}

/**
 * Starts a relay to the server at `target`, with an origin of its own. `stop` ends it. `inject` is called with each request
 * ({ method, path, connection, head }) and returns its fault, if any:
 * - `{ hold }`: the request is forwarded when this promise resolves, even if its client has disconnected;
 * - `{ cut: true }`: the connection is reset after the head, while the body is being sent;
 * - `{ instead }`: these bytes are forwarded in place of the request;
 * - `{ answer }`: these bytes are the answer, and the server receives nothing;
 * - `{ turn, end }`: `turn(head, body)` returns the bytes of the answer; with `end` the connection is closed after them.
 */
export async function startWire(target, inject = () => undefined) {
  const { hostname, port } = new URL(target);
  const requests = [];
  const sockets = new Set();
  let connections = 0;
  let leaves = false;
  const servers = [];
  const relay = (client) => {
    const connection = ++connections;
    const upstream = connect({ host: hostname, port, allowHalfOpen: true, noDelay: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    }
    let held = 0;
    client.on("end", () => held || upstream.end());
    client.on("error", () => held || upstream.resetAndDestroy());
    client.on("close", () => held || upstream.destroy());
    upstream.on("end", () => client.end());
    upstream.on("error", () => client.resetAndDestroy());

    // The server accepts pages of its own origin only, so the relay's port is replaced by the server's.
    const own = new RegExp(`\\b(127\\.0\\.0\\.1|localhost):${client.localPort}\\b`, "g");
    let waiting = Buffer.alloc(0);
    let body = 0;
    let drop = false;
    let turn;
    let going = Promise.resolve();
    const requested = async (head) => {
      const [, method, path] = /^([A-Z]+) (\S+) HTTP/.exec(head) ?? [];
      if (!method) return upstream.write(head, "latin1");
      body = bodyLength(head);
      drop = false;
      const request = { method, path, connection };
      requests.push(request);
      const how = inject({ ...request, head });
      if (how?.cut) return client.resetAndDestroy();
      if (how?.answer) return client.write(how.answer);
      if (how?.instead) {
        drop = true;
        return upstream.write(how.instead);
      }
      if (how?.turn) turn = how;
      if (leaves) turn = { turn: last, end: true };
      if (how?.hold) {
        held++;
        await how.hold;
      }
      upstream.write(head.replace(own, `$1:${port}`), "latin1");
    };
    const forward = async () => {
      while (waiting.length) {
        if (body > 0) {
          const part = waiting.subarray(0, body);
          body -= part.length;
          waiting = waiting.subarray(part.length);
          if (!drop) upstream.write(part);
          continue;
        }
        const found = firstHead(waiting);
        if (!found && /^[A-Z]/.test(waiting.toString("latin1", 0, 1))) return;
        const head = found?.head ?? waiting.toString("latin1");
        waiting = found?.rest ?? Buffer.alloc(0);
        await requested(head);
      }
    };
    client.on("data", (part) => {
      going = going.then(() => {
        waiting = Buffer.concat([waiting, part]);
        return forward();
      });
    });

    let answer = Buffer.alloc(0);
    upstream.on("data", (part) => {
      if (!turn) return client.write(part);
      answer = Buffer.concat([answer, part]);
      const found = firstHead(answer);
      const length = found && bodyLength(found.head);
      if (!found || found.rest.length < length) return;
      client.write(turn.turn(found.head, found.rest.subarray(0, length)));
      if (turn.end) client.end();
      turn = undefined;
      answer = Buffer.alloc(0);
    });
  };
  const closeAll = () => servers.splice(0).forEach((server) => server.close());
  const last = (head, body) => {
    closeAll();
    return Buffer.concat([Buffer.from(head.replace("\r\n", "\r\nconnection: close\r\n"), "latin1"), body]);
  };
  const listen = async (at) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, relay).listen(at, "127.0.0.1");
    await once(server, "listening");
    servers.push(server);
    return server.address().port;
  };
  const hangUp = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${await listen(0)}`,
    requests,
    /** Also listens at another URL. */
    listensAt: (url) => listen(Number(new URL(url).port)),
    /** Stops listening after the next answer. */
    leaves() {
      leaves = true;
    },
    /** Closes every open connection, as a server without keep-alive does. */
    hangUp,
    /** Closes every connection and stops listening. */
    stop() {
      hangUp();
      closeAll();
    },
  };
}

/** A URL where nothing listens, with a port that is never assigned. */
export const NOWHERE = "http://127.0.0.1:2";

/** A URL where nothing listens yet. */
export async function vacant() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${port}`;
}
