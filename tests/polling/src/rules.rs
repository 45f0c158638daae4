//! When each client looks: ours as `poll.rs` says, and the peers as they were measured.

use custom_template_jobs::api::Goal;
use custom_template_jobs::poll::{self, LONGEST, Memory, Wish};
use sandbox::random::Random;

use crate::jobs::{Job, Progress, SECOND};

/// How a job was waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wait {
    pub requests: u32,
    /// From the end of the job to the look that saw it, in milliseconds.
    pub lag: f64,
}

/// Ours, from the answer that made the job on, as `client/polling.rs` does it. `expected` is what is remembered of such
/// jobs, in milliseconds; NaN for nothing.
pub fn ours(job: &Job, progress: Progress, expected: f64, watched: bool) -> Wait {
    let wish = Wish { goal: Goal::Video, deadline: LONGEST, max_interval: LONGEST, attentive: watched };
    let mut memory = Memory::new(0.0, expected);
    let mut facts = job.facts(progress, 0.0);
    let mut now = 0.0;
    loop {
        now += poll::next(&facts, &memory, now).in_ms.min(wish.longest(memory.looks == 0));
        facts = job.facts(progress, now);
        memory.observe(&facts, now);
        if now >= job.end {
            return Wait { requests: memory.looks, lag: now - job.end };
        }
    }
}

/// A client that asks without hearing: the pause before look number `n`, in milliseconds; the first is 0.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub name: &'static str,
    pause: fn(u32, &mut Random) -> f64,
}

/// Their ends are left out, to their advantage: some give up, and one does not know a job that failed.
pub const PEERS: [Peer; 11] = [
    Peer { name: "fal, replicate: 0.5 s", pause: |look, _| at_once(look, 0.5) },
    Peer { name: "Azure core-lro: 2 s", pause: |look, _| at_once(look, 2.0) },
    Peer { name: "TanStack AI, creatomate: 2 s", pause: |_, _| 2.0 * SECOND },
    Peer { name: "openai, tsavo: 5 s", pause: |look, _| at_once(look, 5.0) },
    Peer { name: "AI SDK: 5 s", pause: |_, _| 5.0 * SECOND },
    Peer { name: "Runway: 6 s +- 1.5", pause: |_, random| random.between(4.5, 7.5) * SECOND },
    Peer { name: "gax for Node: 0.1 s x1.3 to 60", pause: |look, _| growing(look, 0.1, 1.3, 60.0) },
    Peer { name: "Google's generator: 5 s x1.5 to 45", pause: |look, _| growing(look + 1, 5.0, 1.5, 45.0) },
    Peer { name: "exponential: 1 s x2 to 30", pause: |look, _| growing(look + 1, 1.0, 2.0, 30.0) },
    Peer { name: "AWS waiter: 2 to 120 s", pause: |look, random| aws(look, 120.0, random) },
    Peer { name: "AWS waiter: 2 to 15 s", pause: |look, random| aws(look, 15.0, random) },
];

fn at_once(look: u32, seconds: f64) -> f64 {
    if look == 0 { 0.0 } else { seconds * SECOND }
}

fn growing(look: u32, seconds: f64, factor: f64, cap: f64) -> f64 {
    if look == 0 { 0.0 } else { (seconds * factor.powf(f64::from(look - 1))).min(cap) * SECOND }
}

/// Drawn between the least and a doubling one; once that has passed the most, the most.
fn aws(look: u32, most: f64, random: &mut Random) -> f64 {
    const LEAST: f64 = 2.0;
    if look == 0 {
        return 0.0;
    }
    let attempt = f64::from(look);
    if attempt > (most / LEAST).log2() + 1.0 {
        return most * SECOND;
    }
    random.between(LEAST, (LEAST * (attempt - 1.0).exp2()).min(most)) * SECOND
}

impl Peer {
    pub fn wait(&self, job: &Job, random: &mut Random) -> Wait {
        let (mut now, mut looks) = (0.0, 0);
        loop {
            now += (self.pause)(looks, random);
            looks += 1;
            if now >= job.end {
                return Wait { requests: looks, lag: now - job.end };
            }
        }
    }
}

/// A look every so many milliseconds, the first after one of them.
pub fn fixed(job: &Job, interval: f64) -> Wait {
    let looks = (job.end / interval).ceil().max(1.0);
    Wait { requests: looks as u32, lag: looks * interval - job.end }
}
