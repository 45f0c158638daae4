//! The host for browsers, workers, Node, Deno and Bun.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;

use gloo_net::http::Headers;
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Date, Function, JSON, Math, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::convert::{self, Record, get, member, number};
use super::http;
use super::journal::{self, Journal, indexed_db_journal, memory_journal, settled};
use crate::client::Client;
use crate::error::Error;
use crate::host::{Answer, Body, Env, Event, Host, JournalCall, JournalReply, Reply, Request, Store, Unusable};
use crate::job::JobFields;
use crate::member::Member;
use crate::poll;

/// The most secrets that are kept besides those of requests in flight: a key may change with each request.
const SECRETS: usize = 16;
/// The shortest header value that counts as a secret, in bytes.
const SECRET: usize = 8;

#[wasm_bindgen(module = "/src/web/platform.js")]
extern "C" {
    #[wasm_bindgen(js_name = hasTabs)]
    fn has_tabs() -> bool;
    #[wasm_bindgen(js_name = pollsAtOnce)]
    fn polls_at_once() -> u32;
    #[wasm_bindgen(js_name = isVisible)]
    fn is_visible() -> bool;
    #[wasm_bindgen(js_name = isOnline)]
    fn is_online() -> bool;
    fn monotonic() -> f64;
    #[wasm_bindgen(js_name = reasonOf)]
    fn reason_of(body: &JsValue) -> Option<String>;
    #[wasm_bindgen(catch, js_name = headerPairs)]
    fn header_pairs(options: &JsValue) -> Result<JsValue, JsValue>;
    fn listen(begin: bool, changed: &Function);
    #[wasm_bindgen(js_name = hasLocks)]
    fn has_locks() -> bool;

    type Lock;
    #[wasm_bindgen(constructor)]
    fn new(name: &str) -> Lock;
    #[wasm_bindgen(method, getter, structural)]
    fn ready(this: &Lock) -> Promise;
    #[wasm_bindgen(method, structural)]
    fn release(this: &Lock);
}

#[wasm_bindgen(module = "/src/web/tabs.js")]
extern "C" {
    type Tabs;
    #[wasm_bindgen(constructor)]
    fn new(name: &str, receive: &Function) -> Tabs;
    #[wasm_bindgen(method, structural)]
    fn turn(this: &Tabs, id: &str) -> Option<JsTurn>;
    #[wasm_bindgen(method, structural)]
    fn close(this: &Tabs);

    #[wasm_bindgen(js_name = Turn)]
    type JsTurn;
    #[wasm_bindgen(method, getter, structural)]
    fn ready(this: &JsTurn) -> Promise;
    #[wasm_bindgen(method, structural)]
    fn publish(this: &JsTurn, at: f64, answer: &JsValue);
    #[wasm_bindgen(method, structural)]
    fn free(this: &JsTurn);
}

#[wasm_bindgen(module = "/src/web/snapshot.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    pub(super) fn snapshot(value: &JsValue, root: &str) -> Result<String, JsValue>;
    fn covers(request: &JsValue, job: &JsValue) -> bool;
}

#[wasm_bindgen(module = "/src/web/operation.js")]
extern "C" {
    #[wasm_bindgen(js_name = newOperation)]
    pub(super) fn new_operation() -> String;
}

/// The options of a client that its host needs, copied.
#[derive(Clone, Default)]
pub struct HostOptions {
    /// An object with `apiId`, `apiKey` and `headers`, values or functions.
    pub credentials: JsValue,
    /// The caller's own `fetch`, called as `(url, init)`.
    pub fetch: Option<Function>,
    /// The caller's own journal, or `"memory"`, or undefined for the default.
    pub journal: JsValue,
    /// The caller's function that lists jobs, called with a `Date`.
    pub list_jobs: Option<Function>,
    /// Receives events. It must not throw, nor call the client at once.
    pub on_event: Option<Function>,
    /// Called with the operation of a charge right before its request is sent.
    pub on_send: Option<Function>,
    /// Whether a charge carries `Idempotency-Key`.
    pub idempotent: bool,
}

impl fmt::Debug for HostOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the credentials.
        formatter.debug_struct("HostOptions").finish_non_exhaustive()
    }
}

/// The host over `fetch`.
pub struct WebHost {
    options: HostOptions,
    journal: Journal,
    journal_in_memory: bool,
    journal_by_default: bool,
    /// The newest last.
    secrets: RefCell<Vec<Rc<str>>>,
    tabs: OnceCell<Tabs>,
    closures: OnceCell<Closures>,
    listening: Cell<bool>,
}

/// The functions that JavaScript calls.
struct Closures {
    changed: Closure<dyn Fn(JsValue)>,
    _receive: Closure<dyn Fn(String, f64, JsValue)>,
}

/// The headers of a request, and the secrets in them.
pub struct WebHeaders {
    headers: Headers,
    _secrets: Vec<Rc<str>>,
}

impl fmt::Debug for WebHeaders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        formatter.write_str("WebHeaders")
    }
}

/// A lock that is held.
pub struct WebLock(Lock);

impl fmt::Debug for WebLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebLock")
    }
}

impl Drop for WebLock {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The turn to poll a job.
pub struct WebTurn {
    turn: JsTurn,
    published: bool,
}

impl fmt::Debug for WebTurn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WebTurn").field("published", &self.published).finish_non_exhaustive()
    }
}

impl Drop for WebTurn {
    fn drop(&mut self) {
        // A turn that published replies to other tabs for a moment, and then ends by itself.
        if !self.published {
            self.turn.free();
        }
    }
}

impl fmt::Debug for WebHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebHost")
    }
}

impl WebHost {
    /// A host. It does no I/O yet.
    pub fn new(options: HostOptions) -> Self {
        let is_default = options.journal.is_falsy();
        let is_page = convert::in_browser();
        let chosen = if !is_default && options.journal.as_string().is_none() {
            Some(options.journal.clone().unchecked_into())
        } else if is_default && is_page {
            indexed_db_journal()
        } else {
            None
        };
        let journal_in_memory = chosen.is_none();
        let host = Self {
            options,
            journal: chosen.unwrap_or_else(memory_journal),
            journal_in_memory,
            // The DOM of a test stands for a page, and so for one process.
            journal_by_default: journal_in_memory && is_default && !is_page,
            secrets: RefCell::default(),
            tabs: OnceCell::new(),
            closures: OnceCell::new(),
            listening: Cell::new(false),
        };
        // An error before the first request may contain them already.
        let headers = get(&host.options.credentials, "headers");
        let pairs = if Array::is_array(&headers) { Array::from(&headers) } else { Array::new() };
        pairs.push(&Array::of2(&JsValue::from_str("x-api-key"), &get(&host.options.credentials, "apiKey")));
        drop(host.keep_secrets(&pairs));
        if journal_in_memory && is_default && is_page {
            let message = "There is no indexedDB here, so charges are recorded in memory only.";
            host.emit(Event::Warning { code: "no_indexeddb", message, operation: None, job_id: None });
        }
        host
    }

    /// Whether the journal lives in the memory of this process only.
    pub fn journal_in_memory(&self) -> bool {
        self.journal_in_memory
    }

    /// Whether the caller did not choose a journal that lives in memory.
    pub fn journal_by_default(&self) -> bool {
        self.journal_by_default
    }

    /// Connects a client to other tabs and to changes of the page. `namespace` identifies the account.
    pub fn connect(client: &Client<Self>, namespace: &str) {
        let host = client.host();
        if !convert::in_browser() {
            return;
        }
        let weak = client.downgrade();
        let changed = Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| {
            if let Some(client) = weak.upgrade() {
                client.environment_changed(convert::text(&event, "type").as_deref() == Some("pageshow"));
            }
        });
        let weak = client.downgrade();
        let receive = Closure::<dyn Fn(String, f64, JsValue)>::new(move |id: String, at: f64, data: JsValue| {
            if let Some(client) = weak.upgrade() {
                client.receive(&id, at, answer_of(&data));
            }
        });
        if has_tabs() {
            let _ = host.tabs.set(Tabs::new(namespace, receive.as_ref().unchecked_ref()));
        }
        let _ = host.closures.set(Closures { changed, _receive: receive });
    }

    /// The secrets that no error and no event may hold.
    pub fn secrets(&self) -> Array {
        self.secrets.borrow().iter().map(|secret| JsValue::from_str(secret)).collect()
    }

    /// An error without secrets.
    pub fn redacted(&self, error: Error<JsValue>) -> Error<JsValue> {
        convert::redacted(error, &self.secrets())
    }

    fn keep_secrets(&self, pairs: &Array) -> Vec<Rc<str>> {
        let mut secrets = self.secrets.borrow_mut();
        let mut used = Vec::new();
        for pair in pairs.iter() {
            let (name, value) = (get(&pair, "0"), get(&pair, "1").as_string().unwrap_or_default());
            let is_key = name == "x-api-key";
            if value.is_empty() || !is_key && (name == "x-api-id" || value.len() < SECRET) {
                continue;
            }
            let at = secrets.iter().position(|known| **known == *value);
            let secret = at.map_or_else(|| Rc::from(value), |at| secrets.remove(at));
            used.push(Rc::clone(&secret));
            secrets.push(secret);
        }
        let mut spare = secrets.len().saturating_sub(SECRETS);
        secrets.retain(|secret| {
            let drop = spare > 0 && Rc::strong_count(secret) == 1;
            spare -= usize::from(drop);
            !drop
        });
        used
    }
}

fn answer_of(data: &JsValue) -> Answer<JsValue> {
    let body = get(data, "body");
    Answer {
        status: number(data, "status").unwrap_or_default() as u16,
        retry_after_ms: number(data, "retryAfter"),
        request_id: None,
        body: if body.is_undefined() { Body::Text(String::new()) } else { Body::Json(body) },
    }
}

impl Host for WebHost {
    type Value = JsValue;
    type Headers = WebHeaders;
    type Lock = WebLock;
    type Turn = WebTurn;

    fn parse(&self, text: &str) -> Option<JsValue> {
        JSON::parse(text).ok()
    }

    fn members<const N: usize>(&self, value: &JsValue, names: [&'static str; N]) -> [Member; N] {
        names.map(|name| member(&get(value, name)))
    }

    fn member(&self, value: &JsValue, name: &str) -> Option<JsValue> {
        Some(get(value, name)).filter(|found| !found.is_undefined())
    }

    fn names(&self, value: &JsValue) -> Vec<String> {
        convert::names(value)
    }

    fn elements(&self, value: &JsValue) -> Option<Vec<JsValue>> {
        Array::is_array(value).then(|| Array::from(value).to_vec())
    }

    fn job(&self, value: &JsValue) -> JobFields {
        convert::job_fields(value)
    }

    fn made_at(&self, job: &JsValue) -> Option<f64> {
        convert::text(job, "created_at").map(|text| Date::parse(&text)).filter(|ms| !ms.is_nan())
    }

    fn reason(&self, body: &JsValue) -> Option<String> {
        reason_of(body)
    }

    fn with_webhook_url(&self, request: &str, url: &str) -> String {
        let changed = JSON::parse(request).and_then(|request| {
            Reflect::set(&request, &JsValue::from_str("webhook_url"), &JsValue::from_str(url))?;
            snapshot(&request, "request")
        });
        // This does not fail, since the text is our own JSON.
        changed.unwrap_or_default()
    }

    fn covers(&self, request: &str, job: &JsValue) -> bool {
        let Ok(request) = JSON::parse(request) else { return false };
        ["variables", "model_version"].into_iter().all(|name| {
            let (given, found) = (get(&request, name), get(job, name));
            given.is_null() || given.is_undefined() || covers(&given, &found) || given == "standard" && !found.is_string()
        })
    }

    async fn headers(&self) -> Result<WebHeaders, Unusable<JsValue>> {
        let pairs = settled(header_pairs(&self.options.credentials)).await.map_err(|cause| {
            let advice = "could not be created: the function for headers or apiKey failed";
            Unusable { field: "headers", advice, cause: Some(cause) }
        })?;
        let pairs = Array::from(&pairs);
        let secrets = self.keep_secrets(&pairs);
        Ok(WebHeaders { headers: http::headers(&pairs)?, _secrets: secrets })
    }

    async fn fetch(&self, request: Request<'_>, headers: WebHeaders) -> Reply<JsValue> {
        if let (Some(on_send), Some(operation)) = (&self.options.on_send, request.operation) {
            let _ = on_send.call1(&JsValue::UNDEFINED, &JsValue::from_str(operation));
        }
        let mut reply = http::send(request, headers.headers, self.options.idempotent, self.options.fetch.as_ref()).await;
        // Before the text is truncated, so that no part of a secret stays.
        if let Reply::Answer(Answer { body: Body::Text(text) | Body::Cut(text), .. }) = &mut reply {
            *text = convert::clean(text, &self.secrets());
        }
        reply
    }

    async fn journal(&self, store: Store, call: JournalCall<'_>) -> Result<JournalReply, JsValue> {
        match store {
            Store::Configured => journal::call(&self.journal, call).await,
            Store::Process => journal::call(&memory_journal(), call).await,
        }
    }

    async fn list_jobs(&self, since: f64) -> Option<Result<JsValue, JsValue>> {
        let list = self.options.list_jobs.as_ref()?;
        let since = Date::new(&JsValue::from_f64(since));
        Some(settled(list.call1(&JsValue::UNDEFINED, &since)).await)
    }

    async fn lock(&self, name: &str) -> Option<WebLock> {
        if !has_locks() {
            return None;
        }
        let lock = WebLock(Lock::new(&format!("custom-template-jobs/{name}")));
        // This promise never rejects.
        let _ = JsFuture::from(lock.0.ready()).await;
        Some(lock)
    }

    fn now(&self) -> f64 {
        monotonic()
    }

    fn wall(&self) -> f64 {
        Date::now()
    }

    fn random(&self) -> f64 {
        Math::random()
    }

    fn token(&self) -> String {
        new_operation()
    }

    async fn sleep(&self, ms: f64) {
        TimeoutFuture::new(poll::between(ms.ceil(), 0.0, poll::LONGEST) as u32).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn_local(task);
    }

    fn env(&self) -> Env {
        Env { visible: is_visible(), online: is_online() }
    }

    fn shares(&self) -> bool {
        polls_at_once() > 0
    }

    fn polls_at_once(&self) -> usize {
        polls_at_once().max(1) as usize
    }

    fn listen(&self, begin: bool) {
        if self.listening.replace(begin) == begin {
            return;
        }
        if let Some(closures) = self.closures.get() {
            listen(begin, closures.changed.as_ref().unchecked_ref());
        }
        if let (false, Some(tabs)) = (begin, self.tabs.get()) {
            tabs.close();
        }
    }

    async fn turn(&self, job_id: &str) -> Option<WebTurn> {
        let turn = WebTurn { turn: self.tabs.get()?.turn(job_id)?, published: false };
        let _ = JsFuture::from(turn.turn.ready()).await;
        Some(turn)
    }

    fn publish(&self, mut turn: WebTurn, asked_at: f64, answer: &Answer<JsValue>) {
        let Body::Json(body) = &answer.body else { return };
        turn.published = true;
        let record = Record::default()
            .with("status", answer.status)
            .with_some("retryAfter", answer.retry_after_ms)
            .with("body", body);
        turn.turn.publish(asked_at, &record.into());
    }

    fn emit(&self, event: Event<'_>) {
        if let Some(on_event) = &self.options.on_event {
            let _ = on_event.call1(&JsValue::UNDEFINED, &convert::event_record(&event, &self.secrets()));
        }
    }
}
