//! The test host of one client.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use custom_template_jobs::client::{Client, Config, WeakClient};
use custom_template_jobs::host::{self, Answer, Env, Host, JournalCall, JournalReply, Request, Store, Unusable};
use custom_template_jobs::job::JobFields;
use custom_template_jobs::member::Member;
use futures_channel::oneshot;
use serde_json::Value;

use crate::browser::Lock;
use crate::events::Event;
use crate::executor::Scope;
use crate::journal::{Call, Journal};
use crate::json;
use crate::network::{Reply, Sent};
use crate::world::{Logged, OUTSIDE, Shared, World};

/// What a function of the caller's returns, and when.
#[derive(Clone, Debug)]
pub struct Given<T> {
    /// Milliseconds until it returns; infinite if it never does.
    pub after_ms: f64,
    /// Its result.
    pub answer: T,
}

impl<T> Given<T> {
    /// Returns at once.
    pub const fn now(answer: T) -> Self {
        Self { after_ms: 0.0, answer }
    }

    /// Returns after some milliseconds.
    pub const fn after(after_ms: f64, answer: T) -> Self {
        Self { after_ms, answer }
    }
}

/// The headers of a request.
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    /// When they were made, in milliseconds.
    pub made_at: f64,
}

type MakeHeaders = dyn FnMut() -> Given<Result<(), Unusable<Value>>>;
type ListJobs = dyn FnMut(f64) -> Given<Result<Value, Value>>;
type OnEvent = Rc<dyn Fn(&Event)>;

pub(crate) struct HostState {
    world: Rc<Shared>,
    number: usize,
    scope: Scope,
    alive: Rc<Cell<bool>>,
    memory: Rc<Journal>,
    journal: RefCell<Rc<Journal>>,
    client: RefCell<Option<WeakClient<TestHost>>>,
    make_headers: RefCell<Box<MakeHeaders>>,
    list_jobs: RefCell<Option<Box<ListJobs>>>,
    on_event: RefCell<Option<OnEvent>>,
    env: Cell<Env>,
    shares: Cell<bool>,
    polls_at_once: Cell<usize>,
    listening: Cell<bool>,
}

/// The host of one client. Clones are the same host.
#[derive(Clone)]
pub struct TestHost(Rc<HostState>);

impl fmt::Debug for TestHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TestHost").field("number", &self.0.number).finish_non_exhaustive()
    }
}

impl TestHost {
    pub(crate) fn in_new_process(world: &World) -> Self {
        let scope = world.0.processes.get() + 1;
        world.0.processes.set(scope);
        Self::new(&world.0, scope, Rc::new(Cell::new(true)), Journal::in_memory())
    }

    fn new(world: &Rc<Shared>, scope: Scope, alive: Rc<Cell<bool>>, memory: Rc<Journal>) -> Self {
        let number = world.hosts.borrow().len();
        let host = Self(Rc::new(HostState {
            world: Rc::clone(world),
            number,
            scope,
            alive,
            memory,
            journal: RefCell::new(Rc::clone(&world.journal)),
            client: RefCell::default(),
            make_headers: RefCell::new(Box::new(|| Given::now(Ok(())))),
            list_jobs: RefCell::default(),
            on_event: RefCell::default(),
            env: Cell::new(Env { visible: true, online: true }),
            shares: Cell::new(true),
            polls_at_once: Cell::new(6),
            listening: Cell::new(false),
        }));
        world.hosts.borrow_mut().push(Rc::clone(&host.0));
        host
    }

    /// Another host in the same process, for a second client there.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::new(&self.0.world, self.0.scope, Rc::clone(&self.0.alive), Rc::clone(&self.0.memory))
    }

    /// A client over this host.
    pub fn client(&self, config: Config) -> Client<Self> {
        if config.journal_in_memory {
            *self.0.journal.borrow_mut() = Rc::clone(&self.0.memory);
        }
        let client = Client::new(self.clone(), config);
        *self.0.client.borrow_mut() = Some(client.downgrade());
        client
    }

    /// Crashes the process: its tasks stop where they are. Journals and sent requests remain.
    pub fn crash(&self) {
        self.0.alive.set(false);
        self.0.world.executor.kill(self.0.scope);
    }

    /// Whether the process has crashed.
    pub fn is_dead(&self) -> bool {
        !self.0.alive.get()
    }

    /// The world.
    pub fn world(&self) -> World {
        World(Rc::clone(&self.0.world))
    }

    /// The number of this host in logs.
    pub fn number(&self) -> usize {
        self.0.number
    }

    /// The journal in the memory of this process.
    pub fn memory(&self) -> &Rc<Journal> {
        &self.0.memory
    }

    /// Uses another journal than the world's.
    pub fn use_journal(&self, journal: &Rc<Journal>) {
        *self.0.journal.borrow_mut() = Rc::clone(journal);
    }

    /// The number of unfinished tasks of this process.
    pub fn tasks(&self) -> usize {
        self.0.world.executor.tasks(self.0.scope)
    }

    /// Whether the client listens for changes of the environment.
    pub fn is_listening(&self) -> bool {
        self.0.listening.get()
    }

    /// Sets the function for headers and keys.
    pub fn on_headers(&self, make: impl FnMut() -> Given<Result<(), Unusable<Value>>> + 'static) {
        *self.0.make_headers.borrow_mut() = Box::new(make);
    }

    /// Sets the caller's `listJobs`; it gets `since` in milliseconds since 1970.
    pub fn on_list_jobs(&self, list: impl FnMut(f64) -> Given<Result<Value, Value>> + 'static) {
        *self.0.list_jobs.borrow_mut() = Some(Box::new(list));
    }

    /// Sets a listener, which is called with each event after the host call that emitted it.
    pub fn on_event(&self, listener: impl Fn(&Event) + 'static) {
        *self.0.on_event.borrow_mut() = Some(Rc::new(listener));
    }

    /// Changes the environment and notifies the client.
    pub fn set_env(&self, env: Env) {
        self.0.env.set(env);
        let client = self.0.client.borrow().as_ref().and_then(WeakClient::upgrade);
        if let (true, Some(client)) = (self.is_listening(), client) {
            client.environment_changed(false);
        }
    }

    /// Whether the calls of the client may wake one another.
    pub fn set_shares(&self, shares: bool) {
        self.0.shares.set(shares);
    }

    /// Sets how many polls the client may have in flight; takes effect for clients made later.
    pub fn set_polls_at_once(&self, polls: usize) {
        self.0.polls_at_once.set(polls);
    }

    /// Waits for ever if the process has crashed.
    async fn alive(&self) {
        if !self.0.alive.get() {
            pending::<()>().await;
        }
    }
}

/// Lets the other ready tasks run.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The turn to poll a job.
#[derive(Debug)]
pub struct Turn {
    job: String,
    _lock: Option<Lock>,
}

/// How long a tab waits for a lock that another tab holds, in milliseconds; the other may be frozen.
const MOMENT: f64 = 900.0;

impl Host for TestHost {
    type Value = Value;
    type Headers = Headers;
    type Lock = Lock;
    type Turn = Turn;

    fn parse(&self, text: &str) -> Option<Value> {
        serde_json::from_str(text).ok()
    }

    fn members<const N: usize>(&self, value: &Value, names: [&'static str; N]) -> [Member; N] {
        names.map(|name| json::member_of(value.get(name)))
    }

    fn member(&self, value: &Value, name: &str) -> Option<Value> {
        value.get(name).cloned()
    }

    fn names(&self, value: &Value) -> Vec<String> {
        value.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect()
    }

    fn elements(&self, value: &Value) -> Option<Vec<Value>> {
        value.as_array().cloned()
    }

    fn job(&self, value: &Value) -> JobFields {
        json::job_fields(value)
    }

    fn made_at(&self, job: &Value) -> Option<f64> {
        json::parse_time(job.get("created_at")?.as_str()?)
    }

    fn reason(&self, body: &Value) -> Option<String> {
        json::reason(body)
    }

    fn with_webhook_url(&self, request: &str, url: &str) -> String {
        json::with_webhook_url(request, url)
    }

    fn covers(&self, request: &str, job: &Value) -> bool {
        json::covers(request, job)
    }

    async fn headers(&self) -> Result<Headers, Unusable<Value>> {
        self.alive().await;
        let Given { after_ms, answer } = (self.0.make_headers.borrow_mut())();
        if after_ms > 0.0 {
            self.0.world.executor.sleep(after_ms).await;
        }
        answer.map(|()| Headers { made_at: self.now() })
    }

    async fn fetch(&self, request: Request<'_>, _headers: Headers) -> Reply {
        self.alive().await;
        let world = &self.0.world;
        let serving = world.network.send(&Sent::new(self.now(), self.0.number, request));
        let (sender, receiver) = oneshot::channel();
        world.executor.spawn(OUTSIDE, async move {
            let _ = sender.send(serving.await);
        });
        match receiver.await {
            Ok(reply) => reply,
            Err(oneshot::Canceled) => pending().await,
        }
    }

    async fn journal(&self, store: Store, call: JournalCall<'_>) -> Result<JournalReply, Value> {
        self.alive().await;
        let journal = match store {
            Store::Configured => Rc::clone(&self.0.journal.borrow()),
            Store::Process => Rc::clone(&self.0.memory),
        };
        let call = Call::new(call, self.0.number);
        let plan = journal.begin(&call);
        let executor = &self.0.world.executor;
        let act = move || if plan.works { Some(journal.apply(&call)) } else { None };
        let done = if plan.before_ms > 0.0 {
            // The call takes effect even if its caller has given up.
            let (sender, receiver) = oneshot::channel();
            let wait = executor.sleep(plan.before_ms);
            executor.spawn(OUTSIDE, async move {
                wait.await;
                let _ = sender.send(act());
            });
            match receiver.await {
                Ok(done) => done,
                Err(oneshot::Canceled) => pending().await,
            }
        } else {
            act()
        };
        if plan.after_ms > 0.0 {
            executor.sleep(plan.after_ms).await;
        } else {
            yield_once().await;
        }
        match done {
            Some(reply) if !plan.throws => Ok(reply),
            _ => Err(Journal::thrown()),
        }
    }

    async fn list_jobs(&self, since: f64) -> Option<Result<Value, Value>> {
        let given = self.0.list_jobs.borrow_mut().as_mut().map(|list| list(since));
        let Given { after_ms, answer } = given?;
        self.0.world.executor.sleep(after_ms).await;
        Some(answer)
    }

    async fn lock(&self, name: &str) -> Option<Lock> {
        if !self.0.world.has_locks.get() {
            return None;
        }
        Some(self.0.world.locks.lock(name).await)
    }

    fn now(&self) -> f64 {
        self.0.world.executor.now()
    }

    fn wall(&self) -> f64 {
        self.world().wall()
    }

    fn random(&self) -> f64 {
        self.0.world.random.borrow_mut().fraction()
    }

    fn token(&self) -> String {
        let mut random = self.0.world.random.borrow_mut();
        format!("{:016x}{:016x}", random.bits(), random.bits())
    }

    async fn sleep(&self, ms: f64) {
        assert!((0.0..=2_147_483_647.0).contains(&ms), "a timer does not accept {ms} ms");
        self.0.world.executor.sleep(ms).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if self.0.alive.get() {
            self.0.world.executor.spawn(self.0.scope, task);
        }
    }

    fn env(&self) -> Env {
        self.0.env.get()
    }

    fn shares(&self) -> bool {
        self.0.shares.get()
    }

    fn polls_at_once(&self) -> usize {
        self.0.polls_at_once.get()
    }

    fn listen(&self, begin: bool) {
        self.0.listening.set(begin);
    }

    async fn turn(&self, job_id: &str) -> Option<Turn> {
        let world = &self.0.world;
        if !world.has_tabs.get() {
            return None;
        }
        let name = format!("poll/{job_id}");
        let (mut lock, mut moment) = (pin!(world.locks.lock(&name)), pin!(world.executor.sleep(MOMENT)));
        let lock = poll_fn(|context| match lock.as_mut().poll(context) {
            Poll::Ready(lock) => Poll::Ready(Some(lock)),
            Poll::Pending => moment.as_mut().poll(context).map(|()| None),
        });
        Some(Turn { job: job_id.into(), _lock: lock.await })
    }

    fn publish(&self, turn: Turn, asked_at: f64, answer: &Answer<Value>) {
        let Turn { job, .. } = turn;
        for other in self.0.world.hosts.borrow().iter() {
            if other.number == self.0.number || !other.alive.get() {
                continue;
            }
            let Some(client) = other.client.borrow().as_ref().and_then(WeakClient::upgrade) else { continue };
            let (job, answer) = (job.clone(), answer.clone());
            self.0.world.executor.spawn(other.scope, async move { client.receive(&job, asked_at, answer) });
        }
    }

    fn emit(&self, event: host::Event<'_>) {
        let event = Event::from(event);
        let on_event = self.0.on_event.borrow().clone();
        if let Some(on_event) = on_event {
            let event = event.clone();
            self.0.world.executor.spawn(OUTSIDE, async move { on_event(&event) });
        }
        let logged = Logged { at: self.now(), host: self.0.number, event };
        self.0.world.events.borrow_mut().push(logged);
    }
}
