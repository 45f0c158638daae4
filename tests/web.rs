//! Tests of the typed API in Node and in browsers, against a running sandbox. Its URL is set when the tests are built.
#![cfg(all(target_arch = "wasm32", feature = "serde"))]

use std::fmt::Debug;
use std::future::{Future as _, IntoFuture, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use custom_template_jobs::api::{Endpoint, Goal, ModelVersion, Status, Step};
use custom_template_jobs::charge::State;
use custom_template_jobs::client::{Client, Config, Operation};
use custom_template_jobs::credits::{Price, PriceTable};
use custom_template_jobs::error::{ApiKind, Charged, ErrorKind, Remedy};
use custom_template_jobs::hash;
use custom_template_jobs::host::{Host, Request};
use custom_template_jobs::job::JobFacts;
use custom_template_jobs::web::{
    ChargeOptions, Error, HostOptions, Job, JobRequest, Journal, Options, PollOptions, RenderRequest, TemplateJobs, Update,
    Updates, Variable, WebHost,
};
use futures_core::Stream as _;
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Date, Function, JSON, Object, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

// The same tests run in Node and in browsers, as the test runner's environment chooses.

#[wasm_bindgen(module = "/src/web/snapshot.js")]
extern "C" {
    // The library imports the same function under its own name.
    #[wasm_bindgen(catch, js_name = snapshot)]
    fn text_of(value: &JsValue, root: &str) -> Result<String, JsValue>;
}

const UNKNOWN_ID: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";

fn sandbox() -> Options {
    Options {
        base_url: option_env!("SANDBOX_URL").unwrap_or("http://127.0.0.1:8787").into(),
        api_id: Some("sandbox".into()),
        api_key: Some("sandbox".into()),
        // The default journal of Node is in memory, which an explicit operation requires to be chosen.
        journal: if global("indexedDB").is_undefined() { Journal::Memory } else { Journal::Default },
        ..Options::default()
    }
}

fn client(options: Options) -> TemplateJobs {
    TemplateJobs::new(options).expect("options that can be used")
}

/// Options for the sandbox's accelerated clock: jobs take a second or two.
fn soon() -> PollOptions {
    let moment = Some(Duration::from_millis(1_500));
    PollOptions { expected: moment, max_interval: moment, ..PollOptions::default() }
}

fn usual() -> ChargeOptions {
    ChargeOptions::default()
}

fn operation(id: &str) -> ChargeOptions {
    ChargeOptions { operation: Some(id.into()), ..usual() }
}

fn field(error: &Error) -> Option<&str> {
    if let ErrorKind::InvalidRequest { field } = error.kind() { Some(field) } else { None }
}

/// The id of the sandbox's template with this name; its jobs always end the same way.
async fn template(jobs: &TemplateJobs, name: &str) -> String {
    let templates = jobs.templates().await.expect("a list");
    templates.into_iter().find(|template| template.name == name).expect("a built-in template").template_id
}

fn titled(template_id: &str) -> JobRequest {
    JobRequest {
        template_id: template_id.into(),
        variables: [("title".into(), Variable::text("Ünïcode \u{1f3ac}"))].into(),
        name: Some("a test".into()),
        ..JobRequest::default()
    }
}

fn get(value: &JsValue, name: &str) -> JsValue {
    Reflect::get(value, &name.into()).expect("an object")
}

fn global(name: &str) -> JsValue {
    get(&js_sys::global(), name)
}

fn parse(text: &str) -> JsValue {
    JSON::parse(text).expect("JSON")
}

fn json(value: &JsValue) -> Option<String> {
    JSON::stringify(value).ok().map(String::from)
}

// ---- the sandbox -----------------------------------------------------------------------------------

#[wasm_bindgen_test]
async fn a_job_is_previewed_rendered_and_polled_to_its_video() {
    let jobs = client(sandbox());
    let template_id = template(&jobs, "Product teaser").await;
    let before = jobs.remaining_credits().await.expect("a balance");
    let preview = jobs.preview(&titled(&template_id), usual(), soon()).await.expect("a preview");
    assert!(preview.preview.as_deref().is_some_and(|url| url.starts_with("http")));
    assert_eq!(preview.video_output, None);
    let rendering = jobs.render(&preview.id.to_uppercase(), None, usual()).await.expect("a render");
    assert_eq!(rendering.id, preview.id);
    let of_this = |open: Vec<Operation>| open.into_iter().filter(|open| open.job_id.as_ref() == Some(&preview.id));
    let open: Vec<Operation> = of_this(jobs.pending().await.expect("the journal")).collect();
    let render = Operation { operation: format!("render:{}", preview.id), state: State::Bound, ..open[0].clone() };
    assert_eq!(open, [render]);
    let video = jobs.poll(&preview.id, soon()).await.expect("a video");
    assert_eq!(video.status(), Status::Done);
    assert!(video.video_output.as_deref().is_some_and(|url| url.starts_with("http")));
    let seconds = video.duration.expect("a length");
    let paid = [Step::Preview, Step::Render]
        .map(|step| jobs.estimate(step, seconds, ModelVersion::Standard).expect("an estimate"))
        .iter()
        .sum::<f64>();
    let after = jobs.remaining_credits().await.expect("a balance");
    assert!(before - after >= paid, "{before} - {after} is at least {paid}; other tests charge too");
    assert_eq!(of_this(jobs.pending().await.expect("the journal")).count(), 0);
}

#[wasm_bindgen_test]
async fn a_charge_is_awaited_for_its_job_and_waited_for_its_result() {
    let jobs = client(sandbox());
    let request = titled(&template(&jobs, "Product teaser").await);
    let submit = jobs.submit(&request, usual());
    assert_eq!(submit.operation().len(), 36);
    let video = submit.wait(soon()).await.expect("a video");
    assert!(video.video_output.is_some());
    assert_eq!(submit.job().await.expect("the job, charged once").id, video.id);
    let preview = jobs.preview_async(&request, operation("a preview of a handle")).wait(soon()).await.expect("a preview");
    assert_eq!((preview.preview.is_some(), preview.video_output), (true, None));
    assert_eq!(jobs.render(&preview.id, None, usual()).operation(), format!("render:{}", preview.id));
}

#[wasm_bindgen_test]
async fn an_operation_is_resumed_without_a_charge() {
    let jobs = client(sandbox());
    let request = titled(&template(&jobs, "Product teaser").await);
    let job = jobs.submit(&request, operation("resumed")).await.expect("a job");
    let resumed = client(sandbox()).resume("resumed");
    assert_eq!(resumed.operation(), "resumed");
    assert_eq!(resumed.job().await.expect("the job").id, job.id);
    let video = resumed.wait(soon()).await.expect("a video");
    assert_eq!(video.id, job.id);
    let error = jobs.resume("never sent").await.expect_err("no such operation");
    assert_eq!((field(&error), error.operation()), (Some("operation"), Some("never sent")));
}

#[wasm_bindgen_test]
async fn the_updates_of_a_charge_end_with_its_result_or_an_error() {
    let jobs = client(sandbox());
    let request = titled(&template(&jobs, "Product teaser").await);
    let mut updates = jobs.submit(&request, usual()).updates(soon());
    let mut last = None;
    while let Some(update) = next(&mut updates).await {
        last = Some(update.expect("an update").job);
    }
    assert!(last.expect("at least one").video_output.is_some());
    let mut updates = jobs.submit(&JobRequest { template_id: "none".into(), ..request }, usual()).updates(soon());
    assert!(next(&mut updates).await.expect("an error").is_err());
    assert!(next(&mut updates).await.is_none());
}

async fn next(updates: &mut Updates) -> Option<Result<Update, Error>> {
    poll_fn(|context| pin!(&mut *updates).poll_next(context)).await
}

#[wasm_bindgen_test]
async fn a_blocking_preview_returns_the_preview() {
    let jobs = client(sandbox());
    let template_id = template(&jobs, "Product teaser").await;
    let job = jobs.preview_sync(&titled(&template_id), usual()).await.expect("a preview");
    assert!(job.preview.is_some(), "{job:?}");
}

#[wasm_bindgen_test]
async fn failed_and_rejected_jobs_have_a_reason() {
    let jobs = client(sandbox());
    for name in ["Always fails", "Always rejected"] {
        let template_id = template(&jobs, name).await;
        let job = jobs.preview_async(&titled(&template_id), usual()).await.expect("accepted");
        let error = jobs.poll(&job.id, soon()).await.expect_err("a failure");
        let ErrorKind::JobFailed { reason } = error.kind() else { panic!("{error:?}") };
        assert!(reason.len() > 10, "{reason}");
        assert_eq!(error.job_id(), Some(job.id.as_str()));
    }
}

#[wasm_bindgen_test]
async fn templates_are_listed() {
    let templates = client(sandbox()).templates().await.expect("a list");
    assert!(templates.len() > 3);
    assert!(templates.iter().all(|template| !template.name.is_empty() && template.template_id.len() == 36));
}

#[wasm_bindgen_test]
async fn errors_of_the_api_have_a_kind() {
    let wrong_key = client(Options { api_key: Some("not-the-key".into()), ..sandbox() });
    let error = wrong_key.templates().await.expect_err("401");
    assert!(matches!(error.kind(), ErrorKind::Api { status: 401, kind: ApiKind::Authentication, .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("not-the-key"));

    let jobs = client(sandbox());
    let error = jobs.get(UNKNOWN_ID).await.expect_err("404");
    assert!(matches!(error.kind(), ErrorKind::Api { status: 404, kind: ApiKind::NotFound, .. }), "{error:?}");
    let error = jobs.submit(&titled(UNKNOWN_ID), usual()).await.expect_err("no template");
    assert!(matches!(error.kind(), ErrorKind::Api { kind: ApiKind::Invalid | ApiKind::NotFound, .. }), "{error:?}");
}

#[wasm_bindgen_test]
async fn headers_of_the_caller_are_sent() {
    let headers = [("x-api-id".into(), "sandbox".into()), ("x-api-key".into(), "sandbox".into())].into();
    let jobs = client(Options { headers, api_id: None, api_key: None, ..sandbox() });
    assert!(jobs.templates().await.is_ok());
}

#[wasm_bindgen_test]
async fn a_journal_that_fails_prevents_the_request() {
    let journal = Object::new();
    for method in ["create", "read", "list"] {
        Reflect::set(&journal, &method.into(), &Function::new_no_args("throw new Error('full')")).expect("set");
    }
    let jobs = client(Options {
        journal: Journal::Custom(journal.into()),
        fetch: Some(Function::new_no_args("throw new Error('sent')")),
        ..sandbox()
    });
    let error = jobs.submit(&titled(UNKNOWN_ID), usual()).await.expect_err("no journal");
    assert_eq!(error.kind(), &ErrorKind::Journal);
    assert_eq!(jobs.pending().await.expect_err("no journal").kind(), &ErrorKind::Journal);
}

#[wasm_bindgen_test]
async fn a_missing_operation_cannot_be_settled_or_discarded() {
    let jobs = client(sandbox());
    let error = jobs.settle("never sent", None).await.expect_err("unknown to the journal");
    assert_eq!((field(&error), error.operation()), (Some("operation"), Some("never sent")));
    let error = jobs.discard("never sent").await.expect_err("unknown to the journal");
    assert_eq!((field(&error), error.operation()), (Some("operation"), Some("never sent")));
}

#[wasm_bindgen_test]
async fn a_poll_listens_to_the_page_until_it_ends() {
    let spy = Function::new_no_args(
        r"
        const { addEventListener, removeEventListener } = globalThis;
        const listening = (globalThis.listening = new Map());
        globalThis.addEventListener = (type) => listening.set(type, true);
        globalThis.removeEventListener = (type) => listening.set(type, false);
        return () => Object.assign(globalThis, { addEventListener, removeEventListener });",
    );
    let restore = Function::from(spy.call0(&JsValue::UNDEFINED).expect("a spy"));
    let listening = || js_sys::Map::from(global("listening"));
    let error = client(sandbox()).poll(UNKNOWN_ID, soon()).await.expect_err("404");
    assert_eq!(error.job_id(), Some(UNKNOWN_ID));
    let is_page = !global("document").is_undefined();
    for (event, expected) in [("online", is_page), ("pageshow", is_page), ("pagehide", true)] {
        assert_eq!(listening().has(&event.into()), expected, "{event}");
    }
    settles(async {
        while listening().values().into_iter().any(|on| on.expect("a value").is_truthy()) {
            sleep(10).await;
        }
    })
    .await;
    restore.call0(&JsValue::UNDEFINED).expect("the spy is removed");
}

#[wasm_bindgen_test]
async fn a_refused_connection_rejects_with_connection_error() {
    let jobs = client(Options { base_url: "http://127.0.0.1:9".into(), ..sandbox() });
    let error = jobs.submit(&titled(UNKNOWN_ID), usual()).await.expect_err("no server");
    // Node proves that nothing was sent; a browser does not, so there the charge is unknown.
    assert!(matches!(error.kind(), ErrorKind::Connection { sent: false } | ErrorKind::ChargeUnknown), "{error:?}");
    let said = (error.charged(), error.remedy());
    assert!([(Charged::No, Remedy::Retry), (Charged::Maybe, Remedy::SettleOrDiscard)].contains(&said), "{error:?}");
}

#[wasm_bindgen_test]
async fn every_error_of_a_charge_has_its_operation_and_charged() {
    let jobs = client(sandbox());
    let refused = jobs.submit(&titled(UNKNOWN_ID), operation("refused")).await.expect_err("no such template");
    assert_eq!((refused.operation(), refused.charged()), (Some("refused"), Charged::No));

    let variables = [("__proto__".into(), Variable::text("x"))].into();
    let request = JobRequest { template_id: UNKNOWN_ID.into(), variables, ..JobRequest::default() };
    let unusable = jobs.submit(&request, operation("unusable")).await.expect_err("no name of a variable");
    assert_eq!((unusable.operation(), unusable.charged()), (Some("unusable"), Charged::No));
    assert_eq!(unusable.remedy(), Remedy::FixRequest);

    let handle = jobs.submit(&titled(&template(&jobs, "Always fails").await), operation("failed"));
    let failed = handle.wait(soon()).await.expect_err("the job fails");
    assert_eq!(
        (failed.operation(), failed.charged(), failed.remedy()),
        (Some("failed"), Charged::Yes, Remedy::NewOperation)
    );
}

#[wasm_bindgen_test]
async fn a_budget_stops_a_charge_before_it_is_sent() {
    let jobs = client(Options { max_credits: Some(1.0), ..sandbox() });
    let request = JobRequest { seconds: Some(30.0), ..titled(UNKNOWN_ID) };
    let error = jobs.submit(&request, usual()).await.expect_err("too dear");
    assert_eq!(error.kind(), &ErrorKind::BudgetExceeded { estimate: 5.0, remaining: 1.0 });
}

// ---- options, structs and texts --------------------------------------------------------------------

#[wasm_bindgen_test]
fn amounts_that_are_not_numbers_are_refused() {
    for credits in [f64::NAN, f64::INFINITY, -1.0] {
        let error = TemplateJobs::new(Options { max_credits: Some(credits), ..sandbox() }).expect_err("no amount");
        assert_eq!(field(&error), Some("max_credits"));
    }
    for price in [Price { credits: f64::NAN, seconds: 1.0 }, Price { credits: 1.0, seconds: 0.0 }] {
        let prices = PriceTable { submit: price, ..PriceTable::PER_BLOCK };
        let error = TemplateJobs::new(Options { prices, ..sandbox() }).expect_err("no price");
        assert_eq!(field(&error), Some("prices"));
    }
}

#[wasm_bindgen_test]
fn options_do_not_show_their_secrets() {
    let headers = [("authorization".into(), "Bearer hidden-login".into())].into();
    let options = Options { api_key: Some("hidden-key".into()), headers, ..Options::default() };
    assert!(!format!("{options:?}").contains("hidden"));
    let credentials = parse(r#"{"apiKey":"hidden-key"}"#);
    assert!(!format!("{:?}", HostOptions { credentials, ..HostOptions::default() }).contains("hidden"));
    assert!(!format!("{:?}", client(options)).contains("hidden"));
}

#[wasm_bindgen_test]
fn a_javascript_object_reads_the_corpus_as_expected() {
    let host = WebHost::new(HostOptions::default());
    let corpus = Array::from(&parse(include_str!("corpus/jobs.json")));
    for case in corpus.iter() {
        let name = get(&case, "name").as_string().expect("a name");
        let body = get(&case, "body").as_string().expect("a body");
        let body = parse(&body);
        let facts = JobFacts::read(host.job(&body));
        let expected = get(&case, "facts");
        if !expected.is_object() {
            assert_eq!(facts, None, "{name}");
            continue;
        }
        let facts = facts.unwrap_or_else(|| panic!("{name}: no job was read"));
        let text = |member: &str| get(&expected, member).as_string().filter(|text| !text.is_empty());
        // The corpus has -1 for numbers that the core rejects.
        let number = |member: &str| get(&expected, member).as_f64().filter(|number| *number >= 0.0);
        // The core lower-cases ids.
        assert_eq!(Some(facts.id), text("id").map(|id| id.to_lowercase()), "{name}");
        assert_eq!(Some(format!("{:?}", facts.status)), text("status"), "{name}");
        assert_eq!(facts.progress, number("progress"), "{name}");
        assert_eq!(facts.preview, get(&expected, "preview").is_truthy(), "{name}");
        assert_eq!(facts.video, get(&expected, "video").is_truthy(), "{name}");
        assert_eq!(facts.credits_used, number("credits_used"), "{name}");
        assert_eq!(facts.duration, number("duration"), "{name}");
        let updated_at = text("updated_at");
        if updated_at.is_some() {
            assert_eq!(facts.version, updated_at.as_deref().map(|text| hash::of(text.as_bytes())), "{name}");
        }

        // The struct has the same values.
        let job = Job::from_js(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let filled = |member: Option<String>| member.filter(|text| !text.is_empty());
        assert_eq!((Some(&job.id), job.status()), (text("id").as_ref(), facts.status), "{name}");
        assert_eq!(filled(job.preview).is_some(), facts.preview, "{name}");
        assert_eq!(filled(job.video_output).is_some(), facts.video, "{name}");
        assert_eq!(filled(job.failed_reason), text("failed_reason"), "{name}");
        assert_eq!(filled(job.updated_at), updated_at, "{name}");
        for (read, fact) in
            [(job.progress, facts.progress), (job.credits_used, facts.credits_used), (job.duration, facts.duration)]
        {
            // The core rejects impossible numbers.
            assert_eq!(read.filter(|number| (0.0..1e15).contains(number)), fact, "{name}");
        }
    }
    assert!(corpus.length() > 30, "the corpus is read");
}

#[wasm_bindgen_test]
fn structs_survive_a_round_trip_through_javascript() {
    let job = Job {
        id: UNKNOWN_ID.into(),
        status: "running".into(),
        progress: Some(0.5),
        credits_used: Some(5.5),
        ..Job::default()
    };
    assert_eq!(Job::from_js(&job.to_js().expect("an object")).expect("a job"), job);
    let sparse = parse(r#"{"id":"x","status":"done","preview":null,"more":{"a":1}}"#);
    assert_eq!(Job::from_js(&sparse).expect("a job").status(), Status::Done);
}

#[wasm_bindgen_test]
fn a_job_with_members_of_other_types_is_read() {
    let odd = parse(&format!(
        r#"{{"id":"{UNKNOWN_ID}","status":7,"progress":"12.5","preview":{{"url":"x"}},"video_output":["y"],"credits_used":null,"is_hidden":"no","duration":true}}"#
    ));
    let job = Job { id: UNKNOWN_ID.into(), progress: Some(12.5), ..Job::default() };
    assert_eq!(Job::from_js(&odd).expect("a job"), job);
}

#[wasm_bindgen_test]
async fn a_request_is_sent_with_the_providers_field_names() {
    let jobs = over("return { status: 400, text: async () => JSON.stringify([init.body]) }", Options::default());
    let request = JobRequest {
        model_version: Some(ModelVersion::AuroraV1Fast),
        variables: [
            ("title".into(), Variable::text("Ünïcode")),
            ("speaker".into(), Variable::Avatar { avatar_id: "a".into() }),
            ("voice".into(), Variable::Voiceover { voice_id: None }),
        ]
        .into(),
        ..titled(UNKNOWN_ID)
    };
    let error = jobs.submit(&request, usual()).await.expect_err("400");
    let body = get(error.body().expect("a body"), "0").as_string().expect("a text");
    let expected = format!(
        r#"{{"model_version":"aurora_v1_fast","name":"a test","template_id":"{UNKNOWN_ID}","variables":{{"speaker":{{"properties":{{"avatar_id":"a"}},"type":"avatar"}},"title":{{"properties":{{"content":"Ünïcode"}},"type":"text"}},"voice":{{"properties":{{}},"type":"voiceover"}}}}}}"#
    );
    assert_eq!(body, expected);

    let mut evil = titled(UNKNOWN_ID);
    evil.variables.insert("__proto__".into(), Variable::text(""));
    let error = jobs.submit(&evil, usual()).await.expect_err("refused");
    assert_eq!(field(&error), Some("variables.__proto__"));
    let error = jobs.submit(&titled("no UUID"), usual()).await.expect_err("refused");
    assert_eq!(field(&error), Some("template_id"));
}

#[wasm_bindgen_test]
async fn extra_is_sent_and_metadata_is_kept() {
    let jobs = over(
        &format!("globalThis.body_sent = init.body; {}", answer(201, &pending_job(UNKNOWN_ID))),
        Options { account: "extra".into(), ..Options::default() },
    );
    let request = JobRequest { seconds: Some(15.0), name: None, variables: [].into(), ..titled(UNKNOWN_ID) };
    let options = ChargeOptions {
        extra: Some(parse(r#"{"resolution":"4k","model_version":"aurora_v2"}"#)),
        metadata: Some(parse(r#"{"row":7}"#)),
        ..operation("op")
    };
    jobs.submit(&request, options).await.expect("a job");
    let expected =
        format!(r#"{{"template_id":"{UNKNOWN_ID}","variables":{{}},"model_version":"aurora_v2","resolution":"4k"}}"#);
    assert_eq!(global("body_sent").as_string(), Some(expected));
    let pending = jobs.pending().await.expect("the journal");
    assert_eq!(pending.first().and_then(|open| open.metadata.as_deref()), Some(r#"{"row":7}"#));
    for (extra, metadata, expected) in [
        (parse(r#"{"name":"x"}"#), JsValue::NULL, "extra.name"),
        (parse("[]"), JsValue::NULL, "extra"),
        (Object::new().into(), Date::new_0().into(), "metadata"),
        (Object::new().into(), "x".repeat(1_025).into(), "metadata"),
    ] {
        let options = ChargeOptions { extra: Some(extra), metadata: Some(metadata), ..usual() };
        let error = jobs.submit(&request, options).await.expect_err("refused");
        assert_eq!(field(&error), Some(expected));
    }
}

#[wasm_bindgen_test]
async fn a_relay_receives_the_idempotency_key_and_no_api_key() {
    let fetch = format!(
        "globalThis.relayed = [url, init.headers.get('idempotency-key')]; {}",
        answer(201, &pending_job(UNKNOWN_ID))
    );
    let fetch = Some(Function::new_with_args("url, init", &fetch));
    let relay = Some("https://relay.test/creatify/".into());
    let jobs = client(Options { relay: relay.clone(), fetch, journal: Journal::Memory, ..Options::default() });
    jobs.submit(&titled(UNKNOWN_ID), operation("op")).await.expect("a job");
    let expected = r#"["https://relay.test/creatify/api/custom_template_jobs/","op"]"#;
    assert_eq!(json(&global("relayed")).as_deref(), Some(expected));
    for (options, expected) in [
        (Options { api_key: Some("key".into()), ..Options::default() }, "api_key"),
        (Options { base_url: "https://api.test".into(), ..Options::default() }, "base_url"),
    ] {
        let error = TemplateJobs::new(Options { relay: relay.clone(), ..options }).expect_err("refused");
        assert_eq!(field(&error), Some(expected));
    }
}

#[wasm_bindgen_test]
async fn an_explicit_operation_needs_a_journal() {
    // In a page the default one does, as it is IndexedDB.
    let is_page = !global("document").is_undefined() || !global("WorkerGlobalScope").is_undefined();
    let options = || Options {
        fetch: Some(Function::new_with_args("url, init", &answer(201, &pending_job(UNKNOWN_ID)))),
        account: "named".into(),
        ..Options::default()
    };
    let charged = client(options()).submit(&titled(UNKNOWN_ID), operation("order-42")).await;
    assert_eq!(charged.err().as_ref().and_then(field), if is_page { None } else { Some("operation") });
    let made = TemplateJobs::new(Options { budget_key: Some("may".into()), ..options() });
    assert_eq!(made.err().as_ref().and_then(field), if is_page { None } else { Some("budget_key") });
}

fn refused_field(source: &str) -> Option<String> {
    let make = Function::new_no_args(&format!("return {{ variables: {source} }}"));
    let value = make.call0(&JsValue::UNDEFINED).expect("a value");
    text_of(&value, "request").err().and_then(|refusal| get(&refusal, "field").as_string())
}

#[wasm_bindgen_test]
fn values_that_json_cannot_carry_are_refused_with_their_path() {
    for (source, path) in [
        ("{ a: { b: 1n } }", "variables.a.b"),
        ("{ a: new Date() }", "variables.a"),
        ("{ a: [1, new Map()] }", "variables.a[1]"),
        ("{ a: () => 1 }", "variables.a"),
        ("{ a: Symbol('s') }", "variables.a"),
        ("{ a: undefined }", "variables.a"),
        ("{ a: NaN }", "variables.a"),
        ("{ a: new Blob(['x']) }", "variables.a"),
        ("{ a: new Uint8Array(2) }", "variables.a"),
        ("{ get a() { throw new Error('no') } }", "variables.a"),
        ("new (class Title { constructor() { this.a = 1 } })()", "variables"),
    ] {
        assert_eq!(refused_field(source).as_deref(), Some(path), "{source}");
    }
    for source in ["(() => { const a = {}; a.a = a; return a })()", "JSON.parse('['.repeat(120) + 1 + ']'.repeat(120))"] {
        let path = refused_field(source).expect("refused");
        assert!(path.starts_with("variables.a") || path.starts_with("variables[0][0]"), "{path}");
    }
    for source in
        ["{}", "Object.create(null)", "{ a: null, b: [], c: { d: 'x', e: 1, f: false } }", "JSON.parse('{\"__proto__\":1}')"]
    {
        assert_eq!(refused_field(source), None, "{source}");
    }
}

#[wasm_bindgen_test]
fn a_request_has_one_text_whatever_the_order_of_its_keys() {
    let text = |json: &str| text_of(&parse(json), "request").expect("a text");
    let one = text(r#"{"a":1,"b":{"c":"x","d":null}}"#);
    assert_eq!(one, text(r#"{"b":{"d":null,"c":"x"},"a":1}"#));
    for other in [
        r#"{"a":2,"b":{"c":"x","d":null}}"#,
        r#"{"a":1,"b":{"c":"x"}}"#,
        r#"{"a":1,"b":{"c":"x","d":false}}"#,
        r#"{"a":1,"c":"x","b":{"d":null}}"#,
        r#"{"a":"1","b":{"c":"x","d":null}}"#,
    ] {
        assert_ne!(one, text(other), "{other}");
    }
    assert_ne!(text("[1,2]"), text("[2,1]"));
}

// ---- a fetch that misbehaves -----------------------------------------------------------------------

/// A client over an injected `fetch`, a function body of `(url, init)`.
fn over(fetch: &str, options: Options) -> TemplateJobs {
    client(Options {
        fetch: Some(Function::new_with_args("url, init", fetch)),
        base_url: "https://api.test".into(),
        api_id: Some("me".into()),
        journal: Journal::Memory,
        timeout: Duration::from_millis(300),
        preview_timeout: Duration::from_millis(500),
        max_retries: 0,
        ..options
    })
}

fn answer(status: u16, body: &str) -> String {
    format!("return {{ status: {status}, text: async () => '{body}' }}")
}

fn pending_job(id: &str) -> String {
    format!(r#"{{"id":"{id}","status":"pending"}}"#)
}

async fn sleep(ms: u32) {
    TimeoutFuture::new(ms).await;
}

async fn settles<T>(call: impl IntoFuture<Output = T>) -> T {
    let (mut call, mut timer) = (pin!(call.into_future()), pin!(TimeoutFuture::new(5_000)));
    poll_fn(|context| {
        if let Poll::Ready(output) = call.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        assert!(timer.as_mut().poll(context).is_pending(), "the call does not settle");
        Poll::Pending
    })
    .await
}

/// Polls a call for some milliseconds, then drops it; it must not end before.
async fn left_after<T: Debug>(ms: u32, call: impl IntoFuture<Output = T>) {
    let (mut call, mut timer) = (pin!(call.into_future()), pin!(TimeoutFuture::new(ms)));
    poll_fn(|context| {
        if let Poll::Ready(output) = call.as_mut().poll(context) {
            panic!("the call ended: {output:?}");
        }
        timer.as_mut().poll(context)
    })
    .await;
}

#[wasm_bindgen_test]
async fn a_faulty_fetch_settles_every_call() {
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
        let jobs = over(fetch, Options::default());
        let error = settles(jobs.get(UNKNOWN_ID)).await.expect_err(fetch);
        assert_eq!(error.name(), read, "{fetch}");
        let error = settles(jobs.submit(&titled(UNKNOWN_ID), usual())).await.expect_err(fetch);
        assert_eq!(error.kind(), &ErrorKind::ChargeUnknown, "{fetch}");
    }
}

#[wasm_bindgen_test]
async fn a_response_of_another_realm_is_read_like_any_other() {
    let fetch = format!(
        "return {{ status: 201, headers: new Map([['retry-after', '1']]), text: async () => '{}' }}",
        pending_job(UNKNOWN_ID)
    );
    let job = over(&fetch, Options::default()).submit(&titled(UNKNOWN_ID), usual()).await.expect("a job");
    assert_eq!(job.status(), Status::Pending);
}

#[wasm_bindgen_test]
async fn a_fetch_is_called_with_a_url_and_plain_settings_and_no_receiver() {
    let fetch = r"
        if (this !== undefined && this !== globalThis) throw new Error('a receiver');
        const headers = new Headers(init.headers);
        const seen = [url, init.method, init.redirect, init.body, init.signal instanceof AbortSignal, headers.get('content-type'),
            headers.get('idempotency-key')];
        return { status: 400, text: async () => JSON.stringify(seen) };
    ";
    for (idempotency_header, key) in [(None, None), (Some(true), Some("seen"))] {
        let jobs = over(fetch, Options { idempotency_header, ..Options::default() });
        let error = jobs.submit(&titled(UNKNOWN_ID), operation("seen")).await.expect_err("400");
        let seen = Array::from(error.body().expect("a body"));
        assert_eq!(seen.get(0), "https://api.test/api/custom_template_jobs/");
        assert_eq!(seen.get(1), "POST");
        assert_eq!(seen.get(2), "manual");
        let body = parse(&seen.get(3).as_string().expect("a body"));
        assert_eq!(get(&body, "template_id"), UNKNOWN_ID);
        assert!(seen.get(4).is_truthy(), "a signal");
        assert_eq!(seen.get(5), "application/json");
        assert_eq!(seen.get(6).as_string().as_deref(), key);
    }
}

#[wasm_bindgen_test]
async fn a_header_that_cannot_be_sent_is_refused_without_its_value() {
    for (name, value, refused) in [
        ("x-api-key", "secret\r\nx-evil: 1", "apiKey"),
        ("x-api-id", "\u{0}id", "apiId"),
        ("x-login", "schl\u{fc}ssel \u{20ac}", "headers"),
        ("x bad", "v", "headers"),
        ("", "v", "headers"),
    ] {
        let headers = [(name.into(), value.into())].into();
        let jobs = over("throw new Error('sent')", Options { headers, ..Options::default() });
        let error = jobs.get(UNKNOWN_ID).await.expect_err(refused);
        assert_eq!(field(&error), Some(refused));
        assert!(!format!("{error:?} {error}").contains("secret"));
        let error = jobs.submit(&titled(UNKNOWN_ID), usual()).await.expect_err(refused);
        assert_eq!(field(&error), Some(refused), "a charge that cannot be made is refused, not unknown");
    }
}

#[wasm_bindgen_test]
async fn no_error_contains_a_secret_that_the_server_or_the_runtime_echoes() {
    let shown = |error: &Error| {
        let values = [error.body(), error.cause(), error.job()].map(|value| {
            let value = value.cloned().unwrap_or_default();
            let words = Function::new_with_args("it", "return [it?.message, it?.stack, JSON.stringify(it)].join()");
            words.call1(&JsValue::UNDEFINED, &value).expect("words").as_string()
        });
        format!("{error:?} {error} {:?} {values:?}", error.text())
    };
    let echo =
        "const key = new Headers(init.headers).get('x-api-key') + ' ' + new Headers(init.headers).get('authorization');";
    for fetch in [
        "throw new Error('failed with ' + key)",
        "return { status: 400, text: async () => JSON.stringify({ detail: key }) }",
        "return { status: 502, text: async () => key }",
        "return { status: 200, text: async () => JSON.stringify([key]) }",
    ] {
        let headers = [("authorization".into(), "Bearer hidden-login".into())].into();
        let options = Options { api_key: Some("hidden-key".into()), headers, ..Options::default() };
        let jobs = over(&format!("{echo} {fetch}"), options);
        let read = jobs.get(UNKNOWN_ID).await.expect_err(fetch);
        let listed = jobs.templates().await.expect_err(fetch);
        let charged = jobs.submit(&titled(UNKNOWN_ID), usual()).await.expect_err(fetch);
        for error in [read, listed, charged] {
            let shown = shown(&error);
            assert!(shown.contains('…') && !shown.contains("hidden"), "{fetch}: {shown}");
        }
    }
}

#[wasm_bindgen_test]
async fn field_errors_of_the_api_are_messages_by_path() {
    let refused = |status: u32, body: &str| {
        let fetch = format!("return {{ status: {status}, text: async () => JSON.stringify({body}) }}");
        over(&fetch, Options::default())
    };
    let body = "{ name: 'Odd.', variables: { shots: [{}, { url: ['Blank.', 'Bad.'] }] }, '__proto__x': [7, null] }";
    let error = refused(400, body).submit(&titled(UNKNOWN_ID), usual()).await.expect_err("refused");
    let fields: Vec<_> = error.fields().into_iter().collect();
    let expected =
        [("name".into(), vec!["Odd.".into()]), ("variables.shots.1.url".into(), vec!["Blank.".into(), "Bad.".into()])];
    assert_eq!(fields, expected);
    for (status, body) in [(400, "{ detail: 'No.', name: ['Odd.'] }"), (200, "{ name: ['Odd.'] }")] {
        let error = refused(status, body).get(UNKNOWN_ID).await.expect_err("refused");
        assert!(error.fields().is_empty(), "{status}");
    }
}

#[wasm_bindgen_test]
async fn a_timeout_aborts_the_request() {
    let fetch =
        "init.signal.onabort = () => { globalThis.stopped = (globalThis.stopped ?? 0) + 1 }; return new Promise(() => {})";
    let error = settles(over(fetch, Options::default()).get(UNKNOWN_ID)).await.expect_err("too slow");
    assert_eq!(error.kind(), &ErrorKind::Connection { sent: true });
    assert_eq!(global("stopped").as_f64(), Some(1.0));
}

/// Waits until the journal has the operation as bound. `jobs` is another client of the same account, which only reads.
async fn is_bound(jobs: &TemplateJobs, operation: &str, id: &str) {
    for _ in 0..100 {
        sleep(20).await;
        let pending = jobs.pending().await.expect("the journal");
        let open = pending.iter().find(|open| open.operation == operation).expect("in the journal");
        if open.state == State::Bound {
            assert_eq!(open.job_id.as_deref(), Some(id));
            return;
        }
    }
    panic!("the charge was not bound");
}

fn slow_charge(id: &str) -> String {
    format!(
        "return new Promise((resolve) => setTimeout(resolve, 200, {{ status: 201, text: () => '{}' }}))",
        pending_job(id)
    )
}

#[wasm_bindgen_test]
async fn a_charge_is_bound_after_its_callers_timeout() {
    let id = "11111111-0d44-4b50-8888-8dd25736052a";
    let jobs = over(&slow_charge(id), Options::default());
    let options = ChargeOptions { timeout: Some(Duration::from_millis(20)), ..operation("late") };
    let error = settles(jobs.submit(&titled(UNKNOWN_ID), options)).await.expect_err("too slow");
    assert_eq!((error.kind(), error.operation()), (&ErrorKind::ChargeUnknown, Some("late")));
    is_bound(&jobs, "late", id).await;
}

#[wasm_bindgen_test]
async fn a_charge_outlives_its_call_and_its_clients() {
    for (name, id, timeout) in [
        ("dropped", "22222222-0d44-4b50-8888-8dd25736052a", None),
        ("late, then dropped", "33333333-0d44-4b50-8888-8dd25736052a", Some(Duration::from_millis(20))),
    ] {
        let jobs = over(&slow_charge(id), Options::default());
        let options = ChargeOptions { timeout, ..operation(name) };
        let request = titled(UNKNOWN_ID);
        if timeout.is_some() {
            assert!(settles(jobs.submit(&request, options)).await.is_err());
        } else {
            left_after(50, jobs.submit(&request, options)).await;
        }
        drop(jobs);
        is_bound(&over("throw new Error('sent')", Options::default()), name, id).await;
    }
}

#[wasm_bindgen_test]
async fn a_call_dropped_before_its_request_sends_none() {
    let journal = Function::new_no_args(
        r"
        const entries = new Map();
        return {
            create: (id, entry) => new Promise((resolve) => setTimeout(resolve, 100, !entries.has(id) && !!entries.set(id, entry))),
            read: (id) => entries.get(id),
            write: (id, entry) => void entries.set(id, entry),
            delete: (id) => entries.delete(id),
            list: (prefix) => [...entries.keys()].filter((id) => id.startsWith(prefix)),
        };",
    );
    let journal = journal.call0(&JsValue::UNDEFINED).expect("a journal");
    let fetch = format!("globalThis.sent_early = true; {}", answer(201, &pending_job(UNKNOWN_ID)));
    let options = Options { fetch: Some(Function::new_with_args("url, init", &fetch)), ..sandbox() };
    let jobs = client(Options { journal: Journal::Custom(journal), ..options });
    let request = titled(UNKNOWN_ID);
    drop(jobs.submit(&request, operation("left")));
    left_after(20, jobs.submit(&request, operation("left"))).await;
    sleep(250).await;
    assert!(global("sent_early").is_undefined());
    assert_eq!(jobs.pending().await.expect("the journal"), [], "the id is free");
}

#[wasm_bindgen_test]
async fn a_dropped_client_leaves_nothing_behind() {
    let fetch = format!(
        "if (init.method === 'POST' || url.endsWith('{UNKNOWN_ID}/')) return {{ status: 201, text: () => '{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"running\"}}' }};
        return new Promise((_, reject) => init.signal.addEventListener('abort', () => {{
            globalThis.given_up = (globalThis.given_up ?? 0) + 1;
            reject(init.signal.reason);
        }}))"
    );
    let mut held = 0;
    for round in 0..11 {
        let jobs = over(&fetch, Options::default());
        jobs.submit(&titled(UNKNOWN_ID), usual()).await.expect("a job");
        // A request in flight, a poll that sleeps, and a charge that runs on.
        left_after(20, jobs.templates()).await;
        left_after(20, jobs.poll(UNKNOWN_ID, soon())).await;
        drop(jobs);
        let slow = over(&slow_charge(UNKNOWN_ID), Options::default());
        left_after(20, slow.submit(&titled(UNKNOWN_ID), usual())).await;
        if round == 0 {
            // Values that are made once and kept exist now.
            sleep(400).await;
            held = wasm_bindgen::externref_heap_live_count();
        }
    }
    assert_eq!(global("given_up"), 11, "abandoned requests are aborted");
    sleep(400).await;
    let left = wasm_bindgen::externref_heap_live_count();
    assert!(left <= held, "{held} values were held before, {left} are after");
}

#[wasm_bindgen_test]
async fn one_operation_is_charged_once_and_another_request_under_it_is_refused() {
    let id = "44444444-0d44-4b50-8888-8dd25736052a";
    let fetch = format!(
        "if (init.method === 'POST') globalThis.charged = (globalThis.charged ?? 0) + 1; {}",
        answer(201, &pending_job(id))
    );
    let jobs = over(&fetch, Options::default());
    for _ in 0..3 {
        assert_eq!(jobs.submit(&titled(UNKNOWN_ID), operation("once")).await.expect("a job").id, id);
    }
    let other = JobRequest { name: None, ..titled(UNKNOWN_ID) };
    let error = jobs.submit(&other, operation("once")).await.expect_err("another request");
    assert_eq!((error.kind(), error.operation()), (&ErrorKind::OperationConflict, Some("once")));
    assert_eq!(global("charged"), 1);
}

#[wasm_bindgen_test]
async fn an_unknown_operation_is_settled_by_its_job_or_discarded() {
    let id = "55555555-0d44-4b50-8888-8dd25736052a";
    let fetch = format!(
        "if (init.method === 'POST') throw new Error('lost'); const created_at = new Date().toISOString();
        return {{ status: 200, text: async () => JSON.stringify({{ id: '{id}', status: 'pending', created_at }}) }}"
    );
    let jobs = over(&fetch, Options { account: "settling".into(), ..Options::default() });
    for name in ["lost", "lost too"] {
        let error = jobs.submit(&titled(UNKNOWN_ID), operation(name)).await.expect_err("no answer");
        assert_eq!(error.kind(), &ErrorKind::ChargeUnknown);
    }
    let unknown = |open: &[Operation]| open.iter().filter(|open| open.state == State::Unknown).count();
    let other = over(&fetch, Options { account: "somebody else".into(), ..Options::default() });
    assert_eq!(other.pending().await.expect("the journal"), []);
    assert_eq!(unknown(&jobs.pending().await.expect("the journal")), 2);

    let settled = jobs.settle("lost", Some(id)).await.expect("settled");
    assert_eq!((settled.state, settled.job_id.as_deref()), (State::Bound, Some(id)));
    let error = jobs.discard("lost").await.expect_err("it was charged");
    assert_eq!(field(&error), Some("operation"));
    jobs.discard("lost too").await.expect("discarded");
    assert_eq!(unknown(&jobs.pending().await.expect("the journal")), 0);
}

#[wasm_bindgen_test]
async fn a_render_with_changes_sends_them() {
    let fetch = format!(
        "if (init.method === 'POST') return {{ status: 400, text: async () => JSON.stringify([init.body]) }};
        return {{ status: 200, text: async () => '{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"done\",\"preview\":\"https://p\"}}' }}"
    );
    let jobs = over(&fetch, Options::default());
    let changes = RenderRequest { model_version: Some(ModelVersion::AuroraV1), ..RenderRequest::default() };
    let error = jobs.render(UNKNOWN_ID, Some(&changes), usual()).await.expect_err("400");
    let render = format!("render:{UNKNOWN_ID}");
    assert_eq!((error.operation(), error.job_id()), (Some(render.as_str()), Some(UNKNOWN_ID)));
    assert_eq!(get(error.body().expect("a body"), "0"), r#"{"model_version":"aurora_v1"}"#);
}

#[wasm_bindgen_test]
async fn a_retry_after_is_read_as_seconds_or_as_a_date() {
    for (header, least, most) in [
        ("'3'", 3_000.0, 3_000.0),
        ("new Date(Date.now() + 20000).toUTCString()", 18_000.0, 20_000.0),
        ("'soon'", -1.0, -1.0),
    ] {
        let fetch = format!("return {{ status: 429, headers: new Map([['retry-after', {header}]]), text: () => '{{}}' }}");
        let error = over(&fetch, Options::default()).get(UNKNOWN_ID).await.expect_err("429");
        let ErrorKind::Api { retry_after_ms, .. } = error.kind() else { panic!("{error:?}") };
        let wait = retry_after_ms.unwrap_or(-1.0);
        assert!((least..=most).contains(&wait), "{header}: {wait}");
    }
}

#[wasm_bindgen_test]
async fn a_job_is_returned_unchanged() {
    let fetch = format!(
        "globalThis.answer = '{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"done\",\"new_field\":[1,{{\"a\":null}}],\"__proto__\":{{\"x\":1}}}}'; return {{ status: 200, text: () => globalThis.answer }}"
    );
    let fetch = Some(Function::new_with_args("url, init", &fetch));
    let host = WebHost::new(HostOptions { credentials: Object::new().into(), fetch, ..HostOptions::default() });
    let job = Client::new(host, Config::new("https://api.test", "me", "")).get(UNKNOWN_ID, None).await.expect("a job");
    assert_eq!(json(&job), global("answer").as_string());
}

#[wasm_bindgen_test]
async fn a_poll_for_any_goal_ends_with_the_video() {
    let done =
        format!("{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"done\",\"preview\":\"https://p\",\"video_output\":\"https://v\"}}");
    let jobs = over(&answer(200, &done), Options::default());
    for goal in [Goal::Preview, Goal::Video, Goal::Done] {
        let options = PollOptions { until: Some(goal), ..PollOptions::default() };
        assert!(settles(jobs.poll(UNKNOWN_ID, options)).await.is_ok());
    }
}

#[wasm_bindgen_test]
async fn a_listener_receives_changes_and_may_call_the_client() {
    let fetch = format!(
        "const progress = globalThis.progress = (globalThis.progress ?? 0) + 0.25; const status = progress < 1 ? 'running' : 'done';
        return {{ status: 200, text: async () => JSON.stringify({{ id: '{UNKNOWN_ID}', status, progress }}) }}"
    );
    let jobs = over(&fetch, Options::default());
    let seen = Rc::<std::cell::RefCell<Vec<f64>>>::default();
    let (listener, heard) = (jobs.clone(), Rc::clone(&seen));
    let on_update = move |update: custom_template_jobs::web::Update| {
        heard.borrow_mut().push(update.job.progress.expect("a progress"));
        assert!(update.next_poll < Some(Duration::from_secs(60)));
        assert!(update.progress.is_some_and(|progress| progress <= 1.0));
        // A poll that is started and dropped here affects nothing.
        let mut other = Box::pin(listener.poll(UNKNOWN_ID, PollOptions::default()));
        let _ = other.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    };
    let options = PollOptions { on_update: Some(Box::new(on_update)), ..soon() };
    let job = jobs.poll(UNKNOWN_ID, options).await.expect("a job");
    assert_eq!(job.status(), Status::Done);
    let seen = seen.borrow();
    assert!(seen.contains(&0.25) && seen.is_sorted(), "{seen:?}");
}

#[wasm_bindgen_test]
async fn a_webhook_returns_its_job_and_its_operation_if_the_journal_has_it() {
    let done = format!("{{\"id\":\"{UNKNOWN_ID}\",\"status\":\"done\",\"video_output\":\"https://v\"}}");
    let jobs = over(&answer(200, &done), Options { account: "webhooks".into(), ..Options::default() });
    let candidates = ["op".to_owned(), "hook".to_owned()];
    let (job, operation) = settles(jobs.handle_webhook(UNKNOWN_ID, &candidates)).await.expect("a job");
    assert_eq!((job.status(), operation), (Status::Done, None));
    let request = JobRequest { template_id: UNKNOWN_ID.into(), ..JobRequest::default() };
    let options = ChargeOptions { operation: Some("op".into()), ..ChargeOptions::default() };
    settles(jobs.submit(&request, options)).await.expect("a job");
    let (_, operation) = settles(jobs.handle_webhook(UNKNOWN_ID, &candidates)).await.expect("a job");
    assert_eq!(operation.map(|operation| operation.operation).as_deref(), Some("op"));
}

#[wasm_bindgen_test]
async fn a_dropped_request_is_aborted() {
    let fetch = "globalThis.aborted_by_drop = init.signal; return new Promise(() => {})";
    let fetch = Some(Function::new_with_args("url, init", fetch));
    let host = WebHost::new(HostOptions { credentials: Object::new().into(), fetch, ..HostOptions::default() });
    let headers = host.headers().await.expect("headers");
    let request = Request { endpoint: Endpoint::Templates, url: "https://api.test/", body: None, operation: None };
    left_after(10, host.fetch(request, headers)).await;
    assert_eq!(get(&global("aborted_by_drop"), "aborted"), true);
}
