//! The jobs that a client waits for: their waiters, their state, and their next polls.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_channel::oneshot;

use super::Outcome;
use super::tasks::Notify;
use crate::api::Step;
use crate::error::{Error, ErrorKind};
use crate::host::{Env, Host, OnUpdate, Update};
use crate::job::JobFacts;
use crate::poll::{self, Ending, HIDDEN, Mark, Memory, Terms};

/// The jobs that are polled by one loop: those of a client if its calls may wake one another, otherwise those of one call.
pub(super) struct Watches<V> {
    pub jobs: RefCell<Vec<Rc<Watch<V>>>>,
    /// The jobs whose poll is due, in order.
    pub queue: RefCell<VecDeque<Rc<Watch<V>>>>,
    /// How many polls are in flight, and how many may be.
    pub polling: Cell<usize>,
    pub limit: usize,
    /// When the loop next wakes by itself, on the monotonic clock.
    pub until: Cell<f64>,
    /// Wakes the loop.
    pub changed: Notify,
}

impl<V> Watches<V> {
    pub fn new<H: Host>(host: &H) -> Rc<Self> {
        Rc::new(Self {
            jobs: RefCell::default(),
            queue: RefCell::default(),
            polling: Cell::new(0),
            limit: host.polls_at_once(),
            until: Cell::new(f64::INFINITY),
            changed: Notify::default(),
        })
    }

    pub fn find(&self, id: &str) -> Option<Rc<Watch<V>>> {
        self.jobs.borrow().iter().find(|watch| watch.id == id).map(Rc::clone)
    }

    /// Wakes the loop no later than at this time.
    pub fn wake_at(&self, at: f64) {
        if at < self.until.get() {
            self.until.set(at);
            self.changed.notify();
        }
    }
}

/// A job that is waited for.
pub(super) struct Watch<V> {
    pub id: String,
    pub state: RefCell<State<V>>,
}

pub(super) struct State<V> {
    /// The job as last polled, or as the caller passed it.
    pub job: Option<V>,
    pub facts: Option<JobFacts>,
    pub memory: Memory,
    pub kind: Option<u64>,
    /// When the next poll is due, and when the last one was requested, on the monotonic clock.
    pub due: f64,
    pub polled_at: f64,
    pub poll: Poll,
    /// The last step that this client charged for.
    pub step: Option<Step>,
    /// The progress in the last update. It never falls.
    pub shown: Option<Mark>,
    /// The time of the last update, on the monotonic clock.
    pub updated_at: f64,
    pub waiters: Vec<Waiter<V>>,
}

/// The poll of a job.
pub(super) enum Poll {
    Idle,
    Queued,
    /// Dropping the sender aborts it.
    InFlight(#[expect(dead_code, reason = "dropping it aborts the poll")] oneshot::Sender<()>),
}

/// The result of a poll: the job, its updates, and the listeners with the ending that it means for each.
pub(super) struct Seen<V> {
    pub job: V,
    pub news: News,
    pub changed: bool,
    pub listeners: Vec<(Rc<OnUpdate<V>>, Ending)>,
}

/// The parts of an update besides the job.
#[derive(Clone, Copy)]
pub(super) struct News {
    pub step: Option<Step>,
    pub progress: Option<f64>,
    pub remaining_ms: Option<f64>,
    pub next_poll_ms: f64,
}

impl News {
    /// The update for a listener whose wait continues or ends.
    pub fn update<V>(self, job: &V, ending: Ending) -> Update<'_, V> {
        let Self { step, progress, remaining_ms, next_poll_ms } = self;
        match ending {
            Ending::None | Ending::Uncharged => {
                Update { job, step, progress, remaining_ms, next_poll_ms: Some(next_poll_ms) }
            }
            Ending::Reached => Update { job, step, progress: Some(1.0), remaining_ms: None, next_poll_ms: None },
            _ => Update { job, step, progress, remaining_ms: None, next_poll_ms: None },
        }
    }
}

/// A call that waits for a job.
pub(super) struct Waiter<V> {
    pub number: u64,
    pub terms: Terms,
    pub sender: oneshot::Sender<Outcome<V>>,
    pub on_update: Option<Rc<OnUpdate<V>>>,
}

impl<V: Clone> State<V> {
    pub fn plan(&mut self, now: f64) {
        let Some(facts) = &self.facts else { return };
        let urgency = self.waiters.iter().map(|waiter| waiter.terms.urgency).max().unwrap_or_default();
        let wait = poll::next(facts, &self.memory, urgency, now);
        if self.memory.incomplete > 0 && !self.memory.charged {
            // A job that is done without a known charge for more is polled ever less often, whatever `max_interval` says.
            let hurried = self.waiters.iter().any(|waiter| waiter.terms.max_interval < wait);
            self.due = now + if hurried { wait.min(poll::while_incomplete(&self.memory)) } else { wait };
            return;
        }
        self.due = now + self.waiters.iter().fold(wait, |wait, waiter| wait.min(waiter.terms.longest()));
    }

    /// Plans the next poll again after something became known. It never moves the poll to a later time.
    pub fn plan_sooner(&mut self, now: f64) {
        let due = self.due;
        self.plan(now);
        self.due = self.due.min(due);
    }

    /// When the next poll is due in this environment. In a hidden page once a minute is enough, and without a network polls are
    /// likely to fail. The first poll is not delayed.
    pub fn due_in(&self, env: Env) -> f64 {
        let longest = match env {
            _ if self.facts.is_none() && self.memory.failures == 0 => 0.0,
            Env { visible: false, .. } => HIDDEN,
            Env { online: false, .. } => poll::CAP,
            _ => 0.0,
        };
        self.due.max(self.polled_at + longest)
    }

    /// The current update. No poll is before `quiet_until`.
    pub fn news(&mut self, now: f64, env: Env, quiet_until: f64) -> News {
        let mut remaining_ms = None;
        if let Some(facts) = &self.facts {
            self.shown = poll::progress(facts, &self.memory, self.shown, now);
            remaining_ms = poll::remaining(facts, &self.memory, now);
        }
        let next = if matches!(self.poll, Poll::Idle) { self.due_in(env).max(quiet_until) } else { now };
        News {
            step: self.step,
            progress: self.shown.map(|mark| mark.progress),
            remaining_ms,
            next_poll_ms: (next - now).max(0.0),
        }
    }

    pub fn is_listened_to(&self) -> bool {
        self.waiters.iter().any(|waiter| waiter.on_update.is_some())
    }

    /// Ends the waits that have an outcome.
    pub fn end(&mut self, outcome: impl Fn(&Waiter<V>) -> Option<Outcome<V>>) {
        let mut at = 0;
        while let Some(waiter) = self.waiters.get(at) {
            match outcome(waiter) {
                Some(outcome) => {
                    let _ = self.waiters.swap_remove(at).sender.send(outcome);
                }
                None => at += 1,
            }
        }
    }

    /// Ends the waits whose deadline has passed. Returns the next deadline.
    pub fn expire(&mut self, id: &str, now: f64) -> f64 {
        let job = self.job.clone();
        self.end(|waiter| {
            let message = "The job was still running at the end of the timeout.";
            let error = || Error::new(ErrorKind::PollTimeout, message).with_job_id(Some(id)).with_job(job.clone());
            (waiter.terms.deadline <= now).then(|| Err(error()))
        });
        self.waiters.iter().fold(f64::INFINITY, |next, waiter| next.min(waiter.terms.deadline))
    }
}

/// A wait. Dropping it ends the wait, and the polls of the job if there is no other wait.
pub(super) struct Waiting<V> {
    pub watches: Rc<Watches<V>>,
    pub watch: Rc<Watch<V>>,
    pub number: u64,
}

impl<V> Drop for Waiting<V> {
    fn drop(&mut self) {
        let mut state = self.watch.state.borrow_mut();
        state.waiters.retain(|waiter| waiter.number != self.number);
        let unwatched = state.waiters.is_empty();
        drop(state);
        if unwatched {
            let mut jobs = self.watches.jobs.borrow_mut();
            if let Some(at) = jobs.iter().position(|other| Rc::ptr_eq(other, &self.watch)) {
                jobs.swap_remove(at);
                let last = jobs.is_empty();
                drop(jobs);
                let poll = std::mem::replace(&mut self.watch.state.borrow_mut().poll, Poll::Idle);
                if matches!(poll, Poll::InFlight(_)) {
                    self.watches.polling.set(self.watches.polling.get() - 1);
                }
                // Another poll may start, or the loop ends.
                if last || matches!(poll, Poll::InFlight(_)) {
                    self.watches.changed.notify();
                }
            }
        }
    }
}

/// A wait that has started.
pub(super) enum Begun<V> {
    /// It has its outcome already.
    Ended(Outcome<V>),
    /// The client's loop polls its job.
    Shared(oneshot::Receiver<Outcome<V>>, Waiting<V>),
    /// It runs a loop of its own.
    Alone(oneshot::Receiver<Outcome<V>>, Waiting<V>),
}
