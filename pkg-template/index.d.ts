/// <reference lib="esnext.disposable" />

declare global {
  // Node's types do not declare this namespace; `Module` is all that this file uses of it.
  namespace WebAssembly {
    interface Module {}
  }
}

/** A value that JSON carries unchanged. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/**
 * The status of a job's current step. `pending`, `in_queue` and `running` are in progress; `done`, `failed` and `rejected` are final.
 * A status that this version does not know is passed on unchanged, and polling continues.
 */
export type Status = "pending" | "in_queue" | "running" | "done" | "failed" | "rejected" | (string & {});

/** The model of a template's avatar. It sets the price. The provider's default is `standard`. */
export type ModelVersion = "standard" | "aurora_v1" | "aurora_v1_fast";

/** A step that costs credits. */
export type Step = "submit" | "preview" | "render";

/** One variable of a template. Make it with `text()`, `image()`, `video()`, `audio()`, `avatar()` or `voiceover()`. */
export type Variable =
  | { type: "text"; properties: { content: string } }
  | { type: "image" | "video" | "audio"; properties: { url: string } }
  | { type: "avatar"; properties: { avatar_id: string } }
  | { type: "voiceover"; properties: { voice_id?: string | undefined } };

/** A variable of a type that this version does not know, as the provider documents it. */
export interface AnyVariable {
  /** The type, such as `text`. */
  type: string;
  /** The properties of that type. */
  properties: { [name: string]: Json | undefined };
}

/** The variables of a template by name, as your own type or interface. */
export type Variables<V> = object & { [Name in keyof V]: Variable | AnyVariable };

/**
 * The request of `submit`, `preview`, `previewAsync` and `previewSync`, with the field names of the provider's API. The call copies
 * the object at once, so later changes to it have no effect. An invalid field rejects with `InvalidRequestError`, which names its
 * path, before anything is sent. At most 10 MB of JSON and 100 levels.
 */
export interface JobRequest<V = { [name: string]: Variable | AnyVariable }> {
  /** The UUID of a template. `templates()` lists yours. */
  template_id: string;
  /**
   * The template's variables by name, as set in the provider's editor; the API does not list them. Each is an object with `type`
   * and `properties`, such as `text("Hello")`. A plain string is refused. Use `{}` for a template without variables.
   * The object holds plain JSON values: no `undefined` (except as `voice_id`), `NaN`, cycle, sparse array, class instance, `Date`,
   * `File` or `Blob`.
   */
  variables: V;
  /** The job's name on the provider's pages, at most 255 characters. Default: none. */
  name?: string | null | undefined;
  /**
   * An absolute http or https URL that the provider calls when the job ends. `{operation}` in its path or query is replaced by the
   * percent-encoded operation id. Prefer the query, since some proxies rewrite `%2F` in a path. At most 200 characters, with the id
   * filled in. Default: none.
   */
  webhook_url?: string | null | undefined;
  /** The model of the avatar. Pass a model that this version does not know in `ChargeOptions.extra`. Default: `standard`. */
  model_version?: ModelVersion | undefined;
  /** Whether the job is hidden from the provider's project page. Default: false. */
  is_hidden?: boolean | undefined;
  /** The length of the video in seconds, more than 0 and at most 86400. It is used for the estimate that `maxCredits` needs and is never sent. Default: the length of the template's last job, if this client saw one; otherwise a call with `maxCredits` rejects with `InvalidRequestError`. */
  seconds?: number | undefined;
}

/**
 * A job exactly as the API returned it: a plain object that can be stored, cloned and posted. It includes fields that the provider
 * adds later.
 */
export interface Job {
  /** A UUID. */
  id: string;
  /** The status of the current step. After a `done` preview, a render starts again at `pending`. */
  status: Status;
  /** The progress of the step. The range is not documented; 0 to 1 was observed. */
  progress: number | null;
  /** The URL of a page that plays the preview, for an iframe. `null` until it is ready. */
  preview: string | null;
  /** The URL of the video. `null` until it is rendered. Download it: how long the URL works is not documented. */
  video_output: string | null;
  /** The URL of an editor for the video, valid for 24 hours. `null` unless the account has editor access. */
  editor_url: string | null;
  /** The reason of a failure; otherwise `null` or empty. */
  failed_reason: string | null;
  /** The job's cost in credits, possibly fractional. 0 until the work is done. */
  credits_used: number;
  /** The length of the video, in seconds. */
  duration: number;
  /** The variables of the request. */
  variables: { [name: string]: Json };
  /** The id of the provider's media job behind it; not documented. */
  media_job: string | null;
  /** The time of submission, RFC 3339. */
  created_at: string;
  /** The time of the last change, RFC 3339. */
  updated_at: string;
  /** The name in the request. */
  name?: string | null | undefined;
  /** The webhook URL in the request. */
  webhook_url?: string | null | undefined;
  /** The model in the request. */
  model_version?: ModelVersion | null | undefined;
  /** Whether the job is hidden from the provider's project page. */
  is_hidden?: boolean | undefined;
}

/** A template of the account. The API does not report its length or its variables. */
export interface Template {
  /** A UUID, for the `template_id` of a request. */
  template_id: string;
  /** The name in the provider's editor. */
  name: string;
  /** The URL of a picture or page. */
  preview: string;
  /** The aspect ratio, such as `9x16`. */
  aspect_ratio: string;
  /** The time of creation, RFC 3339. */
  created_at: string;
  /** The time of the last change, RFC 3339. */
  updated_at: string;
}

/** The state of a wait: the job, its progress, and the next poll. */
export interface Update {
  /** The job as last polled. It is the same object until the job changes. */
  job: Job;
  /** The last step that this client charged for. `undefined` if it charged for none. */
  step: Step | undefined;
  /** The estimated progress of the step, from 0 to 1, for a progress bar. It is based on what the job reports and on how long such jobs took. It never falls. `null` while nothing is known; 1 when the result is ready. */
  progress: number | null;
  /** Estimated milliseconds until the step ends. `undefined` while that is unknown. */
  remainingMs?: number | undefined;
  /** Milliseconds until the next poll. 0 while a poll is in flight; `undefined` in the last update. */
  nextPollMs?: number | undefined;
}

/** A charge in the journal whose job has not ended yet. */
export interface Operation {
  /** The operation id: yours, or a generated one. */
  operation: string;
  /** The step that was charged for. */
  step: Step;
  /** `sending`: this client is sending it now. `bound`: it was accepted, and `jobId` is its job. `unknown`: it was sent and its outcome is unknown, for example after a crash. `ended`: its job has ended. */
  state: "sending" | "unknown" | "bound" | "ended";
  /** The time of the charge, in milliseconds since 1970. */
  createdAt: number;
  /** The id of the job, once it is known. */
  jobId?: string | undefined;
  /** The `metadata` of the charge. */
  metadata?: Json | undefined;
}

/** The price of every started block of video. */
export interface Price {
  /** Credits per block, 0 or more. */
  credits: number;
  /** Seconds per block, more than 0. */
  seconds: number;
}

/** The prices of the charging calls. A member that is not set has its default. */
export interface PriceTable {
  /** Any preview. Default: 1 credit for every started 30 seconds. */
  preview?: Price | undefined;
  /** `submit` with the standard model. Default: 5 for every started 30 seconds. */
  submit?: Price | undefined;
  /** `render` with the standard model. Default: 4 for every started 30 seconds. */
  render?: Price | undefined;
  /** `submit` and `render` with aurora_v1. Default: 20 for every started 15 seconds. */
  aurora_v1?: Price | undefined;
  /** `submit` and `render` with aurora_v1_fast. Default: 10 for every started 15 seconds. */
  aurora_v1_fast?: Price | undefined;
  /** `submit` and `render` with a model that this version does not know, by the model's name. Default: none; with `maxCredits`, such a charge is refused. */
  [model: `${string}_v${string}`]: Price | undefined;
}

/**
 * A store in which every charge is recorded before it is sent. `create`, `replace` and `delete` must be atomic: when two callers
 * create the same id, exactly one gets `true`. A store without atomic writes, such as Cloudflare KV, cannot prevent a double charge.
 * The journal also keeps how long jobs took, in at most 1000 entries per account. These are read by the first wait for a kind of
 * job and written at the end of each job, in the background; if that fails, polling uses what this client has seen itself.
 */
export interface Journal {
  /** Writes `entry` if `id` has no entry. Returns whether it wrote. */
  create(id: string, entry: string): Promise<boolean> | boolean;
  /** Returns the entry under `id`. Return a damaged entry as it is, never as missing: a missing entry allows a new charge. */
  read(id: string): Promise<string | null | undefined> | string | null | undefined;
  /** Writes `entry` under `id` and overwrites what is there. */
  write(id: string, entry: string): Promise<void> | void;
  /**
   * Writes `entry` if the entry under `id` equals `old` (compare and set). Returns whether it wrote. Without this method the client
   * reads, compares and writes. Two clients that record the outcome of one operation in the same moment may then overwrite each
   * other.
   */
  replace?(id: string, old: string, entry: string): Promise<boolean> | boolean;
  /** Deletes the entry under `id`. With `entry`, deletes only if the stored entry equals it, since another client may have recorded a new charge there. Returns whether it deleted something. */
  delete(id: string, entry?: string): Promise<boolean | void> | boolean | void;
  /** Returns the ids that begin with `prefix`, which ends in `/`. */
  list(prefix: string): Promise<string[]> | string[];
}

/**
 * An event of a client, for logs and traces. It contains no key and no variable.
 * - `request`: a request is sent now. `operation` is set if it charges.
 * - `response`: a response with any `status` arrived, `ms` milliseconds after its request. `attempt` counts from 1. `requestId` is
 *   the response's `X-Request-Id`; in a page of another origin it is set only if the server exposes it. A request without a response
 *   emits no such event.
 * - `retry`: a read failed and is retried in `inMs` milliseconds.
 * - `poll`: a job changed and is polled again in `inMs` milliseconds.
 * - `verdict`: the outcome of a charge: `bound` to `jobId`, `rejected` or `not_sent` (neither was charged), or `unknown`.
 * - `skipped`: the journal entry under `key` cannot be read: a newer version wrote it, or it is damaged. `pending()` leaves it out,
 *   and nothing is charged under its id.
 * - `warning`: something that you may want to look into; no call fails because of it. Its `code` is one of these:
 *   `known_job_id`: the response to a charge names a job of another operation.
 *   `late_answer`: an operation that was discarded, or settled with another job, was charged after all.
 *   `wasm_fallback`: the `.wasm` file was not served, so the WebAssembly was loaded from scripts. Emitted once per client.
 *   `no_indexeddb`: this page has no `indexedDB`, like the DOMs of some tests, so the journal is in memory. Emitted once per client.
 */
export type ClientEvent =
  | { type: "request"; method: "GET" | "POST"; path: string; operation?: string | undefined }
  | { type: "response"; method: "GET" | "POST"; path: string; status: number; ms: number; attempt: number; operation?: string | undefined; requestId?: string | undefined }
  | { type: "retry"; path: string; inMs: number }
  | { type: "poll"; jobId: string; inMs: number }
  | { type: "skipped"; key: string }
  | { type: "warning"; code: string; message: string; operation?: string | undefined; jobId?: string | undefined }
  | { type: "verdict"; operation: string; verdict: "bound" | "rejected" | "not_sent" | "unknown"; jobId?: string | undefined };

/** Headers in any form that the runtime's `Headers` constructor takes. */
export type HeadersSource = NonNullable<ConstructorParameters<typeof Headers>[0]>;

/** Options of a client. All are optional. The constructor copies them, so later changes to the object have no effect. An unknown name throws `InvalidRequestError`. */
export interface TemplateJobsOptions {
  /**
   * The URL of your relay, a server that adds the API key and makes one charge per `Idempotency-Key`. In a page it may be relative.
   * `custom-template-jobs/relay` is one. It replaces `baseUrl`, and each charge carries `Idempotency-Key`, percent-encoded. If the
   * answer to a charge is lost, the client asks `GET /operations?key=` below this URL, and sends the charge again, with the same key,
   * only if the relay reports that it charged nothing. The constructor throws if `apiKey` or `baseUrl` is set too. Default: none.
   */
  relay?: string | URL | undefined;
  /** The URL of the provider or of the sandbox. In a page it may be relative. If it is no URL, calls reject with `InvalidRequestError`. Default: `https://api.creatify.ai`. */
  baseUrl?: string | URL | undefined;
  /** Separates the operations of different users of one page: an operation belongs to `account`, `apiId` and `baseUrl`. Never sent. Default: none. */
  account?: string | undefined;
  /** The API id, sent as `X-API-ID`. Default: none; a relay adds it. */
  apiId?: string | undefined;
  /** The API key, sent as `X-API-KEY`. A function is called before each request; if it fails, the call rejects with `InvalidRequestError`. Never put a key in a page. Default: none. */
  apiKey?: string | (() => string | Promise<string>) | undefined;
  /** Allows `apiKey` in a page or its workers, where every visitor can read it. Default: false; the constructor throws. */
  dangerouslyAllowBrowser?: boolean | undefined;
  /** Headers of each request, for example the login of your relay. If they cannot be created or sent, the call rejects with `InvalidRequestError`. Default: none. */
  headers?: HeadersSource | (() => HeadersSource | Promise<HeadersSource>) | undefined;
  /** Advanced. Whether each charge carries `Idempotency-Key: <operation>`. Default: true with `relay` or a relative `baseUrl`, otherwise false. */
  idempotencyHeader?: boolean | undefined;
  /**
   * Milliseconds for one request. After that the call rejects with `ConnectionError`, or with `ChargeUnknownError` if it may have
   * been charged. The same limit holds for loading the WebAssembly, for the functions `headers` and `apiKey`, for one journal call
   * and for `listJobs`. Default: 30000.
   */
  timeout?: number | undefined;
  /** Milliseconds for `previewSync`, and for the response to a charge whose caller stopped waiting. Default: 300000. */
  previewTimeout?: number | undefined;
  /** How often a failed read is retried. A charge is never retried once it may have been sent. Default: 3. */
  maxRetries?: number | undefined;
  /** The most credits that the clients of this process with the same `account`, `apiId` and `baseUrl` may spend together. A charge above it rejects with `BudgetExceededError` and is not sent. A finite number, 0 or more. Default: no limit. */
  maxCredits?: number | undefined;
  /**
   * Makes the journal sum what counts towards `maxCredits`, over all clients with this key in all tabs and processes. The sum lasts
   * for ever, or for one `budgetPeriod`. Outside of pages it needs `journal`, otherwise the constructor throws. When several calls
   * together would exceed the limit, each of them may be refused. Default: the sum is kept in this process and ends with it.
   */
  budgetKey?: string | undefined;
  /** When the sum starts again at 0: each day or each month, at midnight UTC. A charge counts in the period in which it was made. Default: never. */
  budgetPeriod?: "day" | "month" | undefined;
  /** The prices for estimates. Default: the provider's prices before May 2026. `prices.perSecond` has the newer ones. */
  prices?: PriceTable | undefined;
  /** The store in which charges are recorded. If a charge cannot be recorded, it rejects with `JournalError` and is not sent. `custom-template-jobs/file-journal` has a journal for servers, `custom-template-jobs/durable-object` one for Durable Objects. Default: IndexedDB in pages and their workers; elsewhere, and in a page without `indexedDB`, the memory of this process. */
  journal?: Journal | "memory" | undefined;
  /** A function that lists the jobs created since a date, if you have one. It is used to settle unknown charges only. Default: none; the provider documents no such list. */
  listJobs?: ((since: Date) => Promise<Job[]>) | undefined;
  /** Called as `(url, init)`. Default: the global `fetch`. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /** Receives each event of the client. An error that it throws is reported and affects no call. Default: none. */
  onEvent?: ((event: ClientEvent) => void) | undefined;
  /** Keeps a worker alive until a charge has ended; used for each charge without its own `waitUntil`. Default: in Cloudflare Workers, `waitUntil` of the request that makes the charge, if the compatibility date includes it in `cloudflare:workers`; otherwise none. */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/** Options of a call that reads. */
export interface CallOptions {
  /** Stops waiting at once: the call rejects with `signal.reason`. It ends the wait only: the provider cannot cancel a job. Default: none. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for one request; after that the call rejects with `ConnectionError`. Default: the client's `timeout`. */
  timeout?: number | undefined;
}

/** Options of a call that charges. */
export interface ChargeOptions {
  /** Ends the wait at once, including `wait()` and the updates of the promise: they reject with `signal.reason`. A charge that was not sent yet is not sent. One that was sent continues, since the provider cannot cancel a job; `pending()` lists it. Default: none. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the call rejects with `ChargeUnknownError`; the charge continues. If the charge was not sent yet, it is not sent, and the call rejects with `ConnectionError` and `sent: false`. Default: the client's `timeout`, or its `previewTimeout` for `previewSync`. */
  timeout?: number | undefined;
  /** Your own id of this charge, 1 to 255 characters of well-formed Unicode. A second call with the same id returns the first call's job and is not charged. With another request it rejects with `OperationConflictError`. Outside of pages it needs the client's `journal`, otherwise the call rejects with `InvalidRequestError`. Default: a new id; `render:<job id>` for `render`. */
  operation?: string | undefined;
  /**
   * Request fields that this version does not know, as JSON values. They are sent with the request, and the same operation needs
   * the same ones. A field of `JobRequest` is refused here, except a `model_version` that `ModelVersion` does not list; with
   * `maxCredits`, such a model needs a price in `prices`. Default: none.
   */
  extra?: { [field: string]: Json | undefined } | undefined;
  /** Your own data, such as the row or the form that the charge is for. `pending()` returns it. JSON, at most 1 KB. It stays in the journal and is never sent. Default: none. */
  metadata?: Json | undefined;
  /** `ctx.waitUntil` of a worker: keeps the charge alive after the visitor has left. Default: the client's. */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/** Options of a wait. */
export interface PollOptions {
  /** Stops waiting at once: the call rejects with `signal.reason`. It ends the wait only: the provider cannot cancel a job. Default: none. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the wait rejects with `PollTimeoutError`. Time in which the machine slept is not counted. Default: 1800000 (30 minutes). */
  timeout?: number | undefined;
  /** The result to wait for. Default: the result of the last step that this client charged for, otherwise the first `done`. */
  until?: "preview" | "video" | undefined;
  /**
   * Called with the job and the same {@link Update} that `watch` yields: at once, on each change of the job, and each second in
   * between, which needs no request. While the page is hidden it is called on changes only. With a listener the job is polled more
   * often. An error that it throws is reported, and the wait continues. Default: none.
   */
  onUpdate?: ((job: Job, update: Update) => void) | undefined;
  /** Advanced. How long such jobs take, in milliseconds. Default: the durations that the journal has for this template, step and model, from the last 30 days. */
  expectedMs?: number | undefined;
  /** The longest time between two polls, in milliseconds. Default: 15000 with a listener for updates, otherwise 30000. */
  maxInterval?: number | undefined;
  /** How soon the end is wanted. `"high"`: intervals half as long, at least 1 s, so the end is seen sooner, for more requests. `"low"`: intervals twice as long, for fewer requests. `maxInterval` still holds. Default: `"normal"`. */
  urgency?: "low" | "normal" | "high" | undefined;
}

/** A job whose preview is ready. */
export type PreviewedJob = Job & { preview: string };
/** A job whose video is ready. */
export type RenderedJob = Job & { status: "done"; video_output: string };

/** Options of `wait()`. It waits for the result of its step, so there is no `until`. */
export type WaitOptions = Omit<PollOptions, "until">;

/**
 * The promise of a charging call. It resolves with the job once the provider has accepted it, and rejects with the errors that
 * {@link TemplateJobs} lists.
 *
 * ```ts
 * const video = await jobs.submit(request).wait();
 * ```
 */
export interface JobPromise<R extends Job = PreviewedJob | RenderedJob> extends Promise<Job> {
  /** The operation id of the charge, set before the promise settles. Pass it to `resume`, `settle` or `discard`. */
  readonly operation: string;
  /**
   * Waits for the result of the step: the preview of a preview, otherwise the video. Rejects with the errors of the promise, or with
   * `JobFailedError`, `PollTimeoutError` or `IncompleteResultError`; each has `operation`. The promise itself then needs no handler
   * of its own. The `signal` of the charge ends this wait too.
   */
  wait(options?: WaitOptions): Promise<R>;
  /** Yields every update until the result of the step is ready. Ends and throws like `wait()`. */
  [Symbol.asyncIterator](): AsyncIterator<Update, undefined>;
}

/**
 * A client of the custom template jobs API. The first call loads the WebAssembly; there is nothing to await before.
 *
 * No method throws. A failed call rejects with a {@link TemplateJobsError}, whose `name` says which; an aborted call rejects with
 * `signal.reason`. Any call may reject with `InvalidRequestError` (nothing was sent), `ApiError`, `ConnectionError`, `LoadError` or
 * `ClosedError`. A charging call may also reject with `ChargeUnknownError`, `BudgetExceededError`, `OperationConflictError` or
 * `JournalError`.
 */
export class TemplateJobs {
  /** Creates a client and sends nothing. Throws `InvalidRequestError` if an option is invalid, or if `apiKey` is set in a page without `dangerouslyAllowBrowser`. */
  constructor(options?: TemplateJobsOptions);

  /** Renders a video without a preview: `POST /api/custom_template_jobs/`. Resolves with the pending job; `submit(request).wait()` resolves with the video. */
  submit<V extends Variables<V>>(request: JobRequest<V>, options?: ChargeOptions): JobPromise<RenderedJob>;
  /** Makes a preview and waits for it: `previewAsync(request).wait()` in one call, with the errors of both. `timeout` covers both; `until` may only be `preview`. */
  preview<V extends Variables<V>>(request: JobRequest<V>, options?: ChargeOptions & PollOptions): Promise<PreviewedJob> & { readonly operation: string };
  /** Starts a preview: `POST /api/custom_template_jobs/preview_async/`. Resolves with the pending job; `previewAsync(request).wait()` resolves with the preview. */
  previewAsync<V extends Variables<V>>(request: JobRequest<V>, options?: ChargeOptions): JobPromise<PreviewedJob>;
  /** Advanced. Makes a preview by one request that blocks until it is ready: `POST /api/custom_template_jobs/preview/`. `preview` is more robust, since no long request can break off. */
  previewSync<V extends Variables<V>>(request: JobRequest<V>, options?: ChargeOptions): Promise<Job> & { readonly operation: string };
  /**
   * Renders the video of a job whose preview is ready: `POST /api/custom_template_jobs/{id}/render/`. Resolves with the pending job;
   * `render(job).wait()` resolves with the video.
   *
   * A job that already has its video, or whose render is in the journal, is returned and not charged. If the preview is still in
   * progress but already has a URL, the call first waits for it, at most `previewTimeout`.
   *
   * One operation is one charge, even if the render failed: the call then returns the failed job, and `wait()` rejects with
   * `JobFailedError`. To pay for another render, pass a new `operation`. A job with a video is rendered again only if `changes` has
   * values that differ from the job's.
   */
  render<V extends Variables<V>>(job: string | Job, changes?: Partial<JobRequest<V>>, options?: ChargeOptions): JobPromise<RenderedJob>;
  /** Fetches a job: `GET /api/custom_template_jobs/{id}/`. */
  get(job: string | Job, options?: CallOptions): Promise<Job>;
  /** Waits for the job's video. Rejects with `JobFailedError`, `PollTimeoutError` or `IncompleteResultError`. The last one also means that the job was never rendered: two polls at least 10 seconds apart found it `done` without a video, and the journal has no charge for one. */
  poll(job: string | Job, options: PollOptions & { until: "video" }): Promise<RenderedJob>;
  /** Waits for the job's preview. */
  poll(job: string | Job, options: PollOptions & { until: "preview" }): Promise<PreviewedJob>;
  /** Waits for the result of the last step that this client charged for, otherwise for the first `done`. */
  poll(job: string | Job, options?: PollOptions): Promise<Job>;
  /** Yields the updates of a job: the first at once, then each change, and each second an estimate, which needs no request. While the page is hidden it yields changes only. A slow reader gets every change and the newest estimate. Ends and throws like `poll`, after an update with the final job. Leaving the loop ends the wait. */
  watch(job: string | Job, options?: PollOptions): AsyncIterableIterator<Update, undefined>;
  /** Lists the account's templates: `GET /api/custom_templates/`. */
  templates(options?: CallOptions): Promise<Template[]>;
  /** Fetches the account's balance in credits: `GET /api/remaining_credits/`. */
  remainingCredits(options?: CallOptions): Promise<number>;
  /** Estimates the cost of a step in credits, for a video of `seconds` seconds. Sends nothing. Rejects with `InvalidRequestError` if `seconds` is not more than 0, or if the model has no price. */
  estimate(question: { step: Step; seconds: number; model_version?: ModelVersion | (string & {}) | undefined }): Promise<number>;
  /** Lists the operations in the journal that have not ended, for example to resume them after a reload. With the option `relay` it first asks the relay about those whose outcome is unknown. Rejects with `JournalError`. */
  pending(): Promise<Operation[]>;
  /**
   * Looks for the outcome of an unknown charge, with the option `relay` at the relay first. Never charges. Pass `jobId` if you know the job, for example from a webhook. If the
   * request's `webhook_url` had `{operation}` in it, only a job with that URL is accepted. `state` stays `unknown` if the outcome was
   * not found. Rejects with `InvalidRequestError` if the journal has no such operation.
   */
  settle(operation: string, options?: { jobId?: string | undefined; signal?: AbortSignal | undefined }): Promise<Operation>;
  /**
   * Resumes an operation, for example one of `pending()` after a reload: `await jobs.resume(operation).wait()`. Never charges.
   * If the operation is in flight, here or in another tab, it waits for that. If its outcome is unknown, it settles it first.
   * Rejects with `ChargeUnknownError` if the outcome is still unknown, with `InvalidRequestError` if the journal has no such
   * operation, and with the errors of `get` and `settle`. An unhandled rejection of this promise is not reported.
   */
  resume(operation: string | Operation): JobPromise;
  /**
   * Handles a webhook: reads its `Request`, fetches the job that it names, settles the job's operation, and resolves with both.
   * Webhooks are not signed, so only the job's id is read from the body. `operation` is set if the journal has one for the job, or
   * if the request's `webhook_url` had `{operation}` in it.
   *
   * Rejects with `InvalidRequestError` if the request is no POST, was read before, exceeds 1 MB, does not arrive within `timeout`, or
   * names no job. Rejects with `ApiError` if the job is not the account's, or with `ConnectionError` or `JournalError`: then
   * respond with 500, so that the provider sends the webhook again.
   */
  handleWebhook(request: Request): Promise<{ job: Job; operation?: Operation | undefined }>;
  /**
   * Closes an unknown operation that was not charged, as you know from your account's pages. Its id can be used again, and its share
   * of `maxCredits` is released. Sends nothing. Rejects with `InvalidRequestError` if the journal has no such operation, or if it is
   * in flight or was charged. If a response arrives later, a `warning` event reports its job's id.
   */
  discard(operation: string): Promise<void>;
  /** Closes the client: every call rejects with `ClosedError`. A charge in flight continues. */
  close(): void;
  /** The same as `close()`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Whether the provider accepted the operation of an error. A later refund does not change it. It is `maybe` as well if the response
 * to a render was lost and the job shows a render, since the job does not show which operation started it.
 */
export type Charged = "no" | "yes" | "maybe";

/**
 * What to do after an error. The `message` says the same in a sentence.
 * - `fix_request`: correct the request, option or key that the message names. The same call would fail again.
 * - `retry`: make the same call again; a charge with the same `operation`.
 * - `wait`: call again later.
 * - `resume`: it was charged. Call `resume(operation)` to get the job.
 * - `settle_or_discard`: the outcome is unknown. Call `settle(operation)`, or `discard(operation)` if your account shows no such job.
 * - `new_operation`: to pay for another job, pass a new `operation`.
 * - `add_credits`: add credits to the account, or raise `maxCredits`.
 * - `none`: no call helps. The message says what happened.
 */
export type Remedy =
  | "fix_request"
  | "retry"
  | "wait"
  | "resume"
  | "settle_or_discard"
  | "new_operation"
  | "add_credits"
  | "none";

/** An error as JSON, without its stack. `TemplateJobsError.from` turns it back into an error. */
export interface ErrorRecord {
  /** The name of the error. */
  name: TemplateJobsError["name"];
  /** What went wrong and what to do. */
  message: string;
  /** Whether the provider accepted `operation`. */
  charged: Charged;
  /** What to do. */
  remedy: Remedy;
  /** The operation id of the charge. */
  operation?: string | undefined;
  /** The id of the job, if known. */
  jobId?: string | undefined;
  /** The other members of that error, and its `cause`. */
  [member: string]: unknown;
}

interface Base<Name extends string, Help extends Remedy, Accepted extends Charged = Charged> extends Error {
  /** The name of the error. */
  readonly name: Name;
  /**
   * Whether the provider accepted `operation`. `maybe`: it was sent and its outcome is unknown, or the journal cannot be read.
   * `no` if the error has no `operation`.
   */
  readonly charged: Accepted;
  /** What to do. `message` says the same in a sentence. */
  readonly remedy: Help;
  /** The operation id. Set on every error of a charge and of the wait for its job. */
  readonly operation?: string | undefined;
  /** The id of the job, if known. */
  readonly jobId?: string | undefined;
  /** The error as plain data, for `JSON.stringify`, a log or another process. */
  toJSON(): ErrorRecord;
}
/** An argument is invalid. Nothing was sent. */
export interface InvalidRequestError extends Base<"InvalidRequestError", "fix_request"> {
  /** The path of the invalid argument, such as `variables.title`. */
  readonly field: string;
}
/** The API responded with an error, or with something unexpected. */
export interface ApiError extends Base<"ApiError", "fix_request" | "retry" | "wait" | "resume" | "add_credits"> {
  /** The HTTP status; 0 for a redirect that a browser hides. */
  readonly status: number;
  /** What the status means. */
  readonly kind:
    | "authentication"
    | "insufficient_credits"
    | "not_found"
    | "rate_limited"
    | "invalid"
    | "server"
    | "unexpected";
  /** The API's messages about single fields, by flat path, such as `variables.headline` or `variables.shots.1.url`. Empty if there are none. At most 1,000 messages, 16 levels deep. */
  readonly fields: { [field: string]: string[] };
  /** The response body: JSON, or the first 500 characters of a text. */
  readonly body?: unknown;
  /** The `Retry-After` of the response, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}
/** No response arrived. */
export interface ConnectionError extends Base<"ConnectionError", "retry" | "resume"> {
  /** Whether the request may have reached the server. For a charge it is `false`: this call charged nothing. */
  readonly sent: boolean;
}
/** A charge was sent and its outcome is unknown. It is never sent again. Call `settle(operation)`. */
export interface ChargeUnknownError extends Base<"ChargeUnknownError", "settle_or_discard", "maybe"> {
  /** The operation id, for `settle` and `discard`. */
  readonly operation: string;
}
/** The job ended as `failed` or `rejected`. */
export interface JobFailedError extends Base<"JobFailedError", "new_operation"> {
  /** The failed job. */
  readonly job: Job;
  /** The job's `failed_reason`, or a note that the provider gave none. */
  readonly reason: string;
}
/** The job was still running at the end of `timeout`. */
export interface PollTimeoutError extends Base<"PollTimeoutError", "wait"> {
  /** The job as last polled. */
  readonly job?: Job | undefined;
}
/** The job is `done` without the expected URL: two polls at least 30 seconds apart found none. If the URL is a video's and the journal has no charge for it, 10 seconds are enough, and `remedy` is `fix_request`: render the job first. */
export interface IncompleteResultError extends Base<"IncompleteResultError", "wait" | "fix_request"> {
  /** The job as last polled. */
  readonly job: Job;
}
/** The call would exceed `maxCredits`. Nothing was sent. */
export interface BudgetExceededError extends Base<"BudgetExceededError", "add_credits"> {
  /** The estimated cost of the call, in credits. */
  readonly estimate: number;
  /** The rest of the budget, in credits. */
  readonly remaining: number;
}
/** The operation id was used before for another request. This request was not sent; `charged` is about the earlier one. */
export interface OperationConflictError extends Base<"OperationConflictError", "new_operation"> {
  /** The id of both requests. */
  readonly operation: string;
}
/** The journal failed. Nothing was sent. */
export interface JournalError extends Base<"JournalError", "retry" | "resume"> {}
/**
 * The WebAssembly could not be loaded, or it panicked; the message names the cause and the fix. If it could not be loaded, the next
 * call tries again (`retry`). After a panic every call rejects until the page is reloaded or the worker restarted (`none`).
 */
export interface LoadError extends Base<"LoadError", "retry" | "none", "no"> {}
/** The client was closed. A charge in flight continues: call `resume(operation)` on another client. */
export interface ClosedError extends Base<"ClosedError", "resume" | "none"> {}

/** Any error of this library, distinguished by `name`. */
export type TemplateJobsError =
  | InvalidRequestError
  | ApiError
  | ConnectionError
  | ChargeUnknownError
  | JobFailedError
  | PollTimeoutError
  | IncompleteResultError
  | BudgetExceededError
  | OperationConflictError
  | JournalError
  | LoadError
  | ClosedError;

/**
 * The class of all errors of this library, for `instanceof`. Needs TypeScript 5.3 or later.
 *
 * ```ts
 * if (!(error instanceof TemplateJobsError)) throw error;
 * switch (error.name) {
 *   case "BudgetExceededError":
 *     return error.remaining;
 * }
 * ```
 */
export const TemplateJobsError: {
  /** Also accepts errors of another copy of this package or of another realm. */
  [Symbol.hasInstance](value: unknown): value is TemplateJobsError;
  /** Turns a record of `toJSON()` back into an error; returns an error of this library unchanged. Throws `InvalidRequestError` for anything else. */
  from(record: unknown): TemplateJobsError;
};

/** Returns whether a value is an error of this library, like `instanceof TemplateJobsError`. */
export function isTemplateJobsError(error: unknown): error is TemplateJobsError;

/** A text variable. */
export function text(content: string): { type: "text"; properties: { content: string } };
/** An image variable, by the image's public URL. */
export function image(url: string): { type: "image"; properties: { url: string } };
/** A video variable, by the clip's public URL. */
export function video(url: string): { type: "video"; properties: { url: string } };
/** An audio variable, by the sound's public URL. */
export function audio(url: string): { type: "audio"; properties: { url: string } };
/** An avatar variable, by the id of a persona. */
export function avatar(avatarId: string): { type: "avatar"; properties: { avatar_id: string } };
/** A voiceover variable, by the id of an accent. */
export function voiceover(voiceId: string): { type: "voiceover"; properties: { voice_id: string } };

/**
 * Defines a template by the names and types of its variables. Returns a function that makes a request from plain values.
 *
 * ```ts
 * const teaser = defineTemplate(id, { headline: text, picture: image }, { seconds: 15 });
 * jobs.submit(teaser({ headline: "Hello", picture: "https://example.com/a.png" }));
 * ```
 *
 * The compiler checks the names. The function checks them too, and throws `InvalidRequestError` if one is missing or unknown.
 * `defaults` are members of every request; `more` are members of one request and override `defaults`.
 */
export function defineTemplate<V extends { [name: string]: (value: never) => AnyVariable }>(
  template_id: string,
  variables: V,
  defaults?: Partial<JobRequest>,
): (values: { [K in keyof V]: Parameters<V[K]>[0] }, more?: Partial<JobRequest>) => JobRequest;

/** The provider's price tables. `perBlock` is the default; `perSecond`, valid since May 2026, charges the Aurora models per started second. */
export const prices: { readonly perBlock: PriceTable; readonly perSecond: PriceTable };

/** Returns whether a job's preview is ready. */
export function isPreviewed(job: Job): job is PreviewedJob;
/** Returns whether a job is done and its video is ready. */
export function isRendered(job: Job): job is RenderedJob;

/** The content of a webhook. It is not signed, so anybody can send one: use it as a hint, and fetch the job with `get(jobId)`. */
export interface WebhookEvent {
  /** The id of the job. */
  jobId: string;
  /** The job's status, as the webhook reports it. */
  status: Status;
  /** The URL of the video, from either of the two fields that the provider documents. */
  output?: string | undefined;
  /** The reason of a failure, as the webhook reports it. */
  failedReason?: string | undefined;
  /** The operation id, if the URL has one: at the position of `{operation}` in `webhookUrl`, or as `?operation=`. */
  operation?: string | undefined;
}

/**
 * Parses a webhook. Prefer `jobs.handleWebhook(request)`, which also settles the operation and fetches the job. `body` is the text,
 * the bytes or the parsed JSON of the webhook. `url` is the URL that was called, absolute or from the path on. `webhookUrl` is the
 * `webhook_url` of the request, with `{operation}` in it. Throws `InvalidRequestError` if the body is no webhook. If `url` cannot be
 * parsed, `operation` is unset.
 */
export function parseWebhook<Body>(body: Body extends Request ? never : Body, url?: string | URL, options?: { webhookUrl?: string | undefined }): WebhookEvent;

/** A source of the WebAssembly for `init`: a URL, a request, a response, bytes or a module. */
export type WasmSource = string | URL | Request | Response | ArrayBuffer | ArrayBufferView | (WebAssembly.Module & object);

/**
 * Loads the WebAssembly before the first call, or from another source. Default in pages: the file beside the script; if that is not
 * served, scripts that contain it. On servers it is part of the script, in workers it is deployed with it. While it is loading
 * or after it has loaded, another `init` waits for the same load and ignores `source`. Rejects with `LoadError`; the next `init` or
 * call tries again.
 */
export function init(source?: WasmSource | Promise<WasmSource>): Promise<void>;
