//! Decides where webhooks may go, in which order, and how often they are tried.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::http::header;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::addresses;
use crate::app::App;
use crate::engine::WEBHOOK_LOG_LIMIT;
use crate::job::rfc3339;

// assumed: a webhook is JSON, is tried five times, and has 10 seconds for an answer; the documentation says nothing of it.
/// Milliseconds of the sandbox's clock before each try after the first; `--speed` divides them.
const PAUSES: [u64; 4] = [1_000, 2_000, 4_000, 8_000];
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a webhook after those of the same job that came before it.
// assumed: one job's webhooks are sent one after another; nothing is said about their order.
pub fn send(app: &Arc<App>, url: String, body: &Value, job: Uuid, number: u64) {
    let bytes = Bytes::from(body.to_string());
    let mut delivering = app.delivering.lock().unwrap_or_else(PoisonError::into_inner);
    delivering.retain(|_, task| !task.is_finished());
    let before = delivering.remove(&job);
    let app = Arc::clone(app);
    let generation = app.generation();
    let task = tokio::spawn(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        app.committed().await;
        let mut pauses = PAUSES.into_iter();
        while app.generation() == generation {
            let outcome = match tokio::time::timeout(TIMEOUT, deliver(&app, &url, bytes.clone())).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::Passing("no answer within 10 seconds".to_owned())),
            };
            let (ended, answer) = match outcome {
                Ok(code) => ((200..300).contains(&code), json!(code)),
                Err(Failure::Passing(words)) => (false, json!(words)),
                Err(Failure::Lasting(words)) => (true, json!(format!("not sent: {words}"))),
            };
            let now = app.engine().time(app.now());
            if app.generation() == generation {
                note(&app, number, json!({"at": rfc3339(now, 0), "answer": answer}));
            }
            let Some(pause) = pauses.next().filter(|_| !ended) else { break };
            if !app.wait_until(now + (pause as f64 / app.speed) as u64, generation).await {
                break;
            }
        }
    });
    delivering.insert(job, task);
}

fn note(app: &App, number: u64, attempt: Value) {
    let mut deliveries = app.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
    deliveries.entry(number).or_default().push(attempt);
    while deliveries.len() > WEBHOOK_LOG_LIMIT {
        deliveries.pop_first();
    }
    drop(deliveries);
    app.change();
}

enum Failure {
    /// Another try may do better.
    Passing(String),
    /// No try will.
    Lasting(String),
}

/// Posts to a loopback address, or to a host of `--allow-webhooks-to`: a sandbox must not reach a real receiver unasked.
async fn deliver(app: &App, url: &str, body: Bytes) -> Result<u16, Failure> {
    let lasting = |words: &str| Failure::Lasting(words.to_owned());
    let passing = |error: &dyn std::fmt::Display| Failure::Passing(error.to_string());
    let url = url::Url::parse(url).map_err(|_| lasting("this is not a URL"))?;
    let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let allowed = app.allow_webhooks_to.iter().any(|host| host == "*" || host.eq_ignore_ascii_case(&name));
    let addresses = match addresses::loopback(&url) {
        Some(addresses) => addresses,
        None if allowed => {
            let port = url.port_or_known_default().unwrap_or(80);
            let found = tokio::net::lookup_host((name.as_str(), port)).await.map_err(|error| passing(&error))?;
            found.map(|address| address.ip()).collect()
        }
        None => {
            let words = "the sandbox sends webhooks to loopback addresses only; start it with --allow-webhooks-to";
            return Err(Failure::Lasting(format!("{words} {name}")));
        }
    };
    if url.scheme() != "http" {
        return Err(lasting("the sandbox sends webhooks by http only"));
    }
    let request = hyper::Request::post("/").header(header::CONTENT_TYPE, "application/json");
    let response = addresses::send(&url, &addresses, request, body).await.map_err(Failure::Passing)?;
    Ok(response.status().as_u16())
}
