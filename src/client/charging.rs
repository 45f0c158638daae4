//! How a charge is carried out: claim the operation, write it down, post once, and live with whatever comes back.

use std::rc::Rc;

use super::answer::{Failure, Outcome, answered, charge_unknown, connection_lost, journal_failed, timed_out};
use super::known::Charged;
use super::tasks::{Detached, either};
use super::{ChargeOptions, Client};
use crate::api::{Checked, Endpoint, JobFacts, ModelVersion, OPERATION_PLACEHOLDER, Step, check_id, check_request};
use crate::charge::{self, Claim, Entry, State, Verdict};
use crate::error::{Error, Reason, join};
use crate::host::{Body, Event, Host, JournalCall, Reply};
use crate::retry;
use crate::value::{Kind, Value};

/// How often a charge that was proven unsent is sent again.
const RESENDS: u32 = 2;
/// How long between two looks at an operation that another call is posting, in milliseconds.
const JOIN_INTERVAL: f64 = 100.0;

/// One charge, from its request to its verdict.
pub struct Charge<H: Host> {
    endpoint: Endpoint,
    pub step: Step,
    pub template: String,
    /// The job that is rendered.
    render: Option<String>,
    request: Option<H::Value>,
    fingerprint: String,
    model: ModelVersion,
    seconds: Option<f64>,
    pub operation: String,
    /// Where the journal has it.
    key: String,
    /// When it began, and when its caller stops waiting, on the monotonic clock.
    pub begun: f64,
    deadline: f64,
}

/// What a post comes to, once its verdict is written down.
enum Posted<V> {
    /// The job.
    Job(V),
    /// The job is bound to this id, and did not come with it whole.
    Fetch(String),
    /// Nothing left this machine.
    NotSent(Failure<V>),
    /// Refused, or unknown.
    Failed(Failure<V>),
}

impl<H: Host> Client<H> {
    /// `POST /api/custom_template_jobs/`: straight to the video. The job comes back pending.
    pub async fn submit(&self, request: H::Value, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::Submit, None, Some(request), options).await
    }

    /// `POST /api/custom_template_jobs/preview_async/`. The job comes back pending.
    pub async fn preview_async(&self, request: H::Value, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::PreviewAsync, None, Some(request), options).await
    }

    /// `POST /api/custom_template_jobs/preview/`: one request that blocks until the preview is there.
    pub async fn preview_sync(&self, request: H::Value, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::PreviewSync, None, Some(request), options).await
    }

    /// `POST /api/custom_template_jobs/{id}/render/`. A job that is rendered, or about to be, is returned and not charged.
    pub async fn render(&self, id: &str, request: Option<H::Value>, options: ChargeOptions) -> Outcome<H::Value> {
        self.charge(Endpoint::Render, Some(id.into()), request, options).await
    }

    /// Any of the four calls that charge; `render` is the job's id for that one.
    pub async fn charge(
        &self,
        endpoint: Endpoint,
        render: Option<String>,
        request: Option<H::Value>,
        options: ChargeOptions,
    ) -> Outcome<H::Value> {
        let charge = Rc::new(self.prepare(endpoint, render, request, options)?);
        let result = self.charge_once(&charge).await;
        result.map_err(|failure| failure.about(Some(&charge.operation), charge.render.as_deref()))
    }

    /// Checks everything that can be checked before anything is sent.
    fn prepare(
        &self,
        endpoint: Endpoint,
        render: Option<String>,
        request: Option<H::Value>,
        options: ChargeOptions,
    ) -> Result<Charge<H>, Error> {
        let Some(step) = endpoint.charges() else { return Err(Error::invalid("endpoint", &["does not charge"])) };
        if let Some(id) = &render {
            check_id(id)?;
        }
        let operation = match (options.operation, &render) {
            (Some(operation), _) => operation,
            (None, Some(id)) => join(&["render:", id]),
            (None, None) => uuid(self.host().random()),
        };
        if operation.is_empty() || operation.len() > 255 {
            return Err(Error::invalid("operation", &["must be 1 to 255 characters"]));
        }
        // The token in the webhook's URL brings the job's id even where the answer is lost.
        let request = request.map(|request| match request.text("webhook_url") {
            Some(url) => request.with_text("webhook_url", &fill_operation(&url, &operation)),
            None => request,
        });
        let checked = match &request {
            Some(request) => check_request(step, request)?,
            None => Checked::nothing(step),
        };
        let known = render.as_ref().and_then(|id| self.0.known.borrow().template(id));
        let template = request.as_ref().and_then(|request| request.text("template_id")).or(known);
        let timeout = options.timeout.unwrap_or(match endpoint {
            Endpoint::PreviewSync => self.0.config.preview_timeout,
            _ => self.0.config.timeout,
        });
        let begun = self.host().now().monotonic;
        Ok(Charge {
            endpoint,
            step,
            template: template.unwrap_or_default(),
            fingerprint: checked.fingerprint.and(render.as_deref().unwrap_or_default().as_bytes()).hex(),
            render,
            request,
            model: checked.model,
            seconds: options.seconds,
            key: self.key(&operation),
            operation,
            begun,
            deadline: begun + timeout,
        })
    }

    async fn charge_once(&self, charge: &Rc<Charge<H>>) -> Outcome<H::Value> {
        let host = self.host();
        // Another call of this client is posting the same operation: wait for it, then see what it left.
        while self.0.known.borrow().posting.contains(&charge.operation) {
            if host.now().monotonic >= charge.deadline {
                return Err(charge_unknown().into());
            }
            let _ = host.sleep_or_wake(JOIN_INTERVAL).await;
        }
        let mut held = Held::enter(self, &charge.operation);
        if let Some(lock) = host.lock(&charge.key) {
            held.lock = lock.await.ok();
        }
        let held = Rc::new(held);

        let mut attempt = 0;
        loop {
            let claim = self.claim(charge).await?;
            if claim == Claim::Conflict {
                let message = "This operation id was used before for another request; nothing was sent. Use a new id.";
                return Err(Error::new(Reason::OperationConflict, &[message]).into());
            }
            // One look before a render: what is rendered or being rendered is not paid for again.
            let mut before = None;
            let mut refusal = None;
            if let Some(id) = &charge.render {
                match self.read(Endpoint::Get, id, None, self.0.config.max_retries).await {
                    Ok(job) => before = Some(job),
                    Err(failure) => refusal = Some(failure.unsent()),
                }
            }
            let facts = before.as_ref().and_then(JobFacts::read);
            if let (Some(job), Some(facts)) = (&before, &facts)
                && facts.is_rendered_or_rendering()
            {
                self.bind(charge, &facts.id).await;
                self.notice(job);
                return Ok(job.clone());
            }
            match claim {
                Claim::New => {}
                // A render that failed may be asked for again, and is paid for again.
                Claim::Fetch(_) if facts.is_some_and(|facts| facts.status.is_failure()) => {
                    self.delete(charge).await;
                    continue;
                }
                Claim::Fetch(id) => {
                    self.remember(charge, &id, State::Bound(id.clone()));
                    return self.get(&id, None).await;
                }
                _ => {
                    return Err(refusal.map_or_else(|| charge_unknown().into(), |failure| failure.instead(charge_unknown())));
                }
            }
            if refusal.is_none() {
                refusal = self.refusal(charge).err().map(Failure::from);
            }
            if let Some(refusal) = refusal {
                self.delete(charge).await;
                return Err(refusal);
            }

            // From here on the charge outlives its caller: whoever drops this future only stops waiting.
            let post = Detached::new(host, {
                let (client, charge, held) = (self.clone(), Rc::clone(charge), Rc::clone(&held));
                async move {
                    let posted = client.post(&charge, before).await;
                    drop(held);
                    posted
                }
            });
            let patience = host.sleep((charge.deadline - host.now().monotonic).max(0.0));
            match either(post, patience).await {
                None => return Err(charge_unknown().into()),
                Some(Posted::Job(job)) => return Ok(job),
                Some(Posted::Fetch(id)) => return self.get(&id, None).await,
                Some(Posted::Failed(failure)) => return Err(failure),
                Some(Posted::NotSent(failure)) => {
                    let wait = retry::backoff(attempt, self.chance(), None);
                    if attempt >= RESENDS || host.now().monotonic + wait >= charge.deadline {
                        return Err(failure);
                    }
                    host.event(Event::Retry { path: &charge.path(), in_ms: wait });
                    let _ = host.sleep(wait).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Writes the operation down, or tells what stands there already.
    async fn claim(&self, charge: &Charge<H>) -> Result<Claim, Failure<H::Value>> {
        loop {
            let entry = charge.entry(State::Posting, self.host().now().wall).encode();
            let created = self.host().journal(JournalCall::Create, &charge.key, &entry).await.map_err(journal_failed)?;
            if created.kind() == Kind::Bool(true) {
                return Ok(Claim::New);
            }
            let found = self.host().journal(JournalCall::Read, &charge.key, "").await.map_err(journal_failed)?;
            // It may have gone in between; then the next round creates it.
            if let Kind::Text(found) = found.kind() {
                return Ok(charge::claim(Entry::decode(&found).as_ref(), charge.step, &charge.fingerprint));
            }
        }
    }

    /// Why nothing may be sent: no network, or no budget left.
    fn refusal(&self, charge: &Charge<H>) -> Result<(), Error> {
        if !self.host().env().online {
            return Err(Error::new(Reason::Connection { sent: false }, &["The machine is offline; nothing was sent."]));
        }
        self.0.known.borrow_mut().reserve(
            &charge.operation,
            &self.0.config.prices,
            charge.step,
            &charge.template,
            charge.model,
            charge.seconds,
        )
    }

    /// Posts once, and writes down what came of it. `before` is the job that is rendered, as it was.
    async fn post(&self, charge: &Charge<H>, before: Option<H::Value>) -> Posted<H::Value> {
        let timeout = self.0.config.preview_timeout.max(self.0.config.timeout);
        let reply =
            self.send(charge.endpoint, &charge.path(), charge.request.clone(), Some(&charge.operation), timeout).await;
        let verdict = charge.judge(&reply);
        self.host().event(Event::Verdict {
            operation: &charge.operation,
            verdict: verdict.as_str(),
            job: if let Verdict::Bound(id) = &verdict { Some(id) } else { None },
        });
        match verdict {
            Verdict::Bound(id) => {
                self.bind(charge, &id).await;
                match reply {
                    Reply::Answered { body: Body::Json(job), .. }
                        if JobFacts::read(&job).is_some_and(|facts| facts.id == id) =>
                    {
                        self.notice(&job);
                        Posted::Job(job)
                    }
                    _ => Posted::Fetch(id),
                }
            }
            Verdict::Rejected => {
                self.delete(charge).await;
                Posted::Failed(told(reply))
            }
            Verdict::NotSent => {
                self.delete(charge).await;
                let message = "The server could not be reached; nothing was sent. Try again later.";
                Posted::NotSent(told(reply).instead(Error::new(Reason::Connection { sent: false }, &[message])))
            }
            Verdict::Unknown => {
                self.write(charge, State::Unknown).await;
                let failure = told(reply).instead(charge_unknown());
                // A render has an id to look at; the other steps have none.
                let Some(before) = before.as_ref().and_then(JobFacts::read) else { return Posted::Failed(failure) };
                let Ok(job) = self.get(&before.id, None).await else { return Posted::Failed(failure) };
                if JobFacts::read(&job).is_some_and(|after| was_touched(&before, &after)) {
                    self.bind(charge, &before.id).await;
                    return Posted::Job(job);
                }
                Posted::Failed(failure.with_job(Some(job)))
            }
        }
    }

    /// A verdict that cannot be written does not take the answer from the caller: the entry then still
    /// says posting, which is never sent again either.
    async fn write(&self, charge: &Charge<H>, state: State) {
        let entry = charge.entry(state, self.host().now().wall).encode();
        let _ = self.host().journal(JournalCall::Write, &charge.key, &entry).await;
    }

    async fn bind(&self, charge: &Charge<H>, id: &str) {
        let state = State::Bound(id.into());
        self.remember(charge, id, state.clone());
        self.write(charge, state).await;
    }

    fn remember(&self, charge: &Charge<H>, id: &str, state: State) {
        self.0.known.borrow_mut().remember(Charged {
            job: id.into(),
            step: charge.step,
            template: charge.template.clone(),
            since: charge.begun,
            open: Some((charge.operation.clone(), charge.entry(state, self.host().now().wall))),
        });
    }

    /// Nothing was charged: the id is free for another try, and the budget gets its credits back.
    async fn delete(&self, charge: &Charge<H>) {
        self.0.known.borrow_mut().refund(&charge.operation);
        let _ = self.host().journal(JournalCall::Delete, &charge.key, "").await;
    }
}

impl<H: Host> Charge<H> {
    fn path(&self) -> String {
        self.endpoint.path(self.render.as_deref().unwrap_or_default())
    }

    fn entry(&self, state: State, wall: f64) -> Entry {
        Entry { state, step: self.step, fingerprint: self.fingerprint.clone(), at: wall as u64 }
    }

    fn judge(&self, reply: &Reply<H::Value>) -> Verdict {
        let id;
        let outcome = match reply {
            Reply::Answered { status, body, .. } => {
                id = match body {
                    Body::Json(job) => JobFacts::read(job).map(|facts| facts.id),
                    Body::Broken(text) => charge::salvage_id(text).map(String::from),
                    Body::Text(_) => None,
                };
                charge::Outcome::Answered(*status, id.as_deref())
            }
            Reply::Lost { code, .. } => charge::Outcome::Lost(code),
            Reply::TimedOut => charge::Outcome::TimedOut,
            Reply::Unusable { .. } => charge::Outcome::Unusable,
        };
        charge::verdict(outcome, self.render.as_deref())
    }
}

/// Marks an operation as being posted by this client, and holds its lock.
struct Held<H: Host> {
    client: Client<H>,
    operation: String,
    lock: Option<H::Value>,
}

impl<H: Host> Held<H> {
    fn enter(client: &Client<H>, operation: &str) -> Self {
        client.0.known.borrow_mut().posting.push(operation.into());
        Self { client: client.clone(), operation: operation.into(), lock: None }
    }
}

impl<H: Host> Drop for Held<H> {
    fn drop(&mut self) {
        self.client.0.known.borrow_mut().posting.retain(|operation| *operation != self.operation);
        if let Some(guard) = self.lock.take() {
            self.client.host().unlock(guard);
        }
        self.client.host().wake();
    }
}

/// What a reply says that brought no job.
fn told<V: Value>(reply: Reply<V>) -> Failure<V> {
    match reply {
        Reply::Answered { status, retry_after, body } => answered(status, retry_after, body),
        Reply::Lost { cause, .. } => connection_lost(cause),
        Reply::TimedOut => timed_out(),
        Reply::Unusable { field, message, cause } => Failure::from(Error::invalid(field, &[message])).caused_by(cause),
    }
}

/// A version 4 UUID of random bits.
fn uuid(random: [u8; 16]) -> String {
    let mut text = String::new();
    for (at, byte) in random.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let byte = match at {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
        }
    }
    text
}

/// Puts the operation id where a webhook's URL says `{operation}`.
fn fill_operation(url: &str, operation: &str) -> String {
    let place = OPERATION_PLACEHOLDER.as_bytes();
    let Some(at) = url.as_bytes().windows(place.len()).position(|window| window == place) else { return url.into() };
    join(&[url.get(..at).unwrap_or_default(), operation, url.get(at + place.len()..).unwrap_or_default()])
}

/// Whether anything shows that a render was carried out between two looks.
fn was_touched(before: &JobFacts, after: &JobFacts) -> bool {
    after.is_rendered_or_rendering()
        || after.status != before.status
        || after.updated_at != before.updated_at
        || after.credits_used != before.credits_used
}
