//! Fixtures of the client's tests: ids, jobs, requests, options and clients.

use custom_template_jobs::api::Goal;
use custom_template_jobs::client::{ChargeOptions, Client, Config, PollOptions};
use custom_template_jobs::error::{ApiKind, Error, ErrorKind};
use custom_template_jobs::host::Host as _;
use serde_json::Value;

use crate::host::TestHost;
use crate::network::{Reply, Sent};
use crate::world::World;

/// The id of a job.
pub const ID: &str = "11111111-2222-4333-8444-55555555abcd";
/// The id of another job.
pub const OTHER: &str = "99999999-2222-4333-8444-55555555abcd";
/// The id of a template.
pub const TEMPLATE: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";
/// JSON to append to a job's members: its preview.
pub const PREVIEW: &str = r#","preview":"https://p""#;
/// JSON to append to a job's members: its video.
pub const VIDEO: &str = r#","video_output":"https://v""#;

/// The failure of a call.
pub type Failure = Error<Value>;

/// A job with this status and these additional members.
pub fn job(status: &str, more: &str) -> String {
    format!(r#"{{"id":"{ID}","status":"{status}"{more}}}"#)
}

/// A job with a preview.
pub fn previewed(status: &str, more: &str) -> String {
    job(status, &format!("{PREVIEW}{more}"))
}

/// A job with a video.
pub fn rendered() -> String {
    previewed("done", VIDEO)
}

/// A request.
pub fn request() -> String {
    request_with("")
}

/// A request with additional members.
pub fn request_with(more: &str) -> String {
    format!(r#"{{"template_id":"{TEMPLATE}","variables":{{"t":{{"type":"text","properties":{{}}}}}}{more}}}"#)
}

/// Options with an operation id of the caller's.
pub fn named(operation: &str) -> ChargeOptions {
    ChargeOptions { operation: operation.into(), explicit: true, ..ChargeOptions::default() }
}

/// Options with an operation id that was made for the call.
pub fn unnamed(client: &Client<TestHost>) -> ChargeOptions {
    ChargeOptions { operation: client.host().token(), ..ChargeOptions::default() }
}

/// Options with the operation id that a render has by default.
pub fn of_render(job: &str) -> ChargeOptions {
    ChargeOptions { operation: format!("render:{job}"), ..ChargeOptions::default() }
}

/// Options of a poll until the video.
pub fn video() -> PollOptions {
    PollOptions { until: Some(Goal::Video), ..PollOptions::default() }
}

/// The default configuration, for an account.
pub fn config_of(account: &str) -> Config {
    Config::new("https://api.test/", "id", account)
}

/// The default configuration.
pub fn config() -> Config {
    config_of("me")
}

/// A configuration with a limit on credits.
pub fn limited(max_credits: f64, budget_key: Option<&str>) -> Config {
    Config { max_credits: Some(max_credits), budget_key: budget_key.map(Into::into), ..config() }
}

/// A client in a new world, whose server replies after the returned number of milliseconds.
pub fn client_of(script: impl FnMut(&Sent) -> (f64, Reply) + 'static) -> (Client<TestHost>, World) {
    let world = World::new();
    world.script(script);
    (world.process().client(config()), world)
}

/// A client in a new world, whose server gives these replies in order and then repeats the last one.
pub fn client_with(replies: Vec<(f64, Reply)>) -> (Client<TestHost>, World) {
    let world = World::new();
    world.replies(replies);
    (world.process().client(config()), world)
}

/// Two tabs: clients of one account that share a journal.
pub fn tabs(script: impl FnMut(&Sent) -> (f64, Reply) + 'static, config: &Config) -> ([Client<TestHost>; 2], World) {
    let world = World::new();
    world.script(script);
    let tab = || world.process().client(config.clone());
    ([tab(), tab()], world)
}

/// Whether it is certain that nothing was sent.
pub fn is_unsent(failure: &Failure) -> bool {
    *failure.kind() == ErrorKind::Connection { sent: false }
}

/// The kind of the server's refusal.
pub fn api_kind(failure: &Failure) -> Option<ApiKind> {
    if let ErrorKind::Api { kind, .. } = failure.kind() { Some(*kind) } else { None }
}

/// The field that is invalid.
pub fn field(failure: &Failure) -> Option<&str> {
    if let ErrorKind::InvalidRequest { field } = failure.kind() { Some(field) } else { None }
}

/// The estimated cost of a call and the credits left, if the budget was exceeded.
pub fn budget(failure: &Failure) -> Option<(f64, f64)> {
    if let ErrorKind::BudgetExceeded { estimate, remaining } = failure.kind() { Some((*estimate, *remaining)) } else { None }
}

/// The states of the operations in the journal.
pub fn states(world: &World) -> Vec<String> {
    let state = |(_, entry): &(String, Value)| entry["state"].as_str().unwrap_or_default().to_owned();
    world.journal().operations().iter().map(state).collect()
}

/// Asserts that a client's calls left no task and no listener behind.
pub fn assert_idle(client: &Client<TestHost>) {
    let host = client.host();
    assert_eq!(host.tasks(), 0, "tasks left by settled calls");
    assert!(!host.is_listening(), "a listener left by settled calls");
}
