//! The host in a browser, a worker, Node, Deno or Bun: requests through gloo-net and `fetch`, and the rest through plain objects.

use std::future::Future;
use std::pin::Pin;

use gloo_net::http::{Headers, Request as GlooRequest};
use js_sys::{Date, Function, JSON, Object};
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, RequestInit};

use super::drive::{Settled, Wait};
use super::js::{field, holds, method, parse_json, set, set_number, set_text, text};
use crate::host::{Body, Env, Event, Host, JournalCall, Now, Reply, Request};
use crate::value::{Value, decimal};

/// Most UTF-16 units of an answer that are taken apart. A job has a few thousand.
const ANSWER_MAX: f64 = 4_194_304.0;

#[wasm_bindgen]
extern "C" {
    // gloo-net's own `send` does not catch, and then leaves its caller waiting for ever.
    #[wasm_bindgen(catch, js_name = fetch)]
    fn global_fetch(request: &web_sys::Request) -> Result<JsValue, JsValue>;
}

/// A host over one plain object, `plumbing`, with what the caller configured and what JavaScript does
/// better: `scope` (the global object), `headers` (pairs, or a function that makes them), `fetch`, `journal`, `shares`, `event(event)`.
#[derive(Clone, Debug)]
pub struct WebHost {
    plumbing: JsValue,
}

const NONE: JsValue = JsValue::UNDEFINED;

impl WebHost {
    /// Over that object.
    pub fn new(plumbing: JsValue) -> Self {
        Self { plumbing }
    }

    fn part(&self, name: &str) -> JsValue {
        field(&self.plumbing, name)
    }

    fn scope(&self, name: &str) -> JsValue {
        field(&self.part("scope"), name)
    }

    /// Calls a method of a global object, where there is one.
    fn ask(&self, object: &str, name: &str) -> Option<JsValue> {
        method(&self.scope(object), name, &NONE, &NONE).ok()
    }

    fn wait(&self, promise: Settled) -> Wait {
        Wait::promise(&self.plumbing, promise)
    }

    /// Sends, and reads the whole answer.
    async fn exchange(&self, request: &Request<JsValue>) -> Reply<JsValue> {
        let given = self.part("headers");
        let given = if given.is_function() { method(&self.plumbing, "headers", &NONE, &NONE) } else { Ok(given) };
        let headers = match headers(self.wait(given).await, request) {
            Ok(headers) => headers,
            Err(unusable) => return unusable,
        };
        let Ok(controller) = AbortController::new().map(JsValue::from) else { return lost(NONE) };
        let answer = match self.dispatch(request, headers, &controller) {
            Ok(answer) => answer,
            Err(unusable) => return unusable,
        };
        // Aborting a request that is over does nothing.
        let _abort = AbortOnDrop(controller);
        let answer = match self.wait(answer).await {
            Ok(answer) => answer,
            Err(thrown) => return lost(thrown),
        };
        let Some(status) = answer.number("status") else { return lost(NONE) };
        let retry_after = self.retry_after(&answer);
        let body = match self.wait(method(&answer, "text", &NONE, &NONE)).await {
            Ok(whole) => parse(&whole),
            Err(_) => Body::Broken(String::new()),
        };
        Reply::Answered { status: status as u16, retry_after, body }
    }

    /// The promise of an answer, or why none can be asked for.
    fn dispatch(
        &self,
        request: &Request<JsValue>,
        headers: Headers,
        controller: &JsValue,
    ) -> Result<Settled, Reply<JsValue>> {
        let init: JsValue = Object::new().into();
        set_text(&init, "method", Some(request.endpoint.method()));
        set(&init, "headers", &headers.into_raw());
        set_text(&init, "redirect", Some("manual"));
        set(&init, "signal", &field(controller, "signal"));
        if self.shares() {
            // workerd refuses the word at older compatibility dates, and caches nothing anyway.
            set_text(&init, "cache", Some("no-store"));
        }
        if let Some(body) = &request.body {
            let body =
                JSON::stringify(body).map_err(|cause| unusable("variables", "cannot be written as JSON", Some(cause)))?;
            set(&init, "body", &body);
        }
        let injected = self.part("fetch");
        if injected.is_undefined() {
            let raw = web_sys::Request::new_with_str_and_init(&request.url, init.unchecked_ref::<RequestInit>());
            let raw = raw.map_err(|cause| {
                let message = "is no URL that can be fetched; outside a page it must be absolute, and hold no login";
                unusable("baseUrl", message, Some(cause))
            })?;
            return Ok(global_fetch(&GlooRequest::from(raw).into()));
        }
        // No receiver: a global `fetch` that is called as a method of ours is an illegal invocation.
        Ok(injected.unchecked_ref::<Function>().call2(&NONE, &text(&request.url), &init))
    }

    /// What `Retry-After` asks for, seconds or a date, as milliseconds from now.
    fn retry_after(&self, answer: &JsValue) -> Option<f64> {
        // Asked for first: a call that throws and is caught costs wasm-bindgen a slot of its table for ever.
        let asked = method(&answer.get("headers")?, "get", &text("retry-after"), &NONE).ok()?;
        let asked = asked.as_string()?;
        if let Some(seconds) = decimal(&asked) {
            return Some(seconds * 1_000.0);
        }
        let date = Date::parse(&asked);
        date.is_finite().then(|| date - self.now().wall)
    }
}

/// Nothing came back.
fn lost(cause: JsValue) -> Reply<JsValue> {
    let code = cause.text("code").or_else(|| field(&cause, "cause").text("code"));
    Reply::Lost { code: code.unwrap_or_default(), cause: Some(cause) }
}

/// Nothing can be sent, and which option is to blame.
fn unusable(field: &'static str, message: &'static str, cause: Option<JsValue>) -> Reply<JsValue> {
    Reply::Unusable { field, message, cause }
}

/// The caller's headers and ours.
fn headers(given: Settled, request: &Request<JsValue>) -> Result<Headers, Reply<JsValue>> {
    let given = given.map_err(|thrown| {
        unusable("headers", "could not be made: the function for headers or apiKey failed", Some(thrown))
    })?;
    let headers = Headers::new();
    for at in &given.keys() {
        let pair = field(&given, at);
        let (Some(name), Some(value)) = (pair.text("0"), pair.text("1")) else {
            return Err(unusable("headers", "must be names with string values", None));
        };
        if !is_header(&name, &value) {
            // Never the value itself: it may be the key.
            let field = match name.as_str() {
                "x-api-key" => "apiKey",
                "x-api-id" => "apiId",
                _ => "headers",
            };
            return Err(unusable(field, "holds a byte that no HTTP header may hold, such as a line break", None));
        }
        headers.set(&name, &value);
    }
    headers.set("accept", "application/json");
    if request.body.is_some() {
        headers.set("content-type", "application/json");
    }
    if let Some(key) = request.idempotency_key.as_ref().filter(|key| is_header("idempotency-key", key)) {
        headers.set("idempotency-key", key);
    }
    Ok(headers)
}

/// The journal of a Rust front end that brings none.
#[cfg(feature = "serde")]
fn in_memory(name: &str, id: &str, entry: &str) -> JsValue {
    use crate::charge::MemoryJournal;
    thread_local! {
        static JOURNAL: std::cell::RefCell<MemoryJournal> = std::cell::RefCell::default();
    }
    JOURNAL.with_borrow_mut(|journal| match name {
        "create" => journal.create(id, entry).into(),
        "read" => journal.read(id).map_or(NONE, text),
        "list" => journal.list(id).iter().map(|id| text(id)).collect::<js_sys::Array>().into(),
        "write" => {
            journal.write(id, entry);
            NONE
        }
        _ => {
            journal.delete(id);
            NONE
        }
    })
}

/// A whole answer.
fn parse(whole: &JsValue) -> Body<JsValue> {
    if whole.number("length").is_some_and(|length| length > ANSWER_MAX) {
        return Body::Text("(more than 4 MB)".into());
    }
    parse_json(whole).map_or_else(|_| Body::Text(whole.as_string().unwrap_or_default()), Body::Json)
}

/// Whether a header can be sent: a token, then no control and nothing above Latin-1.
fn is_header(name: &str, value: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'-' | b'_' | b'.' | b'~' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|'
                )
        })
        // In UTF-8 what is above Latin-1 begins with a byte above 0xc3.
        && value.bytes().all(|byte| byte == b'\t' || (b' '..=0xc3).contains(&byte) && byte != 0x7f)
}

/// Stops a request when the future that waits for it goes away.
struct AbortOnDrop(JsValue);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        let _ = method(&self.0, "abort", &NONE, &NONE);
    }
}

impl Host for WebHost {
    type Value = JsValue;
    type Wait = Wait;

    async fn send(&self, request: Request<JsValue>) -> Reply<JsValue> {
        let timer = Wait::sleep(&self.plumbing, request.timeout);
        crate::client::either(std::pin::pin!(self.exchange(&request)), timer).await.unwrap_or(Reply::TimedOut)
    }

    fn sleep(&self, ms: f64) -> Wait {
        Wait::sleep(&self.plumbing, ms)
    }

    fn sleep_or_wake(&self, ms: f64) -> Wait {
        Wait::nap(&self.plumbing, ms)
    }

    fn wake(&self) {
        Wait::wake(&self.plumbing);
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()>>>) {
        #[cfg(feature = "npm")]
        let _ = method(&self.plumbing, "detached", &super::npm::spawn(task).into(), &NONE);
        #[cfg(all(feature = "serde", not(feature = "npm")))]
        wasm_bindgen_futures::spawn_local(task);
        #[cfg(not(any(feature = "npm", feature = "serde")))]
        drop(task);
    }

    fn now(&self) -> Now {
        let wall = Date::now();
        let monotonic = self.ask("performance", "now").and_then(|now| now.as_f64());
        Now { monotonic: monotonic.unwrap_or(wall), wall }
    }

    fn random(&self) -> f64 {
        js_sys::Math::random()
    }

    fn uuid(&self) -> String {
        // Pages without TLS have no `randomUUID`. Ours keeps operations apart as well; it guards no secret.
        let drawn = self.ask("crypto", "randomUUID").and_then(|uuid| uuid.as_string());
        drawn.unwrap_or_else(|| crate::host::uuid(js_sys::Math::random))
    }

    fn env(&self) -> Env {
        let hidden = self.scope("document").text("visibilityState").is_some_and(|state| state == "hidden");
        let online = field(&self.scope("navigator"), "onLine");
        let offline = online.is_falsy() && !online.is_undefined();
        Env { visible: !hidden, online: !offline }
    }

    fn shares(&self) -> bool {
        holds(&self.plumbing, "shares")
    }

    fn journal(&self, call: JournalCall, id: &str, entry: &str) -> Wait {
        let name = match call {
            JournalCall::Create => "create",
            JournalCall::Read => "read",
            JournalCall::Write => "write",
            JournalCall::Delete => "delete",
            JournalCall::List => "list",
        };
        let journal = self.part("journal");
        #[cfg(feature = "serde")]
        if journal.is_undefined() {
            return self.wait(Ok(in_memory(name, id, entry)));
        }
        self.wait(method(&journal, name, &text(id), &text(entry)))
    }

    fn list_jobs(&self, since: f64) -> Option<Wait> {
        self.plumbing.get("listJobs")?;
        Some(self.wait(method(&self.plumbing, "listJobs", &since.into(), &NONE)))
    }

    fn event(&self, event: Event<'_>) {
        if self.part("event").is_undefined() {
            return;
        }
        let record: JsValue = Object::new().into();
        let put = |key, value| set_text(&record, key, Some(value));
        match event {
            Event::Request { method, path, operation } => {
                put("type", "request");
                put("method", method);
                put("path", path);
                set_text(&record, "operation", operation);
            }
            Event::Retry { path, in_ms } => {
                put("type", "retry");
                put("path", path);
                set_number(&record, "inMs", in_ms);
            }
            Event::Look { job, in_ms } => {
                put("type", "look");
                put("jobId", job);
                set_number(&record, "inMs", in_ms);
            }
            Event::Verdict { operation, verdict, job } => {
                put("type", "verdict");
                put("operation", operation);
                put("verdict", verdict);
                set_text(&record, "jobId", job);
            }
        }
        let _ = method(&self.plumbing, "event", &record, &NONE);
    }
}
