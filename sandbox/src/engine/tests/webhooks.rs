//! Tests of webhooks and the fault rules about them.

use super::*;

#[test]
fn each_status_change_sends_a_webhook_in_the_shape_of_its_step() {
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

/// Creates a preview under these fault rules. Returns the time and status of each webhook, and the faults in the log.
fn webhooks_with(rules: &Value, steps: &[u64]) -> (Vec<(u64, String)>, Vec<Value>) {
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
fn a_lost_webhook_is_logged_but_not_sent() {
    let (seen, log) =
        webhooks_with(&json!([{"on": "preview_async", "kind": "webhook_lost", "after": 1, "times": 1}]), &[60_000]);
    assert_eq!(statuses(&seen), ["in_queue", "done"]);
    assert_eq!(log, [json!(["in_queue", []]), json!(["running", ["webhook_lost"]]), json!(["done", []])]);
}

#[test]
fn a_duplicated_webhook_is_sent_twice_and_logged_once() {
    let (seen, log) = webhooks_with(&json!([{"on": "*", "kind": "webhook_duplicated", "value": "done"}]), &[60_000]);
    assert_eq!(statuses(&seen), ["in_queue", "running", "done", "done"]);
    assert_eq!(log.len(), 3);
}

#[test]
fn a_reordered_webhook_is_sent_after_the_next_one_or_after_its_delay() {
    let rule = |value: &str| json!([{"on": "*", "kind": "webhook_reordered", "value": value, "ms": 1_000}]);
    let (seen, _) = webhooks_with(&rule("in_queue"), &[60_000]);
    assert_eq!(statuses(&seen), ["running", "in_queue", "done"]);
    let (seen, _) = webhooks_with(&rule("running"), &[60_000]);
    assert_eq!(statuses(&seen), ["in_queue", "running", "done"], "the next webhook came more than a second later");
    let steps: Vec<u64> = (0..20_000).collect();
    let (plain, _) = webhooks_with(&json!([]), &steps);
    let (seen, _) = webhooks_with(&rule("done"), &steps);
    assert_eq!(statuses(&seen), ["in_queue", "running", "done"]);
    assert_eq!(seen[2].0, plain[2].0 + 1_000);
    let (seen, _) = webhooks_with(&json!([{"on": "*", "kind": "webhook_reordered", "ms": 60_000}]), &[10_000, 90_000]);
    assert_eq!(statuses(&seen), ["running", "in_queue", "done"]);
}

#[test]
fn an_early_webhook_is_sent_before_its_status_change() {
    let steps: Vec<u64> = (1..20_000).collect();
    let (plain, _) = webhooks_with(&json!([]), &steps);
    let (seen, log) = webhooks_with(&json!([{"on": "*", "kind": "webhook_early", "ms": 200, "value": "done"}]), &steps);
    assert_eq!(statuses(&seen), ["in_queue", "running", "done"]);
    assert_eq!(seen[2].0, plain[2].0 - 200);
    assert_eq!(log[2], json!(["done", ["webhook_early"]]));
    let (seen, _) = webhooks_with(&json!([{"on": "*", "kind": "webhook_early"}]), &steps);
    assert_eq!(seen.iter().map(|(now, _)| *now).collect::<Vec<_>>(), [0, 0, 0], "before the reply of the call");
}

#[test]
fn a_job_that_ends_differently_from_its_early_webhook_sends_another() {
    let mut engine = engine();
    set(&mut engine, &json!([{"on": "*", "kind": "webhook_early", "value": "done"}]));
    let mut request = body(2);
    request["webhook_url"] = json!("http://127.0.0.1:9/hook");
    let job = send(&mut engine, 0, Request::post(JOBS).json(&request)).json();
    set(&mut engine, &json!([{"on": "get", "kind": "fail_job"}]));
    get(&mut engine, 4_000, &job);
    engine.handle(60_000, Command::Tick);
    let sent: Vec<_> = engine.webhook_log().iter().map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(sent, ["done", "in_queue", "running", "failed"]);
}
