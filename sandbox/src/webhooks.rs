//! Decides where webhooks go, in which order, and how often they are tried.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::app::App;

// assumed: content type, retries and timeout; the documentation names none of them.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(3)];
const TIMEOUT: Duration = Duration::from_secs(10);
const LOG_LIMIT: usize = 500;

/// Sends a webhook after those of the same job that came before it.
pub fn send(app: &Arc<App>, url: String, body: &Value, job: Uuid) {
    let bytes = Bytes::from(body.to_string());
    let status = body["status"].as_str().unwrap_or_default().to_owned();
    let mut delivering = app.delivering.lock().unwrap_or_else(PoisonError::into_inner);
    delivering.retain(|_, task| !task.is_finished());
    let before = delivering.remove(&job);
    let app = Arc::clone(app);
    let task = tokio::spawn(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        for (number, pause) in TRIES.into_iter().enumerate() {
            tokio::time::sleep(pause).await;
            let outcome = match tokio::time::timeout(TIMEOUT, deliver(&url, bytes.clone())).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::Passing("no answer within 10 seconds".to_owned())),
            };
            let (end, answer) = match outcome {
                Ok(code) => ((200..300).contains(&code), json!(code)),
                Err(Failure::Passing(words)) => (false, json!(words)),
                Err(Failure::Lasting(words)) => (true, json!(words)),
            };
            let entry = json!({
                "job_id": job.to_string(),
                "url": url,
                "status": status,
                "try": number + 1,
                "answer": answer,
            });
            let mut log = app.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() == LOG_LIMIT {
                log.pop_front();
            }
            log.push_back(entry);
            drop(log);
            if end {
                break;
            }
        }
    });
    delivering.insert(job, task);
}

enum Failure {
    /// Another try may do better.
    Passing(String),
    /// No try will.
    Lasting(String),
}

/// Posts to a loopback address: a sandbox must not reach anybody's real receiver.
async fn deliver(url: &str, body: Bytes) -> Result<u16, Failure> {
    let lasting = |words: &str| Failure::Lasting(words.to_owned());
    let passing = |error: &dyn std::fmt::Display| Failure::Passing(error.to_string());
    let url = url::Url::parse(url).map_err(|_| lasting("not a URL"))?;
    let host: IpAddr = match url.host() {
        Some(url::Host::Domain("localhost")) => Ipv4Addr::LOCALHOST.into(),
        Some(url::Host::Ipv4(address)) if address.is_loopback() => address.into(),
        Some(url::Host::Ipv6(address)) if address.is_loopback() => address.into(),
        _ => return Err(lasting("not sent: only loopback addresses are")),
    };
    if url.scheme() != "http" {
        return Err(lasting("not sent: only http is"));
    }
    let stream =
        TcpStream::connect((host, url.port_or_known_default().unwrap_or(80))).await.map_err(|error| passing(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| passing(&error))?;
    tokio::spawn(connection);
    let mut target = url.path().to_owned();
    if let Some(query) = url.query() {
        target = format!("{target}?{query}");
    }
    let authority = HeaderValue::try_from(url.authority()).map_err(|error| passing(&error))?;
    let request = hyper::Request::post(target)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| passing(&error))?;
    let response = sender.send_request(request).await.map_err(|error| passing(&error))?;
    Ok(response.status().as_u16())
}
