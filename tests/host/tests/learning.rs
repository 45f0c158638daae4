//! Tests of learned durations: how they are learned, stored in the journal and checked.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use custom_template_jobs::api::Endpoint;
use custom_template_jobs::client::{ChargeOptions, Client, PollOptions};
use custom_template_jobs::host::Update;
use serde_json::Value;
use test_host::fixtures::*;
use test_host::{Plan, TestHost, World, answer, json};

const AURORA: &str = r#","model_version":"aurora_v1""#;
const DAY: f64 = 86_400_000.0;

/// A client whose jobs take `ms`, have ids of their own and do not report progress.
fn taking(ms: f64) -> (Client<TestHost>, World) {
    let begun: RefCell<Vec<(f64, bool)>> = RefCell::default();
    client_of(move |sent| {
        let begun = &mut begun.borrow_mut();
        let is_render = sent.endpoint == Endpoint::Render;
        if sent.charges() && !is_render {
            begun.push((sent.at, false));
        }
        let number = sent.job_id().get(..8).and_then(|number| number.parse().ok()).unwrap_or(begun.len());
        let (since, video) = &mut begun[number - 1];
        if is_render {
            (*since, *video) = (sent.at, true);
        }
        let done = if *video || sent.endpoint != Endpoint::PreviewAsync { VIDEO } else { "" };
        let state = match sent.endpoint {
            Endpoint::Get if sent.at >= *since + ms => job("done", &format!("{PREVIEW}{done}")),
            Endpoint::Get => job("running", ""),
            _ => job("pending", ""),
        };
        (0.0, answer(201, &state.replace("11111111", &format!("{number:08}"))))
    })
}

/// A request for a template chosen by number.
fn request_of(template: usize, more: &str) -> String {
    format!(r#"{{"template_id":"{template:08}-0d44-4b50-8888-8dd25736052a","variables":{{}}{more}}}"#)
}

/// Options with an operation id that no other charge has.
fn anew(world: &World) -> ChargeOptions {
    named(&world.network().count().to_string())
}

fn submit(client: &Client<TestHost>, world: &World, request: &str) -> Value {
    world.run(client.submit(request, anew(world))).expect("sent")
}

/// The times of the polls of a job, in milliseconds since its charge was answered.
fn polls_at(client: &Client<TestHost>, world: &World, request: &str, options: PollOptions) -> Vec<f64> {
    let pending = submit(client, world, request);
    polls_of(client, world, &pending, options)
}

fn polls_of(client: &Client<TestHost>, world: &World, pending: &Value, options: PollOptions) -> Vec<f64> {
    let (begun, before) = (world.now(), world.network().count());
    let id = pending["id"].as_str().expect("an id");
    world.run(client.poll(id, Some(pending.clone()), options, None)).expect("done");
    world.finish();
    world.network().times()[before..].iter().map(|at| (at - begun).round()).collect()
}

/// Another client of the same journal.
fn another(world: &World) -> Client<TestHost> {
    world.process().client(config())
}

fn durations(world: &World) -> Vec<(String, String)> {
    world.journal().marks("took")
}

fn usual() -> PollOptions {
    PollOptions::default()
}

#[test]
fn the_duration_of_a_step_is_learned_for_the_next_job_of_the_template() {
    let (client, world) = taking(13_000.0);
    let lags = [0, 1].map(|_| polls_at(&client, &world, &request(), usual()).last().expect("a poll") - 13_000.0);
    assert!(lags[1] < lags[0], "the second poll returns sooner after the end: {lags:?}");
}

#[test]
fn clients_of_one_journal_share_learned_durations() {
    for ms in [25_000.0, 90_000.0] {
        let (client, world) = taking(ms);
        let blind = polls_at(&client, &world, &request(), usual());
        let learned = polls_at(&client, &world, &request(), usual());
        assert_ne!(blind, learned);

        let (client, world) = taking(ms);
        polls_at(&client, &world, &request(), usual());
        // It reads the journal first, which delays no poll.
        let read = polls_at(&another(&world), &world, &request(), usual());
        assert!(read[0] <= learned[0] && read != blind, "{ms}: {read:?}, {learned:?}, {blind:?}");
        let lag = |polls: &[f64]| polls.last().expect("a poll") - ms;
        assert!(learned.len() < blind.len() || lag(&learned) < lag(&blind), "{learned:?} {blind:?}");
    }
}

#[test]
fn a_poll_after_a_reload_expects_the_same_end() {
    let (client, world) = taking(90_000.0);
    polls_at(&client, &world, &request(), usual());
    let pending = submit(&client, &world, &request());
    let (begun, id) = (world.now(), pending["id"].as_str().expect("an id"));
    world.pass(60_000.0);

    let reloaded = another(&world);
    assert_eq!(world.run(reloaded.pending()).expect("listed").len(), 1);
    let left = Rc::new(Cell::new(0.0));
    let reported = Rc::clone(&left);
    let on_update = move |update: Update<'_, Value>| reported.set(update.remaining_ms.unwrap_or(-1.0));
    assert!(world.run_for(10.0, reloaded.poll(id, None, usual(), Some(Box::new(on_update)))).is_none());
    let (_, entry) = durations(&world).pop().expect("a learned duration");
    let learned = json(&entry)["ms"].as_f64().expect("milliseconds");
    assert!((left.get() - (begun + learned - world.now())).abs() < 1_000.0, "{} of {learned}", left.get());
}

#[test]
fn a_job_of_an_earlier_process_does_not_change_learned_durations() {
    let (client, world) = taking(20_000.0);
    for learned in [0, 1] {
        let pending = submit(&client, &world, &request());
        let before = durations(&world);
        assert_eq!(before.len(), learned);
        let reloaded = another(&world);
        world.run(reloaded.pending()).expect("listed");
        polls_of(&reloaded, &world, &pending, usual());
        assert_eq!(durations(&world), before);
        polls_at(&client, &world, &request(), usual());
    }
}

#[test]
fn a_duration_from_the_journal_moves_the_first_poll_and_delays_no_poll() {
    let (client, world) = taking(4_000.0);
    assert_eq!(polls_at(&client, &world, &request(), usual()), [4_800.0]);
    let (key, entry) = durations(&world).pop().expect("a learned duration");
    let polls = polls_at(&another(&world), &world, &request(), usual());
    assert_eq!(polls[0], 2_400.0, "half of the learned duration");

    // If the duration arrives late, the poll is still early;
    let slow = |ms| world.journal().plan_all(Plan::answers_after(ms));
    world.journal().put(&key, &entry);
    let client = another(&world);
    let pending = submit(&client, &world, &request());
    slow(400.0);
    assert_eq!(polls_of(&client, &world, &pending, usual())[0], polls[0]);
    // if it arrives too late, it is not waited for.
    slow(0.0);
    world.journal().put(&key, &entry);
    let client = another(&world);
    let pending = submit(&client, &world, &request());
    slow(3_600_000.0);
    assert_eq!(polls_of(&client, &world, &pending, usual()), [4_800.0]);

    // An attentive poll is as early as without the journal.
    slow(0.0);
    let ms = json(&entry)["ms"].to_string();
    world.journal().put(&key, &entry.replace(&format!("\"ms\":{ms}"), "\"ms\":90000"));
    let client = another(&world);
    let pending = submit(&client, &world, &request());
    slow(2_000.0);
    let watched = PollOptions { attentive: true, ..usual() };
    assert_eq!(polls_of(&client, &world, &pending, watched)[0], 4_800.0);
}

#[test]
fn a_journal_that_fails_or_hangs_delays_no_poll() {
    for plan in [Plan::THROWS, Plan::HANGS] {
        let (client, world) = taking(20_000.0);
        let blind = polls_at(&client, &world, &request(), usual());
        let client = another(&world);
        let pending = submit(&client, &world, &request());
        world.journal().plan_all(plan);
        assert_eq!(polls_of(&client, &world, &pending, usual()), blind);
    }
}

#[test]
fn learned_durations_are_separate_by_template_step_model_and_account() {
    let (client, world) = taking(20_000.0);
    let blind = polls_at(&client, &world, &request(), usual());
    let other_account = world.process().client(config_of("somebody else"));
    for (client, request) in [
        (&another(&world), request_of(7, "")),
        (&another(&world), request_of(7, AURORA)),
        (&another(&world), request_of(7, r#","model_version":"aurora_v1_fast""#)),
        (&other_account, request()),
    ] {
        assert_eq!(polls_at(client, &world, &request, usual()), blind, "{request}");
    }
    let client = another(&world);
    let pending = world.run(client.preview_async(&request(), anew(&world))).expect("sent");
    assert_eq!(polls_of(&client, &world, &pending, usual()), blind, "another step");
    assert_eq!(durations(&world).len(), 6);
}

#[test]
fn a_render_without_a_model_is_learned_under_the_model_of_its_preview() {
    let (client, world) = taking(2_000.0);
    for body in [None, Some(request_of(7, AURORA))] {
        let pending = world.run(client.preview_async(&request_of(7, AURORA), anew(&world))).expect("sent");
        polls_of(&client, &world, &pending, usual());
        let id = pending["id"].as_str().expect("an id");
        let rendering = world.run(client.render(id, body.as_deref(), anew(&world))).expect("sent");
        polls_of(&client, &world, &rendering, usual());
        assert_eq!(durations(&world).len(), 2, "the preview and the render");
    }
}

#[test]
fn expected_ms_takes_precedence_over_learned_durations() {
    let expecting = PollOptions { expected_ms: Some(60_000.0), ..usual() };
    let (client, world) = taking(20_000.0);
    let reported = polls_at(&client, &world, &request(), expecting);
    assert_eq!(polls_at(&another(&world), &world, &request(), expecting), reported);
    assert_ne!(polls_at(&another(&world), &world, &request(), usual()), reported);
}

#[test]
fn an_invalid_duration_is_ignored_and_replaced() {
    let (client, world) = taking(20_000.0);
    let blind = polls_at(&client, &world, &request(), usual());
    let (key, good) = durations(&world).pop().expect("a learned duration");
    let with = |field: &str, text: &str| {
        let mut bad = json(&good);
        bad[field] = json(text);
        bad.to_string()
    };
    let at = |days: f64| with("at", &(world.wall() + days * DAY).to_string());
    let huge = format!("[{}1]", "1,".repeat(100_000));
    let mut bad = vec![at(2.0), at(-30.1), huge, "no JSON".into(), String::new()];
    bad.extend(["null", "7", "true", "[]", "{}", "\"\"", "\"{}\"", r#"{"version":2}"#].map(String::from));
    for number in ["-1", "0", "86400001", "1e300", "null", "\"\"", "\"1e3\"", "[20000]", "{}"] {
        bad.push(with("ms", number));
    }
    for kind in ["0", "-1", "null", "[]", r#""0000000000000000""#] {
        let mut bad_kind = json(&with("kind", kind));
        bad_kind["ms"] = 50_600.into();
        bad.push(bad_kind.to_string());
    }
    for number in ["0", "-1", "1e300", "null", "{}"] {
        bad.push(with("at", number));
    }
    for entry in bad {
        world.journal().put(&key, &entry);
        let polls = polls_at(&another(&world), &world, &request(), usual());
        assert_eq!(polls, blind, "{entry:.100}");
        let reported = json(&durations(&world).pop().expect("learned again").1);
        assert_eq!((&reported["ms"], &reported["kind"]), (&json(&good)["ms"], &json(&good)["kind"]), "{entry:.100}");
    }
    for entry in [&at(0.9), &at(-29.9)] {
        world.journal().put(&key, entry);
        assert_ne!(polls_at(&another(&world), &world, &request(), usual()), blind, "{entry}");
    }
}

#[test]
fn two_clients_that_learn_at_the_same_time_keep_both_templates() {
    let (client, world) = taking(20_000.0);
    let other = another(&world);
    for (client, template) in [(client, 1), (other, 2)] {
        let clock = world.clone();
        world.spawn(async move {
            for job in 0..3 {
                let operation = named(&format!("{template}/{job}"));
                let pending = client.submit(&request_of(template, ""), operation).await.expect("sent");
                let id = pending["id"].as_str().expect("an id").to_owned();
                client.poll(&id, Some(pending), usual(), None).await.expect("done");
                clock.sleep(0.0).await;
            }
        });
    }
    world.finish();
    let third = another(&world);
    let [blind, one, two] = [3, 1, 2].map(|template| polls_at(&third, &world, &request_of(template, ""), usual()));
    assert_ne!(one, blind);
    assert_eq!(one, two);
}

#[test]
fn the_journal_has_at_most_a_thousand_durations() {
    let (_, world) = taking(1_000.0);
    for begin in [0, 750] {
        let client = another(&world);
        for template in begin..begin + 750 {
            polls_at(&client, &world, &request_of(template, ""), usual());
        }
    }
    let count = durations(&world).len();
    assert!((600..=1_000).contains(&count), "{count}");
}

#[test]
fn a_failed_job_teaches_nothing_and_pending_ignores_durations() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("failed", ""))),
    });
    let pending = submit(&client, &world, &request());
    world.run(client.poll(ID, Some(pending), usual(), None)).expect_err("failed");
    world.finish();
    assert!(durations(&world).is_empty());

    let (client, world) = taking(1_000.0);
    polls_at(&client, &world, &request(), usual());
    assert_eq!(durations(&world).len(), 1);
    assert!(world.run(client.pending()).expect("the journal").is_empty());
    assert!(!world.events().iter().any(|event| matches!(event, test_host::Event::Skipped { .. })));
}
