//! The polling schedule: a pure function from the state of a job to the time of its next poll.
//!
//! Frequent polls cost requests; rare polls cost waiting.
//!
//! **Nothing known.** A job is polled every few seconds, at growing intervals. For jobs of one length no rule beats a fixed
//! interval: requests times lag is half that length. But a short job needs a short interval, and a long job can do with a
//! longer one. Without reported progress the interval grows slowly, with the eighth root of the time waited, so it stays
//! close to a fixed one at every length. With reported progress the first polls are early, since each shows more of when the
//! job will end, and the interval grows with the square root. A queued job is polled less often.
//!
//! **A range.** Progress, or else the duration of earlier jobs, gives a range of time in which the job should end. Two lines
//! through the progress, one from its start and one from the last step that was observed, predict two ends, which differ if
//! the progress is not linear. With a margin they are the range. Each moment of the range counts as equally likely. Some
//! probability remains for an end at any time, since the range may be wrong. The next poll is due when the lag that it is
//! expected to save reaches `SAVED`. After the range, the interval is a share of the time since its end: a prediction that
//! was wrong by some amount may be wrong by as much again.
//!
//! Source: Barlow, Hunter and Proschan (1963) derive the best times to inspect a system that fails at a random time.
//!
//! The constants were fitted on some worlds of `tests/polling` and are judged on others: `cargo xtask bench polling`.

use crate::api::{Goal, Status};
use crate::job::JobFacts;
use crate::retry::doubling;

/// The first interval if nothing is known, in milliseconds: without and with reported progress.
const SILENT: f64 = 4_800.0;
const REPORTING: f64 = 2_400.0;
/// The wait after which the interval starts to grow, in milliseconds.
const GROWTH: f64 = 6_000.0;
/// The interval is at least this share of the time waited, so that a job that never ends is polled ever less often.
const OLD: f64 = 0.005;
/// The factor on intervals while the job is not running yet.
const QUEUED: f64 = 1.5;
/// The lag that a poll is expected to save within a range, in milliseconds. It grows like the interval without progress.
const SAVED: f64 = 100.0;
/// The probability that a range is wrong, so that the job may end at any time: a range from memory, and one from progress.
const MEMORY_WRONG: f64 = 0.5;
const PROGRESS_WRONG: f64 = 0.08;
/// The range from memory ends at this multiple of the remembered duration, which is rather short.
const LONGER: f64 = 7.0;
/// Smaller steps of progress are ignored, so that a tiny number does not predict an end in a million years.
const LEAST: f64 = 0.001;
/// With one line through the progress, the range is from now to this multiple of the remaining time.
const FIRST: f64 = 1.6;
/// With two lines, it is from this share before the earlier end to this share after the later one.
const MARGIN: f64 = 0.4;
/// After a range from progress, the interval is this share of the time since its end.
const OVERDUE: f64 = 0.06;
/// The shortest interval, in milliseconds.
pub const FLOOR: f64 = 1_000.0;
/// The longest interval, in milliseconds.
pub const CAP: f64 = 30_000.0;
/// The shortest interval while the page is hidden, in milliseconds.
pub const HIDDEN: f64 = 60_000.0;
/// The longest interval with a listener for updates, in milliseconds.
const WATCHED_CAP: f64 = 15_000.0;
/// A wait for a job that is `done` without its URL ends after two polls this far apart, in milliseconds; the second value is
/// for a video without a known charge.
const INCOMPLETE: f64 = 30_000.0;
const UNCHARGED: f64 = 10_000.0;
/// The highest progress that is shown for a job that has not ended.
const ALMOST: f64 = 0.99;
/// The longest delay of a timer, in milliseconds. Later deadlines are shortened to it.
pub const LONGEST: f64 = 2_147_483_647.0;

/// What is known from the polls of a job and from earlier jobs. Times are milliseconds on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// The start of the job's step, as far as known.
    since: f64,
    /// When it was last polled.
    pub polled_at: f64,
    /// The remembered duration of such jobs, which is rather short.
    pub expected: Option<f64>,
    /// The start of the progress, and the last two polls at which it had moved.
    from: Mark,
    before: Mark,
    seen: Mark,
    /// The range in which it should end, from its progress.
    range: Option<Range>,
    /// The step size of the progress in percent: the greatest common divisor of the reported values.
    step: u32,
    /// Whether progress is reported from 0 to 100.
    percent: bool,
    /// Polls with a response.
    pub polls: u32,
    /// Failed polls since the last response.
    pub failures: u32,
    /// Consecutive polls that found `done` without the URL, and the time of the first.
    pub incomplete: u32,
    incomplete_since: f64,
    /// Whether the journal has a charge for the job's video.
    pub charged: bool,
}

/// The progress of a job at some time, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    at: f64,
    pub progress: f64,
}

/// The time in which a job should end.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    earliest: f64,
    /// The estimate that is shown.
    likely: f64,
    latest: f64,
}

impl Memory {
    /// The memory of a job that started at `since` and should take `expected` milliseconds.
    pub fn new(since: f64, expected: Option<f64>) -> Self {
        let begun = Mark { at: since, progress: 0.0 };
        Self {
            since,
            polled_at: since,
            expected: expected.filter(|ms| *ms > 0.0).map(|ms| ms.min(LONGEST)),
            from: begun,
            before: begun,
            seen: begun,
            range: None,
            step: 100,
            percent: false,
            polls: 0,
            failures: 0,
            incomplete: 0,
            incomplete_since: 0.0,
            charged: false,
        }
    }

    /// Records whether a poll found `done` without the URL.
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

    /// The time since the start, in milliseconds.
    pub const fn waited(&self, now: f64) -> f64 {
        (now - self.since).max(0.0)
    }

    /// Records the result of a poll.
    pub fn observe(&mut self, facts: &JobFacts, now: f64) {
        self.polls = self.polls.saturating_add(1);
        self.failures = 0;
        self.polled_at = now;
        let reported = facts.progress.unwrap_or(-1.0);
        self.percent |= reported > 1.0;
        let progress = if self.percent { reported / 100.0 } else { reported }.min(1.0);
        let running = facts.status == Status::Running;
        if !running || (0.0 <= progress && progress < self.seen.progress) {
            // Progress before the job runs belongs to an earlier step, and progress that falls starts again.
            let begun = Mark { at: now, progress: if running { progress } else { 0.0 } };
            (self.from, self.before, self.seen, self.range) = (begun, begun, begun, None);
        } else if progress >= self.seen.progress + LEAST {
            self.before = self.seen;
            self.seen = Mark { at: now, progress };
            let mut rest = (progress * 100.0 + 0.5) as u32;
            while rest > 0 {
                (self.step, rest) = (rest, self.step % rest);
            }
            self.range = Some(self.by_progress());
        }
    }

    /// Whether the progress has moved only once, and not to the end.
    fn has_one_line(&self) -> bool {
        self.before == self.from && self.seen.progress < 1.0
    }

    /// The range in which the job should end, from progress that has just moved.
    fn by_progress(&self) -> Range {
        let Mark { at, progress } = self.seen;
        let left = 1.0 - progress;
        // The whole duration in milliseconds, by the line from a mark.
        let line = |from: Mark| (at - from.at) / (progress - from.progress);
        let (whole, last) = (line(self.from), line(self.before));
        let (low, high) = if self.has_one_line() { (0.0, FIRST) } else { (1.0 - MARGIN, 1.0 + MARGIN) };
        // The job may be up to half a step further than it reports, or half a step less far.
        let step = f64::from(self.step) / 200.0;
        Range {
            earliest: at + low * whole.min(last) * (left - step).max(0.0),
            likely: at + f64::midpoint(whole, last) * left,
            latest: at + high * whole.max(last) * (left + step / 2.0),
        }
    }
}

/// The remembered duration of such jobs, in milliseconds, after another one took `seen`. It follows shorter jobs faster than
/// longer ones, so it stays below the mean, and old jobs lose weight. A poll that is too early costs one request; a poll that
/// is too late costs waiting.
pub fn learn(old: Option<f64>, seen: f64) -> f64 {
    let Some(old) = old else { return seen };
    let longer = seen - old;
    old + longer * if longer < 0.0 { 0.12 } else { 0.084 }
}

/// How soon the caller wants to know that the job has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Fewer requests, more lag.
    Low,
    #[default]
    Normal,
    /// More requests, less lag.
    High,
}

impl Urgency {
    /// The urgency of that name, as in the option `urgency`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "low" => Self::Low,
            "normal" => Self::Normal,
            "high" => Self::High,
            _ => return None,
        })
    }

    /// The factor on intervals. If nothing is known, it divides the requests and multiplies the lag, so a request is worth its
    /// square in lag.
    const fn factor(self) -> f64 {
        match self {
            Self::Low => 2.0,
            Self::Normal => 1.0,
            Self::High => 0.5,
        }
    }
}

/// The rule: milliseconds until the next poll. `facts` is the job as last polled.
pub fn next(facts: &JobFacts, memory: &Memory, urgency: Urgency, now: f64) -> f64 {
    match facts.status {
        // A preview without a known render.
        Status::Done if facts.preview && !memory.charged && memory.polls == memory.incomplete => UNCHARGED,
        // The URL follows the status within moments, if it comes at all.
        Status::Done => while_incomplete(memory),
        Status::Unknown => CAP,
        _ => {
            let factor = urgency.factor() * if facts.status == Status::Running || memory.polls == 0 { 1.0 } else { QUEUED };
            let waited = memory.waited(now);
            let fast = (1.0 + waited / GROWTH).sqrt();
            let slow = fast.sqrt().sqrt();
            let interval = if facts.progress.is_some() { REPORTING * fast } else { SILENT * slow };
            let blind = factor * interval.max(waited * OLD);
            let saved = factor * factor * SAVED * slow;
            let in_ms = match (memory.range, expected(memory)) {
                // A prediction from one line is too weak to poll more often for.
                (Some(range), _) if range.latest <= now && memory.has_one_line() => blind,
                (Some(range), _) if range.latest <= now => ((now - range.latest) * OVERDUE * factor).min(blind),
                (Some(range), _) => within(range, PROGRESS_WRONG, now, blind, saved),
                (None, Some(range)) if range.latest > now => {
                    // The first poll is at half of it. Otherwise a duration that was learned from a late poll could never
                    // shrink.
                    let half = f64::midpoint(memory.since, range.likely) - now;
                    let first = if memory.polls == 0 { half } else { LONGEST };
                    within(range, MEMORY_WRONG, now, blind, saved).min(first)
                }
                _ => blind,
            };
            between(in_ms, FLOOR, CAP)
        }
    }
}

/// Milliseconds until an active job should end.
pub fn remaining(facts: &JobFacts, memory: &Memory, now: f64) -> Option<f64> {
    let range = memory.range.or(expected(memory)).filter(|_| facts.status.is_active())?;
    Some(range.likely - now).filter(|ms| *ms > 0.0)
}

/// The range from memory.
fn expected(memory: &Memory) -> Option<Range> {
    let at = |ms: f64| memory.since + ms;
    memory.expected.map(|ms| Range { earliest: at(ms), likely: at(ms), latest: at(LONGER * ms) })
}

/// Milliseconds until a poll is expected to save `saved` milliseconds of lag. The job ends within `range`, or, with the
/// probability `wrong`, at any time; then it would be polled every `blind` milliseconds.
fn within(range: Range, wrong: f64, now: f64, blind: f64, saved: f64) -> f64 {
    let before = (range.earliest - now).max(0.0);
    let length = (range.latest - now - before).max(1.0);
    // The lag after u milliseconds: everywhere * u^2, and inside * (u - before)^2 where u is in the range.
    let everywhere = wrong * saved / (blind * blind);
    let unranged = (saved / everywhere).sqrt();
    if unranged <= before {
        return unranged;
    }
    let inside = (1.0 - wrong) / (2.0 * length);
    let both = everywhere + inside;
    let half = inside * before;
    (half + (half * half - both * (half * before - saved)).max(0.0).sqrt()) / both
}

/// Milliseconds until the next poll of a job that is `done` without its URL.
pub fn while_incomplete(memory: &Memory) -> f64 {
    doubling(1_000.0, memory.incomplete, CAP)
}

/// The progress to show after `shown`, from 0 to 1. It moves steadily to 1 at the expected end and never falls. `None` if
/// neither progress nor an end is known.
pub fn progress(facts: &JobFacts, memory: &Memory, shown: Option<Mark>, now: f64) -> Option<Mark> {
    let last = shown.unwrap_or(Mark { at: memory.since, progress: 0.0 });
    let passed = match memory.range.or(expected(memory)) {
        Some(range) => between((now - last.at) / (range.likely - last.at).max(1.0), 0.0, 1.0),
        None if facts.status == Status::Running && facts.progress.is_some() => 0.0,
        None => return shown,
    };
    let progress = (last.progress + (1.0 - last.progress) * passed).max(memory.seen.progress).min(ALMOST);
    Some(Mark { at: now, progress: progress.max(last.progress) })
}

/// Like `clamp`, which can panic with a message that prints a float: 8 KB for every visitor.
pub const fn between(value: f64, least: f64, most: f64) -> f64 {
    value.max(least).min(most)
}

/// The terms of one wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The result to wait for.
    pub goal: Goal,
    /// The deadline, on the monotonic clock.
    pub deadline: f64,
    /// The longest interval between two polls, in milliseconds.
    pub max_interval: f64,
    /// Whether it has a listener for updates, and so polls more often.
    pub attentive: bool,
    /// The trade of requests against lag.
    pub urgency: Urgency,
}

impl Terms {
    /// The longest interval to the next poll, in milliseconds.
    pub const fn longest(&self) -> f64 {
        let interval = self.max_interval.max(FLOOR);
        if self.attentive { interval.min(WATCHED_CAP) } else { interval }
    }
}

/// The result of a poll for one wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The wait continues.
    None,
    /// The result is ready.
    Reached,
    /// The job failed or was rejected.
    Failed,
    /// The job is `done` without the URL.
    Incomplete,
    /// The job is `done` without a video, and no charge for one is known.
    Uncharged,
}

/// Whether a job in this state ends a wait for `goal`.
pub const fn ending(facts: &JobFacts, goal: Goal, memory: &Memory) -> Ending {
    if facts.meets(goal) {
        Ending::Reached
    } else if facts.status.is_failure() {
        Ending::Failed
    } else if memory.incomplete == 0 {
        Ending::None
    } else {
        let missed = memory.polled_at - memory.incomplete_since;
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

    /// Polls a job as the rule says until `end`; when the polls were.
    fn polls(expected: Option<f64>, end: f64, state: impl Fn(f64) -> (Status, Option<f64>)) -> Vec<f64> {
        let mut memory = Memory::new(0.0, expected);
        let mut now = 0.0;
        let mut polls = Vec::new();
        let mut last = facts(Status::Pending, None);
        while now < end {
            let wait = next(&last, &memory, Urgency::Normal, now);
            assert!((FLOOR..=CAP).contains(&wait), "{wait} at {now}");
            now += wait;
            polls.push(now);
            let (status, progress) = state(now);
            last = facts(status, progress);
            memory.observe(&last, now);
        }
        polls
    }

    /// The longest interval that a wrong memory makes of the one where nothing is known.
    fn put_off(waited: f64) -> f64 {
        (QUEUED * SILENT * (1.0 + waited / GROWTH).sqrt().sqrt().sqrt() / MEMORY_WRONG.sqrt()).min(CAP)
    }

    #[test]
    fn whatever_is_remembered_the_first_poll_is_early() {
        for expected in [None, Some(1.0), Some(8_000.0), Some(3_600_000.0), Some(f64::INFINITY), Some(f64::NAN), Some(-1.0)]
        {
            let wait = next(&facts(Status::Pending, None), &Memory::new(0.0, expected), Urgency::Normal, 0.0);
            assert!(wait <= put_off(0.0) + 1.0, "{expected:?}: {wait}");
        }
    }

    #[test]
    fn a_memory_far_too_long_puts_no_poll_far_off() {
        let polls = polls(Some(3_600_000.0), 600_000.0, |_| (Status::Running, None));
        for pair in polls.windows(2) {
            assert!(pair[1] - pair[0] <= put_off(pair[0]) + 1.0, "{polls:?}");
        }
    }

    #[test]
    fn a_memory_that_is_learned_is_short_rather_than_long_and_forgets() {
        let fold = |seen: &[f64]| seen.iter().fold(None, |old, seen| Some(learn(old, *seen))).unwrap_or(f64::NAN);
        assert!((fold(&[9_000.0]) - 9_000.0).abs() < 1e-6, "the first is all there is");
        let mixed = fold(&[50_000.0, 150_000.0].repeat(50));
        assert!((50_000.0..100_000.0).contains(&mixed), "{mixed}");
        let changed = fold(&[[400_000.0; 30], [20_000.0; 30]].concat());
        assert!(changed < 30_000.0, "{changed}");
        let odd = fold(&[&[20_000.0; 30][..], &[1_800_000.0]].concat());
        assert!(odd < 400_000.0, "one odd job: {odd}");
    }

    /// How a run of so many milliseconds is followed, with nothing remembered: its polls, and how late the last is.
    fn followed(run: f64, progress: impl Fn(f64) -> f64) -> (usize, f64) {
        let polls = polls(None, run, |now| (Status::Running, Some(progress(now / run).min(0.999))));
        (polls.len(), polls.last().map_or(f64::MAX, |last| last - run))
    }

    #[test]
    fn progress_that_moves_is_followed_to_the_end() {
        for run in [20_000.0, 120_000.0, 400_000.0] {
            for bend in [0.6, 1.0, 1.7] {
                let (polls, lag) = followed(run, |part| part.powf(bend));
                assert!(polls <= 12 + (run / CAP) as usize, "{run}, bent by {bend}: {polls} polls");
                assert!(lag <= 2_000.0f64.max(run / 40.0), "{run}, bent by {bend}: {lag} ms late");
            }
        }
    }

    #[test]
    fn rounded_progress_that_reads_all_before_the_job_is_done_is_polled_soon() {
        let run = 40_000.0;
        for early in [1_000.0, 4_000.0, 10_000.0] {
            let polls =
                polls(None, run, |now| (Status::Running, Some((now / (run - early) * 20.0).round().min(20.0) / 20.0)));
            let lag = polls.last().map_or(f64::MAX, |last| last - run);
            assert!(lag <= 1_500.0, "all of it {early} ms early: {lag} ms late");
        }
    }

    #[test]
    fn a_step_of_next_to_nothing_is_no_progress() {
        for from in [0.0, 0.5] {
            let mut memory = Memory::new(0.0, None);
            memory.observe(&facts(Status::Running, Some(from)), 5_000.0);
            let before = (next(&facts(Status::Running, Some(from)), &memory, Urgency::Normal, 10_000.0), memory.range);
            let running = facts(Status::Running, Some(from + f64::EPSILON));
            memory.observe(&running, 10_000.0);
            assert_eq!((next(&running, &memory, Urgency::Normal, 10_000.0), memory.range), before);
        }
    }

    #[test]
    fn one_small_step_does_not_put_the_next_poll_far_off() {
        let mut memory = Memory::new(0.0, None);
        let begun = facts(Status::Running, Some(0.05));
        memory.observe(&begun, 5_000.0);
        let wait = next(&begun, &memory, Urgency::Normal, 5_000.0);
        assert!(wait <= REPORTING * 2.0f64.sqrt() / PROGRESS_WRONG.sqrt(), "{wait}");
    }

    #[test]
    fn the_time_that_remains_is_that_of_the_progress_and_else_that_of_memory() {
        let mut memory = Memory::new(0.0, Some(60_000.0));
        let running = |progress| facts(Status::Running, Some(progress));
        let pending = facts(Status::Pending, None);
        assert_eq!(remaining(&pending, &memory, 10_000.0), Some(50_000.0));
        for at in [0.2, 0.5] {
            memory.observe(&running(at), at * 100_000.0);
        }
        assert_eq!(remaining(&running(0.5), &memory, 50_000.0), Some(50_000.0));
        assert_eq!(remaining(&pending, &Memory::new(0.0, None), 10_000.0), None);
    }

    #[test]
    fn percentages_and_fractions_are_followed_alike() {
        let hundredths = |part: f64| (part * 100.0).floor();
        let fraction = polls(None, 60_000.0, |now| (Status::Running, Some(hundredths(now / 60_000.0) / 100.0)));
        let percent = polls(None, 60_000.0, |now| (Status::Running, Some(hundredths(now / 60_000.0))));
        assert_eq!(fraction, percent);
    }

    #[test]
    fn progress_that_says_nothing_is_not_followed() {
        let silent = polls(None, 400_000.0, |_| (Status::Running, None)).len();
        for progress in [0.0, 1.0, -3.0, 0.5, 1e14, 1_785_000_000_000.0] {
            let polls = polls(None, 400_000.0, |_| (Status::Running, Some(progress))).len();
            assert!(polls <= silent + 20, "{progress}: {polls} polls, {silent} where it says nothing");
        }
    }

    #[test]
    fn progress_that_changes_its_type_or_unit_is_followed_on() {
        for sometimes in [None, Some(1e14), Some(-1.0)] {
            let (mut at, run) = (0, 100_000.0);
            let odd = std::cell::Cell::new(0);
            let polls = polls(None, run, |now| {
                odd.set(odd.get() + 1);
                (Status::Running, if odd.get() % 2 == 0 { sometimes } else { Some(now / run) })
            });
            at += polls.len();
            assert!(at <= 60, "{sometimes:?}: {at} polls");
        }
    }

    #[test]
    fn progress_that_goes_back_begins_anew() {
        // Two passes, of which the first is no news of the second.
        let (polls, lag) = followed(200_000.0, |part| (part * 2.0).fract());
        assert!(polls <= 30 && lag <= 5_000.0, "{polls} polls, {lag} ms late");
    }

    #[test]
    fn the_time_in_the_queue_and_what_was_reported_there_do_not_count() {
        let mut memory = Memory::new(0.0, None);
        for at in [5_000.0, 20_000.0] {
            memory.observe(&facts(Status::InQueue, Some(1.0)), at);
        }
        let running = facts(Status::Running, Some(0.1));
        memory.observe(&running, 30_000.0);
        assert_eq!(remaining(&running, &memory, 30_000.0), Some(90_000.0), "a tenth took at most ten seconds");
    }

    #[test]
    fn a_job_that_does_not_end_is_polled_ever_less_often() {
        for progress in [None, Some(0.99)] {
            let polls = polls(Some(10_000.0), 3_600_000.0, |_| (Status::Running, progress));
            let gaps: Vec<f64> = polls.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.last() >= gaps.get(5), "{gaps:?}");
            assert!(gaps.last().is_some_and(|gap| *gap >= 15_000.0), "{gaps:?}");
        }
    }
}
