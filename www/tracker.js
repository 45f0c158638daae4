// The life of a job on the page: one charge, then updates until it ends, on this visit or the next.

import { expectedEnd } from "./remaining.js";
import { forgetCard, loadCards, loadDismissed, saveCard, saveDismissed } from "./store.js";

/**
 * A card is the page's state of one job. Its `phase`:
 * sending → watching → ready | failed, or else
 * unknown (the outcome of the charge is unknown), uncharged, stopped (this page stopped watching), gone (the server has no such job).
 * `findCharge(operation)` looks for the charge of an operation outside of the library, and returns null if it cannot.
 */
export function createTracker({ jobs, findCharge, onChange, onRemove, onCharge, onSettled }) {
  const cards = [];

  return { cards, start, render, lookAgain, watchOn, dismiss, resume };

  /** Submits or previews. Rejects without a card if the library or the server refused the request; then nothing was charged. */
  async function start(step, request, template) {
    const operation = crypto.randomUUID();
    const card = {
      key: operation, operation, jobId: null, step,
      template: { id: template.id, name: template.name, aspect: template.aspect, width: template.width, height: template.height, seconds: template.seconds, hue: template.hue, variables: template.variables?.map(({ type }) => ({ type })) },
      title: request.name ?? template.name,
      startedAt: Date.now(), endedAt: null, phase: "sending", job: null, error: null, expectedEnd: null,
    };
    add(card);
    const send = step === "preview" ? jobs.previewAsync : jobs.submit;
    try {
      const job = await send.call(jobs, { ...request, seconds: template.seconds ?? undefined }, { operation });
      bind(card, job);
    } catch (error) {
      if (!mayBeCharged(error)) {
        remove(card);
        throw error;
      }
      leaveUnknown(card, error);
    } finally {
      onCharge();
    }
    return card;
  }

  /** Renders the video of a card whose preview is ready. After a refusal the card keeps its preview. */
  async function render(card) {
    if (card.phase !== "ready" || card.step !== "preview") return;
    const before = { startedAt: card.startedAt, endedAt: card.endedAt };
    Object.assign(card, { step: "render", operation: `render:${card.jobId}`, phase: "sending", error: null, startedAt: Date.now(), endedAt: null });
    changed(card);
    try {
      const job = await jobs.render(card.job, { seconds: card.template.seconds ?? undefined });
      bind(card, job);
    } catch (error) {
      if (mayBeCharged(error)) {
        leaveUnknown(card, error);
      } else {
        Object.assign(card, before, { step: "preview", operation: null, phase: "ready", error });
        changed(card);
      }
    } finally {
      onCharge();
    }
  }

  /** Looks for the outcome of an unknown charge. Never charges. */
  async function lookAgain(card) {
    if (card.phase !== "unknown") return;
    card.phase = "asking";
    changed(card);
    let jobId = null;
    let { error } = card;
    try {
      // A render is settled by its job alone.
      const charge = card.step === "render" ? null : await findCharge(card.operation);
      if (charge && charge.jobId === null) {
        finish(card, "uncharged");
        return;
      }
      jobId = charge?.jobId ?? null;
      jobId = (await jobs.settle(card.operation, jobId ? { jobId } : undefined)).jobId ?? jobId;
    } catch (problem) {
      // The journal may have deleted the operation. The job that was found is still valid.
      if (problem?.name !== "InvalidRequestError") error = problem;
    } finally {
      onCharge();
    }
    if (jobId) {
      bind(card, { id: jobId });
    } else {
      card.askedAt = Date.now();
      leaveUnknown(card, error);
    }
  }

  /** Watches a stopped job again. */
  function watchOn(card) {
    if (card.phase === "stopped") follow(card, card.job ?? card.jobId);
  }

  function dismiss(card) {
    card.watch?.abort();
    saveDismissed(loadDismissed().add(card.jobId ?? card.operation));
    remove(card);
  }

  /** Resumes the jobs of earlier visits: the stored cards, and the other operations of the journal. */
  async function resume() {
    for (const kept of loadCards().reverse()) {
      if (!cards.some((card) => card.key === kept.key)) add({ ...kept, phase: "watching", job: null, error: null, expectedEnd: null });
    }
    const left = () => cards.filter((card) => card.phase === "watching" && !card.watch);
    for (const card of left()) if (!card.operation) follow(card, card.jobId);
    const pending = await jobs.pending();
    const dismissed = loadDismissed();
    for (const operation of pending) if (!dismissed.has(operation.jobId ?? operation.operation)) adopt(operation);
    saveDismissed(pending.map(({ jobId, operation }) => jobId ?? operation).filter((id) => dismissed.has(id)));
    for (const card of left()) {
      if (card.operation) leaveUnknown(card, { name: "ChargeUnknownError" });
      else follow(card, card.jobId);
    }
  }

  function adopt({ operation, step, jobId, createdAt }) {
    const known = cards.find((card) => card.operation === operation || (jobId && card.jobId === jobId));
    if (known) {
      if (jobId && known.operation === operation) Object.assign(known, { jobId, operation: null });
      return;
    }
    add({
      key: operation, operation: jobId ? null : operation, jobId: jobId ?? null, step,
      template: { name: "Template", width: 16, height: 9, hue: 0 }, title: "Job of an earlier visit",
      startedAt: createdAt, endedAt: null, phase: "watching", job: null, error: null, expectedEnd: null,
    });
  }

  function bind(card, job) {
    Object.assign(card, { jobId: job.id, operation: null });
    if (cards.includes(card)) follow(card, job.status ? job : job.id);
  }

  function leaveUnknown(card, error) {
    Object.assign(card, { phase: "unknown", error, operation: error?.operation ?? card.operation });
    changed(card);
  }

  async function follow(card, from) {
    const watch = new AbortController();
    Object.assign(card, { phase: "watching", error: null, expectedEnd: null, progress: null, watch });
    if (typeof from === "object") card.job = from;
    changed(card);
    try {
      const until = card.step === "preview" ? "preview" : "video";
      for await (const update of jobs.watch(from, { until, signal: watch.signal })) {
        // The server debits credits when the work starts, not when it accepts the job.
        if (update.job.credits_used !== card.job?.credits_used) onCharge();
        const isNews = update.job !== card.job;
        card.job = update.job;
        card.progress = update.progress;
        card.expectedEnd = expectedEnd(card.expectedEnd, update, Date.now());
        // The final job ends the loop and is shown after it.
        if (card.job.status === "done") continue;
        if (isNews) changed(card);
        else onChange(card);
      }
      finish(card, "ready");
    } catch (error) {
      // Dismissed: the card was removed already.
      if (watch.signal.aborted) return;
      Object.assign(card, { error, job: error?.job ?? card.job });
      finish(card, ended(error));
    }
  }

  function finish(card, phase) {
    Object.assign(card, { phase, expectedEnd: null, watch: null });
    if (phase !== "stopped") card.endedAt ??= Date.now();
    changed(card);
    onSettled(card);
  }

  function add(card) {
    cards.unshift(card);
    changed(card);
  }

  function changed(card) {
    if (!cards.includes(card)) return;
    if (card.phase === "uncharged") forgetCard(card);
    else saveCard(card);
    onChange(card);
  }

  function remove(card) {
    cards.splice(cards.indexOf(card), 1);
    forgetCard(card);
    onRemove(card);
  }
}

const mayBeCharged = (error) => error?.charged === "maybe" || error?.charged === "yes";

function ended(error) {
  if (error?.name === "JobFailedError") return "failed";
  return error?.name === "ApiError" && error.kind === "not_found" ? "gone" : "stopped";
}
