//! Host: all that the core asks of the outside, so that the same lines run in a browser, in an edge
//! worker and in a simulation on one native thread with virtual time.
//!
//! The core waits for nothing. It begins things, each in the name of a *task*, and the host hands back
//! what became of it: [`Client::resume`](crate::client::Client::resume) with the task's number, once. A
//! task waits for one thing at a time; beginning another takes the former back.

use crate::api::Endpoint;
use crate::error::Failure;
use crate::poll::Look;
use crate::value::Value;

/// What became of what a task waited for: what it brought, or what was thrown.
pub type Answer<V> = Result<V, V>;

/// What a host tells a client.
#[derive(Clone, Debug)]
pub enum Signal<V> {
    /// What a task waited for is there: [`Client::resume`](crate::client::Client::resume).
    Resume(u32, Answer<V>),
    /// The time of a charge's caller is over: [`Client::late`](crate::client::Client::late).
    Late(u32),
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
    pub url: V,
    /// What becomes the JSON body, or nothing.
    pub body: V,
    /// The operation id, for a charge; a host may send it as `Idempotency-Key`.
    pub operation: V,
    /// For a look that serves waits alone: `account/job`, by which others may be making it too. What they hear is as good:
    /// [`Client::hear`](crate::client::Client::hear).
    pub shared: V,
    /// Milliseconds until the answer must be whole.
    pub timeout: f64,
}

/// What is asked of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalCall {
    /// Writes the entry under the key unless something is there already; atomic. Whether it did.
    Create,
    /// The entry under the key, or nothing.
    Read,
    /// Writes the entry under the key, whatever was there.
    Write,
    /// Removes what is under the key; where an entry is given, only if that is what stands there, and atomic.
    Delete,
    /// The keys that begin with the given one: a list of texts.
    List,
}

impl JournalCall {
    /// As the journal's interface calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }
}

/// All that the core asks of the outside. One thread: nothing is `Send`.
pub trait Host: 'static {
    /// A value of this world.
    type Value: Value;
    /// Whoever made a call, and hears how it ends.
    type Call: Clone + 'static;

    /// Says how the client is told of things. For hosts that cannot name the client otherwise.
    fn connect(&self, _client: impl Fn(Signal<Self::Value>) + 'static) {}

    /// Makes one request: follows no redirect, uses no cache. It always comes to a record:
    /// - `status`, and `retryAfter` in milliseconds, and `body` (JSON) or `text` (the first 500
    ///   characters of anything else), and `broken` where it ended early;
    /// - `late` where it was not whole in time;
    /// - `field` and `message` where it could not be made: an option is unusable, and nothing was sent;
    /// - and where no answer came none of these, but `code`, the runtime's own, and `cause`.
    fn send(&self, task: u32, request: Request<Self::Value>);

    /// Waits `ms` milliseconds. Where it is `light`, `wake` ends it too.
    fn sleep(&self, task: u32, ms: f64, light: bool);

    /// Something happened that is worth looking at: ends every light sleep.
    fn wake(&self) {}

    /// Takes back what a task waits for.
    fn forget(&self, task: u32);

    /// Uses the journal. The task may be 0: then nobody waits for the answer.
    fn journal(&self, task: u32, call: JournalCall, key: Self::Value, entry: Self::Value);

    /// Lists the jobs that were made since `since`, in milliseconds since 1970. False where the caller knows no way to.
    fn list_jobs(&self, _task: u32, _since: f64) -> bool {
        false
    }

    /// Waits until a name is held against every other holder, in other tabs too. False where nobody else can hold it.
    fn lock(&self, _task: u32, _name: Self::Value) -> bool {
        false
    }

    /// Gives back what a task holds.
    fn unlock(&self, _task: u32) {}

    /// A call ends.
    fn settle(&self, call: &Self::Call, result: Result<Self::Value, Failure<Self::Value>>);

    /// What was begun for a call that was left is over.
    fn over(&self, _call: &Self::Call) {}

    /// A job that a call watches has changed.
    fn update(&self, call: &Self::Call, job: Self::Value, look: Look);

    /// After `ms` milliseconds calls [`Client::late`](crate::client::Client::late), unless the call has ended by then.
    fn alarm(&self, call: &Self::Call, task: u32, ms: f64);

    /// Milliseconds that never go back; for waits and deadlines.
    fn now(&self) -> f64;

    /// Milliseconds since 1970, for what is written down. It parts from `now` during a laptop's sleep and where somebody sets the clock.
    fn wall(&self) -> f64;

    /// A random number from 0 to below 1.
    fn random(&self) -> f64;

    /// A random UUID, version 4.
    fn uuid(&self) -> Self::Value;

    /// The surroundings.
    fn env(&self) -> Env {
        Env { visible: true, online: true }
    }

    /// Whether calls may be served by one another's events. False on workerd and edge-light, where a
    /// task that another request's event wakes hangs: there every call drives its own requests.
    fn shares(&self) -> bool {
        true
    }

    /// How many looks at jobs a client may have under way at once: browsers open six connections to a host.
    fn looks_at_once(&self) -> usize {
        6
    }

    /// Whether anybody reads the log.
    fn hears(&self) -> bool {
        true
    }

    /// For logs: a record that holds no key and no variable.
    fn event(&self, _event: Self::Value) {}
}
