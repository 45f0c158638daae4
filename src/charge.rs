//! At most one charge: the states of an operation, what the journal keeps of it, and the verdict on each
//! way a charging request can end.
//!
//! An operation is one wish to charge, named by an id. It is new, then *posting* (written down before
//! the request leaves), then one of
//! - **bound** to a job: an answer brought the job's id;
//! - **rejected**: the upstream refused, which is assumed to charge nothing;
//! - **not sent**: the runtime proved that nothing left;
//! - **unknown**: everything else. Only an unknown operation may have been charged without anybody
//!   knowing, so it is kept, reported and never sent again.
//!
//! The journal holds posting and bound operations. One that became unknown stays as it is: whoever finds it
//! posting and does not post it takes it for unknown, and nothing is written over what another client may
//! have settled. A rejected or unsent one is forgotten: its id is free for another try, and the journal's
//! atomic `create` decides who gets it.

use crate::api::{Step, is_uuid};
use crate::error::Failure;
use crate::value::Value;

/// Codes by which a runtime proves that a request failed before any of it was sent: Node and undici,
/// then Bun. Browsers, Deno and workerd give none. `NotSent` is the plumbing's: the request was given up before `fetch`.
const NEVER_SENT: &str = "NotSent ECONNREFUSED ENOTFOUND EAI_AGAIN ENETUNREACH EHOSTUNREACH UND_ERR_CONNECT_TIMEOUT \
                          ConnectionRefused FailedToOpenSocket";

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Paid, and for a job that is known.
    Bound,
    /// Refused: nothing was charged.
    Rejected,
    /// It never left: it may be sent again.
    NotSent,
    /// Nobody knows. Never sent again.
    Unknown,
}

impl Verdict {
    /// For the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
        }
    }
}

/// Judges the end of a charging request. `status` is 0 without an answer, `identified` says whether the id of the job came
/// whole, and for a `render` whether it is that job's. `code` is the runtime's, where no answer came.
pub fn verdict<V: Value>(status: u16, identified: bool, code: V) -> Verdict {
    match status {
        200..=299 if identified => Verdict::Bound,
        400..=405 | 413..=415 | 422 | 429 | 431 => Verdict::Rejected,
        0 if code.one_of(NEVER_SENT) >= 0 => Verdict::NotSent,
        _ => Verdict::Unknown,
    }
}

/// The id of a job in an answer that broke off, if all of it arrived: the value of the first `"id"`.
pub fn salvaged<V: Value>(broken: V) -> V {
    let nothing = V::text("");
    let rest = broken.replaced(r#"^[\s\S]*?"id"\s*:\s*""#, nothing);
    if rest.matches(r#"^[0-9a-f-]{36}""#) { rest.replaced(r#""[\s\S]*$"#, nothing) } else { nothing }
}

/// Where an operation in the journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Written before the request left. Found again by another run, it is as good as unknown.
    Posting,
    /// Paid for a job that was not seen to end.
    Bound,
    /// Nobody knows.
    Unknown,
    /// Paid for a job that was seen to end.
    Ended,
}

impl State {
    /// As the journal and JavaScript see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Posting => "posting",
            Self::Bound => "bound",
            Self::Unknown => "unknown",
            Self::Ended => "ended",
        }
    }
}

/// What the journal keeps of an operation: enough to go on, and no variable and no key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry<V> {
    /// Where it stands.
    pub state: State,
    /// What it charges for.
    pub step: Step,
    /// The request's fingerprint.
    pub fingerprint: f64,
    /// A hash of what tells it from others: the webhook's address, where the operation stands in it; when the render failed
    /// that it asks for again; else NaN.
    pub hook: f64,
    /// Whether no answer brought the job, only a look at it: its render may be another operation's, and this one's still to come.
    pub seen: bool,
    /// A number for the template, the step and the model, which names none of them: jobs that have it take about as long. NaN
    /// where nobody knows.
    pub kind: f64,
    /// When it was first written, in milliseconds since 1970.
    pub at: f64,
    /// The job, where it is known.
    pub job: V,
}

impl<V: Value> Entry<V> {
    /// The version of the record below. A reader skips what it does not know.
    const VERSION: f64 = 1.0;

    /// As a record, which the host writes as JSON.
    pub fn encode(&self) -> V {
        let record = V::record().with_number("version", Self::VERSION).with_number("fingerprint", self.fingerprint);
        let mut record = self.told(record).with("job", self.job);
        for (key, number) in [("hook", self.hook), ("kind", self.kind)] {
            if !number.is_nan() {
                record = record.with_number(key, number);
            }
        }
        if self.seen { record.with("seen", V::truth(true)) } else { record }
    }

    /// What people hear of it, added to a record.
    pub fn told(&self, record: V) -> V {
        record.with_text("state", self.state.as_str()).with_text("step", self.step.as_str()).with_number("at", self.at)
    }

    /// From a record; `None` where it is not an entry of a version that is known.
    pub fn decode(record: V) -> Option<Self> {
        if record.number_of("version") != Self::VERSION {
            return None;
        }
        let job = record.get("job");
        let known = is_uuid(job);
        if !known && job.is_there() {
            // Ours is an id or none: it goes into URLs.
            return None;
        }
        Some(Self {
            state: match record.get("state").one_of("posting bound unknown ended") {
                0 => State::Posting,
                1 if known => State::Bound,
                2 => State::Unknown,
                3 if known => State::Ended,
                _ => return None,
            },
            step: Step::parse(record.get("step"))?,
            fingerprint: record.number_of("fingerprint"),
            hook: record.number_of("hook"),
            seen: record.get("seen").is_there(),
            kind: record.number_of("kind"),
            at: record.number_of("at"),
            job,
        })
    }
}

/// What a call may do under an operation id that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was paid for: fetch its job.
    Fetch,
    /// Nobody knows whether it was paid for: look, but do not send.
    Unknown,
    /// The id belongs to another request.
    Conflict,
}

/// Decides for an operation id that is taken. An entry that cannot be read belongs to somebody else.
pub fn claim<V: Value>(found: Option<&Entry<V>>, step: Step, fingerprint: f64) -> Claim {
    match found {
        Some(entry) if entry.step == step && entry.fingerprint == fingerprint => match entry.state {
            State::Bound | State::Ended => Claim::Fetch,
            State::Posting | State::Unknown => Claim::Unknown,
        },
        _ => Claim::Conflict,
    }
}

/// The error of a charge that may have been carried out.
pub fn unknown<V: Value>() -> Failure<V> {
    Failure::told(
        "ChargeUnknownError",
        "The request was sent and its outcome is not known, so it may have been charged. It is not sent again: \
         call settle(operation) or look at your account before you start a new one.",
    )
}

/// A journal in memory: it forgets with the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    entries: Vec<(String, String)>,
}

impl MemoryJournal {
    /// Writes unless something is there already; false if there was.
    pub fn create(&mut self, id: &str, entry: &str) -> bool {
        let free = self.read(id).is_none();
        if free {
            self.entries.push((id.into(), entry.into()));
        }
        free
    }

    /// The entry under `id`.
    pub fn read(&self, id: &str) -> Option<&str> {
        self.entries.iter().find(|(key, _)| key == id).map(|(_, entry)| entry.as_str())
    }

    /// Writes, whatever was there.
    pub fn write(&mut self, id: &str, entry: &str) {
        self.delete(id);
        self.entries.push((id.into(), entry.into()));
    }

    /// Removes.
    pub fn delete(&mut self, id: &str) {
        self.entries.retain(|(key, _)| key != id);
    }

    /// The ids that begin with `prefix`.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        self.entries.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::testing::{Value as Json, json, value};

    const ID: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";

    #[test]
    fn only_an_answer_with_an_id_is_bound() {
        for status in [200, 201, 202] {
            assert_eq!(verdict(status, true, value(())), Verdict::Bound);
            assert_eq!(verdict(status, false, value(())), Verdict::Unknown);
        }
    }

    #[test]
    fn a_refusal_is_rejected_and_everything_else_is_unknown() {
        let refusals = [400, 401, 402, 403, 404, 405, 413, 414, 415, 422, 429, 431];
        for status in (0..200).chain(300..=599) {
            let expected = if refusals.contains(&status) { Verdict::Rejected } else { Verdict::Unknown };
            for identified in [true, false] {
                assert_eq!(verdict(status, identified, value(())), expected, "{status} {identified}");
            }
        }
    }

    #[test]
    fn only_a_proven_code_is_not_sent() {
        for code in NEVER_SENT.split(' ') {
            assert_eq!(verdict(0, true, value(code)), Verdict::NotSent, "{code}");
        }
        for code in ["", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_HEADERS_TIMEOUT", "AbortError"] {
            assert_eq!(verdict(0, true, value(code)), Verdict::Unknown, "{code}");
        }
    }

    #[test]
    fn an_id_is_salvaged_only_when_all_of_it_arrived() {
        let of = |text: &str| salvaged(value(text)).own();
        let whole = format!(r#"{{"id": "{ID}","created_at":"20"#);
        assert_eq!(of(&whole), ID);
        for end in 0..whole.find("\",\"created").unwrap() {
            assert_eq!(of(&whole[..=end]), "", "{}", &whole[..=end]);
        }
        assert_eq!(of(r#"{"id":"not-a-uuid","#), "");
        assert_eq!(of(r#"{"media_id":"3c90c3cc-0d44-4b50-8888-8dd25736052a""#), "");
    }

    fn entry(state: State, step: Step) -> Entry<Json> {
        let job = if matches!(state, State::Bound | State::Ended) { value(ID) } else { Json::nothing() };
        Entry { state, step, fingerprint: 255.0, hook: 7.0, seen: false, kind: 9.0, at: 1_795_000_000_123.0, job }
    }

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        for state in [State::Posting, State::Bound, State::Unknown, State::Ended] {
            for step in [Step::Submit, Step::Preview, Step::Render] {
                for seen in [false, true] {
                    let entry = Entry { seen, ..entry(state, step) };
                    let written = entry.encode();
                    assert_eq!(written.own()["step"], step.as_str());
                    assert_eq!(Entry::decode(value(json(&written.own().to_string()))), Some(entry));
                }
            }
        }
    }

    #[test]
    fn an_entry_that_is_not_ours_is_not_read() {
        let good = entry(State::Bound, Step::Submit).encode().own();
        for (key, text) in
            [("version", "2"), ("job", "\"x\""), ("state", "\"new\""), ("step", "\"delete\""), ("step", "null")]
        {
            let mut bad = good.clone();
            bad[key] = json(text);
            assert_eq!(Entry::decode(value(bad.clone())), None, "{bad}");
        }
        assert_eq!(Entry::decode(value(())), None);
        assert_eq!(Entry::decode(value(json("[]"))), None);
    }

    #[test]
    fn a_taken_id_never_leads_to_a_request_that_charges() {
        let bound = entry(State::Bound, Step::Submit);
        assert_eq!(claim(Some(&bound), Step::Submit, 255.0), Claim::Fetch);
        assert_eq!(claim(Some(&entry(State::Ended, Step::Submit)), Step::Submit, 255.0), Claim::Fetch);
        assert_eq!(claim(Some(&entry(State::Posting, Step::Submit)), Step::Submit, 255.0), Claim::Unknown);
        assert_eq!(claim(Some(&entry(State::Unknown, Step::Submit)), Step::Submit, 255.0), Claim::Unknown);
        assert_eq!(claim(Some(&bound), Step::Submit, 1.0), Claim::Conflict);
        assert_eq!(claim(Some(&bound), Step::Preview, 255.0), Claim::Conflict);
        assert_eq!(claim::<Json>(None, Step::Submit, 255.0), Claim::Conflict, "unreadable");
    }

    #[test]
    fn a_paid_entry_without_the_id_of_its_job_is_not_read() {
        for state in [State::Bound, State::Ended] {
            for job in [Json::nothing(), value(""), value(()), value("11111111")] {
                let entry = Entry { job, ..entry(state, Step::Submit) };
                assert_eq!(Entry::decode(entry.encode()), None, "{entry:?}");
            }
        }
    }

    #[test]
    fn an_entry_whose_job_is_no_id_is_not_read() {
        for state in [State::Posting, State::Unknown] {
            for job in [value(""), value(()), value(7.0), value("../../admin"), value(json(r#"{"toString":1}"#))] {
                let entry = Entry { job, ..entry(state, Step::Render) };
                assert_eq!(Entry::decode(entry.encode()), None, "{entry:?}");
            }
            let none = Entry { job: Json::nothing(), ..entry(state, Step::Submit) };
            assert_eq!(Entry::decode(none.encode()), Some(none));
        }
    }

    #[test]
    fn every_verdict_has_a_word_of_its_own_in_the_log() {
        let words = [Verdict::Bound, Verdict::Rejected, Verdict::NotSent, Verdict::Unknown].map(Verdict::as_str);
        assert_eq!(words, ["bound", "rejected", "not_sent", "unknown"]);
    }

    #[test]
    fn a_journal_gives_a_key_to_the_first_who_creates_it_and_forgets_it_alone() {
        let mut journal = MemoryJournal::default();
        assert!(journal.create("me/1", "first"));
        assert!(!journal.create("me/1", "second"), "taken");
        assert!(journal.create("me/2", "other"), "another key is free");
        assert_eq!((journal.read("me/1"), journal.read("me/2"), journal.read("me/3")), (Some("first"), Some("other"), None));
        assert!(journal.create("you/1", "yours"));
        assert_eq!(journal.list("me/"), ["me/1", "me/2"]);
        assert_eq!(journal.list("me/3"), [""; 0]);

        journal.write("me/1", "third");
        journal.write("me/3", "new");
        assert_eq!((journal.read("me/1"), journal.read("me/3")), (Some("third"), Some("new")));
        assert_eq!(journal.list("me/").len(), 3, "written over, not beside");
        journal.delete("me/1");
        journal.delete("me/9");
        assert_eq!(journal.read("me/1"), None);
        assert_eq!(
            (journal.read("me/2"), journal.read("me/3"), journal.read("you/1")),
            (Some("other"), Some("new"), Some("yours"))
        );
        assert!(journal.create("me/1", "again"), "a key that was removed is free");
    }
}
