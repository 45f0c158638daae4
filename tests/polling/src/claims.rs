//! What the replay must show.

use crate::grid::{Cell, Memory, QUEUES, RUNS, SPREADS, Tally, jobs, kinds, replay, replay_fixed, replay_peers};
use crate::jobs::{Job, Kind, Progress, SECOND};
use crate::rules::PEERS;

/// One of them, and what was found.
#[derive(Debug)]
pub struct Claim {
    pub says: &'static str,
    /// The figures that come closest to breaking it.
    pub found: String,
    pub holds: bool,
}

/// All of them, over so many jobs of each kind.
pub fn claims(seed: u64, count: usize) -> Vec<Claim> {
    let [unwatched, watched] = informed(seed, count);
    vec![unwatched, watched, grid(seed, count, 0.0), blind(seed, count)]
}

/// The render of the issue: 120 s after a queue of 10 s. How far such renders spread is not known; the widest spread of the
/// grid, where one in ten takes over five minutes, is left out here.
pub const RENDER: [Kind; 2] = [
    Kind { queue: 10.0 * SECOND, run: 120.0 * SECOND, spread: SPREADS[0] },
    Kind { queue: 10.0 * SECOND, run: 120.0 * SECOND, spread: SPREADS[1] },
];

/// The first two.
pub fn informed(seed: u64, count: usize) -> [Claim; 2] {
    let (mut requests, mut lag, mut watched_requests) = (0.0f64, 0.0f64, 0.0f64);
    for kind in RENDER {
        let jobs = jobs(kind, seed, count);
        for progress in Progress::INFORMATIVE {
            let of = |watched| replay(Cell { kind, progress, memory: Memory::Right, watched }, &jobs);
            let unwatched = of(false);
            requests = requests.max(unwatched.requests());
            lag = lag.max(unwatched.lag());
            watched_requests = watched_requests.max(of(true).requests());
        }
    }
    [
        Claim {
            says: "a render of 120 s after 10 s, with memory and informative progress: at most 10 requests and 1.2 s of lag",
            found: format!("at most {requests:.2} requests and {lag:.2} s"),
            holds: requests <= 10.0 && lag <= 1.2,
        },
        Claim {
            says: "the same, watched: at most 16 requests",
            found: format!("at most {watched_requests:.2} requests"),
            holds: watched_requests <= 16.0,
        },
    ]
}

/// The third. A peer is better where it is by more than `slack` in both: the less jobs, the more is chance.
pub fn grid(seed: u64, count: usize, slack: f64) -> Claim {
    let (mut cells, mut better) = (0, 0);
    let mut closest = (f64::MAX, String::new());
    for kind in kinds() {
        let jobs = jobs(kind, seed, count);
        let peers = replay_peers(&jobs, seed);
        for cell in cells_of(kind) {
            let ours = replay(cell, &jobs);
            cells += 1;
            for (peer, tally) in PEERS.iter().zip(&peers) {
                let margin = (tally.requests() / ours.requests()).max(tally.lag() / ours.lag());
                better += u32::from(margin < 1.0 - slack);
                if margin < closest.0 {
                    let Cell { progress, memory, watched, .. } = cell;
                    let found = format!(
                        "{:.0} s after {:.0} s, spread {}, progress {}, memory {}, {}: {:.1} requests and {:.2} s; {} {:.1} and {:.2} s",
                        kind.run / SECOND,
                        kind.queue / SECOND,
                        kind.spread,
                        progress.name(),
                        memory.name(),
                        if watched { "watched" } else { "unwatched" },
                        ours.requests(),
                        ours.lag(),
                        peer.name,
                        tally.requests(),
                        tally.lag(),
                    );
                    closest = (margin, found);
                }
            }
        }
    }
    Claim {
        says: "in no cell of the grid a peer's rule is better in both requests and lag",
        found: format!("{better} in {cells} cells; the closest: {}", closest.1),
        holds: better == 0,
    }
}

/// The cells of one kind.
pub fn cells_of(kind: Kind) -> impl Iterator<Item = Cell> {
    let cell = move |progress, memory| [false, true].map(|watched| Cell { kind, progress, memory, watched });
    Progress::ALL
        .into_iter()
        .flat_map(move |progress| Memory::ALL.into_iter().flat_map(move |memory| cell(progress, memory)))
}

/// The last.
pub fn blind(seed: u64, count: usize) -> Claim {
    let mut closest = (f64::MAX, String::new());
    for spread in SPREADS {
        for queue in QUEUES {
            let kinds = RUNS.map(|run| Kind { queue: queue * SECOND, run: run * SECOND, spread });
            let mixture: Vec<(Kind, Vec<Job>)> = kinds.into_iter().map(|kind| (kind, jobs(kind, seed, count))).collect();
            let sum = |of: &dyn Fn(Kind, &[Job]) -> Tally| {
                mixture.iter().map(|(kind, jobs)| of(*kind, jobs)).fold(Tally::default(), Tally::sum)
            };
            let fixed: Vec<(f64, Tally)> = intervals().map(|ms| (ms, sum(&|_, jobs| replay_fixed(jobs, ms)))).collect();
            for watched in [false, true] {
                let cell = |kind| Cell { kind, progress: Progress::Absent, memory: Memory::Empty, watched };
                let ours = sum(&|kind, jobs| replay(cell(kind), jobs));
                for (interval, tally) in &fixed {
                    let margin = (tally.requests() / ours.requests()).max(tally.relative() / ours.relative());
                    if margin < closest.0 {
                        let found = format!(
                            "after {queue:.0} s, spread {spread}, {}: {:.1} requests and {:.1} %; every {:.1} s {:.1} and {:.1} %",
                            if watched { "watched" } else { "unwatched" },
                            ours.requests(),
                            ours.relative() * 100.0,
                            interval / SECOND,
                            tally.requests(),
                            tally.relative() * 100.0,
                        );
                        closest = (margin, found);
                    }
                }
            }
        }
    }
    Claim {
        says: "with neither progress nor memory, over 20, 120 and 400 s mixed, no fixed interval is better in both requests and \
               lag by the job's length",
        found: format!("the closest: {}", closest.1),
        holds: closest.0 >= 1.0,
    }
}

/// From 0.1 s to 2 minutes, each 3 % longer than the one before, in milliseconds.
fn intervals() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.1 * SECOND), |interval| Some(interval * 1.03))
        .take_while(|interval| *interval < 120.0 * SECOND)
}
