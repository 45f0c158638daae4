//! A fuzzed world: a server and a journal that answer with made-up inputs in any order. A broken rule panics.
//!
//! The rules:
//! - a charge is sent only if the journal has its operation as `sending`, and again only if the former request was
//!   refused, proven unsent or discarded;
//! - the verdict on a request is that of the README: a 2xx that names the job is bound, other 2xx are unknown;
//! - a journal entry that cannot be read is never overwritten or deleted, nor is the entry of another attempt, nor one
//!   that may have been charged;
//! - no impossible duration is stored;
//! - every call settles in time and leaves no task behind;
//! - a failure has a name of the contract and a message, and a `retryAfterMs` of 1 to 60 seconds;
//! - no timer gets a time that it cannot take (the host asserts it);
//! - a shared budget is not exceeded by the least that its charges are known to cost.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use custom_template_jobs::api::{Endpoint, Goal, is_uuid};
use custom_template_jobs::charge::{Entry, State, salvage};
use custom_template_jobs::client::{ChargeOptions, Client, Config, Operation, PollOptions};
use custom_template_jobs::error::ErrorKind;
use custom_template_jobs::host::{Body, Env, Host as _, JournalReply, Unusable, Update};
use custom_template_jobs::poll::Urgency;
use futures_channel::oneshot;
use serde_json::{Value, json};
use test_host::fixtures::Failure;
use test_host::journal::Call as JournalCall;
use test_host::json::member_of;
use test_host::{Event, Given, Method, Plan, Reply, Sent, TestHost};

use crate::inputs::{self, IDS, OPERATIONS};
use crate::tape::Tape;
use crate::{Drawn, Source};

/// The longest time that a timer accepts, in milliseconds.
const LONGEST: f64 = 2_147_483_647.0;
/// The most steps after the end of the data. Polls are aborted before.
const PATIENCE: u32 = 200_000;
/// The error codes that prove that a request was never sent, as the README lists them.
const NEVER_SENT: [&str; 3] = ["ECONNREFUSED", "ENOTFOUND", "ConnectionRefused"];

/// The options of a world.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most calls that are made.
    pub calls: u32,
    /// Whether the journal holds entries that this client did not write.
    pub foreign: bool,
    /// Whether the journal fails and returns wrong results, but none that make a known operation seem new.
    pub lies: bool,
    /// The credits that clients with one budget may spend together.
    pub budget: Option<f64>,
}

/// A call of a client.
#[derive(Debug)]
struct Call {
    name: String,
    run: usize,
    is_poll: bool,
    /// The time at which it must have settled.
    deadline: f64,
    leave: Option<oneshot::Sender<()>>,
    settled: bool,
}

/// A charging request.
#[derive(Debug)]
struct Post {
    host: usize,
    owner: String,
    estimate: f64,
    render: Option<String>,
    reply: Option<Reply>,
    discarded: bool,
}

impl Post {
    fn is_free(&self) -> bool {
        self.discarded || matches!(self.expected(), Some(("rejected" | "not_sent", _)))
    }

    /// The verdict that the reply calls for by the README, with the job; `None` while there is no reply.
    fn expected(&self) -> Option<(&'static str, Option<String>)> {
        let answer = match self.reply.as_ref()? {
            Reply::Unusable(_) => return Some(("rejected", None)),
            Reply::Failed { code, .. } => {
                let proven = code.as_deref().is_some_and(|code| NEVER_SENT.contains(&code));
                return Some((if proven { "not_sent" } else { "unknown" }, None));
            }
            Reply::Answer(answer) => answer,
        };
        if matches!(answer.status, 400..=405 | 413..=415 | 422 | 429 | 431) {
            return Some(("rejected", None));
        }
        let uuid = |id: &str| is_uuid(id).then(|| id.to_ascii_lowercase());
        let named = match &answer.body {
            Body::Json(body) => body["id"].as_str().and_then(uuid),
            Body::Cut(text) | Body::Text(text) => salvage(text),
        };
        let empty = match &answer.body {
            Body::Json(_) => true,
            Body::Text(text) => text.trim().is_empty(),
            Body::Cut(_) => false,
        };
        let job = match (&self.render, named) {
            (Some(render), Some(job)) if job != *render => None,
            (Some(render), None) if empty => Some(render.clone()),
            (_, job) => job,
        };
        let job = job.filter(|_| (200..300).contains(&answer.status));
        Some((if job.is_some() { "bound" } else { "unknown" }, job))
    }
}

/// The record of what happened.
#[derive(Debug, Default)]
struct Record {
    calls: Vec<Call>,
    posts: BTreeMap<String, Vec<Post>>,
    /// The least `credits_used` that was reported for a job.
    used: BTreeMap<String, f64>,
    /// How many discards are in flight or may still happen.
    discarding: u32,
    listed: Option<Vec<Operation>>,
    /// No data is left: from now on all answers are plain.
    calm: bool,
}

/// A client and its environment.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "it wraps the test host's world")]
pub struct World {
    world: test_host::World,
    options: Options,
    tape: Tape,
    record: Rc<RefCell<Record>>,
    config: Config,
    client: Client<TestHost>,
    run: usize,
    shares: bool,
    lists: bool,
}

impl World {
    /// A new world; the journal may hold entries from the start.
    pub fn new(options: Options, source: &mut Source<'_>) -> Drawn<Self> {
        let budget_key = options.budget.map(|_| "november".to_owned());
        let config = Config { max_credits: options.budget, budget_key, ..Config::new("https://api.test", "me", "") };
        let world = test_host::World::seeded(source.arbitrary()?);
        let namespace = &config.namespace;
        if options.foreign {
            let render = format!("render:{}", IDS[0]);
            for id in OPERATIONS.into_iter().chain([render.as_str(), ""]) {
                if source.arbitrary()? {
                    world.journal().put(&format!("{namespace}/{id}"), &inputs::entry(source)?);
                }
                if source.arbitrary()? {
                    world.journal().put(&format!("{namespace}:open/{id}"), &inputs::text(source)?);
                }
            }
            for rest in [":budget/all/november/op=1", ":budget/all/november/x", ":ended/1/submit", ":ended/1/render:x/op"] {
                if source.arbitrary()? {
                    world.journal().put(&format!("{namespace}{rest}"), &inputs::text(source)?);
                }
            }
            for number in 0..1_000 {
                if source.is_empty() {
                    break;
                }
                world.journal().put(&format!("{namespace}:took/{number}"), &inputs::duration(source)?);
                if source.ratio(3, 4)? {
                    break;
                }
            }
        }
        if source.arbitrary()? {
            world.have_locks();
        }
        let (shares, lists) = (source.ratio(3, 4)?, source.arbitrary()?);
        let tape = Tape::new(source)?;
        let record = Rc::new(RefCell::new(Record::default()));
        let client = world.process().client(config.clone());
        let world = Self { world, options, tape, record, config, client, run: 0, shares, lists };
        world.serve();
        world.watch_journal();
        world.prepare();
        Ok(world)
    }

    /// Makes the calls and faults that the data asks for, then runs to the end and checks the rules.
    pub fn run(mut self) {
        let mut begun = 0;
        while !self.tape.is_empty() {
            match self.tape.below(41) {
                0..=7 if begun < self.options.calls => {
                    begun += 1;
                    self.begin();
                }
                8 => self.leave(),
                9 if self.tape.one_in(4) => self.restart(),
                10 => {
                    let env = Env { visible: self.tape.one_in(2), online: !self.tape.one_in(4) };
                    self.client.host().set_env(env);
                }
                _ if self.step(4) => {}
                _ if begun < self.options.calls => {
                    begun += 1;
                    self.begin();
                }
                _ => break,
            }
        }
        self.settle_down();
        self.world.journal().calm();
        self.world.close();
    }

    /// Runs some steps, and returns whether anything happened.
    fn step(&self, steps: u32) -> bool {
        let mut happened = false;
        for _ in 0..steps {
            happened |= self.world.step();
        }
        happened
    }

    /// Runs to the end with plain answers and a correct journal, so that every call settles.
    fn settle_down(&mut self) {
        self.record.borrow_mut().calm = true;
        self.client.host().set_env(Env { visible: true, online: true });
        let is_poll = |call: &mut Call| if call.is_poll { call.leave.take() } else { None };
        let polls: Vec<_> = self.record.borrow_mut().calls.iter_mut().filter_map(is_poll).collect();
        for leave in polls {
            _ = leave.send(());
        }
        self.finish();
        for call in self.record.borrow().calls.iter().filter(|call| call.run == self.run) {
            assert!(call.settled, "{} never settles", call.name);
        }
        assert_eq!(self.client.host().tasks(), 0, "tasks left by settled calls");
        assert!(!self.client.host().is_listening(), "a listener left by settled calls");
        self.check_verdicts();
        // A later process finds every open operation.
        self.restart();
        self.call("pending", f64::INFINITY, |client, record| async move {
            let listed = client.pending().await?;
            record.borrow_mut().listed = Some(listed);
            Ok(None)
        });
        self.finish();
        let record = self.record.borrow();
        let listed: BTreeSet<&str> = record.listed.iter().flatten().map(|operation| operation.operation.as_str()).collect();
        assert!(record.listed.is_some(), "pending() fails");
        let entry = |id: &str| decode(&self.world.journal().get(&self.key(id))?);
        for id in &listed {
            assert!(entry(id).is_some_and(|entry| entry.state != State::Ended), "pending() lists {id:?}");
        }
        for (id, posts) in record.posts.iter().filter(|(_, posts)| !posts.iter().all(Post::is_free)) {
            let entry = entry(id).unwrap_or_else(|| panic!("{id:?} is lost: {posts:?}"));
            // If the journal reports an entry as missing, its marker is deleted.
            let lies = self.options.lies;
            assert!(
                lies || entry.state == State::Ended || listed.contains(id.as_str()),
                "pending() lacks {id:?}: {entry:?}"
            );
        }
    }

    fn finish(&self) {
        let mut steps = 0;
        while self.world.step() {
            steps += 1;
            assert!(steps < PATIENCE, "the world never comes to an end");
        }
    }

    fn key(&self, operation: &str) -> String {
        format!("{}/{operation}", self.config.namespace)
    }

    /// Crashes the process and starts another, which has only the journal.
    fn restart(&mut self) {
        self.client.host().crash();
        self.run += 1;
        self.client = self.world.process().client(self.config.clone());
        self.prepare();
    }

    /// Sets the functions that the caller passes to a client.
    fn prepare(&self) {
        let host = self.client.host();
        host.set_shares(self.shares);
        let (tape, record) = (self.tape.clone(), Rc::clone(&self.record));
        host.on_headers(move || {
            if record.borrow().calm || !tape.one_in(16) {
                return Given::now(Ok(()));
            }
            let answer =
                if tape.one_in(2) { Err(Unusable { field: "headers", advice: "failed", cause: None }) } else { Ok(()) };
            Given::after(tape.below(60_000) as f64, answer)
        });
        if self.lists {
            let tape = self.tape.clone();
            host.on_list_jobs(move |since| {
                assert!(!since.is_nan(), "`since` is NaN");
                let jobs: Vec<Value> =
                    (0..tape.below(4)).map(|at| tape.draw(|source| inputs::job(source, IDS[at % IDS.len()]))).collect();
                let answer = if tape.one_in(4) { Err(jobs.into()) } else { Ok(jobs.into()) };
                Given::after(tape.below(250) as f64, answer)
            });
        }
    }

    fn begin(&self) {
        let id = IDS[self.tape.below(IDS.len())];
        // A negative time is refused, so it is drawn rarely.
        let sign = |ms: f64| if self.tape.one_in(8) { ms } else { ms.abs() };
        let timeout = |one_in| self.tape.one_in(one_in).then(|| sign(self.tape.draw(inputs::number)));
        match self.tape.below(13) {
            0 => self.call(
                "templates()",
                f64::INFINITY,
                |client, _| async move { client.templates(None).await.map(|_| None) },
            ),
            1 => self.call("remaining_credits()", f64::INFINITY, |client, _| async move {
                let credits = client.remaining_credits(None).await?;
                assert!(credits.is_finite(), "{credits} credits");
                Ok(None)
            }),
            2 => self.call("pending()", f64::INFINITY, |client, _| async move {
                // It may fail if the journal returns wrong results.
                client.pending().await.map(|_| None)
            }),
            3 => {
                let operation = OPERATIONS[self.tape.below(OPERATIONS.len())];
                let job = self.tape.one_in(2).then_some(id);
                let name = format!("settle({operation:?}, {job:?})");
                self.call(&name, f64::INFINITY, move |client, _| async move {
                    client.settle(operation, job).await.map(|_| None)
                });
            }
            4 => {
                let operation = OPERATIONS[self.tape.below(OPERATIONS.len())];
                // The discard may still happen after its caller aborted or its process crashed.
                self.record.borrow_mut().discarding += 1;
                self.call(&format!("discard({operation:?})"), f64::INFINITY, move |client, record| async move {
                    let outcome = client.discard(operation).await;
                    if !matches!(&outcome, Err(failure) if *failure.kind() == ErrorKind::Journal) {
                        record.borrow_mut().discarding -= 1;
                    }
                    outcome.map(|()| None)
                });
            }
            5 | 6 => {
                let job = self.tape.one_in(2).then(|| self.tape.draw(|source| inputs::job(source, id)));
                let until = [None, Some(Goal::Preview), Some(Goal::Video), Some(Goal::Done), Some(Goal::Settled)];
                let options = PollOptions {
                    until: until[self.tape.below(until.len())],
                    timeout: timeout(3),
                    expected_ms: timeout(3),
                    max_interval: timeout(3),
                    attentive: self.tape.one_in(2),
                    urgency: if self.tape.one_in(2) { Urgency::High } else { Urgency::Low },
                };
                self.call(&format!("poll({id}, {options:?})"), f64::NAN, move |client, _| async move {
                    let shown = Cell::new(None);
                    let on_update = move |update: Update<'_, Value>| {
                        let Update { job, progress, remaining_ms, next_poll_ms, .. } = update;
                        assert!(job["id"].as_str().is_some_and(is_uuid), "{job}");
                        assert!(remaining_ms.is_none_or(|ms| 0.0 < ms && ms <= 100.0 * LONGEST), "{update:?}");
                        assert!(next_poll_ms.is_none_or(|ms| (0.0..=100.0 * LONGEST).contains(&ms)), "{update:?}");
                        assert!(progress.is_none_or(|progress| (0.0..=1.0).contains(&progress)), "{update:?}");
                        assert!(progress >= shown.replace(progress), "the progress fell: {update:?}");
                    };
                    client.poll(id, job, options, Some(Box::new(on_update))).await.map(Some)
                });
            }
            7 => {
                let timeout = timeout(3);
                self.call(&format!("get({id})"), f64::INFINITY, move |client, _| async move {
                    client.get(id, timeout).await.map(Some)
                });
            }
            _ => self.charge(id, timeout(3)),
        }
    }

    fn charge(&self, id: &'static str, timeout: Option<f64>) {
        let endpoints = [Endpoint::Submit, Endpoint::Render, Endpoint::PreviewAsync, Endpoint::PreviewSync];
        let endpoint = endpoints[self.tape.below(endpoints.len())];
        let mut request = json!({"template_id": IDS[2], "variables": {}});
        if self.tape.one_in(3) {
            request["webhook_url"] = "https://me.test/?operation={operation}".into();
        }
        let explicit = !self.tape.one_in(3);
        let operation = match endpoint {
            _ if explicit => OPERATIONS[self.tape.below(OPERATIONS.len())].to_owned(),
            Endpoint::Render => format!("render:{id}"),
            _ => self.client.host().token(),
        };
        // `timeout` does not limit a render's wait for the preview.
        let limit = match timeout.filter(|ms| *ms >= 0.0) {
            _ if endpoint == Endpoint::Render => f64::INFINITY,
            Some(ms) => ms.min(LONGEST),
            None if endpoint == Endpoint::PreviewSync => self.config.preview_timeout,
            None => self.config.timeout,
        };
        let options = ChargeOptions { operation, explicit, seconds: Some(30.0), timeout, ..ChargeOptions::default() };
        let name = format!("{endpoint:?} {options:?}");
        self.call(&name, self.world.now() + limit, move |client, _| async move {
            let request = request.to_string();
            Ok(Some(match endpoint {
                Endpoint::Render => client.render(id, Some(&request), options).await?,
                Endpoint::PreviewAsync => client.preview_async(&request, options).await?,
                Endpoint::PreviewSync => client.preview_sync(&request, options).await?,
                _ => client.submit(&request, options).await?,
            }))
        });
    }

    /// Starts a call. A NaN deadline marks a poll, which is aborted at the end.
    fn call<F>(&self, name: &str, deadline: f64, call: impl FnOnce(Client<TestHost>, Rc<RefCell<Record>>) -> F)
    where
        F: Future<Output = Result<Option<Value>, Failure>> + 'static,
    {
        self.print(|| format!("call: {name}"));
        let (leave, left) = oneshot::channel();
        let number = {
            let calls = &mut self.record.borrow_mut().calls;
            let (name, is_poll) = (name.to_owned(), deadline.is_nan());
            calls.push(Call { name, run: self.run, is_poll, deadline, leave: Some(leave), settled: false });
            calls.len() - 1
        };
        let work = call(self.client.clone(), Rc::clone(&self.record));
        let (record, world) = (Rc::clone(&self.record), self.world.clone());
        self.client.host().spawn(async move {
            let outcome = unless(left, work).await;
            let now = world.now();
            let call = &mut record.borrow_mut().calls[number];
            call.settled = true;
            if crate::chosen_seed().is_some() {
                println!("{now:>16.1} {} settles: {outcome:.300?}", call.name);
            }
            match outcome {
                None => {}
                Some(outcome) => {
                    assert!(call.deadline.is_nan() || now <= call.deadline + 0.001, "{} settles late, at {now}", call.name);
                    match outcome {
                        Ok(job) => assert!(
                            job.is_none_or(|job| job["id"].as_str().is_some_and(is_uuid)),
                            "{} returns a value that is not a job",
                            call.name
                        ),
                        Err(failure) => check_failure(&call.name, &failure),
                    }
                }
            }
        });
    }

    fn leave(&self) {
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        {
            let record = &mut *self.record.borrow_mut();
            let mut calls: Vec<&mut Call> = record
                .calls
                .iter_mut()
                .filter(|call| call.run == self.run && !call.settled && call.leave.is_some())
                .collect();
            if !calls.is_empty() {
                let at = self.tape.below(calls.len());
                waiting.extend(calls[at].leave.take());
            }
        }
        for leave in waiting {
            _ = leave.send(());
        }
    }

    fn print(&self, what: impl FnOnce() -> String) {
        if crate::chosen_seed().is_some() {
            println!("{:>16.1} {}", self.world.now(), what());
        }
    }

    // The server

    fn serve(&self) {
        let (tape, record, world) = (self.tape.clone(), Rc::clone(&self.record), self.world.clone());
        let (options, namespace) = (self.options, self.config.namespace.clone());
        self.world.serve(move |sent: Sent| {
            let place = if sent.charges() { Some(post(&record, &world, options, &namespace, &sent)) } else { None };
            let calm = record.borrow().calm;
            let ms = match tape.below(16) {
                _ if calm => 0.0,
                15 => f64::from(tape.draw(|source| source.int_in_range(0..=700_000_u32))),
                _ => tape.below(251) as f64,
            };
            let (tape, record, world) = (tape.clone(), Rc::clone(&record), world.clone());
            async move {
                world.sleep(ms).await;
                let id = IDS.into_iter().find(|id| sent.path.contains(id)).unwrap_or(IDS[1]);
                let reply = tape.try_draw(|source| inputs::reply(source, id)).unwrap_or_else(|| test_host::failed(""));
                if crate::chosen_seed().is_some() {
                    println!("{:>16.1}   {} -> {reply:.300?}", world.now(), sent.line());
                }
                let record = &mut *record.borrow_mut();
                if let Reply::Answer(answer) = &reply
                    && let Body::Json(job) = &answer.body
                    && let Some(used) = member_of(job.get("credits_used")).number().filter(|used| *used > 0.0)
                {
                    let id = job["id"].as_str().unwrap_or_default().to_ascii_lowercase();
                    let least = record.used.entry(id).or_insert(f64::INFINITY);
                    *least = least.min(used);
                }
                if let (Some(place), Some(operation)) = (place, &sent.operation)
                    && let Some(posts) = record.posts.get_mut(operation)
                {
                    posts[place].reply = Some(reply.clone());
                }
                reply
            }
        });
    }

    /// Every charging request got the verdict that its reply calls for.
    fn check_verdicts(&self) {
        let record = self.record.borrow();
        let mut sent: BTreeMap<&str, usize> = BTreeMap::new();
        let log = self.world.log();
        for logged in &log {
            match &logged.event {
                Event::Request { operation: Some(operation), .. } => *sent.entry(operation).or_default() += 1,
                Event::Verdict { operation, verdict, job_id } => {
                    let posts = &record.posts[operation];
                    let count = sent.get(operation.as_str()).copied().unwrap_or_default();
                    // After a discard two attempts may be in flight at once.
                    let Some(post) = posts[..count].iter().rfind(|post| post.host == logged.host) else {
                        panic!("{operation:?} was not sent")
                    };
                    if posts[..count].iter().filter(|post| post.host == logged.host && post.discarded).count() > 0 {
                        continue;
                    }
                    // If no answer came in time, the verdict is unknown.
                    if let Some(expected) = post.expected() {
                        let late = (*verdict, job_id) == ("unknown", &None);
                        assert!((*verdict, job_id.clone()) == expected || late, "{verdict} {job_id:?} for {post:?}");
                    }
                }
                _ => {}
            }
        }
    }

    // The journal

    fn watch_journal(&self) {
        let (tape, record, lies) = (self.tape.clone(), Rc::clone(&self.record), self.options.lies);
        self.world.journal().plan(move |call| {
            if record.borrow().calm {
                return Plan::USUAL;
            }
            match tape.below(12) {
                10 => Plan::works_after(tape.below(100) as f64),
                11 if lies && tape.one_in(2) => Plan::THROWS,
                11 if lies && call.method != Method::Write => Plan::WORKS_AND_THROWS,
                11 => Plan::answers_after(tape.below(40_000) as f64),
                _ => Plan::USUAL,
            }
        });
        let (tape, record, options) = (self.tape.clone(), Rc::clone(&self.record), self.options);
        let (namespace, world) = (self.config.namespace.clone(), self.world.clone());
        self.world.journal().witness(move |call, old, reply| {
            if crate::chosen_seed().is_some() {
                println!("{:>16.1}   journal: {call:.400?} -> {reply:.300?}", world.now());
            }
            check_call(&mut record.borrow_mut(), options, &namespace, call, old, &reply);
            if !options.lies || record.borrow().calm || !tape.one_in(10) {
                return reply;
            }
            match (call.method, reply) {
                // An entry that is reported as ended may be deleted, so `ended` is never made up.
                (Method::Read, _) => {
                    let lie = tape.draw(inputs::entry);
                    JournalReply::Entry((!lie.contains("ended") && !tape.one_in(3)).then_some(lie))
                }
                (Method::List, _) => JournalReply::Keys((0..tape.below(4)).map(|_| tape.draw(inputs::text)).collect()),
                // An id that is reported as new may be sent, and one that is reported as deleted is free.
                (Method::Create, _) => JournalReply::Done(false),
                (Method::Replace | Method::Delete, JournalReply::Done(_)) => JournalReply::Done(tape.one_in(2)),
                (_, reply) => reply,
            }
        });
    }
}

/// Records a charging request, checks that it may be sent, and returns its index.
fn post(record: &Rc<RefCell<Record>>, world: &test_host::World, options: Options, namespace: &str, sent: &Sent) -> usize {
    let id = sent.operation.clone().unwrap_or_default();
    assert!(!id.is_empty(), "a charge has no operation");
    let record = &mut *record.borrow_mut();
    let entry = world.journal().get(&format!("{namespace}/{id}")).as_deref().and_then(decode);
    let discarded = record.discarding > 0 && entry.is_none();
    let sending = entry
        .as_ref()
        .is_some_and(|entry| entry.state == State::Sending || entry.step == custom_template_jobs::api::Step::Render);
    assert!(discarded || sending, "{id:?} is sent before its entry is written: {entry:?}");
    let estimate = match sent.endpoint {
        Endpoint::Submit => 5.0,
        Endpoint::Render => 4.0,
        _ => 1.0,
    };
    if let Some(budget) = options.budget.filter(|_| !options.lies && !options.foreign) {
        let unfree = record.posts.values().flatten().filter(|post| !post.is_free());
        let sum: f64 = unfree.map(|post| least(post, &record.used)).sum();
        assert!(sum + estimate <= budget, "{id:?} takes {estimate} of {budget} credits, of which {sum} are spent");
    }
    let posts = record.posts.entry(id.clone()).or_default();
    assert!(posts.iter().all(Post::is_free), "{id:?} is sent a second time: {posts:?}");
    let render = sent.path.ends_with("/render/").then(|| sent.job_id().to_owned());
    let owner = entry.map(|entry| entry.owner).unwrap_or_default();
    posts.push(Post { host: sent.host, owner, estimate, render, reply: None, discarded });
    posts.len() - 1
}

/// The least that a request costs.
fn least(post: &Post, used: &BTreeMap<String, f64>) -> f64 {
    let job = post.expected().and_then(|(_, job)| job);
    let reported = job.and_then(|job| used.get(&job)).copied().unwrap_or(f64::INFINITY);
    // Less than a thousandth may be rounded to 0.
    if reported < 0.001 { 0.0 } else { reported.min(post.estimate) }
}

/// Checks that a journal call is allowed.
fn check_call(
    record: &mut Record,
    options: Options,
    namespace: &str,
    call: &JournalCall,
    old: Option<&str>,
    reply: &JournalReply,
) {
    let Some(rest) = call.key.strip_prefix(namespace) else {
        assert!(options.lies, "{:?} is outside of the namespace", call.key);
        return;
    };
    if let Some(place) = rest.strip_prefix(":took/").filter(|_| call.method == Method::Write) {
        let written: Value = call.entry.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let kind = written["kind"].as_str().and_then(custom_template_jobs::hash::parse_hex).unwrap_or_default();
        assert_eq!(place, (kind % 1_000).to_string(), "{written}");
        assert!(written["ms"].as_f64().is_some_and(|ms| (0.0..=86_400_000.0).contains(&ms)), "{written}");
    }
    let Some(id) = rest.strip_prefix('/') else {
        let kinds = [":took/", ":open/", ":ended/", ":budget/"];
        assert!(
            options.lies || kinds.iter().any(|kind| rest.starts_with(kind)),
            "{:?} is not a key of this version",
            call.key
        );
        return;
    };
    assert!(call.method != Method::Write, "{id:?} is overwritten without a compare-and-set");
    if *reply != JournalReply::Done(true) {
        return;
    }
    let was = old.and_then(decode);
    match call.method {
        Method::Replace => {
            let written = call.new.as_deref().and_then(decode).unwrap_or_else(|| panic!("{call:?} writes no entry"));
            let Some(was) = was else { panic!("an unreadable entry is overwritten: {old:?}") };
            assert!(matches!(written.state, State::Bound | State::Ended), "{id:?} goes back to an earlier state: {call:?}");
            assert!(written.owner == was.owner, "{id:?} is changed by another attempt: {call:?}");
            assert!(was.state == State::Sending || was.state == State::Unknown || was.job == written.job, "{call:?}");
        }
        Method::Delete => {
            let Some(was) = was else { panic!("an unreadable entry is deleted: {old:?}") };
            if was.state == State::Ended {
                record.posts.remove(id);
                return;
            }
            let discarding = record.discarding > 0;
            let mut own = record.posts.get_mut(id).into_iter().flatten().filter(|post| post.owner == was.owner).peekable();
            // An entry without a request was never sent, unless it is from another process.
            let free = own.peek().is_some() || !options.foreign || was.owner.len() == 32;
            assert!(free || discarding || options.lies, "{id:?} is deleted: {was:?}");
            for post in own.filter(|post| !post.is_free()) {
                assert!(discarding, "{id:?} is deleted: {post:?}");
                post.discarded = true;
            }
        }
        _ => {}
    }
}

fn check_failure(name: &str, failure: &Failure) {
    assert!(failure.message().contains(' '), "{name} fails without a message: {failure:?}");
    assert!(failure.name().ends_with("Error"), "{failure:?}");
    match failure.kind() {
        ErrorKind::Api { retry_after_ms: Some(ms), .. } => assert!((1_000.0..=60_000.0).contains(ms), "{failure:?}"),
        ErrorKind::InvalidRequest { field } => assert!(!field.is_empty(), "{failure:?}"),
        _ => {}
    }
}

/// The entry in a text, if it can be read.
pub fn decode(text: &str) -> Option<Entry> {
    let value: Value = serde_json::from_str(text).ok()?;
    Entry::decode(Entry::NAMES.map(|name| member_of(value.get(name))))
}

/// The output of a future, or `None` if its caller aborts first.
async fn unless<T>(left: oneshot::Receiver<()>, work: impl Future<Output = T>) -> Option<T> {
    let (mut left, mut work) = (pin!(left), pin!(work));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => match left.as_mut().poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(None),
            // The sender is gone, so no abort can come.
            _ => Poll::Pending,
        },
    })
    .await
}
