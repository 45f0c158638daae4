//! Delivery of webhooks: allowed receivers, order and retries.

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

// assumed: a webhook is JSON. It is tried up to five times, each with a timeout of 10 seconds.
/// The pause before each retry, in milliseconds of the sandbox's clock; `--speed` divides it.
const PAUSES: [u64; 4] = [1_000, 2_000, 4_000, 8_000];
/// The time limit of one try.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Starts to deliver a webhook, after the earlier webhooks of the same job.
// assumed: the webhooks of a job are delivered in order, one after another.
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
                Err(_) => Err(Failure::Temporary("no answer within 10 seconds".to_owned())),
            };
            let (ended, answer) = match outcome {
                Ok(code) => ((200..300).contains(&code), json!(code)),
                Err(Failure::Temporary(reason)) => (false, json!(reason)),
                Err(Failure::Permanent(reason)) => (true, json!(format!("not sent: {reason}"))),
            };
            let now = app.engine().time(app.now());
            if app.generation() == generation {
                log_attempt(&app, number, json!({"at": rfc3339(now, 0), "answer": answer}));
            }
            let Some(pause) = pauses.next().filter(|_| !ended) else { break };
            if !app.wait_until(now + (pause as f64 / app.speed) as u64, generation).await {
                break;
            }
        }
    });
    delivering.insert(job, task);
}

fn log_attempt(app: &App, number: u64, attempt: Value) {
    let mut deliveries = app.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
    deliveries.entry(number).or_default().push(attempt);
    while deliveries.len() > WEBHOOK_LOG_LIMIT {
        deliveries.pop_first();
    }
    drop(deliveries);
    app.change();
}

enum Failure {
    /// A retry may succeed.
    Temporary(String),
    /// A retry cannot succeed.
    Permanent(String),
}

/// Sends one request to a loopback address or a host of `--allow-webhooks-to`. Other hosts are refused, so that a test
/// cannot reach a real receiver by accident.
async fn deliver(app: &App, url: &str, body: Bytes) -> Result<u16, Failure> {
    let permanent = |reason: &str| Failure::Permanent(reason.to_owned());
    let temporary = |error: &dyn std::fmt::Display| Failure::Temporary(error.to_string());
    let url = url::Url::parse(url).map_err(|_| permanent("this is not a URL"))?;
    let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let allowed = app.allow_webhooks_to.iter().any(|host| host == "*" || host.eq_ignore_ascii_case(&name));
    let addresses = match addresses::loopback(&url) {
        Some(addresses) => addresses,
        None if allowed => {
            let port = url.port_or_known_default().unwrap_or(80);
            let found = tokio::net::lookup_host((name.as_str(), port)).await.map_err(|error| temporary(&error))?;
            found.map(|address| address.ip()).collect()
        }
        None => {
            let reason = "the sandbox sends webhooks only to loopback addresses; start it with --allow-webhooks-to";
            return Err(Failure::Permanent(format!("{reason} {name}")));
        }
    };
    if url.scheme() != "http" {
        return Err(permanent("the sandbox sends webhooks by http only"));
    }
    let request = hyper::Request::post("/").header(header::CONTENT_TYPE, "application/json");
    let response = addresses::send(&url, &addresses, request, body).await.map_err(Failure::Temporary)?;
    Ok(response.status().as_u16())
}
