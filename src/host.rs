//! The trait `Host`: everything that the core needs from its environment.
//!
//! There are two implementations: one over `fetch` for browsers, workers, Node, Deno and Bun (`web`), and one with virtual
//! time for tests. A host decides nothing.

use std::future::Future;

use crate::api::{Endpoint, Step};
use crate::job::JobFields;
use crate::member::Member;

/// What the environment is like at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Whether somebody can see the page. True where there is no page.
    pub visible: bool,
    /// Whether the machine believes that it has a network.
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
    /// An answer came.
    Answer(Answer<V>),
    /// The request could not be made; nothing was sent.
    Unusable(Unusable<V>),
    /// No answer came.
    Failed {
        /// The runtime's own code, such as `ECONNREFUSED`.
        code: Option<String>,
        /// What was thrown.
        cause: Option<V>,
    },
}

/// An option of the caller's from which no request can be made.
#[derive(Clone, Debug)]
pub struct Unusable<V> {
    /// The option: `apiKey`, `apiId`, `headers` or `baseUrl`.
    pub field: &'static str,
    /// What it must be.
    pub advice: &'static str,
    /// What was thrown, if it holds no key.
    pub cause: Option<V>,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer<V> {
    /// The status; 0 for a redirect that a browser hides.
    pub status: u16,
    /// What `Retry-After` asks for, in milliseconds from now.
    pub retry_after_ms: Option<f64>,
    /// `X-Request-Id`, by which the provider's support finds the request.
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
    /// The one that the client was given, or the default one.
    Configured,
    /// The one in the memory of this process.
    Process,
}

/// A call of a journal.
#[derive(Clone, Copy, Debug)]
pub enum JournalCall<'a> {
    /// Writes the entry unless one exists under the key; atomic. Whether it wrote: [`JournalReply::Done`].
    Create(&'a str, &'a str),
    /// The entry under the key: [`JournalReply::Entry`].
    Read(&'a str),
    /// Writes the entry, whatever was there.
    Write(&'a str, &'a str),
    /// Writes the second entry if the first one is there; atomic. Whether it wrote.
    Replace(&'a str, &'a str, &'a str),
    /// Deletes what is under the key; with an entry only if that is there, and atomic. Whether it deleted.
    Delete(&'a str, Option<&'a str>),
    /// The keys that begin with a prefix: [`JournalReply::Keys`].
    List(&'a str),
}

/// The answer of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalReply {
    /// Whether it did what was asked.
    Done(bool),
    /// The entry, or `None`.
    Entry(Option<String>),
    /// Keys.
    Keys(Vec<String>),
}

/// What happens in a client, for logs. It holds no key and no variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// A request is sent now. `operation` is set where it charges.
    Request { method: &'static str, path: &'a str, operation: Option<&'a str> },
    /// An answer came: how long after the request, in milliseconds, and to which attempt; the first is 1.
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
    /// Something that deserves attention and changes nothing.
    Warning { code: &'static str, message: &'a str, operation: Option<&'a str>, job_id: Option<&'a str> },
}

/// What is known of a job that is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update<'a, V> {
    /// The job as last seen.
    pub job: &'a V,
    /// The last step that this client charged for.
    pub step: Option<Step>,
    /// How far the step is, from 0 to 1: an estimate that never falls. `None` while nothing is known.
    pub progress: Option<f64>,
    /// Milliseconds until the step is expected to end.
    pub remaining_ms: Option<f64>,
    /// Milliseconds until the job is polled again; 0 while it is polled, `None` once the wait has ended.
    pub next_poll_ms: Option<f64>,
}

/// A listener for updates of a job.
pub type OnUpdate<V> = Box<dyn Fn(Update<'_, V>)>;

/// Everything that the core needs from its environment. Single-threaded: futures are not `Send`.
#[expect(async_fn_in_trait, reason = "the core is single-threaded and asks for no `Send`")]
pub trait Host: 'static {
    /// A value of the environment, opaque to the core: parsed JSON, or what was thrown.
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

    /// The members of an object with these names; all unset where the value is no object.
    fn members<const N: usize>(&self, value: &Self::Value, names: [&'static str; N]) -> [Member; N];

    /// The member of that name, as it is.
    fn member(&self, value: &Self::Value, name: &str) -> Option<Self::Value>;

    /// The names of an object's members; none where the value is no object.
    fn names(&self, value: &Self::Value) -> Vec<String>;

    /// The elements of an array; `None` where the value is no array.
    fn elements(&self, value: &Self::Value) -> Option<Vec<Self::Value>>;

    /// The members of a job that the core reads. It is called for every answer, so it should be quick.
    fn job(&self, value: &Self::Value) -> JobFields;

    /// When a job was made, by its `created_at`, in milliseconds since 1970.
    fn made_at(&self, job: &Self::Value) -> Option<f64>;

    /// The first text in the body of an error, in the shapes of Django REST Framework: `detail`, a list of texts, or
    /// texts for each field, then with the name of the field.
    fn reason(&self, body: &Self::Value) -> Option<String>;

    /// The JSON text of a request with another `webhook_url`.
    fn with_webhook_url(&self, request: &str, url: &str) -> String;

    /// Whether a job has all the values that a request gives: members that the job adds are ignored.
    fn covers(&self, request: &str, job: &Self::Value) -> bool;

    // The network

    /// Makes the headers, which may ask the caller's functions for them.
    ///
    /// # Errors
    /// The option that cannot be used.
    async fn headers(&self) -> Result<Self::Headers, Unusable<Self::Value>>;

    /// Sends one request when it is first polled, before anything else: follows no redirect, uses no cache. Dropping it
    /// aborts the request.
    async fn fetch(&self, request: Request<'_>, headers: Self::Headers) -> Reply<Self::Value>;

    // The journal

    /// Calls a journal.
    ///
    /// # Errors
    /// What it threw.
    async fn journal(&self, store: Store, call: JournalCall<'_>) -> Result<JournalReply, Self::Value>;

    /// Lists the jobs that were made since `since`, in milliseconds since 1970; `None` where the caller gave no way to.
    async fn list_jobs(&self, since: f64) -> Option<Result<Self::Value, Self::Value>>;

    /// Waits until this name is locked against every other holder, in other tabs too; `None` where nobody else can hold it.
    async fn lock(&self, name: &str) -> Option<Self::Lock>;

    // Time, chance and tasks

    /// Milliseconds that never go back, for waits and deadlines.
    fn now(&self) -> f64;

    /// Milliseconds since 1970, for what is written down.
    fn wall(&self) -> f64;

    /// A random number from 0 to below 1, for jitter.
    fn random(&self) -> f64;

    /// A random token of 32 hexadecimal digits.
    fn token(&self) -> String;

    /// Waits so many milliseconds.
    async fn sleep(&self, ms: f64);

    /// Runs a task to its end, even if nobody waits for it.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    // The page, and its other tabs

    /// The environment.
    fn env(&self) -> Env {
        Env { visible: true, online: true }
    }

    /// Whether the calls of a client may wake one another. False on workerd and Vercel's edge runtime, where a task that is
    /// woken by another request's event hangs.
    fn shares(&self) -> bool {
        true
    }

    /// How many polls a client may have in flight: browsers open six connections to a host.
    fn polls_at_once(&self) -> usize {
        6
    }

    /// Begins (true) or ends (false) to report changes of the environment by `Client::environment_changed`.
    fn listen(&self, _begin: bool) {}

    /// Waits for the turn to poll a job; `None` where no other tab polls. Answers of other tabs come by `Client::hear`.
    async fn turn(&self, _job_id: &str) -> Option<Self::Turn> {
        None
    }

    /// Shares the answer of a poll, requested at `asked_at` in milliseconds since 1970, with the other tabs.
    fn publish(&self, _turn: Self::Turn, _asked_at: f64, _answer: &Answer<Self::Value>) {}

    // Logs

    /// Emits an event.
    fn emit(&self, _event: Event<'_>) {}
}
