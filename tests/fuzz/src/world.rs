//! A host that answers with whatever was made up, in any order, and keeps the books: what broke a rule panics at once.
//!
//! The rules, whatever comes from outside:
//! - a charge is posted only by whom the journal said that the operation is new, and again only where the former post was
//!   refused or proven unsent;
//! - the verdict on a post is what the README says: a 2xx is bound or unknown, and bound only with an id that was in it;
//! - what cannot be read in the journal is never written over and never removed, nor is a charge that is not known to be free;
//! - of how long jobs took nothing is written down that could not be;
//! - every call settles, once, and in time; a call that was left hears once that it is over;
//! - a failure has one of the names of the contract and a message, and what it asks to wait is from 1 to 60 seconds;
//! - no timer is given a time that it cannot take;
//! - a budget that clients share is not passed by what their charges are known to cost at least.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use custom_template_jobs::api::{Endpoint, is_uuid};
use custom_template_jobs::charge::{Entry, State};
use custom_template_jobs::client::{Client, Config, Wanted};
use custom_template_jobs::error::Failure;
use custom_template_jobs::host::{Answer, Env, Host, JournalCall, Request};
use custom_template_jobs::poll::Look;
use custom_template_jobs::value::Value as _;
use custom_template_jobs::value::place::Whole as _;

use crate::made_up::{self, IDS, OPERATIONS};
use crate::value::{Json, Value, mix};
use crate::{Drawn, Source};

/// The longest time that a timer can be given, in milliseconds.
const LONGEST: f64 = 2_147_483_647.0;
/// How much may happen after the last that was made up. A wait for a job is left before.
const PATIENCE: u32 = 5_000;
/// What proves that a request never left: the README's word, not the library's.
const NEVER_SENT: [&str; 3] = ["ECONNREFUSED", "ENOTFOUND", "ConnectionRefused"];
const NAMES: [&str; 10] = [
    "InvalidRequestError",
    "ApiError",
    "ConnectionError",
    "ChargeUnknownError",
    "JobFailedError",
    "PollTimeoutError",
    "IncompleteResultError",
    "BudgetExceededError",
    "OperationConflictError",
    "JournalError",
];

/// What a world is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many calls there are at most.
    pub calls: u32,
    /// Whether the journal holds what others wrote, or nobody.
    pub foreign: bool,
    /// Whether the journal fails and says what is not so; but never that an operation is new which is not.
    pub lies: bool,
    /// What clients with one budget may spend together; NaN where there is no limit.
    pub budget: f64,
}

/// One thing that a task waits for.
#[derive(Debug)]
struct Wait {
    run: u32,
    task: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Answer { request: Box<Request<Json>>, due: f64 },
    Sleep { due: f64 },
    Journal { call: JournalCall, key: Rc<str>, entry: Json },
    List,
    Alarm { call: usize, due: f64 },
}

impl What {
    /// When time alone ends it.
    const fn due(&self) -> Option<f64> {
        match self {
            Self::Answer { due, .. } | Self::Sleep { due, .. } | Self::Alarm { due, .. } => Some(*due),
            Self::Journal { .. } | Self::List => None,
        }
    }

    const fn is_timer(&self) -> bool {
        matches!(self, Self::Sleep { .. } | Self::Alarm { .. })
    }
}

#[derive(Debug, Default)]
struct Call {
    run: u32,
    task: u32,
    wanted: Option<Wanted>,
    begun: f64,
    /// How long its caller waits, where that was said.
    timeout: f64,
    left: bool,
    /// Its time is over: it settles now, and what it began goes on without it.
    late: bool,
    outcome: Option<Result<Json, Json>>,
    over: bool,
}

/// What is known of an operation.
#[derive(Debug, Default)]
struct Operation {
    /// The verdicts that its posts deserve, in words; `None` while one is under way.
    posts: Vec<Option<&'static str>>,
    /// The reply of the last one, until the client says what it makes of it.
    reply: Option<Json>,
    render: Option<Rc<str>>,
    job: Option<Rc<str>>,
    estimate: f64,
}

impl Operation {
    fn is_free(&self) -> bool {
        self.posts.iter().all(|post| matches!(post, Some("rejected" | "not_sent")))
    }
}

/// Everything but the client.
#[derive(Debug)]
struct Surroundings {
    options: Options,
    now: f64,
    drawn: u64,
    run: u32,
    waits: Vec<Wait>,
    calls: Vec<Call>,
    namespace: String,
    journal: BTreeMap<Rc<str>, Json>,
    /// The keys that this journal said are new, and that were not removed since.
    created: BTreeSet<Rc<str>>,
    /// The keys and jobs of what was to be written, whether it was or not, and of what was made up: who writes or reads of a
    /// job knows of it.
    named: BTreeSet<(Rc<str>, String)>,
    operations: BTreeMap<Rc<str>, Operation>,
    /// The least that a job was said to have used, in credits.
    used: BTreeMap<Rc<str>, f64>,
    env: Env,
    lists: bool,
    shares: bool,
    /// Whether somebody reads what happens: where a seed was chosen.
    told: bool,
}

/// The host of one client.
#[derive(Clone, Debug)]
pub struct Tab(Rc<RefCell<Surroundings>>, u32);

/// A client, and all that is around it.
#[derive(Debug)]
pub struct World {
    state: Rc<RefCell<Surroundings>>,
    client: Client<Tab>,
    config: Config<Value>,
}

impl World {
    /// With what the journal holds from the start.
    pub fn new(options: Options, source: &mut Source<'_>) -> Drawn<Self> {
        let mut config = Config::new(Value::text("https://api.test"), Value::text("me"));
        config.max_credits = options.budget;
        config.budget_key = if options.budget.is_nan() { Value::nothing() } else { Value::text("november") }.into();
        let namespace = config.namespace.own().written();
        let mut journal = BTreeMap::new();
        if options.foreign {
            let render = format!("render:{}", IDS[0]);
            let operations = OPERATIONS.into_iter().chain([render.as_str(), ""]).map(|id| format!("{namespace}/{id}"));
            let spent = ["op=1", "x", ""].map(|spent| format!("{namespace}:budget:november/{spent}"));
            for key in operations.chain(spent) {
                if source.arbitrary()? {
                    journal.insert(key.into(), made_up::entry(source)?);
                }
            }
            journal.insert("somebody/else".into(), made_up::entry(source)?);
            for kind in (0..9).map(made_up::kind) {
                journal.insert(format!("{namespace}:took/{}", kind % 1_000.0).into(), made_up::duration(source, kind)?);
            }
        }
        let state = Surroundings {
            options,
            now: 0.0,
            drawn: source.arbitrary()?,
            run: 0,
            waits: Vec::new(),
            calls: Vec::new(),
            namespace,
            journal,
            created: BTreeSet::new(),
            named: BTreeSet::new(),
            operations: BTreeMap::new(),
            used: BTreeMap::new(),
            env: Env { visible: true, online: true },
            lists: source.arbitrary()?,
            shares: source.ratio(3, 4)?,
            told: crate::chosen_seed().is_some(),
        };
        let state = Rc::new(RefCell::new(state));
        let client = Client::new(Tab(Rc::clone(&state), 0), config.clone());
        Ok(Self { state, client, config })
    }

    /// Lets happen what the data says, then all that is left, and looks at the books.
    pub fn run(mut self, source: &mut Source<'_>) -> Drawn<()> {
        let mut begun = 0;
        while !source.is_empty() {
            match source.int_in_range(0..=40)? {
                0..=7 if begun < self.state.borrow().options.calls => {
                    begun += 1;
                    self.begin(source)?;
                }
                8 => self.leave(source)?,
                9 if source.ratio(1, 4)? => self.restart(),
                10 => {
                    let env = Env { visible: source.arbitrary()?, online: source.ratio(3, 4)? };
                    self.state.borrow_mut().env = env;
                }
                _ if self.deliver(source)? => {}
                _ if begun < self.state.borrow().options.calls => {
                    begun += 1;
                    self.begin(source)?;
                }
                _ => break,
            }
        }
        self.settle_down()
    }

    /// From here on the answers are plain and the journal is honest: every call comes to its end.
    fn settle_down(mut self) -> Drawn<()> {
        let calm = &mut Source::new(&[]);
        self.state.borrow_mut().options.lies = false;
        self.state.borrow_mut().env = Env { visible: true, online: true };
        let calls = self.state.borrow().calls.len();
        for call in 0..calls {
            let is_poll = self.state.borrow().calls[call].wanted == Some(Wanted::Poll);
            if is_poll && self.state.borrow().waits_for(call) {
                self.leave_call(call);
            }
        }
        let mut happened = 0;
        while self.deliver(calm)? {
            happened += 1;
            assert!(happened < PATIENCE, "it never ends: {:?}", self.state.borrow().waits);
        }
        {
            let state = &*self.state.borrow();
            for (number, call) in state.calls.iter().enumerate().filter(|(_, call)| call.run == state.run) {
                assert!(call.outcome.is_some() || call.left, "call {number} never settled: {call:?}");
                assert!(
                    call.over || !(call.left || call.late) || call.task == 0,
                    "call {number} was left and is not over: {call:?}"
                );
            }
        }
        // Whoever comes later hears of every operation that is open.
        self.restart();
        self.call(Wanted::Pending, &Json::record(), f64::NAN);
        while self.deliver(calm)? {}
        let state = &*self.state.borrow();
        let Some(Call { outcome: Some(Ok(listed)), .. }) = state.calls.last() else { panic!("pending() fails") };
        let Json::List(listed) = listed else { panic!("pending() lists nothing: {}", listed.written()) };
        let listed: BTreeSet<String> = listed.iter().map(|one| one.get("operation").as_text().into()).collect();
        for (key, entry) in &state.journal {
            let Some(operation) = key.strip_prefix(&format!("{}/", state.namespace)) else { continue };
            let open = decode(entry).is_some_and(|entry| entry.state != State::Ended);
            assert_eq!(listed.contains(operation), open, "pending() and {operation:?}: {}", entry.written());
        }
        for (id, operation) in state.operations.iter().filter(|(_, operation)| !operation.is_free()) {
            let entry = state.journal.get(state.key(id).as_str()).unwrap_or_else(|| panic!("{id} is lost: {operation:?}"));
            assert!(decode(entry).is_some(), "{id} cannot be read any more: {}", entry.written());
        }
        Ok(())
    }

    fn begin(&self, source: &mut Source<'_>) -> Drawn<()> {
        let id = Json::text(source.choose(&IDS)?);
        let endpoints = [
            Endpoint::Submit,
            Endpoint::Render,
            Endpoint::PreviewAsync,
            Endpoint::PreviewSync,
            Endpoint::Get,
            Endpoint::Templates,
        ];
        let (wanted, mut given) = match source.int_in_range(0..=11)? {
            7 => (Wanted::Endpoint(Endpoint::RemainingCredits), Json::record()),
            8 => (Wanted::Pending, Json::record()),
            9 => {
                let operation = Json::text(source.choose(&OPERATIONS)?);
                let job = if source.arbitrary()? { Json::Nothing } else { id };
                (Wanted::Settle, Json::record().with("id", &operation).with("jobId", &job))
            }
            10 | 11 => {
                let given = Json::record().with("id", &id);
                let given = given.with("until", &Json::text(source.choose(&["", "preview", "video", "done"])?));
                (
                    Wanted::Poll,
                    if source.arbitrary()? { given.with("job", &made_up::job(source, id.as_text())?) } else { given },
                )
            }
            at => {
                let endpoint = endpoints[at % endpoints.len()];
                let render = matches!(endpoint, Endpoint::Render | Endpoint::Get);
                let mut request = Json::record().with("variables", &Json::record()).with_text("template_id", IDS[2]);
                if source.ratio(1, 3)? {
                    request = request.with_text("webhook_url", "https://me.test/{operation}");
                }
                let given = Json::record().with("id", if render { &id } else { &Json::Nothing }).with("request", &request);
                let given = given.with_number("seconds", 30.0);
                let named = source.ratio(2, 3)?;
                let operation = if named { Json::text(source.choose(&OPERATIONS)?) } else { Json::Nothing };
                (Wanted::Endpoint(endpoint), given.with("operation", &operation))
            }
        };
        let mut timeout = f64::NAN;
        for key in ["timeout", "expectedMs", "maxInterval"] {
            if source.ratio(1, 3)? {
                let number = made_up::number(source)?;
                given = given.with_number(key, number);
                timeout = if key == "timeout" { number } else { timeout };
            }
        }
        self.call(wanted, &given, timeout);
        Ok(())
    }

    fn call(&self, wanted: Wanted, given: &Json, timeout: f64) {
        let number = {
            let state = &mut *self.state.borrow_mut();
            let (run, begun) = (state.run, state.now);
            state.tell(|| format!("call {}: {wanted:?} {:.300}", state.calls.len(), given.written()));
            state.calls.push(Call { run, wanted: Some(wanted), begun, timeout, ..Call::default() });
            state.calls.len() - 1
        };
        let task = self.client.start(wanted, given.clone().into(), &number);
        self.state.borrow_mut().calls[number].task = task;
    }

    fn leave(&self, source: &mut Source<'_>) -> Drawn<()> {
        let waiting: Vec<usize> = {
            let state = &*self.state.borrow();
            (0..state.calls.len()).filter(|call| state.waits_for(*call)).collect()
        };
        if !waiting.is_empty() {
            self.leave_call(*source.choose(&waiting)?);
        }
        Ok(())
    }

    fn leave_call(&self, number: usize) {
        let task = {
            let state = &mut *self.state.borrow_mut();
            state.tell(|| format!("the caller of call {number} leaves"));
            state.calls[number].left = true;
            state.calls[number].task
        };
        self.client.leave(task);
    }

    /// The process dies, and another comes: the journal is there, and nothing else. What was on the wire stays unknown.
    fn restart(&mut self) {
        let run = {
            let state = &mut *self.state.borrow_mut();
            state.run += 1;
            state.tell(|| "a restart".into());
            // What the journal was asked for in nobody's name was asked for before.
            state.waits.clear();
            state.run
        };
        self.client = Client::new(Tab(Rc::clone(&self.state), run), self.config.clone());
    }

    /// Lets one thing happen. Whether there was one.
    fn deliver(&self, source: &mut Source<'_>) -> Drawn<bool> {
        let wait = {
            let state = &mut *self.state.borrow_mut();
            let first = |is: &dyn Fn(&What) -> bool| state.waits.iter().position(|wait| is(&wait.what));
            let timer = (0..state.waits.len())
                .filter_map(|at| Some((at, state.waits[at].what.due()?)))
                .min_by(|one, other| one.1.total_cmp(&other.1));
            // A journal does things in the order in which it is asked; the network does not.
            let mut ready: Vec<usize> = first(&|what| matches!(what, What::Journal { .. })).into_iter().collect();
            ready.extend(
                (0..state.waits.len()).filter(|at| matches!(state.waits[*at].what, What::Answer { .. } | What::List)),
            );
            let at = match timer {
                _ if !ready.is_empty() && (timer.is_none() || source.ratio(15, 16)?) => *source.choose(&ready)?,
                Some((at, due)) => {
                    state.now = state.now.max(due);
                    at
                }
                None => return Ok(false),
            };
            let timed_out = state.waits[at].what.due().is_some_and(|due| state.now >= due);
            if !state.waits[at].what.is_timer() && !timed_out {
                let next = timer.map_or(f64::INFINITY, |(_, due)| due);
                state.now = (state.now + f64::from(source.int_in_range(0..=250_u8)?)).min(next.max(state.now));
            }
            state.waits.remove(at)
        };
        let Wait { run, task, what } = wait;
        if run != self.state.borrow().run {
            return Ok(true);
        }
        match what {
            What::Sleep { .. } => self.client.resume(task, Ok(Value::nothing())),
            What::Alarm { call, .. } => {
                let waits = self.state.borrow().calls[call].outcome.is_none();
                if waits {
                    self.state.borrow_mut().calls[call].late = true;
                    self.client.late(task);
                }
            }
            What::List => {
                let mut jobs = Json::list();
                for _ in 0..source.int_in_range(0..=3)? {
                    let id = source.choose(&IDS)?;
                    jobs = jobs.and(&made_up::job(source, id)?);
                }
                let answer = if source.ratio(1, 4)? { Err(jobs) } else { Ok(jobs) };
                self.client.resume(task, lent(answer));
            }
            What::Journal { call, key, entry } => {
                let answer = self.state.borrow_mut().journal(source, call, &key, &entry)?;
                if task > 0 {
                    self.client.resume(task, lent(answer));
                }
            }
            What::Answer { request, due } => {
                let late = self.state.borrow().now >= due;
                let id = IDS.into_iter().find(|id| request.url.as_text().contains(id)).unwrap_or(IDS[1]);
                let reply =
                    if late { Ok(Json::record().with("late", &Json::Bool(true))) } else { made_up::reply(source, id)? };
                self.state.borrow_mut().answered(&request, &reply);
                self.client.resume(task, lent(reply));
            }
        }
        Ok(true)
    }
}

/// An entry that can be read.
fn decode(entry: &Json) -> Option<Entry<Value>> {
    Entry::decode(entry.clone().into())
}

fn lent(answer: Answer<Json>) -> Answer<Value> {
    answer.map(Value::from).map_err(Value::from)
}

/// What a post deserves that had this reply, by the README; for a 2xx the client has to say.
fn deserved(reply: &Answer<Json>) -> &'static str {
    let Ok(reply) = reply else { return "unknown" };
    let status = reply.number_of("status");
    match status.max(0.0) as u16 {
        _ if reply.get("field").is_there() => "rejected",
        200..=299 => "2xx",
        400..=405 | 413..=415 | 422 | 429 | 431 => "rejected",
        0 if NEVER_SENT.contains(&reply.get("code").as_text()) => "not_sent",
        _ => "unknown",
    }
}

impl Surroundings {
    fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>16.1} {}", self.now, what());
        }
    }

    /// Whether somebody waits for a call.
    fn waits_for(&self, call: usize) -> bool {
        let call = &self.calls[call];
        call.run == self.run && call.outcome.is_none() && !call.left
    }

    fn key(&self, operation: &str) -> String {
        format!("{}/{operation}", self.namespace)
    }

    /// A task waits for one thing at a time; what the journal was asked for is done all the same.
    fn wait(&mut self, run: u32, task: u32, what: What) {
        if task > 0 {
            self.forget(run, task);
        }
        self.waits.push(Wait { run, task, what });
    }

    fn forget(&mut self, run: u32, task: u32) {
        for wait in self.waits.iter_mut().filter(|wait| wait.run == run && wait.task == task) {
            if matches!(wait.what, What::Journal { .. }) {
                wait.task = 0;
            }
        }
        self.waits.retain(|wait| wait.run != run || wait.task != task || matches!(wait.what, What::Alarm { .. }));
    }

    /// A charge leaves.
    fn posted(&mut self, request: &Request<Json>) {
        let id: Rc<str> = request.operation.as_text().into();
        self.tell(|| format!("  posts {id:?}"));
        assert!(!id.is_empty(), "a charge without an operation");
        let key = self.key(&id);
        assert!(self.created.contains(key.as_str()), "{id:?} is posted, and the journal never said that it is new");
        let entry = self.journal.get(key.as_str()).and_then(decode);
        assert_eq!(entry.map(|entry| entry.state), Some(State::Posting), "{id:?} is posted before it is written down");
        let estimate = match request.endpoint {
            Endpoint::Submit => 5.0,
            Endpoint::Render => 4.0,
            _ => 1.0,
        };
        if !self.options.lies && !self.options.foreign {
            let spent: f64 = self.operations.values().filter(|one| !one.is_free()).map(|one| self.least(one)).sum();
            let budget = self.options.budget;
            assert!(
                budget.is_nan() || spent + estimate <= budget,
                "{id:?} takes {estimate} of {budget} credits, of which {spent} are spent"
            );
        }
        let render = request.url.as_text().strip_suffix("/render/").and_then(|url| url.rsplit('/').next()).map(Rc::from);
        let operation = self.operations.entry(Rc::clone(&id)).or_default();
        assert!(operation.is_free(), "{id:?} is posted again: {operation:?}");
        operation.estimate = estimate;
        operation.render = render;
        operation.posts.push(None);
        operation.reply = None;
    }

    /// What an operation costs at least.
    fn least(&self, operation: &Operation) -> f64 {
        let told = operation.job.as_ref().and_then(|job| self.used.get(job)).copied().unwrap_or(f64::INFINITY);
        // What is next to nothing may be rounded to it.
        if told < 0.001 { 0.0 } else { told.min(operation.estimate) }
    }

    fn answered(&mut self, request: &Request<Json>, reply: &Answer<Json>) {
        self.tell(|| format!("  {:?} {}: {:.300}", request.endpoint, request.url.as_text(), format!("{reply:?}")));
        if let Ok(reply) = reply {
            let job = reply.get("body");
            let used = job.number_of("credits_used");
            if used > 0.0 {
                let least = self.used.entry(job.get("id").as_text().into()).or_insert(f64::INFINITY);
                *least = least.min(used);
            }
        }
        let Some(operation) = self.operations.get_mut(request.operation.as_text()) else { return };
        if request.endpoint.charges().is_none() {
            return;
        }
        if let Some(post) = operation.posts.last_mut() {
            *post = Some(deserved(reply));
        }
        operation.reply = Some(reply.clone().unwrap_or_else(|thrown| thrown));
    }

    /// What a client makes of a reply.
    fn judged(&mut self, event: &Json) {
        let (id, verdict) = (event.get("operation"), event.get("verdict"));
        // Jobs that other charges are for, as far as a client may know.
        let others = self.operations.iter().filter(|(other, _)| ***other != *id.as_text());
        let mut taken: Vec<String> = others.filter_map(|(_, other)| other.job.as_ref().map(ToString::to_string)).collect();
        let own = format!("{}/{}", self.namespace, id.as_text());
        let entries = self.journal.iter().map(|(key, entry)| (key, entry.get("job").as_text().to_owned()));
        let named = self.named.iter().map(|(key, job)| (key, job.clone()));
        taken.extend(entries.chain(named).filter(|(key, _)| ***key != *own).map(|(_, job)| job));
        let operation = self.operations.get_mut(id.as_text()).unwrap_or_else(|| panic!("{} was not posted", id.as_text()));
        let reply = operation.reply.take().unwrap_or_else(|| panic!("{} was not answered", id.as_text()));
        let Some(post) = operation.posts.last_mut() else { panic!("{} was not posted", id.as_text()) };
        let deserved = *post;
        if deserved != Some("2xx") {
            assert_eq!(Some(verdict.as_text()), deserved, "{}", reply.written());
            return;
        }
        let job = event.get("jobId");
        let mine = |id: &Json| {
            is_uuid(Value::from(id.clone()))
                && operation.render.as_ref().is_none_or(|render| id.as_text().eq_ignore_ascii_case(render))
        };
        let body = reply.get("body").get("id");
        match verdict.as_text() {
            "bound" => {
                assert!(mine(&job), "{job:?} for {:?}", operation.render);
                let told = format!("\"{}\"", job.as_text());
                assert!(body == job || reply.get("text").as_text().contains(&told), "{job:?} is not in {}", reply.written());
                operation.job = Some(job.as_text().into());
                *post = Some("bound");
            }
            "unknown" => {
                let anothers = operation.render.is_none() && taken.iter().any(|job| job == body.as_text());
                assert!(anothers || !mine(&body), "a job that was named is not bound: {}", reply.written());
                *post = Some("unknown");
            }
            other => panic!("a 2xx is {other}: {}", reply.written()),
        }
    }

    /// The journal does what it is asked, checks that it may be asked, and answers, perhaps with a lie.
    fn journal(&mut self, source: &mut Source<'_>, call: JournalCall, key: &Rc<str>, entry: &Json) -> Drawn<Answer<Json>> {
        let old = self.journal.get(key).cloned();
        self.tell(|| format!("  journal: {} {key} {:.300}", call.as_str(), entry.written()));
        let ours = format!("{}/", self.namespace);
        let took = key.strip_prefix(&format!("{}:took/", self.namespace));
        let budget = key.starts_with(&format!("{}:budget:november/", self.namespace));
        let known = budget || took.is_some() || key.starts_with(&ours);
        assert!(known || self.options.lies, "{key} is somebody else's");
        let honest = match call {
            JournalCall::Create => {
                if old.is_none() {
                    self.journal.insert(Rc::clone(key), entry.clone());
                }
                Json::Bool(old.is_none())
            }
            JournalCall::Read => old.unwrap_or(Json::Nothing),
            JournalCall::Write => {
                if let Some(place) = took {
                    let kind = entry.number_of("kind");
                    assert!(kind >= 0.0 && place == (kind % 1_000.0).to_string(), "{} at {place}", entry.written());
                    assert!((0.0..=86_400_000.0).contains(&entry.number_of("ms")), "{}", entry.written());
                } else if !budget {
                    let written = decode(entry).unwrap_or_else(|| panic!("{} is no entry", entry.written()));
                    assert!(matches!(written.state, State::Bound | State::Ended), "{} is taken back", entry.written());
                    let old = old.unwrap_or(Json::Nothing);
                    assert!(self.options.lies || decode(&old).is_some(), "{} is written over", old.written());
                }
                self.journal.insert(Rc::clone(key), entry.clone());
                Json::Nothing
            }
            JournalCall::Delete if entry.is_there() && old.as_ref() != Some(entry) => Json::Nothing,
            JournalCall::Delete => {
                if !budget && let Some(old) = &old {
                    let ended = decode(old).is_some_and(|entry| entry.state == State::Ended);
                    let operation = key.strip_prefix(&ours).and_then(|id| self.operations.get(id));
                    let free = self.created.contains(key) && operation.is_none_or(Operation::is_free);
                    assert!(ended || free || self.options.lies, "{key} is forgotten: {} {operation:?}", old.written());
                    if ended && let Some(id) = key.strip_prefix(&ours) {
                        self.operations.remove(id);
                    }
                }
                self.created.remove(key);
                self.journal.remove(key);
                Json::Nothing
            }
            JournalCall::List => {
                let keys = self.journal.keys().filter(|other| other.starts_with(&**key));
                Json::List(Rc::new(keys.map(|key| Json::Text(Rc::clone(key))).collect()))
            }
        };
        let new = call == JournalCall::Create && honest.is_true();
        if self.options.lies && source.ratio(1, 6)? {
            if source.arbitrary()? {
                return Ok(Err(made_up::text(source)?));
            }
            let lie = match call {
                JournalCall::Read if took.is_some() => {
                    let kind = made_up::kind(source.int_in_range(0..=8)?);
                    made_up::duration(source, kind)?
                }
                JournalCall::Read => made_up::entry(source)?,
                _ => made_up::json(source, 0)?,
            };
            // What is said to have ended may be forgotten, and what is said to be new may be posted.
            if !lie.is_true() && lie.get("state").as_text() != "ended" {
                self.named.insert((Rc::clone(key), lie.get("job").as_text().to_owned()));
                return Ok(Ok(lie));
            }
        }
        if new {
            self.created.insert(Rc::clone(key));
        }
        Ok(Ok(honest))
    }
}

fn check_time(ms: f64, what: &str) {
    // What is added to the time and taken away again is rounded.
    assert!((0.0..=LONGEST + 0.001).contains(&ms), "{what} of {ms} ms");
}

impl Host for Tab {
    type Value = Value;
    type Call = usize;

    fn send(&self, task: u32, request: Request<Value>) {
        let Request { endpoint, url, body, operation, shared, timeout } = request;
        let [url, body, operation, shared] = [url, body, operation, shared].map(custom_template_jobs::value::Value::own);
        let request = Request { endpoint, url, body, operation, shared, timeout };
        check_time(request.timeout, "a timeout");
        let state = &mut *self.0.borrow_mut();
        if request.endpoint.charges().is_some() {
            state.posted(&request);
        }
        let due = state.now + request.timeout;
        state.wait(self.1, task, What::Answer { request: Box::new(request), due });
    }

    fn sleep(&self, task: u32, ms: f64, _light: bool) {
        check_time(ms, "a sleep");
        let state = &mut *self.0.borrow_mut();
        let due = state.now + ms;
        state.wait(self.1, task, What::Sleep { due });
    }

    fn forget(&self, task: u32) {
        self.0.borrow_mut().forget(self.1, task);
    }

    fn journal(&self, task: u32, call: JournalCall, key: Value, entry: Value) {
        let (key, entry): (Rc<str>, _) = (key.own().as_text().into(), entry.own());
        let state = &mut *self.0.borrow_mut();
        if call == JournalCall::Write && entry.get("job").is_there() {
            state.named.insert((Rc::clone(&key), entry.get("job").as_text().to_owned()));
        }
        state.wait(self.1, task, What::Journal { call, key, entry });
    }

    fn list_jobs(&self, task: u32, since: f64) -> bool {
        let state = &mut *self.0.borrow_mut();
        let lists = state.lists && !since.is_nan();
        if lists {
            state.wait(self.1, task, What::List);
        }
        lists
    }

    fn settle(&self, call: &usize, result: Result<Value, Failure<Value>>) {
        let result = result.map(Value::own);
        let state = &mut *self.0.borrow_mut();
        let now = state.now;
        state.tell(|| {
            format!("call {call} settles: {:.300}", format!("{:?}", result.as_ref().map_err(|failure| failure.get("name"))))
        });
        let heard = &mut state.calls[*call];
        assert!(heard.outcome.is_none() && !heard.left, "call {call} settles again, or was left: {heard:?}");
        if let Some(Wanted::Endpoint(endpoint)) = heard.wanted
            && endpoint.charges().is_some()
            && heard.timeout >= 0.0
        {
            assert!(now <= heard.begun + heard.timeout, "call {call} settles late, at {now}: {heard:?}");
        }
        heard.outcome = Some(match result {
            Ok(value) => {
                if matches!(heard.wanted, Some(Wanted::Endpoint(endpoint)) if endpoint.charges().is_some() || endpoint == Endpoint::Get)
                {
                    assert!(is_uuid(Value::from(value.get("id"))), "call {call} gives no job: {}", value.written());
                }
                Ok(value)
            }
            Err(failure) => {
                let name = failure.get("name").own();
                assert!(NAMES.contains(&name.as_text()), "call {call} fails with {name:?}");
                assert!(failure.get("message").own().matches(r"\S+ \S+"), "call {call} fails without a word: {name:?}");
                let asked = failure.get("retryAfterMs").own();
                assert!(!asked.is_there() || (1_000.0..=60_000.0).contains(&asked.as_number()), "it asks for {asked:?}");
                Err(name)
            }
        });
    }

    fn over(&self, call: &usize) {
        let state = &mut *self.0.borrow_mut();
        let heard = &mut state.calls[*call];
        assert!((heard.left || heard.late) && !heard.over, "call {call} is over, and was not left: {heard:?}");
        heard.over = true;
    }

    fn update(&self, call: &usize, job: Value, look: Look) {
        let job = job.own();
        let state = &mut *self.0.borrow_mut();
        let heard = &state.calls[*call];
        assert!(heard.outcome.is_none() && !heard.left, "call {call} hears of a change after its end");
        assert!(is_uuid(Value::from(job.get("id"))), "{}", job.written());
        // What a timer can be given is expected at most, and what progress tells is at most 40 times the wait.
        assert!(look.in_ms.is_finite() && look.remaining_ms <= 100.0 * LONGEST, "{look:?}");
    }

    fn alarm(&self, call: &usize, task: u32, ms: f64) {
        assert!(ms >= 0.0 && ms.is_finite(), "an alarm in {ms} ms");
        if ms > LONGEST {
            return;
        }
        let state = &mut *self.0.borrow_mut();
        let due = state.now + ms;
        state.waits.push(Wait { run: self.1, task, what: What::Alarm { call: *call, due } });
    }

    fn now(&self) -> f64 {
        self.0.borrow().now
    }

    fn wall(&self) -> f64 {
        1_795_000_000_000.0 + self.0.borrow().now
    }

    fn random(&self) -> f64 {
        let state = &mut *self.0.borrow_mut();
        state.drawn = mix(state.drawn, b"random");
        (state.drawn >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn uuid(&self) -> Value {
        let state = &mut *self.0.borrow_mut();
        state.drawn = mix(state.drawn, b"uuid");
        Value::text_of(&format!("{:08x}-0000-4000-8000-{:012x}", state.drawn >> 32, state.drawn & 0xffff_ffff_ffff))
    }

    fn env(&self) -> Env {
        self.0.borrow().env
    }

    fn shares(&self) -> bool {
        self.0.borrow().shares
    }

    fn event(&self, event: Value) {
        let event = event.own();
        if event.get("type").as_text() == "verdict" {
            self.0.borrow_mut().judged(&event);
        }
    }
}
