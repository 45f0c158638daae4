//! Run Creatify's custom template video jobs from a web page or an edge worker: submit, preview, render, poll.
//!
//! One charging call sends at most one request that can charge. A job that was paid for is not lost. Polling costs fewer
//! requests and less waiting than a fixed interval.
//!
//! Most people use the npm package of the same name. This crate is what it is built from; with the feature `serde` (on by
//! default) it is a typed client for Rust front ends: `web::TemplateJobs`.
//!
//! | module | content |
//! | --- | --- |
//! | [`api`] | the provider's contract: endpoints, limits, statuses, request checks |
//! | [`job`] | the fields of a job that the core reads |
//! | [`member`] | a member of a JSON object |
//! | [`error`] | the error of a call |
//! | [`hash`] | one hash, for fingerprints and namespaces |
//! | [`credits`] | the price table and the estimate |
//! | [`charge`] | at most one charge: an operation's states, its journal entry, the verdict on each outcome |
//! | [`poll`] | the polling schedule |
//! | [`retry`] | the retries of reads |
//! | [`host`] | the trait `Host`: everything that the core needs from its environment |
//! | [`client`] | `Client<H>`: one `async fn` per endpoint |
//! | `web` | compiled for wasm32 only: the host over `fetch`, the exported class, the typed API |

// A panic in WebAssembly ends the module.
#![cfg_attr(
    not(test),
    deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)
)]

pub mod api;
pub mod charge;
pub mod client;
pub mod credits;
pub mod error;
pub mod hash;
pub mod host;
pub mod job;
pub mod member;
pub mod poll;
pub mod retry;

#[cfg(target_arch = "wasm32")]
pub mod web;

/// The code samples of the guide for Rust front ends.
#[cfg(all(doctest, target_arch = "wasm32", feature = "serde"))]
#[doc = include_str!("../docs/rust.md")]
mod guide {}
