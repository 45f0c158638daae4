//! The relay's report on an operation whose response was lost.

use super::Client;
use crate::api::{self, Endpoint};
use crate::charge::Report;
use crate::host::Host;

impl<H: Host> Client<H> {
    /// Reads the relay's report on an operation; `None` without a relay or without a valid report. The relay waits for the
    /// outcome of an operation that is in flight there.
    pub(super) async fn report(&self, operation: &str) -> Option<Report> {
        if !self.config().relay {
            return None;
        }
        let answer = self.read(Endpoint::Operation, &api::percent_encode(operation), None).await.ok()?;
        Report::read(operation, self.host().members(&answer, ["operation", "job_id", "state"]))
    }
}
