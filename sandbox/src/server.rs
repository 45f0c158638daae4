//! The HTTP server: routes, the check of `Host`, and CORS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tokio::net::TcpListener;
use tower_http::cors::{AllowOrigin, CorsLayer};
use uuid::Uuid;

use crate::app::{App, run_timer};
use crate::connection::{Connection, connect};
use crate::exchange::{answer, plain, refuse, request};
use crate::{control, message, pages, relay, statics};

/// Binds to `port` of the loopback interface (0 picks one).
pub async fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, app: Arc<App>) -> std::io::Result<()> {
    tokio::spawn(run_timer(Arc::clone(&app)));
    let router = router(Arc::clone(&app));
    let mut connections = 0;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, or a client that disconnected at once: try the next one.
                eprintln!("sandbox: a connection was not accepted: {error}");
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
        .merge(api(&app))
        .route("/preview/{token}", get(pages::preview))
        .route("/preview/template/{id}", get(pages::template_preview))
        .route("/editor/{token}", get(pages::editor))
        .route("/samples/{name}", get(pages::sample))
        .route("/media/{file}", get(video))
        .fallback(fallback)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), require_allowed_host))
        .with_state(app)
}

/// Refuses other host names. A web page could rebind its own name to this machine, make jobs, and send webhooks to any
/// loopback port. Browsers always send `Host`, so a request without it comes from another program.
async fn require_allowed_host(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match request.headers().get(header::HOST) {
        Some(host) if !host.to_str().is_ok_and(|host| app.allows_host(host)) => refuse(
            StatusCode::FORBIDDEN,
            "The sandbox answers only requests to localhost and loopback addresses. Start it with --allow-host NAME to allow \
             another host name.",
        ),
        _ => next.run(request).await,
    }
}

/// The provider's calls.
fn api(app: &App) -> Router<Arc<App>> {
    let api = Router::new().route("/api", any(call)).route("/api/", any(call)).route("/api/{*path}", any(call));
    // assumed: the provider sends no CORS headers, since none are documented. The sandbox sends them only with `--cors`.
    if app.cors.is_empty() { api } else { api.layer(cors(app)).layer(middleware::from_fn(preflight_without_content)) }
}

fn cors(app: &App) -> CorsLayer {
    let listed = app.cors.clone();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| listed.iter().any(|listed| listed == "*" || origin == listed)))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(["x-api-id", "x-api-key", "content-type", "idempotency-key"].map(HeaderName::from_static))
        .expose_headers([header::RETRY_AFTER, HeaderName::from_static("idempotent-replayed")])
        .max_age(Duration::from_mins(10))
}

/// `CorsLayer` answers a preflight with 200 and an empty body.
async fn preflight_without_content(request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if preflight && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

async fn call(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Connection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = request(&app, &connection, &method, target(&uri), &headers, body).await;
    answer(&app, &connection, request).await
}

/// The path with its query.
fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or(uri.path(), PathAndQuery::as_str)
}

async fn fallback(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Connection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if app.www.is_empty() {
        return match uri.path() {
            "/" => (StatusCode::FOUND, [(header::LOCATION, "/__sandbox/")]).into_response(),
            _ => plain(message::not_found()),
        };
    }
    match target(&uri).strip_prefix("/relay/") {
        Some(inner) => relay::forward(&app, &connection, &method, &format!("/{inner}"), &headers, body).await,
        None => statics::serve(&app.www, &method, target(&uri), &headers).await,
    }
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
            eprintln!("sandbox: the video {token} could not be rendered: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "The video could not be rendered.").into_response()
        }
    }
}
