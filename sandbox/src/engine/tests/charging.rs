//! Tests of charges, refunds and duplicates.

use super::*;

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
fn a_second_render_is_charged_and_listed_as_a_duplicate() {
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
fn failed_and_rejected_jobs_have_a_reason_and_are_refunded() {
    for (template, status) in [(5, "failed"), (6, "rejected")] {
        let mut engine = engine();
        let job = make(&mut engine, 0, JOBS, template);
        let ended = get(&mut engine, 60_000, &job);
        assert_eq!(ended["status"], status);
        assert!(ended["failed_reason"].as_str().unwrap().len() > 20);
        assert_eq!(ended["credits_used"], 0);
        assert_eq!(ended["video_output"], Value::Null);
        assert!(ended["progress"].as_f64().unwrap() < 1.0);
        assert!((remaining(&mut engine, 60_000) - 500.0).abs() < 1e-9);
    }
}

#[test]
fn the_balance_falls_when_the_job_starts_to_run() {
    let mut engine = engine();
    let job = make(&mut engine, 0, JOBS, 2);
    let debited: Vec<bool> = (0..5_000)
        .step_by(50)
        .map(|now| {
            let runs = get(&mut engine, now, &job)["status"] == "running";
            let wanted = if runs { 495.0 } else { 500.0 };
            assert!((remaining(&mut engine, now) - wanted).abs() < 1e-9);
            runs
        })
        .collect();
    assert!(debited.is_sorted() && !debited[0] && debited[99]);
}

#[test]
fn simultaneous_calls_never_take_the_balance_below_zero() {
    let mut engine = with_credits(12.0);
    let statuses: Vec<u16> = (0..10).map(|_| send(&mut engine, 0, Request::post(JOBS).json(&body(0))).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 2);
    let reply = send(&mut engine, 0, Request::post(JOBS).json(&body(0)));
    assert_eq!((reply.status, reply.json()), (400, json!(["Insufficient credits: this call needs 5, and 2 are left."])));
    assert!((remaining(&mut engine, 90_000) - 2.0).abs() < 1e-9);
    assert_eq!(engine.jobs().len(), 2);
}

#[test]
fn an_idempotency_key_is_honoured_only_by_flag_or_relay() {
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
