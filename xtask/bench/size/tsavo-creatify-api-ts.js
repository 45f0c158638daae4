// A page that creates a custom template job with the other client of this API and polls it to its end.
import { Creatify } from "@tsavo/creatify-api-ts";

const client = new Creatify({ apiId: "id", apiKey: "key", baseUrl: "/relay" });

export function run(request) {
  return client.customTemplates.createAndWaitForCustomTemplate(request);
}
