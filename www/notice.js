// The notice of an error: what happened, the server's message, what to do next, and buttons.

import { el, icon } from "./dom.js";
import { explain } from "./words.js";

/** A message for `error`, with `actions` (buttons) beneath it. */
export function notice(error, actions = []) {
  const { title, detail, next, code } = explain(error);
  return el("div", { class: "notice" },
    icon("warning"),
    el("div", { class: "notice__text" },
      el("p", { class: "notice__title" }, el("strong", null, title), " ", el("code", { class: "notice__code" }, code)),
      detail !== title && el("p", { class: "notice__detail" }, detail),
      el("p", null, next),
      actions.length > 0 && el("div", { class: "notice__actions" }, actions)));
}
