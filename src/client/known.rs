//! What a client knows of the jobs that it charged for, and what it has learned from them: steps, durations, lengths, spending.

use super::Operation;
use crate::api::{Goal, JobFacts, ModelVersion, Step};
use crate::charge::{Entry, State};
use crate::credits::{Budget, PriceTable};
use crate::error::{Error, remove_where};

/// How many jobs, and how many templates, a client remembers.
const REMEMBERED: usize = 1_000;

/// A job that this client charged for, by its last step.
#[derive(Clone, Debug)]
pub struct Charged {
    pub job: String,
    pub step: Step,
    pub template: String,
    /// When the charge began, on the monotonic clock.
    pub since: f64,
    /// The operation and its entry in the journal; `None` once it was seen to end.
    pub open: Option<Box<Operation>>,
}

/// How long a step took for a template, and how long the template's videos are.
#[derive(Clone, Debug)]
struct Learned {
    template: String,
    step: Step,
    milliseconds: f64,
    seconds: Option<f64>,
}

/// All that one client remembers. It forgets with the client; what must not be forgotten is in the journal.
#[derive(Debug, Default)]
pub struct Known {
    charged: Vec<Charged>,
    learned: Vec<Learned>,
    budget: Option<Budget>,
    /// Operations that are being posted right now.
    pub posting: Vec<String>,
}

impl Known {
    /// Nothing yet; `max_credits` is what may be spent.
    pub fn new(max_credits: Option<f64>) -> Self {
        Self { budget: max_credits.map(Budget::new), ..Self::default() }
    }

    /// Takes in what the journal has, for a job that an earlier run charged for.
    pub fn recall(&mut self, operation: &str, entry: &Entry, now: f64) {
        if let State::Bound(job) = &entry.state
            && self.job(job).is_none()
        {
            let open = Some(Box::new(Operation { operation: operation.into(), entry: entry.clone() }));
            self.remember(Charged { job: job.clone(), step: entry.step, template: String::new(), since: now, open });
        }
    }

    /// The job is not there any more: its operation and entry, to be ended.
    pub fn gone(&mut self, job: &str) -> Option<Box<Operation>> {
        let mut ended = self.charged.iter_mut().find(|charged| charged.job == job)?.open.take()?;
        ended.entry.state = State::Ended(job.into());
        Some(ended)
    }

    fn job(&self, job: &str) -> Option<&Charged> {
        self.charged.iter().find(|charged| charged.job == job)
    }

    /// Takes in that a job is bound to a charge.
    pub fn remember(&mut self, charged: Charged) {
        remove_where(&mut self.charged, |known| known.job == charged.job);
        if self.charged.len() >= REMEMBERED {
            self.charged.remove(0);
        }
        self.charged.push(charged);
    }

    /// The template of a job.
    pub fn template(&self, job: &str) -> Option<String> {
        self.job(job).map(|charged| charged.template.clone())
    }

    /// What a job's last step leads to.
    pub fn goal(&self, job: &str) -> Option<Goal> {
        self.job(job).map(|charged| charged.step.goal())
    }

    /// When a job's last step began, and how long such steps took, in milliseconds.
    pub fn timing(&self, job: &str) -> Option<(f64, Option<f64>)> {
        let charged = self.job(job)?;
        let learned =
            self.learned.iter().find(|learned| learned.template == charged.template && learned.step == charged.step);
        Some((charged.since, learned.map(|learned| learned.milliseconds)))
    }

    /// Sets aside what a charge is estimated to cost, where there is a budget.
    ///
    /// # Errors
    /// `BudgetExceededError`; `InvalidRequestError{field: "seconds"}` where nobody knows the video's length.
    pub fn reserve(
        &mut self,
        operation: &str,
        prices: &PriceTable,
        step: Step,
        template: &str,
        model: ModelVersion,
        seconds: Option<f64>,
    ) -> Result<(), Error> {
        let Some(budget) = &mut self.budget else { return Ok(()) };
        let learned = self.learned.iter().filter(|learned| learned.template == template).find_map(|learned| learned.seconds);
        let Some(seconds) = seconds.or(learned) else {
            return Err(Error::invalid("seconds", &["must be given where maxCredits is set: the length of the video"]));
        };
        budget.reserve(operation, prices.estimate(step, seconds, model)?)
    }

    /// Gives back what was set aside.
    pub fn refund(&mut self, operation: &str) {
        if let Some(budget) = &mut self.budget {
            budget.settle(operation, 0.0);
        }
    }

    /// Takes in where a job stands. The operation that ended with it and its entry, the first time that this is seen.
    pub fn end(&mut self, facts: &JobFacts, now: f64) -> Option<Box<Operation>> {
        let charged = self.charged.iter_mut().find(|charged| charged.job == facts.id)?;
        let reached = facts.meets(charged.step.goal());
        if !reached && !facts.status.is_failure() {
            return None;
        }
        let mut ended = charged.open.take()?;
        ended.entry.state = State::Ended(charged.job.clone());
        // A failed job may be refunded or not: nobody says, so its reservation stays.
        if reached {
            if let (Some(budget), Some(credits)) = (&mut self.budget, facts.credits_used.filter(|credits| *credits > 0.0)) {
                budget.settle(&ended.operation, credits);
            }
            // A job that an earlier run began says nothing about how long its kind takes.
            if charged.template.is_empty() {
                return Some(ended);
            }
            let took = now - charged.since;
            let seconds = facts.duration.filter(|seconds| *seconds > 0.0);
            let mut learned = self.learned.iter_mut();
            let learned = learned.find(|learned| learned.template == charged.template && learned.step == charged.step);
            if let Some(learned) = learned {
                learned.milliseconds += (took - learned.milliseconds) * 0.3;
                learned.seconds = seconds.or(learned.seconds);
            } else if self.learned.len() < REMEMBERED {
                let (template, step) = (charged.template.clone(), charged.step);
                self.learned.push(Learned { template, step, milliseconds: took, seconds });
            }
        }
        Some(ended)
    }
}
