//! The look at a job before it is rendered: whether the charging request is needed.

use super::Client;
use super::caller::{Caller, Stop};
use super::charging::{Charge, late};
use super::polling::PollOptions;
use crate::api::{Endpoint, Goal, Step};
use crate::charge::{self, BeforeRender, Entry};
use crate::error::Error;
use crate::host::Host;
use crate::job::JobFacts;

/// What the look before a render leads to.
pub(super) enum Look<V> {
    /// Send the charging request for this job.
    Send(JobFacts),
    /// Return this job; nothing is charged.
    Return(V),
}

impl<H: Host> Client<H> {
    /// Looks at a job before it is rendered, as long as that cannot be decided.
    pub(super) async fn look_before_render(
        &self,
        charge: &Charge,
        caller: &mut Caller<H::Value>,
        id: &str,
    ) -> Result<Look<H::Value>, Stop<H::Value>> {
        let host = self.host();
        loop {
            let read = self.read(Endpoint::Get, id, None);
            let job = caller.before(host, read, late).await?.map_err(Error::before_a_charge)?;
            let Some(facts) = self.facts(&job) else { return Err(late().into()) };
            let rendering = facts.status.is_active() && caller.before(host, self.is_rendering(id), late).await?;
            let covered = charge.given.as_deref().is_none_or(|request| host.covers(request, &job));
            match charge::before_render(&facts, rendering, charge.explicit, covered) {
                BeforeRender::Send => return Ok(Look::Send(facts)),
                BeforeRender::Return => return Ok(Look::Return(job)),
                BeforeRender::Wait => {
                    // This wait has a limit of its own and is not counted in the caller's.
                    let left = caller.deadline - host.now();
                    caller.deadline = f64::INFINITY;
                    let timeout = Some(self.config().preview_timeout);
                    let options = PollOptions { until: Some(Goal::Settled), timeout, ..PollOptions::default() };
                    let settled = caller.before(host, self.poll(id, Some(job), options, None), late).await?;
                    settled.map_err(Error::before_a_charge)?;
                    caller.deadline = host.now() + left;
                }
            }
        }
    }

    /// Whether this client, or the journal, has a render of the job in progress.
    async fn is_rendering(&self, id: &str) -> bool {
        let is_render = |entry: &Entry| entry.step == Step::Render && entry.job.as_deref() == Some(id);
        if self.0.history.borrow().find(id).is_some_and(|known| is_render(&known.entry)) {
            return true;
        }
        let open = self.open_entries().await.unwrap_or_default();
        open.iter().any(|(_, entry)| is_render(entry))
    }

    /// A render that is not needed: the operation is bound to the job as it is, without a charge.
    pub(super) async fn bind_rendered(
        &self,
        charge: &Charge,
        caller: &mut Caller<H::Value>,
        id: &str,
        job: H::Value,
    ) -> Result<H::Value, Stop<H::Value>> {
        let entry = self.new_entry(charge).bound(id);
        let outcome = job.clone();
        let text = entry.encode();
        let created = self.create(&charge.key, &text, &entry);
        // Nothing was charged, so a journal that cannot be written loses nothing.
        if let Ok(Some(found)) = caller.meanwhile(self.host(), created, || Ok(outcome)).await {
            return self.claimed(charge, caller, &found).await;
        }
        self.remember(charge, entry);
        self.notice(&job);
        Ok(job)
    }
}
