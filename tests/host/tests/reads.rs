//! Tests of reads: validation, retries, and errors.

use std::cell::Cell;
use std::rc::Rc;

use custom_template_jobs::api::Step;
use custom_template_jobs::client::{ChargeOptions, Config, PollOptions};
use custom_template_jobs::error::ErrorKind;
use custom_template_jobs::host::{Answer, Body, Unusable};
use serde_json::Value;
use test_host::fixtures::*;
use test_host::{Event, Given, Reply, World, answer, busy, cut, failed, json, text};

#[test]
fn an_invalid_request_is_refused_before_it_is_sent() {
    let long = "x".repeat(256);
    let with = |key: &str, value: &str| {
        let mut request = json(&request());
        request[key] = json(value);
        request.to_string()
    };
    for (bad, expected) in [
        ("null".into(), "request"),
        ("[]".into(), "request"),
        ("no JSON".into(), "request"),
        (with("template_id", r#""x""#), "template_id"),
        (with("template_id", "null"), "template_id"),
        (with("variables", "[]"), "variables"),
        (with("variables", "null"), "variables"),
        (with("variables", r#"{"title":"hi"}"#), "variables.title"),
        (with("variables", r#"{"title":null}"#), "variables.title"),
        (with("variables", r#"{"title":["text"]}"#), "variables.title"),
        (with("variables", r#"{"title":{}}"#), "variables.title"),
        (with("variables", r#"{"title":{"type":"text"}}"#), "variables.title"),
        (with("variables", r#"{"title":{"type":"","properties":{}}}"#), "variables.title"),
        (with("variables", r#"{"title":{"type":"text","properties":"hi"}}"#), "variables.title"),
        (with("variables", r#"{"title":{"properties":{"content":"hi"}}}"#), "variables.title"),
        (with("name", &format!("\"{long}\"")), "name"),
        (with("name", "1"), "name"),
        (with("webhook_url", r#""ftp://x""#), "webhook_url"),
        (with("webhook_url", r#""https://""#), "webhook_url"),
        (with("webhook_url", &format!("\"https://{long}\"")), "webhook_url"),
        (with("model_version", r#""aurora""#), "model_version"),
        (with("is_hidden", r#""yes""#), "is_hidden"),
    ] {
        let (client, world) = client_of(|_| panic!("sent"));
        let failure = world.run(client.submit(&bad, named("op"))).expect_err(expected);
        assert_eq!((field(&failure), failure.operation()), (Some(expected), Some("op")), "{bad}");
        assert!(failure.message().starts_with(expected), "the message names the field");
        assert!(world.journal().is_empty());
    }
    let (client, world) = client_of(|_| panic!("sent"));
    for bad in ["", "x", "../templates", "11111111-2222-4333-8444-55555555555g"] {
        let failure = world.run(client.get(bad, None)).expect_err(bad);
        assert_eq!(field(&failure), Some("id"));
        let failure = world.run(client.render(bad, None, named("op"))).expect_err(bad);
        assert_eq!(field(&failure), Some("id"));
        let failure = world.run(client.poll(bad, None, PollOptions::default(), None)).expect_err(bad);
        assert_eq!(field(&failure), Some("id"));
    }
    for bad in [String::new(), "x".repeat(256)] {
        let failure = world.run(client.submit(&request(), named(&bad))).expect_err("no operation id");
        assert_eq!(field(&failure), Some("operation"));
    }
    for timeout in [-1.0, f64::NAN, f64::NEG_INFINITY] {
        let failure = world.run(client.get(OTHER, Some(timeout))).expect_err("no time");
        assert_eq!(field(&failure), Some("timeout"));
        let options = ChargeOptions { timeout: Some(timeout), ..named("op") };
        let failure = world.run(client.submit(&request(), options)).expect_err("no time");
        assert_eq!(field(&failure), Some("timeout"));
        let options = PollOptions { timeout: Some(timeout), ..video() };
        let failure = world.run(client.poll(OTHER, None, options, None)).expect_err("no time");
        assert_eq!(field(&failure), Some("timeout"));
    }
    for ms in [0.0, -1.0, f64::NAN] {
        let (expected_ms, max_interval) = (Some(ms), Some(ms));
        let failure = world.run(client.poll(OTHER, None, PollOptions { expected_ms, ..video() }, None));
        assert_eq!(field(&failure.expect_err("no time")), Some("expectedMs"));
        let failure = world.run(client.poll(OTHER, None, PollOptions { max_interval, ..video() }, None));
        assert_eq!(field(&failure.expect_err("no time")), Some("maxInterval"));
    }
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = ChargeOptions { seconds: Some(seconds), ..named("op") };
        let failure = world.run(client.submit(&request(), options)).expect_err("no length");
        assert_eq!(field(&failure), Some("seconds"));
        let failure = client.estimate(Step::Submit, seconds, "standard").expect_err("no length");
        assert_eq!(field(&failure), Some("seconds"));
    }
}

#[test]
fn a_name_of_255_characters_passes_whatever_its_bytes() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    let name = "é".repeat(255);
    world.run(client.submit(&request_with(&format!(r#","name":"{name}""#)), named("op"))).expect("sent");
}

#[test]
fn an_undocumented_member_is_sent_unchanged() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    let request = request_with(r#","new_option":{"a":[1,null,"ü"]}"#);
    world.run(client.submit(&request, named("op"))).expect("sent");
    assert_eq!(world.network().log()[0].body.as_deref(), Some(request.as_str()));
}

#[test]
fn every_error_has_a_kind_and_a_readable_message() {
    for (status, body, kind, words) in [
        (401, r#"{"detail":"Authentication credentials were not provided."}"#, "authentication", "not provided"),
        (403, r#"{"detail":"You do not have permission."}"#, "authentication", "permission"),
        (402, "{}", "insufficient_credits", "credits"),
        (400, r#"["Insufficient credits."]"#, "insufficient_credits", "Insufficient"),
        (403, r#"{"detail":"Not enough credits"}"#, "insufficient_credits", "Not enough"),
        (404, r#"{"detail":"No CustomTemplateJob matches the given query."}"#, "not_found", "matches"),
        (429, r#"{"detail":"Request was throttled."}"#, "rate_limited", "throttled"),
        (400, r#"{"variables":["This field is required."]}"#, "invalid", "variables: This field is required."),
        (400, r#"{"variables":{"title":["Bad."]}}"#, "invalid", "variables.title: Bad."),
        (400, r#"["Link must have at least one image."]"#, "invalid", "Link must have"),
        (400, r#""plain words""#, "invalid", "plain words"),
        (413, "null", "invalid", "too large"),
        (500, "{}", "server", "500"),
        (503, "[]", "server", "503"),
        (302, "null", "unexpected", "redirect"),
        (0, "null", "unexpected", "redirect"),
        (200, "[]", "unexpected", "not the job"),
    ] {
        let (client, world) = client_with(vec![(1.0, answer(status, body))]);
        let failure = world.run(client.get(ID, None)).expect_err(words);
        assert_eq!(api_kind(&failure).map(custom_template_jobs::error::ApiKind::as_str), Some(kind), "{status} {body}");
        assert_eq!((failure.status(), failure.job_id()), (Some(status), Some(ID)));
        assert!(failure.message().contains(words), "{}", failure.message());
        assert!(!failure.message().contains("  "), "{}", failure.message());
        assert!(failure.body().is_some(), "{status}");
    }
    let (client, world) = client_with(vec![(1.0, answer(400, r#"["Custom template not found"]"#))]);
    let failure = world.run(client.get(ID, None)).expect_err("refused");
    assert_eq!(failure.message(), "400 Custom template not found. Correct the request.");
    let (client, world) = client_with(vec![(1.0, text(502, "\n<html>Bad gateway"))]);
    let failure = world.run(client.get(ID, None)).expect_err("html");
    assert!(failure.message().contains("HTML page"), "{}", failure.message());
    assert_eq!(failure.text(), Some("\n<html>Bad gateway"));
    let (client, world) = client_with(vec![(1.0, cut(200, &"ü".repeat(1_000)))]);
    let failure = world.run(client.get(ID, None)).expect_err("cut off");
    assert_eq!(failure.text().map(|text| text.chars().count()), Some(500));
}

#[test]
fn only_reads_that_may_succeed_later_are_retried() {
    for (first, requests) in [
        (answer(503, "{}"), 2),
        (answer(429, "{}"), 2),
        (failed("ECONNRESET"), 2),
        (failed("ECONNREFUSED"), 2),
        (text(200, "<html>"), 2),
        (cut(200, "{"), 2),
        (answer(200, &job("done", "").replace(ID, OTHER)), 2),
        (answer(400, "{}"), 1),
        (answer(401, "{}"), 1),
        (answer(404, "{}"), 1),
        (answer(302, "{}"), 1),
    ] {
        let case = format!("{first:?}");
        let (client, world) = client_with(vec![(1.0, first), (1.0, answer(200, &job("done", "")))]);
        let result = world.run(client.get(ID, None));
        assert_eq!(world.network().count(), requests, "{case}");
        assert_eq!(result.is_ok(), requests == 2, "{case}");
        let retries = world.events().iter().filter(|event| matches!(event, Event::Retry { .. })).count();
        assert_eq!(retries, requests - 1, "{case}");
    }
    let (client, world) = client_with(vec![(1.0, answer(500, "{}"))]);
    world.run(client.get(ID, None)).expect_err("500");
    assert_eq!(world.network().count(), 4, "the first attempt and three retries");
    let never = Config { max_retries: 0, ..config() };
    let client = world.process().client(never);
    world.run(client.get(ID, None)).expect_err("500");
    assert_eq!(world.network().count(), 5);
}

#[test]
fn an_unanswered_read_rejects_at_its_timeout_and_reports_whether_it_was_sent() {
    let (client, world) = client_of(|_| (f64::INFINITY, failed("")));
    let failure = world.run(client.get(ID, Some(1_000.0))).expect_err("silence");
    assert_eq!(*failure.kind(), ErrorKind::Connection { sent: true });
    assert_eq!(world.network().count(), 4);
    assert!((4_000.0..8_000.0).contains(&world.now()), "{}", world.now());
    world.executor().settle();
    assert_idle(&client);

    let (client, world) = client_of(|_| panic!("sent"));
    client.host().on_headers(|| Given::after(f64::INFINITY, Ok(())));
    let failure = world.run(client.templates(Some(1_000.0))).expect_err("no headers");
    assert!(is_unsent(&failure), "{failure:?}");

    let (client, world) = client_of(|_| panic!("sent"));
    client.host().on_headers(|| Given::now(Err(Unusable { field: "apiKey", advice: "is no text", cause: None })));
    let failure = world.run(client.remaining_credits(None)).expect_err("no headers");
    assert_eq!((field(&failure), world.now()), (Some("apiKey"), 0.0));
}

#[test]
fn a_dropped_read_stops_at_once() {
    let (client, world) = client_of(|_| (1_000.0, answer(503, "{}")));
    assert!(world.run_for(1_500.0, client.get(ID, None)).is_none());
    let requests = world.network().count();
    world.finish();
    assert_eq!(world.network().count(), requests);
    assert_idle(&client);
}

#[test]
fn a_retry_waits_for_retry_after() {
    let (client, world) = client_with(vec![(0.0, busy(429, 7_000.0)), (0.0, answer(200, &job("done", "")))]);
    world.run(client.get(ID, None)).expect("then it answers");
    let times = world.network().times();
    assert!(times.get(1).is_some_and(|at| (7_000.0..7_600.0).contains(at)), "{times:?}");
}

#[test]
fn retry_after_is_clamped_to_1_to_60_seconds() {
    for (asked, expected) in
        [(0.0, 1_000.0), (-5.0, 1_000.0), (7_000.0, 7_000.0), (1e12, 60_000.0), (f64::INFINITY, 60_000.0)]
    {
        let (client, world) = client_with(vec![(1.0, busy(429, asked))]);
        let failure = world.run(client.submit(&request(), named("op"))).expect_err("refused");
        assert!(
            matches!(failure.kind(), ErrorKind::Api { retry_after_ms: Some(ms), .. } if *ms == expected),
            "{asked}: {failure:?}"
        );
    }
}

#[test]
fn templates_return_a_list_even_from_a_page_of_results() {
    for body in ["[{}]", r#"{"results":[{}],"next":null}"#] {
        let (client, world) = client_with(vec![(1.0, answer(200, body))]);
        assert_eq!(world.run(client.templates(None)).expect("a list"), json("[{}]"));
    }
    let (client, world) = client_with(vec![(1.0, text(200, "<html>")), (1.0, answer(200, "[]"))]);
    assert_eq!(world.run(client.templates(None)).expect("retried after an HTML page"), json("[]"));
    let (client, world) = client_with(vec![(1.0, answer(200, r#"{"oops":1}"#))]);
    let failure = world.run(client.templates(None)).expect_err("no list");
    assert_eq!(api_kind(&failure).map(custom_template_jobs::error::ApiKind::as_str), Some("unexpected"));
}

#[test]
fn remaining_credits_return_a_number() {
    for (body, credits) in [
        (r#"{"remaining_credits":12.5}"#, 12.5),
        (r#"{"remaining_credits":"12.50"}"#, 12.5),
        (r#"{"remaining_credits":0}"#, 0.0),
    ] {
        let (client, world) = client_with(vec![(1.0, answer(200, body))]);
        assert_eq!(world.run(client.remaining_credits(None)).expect("a number"), credits);
    }
    for body in ["{}", "[]", r#"{"remaining_credits":"many"}"#, r#"{"remaining_credits":null}"#] {
        let (client, world) = client_with(vec![(1.0, answer(200, body))]);
        world.run(client.remaining_credits(None)).expect_err(body);
    }
}

#[test]
fn many_reads_in_an_outage_are_not_all_retried() {
    let outage = Rc::new(Cell::new(true));
    let over = Rc::clone(&outage);
    let (client, world) =
        client_of(move |_| (1.0, if outage.get() { answer(503, "{}") } else { answer(200, &job("done", "")) }));
    for _ in 0..50 {
        let client = client.clone();
        world.spawn(async move {
            client.get(ID, None).await.expect_err("down");
        });
    }
    world.finish();
    assert!(world.network().count() <= 60, "{} requests for 50 reads", world.network().count());
    over.set(false);
    for _ in 0..20 {
        world.run(client.get(ID, None)).expect("up again");
    }
    over.set(true);
    let before = world.network().count();
    world.run(client.get(ID, None)).expect_err("down");
    assert_eq!(world.network().count() - before, 4, "answered reads restore the retry budget");
}

#[test]
fn no_event_contains_a_variable() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", ""))), (1.0, answer(200, &rendered()))]);
    let request = request().replace("\"text\"", "\"a secret\"");
    world.run(client.submit(&request, named("op"))).expect("sent");
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    assert!(!format!("{:?} {:?}", world.events(), world.journal()).contains("a secret"));
}

/// For each answer: status, duration in milliseconds, and attempt.
fn responses(world: &World) -> Vec<(u16, f64, u32)> {
    let response = |event| match event {
        Event::Response { status, ms, attempt, .. } => Some((status, ms, attempt)),
        _ => None,
    };
    world.events().into_iter().filter_map(response).collect()
}

#[test]
fn each_answer_emits_an_event_with_its_time_and_attempt() {
    let (client, world) =
        client_with(vec![(3.0, answer(503, "{}")), (4.0, failed("ECONNRESET")), (5.0, answer(200, &job("running", "")))]);
    world.run(client.get(ID, None)).expect("the job");
    assert_eq!(responses(&world), [(503, 3.0, 1), (200, 5.0, 3)]);
    let requests = world.events().iter().filter(|event| matches!(event, Event::Request { .. })).count();
    assert_eq!(requests, 3);
}

#[test]
fn a_poll_counts_its_attempts_since_the_last_answer() {
    let (client, world) = client_with(vec![
        (1.0, answer(502, "{}")),
        (1.0, answer(502, "{}")),
        (1.0, answer(200, &job("running", ""))),
        (1.0, answer(200, &rendered())),
    ]);
    world.run(client.poll(ID, None, video(), None)).expect("the video");
    assert_eq!(responses(&world), [(502, 1.0, 1), (502, 1.0, 2), (200, 1.0, 3), (200, 1.0, 1)]);
}

#[test]
fn a_charge_retried_after_a_proven_unsent_attempt_counts_its_attempts() {
    let (client, world) = client_with(vec![
        (1.0, failed("ECONNREFUSED")),
        (1.0, Reply::Answer(Answer { request_id: Some("r-7".into()), ..accepted() })),
    ]);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    assert_eq!(responses(&world), [(201, 1.0, 2)]);
    let named =
        |event: &Event| matches!(event, Event::Response { request_id: Some(id), operation: Some(_), .. } if id == "r-7");
    assert!(world.events().iter().any(named));
}

fn accepted() -> Answer<Value> {
    Answer { status: 201, retry_after_ms: None, request_id: None, body: Body::Json(json(&job("pending", ""))) }
}
