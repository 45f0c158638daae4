//! A host for native tests: scripted answers, virtual time, a journal in memory, all on one thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::charge::MemoryJournal;
use crate::host::{Body, Env, Event, Host, JournalCall, Now, Reply, Request};
use crate::value::{Kind, Value};

/// A JSON text as a value.
pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

impl Value for serde_json::Value {
    fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(yes) => Kind::Bool(*yes),
            Self::Number(number) => Kind::Number(number.as_f64().unwrap_or(f64::NAN)),
            Self::String(_) => Kind::Text,
            Self::Array(_) => Kind::List,
            Self::Object(_) => Kind::Object,
        }
    }

    fn as_text(&self) -> Option<String> {
        self.as_str().map(String::from)
    }

    fn get(&self, key: &str) -> Option<Self> {
        match self {
            Self::Array(items) => items.get(key.parse::<usize>().ok()?).cloned(),
            Self::Object(fields) => fields.get(key).cloned(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<String> {
        match self {
            Self::Array(items) => (0..items.len()).map(|at| at.to_string()).collect(),
            Self::Object(fields) => fields.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn with_text(&self, key: &str, text: &str) -> Self {
        let mut copy = self.clone();
        copy[key] = Self::String(text.into());
        copy
    }
}

/// A whole JSON answer.
pub fn answer(status: u16, body: &str) -> Reply<serde_json::Value> {
    Reply::Answered { status, retry_after: None, body: Body::Json(json(body)) }
}

/// No answer.
pub fn lost(code: &str) -> Reply<serde_json::Value> {
    Reply::Lost { code: code.into(), cause: None }
}

/// Says how a request is answered, and after how many milliseconds.
type Script = Box<dyn FnMut(&Request<serde_json::Value>) -> (f64, Reply<serde_json::Value>)>;

struct Timer {
    due: f64,
    wakes: bool,
    fired: Rc<Cell<bool>>,
}

struct World {
    now: Cell<f64>,
    timers: RefCell<Vec<Timer>>,
    spawned: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>>,
    script: RefCell<Script>,
    requests: RefCell<Vec<(f64, String)>>,
    journal: RefCell<MemoryJournal>,
    events: RefCell<Vec<String>>,
    journal_fails: Cell<bool>,
    journal_takes: Cell<f64>,
    env: Cell<Env>,
    chance: Cell<u8>,
}

/// The scripted host. Clones share one world.
#[derive(Clone)]
pub struct Scripted(Rc<World>);

impl Scripted {
    pub fn new(script: impl FnMut(&Request<serde_json::Value>) -> (f64, Reply<serde_json::Value>) + 'static) -> Self {
        Self(Rc::new(World {
            now: Cell::new(0.0),
            timers: RefCell::default(),
            spawned: RefCell::default(),
            script: RefCell::new(Box::new(script)),
            requests: RefCell::default(),
            journal: RefCell::default(),
            events: RefCell::default(),
            journal_fails: Cell::new(false),
            journal_takes: Cell::new(0.0),
            env: Cell::new(Env { visible: true, online: true }),
            chance: Cell::new(0),
        }))
    }

    /// Runs a future to its end, on virtual time. What it spawned goes on later.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return output;
            }
            assert!(self.step(), "the future waits for nothing at {} ms", self.0.now.get());
        }
    }

    /// Runs what was spawned to its end.
    pub fn finish(&self) {
        while !self.0.spawned.borrow().is_empty() {
            assert!(self.step() || self.0.spawned.borrow().is_empty(), "a spawned future waits for nothing");
        }
    }

    /// Polls what was spawned, then moves time to the next timer. False where there is none.
    fn step(&self) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        let spawned = self.0.spawned.take();
        let mut left: Vec<_> =
            spawned.into_iter().filter_map(|mut task| task.as_mut().poll(context).is_pending().then_some(task)).collect();
        left.append(&mut self.0.spawned.borrow_mut());
        *self.0.spawned.borrow_mut() = left;

        let mut timers = self.0.timers.borrow_mut();
        timers.retain(|timer| Rc::strong_count(&timer.fired) > 1);
        if timers.iter().any(|timer| timer.fired.get()) {
            timers.retain(|timer| !timer.fired.get());
            return true;
        }
        let Some(due) = timers.iter().map(|timer| timer.due).min_by(f64::total_cmp) else { return false };
        self.0.now.set(self.0.now.get().max(due));
        timers.iter().filter(|timer| timer.due <= due).for_each(|timer| timer.fired.set(true));
        timers.retain(|timer| !timer.fired.get());
        true
    }

    fn timer(&self, ms: f64, wakes: bool) -> impl Future<Output = ()> + use<> {
        let fired = Rc::new(Cell::new(false));
        let due = self.0.now.get() + ms;
        self.0.timers.borrow_mut().push(Timer { due, wakes, fired: Rc::clone(&fired) });
        std::future::poll_fn(move |_| if fired.get() { Poll::Ready(()) } else { Poll::Pending })
    }

    /// After a while, something happens in the world.
    pub fn later(&self, ms: f64, event: impl FnOnce(&Self) + 'static) {
        let (timer, world) = (self.timer(ms, false), self.clone());
        self.0.spawned.borrow_mut().push(Box::pin(async move {
            timer.await;
            event(&world);
        }));
    }

    /// The requests so far: `POST /api/…`.
    pub fn requests(&self) -> Vec<String> {
        self.0.requests.borrow().iter().map(|(_, request)| request.clone()).collect()
    }

    /// When they went out, in milliseconds.
    pub fn times(&self) -> Vec<f64> {
        self.0.requests.borrow().iter().map(|(at, _)| *at).collect()
    }

    /// How many of them may charge.
    pub fn posts(&self) -> usize {
        self.requests().iter().filter(|request| request.starts_with("POST")).count()
    }

    /// What the journal holds.
    pub fn journal(&self) -> Vec<String> {
        let journal = self.0.journal.borrow();
        journal.list("").iter().filter_map(|id| journal.read(id).map(String::from)).collect()
    }

    /// What was reported.
    pub fn events(&self) -> Vec<String> {
        self.0.events.borrow().clone()
    }

    pub fn break_journal(&self) {
        self.0.journal_fails.set(true);
    }

    /// The journal works at once, and answers after this many milliseconds.
    pub fn slow_journal(&self, ms: f64) {
        self.0.journal_takes.set(ms);
    }

    pub fn set_env(&self, env: Env) {
        self.0.env.set(env);
        self.wake();
    }

    /// The same world after a crash: the journal is there, and nothing that was running.
    pub fn crash(&self) -> Self {
        let world = Self::new(|_| panic!("no script"));
        *world.0.script.borrow_mut() = self.0.script.replace(Box::new(|_| panic!("this host has crashed")));
        *world.0.journal.borrow_mut() = self.0.journal.borrow().clone();
        self.0.spawned.take();
        world
    }
}

impl Host for Scripted {
    type Value = serde_json::Value;
    type Wait = Pin<Box<dyn Future<Output = Result<serde_json::Value, serde_json::Value>>>>;

    async fn send(&self, request: Request<serde_json::Value>) -> Reply<serde_json::Value> {
        let path = request.url.strip_prefix("https://api.test").expect("the base URL").to_owned();
        self.0.requests.borrow_mut().push((self.0.now.get(), format!("{} {path}", request.endpoint.method())));
        let (delay, reply) = (self.0.script.borrow_mut())(&request);
        if delay > request.timeout {
            self.timer(request.timeout, false).await;
            return Reply::TimedOut;
        }
        self.timer(delay, false).await;
        reply
    }

    fn sleep(&self, ms: f64) -> Self::Wait {
        let timer = self.timer(ms, false);
        Box::pin(async move {
            timer.await;
            Ok(serde_json::Value::Null)
        })
    }

    fn sleep_or_wake(&self, ms: f64) -> Self::Wait {
        let timer = self.timer(ms, true);
        Box::pin(async move {
            timer.await;
            Ok(serde_json::Value::Null)
        })
    }

    fn wake(&self) {
        self.0.timers.borrow().iter().filter(|timer| timer.wakes).for_each(|timer| timer.fired.set(true));
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()>>>) {
        self.0.spawned.borrow_mut().push(task);
    }

    fn now(&self) -> Now {
        Now { monotonic: self.0.now.get(), wall: 1_795_000_000_000.0 + self.0.now.get() }
    }

    fn random(&self) -> f64 {
        // Different every time, the same in every run.
        self.0.chance.set(self.0.chance.get().wrapping_mul(5).wrapping_add(17));
        f64::from(self.0.chance.get()) / 256.0
    }

    fn env(&self) -> Env {
        self.0.env.get()
    }

    fn journal(&self, call: JournalCall, id: &str, entry: &str) -> Self::Wait {
        let journal = &mut *self.0.journal.borrow_mut();
        let result = if self.0.journal_fails.get() {
            Err("the journal is broken".into())
        } else {
            Ok(match call {
                JournalCall::Create => journal.create(id, entry).into(),
                JournalCall::Read => journal.read(id).into(),
                JournalCall::Write => {
                    journal.write(id, entry);
                    serde_json::Value::Null
                }
                JournalCall::Delete => {
                    journal.delete(id);
                    serde_json::Value::Null
                }
                JournalCall::List => journal.list(id).into(),
            })
        };
        let timer = (self.0.journal_takes.get() > 0.0).then(|| self.timer(self.0.journal_takes.get(), false));
        Box::pin(async move {
            if let Some(timer) = timer {
                timer.await;
            }
            result
        })
    }

    fn event(&self, event: Event<'_>) {
        self.0.events.borrow_mut().push(format!("{event:?}"));
    }
}
