//! A deterministic single-threaded executor on virtual time.
//!
//! The clock stands still while a task is ready; otherwise it advances to the next timer. A function of the test chooses
//! which ready task runs next, so that a seed explores races and replays them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The most task runs without an advance of the clock: more means a task that wakes itself for ever.
const STEPS_AT_ONCE: u32 = 1_000_000;

type Ready = Arc<Mutex<VecDeque<u64>>>;

/// Picks one of several ready tasks.
type Choose = Box<dyn FnMut(usize) -> usize>;

/// The owner of tasks: the tasks of a process end together when it crashes.
pub type Scope = u64;

struct Task {
    scope: Scope,
    /// `None` while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Arc<TaskWaker>,
}

struct TaskWaker {
    number: u64,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.number);
        }
    }
}

/// The error of a future that nothing can wake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hang {
    /// The time, in milliseconds.
    pub at: f64,
    /// The number of tasks that wait.
    pub tasks: usize,
}

impl fmt::Display for Hang {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, tasks } = self;
        write!(formatter, "a future hangs: nothing can wake it at {at} ms; {tasks} tasks wait")
    }
}

/// The executor.
pub struct Executor {
    now: Cell<f64>,
    last: Cell<u64>,
    ready: Ready,
    tasks: RefCell<BTreeMap<u64, Task>>,
    /// By due time (milliseconds as ordered bits), then in order of creation.
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    choose: RefCell<Choose>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Executor").field("now", &self.now.get()).finish_non_exhaustive()
    }
}

impl Executor {
    /// An executor that runs tasks in the order in which they were woken.
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(0.0),
            last: Cell::new(0),
            ready: Ready::default(),
            tasks: RefCell::default(),
            timers: RefCell::default(),
            choose: RefCell::new(Box::new(|_| 0)),
        })
    }

    /// Sets the function that picks the next ready task: it gets their number and returns an index.
    pub fn choose_by(&self, choose: impl FnMut(usize) -> usize + 'static) {
        *self.choose.borrow_mut() = Box::new(choose);
    }

    /// Milliseconds since the start.
    pub fn now(&self) -> f64 {
        self.now.get()
    }

    /// Advances the clock as if the machine had slept: due timers fire now.
    pub fn jump(&self, ms: f64) {
        self.now.set(self.now.get() + ms);
    }

    fn number(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    fn waker(&self, number: u64) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { number, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) })
    }

    /// Spawns a task in a scope.
    pub fn spawn(&self, scope: Scope, task: impl Future<Output = ()> + 'static) {
        let number = self.number();
        let waker = self.waker(number);
        Arc::clone(&waker).wake();
        self.tasks.borrow_mut().insert(number, Task { scope, future: Some(Box::pin(task)), waker });
    }

    /// Drops the tasks of a scope.
    pub fn kill(&self, scope: Scope) {
        let killed: Vec<Task> = {
            let mut tasks = self.tasks.borrow_mut();
            let numbers: Vec<u64> =
                tasks.iter().filter(|(_, task)| task.scope == scope).map(|(number, _)| *number).collect();
            numbers.iter().filter_map(|number| tasks.remove(number)).collect()
        };
        drop(killed);
    }

    /// Drops all tasks.
    pub fn clear(&self) {
        loop {
            let tasks = self.tasks.take();
            if tasks.is_empty() {
                return;
            }
            drop(tasks);
        }
    }

    /// The number of unfinished tasks in a scope.
    pub fn tasks(&self, scope: Scope) -> usize {
        self.tasks.borrow().values().filter(|task| task.scope == scope).count()
    }

    /// The number of timers that are waited for.
    pub fn timers(&self) -> usize {
        self.timers.borrow().len()
    }

    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<f64> {
        self.timers.borrow().keys().next().map(|(due, _)| f64::from_bits(*due))
    }

    /// Waits some milliseconds, and at least until all ready tasks have run. Waits for ever if infinite.
    pub fn sleep(self: &Rc<Self>, ms: f64) -> Sleep {
        Sleep { executor: Rc::clone(self), due: self.now.get() + ms.max(0.0), timer: None }
    }

    fn next_ready(&self) -> Option<u64> {
        let count = self.ready.lock().unwrap_or_else(PoisonError::into_inner).len();
        if count == 0 {
            return None;
        }
        let at = if count == 1 { 0 } else { (self.choose.borrow_mut())(count) % count };
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(at)
    }

    fn poll(&self, number: u64) {
        let taken = self.tasks.borrow_mut().get_mut(&number).map(|task| (task.future.take(), Arc::clone(&task.waker)));
        // It ended, or was dropped.
        let Some((Some(mut future), waker)) = taken else { return };
        waker.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(waker);
        let ended = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.tasks.borrow_mut();
        if ended {
            tasks.remove(&number);
        } else if let Some(task) = tasks.get_mut(&number) {
            task.future = Some(future);
            return;
        }
        drop(tasks);
        drop(future);
    }

    /// Advances the clock to the next timer. Returns whether there was one.
    fn advance(&self) -> bool {
        let due: Vec<Waker> = {
            let mut timers = self.timers.borrow_mut();
            let Some((first, _)) = timers.keys().next().copied() else { return false };
            self.now.set(self.now.get().max(f64::from_bits(first)));
            let later = timers.split_off(&(first, u64::MAX));
            std::mem::replace(&mut *timers, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Runs one ready task, or advances the clock to the next timer. False if nothing is left.
    pub fn step(&self) -> bool {
        match self.next_ready() {
            Some(number) => {
                self.poll(number);
                true
            }
            None => self.advance(),
        }
    }

    /// Runs ready tasks, and those that they make ready, without advancing the clock.
    pub fn settle(&self) {
        let mut steps = 0;
        while let Some(number) = self.next_ready() {
            self.poll(number);
            steps += 1;
            assert!(steps < STEPS_AT_ONCE, "tasks run for ever at {} ms", self.now.get());
        }
    }

    /// Runs a future to its end. Tasks that it spawned go on later.
    ///
    /// # Errors
    /// If nothing can wake it any more.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Hang> {
        let mut future = pin!(future);
        let number = self.number();
        let waking = self.waker(number);
        let waker = Waker::from(Arc::clone(&waking));
        Arc::clone(&waking).wake();
        let mut steps = 0;
        loop {
            match self.next_ready() {
                Some(next) if next == number => {
                    waking.queued.store(false, Ordering::Relaxed);
                    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return Ok(output);
                    }
                }
                Some(next) => self.poll(next),
                None if self.advance() => steps = 0,
                None => return Err(Hang { at: self.now.get(), tasks: self.tasks.borrow().len() }),
            }
            steps += 1;
            assert!(steps < STEPS_AT_ONCE, "tasks run for ever at {} ms", self.now.get());
        }
    }
}

/// A sleep. Dropping it removes its timer.
#[derive(Debug)]
pub struct Sleep {
    executor: Rc<Executor>,
    due: f64,
    timer: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = self.timer {
            let mut timers = self.executor.timers.borrow_mut();
            match timers.get_mut(&timer) {
                // The timer fired.
                None => return Poll::Ready(()),
                Some(waker) => waker.clone_from(context.waker()),
            }
        } else if self.due.is_finite() {
            let timer = (self.due.to_bits(), self.executor.number());
            self.executor.timers.borrow_mut().insert(timer, context.waker().clone());
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = self.executor.timers.borrow_mut().remove(&timer);
            drop(waker);
        }
    }
}
