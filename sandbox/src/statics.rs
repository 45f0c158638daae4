//! Static files of `--www`, and byte ranges.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tower::ServiceExt as _;
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, TokioBackend};

use crate::exchange::plain;
use crate::message;

/// Serves a file from the first directory that has it. The page of a directory is its `index.html`.
pub async fn serve(directories: &[PathBuf], method: &Method, target: &str, headers: &HeaderMap) -> Response {
    // `ServeDir` would redirect to `//name/` or `/\name/`, which browsers read as another host.
    let path = target.split('?').next().unwrap_or_default();
    if path.contains("//") || path.contains('\\') {
        return plain(message::not_found());
    }
    for directory in directories {
        let Ok(root) = tokio::fs::canonicalize(directory).await else { continue };
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.clone();
        *request.headers_mut() = headers.clone();
        let Ok(uri) = target.parse() else { break };
        *request.uri_mut() = uri;
        let Ok(response) = ServeDir::with_backend(&root, Inside(root.clone())).oneshot(request).await;
        if response.status() != StatusCode::NOT_FOUND {
            return with_headers(response.into_response());
        }
    }
    plain(message::not_found())
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // `ServeDir` adds no charset, and gives modules an obsolete type.
    let mime = headers.get(header::CONTENT_TYPE).and_then(|mime| mime.to_str().ok()).map(|mime| match mime {
        "application/javascript" => "text/javascript".to_owned(),
        mime => mime.to_owned(),
    });
    if let Some(mime) = mime.filter(|mime| mime.starts_with("text/"))
        && let Ok(mime) = HeaderValue::try_from(mime + "; charset=utf-8")
    {
        headers.insert(header::CONTENT_TYPE, mime);
    }
    response
}

/// A file backend for one directory. It refuses hidden files, and links to files outside the directory.
#[derive(Debug, Clone)]
struct Inside(PathBuf);

type Answer<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Inside {
    /// Resolves all links in a path.
    async fn resolve(self, path: PathBuf) -> io::Result<PathBuf> {
        let file = tokio::fs::canonicalize(path).await?;
        let inside = file.strip_prefix(&self.0).map_err(|_| io::ErrorKind::NotFound)?;
        let hidden = |part: &Path| part.to_string_lossy().starts_with('.');
        if inside.iter().any(|part| hidden(part.as_ref())) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(file)
    }
}

impl Backend for Inside {
    type File = <TokioBackend as Backend>::File;
    type Metadata = <TokioBackend as Backend>::Metadata;
    type OpenFuture = Answer<Self::File>;
    type MetadataFuture = Answer<Self::Metadata>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let inside = self.clone();
        Box::pin(async move { TokioBackend.open(inside.resolve(path).await?).await })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let inside = self.clone();
        Box::pin(async move { TokioBackend.metadata(inside.resolve(path).await?).await })
    }
}

/// The whole of `content`, or the requested range.
pub fn ranged(content: &Bytes, mime: &'static str, headers: &HeaderMap) -> Response {
    let total = content.len();
    let tag = format!("\"{:016x}\"", crate::random::fingerprint(content));
    let requested = crate::app::header(headers, header::RANGE);
    // `If-Range` with another version asks for the whole.
    let same = crate::app::header(headers, header::IF_RANGE).is_none_or(|version| version == tag);
    let mut response = match requested.filter(|_| same).map_or(ByteRange::Whole, |requested| range(requested, total)) {
        ByteRange::Whole => Response::new(Body::from(content.clone())),
        ByteRange::Nothing => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{total}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return response;
        }
        ByteRange::Part(first, last) => {
            let mut response = Response::new(Body::from(content.slice(first..=last)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            if let Ok(value) = HeaderValue::try_from(format!("bytes {first}-{last}/{total}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// A parsed `Range` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteRange {
    /// Everything; also for a header that is not supported.
    Whole,
    /// From the first to the last of these bytes.
    Part(usize, usize),
    /// Bytes that do not exist.
    Nothing,
}

/// Parses a single byte range.
fn range(requested: &str, total: usize) -> ByteRange {
    let Some((first, last)) = requested.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return ByteRange::Whole;
    };
    let number = |digits: &str| digits.trim().parse::<usize>().ok();
    let end = total.saturating_sub(1);
    let (first, last) = match (first.trim(), last.trim()) {
        ("", count) => match number(count) {
            Some(0) => (total, end),
            Some(count) => (total.saturating_sub(count), end),
            None => return ByteRange::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => (first, end),
            None => return ByteRange::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.min(end)),
            _ => return ByteRange::Whole,
        },
    };
    if first < total { ByteRange::Part(first, last) } else { ByteRange::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_headers_are_parsed_as_http_defines_them() {
        for (requested, wanted) in [
            ("bytes=0-9", ByteRange::Part(0, 9)),
            ("bytes=90-", ByteRange::Part(90, 99)),
            ("bytes=-10", ByteRange::Part(90, 99)),
            ("bytes=-500", ByteRange::Part(0, 99)),
            ("bytes=50-500", ByteRange::Part(50, 99)),
            ("bytes=100-", ByteRange::Nothing),
            ("bytes=-0", ByteRange::Nothing),
            ("bytes=9-0", ByteRange::Whole),
            ("bytes=0-1,5-6", ByteRange::Whole),
            ("items=0-1", ByteRange::Whole),
        ] {
            assert_eq!(range(requested, 100), wanted, "{requested}");
        }
    }
}
