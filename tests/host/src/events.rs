//! A client's events, as owned values.

use custom_template_jobs::host;

/// An event that a client emitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A request was sent.
    Request { method: &'static str, path: String, operation: Option<String> },
    /// An answer arrived.
    Response {
        method: &'static str,
        path: String,
        status: u16,
        ms: f64,
        attempt: u32,
        operation: Option<String>,
        request_id: Option<String>,
    },
    /// A read failed and is retried.
    Retry { path: String, in_ms: f64 },
    /// A job changed.
    Poll { job_id: String, in_ms: f64 },
    /// The outcome of a charging request.
    Verdict { operation: String, verdict: &'static str, job_id: Option<String> },
    /// A journal entry cannot be read.
    Skipped { key: String },
    /// A warning.
    Warning { code: &'static str, message: String, operation: Option<String>, job_id: Option<String> },
}

impl From<host::Event<'_>> for Event {
    fn from(event: host::Event<'_>) -> Self {
        match event {
            host::Event::Request { method, path, operation } => {
                Self::Request { method, path: path.into(), operation: operation.map(Into::into) }
            }
            host::Event::Response { method, path, status, ms, attempt, operation, request_id } => Self::Response {
                method,
                path: path.into(),
                status,
                ms,
                attempt,
                operation: operation.map(Into::into),
                request_id: request_id.map(Into::into),
            },
            host::Event::Retry { path, in_ms } => Self::Retry { path: path.into(), in_ms },
            host::Event::Poll { job_id, in_ms } => Self::Poll { job_id: job_id.into(), in_ms },
            host::Event::Verdict { operation, verdict, job_id } => {
                Self::Verdict { operation: operation.into(), verdict, job_id: job_id.map(Into::into) }
            }
            host::Event::Skipped { key } => Self::Skipped { key: key.into() },
            host::Event::Warning { code, message, operation, job_id } => Self::Warning {
                code,
                message: message.into(),
                operation: operation.map(Into::into),
                job_id: job_id.map(Into::into),
            },
        }
    }
}
