//! Tests of charges: one charging call sends at most one request that can charge.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use custom_template_jobs::api::Endpoint;
use custom_template_jobs::charge::State;
use custom_template_jobs::client::{ChargeOptions, Client, Config, PollOptions};
use custom_template_jobs::error::{Charged, ErrorKind};
use custom_template_jobs::host::{Env, Unusable};
use serde_json::Value;
use test_host::fixtures::*;
use test_host::provider::Charge;
use test_host::{
    Event, Fault, Given, Method, Plan, Provider, Reply, Sent, TestHost, World, answer, cut, failed, json, text,
};

#[test]
fn a_charge_is_sent_once_whatever_its_outcome() {
    let cases = [
        ("reset", failed("ECONNRESET"), "ChargeUnknownError", 1),
        ("opaque", failed(""), "ChargeUnknownError", 1),
        ("html", text(200, "<html>"), "ChargeUnknownError", 1),
        ("broken", cut(201, r#"{"id":"1111"#), "ChargeUnknownError", 1),
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
        let (client, world) = client_with(vec![(10.0, reply)]);
        let failure = world.run(client.submit(&request(), named("op"))).expect_err(case);
        assert_eq!(failure.name(), error, "{case}");
        assert_eq!(failure.operation(), Some("op"), "{case}");
        assert!(!failure.message().contains("  "), "{}", failure.message());
        assert_eq!(world.network().charges(), 1, "{case}");
        assert_eq!(world.journal().operations().len(), entries, "{case}: entries in the journal");
        world.finish();
        assert_idle(&client);
    }
    // No answer.
    let (client, world) = client_with(vec![(f64::INFINITY, failed(""))]);
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("silence");
    assert_eq!((failure.name(), world.now()), ("ChargeUnknownError", 30_000.0));
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn an_unknown_charge_is_refused_until_it_is_settled() {
    let (client, world) = client_with(vec![(1.0, failed("")), (1.0, answer(200, &job("running", "")))]);
    world.run(client.submit(&request(), named("op"))).expect_err("lost");
    let again = world.run(client.submit(&request(), named("op"))).expect_err("unknown");
    assert_eq!(again.name(), "ChargeUnknownError");
    assert_eq!(world.network().charges(), 1);

    let settled = world.run(client.settle("op", None)).expect("an unknown operation");
    assert_eq!(settled.state, State::Unknown);
    let settled = world.run(client.settle("op", Some(ID))).expect("settled");
    assert_eq!((settled.state, settled.job_id.as_deref()), (State::Bound, Some(ID)));
    let job = world.run(client.submit(&request(), named("op"))).expect("the bound job");
    assert_eq!(job["id"], ID);
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_request_proven_unsent_is_retried_at_most_twice() {
    let (client, world) = client_with(vec![(1.0, failed("ECONNREFUSED"))]);
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("refused");
    assert!(is_unsent(&failure), "{failure:?}");
    assert!(failure.cause().is_some());
    assert_eq!(world.network().charges(), 3);
    assert!(world.journal().is_empty(), "nothing was charged: {:?}", world.journal());

    let replies = vec![(1.0, failed("ECONNREFUSED")), (1.0, answer(201, &job("pending", "")))];
    let (client, world) = client_with(replies);
    world.run(client.submit(&request(), named("op"))).expect("the second attempt is answered");
    assert_eq!(world.network().charges(), 2);
}

#[test]
fn retries_after_an_unsent_attempt_stop_at_an_unknown_outcome() {
    let (client, world) = client_with(vec![(1.0, failed("ENOTFOUND")), (1.0, failed("ECONNRESET"))]);
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("reset");
    assert_eq!(failure.name(), "ChargeUnknownError");
    assert_eq!(world.network().charges(), 2);
}

#[test]
fn two_calls_with_one_operation_id_are_one_charge() {
    for seed in 0..50 {
        let world = World::seeded(seed);
        world.script(|sent| match sent.endpoint {
            Endpoint::PreviewAsync => (500.0, answer(201, &job("pending", ""))),
            _ => (10.0, answer(200, &job("running", ""))),
        });
        let client = world.process().client(config());
        let calls = [0, 1].map(|_| {
            let client = client.clone();
            world.start(async move { client.preview_async(&request(), named("click")).await })
        });
        world.finish();
        for call in calls {
            assert_eq!(call.take().expect("settled").expect("sent or joined")["id"], ID);
        }
        assert_eq!(world.network().charges(), 1, "seed {seed}");
        assert_idle(&client);
    }
}

#[test]
fn one_operation_id_for_two_requests_is_a_conflict() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    let other = request_with(r#","name":"other""#);
    let failure = world.run(client.submit(&other, named("op"))).expect_err("conflict");
    assert_eq!(failure.name(), "OperationConflictError");
    let failure = world.run(client.preview_async(&request(), named("op"))).expect_err("another step");
    assert_eq!(failure.name(), "OperationConflictError");
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn two_submits_without_an_id_are_two_jobs() {
    let other = job("pending", "").replace(ID, OTHER);
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", ""))), (1.0, answer(201, &other))]);
    for _ in 0..2 {
        world.run(client.submit(&request(), unnamed(&client))).expect("sent");
    }
    assert_eq!(world.network().charges(), 2);
    assert_eq!(world.journal().operations().len(), 2);
}

#[test]
fn an_answer_with_the_id_of_a_known_job_binds_with_a_warning() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    for operation in ["one", "other"] {
        assert_eq!(world.warnings().len(), 0);
        let job = world.run(client.submit(&request(), named(operation))).expect("bound");
        assert_eq!(job["id"], ID);
    }
    assert_eq!(states(&world), ["bound", "bound"]);
    assert_eq!(world.warnings(), ["known_job_id"]);
}

#[test]
fn a_refused_operation_may_be_retried_under_its_id() {
    let refusal = answer(400, r#"["Template is not ready."]"#);
    let (client, world) = client_with(vec![(1.0, refusal), (1.0, answer(201, &job("pending", "")))]);
    world.run(client.submit(&request(), named("op"))).expect_err("refused");
    world.run(client.submit(&request(), named("op"))).expect("accepted");
    assert_eq!(world.network().charges(), 2);
}

#[test]
fn a_timeout_or_an_abort_does_not_stop_a_sent_charge() {
    // A timeout,
    let (client, world) = client_with(vec![(60_000.0, answer(201, &job("pending", "")))]);
    let options = ChargeOptions { timeout: Some(1_000.0), ..named("op") };
    let failure = world.run(client.submit(&request(), options)).expect_err("too slow");
    assert_eq!((failure.name(), world.now()), ("ChargeUnknownError", 1_000.0));
    world.finish();
    let pending = world.run(client.pending()).expect("the journal");
    assert_eq!(pending.len(), 1);
    assert_eq!((pending[0].state, pending[0].job_id.as_deref()), (State::Bound, Some(ID)));

    // and a dropped call.
    let (client, world) = client_with(vec![(60_000.0, answer(201, &job("pending", "")))]);
    assert!(world.run_for(5.0, client.submit(&request(), named("op"))).is_none());
    world.finish();
    assert_eq!(world.network().charges(), 1);
    let pending = world.run(client.pending()).expect("the journal");
    assert_eq!((pending[0].state, pending[0].job_id.as_deref()), (State::Bound, Some(ID)));
}

#[test]
fn an_operation_whose_process_crashed_is_never_sent_again() {
    let (client, world) = client_with(vec![(60_000.0, answer(201, &job("pending", "")))]);
    assert!(world.run_for(5.0, client.submit(&request(), named("op"))).is_none());
    client.host().crash();
    let client = world.process().client(config());
    let pending = world.run(client.pending()).expect("the journal survives");
    assert_eq!(pending.iter().map(|operation| operation.state).collect::<Vec<_>>(), [State::Unknown]);
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("unknown");
    assert_eq!(failure.name(), "ChargeUnknownError");
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn an_abort_before_the_request_leaves_no_charge_and_no_operation() {
    // While the entry is being written,
    let (client, world) = client_of(|_| panic!("sent"));
    world.journal().plan_all(Plan::answers_after(100.0));
    assert!(world.run_for(50.0, client.submit(&request(), named("op"))).is_none());
    world.finish();
    assert!(world.journal().is_empty(), "{:?}", world.journal());
    assert_idle(&client);

    // and while a render reads its job.
    let (client, world) = client_of(|sent| {
        assert_eq!(sent.endpoint, Endpoint::Get);
        (100.0, answer(200, &previewed("done", "")))
    });
    assert!(world.run_for(50.0, client.render(ID, None, of_render(ID))).is_none());
    world.finish();
    assert!(world.journal().is_empty(), "{:?}", world.journal());
    assert_eq!(world.network().charges(), 0);
    assert_idle(&client);
}

#[test]
fn another_account_does_not_list_the_operations() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    let other = world.process().client(config_of("somebody else"));
    assert!(world.run(other.pending()).expect("the journal").is_empty());
    let same = world.process().client(config());
    assert_eq!(world.run(same.pending()).expect("the journal").len(), 1);
}

#[test]
fn nothing_is_sent_if_its_entry_cannot_be_written() {
    let (client, world) = client_of(|_| panic!("sent"));
    world.journal().plan_all(Plan::THROWS);
    for options in [named("op"), unnamed(&client)] {
        let failure = world.run(client.submit(&request(), options)).expect_err("no journal");
        assert_eq!(failure.name(), "JournalError");
        assert!(failure.cause().is_some(), "the thrown value");
    }
}

#[test]
fn nothing_is_sent_if_its_marker_cannot_be_written() {
    let (client, world) = client_of(|_| panic!("sent"));
    world.journal().plan_method(Method::Write, Plan::THROWS);
    let failure = world.run(client.submit(&request(), unnamed(&client))).expect_err("no marker");
    assert_eq!(failure.name(), "JournalError");
    assert!(world.journal().is_empty(), "{:?}", world.journal());
}

#[test]
fn a_verdict_that_cannot_be_written_does_not_lose_the_answer() {
    let (client, world) = client_with(vec![(1_000.0, answer(201, &job("pending", "")))]);
    let journal = Rc::clone(world.journal());
    world.after(500.0, move || journal.plan_all(Plan::THROWS));
    let job = world.run(client.submit(&request(), unnamed(&client))).expect("the job");
    assert_eq!(job["id"], ID);
}

#[test]
fn a_charge_is_sent_while_the_browser_reports_offline() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    client.host().set_env(Env { visible: true, online: false });
    world.run(client.submit(&request(), named("op"))).expect("sent although offline");
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_rendered_job_is_not_charged_again() {
    let (client, world) = client_with(vec![(1.0, answer(200, &rendered()))]);
    for options in [of_render(ID), named("op")] {
        world.run(client.render(ID, None, options)).expect("the rendered job");
    }
    assert_eq!(world.network().charges(), 0);
    world.finish();
    assert!(world.run(client.pending()).expect("the journal").is_empty());
}

#[test]
fn a_job_that_this_journal_is_rendering_is_not_charged_again() {
    for another_process in [false, true] {
        let world = World::new();
        let provider = Provider::new(&world);
        let client = world.process().client(config());
        let preview = world.run(client.preview_sync(&request(), named("preview"))).expect("a preview");
        let id = preview["id"].as_str().expect("an id");
        world.run(client.render(id, None, of_render(id))).expect("sent");
        let client = if another_process { world.process().client(config()) } else { client };
        world.pass(5_000.0);
        let again = world.run(client.render(id, None, named("another"))).expect("it is being rendered");
        assert_eq!(again["status"], "running");
        assert_eq!(provider.charges().len(), 2, "the preview and one render");
    }
}

#[test]
fn a_render_in_flight_elsewhere_is_not_reported_as_uncharged_if_the_journal_fails() {
    // Another client renders the job under the same operation while this client reads it.
    let charged = Cell::new(false);
    let ([one, other], world) = tabs(
        move |sent| match sent.endpoint {
            Endpoint::Render => {
                charged.set(true);
                (1.0, answer(200, &previewed("pending", "")))
            }
            _ if sent.host == 1 => (100.0, answer(200, &previewed(if sent.at > 50.0 { "failed" } else { "running" }, ""))),
            _ if charged.get() => (1.0, answer(200, &previewed("running", ""))),
            _ => (1.0, answer(200, &previewed("done", ""))),
        },
        &config(),
    );
    let broken = Cell::new(false);
    world.journal().plan(move |call| {
        broken.set(broken.get() || call.host == 1 && call.method == Method::Create);
        if call.host == 1 && broken.get() { Plan::THROWS } else { Plan::USUAL }
    });
    let looking = other.clone();
    let call = world.start(async move { looking.render(ID, None, of_render(ID)).await });
    world.pass(10.0);
    world.run(one.render(ID, None, of_render(ID))).expect("sent");
    world.finish();
    assert_eq!(call.take().expect("settled").expect("it is being rendered")["id"], ID);
    let failure = world.run(other.poll(ID, None, PollOptions::default(), None)).expect_err("it fails");
    let operation = format!("render:{ID}");
    assert_eq!((failure.name(), failure.operation()), ("JobFailedError", Some(operation.as_str())));
    assert_eq!(failure.charged(), Charged::Maybe);
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn an_early_preview_url_is_not_taken_for_a_render() {
    let world = World::new();
    let provider = Provider::new(&world);
    provider.set(|manner| manner.early_preview = true);
    let client = world.process().client(config());
    let pending = world.run(client.preview_async(&request(), named("preview"))).expect("sent");
    let id = pending["id"].as_str().expect("an id");
    let early = world.run(client.poll(id, Some(pending.clone()), PollOptions::default(), None)).expect("its URL");
    assert_eq!((&early["status"], early["preview"].is_string()), (&json("\"running\""), true));
    let rendering = world.run(client.render(id, None, of_render(id))).expect("rendered once the preview is done");
    assert_eq!(provider.charges().len(), 2, "the preview and the render");
    let video = world.run(client.poll(id, Some(rendering), PollOptions::default(), None)).expect("the video");
    assert!(video["video_output"].is_string());
}

#[test]
fn a_preview_that_stays_in_progress_leaves_the_render_uncharged_and_its_operation_free() {
    let (client, world) = client_of(|sent| {
        assert_eq!(sent.endpoint, Endpoint::Get);
        (1.0, answer(200, &previewed("running", "")))
    });
    let failure = world.run(client.render(ID, None, named("op"))).expect_err("in progress");
    assert_eq!((failure.name(), failure.operation(), failure.job_id()), ("PollTimeoutError", Some("op"), Some(ID)));
    assert!((300_000.0..302_000.0).contains(&world.now()), "previewTimeout applies: {}", world.now());
    assert!(world.journal().is_empty(), "{:?}", world.journal());
    world.finish();
    assert_idle(&client);
}

#[test]
fn one_job_in_two_spellings_is_one_charge() {
    for upper_case in [false, true] {
        let world = World::new();
        let provider = Provider::new(&world);
        provider.set(|manner| manner.upper_case = upper_case);
        let client = world.process().client(config());
        let preview = world.run(client.preview_sync(&request(), named("preview"))).expect("a preview");
        let id = preview["id"].as_str().expect("an id");
        let (lower, upper) = (id.to_ascii_lowercase(), id.to_ascii_uppercase());
        world.run(client.render(&lower, None, named("one"))).expect("sent");
        world.run(client.render(&upper, None, named("two"))).expect("the same job");
        assert_eq!(provider.charges().len(), 2, "the preview and one render");
        assert!(world.network().requests().iter().all(|line| !line.contains(&upper) || upper == lower));
        world.run(client.get(&upper, None)).expect("read");
        let video = world.run(client.poll(&upper, None, video(), None)).expect("the video");
        assert!(video["video_output"].is_string());
    }
}

#[test]
fn spellings_of_one_base_url_with_a_slash_or_without_are_one_namespace() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    let config = Config::new("https://api.test", "id", "me");
    let other = world.process().client(config);
    assert_eq!(world.run(other.pending()).expect("listed").len(), 1);
}

#[test]
fn a_render_is_sent_once_and_a_lost_answer_is_settled_by_a_read() {
    let sent_once = Cell::new(false);
    let (client, world) = client_of(move |sent| match sent.endpoint {
        Endpoint::Render => {
            sent_once.set(true);
            (1.0, failed("ECONNRESET"))
        }
        _ if sent_once.get() => (1.0, answer(200, &previewed("pending", ""))),
        _ => (1.0, answer(200, &previewed("done", ""))),
    });
    world.run(client.render(ID, None, of_render(ID))).expect("the job is rendering");
    assert_eq!(world.network().charges(), 1);
    let pending = world.run(client.pending()).expect("the journal");
    assert_eq!(pending[0].operation, format!("render:{ID}"));
    assert_eq!((pending[0].state, pending[0].job_id.as_deref()), (State::Bound, Some(ID)));
}

#[test]
fn a_render_whose_outcome_stays_unknown_is_not_sent_again() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Render => (1.0, answer(502, "{}")),
        _ => (1.0, answer(200, &previewed("done", ""))),
    });
    for _ in 0..3 {
        let failure = world.run(client.render(ID, None, of_render(ID))).expect_err("unknown");
        assert_eq!((failure.name(), failure.job_id()), ("ChargeUnknownError", Some(ID)));
        assert!(failure.job().is_some(), "the last known job");
    }
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn redelivery_of_an_operation_whose_render_failed_charges_once() {
    let world = World::new();
    let provider = Provider::new(&world);
    let client = world.process().client(config());
    let preview = world.run(client.preview_sync(&request(), named("preview"))).expect("a preview");
    let id = preview["id"].as_str().expect("an id");
    provider.set(|manner| manner.fails = true);
    let renders = || provider.charges().iter().filter(|charge| charge.operation.as_deref() == Some("op")).count();
    for delivery in 0..11 {
        // Each delivery is to another process of a queue.
        let client = world.process().client(config());
        let job = world.run(client.render(id, None, named("op"))).expect("the job");
        let failure = world.run(client.poll(id, Some(job), PollOptions::default(), None)).expect_err("it fails");
        assert_eq!(failure.name(), "JobFailedError", "delivery {delivery}");
        world.pass(60_000.0);
        assert_eq!(renders(), 1, "delivery {delivery}");
    }
    // Another charge needs a new operation.
    provider.set(|manner| manner.fails = false);
    let job = world.run(client.render(id, None, named("another"))).expect("sent");
    world.run(client.poll(id, Some(job), PollOptions::default(), None)).expect("the video");
    assert_eq!(provider.charges().len(), 3);
}

#[test]
fn a_rendered_job_is_rendered_again_only_for_other_values_under_a_new_operation() {
    let world = World::new();
    let provider = Provider::new(&world);
    let client = world.process().client(config());
    let preview = world.run(client.preview_sync(&request(), named("preview"))).expect("a preview");
    let id = preview["id"].as_str().expect("an id");
    let same = r#"{"variables":{"t":{"type":"text","properties":{}}}}"#;
    let other = r#"{"variables":{"t":{"type":"text","properties":{"content":"new"}}}}"#;
    let render = |request: Option<&str>, options: ChargeOptions| {
        let job = world.run(client.render(id, request, options)).expect("a job");
        world.run(client.poll(id, Some(job), video(), None)).expect("the video");
        provider.charges().len()
    };
    assert_eq!(render(None, named("first")), 2, "the preview and the render");
    assert_eq!(render(Some(other), of_render(id)), 2, "without a new operation");
    assert_eq!(render(Some(same), named("same")), 2, "with the values of the job");
    assert_eq!(render(Some(other), named("other")), 3);
    assert_eq!(render(Some(other), named("again")), 3);
}

#[test]
fn a_webhook_url_carries_the_operation_id_encoded() {
    for (operation, url) in [
        ("op-7", "https://me.test/hook?x=op-7"),
        ("a+b&c#d/e%f?g h", "https://me.test/hook?x=a%2Bb%26c%23d%2Fe%25f%3Fg%20h"),
        ("Größe", "https://me.test/hook?x=Gr%C3%B6%C3%9Fe"),
    ] {
        let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
        let request = request_with(r#","webhook_url":"https://me.test/hook?x={operation}""#);
        world.run(client.submit(&request, named(operation))).expect("sent");
        let body = world.network().log()[0].body.clone().expect("a body");
        assert_eq!(json(&body)["webhook_url"], url);
    }
    let (client, world) = client_of(|_| panic!("sent"));
    let request = request_with(r#","webhook_url":"https://me.test/hook?x={operation}""#);
    let failure = world.run(client.submit(&request, named(&"ä".repeat(100)))).expect_err("too long with the id filled in");
    assert_eq!((field(&failure), failure.operation().is_some()), (Some("webhook_url"), true));
}

// Before the request

fn unusable() -> Result<(), Unusable<Value>> {
    Err(Unusable { field: "headers", advice: "could not be made", cause: Some("thrown".into()) })
}

#[test]
fn an_abort_while_headers_are_made_sends_nothing() {
    for timeout in [None, Some(100.0)] {
        let (client, world) = client_of(|_| panic!("sent"));
        client.host().on_headers(|| Given::after(1_000.0, Ok(())));
        let request = request();
        let call = client.submit(&request, ChargeOptions { timeout, ..named("op") });
        if let Some(result) = world.run_for(200.0, call) {
            let failure = result.expect_err("late");
            assert!(timeout.is_some() && is_unsent(&failure), "{failure:?}");
        }
        world.finish();
        assert_eq!(world.network().count(), 0);
        assert!(world.journal().is_empty(), "nothing is written before the headers: {:?}", world.journal());
        assert_idle(&client);
    }
}

#[test]
fn a_timeout_of_the_headers_sends_nothing_and_frees_the_operation() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    client.host().on_headers(|| Given::after(f64::INFINITY, Ok(())));
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("never");
    assert!(is_unsent(&failure), "{failure:?}");
    assert_eq!((world.now(), world.network().count()), (30_000.0, 0));
    client.host().on_headers(|| Given::now(Ok(())));
    world.run(client.submit(&request(), named("op"))).expect("the same operation is free");
}

#[test]
fn headers_that_fail_reject_with_an_error_about_the_option() {
    let (client, world) = client_of(|_| panic!("sent"));
    client.host().on_headers(|| Given::now(unusable()));
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("unusable");
    assert_eq!((field(&failure), failure.operation()), (Some("headers"), Some("op")));
    assert!(failure.cause().is_some());
    assert!(world.journal().is_empty());
}

#[test]
fn a_create_whose_acknowledgement_was_lost_recognises_its_own_entry() {
    for plan in [Plan::WORKS_AND_THROWS, Plan::WORKS_AND_HANGS] {
        let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
        world.journal().plan_method(Method::Create, plan.clone());
        let options = ChargeOptions { timeout: Some(100_000.0), ..named("op") };
        let job = world.run(client.submit(&request(), options)).expect("the entry is its own");
        assert_eq!(job["id"], ID, "{plan:?}");
        assert_eq!((world.network().charges(), states(&world)), (1, vec!["bound".to_owned()]), "{plan:?}");
    }
}

#[test]
fn a_create_that_succeeds_after_its_timeout_is_deleted_by_its_owner() {
    for timeout in [None, Some(100_000.0)] {
        for again in [false, true] {
            let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
            world.journal().plan_method(Method::Create, Plan::works_after(40_000.0));
            let options = ChargeOptions { timeout, ..named("op") };
            let failure = world.run(client.submit(&request(), options)).expect_err("too late");
            assert!(is_unsent(&failure) || failure.name() == "JournalError", "{failure:?}");
            world.finish();
            assert_eq!(world.network().count(), 0);
            assert!(world.journal().is_empty(), "timeout {timeout:?}: {:?}", world.journal());
            if again {
                world.journal().plan_all(Plan::USUAL);
                world.run(client.submit(&request(), named("op"))).expect("its operation is free");
            }
        }
    }
}

#[test]
fn a_create_acknowledged_after_its_timeout_keeps_the_entry_of_its_charge() {
    // The entry was written at once, so the charge goes on; the acknowledgement comes while it is in flight.
    let ([one, other], world) = tabs(|_| (60_000.0, answer(201, &job("pending", ""))), &config());
    world.journal().plan(|call| {
        if call.host == 0 && call.method == Method::Create { Plan::answers_after(40_000.0) } else { Plan::USUAL }
    });
    let options = ChargeOptions { timeout: Some(200_000.0), ..named("op") };
    let call = world.start(async move { one.submit(&request(), options).await });
    world.pass(50_000.0);
    assert_eq!((world.network().charges(), states(&world)), (1, vec!["sending".to_owned()]));
    let failure = world.run(other.submit(&request(), named("op"))).expect_err("it is in flight");
    assert_eq!(failure.name(), "ChargeUnknownError");
    world.finish();
    assert_eq!(call.take().expect("settled").expect("its job")["id"], ID);
    assert_eq!((world.network().charges(), states(&world)), (1, vec!["bound".to_owned()]));
}

#[test]
fn a_journal_that_hangs_ends_a_charge_within_its_timeout_and_leaves_the_operation_free() {
    for method in [Method::Create, Method::Read, Method::Write] {
        let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
        world.journal().plan_method(method, Plan::HANGS);
        let failure = world.run(client.submit(&request(), named("op"))).expect_err("no journal");
        assert!(is_unsent(&failure) || failure.name() == "JournalError", "{method:?}: {failure:?}");
        assert_eq!(world.now(), 30_000.0, "{method:?}");
        world.finish();
        assert_eq!(world.network().count(), 0, "{method:?}");
        world.journal().plan_all(Plan::USUAL);
        world.run(client.submit(&request(), named("op"))).unwrap_or_else(|failure| panic!("{method:?}: {failure:?}"));
    }
}

#[test]
fn a_journal_that_hangs_does_not_withhold_the_answer_past_the_timeout() {
    let (client, world) = client_with(vec![(10.0, answer(201, &job("pending", "")))]);
    world.journal().plan_method(Method::Replace, Plan::HANGS);
    let options = ChargeOptions { timeout: Some(600.0), ..named("op") };
    let job = world.run(client.submit(&request(), options)).expect("it was answered");
    assert_eq!((job["id"].as_str(), world.now()), (Some(ID), 600.0));
}

#[test]
fn a_timeout_before_the_request_rejects_with_sent_false() {
    let soon = || ChargeOptions { timeout: Some(50.0), ..named("op") };
    // While a render reads its job,
    let (client, world) = client_of(|_| (1_000.0, answer(200, &previewed("done", ""))));
    assert!(is_unsent(&world.run(client.render(ID, None, soon())).expect_err("late")));
    world.finish();
    assert_eq!(world.network().charges(), 0);

    // while the entry is being written,
    let (client, world) = client_of(|_| panic!("sent"));
    world.journal().plan_all(Plan::answers_after(1_000.0));
    assert!(is_unsent(&world.run(client.submit(&request(), soon())).expect_err("late")));
    world.finish();

    // and between two attempts of which the first was proven unsent.
    let (client, world) = client_with(vec![(45.0, failed("ECONNREFUSED")), (1.0, answer(201, &job("pending", "")))]);
    assert!(is_unsent(&world.run(client.submit(&request(), soon())).expect_err("late")));
    world.finish();
    assert_eq!(world.network().charges(), 1, "no second attempt after the timeout");
}

#[test]
fn only_a_blocking_preview_waits_longer_than_the_request_timeout() {
    let (client, world) = client_with(vec![(60_000.0, answer(201, &previewed("done", "")))]);
    world.run(client.preview_sync(&request(), unnamed(&client))).expect("an answer after a minute");
    for step in [Endpoint::Submit, Endpoint::PreviewAsync] {
        let begun = world.now();
        let call = async {
            match step {
                Endpoint::Submit => client.submit(&request(), unnamed(&client)).await,
                _ => client.preview_async(&request(), unnamed(&client)).await,
            }
        };
        assert_eq!(world.run(call).expect_err("too slow").name(), "ChargeUnknownError");
        assert_eq!(world.now() - begun, 30_000.0);
    }
}

// Salvage

#[test]
fn only_the_id_of_the_outermost_object_of_a_cut_off_answer_is_salvaged() {
    let cut_after = |text: &str| cut(201, text);
    for (reply, bound) in [
        (cut_after(&format!(r#"{{"id":"{ID}","sta"#)), true),
        // Without a Content-Length, nothing shows that the body was cut off.
        (text(201, &format!(r#"{{"id":"{ID}","sta"#)), true),
        (text(201, &format!(r#"{{"variables":{{"id":"{ID}"}},"sta"#)), false),
        (cut_after(&format!(r#"{{"status":"pending","variables":{{"id":"{OTHER}"}},"id":"{ID}""#)), true),
        (cut_after(&format!(r#"{{"id":"{}"#, &ID[..30])), false),
        (cut_after(&format!(r#"{{"variables":{{"id":"{ID}"}},"sta"#)), false),
        (cut_after(&format!(r#"{{"name":"\"id\":\"{ID}\"","sta"#)), false),
        (cut_after(&format!(r#"[{{"id":"{ID}","sta"#)), false),
        (text(201, &format!(r#"<html><script>{{"id":"{ID}"}}</script>"#)), false),
        (cut_after(&format!(r#"<html><script>{{"id":"{ID}"}}"#)), false),
    ] {
        let case = format!("{reply:?}");
        let (client, world) = client_of(move |sent| match sent.endpoint {
            Endpoint::Submit => (1.0, reply.clone()),
            _ => (1.0, answer(200, &job("running", ""))),
        });
        let result = world.run(client.submit(&request(), named("op")));
        match result {
            Ok(job) => assert!(bound && job["id"] == ID, "{case}"),
            Err(failure) => assert!(!bound && failure.name() == "ChargeUnknownError", "{case}: {failure:?}"),
        }
        assert_eq!(states(&world), [if bound { "bound" } else { "sending" }], "{case}");
        assert_eq!(world.network().charges(), 1);
    }
}

#[test]
fn a_render_answered_by_a_page_or_another_job_is_unknown() {
    for reply in [text(200, "<h1>Sign in</h1>"), answer(200, &previewed("pending", "").replace(ID, OTHER))] {
        let (client, world) = client_of(move |sent| match sent.endpoint {
            Endpoint::Render => (1.0, reply.clone()),
            _ => (1.0, answer(200, &previewed("done", ""))),
        });
        let failure = world.run(client.render(ID, None, of_render(ID))).expect_err("unknown");
        assert_eq!(failure.name(), "ChargeUnknownError");
        assert_eq!(states(&world), ["sending"]);
    }
}

#[test]
fn a_render_answered_with_an_empty_body_or_other_json_is_bound() {
    for reply in [text(200, ""), answer(200, "{}"), answer(201, r#"{"message":"ok"}"#), answer(202, "null")] {
        let case = format!("{reply:?}");
        let asked = Cell::new(false);
        let (client, world) = client_of(move |sent| {
            let render = sent.endpoint == Endpoint::Render;
            let status = if asked.replace(asked.get() || render) { "running" } else { "done" };
            (1.0, if render { reply.clone() } else { answer(200, &previewed(status, "")) })
        });
        let job = world.run(client.render(ID, None, of_render(ID))).unwrap_or_else(|failure| panic!("{case}: {failure:?}"));
        assert_eq!((job["status"].as_str(), states(&world)), (Some("running"), vec!["bound".into()]), "{case}");
    }
}

#[test]
fn a_preview_that_ends_meanwhile_does_not_prove_a_render() {
    let sent_once = Cell::new(false);
    let (client, world) = client_of(move |sent| match sent.endpoint {
        Endpoint::Render => {
            sent_once.set(true);
            (1.0, failed("ECONNRESET"))
        }
        _ if sent_once.get() => (1.0, answer(200, &previewed("done", r#","updated_at":"2","credits_used":1"#))),
        _ => (1.0, answer(200, &job("running", r#","updated_at":"1","credits_used":0"#))),
    });
    let failure = world.run(client.render(ID, None, of_render(ID))).expect_err("unknown");
    assert_eq!(failure.name(), "ChargeUnknownError");
}

#[test]
fn a_job_settled_by_another_client_is_kept_and_returned_if_the_answer_is_lost() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Submit => (1_000.0, failed("ECONNRESET")),
        _ => (1.0, answer(200, &job("running", ""))),
    });
    let other = world.process().client(config());
    // The webhook comes before the answer, which is lost.
    let clock = world.clone();
    world.spawn(async move {
        clock.sleep(500.0).await;
        other.settle("op", Some(ID)).await.expect("settled");
    });
    let job = world.run(client.submit(&request(), named("op"))).expect("settled");
    assert_eq!(job["id"], ID);
    world.finish();
    assert_eq!(states(&world), ["bound"]);
}

#[test]
fn a_charge_returns_its_job_even_if_a_webhook_settled_it_first() {
    let (client, world) =
        client_with(vec![(5_000.0, answer(200, &previewed("done", ""))), (1.0, answer(200, &previewed("done", "")))]);
    let (same, other, clock) = (client.clone(), world.process().client(config()), world.clone());
    world.spawn(async move {
        clock.sleep(1_000.0).await;
        other.settle("op", Some(ID)).await.expect("settled by the webhook");
        assert_eq!(same.pending().await.expect("listed").len(), 1);
    });
    world.run(client.preview_sync(&request(), named("op"))).expect("its own job");
    assert!(world.warnings().is_empty(), "{:?}", world.warnings());
}

#[test]
fn a_preview_returns_its_job_even_if_it_was_rendered_first() {
    let (client, world) = client_of(move |sent| match sent.endpoint {
        Endpoint::PreviewSync => (5_000.0, answer(200, &previewed("done", ""))),
        Endpoint::Render => (1.0, answer(200, &rendered())),
        _ => (1.0, answer(200, &previewed("done", ""))),
    });
    let (same, other, clock) = (client.clone(), world.process().client(config()), world.clone());
    world.spawn(async move {
        clock.sleep(1_000.0).await;
        other.settle("op", Some(ID)).await.expect("settled by the webhook");
        same.render(ID, None, named("again")).await.expect("rendered");
    });
    world.run(client.preview_sync(&request(), named("op"))).expect("its own job");
}

#[test]
fn an_operation_taken_by_another_client_in_the_meantime_is_unknown() {
    let replies = RefCell::new(vec![(1.0, answer(201, &job("pending", ""))), (100.0, answer(400, r#"["No."]"#))]);
    let ([one, other], world) = tabs(move |_| replies.borrow_mut().pop().expect("two requests"), &config());
    world.journal().plan_all(Plan::answers_after(10.0));
    world.spawn(async move {
        one.submit(&request(), named("op")).await.expect_err("refused");
    });
    // Depending on the moment, its entry is not written yet, is there, or is deleted between `create` and `read`.
    let clock = world.clone();
    let second = world.run(async {
        clock.sleep(125.0).await;
        other.submit(&request(), named("op")).await
    });
    if let Err(failure) = &second {
        assert_eq!(failure.name(), "ChargeUnknownError", "the other attempt was in flight");
    }
    assert!(world.network().charges() <= 2);
}

// Tabs

#[test]
fn a_tab_waits_for_another_that_charges_the_same_operation_and_returns_its_job() {
    let ([one, other], world) = tabs(
        |sent| match sent.endpoint {
            Endpoint::Submit => (500.0, answer(201, &job("pending", ""))),
            _ => (10.0, answer(200, &job("running", ""))),
        },
        &config(),
    );
    world.have_locks();
    let first = world.start(async move { one.submit(&request(), named("click")).await });
    let clock = world.clone();
    let second = world.run(async {
        clock.sleep(5.0).await;
        other.submit(&request(), named("click")).await
    });
    assert_eq!(second.expect("the other tab's job")["id"], ID);
    assert!(first.take().expect("over").is_ok());
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_tab_that_stops_waiting_for_another_leaves_it_its_lock() {
    let ([one, other], world) = tabs(|_| (500.0, answer(201, &job("pending", ""))), &config());
    world.have_locks();
    world.spawn(async move {
        one.submit(&request(), named("click")).await.expect("sent");
    });
    let clock = world.clone();
    let gone = world.run_for(100.0, async {
        clock.sleep(5.0).await;
        other.submit(&request(), named("click")).await
    });
    assert!(gone.is_none());
    world.finish();
    assert_eq!((world.network().charges(), world.journal().operations().len()), (1, 1));
    assert!(world.locks().held().is_empty());
}

#[test]
fn a_bound_job_is_returned_while_a_stalled_tab_holds_the_lock() {
    let charged = Cell::new(false);
    let ([one, other], world) = tabs(
        move |sent| match sent.endpoint {
            Endpoint::Render => {
                charged.set(true);
                (f64::INFINITY, failed(""))
            }
            _ if charged.get() => (10.0, answer(200, &previewed("running", ""))),
            _ => (10.0, answer(200, &previewed("done", ""))),
        },
        &config(),
    );
    world.have_locks();
    let _stalled = world.start(async move { one.render(ID, None, named("click")).await });
    world.pass(100.0);
    let settled = world.run(other.settle("click", None)).expect("the job shows its render");
    assert_eq!(settled.state, State::Bound);
    let begun = world.now();
    let job = world.run(other.render(ID, None, named("click"))).expect("the bound job");
    assert_eq!((job["id"].as_str(), world.now() - begun), (Some(ID), 10.0), "one read of the job");
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_lock_that_is_never_released_is_waited_for_until_the_timeout() {
    let ([one, other], world) = tabs(|_| (f64::INFINITY, failed("")), &config());
    world.have_locks();
    let forever = ChargeOptions { timeout: Some(200_000.0), ..named("click") };
    let _first = world.start(async move { one.submit(&request(), forever).await });
    world.pass(10.0);
    let failure = world.run(other.submit(&request(), named("click"))).expect_err("the other tab may have sent it");
    assert_eq!((failure.name(), world.now()), ("ChargeUnknownError", 30_010.0));
}

// Aborts, timeouts and crashes at every moment

/// How long a journal call, a read and a charge take below, in milliseconds.
const JOURNAL: f64 = 3.0;
const READ: f64 = 5.0;
const CHARGE: f64 = 7.0;

/// The outcome of a charging request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// Charged and answered with the job.
    Accepted,
    /// Charged, with an answer that is cut off after the id.
    Cut,
    /// Charged, with an answer that is lost.
    Lost,
    /// Refused and not charged.
    Refused,
    /// Proven unsent.
    Unsent,
}

/// A server that counts charging requests and charges.
#[derive(Clone, Default)]
struct Upstream {
    sent: Rc<Cell<usize>>,
    charged: Rc<Cell<usize>>,
}

impl Upstream {
    /// Gives charging requests these outcomes in order, and then repeats the last one.
    fn script(&self, outcomes: &'static [Outcome]) -> impl FnMut(&Sent) -> (f64, Reply) + 'static {
        let Self { sent, charged } = self.clone();
        move |request| {
            if !request.charges() {
                let status = if charged.get() > 0 { "running" } else { "done" };
                return (READ, answer(200, &previewed(status, "")));
            }
            let outcome = outcomes[sent.get().min(outcomes.len() - 1)];
            sent.set(sent.get() + 1);
            if !matches!(outcome, Outcome::Refused | Outcome::Unsent) {
                charged.set(charged.get() + 1);
            }
            let reply = match outcome {
                Outcome::Accepted => answer(201, &previewed("pending", "")),
                Outcome::Cut => cut(201, &format!(r#"{{"id":"{ID}","sta"#)),
                Outcome::Lost => failed("ECONNRESET"),
                Outcome::Refused => answer(400, r#"["No."]"#),
                Outcome::Unsent => failed("ECONNREFUSED"),
            };
            (CHARGE, reply)
        }
    }
}

const OUTCOMES: [&[Outcome]; 7] = [
    &[Outcome::Accepted],
    &[Outcome::Cut],
    &[Outcome::Lost],
    &[Outcome::Refused],
    &[Outcome::Unsent],
    &[Outcome::Unsent, Outcome::Accepted],
    &[Outcome::Unsent, Outcome::Lost],
];

/// A charge with an explicit operation id: a `submit` or a `render`.
async fn charging(client: Client<TestHost>, render: bool, timeout: Option<f64>) -> Result<Value, Failure> {
    let options = ChargeOptions { timeout, ..named("op") };
    if render { client.render(ID, None, options).await } else { client.submit(&request(), options).await }
}

/// Asserts that the journal agrees with what the server did.
fn assert_consistent(world: &World, upstream: &Upstream, outcomes: &[Outcome], render: bool, case: &str) {
    let operations = world.journal().operations();
    if upstream.charged.get() == 0 {
        assert!(world.journal().is_empty(), "{case}: {:?}", world.journal());
        return;
    }
    // A render knows its job id, and a read shows that it was accepted.
    let bound = render || outcomes.last() != Some(&Outcome::Lost);
    let state = if bound { "bound" } else { "sending" };
    assert_eq!(operations.len(), 1, "{case}: {operations:?}");
    assert_eq!((operations[0].1["state"].as_str(), operations[0].1["job"].is_string()), (Some(state), bound), "{case}");
    assert_eq!(world.journal().marks("open").len(), 1, "{case}: {:?}", world.journal());
}

/// A client, its world and its server.
type Setup = (Client<TestHost>, World, Upstream);

/// Runs a test for every outcome, for both kinds of charge, and for every moment until the charge settles.
fn at_any_moment(test: impl Fn(&Setup, f64, bool, &'static [Outcome], &str)) {
    for outcomes in OUTCOMES {
        for render in [false, true] {
            let begin = || {
                let upstream = Upstream::default();
                let (client, world) = client_of(upstream.script(outcomes));
                world.journal().plan_all(Plan::answers_after(JOURNAL));
                (client, world, upstream)
            };
            // Just before, at and just after every event.
            let (client, world, _) = begin();
            let _call = world.start(charging(client.clone(), render, None));
            let mut moments = Vec::new();
            while world.step() {
                moments.extend([world.now() - 0.5, world.now(), world.now() + 0.5]);
            }
            assert_idle(&client);
            moments.retain(|moment| *moment >= 0.0);
            moments.dedup();
            for moment in moments {
                let setup = begin();
                let name = format!("{outcomes:?}, render: {render}, at {moment}");
                test(&setup, moment, render, outcomes, &name);
                assert!(setup.2.charged.get() <= 1, "{name}");
            }
        }
    }
}

#[test]
fn an_abort_at_any_moment_charges_at_most_once_and_leaves_nothing_behind() {
    at_any_moment(|(client, world, upstream), moment, render, outcomes, case| {
        world.run_for(moment, charging(client.clone(), render, None));
        world.finish();
        assert_idle(client);
        assert!(world.now() <= moment + 8.0 * JOURNAL + READ + CHARGE, "{case}: an attempt after the abort");
        assert_consistent(world, upstream, outcomes, render, case);
        let before = upstream.charged.get();
        let again = world.run(charging(client.clone(), render, None));
        let known =
            matches!(outcomes.last(), Some(Outcome::Accepted | Outcome::Cut)) || upstream.charged.get() > 0 && render;
        assert_eq!(again.is_ok(), known, "{case}");
        assert!(before == 0 || upstream.sent.get() <= outcomes.len(), "{case}");
        world.finish();
        assert_idle(client);
        assert_consistent(world, upstream, outcomes, render, case);
    });
}

#[test]
fn a_second_call_after_an_abort_at_any_moment_charges_once() {
    at_any_moment(|(client, world, upstream), moment, render, outcomes, case| {
        world.run_for(moment, charging(client.clone(), render, None));
        let _ = world.run(charging(client.clone(), render, None));
        world.finish();
        assert_idle(client);
        assert_consistent(world, upstream, outcomes, render, case);
    });
}

#[test]
fn another_client_does_not_charge_again_after_an_abort() {
    at_any_moment(|(client, world, upstream), moment, render, outcomes, case| {
        world.run_for(moment, charging(client.clone(), render, None));
        let other = world.process().client(config());
        let _ = world.run(charging(other.clone(), render, None));
        world.finish();
        assert_consistent(world, upstream, outcomes, render, case);
        assert_idle(client);
        assert_idle(&other);
    });
}

#[test]
fn a_timeout_at_any_moment_reports_whether_it_may_be_charged() {
    at_any_moment(|(client, world, upstream), moment, render, outcomes, case| {
        let result = world.run(charging(client.clone(), render, Some(moment)));
        assert!(world.now() <= moment + 1e-6, "{case}: {}", world.now());
        world.finish();
        assert_idle(client);
        assert_consistent(world, upstream, outcomes, render, case);
        let Err(failure) = result else { return };
        assert_eq!(failure.operation(), Some("op"), "{case}");
        let known = *failure.kind() == ErrorKind::Connection { sent: true };
        assert_eq!(failure.job_id().is_some(), render || known, "{case}");
        if is_unsent(&failure) || failure.name() == "ApiError" {
            assert_eq!(upstream.charged.get(), 0, "{case}");
        } else if known {
            assert_eq!(upstream.charged.get(), 1, "{case}: the answer named its job");
        } else {
            assert_eq!(failure.name(), "ChargeUnknownError", "{case}");
        }
    });
}

#[test]
fn a_crash_at_any_step_of_a_charge_never_leads_to_a_second_one() {
    for outcomes in OUTCOMES {
        for render in [false, true] {
            let mut more = true;
            for steps in 0.. {
                if !more {
                    break;
                }
                let case = format!("{outcomes:?}, render: {render}, after {steps} steps");
                let upstream = Upstream::default();
                let (client, world) = client_of(upstream.script(outcomes));
                world.journal().plan_all(Plan::answers_after(JOURNAL));
                let _call = world.start(charging(client.clone(), render, None));
                for _ in 0..steps {
                    more = world.step();
                }
                client.host().crash();
                let client = world.process().client(config());
                let pending = world.run(client.pending()).expect("the journal survives");
                let was_sent = upstream.sent.get() > 0;
                if upstream.charged.get() > 0 {
                    assert_eq!(pending.len(), 1, "{case}: the charged operation is listed");
                    assert_eq!(pending[0].operation, "op", "{case}");
                }
                let again = world.run(charging(client.clone(), render, None));
                assert!(upstream.charged.get() <= 1, "{case}");
                if was_sent && !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused | Outcome::Unsent)) {
                    assert_eq!(upstream.sent.get(), 1, "{case}");
                }
                if let Err(failure) = &again {
                    let expected = ["ChargeUnknownError", "ConnectionError", "ApiError"];
                    assert!(expected.contains(&failure.name()), "{case}: {failure:?}");
                    assert!(failure.name() == "ChargeUnknownError" || upstream.charged.get() == 0, "{case}");
                }
                world.finish();
                assert_idle(&client);
                assert!(states(&world).iter().all(|state| state != "sending" || again.is_err()), "{case}");
            }
        }
    }
}

#[test]
fn any_faults_in_any_order_charge_an_operation_at_most_once() {
    for seed in 0..400 {
        let world = World::seeded(seed);
        world.have_locks();
        let provider = Provider::new(&world);
        let mut random = test_host::random::Random::new(seed);
        provider.fault(move |sent| match random.below(8) {
            0 if sent.charges() => Fault::Lost,
            1 if sent.charges() => Fault::Unsent("ECONNREFUSED"),
            2 if sent.charges() => Fault::Refused(400, json("{}")),
            3 => Fault::Late(random.fraction() * 60_000.0),
            4 => Fault::Silent,
            _ => Fault::None,
        });
        let mut random = test_host::random::Random::new(!seed);
        world.journal().plan(move |_| match random.below(12) {
            0 => Plan::THROWS,
            1 => Plan::WORKS_AND_THROWS,
            2 => Plan::answers_after(random.fraction() * 40_000.0),
            3 => Plan::HANGS,
            _ => Plan::USUAL,
        });
        let clients = [0, 1].map(|_| world.process().client(config()));
        let calls: Vec<_> = (0..6)
            .map(|call| {
                let (client, clock) = (clients[call % 2].clone(), world.clone());
                let wait = world.random(test_host::random::Random::fraction) * 2_000.0;
                world.start(async move {
                    clock.sleep(wait).await;
                    client.submit(&request(), named(["one", "two", "three"][call / 2])).await
                })
            })
            .collect();
        world.finish();
        for call in calls {
            assert!(call.is_done(), "seed {seed}: a call never settles");
        }
        let charges: Vec<Charge> = provider.charges();
        for operation in ["one", "two", "three"] {
            let count = charges.iter().filter(|charge| charge.operation.as_deref() == Some(operation)).count();
            assert!(count <= 1, "seed {seed}: {operation} was charged {count} times");
            if count == 1 {
                let kept = world.journal().operations().iter().any(|(key, _)| key == operation);
                assert!(kept, "seed {seed}: {operation} is lost");
            }
        }
        world.close();
    }
}

#[test]
fn a_charge_emits_its_request_its_response_and_its_verdict() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    let (path, operation) = ("/api/custom_template_jobs/".to_owned(), Some("op".to_owned()));
    assert_eq!(
        world.events(),
        [
            Event::Request { method: "POST", path: path.clone(), operation: operation.clone() },
            Event::Response { method: "POST", path, status: 201, ms: 1.0, attempt: 1, operation, request_id: None },
            Event::Verdict { operation: "op".into(), verdict: "bound", job_id: Some(ID.into()) },
        ]
    );
}
