// One video from a form: preview, look, render, watch. The page holds no key: the relay adds it.

import { TemplateJobs, image, text } from "custom-template-jobs";

/** Yours; its variables are what `requested` fills in. This is one of the sandbox's. */
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

/** Watches a job to its preview or its video. Its id stands in the address, so that a reload finds it. */
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

/** After a reload: goes on with the newest charge that the journal has not seen end, else with the job of the address. */
async function resume() {
  const yesterday = Date.now() - 24 * 60 * 60 * 1000;
  let [open] = (await jobs.pending()).filter(({ createdAt }) => createdAt > yesterday).sort((a, b) => b.createdAt - a.createdAt);
  if (open && !open.jobId) open = await jobs.settle(open.operation);
  if (open?.jobId) return follow(open.jobId, open.step === "preview" ? "preview" : "video");
  if (address()) await follow(address());
  if (open) throw Object.assign(new Error(), { name: "ChargeUnknownError" });
}

/** Does one thing at a time, and tells what went wrong with it. */
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

/** What is going on, how far it is, and how long it will take, where that is known. */
function say(words, { progress = null, remainingMs } = {}) {
  const end = remainingMs === undefined ? undefined : Date.now() + remainingMs;
  const count = () => {
    const left = end === undefined ? "" : leftIn(end - Date.now());
    if ($("#left").textContent !== left) $("#left").textContent = left;
  };
  clearInterval(clock);
  clock = setInterval(count, 1000);
  count();
  // Said again it would be read out again.
  if ($("#status").textContent !== words) $("#status").textContent = words;
  // Without a value, the bar shows that something is going on.
  if (progress === null) $("progress").removeAttribute("value");
  else $("progress").value = progress;
  $("progress").hidden = false;
}

/** An estimate is no promise: words hold where seconds would jump. */
function leftIn(ms) {
  if (ms > 60_000) return `about ${Math.ceil(ms / 60_000)} minutes left`;
  return ms > 10_000 ? "less than a minute left" : "any moment now";
}

/** A job whose preview or video is there. */
function show({ preview, video_output: film }) {
  const [url, element] = film ? [film, $("video")] : [preview, $("iframe")];
  // What comes from outside must not be an address that runs a script.
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

/** What a person needs by the error's name: what happened, what to do, and what "Look again" does where it helps. */
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
