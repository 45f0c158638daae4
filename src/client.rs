//! Client: one method for each call, and with its parts the only module that meets the host's values.

mod answer;
mod charging;
mod known;
mod tasks;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod watching;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

pub use self::answer::{Failure, Outcome, credits_of};
use self::answer::{Journaled, contains, judged, list_failed};
use self::known::Known;
use self::tasks::Unheard;
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) use self::tasks::either;
pub use self::watching::{Sink, Watches};
use crate::api::{Endpoint, Goal, JobFacts, ModelVersion, Step, check_id};
use crate::charge::{Entry, State};
use crate::credits::PriceTable;
use crate::error::{Error, join};
use crate::host::{Event, Host, JournalCall, Reply, Request};
use crate::poll::LONGEST;
use crate::retry;
use crate::value::{Fingerprint, Value};

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
        let mut base_url = base_url;
        while let Some(shorter) = base_url.strip_suffix("/") {
            base_url = shorter;
        }
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

/// An operation of the journal, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub operation: String,
    /// What the journal knows of it.
    pub entry: Entry,
}

/// A call under way. Boxed, so that each of the many places that wait for one holds a pointer and not the whole of it.
pub type Calling<V> = Pin<Box<dyn Future<Output = Outcome<V>>>>;

/// A call under way that comes to something else than a job.
pub type Answering<T, V> = Pin<Box<dyn Future<Output = Result<T, Failure<V>>>>>;

/// A client of the API. Cheap to clone: the clones share everything.
pub struct Client<H: Host>(Rc<ClientInner<H>>);

struct ClientInner<H: Host> {
    host: H,
    config: Config,
    known: RefCell<Known>,
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

impl<H: Host> Client<H> {
    /// A client over a host. Does nothing yet: no request, no timer, no randomness.
    pub fn new(host: H, config: Config) -> Self {
        let known = RefCell::new(Known::new(config.max_credits));
        Self(Rc::new(ClientInner { host, config, known, watches: Watches::default() }))
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.0.host
    }

    /// The jobs that calls of this client watch together.
    pub fn watches(&self) -> &Watches<H::Value> {
        &self.0.watches
    }

    /// The job of that id. `timeout` is for one request, in milliseconds.
    pub fn get(&self, id: &str, timeout: Option<f64>) -> Calling<H::Value> {
        self.read(Endpoint::Get, id, timeout, self.0.config.max_retries, true)
    }

    /// The account's templates: a list.
    pub fn templates(&self, timeout: Option<f64>) -> Calling<H::Value> {
        self.read(Endpoint::Templates, "", timeout, self.0.config.max_retries, false)
    }

    /// The account's balance, in credits.
    pub async fn remaining_credits(&self, timeout: Option<f64>) -> Result<f64, Failure<H::Value>> {
        credits_of(self.balance(timeout).await?)
    }

    /// The account's balance as the API answered it, for [`credits_of`].
    pub fn balance(&self, timeout: Option<f64>) -> Calling<H::Value> {
        self.read(Endpoint::RemainingCredits, "", timeout, self.0.config.max_retries, false)
    }

    /// What a step is expected to cost, in credits.
    pub fn estimate(&self, step: Step, seconds: f64, model: ModelVersion) -> Result<f64, Error> {
        self.0.config.prices.estimate(step, seconds, model)
    }

    /// One read, tried again while that may help. `notice` takes in where the job stands.
    fn read(&self, endpoint: Endpoint, id: &str, timeout: Option<f64>, retries: u32, notice: bool) -> Calling<H::Value> {
        let timeout = timeout.unwrap_or(self.0.config.timeout);
        Box::pin(self.clone().reading(endpoint, id.into(), timeout, retries, notice))
    }

    async fn reading(self, endpoint: Endpoint, id: String, timeout: f64, retries: u32, notice: bool) -> Outcome<H::Value> {
        if endpoint == Endpoint::Get {
            check_id(&id)?;
        }
        let path = endpoint.path(&id);
        let mut attempt = 0;
        loop {
            let reply = self.send(endpoint, &path, None, None, timeout).await;
            let (failure, again, asked) = match judged(endpoint, &id, reply) {
                Ok(value) => {
                    if notice {
                        self.notice(&value);
                    }
                    return Ok(value);
                }
                Err(judged) => judged,
            };
            if !again || attempt >= retries {
                return Err(failure);
            }
            let wait = retry::backoff(attempt, self.host().random(), asked);
            self.host().event(Event::Retry { path: &path, in_ms: wait });
            Unheard(self.host().sleep(wait)).await;
            attempt += 1;
        }
    }

    fn send(
        &self,
        endpoint: Endpoint,
        path: &str,
        body: Option<H::Value>,
        operation: Option<&str>,
        timeout: f64,
    ) -> impl Future<Output = Reply<H::Value>> + use<'_, H> {
        self.host().event(Event::Request { method: endpoint.method(), path, operation });
        self.host().send(Request {
            endpoint,
            url: join(&[&self.0.config.base_url, path]),
            body,
            idempotency_key: operation.filter(|_| self.0.config.idempotency_header).map(String::from),
            timeout: timeout.min(LONGEST),
        })
    }

    /// What the journal knows and has not seen end.
    pub fn pending(&self) -> Answering<Vec<Operation>, H::Value> {
        Box::pin(self.clone().reading_all())
    }

    async fn reading_all(self) -> Result<Vec<Operation>, Failure<H::Value>> {
        let prefix = self.key("");
        let ids = self.journal(JournalCall::List, &prefix, "").await?;
        let mut operations = Vec::new();
        for at in &ids.keys() {
            let Some(key) = ids.text(at) else { continue };
            let Some(operation) = key.strip_prefix(&prefix) else { continue };
            let Some(entry) = entry_of(&self.journal(JournalCall::Read, &key, "").await?) else { continue };
            if !matches!(entry.state, State::Ended(_)) {
                self.recall(operation, &entry);
                operations.push(Operation { operation: operation.into(), entry });
            }
        }
        Ok(operations)
    }

    /// Uses the journal for a call that cannot do without it.
    fn journal(&self, call: JournalCall, key: &str, entry: &str) -> Journaled<H::Wait> {
        Journaled(self.host().journal(call, key, entry))
    }

    fn recall(&self, operation: &str, entry: &Entry) {
        self.0.known.borrow_mut().recall(operation, entry, self.host().now().monotonic);
    }

    /// Looks again at an operation whose outcome is unknown. `job` is the id, where the caller has found it.
    pub fn settle(&self, operation: &str, job: Option<String>) -> Answering<Operation, H::Value> {
        Box::pin(self.clone().settling(operation.into(), job))
    }

    async fn settling(self, operation: String, job: Option<String>) -> Result<Operation, Failure<H::Value>> {
        if let Some(id) = &job {
            check_id(id)?;
        }
        let key = self.key(&operation);
        let Some(mut entry) = entry_of(&self.journal(JournalCall::Read, &key, "").await?) else {
            let message = "is not in the journal: it was never sent, was refused, or has expired";
            return Err(Error::invalid("operation", &[message]).with_operation(&operation).into());
        };
        if entry.job().is_none() && !self.0.known.borrow().posting.contains(&operation) {
            let rendered = operation.strip_prefix("render:").filter(|_| entry.step == Step::Render);
            let given = job.is_some();
            entry.state = State::Unknown;
            if let Some(id) = job.or_else(|| rendered.map(String::from)) {
                let job = self.get(&id, None).await?;
                // Only what is rendered or being rendered proves that the render was carried out.
                if let Some(facts) = JobFacts::read(&job)
                    && (given || facts.is_rendered_or_rendering())
                {
                    entry.state = State::Bound(facts.id);
                }
            } else if let Some(listing) = self.host().list_jobs(entry.at as f64)
                && let Some(id) = carrier(&listing.await.map_err(list_failed)?, &operation)
            {
                entry.state = State::Bound(id);
            }
            self.recall(&operation, &entry);
            self.journal(JournalCall::Write, &key, &entry.encode()).await?;
        }
        Ok(Operation { operation, entry })
    }

    /// Takes in where a job stands, and writes down that its operation ended once it has.
    fn notice(&self, job: &H::Value) {
        let Some(facts) = JobFacts::read(job) else { return };
        let now = self.host().now().monotonic;
        let ended = self.0.known.borrow_mut().end(&facts, now);
        self.write_end(ended);
    }

    fn write_end(&self, ended: Option<Box<Operation>>) {
        let Some(ended) = ended else { return };
        let written = self.host().journal(JournalCall::Write, &self.key(&ended.operation), &ended.entry.encode());
        // Nobody waits for it: at worst the operation is still pending after a reload, and ends then.
        self.host().spawn(Box::pin(Unheard(written)));
    }

    /// Where the journal has an operation.
    fn key(&self, operation: &str) -> String {
        join(&[&self.0.config.namespace, "/", operation])
    }
}

/// The entry that the journal answered with.
fn entry_of<V: Value>(found: &V) -> Option<Entry> {
    Entry::decode(&found.as_text()?)
}

/// The id of the job that carries an operation's token in its webhook's URL.
fn carrier<V: Value>(jobs: &V, operation: &str) -> Option<String> {
    for at in &jobs.keys() {
        if let Some(job) = jobs.get(at)
            && job.text("webhook_url").is_some_and(|url| contains(&url, operation))
        {
            return JobFacts::id_of(&job);
        }
    }
    None
}
