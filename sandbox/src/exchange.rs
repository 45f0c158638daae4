//! Conversion between HTTP and the engine's requests and replies.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::app::{App, header};
use crate::connection::{Connection, CutBody, DripBody};
use crate::engine::{Command, Reply, Request, Wire};
use crate::message;

/// The number of body bytes that are read before the connection is given up, so that a client with a large body still
/// receives its 413.
const DRAIN_LIMIT: usize = 256 * 1024 * 1024;

/// Reads a request for the engine.
pub async fn request(
    app: &App,
    connection: &Connection,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Request, StatusCode> {
    let text = |name: HeaderName| header(headers, name).map(str::to_owned);
    let body = read(body).await?;
    Ok(Request {
        method: method.as_str().to_owned(),
        path: target.to_owned(),
        content_type: text(header::CONTENT_TYPE),
        api_id: text(HeaderName::from_static("x-api-id")),
        api_key: text(HeaderName::from_static("x-api-key")).map(Into::into),
        idempotency_key: text(HeaderName::from_static("idempotency-key")),
        body,
        origin: app.origin(headers),
        connection: connection.id,
        relayed: false,
    })
}

/// Reads a body. Keeps one byte more than the engine accepts and discards the rest.
pub async fn read(mut body: Body) -> Result<Vec<u8>, StatusCode> {
    let mut kept = Vec::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Some(data) = frame.data_ref() else { continue };
        total += data.len();
        if total > DRAIN_LIMIT {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let room = (message::BODY_LIMIT + 1).saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(data.get(..room).unwrap_or_default());
    }
    Ok(kept)
}

// assumed: a call takes effect and is charged even if the client disconnects before the answer.
/// Passes the request to the engine, waits until the reply is ready, and sends it as its `wire` says.
pub async fn answer(app: &Arc<App>, connection: &Connection, request: Result<Request, StatusCode>) -> Response {
    let request = match request {
        Ok(request) => request,
        Err(StatusCode::PAYLOAD_TOO_LARGE) => return plain(message::too_large()),
        Err(status) => return status.into_response(),
    };
    let generation = app.generation();
    let reply = app.handle(Command::Request(request));
    app.committed().await;
    if !app.wait_until(reply.ready_at, generation).await {
        connection.kill(false);
        return std::future::pending().await;
    }
    deliver(connection, reply).await
}

async fn deliver(connection: &Connection, reply: Reply) -> Response {
    let cut = |bytes: usize, end| {
        let whole = Bytes::from(reply.body.clone());
        CutBody { total: whole.len() as u64, start: Some(whole.slice(..bytes.min(whole.len()))), end }
    };
    let body = match reply.wire {
        Wire::Deliver => return plain(reply),
        Wire::Drop { reset } => {
            connection.kill(reset);
            return std::future::pending().await;
        }
        Wire::Stall { bytes } => Body::new(cut(bytes, None)),
        Wire::Drip { bytes, ms } => {
            Body::new(DripBody::new(Bytes::from(reply.body.clone()), bytes, Duration::from_millis(ms)))
        }
        Wire::Truncate { bytes, reset } => {
            let pause = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
            Body::new(cut(bytes, Some((pause, connection.clone(), reset))))
        }
    };
    let mut response = plain(Reply { body: Vec::new(), ..reply });
    *response.body_mut() = body;
    response
}

/// An error of the sandbox itself: one sentence.
pub fn refuse(status: StatusCode, detail: &str) -> Response {
    (status, axum::Json(json!({ "detail": detail }))).into_response()
}

/// A reply of the engine, sent unchanged.
pub fn plain(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
