//! Tests of the operations in the journal: listing, settling, discarding, resuming, webhooks and expiry.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use custom_template_jobs::api::{Endpoint, Step};
use custom_template_jobs::charge::State;
use custom_template_jobs::client::{ChargeOptions, Client, Config, Operation, PollOptions};
use custom_template_jobs::error::Charged;
use custom_template_jobs::host::Host as _;
use serde_json::{Value, json};
use test_host::fixtures::*;
use test_host::json::format_time;
use test_host::{Event, Fault, Given, Method, Plan, Provider, Reply, Sent, TestHost, World, answer, answer_of, failed};

const DAY: f64 = 86_400_000.0;

/// A server that answers charges with a pending job, and reads with a finished one.
fn at_once(sent: &Sent) -> (f64, Reply) {
    match sent.endpoint {
        Endpoint::Get => (1.0, answer(200, &rendered().replace(ID, sent.job_id()))),
        _ => (1.0, answer(201, &job("pending", ""))),
    }
}

fn pending(world: &World, client: &Client<TestHost>) -> Vec<Operation> {
    world.run(client.pending()).expect("the journal")
}

/// A client with a submit whose answer was lost; `job` makes the answers to reads.
fn lost_submit(job: impl Fn(&str) -> Value + 'static) -> (Client<TestHost>, World) {
    let (client, world) = client_of(move |sent| match sent.endpoint {
        Endpoint::Submit => (1.0, failed("ECONNRESET")),
        _ => (1.0, answer_of(200, job(sent.job_id()))),
    });
    world.run(client.submit(&request(), named("op"))).expect_err("lost");
    (client, world)
}

fn pending_job(id: &str) -> Value {
    json!({ "id": id, "status": "pending" })
}

#[test]
fn an_ended_job_is_no_longer_pending_but_its_operation_still_returns_it() {
    let (client, world) = client_of(at_once);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    let open = pending(&world, &client);
    assert_eq!((open.len(), open[0].state, open[0].step, open[0].operation.as_str()), (1, State::Bound, Step::Submit, "op"));
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    assert!(pending(&world, &client).is_empty());
    for client in [client, world.process().client(config())] {
        let job = world.run(client.submit(&request(), named("op"))).expect("the job of the operation");
        assert!(job["video_output"].is_string());
    }
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_job_of_an_earlier_process_is_polled_to_the_goal_of_its_step_and_ends() {
    let (client, world) = client_of(at_once);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    client.host().crash();
    let client = world.process().client(config());
    let id = pending(&world, &client)[0].job_id.clone().expect("a bound job");
    world.run(client.poll(&id, None, PollOptions::default(), None)).expect("the video");
    world.finish();
    assert!(pending(&world, &client).is_empty());
}

#[test]
fn a_missing_or_failed_job_is_no_longer_pending() {
    for reply in [answer(404, r#"{"detail":"Not found."}"#), answer(200, &job("failed", ""))] {
        let (client, world) = client_of(move |sent| match sent.endpoint {
            Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
            _ => (1.0, reply.clone()),
        });
        world.run(client.submit(&request(), named("op"))).expect("sent");
        world.run(client.poll(ID, None, PollOptions::default(), None)).expect_err("gone or failed");
        world.finish();
        assert!(pending(&world, &client).is_empty());
    }
}

#[test]
fn pending_lists_own_attempts_as_sending_and_those_of_other_clients_as_unknown() {
    let ([one, other], world) = tabs(|_| (1_000.0, answer(201, &job("pending", ""))), &config());
    let client = one.clone();
    let _call = world.start(async move { client.submit(&request(), named("op")).await });
    world.pass(10.0);
    assert_eq!(pending(&world, &one)[0].state, State::Sending);
    assert_eq!(pending(&world, &other)[0].state, State::Unknown);
}

#[test]
fn pending_reports_unreadable_entries_and_keeps_them() {
    let (client, world) = client_of(at_once);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    let key = world.journal().entries().into_iter().find(|(key, _)| key.ends_with("/op") && !key.contains(':'));
    let (key, entry) = key.expect("its entry");
    for bad in ["", "null", "{", "[]", &entry.replace(r#""version":2"#, r#""version":3"#), &entry.replace(ID, "../x")] {
        world.journal().put(&key, bad);
        assert!(pending(&world, &client).is_empty(), "{bad}");
        assert_eq!(world.events().last(), Some(&Event::Skipped { key: key.clone() }), "{bad}");
        assert_eq!(world.journal().get(&key).as_deref(), Some(bad));
        // The entry may belong to a charge: nothing is sent under its id.
        let failure = world.run(client.submit(&request(), named("op"))).expect_err("taken");
        assert_eq!(failure.name(), "OperationConflictError", "{bad}");
    }
}

#[test]
fn pending_reads_only_open_operations() {
    let (client, world) = client_of(at_once);
    for number in 0..50 {
        world.run(client.submit(&request(), named(&format!("ended {number}")))).expect("sent");
        world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
        world.finish();
    }
    world.run(client.submit(&request(), named("open"))).expect("sent");
    let client = world.process().client(config());
    pending(&world, &client);
    world.finish();
    let before = world.journal().call_count();
    assert_eq!(pending(&world, &client).len(), 1);
    assert!(world.journal().call_count() - before <= 3, "{}", world.journal().call_count() - before);
}

// Expiry

/// A client with `count` operations whose jobs have ended.
fn with_ended(count: usize, config: Config, explicit: bool) -> (Client<TestHost>, World) {
    let made = Cell::new(0);
    let world = World::new();
    world.script(move |sent| {
        if sent.endpoint == Endpoint::Get {
            (0.0, answer(200, &rendered().replace(ID, sent.job_id())))
        } else {
            made.set(made.get() + 1);
            (0.0, answer(201, &job("pending", "").replace("11111111", &format!("{:08}", made.get()))))
        }
    });
    let client = world.process().client(config);
    for number in 0..count {
        let options = ChargeOptions { explicit, ..named(&format!("op {number}")) };
        let job = world.run(client.submit(&request(), options)).expect("sent");
        let id = job["id"].as_str().expect("an id").to_owned();
        world.run(client.poll(&id, Some(job), PollOptions::default(), None)).expect("done");
        world.finish();
    }
    (client, world)
}

#[test]
fn six_hundred_ended_operations_are_kept_for_thirty_days() {
    let (client, world) = with_ended(600, config(), true);
    world.pass(29.9 * DAY);
    for client in [client, world.process().client(config())] {
        assert!(pending(&world, &client).is_empty());
        world.finish();
        for number in 0..600 {
            world.run(client.submit(&request(), named(&format!("op {number}")))).expect("its job");
        }
    }
    assert_eq!(world.network().charges(), 600);
}

#[test]
fn old_ended_operations_are_deleted_and_open_ones_are_kept() {
    let (client, world) = with_ended(3, config(), true);
    assert_eq!(world.journal().operations().len(), 3);
    world.pass(61.0 * DAY);
    let client_of_today = world.process().client(config());
    pending(&world, &client_of_today);
    world.finish();
    assert!(world.journal().operations().is_empty(), "{:?}", world.journal());
    assert!(world.journal().marks("ended").is_empty(), "{:?}", world.journal());
    drop(client);

    let (client, world) = client_with(vec![(1.0, failed(""))]);
    world.run(client.submit(&request(), named("unknown"))).expect_err("lost");
    world.pass(400.0 * DAY);
    for client in [client, world.process().client(config())] {
        assert_eq!(pending(&world, &client).len(), 1);
        world.finish();
    }
}

#[test]
fn the_memory_journal_drops_only_generated_ids_after_an_hour() {
    for (explicit, kept) in [(false, 0), (true, 3)] {
        let (client, world) = with_ended(3, Config { journal_in_memory: true, ..config() }, explicit);
        let memory = Rc::clone(client.host().memory());
        world.pass(59.0 * 60_000.0);
        assert_eq!(memory.operations().len(), 3, "explicit: {explicit}");
        world.pass(3.0 * 3_600_000.0);
        let options = ChargeOptions { explicit: false, ..named("later") };
        let job = world.run(client.submit(&request(), options)).expect("sent");
        let id = job["id"].as_str().expect("an id").to_owned();
        world.run(client.poll(&id, Some(job), PollOptions::default(), None)).expect("done");
        world.finish();
        assert_eq!(memory.operations().len(), kept + 1, "explicit: {explicit}: {memory:?}");
        assert!(world.journal().is_empty(), "the world's journal is not used");
    }
}

/// How often an expired operation is sent if it is charged again while two clients list it.
fn charges_while_listed(listing: [usize; 2], begin: f64) -> usize {
    let ended = Rc::new(Cell::new(true));
    let over = Rc::clone(&ended);
    let script = move |sent: &Sent| match sent.endpoint {
        Endpoint::Submit if !ended.get() => (100.0, failed("ECONNRESET")),
        _ => at_once(sent),
    };
    let (clients, world) = tabs(script, &config());
    let [client, _] = &clients;
    world.run(client.submit(&request(), named("op"))).expect("sent");
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    over.set(false);
    world.pass(91.0 * DAY);
    world.journal().plan_all(Plan::answers_after(10.0));
    for (begin, client) in [0.0, 5.0].into_iter().zip(listing.map(|at| clients[at].clone())) {
        let clock = world.clone();
        world.spawn(async move {
            clock.sleep(begin).await;
            client.pending().await.expect("the journal");
        });
    }
    world.pass(begin);
    // Either it is still in the journal, or it was deleted and is charged again.
    let _ = world.run(client.submit(&request(), named("op")));
    world.finish();
    let _ = world.run(client.submit(&request(), named("op")));
    let charges = world.network().charges();
    if charges > 1 {
        assert_eq!(states(&world), ["sending"], "listing {listing:?}, {begin} ms");
        assert_eq!(pending(&world, client).len(), 1, "listing {listing:?}, {begin} ms");
    }
    charges
}

#[test]
fn pending_does_not_delete_an_operation_that_is_charged_in_the_meantime() {
    for listing in [[0, 0], [0, 1], [1, 1]] {
        for begin in 0..40 {
            let charges = charges_while_listed(listing, f64::from(begin) * 5.0);
            assert!(charges <= 2, "the former charge and a new one: {listing:?}, {begin}");
        }
    }
}

#[test]
fn an_entry_without_a_marker_is_listed_once_its_operation_is_called_again() {
    let (client, world) = client_of(at_once);
    // The process crashes between the two writes, so that nothing is sent.
    world.journal().plan_method(Method::Write, Plan::HANGS);
    assert!(world.run_for(10.0, client.submit(&request(), named("op"))).is_none());
    client.host().crash();
    world.journal().plan_all(Plan::USUAL);
    let client = world.process().client(config());
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("nobody knows");
    assert_eq!(failure.name(), "ChargeUnknownError");
    assert_eq!(pending(&world, &client)[0].state, State::Unknown);
    world.run(client.discard("op")).expect("discarded");
    world.run(client.submit(&request(), named("op"))).expect("sent");
}

// Settling

#[test]
fn a_job_id_does_not_prove_that_a_render_was_accepted() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Render => (1.0, failed("ECONNRESET")),
        _ => (1.0, answer(200, &previewed("done", ""))),
    });
    world.run(client.render(ID, None, named("op"))).expect_err("unknown");
    let settled = world.run(client.settle("op", Some(ID))).expect("looked at");
    assert_eq!((settled.state, settled.job_id.as_deref()), (State::Unknown, Some(ID)));
}

#[test]
fn a_render_is_settled_by_its_own_job() {
    let lost = Cell::new(false);
    let (client, world) = client_of(move |sent| match sent.endpoint {
        Endpoint::Render => (1.0, failed("ECONNRESET")),
        _ if !lost.replace(true) => (1.0, answer(200, &previewed("done", ""))),
        _ if sent.at < 50_000.0 => (1.0, answer(503, "{}")),
        _ => (1.0, answer(200, &rendered())),
    });
    world.run(client.render(ID, None, named("op"))).expect_err("the reads fail");
    world.pass(60_000.0);
    let settled = world.run(client.settle("op", None)).expect("settled");
    assert_eq!((settled.state, settled.job_id.as_deref()), (State::Bound, Some(ID)));
}

#[test]
fn the_video_of_a_submit_does_not_prove_that_a_render_was_charged() {
    // The process of the render crashes before its request, and the job goes on to the video of its submit.
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        Endpoint::Render => panic!("sent"),
        _ if sent.at > 1_000.0 => (1.0, answer(200, &rendered())),
        _ => (1.0, answer(200, &job("running", ""))),
    });
    world.run(client.submit(&request(), named("submit"))).expect("sent");
    world.journal().plan(|call| if call.key.ends_with(":open/op") { Plan::HANGS } else { Plan::USUAL });
    assert!(world.run_for(100.0, client.render(ID, None, named("op"))).is_none());
    client.host().crash();
    world.journal().calm();
    world.pass(2_000.0);
    let client = world.process().client(config());
    assert_eq!(world.run(client.render(ID, None, named("op"))).expect("the job with its video")["id"], ID);
    let failure = world.run(client.discard("op")).expect_err("it is bound");
    assert_eq!((failure.charged(), failure.job_id()), (Charged::Maybe, Some(ID)));
}

#[test]
fn an_earlier_video_does_not_settle_another_render_of_the_job() {
    let other = r#"{"variables":{"t":{"type":"text","properties":{"content":"new"}}}}"#;
    let version = |at: u32| rendered().replace('}', &format!(r#","updated_at":"2026-01-0{at}T00:00:00Z"}}"#));
    let (client, world) = client_of(move |sent| match sent.endpoint {
        Endpoint::Render => panic!("sent"),
        _ => (1.0, answer(200, &version(if sent.at > 1_000.0 { 2 } else { 1 }))),
    });
    world.journal().plan(|call| if call.key.ends_with(":open/op") { Plan::HANGS } else { Plan::USUAL });
    assert!(world.run_for(100.0, client.render(ID, Some(other), named("op"))).is_none());
    client.host().crash();
    world.journal().calm();
    let client = world.process().client(config());
    let failure = world.run(client.render(ID, Some(other), named("op"))).expect_err("an earlier video");
    assert_eq!((failure.name(), failure.charged()), ("ChargeUnknownError", Charged::Maybe));
    let settled = world.run(client.settle("op", None)).expect("looked at");
    assert_eq!(settled.state, State::Unknown);
    world.pass(2_000.0);
    let settled = world.run(client.settle("op", None)).expect("looked at");
    assert_eq!(settled.state, State::Bound, "the job has changed");
}

#[test]
fn settle_refuses_a_job_that_is_older_than_the_operation() {
    // The tolerance of an hour is for clocks that differ.
    for (age, state) in [(3_700_000.0, State::Unknown), (3_500_000.0, State::Bound), (-5_000.0, State::Bound)] {
        let (client, world) = lost_submit(move |id| {
            let made = format_time(test_host::world::EPOCH - age);
            json!({ "id": id, "status": "running", "created_at": made })
        });
        let settled = world.run(client.settle("op", Some(ID))).expect("looked at");
        assert_eq!(settled.state, state, "{age} ms older");
        assert_eq!(states(&world), [if state == State::Bound { "bound" } else { "sending" }]);
    }
}

#[test]
fn settle_refuses_a_job_that_is_bound_to_another_operation() {
    for ends in [false, true] {
        for elsewhere in [false, true] {
            let lost = Rc::new(Cell::new(false));
            let is_lost = Rc::clone(&lost);
            let (client, world) = client_of(move |sent| match sent.endpoint {
                Endpoint::Submit if is_lost.get() => (1.0, failed("ECONNRESET")),
                _ if sent.charges() => (1.0, answer(201, &job("pending", ""))),
                _ => (1.0, answer(200, &if ends { rendered() } else { job("running", "") })),
            });
            world.run(client.submit(&request(), named("other"))).expect("bound");
            if ends {
                world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
                world.finish();
            }
            lost.set(true);
            world.run(client.submit(&request(), named("op"))).expect_err("lost");
            let client = if elsewhere { world.process().client(config()) } else { client };
            let settled = world.run(client.settle("op", Some(&ID.to_ascii_uppercase()))).expect("looked at");
            assert_eq!((settled.state, settled.job_id), (State::Unknown, None), "ends: {ends}, elsewhere: {elsewhere}");
            // Another operation has a submit for this job; a render of the job is a separate charge.
            let settled = world.run(client.settle("op", Some(OTHER)));
            assert!(settled.is_err(), "the provider answers with another job");
        }
    }
}

#[test]
fn a_crossed_answer_settles_an_operation_once_the_other_has_its_job() {
    // The answer to one charge names the job of the other, while the journal fails to write verdicts.
    let (client, world) = client_of(|sent| match sent.operation.as_deref() {
        Some("mixed-up") => (1.0, answer(201, &job("pending", ""))),
        Some(_) => (1.0, failed("ECONNRESET")),
        None => (1.0, answer(200, &job("running", "").replace(ID, sent.job_id()))),
    });
    world.run(client.submit(&request(), named("lost"))).expect_err("lost");
    world.journal().plan_method(Method::Replace, Plan::THROWS);
    assert_eq!(world.run(client.submit(&request(), named("mixed-up"))).expect("answered")["id"], ID);
    world.journal().calm();
    let settle = |operation: &str, id: &str| world.run(client.settle(operation, Some(id))).expect("looked at").state;
    assert_eq!(settle("lost", ID), State::Unknown, "the job may be the other operation's");
    assert_eq!(settle("mixed-up", OTHER), State::Bound);
    assert_eq!(settle("lost", ID), State::Bound);
}

#[test]
fn settle_refuses_a_job_with_another_webhook_url() {
    for (address, state) in [("https://me.test/order-12", State::Unknown), ("https://me.test/order-1", State::Bound)] {
        let (client, world) = client_of(move |sent| match sent.endpoint {
            Endpoint::Submit => (1.0, failed("ECONNRESET")),
            _ => (1.0, answer_of(200, json!({ "id": ID, "status": "running", "webhook_url": address }))),
        });
        let request = request_with(r#","webhook_url":"https://me.test/{operation}""#);
        world.run(client.submit(&request, named("order-1"))).expect_err("unknown");
        let settled = world.run(client.settle("order-1", Some(ID))).expect("looked at");
        assert_eq!(settled.state, state, "{address}");
    }
}

#[test]
fn a_list_settles_an_operation_by_its_own_webhook_and_not_by_a_common_prefix() {
    for (hook, state) in [("order-12", State::Unknown), ("order-1", State::Bound)] {
        let (client, world) = client_of(|_| (1.0, failed("ECONNRESET")));
        let since = Rc::new(Cell::new(0.0));
        let asked = Rc::clone(&since);
        client.host().on_list_jobs(move |since| {
            asked.set(since);
            let job = json!({ "id": ID, "status": "done", "webhook_url": format!("https://me.test/{hook}") });
            Given::after(1.0, Ok(json!([{}, null, 7, job])))
        });
        let request = request_with(r#","webhook_url":"https://me.test/{operation}""#);
        world.run(client.submit(&request, named("order-1"))).expect_err("unknown");
        let settled = world.run(client.settle("order-1", None)).expect("looked at");
        assert_eq!(settled.state, state, "{hook}");
        assert!((world.wall() - since.get() - 3_600_000.0).abs() < 1_000.0, "an hour earlier, since clocks differ");
    }
}

#[test]
fn a_list_never_settles_with_a_job_bound_to_another_operation() {
    let lost = Rc::new(Cell::new(false));
    let is_lost = Rc::clone(&lost);
    let (client, world) = client_of(move |sent| match sent.endpoint {
        Endpoint::Submit if is_lost.get() => (1.0, failed("ECONNRESET")),
        _ => (1.0, answer(201, &job("pending", ""))),
    });
    client.host().on_list_jobs(|_| {
        let job = json!({ "id": ID, "status": "done", "webhook_url": "https://me.test/op" });
        Given::now(Ok(json!([job])))
    });
    world.run(client.submit(&request(), named("other"))).expect("bound");
    lost.set(true);
    let request = request_with(r#","webhook_url":"https://me.test/{operation}""#);
    world.run(client.submit(&request, named("op"))).expect_err("unknown");
    let settled = world.run(client.settle("op", None)).expect("looked at");
    assert_eq!(settled.state, State::Unknown);
}

#[test]
fn settle_returns_a_bound_operation_unchanged_and_refuses_a_missing_one() {
    let (client, world) = client_of(at_once);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    let sent = world.network().count();
    let settled = world.run(client.settle("op", Some(OTHER))).expect("known");
    assert_eq!((settled.state, settled.job_id.as_deref()), (State::Bound, Some(ID)));
    assert_eq!(world.network().count(), sent, "no request");
    let failure = world.run(client.settle("never", None)).expect_err("not there");
    assert_eq!((field(&failure), failure.operation()), (Some("operation"), Some("never")));
    let failure = world.run(client.settle("op", Some("x"))).expect_err("no id");
    assert_eq!(field(&failure), Some("jobId"));
}

#[test]
fn a_client_does_not_settle_its_own_operation_in_flight() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Submit => (1_000.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("running", "").replace(ID, OTHER))),
    });
    let charging = client.clone();
    let call = world.start(async move { charging.submit(&request(), named("op")).await });
    world.pass(10.0);
    let settled = world.run(client.settle("op", Some(OTHER))).expect("looked at");
    assert_eq!(settled.state, State::Sending);
    world.finish();
    assert_eq!(call.take().expect("settled").expect("its own job")["id"], ID);
}

#[test]
fn parallel_settles_return_the_same_result() {
    for seed in 0..50 {
        let world = World::seeded(seed);
        world.script(|sent| match sent.endpoint {
            Endpoint::Submit => (1.0, failed("ECONNRESET")),
            _ => (1.0, answer_of(200, pending_job(sent.job_id()))),
        });
        let client = world.process().client(config());
        world.run(client.submit(&request(), named("op"))).expect_err("lost");
        let settling: Vec<_> = [ID, OTHER, ID, OTHER]
            .into_iter()
            .map(|id| {
                let client = world.process().client(config());
                world.start(async move { client.settle("op", Some(id)).await })
            })
            .collect();
        world.finish();
        let jobs: Vec<_> = settling.iter().map(|call| call.take().expect("over").expect("settled").job_id).collect();
        assert!(jobs.iter().all(|job| job.is_some() && *job == jobs[0]), "seed {seed}: {jobs:?}");
    }
}

// Discarding

#[test]
fn discard_frees_the_id_and_the_budget_of_an_unknown_operation() {
    for key in [None, Some("november")] {
        let lost = Rc::new(Cell::new(true));
        let is_lost = Rc::clone(&lost);
        let world = World::new();
        world.script(move |_| (1.0, if is_lost.get() { failed("ECONNRESET") } else { answer(201, &job("pending", "")) }));
        let client = world.process().client(limited(9.0, key));
        let options = |operation: &str| ChargeOptions { seconds: Some(30.0), ..named(operation) };
        world.run(client.submit(&request(), options("op"))).expect_err("lost");
        lost.set(false);
        let failure = world.run(client.submit(&request(), options("other"))).expect_err("5 of 9 are reserved");
        assert_eq!(budget(&failure), Some((5.0, 4.0)));
        world.run(client.discard("op")).expect("unknown");
        assert!(world.journal().is_empty(), "{:?}", world.journal());
        assert!(pending(&world, &client).is_empty());
        world.run(client.submit(&request(), options("op"))).expect("its id is free, and so is the budget");
        assert_eq!(world.network().charges(), 2);
    }
}

#[test]
fn a_discard_whose_acknowledgement_was_lost_still_frees_everything() {
    for plan in [Plan::WORKS_AND_THROWS, Plan::WORKS_AND_HANGS] {
        let world = World::new();
        world.script(|_| (1.0, failed("ECONNRESET")));
        let client = world.process().client(limited(9.0, Some("november")));
        let options = ChargeOptions { seconds: Some(30.0), ..named("op") };
        world.run(client.submit(&request(), options)).expect_err("lost");
        world.journal().plan(move |call| {
            let of_entry = call.method == Method::Delete && call.key.ends_with("/op") && !call.key.contains(':');
            if of_entry { plan.clone() } else { Plan::USUAL }
        });
        world.run(client.discard("op")).expect("discarded");
        assert!(world.journal().is_empty(), "{:?}", world.journal());
    }
}

#[test]
fn discard_takes_only_an_unknown_operation() {
    let (client, world) = client_of(|sent| match sent.operation.as_deref() {
        Some("slow") => (1_000.0, answer(201, &job("pending", "").replace(ID, OTHER))),
        _ => at_once(sent),
    });
    let refused = |operation: &str, what: &str| {
        let failure = world.run(client.discard(operation)).expect_err(what);
        assert_eq!((field(&failure), failure.operation()), (Some("operation"), Some(operation)), "{what}");
    };
    refused("never", "not there");
    world.run(client.submit(&request(), named("op"))).expect("sent");
    refused("op", "bound");
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    refused("op", "ended");
    let charging = client.clone();
    let call = world.start(async move { charging.submit(&request(), named("slow")).await });
    world.pass(10.0);
    refused("slow", "in flight");
    world.finish();
    call.take().expect("over").expect("sent");
    assert_eq!(world.journal().operations().len(), 2);
}

#[test]
fn discard_rejects_for_a_charge_that_starts_in_the_meantime() {
    let (client, world) = client_with(vec![(50.0, answer(201, &job("pending", "")))]);
    // The read of the missing entry is late.
    world.journal().plan(|call| if call.method == Method::Read { Plan::answers_after(5.0) } else { Plan::USUAL });
    let discarding = client.clone();
    let discarded = world.start(async move { discarding.discard("op").await });
    world.run(client.submit(&request(), ChargeOptions { explicit: false, ..named("op") })).expect("sent");
    world.finish();
    let failure = discarded.take().expect("over").expect_err("in flight");
    assert_eq!((field(&failure), failure.charged()), (Some("operation"), Charged::Maybe));
}

#[test]
fn a_late_answer_of_a_discarded_attempt_binds_nothing_and_warns() {
    for again in [false, true] {
        let first = Cell::new(true);
        let ([one, other], world) = tabs(
            move |sent| match sent.endpoint {
                Endpoint::Submit if first.replace(false) => (10_000.0, answer(201, &job("pending", ""))),
                Endpoint::Submit => (60_000.0, answer(201, &job("pending", "").replace(ID, OTHER))),
                _ => (1.0, answer(200, &job("running", "").replace(ID, sent.job_id()))),
            },
            &config(),
        );
        let call = world.start(async move { one.submit(&request(), named("op")).await });
        world.pass(5_000.0);
        world.run(other.discard("op")).expect("unknown to the other client");
        let anew = again.then(|| {
            let other = other.clone();
            let long = ChargeOptions { timeout: Some(100_000.0), ..named("op") };
            world.start(async move { other.submit(&request(), long).await })
        });
        world.pass(10_000.0);
        call.take().expect("settled").expect("the job, for its own caller");
        assert_eq!(world.warnings(), ["late_answer"]);
        let warned = world.events().into_iter().any(|event| {
            matches!(event, Event::Warning { operation, job_id, .. }
                if operation.as_deref() == Some("op") && job_id.as_deref() == Some(ID))
        });
        assert!(warned, "a warning with the operation and the job id");
        assert_eq!(states(&world), if again { vec!["sending".to_owned()] } else { vec![] });
        world.finish();
        if let Some(anew) = anew {
            assert_eq!(anew.take().expect("settled").expect("the job of the new attempt")["id"], OTHER);
            assert_eq!(world.journal().operations()[0].1["job"], OTHER);
        }
    }
}

// Journals that fail

#[test]
fn calls_end_within_the_timeout_if_the_journal_hangs() {
    for method in [Method::List, Method::Read, Method::Replace, Method::Delete] {
        let (client, world) = lost_submit(pending_job);
        world.journal().plan_method(method, Plan::HANGS);
        let begun = world.now();
        let ended = |what: &str, failed: bool, expected: bool| {
            assert_eq!(failed, expected, "{method:?} {what}");
            assert!(world.now() - begun <= 61_000.0, "{method:?} {what}: {} ms", world.now() - begun);
        };
        let listed = world.run(client.pending());
        ended("pending", listed.is_err(), matches!(method, Method::List | Method::Read));
        if let Err(failure) = listed {
            assert_eq!((failure.name(), world.now() - begun), ("JournalError", 30_000.0));
        }
        let settled = world.run(client.settle("op", Some(ID)));
        ended("settle", settled.is_err(), method != Method::Delete);
        let discarded = world.run(client.discard("op"));
        assert_eq!(discarded.is_err(), matches!(method, Method::Read | Method::Delete), "{method:?}");
        world.finish();
        assert_idle(&client);
    }
}

#[test]
fn settle_ends_within_the_timeout_if_list_jobs_hangs() {
    let (client, world) = lost_submit(pending_job);
    client.host().on_list_jobs(|_| Given::after(f64::INFINITY, Ok(Value::Null)));
    let begun = world.now();
    let failure = world.run(client.settle("op", None)).expect_err("never");
    assert_eq!((field(&failure), failure.operation()), (Some("listJobs"), Some("op")));
    assert_eq!(world.now() - begun, 30_000.0);
    client.host().on_list_jobs(|_| Given::now(Err("thrown".into())));
    let failure = world.run(client.settle("op", None)).expect_err("it threw");
    assert_eq!((field(&failure), failure.cause()), (Some("listJobs"), Some(&Value::from("thrown"))));
    for no_list in [json!(null), json!({}), json!("x"), json!([[[]]])] {
        client.host().on_list_jobs(move |_| Given::now(Ok(no_list.clone())));
        assert_eq!(world.run(client.settle("op", None)).expect("nothing found").state, State::Unknown);
    }
}

#[test]
fn an_end_that_cannot_be_written_is_written_later() {
    let (client, world) = client_of(at_once);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    world.journal().plan_method(Method::Replace, Plan::THROWS);
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    world.journal().plan_all(Plan::USUAL);
    let client = world.process().client(config());
    assert_eq!(pending(&world, &client).len(), 1, "it is still pending");
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    assert!(pending(&world, &client).is_empty(), "it ends with the next attempt");
}

#[test]
fn a_verdict_that_could_not_be_written_is_written_with_the_end() {
    let (client, world) = client_of(at_once);
    world.journal().plan_method(Method::Replace, Plan::THROWS);
    world.run(client.submit(&request(), named("op"))).expect("its job");
    assert_eq!(states(&world), ["sending"]);
    world.journal().plan_all(Plan::USUAL);
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    assert_eq!(states(&world), ["ended"]);
    assert!(pending(&world, &client).is_empty());
}

#[test]
fn an_end_whose_acknowledgement_was_lost_still_expires() {
    let (client, world) = client_of(at_once);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    world.journal().plan_method(Method::Replace, Plan::WORKS_AND_THROWS);
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    world.journal().plan_all(Plan::USUAL);
    for _ in 0..2 {
        assert!(pending(&world, &world.process().client(config())).is_empty());
        world.finish();
        world.pass(61.0 * DAY);
    }
    assert!(world.journal().operations().is_empty(), "{:?}", world.journal());
}

#[test]
fn a_crash_at_any_time_leaves_every_charge_in_the_journal() {
    for seed in 0..300 {
        let world = World::seeded(seed);
        let provider = Provider::new(&world);
        let lose = seed % 3 == 0;
        provider.fault(move |sent| if lose && sent.charges() { Fault::Lost } else { Fault::None });
        provider.set(|manner| (manner.queue_ms, manner.render_ms) = (10.0, 100.0));
        let delays = RefCell::new(test_host::random::Random::new(!seed));
        world.journal().plan(move |_| Plan::works_after(delays.borrow_mut().fraction() * 20.0));
        for round in 0..4 {
            let client = world.process().client(config());
            let calling = client.clone();
            let _call = world.start(async move {
                let job = calling.submit(&request(), named(&format!("op {round}"))).await?;
                let id = job["id"].as_str().unwrap_or_default().to_owned();
                calling.poll(&id, Some(job), PollOptions::default(), None).await
            });
            let crash = world.random(test_host::random::Random::fraction) * 400.0;
            world.pass(crash);
            client.host().crash();
        }
        world.finish();
        let client = world.process().client(config());
        let open: Vec<String> = pending(&world, &client).into_iter().map(|operation| operation.operation).collect();
        for charge in provider.charges() {
            let operation = charge.operation.expect("its operation");
            let entries = world.journal().operations();
            let entry = entries.iter().find(|(key, _)| *key == operation).unwrap_or_else(|| panic!("seed {seed}: lost"));
            let is_open = open.contains(&operation);
            assert_eq!(is_open, entry.1["state"] != "ended", "seed {seed}: {operation} {open:?} {}", entry.1);
            let again = world.run(client.submit(&request(), named(&operation)));
            assert_eq!(again.is_ok(), entry.1["job"].is_string(), "seed {seed}: {operation}");
        }
        assert!(provider.charges().len() <= 4, "seed {seed}");
        world.close();
    }
}

#[test]
fn each_attempt_has_a_random_token() {
    let world = World::new();
    let host = world.process();
    let tokens: std::collections::BTreeSet<String> = (0..100).map(|_| host.token()).collect();
    assert_eq!(tokens.len(), 100);
    let (client, world) = client_with(vec![(1.0, failed("ECONNREFUSED")), (1.0, failed(""))]);
    world.run(client.submit(&request(), named("op"))).expect_err("lost");
    let created = world.journal().calls().into_iter().filter(|call| call.method == Method::Create);
    let owners: Vec<Value> = created
        .filter_map(|call| serde_json::from_str::<Value>(&call.entry?).ok())
        .map(|entry| entry["owner"].clone())
        .collect();
    assert_eq!(owners.len(), 2);
    assert_ne!(owners[0], owners[1]);
}

// Resuming

#[test]
fn a_charge_in_flight_in_another_tab_is_resumed_and_not_discarded() {
    for id in [Some("mine"), None] {
        let ([one, other], world) = tabs(
            |sent| (if sent.endpoint == Endpoint::Submit { 5_000.0 } else { 1.0 }, answer(201, &job("pending", ""))),
            &config(),
        );
        world.have_locks();
        let options = match id {
            Some(id) => named(id),
            None => ChargeOptions { operation: "made".into(), ..ChargeOptions::default() },
        };
        let operation = options.operation.clone();
        let _call = world.start(async move { one.submit(&request(), options).await });
        world.pass(10.0);
        let refused = world.run(other.discard(&operation)).expect_err("in flight");
        assert_eq!(refused.operation(), Some(operation.as_str()));
        let (job, step) = world.run(other.resume(&operation)).expect("its job");
        assert_eq!((job["id"].as_str(), step), (Some(ID), Step::Submit));
        assert_eq!(world.network().charges(), 1);
        assert!(world.locks().held().is_empty());
    }
}

#[test]
fn a_lost_charge_is_resumed_once_its_job_is_found() {
    let (client, world) = lost_submit(pending_job);
    let failure = world.run(client.resume("op")).expect_err("nobody knows");
    assert_eq!((failure.name(), failure.operation()), ("ChargeUnknownError", Some("op")));
    world.run(client.settle("op", Some(ID))).expect("settled");
    assert_eq!(world.run(client.resume("op")).expect("its job").0["id"], ID);
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_render_whose_answer_was_lost_is_resumed_by_its_job() {
    let rendered_yet = Rc::new(Cell::new(false));
    let is_rendered = Rc::clone(&rendered_yet);
    let (client, world) = client_of(move |sent| match sent.endpoint {
        Endpoint::Render => (1.0, failed("ECONNRESET")),
        _ => (1.0, answer(200, &if is_rendered.get() { rendered() } else { previewed("done", "") })),
    });
    let options = ChargeOptions { operation: format!("render:{ID}"), ..ChargeOptions::default() };
    world.run(client.render(ID, None, options)).expect_err("lost");
    rendered_yet.set(true);
    let (job, step) = world.run(client.resume(&format!("render:{ID}"))).expect("its job");
    assert_eq!((job["id"].as_str(), step), (Some(ID), Step::Render));
    assert_eq!(world.network().charges(), 1);
}

// Webhooks

/// A submit with `webhook_url` `address` whose answer is lost. The provider's job has the URL that was sent.
fn lost_with_webhook(template: &'static str, address: &'static str) -> (Client<TestHost>, World) {
    let (client, world) = client_of(move |sent| {
        if sent.charges() {
            return (1.0, failed("ECONNRESET"));
        }
        let job = json!({ "id": sent.job_id(), "status": "done", "video_output": "https://v", "webhook_url": address });
        (1.0, answer_of(200, job))
    });
    let request = request_with(&format!(r#","webhook_url":"https://me.test/{template}""#));
    world.run(client.submit(&request, named("op"))).expect_err("lost");
    (client, world)
}

fn handle(world: &World, client: &Client<TestHost>, candidates: &[&str]) -> (Value, Option<Operation>) {
    let candidates = candidates.iter().map(|candidate| (*candidate).to_owned());
    world.run(client.handle_webhook(ID, candidates)).expect("handled")
}

#[test]
fn a_webhook_settles_its_operation_and_ends_it() {
    for (template, address) in [
        ("hook?operation={operation}", "https://me.test/hook?operation=op"),
        ("hook/{operation}", "https://me.test/hook/op"),
        ("order-{operation}.json", "https://me.test/order-op.json"),
    ] {
        for candidates in [&["op"][..], &["hook", "op"], &[]] {
            let (_, world) = lost_with_webhook(template, address);
            let worker = world.process().client(config());
            let (job, operation) = handle(&world, &worker, candidates);
            assert_eq!(job["video_output"], "https://v");
            let operation = operation.expect("its operation");
            assert_eq!(
                (&*operation.operation, operation.state, operation.job_id.as_deref()),
                ("op", State::Ended, Some(ID))
            );
            // The journal is written before the call settles, since a worker may end with its answer.
            assert_eq!(states(&world), ["ended"]);
            assert!(pending(&world, &worker).is_empty());
            assert_eq!(world.network().requests().len(), 2, "one read");
        }
    }
}

#[test]
fn a_webhook_naming_an_operation_of_another_job_returns_the_job_alone() {
    // The URL is not the one that was sent, or has no placeholder for the operation.
    for (template, address) in [("hook/{operation}", "https://me.test/hook/other"), ("hook/op", "https://me.test/hook/op")] {
        let (client, world) = lost_with_webhook(template, address);
        let (job, operation) = handle(&world, &client, &["op", "hook", "", "x"]);
        assert_eq!((job["id"].as_str(), operation), (Some(ID), None), "{address}");
        assert_eq!(states(&world), ["sending"]);
    }
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", "").replace(ID, OTHER))),
        _ => (1.0, answer(200, &rendered().replace(ID, sent.job_id()))),
    });
    world.run(client.submit(&request(), named("op"))).expect("sent");
    assert_eq!(handle(&world, &client, &["op"]).1, None);
    assert_eq!(states(&world), ["bound"]);
}

#[test]
fn a_webhook_without_an_operation_finds_the_operation_of_its_job() {
    let (client, world) = client_of(at_once);
    world.run(client.submit(&request(), named("op"))).expect("sent");
    for client in [client, world.process().client(config())] {
        let (_, operation) = handle(&world, &client, &[]);
        assert_eq!(states(&world), ["ended"], "before the call settles");
        // At the second delivery no operation is open, but the URL names it.
        let again = handle(&world, &client, &["op"]).1.expect("its operation");
        assert_eq!(again.state, State::Ended);
        assert!(operation.is_none_or(|operation| operation == again));
    }
    assert_eq!(states(&world), ["ended"]);
}

#[test]
fn a_webhook_for_a_running_job_ends_nothing() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Get => (1.0, answer(200, &job("running", ""))),
        _ => (1.0, answer(201, &job("pending", ""))),
    });
    world.run(client.submit(&request(), named("op"))).expect("sent");
    assert_eq!(handle(&world, &client, &["op"]).1.expect("its operation").state, State::Bound);
    assert_eq!(pending(&world, &client).len(), 1);
}

#[test]
fn a_webhook_before_the_answer_returns_a_sending_operation() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Submit => (1_000.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer_of(200, json!({ "id": ID, "status": "done", "webhook_url": "https://me.test/op" }))),
    });
    let charging = client.clone();
    let request = request_with(r#","webhook_url":"https://me.test/{operation}""#);
    world.spawn(async move {
        charging.submit(&request, named("op")).await.expect("sent");
    });
    world.pass(100.0);
    assert_eq!(handle(&world, &client, &["op"]).1.expect("its operation").state, State::Sending);
    world.finish();
    assert_eq!(pending(&world, &client)[0].state, State::Bound);
}

#[test]
fn a_webhook_rejects_for_a_job_of_another_account_or_a_failing_journal() {
    let (client, world) = client_with(vec![(1.0, answer(404, "{}"))]);
    let failure = world.run(client.handle_webhook(ID, ["op".into()])).expect_err("not there");
    assert_eq!((failure.name(), failure.job_id()), ("ApiError", Some(ID)));
    let failure = world.run(client.handle_webhook("op", [])).expect_err("no id");
    assert_eq!(field(&failure), Some("id"));
    let (client, world) = client_of(at_once);
    world.journal().plan_all(Plan::THROWS);
    for candidates in [vec![], vec!["op".to_owned()]] {
        let failure = world.run(client.handle_webhook(ID, candidates)).expect_err("no journal");
        assert_eq!(failure.name(), "JournalError");
    }
}

#[test]
fn a_webhook_ends_an_operation_that_another_process_charged_for() {
    for candidates in [&["op"][..], &[]] {
        let (client, world) = client_of(|sent| match sent.endpoint {
            Endpoint::Get => (1.0, answer(200, &rendered().replace(ID, sent.job_id()))),
            _ => (1.0, answer(201, &job("pending", ""))),
        });
        world.run(client.submit(&request(), named("op"))).expect("sent");
        let worker = world.process().client(config());
        assert_eq!(handle(&world, &worker, candidates).1.expect("its operation").state, State::Ended);
        assert_eq!(states(&world), ["ended"], "written before the call resolves");
    }
}

#[test]
fn a_webhook_without_an_operation_settles_the_operation_whose_url_the_job_has() {
    for address in ["https://me.test/first", "https://me.test/second"] {
        let (client, world) = client_of(move |sent| {
            if sent.charges() {
                return (1.0, failed("ECONNRESET"));
            }
            (1.0, answer_of(200, json!({ "id": ID, "status": "done", "video_output": "https://v", "webhook_url": address })))
        });
        let request = request_with(r#","webhook_url":"https://me.test/{operation}""#);
        for operation in ["first", "second"] {
            world.run(client.submit(&request, named(operation))).expect_err("lost");
            world.pass(1_000.0);
        }
        let operation = handle(&world, &client, &[]).1.expect("its operation").operation;
        assert!(address.ends_with(&operation), "{operation} is not that of {address}");
    }
}
