//! The worlds: what kinds of jobs there are, and each job of one.

use std::f64::consts::TAU;

use custom_template_jobs::api::Status;
use custom_template_jobs::job::JobFacts;
use sandbox::random::Random;

use crate::SECOND;

/// How long jobs run, about their median.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Durations {
    /// Log-normal, with this sigma.
    LogNormal(f64),
    /// From 0.4 to 1.6 medians.
    Uniform,
    /// Half of them about 0.3 medians, half about 1.7.
    TwoHumps,
    Constant,
    /// Log-logistic of shape 1.7: the longest hundredth takes ten times as long.
    HeavyTail,
}

/// How long jobs queue before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    None,
    /// About a tenth of the run, at most 3 s.
    Short,
    /// About 1.5 times the run.
    Long,
}

/// What a job reports of its progress while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    Exact,
    /// Rounded to a multiple of this.
    Rounded(f64),
    /// A power of the time, another for each job, in steps of 1 %.
    Bent,
    /// Nothing for the first tenth to half, then in equal steps.
    LateToStart,
    /// All of it up to 15 s before the end.
    AllBeforeDone,
    /// At 99 % after three quarters of the time.
    Stuck,
    /// Six jumps of different sizes.
    Jumps,
    /// From 0 to 1, and again.
    Backwards,
    /// 0, and half when it is half done.
    AtStatusChanges,
    Absent,
}

/// What is remembered of earlier jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    Nothing,
    /// What earlier jobs of the world have taught.
    Right,
    /// A third of it.
    Short,
    /// Three times as much.
    Long,
    /// How long jobs of another world take.
    Other,
}

/// When jobs fail, one in ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failures {
    None,
    /// Half a second to five after they were begun.
    Early,
    /// At any time.
    Late,
}

/// One kind of jobs, and of a provider. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub seed: u64,
    /// The median of how long jobs run.
    pub run: f64,
    pub durations: Durations,
    pub queue: Queue,
    pub progress: Progress,
    pub remembered: Remembered,
    pub failures: Failures,
    /// How long an answer takes.
    pub answer: f64,
    /// How long the jobs of another world take.
    pub other: f64,
}

/// One job. Times are milliseconds since it was begun.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// When it leaves the queue.
    pub running: f64,
    pub end: f64,
    pub fails: bool,
    /// Above 1 for progress that is slow at first.
    bend: f64,
    /// How much sooner all of it is reported, where it is.
    early: f64,
    /// The share of the run in which nothing is reported, where it starts late.
    late: f64,
}

const DURATIONS: [Durations; 5] =
    [Durations::LogNormal(0.0), Durations::Uniform, Durations::TwoHumps, Durations::Constant, Durations::HeavyTail];
const QUEUES: [Queue; 3] = [Queue::None, Queue::Short, Queue::Long];
const PROGRESS: [Progress; 13] = [
    Progress::Exact,
    Progress::Rounded(0.01),
    Progress::Rounded(0.05),
    Progress::Rounded(0.1),
    Progress::Rounded(0.25),
    Progress::Bent,
    Progress::LateToStart,
    Progress::AllBeforeDone,
    Progress::Stuck,
    Progress::Jumps,
    Progress::Backwards,
    Progress::AtStatusChanges,
    Progress::Absent,
];
const REMEMBERED: [Remembered; 5] =
    [Remembered::Nothing, Remembered::Right, Remembered::Short, Remembered::Long, Remembered::Other];
const FAILURES: [Failures; 3] = [Failures::None, Failures::Early, Failures::Late];

impl World {
    pub fn draw(seed: u64) -> Self {
        let random = &mut Random::new(&[seed, 1]);
        // Any length is as likely as its double.
        let run = log_uniform(random, 5.0 * SECOND, 1_200.0 * SECOND);
        let sigma = random.between(0.15, 0.8);
        let durations = match pick(random, &DURATIONS) {
            Durations::LogNormal(_) => Durations::LogNormal(sigma),
            other => other,
        };
        Self {
            seed,
            run,
            durations,
            queue: pick(random, &QUEUES),
            progress: pick(random, &PROGRESS),
            remembered: pick(random, &REMEMBERED),
            failures: pick(random, &FAILURES),
            answer: log_uniform(random, 20.0, 2.0 * SECOND),
            other: log_uniform(random, 5.0 * SECOND, 1_200.0 * SECOND),
        }
    }

    /// Its first jobs; the same for every client.
    pub fn jobs(&self, count: usize) -> Vec<Job> {
        let random = &mut Random::new(&[self.seed, 2]);
        (0..count).map(|_| self.job(random)).collect()
    }

    fn job(&self, random: &mut Random) -> Job {
        let run = self.run
            * match self.durations {
                Durations::LogNormal(sigma) => (sigma * normal(random)).exp(),
                Durations::Uniform => random.between(0.4, 1.6),
                Durations::TwoHumps => {
                    let hump = if random.fraction() < 0.5 { 0.3 } else { 1.7 };
                    hump * (0.1 * normal(random)).exp()
                }
                Durations::Constant => 1.0,
                Durations::HeavyTail => {
                    let rank = random.between(0.02, 0.98);
                    (rank / (1.0 - rank)).powf(0.6)
                }
            };
        let running = self.queued()
            * match self.queue {
                Queue::None => 0.0,
                Queue::Short => (0.7 * normal(random)).exp(),
                Queue::Long => (0.6 * normal(random)).exp(),
            };
        let job = Job {
            running,
            end: running + run,
            fails: false,
            bend: (0.4 * normal(random)).exp(),
            early: random.between(0.0, 15.0 * SECOND),
            late: random.between(0.1, 0.5),
        };
        let fails = random.fraction() < 0.1;
        let (early, late) = (random.between(0.5, 5.0) * SECOND, random.fraction());
        match self.failures {
            Failures::Early if fails => Job { end: early, fails, ..job },
            Failures::Late if fails => Job { end: job.end * late, fails, ..job },
            _ => job,
        }
    }

    /// The median of the time in the queue.
    fn queued(&self) -> f64 {
        match self.queue {
            Queue::None => 0.0,
            Queue::Short => (self.run * 0.1).min(3.0 * SECOND),
            Queue::Long => self.run * 1.5,
        }
    }

    /// The median of the whole, about.
    pub fn median(&self) -> f64 {
        self.queued() + self.run
    }

    /// Whether progress says when a job will end.
    pub fn informs(&self) -> bool {
        match self.progress {
            Progress::Exact | Progress::Bent => true,
            Progress::Rounded(step) => step <= 0.1,
            _ => false,
        }
    }

    /// Whether neither progress nor memory does.
    pub fn is_blind(&self) -> bool {
        matches!(self.progress, Progress::Absent | Progress::AtStatusChanges) && self.remembered == Remembered::Nothing
    }

    /// What a poll finds at `now`.
    pub fn facts(&self, job: &Job, now: f64) -> JobFacts {
        let status = if now >= job.end {
            if job.fails { Status::Failed } else { Status::Done }
        } else if now < job.running {
            Status::InQueue
        } else {
            Status::Running
        };
        JobFacts {
            id: String::new(),
            status,
            progress: (self.progress != Progress::Absent).then(|| self.reported(job, now)),
            preview: false,
            video: status == Status::Done,
            version: None,
            credits_used: None,
            duration: None,
        }
    }

    /// The progress at `now`, from 0 to 1.
    fn reported(&self, job: &Job, now: f64) -> f64 {
        if now < job.running {
            return 0.0;
        }
        // One that fails does so on its way.
        let whole = (job.end - job.running).max(1.0) * if job.fails { 1.7 } else { 1.0 };
        let passed = now - job.running;
        let part = (passed / whole).min(1.0);
        let in_percents = |part: f64| (part * 100.0 + 1e-7).floor() / 100.0;
        match self.progress {
            Progress::Exact => part,
            Progress::Rounded(step) => (part / step).round() * step,
            Progress::Bent => in_percents(part.powf(job.bend)),
            Progress::LateToStart => in_percents(((part - job.late) / (1.0 - job.late)).max(0.0)),
            Progress::AllBeforeDone => in_percents((passed / (whole - job.early).max(whole * 0.3)).min(1.0)),
            Progress::Stuck => in_percents((part / 0.75).min(0.99)),
            Progress::Jumps => {
                let jump = (part * 6.0).floor();
                let size = Random::new(&[job.bend.to_bits(), jump as u64]).fraction();
                if jump > 0.0 { ((jump + size) / 6.0).min(1.0) } else { 0.0 }
            }
            Progress::Backwards => in_percents((part * 2.0).fract()),
            Progress::AtStatusChanges => {
                if part < 0.5 {
                    0.0
                } else {
                    0.5
                }
            }
            Progress::Absent => 0.0,
        }
    }

    /// In one line.
    pub fn describe(&self) -> String {
        let Self { durations, queue, progress, remembered, failures, answer, .. } = self;
        let median = self.median() / SECOND;
        format!(
            "{median:.0} s, {durations:?}, queue {queue:?}, progress {progress:?}, remembered {remembered:?}, \
             failures {failures:?}, answers {answer:.0} ms"
        )
    }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[(random.next() % from.len() as u64) as usize]
}

fn log_uniform(random: &mut Random, least: f64, most: f64) -> f64 {
    random.between(least.ln(), most.ln()).exp()
}

/// A draw from the normal distribution, by Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let [radius, angle] = [1.0 - random.fraction(), random.fraction()];
    (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
}
