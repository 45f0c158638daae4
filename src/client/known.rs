//! What a client knows of the jobs that it charged for, and what it has learned from them: steps, durations, lengths, spending.

use super::{Core, Owner, Task};
use crate::api::{Goal, JobFacts, ModelVersion, Step};
use crate::charge::{Entry, State};
use crate::credits::{Budget, PriceTable};
use crate::error::{Failure, refuse, say};
use crate::host::{Answer, Host, JournalCall};
use crate::poll;
use crate::value::{Kept, Value};

/// How many jobs, and how many durations, a client remembers.
const REMEMBERED: usize = 1_000;
/// In how many places the journal has durations: one that comes to the place of another takes it.
const PLACES: u64 = 1_000;
/// How long a job is believed to have taken at most, and how old that may be, in milliseconds.
const DAY: f64 = 86_400_000.0;
const OLDEST: f64 = 30.0 * DAY;

/// A job that this client charged for, by its last step.
#[derive(Clone, Copy, Debug)]
pub struct Charged<V> {
    pub operation: V,
    pub entry: Entry<V>,
    /// Nothing where an earlier run charged for it: then nobody knows how long it took.
    pub template: V,
    /// When the charge began, on the monotonic clock.
    pub since: f64,
    /// What is set aside for it in the journal, in credits; NaN where nothing is.
    pub reserved: f64,
}

/// What is remembered of it, and what keeps its values.
#[derive(Debug)]
struct Remembered<V: Value> {
    charged: Charged<V>,
    #[expect(dead_code, reason = "keeps them")]
    held: [Kept<V>; 3],
}

/// How long jobs of a kind took, and how long the template's videos are.
#[derive(Clone, Debug)]
struct Learned<V: Value> {
    template: Kept<V>,
    /// See [`Entry::kind`].
    kind: f64,
    /// NaN where nobody knows.
    milliseconds: f64,
    /// Less than 0 where nobody knows.
    seconds: f64,
    /// Whether the journal was asked.
    asked: bool,
}

/// All that one client remembers. It forgets with the client; durations, and what must not be forgotten, are in the journal.
#[derive(Debug)]
pub struct Known<V: Value> {
    charged: Vec<Remembered<V>>,
    learned: Vec<Learned<V>>,
    budget: Option<Budget<V>>,
    /// Operations that are being posted right now.
    pub posting: Vec<Kept<V>>,
}

impl<V: Value> Known<V> {
    /// Nothing yet; `max_credits` is what may be spent, NaN for no limit.
    pub fn new(max_credits: f64) -> Self {
        let budget = if max_credits.is_nan() { None } else { Some(Budget::new(max_credits)) };
        Self { charged: Vec::new(), learned: Vec::new(), budget, posting: Vec::new() }
    }

    /// Takes in what the journal has, for a job that an earlier run charged for.
    pub fn recall(&mut self, operation: V, entry: &Entry<V>, since: f64) {
        if entry.state == State::Bound && self.find(entry.job).is_none() {
            self.remember(Charged { operation, entry: *entry, template: V::nothing(), since, reserved: f64::NAN });
        }
    }

    fn find(&mut self, job: V) -> Option<&mut Charged<V>> {
        self.charged.iter_mut().map(|known| &mut known.charged).find(|charged| charged.entry.job == job)
    }

    /// Whether another charge is for that job.
    pub fn is_taken(&mut self, job: V, operation: V) -> bool {
        self.find(job).is_some_and(|charged| charged.operation != operation)
    }

    /// Takes in that a job is bound to a charge.
    pub fn remember(&mut self, charged: Charged<V>) {
        let held = [charged.operation, charged.entry.job, charged.template].map(Kept::from);
        let [operation, job, template] = &held;
        let entry = Entry { job: **job, ..charged.entry };
        let charged = Charged { operation: **operation, entry, template: **template, ..charged };
        let at = self.charged.iter().position(|known| known.charged.entry.job == charged.entry.job);
        if let Some(known) = at.and_then(|at| self.charged.get_mut(at)) {
            *known = Remembered { charged, held };
            return;
        }
        if self.charged.len() >= REMEMBERED {
            self.charged.remove(0);
        }
        self.charged.push(Remembered { charged, held });
    }

    /// The template of a job.
    pub fn template(&mut self, job: V) -> V {
        self.find(job).map_or_else(V::nothing, |charged| charged.template)
    }

    /// What a job's last step leads to, when it began, its kind, and how long such jobs took, in milliseconds; NaN where
    /// nobody knows.
    pub fn timing(&mut self, job: V) -> Option<(Goal, f64, f64, f64)> {
        let (step, since, kind) = self.find(job).map(|known| (known.entry.step, known.since, known.entry.kind))?;
        let took = self.learned(kind).map_or(f64::NAN, |learned| learned.milliseconds);
        Some((step.goal(), since, kind, took))
    }

    fn learned(&mut self, kind: f64) -> Option<&mut Learned<V>> {
        self.learned.iter_mut().find(|learned| learned.kind == kind)
    }

    /// See [`Entry::kind`]. A render's is that of its preview, and so of its model, where the preview is known. Nobody says
    /// whether a preview takes as long with every model, so it is not taken for granted.
    pub fn kind(&mut self, render: V, template: V, step: Step, model: ModelVersion) -> f64 {
        match self.find(render).map(|charged| charged.entry) {
            Some(entry) if entry.step == Step::Render => entry.kind,
            Some(entry) if !entry.kind.is_nan() => V::number(entry.kind).hash(0.0),
            _ if template.is_there() => template.hash(f64::from(step as u8 * 3 + model as u8)),
            _ => f64::NAN,
        }
    }

    /// What is learned of a kind; nothing at first.
    fn learned_of(&mut self, template: V, kind: f64) -> Option<&mut Learned<V>> {
        if self.learned(kind).is_none() && !kind.is_nan() && self.learned.len() < REMEMBERED {
            let (milliseconds, seconds) = (f64::NAN, -1.0);
            self.learned.push(Learned { template: template.into(), kind, milliseconds, seconds, asked: false });
        }
        self.learned(kind)
    }

    /// What a charge is estimated to cost, in credits; NaN where there is no budget.
    ///
    /// # Errors
    /// `InvalidRequestError{field: "seconds"}` where nobody knows the video's length.
    pub fn estimate(
        &self,
        prices: &PriceTable,
        step: Step,
        template: V,
        model: ModelVersion,
        seconds: f64,
    ) -> Result<f64, Failure<V>> {
        if self.budget.is_none() {
            return Ok(f64::NAN);
        }
        let mut seconds = seconds;
        for learned in &self.learned {
            if seconds.is_nan() && learned.seconds > 0.0 && *learned.template == template {
                seconds = learned.seconds;
            }
        }
        if seconds.is_nan() {
            return Err(refuse("seconds", "must be given where maxCredits is set: the length of the video"));
        }
        prices.estimate(step, seconds, model)
    }

    /// Sets aside what a charge may cost.
    ///
    /// # Errors
    /// `BudgetExceededError`.
    pub fn reserve(&mut self, operation: V, credits: f64) -> Result<(), Failure<V>> {
        self.budget.as_mut().map_or(Ok(()), |budget| budget.reserve(operation, credits))
    }

    /// Whether an operation is being posted right now.
    pub fn is_posting(&self, operation: V) -> bool {
        self.posting.iter().any(|posting| *posting == operation)
    }

    /// An operation is not being posted any more.
    pub fn posted(&mut self, operation: V) {
        if let Some(at) = self.posting.iter().position(|posting| **posting == operation) {
            self.posting.swap_remove(at);
        }
    }

    /// Corrects what an operation cost; 0 gives it all back.
    pub fn settle(&mut self, operation: V, credits: f64) {
        if let Some(budget) = &mut self.budget {
            budget.settle(operation, credits);
        }
    }

    /// A job will not change any more, or is gone. The charge that ended with it, the first time that this is seen.
    fn end(&mut self, job: V) -> Option<Charged<V>> {
        let charged = self.find(job).filter(|charged| charged.entry.state != State::Ended)?;
        charged.entry.state = State::Ended;
        Some(*charged)
    }

    /// Takes in where a job stands. The charge that ended with it, the first time that this is seen.
    fn notice(&mut self, job: V, facts: &JobFacts, now: f64) -> Option<Charged<V>> {
        let (goal, ..) = self.timing(job)?;
        let reached = facts.meets(goal);
        if !reached && !facts.status.is_failure() {
            return None;
        }
        let ended = self.end(job)?;
        if reached {
            self.learn(&ended, facts, now);
        }
        Some(ended)
    }

    /// Learns from a charge that reached its goal.
    fn learn(&mut self, charged: &Charged<V>, facts: &JobFacts, now: f64) {
        // A failed job may be refunded or not: nobody says, so its reservation stays.
        if facts.credits_used > 0.0 {
            self.settle(charged.operation, facts.credits_used);
        }
        if !charged.template.is_there() {
            return;
        }
        if let Some(learned) = self.learned_of(charged.template, charged.entry.kind) {
            learned.milliseconds = poll::learn(learned.milliseconds, (now - charged.since).min(DAY));
            learned.seconds = learned.seconds.max(facts.duration);
        }
    }
}

impl<H: Host> Core<H> {
    /// Takes in where a job stands, and writes down that its operation ended once it has.
    pub(super) fn notice(&mut self, job: H::Value) {
        let id = job.get("id");
        if self.known.find(id).is_none() {
            return;
        }
        let Some(facts) = JobFacts::read(job) else { return };
        let ended = self.known.notice(id, &facts, self.host.now());
        if let Some(ended) = ended {
            if facts.credits_used > 0.0 {
                self.spend(ended.operation, ended.reserved, facts.credits_used);
            }
            self.write_end(&ended);
            // In one step, for a worker may end with its answer; and each kind in a place of its own, so that clients need not
            // merge what they know.
            let kind = ended.entry.kind;
            if let Some(learned) = self.known.learned(kind)
                && ended.template.is_there()
                && !facts.status.is_failure()
            {
                let record = H::Value::record().with_number("kind", kind).with_number("ms", learned.milliseconds);
                let key = self.place_of(kind);
                self.host.journal(0, JournalCall::Write, key, record.with_number("at", self.host.wall()));
            }
        }
    }

    /// Asks the journal how long jobs like this one took, in the name of the task that watches it: once for a kind.
    pub(super) fn ask(&mut self, task: u32, job: H::Value) {
        let Some((template, kind)) = self.known.find(job).map(|charged| (charged.template, charged.entry.kind)) else {
            return;
        };
        if let Some(learned) = self.known.learned_of(template, kind)
            && !std::mem::replace(&mut learned.asked, true)
        {
            let key = self.place_of(kind);
            let number = self.place(Owner::Task(task, 0), Task::Ask);
            self.host.journal(number, JournalCall::Read, key, H::Value::nothing());
        }
    }

    /// Takes in what the journal has, and tells it, if that is a duration, and not an old one. Clocks differ, so it may be
    /// of tomorrow.
    pub(super) fn told(&mut self, answer: Answer<H::Value>) -> H::Value {
        let found = answer.unwrap_or_else(|_| Value::nothing());
        let (took, age) = (found.number_of("ms"), self.host.wall() - found.number_of("at"));
        if let Some(learned) = self.known.learned(found.number_of("kind"))
            && learned.milliseconds.is_nan()
            && 0.0 < took
            && took <= DAY
            && (-DAY..OLDEST).contains(&age)
        {
            learned.milliseconds = took;
            return found;
        }
        Value::nothing()
    }

    /// Where the journal has how long jobs of a kind took: not among the operations.
    fn place_of(&self, kind: f64) -> H::Value {
        say("%0:took/%1", *self.config.namespace, H::Value::number((kind as u64 % PLACES) as f64))
    }

    /// The upstream does not know the job any more.
    pub(super) fn gone(&mut self, job: H::Value) {
        let ended = self.known.end(job);
        if let Some(ended) = ended {
            self.write_end(&ended);
        }
    }

    /// Nobody waits for it: at worst the operation is still pending after a reload, and ends then.
    fn write_end(&mut self, ended: &Charged<H::Value>) {
        self.host.journal(0, JournalCall::Write, self.key(ended.operation), ended.entry.encode());
    }
}
