//! A world: one clock, one network and one journal, for any number of hosts.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::browser::Locks;
use crate::events::Event;
use crate::executor::{Executor, Hang, Scope};
use crate::host::{HostState, TestHost};
use crate::journal::Journal;
use crate::network::{Network, Reply, Sent};
use crate::random::Random;

/// The time at the start of a world, in milliseconds since 1970.
pub const EPOCH: f64 = 1_795_000_000_000.0;
/// The scope of tasks that belong to no process: those of the server and of the test.
pub const OUTSIDE: Scope = 0;

/// An event, with its time and the number of the host that emitted it.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// The time, in milliseconds.
    pub at: f64,
    /// The number of the host.
    pub host: usize,
    /// The event.
    pub event: Event,
}

pub(crate) struct Shared {
    pub executor: Rc<Executor>,
    pub network: Network,
    pub journal: Rc<Journal>,
    pub locks: Rc<Locks>,
    pub has_locks: Cell<bool>,
    pub has_tabs: Cell<bool>,
    pub random: RefCell<Random>,
    pub events: RefCell<Vec<Logged>>,
    pub hosts: RefCell<Vec<Rc<HostState>>>,
    /// The error of the wall clock, in milliseconds.
    pub wall_error: Cell<f64>,
    /// The number of the latest process.
    pub processes: Cell<Scope>,
}

/// A clock, a network, a journal, and what a browser shares among its tabs. Clones are the same world.
#[derive(Clone)]
pub struct World(pub(crate) Rc<Shared>);

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("World").field("executor", &self.0.executor).finish_non_exhaustive()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A world in which tasks run in the order in which they were woken.
    pub fn new() -> Self {
        Self(Rc::new(Shared {
            executor: Executor::new(),
            network: Network::default(),
            journal: Journal::new(),
            locks: Rc::default(),
            has_locks: Cell::new(false),
            has_tabs: Cell::new(false),
            random: RefCell::new(Random::new(1)),
            events: RefCell::default(),
            hosts: RefCell::default(),
            wall_error: Cell::new(0.0),
            processes: Cell::new(OUTSIDE),
        }))
    }

    /// A world in which a seed decides which ready task runs next, and all other random choices.
    pub fn seeded(seed: u64) -> Self {
        let world = Self::new();
        *world.0.random.borrow_mut() = Random::new(seed);
        let mut random = Random::new(!seed);
        world.0.executor.choose_by(move |ready| random.below(ready));
        world
    }

    /// A new process: a host with memory of its own.
    pub fn process(&self) -> TestHost {
        TestHost::in_new_process(self)
    }

    /// Drops all tasks, which breaks the cycle of tasks, hosts and the world.
    pub fn close(&self) {
        self.0.executor.clear();
        self.0.hosts.take();
        self.0.network.set(Rc::new(|_| Box::pin(std::future::pending())));
    }

    // The parts

    /// The executor.
    pub fn executor(&self) -> &Rc<Executor> {
        &self.0.executor
    }

    /// The network's log.
    pub fn network(&self) -> &Network {
        &self.0.network
    }

    /// The journal that all processes share.
    pub fn journal(&self) -> &Rc<Journal> {
        &self.0.journal
    }

    /// The locks.
    pub fn locks(&self) -> &Rc<Locks> {
        &self.0.locks
    }

    /// The random number generator.
    pub fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.0.random.borrow_mut())
    }

    /// Gives the hosts locks, as the tabs of a browser have.
    pub fn have_locks(&self) {
        self.0.has_locks.set(true);
    }

    /// Lets the hosts share polls, as the tabs of a browser do.
    pub fn have_tabs(&self) {
        self.0.has_tabs.set(true);
    }

    /// The events of all hosts.
    pub fn log(&self) -> Vec<Logged> {
        self.0.events.borrow().clone()
    }

    /// The events of all hosts, without their times.
    pub fn events(&self) -> Vec<Event> {
        self.0.events.borrow().iter().map(|logged| logged.event.clone()).collect()
    }

    /// The codes of the warnings.
    pub fn warnings(&self) -> Vec<&'static str> {
        let code = |event| if let Event::Warning { code, .. } = event { Some(code) } else { None };
        self.events().into_iter().filter_map(code).collect()
    }

    // The server

    /// Sets a server that is an async function of the request. It runs on if the client gives up.
    pub fn serve<F>(&self, server: impl Fn(Sent) -> F + 'static)
    where
        F: Future<Output = Reply> + 'static,
    {
        self.0.network.set(Rc::new(move |sent| Box::pin(server(sent))));
    }

    /// Sets a server that replies after some milliseconds; never if infinite.
    pub fn script(&self, script: impl FnMut(&Sent) -> (f64, Reply) + 'static) {
        let (script, executor) = (RefCell::new(script), Rc::clone(&self.0.executor));
        self.serve(move |sent| {
            let (ms, reply) = (script.borrow_mut())(&sent);
            let wait = executor.sleep(ms);
            async move {
                wait.await;
                reply
            }
        });
    }

    /// Sets a server that gives these replies in order, each after some milliseconds, and then repeats the last one.
    ///
    /// # Panics
    /// If there are no replies.
    pub fn replies(&self, replies: Vec<(f64, Reply)>) {
        let mut replies = replies.into_iter();
        let mut last = replies.next().expect("a reply");
        let mut first = true;
        self.script(move |_| {
            if !std::mem::take(&mut first)
                && let Some(next) = replies.next()
            {
                last = next;
            }
            last.clone()
        });
    }

    // Time

    /// Milliseconds since the start.
    pub fn now(&self) -> f64 {
        self.0.executor.now()
    }

    /// The wall clock as the machine shows it, in milliseconds since 1970.
    pub fn wall(&self) -> f64 {
        EPOCH + self.now() + self.0.wall_error.get()
    }

    /// The true time, in milliseconds since 1970.
    pub fn true_wall(&self) -> f64 {
        EPOCH + self.now()
    }

    /// Sets the error of the wall clock, in milliseconds.
    pub fn set_wall_error(&self, ms: f64) {
        self.0.wall_error.set(ms);
    }

    /// Advances the clock as if the machine had slept: due timers fire now.
    pub fn jump(&self, ms: f64) {
        self.0.executor.jump(ms);
    }

    /// Waits some milliseconds.
    pub fn sleep(&self, ms: f64) -> impl Future<Output = ()> + use<> {
        self.0.executor.sleep(ms)
    }

    /// Runs a function after some milliseconds.
    pub fn after(&self, ms: f64, act: impl FnOnce() + 'static) {
        let wait = self.sleep(ms);
        self.spawn(async move {
            wait.await;
            act();
        });
    }

    /// Spawns a future that no crash stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.executor.spawn(OUTSIDE, task);
    }

    /// Spawns a future; the cell receives its output.
    pub fn start<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Started<T> {
        let output = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&output);
        self.spawn(async move {
            let done = future.await;
            *slot.borrow_mut() = Some(done);
        });
        Started(output)
    }

    /// Runs a future to its end. Tasks that it spawned go on later.
    ///
    /// # Panics
    /// If nothing can wake it any more.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.try_run(future).unwrap_or_else(|hang| panic!("{hang}"))
    }

    /// Runs a future to its end. Tasks that it spawned go on later.
    ///
    /// # Errors
    /// If nothing can wake it any more.
    pub fn try_run<T>(&self, future: impl Future<Output = T>) -> Result<T, Hang> {
        self.0.executor.run(future)
    }

    /// The output of a future, or `None` if it takes longer than `ms`; then it is dropped.
    pub fn run_for<T>(&self, ms: f64, future: impl Future<Output = T>) -> Option<T> {
        let (mut timer, mut future) = (pin!(self.sleep(ms)), pin!(future));
        self.run(std::future::poll_fn(move |context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            timer.as_mut().poll(context).map(|()| None)
        }))
    }

    /// Runs all tasks for some milliseconds.
    pub fn pass(&self, ms: f64) {
        self.run(self.sleep(ms));
        self.0.executor.settle();
    }

    /// Runs one ready task, or advances the clock to the next timer. False if nothing is left.
    pub fn step(&self) -> bool {
        self.0.executor.step()
    }

    /// Runs until nothing is left.
    pub fn finish(&self) {
        while self.step() {}
    }
}

/// A spawned future.
#[derive(Debug)]
pub struct Started<T>(Rc<RefCell<Option<T>>>);

impl<T> Started<T> {
    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Its output, once.
    pub fn take(&self) -> Option<T> {
        self.0.take()
    }
}
