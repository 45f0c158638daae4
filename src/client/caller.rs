//! The caller of a charge, and the claim of an operation in one client.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;

use super::tasks::{Either, Notify, race};
use super::{Client, Outcome};
use crate::error::{Charged, Error};
use crate::host::Host;
use crate::poll;

/// How long between two checks whether another call has finished with the same operation, in milliseconds.
pub(super) const JOIN_INTERVAL: f64 = 100.0;

/// The caller of a charge, as the charge sees it.
pub(super) struct Caller<V> {
    /// When it stops waiting, on the monotonic clock.
    deadline: Cell<f64>,
    deadline_moved: Notify,
    /// What it gets if it stops waiting now.
    late: RefCell<Option<Outcome<V>>>,
    /// The job that the charge is about, once it is known.
    job_id: RefCell<Option<String>>,
    /// What is known of the operation; of one that may have been sent, the error itself says so.
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

    /// If its time is over from now on, the caller gets this.
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

    /// This is known of the operation from now on.
    pub fn was_charged(&self, charged: Charged) {
        self.charged.set(charged);
    }

    /// The charge is about this job.
    pub fn is_about(&self, job_id: &str) {
        *self.job_id.borrow_mut() = Some(job_id.into());
    }

    /// The outcome of the charge, or what there is when the time is over.
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

    /// An error about the operation and its job.
    pub fn about(&self, operation: &str, error: Error<V>) -> Error<V> {
        error.of_charge(operation, self.charged.get()).with_job_id(self.job_id.borrow().as_deref())
    }
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
