//! The host in a browser, a worker, Node, Deno or Bun: the headers of requests by gloo-net, everything else by `plumbing.js`.

use gloo_net::http::Headers;
use wasm_bindgen::prelude::*;

use crate::error::Failure;
use crate::host::Host;
use crate::poll::Look;
use crate::value::Value;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = Headers)]
    type RawHeaders;

    // Does not catch: what it is given has been checked.
    #[wasm_bindgen(constructor, js_class = "Headers")]
    fn new(pairs: &JsValue) -> RawHeaders;

    /// The class of `plumbing.js`.
    #[derive(Clone, Debug)]
    pub type Plumbing;

    #[wasm_bindgen(method, structural)]
    pub(super) fn send(
        this: &Plumbing,
        task: u32,
        post: bool,
        url: &JsValue,
        body: &JsValue,
        operation: &JsValue,
        timeout: f64,
    );
    #[wasm_bindgen(method, structural)]
    pub(super) fn sleep(this: &Plumbing, task: u32, ms: f64, light: bool);
    #[wasm_bindgen(method, structural)]
    pub(super) fn wake(this: &Plumbing);
    #[wasm_bindgen(method, structural)]
    pub(super) fn forget(this: &Plumbing, task: u32);
    #[wasm_bindgen(method, structural)]
    pub(super) fn journal(this: &Plumbing, task: u32, call: &str, key: &JsValue, entry: &JsValue);
    #[wasm_bindgen(method, structural, js_name = listJobs)]
    pub(super) fn list_jobs(this: &Plumbing, task: u32, since: f64) -> bool;
    #[wasm_bindgen(method, structural)]
    pub(super) fn lock(this: &Plumbing, task: u32, name: &JsValue) -> bool;
    #[wasm_bindgen(method, structural)]
    pub(super) fn unlock(this: &Plumbing, task: u32);
    #[wasm_bindgen(method, structural)]
    pub(super) fn now(this: &Plumbing) -> f64;
    #[wasm_bindgen(method, structural)]
    pub(super) fn uuid(this: &Plumbing) -> JsValue;
    #[wasm_bindgen(method, structural)]
    pub(super) fn visible(this: &Plumbing) -> bool;
    #[wasm_bindgen(method, structural)]
    pub(super) fn online(this: &Plumbing) -> bool;
    #[wasm_bindgen(method, structural)]
    pub(super) fn shares(this: &Plumbing) -> bool;
    #[wasm_bindgen(method, structural)]
    pub(super) fn hears(this: &Plumbing) -> bool;
    #[wasm_bindgen(method, structural)]
    pub(super) fn event(this: &Plumbing, event: &JsValue);

    /// A call of JavaScript's.
    #[derive(Clone, Debug)]
    pub type Call;

    #[wasm_bindgen(method, structural)]
    fn settle(this: &Call, ok: bool, value: &JsValue);
    #[wasm_bindgen(method, structural)]
    fn over(this: &Call);
    #[wasm_bindgen(method, structural)]
    fn update(this: &Call, job: &JsValue, in_ms: f64, remaining_ms: f64);
    #[wasm_bindgen(method, structural)]
    fn alarm(this: &Call, task: u32, ms: f64);
}

/// The methods of [`Host`] that hand on to the plumbing, which is the host's first part: the same whoever makes the calls.
macro_rules! by_plumbing {
    () => {
        fn send(&self, task: u32, request: crate::host::Request<JsValue>) {
            let crate::host::Request { endpoint, url, body, operation, timeout } = &request;
            self.0.send(task, endpoint.charges().is_some(), url, body, operation, *timeout);
        }

        fn sleep(&self, task: u32, ms: f64, light: bool) {
            self.0.sleep(task, ms, light);
        }

        fn wake(&self) {
            self.0.wake();
        }

        fn forget(&self, task: u32) {
            self.0.forget(task);
        }

        fn journal(&self, task: u32, call: crate::host::JournalCall, key: &JsValue, entry: &JsValue) {
            self.0.journal(task, call.as_str(), key, entry);
        }

        fn lock(&self, task: u32, name: &JsValue) -> bool {
            self.0.lock(task, name)
        }

        fn unlock(&self, task: u32) {
            self.0.unlock(task);
        }

        fn list_jobs(&self, task: u32, since: f64) -> bool {
            self.0.list_jobs(task, since)
        }

        fn now(&self) -> f64 {
            self.0.now()
        }

        fn wall(&self) -> f64 {
            js_sys::Date::now()
        }

        fn random(&self) -> f64 {
            js_sys::Math::random()
        }

        fn uuid(&self) -> JsValue {
            self.0.uuid()
        }

        fn env(&self) -> crate::host::Env {
            crate::host::Env { visible: self.0.visible(), online: self.0.online() }
        }

        fn shares(&self) -> bool {
            self.0.shares()
        }

        fn hears(&self) -> bool {
            self.0.hears()
        }

        fn event(&self, event: JsValue) {
            self.0.event(&event);
        }
    };
}
#[cfg(feature = "serde")]
pub(super) use by_plumbing;

/// The host over the plumbing.
#[derive(Debug)]
pub struct WebHost(Plumbing);

impl WebHost {
    /// Over that plumbing.
    pub const fn new(plumbing: Plumbing) -> Self {
        Self(plumbing)
    }
}

impl Host for WebHost {
    type Value = JsValue;
    type Call = Call;

    by_plumbing!();

    fn settle(&self, call: &Call, result: Result<&JsValue, &Failure<JsValue>>) {
        match result {
            Ok(value) => call.settle(true, value),
            Err(failure) => call.settle(false, &failure.0),
        }
    }

    fn over(&self, call: &Call) {
        call.over();
    }

    fn update(&self, call: &Call, job: &JsValue, look: Look) {
        call.update(job, look.in_ms, look.remaining_ms);
    }

    fn alarm(&self, call: &Call, task: u32, ms: f64) {
        call.alarm(task, ms);
    }
}

/// The settings of a request, with the headers in them as an object of gloo-net's; else a record of the option that is to
/// blame. `fetch` is called with them and the URL, whoever's it is: to build a `Request` first costs a sixth of a call.
pub fn build(init: &JsValue, pairs: &JsValue) -> JsValue {
    for index in 0.. {
        let pair = pairs.nth(index);
        if !pair.is_there() {
            break;
        }
        let name = pair.nth(0);
        if !name.matches(r"^[\w.~!#$%&'*+^|`-]+$") || !pair.nth(1).matches(r"^[\t -~\x80-\xff]*$") {
            // Never the value itself: it may be the key.
            let field = match name.one_of("x-api-key x-api-id") {
                0 => "apiKey",
                1 => "apiId",
                _ => "headers",
            };
            let message = "must be names and values that an HTTP header may hold: strings, without line breaks";
            return unusable(field, message);
        }
    }
    init.clone().with("headers", &Headers::from_raw(RawHeaders::new(pairs).unchecked_into()).into_raw())
}

fn unusable(field: &str, message: &str) -> JsValue {
    JsValue::record().with_text("field", field).with_text("message", message)
}
