//! Run Creatify's custom template video jobs from a web page or an edge worker: submit, preview, render, poll.
//!
//! Three promises: one charging call makes one request, whatever the network does; a job that was paid
//! for is never lost; and status is asked for when it is worth asking.
//!
//! Most people use the npm package of the same name. This crate is what it is built from, and with the
//! feature `serde` it is a typed client for Rust front ends.
//!
//! | module | decides |
//! | --- | --- |
//! | [`api`] | the upstream's contract: calls, fields, limits, what is read from a job |
//! | [`charge`] | at most one charge: an operation's states, the journal, the verdict on each outcome |
//! | [`client`] | each call is a task, advanced whenever what it waits for is there |
//! | [`credits`] | prices, estimates, budgets |
//! | [`error`] | what a call fails with |
//! | [`host`] | all that the core asks of the outside |
//! | [`poll`] | when to look next |
//! | [`retry`] | which reads are tried again, and when |
//! | [`value`] | what the core may ask of a value of the host |
//! | `web` | the only WebAssembly code: the host over `fetch`, and the exports |

// A panic in WebAssembly leaves a promise unsettled for ever.
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)
)]

pub mod api;
pub mod charge;
pub mod client;
pub mod credits;
pub mod error;
pub mod host;
pub mod poll;
pub mod retry;
pub mod value;

#[cfg(target_arch = "wasm32")]
pub mod web;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod testing;

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "../tests/corpus/mod.rs"]
mod corpus;

// What unit tests and the tests in a browser share names the crate as the latter must.
#[cfg(test)]
extern crate self as custom_template_jobs;
