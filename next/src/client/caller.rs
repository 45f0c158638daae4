//! The caller of a charge, and the claim of an operation in one client.

use std::future::{Future, poll_fn};
use std::pin::pin;

use futures_channel::oneshot;

use super::tasks::{Either, race};
use super::{Client, Outcome};
use crate::error::Error;
use crate::host::Host;
use crate::poll;

/// How long between two checks whether another call has finished with the same operation, in milliseconds.
const JOIN_INTERVAL: f64 = 100.0;

/// Why a charge ends without a job.
pub(super) enum Stop<V> {
    /// Its caller left, or was answered already.
    Gone,
    Error(Error<V>),
}

impl<V> From<Error<V>> for Stop<V> {
    fn from(error: Error<V>) -> Self {
        Self::Error(error)
    }
}

/// The caller of a charge: it waits until its deadline, or leaves before.
pub(super) struct Caller<V> {
    sender: Option<oneshot::Sender<Outcome<V>>>,
    operation: String,
    /// The job that the charge is about, once it is known.
    pub job_id: Option<String>,
    /// On the monotonic clock.
    pub deadline: f64,
}

impl<V> Caller<V> {
    /// A caller of this operation, and where it receives the outcome.
    pub fn new(operation: &str, job_id: Option<String>, deadline: f64) -> (Self, oneshot::Receiver<Outcome<V>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender: Some(sender), operation: operation.into(), job_id, deadline }, receiver)
    }

    pub fn is_gone(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_canceled)
    }

    /// Answers, unless that was done already.
    pub fn answer(&mut self, outcome: Outcome<V>) {
        if let Some(sender) = self.sender.take() {
            let about = |error: Error<V>| error.with_operation(&self.operation).with_job_id(self.job_id.as_deref());
            // Where the caller has left, nobody wants it.
            let _ = sender.send(outcome.map_err(about));
        }
    }

    /// The result of work before the request. It is dropped where the caller leaves, or its time is over first: then the
    /// caller gets the error `late`.
    pub async fn before<T>(
        &mut self,
        host: &impl Host,
        work: impl Future<Output = T>,
        late: impl FnOnce() -> Error<V>,
    ) -> Result<T, Stop<V>> {
        let deadline = self.deadline;
        let Some(sender) = &mut self.sender else { return Err(Stop::Gone) };
        let left = poll_fn(|context| sender.poll_canceled(context));
        let late_or_left = race(left, async { host.sleep(time_left(host, deadline)).await });
        match race(work, late_or_left).await {
            Either::First(result) => Ok(result),
            Either::Second(Either::First(())) => Err(Stop::Gone),
            Either::Second(Either::Second(())) => Err(Stop::Error(late())),
        }
    }

    /// The result of work that is done whether the caller waits or not. Where its time is over first, it gets `late`.
    pub async fn meanwhile<T>(
        &mut self,
        host: &impl Host,
        work: impl Future<Output = T>,
        late: impl FnOnce() -> Outcome<V>,
    ) -> T {
        let mut work = pin!(work);
        match self.before(host, work.as_mut(), Error::charge_unknown).await {
            Ok(result) => return result,
            Err(Stop::Gone) => {}
            Err(Stop::Error(_)) => self.answer(late()),
        }
        work.await
    }
}

fn time_left(host: &impl Host, deadline: f64) -> f64 {
    poll::between(deadline - host.now(), 0.0, poll::LONGEST)
}

/// The claim of an operation in one client; it ends when it is dropped.
pub(super) struct InFlight<H: Host>(Client<H>, String);

impl<H: Host> Drop for InFlight<H> {
    fn drop(&mut self) {
        let mut in_flight = self.0.0.in_flight.borrow_mut();
        if let Some(at) = in_flight.iter().position(|operation| *operation == self.1) {
            in_flight.swap_remove(at);
        }
    }
}

impl<H: Host> Client<H> {
    /// Waits until no other call of this client charges for the operation.
    pub(super) async fn take_turn(&self, operation: &str) -> InFlight<H> {
        while self.is_in_flight(operation) {
            self.host().sleep(JOIN_INTERVAL).await;
        }
        self.0.in_flight.borrow_mut().push(operation.into());
        InFlight(self.clone(), operation.into())
    }

    /// Whether this client is charging for the operation.
    pub(super) fn is_in_flight(&self, operation: &str) -> bool {
        self.0.in_flight.borrow().iter().any(|charging| charging == operation)
    }
}
