//! The log of requests.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::job::rfc3339;
use crate::route::Call;

/// A request in the log. It becomes JSON only when it is read, since most entries never are.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) at: u64,
    pub(super) relayed: bool,
    pub(super) connection: u64,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) call: Option<Call>,
    pub(super) status: Option<u16>,
    pub(super) faults: Vec<&'static str>,
    pub(super) job: Option<Uuid>,
    pub(super) key: Option<String>,
    pub(super) bytes: usize,
}

impl Line {
    pub(super) fn body(&self) -> Value {
        json!({
            "n": self.number,
            "at": rfc3339(self.at, 0),
            "via": if self.relayed { "relay" } else { "api" },
            "connection": self.connection,
            "method": self.method,
            "path": self.path,
            "call": self.call.map(Call::name),
            "status": self.status,
            "faults": self.faults,
            "job_id": self.job.map(|id| id.to_string()),
            "idempotency_key": self.key,
            "body_bytes": self.bytes,
        })
    }
}
