//! A local stand-in for the provider's custom template jobs API: seven calls with real state, and a control interface for
//! tests.
//!
//! [`engine`] computes every answer and does no I/O. [`app`] gives it a clock, and [`server`] gives it sockets.
//! [`templates`] describes the file of `--templates`, [`control`] the control interface, and [`faults`] the fault rules.
//!
//! Each behaviour is tagged in the code that implements it, as `documented`, `observed` or `assumed`. [`assumptions`] lists
//! the tags.

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
