//! The error of a call.

use std::fmt;

/// The error of a call: its kind, a message that says what to do, and its details.
///
/// `V` is a value of the host: the job, the response body, or the exception of the environment.
#[derive(Clone, PartialEq)]
pub struct Error<V>(Box<Parts<V>>);

#[derive(Clone, PartialEq)]
struct Parts<V> {
    kind: ErrorKind,
    message: String,
    operation: Option<String>,
    job_id: Option<String>,
    job: Option<V>,
    body: Option<V>,
    text: Option<String>,
    cause: Option<V>,
    charged: Charged,
}

/// Whether the provider accepted the operation of an error. A refund does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charged {
    /// It was not charged, or the error is about no operation.
    No,
    /// It may have been sent and its outcome is unknown; or its job shows a render, but not whose; or the journal cannot be
    /// read.
    Maybe,
    /// It was accepted.
    Yes,
}

impl Charged {
    /// The name that JavaScript sees.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Correct the request, the options or the account's keys. The same call would fail again.
    FixRequest,
    /// Make the same call again, a charge with the same operation.
    Retry,
    /// Wait, then call again.
    Wait,
    /// The operation was accepted: resume it to get its job.
    Resume,
    /// The outcome is unknown: settle the operation, or discard it if the account shows no such job.
    SettleOrDiscard,
    /// To charge, use a new operation.
    NewOperation,
    /// Add credits to the account or to the budget.
    AddCredits,
    /// No call helps.
    None,
}

impl Remedy {
    /// The name that JavaScript sees.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FixRequest => "fix_request",
            Self::Retry => "retry",
            Self::Wait => "wait",
            Self::Resume => "resume",
            Self::SettleOrDiscard => "settle_or_discard",
            Self::NewOperation => "new_operation",
            Self::AddCredits => "add_credits",
            Self::None => "none",
        }
    }
}

/// The kinds of errors, with the details of each.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is invalid. Nothing was sent.
    InvalidRequest {
        /// The path of the argument, such as `variables.title.properties`.
        field: String,
    },
    /// The server responded with an error, or with something unexpected.
    Api {
        /// The HTTP status; 0 for a redirect that a browser hides.
        status: u16,
        /// What the status means.
        kind: ApiKind,
        /// The `Retry-After` of the response, in milliseconds.
        retry_after_ms: Option<f64>,
    },
    /// No response arrived.
    Connection {
        /// Whether the request may have reached the server.
        sent: bool,
    },
    /// A charging request was sent, and its outcome is unknown.
    ChargeUnknown,
    /// The job ended as `failed` or `rejected`.
    JobFailed {
        /// The provider's reason, or a note that it gave none.
        reason: String,
    },
    /// The job was still running at the end of the timeout.
    PollTimeout,
    /// The job is `done` without the expected URL.
    IncompleteResult {
        /// Whether the URL is a video's and no charge for it is known: then render the job first.
        uncharged: bool,
    },
    /// The charge would exceed `maxCredits`.
    BudgetExceeded {
        /// The estimated cost of the call, in credits.
        estimate: f64,
        /// The rest of the budget, in credits.
        remaining: f64,
    },
    /// The operation id was used before, for another request.
    OperationConflict,
    /// The journal cannot be used, so nothing was sent.
    Journal,
}

/// The meaning of a response that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiKind {
    /// The keys are missing or wrong (401, 403).
    Authentication,
    /// The account has too few credits (402, or a refusal that mentions credits).
    InsufficientCredits,
    /// The job or template does not exist (404).
    NotFound,
    /// Too many requests (429).
    RateLimited,
    /// The request was refused as it stands (any other 4xx).
    Invalid,
    /// The server failed (5xx).
    Server,
    /// Not a response of this API: HTML, a redirect, cut off, or about another job.
    Unexpected,
}

impl ApiKind {
    /// The name that JavaScript sees.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::InsufficientCredits => "insufficient_credits",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Invalid => "invalid",
            Self::Server => "server",
            Self::Unexpected => "unexpected",
        }
    }
}

/// An invalid argument: its path, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The path of the argument.
    pub field: String,
    /// What it must be; the message is the field, a space and this.
    pub advice: String,
}

impl Refusal {
    /// A refusal of `field`.
    pub fn new(field: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { field: field.into(), advice: advice.into() }
    }
}

impl<V> From<Refusal> for Error<V> {
    fn from(refusal: Refusal) -> Self {
        let message = format!("{} {}", refusal.field, refusal.advice);
        Self::new(ErrorKind::InvalidRequest { field: refusal.field }, message)
    }
}

impl<V> Error<V> {
    /// An error of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            operation: None,
            job_id: None,
            job: None,
            body: None,
            text: None,
            cause: None,
            charged: Charged::No,
        }))
    }

    /// The outcome of a charging request is unknown.
    pub(crate) fn charge_unknown() -> Self {
        Self::new(ErrorKind::ChargeUnknown, "The request was sent and its outcome is unknown, so it may have been charged.")
    }

    /// Nothing was sent, for the reason in `message`.
    pub(crate) fn not_sent(message: &str) -> Self {
        Self::new(ErrorKind::Connection { sent: false }, message)
    }

    /// The request was sent, and no response arrived in time.
    pub(crate) fn no_answer() -> Self {
        let message = "No response arrived in time; a longer timeout may help.";
        Self::new(ErrorKind::Connection { sent: true }, message)
    }

    /// The journal cannot be used.
    pub(crate) fn journal(cause: Option<V>) -> Self {
        let mut error = Self::new(ErrorKind::Journal, "The journal cannot be used, so nothing was sent.");
        error.0.cause = cause;
        error
    }

    /// The kind.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The message, with the remedy as its last sentence.
    pub fn message(&self) -> String {
        let mut message = self.0.message.clone();
        let advice = self.advice();
        if !advice.is_empty() {
            message.push_str(if message.ends_with(['.', '!', '?']) { " " } else { ". " });
            message.push_str(advice);
        }
        message
    }

    /// Whether the provider accepted the operation of this error.
    pub fn charged(&self) -> Charged {
        match self.0.kind {
            ErrorKind::ChargeUnknown => Charged::Maybe,
            _ => self.0.charged,
        }
    }

    /// The remedy.
    pub fn remedy(&self) -> Remedy {
        match self.0.kind {
            ErrorKind::InvalidRequest { .. } | ErrorKind::IncompleteResult { uncharged: true } => Remedy::FixRequest,
            ErrorKind::ChargeUnknown => Remedy::SettleOrDiscard,
            ErrorKind::JobFailed { .. } | ErrorKind::OperationConflict => Remedy::NewOperation,
            ErrorKind::PollTimeout | ErrorKind::IncompleteResult { .. } => Remedy::Wait,
            ErrorKind::BudgetExceeded { .. } | ErrorKind::Api { kind: ApiKind::InsufficientCredits, .. } => {
                Remedy::AddCredits
            }
            // Statuses that reads retry are worth another call.
            ErrorKind::Api { status, .. } if !matches!(status, 200..=299 | 408 | 425 | 429 | 500..) => Remedy::FixRequest,
            _ if self.0.charged == Charged::Yes => Remedy::Resume,
            ErrorKind::Api { kind: ApiKind::RateLimited, .. } => Remedy::Wait,
            ErrorKind::Api { .. } | ErrorKind::Connection { .. } | ErrorKind::Journal => Remedy::Retry,
        }
    }

    /// The remedy as a sentence; empty if the message itself says what to correct.
    fn advice(&self) -> &'static str {
        match (self.remedy(), &self.0.kind) {
            (Remedy::FixRequest, ErrorKind::Api { status, kind, .. }) => match kind {
                ApiKind::Authentication => "Check the API id and key, or the login of your relay.",
                ApiKind::NotFound => "Check the id, and that it belongs to this account.",
                ApiKind::Unexpected => "Check baseUrl, and any proxy in between.",
                _ if *status == 413 => "The request is too large: pass files by URL.",
                _ => "Correct the request.",
            },
            (Remedy::FixRequest, ErrorKind::IncompleteResult { .. }) => "Call render() first.",
            (Remedy::FixRequest | Remedy::None, _) => "",
            (Remedy::Retry, ErrorKind::Journal) => "Free some storage and try again, or pass journal: \"memory\".",
            (Remedy::Retry, _) => "Try again later.",
            (Remedy::Wait, ErrorKind::PollTimeout) => "Call poll() again to go on waiting.",
            (Remedy::Wait, ErrorKind::IncompleteResult { .. }) => "Call get() again later.",
            (Remedy::Wait, _) => "Wait before the next call.",
            (Remedy::Resume, _) => "It was charged: resume(operation) returns its job.",
            (Remedy::SettleOrDiscard, _) => {
                "It is never sent again: call settle(operation), or discard(operation) if your account shows no such job."
            }
            (Remedy::NewOperation, _) => "To pay for another job, pass a new operation.",
            (Remedy::AddCredits, ErrorKind::BudgetExceeded { .. }) => "Raise maxCredits, or use another budgetKey.",
            (Remedy::AddCredits, _) => "Buy credits for your account.",
        }
    }

    /// The operation id of the charge.
    pub fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// The id of the job.
    pub fn job_id(&self) -> Option<&str> {
        self.0.job_id.as_deref()
    }

    /// The job as last polled.
    pub fn job(&self) -> Option<&V> {
        self.0.job.as_ref()
    }

    /// The response body, if it is JSON.
    pub fn body(&self) -> Option<&V> {
        self.0.body.as_ref()
    }

    /// The first 500 characters of a response that is not JSON.
    pub fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// The exception of the environment.
    pub fn cause(&self) -> Option<&V> {
        self.0.cause.as_ref()
    }

    /// The HTTP status of the response, if one arrived.
    pub fn status(&self) -> Option<u16> {
        match self.0.kind {
            ErrorKind::Api { status, .. } => Some(status),
            _ => None,
        }
    }

    /// The name that JavaScript sees.
    pub fn name(&self) -> &'static str {
        match self.0.kind {
            ErrorKind::InvalidRequest { .. } => "InvalidRequestError",
            ErrorKind::Api { .. } => "ApiError",
            ErrorKind::Connection { .. } => "ConnectionError",
            ErrorKind::ChargeUnknown => "ChargeUnknownError",
            ErrorKind::JobFailed { .. } => "JobFailedError",
            ErrorKind::PollTimeout => "PollTimeoutError",
            ErrorKind::IncompleteResult { .. } => "IncompleteResultError",
            ErrorKind::BudgetExceeded { .. } => "BudgetExceededError",
            ErrorKind::OperationConflict => "OperationConflictError",
            ErrorKind::Journal => "JournalError",
        }
    }

    /// The same error, with the operation of a charge and whether it was accepted.
    #[must_use]
    pub(crate) fn of_charge(mut self, operation: &str, charged: Charged) -> Self {
        self.0.operation = Some(operation.into());
        self.0.charged = charged;
        self
    }

    /// The same error, from the wait for the job of a charged operation.
    #[cfg(target_arch = "wasm32")]
    #[must_use]
    pub(crate) fn of_wait(self, operation: &str) -> Self {
        if self.operation() == Some(operation) { self } else { self.of_charge(operation, Charged::Yes) }
    }

    #[must_use]
    pub(crate) fn with_job_id(mut self, id: Option<&str>) -> Self {
        self.0.job_id = id.map(Into::into);
        self
    }

    #[must_use]
    pub(crate) fn with_job(mut self, job: Option<V>) -> Self {
        self.0.job = job;
        self
    }

    #[must_use]
    pub(crate) fn with_answer(mut self, body: Option<V>, text: Option<String>) -> Self {
        self.0.body = body;
        self.0.text = text;
        self
    }

    #[must_use]
    pub(crate) fn with_cause(mut self, cause: Option<V>) -> Self {
        self.0.cause = cause;
        self
    }

    /// The same error, with its texts, its JSON body and its cause mapped.
    #[cfg_attr(not(target_arch = "wasm32"), expect(dead_code, reason = "the web host removes secrets with it"))]
    #[must_use]
    pub(crate) fn map(
        mut self,
        text: impl Fn(&str) -> String,
        body: impl FnOnce(&V) -> V,
        cause: impl FnOnce(&V) -> V,
    ) -> Self {
        let parts = &mut *self.0;
        parts.message = text(&parts.message);
        if let ErrorKind::JobFailed { reason } = &mut parts.kind {
            *reason = text(reason);
        }
        parts.text = parts.text.as_deref().map(text);
        parts.body = parts.body.as_ref().map(body);
        parts.cause = parts.cause.as_ref().map(cause);
        self
    }

    /// The error of a read before a charge: the charge was not sent.
    #[must_use]
    pub(crate) fn before_a_charge(mut self) -> Self {
        if let ErrorKind::Connection { sent } = &mut self.0.kind {
            *sent = false;
            self.0.message.push_str(" This call charged nothing.");
        }
        self
    }

    /// The error of a read after a charge: the charge was sent.
    #[must_use]
    pub(crate) fn after_a_charge(mut self) -> Self {
        if let ErrorKind::Connection { sent } = &mut self.0.kind {
            *sent = true;
        }
        self
    }
}

impl<V> fmt::Debug for Error<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the values of the host: an exception may contain the request, and so the key.
        let Parts { kind, message, operation, job_id, charged, .. } = &*self.0;
        formatter
            .debug_struct("Error")
            .field("kind", kind)
            .field("message", message)
            .field("operation", operation)
            .field("job_id", job_id)
            .field("charged", charged)
            .finish_non_exhaustive()
    }
}

impl<V> fmt::Display for Error<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message())
    }
}

impl<V> std::error::Error for Error<V> {}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn api(status: u16, kind: ApiKind) -> ErrorKind {
        ErrorKind::Api { status, kind, retry_after_ms: None }
    }

    /// Of each kind one, the remedy where it was not charged, and where it was.
    fn kinds() -> Vec<(ErrorKind, Remedy, Remedy)> {
        use Remedy::{AddCredits, FixRequest, NewOperation, Resume, Retry, SettleOrDiscard, Wait};
        let failed = ErrorKind::JobFailed { reason: "no speaker".into() };
        vec![
            (ErrorKind::InvalidRequest { field: "name".into() }, FixRequest, FixRequest),
            (api(401, ApiKind::Authentication), FixRequest, FixRequest),
            (api(402, ApiKind::InsufficientCredits), AddCredits, AddCredits),
            (api(404, ApiKind::NotFound), FixRequest, FixRequest),
            (api(429, ApiKind::RateLimited), Wait, Resume),
            (api(400, ApiKind::Invalid), FixRequest, FixRequest),
            (api(413, ApiKind::Invalid), FixRequest, FixRequest),
            (api(408, ApiKind::Invalid), Retry, Resume),
            (api(502, ApiKind::Server), Retry, Resume),
            (api(200, ApiKind::Unexpected), Retry, Resume),
            (api(302, ApiKind::Unexpected), FixRequest, FixRequest),
            (api(0, ApiKind::Unexpected), FixRequest, FixRequest),
            (ErrorKind::Connection { sent: false }, Retry, Resume),
            (ErrorKind::ChargeUnknown, SettleOrDiscard, SettleOrDiscard),
            (failed, NewOperation, NewOperation),
            (ErrorKind::PollTimeout, Wait, Wait),
            (ErrorKind::IncompleteResult { uncharged: false }, Wait, Wait),
            (ErrorKind::IncompleteResult { uncharged: true }, FixRequest, FixRequest),
            (ErrorKind::BudgetExceeded { estimate: 5.0, remaining: 1.0 }, AddCredits, AddCredits),
            (ErrorKind::OperationConflict, NewOperation, NewOperation),
            (ErrorKind::Journal, Retry, Resume),
        ]
    }

    #[test]
    fn what_helps_follows_from_the_kind_and_from_whether_it_was_charged() {
        for (kind, free, charged) in kinds() {
            let error = Error::<()>::new(kind.clone(), "words");
            assert_eq!(error.remedy(), free, "{kind:?}");
            assert_eq!(error.clone().of_charge("op", Charged::Maybe).remedy(), free, "{kind:?}");
            assert_eq!(error.of_charge("op", Charged::Yes).remedy(), charged, "{kind:?}");
        }
    }

    #[test]
    fn an_unknown_charge_is_maybe_whatever_was_known_before() {
        for (kind, ..) in kinds() {
            for known in [Charged::No, Charged::Maybe, Charged::Yes] {
                let error = Error::<()>::new(kind.clone(), "words").of_charge("op", known);
                let expected = if kind == ErrorKind::ChargeUnknown { Charged::Maybe } else { known };
                assert_eq!((error.charged(), error.operation()), (expected, Some("op")), "{kind:?}");
            }
            let error = Error::<()>::new(kind.clone(), "words");
            assert_eq!(error.charged() == Charged::No, kind != ErrorKind::ChargeUnknown, "{kind:?}");
        }
    }

    #[test]
    fn a_message_ends_with_the_remedy_as_a_sentence() {
        for (kind, ..) in kinds() {
            for words in ["It went wrong", "It went wrong."] {
                let message = Error::<()>::new(kind.clone(), words).of_charge("op", Charged::Yes).message();
                // The words of a refused argument say themselves what it must be.
                if matches!(kind, ErrorKind::InvalidRequest { .. }) {
                    assert_eq!(message, words);
                } else {
                    let advice = message.strip_prefix("It went wrong. ").expect("one sentence, then the remedy");
                    assert!(
                        advice.len() > 10 && (advice.ends_with('.') || advice.ends_with(char::is_alphanumeric)),
                        "{message}"
                    );
                    assert!(!message.contains("  ") && !message.contains(".."), "{message}");
                }
            }
        }
    }
}
