// The HTTP handler of a relay: routing, login and headers.

import { pageOf, preflight, refuse, respond } from "./answers.js";
import { hash, readText } from "./body.js";
import { readKey, routesOf } from "./routes.js";
import { readSettings, readUser } from "./settings.js";

// The symbol under which copies of this package find the settings of each other's relays.
const SETTINGS = Symbol.for("custom-template-jobs.relay");

/** The settings of a relay in this environment. */
export const settingsOf = (relay, env) => relay[SETTINGS](env);

const isObject = (it) => (typeof it === "object" && it !== null) || typeof it === "function";

export function createRelay(given) {
  const relay = { fetch: (request, env, ctx) => answer(request, () => settingsOf(relay, env), ctx) };
  let settings = typeof given === "function" ? undefined : readSettings(given);
  const made = new WeakMap(); // of each environment
  const of = (env) => {
    if (typeof given !== "function") return settings;
    if (!isObject(env)) return (settings ??= readSettings(given(env)));
    if (!made.has(env)) made.set(env, readSettings(given(env)));
    return made.get(env);
  };
  Object.defineProperty(relay, SETTINGS, { value: of });
  // Settle what an earlier process left open.
  settings?.store.resume?.(settings).catch(() => {});
  return relay;
}

async function answer(request, find, ctx) {
  let page = { refused: true };
  try {
    const settings = find();
    const url = new URL(request.url);
    const found = routesOf(url.pathname, settings.path);
    page = pageOf(request, url, settings);
    const hook = found.find(({ call }) => call === "webhook");
    if (hook) page = {};
    let made = page.refused && refuse(403, "This relay does not answer pages of this origin.");
    made ||= await (hook ? webhook(request, hook, settings) : relayed(request, url, found, settings, ctx));
    // Read the body first: a server that responds earlier may close the connection and lose the response.
    if (request.body && !request.bodyUsed) await readText(request);
    return respond(made, page);
  } catch (thrown) {
    report(thrown);
    return respond(refuse(503, "The relay cannot answer at the moment."), page);
  }
}

async function relayed(request, url, found, settings, ctx) {
  if (!found.length) return refuse(404, "This relay does not forward that.");
  if (request.method === "OPTIONS") return preflight();
  const route = found.find(({ method }) => method === request.method);
  if (!route) return { ...refuse(405, "This relay does not take this method here."), headers: { allow: found.map(({ method }) => method).join(", ") } };
  const user = readUser(await settings.authorize(request), settings.limits);
  if (!user) return refuse(401, "Log in first.");
  const ask = { route: { call: route.call, step: route.step, parts: route.parts }, user, name: (await hash(user.id)).slice(0, 32) };
  if (route.call === "operation") {
    const keys = url.searchParams.getAll("key");
    ask.key = keys.length === 1 && url.searchParams.size === 1 ? readKey(encodeURIComponent(keys[0])) : undefined;
    if (!ask.key) return refuse(400, "The query must be ?key= with the operation id.");
  }
  if (route.method === "POST") {
    // A form of another site cannot send this header, so it also prevents cross-site request forgery.
    ask.key = readKey(request.headers.get("idempotency-key"));
    if (!ask.key) return refuse(400, "Idempotency-Key is missing, or is not percent-encoded. The client sends it with the option relay.");
    const { text, refusal } = await readText(request);
    if (refusal) return refusal;
    ask.text = text;
  }
  return run(ask, settings, ctx);
}

async function webhook(request, route, settings) {
  if (request.method !== "POST") return { ...refuse(405, "A webhook is a POST."), headers: { allow: "POST" } };
  const { text, refusal } = await readText(request);
  if (refusal) return refusal;
  return run({ route: { call: route.call, parts: route.parts }, name: route.parts[0], text }, settings);
}

/** Passes the request to the account, which continues even if the visitor leaves. */
async function run(ask, settings, ctx) {
  const answered = settings.store.run(ask, settings);
  const rest = answered.catch(() => {});
  ctx?.waitUntil?.(rest);
  return await answered;
}

function report(thrown) {
  console.error(thrown);
}
