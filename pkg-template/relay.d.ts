import type { ClientEvent } from "./index.js";

/** A user, as `authorize` returns it. Unset members default to the relay's `limits` and `templates`. */
export interface User {
  /** A stable id of the user, such as the primary key of your table. It owns the charges and jobs. At most 1024 characters. */
  id: string;
  /** The most credits that the user may spend in a budget period, 0 or more. Default: that of `limits`. */
  maxCredits?: number | undefined;
  /** The most requests of the user in a minute. Default: that of `limits`. */
  requestsPerMinute?: number | undefined;
  /** The most jobs of the user in progress. Default: that of `limits`. */
  jobsAtOnce?: number | undefined;
  /** The ids of the relay's templates that the user may use. Default: all. */
  templates?: string[] | undefined;
}

/** The limits of each user. An unset member is no limit. */
export interface RelayLimits {
  /** The most credits that a user may spend in a `budgetPeriod`. The estimate of a charge is reserved before it is sent; once its job is done, its cost counts instead. A charge above the limit gets 402 with `remaining` and `renews_at`. */
  maxCredits?: number | undefined;
  /** When the budget starts again: each day or each month, at midnight UTC. Default: `month`. */
  budgetPeriod?: "day" | "month" | undefined;
  /** The most requests of a user in a minute, polls included. Further requests get 429 with `retry-after`. */
  requestsPerMinute?: number | undefined;
  /** The most jobs of a user in progress. Another one gets 429. */
  jobsAtOnce?: number | undefined;
}

/** The store of the users' accounts. Create it with `durableObjectStore`, `fileStore` or `memoryStore`. */
export interface RelayStore {
  /** Called by the relay. */
  run(...given: never[]): Promise<unknown>;
}

/** Options of a relay. An unknown name throws `InvalidRequestError`. */
export interface RelayOptions {
  /** The account's `X-API-ID`. */
  apiId: string;
  /** The account's `X-API-KEY`. It reaches no page and no log. */
  apiKey: string;
  /** The absolute URL of the provider or of the sandbox. Default: `https://api.creatify.ai`. */
  baseUrl?: string | URL | undefined;
  /** Your login: returns the user who sent a request, or `null` for a 401. It must not read the body. If it throws, the request gets 503. */
  authorize: (request: Request) => User | null | undefined | Promise<User | null | undefined>;
  /** The templates that pages may use, with the length of their videos in seconds, for the estimates. Or any template, estimated as the longest. */
  templates: { [id: string]: { seconds: number } } | { any: true; maxSeconds: number };
  /** The store of operations, budgets and jobs: `durableObjectStore(namespace)` in Workers, `fileStore(directory)` on a server, `memoryStore()` in tests. */
  store: RelayStore;
  /** The limits of each user. Default: none. */
  limits?: RelayLimits | undefined;
  /** What pages may send and receive in addition. Default: nothing. `webhook_url`, `seconds` and unknown fields of a page are always refused. */
  allow?:
    | {
        /** The models that pages may choose. They set the price. */
        model_version?: string[] | undefined;
        /** Whether pages may name jobs. */
        name?: boolean | undefined;
        /** Whether pages may hide jobs from the provider's project page. */
        is_hidden?: boolean | undefined;
        /** Whether pages receive `editor_url`. */
        editor_url?: boolean | undefined;
      }
    | undefined;
  /** The URL at which the provider reaches this relay, with or without `path`. Each charge then has a webhook URL with its own token. Default: none; a timer polls open jobs. */
  publicUrl?: string | URL | undefined;
  /** Other origins whose pages may call the relay, such as `https://app.example`. Default: none. */
  origins?: string[] | undefined;
  /** The path of the relay, which a page passes as the option `relay`. Default: `/relay`. */
  path?: string | undefined;
  /** Receives the events of the relay's clients, for logs. They contain no key and no variable. Default: none. */
  onEvent?: ((event: ClientEvent) => void) | undefined;
}

/** A relay. It has the shape of a Worker: `export default relay`. */
export interface Relay<Env = unknown> {
  /**
   * Responds to a request. `env` is passed to the function that makes the options. `ctx.waitUntil` keeps a charge alive after its
   * visitor has left. It never rejects: failures are responses with 4xx or 503.
   */
  fetch(request: Request, env?: Env, ctx?: { waitUntil(promise: Promise<unknown>): void }): Promise<Response>;
}

/**
 * Creates a relay for pages. It keeps the account's key, makes one charge per `Idempotency-Key`, separates users, enforces their
 * limits, and reports the outcome of a charge whose response was lost.
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
 * Throws `InvalidRequestError` if an option is missing or invalid. There is no development mode: `authorize`, `templates` and
 * `store` are required. A function as `options` is called at the first request with each `env`; if it throws, requests get 503.
 */
export function createRelay<Env = unknown>(options: RelayOptions | ((env: Env) => RelayOptions)): Relay<Env>;

/**
 * Turns a relay into a listener: `http.createServer(toNodeListener(relay))`, `app.use(toNodeListener(relay))` in Express,
 * `app.all("/relay/*", toNodeListener(relay))` in Fastify.
 */
export function toNodeListener(relay: Relay): (request: object, response: object) => Promise<void>;

/** Creates a store in memory, for tests. It ends with its process, and so does the record of what was paid for. */
export function memoryStore(): RelayStore;

/**
 * Creates a store in a directory, for Node, Deno and Bun. It is for one process, which locks the directory: another process that
 * opens it gets an Error. The record of a charge is on the disk before the charge is sent. A missing directory is created.
 *
 * @param directory The path, or a `file:` URL. Nothing else may write to the directory.
 */
export function fileStore(directory: string | URL): RelayStore;

/**
 * Creates a store of Durable Objects, one for each user.
 *
 * @param namespace The binding of a class that extends `RelayAccount` of `custom-template-jobs/relay/cloudflare`.
 */
export function durableObjectStore(namespace: { idFromName(name: string): any; get(id: any): any }): RelayStore;
