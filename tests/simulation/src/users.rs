//! The users: they charge, wait, read, click again, abort, and settle or discard unknown operations.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use custom_template_jobs::api::{Endpoint, Goal};
use custom_template_jobs::client::{ChargeOptions, Client, Operation, PollOptions};
use custom_template_jobs::error::ErrorKind;
use sandbox::random::Random;
use serde_json::{Value, json};
use test_host::TestHost;
use test_host::fixtures::Failure;

use crate::checker::Checker;
use crate::faults::Fault;
use crate::world::{SLOTS, Sim};

/// A call to make.
#[derive(Clone, Debug)]
enum Action {
    /// The charge with this index, and its timeout.
    Charge(usize, Option<f64>),
    Poll(String, PollOptions),
    Get(String),
    Templates,
    Credits,
    Pending,
    Settle(String, Option<String>),
    Discard(String),
}

/// The value that a call returns.
#[derive(Debug)]
pub enum Returned {
    Job(Value),
    Operations(Vec<Operation>),
    Nothing,
}

/// A call of a client.
#[derive(Debug)]
pub struct Call {
    action: Action,
    host: usize,
    operation: Option<String>,
    pub begun: f64,
    /// Whether it requests another render of a job that has one.
    pub renders_anew: bool,
    /// Whether the journal had the job of its operation when it began.
    bound: bool,
    /// When it settled, or its caller aborted.
    ended: Option<f64>,
    crashed: bool,
}

/// An intended charge. It may be called more than once.
#[derive(Clone, Debug)]
struct Charge {
    endpoint: Endpoint,
    operation: String,
    explicit: bool,
    request: Option<Value>,
    /// The job that is rendered.
    job: Option<String>,
    seconds: f64,
}

/// The users of a world.
#[derive(Debug)]
pub struct Users {
    calls: Vec<Call>,
    charges: Vec<Charge>,
    /// Jobs that were returned to a caller.
    jobs: Vec<String>,
    /// The number of charges to make, and the number made.
    pub limit: u64,
    pub operations: u64,
    pause: f64,
}

impl Users {
    pub fn new(random: &mut Random) -> Self {
        let pause = random.between(50.0, 6_000.0);
        Self { calls: Vec::new(), charges: Vec::new(), jobs: Vec::new(), limit: 0, operations: 0, pause }
    }

    /// The client of that host has crashed.
    pub fn crashed(&mut self, host: usize) {
        for call in self.calls.iter_mut().filter(|call| call.host == host && call.ended.is_none()) {
            call.crashed = true;
        }
    }

    /// The first call in flight of a host that charges for an operation.
    pub fn charging(&self, operation: &str, host: usize) -> Option<&Call> {
        let is_it = |call: &&Call| call.host == host && call.operation.as_deref() == Some(operation) && call.ended.is_none();
        self.calls.iter().find(is_it)
    }

    /// Whether no other call, of this host or anywhere, was about the same operation at the same time.
    fn is_alone(&self, number: usize, anywhere: bool) -> bool {
        let call = &self.calls[number];
        let same = |(other, one): &(usize, &Call)| {
            *other != number
                && (anywhere || one.host == call.host)
                && one.operation == call.operation
                && one.operation.is_some()
        };
        // A call whose caller aborted may go on.
        !self
            .calls
            .iter()
            .enumerate()
            .filter(same)
            .any(|(_, one)| one.ended.is_none_or(|ended| ended + 400_000.0 >= call.begun))
    }

    /// Every call has settled, unless its process crashed.
    pub fn check(&self, checker: &mut Checker) {
        for (number, call) in self.calls.iter().enumerate().filter(|(_, call)| !call.crashed && call.ended.is_none()) {
            checker.violated(|| format!("call {number} never settles: {:?}", call.action));
        }
    }
}

/// Updates the number of calls that settle or discard an operation.
fn count(checker: &mut Checker, action: &Action, change: impl FnOnce(&mut u32)) {
    match action {
        Action::Settle(operation, _) => change(&mut checker.operations.entry(operation.clone()).or_default().settling),
        Action::Discard(operation) => change(&mut checker.operations.entry(operation.clone()).or_default().discarding),
        _ => {}
    }
}

/// The output of a future, or `None` if `other` is ready before.
async fn unless<T>(other: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    let (mut other, mut work) = (pin!(other), pin!(work));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => other.as_mut().poll(context).map(|()| None),
    })
    .await
}

impl Sim {
    /// Makes calls until the number of charges is reached.
    pub async fn run_users(self: Rc<Self>) {
        loop {
            {
                let users = &self.state.borrow().users;
                if users.operations >= users.limit {
                    return;
                }
            }
            let pause = self.state.borrow().users.pause;
            self.world.sleep(-pause * (1.0 - self.between(0.0, 1.0)).ln()).await;
            self.tick();
            self.machine_faults();
            if let Some((slot, action)) = self.draw_call() {
                self.begin(slot, action);
            }
        }
    }

    /// Makes a call after a delay.
    fn later(self: &Rc<Self>, ms: f64, slot: usize, action: Action) {
        let sim = Rc::clone(self);
        self.world.after(ms, move || sim.begin(slot, action));
    }

    /// Settles an operation after a delay, with the id of its job where it is credible.
    pub fn settle_later(self: &Rc<Self>, ms: f64, slot: usize, operation: String, job: Option<String>) {
        let sim = Rc::clone(self);
        self.world.after(ms, move || {
            let job = job.filter(|job| sim.state.borrow().checker.is_credible(&operation, job));
            sim.begin(slot, Action::Settle(operation, job));
        });
    }

    fn slot(&self) -> usize {
        self.state.borrow_mut().random.next() as usize % SLOTS
    }

    fn pick<T: Clone>(&self, list: impl Fn(&Users) -> &Vec<T>) -> Option<T> {
        let state = &mut *self.state.borrow_mut();
        let list = list(&state.users);
        list.get(state.random.next() as usize % list.len().max(1)).cloned()
    }

    /// Adds an intended charge and returns its index.
    fn new_charge(&self, endpoint: Endpoint, job: Option<String>) -> usize {
        let is_render = endpoint == Endpoint::Render;
        let (token, explicit) = (self.chance(0.6), self.chance(if is_render { 0.3 } else { 0.6 }));
        let anew = is_render && explicit && self.chance(0.3);
        let state = &mut *self.state.borrow_mut();
        let number = state.users.charges.len();
        let template = &state.engine.templates()[state.random.next() as usize % state.engine.templates().len()];
        // For a render the caller knows the length of the job; the longest is safe.
        let seconds = if is_render { 45.0 } else { template.seconds };
        let variables = json!({"headline": {"type": "text", "properties": {"content": format!("{number}")}}});
        let mut request = match endpoint {
            Endpoint::Render if anew => Some(json!({"variables": variables})),
            Endpoint::Render => token.then(|| json!({})),
            _ => Some(json!({"template_id": template.id.to_string(), "variables": {}, "name": format!("charge {number}")})),
        };
        if let Some(request) = request.as_mut().filter(|_| token) {
            request["webhook_url"] = "https://hook.test/{operation}".into();
        }
        let operation = match &job {
            _ if explicit => format!("op-{number}"),
            Some(job) => format!("render:{job}"),
            None => state.random.uuid().to_string(),
        };
        state.users.charges.push(Charge { endpoint, operation, explicit, request, job, seconds });
        number
    }

    /// Draws the next call and the client that makes it.
    fn draw_call(self: &Rc<Self>) -> Option<(usize, Action)> {
        let slot = self.slot();
        let roll = self.between(0.0, 1.0);
        let action = match (roll, self.pick(|users| &users.jobs)) {
            (0.45..0.65, Some(job)) => self.charge(self.new_charge(Endpoint::Render, Some(job))),
            (0.65..0.72, Some(job)) => self.poll(job),
            (0.72..0.74, _) => Action::Pending,
            (0.74..0.76, Some(job)) => Action::Get(job),
            (0.76..0.77, _) if self.chance(0.5) => Action::Templates,
            (0.76..0.77, _) => Action::Credits,
            (0.77..0.82, _) => {
                let operation = self.pick(|users| &users.charges).filter(|charge| charge.explicit)?.operation;
                // The caller of a render knows its job, whether the render was accepted or not.
                let job = self.webhook_of(&operation);
                let render = self.state.borrow().checker.operations.get(&operation).and_then(|known| known.render.clone());
                self.settle_later(0.0, slot, operation, render.or(job));
                return None;
            }
            _ => {
                let again = self.pick(|users| &users.charges).is_some() && self.strikes(Fault::Again);
                if again {
                    let number = {
                        let state = &mut *self.state.borrow_mut();
                        state.random.next() as usize % state.users.charges.len()
                    };
                    self.again(number)
                } else {
                    let endpoints =
                        [Endpoint::Submit, Endpoint::PreviewAsync, Endpoint::PreviewAsync, Endpoint::PreviewSync];
                    let at = self.state.borrow_mut().random.next() as usize % endpoints.len();
                    let number = self.new_charge(endpoints[at], None);
                    if self.strikes(Fault::Conflict)
                        && let Some(taken) = self.pick(|users| &users.charges)
                    {
                        self.state.borrow_mut().users.charges[number].operation = taken.operation;
                    }
                    self.charge(number)
                }
            }
        };
        Some((slot, action))
    }

    /// The same charge once more, by the id of its operation.
    fn again(&self, number: usize) -> Action {
        {
            let charge = &mut self.state.borrow_mut().users.charges[number];
            charge.explicit |= charge.job.is_none();
        }
        self.charge(number)
    }

    fn charge(&self, number: usize) -> Action {
        Action::Charge(number, self.strikes(Fault::ShortTime).then(|| self.between(0.0, 5_000.0)))
    }

    fn poll(&self, job: String) -> Action {
        let until = self.chance(0.3).then(|| if self.chance(0.5) { Goal::Preview } else { Goal::Video });
        let timeout = Some(self.between(5_000.0, 240_000.0));
        Action::Poll(job, PollOptions { until, timeout, attentive: self.chance(0.5), ..PollOptions::default() })
    }

    /// The job that a webhook names for an operation. If the operation's id is in the URL, the webhook may be forged.
    fn webhook_of(&self, operation: &str) -> Option<String> {
        let (job, token) = {
            let state = self.state.borrow();
            let known = state.checker.operations.get(operation)?;
            (known.webhook.clone(), known.token)
        };
        if token && self.strikes(Fault::WebhookForged) { self.pick(|users| &users.jobs) } else { job }
    }

    /// Calls the client in a slot.
    fn begin(self: &Rc<Self>, slot: usize, action: Action) {
        let (number, client) = {
            let state = &mut *self.state.borrow_mut();
            let host = state.slots[slot];
            let mut operation = None;
            let mut renders_anew = false;
            if let Action::Charge(number, _) = action {
                if state.users.operations >= state.users.limit {
                    return;
                }
                state.users.operations += 1;
                let charge = &state.users.charges[number];
                operation = Some(charge.operation.clone());
                renders_anew =
                    charge.explicit && charge.request.as_ref().is_some_and(|request| request["variables"].is_object());
            }
            let number = state.users.calls.len();
            let about = operation.clone();
            state.note(self.world.now(), || format!("call {number} of host {host}: {action:?} {about:?}"));
            count(&mut state.checker, &action, |count| *count += 1);
            let begun = self.world.now();
            let bound = operation.as_ref().is_some_and(|id| state.checker.is_bound(id, self.world.journal()));
            state.users.calls.push(Call {
                bound,
                action: action.clone(),
                host,
                operation,
                begun,
                renders_anew,
                ended: None,
                crashed: false,
            });
            (number, state.tabs[host].client.clone())
        };
        let leaves = if self.strikes(Fault::Leave) { self.between(0.0, 1.0).powi(3) * 60_000.0 } else { f64::INFINITY };
        let sim = Rc::clone(self);
        let host = client.host().clone();
        custom_template_jobs::host::Host::spawn(&host, async move {
            let outcome = unless(sim.world.sleep(leaves), Box::pin(sim.perform(&client, action))).await;
            sim.ended(number, outcome);
        });
    }

    async fn perform(&self, client: &Client<TestHost>, action: Action) -> Result<Returned, Failure> {
        Ok(match action {
            Action::Charge(number, timeout) => {
                let Charge { endpoint, operation, explicit, request, job, seconds } =
                    self.state.borrow().users.charges[number].clone();
                let seconds = Some(seconds);
                let options = ChargeOptions { operation, explicit, seconds, timeout, ..ChargeOptions::default() };
                let request = request.map(|request| request.to_string());
                let text = request.as_deref().unwrap_or("{}");
                Returned::Job(match endpoint {
                    Endpoint::Render => client.render(&job.unwrap_or_default(), request.as_deref(), options).await?,
                    Endpoint::PreviewAsync => client.preview_async(text, options).await?,
                    Endpoint::PreviewSync => client.preview_sync(text, options).await?,
                    _ => client.submit(text, options).await?,
                })
            }
            Action::Poll(job, options) => Returned::Job(client.poll(&job, None, options, None).await?),
            Action::Get(job) => Returned::Job(client.get(&job, None).await?),
            Action::Templates => client.templates(None).await.map(|_| Returned::Nothing)?,
            Action::Credits => client.remaining_credits(None).await.map(|_| Returned::Nothing)?,
            Action::Pending => Returned::Operations(client.pending().await?),
            Action::Settle(operation, job) => client.settle(&operation, job.as_deref()).await.map(|_| Returned::Nothing)?,
            Action::Discard(operation) => client.discard(&operation).await.map(|()| Returned::Nothing)?,
        })
    }

    /// Checks the outcome of a call, and may make another call in response. `None` if its caller aborted.
    fn ended(self: &Rc<Self>, number: usize, outcome: Option<Result<Returned, Failure>>) {
        let now = self.world.now();
        let (action, call) = {
            let state = &mut *self.state.borrow_mut();
            state.note(now, || format!("call {number} ends: {outcome:.300?}"));
            let call = &mut state.users.calls[number];
            call.ended = Some(now);
            let word = match &outcome {
                None => "left",
                Some(Ok(_)) => "ok",
                Some(Err(failure)) => failure.name(),
            };
            let (action, call) = (call.action.clone(), (call.host, call.operation.clone(), call.begun));
            state.hash = crate::mix(crate::mix(state.hash, &now.to_bits().to_le_bytes()), word.as_bytes());
            // If its caller aborted, or the journal did not return, it may still happen.
            let is_over = |failure: &Failure| *failure.kind() != ErrorKind::Journal;
            if outcome.as_ref().is_some_and(|outcome| outcome.as_ref().err().is_none_or(is_over)) {
                count(&mut state.checker, &action, |count| *count -= 1);
            }
            (action, call)
        };
        let (host, operation, begun) = call;
        let operation = operation.unwrap_or_default();
        match (outcome, action) {
            (Some(Ok(Returned::Job(job))), Action::Charge(number, _)) => self.charged(number, &job),
            (Some(Err(failure)), Action::Charge(intended, _)) => {
                {
                    let state = &mut *self.state.borrow_mut();
                    let unknown = *failure.kind() == ErrorKind::ChargeUnknown;
                    if unknown && state.users.calls[number].bound && state.users.is_alone(number, true) {
                        state.checker.violated(|| {
                            format!("the job of {operation} is in the journal, but its caller gets {failure:?}")
                        });
                    }
                    if state.users.is_alone(number, false) {
                        check_failure(&mut state.checker, &operation, host, begun, now, &failure);
                    }
                    if failure.operation() != Some(operation.as_str()) {
                        state.checker.violated(|| format!("the failure of a charge for {operation} names {failure:?}"));
                    }
                    // An id made for one call is not looked up in the journal; only the fault `Conflict` uses it twice.
                    let Charge { explicit, job, .. } = &state.users.charges[intended];
                    let taken = state.users.charges.iter().filter(|charge| charge.operation == operation).count() > 1;
                    if state.users.is_alone(number, true) && (!taken || *explicit || job.is_some()) {
                        state.checker.check_charged(&failure, host, begun);
                    }
                }
                self.react(intended, operation, &failure);
            }
            (Some(Ok(Returned::Job(job))), Action::Poll(id, options)) => {
                let url = |name: &str| job[name].as_str().is_some_and(|url| !url.is_empty());
                let done = job["status"] == "done";
                let met = match options.until {
                    Some(Goal::Video) => done && url("video_output"),
                    Some(Goal::Preview) => url("preview"),
                    _ => done || url("preview"),
                };
                if job["id"] != id.as_str() || !met {
                    self.violated(|| format!("a poll of {id} until {:?} returns {job}", options.until));
                }
                if done && url("preview") && self.chance(0.5) {
                    let action = self.charge(self.new_charge(Endpoint::Render, Some(id)));
                    self.later(0.0, self.slot(), action);
                }
            }
            (Some(Err(failure)), Action::Poll(..) | Action::Settle(..) | Action::Discard(_)) => {
                let state = &mut *self.state.borrow_mut();
                state.checker.check_charged(&failure, host, begun);
            }
            (Some(Ok(Returned::Job(job))), Action::Get(id)) if job["id"] != id.as_str() => {
                self.violated(|| format!("get({id}) returns {job}"));
            }
            _ => {}
        }
    }

    /// Checks the job that a charge returned.
    fn charged(self: &Rc<Self>, number: usize, job: &Value) {
        let id = job["id"].as_str().unwrap_or_default().to_owned();
        {
            let state = &mut *self.state.borrow_mut();
            let Charge { operation, request, job: rendered, .. } = state.users.charges[number].clone();
            if !state.checker.is_rightful(&operation, &id, rendered.is_some(), None, &state.engine) {
                state.checker.violated(|| format!("{operation} returns {id}, for which it was not charged"));
            }
            let Some(known) = state.checker.operations.get_mut(&operation) else { return state.users.jobs.push(id) };
            known.returned = true;
            let asked = match &rendered {
                Some(rendered) => *rendered == id,
                None => {
                    known.fetches.iter().any(|fetch| fetch.is_crossed() || fetch.was_discarded_wrongly())
                        || request.is_some_and(|request| request["name"] == job["name"])
                }
            };
            if !asked {
                state.checker.violated(|| format!("{operation} returns {id}, the job of another request"));
            }
            state.users.jobs.push(id.clone());
        }
        if self.chance(0.4) {
            let action = self.poll(id);
            self.later(0.0, self.slot(), action);
        }
    }

    /// Reacts to the failure of a charge.
    fn react(self: &Rc<Self>, number: usize, operation: String, failure: &Failure) {
        if *failure.kind() == ErrorKind::ChargeUnknown {
            let slot = self.slot();
            if self.strikes(Fault::Discard) {
                // Most users check their account before.
                let charged = self.state.borrow().checker.has_charged(&operation);
                if !charged || self.chance(0.2) {
                    self.later(self.between(0.0, 20_000.0), slot, Action::Discard(operation.clone()));
                }
            } else if self.chance(0.5) {
                let job = self.webhook_of(&operation);
                self.settle_later(self.between(0.0, 20_000.0), slot, operation, job);
            }
        }
        if self.strikes(Fault::Again) {
            let action = self.again(number);
            self.later(self.between(0.0, 3_000.0), self.slot(), action);
        }
    }

    /// The output of a call in the first slot, after all faults have stopped.
    pub fn last_call(self: &Rc<Self>, call: LastCall<'_>) -> Option<Result<Returned, Failure>> {
        let client = {
            let state = self.state.borrow();
            state.tabs[state.slots[0]].client.clone()
        };
        let action = match call {
            LastCall::Pending => Action::Pending,
            LastCall::Settle(operation, job) => Action::Settle(operation.to_owned(), job),
        };
        count(&mut self.state.borrow_mut().checker, &action, |count| *count += 1);
        let output = RefCell::new(None);
        let done = self.world.try_run(async {
            let returned = self.perform(&client, action.clone()).await;
            *output.borrow_mut() = Some(returned);
        });
        count(&mut self.state.borrow_mut().checker, &action, |count| *count -= 1);
        if done.is_err() {
            self.violated(|| format!("{action:?} never settles"));
        }
        output.into_inner()
    }
}

/// A call at the end of a seed.
#[derive(Clone, Debug)]
pub enum LastCall<'a> {
    Pending,
    Settle(&'a str, Option<String>),
}

/// Checks that a failure is true: whether something was sent, and which job the answer named.
fn check_failure(checker: &mut Checker, operation: &str, host: usize, begun: f64, now: f64, failure: &Failure) {
    let mut broken = None;
    for fetch in checker.fetches_since(operation, host, begun) {
        match failure.kind() {
            ErrorKind::Connection { sent: false } if fetch.is_open() => {
                broken = Some(format!("the caller of {operation} gets `sent: false`, but it was"));
            }
            _ => {}
        }
        if let Some(job) = fetch.named_before(now)
            && failure.job_id() != Some(job)
        {
            broken = Some(format!("the answer to {operation} named {job}, but its caller gets {failure:?}"));
        }
    }
    if let Some(rule) = broken {
        checker.violated(|| rule);
    }
}
