//! What people do: they charge, wait, look, click again, leave, and settle what nobody knows.

use std::collections::VecDeque;
use std::rc::Rc;

use custom_template_jobs::api::Endpoint;
use custom_template_jobs::client::Wanted;
use custom_template_jobs::value::place::Whole as _;
use sandbox::random::Random;

use crate::faults::Fault;
use crate::truth::Truth;
use crate::value::Json;
use crate::world::{State, What, World};

/// One call of the client.
#[derive(Debug)]
pub struct Call {
    tab: usize,
    wanted: Wanted,
    /// The wish to charge that it carries out.
    wish: Option<usize>,
    operation: Option<Rc<str>>,
    task: u32,
    begun: f64,
    /// Its tab crashed: nobody will ever hear of it.
    crashed: bool,
    left: bool,
    settled: bool,
    over: u32,
}

/// A wish to charge; it may be uttered more than once.
#[derive(Clone, Debug)]
struct Charge {
    endpoint: Endpoint,
    operation: Option<Rc<str>>,
    request: Json,
    /// The job that is rendered, or nothing.
    id: Json,
    seconds: f64,
}

/// What somebody means to do next.
#[derive(Debug)]
enum Wish {
    Again(usize),
    Poll(Rc<str>),
    Render(Rc<str>),
}

/// The people of a world.
#[derive(Debug)]
pub struct Users {
    /// Which tab is open in which window.
    pub slots: [usize; 2],
    calls: Vec<Call>,
    charges: Vec<Charge>,
    wishes: VecDeque<Wish>,
    /// Jobs that somebody was told of.
    jobs: Vec<Rc<str>>,
    news: VecDeque<(usize, Result<Json, Json>)>,
    /// How many operations there are to be, and how many there were.
    pub limit: u64,
    pub operations: u64,
    pause: f64,
    /// What was said last: for whoever asked for it.
    pub said: Option<Result<Json, Json>>,
}

impl Users {
    pub fn new(random: &mut Random) -> Self {
        Self {
            slots: [0; 2],
            calls: Vec::new(),
            charges: Vec::new(),
            wishes: VecDeque::new(),
            jobs: Vec::new(),
            news: VecDeque::new(),
            limit: 0,
            operations: 0,
            pause: random.between(50.0, 6_000.0),
            said: None,
        }
    }

    pub fn is_running(&self, call: usize) -> bool {
        self.calls.get(call).is_some_and(|call| !call.crashed && !call.left && !call.settled)
    }

    /// When the call of that task began.
    pub fn begun(&self, tab: usize, task: u32) -> f64 {
        self.calls.iter().rev().find(|call| call.tab == tab && call.task == task).map_or(0.0, |call| call.begun)
    }

    /// A caller leaves, if it still waits; its task.
    pub fn leave(&mut self, call: usize) -> Option<u32> {
        let running = self.is_running(call);
        let call = self.calls.get_mut(call).filter(|call| running && call.task > 0)?;
        call.left = true;
        Some(call.task)
    }

    pub fn crashed(&mut self, tab: usize) {
        for call in self.calls.iter_mut().filter(|call| call.tab == tab) {
            call.crashed = true;
        }
    }

    pub fn over(&mut self, call: usize, truth: &mut Truth) {
        let Some(call) = self.calls.get_mut(call) else { return };
        call.over += 1;
        if call.over > 1 {
            truth.violated(|| "a call is over twice".to_owned());
        }
    }

    /// Every call has settled, unless its caller left or its tab crashed.
    pub fn check(&self, truth: &mut Truth) {
        for (number, call) in self.calls.iter().enumerate().filter(|(_, call)| !call.crashed) {
            if !call.settled && !call.left {
                truth.violated(|| format!("call {number} ({:?}) ended silently", call.wanted));
            }
            if call.left && call.over != 1 {
                truth.violated(|| format!("call {number} ({:?}) was left, and its end was never told", call.wanted));
            }
        }
    }

    fn call(&mut self, tab: usize, wanted: Wanted, wish: Option<usize>) -> usize {
        let operation = None;
        let call =
            Call { tab, wanted, wish, operation, task: 0, begun: 0.0, crashed: false, left: false, settled: false, over: 0 };
        self.calls.push(call);
        self.calls.len() - 1
    }
}

impl State {
    /// A client says how a call ended.
    pub fn settled(&mut self, number: usize, told: Result<Json, Json>) {
        let Some(call) = self.users.calls.get_mut(number) else { return };
        let broken = call.settled || call.left || call.crashed;
        call.settled = true;
        if broken {
            self.truth.violated(|| format!("call {number} was settled though nobody waits for it"));
        }
        self.note(|| {
            let (Ok(value) | Err(value)) = &told;
            format!("call {number} {} {:.200}", if told.is_ok() { "resolves" } else { "rejects" }, value.written())
        });
        self.users.news.push_back((number, told));
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.random.fraction() < chance
    }

    fn pick<T: Clone>(&mut self, pick: impl Fn(&Users) -> &Vec<T>) -> Option<T> {
        let at = self.random.next() as usize;
        let list = pick(&self.users);
        list.get(at % list.len().max(1)).cloned()
    }

    /// A new wish.
    fn wish(&mut self, endpoint: Endpoint, id: Json) -> usize {
        let number = self.users.charges.len();
        let random = self.random.next() as usize;
        let (template_id, seconds) = {
            let templates = self.engine.templates();
            let template = &templates[random % templates.len()];
            (template.id.to_string(), template.seconds)
        };
        let mut request = Json::Nothing;
        let token = self.chance(0.6);
        if endpoint != Endpoint::Render {
            request = Json::record()
                .with_text("template_id", &template_id)
                .with("variables", &Json::record())
                .with_text("name", &format!("wish {number}"));
        } else if token {
            request = Json::record();
        }
        if token {
            request = request.with_text("webhook_url", "https://hook.test/{operation}");
        }
        let named = self.chance(if endpoint == Endpoint::Render { 0.3 } else { 0.6 });
        let operation = named.then(|| format!("op-{number}").into());
        // A render is of a job whose length its maker knew; the longest is safe.
        let seconds = if endpoint == Endpoint::Render { 45.0 } else { seconds };
        self.users.charges.push(Charge { endpoint, operation, request, id, seconds });
        number
    }

    /// What somebody does now: who, and what is called.
    fn decide(&mut self) -> Option<(usize, Json)> {
        let slot = self.random.next() as usize % 2;
        let tab = self.users.slots[slot];
        let more = self.users.operations < self.users.limit;
        let charge = match self.users.wishes.pop_front() {
            Some(Wish::Poll(job)) => return Some(self.poll(tab, &job)),
            Some(Wish::Again(charge)) if more => charge,
            Some(Wish::Render(job)) if more => self.wish(Endpoint::Render, Json::Text(job)),
            Some(_) => return None,
            None if !more => return None,
            None => {
                let ms = -self.users.pause * (1.0 - self.random.fraction()).ln();
                self.plan(ms, What::Act);
                self.trouble();
                let roll = self.random.fraction();
                let endpoints = [Endpoint::Submit, Endpoint::PreviewAsync, Endpoint::PreviewAsync, Endpoint::PreviewSync];
                let known = self.pick(|users| &users.jobs);
                match (roll, known) {
                    (0.45..0.65, Some(job)) => self.wish(Endpoint::Render, Json::Text(job)),
                    (0.65..0.72, Some(job)) => return Some(self.poll(tab, &job)),
                    (0.72..0.74, _) => return Some((self.users.call(tab, Wanted::Pending, None), Json::record())),
                    (0.74..0.76, Some(job)) => {
                        let call = self.users.call(tab, Wanted::Endpoint(Endpoint::Get), None);
                        return Some((call, Json::record().with("id", &Json::Text(job))));
                    }
                    (0.76..0.77, _) => {
                        let endpoint = if self.chance(0.5) { Endpoint::Templates } else { Endpoint::RemainingCredits };
                        return Some((self.users.call(tab, Wanted::Endpoint(endpoint), None), Json::record()));
                    }
                    (0.77..0.82, _) => {
                        let operation = self.pick(|users| &users.charges).and_then(|charge| charge.operation);
                        if let Some(operation) = operation {
                            let job = self.webhook_of(&operation);
                            // Of a render everybody knows the job, whether it was carried out or not.
                            let entry = self.journal.get(format!("{}/{operation}", self.truth.namespace).as_str());
                            let rendered = entry.map_or(Json::Nothing, |entry| entry.get("job"));
                            let job = if rendered.is_there() { Some(rendered.as_text().into()) } else { job };
                            self.plan(0.0, What::Settle { slot, operation, job });
                        }
                        return None;
                    }
                    _ if self.users.charges.len() > 1 && self.strikes(Fault::Again) => {
                        self.random.next() as usize % self.users.charges.len()
                    }
                    _ => {
                        let endpoint = endpoints[self.random.next() as usize % endpoints.len()];
                        let charge = self.wish(endpoint, Json::Nothing);
                        if self.strikes(Fault::Conflict) {
                            let taken = self.pick(|users| &users.charges).and_then(|charge| charge.operation);
                            self.users.charges[charge].operation = taken;
                        }
                        charge
                    }
                }
            }
        };
        self.users.operations += 1;
        Some(self.charge(tab, charge))
    }

    /// The job that a webhook brings for an operation. Where the operation stands in its address, anybody may have sent it.
    fn webhook_of(&mut self, operation: &str) -> Option<Rc<str>> {
        let known = self.truth.operations.get(operation)?;
        let (job, token) = (known.webhook.clone(), known.token);
        if token && self.strikes(Fault::WebhookForged) { self.pick(|users| &users.jobs) } else { job }
    }

    fn charge(&mut self, tab: usize, number: usize) -> (usize, Json) {
        let Charge { endpoint, operation, request, id, seconds } = self.users.charges[number].clone();
        let mut given = Json::record().with("id", &id).with("request", &request).with_number("seconds", seconds);
        if let Some(operation) = operation {
            given = given.with_text("operation", &operation);
        }
        if self.strikes(Fault::ShortTime) {
            given = given.with_number("timeout", self.random.between(0.0, 5_000.0));
        }
        (self.users.call(tab, Wanted::Endpoint(endpoint), Some(number)), given)
    }

    fn poll(&mut self, tab: usize, job: &str) -> (usize, Json) {
        let mut given = Json::record().with_text("id", job).with_number("timeout", self.random.between(5_000.0, 240_000.0));
        if self.chance(0.3) {
            given = given.with_text("until", if self.chance(0.5) { "preview" } else { "video" });
        }
        (self.users.call(tab, Wanted::Poll, None), given)
    }

    /// What somebody makes of what they were told.
    fn react(&mut self, number: usize, told: Result<Json, Json>) {
        let Some(call) = self.users.calls.get(number) else { return };
        let (wish, wanted, operation) = (call.wish, call.wanted, call.operation.clone());
        let charge = wish.and_then(|wish| self.users.charges.get(wish)).cloned();
        match (&told, charge, operation) {
            (Ok(job), Some(charge), Some(operation)) => {
                let id = job.get("id");
                let render = charge.endpoint == Endpoint::Render;
                if !self.truth.is_rightful(&operation, id.as_text(), render, &self.engine) {
                    self.truth.violated(|| format!("{operation} resolves with {}, which it did not pay for", id.as_text()));
                }
                let asked = if render { id == charge.id } else { job.get("name") == charge.request.get("name") };
                if !asked {
                    self.truth.violated(|| format!("{operation} resolves with {}, which is another's wish", id.as_text()));
                }
                if let Some(operation) = self.truth.operations.get_mut(&operation) {
                    operation.told = true;
                }
                self.users.jobs.push(id.as_text().into());
                if self.chance(0.4) {
                    self.users.wishes.push_back(Wish::Poll(id.as_text().into()));
                    self.plan(0.0, What::Act);
                }
            }
            (Err(failure), Some(_), Some(operation)) => {
                if failure.get("sent") == Json::Bool(false)
                    && let Some(call) = self.users.calls.get(number)
                {
                    self.truth.told_unsent(&operation, (call.tab, call.task));
                }
                let name = failure.get("name");
                let unknown = name.as_text() == "ChargeUnknownError";
                if unknown {
                    if let Some(call) = self.users.calls.get(number) {
                        self.truth.told_unknown(&operation, (call.tab, call.task));
                    }
                    if self.chance(0.5) {
                        let ms = self.random.between(0.0, 20_000.0);
                        let job = self.webhook_of(&operation);
                        let slot = self.random.next() as usize % 2;
                        self.plan(ms, What::Settle { slot, operation, job });
                    }
                }
                if let Some(wish) = wish
                    && self.strikes(Fault::Again)
                {
                    let ms = self.random.between(0.0, 3_000.0);
                    self.users.wishes.push_back(Wish::Again(wish));
                    self.plan(ms, What::Act);
                }
            }
            (Ok(job), None, _) if wanted == Wanted::Poll => {
                let previewed = job.get("preview").is_there() && job.get("status").as_text() == "done";
                if previewed && self.chance(0.5) {
                    self.users.wishes.push_back(Wish::Render(job.get("id").as_text().into()));
                    self.plan(0.0, What::Act);
                }
            }
            _ => {}
        }
        self.users.said = Some(told);
    }
}

impl World {
    /// Somebody does something.
    pub fn act(&self) {
        let decided = {
            let state = &mut *self.state.borrow_mut();
            let now = state.engine_now();
            let effects = state.engine.handle(now, sandbox::engine::Command::Tick).1;
            state.take_effects(effects);
            state.decide()
        };
        if let Some((call, given)) = decided {
            self.begin(call, &given);
        }
    }

    /// Somebody looks again at an operation.
    pub fn settle(&self, tab: usize, operation: &str, job: Option<&str>) {
        let mut given = Json::record().with_text("id", operation);
        if let Some(job) = job {
            given = given.with_text("jobId", job);
        }
        let call = self.state.borrow_mut().users.call(tab, Wanted::Settle, None);
        self.begin(call, &given);
    }

    /// Somebody asks what is open.
    pub fn pending(&self, tab: usize) {
        let call = self.state.borrow_mut().users.call(tab, Wanted::Pending, None);
        self.begin(call, &Json::record());
    }

    fn begin(&self, number: usize, given: &Json) {
        let (tab, wanted, wish) = {
            let state = &mut *self.state.borrow_mut();
            let Some(call) = state.users.calls.get(number) else { return };
            let begun = (call.tab, call.wanted, call.wish);
            state.drawn = None;
            state.note(|| format!("call {number} in tab {}: {:?} {:.300}", begun.0, begun.1, given.written()));
            begun
        };
        let Some(client) = self.client(tab) else { return };
        let task = client.start(wanted, given.clone().into(), &number);
        let state = &mut *self.state.borrow_mut();
        if let Some(wish) = wish {
            let charge = &mut state.users.charges[wish];
            let render = (charge.endpoint == Endpoint::Render).then(|| format!("render:{}", charge.id.as_text()).into());
            let id = charge.operation.clone().or(render).or_else(|| state.drawn.take());
            // Whoever clicks again says so.
            charge.operation.clone_from(&id);
            state.users.calls[number].operation = id;
        }
        if let Some(call) = state.users.calls.get_mut(number) {
            call.task = task;
            call.begun = state.now;
        }
        if task > 0 && state.strikes(Fault::Leave) {
            let ms = state.random.between(0.0, 1.0).powi(3) * 60_000.0;
            state.plan(ms, What::Leave { tab, call: number });
        }
    }

    /// What was said is heard after the client has returned.
    pub fn hear(&self) {
        loop {
            let state = &mut *self.state.borrow_mut();
            let Some((call, told)) = state.users.news.pop_front() else { break };
            let word: String = match &told {
                Ok(_) => "ok".to_owned(),
                Err(failure) => failure.get("name").as_text().to_owned(),
            };
            state.hash = crate::value::mix(state.hash, word.as_bytes());
            state.react(call, told);
        }
    }
}
