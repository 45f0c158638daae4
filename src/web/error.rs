//! What a typed call fails with, read from the core's record.

use std::fmt;

use wasm_bindgen::prelude::*;

use super::js::Js;
use crate::error::Failure;
use crate::value::Value;

impl Failure<JsValue> {
    /// What belongs to it, `name`, `message`, `job`, `body`, `text`, `cause`, `field`, `status`, `operation`, `jobId` and others; or `undefined`.
    pub fn field(&self, key: &'static str) -> JsValue {
        Js::lend(&self.0).get(key).own()
    }
}

/// What an answer of the API with a status of 400 or more, or one that cannot be used, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    fn parse(name: Js) -> Self {
        match name.one_of("authentication insufficient_credits not_found rate_limited invalid server") {
            0 => Self::Authentication,
            1 => Self::InsufficientCredits,
            2 => Self::NotFound,
            3 => Self::RateLimited,
            4 => Self::Invalid,
            5 => Self::Server,
            _ => Self::Unexpected,
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
    /// The charge would pass the client's `max_credits`.
    BudgetExceeded {
        /// What the call was estimated to cost, in credits.
        estimate: f64,
        /// What is left of the budget, in credits.
        remaining: f64,
    },
    /// The operation id was used before, for another request.
    OperationConflict,
    /// The journal could not be used, so nothing was sent.
    Journal,
}

/// What went wrong, with what belongs to it. It never holds a key.
#[derive(Clone, PartialEq)]
pub struct Error {
    reason: Reason,
    message: String,
    operation: Option<String>,
    job_id: Option<String>,
    record: JsValue,
}

impl Error {
    /// What went wrong.
    pub const fn reason(&self) -> &Reason {
        &self.reason
    }

    /// In words, with what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The operation id of the charge that this is about.
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// The id of the job that this is about.
    pub fn job_id(&self) -> Option<&str> {
        self.job_id.as_deref()
    }

    /// The job as it was last seen, or `undefined`.
    pub fn job(&self) -> JsValue {
        Js::lend(&self.record).get("job").own()
    }

    /// What the API answered: JSON, or the first 500 characters of anything else, or `undefined`.
    pub fn body(&self) -> JsValue {
        let record = Js::lend(&self.record);
        record.get("body").or(|| record.get("text")).own()
    }

    /// The argument that was refused, for an invalid request.
    pub fn field(&self) -> Option<&str> {
        match &self.reason {
            Reason::InvalidRequest { field } => Some(field),
            _ => None,
        }
    }

    /// The name by which JavaScript tells errors apart.
    pub const fn name(&self) -> &'static str {
        match self.reason {
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

impl From<Failure<JsValue>> for Error {
    fn from(Failure(owned): Failure<JsValue>) -> Self {
        let record = Js::lend(&owned);
        let text = |key: &'static str| record.get(key).own().as_string();
        let names = "InvalidRequestError ConnectionError ChargeUnknownError JobFailedError PollTimeoutError \
                     IncompleteResultError BudgetExceededError OperationConflictError JournalError";
        let reason = match record.get("name").one_of(names) {
            0 => Reason::InvalidRequest { field: text("field").unwrap_or_default() },
            1 => Reason::Connection { sent: record.get("sent").is_true() },
            2 => Reason::ChargeUnknown,
            3 => Reason::JobFailed { reason: text("reason").unwrap_or_default() },
            4 => Reason::PollTimeout,
            5 => Reason::IncompleteResult,
            6 => Reason::BudgetExceeded { estimate: record.number_of("estimate"), remaining: record.number_of("remaining") },
            7 => Reason::OperationConflict,
            8 => Reason::Journal,
            _ => Reason::Api {
                status: record.number_of("status") as u16,
                kind: ApiKind::parse(record.get("kind")),
                retry_after_ms: record.get("retryAfterMs").own().as_f64(),
            },
        };
        Self {
            reason,
            message: text("message").unwrap_or_default(),
            operation: text("operation"),
            job_id: text("jobId"),
            record: owned,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the record: the cause that a runtime gave may hold the request, and so the key.
        formatter
            .debug_struct("Error")
            .field("reason", &self.reason)
            .field("message", &self.message)
            .field("operation", &self.operation)
            .field("job_id", &self.job_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
