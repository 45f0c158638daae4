//! The host for front ends written in Rust: the same plumbing, which tells the client of things by closures.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use gloo_net::http::Headers;
use gloo_timers::callback::Timeout;
use wasm_bindgen::prelude::*;

use super::host::{self, by_plumbing};
use super::js::Js;
use crate::client::Slot;
use crate::error::Failure;
use crate::host::{Host, Signal};
use crate::poll::{LONGEST, Look};
use crate::value::Value;

#[wasm_bindgen(module = "/src/web/plumbing.js")]
extern "C" {
    /// What JavaScript does for one client.
    #[derive(Clone, Debug)]
    type Plumbing;

    #[wasm_bindgen(constructor)]
    fn new(options: &JsValue) -> Plumbing;
    #[wasm_bindgen(method)]
    fn listen(this: &Plumbing, count: i32);

    /// Gives it a number.
    fn enlist(plumbing: &Plumbing) -> i32;
    /// Takes the number back.
    fn dismiss(client: i32);
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = Headers)]
    type RawHeaders;

    // Does not catch: what it is given has been checked.
    #[wasm_bindgen(constructor, js_class = "Headers")]
    fn new(pairs: &JsValue) -> RawHeaders;
}

/// The host whose calls are futures.
#[derive(Debug)]
pub struct RustHost {
    plumbing: Plumbing,
    /// The number of the client.
    client: i32,
    hears: bool,
    line: Line,
}

impl RustHost {
    /// Over plumbing of its own. `options` are those of `TemplateJobs` in JavaScript that do not concern the core:
    /// `apiId`, `apiKey`, `headers`, `fetch`, `journal`, `idempotencyHeader`, `listJobs`, `onEvent`; and `baseUrl`,
    /// which decides whether a charge carries an `Idempotency-Key` by default.
    pub fn over(options: &JsValue) -> Self {
        let plumbing = Plumbing::new(options);
        let client = enlist(&plumbing);
        Self { plumbing, client, hears: Js::lend(options).get("onEvent").is_there(), line: Line::default() }
    }

    /// While this lives, a page that is shown again or a network that came back is worth a look.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.plumbing.listen(1);
        Listening(self.plumbing.clone())
    }
}

/// See [`RustHost::listening`].
#[derive(Debug)]
pub struct Listening(Plumbing);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listen(-1);
    }
}

/// How the plumbing reaches the client, as long as the host lives. Nothing waits by then: whoever waits holds the client.
#[derive(Default)]
struct Line(OnceCell<Connected>);

struct Connected {
    tell: Rc<dyn Fn(Signal<Js>)>,
    _resume: Closure<dyn Fn(u32, bool, JsValue)>,
    _build: Closure<dyn Fn(JsValue, JsValue) -> JsValue>,
}

impl fmt::Debug for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Line")
    }
}

impl Drop for RustHost {
    fn drop(&mut self) {
        dismiss(self.client);
    }
}

impl Host for RustHost {
    type Value = Js;
    type Call = Rc<Slot<JsValue>>;

    by_plumbing!();

    fn connect(&self, client: impl Fn(Signal<Js>) + 'static) {
        let tell: Rc<dyn Fn(Signal<Js>)> = Rc::new(client);
        let resumed = Rc::clone(&tell);
        let resume = Closure::<dyn Fn(u32, bool, JsValue)>::new(move |task, ok, value: JsValue| {
            let value = Js::lend(&value);
            resumed(Signal::Resume(task, if ok { Ok(value) } else { Err(value) }));
        });
        let build = Closure::<dyn Fn(JsValue, JsValue) -> JsValue>::new(|init: JsValue, pairs: JsValue| {
            let refused = host::check_headers(Js::lend(&pairs));
            if refused.is_there() {
                return refused.own();
            }
            let headers = Headers::from_raw(RawHeaders::new(&pairs).unchecked_into()).into_raw();
            Js::lend(&init).with("headers", Js::lend(&headers)).own()
        });
        let plumbing = Js::lend(&self.plumbing);
        let _ = plumbing.with("resume", Js::lend(resume.as_ref())).with("build", Js::lend(build.as_ref()));
        self.line.0.get_or_init(|| Connected { tell, _resume: resume, _build: build });
    }

    fn settle(&self, call: &Self::Call, result: Result<Js, Failure<Js>>) {
        call.settle(result.map(Js::own).map_err(Failure::own));
    }

    fn update(&self, call: &Self::Call, job: Js, look: Look) {
        // Later: whoever hears of it may make calls, and the client is in the middle of one.
        let (call, job) = (Rc::clone(call), job.own());
        wasm_bindgen_futures::spawn_local(async move { call.update(&job, look) });
    }

    fn alarm(&self, call: &Self::Call, task: u32, ms: f64) {
        let Some(connected) = self.line.0.get() else { return };
        if call.is_settled() {
            return;
        }
        let tell = Rc::clone(&connected.tell);
        call.keep_alarm(Timeout::new(ms.min(LONGEST) as u32, move || tell(Signal::Late(task))));
    }
}
