//! Tests of budgets: `maxCredits`, prices, and credits reserved in the journal.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use custom_template_jobs::api::Endpoint;
use custom_template_jobs::client::{ChargeOptions, Client, Config, PollOptions};
use custom_template_jobs::credits::{Price, PriceTable};
use test_host::fixtures::*;
use test_host::random::Random;
use test_host::{Method, Plan, Reply, Sent, TestHost, World, answer, failed};

/// For 30 seconds of video: a submit is 5 credits, a render 4, a preview 1.
fn priced(operation: &str) -> ChargeOptions {
    ChargeOptions { seconds: Some(30.0), ..named(operation) }
}

/// A server that answers every charge with a new job, and every read with a done one.
fn accepting() -> impl FnMut(&Sent) -> (f64, Reply) {
    let made = Cell::new(0);
    move |sent| match sent.endpoint {
        Endpoint::Get => (1.0, answer(200, &rendered().replace(ID, sent.job_id()))),
        Endpoint::Render => (1.0, answer(200, &previewed("pending", "").replace(ID, sent.job_id()))),
        _ => {
            made.set(made.get() + 1);
            (100.0, answer(201, &job("pending", "").replace("11111111", &format!("{:08}", made.get()))))
        }
    }
}

/// How many submits succeed under these operation ids, one after the other.
fn submits(world: &World, clients: &[Client<TestHost>]) -> usize {
    let before = world.network().charges();
    for (number, client) in clients.iter().cycle().take(10).enumerate() {
        let operation = format!("submit {before} {number}");
        if let Err(failure) = world.run(client.submit(&request(), priced(&operation))) {
            assert_eq!((failure.name(), failure.operation()), ("BudgetExceededError", Some(operation.as_str())));
        }
    }
    world.network().charges() - before
}

fn client_with_limit(config: Config) -> (Client<TestHost>, World) {
    let world = World::new();
    world.script(accepting());
    (world.process().client(config), world)
}

#[test]
fn parallel_calls_never_exceed_the_budget_together() {
    for seed in 0..50 {
        let world = World::seeded(seed);
        world.script(accepting());
        let client = world.process().client(limited(9.0, None));
        let calls: Vec<_> = (0..2)
            .map(|number| {
                let client = client.clone();
                world.start(async move { client.submit(&request(), priced(&number.to_string())).await })
            })
            .collect();
        world.finish();
        let results: Vec<_> = calls.iter().map(|call| call.take().expect("over")).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "seed {seed}: 5 credits each, 9 in all");
        for failure in results.into_iter().filter_map(Result::err) {
            assert_eq!(budget(&failure), Some((5.0, 4.0)), "seed {seed}");
        }
        assert_eq!(world.network().charges(), 1);
    }
}

#[test]
fn a_limit_requires_the_length_of_the_video() {
    let (client, world) = client_with_limit(limited(9.0, None));
    let failure = world.run(client.submit(&request(), named("op"))).expect_err("no length");
    assert_eq!(field(&failure), Some("seconds"));
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = ChargeOptions { seconds: Some(seconds), ..named("op") };
        let failure = world.run(client.submit(&request(), options)).expect_err("no length");
        assert_eq!(field(&failure), Some("seconds"), "{seconds}");
    }
    assert_eq!(world.network().count(), 0);
    assert!(world.journal().is_empty() && client.host().memory().is_empty());
}

#[test]
fn a_length_learned_from_a_template_suffices() {
    let world = World::new();
    world.script(|sent| match sent.endpoint {
        Endpoint::Get => (1.0, answer(200, &job("done", &format!(r#"{VIDEO},"duration":31"#)))),
        _ => (1.0, answer(201, &job("pending", ""))),
    });
    let client = world.process().client(limited(30.0, None));
    world.run(client.submit(&request(), priced("first"))).expect("sent");
    world.run(client.poll(ID, None, PollOptions::default(), None)).expect("done");
    world.finish();
    world.run(client.submit(&request(), named("second"))).expect("31 seconds cost two blocks of 5");
    let failure = world.run(client.submit(&request(), ChargeOptions { seconds: Some(100.0), ..named("third") }));
    assert_eq!(budget(&failure.expect_err("four blocks")), Some((20.0, 15.0)));
}

#[test]
fn a_limit_of_zero_allows_only_free_charges() {
    let (client, world) = client_with_limit(limited(0.0, None));
    let failure = world.run(client.submit(&request(), priced("op"))).expect_err("5 of 0");
    assert_eq!(budget(&failure), Some((5.0, 0.0)));
    let free = PriceTable { submit: Price { credits: 0.0, seconds: 30.0 }, ..PriceTable::PER_BLOCK };
    let (client, world) = client_with_limit(Config { prices: free, ..limited(0.0, None) });
    for operation in ["one", "two"] {
        world.run(client.submit(&request(), priced(operation))).expect("a price of 0 is allowed");
    }
    let failure = world.run(client.preview_async(&request(), priced("preview"))).expect_err("1 of 0");
    assert_eq!(budget(&failure), Some((1.0, 0.0)));
}

#[test]
fn a_budget_without_a_key_is_per_process_and_with_a_key_per_journal() {
    for (key, expected) in [(None, 2), (Some("november"), 1)] {
        let world = World::new();
        world.script(accepting());
        let one = world.process();
        let same_process = one.sibling().client(limited(9.0, key));
        let other_process = world.process().client(limited(9.0, key));
        let clients = [one.client(limited(9.0, key)), same_process, other_process];
        assert_eq!(submits(&world, &clients), expected, "{key:?}");
    }
}

#[test]
fn each_account_has_its_own_budget() {
    let world = World::new();
    world.script(accepting());
    let host = world.process();
    let other = Config { max_credits: Some(9.0), ..config_of("somebody else") };
    let clients = [host.sibling().client(other), host.client(limited(9.0, None))];
    assert_eq!(submits(&world, &clients), 2);
}

#[test]
fn budget_keys_with_a_common_prefix_are_separate_budgets() {
    for (one, other) in [("nov", "november"), ("a", "a/b"), ("a", "a/"), ("a=1", "a"), ("", "a"), ("%", "%25")] {
        let world = World::new();
        world.script(accepting());
        let clients = [one, other].map(|key| world.process().client(limited(9.0, Some(key))));
        assert_eq!(submits(&world, &clients), 2, "{one:?} {other:?}");
    }
}

#[test]
fn clients_with_one_budget_key_never_exceed_it_together() {
    for seed in 0..50 {
        for (first, second) in [(0.0, 0.0), (0.0, 1.0), (0.0, 400.0), (3.0, 0.0)] {
            let world = World::seeded(seed);
            world.script(|_| (100.0, answer(201, &job("pending", ""))));
            world.journal().plan_all(Plan::answers_after(2.0));
            let calls = [first, second].map(|wait| {
                let (client, clock) = (world.process().client(limited(9.0, Some("november"))), world.clone());
                world.start(async move {
                    clock.sleep(wait).await;
                    client.submit(&request(), priced(&wait.to_string())).await
                })
            });
            world.finish();
            assert!(world.network().charges() <= 1, "{first} {second}: 5 credits each, and 9 in all");
            let [_, result] = calls.map(|call| call.take().expect("over"));
            if second > 300.0 {
                assert_eq!(budget(&result.expect_err("the other client spent it")), Some((5.0, 4.0)));
            }
        }
    }
}

#[test]
fn a_refused_charge_is_released_and_the_credits_used_are_counted() {
    for key in [None, Some("november")] {
        let asked = Cell::new(0);
        let world = World::new();
        world.script(move |sent| {
            if sent.endpoint == Endpoint::Get {
                return (1.0, answer(200, &job("done", &format!(r#"{VIDEO},"credits_used":3"#))));
            }
            asked.set(asked.get() + 1);
            (1.0, if asked.get() == 1 { answer(400, "{}") } else { answer(201, &job("pending", "")) })
        });
        let host = world.process();
        let [one, other] = [host.sibling(), host].map(|host| host.client(limited(9.0, key)));
        world.run(one.submit(&request(), priced("1"))).expect_err("refused");
        world.finish();
        assert!(world.journal().is_empty(), "{:?}", world.journal());
        assert!(one.host().memory().is_empty(), "{:?}", one.host().memory());
        world.run(one.submit(&request(), priced("2"))).expect("5 of 9");
        world.run(other.submit(&request(), priced("3"))).expect_err("10 of 9");
        world.run(one.poll(ID, None, PollOptions::default(), None)).expect("the video, for 3");
        world.finish();
        world.run(other.submit(&request(), priced("4"))).expect("3 and 5 of 9");
        world.run(other.submit(&request(), priced("5"))).expect_err("8 and 5 of 9");
    }
}

#[test]
fn an_unsent_charge_is_released() {
    for key in [None, Some("november")] {
        let world = World::new();
        world.replies(vec![(1.0, failed("ECONNREFUSED"))]);
        let client = world.process().client(limited(9.0, key));
        world.run(client.submit(&request(), priced("op"))).expect_err("unsent");
        assert_eq!(world.network().charges(), 3);
        assert!(world.journal().is_empty() && client.host().memory().is_empty(), "{key:?}");
    }
    for moment in (0..30).map(|step| f64::from(step) * 20.0) {
        let world = World::new();
        world.script(|_| panic!("sent"));
        let client = world.process().client(limited(9.0, Some("november")));
        world.journal().plan_all(Plan::answers_after(200.0));
        assert!(world.run_for(moment, client.submit(&request(), priced("op"))).is_none());
        world.finish();
        assert_idle(&client);
        assert!(world.journal().is_empty(), "dropped at {moment}: {:?}", world.journal());
    }
}

#[test]
fn an_unknown_charge_stays_reserved() {
    let world = World::new();
    world.replies(vec![(1.0, failed("ECONNRESET"))]);
    let client = world.process().client(limited(9.0, Some("november")));
    world.run(client.submit(&request(), priced("op"))).expect_err("lost");
    let failure = world.run(client.submit(&request(), priced("other"))).expect_err("5 and 5 of 9");
    assert_eq!(budget(&failure), Some((5.0, 4.0)));
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_failed_render_stays_counted() {
    let sent_at = Cell::new(0);
    let world = World::new();
    world.script(move |sent| {
        sent_at.set(sent_at.get() + u32::from(sent.endpoint == Endpoint::Render));
        let status = if sent_at.get() > 0 && sent.endpoint == Endpoint::Get { "failed" } else { "done" };
        (1.0, answer(200, &previewed(status, &format!(r#","updated_at":"{}""#, sent_at.get()))))
    });
    let client = world.process().client(limited(9.0, None));
    for operation in ["one", "two"] {
        world.run(client.render(ID, None, priced(operation))).expect("sent");
        world.run(client.poll(ID, None, PollOptions::default(), None)).expect_err("failed");
        world.finish();
    }
    let failure = world.run(client.render(ID, None, priced("three"))).expect_err("4 and 4 of 9 are spent");
    assert_eq!(budget(&failure), Some((4.0, 1.0)));
    assert_eq!(world.network().charges(), 2);
}

#[test]
fn a_render_that_is_not_sent_costs_nothing() {
    let (client, world) = client_with_limit(limited(0.0, None));
    world.run(client.render(ID, None, priced("op"))).expect("rendered already");
    assert_eq!(world.network().charges(), 0);
}

#[test]
fn two_tabs_that_race_for_one_operation_keep_its_credits_reserved() {
    for key in [None, Some("november")] {
        for second in (0..40).map(|step| f64::from(step) * 2.5) {
            let world = World::new();
            world.script(|sent| match sent.endpoint {
                Endpoint::Submit => (100.0, answer(201, &job("pending", ""))),
                _ => (1.0, answer(200, &job("running", ""))),
            });
            world.journal().plan_all(Plan::answers_after(10.0));
            let host = world.process();
            host.memory().plan_all(Plan::answers_after(10.0));
            let clients = [host.sibling(), host].map(|host| host.client(limited(9.0, key)));
            for (wait, client) in [0.0, second].into_iter().zip(clients.clone()) {
                let clock = world.clone();
                world.spawn(async move {
                    clock.sleep(wait).await;
                    let _ = client.submit(&request(), priced("op")).await;
                });
            }
            world.finish();
            assert_eq!(world.network().charges(), 1);
            let failure = world.run(clients[0].submit(&request(), priced("other"))).expect_err("5 of 9 are spent");
            assert_eq!(budget(&failure), Some((5.0, 4.0)), "{key:?}, the second after {second} ms");
        }
    }
}

#[test]
fn attempts_of_one_operation_reserve_exactly_what_was_charged() {
    for seed in 0..400 {
        for key in [None, Some("november")] {
            let world = World::seeded(seed);
            let mut random = Random::new(seed);
            world.script(move |sent| match sent.endpoint {
                Endpoint::Submit if random.below(2) == 0 => (20.0, answer(400, "{}")),
                Endpoint::Submit => (20.0, answer(201, &job("pending", ""))),
                _ => (1.0, answer(200, &job("running", ""))),
            });
            let mut random = Random::new(!seed);
            let mut delays = move || Plan::works_after(random.fraction() * 20.0);
            let host = world.process();
            if key.is_some() {
                world.journal().plan(move |_| delays());
            } else {
                host.memory().plan(move |_| delays());
            }
            let calls: Vec<_> = (0..3)
                .map(|_| {
                    let (client, clock) = (host.sibling().client(limited(9.0, key)), world.clone());
                    let wait = world.random(Random::fraction) * 100.0;
                    world.start(async move {
                        clock.sleep(wait).await;
                        client.submit(&request(), priced("op")).await
                    })
                })
                .collect();
            world.finish();
            assert!(calls.iter().all(test_host::world::Started::is_done));
            let journal = if key.is_some() { world.journal() } else { host.memory() };
            let charged = world.journal().operations().len();
            assert!(charged <= 1);
            assert_eq!(journal.marks("budget").len(), charged, "seed {seed}, {key:?}: {journal:?}");
        }
    }
}

#[test]
fn a_budget_whose_journal_fails_or_hangs_sends_and_reserves_nothing() {
    for plan in [Plan::THROWS, Plan::HANGS, Plan::WORKS_AND_THROWS] {
        for method in [Method::Create, Method::List] {
            let world = World::new();
            world.script(accepting());
            let client = world.process().client(limited(9.0, Some("november")));
            let failing = plan.clone();
            world.journal().plan(move |call| {
                let of_budget = call.key.contains(":budget/") && call.method == method;
                if of_budget { failing.clone() } else { Plan::USUAL }
            });
            let failure = world.run(client.submit(&request(), priced("op"))).expect_err("no journal");
            assert!(is_unsent(&failure) || failure.name() == "JournalError", "{plan:?} {method:?}: {failure:?}");
            assert!(world.now() <= 30_000.0, "{plan:?} {method:?}: {} ms", world.now());
            world.finish();
            assert_eq!(world.network().charges(), 0);
            world.journal().plan_all(Plan::USUAL);
            world.run(client.submit(&request(), priced("other"))).unwrap_or_else(|failure| {
                panic!("{plan:?} {method:?}: {failure:?} {:?}", world.journal());
            });
        }
    }
}

#[test]
fn pending_does_not_touch_a_budgets_journal_entries() {
    let (client, world) = client_with_limit(limited(9.0, Some("november")));
    world.run(client.submit(&request(), priced("op"))).expect("sent");
    assert_eq!(world.run(client.pending()).expect("listed").len(), 1);
    world.finish();
    assert_eq!((world.journal().operations().len(), world.journal().marks("budget").len()), (1, 1));
    assert!(!world.events().iter().any(|event| matches!(event, test_host::Event::Skipped { .. })));
}

/// How many of two submits for 5 credits succeed with a budget of 9, if jobs end with these members.
fn submits_of(more: &'static str, operations: [&str; 2]) -> usize {
    let world = World::new();
    world.script(move |sent| match sent.endpoint {
        Endpoint::Submit => (1.0, answer(201, &job("pending", ""))),
        _ => (1.0, answer(200, &job("done", more))),
    });
    let client = world.process().client(limited(9.0, Some("november")));
    for operation in operations {
        if world.run(client.submit(&request(), priced(operation))).is_ok() {
            world.run(client.poll(ID, None, PollOptions::default(), None)).expect("the video");
        }
        world.finish();
    }
    world.network().charges()
}

#[test]
fn an_operation_id_of_any_characters_counts_towards_the_budget() {
    let video = r#","video_output":"https://v","credits_used":5"#;
    for operation in ["one", "two\nlines", "two\rlines", "two\u{2028}lines", "a=b", "a/b", "a=1", "=", "ü", "%2F"] {
        assert_eq!(submits_of(video, [operation, "other"]), 1, "{operation:?}");
        assert_eq!(submits_of(video, ["other", operation]), 1, "{operation:?}");
    }
}

#[test]
fn impossible_credits_used_leave_the_estimate() {
    for more in [
        r#","video_output":"https://v","credits_used":1e15"#,
        r#","video_output":"https://v","credits_used":1e300"#,
        r#","video_output":"https://v","credits_used":-1e300"#,
        r#","video_output":"https://v","credits_used":"1e3""#,
        r#","video_output":"https://v","credits_used":null"#,
    ] {
        assert_eq!(submits_of(more, ["one", "other"]), 1, "{more}");
    }
}

#[test]
fn many_small_charges_add_up_exactly() {
    let prices = PriceTable { submit: Price { credits: 0.1, seconds: 30.0 }, ..PriceTable::PER_BLOCK };
    let (client, world) = client_with_limit(Config { prices, ..limited(0.3, Some("november")) });
    assert_eq!(submits(&world, &[client]), 3);
}

#[test]
fn a_discard_releases_credits_reserved_before_a_crash() {
    let log = Rc::new(RefCell::new(Vec::new()));
    for moment in (0..20).map(|step| f64::from(step) * 5.0) {
        let world = World::new();
        world.script(|_| (100.0, answer(201, &job("pending", ""))));
        world.journal().plan_all(Plan::answers_after(10.0));
        let client = world.process().client(limited(9.0, Some("november")));
        assert!(world.run_for(moment, client.submit(&request(), priced("op"))).is_none());
        client.host().crash();
        world.journal().plan_all(Plan::USUAL);
        let client = world.process().client(limited(9.0, Some("november")));
        let _ = world.run(client.submit(&request(), priced("op")));
        if world.run(client.discard("op")).is_ok() {
            log.borrow_mut().push(moment);
            assert!(world.journal().is_empty(), "crashed at {moment}: {:?}", world.journal());
            world.run(client.submit(&request(), priced("other"))).expect("the credits are released");
        }
    }
    assert!(!log.borrow().is_empty());
}
