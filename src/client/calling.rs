//! The calls as futures, for Rust: front ends written in it, and tests.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{Client, Outcome, Owner, Wanted};
use crate::api::{Endpoint, Goal, ModelVersion, Step};
use crate::charge::State;
use crate::error::Failure;
use crate::host::Host;
use crate::poll::Look;
use crate::value::Value;

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
    /// Whether every change is wanted soon.
    pub attentive: bool,
}

/// An operation of the journal, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation<T> {
    /// Its id.
    pub operation: T,
    /// Where it stands.
    pub state: State,
    /// What it charges for.
    pub step: Step,
    /// When it was first written, in milliseconds since 1970.
    pub at: f64,
    /// The id of its job, or nothing.
    pub job: T,
}

impl<T> Operation<T> {
    fn read<V: Value<Owned = T>>(record: V) -> Option<Self> {
        Some(Self {
            operation: record.get("operation").own(),
            state: match record.get("state").one_of("posting bound unknown ended") {
                0 => State::Posting,
                1 => State::Bound,
                2 => State::Unknown,
                _ => State::Ended,
            },
            step: Step::parse(record.get("step"))?,
            at: record.number_of("at"),
            job: record.get("jobId").own(),
        })
    }
}

/// A value of a host that belongs to whoever has it.
type Owned<H> = <<H as Host>::Value as Value>::Owned;

/// Hears of every change of a job.
type Updated<T> = Box<dyn Fn(&T, Look)>;

/// Where a future finds what its call came to: the [`Call`](Host::Call) of hosts that serve Rust.
pub struct Slot<T> {
    outcome: RefCell<Option<Outcome<T>>>,
    waker: RefCell<Option<Waker>>,
    settled: Cell<bool>,
    /// Whether nobody waits for it any more.
    left: Cell<bool>,
    /// What ends the caller's patience.
    alarm: RefCell<Option<Box<dyn Any>>>,
    /// The client, while it goes on with a charge that nobody waits for.
    client: RefCell<Option<Rc<dyn Any>>>,
    updated: Updated<T>,
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Slot")
    }
}

impl<T: Clone> Slot<T> {
    fn new(updated: impl Fn(&T, Look) + 'static) -> Rc<Self> {
        Rc::new(Self {
            outcome: RefCell::default(),
            waker: RefCell::default(),
            settled: Cell::new(false),
            left: Cell::new(false),
            alarm: RefCell::default(),
            client: RefCell::default(),
            updated: Box::new(updated),
        })
    }

    /// For [`Host::settle`].
    pub fn settle(&self, result: Outcome<T>) {
        self.settled.set(true);
        drop(self.alarm.take());
        *self.outcome.borrow_mut() = Some(result);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether the call has ended.
    pub fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// For [`Host::alarm`]: the timer, which is dropped when nobody waits for the call any more.
    pub fn keep_alarm(&self, timer: impl Any) {
        *self.alarm.borrow_mut() = Some(Box::new(timer));
    }

    /// For [`Host::update`].
    pub fn update(&self, job: &T, look: Look) {
        if !self.left.get() {
            (self.updated)(job, look);
        }
    }
}

/// A call. It begins when it is first polled, and is left when it is dropped. A charge that may have been sent then goes
/// on by itself, and keeps its client for as long.
pub struct Calling<H: Host>
where
    H: Host<Call = Rc<Slot<Owned<H>>>>,
{
    client: Client<H>,
    wanted: Wanted,
    given: Owned<H>,
    slot: Rc<Slot<Owned<H>>>,
    task: u32,
    begun: bool,
}

impl<T: Clone + 'static, V: Value<Owned = T>, H: Host<Value = V, Call = Rc<Slot<T>>>> Unpin for Calling<H> {}

impl<T: Clone + 'static, V: Value<Owned = T>, H: Host<Value = V, Call = Rc<Slot<T>>>> fmt::Debug for Calling<H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Calling")
    }
}

impl<T: Clone + 'static, V: Value<Owned = T>, H: Host<Value = V, Call = Rc<Slot<T>>>> Future for Calling<H> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<T>> {
        if !self.begun {
            self.begun = true;
            self.task = self.client.start(self.wanted, V::lend(&self.given), &self.slot);
        }
        let outcome = self.slot.outcome.borrow_mut().take();
        let Some(outcome) = outcome else {
            *self.slot.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        };
        self.task = 0;
        Poll::Ready(outcome)
    }
}

impl<H> Drop for Calling<H>
where
    H: Host<Call = Rc<Slot<Owned<H>>>>,
{
    fn drop(&mut self) {
        drop(self.slot.alarm.take());
        self.slot.left.set(true);
        if self.task > 0 && self.slot.outcome.borrow().is_none() {
            self.client.leave(self.task);
        }
        let goes_on = self.client.0.borrow().tasks.iter().any(|place| match &place.owner {
            Owner::Left(call) => Rc::ptr_eq(call, &self.slot),
            _ => false,
        });
        if goes_on {
            // A circle: the client's task holds the slot. It opens when the task ends.
            let client: Rc<dyn Any> = Rc::clone(&self.client.0) as _;
            *self.slot.client.borrow_mut() = Some(client);
        }
    }
}

impl<T: Clone + 'static, V: Value<Owned = T>, H: Host<Value = V, Call = Rc<Slot<T>>>> Client<H> {
    fn call(&self, wanted: Wanted, given: V, updated: impl Fn(&T, Look) + 'static) -> Calling<H> {
        Calling { client: self.clone(), wanted, given: given.own(), slot: Slot::new(updated), task: 0, begun: false }
    }

    fn charge(&self, endpoint: Endpoint, id: V, request: &T, options: &ChargeOptions) -> Calling<H> {
        let given = V::record()
            .with("id", id)
            .with("request", V::lend(request))
            .with("operation", text_or_nothing(options.operation.as_deref()));
        let given =
            given.with("seconds", number_or_nothing(options.seconds)).with("timeout", number_or_nothing(options.timeout));
        self.call(Wanted::Endpoint(endpoint), given, |_, _| ())
    }

    /// `POST /api/custom_template_jobs/`: straight to the video. The job comes back pending.
    pub fn submit(&self, request: &T, options: &ChargeOptions) -> Calling<H> {
        self.charge(Endpoint::Submit, V::nothing(), request, options)
    }

    /// `POST /api/custom_template_jobs/preview_async/`. The job comes back pending.
    pub fn preview_async(&self, request: &T, options: &ChargeOptions) -> Calling<H> {
        self.charge(Endpoint::PreviewAsync, V::nothing(), request, options)
    }

    /// `POST /api/custom_template_jobs/preview/`: one request that blocks until the preview is there.
    pub fn preview_sync(&self, request: &T, options: &ChargeOptions) -> Calling<H> {
        self.charge(Endpoint::PreviewSync, V::nothing(), request, options)
    }

    /// `POST /api/custom_template_jobs/{id}/render/`. A job that is rendered, or about to be, is returned and not charged.
    pub fn render(&self, id: &str, request: Option<&T>, options: &ChargeOptions) -> Calling<H> {
        let nothing = V::nothing().own();
        self.charge(Endpoint::Render, V::text_of(id), request.unwrap_or(&nothing), options)
    }

    fn read(&self, endpoint: Endpoint, id: V, timeout: Option<f64>) -> Calling<H> {
        let given = V::record().with("id", id).with("timeout", number_or_nothing(timeout));
        self.call(Wanted::Endpoint(endpoint), given, |_, _| ())
    }

    /// The job of that id. `timeout` is for one request, in milliseconds.
    pub fn get(&self, id: &str, timeout: Option<f64>) -> Calling<H> {
        self.read(Endpoint::Get, V::text_of(id), timeout)
    }

    /// The account's templates: a list.
    pub fn templates(&self, timeout: Option<f64>) -> Calling<H> {
        self.read(Endpoint::Templates, V::nothing(), timeout)
    }

    /// The account's balance, in credits: a number.
    pub fn remaining_credits(&self, timeout: Option<f64>) -> Calling<H> {
        self.read(Endpoint::RemainingCredits, V::nothing(), timeout)
    }

    /// What a step is expected to cost, in credits.
    ///
    /// # Errors
    /// `InvalidRequestError` where the length is none.
    pub fn price(&self, step: Step, seconds: f64, model: ModelVersion) -> Result<f64, Failure<T>> {
        self.0.borrow().config.prices.estimate::<V>(step, seconds, model).map_err(Failure::own)
    }

    /// What the journal knows and has not seen end.
    ///
    /// # Errors
    /// `JournalError`.
    pub async fn pending(&self) -> Result<Vec<Operation<T>>, Failure<T>> {
        let list = V::lend(&self.call(Wanted::Pending, V::record(), |_, _| ()).await?);
        let records = (0..).map(|index| list.nth(index)).take_while(|record| record.is_there());
        Ok(records.filter_map(Operation::read).collect())
    }

    /// Looks again at an operation whose outcome is unknown. `job` is the id, where the caller has found it.
    ///
    /// # Errors
    /// `InvalidRequestError` where the journal does not know it.
    pub async fn settle(&self, operation: &str, job: Option<&str>) -> Result<Option<Operation<T>>, Failure<T>> {
        let given = V::record().with("id", V::text_of(operation)).with("jobId", text_or_nothing(job));
        Ok(Operation::read(V::lend(&self.call(Wanted::Settle, given, |_, _| ()).await?)))
    }

    /// Waits until a job's preview or video is there. `job` is the job as last seen, if it was.
    pub fn poll(&self, id: &str, job: Option<&T>, options: PollOptions) -> Calling<H> {
        self.watched(id, job, options, |_, _| ())
    }

    /// As `poll`, and hears of every change.
    pub fn watched(
        &self,
        id: &str,
        job: Option<&T>,
        options: PollOptions,
        updated: impl Fn(&T, Look) + 'static,
    ) -> Calling<H> {
        let until = options.until.map(|goal| match goal {
            Goal::Preview => "preview",
            Goal::Video => "video",
            Goal::Done => "done",
        });
        let given = V::record()
            .with("id", V::text_of(id))
            .with("until", text_or_nothing(until))
            .with("timeout", number_or_nothing(options.timeout))
            .with("expectedMs", number_or_nothing(options.expected_ms))
            .with("maxInterval", number_or_nothing(options.max_interval))
            .with("attentive", V::truth(options.attentive));
        let given = if let Some(job) = job { given.with("job", V::lend(job)) } else { given };
        self.call(Wanted::Poll, given, updated)
    }

    /// A preview that is waited for: `preview_async`, then `poll`.
    pub async fn preview(&self, request: &T, charge: &ChargeOptions, wait: PollOptions) -> Outcome<T> {
        let job = V::lend(&self.preview_async(request, charge).await?);
        let given = V::record().with("id", job.get("id")).with("job", job).with_text("until", "preview");
        let given =
            given.with("timeout", number_or_nothing(wait.timeout)).with("expectedMs", number_or_nothing(wait.expected_ms));
        let given =
            given.with("maxInterval", number_or_nothing(wait.max_interval)).with("attentive", V::truth(wait.attentive));
        self.call(Wanted::Poll, given, |_, _| ()).await
    }
}

fn number_or_nothing<V: Value>(number: Option<f64>) -> V {
    number.map_or_else(V::nothing, V::number)
}

fn text_or_nothing<V: Value>(it: Option<&str>) -> V {
    it.map_or_else(V::nothing, V::text_of)
}
