//! The ledger: charges, refunds, the balance, and duplicate charges.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::job::{number, rfc3339};
use crate::prices::Step;
use crate::route::Call;

/// Two identical bodies within this time count as one request sent twice.
pub const DUPLICATE_WINDOW_MS: u64 = 300_000;

/// One charge.
#[derive(Debug, Clone, PartialEq)]
pub struct Charge {
    /// The id of the charged job.
    pub job: Uuid,
    /// The charged step.
    pub step: Step,
    /// The call that was charged.
    pub call: Call,
    /// Its price.
    pub credits: f64,
    /// The time of the request, in the engine's milliseconds.
    pub at: u64,
    /// The time of the debit.
    pub debited_at: Option<u64>,
    /// The time of the refund.
    pub refunded_at: Option<u64>,
    /// The request's `Idempotency-Key`.
    pub key: Option<String>,
    /// A fingerprint of the request's body.
    pub body: u64,
}

/// Two or more charges for what counts as one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Duplicate {
    /// `same_step`: a job was charged again for the same step. `identical_body`: the same body was sent again.
    pub reason: &'static str,
    /// The charged step.
    pub step: Step,
    /// Indexes of the charges in the ledger. The first one is the legitimate charge.
    pub charges: Vec<usize>,
}

/// The account with its charges.
#[derive(Debug, Clone)]
pub struct Ledger {
    granted: f64,
    debited: f64,
    reserved: f64,
    charges: Vec<Charge>,
}

impl Ledger {
    /// An account with `granted` credits.
    pub fn new(granted: f64) -> Self {
        Self { granted, debited: 0.0, reserved: 0.0, charges: Vec::new() }
    }

    /// The balance that `GET /api/remaining_credits/` returns.
    // observed: in sibling groups, the balance is unchanged right after the POST, and falls while the job runs.
    pub fn remaining(&self) -> f64 {
        self.granted - self.debited
    }

    /// The credits available for new charges.
    // assumed: the credits of waiting jobs are reserved, so that the balance never falls below zero.
    pub fn available(&self) -> f64 {
        self.granted - self.debited - self.reserved
    }

    /// All charges, oldest first.
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// Adds a charge and reserves its credits. Returns the index of the charge.
    pub fn charge(&mut self, charge: Charge) -> usize {
        self.reserved += charge.credits;
        self.charges.push(charge);
        self.charges.len() - 1
    }

    /// Debits a reserved charge.
    pub fn debit(&mut self, place: usize, now: u64) {
        if let Some(charge) = self.charges.get_mut(place)
            && charge.debited_at.is_none()
            && charge.refunded_at.is_none()
        {
            charge.debited_at = Some(now);
            self.reserved -= charge.credits;
            self.debited += charge.credits;
        }
    }

    /// Refunds the credits of a charge.
    // documented: failed videos of the Aurora models are refunded. assumed: refunds apply to every model, and to rejected
    // jobs too.
    pub fn refund(&mut self, place: usize, now: u64) {
        if let Some(charge) = self.charges.get_mut(place)
            && charge.refunded_at.is_none()
        {
            charge.refunded_at = Some(now);
            if charge.debited_at.is_some() {
                self.debited -= charge.credits;
            } else {
                self.reserved -= charge.credits;
            }
        }
    }

    /// Finds duplicate charges. There are two kinds: a job charged again for the same step, and a body that is sent to the
    /// same call again within [`DUPLICATE_WINDOW_MS`] of the charge before. Two bodies with different `Idempotency-Key`s are
    /// not duplicates, and neither is a charge that follows a refund.
    pub fn duplicates(&self) -> Vec<Duplicate> {
        let mut found: Vec<Duplicate> = Vec::new();
        let mut last: HashMap<(Uuid, Step), (usize, Option<usize>)> = HashMap::new();
        let mut same_body: HashMap<(Call, u64), (usize, Option<usize>)> = HashMap::new();
        for (place, charge) in self.charges.iter().enumerate() {
            let mut note = |earlier: Option<&mut (usize, Option<usize>)>, reason, same: &dyn Fn(&Charge) -> bool| {
                let (before, group) = earlier?;
                let first = self.charges.get(*before)?;
                let free = first.refunded_at.is_some_and(|moment| moment <= charge.at);
                if free || !same(first) {
                    return None;
                }
                let index = *group.get_or_insert_with(|| {
                    found.push(Duplicate { reason, step: charge.step, charges: vec![*before] });
                    found.len() - 1
                });
                found.get_mut(index)?.charges.push(place);
                Some(index)
            };
            let group = note(last.get_mut(&(charge.job, charge.step)), "same_step", &|_| true);
            last.insert((charge.job, charge.step), (place, group));
            if charge.step == Step::Render {
                continue;
            }
            let group = note(same_body.get_mut(&(charge.call, charge.body)), "identical_body", &|first| {
                let meant = first.key.is_some() && charge.key.is_some() && first.key != charge.key;
                !meant && charge.at - first.at <= DUPLICATE_WINDOW_MS
            });
            same_body.insert((charge.call, charge.body), (place, group));
        }
        found
    }

    /// The body of `GET /__sandbox/ledger`.
    pub fn body(&self) -> Value {
        let charges: Vec<Value> = self
            .charges
            .iter()
            .map(|charge| {
                let mut body = json!({
                    "job_id": charge.job.to_string(),
                    "step": charge.step.name(),
                    "call": charge.call.name(),
                    "credits": number(charge.credits),
                    "at": rfc3339(charge.at, 0),
                    "debited_at": charge.debited_at.map(|ms| rfc3339(ms, 0)),
                    "refunded_at": charge.refunded_at.map(|ms| rfc3339(ms, 0)),
                });
                if let Some(key) = &charge.key {
                    body["idempotency_key"] = json!(key);
                }
                body
            })
            .collect();
        json!({
            "granted": number(self.granted),
            "remaining": number(self.remaining()),
            "reserved": number(self.reserved),
            "charges": charges,
            "duplicates": self.duplicates_body(),
        })
    }

    /// The duplicates as `GET /__sandbox/ledger` lists them.
    pub fn duplicates_body(&self) -> Value {
        self.duplicates()
            .into_iter()
            .map(|duplicate| {
                let members: Vec<&Charge> = duplicate.charges.iter().filter_map(|place| self.charges.get(*place)).collect();
                let excess: f64 = members.iter().skip(1).map(|charge| charge.credits).sum();
                json!({
                    "reason": duplicate.reason,
                    "step": duplicate.step.name(),
                    "job_ids": members.iter().map(|charge| charge.job.to_string()).collect::<Vec<_>>(),
                    "charges": duplicate.charges,
                    "excess_credits": number(excess),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(job: u128, step: Step, at: u64, body: u64, key: Option<&str>) -> Charge {
        Charge {
            job: Uuid::from_u128(job),
            step,
            call: if step == Step::Render { Call::Render } else { Call::Submit },
            credits: 5.0,
            at,
            debited_at: None,
            refunded_at: None,
            key: key.map(str::to_owned),
            body,
        }
    }

    fn found(charges: Vec<Charge>) -> Vec<(&'static str, Vec<usize>)> {
        let mut ledger = Ledger::new(100.0);
        for charge in charges {
            ledger.charge(charge);
        }
        let duplicates = ledger.duplicates();
        duplicates.into_iter().map(|d| (d.reason, d.charges)).collect()
    }

    #[test]
    fn an_identical_body_within_the_window_is_a_duplicate() {
        let submit = |job, at, body, key| charge(job, Step::Submit, at, body, key);
        assert_eq!(
            found(vec![submit(1, 0, 7, None), submit(2, 62_000, 7, None), submit(3, 124_000, 7, None)]),
            [("identical_body", vec![0, 1, 2])]
        );
        assert_eq!(found(vec![submit(1, 0, 7, None), submit(2, 1, 8, None)]), []);
        assert_eq!(found(vec![submit(1, 0, 7, None), submit(2, DUPLICATE_WINDOW_MS + 1, 7, None)]), []);
    }

    #[test]
    fn identical_bodies_with_different_keys_are_not_duplicates() {
        let submit = |job, key| charge(job, Step::Submit, 0, 7, key);
        assert_eq!(found(vec![submit(1, Some("a")), submit(2, Some("b"))]), []);
        assert_eq!(found(vec![submit(1, Some("a")), submit(2, Some("a"))]).len(), 1);
        assert_eq!(found(vec![submit(1, Some("a")), submit(2, None)]).len(), 1);
    }

    #[test]
    fn a_second_render_is_a_duplicate_unless_the_first_was_refunded() {
        let render = |at| charge(1, Step::Render, at, 7, None);
        assert_eq!(found(vec![render(0), render(900_000)]), [("same_step", vec![0, 1])]);
        let mut refunded = render(0);
        refunded.refunded_at = Some(10);
        assert_eq!(found(vec![refunded, render(20)]), []);
    }

    #[test]
    fn credits_are_reserved_debited_and_refunded_once_each() {
        let mut ledger = Ledger::new(20.0);
        let place = ledger.charge(charge(1, Step::Submit, 0, 0, None));
        assert_eq!((ledger.remaining(), ledger.available()), (20.0, 15.0));
        ledger.debit(place, 1);
        ledger.debit(place, 1);
        assert_eq!((ledger.remaining(), ledger.available()), (15.0, 15.0));
        ledger.refund(place, 2);
        ledger.refund(place, 2);
        ledger.debit(place, 3);
        assert_eq!((ledger.remaining(), ledger.available()), (20.0, 20.0));
    }
}
