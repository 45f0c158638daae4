//! The library in Node and in browsers, against a running sandbox. Its address is given when the tests are built.
#![cfg(all(target_arch = "wasm32", feature = "serde"))]

mod corpus;

use std::future::Future;

use custom_template_jobs::api::{Goal, ModelVersion, Status, Step};
use custom_template_jobs::charge::State;
use custom_template_jobs::client::{ChargeOptions, Client, Config, PollOptions};
use custom_template_jobs::error::Failure;
use custom_template_jobs::value::{Kind, Value, inspect};
use custom_template_jobs::web::{
    ApiKind, CallError, Error, Job, JobRequest, Journal, Js, Options, Reason, RustHost, Template, TemplateJobs, Variable,
};
use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

// The same tests run in Node and in browsers: the runner is told which by its environment.

const UNKNOWN_ID: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";

fn sandbox() -> String {
    option_env!("SANDBOX_URL").unwrap_or("http://127.0.0.1:8787").into()
}

fn options() -> Options {
    Options {
        base_url: Some(sandbox()),
        api_id: Some("sandbox".into()),
        api_key: Some("sandbox".into()),
        ..Options::default()
    }
}

/// The sandbox runs fast here: jobs take a second or two.
fn soon() -> PollOptions {
    PollOptions { expected_ms: Some(1_500.0), max_interval: Some(1_500.0), ..PollOptions::default() }
}

fn expect_error<T: std::fmt::Debug>(result: Result<T, CallError>) -> Error {
    match result {
        Err(CallError::Failed(error)) => error,
        other => panic!("an error was expected: {other:?}"),
    }
}

/// The sandbox's template of that name; its jobs always end the same way.
async fn template(jobs: &TemplateJobs, name: &str) -> String {
    let templates = jobs.templates().await.expect("a list");
    templates.into_iter().find(|template| template.name == name).expect("a built-in template").template_id
}

fn titled(template_id: &str) -> JobRequest {
    JobRequest {
        template_id: template_id.into(),
        variables: [("title".into(), Variable::Text { content: "Ünïcode \u{1f3ac}".into() })].into(),
        name: Some("a test".into()),
        ..JobRequest::default()
    }
}

#[wasm_bindgen_test]
fn a_javascript_object_reads_the_corpus_as_expected() {
    corpus::check(parse);
}

fn parse(text: Js) -> Js {
    Js::lend(&js_sys::JSON::parse(&text.own().as_string().expect("a text")).expect("JSON"))
}

#[wasm_bindgen_test]
fn javascript_values_are_told_apart_and_read_as_serde_json_is() {
    corpus::check_fingerprints(parse);
    corpus::check_nesting(parse);
    corpus::check_decimals::<Js>();
}

#[wasm_bindgen_test]
async fn a_job_is_previewed_rendered_and_polled_to_its_video() {
    let jobs = TemplateJobs::new(&options());
    let template_id = template(&jobs, "Product teaser").await;
    let before = jobs.remaining_credits().await.expect("a balance");
    let preview = jobs.preview(&titled(&template_id), ChargeOptions::default(), soon()).await.expect("a preview");
    assert!(preview.preview.as_deref().is_some_and(|url| url.starts_with("http")));
    assert_eq!(preview.video_output, None);
    let rendering = jobs.render(&preview.id, ChargeOptions::default()).await.expect("a render");
    assert_eq!(rendering.id, preview.id);
    assert_eq!(
        jobs.pending().await.expect("the journal").iter().filter(|known| known.job_id.as_ref() == Some(&preview.id)).count(),
        1
    );
    let video = jobs.poll(&preview.id, soon()).await.expect("a video");
    assert_eq!(video.status(), Status::Done);
    assert!(video.video_output.as_deref().is_some_and(|url| url.starts_with("http")));
    let seconds = video.duration.expect("a length");
    let paid = [Step::Preview, Step::Render]
        .map(|step| jobs.estimate(step, seconds, ModelVersion::Standard).expect("an estimate"))
        .iter()
        .sum::<f64>();
    let after = jobs.remaining_credits().await.expect("a balance");
    assert!(before - after >= paid, "{before} - {after} is at least {paid}; other tests pay too");
    assert!(jobs.pending().await.expect("the journal").iter().all(|known| known.job_id.as_ref() != Some(&preview.id)));
}

#[wasm_bindgen_test]
async fn failed_and_rejected_jobs_say_why() {
    let jobs = TemplateJobs::new(&options());
    for name in ["Always fails", "Always rejected"] {
        let template_id = template(&jobs, name).await;
        let job = jobs.preview_async(&titled(&template_id), ChargeOptions::default()).await.expect("accepted");
        let error = expect_error(jobs.poll(&job.id, soon()).await);
        let Reason::JobFailed { reason } = error.reason() else { panic!("{error:?}") };
        assert!(reason.len() > 10, "{reason}");
        assert_eq!(error.job_id(), Some(job.id.as_str()));
    }
}

#[wasm_bindgen_test]
async fn templates_are_listed() {
    let templates: Vec<Template> = TemplateJobs::new(&options()).templates().await.expect("a list");
    assert!(templates.len() > 3);
    assert!(templates.iter().all(|template| !template.name.is_empty() && template.template_id.len() == 36));
}

#[wasm_bindgen_test]
async fn errors_of_the_api_are_told_by_kind() {
    let wrong_key = TemplateJobs::new(&Options { api_key: Some("not-the-key".into()), ..options() });
    let error = expect_error(wrong_key.templates().await);
    assert!(matches!(error.reason(), Reason::Api { status: 401, kind: ApiKind::Authentication, .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("not-the-key"));

    let jobs = TemplateJobs::new(&options());
    let error = expect_error(jobs.get(UNKNOWN_ID).await);
    assert!(matches!(error.reason(), Reason::Api { status: 404, kind: ApiKind::NotFound, .. }), "{error:?}");
    let error = expect_error(jobs.submit(&titled(UNKNOWN_ID), ChargeOptions::default()).await);
    assert!(matches!(error.reason(), Reason::Api { kind: ApiKind::Invalid | ApiKind::NotFound, .. }), "{error:?}");
}

#[wasm_bindgen_test]
async fn headers_of_the_caller_are_sent() {
    let headers = [("x-api-id".into(), "sandbox".into()), ("x-api-key".into(), "sandbox".into())].into();
    let jobs = TemplateJobs::new(&Options { headers, api_id: None, api_key: None, ..options() });
    assert!(jobs.templates().await.is_ok());
}

#[wasm_bindgen_test]
async fn a_journal_of_the_callers_own_is_asked_before_anything_is_sent() {
    let journal = Object::new();
    for method in ["create", "list"] {
        Reflect::set(&journal, &method.into(), &Function::new_no_args("throw new Error('full')")).expect("set");
    }
    let jobs = TemplateJobs::new(&Options { journal: Journal::Own(journal.into()), ..options() });
    let error = expect_error(jobs.submit(&titled(UNKNOWN_ID), ChargeOptions::default()).await);
    assert_eq!(error.reason(), &Reason::Journal);
    assert_eq!(expect_error(jobs.pending().await).reason(), &Reason::Journal);
}

#[wasm_bindgen_test]
async fn an_operation_that_nobody_knows_cannot_be_settled() {
    let error = expect_error(TemplateJobs::new(&options()).settle("never sent", None).await);
    assert_eq!((error.field(), error.operation()), (Some("operation"), Some("never sent")));
}

#[wasm_bindgen_test]
async fn a_wait_listens_to_its_surroundings_until_it_ends() {
    let spy = Function::new_no_args(
        r"
        const { addEventListener, removeEventListener } = globalThis;
        const seen = [];
        globalThis.addEventListener = (type, _, options) => {
            seen.push('+' + type);
            // A listener may go with a signal.
            options?.signal?.addEventListener('abort', () => seen.push('-' + type));
        };
        globalThis.removeEventListener = (type) => seen.push('-' + type);
        return () => {
            Object.assign(globalThis, { addEventListener, removeEventListener });
            return seen.join(' ');
        };",
    );
    let seen = Function::from(spy.call0(&JsValue::UNDEFINED).expect("a spy"));
    let error = expect_error(TemplateJobs::new(&options()).poll(UNKNOWN_ID, soon()).await);
    let seen = seen.call0(&JsValue::UNDEFINED).expect("what was seen");
    assert_eq!(error.job_id(), Some(UNKNOWN_ID));
    assert_eq!(seen, "+online +pageshow +pagehide -pagehide -online -pageshow");
}

#[wasm_bindgen_test]
async fn nothing_listens_there_is_a_connection_error() {
    let jobs = TemplateJobs::new(&Options { base_url: Some("http://127.0.0.1:9".into()), ..options() });
    let error = expect_error(jobs.submit(&titled(UNKNOWN_ID), ChargeOptions::default()).await);
    // Node proves that nothing was sent; a browser does not say, so there the charge is unknown.
    assert!(matches!(error.reason(), Reason::Connection { sent: false } | Reason::ChargeUnknown), "{error:?}");
}

#[wasm_bindgen_test]
async fn a_budget_stops_a_charge_before_it_is_sent() {
    let jobs = TemplateJobs::new(&Options { max_credits: Some(1.0), ..options() });
    let options = ChargeOptions { seconds: Some(30.0), ..ChargeOptions::default() };
    let error = expect_error(jobs.submit(&titled(UNKNOWN_ID), options).await);
    assert_eq!(error.reason(), &Reason::BudgetExceeded { estimate: 5.0, remaining: 1.0 });
}

#[wasm_bindgen_test]
fn structs_survive_the_way_to_javascript_and_back() {
    let job = Job {
        id: UNKNOWN_ID.into(),
        status: "running".into(),
        progress: Some(0.5),
        credits_used: Some(5.5),
        ..Job::default()
    };
    assert_eq!(Job::from_js(&job.to_js().expect("an object")).expect("a job"), job);
    let sparse = js_sys::JSON::parse(r#"{"id":"x","status":"done","preview":null,"more":{"a":1}}"#).expect("JSON");
    assert_eq!(Job::from_js(&sparse).expect("a job").status(), Status::Done);

    let request = titled(UNKNOWN_ID).to_js().expect("an object");
    let written = String::from(js_sys::JSON::stringify(&request).expect("JSON"));
    assert!(written.contains(r#""title":{"type":"text","properties":{"content":"Ünïcode"#), "{written}");
    assert!(!written.contains("webhook_url"), "what is not given is not sent");
    let mut evil = titled(UNKNOWN_ID);
    evil.variables.insert("__proto__".into(), Variable::Text { content: String::new() });
    assert!(evil.to_js().is_err());
}

fn field_of(source: &str) -> Option<String> {
    let make = Function::new_no_args(&format!("return {source}"));
    let value = make.call0(&JsValue::UNDEFINED).expect("a value");
    inspect(Js::lend(&value), Js::text("variables"), 0.0).err().and_then(|failure| failure.get("field").own().as_string())
}

#[wasm_bindgen_test]
fn what_json_cannot_carry_is_found_by_its_path() {
    for (source, path) in [
        ("{ a: { b: 1n } }", "variables.a.b"),
        ("{ a: new Date() }", "variables.a"),
        ("{ a: [1, new Map()] }", "variables.a.1"),
        ("{ a: () => 1 }", "variables.a"),
        ("{ a: Symbol('s') }", "variables.a"),
        ("{ a: undefined }", "variables.a"),
        ("{ a: NaN }", "variables.a"),
        ("{ a: new Blob(['x']) }", "variables.a"),
        ("{ a: new Uint8Array(2) }", "variables.a"),
        ("{ get a() { throw new Error('no') } }", "variables.a"),
        ("new (class Title { constructor() { this.a = 1 } })()", "variables"),
    ] {
        assert_eq!(field_of(source).as_deref(), Some(path), "{source}");
    }
    let cycle = field_of("(() => { const a = {}; a.a = a; return a })()").expect("refused");
    assert!(cycle.starts_with("variables.a.a.a"), "{cycle}");
    for source in
        ["{}", "Object.create(null)", "{ a: null, b: [], c: { d: 'x', e: 1, f: false } }", "JSON.parse('{\"__proto__\":1}')"]
    {
        assert_eq!(field_of(source), None, "{source}");
    }
}

// ---- a fetch that misbehaves -----------------------------------------------------------------------

/// A client over an injected `fetch`, a function body of `(url, init)`.
fn client_over(fetch: &str, more: &[(&str, JsValue)]) -> Client<RustHost> {
    let options = Object::new();
    let put = |key: &str, value: &JsValue| Reflect::set(&options, &key.into(), value).expect("set");
    put("fetch", &Function::new_with_args("url, init", fetch));
    put("journal", &"memory".into());
    for (key, value) in more {
        put(key, value);
    }
    let mut config = Config::new(Js::text("https://api.test"), Js::text("me"));
    config.timeout = 300.0;
    config.preview_timeout = 500.0;
    config.max_retries = 0;
    Client::new(RustHost::over(&options), config)
}

fn name_of(failure: &Failure<JsValue>) -> Option<String> {
    failure.field("name").as_string()
}

fn body_of(request: &JobRequest) -> JsValue {
    request.to_js().expect("an object")
}

async fn settles<T>(call: impl Future<Output = T>) -> T {
    use std::pin::pin;
    use std::task::Poll;
    let mut call = pin!(call);
    let mut timer = pin!(gloo_timers::future::TimeoutFuture::new(5_000));
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = call.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        assert!(timer.as_mut().poll(context).is_pending(), "the call does not settle");
        Poll::Pending
    })
    .await
}

#[wasm_bindgen_test]
async fn a_fetch_that_misbehaves_settles_every_call() {
    for (fetch, read) in [
        ("throw new Error('sync')", "ConnectionError"),
        ("throw 'a string'", "ConnectionError"),
        ("return Promise.reject('a bare string')", "ConnectionError"),
        ("return Promise.reject(undefined)", "ConnectionError"),
        ("return Promise.reject(new DOMException('gone', 'AbortError'))", "ConnectionError"),
        ("return new Promise(() => {})", "ConnectionError"),
        ("return undefined", "ConnectionError"),
        ("return null", "ConnectionError"),
        ("return 42", "ConnectionError"),
        ("return Promise.resolve({})", "ConnectionError"),
        ("return Promise.resolve({ status: 200 })", "ApiError"),
        ("return Promise.resolve({ status: 200, text: 1 })", "ApiError"),
        ("return { status: 200, text() { throw new Error('body') } }", "ApiError"),
        ("return { status: 200, text: () => Promise.reject(new TypeError('terminated')) }", "ApiError"),
        ("return { status: 200, text: () => new Promise(() => {}) }", "ConnectionError"),
        ("return { status: 200, text: () => 'not json' }", "ApiError"),
        ("return { status: 200, headers: null, text: () => '<html>' }", "ApiError"),
        ("return { status: 500, headers: { get() { throw 1 } }, text: () => '{}' }", "ApiError"),
        ("return { get then() { throw new Error('thenable') } }", "ConnectionError"),
    ] {
        let client = client_over(fetch, &[]);
        let failure = settles(client.get(UNKNOWN_ID, None)).await.expect_err(fetch);
        assert_eq!(name_of(&failure).as_deref(), Some(read), "{fetch}");
        assert_eq!(Error::from(failure).name(), read, "{fetch}");
        let request = body_of(&titled(UNKNOWN_ID));
        let failure = settles(client.submit(&request, &ChargeOptions::default())).await.expect_err(fetch);
        assert_eq!(Error::from(failure).reason(), &Reason::ChargeUnknown, "{fetch}");
    }
}

#[wasm_bindgen_test]
async fn a_response_of_another_realm_is_read_like_any_other() {
    let fetch = format!(
        "return {{ status: 201, headers: new Map([['retry-after', '1']]), text: async () => '{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"pending\"}}' }}"
    );
    let client = client_over(&fetch, &[]);
    let job = client.submit(&body_of(&titled(UNKNOWN_ID)), &ChargeOptions::default()).await.expect("a job");
    assert_eq!(Js::lend(&job).get("status").own(), "pending");
}

#[wasm_bindgen_test]
async fn a_fetch_is_called_with_a_url_and_plain_settings_and_no_receiver() {
    let fetch = r"
        if (this !== undefined && this !== globalThis) throw new Error('a receiver');
        const seen = [url, init.method, init.redirect, init.body, init.signal instanceof AbortSignal, new Headers(init.headers).get('content-type')];
        return { status: 400, text: async () => JSON.stringify(seen) };
    ";
    let client = client_over(fetch, &[]);
    let body =
        js_sys::JSON::parse(r#"{"template_id":"3c90c3cc-0d44-4b50-8888-8dd25736052a","variables":{}}"#).expect("JSON");
    let failure = client.submit(&body, &ChargeOptions::default()).await.expect_err("400");
    let seen = Array::from(&Error::from(failure).body());
    assert_eq!(seen.get(0), "https://api.test/api/custom_template_jobs/");
    assert_eq!(seen.get(1), "POST");
    assert_eq!(seen.get(2), "manual");
    assert_eq!(seen.get(3).as_string(), js_sys::JSON::stringify(&body).ok().map(String::from));
    assert!(seen.get(4).is_truthy(), "a signal");
    assert_eq!(seen.get(5), "application/json");
}

#[wasm_bindgen_test]
async fn a_header_byte_that_cannot_be_sent_is_told_without_the_value() {
    for (name, value, field) in [
        ("x-api-key", "secret\r\nx-evil: 1", "apiKey"),
        ("x-api-id", "\u{0}id", "apiId"),
        ("x-login", "schl\u{fc}ssel \u{20ac}", "headers"),
        ("x bad", "v", "headers"),
        ("", "v", "headers"),
    ] {
        let headers = Array::of1(&Array::of2(&name.into(), &value.into()));
        let client = client_over("throw new Error('sent')", &[("headers", headers.into())]);
        let error = Error::from(client.get(UNKNOWN_ID, None).await.expect_err(field));
        assert_eq!(error.field(), Some(field));
        assert!(!error.message().contains("secret"));
        let body = body_of(&titled(UNKNOWN_ID));
        let error = Error::from(client.submit(&body, &ChargeOptions::default()).await.expect_err(field));
        assert_eq!(error.field(), Some(field), "a charge that cannot be made is refused, not unknown");
    }
}

#[wasm_bindgen_test]
async fn a_timeout_stops_the_request() {
    let fetch =
        "init.signal.onabort = () => { globalThis.stopped = (globalThis.stopped ?? 0) + 1 }; return new Promise(() => {})";
    let client = client_over(fetch, &[]);
    let failure = settles(client.get(UNKNOWN_ID, Some(50.0))).await.expect_err("too slow");
    assert_eq!(name_of(&failure).as_deref(), Some("ConnectionError"));
    let stopped = Reflect::get(&js_sys::global(), &"stopped".into()).expect("a global");
    assert_eq!(stopped.as_f64(), Some(1.0));
}

/// Waits until the journal has the operation as bound. `client` is another one of the same account: it only reads.
async fn is_bound(client: &Client<RustHost>, operation: &str, id: &str) {
    for _ in 0..100 {
        gloo_timers::future::TimeoutFuture::new(20).await;
        let pending = client.pending().await.expect("the journal");
        let left = pending.iter().find(|known| known.operation == operation).expect("in the journal");
        if left.state == State::Bound {
            assert_eq!(left.job, id);
            return;
        }
    }
    panic!("the charge was not bound");
}

fn slow_charge(id: &str) -> String {
    format!(
        "return new Promise((resolve) => setTimeout(resolve, 200, {{ status: 201, text: () => '{{\"id\":\"{id}\",\"status\":\"pending\"}}' }}))"
    )
}

#[wasm_bindgen_test]
async fn a_caller_that_goes_away_leaves_its_charge_to_be_bound() {
    let id = "11111111-0d44-4b50-8888-8dd25736052a";
    let client = client_over(&slow_charge(id), &[]);
    let body = body_of(&titled(UNKNOWN_ID));
    let options = ChargeOptions { operation: Some("late".into()), timeout: Some(20.0), ..ChargeOptions::default() };
    let failure = settles(client.submit(&body, &options)).await.expect_err("too slow");
    assert_eq!(Error::from(failure).reason(), &Reason::ChargeUnknown);
    is_bound(&client, "late", id).await;
}

#[wasm_bindgen_test]
async fn a_charge_outlives_its_call_and_the_last_of_its_clients() {
    for (operation, id, timeout) in [
        ("dropped", "22222222-0d44-4b50-8888-8dd25736052a", None),
        ("late, then dropped", "33333333-0d44-4b50-8888-8dd25736052a", Some(20.0)),
    ] {
        let client = client_over(&slow_charge(id), &[]);
        let options = ChargeOptions { operation: Some(operation.into()), timeout, ..ChargeOptions::default() };
        let call = client.submit(&body_of(&titled(UNKNOWN_ID)), &options);
        drop(client);
        if timeout.is_some() {
            assert!(settles(call).await.is_err());
        } else {
            left_after(50, call).await;
        }
        is_bound(&client_over("throw new Error('sent')", &[]), operation, id).await;
    }
}

/// Polls a call for so many milliseconds, then drops it; it must not end before.
async fn left_after<T>(ms: u32, call: impl Future<Output = T>) {
    use std::pin::pin;
    let (mut call, mut timer) = (pin!(call), pin!(gloo_timers::future::TimeoutFuture::new(ms)));
    std::future::poll_fn(|context| {
        assert!(call.as_mut().poll(context).is_pending(), "the call ended");
        timer.as_mut().poll(context)
    })
    .await;
}

#[wasm_bindgen_test]
async fn a_client_that_is_dropped_leaves_nothing_behind() {
    let fetch = format!(
        "if (init.method === 'POST' || url.endsWith('{UNKNOWN_ID}/')) return {{ status: 201, text: () => '{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"running\"}}' }};
        init.signal.onabort = () => {{ globalThis.given_up = (globalThis.given_up ?? 0) + 1 }};
        return new Promise(() => {{}})"
    );
    let held = wasm_bindgen::externref_heap_live_count();
    for _ in 0..10 {
        let client = client_over(&fetch, &[]);
        client.submit(&body_of(&titled(UNKNOWN_ID)), &ChargeOptions::default()).await.expect("a job");
        // A request under way, a wait that sleeps between two looks, and a charge that goes on alone.
        left_after(20, client.templates(None)).await;
        left_after(20, client.poll(UNKNOWN_ID, None, soon())).await;
        drop(client);
        let slow = client_over(&slow_charge(UNKNOWN_ID), &[]);
        left_after(20, slow.submit(&body_of(&titled(UNKNOWN_ID)), &ChargeOptions::default())).await;
    }
    let given_up = Reflect::get(&js_sys::global(), &"given_up".into()).expect("a global");
    assert_eq!(given_up, 10, "a request that nobody waits for is stopped");
    drop(given_up);
    gloo_timers::future::TimeoutFuture::new(400).await;
    let left = wasm_bindgen::externref_heap_live_count();
    assert!(left <= held, "{held} values were held before, {left} are after");
}

#[wasm_bindgen_test]
async fn a_retry_after_is_read_as_seconds_or_as_a_date() {
    for (header, least, most) in [
        ("'3'", 3_000.0, 3_000.0),
        ("new Date(Date.now() + 20000).toUTCString()", 18_000.0, 20_000.0),
        ("'soon'", -1.0, -1.0),
    ] {
        let fetch = format!("return {{ status: 429, headers: new Map([['retry-after', {header}]]), text: () => '{{}}' }}");
        let error = Error::from(client_over(&fetch, &[]).get(UNKNOWN_ID, None).await.expect_err("429"));
        let Reason::Api { retry_after_ms, .. } = error.reason() else { panic!("{error:?}") };
        let wait = retry_after_ms.unwrap_or(-1.0);
        assert!((least..=most).contains(&wait), "{header}: {wait}");
    }
}

#[wasm_bindgen_test]
async fn a_job_is_handed_over_untouched() {
    let fetch = format!(
        "globalThis.answer = '{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"done\",\"new_field\":[1,{{\"a\":null}}],\"__proto__\":{{\"x\":1}}}}'; return {{ status: 200, text: () => globalThis.answer }}"
    );
    let job = client_over(&fetch, &[]).get(UNKNOWN_ID, None).await.expect("a job");
    let answer = Reflect::get(&js_sys::global(), &"answer".into()).expect("a global").as_string();
    assert_eq!(js_sys::JSON::stringify(&job).ok().map(String::from), answer);
    assert_eq!(Js::lend(&job).kind(), Kind::Object);
}

#[wasm_bindgen_test]
async fn a_wait_hears_of_the_video_of_another_goal() {
    let fetch = format!(
        "return {{ status: 200, text: () => '{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"done\",\"preview\":\"https://p\",\"video_output\":\"https://v\"}}' }}"
    );
    let client = client_over(&fetch, &[]);
    for goal in [Goal::Preview, Goal::Video, Goal::Done] {
        let options = PollOptions { until: Some(goal), ..PollOptions::default() };
        assert!(settles(client.poll(UNKNOWN_ID, None, options)).await.is_ok());
    }
}
