// The page's words for statuses, times, credits and errors.

const STATUS = { pending: "Pending", in_queue: "In queue", running: "Running", done: "Done", failed: "Failed", rejected: "Rejected" };

/** A status in words. An unknown status is shown as it is. */
export function statusWord(status) {
  return STATUS[status] ?? String(status ?? "Unknown");
}

/** "1 credit", "4 credits", "5.5 credits". */
export function credits(count) {
  const text = new Intl.NumberFormat("en", { maximumFractionDigits: 2 }).format(count);
  return `${text} ${count === 1 ? "credit" : "credits"}`;
}

/** Elapsed time as "0:42", "12:05" or "1:02:05". */
export function elapsed(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}

/** A video's length: "15 s", "1 min 30 s". */
export function length(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} s`;
  return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
}

/** An error in words: what happened, the message of the server or the library, and what to do next. */
export function explain(error) {
  const said = serverWords(error?.body) ?? error?.message ?? String(error);
  const words = (error?.name === "ApiError" ? API[error.kind] : ERRORS[error?.name]) ?? ERRORS.other;
  const { title, detail = said, next } = typeof words === "function" ? words(error, said) : words;
  return { title, detail, next, code: code(error) };
}

/** The server's own message: one sentence, a list of sentences, or lists by field. */
function serverWords(body) {
  if (body === null || typeof body !== "object") return null;
  if (typeof body.detail === "string") return body.detail;
  const lines = Array.isArray(body) ? body : Object.entries(body).map(([field, problems]) => `${field}: ${[problems].flat().join(" ")}`);
  return lines.length > 0 ? lines.join("\n") : null;
}

function code(error) {
  const name = error?.name ?? "Error";
  return name === "ApiError" && error.status ? `${name} ${error.status}` : name;
}

const API = {
  authentication: { title: "The server did not accept the keys", next: "This page holds none: the relay adds them. Check them there, then try again." },
  insufficient_credits: { title: "Not enough credits", next: "Nothing was charged. Choose a shorter template or a cheaper model, or add credits." },
  not_found: { title: "The server does not know this", next: "It may have been removed or belong to another account. Choose another template or start again." },
  rate_limited: (error) => ({
    title: "Too many requests",
    next: error.retryAfterMs ? `Wait ${Math.ceil(error.retryAfterMs / 1000)} s, then press the button again.` : "Wait a little, then press the button again.",
  }),
  invalid: { title: "The server refused the request", next: "Nothing was charged. Correct what it names and press the button again." },
  server: { title: "The server has a problem", next: "Try again in a moment." },
  unexpected: { title: "The server's answer makes no sense", next: "Something between here and the server may have answered in its place. Try again in a moment." },
};

const ERRORS = {
  InvalidRequestError: { title: "Something in the form is not right", next: "Nothing was sent. Correct it and press the button again." },
  ConnectionError: (error) => ({
    title: "The server cannot be reached",
    next: error.sent === false ? "Nothing was sent. Check the connection, then try again." : "Check the connection, then try again.",
  }),
  ChargeUnknownError: {
    title: "It is not known whether this was charged",
    detail: "The request left, but no clear answer came back. It is not sent a second time, because that could be a second charge.",
    next: "Look again asks the server what became of it. Before you start a new one, check the credits that are left.",
  },
  JobFailedError: (error) => (error.job?.status === "rejected"
    ? { title: "The job was rejected", detail: error.reason || "The server gave no reason.", next: "Change the content it objects to, then start a new job." }
    : { title: "The job failed", detail: error.reason || "The server gave no reason.", next: "Check the variables, then start a new job." }),
  PollTimeoutError: { title: "Not finished yet", next: "The job goes on at the server. Keep watching to see it end." },
  IncompleteResultError: { title: "Done, but without a result", next: "Keep watching: the file may come a little later." },
  BudgetExceededError: { title: "Over the budget of this page", next: "Nothing was charged." },
  OperationConflictError: { title: "This was already sent with other content", next: "Press the button again to start a new job." },
  JournalError: { title: "The browser's storage refused a note", next: "Nothing was sent. Free some space or leave private browsing, then try again." },
  LoadError: { title: "The library could not be loaded", next: "Check the connection, then try again." },
  UnsafeUrl: { title: "An address was refused", next: "Only https: addresses and this page's own are opened here." },
  other: { title: "Something went wrong", next: "Try again. If it stays, reload the page." },
};
