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
//! The journal holds posting, bound and unknown operations. A rejected or unsent one is forgotten: its
//! id is free for another try, and the journal's atomic `create` decides who gets it.

use crate::api::{Step, is_uuid};
use crate::error::{digits, join};

/// Codes by which a runtime proves that a request failed before any of it was sent: Node and undici,
/// then Bun. Browsers, Deno and workerd give none.
const NEVER_SENT: [&str; 8] = [
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "UND_ERR_CONNECT_TIMEOUT",
    "ConnectionRefused",
    "FailedToOpenSocket",
];

/// How a charging request ended, without what it brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// With this status; the id of the job that came with it, whole, even where the rest did not arrive.
    Answered(u16, Option<&'a str>),
    /// Without an answer; the runtime's code for it.
    Lost(&'a str),
    /// Without an answer in time.
    TimedOut,
    /// It could not be made at all.
    Unusable,
}

/// What became of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Paid, and for this job.
    Bound(String),
    /// Refused: nothing was charged.
    Rejected,
    /// It never left: it may be sent again.
    NotSent,
    /// Nobody knows. Never sent again.
    Unknown,
}

impl Verdict {
    /// For the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Bound(_) => "bound",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
        }
    }
}

/// Judges the end of a charging request. `rendered` is the id in the path of a `render`: there any 2xx
/// is enough, because the job is known.
pub fn verdict(outcome: Outcome<'_>, rendered: Option<&str>) -> Verdict {
    match outcome {
        Outcome::Answered(200..=299, id) => match rendered.or(id) {
            Some(id) => Verdict::Bound(id.into()),
            None => Verdict::Unknown,
        },
        Outcome::Answered(400 | 401 | 402 | 403 | 404 | 405 | 413 | 414 | 415 | 422 | 429 | 431, _) | Outcome::Unusable => {
            Verdict::Rejected
        }
        Outcome::Lost(code) if NEVER_SENT.contains(&code) => Verdict::NotSent,
        Outcome::Answered(..) | Outcome::Lost(_) | Outcome::TimedOut => Verdict::Unknown,
    }
}

/// The id of a job in an answer that broke off, if all of it arrived: the value of the first `"id"`.
pub fn salvage_id(broken: &str) -> Option<&str> {
    string_field(broken, "id").filter(|id| is_uuid(id))
}

/// Where an operation in the journal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Written before the request left. Found again by another run, it is as good as unknown.
    Posting,
    /// Paid for this job, which was not seen to end.
    Bound(String),
    /// Nobody knows.
    Unknown,
    /// Paid for this job, which was seen to end.
    Ended(String),
}

/// What the journal keeps of an operation: enough to go on, and no variable and no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub state: State,
    /// What it charges for.
    pub step: Step,
    /// The request's fingerprint, in hexadecimal digits.
    pub fingerprint: String,
    /// When it was first written, in milliseconds since 1970.
    pub at: u64,
}

impl Entry {
    /// The version of the text below. A reader skips what it does not know.
    const VERSION: &'static str = "1";

    /// The job, where it is known.
    pub fn job(&self) -> Option<&str> {
        match &self.state {
            State::Bound(job) | State::Ended(job) => Some(job),
            State::Posting | State::Unknown => None,
        }
    }

    /// As JavaScript sees the state.
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            State::Posting => "posting",
            State::Bound(_) => "bound",
            State::Unknown => "unknown",
            State::Ended(_) => "ended",
        }
    }

    /// As JSON. Every value is of our own alphabet, so that nothing needs escaping.
    pub fn encode(&self) -> String {
        join(&[
            r#"{"version":""#,
            Self::VERSION,
            r#"","state":""#,
            self.state_name(),
            r#"","step":""#,
            self.step.as_str(),
            r#"","fingerprint":""#,
            &self.fingerprint,
            r#"","at":""#,
            &digits(self.at),
            r#"","job":""#,
            self.job().unwrap_or_default(),
            r#""}"#,
        ])
    }

    /// From JSON; `None` where it is not an entry of a version that is known.
    pub fn decode(text: &str) -> Option<Self> {
        if string_field(text, "version")? != Self::VERSION {
            return None;
        }
        let job = || string_field(text, "job").filter(|job| is_uuid(job)).map(String::from);
        let mut at = 0_u64;
        for byte in string_field(text, "at")?.bytes() {
            if !byte.is_ascii_digit() {
                return None;
            }
            at = at.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        }
        Some(Self {
            state: match string_field(text, "state")? {
                "posting" => State::Posting,
                "bound" => State::Bound(job()?),
                "unknown" => State::Unknown,
                "ended" => State::Ended(job()?),
                _ => return None,
            },
            step: Step::parse(string_field(text, "step")?)?,
            fingerprint: string_field(text, "fingerprint")?.into(),
            at,
        })
    }
}

/// The value of the first `"key":"value"` in a text; spaces around the colon are allowed, escapes are not.
fn string_field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..) {
        if rest.is_empty() {
            return None;
        }
        at += 1;
        let Some(rest) = rest
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_prefix(key.as_bytes()))
            .and_then(|rest| rest.strip_prefix(b"\""))
        else {
            continue;
        };
        let Some(rest) = rest.trim_ascii_start().strip_prefix(b":") else { continue };
        let Some(rest) = rest.trim_ascii_start().strip_prefix(b"\"") else { continue };
        let start = bytes.len() - rest.len();
        let length = rest.iter().position(|byte| *byte == b'"' || *byte == b'\\')?;
        return match rest.get(length) {
            Some(b'"') => text.get(start..start + length),
            _ => None,
        };
    }
    None
}

/// What a call may do under its operation id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The id was free, and is this call's now: post.
    New,
    /// It was paid for: fetch this job.
    Fetch(String),
    /// Nobody knows whether it was paid for: look, but do not send.
    Unknown,
    /// The id belongs to another request.
    Conflict,
}

/// Decides for an operation id that is taken. An entry that cannot be read belongs to somebody else.
pub fn claim(found: Option<&Entry>, step: Step, fingerprint: &str) -> Claim {
    match found {
        Some(entry) if entry.step == step && entry.fingerprint == fingerprint => {
            entry.job().map_or(Claim::Unknown, |job| Claim::Fetch(job.into()))
        }
        _ => Claim::Conflict,
    }
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

    const ID: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";

    #[test]
    fn only_an_answer_with_an_id_is_bound() {
        for status in [200, 201, 202] {
            assert_eq!(verdict(Outcome::Answered(status, Some(ID)), None), Verdict::Bound(ID.into()));
            assert_eq!(verdict(Outcome::Answered(status, None), None), Verdict::Unknown);
            assert_eq!(verdict(Outcome::Answered(status, None), Some(ID)), Verdict::Bound(ID.into()), "render");
        }
    }

    #[test]
    fn a_refusal_is_rejected_and_everything_else_is_unknown() {
        let refusals = [400, 401, 402, 403, 404, 405, 413, 414, 415, 422, 429, 431];
        for status in (0..200).chain(300..=599) {
            let expected = if refusals.contains(&status) { Verdict::Rejected } else { Verdict::Unknown };
            assert_eq!(verdict(Outcome::Answered(status, Some(ID)), None), expected, "{status}");
            assert_eq!(verdict(Outcome::Answered(status, None), Some(ID)), expected, "{status} to a render");
        }
        assert_eq!(verdict(Outcome::TimedOut, None), Verdict::Unknown);
    }

    #[test]
    fn only_a_proven_code_is_not_sent() {
        for code in NEVER_SENT {
            assert_eq!(verdict(Outcome::Lost(code), None), Verdict::NotSent, "{code}");
        }
        for code in ["", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_HEADERS_TIMEOUT", "AbortError"] {
            assert_eq!(verdict(Outcome::Lost(code), None), Verdict::Unknown, "{code}");
        }
    }

    #[test]
    fn an_id_is_salvaged_only_when_all_of_it_arrived() {
        let whole = format!(r#"{{"id": "{ID}","created_at":"20"#);
        assert_eq!(salvage_id(&whole), Some(ID));
        for end in 0..whole.find("\",\"created").unwrap() {
            assert_eq!(salvage_id(&whole[..=end]), None, "{}", &whole[..=end]);
        }
        assert_eq!(salvage_id(r#"{"id":"not-a-uuid","#), None);
        assert_eq!(salvage_id(r#"{"media_id":"3c90c3cc-0d44-4b50-8888-8dd25736052a""#), None);
    }

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        for state in [State::Posting, State::Bound(ID.into()), State::Unknown, State::Ended(ID.into())] {
            for step in [Step::Submit, Step::Preview, Step::Render] {
                let entry = Entry { state: state.clone(), step, fingerprint: "00ff".into(), at: 1_795_000_000_123 };
                assert_eq!(Entry::decode(&entry.encode()), Some(entry.clone()));
                let parsed: serde_json::Value = serde_json::from_str(&entry.encode()).expect("JSON");
                assert_eq!(parsed["step"], step.as_str());
            }
        }
    }

    #[test]
    fn an_entry_that_is_not_ours_is_not_read() {
        let good = Entry { state: State::Bound(ID.into()), step: Step::Submit, fingerprint: "0".into(), at: 1 }.encode();
        for bad in [
            good.replace(r#""version":"1""#, r#""version":"2""#),
            good.replace(ID, "x"),
            good.replace("bound", "new"),
            good.replace("submit", "delete"),
            good.replace(r#""at":"1""#, r#""at":"x""#),
            String::new(),
            "null".into(),
            "{\"version\":\"1".into(),
        ] {
            assert_eq!(Entry::decode(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_taken_id_never_leads_to_a_request_that_charges() {
        let entry = |state| Entry { state, step: Step::Submit, fingerprint: "aa".into(), at: 0 };
        let bound = entry(State::Bound(ID.into()));
        assert_eq!(claim(Some(&bound), Step::Submit, "aa"), Claim::Fetch(ID.into()));
        assert_eq!(claim(Some(&entry(State::Ended(ID.into()))), Step::Submit, "aa"), Claim::Fetch(ID.into()));
        assert_eq!(claim(Some(&entry(State::Posting)), Step::Submit, "aa"), Claim::Unknown);
        assert_eq!(claim(Some(&entry(State::Unknown)), Step::Submit, "aa"), Claim::Unknown);
        assert_eq!(claim(Some(&bound), Step::Submit, "bb"), Claim::Conflict);
        assert_eq!(claim(Some(&bound), Step::Preview, "aa"), Claim::Conflict);
        assert_eq!(claim(None, Step::Submit, "aa"), Claim::Conflict, "unreadable");
    }
}
