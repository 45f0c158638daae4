//! The rules of the simulation, and the record of what really happened that they are checked against.

use std::collections::{BTreeMap, BTreeSet};

use custom_template_jobs::api::Step;
use custom_template_jobs::error::Charged;
use custom_template_jobs::host::{Answer, Body, JournalReply};
use sandbox::engine::Engine;
use sandbox::job::Job;
use sandbox::prices::Step as Phase;
use serde_json::Value;
use test_host::fixtures::Failure;
use test_host::journal::Call;
use test_host::world::Logged;
use test_host::{Event, Journal, Method, Reply, Sent};

/// The outcome of a charging request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No client has received it, or it is not conclusive.
    Open,
    /// It was never sent.
    NotSent,
    /// The client received a refusal.
    Refused,
}

/// A charging request.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the facts are independent")]
pub struct Fetch {
    pub at: f64,
    pub host: usize,
    /// Whether it renders. Once an operation is discarded, its id may be sent again for another step.
    renders: bool,
    outcome: Outcome,
    /// The token of the journal entry under which it was sent; empty if that was discarded before.
    owner: String,
    /// Its indexes in the ledger.
    charges: Vec<usize>,
    /// The transport sent it twice, which no client can detect.
    replayed: bool,
    /// The answer named the job of another request.
    crossed: bool,
    /// When its attempt was discarded.
    discarded_at: Option<f64>,
    /// When its client received the answer, and the job id in it.
    answered_at: Option<f64>,
    named: Option<String>,
    /// Its process crashed.
    crashed: bool,
}

/// The recorded facts about an operation.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the facts are independent")]
pub struct Operation {
    pub fetches: Vec<Fetch>,
    pub render: Option<String>,
    /// Whether its webhook URL carries its id.
    pub token: bool,
    /// The job that a webhook named.
    pub webhook: Option<String>,
    /// Whether its job was returned to a caller.
    pub returned: bool,
    /// How many calls are discarding or settling it.
    pub discarding: u32,
    pub settling: u32,
    /// Whether it was ever discarded.
    discarded: bool,
    /// Whether a journal call for it failed.
    pub journal_failed: bool,
}

/// The operation's id, and the index among its requests.
pub type FetchId = (String, usize);

/// The record, and the first rule that was broken.
#[derive(Debug, Default)]
pub struct Checker {
    pub operations: BTreeMap<String, Operation>,
    pub namespace: String,
    /// Whether the server honours an `Idempotency-Key`.
    pub keys: bool,
    /// How long the client waits for the answer to a charge, in milliseconds.
    pub patience: f64,
    /// The first rule that was broken.
    pub violation: Option<String>,
}

/// The statuses that are assumed to charge nothing, as the README lists them.
const fn is_refusal(status: u16) -> bool {
    matches!(status, 400..=405 | 413..=415 | 422 | 429 | 431)
}

/// An operation's entry in the journal.
#[derive(Debug)]
pub struct Entry(Value);

impl Entry {
    pub fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    pub fn job(&self) -> &str {
        self.text("job")
    }

    /// Whether its job is known.
    pub fn is_bound(&self) -> bool {
        matches!(self.text("state"), "bound" | "ended")
    }

    pub fn is_ended(&self) -> bool {
        self.text("state") == "ended"
    }

    fn is_render(&self) -> bool {
        self.text("step") == Step::Render.as_str()
    }
}

impl Checker {
    pub fn violated(&mut self, rule: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(rule());
        }
    }

    /// The journal key of an operation's entry.
    pub fn key(&self, operation: &str) -> String {
        format!("{}/{operation}", self.namespace)
    }

    /// The operation that a journal key belongs to.
    pub fn operation_of<'a>(&self, key: &'a str) -> Option<&'a str> {
        let rest = key.strip_prefix(self.namespace.as_str())?;
        rest.strip_prefix('/').or_else(|| rest.strip_prefix(":open/")).or_else(|| {
            let (_, marked) = rest.strip_prefix(":ended/")?.split_once('/')?;
            Some(marked.split_once('/')?.1)
        })
    }

    fn fetch(&mut self, id: &FetchId) -> Option<&mut Fetch> {
        self.operations.get_mut(&id.0)?.fetches.get_mut(id.1)
    }

    /// Records a charging request. It must be the first of its operation, unless the former ones were refused, proven unsent or
    /// discarded; and the journal must have its entry and its marker.
    pub fn sent(&mut self, sent: &Sent, journal: &Journal) -> FetchId {
        let id = sent.operation.clone().unwrap_or_default();
        let entry = journal.get(&self.key(&id)).map(|text| Entry::parse(&text));
        let marked = journal.get(&format!("{}:open/{id}", self.namespace)).is_some();
        let operation = self.operations.entry(id.clone()).or_default();
        let free = operation.fetches.iter().all(Fetch::is_free);
        // If the job shows a render, another call may have settled the operation just before.
        let settled = |entry: &Entry| entry.is_bound() && entry.is_render();
        let written = entry.as_ref().is_some_and(|entry| entry.text("state") == "sending" || settled(entry));
        // Another call may have discarded it just before.
        let discarded = operation.discarded && !written;
        let body: Value = sent.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        operation.token = body["webhook_url"].as_str().is_some_and(|url| url.ends_with(&format!("/{id}")));
        operation.render = sent.path.ends_with("/render/").then(|| sent.job_id().to_owned());
        operation.fetches.push(Fetch {
            at: sent.at,
            host: sent.host,
            renders: operation.render.is_some(),
            outcome: Outcome::Open,
            owner: if written {
                entry.map(|entry| entry.text("owner").to_owned()).unwrap_or_default()
            } else {
                String::new()
            },
            charges: Vec::new(),
            replayed: false,
            crossed: false,
            discarded_at: discarded.then_some(sent.at),
            answered_at: None,
            named: None,
            crashed: false,
        });
        let place = operation.fetches.len() - 1;
        if !free {
            self.violated(|| format!("host {} sends a second charge of {id}", sent.host));
        }
        if !discarded && !written {
            self.violated(|| format!("host {} sends {id}, which the journal does not have as sending", sent.host));
        }
        if !discarded && !marked {
            self.violated(|| format!("host {} sends {id}, which pending() would not list", sent.host));
        }
        (id, place)
    }

    pub fn not_sent(&mut self, id: &FetchId) {
        if let Some(fetch) = self.fetch(id) {
            fetch.outcome = Outcome::NotSent;
        }
    }

    pub fn replayed(&mut self, id: &FetchId) {
        if let Some(fetch) = self.fetch(id) {
            fetch.replayed = true;
        }
    }

    /// Records that the answer will be about another job, so that neither clients nor budgets can know of this charge.
    pub fn crossed(&mut self, id: &FetchId) {
        if let Some(fetch) = self.fetch(id) {
            fetch.crossed = true;
        }
    }

    pub fn crashed(&mut self, host: usize) {
        for fetch in self.operations.values_mut().flat_map(|operation| &mut operation.fetches) {
            fetch.crashed |= fetch.host == host;
        }
    }

    /// Records that a client received the reply to its request, if it still waits.
    pub fn answered(&mut self, id: &FetchId, now: f64, reply: &Reply) {
        let patience = self.patience;
        let render = self.operations.get(&id.0).and_then(|operation| operation.render.clone());
        let Some(fetch) = self.fetch(id).filter(|fetch| !fetch.crashed) else { return };
        fetch.answered_at = (now - fetch.at < patience).then_some(now);
        let Reply::Answer(answer) = reply else { return };
        if (200..300).contains(&answer.status) {
            fetch.named = named(answer).filter(|job| render.is_none_or(|render| render == *job));
        }
        if fetch.outcome == Outcome::Open && is_refusal(answer.status) && (fetch.charges.is_empty() || fetch.replayed) {
            fetch.outcome = Outcome::Refused;
        }
    }

    /// Records a charge: at most one for a request, unless the transport sent it twice to a server without keys.
    pub fn charged(&mut self, id: &FetchId, charge: usize) {
        let keys = self.keys;
        let Some(fetch) = self.fetch(id) else { return };
        fetch.charges.push(charge);
        if fetch.outcome == Outcome::NotSent || fetch.charges.len() > 1 && (keys || !fetch.replayed) {
            self.violated(|| format!("{} was charged twice by one request", id.0));
        }
    }

    /// The credits that the requests of some hosts have charged, as far as a client can know.
    pub fn spent(&self, hosts: &BTreeSet<usize>, engine: &Engine) -> f64 {
        let counts = |fetch: &&Fetch| {
            let hidden = fetch.crossed || fetch.replayed || fetch.discarded_at.is_some();
            !hidden && hosts.contains(&fetch.host)
        };
        let fetches = self.operations.values().flat_map(|operation| &operation.fetches).filter(counts);
        fetches.flat_map(|fetch| &fetch.charges).filter_map(|at| engine.ledger().charges().get(*at)).map(|c| c.credits).sum()
    }

    /// Whether a user would settle an operation with that job. A forged webhook needs a URL that carries the operation; if the
    /// URL carries none, nothing protects from a wrong id.
    pub fn is_credible(&self, id: &str, job: &str) -> bool {
        self.operations.get(id).is_none_or(|operation| {
            operation.token || [&operation.webhook, &operation.render].into_iter().flatten().any(|known| known == job)
        })
    }

    /// Whether an operation may be bound to this job: it was charged for it, or its answer named it. A render that is returned
    /// without a charge was requested by another operation. `owner` limits this to one attempt.
    pub fn is_rightful(&self, id: &str, job: &str, render: bool, owner: Option<&str>, engine: &Engine) -> bool {
        if render && find(job, engine).is_some_and(|job| job.phases.iter().any(|phase| phase.step != Phase::Preview)) {
            return true;
        }
        let Some(operation) = self.operations.get(id) else { return false };
        // A server that honours keys may answer for another attempt of the same operation.
        let owner = owner.filter(|_| operation.settling == 0 && !self.keys);
        let fetches = operation.fetches.iter().filter(|fetch| owner.is_none_or(|owner| owner == fetch.owner));
        let charged = |at: &usize| engine.ledger().charges().get(*at).is_some_and(|charge| charge.job.to_string() == job);
        fetches.into_iter().any(|fetch| fetch.named.as_deref() == Some(job) || fetch.charges.iter().any(charged))
    }

    /// Checks what a failure of a host's call states about the charge: never "no" if it was charged or may yet be, unless
    /// another host has sent it since the call began, and never "yes" if it was not charged.
    pub fn check_charged(&mut self, failure: &Failure, host: usize, begun: f64) {
        let Some(id) = failure.operation() else { return };
        let Some(operation) = self.operations.get(id) else { return };
        // A request that the transport sent twice, or whose answer was about another job, misleads every client.
        let misled = operation.fetches.iter().any(|fetch| fetch.replayed || fetch.crossed);
        let charged = operation.fetches.iter().any(|fetch| !fetch.charges.is_empty());
        let wrong = match failure.charged() {
            Charged::No => operation
                .fetches
                .iter()
                .filter(|fetch| fetch.host == host || fetch.at < begun)
                .any(|fetch| !fetch.is_free() || fetch.discarded_at.is_none() && !fetch.charges.is_empty()),
            Charged::Yes => !charged,
            Charged::Maybe => false,
        };
        if wrong && !misled {
            self.violated(|| format!("a caller of {id} gets a wrong `charged`: {failure:?}"));
        }
    }

    /// Records a journal call that took effect.
    pub fn journaled(&mut self, now: f64, call: &Call, old: Option<&str>, reply: &JournalReply, engine: &Engine) {
        let Some(id) = call.key.strip_prefix(self.namespace.as_str()).and_then(|key| key.strip_prefix('/')) else { return };
        if call.method == Method::Write {
            self.violated(|| format!("the entry of {id} is overwritten without a compare-and-set"));
        }
        if *reply != JournalReply::Done(true) {
            return;
        }
        let old = old.map(Entry::parse);
        let new = match call.method {
            Method::Create => call.entry.as_deref(),
            Method::Replace => call.new.as_deref(),
            _ => None,
        };
        match (new.map(Entry::parse), old) {
            (Some(new), old) => {
                let owner = new.text("owner").to_owned();
                if old.as_ref().is_some_and(|old| old.text("owner") != owner) {
                    self.violated(|| format!("the entry of {id} is changed by another attempt"));
                }
                if old.as_ref().is_some_and(|old| old.is_bound() && (!new.is_bound() || new.job() != old.job())) {
                    self.violated(|| format!("the journal loses the job of {id}"));
                }
                // A job that was bound before has been checked then.
                let known = old.is_some_and(|old| old.is_bound() && old.job() == new.job());
                if new.is_bound() && !known && !self.is_rightful(id, new.job(), new.is_render(), Some(&owner), engine) {
                    self.violated(|| format!("the journal binds {id} to {}, for which it was not charged", new.job()));
                }
            }
            (None, Some(old)) => self.deleted(now, id, &old),
            (None, None) => {}
        }
    }

    /// Checks a deletion: nothing may have been charged for the entry, unless it is being discarded.
    fn deleted(&mut self, now: f64, id: &str, old: &Entry) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        let mut lost = old.is_bound() && operation.fetches.iter().any(|fetch| fetch.owner == old.text("owner"));
        for fetch in operation.fetches.iter_mut().filter(|fetch| fetch.owner == old.text("owner") && !fetch.is_free()) {
            lost |= operation.discarding == 0;
            fetch.discarded_at = Some(now);
        }
        operation.discarded |= operation.discarding > 0;
        if lost {
            self.violated(|| format!("the journal loses {id}, which may have been charged"));
        }
    }

    /// The requests of an operation that a host has sent since `begun`.
    pub fn fetches_since(&self, id: &str, host: usize, begun: f64) -> impl Iterator<Item = &Fetch> {
        let fetches = self.operations.get(id).into_iter().flat_map(|operation| &operation.fetches);
        fetches.filter(move |fetch| fetch.host == host && fetch.at >= begun)
    }

    /// Whether the journal has the job of an operation.
    pub fn is_bound(&self, id: &str, journal: &Journal) -> bool {
        journal.get(&self.key(id)).is_some_and(|text| Entry::parse(&text).is_bound())
    }

    /// Every charge is of an operation that the journal has, whose job was returned, or that was discarded.
    pub fn check_ledger(&mut self, journal: &Journal) {
        let is_lost = |(id, operation): &(&String, &Operation)| {
            let counts = |fetch: &Fetch| !fetch.charges.is_empty() && !fetch.replayed && fetch.discarded_at.is_none();
            operation.fetches.iter().any(counts) && !operation.returned && journal.get(&self.key(id)).is_none()
        };
        if let Some((id, _)) = self.operations.iter().find(is_lost) {
            let rule = format!("{id} was charged, but the journal does not have it and its job was not returned");
            self.violated(|| rule);
        }
    }

    /// The job that an answer named is in the journal, or a late answer to a discarded attempt has emitted a warning.
    pub fn check_answers(&mut self, journal: &Journal, log: &[Logged]) {
        let mut broken = None;
        for (id, operation) in self.operations.iter().filter(|(_, operation)| !operation.journal_failed) {
            let entry = journal.get(&self.key(id)).map(|text| Entry::parse(&text));
            let bound = |job: &str| entry.as_ref().is_some_and(|entry| entry.is_bound() && entry.job() == job);
            // A webhook may have settled it before with another job.
            let answered =
                |fetch: &&Fetch| fetch.answered_at.is_some() && !fetch.crashed && !fetch.replayed && !fetch.crossed;
            for fetch in operation.fetches.iter().filter(answered) {
                let Some(job) = &fetch.named else { continue };
                if bound(job) {
                    continue;
                }
                let warned = log.iter().any(|logged| {
                    matches!(&logged.event, Event::Warning { code: "late_answer", operation: Some(about), job_id: Some(of), .. }
                        if about == id && of == job)
                });
                // If an operation was discarded although it was charged, the job of the former attempt may have settled its id.
                let reused = operation.fetches.iter().any(Fetch::was_discarded_wrongly);
                if fetch.discarded_at.is_none() && !reused {
                    broken = Some(format!("the answer to {id} named {job}, but the journal has {entry:?}"));
                } else if !warned {
                    broken = Some(format!("{id} was discarded and is charged for {job}, but no warning is emitted"));
                }
            }
        }
        if let Some(rule) = broken {
            self.violated(|| rule);
        }
    }

    /// If a charge is answered with a job that its client knows under another operation, the client emits a warning. A render
    /// is not bound by such an answer.
    pub fn check_warnings(&mut self, log: &[Logged]) {
        let mut bound: BTreeMap<(usize, &str), (f64, &str)> = BTreeMap::new();
        let mut broken = None;
        for (place, Logged { at, host, event }) in log.iter().enumerate() {
            let Event::Verdict { operation, job_id: Some(job), .. } = event else { continue };
            let known = self.operations.get(operation);
            let of_another = |fetch: &Fetch| {
                let is_answer = fetch.host == *host && fetch.answered_at == Some(*at);
                is_answer && fetch.renders && fetch.crossed && !fetch.replayed
            };
            if known.is_some_and(|operation| operation.fetches.iter().any(of_another)) {
                broken = Some(format!("{operation} is bound by an answer about another job"));
            }
            let render = known.is_some_and(|operation| operation.render.is_some());
            // The client knows a job once its entry is written and was not settled with another job before.
            let written = |(since, other): &(f64, &str)| {
                let is_sure = |one: &Operation| {
                    !one.journal_failed && !one.discarded && !one.fetches.iter().any(|fetch| fetch.crossed)
                };
                other != operation && *since < at - 10_000.0 && self.operations.get(*other).is_some_and(is_sure)
            };
            let known = bound.get(&(*host, job.as_str())).is_some_and(written);
            let warning = |logged: &Logged| matches!(&logged.event, Event::Warning { code: "known_job_id", operation: Some(about), .. } if about == operation);
            if known && !render && !log.iter().skip(place).take(3).any(warning) {
                broken = Some(format!("{operation} is bound to {job}, which is another's, without a warning"));
            }
            bound.entry((*host, job)).or_insert((*at, operation));
        }
        if let Some(rule) = broken {
            self.violated(|| rule);
        }
    }

    /// Whether an operation may have been charged and was not discarded.
    pub fn may_be_charged(&self, id: &str) -> bool {
        self.operations.get(id).is_some_and(|operation| operation.fetches.iter().any(|fetch| !fetch.is_free()))
    }

    /// Whether an operation was charged, as its user's account shows.
    pub fn has_charged(&self, id: &str) -> bool {
        self.operations.get(id).is_some_and(|operation| operation.fetches.iter().any(|fetch| !fetch.charges.is_empty()))
    }

    /// Whether a webhook, a list or the render itself can settle an operation that was charged.
    pub fn is_settleable(&self, id: &str, lists: bool, journal: &Journal, engine: &Engine) -> bool {
        let Some(operation) = self.operations.get(id) else { return false };
        let Some(entry) = journal.get(&self.key(id)).map(|text| Entry::parse(&text)) else { return false };
        let own = |fetch: &&Fetch| fetch.owner == entry.text("owner") && !fetch.replayed && !fetch.charges.is_empty();
        let Some(fetch) = operation.fetches.iter().find(own) else { return false };
        if let Some(job) = &operation.render {
            return find(job, engine).is_some_and(|job| shows_render(job, engine.time(0)));
        }
        // If the clock was wrong by hours, the job seems to be older than the operation.
        let clock = entry.0["createdAt"].as_f64().unwrap_or_default() - test_host::world::EPOCH - fetch.at;
        if clock.abs() > 1_800_000.0 {
            return false;
        }
        // A job that another operation is bound to settles nothing.
        let others = journal.operations();
        let is_free = |job: &str| !others.iter().any(|(other, entry)| other != id && entry["job"] == job);
        // A webhook is not signed. If the operation's id was in its URL, the job must have that URL too, as in a list. A render
        // may have given the job another URL; then nothing shows which operation it belongs to.
        let has_token = |job: &str| {
            let hook = find(job, engine).and_then(|job| job.webhook_url.as_deref());
            !operation.token || hook.is_some_and(|hook| hook.ends_with(&format!("/{id}")))
        };
        let can_be = |job: &str| is_free(job) && has_token(job);
        let mut charges = fetch.charges.iter().filter_map(|at| engine.ledger().charges().get(*at));
        operation.webhook.as_deref().is_some_and(can_be)
            || lists && operation.token && charges.any(|charge| can_be(&charge.job.to_string()))
    }
}

impl Fetch {
    /// Whether the operation may be sent again after it.
    const fn is_free(&self) -> bool {
        !matches!(self.outcome, Outcome::Open) || self.discarded_at.is_some()
    }

    /// Whether it may have been sent and charged, as far as its client can know.
    pub fn is_open(&self) -> bool {
        self.outcome == Outcome::Open
    }

    /// The job that its answer named before `now`.
    pub fn named_before(&self, now: f64) -> Option<&str> {
        self.named.as_deref().filter(|_| self.answered_at.is_some_and(|at| at < now))
    }

    /// Whether its attempt was discarded although it was charged: its job may come back under the same id.
    pub const fn was_discarded_wrongly(&self) -> bool {
        self.discarded_at.is_some() && !self.charges.is_empty()
    }

    /// Whether the answer was about another job.
    pub const fn is_crossed(&self) -> bool {
        self.crossed
    }
}

/// The job id in an answer; a body that was cut off may still contain it.
fn named(answer: &Answer<Value>) -> Option<String> {
    match &answer.body {
        Body::Json(body) => Some(body["id"].as_str()?.to_owned()),
        Body::Cut(text) | Body::Text(text) => {
            let (id, rest) = text.strip_prefix(r#"{"id":""#)?.split_at_checked(36)?;
            rest.starts_with('"').then(|| id.to_owned())
        }
    }
}

pub fn find<'a>(id: &str, engine: &'a Engine) -> Option<&'a Job> {
    engine.jobs().iter().find(|job| job.id.to_string() == id)
}

/// Whether the job itself shows that its last render was accepted. An undocumented status shows nothing.
pub fn shows_render(job: &Job, now: u64) -> bool {
    job.phase().is_some_and(|phase| phase.step == Phase::Render && phase.odd_status.is_none() && !phase.is_lost(now))
}

/// Whether the job shows that a render may be in progress, so that no other render may begin.
pub fn may_be_rendering(job: &Job, now: u64) -> bool {
    job.has_preview(now) && job.phase().is_some_and(|phase| now < phase.end && phase.odd_status.is_none())
}
