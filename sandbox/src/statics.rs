//! Decides which file a path means, what type it has, and which bytes of it are sent.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

use crate::exchange::plain;
use crate::message;

/// Serves a file of the first directory that has it; a directory's own page is `index.html`.
pub async fn serve(directories: &[PathBuf], method: &Method, path: &str) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let Some(relative) = relative(path) else {
        return plain(message::not_found());
    };
    for directory in directories {
        let Ok(root) = tokio::fs::canonicalize(directory).await else { continue };
        let Ok(mut file) = tokio::fs::canonicalize(root.join(&relative)).await else { continue };
        if file.is_dir() {
            if !path.ends_with('/') {
                let location = HeaderValue::try_from(format!("{path}/"));
                if let Ok(location) = location {
                    return (StatusCode::FOUND, [(header::LOCATION, location)]).into_response();
                }
            }
            file.push("index.html");
        }
        // A link that leads out of the directory is not followed.
        if !file.starts_with(&root) {
            continue;
        }
        if let Ok(content) = tokio::fs::read(&file).await {
            let headers = [
                (header::CONTENT_TYPE, mime(&file)),
                (header::CACHE_CONTROL, "no-cache"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            return (headers, content).into_response();
        }
    }
    plain(message::not_found())
}

/// The path as a relative one, decoded; none where it tries to leave its directory or names a hidden file.
fn relative(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let part = decode(part)?;
        if part.starts_with('.') || part.contains(['/', '\\', '\0', ':']) {
            return None;
        }
        relative.push(part);
    }
    Some(relative)
}

fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn mime(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "mp4" => "video/mp4",
        "txt" | "md" | "ts" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

/// The whole of `content`, or the range that is asked for.
pub fn ranged(content: &Bytes, mime: &'static str, headers: &HeaderMap) -> Response {
    let total = content.len();
    let tag = format!("\"{:016x}\"", crate::random::fingerprint(content));
    let asked = crate::app::header(headers, header::RANGE);
    // A range that was asked for on condition of another version is not answered in part.
    let same = crate::app::header(headers, header::IF_RANGE).is_none_or(|version| version == tag);
    let mut response = match asked.filter(|_| same).map_or(Asked::Whole, |asked| range(asked, total)) {
        Asked::Whole => Response::new(Body::from(content.clone())),
        Asked::Nothing => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{total}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return response;
        }
        Asked::Part(first, last) => {
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

/// What a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Everything, or something that is answered with everything.
    Whole,
    /// From the first to the last byte named.
    Part(usize, usize),
    /// Bytes that do not exist.
    Nothing,
}

/// Reads a single byte range.
fn range(asked: &str, total: usize) -> Asked {
    let Some((first, last)) = asked.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Asked::Whole;
    };
    let number = |digits: &str| digits.trim().parse::<usize>().ok();
    let end = total.saturating_sub(1);
    let (first, last) = match (first.trim(), last.trim()) {
        ("", count) => match number(count) {
            Some(0) => (total, end),
            Some(count) => (total.saturating_sub(count), end),
            None => return Asked::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => (first, end),
            None => return Asked::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.min(end)),
            _ => return Asked::Whole,
        },
    };
    if first < total { Asked::Part(first, last) } else { Asked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_its_directory() {
        for path in ["/../x", "/%2e%2e/x", "/a/..%2fx", "/.git/config", "/a%00", "/a%5cb", "/%zz", "/c:/x"] {
            assert_eq!(relative(path), None, "{path}");
        }
        assert_eq!(relative("/a/b%20c.js"), Some(PathBuf::from("a/b c.js")));
        assert_eq!(relative("/"), Some(PathBuf::new()));
    }

    #[test]
    fn ranges_are_read_as_http_writes_them() {
        for (asked, wanted) in [
            ("bytes=0-9", Asked::Part(0, 9)),
            ("bytes=90-", Asked::Part(90, 99)),
            ("bytes=-10", Asked::Part(90, 99)),
            ("bytes=-500", Asked::Part(0, 99)),
            ("bytes=50-500", Asked::Part(50, 99)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=9-0", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("items=0-1", Asked::Whole),
        ] {
            assert_eq!(range(asked, 100), wanted, "{asked}");
        }
    }
}
