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

use std::cell::{Cell, RefCell};
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
use crate::value::Value;

/// How a client is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Config<V> {
    /// Where the API is, without a slash at the end.
    pub base_url: V,
    /// Whose journal entries these are; from the base URL and the API id.
    pub namespace: V,
    /// Milliseconds for one request.
    pub timeout: f64,
    /// Milliseconds for a preview that blocks, and for a charge whose caller went away.
    pub preview_timeout: f64,
    /// How often a read is tried again.
    pub max_retries: u32,
    /// What the client may spend, in credits; NaN where there is no limit.
    pub max_credits: f64,
    /// What calls cost.
    pub prices: PriceTable,
}

impl<V: Value> Config<V> {
    /// The provider's own address.
    pub const BASE_URL: &'static str = "https://api.creatify.ai";

    /// The defaults, for the API at `base_url` and the account `api_id`.
    pub fn new(base_url: &V, api_id: &V) -> Self {
        let base_url = base_url.replaced("/+$", &V::text(""));
        Self {
            namespace: V::number(api_id.hash(base_url.hash(0.0))),
            base_url,
            timeout: 30_000.0,
            preview_timeout: 300_000.0,
            max_retries: 3,
            max_credits: f64::NAN,
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
pub struct Client<H: Host>(Rc<Inner<H>>);

struct Inner<H: Host> {
    host: H,
    config: Config<H::Value>,
    known: RefCell<Known<H::Value>>,
    tasks: RefCell<Vec<Place<H>>>,
    /// The number of the youngest task. None is given twice: what comes late for one that is over must not reach another.
    youngest: Cell<u32>,
    /// The task that watches jobs for every call, where the host shares.
    watch: Cell<u32>,
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
    /// Another task; 0 for nobody.
    Task(u32),
}

enum Task<V> {
    Read(Reading<V>),
    Charge(Box<Charge<V>>),
    List(Box<Listing<V>>),
    Settle(Box<Settling<V>>),
    /// Looks at jobs. It is never taken out while it is advanced: the calls that it tells of changes may come back.
    Watch(Rc<RefCell<Watch<V>>>),
    /// Waits for a job that the task of that number looks at.
    Poll(u32),
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
        let known = RefCell::new(Known::new(config.max_credits));
        let (tasks, youngest, watch) = (RefCell::default(), Cell::new(0), Cell::new(0));
        let client = Self(Rc::new(Inner { host, config, known, tasks, youngest, watch }));
        let weak = Rc::downgrade(&client.0);
        client.host().connect(move |signal| match (weak.upgrade().map(Self), signal) {
            (Some(client), Signal::Resume(task, answer)) => client.resume(task, answer),
            (Some(client), Signal::Late(task)) => client.late(task),
            (None, _) => {}
        });
        client
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.0.host
    }

    /// Begins a call; the number of its task, or 0 where it has ended already. What it is given:
    /// - `id`, of a job or operation; `request`, the body; `job`, where a wait begins; `jobId`, for settling;
    /// - `timeout`, `expectedMs`, `maxInterval`: milliseconds; `seconds`, of video; `operation`; `until`; `attentive`.
    pub fn start(&self, wanted: Wanted, given: &H::Value, call: &H::Call) -> u32 {
        let task = match self.task_of(wanted, given) {
            Ok(task) => task,
            Err(result) => {
                self.host().settle(call, result.as_ref());
                return 0;
            }
        };
        let patience = if let Task::Charge(charge) = &task { Some(charge.timeout()) } else { None };
        let number = self.add(Owner::Call(call.clone()), task);
        if let Some(ms) = patience {
            self.host().alarm(call, number, ms);
        }
        if wanted == Wanted::Poll {
            self.watch(number, given);
        }
        number
    }

    /// The task that carries out a call; what it comes to where there is nothing to wait for.
    fn task_of(&self, wanted: Wanted, given: &H::Value) -> Result<Task<H::Value>, Outcome<H::Value>> {
        let id = given.get("id");
        Ok(match wanted {
            Wanted::Endpoint(endpoint) => {
                if let Some(step) = endpoint.charges() {
                    return Ok(Task::Charge(Box::new(self.prepare(endpoint, step, given).map_err(Err)?)));
                }
                if endpoint == Endpoint::Get {
                    check_id(&id).map_err(Err)?;
                }
                let timeout = given.number_of("timeout");
                let timeout = if timeout > 0.0 { timeout } else { self.0.config.timeout };
                Task::Read(Reading::new(endpoint, id, timeout, self.0.config.max_retries))
            }
            Wanted::Estimate => return Err(self.estimate(&given.get("request")).map(H::Value::number)),
            Wanted::Pending => Task::List(Box::new(Listing::new())),
            Wanted::Settle => Task::Settle(Box::new(Settling::new(id, given.get("jobId")).map_err(Err)?)),
            Wanted::Poll => {
                check_id(&id).map_err(Err)?;
                let job = given.get("job");
                if JobFacts::read(&job).is_some_and(|facts| facts.meets(self.goal(given))) {
                    return Err(Ok(job));
                }
                Task::Poll(0)
            }
        })
    }

    /// What a step is expected to cost, in credits.
    ///
    /// # Errors
    /// `InvalidRequestError` with the field that cannot be used.
    fn estimate(&self, question: &H::Value) -> Result<f64, Failure<H::Value>> {
        let Some(step) = Step::parse(&question.get("step")) else {
            return Err(refuse("step", "must be submit, preview or render"));
        };
        self.0.config.prices.estimate(step, question.number_of("seconds"), ModelVersion::of(question)?)
    }

    /// Hands a task what it waited for.
    pub fn resume(&self, task: u32, answer: Answer<H::Value>) {
        self.advance(task, 0, answer);
    }

    /// The caller does not want it any more: by an abort, or because the client is closed. A charge that may have been
    /// sent goes on by itself, to learn its job.
    pub fn leave(&self, number: u32) {
        let place = self.change(number, |place| {
            if let Owner::Call(call) = &place.owner {
                place.owner = Owner::Left(call.clone());
            }
            place.task.take()
        });
        // What is being advanced right now is left as soon as it has been.
        let Some(mut task) = place.flatten() else { return };
        if let Task::Charge(charge) = &mut task
            && charge.outlives_its_caller()
        {
            self.change(number, |place| place.task = Some(task));
            return;
        }
        self.host().forget(number);
        match &mut task {
            Task::Charge(charge) => self.release(charge),
            Task::Poll(watch) => self.unwatch(*watch, number),
            _ => {}
        }
        for child in self.children(number) {
            self.leave(child);
        }
        self.end(number, None);
    }

    /// The time of a charge's caller is over. The charge goes on where it may have been sent.
    pub fn late(&self, number: u32) {
        let told = self.change(number, |place| match (&place.owner, &place.task) {
            (Owner::Call(call), Some(Task::Charge(charge))) => Some((call.clone(), charge.too_late())),
            _ => None,
        });
        let Some((call, failure)) = told.flatten() else { return };
        self.leave(number);
        self.host().settle(&call, Err(&failure));
    }

    /// Adds a task and begins it; its number.
    fn add(&self, owner: Owner<H::Call>, task: Task<H::Value>) -> u32 {
        let number = self.place(owner, task);
        self.resume(number, Ok(Value::nothing()));
        number
    }

    fn place(&self, owner: Owner<H::Call>, task: Task<H::Value>) -> u32 {
        let number = self.0.youngest.get().wrapping_add(1);
        self.0.youngest.set(number);
        self.0.tasks.borrow_mut().push(Place { number, owner, task: Some(task) });
        number
    }

    /// Changes the place of a task. No borrow outlives this.
    fn change<T>(&self, number: u32, change: impl FnOnce(&mut Place<H>) -> T) -> Option<T> {
        self.0.tasks.borrow_mut().iter_mut().find(|place| place.number == number).map(change)
    }

    /// The call that waits for a task, if it still does.
    fn call_of(&self, number: u32) -> Option<H::Call> {
        let call = self.change(number, |place| if let Owner::Call(call) = &place.owner { Some(call.clone()) } else { None });
        call.flatten()
    }

    /// Whether the call that a task was begun for was left.
    fn is_left(&self, number: u32) -> bool {
        self.change(number, |place| matches!(place.owner, Owner::Left(_))) == Some(true)
    }

    /// The tasks that were begun for another one.
    fn children(&self, number: u32) -> Vec<u32> {
        let mut children = Vec::new();
        for place in self.0.tasks.borrow().iter() {
            if matches!(place.owner, Owner::Task(parent) if parent == number) {
                children.push(place.number);
            }
        }
        children
    }

    fn advance(&self, number: u32, from: u32, answer: Answer<H::Value>) {
        if let Some(watch) = self.watch_of(number) {
            if self.look_on(number, &watch, from, answer) {
                self.end_watch(number);
            }
            return;
        }
        let Some(mut task) = self.change(number, |place| place.task.take()).flatten() else { return };
        let outcome = match &mut task {
            Task::Read(reading) => self.read_on(number, reading, answer),
            Task::Charge(charge) => self.charge_on(number, charge, answer),
            Task::List(listing) => self.list_on(number, listing, answer),
            Task::Settle(settling) => self.settle_on(number, settling, answer),
            Task::Watch(_) | Task::Poll(_) => None,
        };
        if outcome.is_some() {
            self.end(number, outcome);
            return;
        }
        self.change(number, |place| place.task = Some(task));
        if self.is_left(number) {
            self.leave(number);
        }
    }

    /// Removes a task, and tells whoever waited for it. Nothing is told to a call that hears by another way.
    fn end(&self, number: u32, outcome: Option<Outcome<H::Value>>) {
        let place = {
            let places = &mut *self.0.tasks.borrow_mut();
            places.iter().position(|place| place.number == number).map(|at| places.swap_remove(at))
        };
        match (place.map(|place| place.owner), outcome) {
            (Some(Owner::Call(call)), Some(outcome)) => self.host().settle(&call, outcome.as_ref()),
            (Some(Owner::Left(call)), _) => self.host().over(&call),
            (Some(Owner::Task(parent)), Some(outcome)) => {
                self.advance(parent, number, outcome.map_err(|failure| failure.0));
            }
            _ => {}
        }
    }
}
