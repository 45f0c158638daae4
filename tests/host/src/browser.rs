//! Locks and shared polls of the hosts of one browser.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use futures_channel::oneshot;

/// Locks by name, each with its waiters in order of arrival. A name in the map is held.
#[derive(Default)]
pub struct Locks(RefCell<BTreeMap<String, VecDeque<oneshot::Sender<Lock>>>>);

impl fmt::Debug for Locks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.borrow().keys()).finish()
    }
}

/// A held lock. Dropping it passes it to the next waiter.
#[derive(Debug)]
pub struct Lock {
    name: String,
    locks: Option<Rc<Locks>>,
}

impl Locks {
    /// Waits for a lock.
    pub async fn lock(self: &Rc<Self>, name: &str) -> Lock {
        let waiting = {
            let mut held = self.0.borrow_mut();
            if let Some(queue) = held.get_mut(name) {
                let (sender, receiver) = oneshot::channel();
                queue.push_back(sender);
                Some(receiver)
            } else {
                held.insert(name.into(), VecDeque::new());
                None
            }
        };
        match waiting {
            None => Lock { name: name.into(), locks: Some(Rc::clone(self)) },
            // The senders are kept until their turn comes.
            Some(receiver) => match receiver.await {
                Ok(lock) => lock,
                Err(oneshot::Canceled) => std::future::pending().await,
            },
        }
    }

    /// The names of the held locks.
    pub fn held(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let Some(locks) = self.locks.take() else { return };
        loop {
            let next = {
                let mut held = locks.0.borrow_mut();
                let next = held.get_mut(&self.name).and_then(VecDeque::pop_front);
                if next.is_none() {
                    held.remove(&self.name);
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Self { name: self.name.clone(), locks: Some(Rc::clone(&locks)) }) {
                Ok(()) => return,
                // The waiter has given up.
                Err(mut lock) => lock.locks = None,
            }
        }
    }
}
