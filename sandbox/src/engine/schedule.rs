//! The schedule of status changes, and the webhooks that they send.

use std::cmp::Reverse;

use serde_json::json;

use super::{Effect, Engine, WEBHOOK_LOG_LIMIT};
use crate::faults::Kind;
use crate::job::{Phase, rfc3339};
use crate::route::Call;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Transition {
    Queued,
    Running,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The status changes.
    Change(Transition),
    /// The webhook of a change goes before it: which, and when the status will change.
    Early(Transition, u64),
    /// The webhook that was held back has waited long enough.
    Release(u64),
}

/// What is due: time, order of arrival, job, phase, event.
pub(super) type Due = Reverse<(u64, u64, usize, usize, Event)>;

impl Engine {
    pub(super) fn run_due(&mut self, now: u64, effects: &mut Vec<Effect>) {
        while let Some(Reverse((moment, _, index, place, event))) = self.due.peek().copied() {
            if moment > now {
                break;
            }
            self.due.pop();
            let Some(job) = self.jobs.get(index) else {
                continue;
            };
            let Some(phase) = job.phases.get(place) else {
                continue;
            };
            let (transition, changes) = match event {
                Event::Change(transition) => (transition, moment),
                Event::Early(transition, changes) => (transition, changes),
                Event::Release(number) => {
                    self.release(index, Some(number), effects);
                    continue;
                }
            };
            // A fault may have moved the end after it was entered here.
            if changes_at(phase, transition) != changes {
                continue;
            }
            if changes != moment {
                self.send_webhook(index, place, changes, Some(moment), effects);
                continue;
            }
            match transition {
                Transition::Running => self.ledger.debit(phase.charge, moment),
                Transition::Ended if phase.is_lost(moment) => self.ledger.refund(phase.charge, moment),
                Transition::Queued | Transition::Ended => {}
            }
            if place + 1 == job.phases.len()
                && !is_skipped(phase, transition)
                && !self.sent_early.remove(&(index, place, transition, moment))
            {
                self.send_webhook(index, place, moment, None, effects);
            }
        }
    }

    /// Sends the webhook of the change at `changes`, as far as the fault rules let it; `early` is the moment of a webhook
    /// that goes before its change.
    // documented: a webhook is sent when the task succeeds or fails, and "multiple requests for status changes" may be.
    // assumed: one webhook for each change that time brings; none for `pending`, which the caller brings about by a call.
    fn send_webhook(&mut self, index: usize, place: usize, changes: u64, early: Option<u64>, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(index) else { return };
        let (Some(url), Some(phase)) = (&job.webhook_url, job.phases.get(place)) else { return };
        let Some(call) = self.ledger.charges().get(phase.charge).map(|charge| charge.call) else { return };
        let at = early.unwrap_or(changes);
        let status = job.status(changes).name();
        let body = job.webhook(changes);
        // What is held back goes after this one, so this one goes.
        let waits = self.held.contains_key(&index);
        let rule = if waits { None } else { self.faults.strike_webhook(call, status, at) };
        let kind = rule.as_ref().map(|rule| rule.kind);
        let faults: Vec<&str> = early.map(|_| Kind::WebhookEarly).into_iter().chain(kind).map(Kind::name).collect();
        self.webhooks += 1;
        let number = self.webhooks;
        if self.webhook_log.len() == WEBHOOK_LOG_LIMIT {
            self.webhook_log.pop_front();
        }
        self.webhook_log.push_back(json!({
            "n": number,
            "at": rfc3339(at, 0),
            "job_id": job.id.to_string(),
            "url": url,
            "status": status,
            "body": body,
            "faults": faults,
        }));
        let effect = Effect::Webhook { url: url.clone(), body, job: job.id, number, at: changes };
        match kind {
            Some(Kind::WebhookLost) => {}
            Some(Kind::WebhookReordered) => {
                let ms = rule.and_then(|rule| rule.ms).unwrap_or(5000);
                self.held.insert(index, (number, effect));
                self.enter(at.saturating_add(ms), index, place, Event::Release(number));
                return;
            }
            Some(Kind::WebhookDuplicated) => effects.extend([effect.clone(), effect]),
            _ => effects.push(effect),
        }
        self.release(index, None, effects);
    }

    /// Lets the webhook go that is held back for a job; with a number, only that one.
    fn release(&mut self, index: usize, number: Option<u64>, effects: &mut Vec<Effect>) {
        if self.held.get(&index).is_some_and(|(held, _)| number.is_none_or(|number| number == *held))
            && let Some((_, effect)) = self.held.remove(&index)
        {
            effects.push(effect);
        }
    }

    /// Decides which webhooks of a step that begins go before their change, and sends those that go at once.
    pub(super) fn send_early_webhooks(
        &mut self,
        index: usize,
        place: usize,
        call: Call,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        for transition in [Transition::Queued, Transition::Running, Transition::Ended] {
            let Some(job) = self.jobs.get(index).filter(|job| job.webhook_url.is_some()) else { return };
            let Some(phase) = job.phases.get(place) else { return };
            let changes = changes_at(phase, transition);
            if changes == u64::MAX || is_skipped(phase, transition) {
                continue;
            }
            let Some(rule) = self.faults.strike_early(call, job.status(changes).name(), now) else { continue };
            self.sent_early.insert((index, place, transition, changes));
            let at = rule.ms.map_or(now, |ms| changes.saturating_sub(ms).max(now));
            if at == now {
                self.send_webhook(index, place, changes, Some(now), effects);
            } else if at < changes {
                self.enter(at, index, place, Event::Early(transition, changes));
            }
        }
    }

    pub(super) fn enter(&mut self, moment: u64, job: usize, phase: usize, event: Event) {
        if moment != u64::MAX {
            self.dues += 1;
            self.due.push(Reverse((moment, self.dues, job, phase, event)));
        }
    }
}

/// When a step comes to this transition; `u64::MAX` for never.
pub(super) fn changes_at(phase: &Phase, transition: Transition) -> u64 {
    match transition {
        Transition::Queued => phase.queued,
        Transition::Running => phase.running,
        Transition::Ended => phase.end,
    }
}

/// A step that ends as it starts to run has one change of status there, not two.
fn is_skipped(phase: &Phase, transition: Transition) -> bool {
    transition == Transition::Running && phase.end == phase.running
}
