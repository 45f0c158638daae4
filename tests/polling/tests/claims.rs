//! What every change must pass: the claims, over fewer jobs than the bench has.

use polling::claims::{Claim, claims};

#[test]
fn no_peer_and_no_fixed_interval_asks_less_and_waits_less() {
    let broken: Vec<Claim> = claims(1, 300).into_iter().filter(|claim| !claim.holds).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
