// A relay for pages: it keeps the key, separates users, and limits the credits of each.

import { createRelay } from "custom-template-jobs/relay";
import { RelayAccount, durableObjectStore } from "custom-template-jobs/relay/cloudflare";

/** YOUR LOGIN GOES HERE. Return the user who sent the request, such as `{ id: session.userId }`. Until then every request is refused. */
async function userOf(request, env) {
  return null;
}

const relay = createRelay((env) => ({
  apiId: env.CREATIFY_API_ID,
  apiKey: env.CREATIFY_API_KEY,
  baseUrl: env.CREATIFY_URL, // default: the provider
  authorize: (request) => userOf(request, env),
  templates: env.TEMPLATES,
  store: durableObjectStore(env.ACCOUNTS),
  limits: { maxCredits: 50, budgetPeriod: "month", requestsPerMinute: 120, jobsAtOnce: 3 },
  publicUrl: env.PUBLIC_URL || undefined,
  origins: env.PAGE_ORIGIN ? [env.PAGE_ORIGIN] : [],
}));

/** One user's account: a Durable Object with the user's budget, jobs and journal. */
export class Account extends RelayAccount {
  relay = relay;
}

export default relay;
