//! How a charge is carried out: claim the operation, write it down, post once, and live with whatever comes back.

use super::Core;
use super::answer::{Outcome, before_a_charge, is_job, journal_failed, no_answer, status_of, told, unsent};
use super::known::Charged;
use super::reading::event;
use crate::api::{Endpoint, JobFacts, ModelVersion, OPERATION_PLACEHOLDER, Status, Step, check_id, check_request, is_uuid};
use crate::charge::{self, Claim, Entry, State, Verdict};
use crate::credits;
use crate::error::{Failure, refuse, say};
use crate::host::{Answer, Host, JournalCall};
use crate::retry;
use crate::value::{Kept, Value};

/// How often a charge that was proven unsent is sent again.
const RESENDS: u32 = 2;
/// How often the journal may say that an operation is not new, and have nothing of it: others may have removed it in between.
const DENIALS: u32 = 10;
/// How often a render that fails may be asked for again under its id.
const RERENDERS: u32 = 10;
/// Why a charge whose caller went away is not sent.
const LEFT: &str = "Nobody waits for it any more; nothing was sent.";
/// How long between two looks at an operation that another call is posting, in milliseconds.
const JOIN_INTERVAL: f64 = 100.0;

/// One charge, from its request to its verdict.
pub struct Charge<V: Value> {
    endpoint: Endpoint,
    step: Step,
    template: Kept<V>,
    /// The job that is rendered, or nothing.
    render: Kept<V>,
    request: Kept<V>,
    fingerprint: f64,
    /// See [`Entry::hook`].
    hook: f64,
    /// See [`Entry::kind`].
    kind: f64,
    model: ModelVersion,
    /// Of video; NaN where it is not given.
    seconds: f64,
    operation: Kept<V>,
    /// Whether others may use the same operation id: it was not drawn for this call alone.
    named: bool,
    /// When it began on the monotonic clock, and how long its caller waits, in milliseconds.
    begun: f64,
    timeout: f64,
    stage: Stage,
    /// Whether this charge is the one that posts its operation.
    holds: bool,
    /// Whether only a look shows that the operation was carried out; see [`Entry::seen`].
    seen: bool,
    /// How many of its renders failed, so that it is asked for again.
    failed: u32,
    /// Tries that were proven unsent.
    attempt: u32,
    /// How often the journal said that the operation is not new, and had nothing of it.
    denied: u32,
    /// The job before its render, as it was found.
    before: Kept<V>,
    /// The id of the job that was paid for, once it is known.
    bound: Kept<V>,
    /// When it was first written down, in milliseconds since 1970.
    at: f64,
    /// What is set aside for it in the journal, in credits; NaN where nothing is.
    reserved: f64,
    /// What the charge comes to once what is under way has ended.
    outcome: Result<Kept<V>, Kept<V>>,
}

/// What a charge waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its turn: another call may be posting the same operation.
    Turn,
    /// Its turn among other tabs.
    Lock,
    /// The look at a job before it is rendered: what is rendered or being rendered is not paid for again.
    Look,
    /// The journal's word on whether the operation is new.
    Create,
    /// The entry of an operation that is not.
    Read,
    /// What it may cost to be set aside for every client with that budget.
    Reserve,
    /// All that is set aside or spent under that budget.
    Sum,
    /// The answer. Only this stage is begun by sending what charges.
    Post,
    /// The verdict to be written down; then the outcome stands.
    Write,
    /// As `Write`, and then the job is to be fetched.
    WriteBound,
    /// As `Write`, and then another try is due.
    WriteUnsent,
    /// The pause before another try.
    Pause,
    /// The job that the operation is bound to.
    Fetch,
    /// A look at whether a render whose answer was lost was carried out.
    Check,
    /// The entry of an operation whose answer was lost: another client may have settled it meanwhile.
    Settled,
}

impl<V: Value> Charge<V> {
    /// How long its caller waits, in milliseconds.
    pub(super) const fn timeout(&self) -> f64 {
        self.timeout
    }

    /// Whether it must go on when its caller goes away: from where something was written down.
    pub(super) const fn outlives_its_caller(&self) -> bool {
        !matches!(self.stage, Stage::Turn | Stage::Lock | Stage::Look | Stage::Pause)
    }
}

impl<V: Value> Charge<V> {
    /// Whether this is the one that posts its operation.
    pub(super) const fn holds(&self) -> bool {
        self.holds
    }

    /// Its operation's id.
    pub(super) fn operation(&self) -> V {
        *self.operation
    }

    /// What its caller is told whose time is over: what is decided by then, or whether its request may have left, or
    /// another one under the same operation id.
    pub(super) fn too_late(&self) -> Outcome<V> {
        Err(self.about(match self.stage {
            Stage::Look | Stage::Pause | Stage::Create | Stage::Reserve | Stage::Sum => {
                unsent("There was no time left; nothing was sent. Raise timeout, or try again later.")
            }
            // The answer is there; only the journal is slow.
            Stage::Write | Stage::WriteUnsent => return self.outcome().map_err(|failure| self.about(failure)),
            Stage::WriteBound | Stage::Fetch => no_answer(),
            _ => charge::unknown(),
        }))
    }

    /// What it comes to, as far as that is decided.
    fn outcome(&self) -> Outcome<V> {
        match &self.outcome {
            Ok(value) => Ok(**value),
            Err(failure) => Err(Failure(**failure)),
        }
    }

    fn path(&self) -> V {
        say(self.endpoint.path(), *self.render, *self.render)
    }

    fn entry(&self, state: State, job: V) -> Entry<V> {
        let Self { step, fingerprint, hook, seen, kind, at, .. } = *self;
        Entry { state, step, fingerprint, hook, seen, kind, at, job }
    }

    /// Somebody rendered the job: this operation, where its webhook's address is the job's.
    fn see(&mut self, job: V) {
        self.seen = job.get("webhook_url").hash(0.0) != self.hook;
    }

    /// Whether its render may be asked for again, should the last look have shown that it failed: not where that look saw
    /// the very failure that the entry's own render followed, for then it is an old copy.
    fn may_ask_again(&self, entry: V) -> bool {
        self.failed < RERENDERS && (self.failed == 0 || self.hook != entry.number_of("hook"))
    }

    /// A failure of this charge.
    fn about(&self, failure: Failure<V>) -> Failure<V> {
        failure.with("operation", *self.operation).with("jobId", self.render.or(|| *self.bound))
    }
}

impl<H: Host> Core<H> {
    /// Checks everything that can be checked before anything is sent.
    pub(super) fn prepare(
        &mut self,
        endpoint: Endpoint,
        step: Step,
        given: H::Value,
    ) -> Result<Box<Charge<H::Value>>, Failure<H::Value>> {
        let nothing = H::Value::nothing;
        let (mut request, mut operation) = (given.get("request"), given.get("operation"));
        let mut render = nothing();
        if step == Step::Render {
            render = given.get("id");
            check_id(render)?;
            operation = operation.or(|| say("render:%0", render, render));
        }
        let named = operation.is_there() && !given.get("drawn").is_there();
        operation = operation.or(|| self.host.uuid());
        if !operation.matches(r"^[\s\S]{1,255}$") {
            return Err(refuse("operation", "must be 1 to 255 characters"));
        }
        let print = check_request(step, request)?;
        // The token in the webhook's URL brings the job's id even where the answer is lost.
        let webhook = request.get("webhook_url");
        let mut hook = f64::NAN;
        let filled = given.get("filled");
        if filled.is_true() {
            hook = webhook.hash(0.0);
        } else if !filled.is_there() && webhook.matches(OPERATION_PLACEHOLDER) {
            let webhook = webhook.replaced(OPERATION_PLACEHOLDER, operation);
            hook = webhook.hash(0.0);
            request = request.copied().with("webhook_url", webhook);
        }
        let given_timeout = given.number_of("timeout");
        let config = &self.config;
        let usual = if endpoint == Endpoint::PreviewSync { config.preview_timeout } else { config.timeout };
        let model = ModelVersion::of(request)?;
        let template = request.get("template_id").or(|| self.known.template(render));
        Ok(Box::new(Charge {
            endpoint,
            step,
            template: template.into(),
            kind: self.known.kind(render, template, step, model),
            fingerprint: render.hash(print),
            hook,
            render: render.into(),
            model,
            request: request.into(),
            seconds: given.number_of("seconds"),
            operation: operation.into(),
            named,
            begun: self.host.now(),
            timeout: if given_timeout >= 0.0 { given_timeout } else { usual },
            stage: Stage::Turn,
            holds: false,
            seen: false,
            failed: 0,
            attempt: 0,
            denied: 0,
            before: Kept::nothing(),
            bound: Kept::nothing(),
            at: self.host.wall(),
            reserved: f64::NAN,
            outcome: Ok(Kept::nothing()),
        }))
    }

    /// Goes on with what came of the stage that the charge is in.
    pub(super) fn charge_on(
        &mut self,
        task: u32,
        charge: &mut Charge<H::Value>,
        answer: Answer<H::Value>,
    ) -> Option<Outcome<H::Value>> {
        let outcome = self.stage_on(task, charge, answer)?;
        if charge.holds {
            self.release(task, *charge.operation);
        }
        Some(outcome.map_err(|failure| charge.about(failure)))
    }

    fn stage_on(&mut self, task: u32, charge: &mut Charge<H::Value>, answer: Answer<H::Value>) -> Option<Outcome<H::Value>> {
        match charge.stage {
            Stage::Turn => self.take_turn(task, charge),
            // Without the lock the journal's atomic `create` still decides; only nobody waits for anybody.
            Stage::Lock | Stage::Pause => self.claim(task, charge),
            Stage::Look => match answer {
                Ok(job) => {
                    charge.before = job.into();
                    self.create(task, charge);
                }
                Err(failure) => return Some(Err(before_a_charge(Failure(failure)))),
            },
            Stage::Create => match answer {
                Ok(created) if created.is_true() => return self.decide(task, charge, None, H::Value::nothing()),
                Ok(_) => self.journal(task, charge, Stage::Read, JournalCall::Read, None),
                Err(thrown) => return Some(Err(journal_failed(thrown))),
            },
            Stage::Read => match answer {
                // It went in between; then it is ours to create.
                Ok(found) if !found.is_there() && charge.denied < DENIALS => {
                    charge.denied += 1;
                    self.create(task, charge);
                }
                Ok(found) if !found.is_there() => return Some(Err(journal_failed(found))),
                Ok(found) => {
                    let entry = Entry::decode(found);
                    let claim = charge::claim(entry.as_ref(), charge.step, charge.fingerprint);
                    return self.decide(task, charge, Some(claim), found);
                }
                Err(thrown) => return Some(Err(journal_failed(thrown))),
            },
            Stage::Reserve | Stage::Sum => match answer {
                Ok(_) if charge.stage == Stage::Reserve => {
                    // Written first and summed then: of two that would pass the limit together, no one overlooks the other.
                    charge.stage = Stage::Sum;
                    let nothing = H::Value::nothing();
                    self.host.journal(task, JournalCall::List, self.budget_prefix(), nothing);
                }
                Ok(keys) => {
                    let mut remaining = self.config.max_credits + charge.reserved;
                    for index in 0.. {
                        let key = keys.nth(index);
                        if !key.is_there() {
                            break;
                        }
                        remaining -= key.replaced(r"^[\s\S]*=", H::Value::text("")).as_number().max(0.0);
                    }
                    match credits::check(charge.reserved, remaining.max(0.0)) {
                        Ok(()) if !self.is_left(task) => self.post(task, charge),
                        Ok(()) => self.refuse_unsent(task, charge, unsent(LEFT)),
                        Err(failure) => self.refuse_unsent(task, charge, failure),
                    }
                }
                Err(thrown) => self.refuse_unsent(task, charge, journal_failed(thrown)),
            },
            Stage::Post => return self.judge(task, charge, answer.unwrap_or_else(|thrown| thrown)),
            // A verdict that cannot be written does not take the answer from the caller: the entry then
            // still says posting, which is never sent again either.
            Stage::Write => {
                if let Ok(job) = &charge.outcome {
                    self.notice(**job);
                }
                return Some(charge.outcome());
            }
            Stage::WriteBound => self.fetch(task, charge),
            Stage::WriteUnsent => {
                let wait = retry::backoff(charge.attempt, self.host.random(), f64::NAN);
                if charge.attempt >= RESENDS {
                    return Some(charge.outcome());
                }
                charge.attempt += 1;
                charge.stage = Stage::Pause;
                self.pause(task, charge.path(), wait);
            }
            Stage::Fetch => return Some(answer.map_err(Failure)),
            Stage::Check => {
                let Ok(job) = answer else { return Some(charge.outcome()) };
                if was_touched(*charge.before, job) {
                    charge.see(job);
                    self.bind(task, charge, Stage::Write, *charge.render);
                    charge.outcome = Ok(job.into());
                } else {
                    return Some(charge.outcome().map_err(|failure| failure.with("job", job)));
                }
            }
            Stage::Settled => match answer {
                Ok(found) if found.get("job").is_there() => self.adopt(task, charge, found),
                _ => return Some(charge.outcome()),
            },
        }
        None
    }

    /// Waits until no other call of this client posts the same operation.
    fn take_turn(&mut self, task: u32, charge: &mut Charge<H::Value>) {
        if self.known.is_posting(*charge.operation) {
            self.host.sleep(task, JOIN_INTERVAL, true);
            return;
        }
        self.known.posting.push((*charge.operation).into());
        charge.holds = true;
        charge.stage = Stage::Lock;
        if !(charge.named && self.host.lock(task, self.key(*charge.operation))) {
            self.claim(task, charge);
        }
    }

    /// Lets other calls of this client have the operation.
    pub(super) fn release(&mut self, task: u32, operation: H::Value) {
        self.known.posted(operation);
        self.host.unlock(task);
        self.host.wake();
    }

    fn claim(&mut self, task: u32, charge: &mut Charge<H::Value>) {
        if charge.render.is_there() {
            charge.stage = Stage::Look;
            self.look_well(task, *charge.render);
        } else {
            self.create(task, charge);
        }
    }

    /// Writes the operation down, unless something stands there.
    fn create(&mut self, task: u32, charge: &mut Charge<H::Value>) {
        self.journal(task, charge, Stage::Create, JournalCall::Create, Some((State::Posting, *charge.render)));
    }

    /// Decides what follows from the journal's word and from the look before a render. No claim: the operation is new.
    fn decide(
        &mut self,
        task: u32,
        charge: &mut Charge<H::Value>,
        claim: Option<Claim>,
        found: H::Value,
    ) -> Option<Outcome<H::Value>> {
        if claim == Some(Claim::Conflict) {
            let message = "This operation id was used before for another request; nothing was sent. Use a new id.";
            return Some(Err(Failure::told("OperationConflictError", message)));
        }
        charge.seen = found.get("seen").is_there();
        let facts = JobFacts::read(*charge.before);
        if facts.is_some_and(|facts| facts.is_rendered_or_rendering()) {
            if claim == Some(Claim::Unknown) {
                charge.see(*charge.before);
            }
            charge.outcome = Ok((*charge.before).into());
            self.bind(task, charge, Stage::Write, *charge.render);
            return None;
        }
        let failed = facts.is_some_and(|facts| facts.status.is_failure());
        match claim {
            None => match self.refusal(task, charge) {
                Ok(credits) if credits.is_nan() => self.post(task, charge),
                Ok(credits) => {
                    charge.reserved = credits;
                    charge.stage = Stage::Reserve;
                    let key = self.budget_key(*charge.operation, credits);
                    self.host.journal(task, JournalCall::Create, key, H::Value::truth(true));
                }
                Err(failure) => self.refuse_unsent(task, charge, failure),
            },
            Some(Claim::Fetch) if !failed || !charge.seen && !charge.may_ask_again(found) => {
                self.adopt(task, charge, found);
            }
            Some(Claim::Fetch) if !charge.seen => self.ask_again(task, charge),
            _ => return Some(Err(charge::unknown())),
        }
        None
    }

    /// A render that failed may be asked for again, and is paid for again: as an operation of its own, so that of all who
    /// saw it fail one posts, and nobody takes it for the former.
    fn ask_again(&mut self, task: u32, charge: &mut Charge<H::Value>) {
        self.release(task, *charge.operation);
        charge.holds = false;
        charge.failed += 1;
        charge.operation = say("%0:again", *charge.operation, *charge.operation).into();
        // By another seed: it is nobody's address, even where a job has neither.
        charge.hook = charge.before.get("updated_at").hash(1.0);
        charge.stage = Stage::Turn;
        self.take_turn(task, charge);
    }

    /// Nothing is sent, and the operation is taken back.
    fn refuse_unsent(&mut self, task: u32, charge: &mut Charge<H::Value>, failure: Failure<H::Value>) {
        charge.outcome = Err(failure.0.into());
        self.delete(task, charge, Stage::Write);
    }

    /// Why nothing may be sent: its caller is gone, no network, or no budget left. Else the credits to be set aside in
    /// the journal; NaN where none are.
    fn refusal(&mut self, task: u32, charge: &Charge<H::Value>) -> Result<f64, Failure<H::Value>> {
        if self.is_left(task) {
            return Err(unsent(LEFT));
        }
        if !self.host.env().online {
            return Err(unsent("The machine is offline; nothing was sent."));
        }
        let Charge { operation, step, template, model, seconds, .. } = charge;
        let credits = self.known.estimate(&self.config.prices, *step, **template, *model, *seconds)?;
        if credits.is_nan() || self.config.budget_key.is_there() {
            return Ok(credits);
        }
        self.known.reserve(**operation, credits)?;
        Ok(f64::NAN)
    }

    /// Sends what charges. This is the one place.
    fn post(&mut self, task: u32, charge: &mut Charge<H::Value>) {
        charge.stage = Stage::Post;
        // Its caller's time is the caller's; the answer is waited for as long as any.
        let timeout = self.config.preview_timeout.max(self.config.timeout);
        let given = [*charge.request, *charge.operation, H::Value::nothing()];
        self.send(task, charge.endpoint, charge.path(), given, timeout);
    }

    /// What a reply means, and the journal that is told of it. The outcome, where it has nothing to tell.
    fn judge(&mut self, task: u32, charge: &mut Charge<H::Value>, reply: H::Value) -> Option<Outcome<H::Value>> {
        let body = reply.get("body");
        // The id alone may have arrived whole of an answer that broke off.
        let id = [body.get("id"), charge::salvaged(reply.get("text"))]
            .into_iter()
            .find(|id| is_uuid(*id) && self.is_answer_to(charge, *id));
        let refused = reply.get("field").is_there();
        let verdict =
            if refused { Verdict::Rejected } else { charge::verdict(status_of(reply), id.is_some(), reply.get("code")) };
        let id = id.filter(|_| verdict == Verdict::Bound).unwrap_or_else(H::Value::nothing);
        if self.hears {
            let record = event::<H>("verdict").with("operation", *charge.operation);
            self.host.event(record.with_text("verdict", verdict.as_str()).with("jobId", id));
        }
        match verdict {
            Verdict::Bound => {
                let whole = is_job(body, id);
                if whole {
                    charge.outcome = Ok(body.into());
                }
                self.bind(task, charge, if whole { Stage::Write } else { Stage::WriteBound }, id);
                charge.bound = id.into();
            }
            Verdict::Rejected => {
                charge.outcome = Err(told(reply, "").0.into());
                self.delete(task, charge, Stage::Write);
            }
            Verdict::NotSent => {
                let failure = unsent("The server could not be reached; nothing was sent. Try again later.");
                charge.outcome = Err(failure.with("cause", reply.get("cause")).0.into());
                self.delete(task, charge, Stage::WriteUnsent);
            }
            Verdict::Unknown => {
                // What came instead belongs to it; its name and message do not.
                let failure = charge::unknown::<H::Value>().with("body", body).with("text", reply.get("text"));
                charge.outcome = Err(failure.with("cause", reply.get("cause")).0.into());
                // The entry goes on saying posting, which is as good: to write over it could take away the job that
                // another client has settled it with. A render has an id to look at; of the other steps the journal may
                // know one by now.
                if charge.render.is_there() {
                    charge.stage = Stage::Check;
                    self.look_well(task, *charge.render);
                } else {
                    self.journal(task, charge, Stage::Settled, JournalCall::Read, None);
                }
            }
        }
        None
    }

    /// Whether a job may be what was charged for: the one that is rendered, else one that no other charge is for. A
    /// connection that carries answers twice hands a charge the answer of another.
    fn is_answer_to(&mut self, charge: &Charge<H::Value>, id: H::Value) -> bool {
        if charge.render.is_there() { id.is_like(*charge.render) } else { !self.known.is_taken(id, *charge.operation) }
    }

    /// The journal has the job that the operation was for.
    fn adopt(&mut self, task: u32, charge: &mut Charge<H::Value>, found: H::Value) {
        charge.bound = found.get("job").into();
        self.remember(charge, *charge.bound);
        self.fetch(task, charge);
    }

    fn fetch(&mut self, task: u32, charge: &mut Charge<H::Value>) {
        charge.stage = Stage::Fetch;
        self.look_well(task, *charge.bound);
    }

    /// Uses the journal, and goes on with `stage` when it has answered.
    fn journal(
        &mut self,
        task: u32,
        charge: &mut Charge<H::Value>,
        stage: Stage,
        call: JournalCall,
        written: Option<(State, H::Value)>,
    ) {
        charge.stage = stage;
        let entry = written.map_or_else(H::Value::nothing, |(state, job)| charge.entry(state, job).encode());
        self.host.journal(task, call, self.key(*charge.operation), entry);
    }

    /// The charge was for this job.
    fn bind(&mut self, task: u32, charge: &mut Charge<H::Value>, stage: Stage, job: H::Value) {
        self.remember(charge, job);
        self.journal(task, charge, stage, JournalCall::Write, Some((State::Bound, job)));
    }

    fn remember(&mut self, charge: &Charge<H::Value>, job: H::Value) {
        self.known.remember(Charged {
            operation: *charge.operation,
            entry: charge.entry(State::Bound, job),
            template: *charge.template,
            since: charge.begun,
            reserved: charge.reserved,
        });
    }

    /// Nothing is charged: the id is free for another try, and the budget gets its credits back.
    fn delete(&mut self, task: u32, charge: &mut Charge<H::Value>, stage: Stage) {
        self.known.settle(*charge.operation, 0.0);
        self.spend(*charge.operation, charge.reserved, 0.0);
        charge.reserved = f64::NAN;
        self.journal(task, charge, stage, JournalCall::Delete, None);
    }

    /// Puts what an operation cost in place of what was set aside for it in the journal.
    pub(super) fn spend(&mut self, operation: H::Value, reserved: f64, credits: f64) {
        if reserved.is_nan() {
            return;
        }
        if credits > 0.0 {
            self.host.journal(0, JournalCall::Write, self.budget_key(operation, credits), H::Value::truth(true));
        }
        if credits != reserved {
            self.host.journal(0, JournalCall::Delete, self.budget_key(operation, reserved), H::Value::nothing());
        }
    }

    fn budget_prefix(&self) -> H::Value {
        say("%1:budget:%0/", *self.config.budget_key, *self.config.namespace)
    }

    /// Where the journal has what an operation costs a shared budget: the key alone says it, so that a list sums it.
    fn budget_key(&self, operation: H::Value, credits: f64) -> H::Value {
        say("%0%1", self.budget_prefix(), say("%0=%1", operation, H::Value::number(credits)))
    }

    /// Where the journal has an operation.
    pub(super) fn key(&self, operation: H::Value) -> H::Value {
        say("%1/%0", operation, *self.config.namespace)
    }
}

/// Whether anything shows that a render was carried out between two looks. A job that was still being worked on
/// changes by itself.
fn was_touched<V: Value>(before: V, after: V) -> bool {
    let (Some(before), Some(after)) = (JobFacts::read(before), JobFacts::read(after)) else { return false };
    let at_rest = before.status == Status::Done || before.status.is_failure();
    after.is_rendered_or_rendering()
        || at_rest
            && (after.status.is_failure() && after.status != before.status
                || after.touched != before.touched
                || after.credits_used != before.credits_used)
}
