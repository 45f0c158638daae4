//! What tests of the client begin with.

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
/// A member more of a job: its preview.
pub const PREVIEW: &str = r#","preview":"https://p""#;
/// A member more of a job: its video.
pub const VIDEO: &str = r#","video_output":"https://v""#;

/// The failure of a call.
pub type Failure = Error<Value>;

/// A job with that status, and members more.
pub fn job(status: &str, more: &str) -> String {
    format!(r#"{{"id":"{ID}","status":"{status}"{more}}}"#)
}

/// A job whose preview is there.
pub fn previewed(status: &str, more: &str) -> String {
    job(status, &format!("{PREVIEW}{more}"))
}

/// A job whose video is there.
pub fn rendered() -> String {
    previewed("done", VIDEO)
}

/// A request.
pub fn request() -> String {
    request_with("")
}

/// A request with members more.
pub fn request_with(more: &str) -> String {
    format!(r#"{{"template_id":"{TEMPLATE}","variables":{{"t":{{"type":"text","properties":{{}}}}}}{more}}}"#)
}

/// Under an operation id of the caller's.
pub fn named(operation: &str) -> ChargeOptions {
    ChargeOptions { operation: operation.into(), explicit: true, ..ChargeOptions::default() }
}

/// Under an operation id that is made for the call.
pub fn unnamed(client: &Client<TestHost>) -> ChargeOptions {
    ChargeOptions { operation: client.host().token(), ..ChargeOptions::default() }
}

/// Under the operation id that a render without one has.
pub fn of_render(job: &str) -> ChargeOptions {
    ChargeOptions { operation: format!("render:{job}"), ..ChargeOptions::default() }
}

/// Waiting for a video.
pub fn video() -> PollOptions {
    PollOptions { until: Some(Goal::Video), ..PollOptions::default() }
}

/// The usual configuration, for an account.
pub fn config_of(account: &str) -> Config {
    Config::new("https://api.test/", "id", account)
}

/// The usual configuration.
pub fn config() -> Config {
    config_of("me")
}

/// A configuration with a limit of credits.
pub fn limited(max_credits: f64, budget_key: Option<&str>) -> Config {
    Config { max_credits: Some(max_credits), budget_key: budget_key.map(Into::into), ..config() }
}

/// A client in a world of its own, whose server replies after so many milliseconds.
pub fn client_of(script: impl FnMut(&Sent) -> (f64, Reply) + 'static) -> (Client<TestHost>, World) {
    let world = World::new();
    world.script(script);
    (world.process().client(config()), world)
}

/// A client in a world of its own, whose server gives these replies in order; the last one again and again.
pub fn client_with(replies: Vec<(f64, Reply)>) -> (Client<TestHost>, World) {
    let world = World::new();
    world.replies(replies);
    (world.process().client(config()), world)
}

/// Two tabs: clients of one account over one journal.
pub fn tabs(script: impl FnMut(&Sent) -> (f64, Reply) + 'static, config: &Config) -> ([Client<TestHost>; 2], World) {
    let world = World::new();
    world.script(script);
    let tab = || world.process().client(config.clone());
    ([tab(), tab()], world)
}

/// Whether nothing was sent, or not surely.
pub fn is_unsent(failure: &Failure) -> bool {
    *failure.kind() == ErrorKind::Connection { sent: false }
}

/// What the server's answer means.
pub fn api_kind(failure: &Failure) -> Option<ApiKind> {
    if let ErrorKind::Api { kind, .. } = failure.kind() { Some(*kind) } else { None }
}

/// The argument that cannot be used.
pub fn field(failure: &Failure) -> Option<&str> {
    if let ErrorKind::InvalidRequest { field } = failure.kind() { Some(field) } else { None }
}

/// What a call would have cost, and what is left, where the budget does not suffice.
pub fn budget(failure: &Failure) -> Option<(f64, f64)> {
    if let ErrorKind::BudgetExceeded { estimate, remaining } = failure.kind() { Some((*estimate, *remaining)) } else { None }
}

/// The states of the operations that the journal holds.
pub fn states(world: &World) -> Vec<String> {
    let state = |(_, entry): &(String, Value)| entry["state"].as_str().unwrap_or_default().to_owned();
    world.journal().operations().iter().map(state).collect()
}

/// Nothing is left of any call of a client: no task, and nothing that the host would still do for it.
pub fn assert_idle(client: &Client<TestHost>) {
    let host = client.host();
    assert_eq!(host.tasks(), 0, "tasks of a process whose calls have ended");
    assert!(!host.is_listening(), "a listener for changes of the environment");
}
