import type { ClientEvent } from "./index.js";

/** A user, as `authorize` returns one. What is unset is as `limits` and `templates` of the relay say. */
export interface User {
  /** Whose the charges and jobs are: a string that stays the user's own, such as the primary key of your table. At most 1024 characters. */
  id: string;
  /** What the user may spend in a budget period, in credits; 0 or more. Default: that of `limits`. */
  maxCredits?: number | undefined;
  /** How many requests the user may send in a minute. Default: that of `limits`. */
  requestsPerMinute?: number | undefined;
  /** How many jobs of the user may be in progress. Default: that of `limits`. */
  jobsAtOnce?: number | undefined;
  /** The ids of the templates that the user may use, of those that the relay has. Default: all of them. */
  templates?: string[] | undefined;
}

/** What each user may do. What is unset is not limited. */
export interface RelayLimits {
  /** What a user may spend in a `budgetPeriod`, in credits. The estimate of a charge is reserved before it is sent, and what it cost counts once its job is done. A charge that would pass it is answered 402 with `remaining` and `renews_at`. */
  maxCredits?: number | undefined;
  /** When the budget begins anew, in UTC: at midnight, or on the first day of a month. Default: `month`. */
  budgetPeriod?: "day" | "month" | undefined;
  /** How many requests a user may send in a minute, polls too; more are answered 429 with `retry-after`. */
  requestsPerMinute?: number | undefined;
  /** How many jobs of a user may be in progress; one more is answered 429. */
  jobsAtOnce?: number | undefined;
}

/** Where the accounts of users are kept. Made by `durableObjectStore`, `fileStore` or `memoryStore`. */
export interface RelayStore {
  /** Called by the relay. */
  run(...given: never[]): Promise<unknown>;
}

/** How a relay works. A name that is unknown is refused. */
export interface RelayOptions {
  /** The account's `X-API-ID`. */
  apiId: string;
  /** The account's `X-API-KEY`. No page gets it, nor does a log. */
  apiKey: string;
  /** The provider, or the sandbox; an absolute URL. Default: `https://api.creatify.ai`. */
  baseUrl?: string | URL | undefined;
  /** Who sent a request: your login. `null` is answered 401. It must not read the body. Where it throws, nobody is let in: 503. */
  authorize: (request: Request) => User | null | undefined | Promise<User | null | undefined>;
  /** The templates that pages may use, with the length of their videos in seconds, by which charges are estimated; or any, estimated as the longest. */
  templates: { [id: string]: { seconds: number } } | { any: true; maxSeconds: number };
  /** Where operations, budgets and jobs are kept: `durableObjectStore(namespace)` in Workers, `fileStore(directory)` on a server, `memoryStore()` in tests. */
  store: RelayStore;
  /** What each user may do. Default: no limits. */
  limits?: RelayLimits | undefined;
  /** What else pages may send and get. Default: nothing. `webhook_url`, `seconds` and fields that the client does not know are never taken from a page. */
  allow?:
    | {
        /** The models that pages may choose, as they set the price. */
        model_version?: string[] | undefined;
        /** Whether pages may name jobs. */
        name?: boolean | undefined;
        /** Whether pages may hide jobs from the provider's project page. */
        is_hidden?: boolean | undefined;
        /** Whether pages get `editor_url`. */
        editor_url?: boolean | undefined;
      }
    | undefined;
  /** Where the provider reaches this relay, with or without `path`: each charge then has a webhook address with a token of its own. Default: none, and open jobs are polled by a timer. */
  publicUrl?: string | URL | undefined;
  /** Origins whose pages may call, besides the relay's own, such as `https://app.example`. Default: none. */
  origins?: string[] | undefined;
  /** Where the relay is; what a page's client has as the option `relay`. Default: `/relay`. */
  path?: string | undefined;
  /** Called with what the relay's clients do, for logs; holds no key and no variable. Default: nothing. */
  onEvent?: ((event: ClientEvent) => void) | undefined;
}

/** A relay. It has the form of a Worker: `export default relay`. */
export interface Relay<Env = unknown> {
  /**
   * Answers a request. `env` is given to the function that made the options; `ctx.waitUntil` keeps a charge alive after its
   * visitor has left. Resolves always: what goes wrong is an answer of 4xx or 503.
   */
  fetch(request: Request, env?: Env, ctx?: { waitUntil(promise: Promise<unknown>): void }): Promise<Response>;
}

/**
 * A relay for pages: it keeps the account's key, makes one charge of one `Idempotency-Key`, keeps users apart and within their
 * limits, and tells a page what became of a charge whose answer was lost.
 *
 * ```ts
 * const relay = createRelay({
 *   apiId, apiKey,
 *   authorize: async (request) => (await sessionOf(request))?.user ?? null,
 *   templates: { "7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0001": { seconds: 15 } },
 *   store: fileStore("./relay"),
 *   limits: { maxCredits: 100, budgetPeriod: "month" },
 * });
 * http.createServer(toNodeListener(relay)).listen(8080);
 * ```
 *
 * Throws `InvalidRequestError` where an option is missing or cannot be used. It has no development mode: without `authorize`,
 * `templates` and `store` there is no relay. Where the options come from a function, it is called with the first request of each
 * `env`, and what it does wrong is answered 503.
 */
export function createRelay<Env = unknown>(options: RelayOptions | ((env: Env) => RelayOptions)): Relay<Env>;

/**
 * A relay as a listener: `http.createServer(toNodeListener(relay))`, `app.use(toNodeListener(relay))` in Express,
 * `app.all("/relay/*", toNodeListener(relay))` in Fastify.
 */
export function toNodeListener(relay: Relay): (request: object, response: object) => Promise<void>;

/** A store in memory, for tests: it ends with its process, and with it what was paid for is forgotten. */
export function memoryStore(): RelayStore;

/**
 * A store in a directory, for Node, Deno and Bun. It is for one process: the directory is locked, and another process that opens it
 * gets an Error at once. What a charge rests on is on the disk before it is sent. The directory is made where it is missing.
 *
 * @param directory Its path, or a `file:` URL; nothing else may write to it.
 */
export function fileStore(directory: string | URL): RelayStore;

/**
 * A store of Durable Objects, one for each user.
 *
 * @param namespace The binding of a class that extends `RelayAccount` of `custom-template-jobs/relay/cloudflare`.
 */
export function durableObjectStore(namespace: { idFromName(name: string): any; get(id: any): any }): RelayStore;
