//! The typed client for Rust front ends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use js_sys::{Array, Function};
use wasm_bindgen::prelude::*;
use web_sys::Url;

use super::convert::{Record, get, in_browser, text};
use super::data::{Job, JobRequest, RenderRequest, Template, json_of};
use super::handle::{JobHandle, Source};
use super::host::{HostOptions, WebHost, new_operation};
use crate::api::{Endpoint, Goal, ModelVersion, Step};
use crate::client::{self, Client, Config, Operation};
use crate::credits::{BudgetPeriod, Price, PriceTable};
use crate::error::{self, ApiKind, ErrorKind, Refusal};
use crate::host;
use crate::poll::Urgency;

#[wasm_bindgen(module = "/src/web/platform.js")]
extern "C" {
    #[wasm_bindgen(js_name = fieldsOf)]
    fn fields_of(body: &JsValue) -> JsValue;
}

/// What a call fails with. It holds no key: the secrets of the client's requests are removed from every text.
pub type Error = error::Error<JsValue>;

impl Error {
    /// What the API reports about single fields: texts by the path of each, such as `variables.headline` or
    /// `variables.shots.1.url`, however it nests them; empty where it reports nothing. At most 1,000 texts, 16 levels deep.
    pub fn fields(&self) -> BTreeMap<String, Vec<String>> {
        let body = self.body().filter(|_| self.status().is_some_and(|status| status >= 400));
        body.and_then(|body| serde_wasm_bindgen::from_value(fields_of(body)).ok()).unwrap_or_default()
    }
}

/// The store in which operations are recorded, so that none is charged twice.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Journal {
    /// `IndexedDB` in pages and their workers; elsewhere memory.
    #[default]
    Default,
    /// The memory of this page or process.
    Memory,
    /// The caller's own: an object with the methods of the npm package's interface `Journal`.
    Custom(JsValue),
}

/// The options of a client.
#[derive(Clone)]
pub struct Options {
    /// The address of the provider, which is the default; in a page it may be relative.
    pub base_url: String,
    /// The address of a relay of yours that adds the key and honours `Idempotency-Key`, in place of `base_url` and `api_key`;
    /// in a page it may be relative.
    pub relay: Option<String>,
    /// The API id, sent as `X-API-ID`.
    pub api_id: Option<String>,
    /// The API key, sent as `X-API-KEY`. In a page every visitor can read it: use a relay there.
    pub api_key: Option<String>,
    /// Headers of every request, such as the login of a relay.
    pub headers: BTreeMap<String, String>,
    /// Separates the journals of different users of one page.
    pub account: String,
    /// The time for one request, and for each step before it; 30 seconds by default.
    pub timeout: Duration,
    /// The time for a blocking preview; 5 minutes by default.
    pub preview_timeout: Duration,
    /// How often a read is retried; 3 by default. A charge that may have been sent is never sent again.
    pub max_retries: u32,
    /// The most credits to spend; no limit by default. With a limit, requests need [`JobRequest::seconds`] until the client has
    /// learned the length of the template's videos.
    pub max_credits: Option<f64>,
    /// The name under which the journal sums the spending of all clients with that name. Without one, the clients of this
    /// process are summed.
    pub budget_key: Option<String>,
    /// When the sum starts again at 0, in UTC; never by default.
    pub budget_period: Option<BudgetPeriod>,
    /// What each step costs.
    pub prices: PriceTable,
    /// The store in which operations are recorded.
    pub journal: Journal,
    /// Whether a charge carries its operation id as `Idempotency-Key`, for a relay that honours it. By default with `relay`,
    /// and where `base_url` is relative.
    pub idempotency_header: Option<bool>,
    /// Called as `(url, init)` instead of the platform's `fetch`.
    pub fetch: Option<Function>,
    /// Called with a `Date`; returns an array of the jobs created since, or a promise of one. With it, `settle` finds the job
    /// of an unknown operation.
    pub list_jobs: Option<Function>,
}

impl Default for Options {
    fn default() -> Self {
        let config = Config::new(Config::BASE_URL, "", "");
        Self {
            base_url: config.base_url,
            relay: None,
            api_id: None,
            api_key: None,
            headers: BTreeMap::new(),
            account: String::new(),
            timeout: duration(config.timeout),
            preview_timeout: duration(config.preview_timeout),
            max_retries: config.max_retries,
            max_credits: config.max_credits,
            budget_key: config.budget_key,
            budget_period: config.budget_period,
            prices: config.prices,
            journal: Journal::default(),
            idempotency_header: None,
            fetch: None,
            list_jobs: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key and the headers.
        formatter
            .debug_struct("Options")
            .field("base_url", &self.base_url)
            .field("api_id", &self.api_id)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl Options {
    fn check(&self) -> Result<(), Refusal> {
        let is_amount = |credits: f64| credits.is_finite() && credits >= 0.0;
        if self.max_credits.is_some_and(|credits| !is_amount(credits)) {
            return Err(Refusal::new("max_credits", "must be a finite number of credits, 0 or more"));
        }
        let PriceTable { preview, submit, render, aurora_v1, aurora_v1_fast, others } = &self.prices;
        let others = others.iter().map(|(_, price)| price);
        for &Price { credits, seconds } in [preview, submit, render, aurora_v1, aurora_v1_fast].into_iter().chain(others) {
            if !is_amount(credits) || !is_amount(seconds) || seconds == 0.0 {
                return Err(Refusal::new("prices", "must be finite numbers: credits 0 or more, seconds above 0"));
            }
        }
        if self.relay.is_some() && self.api_key.is_some() {
            return Err(Refusal::new("api_key", "is what a relay adds; leave one of the two out"));
        }
        if self.relay.is_some() && self.base_url != Config::BASE_URL {
            return Err(Refusal::new("base_url", "cannot be beside relay; leave one of the two out"));
        }
        let in_memory = matches!(self.journal, Journal::Default) && !in_browser();
        if self.budget_key.is_some() && in_memory {
            return Err(Refusal::new("budget_key", client::NO_JOURNAL));
        }
        Ok(())
    }

    /// The base URL of requests.
    fn address(&self) -> &str {
        self.relay.as_deref().unwrap_or(&self.base_url)
    }

    /// The parsed base URL, so that two spellings of one URL share a journal.
    fn place(&self) -> String {
        let page = text(&get(&js_sys::global(), "location"), "href");
        let parsed = match page {
            Some(page) => Url::new_with_base(self.address(), &page),
            None => Url::new(self.address()),
        };
        parsed.map_or_else(|_| self.address().into(), |url| url.href())
    }

    fn is_relative(&self) -> bool {
        let scheme = self.base_url.split_once(':').map_or("", |(scheme, _)| scheme);
        !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || scheme.contains(|char: char| !char.is_ascii_alphanumeric() && !matches!(char, '+' | '.' | '-'))
    }

    fn config(&self) -> Config {
        let config = Config::new(&self.place(), self.api_id.as_deref().unwrap_or_default(), &self.account);
        Config {
            // Requests keep a relative URL.
            base_url: self.address().trim_end_matches('/').into(),
            timeout: ms(self.timeout),
            preview_timeout: ms(self.preview_timeout),
            max_retries: self.max_retries,
            max_credits: self.max_credits,
            budget_key: self.budget_key.clone(),
            budget_period: self.budget_period,
            prices: self.prices.clone(),
            relay: self.relay.is_some(),
            ..config
        }
    }

    fn host(self) -> WebHost {
        let pair = |(name, value): (&String, &String)| Array::of2(&name.into(), &value.into());
        let headers: Array = self.headers.iter().map(pair).collect();
        let credentials = Record::default()
            .with_some("apiId", self.api_id.as_deref())
            .with_some("apiKey", self.api_key.as_deref())
            .with("headers", headers);
        let idempotent = self.idempotency_header.unwrap_or_else(|| self.relay.is_some() || self.is_relative());
        WebHost::new(HostOptions {
            credentials: credentials.into(),
            fetch: self.fetch,
            journal: match self.journal {
                Journal::Default => JsValue::UNDEFINED,
                Journal::Memory => "memory".into(),
                Journal::Custom(journal) => journal,
            },
            list_jobs: self.list_jobs,
            on_event: None,
            on_send: None,
            idempotent,
        })
    }
}

/// How a charging call is made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChargeOptions {
    /// The caller's own id of the operation, which is charged once however often it is used. By default a random one; for a
    /// render one derived from the job.
    pub operation: Option<String>,
    /// The time that the call waits, [`Options::timeout`] by default. A charge that may have been sent continues.
    pub timeout: Option<Duration>,
    /// An object with fields of the request that this version does not know, such as a new `model_version`.
    pub extra: Option<JsValue>,
    /// The caller's own data, which [`TemplateJobs::pending`] returns: JSON, at most 1 KB. It stays in the journal.
    pub metadata: Option<JsValue>,
}

/// The options of a wait.
#[derive(Default)]
pub struct PollOptions {
    /// The result to wait for. By default that of the last step that this client charged for, otherwise the first `done`.
    pub until: Option<Goal>,
    /// The longest wait; 30 minutes by default.
    pub timeout: Option<Duration>,
    /// The expected duration of such jobs; by default that of earlier ones.
    pub expected: Option<Duration>,
    /// The longest interval between two polls.
    pub max_interval: Option<Duration>,
    /// How soon the end is wanted: see [`Urgency`].
    pub urgency: Urgency,
    /// Receives updates: one at once, one on each change of the job, and in a visible page one each second in between. With a
    /// listener the job is polled more often.
    pub on_update: Option<Box<dyn Fn(Update)>>,
}

impl fmt::Debug for PollOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { until, timeout, expected, max_interval, urgency, .. } = self;
        formatter
            .debug_struct("PollOptions")
            .field("until", until)
            .field("timeout", timeout)
            .field("expected", expected)
            .field("max_interval", max_interval)
            .field("urgency", urgency)
            .finish_non_exhaustive()
    }
}

/// The state of a wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The job as last polled.
    pub job: Job,
    /// The last step that this client charged for.
    pub step: Option<Step>,
    /// The estimated progress of the step, from 0 to 1. It never falls. `None` while nothing is known.
    pub progress: Option<f64>,
    /// The time until the next poll; 0 while a poll is in flight, `None` once the wait has ended.
    pub next_poll: Option<Duration>,
    /// The estimated time until the step ends, if known.
    pub remaining: Option<Duration>,
}

/// A client of the API, for front ends written in Rust. Clones share everything.
///
/// Dropping a future cancels its call, except a charge that may have been sent: that part continues until its job is recorded in
/// the journal. In a page the journal is the same as that of the npm package.
///
/// ```no_run
/// use custom_template_jobs::web::{
///     ChargeOptions, Error, JobRequest, Options, PollOptions, TemplateJobs, Update, Variable,
/// };
///
/// # async fn example() -> Result<(), Error> {
/// let jobs = TemplateJobs::new(Options { relay: Some("/relay".into()), ..Options::default() })?;
/// let request = JobRequest {
///     template_id: "3c90c3cc-0d44-4b50-8888-8dd25736052a".into(),
///     variables: [("headline".into(), Variable::text("Hello"))].into(),
///     ..JobRequest::default()
/// };
/// let preview = jobs.preview(&request, ChargeOptions::default(), PollOptions::default()).await?;
/// println!("the preview: {}", preview.preview.unwrap_or_default());
///
/// let show = |update: Update| println!("{:?}", update.progress);
/// let options = PollOptions { on_update: Some(Box::new(show)), ..PollOptions::default() };
/// let video = jobs.render(&preview.id, None, ChargeOptions::default()).wait(options).await?;
/// println!("the video: {}", video.video_output.unwrap_or_default());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TemplateJobs(Client<WebHost>);

impl TemplateJobs {
    /// Creates a client. It does no I/O yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if `max_credits` or a price is negative or not finite, if `relay` is set together with
    /// `api_key` or `base_url`, or if `budget_key` has no journal that outlives the process.
    pub fn new(options: Options) -> Result<Self, Error> {
        options.check()?;
        let config = options.config();
        let host = options.host();
        let config =
            Config { journal_in_memory: host.journal_in_memory(), journal_by_default: host.journal_by_default(), ..config };
        let namespace = config.namespace.clone();
        let client = Client::new(host, config);
        WebHost::connect(&client, &namespace);
        Ok(Self(client))
    }

    /// Submits a job without a preview. Awaiting the handle returns the accepted job; [`JobHandle::wait`] waits for the
    /// video. Fails with [`ErrorKind::ChargeUnknown`] if the response was lost, or with `InvalidRequest`, `Api`,
    /// `Connection`, `BudgetExceeded`, `OperationConflict` or `Journal`.
    pub fn submit(&self, request: &JobRequest, options: ChargeOptions) -> JobHandle {
        self.handle(Endpoint::Submit, None, request.to_json().map(Some), request.seconds, options)
    }

    /// Submits a preview and waits for it.
    ///
    /// # Errors
    /// Those of [`submit`](Self::submit) and [`poll`](Self::poll).
    pub async fn preview(&self, request: &JobRequest, charge: ChargeOptions, wait: PollOptions) -> Result<Job, Error> {
        self.preview_async(request, charge).wait(wait).await
    }

    /// Submits a preview. Awaiting the handle returns the accepted job; [`JobHandle::wait`] waits for the preview. Fails like
    /// [`submit`](Self::submit).
    pub fn preview_async(&self, request: &JobRequest, options: ChargeOptions) -> JobHandle {
        self.handle(Endpoint::PreviewAsync, None, request.to_json().map(Some), request.seconds, options)
    }

    /// Makes a preview by one request that blocks until it is ready. `preview` survives a lost connection better.
    ///
    /// # Errors
    /// Those of [`submit`](Self::submit).
    pub async fn preview_sync(&self, request: &JobRequest, options: ChargeOptions) -> Result<Job, Error> {
        self.handle(Endpoint::PreviewSync, None, request.to_json().map(Some), request.seconds, options).await
    }

    /// Renders the video of a previewed job, with these changes. Awaiting the handle returns the accepted job;
    /// [`JobHandle::wait`] waits for the video. A job that is rendered, or whose render the journal has in flight, is
    /// returned and not charged. Fails like [`submit`](Self::submit).
    pub fn render(&self, id: &str, changes: Option<&RenderRequest>, options: ChargeOptions) -> JobHandle {
        let seconds = changes.and_then(|changes| changes.seconds);
        self.handle(Endpoint::Render, Some(id), changes.map(RenderRequest::to_json).transpose(), seconds, options)
    }

    /// Resumes an operation, such as one of [`pending`](Self::pending) after a reload. Never charges. If the operation is in
    /// flight, it waits; if its outcome is unknown, it settles it first. Fails with [`ErrorKind::ChargeUnknown`] if the
    /// outcome is still unknown, and with `InvalidRequest` if the journal has no such operation.
    pub fn resume(&self, operation: &str) -> JobHandle {
        JobHandle::new(self, operation.into(), Source::Resume)
    }

    /// Fetches a job.
    ///
    /// # Errors
    /// [`ErrorKind`]`::InvalidRequest`, `Api`, `Connection`.
    pub async fn get(&self, id: &str) -> Result<Job, Error> {
        self.read(self.0.get(id, None).await)
    }

    /// Waits for a job's preview or video.
    ///
    /// # Errors
    /// [`ErrorKind`]`::JobFailed`, `PollTimeout`, `IncompleteResult`, `InvalidRequest`, and `Api` with 401, 403 or 404.
    pub async fn poll(&self, id: &str, options: PollOptions) -> Result<Job, Error> {
        self.wait(id, None, options).await
    }

    /// Lists the account's templates.
    ///
    /// # Errors
    /// [`ErrorKind`]`::Api`, `Connection`.
    pub async fn templates(&self) -> Result<Vec<Template>, Error> {
        self.read(self.0.templates(None).await)
    }

    /// Fetches the account's balance, in credits.
    ///
    /// # Errors
    /// [`ErrorKind`]`::Api`, `Connection`.
    pub async fn remaining_credits(&self) -> Result<f64, Error> {
        self.0.remaining_credits(None).await.map_err(|error| self.redacted(error))
    }

    /// Estimates the cost of a step in credits, for a video of `seconds` seconds.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the length is not a positive number.
    pub fn estimate(&self, step: Step, seconds: f64, model: ModelVersion) -> Result<f64, Error> {
        self.0.estimate(step, seconds, model.as_str())
    }

    /// Lists the open operations of the journal.
    ///
    /// # Errors
    /// [`ErrorKind::Journal`].
    pub async fn pending(&self) -> Result<Vec<Operation>, Error> {
        self.0.pending().await.map_err(|error| self.redacted(error))
    }

    /// Looks for the outcome of an unknown operation; at the job `job_id`, if given. Never charges.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the journal has no such operation; `Journal`, `Api`, `Connection`.
    pub async fn settle(&self, operation: &str, job_id: Option<&str>) -> Result<Operation, Error> {
        self.0.settle(operation, job_id).await.map_err(|error| self.redacted(error))
    }

    /// Handles a webhook for the job `id`: fetches the job, settles its operation, and returns both. `candidates` are the
    /// strings in the webhook's URL that may be the operation id, such as the value of `?operation=`. A webhook is not
    /// signed: a job of another account fails the call, and an unknown operation is settled only if its `webhook_url`
    /// contained `{operation}` and equals the job's.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if `id` is no UUID; `Journal`, `Api`, `Connection`.
    pub async fn handle_webhook(&self, id: &str, candidates: &[String]) -> Result<(Job, Option<Operation>), Error> {
        let handled = self.0.handle_webhook(id, candidates.iter().cloned()).await.map_err(|error| self.redacted(error))?;
        Ok((self.read(Ok(handled.0))?, handled.1))
    }

    /// Closes an unknown operation that was not charged, as its owner knows. Its id and its share of the budget are released.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the journal has no such operation, or if it is in flight or was charged; `Journal`.
    pub async fn discard(&self, operation: &str) -> Result<(), Error> {
        self.0.discard(operation).await.map_err(|error| self.redacted(error))
    }

    fn handle(
        &self,
        endpoint: Endpoint,
        id: Option<&str>,
        request: Result<Option<String>, Error>,
        seconds: Option<f64>,
        options: ChargeOptions,
    ) -> JobHandle {
        let ChargeOptions { operation, timeout, extra, metadata } = options;
        let text = |value: Option<JsValue>, root| value.map(|value| json_of(&value, root)).transpose();
        let texts = request.and_then(|request| Ok((request, text(extra, "extra")?, text(metadata, "metadata")?)));
        let (request, extra, metadata) = match texts {
            Ok((request, extra, metadata)) => (Ok(request), extra, metadata),
            Err(error) => (Err(error), None, None),
        };
        let explicit = operation.is_some();
        let operation = operation.unwrap_or_else(|| match id {
            Some(id) => format!("render:{}", id.to_ascii_lowercase()),
            None => new_operation(),
        });
        let timeout = timeout.map(ms);
        let options = client::ChargeOptions { operation: operation.clone(), explicit, seconds, timeout, extra, metadata };
        JobHandle::new(self, operation, Source::Charge(endpoint, id.map(Into::into), request, options))
    }

    pub(super) async fn charge(
        &self,
        endpoint: Endpoint,
        id: Option<&str>,
        request: Option<&str>,
        options: client::ChargeOptions,
    ) -> Result<JsValue, Error> {
        self.0.charge(endpoint, id, request, options, None).await
    }

    pub(super) async fn resumed(&self, operation: &str) -> Result<(JsValue, Step), Error> {
        self.0.resume(operation).await
    }

    pub(super) async fn wait(&self, id: &str, job: Option<JsValue>, options: PollOptions) -> Result<Job, Error> {
        let PollOptions { until, timeout, expected, max_interval, urgency, on_update } = options;
        let options = client::PollOptions {
            until,
            timeout: timeout.map(ms),
            expected_ms: expected.map(ms),
            max_interval: max_interval.map(ms),
            attentive: on_update.is_some(),
            urgency,
        };
        let on_update = on_update.map(|on_update| -> host::OnUpdate<JsValue> {
            Box::new(move |update| {
                let host::Update { job, step, progress, remaining_ms, next_poll_ms } = update;
                if let Ok(job) = Job::from_js(job) {
                    let (next_poll, remaining) = (next_poll_ms.map(duration), remaining_ms.map(duration));
                    on_update(Update { job, step, progress, next_poll, remaining });
                }
            })
        });
        self.read(self.0.poll(id, job, options, on_update).await)
    }

    /// Converts the outcome of a call to a struct, or to an error without secrets.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, outcome: Result<JsValue, Error>) -> Result<T, Error> {
        let read = outcome.and_then(|value| {
            serde_wasm_bindgen::from_value(value.clone()).map_err(|error| {
                let kind = ErrorKind::Api { status: 200, kind: ApiKind::Unexpected, retry_after_ms: None };
                Error::new(kind, format!("The answer has not its documented shape: {error}.")).with_answer(Some(value), None)
            })
        });
        read.map_err(|error| self.redacted(error))
    }

    pub(super) fn redacted(&self, error: Error) -> Error {
        self.0.host().redacted(error)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default()
}
