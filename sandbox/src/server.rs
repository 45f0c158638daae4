//! Decides how answers meet sockets: routes, real time, blocking, CORS and faults of the connection.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::engine::{Command, Config, Effect, Engine, Reply, Request, Wire};
use crate::video::Videos;
use crate::{control, message, pages, relay, statics, webhooks};

/// Bytes of a request that are read and thrown away, so that a client with a body too large still hears so.
const DRAIN_LIMIT: usize = 256 * 1024 * 1024;

/// What the server is started with, beside the engine's own settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The engine's settings.
    pub engine: Config,
    /// Origins whose pages may call the API; `*` for all.
    pub cors: Vec<String>,
    /// Directories of pages; the first that has a file serves it.
    pub www: Vec<PathBuf>,
}

/// A running sandbox.
#[derive(Debug)]
pub struct App {
    engine: Mutex<Engine>,
    port: u16,
    started: (u64, Instant),
    /// Counts jumps of the clock; answers that wait look again.
    jumps: watch::Sender<u64>,
    /// Counts resets; answers that wait are void.
    resets: AtomicU64,
    /// Something may be due earlier than before.
    hurry: Notify,
    /// Origins whose pages may call the API.
    pub cors: Vec<String>,
    /// Directories of pages.
    pub www: Vec<PathBuf>,
    /// Rendered videos.
    pub videos: Videos,
    /// Webhooks that were sent or tried.
    pub deliveries: Mutex<VecDeque<serde_json::Value>>,
    /// The last delivery of each job, so that one job's webhooks stay in order.
    pub(crate) delivering: Mutex<HashMap<Uuid, tokio::task::JoinHandle<()>>>,
}

impl App {
    fn new(options: Options, port: u16) -> Arc<Self> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arc::new(Self {
            engine: Mutex::new(Engine::new(options.engine)),
            port,
            started: (wall.as_millis() as u64, Instant::now()),
            jumps: watch::Sender::new(0),
            resets: AtomicU64::new(0),
            hurry: Notify::new(),
            cors: options.cors,
            www: options.www,
            videos: Videos::default(),
            deliveries: Mutex::default(),
            delivering: Mutex::default(),
        })
    }

    /// The server's clock, in milliseconds since the epoch; it never goes back.
    pub fn now(&self) -> u64 {
        self.started.0 + self.started.1.elapsed().as_millis() as u64
    }

    /// The engine, locked. No lock is held across an await.
    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the engine a command and does what it asks for.
    pub fn handle(self: &Arc<Self>, command: Command) -> Reply {
        let (jump, reset) = match command {
            Command::Advance { .. } => (true, false),
            Command::Reset { .. } => (true, true),
            _ => (false, false),
        };
        let (reply, effects) = self.engine().handle(self.now(), command);
        if reset {
            self.resets.fetch_add(1, Ordering::SeqCst);
            self.videos.clear();
        }
        if jump {
            self.jumps.send_modify(|jumps| *jumps += 1);
        }
        for effect in effects {
            match effect {
                Effect::Webhook { url, body, job, .. } => webhooks::send(self, url, &body, job),
                Effect::PrepareVideo { token } => {
                    let showing = self.engine().video(self.now(), token).map(|(showing, _)| showing);
                    if let Some(showing) = showing {
                        self.videos.prepare(token, showing);
                    }
                }
            }
        }
        self.hurry.notify_one();
        reply
    }

    /// The hosts by which this server is known.
    pub fn is_own_host(&self, host: &str) -> bool {
        host.rsplit_once(':')
            .is_some_and(|(name, port)| matches!(name, "127.0.0.1" | "localhost" | "[::1]") && port.parse() == Ok(self.port))
    }

    /// The address that URLs in an answer begin with: the name by which the client knows this server.
    pub fn origin(&self, headers: &HeaderMap) -> String {
        match header(headers, header::HOST) {
            Some(host) if self.is_own_host(host) => format!("http://{host}"),
            _ => format!("http://127.0.0.1:{}", self.port),
        }
    }

    /// Whether a page of this server, or no page at all, makes the request.
    pub fn is_own_page(&self, headers: &HeaderMap) -> bool {
        let own_host = header(headers, header::HOST).is_some_and(|host| self.is_own_host(host));
        let own_origin = match headers.get(header::ORIGIN) {
            None => true,
            Some(origin) => origin.to_str().is_ok_and(|origin| {
                origin.strip_prefix("http://").is_some_and(|host| Some(host) == header(headers, header::HOST))
            }),
        };
        let own_site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
        own_host && own_origin && own_site
    }
}

/// The value of a header, where it is text.
pub fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Binds to `port` of the loopback interface (0 picks one).
pub async fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, options: Options) -> std::io::Result<()> {
    let app = App::new(options, listener.local_addr()?.port());
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

/// Lets effects come out when they are due.
async fn keep_time(app: Arc<App>) {
    loop {
        let wait = {
            let engine = app.engine();
            let now = engine.time(app.now());
            engine.next_due().map(|due| Duration::from_millis(due.saturating_sub(now)))
        };
        match wait {
            None => app.hurry.notified().await,
            Some(wait) => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {
                        app.handle(Command::Tick);
                    }
                    () = app.hurry.notified() => {}
                }
            }
        }
    }
}

/// The connection that a request came on, and the means to end it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its number.
    pub id: u64,
    end: Arc<End>,
}

#[derive(Debug, Default)]
struct End {
    how: AtomicU8,
    now: Notify,
}

impl End {
    const RESET: u8 = 1;
}

impl Connection {
    fn new(id: u64) -> Self {
        Self { id, end: Arc::default() }
    }

    fn kill(&self, reset: bool) {
        self.end.how.store(u8::from(reset), Ordering::SeqCst);
        self.end.now.notify_one();
    }
}

async fn connect(stream: TcpStream, connection: Connection, router: Router) {
    let _ = stream.set_nodelay(true);
    let end = Arc::clone(&connection.end);
    let io = TokioIo::new(Socket { stream, end: Arc::clone(&end) });
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let serving = hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service);
    tokio::select! {
        _ = serving => {}
        () = end.now.notified() => {}
    }
}

/// A stream that can be made to end with a TCP reset.
struct Socket {
    stream: TcpStream,
    end: Arc<End>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.end.how.load(Ordering::SeqCst) == End::RESET {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The start of a body, after which nothing comes, or the connection ends.
struct CutBody {
    total: u64,
    start: Option<Bytes>,
    end: Option<(Pin<Box<tokio::time::Sleep>>, Connection, bool)>,
}

impl hyper::body::Body for CutBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(start) = self.start.take().filter(|start| !start.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        // The pause lets what was sent reach the socket before the connection goes.
        if let Some((pause, connection, reset)) = &mut self.end
            && pause.as_mut().poll(cx).is_ready()
        {
            connection.kill(*reset);
        }
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.total)
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

/// A body up to one byte more than the engine takes; the rest is read and thrown away.
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

/// Asks the engine, waits until the answer is ready, and sends what the wire lets through.
pub async fn answer(app: &Arc<App>, connection: &Connection, request: Result<Request, StatusCode>) -> Response {
    let request = match request {
        Ok(request) => request,
        Err(StatusCode::PAYLOAD_TOO_LARGE) => return plain(message::too_large()),
        Err(status) => return status.into_response(),
    };
    let resets = app.resets.load(Ordering::SeqCst);
    let mut jumps = app.jumps.subscribe();
    let reply = app.handle(Command::Request(request));
    loop {
        if app.resets.load(Ordering::SeqCst) != resets {
            connection.kill(false);
            return std::future::pending().await;
        }
        let now = app.engine().time(app.now());
        if now >= reply.ready_at {
            break;
        }
        // A wait for ever is cut into long naps.
        let nap = Duration::from_millis((reply.ready_at - now).min(3_600_000));
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            _ = jumps.changed() => {}
        }
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
        Wire::Stall { bytes } => cut(bytes, None),
        Wire::Truncate { bytes, reset } => {
            let pause = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
            cut(bytes, Some((pause, connection.clone(), reset)))
        }
    };
    let mut response = plain(Reply { body: Vec::new(), ..reply });
    *response.body_mut() = Body::new(body);
    response
}

/// An engine's answer as it is.
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
    match app.videos.get(token, showing).await {
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
