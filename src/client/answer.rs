//! What an answer means to the caller: the value that was asked for, or an error that says what to do.

use crate::api::Endpoint;
use crate::error::{Failure, say};
use crate::retry;
use crate::value::{Kind, Value};

/// What a call comes to.
pub type Outcome<V> = Result<V, Failure<V>>;

/// The HTTP status of a reply; 0 without an answer, and for a redirect that a browser hides.
pub(super) fn status_of<V: Value>(reply: V) -> u16 {
    reply.number_of("status") as u16
}

/// The answer to a read, if it is what was asked for; else why not, and whether another try may help.
pub(super) fn judged<V: Value>(endpoint: Endpoint, id: V, reply: V) -> Result<V, (Failure<V>, bool)> {
    let status = status_of(reply);
    let body = reply.get("body");
    // A function for headers that gave no answer would give none again.
    let refused = reply.get("field").is_there() || reply.get("late").is_there() && is_unsent(reply);
    let mut again = retry::is_transient(status) || !reply.get("status").is_there() && !refused;
    let mut failure = if (200..300).contains(&status) {
        again = true;
        let found = match endpoint {
            Endpoint::Get if is_job(body, id) => body,
            Endpoint::Get => V::nothing(),
            // Documented as a plain list; some clients of this API saw it wrapped as a page.
            Endpoint::Templates => {
                let list = if body.kind() == Kind::List { body } else { body.get("results") };
                if list.kind() == Kind::List { list } else { V::nothing() }
            }
            _ => {
                let credits = body.number_of("remaining_credits");
                if credits.is_finite() { V::number(credits) } else { V::nothing() }
            }
        };
        if found.is_there() {
            return Ok(found);
        }
        told(
            reply,
            match endpoint {
                Endpoint::Get => "The answer is not the job that was asked for.",
                Endpoint::Templates => "The answer is no list of templates.",
                _ => "The answer has no remaining_credits.",
            },
        )
    } else {
        told(reply, "")
    };
    if endpoint == Endpoint::Get {
        failure = failure.with("jobId", id);
    }
    Err((failure, again))
}

/// Whether a request was given up before it was sent.
fn is_unsent<V: Value>(reply: V) -> bool {
    reply.get("code").one_of("NotSent") == 0
}

/// Whether a value is the job of that id.
pub(super) fn is_job<V: Value>(value: V, id: V) -> bool {
    value.get("id").is_like(id)
}

/// What a reply says that brought not what was asked for. `expected` tells what a good answer lacks.
pub(super) fn told<V: Value>(reply: V, expected: &'static str) -> Failure<V> {
    let (body, text, status) = (reply.get("body"), reply.get("text"), status_of(reply));
    let field = reply.get("field");
    let failure = if field.is_there() {
        crate::error::invalid(field, reply.get("message"))
    } else if reply.get("late").is_there() {
        if is_unsent(reply) {
            unsent("The functions for headers and apiKey gave no answer in time; nothing was sent.")
        } else {
            no_answer()
        }
    } else if !reply.get("status").is_there() {
        connection(
            true,
            "No answer came: the connection failed, or the browser blocked it (CORS). Check baseUrl and the network.",
        )
    } else {
        api(status, reply, expected)
    };
    failure.with("body", body).with("text", text).with("cause", reply.get("cause"))
}

/// What a status means: its kind, and the message, in which `%1` is the status and `%0` what the server said.
// Kept as data: a table that code builds weighs three times as much.
static MEANINGS: [[&str; 2]; 8] = [
    ["insufficient_credits", "%1 %0 Buy credits or use fewer."],
    ["authentication", "%1 %0 Check the API id and key, or the login of your relay."],
    ["not_found", "%1 %0 Check the id, and that it belongs to this account."],
    ["rate_limited", "%1 %0 Wait before the next call."],
    ["invalid", "%1 %0 The request is too large: pass files by URL."],
    ["invalid", "%1 %0 Correct the request."],
    ["server", "%1 %0 The server failed; try again later."],
    ["unexpected", "%1 %0 Check baseUrl, and what stands between you and the API."],
];

fn api<V: Value>(status: u16, reply: V, expected: &'static str) -> Failure<V> {
    let text = reply.get("text");
    let mut said = if status < 400 { V::nothing() } else { said(reply.get("body"), DEPTH) };
    let meaning = match status {
        402 => 0,
        400 | 403 if said.matches("credit") => 0,
        401 | 403 => 1,
        404 => 2,
        429 => 3,
        413 => 4,
        400..=499 => 5,
        500.. => 6,
        _ => 7,
    };
    if !said.is_there() {
        said = V::text(if !(200..300).contains(&status) && status < 400 {
            "The answer is a redirect, which is never followed with a key."
        } else if reply.get("broken").is_there() {
            "The answer broke off."
        } else if status < 400 {
            if text.is_there() { "The answer is not JSON." } else { expected }
        } else if text.matches(r"^\s*<") {
            "The server answered an HTML page."
        } else {
            "The server gave no reason."
        });
    }
    if !said.matches("[.!?]$") {
        said = say("%0.", said, said);
    }
    let [kind, template] = MEANINGS.get(meaning).copied().unwrap_or_default();
    let failure = Failure::new("ApiError", say(template, said, V::number(status.into())));
    let failure = failure.with("status", V::number(status.into())).with("kind", V::text(kind));
    let asked = reply.number_of("retryAfter");
    if asked.is_nan() { failure } else { failure.with("retryAfterMs", V::number(retry::clamp_retry_after(asked))) }
}

/// How deep a reason may lie: whatever nests deeper would overflow the stack.
const DEPTH: u32 = 8;

/// The first thing that an error body says, in the shapes that Django REST Framework has: `detail`, a
/// list of texts, or a list of texts for each field.
fn said<V: Value>(body: V, depth: u32) -> V {
    match body.kind() {
        Kind::Text => return body,
        _ if depth == 0 => return V::nothing(),
        Kind::List => return said(body.nth(0), depth - 1),
        Kind::Object => {}
        _ => return V::nothing(),
    }
    let detail = body.get("detail");
    if detail.kind() == Kind::Text {
        return detail;
    }
    let keys = body.keys();
    for index in 0.. {
        let key = keys.nth(index);
        if !key.is_there() {
            break;
        }
        let text = said(body.at(key), depth - 1);
        if text.is_there() {
            return say("%1: %0", text, key);
        }
    }
    V::nothing()
}

fn connection<V: Value>(sent: bool, message: &'static str) -> Failure<V> {
    Failure::told("ConnectionError", message).with("sent", V::truth(sent))
}

pub(super) fn no_answer<V: Value>() -> Failure<V> {
    connection(true, "No answer came in time. Raise timeout, or try again later.")
}

/// Nothing was sent.
pub(super) fn unsent<V: Value>(message: &'static str) -> Failure<V> {
    connection(false, message)
}

/// A look before a charge failed: nothing that charges was sent.
pub(super) fn before_a_charge<V: Value>(failure: Failure<V>) -> Failure<V> {
    if !failure.is("ConnectionError") {
        return failure;
    }
    let message = say("%0 This call charged nothing.", failure.get("message"), V::nothing());
    failure.with("message", message).with("sent", V::truth(false))
}

/// The journal cannot be used.
pub(super) fn journal_failed<V: Value>(thrown: V) -> Failure<V> {
    let message = "The journal cannot be used, so nothing was sent. Free some storage, or pass journal: \"memory\".";
    Failure::told("JournalError", message).with("cause", thrown)
}
