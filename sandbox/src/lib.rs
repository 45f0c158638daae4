//! A stand-in for the upstream's custom template jobs: seven calls with real state, and a control interface for tests.
//!
//! [`engine`] decides every answer and does no I/O; [`server`] gives it sockets and time.

pub mod engine;
pub mod faults;
pub mod job;
pub mod ledger;
pub mod prices;
pub mod random;
pub mod route;
pub mod templates;
pub mod validate;
