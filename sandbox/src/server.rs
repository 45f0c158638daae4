//! Decides who may connect and which address leads where: sockets, routes and CORS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::app::{App, header, keep_time};
use crate::connection::{Connection, connect};
use crate::exchange::{answer, plain, request};
use crate::{control, message, pages, relay, statics};

/// Binds to `port` of the loopback interface (0 picks one).
pub async fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, app: Arc<App>) -> std::io::Result<()> {
    tokio::spawn(keep_time(Arc::clone(&app)));
    let router = router(Arc::clone(&app));
    let mut connections = 0;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, or a client that was gone at once: the next may do better.
                eprintln!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        connections += 1;
        tokio::spawn(connect(stream, Connection::new(connections), router.clone()));
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .merge(control::router(&app))
        .route("/preview/{token}", get(pages::preview))
        .route("/preview/template/{id}", get(pages::template_preview))
        .route("/editor/{token}", get(pages::editor))
        .route("/samples/{name}", get(pages::sample))
        .route("/media/{file}", get(video))
        .fallback(fallback)
        .with_state(app)
}

async fn fallback(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Connection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let path = uri.path();
    let target = uri.path_and_query().map_or(path, |target| target.as_str());
    if path == "/api" || path.starts_with("/api/") {
        let origin = header(&headers, header::ORIGIN).map(str::to_owned);
        if let Some(answer) = preflight(&app, &method, &headers) {
            return answer;
        }
        let request = request(&app, &connection, &method, target, &headers, body).await;
        let mut response = answer(&app, &connection, request).await;
        allow(&app, origin.as_deref(), response.headers_mut());
        return response;
    }
    if let Some(inner) = target.strip_prefix("/relay/").filter(|_| !app.www.is_empty()) {
        let inner = format!("/{inner}");
        return relay::forward(&app, &connection, &method, &inner, &headers, body).await;
    }
    if !app.www.is_empty() {
        return statics::serve(&app.www, &method, path).await;
    }
    if path == "/" {
        return (StatusCode::FOUND, [(header::LOCATION, "/__sandbox/")]).into_response();
    }
    plain(message::not_found())
}

// assumed: nothing is documented about CORS; without `--cors` no header is sent, so that a page that works here
// by accident does not fail at the provider.
fn allowed(app: &App, origin: Option<&str>) -> Option<HeaderValue> {
    let origin = origin?;
    let listed = app.cors.iter().any(|allowed| allowed == "*" || allowed == origin);
    listed.then(|| HeaderValue::from_str(origin).ok()).flatten()
}

fn allow(app: &App, origin: Option<&str>, headers: &mut HeaderMap) {
    if !app.cors.is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed(app, origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After, Idempotent-Replayed"));
    }
}

fn preflight(app: &App, method: &Method, headers: &HeaderMap) -> Option<Response> {
    if method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) || app.cors.is_empty() {
        return None;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let origin = header(headers, header::ORIGIN);
    allow(app, origin, response.headers_mut());
    if allowed(app, origin).is_some() {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("X-API-ID, X-API-KEY, Content-Type, Idempotency-Key"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    Some(response)
}

async fn video(State(app): State<Arc<App>>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let token = file.strip_suffix(".mp4").and_then(|token| Uuid::try_parse(token).ok());
    let found = token.and_then(|token| {
        let (showing, ready) = app.engine().video(app.now(), token)?;
        ready.then_some((token, showing))
    });
    let Some((token, showing)) = found else {
        return plain(message::not_found());
    };
    match app.videos.get(token, app.board(showing)).await {
        Ok(bytes) => {
            let mut response = statics::ranged(&bytes, "video/mp4", &headers);
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
            response
        }
        Err(error) => {
            eprintln!("the video {token} was not made: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "The video could not be made.").into_response()
        }
    }
}
