//! The only WebAssembly code: the host over `fetch`, and what JavaScript or Rust front ends call.
//!
//! It translates and decides nothing.

mod drive;
mod host;
mod js;
#[cfg(feature = "npm")]
mod npm;
#[cfg(feature = "serde")]
mod typed;

pub use host::WebHost;
#[cfg(feature = "serde")]
pub use typed::*;
