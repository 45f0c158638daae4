//! The host in a browser, a worker, Node, Deno or Bun: `plumbing.js`, by the number of a client.
//!
//! All that passes is numbers, so that it passes without a line of glue.

use wasm_bindgen::prelude::*;

use super::js::Js;
use crate::value::Value;

#[wasm_bindgen(module = "/src/web/plumbing.js")]
extern "C" {
    pub(super) fn send(client: i32, task: i32, post: i32, url: i32, body: i32, operation: i32, shared: i32, timeout: f64);
    pub(super) fn sleep(client: i32, task: i32, ms: f64, light: i32);
    pub(super) fn wake(client: i32);
    pub(super) fn forget(client: i32, task: i32);
    pub(super) fn journal(client: i32, task: i32, call: i32, key: i32, entry: i32);
    #[wasm_bindgen(js_name = listJobs)]
    pub(super) fn list_jobs(client: i32, task: i32, since: f64) -> bool;
    pub(super) fn lock(client: i32, task: i32, name: i32) -> bool;
    pub(super) fn unlock(client: i32, task: i32);
    pub(super) fn now() -> f64;
    pub(super) fn wall() -> f64;
    pub(super) fn random() -> f64;
    pub(super) fn uuid() -> i32;
    pub(super) fn visible() -> bool;
    pub(super) fn online() -> bool;
    #[wasm_bindgen(js_name = isShared)]
    pub(super) fn shares() -> u32;
    pub(super) fn event(client: i32, event: i32);
}

// `plumbing.js` imports these; wasm-bindgen copies a script only where an import names it.
#[wasm_bindgen(module = "/src/web/redact.js")]
extern "C" {
    #[allow(dead_code, reason = "named so that the script is copied")]
    fn redact(value: &JsValue, secrets: &JsValue) -> JsValue;
}

#[wasm_bindgen(module = "/src/web/operation.js")]
extern "C" {
    #[allow(dead_code, reason = "named so that the script is copied")]
    #[wasm_bindgen(js_name = newOperation)]
    fn new_operation() -> JsValue;
}

/// The methods of [`crate::host::Host`] that hand on to the plumbing: the same whoever makes the calls.
macro_rules! by_plumbing {
    () => {
        fn send(&self, task: u32, request: crate::host::Request<Js>) {
            let crate::host::Request { endpoint, url, body, operation, shared, timeout } = &request;
            let post = endpoint.charges().is_some().into();
            host::send(self.client, task as i32, post, url.0, body.0, operation.0, shared.0, *timeout);
        }

        fn sleep(&self, task: u32, ms: f64, light: bool) {
            host::sleep(self.client, task as i32, ms, light.into());
        }

        fn wake(&self) {
            host::wake(self.client);
        }

        fn forget(&self, task: u32) {
            host::forget(self.client, task as i32);
        }

        fn journal(&self, task: u32, call: crate::host::JournalCall, key: Js, entry: Js) {
            host::journal(self.client, task as i32, Js::text(call.as_str()).0, key.0, entry.0);
        }

        fn lock(&self, task: u32, name: Js) -> bool {
            host::lock(self.client, task as i32, name.0)
        }

        fn unlock(&self, task: u32) {
            host::unlock(self.client, task as i32);
        }

        fn list_jobs(&self, task: u32, since: f64) -> bool {
            host::list_jobs(self.client, task as i32, since)
        }

        fn now(&self) -> f64 {
            host::now()
        }

        fn wall(&self) -> f64 {
            host::wall()
        }

        fn random(&self) -> f64 {
            host::random()
        }

        fn uuid(&self) -> Js {
            Js(host::uuid())
        }

        fn env(&self) -> crate::host::Env {
            crate::host::Env { visible: host::visible(), online: host::online() }
        }

        fn shares(&self) -> bool {
            host::shares() > 0
        }

        fn looks_at_once(&self) -> usize {
            host::shares().max(1) as usize
        }

        fn hears(&self) -> bool {
            self.hears
        }

        fn event(&self, it: Js) {
            host::event(self.client, it.0);
        }
    };
}
pub(super) use by_plumbing;

/// Whether headers may be sent: nothing, else a record of the option that is to blame.
pub fn check_headers(pairs: Js) -> Js {
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
    Js(0)
}

fn unusable(field: &'static str, message: &'static str) -> Js {
    Js::record().with_text("field", field).with_text("message", message)
}
