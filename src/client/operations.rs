//! What the journal knows: the operations that were not seen to end, and another look at one whose outcome is unknown.

use super::Core;
use super::answer::{Outcome, journal_failed};
use super::reading::event;
use crate::api::{JobFacts, Step, check_id, is_uuid};
use crate::charge::{Entry, State};
use crate::error::{Failure, refuse};
use crate::host::{Answer, Host, JournalCall};
use crate::value::{Kept, Value};

/// How long, and how many, operations are kept that were seen to end: so long their ids bring their jobs back.
const KEPT_MS: f64 = 30.0 * 86_400_000.0;
const KEPT: u32 = 500;

/// Reads all operations, one after another; finds the open ones, and removes what has expired.
pub struct Listing<V: Value> {
    keys: Kept<V>,
    /// The one that is being read, from 1; 0 while the keys are listed.
    at: usize,
    found: Kept<V>,
    /// Operations that ended and are kept.
    ended: u32,
    begun: bool,
}

impl<V: Value> Listing<V> {
    pub fn new() -> Self {
        Self { keys: Kept::nothing(), at: 0, found: V::list().into(), ended: 0, begun: false }
    }
}

/// Looks again at one operation.
pub struct Settling<V: Value> {
    operation: Kept<V>,
    /// The job, where the caller has found it.
    job: Kept<V>,
    /// What the journal has, and its job.
    entry: Option<Entry<V>>,
    held: Kept<V>,
    stage: Stage,
}

enum Stage {
    Begin,
    Read,
    Look,
    List,
    Write,
}

impl<V: Value> Settling<V> {
    /// # Errors
    /// `InvalidRequestError` where the id of the job is none.
    pub fn new(operation: V, job: V) -> Result<Self, Failure<V>> {
        if job.is_there() {
            check_id(job)?;
        }
        Ok(Self { operation: operation.into(), job: job.into(), held: Kept::nothing(), entry: None, stage: Stage::Begin })
    }

    fn hold(&mut self, entry: Entry<V>, job: V) {
        self.held = job.into();
        self.entry = Some(Entry { job: *self.held, ..entry });
    }

    /// Whether a job shows that the operation made it: only what is rendered or being rendered proves a render, and
    /// where the operation stood in the webhook's address, the job has it there. A webhook that brings another one's
    /// id proves nothing.
    fn is_proven_by(&self, job: V, facts: &JobFacts) -> bool {
        self.entry.is_some_and(|entry| match entry.step {
            Step::Render => facts.is_rendered_or_rendering(),
            _ => entry.hook.is_nan() || job.get("webhook_url").hash(0.0) == entry.hook,
        })
    }

    fn bind(&mut self, job: V) {
        if let Some(entry) = self.entry {
            let seen = entry.step == Step::Render && job.get("webhook_url").hash(0.0) != entry.hook;
            self.hold(Entry { state: State::Bound, seen, ..entry }, job.get("id"));
        }
    }
}

impl<H: Host> Core<H> {
    pub(super) fn list_on(
        &mut self,
        task: u32,
        listing: &mut Listing<H::Value>,
        answer: Answer<H::Value>,
    ) -> Option<Outcome<H::Value>> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(thrown) => return Some(Err(journal_failed(thrown))),
        };
        if !listing.begun {
            listing.begun = true;
            let nothing = H::Value::nothing();
            self.host.journal(task, JournalCall::List, self.key(H::Value::text("")), nothing);
            return None;
        }
        if listing.at == 0 {
            listing.keys = answer.into();
        } else if let Some(mut entry) = Entry::decode(answer) {
            let key = listing.keys.nth(listing.at - 1);
            let operation = key.replaced(r"^[^/]*/", H::Value::text(""));
            if entry.state != State::Ended {
                self.doubt(operation, &mut entry);
                self.recall(operation, &entry);
                listing.found = listing.found.and(record(operation, &entry)).into();
            } else if self.known.is_posting(operation) {
                // It has expired for another listing, and is being written anew.
            } else if self.host.wall() - entry.at > KEPT_MS || listing.ended >= KEPT {
                // What was read and nothing else: by now another client may have removed it, and a charge have taken its place.
                self.host.journal(0, JournalCall::Delete, key, answer);
            } else {
                listing.ended += 1;
            }
        } else if answer.is_there() && self.hears {
            self.host.event(event::<H>("skipped").with("key", listing.keys.nth(listing.at - 1)));
        }
        let key = listing.keys.nth(listing.at);
        if !key.is_there() {
            return Some(Ok(*listing.found));
        }
        listing.at += 1;
        self.host.journal(task, JournalCall::Read, key, H::Value::nothing());
        None
    }

    /// What is posted, and not by this client, is as good as unknown.
    fn doubt(&self, operation: H::Value, entry: &mut Entry<H::Value>) {
        if entry.state == State::Posting && !self.known.is_posting(operation) {
            entry.state = State::Unknown;
        }
    }

    fn recall(&mut self, operation: H::Value, entry: &Entry<H::Value>) {
        self.known.recall(operation, entry, self.host.now());
    }

    pub(super) fn settle_on(
        &mut self,
        task: u32,
        settling: &mut Settling<H::Value>,
        answer: Answer<H::Value>,
    ) -> Option<Outcome<H::Value>> {
        let nothing = H::Value::nothing();
        let key = self.key(*settling.operation);
        match (&settling.stage, answer) {
            (Stage::Begin, _) => {
                settling.stage = Stage::Read;
                self.host.journal(task, JournalCall::Read, key, nothing);
                return None;
            }
            (Stage::Read | Stage::Write, Err(thrown)) => return Some(Err(journal_failed(thrown))),
            (Stage::Read, Ok(found)) => {
                let Some(mut entry) = Entry::decode(found) else {
                    let advice = "is not in the journal: it was never sent, was refused, or has expired";
                    return Some(Err(refuse("operation", advice).with("operation", *settling.operation)));
                };
                self.doubt(*settling.operation, &mut entry);
                if entry.state != State::Unknown {
                    return Some(Ok(record(*settling.operation, &entry)));
                }
                let since = entry.at;
                // A render's job is known from the start.
                let job = entry.job.or(|| *settling.job);
                settling.hold(entry, entry.job);
                if job.is_there() {
                    settling.stage = Stage::Look;
                    self.look_well(task, job);
                    return None;
                }
                settling.stage = Stage::List;
                if self.host.list_jobs(task, since) {
                    return None;
                }
            }
            (Stage::Look, Err(failure)) => return Some(Err(Failure(failure))),
            (Stage::Look, Ok(job)) => {
                if JobFacts::read(job).is_some_and(|facts| settling.is_proven_by(job, &facts)) {
                    settling.bind(job);
                }
            }
            (Stage::List, Err(thrown)) => {
                return Some(Err(refuse("listJobs", "failed; the operation is still unknown").with("cause", thrown)));
            }
            (Stage::List, Ok(jobs)) => {
                for index in 0.. {
                    let job = jobs.nth(index);
                    if !job.is_there() {
                        break;
                    }
                    let hook = job.get("webhook_url").hash(0.0);
                    if settling.entry.as_ref().is_some_and(|entry| entry.hook == hook) && is_uuid(job.get("id")) {
                        settling.bind(job);
                        break;
                    }
                }
            }
            (Stage::Write, Ok(_)) => {
                return settling.entry.as_ref().map(|entry| Ok(record(*settling.operation, entry)));
            }
        }
        settling.stage = Stage::Write;
        let entry = settling.entry.as_ref()?;
        // Still unknown: nothing is written, for another client may know more by now.
        if entry.state == State::Unknown {
            return Some(Ok(record(*settling.operation, entry)));
        }
        self.recall(*settling.operation, entry);
        self.host.journal(task, JournalCall::Write, key, entry.encode());
        None
    }
}

/// An operation, for people.
fn record<V: Value>(operation: V, entry: &Entry<V>) -> V {
    entry.told(V::record().with("operation", operation)).with("jobId", entry.job)
}
