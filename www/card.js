// The card of a job: its status, its media and its buttons.

import { el, icon, setText } from "./dom.js";
import { notice } from "./notice.js";
import { bandWords, nextBand } from "./remaining.js";
import { safeUrl } from "./safe-url.js";
import { sketch } from "./sketch.js";
import { credits, elapsed, statusWord } from "./words.js";

const PHASE_WORDS = { sending: "Sending", asking: "Looking", unknown: "Unknown", uncharged: "Not charged", stopped: "Paused", gone: "Gone" };
const TALLEST = 400;
const MAKING = { preview: "Making the preview", render: "Rendering the video", submit: "Making the video" };

/** The view of one card. `show()` renders the card, `tick()` only the clock. `left()` returns the words for the remaining time. */
export function createCardView(card, { onRender, onLookAgain, onWatchOn, onDismiss, estimate }) {
  const titleId = `title-${card.key}`;
  const title = el("h3", { id: titleId, tabindex: "-1" }, card.title);
  const what = el("p", { class: "card__template" });
  const status = el("span", { class: "status" });
  const stage = el("div", { class: "stage" });
  const bar = el("div", { class: "progress__bar" });
  const progress = el("div", { class: "progress", role: "progressbar", "aria-label": `Progress of ${card.title}`, "aria-valuemin": "0", "aria-valuemax": "100" }, bar);
  const since = el("span");
  const left = el("span", { class: "card__left" });
  const line = el("p", { class: "card__line" }, since, " ", left);
  const messages = el("div", { class: "card__messages" });
  const facts = el("p", { class: "card__facts" });
  const links = el("div", { class: "card__links" });
  const renderButton = el("button", { type: "button", class: "button button--primary", onclick: () => onRender(card) }, "Render");
  const renderPrice = el("span", { class: "card__price", id: `price-${card.key}` });
  renderButton.setAttribute("aria-describedby", renderPrice.id);
  const renderRow = el("div", { class: "card__render" }, renderButton, renderPrice);
  const foot = el("div", { class: "card__foot" }, facts, links);

  const node = el("li", { class: "card", "data-key": card.key },
    el("article", { "aria-labelledby": titleId },
      el("header", { class: "card__head" },
        el("div", { class: "card__thumb" }, sketch(card.template)),
        el("div", { class: "card__names" },
          title,
          what),
        status,
        el("button", { type: "button", class: "icon-button", "aria-label": `Dismiss ${card.title}`, title: "Dismiss", onclick: () => onDismiss(card) }, icon("close"))),
      stage, progress, line, messages, renderRow, foot));

  let shownMedia = null;
  let shownMessage = null;
  let priced = false;
  let band = null;
  show();
  return { node, show, tick, left: () => left.textContent };

  function show() {
    const focused = node.contains(document.activeElement) ? document.activeElement : null;
    const { word, tone } = statusOf(card);
    setText(status, word);
    status.dataset.tone = tone;
    node.dataset.phase = card.phase;
    setText(what, [card.title === card.template.name ? null : card.template.name, card.template.aspect, stepName(card)].filter(Boolean).join(" · "));
    const refused = showMedia();
    showMessage(refused);
    showProgress();
    showRender();
    showFoot();
    tick();
    // The pressed button is removed, so keep the keyboard focus on this card.
    if (focused && !(focused.isConnected && focused.checkVisibility())) title.focus();
  }

  function tick() {
    setText(since, lineOf(card, status.textContent));
    band = nextBand(band, card.phase === "watching" && card.expectedEnd !== null ? card.expectedEnd - Date.now() : null);
    setText(left, bandWords(band));
    line.hidden = since.textContent === "";
  }

  /** Shows the newest media, and returns the names of the URLs that were refused. */
  function showMedia() {
    const refused = [];
    const url = (name) => {
      const value = card.job?.[name];
      if (value === null || value === undefined || value === "") return null;
      const safe = safeUrl(value);
      if (safe === null) refused.push(name);
      return safe;
    };
    const video = url("video_output");
    const preview = video ? null : url("preview");
    const source = video ?? preview;
    // Keep the player while its source is the same: somebody may be watching.
    if (source !== shownMedia) {
      shownMedia = source;
      stage.replaceChildren(...(source ? [shaped(video ? player(video) : page(preview))] : []));
    }
    return refused;
  }

  /** Gives the media the template's aspect ratio before its size is known, so that the layout does not jump. */
  function shaped(media) {
    const ratio = card.template.width / card.template.height;
    media.style.aspectRatio = String(ratio);
    media.style.width = `min(100%, ${TALLEST * ratio}px)`;
    return media;
  }

  function player(src) {
    return el("video", { src, controls: true, playsinline: true, preload: "metadata", "aria-label": `Video of ${card.title}` });
  }

  /** The preview is a page of another origin. The empty `sandbox` denies it scripts, forms and its origin. */
  function page(src) {
    return el("iframe", { src, sandbox: "", referrerpolicy: "no-referrer", title: `Preview of ${card.title}` });
  }

  function showMessage(refused) {
    const key = `${card.phase} ${card.error?.name} ${card.error?.message} ${refused.join()}`;
    if (key === shownMessage) return;
    shownMessage = key;
    const parts = [];
    if (card.error) parts.push(notice(card.error, recovery()));
    if (card.phase === "uncharged") parts.push(el("p", { class: "card__plain" }, "The server never took this request, so nothing was charged. You can start it again from the form."));
    if (refused.length > 0) parts.push(notice({ name: "UnsafeUrl", message: `The server gave an address that this page will not open (${refused.join(", ")}).` }));
    messages.replaceChildren(...parts);
  }

  function recovery() {
    const button = (label, onclick) => [el("button", { type: "button", class: "button button--small", onclick }, label)];
    if (card.phase === "unknown") return button("Look again", () => onLookAgain(card));
    if (card.phase === "stopped") return button("Keep watching", () => onWatchOn(card));
    return [];
  }

  function showProgress() {
    progress.hidden = !isActive(card);
    const share = card.phase === "watching" ? (card.progress ?? null) : null;
    progress.classList.toggle("progress--unknown", share === null);
    if (share === null) {
      progress.removeAttribute("aria-valuenow");
      bar.style.removeProperty("width");
    } else {
      progress.setAttribute("aria-valuenow", String(Math.round(share * 100)));
      bar.style.width = `${share * 100}%`;
    }
  }

  function showRender() {
    const offered = card.step === "preview" && card.phase === "ready";
    const sending = card.step === "render" && card.phase === "sending";
    renderRow.hidden = !offered && !sending;
    renderButton.setAttribute("aria-disabled", String(sending));
    renderButton.setAttribute("aria-busy", String(sending));
    if (renderRow.hidden || priced || !card.template.seconds) return;
    priced = true;
    estimate({ step: "render", seconds: card.template.seconds, model_version: card.job?.model_version ?? undefined })
      .then((count) => setText(renderPrice, `for ${credits(count)}`), () => setText(renderPrice, ""));
  }

  function showFoot() {
    const used = card.job?.credits_used;
    setText(facts, typeof used === "number" && used > 0 ? `${credits(used)} used` : "");
    const wanted = [
      ["editor_url", "Open in the editor", "external", null],
      ["video_output", "Download", "download", ""],
    ].map(([name, label, symbol, download]) => ({ href: safeUrl(card.job?.[name]), label, symbol, download })).filter(({ href }) => href !== null);
    const key = wanted.map(({ href }) => href).join(" ");
    if (links.dataset.shown !== key) {
      links.dataset.shown = key;
      links.replaceChildren(...wanted.map(({ href, label, symbol, download }) => el("a", { class: "link", href, download, target: "_blank", rel: "noopener noreferrer" }, icon(symbol), label)));
    }
    foot.hidden = facts.textContent === "" && wanted.length === 0;
  }
}

/** Whether the card's clock is running. */
export function isActive(card) {
  return card.phase === "sending" || card.phase === "asking" || card.phase === "watching";
}

/** The status in words, and its tone. */
export function statusOf(card) {
  const word = PHASE_WORDS[card.phase];
  if (word) return { word, tone: card.phase === "unknown" || card.phase === "gone" ? "warn" : "quiet" };
  const status = card.job?.status;
  if (card.phase === "failed") return { word: statusWord(status ?? "failed"), tone: status === "rejected" ? "warn" : "bad" };
  if (card.phase === "ready") return { word: "Done", tone: "good" };
  // A previewed job stays `done` until the server starts its render. Show it as waiting.
  if (!status || status === "done") return { word: "Pending", tone: "quiet" };
  return { word: statusWord(status), tone: status === "running" ? "live" : "quiet" };
}

/** The current step and its elapsed time, or how long the job took. */
function lineOf(card, word) {
  const took = elapsed((card.endedAt ?? Date.now()) - card.startedAt);
  switch (card.phase) {
    case "sending": return `Sending the request · ${took}`;
    case "asking": return "Asking the server";
    case "watching": return `${MAKING[card.step]} · ${took}`;
    case "ready": return `${stepName(card)} ready after ${took}`;
    case "failed": return `${word} after ${took}`;
    case "unknown": return card.askedAt ? `Still unknown, asked at ${new Date(card.askedAt).toLocaleTimeString()}` : "";
    default: return "";
  }
}

function stepName(card) {
  return card.step === "preview" ? "Preview" : "Video";
}
