//! One request, through gloo-net.

use gloo_net::http::{Headers, Response};
use js_sys::{Array, Function};
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, RequestCache, RequestInit, RequestRedirect};

use super::convert::{get, number};
use super::journal::settled;
use crate::host::{Answer, Body, Reply, Request, Unusable};

#[wasm_bindgen(module = "/src/web/platform.js")]
extern "C" {
    #[wasm_bindgen(js_name = takesCache)]
    fn takes_cache() -> bool;
    #[wasm_bindgen(js_name = codeOf)]
    fn code_of(thrown: &JsValue) -> Option<String>;
    #[wasm_bindgen(catch, js_name = readAnswer)]
    fn read_answer(answer: &web_sys::Response, charges: bool) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = abortWhenLeft)]
    fn abort_when_left(controller: &AbortController);
    #[wasm_bindgen(js_name = keepWhenLeft)]
    fn keep_when_left(controller: &AbortController);
}

#[wasm_bindgen]
extern "C" {
    // gloo-net's `send` leaves its promise pending for ever where the rejection is no `Error` of this realm, and where `fetch`
    // throws. This one is not async, since an async import does not catch what is thrown at once.
    #[wasm_bindgen(catch)]
    fn fetch(request: &web_sys::Request) -> Result<JsValue, JsValue>;
}

/// Makes headers from pairs of name and value.
///
/// # Errors
/// The option with the header that cannot be sent. Never the value itself: it may be the key.
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
        // Some platforms trim line breaks at the ends of a value in place of refusing them.
        if !value.chars().all(|char| matches!(char, '\t' | ' '..='~' | '\u{80}'..='\u{ff}')) {
            return Err(unusable(field));
        }
        raw.append(&name, &value).map_err(|_| unusable(field))?;
    }
    let headers = Headers::from_raw(raw);
    headers.set("accept", "application/json");
    Ok(headers)
}

/// Aborts a request when it is given up. One whose answer is complete is not aborted: that would cost 0.1 ms in Node.
struct Abort {
    controller: AbortController,
    is_read: bool,
    complete: bool,
}

impl Drop for Abort {
    fn drop(&mut self) {
        if self.is_read {
            keep_when_left(&self.controller);
        }
        if !self.complete {
            self.controller.abort();
        }
    }
}

/// Sends one request, before it waits for anything. `injected` is the caller's own `fetch`.
pub async fn send(request: Request<'_>, headers: Headers, idempotent: bool, injected: Option<&Function>) -> Reply<JsValue> {
    let charges = request.endpoint.charges().is_some();
    let failed = |cause: JsValue| Reply::Failed { code: code_of(&cause), cause: Some(cause) };
    let controller = match AbortController::new() {
        Ok(controller) => controller,
        Err(thrown) => return failed(thrown),
    };
    let init = RequestInit::new();
    init.set_method(request.endpoint.method());
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(&controller.signal()));
    if takes_cache() {
        init.set_cache(RequestCache::NoStore);
    }
    if let Some(body) = request.body {
        headers.set("content-type", "application/json");
        init.set_body(&JsValue::from_str(body));
    }
    if let Some(operation) = request.operation
        && idempotent
        && operation.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    {
        headers.set("idempotency-key", operation);
    }
    init.set_headers(&headers.into_raw());
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
    let mut abort = Abort { controller, is_read: !charges, complete: false };
    if abort.is_read {
        abort_when_left(&abort.controller);
    }
    let returned = match injected {
        Some(injected) => injected.call2(&JsValue::UNDEFINED, &JsValue::from_str(request.url), &init),
        None => fetch(&made.into()),
    };
    let response = match settled(returned).await {
        Ok(response) if response.is_object() => Response::from(response.unchecked_into::<web_sys::Response>()),
        Ok(_) => return Reply::Failed { code: None, cause: None },
        Err(thrown) => {
            abort.complete = true;
            return failed(thrown);
        }
    };
    let read = match settled(read_answer(&web_sys::Response::from(response), charges)).await {
        Ok(read) => read,
        Err(thrown) => return failed(thrown),
    };
    abort.complete = !get(&read, "cut").is_truthy();
    let json = get(&read, "json");
    let text = || get(&read, "text").as_string().unwrap_or_default();
    Reply::Answer(Answer {
        status: number(&read, "status").unwrap_or_default() as u16,
        retry_after_ms: number(&read, "retryAfter"),
        body: if !json.is_undefined() {
            Body::Json(json)
        } else if abort.complete {
            Body::Text(text())
        } else {
            Body::Cut(text())
        },
    })
}
