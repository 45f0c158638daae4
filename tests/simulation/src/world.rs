//! The world around the clients: time, the transport with its faults, the journal, and the sandbox's engine behind them.
//!
//! One agenda holds all that will happen. Nothing calls back into a client while the client is calling: what it begins
//! comes to pass later, in an order that depends on the seed alone.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::rc::Rc;

use custom_template_jobs::client::Client;
use custom_template_jobs::error::Failure;
use custom_template_jobs::host::{Answer, Env, Host, JournalCall, Request};
use custom_template_jobs::poll::Look;
use custom_template_jobs::value::Value as _;
use custom_template_jobs::value::place::Whole as _;
use sandbox::engine::{self, Command, Effect, Engine, Wire};
use sandbox::random::Random;
use serde_json::json;

use crate::faults::{Fault, Faults};
use crate::truth::{Outcome, Truth, unrendered};
use crate::users::Users;
use crate::value::{Json, Value, mix};

/// When the world begins, in milliseconds since 1970.
pub const EPOCH: f64 = 1_795_000_000_000.0;
/// Where the API is.
pub const BASE_URL: &str = "https://api.test";

/// Which fetch an answer is for: the operation, and which of its fetches.
pub type Posted = (Rc<str>, usize);

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum What {
    /// A task hears of what it waited for.
    Resume { tab: usize, task: u32, token: u64, answer: Answer<Json>, posted: Option<Posted>, network: bool },
    /// The time of a caller is over.
    Late { tab: usize, task: u32, call: usize },
    /// A request reaches the server.
    Arrive(Box<Flight>),
    /// The journal does what was asked.
    Apply { tab: usize, task: u32, token: u64, call: JournalCall, key: Json, entry: Json },
    /// People do something.
    Act,
    /// A caller leaves.
    Leave { tab: usize, call: usize },
    /// A tab crashes, and another takes its place.
    Crash { slot: usize },
    /// The network comes back, and the page is seen again.
    Back,
    /// Somebody looks again at an operation, perhaps with the id of its job.
    Settle { slot: usize, operation: Rc<str>, job: Option<Rc<str>> },
}

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    pub tab: usize,
    pub task: u32,
    pub token: u64,
    pub request: engine::Request,
    pub posted: Option<Posted>,
    /// Whether the transport sends it again.
    pub replays: bool,
}

struct Due {
    at: f64,
    order: u64,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        // A heap gives its greatest: the earliest is it.
        other.at.total_cmp(&self.at).then(other.order.cmp(&self.order))
    }
}

/// What a task waits for.
struct Wait {
    token: u64,
    light: bool,
}

/// One client's surroundings: a tab, from its start to its crash.
#[derive(Default)]
pub struct TabState {
    pub alive: bool,
    waits: BTreeMap<u32, Wait>,
    /// A journal does what one tab asks in the order in which it asks.
    journal_free: f64,
    /// When it last saw a job that may be rendered.
    looks: HashMap<String, f64>,
    /// Credits that its fetches charged, where it has a budget.
    pub charged: f64,
}

/// Everything but the clients.
pub struct State {
    pub random: Random,
    pub faults: Faults,
    pub now: f64,
    /// How long the machine has slept: by so much its monotonic clock is behind.
    slept: f64,
    /// How wrong its clock is.
    wrong: f64,
    order: u64,
    agenda: BinaryHeap<Due>,
    pub tabs: Vec<TabState>,
    pub engine: Engine,
    armed: bool,
    pub journal: BTreeMap<Rc<str>, Json>,
    pub truth: Truth,
    pub users: Users,
    pub env: Env,
    shares: bool,
    pub lists: bool,

    pub max_credits: f64,
    /// The last id that a client drew.
    pub drawn: Option<Rc<str>>,
    pub hash: u64,
    pub requests: u64,
    pub events: u64,
    /// What happened, where somebody wants to read it.
    pub trace: Option<Vec<String>>,
    pub crash_at: Option<u64>,
}

/// The world.
pub struct World {
    pub state: RefCell<State>,
    clients: RefCell<Vec<Option<Client<Tab>>>>,
}

/// The host of one client.
pub struct Tab {
    world: Rc<World>,
    number: usize,
}

impl State {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(&[seed, 0x51]);
        let credits = if random.fraction() < 0.2 { random.between(5.0, 200.0).floor() } else { 1e9 };
        let keys = random.fraction() < 0.5;
        let config = engine::Config { seed, credits, honour_idempotency_key: keys, ..engine::Config::default() };
        let faults = Faults::draw(&mut random);
        let shares = random.fraction() < 0.8;
        let lists = random.fraction() < 0.5;
        let max_credits = if random.fraction() < 0.15 { random.between(10.0, 150.0).floor() } else { f64::NAN };
        Self {
            users: Users::new(&mut random),
            random,
            faults,
            now: 0.0,
            slept: 0.0,
            wrong: 0.0,
            order: 0,
            agenda: BinaryHeap::new(),
            tabs: Vec::new(),
            engine: Engine::new(config),
            armed: false,
            journal: BTreeMap::new(),
            truth: Truth { keys, ..Truth::default() },
            env: Env { visible: true, online: true },
            shares,
            lists,

            max_credits,
            drawn: None,
            hash: 0xcbf2_9ce4_8422_2325,
            requests: 0,
            events: 0,
            trace: None,
            crash_at: None,
        }
    }

    pub fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.faults.strikes(fault, &mut self.random);
        if strikes {
            self.note(|| format!("  fault: {fault:?}"));
        }
        strikes
    }

    /// For whoever reads a failing seed.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.3} {}", self.now / 1000.0, line()));
        }
    }

    pub fn plan(&mut self, ms: f64, what: What) {
        self.order += 1;
        self.agenda.push(Due { at: self.now + ms, order: self.order, what });
    }

    pub fn engine_now(&self) -> u64 {
        (EPOCH + self.now) as u64
    }

    /// A task waits for one thing at a time.
    fn wait(&mut self, tab: usize, task: u32, light: bool) -> u64 {
        self.order += 1;
        let token = self.order;
        if task > 0
            && let Some(tab) = self.tabs.get_mut(tab)
        {
            tab.waits.insert(task, Wait { token, light });
        }
        token
    }

    /// Whether a task still waits for this. Then it does not any more.
    fn is_awaited(&mut self, tab: usize, task: u32, token: u64) -> bool {
        let Some(tab) = self.tabs.get_mut(tab).filter(|tab| tab.alive) else { return false };
        let awaited = tab.waits.get(&task).is_some_and(|wait| wait.token == token);
        if awaited {
            tab.waits.remove(&task);
        }
        awaited
    }

    fn resume(&mut self, ms: f64, tab: usize, task: u32, token: u64, answer: Answer<Json>) {
        self.plan(ms, What::Resume { tab, task, token, answer, posted: None, network: false });
    }

    /// Ends the light sleeps of a tab.
    fn wake(&mut self, tab: usize) {
        let Some(state) = self.tabs.get(tab) else { return };
        let light: Vec<(u32, u64)> =
            state.waits.iter().filter(|(_, wait)| wait.light).map(|(task, wait)| (*task, wait.token)).collect();
        for (task, token) in light {
            self.resume(0.0, tab, task, token, Ok(Json::Nothing));
        }
    }

    /// The laptop sleeps: its timers stand still, what was on the wire is late or lost.
    fn sleep_machine(&mut self, ms: f64) {
        self.slept += ms;
        let agenda = std::mem::take(&mut self.agenda);
        // In the order of the agenda: chance is drawn here.
        for mut due in agenda.into_sorted_vec().into_iter().rev() {
            if let What::Resume { answer, network: true, .. } = &mut due.what
                && self.random.fraction() < 0.5
            {
                *answer = Ok(Json::record().with_text("code", ""));
            }
            if !matches!(due.what, What::Arrive(_)) {
                due.at += ms;
            }
            self.agenda.push(due);
        }
    }

    fn latency(&mut self) -> f64 {
        self.random.between(5.0, 300.0)
    }

    fn send(&mut self, tab: usize, task: u32, request: &Request<Json>) {
        self.requests += 1;
        let charges = request.endpoint.charges().is_some();
        let path = request.url.as_text().strip_prefix(BASE_URL).unwrap_or_default().to_owned();
        self.note(|| {
            format!("tab {tab} task {task} sends {} {path} {}", request.endpoint.method(), request.operation.as_text())
        });
        let posted = charges.then(|| {
            let operation: Rc<str> = request.operation.as_text().into();
            let index = self.truth.fetched(&operation, request, &self.journal, &self.engine, (tab, task));
            self.check_look(tab, task, &path);
            (operation, index)
        });
        let token = self.wait(tab, task, false);
        let mut outgoing = engine::Request::new(request.endpoint.method(), &path).keys("sandbox", "sandbox");
        if charges {
            outgoing.idempotency_key = Some(request.operation.as_text().to_owned());
            outgoing.content_type = Some("application/json".to_owned());
            outgoing.body = request.body.written().into_bytes();
        }
        let answered =
            |answer: Json| What::Resume { tab, task, token, answer: Ok(answer), posted: posted.clone(), network: true };

        let there = self.latency();
        if self.strikes(Fault::Unusable) {
            self.truth.came_to(posted.as_ref(), Outcome::NotSent);
            let record = Json::record().with_text("field", "apiKey").with_text("message", "could not be had");
            self.plan(there, answered(record));
            return;
        }
        if self.strikes(Fault::NotSent) {
            self.truth.came_to(posted.as_ref(), Outcome::NotSent);
            let codes = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT", "ConnectionRefused"];
            let code = codes[self.random.next() as usize % codes.len()];
            self.plan(there, answered(Json::record().with_text("code", code)));
            return;
        }
        self.plan(request.timeout, answered(Json::record().with("late", &Json::Bool(true))));
        if !self.env.online || self.strikes(Fault::LostBefore) {
            let code = if self.random.fraction() < 0.5 { "ECONNRESET" } else { "" };
            self.plan(there, answered(Json::record().with_text("code", code)));
            return;
        }
        let late = self.strikes(Fault::LateCommit);
        let replays = charges && self.strikes(Fault::Replay);
        if replays {
            self.truth.replayed(posted.as_ref());
        }
        let ms = if late { request.timeout * self.random.between(0.8, 2.0) } else { there };
        self.plan(ms, What::Arrive(Box::new(Flight { tab, task, token, request: outgoing, posted, replays })));
    }

    /// Before a render its client must have seen that the job is neither rendered nor being rendered.
    fn check_look(&mut self, tab: usize, task: u32, path: &str) {
        let Some(job) = path.strip_prefix("/api/custom_template_jobs/").and_then(|path| path.strip_suffix("/render/"))
        else {
            return;
        };
        let seen = self.tabs.get(tab).and_then(|tab| tab.looks.get(job)).copied();
        let begun = self.users.begun(tab, task);
        if seen.is_none_or(|seen| seen < begun) {
            self.truth.violated(|| format!("tab {tab} renders {job} without having looked at it"));
        }
    }

    /// What the sandbox's own rules do to the request that arrives now.
    fn rules(&mut self, post: bool) -> Vec<serde_json::Value> {
        let mut rules = Vec::new();
        let mut draw = |state: &mut Self, fault, rule: &dyn Fn(&mut Random) -> serde_json::Value| {
            if state.strikes(fault) {
                let mut rule = rule(&mut state.random);
                rule["on"] = json!("*");
                rules.push(rule);
            }
        };
        let pick = |random: &mut Random, list: &[u16]| list[random.next() as usize % list.len()];
        draw(self, Fault::LostAfter, &|_| json!({"kind": "drop_after_commit"}));
        draw(self, Fault::Stall, &|_| json!({"kind": "stall"}));
        draw(self, Fault::Truncate, &|random| json!({"kind": "truncate", "bytes": random.next() % 700}));
        draw(self, Fault::Html, &|random| json!({"kind": "html", "commit": random.fraction() < 0.5}));
        draw(
            self,
            Fault::Redirect,
            &|random| json!({"kind": "redirect", "status": pick(random, &[301, 302, 307, 308]), "commit": random.fraction() < 0.5}),
        );
        draw(self, Fault::StatusBefore, &|random| {
            let statuses = [400, 401, 402, 403, 404, 408, 409, 413, 422, 425, 500, 502, 503, 504];
            json!({"kind": "status_before_commit", "status": pick(random, &statuses)})
        });
        draw(
            self,
            Fault::StatusAfter,
            &|random| json!({"kind": "status_after_commit", "status": pick(random, &[408, 409, 425, 500, 502, 503, 504])}),
        );
        draw(self, Fault::TooMany, &|random| {
            let asked = ["5", "0", "-3", "31536000", "soon", "1.5"][random.next() as usize % 6];
            json!({"kind": "status_before_commit", "status": 429, "headers": {"retry-after": asked}})
        });
        draw(self, Fault::Delay, &|random| json!({"kind": "delay", "ms": (random.fraction() * 60_000.0) as u64}));
        if post {
            draw(self, Fault::Stuck, &|_| json!({"kind": "stuck"}));
            draw(self, Fault::FailJob, &|_| json!({"kind": "fail_job"}));
            draw(self, Fault::RejectJob, &|_| json!({"kind": "reject_job"}));
        }
        draw(self, Fault::UnknownStatus, &|_| json!({"kind": "unknown_status"}));
        rules
    }

    fn arrive(&mut self, mut flight: Flight) {
        let post = flight.request.method == "POST";
        let rules = self.rules(post);
        // A word that nobody knows may mean anything: that the job is being rendered cannot be seen behind it.
        let odd = rules.iter().any(|rule| rule["kind"] == "unknown_status");
        if !rules.is_empty() || self.armed {
            let rules = sandbox::faults::parse(&serde_json::Value::Array(rules)).unwrap_or_default();
            self.armed = !rules.is_empty();
            self.engine.handle(self.engine_now(), Command::SetFaults(rules));
        }
        let before = self.engine.ledger().charges().len();
        let now = self.engine_now();
        let (mut reply, effects) = self.engine.handle(now, Command::Request(flight.request.clone()));
        self.take_effects(effects);
        if !post
            && let Some(job) = unrendered(&flight.request.path, &self.engine, odd)
            && let Some(tab) = self.tabs.get_mut(flight.tab)
        {
            tab.looks.insert(job.to_owned(), self.now);
        }
        for charge in before..self.engine.ledger().charges().len() {
            if let Some(posted) = &flight.posted {
                let credits = self.engine.ledger().charges()[charge].credits;
                if let Some(tab) = self.tabs.get_mut(flight.tab)
                    && self.truth.charged(posted, charge)
                {
                    tab.charged += credits;
                    if tab.charged > self.max_credits {
                        self.truth.violated(|| format!("{} passed the budget", posted.0));
                    }
                }
            }
        }
        self.note(|| {
            format!("  server: {} {} -> {} {:?}", flight.request.method, flight.request.path, reply.status, reply.wire)
        });
        // The faults of jobs can be crossed with others; an answer for somebody else comes from a cache or a proxy. What makes
        // a new job is handed another one that its client knows: of one that it does not, nobody could tell.
        let named = post && !flight.request.path.ends_with("/render/");
        let others = if named {
            self.truth.named_to(flight.tab)
        } else {
            self.engine.jobs().iter().map(|job| job.id.to_string()).collect()
        };
        if reply.wire == Wire::Deliver && !others.is_empty() && self.strikes(Fault::Crossed) {
            let other = &others[self.random.next() as usize % others.len()];
            if !flight.request.path.contains(other) {
                let get = engine::Request::get(&format!("/api/custom_template_jobs/{other}/")).keys("sandbox", "sandbox");
                self.engine.handle(now, Command::SetFaults(Vec::new()));
                self.armed = false;
                reply.body = self.engine.handle(now, Command::Request(get)).0.body;
            }
        }
        if flight.replays {
            flight.replays = false;
            let again = flight.clone();
            let ms = self.latency();
            self.plan(ms, What::Arrive(Box::new(again)));
            // The answer to the first is lost with its connection.
            return;
        }
        let Some(record) = record_of(&reply, &mut self.random) else { return };
        let back = self.latency() + reply.ready_at.saturating_sub(now) as f64;
        let Flight { tab, task, token, posted, .. } = flight;
        self.plan(back, What::Resume { tab, task, token, answer: Ok(record), posted, network: true });
    }

    /// Webhooks: they bring the id of a job by the token in their address.
    pub fn take_effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Webhook { url, job, .. } = effect else { continue };
            let Some(operation) = url.strip_prefix("https://hook.test/") else { continue };
            if self.strikes(Fault::WebhookLost) {
                continue;
            }
            let (operation, job): (Rc<str>, Rc<str>) = (operation.into(), job.to_string().into());
            self.truth.heard(&operation, &job);
            if !self.faults.calm && self.random.fraction() < 0.1 {
                let (ms, slot) = (self.latency(), self.random.next() as usize % 2);
                self.plan(ms, What::Settle { slot, operation, job: Some(job) });
            }
        }
    }

    fn journal(&mut self, tab: usize, task: u32, call: JournalCall, key: Json, entry: Json) {
        let token = self.wait(tab, task, false);
        let slow = self.strikes(Fault::JournalSlow);
        let ms = if slow { self.random.between(1.0, 3_000.0) } else { self.random.between(0.0, 3.0) };
        let Some(state) = self.tabs.get_mut(tab) else { return };
        let at = (self.now + ms).max(state.journal_free);
        state.journal_free = at;
        self.plan(at - self.now, What::Apply { tab, task, token, call, key, entry });
    }

    fn apply(&mut self, tab: usize, task: u32, token: u64, call: JournalCall, key: &Json, entry: &Json) {
        let failed = Err(Json::text("the journal is broken"));
        let ms = self.random.between(0.0, 3.0);
        if self.strikes(Fault::JournalFails) {
            self.resume(ms, tab, task, token, failed);
            return;
        }
        let name: Rc<str> = key.as_text().into();
        self.note(|| format!("  journal of tab {tab}: {} {name} {}", call.as_str(), entry.written()));
        let old = self.journal.get(&name).cloned();
        let answer = match call {
            JournalCall::Create => {
                if old.is_none() {
                    self.journal.insert(name, entry.clone());
                }
                Json::Bool(old.is_none())
            }
            JournalCall::Read => old.unwrap_or(Json::Nothing),
            JournalCall::Write => {
                self.truth.written(&name, old.as_ref(), entry, &self.engine);
                self.journal.insert(name, entry.clone());
                Json::Nothing
            }
            JournalCall::Delete if entry.is_there() && old.as_ref() != Some(entry) => Json::Nothing,
            JournalCall::Delete => {
                self.truth.deleted(&name, old.as_ref(), &self.engine);
                self.journal.remove(&name);
                Json::Nothing
            }
            JournalCall::List => {
                let keys = self.journal.keys().filter(|other| other.starts_with(&*name));
                Json::List(Rc::new(keys.map(|key| Json::Text(Rc::clone(key))).collect()))
            }
        };
        let answer = if self.strikes(Fault::JournalFailsAfter) { failed } else { Ok(answer) };
        self.resume(ms, tab, task, token, answer);
    }

    /// A random moment of trouble for the machine as a whole.
    pub fn trouble(&mut self) {
        if self.strikes(Fault::ClockJump) {
            self.wrong = self.random.between(-86_400_000.0, 86_400_000.0);
        }
        if self.strikes(Fault::Sleep) {
            let ms = self.random.between(1_000.0, 3_600_000.0);
            self.sleep_machine(ms);
        }
        let (offline, hidden) = (self.strikes(Fault::Offline), self.strikes(Fault::Hidden));
        if offline || hidden {
            self.env = Env { visible: !hidden, online: !offline };
            let ms = self.random.between(100.0, 30_000.0);
            self.plan(ms, What::Back);
        }
        if self.strikes(Fault::Crash) {
            let (ms, slot) = (self.random.between(0.0, 500.0), self.random.next() as usize % 2);
            self.plan(ms, What::Crash { slot });
        }
    }

    /// Takes the next thing from the agenda. Whether there was one.
    fn next(&mut self) -> Option<What> {
        let due = self.agenda.pop()?;
        self.now = self.now.max(due.at);
        self.events += 1;
        self.hash = mix(self.hash, &due.at.to_bits().to_le_bytes());
        Some(due.what)
    }
}

/// What a host makes of a reply; `None` for silence.
fn record_of(reply: &engine::Reply, random: &mut Random) -> Option<Json> {
    let record = Json::record();
    let (body, broken) = match reply.wire {
        _ if reply.ready_at == u64::MAX => return None,
        Wire::Stall { .. } => return None,
        Wire::Drop { .. } => return Some(record.with_text("code", "ECONNRESET")),
        Wire::Deliver | Wire::Drip { .. } => (reply.body.as_slice(), false),
        Wire::Truncate { bytes, .. } => (reply.body.get(..bytes).unwrap_or_default(), true),
    };
    // A browser hides where a redirect leads, and that it is one.
    if (300..400).contains(&reply.status) && random.fraction() < 0.5 {
        return Some(record.with_number("status", 0.0));
    }
    let record = record.with_number("status", reply.status.into());
    let asked = reply.header("retry-after").and_then(|asked| asked.parse::<f64>().ok());
    let record = asked.map_or(record.clone(), |asked| record.with_number("retryAfter", asked * 1000.0));
    let parsed = if broken { None } else { serde_json::from_slice(body).ok() };
    if let Some(value) = parsed {
        return Some(record.with("body", &Json::of(&value)));
    }
    let text: String = String::from_utf8_lossy(body).chars().take(500).collect();
    let record = record.with_text("text", &text);
    Some(if broken { record.with("broken", &Json::Bool(true)) } else { record })
}

impl World {
    pub fn new(state: State) -> Rc<Self> {
        let world = Rc::new(Self { state: RefCell::new(state), clients: RefCell::default() });
        for slot in 0..2 {
            let tab = world.open();
            world.state.borrow_mut().users.slots[slot] = tab;
        }
        world
    }

    /// A new tab; its number.
    fn open(self: &Rc<Self>) -> usize {
        let number = self.clients.borrow().len();
        let mut config = custom_template_jobs::client::Config::new(Value::text(BASE_URL), Value::text("sandbox"));
        let state = &mut *self.state.borrow_mut();
        config.max_credits = state.max_credits;
        state.tabs.push(TabState { alive: true, ..TabState::default() });
        let client = Client::new(Tab { world: Rc::clone(self), number }, config);
        self.clients.borrow_mut().push(Some(client));
        number
    }

    pub fn client(&self, tab: usize) -> Option<Client<Tab>> {
        self.clients.borrow().get(tab).cloned().flatten()
    }

    /// Ends all clients: they hold the world, and the world holds them.
    pub fn close(&self) {
        self.clients.borrow_mut().clear();
    }

    fn crash(self: &Rc<Self>, slot: usize) {
        let tab = self.state.borrow().users.slots[slot];
        {
            let state = &mut *self.state.borrow_mut();
            state.note(|| format!("tab {tab} crashes"));
            let State { tabs, users, agenda, random, .. } = state;
            if let Some(tab) = tabs.get_mut(tab) {
                tab.alive = false;
            }
            users.crashed(tab);
            // What it asked the journal for is done or not; what it sent goes on, or not.
            let old = std::mem::take(agenda);
            for due in old.into_sorted_vec().into_iter().rev() {
                let of_it = match &due.what {
                    What::Apply { tab: of, .. } => *of == tab,
                    What::Arrive(flight) => flight.tab == tab,
                    _ => false,
                };
                if !of_it || random.fraction() < 0.5 {
                    agenda.push(due);
                }
            }
        }
        if let Some(client) = self.clients.borrow_mut().get_mut(tab) {
            *client = None;
        }
        let new = self.open();
        self.state.borrow_mut().users.slots[slot] = new;
    }

    /// Lets the next thing happen. False where nothing will.
    pub fn step(self: &Rc<Self>) -> bool {
        let next = self.state.borrow_mut().next();
        let Some(what) = next else { return false };
        match what {
            What::Resume { tab, task, token, answer, posted, .. } => {
                let awaited = {
                    let state = &mut *self.state.borrow_mut();
                    let awaited = state.is_awaited(tab, task, token);
                    if awaited {
                        state.hash = mix(state.hash, &task.to_le_bytes());
                        if let (Some(posted), Ok(reply)) = (&posted, &answer) {
                            state.truth.answered(posted, reply, &state.engine);
                        }
                        state.note(|| {
                            let (Ok(value) | Err(value)) = &answer;
                            format!("tab {tab} task {task} hears {:.160}", value.written())
                        });
                    } else if let (Some(posted), Ok(reply)) = (&posted, &answer)
                        && state.tabs.get(tab).is_some_and(|tab| tab.alive)
                    {
                        state.truth.unheard(posted, reply);
                    }
                    awaited
                };
                if awaited && let Some(client) = self.client(tab) {
                    client.resume(task, answer.map(Value::from).map_err(Value::from));
                }
            }
            What::Late { tab, task, call } => {
                let waits = self.state.borrow().users.is_running(call);
                if waits && let Some(client) = self.client(tab) {
                    self.state.borrow_mut().note(|| format!("tab {tab} task {task}: the caller's time is over"));
                    client.late(task);
                }
            }
            What::Arrive(flight) => self.state.borrow_mut().arrive(*flight),
            What::Apply { tab, task, token, call, key, entry } => {
                self.state.borrow_mut().apply(tab, task, token, call, &key, &entry);
            }
            What::Act => self.act(),
            What::Leave { tab, call } => {
                let task = self.state.borrow_mut().users.leave(call);
                if let (Some(task), Some(client)) = (task, self.client(tab)) {
                    self.state.borrow_mut().note(|| format!("tab {tab} task {task}: the caller leaves"));
                    client.leave(task);
                }
            }
            What::Crash { slot } => self.crash(slot),
            What::Back => {
                let state = &mut *self.state.borrow_mut();
                state.env = Env { visible: true, online: true };
                for tab in 0..state.tabs.len() {
                    state.wake(tab);
                }
            }
            What::Settle { slot, operation, job } => {
                let (tab, job) = {
                    let state = self.state.borrow();
                    (state.users.slots[slot], job.filter(|job| state.truth.is_credible(&operation, job)))
                };
                self.settle(tab, &operation, job.as_deref());
            }
        }
        let crash = {
            let state = self.state.borrow();
            state.crash_at == Some(state.events)
        };
        if crash {
            self.crash(0);
        }
        self.hear();
        true
    }
}

impl Host for Tab {
    type Value = Value;
    type Call = usize;

    fn send(&self, task: u32, request: Request<Value>) {
        let Request { endpoint, url, body, operation, shared, timeout } = request;
        let [url, body, operation, shared] = [url, body, operation, shared].map(custom_template_jobs::value::Value::own);
        let request = Request { endpoint, url, body, operation, shared, timeout };
        self.world.state.borrow_mut().send(self.number, task, &request);
    }

    fn sleep(&self, task: u32, ms: f64, light: bool) {
        let state = &mut *self.world.state.borrow_mut();
        let token = state.wait(self.number, task, light);
        // Timers count whole milliseconds: a wait that is lost in the rounding of the clock would never end.
        state.resume(ms.max(1.0), self.number, task, token, Ok(Json::Nothing));
    }

    fn wake(&self) {
        self.world.state.borrow_mut().wake(self.number);
    }

    fn forget(&self, task: u32) {
        if let Some(tab) = self.world.state.borrow_mut().tabs.get_mut(self.number) {
            tab.waits.remove(&task);
        }
    }

    fn journal(&self, task: u32, call: JournalCall, key: Value, entry: Value) {
        self.world.state.borrow_mut().journal(self.number, task, call, key.own(), entry.own());
    }

    fn list_jobs(&self, task: u32, _since: f64) -> bool {
        let state = &mut *self.world.state.borrow_mut();
        if !state.lists {
            return false;
        }
        let token = state.wait(self.number, task, false);
        let ms = state.latency();
        let fails = state.strikes(Fault::ListFails);
        if fails && state.random.fraction() < 0.3 {
            state.resume(ms, self.number, task, token, Err(Json::text("the list failed")));
            return true;
        }
        let mut jobs: Vec<Json> = state.engine.jobs().iter().rev().map(listed).collect();
        if fails {
            jobs.drain(..jobs.len().min(3));
        }
        state.resume(ms, self.number, task, token, Ok(Json::List(Rc::new(jobs))));
        true
    }

    fn settle(&self, call: &usize, result: Result<Value, Failure<Value>>) {
        let told = result.map(Value::own).map_err(|failure| {
            ["name", "operation", "sent", "message"]
                .into_iter()
                .fold(Json::record(), |record, key| record.with(key, &failure.get(key).own()))
        });
        self.world.state.borrow_mut().settled(*call, told);
    }

    fn over(&self, call: &usize) {
        let state = &mut *self.world.state.borrow_mut();
        state.users.over(*call, &mut state.truth);
    }

    fn update(&self, _call: &usize, _job: Value, _look: Look) {}

    fn alarm(&self, call: &usize, task: u32, ms: f64) {
        self.world.state.borrow_mut().plan(ms, What::Late { tab: self.number, task, call: *call });
    }

    fn now(&self) -> f64 {
        let state = self.world.state.borrow();
        state.now - state.slept
    }

    fn wall(&self) -> f64 {
        let state = self.world.state.borrow();
        EPOCH + state.now + state.wrong
    }

    fn random(&self) -> f64 {
        self.world.state.borrow_mut().random.fraction()
    }

    fn uuid(&self) -> Value {
        let state = &mut *self.world.state.borrow_mut();
        let id: Rc<str> = state.random.uuid().to_string().into();
        state.drawn = Some(Rc::clone(&id));
        Json::Text(id).into()
    }

    fn env(&self) -> Env {
        self.world.state.borrow().env
    }

    fn shares(&self) -> bool {
        self.world.state.borrow().shares
    }
}

fn listed(job: &sandbox::job::Job) -> Json {
    let record = Json::record().with_text("id", &job.id.to_string());
    job.webhook_url.as_ref().map_or(record.clone(), |url| record.with_text("webhook_url", url))
}
