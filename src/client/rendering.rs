//! The check of a job before it is rendered: whether the charging request is needed.

use super::caller::Caller;
use super::charging::{Charge, late};
use super::polling::PollOptions;
use super::{Client, Outcome};
use crate::api::{Endpoint, Goal, Step};
use crate::charge::{self, BeforeRender, Entry};
use crate::error::{Charged, Error};
use crate::host::Host;
use crate::job::JobFacts;

/// The result of the check before a render.
pub(super) enum Look<V> {
    /// Send the charging request for this job.
    Send(JobFacts),
    /// Return this job; nothing is charged.
    Return(V),
}

impl<H: Host> Client<H> {
    /// Fetches the job until it is clear whether to render it.
    pub(super) async fn look_before_render(
        &self,
        charge: &Charge,
        caller: &Caller<H::Value>,
        id: &str,
    ) -> Result<Look<H::Value>, Error<H::Value>> {
        let host = self.host();
        loop {
            let job = self.read(Endpoint::Get, id, None).await.map_err(Error::before_a_charge)?;
            let Some(facts) = self.facts(&job) else { return Err(late()) };
            let rendering = facts.status.is_active() && self.is_charged(id, |step| step == Step::Render).await;
            let covered = charge.given.as_deref().is_none_or(|request| host.covers(request, &job));
            match charge::before_render(&facts, rendering, charge.explicit, covered) {
                BeforeRender::Send => return Ok(Look::Send(facts)),
                BeforeRender::Return => return Ok(Look::Return(job)),
                BeforeRender::Wait => {
                    // This wait has its own limit and does not count towards the caller's timeout.
                    let left = caller.deadline() - host.now();
                    caller.move_deadline(f64::INFINITY);
                    let timeout = Some(self.config().preview_timeout);
                    let options = PollOptions { until: Some(Goal::Settled), timeout, ..PollOptions::default() };
                    self.poll(id, Some(job), options, None).await.map_err(Error::before_a_charge)?;
                    caller.move_deadline(host.now() + left);
                }
            }
        }
    }

    /// Whether this client or the journal has an open charge for such a step of the job.
    pub(super) async fn is_charged(&self, id: &str, step: impl Fn(Step) -> bool) -> bool {
        let is_it = |entry: &Entry| step(entry.step) && entry.job.as_deref() == Some(id);
        if self.0.history.borrow().find(id).is_some_and(|known| is_it(&known.entry)) {
            return true;
        }
        let open = self.open_entries().await.unwrap_or_default();
        open.iter().any(|(_, entry)| is_it(entry))
    }

    /// Binds the operation of an unneeded render to the job, without a charge.
    pub(super) async fn bind_rendered(
        &self,
        charge: &Charge,
        caller: &Caller<H::Value>,
        id: &str,
        job: H::Value,
    ) -> Outcome<H::Value> {
        let mut entry = self.new_entry(charge).bound(id);
        entry.charged = Charged::No;
        caller.if_late(Ok(job.clone()));
        match self.create(&charge.key, &entry.encode(), &entry).await {
            Ok(Some(found)) => return self.claimed(charge, caller, &found).await,
            Ok(None) => {}
            // This call charged nothing, so nothing is lost; another one may have charged for the operation.
            Err(_) => entry.charged = Charged::Maybe,
        }
        self.remember(charge, entry);
        self.notice(&job);
        Ok(job)
    }
}
