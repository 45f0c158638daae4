//! A few jobs that the real clients wait for side by side, and what the replay says of each.

use sandbox::random::Random;
use serde_json::{Value, json};

use crate::grid::jobs as drawn;
use crate::jobs::{Job, Kind, Progress, SECOND};
use crate::rules::{PEERS, Peer, Wait, ours};

/// So many of each kind.
const COUNT: usize = 3;
const KINDS: [Kind; 2] = [
    Kind { queue: 10.0 * SECOND, run: 120.0 * SECOND, spread: 0.2 },
    Kind { queue: 1.0 * SECOND, run: 20.0 * SECOND, spread: 0.2 },
];

/// Jobs that end well, since not every client knows one that failed. Times are in milliseconds.
pub fn jobs(seed: u64) -> Value {
    let mut jobs = Vec::new();
    for kind in KINDS {
        let expected = kind.queue + kind.run;
        for job in drawn(kind, seed, 100).into_iter().filter(|job| !job.fails).take(COUNT) {
            let peer = |name: &str| PEERS.iter().find(|peer| peer.name.contains(name)).map(|peer| seen(alone(peer, &job)));
            let by_us = |progress, expected, watched| seen(ours(&job, progress, expected, watched));
            jobs.push(json!({
                "running": job.running,
                "end": job.end,
                "expected": expected,
                "replayed": {
                    "ours": by_us(Progress::Linear, expected, false),
                    "ours, watched": by_us(Progress::Linear, expected, true),
                    "ours, told nothing": by_us(Progress::Absent, f64::NAN, false),
                    "fal": peer("fal"),
                    "replicate": peer("replicate"),
                    "openai": peer("openai"),
                    "tsavo": peer("tsavo"),
                },
            }));
        }
    }
    json!(jobs)
}

/// None of these draws.
fn alone(peer: &Peer, job: &Job) -> Wait {
    peer.wait(job, &mut Random::new(&[]))
}

fn seen(wait: Wait) -> Value {
    json!({ "requests": wait.requests, "lag": wait.lag })
}
