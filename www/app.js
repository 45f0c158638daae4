// The page: loads the library, the templates and the credits, and connects the form, the cards and the announcements for screen readers.

import { loadCatalog } from "./catalog.js";
import { createCardView, isActive, statusOf } from "./card.js";
import { el, setText } from "./dom.js";
import { createForm } from "./form.js";
import { notice } from "./notice.js";
import { sandboxCharge } from "./sandbox.js";
import { createTracker } from "./tracker.js";
import { credits } from "./words.js";

const byId = (id) => document.getElementById(id);
const views = new Map();
const said = new WeakMap();
let library = null;
let jobs = null;
let tracker = null;
let form = null;
let resumed = null;
let remaining = null;

setInterval(() => {
  if (document.hidden || !tracker) return;
  for (const card of tracker.cards) {
    if (!isActive(card)) continue;
    views.get(card).tick();
    sayStatus(card);
  }
}, 1_000);

open();

/** Starts the page, or restarts it after the server could not be reached. Parts that already work are kept. */
async function open() {
  byId("banner").replaceChildren();
  showSkeleton();
  try {
    library ??= await loadLibrary();
    jobs ??= new library.TemplateJobs({ relay: "/relay" });
    tracker ??= createTracker({ jobs, findCharge: sandboxCharge, onChange: showCard, onRemove: dropCard, onCharge: showCredits, onSettled: showCredits });
    // The cards of an earlier visit and the form load independently.
    resumed ??= tracker.resume().catch(fail);
    const [catalog] = await Promise.all([loadCatalog(jobs), jobs.remainingCredits().then(putCredits), resumed]);
    showForm(catalog);
  } catch (error) {
    fail(error);
  }
  showEmpty();
}

async function loadLibrary() {
  try {
    return await import("/custom-template-jobs/web.js");
  } catch (cause) {
    throw Object.assign(new Error("The browser could not load its files.", { cause }), { name: "LoadError" });
  }
}

function fail(error) {
  byId("banner").replaceChildren(notice(error, [el("button", { type: "button", class: "button button--small", onclick: tryAgain }, "Try again")]));
  if (!form) byId("composer").replaceChildren(el("p", { class: "hint" }, "The templates appear here as soon as the server answers."));
}

function tryAgain() {
  // The button disappears with its message.
  byId("composer-title").focus();
  open();
}

function showSkeleton() {
  if (form) return;
  const blocks = (count, className) => Array.from({ length: count }, () => el("div", { class: `bone ${className}` }));
  byId("composer").replaceChildren(el("div", { class: "skeleton", "aria-hidden": "true" },
    el("div", { class: "templates" }, blocks(4, "bone--template")), blocks(3, "bone--field")));
  say("Loading the templates");
}

function showForm({ sandbox, templates }) {
  if (form) return;
  if (templates.length === 0) {
    byId("composer").replaceChildren(el("p", { class: "hint" }, "This account has no custom template yet. Make one in the editor, then reload this page."));
    return;
  }
  form = createForm({ templates, helpers: library, estimate: (what) => jobs.estimate(what), onStart: start });
  byId("composer").replaceChildren(form.node);
  if (remaining !== null) form.setRemaining(remaining);
  byId("foot").replaceChildren(el("p", null, sandbox
    ? "Connected to the sandbox: jobs, credits and videos are made up on this machine."
    : "Connected through a relay, which holds the keys. This page never sees them."),
  sandbox && el("p", null, el("a", { class: "link", href: "/__sandbox/" }, "Look inside the sandbox")) || "");
  say("Ready");
}

async function start(step, request, template) {
  const card = await tracker.start(step, request, template);
  const view = views.get(card);
  const { top, bottom } = view.node.getBoundingClientRect();
  // On a phone the cards lie below the form: show what the button did.
  if (top < 0 || bottom > innerHeight) {
    view.node.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
}

function putCredits(count) {
  remaining = count;
  const [value, unit] = credits(count).split(" ");
  setText(byId("credits-value"), value);
  setText(byId("credits-label"), `${unit} left`);
  form?.setRemaining(count);
}

function showCredits() {
  // Keep the old balance: it is better than none, and the card shows the charge.
  jobs.remainingCredits().then(putCredits, () => {});
}

function showCard(card) {
  let view = views.get(card);
  if (view) {
    view.show();
  } else {
    view = createCardView(card, {
      estimate: (what) => jobs.estimate(what),
      onRender: tracker.render, onLookAgain: tracker.lookAgain, onWatchOn: tracker.watchOn, onDismiss: dismiss,
    });
    views.set(card, view);
    byId("cards").prepend(view.node);
    showEmpty();
  }
  sayStatus(card);
}

function dropCard(card) {
  views.get(card)?.node.remove();
  views.delete(card);
  showEmpty();
}

function dismiss(card) {
  const node = views.get(card).node;
  const next = node.nextElementSibling ?? node.previousElementSibling;
  tracker.dismiss(card);
  // The focused button was removed with its card.
  (next?.querySelector(".icon-button") ?? byId("jobs-title")).focus();
  say(`${card.title} dismissed`);
}

function showEmpty() {
  const count = views.size;
  byId("empty").hidden = count > 0;
  setText(byId("jobs-count"), count === 0 ? "" : count === 1 ? "1 job" : `${count} jobs`);
}

/** Announces each change of the status and of the remaining time once. The clock and the progress bar are not announced. */
function sayStatus(card) {
  const { word } = statusOf(card);
  const what = card.phase === "ready" ? (card.step === "preview" ? "preview ready" : "video ready") : word;
  const left = views.get(card).left();
  const before = said.get(card);
  if (before?.what === what && (left === "" || before.left === left)) return;
  said.set(card, { what, left });
  say(`${card.title}: ${[what, left].filter(Boolean).join(", ")}`);
}

function say(text) {
  setText(byId("announcer"), text);
}
