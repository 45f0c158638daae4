//! Routes of the control interface under `/__sandbox/`, for tests and the console.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /` | | the console; `GET events` is its event stream, whose format may change |
//! | `GET templates` | | `[{template_id, name, aspect_ratio, width, height, duration_seconds, behaviour, variables}]` |
//! | `GET jobs` | | every job in the form of the API, newest first, with `template_id` and `template_name` |
//! | `GET ledger` | | `{granted, remaining, reserved, charges, duplicates}` |
//! | `GET requests` | | `{total, requests}`, the last 2000, oldest first |
//! | `GET webhooks` | | the last 500 webhooks, oldest first, each with its `faults` and `tries` |
//! | `GET images` | | the last 500 image fetches, oldest first, each with its outcome |
//! | `GET assumptions` | | a page that lists documented, observed and assumed behaviour |
//! | `GET openapi.json` | | the provider's calls as `OpenAPI` 3.0 |
//! | `GET faults` | | the rules, each with `seen` and `struck` |
//! | `PUT faults` | an array of rules (see [`crate::faults`]) | the same |
//! | `GET clock` | | `{now, offset_seconds, speed}` |
//! | `POST clock` | `{"advance_seconds": 90}` | the same |
//! | `POST reset` | none, or `{"seed": 1, "credits": 500}` | `{"reset": true}` |
//!
//! Every error is a 4xx with `{"detail": "..."}`. Pages of other origins are refused unless `--cors` lists them.

use std::sync::{Arc, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::{App, header};
use crate::engine::Command;
use crate::exchange::{read, refuse};
use crate::{console, faults, openapi, pages};

/// The routes, with CORS and the origin check.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/__sandbox", get(|| async { Redirect::temporary("/__sandbox/") }))
        .route("/__sandbox/", get(console::page))
        .route("/__sandbox/console.css", get(console::style))
        .route("/__sandbox/console.js", get(console::script))
        .route("/__sandbox/events", get(console::events))
        .route("/__sandbox/templates", get(templates))
        .route("/__sandbox/jobs", get(jobs))
        .route("/__sandbox/ledger", get(ledger))
        .route("/__sandbox/requests", get(requests))
        .route("/__sandbox/webhooks", get(webhooks))
        .route("/__sandbox/images", get(images))
        .route("/__sandbox/faults", get(list_faults).put(set_faults))
        .route("/__sandbox/assumptions", get(pages::assumptions))
        .route("/__sandbox/openapi.json", get(openapi))
        .route("/__sandbox/clock", get(clock).post(advance))
        .route("/__sandbox/reset", post(reset))
        .route("/__sandbox/{*rest}", any(|| async { refuse(StatusCode::NOT_FOUND, "There is no such control call.") }))
        .method_not_allowed_fallback(|| async { refuse(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.") })
        .layer(cors(app))
        .layer(middleware::from_fn_with_state(Arc::clone(app), guard))
}

/// Refuses pages of other origins, except those that `--cors` lists by name. Programs outside a browser pass.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let origin = header(headers, header::ORIGIN);
    let listed = origin.is_some_and(|origin| app.cors.iter().any(|listed| listed == origin));
    // A link from another page may open the console; that page cannot read it.
    let visit = request.method() == Method::GET
        && origin.is_none()
        && headers.get("sec-fetch-dest").is_some_and(|dest| dest == "document");
    if !(listed || visit || app.is_own_page(headers)) {
        return refuse(StatusCode::FORBIDDEN, "The control interface answers only this machine and its own pages.");
    }
    let mut response = next.run(request).await;
    app.committed().await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// The CORS layer. `--cors *` opens the API, not the control interface.
fn cors(app: &App) -> CorsLayer {
    let listed = app.cors.iter().filter(|origin| *origin != "*").filter_map(|origin| HeaderValue::try_from(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(listed))
        .allow_methods([Method::GET, Method::POST, Method::PUT])
        .allow_headers([header::CONTENT_TYPE])
}

fn ok(body: Value) -> Response {
    axum::Json(body).into_response()
}

/// Reads a JSON body. An empty body counts as `{}`.
async fn body<T: for<'de> Deserialize<'de>>(body: Body) -> Result<T, Response> {
    let wrong = |detail: &str| refuse(StatusCode::BAD_REQUEST, detail);
    let bytes = read(body).await.map_err(|_| wrong("The body could not be read."))?;
    let bytes = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
    serde_json::from_slice(bytes).map_err(|error| wrong(&format!("The body is wrong: {error}.")))
}

async fn templates(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let origin = app.origin(&headers);
    ok(app.engine().templates().iter().map(|template| template.detail(&origin)).collect())
}

async fn jobs(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let origin = app.origin(&headers);
    ok(app.engine().jobs_body(app.now(), &origin))
}

async fn ledger(State(app): State<Arc<App>>) -> Response {
    app.handle(Command::Tick);
    ok(app.engine().ledger().body())
}

async fn requests(State(app): State<Arc<App>>) -> Response {
    ok(app.engine().requests_body())
}

async fn webhooks(State(app): State<Arc<App>>) -> Response {
    app.handle(Command::Tick);
    let log = app.engine().webhook_log().clone();
    let deliveries = app.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
    let with_tries = |mut entry: Value| {
        let number = entry["n"].as_u64().unwrap_or_default();
        entry["tries"] = deliveries.get(&number).into_iter().flatten().cloned().collect();
        entry
    };
    ok(log.into_iter().map(with_tries).collect())
}

async fn images(State(app): State<Arc<App>>) -> Response {
    ok(app.images.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect())
}

async fn list_faults(State(app): State<Arc<App>>) -> Response {
    ok(app.engine().faults())
}

async fn set_faults(State(app): State<Arc<App>>, given: Body) -> Response {
    let rules = match body::<Value>(given).await {
        Ok(rules) => rules,
        Err(response) => return response,
    };
    match faults::parse(&rules) {
        Ok(rules) => {
            app.handle(Command::SetFaults(rules));
            ok(app.engine().faults())
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

async fn openapi(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let document = openapi::document(&app.origin(&headers), app.engine().templates());
    document.map_or_else(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()), ok)
}

async fn clock(State(app): State<Arc<App>>) -> Response {
    ok(app.engine().clock_body(app.now()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: f64,
}

async fn advance(State(app): State<Arc<App>>, given: Body) -> Response {
    let Advance { advance_seconds: seconds } = match body(given).await {
        Ok(advance) => advance,
        Err(response) => return response,
    };
    if !(0.0..=1e9).contains(&seconds) {
        return refuse(StatusCode::BAD_REQUEST, "advance_seconds must be from 0 to 1000000000.");
    }
    app.handle(Command::Advance { ms: (seconds * 1000.0).round() as u64 });
    ok(app.engine().clock_body(app.now()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    seed: Option<u64>,
    credits: Option<f64>,
}

async fn reset(State(app): State<Arc<App>>, given: Body) -> Response {
    let Reset { seed, credits } = match body(given).await {
        Ok(reset) => reset,
        Err(response) => return response,
    };
    if credits.is_some_and(|credits| !(0.0..=1e9).contains(&credits)) {
        return refuse(StatusCode::BAD_REQUEST, "credits must be from 0 to 1000000000.");
    }
    app.handle(Command::Reset { seed, credits });
    app.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    app.images.lock().unwrap_or_else(PoisonError::into_inner).clear();
    ok(json!({"reset": true}))
}
