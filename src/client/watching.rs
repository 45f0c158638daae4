//! How jobs are waited for: one task looks at all the jobs that calls wait for, and tells the calls.
//!
//! There is one for a client where the host shares, and one for each call where it does not. It has one
//! timer, one limit of requests in flight, and one request for a job however many wait for it.

use super::reading::event;
use super::{Core, Owner, Place, Task, is_older};
use crate::api::{Goal, JobFacts, Status};
use crate::error::{Failure, say};
use crate::host::{Answer, Env, Host};
use crate::poll::{self, Ending, FLOOR, HIDDEN, LONGEST, Look, Memory, Wish};
use crate::retry;
use crate::value::{Kept, Value};

/// How long a wait lasts where nobody says, in milliseconds: longer than any render that was reported.
const POLL_TIMEOUT: f64 = 1_800_000.0;
/// The jobs are gone through at most as often as this many milliseconds for each of them: what is due together is done
/// together, and ten thousand cost no more time than one.
const PASS: f64 = 0.01;

/// A timer that is later than this many milliseconds slept with its machine, or with its page: in hidden pages they come once
/// a minute.
const ASLEEP: f64 = 2.0 * HIDDEN;
/// In place of the task of a look that has not begun.
const QUEUED: u32 = u32::MAX;

/// The jobs that one task looks at.
pub struct Watch<V: Value> {
    /// In the order of their numbers.
    jobs: Vec<Box<Watched<V>>>,
    /// Whose look is due, in their turn; some may be gone.
    queue: Vec<u32>,
    /// How many looks are under way.
    looking: usize,
    /// When another job is due, or a wait is over; and for when the timer is set.
    until: f64,
    timer: f64,
    /// No look before this: what a `Retry-After` asked for.
    quiet_until: f64,
    /// As it was when the task last looked around.
    env: Env,
}

struct Watched<V: Value> {
    /// By which the task knows it, and another number that it shares with few.
    number: u32,
    hash: f64,
    id: Kept<V>,
    /// As last seen, or as it was given.
    job: Kept<V>,
    /// Those of its kind take about as long; NaN where nobody knows.
    kind: f64,
    facts: Option<JobFacts>,
    memory: Memory,
    /// When the next look is due, and when it was last looked at, on the monotonic clock.
    due: f64,
    looked: f64,
    /// Milliseconds until it is expected to end; less than 0 where nobody knows.
    remaining: f64,
    /// The task of the look under way, 0, or [`QUEUED`].
    look: u32,
    watchers: Vec<Watcher>,
}

/// A call that waits for a job, by the number of its task.
#[derive(Clone, Copy)]
struct Watcher {
    task: u32,
    wish: Wish,
}

impl<V: Value> Watched<V> {
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
    /// Where a job is or would be.
    fn at(&self, number: u32) -> usize {
        self.jobs.partition_point(|watched| is_older(watched.number, number))
    }

    /// Adds a watcher; the number of its job, which is that of its first watcher's task.
    fn insert(&mut self, watcher: Watcher, id: V, job: V, kind: f64, memory: Memory, now: f64) -> u32 {
        let hash = id.hash(0.0);
        let found = self.jobs.iter().position(|watched| watched.hash == hash && *watched.id == id);
        let at = found.unwrap_or(self.jobs.len());
        if found.is_none() {
            // A job that has ended otherwise is looked at once more before it is believed: the copy may be old.
            let facts = JobFacts::read(job).filter(|facts| facts.status.is_active());
            self.jobs.push(Box::new(Watched {
                number: watcher.task,
                hash,
                id: id.into(),
                job: job.into(),
                kind,
                facts,
                memory,
                due: now,
                looked: now,
                remaining: -1.0,
                look: 0,
                watchers: vec![watcher],
            }));
        }
        let Some(entry) = self.jobs.get_mut(at) else { return 0 };
        if found.is_none() {
            entry.plan(now, true);
        } else {
            entry.watchers.push(watcher);
            entry.due = entry.due.min(now + watcher.wish.longest(true));
        }
        let number = entry.number;
        self.until = self.until.min(watcher.wish.deadline);
        self.arrange(at, now);
        number
    }

    /// Sees that a job gets what is next for it: its turn, or somebody who wakes up for it. The job that nobody waits for
    /// is gone then, and the task of its look is left behind, or 0.
    fn arrange(&mut self, at: usize, now: f64) -> Option<u32> {
        let watched = self.jobs.get_mut(at)?;
        let look = watched.look;
        if watched.watchers.is_empty() {
            self.jobs.remove(at);
            if look > 0 && look < QUEUED {
                self.looking -= 1;
            }
            return Some(look);
        }
        if look == 0 {
            let due = watched.due_in(self.env);
            if due > now {
                self.until = self.until.min(due);
            } else {
                watched.look = QUEUED;
                self.queue.push(watched.number);
            }
        }
        None
    }
}

impl<H: Host> Core<H> {
    /// What a call waits for.
    pub(super) fn goal(&mut self, given: H::Value) -> Goal {
        match given.get("until").one_of("preview video done") {
            0 => Goal::Preview,
            1 => Goal::Video,
            2 => Goal::Done,
            _ => self.known.timing(given.get("id")).map_or(Goal::Done, |(goal, ..)| goal),
        }
    }

    /// Lets a call wait for a job: by the task that looks at all jobs, or by one of its own.
    pub(super) fn watch(&mut self, task: u32, given: H::Value) {
        let (id, job, now) = (given.get("id"), given.get("job"), self.host.now());
        let goal = self.goal(given);
        let timing = self.known.timing(id);
        let (_, since, kind, learned) = timing.unwrap_or((goal, now, f64::NAN, f64::NAN));
        let told = given.number_of("expectedMs");
        let expected = if told > 0.0 { told } else { learned };
        let timeout = given.get("timeout").as_number();
        let interval = given.number_of("maxInterval");
        let wish = Wish {
            goal,
            deadline: now + if timeout.is_nan() { POLL_TIMEOUT } else { poll::between(timeout, 0.0, LONGEST) },
            max_interval: if interval > 0.0 { interval } else { LONGEST },
            attentive: given.get("attentive").is_true(),
        };

        let shares = self.host.shares();
        let mut number = if shares { self.watch } else { 0 };
        if number == 0 {
            let env = self.host.env();
            let (until, timer) = (f64::INFINITY, f64::INFINITY);
            let watch = Watch { jobs: Vec::new(), queue: Vec::new(), looking: 0, until, timer, quiet_until: now, env };
            number = self.place(Owner::Task(0, 0), Task::Watch(Box::new(watch)));
            if shares {
                self.watch = number;
            }
        }
        let Some(watch) = self.watch_of(number) else { return };
        let job = watch.insert(Watcher { task, wish }, id, job, kind, Memory::new(since, expected), now);
        self.ask(number, id);
        if let Some(place) = self.find(task) {
            place.task = Some(Task::Poll(number, job));
        }
        self.advance(number, number, Ok(Value::nothing()));
    }

    /// A call does not wait any more.
    pub(super) fn unwatch(&mut self, number: u32, job: u32, task: u32) {
        let now = self.host.now();
        let Some(watch) = self.watch_of(number) else { return };
        let at = watch.at(job);
        if let Some(watched) = watch.jobs.get_mut(at)
            && let Some(at) = watched.watchers.iter().position(|watcher| watcher.task == task)
        {
            watched.watchers.swap_remove(at);
        }
        if let Some(look) = watch.arrange(at, now) {
            self.leave(look);
        }
        self.advance(number, number, Ok(Value::nothing()));
    }

    /// The jobs that a task looks at, if it is one that does.
    fn watch_of(&mut self, number: u32) -> Option<&mut Watch<H::Value>> {
        match self.find(number) {
            Some(Place { task: Some(Task::Watch(watch)), .. }) => Some(watch),
            _ => None,
        }
    }

    /// Takes in a look, ends what is too late, begins what is due, and sleeps. Whether nothing is watched any more. `from` is
    /// the number of a job that was looked at, 0 where the sleep is over, and the task's own where a watcher came or went.
    pub(super) fn look_on(&mut self, number: u32, watch: &mut Watch<H::Value>, from: u32, answer: Answer<H::Value>) -> bool {
        let (now, env) = (self.host.now(), self.host.env());
        // What the journal knows of how long such jobs take. No look is later for it.
        if from == 0
            && let Ok(told) = answer
            && told.is_there()
        {
            let (kind, took) = (told.number_of("kind"), told.number_of("ms"));
            for at in 0..watch.jobs.len() {
                if let Some(watched) = watch.jobs.get_mut(at)
                    && watched.kind == kind
                    && watched.memory.expected < 0.0
                {
                    let due = watched.due;
                    watched.memory.expected = took;
                    watched.plan(now, watched.memory.looks == 0);
                    watched.due = watched.due.min(due);
                    watch.arrange(at, now);
                }
            }
        }
        // A page that is shown again or a network that came back is worth one look at every job.
        let news = (env.online && !watch.env.online) || (env.visible && !watch.env.visible);
        watch.env = env;

        let at = watch.at(from);
        if let Some(watched) = watch.jobs.get_mut(at)
            && watched.number == from
        {
            watched.look = 0;
            watch.looking -= 1;
            // One job's `Retry-After` is every job's.
            watch.quiet_until = watch.quiet_until.max(now + self.looked(watched, answer, now, env));
            watch.arrange(at, now);
        }

        if news || now >= watch.until {
            let late = now - watch.until;
            // Nobody could look meanwhile, so it was no time to wait.
            let slept = if late > ASLEEP { late } else { 0.0 };
            watch.until = now + LONGEST;
            let mut at = 0;
            while let Some(watched) = watch.jobs.get_mut(at) {
                watch.until = self.expire(watched, now, slept).min(watch.until);
                if news {
                    watched.due = now.min(watched.due);
                }
                match watch.arrange(at, now) {
                    Some(look) => self.leave(look),
                    None => at += 1,
                }
            }
            watch.until = watch.until.max(now + PASS * watch.jobs.len() as f64);
        }
        if watch.jobs.is_empty() {
            if self.watch == number {
                self.watch = 0;
            }
            self.host.forget(number);
            return true;
        }

        while env.online && !watch.queue.is_empty() && watch.looking < self.host.looks_at_once() {
            if watch.quiet_until > now {
                watch.until = watch.until.min(watch.quiet_until);
                break;
            }
            let next = watch.queue.remove(0);
            let at = watch.at(next);
            if let Some(watched) = watch.jobs.get_mut(at)
                && watched.number == next
                && watched.look == QUEUED
            {
                watch.looking += 1;
                watched.looked = now;
                // The schedule does the trying again: an outage must not hold a place in flight.
                watched.look = self.look(number, next, *watched.id, 0, Value::nothing());
            }
        }
        if from == 0 || watch.until < watch.timer {
            watch.timer = watch.until;
            self.host.sleep(number, watch.until - now, true);
        }
        false
    }

    /// See [`Client::hear`](super::Client::hear). It is taken for the answer to a look that is begun now.
    pub(crate) fn hear(&mut self, heard: H::Value) {
        let (number, now) = (self.watch, self.host.now());
        let (id, body) = (heard.get("id"), heard.get("body"));
        let asked = now - self.host.wall() + heard.number_of("at");
        let Some(watch) = self.watch_of(number) else { return };
        let Some(watched) = watch.jobs.iter_mut().find(|watched| *watched.id == id) else { return };
        let status = heard.number_of("status");
        let is_job = status < 300.0 && body.get("id") == id;
        // What was asked for before the wait began, or before its last look, may be old. As of a job that is given, only
        // that it goes on is believed, and only where nothing is known. What ends a wait otherwise than by the job (401, 403
        // and 404), or is no answer, each finds out for itself.
        let good = if asked >= watched.memory.looked {
            is_job || status > 404.0
        } else {
            is_job && watched.facts.is_none() && Status::parse(body.get("status")).is_active()
        };
        if !good {
            return;
        }
        watched.looked = now;
        let (job, own) = (watched.number, watched.look);
        if own == 0 || own == QUEUED {
            watch.looking += 1;
        }
        self.leave(own);
        self.look(number, job, id, 0, heard);
    }

    /// Ends the waits whose time is over, of which `more` is given; when the next one's is.
    fn expire(&mut self, watched: &mut Watched<H::Value>, now: f64, more: f64) -> f64 {
        let mut at = 0;
        let mut until = f64::INFINITY;
        while let Some(watcher) = watched.watchers.get_mut(at) {
            watcher.wish.deadline += more;
            if watcher.wish.deadline > now {
                until = until.min(watcher.wish.deadline);
                at += 1;
                continue;
            }
            let message = "The job was still running when the time to wait was over. poll() it again to go on waiting.";
            let failure = about(Failure::told("PollTimeoutError", message), *watched.id, *watched.job);
            self.end(watched.watchers.swap_remove(at).task, Some(Err(failure)));
        }
        until
    }

    /// Takes in one look, and tells whoever waits for the job. How long the server wants to be left alone, in
    /// milliseconds; NaN where it does not say.
    fn looked(&mut self, watched: &mut Watched<H::Value>, answer: Answer<H::Value>, now: f64, env: Env) -> f64 {
        let job = match answer {
            Ok(job) => job,
            Err(failure) => return self.missed(watched, Failure(failure), now),
        };
        let Some(facts) = JobFacts::read(job) else { return f64::NAN };
        let changed = watched.facts != Some(facts) || watched.memory.looks == 0;
        watched.memory.observe(&facts, now);
        watched.facts = Some(facts);
        // A copy in which nothing changed is not kept: whoever was told of the first may have it still.
        if changed {
            watched.job = job.into();
        }
        let missing = facts.status == Status::Done && watched.watchers.iter().any(|watcher| !facts.meets(watcher.wish.goal));
        watched.memory.incomplete = if missing { watched.memory.incomplete + 1 } else { 0 };
        watched.plan(now, false);
        let look = Look { in_ms: watched.due_in(env) - now, remaining_ms: watched.remaining };
        if changed && self.hears {
            self.host.event(event::<H>("look").with("jobId", *watched.id).with_number("inMs", look.in_ms));
        }
        let mut at = 0;
        while let Some(watcher) = watched.watchers.get(at).copied() {
            if changed && let Some(Place { owner: Owner::Call(call), .. }) = self.find(watcher.task) {
                let call = call.clone();
                self.host.update(&call, job, look);
            }
            let failure = match poll::ending(&facts, watcher.wish.goal, &watched.memory) {
                Ending::None => {
                    at += 1;
                    continue;
                }
                Ending::Reached => None,
                Ending::Failed => Some(failed(job)),
                Ending::Incomplete => Some(Failure::told(
                    "IncompleteResultError",
                    "The job is done, but the URL that was waited for did not come. Look again later with get().",
                )),
            };
            watched.watchers.swap_remove(at);
            let outcome = failure.map_or_else(|| Ok(job), |failure| Err(about(failure, *watched.id, job)));
            self.end(watcher.task, Some(outcome));
        }
        f64::NAN
    }

    /// Takes in a look that brought no job.
    fn missed(&mut self, watched: &mut Watched<H::Value>, failure: Failure<H::Value>, now: f64) -> f64 {
        let status = failure.0.number_of("status") as u16;
        if matches!(status, 401 | 403 | 404) || failure.is("InvalidRequestError") {
            if status == 404 {
                self.gone(*watched.id);
            }
            while let Some(watcher) = watched.watchers.pop() {
                self.end(watcher.task, Some(Err(failure)));
            }
        }
        let asked = failure.0.number_of("retryAfterMs");
        watched.due = now + retry::backoff(watched.memory.failures, self.host.random(), asked).max(FLOOR);
        watched.memory.failures = watched.memory.failures.saturating_add(1);
        if status == 429 && asked.is_nan() { watched.due - now } else { asked }
    }
}

/// The error of a job that failed or was rejected.
fn failed<V: Value>(job: V) -> Failure<V> {
    let rejected = Status::parse(job.get("status")) == Status::Rejected;
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
    Failure::new("JobFailedError", say(template, reason, reason)).with("reason", reason)
}

fn about<V: Value>(failure: Failure<V>, id: V, job: V) -> Failure<V> {
    failure.with("jobId", id).with("job", job)
}
