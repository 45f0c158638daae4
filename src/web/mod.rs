//! The host over `fetch`, the exported class of the npm package, and the typed API. Compiled for wasm32 only.
//!
//! It translates and decides nothing. The scripts beside it hold what JavaScript does better: `journal.js` (the default
//! journals), `platform.js` (the runtime, its page, bodies of answers, locks), `tabs.js` (polls that tabs share),
//! `snapshot.js` (the JSON text of a request), `redact.js` (secrets) and `operation.js` (random ids).

mod convert;
#[cfg(feature = "serde")]
mod data;
#[cfg(feature = "serde")]
mod handle;
mod host;
mod http;
mod journal;
#[cfg(feature = "npm")]
mod npm;
#[cfg(feature = "serde")]
mod typed;

#[cfg(feature = "serde")]
pub use data::{Job, JobRequest, RenderRequest, Template, Variable, Variables};
#[cfg(feature = "serde")]
pub use handle::{JobHandle, Updates};
pub use host::{HostOptions, WebHost};
#[cfg(feature = "serde")]
pub use typed::{ChargeOptions, Error, Journal, Options, PollOptions, TemplateJobs, Update};
