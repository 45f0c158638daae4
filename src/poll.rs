//! The polling schedule: a pure function from what is known of a job to the time of the next poll.
//!
//! Polling often costs requests, polling seldom costs waiting. The schedule follows the job's progress where it has some,
//! else the durations of earlier jobs of its kind, else a rule of its own.
//!
//! **With a known duration.** For a job whose end is random, the cheapest distance between two polls is `sqrt(2 c / h)`,
//! where `h` is the hazard, the chance of ending in the next instant given that it has not ended yet, and `c` is how much
//! waiting a request is worth (Barlow, Hunter and Proschan 1963; Keller 1974). Renders have a rising and then falling
//! hazard, so neither a fixed nor an exponential interval suits them.
//!
//! **With nothing known.** Run times of all sorts of jobs taken together are about uniform in their logarithm (Downey
//! 1997): any length is as likely as its double. An interval that is a share of the time elapsed is then late by the same
//! share of every length. Lag is felt in seconds too, so the first poll is early, the next ones are a fixed time apart,
//! and the share rules only after minutes.
//!
//! **With progress.** A line through two polls predicts the end. It errs where the progress is bent, and by how much the
//! prediction just moved bounds the error; where progress counts in steps, part of the next step is done already. The next
//! poll is the error before the predicted end; closer than that the hazard rules again. Past the predicted end, the
//! further past it is, the less it is trusted.
//!
//! **Failures** come early, mostly: one poll is for them.
//!
//! The constants were chosen by replaying the rule beside its peers', over the grid of `tests/polling`: `cargo xtask bench
//! polling` prints it.

use crate::api::{Goal, Status};
use crate::job::JobFacts;
use crate::retry::doubling;

/// How much waiting one request is worth, in milliseconds: where memory tells the end, and where the job does.
const REQUEST_WORTH: f64 = 590.0;
const REQUEST_WORTH_NEAR: f64 = 200.0;
/// Never closer than this to the last look, in milliseconds.
pub const FLOOR: f64 = 1_500.0;
/// Never further from it.
pub const CAP: f64 = 30_000.0;
/// While nobody sees the page, never closer than this.
pub const HIDDEN: f64 = 60_000.0;
/// Jobs that are refused or fail at once have done so by now, in milliseconds.
const EARLY: f64 = 5_000.0;
/// What memory puts off is put off by at most this, in milliseconds, or by this share of the time waited so far: so a wrong
/// memory costs little, and never more than a share of the job's length.
const LEAP: f64 = 8_000.0;
const LEAP_QUEUED: f64 = 13_000.0;
const LEAP_SHARE: f64 = 0.6;
/// Of the expected duration, the hazard before this share is taken for that at it: it is so low that the early jobs would
/// end long before a look.
const EARLIEST: f64 = 0.47;
/// Where nothing is known: this, in milliseconds, and after minutes this share of the time waited so far.
const BLIND: f64 = 7_800.0;
const BLIND_SHARE: f64 = 0.02;
/// Progress below this tells nothing yet.
const BEGUN: f64 = 0.025;
/// Past the end that the job told, the next look is this share of the time since then away; and, once that is longer than
/// what is waited where nothing is known, this one.
const OVERDUE: f64 = 0.3;
const OVERDUE_LATE: f64 = 0.045;
/// Somebody who watches gets a look this early, and then at least this often.
const WATCHED_FIRST: f64 = 4_500.0;
const WATCHED_CAP: f64 = 15_000.0;
/// A job that is `done` without its URL is given up by two polls that are this far apart, in milliseconds; and where it is a
/// video, and no charge for it is known.
const INCOMPLETE: f64 = 30_000.0;
const UNCHARGED: f64 = 10_000.0;
/// A job that has not ended is not shown to be further than this.
const ALMOST: f64 = 0.99;
/// The longest wait that a timer is given; a deadline further away than this is this.
pub const LONGEST: f64 = 2_147_483_647.0;

/// What earlier looks at a job, and earlier jobs like it, have taught. All times are milliseconds on the monotonic
/// clock, and what is not known is less than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// When the wait began.
    since: f64,
    /// When it was last looked at.
    pub looked: f64,
    /// How long such jobs take; short rather than long.
    pub expected: f64,
    /// Where the line that tells the end begins: a look, or the last one that did not find it running.
    from: Mark,
    /// The look at which the progress last moved.
    seen: Mark,
    /// The end by the job's own account, and how much sooner it may be.
    end: f64,
    doubt: f64,
    /// In what steps it counts, in percent: the greatest common divisor of what was told.
    step: u32,
    /// Whether this upstream counts progress to 100.
    percent: bool,
    /// Looks that brought an answer.
    pub looks: u32,
    /// Looks since the last answer that brought none.
    pub failures: u32,
    /// Looks in a row that found `done` without the URL, and when the first of them was.
    pub incomplete: u32,
    incomplete_since: f64,
    /// Whether the journal has a charge for the job's video.
    pub charged: bool,
}

/// How far a job was at a moment, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    at: f64,
    progress: f64,
}

impl Memory {
    /// Of a job that was begun at `since` and is expected to take `expected` milliseconds; NaN or less than 0 where nobody
    /// knows.
    pub const fn new(since: f64, expected: f64) -> Self {
        let begun = Mark { at: since, progress: 0.0 };
        Self {
            since,
            looked: since,
            // `max` also ends a NaN.
            expected: expected.max(-1.0).min(LONGEST),
            from: begun,
            seen: begun,
            end: -1.0,
            doubt: 0.0,
            step: 100,
            percent: false,
            looks: 0,
            failures: 0,
            incomplete: 0,
            incomplete_since: 0.0,
            charged: false,
        }
    }

    /// Takes in whether a look found `done` without the URL.
    pub const fn miss(&mut self, missing: bool, now: f64) {
        if !missing {
            self.incomplete = 0;
            return;
        }
        if self.incomplete == 0 {
            self.incomplete_since = now;
        }
        self.incomplete += 1;
    }

    /// How long the wait has lasted, in milliseconds.
    pub const fn waited(&self, now: f64) -> f64 {
        (now - self.since).max(0.0)
    }

    /// Takes in what a look brought.
    pub fn observe(&mut self, facts: &JobFacts, now: f64) {
        self.looks = self.looks.saturating_add(1);
        self.failures = 0;
        let gap = now - self.looked;
        self.looked = now;
        let reported = facts.progress.unwrap_or(-1.0);
        self.percent |= reported > 1.0;
        let told = if self.percent { reported / 100.0 } else { reported };
        let running = facts.status == Status::Running;
        // What is told before it runs is of an earlier step, and what goes back begins anew.
        let progress = if running { told.min(1.0) } else { 0.0 };
        let seen = Mark { at: now, progress };
        if !running || (0.0 <= progress && progress < self.seen.progress) {
            (self.from, self.seen, self.end) = (seen, seen, -1.0);
        }
        if progress <= self.seen.progress {
            return;
        }
        // The line should not be drawn further than it is long, nor begin where the job may still have queued.
        let moved = progress - self.seen.progress;
        if self.seen.at > self.from.at && (moved >= 0.92 * (1.0 - progress) || (self.from.progress == 0.0 && moved > 0.1)) {
            self.from = self.seen;
        }
        self.seen = seen;
        let mut rest = (progress * 100.0 + 0.5) as u32;
        while rest > 0 {
            (self.step, rest) = (rest, self.step % rest);
        }
        if !(BEGUN..1.0).contains(&progress) {
            self.end = -1.0;
            return;
        }
        let slope = (now - self.from.at) / (progress - self.from.progress);
        // Of the next step, what is likely to be done since the last look.
        let ahead = (slope * f64::from(self.step) / 100.0).min(gap) * 0.38;
        let remaining = slope * (1.0 - progress) - ahead;
        let later = now + remaining - self.end;
        self.doubt = if self.end < 0.0 {
            0.78 * remaining
        } else {
            // It moves on as it has moved, if less and less.
            let bent = if later > 0.0 { 0.2 * later } else { -1.1 * later };
            (bent + 0.055 * remaining).max(1.6 * ahead)
        };
        self.end = now + remaining;
    }
}

/// What is remembered of how long such jobs take, in milliseconds, after another one took `seen`; `old` is NaN before the
/// first. It follows what is short sooner than what is long, and so stays below the middle, and it forgets: a look too
/// early costs a request, one too late costs all who wait.
pub fn learn(old: f64, seen: f64) -> f64 {
    let longer = seen - old;
    if old.is_nan() { seen } else { old + longer * if longer < 0.0 { 0.12 } else { 0.084 } }
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
    match facts.status {
        // A preview of which no render was seen.
        Status::Done if facts.preview && !memory.charged && memory.looks == memory.incomplete => {
            return Look { in_ms: UNCHARGED, remaining_ms: -1.0 };
        }
        // The URL follows the status within moments, if it comes at all.
        Status::Done => return Look { in_ms: while_incomplete(memory), remaining_ms: -1.0 },
        Status::Unknown => return Look { in_ms: CAP, remaining_ms: -1.0 },
        _ => {}
    }
    let waited = memory.waited(now);
    let told = memory.end >= 0.0;
    let remaining_ms = if told { memory.end - now } else { memory.expected - waited };
    let unsaid = by_memory(memory, waited, facts.status == Status::Running);
    let in_ms = if !told {
        unsaid
    } else if remaining_ms > 0.0 {
        let near = by_hazard(REQUEST_WORTH_NEAR, 1.0 / (remaining_ms + memory.doubt));
        (remaining_ms - memory.doubt).max(near).min(remaining_ms)
    } else {
        (-OVERDUE * remaining_ms).min(unsaid.max(-OVERDUE_LATE * remaining_ms))
    };
    Look { in_ms: between(in_ms, FLOOR, CAP), remaining_ms }
}

/// The distance to the next look at a job that is `done` without its URL.
pub fn while_incomplete(memory: &Memory) -> f64 {
    doubling(1_000.0, memory.incomplete, CAP)
}

/// How far the step of a job is, from 0 to 1: as the job reports, carried on to its predicted end, or else by how long such
/// jobs take. `None` where neither is known.
pub fn progress(facts: &JobFacts, memory: &Memory, now: f64) -> Option<f64> {
    let share = |passed: f64, whole: f64| between(passed / whole.max(1.0), 0.0, 1.0);
    let Mark { at, progress } = memory.seen;
    let progress = if memory.end >= 0.0 {
        progress + (1.0 - progress) * share(now - at, memory.end - at)
    } else if memory.expected > 0.0 {
        progress.max(share(memory.waited(now), memory.expected))
    } else if facts.status == Status::Running && facts.progress.is_some() {
        progress
    } else {
        return None;
    };
    Some(progress.min(ALMOST))
}

/// The distance to the next look where the job says nothing.
fn by_memory(memory: &Memory, waited: f64, running: bool) -> f64 {
    let expected = memory.expected;
    let known = expected > 0.0;
    let early = if known { EARLY.min(expected / 2.0) } else { EARLY };
    if memory.looks == 0 && waited < early {
        return early - waited;
    }
    let blind = BLIND.max(waited * BLIND_SHARE);
    if !known {
        return blind;
    }
    // Durations are taken to be log-logistic with the expected one as their median and shape 3, which is about how renders
    // spread, and whose hazard needs no logarithm.
    let x = (waited / expected).max(EARLIEST);
    let square = x * x;
    let leap = if running { LEAP } else { LEAP_QUEUED };
    let apart = by_hazard(REQUEST_WORTH, 3.0 / expected * square / (1.0 + square * x)).min(leap.max(waited * LEAP_SHARE));
    // Where the job has told what was not so, or has outlived what is remembered, that is not relied on.
    if memory.seen.progress > 0.0 || waited > 2.0 * expected { apart.min(blind) } else { apart }
}

/// Keller's distance between two looks.
fn by_hazard(worth: f64, hazard: f64) -> f64 {
    (2.0 * worth / hazard).sqrt()
}

/// `clamp` can panic, and its message prints a float: 8 KB for every visitor.
pub const fn between(value: f64, least: f64, most: f64) -> f64 {
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
    /// `done` without a video, and no charge for one is known.
    Uncharged,
}

/// Whether a job that stands like this ends the wait for `goal`.
pub const fn ending(facts: &JobFacts, goal: Goal, memory: &Memory) -> Ending {
    if facts.meets(goal) {
        Ending::Reached
    } else if facts.status.is_failure() {
        Ending::Failed
    } else if memory.incomplete == 0 {
        Ending::None
    } else {
        let missed = memory.looked - memory.incomplete_since;
        match goal {
            Goal::Video if !memory.charged && missed >= UNCHARGED => Ending::Uncharged,
            _ if missed >= INCOMPLETE => Ending::Incomplete,
            _ => Ending::None,
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn facts(status: Status, progress: Option<f64>) -> JobFacts {
        let progress = progress.filter(|progress| (0.0..1e15).contains(progress));
        let id = String::new();
        JobFacts { id, status, progress, preview: false, video: false, version: None, credits_used: None, duration: None }
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
    fn the_first_look_is_early_and_no_memory_puts_it_off() {
        for (expected, first) in
            [(8_000.0, 4_000.0), (1.0, FLOOR), (3_600_000.0, EARLY), (f64::INFINITY, EARLY), (f64::NAN, EARLY)]
        {
            let look = next(&facts(Status::Pending, None), &Memory::new(0.0, expected), 0.0);
            assert!((look.in_ms - first).abs() < 1.0, "{expected}: {look:?}");
        }
    }

    #[test]
    fn a_memory_far_too_long_costs_no_more_than_the_wait_so_far() {
        let looks = looks(3_600_000.0, 600_000.0, |_| (Status::Running, None));
        for pair in looks.windows(2) {
            assert!(pair[1] - pair[0] <= pair[0].max(LEAP) + 1.0, "{looks:?}");
        }
    }

    #[test]
    fn a_memory_that_is_learned_is_short_rather_than_long_and_forgets() {
        let fold = |seen: &[f64]| seen.iter().fold(f64::NAN, |old, seen| learn(old, *seen));
        assert!((fold(&[9_000.0]) - 9_000.0).abs() < 1e-6, "the first is all there is");
        let mixed = fold(&[50_000.0, 150_000.0].repeat(50));
        assert!((50_000.0..100_000.0).contains(&mixed), "{mixed}");
        let changed = fold(&[[400_000.0; 30], [20_000.0; 30]].concat());
        assert!(changed < 30_000.0, "{changed}");
        let odd = fold(&[&[20_000.0; 30][..], &[1_800_000.0]].concat());
        assert!(odd < 400_000.0, "one odd job: {odd}");
    }

    /// How a run of so many milliseconds is followed, with nothing remembered: its looks, and how late the last is.
    fn followed(run: f64, progress: impl Fn(f64) -> f64) -> (usize, f64) {
        let looks = looks(f64::NAN, run, |now| (Status::Running, Some(progress(now / run).min(0.999))));
        (looks.len(), looks.last().map_or(f64::MAX, |last| last - run))
    }

    #[test]
    fn progress_that_moves_is_followed_to_the_end_in_a_handful_of_looks() {
        for run in [20_000.0, 120_000.0, 400_000.0] {
            for bend in [0.6, 1.0, 1.7] {
                let (looks, lag) = followed(run, |part| part.powf(bend));
                assert!(looks <= 11 + (run / CAP) as usize, "{run}, bent by {bend}: {looks} looks");
                assert!(lag <= 2.0 * FLOOR, "{run}, bent by {bend}: {lag} ms late");
            }
        }
    }

    #[test]
    fn the_time_that_remains_is_told_by_the_job_and_else_by_memory() {
        let mut memory = Memory::new(0.0, 60_000.0);
        let running = |progress| facts(Status::Running, Some(progress));
        assert!((next(&facts(Status::Pending, None), &memory, 10_000.0).remaining_ms - 50_000.0).abs() < 1.0);
        for at in [0.2, 0.5] {
            memory.observe(&running(at), at * 100_000.0);
        }
        let told = next(&running(0.5), &memory, 50_000.0).remaining_ms;
        assert!((40_000.0..=50_000.0).contains(&told), "{told}");
        let nobody = next(&facts(Status::Pending, None), &Memory::new(0.0, f64::NAN), 10_000.0);
        assert!(nobody.remaining_ms < 0.0);
    }

    #[test]
    fn percentages_and_fractions_are_followed_alike() {
        let hundredths = |part: f64| (part * 100.0).floor();
        let fraction = looks(40_000.0, 60_000.0, |now| (Status::Running, Some(hundredths(now / 60_000.0) / 100.0)));
        let percent = looks(40_000.0, 60_000.0, |now| (Status::Running, Some(hundredths(now / 60_000.0))));
        assert_eq!(fraction, percent);
    }

    #[test]
    fn progress_that_says_nothing_is_not_followed() {
        let silent = looks(40_000.0, 400_000.0, |_| (Status::Running, None)).len();
        for progress in [0.0, 1.0, -3.0, 0.5, f64::INFINITY] {
            let looks = looks(40_000.0, 400_000.0, |_| (Status::Running, Some(progress))).len();
            assert!(looks <= silent + 8, "{progress}: {looks} looks, {silent} where it says nothing");
        }
    }

    #[test]
    fn progress_that_goes_back_begins_anew() {
        // Two passes, of which the first is no news of the second.
        let (looks, lag) = followed(200_000.0, |part| (part * 2.0).fract());
        assert!(looks <= 24 && lag <= 2.0 * FLOOR, "{looks} looks, {lag} ms late");
    }

    #[test]
    fn the_time_in_the_queue_and_what_was_told_there_are_left_out_of_account() {
        let mut memory = Memory::new(0.0, f64::NAN);
        for at in [5_000.0, 20_000.0] {
            memory.observe(&facts(Status::InQueue, Some(1.0)), at);
        }
        let running = facts(Status::Running, Some(0.1));
        memory.observe(&running, 30_000.0);
        let told = next(&running, &memory, 30_000.0).remaining_ms;
        assert!((80_000.0..=90_000.0).contains(&told), "a tenth took at most ten seconds: {told}");
    }

    #[test]
    fn an_early_look_puts_the_next_one_no_later_than_the_expected_end() {
        let mut memory = Memory::new(0.0, 20_000.0);
        let running = facts(Status::Running, None);
        memory.observe(&running, 50.0);
        assert!(next(&running, &memory, 50.0).in_ms < 20_000.0);
    }

    #[test]
    fn a_job_that_does_not_end_is_looked_at_ever_less_often() {
        for progress in [None, Some(0.99)] {
            let looks = looks(10_000.0, 3_600_000.0, |_| (Status::Running, progress));
            let gaps: Vec<f64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.last() >= gaps.get(5), "{gaps:?}");
            assert!(gaps.last().is_some_and(|gap| *gap >= CAP - 1.0), "{gaps:?}");
        }
    }
}
