//! `Client<H>`: one async method per endpoint.
//!
//! A client is single-threaded and cheap to clone: the clones share everything. Dropping a future cancels it, except a
//! charge that may have been sent: that part is a task of its own, which runs on to learn the id of its job.

mod budget;
mod caller;
mod charging;
mod history;
mod operations;
mod polling;
mod reading;
mod rendering;
mod request;
mod tasks;
mod watches;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

pub use self::charging::ChargeOptions;
use self::history::History;
pub use self::operations::Operation;
pub use self::polling::PollOptions;
#[cfg(all(target_arch = "wasm32", feature = "serde"))]
pub(crate) use self::request::NO_JOURNAL;
use self::watches::Watches;
use crate::api::{self, Endpoint, Step};
use crate::credits::{BudgetPeriod, PriceTable};
use crate::error::Error;
use crate::hash;
use crate::host::Host;
use crate::retry::Tokens;

/// The result of a call.
pub type Outcome<V> = Result<V, Error<V>>;

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of the API, without a slash at the end.
    pub base_url: String,
    /// The beginning of every journal key: a hash of the account, the API id and the base URL.
    pub namespace: String,
    /// Milliseconds for one request, and for what a call waits for before it.
    pub timeout: f64,
    /// Milliseconds for a preview that blocks, and for the answer to a charge whose caller left.
    pub preview_timeout: f64,
    /// How often a read is retried.
    pub max_retries: u32,
    /// What may be spent, in credits.
    pub max_credits: Option<f64>,
    /// The name under which the journal sums what is spent; without one the clients of this process sum it.
    pub budget_key: Option<String>,
    /// What each step costs.
    pub prices: PriceTable,
    /// When what is spent is summed anew; never where it is unset.
    pub budget_period: Option<BudgetPeriod>,
    /// Whether the journal lives in the memory of this process only.
    pub journal_in_memory: bool,
    /// Whether the caller did not choose that: then an operation id of the caller's own is refused, since another process
    /// would charge it again.
    pub journal_by_default: bool,
}

impl Config {
    /// The provider's own address.
    pub const BASE_URL: &'static str = "https://api.creatify.ai";

    /// The defaults, for the API at `base_url` (as a parser of URLs writes it, so that spellings of one address are one)
    /// with this API id. `account` keeps the journals of people apart who share all of that.
    pub fn new(base_url: &str, api_id: &str, account: &str) -> Self {
        let base_url = base_url.trim_end_matches('/');
        Self {
            base_url: base_url.into(),
            namespace: hash::hex(hash::of_parts(&[account, api_id, base_url])),
            timeout: 30_000.0,
            preview_timeout: 300_000.0,
            max_retries: 3,
            max_credits: None,
            budget_key: None,
            prices: PriceTable::PER_BLOCK,
            budget_period: None,
            journal_in_memory: false,
            journal_by_default: false,
        }
    }
}

/// A client of the API.
pub struct Client<H: Host>(Rc<Core<H>>);

struct Core<H: Host> {
    host: H,
    config: Config,
    history: RefCell<History>,
    /// The operations that this client is charging for.
    in_flight: RefCell<Vec<String>>,
    /// The retries that are left.
    tokens: Cell<Tokens>,
    watches: Rc<Watches<H::Value>>,
    /// No poll before this: what a `Retry-After` asked for, on the monotonic clock.
    quiet_until: Cell<f64>,
    /// Whether the page came back from the back-forward cache, so that every job is worth a poll.
    restored: Cell<bool>,
    /// The number of the newest wait.
    last_waiter: Cell<u64>,
    /// Whether the expired entries of the journal were deleted.
    swept: Cell<bool>,
}

/// A client that is not kept alive.
pub struct WeakClient<H: Host>(Weak<Core<H>>);

impl<H: Host> WeakClient<H> {
    /// The client, if it still exists.
    pub fn upgrade(&self) -> Option<Client<H>> {
        self.0.upgrade().map(Client)
    }
}

impl<H: Host> fmt::Debug for WeakClient<H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WeakClient")
    }
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
    /// A client over a host. It does no I/O yet, so it may live at the scope of a worker's module.
    pub fn new(host: H, config: Config) -> Self {
        let watches = Watches::new(&host);
        Self(Rc::new(Core {
            host,
            config,
            history: RefCell::default(),
            in_flight: RefCell::default(),
            tokens: Cell::new(Tokens::ALL),
            watches,
            quiet_until: Cell::new(f64::NEG_INFINITY),
            restored: Cell::new(false),
            last_waiter: Cell::new(0),
            swept: Cell::new(false),
        }))
    }

    /// The same client, for what must not keep it alive.
    pub fn downgrade(&self) -> WeakClient<H> {
        WeakClient(Rc::downgrade(&self.0))
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.0.host
    }

    fn config(&self) -> &Config {
        &self.0.config
    }

    /// `POST /api/custom_template_jobs/`: straight to the video. `request` is JSON text. The job is pending.
    ///
    /// # Errors
    /// `InvalidRequest`, `Api`, `Connection`, `ChargeUnknown`, `BudgetExceeded`, `OperationConflict`, `Journal`.
    pub async fn submit(&self, request: &str, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::Submit, None, Some(request), options, None).await
    }

    /// `POST /api/custom_template_jobs/preview_async/`. `request` is JSON text. The job is pending.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn preview_async(&self, request: &str, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::PreviewAsync, None, Some(request), options, None).await
    }

    /// `POST /api/custom_template_jobs/preview/`: one request that blocks until the preview is ready.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn preview_sync(&self, request: &str, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::PreviewSync, None, Some(request), options, None).await
    }

    /// `POST /api/custom_template_jobs/{id}/render/`. A job that is rendered, or that this journal is rendering, is
    /// returned and not charged.
    ///
    /// # Errors
    /// As [`Client::submit`], and `PollTimeout` where the job's preview stays in progress.
    pub async fn render(&self, id: &str, request: Option<&str>, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::Render, Some(id), request, options, None).await
    }

    /// The job of that id, as it is now. `timeout` is for one request, in milliseconds.
    ///
    /// # Errors
    /// `InvalidRequest`, `Api`, `Connection`.
    pub async fn get(&self, id: &str, timeout: Option<f64>) -> Outcome<H::Value> {
        self.fetch(Endpoint::Get, Some(id), timeout).await
    }

    /// The account's templates: a JSON array.
    ///
    /// # Errors
    /// `Api`, `Connection`.
    pub async fn templates(&self, timeout: Option<f64>) -> Outcome<H::Value> {
        self.fetch(Endpoint::Templates, None, timeout).await
    }

    /// The account's balance, in credits.
    ///
    /// # Errors
    /// `Api`, `Connection`.
    pub async fn remaining_credits(&self, timeout: Option<f64>) -> Result<f64, Error<H::Value>> {
        let body = self.fetch(Endpoint::RemainingCredits, None, timeout).await?;
        // It was checked when it was read.
        Ok(self.remaining_credits_of(&body).unwrap_or_default())
    }

    /// What an endpoint that is read answers; `id` is a job's.
    pub(crate) async fn fetch(&self, endpoint: Endpoint, id: Option<&str>, timeout: Option<f64>) -> Outcome<H::Value> {
        api::check_number("timeout", timeout, true)?;
        let id = id.map(api::job_id).transpose()?;
        self.read(endpoint, &id.unwrap_or_default(), timeout).await
    }

    /// What a step is expected to cost, in credits, for a video of so many seconds with the model of that name.
    ///
    /// # Errors
    /// `InvalidRequest` where the length is not a positive number, or the model has no price.
    pub fn estimate(&self, step: Step, seconds: f64, model: &str) -> Result<f64, Error<H::Value>> {
        Ok(self.config().prices.estimate(step, seconds, model)?)
    }
}
