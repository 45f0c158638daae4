//! How jobs are waited for: one task looks at all the jobs that calls wait for, and tells the calls.
//!
//! There is one for a client where the host shares, and one for each call where it does not. It has one
//! timer, one limit of requests in flight, and one request for a job however many wait for it.

use std::cell::RefCell;
use std::rc::Rc;

use super::reading::event;
use super::{Client, Owner, Task};
use crate::api::{Goal, JobFacts, Status};
use crate::error::{Failure, say};
use crate::host::{Answer, Env, Host};
use crate::poll::{self, Ending, FLOOR, HIDDEN, LONGEST, Look, Memory, Wish};
use crate::retry;
use crate::value::Value;

/// How long a wait lasts where nobody says, in milliseconds: longer than any render that was reported.
const POLL_TIMEOUT: f64 = 1_800_000.0;
/// How long a step is expected to take before one was seen, in milliseconds; short on purpose.
const EXPECTED_PREVIEW: f64 = 10_000.0;
const EXPECTED_VIDEO: f64 = 40_000.0;
/// Requests for status in flight at once; browsers open six connections to a host.
const LOOKS_IN_FLIGHT: usize = 6;
/// Stands for the number of a look that is just being begun.
const BEGINNING: u32 = u32::MAX;

/// The jobs that one task looks at.
pub struct Watch<V> {
    jobs: Vec<Watched<V>>,
    /// No look before this: what a `Retry-After` asked for.
    quiet_until: f64,
    /// As it was when the task last looked around.
    env: Env,
}

struct Watched<V> {
    id: V,
    /// As last seen, or as it was given.
    job: V,
    facts: Option<JobFacts>,
    memory: Memory,
    /// When the next look is due, and when it was last looked at, on the monotonic clock.
    due: f64,
    looked: f64,
    /// Milliseconds until it is expected to end; less than 0 where nobody knows.
    remaining: f64,
    /// The task of the look under way, or 0.
    look: u32,
    watchers: Vec<Watcher>,
}

/// A call that waits for a job, by the number of its task.
#[derive(Clone, Copy)]
struct Watcher {
    task: u32,
    wish: Wish,
}

impl<V> Watched<V> {
    fn plan(&mut self, now: f64, first: bool) {
        let Some(facts) = &self.facts else { return };
        let look = poll::next(facts, &self.memory, now);
        let mut wait = look.in_ms;
        for watcher in &self.watchers {
            wait = wait.min(watcher.wish.longest(first));
        }
        self.due = now + wait;
        self.remaining = look.remaining_ms;
    }

    /// When the look is due in these surroundings: nobody sees a hidden page, so once a minute is enough.
    fn due_in(&self, env: Env) -> f64 {
        if env.visible || self.facts.is_none() { self.due } else { self.due.max(self.looked + HIDDEN) }
    }
}

impl<V: Value> Watch<V> {
    /// The next job that is to be looked at now; it counts as being looked at from here on.
    fn take_due(&mut self, now: f64, env: Env) -> Option<V> {
        let looking = self.jobs.iter().filter(|job| job.look > 0).count();
        if !env.online || now < self.quiet_until || looking >= LOOKS_IN_FLIGHT {
            return None;
        }
        let job = self.jobs.iter_mut().find(|job| job.look == 0 && job.due_in(env) <= now)?;
        job.look = BEGINNING;
        job.looked = now;
        Some(job.id.clone())
    }

    /// How long nothing needs to be done, in milliseconds.
    fn idle(&self, now: f64, env: Env) -> f64 {
        let looking = self.jobs.iter().filter(|job| job.look > 0).count();
        let mut until = now + LONGEST;
        for job in &self.jobs {
            if job.look == 0 && env.online && looking < LOOKS_IN_FLIGHT {
                until = until.min(job.due_in(env).max(self.quiet_until));
            }
            for watcher in &job.watchers {
                until = until.min(watcher.wish.deadline);
            }
        }
        (until - now).max(0.0)
    }

    /// Takes a watcher out; the look under way that nobody waits for any more, or 0.
    fn remove(&mut self, gone: impl Fn(&Watcher) -> bool) -> Option<(Watcher, V, V, u32)> {
        for at in 0..self.jobs.len() {
            let Some(job) = self.jobs.get_mut(at) else { break };
            let Some(index) = job.watchers.iter().position(&gone) else { continue };
            let watcher = job.watchers.swap_remove(index);
            let (id, last) = (job.id.clone(), job.job.clone());
            let look = if job.watchers.is_empty() { self.jobs.swap_remove(at).look } else { 0 };
            return Some((watcher, id, last, look));
        }
        None
    }
}

impl<H: Host> Client<H> {
    /// What a call waits for.
    pub(super) fn goal(&self, given: &H::Value) -> Goal {
        match given.get("until").one_of("preview video done") {
            0 => Goal::Preview,
            1 => Goal::Video,
            2 => Goal::Done,
            _ => self.0.known.borrow_mut().timing(&given.get("id")).map_or(Goal::Done, |(goal, ..)| goal),
        }
    }

    /// Lets a call wait for a job: by the task that looks at all jobs, or by one of its own.
    pub(super) fn watch(&self, task: u32, given: &H::Value) {
        let (id, job, now) = (given.get("id"), given.get("job"), self.host().now());
        let goal = self.goal(given);
        let timing = self.0.known.borrow_mut().timing(&id);
        let (_, since, learned) = timing.unwrap_or((goal, now, f64::NAN));
        let usual = if goal == Goal::Preview { EXPECTED_PREVIEW } else { EXPECTED_VIDEO };
        let told = given.number_of("expectedMs");
        let expected = if told > 0.0 { told } else { learned };
        let expected = if expected.is_nan() { usual } else { expected };
        let timeout = given.get("timeout").as_number();
        let interval = given.number_of("maxInterval");
        let wish = Wish {
            goal,
            deadline: now + if timeout >= 0.0 { timeout.min(LONGEST) } else { POLL_TIMEOUT },
            max_interval: if interval > 0.0 { interval } else { LONGEST },
            attentive: given.get("attentive").is_true(),
        };

        let shares = self.host().shares();
        let mut number = if shares { self.0.watch.get() } else { 0 };
        let watch = self.watch_of(number).unwrap_or_else(|| {
            let watch = Rc::new(RefCell::new(Watch { jobs: Vec::new(), quiet_until: now, env: self.host().env() }));
            number = self.place(Owner::Task(0), Task::Watch(Rc::clone(&watch)));
            if shares {
                self.0.watch.set(number);
            }
            watch
        });
        watch.borrow_mut().insert(Watcher { task, wish }, id, job, Memory::new(since, expected), now);
        self.change(task, |place| place.task = Some(Task::Poll(number)));
        self.resume(number, Ok(Value::nothing()));
    }

    /// A call does not wait any more.
    pub(super) fn unwatch(&self, watch: u32, task: u32) {
        let Some(jobs) = self.watch_of(watch) else { return };
        let removed = jobs.borrow_mut().remove(|watcher| watcher.task == task);
        if let Some((_, _, _, look)) = removed {
            self.leave(look);
        }
        let over = jobs.borrow().jobs.is_empty();
        if over {
            self.end_watch(watch);
        }
    }

    /// Nothing is watched by that task any more.
    pub(super) fn end_watch(&self, watch: u32) {
        if self.0.watch.get() == watch {
            self.0.watch.set(0);
        }
        self.host().forget(watch);
        self.end(watch, None);
    }

    /// The jobs that a task looks at, if it is one that does.
    pub(super) fn watch_of(&self, number: u32) -> Option<Rc<RefCell<Watch<H::Value>>>> {
        let watch = self.change(number, |place| match &place.task {
            Some(Task::Watch(watch)) => Some(Rc::clone(watch)),
            _ => None,
        });
        watch.flatten()
    }

    /// Takes in a look, ends what is too late, begins what is due, and sleeps. Whether nothing is watched any more.
    pub(super) fn look_on(
        &self,
        number: u32,
        watch: &RefCell<Watch<H::Value>>,
        from: u32,
        answer: Answer<H::Value>,
    ) -> bool {
        if from > 0 {
            self.looked(watch, from, answer);
        }
        let (now, env) = (self.host().now(), self.host().env());
        watch.borrow_mut().look_around(now, env);
        loop {
            let late = watch.borrow_mut().remove(|watcher| watcher.wish.deadline <= now);
            let Some((watcher, id, job, look)) = late else { break };
            self.leave(look);
            let message = "The job was still running when the time to wait was over. poll() it again to go on waiting.";
            self.end(watcher.task, Some(Err(about(Failure::told("PollTimeoutError", message), &id, &job))));
        }
        loop {
            let due = watch.borrow_mut().take_due(now, env);
            let Some(id) = due else { break };
            // The schedule does the trying again: an outage must not hold a place in flight.
            let look = self.look(number, &id, 0);
            let mut watch = watch.borrow_mut();
            if let Some(job) = watch.jobs.iter_mut().find(|job| job.look == BEGINNING && job.id == id) {
                job.look = look;
            } else {
                drop(watch);
                self.leave(look);
            }
        }
        let idle = {
            let watch = watch.borrow();
            if watch.jobs.is_empty() {
                return true;
            }
            watch.idle(now, env)
        };
        self.host().sleep(number, idle, true);
        false
    }

    /// Takes in one look, and tells whoever waits for the job.
    fn looked(&self, watch: &RefCell<Watch<H::Value>>, look: u32, answer: Answer<H::Value>) {
        let (now, env) = (self.host().now(), self.host().env());
        let told = match answer {
            Ok(job) => watch.borrow_mut().seen(look, &job, now, env).map(|seen| (seen, job)),
            Err(failure) => {
                let failure = Failure(failure);
                let ended = watch.borrow_mut().failed(look, &failure, now, self.host().random());
                if let Some(id) = ended {
                    if failure.0.number_of("status") == 404.0 {
                        self.gone(&id);
                    }
                    loop {
                        let ended = watch.borrow_mut().remove_of(&id);
                        let Some(task) = ended else { break };
                        self.end(task, Some(Err(failure.clone())));
                    }
                }
                None
            }
        };
        let Some((seen, job)) = told else { return };
        let id = job.get("id");
        if let Some(news) = seen.news {
            self.host().event(event::<H>("look").with("jobId", &id).with_number("inMs", news.in_ms));
            for watcher in &seen.watchers {
                if let Some(call) = self.call_of(watcher.task) {
                    self.host().update(&call, &job, news);
                }
            }
        }
        for (watcher, ending) in seen.ended {
            let outcome = match ending {
                Ending::Failed => Err(failed(&job)),
                Ending::Incomplete => Err(Failure::told(
                    "IncompleteResultError",
                    "The job is done, but the URL that was waited for did not come. Look again later with get().",
                )),
                _ => Ok(job.clone()),
            };
            let removed = watch.borrow_mut().remove(|other| other.task == watcher.task);
            if removed.is_some() {
                self.end(watcher.task, Some(outcome.map_err(|failure| about(failure, &id, &job))));
            }
        }
    }
}

/// What a look brought for those who wait.
struct Seen {
    /// When something changed: when the next look is due.
    news: Option<Look>,
    watchers: Vec<Watcher>,
    ended: Vec<(Watcher, Ending)>,
}

impl<V: Value> Watch<V> {
    fn insert(&mut self, watcher: Watcher, id: V, job: V, memory: Memory, now: f64) {
        if let Some(watched) = self.jobs.iter_mut().find(|watched| watched.id == id) {
            watched.watchers.push(watcher);
            watched.due = watched.due.min(now + watcher.wish.longest(true));
            return;
        }
        // A job that has ended otherwise is looked at once more before it is believed: the copy may be old.
        let facts = JobFacts::read(&job).filter(|facts| facts.status.is_active());
        let watchers = vec![watcher];
        let mut added = Watched { id, job, facts, memory, due: now, looked: now, remaining: -1.0, look: 0, watchers };
        added.plan(now, true);
        self.jobs.push(added);
    }

    /// A page that is shown again or a network that came back is worth one look at every job.
    fn look_around(&mut self, now: f64, env: Env) {
        if (env.online && !self.env.online) || (env.visible && !self.env.visible) {
            for job in &mut self.jobs {
                job.due = job.due.min(now);
            }
        }
        self.env = env;
    }

    fn seen(&mut self, look: u32, job: &V, now: f64, env: Env) -> Option<Seen> {
        let watched = self.jobs.iter_mut().find(|watched| watched.look == look)?;
        watched.look = 0;
        let facts = JobFacts::read(job)?;
        let changed = watched.facts != Some(facts) || watched.memory.looks == 0;
        watched.memory.observe(&facts, now);
        watched.facts = Some(facts);
        watched.job = job.clone();
        let missing = facts.status == Status::Done && watched.watchers.iter().any(|watcher| !facts.meets(watcher.wish.goal));
        watched.memory.incomplete = if missing { watched.memory.incomplete + 1 } else { 0 };
        watched.plan(now, false);
        let mut ended = Vec::new();
        for watcher in &watched.watchers {
            let ending = poll::ending(&facts, watcher.wish.goal, &watched.memory);
            if ending != Ending::None {
                ended.push((*watcher, ending));
            }
        }
        let news = Look { in_ms: watched.due_in(env) - now, remaining_ms: watched.remaining };
        Some(Seen { news: changed.then_some(news), watchers: watched.watchers.clone(), ended })
    }

    /// Takes in a look that brought nothing. The job's id, where no other look will better that.
    fn failed(&mut self, look: u32, failure: &Failure<V>, now: f64, chance: f64) -> Option<V> {
        let watched = self.jobs.iter_mut().find(|watched| watched.look == look)?;
        watched.look = 0;
        let status = failure.0.number_of("status") as u16;
        if matches!(status, 401 | 403 | 404) || failure.is("InvalidRequestError") {
            return Some(watched.id.clone());
        }
        let asked = failure.0.number_of("retryAfterMs");
        watched.due = now + retry::backoff(watched.memory.failures, chance, asked).max(FLOOR);
        watched.memory.failures = watched.memory.failures.saturating_add(1);
        // One job's `Retry-After` is every job's.
        self.quiet_until = self.quiet_until.max(now + asked);
        None
    }

    /// Takes out a watcher of that job.
    fn remove_of(&mut self, id: &V) -> Option<u32> {
        let task = self.jobs.iter().find(|job| job.id == *id)?.watchers.first()?.task;
        self.remove(|watcher| watcher.task == task).map(|_| task)
    }
}

/// The error of a job that failed or was rejected.
fn failed<V: Value>(job: &V) -> Failure<V> {
    let rejected = Status::parse(&job.get("status")) == Status::Rejected;
    let given = job.get("failed_reason");
    let reason = if given.matches(".") {
        given
    } else {
        V::text(if rejected {
            "the provider rejected the job and gave no reason"
        } else {
            "the job failed and the provider gave no reason"
        })
    };
    let template = if rejected { "The job was rejected: %0" } else { "The job failed: %0" };
    Failure::new("JobFailedError", &say(template, &reason, &reason)).with("reason", &reason)
}

fn about<V: Value>(failure: Failure<V>, id: &V, job: &V) -> Failure<V> {
    failure.with("jobId", id).with("job", job)
}
