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
    /// A status change.
    Change(Transition),
    /// The webhook of a status change, sent early: the change, and its time.
    Early(Transition, u64),
    /// The end of the delay of a webhook that is held back, by its number.
    Release(u64),
}

/// An entry of the schedule: time, order of arrival, job, phase, event.
pub(super) type Due = Reverse<(u64, u64, usize, usize, Event)>;

impl Engine {
    pub(super) fn run_due(&mut self, now: u64, effects: &mut Vec<Effect>) {
        while let Some(Reverse((moment, _, job_index, phase_index, event))) = self.due.peek().copied() {
            if moment > now {
                break;
            }
            self.due.pop();
            let Some(job) = self.jobs.get(job_index) else {
                continue;
            };
            let Some(phase) = job.phases.get(phase_index) else {
                continue;
            };
            let (transition, changes) = match event {
                Event::Change(transition) => (transition, moment),
                Event::Early(transition, changes) => (transition, changes),
                Event::Release(number) => {
                    self.release(job_index, Some(number), effects);
                    continue;
                }
            };
            // A fault may have moved the end since this entry was made.
            if changes_at(phase, transition) != changes {
                continue;
            }
            if changes != moment {
                self.send_webhook(job_index, phase_index, changes, Some(moment), effects);
                continue;
            }
            match transition {
                Transition::Running => self.ledger.debit(phase.charge, moment),
                Transition::Ended if phase.is_lost(moment) => self.ledger.refund(phase.charge, moment),
                Transition::Queued | Transition::Ended => {}
            }
            if phase_index + 1 == job.phases.len()
                && !is_skipped(phase, transition)
                && !self.sent_early.remove(&(job_index, phase_index, transition, moment))
            {
                self.send_webhook(job_index, phase_index, moment, None, effects);
            }
        }
    }

    /// Sends the webhook of the status change at `changes`, subject to the fault rules. `early` is the time of a webhook
    /// that is sent before its change.
    // documented: a webhook is sent when the task succeeds or fails; "multiple requests for status changes" are possible.
    // assumed: each later status change sends one webhook. The first status, `pending`, sends none.
    fn send_webhook(
        &mut self,
        job_index: usize,
        phase_index: usize,
        changes: u64,
        early: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.jobs.get(job_index) else { return };
        let (Some(url), Some(phase)) = (&job.webhook_url, job.phases.get(phase_index)) else { return };
        let Some(call) = self.ledger.charges().get(phase.charge).map(|charge| charge.call) else { return };
        let at = early.unwrap_or(changes);
        let status = job.status(changes).name();
        let body = job.webhook(changes);
        // A webhook that is held back is sent after the next one, so the next one is always sent.
        let waits = self.held.contains_key(&job_index);
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
                self.held.insert(job_index, (number, effect));
                self.enter(at.saturating_add(ms), job_index, phase_index, Event::Release(number));
                return;
            }
            Some(Kind::WebhookDuplicated) => effects.extend([effect.clone(), effect]),
            _ => effects.push(effect),
        }
        self.release(job_index, None, effects);
    }

    /// Sends the webhook that a job holds back; if `number` is given, only the webhook with that number.
    fn release(&mut self, job_index: usize, number: Option<u64>, effects: &mut Vec<Effect>) {
        if self.held.get(&job_index).is_some_and(|(held, _)| number.is_none_or(|number| number == *held))
            && let Some((_, effect)) = self.held.remove(&job_index)
        {
            effects.push(effect);
        }
    }

    /// Applies the rules about early webhooks to a step that begins, and sends those that are due at once.
    pub(super) fn send_early_webhooks(
        &mut self,
        job_index: usize,
        phase_index: usize,
        call: Call,
        now: u64,
        effects: &mut Vec<Effect>,
    ) {
        for transition in [Transition::Queued, Transition::Running, Transition::Ended] {
            let Some(job) = self.jobs.get(job_index).filter(|job| job.webhook_url.is_some()) else { return };
            let Some(phase) = job.phases.get(phase_index) else { return };
            let changes = changes_at(phase, transition);
            if changes == u64::MAX || is_skipped(phase, transition) {
                continue;
            }
            let Some(rule) = self.faults.strike_early(call, job.status(changes).name(), now) else { continue };
            self.sent_early.insert((job_index, phase_index, transition, changes));
            let at = rule.ms.map_or(now, |ms| changes.saturating_sub(ms).max(now));
            if at == now {
                self.send_webhook(job_index, phase_index, changes, Some(now), effects);
            } else if at < changes {
                self.enter(at, job_index, phase_index, Event::Early(transition, changes));
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

/// The time of a transition; `u64::MAX` for never.
pub(super) fn changes_at(phase: &Phase, transition: Transition) -> u64 {
    match transition {
        Transition::Queued => phase.queued,
        Transition::Running => phase.running,
        Transition::Ended => phase.end,
    }
}

/// Whether a transition does not happen: a step that ends at the moment when it would run never shows `running`.
fn is_skipped(phase: &Phase, transition: Transition) -> bool {
    transition == Transition::Running && phase.end == phase.running
}
