//! The core's test host: everything that a client needs from its environment, on virtual time and one thread.
//!
//! A [`World`] has one clock, one network and one journal. [`World::process`] makes a process with a [`TestHost`], and
//! [`TestHost::client`] a client on it. Tabs and processes of one world share its journal, locks and server; two clients of
//! one process ([`TestHost::sibling`]) share its memory too. [`TestHost::crash`] ends a process where it is.
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
//! | part | what it can do |
//! | --- | --- |
//! | [`executor`] | time goes on when no task is ready; a seed chooses among ready tasks; a hang is an error, not a wait |
//! | [`network`] | `World::script` and `World::serve`: any reply, late, cut off, failed or never; a log of every request |
//! | [`provider`] | jobs that queue and run, faults of single requests, the books of what was charged |
//! | [`journal`] | `Journal::plan`: throws, hangs, acts late, or acts and loses the acknowledgement; a log of every call |
//! | [`host`] | headers that take time, fail or never answer; lists of jobs; the environment; `shares`; crashes |
//! | [`browser`] | locks among hosts; `World::have_tabs` for polls that tabs share |
//! | [`cases`] | requests, jobs, clients and questions that most tests begin with |
//! | [`events`] | the events as owned values; `World::events`, `World::warnings` |
//!
//! A future that nobody can wake any more makes [`World::run`] panic, and [`World::try_run`] return [`executor::Hang`].

// Tests read best where what is expected is said so, and what cannot be panics.
#![allow(clippy::missing_panics_doc)]

pub mod browser;
pub mod cases;
pub mod events;
pub mod executor;
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
