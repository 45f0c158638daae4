//! Replays when our client and others poll, over the same simulated jobs of many worlds, and judges what that must show.
//!
//! A world is drawn from a seed: how long its jobs queue and run, what they report of their progress, how they fail, how
//! long an answer takes, and what is remembered of earlier jobs. The constants of `src/poll.rs` were fitted on the worlds of
//! [`judge::FITTED`]; [`judge::JUDGED`] are others.
//!
//! A lag is the time from a job's end to the moment that the poll which sees it was answered, without that answer's way back. A
//! job with hundreds beside it is polled as one alone: what a provider refuses then is left out, and so are all requests that
//! fail. `cargo xtask bench polling` runs real clients over loopback to show that the replay is true.

pub mod judge;
pub mod loopback;
pub mod reasons;
pub mod report;
pub mod rules;
pub mod side;
pub mod world;

/// Milliseconds.
pub const SECOND: f64 = 1_000.0;
