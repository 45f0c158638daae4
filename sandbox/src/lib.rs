//! A stand-in for the upstream's custom template jobs: seven calls with real state, and a control interface for tests.
//!
//! [`engine`] decides every answer and does no I/O; [`app`] gives it a clock and [`server`] sockets. The file that `--templates`
//! takes is described in [`templates`], the control interface in [`control`], its fault rules in [`faults`].
//!
//! What the upstream's documentation does not state is tagged where it is decided: `documented`, `observed` or `assumed`;
//! [`truth`] lists the tags.

pub mod addresses;
pub mod app;
pub mod assumptions;
pub mod canvas;
pub mod connection;
pub mod console;
pub mod control;
pub mod data;
pub mod engine;
pub mod exchange;
pub mod fault_effects;
pub mod faults;
pub mod h264;
pub mod job;
pub mod ledger;
pub mod message;
pub mod openapi;
pub mod pages;
pub mod pictures;
pub mod prices;
pub mod prove;
pub mod random;
pub mod relay;
pub mod route;
pub mod samples;
pub mod server;
pub mod statics;
pub mod storyboard;
pub mod templates;
pub mod validate;
pub mod video;
pub mod webhooks;
