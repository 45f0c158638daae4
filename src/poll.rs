//! When to look at a job next, a pure function, and the one schedule of all watched jobs.
//!
//! Looking often costs requests, looking seldom costs waiting. For a job whose moment of ending is
//! random, the cheapest distance between two looks is `sqrt(2 c / h)`, where `h` is the hazard, the
//! chance of ending in the next instant given that it has not ended yet, and `c` is how much waiting a
//! request is worth (Barlow, Hunter and Proschan 1963; Keller 1974). Renders have a rising and then
//! falling hazard, so neither a fixed nor an exponential distance suits them. Where the job reports
//! moving progress that is better news than any prior: half the estimated remainder converges on the
//! end in a handful of looks.

use crate::api::{Goal, JobFacts, Status};
use crate::error::{Error, Reason, remove_where};
use crate::host::{Env, Now};
use crate::retry;

/// How much waiting one request is worth, in milliseconds.
const REQUEST_WORTH: f64 = 250.0;
/// Never closer than this to the last look, in milliseconds.
const FLOOR: f64 = 1_500.0;
/// Never further from it.
const CAP: f64 = 30_000.0;
/// While nobody sees the page, never closer than this.
const HIDDEN: f64 = 60_000.0;
/// A first wait from memory is at most this, so that a wrong memory costs little.
const FIRST_CAP: f64 = 20_000.0;
/// Somebody who watches gets a look this early, and then at least this often.
const WATCHED_FIRST: f64 = 3_000.0;
const WATCHED_CAP: f64 = 15_000.0;
/// Past the expected end, a look is this share of the time waited so far away.
const OVERDUE_STEP: f64 = 0.15;
/// How often a job that is `done` without its URL is looked at again before giving up.
const INCOMPLETE_LOOKS: u32 = 5;
/// The longest wait that a timer is given; a deadline further away than this is this.
pub const LONGEST: f64 = 2_147_483_647.0;

/// What earlier looks at a job, and earlier jobs like it, have taught.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// When the wait began.
    since: f64,
    /// When the job was first seen running.
    running_since: Option<f64>,
    /// How long such jobs take, in milliseconds; short rather than long where it is not known.
    expected: f64,
    /// The progress when it was first seen running, and the last one, from 0 to 1.
    progress_first: Option<f64>,
    progress: Option<f64>,
    /// Looks since the progress last moved.
    stalled: u32,
    /// Whether this upstream counts progress to 100.
    percent: bool,
    /// Looks that brought an answer.
    looks: u32,
    /// Looks since the last answer that brought none.
    failures: u32,
    /// Looks that found `done` without the URL.
    incomplete: u32,
}

impl Memory {
    /// Of a job that was begun at `since` on the monotonic clock and is expected to take `expected` milliseconds.
    pub const fn new(since: f64, expected: f64) -> Self {
        Self {
            since,
            running_since: None,
            expected: between(expected, FLOOR, LONGEST),
            progress_first: None,
            progress: None,
            stalled: 0,
            percent: false,
            looks: 0,
            failures: 0,
            incomplete: 0,
        }
    }

    /// How long the wait has lasted, in milliseconds.
    pub const fn waited(&self, now: Now) -> f64 {
        (now.monotonic - self.since).max(0.0)
    }

    fn observe(&mut self, facts: &JobFacts, now: Now) {
        self.looks = self.looks.saturating_add(1);
        self.failures = 0;
        if facts.status == Status::Running && self.running_since.is_none() {
            self.running_since = Some(now.monotonic);
        }
        let Some(reported) = facts.progress.filter(|progress| *progress >= 0.0) else { return };
        self.percent |= reported > 1.0;
        let progress = (if self.percent { reported / 100.0 } else { reported }).min(1.0);
        if facts.status == Status::Running && self.progress_first.is_none() {
            self.progress_first = Some(progress);
        }
        self.stalled = if self.progress == Some(progress) { self.stalled.saturating_add(1) } else { 0 };
        self.progress = Some(progress);
    }

    /// The time until the end by the job's own account, in milliseconds. It is told by what moved since
    /// the job was first seen running; at the first sight, by all the time since it was begun, which is
    /// too long where it had to queue, and so never too early. Progress that stands still says nothing.
    fn remaining(&self, now: Now) -> Option<f64> {
        let (first, progress) = (self.progress_first?, self.progress?);
        if progress <= 0.05 || progress >= 1.0 || self.stalled > 1 {
            return None;
        }
        let (moved, elapsed) = if progress - first > 0.02 {
            (progress - first, now.monotonic - self.running_since?)
        } else {
            (progress, self.waited(now))
        };
        Some(elapsed * (1.0 - progress) / moved)
    }
}

/// When to look next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Milliseconds from now.
    pub in_ms: f64,
    /// Milliseconds until the job is expected to end, where that is known.
    pub remaining_ms: Option<f64>,
}

/// The rule. `facts` is what was last heard of the job.
pub fn next(facts: &JobFacts, memory: &Memory, now: Now) -> Look {
    let waited = memory.waited(now);
    match facts.status {
        // The URL follows the status within moments, if it comes at all.
        Status::Done => Look { in_ms: doubling(1_000.0, memory.incomplete), remaining_ms: None },
        Status::Unknown => Look { in_ms: CAP, remaining_ms: None },
        _ => {
            if let Some(remaining) = memory.remaining(now) {
                return Look { in_ms: between(remaining / 2.0, FLOOR, CAP), remaining_ms: Some(remaining) };
            }
            let remaining = memory.expected - waited;
            Look {
                in_ms: if memory.looks == 0 { first_look(memory, waited) } else { by_hazard(memory, waited) },
                remaining_ms: (remaining > 0.0).then_some(remaining),
            }
        }
    }
}

/// The first look, at an early quantile of the expected duration.
fn first_look(memory: &Memory, waited: f64) -> f64 {
    ((memory.expected / 2.0).min(FIRST_CAP) - waited).max(FLOOR)
}

/// The distance to the next look where the job says nothing: durations are taken to be log-logistic
/// with the expected one as their median and shape 4, which is about how renders spread, and whose
/// hazard `(4/m) x³ / (1 + x⁴)` needs no logarithm. It is taken no earlier than where the early jobs
/// end: before that it is so low that a look would be put off past the job's end.
fn by_hazard(memory: &Memory, waited: f64) -> f64 {
    let x = (waited / memory.expected).max(0.6);
    let cube = x * x * x;
    let hazard = 4.0 / memory.expected * cube / (1.0 + cube * x);
    let distance = (2.0 * REQUEST_WORTH / hazard).sqrt();
    let overdue = if waited > 2.0 * memory.expected { waited * OVERDUE_STEP } else { 0.0 };
    between(distance.max(overdue), FLOOR, CAP)
}

/// `clamp` can panic, and its message prints a float: 8 KB for every visitor.
const fn between(value: f64, least: f64, most: f64) -> f64 {
    value.max(least).min(most)
}

fn doubling(start: f64, times: u32) -> f64 {
    let mut wait = start;
    for _ in 0..times.min(8) {
        wait *= 2.0;
    }
    wait.min(CAP)
}

/// How one watcher wants to be served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// What it waits for.
    pub goal: Goal,
    /// When it gives up, on the monotonic clock.
    pub deadline: f64,
    /// Whether it wants to hear of changes, and so be served more often.
    pub attentive: bool,
    /// The longest distance between two looks that it accepts, in milliseconds.
    pub max_interval: Option<f64>,
}

#[derive(Clone, Debug)]
struct Watcher {
    key: u32,
    wish: Wish,
}

#[derive(Clone, Debug)]
struct Watched {
    id: String,
    memory: Memory,
    facts: Option<JobFacts>,
    /// When the next look is due, on the monotonic clock, and how that look was announced.
    due: f64,
    remaining: Option<f64>,
    /// When it was last looked at.
    looked: f64,
    looking: bool,
    watchers: Vec<Watcher>,
}

/// What a look brought.
#[derive(Clone, Debug)]
pub enum Seen<'a> {
    /// The job.
    Job(&'a JobFacts),
    /// No answer, or one that another try may better. With what the server asked for.
    Failure(Option<f64>),
    /// An answer that no other try will better: 401, 403, 404 and their like.
    Refusal,
}

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Notice {
    /// Something changed.
    Update(Look),
    /// It is there.
    Reached,
    /// The job failed or was rejected.
    Failed,
    /// `done`, and the URL did not come.
    Incomplete,
    /// The look was refused for good.
    Refused,
    /// Time is over.
    Deadline,
}

impl Notice {
    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Update(_))
    }
}

/// All the jobs that are watched together, each with its watchers. Jobs of one client share it: one
/// timer, one limit of requests in flight, one request for a job however many watch it.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    jobs: Vec<Watched>,
    last_key: u32,
    /// No look before this: what a `Retry-After` asked for.
    quiet_until: f64,
}

impl Schedule {
    /// Watches a job; the key names the watcher. A job of which nothing is known is looked at first of all.
    pub fn watch(&mut self, id: &str, facts: Option<JobFacts>, wish: Wish, memory: Memory, now: Now) -> u32 {
        self.last_key = self.last_key.wrapping_add(1);
        let watcher = Watcher { key: self.last_key, wish };
        if let Some(job) = job_of(&mut self.jobs, id) {
            job.watchers.push(watcher);
            job.due = job.due.min(now.monotonic + job.longest(true));
        } else {
            let mut job = Watched {
                id: id.into(),
                memory,
                facts,
                due: now.monotonic,
                remaining: None,
                looked: now.monotonic,
                looking: false,
                watchers: vec![watcher],
            };
            job.plan(now, true);
            self.jobs.push(job);
        }
        self.last_key
    }

    /// Forgets a watcher.
    pub fn unwatch(&mut self, key: u32) {
        for job in &mut self.jobs {
            remove_where(&mut job.watchers, |watcher| watcher.key == key);
        }
        remove_where(&mut self.jobs, |job| job.watchers.is_empty());
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Leaves the upstream alone for a while.
    pub fn quiet(&mut self, retry_after: f64, now: Now) {
        self.quiet_until = self.quiet_until.max(now.monotonic + retry::clamp_retry_after(retry_after));
    }

    /// The next job whose look is due; it counts as being looked at from here on.
    pub fn take_due(&mut self, now: Now, env: Env) -> Option<String> {
        if !env.online || now.monotonic < self.quiet_until {
            return None;
        }
        let job = self.jobs.iter_mut().find(|job| !job.looking && job.due_in(env) <= now.monotonic)?;
        job.looking = true;
        job.looked = now.monotonic;
        Some(job.id.clone())
    }

    /// How long nothing needs to be done, in milliseconds.
    pub fn idle(&self, now: Now, env: Env) -> f64 {
        let mut until = now.monotonic + LONGEST;
        for job in &self.jobs {
            if !job.looking && env.online {
                until = until.min(job.due_in(env).max(self.quiet_until));
            }
            for watcher in &job.watchers {
                until = until.min(watcher.wish.deadline);
            }
        }
        (until - now.monotonic).max(0.0)
    }

    /// Takes in what a look brought, and says who is to be told what. `chance` is from 0 to 1.
    pub fn seen(&mut self, id: &str, seen: &Seen<'_>, now: Now, env: Env, chance: f64) -> Vec<(u32, Notice)> {
        if let Seen::Failure(Some(asked)) = seen {
            self.quiet(*asked, now);
        }
        let mut notices = Vec::new();
        let Some(job) = job_of(&mut self.jobs, id) else { return notices };
        job.looking = false;
        match seen {
            Seen::Failure(asked) => {
                let wait = retry::backoff(job.memory.failures, chance, *asked).max(FLOOR);
                job.memory.failures = job.memory.failures.saturating_add(1);
                job.due = now.monotonic + wait;
            }
            Seen::Refusal => {
                for watcher in &job.watchers {
                    notices.push((watcher.key, Notice::Refused));
                }
            }
            Seen::Job(facts) => {
                let changed = job.facts.as_ref() != Some(*facts) || job.memory.looks == 0;
                job.memory.observe(facts, now);
                job.facts = Some((*facts).clone());
                let done = facts.status == Status::Done;
                let missing = done && job.watchers.iter().any(|watcher| !facts.meets(watcher.wish.goal));
                job.memory.incomplete = if missing { job.memory.incomplete + 1 } else { 0 };
                job.plan(now, false);
                // An update goes out before the end that the same look brought.
                if changed {
                    let look = Look { in_ms: job.due_in(env) - now.monotonic, remaining_ms: job.remaining };
                    for watcher in &job.watchers {
                        notices.push((watcher.key, Notice::Update(look)));
                    }
                }
                for watcher in &job.watchers {
                    let notice = if facts.meets(watcher.wish.goal) {
                        Notice::Reached
                    } else if facts.status.is_failure() {
                        Notice::Failed
                    } else if done && job.memory.incomplete > INCOMPLETE_LOOKS {
                        Notice::Incomplete
                    } else {
                        continue;
                    };
                    notices.push((watcher.key, notice));
                }
            }
        }
        for (key, notice) in &notices {
            if notice.is_final() {
                self.unwatch(*key);
            }
        }
        notices
    }

    /// Ends the watchers whose time is over.
    pub fn expire(&mut self, now: Now) -> Vec<u32> {
        let mut expired = Vec::new();
        for job in &self.jobs {
            for watcher in &job.watchers {
                if watcher.wish.deadline <= now.monotonic {
                    expired.push(watcher.key);
                }
            }
        }
        for key in &expired {
            self.unwatch(*key);
        }
        expired
    }

    /// Makes every job due, once: the page is shown again, or the network came back.
    pub fn look_now(&mut self, now: Now) {
        for job in &mut self.jobs {
            job.due = job.due.min(now.monotonic);
        }
    }
}

fn job_of<'a>(jobs: &'a mut [Watched], id: &str) -> Option<&'a mut Watched> {
    jobs.iter_mut().find(|job| job.id == id)
}

impl Watched {
    /// The longest distance to the next look that every watcher accepts.
    fn longest(&self, first: bool) -> f64 {
        let mut longest = LONGEST;
        for Watcher { wish, .. } in &self.watchers {
            if wish.attentive {
                longest = longest.min(if first { WATCHED_FIRST } else { WATCHED_CAP });
            }
            if let Some(interval) = wish.max_interval {
                longest = longest.min(interval.max(FLOOR));
            }
        }
        longest
    }

    fn plan(&mut self, now: Now, first: bool) {
        let Some(facts) = &self.facts else { return };
        let look = next(facts, &self.memory, now);
        self.due = now.monotonic + look.in_ms.min(self.longest(first));
        self.remaining = look.remaining_ms;
    }

    /// When the look is due in these surroundings: nobody sees a hidden page, so once a minute is enough.
    fn due_in(&self, env: Env) -> f64 {
        if env.visible || self.facts.is_none() { self.due } else { self.due.max(self.looked + HIDDEN) }
    }
}

/// What the watcher is told in the end, in words.
pub fn ending(notice: Notice, facts: Option<&JobFacts>, id: &str) -> Option<Error> {
    let error = match notice {
        Notice::Update(_) | Notice::Reached | Notice::Refused => return None,
        Notice::Failed => {
            let given = facts.and_then(|facts| facts.failed_reason.as_deref());
            let rejected = facts.is_some_and(|facts| facts.status == Status::Rejected);
            let reason = given.unwrap_or(if rejected {
                "the provider rejected the job and gave no reason"
            } else {
                "the job failed and the provider gave no reason"
            });
            let verb = if rejected { "The job was rejected: " } else { "The job failed: " };
            Error::new(Reason::JobFailed { reason: reason.into() }, &[verb, reason])
        }
        Notice::Incomplete => Error::new(
            Reason::IncompleteResult,
            &["The job is done, but the URL that was waited for did not come. Look again later with get()."],
        ),
        Notice::Deadline => Error::new(
            Reason::PollTimeout,
            &["The job was still running when the time to wait was over. poll() it again to go on waiting."],
        ),
    };
    Some(error.with_job(id))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn at(ms: f64) -> Now {
        Now { monotonic: ms, wall: ms }
    }

    fn facts(status: Status, progress: Option<f64>) -> JobFacts {
        JobFacts {
            id: String::new(),
            status,
            progress,
            preview: false,
            video: false,
            failed_reason: None,
            updated_at: None,
            credits_used: None,
            duration: None,
        }
    }

    /// Looks at a job as the rule says until `end`; when the looks were.
    fn looks(expected: f64, end: f64, state: impl Fn(f64) -> (Status, Option<f64>)) -> Vec<f64> {
        let mut memory = Memory::new(0.0, expected);
        let mut now = 0.0;
        let mut looks = Vec::new();
        let mut last = facts(Status::Pending, None);
        while now < end {
            let look = next(&last, &memory, at(now));
            assert!(look.in_ms >= 1_000.0 && look.in_ms <= CAP, "{look:?} at {now}");
            now += look.in_ms;
            looks.push(now);
            let (status, progress) = state(now);
            last = facts(status, progress);
            memory.observe(&last, at(now));
        }
        looks
    }

    #[test]
    fn the_first_look_from_memory_is_early_and_capped() {
        for (expected, first) in [(10_000.0, 5_000.0), (1.0, FLOOR), (3_600_000.0, FIRST_CAP), (f64::INFINITY, FIRST_CAP)] {
            let look = next(&facts(Status::Pending, None), &Memory::new(0.0, expected), at(0.0));
            assert!((look.in_ms - first).abs() < 1.0, "{expected}: {look:?}");
        }
    }

    #[test]
    fn progress_that_moves_is_followed_to_the_end_in_a_handful_of_looks() {
        let run = 120_000.0;
        let linear = |now: f64| (Status::Running, Some((now / run).min(0.999)));
        let looks = looks(120_000.0, run, linear);
        let lag = looks.last().map_or(f64::MAX, |last| last - run);
        assert!(looks.len() <= 14, "{} looks: {looks:?}", looks.len());
        assert!(lag <= 3_000.0, "{lag} ms late");
    }

    #[test]
    fn percentages_and_fractions_are_followed_alike() {
        let run = 60_000.0;
        let fraction = looks(40_000.0, run, |now| (Status::Running, Some((now / run).min(0.99))));
        let percent = looks(40_000.0, run, |now| (Status::Running, Some((now / run * 100.0).min(99.0))));
        assert_eq!(fraction.len(), percent.len());
    }

    #[test]
    fn progress_that_says_nothing_is_not_followed() {
        for progress in [None, Some(0.0), Some(1.0), Some(-3.0), Some(0.5)] {
            let looks = looks(40_000.0, 400_000.0, |_| (Status::Running, progress));
            assert!(looks.len() < 40, "{progress:?}: {} looks, half of one every five seconds", looks.len());
        }
    }

    #[test]
    fn an_early_look_puts_the_next_one_no_later_than_the_expected_end() {
        let mut memory = Memory::new(0.0, 20_000.0);
        let running = facts(Status::Running, None);
        memory.observe(&running, at(50.0));
        assert!(next(&running, &memory, at(50.0)).in_ms < 20_000.0);
    }

    #[test]
    fn past_the_expected_end_looks_grow_apart() {
        let looks = looks(10_000.0, 600_000.0, |_| (Status::InQueue, None));
        let gaps: Vec<f64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.last() >= gaps.get(5), "{gaps:?}");
        assert!(gaps.last().is_some_and(|gap| *gap >= CAP - 1.0));
    }

    #[test]
    fn a_deadline_is_met_to_the_millisecond() {
        let mut schedule = Schedule::default();
        let env = Env { visible: true, online: true };
        let wish = Wish { goal: Goal::Video, deadline: 7_000.0, attentive: false, max_interval: None };
        let key = schedule.watch("a", Some(facts(Status::Running, None)), wish, Memory::new(0.0, 60_000.0), at(0.0));
        assert!((schedule.idle(at(0.0), env) - 7_000.0).abs() < 1e-6);
        assert!(schedule.expire(at(6_999.0)).is_empty());
        assert_eq!(schedule.expire(at(7_000.0)), [key]);
        assert!(schedule.is_empty());
    }

    #[test]
    fn a_retry_after_quiets_every_job() {
        let mut schedule = Schedule::default();
        let env = Env { visible: true, online: true };
        let wish = Wish { goal: Goal::Video, deadline: LONGEST, attentive: false, max_interval: None };
        for id in ["a", "b"] {
            schedule.watch(id, None, wish, Memory::new(0.0, 60_000.0), at(0.0));
        }
        assert_eq!(schedule.take_due(at(0.0), env).as_deref(), Some("a"));
        schedule.seen("a", &Seen::Failure(Some(9_000.0)), at(10.0), env, 0.0);
        assert_eq!(schedule.take_due(at(8_000.0), env), None);
        assert!((schedule.idle(at(10.0), env) - 9_000.0).abs() < 1e-6);
        assert!(schedule.take_due(at(9_010.0), env).is_some());
    }

    #[test]
    fn a_look_that_changed_nothing_is_not_told() {
        let mut schedule = Schedule::default();
        let env = Env { visible: true, online: true };
        let wish = Wish { goal: Goal::Video, deadline: LONGEST, attentive: true, max_interval: None };
        let same = JobFacts { id: "a".into(), ..facts(Status::Running, Some(0.5)) };
        schedule.watch("a", None, wish, Memory::new(0.0, 60_000.0), at(0.0));
        schedule.take_due(at(0.0), env);
        assert_eq!(schedule.seen("a", &Seen::Job(&same), at(1.0), env, 0.0).len(), 1, "the first is news");
        schedule.take_due(at(20_000.0), env);
        assert_eq!(schedule.seen("a", &Seen::Job(&same), at(20_001.0), env, 0.0).len(), 0);
    }
}
