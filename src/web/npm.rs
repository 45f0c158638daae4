//! The exports of the npm build: numbers and one object for each call; the facade in `pkg-template` gives them their names.
//!
//! `start` begins a call and `resume` continues it; the call's own object hears how it ends, through
//! `resolve(value)`, `reject(record)` and `update(job, look)`.

use std::cell::RefCell;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use js_sys::{Array, Object};
use wasm_bindgen::prelude::*;

use super::drive::CURRENT;
use super::host::WebHost;
use super::js::{method, set, text};
use crate::api::{Endpoint, Goal, ModelVersion, Step};
use crate::client::{ChargeOptions, Client, Config, Failure, Operation, PollOptions, Sink, Watches};
use crate::credits::{Price, PriceTable};
use crate::error::{Error, Reason};
use crate::host::Host;
use crate::poll::Look;
use crate::value::{Kind, Value};

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
    static TASKS: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
    static CLIENTS: RefCell<Vec<Option<Client<WebHost>>>> = const { RefCell::new(Vec::new()) };
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
fn exchange(number: u32, with: impl FnOnce(&Slot) -> Option<Slot>) -> Slot {
    TASKS.with_borrow_mut(|tasks| {
        let slot = tasks.get_mut((number as usize).wrapping_sub(1));
        match slot.and_then(|slot| with(slot).map(|next| mem::replace(slot, next))) {
            Some(before) => before,
            None => Slot::Free,
        }
    })
}

/// Polls a task once: something that it waited for is there. Whether the task is over.
#[wasm_bindgen]
pub fn resume(number: u32) -> bool {
    let taken = exchange(number, |slot| matches!(slot, Slot::Waiting(_)).then_some(Slot::Running));
    let Slot::Waiting(mut task) = taken else { return false };
    let outer = CURRENT.replace(number);
    let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    CURRENT.set(outer);
    if polled.is_ready() {
        exchange(number, |_| Some(Slot::Free));
        return true;
    }
    let mut task = Some(task);
    exchange(number, |slot| match slot {
        Slot::Doomed => Some(Slot::Free),
        _ => task.take().map(Slot::Waiting),
    });
    false
}

/// Drops a task. A charge that is under way goes on by itself.
#[wasm_bindgen]
pub fn cancel(number: u32) {
    drop(exchange(number, |slot| match slot {
        Slot::Waiting(_) => Some(Slot::Free),
        Slot::Running => Some(Slot::Doomed),
        Slot::Free | Slot::Doomed => None,
    }));
}

/// Sets up a client over the facade's plumbing; its number.
#[wasm_bindgen]
pub fn connect(plumbing: JsValue) -> u32 {
    let options = plumbing.get("options").unwrap_or(JsValue::UNDEFINED);
    let mut config = Config::new(
        &options.text("baseUrl").unwrap_or_else(|| Config::BASE_URL.into()),
        &options.text("apiId").unwrap_or_default(),
    );
    let positive = |key: &str| options.number(key).filter(|ms| *ms > 0.0);
    config.timeout = positive("timeout").unwrap_or(config.timeout);
    config.preview_timeout = positive("previewTimeout").unwrap_or(config.preview_timeout);
    config.max_retries = options.number("maxRetries").map_or(config.max_retries, |retries| retries as u32);
    config.max_credits = options.number("maxCredits");
    config.idempotency_header = plumbing.get("idempotencyHeader").is_some_and(|given| given.is_truthy());
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

/// A price table of JavaScript: `{ preview: { credits, seconds }, ... }`; what is left out costs what it costs by default.
fn prices(table: &JsValue) -> PriceTable {
    let seed = PriceTable::SEED;
    let price = |key: &str, default: Price| {
        let given = table.get(key);
        let number = |name: &str| given.as_ref().and_then(|price| price.number(name)).filter(|number| *number > 0.0);
        Price {
            credits: number("credits").unwrap_or(default.credits),
            seconds: number("seconds").unwrap_or(default.seconds),
        }
    };
    PriceTable {
        preview: price("preview", seed.preview),
        submit: price("submit", seed.submit),
        render: price("render", seed.render),
        aurora_v1: price("aurora_v1", seed.aurora_v1),
        aurora_v1_fast: price("aurora_v1_fast", seed.aurora_v1_fast),
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
    spawn(Box::pin(async move {
        let result = perform(&client, operation, &call).await;
        let sink = CallSink(call);
        match result {
            Ok(value) => sink.resolve(&value),
            Err(failure) => sink.reject(&failure),
        }
    }))
}

async fn perform(client: &Client<WebHost>, operation: u32, call: &JsValue) -> Result<JsValue, Failure<JsValue>> {
    let id = call.text("id").unwrap_or_default();
    let request = call.get("request");
    let timeout = call.number("timeout").filter(|ms| *ms > 0.0);
    let charge = |endpoint, id, request| {
        let (operation, seconds) = (call.text("operation"), call.number("seconds"));
        client.charge(endpoint, id, request, ChargeOptions { operation, seconds, timeout: call.number("timeout") })
    };
    match operation {
        RENDER => charge(Endpoint::Render, Some(id), request).await,
        SUBMIT..RENDER => {
            let endpoint = match operation {
                PREVIEW_ASYNC => Endpoint::PreviewAsync,
                PREVIEW_SYNC => Endpoint::PreviewSync,
                _ => Endpoint::Submit,
            };
            charge(endpoint, None, Some(request.unwrap_or(JsValue::NULL))).await
        }
        GET => client.get(&id, timeout).await,
        TEMPLATES => client.templates(timeout).await,
        REMAINING_CREDITS => client.remaining_credits(timeout).await.map(JsValue::from),
        ESTIMATE => Ok(estimate(client, &request.unwrap_or(JsValue::NULL))?.into()),
        PENDING => {
            let list = Array::new();
            for operation in client.pending().await? {
                list.push(&operation_record(&operation));
            }
            Ok(list.into())
        }
        SETTLE => Ok(operation_record(&client.settle(&id, call.text("jobId")).await?)),
        POLL => {
            let watches = Watches::default();
            let sink = Rc::new(CallSink(call.clone()));
            client.watch(&watches, &id, call.get("job").as_ref(), poll_options(call), sink)?;
            client.run(&watches).await;
            // The sink has told the facade already; the second word is not heard.
            Ok(JsValue::UNDEFINED)
        }
        _ => Err(Error::invalid("call", &["is not known"]).into()),
    }
}

fn estimate(client: &Client<WebHost>, question: &JsValue) -> Result<f64, Error> {
    let step = question.text("step").and_then(|step| Step::parse(&step));
    let step = step.ok_or_else(|| Error::invalid("step", &["must be submit, preview or render"]))?;
    let model = match question.get("model_version").map(|model| model.kind()) {
        None | Some(Kind::Null) => Some(ModelVersion::Standard),
        Some(Kind::Text(name)) => ModelVersion::parse(&name),
        _ => None,
    };
    let model = model.ok_or_else(|| Error::invalid("model_version", &["must be standard, aurora_v1 or aurora_v1_fast"]))?;
    client.estimate(step, question.number("seconds").unwrap_or(0.0), model)
}

fn poll_options(call: &JsValue) -> PollOptions {
    PollOptions {
        until: call.text("until").map(|until| if until == "preview" { Goal::Preview } else { Goal::Video }),
        timeout: call.get("timeout").and_then(|timeout| timeout.as_f64()),
        expected_ms: call.number("expectedMs"),
        max_interval: call.number("maxInterval"),
        attentive: call.get("attentive").is_some_and(|attentive| attentive.is_truthy()),
    }
}

/// Watches a job together with the client's other ones; the number of the watcher, or 0 where the wait is over already.
#[wasm_bindgen]
pub fn watch(client: u32, call: JsValue) -> u32 {
    let Some(client) = client_of(client) else { return 0 };
    let id = call.text("id").unwrap_or_default();
    let (job, options) = (call.get("job"), poll_options(&call));
    let sink = Rc::new(CallSink(call));
    let told = Rc::clone(&sink) as Rc<dyn Sink<JsValue>>;
    match client.watch(client.watches(), &id, job.as_ref(), options, told) {
        Ok(0) => 0,
        Ok(key) => {
            spawn(Box::pin(async move {
                // A run that is under way already serves this watcher too: this one then returns at once.
                client.run(client.watches()).await;
            }));
            key
        }
        Err(error) => {
            sink.reject(&error.into());
            0
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

    fn resolve(&self, value: &JsValue) {
        self.tell("resolve", value, &JsValue::UNDEFINED);
    }

    fn reject(&self, failure: &Failure<JsValue>) {
        self.tell("reject", &failure_record(failure), &JsValue::UNDEFINED);
    }
}

impl Sink<JsValue> for CallSink {
    fn update(&self, job: &JsValue, look: Look) {
        let info: JsValue = Object::new().into();
        if let Some(remaining) = look.remaining_ms {
            set(&info, "remainingMs", &remaining.into());
        }
        set(&info, "nextLookMs", &look.in_ms.into());
        self.tell("update", job, &info);
    }

    fn end(&self, result: Result<JsValue, Failure<JsValue>>) {
        match result {
            Ok(job) => self.resolve(&job),
            Err(failure) => self.reject(&failure),
        }
    }
}

fn operation_record(operation: &Operation) -> JsValue {
    let record: JsValue = Object::new().into();
    set(&record, "operation", &text(&operation.operation));
    set(&record, "step", &text(operation.entry.step.as_str()));
    set(&record, "state", &text(operation.entry.state_name()));
    set(&record, "at", &(operation.entry.at as f64).into());
    if let Some(job) = operation.entry.job() {
        set(&record, "jobId", &text(job));
    }
    record
}

/// An error as plain data; the facade makes the `Error` of it.
fn failure_record(failure: &Failure<JsValue>) -> JsValue {
    let record: JsValue = Object::new().into();
    let put = |key: &str, value: &JsValue| set(&record, key, value);
    let error = failure.error();
    put("name", &text(error.name()));
    put("message", &text(error.message()));
    for (key, value) in
        [("operation", error.operation()), ("jobId", error.job_id()), ("field", error.field()), ("text", failure.text())]
    {
        if let Some(value) = value {
            put(key, &text(value));
        }
    }
    for (key, value) in [("job", failure.job()), ("body", failure.body()), ("cause", failure.cause())] {
        if let Some(value) = value {
            put(key, value);
        }
    }
    match error.reason() {
        Reason::Api { status, kind, retry_after_ms } => {
            put("status", &(*status).into());
            put("kind", &text(kind.as_str()));
            if let Some(wait) = retry_after_ms {
                put("retryAfterMs", &(*wait).into());
            }
        }
        Reason::Connection { sent } => put("sent", &(*sent).into()),
        Reason::JobFailed { reason } => put("reason", &text(reason)),
        Reason::BudgetExceeded { estimate, remaining } => {
            put("estimate", &(*estimate).into());
            put("remaining", &(*remaining).into());
        }
        _ => {}
    }
    record
}
