//! The host for front ends written in Rust: the same plumbing, which tells the client of things by closures.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use gloo_timers::callback::Timeout;
use js_sys::Object;
use wasm_bindgen::prelude::*;

use super::host::{self, Plumbing, by_plumbing};
use crate::client::Slot;
use crate::error::Failure;
use crate::host::{Host, Signal};
use crate::poll::{LONGEST, Look};
use crate::value::Value;

#[wasm_bindgen(module = "/src/web/plumbing.js")]
extern "C" {
    #[wasm_bindgen(constructor)]
    fn new(options: &JsValue, core: &JsValue) -> Plumbing;
}

#[wasm_bindgen]
extern "C" {

    #[wasm_bindgen(method, structural, getter)]
    fn core(this: &Plumbing) -> JsValue;
    #[wasm_bindgen(method, structural)]
    fn listen(this: &Plumbing, count: i32);
}

/// The host whose calls are futures.
#[derive(Debug)]
pub struct RustHost(Plumbing, Line);

impl RustHost {
    /// Over plumbing of its own. `options` are those of `TemplateJobs` in JavaScript that do not concern the core:
    /// `apiId`, `apiKey`, `headers`, `fetch`, `journal`, `idempotencyHeader`, `listJobs`, `onEvent`; and `baseUrl`,
    /// which decides whether a charge carries an `Idempotency-Key` by default.
    pub fn over(options: &JsValue) -> Self {
        Self(Plumbing::new(options, &Object::new()), Line::default())
    }

    /// While this lives, a page that is shown again or a network that came back is worth a look.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.0.listen(1);
        Listening(self.0.clone())
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
    tell: Rc<dyn Fn(Signal<JsValue>)>,
    _resume: Closure<dyn Fn(u32, bool, JsValue)>,
    _build: Closure<dyn Fn(JsValue, JsValue) -> JsValue>,
}

impl fmt::Debug for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Line")
    }
}

impl Host for RustHost {
    type Value = JsValue;
    type Call = Rc<Slot<JsValue>>;

    by_plumbing!();

    fn connect(&self, client: impl Fn(Signal<JsValue>) + 'static) {
        let tell: Rc<dyn Fn(Signal<JsValue>)> = Rc::new(client);
        let resumed = Rc::clone(&tell);
        let resume = Closure::<dyn Fn(u32, bool, JsValue)>::new(move |task, ok, value| {
            resumed(Signal::Resume(task, if ok { Ok(value) } else { Err(value) }));
        });
        let build = Closure::<dyn Fn(JsValue, JsValue) -> JsValue>::new(|init: JsValue, headers: JsValue| {
            host::build(&init, &headers)
        });
        let _ = self.0.core().with("resume", resume.as_ref()).with("build", build.as_ref());
        self.1.0.get_or_init(|| Connected { tell, _resume: resume, _build: build });
    }

    fn settle(&self, call: &Self::Call, result: Result<&JsValue, &Failure<JsValue>>) {
        call.settle(result);
    }

    fn update(&self, call: &Self::Call, job: &JsValue, look: Look) {
        // Later: whoever hears of it may make calls, and the client is in the middle of one.
        let (call, job) = (Rc::clone(call), job.clone());
        wasm_bindgen_futures::spawn_local(async move { call.update(&job, look) });
    }

    fn alarm(&self, call: &Self::Call, task: u32, ms: f64) {
        let Some(connected) = self.1.0.get() else { return };
        if call.is_settled() {
            return;
        }
        let tell = Rc::clone(&connected.tell);
        call.keep_alarm(Timeout::new(ms.min(LONGEST) as u32, move || tell(Signal::Late(task))));
    }
}
