//! What must hold whatever comes from outside. A short run for every change; `cargo xtask test fuzz` is the long one.

use custom_template_jobs::api::{Goal, JobFacts, Step};
use custom_template_jobs::charge::{self, Claim, Entry, Verdict};
use custom_template_jobs::poll::{self, Memory};
use custom_template_jobs::retry;
use custom_template_jobs::value::place::Whole as _;
use custom_template_jobs::value::{Value as _, inspect};
use fuzz::made_up::{self, IDS};
use fuzz::value::{Json, Value};
use fuzz::world::{Options, World};
use fuzz::{fuzz, made_up::number};

const PLAIN: Options = Options { calls: 12, foreign: false, lies: false, budget: f64::NAN };

#[test]
fn whatever_is_answered_every_call_settles_and_no_charge_is_posted_twice() {
    fuzz(1_500, |source| World::new(PLAIN, source)?.run(source));
}

#[test]
fn whatever_the_journal_holds_it_leads_to_no_second_post_and_is_not_destroyed() {
    fuzz(1_500, |source| World::new(Options { foreign: true, ..PLAIN }, source)?.run(source));
}

#[test]
fn a_journal_that_fails_and_lies_leads_to_no_second_post() {
    fuzz(1_500, |source| World::new(Options { foreign: true, lies: true, ..PLAIN }, source)?.run(source));
}

#[test]
fn whatever_jobs_are_said_to_have_used_a_shared_budget_is_not_passed() {
    fuzz(1_500, |source| World::new(Options { budget: 17.0, ..PLAIN }, source)?.run(source));
}

#[test]
fn whatever_a_job_says_its_facts_are_numbers_and_the_next_look_is_in_range() {
    fuzz(5_000, |source| {
        let mut now = 0.0;
        let mut memory = Memory::new(0.0, number(source)?);
        for _ in 0..source.int_in_range(1..=20)? {
            let job = made_up::job(source, IDS[0])?;
            let Some(facts) = JobFacts::read(Value::from(job.clone())) else { continue };
            for fact in [facts.progress, facts.credits_used, facts.duration] {
                assert!(fact.is_finite() && fact >= -1.0, "{facts:?} of {}", job.written());
            }
            now += f64::from(source.arbitrary::<u16>()?);
            memory.observe(&facts, now);
            let look = poll::next(&facts, &memory, now);
            assert!((1_000.0..=30_000.0).contains(&look.in_ms), "{look:?} after {}", job.written());
            assert!(!look.remaining_ms.is_nan(), "{look:?} after {}", job.written());
            if [Goal::Preview, Goal::Video].into_iter().any(|goal| facts.meets(goal)) {
                assert!(facts.preview || facts.video, "{}", job.written());
            }
        }
        Ok(())
    });
}

#[test]
fn whatever_a_server_asks_a_read_waits_at_most_68_seconds() {
    fuzz(5_000, |source| {
        let asked = if source.ratio(1, 8)? { f64::NAN } else { number(source)? };
        let chance = f64::from(source.arbitrary::<u16>()?) / 65_536.0;
        let wait = retry::backoff(source.arbitrary()?, chance, asked);
        let least = if asked.is_nan() { 0.0 } else { 1_000.0 };
        assert!((least..=68_000.0).contains(&wait), "{wait} ms where {asked} are asked for");
        Ok(())
    });
}

#[test]
fn whatever_breaks_off_an_id_is_salvaged_only_where_it_stands() {
    fuzz(5_000, |source| {
        let text = if source.arbitrary()? {
            let whole = made_up::job(source, IDS[0])?.written();
            let end = source.int_in_range(0..=whole.len())?;
            Json::text(&String::from_utf8_lossy(&whole.as_bytes()[..end]))
        } else {
            made_up::text(source)?
        };
        let id = charge::salvaged(Value::from(text.clone())).own();
        assert!(id.as_text().is_empty() || text.as_text().contains(&format!("\"{}\"", id.as_text())), "{id:?} of {text:?}");
        let found = custom_template_jobs::api::is_uuid(Value::from(id));
        let verdict = charge::verdict(source.int_in_range(200..=299)?, found, Value::from(made_up::text(source)?));
        assert_eq!(verdict, if found { Verdict::Bound } else { Verdict::Unknown });
        Ok(())
    });
}

#[test]
fn whatever_an_entry_holds_it_is_read_back_as_it_was_written_or_not_at_all() {
    fuzz(5_000, |source| {
        let found = made_up::entry(source)?;
        let entry = Entry::decode(Value::from(found.clone()));
        let told = |entry: &Option<Entry<Value>>| format!("{entry:?}");
        if let Some(known) = &entry {
            assert_eq!(found.number_of("version"), 1.0, "of a version that nobody knows: {}", found.written());
            assert_eq!(told(&Entry::decode(known.encode())), told(&entry), "{}", found.written());
        }
        let claim = charge::claim(entry.as_ref(), Step::Submit, number(source)?);
        assert!(entry.is_some() || claim == Claim::Conflict, "{}", found.written());
        Ok(())
    });
}

#[test]
fn whatever_is_passed_its_fingerprint_is_a_number_or_its_fault_has_a_path() {
    fuzz(3_000, |source| {
        let value = made_up::json(source, 0)?;
        match inspect(Value::from(value.clone()), Value::text("variables"), 0.0) {
            Ok(print) => assert!(print >= 0.0 && print.fract() == 0.0, "{print} of {}", value.written()),
            Err(failure) => assert!(failure.get("field").matches("^variables"), "{:?}", failure.get("field")),
        }
        Ok(())
    });
}
