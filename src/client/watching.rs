//! How jobs are waited for: the schedule says when to look, and this looks and tells whoever waits.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;

use super::answer::{Failure, Outcome, timed_out};
use super::tasks::{Arrival, either};
use super::{ChargeOptions, Client, PollOptions};
use crate::api::{Endpoint, Goal, JobFacts, check_id};
use crate::error::{Error, Reason};
use crate::host::{Event, Host};
use crate::poll::{self, LONGEST, Memory, Notice, Schedule, Seen, Wish};

/// How long a wait lasts where nobody says, in milliseconds: longer than any render that was reported.
const POLL_TIMEOUT: f64 = 1_800_000.0;
/// How long a step is expected to take before one was seen, in milliseconds; short on purpose.
const EXPECTED_PREVIEW: f64 = 10_000.0;
const EXPECTED_VIDEO: f64 = 40_000.0;
/// Requests for status in flight at once; browsers open six connections to a host.
const LOOKS_IN_FLIGHT: usize = 6;

/// A watcher that was taken out: the job's id, who is to be told, and the job as last seen.
type Taken<V> = (String, Rc<dyn Sink<V>>, Option<V>);
/// One look under way: the job's id, then what came.
type Looking<V> = Pin<Box<dyn Future<Output = (String, Outcome<V>)>>>;

/// Hears of a job that is watched.
pub trait Sink<V> {
    /// The job changed.
    fn update(&self, job: &V, look: poll::Look);
    /// The wait is over.
    fn end(&self, result: Result<V, Failure<V>>);
}

/// Jobs that are watched together. A client has one for all its calls where the host shares, and one
/// for each call where it does not.
pub struct Watches<V>(Rc<RefCell<WatchesInner<V>>>);

struct WatchesInner<V> {
    schedule: Schedule,
    sinks: Vec<(u32, String, Rc<dyn Sink<V>>)>,
    last: Vec<(String, V)>,
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
            sinks: Vec::new(),
            last: Vec::new(),
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
        watches.sinks.retain(|(sink, ..)| *sink != key);
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
            sink.end(Ok(job.clone()));
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
        inner.sinks.push((key, id.into(), sink));
        drop(inner);
        self.host().wake();
        Ok(key)
    }

    /// Looks at everything that is watched until nothing is. A second call on the same watches returns at once.
    pub async fn run(&self, watches: &Watches<H::Value>) {
        {
            let mut inner = watches.0.borrow_mut();
            if inner.running {
                return;
            }
            inner.running = true;
        }
        let _running = Running(watches.clone());
        let mut looks: Vec<Looking<H::Value>> = Vec::new();
        loop {
            let (now, env) = (self.host().now(), self.host().env());
            let mut expired = Vec::new();
            {
                let inner = &mut *watches.0.borrow_mut();
                if (env.online && !inner.online) || (env.visible && !inner.visible) {
                    inner.schedule.look_now(now);
                }
                (inner.online, inner.visible) = (env.online, env.visible);
                for key in inner.schedule.expire(now) {
                    expired.extend(inner.take(key));
                }
            }
            for (id, sink, job) in expired {
                if let Some(error) = poll::ending(Notice::Deadline, None, &id) {
                    sink.end(Err(Failure::from(error).with_job(job)));
                }
            }
            while looks.len() < LOOKS_IN_FLIGHT {
                let Some(id) = watches.0.borrow_mut().schedule.take_due(now, env) else { break };
                let client = self.clone();
                looks.push(Box::pin(async move {
                    // The schedule does the trying again: an outage must not hold a place in flight.
                    let result = client.read(Endpoint::Get, &id, None, 0).await;
                    (id, result)
                }));
            }
            for (id, job) in self.host().published() {
                self.looked(watches, &id, Ok(job)).await;
            }
            let (empty, idle) = {
                let inner = watches.0.borrow();
                let full = looks.len() >= LOOKS_IN_FLIGHT;
                (inner.schedule.is_empty(), if full { LONGEST } else { inner.schedule.idle(now, env) })
            };
            if empty {
                return;
            }
            let arrived = either(Arrival(&mut looks), pin!(self.host().sleep_or_wake(idle))).await;
            if let Some((id, result)) = arrived {
                if let Ok(job) = &result {
                    self.host().publish(&id, job);
                }
                self.looked(watches, &id, result).await;
            }
        }
    }

    /// Takes in one look, and tells whoever watches the job.
    async fn looked(&self, watches: &Watches<H::Value>, id: &str, result: Outcome<H::Value>) {
        let (now, env, chance) = (self.host().now(), self.host().env(), self.chance());
        let facts = result.as_ref().ok().and_then(JobFacts::read);
        if let Ok(job) = &result {
            self.notice(job).await;
        }
        let told = {
            let inner = &mut *watches.0.borrow_mut();
            let seen = match (&result, &facts) {
                (Ok(_), Some(facts)) => Seen::Job(facts),
                (Err(failure), _) => match failure.error().reason() {
                    Reason::Api { status: 401 | 403 | 404, .. } | Reason::InvalidRequest { .. } => Seen::Refusal,
                    Reason::Api { retry_after_ms, .. } => Seen::Failure(*retry_after_ms),
                    _ => Seen::Failure(None),
                },
                _ => Seen::Failure(None),
            };
            let notices = inner.schedule.seen(id, &seen, now, env, chance);
            if let Ok(job) = &result {
                inner.last.retain(|(known, _)| known != id);
                inner.last.push((id.into(), job.clone()));
            }
            let mut told = Vec::new();
            for (key, notice) in notices {
                let sink = if notice.is_final() {
                    inner.take(key).map(|(_, sink, _)| sink)
                } else {
                    inner.sinks.iter().find(|(sink, ..)| *sink == key).map(|(_, _, sink)| Rc::clone(sink))
                };
                told.extend(sink.map(|sink| (sink, notice)));
            }
            told
        };
        // No borrow lives here: a sink may call back into the client.
        for (sink, notice) in told {
            match (&result, notice) {
                (Ok(job), Notice::Update(look)) => {
                    self.host().event(Event::Look { job: id, in_ms: look.in_ms });
                    sink.update(job, look);
                }
                (Ok(job), Notice::Reached) => sink.end(Ok(job.clone())),
                (Ok(job), notice) => {
                    if let Some(error) = poll::ending(notice, facts.as_ref(), id) {
                        sink.end(Err(Failure::from(error).with_job(Some(job.clone()))));
                    }
                }
                (Err(failure), _) => sink.end(Err(failure.clone())),
            }
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

impl<V: Clone> WatchesInner<V> {
    /// Takes a watcher's sink out, with the job as last seen. Forgets the job with its last watcher.
    fn take(&mut self, key: u32) -> Option<Taken<V>> {
        let at = self.sinks.iter().position(|(sink, ..)| *sink == key)?;
        let (_, id, sink) = self.sinks.remove(at);
        let job = self.last.iter().find(|(known, _)| *known == id).map(|(_, job)| job.clone());
        if !self.sinks.iter().any(|(_, other, _)| *other == id) {
            self.last.retain(|(known, _)| *known != id);
        }
        Some((id, sink, job))
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

impl<V> Sink<V> for Slot<V> {
    fn update(&self, _job: &V, _look: poll::Look) {}

    fn end(&self, result: Outcome<V>) {
        *self.0.borrow_mut() = Some(result);
    }
}
