//! A host for native tests: scripted answers, virtual time, a journal in memory, all on one thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use regex::{NoExpand, Regex, RegexBuilder};
use serde_json::Value as Json;

use crate::charge::MemoryJournal;
use crate::client::Slot;
use crate::error::Failure;
use crate::host::{Answer, Env, Host, JournalCall, Request, Signal};
use crate::poll::Look;
use crate::value::place::{Place, Table, Whole};
use crate::value::{Kind, Value as _};

/// A JSON text as a value.
pub fn json(text: &str) -> Json {
    serde_json::from_str(text).expect("JSON")
}

/// JSON has no `undefined`: no text of a test is this one.
const NOTHING: &str = "\0nothing";

thread_local! {
    static TABLE: RefCell<Table<Json>> = const { RefCell::new(Table::new()) };
    static REGEXES: RefCell<HashMap<String, Rc<Regex>>> = RefCell::default();
}

fn regex(pattern: &str) -> Rc<Regex> {
    let build = || RegexBuilder::new(pattern).case_insensitive(true).build().expect("a pattern that both worlds understand");
    REGEXES.with_borrow_mut(|regexes| regexes.entry(pattern.into()).or_insert_with(|| Rc::new(build())).clone())
}

/// As JavaScript writes it.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.as_f64().unwrap_or_default().to_string(),
        other => other.to_string(),
    }
}

impl Whole for Json {
    fn table<R>(act: impl FnOnce(&mut Table<Self>) -> R) -> Option<R> {
        TABLE.try_with(|table| act(&mut table.borrow_mut())).ok()
    }

    fn nothing() -> Self {
        NOTHING.into()
    }

    fn text(text: &str) -> Self {
        text.into()
    }

    fn number(number: f64) -> Self {
        number.into()
    }

    fn truth(yes: bool) -> Self {
        yes.into()
    }

    fn record() -> Self {
        json("{}")
    }

    fn list() -> Self {
        json("[]")
    }

    fn with(mut self, key: &str, value: &Self) -> Self {
        if value.is_there() {
            self[key] = value.clone();
        }
        self
    }

    fn and(mut self, element: &Self) -> Self {
        self.as_array_mut().expect("a list").push(element.clone());
        self
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::String(text) if text == NOTHING => Kind::Nothing,
            Self::String(_) => Kind::Text,
            Self::Array(_) => Kind::List,
            Self::Object(_) => Kind::Object,
        }
    }

    fn get(&self, key: &str) -> Self {
        match self {
            Self::Array(items) => key.parse::<usize>().ok().and_then(|at| items.get(at)).cloned(),
            Self::Object(fields) => fields.get(key).cloned(),
            _ => None,
        }
        .unwrap_or_else(Self::nothing)
    }

    fn at(&self, key: &Self) -> Self {
        key.as_str().map_or_else(Self::nothing, |key| Whole::get(self, key))
    }

    fn keys(&self) -> Self {
        match self {
            Self::Array(items) => (0..items.len()).map(|at| at.to_string()).collect(),
            Self::Object(fields) => {
                // Whether serde_json keeps an order of its own depends on who else is built with it.
                let mut names: Vec<&String> = fields.keys().collect();
                names.sort();
                names.into_iter().cloned().collect()
            }
            _ => Self::list(),
        }
    }

    fn nth(&self, index: usize) -> Self {
        Whole::get(self, &index.to_string())
    }

    fn as_number(&self) -> f64 {
        match self {
            Self::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            Self::String(text) if regex(r"^\d{1,15}(\.\d+)?$").is_match(text) => text.parse().unwrap_or(f64::NAN),
            _ => f64::NAN,
        }
    }

    fn is_true(&self) -> bool {
        *self == true
    }

    fn one_of(&self, words: &str) -> i32 {
        self.as_str()
            .and_then(|text| words.split(' ').position(|word| word == text))
            .map_or(-1, |at| i32::try_from(at).expect("few words"))
    }

    fn matches(&self, pattern: &str) -> bool {
        self.kind() == Kind::Text && self.as_str().is_some_and(|text| regex(pattern).is_match(text))
    }

    fn replaced(&self, pattern: &str, by: &Self) -> Self {
        regex(pattern).replace_all(&plain(self), NoExpand(&plain(by))).into()
    }

    fn filled(template: &str, first: &Self, second: &Self) -> Self {
        let mut parts = template.split('%');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (value, rest) = if let Some(rest) = part.strip_prefix('0') { (first, rest) } else { (second, &part[1..]) };
            text += &plain(value);
            text += rest;
        }
        text.into()
    }

    fn holds(&self, other: &Self) -> bool {
        let lower = |value: &Self| value.as_str().map(str::to_lowercase);
        matches!((lower(self), lower(other)), (Some(text), Some(part)) if text.contains(&part))
    }

    fn hash(&self, seed: f64) -> f64 {
        let mut hasher = DefaultHasher::new();
        (seed.to_bits(), self.to_string()).hash(&mut hasher);
        (hasher.finish() >> 12) as f64
    }

    fn class(&self) -> Self {
        "Object".into()
    }

    fn copied(&self) -> Self {
        self.clone()
    }
}

/// The body of an answer, as far as it can be used.
#[derive(Clone, Debug)]
pub enum Body {
    /// Whole, and JSON.
    Json(Json),
    /// Whole, and not JSON.
    Text(String),
    /// It ended early; what had arrived.
    Broken(String),
}

/// How a request ends.
#[derive(Clone, Debug)]
pub enum Reply {
    Answered { status: u16, retry_after: Option<f64>, body: Body },
    Lost { code: String },
    TimedOut,
}

impl Reply {
    fn record(self) -> Json {
        let record = Json::record();
        match self {
            Self::Answered { status, retry_after, body } => {
                let record = record.with_number("status", status.into());
                let record = record.with("retryAfter", &retry_after.map_or_else(Json::nothing, Json::number));
                match body {
                    Body::Json(value) => record.with("body", &value),
                    Body::Text(text) => record.with_text("text", &text),
                    Body::Broken(text) => record.with_text("text", &text).with("broken", &true.into()),
                }
            }
            Self::Lost { code } => record.with_text("code", &code),
            Self::TimedOut => record.with("late", &true.into()),
        }
    }
}

/// A whole JSON answer.
pub fn answer(status: u16, body: &str) -> Reply {
    Reply::Answered { status, retry_after: None, body: Body::Json(json(body)) }
}

/// No answer.
pub fn lost(code: &str) -> Reply {
    Reply::Lost { code: code.into() }
}

/// A value as the core knows it.
pub type Value = Place<Json>;

/// JSON as the core knows it.
pub fn value(of: impl Into<Json>) -> Value {
    of.into().into()
}

impl Failure<Json> {
    /// What belongs to it.
    pub fn get(&self, key: &str) -> Json {
        Whole::get(&self.0, key)
    }
}

/// Says how a request is answered, and after how many milliseconds.
type Script = Box<dyn FnMut(&Request<Value>) -> (f64, Reply)>;

type Hook = Rc<dyn Fn(&Json)>;

type Tell = Rc<dyn Fn(Signal<Value>)>;

enum What {
    /// A task's wait.
    Answer { client: usize, task: u32, light: bool, answer: Answer<Json> },
    /// A charge's caller stops waiting.
    Alarm { client: usize, task: u32, call: Rc<Slot<Json>> },
    /// A callback of a caller: never while the client calls its host.
    Callback(Box<dyn FnOnce()>),
    /// A future of a test.
    Timer(Rc<Cell<bool>>),
}

struct World {
    now: Cell<f64>,
    /// What happens when, in the order in which it was begun.
    agenda: RefCell<Vec<(f64, What)>>,
    clients: RefCell<Vec<Tell>>,
    spawned: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>>,
    script: RefCell<Script>,
    requests: RefCell<Vec<(f64, String)>>,
    journal: RefCell<MemoryJournal>,
    events: RefCell<Vec<String>>,
    journal_fails: Cell<bool>,
    journal_takes: Cell<f64>,
    /// Whether there are locks; then who holds or waits for which, in order.
    has_locks: Cell<bool>,
    locks: RefCell<Vec<(String, usize, u32)>>,
    env: Cell<Env>,
    chance: Cell<u8>,
    /// What the caller's list of jobs holds, where there is one.
    list: RefCell<Option<Json>>,
    /// Hears every event of a client, as `onEvent` does.
    hook: RefCell<Option<Hook>>,
}

/// The scripted host. Clones share one world, and each serves a client of its own.
pub struct Scripted {
    world: Rc<World>,
    client: Cell<usize>,
}

impl Clone for Scripted {
    fn clone(&self) -> Self {
        Self { world: Rc::clone(&self.world), client: Cell::new(usize::MAX) }
    }
}

impl Scripted {
    pub fn new(script: impl FnMut(&Request<Value>) -> (f64, Reply) + 'static) -> Self {
        let world = Rc::new(World {
            now: Cell::new(0.0),
            agenda: RefCell::default(),
            clients: RefCell::default(),
            spawned: RefCell::default(),
            script: RefCell::new(Box::new(script)),
            requests: RefCell::default(),
            journal: RefCell::default(),
            events: RefCell::default(),
            journal_fails: Cell::new(false),
            journal_takes: Cell::new(0.0),
            has_locks: Cell::new(false),
            locks: RefCell::default(),
            env: Cell::new(Env { visible: true, online: true }),
            chance: Cell::new(0),
            list: RefCell::default(),
            hook: RefCell::default(),
        });
        Self { world, client: Cell::new(usize::MAX) }
    }

    /// Runs a future to its end, on virtual time. What it spawned goes on later.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
            assert!(self.step(), "the future waits for nothing at {} ms", self.world.now.get());
        }
    }

    /// Runs everything that was begun to its end.
    pub fn finish(&self) {
        while self.step() {}
    }

    /// Whether no client waits for anything.
    pub fn is_idle(&self) -> bool {
        self.world.agenda.borrow().iter().all(|(_, what)| matches!(what, What::Timer(_) | What::Callback(_)))
    }

    /// Polls what was spawned, then lets the next thing happen. False where nothing will.
    pub fn step(&self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        let mut left = Vec::new();
        loop {
            // What these spawn is polled too, before any time goes by.
            let spawned = self.world.spawned.take();
            if spawned.is_empty() {
                break;
            }
            left.extend(spawned.into_iter().filter_map(|mut task| task.as_mut().poll(context).is_pending().then_some(task)));
        }
        *self.world.spawned.borrow_mut() = left;

        let next = {
            let agenda = &mut *self.world.agenda.borrow_mut();
            let mut first: Option<(usize, f64)> = None;
            for (at, (due, _)) in agenda.iter().enumerate() {
                if first.is_none_or(|(_, earliest)| *due < earliest) {
                    first = Some((at, *due));
                }
            }
            let Some((at, _)) = first else { return false };
            agenda.remove(at)
        };
        self.world.now.set(self.world.now.get().max(next.0));
        let tell = |client: usize, signal| {
            let tell = self.world.clients.borrow().get(client).cloned();
            tell.expect("a client")(signal);
        };
        match next.1 {
            What::Answer { client, task, answer, .. } => {
                tell(client, Signal::Resume(task, answer.map(Value::from).map_err(Value::from)));
            }
            What::Alarm { client, task, .. } => tell(client, Signal::Late(task)),
            What::Callback(call) => call(),
            What::Timer(fired) => fired.set(true),
        }
        true
    }

    /// Nobody waits for the end of that call's time any more.
    fn silence(&self, call: &Rc<Slot<Json>>) {
        let silent = |what: &What| matches!(what, What::Alarm { call: other, .. } if Rc::ptr_eq(call, other));
        self.world.agenda.borrow_mut().retain(|(_, what)| !silent(what));
    }

    fn plan(&self, ms: f64, what: What) {
        self.world.agenda.borrow_mut().push((self.world.now.get() + ms, what));
    }

    fn answer(&self, ms: f64, task: u32, light: bool, answer: Answer<Json>) {
        self.forget(task);
        if task > 0 {
            self.plan(ms, What::Answer { client: self.client.get(), task, light, answer });
        }
    }

    /// Waits a while.
    pub fn wait(&self, ms: f64) -> impl Future<Output = ()> + use<> {
        let fired = Rc::new(Cell::new(false));
        self.plan(ms, What::Timer(Rc::clone(&fired)));
        std::future::poll_fn(move |_| if fired.get() { Poll::Ready(()) } else { Poll::Pending })
    }

    /// What the future comes to, or `None` where that takes longer than `ms`: then it is dropped.
    pub fn run_for<T>(&self, ms: f64, future: impl Future<Output = T>) -> Option<T> {
        let (mut timer, mut future) = (pin!(self.wait(ms)), Box::pin(future));
        self.run(std::future::poll_fn(move |context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            timer.as_mut().poll(context).map(|()| None)
        }))
    }

    /// Runs a future beside the others.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.world.spawned.borrow_mut().push(Box::pin(future));
    }

    /// After a while, something happens in the world.
    pub fn later(&self, ms: f64, event: impl FnOnce(&Self) + 'static) {
        let (timer, world) = (self.wait(ms), self.clone());
        self.spawn(async move {
            timer.await;
            event(&world);
        });
    }

    /// The requests so far: `POST /api/…`.
    pub fn requests(&self) -> Vec<String> {
        self.world.requests.borrow().iter().map(|(_, request)| request.clone()).collect()
    }

    /// When they went out, in milliseconds.
    pub fn times(&self) -> Vec<f64> {
        self.world.requests.borrow().iter().map(|(at, _)| *at).collect()
    }

    /// How many of them may charge.
    pub fn posts(&self) -> usize {
        self.requests().iter().filter(|request| request.starts_with("POST")).count()
    }

    /// What the journal holds of operations.
    pub fn journal(&self) -> Vec<String> {
        self.stored(false).into_iter().map(|(_, entry)| entry).collect()
    }

    /// Where the journal has how long jobs took, and what it has there.
    pub fn durations(&self) -> Vec<(String, String)> {
        self.stored(true)
    }

    /// Somebody writes this into the journal.
    pub fn journal_holds(&self, key: &str, entry: &str) {
        self.world.journal.borrow_mut().write(key, entry);
    }

    fn stored(&self, durations: bool) -> Vec<(String, String)> {
        let journal = self.world.journal.borrow();
        let keys = journal.list("").into_iter().filter(|key| key.contains(":took/") == durations);
        keys.filter_map(|key| journal.read(&key).map(String::from).map(|entry| (key, entry))).collect()
    }

    /// What was reported.
    pub fn events(&self) -> Vec<String> {
        self.world.events.borrow().clone()
    }

    /// The caller knows a way to list jobs, and this is what it brings.
    pub fn list(&self, jobs: Json) {
        *self.world.list.borrow_mut() = Some(jobs);
    }

    pub fn break_journal(&self) {
        self.world.journal_fails.set(true);
    }

    /// From here on there are locks between the clients, as between tabs.
    pub fn have_locks(&self) {
        self.world.has_locks.set(true);
    }

    /// The journal works at once, and answers after this many milliseconds.
    pub fn slow_journal(&self, ms: f64) {
        self.world.journal_takes.set(ms);
    }

    /// Does this at every event of a client.
    pub fn on_event(&self, hook: impl Fn(&Json) + 'static) {
        *self.world.hook.borrow_mut() = Some(Rc::new(hook));
    }

    /// The machine sleeps: what falls due meanwhile comes when it wakes, all of it at once.
    pub fn doze(&self, ms: f64) {
        self.world.now.set(self.world.now.get() + ms);
    }

    pub fn set_env(&self, env: Env) {
        self.world.env.set(env);
        self.wake();
    }

    /// The same world after a crash: the journal is there, and nothing that was running.
    pub fn crash(&self) -> Self {
        let world = Self::new(|_| panic!("no script"));
        *world.world.script.borrow_mut() = self.world.script.replace(Box::new(|_| panic!("this host has crashed")));
        *world.world.journal.borrow_mut() = self.world.journal.borrow().clone();
        // What ran goes nowhere: that its calls are dropped is no longer heard.
        self.world.clients.take();
        std::mem::forget(self.world.spawned.take());
        self.world.agenda.take();
        world
    }
}

impl Host for Scripted {
    type Value = Value;
    type Call = Rc<Slot<Json>>;

    fn connect(&self, client: impl Fn(Signal<Value>) + 'static) {
        let clients = &mut *self.world.clients.borrow_mut();
        self.client.set(clients.len());
        clients.push(Rc::new(client));
    }

    fn send(&self, task: u32, request: Request<Value>) {
        let path = request.url.own();
        let path = path.as_str().and_then(|url| url.strip_prefix("https://api.test")).expect("the base URL").to_owned();
        let line = format!("{} {path}", request.endpoint.method());
        self.world.requests.borrow_mut().push((self.world.now.get(), line));
        let (delay, reply) = (self.world.script.borrow_mut())(&request);
        let (delay, reply) = if delay > request.timeout { (request.timeout, Reply::TimedOut) } else { (delay, reply) };
        self.answer(delay, task, false, Ok(reply.record()));
    }

    fn sleep(&self, task: u32, ms: f64, light: bool) {
        self.answer(ms, task, light, Ok(Json::nothing()));
    }

    fn wake(&self) {
        let now = self.world.now.get();
        for (due, what) in &mut *self.world.agenda.borrow_mut() {
            if matches!(what, What::Answer { light: true, .. }) {
                *due = due.min(now);
            }
        }
    }

    fn forget(&self, number: u32) {
        let mine = self.client.get();
        self.world
            .agenda
            .borrow_mut()
            .retain(|(_, what)| !matches!(what, What::Answer { client, task, .. } if *client == mine && *task == number));
    }

    fn journal(&self, task: u32, call: JournalCall, key: Value, entry: Value) {
        let (key, entry) = (key.own(), entry.own());
        let answer = {
            let journal = &mut *self.world.journal.borrow_mut();
            let key = key.as_str().expect("a key");
            if self.world.journal_fails.get() {
                Err("the journal is broken".into())
            } else {
                Ok(match call {
                    JournalCall::Create => journal.create(key, &entry.to_string()).into(),
                    JournalCall::Read => journal.read(key).map_or_else(Json::nothing, json),
                    JournalCall::Write => {
                        journal.write(key, &entry.to_string());
                        Json::nothing()
                    }
                    JournalCall::Delete => {
                        if !entry.is_there() || journal.read(key) == Some(&entry.to_string()) {
                            journal.delete(key);
                        }
                        Json::nothing()
                    }
                    JournalCall::List => journal.list(key).into(),
                })
            }
        };
        self.answer(self.world.journal_takes.get(), task, false, answer);
    }

    fn lock(&self, task: u32, name: Value) -> bool {
        if self.world.has_locks.get() {
            let name = name.own().to_string();
            let free = !self.world.locks.borrow().iter().any(|(held, ..)| *held == name);
            self.world.locks.borrow_mut().push((name, self.client.get(), task));
            if free {
                self.answer(0.0, task, false, Ok(Json::nothing()));
            }
        }
        self.world.has_locks.get()
    }

    fn unlock(&self, task: u32) {
        let locks = &mut *self.world.locks.borrow_mut();
        let Some(at) = locks.iter().position(|(_, client, of)| *client == self.client.get() && *of == task) else { return };
        let (name, ..) = locks.remove(at);
        let held = !locks.iter().take(at).any(|(other, ..)| *other == name);
        if let Some((_, client, task)) = locks.iter().find(|(other, ..)| held && *other == name) {
            self.plan(0.0, What::Answer { client: *client, task: *task, light: false, answer: Ok(Json::nothing()) });
        }
    }

    fn list_jobs(&self, task: u32, _since: f64) -> bool {
        let list = self.world.list.borrow().clone();
        let listed = list.is_some();
        if let Some(list) = list {
            self.answer(1.0, task, false, Ok(list));
        }
        listed
    }

    fn settle(&self, call: &Rc<Slot<Json>>, result: Result<Value, Failure<Value>>) {
        self.silence(call);
        // As an update, so that they come in order.
        let (call, result) = (Rc::clone(call), result.map(Value::own).map_err(Failure::own));
        self.plan(0.0, What::Callback(Box::new(move || call.settle(result))));
    }

    fn over(&self, call: &Rc<Slot<Json>>) {
        self.silence(call);
    }

    fn update(&self, call: &Rc<Slot<Json>>, job: Value, look: Look) {
        let (call, job) = (Rc::clone(call), job.own());
        self.plan(0.0, What::Callback(Box::new(move || call.update(&job, look))));
    }

    fn alarm(&self, call: &Rc<Slot<Json>>, task: u32, ms: f64) {
        self.plan(ms, What::Alarm { client: self.client.get(), task, call: Rc::clone(call) });
    }

    fn now(&self) -> f64 {
        self.world.now.get()
    }

    fn wall(&self) -> f64 {
        1_795_000_000_000.0 + self.world.now.get()
    }

    fn random(&self) -> f64 {
        // Different every time, the same in every run.
        self.world.chance.set(self.world.chance.get().wrapping_mul(5).wrapping_add(17));
        f64::from(self.world.chance.get()) / 256.0
    }

    fn uuid(&self) -> Value {
        let digit = || char::from_digit((self.random() * 16.0) as u32, 16).expect("below 16");
        let digits: String = (0..32).map(|_| digit()).collect();
        let id = format!("{}-{}-4{}-8{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..]);
        Json::from(id).into()
    }

    fn env(&self) -> Env {
        self.world.env.get()
    }

    fn event(&self, event: Value) {
        let event = event.own();
        self.world.events.borrow_mut().push(event.to_string());
        let hook = self.world.hook.borrow().clone();
        if let Some(hook) = hook {
            self.plan(0.0, What::Callback(Box::new(move || hook(&event))));
        }
    }
}
