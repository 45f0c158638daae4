// The inputs of the form: one kind for each type of variable, with its checks.

import { el, setText } from "./dom.js";

const TYPES = {
  text: { tag: null, check: () => null },
  image: { tag: "image URL", check: webAddress },
  video: { tag: "video URL", check: webAddress },
  audio: { tag: "audio URL", check: webAddress },
  avatar: { tag: "avatar id", check: notEmpty },
  voiceover: { tag: "voice id", check: notEmpty },
};

const LONG_TEXT = 48;
let lastId = 0;

/** A labelled input for one variable. `value()` returns the value to send; `check()` shows and returns the error, or null. */
export function variableField({ name, type, label }, start, onInput) {
  const kind = TYPES[type] ?? TYPES.text;
  const address = kind.check === webAddress;
  const props = {
    name, spellcheck: type === "text" ? null : "false", autocomplete: "off",
    ...(address ? { type: "url", inputmode: "url", placeholder: "https://" } : {}),
  };
  const control = type === "text" && String(start ?? "").length > LONG_TEXT
    ? el("textarea", { ...props, rows: 3 })
    : el("input", { type: "text", ...props });
  control.value = start ?? "";
  return field({ label, tag: kind.tag, control, onInput, check: () => kind.check(control.value.trim()) });
}

/** A label, a control, its description and its error. Every input of the form uses it. */
export function field({ label, tag, optional, hint, control, aside, onInput, check = () => null }) {
  const id = `field-${(lastId += 1)}`;
  const problem = el("p", { class: "field__error", id: `${id}-error` });
  control.id = id;
  control.classList.add("control");
  control.setAttribute("aria-describedby", [tag && `${id}-tag`, hint && `${id}-hint`, aside && `${id}-aside`, `${id}-error`].filter(Boolean).join(" "));
  if (aside) aside.id = `${id}-aside`;

  const show = (message) => {
    setText(problem, message ?? "");
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
    return message;
  };
  // An error disappears while it is corrected. It never appears on blur: the layout would shift under a pointer that is about to
  // press the button below.
  control.addEventListener("input", () => {
    if (control.hasAttribute("aria-invalid")) show(check());
    onInput?.(control.value);
  });

  const node = el("div", { class: "field" },
    el("div", { class: "field__head" },
      el("label", { for: id }, label, optional && el("span", { class: "field__optional" }, " optional")),
      tag && el("span", { class: "tag", id: `${id}-tag` }, tag), aside),
    control,
    hint && el("p", { class: "field__hint", id: `${id}-hint` }, hint),
    problem);
  return { node, control, value: () => control.value.trim(), check: () => show(check()), show };
}

function webAddress(value) {
  if (value === "") return "This template needs an address here, for example https://example.com/picture.jpg.";
  let url;
  try {
    url = new URL(value);
  } catch {
    return "This is not a whole address. It starts with https://.";
  }
  return url.protocol === "https:" || url.protocol === "http:" ? null : "The server fetches only addresses that start with https:// or http://.";
}

function notEmpty(value) {
  return value === "" ? "This template needs an id here." : null;
}
