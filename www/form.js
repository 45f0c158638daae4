// The form: the inputs of a job, its price, and its request.

import { el, setText } from "./dom.js";
import { field, variableField } from "./fields.js";
import { notice } from "./notice.js";
import { sketch } from "./sketch.js";
import { credits, length } from "./words.js";

const NAME_LIMIT = 255;
const MODELS = [
  { id: "standard", label: "Standard" },
  { id: "aurora_v1", label: "Aurora" },
  { id: "aurora_v1_fast", label: "Aurora fast" },
];
const JSON_EXAMPLE = '{\n  "headline": { "type": "text", "properties": { "content": "Hello" } }\n}';

/**
 * The form. `helpers` makes variables (`text`, `image`, …), `estimate` prices a step, and `onStart(step, request, template)`
 * starts a job. If that rejects, nothing was charged; the form shows the error and keeps its content.
 */
export function createForm({ templates, helpers, estimate, onStart }) {
  let template = templates[0];
  let fields = new Map();
  let model = "standard";
  let left = null;
  let costs = {};
  let busy = false;
  const drafts = new Map(templates.map(({ id, variables }) => [id, new Map((variables ?? []).map((v) => [v.name, v.default]))]));

  const variables = el("div", { class: "fields" });
  const failure = el("div", { class: "composer__failure", role: "alert" });
  const name = nameField();
  const price = priceList();
  const preview = actionButton("Preview", "button button--primary", () => start("preview", preview));
  const submit = actionButton("Submit", "button", () => start("submit", submit));

  const node = el("form", { class: "form", novalidate: true, onsubmit: (event) => event.preventDefault() },
    el("fieldset", { class: "group" },
      el("legend", null, "Template"),
      el("div", { class: "templates" }, templates.map((each, index) => templateCard(each, index === 0)))),
    el("fieldset", { class: "group" }, el("legend", null, "Variables"), variables),
    el("fieldset", { class: "group" },
      el("legend", { class: "visually-hidden" }, "Options"),
      el("div", { class: "fields fields--options" }, modelChoice(), name.node)),
    el("div", { class: "actions" },
      el("div", { class: "action" },
        el("p", { class: "action__title", id: "way-preview" }, "Look first"),
        el("dl", { class: "price" }, price.preview.node, price.render.node),
        describedBy(preview, "way-preview")),
      el("div", { class: "action" },
        el("p", { class: "action__title", id: "way-submit" }, "Straight to the video"),
        el("dl", { class: "price" }, price.submit.node),
        describedBy(submit, "way-submit"))),
    price.note,
    failure);

  choose(template);
  return {
    node,
    /** Sets the account's balance, so that the form can warn before a step that costs more. */
    setRemaining(count) {
      left = count;
      showPrice();
    },
  };

  function templateCard(each, checked) {
    const facts = [each.aspect, each.seconds ? length(each.seconds) : null].filter(Boolean).join(" · ");
    return el("label", { class: "template" },
      el("input", { type: "radio", name: "template", value: each.id, checked, onchange: () => choose(each) }),
      el("span", { class: "template__stage" }, sketch(each)),
      el("span", { class: "template__name" }, each.name),
      " ",
      el("span", { class: "template__facts" }, facts));
  }

  function choose(next) {
    template = next;
    failure.replaceChildren();
    fields = new Map(template.variables ? template.variables.map((v) => [v.name, draftField(v)]) : freeFields());
    variables.replaceChildren(...Array.from(fields.values(), (each) => each.node));
    if (fields.size === 0) variables.append(el("p", { class: "hint" }, "This template has no variables."));
    reprice();
  }

  function draftField(variable) {
    const draft = drafts.get(template.id);
    return variableField(variable, draft.get(variable.name), (value) => draft.set(variable.name, value));
  }

  /** Inputs for a template without known variables: JSON, and the length of the video, both from the template's editor. */
  function freeFields() {
    const json = el("textarea", { name: "variables", rows: 9, spellcheck: "false", class: "control--code" });
    json.value = JSON_EXAMPLE;
    const seconds = el("input", { name: "seconds", type: "number", min: 1, step: 1, inputmode: "numeric" });
    return [
      ["variables", field({ label: "Variables as JSON", hint: "The names are those of the template’s editor.", control: json, check: () => jsonProblem(json.value) })],
      ["seconds", field({ label: "Length of the video in seconds", optional: true, hint: "Only used to estimate the price.", control: seconds, onInput: reprice })],
    ];
  }

  function seconds() {
    if (template.variables) return template.seconds;
    const typed = Number(fields.get("seconds").value());
    return typed > 0 ? typed : undefined;
  }

  function modelChoice() {
    return el("div", { class: "field", role: "radiogroup", "aria-labelledby": "model-label" },
      el("div", { class: "field__head" }, el("span", { class: "field__label", id: "model-label" }, "Avatar model")),
      el("div", { class: "segments" }, MODELS.map(({ id, label }) => el("label", { class: "segment" },
        el("input", {
          type: "radio", name: "model_version", value: id, checked: id === model,
          onchange: () => {
            model = id;
            reprice();
          },
        }),
        el("span", null, label)))));
  }

  function nameField() {
    const counter = el("span", { class: "field__aside" });
    const control = el("input", { name: "name", type: "text", autocomplete: "off" });
    const count = () => setText(counter, `${characters(control.value)} / ${NAME_LIMIT}`);
    count();
    return field({
      label: "Name of the video", optional: true, control, aside: counter, onInput: count,
      check: () => (characters(control.value.trim()) > NAME_LIMIT ? `A name has at most ${NAME_LIMIT} characters.` : null),
    });
  }

  function priceList() {
    const row = (label) => {
      const value = el("dd", null, "–");
      return { value, node: el("div", null, el("dt", null, label), value) };
    };
    return { preview: row("Preview"), render: row("then Render"), submit: row("Submit"), note: el("p", { class: "price-note", role: "status" }) };
  }

  async function reprice() {
    const asked = { template, model, seconds: seconds() };
    const steps = ["preview", "render", "submit"];
    let found = {};
    if (asked.seconds) {
      try {
        const counts = await Promise.all(steps.map((step) => estimate({ step, seconds: asked.seconds, model_version: model })));
        found = Object.fromEntries(steps.map((step, i) => [step, counts[i]]));
      } catch {
        // Without an estimate no price is shown. The server decides the price anyway.
      }
    }
    // A later choice may have been priced in the meantime.
    if (asked.template !== template || asked.model !== model || asked.seconds !== seconds()) return;
    costs = found;
    showPrice();
  }

  function showPrice() {
    for (const step of ["preview", "render", "submit"]) {
      const cost = costs[step];
      setText(price[step].value, cost === undefined ? "–" : credits(cost));
      price[step].node.classList.toggle("price__over", cost !== undefined && left !== null && cost > left);
    }
    const over = ["preview", "submit"].filter((step) => left !== null && costs[step] > left);
    const verb = { preview: "Preview", submit: "Submit" };
    setText(price.note, over.length > 0
      ? `${over.map((step) => verb[step]).join(" and ")} ${over.length > 1 ? "ask" : "asks"} for more than the ${credits(left)} left.`
      : "");
  }

  function request() {
    const chosen = template.variables
      ? Object.fromEntries(template.variables.map(({ name: key, type }) => [key, (helpers[type] ?? helpers.text)(fields.get(key).value())]))
      : JSON.parse(fields.get("variables").value());
    return { template_id: template.id, variables: chosen, model_version: model, ...(name.value() === "" ? {} : { name: name.value() }) };
  }

  async function start(step, button) {
    if (busy) return;
    failure.replaceChildren();
    const wrong = [...fields.values(), name].filter((each) => each.check() !== null);
    if (wrong.length > 0) {
      wrong[0].control.focus();
      return;
    }
    setBusy(button);
    try {
      await onStart(step, request(), { ...template, seconds: seconds() });
    } catch (error) {
      show(error);
    } finally {
      setBusy(null);
    }
  }

  /** Shows an error beneath the buttons, and beside the input that it names. */
  function show(error) {
    const path = typeof error?.field === "string" ? error.field.split(".") : [];
    const about = path[0] === "variables" ? fields.get(path[1]) ?? fields.get("variables") : path[0] === "name" ? name : null;
    about?.show(error.message);
    failure.replaceChildren(notice(error));
  }

  /** Disables the buttons by `aria-disabled`, which keeps the focus; `disabled` would move it to the top of the page. */
  function setBusy(button) {
    busy = button !== null;
    for (const each of [preview, submit]) {
      each.setAttribute("aria-disabled", String(busy));
      each.setAttribute("aria-busy", String(each === button));
    }
  }
}

function actionButton(label, className, onclick) {
  return el("button", { type: "button", class: className, onclick }, label);
}

function describedBy(node, id) {
  node.setAttribute("aria-describedby", id);
  return node;
}

/** The server counts characters, not UTF-16 units. */
function characters(value) {
  return Array.from(value).length;
}

function jsonProblem(value) {
  try {
    const parsed = JSON.parse(value);
    return parsed !== null && typeof parsed === "object" && !Array.isArray(parsed) ? null : "The variables are an object: { \"name\": { … } }.";
  } catch (error) {
    return `This is not JSON yet: ${error.message}.`;
  }
}
