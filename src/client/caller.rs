//! The caller of a charge, and the claim of an operation in one client.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;

use super::tasks::{Either, Notify, race};
use super::{Client, Outcome};
use crate::error::{Charged, Error};
use crate::host::Host;
use crate::poll;

/// The interval at which a call checks whether another call of the same operation has ended, in milliseconds.
pub(super) const JOIN_INTERVAL: f64 = 100.0;

/// The caller of a charge, as the charge sees it.
pub(super) struct Caller<V> {
    /// When it stops waiting, on the monotonic clock.
    deadline: Cell<f64>,
    deadline_moved: Notify,
    /// Its outcome if it stops waiting now.
    late: RefCell<Option<Outcome<V>>>,
    /// The job of the charge, once known.
    job_id: RefCell<Option<String>>,
    /// Whether the operation was accepted, as far as known. `ChargeUnknown` overrides it.
    charged: Cell<Charged>,
}

impl<V> Caller<V> {
    /// A caller that waits until the deadline.
    pub fn new(job_id: Option<String>, deadline: f64, charged: Charged) -> Self {
        Self {
            deadline: Cell::new(deadline),
            deadline_moved: Notify::default(),
            late: RefCell::new(None),
            job_id: RefCell::new(job_id),
            charged: Cell::new(charged),
        }
    }

    /// Sets the outcome for a caller that stops waiting from now on.
    pub fn if_late(&self, outcome: Outcome<V>) {
        *self.late.borrow_mut() = Some(outcome);
    }

    /// When it stops waiting.
    pub fn deadline(&self) -> f64 {
        self.deadline.get()
    }

    /// Moves the deadline.
    pub fn move_deadline(&self, deadline: f64) {
        self.deadline.set(deadline);
        self.deadline_moved.notify();
    }

    /// Records whether the operation was accepted.
    pub fn was_charged(&self, charged: Charged) {
        self.charged.set(charged);
    }

    /// Records the job of the charge.
    pub fn is_about(&self, job_id: &str) {
        *self.job_id.borrow_mut() = Some(job_id.into());
    }

    /// Waits for the outcome of the charge, or for the deadline.
    pub async fn wait(&self, host: &impl Host, work: impl Future<Output = Outcome<V>>) -> Outcome<V> {
        let mut work = pin!(work);
        loop {
            let time_over = async {
                host.sleep(poll::between(self.deadline.get() - host.now(), 0.0, poll::LONGEST)).await;
            };
            match race(work.as_mut(), race(self.deadline_moved.notified(), time_over)).await {
                Either::First(outcome) => return outcome,
                Either::Second(_) if host.now() < self.deadline.get() => {}
                Either::Second(_) => return self.late.take().unwrap_or_else(|| Err(Error::charge_unknown())),
            }
        }
    }

    /// The same error, with the operation and its job.
    pub fn about(&self, operation: &str, error: Error<V>) -> Error<V> {
        error.of_charge(operation, self.charged.get()).with_job_id(self.job_id.borrow().as_deref())
    }
}

/// A claim on an operation within one client. Dropping it ends the claim.
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
    /// Waits until no other call of this client charges for the operation, and claims it.
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
