//! Host: all that the core asks of the outside, so that the same lines run in a browser, in an edge
//! worker and in a simulation on one native thread with virtual time.

use std::future::Future;
use std::pin::Pin;

use crate::api::Endpoint;
use crate::error::push_digit;
use crate::value::Value;

/// The two clocks, in milliseconds. They part during a laptop's sleep, and where somebody sets the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Now {
    /// Never goes back; for waits and deadlines.
    pub monotonic: f64,
    /// Since 1970; for what is written down.
    pub wall: f64,
}

/// What the surroundings are like at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Somebody can see the page. True where there is no page.
    pub visible: bool,
    /// The machine believes that it has a network.
    pub online: bool,
}

/// One HTTP request, made anew for every attempt.
#[derive(Clone, Debug)]
pub struct Request<V> {
    /// Which call of the upstream.
    pub endpoint: Endpoint,
    /// Base URL and path.
    pub url: String,
    /// What becomes the JSON body.
    pub body: Option<V>,
    /// Sent as `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Milliseconds until the answer must be whole.
    pub timeout: f64,
}

/// The body of an answer, as far as it can be used.
#[derive(Clone, Debug)]
pub enum Body<V> {
    /// Whole, and JSON.
    Json(V),
    /// Whole, and not JSON.
    Text(String),
    /// It ended early; what had arrived.
    Broken(String),
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Reply<V> {
    /// With a status line.
    Answered {
        /// The HTTP status; 0 for a redirect that a browser hides.
        status: u16,
        /// What `Retry-After` asks for, in milliseconds from now; not yet clamped.
        retry_after: Option<f64>,
        /// What came with it.
        body: Body<V>,
    },
    /// Without one.
    Lost {
        /// The runtime's code for the failure, such as `ECONNREFUSED`, or empty.
        code: String,
        /// What the runtime threw.
        cause: Option<V>,
    },
    /// The time was over first.
    TimedOut,
    /// It could not be made: a header or the base URL is unusable. Nothing was sent.
    Unusable {
        /// The option to blame: `headers`, `apiKey` or `baseUrl`.
        field: &'static str,
        /// What is wrong with it.
        message: &'static str,
        /// What the runtime or the caller's function threw.
        cause: Option<V>,
    },
}

/// What a log may want to know. Holds no key and no variable.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request goes out.
    Request {
        /// `GET` or `POST`.
        method: &'static str,
        /// Path below the base URL.
        path: &'a str,
        /// The operation id, for a charge.
        operation: Option<&'a str>,
    },
    /// A read, or a charge that was not sent, will be tried again.
    Retry {
        /// Path below the base URL.
        path: &'a str,
        /// Milliseconds until then.
        in_ms: f64,
    },
    /// A job will be looked at again.
    Look {
        /// Its id.
        job: &'a str,
        /// Milliseconds until then.
        in_ms: f64,
    },
    /// What became of a charge.
    Verdict {
        /// Its operation id.
        operation: &'a str,
        /// `bound`, `rejected`, `not_sent` or `unknown`.
        verdict: &'static str,
        /// The job that it is bound to.
        job: Option<&'a str>,
    },
}

/// What is asked of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalCall {
    /// Writes the entry under the id unless something is there already; atomic. Whether it did.
    Create,
    /// The entry under the id: a text, or nothing.
    Read,
    /// Writes the entry under the id, whatever was there.
    Write,
    /// Removes what is under the id.
    Delete,
    /// The ids that begin with the given one: a list of texts.
    List,
}

/// All that the core asks of the outside. One thread: no future is `Send`.
///
/// What is waited for comes as one plain kind of future, [`Host::Wait`]: futures within futures would
/// weigh more than everything else in the npm build.
#[expect(async_fn_in_trait, reason = "every host is single-threaded, so nobody needs to name a Send bound")]
pub trait Host: Clone + Unpin + 'static {
    /// A JSON value of this world.
    type Value: Value;
    /// Something that this world has promised: what it came to, or what was thrown instead. Dropping it takes the wish back.
    type Wait: Future<Output = Result<Self::Value, Self::Value>> + Unpin + 'static;

    /// Makes one request. Follows no redirect, uses no cache, and stops it when the future is dropped.
    async fn send(&self, request: Request<Self::Value>) -> Reply<Self::Value>;

    /// Waits `ms` milliseconds.
    fn sleep(&self, ms: f64) -> Self::Wait;

    /// Waits `ms` milliseconds, or less when something happened that makes it worth looking: a new
    /// watcher, a page that is shown again, a network that came back.
    fn sleep_or_wake(&self, ms: f64) -> Self::Wait;

    /// Ends every `sleep_or_wake` that is under way.
    fn wake(&self);

    /// Runs a future to its end, whoever drops what.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()>>>);

    /// The two clocks.
    fn now(&self) -> Now;

    /// A random number from 0 to below 1.
    fn random(&self) -> f64;

    /// A random UUID, version 4.
    fn uuid(&self) -> String {
        uuid(|| self.random())
    }

    /// The surroundings.
    fn env(&self) -> Env {
        Env { visible: true, online: true }
    }

    /// Whether calls may wait for one another's events. False on workerd and edge-light, where a task
    /// that another request's event wakes hangs: there every call drives its own requests.
    fn shares(&self) -> bool {
        true
    }

    /// Uses the journal.
    fn journal(&self, call: JournalCall, id: &str, entry: &str) -> Self::Wait;

    /// The jobs that were made since `since`, in milliseconds since 1970, where the caller knows a way to list them.
    fn list_jobs(&self, _since: f64) -> Option<Self::Wait> {
        None
    }

    /// Waits until `name` is held against every other holder, other tabs included. `None` where nobody else can hold it.
    fn lock(&self, _name: &str) -> Option<Self::Wait> {
        None
    }

    /// Gives back what `lock` came to.
    fn unlock(&self, _held: Self::Value) {}

    /// Tells the other clients of this origin what a look at a job brought.
    fn publish(&self, _job: &str, _value: &Self::Value) {}

    /// What another client of this origin published: a job's id and the job. `None` where nothing is left.
    fn published(&self) -> Option<(String, Self::Value)> {
        None
    }

    /// For logs.
    fn event(&self, _event: Event<'_>) {}
}

/// A UUID, version 4, of numbers from 0 to below 1.
pub fn uuid(random: impl Fn() -> f64) -> String {
    let mut text = String::new();
    for at in 0..32 {
        text.push_str(if matches!(at, 8 | 12 | 16 | 20) { "-" } else { "" });
        let digit = (random() * 16.0) as u8;
        let digit = match at {
            12 => 4,
            16 => digit & 3 | 8,
            _ => digit,
        };
        push_digit(&mut text, digit);
    }
    text
}
