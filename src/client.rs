//! `Client<H>`: one async method per endpoint.
//!
//! A client is single-threaded and cheap to clone: clones share their state. Dropping a future cancels it, except a charge that
//! may have been sent: that part is a separate task, which continues until it knows its job.

mod budget;
mod caller;
mod charging;
mod history;
mod operations;
mod polling;
mod reading;
mod relay;
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

/// The configuration of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of the API, without a slash at the end.
    pub base_url: String,
    /// The beginning of every journal key: a hash of the account, the API id and the base URL.
    pub namespace: String,
    /// Milliseconds for one request, and for each step before it.
    pub timeout: f64,
    /// Milliseconds for a blocking preview, and for the response to a charge whose caller stopped waiting.
    pub preview_timeout: f64,
    /// How often a read is retried.
    pub max_retries: u32,
    /// The most credits to spend.
    pub max_credits: Option<f64>,
    /// The name under which the journal sums the spending; without one, the clients of this process sum it.
    pub budget_key: Option<String>,
    /// What each step costs.
    pub prices: PriceTable,
    /// When the sum starts again at 0; never if unset.
    pub budget_period: Option<BudgetPeriod>,
    /// Whether the journal lives in the memory of this process only.
    pub journal_in_memory: bool,
    /// Whether that is the default and not the caller's choice: then operation ids of the caller are refused, since another
    /// process would charge them again.
    pub journal_by_default: bool,
    /// Whether the base URL is a relay's, which can report the state of operations.
    pub relay: bool,
}

impl Config {
    /// The provider's own address.
    pub const BASE_URL: &'static str = "https://api.creatify.ai";

    /// The defaults, for the API at `base_url` (normalised, so that two spellings of one URL are equal) with this API id.
    /// `account` separates the journals of people who share both.
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
            relay: false,
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
    /// The remaining retries.
    tokens: Cell<Tokens>,
    watches: Rc<Watches<H::Value>>,
    /// No poll before this time, because of a `Retry-After`; on the monotonic clock.
    quiet_until: Cell<f64>,
    /// Whether the page was restored from the back-forward cache, so that every job is polled.
    restored: Cell<bool>,
    /// The number of the newest wait.
    last_waiter: Cell<u64>,
    /// Whether the expired entries of the journal were deleted.
    swept: Cell<bool>,
}

/// A weak reference to a client.
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
    /// A client over a host. It does no I/O yet, so it may live in the module scope of a worker.
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

    /// A weak reference to this client.
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

    /// Submits a job without a preview: `POST /api/custom_template_jobs/`. `request` is JSON text. Returns the pending job.
    ///
    /// # Errors
    /// `InvalidRequest`, `Api`, `Connection`, `ChargeUnknown`, `BudgetExceeded`, `OperationConflict`, `Journal`.
    pub async fn submit(&self, request: &str, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::Submit, None, Some(request), options, None).await
    }

    /// Starts a preview: `POST /api/custom_template_jobs/preview_async/`. `request` is JSON text. Returns the pending job.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn preview_async(&self, request: &str, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::PreviewAsync, None, Some(request), options, None).await
    }

    /// Makes a preview by one blocking request: `POST /api/custom_template_jobs/preview/`.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn preview_sync(&self, request: &str, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::PreviewSync, None, Some(request), options, None).await
    }

    /// Renders a job: `POST /api/custom_template_jobs/{id}/render/`. A job that is rendered, or whose render the journal has in
    /// flight, is returned and not charged.
    ///
    /// # Errors
    /// As [`Client::submit`], and `PollTimeout` where the job's preview stays in progress.
    pub async fn render(&self, id: &str, request: Option<&str>, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::Render, Some(id), request, options, None).await
    }

    /// Fetches a job. `timeout` is for one request, in milliseconds.
    ///
    /// # Errors
    /// `InvalidRequest`, `Api`, `Connection`.
    pub async fn get(&self, id: &str, timeout: Option<f64>) -> Outcome<H::Value> {
        self.fetch(Endpoint::Get, Some(id), timeout).await
    }

    /// Lists the account's templates: a JSON array.
    ///
    /// # Errors
    /// `Api`, `Connection`.
    pub async fn templates(&self, timeout: Option<f64>) -> Outcome<H::Value> {
        self.fetch(Endpoint::Templates, None, timeout).await
    }

    /// Fetches the account's balance, in credits.
    ///
    /// # Errors
    /// `Api`, `Connection`.
    pub async fn remaining_credits(&self, timeout: Option<f64>) -> Result<f64, Error<H::Value>> {
        let body = self.fetch(Endpoint::RemainingCredits, None, timeout).await?;
        // The response was checked already.
        Ok(self.remaining_credits_of(&body).unwrap_or_default())
    }

    /// Reads an endpoint. `id` is the job's.
    pub(crate) async fn fetch(&self, endpoint: Endpoint, id: Option<&str>, timeout: Option<f64>) -> Outcome<H::Value> {
        api::check_number("timeout", timeout, true)?;
        let id = id.map(api::job_id).transpose()?;
        self.read(endpoint, &id.unwrap_or_default(), timeout).await
    }

    /// Estimates the cost of a step in credits, for a video of `seconds` seconds with the model of that name.
    ///
    /// # Errors
    /// `InvalidRequest` if the length is not a positive number, or if the model has no price.
    pub fn estimate(&self, step: Step, seconds: f64, model: &str) -> Result<f64, Error<H::Value>> {
        Ok(self.config().prices.estimate(step, seconds, model)?)
    }
}
