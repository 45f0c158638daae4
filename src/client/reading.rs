//! Reads: asked for, judged, and tried again while that may help. Nothing here charges.

use super::answer::{Outcome, judged};
use super::{Core, Owner, Task};
use crate::api::Endpoint;
use crate::error::say;
use crate::host::{Answer, Host, Request};
use crate::poll::LONGEST;
use crate::retry;
use crate::value::{Kept, Value};

/// One read under way.
pub struct Reading<V: Value> {
    endpoint: Endpoint,
    id: Kept<V>,
    timeout: f64,
    /// How often it may still be tried again, and how often it was.
    retries: u32,
    attempt: u32,
    sent: bool,
    /// Whether it serves waits alone; see [`Request::shared`].
    shared: bool,
}

impl<V: Value> Reading<V> {
    /// `timeout` is for one request, in milliseconds.
    pub fn new(endpoint: Endpoint, id: V, timeout: f64, retries: u32) -> Self {
        Self { endpoint, id: id.into(), timeout, retries, attempt: 0, sent: false, shared: false }
    }
}

impl<H: Host> Core<H> {
    /// Looks at a job in the name of another task, which is told what for; the number of the look. What is heard is taken for
    /// its answer.
    pub(super) fn look(&mut self, parent: u32, what: u32, id: H::Value, retries: u32, heard: H::Value) -> u32 {
        let reading = Reading::new(Endpoint::Get, id, self.config.timeout, retries);
        let reading = Reading { shared: parent == self.watch, sent: heard.is_there(), ..reading };
        let number = self.place(Owner::Task(parent, what), Task::Read(Box::new(reading)));
        self.advance(number, 0, Ok(heard));
        number
    }

    /// Looks as often as a read is tried.
    pub(super) fn look_well(&mut self, parent: u32, id: H::Value) {
        self.look(parent, 0, id, self.config.max_retries, H::Value::nothing());
    }

    pub(super) fn read_on(
        &mut self,
        task: u32,
        reading: &mut Reading<H::Value>,
        answer: Answer<H::Value>,
    ) -> Option<Outcome<H::Value>> {
        let path = say(reading.endpoint.path(), *reading.id, *reading.id);
        if !reading.sent {
            reading.sent = true;
            let nothing = H::Value::nothing();
            let shared = if reading.shared { self.key(*reading.id) } else { nothing };
            self.send(task, reading.endpoint, path, [nothing, nothing, shared], reading.timeout);
            return None;
        }
        let judged = judged(reading.endpoint, *reading.id, answer.unwrap_or_else(|thrown| thrown));
        let (failure, again) = match judged {
            Ok(value) => {
                self.tries.earn();
                if reading.endpoint == Endpoint::Get {
                    self.notice(value);
                }
                return Some(Ok(value));
            }
            Err(failure) => failure,
        };
        if !again || reading.attempt >= reading.retries || !self.tries.take() {
            return Some(Err(failure));
        }
        let wait = retry::backoff(reading.attempt, self.host.random(), failure.0.number_of("retryAfterMs"));
        reading.attempt += 1;
        reading.sent = false;
        self.pause(task, path, wait);
        None
    }

    /// Sends one request for a task. `operation` is the one that it charges for, or nothing.
    pub(super) fn send(
        &mut self,
        task: u32,
        endpoint: Endpoint,
        path: H::Value,
        [body, operation, shared]: [H::Value; 3],
        timeout: f64,
    ) {
        if self.hears {
            let record = event::<H>("request").with_text("method", endpoint.method());
            self.host.event(record.with("path", path).with("operation", operation));
        }
        self.host.send(
            task,
            Request {
                endpoint,
                url: say("%0%1", *self.config.base_url, path),
                body,
                operation,
                shared,
                timeout: timeout.min(LONGEST),
            },
        );
    }

    /// Waits before another try.
    pub(super) fn pause(&mut self, task: u32, path: H::Value, wait: f64) {
        if self.hears {
            self.host.event(event::<H>("retry").with("path", path).with_number("inMs", wait));
        }
        self.host.sleep(task, wait, false);
    }
}

/// The beginning of a record for the log.
pub(super) fn event<H: Host>(kind: &'static str) -> H::Value {
    H::Value::record().with_text("type", kind)
}
