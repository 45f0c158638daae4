//! The typed face for Rust front ends: jobs, requests and templates as structs, to and from JavaScript by serde-wasm-bindgen.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::*;

use super::error::Error;
use super::js::Js;
use super::rust::RustHost;
use crate::api::{ModelVersion, Status, Step};
use crate::charge::State;
use crate::client::{self, ChargeOptions, Client, Config, PollOptions};
use crate::error::Failure;
use crate::value::Value;

#[wasm_bindgen(module = "/src/web/journal.js")]
extern "C" {
    /// The journal of this process, which every copy of the package shares.
    #[wasm_bindgen(js_name = memoryJournal)]
    fn memory_journal() -> JsValue;
}

/// One variable of a template, as the provider's editor names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "properties", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Variable {
    /// Words on the screen or in the script.
    Text {
        /// The words.
        content: String,
    },
    /// A picture that the provider can fetch.
    Image {
        /// Its public URL.
        url: String,
    },
    /// A clip that the provider can fetch.
    Video {
        /// Its public URL.
        url: String,
    },
    /// Music that the provider can fetch.
    Audio {
        /// Its public URL.
        url: String,
    },
    /// A speaker.
    Avatar {
        /// The id of a persona.
        avatar_id: String,
    },
    /// A voice.
    Voiceover {
        /// The id of an accent.
        voice_id: String,
    },
}

/// What `submit`, `preview` and `preview_async` are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// The template's UUID.
    pub template_id: String,
    /// The template's variables, by name.
    pub variables: BTreeMap<String, Variable>,
    /// At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// At most 200 characters; `{operation}` in it becomes the operation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// `standard`, `aurora_v1` or `aurora_v1_fast`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// Whether the job is kept out of the provider's own project page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_hidden: Option<bool>,
}

/// A job as the provider tells it. What it does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// A UUID.
    pub id: String,
    /// See [`Job::status`].
    pub status: String,
    /// How far it is; the range is not documented.
    pub progress: Option<f64>,
    /// The page that plays the preview.
    pub preview: Option<String>,
    /// The video's URL.
    pub video_output: Option<String>,
    /// Where the job can be edited, for 24 hours.
    pub editor_url: Option<String>,
    /// Why it failed.
    pub failed_reason: Option<String>,
    /// What it cost, in credits; 0 until the work was done.
    pub credits_used: Option<f64>,
    /// Seconds of video.
    pub duration: Option<f64>,
    /// As given.
    pub name: Option<String>,
    /// As given.
    pub webhook_url: Option<String>,
    /// As given.
    pub model_version: Option<String>,
    /// As given.
    pub is_hidden: Option<bool>,
    /// The provider's own number for the media.
    pub media_job: Option<String>,
    /// RFC 3339.
    pub created_at: Option<String>,
    /// RFC 3339.
    pub updated_at: Option<String>,
}

impl Job {
    /// Where it stands.
    pub fn status(&self) -> Status {
        Status::parse(Js::text_of(&self.status))
    }

    /// From the object that `JSON.parse` made.
    ///
    /// # Errors
    /// What serde found.
    pub fn from_js(value: &JsValue) -> Result<Self, serde_wasm_bindgen::Error> {
        serde_wasm_bindgen::from_value(value.clone())
    }

    /// To a plain object.
    ///
    /// # Errors
    /// None is known.
    pub fn to_js(&self) -> Result<JsValue, serde_wasm_bindgen::Error> {
        self.serialize(&Serializer::json_compatible())
    }
}

impl JobRequest {
    /// To the plain object that becomes the request's body.
    ///
    /// # Errors
    /// A variable called `__proto__`, which would become the object's prototype instead of a field.
    pub fn to_js(&self) -> Result<JsValue, serde_wasm_bindgen::Error> {
        if self.variables.contains_key("__proto__") {
            return Err(serde_wasm_bindgen::Error::new("variables.__proto__ cannot be a variable's name"));
        }
        self.serialize(&Serializer::json_compatible())
    }
}

/// A template of the account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Template {
    /// A UUID.
    pub template_id: String,
    /// Its name in the editor.
    pub name: String,
    /// A picture or page of it.
    pub preview: Option<String>,
    /// Such as `9x16`.
    pub aspect_ratio: Option<String>,
    /// RFC 3339.
    pub created_at: Option<String>,
    /// RFC 3339.
    pub updated_at: Option<String>,
}

/// Where the operations are written down, so that a charge is never made twice.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Journal {
    /// `IndexedDB` in a page or a worker of one, so that it outlives them; memory elsewhere.
    #[default]
    Usual,
    /// Memory: it forgets with the page or the process.
    Memory,
    /// The caller's own: an object with the methods `create`, `read`, `write`, `replace`, `delete` and `list`, as
    /// JavaScript passes one.
    Own(JsValue),
}

/// Where the API is and who asks.
#[derive(Clone, Default)]
pub struct Options {
    /// The provider or a relay; the provider where it is not given.
    pub base_url: Option<String>,
    /// Sent as `X-API-ID`.
    pub api_id: Option<String>,
    /// Sent as `X-API-KEY`. Everybody who opens a page can read it there: use a relay.
    pub api_key: Option<String>,
    /// Sent with every request, such as the login of a relay.
    pub headers: BTreeMap<String, String>,
    /// What the client may spend, in credits.
    pub max_credits: Option<f64>,
    /// Where the operations are written down.
    pub journal: Journal,
}

impl Options {
    /// For the plumbing, which takes JavaScript's.
    fn to_js(&self) -> JsValue {
        let headers = self.headers.iter().fold(Js::list(), |headers, (name, value)| {
            headers.and(Js::list().and(Js::text_of(name)).and(Js::text_of(value)))
        });
        let options = Js::record().with("headers", headers);
        let options = options.with("baseUrl", text_or_nothing(self.base_url.as_deref()));
        let options = options.with("apiId", text_or_nothing(self.api_id.as_deref()));
        let options = options.with("apiKey", text_or_nothing(self.api_key.as_deref()));
        match &self.journal {
            Journal::Usual => options.own(),
            Journal::Memory => options.with("journal", Js::lend(&memory_journal())).own(),
            Journal::Own(journal) => options.with("journal", Js::lend(journal)).own(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.api_key.as_ref().map(|_| "(hidden)");
        formatter.debug_struct("Options").field("base_url", &self.base_url).field("api_key", &key).finish_non_exhaustive()
    }
}

fn text_or_nothing(text: Option<&str>) -> Js {
    text.map_or_else(Js::nothing, Js::text_of)
}

/// An operation of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its id.
    pub operation: String,
    /// Where it stands.
    pub state: State,
    /// What it charges for.
    pub step: Step,
    /// When it was first written, in milliseconds since 1970.
    pub at: f64,
    /// The id of its job, where it is known.
    pub job_id: Option<String>,
}

impl From<client::Operation<JsValue>> for Operation {
    fn from(known: client::Operation<JsValue>) -> Self {
        let client::Operation { operation, state, step, at, job } = known;
        Self { operation: operation.as_string().unwrap_or_default(), state, step, at, job_id: job.as_string() }
    }
}

/// What a typed call fails with.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The call failed.
    Failed(Error),
    /// The job or template does not have the documented shape.
    Shape(serde_wasm_bindgen::Error),
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(formatter),
            Self::Shape(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for CallError {}

impl From<Failure<JsValue>> for CallError {
    fn from(failure: Failure<JsValue>) -> Self {
        Self::Failed(failure.into())
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<serde_wasm_bindgen::Error> for CallError {
    fn from(error: serde_wasm_bindgen::Error) -> Self {
        Self::Shape(error)
    }
}

/// A typed client, for front ends written in Rust. In a page its journal is in `IndexedDB`, as JavaScript's is.
///
/// A call that is dropped is left; a charge that may have been sent goes on by itself, until its job is written down.
///
/// ```no_run
/// use custom_template_jobs::client::{ChargeOptions, PollOptions};
/// use custom_template_jobs::web::{CallError, JobRequest, Options, TemplateJobs, Variable};
///
/// # async fn example() -> Result<(), CallError> {
/// let jobs = TemplateJobs::new(&Options { base_url: Some("/relay".into()), ..Options::default() });
/// let request = JobRequest {
///     template_id: "3c90c3cc-0d44-4b50-8888-8dd25736052a".into(),
///     variables: [("title".into(), Variable::Text { content: "Hello".into() })].into(),
///     ..JobRequest::default()
/// };
/// let job = jobs.preview(&request, ChargeOptions::default(), PollOptions::default()).await?;
/// println!("look at {}", job.preview.unwrap_or_default());
/// let job = jobs.render(&job.id, ChargeOptions::default()).await?;
/// let job = jobs.poll(&job.id, PollOptions::default()).await?;
/// println!("watch {}", job.video_output.unwrap_or_default());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TemplateJobs(Client<RustHost>);

impl TemplateJobs {
    /// A client. Sends nothing yet.
    pub fn new(options: &Options) -> Self {
        let base_url = options.base_url.as_deref().unwrap_or(Config::<Js>::BASE_URL);
        let mut config = Config::new(Js::text_of(base_url), text_or_nothing(options.api_id.as_deref()));
        config.max_credits = options.max_credits.unwrap_or(f64::NAN);
        Self(Client::new(RustHost::over(&options.to_js()), config))
    }

    /// Straight to the video. The job comes back pending: `poll` it.
    ///
    /// # Errors
    /// See [`Error`]; [`Reason::ChargeUnknown`](super::Reason::ChargeUnknown) where the answer was lost.
    pub async fn submit(&self, request: &JobRequest, options: ChargeOptions) -> Result<Job, CallError> {
        Ok(Job::from_js(&self.0.submit(&request.to_js()?, &options).await?)?)
    }

    /// A preview, waited for.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn preview(&self, request: &JobRequest, charge: ChargeOptions, wait: PollOptions) -> Result<Job, CallError> {
        let _listening = self.0.with_host(RustHost::listening);
        Ok(Job::from_js(&self.0.preview(&request.to_js()?, &charge, wait).await?)?)
    }

    /// A preview. The job comes back pending: `poll` it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn preview_async(&self, request: &JobRequest, options: ChargeOptions) -> Result<Job, CallError> {
        Ok(Job::from_js(&self.0.preview_async(&request.to_js()?, &options).await?)?)
    }

    /// The video of a job whose preview is there. Not charged where it is rendered already.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn render(&self, id: &str, options: ChargeOptions) -> Result<Job, CallError> {
        Ok(Job::from_js(&self.0.render(id, None, &options).await?)?)
    }

    /// The job of that id.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, id: &str) -> Result<Job, CallError> {
        Ok(Job::from_js(&self.0.get(id, None).await?)?)
    }

    /// The job, once its preview or video is there.
    ///
    /// # Errors
    /// [`Reason`](super::Reason)`::JobFailed`, `PollTimeout`, `IncompleteResult`.
    pub async fn poll(&self, id: &str, options: PollOptions) -> Result<Job, CallError> {
        let _listening = self.0.with_host(RustHost::listening);
        Ok(Job::from_js(&self.0.poll(id, None, options).await?)?)
    }

    /// The account's templates.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn templates(&self) -> Result<Vec<Template>, CallError> {
        Ok(serde_wasm_bindgen::from_value(self.0.templates(None).await?)?)
    }

    /// The account's balance, in credits.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn remaining_credits(&self) -> Result<f64, CallError> {
        Ok(Js::lend(&self.0.remaining_credits(None).await?).as_number())
    }

    /// What a step is expected to cost, in credits.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`](super::Reason::InvalidRequest) where the length is none.
    pub fn estimate(&self, step: Step, seconds: f64, model: ModelVersion) -> Result<f64, CallError> {
        Ok(self.0.price(step, seconds, model)?)
    }

    /// What the journal knows and has not seen end.
    ///
    /// # Errors
    /// [`Reason::Journal`](super::Reason::Journal).
    pub async fn pending(&self) -> Result<Vec<Operation>, CallError> {
        Ok(self.0.pending().await?.into_iter().map(Operation::from).collect())
    }

    /// Looks again at an operation whose outcome is unknown. `job_id` is given where the caller has found the job.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`](super::Reason::InvalidRequest) where the journal does not know it.
    pub async fn settle(&self, operation: &str, job_id: Option<&str>) -> Result<Operation, CallError> {
        let settled = self.0.settle(operation, job_id).await?.map(Operation::from);
        settled.ok_or_else(|| CallError::Shape(serde_wasm_bindgen::Error::new("the operation cannot be read")))
    }
}
