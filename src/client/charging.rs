//! How a charge is carried out: claim the operation, write it down, post once, and live with whatever comes back.

use std::any::Any;
use std::pin::pin;
use std::rc::Rc;

use super::answer::{Failure, Outcome, answered, charge_unknown, connection_lost, journal_failed, timed_out};
use super::known::Charged;
use super::tasks::{Detached, either};
use super::{ChargeOptions, Client};
use crate::api::{Checked, Endpoint, JobFacts, ModelVersion, OPERATION_PLACEHOLDER, Step, check_id, check_request};
use crate::charge::{self, Claim, Entry, State, Verdict};
use crate::error::{Error, Reason, join};
use crate::host::{Body, Event, Host, Reply};
use crate::retry;
use crate::value::Value;

/// How often a charge that was proven unsent is sent again.
const RESENDS: u32 = 2;
/// How long between two looks at an operation that another call is posting, in milliseconds.
const JOIN_INTERVAL: f64 = 100.0;

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
        self.charge(Endpoint::Render, Some(id), request, options).await
    }

    async fn charge(
        &self,
        endpoint: Endpoint,
        render: Option<&str>,
        request: Option<H::Value>,
        options: ChargeOptions,
    ) -> Outcome<H::Value> {
        let Some(step) = endpoint.charges() else { return Err(timed_out()) };
        if let Some(id) = render {
            check_id(id)?;
        }
        if options.operation.as_ref().is_some_and(|operation| operation.is_empty() || operation.len() > 255) {
            return Err(Error::invalid("operation", &["must be 1 to 255 characters"]).into());
        }
        let operation = match (options.operation, render) {
            (Some(operation), _) => operation,
            (None, Some(id)) => join(&["render:", id]),
            (None, None) => uuid(self.host().random()),
        };

        // The token in the webhook's URL brings the job's id even where the answer is lost.
        let request = request.map(|request| match request.text("webhook_url") {
            Some(url) => request.with_text("webhook_url", &fill_operation(&url, &operation)),
            None => request,
        });
        let checked = match &request {
            Some(request) => check_request(step, request)?,
            None => Checked::nothing(step),
        };
        let timeout = options.timeout.unwrap_or(match endpoint {
            Endpoint::PreviewSync => self.0.config.preview_timeout,
            _ => self.0.config.timeout,
        });
        let begun = self.host().now().monotonic;
        let deadline = begun + timeout;

        // Another call of this client is posting the same operation: wait for it, then see what it left.
        while self.0.known.borrow().posting.contains(&operation) {
            if self.host().now().monotonic >= deadline {
                return Err(charge_unknown().with_operation(&operation).into());
            }
            self.host().sleep_or_wake(JOIN_INTERVAL).await;
        }
        let posting = Posting::enter(self, &operation);
        let key = self.key(&operation);
        let lock = self.host().lock(&key).await;
        let template = request.as_ref().and_then(|request| request.text("template_id"));
        let charge = Rc::new(Charge {
            endpoint,
            step,
            template: template.or_else(|| self.0.known.borrow().template(render?)).unwrap_or_default(),
            render: render.map(String::from),
            request,
            fingerprint: checked.fingerprint.and(render.unwrap_or_default().as_bytes()).hex(),
            model: checked.model,
            seconds: options.seconds,
            operation,
            key,
            begun,
            _held: (posting, lock),
        });
        let result = self.charge_once(&charge, deadline).await;
        result.map_err(|failure| failure.about(Some(&charge.operation), charge.render.as_deref()))
    }

    async fn charge_once(&self, charge: &Rc<Charge<H>>, deadline: f64) -> Outcome<H::Value> {
        // One look first: what is rendered or being rendered is not paid for again.
        let mut before = None;
        if let Some(id) = &charge.render {
            let job = self.read(Endpoint::Get, id, None, self.0.config.max_retries).await.map_err(Failure::unsent)?;
            before = JobFacts::read(&job);
            if before.as_ref().is_some_and(JobFacts::is_rendered_or_rendering) {
                self.remember(charge, id);
                self.bind_if_open(charge, id).await;
                return Ok(job);
            }
        }

        let mut attempt = 0;
        loop {
            if let Some(result) = self.create(charge, before.as_ref()).await? {
                return result;
            }
            if !self.host().env().online {
                self.forget(charge).await;
                return Err(
                    Error::new(Reason::Connection { sent: false }, &["The machine is offline; nothing was sent."]).into()
                );
            }
            let reserved = self.0.known.borrow_mut().reserve(
                &charge.operation,
                &self.0.config.prices,
                charge.step,
                &charge.template,
                charge.model,
                charge.seconds,
            );
            if let Err(error) = reserved {
                self.forget(charge).await;
                return Err(error.into());
            }

            // From here on the charge outlives its caller: whoever drops this future only stops waiting.
            let post = Detached::new(self.host(), {
                let (client, charge) = (self.clone(), Rc::clone(charge));
                async move { client.post(&charge).await }
            });
            let left = deadline - self.host().now().monotonic;
            let Some((verdict, reply)) = either(post, pin!(self.sleep(left))).await else {
                return Err(charge_unknown().into());
            };
            match (verdict, reply) {
                (Verdict::Bound(id), Reply::Answered { body: Body::Json(job), .. })
                    if JobFacts::read(&job).is_some_and(|facts| facts.id == id) =>
                {
                    self.notice(&job).await;
                    return Ok(job);
                }
                // The id is known, and the job did not come with it whole.
                (Verdict::Bound(id), _) => return self.get(&id, None).await,
                (Verdict::NotSent, Reply::Lost { cause, .. }) => {
                    let wait = retry::backoff(attempt, self.chance(), None);
                    if attempt >= RESENDS || self.host().now().monotonic + wait >= deadline {
                        let message = "The server could not be reached; nothing was sent. Try again later.";
                        let error = Error::new(Reason::Connection { sent: false }, &[message]);
                        return Err(Failure::from(error).caused_by(cause));
                    }
                    self.host().event(Event::Retry { path: &charge.path(), in_ms: wait });
                    self.sleep(wait).await;
                    attempt += 1;
                }
                (Verdict::Rejected, Reply::Answered { status, retry_after, body }) => {
                    return Err(answered(status, retry_after, body));
                }
                (Verdict::Rejected, Reply::Unusable { field, message, cause }) => {
                    return Err(Failure::from(Error::invalid(field, &[message])).caused_by(cause));
                }
                (_, reply) => return self.look_after(charge, before.as_ref(), reply).await,
            }
        }
    }

    /// Writes the operation down. `Some` is what the one that stands there already comes to.
    async fn create(
        &self,
        charge: &Charge<H>,
        before: Option<&JobFacts>,
    ) -> Result<Option<Outcome<H::Value>>, Failure<H::Value>> {
        let entry = charge.entry(State::Posting, self.host().now().wall);
        loop {
            if self.host().journal_create(&charge.key, &entry.encode()).await.map_err(journal_failed)? {
                return Ok(None);
            }
            let found = self.host().journal_read(&charge.key).await.map_err(journal_failed)?;
            let Some(found) = found else { continue };
            return match charge::claim(Entry::decode(&found).as_ref(), charge.step, &charge.fingerprint) {
                // A render that failed may be asked for again, and is paid for again.
                Claim::Fetch(_) if before.is_some_and(|facts| facts.status.is_failure()) => {
                    self.host().journal_delete(&charge.key).await.map_err(journal_failed)?;
                    continue;
                }
                Claim::Fetch(id) => {
                    self.remember(charge, &id);
                    Ok(Some(self.get(&id, None).await))
                }
                Claim::Unknown => Err(charge_unknown().into()),
                Claim::Conflict => Err(Error::new(
                    Reason::OperationConflict,
                    &["This operation id was used before for another request; nothing was sent. Use a new id."],
                )
                .into()),
            };
        }
    }

    /// Posts once, and writes down what came of it.
    async fn post(&self, charge: &Charge<H>) -> (Verdict, Reply<H::Value>) {
        let timeout = self.0.config.preview_timeout.max(self.0.config.timeout);
        let path = charge.path();
        let reply = self.send(charge.endpoint, &path, charge.request.clone(), Some(&charge.operation), timeout).await;
        let verdict = {
            let facts_id;
            let outcome = match &reply {
                Reply::Answered { status, body, .. } => {
                    let id = match body {
                        Body::Json(job) => {
                            facts_id = JobFacts::read(job).map(|facts| facts.id);
                            facts_id.as_deref()
                        }
                        Body::Broken(text) => charge::salvage_id(text),
                        Body::Text(_) => None,
                    };
                    charge::Outcome::Answered(*status, id)
                }
                Reply::Lost { code, .. } => charge::Outcome::Lost(code),
                Reply::TimedOut => charge::Outcome::TimedOut,
                Reply::Unusable { .. } => charge::Outcome::Unusable,
            };
            charge::verdict(outcome, charge.render.as_deref())
        };
        self.host().event(Event::Verdict {
            operation: &charge.operation,
            verdict: verdict.as_str(),
            job: if let Verdict::Bound(id) = &verdict { Some(id) } else { None },
        });
        match &verdict {
            Verdict::Bound(id) => {
                self.remember(charge, id);
                self.bind(charge, id).await;
            }
            Verdict::Rejected | Verdict::NotSent => self.forget(charge).await,
            Verdict::Unknown => self.write(charge, State::Unknown).await,
        }
        (verdict, reply)
    }

    /// Looks whether a render whose answer was lost was carried out. The other steps have no id to look at.
    async fn look_after(&self, charge: &Charge<H>, before: Option<&JobFacts>, reply: Reply<H::Value>) -> Outcome<H::Value> {
        let failure = match reply {
            Reply::Lost { cause, .. } => connection_lost(cause),
            Reply::Answered { status, retry_after, body } => answered(status, retry_after, body),
            _ => timed_out(),
        };
        let failure = failure.instead(charge_unknown());
        let (Some(id), Some(before)) = (&charge.render, before) else { return Err(failure) };
        let Ok(job) = self.get(id, None).await else { return Err(failure) };
        if JobFacts::read(&job).is_some_and(|after| was_touched(before, &after)) {
            self.remember(charge, id);
            self.bind(charge, id).await;
            return Ok(job);
        }
        Err(failure.with_job(Some(job)))
    }

    /// A verdict that cannot be written does not take the answer from the caller: the entry then still
    /// says posting, which is never sent again either.
    async fn write(&self, charge: &Charge<H>, state: State) {
        let entry = charge.entry(state, self.host().now().wall).encode();
        let _ = self.host().journal_write(&charge.key, &entry).await;
    }

    async fn bind(&self, charge: &Charge<H>, id: &str) {
        self.write(charge, State::Bound(id.into())).await;
    }

    /// Binds the operation where the journal has it open: an earlier render whose outcome was unknown.
    async fn bind_if_open(&self, charge: &Charge<H>, id: &str) {
        if let Ok(Some(text)) = self.host().journal_read(&charge.key).await {
            let found = Entry::decode(&text);
            if charge::claim(found.as_ref(), charge.step, &charge.fingerprint) == Claim::Unknown {
                self.bind(charge, id).await;
            }
        }
    }

    fn remember(&self, charge: &Charge<H>, id: &str) {
        self.0.known.borrow_mut().remember(Charged {
            job: id.into(),
            step: charge.step,
            template: charge.template.clone(),
            since: charge.begun,
            operation: Some(charge.operation.clone()),
        });
    }

    /// Nothing was charged: the id is free for another try, and the budget gets its credits back.
    async fn forget(&self, charge: &Charge<H>) {
        self.0.known.borrow_mut().refund(&charge.operation);
        let _ = self.host().journal_delete(&charge.key).await;
    }
}

/// One charge, from its request to its verdict.
pub struct Charge<H: Host> {
    endpoint: Endpoint,
    step: Step,
    template: String,
    /// The job that is rendered.
    render: Option<String>,
    request: Option<H::Value>,
    fingerprint: String,
    model: ModelVersion,
    seconds: Option<f64>,
    operation: String,
    /// Where the journal has it.
    key: String,
    /// When it began, on the monotonic clock.
    begun: f64,
    /// Kept as long as anybody posts this: no other call and no other tab may.
    _held: (Posting<H>, Box<dyn Any>),
}

impl<H: Host> Charge<H> {
    fn path(&self) -> String {
        self.endpoint.path(self.render.as_deref().unwrap_or_default())
    }

    fn entry(&self, state: State, wall: f64) -> Entry {
        Entry { state, step: self.step, fingerprint: self.fingerprint.clone(), at: wall as u64 }
    }
}

/// Marks an operation as being posted by this client.
pub struct Posting<H: Host> {
    client: Client<H>,
    operation: String,
}

impl<H: Host> Posting<H> {
    fn enter(client: &Client<H>, operation: &str) -> Self {
        client.0.known.borrow_mut().posting.push(operation.into());
        Self { client: client.clone(), operation: operation.into() }
    }
}

impl<H: Host> Drop for Posting<H> {
    fn drop(&mut self) {
        self.client.0.known.borrow_mut().posting.retain(|operation| *operation != self.operation);
        self.client.host().wake();
    }
}

/// A version 4 UUID of random bits.
fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (at, byte) in random.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
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
