//! The environment of the clients: processes that crash, the network with its faults, the journal, and the sandbox's engine.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::pending;
use std::rc::Rc;

use custom_template_jobs::client::{Client, Config};
use custom_template_jobs::host::{Answer, Body, Env, Unusable};
use sandbox::engine::{self, Command, Effect, Engine, Wire};
use sandbox::random::Random;
use serde_json::{Value, json};
use test_host::journal::Call;
use test_host::{Given, Plan, Reply, Sent, TestHost, World, failed};

use crate::checker::{Checker, FetchId, find, may_be_rendering, shows_render};
use crate::faults::{Fault, Faults};
use crate::users::Users;

/// The base URL of the API.
const BASE_URL: &str = "https://api.test";
/// The number of clients at a time. The first and the last share a process.
pub const SLOTS: usize = 3;

/// A client, from its start to its crash.
#[derive(Debug)]
pub struct Tab {
    pub client: Client<TestHost>,
    process: usize,
    pub alive: bool,
    /// For each job that may be rendered: when this client last read it, for a first and for another render.
    reads: BTreeMap<String, [f64; 2]>,
}

/// The mutable state of a seed.
#[expect(clippy::struct_excessive_bools, reason = "the facts are independent")]
pub struct State {
    pub random: Random,
    pub faults: Faults,
    pub engine: Engine,
    /// Whether the engine has fault rules.
    armed: bool,
    pub checker: Checker,
    pub users: Users,
    /// By host number.
    pub tabs: Vec<Tab>,
    pub slots: [usize; SLOTS],
    processes: usize,
    online: bool,
    shares: bool,
    pub lists: bool,
    max_credits: Option<f64>,
    budget_key: Option<String>,
    /// How often the machine has slept.
    slept: u32,
    pub requests: u64,
    pub hash: u64,
    /// The trace, if one is recorded.
    pub trace: Option<Vec<String>>,
}

/// The world of one seed.
pub struct Sim {
    pub world: World,
    pub state: RefCell<State>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sim").field("world", &self.world).finish_non_exhaustive()
    }
}

impl Sim {
    pub fn new(seed: u64, trace: bool) -> Rc<Self> {
        let mut random = Random::new(&[seed, 0x51]);
        let credits = if random.fraction() < 0.2 { random.between(5.0, 200.0).floor() } else { 1e9 };
        let keys = random.fraction() < 0.5;
        let config = engine::Config { seed, credits, honour_idempotency_key: keys, ..engine::Config::default() };
        let faults = Faults::draw(&mut random);
        let max_credits = (random.fraction() < 0.15).then(|| random.between(10.0, 150.0).floor());
        let budget_key = (random.fraction() < 0.5).then(|| "november".to_owned());
        let world = World::seeded(seed);
        if random.fraction() < 0.5 {
            world.have_locks();
        }
        if random.fraction() < 0.3 {
            world.have_tabs();
        }
        let config_of_all = Config::new(BASE_URL, "sandbox", "");
        let patience = config_of_all.preview_timeout.max(config_of_all.timeout) - 1_000.0;
        let state = State {
            users: Users::new(&mut random),
            shares: random.fraction() < 0.8,
            lists: random.fraction() < 0.5,
            random,
            faults,
            engine: Engine::new(config),
            armed: false,
            checker: Checker { keys, namespace: config_of_all.namespace, patience, ..Checker::default() },
            tabs: Vec::new(),
            slots: [0; SLOTS],
            processes: 0,
            online: true,
            max_credits,
            budget_key,
            slept: 0,
            requests: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            trace: trace.then(Vec::new),
        };
        let sim = Rc::new(Self { world, state: RefCell::new(state) });
        let serving = Rc::clone(&sim);
        sim.world.serve(move |sent| {
            let id = serving.leaves(&sent);
            Rc::clone(&serving).carry(sent, id)
        });
        let journal = sim.world.journal();
        let planning = Rc::clone(&sim);
        journal.plan(move |call| planning.plan(call));
        let watching = Rc::clone(&sim);
        journal.witness(move |call, old, reply| {
            let state = &mut *watching.state.borrow_mut();
            state.note(watching.world.now(), || format!("  journal: {call:?} -> {reply:?}"));
            state.checker.journaled(watching.world.now(), call, old, &reply, &state.engine);
            reply
        });
        sim.open_process();
        sim.open(1);
        sim
    }

    /// Ends the world, whose parts refer to each other.
    pub fn close(&self) {
        self.world.journal().calm();
        self.world.close();
        self.state.borrow_mut().tabs.clear();
    }

    pub fn strikes(&self, fault: Fault) -> bool {
        self.state.borrow_mut().strikes(self.world.now(), fault)
    }

    pub fn between(&self, low: f64, high: f64) -> f64 {
        self.state.borrow_mut().random.between(low, high)
    }

    pub fn chance(&self, chance: f64) -> bool {
        self.state.borrow_mut().random.fraction() < chance
    }

    pub fn violated(&self, rule: impl FnOnce() -> String) {
        self.state.borrow_mut().checker.violated(rule);
    }

    fn engine_now(&self) -> u64 {
        self.world.true_wall() as u64
    }

    /// Opens a client in a process of its own.
    fn open(self: &Rc<Self>, slot: usize) -> TestHost {
        let host = self.world.process();
        self.state.borrow_mut().processes += 1;
        self.open_on(slot, &host);
        host
    }

    /// Opens the process that two clients share.
    fn open_process(self: &Rc<Self>) {
        let host = self.open(0);
        self.open_on(SLOTS - 1, &host.sibling());
    }

    fn open_on(self: &Rc<Self>, slot: usize, host: &TestHost) {
        let state = &mut *self.state.borrow_mut();
        host.set_shares(state.shares);
        let sim = Rc::clone(self);
        host.on_headers(move || sim.headers());
        if state.lists {
            let sim = Rc::clone(self);
            host.on_list_jobs(move |_| sim.list_jobs());
        }
        let config = Config {
            max_credits: state.max_credits,
            budget_key: state.budget_key.clone(),
            ..Config::new(BASE_URL, "sandbox", "")
        };
        assert_eq!(state.tabs.len(), host.number(), "host numbers equal client numbers");
        state.slots[slot] = state.tabs.len();
        let client = host.client(config);
        state.tabs.push(Tab { client, process: state.processes, alive: true, reads: BTreeMap::new() });
    }

    /// Crashes the process of a client and starts another in its place. A request in flight may arrive or not.
    pub fn crash(self: &Rc<Self>, slot: usize) {
        let host = {
            let state = &mut *self.state.borrow_mut();
            let process = state.tabs[state.slots[slot]].process;
            state.note(self.world.now(), || format!("process {process} crashes"));
            for (number, tab) in state.tabs.iter_mut().enumerate().filter(|(_, tab)| tab.process == process) {
                tab.alive = false;
                state.users.crashed(number);
                state.checker.crashed(number);
            }
            state.tabs[state.slots[slot]].client.host().clone()
        };
        host.crash();
        if slot == 1 {
            self.open(1);
        } else {
            self.open_process();
        }
    }

    // Functions of the caller

    fn headers(&self) -> Given<Result<(), Unusable<Value>>> {
        if self.strikes(Fault::Unusable) {
            return Given::now(Err(Unusable { field: "apiKey", advice: "could not be had", cause: None }));
        }
        if self.strikes(Fault::SlowHeaders) {
            let ms = if self.chance(0.2) { f64::INFINITY } else { self.between(1.0, 60_000.0) };
            return Given::after(ms, Ok(()));
        }
        Given::now(Ok(()))
    }

    fn list_jobs(&self) -> Given<Result<Value, Value>> {
        let fails = self.strikes(Fault::ListFails);
        let state = &mut *self.state.borrow_mut();
        let ms = state.random.between(5.0, 300.0);
        if fails && state.random.fraction() < 0.3 {
            return Given::after(ms, Err("the list failed".into()));
        }
        let listed = |job: &sandbox::job::Job| json!({"id": job.id.to_string(), "webhook_url": job.webhook_url});
        Given::after(ms, Ok(state.engine.jobs().iter().rev().skip(if fails { 3 } else { 0 }).map(listed).collect()))
    }

    // The journal

    fn plan(&self, call: &Call) -> Plan {
        let state = &mut *self.state.borrow_mut();
        let now = self.world.now();
        let fault = [Fault::JournalHangs, Fault::JournalFails, Fault::JournalFailsAfter]
            .into_iter()
            .find(|fault| state.strikes(now, *fault));
        if fault.is_some()
            && let Some(id) = state.checker.operation_of(&call.key).map(str::to_owned)
        {
            state.checker.operations.entry(id).or_default().journal_failed = true;
        }
        match fault {
            Some(Fault::JournalHangs) => {
                let ms = state.random.between(20_000.0, 600_000.0);
                return if state.random.fraction() < 0.5 { Plan::works_after(ms) } else { Plan::answers_after(ms) };
            }
            Some(Fault::JournalFails) => return Plan::THROWS,
            Some(_) => return Plan::WORKS_AND_THROWS,
            None => {}
        }
        if state.strikes(now, Fault::JournalSlow) {
            return Plan::works_after(state.random.between(1.0, 3_000.0));
        }
        let ms = state.random.between(-3.0, 3.0);
        if ms < 0.0 { Plan::works_after(-ms) } else { Plan::answers_after(ms) }
    }

    // The network

    /// A request leaves its client.
    fn leaves(&self, sent: &Sent) -> Option<FetchId> {
        let state = &mut *self.state.borrow_mut();
        state.requests += 1;
        state.note(self.world.now(), || format!("host {} sends {} {:?}", sent.host, sent.line(), sent.operation));
        if !sent.charges() {
            return None;
        }
        let id = state.checker.sent(sent, self.world.journal());
        let Some(call) = state.users.charging(&id.0, sent.host) else {
            state.checker.violated(|| format!("host {} sends {}although its caller has aborted", sent.host, id.0));
            return Some(id);
        };
        // Before a render its client must have read that the job is neither rendered nor rendering; before another render by the
        // same client, that none is in progress.
        let read = state.tabs[sent.host].reads.get(sent.job_id()).copied().unwrap_or([f64::NEG_INFINITY; 2]);
        if sent.path.ends_with("/render/") && read[usize::from(call.renders_anew)] < call.begun {
            state.checker.violated(|| format!("host {} renders {} without having read it", sent.host, sent.job_id()));
        }
        Some(id)
    }

    /// Carries a request to the server and its reply back.
    async fn carry(self: Rc<Self>, sent: Sent, id: Option<FetchId>) -> Reply {
        let (ms, lost) = {
            let state = &mut *self.state.borrow_mut();
            let now = self.world.now();
            let there = state.random.between(5.0, 300.0);
            if state.strikes(now, Fault::NotSent) {
                if let Some(id) = &id {
                    state.checker.not_sent(id);
                }
                let codes = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT", "ConnectionRefused"];
                (there, Some(codes[state.random.next() as usize % codes.len()]))
            } else if !state.online || state.strikes(now, Fault::LostBefore) {
                (there, Some(if state.random.fraction() < 0.5 { "ECONNRESET" } else { "" }))
            } else if state.strikes(now, Fault::LateCommit) {
                let timeout = if id.is_some() { state.checker.patience } else { 30_000.0 };
                (timeout * state.random.between(0.8, 2.0), None)
            } else {
                (there, None)
            }
        };
        if let Some(code) = lost {
            self.world.sleep(ms).await;
            return failed(code);
        }
        let mut replays = id.is_some() && self.strikes(Fault::Replay);
        if replays && let Some(id) = &id {
            self.state.borrow_mut().checker.replayed(id);
        }
        let slept = self.state.borrow().slept;
        self.world.sleep(ms).await;
        let reply = loop {
            let crashed = !self.state.borrow().tabs[sent.host].alive;
            if crashed && self.chance(0.5) {
                return pending().await;
            }
            let reply = self.arrives(&sent, id.as_ref());
            if !std::mem::take(&mut replays) {
                break reply;
            }
            // The answer to the first copy is lost with its connection.
            self.world.sleep(self.between(5.0, 300.0)).await;
        };
        let Some((ms, mut reply)) = reply else { return pending().await };
        self.world.sleep(ms).await;
        if self.state.borrow().slept != slept && self.chance(0.5) {
            reply = failed("");
        }
        let state = &mut *self.state.borrow_mut();
        state.note(self.world.now(), || format!("  host {} receives {reply:.300?}", sent.host));
        if let Some(id) = &id {
            state.checker.answered(id, self.world.now(), &reply);
        }
        reply
    }

    /// Passes a request to the engine. Returns the reply and its delay, or `None` if there is never a reply.
    fn arrives(self: &Rc<Self>, sent: &Sent, id: Option<&FetchId>) -> Option<(f64, Reply)> {
        let (now, time) = (self.engine_now(), self.world.now());
        let state = &mut *self.state.borrow_mut();
        let charges = sent.charges();
        let rules = state.rules(time, charges);
        // An undocumented status may hide a render in progress.
        let odd = rules.iter().any(|rule| rule["kind"] == "unknown_status");
        if !rules.is_empty() || state.armed {
            let rules = sandbox::faults::parse(&Value::Array(rules)).unwrap_or_default();
            state.armed = !rules.is_empty();
            state.engine.handle(now, Command::SetFaults(rules));
        }
        let mut request = engine::Request::new(sent.endpoint.method(), &sent.path).keys("sandbox", "sandbox");
        if charges {
            request.idempotency_key.clone_from(&sent.operation);
            request.content_type = Some("application/json".to_owned());
            request.body = sent.body.clone().unwrap_or_default().into_bytes();
        }
        let before = state.engine.ledger().charges().len();
        let (mut reply, effects) = state.engine.handle(now, Command::Request(request));
        self.take_effects(state, effects);
        if !charges && let Some(job) = find(sent.job_id(), &state.engine) {
            let engine_time = state.engine.time(0);
            let reads = state.tabs[sent.host].reads.entry(sent.job_id().to_owned()).or_insert([f64::NEG_INFINITY; 2]);
            for (read, shown) in reads.iter_mut().zip([shows_render(job, engine_time), may_be_rendering(job, engine_time)]) {
                if odd || !shown {
                    *read = time;
                }
            }
        }
        for charge in before..state.engine.ledger().charges().len() {
            let Some(id) = id else { continue };
            state.checker.charged(id, charge);
            let Some(limit) = state.max_credits else { continue };
            let same = |tab: &Tab| state.budget_key.is_some() || tab.process == state.tabs[sent.host].process;
            let hosts: BTreeSet<usize> = (0..state.tabs.len()).filter(|host| same(&state.tabs[*host])).collect();
            if state.checker.spent(&hosts, &state.engine) > limit {
                state.checker.violated(|| format!("{} exceeds the budget of {limit}", id.0));
            }
        }
        state.note(time, || format!("  server: {} -> {} {:?}", sent.line(), reply.status, reply.wire));
        if reply.wire == Wire::Deliver && !state.engine.jobs().is_empty() && state.strikes(time, Fault::Crossed) {
            let jobs = state.engine.jobs();
            let other = jobs[state.random.next() as usize % jobs.len()].id.to_string();
            let own = serde_json::from_slice::<Value>(&reply.body).is_ok_and(|body| body["id"] == other.as_str());
            if !own && sent.job_id() != other {
                if let Some(id) = id {
                    state.checker.crossed(id);
                }
                let get = engine::Request::get(&format!("/api/custom_template_jobs/{other}/")).keys("sandbox", "sandbox");
                state.engine.handle(now, Command::SetFaults(Vec::new()));
                state.armed = false;
                reply.body = state.engine.handle(now, Command::Request(get)).0.body;
            }
        }
        let back = state.random.between(5.0, 300.0) + reply.ready_at.saturating_sub(now) as f64;
        Some((back, reply_of(&reply, &mut state.random)?))
    }

    /// Delivers webhooks: each names a job, and the operation in its URL.
    fn take_effects(self: &Rc<Self>, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Webhook { url, job, .. } = effect else { continue };
            let Some(operation) = url.strip_prefix("https://hook.test/") else { continue };
            if state.strikes(self.world.now(), Fault::WebhookLost) {
                continue;
            }
            let job = job.to_string();
            if let Some(known) = state.checker.operations.get_mut(operation) {
                known.webhook = Some(job.clone());
            }
            if !state.faults.calm && state.random.fraction() < 0.1 {
                let (ms, slot) = (state.random.between(5.0, 300.0), state.random.next() as usize % SLOTS);
                self.settle_later(ms, slot, operation.to_owned(), Some(job));
            }
        }
    }

    /// Lets the engine do what is due.
    pub fn tick(self: &Rc<Self>) {
        let now = self.engine_now();
        let state = &mut *self.state.borrow_mut();
        let effects = state.engine.handle(now, Command::Tick).1;
        self.take_effects(state, effects);
    }

    /// Stops all faults and lets every job end.
    pub fn calm(self: &Rc<Self>) {
        self.state.borrow_mut().faults.calm = true;
        self.world.jump(86_400_000.0);
        let now = self.engine_now();
        self.state.borrow_mut().engine.handle(now, Command::SetFaults(Vec::new()));
        self.tick();
    }

    /// Draws faults of the machine as a whole.
    pub fn machine_faults(self: &Rc<Self>) {
        if self.strikes(Fault::ClockJump) {
            self.world.set_wall_error(self.between(-86_400_000.0, 86_400_000.0));
        }
        if self.strikes(Fault::Sleep) {
            self.state.borrow_mut().slept += 1;
            self.world.jump(self.between(1_000.0, 3_600_000.0));
        }
        let (offline, hidden) = (self.strikes(Fault::Offline), self.strikes(Fault::Hidden));
        if offline || hidden {
            self.set_env(Env { visible: !hidden, online: !offline });
            let sim = Rc::clone(self);
            self.world.after(self.between(100.0, 30_000.0), move || sim.set_env(Env { visible: true, online: true }));
        }
        if self.strikes(Fault::Crash) {
            let slot = self.state.borrow_mut().random.next() as usize % SLOTS;
            let sim = Rc::clone(self);
            self.world.after(self.between(0.0, 500.0), move || sim.crash(slot));
        }
    }

    fn set_env(&self, env: Env) {
        self.state.borrow_mut().online = env.online;
        let clients: Vec<Client<TestHost>> =
            self.state.borrow().tabs.iter().filter(|tab| tab.alive).map(|tab| tab.client.clone()).collect();
        for client in clients {
            client.host().set_env(env);
        }
    }
}

impl State {
    pub fn strikes(&mut self, now: f64, fault: Fault) -> bool {
        let strikes = self.faults.strikes(fault, &mut self.random);
        if strikes {
            self.note(now, || format!("  fault: {fault:?}"));
        }
        strikes
    }

    /// Adds a line to the trace.
    pub fn note(&mut self, now: f64, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.3} {}", now / 1000.0, line()));
        }
    }

    /// Draws the sandbox's fault rules for the request that arrives now.
    fn rules(&mut self, now: f64, post: bool) -> Vec<Value> {
        let mut rules = Vec::new();
        let mut draw = |fault, rule: &dyn Fn(&mut Random) -> Value| {
            if self.strikes(now, fault) {
                let mut rule = rule(&mut self.random);
                rule["on"] = json!("*");
                rules.push(rule);
            }
        };
        let pick = |random: &mut Random, list: &[u16]| list[random.next() as usize % list.len()];
        draw(Fault::LostAfter, &|_| json!({"kind": "drop_after_commit"}));
        draw(Fault::Stall, &|_| json!({"kind": "stall"}));
        draw(Fault::Truncate, &|random| json!({"kind": "truncate", "bytes": random.next() % 700}));
        draw(Fault::Html, &|random| json!({"kind": "html", "commit": random.fraction() < 0.5}));
        draw(Fault::Redirect, &|random| {
            let status = pick(random, &[301, 302, 307, 308]);
            json!({"kind": "redirect", "status": status, "commit": random.fraction() < 0.5})
        });
        draw(Fault::StatusBefore, &|random| {
            let statuses = [400, 401, 402, 403, 404, 408, 409, 413, 422, 425, 500, 502, 503, 504];
            json!({"kind": "status_before_commit", "status": pick(random, &statuses)})
        });
        draw(
            Fault::StatusAfter,
            &|random| json!({"kind": "status_after_commit", "status": pick(random, &[408, 409, 425, 500, 502, 503, 504])}),
        );
        draw(Fault::TooMany, &|random| {
            let asked = ["5", "0", "-3", "31536000", "soon", "1.5"][random.next() as usize % 6];
            json!({"kind": "status_before_commit", "status": 429, "headers": {"retry-after": asked}})
        });
        draw(Fault::Delay, &|random| json!({"kind": "delay", "ms": (random.fraction() * 60_000.0) as u64}));
        if post {
            draw(Fault::Stuck, &|_| json!({"kind": "stuck"}));
            draw(Fault::FailJob, &|_| json!({"kind": "fail_job"}));
            draw(Fault::RejectJob, &|_| json!({"kind": "reject_job"}));
        }
        draw(Fault::UnknownStatus, &|_| json!({"kind": "unknown_status"}));
        rules
    }
}

/// The reply as a host receives it; `None` if it never arrives.
fn reply_of(reply: &engine::Reply, random: &mut Random) -> Option<Reply> {
    let (bytes, cut) = match reply.wire {
        _ if reply.ready_at == u64::MAX => return None,
        Wire::Stall { .. } => return None,
        Wire::Drop { .. } => return Some(failed("ECONNRESET")),
        Wire::Deliver | Wire::Drip { .. } => (reply.body.as_slice(), false),
        Wire::Truncate { bytes, .. } => (reply.body.get(..bytes).unwrap_or_default(), true),
    };
    // A browser hides redirects and their targets.
    if (300..400).contains(&reply.status) && random.fraction() < 0.5 {
        return Some(test_host::text(0, ""));
    }
    let retry_after_ms = reply.header("retry-after").and_then(|asked| asked.parse::<f64>().ok()).map(|asked| asked * 1000.0);
    let text = || String::from_utf8_lossy(bytes).into_owned();
    let body = match serde_json::from_slice(bytes) {
        _ if cut => Body::Cut(text()),
        Ok(json) => Body::Json(json),
        Err(_) => Body::Text(text()),
    };
    Some(Reply::Answer(Answer { status: reply.status, retry_after_ms, request_id: None, body }))
}
