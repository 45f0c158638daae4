//! One request, through gloo-net.

use gloo_net::http::{Headers, Response};
use js_sys::{Array, Function};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, RequestInit};

use super::convert::{get, number};
use super::journal::settled;
use crate::api::percent_encode;
use crate::host::{Answer, Body, Reply, Request, Unusable};

#[wasm_bindgen(module = "/src/web/platform.js")]
extern "C" {
    #[wasm_bindgen(js_name = codeOf)]
    fn code_of(thrown: &JsValue) -> Option<String>;
    #[wasm_bindgen(catch, js_name = readAnswer)]
    fn read_answer(answer: &web_sys::Response, charges: bool) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = requestInit)]
    fn request_init(method: &str, headers: &web_sys::Headers, body: Option<&str>) -> RequestInit;

    type Abort;
    #[wasm_bindgen(constructor, catch)]
    fn new(is_read: bool) -> Result<Abort, JsValue>;
    #[wasm_bindgen(method, getter, structural)]
    fn signal(this: &Abort) -> Option<AbortSignal>;
    #[wasm_bindgen(method, structural)]
    fn over(this: &Abort, complete: bool);
}

#[wasm_bindgen]
extern "C" {
    // gloo-net's `send` never settles if `fetch` throws, or if the rejection is no `Error` of this realm. This import is not
    // async, since an async import does not catch a synchronous exception. It takes the URL, as an injected `fetch` does:
    // Next.js answers the second `Request` of one render from the first, whatever its cache mode and signal.
    #[wasm_bindgen(catch)]
    fn fetch(url: &str, init: &RequestInit) -> Result<JsValue, JsValue>;
}

/// Makes headers from pairs of name and value.
///
/// # Errors
/// The option with the invalid header. Never the value, which may be the key.
pub fn headers(pairs: &Array) -> Result<Headers, Unusable<JsValue>> {
    let unusable = |field| {
        let advice = "must be names and values that an HTTP header may hold: strings, without line breaks";
        Unusable { field, advice, cause: None }
    };
    let raw = web_sys::Headers::new().map_err(|_| unusable("headers"))?;
    for pair in pairs.iter() {
        let pair = Array::from(&pair);
        let (name, value) = (pair.get(0).as_string(), pair.get(1).as_string());
        let field = match name.as_deref() {
            Some("x-api-key") => "apiKey",
            Some("x-api-id") => "apiId",
            _ => "headers",
        };
        let (Some(name), Some(value)) = (name, value) else { return Err(unusable(field)) };
        // Some platforms trim line breaks at the ends of a value instead of refusing them.
        if !value.chars().all(|char| matches!(char, '\t' | ' '..='~' | '\u{80}'..='\u{ff}')) {
            return Err(unusable(field));
        }
        raw.append(&name, &value).map_err(|_| unusable(field))?;
    }
    let headers = Headers::from_raw(raw);
    headers.set("accept", "application/json");
    Ok(headers)
}

/// A request in flight. Dropping it aborts the request.
struct InFlight {
    abort: Abort,
    complete: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.abort.over(self.complete);
    }
}

/// Sends one request, synchronously when first polled. `injected` is the caller's own `fetch`.
pub async fn send(request: Request<'_>, headers: Headers, idempotent: bool, injected: Option<&Function>) -> Reply<JsValue> {
    let charges = request.endpoint.charges().is_some();
    let failed = |cause: JsValue| Reply::Failed { code: code_of(&cause), cause: Some(cause) };
    let mut in_flight = match Abort::new(!charges) {
        Ok(abort) => InFlight { abort, complete: false },
        Err(thrown) => return failed(thrown),
    };
    if request.body.is_some() {
        headers.set("content-type", "application/json");
    }
    if let Some(operation) = request.operation
        && idempotent
    {
        // A header's value has no other characters, and none at its ends.
        headers.set("idempotency-key", &percent_encode(operation));
    }
    let init = request_init(request.endpoint.method(), &headers.into_raw(), request.body);
    let unusable = |cause| {
        let advice = "is no URL that can be fetched; outside a page it must be absolute, and hold no login";
        Reply::Unusable(Unusable { field: "baseUrl", advice, cause })
    };
    let made = match web_sys::Request::new_with_str_and_init(request.url, &init) {
        Ok(made) => gloo_net::http::Request::from(made),
        Err(thrown) => return unusable(Some(thrown)),
    };
    if !made.url().starts_with("http") {
        return unusable(None);
    }
    init.set_signal(in_flight.abort.signal().as_ref());
    let returned = match injected {
        Some(injected) => injected.call2(&JsValue::UNDEFINED, &JsValue::from_str(request.url), &init),
        None => fetch(request.url, &init),
    };
    let response = match settled(returned).await {
        Ok(response) if response.is_object() => Response::from(response.unchecked_into::<web_sys::Response>()),
        Ok(_) => return Reply::Failed { code: None, cause: None },
        Err(thrown) => {
            in_flight.complete = true;
            return failed(thrown);
        }
    };
    let read = match settled(read_answer(&web_sys::Response::from(response), charges)).await {
        Ok(read) => read,
        Err(thrown) => return failed(thrown),
    };
    in_flight.complete = !get(&read, "cut").is_truthy();
    let json = get(&read, "json");
    let text = || get(&read, "text").as_string().unwrap_or_default();
    Reply::Answer(Answer {
        status: number(&read, "status").unwrap_or_default() as u16,
        retry_after_ms: number(&read, "retryAfter"),
        request_id: get(&read, "requestId").as_string(),
        body: if !json.is_undefined() {
            Body::Json(json)
        } else if in_flight.complete {
            Body::Text(text())
        } else {
            Body::Cut(text())
        },
    })
}
