//! The replay as tables for people and as JSON for the bench's report.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::claims::{Claim, RENDER, cells_of};
use crate::grid::{Cell, Memory, RUNS, Tally, jobs, kinds, replay, replay_peers};
use crate::jobs::{Kind, Progress, SECOND};
use crate::rules::PEERS;

const WIDTH: usize = 38;

/// Each client at the render of the claims, then ours by what the job tells and what is remembered.
pub fn tables(seed: u64, count: usize) -> String {
    let mut text = String::new();
    let kind = RENDER[1];
    let drawn = jobs(kind, seed, count);
    let _ = writeln!(text, "a queue of 10 s, then a render of 120 s (medians; spread 0.5; one in ten fails within 5 s)");
    let _ = writeln!(text, "{:WIDTH$} {:>10} {:>8} {:>8}", "", "requests", "lag s", "lag/job");
    for progress in [Progress::Linear, Progress::Bent, Progress::Absent] {
        for watched in [false, true] {
            let name = format!("ours: {}{}", progress.name(), if watched { ", watched" } else { "" });
            row(&mut text, &name, &replay(Cell { kind, progress, memory: Memory::Right, watched }, &drawn));
        }
    }
    for (peer, tally) in PEERS.iter().zip(replay_peers(&drawn, seed)) {
        row(&mut text, peer.name, &tally);
    }

    let _ =
        write!(text, "\nours after a queue of 10 s, spread 0.5: requests, lag in s, lag by the job's length\n{:WIDTH$}", "");
    for run in RUNS {
        let _ = write!(text, " {:>20}", format!("{run:.0} s"));
    }
    text.push('\n');
    for watched in [false, true] {
        for memory in Memory::ALL {
            for progress in Progress::ALL {
                let name = format!("{}, memory {}", progress.name(), memory.name());
                let _ = write!(text, "{:WIDTH$}", if watched { format!("{name}, watched") } else { name });
                for run in RUNS {
                    let kind = Kind { run: run * SECOND, ..kind };
                    let tally = replay(Cell { kind, progress, memory, watched }, &jobs(kind, seed, count));
                    let _ =
                        write!(text, " {:>6.1} {:>6.2} {:>5.1}%", tally.requests(), tally.lag(), tally.relative() * 100.0);
                }
                text.push('\n');
            }
        }
    }
    text
}

fn row(text: &mut String, name: &str, tally: &Tally) {
    let (requests, lag, relative) = (tally.requests(), tally.lag(), tally.relative() * 100.0);
    let _ = writeln!(text, "{name:WIDTH$} {requests:>10.1} {lag:>8.2} {relative:>7.1}%");
}

fn figures(tally: &Tally) -> Value {
    json!({ "requests": tally.requests(), "lagSeconds": tally.lag(), "lagByLength": tally.relative() })
}

/// Every cell, the claims, and the jobs that the real clients wait for.
pub fn json(seed: u64, count: usize, claims: &[Claim], side: &Value) -> Value {
    let of_kind = |kind: Kind| {
        let drawn = jobs(kind, seed, count);
        let ours = |cell: Cell| {
            let Cell { progress, memory, watched, .. } = cell;
            let found = figures(&replay(cell, &drawn));
            json!({ "progress": progress.name(), "memory": memory.name(), "watched": watched, "found": found })
        };
        let peers = replay_peers(&drawn, seed);
        let peers: Vec<Value> =
            PEERS.iter().zip(&peers).map(|(peer, tally)| json!({ "peer": peer.name, "found": figures(tally) })).collect();
        json!({
            "runSeconds": kind.run / SECOND,
            "queueSeconds": kind.queue / SECOND,
            "spread": kind.spread,
            "ours": cells_of(kind).map(ours).collect::<Vec<_>>(),
            "peers": peers,
        })
    };
    let claim = |claim: &Claim| json!({ "says": claim.says, "found": claim.found, "holds": claim.holds });
    json!({
        "seed": seed,
        "jobs": count,
        "claims": claims.iter().map(claim).collect::<Vec<_>>(),
        "grid": kinds().into_iter().map(of_kind).collect::<Vec<_>>(),
        "side": side,
    })
}
