//! Who drives the futures: JavaScript in the npm build, `wasm-bindgen-futures` everywhere else. The two differ here alone.
//!
//! In the npm build an export polls its task once and returns; the facade hears of the promises that the
//! task waits for and resumes it when one of them settles. That is 4 KB smaller than wakers, closures and
//! a queue; a throw inside wasm is a throw in the facade, which rejects the call; and no task is ever
//! woken by the event of another request, which workerd answers by hanging.

use wasm_bindgen::prelude::*;

#[cfg(feature = "npm")]
pub use driven_by_js::{CURRENT, settle, sleep, wake};
#[cfg(not(feature = "npm"))]
pub use driven_by_rust::{settle, sleep, wake};

/// Sleeps through every `wake`.
pub async fn sleep_through(plumbing: &JsValue, ms: f64, clock: impl Fn() -> f64) {
    let until = clock() + ms;
    loop {
        let left = until - clock();
        if left <= 0.0 {
            return;
        }
        sleep(plumbing, left).await;
    }
}

/// What a promise comes to. Whatever is not a promise comes to itself.
pub type Settled = Result<JsValue, JsValue>;

#[cfg(feature = "npm")]
mod driven_by_js {
    use std::cell::Cell;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use wasm_bindgen::prelude::*;

    use super::Settled;
    use crate::value::Value;
    use crate::web::js::{method, set};

    thread_local! {
        /// The task that is being polled.
        pub static CURRENT: Cell<u32> = const { Cell::new(0) };
    }

    /// Waits for one thing that the facade promised: `cell.state` is 0 until then, then 1 or 2.
    struct Wait {
        cell: Settled,
        task: u32,
    }

    impl Future for Wait {
        type Output = Settled;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Settled> {
            let cell = match &self.cell {
                Ok(cell) => cell,
                Err(thrown) => return Poll::Ready(Err(thrown.clone())),
            };
            let value = || cell.get("value").unwrap_or(JsValue::UNDEFINED);
            match cell.number("state") {
                Some(1.0) => Poll::Ready(Ok(value())),
                Some(2.0) => Poll::Ready(Err(value())),
                _ => {
                    // A charge whose caller went away goes on in another task.
                    let task = CURRENT.get();
                    if task != self.task {
                        set(cell, "task", &task.into());
                        self.task = task;
                    }
                    Poll::Pending
                }
            }
        }
    }

    impl Drop for Wait {
        fn drop(&mut self) {
            if let Ok(cell) = &self.cell {
                let _ = method(cell, "drop", &JsValue::UNDEFINED, &JsValue::UNDEFINED);
            }
        }
    }

    fn wait(plumbing: &JsValue, name: &str, what: &JsValue) -> Wait {
        let task = CURRENT.get();
        Wait { cell: method(plumbing, name, what, &task.into()), task }
    }

    /// Waits for a promise.
    pub async fn settle(plumbing: &JsValue, promise: JsValue) -> Settled {
        wait(plumbing, "wait", &promise).await
    }

    /// Waits for a while, or for `wake`.
    pub async fn sleep(plumbing: &JsValue, ms: f64) {
        let _ = wait(plumbing, "sleep", &ms.into()).await;
    }

    /// Ends every `sleep`.
    pub fn wake(plumbing: &JsValue) {
        let _ = method(plumbing, "wake", &JsValue::UNDEFINED, &JsValue::UNDEFINED);
    }
}

#[cfg(not(feature = "npm"))]
mod driven_by_rust {
    use wasm_bindgen::prelude::*;

    use super::Settled;

    /// Waits for a promise.
    #[cfg(feature = "serde")]
    pub async fn settle(_plumbing: &JsValue, promise: JsValue) -> Settled {
        wasm_bindgen_futures::JsFuture::from(js_sys::Promise::resolve(&promise)).await
    }

    /// Waits for a while.
    #[cfg(feature = "serde")]
    pub async fn sleep(_plumbing: &JsValue, ms: f64) {
        // A short nap at a time stands in for being woken: nothing here hears of other calls.
        gloo_timers::future::TimeoutFuture::new(ms.clamp(0.0, 1_000.0) as u32).await;
    }

    /// Nobody can drive anything in this build; it only has to be well typed.
    #[cfg(not(feature = "serde"))]
    pub async fn settle(_plumbing: &JsValue, _promise: JsValue) -> Settled {
        std::future::pending().await
    }

    /// See `settle`.
    #[cfg(not(feature = "serde"))]
    pub async fn sleep(_plumbing: &JsValue, _ms: f64) {
        std::future::pending().await
    }

    /// Sleeps are short.
    pub fn wake(_plumbing: &JsValue) {}
}
