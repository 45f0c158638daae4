//! A relay's report on an operation whose answer was lost: what was charged is found, and nothing is charged twice.

use std::cell::Cell;
use std::rc::Rc;

use custom_template_jobs::api::Endpoint;
use custom_template_jobs::charge::State;
use custom_template_jobs::client::{ChargeOptions, Client, Config};
use custom_template_jobs::error::Charged;
use serde_json::json;
use test_host::fixtures::*;
use test_host::{Reply, TestHost, World, answer, failed, text};

fn relayed() -> Config {
    Config { relay: true, ..config() }
}

/// The relay's report on `op`.
fn report(state: &str) -> Reply {
    answer(200, &json!({ "operation": "op", "state": state, "job_id": ID }).to_string())
}

/// A client of a relay that answers charges and questions in these orders, the last one again and again; a job is running.
fn client_of_relay(charges: Vec<Reply>, reports: Vec<Reply>) -> (Client<TestHost>, World) {
    let world = World::new();
    let next = |replies: Vec<Reply>| {
        let at = Cell::new(0);
        move || {
            let reply = replies.get(at.get()).or(replies.last()).expect("there is one").clone();
            at.set(at.get() + 1);
            reply
        }
    };
    let (charge, report) = (next(charges), next(reports));
    world.script(move |sent| match sent.endpoint {
        Endpoint::Operation => (5.0, report()),
        Endpoint::Get => (5.0, answer(200, &previewed("running", ""))),
        _ => (10.0, charge()),
    });
    (world.process().client(relayed()), world)
}

fn questions(world: &World) -> usize {
    world.network().log().iter().filter(|sent| sent.endpoint == Endpoint::Operation).count()
}

#[test]
fn an_answer_lost_on_the_way_to_the_page_is_asked_for_and_brings_the_job() {
    for lost in [failed("ECONNRESET"), failed(""), answer(502, "{}"), answer(503, "{}"), text(200, "<html>")] {
        let (client, world) = client_of_relay(vec![lost], vec![report("bound")]);
        let job = world.run(client.submit(&request(), named("op"))).expect("the relay knows the job");
        assert_eq!(job["id"], ID);
        assert_eq!((world.network().charges(), questions(&world)), (1, 1));
        assert_eq!(states(&world), ["bound"]);
        world.finish();
        assert_idle(&client);
    }
}

#[test]
fn each_charging_call_is_recovered() {
    let calls = [Endpoint::Submit, Endpoint::PreviewAsync, Endpoint::PreviewSync, Endpoint::Render];
    for endpoint in calls {
        let world = World::new();
        world.script(|sent| match sent.endpoint {
            Endpoint::Operation => (5.0, report("bound")),
            Endpoint::Get => (5.0, answer(200, &previewed("done", ""))),
            _ => (10.0, failed("ECONNRESET")),
        });
        let client = world.process().client(relayed());
        let job = world.run(async {
            match endpoint {
                Endpoint::Submit => client.submit(&request(), named("op")).await,
                Endpoint::PreviewAsync => client.preview_async(&request(), named("op")).await,
                Endpoint::PreviewSync => client.preview_sync(&request(), named("op")).await,
                _ => client.render(ID, None, named("op")).await,
            }
        });
        assert_eq!(job.expect("the relay knows it")["id"], ID);
        assert_eq!(world.network().charges(), 1, "{endpoint:?}");
    }
}

#[test]
fn only_the_relays_word_sends_the_same_key_again() {
    for knows in ["never_seen", "rejected"] {
        let replies = vec![failed("ECONNRESET"), answer(201, &job("pending", ""))];
        let (client, world) = client_of_relay(replies, vec![report(knows)]);
        let job = world.run(client.submit(&request(), named("op"))).expect("sent again");
        assert_eq!((&job["id"], world.network().charges()), (&json!(ID), 2), "{knows}");
        let sent: Vec<_> = world.network().log().iter().filter_map(|sent| sent.operation.clone()).collect();
        assert_eq!(sent, ["op", "op"]);
        assert_eq!(states(&world), ["bound"]);
    }
    let other = json!({ "operation": "another", "state": "never_seen" }).to_string();
    let strange = json!({ "operation": "op", "state": "fine" }).to_string();
    let silent = [
        report("unknown"),
        report("sending"),
        answer(404, "{}"),
        answer(404, &json!({ "operation": "op", "state": "never_seen" }).to_string()),
        answer(401, "{}"),
        answer(200, "{}"),
        answer(200, "[]"),
        answer(200, &other),
        answer(200, &strange),
        text(200, "<html>"),
        failed("ECONNREFUSED"),
    ];
    for reply in silent {
        let (client, world) = client_of_relay(vec![failed("ECONNRESET")], vec![reply.clone()]);
        let failure = world.run(client.submit(&request(), named("op"))).expect_err("nobody knows");
        assert_eq!((failure.name(), failure.charged()), ("ChargeUnknownError", Charged::Maybe), "{reply:?}");
        assert_eq!(world.network().charges(), 1, "{reply:?}");
        assert_eq!(states(&world), ["sending"]);
    }
}

#[test]
fn a_relay_that_never_gets_a_charge_gets_it_three_times_at_most() {
    let (client, world) = client_of_relay(vec![failed("")], vec![report("never_seen")]);
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("no answer");
    assert_eq!((failure.name(), world.network().charges()), ("ChargeUnknownError", 3));
    // A copy may be on its way still, so the operation is kept.
    assert_eq!(states(&world), ["sending"]);
}

#[test]
fn a_client_without_a_relay_asks_nobody() {
    let (client, world) = client_with(vec![(1.0, failed("ECONNRESET"))]);
    world.run(client.submit(&request(), named("op"))).expect_err("lost");
    world.run(client.settle("op", None)).expect("unknown");
    world.run(client.pending()).expect("one");
    assert_eq!(world.network().requests().len(), 1);
}

#[test]
fn a_key_that_the_relay_has_for_another_request_is_a_conflict() {
    let reply = answer(409, r#"{"detail":"This key was used before.","code":"operation_conflict"}"#);
    let (client, world) = client_of_relay(vec![reply], vec![report("bound")]);
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("another request has it");
    assert_eq!((failure.name(), failure.charged()), ("OperationConflictError", Charged::Maybe));
    assert!(states(&world).is_empty(), "this request was not sent on");
    // Of a relay that has no report, and of another server, the same status says nothing.
    let (client, world) = client_of_relay(vec![answer(409, "{}")], vec![answer(404, "{}")]);
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("unknown");
    assert_eq!((failure.name(), states(&world).len()), ("ChargeUnknownError", 1));
    let (client, world) = client_with(vec![(1.0, answer(409, r#"{"code":"operation_conflict"}"#))]);
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("unknown");
    assert_eq!((failure.name(), states(&world).len()), ("ChargeUnknownError", 1));
}

/// A world where the answer to `op` was lost and the relay did not know; what the relay says from now on, and a new client.
fn after_a_reload() -> (World, Rc<Cell<&'static str>>, Client<TestHost>) {
    let world = World::new();
    let knows = Rc::new(Cell::new("unknown"));
    let said = Rc::clone(&knows);
    world.script(move |sent| match sent.endpoint {
        Endpoint::Operation => (5.0, report(said.get())),
        Endpoint::Get => (5.0, answer(200, &job("running", ""))),
        _ => (10.0, failed("ECONNRESET")),
    });
    let client = world.process().client(relayed());
    world.run(client.submit(&request(), named("op"))).expect_err("lost");
    let client = world.process().client(relayed());
    (world, knows, client)
}

#[test]
fn after_a_reload_settle_and_resume_bring_the_job_that_the_relay_knows() {
    let (world, knows, client) = after_a_reload();
    knows.set("never_seen");
    assert_eq!(world.run(client.settle("op", None)).expect("a copy may come still").state, State::Unknown);
    knows.set("bound");
    let settled = world.run(client.settle("op", None)).expect("settled");
    assert_eq!((settled.state, settled.job_id.as_deref()), (State::Bound, Some(ID)));
    let (world, knows, client) = after_a_reload();
    knows.set("bound");
    assert_eq!(world.run(client.resume("op")).expect("its job").0["id"], ID);
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_caller_who_left_has_nothing_sent_again() {
    let (client, world) = client_of_relay(vec![failed("")], vec![report("never_seen")]);
    let options = ChargeOptions { timeout: Some(12.0), ..named("op") };
    world.run(client.submit(&request(), options)).expect_err("its time is over");
    world.finish();
    assert_eq!((world.network().charges(), states(&world)), (1, vec!["sending".to_owned()]));
}
