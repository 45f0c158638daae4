// What the types let through and what they refuse, call by call. It is compiled and never run.

import {
  TemplateJobs,
  TemplateJobsError,
  audio,
  avatar,
  defineTemplate,
  image,
  init,
  isPreviewed,
  isRendered,
  isTemplateJobsError,
  parseWebhook,
  prices,
  text,
  video,
  voiceover,
  type ApiError,
  type Charged,
  type ErrorRecord,
  type Job,
  type JobPromise,
  type JobRequest,
  type Journal,
  type ModelVersion,
  type Operation,
  type PreviewedJob,
  type Remedy,
  type RenderedJob,
  type Status,
  type Step,
  type Template,
  type Update,
  type Variable,
} from "custom-template-jobs";
import module from "custom-template-jobs/custom_template_jobs_bg.wasm";
import { durableObjectJournal } from "custom-template-jobs/durable-object";
import { fileJournal } from "custom-template-jobs/file-journal";
import { TemplateJobs as Inline } from "custom-template-jobs/inline";
import { createRelay, durableObjectStore, fileStore, memoryStore, toNodeListener, type Relay, type User } from "custom-template-jobs/relay";
import { init as initSlim, type PollOptions } from "custom-template-jobs/slim";

/** Holds where two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <T extends true>(): T | undefined => undefined;

// What the provider's words are unions of.
holds<Same<Status, "pending" | "in_queue" | "running" | "done" | "failed" | "rejected" | (string & {})>>();
holds<Same<ModelVersion, "standard" | "aurora_v1" | "aurora_v1_fast">>();
holds<Same<Step, "submit" | "preview" | "render">>();
holds<Same<Variable["type"], "text" | "image" | "video" | "audio" | "avatar" | "voiceover">>();
// A word that the provider adds later.
export const status: Status = "archived";
// @ts-expect-error An image has a URL, no content.
export const variable: Variable = { type: "image", properties: { content: "a.png" } };

export const jobs = new TemplateJobs({ baseUrl: "/relay", headers: () => new Headers(), timeout: 1_000, prices: prices.perSecond });
new TemplateJobs();
new TemplateJobs({ apiId: "id", apiKey: async () => "key", dangerouslyAllowBrowser: true, journal: "memory" });
new TemplateJobs({ headers: { "x-login": "me" } });
new TemplateJobs({ headers: async () => [["x-login", "me"]] });
new TemplateJobs({ fetch: (url, init) => fetch(url, init), onEvent: (event) => event.type === "poll" && event.inMs });
// @ts-expect-error A header is text.
new TemplateJobs({ headers: { "x-tries": 1 } });
// @ts-expect-error An option that there is not.
new TemplateJobs({ baseURL: "/relay" });
// @ts-expect-error Milliseconds are a number.
new TemplateJobs({ timeout: "30s" });
new TemplateJobs({ relay: "/relay", maxCredits: 5, budgetKey: "may", budgetPeriod: "month", baseUrl: undefined });
new TemplateJobs({ relay: new URL("https://relay.test"), prices: { aurora_v2: { credits: 3, seconds: 1 }, ...prices.perSecond } });
// @ts-expect-error A budget begins anew each day or each month.
new TemplateJobs({ budgetPeriod: "year" });
// @ts-expect-error No step has that name.
new TemplateJobs({ prices: { sumbit: { credits: 3, seconds: 1 } } });
new TemplateJobs({ journal: fileJournal("./jobs") });
new TemplateJobs({ journal: { create: () => true, read: () => null, write() {}, delete() {}, list: () => [] } });
new TemplateJobs({ journal: { create: async () => true, read: async () => null, async write() {}, async delete() {}, list: async () => [] } });
export const replaced: boolean | Promise<boolean> = fileJournal(new URL("file:///jobs")).replace("id", "old", "new");
// @ts-expect-error A directory is needed.
fileJournal();
// @ts-expect-error This is no storage.
durableObjectJournal(new Map());
// @ts-expect-error No such journal.
new TemplateJobs({ journal: "localStorage" });
// @ts-expect-error A journal must be able to create.
export const journal: Journal = { read: () => null, write() {}, delete() {}, list: () => [] };

export const request: JobRequest = {
  template_id: "8b5e3a2c-1f4d-4e6b-9a7c-2d3e4f5a6b7c",
  variables: {
    words: text("Hello"), picture: image("https://a.test/a.png"), clip: video("https://a.test/a.mp4"), music: audio("https://a.test/a.mp3"),
    speaker: avatar("id"), voice: voiceover("id"), other: { type: "new", properties: { values: [1, null] } },
  },
  model_version: "aurora_v1_fast",
};
// @ts-expect-error A request names its template.
jobs.submit({ variables: {} });
// @ts-expect-error The API has no such model.
jobs.submit({ ...request, model_version: "aurora_v2" });
// @ts-expect-error A variable is JSON, and a function is none.
jobs.submit({ ...request, variables: { words: () => "Hello" } });
// @ts-expect-error A name is text.
jobs.submit({ ...request, name: 1 });
// @ts-expect-error Seconds are a number.
jobs.submit({ ...request, seconds: "15" });
// @ts-expect-error Seconds belong in the request.
jobs.submit(request, { seconds: 15 });
// @ts-expect-error An operation is not called a key.
jobs.submit(request, { idempotencyKey: "order-1" });
// @ts-expect-error An option does not belong in the request.
jobs.submit({ ...request, operation: "order-1" });
// @ts-expect-error A plain string would be paid for and not shown.
jobs.submit({ ...request, variables: { headline: "hi" } });
// @ts-expect-error A variable has properties.
jobs.submit({ ...request, variables: { headline: { type: "text" } } });
jobs.submit({ ...request, seconds: 15, name: undefined, is_hidden: undefined }, { operation: undefined, metadata: { row: 7 }, extra: { resolution: "4k", model_version: "aurora_v2" } });
// @ts-expect-error A date is no JSON.
jobs.submit(request, { metadata: { at: new Date() } });
// @ts-expect-error Extra fields have names.
jobs.submit(request, { extra: ["4k"] });

export const teaser = defineTemplate("8b5e3a2c-1f4d-4e6b-9a7c-2d3e4f5a6b7c", { headline: text, picture: image, voice: voiceover }, { seconds: 15 });
export const teased: JobRequest = teaser({ headline: "Hi", picture: "https://a.test/a.png", voice: "anna" }, { name: "mine" });
jobs.submit(teaser({ headline: "Hi", picture: "https://a.test/a.png", voice: "anna" }));
// @ts-expect-error A value is missing.
teaser({ headline: "Hi", picture: "https://a.test/a.png" });
// @ts-expect-error No variable has that name.
teaser({ headline: "Hi", picture: "https://a.test/a.png", voice: "anna", headlin: "Hi" });
// @ts-expect-error Words are text.
teaser({ headline: 1, picture: "https://a.test/a.png", voice: "anna" });
// @ts-expect-error No field has that name.
teaser({ headline: "Hi", picture: "https://a.test/a.png", voice: "anna" }, { webhookUrl: "https://a.test" });
// @ts-expect-error Text is made by text().
defineTemplate("8b5e3a2c-1f4d-4e6b-9a7c-2d3e4f5a6b7c", { headline: "text" });
export const measured = defineTemplate("8b5e3a2c-1f4d-4e6b-9a7c-2d3e4f5a6b7c", { size: (value: number) => ({ type: "size", properties: { value } }) });
measured({ size: 7 });
// @ts-expect-error A read has no operation.
jobs.get("8b5e3a2c-1f4d-4e6b-9a7c-2d3e4f5a6b7c", { operation: "order-1" });
// @ts-expect-error Text is text.
text(1);

export async function calls(signal: AbortSignal): Promise<void> {
  const job = await jobs.submit(request, { signal, operation: "order-1", waitUntil: (promise) => void promise });
  holds<Same<typeof job, Job>>();
  holds<Same<Job["video_output"], string | null>>();
  holds<Same<typeof job.status, Status>>();

  const previewed = await jobs.preview(request, {
    onUpdate: (seen, update) => {
      holds<Same<typeof seen, Job>>();
      holds<Same<typeof update, Update>>();
      holds<Same<typeof update.progress, number | null>>();
      holds<Same<typeof update.step, Step | undefined>>();
      // @ts-expect-error The progress may be unknown.
      update.progress.toFixed();
      // @ts-expect-error The last update has no poll after it.
      update.nextPollMs.toFixed();
      // @ts-expect-error The name of 0.1.0.
      update.nextLookMs;
    },
  });
  previewed.preview.toUpperCase();
  const rendered = await jobs.poll(job, { until: "video", maxInterval: 5_000 });
  rendered.video_output.toUpperCase();
  holds<Same<typeof rendered.status, "done">>();
  const either = await jobs.poll(job.id);
  // @ts-expect-error Without `until` nothing is promised.
  either.video_output.toUpperCase();
  // @ts-expect-error A preview promises no video.
  (await jobs.poll(job, { until: "preview" })).video_output.toUpperCase();
  // @ts-expect-error There is no such end.
  jobs.poll(job, { until: "done" });
  await jobs.poll(job, { urgency: "low" });
  for await (const { job } of jobs.watch(rendered, { urgency: "normal" })) holds<Same<typeof job, Job>>();
  // @ts-expect-error There is no such urgency.
  jobs.poll(job, { urgency: "urgent" });

  await jobs.submit(request).wait({ urgency: "high" });
  const promise = jobs.submit(request, { operation: "order-1" });
  holds<Same<typeof promise, JobPromise<RenderedJob>>>();
  holds<Same<typeof promise.operation, string>>();
  holds<Same<Awaited<typeof promise>, Job>>();
  (await promise.wait({ signal, timeout: 60_000 })).video_output.toUpperCase();
  (await jobs.previewAsync(request).wait()).preview.toUpperCase();
  // @ts-expect-error A preview promises no video.
  (await jobs.previewAsync(request).wait()).video_output.toUpperCase();
  // @ts-expect-error The step says what is waited for.
  await promise.wait({ until: "video" });
  for await (const update of jobs.render(previewed)) holds<Same<typeof update, Update>>();
  holds<Same<ReturnType<typeof jobs.preview>["operation"], string>>();
  for (const open of await jobs.pending()) holds<Same<Awaited<ReturnType<ReturnType<typeof jobs.resume>["wait"]>>, PreviewedJob | RenderedJob>>(), jobs.resume(open).operation;
  // @ts-expect-error Which operation is resumed must be said.
  jobs.resume();
  holds<Same<typeof isRendered, (job: Job) => job is RenderedJob>>();
  if (isPreviewed(job)) job.preview.toUpperCase();
  await jobs.get(job);

  await jobs.render(previewed, { name: "mine" });
  await jobs.render(previewed.id, undefined, { timeout: 1_000 });
  for await (const update of jobs.watch(job.id)) holds<Same<typeof update, Update>>();
  holds<Same<Awaited<ReturnType<typeof jobs.templates>>, Template[]>>();
  holds<Same<Awaited<ReturnType<typeof jobs.remainingCredits>>, number>>();
  holds<Same<Awaited<ReturnType<typeof jobs.pending>>, Operation[]>>();
  await jobs.estimate({ step: "render", seconds: 15, model_version: "standard" });
  // @ts-expect-error What an estimate is for must be said.
  await jobs.estimate({ seconds: 15 });
  // @ts-expect-error Reading costs nothing.
  await jobs.estimate({ step: "get", seconds: 15 });
  await jobs.settle("order-1", { jobId: job.id, signal });
  const handled = await jobs.handleWebhook(new Request("https://a.test/hook", { method: "POST" }));
  holds<Same<typeof handled.job, Job>>();
  holds<Same<typeof handled.operation, Operation | undefined>>();
  // @ts-expect-error The request itself, and not its body.
  await jobs.handleWebhook("{}");
  // @ts-expect-error Not each job has an operation here.
  handled.operation.state;
  holds<Same<Awaited<ReturnType<typeof jobs.discard>>, void>>();
  // @ts-expect-error Which operation is discarded must be said.
  await jobs.discard();
  new TemplateJobs({ onEvent: (event) => event.type === "warning" && [event.code, event.message, event.operation, event.jobId] });
  new TemplateJobs({
    onEvent: (event) => {
      if (event.type === "response") holds<Same<[typeof event.status, typeof event.ms, typeof event.attempt, typeof event.requestId], [number, number, number, string | undefined]>>();
      // @ts-expect-error Only a response has a status.
      event.status;
    },
  });
  jobs.close();
  using own = new TemplateJobs();
  own.pending();

  const { status, output } = parseWebhook("{}", new URL("https://a.test/hook"));
  parseWebhook(JSON.parse("{}") as unknown);
  parseWebhook(new Uint8Array());
  // @ts-expect-error A request is read by handleWebhook.
  parseWebhook(new Request("https://a.test/hook"));
  holds<Same<typeof status, Status>>();
  holds<Same<typeof output, string | undefined>>();
}

export function told(error: unknown): string {
  if (!(error instanceof TemplateJobsError)) return "";
  holds<Same<typeof error, TemplateJobsError>>();
  holds<Same<typeof error.charged, Charged>>();
  holds<Same<typeof error.remedy, Remedy>>();
  holds<Same<typeof error.operation, string | undefined>>();
  holds<Same<ReturnType<typeof error.toJSON>, ErrorRecord>>();
  // @ts-expect-error Not every error has it.
  error.status;
  switch (error.name) {
    case "ApiError":
      holds<Same<typeof error, ApiError>>();
      return `${error.status} ${error.kind} ${error.retryAfterMs ?? 0}`;
    case "JobFailedError":
      return error.reason + error.job.id;
    case "ChargeUnknownError":
      holds<Same<typeof error.charged, "maybe">>();
      holds<Same<typeof error.remedy, "settle_or_discard">>();
      return error.operation;
    case "OperationConflictError":
      return error.operation;
    case "InvalidRequestError":
      return error.field;
    case "BudgetExceededError":
      return String(error.estimate - error.remaining);
    case "ConnectionError":
      return String(error.sent);
    case "PollTimeoutError":
      return error.job?.id ?? "";
    case "IncompleteResultError":
      return error.job.id;
    case "JournalError":
    case "LoadError":
    case "ClosedError":
      return error.message;
    default:
      // Every name is named above.
      return error satisfies never;
  }
}

// What a form or an environment may leave unset is passed on as it is.
export async function unset(job: Job, given: { text?: string; ms?: number; signal?: AbortSignal; onUpdate?: (job: Job) => void }) {
  const { text: word, ms, signal, onUpdate } = given;
  const client = new TemplateJobs({
    relay: undefined, baseUrl: word, account: word, apiId: word, apiKey: word, budgetKey: word, timeout: ms, previewTimeout: ms, maxRetries: ms,
    maxCredits: ms, journal: undefined, listJobs: undefined, fetch: undefined, onEvent: undefined, headers: undefined, prices: undefined,
    dangerouslyAllowBrowser: undefined, idempotencyHeader: undefined, budgetPeriod: undefined, waitUntil: undefined,
  });
  await client.poll(job, { signal, timeout: ms, onUpdate, until: undefined, expectedMs: ms, maxInterval: ms, urgency: undefined });
  await client.submit({ ...request, name: word, webhook_url: word }, { operation: word, signal, timeout: ms, waitUntil: undefined });
  await client.settle("order-1", { jobId: word, signal });
}

// Variables may have an interface of their own.
interface Teaser {
  headline: { type: "text"; properties: { content: string } };
  picture?: ReturnType<typeof image>;
}
interface Wrong {
  headline: string;
}
export const typed = (variables: Teaser) => jobs.submit({ template_id: "t", variables });
export const changed = (variables: Teaser) => jobs.render("id", { variables });
// @ts-expect-error A plain string would be paid for and not shown.
export const untyped = (variables: Wrong) => jobs.submit({ template_id: "t", variables });
// @ts-expect-error Variables have names.
jobs.submit({ template_id: "t", variables: "hi" });

export function errors(thrown: unknown, record: unknown): TemplateJobsError {
  if (isTemplateJobsError(thrown)) return thrown;
  // @ts-expect-error Not every thrown thing is one.
  thrown.charged;
  const error = TemplateJobsError.from(record);
  holds<Same<typeof error, TemplateJobsError>>();
  const again: ErrorRecord = error.toJSON();
  // @ts-expect-error It is one of three words.
  if (error.charged === "perhaps") return error;
  // @ts-expect-error There is no such remedy.
  if (error.remedy === "panic") return error;
  // @ts-expect-error The library makes its errors itself.
  new TemplateJobsError({ name: "ApiError", message: "x" });
  if (error.name === "LoadError") {
    // @ts-expect-error Nothing was charged where nothing was loaded.
    if (error.charged === "yes") return error;
  }
  return TemplateJobsError.from(JSON.parse(JSON.stringify(again)));
}

export async function loading(): Promise<void> {
  await init();
  await init("/custom_template_jobs_bg.wasm");
  await init(fetch("/custom_template_jobs_bg.wasm"));
  await init(new Request("https://a.test/a.wasm"));
  await init(new ArrayBuffer(8));
  await init(new Uint8Array(8).subarray(1));
  await initSlim(module);
  // @ts-expect-error A number is no source.
  await init(1);
  // @ts-expect-error No source of WebAssembly.
  await init(null);
}

// The entries share one class.
export const inline: TemplateJobs = new Inline();
export const options: PollOptions = { until: "video" };

/* ---- the relay ------------------------------------------------------------------------------- */

const secret = { apiId: "id", apiKey: "key" };
const authorize = async (request: Request): Promise<User | null> => (request.headers.has("authorization") ? { id: "ann", maxCredits: 50 } : null);
const templates = { "7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0001": { seconds: 15 } };

export const relay: Relay = createRelay({ ...secret, authorize, templates, store: fileStore("./relay"), limits: { maxCredits: 100, budgetPeriod: "day" } });
export const listener = toNodeListener(relay);
export const worker = createRelay((env: { KEY: string; ACCOUNTS: { idFromName(name: string): unknown; get(id: unknown): unknown } }) => ({
  ...secret, apiKey: env.KEY, authorize, templates: { any: true, maxSeconds: 60 }, store: durableObjectStore(env.ACCOUNTS), allow: { model_version: ["aurora_v1"] },
}));
// @ts-expect-error A relay without a login.
createRelay({ ...secret, templates, store: memoryStore() });
// @ts-expect-error A relay without a store.
createRelay({ ...secret, authorize, templates });
// @ts-expect-error A template without its length.
createRelay({ ...secret, authorize, templates: { a: {} }, store: memoryStore() });
// @ts-expect-error A relay has no development mode.
createRelay({ ...secret, authorize, templates, store: memoryStore(), dev: true });
// @ts-expect-error A week is no period.
createRelay({ ...secret, authorize, templates, store: memoryStore(), limits: { maxCredits: 5, budgetPeriod: "week" } });
