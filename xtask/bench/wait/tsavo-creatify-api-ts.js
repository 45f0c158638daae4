// A poll of the other client of this API.
import tsavo from "@tsavo/creatify-api-ts";

export const dialect = "creatify";
export const waits = {
  async tsavo(base) {
    const client = new tsavo.Creatify({ apiId: "id", apiKey: "key", baseUrl: base });
    await client.customTemplates.createAndWaitForCustomTemplate({});
  },
};
