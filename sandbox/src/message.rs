//! Requests and replies of the engine, and error replies in the provider's own words.

use serde_json::{Value, json};

/// The largest request body, in bytes.
// assumed: a body has at most 2.5 MB, the framework's default. A proxy refuses larger ones.
pub const BODY_LIMIT: usize = 2_621_440;

/// An API key, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(key: T) -> Self {
        Self(key.into())
    }
}

/// A request to the provider's API.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path, with its query if it has one.
    pub path: String,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// `X-API-ID`.
    pub api_id: Option<String>,
    /// `X-API-KEY`.
    pub api_key: Option<Secret>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// The origin of URLs in the answer.
    pub origin: String,
    /// The number of the connection, for the log.
    pub connection: u64,
    /// Whether the relay forwarded the request. The relay adds the keys and honours an `Idempotency-Key`.
    pub relayed: bool,
}

impl Request {
    /// A request without keys and body.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            content_type: None,
            api_id: None,
            api_key: None,
            idempotency_key: None,
            body: Vec::new(),
            origin: "http://127.0.0.1:8787".to_owned(),
            connection: 0,
            relayed: false,
        }
    }

    /// A `GET` without keys.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A `POST` without keys and body.
    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// The same with keys.
    #[must_use]
    pub fn keys(mut self, api_id: &str, api_key: &str) -> Self {
        self.api_id = Some(api_id.to_owned());
        self.api_key = Some(api_key.into());
        self
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.content_type = Some("application/json".to_owned());
        self.body = body.to_string().into_bytes();
        self
    }

    /// The same with an `Idempotency-Key`.
    #[must_use]
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self
    }
}

/// How the bytes of a reply are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wire {
    /// Completely.
    #[default]
    Deliver,
    /// Not at all: the connection closes.
    Drop {
        /// Whether it closes with a TCP reset.
        reset: bool,
    },
    /// The head and a part of the body, then nothing more.
    Stall {
        /// The number of body bytes.
        bytes: usize,
    },
    /// The body piece by piece.
    Drip {
        /// The size of a piece in bytes.
        bytes: usize,
        /// Milliseconds between two pieces.
        ms: u64,
    },
    /// The head and a part of the body, then the connection closes.
    Truncate {
        /// The number of body bytes.
        bytes: usize,
        /// Whether it closes with a TCP reset.
        reset: bool,
    },
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, without `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The time when it is sent, on the engine's clock (see [`crate::engine::Engine::time`]); `u64::MAX` for never.
    pub ready_at: u64,
    /// How its bytes are sent.
    pub wire: Wire,
}

impl Reply {
    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body,
            ready_at: 0,
            wire: Wire::Deliver,
        }
    }

    pub(crate) fn of_json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string().into_bytes())
    }

    pub(crate) fn of_html(status: u16, body: &str) -> Self {
        Self::new(status, "text/html; charset=utf-8", body.as_bytes().to_vec())
    }

    pub(crate) fn detail(status: u16, detail: &str) -> Self {
        Self::of_json(status, &json!({ "detail": detail }))
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

pub(crate) fn proxy_page(status: u16, words: &str) -> Reply {
    let title = format!("{status} {words}");
    Reply::of_html(
        status,
        &format!("<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"),
    )
}

/// The reply to a body above [`BODY_LIMIT`].
pub fn too_large() -> Reply {
    proxy_page(413, "Request Entity Too Large")
}

/// The reply to a path that does not exist.
// assumed: an unknown path gets Django's default 404 page.
pub fn not_found() -> Reply {
    Reply::of_html(
        404,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n  \
         <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n",
    )
}

// assumed: an unknown job gets the framework's 404 text with the name of its model, as a sibling does with its own.
pub(crate) fn no_such_job() -> Reply {
    Reply::detail(404, "No CustomTemplateJob matches the given query.")
}

// documented: the provider accepts JSON, form and multipart bodies. The sandbox accepts only JSON, and answers others with
// 415.
pub(crate) fn refuse_media_type(request: &Request) -> Option<Reply> {
    let given = request.content_type.as_deref().unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if request.body.is_empty() || kind.eq_ignore_ascii_case("application/json") {
        return None;
    }
    Some(Reply::detail(415, &format!("Unsupported media type \"{given}\" in request.")))
}
