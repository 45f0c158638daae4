//! A charge, from its request to its verdict.

use std::cell::Cell;
use std::rc::Rc;

use futures_channel::oneshot;

use super::caller::Caller;
use super::history::KnownCharge;
use super::reading::with_body;
use super::rendering::Look;
use super::{Client, Outcome};
use crate::api::{self, Endpoint, Step};
use crate::charge::{self, Claim, Entry, Report, State, Verdict};
use crate::error::{Charged, Error, ErrorKind, Refusal};
use crate::host::{Answer, Body, Event, Host, JournalCall, JournalReply, Reply, Request, Store};
use crate::job::JobFacts;
use crate::retry;

/// The most resends of a charge that was proven unsent.
const RESENDS: u32 = 2;
/// The most retries if `create` finds the id taken but `read` finds no entry, since another client deleted its own in between.
const CREATES: u32 = 10;
/// The message of a call that timed out before it was sent.
const LATE: &str = "There was no time left; nothing was sent. A longer timeout may help.";

/// The options of a charging call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChargeOptions {
    /// The id of the operation.
    pub operation: String,
    /// Whether the caller chose the id.
    pub explicit: bool,
    /// Seconds of video, for the estimate.
    pub seconds: Option<f64>,
    /// Milliseconds until the caller stops waiting. A charge that may have been sent continues.
    pub timeout: Option<f64>,
    /// A JSON object with fields of the request that this version does not know.
    pub extra: Option<String>,
    /// The caller's own data, as JSON text.
    pub metadata: Option<String>,
}

/// A checked charging call.
pub(super) struct Charge {
    pub endpoint: Endpoint,
    pub step: Step,
    pub operation: String,
    pub explicit: bool,
    /// The key of the operation's entry in the journal.
    pub key: String,
    /// The job that is rendered.
    pub render: Option<String>,
    /// The caller's request, and the body that is sent.
    pub given: Option<String>,
    pub body: Option<String>,
    pub fingerprint: u64,
    pub webhook: Option<u64>,
    pub kind: Option<u64>,
    pub template: Option<String>,
    pub model: String,
    pub seconds: Option<f64>,
    pub metadata: Option<String>,
    /// The time of the call, on the monotonic clock.
    pub begun: f64,
}

impl Charge {
    /// Whether other calls may charge for the same operation, so that the journal is read first.
    fn is_shared(&self) -> bool {
        self.explicit || self.step == Step::Render
    }

    fn path(&self) -> String {
        self.endpoint.path(self.render.as_deref().unwrap_or_default())
    }
}

/// Whether to keep the entry, and the receiver of the acknowledgement of `create`.
type Creating<V> = (Rc<Cell<bool>>, oneshot::Receiver<Result<bool, V>>);

/// The outcome of an attempt without an error.
enum Attempted<V> {
    /// It was charged for this job.
    Job(V),
    /// It was charged for the job of this id; the response did not contain the job itself.
    Bound(String),
    /// The journal already had this entry for the operation. Nothing was sent.
    Claimed(String),
    /// Nothing left this machine.
    NotSent(Error<V>),
}

impl<H: Host> Client<H> {
    /// Charges once. Dropping this future before the request is sent prevents the request. A started attempt is a separate
    /// task, which continues and binds the job in the journal. `over` is called when the last attempt has ended.
    pub(crate) async fn charge(
        &self,
        endpoint: Endpoint,
        render: Option<&str>,
        request: Option<&str>,
        options: ChargeOptions,
        over: Option<Box<dyn FnOnce()>>,
    ) -> Outcome<H::Value> {
        let over = Over(over);
        let ChargeOptions { operation, timeout, .. } = &options;
        let (operation, timeout) = (operation.clone(), *timeout);
        let charge = self
            .prepare(endpoint, render, request, options)
            .map_err(|refusal| Error::from(refusal).of_charge(&operation, Charged::No))?;
        let config = self.config();
        let usual = if endpoint == Endpoint::PreviewSync { config.preview_timeout } else { config.timeout };
        let deadline = charge.begun + timeout.unwrap_or(usual);
        // Until the journal is read, an earlier call may have charged for the operation.
        let charged = if charge.is_shared() { Charged::Maybe } else { Charged::No };
        let caller = Rc::new(Caller::new(charge.render.clone(), deadline, charged));
        let outcome = caller.wait(self.host(), self.carry_out(Rc::new(charge), &caller, over)).await;
        outcome.map_err(|error| caller.about(&operation, error))
    }

    /// The whole charge: its turn, its journal entry, the check before a render, and its attempts.
    async fn carry_out(&self, charge: Rc<Charge>, caller: &Rc<Caller<H::Value>>, over: Over) -> Outcome<H::Value> {
        let host = self.host();
        let mut held = None;
        // The journal is read before the turn and the lock too, since their holder may stall after it has recorded the job.
        let held = loop {
            caller.if_late(Err(late()));
            if charge.is_shared()
                && let Some(found) = self.read_entry_text(&charge.key).await?
                && (held.is_some() || self.decode(&found).is_some_and(|entry| entry.is_bound()))
            {
                return self.claimed(&charge, caller, &found).await;
            }
            if let Some(held) = held {
                // Held until the last attempt has ended, even if its caller has left.
                break Rc::new((held, over));
            }
            // Another call may have sent the same operation, so a timeout here leaves the outcome unknown.
            caller.if_late(Err(Error::charge_unknown()));
            let in_flight = self.take_turn(&charge.operation).await;
            // Another tab may charge for the same id, or resume it.
            held = Some((in_flight, host.lock(&charge.key).await));
        };
        caller.was_charged(Charged::No);
        let before = match &charge.render {
            Some(id) => match self.look_before_render(&charge, caller, id).await? {
                Look::Send(facts) => Some(facts),
                Look::Return(job) => return self.bind_rendered(&charge, caller, id, job).await,
            },
            None => None,
        };
        for attempt in 0.. {
            let headers = host.headers().await?;
            let (sender, receiver) = oneshot::channel();
            let (client, before, held) = (self.clone(), before.clone(), Rc::clone(&held));
            host.spawn({
                let (charge, caller) = (Rc::clone(&charge), Rc::clone(caller));
                async move {
                    let is_gone = || sender.is_canceled();
                    let attempted = client.attempt(&charge, &caller, headers, attempt, before.as_ref(), is_gone).await;
                    drop(held);
                    // Fails if the caller has left.
                    let _ = sender.send(attempted);
                }
            });
            match receiver.await.unwrap_or_else(|oneshot::Canceled| Err(Error::charge_unknown()))? {
                Attempted::Job(job) => return Ok(job),
                Attempted::Bound(id) => return self.fetch_job(caller, &id).await,
                Attempted::Claimed(found) => return self.claimed(&charge, caller, &found).await,
                Attempted::NotSent(error) if attempt >= RESENDS => return Err(error),
                Attempted::NotSent(_) => {}
            }
            caller.if_late(Err(late()));
            self.pause(&charge.path(), retry::backoff(attempt, host.random(), None)).await;
        }
        Err(late())
    }

    /// One attempt: the journal, the request, and the verdict. It continues even if the caller leaves.
    async fn attempt(
        &self,
        charge: &Charge,
        caller: &Caller<H::Value>,
        headers: H::Headers,
        number: u32,
        before: Option<&JobFacts>,
        is_gone: impl Fn() -> bool,
    ) -> Result<Attempted<H::Value>, Error<H::Value>> {
        let mut entry = self.new_entry(charge);
        entry.seen = before.filter(|job| job.video).map(|job| job.version.unwrap_or_default());
        if let Some(credits) = self.estimate_of(charge)? {
            entry.budget = Some(self.reserve(&charge.operation, &entry.owner, credits).await?);
        }
        let text = entry.encode();
        let created = self.create(&charge.key, &text, &entry).await;
        if !matches!(created, Ok(None)) {
            self.release(&entry).await;
        }
        if let Some(found) = created? {
            return Ok(Attempted::Claimed(found));
        }
        if is_gone() {
            self.free(charge, &text, &entry).await;
            return Err(late());
        }
        caller.if_late(Err(Error::charge_unknown()));
        let reply = self.send(charge, headers, number + 1).await;
        let (mut verdict, mut job_id) = self.judge(charge, reply.as_ref());
        // A relay refuses a key of another request with 409. From other servers the status means nothing.
        let conflicts = matches!(&reply, Some(Reply::Answer(Answer { status: 409, .. })));
        if verdict == Verdict::Unknown {
            match self.report(&charge.operation).await {
                Some(_) if conflicts => verdict = Verdict::Rejected,
                Some(Report::Bound(id)) => (verdict, job_id) = (Verdict::Bound, Some(id)),
                // For the relay, a late copy is the same charge. The last attempt leaves the operation open for it.
                Some(Report::Free) if number < RESENDS && !is_gone() => verdict = Verdict::NotSent,
                _ => {}
            }
        }
        self.host().emit(Event::Verdict {
            operation: &charge.operation,
            verdict: verdict.as_str(),
            job_id: job_id.as_deref(),
        });
        match (verdict, job_id) {
            (Verdict::Bound, Some(id)) => self.bound(charge, caller, reply, id, (&text, &entry)).await,
            (Verdict::NotSent, _) => {
                let message = "The server could not be reached; nothing was sent.";
                let error = Error::not_sent(message).with_cause(cause_of(reply.as_ref()));
                caller.if_late(Err(error.clone()));
                self.free(charge, &text, &entry).await;
                Ok(Attempted::NotSent(error))
            }
            (Verdict::Rejected, _) => {
                let error = if conflicts {
                    caller.was_charged(Charged::Maybe);
                    conflict()
                } else {
                    reply.map_or_else(Error::charge_unknown, |reply| self.error_of(reply, ""))
                };
                caller.if_late(Err(error.clone()));
                self.free(charge, &text, &entry).await;
                Err(error)
            }
            _ => self.unknown(charge, caller, reply, before, (&text, &entry)).await,
        }
    }

    pub(super) fn new_entry(&self, charge: &Charge) -> Entry {
        Entry {
            state: State::Sending,
            step: charge.step,
            fingerprint: charge.fingerprint,
            owner: self.host().token(),
            created_at: self.host().wall() as u64,
            job: charge.render.clone(),
            webhook: charge.webhook,
            kind: charge.kind,
            budget: None,
            explicit: charge.explicit,
            charged: Charged::Yes,
            seen: None,
            metadata: charge.metadata.clone(),
        }
    }

    /// The estimated cost of the charge, if there is a limit.
    fn estimate_of(&self, charge: &Charge) -> Result<Option<f64>, Error<H::Value>> {
        let config = self.config();
        if config.max_credits.is_none() {
            return Ok(None);
        }
        let learned = charge.template.as_deref().and_then(|template| self.0.history.borrow().seconds(template));
        let Some(seconds) = charge.seconds.or(learned) else {
            let advice = "must be in the request where maxCredits is set: the length of the video";
            return Err(Refusal::new("seconds", advice).into());
        };
        Ok(Some(config.prices.estimate(charge.step, seconds, &charge.model)?))
    }

    /// Creates the entry, or returns the text of an existing one. If the acknowledgement was lost, the attempt recognises its
    /// own entry by the owner token.
    pub(super) async fn create(&self, key: &str, text: &str, entry: &Entry) -> Result<Option<String>, Error<H::Value>> {
        for _ in 0..CREATES {
            let (kept, mut creating) = self.begin_create(key, text);
            let deadline = self.host().now() + self.config().timeout;
            let created = self.until(deadline, &mut creating).await.and_then(Result::ok);
            if !matches!(created, Some(Ok(true))) {
                match self.read_entry_text(key).await {
                    Ok(Some(found)) if found == text => kept.set(true),
                    Ok(Some(found)) => return Ok(Some(found)),
                    // The other entry was deleted in between.
                    Ok(None) if matches!(created, Some(Ok(_))) => continue,
                    found => {
                        // The entry may exist, or be written later.
                        drop(creating);
                        let _ = self.delete_entry(key, text).await;
                        return Err(found.err().unwrap_or_else(|| Error::journal(created.and_then(Result::err))));
                    }
                }
            }
            // An operation without a marker would not be listed, so it is not sent.
            let marked = async {
                self.hold(entry).await?;
                self.mark_open(key, entry).await
            };
            if let Err(error) = marked.await {
                let _ = self.delete_entry(key, text).await;
                return Err(error);
            }
            return Ok(None);
        }
        Err(Error::journal(None))
    }

    /// Starts to create an entry. The receiver gets whether it was created, or the exception. If the acknowledgement arrives
    /// after the attempt gave up (it dropped the receiver), the entry is deleted unless it is kept, since nothing is sent
    /// under it.
    fn begin_create(&self, key: &str, text: &str) -> Creating<H::Value> {
        let (client, key, text) = (self.clone(), key.to_owned(), text.to_owned());
        let kept = Rc::new(Cell::new(false));
        let is_kept = Rc::clone(&kept);
        let (sender, receiver) = oneshot::channel();
        self.host().spawn(async move {
            let created = client.host().journal(Store::Configured, JournalCall::Create(&key, &text)).await;
            let created = created.map(|reply| reply == JournalReply::Done(true));
            if let Err(Ok(true)) = sender.send(created)
                && !is_kept.get()
            {
                let _ = client.delete_entry(&key, &text).await;
            }
        });
        (kept, receiver)
    }

    /// Sends the charging request. No other place does. `None` if no response arrived in time. The caller's timeout does not
    /// count here: the attempt waits for the response as long as for a blocking preview.
    async fn send(&self, charge: &Charge, headers: H::Headers, attempt: u32) -> Option<Reply<H::Value>> {
        let path = charge.path();
        let request = Request {
            endpoint: charge.endpoint,
            url: &self.url(&path),
            body: charge.body.as_deref(),
            operation: Some(&charge.operation),
        };
        let config = self.config();
        let deadline = self.host().now() + config.preview_timeout.max(config.timeout);
        self.exchange(request, &path, headers, deadline, attempt).await
    }

    /// The verdict on a reply, and the id of its job.
    fn judge(&self, charge: &Charge, reply: Option<&Reply<H::Value>>) -> (Verdict, Option<String>) {
        let answer = match reply {
            None => return (Verdict::Unknown, None),
            Some(Reply::Unusable(_)) => return (Verdict::Rejected, None),
            Some(Reply::Failed { code, .. }) => return (charge::verdict_without_answer(code.as_deref()), None),
            Some(Reply::Answer(answer)) => answer,
        };
        let id = match &answer.body {
            Body::Json(body) => {
                let [id] = self.host().members(body, ["id"]);
                id.text().and_then(|id| api::job_id(id).ok())
            }
            // A response without a length may have been cut off unnoticed.
            Body::Cut(text) | Body::Text(text) => charge::salvage(text),
        };
        // The response to a render may be empty. One about another job is not ours.
        let empty = matches!(&answer.body, Body::Text(text) if text.trim().is_empty());
        let id = match (&charge.render, id) {
            (Some(render), Some(id)) if *render == id => Some(id),
            (Some(render), None) if empty || matches!(answer.body, Body::Json(_)) => Some(render.clone()),
            (Some(_), _) => None,
            (None, id) => id,
        };
        let verdict = charge::verdict(answer.status, id.is_some());
        (verdict, id.filter(|_| verdict == Verdict::Bound))
    }

    /// Binds the charge to its job.
    async fn bound(
        &self,
        charge: &Charge,
        caller: &Caller<H::Value>,
        reply: Option<Reply<H::Value>>,
        id: String,
        written: (&str, &Entry),
    ) -> Result<Attempted<H::Value>, Error<H::Value>> {
        let known = self.0.history.borrow().find(&id).map(|known| known.operation.clone());
        if charge.render.is_none() && known.is_some_and(|known| known != charge.operation) {
            let message = "The answer to a charge names a job that another operation was charged for.";
            self.warn("known_job_id", message, &charge.operation, &id);
        }
        let whole = match reply {
            Some(Reply::Answer(Answer { body: Body::Json(body), .. })) => {
                self.facts(&body).is_some_and(|facts| facts.id == id).then_some(body)
            }
            _ => None,
        };
        // The caller gets the job even if the verdict cannot be written: the entry then stays `sending`.
        caller.is_about(&id);
        caller.was_charged(Charged::Yes);
        caller.if_late(whole.clone().ok_or_else(Error::no_answer));
        self.write_bound(charge, &id, written).await;
        let Some(job) = whole else { return Ok(Attempted::Bound(id)) };
        self.notice(&job);
        Ok(Attempted::Job(job))
    }

    /// Fetches the job of a charged operation.
    async fn fetch_job(&self, caller: &Caller<H::Value>, id: &str) -> Outcome<H::Value> {
        caller.is_about(id);
        caller.if_late(Err(Error::no_answer()));
        self.read(Endpoint::Get, id, None).await.map_err(Error::after_a_charge)
    }

    /// Writes the job of the charge, over this attempt's own entry only.
    async fn write_bound(&self, charge: &Charge, id: &str, (text, entry): (&str, &Entry)) {
        let bound = entry.bound(id);
        if let Ok(false) = self.replace_entry(&charge.key, text, &bound.encode()).await
            && let Ok(found) = self.read_entry(&charge.key).await
            // Another client may have settled it in the meantime, with the same job.
            && found.is_none_or(|found| found.state == State::Sending || found.job.as_deref() != Some(id))
        {
            let message = "An operation that was discarded, or settled with another job, was charged after all.";
            return self.warn("late_answer", message, &charge.operation, id);
        }
        self.remember(charge, bound);
    }

    pub(super) fn remember(&self, charge: &Charge, entry: Entry) {
        let (operation, template) = (charge.operation.clone(), charge.template.clone());
        self.0.history.borrow_mut().remember(KnownCharge { operation, entry, template, since: charge.begun });
    }

    pub(super) fn warn(&self, code: &'static str, message: &str, operation: &str, job_id: &str) {
        self.host().emit(Event::Warning { code, message, operation: Some(operation), job_id: Some(job_id) });
    }

    /// Handles an unknown outcome. A render is settled by its job. For the other steps the journal may have the job by now,
    /// if a webhook or another client has settled the operation.
    async fn unknown(
        &self,
        charge: &Charge,
        caller: &Caller<H::Value>,
        reply: Option<Reply<H::Value>>,
        before: Option<&JobFacts>,
        written: (&str, &Entry),
    ) -> Result<Attempted<H::Value>, Error<H::Value>> {
        let mut error = Error::charge_unknown().with_cause(cause_of(reply.as_ref()));
        if let Some(Reply::Answer(answer)) = reply {
            error = with_body(error, answer.body);
        }
        caller.if_late(Err(error.clone()));
        if let (Some(id), Some(before)) = (&charge.render, before) {
            let Ok(job) = self.read(Endpoint::Get, id, None).await else { return Err(error) };
            if self.facts(&job).is_some_and(|after| charge::was_rendered(before, &after)) {
                return Ok(Attempted::Job(self.bind_render(charge, caller, id, job, written).await));
            }
            return Err(error.with_job(Some(job)));
        }
        match self.read_entry(&charge.key).await {
            Ok(Some(Entry { state: State::Bound | State::Ended, job: Some(id), .. })) => {
                caller.was_charged(Charged::Yes);
                self.remember(charge, written.1.bound(&id));
                Ok(Attempted::Bound(id))
            }
            _ => Err(error),
        }
    }

    /// Binds a render whose job shows a render, though not by which operation. `written` is this operation's entry.
    async fn bind_render(
        &self,
        charge: &Charge,
        caller: &Caller<H::Value>,
        id: &str,
        job: H::Value,
        (text, entry): (&str, &Entry),
    ) -> H::Value {
        caller.if_late(Ok(job.clone()));
        let mut entry = entry.clone();
        entry.charged = Charged::Maybe;
        self.write_bound(charge, id, (text, &entry)).await;
        self.notice(&job);
        job
    }

    /// The outcome of an operation that is in the journal: its job, or an error. Nothing is sent.
    pub(super) async fn claimed(&self, charge: &Charge, caller: &Caller<H::Value>, found: &str) -> Outcome<H::Value> {
        let entry = self.decode(found);
        match (charge::claim(entry.as_ref(), charge.step, charge.fingerprint), entry) {
            (Claim::Return(id), Some(entry)) => {
                caller.was_charged(entry.charged());
                if self.0.history.borrow().find(&id).is_none() {
                    self.remember(charge, entry);
                }
                self.fetch_job(caller, &id).await
            }
            (Claim::Unknown, Some(entry)) => {
                caller.if_late(Err(Error::charge_unknown()));
                // Its marker is missing if its process ended between the two writes.
                let _ = self.mark_open(&charge.key, &entry).await;
                let Some(id) = &charge.render else { return Err(Error::charge_unknown()) };
                let job = self.read(Endpoint::Get, id, None).await.map_err(|_| Error::charge_unknown())?;
                if self.facts(&job).is_some_and(|facts| charge::settles(&entry, &facts, None, None)) {
                    return Ok(self.bind_render(charge, caller, id, job, (found, &entry)).await);
                }
                Err(Error::charge_unknown().with_job(Some(job)))
            }
            (_, entry) => {
                caller.was_charged(entry.map_or(Charged::Maybe, |entry| entry.charged()));
                Err(conflict())
            }
        }
    }

    /// Releases the id and the budget of an operation that charged nothing.
    async fn free(&self, charge: &Charge, text: &str, entry: &Entry) {
        self.release(entry).await;
        // An entry that cannot be deleted stays `sending`, and is never sent again.
        if self.delete_entry(&charge.key, text).await.is_ok() {
            self.unmark_open(&charge.operation, entry).await;
        }
    }
}

/// Calls a function when it is dropped.
struct Over(Option<Box<dyn FnOnce()>>);

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(over) = self.0.take() {
            over();
        }
    }
}

pub(super) fn late<V>() -> Error<V> {
    Error::not_sent(LATE)
}

fn conflict<V>() -> Error<V> {
    let message = "This operation id was used before for another request; this one was not sent.";
    Error::new(ErrorKind::OperationConflict, message)
}

fn cause_of<V: Clone>(reply: Option<&Reply<V>>) -> Option<V> {
    match reply {
        Some(Reply::Failed { cause, .. }) => cause.clone(),
        _ => None,
    }
}
