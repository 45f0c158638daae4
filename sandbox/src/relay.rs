//! The relay for pages served with `--www`: forwards the provider's seven calls and adds the keys, and reports on operations.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::connection::Connection;
use crate::exchange::{answer, refuse, request};
use crate::route::{Route, route};

/// Forwards `/relay/api/...`; `target` is the path without `/relay`. Keys that the page sends are ignored.
pub async fn forward(
    app: &Arc<App>,
    connection: &Connection,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    if !app.is_own_page(headers) {
        return refuse(StatusCode::FORBIDDEN, "The relay answers only pages of its own origin.");
    }
    let path = target.split('?').next().unwrap_or_default();
    if path == "/operations" && method == Method::GET {
        // It keeps no keys, so it cannot say that a charge never came: a client then sends nothing again.
        return axum::Json(serde_json::json!({ "state": "unknown" })).into_response();
    }
    let Route::Call(call, _) = route(path) else {
        return refuse(StatusCode::NOT_FOUND, "The relay forwards only the calls of custom template jobs.");
    };
    if method.as_str() != call.method() && method != Method::HEAD {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, &format!("Method \"{method}\" not allowed."));
    }
    let request = request(app, connection, method, target, headers, body).await.map(|mut request| {
        request.relayed = true;
        request.api_id = None;
        request.api_key = None;
        request
    });
    answer(app, connection, request).await
}
