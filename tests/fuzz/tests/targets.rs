//! Fuzz targets: the properties that hold for any input. Each runs briefly here; `cargo xtask test fuzz` runs longer.

use std::cell::RefCell;
use std::rc::Rc;

use custom_template_jobs::api::{self, Goal, Step};
use custom_template_jobs::charge::{self, Claim, Entry, Verdict};
use custom_template_jobs::error::ErrorKind;
use custom_template_jobs::job::JobFacts;
use custom_template_jobs::poll::{self, Memory, Urgency};
use custom_template_jobs::retry;
use fuzz::inputs::{self, IDS};
use fuzz::world::{Options, World, decode};
use fuzz::{fuzz, inputs::number};
use serde_json::json;
use test_host::fixtures::{client_of, named, request_with};
use test_host::json::job_fields;

const PLAIN: Options = Options { calls: 12, foreign: false, lies: false, budget: None };

fn explore(options: Options) {
    fuzz(1_500, |source| {
        World::new(options, source)?.run();
        Ok(())
    });
}

#[test]
fn any_answers_settle_every_call_and_send_no_second_charge() {
    explore(PLAIN);
}

#[test]
fn any_journal_content_causes_no_second_charge_and_is_kept() {
    explore(Options { foreign: true, ..PLAIN });
}

#[test]
fn a_faulty_journal_causes_no_second_charge() {
    explore(Options { foreign: true, lies: true, ..PLAIN });
}

#[test]
fn any_reported_usage_leaves_a_shared_budget_unexceeded() {
    explore(Options { budget: Some(17.0), ..PLAIN });
}

#[test]
fn any_job_gives_finite_facts_and_a_next_poll_in_range() {
    fuzz(5_000, |source| {
        let mut now = 0.0;
        let mut memory = Memory::new(0.0, source.arbitrary::<bool>()?.then_some(number(source)?));
        for _ in 0..source.int_in_range(1..=20)? {
            let job = inputs::job(source, IDS[0])?;
            let Some(facts) = JobFacts::read(job_fields(&job)) else { continue };
            for fact in [facts.progress, facts.credits_used, facts.duration].into_iter().flatten() {
                assert!(fact.is_finite() && fact >= 0.0, "{facts:?} of {job}");
            }
            now += f64::from(source.arbitrary::<u16>()?);
            memory.observe(&facts, now);
            for urgency in [Urgency::Low, Urgency::Normal, Urgency::High] {
                let wait = poll::next(&facts, &memory, urgency, now);
                assert!((1_000.0..=30_000.0).contains(&wait), "{wait} after {job}");
            }
            assert!(poll::remaining(&facts, &memory, now).is_none_or(|ms| ms > 0.0), "{memory:?} after {job}");
            if [Goal::Preview, Goal::Video].into_iter().any(|goal| facts.meets(goal)) {
                assert!(facts.preview || facts.video, "{job}");
            }
        }
        Ok(())
    });
}

#[test]
fn any_retry_after_delays_a_read_by_at_most_68_seconds() {
    fuzz(5_000, |source| {
        let asked = if source.ratio(1, 8)? { None } else { Some(number(source)?) };
        let chance = f64::from(source.arbitrary::<u16>()?) / 65_536.0;
        let wait = retry::backoff(source.arbitrary()?, chance, asked);
        let least = if asked.is_none() { 0.0 } else { 1_000.0 };
        assert!((least..=68_000.0).contains(&wait), "{wait} ms for a requested {asked:?}");
        Ok(())
    });
}

#[test]
fn only_the_jobs_own_id_is_salvaged_from_a_cut_off_answer() {
    fuzz(5_000, |source| {
        let text = if source.arbitrary()? {
            let whole = inputs::job(source, IDS[0])?.to_string();
            let end = source.int_in_range(0..=whole.len())?;
            String::from_utf8_lossy(&whole.as_bytes()[..end]).into_owned()
        } else {
            inputs::text(source)?
        };
        let id = charge::salvage(&text);
        if let Some(id) = &id {
            assert!(api::is_uuid(id), "{id:?}");
            assert!(text.to_ascii_lowercase().contains(&format!("\"{id}\"")), "{id:?} of {text:?}");
        }
        if let Ok(whole) = serde_json::from_str::<serde_json::Value>(&text) {
            assert_eq!(id, whole["id"].as_str().and_then(|id| api::job_id(id).ok()), "{text:?}");
        }
        let verdict = charge::verdict(source.int_in_range(200..=299)?, id.is_some());
        assert_eq!(verdict, if id.is_some() { Verdict::Bound } else { Verdict::Unknown });
        Ok(())
    });
}

#[test]
fn any_entry_is_decoded_without_loss_or_not_at_all() {
    fuzz(5_000, |source| {
        let found = inputs::entry(source)?;
        let entry: Option<Entry> = decode(&found);
        if let Some(known) = &entry {
            let version = serde_json::from_str::<serde_json::Value>(&found).map(|found| found["version"].as_f64());
            assert_eq!(version.ok(), Some(Some(2.0)), "an unknown version was decoded: {found}");
            assert_eq!(decode(&known.encode()), entry, "{found}");
        }
        let claim = charge::claim(entry.as_ref(), Step::Submit, source.arbitrary()?);
        assert!(entry.is_some() || claim == Claim::Conflict, "{found}");
        Ok(())
    });
}

#[test]
fn any_request_is_refused_with_a_path_or_sent_once_unchanged() {
    fuzz(1_500, |source| {
        let mut request = if source.ratio(1, 3)? {
            inputs::json(source, 0)?
        } else {
            serde_json::from_str(&request_with("")).unwrap_or_default()
        };
        for _ in 0..source.int_in_range(0..=2)? {
            let keys = ["template_id", "variables", "webhook_url", "model_version", "name", "is_hidden", "voice_id"];
            let (key, value) = (*source.choose(&keys)?, inputs::json(source, 1)?);
            if request.is_object() {
                request[key] = value;
            }
        }
        let text = if source.ratio(1, 20)? { inputs::text(source)? } else { request.to_string() };
        let operation = if source.arbitrary()? { inputs::text(source)? } else { "op".to_owned() };
        let bodies = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&bodies);
        let (client, world) = client_of(move |sent| {
            if sent.charges() {
                log.borrow_mut().push(sent.body.clone().unwrap_or_default());
            }
            (1.0, test_host::answer_of(201, json!({"id": IDS[0], "status": "pending"})))
        });
        let first = world.run(client.submit(&text, named(&operation)));
        let again = world.run(client.submit(&text, named(&operation)));
        let other = world.run(client.submit(&request_with(r#","name":"another""#), named(&operation)));
        world.close();
        let bodies = bodies.borrow();
        match &first {
            Ok(_) => {
                let url = request["webhook_url"].as_str().is_some_and(|url| url.contains("{operation}"));
                assert!(bodies.len() == 1 && (url || bodies[0] == text), "{bodies:?} of {text}");
                assert!(again.is_ok(), "{again:?}");
                assert_eq!(other.err().map(|failure| failure.kind().clone()), Some(ErrorKind::OperationConflict));
            }
            Err(failure) => {
                let ErrorKind::InvalidRequest { field } = failure.kind() else { panic!("{failure:?} of {text}") };
                assert!(!field.is_empty() && !bodies.contains(&text), "{field:?} of {text}");
            }
        }
        Ok(())
    });
}
