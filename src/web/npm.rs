//! The exports of the npm build: numbers and one object for each call; the facade in `pkg-template` gives them their names.
//!
//! `start` begins a call and `resume` continues it; the call's own object hears how it ends, through
//! `resolve(value)`, `reject(record)` and `update(job, look)`.

use std::cell::RefCell;
use std::future::{Future, ready};
use std::mem::{self, ManuallyDrop};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use js_sys::{Array, Object};
use wasm_bindgen::prelude::*;

use super::drive::CURRENT;
use super::host::WebHost;
use super::js::{field, holds, method, set, set_number, set_text};
use crate::api::{Endpoint, Goal, Step, model_of};
use crate::client::{Calling, ChargeOptions, Client, Config, Failure, Operation, PollOptions, Sink, Watches, credits_of};
use crate::credits::{Price, PriceTable};
use crate::error::{Error, Reason, digits};
use crate::host::Host;
use crate::poll::Look;
use crate::value::Value;

/// Half the size of the standard one, and as fast for the few small things that live here.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

type Task = Pin<Box<dyn Future<Output = ()>>>;

enum Slot {
    Free,
    Waiting(Task),
    Running,
    /// Cancelled while it ran: dropped as soon as it returns.
    Doomed,
}

thread_local! {
    // Nothing is ever dropped at the end of the one thread, and what needs no drop needs no guard at each use.
    static TASKS: RefCell<ManuallyDrop<Vec<Slot>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
    static CLIENTS: RefCell<ManuallyDrop<Vec<Option<Client<WebHost>>>>> =
        const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// Begins a task; its number, from 1, or 0 where it is over already.
pub fn spawn(task: Task) -> u32 {
    let number = TASKS.with_borrow_mut(|tasks| {
        let at = tasks.iter().position(|slot| matches!(slot, Slot::Free)).unwrap_or(tasks.len());
        match tasks.get_mut(at) {
            Some(slot) => *slot = Slot::Waiting(task),
            None => tasks.push(Slot::Waiting(task)),
        }
        at as u32 + 1
    });
    if resume(number) { 0 } else { number }
}

/// Puts something else in a task's place. No borrow outlives this: a task may start and cancel tasks.
fn exchange(number: u32, next: Slot) -> Slot {
    TASKS.with_borrow_mut(|tasks| match tasks.get_mut((number as usize).wrapping_sub(1)) {
        Some(slot) => mem::replace(slot, next),
        None => Slot::Free,
    })
}

/// Polls a task once: something that it waited for is there. Whether the task is over.
#[wasm_bindgen]
pub fn resume(number: u32) -> bool {
    let mut task = match exchange(number, Slot::Running) {
        Slot::Waiting(task) => task,
        other => {
            exchange(number, other);
            return false;
        }
    };
    let outer = CURRENT.replace(number);
    let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    CURRENT.set(outer);
    let over = polled.is_ready();
    let next = if over { Slot::Free } else { Slot::Waiting(task) };
    if matches!(exchange(number, next), Slot::Doomed) {
        drop(exchange(number, Slot::Free));
    }
    over
}

/// Drops a task. A charge that is under way goes on by itself.
#[wasm_bindgen]
pub fn cancel(number: u32) {
    if matches!(exchange(number, Slot::Free), Slot::Running | Slot::Doomed) {
        exchange(number, Slot::Doomed);
    }
}

/// Sets up a client over the facade's plumbing; its number.
#[wasm_bindgen]
pub fn connect(plumbing: JsValue) -> u32 {
    let options = field(&plumbing, "options");
    let mut config =
        Config::new(&options.text("baseUrl").unwrap_or_else(|| Config::BASE_URL.into()), &word(&options, "apiId"));
    take_positive(&options, "timeout", &mut config.timeout);
    take_positive(&options, "previewTimeout", &mut config.preview_timeout);
    config.max_retries = options.number("maxRetries").map_or(config.max_retries, |retries| retries as u32);
    config.max_credits = options.number("maxCredits");
    config.idempotency_header = holds(&plumbing, "idempotencyHeader");
    if let Some(table) = options.get("prices") {
        config.prices = prices(&table);
    }
    let client = Client::new(WebHost::new(plumbing), config);
    CLIENTS.with_borrow_mut(|clients| {
        let at = clients.iter().position(Option::is_none).unwrap_or(clients.len());
        match clients.get_mut(at) {
            Some(slot) => *slot = Some(client),
            None => clients.push(Some(client)),
        }
        at as u32
    })
}

/// Forgets a client. Charges that are under way go on.
#[wasm_bindgen]
pub fn disconnect(client: u32) {
    let gone = CLIENTS.with_borrow_mut(|clients| clients.get_mut(client as usize).and_then(Option::take));
    drop(gone);
}

fn client_of(number: u32) -> Option<Client<WebHost>> {
    CLIENTS.with_borrow(|clients| clients.get(number as usize).cloned().flatten())
}

/// A field as a text, empty where it is none.
fn word(object: &JsValue, key: &str) -> String {
    object.text(key).unwrap_or_default()
}

/// A price table of JavaScript: `{ preview: { credits, seconds }, ... }`; what is left out costs what it costs by default.
fn prices(table: &JsValue) -> PriceTable {
    let mut prices = PriceTable::SEED;
    take_price(table, "preview", &mut prices.preview);
    take_price(table, "submit", &mut prices.submit);
    take_price(table, "render", &mut prices.render);
    take_price(table, "aurora_v1", &mut prices.aurora_v1);
    take_price(table, "aurora_v1_fast", &mut prices.aurora_v1_fast);
    prices
}

fn take_price(table: &JsValue, key: &str, price: &mut Price) {
    if let Some(given) = table.get(key) {
        take_positive(&given, "credits", &mut price.credits);
        take_positive(&given, "seconds", &mut price.seconds);
    }
}

/// Takes a field where it is a number above 0.
fn take_positive(object: &JsValue, key: &str, into: &mut f64) {
    if let Some(number) = object.number(key)
        && number > 0.0
    {
        *into = number;
    }
}

/// What a call wants, by number: the order is the facade's too.
const SUBMIT: u32 = 0;
const PREVIEW_ASYNC: u32 = 1;
const PREVIEW_SYNC: u32 = 2;
const RENDER: u32 = 3;
const GET: u32 = 4;
const TEMPLATES: u32 = 5;
const REMAINING_CREDITS: u32 = 6;
const ESTIMATE: u32 = 7;
const PENDING: u32 = 8;
const SETTLE: u32 = 9;
const POLL: u32 = 10;

/// Begins a call; the number of its task, or 0 where it is over already.
#[wasm_bindgen]
pub fn start(client: u32, operation: u32, call: JsValue) -> u32 {
    let Some(client) = client_of(client) else { return 0 };
    if operation == POLL {
        return begin_watch(&client, &Watches::default(), call).1;
    }
    let calling = perform(&client, operation, &call);
    spawn(Box::pin(async move {
        let mut result = calling.await;
        if operation == REMAINING_CREDITS {
            result = result.and_then(|answer| credits_of(answer).map(JsValue::from));
        }
        CallSink(call).end(result.as_ref());
    }))
}

fn perform(client: &Client<WebHost>, operation: u32, call: &JsValue) -> Calling<JsValue> {
    let id = word(call, "id");
    let request = call.get("request");
    let timeout = call.number("timeout");
    let patience = timeout.filter(|ms| *ms > 0.0);
    let client = client.clone();
    match operation {
        SUBMIT..=RENDER => {
            let endpoint = match operation {
                PREVIEW_ASYNC => Endpoint::PreviewAsync,
                PREVIEW_SYNC => Endpoint::PreviewSync,
                RENDER => Endpoint::Render,
                _ => Endpoint::Submit,
            };
            let renders = operation == RENDER;
            let render = renders.then_some(id);
            let request = request.or((!renders).then_some(JsValue::NULL));
            let (operation, seconds) = (call.text("operation"), call.number("seconds"));
            client.charge(endpoint, render, request, ChargeOptions { operation, seconds, timeout })
        }
        GET => client.get(&id, patience),
        TEMPLATES => client.templates(patience),
        REMAINING_CREDITS => client.balance(patience),
        PENDING => {
            let calling = client.pending();
            Box::pin(async move {
                let list: JsValue = Array::new().into();
                for (at, operation) in calling.await?.iter().enumerate() {
                    set(&list, &digits(at as u64), &operation_record(operation));
                }
                Ok(list)
            })
        }
        SETTLE => {
            let calling = client.settle(&id, call.text("jobId"));
            Box::pin(async move { Ok(operation_record(&calling.await?)) })
        }
        ESTIMATE => {
            let credits = estimate(&client, &request.unwrap_or(JsValue::NULL));
            Box::pin(ready(credits.map(JsValue::from).map_err(Failure::from)))
        }
        _ => Box::pin(ready(Err(Error::invalid("call", &["is not known"]).into()))),
    }
}

fn estimate(client: &Client<WebHost>, question: &JsValue) -> Result<f64, Error> {
    let step = Step::parse(&word(question, "step"));
    let step = step.ok_or_else(|| Error::invalid("step", &["must be submit, preview or render"]))?;
    let model = model_of(question)?;
    client.estimate(step, question.number("seconds").unwrap_or(0.0), model)
}

fn poll_options(call: &JsValue) -> PollOptions {
    PollOptions {
        until: call.text("until").map(|until| if until == "preview" { Goal::Preview } else { Goal::Video }),
        timeout: field(call, "timeout").as_f64(),
        expected_ms: call.number("expectedMs"),
        max_interval: call.number("maxInterval"),
        attentive: holds(call, "attentive"),
    }
}

/// Watches a job together with the client's other ones; the number of the watcher, or 0 where the wait is over already.
#[wasm_bindgen]
pub fn watch(client: u32, call: JsValue) -> u32 {
    let Some(client) = client_of(client) else { return 0 };
    begin_watch(&client, client.watches(), call).0
}

/// The number of the watcher and that of the task that looks.
fn begin_watch(client: &Client<WebHost>, watches: &Watches<JsValue>, call: JsValue) -> (u32, u32) {
    let id = word(&call, "id");
    let (job, options) = (call.get("job"), poll_options(&call));
    let sink = Rc::new(CallSink(call));
    let told = Rc::clone(&sink) as Rc<dyn Sink<JsValue>>;
    match client.watch(watches, &id, job.as_ref(), options, told) {
        Ok(0) => (0, 0),
        // A run that is under way already serves this watcher too: this one then returns at once.
        Ok(key) => (key, spawn(client.run(watches))),
        Err(error) => {
            sink.end(Err(&error.into()));
            (0, 0)
        }
    }
}

/// Forgets a watcher.
#[wasm_bindgen]
pub fn unwatch(client: u32, key: u32) {
    if let Some(client) = client_of(client) {
        client.watches().unwatch(key);
        client.host().wake();
    }
}

/// The call of the facade, which hears how it ends.
struct CallSink(JsValue);

impl CallSink {
    fn tell(&self, name: &str, first: &JsValue, second: &JsValue) {
        // The facade's own methods do not throw; what its caller throws it reports by itself.
        let _ = method(&self.0, name, first, second);
    }
}

impl Sink<JsValue> for CallSink {
    fn update(&self, job: &JsValue, look: Look) {
        let info: JsValue = Object::new().into();
        if let Some(remaining) = look.remaining_ms {
            set_number(&info, "remainingMs", remaining);
        }
        set_number(&info, "nextLookMs", look.in_ms);
        self.tell("update", job, &info);
    }

    fn end(&self, result: Result<&JsValue, &Failure<JsValue>>) {
        match result {
            Ok(value) => self.tell("resolve", value, &JsValue::UNDEFINED),
            Err(failure) => self.tell("reject", &failure_record(failure), &JsValue::UNDEFINED),
        }
    }
}

fn operation_record(operation: &Operation) -> JsValue {
    let record: JsValue = Object::new().into();
    set_text(&record, "operation", Some(&operation.operation));
    set_text(&record, "step", Some(operation.entry.step.as_str()));
    set_text(&record, "state", Some(operation.entry.state_name()));
    set_number(&record, "at", operation.entry.at as f64);
    set_text(&record, "jobId", operation.entry.job());
    record
}

/// An error as plain data; the facade makes the `Error` of it.
fn failure_record(failure: &Failure<JsValue>) -> JsValue {
    let record: JsValue = Object::new().into();
    let error = failure.error();
    set_text(&record, "name", Some(error.name()));
    set_text(&record, "message", Some(error.message()));
    set_text(&record, "operation", error.operation());
    set_text(&record, "jobId", error.job_id());
    set_text(&record, "field", error.field());
    set_text(&record, "text", failure.text());
    for (key, value) in [("job", failure.job()), ("body", failure.body()), ("cause", failure.cause())] {
        if let Some(value) = value {
            set(&record, key, value);
        }
    }
    match error.reason() {
        Reason::Api { status, kind, retry_after_ms } => {
            set_number(&record, "status", (*status).into());
            set_text(&record, "kind", Some(kind.as_str()));
            if let Some(wait) = retry_after_ms {
                set_number(&record, "retryAfterMs", *wait);
            }
        }
        Reason::Connection { sent } => set(&record, "sent", &(*sent).into()),
        Reason::JobFailed { reason } => set_text(&record, "reason", Some(reason)),
        Reason::BudgetExceeded { estimate, remaining } => {
            set_number(&record, "estimate", *estimate);
            set_number(&record, "remaining", *remaining);
        }
        _ => {}
    }
    record
}
