//! A host for native tests of the core: its whole environment on virtual time and one thread.
//!
//! A [`World`] has one clock, one network and one journal. [`World::process`] makes a process with a [`TestHost`], and
//! [`TestHost::client`] a client on it. Tabs and processes of one world share its journal, locks and server. Two clients of
//! one process ([`TestHost::sibling`]) also share its memory. [`TestHost::crash`] stops a process where it is.
//!
//! ```
//! use custom_template_jobs::client::{ChargeOptions, Config};
//! use test_host::{Provider, World};
//!
//! let world = World::new();
//! let provider = Provider::new(&world);
//! let client = world.process().client(Config::new("https://api.test", "id", "me"));
//! let request = r#"{"template_id":"3c90c3cc-0d44-4b50-8888-8dd25736052a","variables":{}}"#;
//! let options = ChargeOptions { operation: "one".into(), explicit: true, ..ChargeOptions::default() };
//! let job = world.run(client.submit(request, options)).expect("a job");
//! let id = job["id"].as_str().expect("an id");
//! let video = world.run(client.poll(id, Some(job.clone()), Default::default(), None)).expect("a video");
//! assert!(video["video_output"].is_string());
//! assert_eq!(provider.charges().len(), 1);
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | [`executor`] | the clock, which advances when no task is ready; a seed chooses among ready tasks; a hang is an error |
//! | [`network`] | `World::script` and `World::serve`: any reply, late, cut off, failed or missing; a log of requests |
//! | [`provider`] | jobs that queue and run, faults of single requests, a record of charges |
//! | [`journal`] | `Journal::plan`: a call throws, hangs, is late or loses its acknowledgement; a log of calls |
//! | [`host`] | headers that are slow, fail or never come; lists of jobs; the environment; `shares`; crashes |
//! | [`browser`] | locks between hosts; `World::have_tabs` for polls shared by tabs |
//! | [`fixtures`] | ids, requests, jobs and clients of most tests |
//! | [`events`] | the events as owned values; `World::events`, `World::warnings` |
//!
//! If nothing can wake a future any more, [`World::run`] panics and [`World::try_run`] returns [`executor::Hang`].

// Test helpers panic on unexpected values.
#![allow(clippy::missing_panics_doc)]

pub mod browser;
pub mod events;
pub mod executor;
pub mod fixtures;
pub mod host;
pub mod journal;
pub mod json;
pub mod network;
pub mod provider;
pub mod random;
pub mod world;

pub use self::events::Event;
pub use self::executor::Hang;
pub use self::host::{Given, TestHost};
pub use self::journal::{Journal, Method, Plan};
pub use self::json::json;
pub use self::network::{Reply, Sent, answer, answer_of, busy, cut, failed, text};
pub use self::provider::{Fault, Provider};
pub use self::world::World;
