//! The host in a browser, a worker, Node, Deno or Bun: `plumbing.js`, by the number of a client.

use wasm_bindgen::prelude::*;

use super::js::Js;
use crate::error::Failure;
use crate::host::{Env, Host, JournalCall, Request};
use crate::poll::Look;
use crate::value::Value;

#[wasm_bindgen(module = "/src/web/plumbing.js")]
extern "C" {
    fn send(client: i32, task: i32, post: i32, url: i32, body: i32, operation: i32, timeout: f64);
    fn sleep(client: i32, task: i32, ms: f64, light: i32);
    fn wake(client: i32);
    fn forget(client: i32, task: i32);
    fn journal(client: i32, task: i32, call: i32, key: i32, entry: i32);
    #[wasm_bindgen(js_name = listJobs)]
    fn list_jobs(client: i32, task: i32, since: f64) -> bool;
    fn lock(client: i32, task: i32, name: i32) -> bool;
    fn unlock(client: i32, task: i32);
    fn now() -> f64;
    fn wall() -> f64;
    fn random() -> f64;
    fn uuid() -> i32;
    fn visible() -> bool;
    fn online() -> bool;
    #[wasm_bindgen(js_name = isShared)]
    fn shares() -> bool;
    fn event(client: i32, event: i32);
    fn settle(call: i32, ok: i32, value: i32);
    fn over(call: i32);
    fn update(call: i32, job: i32, in_ms: f64, remaining_ms: f64);
    fn alarm(call: i32, task: i32, ms: f64);
}

/// The host over the plumbing.
#[derive(Debug)]
pub struct WebHost(i32, bool);

impl WebHost {
    /// Over that plumbing.
    pub const fn new(number: i32, hears: bool) -> Self {
        Self(number, hears)
    }
}

impl Host for WebHost {
    type Value = Js;
    type Call = i32;

    fn send(&self, task: u32, request: Request<Js>) {
        let Request { endpoint, url, body, operation, timeout } = &request;
        send(self.0, task as i32, endpoint.charges().is_some().into(), url.0, body.0, operation.0, *timeout);
    }

    fn sleep(&self, task: u32, ms: f64, light: bool) {
        sleep(self.0, task as i32, ms, light.into());
    }

    fn wake(&self) {
        wake(self.0);
    }

    fn forget(&self, task: u32) {
        forget(self.0, task as i32);
    }

    fn journal(&self, task: u32, call: JournalCall, key: Js, entry: Js) {
        journal(self.0, task as i32, Js::text(call.as_str()).0, key.0, entry.0);
    }

    fn lock(&self, task: u32, name: Js) -> bool {
        lock(self.0, task as i32, name.0)
    }

    fn unlock(&self, task: u32) {
        unlock(self.0, task as i32);
    }

    fn list_jobs(&self, task: u32, since: f64) -> bool {
        list_jobs(self.0, task as i32, since)
    }

    fn now(&self) -> f64 {
        now()
    }

    fn wall(&self) -> f64 {
        wall()
    }

    fn random(&self) -> f64 {
        random()
    }

    fn uuid(&self) -> Js {
        Js(uuid())
    }

    fn env(&self) -> Env {
        Env { visible: visible(), online: online() }
    }

    fn shares(&self) -> bool {
        shares()
    }

    fn hears(&self) -> bool {
        self.1
    }

    fn event(&self, it: Js) {
        event(self.0, it.0);
    }

    fn settle(&self, call: &i32, result: Result<Js, Failure<Js>>) {
        match result {
            Ok(value) => settle(*call, 1, value.0),
            Err(failure) => settle(*call, 0, failure.0.0),
        }
    }

    fn over(&self, call: &i32) {
        over(*call);
    }

    fn update(&self, call: &i32, job: Js, look: Look) {
        update(*call, job.0, look.in_ms, look.remaining_ms);
    }

    fn alarm(&self, call: &i32, task: u32, ms: f64) {
        alarm(*call, task as i32, ms);
    }
}

/// Whether a header may be sent: else a record of the option that is to blame.
pub fn build(pairs: Js) -> Js {
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
