//! The error of a call.

use std::fmt;

/// What a call rejects with: the kind, a message that says what to do, and what belongs to it.
///
/// `V` is a value of the host: the job, the body of the answer, or what the environment threw.
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
}

/// The kinds of errors, with what only one kind has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument cannot be used. Nothing was sent.
    InvalidRequest {
        /// The path of the argument, such as `variables.title.properties`.
        field: String,
    },
    /// The server answered, and not with what was asked for.
    Api {
        /// The HTTP status; 0 for a redirect that a browser hides.
        status: u16,
        /// What the status means.
        kind: ApiKind,
        /// How long the server asks to wait, in milliseconds.
        retry_after_ms: Option<f64>,
    },
    /// No answer came.
    Connection {
        /// Whether the request may have reached the server.
        sent: bool,
    },
    /// A charging request was sent, and its outcome is not known.
    ChargeUnknown,
    /// The job ended as `failed` or `rejected`.
    JobFailed {
        /// The provider's reason, or ours where it gave none.
        reason: String,
    },
    /// The job was still running when the time to wait was over.
    PollTimeout,
    /// The job is `done` without the URL that was waited for.
    IncompleteResult,
    /// The charge would exceed `maxCredits`.
    BudgetExceeded {
        /// What the call was estimated to cost, in credits.
        estimate: f64,
        /// What is left of the budget, in credits.
        remaining: f64,
    },
    /// The operation id was used before, for another request.
    OperationConflict,
    /// The journal cannot be used, so nothing was sent.
    Journal,
}

/// What an answer that is no success means.
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
    /// Not an answer of this API: HTML, a redirect, cut off, or about another job.
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

/// A rule that an argument broke: the path of the argument, and what it must be.
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
        }))
    }

    /// A charging request was sent, and its outcome is not known.
    pub(crate) fn charge_unknown() -> Self {
        Self::new(
            ErrorKind::ChargeUnknown,
            "The request was sent and its outcome is not known, so it may have been charged. It is not sent again: \
             call settle(operation) or look at your account before you start a new one.",
        )
    }

    /// Nothing was sent, for this reason.
    pub(crate) fn not_sent(message: &str) -> Self {
        Self::new(ErrorKind::Connection { sent: false }, message)
    }

    /// The request was sent, and no answer came in time.
    pub(crate) fn no_answer() -> Self {
        let message = "No answer came in time. Raise timeout, or try again later.";
        Self::new(ErrorKind::Connection { sent: true }, message)
    }

    /// The journal cannot be used.
    pub(crate) fn journal(cause: Option<V>) -> Self {
        let message = "The journal cannot be used, so nothing was sent. Free some storage, or pass journal: \"memory\".";
        let mut error = Self::new(ErrorKind::Journal, message);
        error.0.cause = cause;
        error
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// What went wrong, in words, with what to do.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operation of the charge that this is about.
    pub fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// The id of the job that this is about.
    pub fn job_id(&self) -> Option<&str> {
        self.0.job_id.as_deref()
    }

    /// The job as it was last seen.
    pub fn job(&self) -> Option<&V> {
        self.0.job.as_ref()
    }

    /// The JSON that the server answered.
    pub fn body(&self) -> Option<&V> {
        self.0.body.as_ref()
    }

    /// The first 500 characters of an answer that is not JSON.
    pub fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// What the environment threw.
    pub fn cause(&self) -> Option<&V> {
        self.0.cause.as_ref()
    }

    /// The HTTP status of the answer, if one came.
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
            ErrorKind::IncompleteResult => "IncompleteResultError",
            ErrorKind::BudgetExceeded { .. } => "BudgetExceededError",
            ErrorKind::OperationConflict => "OperationConflictError",
            ErrorKind::Journal => "JournalError",
        }
    }

    #[must_use]
    pub(crate) fn with_operation(mut self, operation: &str) -> Self {
        self.0.operation = Some(operation.into());
        self
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

    /// The same error, with its texts, its JSON body and its cause as these make them.
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

    /// The same error where only a read was made before a charge: the charge was not sent.
    #[must_use]
    pub(crate) fn before_a_charge(mut self) -> Self {
        if let ErrorKind::Connection { sent } = &mut self.0.kind {
            *sent = false;
            self.0.message.push_str(" This call charged nothing.");
        }
        self
    }
}

impl<V> Error<V> {
    /// The same error where only a read was made after a charge: the charge was sent.
    #[must_use]
    pub(crate) fn after_a_charge(mut self) -> Self {
        if let ErrorKind::Connection { sent } = &mut self.0.kind {
            *sent = true;
            self.0.message.push_str(" The charge was sent before.");
        }
        self
    }
}

impl<V> fmt::Debug for Error<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the values of the host: what a runtime threw may hold the request, and so the key.
        let Parts { kind, message, operation, job_id, .. } = &*self.0;
        formatter
            .debug_struct("Error")
            .field("kind", kind)
            .field("message", message)
            .field("operation", operation)
            .field("job_id", job_id)
            .finish_non_exhaustive()
    }
}

impl<V> fmt::Display for Error<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl<V> std::error::Error for Error<V> {}
