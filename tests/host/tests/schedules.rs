//! How often jobs are polled: by urgency, hundreds at once, and of a provider that behaves oddly.

use std::cell::Cell;
use std::rc::Rc;

use custom_template_jobs::client::PollOptions;
use custom_template_jobs::poll::{FLOOR, Urgency};
use test_host::fixtures::*;
use test_host::{Sent, World, answer, json};

const URGENCIES: [Urgency; 3] = [Urgency::Low, Urgency::Normal, Urgency::High];

fn urgent(urgency: Urgency) -> PollOptions {
    PollOptions { urgency, ..video() }
}

#[test]
fn the_more_urgent_a_wait_is_the_more_requests_it_makes_and_the_sooner_it_sees_the_end() {
    let found = URGENCIES.map(|urgency| {
        let (mut requests, mut late) = (0, 0.0);
        for end in (20..=200).map(|second| f64::from(second) * 1_000.0) {
            let (client, world) = client_of(move |sent| {
                let state = if sent.at < end { job("running", "") } else { job("done", VIDEO) };
                (1.0, answer(200, &state))
            });
            let ended = world.run(client.poll(ID, None, urgent(urgency), None));
            assert!(ended.is_ok(), "{ended:?}");
            requests += world.network().count();
            late += world.now() - end;
        }
        (requests, late)
    });
    for pair in found.windows(2) {
        assert!(pair[1].0 * 10 > pair[0].0 * 15 && pair[1].1 < 0.7 * pair[0].1, "{found:?}");
    }
}

#[test]
fn the_most_urgent_of_those_who_wait_for_a_job_sets_its_interval() {
    let first_poll = |urgencies: &[Urgency]| {
        let (client, world) = client_of(|_| (1.0, answer(200, &job("running", ""))));
        let given = json(&job("pending", ""));
        let waits: Vec<_> =
            urgencies.iter().map(|urgency| client.poll(ID, Some(given.clone()), urgent(*urgency), None)).collect();
        world.pass(60_000.0);
        drop(waits);
        world.network().times()[0]
    };
    let [low, normal, high] = URGENCIES.map(|urgency| first_poll(&[urgency]));
    assert!(high < normal && normal < low, "{high} {normal} {low}");
    for urgencies in [[Urgency::Low, Urgency::High], [Urgency::High, Urgency::Low]] {
        assert_eq!(first_poll(&urgencies), high, "{urgencies:?}");
    }
}

/// So long does the job of these tests take.
const RUN: f64 = 100_000.0;

/// The job after `at` milliseconds, with members more while it runs.
fn state(at: f64, more: &str) -> String {
    if at < RUN { job("running", more) } else { job("done", VIDEO) }
}

fn reported(at: f64) -> String {
    format!(r#","progress":{:.2}"#, at / RUN)
}

/// Waits for the job, of which a running poll shows what `more` writes, to its end: when it was polled.
fn polls(mut more: impl FnMut(&Sent) -> String + 'static) -> Vec<f64> {
    let (client, world) = client_of(move |sent| (1.0, answer(200, &state(sent.at, &more(sent)))));
    let ended = world.run(client.poll(ID, None, video(), None));
    assert!(ended.is_ok(), "{ended:?}");
    ended_soon(&world);
    world.network().times()
}

/// The wait ended within ten seconds of the job, and no two polls were closer than ever.
fn ended_soon(world: &World) {
    let times = world.network().times();
    assert!(world.now() < RUN + 10_000.0, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= FLOOR), "{times:?}");
}

#[test]
fn each_of_hundreds_of_jobs_at_once_costs_the_requests_of_one_alone_and_is_seen_as_soon() {
    let alone = polls(|sent| reported(sent.at));
    let (client, world) =
        client_of(|sent| (1.0, answer(200, &state(sent.at, &reported(sent.at)).replace(ID, sent.job_id()))));
    let ended = Rc::new(Cell::new(0));
    let ids: Vec<String> = (0..500).map(|at| ID.replacen("11111111", &format!("{at:08}"), 1)).collect();
    for id in ids.clone() {
        let (client, ended) = (client.clone(), Rc::clone(&ended));
        world.spawn(async move {
            client.poll(&id, None, video(), None).await.expect("done");
            ended.set(ended.get() + 1);
        });
    }
    world.finish();
    assert_eq!(ended.get(), 500);
    let log = world.network().log();
    assert!(log.len() <= 550 * alone.len(), "{} requests, {} for one", log.len(), alone.len());
    for id in ids {
        let last = log.iter().rfind(|sent| sent.job_id() == id).map_or(f64::MAX, |sent| sent.at);
        assert!(last < RUN + 2_000.0, "{id} was seen to have ended at {last}");
    }
}

#[test]
fn a_server_that_refuses_each_second_poll_ends_no_wait_and_costs_at_most_twice_the_requests() {
    let usual = polls(|sent| reported(sent.at)).len();
    let mut count = 0;
    let (client, world) = client_of(move |sent| {
        count += 1;
        (1.0, if count % 2 == 0 { answer(429, "{}") } else { answer(200, &state(sent.at, &reported(sent.at))) })
    });
    let ended = world.run(client.poll(ID, None, video(), None));
    assert!(ended.is_ok(), "{ended:?}");
    ended_soon(&world);
    assert!(world.network().count() <= 2 * usual + 1, "{:?}", world.network().times());
}

#[test]
fn a_server_whose_clock_runs_backwards_moves_no_poll() {
    let backwards = |sent: &Sent| {
        let at = |sent: f64| format!("2026-02-03T10:{:02}:00Z", 59 - (sent / 2_000.0) as u32 % 60);
        format!(r#"{},"updated_at":"{}","created_at":"{}""#, reported(sent.at), at(sent.at), at(sent.at))
    };
    assert_eq!(polls(backwards), polls(|sent| reported(sent.at)));
}

#[test]
fn progress_that_changes_its_type_between_two_polls_is_followed_all_the_same() {
    let odd = [r#""2026-02-03T10:24:11Z""#, "1785000000000", "1e300", r#""half""#, "true", "null", "[0.5]", "-1", "{}"];
    for odd in odd {
        let mut count = 0;
        let times = polls(move |sent| {
            count += 1;
            if count % 2 == 0 { format!(r#","progress":{odd}"#) } else { reported(sent.at) }
        });
        assert!(times.len() <= 60, "{odd}: {times:?}");
    }
}
