// The options of a relay and their checks.

import { problem } from "../errors.js";
import { readOptions } from "../options.js";

const NAMES = ["apiId", "apiKey", "baseUrl", "authorize", "templates", "store", "limits", "allow", "publicUrl", "origins", "path", "onEvent"];
const LIMITS = ["maxCredits", "budgetPeriod", "requestsPerMinute", "jobsAtOnce"];
const ALLOW = ["model_version", "name", "is_hidden", "editor_url"];
const LONGEST = 86_400; // seconds of video
const WEBHOOK = "/webhooks/".length + 32 + "/".length + 32; // characters

const isText = (it) => typeof it === "string" && it !== "";
const isCount = (it) => Number.isInteger(it) && it > 0;
const isAmount = (it) => Number.isFinite(it) && it >= 0;
const isLength = (it) => typeof it === "number" && it > 0 && it <= LONGEST;

const refuse = (field, advice) => {
  throw { field, message: `${field} ${advice}` };
};
const need = (fits, field, advice) => fits || refuse(field, advice);

/** Checks and copies the options. Throws `InvalidRequestError`, whose `field` is the invalid option. */
export function readSettings(given) {
  try {
    return read(given);
  } catch (thrown) {
    const { field, message, cause } = thrown;
    if (field === undefined) throw thrown;
    throw problem("InvalidRequestError", message, { field, cause });
  }
}

function read(given) {
  need(given !== undefined, "options", "are missing: authorize, templates and store are required");
  const options = readOptions(given, NAMES);
  const { apiId, apiKey, baseUrl = "https://api.creatify.ai", authorize, store, path = "/relay", origins = [], onEvent } = options;
  need(isText(apiId), "apiId", "must be a string: the account's X-API-ID");
  need(isText(apiKey), "apiKey", "must be a string: the account's X-API-KEY");
  const provider = urlOf(baseUrl, "baseUrl");
  need(typeof authorize === "function", "authorize", "is required: a function that returns who sent a request, or null");
  need(typeof store?.run === "function", "store", "is required: durableObjectStore(namespace), fileStore(directory) or, for tests, memoryStore()");
  need(isText(path) && /^(\/[\w.~-]+)+$/.test(path), "path", "must begin with a slash and not end with one, such as /relay");
  need(Array.isArray(origins), "origins", "must be an array of origins, such as https://app.example");
  for (const origin of origins) need(originOf(origin) === origin && origin !== "null", "origins", "must be origins without a path, such as https://app.example");
  need(onEvent === undefined || typeof onEvent === "function", "onEvent", "must be a function");
  const publicUrl = options.publicUrl === undefined ? undefined : urlOf(options.publicUrl, "publicUrl");
  const hooks = publicUrl && hooksOf(publicUrl, path);
  return {
    apiId, apiKey, authorize, store, path, origins, onEvent, publicUrl, hooks,
    baseUrl: provider.href,
    templates: templatesOf(options.templates),
    limits: limitsOf(options.limits ?? {}, "limits"),
    allow: allowOf(options.allow ?? {}),
  };
}

function urlOf(given, field) {
  let url;
  try {
    url = new URL(given);
  } catch {
    // Refused below.
  }
  need(/^https?:$/.test(url?.protocol) && !url.username && !url.search && !url.hash, field, "must be an absolute http or https URL");
  return url;
}

function originOf(text) {
  try {
    return new URL(text).origin;
  } catch {
    return undefined;
  }
}

/** The prefix of webhook URLs. */
function hooksOf(url, path) {
  const base = url.href.replace(/\/+$/, "");
  const hooks = base.endsWith(path) ? base : base + path;
  need(hooks.length + WEBHOOK <= 200, "publicUrl", `is too long: with path, at most ${200 - WEBHOOK} characters, as the provider allows 200 for a webhook`);
  return hooks;
}

function templatesOf(given) {
  const required = "is required: { [id]: { seconds } }, or { any: true, maxSeconds }";
  need(typeof given === "object" && given !== null && !Array.isArray(given), "templates", required);
  if ("any" in given) {
    const { any, maxSeconds } = readOptions(given, ["any", "maxSeconds"], "templates", "templates.");
    need(any === true, "templates.any", "must be true, or left out");
    need(isLength(maxSeconds), "templates.maxSeconds", `must be the length of the longest video in seconds, more than 0 and at most ${LONGEST}`);
    return { any, maxSeconds };
  }
  const seconds = new Map();
  for (const [id, template] of Object.entries(given)) {
    const read = readOptions(template, ["seconds"], `templates.${id}`, `templates.${id}.`);
    need(isLength(read.seconds), `templates.${id}.seconds`, `must be the length of the video in seconds, more than 0 and at most ${LONGEST}`);
    seconds.set(id.toLowerCase(), read.seconds);
  }
  need(seconds.size, "templates", required);
  return { seconds };
}

function limitsOf(given, argument) {
  const limits = readOptions(given, LIMITS, argument, `${argument}.`);
  const { maxCredits, budgetPeriod = "month", requestsPerMinute, jobsAtOnce } = limits;
  need(maxCredits === undefined || isAmount(maxCredits), `${argument}.maxCredits`, "must be a finite number of credits, 0 or more");
  need(budgetPeriod === "day" || budgetPeriod === "month", `${argument}.budgetPeriod`, 'must be "day" or "month"');
  need(requestsPerMinute === undefined || isCount(requestsPerMinute), `${argument}.requestsPerMinute`, "must be a whole number above 0");
  need(jobsAtOnce === undefined || isCount(jobsAtOnce), `${argument}.jobsAtOnce`, "must be a whole number above 0");
  return { maxCredits, budgetPeriod, requestsPerMinute, jobsAtOnce };
}

function allowOf(given) {
  const allow = readOptions(given, ALLOW, "allow", "allow.");
  const { model_version } = allow;
  need(model_version === undefined || (Array.isArray(model_version) && model_version.every(isText)), "allow.model_version", "must be an array of models");
  for (const name of ["name", "is_hidden", "editor_url"]) need(allow[name] === undefined || typeof allow[name] === "boolean", `allow.${name}`, "must be true or false");
  return allow;
}

/**
 * Checks the result of `authorize`: a user with their limits, or undefined. Throws if it is neither, since a mistake in `authorize`
 * must not let anybody in.
 */
export function readUser(given, limits) {
  if (given === null || given === undefined) return undefined;
  const { id, templates, maxCredits, requestsPerMinute, jobsAtOnce } = given;
  const fits =
    isText(id) && id.length <= 1024 &&
    (maxCredits === undefined || isAmount(maxCredits)) &&
    [requestsPerMinute, jobsAtOnce].every((it) => it === undefined || isCount(it)) &&
    (templates === undefined || (Array.isArray(templates) && templates.every(isText)));
  if (!fits) throw new TypeError("authorize must return null, or a user: { id: string, maxCredits?: number, requestsPerMinute?: number, jobsAtOnce?: number, templates?: string[] }");
  return {
    id,
    templates: templates?.map((template) => template.toLowerCase()),
    maxCredits: maxCredits ?? limits.maxCredits,
    requestsPerMinute: requestsPerMinute ?? limits.requestsPerMinute,
    jobsAtOnce: jobsAtOnce ?? limits.jobsAtOnce,
  };
}
