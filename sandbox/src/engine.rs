//! The engine: a deterministic state machine over `(now, command)` that computes every answer of the sandbox.
//!
//! It opens no socket, reads no clock and starts no thread. All random numbers come from its seed. A server and a simulation
//! can therefore run the same code:
//!
//! ```
//! use sandbox::engine::{Command, Config, Engine, Request};
//! use serde_json::json;
//!
//! let mut engine = Engine::new(Config::default());
//! let template = engine.templates()[0].id.to_string();
//! let body = json!({"template_id": template, "variables": {}});
//! let request = Request::post("/api/custom_template_jobs/preview_async/").keys("sandbox", "sandbox").json(&body);
//! let (reply, _effects) = engine.handle(0, Command::Request(request));
//! assert_eq!(reply.status, 201);
//! let url = format!("/api/custom_template_jobs/{}/", reply.json()["id"].as_str().unwrap());
//! let (reply, _effects) = engine.handle(60_000, Command::Request(Request::get(&url).keys("sandbox", "sandbox")));
//! assert_eq!(reply.json()["status"], "done");
//! ```

mod charging;
mod log;
mod schedule;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::charging::StoredReply;
use self::log::Line;
use self::schedule::{Due, Event, Transition};
use crate::fault_effects::{apply_to_reply, ending_of, reply_without_effect, unknown_status};
use crate::faults::{Faults, Kind, Plan, Rule};
use crate::job::{Ending, Job, Surroundings, rfc3339};
use crate::ledger::Ledger;
use crate::message::{no_such_job, not_found, too_large};
use crate::prices::Prices;
use crate::route::{Call, Route, route};
use crate::templates::Template;

pub use crate::message::{BODY_LIMIT, Reply, Request, Secret, Wire};

/// The number of requests that the log keeps.
const LOG_LIMIT: usize = 2_000;
/// The number of webhooks that the log keeps.
pub const WEBHOOK_LOG_LIMIT: usize = 500;

/// The settings of the engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The factor that divides every wait.
    pub speed: f64,
    /// The credits of the account at the start.
    pub credits: f64,
    /// `X-API-ID`.
    pub api_id: String,
    /// `X-API-KEY`.
    pub api_key: Secret,
    /// The templates of the account.
    pub templates: Vec<Template>,
    /// The price list.
    pub prices: Prices,
    /// Whether jobs have an `editor_url`.
    pub editor_access: bool,
    /// Whether a repeated `Idempotency-Key` returns the first answer again.
    pub honour_idempotency_key: bool,
    /// Whether media URLs are accepted that the provider could not fetch.
    pub lenient_urls: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            speed: 1.0,
            credits: 500.0,
            api_id: "sandbox".to_owned(),
            api_key: "sandbox".into(),
            templates: crate::templates::built_in(),
            prices: Prices::Seed,
            editor_access: false,
            honour_idempotency_key: false,
            lenient_urls: false,
        }
    }
}

/// An input of the engine.
#[derive(Debug, Clone)]
pub enum Command {
    /// A request to the provider's API.
    Request(Request),
    /// Time has passed: returns the effects that are due.
    Tick,
    /// Moves the virtual clock forward.
    Advance {
        /// Milliseconds.
        ms: u64,
    },
    /// Replaces the fault rules.
    SetFaults(Vec<Rule>),
    /// Starts from scratch: no jobs, no charges, no faults, an empty log, and the caller's time.
    Reset {
        /// The new seed; `None` keeps the seed.
        seed: Option<u64>,
        /// The new credits; `None` keeps the credits of the start.
        credits: Option<f64>,
    },
}

/// An action for the caller to carry out.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a webhook.
    Webhook {
        /// The receiver.
        url: String,
        /// The JSON body.
        body: Value,
        /// The id of the job.
        job: Uuid,
        /// The number of the webhook in the log. A webhook that a fault duplicates comes twice with the same number.
        number: u64,
        /// When the status changed, in the engine's time.
        at: u64,
    },
    /// Render the video of a job ahead of its first request.
    PrepareVideo {
        /// The secret part of the video's URL.
        token: Uuid,
    },
}

/// The content of a preview page or a video.
#[derive(Debug, Clone)]
pub struct Showing {
    /// The job's id; `None` for the preview of a template.
    pub job: Option<Uuid>,
    /// The job's name.
    pub name: Option<String>,
    /// Its template.
    pub template: Template,
    /// Its variables.
    pub variables: Map<String, Value>,
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Engine {
    config: Config,
    offset: u64,
    last: u64,
    jobs: Vec<Job>,
    by_id: HashMap<Uuid, usize>,
    by_token: HashMap<Uuid, usize>,
    ledger: Ledger,
    due: BinaryHeap<Due>,
    dues: u64,
    faults: Faults,
    stored_replies: HashMap<(Call, String, String), StoredReply>,
    log: VecDeque<Line>,
    requests: u64,
    /// Status changes whose webhook is sent before them.
    sent_early: HashSet<(usize, usize, Transition, u64)>,
    /// The webhook that each job holds back, with its number.
    held: HashMap<usize, (u64, Effect)>,
    webhooks: u64,
    webhook_log: VecDeque<Value>,
}

impl Engine {
    /// An engine without jobs.
    pub fn new(config: Config) -> Self {
        Self {
            offset: 0,
            last: 0,
            jobs: Vec::new(),
            by_id: HashMap::new(),
            by_token: HashMap::new(),
            ledger: Ledger::new(config.credits),
            due: BinaryHeap::new(),
            dues: 0,
            faults: Faults::new(config.seed),
            stored_replies: HashMap::new(),
            log: VecDeque::new(),
            requests: 0,
            sent_early: HashSet::new(),
            held: HashMap::new(),
            webhooks: 0,
            webhook_log: VecDeque::new(),
            config,
        }
    }

    /// Handles a command. `now_ms` is the caller's clock in milliseconds since the epoch, which must never go back.
    pub fn handle(&mut self, now_ms: u64, command: Command) -> (Reply, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut request = None;
        match command {
            Command::Reset { seed, credits } => {
                let mut config = self.config.clone();
                config.seed = seed.unwrap_or(config.seed);
                config.credits = credits.unwrap_or(config.credits);
                *self = Self::new(config);
            }
            Command::Advance { ms } => self.offset = self.offset.saturating_add(ms),
            Command::SetFaults(rules) => self.faults.set(rules, self.time(now_ms)),
            Command::Tick => {}
            Command::Request(given) => request = Some(given),
        }
        self.last = self.last.max(self.time(now_ms));
        let now = self.last;
        self.run_due(now, &mut effects);
        let reply = match request {
            Some(request) => self.answer(now, &request, &mut effects),
            None => Reply::of_json(200, &json!({})),
        };
        (reply, effects)
    }

    /// The engine's time: the caller's clock plus all `Advance` commands.
    pub fn time(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.offset).max(self.last)
    }

    /// The time of the next effect, on the engine's clock.
    pub fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((moment, ..))| *moment)
    }

    /// The account's templates.
    pub fn templates(&self) -> &[Template] {
        &self.config.templates
    }

    /// The settings. A reset may have changed the seed and the credits.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether fault rules are in force. If so, every request may change state.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// The ledger of the account.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// The fault rules with their counters.
    pub fn faults(&self) -> Value {
        self.faults.list()
    }

    /// The content of a job's preview page, once the preview is done.
    pub fn preview(&self, now_ms: u64, token: Uuid) -> Option<Showing> {
        let job = self.jobs.get(*self.by_token.get(&token)?)?;
        (job.preview_token == token && job.has_preview(self.time(now_ms))).then(|| self.showing(job)).flatten()
    }

    /// The content of a template's preview page, filled with its defaults.
    pub fn template_preview(&self, id: Uuid, origin: &str) -> Option<Showing> {
        let template = self.config.templates.iter().find(|template| template.id == id)?;
        Some(Showing { job: None, name: None, template: template.clone(), variables: template.defaults(origin) })
    }

    /// The content of a job's video, and whether the video is done.
    pub fn video(&self, now_ms: u64, token: Uuid) -> Option<(Showing, bool)> {
        let job = self.jobs.get(*self.by_token.get(&token)?)?;
        let ready = job.has_video(self.time(now_ms));
        (job.video_token == token).then(|| self.showing(job).map(|showing| (showing, ready))).flatten()
    }

    fn showing(&self, job: &Job) -> Option<Showing> {
        Some(Showing {
            job: Some(job.id),
            name: job.name.clone(),
            template: self.config.templates.get(job.template)?.clone(),
            variables: job.variables.clone(),
        })
    }

    /// The body of `GET /__sandbox/jobs`: every job in the form of the API, newest first, with its template's id and name.
    pub fn jobs_body(&self, now_ms: u64, origin: &str) -> Value {
        let now = self.time(now_ms);
        self.jobs
            .iter()
            .rev()
            .map(|job| {
                let mut body = self.view(now, job, origin, None);
                let template = self.config.templates.get(job.template);
                body["template_id"] = json!(template.map(|template| template.id.to_string()));
                body["template_name"] = json!(template.map(|template| template.name.clone()));
                body
            })
            .collect()
    }

    /// The body of `GET /__sandbox/requests`.
    pub fn requests_body(&self) -> Value {
        json!({"total": self.requests, "requests": self.log.iter().map(Line::body).collect::<Value>()})
    }

    /// The last `count` requests, newest first, and the number of all requests.
    pub fn last_requests(&self, count: usize) -> (Value, u64) {
        (self.log.iter().rev().take(count).map(Line::body).collect(), self.requests)
    }

    /// The log of webhooks, oldest first, without the attempts to deliver them.
    pub fn webhook_log(&self) -> &VecDeque<Value> {
        &self.webhook_log
    }

    /// The body of `GET /__sandbox/clock`.
    pub fn clock_body(&self, now_ms: u64) -> Value {
        json!({
            "now": rfc3339(self.time(now_ms), 0),
            "offset_seconds": self.offset as f64 / 1000.0,
            "speed": self.config.speed,
        })
    }

    // assumed: there is no rate limit, since none is published. A fault rule can answer 429.
    fn answer(&mut self, now: u64, request: &Request, effects: &mut Vec<Effect>) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let route = route(path);
        let plan = match route {
            Route::Call(call, _) => self.faults.strike(call, now),
            Route::Slash | Route::Unknown => Plan::default(),
        };
        let mut job = None;
        let mut reply = match (reply_without_effect(plan.answer.as_ref()), route) {
            (Some(reply), _) => reply,
            (None, Route::Call(call, id)) => {
                let (reply, touched) = self.call(now, request, call, id, plan.job.as_ref(), effects);
                job = touched;
                apply_to_reply(reply, plan.answer.as_ref())
            }
            // assumed: a path without its trailing slash gets a 301, as in Django. A client that follows it after a POST
            // sends a GET.
            (None, Route::Slash) => {
                let query = request.path.get(path.len()..).unwrap_or_default();
                Reply::of_html(301, "").with("location", &format!("{path}/{query}"))
            }
            (None, Route::Unknown) => not_found(),
        };
        reply.ready_at = reply.ready_at.max(now);
        if let Some(rule) = &plan.delay {
            reply.ready_at = reply.ready_at.saturating_add(rule.ms.unwrap_or(5000));
        }
        self.requests += 1;
        if self.log.len() == LOG_LIMIT {
            self.log.pop_front();
        }
        let dropped = matches!(reply.wire, Wire::Drop { .. });
        self.log.push_back(Line {
            number: self.requests,
            at: now,
            relayed: request.relayed,
            connection: request.connection,
            method: request.method.clone(),
            path: request.path.clone(),
            call: match route {
                Route::Call(call, _) => Some(call),
                Route::Slash | Route::Unknown => None,
            },
            status: (!dropped).then_some(reply.status),
            faults: plan.kinds(),
            job,
            key: request.idempotency_key.clone(),
            bytes: request.body.len(),
        });
        reply
    }

    fn call(
        &mut self,
        now: u64,
        request: &Request,
        call: Call,
        id: &str,
        fault: Option<&Rule>,
        effects: &mut Vec<Effect>,
    ) -> (Reply, Option<Uuid>) {
        if request.body.len() > BODY_LIMIT {
            return (too_large(), None);
        }
        // assumed: the size of the body is checked first, then the keys, then the method, then the job.
        if let Some(reply) = self.refuse_keys(request) {
            return (reply, None);
        }
        // assumed: HEAD is handled as GET; every other method gets a 405.
        let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
        if method != call.method() {
            let detail = format!("Method \"{}\" not allowed.", request.method);
            return (Reply::detail(405, &detail).with("allow", call.method()), None);
        }
        match call {
            Call::Templates => {
                let list: Vec<Value> =
                    self.config.templates.iter().map(|template| template.public(&request.origin)).collect();
                (Reply::of_json(200, &Value::Array(list)), None)
            }
            // documented: the balance is a double.
            Call::Credits => {
                let body = json!({"remaining_credits": self.ledger.remaining()});
                (Reply::of_json(200, &body), None)
            }
            Call::Get => self.get(now, request, id, fault),
            Call::Submit | Call::Preview | Call::PreviewAsync | Call::Render => {
                self.charging(now, request, call, id, fault, effects)
            }
        }
    }

    fn refuse_keys(&self, request: &Request) -> Option<Reply> {
        if request.relayed {
            return None;
        }
        let detail = match (&request.api_id, &request.api_key) {
            (Some(id), Some(key)) if *id == self.config.api_id && *key == self.config.api_key => {
                return None;
            }
            // observed: the text of the 401 for missing keys.
            (None, _) | (_, None) => "Authentication credentials were not provided.",
            // assumed: wrong keys get the framework's text, with status 401 rather than 403.
            _ => "Incorrect authentication credentials.",
        };
        Some(Reply::detail(401, detail).with("www-authenticate", "Api-Key"))
    }

    fn get(&mut self, now: u64, request: &Request, id: &str, fault: Option<&Rule>) -> (Reply, Option<Uuid>) {
        let index = match self.find(id) {
            Ok(index) => index,
            Err(reply) => return (reply, None),
        };
        let mut status = None;
        match fault {
            Some(rule) if rule.kind == Kind::UnknownStatus => status = Some(unknown_status(rule)),
            Some(rule) => self.end_running_step(now, index, rule),
            None => {}
        }
        let Some(job) = self.jobs.get(index) else {
            return (no_such_job(), None);
        };
        let body = self.view(now, job, &request.origin, status.as_deref());
        (Reply::of_json(200, &body), Some(job.id))
    }

    /// Applies a job fault to `get`: the current step fails now or never ends.
    fn end_running_step(&mut self, now: u64, index: usize, rule: &Rule) {
        let Some(job) = self.jobs.get_mut(index) else {
            return;
        };
        let place = job.phases.len().saturating_sub(1);
        let Some(phase) = job.phases.last_mut().filter(|phase| now < phase.end) else {
            return;
        };
        let ending = ending_of(rule);
        phase.end = if ending == Ending::Never { u64::MAX } else { now };
        phase.ending = ending;
        let (charge, lost, end) = (phase.charge, phase.is_lost(now), phase.end);
        if lost {
            self.ledger.refund(charge, now);
        }
        self.enter(end, index, place, Event::Change(Transition::Ended));
    }

    fn find(&self, id: &str) -> Result<usize, Reply> {
        // assumed: an id that is not a UUID gets the framework's short 404 text.
        let id = Uuid::try_parse(id).map_err(|_| Reply::detail(404, "Not found."))?;
        self.by_id.get(&id).copied().ok_or_else(no_such_job)
    }

    fn view(&self, now: u64, job: &Job, origin: &str, status: Option<&str>) -> Value {
        let around = Surroundings {
            origin,
            seconds: self.config.templates.get(job.template).map_or(0.0, |template| template.seconds),
            editor_access: self.config.editor_access,
        };
        job.body(now, around, status)
    }
}

#[cfg(test)]
mod tests;
