//! The trait `Host`: everything that the core needs from its environment.
//!
//! There are two implementations: one over `fetch` for browsers, workers, Node, Deno and Bun (`web`), and one with virtual
//! time for tests. A host decides nothing.

use std::future::Future;

use crate::api::{Endpoint, Step};
use crate::job::JobFields;
use crate::member::Member;

/// The state of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Whether the page is visible. True without a page.
    pub visible: bool,
    /// Whether the platform reports a network.
    pub online: bool,
}

/// One HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Base URL and path.
    pub url: &'a str,
    /// The JSON body, if there is one.
    pub body: Option<&'a str>,
    /// The operation id of a charge; a host may send it as `Idempotency-Key`.
    pub operation: Option<&'a str>,
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub enum Reply<V> {
    /// A response arrived.
    Answer(Answer<V>),
    /// The request could not be made; nothing was sent.
    Unusable(Unusable<V>),
    /// No response arrived.
    Failed {
        /// The runtime's own code, such as `ECONNREFUSED`.
        code: Option<String>,
        /// What was thrown.
        cause: Option<V>,
    },
}

/// An option of the caller's that makes a request impossible.
#[derive(Clone, Debug)]
pub struct Unusable<V> {
    /// The option: `apiKey`, `apiId`, `headers` or `baseUrl`.
    pub field: &'static str,
    /// What it must be.
    pub advice: &'static str,
    /// What was thrown, if it contains no key.
    pub cause: Option<V>,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer<V> {
    /// The status; 0 for a redirect that a browser hides.
    pub status: u16,
    /// `Retry-After`, in milliseconds from now.
    pub retry_after_ms: Option<f64>,
    /// `X-Request-Id`, for the provider's support.
    pub request_id: Option<String>,
    /// The body.
    pub body: Body<V>,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub enum Body<V> {
    /// JSON.
    Json(V),
    /// Anything else.
    Text(String),
    /// The part that arrived of a body that was cut off.
    Cut(String),
}

/// A journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The caller's journal, or the default one.
    Configured,
    /// The one in the memory of this process.
    Process,
}

/// A call to a journal.
#[derive(Clone, Copy, Debug)]
pub enum JournalCall<'a> {
    /// Writes the entry unless the key has one; atomic. Replies [`JournalReply::Done`]: whether it wrote.
    Create(&'a str, &'a str),
    /// Reads the entry under the key. Replies [`JournalReply::Entry`].
    Read(&'a str),
    /// Writes the entry, and overwrites another.
    Write(&'a str, &'a str),
    /// Replaces the first entry by the second; atomic. Replies whether it did.
    Replace(&'a str, &'a str, &'a str),
    /// Deletes the entry under the key; with an entry, only that one, and atomic. Replies whether it did.
    Delete(&'a str, Option<&'a str>),
    /// Lists the keys with a prefix. Replies [`JournalReply::Keys`].
    List(&'a str),
}

/// The reply of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalReply {
    /// Whether it wrote or deleted.
    Done(bool),
    /// The entry, or `None`.
    Entry(Option<String>),
    /// Keys.
    Keys(Vec<String>),
}

/// An event of a client, for logs. It contains no key and no variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// A request is sent now. `operation` is set where it charges.
    Request { method: &'static str, path: &'a str, operation: Option<&'a str> },
    /// A response arrived, `ms` milliseconds after its request. `attempt` counts from 1.
    Response {
        method: &'static str,
        path: &'a str,
        status: u16,
        ms: f64,
        attempt: u32,
        operation: Option<&'a str>,
        request_id: Option<&'a str>,
    },
    /// A read failed and is retried.
    Retry { path: &'a str, in_ms: f64 },
    /// A job changed, and is polled again.
    Poll { job_id: &'a str, in_ms: f64 },
    /// The outcome of a charging request.
    Verdict { operation: &'a str, verdict: &'static str, job_id: Option<&'a str> },
    /// A journal entry cannot be read.
    Skipped { key: &'a str },
    /// Something to look into that fails no call.
    Warning { code: &'static str, message: &'a str, operation: Option<&'a str>, job_id: Option<&'a str> },
}

/// The state of a wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update<'a, V> {
    /// The job as last polled.
    pub job: &'a V,
    /// The last step that this client charged for.
    pub step: Option<Step>,
    /// The estimated progress of the step, from 0 to 1. It never falls. `None` while nothing is known.
    pub progress: Option<f64>,
    /// Estimated milliseconds until the step ends.
    pub remaining_ms: Option<f64>,
    /// Milliseconds until the next poll; 0 while a poll is in flight, `None` once the wait has ended.
    pub next_poll_ms: Option<f64>,
}

/// A listener for updates of a job.
pub type OnUpdate<V> = Box<dyn Fn(Update<'_, V>)>;

/// Everything that the core needs from its environment. Single-threaded: futures are not `Send`.
#[expect(async_fn_in_trait, reason = "the core is single-threaded and asks for no `Send`")]
pub trait Host: 'static {
    /// A value of the environment, opaque to the core: parsed JSON or an exception.
    type Value: Clone + 'static;
    /// The headers of a request, with the credentials.
    type Headers: 'static;
    /// A lock that is held until it is dropped.
    type Lock: 'static;
    /// The turn to poll a job that other tabs may be polling too; it ends when it is dropped.
    type Turn: 'static;

    // JSON

    /// Parses JSON text.
    fn parse(&self, text: &str) -> Option<Self::Value>;

    /// The members of an object with these names; all unset if the value is no object.
    fn members<const N: usize>(&self, value: &Self::Value, names: [&'static str; N]) -> [Member; N];

    /// The member of that name, as it is.
    fn member(&self, value: &Self::Value, name: &str) -> Option<Self::Value>;

    /// The names of an object's members; none if the value is no object.
    fn names(&self, value: &Self::Value) -> Vec<String>;

    /// The elements of an array; `None` if the value is no array.
    fn elements(&self, value: &Self::Value) -> Option<Vec<Self::Value>>;

    /// The members of a job that the core reads. It is called for every answer, so it should be quick.
    fn job(&self, value: &Self::Value) -> JobFields;

    /// The `created_at` of a job, in milliseconds since 1970.
    fn made_at(&self, job: &Self::Value) -> Option<f64>;

    /// The first text in the body of an error, in the shapes of Django REST Framework: `detail`, a list of texts, or
    /// texts for each field, then with the name of the field.
    fn reason(&self, body: &Self::Value) -> Option<String>;

    /// The JSON text of a request with another `webhook_url`.
    fn with_webhook_url(&self, request: &str, url: &str) -> String;

    /// Whether a job has all the values that a request gives: members that the job adds are ignored.
    fn covers(&self, request: &str, job: &Self::Value) -> bool;

    // The network

    /// Makes the headers. It may call functions of the caller.
    ///
    /// # Errors
    /// The invalid option.
    async fn headers(&self) -> Result<Self::Headers, Unusable<Self::Value>>;

    /// Sends one request, synchronously when the future is first polled. It follows no redirect and uses no cache. Dropping the
    /// future aborts the request.
    async fn fetch(&self, request: Request<'_>, headers: Self::Headers) -> Reply<Self::Value>;

    // The journal

    /// Calls a journal.
    ///
    /// # Errors
    /// What it threw.
    async fn journal(&self, store: Store, call: JournalCall<'_>) -> Result<JournalReply, Self::Value>;

    /// Lists the jobs created since `since`, in milliseconds since 1970; `None` without such a function of the caller.
    async fn list_jobs(&self, since: f64) -> Option<Result<Self::Value, Self::Value>>;

    /// Locks this name against every other holder, also in other tabs; `None` if there can be no other.
    async fn lock(&self, name: &str) -> Option<Self::Lock>;

    // Time, chance and tasks

    /// The monotonic clock in milliseconds, for waits and deadlines.
    fn now(&self) -> f64;

    /// The wall clock in milliseconds since 1970, for the journal.
    fn wall(&self) -> f64;

    /// A random number from 0 to below 1, for jitter.
    fn random(&self) -> f64;

    /// A random token of 32 hexadecimal digits.
    fn token(&self) -> String;

    /// Waits.
    async fn sleep(&self, ms: f64);

    /// Runs a task to its end in the background.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    // The page, and its other tabs

    /// The environment.
    fn env(&self) -> Env {
        Env { visible: true, online: true }
    }

    /// Whether the calls of a client may wake one another. False on workerd and Vercel's edge runtime, where a task hangs that
    /// another request's event has woken.
    fn shares(&self) -> bool {
        true
    }

    /// The most polls of a client in flight. Browsers open six connections to a host.
    fn polls_at_once(&self) -> usize {
        6
    }

    /// Starts (true) or stops (false) reporting changes of the environment to `Client::environment_changed`.
    fn listen(&self, _begin: bool) {}

    /// Waits for the turn to poll a job; `None` if no other tab polls. Responses of other tabs go to `Client::receive`.
    async fn turn(&self, _job_id: &str) -> Option<Self::Turn> {
        None
    }

    /// Shares the response to a poll with the other tabs. It was requested at `asked_at`, in milliseconds since 1970.
    fn publish(&self, _turn: Self::Turn, _asked_at: f64, _answer: &Answer<Self::Value>) {}

    // Logs

    /// Emits an event.
    fn emit(&self, _event: Event<'_>) {}
}
