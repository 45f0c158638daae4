// One user's account: the operations, their cost, the user's jobs, and the client that charges.
//
// An account has one owner at a time: one Durable Object or one process. Its operations are in memory and in its storage. The
// storage is a journal, which the client shares:
//
//   relay:op/KEY     an operation: the page's key, the token by which the client and webhooks know it, its request and credits
//   relay:job/ID     a job that the user owns, whose operations have expired; before, they show its owner
//   other keys       the client's own entries, under the token
//
// Nothing is awaited between the check of a limit and the reservation, so concurrent requests cannot exceed it together.

import { TemplateJobs, TemplateJobsError } from "custom-template-jobs";
import { conflict, failure, jobFor, later, ok, refuse, templateFor, unknown } from "./answers.js";
import { canonical, hash } from "./body.js";
import { costOf, remaining, renewsAt, takeTurn } from "./money.js";
import { readRequest, secondsOf } from "./routes.js";

const OPERATION = "relay:op/";
const JOB = "relay:job/";
const PROVIDER_MS = 300_000; // the timeout of a charge at the provider
const PATIENCE_MS = 20_000; // how long a request for the state of an operation in flight waits
const KEPT_MS = 32 * 86_400_000; // at least 30 days for a key, and the month in which an operation counts
const OWNED_MS = 400 * 86_400_000; // how long a job has its owner after its last charge
const FIRST_CHECK_MS = 15_000;
const LAST_CHECK_MS = 3_600_000;
const DAY_MS = 86_400_000;

const ENDED = ["done", "failed", "rejected"];

const token = () => crypto.randomUUID().replaceAll("-", "");

export class Account {
  #settings;
  #journal;
  #wake;
  #jobs;
  #records = new Map(); // by key
  #busy = new Map(); // key -> the work in progress: { print, promise }
  #sent = new Set(); // tokens whose charging request this client has sent
  #times = []; // the times of the requests in the last minute
  #ready;
  #check = FIRST_CHECK_MS;

  /** `journal` is the account's storage. `wake(ms)` schedules one call of `tick()`. */
  constructor(settings, journal, wake) {
    this.#settings = settings;
    this.#journal = journal;
    this.#wake = wake;
    const { baseUrl, apiId, apiKey } = settings;
    this.#jobs = new TemplateJobs({
      baseUrl, apiId, apiKey,
      previewTimeout: PROVIDER_MS,
      journal: this.#watched(journal),
      onEvent: (event) => {
        if (event.type === "request" && event.operation) this.#sent.add(event.operation);
        settings.onEvent?.(event);
      },
    });
  }

  /** Responds to one request of the user: `{ route, text, key, user, name }`. `name` is the account's. */
  async run({ route, text, key, user, name }) {
    try {
      await (this.#ready ??= this.#load());
      if (route.call === "webhook") return await this.#webhook(route.parts[1], text);
      const late = user.requestsPerMinute && takeTurn(this.#times, user.requestsPerMinute, Date.now());
      if (late) return later(429, "Too many requests: this user may send fewer in a minute.", late.retryAfterMs, { code: "too_many_requests" });
      const id = route.parts[0]?.toLowerCase();
      if (id && !(await this.#owned(id))) return refuse(404, "You have no such job.");
      switch (route.call) {
        case "templates":
          return ok((await this.#jobs.templates()).filter((it) => secondsOf(it.template_id, this.#settings, user) !== undefined).map(templateFor));
        case "get":
          return await this.#get(id);
        case "operation":
          return ok(await this.#state(key));
        default:
          return await this.#charge(route, { id, text, key, user, name });
      }
    } catch (error) {
      if (error instanceof TemplateJobsError) return failure(error);
      this.#ready = undefined; // its storage failed: read it again
      throw error;
    }
  }

  async #load() {
    const keys = await this.#journal.list(OPERATION);
    const texts = await Promise.all(keys.map((key) => this.#journal.read(key)));
    for (const text of texts) {
      if (text === undefined || text === null) continue;
      const record = JSON.parse(text);
      if (!this.#records.has(record.key)) this.#records.set(record.key, record);
    }
    if (this.#records.size) await this.#wake(FIRST_CHECK_MS);
  }

  #write(record) {
    return this.#journal.write(OPERATION + record.key, JSON.stringify(record));
  }

  /* ---- a charge ------------------------------------------------------------------------------ */

  async #charge({ call, step }, { id, text, key, user, name }) {
    const { body, refusal } = readRequest(text, call, this.#settings, user);
    if (refusal) return refusal;
    const own = id && (await this.#owned(id));
    const template = body.template_id?.toLowerCase() ?? own?.template;
    const model = body.model_version ?? own?.model ?? "standard";
    const seconds = secondsOf(template, this.#settings, user);
    if (seconds === undefined) return { status: 400, body: { template_id: ["This relay does not have the template of this job any more."] } };
    const [print, credits] = await Promise.all([hash(step + (id ?? "") + canonical(body)), this.#jobs.estimate({ step, seconds, model_version: model })]);
    for (let busy; (busy = this.#busy.get(key)); ) {
      const answer = await busy.promise;
      if (busy.print === print) return answer;
    }
    let record = this.#records.get(key);
    let isNew = false;
    if (record && record.print !== print && record.state !== "rejected") return conflict();
    if (record?.jobId) return await this.#get(record.jobId);
    if (!record || record.state === "rejected") {
      const refused = this.#limit(user, credits);
      if (refused) return refused;
      record = { key, token: token(), step, print, template, model, credits, createdAt: Date.now(), state: "sending" };
      this.#records.set(key, record);
      isNew = true;
    }
    return await this.#alone(key, print, () => this.#send(record, isNew, { call, id, body, name }));
  }

  /** Runs `act` while no other work on the key runs. It does not reject. */
  #alone(key, print, act) {
    const promise = act().catch((error) => (error instanceof TemplateJobsError ? failure(error) : refuse(503, "The relay's storage cannot be used.")));
    this.#busy.set(key, { print, promise });
    return promise.finally(() => this.#busy.delete(key));
  }

  /** The response to a charge above a limit. */
  #limit({ maxCredits, jobsAtOnce }, credits) {
    const now = Date.now();
    const records = [...this.#records.values()];
    const open = records.filter(({ state }) => state !== "ended" && state !== "rejected").length;
    if (jobsAtOnce && open >= jobsAtOnce) return later(429, `You have ${open} jobs in progress, and may not have more.`, 10_000, { code: "too_many_jobs" });
    if (maxCredits === undefined) return undefined;
    const { budgetPeriod } = this.#settings.limits;
    const left = remaining(records, maxCredits, now, budgetPeriod);
    if (credits <= left) return undefined;
    const renews = new Date(renewsAt(now, budgetPeriod)).toISOString();
    const detail = `This would cost ${credits} credits, and you have ${left} left until ${renews}.`;
    return refuse(402, detail, { code: "budget_exceeded", estimate: credits, remaining: left, renews_at: renews });
  }

  async #send(record, isNew, { call, id, body, name }) {
    try {
      await this.#write(record); // recorded under its key before anything is sent
    } catch (cause) {
      this.#records.delete(record.key);
      throw cause;
    }
    this.#check = FIRST_CHECK_MS;
    await this.#wake(FIRST_CHECK_MS);
    const { hooks } = this.#settings;
    const request = hooks ? { ...body, webhook_url: `${hooks}/webhooks/${name}/{operation}` } : body;
    const options = { operation: record.token, timeout: PROVIDER_MS };
    const { model_version: model } = request;
    if (model !== undefined && !MODELS.includes(model)) {
      delete request.model_version;
      options.extra = { model_version: model };
    }
    try {
      const job = await (call === "render" ? this.#jobs.render(id, request, options) : this.#jobs[call](request, options));
      // The job was rendered or rendering already.
      if (isNew && !this.#sent.has(record.token)) await this.#change(record, { credits: 0 });
      await this.#notice(job);
      return ok(jobFor(job, this.#settings.allow));
    } catch (error) {
      if (!(error instanceof TemplateJobsError)) throw error;
      if (error.charged === "no") await this.#change(record, { state: "rejected", credits: 0 });
      else if (record.state === "sending") await this.#change(record, { state: "unknown" });
      // `publicUrl` has changed since, so this is another request for the client, but the same one for the page.
      return error.name === "OperationConflictError" ? unknown() : failure(error);
    } finally {
      this.#sent.delete(record.token);
    }
  }

  async #change(record, members) {
    Object.assign(record, members);
    await this.#write(record);
  }

  /* ---- jobs and their owner ------------------------------------------------------------------ */

  /** The client's journal. Before it binds an operation to a job, it records the job, which is then its user's. */
  #watched(journal) {
    const first = async (id, entry) => {
      const slash = id.indexOf("/");
      const bound = !id.slice(0, slash).includes(":") && boundJob(entry);
      if (bound) await this.#own(id.slice(slash + 1), bound);
    };
    return {
      ...journal,
      create: async (id, entry) => (await first(id, entry), journal.create(id, entry)),
      replace: async (id, old, entry) => (await first(id, entry), journal.replace(id, old, entry)),
    };
  }

  async #own(operation, jobId) {
    const record = this.#withToken(operation);
    if (record && !record.jobId) await this.#change(record, { state: "bound", jobId });
  }

  #withToken(operation) {
    for (const record of this.#records.values()) if (record.token === operation) return record;
    return undefined;
  }

  /** The template and model of a job of the user; undefined if it is not the user's. */
  async #owned(id) {
    for (const record of this.#records.values()) if (record.jobId === id) return record;
    const text = await this.#journal.read(JOB + id);
    return text ? JSON.parse(text) : undefined;
  }

  async #get(id) {
    const job = await this.#jobs.get(id);
    await this.#notice(job);
    return ok(jobFor(job, this.#settings.allow));
  }

  /** Records a job. The operations of its ended steps are settled at their cost. */
  async #notice(job) {
    if (!ENDED.includes(job.status)) return;
    const steps = [...this.#records.values()].filter(({ jobId }) => jobId === job.id.toLowerCase());
    for (const record of steps) {
      if (record.state !== "bound" || (record.step !== "preview" && job.status === "done" && !job.video_output)) continue;
      const others = steps.filter((other) => other !== record && other.state === "ended");
      await this.#change(record, { state: "ended", credits: costOf(record, job, others) });
    }
  }

  /* ---- an operation whose answer was lost ---------------------------------------------------- */

  /** The state of an operation, for the page: `never_seen`, `sending`, `unknown`, `bound` or `rejected`. */
  async #state(key) {
    const record = this.#records.get(key);
    if (!record) return { operation: key, state: "never_seen" };
    // Wait for the outcome of an operation in flight, since the page needs it.
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, PATIENCE_MS)));
    await Promise.race([this.#busy.get(key)?.promise, late]);
    clearTimeout(timer);
    await this.#settle(record);
    const { step, state, jobId, createdAt } = record;
    const shown = state === "ended" ? "bound" : state;
    return { operation: key, state: shown, step, created_at: new Date(createdAt).toISOString(), ...(jobId && { job_id: jobId }) };
  }

  /** Looks for the outcome of an operation. Never charges. */
  async #settle(record) {
    if (this.#busy.has(record.key) || (record.state !== "sending" && record.state !== "unknown")) return;
    await this.#alone(record.key, undefined, async () => {
      try {
        const { jobId, state } = await this.#jobs.settle(record.token);
        // A crash after the entry was bound and before the record was.
        if (jobId && (state === "bound" || state === "ended")) await this.#own(record.token, jobId);
        else if (record.state === "sending") await this.#change(record, { state: "unknown" });
      } catch (error) {
        if (!(error instanceof TemplateJobsError)) throw error;
        // Without an entry in the journal, it was never sent, or it was refused.
        if (error.name === "InvalidRequestError" && error.charged === "no") await this.#change(record, { state: "rejected", credits: 0 });
      }
    });
  }

  /** Handles a webhook. It is not signed, so the job is fetched. A webhook without a known token is ignored. */
  async #webhook(operation, text) {
    const record = this.#withToken(operation);
    // While its response may still arrive, only that response binds it.
    for (let busy; record && (busy = this.#busy.get(record.key)); ) await busy.promise;
    if (!record || record.state === "ended" || record.state === "rejected") return { status: 204 };
    const url = `http://relay/${operation}`;
    const answer = await this.#alone(record.key, undefined, async () => {
      const { job } = await this.#jobs.handleWebhook(new Request(url, { method: "POST", body: text }));
      if (record.jobId === job.id.toLowerCase()) await this.#notice(job);
      return { status: 204 };
    });
    // The provider sends the webhook again if its API could not be reached. Anything else is not worth a second delivery.
    return answer.status === 503 || answer.status === 502 ? answer : { status: 204 };
  }

  /* ---- time ---------------------------------------------------------------------------------- */

  /** Settles open operations and removes expired ones. A timer calls it, also when no page is connected. Returns whether it is needed again. */
  async tick() {
    await (this.#ready ??= this.#load());
    const now = Date.now();
    const idle = [...this.#records.values()].filter(({ key }) => !this.#busy.has(key));
    const isExpired = ({ createdAt }) => now - createdAt > KEPT_MS;
    await this.#forget(idle.filter(isExpired));
    for (const record of idle) {
      if (isExpired(record)) continue;
      await this.#settle(record);
      if (record.state === "bound") await this.#get(record.jobId).catch(() => {});
    }
    await this.#forgetJobs(now);
    const open = [...this.#records.values()].some(({ state }) => state !== "ended" && state !== "rejected");
    this.#check = Math.min(this.#check * 2, LAST_CHECK_MS);
    if (this.#records.size) await this.#wake(open ? this.#check : DAY_MS);
    return this.#records.size > 0;
  }

  /** Removes operations and the client's entries for them. Their jobs keep their owner. */
  async #forget(records) {
    const tokens = new Set(records.map(({ token }) => token));
    const names = tokens.size ? await this.#journal.list("") : [];
    const isTheirs = (name) => !name.startsWith("relay:") && tokens.has(name.slice(name.lastIndexOf("/") + 1));
    for (const name of names.filter(isTheirs)) await this.#journal.delete(name);
    for (const { key, jobId, template, model, createdAt: at } of records) {
      if (jobId) await this.#journal.write(JOB + jobId, JSON.stringify({ template, model, at }));
      this.#records.delete(key);
      await this.#journal.delete(OPERATION + key);
    }
  }

  async #forgetJobs(now) {
    for (const key of await this.#journal.list(JOB)) {
      const text = await this.#journal.read(key);
      if (text && now - JSON.parse(text).at > OWNED_MS) await this.#journal.delete(key, text);
    }
  }
}

const MODELS = ["standard", "aurora_v1", "aurora_v1_fast"];

/** The job that an entry of the client's binds its operation to. */
function boundJob(entry) {
  try {
    const { state, job } = JSON.parse(entry);
    return state === "bound" ? job : undefined;
  } catch {
    return undefined;
  }
}
