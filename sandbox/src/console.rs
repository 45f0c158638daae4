//! The console's files, and the server-sent events that keep it current.
//!
//! Each event is a digest of the whole state, sent after a change. The console's buttons use the control interface.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use crate::app::App;
use crate::engine::Engine;
use crate::job::{Job, number, rfc3339};

/// The number of entries that the console shows of each kind, newest first.
const JOBS: usize = 60;
const CHARGES: usize = 60;
const REQUESTS: usize = 100;
const WEBHOOKS: usize = 40;
const IMAGES: usize = 20;

/// The shortest time between two digests.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest time between two digests while a job runs, because progress changes with time alone.
const WORKING: Duration = Duration::from_millis(300);

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
media-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
require-trusted-types-for 'script'; trusted-types 'none'";

/// `GET /__sandbox/`: the console.
pub async fn page() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("../assets/console/index.html")).into_response()
}

/// `GET /__sandbox/console.css`: the style of the sandbox's own pages.
pub async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../assets/console/console.css"))
}

/// `GET /__sandbox/console.js`: the script of the console.
pub async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../assets/console/console.js"))
}

fn asset(mime: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 2] = [(header::CONTENT_TYPE, mime), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, text).into_response()
}

/// `GET /__sandbox/events`: digests as server-sent events, until the client closes the connection.
pub async fn events(State(app): State<Arc<App>>) -> impl IntoResponse {
    let state = (app.changes(), String::new(), app);
    let digests = stream::unfold(state, |(mut changes, mut sent, app)| async move {
        loop {
            if !sent.is_empty() {
                tokio::time::sleep(PAUSE).await;
                let working = app.engine().next_due().is_some();
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(WORKING), if working => {}
                }
            }
            changes.mark_unchanged();
            let digest = digest(&app).to_string();
            if digest != sent {
                sent.clone_from(&digest);
                return Some((Ok::<_, Infallible>(Event::default().data(digest)), (changes, sent, app)));
            }
        }
    });
    Sse::new(digests).keep_alive(KeepAlive::default())
}

/// The state that the console shows. Variables are left out because they may be long.
fn digest(app: &App) -> Value {
    let now = app.now();
    let engine = app.engine();
    let time = engine.time(now);
    let ledger = engine.ledger();
    let (requests, asked) = engine.last_requests(REQUESTS);
    let mut webhooks: Vec<Value> = engine.webhook_log().iter().rev().take(WEBHOOKS).cloned().collect();
    let duplicates = ledger.duplicates();
    let later: HashSet<usize> = duplicates.iter().flat_map(|group| group.charges.iter().skip(1).copied()).collect();
    let charges: Vec<Value> = ledger
        .charges()
        .iter()
        .enumerate()
        .rev()
        .take(CHARGES)
        .map(|(place, charge)| {
            json!({
                "n": place + 1,
                "job_id": charge.job.to_string(),
                "call": charge.call.name(),
                "credits": number(charge.credits),
                "at": rfc3339(charge.at, 0),
                "state": match (charge.debited_at, charge.refunded_at) {
                    (_, Some(_)) => "given back",
                    (Some(_), None) => "debited",
                    (None, None) => "reserved",
                },
                "duplicate": later.contains(&place),
            })
        })
        .collect();
    let mut clock = engine.clock_body(now);
    clock["still"] = json!(app.stands_still());
    let mut digest = json!({
        "clock": clock,
        "credits": {"remaining": number(ledger.remaining()), "reserved": number(ledger.remaining() - ledger.available())},
        "counts": {"jobs": engine.jobs().len(), "charges": ledger.charges().len(), "requests": asked},
        "jobs": engine.jobs().iter().rev().take(JOBS).map(|job| job_of(&engine, job, time)).collect::<Value>(),
        "charges": charges,
        "duplicates": ledger.duplicates_body(),
        "requests": requests,
        "faults": engine.faults(),
    });
    drop(engine);
    let deliveries = app.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
    for webhook in &mut webhooks {
        let tries = deliveries.get(&webhook["n"].as_u64().unwrap_or_default());
        webhook["tries"] = tries.into_iter().flatten().cloned().collect();
    }
    drop(deliveries);
    let images = app.images.lock().unwrap_or_else(PoisonError::into_inner);
    let images: Vec<Value> = images.iter().rev().take(IMAGES).cloned().collect();
    digest["webhooks"] = json!(webhooks);
    digest["images"] = json!(images);
    digest
}

fn job_of(engine: &Engine, job: &Job, time: u64) -> Value {
    let template = engine.templates().get(job.template);
    json!({
        "id": job.id.to_string(),
        "name": job.name,
        "template": template.map(|template| template.name.clone()),
        "width": template.map(|template| template.width),
        "height": template.map(|template| template.height),
        "seconds": template.map(|template| template.seconds),
        "step": job.phase().map(|phase| phase.step.name()),
        "status": job.phase().and_then(|phase| phase.odd_status.clone()).filter(|_| job.status(time).name() == "running")
            .unwrap_or_else(|| job.status(time).name().to_owned()),
        "progress": job.phase().map_or(0.0, |phase| phase.progress(time)),
        "credits_used": number(job.credits_used(time)),
        "failed_reason": job.failed_reason(time),
        "created_at": rfc3339(job.created, 0),
        "preview": job.has_preview(time).then(|| job.preview_url("")),
        "video": job.has_video(time).then(|| job.video_url("")),
    })
}
