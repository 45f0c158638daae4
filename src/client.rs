//! Client: one method for each call, and the only module that meets the host's values.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::api::{
    Checked, Endpoint, Goal, JobFacts, ModelVersion, OPERATION_PLACEHOLDER, Step, check_id, check_request,
};
use crate::charge::{self, Claim, Entry, Outcome, State, Verdict};
use crate::credits::{Budget, PriceTable};
use crate::error::{ApiKind, Error, Reason, digits, join};
use crate::host::{Body, Event, Host, JournalFault, Reply, Request};
use crate::poll::{self, LONGEST, Memory, Notice, Schedule, Seen, Wish};
use crate::retry;
use crate::value::{Fingerprint, Kind, Value};

/// How a client is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the API is, without a slash at the end.
    pub base_url: String,
    /// Whose journal entries these are; from the base URL and the API id.
    pub namespace: String,
    /// Milliseconds for one request.
    pub timeout: f64,
    /// Milliseconds for a preview that blocks, and for a charge whose caller went away.
    pub preview_timeout: f64,
    /// How often a read is tried again.
    pub max_retries: u32,
    /// What the client may spend, in credits.
    pub max_credits: Option<f64>,
    /// What calls cost.
    pub prices: PriceTable,
    /// Whether a charge carries its operation id as `Idempotency-Key`.
    pub idempotency_header: bool,
}

impl Config {
    /// The provider's own address.
    pub const BASE_URL: &'static str = "https://api.creatify.ai";

    /// The defaults, for the API at `base_url` and the account `api_id`.
    pub fn new(base_url: &str, api_id: &str) -> Self {
        let base_url = base_url.trim_end_matches('/');
        let namespace = Fingerprint::EMPTY.and(base_url.as_bytes()).and(b" ").and(api_id.as_bytes()).hex();
        Self {
            base_url: base_url.into(),
            namespace,
            timeout: 30_000.0,
            preview_timeout: 300_000.0,
            max_retries: 3,
            max_credits: None,
            prices: PriceTable::SEED,
            idempotency_header: false,
        }
    }
}

/// How a charging call is made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChargeOptions {
    /// The caller's own id for this charge.
    pub operation: Option<String>,
    /// Seconds of video, for the estimate.
    pub seconds: Option<f64>,
    /// Milliseconds until the caller stops waiting. The charge goes on.
    pub timeout: Option<f64>,
}

/// How a job is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PollOptions {
    /// What is waited for. Without it: the result of the last step that this client charged for the job, else the first `done`.
    pub until: Option<Goal>,
    /// Milliseconds until the wait gives up; 30 minutes where it is not given.
    pub timeout: Option<f64>,
    /// How long such jobs take, in milliseconds.
    pub expected_ms: Option<f64>,
    /// The longest time between two looks, in milliseconds.
    pub max_interval: Option<f64>,
    /// Whether every change is wanted.
    pub attentive: bool,
}

/// How long a wait lasts where nobody says: long enough for any render that was reported.
const POLL_TIMEOUT: f64 = 1_800_000.0;
/// How long a step is expected to take before one was seen, in milliseconds; short on purpose.
const EXPECTED_PREVIEW: f64 = 10_000.0;
const EXPECTED_VIDEO: f64 = 40_000.0;
/// Requests for status in flight at once; browsers open six connections to a host.
const LOOKS_IN_FLIGHT: usize = 6;
/// How often a charge that was proven unsent is sent again.
const RESENDS: u32 = 2;
/// How long between two looks at an operation that another call is posting, in milliseconds.
const JOIN_INTERVAL: f64 = 100.0;
/// How many jobs a client remembers.
const REMEMBERED: usize = 1_000;

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

    fn caused_by(mut self, cause: Option<V>) -> Self {
        self.0.cause = cause;
        self
    }

    fn with_job(mut self, job: Option<V>) -> Self {
        self.0.job = job;
        self
    }

    fn with_body(mut self, body: Body<V>) -> Self {
        match body {
            Body::Json(value) => self.0.body = Some(value),
            // Enough to recognise a proxy's page by.
            Body::Text(text) | Body::Broken(text) => self.0.text = Some(text.chars().take(500).collect()),
        }
        self
    }

    /// A look before a charge failed: nothing that charges was sent.
    fn unsent(mut self) -> Self {
        if let Reason::Connection { .. } = self.0.error.reason() {
            let message = join(&[self.0.error.message(), " Nothing was charged."]);
            self.0.error = Error::new(Reason::Connection { sent: false }, &[&message]);
        }
        self
    }

    fn about(mut self, operation: Option<&str>, job: Option<&str>) -> Self {
        if let Some(operation) = operation {
            self.0.error = self.0.error.with_operation(operation);
        }
        if let Some(job) = job {
            self.0.error = self.0.error.with_job(job);
        }
        self
    }
}

/// An operation of the journal, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub operation: String,
    /// What the journal knows of it.
    pub entry: Entry,
}

/// Hears of a job that is watched.
pub trait Sink<V> {
    /// The job changed.
    fn update(&self, job: &V, look: poll::Look);
    /// The wait is over.
    fn end(&self, result: Result<V, Failure<V>>);
}

/// Jobs that are watched together. A client has one for all its calls where the host shares, and one
/// for each call where it does not.
pub struct Watches<V>(Rc<RefCell<WatchesInner<V>>>);

struct WatchesInner<V> {
    schedule: Schedule,
    sinks: Vec<(u32, String, Rc<dyn Sink<V>>)>,
    last: Vec<(String, V)>,
    online: bool,
    visible: bool,
    running: bool,
}

impl<V> Clone for Watches<V> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<V> Default for Watches<V> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(WatchesInner {
            schedule: Schedule::default(),
            sinks: Vec::new(),
            last: Vec::new(),
            online: true,
            visible: true,
            running: false,
        })))
    }
}

impl<V> fmt::Debug for Watches<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watches")
    }
}

impl<V> Watches<V> {
    /// Forgets a watcher, which then hears nothing more.
    pub fn unwatch(&self, key: u32) {
        let mut watches = self.0.borrow_mut();
        watches.schedule.unwatch(key);
        watches.sinks.retain(|(sink, ..)| *sink != key);
    }
}

/// What a client knows of a job that it charged for.
struct Known {
    id: String,
    step: Step,
    template: String,
    /// When the charge began, on the monotonic clock.
    since: f64,
    /// The operation that is still to be ended in the journal.
    operation: Option<String>,
}

/// How long a step took for a template, and how long the template's videos are.
struct Learned {
    template: String,
    step: Step,
    milliseconds: f64,
    seconds: Option<f64>,
}

#[derive(Default)]
struct ClientState {
    known: Vec<Known>,
    learned: Vec<Learned>,
    budget: Option<Budget>,
    /// Operations that are being posted right now.
    posting: Vec<String>,
}

/// A client of the API. Cheap to clone: the clones share everything.
pub struct Client<H: Host>(Rc<ClientInner<H>>);

struct ClientInner<H: Host> {
    host: H,
    config: Config,
    state: RefCell<ClientState>,
    watches: Watches<H::Value>,
}

impl<H: Host> Clone for Client<H> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<H: Host> fmt::Debug for Client<H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Client")
    }
}

type Outcomes<V> = Result<V, Failure<V>>;

impl<H: Host> Client<H> {
    /// A client over a host. Does nothing yet: no request, no timer, no randomness.
    pub fn new(host: H, config: Config) -> Self {
        let state = ClientState { budget: config.max_credits.map(Budget::new), ..ClientState::default() };
        Self(Rc::new(ClientInner { host, config, state: RefCell::new(state), watches: Watches::default() }))
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.0.host
    }

    /// The jobs that calls of this client watch together.
    pub fn watches(&self) -> &Watches<H::Value> {
        &self.0.watches
    }

    // ---- reads -------------------------------------------------------------------------------------

    /// The job of that id. `timeout` is for one request, in milliseconds.
    pub async fn get(&self, id: &str, timeout: Option<f64>) -> Outcomes<H::Value> {
        check_id(id)?;
        let job = self.read(Endpoint::Get, id, timeout, self.0.config.max_retries).await?;
        self.notice(&job).await;
        Ok(job)
    }

    /// The account's templates: a list.
    pub async fn templates(&self, timeout: Option<f64>) -> Outcomes<H::Value> {
        let answer = self.read(Endpoint::Templates, "", timeout, self.0.config.max_retries).await?;
        // Documented as a plain list; some clients of this API saw it wrapped as a page.
        let list = if answer.kind() == Kind::List { Some(answer.clone()) } else { answer.get("results") };
        match list {
            Some(list) if list.kind() == Kind::List => Ok(list),
            _ => Err(unexpected(200, Body::Json(answer), "The answer is no list of templates.")),
        }
    }

    /// The account's balance, in credits.
    pub async fn remaining_credits(&self, timeout: Option<f64>) -> Result<f64, Failure<H::Value>> {
        let answer = self.read(Endpoint::RemainingCredits, "", timeout, self.0.config.max_retries).await?;
        answer
            .number("remaining_credits")
            .ok_or_else(|| unexpected(200, Body::Json(answer), "The answer has no remaining_credits."))
    }

    /// What a step is expected to cost, in credits.
    pub fn estimate(&self, step: Step, seconds: f64, model: ModelVersion) -> Result<f64, Error> {
        self.0.config.prices.estimate(step, seconds, model)
    }

    /// One read, tried again while that may help.
    async fn read(&self, endpoint: Endpoint, id: &str, timeout: Option<f64>, retries: u32) -> Outcomes<H::Value> {
        let path = endpoint.path(id);
        let mut attempt = 0;
        loop {
            let reply = self.send(endpoint, &path, None, None, timeout.unwrap_or(self.0.config.timeout)).await;
            let (failure, again, asked) = match reply {
                Reply::Answered { status: 200..=299, body: Body::Json(value), .. } => match checked_read(endpoint, id, value) {
                    Ok(value) => return Ok(value),
                    Err(failure) => (failure, true, None),
                },
                Reply::Answered { status, retry_after, body } => {
                    let again = retry::is_transient(status) || (200..=299).contains(&status);
                    (answered(status, retry_after, body), again, retry_after)
                }
                Reply::Lost { cause, .. } => (connection_lost(cause), true, None),
                Reply::TimedOut => (timed_out(), true, None),
                Reply::Unusable { field, message, cause } => {
                    (Failure::from(Error::invalid(field, &[message])).caused_by(cause), false, None)
                }
            };
            let failure = failure.about(None, (endpoint == Endpoint::Get).then_some(id));
            if !again || attempt >= retries {
                return Err(failure);
            }
            let wait = retry::backoff(attempt, self.chance(), asked);
            self.host().event(Event::Retry { path: &path, in_ms: wait });
            self.sleep(wait).await;
            attempt += 1;
        }
    }

    async fn send(
        &self,
        endpoint: Endpoint,
        path: &str,
        body: Option<H::Value>,
        operation: Option<&str>,
        timeout: f64,
    ) -> Reply<H::Value> {
        self.host().event(Event::Request { method: endpoint.method(), path, operation });
        let request = Request {
            endpoint,
            url: join(&[&self.0.config.base_url, path]),
            body,
            idempotency_key: operation.filter(|_| self.0.config.idempotency_header).map(String::from),
            timeout: timeout.min(LONGEST),
        };
        self.host().send(request).await
    }

    /// Sleeps through every wake.
    async fn sleep(&self, ms: f64) {
        let until = self.host().now().monotonic + ms;
        loop {
            let left = until - self.host().now().monotonic;
            if left <= 0.0 {
                return;
            }
            self.host().sleep_or_wake(left).await;
        }
    }

    /// From 0 to 1.
    fn chance(&self) -> f64 {
        let [a, b, ..] = self.host().random();
        f64::from(u16::from_le_bytes([a, b])) / f64::from(u16::MAX)
    }

    // ---- charges -----------------------------------------------------------------------------------

    /// `POST /api/custom_template_jobs/`: straight to the video. The job comes back pending.
    pub async fn submit(&self, request: H::Value, options: ChargeOptions) -> Outcomes<H::Value> {
        self.charge(Endpoint::Submit, None, Some(request), options).await
    }

    /// `POST /api/custom_template_jobs/preview_async/`. The job comes back pending.
    pub async fn preview_async(&self, request: H::Value, options: ChargeOptions) -> Outcomes<H::Value> {
        self.charge(Endpoint::PreviewAsync, None, Some(request), options).await
    }

    /// `POST /api/custom_template_jobs/preview/`: one request that blocks until the preview is there.
    pub async fn preview_sync(&self, request: H::Value, options: ChargeOptions) -> Outcomes<H::Value> {
        self.charge(Endpoint::PreviewSync, None, Some(request), options).await
    }

    /// `POST /api/custom_template_jobs/{id}/render/`. A job that is rendered, or about to be, is returned and not charged.
    pub async fn render(&self, id: &str, request: Option<H::Value>, options: ChargeOptions) -> Outcomes<H::Value> {
        self.charge(Endpoint::Render, Some(id), request, options).await
    }

    async fn charge(
        &self,
        endpoint: Endpoint,
        render: Option<&str>,
        request: Option<H::Value>,
        options: ChargeOptions,
    ) -> Outcomes<H::Value> {
        let Some(step) = endpoint.charges() else { return Err(timed_out()) };
        if let Some(id) = render {
            check_id(id)?;
        }
        if options.operation.as_ref().is_some_and(|operation| operation.is_empty() || operation.len() > 255) {
            return Err(Error::invalid("operation", &["must be 1 to 255 characters"]).into());
        }
        let operation = match (options.operation, render) {
            (Some(operation), _) => operation,
            (None, Some(id)) => join(&["render:", id]),
            (None, None) => uuid(self.host().random()),
        };

        // The token in the webhook's URL brings the job's id even where the answer is lost.
        let request = request.map(|request| match request.text("webhook_url") {
            Some(url) => request.with_text("webhook_url", &fill_operation(&url, &operation)),
            None => request,
        });
        let checked = match &request {
            Some(request) => check_request(step, request)?,
            None => Checked::nothing(step),
        };
        let timeout = options.timeout.unwrap_or(match endpoint {
            Endpoint::PreviewSync => self.0.config.preview_timeout,
            _ => self.0.config.timeout,
        });
        let begun = self.host().now().monotonic;
        let deadline = begun + timeout;

        // Another call of this client is posting the same operation: wait for it, then see what it left.
        while self.0.state.borrow().posting.contains(&operation) {
            if self.host().now().monotonic >= deadline {
                return Err(charge_unknown().with_operation(&operation).into());
            }
            self.host().sleep_or_wake(JOIN_INTERVAL).await;
        }
        let posting = Posting::enter(self, &operation);
        let key = join(&[&self.0.config.namespace, "/", &operation]);
        let lock = self.host().lock(&key).await;
        let template = request.as_ref().and_then(|request| request.text("template_id"));
        let charge = Rc::new(Charge {
            endpoint,
            step,
            template: template.or_else(|| self.template_of(render?)).unwrap_or_default(),
            render: render.map(String::from),
            request,
            fingerprint: checked.fingerprint.and(render.unwrap_or_default().as_bytes()).hex(),
            model: checked.model,
            seconds: options.seconds,
            operation,
            key,
            begun,
            _held: (posting, lock),
        });
        let result = self.charge_once(&charge, deadline).await;
        result.map_err(|failure| failure.about(Some(&charge.operation), charge.render.as_deref()))
    }

    async fn charge_once(&self, charge: &Rc<Charge<H>>, deadline: f64) -> Outcomes<H::Value> {
        // One look first: what is rendered or being rendered is not paid for again.
        let mut before = None;
        if let Some(id) = &charge.render {
            let job = self.read(Endpoint::Get, id, None, self.0.config.max_retries).await.map_err(Failure::unsent)?;
            before = JobFacts::read(&job);
            if before.as_ref().is_some_and(JobFacts::is_rendered_or_rendering) {
                self.remember(charge, id);
                self.bind_if_open(charge, id).await;
                return Ok(job);
            }
        }

        let mut attempt = 0;
        loop {
            if let Some(result) = self.create(charge, before.as_ref()).await? {
                return result;
            }
            if !self.host().env().online {
                self.forget(charge).await;
                return Err(Error::new(Reason::Connection { sent: false }, &["The machine is offline; nothing was sent."]).into());
            }
            if let Err(error) = self.reserve(charge) {
                self.forget(charge).await;
                return Err(error.into());
            }

            // From here on the charge outlives its caller: whoever drops this future only stops waiting.
            let post = Detached::new(self.host(), {
                let (client, charge) = (self.clone(), Rc::clone(charge));
                async move { client.post(&charge).await }
            });
            let left = deadline - self.host().now().monotonic;
            let Some((verdict, reply)) = either(post, pin!(self.sleep(left))).await else {
                return Err(charge_unknown().into());
            };
            match (verdict, reply) {
                (Verdict::Bound(id), Reply::Answered { body: Body::Json(job), .. })
                    if JobFacts::read(&job).is_some_and(|facts| facts.id == id) =>
                {
                    self.notice(&job).await;
                    return Ok(job);
                }
                // The id is known, and the job did not come with it whole.
                (Verdict::Bound(id), _) => return self.get(&id, None).await,
                (Verdict::NotSent, Reply::Lost { cause, .. }) => {
                    let wait = retry::backoff(attempt, self.chance(), None);
                    if attempt >= RESENDS || self.host().now().monotonic + wait >= deadline {
                        let message = "The server could not be reached; nothing was sent. Try again later.";
                        let error = Error::new(Reason::Connection { sent: false }, &[message]);
                        return Err(Failure::from(error).caused_by(cause));
                    }
                    self.host().event(Event::Retry { path: &charge.path(), in_ms: wait });
                    self.sleep(wait).await;
                    attempt += 1;
                }
                (Verdict::Rejected, Reply::Answered { status, retry_after, body }) => {
                    return Err(answered(status, retry_after, body));
                }
                (Verdict::Rejected, Reply::Unusable { field, message, cause }) => {
                    return Err(Failure::from(Error::invalid(field, &[message])).caused_by(cause));
                }
                (_, reply) => return self.look_after(charge, before.as_ref(), reply).await,
            }
        }
    }

    /// Writes the operation down. `Some` is what the one that stands there already comes to.
    async fn create(
        &self,
        charge: &Charge<H>,
        before: Option<&JobFacts>,
    ) -> Result<Option<Outcomes<H::Value>>, Failure<H::Value>> {
        let entry = charge.entry(State::Posting, self.host().now().wall);
        loop {
            if self.host().journal_create(&charge.key, &entry.encode()).await.map_err(journal_failed)? {
                return Ok(None);
            }
            let found = self.host().journal_read(&charge.key).await.map_err(journal_failed)?;
            let Some(found) = found else { continue };
            return match charge::claim(Entry::decode(&found).as_ref(), charge.step, &charge.fingerprint) {
                // A render that failed may be asked for again, and is paid for again.
                Claim::Fetch(_) if before.is_some_and(|facts| facts.status.is_failure()) => {
                    self.host().journal_delete(&charge.key).await.map_err(journal_failed)?;
                    continue;
                }
                Claim::Fetch(id) => {
                    self.remember(charge, &id);
                    Ok(Some(self.get(&id, None).await))
                }
                Claim::Unknown => Err(charge_unknown().into()),
                Claim::Conflict => Err(Error::new(
                    Reason::OperationConflict,
                    &["This operation id was used before for another request; nothing was sent. Use a new id."],
                )
                .into()),
            };
        }
    }

    /// Posts once, and writes down what came of it.
    async fn post(&self, charge: &Charge<H>) -> (Verdict, Reply<H::Value>) {
        let timeout = self.0.config.preview_timeout.max(self.0.config.timeout);
        let path = charge.path();
        let reply = self.send(charge.endpoint, &path, charge.request.clone(), Some(&charge.operation), timeout).await;
        let verdict = {
            let facts_id;
            let outcome = match &reply {
                Reply::Answered { status, body, .. } => {
                    let id = match body {
                        Body::Json(job) => {
                            facts_id = JobFacts::read(job).map(|facts| facts.id);
                            facts_id.as_deref()
                        }
                        Body::Broken(text) => charge::salvage_id(text),
                        Body::Text(_) => None,
                    };
                    Outcome::Answered(*status, id)
                }
                Reply::Lost { code, .. } => Outcome::Lost(code),
                Reply::TimedOut => Outcome::TimedOut,
                Reply::Unusable { .. } => Outcome::Unusable,
            };
            charge::verdict(outcome, charge.render.as_deref())
        };
        self.host().event(Event::Verdict {
            operation: &charge.operation,
            verdict: verdict.as_str(),
            job: if let Verdict::Bound(id) = &verdict { Some(id) } else { None },
        });
        match &verdict {
            Verdict::Bound(id) => {
                self.remember(charge, id);
                self.bind(charge, id).await;
            }
            Verdict::Rejected | Verdict::NotSent => self.forget(charge).await,
            Verdict::Unknown => self.write(charge, State::Unknown).await,
        }
        (verdict, reply)
    }

    /// Looks whether a render whose answer was lost was carried out. The other steps have no id to look at.
    async fn look_after(&self, charge: &Charge<H>, before: Option<&JobFacts>, reply: Reply<H::Value>) -> Outcomes<H::Value> {
        let mut failure = match reply {
            Reply::Lost { cause, .. } => connection_lost(cause),
            Reply::Answered { status, retry_after, body } => answered(status, retry_after, body),
            _ => timed_out(),
        };
        failure.0.error = charge_unknown();
        if let (Some(id), Some(before)) = (&charge.render, before) {
            if let Ok(job) = self.get(id, None).await {
                if JobFacts::read(&job).is_some_and(|after| was_touched(before, &after)) {
                    self.remember(charge, id);
                    self.bind(charge, id).await;
                    return Ok(job);
                }
                failure.0.job = Some(job);
            }
        }
        Err(failure)
    }

    fn reserve(&self, charge: &Charge<H>) -> Result<(), Error> {
        let mut state = self.0.state.borrow_mut();
        let learned = state.learned.iter().find(|learned| learned.template == charge.template && learned.seconds.is_some());
        let seconds = charge.seconds.or(learned.and_then(|learned| learned.seconds));
        let Some(budget) = &mut state.budget else { return Ok(()) };
        let Some(seconds) = seconds else {
            return Err(Error::invalid("seconds", &["must be given where maxCredits is set: the length of the video"]));
        };
        budget.reserve(&charge.operation, self.0.config.prices.estimate(charge.step, seconds, charge.model)?)
    }

    /// A verdict that cannot be written does not take the answer from the caller: the entry then still
    /// says posting, which is never sent again either.
    async fn write(&self, charge: &Charge<H>, state: State) {
        let entry = charge.entry(state, self.host().now().wall).encode();
        let _ = self.host().journal_write(&charge.key, &entry).await;
    }

    async fn bind(&self, charge: &Charge<H>, id: &str) {
        self.write(charge, State::Bound(id.into())).await;
    }

    /// Binds the operation where the journal has it open: an earlier render whose outcome was unknown.
    async fn bind_if_open(&self, charge: &Charge<H>, id: &str) {
        if let Ok(Some(text)) = self.host().journal_read(&charge.key).await {
            let found = Entry::decode(&text);
            if charge::claim(found.as_ref(), charge.step, &charge.fingerprint) == Claim::Unknown {
                self.bind(charge, id).await;
            }
        }
    }

    /// Nothing was charged: the id is free for another try, and the budget gets its credits back.
    async fn forget(&self, charge: &Charge<H>) {
        if let Some(budget) = &mut self.0.state.borrow_mut().budget {
            budget.settle(&charge.operation, 0.0);
        }
        let _ = self.host().journal_delete(&charge.key).await;
    }

    fn remember(&self, charge: &Charge<H>, id: &str) {
        let mut state = self.0.state.borrow_mut();
        state.known.retain(|known| known.id != id);
        if state.known.len() >= REMEMBERED {
            state.known.remove(0);
        }
        state.known.push(Known {
            id: id.into(),
            step: charge.step,
            template: charge.template.clone(),
            since: charge.begun,
            operation: Some(charge.operation.clone()),
        });
    }

    fn template_of(&self, id: &str) -> Option<String> {
        self.0.state.borrow().known.iter().find(|known| known.id == id).map(|known| known.template.clone())
    }

    // ---- the journal -------------------------------------------------------------------------------

    /// What the journal knows and has not seen end.
    pub async fn pending(&self) -> Result<Vec<Operation>, Failure<H::Value>> {
        let prefix = join(&[&self.0.config.namespace, "/"]);
        let mut operations = Vec::new();
        for key in self.host().journal_list(&prefix).await.map_err(journal_failed)? {
            let Some(operation) = key.strip_prefix(&prefix) else { continue };
            let Some(text) = self.host().journal_read(&key).await.map_err(journal_failed)? else { continue };
            if let Some(entry) = Entry::decode(&text).filter(|entry| !matches!(entry.state, State::Ended(_))) {
                operations.push(Operation { operation: operation.into(), entry });
            }
        }
        Ok(operations)
    }

    /// Looks again at an operation whose outcome is unknown. `job` is the id, where the caller has found it.
    pub async fn settle(&self, operation: &str, job: Option<&str>) -> Result<Operation, Failure<H::Value>> {
        if let Some(id) = job {
            check_id(id)?;
        }
        let key = join(&[&self.0.config.namespace, "/", operation]);
        let found = self.host().journal_read(&key).await.map_err(journal_failed)?;
        let Some(mut entry) = found.as_deref().and_then(Entry::decode) else {
            return Err(Error::invalid("operation", &["is not in the journal: never sent, refused, or expired"])
                .with_operation(operation)
                .into());
        };
        let posting = self.0.state.borrow().posting.iter().any(|posting| posting == operation);
        if entry.job().is_none() && !posting {
            let rendered = operation.strip_prefix("render:").filter(|_| entry.step == Step::Render);
            let found = match (job, rendered) {
                (Some(id), _) => self.get(id, None).await.map(|_| Some(id))?,
                // Only what is rendered or being rendered proves that the render was carried out.
                (None, Some(id)) => {
                    let job = self.get(id, None).await?;
                    JobFacts::read(&job).filter(JobFacts::is_rendered_or_rendering).map(|_| id)
                }
                (None, None) => None,
            };
            let found = match found {
                Some(id) => Some(String::from(id)),
                None => self.listed(operation, entry.at as f64).await,
            };
            entry.state = found.map_or(State::Unknown, State::Bound);
            self.host().journal_write(&key, &entry.encode()).await.map_err(journal_failed)?;
        }
        Ok(Operation { operation: operation.into(), entry })
    }

    /// The id of the job that carries the operation's token, where the caller knows a way to list jobs.
    async fn listed(&self, operation: &str, since: f64) -> Option<String> {
        let jobs = self.host().list_jobs(since).await?;
        for at in jobs.keys() {
            let job = jobs.get(&at)?;
            if job.text("webhook_url").is_some_and(|url| contains(&url, operation)) {
                return JobFacts::read(&job).map(|facts| facts.id);
            }
        }
        None
    }

    /// Takes in where a job stands. Once it has ended: the journal's entry, the budget, the durations learned.
    async fn notice(&self, job: &H::Value) {
        let Some(facts) = JobFacts::read(job) else { return };
        let Some(operation) = self.take_ended(&facts) else { return };
        let key = join(&[&self.0.config.namespace, "/", &operation]);
        if let Ok(Some(text)) = self.host().journal_read(&key).await {
            if let Some(mut entry) = Entry::decode(&text) {
                entry.state = State::Ended(facts.id);
                let _ = self.host().journal_write(&key, &entry.encode()).await;
            }
        }
    }

    /// The operation that ended with this, the first time that it is seen.
    fn take_ended(&self, facts: &JobFacts) -> Option<String> {
        let took_until = self.host().now().monotonic;
        let state = &mut *self.0.state.borrow_mut();
        let known = state.known.iter_mut().find(|known| known.id == facts.id)?;
        let reached = facts.meets(known.step.goal());
        if !reached && !facts.status.is_failure() {
            return None;
        }
        let operation = known.operation.take()?;
        if reached {
            // A failed job that reports nothing may be refunded or not: its reservation stays.
            if let (Some(budget), Some(credits)) = (&mut state.budget, facts.credits_used.filter(|credits| *credits > 0.0)) {
                budget.settle(&operation, credits);
            }
            let took = took_until - known.since;
            let seconds = facts.duration.filter(|seconds| *seconds > 0.0);
            let learned = state.learned.iter_mut().find(|learned| learned.template == known.template && learned.step == known.step);
            if let Some(learned) = learned {
                learned.milliseconds += (took - learned.milliseconds) * 0.3;
                learned.seconds = seconds.or(learned.seconds);
            } else if state.learned.len() < REMEMBERED {
                let (template, step) = (known.template.clone(), known.step);
                state.learned.push(Learned { template, step, milliseconds: took, seconds });
            }
        }
        Some(operation)
    }

    // ---- waiting -----------------------------------------------------------------------------------

    /// Watches a job: the sink hears of every change and of the end. Needs `run` on the same watches.
    ///
    /// # Errors
    /// `InvalidRequestError` where the id is none. Nothing is watched then.
    pub fn watch(
        &self,
        watches: &Watches<H::Value>,
        id: &str,
        job: Option<H::Value>,
        options: PollOptions,
        sink: Rc<dyn Sink<H::Value>>,
    ) -> Result<u32, Error> {
        check_id(id)?;
        let now = self.host().now();
        let facts = job.as_ref().and_then(JobFacts::read);
        let state = self.0.state.borrow();
        let known = state.known.iter().find(|known| known.id == id);
        let goal = options.until.or(known.map(|known| known.step.goal())).unwrap_or(Goal::Done);
        if let (Some(job), Some(facts)) = (&job, &facts) {
            if facts.meets(goal) {
                sink.end(Ok(job.clone()));
                return Ok(0);
            }
        }
        let learned = known.and_then(|known| {
            state.learned.iter().find(|learned| learned.template == known.template && learned.step == known.step)
        });
        let expected = options.expected_ms.filter(|ms| *ms > 0.0).or(learned.map(|learned| learned.milliseconds));
        let expected = expected.unwrap_or(if goal == Goal::Preview { EXPECTED_PREVIEW } else { EXPECTED_VIDEO });
        let since = known.map_or(now.monotonic, |known| known.since);
        drop(state);

        let timeout = options.timeout.filter(|timeout| *timeout >= 0.0).unwrap_or(POLL_TIMEOUT).min(LONGEST);
        let wish = Wish {
            goal,
            deadline: now.monotonic + timeout,
            attentive: options.attentive,
            max_interval: options.max_interval.filter(|interval| *interval > 0.0),
        };
        // A job that has ended otherwise is looked at once more before it is believed: the copy may be old.
        let facts = facts.filter(|facts| facts.status.is_active());
        let mut inner = watches.0.borrow_mut();
        let key = inner.schedule.watch(id, facts, wish, Memory::new(since, expected), now);
        inner.sinks.push((key, id.into(), sink));
        drop(inner);
        self.host().wake();
        Ok(key)
    }

    /// Looks at everything that is watched until nothing is. A second call on the same watches returns at once.
    pub async fn run(&self, watches: &Watches<H::Value>) {
        {
            let mut inner = watches.0.borrow_mut();
            if inner.running {
                return;
            }
            inner.running = true;
        }
        let _running = Running(watches.clone());
        let mut looks: Vec<Pin<Box<dyn Future<Output = (String, Outcomes<H::Value>)>>>> = Vec::new();
        loop {
            let (now, env) = (self.host().now(), self.host().env());
            let mut expired = Vec::new();
            {
                let inner = &mut *watches.0.borrow_mut();
                if (env.online && !inner.online) || (env.visible && !inner.visible) {
                    inner.schedule.look_now(now);
                }
                (inner.online, inner.visible) = (env.online, env.visible);
                for key in inner.schedule.expire(now) {
                    expired.extend(inner.take(key));
                }
            }
            for (id, sink, job) in expired {
                if let Some(error) = poll::ending(Notice::Deadline, None, &id) {
                    sink.end(Err(Failure::from(error).with_job(job)));
                }
            }
            while looks.len() < LOOKS_IN_FLIGHT {
                let Some(id) = watches.0.borrow_mut().schedule.take_due(now, env) else { break };
                let client = self.clone();
                looks.push(Box::pin(async move {
                    // The schedule does the trying again: an outage must not hold a place in flight.
                    let result = client.read(Endpoint::Get, &id, None, 0).await;
                    (id, result)
                }));
            }
            for (id, job) in self.host().published() {
                self.looked(watches, &id, Ok(job)).await;
            }
            let (empty, idle) = {
                let inner = watches.0.borrow();
                let full = looks.len() >= LOOKS_IN_FLIGHT;
                (inner.schedule.is_empty(), if full { LONGEST } else { inner.schedule.idle(now, env) })
            };
            if empty {
                return;
            }
            let arrived = either(Arrival(&mut looks), pin!(self.host().sleep_or_wake(idle))).await;
            if let Some((id, result)) = arrived {
                if let Ok(job) = &result {
                    self.host().publish(&id, job);
                }
                self.looked(watches, &id, result).await;
            }
        }
    }

    /// Takes in one look, and tells whoever watches the job.
    async fn looked(&self, watches: &Watches<H::Value>, id: &str, result: Outcomes<H::Value>) {
        let (now, env, chance) = (self.host().now(), self.host().env(), self.chance());
        let facts = result.as_ref().ok().and_then(JobFacts::read);
        if let Ok(job) = &result {
            self.notice(job).await;
        }
        let told = {
            let inner = &mut *watches.0.borrow_mut();
            let seen = match (&result, &facts) {
                (Ok(_), Some(facts)) => Seen::Job(facts),
                (Err(failure), _) => match failure.error().reason() {
                    Reason::Api { status: 401 | 403 | 404, .. } | Reason::InvalidRequest { .. } => Seen::Refusal,
                    Reason::Api { retry_after_ms, .. } => Seen::Failure(*retry_after_ms),
                    _ => Seen::Failure(None),
                },
                _ => Seen::Failure(None),
            };
            let notices = inner.schedule.seen(id, &seen, now, env, chance);
            if let Ok(job) = &result {
                inner.last.retain(|(known, _)| known != id);
                inner.last.push((id.into(), job.clone()));
            }
            let mut told = Vec::new();
            for (key, notice) in notices {
                let sink = if notice.is_final() {
                    inner.take(key).map(|(_, sink, _)| sink)
                } else {
                    inner.sinks.iter().find(|(sink, ..)| *sink == key).map(|(_, _, sink)| Rc::clone(sink))
                };
                told.extend(sink.map(|sink| (sink, notice)));
            }
            told
        };
        // No borrow lives here: a sink may call back into the client.
        for (sink, notice) in told {
            match (&result, notice) {
                (Ok(job), Notice::Update(look)) => {
                    self.host().event(Event::Look { job: id, in_ms: look.in_ms });
                    sink.update(job, look);
                }
                (Ok(job), Notice::Reached) => sink.end(Ok(job.clone())),
                (Ok(job), notice) => {
                    if let Some(error) = poll::ending(notice, facts.as_ref(), id) {
                        sink.end(Err(Failure::from(error).with_job(Some(job.clone()))));
                    }
                }
                (Err(failure), _) => sink.end(Err(failure.clone())),
            }
        }
    }

    /// Waits until a job's preview or video is there. The wait is this call's own.
    pub async fn poll(&self, id: &str, job: Option<H::Value>, options: PollOptions) -> Outcomes<H::Value> {
        let watches = Watches::default();
        let slot = Rc::new(Slot(RefCell::new(None)));
        self.watch(&watches, id, job, options, Rc::clone(&slot) as Rc<dyn Sink<H::Value>>)?;
        self.run(&watches).await;
        let result = slot.0.borrow_mut().take();
        result.unwrap_or_else(|| Err(timed_out()))
    }

    /// A preview that is waited for: `preview_async`, then `poll`.
    pub async fn preview(&self, request: H::Value, charge: ChargeOptions, wait: PollOptions) -> Outcomes<H::Value> {
        let job = self.preview_async(request, charge).await?;
        let Some(facts) = JobFacts::read(&job) else { return Ok(job) };
        self.poll(&facts.id, Some(job), PollOptions { until: Some(Goal::Preview), ..wait }).await
    }
}

impl<V: Clone> WatchesInner<V> {
    /// Takes a watcher's sink out, with the job as last seen. Forgets the job with its last watcher.
    fn take(&mut self, key: u32) -> Option<(String, Rc<dyn Sink<V>>, Option<V>)> {
        let at = self.sinks.iter().position(|(sink, ..)| *sink == key)?;
        let (_, id, sink) = self.sinks.remove(at);
        let job = self.last.iter().find(|(known, _)| *known == id).map(|(_, job)| job.clone());
        if !self.sinks.iter().any(|(_, other, _)| *other == id) {
            self.last.retain(|(known, _)| *known != id);
        }
        Some((id, sink, job))
    }
}

/// Marks the watches as not being run, however `run` ends.
struct Running<V>(Watches<V>);

impl<V> Drop for Running<V> {
    fn drop(&mut self) {
        self.0.0.borrow_mut().running = false;
    }
}

/// Where `poll` finds its result.
struct Slot<V>(RefCell<Option<Outcomes<V>>>);

impl<V> Sink<V> for Slot<V> {
    fn update(&self, _job: &V, _look: poll::Look) {}

    fn end(&self, result: Outcomes<V>) {
        *self.0.borrow_mut() = Some(result);
    }
}

/// One charge, from its request to its verdict.
struct Charge<H: Host> {
    endpoint: Endpoint,
    step: Step,
    template: String,
    /// The job that is rendered.
    render: Option<String>,
    request: Option<H::Value>,
    fingerprint: String,
    model: ModelVersion,
    seconds: Option<f64>,
    operation: String,
    /// Where the journal has it.
    key: String,
    /// When it began, on the monotonic clock.
    begun: f64,
    /// Kept as long as anybody posts this: no other call and no other tab may.
    _held: (Posting<H>, Box<dyn Any>),
}

impl<H: Host> Charge<H> {
    fn path(&self) -> String {
        self.endpoint.path(self.render.as_deref().unwrap_or_default())
    }

    fn entry(&self, state: State, wall: f64) -> Entry {
        Entry { state, step: self.step, fingerprint: self.fingerprint.clone(), at: wall as u64 }
    }
}

/// Marks an operation as being posted by this client.
struct Posting<H: Host> {
    client: Client<H>,
    operation: String,
}

impl<H: Host> Posting<H> {
    fn enter(client: &Client<H>, operation: &str) -> Self {
        client.0.state.borrow_mut().posting.push(operation.into());
        Self { client: client.clone(), operation: operation.into() }
    }
}

impl<H: Host> Drop for Posting<H> {
    fn drop(&mut self) {
        self.client.0.state.borrow_mut().posting.retain(|operation| *operation != self.operation);
        self.client.host().wake();
    }
}

/// A future that runs on by itself when whoever waits for it goes away.
struct Detached<H: Host, T: 'static> {
    host: H,
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
}

impl<H: Host, T> Detached<H, T> {
    fn new(host: &H, future: impl Future<Output = T> + 'static) -> Self {
        Self { host: host.clone(), future: Some(Box::pin(future)) }
    }
}

impl<H: Host, T> Future for Detached<H, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let output = std::task::ready!(future.as_mut().poll(context));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<H: Host, T> Drop for Detached<H, T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.host.spawn(Box::pin(async move {
                future.await;
            }));
        }
    }
}

/// The first of several futures to end; it is taken out.
struct Arrival<'a, T>(&'a mut Vec<Pin<Box<dyn Future<Output = T>>>>);

impl<T> Future for Arrival<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut arrived = None;
        self.0.retain_mut(|future| {
            if arrived.is_none() {
                if let Poll::Ready(output) = future.as_mut().poll(context) {
                    arrived = Some(output);
                    return false;
                }
            }
            true
        });
        arrived.map_or(Poll::Pending, Poll::Ready)
    }
}

/// What the first future ends with, or `None` where the second ends earlier.
pub(crate) async fn either<A: Future + Unpin, B: Future + Unpin>(mut first: A, mut second: B) -> Option<A::Output> {
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = Pin::new(&mut first).poll(context) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut second).poll(context).map(|_| None)
    })
    .await
}

/// A version 4 UUID of random bits.
fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (at, byte) in random.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
        }
    }
    text
}

/// Puts the operation id where a webhook's URL says `{operation}`.
fn fill_operation(url: &str, operation: &str) -> String {
    let place = OPERATION_PLACEHOLDER.as_bytes();
    let Some(at) = url.as_bytes().windows(place.len()).position(|window| window == place) else { return url.into() };
    join(&[url.get(..at).unwrap_or_default(), operation, url.get(at + place.len()..).unwrap_or_default()])
}

/// `str::contains` for a text brings 5 KB of search machinery.
fn contains(text: &str, part: &str) -> bool {
    text.len() >= part.len()
        && text.as_bytes().windows(part.len().max(1)).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

/// Whether anything shows that a render was carried out between two looks.
fn was_touched(before: &JobFacts, after: &JobFacts) -> bool {
    after.is_rendered_or_rendering()
        || after.status != before.status
        || after.updated_at != before.updated_at
        || after.credits_used != before.credits_used
}

/// A whole JSON answer to a read, if it is what was asked for.
fn checked_read<V: Value>(endpoint: Endpoint, id: &str, value: V) -> Outcomes<V> {
    if endpoint == Endpoint::Get && JobFacts::read(&value).is_none_or(|facts| !facts.id.eq_ignore_ascii_case(id)) {
        return Err(unexpected(200, Body::Json(value), "The answer is not the job that was asked for."));
    }
    Ok(value)
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
        400..=499 => (ApiKind::Invalid, "Mend the request."),
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
    let retry_after_ms = retry_after.map(retry::clamp_retry_after);
    let error = Error::new(
        Reason::Api { status, kind, retry_after_ms },
        &[&digits(status.into()), " ", &said, " ", advice],
    );
    Failure::from(error).with_body(body)
}

/// The first thing that an error body says, in the shapes that Django REST Framework has: `detail`, a
/// list of texts, or a list of texts for each field.
fn said<V: Value>(body: &V) -> Option<String> {
    match body.kind() {
        Kind::Text(text) => Some(text),
        Kind::List => said(&body.get("0")?),
        Kind::Object => match body.text("detail") {
            Some(detail) => Some(detail),
            None => body.keys().iter().find_map(|key| Some(join(&[key, ": ", &said(&body.get(key)?)?]))),
        },
        _ => None,
    }
}

fn connection_lost<V>(cause: Option<V>) -> Failure<V> {
    let message = "No answer came: the connection failed, or the browser blocked it (CORS). Check baseUrl and the network.";
    Failure::from(Error::new(Reason::Connection { sent: true }, &[message])).caused_by(cause)
}

fn timed_out<V>() -> Failure<V> {
    Error::new(Reason::Connection { sent: true }, &["No answer came in time. Raise timeout, or try again later."]).into()
}

fn charge_unknown() -> Error {
    Error::new(
        Reason::ChargeUnknown,
        &["The request was sent and its outcome is not known, so it may have been charged. It is not sent again:            call settle(operation) or look at your account before you start a new one."],
    )
}

fn journal_failed<V>(fault: JournalFault<V>) -> Failure<V> {
    let message = "The journal cannot be used, so nothing was sent. Free some storage, or pass journal: \"memory\".";
    Failure::from(Error::new(Reason::Journal, &[message])).caused_by(fault.0)
}
