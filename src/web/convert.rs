//! Conversions: JavaScript values for the core, and the core's errors and events for JavaScript.

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::Error;
use crate::host::Event;
use crate::job::JobFields;
use crate::member::Member;

#[wasm_bindgen]
extern "C" {
    /// A job as the server returned it. The getters return any value, since the server may send anything.
    #[derive(Clone)]
    type Job;
    #[wasm_bindgen(method, getter, structural)]
    fn id(this: &Job) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    fn status(this: &Job) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    fn progress(this: &Job) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    fn preview(this: &Job) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    fn video_output(this: &Job) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    fn updated_at(this: &Job) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    fn credits_used(this: &Job) -> JsValue;
    #[wasm_bindgen(method, getter, structural)]
    fn duration(this: &Job) -> JsValue;
}

/// The fields of a job that the core reads.
pub fn job_fields(value: &JsValue) -> JobFields {
    if !value.is_object() {
        return JobFields::default();
    }
    let job: &Job = value.unchecked_ref();
    // The text is long and not needed.
    let is_filled = |text: &JsValue| text.is_string() && text.is_truthy();
    JobFields {
        id: member(&job.id()),
        status: member(&job.status()),
        progress: member(&job.progress()),
        has_preview: is_filled(&job.preview()),
        has_video: is_filled(&job.video_output()),
        updated_at: member(&job.updated_at()),
        credits_used: member(&job.credits_used()),
        duration: member(&job.duration()),
    }
}

/// Converts the value of a member.
pub fn member(value: &JsValue) -> Member {
    if let Some(text) = value.as_string() {
        Member::Text(text)
    } else if let Some(number) = value.as_f64().filter(|number| number.is_finite()) {
        Member::Number(number)
    } else if let Some(truth) = value.as_bool() {
        Member::Bool(truth)
    } else if Array::is_array(value) {
        Member::List
    } else if value.is_object() {
        Member::Object
    } else {
        Member::Unset
    }
}

/// A property of an object; undefined if the value is no object or cannot be read.
pub fn get(value: &JsValue, name: &str) -> JsValue {
    // `Reflect.get` would throw, and each exception of an import takes a slot of a table for good.
    if !value.is_object() {
        return JsValue::UNDEFINED;
    }
    Reflect::get(value, &JsValue::from_str(name)).unwrap_or_default()
}

/// The names of an object's own properties; none if the value is no object.
pub fn names(value: &JsValue) -> Vec<String> {
    let keys = if value.is_object() { Object::keys(value.unchecked_ref::<Object>()) } else { Array::new() };
    keys.iter().filter_map(|key| key.as_string()).collect()
}

/// A number of a caller's options, for the core to check: NaN if it is set and no number.
#[cfg(feature = "npm")]
pub fn given_number(value: &JsValue) -> Option<f64> {
    if value.is_undefined() { None } else { Some(value.as_f64().unwrap_or(f64::NAN)) }
}

/// A property that is a string.
pub fn text(value: &JsValue, name: &str) -> Option<String> {
    get(value, name).as_string()
}

/// A property that is a number.
pub fn number(value: &JsValue, name: &str) -> Option<f64> {
    get(value, name).as_f64().filter(|number| !number.is_nan())
}

/// A JavaScript object that is built up.
#[derive(Debug, Default)]
pub struct Record(Object);

impl Record {
    /// Adds a property.
    #[must_use]
    pub fn with(self, name: &str, value: impl Into<JsValue>) -> Self {
        // This does not fail, since the object is our own.
        let _ = Reflect::set(&self.0, &JsValue::from_str(name), &value.into());
        self
    }

    /// Adds a property, if it has a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl Into<JsValue>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl From<Record> for JsValue {
    fn from(record: Record) -> Self {
        record.0.into()
    }
}

#[wasm_bindgen(module = "/src/web/redact.js")]
extern "C" {
    fn redact(value: &JsValue, secrets: &Array) -> JsValue;
    #[wasm_bindgen(js_name = redactError)]
    fn redact_error(thrown: &JsValue, secrets: &Array) -> JsValue;
}

#[wasm_bindgen(module = "/src/web/platform.js")]
extern "C" {
    #[wasm_bindgen(thread_local_v2, js_name = inBrowser)]
    static IN_BROWSER: bool;
}

/// Whether this is a page, a worker of one, or a simulated page such as jsdom.
pub fn in_browser() -> bool {
    IN_BROWSER.with(|in_browser| *in_browser)
}

/// A text without secrets.
pub fn clean(text: &str, secrets: &Array) -> String {
    redact(&JsValue::from_str(text), secrets).as_string().unwrap_or_default()
}

/// An error without secrets. The job is not copied.
pub fn redacted(error: Error<JsValue>, secrets: &Array) -> Error<JsValue> {
    error.map(|text| clean(text, secrets), |body| redact(body, secrets), |cause| redact_error(cause, secrets))
}

/// The record of a redacted error, from which the facade makes an `Error`.
#[cfg(feature = "npm")]
pub fn error_record(error: &Error<JsValue>) -> JsValue {
    use crate::error::ErrorKind;

    let record = Record::default()
        .with("name", error.name())
        .with("message", error.message())
        .with("charged", error.charged().as_str())
        .with("remedy", error.remedy().as_str())
        .with_some("operation", error.operation())
        .with_some("jobId", error.job_id())
        .with_some("job", error.job())
        .with_some("body", error.body())
        .with_some("text", error.text())
        .with_some("cause", error.cause());
    let record = match error.kind() {
        ErrorKind::InvalidRequest { field } => record.with("field", field.as_str()),
        ErrorKind::Api { status, kind, retry_after_ms } => {
            record.with("status", *status).with("kind", kind.as_str()).with_some("retryAfterMs", *retry_after_ms)
        }
        ErrorKind::Connection { sent } => record.with("sent", *sent),
        ErrorKind::JobFailed { reason } => record.with("reason", reason.as_str()),
        ErrorKind::BudgetExceeded { estimate, remaining } => {
            record.with("estimate", *estimate).with("remaining", *remaining)
        }
        ErrorKind::ChargeUnknown
        | ErrorKind::PollTimeout
        | ErrorKind::IncompleteResult { .. }
        | ErrorKind::OperationConflict
        | ErrorKind::Journal => record,
    };
    record.into()
}

/// The object of an event, without secrets.
pub fn event_record(event: &Event<'_>, secrets: &Array) -> JsValue {
    let record = Record::default();
    let clean = |text: &str| redact(&JsValue::from_str(text), secrets);
    let record = match *event {
        Event::Request { method, path, operation } => {
            record.with("type", "request").with("method", method).with("path", clean(path)).with_some("operation", operation)
        }
        Event::Response { method, path, status, ms, attempt, operation, request_id } => record
            .with("type", "response")
            .with("method", method)
            .with("path", clean(path))
            .with("status", status)
            .with("ms", ms)
            .with("attempt", attempt)
            .with_some("operation", operation)
            .with_some("requestId", request_id.map(clean)),
        Event::Retry { path, in_ms } => record.with("type", "retry").with("path", clean(path)).with("inMs", in_ms),
        Event::Poll { job_id, in_ms } => record.with("type", "poll").with("jobId", job_id).with("inMs", in_ms),
        Event::Verdict { operation, verdict, job_id } => {
            record.with("type", "verdict").with("operation", operation).with("verdict", verdict).with_some("jobId", job_id)
        }
        Event::Skipped { key } => record.with("type", "skipped").with("key", key),
        Event::Warning { code, message, operation, job_id } => record
            .with("type", "warning")
            .with("code", code)
            .with("message", message)
            .with_some("operation", operation)
            .with_some("jobId", job_id),
    };
    record.into()
}
