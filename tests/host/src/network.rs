//! The network: a server defined by the test, and a log of every request.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use custom_template_jobs::api::Endpoint;
use custom_template_jobs::host::{self, Answer, Body};
use serde_json::Value;

use crate::json::json;

/// The outcome of a request.
pub type Reply = host::Reply<Value>;

/// A sent request.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The time, in milliseconds.
    pub at: f64,
    /// The number of the host that sent it.
    pub host: usize,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The whole URL.
    pub url: String,
    /// Its path.
    pub path: String,
    /// The body.
    pub body: Option<String>,
    /// The operation of a charge.
    pub operation: Option<String>,
}

impl Sent {
    pub(crate) fn new(at: f64, host: usize, request: host::Request<'_>) -> Self {
        let host::Request { endpoint, url, body, operation } = request;
        let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
        Self {
            at,
            host,
            endpoint,
            url: url.into(),
            path: path.unwrap_or(url).into(),
            body: body.map(Into::into),
            operation: operation.map(Into::into),
        }
    }

    /// The id of the job in the path; empty if it has none.
    pub fn job_id(&self) -> &str {
        self.path.split('/').find(|part| part.len() == 36).unwrap_or_default()
    }

    /// Whether the request is a charging one.
    pub const fn charges(&self) -> bool {
        self.endpoint.charges().is_some()
    }

    /// Method and path: `POST /api/custom_template_jobs/`.
    pub fn line(&self) -> String {
        format!("{} {}", self.endpoint.method(), self.path)
    }
}

pub(crate) type Serving = Pin<Box<dyn Future<Output = Reply>>>;
type Server = Rc<dyn Fn(Sent) -> Serving>;

/// The network between the hosts and a server.
pub struct Network {
    server: RefCell<Server>,
    log: RefCell<Vec<Sent>>,
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Network").field("log", &self.log.borrow()).finish_non_exhaustive()
    }
}

impl Default for Network {
    fn default() -> Self {
        let unserved: Server = Rc::new(|sent: Sent| panic!("nothing should be sent: {}", sent.line()));
        Self { server: RefCell::new(unserved), log: RefCell::default() }
    }
}

impl Network {
    pub(crate) fn set(&self, server: Server) {
        *self.server.borrow_mut() = server;
    }

    /// Passes a request to the server, which goes on even if its caller gives up.
    pub(crate) fn send(&self, sent: &Sent) -> Serving {
        self.log.borrow_mut().push(sent.clone());
        let server = Rc::clone(&self.server.borrow());
        server(sent.clone())
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Sent> {
        self.log.borrow().clone()
    }

    /// Method and path of all requests so far, as in `POST /api/custom_template_jobs/`.
    pub fn requests(&self) -> Vec<String> {
        self.log.borrow().iter().map(Sent::line).collect()
    }

    /// The times of all requests, in milliseconds.
    pub fn times(&self) -> Vec<f64> {
        self.log.borrow().iter().map(|sent| sent.at).collect()
    }

    /// The number of requests.
    pub fn count(&self) -> usize {
        self.log.borrow().len()
    }

    /// The number of charging requests.
    pub fn charges(&self) -> usize {
        self.log.borrow().iter().filter(|sent| sent.charges()).count()
    }
}

/// An answer with a JSON body.
pub fn answer(status: u16, body: &str) -> Reply {
    answer_of(status, json(body))
}

/// An answer with a JSON value.
pub const fn answer_of(status: u16, body: Value) -> Reply {
    Reply::Answer(Answer { status, retry_after_ms: None, request_id: None, body: Body::Json(body) })
}

/// An answer with a body that is not JSON.
pub fn text(status: u16, body: &str) -> Reply {
    Reply::Answer(Answer { status, retry_after_ms: None, request_id: None, body: Body::Text(body.into()) })
}

/// An answer whose body was cut off after `text`.
pub fn cut(status: u16, body: &str) -> Reply {
    Reply::Answer(Answer { status, retry_after_ms: None, request_id: None, body: Body::Cut(body.into()) })
}

/// An answer with a `Retry-After` of some milliseconds.
pub fn busy(status: u16, retry_after_ms: f64) -> Reply {
    Reply::Answer(Answer { status, retry_after_ms: Some(retry_after_ms), request_id: None, body: Body::Json(json("{}")) })
}

/// A failed connection with the runtime's error code; an empty code means none.
pub fn failed(code: &str) -> Reply {
    let cause = Some(Value::from("fetch failed"));
    Reply::Failed { code: Some(code).filter(|code| !code.is_empty()).map(Into::into), cause }
}
