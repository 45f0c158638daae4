//! Fuzzing of the client's core on virtual time, with inputs made from a seed.
//!
//! | file | holds |
//! | --- | --- |
//! | `inputs.rs` | inputs from outside: jobs, error bodies, answers and journal entries with odd values in any field |
//! | `tape.rs` | the random data of a seed, shared by all functions of a world |
//! | `world.rs` | a server and a journal that answer with these inputs in any order, and the rules that are checked |
//! | `tests/targets.rs` | the properties |
//!
//! A failing seed is printed; `FUZZ_SEED=0x… cargo test --package fuzz NAME -- --nocapture` replays it and prints its events.
//! `FUZZ_SECONDS` sets how long each target runs; `cargo xtask test fuzz` sets a minute. The packed client has targets of
//! its own, in `tests/node/fuzz.test.mjs` over `inputs.mjs`.

pub mod inputs;
pub mod tape;
pub mod world;

use std::time::Duration;

use arbtest::{arbitrary, arbtest};

/// The source of all random data. After its end it yields zeros, which stand for the plainest choice.
pub type Source<'a> = arbitrary::Unstructured<'a>;
/// A drawn value.
pub type Drawn<T> = arbitrary::Result<T>;

/// The length of the data of the longest of the short runs, in bytes.
const LONGEST: u64 = 4_096;

/// Checks a property for `runs` fixed seeds. With `FUZZ_SEED` in the environment it checks that seed only, with
/// `FUZZ_SECONDS` as many seeds as fit into that time.
pub fn fuzz(runs: u64, mut property: impl FnMut(&mut Source<'_>) -> Drawn<()>) {
    if let Some(seed) = chosen_seed() {
        arbtest(property).seed(seed).run();
    } else if let Some(seconds) = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()) {
        arbtest(property).size_max(LONGEST as u32).budget(Duration::from_secs(seconds)).run();
    } else {
        for run in 1..=runs {
            // arbtest's seed: random bits, then the length of the data.
            let size = 32 + LONGEST * run / runs;
            arbtest(&mut property).seed(test_host::random::Random::new(run).bits() << 32 | size).run();
        }
    }
}

/// The seed to replay.
pub(crate) fn chosen_seed() -> Option<u64> {
    let seed = std::env::var("FUZZ_SEED").ok()?;
    u64::from_str_radix(seed.trim_start_matches("0x"), 16).ok()
}
