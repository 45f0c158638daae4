//! The journal: its entries and markers, the list of operations, and how an unknown operation is settled or discarded.
//!
//! Keys begin with the namespace, `NS`:
//! - `NS/OPERATION`: the entry of an operation;
//! - `NS:open/OPERATION`: the marker of an open operation, so that `pending` reads only those; it contains the owner;
//! - `NS:ended/PERIOD/STEP:JOB/OPERATION`: the marker of an ended operation, by which it expires;
//! - `NS:budget/PERIOD/KEY/OPERATION=MILLICREDITS`: a reservation, or the credits that were spent;
//! - `NS:took/N`: the duration of jobs of a kind.

use std::future::Future;

use super::Client;
use super::caller::JOIN_INTERVAL;
use super::history::KnownCharge;
use crate::api::{self, Step};
use crate::charge::{self, Entry, Report, State};
use crate::error::{Charged, Error, Refusal};
use crate::hash;
use crate::host::{Event, Host, JournalCall, JournalReply, Store};
use crate::poll;

/// Entries of ended operations are kept for at least 30 days. Until then their ids return their jobs.
const PERIOD_MS: f64 = 30.0 * 86_400_000.0;
/// The number of past periods in which expired entries are searched.
const PERIODS: u64 = 14;
/// In the memory of a process, an ended entry with a generated id is kept for an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// The most parts of a webhook's URL that are looked up in the journal.
const CANDIDATES: usize = 16;

/// The time that `discard` waits for an operation's lock, in milliseconds. A longer holder is charging.
const LOCK_PATIENCE: f64 = 1_000.0;

/// An operation of the journal, for callers.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The operation id.
    pub operation: String,
    /// The state.
    pub state: State,
    /// The step that it charges for.
    pub step: Step,
    /// The time of its first write, in milliseconds since 1970.
    pub created_at: u64,
    /// The id of its job, if known.
    pub job_id: Option<String>,
    /// The caller's own data, as JSON text.
    pub metadata: Option<String>,
}

impl Operation {
    fn new(operation: &str, entry: &Entry) -> Self {
        let Entry { state, step, created_at, job, metadata, .. } = entry;
        let (job_id, metadata) = (job.clone(), metadata.clone());
        Self { operation: operation.into(), state: *state, step: *step, created_at: *created_at, job_id, metadata }
    }
}

impl<H: Host> Client<H> {
    /// The open operations of the journal.
    ///
    /// # Errors
    /// `Journal`.
    pub async fn pending(&self) -> Result<Vec<Operation>, Error<H::Value>> {
        let open = self.open_entries().await?;
        for (operation, entry) in &open {
            self.recall(operation, entry);
        }
        if !self.0.swept.replace(true) {
            let client = self.clone();
            self.host().spawn(async move { client.sweep().await });
        }
        Ok(open.iter().map(|(operation, entry)| Operation::new(operation, entry)).collect())
    }

    /// Looks for the outcome of an unknown operation: in the relay's report, in its job, in the job of the id `job`, or in the
    /// caller's list of jobs. Never charges.
    ///
    /// # Errors
    /// `InvalidRequest` if the journal has no such operation, `Journal`, and those of a read.
    pub async fn settle(&self, operation: &str, job: Option<&str>) -> Result<Operation, Error<H::Value>> {
        let job = job.map(api::job_id).transpose().map_err(|refusal| Refusal { field: "jobId".into(), ..refusal })?;
        let key = self.key(operation);
        let (text, entry) = self.known_entry(operation, &key).await?;
        if entry.state != State::Unknown {
            return Ok(Operation::new(operation, &entry));
        }
        let settled = self.settle_unknown(operation, job, &text, entry).await;
        settled.map_err(|error| error.of_charge(operation, Charged::Maybe))
    }

    async fn settle_unknown(
        &self,
        operation: &str,
        job: Option<String>,
        text: &str,
        entry: Entry,
    ) -> Result<Operation, Error<H::Value>> {
        let found = match (self.report(operation).await, entry.job.clone().or(job)) {
            (Some(Report::Bound(id)), _) => Some(id),
            (_, Some(id)) => {
                let job = self.read(api::Endpoint::Get, &id, None).await?;
                self.proves(operation, &entry, &id, &job).await?.then_some(id)
            }
            (_, None) => match self.find_listed(&entry).await? {
                Some(id) if !self.is_bound_elsewhere(&id, operation, entry.step).await? => Some(id),
                _ => None,
            },
        };
        let Some(id) = found else { return Ok(Operation::new(operation, &entry)) };
        Ok(Operation::new(operation, &self.bind(operation, text, &entry, &id).await?))
    }

    /// Whether the job proves that an unknown operation was charged.
    async fn proves(&self, operation: &str, entry: &Entry, id: &str, job: &H::Value) -> Result<bool, Error<H::Value>> {
        if !self.is_settled_by(entry, job) {
            return Ok(false);
        }
        Ok(entry.step == Step::Render || !self.is_bound_elsewhere(id, operation, entry.step).await?)
    }

    /// Binds an unknown operation, whose entry is `text`, to a job. Returns the new entry.
    async fn bind(&self, operation: &str, text: &str, entry: &Entry, id: &str) -> Result<Entry, Error<H::Value>> {
        let (key, mut bound) = (self.key(operation), entry.bound(id));
        if entry.step == Step::Render {
            // The job does not show which operation rendered it.
            bound.charged = Charged::Maybe;
        }
        if !self.replace_entry(&key, text, &bound.encode()).await? {
            // Another client has changed the entry in the meantime.
            return Ok(self.known_entry(operation, &key).await?.1);
        }
        self.recall(operation, &bound);
        Ok(bound)
    }

    /// Handles a webhook for a job: fetches the job and settles its operation. `candidates` are the parts of the webhook's
    /// URL that may be the operation id. Anybody can send a webhook, so an operation counts only if the journal has it for
    /// this job, or if its `webhook_url` contained the id and is the job's.
    ///
    /// # Errors
    /// `InvalidRequest` if `id` is no UUID, `Journal`, and those of a read.
    pub async fn handle_webhook(
        &self,
        id: &str,
        candidates: impl IntoIterator<Item = String>,
    ) -> Result<(H::Value, Option<Operation>), Error<H::Value>> {
        let id = api::job_id(id)?;
        let job = self.read_with_retries(api::Endpoint::Get, &id, None).await?;
        // If the URL names no operation, the open ones are searched.
        let mut candidates: Vec<String> = candidates.into_iter().take(CANDIDATES).collect();
        candidates.reverse();
        let mut listed = false;
        let found = loop {
            if let Some(operation) = candidates.pop() {
                if let Some(entry) = self.entry_of(&operation, &id, &job).await? {
                    break Some((operation, entry));
                }
            } else if !std::mem::replace(&mut listed, true) {
                let may_be = |(_, entry): &(String, Entry)| match &entry.job {
                    Some(own) => *own == id,
                    None => entry.webhook.is_some() && self.is_settled_by(entry, &job),
                };
                let open = self.open_entries().await?.into_iter().filter(may_be);
                candidates.extend(open.max_by_key(|(_, entry)| entry.created_at).map(|(operation, _)| operation));
            } else {
                break None;
            }
        };
        if let Some((operation, entry)) = &found {
            self.recall(operation, entry);
        }
        // Awaited, since a worker may end with its response.
        if let Some(writing) = self.end(&job) {
            writing.await;
        }
        let Some((operation, mut entry)) = found else { return Ok((job, None)) };
        if let Some(known) = self.0.history.borrow().find(&id)
            && known.operation == operation
        {
            entry.state = known.entry.state;
        }
        Ok((job, Some(Operation::new(&operation, &entry))))
    }

    /// The settled entry of an operation, if the job is its own.
    async fn entry_of(&self, operation: &str, id: &str, job: &H::Value) -> Result<Option<Entry>, Error<H::Value>> {
        if api::check_operation(operation).is_err() {
            return Ok(None);
        }
        let Some(text) = self.read_entry_text(&self.key(operation)).await? else { return Ok(None) };
        let Some(mut entry) = self.decode(&text) else { return Ok(None) };
        self.mark_unknown(operation, &mut entry);
        if entry.job.as_deref().is_some_and(|own| own != id) {
            return Ok(None);
        }
        match entry.state {
            State::Bound | State::Ended => Ok(Some(entry)),
            // Its response may still arrive.
            State::Sending => Ok(Some(entry).filter(|entry| entry.webhook.is_some() && self.is_settled_by(entry, job))),
            State::Unknown => {
                let is_named = entry.step == Step::Render || entry.webhook.is_some();
                if !is_named || !self.proves(operation, &entry, id, job).await? {
                    return Ok(None);
                }
                let bound = self.bind(operation, &text, &entry, id).await?;
                Ok(Some(bound).filter(|bound| bound.job.as_deref() == Some(id)))
            }
        }
    }

    /// Resumes an operation: returns its job and its step. If it is in flight, here or in another tab, this waits; if its
    /// outcome is unknown, this settles it first. Never charges.
    ///
    /// # Errors
    /// `ChargeUnknown` if the outcome stays unknown; those of [`Client::settle`].
    pub async fn resume(&self, operation: &str) -> Result<(H::Value, Step), Error<H::Value>> {
        let key = self.key(operation);
        while self.is_in_flight(operation) {
            self.host().sleep(JOIN_INTERVAL).await;
        }
        drop(self.host().lock(&key).await);
        let (_, mut entry) = self.known_entry(operation, &key).await?;
        if entry.job.is_none() || entry.state == State::Unknown {
            let settled = self.settle(operation, None).await?;
            (entry.state, entry.job) = (settled.state, settled.job_id);
        }
        match &entry.job {
            Some(id) if entry.state != State::Unknown => {
                self.recall(operation, &entry);
                let job = self.read(api::Endpoint::Get, id, None).await;
                let about =
                    |error: Error<_>| error.after_a_charge().of_charge(operation, entry.charged()).with_job_id(Some(id));
                Ok((job.map_err(about)?, entry.step))
            }
            job => Err(Error::charge_unknown().of_charge(operation, Charged::Maybe).with_job_id(job.as_deref())),
        }
    }

    /// Closes an unknown operation that was not charged, as its owner knows. Its id can be used again, and its share of the
    /// budget is released.
    ///
    /// # Errors
    /// `InvalidRequest` if the journal has no such operation, or if it is in flight or was charged. `Journal`.
    pub async fn discard(&self, operation: &str) -> Result<(), Error<H::Value>> {
        let key = self.key(operation);
        // A call that charges for it holds its lock, also in another tab.
        let Some(_held) = self.until(self.host().now() + LOCK_PATIENCE, self.host().lock(&key)).await else {
            let refusal = Refusal::new("operation", "is in flight in another tab; wait for its outcome");
            return Err(Error::from(refusal).of_charge(operation, Charged::Maybe));
        };
        let (text, entry) = self.known_entry(operation, &key).await?;
        let advice = match entry.state {
            State::Unknown => {
                let deleted = match self.delete_entry(&key, &text).await {
                    Ok(deleted) => deleted,
                    // It may be deleted, and only the acknowledgement lost.
                    Err(error) => match self.read_entry_text(&key).await {
                        Ok(None) => true,
                        _ => return Err(error.of_charge(operation, Charged::Maybe)),
                    },
                };
                if deleted {
                    self.unmark_open(operation, &entry).await;
                    self.release(&entry).await;
                    return Ok(());
                }
                "was settled by another client in this moment"
            }
            State::Sending => "is in flight; wait for its outcome",
            State::Bound | State::Ended => "was charged; only an unknown operation can be discarded",
        };
        let error = Error::from(Refusal::new("operation", advice)).of_charge(operation, entry.charged());
        Err(error.with_job_id(entry.job.as_deref()))
    }

    /// Reads the entry of an operation, or rejects if the journal has none.
    async fn known_entry(&self, operation: &str, key: &str) -> Result<(String, Entry), Error<H::Value>> {
        let found = self.read_entry_text(key).await.map_err(|error| error.of_charge(operation, Charged::Maybe))?;
        let (advice, charged) = match found {
            // It started in the meantime.
            None if self.is_in_flight(operation) => ("is in flight; wait for its outcome", Charged::Maybe),
            None => ("is not in the journal: it was never sent, was refused, or has expired", Charged::No),
            Some(text) => match self.decode(&text) {
                None => (
                    "has an entry that cannot be read: a newer version of this library wrote it, or it is damaged",
                    Charged::Maybe,
                ),
                Some(mut entry) => {
                    self.mark_unknown(operation, &mut entry);
                    return Ok((text, entry));
                }
            },
        };
        Err(Error::from(Refusal::new("operation", advice)).of_charge(operation, charged))
    }

    /// Marks an operation as unknown if it is `sending`, but not by this client.
    fn mark_unknown(&self, operation: &str, entry: &mut Entry) {
        if entry.state == State::Sending && !self.is_in_flight(operation) {
            entry.state = State::Unknown;
        }
    }

    /// Remembers a charge of an earlier run.
    fn recall(&self, operation: &str, entry: &Entry) {
        let mut history = self.0.history.borrow_mut();
        let Some(job) = &entry.job else { return };
        if entry.state != State::Bound || history.find(job).is_some() {
            return;
        }
        // The clock may have been set in the meantime.
        let waited = poll::between(self.host().wall() - entry.created_at as f64, 0.0, poll::LONGEST);
        let since = self.host().now() - waited;
        history.remember(KnownCharge { operation: operation.into(), entry: entry.clone(), template: None, since });
    }

    fn is_settled_by(&self, entry: &Entry, job: &H::Value) -> bool {
        let [webhook] = self.host().members(job, ["webhook_url"]);
        let webhook = webhook.text().map(|url| hash::of(url.as_bytes()));
        self.facts(job).is_some_and(|facts| charge::settles(entry, &facts, webhook, self.host().made_at(job)))
    }

    /// Finds the job of an operation in the caller's list of jobs, by the operation id in its `webhook_url`.
    async fn find_listed(&self, entry: &Entry) -> Result<Option<String>, Error<H::Value>> {
        let deadline = self.host().now() + self.config().timeout;
        let unusable =
            |cause| Error::from(Refusal::new("listJobs", "failed; the operation is still unknown")).with_cause(cause);
        // Clocks differ.
        let since = entry.created_at as f64 - HOUR_MS;
        let jobs = match self.until(deadline, self.host().list_jobs(since)).await {
            Some(None) => return Ok(None),
            Some(Some(Ok(jobs))) => self.host().elements(&jobs).unwrap_or_default(),
            Some(Some(Err(thrown))) => return Err(unusable(Some(thrown))),
            None => return Err(unusable(None)),
        };
        if entry.webhook.is_none() {
            return Ok(None);
        }
        let found = jobs.iter().find(|job| self.is_settled_by(entry, job));
        Ok(found.and_then(|job| self.facts(job)).map(|facts| facts.id))
    }

    /// Whether another operation has charged for the same step of a job.
    async fn is_bound_elsewhere(&self, job: &str, operation: &str, step: Step) -> Result<bool, Error<H::Value>> {
        let is_it =
            |other: &str, entry: &Entry| other != operation && entry.step == step && entry.job.as_deref() == Some(job);
        if self.0.history.borrow().find(job).is_some_and(|known| is_it(&known.operation, &known.entry)) {
            return Ok(true);
        }
        if self.open_entries().await?.iter().any(|(other, entry)| is_it(other, entry)) {
            return Ok(true);
        }
        let prefix = self.ended_key("");
        let mark = format!("{}:{job}/", step.as_str());
        Ok(self.list(Store::Configured, &prefix).await?.iter().any(|key| {
            let marked = key.strip_prefix(&prefix).and_then(|rest| rest.split_once('/')?.1.strip_prefix(&mark));
            marked.is_some_and(|other| other != operation)
        }))
    }

    /// The open operations, with their entries.
    pub(super) async fn open_entries(&self) -> Result<Vec<(String, Entry)>, Error<H::Value>> {
        let prefix = self.open_key("");
        let mut open = Vec::new();
        for marker in self.list(Store::Configured, &prefix).await? {
            let Some(operation) = marker.strip_prefix(&prefix) else { continue };
            let key = self.key(operation);
            let Some(text) = self.read_entry_text(&key).await? else {
                // Its process ended after it had deleted the entry.
                self.delete_stale_marker(&marker, &key).await;
                continue;
            };
            let Some(mut entry) = self.decode(&text) else {
                self.host().emit(Event::Skipped { key: &key });
                continue;
            };
            if entry.state == State::Ended {
                // Its process ended, or the journal failed, before the markers were written.
                self.mark_ended(operation, &entry).await;
                continue;
            }
            self.mark_unknown(operation, &mut entry);
            open.push((operation.into(), entry));
        }
        Ok(open)
    }

    /// Deletes a marker only if it names this owner: another attempt may have written its own.
    async fn delete_stale_marker(&self, marker: &str, key: &str) {
        let owner = self.journal(Store::Configured, JournalCall::Read(marker)).await;
        if let Ok(JournalReply::Entry(Some(owner))) = owner
            && matches!(self.read_entry_text(key).await, Ok(None))
        {
            let _ = self.journal(Store::Configured, JournalCall::Delete(marker, Some(&owner))).await;
        }
    }

    // Markers of open and ended operations

    pub(super) async fn mark_open(&self, key: &str, entry: &Entry) -> Result<(), Error<H::Value>> {
        let operation = key.strip_prefix(&self.key("")).unwrap_or(key);
        let marker = self.open_key(operation);
        self.journal(Store::Configured, JournalCall::Write(&marker, &entry.owner)).await?;
        Ok(())
    }

    pub(super) async fn unmark_open(&self, operation: &str, entry: &Entry) {
        let marker = self.open_key(operation);
        let _ = self.journal(Store::Configured, JournalCall::Delete(&marker, Some(&entry.owner))).await;
    }

    /// Writes that the job of an operation has ended. If that fails, the operation is still pending after a reload, and ends
    /// then.
    pub(super) async fn write_end(&self, charged: &KnownCharge) {
        let KnownCharge { operation, entry, .. } = charged;
        let ended = Entry { state: State::Ended, ..entry.clone() };
        let (key, text) = (self.key(operation), ended.encode());
        let mut written = self.replace_entry(&key, &entry.encode(), &text).await;
        if let Ok(false) = written
            && let Ok(Some(found)) = self.read_entry_text(&key).await
            && self.decode(&found).is_some_and(|found| found.owner == entry.owner && found.state == State::Sending)
        {
            // The verdict could not be written.
            written = self.replace_entry(&key, &found, &text).await;
        }
        if let Ok(true) = written {
            self.mark_ended(operation, &ended).await;
        }
    }

    /// Marks an operation as ended in this period, and no longer open.
    async fn mark_ended(&self, operation: &str, entry: &Entry) {
        let job = entry.job.as_deref().unwrap_or_default();
        let short = self.config().journal_in_memory && !entry.explicit;
        let wall = self.host().wall();
        let period = if short { format!("h{}", (wall / HOUR_MS) as u64) } else { period(wall).to_string() };
        let marker = format!("{}{period}/{}:{job}/{operation}", self.ended_key(""), entry.step.as_str());
        let _ = self.journal(Store::Configured, JournalCall::Write(&marker, "")).await;
        self.unmark_open(operation, entry).await;
        if short {
            self.sweep_hours().await;
        }
    }

    /// Deletes the entries that ended more than 30 days ago, and the budgets of past periods.
    async fn sweep(&self) {
        let now = period(self.host().wall());
        for back in 2..=PERIODS {
            let Some(old) = now.checked_sub(back) else { break };
            self.expire(&self.ended_key(&old.to_string())).await;
        }
        // Budgets without a period are under `all`, which sorts after every period.
        let Some(period) = self.config().budget_period else { return };
        let oldest = self.budget_key(&period.of(self.host().wall() - 2.0 * PERIOD_MS));
        let store = self.budget_store();
        for key in self.list(store, &self.budget_key("")).await.unwrap_or_default() {
            if key < oldest {
                let _ = self.journal(store, JournalCall::Delete(&key, None)).await;
            }
        }
    }

    /// Deletes the entries with generated ids that ended an hour ago, in the memory of this process.
    async fn sweep_hours(&self) {
        let now = (self.host().wall() / HOUR_MS) as u64;
        let prefix = format!("{}h", self.ended_key(""));
        let keys = self.list(Store::Configured, &prefix).await.unwrap_or_default();
        for key in keys {
            let hour = key.strip_prefix(&prefix).and_then(|rest| rest.split_once('/')?.0.parse::<u64>().ok());
            if hour.is_some_and(|hour| hour + 2 <= now) {
                self.expire_one(&key).await;
            }
        }
    }

    async fn expire(&self, prefix: &str) {
        for key in self.list(Store::Configured, &format!("{prefix}/")).await.unwrap_or_default() {
            self.expire_one(&key).await;
        }
    }

    /// Deletes an ended entry and its marker, unless the entry has changed.
    async fn expire_one(&self, marker: &str) {
        let rest = marker.strip_prefix(&self.ended_key("")).unwrap_or_default();
        let Some(operation) = rest.splitn(3, '/').nth(2) else { return };
        let key = self.key(operation);
        if let Ok(Some(text)) = self.read_entry_text(&key).await
            && self.decode(&text).is_some_and(|entry| entry.state == State::Ended)
            && self.delete_entry(&key, &text).await.is_err()
        {
            return;
        }
        let _ = self.journal(Store::Configured, JournalCall::Delete(marker, None)).await;
    }

    // Calls of the journal, each with a timeout

    pub(super) fn key(&self, operation: &str) -> String {
        format!("{}/{operation}", self.config().namespace)
    }

    fn open_key(&self, operation: &str) -> String {
        format!("{}:open/{operation}", self.config().namespace)
    }

    fn ended_key(&self, period: &str) -> String {
        format!("{}:ended/{period}", self.config().namespace)
    }

    /// Calls a journal.
    pub(super) async fn journal(&self, store: Store, call: JournalCall<'_>) -> Result<JournalReply, Error<H::Value>> {
        self.in_time(self.host().journal(store, call)).await
    }

    async fn in_time(
        &self,
        call: impl Future<Output = Result<JournalReply, H::Value>>,
    ) -> Result<JournalReply, Error<H::Value>> {
        let deadline = self.host().now() + self.config().timeout;
        match self.until(deadline, call).await {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(thrown)) => Err(Error::journal(Some(thrown))),
            None => Err(Error::journal(None)),
        }
    }

    pub(super) async fn list(&self, store: Store, prefix: &str) -> Result<Vec<String>, Error<H::Value>> {
        match self.journal(store, JournalCall::List(prefix)).await? {
            JournalReply::Keys(keys) => Ok(keys),
            _ => Err(Error::journal(None)),
        }
    }

    pub(super) async fn read_entry_text(&self, key: &str) -> Result<Option<String>, Error<H::Value>> {
        match self.journal(Store::Configured, JournalCall::Read(key)).await? {
            JournalReply::Entry(text) => Ok(text),
            _ => Err(Error::journal(None)),
        }
    }

    /// The entry under a key, if there is a readable one.
    pub(super) async fn read_entry(&self, key: &str) -> Result<Option<Entry>, Error<H::Value>> {
        Ok(self.read_entry_text(key).await?.and_then(|text| self.decode(&text)))
    }

    pub(super) fn decode(&self, text: &str) -> Option<Entry> {
        let value = self.host().parse(text)?;
        Entry::decode(self.host().members(&value, Entry::NAMES))
    }

    pub(super) async fn replace_entry(&self, key: &str, old: &str, new: &str) -> Result<bool, Error<H::Value>> {
        let replaced = self.journal(Store::Configured, JournalCall::Replace(key, old, new)).await?;
        Ok(replaced == JournalReply::Done(true))
    }

    pub(super) async fn delete_entry(&self, key: &str, text: &str) -> Result<bool, Error<H::Value>> {
        let deleted = self.journal(Store::Configured, JournalCall::Delete(key, Some(text))).await?;
        Ok(deleted == JournalReply::Done(true))
    }
}

/// The number of the period that contains a time, in milliseconds since 1970.
fn period(wall: f64) -> u64 {
    (wall / PERIOD_MS) as u64
}
