//! Tests of determinism: the same seed and requests give the same log, byte for byte.

mod common;

use std::fmt::Write as _;

use common::{JOBS, PREVIEW, PREVIEW_ASYNC, Request, Sandbox, path_of};
use sandbox::engine::{Command, Config, Engine};
use sandbox::faults;
use sandbox::random::Random;
use serde_json::{Value, json};

fn rules() -> Value {
    json!([
        {"on": "get", "kind": "status_before_commit", "status": 429, "probability": 0.2},
        {"on": "submit", "kind": "drop_after_commit", "probability": 0.3, "from_seconds": 5, "until_seconds": 60},
        {"on": "*", "kind": "webhook_duplicated", "probability": 0.4},
        {"on": "*", "kind": "webhook_reordered", "probability": 0.4},
        {"on": "preview_async", "kind": "webhook_early", "probability": 0.5, "ms": 900},
        {"on": "*", "kind": "fail_job", "probability": 0.1}
    ])
}

/// Sends 300 random requests to the engine. Returns all replies, effects and logs as text. `script` seeds the requests.
fn engine_log(seed: u64, script: u64) -> String {
    let mut engine = Engine::new(Config { seed, ..Config::default() });
    let templates: Vec<String> = engine.templates().iter().map(|template| template.id.to_string()).collect();
    engine.handle(0, Command::SetFaults(faults::parse(&rules()).unwrap()));
    let mut chance = Random::new(&[script]);
    let mut jobs: Vec<String> = Vec::new();
    let mut trace = String::new();
    for step in 0..300u64 {
        let now = 1_000 + step * 400;
        let mut pick = |count: usize| chance.next() as usize % count;
        let job = jobs.get(pick(jobs.len().max(1))).cloned().unwrap_or_default();
        let request = match pick(8) {
            0..=2 => {
                let path = [JOBS, PREVIEW, PREVIEW_ASYNC][pick(3)];
                let body = json!({"template_id": templates[pick(templates.len())], "variables": {"step": step},
                    "webhook_url": "http://127.0.0.1:1/hook"});
                sandbox::engine::Request::post(path).json(&body)
            }
            3 => sandbox::engine::Request::post(&format!("{JOBS}{job}/render/")),
            4 => sandbox::engine::Request::get("/api/remaining_credits/"),
            _ => sandbox::engine::Request::get(&format!("{JOBS}{job}/")),
        };
        let (reply, effects) = engine.handle(now, Command::Request(request.keys("sandbox", "sandbox")));
        if let Some(id) = reply.json()["id"].as_str().filter(|_| reply.status == 201) {
            jobs.push(id.to_owned());
        }
        writeln!(trace, "{reply:?} {effects:?}").unwrap();
    }
    let now = 1_000_000;
    writeln!(trace, "{:?}", engine.handle(now, Command::Tick).1).unwrap();
    let log: Vec<&Value> = engine.webhook_log().iter().collect();
    trace
        + &json!([engine.requests_body(), log, engine.ledger().body(), engine.faults(), engine.jobs_body(now, "")])
            .to_string()
}

#[test]
fn a_hundred_runs_of_the_engine_give_the_same_log() {
    let first = engine_log(7, 1);
    assert!(first.contains("webhook_reordered") && first.contains("drop_after_commit") && first.contains("fail_job"));
    for run in 1..100 {
        assert!(engine_log(7, 1) == first, "run {run} differs");
    }
    assert_ne!(engine_log(8, 1), first, "another seed");
    assert_ne!(engine_log(7, 2), first, "another script");
}

/// Sends requests to a sandbox with a still clock. Returns its logs as text.
fn server_log() -> String {
    let sandbox = Sandbox::start(&["--still-clock", "--seed", "7"]);
    sandbox.faults(&rules());
    let mut wire = sandbox.connect();
    let body = sandbox.body("Product teaser");
    for path in [PREVIEW_ASYNC, JOBS, PREVIEW_ASYNC] {
        let job = wire.send(&Request::new("POST", path).keys().json(&body)).unwrap().json();
        for seconds in [0.5, 2.0, 20.0] {
            sandbox.advance(seconds);
            wire.send(&Request::new("GET", &path_of(&job)).keys()).unwrap();
        }
        wire.send(&Request::new("POST", &format!("{}render/", path_of(&job))).keys()).unwrap();
    }
    sandbox.advance(90.0);
    let logs = ["requests", "ledger", "faults", "jobs", "clock"].map(|name| sandbox.control("GET", name, &Value::Null));
    Value::from(logs.to_vec()).to_string().replace(&sandbox.host(), "HOST")
}

#[test]
fn a_hundred_sandboxes_with_a_still_clock_give_the_same_log() {
    let first = server_log();
    assert!(first.contains("2026-01-01T00:00:"));
    for run in 1..100 {
        assert!(server_log() == first, "run {run} differs");
    }
}
