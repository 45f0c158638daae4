//! The waits for jobs: one loop with one timer polls all jobs of a client.
//!
//! If the calls of a client must not wake one another, each wait runs its own loop.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use futures_channel::oneshot;

use super::reading::{Failed, retry_after};
use super::tasks::{Either, race};
use super::watches::{Begun, News, Poll, Seen, State, Waiter, Waiting, Watch, Watches};
use super::{Client, Outcome};
use crate::api::{Endpoint, Goal, Status, job_id};
use crate::error::{Error, ErrorKind};
use crate::host::{Answer, Event, Host, OnUpdate, Reply, Update};
use crate::job::JobFacts;
use crate::poll::{self, Ending, HIDDEN, LONGEST, Memory, Terms, Urgency};
use crate::retry;

/// The default timeout of a wait, in milliseconds: longer than any reported render.
const POLL_TIMEOUT: f64 = 1_800_000.0;
/// The shortest interval after a failed poll, in milliseconds.
const AFTER_FAILURE: f64 = 1_500.0;
/// A timer that fires later than this, in milliseconds, was asleep with its machine or page. In hidden pages timers fire once a
/// minute.
const ASLEEP: f64 = 2.0 * HIDDEN;
/// The shortest time between two passes over all jobs, in milliseconds per job.
const PASS: f64 = 0.01;
/// The interval of updates between polls, in milliseconds.
const TICK: f64 = 1_000.0;

/// The options of a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PollOptions {
    /// The result to wait for. By default that of the last step that this client charged for, otherwise the first `done`.
    pub until: Option<Goal>,
    /// The timeout in milliseconds; by default 30 minutes.
    pub timeout: Option<f64>,
    /// The expected duration of such jobs, in milliseconds.
    pub expected_ms: Option<f64>,
    /// The longest interval between two polls, in milliseconds.
    pub max_interval: Option<f64>,
    /// Whether the caller listens for updates, and so polls more often.
    pub attentive: bool,
    /// The trade of requests against lag.
    pub urgency: Urgency,
}

impl<H: Host> Client<H> {
    /// Waits for a job's preview or video. `job` is the job as last seen, if known. The wait starts at once, so that the future
    /// stays small; there may be thousands. Dropping it ends the wait.
    ///
    /// # Errors
    /// `JobFailed`, `PollTimeout`, `IncompleteResult`, `InvalidRequest`, and `Api` with 401, 403 or 404.
    pub fn poll(
        &self,
        id: &str,
        job: Option<H::Value>,
        options: PollOptions,
        on_update: Option<OnUpdate<H::Value>>,
    ) -> impl Future<Output = Outcome<H::Value>> + use<H> {
        let begun = match options.check().and_then(|()| job_id(id)) {
            Ok(id) => self.begin_wait(id, job, options, on_update),
            Err(refusal) => Begun::Ended(Err(refusal.into())),
        };
        let client = self.clone();
        async move {
            let outcome = match begun {
                Begun::Ended(outcome) => outcome,
                Begun::Shared(receiver, _waiting) => {
                    receiver.await.unwrap_or_else(|oneshot::Canceled| Err(Error::no_answer()))
                }
                // Boxed, so that the other variants stay small.
                Begun::Alone(receiver, waiting) => {
                    let watches = Rc::clone(&waiting.watches);
                    match race(receiver, Box::pin(client.watch(watches))).await {
                        Either::First(Ok(outcome)) => outcome,
                        _ => Err(Error::no_answer()),
                    }
                }
            };
            outcome.map_err(|error| client.of_last_charge(error))
        }
    }

    /// Adds the last known charge for the job of an error.
    fn of_last_charge(&self, error: Error<H::Value>) -> Error<H::Value> {
        let history = self.0.history.borrow();
        let known = error.job_id().and_then(|id| history.find(id));
        match known.map(|known| (known.operation.as_str(), known.entry.charged())) {
            Some((operation, charged)) => error.of_charge(operation, charged),
            None => error,
        }
    }

    fn begin_wait(
        &self,
        id: String,
        job: Option<H::Value>,
        options: PollOptions,
        on_update: Option<OnUpdate<H::Value>>,
    ) -> Begun<H::Value> {
        let timing = self.0.history.borrow().timing(&id);
        let goal = options.until.or(timing.map(|timing| timing.goal)).unwrap_or(Goal::Done);
        let facts = job.as_ref().and_then(|job| self.facts(job));
        if let (Some(facts), Some(job)) = (&facts, &job)
            && facts.meets(goal)
        {
            if let Some(on_update) = on_update {
                let step = timing.map(|timing| timing.step);
                on_update(Update { job, step, progress: Some(1.0), remaining_ms: None, next_poll_ms: None });
            }
            return Begun::Ended(Ok(job.clone()));
        }
        let now = self.host().now();
        let terms = Terms {
            goal,
            deadline: now + options.timeout.map_or(POLL_TIMEOUT, |ms| poll::between(ms, 0.0, LONGEST)),
            max_interval: options.max_interval.unwrap_or(LONGEST),
            attentive: options.attentive,
            urgency: options.urgency,
        };
        let (sender, receiver) = oneshot::channel();
        let number = self.0.last_waiter.get() + 1;
        self.0.last_waiter.set(number);
        let on_update = on_update.map(Rc::new);
        let waiter = Waiter { number, terms, sender, on_update: on_update.clone() };

        let shares = self.host().shares();
        let watches = if shares { Rc::clone(&self.0.watches) } else { Watches::new(self.host()) };
        let watch = if let Some(watch) = watches.find(&id) {
            let mut state = watch.state.borrow_mut();
            state.due = state.due.min(now + terms.longest());
            state.waiters.push(waiter);
            state.plan_sooner(now);
            drop(state);
            watch
        } else {
            let expected = options.expected_ms.or(timing.and_then(|timing| timing.expected));
            let mut state = State {
                job,
                // A final job is polled once more, since the caller's copy may be old.
                facts: facts.filter(|facts| facts.status.is_active()),
                memory: Memory::new(timing.map_or(now, |timing| timing.since), expected),
                kind: timing.and_then(|timing| timing.kind),
                due: now,
                polled_at: now,
                poll: Poll::Idle,
                step: timing.map(|timing| timing.step),
                shown: None,
                updated_at: now,
                waiters: vec![waiter],
            };
            state.memory.charged = timing.is_some_and(|timing| timing.goal == Goal::Video);
            state.plan(now);
            let watch = Rc::new(Watch { id, state: RefCell::new(state) });
            let mut jobs = watches.jobs.borrow_mut();
            jobs.push(Rc::clone(&watch));
            let first = jobs.len() == 1;
            drop(jobs);
            self.ask_duration(&watches, &watch);
            if shares && first {
                let client = self.clone();
                self.host().spawn(async move { client.watch(Rc::clone(&client.0.watches)).await });
            }
            watch
        };
        self.schedule(&watches, &watch, now);
        watches.wake_at(terms.deadline);
        if let Some(on_update) = on_update {
            watches.wake_at(now + TICK);
            // The first update is emitted at once.
            if let Some((job, news)) = self.news(&watch, now) {
                on_update(news.update(&job, Ending::None));
            }
        }
        let waiting = Waiting { watches, watch, number };
        if shares { Begun::Shared(receiver, waiting) } else { Begun::Alone(receiver, waiting) }
    }

    /// The job as last polled, and its current update; `None` before the first poll.
    fn news(&self, watch: &Watch<H::Value>, now: f64) -> Option<(H::Value, News)> {
        let mut state = watch.state.borrow_mut();
        state.facts.as_ref()?;
        let news = state.news(now, self.host().env(), self.0.quiet_until.get());
        Some((state.job.clone()?, news))
    }

    /// Reads the duration of such jobs from the journal. It delays no poll.
    fn ask_duration(&self, watches: &Rc<Watches<H::Value>>, watch: &Rc<Watch<H::Value>>) {
        let Some(kind) = watch.state.borrow().kind else { return };
        if !self.0.history.borrow_mut().ask(&watch.id) {
            return;
        }
        let (client, watches, id) = (self.clone(), Rc::clone(watches), watch.id.clone());
        self.host().spawn(async move {
            let Some(expected) = client.duration_of(&id).await else { return };
            let now = client.host().now();
            let jobs: Vec<_> = watches.jobs.borrow().iter().map(Rc::clone).collect();
            for watch in jobs {
                let mut state = watch.state.borrow_mut();
                if state.kind == Some(kind) && state.memory.expected.is_none() {
                    state.memory.expected = Some(expected);
                    state.plan_sooner(now);
                    drop(state);
                    client.schedule(&watches, &watch, now);
                }
            }
        });
    }

    /// Polls jobs until there are no more waits.
    async fn watch(&self, watches: Rc<Watches<H::Value>>) {
        let host = self.host();
        let mut env = host.env();
        let is_shared = Rc::ptr_eq(&watches, &self.0.watches);
        if is_shared {
            host.listen(true);
        }
        while !watches.jobs.borrow().is_empty() {
            let (now, until) = (host.now(), watches.until.get());
            // Poll every job once if the page is shown again or the network is back.
            let before = std::mem::replace(&mut env, host.env());
            let better = env.online && !before.online || env.visible && !before.visible || self.0.restored.take();
            if now >= until || better {
                // The time in which the machine slept does not count towards timeouts.
                let slept = if now - until > ASLEEP { now - until } else { 0.0 };
                self.pass(&watches, now, slept, better);
            }
            self.start_due(&watches, now);
            let timer = async { host.sleep(poll::between(watches.until.get() - host.now(), 0.0, LONGEST)).await };
            race(watches.changed.notified(), timer).await;
        }
        watches.until.set(f64::INFINITY);
        if is_shared {
            host.listen(false);
        }
    }

    /// One pass over all jobs: ends the waits that have timed out, and queues the polls that are due.
    fn pass(&self, watches: &Watches<H::Value>, now: f64, slept: f64, better: bool) {
        watches.until.set(f64::INFINITY);
        let visible = self.host().env().visible;
        let jobs: Vec<_> = watches.jobs.borrow().iter().map(Rc::clone).collect();
        for watch in &jobs {
            let mut state = watch.state.borrow_mut();
            state.waiters.iter_mut().for_each(|waiter| waiter.terms.deadline += slept);
            let deadline = state.expire(&watch.id, now);
            if better {
                state.due = state.due.min(now);
            }
            drop(state);
            watches.until.set(watches.until.get().min(deadline));
            self.schedule(watches, watch, now);
            if visible {
                self.tick(watches, watch, now);
            }
        }
        // Polls that are due at nearly the same time share a pass, so that ten thousand jobs need no more passes than one.
        watches.until.set(watches.until.get().max(now + PASS * jobs.len() as f64));
    }

    /// Emits an update to the listeners of a job each second, without a request.
    fn tick(&self, watches: &Watches<H::Value>, watch: &Watch<H::Value>, now: f64) {
        let mut state = watch.state.borrow_mut();
        if !state.is_listened_to() {
            return;
        }
        let due = state.updated_at + TICK;
        let is_due = due <= now;
        watches.until.set(watches.until.get().min(if is_due { now + TICK } else { due }));
        if !is_due {
            return;
        }
        state.updated_at = now;
        let listeners: Vec<_> = state.waiters.iter().filter_map(|waiter| waiter.on_update.clone()).collect();
        drop(state);
        if let Some((job, news)) = self.news(watch, now) {
            for on_update in listeners {
                on_update(news.update(&job, Ending::None));
            }
        }
    }

    /// Queues the poll of a job if it is due, otherwise wakes the loop when it will be.
    fn schedule(&self, watches: &Watches<H::Value>, watch: &Rc<Watch<H::Value>>, now: f64) {
        let mut state = watch.state.borrow_mut();
        if !matches!(state.poll, Poll::Idle) || state.waiters.is_empty() {
            return;
        }
        let due = state.due_in(self.host().env());
        if due > now {
            return watches.wake_at(due);
        }
        state.poll = Poll::Queued;
        watches.queue.borrow_mut().push_back(Rc::clone(watch));
        watches.changed.notify();
    }

    /// Starts queued polls, up to the limit of polls in flight.
    fn start_due(&self, watches: &Rc<Watches<H::Value>>, now: f64) {
        if self.0.quiet_until.get() > now {
            if !watches.queue.borrow().is_empty() {
                watches.until.set(watches.until.get().min(self.0.quiet_until.get()));
            }
            return;
        }
        while watches.polling.get() < watches.limit {
            let next = watches.queue.borrow_mut().pop_front();
            let Some(watch) = next else { return };
            let mut state = watch.state.borrow_mut();
            if !matches!(state.poll, Poll::Queued) {
                continue;
            }
            let (sender, aborted) = oneshot::channel();
            state.poll = Poll::InFlight(sender);
            state.polled_at = now;
            let attempt = state.memory.failures.saturating_add(1);
            drop(state);
            watches.polling.set(watches.polling.get() + 1);
            let (client, watches) = (self.clone(), Rc::clone(watches));
            self.host().spawn(async move {
                if let Either::Second((at, reply)) = race(aborted, client.poll_once(&watch.id, attempt)).await {
                    watches.polling.set(watches.polling.get() - 1);
                    client.polled(&watches, &watch, at, reply);
                }
            });
        }
    }

    /// Polls once. Returns the time of the request, on the monotonic clock, and the reply.
    async fn poll_once(&self, id: &str, attempt: u32) -> (f64, Result<Reply<H::Value>, Error<H::Value>>) {
        let host = self.host();
        let turn = if host.shares() { host.turn(id).await } else { None };
        let (at, wall) = (host.now(), host.wall());
        let reply = self.request(Endpoint::Get, id, self.config().timeout, attempt).await;
        if let (Some(turn), Ok(Reply::Answer(answer))) = (turn, &reply) {
            host.publish(turn, wall, answer);
        }
        (at, reply)
    }

    /// Handles the reply to a poll that was requested at `at`.
    fn polled(
        &self,
        watches: &Watches<H::Value>,
        watch: &Rc<Watch<H::Value>>,
        at: f64,
        reply: Result<Reply<H::Value>, Error<H::Value>>,
    ) {
        let now = self.host().now();
        let judged = self.judge_read(Endpoint::Get, &watch.id, reply);
        let mut state = watch.state.borrow_mut();
        state.poll = Poll::Idle;
        state.polled_at = at;
        let seen = match judged {
            Ok(job) => self.seen(watch, &mut state, job, now),
            Err(failed) => {
                self.missed(watch, &mut state, failed, now);
                None
            }
        };
        drop(state);
        // Listeners may end waits and start others, so no borrow is held.
        if let Some(Seen { job, news, changed, listeners }) = seen {
            if changed {
                self.host().emit(Event::Poll { job_id: &watch.id, in_ms: news.next_poll_ms });
            }
            for (on_update, ending) in listeners {
                on_update(news.update(&job, ending));
            }
        }
        let unwatched = watch.state.borrow().waiters.is_empty();
        if !unwatched {
            self.schedule(watches, watch, now);
        }
        // Another poll may start.
        if !watches.queue.borrow().is_empty() {
            watches.changed.notify();
        }
    }

    /// Handles a successful poll.
    fn seen(
        &self,
        watch: &Rc<Watch<H::Value>>,
        state: &mut State<H::Value>,
        job: H::Value,
        now: f64,
    ) -> Option<Seen<H::Value>> {
        self.earn_token();
        self.notice(&job);
        let facts = self.facts(&job)?;
        let changed = state.facts.as_ref() != Some(&facts) || state.memory.polls == 0;
        state.memory.observe(&facts, now);
        // An unchanged job stays the same object, which the caller may still hold.
        if changed {
            state.job = Some(job.clone());
        }
        if let Some(timing) = self.0.history.borrow().timing(&watch.id) {
            state.step = Some(timing.step);
            state.memory.charged |= timing.goal == Goal::Video;
        }
        let missing = facts.status == Status::Done && state.waiters.iter().any(|waiter| !facts.meets(waiter.terms.goal));
        state.memory.miss(missing, now);
        state.facts = Some(facts.clone());
        state.plan(now);
        let news = state.news(now, self.host().env(), self.0.quiet_until.get());
        let ending = |waiter: &Waiter<H::Value>, memory: &Memory| poll::ending(&facts, waiter.terms.goal, memory);
        let memory = state.memory;
        let mut listeners = Vec::new();
        for waiter in &state.waiters {
            let ending = ending(waiter, &memory);
            if let Some(on_update) = &waiter.on_update
                && (changed || !matches!(ending, Ending::None | Ending::Uncharged))
            {
                listeners.push((Rc::clone(on_update), ending));
            }
        }
        if changed {
            state.updated_at = now;
        }
        state.end(|waiter| {
            let about = |error: Error<H::Value>| error.with_job_id(Some(&watch.id)).with_job(Some(job.clone()));
            match ending(waiter, &memory) {
                Ending::None | Ending::Uncharged => None,
                Ending::Reached => Some(Ok(job.clone())),
                Ending::Failed => Some(Err(about(self.failed(&facts, &job)))),
                Ending::Incomplete => {
                    let message = "The job is done, but its URL is missing.";
                    Some(Err(about(Error::new(ErrorKind::IncompleteResult { uncharged: false }, message))))
                }
            }
        });
        if state.waiters.iter().any(|waiter| ending(waiter, &memory) == Ending::Uncharged) {
            let (client, watch) = (self.clone(), Rc::clone(watch));
            self.host().spawn(async move { client.end_uncharged(&watch).await });
        }
        Some(Seen { job, news, changed, listeners })
    }

    /// Ends the waits for a video without a known charge, unless another client has charged for it.
    async fn end_uncharged(&self, watch: &Watch<H::Value>) {
        let is_charged = self.is_charged(&watch.id, |step| step.goal() == Goal::Video).await;
        let mut state = watch.state.borrow_mut();
        if is_charged {
            state.memory.charged = true;
            return;
        }
        let (Some(facts), memory, job) = (state.facts.clone(), state.memory, state.job.clone()) else { return };
        state.end(|waiter| {
            let message = "The job is done without a video, and the journal has no render of it.";
            let error = Error::new(ErrorKind::IncompleteResult { uncharged: true }, message).with_job_id(Some(&watch.id));
            let is_over = poll::ending(&facts, waiter.terms.goal, &memory) == Ending::Uncharged;
            is_over.then(|| Err(error.with_job(job.clone())))
        });
    }

    /// Handles a failed poll.
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
        let wait = retry::backoff(state.memory.failures, self.host().random(), asked).max(AFTER_FAILURE);
        state.due = now + wait;
        state.memory.failures = state.memory.failures.saturating_add(1);
        // `Retry-After` holds back all jobs.
        let quiet = if status == Some(429) { asked.or(Some(wait)) } else { asked };
        if let Some(quiet) = quiet {
            let until = &self.0.quiet_until;
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

    /// Reports that the environment has changed, or that the page was `restored` from the back-forward cache.
    pub fn environment_changed(&self, restored: bool) {
        if restored {
            self.0.restored.set(true);
        }
        self.0.watches.changed.notify();
    }

    /// Receives the response to another tab's poll, which was requested at `asked_at`, in milliseconds since 1970.
    pub fn receive(&self, id: &str, asked_at: f64, answer: Answer<H::Value>) {
        let Some(watch) = self.0.watches.find(id) else { return };
        let asked = self.host().now() - self.host().wall() + asked_at;
        let facts = match &answer.body {
            crate::host::Body::Json(job) if (200..300).contains(&answer.status) => {
                self.facts(job).filter(|facts| facts.id == id)
            }
            _ => None,
        };
        let good = {
            let state = watch.state.borrow();
            if asked >= state.memory.polled_at {
                // Each tab must see failures that end a wait (401, 403, 404) itself.
                facts.is_some() || answer.status > 404
            } else {
                // It is older than the wait or its last poll: use it only if nothing is known yet and the job is still active.
                state.facts.is_none() && facts.is_some_and(|facts| facts.status.is_active())
            }
        };
        if good {
            let aborted = std::mem::replace(&mut watch.state.borrow_mut().poll, Poll::Idle);
            if matches!(aborted, Poll::InFlight(_)) {
                self.0.watches.polling.set(self.0.watches.polling.get() - 1);
            }
            drop(aborted);
            self.polled(&self.0.watches, &watch, self.host().now(), Ok(Reply::Answer(answer)));
        }
    }
}
