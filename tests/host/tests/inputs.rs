//! Tests of a charge's options: `extra`, `metadata`, explicit operation ids and budget periods.

use custom_template_jobs::client::{ChargeOptions, Config};
use custom_template_jobs::credits::{BudgetPeriod, Price, PriceTable};
use serde_json::json as value;
use test_host::fixtures::*;
use test_host::{World, answer, json};

const DAY: f64 = 86_400_000.0;

fn with_extra(operation: &str, extra: &str) -> ChargeOptions {
    ChargeOptions { extra: Some(extra.into()), ..named(operation) }
}

#[test]
fn extra_fields_are_sent_beside_those_of_the_request() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    let request = request_with(r#","webhook_url":"https://me.test/?o={operation}""#);
    let extra = r#"{"model_version":"aurora_v2","resolution":{"height":2160}}"#;
    world.run(client.submit(&request, with_extra("op", extra))).expect("sent");
    let body = json(world.network().log()[0].body.as_deref().expect("a body"));
    let mut expected = json(&request);
    expected["webhook_url"] = "https://me.test/?o=op".into();
    expected["model_version"] = "aurora_v2".into();
    expected["resolution"] = value!({"height": 2160});
    assert_eq!(body, expected);
}

#[test]
fn a_render_without_changes_is_sent_with_its_extra_fields() {
    let (client, world) =
        client_with(vec![(1.0, answer(200, &previewed("done", ""))), (1.0, answer(200, &previewed("running", "")))]);
    world
        .run(client.render(ID, None, ChargeOptions { extra: Some(r#"{"fps":60}"#.into()), ..of_render(ID) }))
        .expect("sent");
    assert_eq!(world.network().log()[1].body.as_deref(), Some(r#"{"fps":60}"#));
}

#[test]
fn all_spellings_of_a_render_without_changes_are_one_operation() {
    let (client, world) = client_with(vec![(1.0, answer(200, &previewed("done", "")))]);
    for changes in [None, Some("{}"), None] {
        world.run(client.render(ID, changes, of_render(ID))).expect("a job");
    }
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn extra_fields_never_replace_fields_of_the_request() {
    let (client, world) = client_of(|_| panic!("sent"));
    for (extra, expected) in [
        (r#"{"template_id":"x"}"#, "extra.template_id"),
        (r#"{"variables":{}}"#, "extra.variables"),
        (r#"{"name":null}"#, "extra.name"),
        (r#"{"webhook_url":"https://x.test"}"#, "extra.webhook_url"),
        (r#"{"is_hidden":true}"#, "extra.is_hidden"),
        (r#"{"seconds":30}"#, "extra.seconds"),
        (r#"{"model_version":"aurora_v1"}"#, "extra.model_version"),
        (r#"{"model_version":null}"#, "extra.model_version"),
        (r#"{"model_version":2}"#, "extra.model_version"),
        (r#"{"model_version":"aurora_v2","name":"x"}"#, "extra.name"),
        (r#"{"model_version":"aurora_v2","template_id":"x"}"#, "extra.template_id"),
        ("[]", "extra"),
        ("1", "extra"),
    ] {
        let failure = world.run(client.submit(&request(), with_extra("op", extra))).expect_err(extra);
        assert_eq!(field(&failure), Some(expected), "{extra}");
    }
    let request = request_with(r#","model_version":"standard""#);
    let failure = world.run(client.submit(&request, with_extra("op", r#"{"model_version":"aurora_v2"}"#)));
    assert_eq!(field(&failure.expect_err("two models")), Some("extra.model_version"));
    assert!(world.journal().is_empty());
}

#[test]
fn extra_fields_are_part_of_an_operations_fingerprint() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    world.run(client.submit(&request(), with_extra("op", r#"{"fps":60}"#))).expect("sent");
    world.replies(vec![(1.0, answer(200, &job("pending", "")))]);
    world.run(client.submit(&request(), with_extra("op", r#"{"fps":60}"#))).expect("the same");
    for other in [named("op"), with_extra("op", r#"{"fps":30}"#)] {
        let failure = world.run(client.submit(&request(), other)).expect_err("another request");
        assert_eq!(failure.name(), "OperationConflictError");
    }
    assert_eq!(world.network().charges(), 1);
}

#[test]
fn a_new_model_is_charged_under_a_limit_only_where_it_has_a_price() {
    let others = vec![("aurora_v2".into(), Price { credits: 3.0, seconds: 1.0 })];
    let prices = PriceTable { others, ..PriceTable::PER_BLOCK };
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    drop(client);
    let client = world.process().client(Config { prices, ..limited(30.0, None) });
    let model = |name: &str, seconds| ChargeOptions {
        seconds: Some(seconds),
        ..with_extra(name, &format!(r#"{{"model_version":"{name}"}}"#))
    };
    let failure = world.run(client.submit(&request(), model("aurora_v3", 1.0))).expect_err("no price");
    assert_eq!(field(&failure), Some("model_version"));
    let failure = world.run(client.submit(&request(), model("aurora_v2", 11.0))).expect_err("too dear");
    assert_eq!(budget(&failure), Some((33.0, 30.0)));
    assert_eq!(world.network().charges(), 0);
    world.run(client.submit(&request(), model("aurora_v2", 10.0))).expect("sent");
}

#[test]
fn metadata_is_listed_by_pending_and_not_sent() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    let metadata = Some(r#"{"row":7,"name":"\"ü\""}"#.to_owned());
    let options = ChargeOptions { metadata: metadata.clone(), ..named("op") };
    world.run(client.submit(&request(), options)).expect("sent");
    assert_eq!(world.network().log()[0].body, Some(request()));
    for client in [client, world.process().client(config())] {
        let pending = world.run(client.pending()).expect("the journal");
        assert_eq!(pending.iter().map(|open| &open.metadata).collect::<Vec<_>>(), [&metadata]);
    }
    // It is not part of the fingerprint.
    world.replies(vec![(1.0, answer(200, &job("pending", "")))]);
    world.run(client_again(&world).submit(&request(), named("op"))).expect("the same");
    assert_eq!(world.network().charges(), 1);
}

fn client_again(world: &World) -> custom_template_jobs::client::Client<test_host::TestHost> {
    world.process().client(config())
}

#[test]
fn metadata_of_more_than_a_kilobyte_is_refused() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    let of = |bytes: usize| Some(format!("\"{}\"", "x".repeat(bytes - 2)));
    let failure = world.run(client.submit(&request(), ChargeOptions { metadata: of(1_025), ..named("op") }));
    assert_eq!(field(&failure.expect_err("too long")), Some("metadata"));
    assert_eq!(world.network().count(), 0);
    world.run(client.submit(&request(), ChargeOptions { metadata: of(1_024), ..named("op") })).expect("sent");
}

#[test]
fn an_explicit_operation_with_the_default_memory_journal_is_refused() {
    let (client, world) = client_with(vec![(1.0, answer(201, &job("pending", "")))]);
    drop(client);
    let client = world.process().client(Config { journal_in_memory: true, journal_by_default: true, ..config() });
    let failure = world.run(client.submit(&request(), named("order-42"))).expect_err("no journal");
    assert_eq!((field(&failure), failure.operation()), (Some("operation"), Some("order-42")));
    assert_eq!(world.network().count(), 0);
    world.run(client.submit(&request(), unnamed(&client))).expect("sent");
    let chosen = world.process().client(Config { journal_in_memory: true, ..config() });
    world.run(chosen.submit(&request(), named("order-42"))).expect("sent");
    assert_eq!(world.network().charges(), 2);
}

#[test]
fn budgets_of_past_periods_are_deleted_after_two_months_and_others_never() {
    let world = World::new();
    world.replies(vec![(1.0, answer(201, &job("pending", "")))]);
    let spend = |period: Option<BudgetPeriod>, name: &str| {
        let client = world.process().client(Config { budget_period: period, ..limited(50.0, Some("campaign")) });
        world.run(client.submit(&request(), ChargeOptions { seconds: Some(30.0), ..named(name) })).expect("sent");
        world.run(client.pending()).expect("the journal");
        world.finish();
    };
    let kept = || -> Vec<String> {
        let operation = |(key, _): (String, String)| Some(key.rsplit_once('/')?.1.split_once('=')?.0.to_owned());
        let mut kept: Vec<String> = world.journal().marks("budget").into_iter().filter_map(operation).collect();
        kept.sort();
        kept
    };
    spend(None, "ever");
    spend(Some(BudgetPeriod::Month), "month");
    spend(Some(BudgetPeriod::Day), "day");
    world.set_wall_error(59.0 * DAY);
    spend(Some(BudgetPeriod::Day), "next");
    spend(Some(BudgetPeriod::Month), "next-month");
    // The clocks of other machines may be behind.
    assert_eq!(kept(), ["day", "ever", "month", "next", "next-month"]);
    world.set_wall_error(61.0 * DAY);
    spend(None, "no-period");
    assert_eq!(kept().len(), 6, "a client without a period does not delete them");
    spend(Some(BudgetPeriod::Day), "later");
    assert_eq!(kept(), ["ever", "later", "month", "next", "next-month", "no-period"]);
    world.set_wall_error(100.0 * DAY);
    spend(Some(BudgetPeriod::Month), "last");
    assert_eq!(kept(), ["ever", "last", "later", "next", "next-month", "no-period"]);
}

#[test]
fn a_budget_starts_again_with_each_period() {
    for (period, days) in [(BudgetPeriod::Day, 1.0), (BudgetPeriod::Month, 31.0)] {
        for key in [None, Some("campaign")] {
            let world = World::new();
            world.replies(vec![(1.0, answer(201, &job("pending", "")))]);
            let client = world.process().client(Config { budget_period: Some(period), ..limited(5.0, key) });
            let submit =
                |name: &str| world.run(client.submit(&request(), ChargeOptions { seconds: Some(30.0), ..named(name) }));
            submit("first").expect("sent");
            assert_eq!(budget(&submit("second").expect_err("spent")), Some((5.0, 0.0)), "{period:?} {key:?}");
            world.set_wall_error(days * DAY);
            submit("third").expect("a new period");
            assert_eq!(budget(&submit("fourth").expect_err("spent")), Some((5.0, 0.0)), "{period:?} {key:?}");
        }
    }
}
