//! Two small futures: a race of two futures, and a notification.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

/// The result of a race.
pub enum Either<A, B> {
    First(A),
    Second(B),
}

/// Runs two futures until one is ready, and drops the other. If both are ready, the first wins.
pub async fn race<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> Either<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if let Poll::Ready(result) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(result));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// Wakes the one task that waits for it. An earlier notification is kept.
#[derive(Default)]
pub struct Notify {
    notified: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Notify {
    /// Notifies.
    pub fn notify(&self) {
        self.notified.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for a notification.
    pub async fn notified(&self) {
        poll_fn(|context| {
            if self.notified.take() {
                return Poll::Ready(());
            }
            self.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
