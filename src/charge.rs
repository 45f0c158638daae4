//! At most one charge: the states of an operation, its journal entry, and the verdict on a charging request.
//!
//! An operation is one intended charge, named by an id. Its journal entry is written before the request is sent, as
//! *sending*. The outcome of the request is then one of
//! - **bound**: the response has the id of the charged job;
//! - **rejected**: the provider refused; we assume that it charged nothing;
//! - **not sent**: the runtime proved that nothing left this machine;
//! - **unknown**: everything else.
//!
//! The journal holds sending, bound and ended operations. An unknown one stays *sending*: a client that finds such an entry,
//! and does not send it itself, treats the operation as unknown. It is never sent again. The entry of a rejected or unsent
//! operation is deleted, so that its id is free. The journal's atomic `create` decides which attempt gets it.

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

use std::fmt::Write as _;

use crate::api::{Status, Step, is_uuid, job_id};
use crate::error::Charged;
use crate::hash::{hex, parse_hex};
use crate::job::JobFacts;
use crate::member::Member;

/// Error codes that prove that a request failed before any of it was sent: those of Node and undici, then Bun's. Browsers, Deno
/// and workerd have none.
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

/// The outcome of a charging request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Charged, for a job whose id is known.
    Bound,
    /// Refused; nothing was charged.
    Rejected,
    /// Nothing was sent; it may be sent again.
    NotSent,
    /// It may have been charged. Never sent again.
    Unknown,
}

impl Verdict {
    /// The name in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
        }
    }
}

/// The verdict on a response. `identified`: whether it names the charged job.
pub const fn verdict(status: u16, identified: bool) -> Verdict {
    match status {
        200..=299 if identified => Verdict::Bound,
        400..=405 | 413..=415 | 422 | 429 | 431 => Verdict::Rejected,
        _ => Verdict::Unknown,
    }
}

/// The verdict without a response, from the runtime's error code.
pub fn verdict_without_answer(code: Option<&str>) -> Verdict {
    if code.is_some_and(|code| NEVER_SENT.contains(&code)) { Verdict::NotSent } else { Verdict::Unknown }
}

/// The id of the job in a JSON response that was cut off: the member `id` of the outermost object, if all of it arrived. An
/// `id` in a nested object belongs to something else.
pub fn salvage(cut: &str) -> Option<String> {
    let cut = cut.trim_start();
    let bytes = cut.as_bytes();
    let (mut at, mut depth, mut key_is_id) = (0, 0_u32, false);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' if at == 1 && *byte == b'[' => return None,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let start = at;
                at = end_of_string(bytes, at)?;
                let text = cut.get(start..at)?;
                at += 1;
                let rest = bytes.get(at..)?.trim_ascii_start();
                if depth == 1 && rest.first() == Some(&b':') {
                    key_is_id = text == "id";
                    at = bytes.len() - rest.len() + 1;
                    continue;
                }
                if depth == 1 && key_is_id {
                    return if is_uuid(text) { Some(text.to_ascii_lowercase()) } else { None };
                }
            }
            _ if at == 1 => return None,
            b',' if depth == 1 => key_is_id = false,
            _ => {}
        }
    }
    None
}

/// Where the string that is open at `at` ends.
fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A relay's report on an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It never received the operation, or refused it, so it may be sent again. A late first copy and the second one are one
    /// charge, since both have the same key.
    Free,
    /// It was charged for this job.
    Bound(String),
}

impl Report {
    /// Reads the members `operation`, `job_id` and `state` of a response; `None` if the relay does not know the outcome, or if
    /// the response is no report on this operation.
    pub fn read(operation: &str, [about, job, state]: [Member; 3]) -> Option<Self> {
        match state.text()? {
            _ if about.text() != Some(operation) => None,
            "never_seen" | "rejected" => Some(Self::Free),
            "bound" => job_id(job.text()?).ok().map(Self::Bound),
            _ => None,
        }
    }
}

/// The state of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Written before the request was sent. From an earlier run it means unknown.
    Sending,
    /// Charged. The job has not ended, as far as this client knows.
    Bound,
    /// It may have been charged.
    Unknown,
    /// Charged. The job has ended.
    Ended,
}

impl State {
    /// The name in the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Bound => "bound",
            Self::Unknown => "unknown",
            Self::Ended => "ended",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Sending, Self::Bound, Self::Unknown, Self::Ended].into_iter().find(|state| state.as_str() == name)
    }
}

/// The journal's entry of an operation: enough to continue it, without variables and keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The state.
    pub state: State,
    /// The step that it charges for.
    pub step: Step,
    /// The hash of the request: one operation is one request.
    pub fingerprint: u64,
    /// A random token of the attempt that wrote it: only that attempt may write its verdict.
    pub owner: String,
    /// When it was first written, in milliseconds since 1970.
    pub created_at: u64,
    /// The id of the job, if known.
    pub job: Option<String>,
    /// The hash of the `webhook_url`, if it contains the operation id: then it identifies the job.
    pub webhook: Option<u64>,
    /// The hash of template, step and model. Jobs with the same hash take about equally long.
    pub kind: Option<u64>,
    /// The journal key of the credits reserved for it.
    pub budget: Option<String>,
    /// Whether the caller chose the id.
    pub explicit: bool,
    /// For a bound operation, whether it was accepted: `No` if the job was rendered or rendering before, `Maybe` if only the
    /// job shows a render.
    pub charged: Charged,
    /// The version of the rendered job before the charge, if it had a video already: then the video alone proves nothing.
    pub seen: Option<u64>,
    /// The caller's own data, as JSON.
    pub metadata: Option<String>,
}

impl Entry {
    /// The version of the format. Entries of another version are not read.
    const VERSION: f64 = 2.0;

    /// The names of the members, in the order in which [`Entry::decode`] takes them.
    pub const NAMES: [&'static str; 14] = [
        "version",
        "state",
        "step",
        "fingerprint",
        "owner",
        "createdAt",
        "job",
        "webhook",
        "kind",
        "budget",
        "explicit",
        "charged",
        "seen",
        "metadata",
    ];

    /// The JSON text that the journal holds.
    pub fn encode(&self) -> String {
        let Self { state, step, fingerprint, owner, created_at, explicit, .. } = self;
        let (state, step, fingerprint) = (state.as_str(), step.as_str(), hex(*fingerprint));
        let mut text = format!(
            r#"{{"version":2,"state":"{state}","step":"{step}","fingerprint":"{fingerprint}","owner":{},"createdAt":{created_at},"explicit":{explicit}"#,
            json_string(owner),
        );
        let optional = [
            ("job", self.job.clone()),
            ("webhook", self.webhook.map(hex)),
            ("kind", self.kind.map(hex)),
            ("budget", self.budget.clone()),
            ("charged", (self.charged != Charged::Yes).then(|| self.charged.as_str().into())),
            ("seen", self.seen.map(hex)),
            ("metadata", self.metadata.clone()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                let _ = write!(text, r#","{name}":{}"#, json_string(&value));
            }
        }
        text.push('}');
        text
    }

    /// Decodes the members of those names; `None` if they are no entry of this version.
    pub fn decode(members: [Member; 14]) -> Option<Self> {
        let [
            version,
            state,
            step,
            fingerprint,
            owner,
            created_at,
            job,
            webhook,
            kind,
            budget,
            explicit,
            charged,
            seen,
            metadata,
        ] = members;
        if version != Member::Number(Self::VERSION) {
            return None;
        }
        let job = match job {
            Member::Unset => None,
            // It becomes part of URLs.
            Member::Text(id) if is_uuid(&id) => Some(id.to_ascii_lowercase()),
            _ => return None,
        };
        let state = State::parse(state.text()?)?;
        if job.is_none() && matches!(state, State::Bound | State::Ended) {
            return None;
        }
        Some(Self {
            state,
            step: Step::parse(step.text()?)?,
            fingerprint: parse_hex(fingerprint.text()?)?,
            owner: owner.into_text()?,
            created_at: created_at.whole()?,
            job,
            webhook: webhook.text().and_then(parse_hex),
            kind: kind.text().and_then(parse_hex),
            budget: budget.into_text(),
            explicit: explicit == Member::Bool(true),
            charged: match charged.text() {
                Some("no") => Charged::No,
                Some("maybe") => Charged::Maybe,
                _ => Charged::Yes,
            },
            seen: seen.text().and_then(parse_hex),
            metadata: metadata.into_text(),
        })
    }

    /// Whether its job is known.
    pub const fn is_bound(&self) -> bool {
        matches!(self.state, State::Bound | State::Ended)
    }

    /// Whether its operation was accepted by the provider.
    pub const fn charged(&self) -> Charged {
        match self.state {
            State::Sending | State::Unknown => Charged::Maybe,
            State::Bound | State::Ended => self.charged,
        }
    }

    /// The same operation, charged for this job.
    #[must_use]
    pub fn bound(&self, job: &str) -> Self {
        let mut bound = self.clone();
        bound.state = State::Bound;
        bound.job = Some(job.into());
        bound
    }
}

/// A JSON string.
pub fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                json.push('\\');
                json.push(char);
            }
            '\0'..='\u{1f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(char));
            }
            _ => json.push(char),
        }
    }
    json.push('"');
    json
}

/// What a call does if the journal has its operation id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Return this job: the operation was charged.
    Return(String),
    /// Reject: the operation may have been charged.
    Unknown,
    /// Reject: the id belongs to another request.
    Conflict,
}

/// Decides what a call does with the journal's entry. An unreadable entry counts as another request's.
pub fn claim(found: Option<&Entry>, step: Step, fingerprint: u64) -> Claim {
    match found {
        Some(entry) if entry.step == step && entry.fingerprint == fingerprint => match (entry.state, &entry.job) {
            (State::Bound | State::Ended, Some(job)) => Claim::Return(job.clone()),
            _ => Claim::Unknown,
        },
        _ => Claim::Conflict,
    }
}

/// What a render does, given the job as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeRender {
    /// Send the charging request.
    Send,
    /// Return the job: it is rendered, or the journal has its render in flight.
    Return,
    /// Poll until the job is settled, then decide again: a preview in progress may have its URL early.
    Wait,
}

/// Decides whether a render is sent. `rendering`: the journal has a render of the job in progress. `explicit`: the caller
/// chose the operation id, and so asks for a new charge. `covered`: the job already has all values of the request.
pub const fn before_render(facts: &JobFacts, rendering: bool, explicit: bool, covered: bool) -> BeforeRender {
    if facts.video && (!explicit || covered) {
        BeforeRender::Return
    } else if facts.status.is_active() && (facts.preview || facts.video) {
        if rendering { BeforeRender::Return } else { BeforeRender::Wait }
    } else {
        BeforeRender::Send
    }
}

/// Whether a render with a lost response was accepted, judged by the job before and after it. A job in progress changes by
/// itself, so that proves nothing.
pub fn was_rendered(before: &JobFacts, after: &JobFacts) -> bool {
    if before.video {
        // A second render: only a change of the job proves it.
        return after.status.is_active() || after.version != before.version;
    }
    // An unknown status may have been in progress.
    let at_rest = !before.status.is_active() && before.status != Status::Unknown;
    after.is_rendered_or_rendering()
        || at_rest
            && (after.status.is_failure() && after.status != before.status
                || after.version != before.version
                || after.credits_used != before.credits_used)
}

/// How far the clocks of the provider and of this machine may differ, in milliseconds.
const CLOCK_SKEW: f64 = 3_600_000.0;

/// Whether a job settles an unknown operation. `webhook` is the hash of the job's `webhook_url`, `made_at` the job's creation
/// in milliseconds since 1970.
///
/// The job of a render existed before. A video or a render in progress proves the render; if it had a video before, only a
/// change does. The other steps create the job: it is not older than the operation, and if the `webhook_url` contains the
/// operation id, the job has the same URL. Webhooks are not signed, so the id in a webhook proves nothing by itself.
pub fn settles(entry: &Entry, facts: &JobFacts, webhook: Option<u64>, made_at: Option<f64>) -> bool {
    if entry.step == Step::Render {
        let changed = entry.seen.is_none_or(|seen| facts.status.is_active() || facts.version.unwrap_or_default() != seen);
        return facts.is_rendered_or_rendering() && changed;
    }
    let too_old = made_at.is_some_and(|made_at| made_at < entry.created_at as f64 - CLOCK_SKEW);
    !too_old && (entry.webhook.is_none() || entry.webhook == webhook)
}
