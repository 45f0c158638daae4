//! A small model of the provider.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use custom_template_jobs::api::{Endpoint, Step};
use serde_json::{Value, json};

use crate::json::format_time;
use crate::network::{Reply, Sent, answer_of, cut, failed};
use crate::world::{EPOCH, World};

/// The provider's behaviour, which may be changed at any time.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent")]
pub struct Manner {
    /// Milliseconds until a request is answered.
    pub latency_ms: f64,
    /// Milliseconds in the queue.
    pub queue_ms: f64,
    /// Milliseconds for a preview.
    pub preview_ms: f64,
    /// Milliseconds for a video.
    pub render_ms: f64,
    /// Whether a running job reports progress.
    pub progress: bool,
    /// Whether the preview URL appears before the preview is done.
    pub early_preview: bool,
    /// Whether ids in answers are in upper case.
    pub upper_case: bool,
    /// Whether steps that start now will fail.
    pub fails: bool,
    /// The account's credits.
    pub credits: f64,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            latency_ms: 50.0,
            queue_ms: 2_000.0,
            preview_ms: 10_000.0,
            render_ms: 40_000.0,
            progress: true,
            early_preview: false,
            upper_case: false,
            fails: false,
            credits: 1_000.0,
        }
    }
}

/// The fault of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// No fault.
    None,
    /// Refused with this status and body; not committed.
    Refused(u16, Value),
    /// Failed with this code; not committed.
    Unsent(&'static str),
    /// Committed, then the connection breaks.
    Lost,
    /// Committed, but never answered.
    Silent,
    /// Committed; the answer is late by some milliseconds.
    Late(f64),
    /// Committed; the answer is cut off after some bytes.
    Cut(usize),
}

/// A charge.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// The time, in milliseconds.
    pub at: f64,
    /// The id of the job.
    pub job: String,
    /// The step.
    pub step: Step,
    /// The operation of the request.
    pub operation: Option<String>,
}

/// A job.
#[derive(Clone, Debug)]
struct Job {
    id: String,
    request: Value,
    made_at: f64,
    step: Step,
    begun: f64,
    fails: bool,
    preview: bool,
    spent: f64,
}

struct State {
    manner: Manner,
    jobs: Vec<Job>,
    charges: Vec<Charge>,
    fault: Box<dyn FnMut(&Sent) -> Fault>,
}

/// The provider: it runs jobs and records charges.
#[derive(Clone)]
pub struct Provider {
    world: World,
    state: Rc<RefCell<State>>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Provider").field("charges", &self.state.borrow().charges).finish_non_exhaustive()
    }
}

impl Provider {
    /// Makes the provider the server of a world.
    pub fn new(world: &World) -> Self {
        let state =
            State { manner: Manner::default(), jobs: Vec::new(), charges: Vec::new(), fault: Box::new(|_| Fault::None) };
        let provider = Self { world: world.clone(), state: Rc::new(RefCell::new(state)) };
        let serving = provider.clone();
        world.serve(move |sent| serving.clone().serve(sent));
        provider
    }

    /// Changes its behaviour.
    pub fn set(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.state.borrow_mut().manner);
    }

    /// Plans the fault of each request by a function.
    pub fn fault(&self, fault: impl FnMut(&Sent) -> Fault + 'static) {
        self.state.borrow_mut().fault = Box::new(fault);
    }

    /// The charges so far.
    pub fn charges(&self) -> Vec<Charge> {
        self.state.borrow().charges.clone()
    }

    /// The ids of its jobs.
    pub fn jobs(&self) -> Vec<String> {
        self.state.borrow().jobs.iter().map(|job| job.id.clone()).collect()
    }

    /// A job as it is now.
    pub fn job(&self, id: &str) -> Option<Value> {
        let state = self.state.borrow();
        let job = state.jobs.iter().find(|job| job.id.eq_ignore_ascii_case(id))?;
        Some(self.show(job, &state.manner))
    }

    /// All its jobs as they are now.
    pub fn list(&self) -> Value {
        let state = self.state.borrow();
        state.jobs.iter().map(|job| self.show(job, &state.manner)).collect()
    }

    async fn serve(self, sent: Sent) -> Reply {
        let (latency, fault) = {
            let mut state = self.state.borrow_mut();
            ((state.manner.latency_ms), (state.fault)(&sent))
        };
        self.world.sleep(latency / 2.0).await;
        if let Fault::Refused(status, body) = fault {
            self.world.sleep(latency / 2.0).await;
            return answer_of(status, body);
        }
        if let Fault::Unsent(code) = fault {
            return failed(code);
        }
        let done = self.carry_out(&sent);
        if let (Endpoint::PreviewSync, Ok(job)) = (sent.endpoint, &done) {
            let wait = {
                let manner = &self.state.borrow().manner;
                manner.queue_ms + manner.preview_ms
            };
            let id = job["id"].as_str().unwrap_or_default().to_owned();
            self.world.sleep(wait).await;
            return self.reply(fault, latency, 201, self.job(&id).unwrap_or_default()).await;
        }
        match done {
            Ok(body) => self.reply(fault, latency, if sent.charges() { 201 } else { 200 }, body).await,
            Err((status, body)) => self.reply(fault, latency, status, body).await,
        }
    }

    async fn reply(&self, fault: Fault, latency: f64, status: u16, body: Value) -> Reply {
        let late = match fault {
            Fault::Silent => f64::INFINITY,
            Fault::Late(ms) => ms,
            _ => 0.0,
        };
        self.world.sleep(latency / 2.0 + late).await;
        match fault {
            Fault::Lost => failed("ECONNRESET"),
            Fault::Cut(bytes) => cut(status, body.to_string().get(..bytes).unwrap_or_default()),
            _ => answer_of(status, body),
        }
    }

    fn carry_out(&self, sent: &Sent) -> Result<Value, (u16, Value)> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let now = self.world.now();
        let request: Value = sent.body.as_deref().map(crate::json::json).unwrap_or_default();
        let missing = || (404, json!({ "detail": "Not found." }));
        match sent.endpoint {
            Endpoint::Templates => return Ok(json!([])),
            Endpoint::RemainingCredits => return Ok(json!({ "remaining_credits": state.manner.credits })),
            Endpoint::Get => {
                let job = state.jobs.iter().find(|job| job.id.eq_ignore_ascii_case(sent.job_id())).ok_or_else(missing)?;
                return Ok(self.show(job, &state.manner));
            }
            _ => {}
        }
        let step = sent.endpoint.charges().unwrap_or(Step::Submit);
        let cost = if step == Step::Preview { 1.0 } else { 5.0 };
        if state.manner.credits < cost {
            return Err((402, json!({ "detail": "Not enough credits." })));
        }
        let fails = state.manner.fails;
        let job = if step == Step::Render {
            let job = state.jobs.iter_mut().find(|job| job.id.eq_ignore_ascii_case(sent.job_id())).ok_or_else(missing)?;
            for name in ["variables", "model_version"] {
                if !request[name].is_null() {
                    job.request[name] = request[name].clone();
                }
            }
            (job.preview, job.step, job.begun, job.fails) = (true, step, now, fails);
            job.clone()
        } else {
            let id = self.world.random(|random| {
                let (one, two) = (random.bits(), random.bits());
                format!(
                    "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                    one >> 32,
                    one >> 16 & 0xffff,
                    one & 0xfff,
                    two >> 52,
                    two & 0xffff_ffff_ffff
                )
            });
            let job =
                Job { id, request, made_at: self.world.true_wall(), step, begun: now, fails, preview: false, spent: 0.0 };
            state.jobs.push(job.clone());
            job
        };
        state.manner.credits -= cost;
        if let Some(made) = state.jobs.iter_mut().find(|made| made.id == job.id) {
            made.spent += cost;
        }
        state.charges.push(Charge { at: now, job: job.id.clone(), step, operation: sent.operation.clone() });
        Ok(self.show(&job, &state.manner))
    }

    fn show(&self, job: &Job, manner: &Manner) -> Value {
        let run_ms = if job.step == Step::Preview { manner.preview_ms } else { manner.render_ms };
        let age = self.world.now() - job.begun;
        let part = (age - manner.queue_ms) / run_ms;
        let (status, changed) = match part {
            part if part < 0.0 => ("in_queue", 0.0),
            part if part < 1.0 => ("running", if manner.progress { age } else { manner.queue_ms }),
            _ if job.fails => ("failed", manner.queue_ms + run_ms),
            _ => ("done", manner.queue_ms + run_ms),
        };
        let done = status == "done";
        let video = done && job.step != Step::Preview;
        let early = manner.early_preview && job.step == Step::Preview && part >= 0.5 && !job.fails;
        let preview = job.preview || done || early;
        let id = if manner.upper_case { job.id.to_ascii_uppercase() } else { job.id.clone() };
        let url = |there: bool, kind: &str| there.then(|| format!("https://cdn.test/{}/{kind}.mp4", job.id));
        json!({
            "id": id,
            "status": status,
            "progress": if manner.progress { json!(part.clamp(0.0, 1.0)) } else { Value::Null },
            "preview": url(preview, "preview"),
            "video_output": url(video, "video"),
            "failed_reason": (status == "failed").then_some("The avatar cannot be rendered."),
            "created_at": format_time(job.made_at),
            "updated_at": format_time(EPOCH + job.begun + age.min(changed) + job.spent),
            "credits_used": if done { job.spent } else { 0.0 },
            "duration": done.then_some(30),
            "template_id": job.request["template_id"],
            "variables": job.request["variables"],
            "model_version": job.request["model_version"],
            "webhook_url": job.request["webhook_url"],
        })
    }
}
