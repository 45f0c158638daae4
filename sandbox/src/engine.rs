//! Decides every answer of the sandbox: a deterministic state machine over `(now, command)`.
//!
//! It opens no socket, reads no clock, starts no thread and draws chance from its seed alone, so that a server and
//! a simulation can drive the same lines:
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

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::faults::{Faults, Kind, Plan, Rule};
use crate::job::{Ending, Job, Phase, Surroundings, number, rfc3339};
use crate::ledger::{Charge, Ledger};
use crate::message::{no_such_job, not_found, refuse_media_type, too_large};
use crate::prices::{Prices, Step};
use crate::random::{Random, fingerprint};
use crate::route::{Call, Route, route};
use crate::spoil::{FAILED, REJECTED, ending_of, odd_status, spared, spoiled};
use crate::templates::{Behaviour, Template};
use crate::validate::{self, Needs};

pub use crate::message::{BODY_LIMIT, Reply, Request, Secret, Wire};

const LOG_LIMIT: usize = 2_000;
/// Webhooks that the log keeps.
pub const WEBHOOK_LOG_LIMIT: usize = 500;

/// What the sandbox is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// All chance comes from here.
    pub seed: u64,
    /// Divides every wait.
    pub speed: f64,
    /// The account's credits at the start.
    pub credits: f64,
    /// `X-API-ID`.
    pub api_id: String,
    /// `X-API-KEY`.
    pub api_key: Secret,
    /// The templates of the account.
    pub templates: Vec<Template>,
    /// Which price list applies.
    pub prices: Prices,
    /// Whether jobs have an `editor_url`.
    pub editor_access: bool,
    /// Whether a repeated `Idempotency-Key` is answered from memory.
    pub honour_idempotency_key: bool,
    /// Whether media are taken that the provider could not fetch.
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

/// What can be asked of the engine.
#[derive(Debug, Clone)]
pub enum Command {
    /// A request to the upstream's API.
    Request(Request),
    /// Nothing but that time has passed: effects that are due come out.
    Tick,
    /// Moves the virtual clock forward.
    Advance {
        /// By so many milliseconds.
        ms: u64,
    },
    /// Replaces the fault rules.
    SetFaults(Vec<Rule>),
    /// Starts anew: no jobs, no charges, no faults, an empty log, the clock set right.
    Reset {
        /// Another seed, if given.
        seed: Option<u64>,
        /// Other credits, if given.
        credits: Option<f64>,
    },
}

/// What the outside has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a webhook.
    Webhook {
        /// Where to.
        url: String,
        /// The JSON body.
        body: Value,
        /// Which job it is about.
        job: Uuid,
        /// Its place in the log of webhooks. A webhook that a fault doubles comes twice with one number.
        number: u64,
        /// When the status changed, in the engine's time.
        at: u64,
    },
    /// Somebody will soon want the video of this job.
    PrepareVideo {
        /// The secret part of the video's URL.
        token: Uuid,
    },
}

/// What a page or a video of a job shows.
#[derive(Debug, Clone)]
pub struct Showing {
    /// The job's id; none for the preview of a template.
    pub job: Option<Uuid>,
    /// The job's name.
    pub name: Option<String>,
    /// Its template.
    pub template: Template,
    /// Its variables.
    pub variables: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Turn {
    Queued,
    Running,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The status changes.
    Change(Turn),
    /// The webhook of a change goes before it: which, and when the status will change.
    Early(Turn, u64),
    /// The webhook that was held back has waited long enough.
    Release(u64),
}

/// What is due: time, order of arrival, job, phase, event.
type Due = Reverse<(u64, u64, usize, usize, Event)>;

#[derive(Debug, Clone)]
struct Remembered {
    body: u64,
    reply: Reply,
}

/// A request in the log. It is written out when somebody reads it: far more requests come than are read about.
#[derive(Debug, Clone)]
struct Line {
    number: u64,
    at: u64,
    relayed: bool,
    connection: u64,
    method: String,
    path: String,
    call: Option<Call>,
    status: Option<u16>,
    faults: Vec<&'static str>,
    job: Option<Uuid>,
    key: Option<String>,
    bytes: usize,
}

impl Line {
    fn body(&self) -> Value {
        json!({
            "n": self.number,
            "at": rfc3339(self.at, 0),
            "via": if self.relayed { "relay" } else { "api" },
            "connection": self.connection,
            "method": self.method,
            "path": self.path,
            "call": self.call.map(Call::name),
            "status": self.status,
            "faults": self.faults,
            "job_id": self.job.map(|id| id.to_string()),
            "idempotency_key": self.key,
            "body_bytes": self.bytes,
        })
    }
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
    remembered: HashMap<(Call, String, String), Remembered>,
    log: VecDeque<Line>,
    requests: u64,
    /// Changes of status whose webhook went, or goes, before them.
    announced: HashSet<(usize, usize, Turn, u64)>,
    /// The webhook of a job that is held back, with its number.
    held: HashMap<usize, (u64, Effect)>,
    webhooks: u64,
    webhook_log: VecDeque<Value>,
}

impl Engine {
    /// A fresh sandbox.
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
            remembered: HashMap::new(),
            log: VecDeque::new(),
            requests: 0,
            announced: HashSet::new(),
            held: HashMap::new(),
            webhooks: 0,
            webhook_log: VecDeque::new(),
            config,
        }
    }

    /// Answers a command. `now_ms` is the caller's clock, in milliseconds since the epoch; it never goes back.
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
        self.settle(now, &mut effects);
        let reply = match request {
            Some(request) => self.answer(now, &request, &mut effects),
            None => Reply::of_json(200, &json!({})),
        };
        (reply, effects)
    }

    /// The engine's time: the caller's clock and what the virtual clock was moved by.
    pub fn time(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.offset).max(self.last)
    }

    /// When the next effect is due, in the engine's time.
    pub fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((moment, ..))| *moment)
    }

    /// The account's templates.
    pub fn templates(&self) -> &[Template] {
        &self.config.templates
    }

    /// What it was started with; a reset may have changed the seed and the credits since.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether fault rules are in force, so that every request may change something.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// The account and its history.
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

    /// What the preview page of a job or a template shows.
    pub fn preview(&self, now_ms: u64, token: Uuid) -> Option<Showing> {
        let job = self.jobs.get(*self.by_token.get(&token)?)?;
        (job.preview_token == token && job.has_preview(self.time(now_ms))).then(|| self.showing(job)).flatten()
    }

    /// What the preview page of a template shows: its own defaults.
    pub fn template_preview(&self, id: Uuid, origin: &str) -> Option<Showing> {
        let template = self.config.templates.iter().find(|template| template.id == id)?;
        Some(Showing { job: None, name: None, template: template.clone(), variables: template.defaults(origin) })
    }

    /// What the video of a job shows, and whether it can be had yet.
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

    /// The body of `GET /__sandbox/jobs`: every job, newest first, as the API answers it, and `template_id`.
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

    /// So many of the last requests, newest first, and how many there were.
    pub fn last_requests(&self, count: usize) -> (Value, u64) {
        (self.log.iter().rev().take(count).map(Line::body).collect(), self.requests)
    }

    /// The webhooks that were due, oldest first: the engine's part of `GET /__sandbox/webhooks`.
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

    fn settle(&mut self, now: u64, effects: &mut Vec<Effect>) {
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
            let (turn, changes) = match event {
                Event::Change(turn) => (turn, moment),
                Event::Early(turn, changes) => (turn, changes),
                Event::Release(number) => {
                    self.release(index, Some(number), effects);
                    continue;
                }
            };
            // A fault may have moved the end after it was entered here.
            if changes_at(phase, turn) != changes {
                continue;
            }
            if changes != moment {
                self.announce(index, place, changes, Some(moment), effects);
                continue;
            }
            match turn {
                Turn::Running => self.ledger.debit(phase.charge, moment),
                Turn::Ended if phase.is_lost(moment) => self.ledger.refund(phase.charge, moment),
                Turn::Queued | Turn::Ended => {}
            }
            if place + 1 == job.phases.len()
                && !overtaken(phase, turn)
                && !self.announced.remove(&(index, place, turn, moment))
            {
                self.announce(index, place, moment, None, effects);
            }
        }
    }

    /// Sends the webhook of the change at `changes`, as far as the fault rules let it; `early` is the moment of a webhook
    /// that goes before its change.
    // documented: a webhook is sent when the task succeeds or fails, and "multiple requests for status changes" may be.
    // assumed: one webhook for each change that time brings; none for `pending`, which the caller brings about by a call.
    fn announce(&mut self, index: usize, place: usize, changes: u64, early: Option<u64>, effects: &mut Vec<Effect>) {
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
    fn announce_early(&mut self, index: usize, place: usize, call: Call, now: u64, effects: &mut Vec<Effect>) {
        for turn in [Turn::Queued, Turn::Running, Turn::Ended] {
            let Some(job) = self.jobs.get(index).filter(|job| job.webhook_url.is_some()) else { return };
            let Some(phase) = job.phases.get(place) else { return };
            let changes = changes_at(phase, turn);
            if changes == u64::MAX || overtaken(phase, turn) {
                continue;
            }
            let Some(rule) = self.faults.strike_early(call, job.status(changes).name(), now) else { continue };
            self.announced.insert((index, place, turn, changes));
            let at = rule.ms.map_or(now, |ms| changes.saturating_sub(ms).max(now));
            if at == now {
                self.announce(index, place, changes, Some(now), effects);
            } else if at < changes {
                self.enter(at, index, place, Event::Early(turn, changes));
            }
        }
    }

    fn enter(&mut self, moment: u64, job: usize, phase: usize, event: Event) {
        if moment != u64::MAX {
            self.dues += 1;
            self.due.push(Reverse((moment, self.dues, job, phase, event)));
        }
    }

    // assumed: nobody is ever refused for asking too often; no rate limit is published. A fault rule can answer 429.
    fn answer(&mut self, now: u64, request: &Request, effects: &mut Vec<Effect>) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let route = route(path);
        let plan = match route {
            Route::Call(call, _) => self.faults.strike(call, now),
            Route::Slash | Route::Unknown => Plan::default(),
        };
        let mut job = None;
        let mut reply = match (spared(plan.answer.as_ref()), route) {
            (Some(reply), _) => reply,
            (None, Route::Call(call, id)) => {
                let (reply, touched) = self.call(now, request, call, id, plan.job.as_ref(), effects);
                job = touched;
                spoiled(reply, plan.answer.as_ref())
            }
            // assumed: a path without its last slash is answered with 301, as Django does. A client that follows the redirect of a POST sends a GET.
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
        // assumed: the keys are looked at before the method and before the job, and the size of a body before the keys.
        if let Some(reply) = self.refuse_keys(request) {
            return (reply, None);
        }
        // assumed: HEAD is answered as GET, every other method with 405.
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
            // observed: these words where the headers of the keys are missing.
            (None, _) | (_, None) => "Authentication credentials were not provided.",
            // assumed: wrong keys are answered in the framework's words, and with 401 rather than 403.
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
            Some(rule) if rule.kind == Kind::UnknownStatus => status = Some(odd_status(rule)),
            Some(rule) => self.spoil_running(now, index, rule),
            None => {}
        }
        let Some(job) = self.jobs.get(index) else {
            return (no_such_job(), None);
        };
        let body = self.view(now, job, &request.origin, status.as_deref());
        (Reply::of_json(200, &body), Some(job.id))
    }

    /// A fault that strikes a look at a job: its current step ends badly now, or never.
    fn spoil_running(&mut self, now: u64, index: usize, rule: &Rule) {
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
        self.enter(end, index, place, Event::Change(Turn::Ended));
    }

    fn find(&self, id: &str) -> Result<usize, Reply> {
        // assumed: an id that is no UUID is answered in the framework's short words.
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

    fn charging(
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
        if let Some(before) = key.as_ref().and_then(|key| self.remembered.get(key)) {
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
                    self.remembered.insert(key, Remembered { body, reply });
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
            Behaviour::Failed => phase.spoil(Ending::Failed(FAILED.to_owned()), 0),
            Behaviour::Rejected => phase.spoil(Ending::Rejected(REJECTED.to_owned()), 0),
        }
        match fault {
            Some(rule) if rule.kind == Kind::UnknownStatus => phase.odd_status = Some(odd_status(rule)),
            Some(rule) => phase.spoil(ending_of(rule), 0),
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
        for turn in [Turn::Queued, Turn::Running, Turn::Ended] {
            self.enter(changes_at(phase, turn), index, place, Event::Change(turn));
        }
        self.announce_early(index, place, call, now, effects);
        if phase.step != Step::Preview
            && phase.ending == Ending::Done
            && let Some(token) = token
        {
            effects.push(Effect::PrepareVideo { token });
        }
    }
}

/// When a step comes to this turn; `u64::MAX` for never.
fn changes_at(phase: &Phase, turn: Turn) -> u64 {
    match turn {
        Turn::Queued => phase.queued,
        Turn::Running => phase.running,
        Turn::Ended => phase.end,
    }
}

/// A step that ends as it starts to run has one change of status there, not two.
fn overtaken(phase: &Phase, turn: Turn) -> bool {
    turn == Turn::Running && phase.end == phase.running
}

fn number_words(credits: f64) -> String {
    number(credits).to_string()
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
