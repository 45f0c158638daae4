//! The polling schedule: a pure function from what is known of a job to the time of its next poll.
//!
//! Polling often costs requests, polling seldom costs waiting.
//!
//! **Nothing known.** A job is polled every few seconds, and ever less often. For one length of job no rule is better than a
//! fixed interval, whose requests times lag are half that length; but a short job needs a short interval, and a long job can do
//! with a longer one. Where no progress is reported the interval grows slowly, with the eighth root of the time waited, so that
//! it is close to a fixed one at every length. Where progress is reported, the first polls are early, since each shows more of
//! when the job will end, and the interval grows with the square root. A job that does not run yet is polled less often.
//!
//! **A range.** Progress, or else how long such jobs took, gives a range of time in which the job is expected to end. Two
//! lines through the progress, one from its beginning and one from the last step that was seen, predict two ends, which differ
//! where the progress is bent; with a margin they are the range. Each moment of the range is taken to be as likely as any
//! other, and some probability is kept for an end at any time, since the range may be wrong. The next poll is when the lag that
//! it is expected to save has grown to `SAVED`. After the range the interval is a share of the time since its end: a prediction
//! that was wrong by so much may be wrong by as much again.
//!
//! Source: Barlow, Hunter and Proschan (1963) derive the best times to inspect what ends at random.
//!
//! The constants were fitted on some worlds of `tests/polling`, and are judged on others: `cargo xtask bench polling`.

use crate::api::{Goal, Status};
use crate::job::JobFacts;
use crate::retry::doubling;

/// The interval where nothing is known, in milliseconds: where no progress is reported, and where it is.
const SILENT: f64 = 4_800.0;
const REPORTING: f64 = 2_400.0;
/// The time waited after which it grows, in milliseconds.
const GROWTH: f64 = 6_000.0;
/// It is at least this share of that time, so that a job that never ends is polled ever less often.
const OLD: f64 = 0.005;
/// Intervals are so many times as long while polls find that a job does not run yet.
const QUEUED: f64 = 1.5;
/// The lag that a poll is expected to save where a range is known, in milliseconds; it grows as the interval of a silent job.
const SAVED: f64 = 100.0;
/// How likely a range is wrong, so that the job may end at any time: one that is remembered, and one that progress gives.
const MEMORY_WRONG: f64 = 0.5;
const PROGRESS_WRONG: f64 = 0.08;
/// The range of what is remembered is from that, which is short rather than long, to so many times as much.
const LONGER: f64 = 7.0;
/// Progress of less than this is none, so that a number next to 0 predicts no end in a million years.
const LEAST: f64 = 0.001;
/// With one line through the progress, the range is from now to this many times what remains.
const FIRST: f64 = 1.6;
/// With two, from this share less than the sooner end to this share more than the later one.
const MARGIN: f64 = 0.4;
/// Past the range that progress gave, the interval is this share of the time since then.
const OVERDUE: f64 = 0.06;
/// Never closer than this to the last poll, in milliseconds.
pub const FLOOR: f64 = 1_000.0;
/// Never further from it.
pub const CAP: f64 = 30_000.0;
/// While nobody sees the page, never closer than this.
pub const HIDDEN: f64 = 60_000.0;
/// Somebody who watches gets a poll this often.
const WATCHED_CAP: f64 = 15_000.0;
/// A job that is `done` without its URL is given up by two polls that are this far apart, in milliseconds; and where it is a
/// video, and no charge for it is known.
const INCOMPLETE: f64 = 30_000.0;
const UNCHARGED: f64 = 10_000.0;
/// A job that has not ended is not shown to be further than this.
const ALMOST: f64 = 0.99;
/// The longest wait that a timer is given; a deadline further away than this is this.
pub const LONGEST: f64 = 2_147_483_647.0;

/// What the polls of a job, and earlier jobs like it, have taught. All times are milliseconds on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// When the wait began.
    since: f64,
    /// When it was last polled.
    pub polled_at: f64,
    /// How long such jobs take; short rather than long.
    pub expected: Option<f64>,
    /// Where its progress begins, the poll before the last at which it had moved, and that last one.
    from: Mark,
    before: Mark,
    seen: Mark,
    /// When it will end, by its progress.
    range: Option<Range>,
    /// In what steps it counts, in percent: the greatest common divisor of what was reported.
    step: u32,
    /// Whether this provider counts progress to 100.
    percent: bool,
    /// Polls that brought an answer.
    pub polls: u32,
    /// Polls since the last answer that brought none.
    pub failures: u32,
    /// Polls in a row that found `done` without the URL, and when the first of them was.
    pub incomplete: u32,
    incomplete_since: f64,
    /// Whether the journal has a charge for the job's video.
    pub charged: bool,
}

/// How far a job was at a moment, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    at: f64,
    pub progress: f64,
}

/// When a job is expected to end.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    earliest: f64,
    /// What people are shown.
    likely: f64,
    latest: f64,
}

impl Memory {
    /// Of a job that was begun at `since` and is expected to take so many milliseconds.
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

    /// Takes in whether a poll found `done` without the URL.
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

    /// Takes in what a poll brought.
    pub fn observe(&mut self, facts: &JobFacts, now: f64) {
        self.polls = self.polls.saturating_add(1);
        self.failures = 0;
        self.polled_at = now;
        let reported = facts.progress.unwrap_or(-1.0);
        self.percent |= reported > 1.0;
        let progress = if self.percent { reported / 100.0 } else { reported }.min(1.0);
        let running = facts.status == Status::Running;
        if !running || (0.0 <= progress && progress < self.seen.progress) {
            // What is reported before it runs is of an earlier step, and what goes back begins anew.
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

    /// Whether its progress has moved once, and not to the end.
    fn has_one_line(&self) -> bool {
        self.before == self.from && self.seen.progress < 1.0
    }

    /// The range in which the job will end, by its progress, which has just moved.
    fn by_progress(&self) -> Range {
        let Mark { at, progress } = self.seen;
        let left = 1.0 - progress;
        // Milliseconds for all of it, by the lines from two marks.
        let line = |from: Mark| (at - from.at) / (progress - from.progress);
        let (whole, last) = (line(self.from), line(self.before));
        let (low, high) = if self.has_one_line() { (0.0, FIRST) } else { (1.0 - MARGIN, 1.0 + MARGIN) };
        // Part of the next step may be done already; and all of it may be reported half a step before the end.
        let step = f64::from(self.step) / 200.0;
        Range {
            earliest: at + low * whole.min(last) * (left - step).max(0.0),
            likely: at + f64::midpoint(whole, last) * left,
            latest: at + high * whole.max(last) * (left + step / 2.0),
        }
    }
}

/// What is remembered of how long such jobs take, in milliseconds, after another one took `seen`. It follows what is short
/// sooner than what is long, and so stays below the middle, and it forgets: a poll too early costs a request, one too late
/// costs all who wait.
pub fn learn(old: Option<f64>, seen: f64) -> f64 {
    let Some(old) = old else { return seen };
    let longer = seen - old;
    old + longer * if longer < 0.0 { 0.12 } else { 0.084 }
}

/// How soon the end of a job is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Fewer requests, and the end is seen later.
    Low,
    #[default]
    Normal,
    /// The end is seen sooner, for more requests.
    High,
}

impl Urgency {
    /// The urgency of that name, as the option `urgency` has it.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "low" => Self::Low,
            "normal" => Self::Normal,
            "high" => Self::High,
            _ => return None,
        })
    }

    /// Intervals are so many times as long. Where nothing is known requests are so many times fewer and the lag as many times
    /// longer, so that a request is worth its square in lag.
    const fn factor(self) -> f64 {
        match self {
            Self::Low => 2.0,
            Self::Normal => 1.0,
            Self::High => 0.5,
        }
    }
}

/// The rule: milliseconds until the next poll. `facts` is what was last known of the job.
pub fn next(facts: &JobFacts, memory: &Memory, urgency: Urgency, now: f64) -> f64 {
    match facts.status {
        // A preview of which no render was seen.
        Status::Done if facts.preview && !memory.charged && memory.polls == memory.incomplete => UNCHARGED,
        // The URL follows the status within moments, if it comes at all.
        Status::Done => while_incomplete(memory),
        Status::Unknown => CAP,
        _ => {
            let factor = urgency.factor() * if facts.status == Status::Running || memory.polls == 0 { 1.0 } else { QUEUED };
            let waited = memory.waited(now);
            let fast = (1.0 + waited / GROWTH).sqrt();
            let slow = fast.sqrt().sqrt();
            let blind = factor * if facts.progress.is_some() { REPORTING * fast } else { SILENT * slow }.max(waited * OLD);
            let saved = factor * factor * SAVED * slow;
            let in_ms = match (memory.range, expected(memory)) {
                // A prediction from one line is not worth polling for.
                (Some(range), _) if range.latest <= now && memory.has_one_line() => blind,
                (Some(range), _) if range.latest <= now => ((now - range.latest) * OVERDUE * factor).min(blind),
                (Some(range), _) => within(range, PROGRESS_WRONG, now, blind, saved),
                (None, Some(range)) if range.latest > now => {
                    // The first poll is at half of it: a duration that was learned from a late poll could not become shorter else.
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

/// Milliseconds until a job that goes on is expected to end.
pub fn remaining(facts: &JobFacts, memory: &Memory, now: f64) -> Option<f64> {
    let range = memory.range.or(expected(memory)).filter(|_| facts.status.is_active())?;
    Some(range.likely - now).filter(|ms| *ms > 0.0)
}

/// The range by what is remembered.
fn expected(memory: &Memory) -> Option<Range> {
    let at = |ms: f64| memory.since + ms;
    memory.expected.map(|ms| Range { earliest: at(ms), likely: at(ms), latest: at(LONGER * ms) })
}

/// Milliseconds until a poll is expected to save so much lag, where the job ends in a range, and with the probability
/// `wrong` at any time, as where it is polled every `blind` milliseconds.
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

/// The distance to the next poll of a job that is `done` without its URL.
pub fn while_incomplete(memory: &Memory) -> f64 {
    doubling(1_000.0, memory.incomplete, CAP)
}

/// How far the step of a job is shown to be, from 0 to 1, after `shown`: it moves steadily to 1 at the expected end, and never
/// falls. `None` where neither progress nor an end is known.
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
    /// The longest distance between two polls that it accepts, in milliseconds.
    pub max_interval: f64,
    /// Whether it listens for changes, and so is served more often.
    pub attentive: bool,
    pub urgency: Urgency,
}

impl Wish {
    /// The longest distance to the next poll that it accepts, in milliseconds.
    pub const fn longest(&self) -> f64 {
        let interval = self.max_interval.max(FLOOR);
        if self.attentive { interval.min(WATCHED_CAP) } else { interval }
    }
}

/// What a poll means to one watcher.
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
