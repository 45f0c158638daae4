// A relay for pages: it keeps the key, lets through the calls and the templates that it lists, and makes one charge of
// each operation id, however often a browser or a network sends the request again.

import { DurableObject } from "cloudflare:workers";
import { TemplateJobs, TemplateJobsError } from "custom-template-jobs";
import { durableObjectJournal } from "custom-template-jobs/durable-object";

/**
 * YOUR LOGIN GOES HERE. Returns who is calling, or nothing, and then the call is refused. What a caller may spend is
 * decided here too. Until you write it there is one caller, whom sandbox.env names, on your own machine.
 */
async function callerOf(request, env) {
  return env.DEV_CALLER;
}

/* ---- what a page may ask for ------------------------------------------------------------------ */

const route = (method, path, call) => ({ method, call, pattern: new URLPattern({ pathname: `/relay/api/${path}` }) });
const ROUTES = [
  route("POST", "custom_template_jobs/", "submit"),
  route("POST", "custom_template_jobs/preview/", "previewSync"),
  route("POST", "custom_template_jobs/preview_async/", "previewAsync"),
  route("POST", "custom_template_jobs/:id/render/", "render"),
  route("GET", "custom_template_jobs/:id/", "get"),
  route("GET", "custom_templates/", "templates"),
];
/** Not `model_version`, which sets the price, nor `webhook_url`, which is called. */
const FIELDS = ["template_id", "variables", "name"];
const MAX_BODY = 64 * 1024; // bytes

export default {
  async fetch(request, env, ctx) {
    const origin = request.headers.get("origin");
    const foreign = origin !== null && origin !== new URL(request.url).origin;
    if (foreign && origin !== env.PAGE_ORIGIN) return refuse(403, "This relay does not answer pages of other origins.");
    const answer = request.method === "OPTIONS" ? new Response(null, { status: 204 }) : await relay(request, env, ctx);
    if (!foreign) return answer;
    const readable = new Response(answer.body, answer);
    readable.headers.set("access-control-allow-origin", origin);
    readable.headers.set("access-control-allow-credentials", "true"); // for a login by cookie
    readable.headers.set("access-control-allow-headers", "authorization, content-type, idempotency-key");
    readable.headers.set("access-control-expose-headers", "retry-after");
    readable.headers.set("vary", "origin");
    return readable;
  },
};

async function relay(request, env, ctx) {
  const found = ROUTES.find(({ method, pattern }) => method === request.method && pattern.test(request.url));
  if (!found) return refuse(404, "This relay does not forward that.");
  const caller = await callerOf(request, env);
  if (!caller) return refuse(401, "Log in first.");
  const { id } = found.pattern.exec(request.url).pathname.groups;

  let operation;
  let body;
  if (request.method === "POST") {
    // No form of another site can send this header, so it also keeps out what rides on a caller's cookies.
    operation = request.headers.get("idempotency-key");
    if (!operation) return refuse(400, "Idempotency-Key is missing. The client sends it with the option relay.");
    const text = await readAtMost(MAX_BODY, request.body);
    if (text === undefined) return refuse(413, `The request is longer than ${MAX_BODY} bytes.`);
    body = parse(text || "{}");
    const wrong = whatIsWrong(body, found.call, env.TEMPLATES);
    if (wrong) return Response.json(wrong, { status: 400 });
  }

  const account = env.ACCOUNTS.get(env.ACCOUNTS.idFromName(caller));
  const answer = account.run(found.call, { id, body, operation });
  ctx.waitUntil(answer); // a charge goes on when the visitor leaves
  return answer;
}

/** A body as text; nothing where it is longer, whatever its Content-Length said. */
async function readAtMost(limit, stream) {
  const decoder = new TextDecoder();
  let [text, length] = ["", 0];
  for await (const chunk of stream ?? []) {
    length += chunk.byteLength;
    if (length > limit) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** In the shape in which the provider names wrong fields. */
function whatIsWrong(body, call, templates) {
  if (typeof body !== "object" || body === null) return { detail: "The body must be a JSON object." };
  const strange = Object.keys(body).find((field) => !FIELDS.includes(field));
  if (strange) return { [strange]: ["This relay does not forward it."] };
  // A render goes on with the template of its preview, unless it names one.
  const needed = call !== "render" || body.template_id !== undefined;
  if (needed && !templates.includes(body.template_id)) return { template_id: ["This relay does not know it."] };
}

const refuse = (status, detail) => Response.json({ detail }, { status });

/* ---- what a caller has paid for --------------------------------------------------------------- */

/** One for each caller: the client that holds the key, the journal of its charges, and the ids of its jobs. */
export class Account extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.jobs = new TemplateJobs({
      baseUrl: env.CREATIFY_URL, // unset, it is the provider
      apiId: env.CREATIFY_API_ID,
      apiKey: env.CREATIFY_API_KEY,
      // On disk before a charge leaves, since an object holds back what it sends until what it wrote is safe.
      journal: durableObjectJournal(ctx.storage),
    });
  }

  async run(call, { id, body, operation }) {
    const { jobs, ctx, env } = this;
    const own = (job) => `own:${job}`;
    if (id && !ctx.storage.kv.get(own(id))) return refuse(404, "You have no such job.");
    const options = { operation, waitUntil: (promise) => ctx.waitUntil(promise) };
    try {
      if (call === "templates") {
        const all = await jobs.templates();
        return Response.json(all.filter(({ template_id }) => env.TEMPLATES.includes(template_id)));
      }
      if (call === "get") return Response.json(await jobs.get(id));
      // An operation id that was used before fetches its job, and one that is being sent is waited for.
      const job = await (call === "render" ? jobs.render(id, body, options) : jobs[call](body, options));
      ctx.storage.kv.put(own(job.id), true);
      return Response.json(job);
    } catch (error) {
      if (error instanceof TemplateJobsError) return answerTo(error);
      throw error;
    }
  }
}

const STATUS = { InvalidRequestError: 400, BudgetExceededError: 402, OperationConflictError: 422 };

/**
 * Refusals stay refusals. All else becomes 502, which the page's client takes for an unknown outcome: it never sends
 * such a charge again.
 */
function answerTo({ name, message, status, body, field, retryAfterMs }) {
  if (name === "ApiError" && status) {
    const headers = retryAfterMs === undefined ? {} : { "retry-after": String(Math.ceil(retryAfterMs / 1000)) };
    return Response.json(body ?? { detail: message }, { status, headers });
  }
  return Response.json(field ? { [field]: [message] } : { detail: message }, { status: STATUS[name] ?? 502 });
}
