//! Tests of the engine.

mod charging;
mod faults;
mod webhooks;

use serde_json::{Value, json};

use super::*;
use crate::templates::built_in;

const JOBS: &str = "/api/custom_template_jobs/";
const PREVIEW: &str = "/api/custom_template_jobs/preview/";
const PREVIEW_ASYNC: &str = "/api/custom_template_jobs/preview_async/";

fn engine() -> Engine {
    Engine::new(Config::default())
}

fn with_credits(credits: f64) -> Engine {
    Engine::new(Config { credits, ..Config::default() })
}

fn send(engine: &mut Engine, now: u64, request: Request) -> Reply {
    let request = request.keys("sandbox", "sandbox");
    engine.handle(now, Command::Request(request)).0
}

fn body(template: usize) -> Value {
    json!({"template_id": built_in()[template].id.to_string(), "variables": {"headline": {"type": "text", "properties": {"content": "Hi"}}}})
}

fn make(engine: &mut Engine, now: u64, path: &str, template: usize) -> Value {
    let reply = send(engine, now, Request::post(path).json(&body(template)));
    assert!(reply.status == 201 || reply.status == 200, "{reply:?}");
    reply.json()
}

fn url_of(job: &Value) -> String {
    format!("{JOBS}{}/", job["id"].as_str().unwrap())
}

fn get(engine: &mut Engine, now: u64, job: &Value) -> Value {
    send(engine, now, Request::get(&url_of(job))).json()
}

fn render(engine: &mut Engine, now: u64, job: &Value) -> Reply {
    send(engine, now, Request::post(&format!("{}render/", url_of(job))))
}

fn remaining(engine: &mut Engine, now: u64) -> f64 {
    let reply = send(engine, now, Request::get("/api/remaining_credits/"));
    reply.json()["remaining_credits"].as_f64().unwrap()
}

fn set(engine: &mut Engine, rules: &Value) {
    let rules = crate::faults::parse(rules).unwrap();
    engine.handle(0, Command::SetFaults(rules));
}

#[test]
fn a_job_passes_through_every_status_with_rising_progress_and_times() {
    let mut engine = engine();
    let job = make(&mut engine, 1_000, JOBS, 2);
    assert_eq!(job["status"], "pending");
    assert_eq!(job["credits_used"], 0);
    assert_eq!(job["created_at"], job["updated_at"]);
    let mut statuses = Vec::new();
    let mut progress = -1.0;
    let mut updated = String::new();
    for now in (1_000..40_000).step_by(50) {
        let seen = get(&mut engine, now, &job);
        let status = seen["status"].as_str().unwrap().to_owned();
        let changed = statuses.last() != Some(&status);
        assert_eq!(changed, seen["updated_at"].as_str().unwrap() != updated);
        if changed {
            statuses.push(status);
            updated = seen["updated_at"].as_str().unwrap().to_owned();
        }
        let now = seen["progress"].as_f64().unwrap();
        assert!(now >= progress, "{now} after {progress}");
        progress = now;
    }
    assert_eq!(statuses, ["pending", "in_queue", "running", "done"]);
    let done = get(&mut engine, 40_000, &job);
    assert_eq!(done["credits_used"], 5);
    assert_eq!(done["failed_reason"], "");
    assert!(done["video_output"].as_str().unwrap().contains("/media/"));
    assert!(done["preview"].is_string());
}

#[test]
fn a_job_has_the_documented_fields_in_their_order_and_no_other() {
    let job = make(&mut engine(), 0, PREVIEW_ASYNC, 0);
    let fields: Vec<_> = job.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "id",
            "created_at",
            "updated_at",
            "name",
            "variables",
            "media_job",
            "video_output",
            "preview",
            "editor_url",
            "failed_reason",
            "credits_used",
            "duration",
            "status",
            "progress",
            "webhook_url",
            "model_version",
            "is_hidden"
        ]
    );
    assert_eq!(job["model_version"], "standard");
    assert_eq!(job["is_hidden"], false);
    assert_eq!(job["duration"], 6);
    assert_eq!(job["editor_url"], Value::Null);
}

#[test]
fn a_new_job_echoes_the_fields_of_the_request() {
    let mut request = body(1);
    request["name"] = json!("Spring");
    request["webhook_url"] = json!("http://127.0.0.1:9/hook");
    request["model_version"] = json!("aurora_v1_fast");
    request["is_hidden"] = json!(true);
    request["variables"] = json!({"__proto__": {"a": 1}, "odd": null});
    let job = send(&mut engine(), 0, Request::post(PREVIEW_ASYNC).json(&request)).json();
    for field in ["name", "webhook_url", "model_version", "is_hidden", "variables"] {
        assert_eq!(job[field], request[field], "{field}");
    }
}

#[test]
fn the_blocking_preview_returns_the_finished_job_when_it_is_done() {
    let mut engine = engine();
    let reply = send(&mut engine, 5_000, Request::post(PREVIEW).json(&body(0)));
    assert_eq!(reply.status, 200);
    assert!(reply.ready_at > 7_000 && reply.ready_at < 12_000, "{}", reply.ready_at);
    let job = reply.json();
    assert_eq!(job["status"], "done");
    assert!(job["preview"].is_string());
    assert_eq!(get(&mut engine, 5_001, &job)["status"], "pending");
    assert_eq!(get(&mut engine, reply.ready_at, &job), job);
}

#[test]
fn a_preview_is_rendered_as_the_same_job_and_keeps_its_preview() {
    let mut engine = engine();
    let job = make(&mut engine, 0, PREVIEW_ASYNC, 2);
    let ready = get(&mut engine, 60_000, &job);
    assert_eq!(ready["status"], "done");
    assert_eq!(ready["video_output"], Value::Null);
    let answer = render(&mut engine, 60_000, &job);
    assert_eq!(answer.status, 200);
    let rendering = answer.json();
    assert_eq!(rendering["id"], job["id"]);
    assert_eq!(rendering["status"], "pending");
    assert_eq!(rendering["progress"], 0.0);
    assert_eq!(rendering["preview"], ready["preview"]);
    assert_eq!(rendering["video_output"], Value::Null);
    assert_eq!(rendering["credits_used"], 1);
    let done = get(&mut engine, 120_000, &job);
    assert_eq!(done["status"], "done");
    assert!(done["video_output"].is_string());
    assert_eq!(done["credits_used"], 5);
}

#[test]
fn render_takes_no_body_an_empty_object_and_the_full_body() {
    for full in [None, Some(json!({})), Some(body(0))] {
        let mut engine = engine();
        let job = make(&mut engine, 0, PREVIEW_ASYNC, 0);
        let mut request = Request::post(&format!("{}render/", url_of(&job)));
        if let Some(full) = full {
            request = request.json(&full);
        }
        assert_eq!(send(&mut engine, 60_000, request).status, 200);
    }
    let mut engine = engine();
    let job = make(&mut engine, 60_000, PREVIEW_ASYNC, 0);
    let bad = Request::post(&format!("{}render/", url_of(&job))).json(&json!({"name": "a".repeat(256)}));
    let reply = send(&mut engine, 120_000, bad);
    assert_eq!(reply.status, 400);
    assert!(reply.json()["name"].is_array());
}

#[test]
fn keys_are_checked_before_anything_else() {
    let mut engine = engine();
    let detail = |reply: &Reply| reply.json()["detail"].as_str().unwrap_or_default().to_owned();
    let missing = engine.handle(0, Command::Request(Request::get("/api/custom_templates/"))).0;
    assert_eq!(missing.status, 401);
    assert_eq!(detail(&missing), "Authentication credentials were not provided.");
    let wrong = Request::post(JOBS).keys("sandbox", "nope");
    assert!(!format!("{wrong:?}").contains("nope"));
    let wrong = engine.handle(0, Command::Request(wrong)).0;
    assert_eq!(wrong.status, 401);
    assert_eq!(detail(&wrong), "Incorrect authentication credentials.");
    assert!(!engine.requests_body().to_string().contains("nope"));
}

#[test]
fn unknown_paths_jobs_and_methods_get_the_errors_of_the_framework() {
    let mut engine = engine();
    let unknown = format!("{JOBS}3c90c3cc-0d44-4b50-8888-8dd25736052a/");
    let reply = send(&mut engine, 0, Request::get(&unknown));
    assert_eq!((reply.status, reply.json()), (404, json!({"detail": "No CustomTemplateJob matches the given query."})));
    let reply = send(&mut engine, 0, Request::get(&format!("{JOBS}nope/")));
    assert_eq!((reply.status, reply.json()), (404, json!({"detail": "Not found."})));
    let reply = send(&mut engine, 0, Request::get("/api/remainingcredits/"));
    assert_eq!((reply.status, reply.header("content-type")), (404, Some("text/html; charset=utf-8")));
    let reply = send(&mut engine, 0, Request::new("PUT", JOBS));
    assert_eq!((reply.status, reply.json()), (405, json!({"detail": "Method \"PUT\" not allowed."})));
    let reply = send(&mut engine, 0, Request::get("/api/custom_templates?x=1"));
    assert_eq!((reply.status, reply.header("location")), (301, Some("/api/custom_templates/?x=1")));
    let unknown = json!({"template_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "variables": {}});
    let reply = send(&mut engine, 0, Request::post(JOBS).json(&unknown));
    assert_eq!((reply.status, reply.json()), (400, json!(["Custom template not found"])));
}

#[test]
fn bodies_that_are_not_json_or_too_large_are_refused() {
    let mut engine = engine();
    let mut form = Request::post(JOBS).json(&body(0));
    form.content_type = Some("application/x-www-form-urlencoded".to_owned());
    let reply = send(&mut engine, 0, form);
    assert_eq!(
        (reply.status, reply.json()),
        (415, json!({"detail": "Unsupported media type \"application/x-www-form-urlencoded\" in request."}))
    );
    let mut large = Request::post(JOBS).json(&body(0));
    large.body = vec![b' '; BODY_LIMIT + 1];
    assert_eq!(send(&mut engine, 0, large).status, 413);
    assert!(engine.jobs().is_empty());
}

#[test]
fn the_same_seed_and_commands_give_the_same_replies() {
    let run = |seed| {
        let mut engine = Engine::new(Config { seed, ..Config::default() });
        set(&mut engine, &json!([{"on": "get", "kind": "status_before_commit", "probability": 0.3}]));
        let mut trace = Vec::new();
        let mut jobs = Vec::new();
        for round in 0..200u64 {
            let now = round * 333;
            let template = (round % 7) as usize;
            let (reply, effects) = engine.handle(
                now,
                Command::Request(Request::post(PREVIEW_ASYNC).keys("sandbox", "sandbox").json(&body(template))),
            );
            if reply.status == 201 {
                jobs.push(reply.json());
            }
            trace.push(format!("{reply:?} {effects:?}"));
            if let Some(job) = jobs.get(round as usize / 2) {
                trace.push(format!("{:?}", send(&mut engine, now, Request::get(&url_of(job)))));
            }
        }
        trace.push(engine.requests_body().to_string());
        trace
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn reading_a_job_does_not_change_it() {
    let mut quiet = engine();
    let mut busy = engine();
    let a = make(&mut quiet, 0, JOBS, 2);
    let b = make(&mut busy, 0, JOBS, 2);
    for now in 0..5_000 {
        get(&mut busy, now, &b);
    }
    assert_eq!(get(&mut quiet, 5_000, &a), get(&mut busy, 5_000, &b));
}

#[test]
fn advancing_the_clock_moves_jobs_forward() {
    let mut engine = engine();
    let job = make(&mut engine, 1_000, JOBS, 4);
    assert_eq!(get(&mut engine, 1_000, &job)["status"], "pending");
    engine.handle(1_000, Command::Advance { ms: 90_000 });
    assert_eq!(get(&mut engine, 1_000, &job)["status"], "done");
    assert_eq!(engine.time(1_000), 91_000);
}

#[test]
fn a_reset_clears_everything_but_the_flags() {
    let mut engine = engine();
    let job = make(&mut engine, 1_000, JOBS, 0);
    set(&mut engine, &json!([{"on": "*", "kind": "html"}]));
    engine.handle(2_000, Command::Reset { seed: Some(3), credits: Some(7.0) });
    assert_eq!(send(&mut engine, 2_000, Request::get(&url_of(&job))).status, 404);
    assert!((remaining(&mut engine, 2_000) - 7.0).abs() < 1e-9);
    assert_eq!(engine.ledger().charges().len(), 0);
}

#[test]
fn the_editor_url_needs_access_and_expires_in_a_day() {
    let mut engine = Engine::new(Config { editor_access: true, ..Config::default() });
    let job = make(&mut engine, 1_000_000, PREVIEW_ASYNC, 0);
    assert_eq!(job["editor_url"], Value::Null);
    let done = get(&mut engine, 1_060_000, &job);
    let url = done["editor_url"].as_str().unwrap();
    let expires: u64 = url.rsplit_once("?expires=").unwrap().1.parse().unwrap();
    assert!((1_000 + 86_400..=1_060 + 86_400).contains(&expires), "{expires}");
}

#[test]
fn previews_and_videos_exist_once_their_step_is_done() {
    let mut engine = engine();
    let job = make(&mut engine, 0, PREVIEW_ASYNC, 0);
    let (preview, video) = (engine.jobs()[0].preview_token, engine.jobs()[0].video_token);
    assert!(engine.preview(0, preview).is_none());
    assert!(engine.preview(60_000, preview).is_some());
    assert!(engine.preview(60_000, video).is_none(), "a video token does not open the preview");
    assert!(!engine.video(60_000, video).unwrap().1);
    render(&mut engine, 60_000, &job);
    assert!(engine.video(120_000, video).unwrap().1);
}
