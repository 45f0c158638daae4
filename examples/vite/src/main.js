// A video from a form: preview, approve, render, wait. The page has no key; the relay adds it.

import { TemplateJobs, image, text } from "custom-template-jobs";

/** Your template; `requested` fills in its variables. This one is the sandbox's. */
const TEMPLATE = "7e3a1c52-0b6d-4f0e-9a41-5d2c8b7f0001";

const jobs = new TemplateJobs({ relay: "/relay" });
const $ = (selector) => document.querySelector(selector);

const requested = (form) => ({
  template_id: TEMPLATE,
  variables: { headline: text(form.headline.value), offer: text(form.offer.value), product_image: image(form.picture.value) },
});

/* ---- what is done ------------------------------------------------------------------------------ */

$("#form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    hideResult();
    say("Sending …");
    await follow(await jobs.previewAsync(requested(event.target)), "preview");
  });
});

$("#render").addEventListener("click", () =>
  attempt(async () => {
    say("Sending …");
    await follow(await jobs.render(address()), "video");
  }));

$("#again").addEventListener("click", () => {
  hideResult();
  $("#status").textContent = "";
  history.replaceState(null, "", location.pathname);
  $("#headline").focus();
});

/** Waits for a job's preview or video. The page's URL has its id, so that a reload finds it. */
async function follow(job, until) {
  history.replaceState(null, "", `#${job.id ?? job}`);
  const words = until === "preview" ? "Making the preview …" : "Making the video …";
  say(words);
  $("#stage").scrollIntoView({ block: "nearest" });
  for await (const update of jobs.watch(job, { until })) {
    say(words, update);
    job = update.job;
  }
  show(job);
}

/** After a reload: resumes the newest open charge of the journal, otherwise the job in the page's URL. */
async function resume() {
  const yesterday = Date.now() - 24 * 60 * 60 * 1000;
  let [open] = (await jobs.pending()).filter(({ createdAt }) => createdAt > yesterday).sort((a, b) => b.createdAt - a.createdAt);
  if (open && !open.jobId) open = await jobs.settle(open.operation);
  if (open?.jobId) return follow(open.jobId, open.step === "preview" ? "preview" : "video");
  if (address()) await follow(address());
  if (open) throw Object.assign(new Error(), { name: "ChargeUnknownError" });
}

/** Runs one action at a time, and shows its error. */
async function attempt(work) {
  const buttons = document.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  $("#problem").hidden = true;
  try {
    await work();
  } catch (error) {
    explain(error);
  } finally {
    for (const button of buttons) button.disabled = false;
    $("progress").hidden = true;
    $("#left").textContent = "";
    clearInterval(clock);
  }
}

const address = () => location.hash.slice(1);

/* ---- what is shown ----------------------------------------------------------------------------- */

let clock;

/** Shows the status, the progress and the remaining time. */
function say(words, { progress = null, remainingMs } = {}) {
  const end = remainingMs === undefined ? undefined : Date.now() + remainingMs;
  const count = () => {
    const left = end === undefined ? "" : leftIn(end - Date.now());
    if ($("#left").textContent !== left) $("#left").textContent = left;
  };
  clearInterval(clock);
  clock = setInterval(count, 1000);
  count();
  // Setting the same text again would make screen readers repeat it.
  if ($("#status").textContent !== words) $("#status").textContent = words;
  // Without a value the bar is indeterminate.
  if (progress === null) $("progress").removeAttribute("value");
  else $("progress").value = progress;
  $("progress").hidden = false;
}

/** The remaining time in words, since seconds would jump. */
function leftIn(ms) {
  if (ms > 60_000) return `about ${Math.ceil(ms / 60_000)} minutes left`;
  return ms > 10_000 ? "less than a minute left" : "any moment now";
}

/** Shows the preview or the video of a job. */
function show({ preview, video_output: film }) {
  const [url, element] = film ? [film, $("video")] : [preview, $("iframe")];
  // A URL from outside must not run a script.
  if (!/^https?:/.test(url ?? "")) throw new Error("This job has nothing to show. Start over.");
  hideResult();
  element.src = $("#download").href = url;
  element.hidden = false;
  $("#stage p").hidden = true;
  $("#render").hidden = !!film;
  $("#download").hidden = !film;
  $("#next").hidden = false;
  $("#status").textContent = film ? "Your video is ready." : "Your preview is ready.";
}

function hideResult() {
  for (const element of [$("iframe"), $("video")]) {
    element.removeAttribute("src");
    element.hidden = true;
  }
  $("#stage p").hidden = false;
  $("#next").hidden = true;
}

/** By the error's name: what happened, what to do, and the action of the button "Look again", if it helps. */
const ADVICE = {
  ChargeUnknownError: () => [
    "Nobody knows whether this was paid for",
    "The connection was lost before the answer came, so it is not sent again by itself. Look at your account before you start over.",
    resume,
  ],
  ConnectionError: ({ sent }) =>
    sent
      ? ["The connection was lost", "Your video goes on without this page. Check your network, then look again.", resume]
      : ["There is no connection", "Nothing was sent and nothing was paid for. Check your network and try again."],
  PollTimeoutError: () => ["This takes longer than usual", "Your video is still being worked on.", resume],
  JobFailedError: ({ reason }) => ["This could not be made", `Change the form and preview it again. The provider says: ${reason}`],
  ApiError: ({ kind, message }) => [kind === "insufficient_credits" ? "There are not enough credits" : "The server refused this", message],
};

function explain(error) {
  console.warn(error);
  const [title, advice, goOn] = ADVICE[error.name]?.(error) ?? ["This did not work", error.message];
  const [heading, words, button] = $("#problem").children;
  $("#status").textContent = "";
  heading.textContent = title;
  words.textContent = advice;
  button.hidden = !goOn;
  button.onclick = () => attempt(goOn);
  $("#problem").hidden = false;
}

attempt(resume);
