//! Client: the calls, each a task that is advanced whenever what it waits for is there.
//!
//! A task is a small state machine over the host's values: it begins something, notes its stage, and
//! returns. Nothing here blocks, is polled or is woken, so the same lines run in a browser, in a worker
//! and in a simulation, and a crash between any two of them can be tried out.

mod answer;
#[cfg(any(test, feature = "serde"))]
mod calling;
mod charging;
mod known;
mod operations;
mod reading;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod watching;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

pub use self::answer::Outcome;
#[cfg(any(test, feature = "serde"))]
pub use self::calling::{Calling, ChargeOptions, Operation, PollOptions, Slot};
use self::charging::Charge;
use self::known::Known;
use self::operations::{Listing, Settling};
use self::reading::Reading;
use self::watching::Watch;
use crate::api::{Endpoint, JobFacts, ModelVersion, Step, check_id};
use crate::credits::PriceTable;
use crate::error::{Failure, refuse};
use crate::host::{Answer, Host, Signal};
use crate::retry::Tries;
use crate::value::{Kept, Value};

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct Config<V: Value> {
    /// Where the API is, without a slash at the end.
    pub base_url: Kept<V>,
    /// Whose journal entries these are; from the base URL and the API id.
    pub namespace: Kept<V>,
    /// Milliseconds for one request.
    pub timeout: f64,
    /// Milliseconds for a preview that blocks, and for a charge whose caller went away.
    pub preview_timeout: f64,
    /// How often a read is tried again.
    pub max_retries: u32,
    /// What the client may spend, in credits; NaN where there is no limit.
    pub max_credits: f64,
    /// Under which name that is summed in the journal, for every client that has it; nothing where each sums for itself.
    pub budget_key: Kept<V>,
    /// What calls cost.
    pub prices: PriceTable,
}

impl<V: Value> Config<V> {
    /// The provider's own address.
    pub const BASE_URL: &'static str = "https://api.creatify.ai";

    /// The defaults, for the API at `base_url` and the account `api_id`.
    pub fn new(base_url: V, api_id: V) -> Self {
        let base_url = base_url.replaced("/+$", V::text(""));
        Self {
            namespace: V::number(api_id.hash(base_url.hash(0.0))).into(),
            base_url: base_url.into(),
            timeout: 30_000.0,
            preview_timeout: 300_000.0,
            max_retries: 3,
            max_credits: f64::NAN,
            budget_key: Kept::nothing(),
            prices: PriceTable::SEED,
        }
    }
}

/// What a call wants. JavaScript names it by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One of the seven calls; those that charge are journalled first.
    Endpoint(Endpoint),
    /// What a step is expected to cost.
    Estimate,
    /// What the journal knows and has not seen end.
    Pending,
    /// Another look at an operation whose outcome is unknown.
    Settle,
    /// Waiting for a preview or a video.
    Poll,
}

/// A client of the API. Cheap to clone: the clones share everything.
pub struct Client<H: Host>(Rc<RefCell<Core<H>>>);

/// All that a client is. It is borrowed as a whole: a host never comes back into a client that is calling it.
pub(crate) struct Core<H: Host> {
    host: H,
    config: Config<H::Value>,
    known: Known<H::Value>,
    /// In the order of their numbers.
    tasks: Vec<Place<H>>,
    /// Whether anybody reads the log.
    hears: bool,
    /// What reads may still be tried again.
    tries: Tries,
    /// The number of the youngest task. None is given twice: what comes late for one that is over must not reach another.
    youngest: u32,
    /// The task that watches jobs for every call, where the host shares; 0 where nothing is watched.
    watch: u32,
}

/// Where a task is kept.
struct Place<H: Host> {
    number: u32,
    owner: Owner<H::Call>,
    /// `None` while it is being advanced.
    task: Option<Task<H::Value>>,
}

/// Who hears how a task ends.
enum Owner<C> {
    /// A call.
    Call(C),
    /// A call that was left. It only hears that the task is over.
    Left(C),
    /// Another task; 0 for nobody. It is told what for: a number of its own.
    Task(u32, u32),
}

enum Task<V: Value> {
    Read(Box<Reading<V>>),
    Charge(Box<Charge<V>>),
    List(Box<Listing<V>>),
    Settle(Box<Settling<V>>),
    /// Looks at jobs.
    Watch(Box<Watch<V>>),
    /// Waits for a job that the task of that number looks at, by the job's number there.
    Poll(u32, u32),
    /// Asks how long such jobs took.
    Ask,
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
    pub fn new(host: H, config: Config<H::Value>) -> Self {
        let client = Self(Rc::new(RefCell::new(Core::new(host, config))));
        let weak = Rc::downgrade(&client.0);
        client.0.borrow().host.connect(move |signal| match (weak.upgrade().map(Self), signal) {
            (Some(client), Signal::Resume(task, answer)) => client.resume(task, answer),
            (Some(client), Signal::Late(task)) => client.late(task),
            (None, _) => {}
        });
        client
    }

    /// Asks the host something.
    #[cfg(feature = "serde")]
    pub(crate) fn with_host<T>(&self, ask: impl FnOnce(&H) -> T) -> T {
        ask(&self.0.borrow().host)
    }

    /// Begins a call; the number of its task, or 0 where it has ended already. What it is given:
    /// - `id`, of a job or operation; `request`, the body; `job`, where a wait begins; `jobId`, for settling;
    /// - `timeout`, `expectedMs`, `maxInterval`: milliseconds; `seconds`, of video; `operation`; `until`; `attentive`.
    pub fn start(&self, wanted: Wanted, given: H::Value, call: &H::Call) -> u32 {
        let number = self.0.borrow_mut().start(wanted, given, call);
        H::Value::clear();
        number
    }

    /// Hands a task what it waited for.
    pub fn resume(&self, task: u32, answer: Answer<H::Value>) {
        self.0.borrow_mut().resume(task, answer);
        H::Value::clear();
    }

    /// The caller does not want it any more: by an abort, or because the client is closed. A charge that may have been
    /// sent goes on by itself, to learn its job.
    pub fn leave(&self, task: u32) {
        self.0.borrow_mut().leave(task);
        H::Value::clear();
    }

    /// Another client of the account has looked at a job, and this is what it heard: the record of its reply, with the `id`
    /// of the job, and `at`, when it was asked for, in milliseconds since 1970.
    pub fn hear(&self, heard: H::Value) {
        self.0.borrow_mut().hear(heard);
        H::Value::clear();
    }

    /// The time of a charge's caller is over. The charge goes on where it may have been sent.
    pub fn late(&self, task: u32) {
        self.0.borrow_mut().late(task);
        H::Value::clear();
    }
}

impl<H: Host> Core<H> {
    pub(crate) fn new(host: H, config: Config<H::Value>) -> Self {
        let known = Known::new(config.max_credits);
        let hears = host.hears();
        Self { host, config, known, tasks: Vec::new(), hears, tries: Tries::ALL, youngest: 0, watch: 0 }
    }

    /// See [`Client::resume`].
    pub(crate) fn resume(&mut self, task: u32, answer: Answer<H::Value>) {
        self.advance(task, 0, answer);
    }

    pub(crate) fn start(&mut self, wanted: Wanted, given: H::Value, call: &H::Call) -> u32 {
        let task = match self.task_of(wanted, given) {
            Ok(task) => task,
            Err(result) => {
                self.host.settle(call, result);
                return 0;
            }
        };
        let patience = if let Task::Charge(charge) = &task { charge.timeout() } else { f64::INFINITY };
        let number = self.add(Owner::Call(call.clone()), task);
        if patience.is_finite() {
            self.host.alarm(call, number, patience);
        }
        if wanted == Wanted::Poll {
            self.watch(number, given);
        }
        number
    }

    /// The task that carries out a call; what it comes to where there is nothing to wait for.
    fn task_of(&mut self, wanted: Wanted, given: H::Value) -> Result<Task<H::Value>, Outcome<H::Value>> {
        let id = given.get("id");
        Ok(match wanted {
            Wanted::Endpoint(endpoint) => {
                if let Some(step) = endpoint.charges() {
                    return Ok(Task::Charge(self.prepare(endpoint, step, given).map_err(Err)?));
                }
                if endpoint == Endpoint::Get {
                    check_id(id).map_err(Err)?;
                }
                let timeout = given.number_of("timeout");
                let timeout = if timeout > 0.0 { timeout } else { self.config.timeout };
                Task::Read(Box::new(Reading::new(endpoint, id, timeout, self.config.max_retries)))
            }
            Wanted::Estimate => return Err(self.estimate(given.get("request")).map(H::Value::number)),
            Wanted::Pending => Task::List(Box::new(Listing::new())),
            Wanted::Settle => Task::Settle(Box::new(Settling::new(id, given.get("jobId")).map_err(Err)?)),
            Wanted::Poll => {
                check_id(id).map_err(Err)?;
                let job = given.get("job");
                if JobFacts::read(job).is_some_and(|facts| facts.meets(self.goal(given))) {
                    return Err(Ok(job));
                }
                Task::Poll(0, 0)
            }
        })
    }

    /// What a step is expected to cost, in credits.
    ///
    /// # Errors
    /// `InvalidRequestError` with the field that cannot be used.
    fn estimate(&self, question: H::Value) -> Result<f64, Failure<H::Value>> {
        let Some(step) = Step::parse(question.get("step")) else {
            return Err(refuse("step", "must be submit, preview or render"));
        };
        self.config.prices.estimate(step, question.number_of("seconds"), ModelVersion::of(question)?)
    }

    pub(crate) fn leave(&mut self, number: u32) {
        let Some(place) = self.find(number) else { return };
        if let Owner::Call(call) = &place.owner {
            place.owner = Owner::Left(call.clone());
        }
        match &place.task {
            Some(Task::Charge(charge)) if charge.outlives_its_caller() => return,
            Some(Task::Charge(charge)) if charge.holds() => {
                let operation = charge.operation();
                self.release(number, operation);
            }
            Some(Task::Poll(watch, job)) => {
                let (watch, job) = (*watch, *job);
                self.unwatch(watch, job, number);
                // It has begun nothing, and there may be thousands.
                return self.end(number, None);
            }
            _ => {}
        }
        self.host.forget(number);
        while let Some(child) =
            self.tasks.iter().find(|place| matches!(place.owner, Owner::Task(parent, _) if parent == number))
        {
            let child = child.number;
            self.leave(child);
        }
        self.end(number, None);
    }

    pub(crate) fn late(&mut self, number: u32) {
        let Some(Place { owner: Owner::Call(call), task: Some(Task::Charge(charge)), .. }) = self.find(number) else {
            return;
        };
        let (call, outcome) = (call.clone(), charge.too_late());
        // First: when it is over, nobody knows the call any more.
        self.host.settle(&call, outcome);
        self.leave(number);
    }

    /// Adds a task and begins it; its number.
    fn add(&mut self, owner: Owner<H::Call>, task: Task<H::Value>) -> u32 {
        let number = self.place(owner, task);
        self.advance(number, 0, Ok(Value::nothing()));
        number
    }

    fn place(&mut self, owner: Owner<H::Call>, task: Task<H::Value>) -> u32 {
        self.youngest = self.youngest.wrapping_add(1).max(1);
        self.tasks.push(Place { number: self.youngest, owner, task: Some(task) });
        self.youngest
    }

    /// Where a task is or would be.
    fn at(&self, number: u32) -> usize {
        self.tasks.partition_point(|place| is_older(place.number, number))
    }

    fn find(&mut self, number: u32) -> Option<&mut Place<H>> {
        let at = self.at(number);
        self.tasks.get_mut(at).filter(|place| place.number == number)
    }

    /// Whether the call that a task was begun for was left.
    fn is_left(&mut self, number: u32) -> bool {
        matches!(self.find(number), Some(Place { owner: Owner::Left(_), .. }))
    }

    fn advance(&mut self, number: u32, from: u32, answer: Answer<H::Value>) {
        let Some(mut task) = self.find(number).and_then(|place| place.task.take()) else { return };
        let outcome = match &mut task {
            Task::Read(reading) => self.read_on(number, reading, answer),
            Task::Charge(charge) => self.charge_on(number, charge, answer),
            Task::List(listing) => self.list_on(number, listing, answer),
            Task::Settle(settling) => self.settle_on(number, settling, answer),
            Task::Watch(watch) => {
                if self.look_on(number, watch, from, answer) {
                    self.end(number, None);
                    return;
                }
                None
            }
            Task::Poll(..) => None,
            Task::Ask => Some(Ok(self.told(answer))),
        };
        if outcome.is_some() {
            self.end(number, outcome);
            return;
        }
        let Some(place) = self.find(number) else { return };
        place.task = Some(task);
        // A charge that went on without its caller stops where nothing would be lost by it.
        if let Owner::Left(_) = place.owner {
            self.leave(number);
        }
    }

    /// Removes a task, and tells whoever waited for it. Nothing is told to a call that hears by another way.
    fn end(&mut self, number: u32, outcome: Option<Outcome<H::Value>>) {
        if self.find(number).is_none() {
            return;
        }
        let at = self.at(number);
        match (self.tasks.remove(at).owner, outcome) {
            (Owner::Call(call), Some(outcome)) => self.host.settle(&call, outcome),
            (Owner::Left(call), _) => self.host.over(&call),
            (Owner::Task(parent, what), Some(outcome)) => {
                self.advance(parent, what, outcome.map_err(|failure| failure.0));
            }
            _ => {}
        }
    }
}

/// Whether a number was given before another. They begin anew after four thousand million, and by then the old ones are over.
const fn is_older(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}
