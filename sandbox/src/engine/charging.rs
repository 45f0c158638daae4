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
        // assumed: the provider ignores `Idempotency-Key`, which its documentation does not mention.
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
        // assumed: an unknown template id gets a 400 whose body is a bare array, as from sibling endpoints.
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
        // The time is part of the ids, so that a restarted sandbox does not reuse the id of an old job.
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
        let job_index = self.jobs.len();
        let id = job.id;
        self.by_id.insert(id, job_index);
        self.by_token.insert(job.preview_token, job_index);
        self.by_token.insert(job.video_token, job_index);
        self.jobs.push(job);
        self.begin(job_index, 0, &phase, charge, &request.origin, effects);
        let (status, moment) = match call {
            // documented: the blocking preview waits until the preview is ready and returns the finished job.
            // assumed: the blocking preview returns 200 even if the job fails.
            Call::Preview => (200, end),
            // documented: submit and the asynchronous preview return 201.
            _ => (201, now),
        };
        let body = self.jobs.get(job_index).map(|job| self.view(moment, job, &request.origin, None));
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
        let job_index = self.find(id)?;
        // assumed: the body of render is optional. Its fields are validated, and only `webhook_url` is used.
        let fields = validate::read(&request.body, Needs::Nothing).map_err(|error| Reply::of_json(400, &error))?;
        let job = self.jobs.get(job_index).ok_or_else(no_such_job)?.clone();
        // assumed: a job that cannot be rendered gets a 400 whose body is a bare array, as from sibling endpoints.
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
        // assumed: a second render is charged again; the ledger lists it as a duplicate.
        let (phase, charge) = self.charge(now, request, Call::Render, &job, Step::Render, fault)?;
        let phase_index = job.phases.len();
        if let Some(job) = self.jobs.get_mut(job_index) {
            if let Some(url) = fields.webhook_url {
                job.webhook_url = url.filter(|url| !url.is_empty());
            }
            // assumed: render sets the job back to `pending` and keeps its preview.
            job.phases.push(phase.clone());
        }
        self.begin(job_index, phase_index, &phase, charge, &request.origin, effects);
        let body = self.jobs.get(job_index).map(|job| self.view(now, job, &request.origin, None));
        // assumed: render returns 200, the framework's default for an action on one object.
        Ok((Reply::of_json(200, &body.unwrap_or_default()), job.id))
    }

    /// Draws the schedule of a step and its charge, or refuses the step if the credits do not suffice. Changes no state.
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
            // documented: creation returns an "insufficient credits error". assumed: that insufficient credits error has
            // status 400 and a bare array as its body.
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

    fn begin(
        &mut self,
        job_index: usize,
        phase_index: usize,
        phase: &Phase,
        charge: Charge,
        origin: &str,
        effects: &mut Vec<Effect>,
    ) {
        let (call, now) = (charge.call, charge.at);
        let entry = self.ledger.charge(charge);
        let mut token = None;
        if let Some(job) = self.jobs.get_mut(job_index) {
            token = Some(job.video_token);
            origin.clone_into(&mut job.origin);
            if let Some(phase) = job.phases.get_mut(phase_index) {
                phase.charge = entry;
            }
        }
        for transition in [Transition::Queued, Transition::Running, Transition::Ended] {
            self.enter(changes_at(phase, transition), job_index, phase_index, Event::Change(transition));
        }
        self.send_early_webhooks(job_index, phase_index, call, now, effects);
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
