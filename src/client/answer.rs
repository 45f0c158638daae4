//! What an answer means to the caller: the job that was asked for, or an error that says what to do.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::api::{Endpoint, JobFacts};
use crate::error::{ApiKind, Error, Reason, digits, join};
use crate::host::{Body, Reply};
use crate::retry;
use crate::value::{Kind, Value};

/// What a call comes to.
pub type Outcome<V> = Result<V, Failure<V>>;

/// What went wrong, with the values of the host that belong to it.
pub struct Failure<V>(Box<FailureInner<V>>);

struct FailureInner<V> {
    error: Error,
    job: Option<V>,
    body: Option<V>,
    text: Option<String>,
    cause: Option<V>,
}

impl<V> From<Error> for Failure<V> {
    fn from(error: Error) -> Self {
        Self(Box::new(FailureInner { error, job: None, body: None, text: None, cause: None }))
    }
}

impl<V> fmt::Debug for Failure<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.error, formatter)
    }
}

impl<V: Clone> Clone for Failure<V> {
    fn clone(&self) -> Self {
        let FailureInner { error, job, body, text, cause } = &*self.0;
        let (job, body, cause) = (job.clone(), body.clone(), cause.clone());
        Self(Box::new(FailureInner { error: error.clone(), job, body, text: text.clone(), cause }))
    }
}

impl<V> Failure<V> {
    /// The error itself.
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// The job as last seen, where there is one.
    pub fn job(&self) -> Option<&V> {
        self.0.job.as_ref()
    }

    /// The JSON that the API answered.
    pub fn body(&self) -> Option<&V> {
        self.0.body.as_ref()
    }

    /// The beginning of what was answered instead of JSON.
    pub fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// What the runtime or the caller's own function threw.
    pub fn cause(&self) -> Option<&V> {
        self.0.cause.as_ref()
    }

    pub(super) fn caused_by(mut self, cause: Option<V>) -> Self {
        self.0.cause = cause;
        self
    }

    pub(super) fn instead(mut self, error: Error) -> Self {
        self.0.error = error;
        self
    }

    pub(super) fn with_job(mut self, job: Option<V>) -> Self {
        self.0.job = job;
        self
    }

    pub(super) fn with_body(mut self, body: Body<V>) -> Self {
        match body {
            Body::Json(value) => self.0.body = Some(value),
            // Enough to recognise a proxy's page by.
            Body::Text(text) | Body::Broken(text) => self.0.text = Some(beginning(&text).into()),
        }
        self
    }

    /// A look before a charge failed: nothing that charges was sent.
    pub(super) fn unsent(mut self) -> Self {
        if let Reason::Connection { .. } = self.0.error.reason() {
            let message = join(&[self.0.error.message(), " This call charged nothing."]);
            self.0.error = Error::new(Reason::Connection { sent: false }, &[&message]);
        }
        self
    }

    pub(super) fn about(mut self, operation: Option<&str>, job: Option<&str>) -> Self {
        if let Some(operation) = operation {
            self.0.error = self.0.error.with_operation(operation);
        }
        if let Some(job) = job {
            self.0.error = self.0.error.with_job(job);
        }
        self
    }
}

/// The answer to a read, if it is what was asked for; else why not, whether another try may help, and what the server
/// asked for.
pub(super) fn judged<V: Value>(endpoint: Endpoint, id: &str, reply: Reply<V>) -> Result<V, (Failure<V>, bool, Option<f64>)> {
    let (again, asked) = match &reply {
        Reply::Answered { status: 200..=299, .. } => (true, None),
        Reply::Answered { status, retry_after, .. } => (retry::is_transient(*status), *retry_after),
        Reply::Unusable { .. } => (false, None),
        _ => (true, None),
    };
    let failure = match reply {
        Reply::Answered { status: 200..=299, body: Body::Json(value), .. } => match checked_read(endpoint, id, value) {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        },
        other => told(other),
    };
    Err((failure.about(None, (endpoint == Endpoint::Get).then_some(id)), again, asked))
}

/// Whether a value is the job of that id.
pub(super) fn is_job<V: Value>(value: &V, id: &str) -> bool {
    JobFacts::id_of(value).is_some_and(|found| found.eq_ignore_ascii_case(id))
}

/// The first 500 characters.
fn beginning(text: &str) -> &str {
    let mut count = 0;
    let end = text.bytes().position(|byte| {
        count += usize::from(byte & 0xc0 != 0x80);
        count > 500
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The credits in an answer of [`Client::balance`](super::Client::balance).
pub fn credits_of<V: Value>(answer: V) -> Result<f64, Failure<V>> {
    answer
        .number("remaining_credits")
        .ok_or_else(|| unexpected(200, Body::Json(answer), "The answer has no remaining_credits."))
}

/// A whole JSON answer to a read, if it is what was asked for.
fn checked_read<V: Value>(endpoint: Endpoint, id: &str, value: V) -> Outcome<V> {
    let what = match endpoint {
        Endpoint::Get => {
            if is_job(&value, id) {
                return Ok(value);
            }
            "The answer is not the job that was asked for."
        }
        Endpoint::Templates => {
            // Documented as a plain list; some clients of this API saw it wrapped as a page.
            let list = if value.kind() == Kind::List { Some(value.clone()) } else { value.get("results") };
            if let Some(list) = list.filter(|list| list.kind() == Kind::List) {
                return Ok(list);
            }
            "The answer is no list of templates."
        }
        _ => return Ok(value),
    };
    Err(unexpected(200, Body::Json(value), what))
}

/// What a reply says that brought not what was asked for.
pub(super) fn told<V: Value>(reply: Reply<V>) -> Failure<V> {
    match reply {
        Reply::Answered { status, retry_after, body } => answered(status, retry_after, body),
        Reply::Lost { cause, .. } => connection_lost(cause),
        Reply::TimedOut => timed_out(),
        Reply::Unusable { field, message, cause } => Failure::from(Error::invalid(field, &[message])).caused_by(cause),
    }
}

fn unexpected<V: Value>(status: u16, body: Body<V>, what: &str) -> Failure<V> {
    let error = Error::new(
        Reason::Api { status, kind: ApiKind::Unexpected, retry_after_ms: None },
        &[&digits(status.into()), " ", what, " Check baseUrl, and what stands between you and the API."],
    );
    Failure::from(error).with_body(body)
}

/// An answer that is not what was asked for, as an error.
fn answered<V: Value>(status: u16, retry_after: Option<f64>, body: Body<V>) -> Failure<V> {
    let said = match &body {
        Body::Json(value) => said(value),
        _ => None,
    };
    let of_credits = said.as_ref().is_some_and(|said| contains(said, "credit"));
    let (kind, advice) = match status {
        402 => (ApiKind::InsufficientCredits, "Buy credits or use fewer."),
        400 | 403 if of_credits => (ApiKind::InsufficientCredits, "Buy credits or use fewer."),
        401 | 403 => (ApiKind::Authentication, "Check the API id and key, or the login of your relay."),
        404 => (ApiKind::NotFound, "Check the id, and that it belongs to this account."),
        429 => (ApiKind::RateLimited, "Wait before the next call."),
        413 => (ApiKind::Invalid, "The request is too large: pass files by URL."),
        400..=499 => (ApiKind::Invalid, "Correct the request."),
        500.. => (ApiKind::Server, "The server failed; try again later."),
        200..=299 => {
            let what = match &body {
                Body::Json(_) => "The answer is JSON, but not a job.",
                Body::Text(_) => "The answer is not JSON.",
                Body::Broken(_) => "The answer broke off.",
            };
            return unexpected(status, body, what);
        }
        _ => return unexpected(status, body, "The answer is a redirect, which is never followed with a key."),
    };
    let said = said.unwrap_or_else(|| match &body {
        Body::Text(text) if text.trim_ascii_start().starts_with('<') => "The server answered an HTML page.".into(),
        Body::Broken(_) => "The answer broke off.".into(),
        _ => "The server gave no reason.".into(),
    });
    let stop = if matches!(said.bytes().last(), Some(b'.' | b'!' | b'?')) { " " } else { ". " };
    let retry_after_ms = retry_after.map(retry::clamp_retry_after);
    let error =
        Error::new(Reason::Api { status, kind, retry_after_ms }, &[&digits(status.into()), " ", &said, stop, advice]);
    Failure::from(error).with_body(body)
}

/// The first thing that an error body says, in the shapes that Django REST Framework has: `detail`, a
/// list of texts, or a list of texts for each field.
fn said<V: Value>(body: &V) -> Option<String> {
    match body.kind() {
        Kind::Text => body.as_text(),
        Kind::List => said(&body.get("0")?),
        Kind::Object => {
            let detail = body.text("detail");
            if detail.is_some() {
                return detail;
            }
            for key in &body.keys() {
                if let Some(text) = body.get(key).and_then(|field| said(&field)) {
                    return Some(join(&[key, ": ", &text]));
                }
            }
            None
        }
        _ => None,
    }
}

fn connection_lost<V>(cause: Option<V>) -> Failure<V> {
    let message = "No answer came: the connection failed, or the browser blocked it (CORS). Check baseUrl and the network.";
    Failure::from(Error::new(Reason::Connection { sent: true }, &[message])).caused_by(cause)
}

pub(super) fn timed_out<V>() -> Failure<V> {
    Error::new(Reason::Connection { sent: true }, &["No answer came in time. Raise timeout, or try again later."]).into()
}

pub(super) fn charge_unknown() -> Error {
    Error::new(
        Reason::ChargeUnknown,
        &[
            "The request was sent and its outcome is not known, so it may have been charged. It is not sent again: ",
            "call settle(operation) or look at your account before you start a new one.",
        ],
    )
}

/// What the journal answers, or that nothing was sent because it cannot be used.
pub(super) struct Journaled<W>(pub W);

impl<V, W: Future<Output = Result<V, V>> + Unpin> Future for Journaled<W> {
    type Output = Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<V>> {
        Pin::new(&mut self.0).poll(context).map_err(|thrown| {
            let message = "The journal cannot be used, so nothing was sent. Free some storage, or pass journal: \"memory\".";
            Failure::from(Error::new(Reason::Journal, &[message])).caused_by(Some(thrown))
        })
    }
}

pub(super) fn list_failed<V>(thrown: V) -> Failure<V> {
    Failure::from(Error::invalid("listJobs", &["failed; the operation is still unknown"])).caused_by(Some(thrown))
}

/// `str::contains` for a text brings 5 KB of search machinery.
pub(super) fn contains(text: &str, part: &str) -> bool {
    text.len() >= part.len()
        && text.as_bytes().windows(part.len().max(1)).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}
