//! The waits for jobs: one loop polls a job for all who wait for it.
//!
//! Where the calls of a client may wake one another, the loop is a task that every wait for the job shares; elsewhere each
//! wait runs a loop of its own.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use futures_channel::oneshot;

use super::history::Timing;
use super::reading::{Failed, retry_after};
use super::tasks::{Either, Notify, Slots, race};
use super::{Client, Outcome};
use crate::api::{Endpoint, Goal, Status, job_id};
use crate::error::{Error, ErrorKind};
use crate::host::{Answer, Env, Event, Host, OnUpdate, Reply};
use crate::job::JobFacts;
use crate::poll::{self, Ending, FLOOR, HIDDEN, LONGEST, Look, Memory, Wish};
use crate::retry;

/// How long a wait lasts by default, in milliseconds: longer than any render that was reported.
const POLL_TIMEOUT: f64 = 1_800_000.0;
/// A timer that is later than this, in milliseconds, slept with its machine or its page: in hidden pages they come once a
/// minute.
const ASLEEP: f64 = 2.0 * HIDDEN;

/// How a job is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PollOptions {
    /// What is waited for. By default the result of the last step that this client charged for, else the first `done`.
    pub until: Option<Goal>,
    /// Milliseconds until the wait gives up; by default 30 minutes.
    pub timeout: Option<f64>,
    /// How long such jobs take, in milliseconds.
    pub expected_ms: Option<f64>,
    /// The longest interval between two polls, in milliseconds.
    pub max_interval: Option<f64>,
    /// Whether the caller listens for changes, and so wants them soon.
    pub attentive: bool,
}

/// The jobs that a client waits for.
pub(super) struct Watches<V> {
    jobs: RefCell<Vec<Rc<Watch<V>>>>,
    /// The polls that may be in flight.
    slots: Rc<Slots>,
    /// No poll before this: what a `Retry-After` asked for, on the monotonic clock.
    quiet_until: Cell<f64>,
    env: Cell<Env>,
    /// Numbers the waiters.
    last: Cell<u64>,
}

impl<V> Watches<V> {
    pub fn new<H: Host>(host: &H) -> Self {
        Self {
            jobs: RefCell::default(),
            slots: Slots::new(host.polls_at_once()),
            quiet_until: Cell::new(f64::NEG_INFINITY),
            env: Cell::new(Env { visible: true, online: true }),
            last: Cell::new(0),
        }
    }
}

/// A job that is waited for.
struct Watch<V> {
    id: String,
    /// Wakes the loop.
    changed: Notify,
    /// Whether a page came back to the job, so that it is worth a poll.
    stale: Cell<bool>,
    /// The answer to a poll of another tab, and when that was requested, on the monotonic clock.
    heard: RefCell<Option<(f64, Answer<V>)>>,
    state: RefCell<State<V>>,
}

struct State<V> {
    /// As last seen, or as it was given.
    job: Option<V>,
    facts: Option<JobFacts>,
    memory: Memory,
    /// When the next poll is due, and when the last one was requested, on the monotonic clock.
    due: f64,
    polled_at: f64,
    waiters: Vec<Waiter<V>>,
}

/// A call that waits for a job.
struct Waiter<V> {
    number: u64,
    wish: Wish,
    sender: oneshot::Sender<Outcome<V>>,
    on_update: Option<Rc<OnUpdate<V>>>,
}

impl<V: Clone> State<V> {
    fn plan(&mut self, now: f64, first: bool) {
        let Some(facts) = &self.facts else { return };
        let wait = poll::next(facts, &self.memory, now).in_ms;
        self.due = now + self.waiters.iter().fold(wait, |wait, waiter| wait.min(waiter.wish.longest(first)));
    }

    /// When the next poll is due in these surroundings: nobody sees a hidden page, so once a minute is enough.
    fn due_in(&self, env: Env) -> f64 {
        if env.visible || self.facts.is_none() { self.due } else { self.due.max(self.polled_at + HIDDEN) }
    }

    /// Ends the waits that a predicate picks.
    fn end(&mut self, outcome: impl Fn(&Waiter<V>) -> Option<Outcome<V>>) {
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

    /// Ends the waits whose time is over; when the next one's is.
    fn expire(&mut self, id: &str, now: f64) -> f64 {
        self.waiters.retain(|waiter| !waiter.sender.is_canceled());
        let job = self.job.clone();
        self.end(|waiter| {
            let message = "The job was still running when the time to wait was over. poll() it again to go on waiting.";
            let error = || Error::new(ErrorKind::PollTimeout, message).with_job_id(Some(id)).with_job(job.clone());
            (waiter.wish.deadline <= now).then(|| Err(error()))
        });
        self.waiters.iter().fold(f64::INFINITY, |next, waiter| next.min(waiter.wish.deadline))
    }
}

/// A wait; dropping it ends the wait, and the loop where nobody else waits.
struct Waiting<H: Host> {
    client: Client<H>,
    watch: Rc<Watch<H::Value>>,
    number: u64,
}

impl<H: Host> Drop for Waiting<H> {
    fn drop(&mut self) {
        self.watch.state.borrow_mut().waiters.retain(|waiter| waiter.number != self.number);
        self.watch.changed.notify();
        self.client.forget_unwatched(&self.watch);
    }
}

type Polled<V> = (f64, Result<Reply<V>, Error<V>>);
type InFlight<V> = Pin<Box<dyn Future<Output = Polled<V>>>>;

impl<H: Host> Client<H> {
    /// Waits until a job's preview or video is there. `job` is the job as last seen, if it was.
    ///
    /// # Errors
    /// `JobFailed`, `PollTimeout`, `IncompleteResult`, `InvalidRequest`, and `Api` with 401, 403 or 404.
    pub async fn poll(
        &self,
        id: &str,
        job: Option<H::Value>,
        options: PollOptions,
        on_update: Option<OnUpdate<H::Value>>,
    ) -> Outcome<H::Value> {
        let id = job_id(id)?;
        let timing = self.0.history.borrow().timing(&id);
        let goal = options.until.or(timing.map(|timing| timing.goal)).unwrap_or(Goal::Done);
        let facts = job.as_ref().and_then(|job| self.facts(job));
        if let (Some(facts), Some(job)) = (&facts, &job)
            && facts.meets(goal)
        {
            return Ok(job.clone());
        }
        let now = self.host().now();
        let wish = Wish {
            goal,
            deadline: now + options.timeout.map_or(POLL_TIMEOUT, |ms| poll::between(ms, 0.0, LONGEST)),
            max_interval: options.max_interval.filter(|ms| *ms > 0.0).unwrap_or(LONGEST),
            attentive: options.attentive,
        };
        let expected = options.expected_ms.filter(|ms| *ms > 0.0).or(timing.and_then(|timing| timing.expected));
        // A job that has ended otherwise is polled once more before it is believed: the copy may be old.
        let facts = facts.filter(|facts| facts.status.is_active());
        let memory = Memory::new(timing.map_or(now, |timing| timing.since), expected.unwrap_or(f64::NAN));

        let (sender, receiver) = oneshot::channel();
        let number = self.0.watches.last.get() + 1;
        self.0.watches.last.set(number);
        let waiter = Waiter { number, wish, sender, on_update: on_update.map(Rc::new) };
        let shares = self.host().shares();
        let found = if shares { self.watch_of(&id) } else { None };
        let is_new = found.is_none();
        let watch = found.unwrap_or_else(|| {
            let state = State { job, facts, memory, due: now, polled_at: now, waiters: Vec::new() };
            Rc::new(Watch {
                id,
                changed: Notify::default(),
                stale: Cell::new(false),
                heard: RefCell::default(),
                state: RefCell::new(state),
            })
        });
        {
            let mut state = watch.state.borrow_mut();
            let soonest = now + waiter.wish.longest(true);
            state.waiters.push(waiter);
            if is_new {
                state.plan(now, true);
            } else {
                state.due = state.due.min(soonest);
            }
        }
        let waiting = Waiting { client: self.clone(), watch: Rc::clone(&watch), number };
        if !shares {
            return match race(self.watch(watch, timing), receiver).await {
                Either::Second(Ok(outcome)) => outcome,
                _ => Err(Error::no_answer()),
            };
        }
        if is_new {
            let first = {
                let mut jobs = self.0.watches.jobs.borrow_mut();
                jobs.push(Rc::clone(&watch));
                jobs.len() == 1
            };
            if first {
                self.0.watches.env.set(self.host().env());
                self.host().listen(true);
            }
            let client = self.clone();
            let looped = Rc::clone(&watch);
            self.host().spawn(async move {
                client.watch(Rc::clone(&looped), timing).await;
                client.forget_unwatched(&looped);
            });
        } else {
            watch.changed.notify();
        }
        drop(watch);
        let outcome = receiver.await;
        drop(waiting);
        outcome.unwrap_or_else(|oneshot::Canceled| Err(Error::no_answer()))
    }

    fn watch_of(&self, id: &str) -> Option<Rc<Watch<H::Value>>> {
        self.0.watches.jobs.borrow().iter().find(|watch| watch.id == id).map(Rc::clone)
    }

    /// Takes a job that nobody waits for off the list.
    fn forget_unwatched(&self, watch: &Rc<Watch<H::Value>>) {
        if !watch.state.borrow().waiters.is_empty() {
            return;
        }
        let mut jobs = self.0.watches.jobs.borrow_mut();
        let Some(at) = jobs.iter().position(|other| Rc::ptr_eq(other, watch)) else { return };
        jobs.swap_remove(at);
        let last = jobs.is_empty();
        drop(jobs);
        if last {
            self.host().listen(false);
        }
    }

    /// Polls a job until nobody waits for it.
    async fn watch(&self, watch: Rc<Watch<H::Value>>, timing: Option<Timing>) {
        let host = self.host();
        let mut in_flight: Option<InFlight<H::Value>> = None;
        let mut asked = timing.and_then(|timing| timing.kind).is_none();
        let mut until = f64::INFINITY;
        loop {
            let now = host.now();
            // Nobody could poll while the machine slept, so it was no time to wait.
            if now - until > ASLEEP {
                let slept = now - until;
                watch.state.borrow_mut().waiters.iter_mut().for_each(|waiter| waiter.wish.deadline += slept);
            }
            if let Some((at, answer)) = watch.heard.take() {
                in_flight = None;
                self.polled(&watch, at, Ok(Reply::Answer(answer)));
            }
            let (deadline, due) = {
                let mut state = watch.state.borrow_mut();
                let deadline = state.expire(&watch.id, now);
                if watch.stale.take() {
                    state.due = state.due.min(now);
                }
                (deadline, state.due_in(host.env()).max(self.0.watches.quiet_until.get()))
            };
            if deadline.is_infinite() {
                return;
            }
            if due <= now && in_flight.is_none() {
                watch.state.borrow_mut().polled_at = now;
                in_flight = Some(Box::pin(self.clone().poll_once(watch.id.clone())));
            }
            until = if in_flight.is_some() { deadline } else { deadline.min(due) };
            let timer = async { host.sleep(poll::between(until - host.now(), 0.0, LONGEST)).await };
            let pause = race(watch.changed.notified(), timer);
            if let Some(polling) = &mut in_flight {
                if let Either::First((at, reply)) = race(polling, pause).await {
                    in_flight = None;
                    self.polled(&watch, at, reply);
                }
            } else if asked {
                pause.await;
            } else {
                // The journal may know how long such jobs take. No poll is later for it.
                asked = true;
                if let Either::First(Some(expected)) = race(self.duration_of(&watch.id), pause).await {
                    let mut state = watch.state.borrow_mut();
                    if state.memory.expected < 0.0 {
                        state.memory.expected = expected;
                        let (due, first) = (state.due, state.memory.looks == 0);
                        state.plan(host.now(), first);
                        state.due = state.due.min(due);
                    }
                }
            }
        }
    }

    /// One poll, in its turn: the reply, and when it was requested, on the monotonic clock.
    async fn poll_once(self, id: String) -> Polled<H::Value> {
        let host = self.host();
        let _slot = if host.shares() { Some(self.0.watches.slots.acquire().await) } else { None };
        let turn = if host.shares() { host.turn(&id).await } else { None };
        let (at, wall) = (host.now(), host.wall());
        let reply = self.request(Endpoint::Get, &id, self.config().timeout).await;
        if let (Some(turn), Ok(Reply::Answer(answer))) = (turn, &reply) {
            host.publish(turn, wall, answer);
        }
        (at, reply)
    }

    /// Takes in the reply to a poll that was requested at `at`.
    fn polled(&self, watch: &Watch<H::Value>, at: f64, reply: Result<Reply<H::Value>, Error<H::Value>>) {
        let now = self.host().now();
        let judged = self.judge_read(Endpoint::Get, &watch.id, reply);
        let mut state = watch.state.borrow_mut();
        state.polled_at = at;
        let job = match judged {
            Ok(job) => job,
            Err(failed) => return self.missed(watch, &mut state, failed, now),
        };
        self.earn_token();
        self.notice(&job);
        let Some(facts) = self.facts(&job) else { return };
        let changed = state.facts.as_ref() != Some(&facts) || state.memory.looks == 0;
        state.memory.observe(&facts, now);
        // A copy in which nothing changed is not kept: the caller may still have the first.
        if changed {
            state.job = Some(job.clone());
        }
        let missing = facts.status == Status::Done && state.waiters.iter().any(|waiter| !facts.meets(waiter.wish.goal));
        state.memory.incomplete = if missing { state.memory.incomplete + 1 } else { 0 };
        state.facts = Some(facts.clone());
        state.plan(now, false);
        if changed {
            let remaining_ms = poll::next(&facts, &state.memory, now).remaining_ms;
            let look = Look { in_ms: state.due_in(self.host().env()) - now, remaining_ms };
            self.host().emit(Event::Poll { job_id: &watch.id, in_ms: look.in_ms });
            for waiter in &state.waiters {
                if let Some(on_update) = &waiter.on_update {
                    on_update(&job, look);
                }
            }
        }
        let memory = state.memory;
        state.end(|waiter| {
            let about = |error: Error<H::Value>| error.with_job_id(Some(&watch.id)).with_job(Some(job.clone()));
            match poll::ending(&facts, waiter.wish.goal, &memory) {
                Ending::None => None,
                Ending::Reached => Some(Ok(job.clone())),
                Ending::Failed => Some(Err(about(self.failed(&facts, &job)))),
                Ending::Incomplete => {
                    let message =
                        "The job is done, but the URL that was waited for did not come. Look again later with get().";
                    Some(Err(about(Error::new(ErrorKind::IncompleteResult, message))))
                }
            }
        });
    }

    /// Takes in a poll that brought no job.
    fn missed(&self, watch: &Watch<H::Value>, state: &mut State<H::Value>, failed: Failed<H::Value>, now: f64) {
        let Failed { error, .. } = failed;
        let status = error.status();
        if matches!(status, Some(401 | 403 | 404)) || matches!(error.kind(), ErrorKind::InvalidRequest { .. }) {
            if status == Some(404) {
                self.gone(&watch.id);
            }
            return state.end(|_| Some(Err(error.clone())));
        }
        let asked = retry_after(&error);
        let wait = retry::backoff(state.memory.failures, self.host().random(), asked).max(FLOOR);
        state.due = now + wait;
        state.memory.failures = state.memory.failures.saturating_add(1);
        // One job's `Retry-After` is every job's.
        let quiet = if status == Some(429) { asked.or(Some(wait)) } else { asked };
        if let Some(quiet) = quiet {
            let until = &self.0.watches.quiet_until;
            until.set(until.get().max(now + quiet));
        }
    }

    fn failed(&self, facts: &JobFacts, job: &H::Value) -> Error<H::Value> {
        let [given] = self.host().members(job, ["failed_reason"]);
        let rejected = facts.status == Status::Rejected;
        let reason = given.filled().unwrap_or(if rejected {
            "the provider rejected the job and gave no reason"
        } else {
            "the job failed and the provider gave no reason"
        });
        let message = format!("The job {}: {reason}", if rejected { "was rejected" } else { "failed" });
        Error::new(ErrorKind::JobFailed { reason: reason.into() }, message)
    }

    /// The environment has changed. A page that is shown again, or a network that came back, is worth one poll of every job.
    pub fn environment_changed(&self) {
        let env = self.host().env();
        let before = self.0.watches.env.replace(env);
        let better = env.online && !before.online || env.visible && !before.visible;
        self.wake_all(better);
    }

    /// The page is shown again after it was put aside whole.
    pub fn page_restored(&self) {
        self.wake_all(true);
    }

    fn wake_all(&self, stale: bool) {
        for watch in self.0.watches.jobs.borrow().iter() {
            if stale {
                watch.stale.set(true);
            }
            watch.changed.notify();
        }
    }

    /// Another tab of the account has polled a job: its answer, and when it was requested, in milliseconds since 1970.
    pub fn hear(&self, id: &str, asked_at: f64, answer: Answer<H::Value>) {
        let Some(watch) = self.watch_of(id) else { return };
        let asked = self.host().now() - self.host().wall() + asked_at;
        let facts = match &answer.body {
            crate::host::Body::Json(job) if answer.status < 300 => self.facts(job).filter(|facts| facts.id == id),
            _ => None,
        };
        let good = {
            let state = watch.state.borrow();
            if asked >= state.memory.looked {
                // What ends a wait otherwise than by the job (401, 403, 404), or is no answer, each tab learns for itself.
                facts.is_some() || answer.status > 404
            } else {
                // It is older than the wait or its last poll: only that the job goes on is believed, where nothing is known.
                state.facts.is_none() && facts.is_some_and(|facts| facts.status.is_active())
            }
        };
        if good {
            *watch.heard.borrow_mut() = Some((self.host().now(), answer));
            watch.changed.notify();
        }
    }
}
