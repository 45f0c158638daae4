//! What every change must pass: the claims, over fewer jobs of the grid than the bench has.

use polling::claims::{Claim, blind, grid, informed};

fn holds(claim: &Claim) {
    assert!(claim.holds, "{claim:#?}");
}

#[test]
fn a_render_of_two_minutes_is_looked_at_ten_times_and_seen_in_a_second() {
    informed(1, 4_000).iter().for_each(holds);
}

#[test]
fn no_peer_asks_less_and_waits_less() {
    // Of 1,000 jobs the mean of the lags is right to about a fortieth.
    holds(&grid(1, 1_000, 0.02));
}

#[test]
fn where_nothing_is_known_no_fixed_interval_asks_less_and_waits_less() {
    holds(&blind(1, 1_000));
}
