//! Small futures that the calls are made of: the first of two, a notification, and a limit of what runs at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_channel::oneshot;

/// The result of the future that was first.
pub enum Either<A, B> {
    First(A),
    Second(B),
}

/// Runs two futures until one is ready. The first has precedence; the other is dropped.
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

/// Wakes the one task that waits for it. A notification that comes first is kept.
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

/// A limit of what runs at once, first come, first served.
pub struct Slots {
    free: Cell<usize>,
    queue: RefCell<VecDeque<oneshot::Sender<Slot>>>,
}

/// A place among those that run. It is free again when this is dropped.
pub struct Slot(Option<Rc<Slots>>);

impl Slots {
    /// So many places.
    pub fn new(places: usize) -> Rc<Self> {
        Rc::new(Self { free: Cell::new(places), queue: RefCell::default() })
    }

    /// Waits for a place.
    pub async fn acquire(self: &Rc<Self>) -> Slot {
        let free = self.free.get();
        if free > 0 {
            self.free.set(free - 1);
            return Slot(Some(Rc::clone(self)));
        }
        let (sender, receiver) = oneshot::channel();
        self.queue.borrow_mut().push_back(sender);
        match receiver.await {
            Ok(slot) => slot,
            // The senders live as long as the queue, so this does not happen.
            Err(oneshot::Canceled) => Slot(None),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(slots) = self.0.take() else { return };
        loop {
            let next = slots.queue.borrow_mut().pop_front();
            let Some(sender) = next else { break };
            match sender.send(Self(Some(Rc::clone(&slots)))) {
                Ok(()) => return,
                // Nobody waits there any more: the place goes to the next one.
                Err(mut slot) => slot.0 = None,
            }
        }
        slots.free.set(slots.free.get() + 1);
    }
}
