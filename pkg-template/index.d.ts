/// <reference lib="esnext.disposable" />

declare global {
  // Node's types have no such namespace, and it is all that is needed of it here.
  namespace WebAssembly {
    interface Module {}
  }
}

/** A value that JSON carries unchanged. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/**
 * Where a job stands. `pending`, `in_queue` and `running` are on their way; the others are ends.
 * A word that the provider adds later is passed on as it is, and waited out.
 */
export type Status = "pending" | "in_queue" | "running" | "done" | "failed" | "rejected" | (string & {});

/** The model of a template's avatar. It sets the price; the provider's default is `standard`. */
export type ModelVersion = "standard" | "aurora_v1" | "aurora_v1_fast";

/** A step that costs credits. */
export type Step = "submit" | "preview" | "render";

/** One variable of a template; `text()`, `image()` and their like make them. */
export type Variable =
  | { type: "text"; properties: { content: string } }
  | { type: "image" | "video" | "audio"; properties: { url: string } }
  | { type: "avatar"; properties: { avatar_id: string } }
  | { type: "voiceover"; properties: { voice_id?: string | undefined } };

/** A variable of a type that this version does not know, as the provider documents it. */
export interface AnyVariable {
  /** What it is, such as `text`. */
  type: string;
  /** What it holds. */
  properties: { [name: string]: Json | undefined };
}

/** The variables of a template by name, in a type or an interface of yours. */
export type Variables<V> = object & { [Name in keyof V]: Variable | AnyVariable };

/**
 * What `submit`, `preview`, `previewAsync` and `previewSync` are given. The names are the wire's. The call copies it at once,
 * so a later change of the object changes nothing. It is checked before anything is sent: `InvalidRequestError` with the path
 * of the field. At most 10 MB of JSON and 100 levels.
 */
export interface JobRequest<V = { [name: string]: Variable | AnyVariable }> {
  /** The UUID of a template; `templates()` lists yours. */
  template_id: string;
  /**
   * The template's variables by name, as set in the provider's editor; the API does not list them. Each is an object with `type`
   * and `properties`, such as `text("Hello")`; a plain string is refused. A plain object of what JSON can carry: no `undefined`
   * (except as `voice_id`), `NaN`, cycle, sparse array, class instance, `Date`, `File` or `Blob`. `{}` for a template that has none.
   */
  variables: V;
  /** What the job is called in the provider's pages; at most 255 characters. Default: none. */
  name?: string | null | undefined;
  /**
   * Is called when the job ends; absolute, http or https. `{operation}` in its path or its query becomes the operation id,
   * percent-encoded; the query is the better place, as some proxies rewrite `%2F` in a path. At most 200 characters with the
   * id in it. Default: none.
   */
  webhook_url?: string | null | undefined;
  /** The model of its avatar. A newer one goes into `ChargeOptions.extra`. Default: `standard`. */
  model_version?: ModelVersion | undefined;
  /** Whether the job is kept out of the provider's project page. Default: false. */
  is_hidden?: boolean | undefined;
  /** The length of the video in seconds, for the estimate that `maxCredits` needs: more than 0, at most 86400. It is never sent. Default: what was learned of the template; where nothing was and `maxCredits` is set, `InvalidRequestError`. */
  seconds?: number | undefined;
}

/**
 * A job, untouched as the API answered it: a plain object that can be stored, cloned and posted.
 * Fields that the provider adds later are there too.
 */
export interface Job {
  /** A UUID. */
  id: string;
  /** Where it stands. A job whose preview is `done` goes through all of it again when it is rendered. */
  status: Status;
  /** How far the step is; the range is not documented, 0 to 1 was seen. */
  progress: number | null;
  /** A page that plays the preview, made for an iframe; `null` until it is ready. */
  preview: string | null;
  /** The video's URL; `null` until it is rendered. How long it lives is not documented: download it. */
  video_output: string | null;
  /** Where the video can be edited, for 24 hours; `null` unless the account has editor access. */
  editor_url: string | null;
  /** Why it failed; `null` or empty otherwise. */
  failed_reason: string | null;
  /** Credits that it cost; 0 until the work was done. May be fractional. */
  credits_used: number;
  /** Seconds of video. */
  duration: number;
  /** As they were given. */
  variables: { [name: string]: Json };
  /** The id of the provider's media job behind it; not documented. */
  media_job: string | null;
  /** When it was submitted, RFC 3339. */
  created_at: string;
  /** When it last changed, RFC 3339. */
  updated_at: string;
  /** As it was given. */
  name?: string | null | undefined;
  /** As it was given. */
  webhook_url?: string | null | undefined;
  /** As it was given. */
  model_version?: ModelVersion | null | undefined;
  /** As it was given. */
  is_hidden?: boolean | undefined;
}

/** A template of the account. Its length and its variables are not told by the API. */
export interface Template {
  /** A UUID; what a request names. */
  template_id: string;
  /** As it is called in the provider's editor. */
  name: string;
  /** The URL of a picture or page. */
  preview: string;
  /** Such as `9x16`. */
  aspect_ratio: string;
  /** When it was made, RFC 3339. */
  created_at: string;
  /** When it last changed, RFC 3339. */
  updated_at: string;
}

/** What is known of a job while it is waited for. */
export interface Update {
  /** The job as last seen: the same object until the job changes. */
  job: Job;
  /** The step that this client charged for last; `undefined` where it charged for none. */
  step: Step | undefined;
  /** How far the step is, from 0 to 1, for a progress bar. An estimate, by what the job reports and how long such jobs took. It never falls; `null` while nothing is known, 1 when what was waited for is there. */
  progress: number | null;
  /** Milliseconds until the step is expected to end; `undefined` where that is not known. */
  remainingMs?: number | undefined;
  /** Milliseconds until the job is polled next; 0 while it is polled, `undefined` in the last update. */
  nextPollMs?: number | undefined;
}

/** A charge that the journal knows and has not seen end. */
export interface Operation {
  /** Its id: the caller's own, or one that was made. */
  operation: string;
  /** What it pays for. */
  step: Step;
  /** `sending`: this client is sending it. `bound`: paid, and `jobId` is the job. `unknown`: nobody knows, as where it was interrupted. */
  state: "sending" | "unknown" | "bound" | "ended";
  /** When it was written down, in milliseconds since 1970. */
  createdAt: number;
  /** The job, once it is known. */
  jobId?: string | undefined;
  /** What the charge was given as `metadata`. */
  metadata?: Json | undefined;
}

/** Credits for every started block of video. */
export interface Price {
  /** Credits a block; 0 or more. */
  credits: number;
  /** Seconds a block; more than 0. */
  seconds: number;
}

/** What calls cost; what is left out costs what it costs by default. */
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
  /** `submit` and `render` with a model that this version does not know, by its name. Default: none, and with `maxCredits` such a charge is refused. */
  [model: `${string}_v${string}`]: Price | undefined;
}

/**
 * Where charges are written down before they are sent. `create`, `replace` and `delete` must be atomic: of two that create
 * one id, one gets `false`. A store without that (Cloudflare KV) cannot keep two writers apart. It also has how long jobs
 * took, in at most 1000 entries of an account: the first wait for a kind of job reads one, the end of each job writes one,
 * and nobody waits for either; where they fail, waits are planned by what this client saw.
 */
export interface Journal {
  /** Writes `entry` unless something is under `id`; returns whether it did. */
  create(id: string, entry: string): Promise<boolean> | boolean;
  /** What is under `id`. What cannot be read any more is returned as it is, and never as nothing: nothing is free to be charged. */
  read(id: string): Promise<string | null | undefined> | string | null | undefined;
  /** Writes, whatever was there. */
  write(id: string, entry: string): Promise<void> | void;
  /**
   * Writes `entry` where `old` is under `id` (compare and set); returns whether it did. Without this method the client reads,
   * compares and writes: then two clients that record the outcome of one operation in the same moment may both succeed, and
   * the later one overwrites the other's verdict.
   */
  replace?(id: string, old: string, entry: string): Promise<boolean> | boolean;
  /** Removes what is under `id`; with `entry`, only if that is what is there, since another client may have put a new charge in its place. Returns whether it removed something. */
  delete(id: string, entry?: string): Promise<boolean | void> | boolean | void;
  /** The ids that begin with `prefix`, which ends in `/`. */
  list(prefix: string): Promise<string[]> | string[];
}

/**
 * What happens, for logs and traces. Holds no key and no variable.
 * - `request`: one is sent now; `operation` is the charge that it makes.
 * - `response`: an answer came, of whatever `status`, `ms` milliseconds after its request; to the attempt of that number, of which
 *   the first is 1. `requestId` is the answer's `X-Request-Id`; in a page of another origin only where the server exposes it.
 *   A request without an answer has no such event.
 * - `retry`: a read failed and is tried again in `inMs` milliseconds.
 * - `poll`: a job is polled again in `inMs` milliseconds.
 * - `verdict`: how a charge came out: `bound` to `jobId`; `rejected` or `not_sent`, and so not charged; or `unknown`.
 * - `warning`: something deserves attention and changed nothing. `known_job_id`: the answer to a charge names a job that another
 *   operation was charged for. `late_answer`: an operation that was discarded, or settled with another job, was charged after all.
 *   `wasm_fallback`: the WebAssembly was loaded from scripts, as the file was not served; once per client, with its first call.
 *   `no_indexeddb`: this page has no `indexedDB`, as the DOMs of tests, so the journal is in memory; once a client.
 */
export type ClientEvent =
  | { type: "request"; method: "GET" | "POST"; path: string; operation?: string | undefined }
  | { type: "response"; method: "GET" | "POST"; path: string; status: number; ms: number; attempt: number; operation?: string | undefined; requestId?: string | undefined }
  | { type: "retry"; path: string; inMs: number }
  | { type: "poll"; jobId: string; inMs: number }
  /** What the journal has under this key cannot be read: a newer version wrote it, or it is damaged. `pending()` leaves it out, and nothing is charged under its id. */
  | { type: "skipped"; key: string }
  | { type: "warning"; code: string; message: string; operation?: string | undefined; jobId?: string | undefined }
  | { type: "verdict"; operation: string; verdict: "bound" | "rejected" | "not_sent" | "unknown"; jobId?: string | undefined };

/** Headers in any of the forms that the runtime's own `Headers` takes. */
export type HeadersSource = NonNullable<ConstructorParameters<typeof Headers>[0]>;

/** How a client works. Every option may be left out. The constructor reads each once; a later change of the object changes nothing. A name that is unknown is refused. */
export interface TemplateJobsOptions {
  /**
   * A relay of yours, which adds the key and makes one charge of one `Idempotency-Key`; a relative URL is allowed in a page. It
   * stands for `baseUrl` and sends `Idempotency-Key` with each charge. Beside `apiKey` or `baseUrl` the constructor throws.
   * Default: none.
   */
  relay?: string | URL | undefined;
  /** The provider, or the sandbox; a relative URL is allowed in a page. Default: `https://api.creatify.ai`. Calls reject with `InvalidRequestError` where it is no URL. */
  baseUrl?: string | URL | undefined;
  /** Separates the operations of people who log in to one page: an operation belongs to `account`, `apiId` and `baseUrl`. Never sent. Default: none. */
  account?: string | undefined;
  /** Sent as `X-API-ID`. Default: none, for a relay that adds it. */
  apiId?: string | undefined;
  /** Sent as `X-API-KEY`; a function is asked for it before each request, and where it fails the call rejects with `InvalidRequestError`. Default: none. Never put it in a page. */
  apiKey?: string | (() => string | Promise<string>) | undefined;
  /** Allows `apiKey` in a page or a worker of one, where everybody can read it. Default: false, and the constructor throws. */
  dangerouslyAllowBrowser?: boolean | undefined;
  /** Sent with each request, for a relay's own login. Default: none. A call rejects with `InvalidRequestError` where they cannot be made or sent. */
  headers?: HeadersSource | (() => HeadersSource | Promise<HeadersSource>) | undefined;
  /** Advanced. Whether a charge carries `Idempotency-Key: <operation>`. Default: true with `relay` or a relative `baseUrl`, else false. */
  idempotencyHeader?: boolean | undefined;
  /**
   * Milliseconds for one request; then `ConnectionError`, or `ChargeUnknownError` where it may have been charged. Also the time
   * for loading the WebAssembly, for the functions `headers` and `apiKey`, for one call of the journal and for `listJobs`.
   * Default: 30000.
   */
  timeout?: number | undefined;
  /** Milliseconds for a preview that blocks, and for a charge whose caller stopped waiting. Default: 300000. */
  previewTimeout?: number | undefined;
  /** How often a read is tried again before its error is passed on. What charges never is. Default: 3. */
  maxRetries?: number | undefined;
  /** What the clients of this process with the same `account`, `apiId` and `baseUrl` may spend in all, in credits; a call that would pass it rejects with `BudgetExceededError` and is not sent. A finite number, 0 or more; the constructor refuses anything else. Default: no limit. */
  maxCredits?: number | undefined;
  /**
   * Sums `maxCredits` in the journal, for every client of the account that has this key, in other tabs too, and for good, or for
   * each `budgetPeriod`. Outside of pages it needs a `journal`, or the constructor throws. Of calls that would pass it together
   * each may be refused.
   * Default: the clients of one process have a sum of their own, which ends with it.
   */
  budgetKey?: string | undefined;
  /** When the sum of `maxCredits` begins anew: at midnight, or at that before the first day of a month, in UTC. A charge counts in the period in which it was made. Default: never. */
  budgetPeriod?: "day" | "month" | undefined;
  /** What calls cost. Default: the provider's prices before May 2026; `prices.perSecond` are the newer ones. */
  prices?: PriceTable | undefined;
  /** Where charges are written down, and how long jobs took; where a charge cannot be, `JournalError`, and nothing is sent. `custom-template-jobs/file-journal` has one for servers, `custom-template-jobs/durable-object` one for Durable Objects. Default: IndexedDB in pages and their workers, memory elsewhere and in a page without `indexedDB`, shared by the whole process. */
  journal?: Journal | "memory" | undefined;
  /** A way to list the jobs made since a date, where you know one; used only to settle. Default: none, as the provider documents no such list. */
  listJobs?: ((since: Date) => Promise<Job[]>) | undefined;
  /** Called as `(url, init)`. Default: the global `fetch`. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /** Hears of what happens; what it throws is reported and changes nothing. Default: nobody does. */
  onEvent?: ((event: ClientEvent) => void) | undefined;
  /** `waitUntil` of each charge that has none of its own. Default: in Cloudflare Workers, that of the request that makes the charge (from the compatibility date on which `cloudflare:workers` has it); else none. */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/** How a call that reads is made. */
export interface CallOptions {
  /** Stops waiting at once: the call rejects with `signal.reason`. It ends the wait only: the provider cannot cancel a job. Default: none. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for one request; then `ConnectionError`. Default: the client's. */
  timeout?: number | undefined;
}

/** How a call that charges is made. */
export interface ChargeOptions {
  /** Stops waiting at once, also in `wait()` and the updates of the promise: they reject with `signal.reason`. A charge that was not sent yet never is; one that was sent goes on, since the provider cannot cancel a job, and is in `pending()`. Default: none. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the caller stops waiting, with `ChargeUnknownError`; the charge goes on. Where it was not sent yet it never is: `ConnectionError` with `sent: false`. Default: the client's `timeout`, or `previewTimeout` for `previewSync`. */
  timeout?: number | undefined;
  /** Your own id for this charge, 1 to 255 characters of well-formed Unicode: called again with it, the job is fetched and not paid for again; with another request, `OperationConflictError`. Outside of pages it needs the client's `journal`, else `InvalidRequestError`: another process would charge it again. Default: a new one; `render:<id>` for `render`. */
  operation?: string | undefined;
  /**
   * Fields of the provider's that this version does not know: they are sent with the request, and are part of what the operation
   * is. A field that `JobRequest` has is refused, except a `model_version` that `ModelVersion` has not; with `maxCredits` that
   * needs a price in `prices`. What JSON can carry. Default: none.
   */
  extra?: { [field: string]: Json | undefined } | undefined;
  /** Data of yours, such as the row or the form that the charge is for: `pending()` returns it. What JSON can carry, at most 1 KB of it. It stays in the journal and is never sent. Default: none. */
  metadata?: Json | undefined;
  /** `ctx.waitUntil` of a worker: keeps the charge alive after the visitor left. Default: the client's. */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/** How a job is waited for. */
export interface PollOptions {
  /** Stops waiting at once: the call rejects with `signal.reason`. It ends the wait only: the provider cannot cancel a job. Default: none. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the wait gives up, with `PollTimeoutError`. Time that the machine slept is not counted. Default: 1800000, half an hour. */
  timeout?: number | undefined;
  /** What is waited for. Default: the result of the last step that this client charged for; else the first `done`. */
  until?: "preview" | "video" | undefined;
  /**
   * Called with the job and the same {@link Update} that `watch` yields: at once with what is known, for each change of the job, and
   * each second in between, without a request; between polls not while the page is hidden. With it the job is polled more often.
   * What it throws is reported, and the wait goes on. Default: none.
   */
  onUpdate?: ((job: Job, update: Update) => void) | undefined;
  /** Advanced. How long such jobs take, in milliseconds. Default: what was learned of the template, step and model, by any client of the journal in the last 30 days. */
  expectedMs?: number | undefined;
  /** The longest time between two polls, in milliseconds. Default: 15000 where somebody listens for updates, else 30000. */
  maxInterval?: number | undefined;
}

/** A job whose preview is there. */
export type PreviewedJob = Job & { preview: string };
/** A job whose video is there. */
export type RenderedJob = Job & { status: "done"; video_output: string };

/** How the result of a charge is waited for. Its goal is that of the step, so there is no `until`. */
export type WaitOptions = Omit<PollOptions, "until">;

/**
 * The promise of a job that is charged for: it resolves with the job as soon as the provider has accepted it, and rejects as the
 * method that returned it says.
 *
 * ```ts
 * const video = await jobs.submit(request).wait();
 * ```
 */
export interface JobPromise<R extends Job = PreviewedJob | RenderedJob> extends Promise<Job> {
  /** The operation id of the charge, known before the promise settles: what `resume`, `settle` and `discard` are called with. */
  readonly operation: string;
  /**
   * Waits for the result of the step: the preview of a preview, else the video. Rejects as the promise does, or with
   * `JobFailedError`, `PollTimeoutError` or `IncompleteResultError`, each with `operation`. Then the promise itself needs no
   * handler: one failure rejects once. The `signal` of the charge ends this wait too.
   */
  wait(options?: WaitOptions): Promise<R>;
  /** Every update until the result of the step is there; ends and fails as `wait()` does. */
  [Symbol.asyncIterator](): AsyncIterator<Update, undefined>;
}

/**
 * A client of the custom template jobs API. It loads its WebAssembly with the first call; nothing needs to be awaited
 * before. No method throws: a failed call rejects with a {@link TemplateJobsError}, told apart by `name`; an abort rejects with
 * `signal.reason`. Any call may reject with `InvalidRequestError` (before anything is sent), `ApiError`,
 * `ConnectionError`, `LoadError` or `ClosedError`; one that charges also with `ChargeUnknownError`,
 * `BudgetExceededError`, `OperationConflictError` or `JournalError`.
 */
export class TemplateJobs {
  /** Sends nothing yet. Throws `InvalidRequestError` where an option cannot be used, or where `apiKey` is given in a page without `dangerouslyAllowBrowser`. */
  constructor(options?: TemplateJobsOptions);

  /** `POST /api/custom_template_jobs/`: straight to the video. Resolves with the job pending; `submit(request).wait()` resolves with the video. */
  submit<V extends Variables<V>>(request: JobRequest<V>, options?: ChargeOptions): JobPromise<RenderedJob>;
  /** A preview, waited for: `previewAsync(request).wait()` in one call, with the errors of both. `timeout` is for both; `until` can only be `preview`. */
  preview<V extends Variables<V>>(request: JobRequest<V>, options?: ChargeOptions & PollOptions): Promise<PreviewedJob> & { readonly operation: string };
  /** `POST /api/custom_template_jobs/preview_async/`. Resolves with the job pending; `previewAsync(request).wait()` resolves with the preview. */
  previewAsync<V extends Variables<V>>(request: JobRequest<V>, options?: ChargeOptions): JobPromise<PreviewedJob>;
  /** Advanced. `POST /api/custom_template_jobs/preview/`: one request that blocks until the preview is there. `preview` is sturdier. */
  previewSync<V extends Variables<V>>(request: JobRequest<V>, options?: ChargeOptions): Promise<Job> & { readonly operation: string };
  /** `POST /api/custom_template_jobs/{id}/render/`, for a job whose preview is ready. One that is rendered, or that this journal is rendering, is returned and not charged. One that is still on its way and shows its preview already is waited for first, at most `previewTimeout`. One operation is one charge, also where the render failed: the failed job is returned, and `poll` rejects with `JobFailedError`. To pay for another render, pass a new `operation`; a job that has a video is rendered again only where the request gives other values than the job has. */
  render<V extends Variables<V>>(job: string | Job, changes?: Partial<JobRequest<V>>, options?: ChargeOptions): JobPromise<RenderedJob>;
  /** `GET /api/custom_template_jobs/{id}/`: the job as it is now. */
  get(job: string | Job, options?: CallOptions): Promise<Job>;
  /** Waits until the job's video is there. Rejects with `JobFailedError`, `PollTimeoutError` or `IncompleteResultError`; the last one also where the job is done without a video, two polls at least 10 seconds apart found it so, and the journal has no charge for its video: then render it first. */
  poll(job: string | Job, options: PollOptions & { until: "video" }): Promise<RenderedJob>;
  /** Waits until the job's preview is there. */
  poll(job: string | Job, options: PollOptions & { until: "preview" }): Promise<PreviewedJob>;
  /** Waits for the last step that this client charged for, else for the first `done`. */
  poll(job: string | Job, options?: PollOptions): Promise<Job>;
  /** The updates of a job: the first at once, then each change of the job, and each second what is known without a request; between polls none while the page is hidden. A slow reader gets every change, and the newest of the rest. Ends like `poll`, after an update with the job that was waited for. Leaving the loop ends the wait. */
  watch(job: string | Job, options?: PollOptions): AsyncIterableIterator<Update, undefined>;
  /** `GET /api/custom_templates/`: the account's templates. */
  templates(options?: CallOptions): Promise<Template[]>;
  /** `GET /api/remaining_credits/`: the account's balance, in credits. */
  remainingCredits(options?: CallOptions): Promise<number>;
  /** What a step is expected to cost, in credits. `seconds` is the length of the video. Rejects with `InvalidRequestError` where it is not more than 0, or where the model has no price. Sends nothing. */
  estimate(question: { step: Step; seconds: number; model_version?: ModelVersion | (string & {}) | undefined }): Promise<number>;
  /** What the journal knows and has not seen end: after a reload, the jobs to go on with. Rejects with `JournalError`. */
  pending(): Promise<Operation[]>;
  /** Looks again at a charge whose outcome is unknown; with `jobId`, where you have found the job yourself or a webhook named it. A webhook is unsigned: where `{operation}` stood in `webhook_url`, only a job with that very address counts. Sends nothing that charges. Its `state` stays `unknown` while nobody knows; an id that the journal has not rejects with `InvalidRequestError`. */
  settle(operation: string, options?: { jobId?: string | undefined; signal?: AbortSignal | undefined }): Promise<Operation>;
  /**
   * Takes up an operation again, as one of `pending()` after a reload: `await jobs.resume(operation).wait()`. Never charges.
   * Waits while the operation is in flight, here or in another tab, and settles it first where its outcome is unknown. Rejects
   * with `ChargeUnknownError` where nobody knows its outcome yet, with `InvalidRequestError` where the journal has no such
   * operation, and with the errors of `get` and `settle`. A rejection that nobody handles is not reported.
   */
  resume(operation: string | Operation): JobPromise;
  /**
   * Takes in a webhook: reads the `Request` that it came with, settles its operation where that was unknown, and resolves with the
   * job as the API has it now, and the operation where the journal has one for it. A webhook is not signed, so only the job's id
   * is taken from its body, and the operation is the one that the journal has for that job, or whose `webhook_url` had
   * `{operation}` in it and is the job's. The journal then knows whether the job has ended. Rejects with `InvalidRequestError`
   * where the request is no POST, was read already, has more than 1 MB or does not come within `timeout`, or where its body
   * reports no job; with `ApiError` where the job is not the account's; or with `ConnectionError` or `JournalError`. Answer those
   * of the latter three with a 500, so that the webhook is sent again.
   */
  handleWebhook(request: Request): Promise<{ job: Job; operation?: Operation | undefined }>;
  /**
   * Closes an operation of which you know that it was not charged, as from your account's pages: its id may be used again, and
   * its share of `maxCredits` is free. Sends nothing. Only an unknown operation can be discarded: one that the journal has not,
   * that is in flight or that was charged rejects with `InvalidRequestError`. Where an answer comes after all, `onEvent` gets a
   * `warning` with its job's id.
   */
  discard(operation: string): Promise<void>;
  /** Ends every call of this client with `ClosedError`. A charge that is under way goes on. */
  close(): void;
  /** The same as `close()`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Whether the operation of an error was accepted by the provider. A later refund does not change it. `maybe` too where a render's
 * answer was lost and its job shows a render: the job does not say whose.
 */
export type Charged = "no" | "yes" | "maybe";

/**
 * What helps after an error; the same is in its `message`, as a sentence.
 * - `fix_request`: correct the request, the option or the key that the message names; the same call would fail again.
 * - `retry`: make the same call again, a charge with the same `operation`.
 * - `wait`: call again later.
 * - `resume`: it was charged; `resume(operation)` brings the job.
 * - `settle_or_discard`: the outcome is unknown; `settle(operation)`, or `discard(operation)` where your account shows no job of it.
 * - `new_operation`: to pay for another job, pass a new `operation`.
 * - `add_credits`: add credits to the account, or raise `maxCredits`.
 * - `none`: the call cannot help; the message says what happened.
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

/** An error as JSON: its own members, without the stack. `TemplateJobsError.from` makes the error again. */
export interface ErrorRecord {
  /** Which error it is. */
  name: TemplateJobsError["name"];
  /** What went wrong, and what helps. */
  message: string;
  /** Whether `operation` was accepted by the provider. */
  charged: Charged;
  /** What helps. */
  remedy: Remedy;
  /** The operation id of the charge. */
  operation?: string | undefined;
  /** The id of the job, where it is known. */
  jobId?: string | undefined;
  /** What else belongs to an error of that name, and its `cause`. */
  [member: string]: unknown;
}

interface Base<Name extends string, Help extends Remedy, Accepted extends Charged = Charged> extends Error {
  /** Which error it is. */
  readonly name: Name;
  /**
   * Whether `operation` was accepted by the provider: `maybe` where it was sent and its outcome is not known, or where the journal that
   * would know cannot be read. `no` where the error has no `operation`.
   */
  readonly charged: Accepted;
  /** What helps; `message` has it as a sentence. */
  readonly remedy: Help;
  /** The operation id of the charge. Every error of a charge, and of the wait for its job, has it. */
  readonly operation?: string | undefined;
  /** The id of the job, where it is known. */
  readonly jobId?: string | undefined;
  /** The error as plain data, for `JSON.stringify`, a log or another process. */
  toJSON(): ErrorRecord;
}
/** An argument cannot be used. Nothing was sent. */
export interface InvalidRequestError extends Base<"InvalidRequestError", "fix_request"> {
  /** The path of the argument to correct, such as `variables.title`. */
  readonly field: string;
}
/** The API answered, and not with what was asked for. */
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
  /** What the API reports about single fields: texts by the path of each, such as `variables.headline` or `variables.shots.1.url`, however it nests them; empty where it reports nothing. At most 1,000 texts, 16 levels deep. */
  readonly fields: { [field: string]: string[] };
  /** The answer: JSON, or the first 500 characters of a text. */
  readonly body?: unknown;
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}
/** No answer came. */
export interface ConnectionError extends Base<"ConnectionError", "retry" | "resume"> {
  /** Whether a request of this call may have reached the server. `false` for a charge: this call charged nothing. */
  readonly sent: boolean;
}
/** A charge was sent, and its outcome is not known. It is never sent again: `settle(operation)`. */
export interface ChargeUnknownError extends Base<"ChargeUnknownError", "settle_or_discard", "maybe"> {
  /** What `settle` and `discard` are called with. */
  readonly operation: string;
}
/** The job ended as `failed` or `rejected`. */
export interface JobFailedError extends Base<"JobFailedError", "new_operation"> {
  /** The job as it ended. */
  readonly job: Job;
  /** Its `failed_reason`, or that the provider gave none. */
  readonly reason: string;
}
/** The job was still running when the time to wait was over. */
export interface PollTimeoutError extends Base<"PollTimeoutError", "wait"> {
  /** The job as last seen. */
  readonly job?: Job | undefined;
}
/** The job is `done`, and the URL that was waited for did not come: two polls found it so that were at least 30 seconds apart, or 10 where it is a video, and the journal has no charge for that: then `remedy` is `fix_request`, which is to render it first. */
export interface IncompleteResultError extends Base<"IncompleteResultError", "wait" | "fix_request"> {
  /** The job as last seen. */
  readonly job: Job;
}
/** The call would exceed `maxCredits`. Nothing was sent. */
export interface BudgetExceededError extends Base<"BudgetExceededError", "add_credits"> {
  /** Credits that the call was estimated to cost. */
  readonly estimate: number;
  /** Credits that are left. */
  readonly remaining: number;
}
/** The operation id was used before, for another request. This request was not sent; `charged` is about the one before. */
export interface OperationConflictError extends Base<"OperationConflictError", "new_operation"> {
  /** The id that both requests have. */
  readonly operation: string;
}
/** The journal cannot be used. Nothing was sent. */
export interface JournalError extends Base<"JournalError", "retry" | "resume"> {}
/**
 * The WebAssembly could not be loaded, or stopped; the message names the cause and what helps. Where it could not be loaded, the
 * next call tries again (`retry`); where it stopped, every call rejects until the page is reloaded or the worker restarted (`none`).
 */
export interface LoadError extends Base<"LoadError", "retry" | "none", "no"> {}
/** The client was closed. Where a charge was in flight it goes on: `resume(operation)` with another client. */
export interface ClosedError extends Base<"ClosedError", "resume" | "none"> {}

/** Every error of this library. `name` tells them apart. */
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
 * The class of every error of this library, for `instanceof`; needs TypeScript 5.3 or later.
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
  /** Holds for the errors of another copy of this package or of another realm too. */
  [Symbol.hasInstance](value: unknown): value is TemplateJobsError;
  /** The error that a record of `toJSON()` describes; an error of this library as it is. Throws `InvalidRequestError` for anything else. */
  from(record: unknown): TemplateJobsError;
};

/** Whether a value is an error of this library: the same as `instanceof TemplateJobsError`. */
export function isTemplateJobsError(error: unknown): error is TemplateJobsError;

/** Words for a text variable. */
export function text(content: string): { type: "text"; properties: { content: string } };
/** A picture by its public URL. */
export function image(url: string): { type: "image"; properties: { url: string } };
/** A clip by its public URL. */
export function video(url: string): { type: "video"; properties: { url: string } };
/** Music by its public URL. */
export function audio(url: string): { type: "audio"; properties: { url: string } };
/** A speaker by the id of a persona. */
export function avatar(avatarId: string): { type: "avatar"; properties: { avatar_id: string } };
/** A voice by the id of an accent. */
export function voiceover(voiceId: string): { type: "voiceover"; properties: { voice_id: string } };

/**
 * A template whose variables have names and types, so that plain values make a request:
 * `const teaser = defineTemplate(id, { headline: text, picture: image }, { seconds: 15 })`, then
 * `jobs.submit(teaser({ headline: "Hello", picture: "https://example.com/a.png" }))`. The names are checked by the compiler, and
 * again by the function: it throws `InvalidRequestError` where one is missing or unknown. `defaults` are in each request, and
 * `more` in one; what `more` gives comes before `defaults`.
 */
export function defineTemplate<V extends { [name: string]: (value: never) => AnyVariable }>(
  template_id: string,
  variables: V,
  defaults?: Partial<JobRequest>,
): (values: { [K in keyof V]: Parameters<V[K]>[0] }, more?: Partial<JobRequest>) => JobRequest;

/** Price tables: `perBlock` is the default, `perSecond` has the Aurora models by the started second, as since May 2026. */
export const prices: { readonly perBlock: PriceTable; readonly perSecond: PriceTable };

/** Whether a job's preview is there. */
export function isPreviewed(job: Job): job is PreviewedJob;
/** Whether a job is done and its video is there. */
export function isRendered(job: Job): job is RenderedJob;

/** What a webhook said. It is not signed, so anybody can send one: take it as a doorbell, and `get(jobId)`. */
export interface WebhookEvent {
  /** The job that it is about. */
  jobId: string;
  /** Where the job is said to stand. */
  status: Status;
  /** The video's URL, under either of the names that the provider documents. */
  output?: string | undefined;
  /** Why it is said to have failed. */
  failedReason?: string | undefined;
  /** The operation id, where the URL has one: in the place that `webhookUrl` marks, or as `?operation=`. */
  operation?: string | undefined;
}

/**
 * Reads a webhook; `jobs.handleWebhook(request)` does that, settles the operation and fetches the job. `body` is its text, its bytes, or what `JSON.parse` made of it; `url` is where it was sent, whole or from the
 * path on. `webhookUrl` is the `webhook_url` of the request, with `{operation}` in it: the operation is read from that place.
 * Throws `InvalidRequestError` where the body is no webhook. A `url` that cannot be read brings no `operation`.
 */
export function parseWebhook<Body>(body: Body extends Request ? never : Body, url?: string | URL, options?: { webhookUrl?: string | undefined }): WebhookEvent;

/** What `init` takes: a place, an answer, bytes, a module, or a promise of one. */
export type WasmSource = string | URL | Request | Response | ArrayBuffer | ArrayBufferView | (WebAssembly.Module & object);

/**
 * Loads the WebAssembly now instead of with the first call, or from another place. Default in pages: the file beside the script, or
 * where that is not served, scripts that carry it; elsewhere it is in the script or deployed with the worker.
 * Once it is loaded, or while it is, a further `init` waits for that and its `source` is not looked at. Rejects with
 * `LoadError`; the next `init` or call tries again.
 */
export function init(source?: WasmSource | Promise<WasmSource>): Promise<void>;
