//! What the hosts of one browser share: locks, and the polls of its tabs.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use futures_channel::oneshot;

/// Locks by name, each with those that wait for it, first come, first served. A name that is there is held.
#[derive(Default)]
pub struct Locks(RefCell<BTreeMap<String, VecDeque<oneshot::Sender<Lock>>>>);

impl fmt::Debug for Locks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.borrow().keys()).finish()
    }
}

/// A lock; dropping it passes it on.
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
            // The senders live until it is their turn.
            Some(receiver) => match receiver.await {
                Ok(lock) => lock,
                Err(oneshot::Canceled) => std::future::pending().await,
            },
        }
    }

    /// The names that are held.
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
                // It does not wait any more.
                Err(mut lock) => lock.locks = None,
            }
        }
    }
}
