// How a job is asked of the one other client of this API, which uses no `fetch`.
import { Creatify } from "@tsavo/creatify-api-ts";

export function client({ url }) {
  const creatify = new Creatify({ apiId: "id", apiKey: "key", baseUrl: url });
  return () => creatify.customTemplates.createCustomTemplate({ template_id: "template", variables: {} });
}
