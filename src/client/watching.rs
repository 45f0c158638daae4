//! How jobs are waited for: the schedule says when to look, and this looks and tells whoever waits.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::answer::{Failure, Outcome, timed_out};
use super::tasks::{Arrival, either};
use super::{Calling, ChargeOptions, Client, PollOptions};
use crate::api::{Endpoint, Goal, JobFacts, check_id};
use crate::error::{Error, Reason, remove_where};
use crate::host::{Event, Host};
use crate::poll::{self, LONGEST, Memory, Notice, Schedule, Seen, Wish};

/// How long a wait lasts where nobody says, in milliseconds: longer than any render that was reported.
const POLL_TIMEOUT: f64 = 1_800_000.0;
/// How long a step is expected to take before one was seen, in milliseconds; short on purpose.
const EXPECTED_PREVIEW: f64 = 10_000.0;
const EXPECTED_VIDEO: f64 = 40_000.0;
/// Requests for status in flight at once; browsers open six connections to a host.
const LOOKS_IN_FLIGHT: usize = 6;

/// One look under way.
struct Looking<V> {
    id: String,
    call: Calling<V>,
}

impl<V> Future for Looking<V> {
    type Output = (String, Outcome<V>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.call.as_mut().poll(context));
        Poll::Ready((mem::take(&mut self.id), result))
    }
}

/// Hears of a job that is watched.
pub trait Sink<V> {
    /// The job changed.
    fn update(&self, job: &V, look: poll::Look);
    /// The wait is over.
    fn end(&self, result: Result<&V, &Failure<V>>);
}

/// Jobs that are watched together. A client has one for all its calls where the host shares, and one
/// for each call where it does not.
pub struct Watches<V>(Rc<RefCell<WatchesInner<V>>>);

struct Watcher<V> {
    key: u32,
    id: String,
    sink: Rc<dyn Sink<V>>,
    /// The job as this watcher last heard of it.
    job: Option<V>,
}

struct WatchesInner<V> {
    schedule: Schedule,
    watchers: Vec<Watcher<V>>,
    online: bool,
    visible: bool,
    running: bool,
}

impl<V> Clone for Watches<V> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<V> Default for Watches<V> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(WatchesInner {
            schedule: Schedule::default(),
            watchers: Vec::new(),
            online: true,
            visible: true,
            running: false,
        })))
    }
}

impl<V> fmt::Debug for Watches<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watches")
    }
}

impl<V> Watches<V> {
    /// Forgets a watcher, which then hears nothing more.
    pub fn unwatch(&self, key: u32) {
        let mut watches = self.0.borrow_mut();
        watches.schedule.unwatch(key);
        remove_where(&mut watches.watchers, |watcher| watcher.key == key);
    }
}

impl<H: Host> Client<H> {
    /// Watches a job: the sink hears of every change and of the end. Needs `run` on the same watches.
    ///
    /// # Errors
    /// `InvalidRequestError` where the id is none. Nothing is watched then.
    pub fn watch(
        &self,
        watches: &Watches<H::Value>,
        id: &str,
        job: Option<&H::Value>,
        options: PollOptions,
        sink: Rc<dyn Sink<H::Value>>,
    ) -> Result<u32, Error> {
        check_id(id)?;
        let now = self.host().now();
        let facts = job.and_then(JobFacts::read);
        let known = self.0.known.borrow();
        let goal = options.until.or(known.goal(id)).unwrap_or(Goal::Done);
        let (since, learned) = known.timing(id).unwrap_or((now.monotonic, None));
        drop(known);
        if let (Some(job), Some(facts)) = (job, &facts)
            && facts.meets(goal)
        {
            sink.end(Ok(job));
            return Ok(0);
        }
        let expected = options.expected_ms.filter(|ms| *ms > 0.0).or(learned);
        let expected = expected.unwrap_or(if goal == Goal::Preview { EXPECTED_PREVIEW } else { EXPECTED_VIDEO });

        let timeout = options.timeout.filter(|timeout| *timeout >= 0.0).unwrap_or(POLL_TIMEOUT).min(LONGEST);
        let wish = Wish {
            goal,
            deadline: now.monotonic + timeout,
            attentive: options.attentive,
            max_interval: options.max_interval.filter(|interval| *interval > 0.0),
        };
        // A job that has ended otherwise is looked at once more before it is believed: the copy may be old.
        let facts = facts.filter(|facts| facts.status.is_active());
        let mut inner = watches.0.borrow_mut();
        let key = inner.schedule.watch(id, facts, wish, Memory::new(since, expected), now);
        inner.watchers.push(Watcher { key, id: id.into(), sink, job: job.cloned() });
        drop(inner);
        self.host().wake();
        Ok(key)
    }

    /// Looks at everything that is watched until nothing is. A second call on the same watches returns at once.
    pub fn run(&self, watches: &Watches<H::Value>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(self.clone().running(watches.clone()))
    }

    async fn running(self, watches: Watches<H::Value>) {
        if mem::replace(&mut watches.0.borrow_mut().running, true) {
            return;
        }
        let running = Running(watches);
        let mut looks = Vec::new();
        while let Some(idle) = self.begin_looks(&running.0, &mut looks) {
            if let Some((id, result)) = either(Arrival(&mut looks), self.host().sleep_or_wake(idle)).await {
                if let Ok(job) = &result {
                    self.host().publish(&id, job);
                }
                self.looked(&running.0, &id, &result);
            }
            while let Some((id, job)) = self.host().published() {
                self.looked(&running.0, &id, &Ok(job));
            }
        }
    }

    /// Ends what is too late and begins what is due. How long nothing else is to be done, in milliseconds; `None` once nothing is watched.
    fn begin_looks(&self, watches: &Watches<H::Value>, looks: &mut Vec<Looking<H::Value>>) -> Option<f64> {
        let (now, env) = (self.host().now(), self.host().env());
        let expired = {
            let inner = &mut *watches.0.borrow_mut();
            if (env.online && !inner.online) || (env.visible && !inner.visible) {
                inner.schedule.look_now(now);
            }
            (inner.online, inner.visible) = (env.online, env.visible);
            inner.schedule.expire(now)
        };
        for key in &expired {
            watches.tell(*key, Notice::Deadline, None, None);
        }
        let schedule = &mut watches.0.borrow_mut().schedule;
        while looks.len() < LOOKS_IN_FLIGHT
            && let Some(id) = schedule.take_due(now, env)
        {
            // The schedule does the trying again: an outage must not hold a place in flight.
            let call = self.read(Endpoint::Get, &id, None, 0, false);
            looks.push(Looking { id, call });
        }
        if schedule.is_empty() {
            return None;
        }
        Some(if looks.len() < LOOKS_IN_FLIGHT { schedule.idle(now, env) } else { LONGEST })
    }

    /// Takes in one look, and tells whoever watches the job.
    fn looked(&self, watches: &Watches<H::Value>, id: &str, result: &Outcome<H::Value>) {
        let (now, env, chance) = (self.host().now(), self.host().env(), self.host().random());
        let facts = result.as_ref().ok().and_then(JobFacts::read);
        let seen = match (result, &facts) {
            (Ok(job), Some(facts)) => {
                self.notice(job);
                Seen::Job(facts)
            }
            (Err(failure), _) => match failure.error().reason() {
                Reason::Api { status: 401 | 403, .. } | Reason::InvalidRequest { .. } => Seen::Refusal,
                Reason::Api { status: 404, .. } => {
                    let gone = self.0.known.borrow_mut().gone(id);
                    self.write_end(gone);
                    Seen::Refusal
                }
                Reason::Api { retry_after_ms, .. } => Seen::Failure(*retry_after_ms),
                _ => Seen::Failure(None),
            },
            _ => Seen::Failure(None),
        };
        let notices = watches.0.borrow_mut().schedule.seen(id, &seen, now, env, chance);
        for (key, notice) in &notices {
            if let Notice::Update(look) = notice {
                self.host().event(Event::Look { job: id, in_ms: look.in_ms });
            }
            watches.tell(*key, *notice, Some(result), facts.as_ref());
        }
    }

    /// Waits until a job's preview or video is there. The wait is this call's own.
    pub async fn poll(&self, id: &str, job: Option<H::Value>, options: PollOptions) -> Outcome<H::Value> {
        let watches = Watches::default();
        let slot = Rc::new(Slot(RefCell::new(None)));
        self.watch(&watches, id, job.as_ref(), options, Rc::clone(&slot) as Rc<dyn Sink<H::Value>>)?;
        self.run(&watches).await;
        let result = slot.0.borrow_mut().take();
        result.unwrap_or_else(|| Err(timed_out()))
    }

    /// A preview that is waited for: `preview_async`, then `poll`.
    pub async fn preview(&self, request: H::Value, charge: ChargeOptions, wait: PollOptions) -> Outcome<H::Value> {
        let job = self.preview_async(request, charge).await?;
        let Some(facts) = JobFacts::read(&job) else { return Ok(job) };
        self.poll(&facts.id, Some(job), PollOptions { until: Some(Goal::Preview), ..wait }).await
    }
}

impl<V: Clone> Watches<V> {
    /// Tells one watcher. No borrow lives while it hears: it may call back into the client.
    fn tell(&self, key: u32, notice: Notice, result: Option<&Outcome<V>>, facts: Option<&JobFacts>) {
        let job = result.and_then(|result| result.as_ref().ok());
        let watcher = {
            let watchers = &mut self.0.borrow_mut().watchers;
            let Some(at) = watchers.iter().position(|watcher| watcher.key == key) else { return };
            if let (Notice::Update(_), Some(watcher)) = (notice, watchers.get_mut(at)) {
                watcher.job = job.cloned();
                Watcher { sink: Rc::clone(&watcher.sink), id: String::new(), job: None, ..*watcher }
            } else {
                watchers.swap_remove(at)
            }
        };
        match (notice, result) {
            (Notice::Update(look), Some(Ok(job))) => watcher.sink.update(job, look),
            (Notice::Reached, Some(Ok(job))) => watcher.sink.end(Ok(job)),
            (_, Some(Err(failure))) => watcher.sink.end(Err(failure)),
            _ => {
                if let Some(error) = poll::ending(notice, facts, &watcher.id) {
                    let job = job.cloned().or(watcher.job);
                    watcher.sink.end(Err(&Failure::from(error).with_job(job)));
                }
            }
        }
    }
}

/// Marks the watches as not being run, however `run` ends.
struct Running<V>(Watches<V>);

impl<V> Drop for Running<V> {
    fn drop(&mut self) {
        self.0.0.borrow_mut().running = false;
    }
}

/// Where `poll` finds its result.
struct Slot<V>(RefCell<Option<Outcome<V>>>);

impl<V: Clone> Sink<V> for Slot<V> {
    fn update(&self, _job: &V, _look: poll::Look) {}

    fn end(&self, result: Result<&V, &Failure<V>>) {
        *self.0.borrow_mut() = Some(result.cloned().map_err(Clone::clone));
    }
}
