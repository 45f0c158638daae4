// A relay as a listener of Node's http server, and as a handler of Express and Fastify.

/** Converts Node's request to a `Request`. */
function requestOf(message, parsed) {
  const { method, headers, socket } = message;
  // Express removes its mount path from `url`. An absolute URL is a proxy request.
  const path = message.originalUrl ?? message.url;
  if (!path.startsWith("/")) return undefined;
  const list = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(":")) continue;
    for (const one of Array.isArray(value) ? value : [value]) list.append(name, one);
  }
  const host = headers.host ?? headers[":authority"] ?? "localhost";
  const hasBody = method !== "GET" && method !== "HEAD";
  const body = hasBody ? (parsed === undefined ? streamOf(message) : textOf(parsed)) : undefined;
  return new Request(`${socket?.encrypted ? "https" : "http"}://${host}${path}`, { method, headers: list, body, duplex: "half" });
}

// The text of a body that a framework has parsed.
function textOf(parsed) {
  if (typeof parsed === "string" || ArrayBuffer.isView(parsed)) return parsed;
  return JSON.stringify(parsed ?? {});
}

function streamOf(message) {
  const chunks = message[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
  });
}

/**
 * `http.createServer(toNodeListener(relay))`, `app.use(toNodeListener(relay))` in Express, `app.all("/relay/*", toNodeListener(relay))`
 * in Fastify.
 */
export function toNodeListener({ fetch: answerTo }) {
  return async (given, reply) => {
    // Fastify wraps both.
    const [message, response] = [given.raw ?? given, reply.raw ?? reply];
    reply.hijack?.();
    try {
      let request;
      try {
        request = requestOf(message, given.body);
      } catch {
        // Refused below.
      }
      if (!request) {
        response.writeHead(400, { "content-type": "application/json", "cache-control": "no-store", connection: "close" });
        return response.end('{"detail":"The request cannot be read."}');
      }
      const answer = await answerTo(request);
      response.statusCode = answer.status;
      for (const [name, value] of answer.headers) response.setHeader(name, value);
      // Close the connection instead of reading the rest of a long body.
      if (!message.complete) response.setHeader("connection", "close");
      response.end(await answer.text());
    } catch (thrown) {
      console.error(thrown);
      response.destroy();
    }
  };
}
