// The templates: from the sandbox, which knows their variables, otherwise from the API's list, which does not.

import { sandboxTemplates } from "./sandbox.js";

/** Returns `{ templates, sandbox }`. The variables of a template without `variables` are entered as JSON. */
export async function loadCatalog(jobs) {
  const known = await sandboxTemplates();
  if (known) return { sandbox: true, templates: known.map(fromSandbox) };
  return { sandbox: false, templates: (await jobs.templates()).map(fromApi) };
}

function fromSandbox(template, index) {
  return {
    id: template.template_id,
    name: template.name,
    aspect: template.aspect_ratio,
    width: template.width,
    height: template.height,
    seconds: template.duration_seconds,
    variables: template.variables,
    hue: index % 6,
  };
}

function fromApi(template, index) {
  const [width, height] = String(template.aspect_ratio).split(/[:x]/).map(Number);
  return {
    id: template.template_id,
    name: template.name,
    aspect: String(template.aspect_ratio).replace("x", ":"),
    width: width > 0 ? width : 16,
    height: height > 0 ? height : 9,
    seconds: null,
    variables: null,
    hue: index % 6,
  };
}
