mod waiting;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::api::{Goal, Status};
use crate::charge::State;
use crate::host::{Env, Request};
use crate::poll::{FLOOR, Look};
use crate::testing::{Body, Reply, Scripted, Value as Place, answer, json, lost, value};
use crate::value::place::Whole;

type Json = serde_json::Value;
type Reaction = (f64, Reply);

const ID: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "99999999-2222-4333-8444-555555555555";

fn job(status: &str, more: &str) -> String {
    format!(r#"{{"id":"{ID}","status":"{status}"{more}}}"#)
}

fn request() -> Json {
    json(r#"{"template_id":"3c90c3cc-0d44-4b50-8888-8dd25736052a","variables":{"t":{"type":"text"}}}"#)
}

fn config_of(account: &str) -> Config<Place> {
    Config::new(Place::text("https://api.test/"), Place::text_of(account))
}

fn client_of(script: impl FnMut(&Request<Place>) -> Reaction + 'static) -> (Client<Scripted>, Scripted) {
    let host = Scripted::new(script);
    (Client::new(host.clone(), config_of("me")), host)
}

/// Answers in order; the last one again and again.
fn in_order(replies: Vec<Reaction>) -> impl FnMut(&Request<Place>) -> Reaction {
    let mut replies = replies.into_iter().peekable();
    let mut last = None;
    move |_| {
        if let Some(next) = replies.next() {
            last = Some(next);
        }
        last.clone().expect("a reply")
    }
}

fn named(operation: &str) -> ChargeOptions {
    ChargeOptions { operation: Some(operation.into()), ..ChargeOptions::default() }
}

/// What a failure says under that key, where it is a text.
fn said(failure: &Failure<Json>, key: &str) -> Option<String> {
    Some(failure.get(key)).filter(Whole::is_there).and_then(|value| value.as_str().map(String::from))
}

fn name(failure: &Failure<Json>) -> String {
    said(failure, "name").expect("a name")
}

fn message(failure: &Failure<Json>) -> String {
    said(failure, "message").expect("a message")
}

fn field(failure: &Failure<Json>) -> Option<String> {
    assert_eq!(name(failure), "InvalidRequestError");
    said(failure, "field")
}

fn kind_of(failure: &Failure<Json>) -> Option<String> {
    assert_eq!(name(failure), "ApiError");
    said(failure, "kind")
}

fn is_unsent(failure: &Failure<Json>) -> bool {
    name(failure) == "ConnectionError" && failure.get("sent") == false
}

/// Nothing is left of any call: no task, no mark, and nothing that the host would still do.
fn assert_idle(client: &Client<Scripted>, host: &Scripted) {
    assert_eq!(client.0.borrow().tasks.len(), 0, "tasks");
    assert_eq!(client.0.borrow().watch, 0, "the task that watches");
    assert!(client.0.borrow().known.posting.is_empty(), "operations that are posted");
    assert!(host.is_idle(), "something is left on the agenda");
}

// ---- charges ---------------------------------------------------------------------------------------

#[test]
fn whatever_happens_to_a_charge_it_is_posted_once() {
    let html = Reply::Answered { status: 200, retry_after: None, body: Body::Text("<html>".into()) };
    let broken = Reply::Answered { status: 201, retry_after: None, body: Body::Broken(r#"{"id":"1111"#.into()) };
    let cases = [
        ("reset", lost("ECONNRESET"), "ChargeUnknownError", 1),
        ("opaque", lost(""), "ChargeUnknownError", 1),
        ("timeout", Reply::TimedOut, "ChargeUnknownError", 1),
        ("html", html, "ChargeUnknownError", 1),
        ("broken", broken, "ChargeUnknownError", 1),
        ("no id", answer(201, "{}"), "ChargeUnknownError", 1),
        ("a list", answer(201, "[]"), "ChargeUnknownError", 1),
        ("redirect", answer(302, "{}"), "ChargeUnknownError", 1),
        ("hidden redirect", answer(0, "null"), "ChargeUnknownError", 1),
        ("500", answer(500, "{}"), "ChargeUnknownError", 1),
        ("502", answer(502, "{}"), "ChargeUnknownError", 1),
        ("409", answer(409, "{}"), "ChargeUnknownError", 1),
        ("400", answer(400, r#"{"name":["Too long."]}"#), "ApiError", 0),
        ("429", answer(429, r#"{"detail":"Slow down."}"#), "ApiError", 0),
    ];
    for (case, reply, error, entries) in cases {
        let (client, host) = client_of(in_order(vec![(10.0, reply)]));
        let failure = host.run(client.submit(&request(), &named("op"))).expect_err(case);
        assert_eq!(name(&failure), error, "{case}");
        assert_eq!(said(&failure, "operation").as_deref(), Some("op"), "{case}");
        assert!(!message(&failure).contains("  "), "{}", message(&failure));
        assert_eq!(host.posts(), 1, "{case}");
        assert_eq!(host.journal().len(), entries, "{case}: only what may have been charged is kept");
    }
}

#[test]
fn an_unknown_charge_is_refused_until_it_is_settled() {
    let (client, host) = client_of(in_order(vec![(1.0, lost("")), (1.0, answer(200, &job("running", "")))]));
    host.run(client.submit(&request(), &named("op"))).expect_err("lost");
    let again = host.run(client.submit(&request(), &named("op"))).expect_err("unknown");
    assert_eq!(name(&again), "ChargeUnknownError");
    assert_eq!(host.posts(), 1);

    let settled = host.run(client.settle("op", None)).expect("no id is known").expect("an operation");
    assert_eq!(settled.state, State::Unknown);
    let settled = host.run(client.settle("op", Some(ID))).expect("settled").expect("an operation");
    assert_eq!((settled.state, settled.job), (State::Bound, ID.into()));
    let job = host.run(client.submit(&request(), &named("op"))).expect("the job that it is bound to");
    assert_eq!(job["id"], ID);
    assert_eq!(host.posts(), 1);
}

#[test]
fn a_request_that_was_proven_unsent_is_sent_at_most_twice_more() {
    let (client, host) = client_of(in_order(vec![(1.0, lost("ECONNREFUSED"))]));
    let failure = host.run(client.submit(&request(), &named("op"))).expect_err("refused");
    assert!(is_unsent(&failure), "{}", failure.0);
    assert_eq!(host.posts(), 3);
    assert!(host.journal().is_empty(), "nothing was charged");

    let replies = vec![(1.0, lost("ECONNREFUSED")), (1.0, answer(201, &job("pending", "")))];
    let (client, host) = client_of(in_order(replies));
    host.run(client.submit(&request(), &named("op"))).expect("the second try is answered");
    assert_eq!(host.posts(), 2);
}

#[test]
fn a_resend_after_an_unsent_try_stops_at_the_first_doubt() {
    let (client, host) = client_of(in_order(vec![(1.0, lost("ENOTFOUND")), (1.0, lost("ECONNRESET"))]));
    let failure = host.run(client.submit(&request(), &named("op"))).expect_err("reset");
    assert_eq!(name(&failure), "ChargeUnknownError");
    assert_eq!(host.posts(), 2);
}

#[test]
fn two_calls_with_one_operation_id_are_one_post() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::PreviewAsync => (500.0, answer(201, &job("pending", ""))),
        _ => (10.0, answer(200, &job("running", ""))),
    });
    let second = Rc::new(RefCell::new(None));
    let (slot, other) = (Rc::clone(&second), client.clone());
    host.spawn(async move {
        let result = other.preview_async(&request(), &named("click")).await;
        *slot.borrow_mut() = Some(result);
    });
    let first = host.run(client.preview_async(&request(), &named("click"))).expect("posted or joined");
    host.finish();
    let second = second.take().expect("settled").expect("posted or joined");
    assert_eq!(first["id"], second["id"]);
    assert_eq!(host.posts(), 1);
}

#[test]
fn one_operation_id_for_two_requests_is_a_conflict() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(201, &job("pending", "")))]));
    host.run(client.submit(&request(), &named("op"))).expect("posted");
    let failure = host.run(client.submit(&request().with_text("name", "other"), &named("op"))).expect_err("conflict");
    assert_eq!(name(&failure), "OperationConflictError");
    let failure = host.run(client.preview_async(&request(), &named("op"))).expect_err("another step");
    assert_eq!(name(&failure), "OperationConflictError");
    assert_eq!(host.posts(), 1);
}

#[test]
fn two_submits_without_an_id_are_two_jobs() {
    let other = job("pending", "").replace(ID, OTHER);
    let (client, host) = client_of(in_order(vec![(1.0, answer(201, &job("pending", ""))), (1.0, answer(201, &other))]));
    for _ in 0..2 {
        host.run(client.submit(&request(), &ChargeOptions::default())).expect("posted");
    }
    assert_eq!(host.posts(), 2);
    assert_eq!(host.journal().len(), 2);
}

#[test]
fn an_answer_that_comes_twice_is_not_taken_for_that_of_the_next_charge() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(201, &job("pending", "")))]));
    host.run(client.submit(&request(), &named("one"))).expect("posted");
    let failure = host.run(client.submit(&request(), &named("other"))).expect_err("whose answer is it?");
    assert_eq!(name(&failure), "ChargeUnknownError");
    assert_eq!(host.posts(), 2);
}

#[test]
fn a_refused_operation_may_be_tried_again_under_its_id() {
    let refusal = answer(400, r#"["Template is not ready."]"#);
    let (client, host) = client_of(in_order(vec![(1.0, refusal), (1.0, answer(201, &job("pending", "")))]));
    host.run(client.submit(&request(), &named("op"))).expect_err("refused");
    host.run(client.submit(&request(), &named("op"))).expect("accepted");
    assert_eq!(host.posts(), 2);
}

#[test]
fn a_caller_that_stops_waiting_does_not_stop_the_charge() {
    // By its timeout,
    let (client, host) = client_of(in_order(vec![(60_000.0, answer(201, &job("pending", "")))]));
    let options = ChargeOptions { timeout: Some(1_000.0), ..named("op") };
    let failure = host.run(client.submit(&request(), &options)).expect_err("too slow");
    assert_eq!(name(&failure), "ChargeUnknownError");
    assert!(host.now() < 1_100.0, "the caller does not wait longer");
    host.finish();
    let pending = host.run(client.pending()).expect("the journal");
    assert_eq!(pending.first().map(|operation| (operation.state, operation.job.clone())), Some((State::Bound, ID.into())));

    // and by dropping the call.
    let (client, host) = client_of(in_order(vec![(60_000.0, answer(201, &job("pending", "")))]));
    let call = client.submit(&request(), &named("op"));
    assert!(host.run_for(5.0, call).is_none());
    host.finish();
    assert_eq!(host.posts(), 1);
    let pending = host.run(client.pending()).expect("the journal");
    assert_eq!(pending.first().map(|operation| (operation.state, operation.job.clone())), Some((State::Bound, ID.into())));
}

#[test]
fn a_crash_in_the_middle_of_a_post_leaves_an_operation_that_is_never_sent_again() {
    let (client, host) = client_of(in_order(vec![(60_000.0, answer(201, &job("pending", "")))]));
    let call = client.submit(&request(), &named("op"));
    assert!(host.run_for(5.0, call).is_none());
    let host = host.crash();
    let client = Client::new(host.clone(), config_of("me"));
    let pending = host.run(client.pending()).expect("the journal survives");
    assert_eq!(pending.first().map(|operation| operation.state), Some(State::Unknown));
    let failure = host.run(client.submit(&request(), &named("op"))).expect_err("unknown");
    assert_eq!(name(&failure), "ChargeUnknownError");
    assert_eq!(host.posts(), 0);
}

#[test]
fn a_caller_that_leaves_before_the_post_leaves_no_charge_and_no_operation() {
    // While the operation is being written down,
    let (client, host) = client_of(|_| panic!("sent"));
    host.slow_journal(100.0);
    let call = client.submit(&request(), &named("op"));
    assert!(host.run_for(50.0, call).is_none());
    host.finish();
    assert!(host.journal().is_empty(), "{:?}", host.journal());

    // and while a render looks at its job.
    let (client, host) = client_of(|request| {
        assert_eq!(request.endpoint, Endpoint::Get);
        (100.0, answer(200, &job("done", r#","preview":"https://p""#)))
    });
    let call = client.render(ID, None, &ChargeOptions::default());
    assert!(host.run_for(50.0, call).is_none());
    host.finish();
    assert!(host.journal().is_empty(), "{:?}", host.journal());
    assert_eq!(host.posts(), 0);
}

#[test]
fn another_account_does_not_see_the_operations() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(201, &job("pending", "")))]));
    host.run(client.submit(&request(), &named("op"))).expect("posted");
    let other = Client::new(host.clone(), config_of("somebody else"));
    assert!(host.run(other.pending()).expect("the journal").is_empty());
}

#[test]
fn nothing_is_sent_that_cannot_be_written_down() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(201, &job("pending", "")))]));
    host.break_journal();
    let failure = host.run(client.submit(&request(), &ChargeOptions::default())).expect_err("no journal");
    assert_eq!(name(&failure), "JournalError");
    assert_eq!(host.posts(), 0);
}

#[test]
fn a_verdict_that_cannot_be_written_does_not_take_the_answer_away() {
    let (client, host) = client_of(in_order(vec![(1_000.0, answer(201, &job("pending", "")))]));
    host.later(500.0, Scripted::break_journal);
    let job = host.run(client.submit(&request(), &ChargeOptions::default())).expect("the job");
    assert_eq!(job["id"], ID);
}

#[test]
fn an_offline_machine_sends_no_charge() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(201, &job("pending", "")))]));
    host.set_env(Env { visible: true, online: false });
    let failure = host.run(client.submit(&request(), &named("op"))).expect_err("offline");
    assert!(is_unsent(&failure), "{}", failure.0);
    assert_eq!(host.posts(), 0);
    assert!(host.journal().is_empty());
}

#[test]
fn a_job_that_is_rendered_or_being_rendered_is_not_paid_for_again() {
    for state in [
        job("running", r#","preview":"https://p""#),
        job("in_queue", r#","preview":"https://p""#),
        job("done", r#","preview":"https://p","video_output":"https://v""#),
    ] {
        let (client, host) = client_of(in_order(vec![(1.0, answer(200, &state))]));
        host.run(client.render(ID, None, &ChargeOptions::default())).expect("the job as it is");
        assert_eq!(host.posts(), 0, "{state}");
    }
}

#[test]
fn a_render_is_posted_once_and_its_lost_answer_is_looked_up() {
    let posted = Rc::new(RefCell::new(false));
    let (client, host) = client_of(move |request| {
        let rendering = *posted.borrow();
        match request.endpoint {
            Endpoint::Render => {
                *posted.borrow_mut() = true;
                (1.0, lost("ECONNRESET"))
            }
            _ if rendering => (1.0, answer(200, &job("pending", r#","preview":"https://p""#))),
            _ => (1.0, answer(200, &job("done", r#","preview":"https://p""#))),
        }
    });
    host.run(client.render(ID, None, &ChargeOptions::default())).expect("it is being rendered");
    assert_eq!(host.posts(), 1);
    let pending = host.run(client.pending()).expect("the journal");
    assert_eq!(pending.first().map(|operation| operation.operation.clone()), Some(format!("render:{ID}").into()));
    assert_eq!(pending.first().map(|operation| operation.job.clone()), Some(ID.into()));
}

#[test]
fn a_render_whose_fate_stays_in_doubt_is_not_posted_again() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::Render => (1.0, answer(502, "{}")),
        _ => (1.0, answer(200, &job("done", r#","preview":"https://p""#))),
    });
    for _ in 0..3 {
        let failure = host.run(client.render(ID, None, &ChargeOptions::default())).expect_err("unknown");
        assert_eq!(name(&failure), "ChargeUnknownError");
        assert_eq!(said(&failure, "jobId").as_deref(), Some(ID));
    }
    assert_eq!(host.posts(), 1);
}

#[test]
fn a_render_that_failed_may_be_asked_for_again() {
    let stage = Rc::new(RefCell::new("done"));
    let set = Rc::clone(&stage);
    let (client, host) = client_of(move |request| {
        if request.endpoint == Endpoint::Render {
            *stage.borrow_mut() = "failed";
            return (1.0, answer(200, &job("pending", r#","preview":"https://p""#)));
        }
        (1.0, answer(200, &job(*stage.borrow(), r#","preview":"https://p""#)))
    });
    host.run(client.render(ID, None, &ChargeOptions::default())).expect("posted");
    host.run(client.poll(ID, None, PollOptions::default())).expect_err("failed");
    host.run(client.render(ID, None, &ChargeOptions::default())).expect("posted again");
    assert_eq!(host.posts(), 2);
    *set.borrow_mut() = "done";
}

#[test]
fn a_webhook_url_carries_the_operation_id() {
    let (client, host) = client_of(|request| {
        assert_eq!(request.body.own()["webhook_url"], "https://me.test/hook/op-7?x=1");
        (1.0, answer(201, &job("pending", "")))
    });
    let request = request().with_text("webhook_url", "https://me.test/hook/{operation}?x=1");
    host.run(client.submit(&request, &named("op-7"))).expect("posted");
}

#[test]
fn calls_in_parallel_cannot_pass_the_budget_together() {
    let host = Scripted::new(|_| (100.0, answer(201, &job("pending", ""))));
    let mut config = config_of("me");
    config.max_credits = 9.0;
    let client = Client::new(host.clone(), config);
    let options = || ChargeOptions { seconds: Some(30.0), ..ChargeOptions::default() };
    let other = client.clone();
    host.spawn(async move {
        let _ = other.submit(&request(), &options()).await;
    });
    let mine = host.run(client.submit(&request(), &options()));
    host.finish();
    assert_eq!(host.posts(), 1);
    if let Err(failure) = mine {
        assert_eq!(name(&failure), "BudgetExceededError");
        assert_eq!((failure.get("estimate"), failure.get("remaining")), (5.0.into(), 4.0.into()));
    }
    let failure = host.run(client.submit(&request(), &ChargeOptions::default())).expect_err("no length");
    assert_eq!(field(&failure).as_deref(), Some("seconds"));
}

// ---- checks ----------------------------------------------------------------------------------------

#[test]
fn a_request_that_cannot_work_is_refused_before_it_is_sent() {
    let long = "x".repeat(256);
    let good = request();
    let with = |key: &str, value: &str| {
        let mut request = good.clone();
        request[key] = json(value);
        request
    };
    for (bad, field) in [
        (json("null"), "request"),
        (json("[]"), "request"),
        (with("template_id", r#""x""#), "template_id"),
        (with("template_id", "null"), "template_id"),
        (with("variables", "[]"), "variables"),
        (with("variables", "null"), "variables"),
        (with("name", &format!("\"{long}\"")), "name"),
        (with("name", "1"), "name"),
        (with("webhook_url", r#""ftp://x""#), "webhook_url"),
        (with("webhook_url", r#""https://""#), "webhook_url"),
        (with("webhook_url", &format!("\"https://{long}\"")), "webhook_url"),
        (with("model_version", r#""aurora""#), "model_version"),
        (with("is_hidden", r#""yes""#), "is_hidden"),
    ] {
        let (client, host) = client_of(|_| panic!("sent"));
        let failure = host.run(client.submit(&bad, &ChargeOptions::default())).expect_err(field);
        assert_eq!(said(&failure, "field").as_deref(), Some(field));
        assert!(message(&failure).starts_with(field), "the message names the field");
        assert!(host.journal().is_empty());
    }
    let (client, host) = client_of(|_| panic!("sent"));
    for bad in ["", "x", "../templates", "11111111-2222-4333-8444-55555555555g"] {
        let failure = host.run(client.get(bad, None)).expect_err(bad);
        assert_eq!(field(&failure).as_deref(), Some("id"));
        let failure = host.run(client.render(bad, None, &ChargeOptions::default())).expect_err(bad);
        assert_eq!(field(&failure).as_deref(), Some("id"));
        let failure = host.run(client.poll(bad, None, PollOptions::default())).expect_err(bad);
        assert_eq!(field(&failure).as_deref(), Some("id"));
    }
}

#[test]
fn a_name_of_255_characters_passes_whatever_its_bytes() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(201, &job("pending", "")))]));
    let name = "é".repeat(255);
    host.run(client.submit(&request().with_text("name", &name), &ChargeOptions::default())).expect("posted");
}

#[test]
fn every_error_shape_is_told_in_words_and_by_kind() {
    for (status, body, kind, words) in [
        (401, r#"{"detail":"Authentication credentials were not provided."}"#, "authentication", "not provided"),
        (403, r#"{"detail":"You do not have permission."}"#, "authentication", "permission"),
        (402, "{}", "insufficient_credits", "credits"),
        (400, r#"["Insufficient credits."]"#, "insufficient_credits", "Insufficient"),
        (403, r#"{"detail":"Not enough credits"}"#, "insufficient_credits", "Not enough"),
        (404, r#"{"detail":"No CustomTemplateJob matches the given query."}"#, "not_found", "matches"),
        (429, r#"{"detail":"Request was throttled."}"#, "rate_limited", "throttled"),
        (400, r#"{"variables":["This field is required."]}"#, "invalid", "variables: This field is required."),
        (400, r#"{"variables":{"title":["Bad."]}}"#, "invalid", "variables: title: Bad."),
        (400, r#"["Link must have at least one image."]"#, "invalid", "Link must have"),
        (400, r#""plain words""#, "invalid", "plain words"),
        (413, "null", "invalid", "too large"),
        (500, "{}", "server", "500"),
        (503, "[]", "server", "503"),
        (302, "null", "unexpected", "redirect"),
        (0, "null", "unexpected", "redirect"),
        (200, "[]", "unexpected", "not the job"),
    ] {
        let (client, host) = client_of(in_order(vec![(1.0, answer(status, body))]));
        let failure = host.run(client.get(ID, None)).expect_err(words);
        assert_eq!(kind_of(&failure).as_deref(), Some(kind), "{status} {body}");
        assert!(message(&failure).contains(words), "{}", message(&failure));
        assert!(failure.get("body").is_there(), "{status}");
    }
    let (client, host) = client_of(in_order(vec![(1.0, answer(400, r#"["Custom template not found"]"#))]));
    let failure = host.run(client.get(ID, None)).expect_err("refused");
    assert_eq!(message(&failure), "400 Custom template not found. Correct the request.");
    let html = Reply::Answered { status: 502, retry_after: None, body: Body::Text("\n<html>Bad gateway".into()) };
    let (client, host) = client_of(in_order(vec![(1.0, html)]));
    let failure = host.run(client.get(ID, None)).expect_err("html");
    assert!(message(&failure).contains("HTML page"), "{}", message(&failure));
    assert_eq!(said(&failure, "text").as_deref(), Some("\n<html>Bad gateway"));
}

// ---- reads -----------------------------------------------------------------------------------------

#[test]
fn a_read_is_tried_again_where_that_may_help_and_only_there() {
    let ok = || (1.0, answer(200, &job("done", "")));
    for (first, requests) in [
        (answer(503, "{}"), 2),
        (answer(429, "{}"), 2),
        (lost("ECONNRESET"), 2),
        (Reply::TimedOut, 2),
        (Reply::Answered { status: 200, retry_after: None, body: Body::Text("<html>".into()) }, 2),
        (answer(200, &job("done", "").replace(ID, OTHER)), 2),
        (answer(400, "{}"), 1),
        (answer(401, "{}"), 1),
        (answer(404, "{}"), 1),
        (answer(302, "{}"), 1),
    ] {
        let name = format!("{first:?}");
        let (client, host) = client_of(in_order(vec![(1.0, first), ok()]));
        let result = host.run(client.get(ID, None));
        assert_eq!(host.requests().len(), requests, "{name}");
        assert_eq!(result.is_ok(), requests == 2, "{name}");
    }
    let (client, host) = client_of(in_order(vec![(1.0, answer(500, "{}"))]));
    host.run(client.get(ID, None)).expect_err("500");
    assert_eq!(host.requests().len(), 4, "the first and three more");
}

#[test]
fn a_retry_waits_as_long_as_the_server_asks() {
    let busy = Reply::Answered { status: 429, retry_after: Some(7_000.0), body: Body::Json(json("{}")) };
    let (client, host) = client_of(in_order(vec![(0.0, busy), (0.0, answer(200, &job("done", "")))]));
    host.run(client.get(ID, None)).expect("then it answers");
    assert!(host.times().get(1).is_some_and(|at| (7_000.0..7_600.0).contains(at)), "{:?}", host.times());
}

#[test]
fn templates_are_a_list_even_in_a_page_of_results() {
    for body in ["[{}]", r#"{"results":[{}],"next":null}"#] {
        let (client, host) = client_of(in_order(vec![(1.0, answer(200, body))]));
        assert_eq!(host.run(client.templates(None)).expect("a list"), json("[{}]"));
    }
    let page = Reply::Answered { status: 200, retry_after: None, body: Body::Text("<html>".into()) };
    let (client, host) = client_of(in_order(vec![(1.0, page), (1.0, answer(200, "[]"))]));
    assert_eq!(host.run(client.templates(None)).expect("a page in between is tried again"), json("[]"));
    let (client, host) = client_of(in_order(vec![(1.0, answer(200, r#"{"oops":1}"#))]));
    assert_eq!(kind_of(&host.run(client.templates(None)).expect_err("no list")).as_deref(), Some("unexpected"));
}

#[test]
fn remaining_credits_are_a_number() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(200, r#"{"remaining_credits":12.5}"#))]));
    assert_eq!(host.run(client.remaining_credits(None)).expect("a number"), 12.5);
}

// ---- waiting ---------------------------------------------------------------------------------------

fn video() -> PollOptions {
    PollOptions { until: Some(Goal::Video), ..PollOptions::default() }
}

#[test]
fn every_status_ends_a_wait_or_goes_on_as_documented() {
    for status in ["pending", "in_queue", "running", "a new word"] {
        let (client, host) = client_of(in_order(vec![
            (1.0, answer(200, &job(status, ""))),
            (1.0, answer(200, &job("done", r#","video_output":"https://v""#))),
        ]));
        host.run(client.poll(ID, None, video())).expect("done in the end");
        assert_eq!(host.requests().len(), 2, "{status}");
    }
    for (status, more, reason) in [
        ("failed", r#","failed_reason":"No face was found.""#, "No face was found."),
        ("failed", r#","failed_reason":"""#, "the job failed and the provider gave no reason"),
        ("failed", r#","failed_reason":null"#, "the job failed and the provider gave no reason"),
        ("rejected", "", "the provider rejected the job and gave no reason"),
    ] {
        let (client, host) = client_of(in_order(vec![(1.0, answer(200, &job(status, more)))]));
        let failure = host.run(client.poll(ID, None, video())).expect_err(status);
        assert_eq!(name(&failure), "JobFailedError");
        assert_eq!(said(&failure, "reason").as_deref(), Some(reason));
        assert_eq!(said(&failure, "jobId").as_deref(), Some(ID));
        assert!(failure.get("job").is_there());
        assert_eq!(host.requests().len(), 1);
    }
}

#[test]
fn a_job_that_is_there_already_costs_no_request() {
    let (client, host) = client_of(|_| panic!("sent"));
    let done = json(&job("done", r#","preview":"https://p","video_output":"https://v""#));
    for until in [Goal::Preview, Goal::Video, Goal::Done] {
        let options = PollOptions { until: Some(until), ..PollOptions::default() };
        host.run(client.poll(ID, Some(&done), options)).expect("at once");
    }
}

#[test]
fn after_a_render_the_done_of_the_preview_is_not_the_end() {
    let looks = Rc::new(RefCell::new(0));
    let (client, host) = client_of(move |request| {
        let preview = r#","preview":"https://p""#;
        if request.endpoint == Endpoint::Render {
            *looks.borrow_mut() = 1;
            return (1.0, answer(200, &job("done", preview)));
        }
        let mut looks = looks.borrow_mut();
        if *looks > 0 {
            *looks += 1;
        }
        let state = match *looks {
            0 | 2 => job("done", preview),
            3 => job("running", preview),
            _ => job("done", r#","preview":"https://p","video_output":"https://v""#),
        };
        (1.0, answer(200, &state))
    });
    let rendering = host.run(client.render(ID, None, &ChargeOptions::default())).expect("posted");
    let job = host.run(client.poll(ID, Some(&rendering), PollOptions::default())).expect("the video");
    assert_eq!(job["video_output"], "https://v");
}

#[test]
fn a_job_that_is_done_without_its_url_is_given_up_after_a_few_looks() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(200, &job("done", "")))]));
    let failure = host.run(client.poll(ID, None, video())).expect_err("no URL");
    assert_eq!(name(&failure), "IncompleteResultError");
    assert!((4..=7).contains(&host.requests().len()), "{}", host.requests().len());
}

#[test]
fn an_outage_that_is_shorter_than_the_deadline_ends_nothing() {
    for outage in [answer(502, "{}"), lost("ECONNREFUSED"), Reply::TimedOut, answer(429, "{}")] {
        let name = format!("{outage:?}");
        let mut replies = vec![(1.0, answer(200, &job("running", "")))];
        replies.extend(std::iter::repeat_n((1.0, outage), 8));
        replies.push((1.0, answer(200, &job("done", r#","video_output":"https://v""#))));
        let (client, host) = client_of(in_order(replies));
        host.run(client.poll(ID, None, video())).unwrap_or_else(|failure| panic!("{name}: {}", failure.0));
    }
}

#[test]
fn a_refusal_ends_a_wait_at_once() {
    for (status, kind) in [(401, "authentication"), (403, "authentication"), (404, "not_found")] {
        let (client, host) = client_of(in_order(vec![(1.0, answer(status, "{}"))]));
        let failure = host.run(client.poll(ID, None, video())).expect_err("refused");
        assert_eq!(kind_of(&failure).as_deref(), Some(kind));
        assert_eq!(host.requests().len(), 1);
    }
}

#[test]
fn a_deadline_gives_the_job_as_last_seen_and_leaves_nothing_running() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(200, &job("running", r#","progress":0.4"#)))]));
    let options = PollOptions { timeout: Some(60_000.0), ..video() };
    let failure = host.run(client.poll(ID, None, options)).expect_err("too slow");
    assert_eq!(name(&failure), "PollTimeoutError");
    assert_eq!(failure.get("job")["progress"], 0.4);
    assert!((60_000.0..60_100.0).contains(&host.now()), "{}", host.now());
}

#[test]
fn a_stuck_job_is_looked_at_ever_less_often() {
    let (client, host) = client_of(in_order(vec![(1.0, answer(200, &job("running", r#","progress":0.99"#)))]));
    let options = PollOptions { timeout: Some(3_600_000.0), ..video() };
    host.run(client.poll(ID, None, options)).expect_err("stuck");
    let times = host.times();
    assert!(times.len() < 170, "{} requests in an hour", times.len());
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (1_499.0..30_500.0).contains(gap)), "{gaps:?}");
}

#[test]
fn offline_is_waited_out_without_a_request() {
    let (client, host) = client_of(in_order(vec![
        (1.0, answer(200, &job("running", ""))),
        (1.0, answer(200, &job("done", r#","video_output":"https://v""#))),
    ]));
    host.later(10.0, |host| host.set_env(Env { visible: true, online: false }));
    host.later(300_000.0, |host| host.set_env(Env { visible: true, online: true }));
    host.run(client.poll(ID, None, video())).expect("done");
    let times = host.times();
    assert_eq!(times.len(), 2, "{times:?}");
    assert!((299_990.0..300_100.0).contains(&times[1]), "one look when the network is back: {times:?}");
}

#[test]
fn a_hidden_page_looks_at_most_once_a_minute_and_at_once_when_shown() {
    let (client, host) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    host.later(10.0, |host| host.set_env(Env { visible: false, online: true }));
    host.later(250_000.0, |host| host.set_env(Env { visible: true, online: true }));
    let options = PollOptions { timeout: Some(251_000.0), attentive: true, ..video() };
    host.run(client.poll(ID, None, options)).expect_err("deadline");
    let hidden = host.times().iter().filter(|at| (10.0..249_000.0).contains(*at)).count();
    assert!(hidden <= 4, "{:?}", host.times());
    assert!(host.times().iter().any(|at| (249_990.0..250_100.0).contains(at)), "{:?}", host.times());
}

#[test]
fn a_machine_that_slept_looks_at_each_job_once_at_most_six_at_a_time_and_then_no_closer_than_ever() {
    let (client, host) = client_of(|request| {
        let url = request.url.own();
        let id = url.as_str().and_then(|url| url.trim_end_matches('/').rsplit('/').next()).unwrap_or_default();
        (100.0, answer(200, &job("running", "").replace(ID, id)))
    });
    for number in 0..20 {
        let options = PollOptions { timeout: Some(7_200_000.0), attentive: number % 2 == 0, ..video() };
        let wait = client.poll(&ID.replacen("11111111", &format!("{number:08}"), 1), None, options);
        host.spawn(async move {
            let _ = wait.await;
        });
    }
    host.later(60_000.0, |host| host.jump(3_600_000.0));
    host.run_for(3_720_000.0, host.wait(3_720_000.0));
    let awake = 3_660_000.0;
    let (lines, times) = (host.requests(), host.times());
    let looks = || lines.iter().zip(&times).filter(|(_, at)| **at >= awake);
    assert_eq!(looks().filter(|(_, at)| **at < awake + 50.0).count(), 6, "{times:?}");
    assert_eq!(looks().filter(|(_, at)| **at < awake + 1_000.0).count(), 20, "{times:?}");
    for number in 0..20 {
        let id = format!("{number:08}-");
        let of_one: Vec<f64> = looks().filter(|(line, _)| line.contains(&id)).map(|(_, at)| *at).collect();
        assert!((2..=5).contains(&of_one.len()), "{of_one:?}");
        assert!(of_one.windows(2).all(|pair| pair[1] - pair[0] >= FLOOR), "{of_one:?}");
    }
}

type Log = Rc<RefCell<Vec<String>>>;

/// Watches a job on the host, and writes down what it hears of it.
fn watching(client: &Client<Scripted>, host: &Scripted, options: PollOptions) -> Log {
    let log = Log::default();
    let call = client.watched(ID, None, options, writing(&log));
    let ended = Rc::clone(&log);
    host.spawn(async move {
        let end = call.await.map_or_else(|failure| name(&failure), |_| "end".into());
        ended.borrow_mut().push(end);
    });
    log
}

fn writing(log: &Log) -> impl Fn(&Json, Look) + 'static {
    let log = Rc::clone(log);
    move |job, look| {
        assert!(look.in_ms >= 0.0);
        let progress = job.number_of("progress").max(-1.0);
        log.borrow_mut().push(format!("{:?} {progress}", Status::parse(value(job["status"].clone()))));
    }
}

#[test]
fn many_watchers_of_one_job_share_its_requests_and_all_hear_the_end() {
    let replies = |looks: usize| {
        let mut replies: Vec<Reaction> = (1..=looks)
            .map(|look| (1.0, answer(200, &job("running", &format!(r#","progress":{}"#, look as f64 / 10.0)))))
            .collect();
        replies.push((1.0, answer(200, &job("done", r#","progress":1,"video_output":"https://v""#))));
        replies
    };
    let requests_of = |watchers: usize| {
        let (client, host) = client_of(in_order(replies(4)));
        let logs: Vec<Log> = (0..watchers).map(|_| watching(&client, &host, video())).collect();
        host.finish();
        let expected = ["Running 0.1", "Running 0.2", "Running 0.3", "Running 0.4", "Done 1", "end"];
        for log in &logs {
            assert_eq!(*log.borrow(), expected);
        }
        host.requests().len()
    };
    assert_eq!(requests_of(10), requests_of(1));
}

/// What another client heard of the job, which it asked for so many milliseconds ago.
fn elsewhere(host: &Scripted, ago: f64, status: u16, body: &str) -> Place {
    let heard = Place::record().with_text("id", ID).with_number("status", status.into());
    heard.with("body", value(json(body))).with_number("at", host.wall() - ago)
}

/// In so many milliseconds another client tells what it hears then.
fn tell(client: &Client<Scripted>, host: &Scripted, ms: f64, status: u16, body: String) {
    let client = client.clone();
    host.later(ms, move |host| client.hear(elsewhere(host, 1.0, status, &body)));
}

#[test]
fn what_another_client_hears_is_a_look_of_ones_own() {
    let (client, host) = client_of(|_| (1.0, answer(200, &job("running", r#","progress":0.1"#))));
    let log = watching(&client, &host, PollOptions { max_interval: Some(2_000.0), ..video() });
    for second in 1..60 {
        let more = format!(r#","progress":0.{}"#, 1 + second / 20);
        tell(&client, &host, f64::from(second) * 1_000.0, 200, job("running", &more));
    }
    tell(&client, &host, 60_000.0, 200, job("done", r#","progress":1,"video_output":"https://v""#));
    host.finish();
    assert_eq!(host.times(), [0.0], "nothing is asked that another asked");
    assert_eq!(*log.borrow(), ["Running 0.1", "Running 0.2", "Running 0.3", "Done 1", "end"]);
    assert_idle(&client, &host);
}

#[test]
fn when_nobody_else_looks_any_more_the_next_look_is_as_far_away_as_from_ones_own() {
    let (client, host) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let options = PollOptions { max_interval: Some(4_000.0), ..video() };
    tell(&client, &host, 3_000.0, 200, job("running", ""));
    assert!(host.run_for(8_000.0, client.poll(ID, None, options)).is_none());
    assert_eq!(host.times(), [0.0, 7_000.0]);
}

#[test]
fn a_hidden_page_that_hears_what_others_ask_asks_nothing() {
    let (client, host) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    host.set_env(Env { visible: false, online: true });
    for look in 1..40 {
        tell(&client, &host, f64::from(look) * 10_000.0, 200, job("running", ""));
    }
    assert!(host.run_for(400_000.0, client.poll(ID, None, video())).is_none());
    assert_eq!(host.times(), [0.0]);
}

#[test]
fn a_look_under_way_ends_with_what_another_hears_first() {
    let (client, host) = client_of(|_| (20_000.0, answer(200, &job("running", ""))));
    tell(&client, &host, 500.0, 200, job("done", r#","video_output":"https://v""#));
    host.run(client.poll(ID, None, video())).expect("done");
    assert!(host.now() < 501.0);
    assert_idle(&client, &host);
}

#[test]
fn an_end_that_was_asked_for_before_the_wait_began_is_not_believed() {
    let done = job("done", r#","preview":"https://p""#);
    for (old, ends) in [(false, true), (true, false)] {
        let (client, host) = client_of(|_| (1_000.0, answer(200, &job("running", ""))));
        let (other, body) = (client.clone(), done.clone());
        // Whoever rendered it elsewhere in the meantime does not mean the preview.
        host.later(100.0, move |host| other.hear(elsewhere(host, if old { 200.0 } else { 50.0 }, 200, &body)));
        let ended = host.run_for(500.0, client.poll(ID, None, PollOptions::default())).is_some();
        assert_eq!(ended, ends, "old: {old}");
    }
}

#[test]
fn that_a_job_goes_on_is_believed_of_a_moment_ago_where_nothing_is_known() {
    let (client, host) = client_of(|_| (1_000.0, answer(200, &job("running", r#","progress":0.5"#))));
    let log = watching(&client, &host, video());
    for (ms, ago, progress) in [(10.0, 800.0, 0.2), (20.0, 800.0, 0.1)] {
        let other = client.clone();
        let body = job("running", &format!(r#","progress":{progress}"#));
        host.later(ms, move |host| other.hear(elsewhere(host, ago, 200, &body)));
    }
    host.run(host.wait(1_400.0));
    assert_eq!(*log.borrow(), ["Running 0.2"], "and nothing older than what is known");
}

#[test]
fn a_retry_after_that_another_hears_quiets_this_client_too() {
    let (client, host) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let other = client.clone();
    host.later(1_000.0, move |host| {
        other.hear(elsewhere(host, 1.0, 429, "{}").with_number("retryAfter", 30_000.0));
    });
    let options = PollOptions { max_interval: Some(2_000.0), ..video() };
    assert!(host.run_for(32_000.0, client.poll(ID, None, options)).is_none());
    let times = host.times();
    assert!(times.len() == 2 && times[1] >= 31_000.0, "{times:?}");
}

#[test]
fn what_is_heard_and_is_no_answer_changes_nothing() {
    let looks_of = |count: usize| {
        let (client, host) = client_of(|_| (100.0, answer(200, &job("running", ""))));
        let log = watching(&client, &host, PollOptions { timeout: Some(60_000.0), ..video() });
        for second in 0..50 {
            let client = client.clone();
            host.later(f64::from(second) * 1_000.0 + 50.0, move |host| {
                for at in 0..count {
                    // A value is good for one step.
                    client.hear(rubbish(host)[at]);
                }
            });
        }
        host.finish();
        assert_eq!(*log.borrow(), ["Running -1", "PollTimeoutError"]);
        assert_idle(&client, &host);
        host.times()
    };
    assert_eq!(looks_of(RUBBISH), looks_of(0));
}

/// How much of it there is.
const RUBBISH: usize = 17;

/// What a page's other scripts may say that is no answer to a look at the job.
fn rubbish(host: &Scripted) -> [Place; RUBBISH] {
    let done = job("done", r#","video_output":"https://v""#);
    let now = |status, body: &str| elsewhere(host, 0.0, status, body);
    let mut deep = json("{}");
    for _ in 0..100 {
        deep = serde_json::json!([deep]);
    }
    [
        value(json("null")),
        value(json("7")),
        value(json("[]")),
        value(json(r#"{"id":null}"#)),
        value(json(&format!(r#"{{"id":"{ID}"}}"#))),
        value(json(&format!(r#"{{"id":"{OTHER}","status":200,"at":1e300,"body":{done}}}"#))),
        value(json(&format!(r#"{{"id":"{ID}","status":200,"body":{done}}}"#))),
        value(json(&format!(r#"{{"id":"{ID}","status":200,"at":{{}},"body":{done}}}"#))),
        now(200, "null"),
        now(200, "{}"),
        now(200, &done.replace(ID, OTHER)),
        now(200, &deep.to_string()),
        now(302, "{}"),
        elsewhere(host, 3_600_000.0, 503, "{}"),
        // These end a wait: each finds out for itself.
        now(401, &done),
        now(403, &done),
        now(404, &done),
    ]
}

#[test]
fn a_watcher_that_is_forgotten_hears_nothing_more_and_the_last_one_ends_the_run() {
    let (client, host) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let log = Log::default();
    let call = client.watched(ID, None, video(), writing(&log));
    assert!(host.run_for(5_000.0, call).is_none());
    host.finish();
    assert!(host.now() <= 5_001.0);
    assert_eq!(*log.borrow(), ["Running -1"]);
}

#[test]
fn a_deadline_is_met_to_the_millisecond() {
    let running = json(&job("running", ""));
    let options = PollOptions { timeout: Some(4_000.0), expected_ms: Some(60_000.0), ..video() };
    let (client, host) = client_of(|_| panic!("sent"));
    assert!(host.run_for(3_999.9, client.poll(ID, Some(&running), options)).is_none());
    let begun = host.now();
    let failure = host.run(client.poll(ID, Some(&running), options)).expect_err("too slow");
    assert_eq!(name(&failure), "PollTimeoutError");
    assert!((host.now() - begun - 4_000.0).abs() < 1e-6, "{}", host.now() - begun);
    assert_idle(&client, &host);
}

#[test]
fn a_retry_after_quiets_every_job() {
    let (client, host) = client_of(|request| {
        if request.url.holds(value(ID)) {
            let body = Body::Json(json("{}"));
            return (10.0, Reply::Answered { status: 429, retry_after: Some(9_000.0), body });
        }
        (1.0, answer(200, &job("done", r#","video_output":"https://v""#).replace(ID, OTHER)))
    });
    watching(&client, &host, video());
    let other = client.clone();
    host.later(20.0, move |host| {
        let call = other.poll(OTHER, None, video());
        host.spawn(async move {
            call.await.expect("done");
        });
    });
    assert!(host.run_for(9_500.0, host.wait(9_400.0)).is_some());
    let looks = host.times();
    assert_eq!(looks.first(), Some(&0.0));
    assert!((looks[1] - 9_010.0).abs() < 1e-6, "{looks:?}");
    assert!(host.requests()[1].contains(OTHER), "it was due all the time");
}

#[test]
fn a_look_that_changed_nothing_is_not_told() {
    let (client, host) = client_of(|_| (1.0, answer(200, &job("running", r#","progress":0.5"#))));
    let options = PollOptions { timeout: Some(60_000.0), attentive: true, ..video() };
    let log = watching(&client, &host, options);
    host.finish();
    assert!(host.requests().len() > 3, "{:?}", host.times());
    assert_eq!(*log.borrow(), ["Running 0.5", "PollTimeoutError"], "the first is news");
}

#[test]
fn what_a_step_took_is_learned_for_the_next_job_of_the_template() {
    let started = Rc::new(RefCell::new(0.0));
    let clock = Rc::new(RefCell::new(None::<Scripted>));
    let (begin, now) = (Rc::clone(&started), Rc::clone(&clock));
    let (client, host) = client_of(move |request| {
        let at = now.borrow().as_ref().map_or(0.0, Host::now);
        if request.endpoint == Endpoint::Submit {
            let id = if *begin.borrow() == 0.0 { ID } else { OTHER };
            *begin.borrow_mut() = at + 0.001;
            return (0.0, answer(201, &job("pending", "").replace(ID, id)));
        }
        let done = at - *begin.borrow() > 13_000.0;
        let state = if done { job("done", r#","video_output":"https://v","duration":30"#) } else { job("running", "") };
        let id = if request.url.holds(value(OTHER)) { OTHER } else { ID };
        (0.0, answer(200, &state.replace(ID, id)))
    });
    *clock.borrow_mut() = Some(host.clone());
    let mut lags = Vec::new();
    for _ in 0..2 {
        let before = host.requests().len();
        let posted = host.now();
        let pending = host.run(client.submit(&request(), &ChargeOptions::default())).expect("posted");
        let id = pending["id"].as_str().expect("an id").to_owned();
        host.run(client.poll(&id, Some(&pending), PollOptions::default())).expect("done");
        lags.push((host.now() - posted - 13_000.0, host.requests().len() - before));
    }
    assert!(lags[1].0 < lags[0].0, "the second wait ends sooner after the job: {lags:?}");
    *clock.borrow_mut() = None;
}

#[test]
fn an_ended_job_is_not_pending_any_more() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("done", r#","video_output":"https://v""#))),
    });
    let pending = host.run(client.submit(&request(), &named("op"))).expect("posted");
    assert_eq!(host.run(client.pending()).expect("the journal").len(), 1);
    host.run(client.poll(ID, Some(&pending), PollOptions::default())).expect("done");
    assert!(host.run(client.pending()).expect("the journal").is_empty());
    host.run(client.submit(&request(), &named("op"))).expect("the same operation is the same job");
    assert_eq!(host.posts(), 1);
}

#[test]
fn a_job_of_an_earlier_run_is_waited_for_as_its_step_wants_and_then_ends() {
    let script = |request: &Request<Place>| match request.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("done", r#","preview":"https://p","video_output":"https://v""#))),
    };
    let (client, host) = client_of(script);
    host.run(client.submit(&request(), &named("op"))).expect("posted");
    let host = host.crash();
    let client = Client::new(host.clone(), config_of("me"));
    let pending = host.run(client.pending()).expect("the journal survives");
    let id = pending.first().map(|operation| operation.job.clone()).expect("the job is known");
    host.run(client.poll(id.as_str().expect("an id"), None, PollOptions::default())).expect("the video");
    host.finish();
    assert!(host.run(client.pending()).expect("the journal").is_empty());
}

#[test]
fn a_job_that_is_gone_is_not_pending_any_more() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(404, r#"{"detail":"Not found."}"#)),
    });
    host.run(client.submit(&request(), &named("op"))).expect("posted");
    host.run(client.poll(ID, None, PollOptions::default())).expect_err("gone");
    host.finish();
    assert!(host.run(client.pending()).expect("the journal").is_empty());
}

#[test]
fn a_preview_is_one_charge_and_a_wait() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::PreviewAsync => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("done", r#","preview":"https://p""#))),
    });
    let job = host.run(client.preview(&request(), &ChargeOptions::default(), PollOptions::default())).expect("ready");
    assert_eq!(job["preview"], "https://p");
    assert_eq!(host.posts(), 1);
    assert!(host.events().iter().any(|event| event.contains("bound")));
}

// ---- leaving, crashing and calling back ------------------------------------------------------------

/// Milliseconds that the journal, a look and a post take below.
const JOURNAL: f64 = 3.0;
const LOOK: f64 = 5.0;
const POST: f64 = 7.0;

/// What becomes of a post.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Charged, and answered with the job.
    Accepted,
    /// Charged, and the answer breaks off after the id.
    Broken,
    /// Charged, and the answer is lost.
    Lost,
    /// Refused, and not charged.
    Refused,
    /// Proven not to have left.
    Unsent,
}

/// An upstream that counts what it was sent and what it charged for.
#[derive(Clone, Default)]
struct Upstream {
    posts: Rc<Cell<usize>>,
    charges: Rc<Cell<usize>>,
}

impl Upstream {
    /// The posts have these fates, and after the last one that one.
    fn script(&self, fates: &'static [Fate]) -> impl FnMut(&Request<Place>) -> Reaction + 'static {
        let Self { posts, charges } = self.clone();
        move |request| {
            let preview = r#","preview":"https://p""#;
            if request.endpoint.charges().is_none() {
                let status = if charges.get() > 0 { "running" } else { "done" };
                return (LOOK, answer(200, &job(status, preview)));
            }
            let fate = fates[posts.get().min(fates.len() - 1)];
            posts.set(posts.get() + 1);
            if !matches!(fate, Fate::Refused | Fate::Unsent) {
                charges.set(charges.get() + 1);
            }
            let broken = Body::Broken(format!(r#"{{"id":"{ID}","sta"#));
            let reply = match fate {
                Fate::Accepted => answer(201, &job("pending", preview)),
                Fate::Broken => Reply::Answered { status: 201, retry_after: None, body: broken },
                Fate::Lost => lost("ECONNRESET"),
                Fate::Refused => answer(400, r#"["No."]"#),
                Fate::Unsent => lost("ECONNREFUSED"),
            };
            (POST, reply)
        }
    }
}

const FATES: [&[Fate]; 7] = [
    &[Fate::Accepted],
    &[Fate::Broken],
    &[Fate::Lost],
    &[Fate::Refused],
    &[Fate::Unsent],
    &[Fate::Unsent, Fate::Accepted],
    &[Fate::Unsent, Fate::Lost],
];

/// A charge with an operation id of its own: a `submit` or a `render`.
fn charging(client: &Client<Scripted>, render: bool, timeout: Option<f64>) -> Calling<Scripted> {
    let options = ChargeOptions { timeout, ..named("op") };
    if render { client.render(ID, None, &options) } else { client.submit(&request(), &options) }
}

/// Lets go on what was left, and finds nothing behind it.
fn settle_down(client: &Client<Scripted>, host: &Scripted) {
    while !client.0.borrow().tasks.is_empty() {
        assert!(host.step(), "a task waits for nothing");
    }
    assert_idle(client, host);
}

/// What the journal says must be what the upstream did.
fn assert_told(host: &Scripted, upstream: &Upstream, fates: &[Fate], render: bool, case: &str) {
    let journal = host.journal();
    if upstream.charges.get() == 0 {
        assert!(journal.is_empty(), "{case}: {journal:?}");
        return;
    }
    // The id of a render is known, and a look shows that it was carried out.
    let bound = render || fates.last() != Some(&Fate::Lost);
    let word = if bound { "bound" } else { "posting" };
    assert_eq!(journal.len(), 1, "{case}: {journal:?}");
    assert!(journal.iter().all(|entry| entry.contains(word) && entry.contains(ID) == bound), "{case}: {journal:?}");
}

/// For every fate, for both kinds of charge, and for every moment until the charge would have ended.
fn at_any_moment(test: impl Fn(&Client<Scripted>, &Scripted, &Upstream, f64, bool, &'static [Fate], &str)) {
    for fates in FATES {
        for render in [false, true] {
            let world = || {
                let upstream = Upstream::default();
                let (client, host) = client_of(upstream.script(fates));
                host.slow_journal(JOURNAL);
                (client, host, upstream)
            };
            // Just before, at and just after everything that happens.
            let (client, host, _) = world();
            let call = charging(&client, render, None);
            host.spawn(async move {
                let _ = call.await;
            });
            let mut moments = Vec::new();
            while host.step() {
                moments.extend([host.now() - 0.5, host.now(), host.now() + 0.5]);
            }
            assert_idle(&client, &host);
            for moment in moments {
                let (client, host, upstream) = world();
                let case = format!("{fates:?}, render: {render}, at {moment}");
                test(&client, &host, &upstream, moment, render, fates, &case);
                assert!(upstream.charges.get() <= 1, "{case}");
            }
        }
    }
}

#[test]
fn a_caller_that_leaves_at_any_moment_is_charged_once_and_leaves_nothing_behind() {
    at_any_moment(|client, host, upstream, moment, render, fates, case| {
        host.run_for(moment, charging(client, render, None));
        settle_down(client, host);
        assert!(host.now() <= moment + 2.0 * (JOURNAL + LOOK + POST), "{case}: it is tried again for nobody");
        assert_told(host, upstream, fates, render, case);
        let before = upstream.charges.get();
        let again = host.run(charging(client, render, None));
        assert_eq!(
            again.is_ok(),
            matches!(fates.last(), Some(Fate::Accepted | Fate::Broken)) || upstream.charges.get() > 0 && render,
            "{case}"
        );
        assert!(before == 0 || upstream.posts.get() <= fates.len(), "{case}");
        settle_down(client, host);
        assert_told(host, upstream, fates, render, case);
    });
}

#[test]
fn a_second_call_beside_one_that_was_left_at_any_moment_is_charged_once() {
    at_any_moment(|client, host, upstream, moment, render, fates, case| {
        host.run_for(moment, charging(client, render, None));
        let _ = host.run(charging(client, render, None));
        settle_down(client, host);
        assert_told(host, upstream, fates, render, case);
    });
}

#[test]
fn another_client_of_the_same_journal_is_not_charged_beside_one_that_was_left() {
    at_any_moment(|client, host, upstream, moment, render, fates, case| {
        host.run_for(moment, charging(client, render, None));
        let other = Client::new(host.clone(), config_of("me"));
        let _ = host.run(charging(&other, render, None));
        host.finish();
        assert_told(host, upstream, fates, render, case);
        assert_idle(client, host);
        assert_idle(&other, host);
    });
}

#[test]
fn a_caller_whose_time_is_over_at_any_moment_is_told_whether_it_may_be_charged() {
    at_any_moment(|client, host, upstream, moment, render, fates, case| {
        let result = host.run(charging(client, render, Some(moment)));
        assert!(host.now() <= moment + 1e-6, "{case}: {}", host.now());
        settle_down(client, host);
        assert_told(host, upstream, fates, render, case);
        let Err(failure) = result else { return };
        assert_eq!(said(&failure, "operation").as_deref(), Some("op"), "{case}");
        let known = name(&failure) == "ConnectionError" && !is_unsent(&failure);
        assert_eq!(said(&failure, "jobId").is_some(), render || known, "{case}");
        if is_unsent(&failure) || name(&failure) == "ApiError" {
            assert_eq!(upstream.charges.get(), 0, "{case}");
        } else if known {
            assert_eq!(upstream.charges.get(), 1, "{case}: its job is known");
        } else {
            assert_eq!(name(&failure), "ChargeUnknownError", "{case}");
        }
    });
}

#[test]
fn a_crash_at_any_step_of_a_charge_never_leads_to_a_second_one() {
    for fates in FATES {
        for render in [false, true] {
            let mut more = true;
            for steps in 0.. {
                if !more {
                    break;
                }
                let case = format!("{fates:?}, render: {render}, after {steps} steps");
                let upstream = Upstream::default();
                let (client, host) = client_of(upstream.script(fates));
                host.slow_journal(JOURNAL);
                let call = charging(&client, render, None);
                host.spawn(async move {
                    let _ = call.await;
                });
                for _ in 0..steps {
                    more = host.step();
                }
                let host = host.crash();
                let client = Client::new(host.clone(), config_of("me"));
                let pending = host.run(client.pending()).expect("the journal survives");
                if upstream.charges.get() > 0 {
                    assert_eq!(pending.first().map(|operation| operation.operation.clone()), Some("op".into()), "{case}");
                }
                let was_posted = upstream.posts.get() > 0;
                let again = host.run(charging(&client, render, None));
                assert!(upstream.charges.get() <= 1, "{case}");
                if was_posted && !fates.iter().any(|fate| matches!(fate, Fate::Refused | Fate::Unsent)) {
                    assert_eq!(upstream.posts.get(), 1, "{case}");
                }
                if let Err(failure) = &again {
                    let expected = ["ChargeUnknownError", "ConnectionError", "ApiError"];
                    assert!(expected.contains(&&*name(failure)), "{case}: {}", name(failure));
                    assert!(name(failure) == "ChargeUnknownError" || upstream.charges.get() == 0, "{case}");
                }
                settle_down(&client, &host);
                assert!(host.journal().iter().all(|entry| !entry.contains("posting") || again.is_err()), "{case}");
            }
        }
    }
}

/// Calls that run on the host and can be dropped from anywhere.
#[derive(Clone)]
struct Cast {
    client: Client<Scripted>,
    host: Scripted,
    calls: Rc<RefCell<Vec<Option<Calling<Scripted>>>>>,
    /// What was heard of each: `update`, and `end` or the name of an error.
    heard: Rc<RefCell<Vec<Vec<String>>>>,
}

impl Cast {
    fn new(client: &Client<Scripted>, host: &Scripted) -> Self {
        Self { client: client.clone(), host: host.clone(), calls: Rc::default(), heard: Rc::default() }
    }

    /// Waits for a job; `act` is done whenever it changes.
    fn watch(&self, id: &'static str, act: impl Fn(&Self) + 'static) {
        let (cast, number) = (self.clone(), self.heard.borrow().len());
        let call = self.client.watched(id, None, video(), move |job, _| {
            assert_eq!(job["id"], id, "the news of another job");
            assert!(cast.calls.borrow()[number].is_some(), "a call that was dropped is told");
            cast.hears(number, "update");
            act(&cast);
        });
        self.run(Some(id), call);
    }

    /// Runs a call on the host: it comes to the job of that id, where one is given.
    fn run(&self, id: Option<&'static str>, call: Calling<Scripted>) {
        let (cast, number) = (self.clone(), self.heard.borrow().len());
        self.calls.borrow_mut().push(Some(call));
        self.heard.borrow_mut().push(Vec::new());
        let mut future = Box::pin(std::future::poll_fn(move |context| {
            // It is nowhere to be dropped from while it is polled.
            let Some(mut call) = cast.calls.borrow_mut()[number].take() else { return Poll::Ready(()) };
            match Pin::new(&mut call).poll(context) {
                Poll::Pending => {
                    cast.calls.borrow_mut()[number] = Some(call);
                    Poll::Pending
                }
                Poll::Ready(end) => {
                    let job = end.unwrap_or_else(|failure| panic!("{}", failure.0));
                    assert!(id.is_none_or(|id| job["id"] == id), "the end of another job");
                    cast.hears(number, "end");
                    Poll::Ready(())
                }
            }
        }));
        // It begins here and now, whoever calls this.
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.host.spawn(future);
        }
    }

    fn hears(&self, number: usize, what: &str) {
        self.heard.borrow_mut()[number].push(what.into());
    }

    fn drop(&self, number: usize) {
        let call = self.calls.borrow_mut().get_mut(number).and_then(Option::take);
        drop(call);
    }

    /// Until every call has ended or was dropped.
    fn finish(&self) {
        while self.calls.borrow().iter().any(Option::is_some) && self.host.step() {}
        assert!(self.calls.borrow().iter().all(Option::is_none), "a call never ends");
    }

    fn ended(&self, number: usize) -> bool {
        self.heard.borrow()[number].last().is_some_and(|last| last == "end")
    }
}

/// Every job has news at each look, and is done at the fifth. What charges is accepted.
fn busy() -> (Client<Scripted>, Scripted) {
    let (looks, posts) = (RefCell::new([0, 0]), Cell::new(11_111_111));
    let (client, host) = client_of(move |request| {
        let other = request.url.holds(value(OTHER));
        let id = if other { OTHER } else { ID };
        if request.endpoint.charges().is_some() {
            // The first makes the job of that id, and each later one a job of its own.
            let made = job("pending", "").replacen("11111111", &posts.get().to_string(), 1);
            posts.set(posts.get() + 1);
            return (POST, answer(201, &made));
        }
        let looks = &mut looks.borrow_mut()[usize::from(other)];
        *looks += 1;
        let state = match *looks {
            1..5 => job("running", &format!(r#","progress":0.{looks}"#)),
            _ => job("done", r#","video_output":"https://v""#),
        };
        (LOOK, answer(200, &state.replace(ID, id)))
    });
    host.slow_journal(JOURNAL);
    (client, host)
}

/// What a caller may do while it is told something.
const ACTS: [fn(&Cast); 8] = [
    |cast| cast.drop(0),
    |cast| cast.drop(1),
    |cast| cast.drop(2),
    |cast| {
        cast.drop(0);
        cast.watch(OTHER, |_| ());
    },
    |cast| {
        cast.drop(0);
        cast.watch(ID, |_| ());
    },
    |cast| {
        for number in 0..3 {
            cast.drop(number);
        }
        cast.watch(ID, |_| ());
        cast.watch(OTHER, |_| ());
    },
    |cast| cast.run(None, cast.client.submit(&request(), &ChargeOptions::default())),
    |cast| {
        for number in 0..3 {
            cast.drop(number);
        }
    },
];

#[test]
fn a_callback_that_leaves_calls_and_begins_others_does_no_harm() {
    for (which, act) in ACTS.into_iter().enumerate() {
        for when in 1..=4 {
            let (client, host) = busy();
            let cast = Cast::new(&client, &host);
            let told = Cell::new(0);
            cast.watch(ID, move |cast| {
                told.set(told.get() + 1);
                if told.get() == when {
                    act(cast);
                }
            });
            cast.watch(ID, |_| ());
            cast.watch(OTHER, |_| ());
            cast.finish();
            let dropped = [vec![0], vec![1], vec![2], vec![0], vec![0], vec![0, 1, 2], vec![], vec![0, 1, 2]];
            for number in 0..cast.heard.borrow().len() {
                let expected = !dropped[which].contains(&number);
                assert_eq!(cast.ended(number), expected, "act {which} at update {when}: call {number}");
            }
            settle_down(&client, &host);
            assert_eq!(host.posts(), usize::from(which == 6));
        }
    }
}

#[test]
fn a_handler_of_events_that_leaves_calls_and_begins_others_does_no_harm() {
    for (which, act) in ACTS.into_iter().enumerate() {
        for when in 1..=24 {
            let (client, host) = busy();
            let cast = Cast::new(&client, &host);
            let (told, acting) = (Cell::new(0), cast.clone());
            host.on_event(move |_| {
                told.set(told.get() + 1);
                if told.get() == when {
                    act(&acting);
                }
            });
            cast.watch(ID, |_| ());
            cast.watch(ID, |_| ());
            cast.watch(OTHER, |_| ());
            cast.run(None, client.submit(&request(), &ChargeOptions::default()));
            cast.finish();
            for number in 3..cast.heard.borrow().len() {
                assert!(cast.ended(number), "act {which} at event {when}: call {number}");
            }
            settle_down(&client, &host);
            assert!(host.posts() <= 2, "act {which} at event {when}");
        }
    }
}

/// Begins a call.
type Begin = fn(&Client<Scripted>) -> Calling<Scripted>;

#[test]
fn nothing_is_left_of_a_call_that_ended_or_was_left() {
    let kinds: [Begin; 6] = [
        |client| client.get(ID, None),
        |client| client.poll(ID, None, video()),
        |client| client.render(ID, None, &ChargeOptions::default()),
        |client| client.submit(&request(), &ChargeOptions::default()),
        |client| client.poll(ID, None, PollOptions { timeout: Some(0.0), ..video() }),
        // Over while a look is under way.
        |client| client.poll(ID, None, PollOptions { timeout: Some(2.0), ..video() }),
    ];
    for (which, kind) in kinds.into_iter().enumerate() {
        let (client, host) = busy();
        let _ = host.run(kind(&client));
        assert_idle(&client, &host);
        for moment in 0..40 {
            let (client, host) = busy();
            if host.run_for(f64::from(moment), kind(&client)).is_some() {
                assert!(client.0.borrow().tasks.is_empty(), "kind {which} at {moment}");
            }
            if host.journal().is_empty() {
                // Nothing that goes on without its caller was begun.
                assert_idle(&client, &host);
            }
            settle_down(&client, &host);
            assert!(host.now() <= 45.0, "kind {which} at {moment}: {} ms", host.now());
        }
        // Many at once, one of each kind beside it.
        let (client, host) = busy();
        let cast = Cast::new(&client, &host);
        for other in kinds {
            let call = other(&client);
            host.spawn(async move {
                let _ = call.await;
            });
        }
        cast.watch(ID, |_| ());
        host.run_for(20.0, kind(&client));
        cast.finish();
        settle_down(&client, &host);
        assert!(cast.ended(0), "kind {which}");
    }
}

#[test]
fn a_render_that_is_found_done_is_not_pending() {
    let state = job("done", r#","preview":"https://p","video_output":"https://v""#);
    let (client, host) = client_of(in_order(vec![(1.0, answer(200, &state))]));
    host.run(client.render(ID, None, &ChargeOptions::default())).expect("the job as it is");
    host.finish();
    assert!(host.run(client.pending()).expect("the journal").is_empty());
}

#[test]
fn a_render_that_failed_is_not_given_back_to_the_budget() {
    let posted = Cell::new(0);
    let host = Scripted::new(move |request| {
        posted.set(posted.get() + u32::from(request.endpoint == Endpoint::Render));
        let status = if posted.get() > 0 && request.endpoint == Endpoint::Get { "failed" } else { "done" };
        let more = format!(r#","preview":"https://p","updated_at":"2026-01-01T00:00:0{}.000000Z""#, posted.get());
        (1.0, answer(200, &job(status, &more)))
    });
    let mut config = config_of("me");
    config.max_credits = 9.0;
    let client = Client::new(host.clone(), config);
    let options = ChargeOptions { seconds: Some(30.0), ..ChargeOptions::default() };
    for _ in 0..2 {
        host.run(client.render(ID, None, &options)).expect("posted");
    }
    let failure = host.run(client.render(ID, None, &options)).expect_err("4 and 4 of 9 are spent");
    assert_eq!(name(&failure), "BudgetExceededError");
    assert_eq!(failure.get("remaining"), 1.0);
    assert_eq!(host.posts(), 2);
}

#[test]
fn a_wait_until_done_ends_at_the_first_done_whatever_was_charged_for() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("done", ""))),
    });
    let pending = host.run(client.submit(&request(), &ChargeOptions::default())).expect("posted");
    let options = PollOptions { until: Some(Goal::Done), ..PollOptions::default() };
    host.run(client.poll(ID, Some(&pending), options)).expect("done, without a video");
}

// ---- other tabs, and what grows --------------------------------------------------------------------

/// Two clients of one account over one journal: two tabs.
fn tabs(
    script: impl FnMut(&Request<Place>) -> Reaction + 'static,
    set: impl Fn(&mut Config<Place>),
) -> ([Client<Scripted>; 2], Scripted) {
    let host = Scripted::new(script);
    let tab = || {
        let mut config = Config::new(Place::text("https://api.test"), Place::text("me"));
        set(&mut config);
        Client::new(host.clone(), config)
    };
    ([tab(), tab()], host)
}

#[test]
fn a_tab_waits_for_another_that_posts_the_same_operation_and_gets_its_job() {
    let ([one, other], host) = tabs(
        |request| match request.endpoint {
            Endpoint::Submit => (500.0, answer(201, &job("pending", ""))),
            _ => (10.0, answer(200, &job("running", ""))),
        },
        |_| {},
    );
    host.have_locks();
    let first = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&first);
    host.spawn(async move {
        let result = one.submit(&request(), &named("click")).await;
        *slot.borrow_mut() = Some(result);
    });
    let second = host.run(async {
        host.wait(5.0).await;
        other.submit(&request(), &named("click")).await
    });
    assert_eq!(second.expect("the other tab's job")["id"], ID);
    assert!(first.borrow().as_ref().is_some_and(Result::is_ok));
    assert_eq!(host.posts(), 1);
}

#[test]
fn a_tab_that_gives_up_waiting_for_another_leaves_it_its_lock() {
    let ([one, other], host) = tabs(|_| (500.0, answer(201, &job("pending", ""))), |_| {});
    host.have_locks();
    host.spawn(async move {
        one.submit(&request(), &named("click")).await.expect("posted");
    });
    let gone = host.run_for(100.0, async {
        host.wait(5.0).await;
        other.submit(&request(), &named("click")).await
    });
    assert!(gone.is_none());
    host.finish();
    assert_eq!(host.posts(), 1);
    assert_eq!(host.journal().len(), 1);
}

#[test]
fn clients_with_one_budget_key_never_pass_it_together() {
    for (first, second) in [(0.0, 0.0), (0.0, 1.0), (0.0, 400.0), (3.0, 0.0)] {
        let ([one, other], host) = tabs(
            |_| (100.0, answer(201, &job("pending", ""))),
            |config| {
                config.max_credits = 9.0;
                config.budget_key = value("november").into();
            },
        );
        host.slow_journal(2.0);
        let options = || ChargeOptions { seconds: Some(30.0), ..ChargeOptions::default() };
        let (waits, mine) = (host.wait(first), host.wait(second));
        host.spawn(async move {
            waits.await;
            let _ = one.submit(&request(), &options()).await;
        });
        let result = host.run(async {
            mine.await;
            other.submit(&request(), &options()).await
        });
        host.finish();
        assert!(host.posts() <= 1, "{first} {second}: 5 credits each, and 9 in all");
        if second > 300.0 {
            let failure = result.expect_err("the other one spent it");
            assert_eq!((failure.get("estimate"), failure.get("remaining")), (5.0.into(), 4.0.into()));
        }
    }
}

#[test]
fn a_shared_budget_gets_back_what_was_refused_and_counts_what_was_used() {
    let asked = Rc::new(RefCell::new(0));
    let ([one, other], host) = tabs(
        move |request| {
            if request.endpoint == Endpoint::Get {
                return (1.0, answer(200, &job("done", r#","video_output":"https://v","credits_used":3"#)));
            }
            *asked.borrow_mut() += 1;
            if *asked.borrow() == 1 { (1.0, answer(400, "{}")) } else { (1.0, answer(201, &job("pending", ""))) }
        },
        |config| {
            config.max_credits = 9.0;
            config.budget_key = value("november").into();
        },
    );
    let options = || ChargeOptions { seconds: Some(30.0), ..ChargeOptions::default() };
    host.run(one.submit(&request(), &options())).expect_err("refused");
    host.finish();
    assert!(host.journal().is_empty(), "{:?}", host.journal());
    host.run(one.submit(&request(), &options())).expect("5 of 9");
    host.run(other.submit(&request(), &options())).expect_err("10 of 9");
    host.run(one.poll(ID, None, PollOptions::default())).expect("the video, for 3");
    host.finish();
    host.run(other.submit(&request(), &options())).expect("3 and 5 of 9");
}

#[test]
fn operations_that_ended_long_ago_are_forgotten_and_open_ones_are_not() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("done", r#","video_output":"https://v""#))),
    });
    host.run(client.submit(&request(), &named("ended"))).expect("posted");
    host.run(client.poll(ID, None, PollOptions::default())).expect("done");
    host.run(host.wait(29.0 * 86_400_000.0));
    host.run(client.pending()).expect("the journal");
    host.finish();
    assert_eq!(host.journal().len(), 1, "so long its id brings the job back");
    host.run(host.wait(2.0 * 86_400_000.0));
    assert!(host.run(client.pending()).expect("the journal").is_empty());
    host.finish();
    assert!(host.journal().is_empty());

    let (client, host) = client_of(in_order(vec![(1.0, lost(""))]));
    host.run(client.submit(&request(), &named("unknown"))).expect_err("lost");
    host.run(host.wait(400.0 * 86_400_000.0));
    assert_eq!(host.run(client.pending()).expect("the journal").len(), 1);
}

#[test]
fn many_reads_in_an_outage_are_not_all_tried_again() {
    let outage = Rc::new(RefCell::new(true));
    let over = Rc::clone(&outage);
    let (client, host) =
        client_of(move |_| if *outage.borrow() { (1.0, answer(503, "{}")) } else { (1.0, answer(200, &job("done", ""))) });
    for _ in 0..50 {
        let client = client.clone();
        host.spawn(async move {
            client.get(ID, None).await.expect_err("down");
        });
    }
    host.finish();
    assert!(host.requests().len() <= 60, "{} requests for 50 reads", host.requests().len());
    *over.borrow_mut() = false;
    for _ in 0..20 {
        host.run(client.get(ID, None)).expect("up again");
    }
    *over.borrow_mut() = true;
    let before = host.requests().len();
    host.run(client.get(ID, None)).expect_err("down");
    assert_eq!(host.requests().len() - before, 4, "what was answered earned the tries back");
}

/// A job whose preview is there.
fn previewed(status: &str, more: &str) -> String {
    job(status, &format!(r#","preview":"https://p"{more}"#))
}

#[test]
fn a_render_that_is_answered_by_a_page_or_by_another_job_is_not_taken_for_paid() {
    let page = Reply::Answered { status: 200, retry_after: None, body: Body::Text("<h1>Sign in</h1>".into()) };
    for reply in [page, answer(200, &previewed("pending", "").replace(ID, "99999999-2222-4333-8444-555555555555"))] {
        let (client, host) = client_of(move |request| match request.endpoint {
            Endpoint::Render => (1.0, reply.clone()),
            _ => (1.0, answer(200, &previewed("done", ""))),
        });
        let failure = host.run(client.render(ID, None, &ChargeOptions::default())).expect_err("unknown");
        assert_eq!(name(&failure), "ChargeUnknownError");
        assert!(host.journal().iter().all(|entry| !entry.contains("bound")), "{:?}", host.journal());
    }
}

#[test]
fn a_preview_that_ends_meanwhile_does_not_prove_a_render() {
    let posted = Cell::new(false);
    let (client, host) = client_of(move |request| match request.endpoint {
        Endpoint::Render => {
            posted.set(true);
            (1.0, lost("ECONNRESET"))
        }
        _ if posted.get() => (1.0, answer(200, &previewed("done", r#","updated_at":"2","credits_used":1"#))),
        _ => (1.0, answer(200, &job("running", r#","updated_at":"1","credits_used":0"#))),
    });
    let failure = host.run(client.render(ID, None, &ChargeOptions::default())).expect_err("unknown");
    assert_eq!(name(&failure), "ChargeUnknownError");
}

#[test]
fn the_id_of_its_job_does_not_prove_that_a_render_was_carried_out() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::Render => (1.0, lost("ECONNRESET")),
        _ => (1.0, answer(200, &previewed("done", ""))),
    });
    host.run(client.render(ID, None, &named("op"))).expect_err("unknown");
    let settled = host.run(client.settle("op", Some(ID))).expect("settled").expect("an operation");
    assert_eq!(settled.state, State::Unknown);
    assert_eq!(settled.job, ID, "it is known of which job");
}

#[test]
fn a_job_that_another_client_has_settled_is_told_where_the_answer_is_lost_and_is_not_forgotten() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::Submit => (1_000.0, lost("ECONNRESET")),
        _ => (1.0, answer(200, &job("running", ""))),
    });
    let other = Client::new(host.clone(), config_of("me"));
    // A webhook comes before the answer, which is lost.
    host.later(500.0, move |host| {
        host.spawn(async move {
            other.settle("op", Some(ID)).await.expect("settled");
        });
    });
    let job = host.run(client.submit(&request(), &named("op"))).expect("settled");
    assert_eq!(job["id"].as_str(), Some(ID));
    host.finish();
    assert!(host.journal().iter().all(|entry| entry.contains("bound") && entry.contains(ID)), "{:?}", host.journal());
}

#[test]
fn a_list_settles_an_operation_by_its_own_webhook_and_not_by_one_that_begins_alike() {
    for (hook, state) in [("order-12", State::Unknown), ("order-1", State::Bound)] {
        let (client, host) = client_of(|_| (1.0, lost("ECONNRESET")));
        host.list(json(&format!(r#"[{{"id":"{ID}","webhook_url":"https://me.test/{hook}"}}]"#)));
        let request = request().with_text("webhook_url", "https://me.test/{operation}");
        host.run(client.submit(&request, &named("order-1"))).expect_err("unknown");
        let settled = host.run(client.settle("order-1", None)).expect("settled").expect("an operation");
        assert_eq!(settled.state, state, "{hook}");
    }
}

#[test]
fn of_two_clients_that_saw_a_render_fail_one_asks_for_it_again_and_under_a_name_of_its_own() {
    let operations = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&operations);
    let (client, host) = client_of(move |request| {
        if request.endpoint == Endpoint::Render {
            seen.borrow_mut().push(request.operation.own());
            return (1.0, answer(200, &previewed("pending", r#","updated_at":"1""#)));
        }
        let status = if seen.borrow().is_empty() { "done" } else { "failed" };
        (1.0, answer(200, &previewed(status, r#","updated_at":"2""#)))
    });
    host.run(client.render(ID, None, &named("op"))).expect("posted");
    host.finish();
    host.slow_journal(10.0);
    let other = Client::new(host.clone(), config_of("me"));
    host.later(3.0, move |host| {
        host.spawn(async move {
            let _ = other.render(ID, None, &named("op")).await;
        });
    });
    host.run(client.render(ID, None, &named("op"))).expect("posted again");
    host.finish();
    assert_eq!(*operations.borrow(), ["op", "op:again"]);
}

/// A job whose render is lost on its way and seen to be carried out, if perhaps by somebody else, and then fails. What
/// becomes of the same call when it is made again, and how often the render was posted.
fn asked_again_after_a_lost_answer(address: &'static str, request: Option<&Json>) -> (Result<Json, Failure<Json>>, usize) {
    let looks = Rc::new(Cell::new(0));
    let (client, host) = client_of(move |request| {
        if request.endpoint == Endpoint::Render {
            return (1.0, if looks.get() > 2 { answer(200, &previewed("pending", "")) } else { lost("ECONNRESET") });
        }
        looks.set(looks.get() + 1);
        let (status, at) = match looks.get() {
            1 => ("done", 1),
            2 => ("running", 2),
            _ => ("failed", 3),
        };
        (1.0, answer(200, &previewed(status, &format!(r#","updated_at":"{at}","webhook_url":"{address}""#))))
    });
    host.run(client.render(ID, request, &named("op"))).expect("seen to be rendered");
    host.run(client.poll(ID, None, PollOptions::default())).expect_err("failed");
    let again = host.run(client.render(ID, request, &named("op")));
    host.finish();
    (again, host.posts())
}

#[test]
fn a_render_that_only_a_look_showed_is_not_asked_for_again_for_its_own_request_may_still_come() {
    let token = json(r#"{"webhook_url":"https://me.test/{operation}"}"#);
    for (address, request) in
        [("https://me.test/other", None), ("https://me.test/op", None), ("https://me.test/ops", Some(&token))]
    {
        let (again, posts) = asked_again_after_a_lost_answer(address, request);
        assert_eq!(again.map_err(|failure| name(&failure)), Err("ChargeUnknownError".into()), "{address}");
        assert_eq!(posts, 1, "{address}");
    }
    // The address shows whose render it was.
    let (again, posts) = asked_again_after_a_lost_answer("https://me.test/op", Some(&token));
    again.expect("rendered again");
    assert_eq!(posts, 2);
}

#[test]
fn a_render_is_asked_for_again_after_each_failure_and_not_where_a_look_shows_an_old_one() {
    // When the last render that was posted failed, and what a look shows: a copy may be older.
    let (failures, shown) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (count, copy) = (Rc::clone(&failures), Rc::clone(&shown));
    let (client, host) = client_of(move |request| {
        if request.endpoint == Endpoint::Render {
            count.set(count.get() + 1);
            return (1.0, answer(200, &previewed("pending", "")));
        }
        let status = if copy.get() == 0 { "done" } else { "failed" };
        (1.0, answer(200, &previewed(status, &format!(r#","updated_at":"{}""#, copy.get()))))
    });
    let render = || host.run(client.render(ID, None, &ChargeOptions::default()));
    for failure in 0..4 {
        shown.set(failure);
        render().expect("posted");
        assert_eq!(failures.get(), failure + 1);
        render().expect("fetched: the look still shows what was before it");
        assert_eq!(failures.get(), failure + 1, "failure {failure}");
    }
}

#[test]
fn pending_leaves_alone_what_a_shared_budget_keeps_in_the_journal() {
    let host = Scripted::new(|_| (1.0, answer(201, &job("pending", ""))));
    let mut config = config_of("me");
    config.max_credits = 9.0;
    config.budget_key = value("november").into();
    let client = Client::new(host.clone(), config);
    host.run(client.submit(&request(), &ChargeOptions { seconds: Some(30.0), ..named("op") })).expect("posted");
    assert_eq!(host.run(client.pending()).expect("listed").len(), 1);
    assert_eq!(host.journal().len(), 2, "the operation and what it costs");
    assert!(!host.events().iter().any(|event| event.contains("skipped")), "{:?}", host.events());
}

#[test]
fn a_journal_that_never_answers_does_not_keep_the_answer_from_a_caller_whose_time_is_over() {
    let (client, host) = client_of(in_order(vec![(10.0, answer(201, &job("pending", "")))]));
    host.slow_journal(400.0);
    let options = ChargeOptions { timeout: Some(600.0), ..named("op") };
    let job = host.run(client.submit(&request(), &options)).expect("it was answered");
    assert_eq!((job["id"].as_str(), host.now()), (Some(ID), 600.0));
    host.finish();
    assert!(host.journal().iter().all(|entry| entry.contains("bound")), "{:?}", host.journal());
}

#[test]
fn a_job_that_a_webhook_brought_first_is_still_the_answer_of_its_own_charge() {
    let (client, host) = client_of(in_order(vec![
        (5_000.0, answer(200, &previewed("done", ""))),
        (1.0, answer(200, &previewed("done", ""))),
    ]));
    let (same, other) = (client.clone(), Client::new(host.clone(), config_of("me")));
    host.later(1_000.0, move |host| {
        host.spawn(async move {
            other.settle("op", Some(ID)).await.expect("settled by the webhook");
            assert_eq!(same.pending().await.expect("listed").len(), 1);
        });
    });
    host.run(client.preview_sync(&request(), &named("op"))).expect("its own job");
}

#[test]
fn a_job_that_was_rendered_before_its_preview_was_answered_is_still_that_answer() {
    let rendered = previewed("done", r#","video_output":"https://v""#);
    let (client, host) = client_of(move |request| match request.endpoint {
        Endpoint::PreviewSync => (5_000.0, answer(200, &previewed("done", ""))),
        Endpoint::Render => (1.0, answer(200, &rendered)),
        _ => (1.0, answer(200, &previewed("done", ""))),
    });
    let (same, other) = (client.clone(), Client::new(host.clone(), config_of("me")));
    host.later(1_000.0, move |host| {
        host.spawn(async move {
            other.settle("op", Some(ID)).await.expect("settled by the webhook");
            same.render(ID, None, &named("again")).await.expect("rendered");
        });
    });
    host.run(client.preview_sync(&request(), &named("op"))).expect("its own job");
}

#[test]
fn a_job_that_was_rendered_before_a_charge_began_is_not_that_charges() {
    let rendered = previewed("done", r#","video_output":"https://v""#);
    let (client, host) = client_of(move |request| match request.endpoint {
        Endpoint::Render | Endpoint::Submit => (1.0, answer(200, &rendered)),
        _ => (1.0, answer(200, &previewed("done", ""))),
    });
    host.run(client.render(ID, None, &named("render"))).expect("rendered");
    let failure = host.run(client.submit(&request(), &named("op"))).expect_err("whose answer is it?");
    assert_eq!(name(&failure), "ChargeUnknownError");
}

#[test]
fn a_job_that_another_charge_made_is_not_that_of_the_next_though_it_was_rendered_meanwhile() {
    let (client, host) = client_of(move |request| match request.endpoint {
        Endpoint::PreviewAsync => (1.0, answer(201, &job("pending", ""))),
        Endpoint::Render => (1.0, answer(200, &previewed("done", r#","video_output":"https://v""#))),
        Endpoint::Submit => (5_000.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &previewed("done", ""))),
    });
    host.run(client.preview_async(&request(), &named("made"))).expect("made");
    let same = client.clone();
    host.later(1_000.0, move |host| {
        host.spawn(async move {
            same.render(ID, None, &named("render")).await.expect("rendered");
        });
    });
    let failure = host.run(client.submit(&request(), &named("op"))).expect_err("whose answer is it?");
    assert_eq!(name(&failure), "ChargeUnknownError");
}

// ---- found by fuzzing ------------------------------------------------------------------------------

/// A client of a budget of 9 credits that others share, and how often it can submit for 5 under those operation ids.
fn submits_within_a_shared_budget(job: &'static str, operations: [&str; 2]) -> usize {
    let host = Scripted::new(move |request| match request.endpoint {
        Endpoint::Submit => (1.0, answer(201, &self::job("pending", ""))),
        _ => (1.0, answer(200, &self::job("done", job))),
    });
    let mut config = config_of("me");
    config.max_credits = 9.0;
    config.budget_key = value("november").into();
    let client = Client::new(host.clone(), config);
    for operation in operations {
        let options = ChargeOptions { seconds: Some(30.0), ..named(operation) };
        if host.run(client.submit(&request(), &options)).is_ok() {
            host.run(client.poll(ID, None, PollOptions::default())).expect("the video");
        }
    }
    host.finish();
    host.posts()
}

#[test]
fn an_operation_id_of_several_lines_counts_in_a_shared_budget() {
    let video = r#","video_output":"https://v","credits_used":5"#;
    for operation in ["one", "two\nlines", "two\rlines", "two\u{2028}lines", "a=b"] {
        assert_eq!(submits_within_a_shared_budget(video, [operation, "other"]), 1, "{operation:?}");
    }
}

#[test]
fn credits_that_no_job_can_have_used_leave_the_estimate_in_a_shared_budget() {
    for job in [
        r#","video_output":"https://v","credits_used":1e15"#,
        r#","video_output":"https://v","credits_used":1e300"#,
        r#","video_output":"https://v","credits_used":-1e300"#,
        r#","video_output":"https://v","credits_used":"1e3""#,
    ] {
        assert_eq!(submits_within_a_shared_budget(job, ["one", "other"]), 1, "{job}");
    }
}

/// Two clients list an operation that has expired, which the first then posts anew; how often it was posted.
fn listed_while_it_is_posted_anew(listing: [usize; 2]) -> usize {
    let ended = Rc::new(Cell::new(true));
    let over = Rc::clone(&ended);
    let script = move |request: &Request<Place>| match request.endpoint {
        Endpoint::Submit if ended.get() => (1.0, answer(201, &job("pending", ""))),
        Endpoint::Submit => (100.0, lost("ECONNRESET")),
        _ => (1.0, answer(200, &job("done", r#","video_output":"https://v""#))),
    };
    let (clients, host) = tabs(script, |_| {});
    let [client, _] = &clients;
    host.run(client.submit(&request(), &named("op"))).expect("posted");
    host.run(client.poll(ID, None, PollOptions::default())).expect("done");
    over.set(false);
    // So long after its end, an operation is forgotten, and its id is free for another charge.
    host.run(host.wait(31.0 * 86_400_000.0));
    host.slow_journal(10.0);
    for (begin, client) in [0.0, 5.0].into_iter().zip(listing.map(|at| clients[at].clone())) {
        host.later(begin, move |host| {
            host.spawn(async move {
                client.pending().await.expect("the journal");
            });
        });
    }
    host.run(host.wait(22.0));
    host.run(client.submit(&request(), &named("op"))).expect_err("lost");
    host.run(client.submit(&request(), &named("op"))).expect_err("unknown");
    host.posts()
}

#[test]
fn two_listings_at_once_do_not_forget_an_operation_that_is_posted_meanwhile() {
    assert_eq!(listed_while_it_is_posted_anew([0, 0]), 2, "one charge of then, and one of now");
}

#[test]
fn a_listing_of_another_client_does_not_forget_an_operation_that_is_posted_meanwhile() {
    assert_eq!(listed_while_it_is_posted_anew([0, 1]), 2, "one charge of then, and one of now");
    assert_eq!(listed_while_it_is_posted_anew([1, 1]), 2, "and neither do two");
}

// ---- found by mutants ------------------------------------------------------------------------------

#[test]
fn a_caller_whose_time_is_over_before_anything_was_sent_is_told_so() {
    let soon = || ChargeOptions { timeout: Some(50.0), ..named("op") };
    // While a render looks at its job,
    let (client, host) = client_of(|_| (1_000.0, answer(200, &job("done", r#","preview":"https://p""#))));
    assert!(is_unsent(&host.run(client.render(ID, None, &soon())).expect_err("late")));
    host.finish();
    assert_eq!(host.posts(), 0);

    // while the operation is being written down,
    let (client, host) = client_of(|_| panic!("sent"));
    host.slow_journal(1_000.0);
    assert!(is_unsent(&host.run(client.submit(&request(), &soon())).expect_err("late")));
    host.finish();

    // and between two tries of which the first was proven unsent.
    let (client, host) = client_of(in_order(vec![(45.0, lost("ECONNREFUSED")), (1.0, answer(201, &job("pending", "")))]));
    assert!(is_unsent(&host.run(client.submit(&request(), &soon())).expect_err("late")));
    host.finish();
    assert_eq!(host.posts(), 1, "nobody waits for another try");
}

#[test]
fn only_a_preview_that_blocks_is_waited_for_longer_than_a_request() {
    let (client, host) = client_of(in_order(vec![(60_000.0, answer(201, &job("done", r#","preview":"https://p""#)))]));
    host.run(client.preview_sync(&request(), &ChargeOptions::default())).expect("it blocks for a minute");
    for call in
        [client.submit(&request(), &ChargeOptions::default()), client.preview_async(&request(), &ChargeOptions::default())]
    {
        let begun = host.now();
        assert_eq!(name(&host.run(call).expect_err("too slow")), "ChargeUnknownError");
        assert_eq!(host.now() - begun, 30_000.0);
    }
}

#[test]
fn an_operation_that_is_taken_back_while_another_client_looks_at_it_is_that_clients() {
    let replies = vec![(100.0, answer(400, r#"["No."]"#)), (1.0, answer(201, &job("pending", "")))];
    let ([one, other], host) = tabs(in_order(replies), |_| {});
    host.slow_journal(10.0);
    host.spawn(async move {
        one.submit(&request(), &named("op")).await.expect_err("refused");
    });
    // Taken when it asks whether it is new, and gone when it asks by whom.
    let second = host.run(async {
        host.wait(105.0).await;
        other.submit(&request(), &named("op")).await
    });
    assert_eq!(second.expect("posted")["id"], ID);
    assert_eq!(host.posts(), 2);
}

#[test]
fn a_caller_that_leaves_while_a_shared_budget_is_asked_is_charged_nothing() {
    for moment in [50.0, 150.0, 250.0] {
        let host = Scripted::new(|_| panic!("sent"));
        let mut config = config_of("me");
        config.max_credits = 9.0;
        config.budget_key = value("november").into();
        let client = Client::new(host.clone(), config);
        host.slow_journal(100.0);
        let options = ChargeOptions { seconds: Some(30.0), ..named("op") };
        assert!(host.run_for(moment, client.submit(&request(), &options)).is_none());
        host.finish();
        assert_idle(&client, &host);
        assert!(host.journal().is_empty(), "left at {moment}: {:?}", host.journal());
    }
}

// ---- how long jobs took ----------------------------------------------------------------------------

const AURORA: &str = r#","model_version":"aurora_v1""#;

/// A client whose jobs take that many milliseconds, each with an id of its own, and say nothing of their progress.
fn taking(ms: f64) -> (Client<Scripted>, Scripted) {
    let clock = Rc::new(RefCell::new(None::<Scripted>));
    let now = Rc::clone(&clock);
    let mut begun = Vec::new();
    let (client, host) = client_of(move |request| {
        let now = now.borrow().as_ref().map_or(0.0, Host::now);
        let url = request.url.own();
        let url = url.as_str().expect("a URL");
        let rendered = url.ends_with("/render/");
        if request.endpoint.charges().is_some() && !rendered {
            begun.push((now, false));
        }
        let number = url.split('/').find_map(|part| part.strip_suffix("-2222-4333-8444-555555555555")?.parse().ok());
        let number = number.unwrap_or(begun.len());
        let (since, video) = &mut begun[number - 1];
        if rendered {
            (*since, *video) = (now, true);
        }
        let preview = if request.endpoint == Endpoint::PreviewAsync || *video { r#","preview":"https://p""# } else { "" };
        let done = if *video || preview.is_empty() { r#","video_output":"https://v""# } else { "" };
        let state = match request.endpoint {
            Endpoint::Get if now >= *since + ms => job("done", &format!(r#"{done},"preview":"https://p""#)),
            Endpoint::Get => job("running", ""),
            _ => job("pending", ""),
        };
        (0.0, answer(201, &state.replace("11111111", &format!("{number:08}"))))
    });
    *clock.borrow_mut() = Some(host.clone());
    (client, host)
}

/// A request for the template of that number.
fn request_of(template: usize, more: &str) -> Json {
    json(&format!(r#"{{"template_id":"{template:08}-0d44-4b50-8888-8dd25736052a","variables":{{}}{more}}}"#))
}

/// Under an id that no other charge has: the scripted host draws few.
fn anew(host: &Scripted) -> ChargeOptions {
    named(&host.requests().len().to_string())
}

/// When a job was looked at, in milliseconds after its wait began.
fn looks_at(client: &Client<Scripted>, host: &Scripted, request: &Json, options: PollOptions) -> Vec<f64> {
    let pending = host.run(client.submit(request, &anew(host))).expect("posted");
    looks_of(client, host, &pending, options)
}

fn looks_of(client: &Client<Scripted>, host: &Scripted, pending: &Json, options: PollOptions) -> Vec<f64> {
    let (begun, before) = (host.now(), host.times().len());
    host.run(client.poll(pending["id"].as_str().expect("an id"), Some(pending), options)).expect("done");
    host.finish();
    host.times()[before..].iter().map(|at| at - begun).collect()
}

/// Another client of the same journal.
fn another(host: &Scripted) -> Client<Scripted> {
    Client::new(host.clone(), config_of("me"))
}

#[test]
fn what_one_client_learned_another_one_of_its_journal_begins_with() {
    for ms in [25_000.0, 90_000.0] {
        let (client, host) = taking(ms);
        let blind = looks_at(&client, &host, &request(), PollOptions::default());
        let learned = looks_at(&client, &host, &request(), PollOptions::default());
        assert_ne!(blind, learned);

        let (client, host) = taking(ms);
        looks_at(&client, &host, &request(), PollOptions::default());
        assert_eq!(looks_at(&another(&host), &host, &request(), PollOptions::default()), learned, "{ms}");
        let lag = |looks: &[f64]| looks.last().expect("a look") - ms;
        assert!(learned.len() < blind.len() || lag(&learned) < lag(&blind), "{learned:?} {blind:?}");
    }
}

#[test]
fn a_job_that_is_gone_on_with_after_a_reload_is_expected_when_it_was_before() {
    let (client, host) = taking(90_000.0);
    looks_at(&client, &host, &request(), PollOptions::default());
    let pending = host.run(client.submit(&request(), &anew(&host))).expect("posted");
    let (begun, id) = (host.now(), pending["id"].as_str().expect("an id"));
    host.run(host.wait(60_000.0));

    let reloaded = another(&host);
    assert_eq!(host.run(reloaded.pending()).expect("listed").len(), 1);
    let left = Rc::new(Cell::new(0.0));
    let told = Rc::clone(&left);
    let tell = move |_: &Json, look: Look| told.set(look.remaining_ms);
    assert!(host.run_for(10.0, reloaded.watched(id, None, PollOptions::default(), tell)).is_none());
    assert!((left.get() - (begun + 90_000.0 - host.now())).abs() < 1_000.0, "{}", left.get());
}

#[test]
fn a_job_of_an_earlier_run_teaches_nothing_and_leaves_what_was_learned_as_old_as_it_is() {
    let (client, host) = taking(20_000.0);
    for learned in [0, 1] {
        let pending = host.run(client.submit(&request(), &anew(&host))).expect("posted");
        let before = host.durations();
        assert_eq!(before.len(), learned);
        let reloaded = another(&host);
        host.run(reloaded.pending()).expect("listed");
        looks_of(&reloaded, &host, &pending, PollOptions::default());
        assert_eq!(host.durations(), before);
        looks_at(&client, &host, &request(), PollOptions::default());
    }
}

#[test]
fn a_memory_from_the_journal_moves_the_first_look_and_no_look_to_later_than_it_was_planned() {
    let (client, host) = taking(4_000.0);
    assert_eq!(looks_at(&client, &host, &request(), PollOptions::default()), [5_000.0]);
    let (key, entry) = host.durations().pop().expect("what was learned");
    let looks = looks_at(&another(&host), &host, &request(), PollOptions::default());
    assert_eq!(looks[0], 2_500.0, "half of what it took");

    // It comes late, and the look is early all the same;
    host.journal_holds(&key, &entry);
    let client = another(&host);
    let pending = host.run(client.submit(&request(), &anew(&host))).expect("posted");
    host.slow_journal(400.0);
    assert_eq!(looks_of(&client, &host, &pending, PollOptions::default())[0], looks[0]);
    // or it comes too late, and nobody waits for it.
    host.slow_journal(0.0);
    host.journal_holds(&key, &entry);
    let client = another(&host);
    let pending = host.run(client.submit(&request(), &anew(&host))).expect("posted");
    host.slow_journal(3_600_000.0);
    assert_eq!(looks_of(&client, &host, &pending, PollOptions::default()), [5_000.0]);

    // Somebody who watches is served as soon as without it.
    host.slow_journal(0.0);
    host.journal_holds(&key, &entry.replace(":5000.0", ":90000.0"));
    let client = another(&host);
    let pending = host.run(client.submit(&request(), &anew(&host))).expect("posted");
    host.slow_journal(2_000.0);
    let watched = PollOptions { attentive: true, ..PollOptions::default() };
    assert_eq!(looks_of(&client, &host, &pending, watched)[0], 4_500.0);
}

#[test]
fn a_journal_that_fails_takes_a_memory_and_no_wait() {
    let (client, host) = taking(20_000.0);
    let blind = looks_at(&client, &host, &request(), PollOptions::default());
    let client = another(&host);
    let pending = host.run(client.submit(&request(), &anew(&host))).expect("posted");
    host.break_journal();
    assert_eq!(looks_of(&client, &host, &pending, PollOptions::default()), blind);
}

#[test]
fn neither_another_template_nor_step_nor_model_nor_account_uses_what_was_learned_of_one() {
    let (client, host) = taking(20_000.0);
    let blind = looks_at(&client, &host, &request(), PollOptions::default());
    let other_account = Client::new(host.clone(), config_of("somebody else"));
    for (client, request) in [
        (&another(&host), request_of(7, "")),
        (&another(&host), request_of(7, AURORA)),
        (&another(&host), request_of(7, r#","model_version":"aurora_v1_fast""#)),
        (&other_account, request()),
    ] {
        assert_eq!(looks_at(client, &host, &request, PollOptions::default()), blind, "{request}");
    }
    let client = another(&host);
    let pending = host.run(client.preview_async(&request(), &anew(&host))).expect("posted");
    assert_eq!(looks_of(&client, &host, &pending, PollOptions::default()), blind, "another step");
    assert_eq!(host.durations().len(), 6);
}

#[test]
fn a_render_that_names_no_model_is_learned_of_with_that_of_its_preview() {
    let (client, host) = taking(2_000.0);
    for body in [None, Some(request_of(7, AURORA))] {
        let pending = host.run(client.preview_async(&request_of(7, AURORA), &anew(&host))).expect("posted");
        looks_of(&client, &host, &pending, PollOptions::default());
        let id = pending["id"].as_str().expect("an id");
        let rendering = host.run(client.render(id, body.as_ref(), &anew(&host))).expect("posted");
        looks_of(&client, &host, &rendering, PollOptions::default());
        assert_eq!(host.durations().len(), 2, "the preview and the render");
    }
}

#[test]
fn what_the_caller_expects_goes_before_what_was_learned() {
    let expecting = || PollOptions { expected_ms: Some(60_000.0), ..PollOptions::default() };
    let (client, host) = taking(20_000.0);
    let told = looks_at(&client, &host, &request(), expecting());
    assert_eq!(looks_at(&another(&host), &host, &request(), expecting()), told);
    assert_ne!(looks_at(&another(&host), &host, &request(), PollOptions::default()), told);
}

#[test]
fn what_is_no_duration_is_not_believed_and_gives_way() {
    let (client, host) = taking(20_000.0);
    let blind = looks_at(&client, &host, &request(), PollOptions::default());
    let (key, good) = host.durations().pop().expect("what was learned");
    let day = 86_400_000.0;
    let with = |field: &str, text: &str| {
        let mut bad = json(&good);
        bad[field] = json(text);
        bad.to_string()
    };
    let at = |days: f64| with("at", &(host.wall() + days * day).to_string());
    let huge = format!("[{}1]", "1,".repeat(100_000));
    let mut bad = vec![at(2.0), at(-30.1), huge];
    bad.extend(["null", "7", "true", "[]", "{}", "\"\"", "\"{}\"", r#"{"version":2}"#].map(String::from));
    for number in ["-1", "0", "86400001", "1e300", "null", "\"\"", "\"1e3\"", "[20000]", "{}"] {
        bad.push(with("ms", number));
    }
    for number in ["0", "-1", "null", "[]"] {
        bad.push(with("kind", number).replace("20600", "50600"));
    }
    for number in ["0", "-1", "1e300", "null", "{}"] {
        bad.push(with("at", number));
    }
    for entry in bad {
        host.journal_holds(&key, &entry);
        let looks = looks_at(&another(&host), &host, &request(), PollOptions::default());
        assert_eq!(looks, blind, "{entry:.100}");
        let told = json(&host.durations().pop().expect("it is learned anew").1);
        assert_eq!((told.number_of("ms"), told.number_of("kind")), (blind[2], json(&good).number_of("kind")));
    }
    for entry in [&at(0.9), &at(-29.9)] {
        host.journal_holds(&key, entry);
        assert_ne!(looks_at(&another(&host), &host, &request(), PollOptions::default()), blind, "{entry}");
    }
}

#[test]
fn two_clients_that_learn_at_once_keep_each_others_templates() {
    let (client, host) = taking(20_000.0);
    let other = another(&host);
    for (client, template) in [(client, 1), (other, 2)] {
        host.spawn({
            let host = host.clone();
            async move {
                for job in 0..3 {
                    let operation = named(&format!("{template}/{job}"));
                    let pending = client.submit(&request_of(template, ""), &operation).await.expect("posted");
                    let id = pending["id"].as_str().expect("an id").to_owned();
                    client.poll(&id, Some(&pending), PollOptions::default()).await.expect("done");
                    host.wait(0.0).await;
                }
            }
        });
    }
    host.finish();
    let third = another(&host);
    let [blind, one, two] =
        [3, 1, 2].map(|template| looks_at(&third, &host, &request_of(template, ""), PollOptions::default()));
    assert_ne!(one, blind);
    assert_eq!(one, two);
}

#[test]
fn the_journal_has_durations_in_no_more_than_a_thousand_places() {
    let (_, host) = taking(1_000.0);
    for begin in [0, 750] {
        let client = another(&host);
        for template in begin..begin + 750 {
            looks_at(&client, &host, &request_of(template, ""), PollOptions::default());
        }
    }
    let count = host.durations().len();
    assert!((600..=1_000).contains(&count), "{count}");
}

#[test]
fn nothing_is_learned_of_a_job_that_failed_and_pending_does_not_see_what_is() {
    let (client, host) = client_of(|request| match request.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("failed", ""))),
    });
    let pending = host.run(client.submit(&request(), &anew(&host))).expect("posted");
    host.run(client.poll(ID, Some(&pending), PollOptions::default())).expect_err("failed");
    host.finish();
    assert!(host.durations().is_empty());

    let (client, host) = taking(1_000.0);
    looks_at(&client, &host, &request(), PollOptions::default());
    assert_eq!(host.durations().len(), 1);
    assert!(host.run(client.pending()).expect("the journal").is_empty());
    assert!(!host.events().iter().any(|event| event.contains("skipped")), "{:?}", host.events());
}
