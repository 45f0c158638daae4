//! Tests of polls: shared requests, intervals within bounds, and an end for every call.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use custom_template_jobs::api::{Endpoint, Goal, Step};
use custom_template_jobs::client::{Client, PollOptions};
use custom_template_jobs::error::ApiKind;
use custom_template_jobs::host::{Answer, Body, Env, OnUpdate, Update};
use custom_template_jobs::poll::FLOOR;
use serde_json::Value;
use test_host::fixtures::*;
use test_host::random::Random;
use test_host::{Given, Plan, Reply, Sent, TestHost, World, answer, busy, failed, json};

/// Polls the job to its end.
fn poll(world: &World, client: &Client<TestHost>, options: PollOptions) -> Result<Value, Failure> {
    world.run(client.poll(ID, None, options, None))
}

#[test]
fn every_status_ends_or_continues_a_poll_as_documented() {
    for status in ["pending", "in_queue", "running", "a new word"] {
        let (client, world) =
            client_with(vec![(1.0, answer(200, &job(status, ""))), (1.0, answer(200, &job("done", VIDEO)))]);
        poll(&world, &client, video()).expect("done in the end");
        assert_eq!(world.network().count(), 2, "{status}");
        world.finish();
        assert_idle(&client);
    }
    for (status, more, reason) in [
        ("failed", r#","failed_reason":"No face was found.""#, "No face was found."),
        ("failed", r#","failed_reason":"""#, "the job failed and the provider gave no reason"),
        ("failed", r#","failed_reason":null"#, "the job failed and the provider gave no reason"),
        ("rejected", "", "the provider rejected the job and gave no reason"),
    ] {
        let (client, world) = client_with(vec![(1.0, answer(200, &job(status, more)))]);
        let failure = poll(&world, &client, video()).expect_err(status);
        assert_eq!(failure.name(), "JobFailedError");
        assert!(failure.message().contains(reason), "{}", failure.message());
        assert_eq!(failure.job_id(), Some(ID));
        assert!(failure.job().is_some());
        assert_eq!(world.network().count(), 1);
    }
}

#[test]
fn a_finished_job_passed_to_poll_costs_no_request() {
    let (client, world) = client_of(|_| panic!("sent"));
    for until in [Goal::Preview, Goal::Video, Goal::Done] {
        let options = PollOptions { until: Some(until), ..PollOptions::default() };
        world.run(client.poll(ID, Some(json(&rendered())), options, None)).expect("at once");
    }
    world.finish();
    assert_idle(&client);
}

#[test]
fn a_failed_job_passed_to_poll_is_polled_once_more() {
    for (now, ends) in [("failed", false), ("running", true)] {
        let (client, world) = client_with(vec![(1.0, answer(200, &job(now, ""))), (1.0, answer(200, &rendered()))]);
        let ended = world.run(client.poll(ID, Some(json(&job("failed", ""))), video(), None));
        assert_eq!(ended.is_ok(), ends, "{now}");
        assert_eq!(world.network().count(), if ends { 2 } else { 1 });
    }
}

#[test]
fn a_preview_that_is_done_does_not_end_the_poll_of_a_render() {
    let polls = Cell::new(0);
    let (client, world) = client_of(move |sent| {
        if sent.endpoint == Endpoint::Render {
            polls.set(1);
            return (1.0, answer(200, &previewed("done", "")));
        }
        if polls.get() > 0 {
            polls.set(polls.get() + 1);
        }
        let state = match polls.get() {
            0 | 2 => previewed("done", ""),
            3 => previewed("running", ""),
            _ => rendered(),
        };
        (1.0, answer(200, &state))
    });
    let rendering = world.run(client.render(ID, None, of_render(ID))).expect("sent");
    let job = world.run(client.poll(ID, Some(rendering), PollOptions::default(), None)).expect("the video");
    assert_eq!(job["video_output"], "https://v");
}

#[test]
fn a_poll_until_done_ends_at_the_first_done_of_any_step() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("done", ""))),
    });
    let pending = world.run(client.submit(&request(), unnamed(&client))).expect("sent");
    let options = PollOptions { until: Some(Goal::Done), ..PollOptions::default() };
    world.run(client.poll(ID, Some(pending), options, None)).expect("done without a video");
}

#[test]
fn a_done_job_without_a_url_is_incomplete_after_a_few_polls() {
    let (client, world) = client_with(vec![(1.0, answer(200, &job("done", "")))]);
    let failure = poll(&world, &client, video()).expect_err("no URL");
    assert_eq!(failure.name(), "IncompleteResultError");
    assert!((4..=7).contains(&world.network().count()), "{}", world.network().count());
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("done", ""))),
    });
    let pending = world.run(client.submit(&request(), unnamed(&client))).expect("sent");
    let failure = world.run(client.poll(ID, Some(pending), video(), None)).expect_err("no URL");
    assert_eq!(failure.name(), "IncompleteResultError");
    assert!(world.now() > 30_000.0 && (5..=8).contains(&world.network().count()), "{:?}", world.network().times());
}

#[test]
fn an_unrendered_preview_is_incomplete_after_two_polls_ten_seconds_apart() {
    for given in [None, Some(json(&previewed("done", "")))] {
        let (client, world) = client_of(|_| (1.0, answer(200, &previewed("done", ""))));
        let failure = world.run(client.poll(ID, given, attentive(), None)).expect_err("no video");
        assert_eq!((failure.name(), failure.job_id()), ("IncompleteResultError", Some(ID)));
        assert!(failure.message().ends_with("Call render() first."), "{}", failure.message());
        let times = world.network().times();
        assert_eq!(times.len(), 2);
        assert!(gaps(&times)[0] >= 10_000.0, "{times:?}");
    }
}

#[test]
fn frequent_polls_do_not_make_a_video_incomplete_sooner() {
    for done in [job("done", ""), previewed("done", "")] {
        for first in [job("running", ""), done.clone()] {
            let (client, world) = client_with(vec![(1.0, answer(200, &first)), (1.0, answer(200, &done))]);
            let options = PollOptions { max_interval: Some(200.0), ..video() };
            poll(&world, &client, options).expect_err("no video");
            let times = world.network().times();
            assert!(times[times.len() - 1] - times[1] >= 10_000.0, "{times:?}");
            assert!(times[1] < 4_000.0 && times.len() <= 6 && world.now() < 20_000.0, "{times:?}");
        }
    }
}

#[test]
fn a_video_charged_by_this_journal_is_awaited_for_longer() {
    // Another client renders it, before the call or between its two polls; the job shows that late.
    for begun in [0.0, 5_000.0] {
        let late = 25_000.0;
        let script = move |sent: &Sent| match sent.endpoint {
            Endpoint::Render => (1.0, answer(200, "{}")),
            _ if sent.at < late => (1.0, answer(200, &previewed("done", ""))),
            _ => (1.0, answer(200, &rendered())),
        };
        let ([client, other], world) = tabs(script, &config());
        let rendering = world.clone();
        world.spawn(async move {
            rendering.sleep(begun).await;
            other.render(ID, None, of_render(ID)).await.expect("sent");
        });
        world.pass(100.0);
        poll(&world, &client, video()).unwrap_or_else(|failure| panic!("{begun}: {failure:?}"));
    }
}

#[test]
fn an_outage_shorter_than_the_deadline_does_not_end_a_poll() {
    for outage in [answer(502, "{}"), failed("ECONNREFUSED"), answer(429, "{}"), test_host::text(200, "<html>")] {
        let case = format!("{outage:?}");
        let mut replies = vec![(1.0, answer(200, &job("running", "")))];
        replies.extend(std::iter::repeat_n((1.0, outage), 8));
        replies.push((1.0, answer(200, &job("done", VIDEO))));
        let (client, world) = client_with(replies);
        poll(&world, &client, video()).unwrap_or_else(|failure| panic!("{case}: {failure:?}"));
    }
    // Nor does silence, or headers that do not come.
    let (client, world) =
        client_of(|sent| if sent.at < 120_000.0 { (f64::INFINITY, failed("")) } else { (1.0, answer(200, &rendered())) });
    poll(&world, &client, video()).expect("done");
    let (client, world) = client_of(|_| (1.0, answer(200, &rendered())));
    let asked = Cell::new(0);
    client.host().on_headers(move || {
        asked.set(asked.get() + 1);
        Given::after(if asked.get() < 4 { f64::INFINITY } else { 0.0 }, Ok(()))
    });
    poll(&world, &client, video()).expect("done");
    assert_eq!(world.network().count(), 1);
}

#[test]
fn a_refusal_ends_a_poll_at_once() {
    for (status, kind) in [(401, "authentication"), (403, "authentication"), (404, "not_found")] {
        let (client, world) = client_with(vec![(1.0, answer(status, "{}"))]);
        let failure = poll(&world, &client, video()).expect_err("refused");
        assert_eq!(api_kind(&failure).map(ApiKind::as_str), Some(kind));
        assert_eq!(failure.job_id(), Some(ID));
        assert_eq!(world.network().count(), 1);
    }
}

#[test]
fn a_deadline_rejects_with_the_last_known_job_and_leaves_nothing_running() {
    for shares in [true, false] {
        let (client, world) = client_with(vec![(1.0, answer(200, &job("running", r#","progress":0.4"#)))]);
        client.host().set_shares(shares);
        let failure = poll(&world, &client, PollOptions { timeout: Some(60_000.0), ..video() }).expect_err("too slow");
        assert_eq!((failure.name(), failure.job_id()), ("PollTimeoutError", Some(ID)));
        assert_eq!(failure.job().expect("the last known job")["progress"], 0.4);
        assert_eq!(world.now(), 60_000.0);
        world.finish();
        assert_idle(&client);
        assert_eq!((world.now(), world.executor().timers()), (60_000.0, 0));
    }
}

#[test]
fn a_deadline_is_met_to_the_millisecond() {
    let running = json(&job("running", ""));
    let options = PollOptions { timeout: Some(4_000.0), expected_ms: Some(60_000.0), ..video() };
    let (client, world) = client_of(|_| panic!("sent"));
    assert!(world.run_for(3_999.9, client.poll(ID, Some(running.clone()), options, None)).is_none());
    let begun = world.now();
    let failure = world.run(client.poll(ID, Some(running), options, None)).expect_err("too slow");
    assert_eq!(failure.name(), "PollTimeoutError");
    assert!((world.now() - begun - 4_000.0).abs() < 1e-6, "{}", world.now() - begun);
    world.finish();
    assert_idle(&client);
}

#[test]
fn a_timeout_of_zero_ends_at_once_and_a_huge_one_is_clamped() {
    let slow = || client_of(|sent| of(&job("running", ""), sent.job_id()));
    for over in [0.0, -0.0] {
        let (client, world) = slow();
        // Another poll runs at the same time and keeps its own timeout.
        let log = waiting(&client, &world, &[OTHER.to_owned()], PollOptions { timeout: Some(60_000.0), ..video() });
        world.pass(10.0);
        let begun = world.now();
        let failure = poll(&world, &client, PollOptions { timeout: Some(over), ..video() }).expect_err("over");
        assert_eq!(failure.name(), "PollTimeoutError", "{over}");
        assert!(world.now() - begun < 1.0 && world.network().count() == 1, "{over}: {} ms", world.now());
        world.finish();
        assert_eq!(*log.borrow(), ["PollTimeoutError"]);
        assert!((world.now() - 60_000.0).abs() < 1.0, "{over}: the other poll ended at {} ms", world.now());
    }
    for (given, expected) in [(2_147_483_648.0, 2_147_483_647.0), (1e300, 2_147_483_647.0)] {
        let (client, world) = slow();
        client.host().set_env(Env { visible: false, online: false });
        let failure = poll(&world, &client, PollOptions { timeout: Some(given), ..video() }).expect_err("over");
        assert_eq!(failure.name(), "PollTimeoutError", "{given}");
        assert!((world.now() - expected).abs() < 1.0, "{given}: {} ms", world.now());
    }
}

#[test]
fn a_stuck_job_is_polled_less_and_less_often() {
    let (client, world) = client_with(vec![(1.0, answer(200, &job("running", r#","progress":0.99"#)))]);
    poll(&world, &client, PollOptions { timeout: Some(3_600_000.0), ..video() }).expect_err("stuck");
    let times = world.network().times();
    assert!(times.len() < 240, "{} requests in an hour", times.len());
    assert!(gaps(&times).iter().all(|gap| (999.0..30_500.0).contains(gap)), "{:?}", gaps(&times));
}

// The page

#[test]
fn offline_is_polled_at_the_longest_interval_and_at_once_when_the_network_is_back() {
    let (client, world) = client_of(|sent| match sent.at {
        at if at < 300_000.0 => (1.0, if at < 5.0 { answer(200, &job("running", "")) } else { failed("") }),
        _ => (1.0, answer(200, &job("done", VIDEO))),
    });
    let host = client.host().clone();
    let other = host.clone();
    world.after(10.0, move || host.set_env(Env { visible: true, online: false }));
    world.after(300_000.0, move || other.set_env(Env { visible: true, online: true }));
    poll(&world, &client, PollOptions { attentive: true, max_interval: Some(2_000.0), ..video() }).expect("done");
    let times = world.network().times();
    let offline: Vec<f64> = times.iter().copied().filter(|at| (10.0..299_999.0).contains(at)).collect();
    assert!((4..=10).contains(&offline.len()), "it never stops: {times:?}");
    assert!(gaps(&offline).iter().all(|gap| *gap >= 29_999.0), "the longest interval: {times:?}");
    assert!(times.last().is_some_and(|at| (300_000.0..300_100.0).contains(at)), "{times:?}");
}

#[test]
fn a_hidden_page_polls_at_most_once_a_minute_and_at_once_when_shown() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let host = client.host().clone();
    let other = host.clone();
    world.after(10.0, move || host.set_env(Env { visible: false, online: true }));
    world.after(250_000.0, move || other.set_env(Env { visible: true, online: true }));
    let options = PollOptions { timeout: Some(251_000.0), attentive: true, ..video() };
    poll(&world, &client, options).expect_err("deadline");
    let times = world.network().times();
    let hidden = times.iter().filter(|at| (10.0..249_000.0).contains(*at)).count();
    assert!((3..=4).contains(&hidden), "{times:?}");
    assert!(times.iter().any(|at| (249_990.0..250_100.0).contains(at)), "{times:?}");
}

#[test]
fn a_page_that_is_restored_polls_at_once() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let restored = client.clone();
    world.after(3_000.0, move || restored.environment_changed(true));
    assert!(world.run_for(3_100.0, client.poll(ID, None, video(), None)).is_none());
    assert_eq!(world.network().times(), [0.0, 3_000.0]);
}

#[test]
fn a_client_listens_for_changes_only_during_a_poll() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    assert!(!client.host().is_listening());
    for _ in 0..2 {
        let waiting = client.clone();
        let call = world.start(async move { waiting.poll(ID, None, video(), None).await });
        world.pass(10.0);
        assert!(client.host().is_listening());
        world.pass(1_900_000.0);
        assert!(call.is_done() && !client.host().is_listening());
    }
    assert!(world.run_for(10.0, client.poll(ID, None, video(), None)).is_none());
    world.finish();
    assert_idle(&client);
}

#[test]
fn after_sleep_each_job_is_polled_once_at_most_six_at_a_time_then_as_usual() {
    let ids = ids(20);
    let (client, world) = client_of(|sent| (100.0, answer(200, &job("running", "").replace(ID, sent.job_id()))));
    for (number, id) in ids.iter().enumerate() {
        let options = PollOptions { timeout: Some(7_200_000.0), attentive: number % 2 == 0, ..video() };
        waiting(&client, &world, std::slice::from_ref(id), options);
    }
    let clock = world.clone();
    world.after(60_000.0, move || clock.jump(3_600_000.0));
    world.pass(3_720_000.0);
    let awake = 3_660_000.0;
    let after: Vec<Sent> = world.network().log().into_iter().filter(|sent| sent.at >= awake).collect();
    assert_eq!(after.iter().filter(|sent| sent.at < awake + 50.0).count(), 6);
    assert_eq!(after.iter().filter(|sent| sent.at < awake + 1_000.0).count(), 20);
    for id in &ids {
        let of_one: Vec<f64> = after.iter().filter(|sent| sent.job_id() == id).map(|sent| sent.at).collect();
        assert!((2..=5).contains(&of_one.len()), "{of_one:?}");
        assert!(gaps(&of_one).iter().all(|gap| *gap >= FLOOR), "{of_one:?}");
    }
}

#[test]
fn a_timeout_counts_only_the_time_that_the_machine_was_awake() {
    const HOURS: f64 = 8.0 * 3_600_000.0;
    let ids = ids(20);
    let options = PollOptions { timeout: Some(1_800_000.0), ..video() };
    // Jobs with odd numbers end while the machine sleeps.
    let (client, world) = client_of(|sent| {
        let ended = sent.at > HOURS && sent.job_id()[..8].parse::<u32>().is_ok_and(|number| number % 2 == 1);
        of(&if ended { job("done", VIDEO) } else { job("running", "") }, sent.job_id())
    });
    let log = waiting(&client, &world, &ids, options);
    world.pass(60_000.0);
    world.jump(HOURS);
    let woken = world.now();
    world.pass(1_400.0);
    let after: Vec<Sent> = world.network().log().into_iter().filter(|sent| sent.at >= woken).collect();
    for id in &ids {
        assert_eq!(after.iter().filter(|sent| sent.job_id() == id).count(), 1, "{id}");
    }
    assert_eq!(*log.borrow(), vec!["done"; 10], "only the jobs that ended meanwhile");
    world.finish();
    assert_eq!(log.borrow()[10..], vec!["PollTimeoutError"; 10]);
    let awake = world.now() - HOURS;
    assert!((1_770_000.0..=1_800_001.0).contains(&awake), "{awake} ms: at most one interval is not counted");
    assert_idle(&client);
}

// Several polls of one client

type Log = Rc<RefCell<Vec<String>>>;

/// A listener that logs changes of the job.
fn logging(log: &Log) -> OnUpdate<Value> {
    let log = Rc::clone(log);
    Box::new(move |Update { job, next_poll_ms, .. }| {
        assert!(next_poll_ms.is_none_or(|ms| ms >= 0.0));
        let (status, progress) = (job["status"].as_str().unwrap_or_default(), job["progress"].as_f64().unwrap_or(-1.0));
        let line = format!("{status} {progress}");
        if log.borrow().last() != Some(&line) {
            log.borrow_mut().push(line);
        }
    })
}

/// Starts a poll and logs the job's changes and the outcome.
fn watching(client: &Client<TestHost>, world: &World, options: PollOptions) -> Log {
    let log = Log::default();
    let (client, on_update, ended) = (client.clone(), logging(&log), Rc::clone(&log));
    world.spawn(async move {
        let end = client.poll(ID, None, options, Some(on_update)).await;
        ended.borrow_mut().push(end.map_or_else(|failure| failure.name().into(), |_| "end".into()));
    });
    log
}

/// Starts a poll of each job and logs the outcomes in order.
fn waiting(client: &Client<TestHost>, world: &World, ids: &[String], options: PollOptions) -> Log {
    let log = Log::default();
    for id in ids {
        let (client, id, ended) = (client.clone(), id.clone(), Rc::clone(&log));
        world.spawn(async move {
            let end = client.poll(&id, None, options, None).await;
            ended.borrow_mut().push(end.map_or_else(|failure| failure.name().into(), |_| "done".into()));
        });
    }
    log
}

/// The ids of `count` jobs.
fn ids(count: usize) -> Vec<String> {
    (0..count).map(|at| ID.replacen("11111111", &format!("{:08}", at + 1), 1)).collect()
}

const LATENCY: f64 = 100.0;

fn of(state: &str, id: &str) -> (f64, Reply) {
    (LATENCY, answer(200, &state.replace(ID, id)))
}

fn gaps(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn many_polls_of_one_job_share_requests_and_all_settle() {
    let requests_of = |waits: usize, seed: u64| {
        let world = World::seeded(seed);
        let mut replies: Vec<(f64, Reply)> =
            (1..=4).map(|poll| (1.0, answer(200, &job("running", &format!(r#","progress":0.{poll}"#))))).collect();
        replies.push((1.0, answer(200, &job("done", &format!(r#","progress":1{VIDEO}"#)))));
        world.replies(replies);
        let client = world.process().client(config());
        let logs: Vec<Log> = (0..waits).map(|_| watching(&client, &world, video())).collect();
        world.finish();
        for log in &logs {
            assert_eq!(*log.borrow(), ["running 0.1", "running 0.2", "running 0.3", "running 0.4", "done 1", "end"]);
        }
        assert_idle(&client);
        world.network().count()
    };
    for seed in 0..10 {
        assert_eq!(requests_of(10, seed), requests_of(1, seed));
    }
}

#[test]
fn without_sharing_each_call_polls_for_itself() {
    let world = World::new();
    world.script(|sent| of(&if sent.at < 60_000.0 { job("running", "") } else { job("done", VIDEO) }, sent.job_id()));
    let host = world.process();
    host.set_shares(false);
    let client = host.client(config());
    let log = waiting(&client, &world, &[ID.into(), ID.into(), OTHER.into()], video());
    // A call that is dropped does not affect the others.
    assert!(world.run_for(10.0, client.poll(ID, None, video(), None)).is_none());
    world.finish();
    assert_eq!(*log.borrow(), ["done"; 3]);
    assert_idle(&client);
    assert!(world.now() < 100_000.0);
}

#[test]
fn a_dropped_poll_receives_nothing_more_and_the_last_one_stops_the_requests() {
    for shares in [true, false] {
        let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
        client.host().set_shares(shares);
        let log = Log::default();
        assert!(world.run_for(5_000.0, client.poll(ID, None, video(), Some(logging(&log)))).is_none());
        world.finish();
        assert!(world.now() <= 5_001.0);
        assert_eq!(*log.borrow(), ["running -1"]);
        assert_idle(&client);
    }
}

// Updates

/// An update and the time it was received.
#[derive(Clone, Debug)]
struct Received {
    at: f64,
    step: Option<Step>,
    progress: Option<f64>,
    next_poll_ms: Option<f64>,
    status: String,
}

type Updates = Rc<RefCell<Vec<Received>>>;

fn receiving(world: &World, updates: &Updates) -> OnUpdate<Value> {
    let (world, updates) = (world.clone(), Rc::clone(updates));
    Box::new(move |Update { job, step, progress, next_poll_ms, .. }| {
        let status = job["status"].as_str().unwrap_or_default().to_owned();
        updates.borrow_mut().push(Received { at: world.now(), step, progress, next_poll_ms, status });
    })
}

fn attentive() -> PollOptions {
    PollOptions { attentive: true, ..video() }
}

fn times(updates: &Updates) -> Vec<f64> {
    updates.borrow().iter().map(|update| update.at).collect()
}

#[test]
fn a_known_job_is_an_update_at_once_and_each_second_without_a_request() {
    for shares in [true, false] {
        let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
        client.host().set_shares(shares);
        let updates = Updates::default();
        let given = json(&job("pending", ""));
        let call = client.poll(ID, Some(given), attentive(), Some(receiving(&world, &updates)));
        assert_eq!(times(&updates), [0.0], "before anything else happens");
        assert!(world.run_for(4_100.0, call).is_none());
        assert_eq!(times(&updates), [0.0, 1_000.0, 2_000.0, 3_000.0, 4_000.0]);
        let next: Vec<_> = updates.borrow().iter().map(|update| update.next_poll_ms).collect();
        assert_eq!(next, [4_800.0, 3_800.0, 2_800.0, 1_800.0, 800.0].map(Some));
        assert_eq!(world.network().count(), 0);
    }
}

#[test]
fn an_answer_without_a_change_emits_no_additional_update() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let updates = Updates::default();
    assert!(world.run_for(60_500.0, client.poll(ID, None, attentive(), Some(receiving(&world, &updates)))).is_none());
    assert!(world.network().count() > 3, "{:?}", world.network().times());
    // The first answer is a change; from then on there is an update each second.
    let expected: Vec<f64> = (0..60).map(|second| 1.0 + 1_000.0 * f64::from(second)).collect();
    assert_eq!(times(&updates)[..60], expected);
}

#[test]
fn a_change_emits_an_update_at_once() {
    let (client, world) =
        client_of(|sent| (100.0, answer(200, &job("running", if sent.at < 1_000.0 { "" } else { r#","progress":0.5"# }))));
    let updates = Updates::default();
    let options = PollOptions { max_interval: Some(1_700.0), ..attentive() };
    assert!(world.run_for(3_000.0, client.poll(ID, None, options, Some(receiving(&world, &updates)))).is_none());
    assert_eq!(times(&updates), [100.0, 1_100.0, 1_900.0, 2_900.0]);
}

#[test]
fn a_hidden_page_gets_no_updates_between_polls_and_one_when_it_is_shown() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let host = client.host().clone();
    let other = host.clone();
    world.after(2_500.0, move || host.set_env(Env { visible: false, online: true }));
    world.after(200_500.0, move || other.set_env(Env { visible: true, online: true }));
    let updates = Updates::default();
    assert!(world.run_for(201_000.0, client.poll(ID, None, attentive(), Some(receiving(&world, &updates)))).is_none());
    assert_eq!(times(&updates), [1.0, 1_001.0, 2_001.0, 200_500.0]);
}

#[test]
fn a_poll_without_a_listener_wakes_only_for_requests() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let call = client.clone();
    world.spawn(async move {
        let _ = call.poll(ID, Some(json(&job("pending", ""))), video(), None).await;
    });
    world.executor().settle();
    let next = world.executor().next_timer().expect("a timer");
    assert!((next - 4_800.0).abs() < 1.0, "{next}");
}

#[test]
fn a_caller_that_joins_a_poll_receives_the_known_job_at_once() {
    let (client, world) =
        client_of(|sent| (1.0, answer(200, &if sent.at < 20_000.0 { job("running", "") } else { rendered() })));
    let [first, second] = [Updates::default(), Updates::default()];
    let (waiting, on_update) = (client.clone(), receiving(&world, &first));
    world.spawn(async move {
        let _ = waiting.poll(ID, None, attentive(), Some(on_update)).await;
    });
    world.pass(2_500.0);
    let call = client.poll(ID, None, attentive(), Some(receiving(&world, &second)));
    assert_eq!(times(&second), [2_500.0]);
    world.run(call).expect("the video");
    let (first, second) = (times(&first), times(&second));
    assert_eq!(first[3..], second[1..]);
}

#[test]
fn a_poll_that_ends_at_once_emits_its_job_as_an_update() {
    let (client, world) = client_of(|_| panic!("sent"));
    let updates = Updates::default();
    world.run(client.poll(ID, Some(json(&rendered())), attentive(), Some(receiving(&world, &updates)))).expect("there");
    let updates = updates.borrow();
    assert_eq!((updates.len(), updates[0].progress, updates[0].next_poll_ms), (1, Some(1.0), None));
}

#[test]
fn the_last_update_of_a_poll_is_its_end() {
    for (end, progress) in [(rendered(), Some(1.0)), (job("failed", ""), Some(0.5))] {
        let (client, world) =
            client_with(vec![(1.0, answer(200, &job("running", r#","progress":0.5"#))), (1.0, answer(200, &end))]);
        let updates = Updates::default();
        let options = PollOptions { max_interval: Some(FLOOR), ..attentive() };
        let _ = world.run(client.poll(ID, None, options, Some(receiving(&world, &updates))));
        world.finish();
        let updates = updates.borrow();
        let last = updates.last().expect("an end");
        assert_eq!((last.next_poll_ms, last.at), (None, world.network().times()[1] + 1.0), "{updates:?}");
        assert!(progress.is_none_or(|progress| last.progress >= Some(progress)), "{updates:?}");
        assert!(["done", "failed"].contains(&last.status.as_str()));
    }
}

#[test]
fn an_update_names_the_latest_charged_step() {
    let (client, world) = client_of(|sent| match sent.endpoint {
        Endpoint::PreviewAsync => (1.0, answer(201, &job("pending", ""))),
        Endpoint::Render => (1.0, answer(200, &previewed("running", ""))),
        _ => (1.0, answer(200, &if sent.at < 20_000.0 { previewed("done", "") } else { rendered() })),
    });
    let step_of = |job: Option<Value>| {
        let updates = Updates::default();
        let options = PollOptions { until: None, ..attentive() };
        let _ = world.run_for(100.0, client.poll(ID, job, options, Some(receiving(&world, &updates))));
        updates.borrow().last().and_then(|update| update.step)
    };
    assert_eq!(step_of(None), None);
    let pending = world.run(client.preview_async(&request(), unnamed(&client))).expect("sent");
    assert_eq!(step_of(Some(pending)), Some(Step::Preview));
    world.run(client.render(ID, None, of_render(ID))).expect("sent");
    assert_eq!(step_of(None), Some(Step::Render));
}

#[test]
fn progress_is_unset_at_first_then_moves_between_polls_and_never_decreases() {
    let reports = ["null", "0", "0.2", "0.5", "0.9", "1", "40", "100", "-1", "1e300", "\"soon\""];
    for seed in 1..=200 {
        let mut random = Random::new(seed);
        let expected_ms = [None, Some(5_000.0), Some(60_000.0)][random.below(3)];
        let mut jobs = random.clone();
        let (client, world) = client_of(move |sent| {
            let status = ["pending", "running", "running"][jobs.below(3)];
            let state = job(status, &format!(r#","progress":{}"#, reports[jobs.below(reports.len())]));
            (1.0, answer(200, &if sent.at < 90_000.0 { state } else { rendered() }))
        });
        let updates = Updates::default();
        let options = PollOptions { expected_ms, ..attentive() };
        world.run(client.poll(ID, None, options, Some(receiving(&world, &updates)))).expect("the video");
        let shown: Vec<_> = updates.borrow().iter().map(|update| update.progress).collect();
        assert!(shown.is_sorted(), "seed {seed}: {shown:?}");
        assert!(shown.iter().flatten().all(|progress| (0.0..=1.0).contains(progress)), "seed {seed}: {shown:?}");
        let before_the_end = &shown[..shown.len() - 1];
        assert!(before_the_end.iter().all(|progress| progress < &Some(1.0)), "seed {seed}: {shown:?}");
        assert_eq!(shown.last(), Some(&Some(1.0)), "seed {seed}");
    }
    let (client, world) = client_of(|_| (1.0, answer(200, &job("pending", r#","progress":0"#))));
    let updates = Updates::default();
    assert!(world.run_for(9_000.0, client.poll(ID, None, attentive(), Some(receiving(&world, &updates)))).is_none());
    assert!(updates.borrow().iter().all(|update| update.progress.is_none()), "{updates:?}");
}

#[test]
fn after_an_outage_every_job_is_polled_within_the_limit_in_flight() {
    let ids = ids(50);
    for seed in 1..=20 {
        let mut random = Random::new(seed);
        let (down, up) = (5_000.0 + random.fraction() * 10_000.0, 100_000.0 + random.fraction() * 100_000.0);
        let (client, world) =
            client_of(move |sent| of(&if sent.at < up { job("running", "") } else { job("done", VIDEO) }, sent.job_id()));
        let host = client.host().clone();
        let other = host.clone();
        world.after(down, move || host.set_env(Env { visible: true, online: false }));
        world.after(up, move || other.set_env(Env { visible: true, online: true }));
        let log = waiting(&client, &world, &ids, video());
        world.finish();
        assert_eq!(*log.borrow(), vec!["done"; 50], "seed {seed}");
        let times = world.network().times();
        for at in &times {
            let in_flight = times.iter().filter(|other| (at - LATENCY + 1e-6..=*at).contains(*other)).count();
            assert!(in_flight <= 6, "seed {seed}: {in_flight} at {at}");
        }
        // Polls in flight when the network came back may have been answered before.
        let log = world.network().log();
        let after: Vec<&Sent> = log.iter().filter(|sent| sent.at >= up).collect();
        let in_time: BTreeSet<&str> =
            after.iter().filter(|sent| sent.at <= up + LATENCY * 50.0 / 6.0).map(|sent| sent.job_id()).collect();
        assert!(in_time.len() >= 44, "seed {seed}: {} jobs were polled in time", in_time.len());
        assert_eq!(after.len(), 50, "seed {seed}: one poll of each");
    }
}

#[test]
fn no_job_is_polled_twice_before_another_that_was_due_earlier() {
    // More than can be polled in time: 6 polls of 2 seconds are 3 a second, for 60 jobs due every 8 seconds.
    let ids = ids(60);
    let (client, world) = client_of(|sent| (2_000.0, answer(200, &job("running", "").replace(ID, sent.job_id()))));
    waiting(&client, &world, &ids, PollOptions { timeout: Some(300_000.0), ..video() });
    world.finish();
    let log = world.network().log();
    let counts = ids.iter().map(|id| log.iter().filter(|sent| sent.job_id() == id).count());
    let (least, most) = (counts.clone().min().expect("jobs"), counts.max().expect("jobs"));
    assert!(least > 5 && most - least <= 1, "from {least} to {most} polls");
    assert_idle(&client);
}

#[test]
fn a_poll_that_waits_for_a_slot_ends_at_its_deadline_and_frees_no_other_slot() {
    let (client, world) = client_of(|sent| {
        let slow = if sent.job_id() == OTHER { 1.0 } else { 20_000.0 };
        (slow, answer(200, &job("running", "").replace(ID, sent.job_id())))
    });
    let log = waiting(&client, &world, &ids(12), PollOptions { timeout: Some(1_000.0), ..video() });
    world.pass(500.0);
    world.run(client.poll(OTHER, None, PollOptions { timeout: Some(5_000.0), ..video() }, None)).expect_err("running");
    world.finish();
    assert_eq!(*log.borrow(), vec!["PollTimeoutError"; 12]);
    assert_idle(&client);
    // The six calls have ended, so their slots are free.
    let before = world.network().count();
    waiting(&client, &world, &ids(6), PollOptions { timeout: Some(10.0), ..video() });
    world.finish();
    assert_eq!(world.network().count() - before, 6);
}

// Retry-After

#[test]
fn retry_after_is_a_lower_bound_and_never_ends_a_poll() {
    for status in [429, 503] {
        for asked in [31_536_000_000.0, 1e300, 59_999.0, 7_000.0, 0.0, -5.0] {
            // For five minutes,
            let (client, world) = client_of(move |sent| match sent.at {
                at if at < 300_000.0 => (LATENCY, busy(status, asked)),
                _ => of(&job("done", VIDEO), ID),
            });
            poll(&world, &client, video()).unwrap_or_else(|failure| panic!("{asked}: {failure:?}"));
            let floor = asked.clamp(1_000.0, 60_000.0);
            for gap in gaps(&world.network().times()) {
                let range = floor + LATENCY - 1e-6..=floor + 8_000.0 + LATENCY + 1e-6;
                assert!(range.contains(&gap), "{status}, {asked}: {gap}");
            }
            // and for ever.
            let (client, world) = client_of(move |_| (LATENCY, busy(status, asked)));
            let failure = poll(&world, &client, video()).expect_err("never");
            assert_eq!(failure.name(), "PollTimeoutError", "{status}, {asked}");
            assert!((world.now() - 1_800_000.0).abs() < 1e-3, "{status}, {asked}: {}", world.now());
        }
    }
}

#[test]
fn a_429_slows_every_job_of_the_client() {
    let (client, world) = client_of(|sent| match sent.at {
        at if at < 60_000.0 => (LATENCY, answer(429, "{}")),
        _ => of(&job("done", VIDEO), sent.job_id()),
    });
    let log = waiting(&client, &world, &ids(30), video());
    world.finish();
    assert_eq!(*log.borrow(), vec!["done"; 30]);
    let times = world.network().times();
    for refused in times.iter().filter(|at| **at < 60_000.0).map(|at| at + LATENCY) {
        let after = times.iter().filter(|at| (refused + 1.0..refused + FLOOR - 1.0).contains(*at)).count();
        assert_eq!(after, 0, "polls after a refusal at {refused}: {times:?}");
    }
}

#[test]
fn retry_after_delays_every_job() {
    let (client, world) = client_of(|sent| match sent.job_id() {
        ID => (10.0, busy(429, 9_000.0)),
        _ => (1.0, answer(200, &job("done", VIDEO).replace(ID, OTHER))),
    });
    watching(&client, &world, video());
    let (other, clock) = (client.clone(), world.clone());
    world.spawn(async move {
        clock.sleep(20.0).await;
        other.poll(OTHER, None, video(), None).await.expect("done");
    });
    world.pass(9_400.0);
    let log = world.network().log();
    assert_eq!(log[0].at, 0.0);
    assert!((log[1].at - 9_010.0).abs() < 1e-6, "{log:?}");
    assert_eq!(log[1].job_id(), OTHER, "it was due already");
}

#[test]
fn retry_after_also_delays_polls_that_wait_for_a_slot() {
    let (client, world) = client_of(|sent| match sent.at {
        at if at < 9_000.0 => (LATENCY, busy(429, 9_000.0)),
        _ => of(&job("done", VIDEO), sent.job_id()),
    });
    waiting(&client, &world, &ids(20), video());
    world.finish();
    let early = world.network().times().iter().filter(|at| **at < 9_000.0).count();
    assert!(early <= 6, "{early} polls before the end of Retry-After: {:?}", world.network().times());
}

// Other tabs

/// An answer as another tab shares it.
fn shared_answer(status: u16, body: &str) -> Answer<Value> {
    Answer { status, retry_after_ms: None, request_id: None, body: Body::Json(json(body)) }
}

/// After `ms`, another tab shares an answer that it has just received.
fn share(client: &Client<TestHost>, world: &World, ms: f64, status: u16, body: String) {
    let (client, clock) = (client.clone(), world.clone());
    world.after(ms, move || client.receive(ID, clock.wall() - 1.0, shared_answer(status, &body)));
}

#[test]
fn an_answer_from_another_tab_replaces_a_poll() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", r#","progress":0.1"#))));
    let log = watching(&client, &world, PollOptions { max_interval: Some(2_000.0), ..video() });
    for second in 1..60 {
        let more = format!(r#","progress":0.{}"#, 1 + second / 20);
        share(&client, &world, f64::from(second) * 1_000.0, 200, job("running", &more));
    }
    share(&client, &world, 60_000.0, 200, job("done", &format!(r#","progress":1{VIDEO}"#)));
    world.finish();
    assert_eq!(world.network().times(), [0.0], "no poll after the answers of the other tab");
    assert_eq!(*log.borrow(), ["running 0.1", "running 0.2", "running 0.3", "done 1", "end"]);
    assert_idle(&client);
}

#[test]
fn after_an_answer_from_another_tab_the_next_poll_is_a_full_interval_away() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    share(&client, &world, 3_000.0, 200, job("running", ""));
    let options = PollOptions { max_interval: Some(4_000.0), ..video() };
    assert!(world.run_for(8_000.0, client.poll(ID, None, options, None)).is_none());
    assert_eq!(world.network().times(), [0.0, 7_000.0]);
}

#[test]
fn a_hidden_page_that_receives_answers_from_other_tabs_sends_no_poll() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    client.host().set_env(Env { visible: false, online: true });
    for poll in 1..40 {
        share(&client, &world, f64::from(poll) * 10_000.0, 200, job("running", ""));
    }
    assert!(world.run_for(400_000.0, client.poll(ID, None, video(), None)).is_none());
    assert_eq!(world.network().times(), [0.0]);
}

#[test]
fn a_poll_in_flight_ends_with_an_answer_from_another_tab() {
    let (client, world) = client_of(|_| (20_000.0, answer(200, &job("running", ""))));
    share(&client, &world, 500.0, 200, job("done", VIDEO));
    poll(&world, &client, video()).expect("done");
    assert!(world.now() < 501.0);
    world.executor().settle();
    assert_idle(&client);
}

#[test]
fn an_end_that_was_received_before_the_call_is_ignored() {
    let done = previewed("done", "");
    for (old, ends) in [(false, true), (true, false)] {
        let (client, world) = client_of(|_| (1_000.0, answer(200, &job("running", ""))));
        let (other, body, clock) = (client.clone(), done.clone(), world.clone());
        // A preview that was done before the call may be from before a render elsewhere.
        world.after(100.0, move || {
            other.receive(ID, clock.wall() - if old { 200.0 } else { 50.0 }, shared_answer(200, &body));
        });
        let ended = world.run_for(500.0, client.poll(ID, None, PollOptions::default(), None)).is_some();
        assert_eq!(ended, ends, "old: {old}");
    }
}

#[test]
fn a_recent_running_status_from_another_tab_is_used_if_nothing_newer_is_known() {
    let (client, world) = client_of(|_| (1_000.0, answer(200, &job("running", r#","progress":0.5"#))));
    let log = watching(&client, &world, video());
    for (ms, ago, progress) in [(10.0, 800.0, 0.2), (20.0, 800.0, 0.1)] {
        let (other, clock) = (client.clone(), world.clone());
        let body = job("running", &format!(r#","progress":{progress}"#));
        world.after(ms, move || other.receive(ID, clock.wall() - ago, shared_answer(200, &body)));
    }
    world.pass(1_400.0);
    assert_eq!(*log.borrow(), ["running 0.2"], "nothing older than the known state");
}

#[test]
fn retry_after_received_by_another_tab_delays_this_client() {
    let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
    let (other, clock) = (client.clone(), world.clone());
    world.after(1_000.0, move || {
        let answer = Answer { retry_after_ms: Some(30_000.0), ..shared_answer(429, "{}") };
        other.receive(ID, clock.wall() - 1.0, answer);
    });
    let options = PollOptions { max_interval: Some(2_000.0), ..video() };
    assert!(world.run_for(32_000.0, client.poll(ID, None, options, None)).is_none());
    let times = world.network().times();
    assert!(times.len() == 2 && times[1] >= 31_000.0, "{times:?}");
}

#[test]
fn an_invalid_message_from_another_tab_changes_nothing() {
    let done = job("done", VIDEO);
    let mut deep = json("{}");
    for _ in 0..100 {
        deep = serde_json::json!([deep]);
    }
    let rubbish: Vec<(f64, u16, String)> = vec![
        (0.0, 200, "null".into()),
        (0.0, 200, "{}".into()),
        (0.0, 200, "7".into()),
        (0.0, 200, done.replace(ID, OTHER)),
        (0.0, 200, deep.to_string()),
        (0.0, 302, "{}".into()),
        (0.0, 0, done.clone()),
        (3_600_000.0, 503, "{}".into()),
        (3_600_000.0, 200, done.clone()),
        // Answers that end a poll are not shared: each tab polls for itself.
        (0.0, 401, done.clone()),
        (0.0, 403, done.clone()),
        (0.0, 404, done),
    ];
    let times_with = |count: usize| {
        let (client, world) = client_of(|_| (100.0, answer(200, &job("running", ""))));
        let log = watching(&client, &world, PollOptions { timeout: Some(60_000.0), ..video() });
        for second in 0..50 {
            let (client, clock, rubbish) = (client.clone(), world.clone(), rubbish.clone());
            world.after(f64::from(second) * 1_000.0 + 50.0, move || {
                for (ago, status, body) in &rubbish[..count] {
                    client.receive(ID, clock.wall() - ago, shared_answer(*status, body));
                    client.receive("no id", clock.wall(), shared_answer(*status, body));
                    client.receive(ID, f64::NAN, shared_answer(*status, body));
                }
            });
        }
        world.finish();
        assert_eq!(*log.borrow(), ["running -1", "PollTimeoutError"]);
        assert_idle(&client);
        world.network().times()
    };
    assert_eq!(times_with(rubbish.len()), times_with(0));
}

#[test]
fn tabs_that_poll_one_job_share_its_requests() {
    let polls = |tabs: usize| {
        let world = World::new();
        world.have_locks();
        world.have_tabs();
        world.script(|sent| of(&if sent.at < 60_000.0 { job("running", "") } else { job("done", VIDEO) }, sent.job_id()));
        let clients: Vec<_> = (0..tabs).map(|_| world.process().client(config())).collect();
        let logs: Vec<Log> = clients.iter().map(|client| watching(client, &world, video())).collect();
        world.finish();
        for log in logs {
            assert_eq!(log.borrow().last().map(String::as_str), Some("end"));
        }
        clients.iter().for_each(assert_idle);
        assert!(world.locks().held().is_empty());
        world.network().count()
    };
    assert!(polls(5) <= polls(1) + 2, "{} {}", polls(5), polls(1));
}

// Odd job fields and clocks

#[test]
fn any_job_fields_keep_the_poll_interval_within_bounds() {
    let progress = [
        "null",
        r#""0.5""#,
        r#""50""#,
        r#""NaN""#,
        r#""-3""#,
        r#""half""#,
        "0",
        "0.4",
        "0.9999",
        "1",
        "40",
        "99",
        "100",
        "101",
        "1e300",
        "-1",
        "5e-324",
        "true",
        "[]",
        "{}",
    ];
    let status = ["running", "running", "running", "in_queue", "pending", "a new word", ""];
    let touched = [r#""2001-01-01T00:00:00Z""#, r#""2999-01-01T00:00:00Z""#, r#""yesterday""#, "17", "null", "[]"];
    let numbers = [None, Some(5e-324), Some(1.0), Some(60_000.0), Some(1e300), Some(f64::INFINITY)];
    for seed in 1..=300 {
        let mut random = Random::new(seed);
        let end = 1_000.0 * (10 + random.below(400)) as f64;
        let options = PollOptions {
            expected_ms: numbers[random.below(numbers.len())],
            max_interval: numbers[random.below(numbers.len())],
            attentive: random.below(2) == 0,
            ..video()
        };
        let (client, world) = client_of(move |sent| {
            if sent.at >= end {
                return of(&job("done", VIDEO), ID);
            }
            let mut any = |all: &[&'static str]| all[random.below(all.len())];
            let more = format!(r#","progress":{},"updated_at":{}"#, any(&progress), any(&touched));
            of(&job(any(&status), &more), ID)
        });
        poll(&world, &client, options).unwrap_or_else(|failure| panic!("seed {seed}: {failure:?}"));
        for gap in gaps(&world.network().times()) {
            assert!((FLOOR..=30_001.0 + LATENCY).contains(&gap), "seed {seed}: {gap} ms");
        }
        world.finish();
        assert_idle(&client);
    }
}

#[test]
fn neither_updated_at_nor_the_wall_clock_moves_a_poll() {
    let polls = |touched: &'static str, jump: f64| {
        let (client, world) = client_of(move |sent| {
            let progress = (sent.at / 200_000.0).min(0.99);
            let state = job("running", &format!(r#","progress":{progress},"updated_at":{touched}"#));
            of(&if sent.at < 200_000.0 { state } else { job("done", VIDEO) }, ID)
        });
        let clock = world.clone();
        world.after(50_000.0, move || clock.set_wall_error(jump));
        poll(&world, &client, video()).expect("done");
        world.network().times()
    };
    let usual = polls(r#""2026-02-03T10:24:11.482913Z""#, 0.0);
    assert!(usual.len() > 5, "{usual:?}");
    for touched in ["null", r#""1970-01-01T00:00:00Z""#, r#""9999-12-31T23:59:59Z""#, r#""soon""#, "-1e300"] {
        for jump in [0.0, 31_536_000_000.0, -31_536_000_000.0] {
            assert_eq!(polls(touched, jump), usual, "{touched}, the wall clock jumps by {jump} ms");
        }
    }
}

// Listeners that drop calls and start others

/// Calls that run in the world, and that a listener can drop.
#[derive(Clone)]
struct Harness {
    client: Client<TestHost>,
    world: World,
    calls: Rc<RefCell<Vec<Option<Call>>>>,
    /// What each call received: updates, and its end.
    received: Rc<RefCell<Vec<Vec<&'static str>>>>,
}

type Call = std::pin::Pin<Box<dyn Future<Output = Result<Value, Failure>>>>;

impl Harness {
    fn new(client: &Client<TestHost>, world: &World) -> Self {
        Self { client: client.clone(), world: world.clone(), calls: Rc::default(), received: Rc::default() }
    }

    /// Starts a poll, whose listener calls `act`.
    fn watch(&self, id: &'static str, act: impl Fn(&Self) + 'static) {
        let (harness, number, client) = (self.clone(), self.received.borrow().len(), self.client.clone());
        let on_update = move |update: Update<'_, Value>| {
            assert_eq!(update.job["id"], id, "an update of another job");
            harness.received.borrow_mut()[number].push("update");
            act(&harness);
        };
        self.run(Box::pin(async move { client.poll(id, None, video(), Some(Box::new(on_update))).await }));
    }

    fn submit(&self, operation: &'static str) {
        let client = self.client.clone();
        self.run(Box::pin(async move { client.submit(&request(), named(operation)).await }));
    }

    fn run(&self, call: Call) {
        let (harness, number) = (self.clone(), self.received.borrow().len());
        self.calls.borrow_mut().push(Some(call));
        self.received.borrow_mut().push(Vec::new());
        self.world.spawn(std::future::poll_fn(move |context| {
            // While a call is polled it is not in the list, so it cannot be dropped.
            let Some(mut call) = harness.calls.borrow_mut()[number].take() else { return std::task::Poll::Ready(()) };
            match call.as_mut().poll(context) {
                std::task::Poll::Pending => {
                    harness.calls.borrow_mut()[number] = Some(call);
                    std::task::Poll::Pending
                }
                std::task::Poll::Ready(end) => {
                    end.unwrap_or_else(|failure| panic!("{failure:?}"));
                    harness.received.borrow_mut()[number].push("end");
                    std::task::Poll::Ready(())
                }
            }
        }));
    }

    fn drop(&self, number: usize) {
        let call = self.calls.borrow_mut().get_mut(number).and_then(Option::take);
        drop(call);
    }

    fn ended(&self, number: usize) -> bool {
        self.received.borrow()[number].last() == Some(&"end")
    }
}

/// A world in which every poll changes the job, until it is done at the fifth. Charges are accepted.
fn busy_world(seed: u64) -> (Client<TestHost>, World) {
    let (polls, made) = (RefCell::new([0, 0]), Cell::new(0));
    let world = World::seeded(seed);
    world.script(move |sent| {
        if sent.charges() {
            made.set(made.get() + 1);
            return (7.0, answer(201, &job("pending", "").replacen("11111111", &format!("{:08}", made.get()), 1)));
        }
        let polls = &mut polls.borrow_mut()[usize::from(sent.job_id() == OTHER)];
        *polls += 1;
        let state = match *polls {
            1..5 => job("running", &format!(r#","progress":0.{polls}"#)),
            _ => job("done", VIDEO),
        };
        (5.0, answer(200, &state.replace(ID, sent.job_id())))
    });
    world.journal().plan_all(Plan::answers_after(3.0));
    (world.process().client(config()), world)
}

type Act = fn(&Harness);

/// What a listener does, and which of the first three calls it drops.
const ACTS: [(Act, &[usize]); 7] = [
    (|harness| harness.drop(0), &[0]),
    (|harness| harness.drop(1), &[1]),
    (|harness| harness.drop(2), &[2]),
    (
        |harness| {
            harness.drop(0);
            harness.watch(OTHER, |_| ());
        },
        &[0],
    ),
    (
        |harness| {
            (0..3).for_each(|number| harness.drop(number));
            harness.watch(ID, |_| ());
            harness.watch(OTHER, |_| ());
        },
        &[0, 1, 2],
    ),
    (|harness| harness.submit("of a listener"), &[]),
    (|harness| (0..3).for_each(|number| harness.drop(number)), &[0, 1, 2]),
];

#[test]
fn an_update_listener_may_drop_calls_and_start_others() {
    for (which, (act, dropped)) in ACTS.into_iter().enumerate() {
        for when in 1..=4 {
            let (client, world) = busy_world(when);
            let harness = Harness::new(&client, &world);
            let count = Cell::new(0);
            harness.watch(ID, move |harness| {
                count.set(count.get() + 1);
                if count.get() == when {
                    act(harness);
                }
            });
            harness.watch(ID, |_| ());
            harness.watch(OTHER, |_| ());
            world.finish();
            for number in 0..harness.received.borrow().len() {
                assert_eq!(harness.ended(number), !dropped.contains(&number), "act {which} at update {when}: call {number}");
            }
            assert_idle(&client);
        }
    }
}

#[test]
fn an_event_listener_may_drop_calls_and_start_others() {
    for (which, (act, _)) in ACTS.into_iter().enumerate() {
        for when in 1..=24 {
            let (client, world) = busy_world(when);
            let harness = Harness::new(&client, &world);
            let (count, acting) = (Cell::new(0), harness.clone());
            client.host().on_event(move |_| {
                count.set(count.get() + 1);
                if count.get() == when {
                    act(&acting);
                }
            });
            harness.watch(ID, |_| ());
            harness.watch(ID, |_| ());
            harness.watch(OTHER, |_| ());
            harness.submit("op");
            world.finish();
            for number in 3..harness.received.borrow().len() {
                assert!(harness.ended(number), "act {which} at event {when}: call {number}");
            }
            assert_idle(&client);
            assert!(world.network().charges() <= 2, "act {which} at event {when}");
        }
    }
}

#[test]
fn a_settled_or_dropped_call_leaves_nothing_behind() {
    type Begin = fn(Client<TestHost>) -> Call;
    let kinds: [Begin; 6] = [
        |client| Box::pin(async move { client.get(ID, None).await }),
        |client| Box::pin(async move { client.poll(ID, None, video(), None).await }),
        |client| Box::pin(async move { client.render(ID, None, of_render(ID)).await }),
        |client| Box::pin(async move { client.submit(&request(), named("op")).await }),
        |client| Box::pin(async move { client.poll(ID, None, PollOptions { timeout: Some(0.0), ..video() }, None).await }),
        // The timeout ends while a poll is in flight.
        |client| Box::pin(async move { client.poll(ID, None, PollOptions { timeout: Some(2.0), ..video() }, None).await }),
    ];
    for (which, kind) in kinds.into_iter().enumerate() {
        let (client, world) = busy_world(which as u64);
        let _ = world.run(kind(client.clone()));
        world.finish();
        assert_idle(&client);
        for moment in 0..40 {
            let (client, world) = busy_world(moment);
            let _ = world.run_for(moment as f64, kind(client.clone()));
            world.finish();
            assert_idle(&client);
            assert_eq!(world.executor().timers(), 0, "kind {which} at {moment}");
            assert!(world.now() <= 80.0, "kind {which} at {moment}: {} ms", world.now());
        }
        // The same with one call of each kind in parallel.
        let (client, world) = busy_world(which as u64);
        let harness = Harness::new(&client, &world);
        for other in kinds {
            let call = other(client.clone());
            world.spawn(async move {
                let _ = call.await;
            });
        }
        harness.watch(ID, |_| ());
        let _ = world.run_for(20.0, kind(client.clone()));
        world.finish();
        assert!(harness.ended(0), "kind {which}");
        assert_idle(&client);
    }
}

#[test]
fn a_crash_of_one_tab_does_not_stop_another_from_polling() {
    let world = World::new();
    world.have_locks();
    world.have_tabs();
    world.script(|sent| match sent.at {
        at if at < 30_000.0 && sent.host == 0 => (f64::INFINITY, failed("")),
        _ => of(&job("done", VIDEO), sent.job_id()),
    });
    let [one, other] = [0, 1].map(|_| world.process().client(config()));
    watching(&one, &world, video());
    world.pass(10.0);
    let log = watching(&other, &world, video());
    world.pass(100.0);
    one.host().crash();
    world.pass(5_000.0);
    assert_eq!(log.borrow().last().map(String::as_str), Some("end"));
}
