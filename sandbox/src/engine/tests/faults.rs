//! Tests of fault rules about answers and jobs.

use super::*;

#[test]
fn a_stuck_blocking_preview_is_charged_and_gets_no_reply() {
    let mut engine = engine();
    set(&mut engine, &json!([{"on": "preview", "kind": "stuck"}]));
    let reply = send(&mut engine, 5_000, Request::post(PREVIEW).json(&body(0)));
    assert_eq!((reply.ready_at, engine.ledger().charges().len()), (u64::MAX, 1));
    set(&mut engine, &json!([]));
    let seen = get(&mut engine, 900_000, &reply.json());
    assert_eq!(seen["status"], "running");
    assert!(seen["progress"].as_f64().unwrap() < 1.0);
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
fn job_faults_set_the_statuses_of_a_job() {
    let mut engine = engine();
    let mut job_with = |rule: Value| {
        set(&mut engine, &json!([rule]));
        let job = make(&mut engine, 0, JOBS, 0);
        set(&mut engine, &json!([]));
        let mut seen: Vec<String> = Vec::new();
        for now in (0..60_000).step_by(100) {
            let status = get(&mut engine, now, &job)["status"].as_str().unwrap().to_owned();
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
fn a_fault_on_get_ends_a_running_job() {
    let mut engine = engine();
    let job = make(&mut engine, 0, JOBS, 2);
    get(&mut engine, 6_000, &job);
    set(&mut engine, &json!([{"on": "get", "kind": "fail_job", "reason": "Out of disk", "times": 1}]));
    let failed = get(&mut engine, 6_100, &job);
    assert_eq!((failed["status"].as_str(), failed["failed_reason"].as_str()), (Some("failed"), Some("Out of disk")));
    assert_eq!(get(&mut engine, 90_000, &job)["status"], "failed");
    assert!((remaining(&mut engine, 90_000) - 500.0).abs() < 1e-9);
}
