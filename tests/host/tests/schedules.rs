//! How often jobs are polled: by urgency, hundreds at once, and of a provider that behaves oddly.

use custom_template_jobs::client::PollOptions;
use custom_template_jobs::poll::Urgency;
use test_host::fixtures::*;
use test_host::{answer, json};

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
