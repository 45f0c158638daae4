//! What the replay must show, world by world and over all.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use custom_template_jobs::poll::Urgency;

use crate::SECOND;
use crate::reasons::reason;
use crate::rules::{Cost, INTERVALS, LESSONS, PEERS, baseline_over, fixed_over, ours_over};
use crate::world::World;

/// The seeds on which the constants were fitted, and those that judge them.
pub const FITTED: Range<u64> = 0..1_800;
pub const JUDGED: Range<u64> = 3_000..3_200;
/// Jobs of each world that count.
pub const JOBS: usize = 300;

/// Another is better where it makes less requests and less lag by more than this share.
const CLEARLY: f64 = 1.05;

/// What waiting in one world costs each client.
#[derive(Debug)]
pub struct Found {
    pub world: World,
    /// The mean length of its jobs, in seconds.
    pub length: f64,
    pub ours: Cost,
    pub watched: Cost,
    pub low: Cost,
    pub high: Cost,
    pub baseline: Cost,
    /// Peers and fixed intervals.
    pub others: Vec<(String, Cost)>,
}

impl Found {
    pub fn of(seed: u64, count: usize) -> Self {
        Self::over(World::draw(seed), count)
    }

    pub fn over(world: World, count: usize) -> Self {
        let jobs = world.jobs(count + LESSONS);
        let ours = |watched, urgency| ours_over(&world, &jobs, watched, urgency);
        let fixed = INTERVALS.map(|seconds| (format!("every {seconds} s"), fixed_over(&world, &jobs, seconds)));
        let peers = PEERS.iter().map(|peer| (peer.name.to_owned(), peer.over(&world, &jobs)));
        Self {
            length: jobs.iter().map(|job| job.end).sum::<f64>() / jobs.len() as f64 / SECOND,
            ours: ours(false, Urgency::Normal),
            watched: ours(true, Urgency::Normal),
            low: ours(false, Urgency::Low),
            high: ours(false, Urgency::High),
            baseline: baseline_over(&world, &jobs),
            others: fixed.into_iter().chain(peers).collect(),
            world,
        }
    }

    /// Where a limit is missed, by how much: 1.2 is a fifth over it. `None` where there is no limit.
    pub fn over_limit(&self) -> Option<f64> {
        let limit = |least: f64, share: f64, requests: f64| {
            let lag = self.ours.lag / least.max(share * self.length);
            // Longer jobs may be polled more often.
            if self.world.median() <= 180.0 * SECOND { lag.max(self.ours.requests / requests) } else { lag }
        };
        match (self.world.informs(), self.world.is_blind()) {
            (true, _) => Some(limit(1.0, 0.025, 12.0)),
            (_, true) => Some(limit(2.0, 0.1, 20.0)),
            _ => None,
        }
    }

    pub fn misses(&self) -> bool {
        self.over_limit().is_some_and(|over| over > 1.0)
    }

    /// Another that is clearly better in both.
    pub fn better(&self) -> Option<&(String, Cost)> {
        let Cost { requests, lag } = self.ours;
        let clearly = |other: &Cost| other.requests * CLEARLY < requests && other.lag * CLEARLY < lag;
        let better = self.others.iter().filter(|(_, other)| clearly(other));
        better.min_by(|(_, one), (_, two)| (one.requests * one.lag).total_cmp(&(two.requests * two.lag)))
    }
}

/// What all worlds together show.
#[derive(Debug)]
pub struct Verdict {
    pub worlds: usize,
    pub ours: Cost,
    pub watched: Cost,
    pub low: Cost,
    pub high: Cost,
    pub baseline: Cost,
    /// The lag of a fixed interval that makes as many requests over all worlds, in seconds.
    pub fixed_lag: f64,
    /// Peers that make both less requests and less lag over all worlds.
    pub better_over_all: Vec<String>,
    /// Worlds that have a limit, those where it is missed, and those where another is clearly better in both.
    pub limited: usize,
    pub missed: Vec<Listed>,
    pub beaten: Vec<Listed>,
}

/// A world that shows what it should not.
#[derive(Debug)]
pub struct Listed {
    pub reason: &'static str,
    pub line: String,
}

impl Verdict {
    /// `count` is how many jobs of each world were waited for.
    pub fn of(found: &[Found], count: usize) -> Self {
        let mean = |of: &dyn Fn(&Found) -> Cost| Cost::mean(found.iter().map(of));
        let ours = mean(&|found| found.ours);
        let names: Vec<&str> =
            found.first().into_iter().flat_map(|found| &found.others).map(|(name, _)| name.as_str()).collect();
        let others: Vec<(&str, Cost)> =
            names.into_iter().enumerate().map(|(at, name)| (name, mean(&|found| found.others[at].1))).collect();
        let line = |found: &Found| {
            format!("{}: {:.1} requests, {:.2} s", found.world.describe(), found.ours.requests, found.ours.lag)
        };
        Self {
            worlds: found.len(),
            ours,
            watched: mean(&|found| found.watched),
            low: mean(&|found| found.low),
            high: mean(&|found| found.high),
            baseline: mean(&|found| found.baseline),
            fixed_lag: interpolated(&others[..INTERVALS.len()], ours.requests),
            better_over_all: others
                .iter()
                .filter(|(_, other)| other.requests <= ours.requests && other.lag <= ours.lag)
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            limited: found.iter().filter(|found| found.over_limit().is_some()).count(),
            missed: found
                .iter()
                .filter(|found| found.misses())
                .map(|found| Listed {
                    reason: reason(&found.world, count, Found::misses),
                    line: format!("x{:.2} {}", found.over_limit().unwrap_or_default(), line(found)),
                })
                .collect(),
            beaten: found
                .iter()
                .filter_map(|found| {
                    let (name, other) = found.better()?;
                    Some(Listed {
                        reason: reason(&found.world, count, |found| found.better().is_some()),
                        line: format!("{}; {name}: {:.1}, {:.2} s", line(found), other.requests, other.lag),
                    })
                })
                .collect(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("means of {} worlds\n", self.worlds);
        let ours = [("ours", self.ours), ("ours, watched", self.watched)];
        let urgency = [("ours, low", self.low), ("ours, high", self.high)];
        for (name, cost) in ours.into_iter().chain(urgency).chain([("baseline", self.baseline)]) {
            let _ = writeln!(text, "{name:16} {:>6.1} requests {:>6.2} s", cost.requests, cost.lag);
        }
        let _ = writeln!(text, "a fixed interval with as many requests as ours: {:.2} s", self.fixed_lag);
        let _ = writeln!(text, "better than ours in both, over all worlds: {}", self.better_over_all.join(", "));
        let _ = writeln!(text, "\na limit is missed in {} of {} worlds that have one:", self.missed.len(), self.limited);
        text += &table(&self.missed);
        let _ = writeln!(text, "\nanother is clearly better in both in {} of {} worlds:", self.beaten.len(), self.worlds);
        text += &table(&self.beaten);
        text
    }
}

/// Worlds by their reasons.
fn table(listed: &[Listed]) -> String {
    let reasons: BTreeSet<&str> = listed.iter().map(|listed| listed.reason).collect();
    let group = |reason: &str| {
        let lines: Vec<String> =
            listed.iter().filter(|listed| listed.reason == reason).map(|listed| format!("    {}\n", listed.line)).collect();
        format!("  {:>3}  {reason}\n{}", lines.len(), lines.concat())
    };
    reasons.into_iter().map(group).collect()
}

/// The lag of fixed intervals at a number of requests, between those that were tried.
fn interpolated(fixed: &[(&str, Cost)], requests: f64) -> f64 {
    let pair = fixed.windows(2).find(|pair| (pair[1].1.requests..=pair[0].1.requests).contains(&requests));
    pair.map_or(f64::NAN, |pair| {
        let [(_, one), (_, two)] = [pair[0], pair[1]];
        one.lag + (requests - one.requests) / (two.requests - one.requests) * (two.lag - one.lag)
    })
}
