//! The grid: every kind of job with every account of its progress and every memory, watched and not; and what each
//! client asks and waits in each cell.

use custom_template_jobs::poll;
use sandbox::random::Random;

use crate::jobs::{Job, Kind, Progress, SECOND};
use crate::rules::{PEERS, Peer, Wait, fixed, ours};

/// Medians of how long jobs run, in seconds.
pub const RUNS: [f64; 3] = [20.0, 120.0, 400.0];
/// Medians of how long they queue before, in seconds.
pub const QUEUES: [f64; 3] = [0.0, 10.0, 60.0];
/// How far the runs spread.
pub const SPREADS: [f64; 3] = [0.2, 0.5, 0.8];
/// So many jobs teach before the first is counted.
const LESSONS: usize = 20;

/// What is remembered of earlier jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// What earlier jobs of the kind have taught.
    Right,
    /// A third of it.
    Short,
    /// Three times as much.
    Long,
    Empty,
}

impl Memory {
    pub const ALL: [Self; 4] = [Self::Right, Self::Short, Self::Long, Self::Empty];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Short => "3x short",
            Self::Long => "3x long",
            Self::Empty => "empty",
        }
    }

    fn of(self, learned: f64) -> f64 {
        match self {
            Self::Right => learned,
            Self::Short => learned / 3.0,
            Self::Long => learned * 3.0,
            Self::Empty => f64::NAN,
        }
    }
}

/// How our client waits for the jobs of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    pub kind: Kind,
    pub progress: Progress,
    pub memory: Memory,
    pub watched: bool,
}

/// What waiting for some jobs cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    jobs: f64,
    requests: f64,
    lag: f64,
    relative: f64,
}

impl Tally {
    pub fn add(&mut self, job: &Job, wait: Wait) {
        self.jobs += 1.0;
        self.requests += f64::from(wait.requests);
        self.lag += wait.lag;
        self.relative += wait.lag / job.end;
    }

    #[must_use]
    pub fn sum(mut self, other: Self) -> Self {
        self.jobs += other.jobs;
        self.requests += other.requests;
        self.lag += other.lag;
        self.relative += other.relative;
        self
    }

    /// Requests for a job.
    pub fn requests(&self) -> f64 {
        self.requests / self.jobs
    }

    /// The mean lag, in seconds.
    pub fn lag(&self) -> f64 {
        self.lag / self.jobs / SECOND
    }

    /// The mean of the lag by the length of the job.
    pub fn relative(&self) -> f64 {
        self.relative / self.jobs
    }
}

/// The kinds of the grid, each with its own jobs.
pub fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for run in RUNS {
        for queue in QUEUES {
            for spread in SPREADS {
                kinds.push(Kind { queue: queue * SECOND, run: run * SECOND, spread });
            }
        }
    }
    kinds
}

/// The jobs of a kind; the same for every client and every cell.
pub fn jobs(kind: Kind, seed: u64, count: usize) -> Vec<Job> {
    let mut random = Random::new(&[seed, kind.queue.to_bits(), kind.run.to_bits(), kind.spread.to_bits()]);
    (0..count + LESSONS).map(|_| Job::draw(kind, &mut random)).collect()
}

/// Ours over the jobs of a cell. Each job that ends well teaches what the next is met with.
pub fn replay(cell: Cell, jobs: &[Job]) -> Tally {
    let mut tally = Tally::default();
    let mut learned = f64::NAN;
    for (number, job) in jobs.iter().enumerate() {
        let expected = cell.memory.of(learned);
        let wait = ours(job, cell.progress, expected, cell.watched);
        if !job.fails {
            learned = poll::learn(learned, job.end + wait.lag);
        }
        if number >= LESSONS {
            tally.add(job, wait);
        }
    }
    tally
}

/// The peers over the same jobs, in the order of `PEERS`.
pub fn replay_peers(jobs: &[Job], seed: u64) -> Vec<Tally> {
    let of = |(number, peer): (usize, &Peer)| {
        let mut random = Random::new(&[seed, number as u64]);
        let mut tally = Tally::default();
        for job in &jobs[LESSONS..] {
            tally.add(job, peer.wait(job, &mut random));
        }
        tally
    };
    PEERS.iter().enumerate().map(of).collect()
}

/// A fixed interval over the same jobs.
pub fn replay_fixed(jobs: &[Job], interval: f64) -> Tally {
    let mut tally = Tally::default();
    for job in &jobs[LESSONS..] {
        tally.add(job, fixed(job, interval));
    }
    tally
}
