//! HTTP connections that the sandbox can close, reset or cut in the middle of a body.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// A handle to the connection of a request, which can close it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The number of the connection.
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
    /// A handle for connection number `id`.
    pub fn new(id: u64) -> Self {
        Self { id, end: Arc::default() }
    }

    /// Closes the connection, with a TCP reset if `reset` is set.
    pub fn kill(&self, reset: bool) {
        self.end.how.store(u8::from(reset), Ordering::SeqCst);
        self.end.now.notify_one();
    }
}

/// Serves one connection until it ends or is killed.
pub async fn connect(stream: TcpStream, connection: Connection, router: Router) {
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

/// A stream that can end with a TCP reset.
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

/// The start of a body. After it the connection stays silent or ends.
#[derive(Debug)]
pub struct CutBody {
    /// The `Content-Length` of the answer.
    pub total: u64,
    /// The bytes that are sent.
    pub start: Option<Bytes>,
    /// The pause before the connection ends, the connection, and whether it is reset; `None` to stay silent.
    pub end: Option<(Pin<Box<tokio::time::Sleep>>, Connection, bool)>,
}

impl hyper::body::Body for CutBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(start) = self.start.take().filter(|start| !start.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        // The pause lets the bytes reach the socket before the connection ends.
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

/// A body that is sent piece by piece.
#[derive(Debug)]
pub struct DripBody {
    rest: Bytes,
    piece: usize,
    every: Duration,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl DripBody {
    /// Sends the first piece after one pause, so that the head arrives alone.
    pub fn new(whole: Bytes, piece: usize, every: Duration) -> Self {
        Self { rest: whole, piece, every, pause: Box::pin(tokio::time::sleep(every)) }
    }
}

impl hyper::body::Body for DripBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if self.pause.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let next = tokio::time::Instant::now() + self.every;
        self.pause.as_mut().reset(next);
        let piece = self.piece.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
