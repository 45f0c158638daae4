//! When to look at a job next: a pure function.
//!
//! Looking often costs requests, looking seldom costs waiting. For a job whose moment of ending is
//! random, the cheapest distance between two looks is `sqrt(2 c / h)`, where `h` is the hazard, the
//! chance of ending in the next instant given that it has not ended yet, and `c` is how much waiting a
//! request is worth (Barlow, Hunter and Proschan 1963; Keller 1974). Renders have a rising and then
//! falling hazard, so neither a fixed nor an exponential distance suits them. Where the job reports
//! moving progress that is better news than any prior: half the estimated remainder converges on the
//! end in a handful of looks.

use crate::api::{Goal, JobFacts, Status};
use crate::retry::doubling;

/// How much waiting one request is worth, in milliseconds.
const REQUEST_WORTH: f64 = 250.0;
/// Never closer than this to the last look, in milliseconds.
pub const FLOOR: f64 = 1_500.0;
/// Never further from it.
const CAP: f64 = 30_000.0;
/// While nobody sees the page, never closer than this.
pub const HIDDEN: f64 = 60_000.0;
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

/// What earlier looks at a job, and earlier jobs like it, have taught. All times are milliseconds on the monotonic
/// clock, and what is not known is less than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// When the wait began.
    since: f64,
    /// When the job was first seen running.
    running_since: f64,
    /// How long such jobs take; short rather than long where it is not known.
    expected: f64,
    /// The progress when it was first seen running, and the last one, from 0 to 1.
    progress_first: f64,
    progress: f64,
    /// Looks since the progress last moved.
    stalled: u32,
    /// Whether this upstream counts progress to 100.
    percent: bool,
    /// Looks that brought an answer.
    pub looks: u32,
    /// Looks since the last answer that brought none.
    pub failures: u32,
    /// Looks that found `done` without the URL.
    pub incomplete: u32,
}

impl Memory {
    /// Of a job that was begun at `since` and is expected to take `expected` milliseconds.
    pub const fn new(since: f64, expected: f64) -> Self {
        Self {
            since,
            running_since: -1.0,
            expected: between(expected, FLOOR, LONGEST),
            progress_first: -1.0,
            progress: -1.0,
            stalled: 0,
            percent: false,
            looks: 0,
            failures: 0,
            incomplete: 0,
        }
    }

    /// How long the wait has lasted, in milliseconds.
    pub const fn waited(&self, now: f64) -> f64 {
        (now - self.since).max(0.0)
    }

    /// Takes in what a look brought.
    pub fn observe(&mut self, facts: &JobFacts, now: f64) {
        self.looks = self.looks.saturating_add(1);
        self.failures = 0;
        let running = facts.status == Status::Running;
        if running && self.running_since < 0.0 {
            self.running_since = now;
        }
        if facts.progress < 0.0 {
            return;
        }
        self.percent |= facts.progress > 1.0;
        let progress = (if self.percent { facts.progress / 100.0 } else { facts.progress }).min(1.0);
        if running && self.progress_first < 0.0 {
            self.progress_first = progress;
        }
        self.stalled = if self.progress == progress { self.stalled.saturating_add(1) } else { 0 };
        self.progress = progress;
    }

    /// The time until the end by the job's own account, in milliseconds; less than 0 where it says nothing. It is told
    /// by what moved since the job was first seen running; at the first sight, by all the time since it was begun, which
    /// is too long where it had to queue, and so never too early. Progress that stands still says nothing.
    fn remaining(&self, now: f64) -> f64 {
        let Self { progress_first: first, progress, .. } = *self;
        if first < 0.0 || progress <= 0.05 || progress >= 1.0 || self.stalled > 1 {
            return -1.0;
        }
        let (moved, elapsed) = if progress - first > 0.02 {
            (progress - first, now - self.running_since)
        } else {
            (progress, self.waited(now))
        };
        elapsed * (1.0 - progress) / moved
    }
}

/// When to look next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Milliseconds from now.
    pub in_ms: f64,
    /// Milliseconds until the job is expected to end; less than 0 where nobody knows.
    pub remaining_ms: f64,
}

/// The rule. `facts` is what was last heard of the job.
pub fn next(facts: &JobFacts, memory: &Memory, now: f64) -> Look {
    let waited = memory.waited(now);
    match facts.status {
        // The URL follows the status within moments, if it comes at all.
        Status::Done => Look { in_ms: doubling(1_000.0, memory.incomplete, CAP), remaining_ms: -1.0 },
        Status::Unknown => Look { in_ms: CAP, remaining_ms: -1.0 },
        _ => {
            let remaining = memory.remaining(now);
            if remaining >= 0.0 {
                return Look { in_ms: between(remaining / 2.0, FLOOR, CAP), remaining_ms: remaining };
            }
            Look {
                in_ms: if memory.looks == 0 { first_look(memory, waited) } else { by_hazard(memory, waited) },
                remaining_ms: memory.expected - waited,
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

/// How one watcher wants to be served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// What it waits for.
    pub goal: Goal,
    /// When it gives up, on the monotonic clock.
    pub deadline: f64,
    /// The longest distance between two looks that it accepts, in milliseconds.
    pub max_interval: f64,
    /// Whether it wants to hear of changes, and so be served more often.
    pub attentive: bool,
}

impl Wish {
    /// The longest distance to the next look that it accepts, in milliseconds.
    pub const fn longest(&self, first: bool) -> f64 {
        let interval = self.max_interval.max(FLOOR);
        match (self.attentive, first) {
            (false, _) => interval,
            (true, true) => interval.min(WATCHED_FIRST),
            (true, false) => interval.min(WATCHED_CAP),
        }
    }
}

/// What a look means to one watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It goes on.
    None,
    /// It is there.
    Reached,
    /// The job failed or was rejected.
    Failed,
    /// `done`, and the URL did not come.
    Incomplete,
}

/// Whether a job that stands like this ends the wait for `goal`.
pub const fn ending(facts: &JobFacts, goal: Goal, memory: &Memory) -> Ending {
    if facts.meets(goal) {
        Ending::Reached
    } else if facts.status.is_failure() {
        Ending::Failed
    } else if matches!(facts.status, Status::Done) && memory.incomplete > INCOMPLETE_LOOKS {
        Ending::Incomplete
    } else {
        Ending::None
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn facts(status: Status, progress: Option<f64>) -> JobFacts {
        let progress = progress.unwrap_or(-1.0);
        JobFacts { status, progress, preview: false, video: false, touched: 0.0, credits_used: -1.0, duration: -1.0 }
    }

    /// Looks at a job as the rule says until `end`; when the looks were.
    fn looks(expected: f64, end: f64, state: impl Fn(f64) -> (Status, Option<f64>)) -> Vec<f64> {
        let mut memory = Memory::new(0.0, expected);
        let mut now = 0.0;
        let mut looks = Vec::new();
        let mut last = facts(Status::Pending, None);
        while now < end {
            let look = next(&last, &memory, now);
            assert!(look.in_ms >= 1_000.0 && look.in_ms <= CAP, "{look:?} at {now}");
            now += look.in_ms;
            looks.push(now);
            let (status, progress) = state(now);
            last = facts(status, progress);
            memory.observe(&last, now);
        }
        looks
    }

    #[test]
    fn the_first_look_from_memory_is_early_and_capped() {
        for (expected, first) in [(10_000.0, 5_000.0), (1.0, FLOOR), (3_600_000.0, FIRST_CAP), (f64::INFINITY, FIRST_CAP)] {
            let look = next(&facts(Status::Pending, None), &Memory::new(0.0, expected), 0.0);
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
        memory.observe(&running, 50.0);
        assert!(next(&running, &memory, 50.0).in_ms < 20_000.0);
    }

    #[test]
    fn past_the_expected_end_looks_grow_apart() {
        let looks = looks(10_000.0, 600_000.0, |_| (Status::InQueue, None));
        let gaps: Vec<f64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.last() >= gaps.get(5), "{gaps:?}");
        assert!(gaps.last().is_some_and(|gap| *gap >= CAP - 1.0));
    }
}
