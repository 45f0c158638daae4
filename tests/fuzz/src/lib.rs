//! Bytes from outside, made up from a seed, against the client's core on virtual time.
//!
//! | file | holds |
//! | --- | --- |
//! | `made_up.rs` | what may come from outside: jobs, error bodies, answers, journal entries, odd in every field |
//! | `tape.rs` | the seed's data, for all the functions of a world that draw from it |
//! | `world.rs` | a server and a journal that answer with them in any order, and the books that no call may break |
//! | `tests/targets.rs` | the properties |
//!
//! A failing seed is printed; `FUZZ_SEED=0x… cargo test --package fuzz NAME -- --nocapture` runs it again and prints what
//! happened. `FUZZ_SECONDS` lets each target look for as long; `cargo xtask test fuzz` does so for a minute. The packed client
//! has targets of its own, in `tests/node/fuzz.test.mjs` over `made-up.mjs`.

pub mod made_up;
pub mod tape;
pub mod world;

use std::time::Duration;

use arbtest::{arbitrary, arbtest};

/// Where all data comes from. It ends, and then it is all zeros, which stand for the plainest choice.
pub type Source<'a> = arbitrary::Unstructured<'a>;
/// What is drawn from it.
pub type Drawn<T> = arbitrary::Result<T>;

/// How much data the longest of the short runs is made from.
const LONGEST: u64 = 4_096;

/// Holds a property against `runs` seeds that are always the same; or, where the environment has `FUZZ_SEED` or
/// `FUZZ_SECONDS`, against that seed, or against as many as there is time for.
pub fn fuzz(runs: u64, mut property: impl FnMut(&mut Source<'_>) -> Drawn<()>) {
    if let Some(seed) = chosen_seed() {
        arbtest(property).seed(seed).run();
    } else if let Some(seconds) = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()) {
        arbtest(property).size_max(LONGEST as u32).budget(Duration::from_secs(seconds)).run();
    } else {
        for run in 1..=runs {
            // A seed is what the data begins with, and then how long it is.
            let size = 32 + LONGEST * run / runs;
            arbtest(&mut property).seed(test_host::random::Random::new(run).bits() << 32 | size).run();
        }
    }
}

/// The seed that is to be run again.
pub(crate) fn chosen_seed() -> Option<u64> {
    let seed = std::env::var("FUZZ_SEED").ok()?;
    u64::from_str_radix(seed.trim_start_matches("0x"), 16).ok()
}
