//! A charge for Rust front ends, and the updates of its job.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use wasm_bindgen::JsValue;

use super::data::Job;
use super::typed::{Error, PollOptions, TemplateJobs, Update};
use crate::api::{Endpoint, Step};
use crate::client;
use crate::error::{Charged, Refusal};

/// A charge and its job. Awaiting it sends the charge and returns the accepted job; [`wait`](Self::wait) and
/// [`updates`](Self::updates) wait for the result of the step. It charges once, however often it is awaited.
pub struct JobHandle {
    jobs: TemplateJobs,
    operation: String,
    source: Source,
    /// The job and its step, once they are known.
    job: OnceCell<(JsValue, Step)>,
}

type JobFuture = Pin<Box<dyn Future<Output = Result<Job, Error>>>>;

/// Where the job comes from.
pub(super) enum Source {
    /// A charging call: its endpoint, the job that is rendered, the request's JSON text, and the options.
    Charge(Endpoint, Option<String>, Result<Option<String>, Error>, client::ChargeOptions),
    /// An operation of the journal.
    Resume,
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JobHandle").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl JobHandle {
    pub(super) fn new(jobs: &TemplateJobs, operation: String, source: Source) -> Self {
        Self { jobs: jobs.clone(), operation, source, job: OnceCell::new() }
    }

    /// The operation id of the charge, for `resume`, `settle` and `discard`.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// The job as the provider accepted it.
    ///
    /// # Errors
    /// Those of the method that made this handle.
    pub async fn job(&self) -> Result<Job, Error> {
        let (job, _) = self.found().await.map_err(|error| self.jobs.redacted(error))?;
        self.jobs.read(Ok(job)).map_err(|error| error.of_wait(&self.operation))
    }

    /// Waits for the result of the step: the preview of a preview, otherwise the video. `until` is ignored.
    ///
    /// # Errors
    /// Those of [`job`](Self::job) and of [`TemplateJobs::poll`], with the operation.
    pub async fn wait(&self, options: PollOptions) -> Result<Job, Error> {
        let (job, step) = self.found().await.map_err(|error| self.jobs.redacted(error))?;
        let id = super::convert::text(&job, "id").unwrap_or_default();
        let options = PollOptions { until: Some(step.goal()), ..options };
        self.jobs.wait(&id, Some(job), options).await.map_err(|error| error.of_wait(&self.operation))
    }

    /// The updates of the job until the result of the step is ready. `on_update` is ignored.
    pub fn updates(self, mut options: PollOptions) -> Updates {
        let seen = Rc::new(Seen::default());
        let sink = Rc::clone(&seen);
        options.on_update = Some(Box::new(move |update| sink.push(Ok(update))));
        Updates { seen, wait: Some(Box::pin(async move { self.wait(options).await })) }
    }

    async fn found(&self) -> Result<(JsValue, Step), Error> {
        if let Some(found) = self.job.get() {
            return Ok(found.clone());
        }
        let found = match &self.source {
            Source::Charge(endpoint, id, request, options) => {
                let request = request.clone().map_err(|error| error.of_charge(&self.operation, Charged::No))?;
                let charged = self.jobs.charge(*endpoint, id.as_deref(), request.as_deref(), options.clone()).await?;
                (charged, endpoint.charges().ok_or_else(|| Refusal::new("endpoint", "does not charge"))?)
            }
            Source::Resume => self.jobs.resumed(&self.operation).await?,
        };
        Ok(self.job.get_or_init(|| found).clone())
    }
}

impl IntoFuture for JobHandle {
    type Output = Result<Job, Error>;
    type IntoFuture = JobFuture;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.job().await })
    }
}

/// The unread updates.
#[derive(Default)]
struct Seen {
    /// Each with whether the job changed.
    unread: RefCell<VecDeque<(Result<Update, Error>, bool)>>,
    /// The job of the newest update.
    last: RefCell<Option<Job>>,
    waker: Cell<Option<Waker>>,
}

impl Seen {
    /// A slow reader gets each change of the job, and the newest of the other updates.
    fn push(&self, update: Result<Update, Error>) {
        let mut unread = self.unread.borrow_mut();
        let mut changed = true;
        if let Ok(Update { job, .. }) = &update {
            changed = self.last.replace(Some(job.clone())).as_ref() != Some(job);
            if let Some(newest) = unread.back().map(|(_, changed)| *changed)
                && !(changed && newest)
            {
                changed |= newest;
                unread.pop_back();
            }
        }
        unread.push_back((update, changed));
        drop(unread);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn pop(&self) -> Option<Result<Update, Error>> {
        self.unread.borrow_mut().pop_front().map(|(update, _)| update)
    }
}

/// A stream of the updates of a job. It ends when the result of the step is ready, or after the error of the wait. Dropping it
/// ends the wait.
pub struct Updates {
    seen: Rc<Seen>,
    wait: Option<JobFuture>,
}

impl fmt::Debug for Updates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Updates")
    }
}

impl Stream for Updates {
    type Item = Result<Update, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(wait) = &mut this.wait
            && let Poll::Ready(ended) = wait.as_mut().poll(context)
        {
            this.wait = None;
            if let Err(error) = ended {
                this.seen.push(Err(error));
            }
        }
        match (this.seen.pop(), &this.wait) {
            (None, Some(_)) => {
                this.seen.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
            (update, _) => Poll::Ready(update),
        }
    }
}
