//! Who drives the futures: JavaScript in the npm build, `wasm-bindgen-futures` everywhere else. The two differ here alone.
//!
//! In the npm build an export polls its task once and returns; the facade hears of the promises that the
//! task waits for and resumes it when one of them settles. That is 4 KB smaller than wakers, closures and
//! a queue; a throw inside wasm is a throw in the facade, which rejects the call; and no task is ever
//! woken by the event of another request, which workerd answers by hanging.

use wasm_bindgen::prelude::*;

#[cfg(feature = "npm")]
pub use driven_by_js::{CURRENT, Wait};
#[cfg(not(feature = "npm"))]
pub use driven_by_rust::Wait;

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
    use crate::web::js::{field, method, set};

    thread_local! {
        /// The task that is being polled.
        pub static CURRENT: Cell<u32> = const { Cell::new(0) };
    }

    /// Waits for one thing that the facade promised: `cell.state` is 0 until then, then 1 or 2.
    #[derive(Debug)]
    pub struct Wait {
        cell: Settled,
        task: u32,
    }

    impl Wait {
        /// For a promise.
        pub fn promise(plumbing: &JsValue, promise: Settled) -> Self {
            match promise {
                Ok(promise) => Self::begin(plumbing, "wait", &promise),
                Err(thrown) => Self { cell: Err(thrown), task: 0 },
            }
        }

        /// For a while.
        pub fn sleep(plumbing: &JsValue, ms: f64) -> Self {
            Self::begin(plumbing, "sleep", &ms.into())
        }

        /// For a while, or for `wake`.
        pub fn nap(plumbing: &JsValue, ms: f64) -> Self {
            Self::begin(plumbing, "nap", &ms.into())
        }

        /// Ends every nap.
        pub fn wake(plumbing: &JsValue) {
            let _ = method(plumbing, "wake", &JsValue::UNDEFINED, &JsValue::UNDEFINED);
        }

        fn begin(plumbing: &JsValue, name: &str, what: &JsValue) -> Self {
            let task = CURRENT.get();
            Self { cell: method(plumbing, name, what, &task.into()), task }
        }
    }

    impl Future for Wait {
        type Output = Settled;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Settled> {
            let cell = match &self.cell {
                Ok(cell) => cell,
                Err(thrown) => return Poll::Ready(Err(thrown.clone())),
            };
            let state = field(cell, "state").as_f64().unwrap_or(2.0);
            if state > 0.0 {
                let value = field(cell, "value");
                return Poll::Ready(if state > 1.0 { Err(value) } else { Ok(value) });
            }
            // A charge whose caller went away goes on in another task.
            let task = CURRENT.get();
            if task != self.task {
                set(cell, "task", &task.into());
                self.task = task;
            }
            Poll::Pending
        }
    }

    impl Drop for Wait {
        fn drop(&mut self) {
            if let Ok(cell) = &self.cell {
                let _ = method(cell, "drop", &JsValue::UNDEFINED, &JsValue::UNDEFINED);
            }
        }
    }
}

#[cfg(not(feature = "npm"))]
mod driven_by_rust {
    use std::fmt;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use wasm_bindgen::prelude::*;

    use super::Settled;

    /// Waits for one thing.
    pub struct Wait(Pin<Box<dyn Future<Output = Settled>>>);

    impl fmt::Debug for Wait {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("Wait")
        }
    }

    impl Future for Wait {
        type Output = Settled;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
            self.0.as_mut().poll(context)
        }
    }

    #[cfg(feature = "serde")]
    impl Wait {
        /// For a promise.
        pub fn promise(_plumbing: &JsValue, promise: Settled) -> Self {
            Self(Box::pin(async move { wasm_bindgen_futures::JsFuture::from(js_sys::Promise::resolve(&promise?)).await }))
        }

        /// For a while.
        pub fn sleep(_plumbing: &JsValue, ms: f64) -> Self {
            let timer = gloo_timers::future::TimeoutFuture::new(ms.clamp(0.0, f64::from(i32::MAX)) as u32);
            Self(Box::pin(async move {
                timer.await;
                Ok(JsValue::UNDEFINED)
            }))
        }

        /// For a while. A short one at a time stands in for being woken: nothing here hears of other calls.
        pub fn nap(plumbing: &JsValue, ms: f64) -> Self {
            Self::sleep(plumbing, ms.min(1_000.0))
        }
    }

    /// Nobody can drive anything in a build without features; it only has to be well typed.
    #[cfg(not(feature = "serde"))]
    impl Wait {
        /// For ever.
        pub fn promise(_plumbing: &JsValue, _promise: Settled) -> Self {
            Self(Box::pin(std::future::pending()))
        }

        /// For ever.
        pub fn sleep(plumbing: &JsValue, _ms: f64) -> Self {
            Self::promise(plumbing, Ok(JsValue::UNDEFINED))
        }

        /// For ever.
        pub fn nap(plumbing: &JsValue, ms: f64) -> Self {
            Self::sleep(plumbing, ms)
        }
    }

    impl Wait {
        /// Naps are short.
        pub fn wake(_plumbing: &JsValue) {}
    }
}
