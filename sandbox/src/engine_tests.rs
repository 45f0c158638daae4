use super::*;
use crate::faults;
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

fn look(engine: &mut Engine, now: u64, job: &Value) -> Value {
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
    let rules = faults::parse(rules).unwrap();
    engine.handle(0, Command::SetFaults(rules));
}

#[test]
fn a_job_passes_through_every_status_with_progress_and_times_that_move() {
    let mut engine = engine();
    let job = make(&mut engine, 1_000, JOBS, 2);
    assert_eq!(job["status"], "pending");
    assert_eq!(job["credits_used"], 0);
    assert_eq!(job["created_at"], job["updated_at"]);
    let mut statuses = Vec::new();
    let mut progress = -1.0;
    let mut updated = String::new();
    for now in (1_000..40_000).step_by(50) {
        let seen = look(&mut engine, now, &job);
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
    let done = look(&mut engine, 40_000, &job);
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
fn what_is_sent_is_echoed() {
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
fn the_blocking_preview_answers_the_finished_job_when_it_is_finished() {
    let mut engine = engine();
    let reply = send(&mut engine, 5_000, Request::post(PREVIEW).json(&body(0)));
    assert_eq!(reply.status, 200);
    assert!(reply.ready_at > 7_000 && reply.ready_at < 12_000, "{}", reply.ready_at);
    let job = reply.json();
    assert_eq!(job["status"], "done");
    assert!(job["preview"].is_string());
    assert_eq!(look(&mut engine, 5_001, &job)["status"], "pending");
    assert_eq!(look(&mut engine, reply.ready_at, &job), job);
}

#[test]
fn a_stuck_blocking_preview_is_charged_and_never_answers() {
    let mut engine = engine();
    set(&mut engine, &json!([{"on": "preview", "kind": "stuck"}]));
    let reply = send(&mut engine, 5_000, Request::post(PREVIEW).json(&body(0)));
    assert_eq!((reply.ready_at, engine.ledger().charges().len()), (u64::MAX, 1));
    set(&mut engine, &json!([]));
    let seen = look(&mut engine, 900_000, &reply.json());
    assert_eq!(seen["status"], "running");
    assert!(seen["progress"].as_f64().unwrap() < 1.0);
}

#[test]
fn a_preview_is_rendered_as_the_same_job_and_keeps_its_preview() {
    let mut engine = engine();
    let job = make(&mut engine, 0, PREVIEW_ASYNC, 2);
    let ready = look(&mut engine, 60_000, &job);
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
    let done = look(&mut engine, 120_000, &job);
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
fn render_refuses_a_job_without_a_finished_preview_and_charges_nothing() {
    let mut engine = engine();
    let early = make(&mut engine, 0, PREVIEW_ASYNC, 0);
    let submitted = make(&mut engine, 0, JOBS, 0);
    let failed = make(&mut engine, 0, PREVIEW_ASYNC, 5);
    let charges = engine.ledger().charges().len();
    let cases = [
        (1, &early, "The preview is not ready. Wait until the job is done before rendering."),
        (90_000, &submitted, "This job was not made as a preview. Generate a preview before rendering."),
        (90_000, &failed, "The preview of this job failed. Generate a new preview before rendering."),
    ];
    for (now, job, words) in cases {
        let reply = render(&mut engine, now, job);
        assert_eq!((reply.status, reply.json()), (400, json!([words])));
    }
    assert_eq!(engine.ledger().charges().len(), charges);
}

#[test]
fn a_second_render_is_charged_and_called_a_duplicate() {
    let mut engine = engine();
    let job = make(&mut engine, 0, PREVIEW_ASYNC, 0);
    assert_eq!(render(&mut engine, 60_000, &job).status, 200);
    assert!(engine.ledger().duplicates().is_empty());
    assert_eq!(render(&mut engine, 60_001, &job).status, 200);
    let ledger = engine.ledger().body();
    assert_eq!(ledger["duplicates"][0]["reason"], "same_step");
    assert_eq!(ledger["duplicates"][0]["excess_credits"], 4);
    assert!((remaining(&mut engine, 120_000) - 491.0).abs() < 1e-9);
}

#[test]
fn templates_that_fail_and_are_rejected_say_why_and_give_the_credits_back() {
    for (template, status) in [(5, "failed"), (6, "rejected")] {
        let mut engine = engine();
        let job = make(&mut engine, 0, JOBS, template);
        let ended = look(&mut engine, 60_000, &job);
        assert_eq!(ended["status"], status);
        assert!(ended["failed_reason"].as_str().unwrap().len() > 20);
        assert_eq!(ended["credits_used"], 0);
        assert_eq!(ended["video_output"], Value::Null);
        assert!(ended["progress"].as_f64().unwrap() < 1.0);
        assert!((remaining(&mut engine, 60_000) - 500.0).abs() < 1e-9);
    }
}

#[test]
fn the_balance_falls_when_the_job_runs_and_not_before() {
    let mut engine = engine();
    let job = make(&mut engine, 0, JOBS, 2);
    let debited: Vec<bool> = (0..5_000)
        .step_by(50)
        .map(|now| {
            let runs = look(&mut engine, now, &job)["status"] == "running";
            let wanted = if runs { 495.0 } else { 500.0 };
            assert!((remaining(&mut engine, now) - wanted).abs() < 1e-9);
            runs
        })
        .collect();
    assert!(debited.is_sorted() && !debited[0] && debited[99]);
}

#[test]
fn credits_never_go_below_zero_however_many_calls_come_at_once() {
    let mut engine = with_credits(12.0);
    let statuses: Vec<u16> = (0..10).map(|_| send(&mut engine, 0, Request::post(JOBS).json(&body(0))).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 2);
    let reply = send(&mut engine, 0, Request::post(JOBS).json(&body(0)));
    assert_eq!((reply.status, reply.json()), (400, json!(["Insufficient credits: this call needs 5, and 2 are left."])));
    assert!((remaining(&mut engine, 90_000) - 2.0).abs() < 1e-9);
    assert_eq!(engine.jobs().len(), 2);
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
fn what_does_not_exist_is_said_as_the_framework_says_it() {
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
fn bodies_that_are_no_json_or_too_large_are_refused() {
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
fn the_same_seed_and_the_same_commands_give_the_same_answers() {
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
fn reading_changes_nothing_that_another_reader_sees() {
    let mut quiet = engine();
    let mut busy = engine();
    let a = make(&mut quiet, 0, JOBS, 2);
    let b = make(&mut busy, 0, JOBS, 2);
    for now in 0..5_000 {
        look(&mut busy, now, &b);
    }
    assert_eq!(look(&mut quiet, 5_000, &a), look(&mut busy, 5_000, &b));
}

#[test]
fn the_virtual_clock_jumps_everything() {
    let mut engine = engine();
    let job = make(&mut engine, 1_000, JOBS, 4);
    assert_eq!(look(&mut engine, 1_000, &job)["status"], "pending");
    engine.handle(1_000, Command::Advance { ms: 90_000 });
    assert_eq!(look(&mut engine, 1_000, &job)["status"], "done");
    assert_eq!(engine.time(1_000), 91_000);
}

#[test]
fn a_reset_forgets_all_but_the_flags() {
    let mut engine = engine();
    let job = make(&mut engine, 1_000, JOBS, 0);
    set(&mut engine, &json!([{"on": "*", "kind": "html"}]));
    engine.handle(2_000, Command::Reset { seed: Some(3), credits: Some(7.0) });
    assert_eq!(send(&mut engine, 2_000, Request::get(&url_of(&job))).status, 404);
    assert!((remaining(&mut engine, 2_000) - 7.0).abs() < 1e-9);
    assert_eq!(engine.ledger().charges().len(), 0);
}

#[test]
fn the_editor_url_is_there_with_access_and_expires_in_a_day() {
    let mut engine = Engine::new(Config { editor_access: true, ..Config::default() });
    let job = make(&mut engine, 1_000_000, PREVIEW_ASYNC, 0);
    assert_eq!(job["editor_url"], Value::Null);
    let done = look(&mut engine, 1_060_000, &job);
    let url = done["editor_url"].as_str().unwrap();
    let expires: u64 = url.rsplit_once("?expires=").unwrap().1.parse().unwrap();
    assert!((1_000 + 86_400..=1_060 + 86_400).contains(&expires), "{expires}");
}

#[test]
fn a_repeated_idempotency_key_is_dropped_as_upstream_does_and_honoured_by_flag_or_relay() {
    let keyed = || Request::post(JOBS).json(&body(0)).idempotency_key("op-1");
    let mut upstream = engine();
    assert_ne!(send(&mut upstream, 0, keyed()).json()["id"], send(&mut upstream, 1, keyed()).json()["id"]);
    assert_eq!(upstream.ledger().duplicates().len(), 1);

    let mut flagged = Engine::new(Config { honour_idempotency_key: true, ..Config::default() });
    let first = send(&mut flagged, 0, keyed());
    let again = send(&mut flagged, 9_000, keyed());
    assert_eq!(first.json(), again.json());
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(flagged.ledger().charges().len(), 1);
    let other = Request::post(JOBS).json(&body(1)).idempotency_key("op-1");
    assert_eq!(send(&mut flagged, 9_000, other).status, 422);

    let mut relay = engine();
    let relayed = || {
        let mut request = keyed();
        request.relayed = true;
        Command::Request(request)
    };
    relay.handle(0, relayed());
    relay.handle(1, relayed());
    assert_eq!(relay.ledger().charges().len(), 1);
}

#[test]
fn faults_before_commit_charge_nothing_and_faults_after_commit_charge_once() {
    for (rule, charged) in [
        (json!({"kind": "drop_before_commit"}), 0),
        (json!({"kind": "status_before_commit", "status": 500}), 0),
        (json!({"kind": "html"}), 0),
        (json!({"kind": "redirect"}), 0),
        (json!({"kind": "drop_after_commit", "reset": true}), 1),
        (json!({"kind": "status_after_commit"}), 1),
        (json!({"kind": "stall"}), 1),
        (json!({"kind": "truncate", "bytes": 20}), 1),
        (json!({"kind": "delay", "ms": 700}), 1),
        (json!({"kind": "drip", "ms": 20}), 1),
        (json!({"kind": "html", "commit": true}), 1),
    ] {
        let mut engine = engine();
        let mut rule = rule;
        rule["on"] = json!("submit");
        set(&mut engine, &json!([rule]));
        let reply = send(&mut engine, 10, Request::post(JOBS).json(&body(0)));
        assert_eq!(engine.ledger().charges().len(), charged, "{rule}");
        match rule["kind"].as_str().unwrap() {
            "drop_before_commit" => assert_eq!(reply.wire, Wire::Drop { reset: false }),
            "drop_after_commit" => assert_eq!(reply.wire, Wire::Drop { reset: true }),
            "status_before_commit" => assert_eq!(reply.status, 500),
            "status_after_commit" => assert_eq!(reply.status, 502),
            "redirect" => assert_eq!((reply.status, reply.header("location")), (302, Some("https://example.com/"))),
            "html" => assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/html; charset=utf-8"))),
            "drip" => assert_eq!(reply.wire, Wire::Drip { bytes: 1, ms: 20 }),
            "stall" => assert_eq!(reply.wire, Wire::Stall { bytes: 0 }),
            "truncate" => assert_eq!(reply.wire, Wire::Truncate { bytes: 20, reset: false }),
            _ => assert_eq!(reply.ready_at, 710),
        }
    }
}

#[test]
fn faults_of_jobs_shape_how_they_end() {
    let mut engine = engine();
    let mut job_with = |rule: Value| {
        set(&mut engine, &json!([rule]));
        let job = make(&mut engine, 0, JOBS, 0);
        set(&mut engine, &json!([]));
        let mut seen: Vec<String> = Vec::new();
        for now in (0..60_000).step_by(100) {
            let status = look(&mut engine, now, &job)["status"].as_str().unwrap().to_owned();
            if seen.last() != Some(&status) {
                seen.push(status);
            }
        }
        engine.handle(0, Command::Reset { seed: None, credits: None });
        seen
    };
    assert_eq!(job_with(json!({"on": "submit", "kind": "stuck"})), ["pending", "in_queue", "running"]);
    assert_eq!(
        job_with(json!({"on": "submit", "kind": "unknown_status", "value": "paused"})),
        ["pending", "in_queue", "paused", "done"]
    );
    assert_eq!(
        job_with(json!({"on": "*", "kind": "fail_job", "reason": "No"})),
        ["pending", "in_queue", "running", "failed"]
    );
    assert_eq!(job_with(json!({"on": "submit", "kind": "reject_job"})), ["pending", "in_queue", "rejected"]);
}

#[test]
fn a_job_can_be_spoiled_by_a_look_at_it() {
    let mut engine = engine();
    let job = make(&mut engine, 0, JOBS, 2);
    look(&mut engine, 6_000, &job);
    set(&mut engine, &json!([{"on": "get", "kind": "fail_job", "reason": "Out of disk", "times": 1}]));
    let failed = look(&mut engine, 6_100, &job);
    assert_eq!((failed["status"].as_str(), failed["failed_reason"].as_str()), (Some("failed"), Some("Out of disk")));
    assert_eq!(look(&mut engine, 90_000, &job)["status"], "failed");
    assert!((remaining(&mut engine, 90_000) - 500.0).abs() < 1e-9);
}

#[test]
fn a_webhook_is_sent_for_each_change_of_status_in_both_shapes() {
    let mut engine = engine();
    let mut request = body(0);
    request["webhook_url"] = json!("http://127.0.0.1:9/hook");
    let job = send(&mut engine, 0, Request::post(PREVIEW_ASYNC).json(&request)).json();
    let hooks = |effects: Vec<Effect>| -> Vec<Value> {
        effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Webhook { body, .. } => Some(body),
                Effect::PrepareVideo { .. } => None,
            })
            .collect()
    };
    let first = hooks(engine.handle(60_000, Command::Tick).1);
    let statuses: Vec<_> = first.iter().map(|hook| hook["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["in_queue", "running", "done"]);
    assert!(first[2].get("video_output").is_some());
    render(&mut engine, 60_000, &job);
    let second = hooks(engine.handle(120_000, Command::Tick).1);
    let last = second.last().unwrap();
    assert_eq!(last["id"], job["id"]);
    assert!(last["output"].as_str().unwrap().contains("/media/"));
    assert!(engine.next_due().is_none());
}

/// The statuses of the webhooks that a preview sends under these rules, each with when it goes; then the log's faults.
fn webhooks_under(rules: &Value, steps: &[u64]) -> (Vec<(u64, String)>, Vec<Value>) {
    let mut engine = engine();
    set(&mut engine, rules);
    let mut request = body(0);
    request["webhook_url"] = json!("http://127.0.0.1:9/hook");
    let post = Request::post(PREVIEW_ASYNC).keys("sandbox", "sandbox").json(&request);
    let mut seen = Vec::new();
    let mut note = |now: u64, effects: Vec<Effect>| {
        for effect in effects {
            if let Effect::Webhook { body, .. } = effect {
                seen.push((now, body["status"].as_str().unwrap().to_owned()));
            }
        }
    };
    note(0, engine.handle(0, Command::Request(post)).1);
    for now in steps {
        note(*now, engine.handle(*now, Command::Tick).1);
    }
    assert!(engine.next_due().is_none());
    let faults = engine.webhook_log().iter().map(|entry| json!([entry["status"], entry["faults"]])).collect();
    (seen, faults)
}

fn statuses(seen: &[(u64, String)]) -> Vec<&str> {
    seen.iter().map(|(_, status)| status.as_str()).collect()
}

#[test]
fn a_lost_webhook_is_not_sent_and_stands_in_the_log() {
    let (seen, log) =
        webhooks_under(&json!([{"on": "preview_async", "kind": "webhook_lost", "after": 1, "times": 1}]), &[60_000]);
    assert_eq!(statuses(&seen), ["in_queue", "done"]);
    assert_eq!(log, [json!(["in_queue", []]), json!(["running", ["webhook_lost"]]), json!(["done", []])]);
}

#[test]
fn a_doubled_webhook_is_sent_twice_and_stands_once_in_the_log() {
    let (seen, log) = webhooks_under(&json!([{"on": "*", "kind": "webhook_duplicated", "value": "done"}]), &[60_000]);
    assert_eq!(statuses(&seen), ["in_queue", "running", "done", "done"]);
    assert_eq!(log.len(), 3);
}

#[test]
fn a_webhook_that_is_held_back_goes_after_the_next_or_after_its_time() {
    let rule = |value: &str| json!([{"on": "*", "kind": "webhook_reordered", "value": value, "ms": 1_000}]);
    let (seen, _) = webhooks_under(&rule("in_queue"), &[60_000]);
    assert_eq!(statuses(&seen), ["running", "in_queue", "done"]);
    let (seen, _) = webhooks_under(&rule("running"), &[60_000]);
    assert_eq!(statuses(&seen), ["in_queue", "running", "done"], "the next one came after more than a second");
    let steps: Vec<u64> = (0..20_000).collect();
    let (plain, _) = webhooks_under(&json!([]), &steps);
    let (seen, _) = webhooks_under(&rule("done"), &steps);
    assert_eq!(statuses(&seen), ["in_queue", "running", "done"]);
    assert_eq!(seen[2].0, plain[2].0 + 1_000);
    let (seen, _) = webhooks_under(&json!([{"on": "*", "kind": "webhook_reordered", "ms": 60_000}]), &[10_000, 90_000]);
    assert_eq!(statuses(&seen), ["running", "in_queue", "done"]);
}

#[test]
fn an_early_webhook_goes_before_the_status_that_it_tells_of() {
    let steps: Vec<u64> = (1..20_000).collect();
    let (plain, _) = webhooks_under(&json!([]), &steps);
    let (seen, log) = webhooks_under(&json!([{"on": "*", "kind": "webhook_early", "ms": 200, "value": "done"}]), &steps);
    assert_eq!(statuses(&seen), ["in_queue", "running", "done"]);
    assert_eq!(seen[2].0, plain[2].0 - 200);
    assert_eq!(log[2], json!(["done", ["webhook_early"]]));
    let (seen, _) = webhooks_under(&json!([{"on": "*", "kind": "webhook_early"}]), &steps);
    assert_eq!(seen.iter().map(|(now, _)| *now).collect::<Vec<_>>(), [0, 0, 0], "before the answer of the call itself");
}

#[test]
fn a_job_that_ends_otherwise_than_its_early_webhook_said_is_told_of_again() {
    let mut engine = engine();
    set(&mut engine, &json!([{"on": "*", "kind": "webhook_early", "value": "done"}]));
    let mut request = body(2);
    request["webhook_url"] = json!("http://127.0.0.1:9/hook");
    let job = send(&mut engine, 0, Request::post(JOBS).json(&request)).json();
    set(&mut engine, &json!([{"on": "get", "kind": "fail_job"}]));
    look(&mut engine, 4_000, &job);
    engine.handle(60_000, Command::Tick);
    let told: Vec<_> = engine.webhook_log().iter().map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(told, ["done", "in_queue", "running", "failed"]);
}

#[test]
fn pages_and_videos_are_there_when_the_job_says_so() {
    let mut engine = engine();
    let job = make(&mut engine, 0, PREVIEW_ASYNC, 0);
    let (preview, video) = (engine.jobs()[0].preview_token, engine.jobs()[0].video_token);
    assert!(engine.preview(0, preview).is_none());
    assert!(engine.preview(60_000, preview).is_some());
    assert!(engine.preview(60_000, video).is_none(), "one secret does not open the other door");
    assert!(!engine.video(60_000, video).unwrap().1);
    render(&mut engine, 60_000, &job);
    assert!(engine.video(120_000, video).unwrap().1);
}
