//! The charges of this client, and the durations and video lengths that it learned from their jobs.

use std::future::Future;

use super::Client;
use crate::api::{Goal, Step};
use crate::charge::{Entry, State};
use crate::hash;
use crate::host::{Host, JournalCall, JournalReply, Store};
use crate::job::JobFacts;
use crate::poll;

/// The most jobs, and the most kinds of jobs, that a client remembers.
const REMEMBERED: usize = 1_000;
/// The number of journal keys for durations. Two kinds with the same key overwrite each other.
const DURATION_KEYS: u64 = 1_000;
/// The longest plausible duration, and the age at which a duration expires, in milliseconds.
const DAY: f64 = 86_400_000.0;
const OLDEST: f64 = 30.0 * DAY;

/// The last charge for a job.
#[derive(Clone, Debug)]
pub(super) struct KnownCharge {
    pub operation: String,
    /// The journal entry, with its job.
    pub entry: Entry,
    /// `None` if an earlier run charged for it.
    pub template: Option<String>,
    /// When the charge began, on the monotonic clock.
    pub since: f64,
}

/// What is known about jobs of one kind.
#[derive(Clone, Debug)]
struct Learned {
    template: String,
    kind: u64,
    milliseconds: Option<f64>,
    /// The length of the template's videos, in seconds.
    seconds: Option<f64>,
    /// Whether the journal was read.
    asked: bool,
}

/// The memory of one client. Whatever must not be forgotten is in the journal.
#[derive(Debug, Default)]
pub(super) struct History {
    charged: Vec<KnownCharge>,
    learned: Vec<Learned>,
}

/// The timing of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub step: Step,
    pub goal: Goal,
    /// When it began, on the monotonic clock.
    pub since: f64,
    pub kind: Option<u64>,
    /// How long jobs of its kind take, in milliseconds.
    pub expected: Option<f64>,
}

impl History {
    pub fn find(&self, job: &str) -> Option<&KnownCharge> {
        self.charged.iter().find(|charged| charged.entry.job.as_deref() == Some(job))
    }

    pub fn remember(&mut self, charged: KnownCharge) {
        // One operation has one job: an earlier response may have named another.
        self.charged.retain(|known| known.entry.job != charged.entry.job && known.operation != charged.operation);
        if self.charged.len() >= REMEMBERED {
            self.charged.remove(0);
        }
        self.charged.push(charged);
    }

    pub fn timing(&self, job: &str) -> Option<Timing> {
        let charged = self.find(job)?;
        let kind = charged.entry.kind;
        let expected = kind.and_then(|kind| self.learned.iter().find(|learned| learned.kind == kind)?.milliseconds);
        let step = charged.entry.step;
        Some(Timing { step, goal: step.goal(), since: charged.since, kind, expected })
    }

    /// The kind of a job: a hash of template, step and model. That of a render derives from its preview's, if known.
    pub fn kind(&self, render: Option<&str>, template: Option<&str>, step: Step, model: &str) -> Option<u64> {
        match render.and_then(|job| self.find(job)) {
            Some(known) if known.entry.step == Step::Render => known.entry.kind,
            Some(KnownCharge { entry: Entry { kind: Some(kind), .. }, .. }) => Some(hash::of(&kind.to_be_bytes())),
            _ => template.map(|template| hash::of_parts(&[template, step.as_str(), model])),
        }
    }

    /// The length of a template's videos, in seconds.
    pub fn seconds(&self, template: &str) -> Option<f64> {
        self.learned.iter().rev().find(|learned| learned.template == template && learned.seconds.is_some())?.seconds
    }

    fn learned(&mut self, template: &str, kind: u64) -> Option<&mut Learned> {
        let at = match self.learned.iter().position(|learned| learned.kind == kind) {
            Some(at) => at,
            None if self.learned.len() >= REMEMBERED => return None,
            None => {
                let (milliseconds, seconds) = (None, None);
                self.learned.push(Learned { template: template.into(), kind, milliseconds, seconds, asked: false });
                self.learned.len() - 1
            }
        };
        self.learned.get_mut(at)
    }

    /// Whether to read the duration of this job's kind from the journal: once per kind.
    pub fn ask(&mut self, job: &str) -> bool {
        let Some((template, kind)) = self.find(job).map(|known| (known.template.clone(), known.entry.kind)) else {
            return false;
        };
        let learned = kind.and_then(|kind| self.learned(&template.unwrap_or_default(), kind));
        learned.is_some_and(|learned| !std::mem::replace(&mut learned.asked, true) && learned.milliseconds.is_none())
    }

    /// Marks the charge for a job as ended. Returns the charge the first time.
    fn end(&mut self, job: &str) -> Option<KnownCharge> {
        let charged = self.charged.iter_mut().find(|charged| charged.entry.job.as_deref() == Some(job))?;
        if charged.entry.state == State::Ended {
            return None;
        }
        let before = charged.clone();
        charged.entry.state = State::Ended;
        Some(before)
    }
}

impl<H: Host> Client<H> {
    /// Records a job that was read. If it has ended, its charge is marked as ended, in the journal too.
    pub(super) fn notice(&self, job: &H::Value) {
        if let Some(writing) = self.end(job) {
            self.host().spawn(writing);
        }
    }

    /// Marks the charge of an ended job. Returns the future that updates the journal, the first time.
    pub(super) fn end(&self, job: &H::Value) -> Option<impl Future<Output = ()> + use<H>> {
        if self.0.history.borrow().charged.is_empty() {
            return None;
        }
        let facts = self.facts(job)?;
        let timing = self.0.history.borrow().timing(&facts.id)?;
        let reached = facts.meets(timing.goal);
        if !reached && !facts.status.is_failure() {
            return None;
        }
        let ended = self.0.history.borrow_mut().end(&facts.id)?;
        let learned = if reached { self.learn(&ended, &facts) } else { None };
        // Whether a failed job is refunded is not documented, so its reserved credits count as spent.
        let credits = facts.credits_used.filter(|credits| reached && *credits > 0.0);
        let client = self.clone();
        Some(async move {
            if let Some((key, entry)) = learned {
                // One write, since a worker may end with its response.
                let _ = client.journal(Store::Configured, JournalCall::Write(&key, &entry)).await;
            }
            if let (Some(credits), Some(budget)) = (credits, &ended.entry.budget) {
                client.spend(budget, credits).await;
            }
            client.write_end(&ended).await;
        })
    }

    /// Marks the charge of a job that the provider no longer has.
    pub(super) fn gone(&self, job: &str) {
        let ended = self.0.history.borrow_mut().end(job);
        if let Some(ended) = ended {
            let client = self.clone();
            self.host().spawn(async move { client.write_end(&ended).await });
        }
    }

    /// Learns from a charge that reached its goal. Returns the journal key and entry of the duration.
    fn learn(&self, charged: &KnownCharge, facts: &JobFacts) -> Option<(String, String)> {
        let (template, kind) = (charged.template.as_ref()?, charged.entry.kind?);
        let took = poll::between(self.host().now() - charged.since, 0.0, DAY);
        let mut history = self.0.history.borrow_mut();
        let learned = history.learned(template, kind)?;
        let milliseconds = poll::learn(learned.milliseconds, took);
        learned.milliseconds = Some(milliseconds);
        learned.seconds = facts.duration.filter(|seconds| *seconds > 0.0).or(learned.seconds);
        let (ms, at) = (milliseconds as u64, self.host().wall() as u64);
        Some((self.duration_key(kind), format!(r#"{{"kind":"{}","ms":{ms},"at":{at}}}"#, hash::hex(kind))))
    }

    /// Reads the duration of this job's kind from the journal, in milliseconds.
    pub(super) async fn duration_of(&self, job: &str) -> Option<f64> {
        let kind = self.0.history.borrow().find(job)?.entry.kind?;
        let key = self.duration_key(kind);
        let Ok(JournalReply::Entry(Some(text))) = self.journal(Store::Configured, JournalCall::Read(&key)).await else {
            return None;
        };
        let record = self.host().parse(&text)?;
        let [found, ms, at] = self.host().members(&record, ["kind", "ms", "at"]);
        let (ms, age) = (ms.number()?, self.host().wall() - at.number()?);
        // Clocks differ, so it may lie in the future.
        let valid =
            found.text().and_then(hash::parse_hex) == Some(kind) && 0.0 < ms && ms <= DAY && (-DAY..OLDEST).contains(&age);
        if !valid {
            return None;
        }
        let mut history = self.0.history.borrow_mut();
        let learned = history.learned.iter_mut().find(|learned| learned.kind == kind)?;
        Some(*learned.milliseconds.get_or_insert(ms))
    }

    fn duration_key(&self, kind: u64) -> String {
        format!("{}:took/{}", self.config().namespace, kind % DURATION_KEYS)
    }
}
