//! The one error type of the core: what went wrong, told apart by name, with a message that says what to do.

use std::fmt;

/// Strings put together without the formatting machinery, which costs every visitor 2 KB.
pub(crate) fn join(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        text.push_str(part);
    }
    text
}

/// A whole number in decimal digits.
pub(crate) fn digits(number: u64) -> String {
    let mut text = if number < 10 { String::new() } else { digits(number / 10) };
    push_digit(&mut text, (number % 10) as u8);
    text
}

/// A hexadecimal digit. `String::push` would bring in all of UTF-8.
pub(crate) fn push_digit(text: &mut String, digit: u8) {
    let at = usize::from(digit);
    text.push_str("0123456789abcdef".get(at..=at).unwrap_or_default());
}

/// `Vec::retain` guards against a panic of its closure in twice the bytes.
pub(crate) fn remove_where<T>(list: &mut Vec<T>, goes: impl Fn(&T) -> bool) {
    let mut at = 0;
    while let Some(item) = list.get(at) {
        if goes(item) {
            list.remove(at);
        } else {
            at += 1;
        }
    }
}

/// What an answer of the API with a status of 400 or more, or one that cannot be used, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKind {
    /// The keys are missing or wrong (401, 403).
    Authentication,
    /// The account has too few credits (402, or a refusal that speaks of credits).
    InsufficientCredits,
    /// The job or template is not there (404).
    NotFound,
    /// Too many requests (429).
    RateLimited,
    /// The request was refused as it stands (any other 4xx).
    Invalid,
    /// The server failed (5xx).
    Server,
    /// Not an answer of this API: HTML, a redirect, truncated or another job's.
    Unexpected,
}

impl ApiKind {
    /// As JavaScript sees it.
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

/// What went wrong, with what only that case knows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Refused before anything was sent.
    InvalidRequest {
        /// The path of the argument, such as `variables.title.properties`.
        field: String,
    },
    /// The API answered, and not with what was asked for.
    Api {
        /// The HTTP status; 0 for a redirect that a browser hides.
        status: u16,
        /// What it means.
        kind: ApiKind,
        /// How long the server asks to wait, in milliseconds.
        retry_after_ms: Option<f64>,
    },
    /// No answer.
    Connection {
        /// Whether the request may have reached the server.
        sent: bool,
    },
    /// A charging request was sent and nobody knows whether it was carried out.
    ChargeUnknown,
    /// The job ended as `failed` or `rejected`.
    JobFailed {
        /// The provider's words, or ours where it gave none.
        reason: String,
    },
    /// The job was still running when the time to wait was over.
    PollTimeout,
    /// The job is `done` without the URL that was waited for.
    IncompleteResult,
    /// The charge would pass the client's `maxCredits`.
    BudgetExceeded {
        /// What the call was estimated to cost, in credits.
        estimate: f64,
        /// What is left of the budget, in credits.
        remaining: f64,
    },
    /// The operation id was used before, for another request.
    OperationConflict,
    /// The journal could not be written, so nothing was sent.
    Journal,
}

/// What went wrong, with what belongs to it. Cheap to move: one pointer.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    reason: Reason,
    message: String,
    operation: Option<String>,
    job: Option<String>,
}

impl Error {
    pub(crate) fn new(reason: Reason, message: &[&str]) -> Self {
        Self(Box::new(Inner { reason, message: join(message), operation: None, job: None }))
    }

    pub(crate) fn invalid(field: &str, message: &[&str]) -> Self {
        let message = join(message);
        Self::new(Reason::InvalidRequest { field: field.into() }, &[field, " ", &message])
    }

    pub(crate) fn with_operation(mut self, operation: &str) -> Self {
        self.0.operation = Some(operation.into());
        self
    }

    pub(crate) fn with_job(mut self, job: &str) -> Self {
        self.0.job = Some(job.into());
        self
    }

    /// What went wrong.
    pub fn reason(&self) -> &Reason {
        &self.0.reason
    }

    /// In words, with what to do. Never holds a key.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operation id of the charge that this is about.
    pub fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// The id of the job that this is about.
    pub fn job_id(&self) -> Option<&str> {
        self.0.job.as_deref()
    }

    /// The argument that was refused, for an invalid request.
    pub fn field(&self) -> Option<&str> {
        match &self.0.reason {
            Reason::InvalidRequest { field } => Some(field),
            _ => None,
        }
    }

    /// The name by which JavaScript tells errors apart.
    pub fn name(&self) -> &'static str {
        match self.0.reason {
            Reason::InvalidRequest { .. } => "InvalidRequestError",
            Reason::Api { .. } => "ApiError",
            Reason::Connection { .. } => "ConnectionError",
            Reason::ChargeUnknown => "ChargeUnknownError",
            Reason::JobFailed { .. } => "JobFailedError",
            Reason::PollTimeout => "PollTimeoutError",
            Reason::IncompleteResult => "IncompleteResultError",
            Reason::BudgetExceeded { .. } => "BudgetExceededError",
            Reason::OperationConflict => "OperationConflictError",
            Reason::Journal => "JournalError",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}
