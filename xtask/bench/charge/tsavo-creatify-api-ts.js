// A charging call of the other client of this API, which uses no `fetch`: a job.
import { Creatify } from "@tsavo/creatify-api-ts";

export function client({ url }) {
  const creatify = new Creatify({ apiId: "id", apiKey: "key", baseUrl: url });
  return () => creatify.customTemplates.createCustomTemplate({ template_id: "template", variables: {} });
}
