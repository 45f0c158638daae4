//! What every change must hold, on worlds that no constant was fitted on.

use polling::judge::{Found, JUDGED, Verdict};

/// The bench has three times as many jobs.
const JOBS: usize = 100;

#[test]
fn over_all_worlds_nobody_makes_less_requests_and_less_lag() {
    let found: Vec<Found> = JUDGED.map(|seed| Found::of(seed, JOBS)).collect();
    let verdict = Verdict::of(&found, JOBS);
    let text = verdict.text();
    assert!(verdict.better_over_all.is_empty(), "{text}");
    assert!(verdict.ours.requests < verdict.baseline.requests && verdict.ours.lag < verdict.baseline.lag, "{text}");
    for (less, more) in [(verdict.low, verdict.ours), (verdict.ours, verdict.high)] {
        assert!(less.requests * 1.4 < more.requests && less.lag > more.lag * 1.5, "{text}");
    }
    // What was reached; nothing here is left to chance.
    assert!(verdict.ours.lag * 3.3 < verdict.fixed_lag, "{text}");
    assert!(verdict.missed.len() <= 17, "{text}");
    assert!(verdict.beaten.len() <= 10, "{text}");
}
