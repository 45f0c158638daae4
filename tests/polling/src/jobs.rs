//! The jobs that are waited for: how long they queue and run, how they fail, and what they tell of their progress.

use std::f64::consts::TAU;

use custom_template_jobs::api::Status;
use custom_template_jobs::job::JobFacts;
use sandbox::random::Random;

pub const SECOND: f64 = 1_000.0;
/// One job in so many fails.
const FAILING: f64 = 0.1;
/// When those end that fail, in milliseconds.
const FAILED: (f64, f64) = (500.0, 5_000.0);
/// How far queues spread: a log-normal's sigma.
const QUEUE_SPREAD: f64 = 0.9;

/// What a job tells of its progress while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// In equal steps of 1 %.
    Linear,
    /// The first half of it takes a third of the time.
    FastThenSlow,
    /// The first half of it takes two thirds of the time.
    SlowThenFast,
    /// Bent by chance, either way, in steps of 5 %.
    Bent,
    /// In steps of 25 %.
    Steps,
    /// As linear, but at 99 % after three quarters of the time.
    Stalls,
    /// Two passes: from 0 to 1, and again.
    Backwards,
    /// Nothing.
    Absent,
}

impl Progress {
    pub const ALL: [Self; 8] = [
        Self::Linear,
        Self::FastThenSlow,
        Self::SlowThenFast,
        Self::Bent,
        Self::Steps,
        Self::Stalls,
        Self::Backwards,
        Self::Absent,
    ];
    /// Those that tell when the job will end.
    pub const INFORMATIVE: [Self; 4] = [Self::Linear, Self::FastThenSlow, Self::SlowThenFast, Self::Bent];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::FastThenSlow => "fast, then slow",
            Self::SlowThenFast => "slow, then fast",
            Self::Bent => "bent, 5 % steps",
            Self::Steps => "25 % steps",
            Self::Stalls => "stalls at 99 %",
            Self::Backwards => "backwards",
            Self::Absent => "absent",
        }
    }
}

/// Jobs of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kind {
    /// Medians in milliseconds.
    pub queue: f64,
    pub run: f64,
    /// How far the runs spread: a log-normal's sigma.
    pub spread: f64,
}

/// One job. Times are milliseconds since it was begun.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// When it leaves the queue.
    pub running: f64,
    pub end: f64,
    pub fails: bool,
    /// Above 1 for progress that is slow at first, below it for one that is fast at first.
    bend: f64,
}

impl Job {
    pub fn draw(kind: Kind, random: &mut Random) -> Self {
        let running = kind.queue * (QUEUE_SPREAD * normal(random)).exp();
        let run = kind.run * (kind.spread * normal(random)).exp();
        let bend = (0.35 * normal(random)).exp();
        let fails = random.fraction() < FAILING;
        let failed = random.between(FAILED.0, FAILED.1);
        Self { running, end: if fails { failed } else { running + run }, fails, bend }
    }

    /// What a look sees.
    pub fn facts(&self, progress: Progress, now: f64) -> JobFacts {
        let status = if now >= self.end {
            if self.fails { Status::Failed } else { Status::Done }
        } else if now < self.running {
            Status::InQueue
        } else {
            Status::Running
        };
        let progress = (progress != Progress::Absent).then(|| self.progress(progress, now));
        let video = status == Status::Done;
        JobFacts {
            id: String::new(),
            status,
            progress,
            preview: false,
            video,
            version: None,
            credits_used: None,
            duration: None,
        }
    }

    /// From 0 to 1.
    fn progress(&self, progress: Progress, now: f64) -> f64 {
        if self.fails || now < self.running {
            return 0.0;
        }
        let part = ((now - self.running) / (self.end - self.running)).min(1.0);
        let steps = |part: f64, steps: f64| (part * steps).floor() / steps;
        match progress {
            Progress::Linear => steps(part, 100.0),
            Progress::FastThenSlow => steps(part.powf(0.63), 100.0),
            Progress::SlowThenFast => steps(part.powf(1.71), 100.0),
            Progress::Bent => steps(part.powf(self.bend), 20.0),
            Progress::Steps => steps(part, 4.0),
            Progress::Stalls => steps((part / 0.75).min(0.999), 100.0),
            Progress::Backwards => steps((part * 2.0).fract(), 100.0),
            Progress::Absent => 0.0,
        }
    }
}

/// A draw from the normal distribution, by Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let [radius, angle] = [1.0 - random.fraction(), random.fraction()];
    (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
}
