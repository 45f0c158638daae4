//! What really happened, beside what the clients believe, and the rules that may never be broken.

use std::collections::BTreeMap;
use std::rc::Rc;

use custom_template_jobs::host::Request;
use custom_template_jobs::value::place::Whole as _;
use sandbox::engine::Engine;
use sandbox::prices::Step;

use crate::value::Json;
use crate::world::Posted;

/// What one fetch that charges came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody has heard, or what was heard proves nothing.
    Open,
    /// It never left.
    NotSent,
    /// The client heard a refusal.
    Refused,
}

/// One fetch that charges.
#[derive(Debug)]
pub struct Fetch {
    outcome: Outcome,
    /// The places in the ledger of what it charged.
    charges: Vec<usize>,
    /// The transport sent it twice, which no client can see.
    replayed: bool,
    /// Whether its client has heard anything of it, and of which job it was.
    heard: bool,
    named: Option<String>,
    /// Whether the server said that the render is carried out. By a key it may have been charged with a fetch before.
    done: bool,
    /// Whose it is: a tab, and a task of its client.
    by: (usize, u32),
}

/// What is true of an operation.
#[derive(Debug, Default)]
pub struct Operation {
    fetches: Vec<Fetch>,
    render: Option<Rc<str>>,
    /// Whether its webhook's address carries it.
    pub token: bool,
    /// What a webhook said.
    pub webhook: Option<Rc<str>>,
    /// Whether a caller was given its job.
    pub told: bool,
    /// Whether a caller was told that nobody knows.
    pub told_unknown: bool,
}

/// What is true.
#[derive(Debug, Default)]
pub struct Truth {
    pub operations: BTreeMap<Rc<str>, Operation>,
    pub namespace: String,
    /// Whether the server honours an `Idempotency-Key`.
    pub keys: bool,
    /// The first rule that was broken.
    pub violation: Option<String>,
}

/// The statuses that are taken to charge nothing, by the word of the README.
fn is_refusal(status: f64) -> bool {
    matches!(status as u16, 400..=405 | 413..=415 | 422 | 429 | 431)
}

fn is_taken(state: &str) -> bool {
    matches!(state, "bound" | "ended")
}

/// The operation that somebody wished for: a failed render that is asked for again is an operation of its own.
fn wish_of(id: &str) -> &str {
    id.trim_end_matches(":again")
}

impl Truth {
    pub fn violated(&mut self, words: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(words());
        }
    }

    /// A fetch that charges leaves; its place. It must be the first of its operation, unless no former one charged, and
    /// the journal must have it.
    pub fn fetched(
        &mut self,
        id: &Rc<str>,
        request: &Request<Json>,
        journal: &BTreeMap<Rc<str>, Json>,
        engine: &Engine,
        by: (usize, u32),
    ) -> usize {
        let tab = by.0;
        let wish = wish_of(id);
        let mut same = self.operations.iter().filter(|(other, _)| wish_of(other) == wish);
        let free = same.all(|(_, operation)| operation.fetches.iter().all(|fetch| operation.is_free(fetch, engine)));
        let operation = self.operations.entry(Rc::clone(id)).or_default();
        let url = request.body.get("webhook_url");
        operation.token = url.as_text().ends_with(&format!("/{id}"));
        operation.render =
            request.url.as_text().strip_suffix("/render/").and_then(|url| url.rsplit('/').next()).map(Rc::from);
        operation.fetches.push(Fetch {
            outcome: Outcome::Open,
            charges: Vec::new(),
            replayed: false,
            heard: false,
            named: None,
            done: false,
            by,
        });
        let place = operation.fetches.len() - 1;
        let entry = journal.get(format!("{}/{id}", self.namespace).as_str());
        let written = entry.is_some_and(|entry| entry.get("state").as_text() == "posting");
        if !free {
            self.violated(|| format!("tab {tab} sends a second charge of {id}"));
        }
        if !written {
            self.violated(|| format!("tab {tab} sends {id}, which the journal does not know as posting"));
        }
        place
    }

    fn fetch(&mut self, posted: &Posted) -> Option<&mut Fetch> {
        self.operations.get_mut(&posted.0)?.fetches.get_mut(posted.1)
    }

    pub fn came_to(&mut self, posted: Option<&Posted>, outcome: Outcome) {
        if let Some(fetch) = posted.and_then(|posted| self.fetch(posted)) {
            fetch.outcome = outcome;
        }
    }

    pub fn replayed(&mut self, posted: Option<&Posted>) {
        if let Some(fetch) = posted.and_then(|posted| self.fetch(posted)) {
            fetch.replayed = true;
        }
    }

    /// A client hears how its fetch ended.
    pub fn answered(&mut self, posted: &Posted, reply: &Json, engine: &Engine) {
        let render = self.operations.get(&posted.0).and_then(|operation| operation.render.clone());
        let Some(fetch) = self.fetch(posted) else { return };
        let named = reply.get("body").get("id");
        fetch.heard = true;
        fetch.done =
            (200.0..300.0).contains(&reply.number_of("status")) && render.is_some_and(|job| named.as_text() == &*job);
        let jobs = fetch.charges.iter().filter_map(|place| engine.ledger().charges().get(*place));
        fetch.named = jobs.map(|charge| charge.job.to_string()).find(|job| {
            // Of an answer that breaks off the id may have arrived.
            let whole = reply.get("body").get("id").as_text() == job;
            (200.0..300.0).contains(&reply.number_of("status"))
                && (whole || reply.get("text").as_text().contains(&format!(r#""id":"{job}""#)))
        });
        let refused = is_refusal(reply.number_of("status"));
        if fetch.outcome == Outcome::Open && refused && (fetch.charges.is_empty() || fetch.replayed) {
            fetch.outcome = Outcome::Refused;
        }
    }

    /// The jobs that answers named to that tab as its own.
    pub fn named_to(&self, tab: usize) -> Vec<String> {
        let fetches = self.operations.values().flat_map(|operation| &operation.fetches);
        fetches.filter(|fetch| fetch.by.0 == tab).filter_map(|fetch| fetch.named.clone()).collect()
    }

    /// An answer comes to a tab where no task waits for it. It may be late, but not left for dead.
    pub fn unheard(&mut self, posted: &Posted, reply: &Json) {
        let named = (200.0..300.0).contains(&reply.number_of("status")) && reply.get("body").get("id").is_there();
        if named && self.fetch(posted).is_some_and(|fetch| !fetch.heard) {
            self.violated(|| format!("nobody hears which job {} was charged for", posted.0));
        }
    }

    /// Whether somebody would look at an operation again with that job: whoever forges a webhook needs an address in which the
    /// operation stands, and it does not where its id was taken for another request meanwhile.
    pub fn is_credible(&self, id: &str, job: &str) -> bool {
        self.operations.get(id).is_none_or(|operation| {
            operation.token || [&operation.webhook, &operation.render].into_iter().flatten().any(|known| **known == *job)
        })
    }

    /// A caller is told that nobody knows.
    pub fn told_unknown(&mut self, id: &str, by: (usize, u32)) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        operation.told_unknown = true;
        if operation.fetches.iter().any(|fetch| fetch.by == by && fetch.named.is_some()) {
            self.violated(|| format!("the answer to {id} named its job, and its caller is told that nobody knows"));
        }
    }

    /// A caller is told that nothing was sent.
    pub fn told_unsent(&mut self, id: &str, by: (usize, u32)) {
        let Some(operation) = self.operations.get(id) else { return };
        if operation.fetches.iter().any(|fetch| fetch.by == by && fetch.outcome == Outcome::Open) {
            self.violated(|| format!("the caller of {id} is told that nothing was sent, and it was"));
        }
    }

    /// The server has charged. Whether that is the fetch's own doing, and not the transport's.
    pub fn charged(&mut self, posted: &Posted, charge: usize) -> bool {
        let keys = self.keys;
        let Some(fetch) = self.fetch(posted) else { return false };
        fetch.charges.push(charge);
        let first = fetch.charges.len() == 1;
        let own = first && !fetch.replayed;
        if fetch.outcome == Outcome::NotSent || !first && (keys || !fetch.replayed) {
            self.violated(|| format!("{} was charged twice by one fetch", posted.0));
        }
        own
    }

    /// A webhook brings the job of an operation.
    pub fn heard(&mut self, id: &Rc<str>, job: &Rc<str>) {
        if let Some(operation) = self.operations.get_mut(id) {
            operation.webhook = Some(Rc::clone(job));
        }
    }

    fn operation_of<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(self.namespace.as_str()).and_then(|key| key.strip_prefix('/')).unwrap_or_default()
    }

    /// Whether an operation was carried out for that job. A render that is returned unpaid was asked for by somebody else.
    pub fn is_rightful(&self, id: &str, job: &str, render: bool, engine: &Engine) -> bool {
        let Some(operation) = self.operations.get(id) else { return render && is_rendered(job, engine) };
        operation.has_charged(job, engine) || render && is_rendered(job, engine)
    }

    /// An entry is about to be written over another.
    pub fn written(&mut self, key: &str, old: Option<&Json>, new: &Json, engine: &Engine) {
        let id = self.operation_of(key);
        let (state, job) = (new.get("state"), new.get("job"));
        let render = new.get("step").as_text() == "render";
        if is_taken(state.as_text()) {
            if !self.is_rightful(id, job.as_text(), render, engine) {
                self.violated(|| format!("the journal binds {id} to {}, which it did not pay for", job.as_text()));
            }
        } else if old.is_some_and(|old| is_taken(old.get("state").as_text())) {
            self.violated(|| format!("the journal forgets the job of {id}"));
        }
    }

    /// An entry is about to be deleted: nothing may have been charged for it, unless it was given back.
    pub fn deleted(&mut self, key: &str, old: Option<&Json>, engine: &Engine) {
        let id = self.operation_of(key);
        let Some(operation) = self.operations.get(id).filter(|_| old.is_some()) else { return };
        if !operation.fetches.iter().all(|fetch| operation.is_free(fetch, engine)) {
            self.violated(|| format!("the journal forgets {id}, which may have been charged"));
        }
    }

    /// Every charge belongs to an operation that the journal knows or whose caller has its job.
    pub fn check_ledger(&mut self, journal: &BTreeMap<Rc<str>, Json>) {
        let mut lost = None;
        for (id, operation) in &self.operations {
            let charged = operation.fetches.iter().any(|fetch| !fetch.charges.is_empty() && !fetch.replayed);
            let known = journal.contains_key(format!("{}/{id}", self.namespace).as_str());
            if charged && !known && !operation.told {
                lost = Some(Rc::clone(id));
            }
        }
        if let Some(id) = lost {
            self.violated(|| format!("{id} was charged, and nobody knows"));
        }
    }

    /// The job that an operation was charged for, where something can bring it: a webhook, a list, or the render itself.
    pub fn settleable(&self, id: &str, lists: bool, engine: &Engine) -> bool {
        let Some(operation) = self.operations.get(id) else { return false };
        let charged = operation.fetches.iter().any(|fetch| !fetch.charges.is_empty() && !fetch.replayed);
        let render = operation.render.as_deref();
        charged
            && match render {
                Some(job) => is_rendering_or_rendered(job, engine),
                // A webhook is unsigned, so where the operation stood in its address, the job must have it there, as in a
                // list. A render may have given the job another address; then nothing shows whose it is.
                None if operation.token => {
                    let has_it = |job: &str| {
                        let hook = find(job, engine).and_then(|job| job.webhook_url.as_deref());
                        hook.is_some_and(|hook| hook.ends_with(&format!("/{id}")))
                    };
                    let places = operation.fetches.iter().flat_map(|fetch| &fetch.charges);
                    let mut jobs = places.filter_map(|place| engine.ledger().charges().get(*place));
                    operation.webhook.as_deref().is_some_and(has_it)
                        || lists && jobs.any(|charge| has_it(&charge.job.to_string()))
                }
                None => operation.webhook.is_some(),
            }
    }
}

impl Operation {
    fn is_free(&self, fetch: &Fetch, engine: &Engine) -> bool {
        match fetch.outcome {
            Outcome::NotSent | Outcome::Refused => true,
            // A render that is seen to have failed may be asked for again.
            Outcome::Open => {
                let charges = engine.ledger().charges();
                let refunded = |place: &usize| charges.get(*place).is_some_and(|charge| charge.refunded_at.is_some());
                let lost = |job: &sandbox::job::Job| job.phase().is_some_and(|phase| phase.is_lost(engine.time(0)));
                let job = self.render.as_deref().and_then(|job| find(job, engine));
                let paid = !fetch.charges.is_empty();
                let seen = job.is_some_and(|job| lost(job) || paid && fetch.charges.iter().all(refunded));
                (fetch.done || paid) && seen
            }
        }
    }

    fn has_charged(&self, job: &str, engine: &Engine) -> bool {
        let mut places = self.fetches.iter().flat_map(|fetch| &fetch.charges);
        places.any(|place| engine.ledger().charges().get(*place).is_some_and(|charge| charge.job.to_string() == job))
    }
}

fn find<'a>(job: &str, engine: &'a Engine) -> Option<&'a sandbox::job::Job> {
    engine.jobs().iter().find(|other| other.id.to_string() == job)
}

/// Whether a video was ever asked for.
fn is_rendered(job: &str, engine: &Engine) -> bool {
    find(job, engine).is_some_and(|job| job.phases.iter().any(|phase| phase.step != Step::Preview))
}

/// The job that a path names, where it can be rendered by now without paying twice, as far as its status tells.
pub fn unrendered<'a>(path: &'a str, engine: &Engine, odd: bool) -> Option<&'a str> {
    let job = path.strip_prefix("/api/custom_template_jobs/")?.strip_suffix('/')?;
    (find(job, engine).is_some() && (odd || !is_rendering_or_rendered(job, engine))).then_some(job)
}

/// Whether the job itself shows that its render was carried out.
fn is_rendering_or_rendered(job: &str, engine: &Engine) -> bool {
    let rendering =
        |job: &sandbox::job::Job| job.phase().is_some_and(|phase| phase.step == Step::Render && phase.odd_status.is_none());
    let now = engine.time(0);
    find(job, engine).is_some_and(|job| rendering(job) && !job.phase().is_some_and(|phase| phase.is_lost(now)))
}
