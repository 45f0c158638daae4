//! Reads with retries, and the interpretation of responses.

use std::future::Future;

use super::tasks::{Either, race};
use super::{Client, Outcome};
use crate::api::Endpoint;
use crate::error::{ApiKind, Error, ErrorKind};
use crate::host::{Answer, Body, Event, Host, Reply, Request, Unusable};
use crate::job::JobFacts;
use crate::poll;
use crate::retry;

/// An error of a read, and whether a retry may help.
pub(super) struct Failed<V> {
    pub error: Error<V>,
    pub transient: bool,
}

impl<H: Host> Client<H> {
    /// Reads with retries, and records the job that it gets. `timeout` is for one request, in milliseconds.
    pub(super) async fn read(&self, endpoint: Endpoint, id: &str, timeout: Option<f64>) -> Outcome<H::Value> {
        let value = self.read_with_retries(endpoint, id, timeout).await?;
        if endpoint == Endpoint::Get {
            self.notice(&value);
        }
        Ok(value)
    }

    /// Reads with retries.
    pub(super) async fn read_with_retries(&self, endpoint: Endpoint, id: &str, timeout: Option<f64>) -> Outcome<H::Value> {
        let timeout = timeout.unwrap_or(self.config().timeout);
        let mut attempt = 0;
        loop {
            let Failed { error, transient } = match self.read_once(endpoint, id, timeout, attempt + 1).await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            if !transient || attempt >= self.config().max_retries || !self.take_token() {
                return Err(error);
            }
            let wait = retry::backoff(attempt, self.host().random(), retry_after(&error));
            attempt += 1;
            self.pause(&endpoint.path(id), wait).await;
        }
    }

    /// Reads once.
    async fn read_once(
        &self,
        endpoint: Endpoint,
        id: &str,
        timeout: f64,
        attempt: u32,
    ) -> Result<H::Value, Failed<H::Value>> {
        let reply = self.request(endpoint, id, timeout, attempt).await;
        let value = self.judge_read(endpoint, id, reply)?;
        self.earn_token();
        Ok(value)
    }

    /// One request of a read; `Err` if no response arrived in time.
    pub(super) async fn request(
        &self,
        endpoint: Endpoint,
        id: &str,
        timeout: f64,
        attempt: u32,
    ) -> Result<Reply<H::Value>, Error<H::Value>> {
        let deadline = self.host().now() + timeout;
        let headers = match self.until(deadline, self.host().headers()).await {
            Some(Ok(headers)) => headers,
            Some(Err(unusable)) => return Ok(Reply::Unusable(unusable)),
            None => {
                return Err(Error::not_sent(
                    "The functions for headers and apiKey did not return in time; nothing was sent.",
                ));
            }
        };
        let path = endpoint.path(id);
        let request = Request { endpoint, url: &self.url(&path), body: None, operation: None };
        self.exchange(request, &path, headers, deadline, attempt).await.ok_or_else(Error::no_answer)
    }

    /// Sends one request at once and returns its reply; emits the events of both. `None` if no response arrived in time.
    pub(super) async fn exchange(
        &self,
        request: Request<'_>,
        path: &str,
        headers: H::Headers,
        deadline: f64,
        attempt: u32,
    ) -> Option<Reply<H::Value>> {
        let host = self.host();
        let (method, operation, begun) = (request.endpoint.method(), request.operation, host.now());
        host.emit(Event::Request { method, path, operation });
        let reply = self.until(deadline, host.fetch(request, headers)).await?;
        if let Reply::Answer(Answer { status, request_id, .. }) = &reply {
            let (ms, request_id) = (host.now() - begun, request_id.as_deref());
            host.emit(Event::Response { method, path, status: *status, ms, attempt, operation, request_id });
        }
        Some(reply)
    }

    /// The result of a future; `None` at the deadline.
    pub(super) async fn until<T>(&self, deadline: f64, work: impl Future<Output = T>) -> Option<T> {
        let late = async { self.host().sleep(poll::between(deadline - self.host().now(), 0.0, poll::LONGEST)).await };
        match race(work, late).await {
            Either::First(result) => Some(result),
            Either::Second(()) => None,
        }
    }

    /// Waits before a retry.
    pub(super) async fn pause(&self, path: &str, ms: f64) {
        self.host().emit(Event::Retry { path, in_ms: ms });
        self.host().sleep(ms).await;
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config().base_url)
    }

    pub(super) fn earn_token(&self) {
        let mut tokens = self.0.tokens.get();
        tokens.earn();
        self.0.tokens.set(tokens);
    }

    fn take_token(&self) -> bool {
        let mut tokens = self.0.tokens.get();
        let taken = tokens.take();
        self.0.tokens.set(tokens);
        taken
    }

    /// The value that the read asked for, or the error.
    pub(super) fn judge_read(
        &self,
        endpoint: Endpoint,
        id: &str,
        reply: Result<Reply<H::Value>, Error<H::Value>>,
    ) -> Result<H::Value, Failed<H::Value>> {
        let about = |error: Error<H::Value>| if endpoint == Endpoint::Get { error.with_job_id(Some(id)) } else { error };
        // Header functions that timed out are not called again.
        let reply = reply.map_err(|error| {
            let transient = error.kind() == &ErrorKind::Connection { sent: true };
            Failed { error: about(error), transient }
        })?;
        let transient = match &reply {
            Reply::Answer(answer) => retry::is_transient(answer.status) || (200..300).contains(&answer.status),
            Reply::Failed { .. } => true,
            Reply::Unusable(_) => false,
        };
        let mut lacks = "";
        if let Reply::Answer(Answer { status: 200..=299, body: Body::Json(body), .. }) = &reply {
            let found = match endpoint {
                Endpoint::Templates => self.templates_of(body),
                Endpoint::RemainingCredits => self.remaining_credits_of(body).map(|_| body.clone()),
                Endpoint::Operation => Some(body.clone()),
                _ => self.facts(body).filter(|facts| facts.id == id).map(|_| body.clone()),
            };
            if let Some(found) = found {
                return Ok(found);
            }
            lacks = match endpoint {
                Endpoint::Templates => "The response is no list of templates.",
                Endpoint::RemainingCredits => "The response has no remaining_credits.",
                _ => "The response is not the job that was requested.",
            };
        }
        Err(Failed { error: about(self.error_of(reply, lacks)), transient })
    }

    /// The list of templates. It is documented as a plain array; some clients observed a page with `results`.
    fn templates_of(&self, body: &H::Value) -> Option<H::Value> {
        if self.host().elements(body).is_some() {
            return Some(body.clone());
        }
        let results = self.host().member(body, "results")?;
        self.host().elements(&results).map(|_| results)
    }

    pub(super) fn remaining_credits_of(&self, body: &H::Value) -> Option<f64> {
        let [credits] = self.host().members(body, ["remaining_credits"]);
        credits.number().filter(|credits| credits.is_finite())
    }

    /// The fields of a job; `None` if the value is no job.
    pub(super) fn facts(&self, job: &H::Value) -> Option<JobFacts> {
        JobFacts::read(self.host().job(job))
    }

    /// The error of an unexpected reply. `lacks` says what a successful response lacks.
    pub(super) fn error_of(&self, reply: Reply<H::Value>, lacks: &str) -> Error<H::Value> {
        match reply {
            Reply::Unusable(unusable) => unusable.into(),
            Reply::Failed { cause, .. } => {
                let message = "No response arrived: the connection failed, or the browser blocked it (CORS). Check baseUrl and the network.";
                Error::new(ErrorKind::Connection { sent: true }, message).with_cause(cause)
            }
            Reply::Answer(answer) => self.api_error(answer, lacks),
        }
    }

    fn api_error(&self, answer: Answer<H::Value>, lacks: &str) -> Error<H::Value> {
        let Answer { status, retry_after_ms, body, .. } = answer;
        let reason = match &body {
            Body::Json(body) if status >= 400 => self.host().reason(body),
            _ => None,
        };
        let is_credits = reason.as_ref().is_some_and(|reason| {
            let mut words = reason.split(|char: char| !char.is_ascii_alphabetic());
            words.any(|word| word.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("credit")))
        });
        let kind = match status {
            402 => ApiKind::InsufficientCredits,
            400 | 403 if is_credits => ApiKind::InsufficientCredits,
            401 | 403 => ApiKind::Authentication,
            404 => ApiKind::NotFound,
            429 => ApiKind::RateLimited,
            400..=499 => ApiKind::Invalid,
            500.. => ApiKind::Server,
            _ => ApiKind::Unexpected,
        };
        let reason = reason.unwrap_or_else(|| {
            let ours = match &body {
                _ if !(200..300).contains(&status) && status < 400 => {
                    "The response is a redirect, which is never followed, since it would carry the key."
                }
                Body::Cut(_) => "The response broke off.",
                Body::Text(text) if status >= 400 && text.trim_start().starts_with('<') => "The response is an HTML page.",
                Body::Text(_) if status < 400 => "The response is not JSON.",
                Body::Json(_) if status < 400 => lacks,
                _ => "The server gave no reason.",
            };
            ours.into()
        });
        let retry_after_ms = retry_after_ms.map(retry::clamp_retry_after);
        let error = Error::new(ErrorKind::Api { status, kind, retry_after_ms }, format!("{status} {reason}"));
        with_body(error, body)
    }
}

/// Adds the response body to an error: its JSON, or the first 500 characters.
pub(super) fn with_body<V>(error: Error<V>, body: Body<V>) -> Error<V> {
    match body {
        Body::Json(body) => error.with_answer(Some(body), None),
        Body::Text(text) | Body::Cut(text) => error.with_answer(None, Some(text.chars().take(500).collect())),
    }
}

/// The `Retry-After` of an error, in milliseconds.
pub(super) fn retry_after<V>(error: &Error<V>) -> Option<f64> {
    match error.kind() {
        ErrorKind::Api { retry_after_ms, .. } => *retry_after_ms,
        _ => None,
    }
}

impl<V> From<Unusable<V>> for Error<V> {
    fn from(unusable: Unusable<V>) -> Self {
        let Unusable { field, advice, cause } = unusable;
        let kind = ErrorKind::InvalidRequest { field: field.into() };
        Self::new(kind, format!("{field} {advice}")).with_cause(cause)
    }
}
