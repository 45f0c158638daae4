// The console: renders each digest of the event stream. Data is inserted as text, never as markup. Elements are updated in
// place, so that they keep the focus.

const find = (id) => document.getElementById(id);

function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setTone(node, tone) {
  if (tone) node.dataset.tone = tone;
  else delete node.dataset.tone;
}

/** The time of day in an RFC 3339 time. */
const hour = (time) => time.slice(11, 23);
const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** Calls the control interface. Rejects with the `detail` of an error answer. */
async function callControl(method, path, body) {
  const response = await fetch(path, { method, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? `The sandbox answered ${response.status}.`);
  return answer;
}

// The digest

let latest;

function show(state) {
  latest = state;
  showFigures(state);
  showClock(state.clock);
  showJobs(state.jobs);
  showRules(state.faults);
  showTable(find("requests"), state.requests, (request) => request.n, requestRow);
  showTable(find("charges"), state.charges, (charge) => `${charge.n} ${charge.state} ${charge.duplicate}`, chargeRow);
  showTable(find("webhooks"), state.webhooks, (webhook) => `${webhook.n} ${webhook.tries.length}`, webhookRow);
  showTable(find("images"), state.images, (image) => `${image.at} ${image.url}`, imageRow);
  showDuplicates(state.duplicates);
}

function showFigures({ credits, counts, duplicates }) {
  setText(find("remaining"), String(credits.remaining));
  setText(find("reserved"), String(credits.reserved));
  setText(find("charged"), String(counts.charges));
  setText(find("duplicated"), String(duplicates.length));
  setText(find("job-count"), String(counts.jobs));
  setText(find("request-count"), String(counts.requests));
  setTone(find("duplicates-figure"), duplicates.length > 0 && "bad");
}

// The displayed clock advances between two digests.
let clock;
let receivedAt;

function showClock(next) {
  clock = next;
  receivedAt = performance.now();
  const facts = [clock.still ? "still" : `speed ${clock.speed}`];
  if (clock.offset_seconds > 0) facts.push(`${clock.offset_seconds} s ahead`);
  setText(find("clock-facts"), facts.join(", "));
  tick();
}

function tick() {
  if (!clock) return;
  const moment = new Date(Date.parse(clock.now) + (clock.still ? 0 : performance.now() - receivedAt));
  setText(find("now"), `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC`);
}
setInterval(tick, 250);

const TONES = { pending: "", in_queue: "", running: "live", done: "good", failed: "bad", rejected: "bad" };
const WORDS = { pending: "Pending", in_queue: "In queue", running: "Running", done: "Done", failed: "Failed", rejected: "Rejected" };
const cards = new Map();

function showJobs(jobs) {
  const list = find("job-list");
  find("jobs-empty").hidden = jobs.length > 0;
  list.hidden = jobs.length === 0;
  const known = new Set(jobs.map(({ id }) => id));
  for (const [id, card] of cards) {
    if (known.has(id)) continue;
    card.node.remove();
    cards.delete(id);
  }
  // New jobs are added in front. Existing cards stay in place.
  for (const job of jobs.toReversed()) {
    if (!cards.has(job.id)) {
      cards.set(job.id, newCard(job));
      list.prepend(cards.get(job.id).node);
    }
    showJob(cards.get(job.id), job);
  }
}

function newCard(job) {
  const card = {
    status: el("span", { class: "status" }),
    facts: el("p", { class: "job__facts" }),
    reason: el("p", { class: "job__reason" }),
    progress: el("progress", { max: 1, "aria-label": `Progress of ${job.name ?? job.template}` }),
    stage: el("div", { class: "job__stage" }),
    buttons: { preview: null, video: null },
  };
  const title = job.name ?? job.template;
  for (const what of ["preview", "video"]) {
    card.buttons[what] = el("button", {
      type: "button", class: "button", "aria-pressed": "false", hidden: true, "aria-label": `${what === "video" ? "Video" : "Preview"} of ${title}`,
      click: () => play(card, what),
    }, what === "video" ? "Video" : "Preview");
  }
  card.node = el("li", { class: "job", "data-id": job.id },
    el("div", { class: "job__head" },
      el("div", { class: "job__names" }, el("h3", null, title), card.facts),
      card.buttons.preview, card.buttons.video, card.status),
    card.progress, card.reason, card.stage);
  return card;
}

function showJob(card, job) {
  card.job = job;
  card.node.dataset.status = job.status;
  setText(card.status, WORDS[job.status] ?? job.status);
  setTone(card.status, TONES[job.status] ?? "warn");
  const facts = [job.name && job.template, `${job.seconds} s`, `${job.credits_used} credits`, hour(job.created_at), job.id.slice(0, 8)];
  setText(card.facts, facts.filter(Boolean).join(" · "));
  setText(card.reason, job.failed_reason);
  card.progress.value = job.progress;
  card.progress.hidden = ["done", "failed", "rejected"].includes(job.status);
  card.buttons.preview.hidden = !job.preview;
  card.buttons.video.hidden = !job.video;
}

/** Shows or hides a job's preview or video. */
function play(card, what) {
  const open = card.buttons[what].getAttribute("aria-pressed") === "true";
  for (const [name, button] of Object.entries(card.buttons)) button.setAttribute("aria-pressed", String(!open && name === what));
  const title = `${what === "video" ? "Video" : "Preview"} of ${card.job.name ?? card.job.template}`;
  if (open) card.stage.replaceChildren();
  else if (what === "preview") card.stage.replaceChildren(el("iframe", { src: card.job.preview, title, sandbox: "", referrerpolicy: "no-referrer" }));
  else card.stage.replaceChildren(el("video", { src: card.job.video, controls: true, playsinline: true, "aria-label": title }));
}

/** Updates the rows of a table by key, newest first. Existing rows stay, so that a text selection survives. */
function showTable(body, entries, keyOf, row) {
  const empty = body.childElementCount === 0;
  const rows = new Map([...body.children].map((node) => [node.dataset.key, node]));
  const wanted = entries.map((entry) => [String(keyOf(entry)), entry]);
  const keys = new Set(wanted.map(([key]) => key));
  for (const [key, node] of rows) if (!keys.has(key)) node.remove();
  let before = body.firstElementChild;
  for (const [key, entry] of wanted) {
    const node = rows.get(key);
    if (node) {
      if (node !== before) body.insertBefore(node, before);
      else before = before.nextElementSibling;
      continue;
    }
    const made = row(entry);
    made.dataset.key = key;
    if (!empty) made.dataset.new = "";
    body.insertBefore(made, before);
  }
  body.closest(".panel").classList.toggle("panel--empty", entries.length === 0);
}

const cell = (text, tone, long) => el("td", { "data-tone": tone, class: long && "long" }, text);
const code = (text) => el("td", null, el("code", null, text));

function requestRow({ at, call, method, path, status, faults, connection, via, idempotency_key: key }) {
  const tone = status === null || status >= 500 ? "bad" : status >= 400 ? "warn" : "good";
  return el("tr", null,
    cell(hour(at)), cell(call ?? "none"), code(`${method} ${path}`), cell(status === null ? "dropped" : String(status), tone),
    cell(faults.join(", ")), cell(`${connection}${via === "relay" ? ", relay" : ""}`), code(key ?? ""));
}

function chargeRow({ at, call, job_id: job, credits, state, duplicate }) {
  return el("tr", null, cell(hour(at)), cell(call), code(job), cell(String(credits)), cell(state), cell(duplicate ? "duplicate" : "", "bad"));
}

function webhookRow({ at, status, url, tries, faults }) {
  const last = tries.at(-1)?.answer;
  const tone = last >= 200 && last < 300 ? "good" : last === undefined ? "" : "warn";
  const words = last === undefined ? "waiting" : `${count(tries.length, "try").replace("trys", "tries")}: ${last}`;
  return el("tr", null, cell(hour(at)), cell(status), code(url), cell(words, tone, true), cell(faults.join(", ")));
}

function imageRow({ at, label, url, answer }) {
  return el("tr", null, cell(hour(at)), cell(label), code(url.length > 80 ? `${url.slice(0, 79)}…` : url), cell(answer, answer === "drawn" ? "good" : "warn", true));
}

const REASONS = { same_step: "one job was charged again for its", identical_body: "the same body was sent again to" };

function showDuplicates(duplicates) {
  const text = JSON.stringify(duplicates);
  const place = find("duplicates");
  if (place.dataset.shown === text) return;
  place.dataset.shown = text;
  place.replaceChildren(...duplicates.slice(-10).toReversed().map(({ reason, step, charges, excess_credits: excess }) => el("p", { class: "notice" },
    el("strong", null, "Duplicate charge"), `: ${REASONS[reason] ?? reason} ${step}, ${charges.length} charges for one request, ${count(excess, "credit")} too many.`)));
}

// Faults

const CALLS = ["submit", "preview", "preview_async", "render", "get", "templates", "credits", "*"];
const KINDS = [
  "drop_before_commit", "drop_after_commit", "status_before_commit", "status_after_commit", "delay", "stall", "drip", "truncate", "html", "redirect",
  "stuck", "unknown_status", "fail_job", "reject_job", "webhook_lost", "webhook_duplicated", "webhook_reordered", "webhook_early",
];
const SWITCHES = [
  { words: "Lose the answer to a charge", hint: "Submit takes effect; the connection closes without an answer.", rule: { on: "submit", kind: "drop_after_commit" } },
  { words: "Gateway error after a charge", hint: "Submit takes effect; the answer is 502.", rule: { on: "submit", kind: "status_after_commit" } },
  { words: "Too many requests", hint: "Polls get a 429 with Retry-After: 5.", rule: { on: "get", kind: "status_before_commit", status: 429, headers: { "Retry-After": "5" } } },
  { words: "HTML instead of answers", hint: "A captive portal answers like this.", rule: { on: "*", kind: "html" } },
  { words: "Slow answers", hint: "Every answer is sent two seconds later.", rule: { on: "*", kind: "delay", ms: 2000 } },
  { words: "Jobs fail", hint: "Every new job or render ends as failed.", rule: { on: "*", kind: "fail_job" } },
  { words: "Webhooks are lost", hint: "No webhook is sent.", rule: { on: "*", kind: "webhook_lost" } },
];

const sorted = (value) => (value && typeof value === "object" && !Array.isArray(value)
  ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])])) : value);
const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const bare = ({ seen, struck, ...rule }) => rule;
const rules = () => (latest?.faults ?? []).map(bare);

const switches = SWITCHES.map(({ words, hint, rule }) => {
  const input = el("input", { type: "checkbox", role: "switch", change: () => {
    const others = rules().filter((other) => !same(other, rule));
    setFaults(input.checked ? [rule, ...others] : others);
  } });
  find("switches").append(el("label", { class: "switch" }, el("span", { class: "switch__words" }, words, el("small", null, hint)), input));
  return { input, rule };
});
find("fault-on").append(...CALLS.map((call) => el("option", { value: call }, call === "*" ? "every call" : call)));
find("fault-kind").append(...KINDS.map((kind) => el("option", { value: kind }, kind.replaceAll("_", " "))));

/** Replaces the rules. Shows an error beside the form. */
async function setFaults(list) {
  try {
    setText(find("fault-error"), "");
    showRules(await callControl("PUT", "faults", list));
    return true;
  } catch (error) {
    setText(find("fault-error"), error.message);
    showRules(latest?.faults ?? []);
    return false;
  }
}

function showRules(list) {
  if (latest) latest.faults = list;
  for (const { input, rule } of switches) input.checked = list.some((other) => same(bare(other), rule));
  find("faults-empty").hidden = list.length > 0;
  const place = find("rule-list");
  const shape = JSON.stringify(list.map(bare));
  if (place.dataset.shown !== shape) {
    place.dataset.shown = shape;
    place.replaceChildren(...list.map((entry, at) => {
      const { on, kind, ...more } = bare(entry);
      const fields = Object.keys(more).length ? ` ${JSON.stringify(more)}` : "";
      return el("li", null,
        el("span", null, `${on === "*" ? "every call" : on}: ${kind.replaceAll("_", " ")}`, fields && el("code", null, fields), el("br"), el("span", { class: "soft" })),
        el("button", { type: "button", class: "button", "aria-label": `Remove ${kind} on ${on}`, click: () => remove(at) }, "Remove"));
    }));
  }
  list.forEach(({ seen, struck }, at) => setText(place.children[at].querySelector(".soft"), `matched ${seen}, applied ${struck}`));
}

async function remove(at) {
  await setFaults(rules().filter((_, other) => other !== at));
  const next = find("rule-list").children[Math.min(at, find("rule-list").childElementCount - 1)];
  (next?.querySelector("button") ?? find("fault-on")).focus();
}

find("fault-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const more = find("fault-more");
  const rule = { on: find("fault-on").value, kind: find("fault-kind").value };
  if (find("fault-times").value) rule.times = Number(find("fault-times").value);
  try {
    Object.assign(rule, more.value.trim() ? JSON.parse(more.value) : {});
    more.removeAttribute("aria-invalid");
  } catch {
    more.setAttribute("aria-invalid", "true");
    more.focus();
    setText(find("fault-error"), "More fields are written as a JSON object, such as {\"ms\": 800}.");
    return;
  }
  if (await setFaults([...rules(), rule])) find("fault-form").reset();
});

// The clock's buttons

const move = (seconds) => callControl("POST", "clock", { advance_seconds: seconds }).then(
  () => showStatus(`The clock was moved by ${seconds} s`, "good"), (error) => showStatus(error.message, "bad"));
for (const button of document.querySelectorAll("[data-advance]")) button.addEventListener("click", () => move(Number(button.dataset.advance)));
find("clock-form").addEventListener("submit", (event) => {
  event.preventDefault();
  move(Number(find("advance").value));
});
find("reset").addEventListener("click", () => {
  if (!confirm("Remove all jobs, charges and faults, and reset the clock?")) return;
  callControl("POST", "reset").then(() => showStatus("The sandbox was reset", "good"), (error) => showStatus(error.message, "bad"));
});

// The event stream

let statusTimer;

function showStatus(text, tone) {
  clearTimeout(statusTimer);
  setText(find("live"), text);
  setTone(find("live"), tone);
  if (text !== "Live") statusTimer = setTimeout(() => connected && showStatus("Live", "good"), 4000);
}

let connected = false;
const events = new EventSource("events");
events.onmessage = ({ data }) => {
  show(JSON.parse(data));
  if (!connected) showStatus("Live", "good");
  connected = true;
};
// The browser reconnects by itself.
events.onerror = () => {
  connected = false;
  showStatus("The sandbox does not answer", "bad");
};

setText(find("base"), `${location.origin}/api/custom_template_jobs/`);
