use super::*;
use crate::api::Status;

const ID: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";

#[test]
fn only_an_answer_that_names_the_job_is_bound() {
    for status in [200, 201, 202] {
        assert_eq!(verdict(status, true), Verdict::Bound);
        assert_eq!(verdict(status, false), Verdict::Unknown);
    }
}

#[test]
fn a_refusal_is_rejected_and_everything_else_is_unknown() {
    let refusals = [400, 401, 402, 403, 404, 405, 413, 414, 415, 422, 429, 431];
    for status in (0..200).chain(300..=599) {
        let expected = if refusals.contains(&status) { Verdict::Rejected } else { Verdict::Unknown };
        for identified in [true, false] {
            assert_eq!(verdict(status, identified), expected, "{status} {identified}");
        }
    }
}

#[test]
fn only_a_code_that_proves_it_is_not_sent() {
    for code in NEVER_SENT {
        assert_eq!(verdict_without_answer(Some(code)), Verdict::NotSent, "{code}");
    }
    for code in ["", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_HEADERS_TIMEOUT", "AbortError"] {
        assert_eq!(verdict_without_answer(Some(code)), Verdict::Unknown, "{code}");
    }
    assert_eq!(verdict_without_answer(None), Verdict::Unknown);
}

#[test]
fn an_id_is_salvaged_only_when_all_of_it_arrived() {
    let whole = format!(r#" {{ "id" : "{ID}","created_at":"20"#);
    assert_eq!(salvage(&whole).as_deref(), Some(ID));
    for end in 0..whole.find("\",\"created").expect("it is there") {
        assert_eq!(salvage(&whole[..=end]), None, "{}", &whole[..=end]);
    }
}

#[test]
fn only_the_id_of_the_outermost_object_is_salvaged() {
    let other = "11111111-1111-4111-8111-111111111111";
    for cut in [
        format!(r#"{{"variables":{{"id":"{other}"}},"id":"{ID}","x"#),
        format!(r#"{{"list":[{{"id":"{other}"}}],"note":"\"id\":\"{other}\"","id":"{}","x"#, ID.to_uppercase()),
        format!(r#"{{"a":"}}]","b":"\\","id":"{ID}"}}"#),
    ] {
        assert_eq!(salvage(&cut).as_deref(), Some(ID), "{cut}");
    }
    for cut in [
        format!(r#"{{"variables":{{"id":"{ID}"}},"st"#),
        format!(r#"{{"variables":{{"id":"{ID}""#),
        format!(r#"[{{"id":"{ID}"}}]"#),
        format!(r#"<html>"id":"{ID}""#),
        format!(r#""id":"{ID}""#),
        format!(r#"{{"name":"id","x":"{ID}","#),
        format!(r#"{{"id":["{ID}"],"#),
        r#"{"id":"not-a-uuid","#.into(),
        "}}}}".into(),
        String::new(),
    ] {
        assert_eq!(salvage(&cut), None, "{cut}");
    }
}

fn entry(state: State, step: Step) -> Entry {
    Entry {
        state,
        step,
        fingerprint: 255,
        owner: "0123".into(),
        created_at: 1_795_000_000_123,
        job: matches!(state, State::Bound | State::Ended).then(|| ID.into()),
        webhook: Some(7),
        kind: None,
        budget: Some("ns:budget/all/a \"key\"/x=5000".into()),
        explicit: true,
        charged: Charged::Yes,
        seen: None,
        metadata: Some(r#"{"row":1}"#.into()),
    }
}

/// The members that a host would copy.
fn members(text: &str) -> [Member; 14] {
    let object: serde_json::Value = serde_json::from_str(text).expect("JSON");
    Entry::NAMES.map(|name| match &object[name] {
        serde_json::Value::Bool(value) => Member::Bool(*value),
        serde_json::Value::Number(value) => Member::Number(value.as_f64().expect("finite")),
        serde_json::Value::String(value) => Member::Text(value.clone()),
        _ => Member::Unset,
    })
}

#[test]
fn an_entry_comes_back_as_it_was_written() {
    for state in [State::Sending, State::Bound, State::Unknown, State::Ended] {
        for step in [Step::Submit, Step::Preview, Step::Render] {
            for (explicit, charged) in [(true, Charged::Yes), (false, Charged::No), (false, Charged::Maybe)] {
                let seen = explicit.then_some(9);
                let entry = Entry { explicit, charged, seen, ..entry(state, step) };
                assert_eq!(Entry::decode(members(&entry.encode())), Some(entry));
            }
        }
    }
}

#[test]
fn an_entry_says_whether_its_operation_was_accepted() {
    for charged in [Charged::No, Charged::Maybe, Charged::Yes] {
        for state in [State::Sending, State::Unknown, State::Bound, State::Ended] {
            let open = matches!(state, State::Sending | State::Unknown);
            let expected = if open { Charged::Maybe } else { charged };
            assert_eq!(Entry { charged, ..entry(state, Step::Render) }.charged(), expected, "{state:?}");
        }
    }
}

#[test]
fn an_entry_of_another_version_or_with_a_wrong_member_is_not_read() {
    let good = entry(State::Bound, Step::Submit).encode();
    for (from, to) in [
        ("\"version\":2", "\"version\":1"),
        (ID, "../../admin"),
        ("\"bound\"", "\"new\""),
        ("\"submit\"", "\"delete\""),
        ("00000000000000ff", "ff"),
        ("1795000000123", "-1"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert_eq!(Entry::decode(members(&bad)), None, "{bad}");
    }
    for state in [State::Bound, State::Ended] {
        let nameless = Entry { job: None, ..entry(state, Step::Submit) };
        assert_eq!(Entry::decode(members(&nameless.encode())), None, "charged without a job");
    }
}

#[test]
fn a_taken_id_never_leads_to_a_charging_request() {
    let claimed = |state| claim(Some(&entry(state, Step::Submit)), Step::Submit, 255);
    assert_eq!(claimed(State::Bound), Claim::Return(ID.into()));
    assert_eq!(claimed(State::Ended), Claim::Return(ID.into()));
    assert_eq!(claimed(State::Sending), Claim::Unknown);
    assert_eq!(claimed(State::Unknown), Claim::Unknown);
    let bound = entry(State::Bound, Step::Submit);
    assert_eq!(claim(Some(&bound), Step::Submit, 1), Claim::Conflict);
    assert_eq!(claim(Some(&bound), Step::Preview, 255), Claim::Conflict);
    assert_eq!(claim(None, Step::Submit, 255), Claim::Conflict, "unreadable");
}

fn facts(status: Status, preview: bool, video: bool) -> JobFacts {
    let (version, credits_used) = (Some(1), Some(1.0));
    JobFacts { id: ID.into(), status, progress: None, preview, video, version, credits_used, duration: None }
}

#[test]
fn a_preview_url_that_comes_early_is_no_render() {
    let early = facts(Status::Running, true, false);
    assert_eq!(before_render(&early, false, false, false), BeforeRender::Wait);
    assert_eq!(before_render(&early, true, false, false), BeforeRender::Return, "the journal knows of its render");
    let ready = facts(Status::Done, true, false);
    assert_eq!(before_render(&ready, false, false, false), BeforeRender::Send);
}

#[test]
fn a_rendered_job_is_rendered_again_only_by_a_new_operation_with_other_values() {
    let rendered = facts(Status::Done, true, true);
    assert_eq!(before_render(&rendered, false, false, false), BeforeRender::Return);
    assert_eq!(before_render(&rendered, false, true, true), BeforeRender::Return);
    assert_eq!(before_render(&rendered, false, true, false), BeforeRender::Send);
    let failed = facts(Status::Failed, true, false);
    assert_eq!(before_render(&failed, false, true, true), BeforeRender::Send);
}

#[test]
fn a_lost_render_is_taken_for_carried_out_only_where_the_job_shows_it() {
    let ready = facts(Status::Done, true, false);
    assert!(!was_rendered(&ready, &ready));
    assert!(was_rendered(&ready, &facts(Status::Running, true, false)));
    assert!(was_rendered(&ready, &facts(Status::Done, true, true)));
    assert!(was_rendered(&ready, &facts(Status::Failed, true, false)));
    assert!(was_rendered(&ready, &JobFacts { version: Some(2), ..ready.clone() }));
    let busy = facts(Status::Running, false, false);
    assert!(!was_rendered(&busy, &JobFacts { version: Some(2), ..busy.clone() }), "it changes by itself");
    let odd = facts(Status::Unknown, true, false);
    assert!(!was_rendered(&odd, &facts(Status::Failed, true, false)), "it may have failed before");
    let rendered = facts(Status::Done, true, true);
    assert!(!was_rendered(&rendered, &rendered), "the video is that of the first render");
    assert!(was_rendered(&rendered, &JobFacts { version: Some(2), ..rendered.clone() }));
}

#[test]
fn a_job_settles_an_operation_only_if_it_can_be_its_own() {
    let sent = Entry { webhook: None, ..entry(State::Sending, Step::Submit) };
    let job = facts(Status::Running, false, false);
    let at = sent.created_at as f64;
    assert!(settles(&sent, &job, None, None));
    assert!(settles(&sent, &job, Some(1), Some(at - 1_000_000.0)), "clocks differ");
    assert!(!settles(&sent, &job, None, Some(at - 4_000_000.0)), "older than the operation");
    let addressed = entry(State::Sending, Step::Submit);
    assert!(settles(&addressed, &job, Some(7), Some(at)));
    assert!(!settles(&addressed, &job, Some(8), Some(at)), "another operation's address");
    assert!(!settles(&addressed, &job, None, Some(at)));
    let render = entry(State::Sending, Step::Render);
    assert!(!settles(&render, &job, Some(7), None));
    assert!(settles(&render, &facts(Status::Running, true, false), None, Some(0.0)));
    let again = Entry { seen: Some(1), ..render };
    assert!(!settles(&again, &facts(Status::Done, true, true), None, None), "the video is that of before");
    assert!(settles(&again, &facts(Status::Running, true, true), None, None));
    assert!(settles(&again, &JobFacts { version: Some(2), ..facts(Status::Done, true, true) }, None, None));
}
