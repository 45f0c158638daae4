//! When each client polls: ours as `poll.rs` says, peers as they were measured, and rules that depend on no job.

use custom_template_jobs::api::Goal;
use custom_template_jobs::poll::{self, LONGEST, Memory, Terms, Urgency};
use sandbox::random::Random;

use crate::SECOND;
use crate::world::{Job, Remembered, World};

/// So many jobs teach before the first is counted.
pub const LESSONS: usize = 20;

/// How a job was waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wait {
    pub requests: u32,
    /// From the end of the job to the poll that saw it, in milliseconds.
    pub lag: f64,
}

/// What waiting for a job of a world costs in the mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    pub requests: f64,
    /// Seconds.
    pub lag: f64,
}

impl Cost {
    pub fn mean(costs: impl Iterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        let mut count = 0.0;
        for cost in costs {
            sum = Self { requests: sum.requests + cost.requests, lag: sum.lag + cost.lag };
            count += 1.0;
        }
        Self { requests: sum.requests / count, lag: sum.lag / count }
    }
}

impl From<Wait> for Cost {
    fn from(wait: Wait) -> Self {
        Self { requests: f64::from(wait.requests), lag: wait.lag / SECOND }
    }
}

/// Polls a job: `pause` returns how long to wait, at a moment, with when the last poll was read and what it found.
fn poll(world: &World, job: &Job, mut pause: impl FnMut(f64, Option<f64>) -> f64) -> Wait {
    let (mut now, mut last, mut requests) = (0.0, None, 0);
    loop {
        now += pause(now, last);
        requests += 1;
        let read = now + world.answer / 2.0;
        if read >= job.end {
            return Wait { requests, lag: read - job.end };
        }
        last = Some(read);
        now += world.answer;
    }
}

/// Ours, from the answer that made the job on, as `client/polling.rs` does it. `expected` is what is remembered of such
/// jobs, in milliseconds.
pub fn ours(world: &World, job: &Job, expected: Option<f64>, watched: bool, urgency: Urgency) -> Wait {
    let terms = Terms { goal: Goal::Video, deadline: LONGEST, max_interval: LONGEST, attentive: watched, urgency };
    let mut memory = Memory::new(0.0, expected);
    let mut facts = world.facts(job, 0.0);
    poll(world, job, |now, read| {
        if let Some(read) = read {
            facts = world.facts(job, read);
            memory.observe(&facts, now);
        }
        poll::next(&facts, &memory, urgency, now).min(terms.longest())
    })
}

/// Ours over the jobs of a world. Each job that ends well teaches.
pub fn ours_over(world: &World, jobs: &[Job], watched: bool, urgency: Urgency) -> Cost {
    let mut learned = None;
    let mut costs = Vec::new();
    for job in jobs {
        let expected = match world.remembered {
            Remembered::Nothing => None,
            Remembered::Right => learned,
            Remembered::Short => learned.map(|ms: f64| ms / 3.0),
            Remembered::Long => learned.map(|ms| ms * 3.0),
            Remembered::Other => Some(world.other),
        };
        let wait = ours(world, job, expected, watched, urgency);
        if !job.fails {
            learned = Some(poll::learn(learned, job.end + wait.lag));
        }
        costs.push(wait.into());
    }
    Cost::mean(costs.into_iter().skip(LESSONS))
}

/// A rule that depends on no job: the pause before poll number `n`, in seconds; the first is 0.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub name: &'static str,
    pause: fn(u32, &mut Random) -> f64,
}

/// Peers. Their ends are left out, to their advantage: some give up, and one does not know a job that failed.
pub const PEERS: [Rule; 12] = [
    Rule { name: "fal, replicate: 0.5 s", pause: |poll, _| at_once(poll, 0.5) },
    Rule { name: "Azure core-lro: 2 s", pause: |poll, _| at_once(poll, 2.0) },
    Rule { name: "TanStack AI, creatomate: 2 s", pause: |_, _| 2.0 },
    Rule { name: "openai, tsavo: 5 s", pause: |poll, _| at_once(poll, 5.0) },
    Rule { name: "AI SDK: 5 s", pause: |_, _| 5.0 },
    Rule { name: "Runway: 6 s +- 1.5", pause: |_, random| random.between(4.5, 7.5) },
    Rule { name: "gax for Node: 0.1 s x1.3 to 60", pause: |poll, _| growing(poll, 0.1, 1.3, 60.0) },
    Rule { name: "Google's generator: 5 s x1.5 to 45", pause: |poll, _| growing(poll + 1, 5.0, 1.5, 45.0) },
    Rule { name: "exponential: 1 s x2 to 30", pause: |poll, _| growing(poll + 1, 1.0, 2.0, 30.0) },
    Rule { name: "exponential: 1 s x2", pause: |poll, _| growing(poll + 1, 1.0, 2.0, f64::INFINITY) },
    Rule { name: "AWS waiter: 2 to 120 s", pause: |poll, random| aws(poll, 120.0, random) },
    Rule { name: "AWS waiter: 2 to 15 s", pause: |poll, random| aws(poll, 15.0, random) },
];

fn at_once(poll: u32, seconds: f64) -> f64 {
    if poll == 0 { 0.0 } else { seconds }
}

fn growing(poll: u32, seconds: f64, factor: f64, cap: f64) -> f64 {
    if poll == 0 { 0.0 } else { (seconds * factor.powf(f64::from(poll - 1))).min(cap) }
}

/// Drawn between the least and a doubling one; once that has passed the most, the most.
fn aws(poll: u32, most: f64, random: &mut Random) -> f64 {
    const LEAST: f64 = 2.0;
    if poll == 0 {
        return 0.0;
    }
    let attempt = f64::from(poll);
    if attempt > (most / LEAST).log2() + 1.0 {
        return most;
    }
    random.between(LEAST, (LEAST * (attempt - 1.0).exp2()).min(most))
}

impl Rule {
    pub fn wait(&self, world: &World, job: &Job, random: &mut Random) -> Wait {
        let mut number = 0;
        poll(world, job, |_, _| {
            number += 1;
            (self.pause)(number - 1, random) * SECOND
        })
    }

    pub fn over(&self, world: &World, jobs: &[Job]) -> Cost {
        let random = &mut Random::new(&[world.seed, 3]);
        Cost::mean(jobs.iter().skip(LESSONS).map(|job| self.wait(world, job, random).into()))
    }
}

/// From 0.5 to 30 s.
pub const INTERVALS: [f64; 16] = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0];

/// A poll every so many seconds, the first after one of them.
pub fn fixed_over(world: &World, jobs: &[Job], seconds: f64) -> Cost {
    Cost::mean(jobs.iter().skip(LESSONS).map(|job| poll(world, job, |_, _| seconds * SECOND).into()))
}

/// The baseline: half of what remains by a line through the progress; past its end 1 s, growing by 1.35 up to a tenth of the
/// time waited; without progress, 15 % of that; between 1 and 30 s.
pub fn baseline_over(world: &World, jobs: &[Job]) -> Cost {
    Cost::mean(jobs.iter().skip(LESSONS).map(|job| {
        let mut overdue = 0.0f64;
        let wait = poll(world, job, |now, read| {
            let progress = read.and_then(|read| world.facts(job, read).progress).unwrap_or(0.0);
            let pause = if progress <= 0.0 {
                now * 0.15
            } else if progress < 1.0 {
                overdue = 0.0;
                now * (1.0 - progress) / progress / 2.0
            } else {
                overdue = if overdue == 0.0 { SECOND } else { (overdue * 1.35).min(now / 10.0) };
                overdue
            };
            pause.clamp(SECOND, 30.0 * SECOND)
        });
        wait.into()
    }))
}
