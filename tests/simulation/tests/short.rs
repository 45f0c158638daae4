//! The simulation's tests for every change: 10,000 operations, and a crash after every event of a few seeds.

use simulation::{Options, Report, run};

/// The seed in `SIMULATION_SEED`, which runs alone and prints a trace if it fails.
fn chosen() -> Option<u64> {
    std::env::var("SIMULATION_SEED").ok()?.parse().ok()
}

#[test]
fn ten_thousand_operations_are_charged_at_most_once_and_none_is_lost() {
    let mut sum = Report::default();
    for seed in chosen().map_or(20_000..20_100, |seed| seed..seed + 1) {
        let options = Options { operations: 100, trace: chosen().is_some(), ..Options::default() };
        match run(seed, options) {
            Ok(report) => sum.add(&report),
            Err(broken) => panic!("{}\n{broken}\nagain with SIMULATION_SEED={seed}", broken.trace.join("\n")),
        }
    }
    if chosen().is_some() {
        return;
    }
    // A few seeds end before they have made all their calls.
    assert!(sum.operations >= 9_900, "{} operations", sum.operations);
    assert!(sum.charges > 1_000, "{} charges", sum.charges);
    assert!(sum.open[1] < sum.open[0], "settling leaves fewer operations open: {:?}", sum.open);
    assert!(sum.struck.iter().all(|struck| *struck > 0), "every fault occurs: {:?}", sum.struck);
}

#[test]
fn one_seed_always_gives_the_same_result() {
    for seed in 0..5 {
        let options = Options { operations: 100, ..Options::default() };
        let [first, second] = [run(seed, options), run(seed, options)].map(|report| report.map(|report| report.hash).ok());
        assert!(first.is_some() && first == second, "seed {seed}: {first:?} {second:?}");
    }
    let [one, other] = [1, 2].map(|seed| run(seed, Options { operations: 10, ..Options::default() }));
    assert_ne!(one.map(|report| report.hash).ok(), other.map(|report| report.hash).ok());
}

#[test]
fn a_crash_after_any_event_neither_loses_a_job_nor_charges_twice() {
    for seed in 0..5 {
        let options = Options { operations: 12, ..Options::default() };
        let events = run(seed, options).map_or(0, |report| report.events);
        assert!(events > 50, "seed {seed} ends after {events} events");
        for event in 1..=events.min(600) {
            let crashed = run(seed, Options { crash_at: Some(event), ..options });
            assert!(
                crashed.is_ok(),
                "after event {event}: {}",
                crashed.map_or_else(|broken| broken.to_string(), |_| String::new())
            );
        }
    }
}
