//! The charging calls: submit, the two previews, and render.

use serde_json::{Value, json};
use uuid::Uuid;

use super::schedule::{Event, Transition, changes_at};
use super::{Effect, Engine, Reply, Request};
use crate::fault_effects::{FAILED, REJECTED, ending_of, unknown_status};
use crate::faults::{Kind, Rule};
use crate::job::{Ending, Job, Phase, number};
use crate::ledger::Charge;
use crate::message::{no_such_job, refuse_media_type};
use crate::prices::Step;
use crate::random::{Random, fingerprint};
use crate::route::Call;
use crate::templates::Behaviour;
use crate::validate::{self, Needs};

#[derive(Debug, Clone)]
pub(super) struct StoredReply {
    body: u64,
    reply: Reply,
}

impl Engine {
    pub(super) fn charging(
        &mut self,
        now: u64,
        request: &Request,
        call: Call,
        id: &str,
        fault: Option<&Rule>,
        effects: &mut Vec<Effect>,
    ) -> (Reply, Option<Uuid>) {
        if let Some(reply) = refuse_media_type(request) {
            return (reply, None);
        }
        let body = fingerprint(&request.body);
        // assumed: the upstream ignores `Idempotency-Key`; nothing is documented.
        let key = request
            .idempotency_key
            .clone()
            .filter(|_| self.config.honour_idempotency_key || request.relayed)
            .map(|key| (call, id.to_owned(), key));
        if let Some(before) = key.as_ref().and_then(|key| self.stored_replies.get(key)) {
            let reply = if before.body == body {
                before.reply.clone().with("idempotent-replayed", "true")
            } else {
                Reply::detail(422, "This Idempotency-Key was used with another request body.")
            };
            return (reply, None);
        }
        let made = if call == Call::Render {
            self.render(now, request, id, fault, effects)
        } else {
            self.create(now, request, call, fault, effects)
        };
        match made {
            Err(reply) => (reply, None),
            Ok((reply, job)) => {
                if let Some(key) = key {
                    let reply = reply.clone();
                    self.stored_replies.insert(key, StoredReply { body, reply });
                }
                (reply, Some(job))
            }
        }
    }

    fn create(
        &mut self,
        now: u64,
        request: &Request,
        call: Call,
        fault: Option<&Rule>,
        effects: &mut Vec<Effect>,
    ) -> Result<(Reply, Uuid), Reply> {
        let refused = |body: &Value| Reply::of_json(400, body);
        let fields = validate::read(&request.body, Needs::TemplateAndVariables).map_err(|error| refused(&error))?;
        let template_id = fields.template_id.unwrap_or_default();
        // assumed: an id of no template is refused with a bare array, as siblings answer for what they cannot find.
        let template = self
            .config
            .templates
            .iter()
            .position(|template| template.id == template_id)
            .ok_or_else(|| refused(&json!(["Custom template not found"])))?;
        if !self.config.lenient_urls
            && let Some(body) = fields.variables.as_ref().and_then(validate::refuse_unreachable)
        {
            return Err(refused(&body));
        }
        let step = if call == Call::Submit { Step::Submit } else { Step::Preview };
        let model = fields.model_version.unwrap_or_default();
        let number = self.jobs.len() as u64;
        // The time is part of the ids, so that a sandbox that starts anew does not give an old id to a new job.
        let mut ids = Random::new(&[self.config.seed, number, now]);
        let mut job = Job {
            id: ids.uuid(),
            number,
            template,
            name: fields.name.flatten(),
            variables: fields.variables.unwrap_or_default(),
            webhook_url: fields.webhook_url.flatten().filter(|url| !url.is_empty()),
            model,
            is_hidden: fields.is_hidden.unwrap_or(false),
            media_job: ids.uuid(),
            preview_token: ids.uuid(),
            video_token: ids.uuid(),
            created: now,
            micros: ids.next() % 1000,
            origin: request.origin.clone(),
            phases: Vec::new(),
        };
        let (phase, charge) = self.charge(now, request, call, &job, step, fault)?;
        let end = phase.end;
        job.phases.push(phase.clone());
        let index = self.jobs.len();
        let id = job.id;
        self.by_id.insert(id, index);
        self.by_token.insert(job.preview_token, index);
        self.by_token.insert(job.video_token, index);
        self.jobs.push(job);
        self.begin(index, 0, &phase, charge, &request.origin, effects);
        let (status, moment) = match call {
            // documented: the blocking preview waits until it is ready and answers the finished job.
            // assumed: it answers 200, also where the job fails.
            Call::Preview => (200, end),
            // documented: submit and the asynchronous preview answer 201.
            _ => (201, now),
        };
        let body = self.jobs.get(index).map(|job| self.view(moment, job, &request.origin, None));
        let mut reply = Reply::of_json(status, &body.unwrap_or_default());
        reply.ready_at = moment;
        Ok((reply, id))
    }

    fn render(
        &mut self,
        now: u64,
        request: &Request,
        id: &str,
        fault: Option<&Rule>,
        effects: &mut Vec<Effect>,
    ) -> Result<(Reply, Uuid), Reply> {
        let index = self.find(id)?;
        // assumed: the body of render is optional, what is given is checked, and only a webhook URL is taken from it.
        let fields = validate::read(&request.body, Needs::Nothing).map_err(|error| Reply::of_json(400, &error))?;
        let job = self.jobs.get(index).ok_or_else(no_such_job)?.clone();
        // assumed: a job that cannot be rendered is refused with a bare array, as siblings answer for a wrong state.
        let refused = |words: &str| Reply::of_json(400, &json!([words]));
        let previewed = job.phases.iter().any(|phase| phase.step == Step::Preview && phase.is_done(now));
        if !previewed {
            return Err(refused(match job.phase() {
                Some(phase) if phase.step == Step::Submit => {
                    "This job was not made as a preview. Generate a preview before rendering."
                }
                Some(phase) if phase.is_lost(now) => {
                    "The preview of this job failed. Generate a new preview before rendering."
                }
                _ => "The preview is not ready. Wait until the job is done before rendering.",
            }));
        }
        // assumed: nothing keeps a second render from being charged again; the ledger calls it a duplicate.
        let (phase, charge) = self.charge(now, request, Call::Render, &job, Step::Render, fault)?;
        let place = job.phases.len();
        if let Some(job) = self.jobs.get_mut(index) {
            if let Some(url) = fields.webhook_url {
                job.webhook_url = url.filter(|url| !url.is_empty());
            }
            // assumed: a job that is rendered goes back to `pending` and keeps its preview.
            job.phases.push(phase.clone());
        }
        self.begin(index, place, &phase, charge, &request.origin, effects);
        let body = self.jobs.get(index).map(|job| self.view(now, job, &request.origin, None));
        // assumed: render answers 200, the framework's default for an action on one object.
        Ok((Reply::of_json(200, &body.unwrap_or_default()), job.id))
    }

    /// Draws the schedule of a step and its charge, or refuses it for want of credits. Nothing is changed yet.
    fn charge(
        &self,
        now: u64,
        request: &Request,
        call: Call,
        job: &Job,
        step: Step,
        fault: Option<&Rule>,
    ) -> Result<(Phase, Charge), Reply> {
        let Some(template) = self.config.templates.get(job.template) else {
            return Err(no_such_job());
        };
        let credits = self.config.prices.of(step, job.model, template.seconds);
        let available = self.ledger.available();
        if credits > available {
            // documented: creation answers an "insufficient credits error". assumed: its status is 400, its body a bare array.
            let words = format!(
                "Insufficient credits: this call needs {}, and {} are left.",
                number_words(credits),
                number_words(available)
            );
            return Err(Reply::of_json(400, &json!([words])));
        }
        let mut random = Random::new(&[self.config.seed, job.number, job.phases.len() as u64, 0x70]);
        let mut phase = Phase::draw(step, now, template.seconds, self.config.speed, credits, &mut random);
        match template.behaviour {
            Behaviour::Done => {}
            Behaviour::Failed => phase.end_with(Ending::Failed(FAILED.to_owned()), 0),
            Behaviour::Rejected => phase.end_with(Ending::Rejected(REJECTED.to_owned()), 0),
        }
        match fault {
            Some(rule) if rule.kind == Kind::UnknownStatus => phase.odd_status = Some(unknown_status(rule)),
            Some(rule) => phase.end_with(ending_of(rule), 0),
            None => {}
        }
        let charge = Charge {
            job: job.id,
            step,
            call,
            credits,
            at: now,
            debited_at: None,
            refunded_at: None,
            key: request.idempotency_key.clone(),
            body: fingerprint(&request.body),
        };
        Ok((phase, charge))
    }

    fn begin(&mut self, index: usize, place: usize, phase: &Phase, charge: Charge, origin: &str, effects: &mut Vec<Effect>) {
        let (call, now) = (charge.call, charge.at);
        let entry = self.ledger.charge(charge);
        let mut token = None;
        if let Some(job) = self.jobs.get_mut(index) {
            token = Some(job.video_token);
            origin.clone_into(&mut job.origin);
            if let Some(phase) = job.phases.get_mut(place) {
                phase.charge = entry;
            }
        }
        for transition in [Transition::Queued, Transition::Running, Transition::Ended] {
            self.enter(changes_at(phase, transition), index, place, Event::Change(transition));
        }
        self.send_early_webhooks(index, place, call, now, effects);
        if phase.step != Step::Preview
            && phase.ending == Ending::Done
            && let Some(token) = token
        {
            effects.push(Effect::PrepareVideo { token });
        }
    }
}

fn number_words(credits: f64) -> String {
    number(credits).to_string()
}
