// The routes of a relay, and the checks of a page's request.

import { parseObject } from "./body.js";

const JOBS = "/api/custom_template_jobs/";
const UUID = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}";

const route = (method, path, call, step) => ({ method, call, step, pattern: new RegExp(`^${path}$`) });

/** All routes; anything else is 404. Paths are relative to the relay's path. */
const ROUTES = [
  route("POST", JOBS, "submit", "submit"),
  route("POST", `${JOBS}preview/`, "previewSync", "preview"),
  route("POST", `${JOBS}preview_async/`, "previewAsync", "preview"),
  route("POST", `${JOBS}(${UUID})/render/`, "render", "render"),
  route("GET", `${JOBS}(${UUID})/`, "get"),
  route("GET", "/api/custom_templates/", "templates"),
  route("GET", "/operations", "operation"),
  route("POST", "/webhooks/([0-9a-f]{32})/([0-9a-f]{32})", "webhook"),
];

/** The routes of a pathname, of any method, each with the matched parts of the path. */
export function routesOf(pathname, base) {
  if (!pathname.startsWith(base)) return [];
  const path = pathname.slice(base.length);
  return ROUTES.flatMap((found) => {
    const match = found.pattern.exec(path);
    return match ? [{ ...found, parts: match.slice(1) }] : [];
  });
}

/** The operation id in a percent-encoded header or query; undefined if it is invalid. */
export function readKey(encoded) {
  try {
    const key = decodeURIComponent(encoded ?? "");
    return key && key.length <= 255 && !/\p{Cs}/u.test(key) ? key : undefined;
  } catch {
    return undefined;
  }
}

const refuse = (field, text) => ({ refusal: { status: 400, body: { [field]: [text] } } });

/** Checks the body of a charging request: `{ body }`, or `{ refusal }` in the provider's shape of field errors. */
export function readRequest(text, call, settings, user) {
  const { value, refusal } = parseObject(text);
  if (refusal) return { refusal };
  for (const field of Object.keys(value)) {
    if (field !== "template_id" && field !== "variables" && !mayHave(field, value[field], settings.allow)) {
      return refuse(field, field === "model_version" ? "This relay does not allow this model." : "This relay does not forward this field.");
    }
  }
  // A render uses the template of its preview, unless it has its own.
  const isNeeded = call !== "render" || "template_id" in value;
  if (isNeeded && secondsOf(value.template_id, settings, user) === undefined) return refuse("template_id", "This relay does not have this template.");
  return { body: value };
}

function mayHave(field, value, allow) {
  if (field === "model_version") return Array.isArray(allow.model_version) && allow.model_version.includes(value);
  return (field === "name" || field === "is_hidden") && allow[field] === true;
}

const UUID_ONLY = new RegExp(`^${UUID}$`);

/** The length of a template's videos, in seconds; undefined if the user may not use the template. */
export function secondsOf(template, { templates }, user) {
  if (typeof template !== "string" || !UUID_ONLY.test(template)) return undefined;
  const id = template.toLowerCase();
  if (user.templates && !user.templates.includes(id)) return undefined;
  return templates.any ? templates.maxSeconds : templates.seconds.get(id);
}
