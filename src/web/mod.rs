//! The only WebAssembly code: the host over `fetch`, and what JavaScript or Rust front ends call.
//!
//! It translates and decides nothing. Beside it lie its scripts, among them `values.js`, the core's words for JavaScript's values,
//! `plumbing.js`, its way to timers and the network, `journal.js`, the default journals, and `tabs.js`, by which tabs share
//! looks.

#[cfg(feature = "serde")]
mod error;
mod host;
mod js;
#[cfg(feature = "npm")]
mod npm;
#[cfg(feature = "serde")]
mod rust;
#[cfg(feature = "serde")]
mod typed;

#[cfg(feature = "serde")]
pub use error::{ApiKind, Error, Reason};
pub use host::check_headers;
pub use js::Js;
#[cfg(feature = "serde")]
pub use rust::{Listening, RustHost};
#[cfg(feature = "serde")]
pub use typed::*;
