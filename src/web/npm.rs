//! The exported class of the npm package. The facade `client.js` snapshots requests, makes ids, loads the wasm and calls it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use js_sys::{Array, Function, JSON, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::convert::{self, Record, get, given_number, number, text};
use super::{HostOptions, WebHost};
use crate::api::{Endpoint, Goal, Step};
use crate::client::{ChargeOptions, Client, Config, Operation, PollOptions};
use crate::credits::{BudgetPeriod, Price};
use crate::error::{Error, Refusal};
use crate::host::{OnUpdate, Update};
use crate::poll::Urgency;

/// A small allocator without unsafe code of ours, 2 KB smaller than the default one.
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

#[wasm_bindgen(module = "/src/web/panic.js")]
extern "C" {
    fn panicked(message: &str);
}

/// A panic leaves the module unusable, so the facade rejects every pending call.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| {
        // Only the file: formatting the message with its values would need more code.
        let place = info.location().map_or("", |location| location.file());
        panicked(place);
    }));
}

/// An export whose name is the version, so that the scripts load no other WebAssembly. `pack` compares it with the crate's
/// version.
#[wasm_bindgen]
pub fn version_0_1_0() {}

type Work = Pin<Box<dyn Future<Output = Result<JsValue, Error<JsValue>>>>>;

/// A client for the facade. `call` is the facade's number of a call, for `abort`.
#[wasm_bindgen]
pub struct Core {
    client: Client<WebHost>,
    /// The calls in flight, in the order of their numbers.
    calls: Calls,
}

impl fmt::Debug for Core {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Core")
    }
}

type Calls = Rc<RefCell<Vec<(u32, Rc<Call>)>>>;

/// A call in flight.
struct Call {
    /// `None` once it was aborted or has ended.
    work: RefCell<Option<Work>>,
    aborted: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Call {
    /// The outcome of the call; `None` if it was aborted.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<JsValue, Error<JsValue>>>> {
        let mut work = self.work.borrow_mut();
        let polled = work.as_mut().map(|work| work.as_mut().poll(context));
        if self.aborted.get() {
            *work = None;
        }
        match (polled, &*work) {
            (Some(Poll::Ready(outcome)), Some(_)) => Poll::Ready(Some(outcome)),
            (_, None) => Poll::Ready(None),
            _ => {
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// Drops the work with its timers at once, unless the work itself is calling this.
    fn abort(&self) {
        self.aborted.set(true);
        if let Ok(mut work) = self.work.try_borrow_mut() {
            *work = None;
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[wasm_bindgen]
impl Core {
    /// A client with these options, which the facade has copied and checked.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &JsValue) -> Self {
        let function = |name: &str| get(options, name).dyn_into::<Function>().ok();
        let host = WebHost::new(HostOptions {
            credentials: options.clone(),
            fetch: function("fetch"),
            journal: get(options, "journal"),
            list_jobs: function("listJobs"),
            on_event: function("onEvent"),
            on_send: function("onSend"),
            idempotent: get(options, "idempotencyHeader").is_truthy(),
        });
        let account = text(options, "account").unwrap_or_default();
        let base_url = text(options, "baseUrl").unwrap_or_else(|| Config::BASE_URL.into());
        // Requests keep a relative URL.
        let place = text(options, "place").unwrap_or_else(|| base_url.clone());
        let mut config = Config::new(&place, &text(options, "apiId").unwrap_or_default(), &account);
        config.base_url = base_url.trim_end_matches('/').into();
        let positive = |name: &str, usual: f64| number(options, name).filter(|number| *number > 0.0).unwrap_or(usual);
        config.timeout = positive("timeout", config.timeout);
        config.preview_timeout = positive("previewTimeout", config.preview_timeout);
        config.max_retries = number(options, "maxRetries").map_or(config.max_retries, |retries| retries as u32);
        config.max_credits = number(options, "maxCredits");
        config.budget_key = text(options, "budgetKey");
        config.budget_period = text(options, "budgetPeriod")
            .map(|period| if period == "day" { BudgetPeriod::Day } else { BudgetPeriod::Month });
        config.journal_in_memory = host.journal_in_memory();
        config.journal_by_default = host.journal_by_default();
        config.relay = get(options, "relay").is_truthy();
        let prices = get(options, "prices");
        for name in convert::names(&prices) {
            let given = get(&prices, &name);
            let table = &mut config.prices;
            let (credits, seconds) = (number(&given, "credits"), number(&given, "seconds"));
            let price = match name.as_str() {
                "preview" => &mut table.preview,
                "submit" => &mut table.submit,
                "render" => &mut table.render,
                "aurora_v1" => &mut table.aurora_v1,
                "aurora_v1_fast" => &mut table.aurora_v1_fast,
                _ => {
                    table.others.push((name, Price { credits: 0.0, seconds: 1.0 }));
                    let Some((_, price)) = table.others.last_mut() else { continue };
                    price
                }
            };
            *price = Price { credits: credits.unwrap_or(price.credits), seconds: seconds.unwrap_or(price.seconds) };
        }
        let namespace = config.namespace.clone();
        let client = Client::new(host, config);
        WebHost::connect(&client, &namespace);
        Self { client, calls: Rc::default() }
    }

    /// One of the four charging calls: `endpoint` is `submit`, `previewAsync`, `previewSync` or `render`.
    pub fn charge(
        &self,
        call: u32,
        endpoint: &str,
        id: Option<String>,
        request: Option<String>,
        options: &JsValue,
    ) -> Promise {
        let endpoint = match endpoint {
            "submit" => Endpoint::Submit,
            "previewAsync" => Endpoint::PreviewAsync,
            "previewSync" => Endpoint::PreviewSync,
            _ => Endpoint::Render,
        };
        let charge = ChargeOptions {
            operation: text(options, "operation").unwrap_or_default(),
            explicit: get(options, "explicit").is_truthy(),
            seconds: given_number(&get(options, "seconds")),
            timeout: given_number(&get(options, "timeout")),
            extra: text(options, "extra"),
            metadata: text(options, "metadata"),
        };
        // The promise for the caller's `waitUntil` ends with the charge, not with the call.
        let over = get(options, "over").dyn_into::<Function>().ok();
        let client = self.client.clone();
        self.promise(
            call,
            Box::pin(async move {
                let over = over.map(|over| -> Box<dyn FnOnce()> { Box::new(move || drop(over.call0(&JsValue::UNDEFINED))) });
                client.charge(endpoint, id.as_deref(), request.as_deref(), charge, over).await
            }),
        )
    }

    /// One of the three reads: `what` is `get`, with the id of a job, `templates` or `remainingCredits`.
    pub fn read(&self, call: u32, what: &str, id: Option<String>, timeout: &JsValue) -> Promise {
        let timeout = given_number(timeout);
        let endpoint = match what {
            "templates" => Endpoint::Templates,
            "remainingCredits" => Endpoint::RemainingCredits,
            _ => Endpoint::Get,
        };
        let client = self.client.clone();
        self.promise(
            call,
            Box::pin(async move {
                let read = client.fetch(endpoint, id.as_deref(), timeout).await?;
                Ok(if endpoint == Endpoint::RemainingCredits { get(&read, "remaining_credits") } else { read })
            }),
        )
    }

    /// Estimates the cost of a step.
    pub fn estimate(&self, call: u32, question: &JsValue) -> Promise {
        let estimated = text(question, "step")
            .and_then(|step| Step::parse(&step))
            .ok_or_else(|| Refusal::new("step", "must be submit, preview or render").into())
            .and_then(|step| {
                let model = get(question, "model_version");
                let model = if model.is_undefined() { Some("standard".into()) } else { model.as_string() };
                self.client.estimate(step, number(question, "seconds").unwrap_or_default(), &model.unwrap_or_default())
            });
        self.promise(call, Box::pin(ready(estimated.map(JsValue::from_f64))))
    }

    /// The open operations of the journal.
    pub fn pending(&self, call: u32) -> Promise {
        let client = self.client.clone();
        self.promise(
            call,
            Box::pin(async move {
                let open = client.pending().await?;
                Ok(open.iter().map(operation_record).collect::<Array>().into())
            }),
        )
    }

    /// Looks again at an unknown operation.
    pub fn settle(&self, call: u32, operation: String, job_id: Option<String>) -> Promise {
        let client = self.client.clone();
        self.promise(
            call,
            Box::pin(async move { Ok(operation_record(&client.settle(&operation, job_id.as_deref()).await?)) }),
        )
    }

    /// The job of an operation, and its step.
    pub fn resume(&self, call: u32, operation: String) -> Promise {
        let client = self.client.clone();
        self.promise(
            call,
            Box::pin(async move {
                let (job, step) = client.resume(&operation).await?;
                Ok(Record::default().with("job", job).with("step", step.as_str()).into())
            }),
        )
    }

    /// Takes in a webhook that reports the job `id`. `candidates` are strings that may be its operation.
    #[wasm_bindgen(js_name = handleWebhook)]
    pub fn handle_webhook(&self, call: u32, id: String, candidates: &Array) -> Promise {
        let client = self.client.clone();
        let candidates: Vec<String> = candidates.iter().filter_map(|candidate| candidate.as_string()).collect();
        self.promise(
            call,
            Box::pin(async move {
                let (job, operation) = client.handle_webhook(&id, candidates).await?;
                let operation = operation.as_ref().map(operation_record);
                Ok(Record::default().with("job", job).with_some("operation", operation).into())
            }),
        )
    }

    /// Closes an unknown operation.
    pub fn discard(&self, call: u32, operation: String) -> Promise {
        let client = self.client.clone();
        self.promise(call, Box::pin(async move { client.discard(&operation).await.map(|()| JsValue::UNDEFINED) }))
    }

    /// Waits for a job. `job` is the job as last seen, or undefined. `options.operation` is the charge that the wait belongs
    /// to, if any. `on_update` receives updates and must not call back synchronously.
    pub fn poll(&self, call: u32, id: &str, job: JsValue, options: &JsValue, on_update: Option<Function>) -> Promise {
        let wait = match poll_options(options, on_update.is_some()) {
            Ok(wait) => wait,
            Err(refusal) => return self.promise(call, Box::pin(ready(Err(refusal.into())))),
        };
        let on_update = on_update.map(|on_update| -> OnUpdate<JsValue> {
            Box::new(move |update: Update<'_, JsValue>| {
                let Update { job, step, progress, remaining_ms, next_poll_ms } = update;
                let step = step.map(Step::as_str).into();
                let [progress, remaining, next] = [progress, remaining_ms, next_poll_ms].map(JsValue::from);
                let _ = on_update.call5(&JsValue::UNDEFINED, job, &step, &progress, &remaining, &next);
            })
        });
        let job = job.is_object().then_some(job);
        let polled = self.client.poll(id, job, wait, on_update);
        match text(options, "operation") {
            Some(operation) => {
                let polled = async move { polled.await.map_err(|error| error.of_wait(&operation)) };
                self.promise(call, Box::pin(polled))
            }
            None => self.promise(call, Box::pin(polled)),
        }
    }

    /// Aborts a call. A charge that may have been sent continues.
    pub fn abort(&self, call: u32) {
        let found = find(&self.calls, call).and_then(|at| self.calls.borrow().get(at).map(|(_, call)| Rc::clone(call)));
        if let Some(call) = found {
            call.abort();
        }
    }

    /// The promise of a call. It rejects with an error record; if the call was aborted, with undefined.
    fn promise(&self, call: u32, work: Work) -> Promise {
        let running = Rc::new(Call { work: RefCell::new(Some(work)), aborted: Cell::new(false), waker: Cell::default() });
        self.calls.borrow_mut().push((call, Rc::clone(&running)));
        promise(self.client.clone(), Rc::clone(&self.calls), call, running)
    }
}

/// The position of a call. The facade numbers calls in order.
fn find(calls: &Calls, call: u32) -> Option<usize> {
    calls.borrow().binary_search_by_key(&call, |(number, _)| *number).ok()
}

fn promise(client: Client<WebHost>, calls: Calls, number: u32, call: Rc<Call>) -> Promise {
    future_to_promise(async move {
        let outcome = poll_fn(|context| call.poll(context)).await;
        if let Some(at) = find(&calls, number) {
            calls.borrow_mut().remove(at);
        }
        match outcome {
            Some(outcome) => outcome.map_err(|error| convert::error_record(&client.host().redacted(error))),
            None => Err(JsValue::UNDEFINED),
        }
    })
}

fn operation_record(operation: &Operation) -> JsValue {
    let Operation { operation, state, step, created_at, job_id, metadata } = operation;
    Record::default()
        .with("operation", operation.as_str())
        .with("step", step.as_str())
        .with("state", state.as_str())
        .with("createdAt", *created_at as f64)
        .with_some("jobId", job_id.as_deref())
        .with_some("metadata", metadata.as_deref().and_then(|json| JSON::parse(json).ok()))
        .into()
}

/// How a job is waited for, as the facade passes it.
fn poll_options(options: &JsValue, attentive: bool) -> Result<PollOptions, Refusal> {
    let until = get(options, "until");
    let goal = until.as_string().and_then(|name| Goal::parse(&name)).filter(|goal| *goal != Goal::Done);
    if goal.is_none() && !until.is_undefined() {
        return Err(Refusal::new("until", "must be preview or video"));
    }
    let urgency = get(options, "urgency");
    let wanted = urgency.as_string().and_then(|name| Urgency::parse(&name));
    if wanted.is_none() && !urgency.is_undefined() {
        return Err(Refusal::new("urgency", "must be low, normal or high"));
    }
    Ok(PollOptions {
        until: goal,
        timeout: given_number(&get(options, "timeout")),
        expected_ms: given_number(&get(options, "expectedMs")),
        max_interval: given_number(&get(options, "maxInterval")),
        attentive,
        urgency: wanted.unwrap_or_default(),
    })
}
