// What a page bundles to create a custom template job with the one other client of this API, and wait for its end.
import { Creatify } from "@tsavo/creatify-api-ts";

const client = new Creatify({ apiId: "id", apiKey: "key", baseUrl: "/relay" });

export function run(request) {
  return client.customTemplates.createAndWaitForCustomTemplate(request);
}
