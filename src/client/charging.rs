//! How a charge is carried out: claim the operation, write it down, post once, and live with whatever comes back.

use std::cell::Cell;
use std::rc::Rc;

use super::answer::{Failure, Outcome, charge_unknown, is_job, told};
use super::known::Charged;
use super::tasks::{Detached, Unheard, either};
use super::{Calling, ChargeOptions, Client, Operation};
use crate::api::{Checked, Endpoint, JobFacts, ModelVersion, OPERATION_PLACEHOLDER, Step, check_id, check_request};
use crate::charge::{self, Claim, Entry, State, Verdict};
use crate::error::{Error, Reason, join, remove_where};
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

/// What is to be done once the journal and a look before a render have spoken.
enum Next<H: Host> {
    /// Nothing more: this is the end.
    End(Posted<H::Value>),
    /// Wait for the journal; then this is the end.
    Written(Unheard<H::Wait>, Posted<H::Value>),
    /// Post.
    Post,
}

/// What one attempt comes to, once it is written down.
enum Posted<V> {
    /// The job.
    Job(V),
    /// The job is bound to this id, and did not come with it whole.
    Fetch(String),
    /// An ended operation made room: begin again.
    Again,
    /// Nothing left this machine.
    NotSent(Failure<V>),
    /// Refused, or unknown for good.
    Failed(Failure<V>),
    /// Unknown as yet.
    Unknown(Failure<V>),
}

impl<H: Host> Client<H> {
    /// `POST /api/custom_template_jobs/`: straight to the video. The job comes back pending.
    pub fn submit(&self, request: H::Value, options: ChargeOptions) -> Calling<H::Value> {
        self.charge(Endpoint::Submit, None, Some(request), options)
    }

    /// `POST /api/custom_template_jobs/preview_async/`. The job comes back pending.
    pub fn preview_async(&self, request: H::Value, options: ChargeOptions) -> Calling<H::Value> {
        self.charge(Endpoint::PreviewAsync, None, Some(request), options)
    }

    /// `POST /api/custom_template_jobs/preview/`: one request that blocks until the preview is there.
    pub fn preview_sync(&self, request: H::Value, options: ChargeOptions) -> Calling<H::Value> {
        self.charge(Endpoint::PreviewSync, None, Some(request), options)
    }

    /// `POST /api/custom_template_jobs/{id}/render/`. A job that is rendered, or about to be, is returned and not charged.
    pub fn render(&self, id: &str, request: Option<H::Value>, options: ChargeOptions) -> Calling<H::Value> {
        self.charge(Endpoint::Render, Some(id.into()), request, options)
    }

    /// Any of the four calls that charge; `render` is the job's id for that one. What is asked for is checked at once;
    /// nothing is sent before the call is waited for.
    pub fn charge(
        &self,
        endpoint: Endpoint,
        render: Option<String>,
        request: Option<H::Value>,
        options: ChargeOptions,
    ) -> Calling<H::Value> {
        let (client, prepared) = (self.clone(), self.prepare(endpoint, render, request, options));
        Box::pin(async move {
            let charge = prepared?;
            let result = client.charge_once(&charge).await;
            result.map_err(|failure| failure.about(Some(&charge.operation), charge.render.as_deref()))
        })
    }

    /// Checks everything that can be checked before anything is sent.
    fn prepare(
        &self,
        endpoint: Endpoint,
        render: Option<String>,
        request: Option<H::Value>,
        options: ChargeOptions,
    ) -> Result<Rc<Charge<H>>, Error> {
        let Some(step) = endpoint.charges() else { return Err(Error::invalid("endpoint", &["does not charge"])) };
        if let Some(id) = &render {
            check_id(id)?;
        }
        let operation = match (options.operation, &render) {
            (Some(operation), _) => operation,
            (None, Some(id)) => join(&["render:", id]),
            (None, None) => self.host().uuid(),
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
        Ok(Rc::new(Charge {
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
        }))
    }

    async fn charge_once(&self, charge: &Rc<Charge<H>>) -> Outcome<H::Value> {
        let host = self.host();
        // Another call of this client is posting the same operation: wait for it, then see what it left.
        while self.0.known.borrow().posting.contains(&charge.operation) {
            if host.now().monotonic >= charge.deadline {
                return Err(charge_unknown().into());
            }
            Unheard(host.sleep_or_wake(JOIN_INTERVAL)).await;
        }
        let mut held = Held::enter(self, charge);
        if let Some(lock) = host.lock(&charge.key) {
            held.lock = lock.await.ok();
        }
        let held = Rc::new(held);

        let mut attempt = 0;
        let id = loop {
            // One look before a render: what is rendered or being rendered is not paid for again.
            let mut before = None;
            if let Some(id) = &charge.render {
                let look = self.read(Endpoint::Get, id, None, self.0.config.max_retries, false).await;
                before = Some(look.map_err(Failure::unsent)?);
            }
            // From here on the charge outlives its caller: whoever drops this future only stops waiting.
            let post = Detached::new(host, &held.alone, Self::attempt(Rc::clone(&held), before));
            let patience = host.sleep((charge.deadline - host.now().monotonic).max(0.0));
            match either(post, patience).await {
                None => return Err(charge_unknown().into()),
                Some(Posted::Job(job)) => return Ok(job),
                Some(Posted::Fetch(id)) => break id,
                Some(Posted::Again) => {}
                Some(Posted::Failed(failure) | Posted::Unknown(failure)) => return Err(failure),
                Some(Posted::NotSent(failure)) => {
                    let wait = retry::backoff(attempt, self.host().random(), None);
                    if attempt >= RESENDS || host.now().monotonic + wait >= charge.deadline {
                        return Err(failure);
                    }
                    host.event(Event::Retry { path: &charge.path(), in_ms: wait });
                    Unheard(host.sleep(wait)).await;
                    attempt += 1;
                }
            }
        };
        self.get(&id, None).await
    }

    /// Decides what follows from the journal's word and from the look before a render.
    fn next(&self, charge: &Charge<H>, claim: Claim, before: Option<&H::Value>, alone: bool) -> Next<H> {
        let facts = before.and_then(JobFacts::read);
        if let (Some(job), Some(facts)) = (before, &facts)
            && facts.is_rendered_or_rendering()
        {
            return Next::Written(self.bind(charge, &facts.id), Posted::Job(job.clone()));
        }
        match claim {
            // Its caller went away while the operation was being written down: then it is taken back.
            Claim::New if alone => Next::Written(self.delete(charge), Posted::Again),
            Claim::New => match self.refusal(charge) {
                Ok(()) => Next::Post,
                Err(refusal) => Next::Written(self.delete(charge), Posted::Failed(refusal.into())),
            },
            // A render that failed may be asked for again, and is paid for again.
            Claim::Fetch(_) if facts.is_some_and(|facts| facts.status.is_failure()) => {
                Next::Written(self.delete(charge), Posted::Again)
            }
            Claim::Fetch(id) => {
                self.remember(charge, &id, State::Bound(id.clone()));
                Next::End(Posted::Fetch(id))
            }
            _ => Next::End(Posted::Failed(charge_unknown().into())),
        }
    }

    /// Writes the operation down, or tells what stands there already.
    async fn claim(&self, charge: &Charge<H>) -> Result<Claim, Failure<H::Value>> {
        let mut call = JournalCall::Create;
        loop {
            let entry = match call {
                JournalCall::Create => charge.entry(State::Posting, self.host().now().wall).encode(),
                _ => String::new(),
            };
            let answer = self.journal(call, &charge.key, &entry).await?;
            call = match (call, answer.as_text()) {
                (JournalCall::Create, _) if answer.kind() == Kind::Bool(true) => return Ok(Claim::New),
                (JournalCall::Create, _) => JournalCall::Read,
                (_, Some(found)) => {
                    let claim = charge::claim(Entry::decode(&found).as_ref(), charge.step, &charge.fingerprint);
                    if claim == Claim::Conflict {
                        let message =
                            "This operation id was used before for another request; nothing was sent. Use a new id.";
                        return Err(Error::new(Reason::OperationConflict, &[message]).into());
                    }
                    return Ok(claim);
                }
                // It went in between; then the next round creates it.
                _ => JournalCall::Create,
            };
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

    /// Claims the operation, posts once, and writes down what came of it. `before` is the job that is rendered, as it
    /// was; until this ends, the operation is held.
    async fn attempt(held: Rc<Held<H>>, before: Option<H::Value>) -> Posted<H::Value> {
        let (client, charge) = (&held.client, &*held.charge);
        let claim = match client.claim(charge).await {
            Ok(claim) => claim,
            Err(failure) => return Posted::Failed(failure),
        };
        match client.next(charge, claim, before.as_ref(), held.alone.get()) {
            Next::Post => {}
            Next::End(posted) => return posted,
            Next::Written(written, posted) => {
                written.await;
                if let Posted::Job(job) = &posted {
                    client.notice(job);
                }
                return posted;
            }
        }
        let timeout = client.0.config.preview_timeout.max(client.0.config.timeout);
        let reply =
            client.send(charge.endpoint, &charge.path(), charge.request.clone(), Some(&charge.operation), timeout).await;
        let (posted, written) = client.settled(charge, reply);
        written.await;
        if let Posted::Job(job) = &posted {
            client.notice(job);
        }
        let Posted::Unknown(failure) = posted else { return posted };
        // A render has an id to look at; the other steps have none.
        let Some(before) = before.as_ref().and_then(JobFacts::read) else { return Posted::Failed(failure) };
        let Ok(job) = client.get(&before.id, None).await else { return Posted::Failed(failure) };
        if JobFacts::read(&job).is_some_and(|after| was_touched(&before, &after)) {
            client.bind(charge, &before.id).await;
            return Posted::Job(job);
        }
        Posted::Failed(failure.with_job(Some(job)))
    }

    /// What a reply means, and the journal that is being told of it.
    fn settled(&self, charge: &Charge<H>, reply: Reply<H::Value>) -> (Posted<H::Value>, Unheard<H::Wait>) {
        let verdict = charge.judge(&reply);
        self.host().event(Event::Verdict {
            operation: &charge.operation,
            verdict: verdict.as_str(),
            job: if let Verdict::Bound(id) = &verdict { Some(id) } else { None },
        });
        match verdict {
            Verdict::Bound(id) => {
                let written = self.bind(charge, &id);
                let posted = match reply {
                    Reply::Answered { body: Body::Json(job), .. } if is_job(&job, &id) => Posted::Job(job),
                    _ => Posted::Fetch(id),
                };
                (posted, written)
            }
            Verdict::Rejected => (Posted::Failed(told(reply)), self.delete(charge)),
            Verdict::NotSent => {
                let message = "The server could not be reached; nothing was sent. Try again later.";
                let error = Error::new(Reason::Connection { sent: false }, &[message]);
                (Posted::NotSent(told(reply).instead(error)), self.delete(charge))
            }
            Verdict::Unknown => (Posted::Unknown(told(reply).instead(charge_unknown())), self.write(charge, State::Unknown)),
        }
    }

    /// A verdict that cannot be written does not take the answer from the caller: the entry then still
    /// says posting, which is never sent again either.
    fn write(&self, charge: &Charge<H>, state: State) -> Unheard<H::Wait> {
        let entry = charge.entry(state, self.host().now().wall).encode();
        Unheard(self.host().journal(JournalCall::Write, &charge.key, &entry))
    }

    fn bind(&self, charge: &Charge<H>, id: &str) -> Unheard<H::Wait> {
        self.remember(charge, id, State::Bound(id.into()));
        self.write(charge, State::Bound(id.into()))
    }

    fn remember(&self, charge: &Charge<H>, id: &str, state: State) {
        self.0.known.borrow_mut().remember(Charged {
            job: id.into(),
            step: charge.step,
            template: charge.template.clone(),
            since: charge.begun,
            open: Some(Box::new(Operation {
                operation: charge.operation.clone(),
                entry: charge.entry(state, self.host().now().wall),
            })),
        });
    }

    /// Nothing was charged: the id is free for another try, and the budget gets its credits back.
    fn delete(&self, charge: &Charge<H>) -> Unheard<H::Wait> {
        self.0.known.borrow_mut().refund(&charge.operation);
        Unheard(self.host().journal(JournalCall::Delete, &charge.key, ""))
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
                    Body::Json(job) => JobFacts::id_of(job),
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
    charge: Rc<Charge<H>>,
    lock: Option<H::Value>,
    /// Whether its caller went away.
    alone: Rc<Cell<bool>>,
}

impl<H: Host> Held<H> {
    fn enter(client: &Client<H>, charge: &Rc<Charge<H>>) -> Self {
        client.0.known.borrow_mut().posting.push(charge.operation.clone());
        Self { client: client.clone(), charge: Rc::clone(charge), lock: None, alone: Rc::default() }
    }
}

impl<H: Host> Drop for Held<H> {
    fn drop(&mut self) {
        remove_where(&mut self.client.0.known.borrow_mut().posting, |operation| *operation == self.charge.operation);
        if let Some(lock) = self.lock.take() {
            self.client.host().unlock(lock);
        }
        self.client.host().wake();
    }
}

/// Puts the operation id where a webhook's URL says `{operation}`.
fn fill_operation(url: &str, operation: &str) -> String {
    for at in 0..url.len() {
        if let Some((before, rest)) = url.split_at_checked(at)
            && let Some(after) = rest.strip_prefix(OPERATION_PLACEHOLDER)
        {
            return join(&[before, operation, after]);
        }
    }
    url.into()
}

/// Whether anything shows that a render was carried out between two looks.
fn was_touched(before: &JobFacts, after: &JobFacts) -> bool {
    after.is_rendered_or_rendering()
        || after.status != before.status
        || after.updated_at != before.updated_at
        || after.credits_used != before.credits_used
}
