//! The upstream's contract: its seven calls, the names and limits of its fields, and what is read from a job.
//!
//! Source: the provider's pages on `custom_template_jobs`, as gathered in the `OpenAPI` document under `tests`.

use crate::error::{Error, digits, join};
use crate::value::{Fingerprint, Kind, Value, inspect};

/// Most characters of a job's `name`.
pub const NAME_MAX: usize = 255;
/// Most characters of a `webhook_url`.
pub const WEBHOOK_URL_MAX: usize = 200;
/// What is replaced by the operation id in a `webhook_url`, so that a webhook can settle a charge.
pub const OPERATION_PLACEHOLDER: &str = "{operation}";

/// A step that costs credits. A call that reads is not a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Straight to the video.
    Submit,
    /// A preview, blocking or not.
    Preview,
    /// The video of a job whose preview is ready.
    Render,
}

impl Step {
    /// As the journal and JavaScript see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Preview => "preview",
            Self::Render => "render",
        }
    }

    /// The step of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Submit, Self::Preview, Self::Render].into_iter().find(|step| step.as_str() == name)
    }

    /// What a job is waited for after this step.
    pub const fn goal(self) -> Goal {
        match self {
            Self::Preview => Goal::Preview,
            Self::Submit | Self::Render => Goal::Video,
        }
    }
}

/// What a wait ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// `preview` is there.
    Preview,
    /// `video_output` is there.
    Video,
    /// The first `done`: for a job that this client did not start.
    Done,
}

/// The seven calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /api/custom_template_jobs/`
    Submit,
    /// `POST /api/custom_template_jobs/preview/`, which blocks.
    PreviewSync,
    /// `POST /api/custom_template_jobs/preview_async/`
    PreviewAsync,
    /// `POST /api/custom_template_jobs/{id}/render/`
    Render,
    /// `GET /api/custom_template_jobs/{id}/`
    Get,
    /// `GET /api/custom_templates/`
    Templates,
    /// `GET /api/remaining_credits/`
    RemainingCredits,
}

impl Endpoint {
    /// The step that the call charges for; `None` for one that reads.
    pub const fn charges(self) -> Option<Step> {
        match self {
            Self::Submit => Some(Step::Submit),
            Self::PreviewSync | Self::PreviewAsync => Some(Step::Preview),
            Self::Render => Some(Step::Render),
            Self::Get | Self::Templates | Self::RemainingCredits => None,
        }
    }

    /// The HTTP method.
    pub const fn method(self) -> &'static str {
        if self.charges().is_some() { "POST" } else { "GET" }
    }

    /// The path below the base URL. It ends in a slash: without one the upstream redirects, and a redirected POST loses its body.
    pub fn path(self, id: &str) -> String {
        let jobs = "/api/custom_template_jobs/";
        match self {
            Self::Submit => jobs.into(),
            Self::PreviewSync => join(&[jobs, "preview/"]),
            Self::PreviewAsync => join(&[jobs, "preview_async/"]),
            Self::Render => join(&[jobs, id, "/render/"]),
            Self::Get => join(&[jobs, id, "/"]),
            Self::Templates => "/api/custom_templates/".into(),
            Self::RemainingCredits => "/api/remaining_credits/".into(),
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Accepted.
    Pending,
    /// Waiting for a machine.
    InQueue,
    /// Being worked on.
    Running,
    /// The step's result is there.
    Done,
    /// It did not work out.
    Failed,
    /// The provider refused to do it.
    Rejected,
    /// A word that the provider's documentation does not have.
    Unknown,
}

impl Status {
    /// The status of that name.
    pub fn parse(name: &str) -> Self {
        match name {
            "pending" => Self::Pending,
            "in_queue" => Self::InQueue,
            "running" => Self::Running,
            "done" => Self::Done,
            "failed" => Self::Failed,
            "rejected" => Self::Rejected,
            _ => Self::Unknown,
        }
    }

    /// The step is being worked on.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::InQueue | Self::Running)
    }

    /// Nothing will come any more.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Rejected)
    }
}

/// The model of a template's avatar; it sets the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ModelVersion {
    /// `standard`, the default.
    #[default]
    Standard,
    /// `aurora_v1`
    AuroraV1,
    /// `aurora_v1_fast`
    AuroraV1Fast,
}

impl ModelVersion {
    /// The model of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "standard" => Self::Standard,
            "aurora_v1" => Self::AuroraV1,
            "aurora_v1_fast" => Self::AuroraV1Fast,
            _ => return None,
        })
    }
}

/// All that the core reads from a job. The job itself stays the host's.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFacts {
    /// A UUID.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// As the upstream reports it; the range is not documented, 0 to 1 or 0 to 100.
    pub progress: Option<f64>,
    /// Whether the URL of the preview is there.
    pub preview: bool,
    /// Whether the URL of the video is there.
    pub video: bool,
    /// Why it failed; `None` where the upstream says `null` or nothing.
    pub failed_reason: Option<String>,
    /// When the upstream last touched it, in its own words.
    pub updated_at: Option<String>,
    /// Credits that were charged; 0 until the work was done.
    pub credits_used: Option<f64>,
    /// Seconds of video.
    pub duration: Option<f64>,
}

impl JobFacts {
    /// Reads them; `None` where there is no job: no object, or no `id` that is a UUID.
    pub fn read<V: Value>(job: &V) -> Option<Self> {
        let id = Self::id_of(job)?;
        let filled = |key: &str| job.text(key).filter(|text| !text.is_empty());
        Some(Self {
            id,
            status: Status::parse(&job.text("status").unwrap_or_default()),
            progress: job.number("progress"),
            preview: filled("preview").is_some(),
            video: filled("video_output").is_some(),
            failed_reason: filled("failed_reason"),
            updated_at: filled("updated_at"),
            credits_used: job.number("credits_used"),
            duration: job.number("duration"),
        })
    }

    /// The id alone.
    pub fn id_of<V: Value>(job: &V) -> Option<String> {
        job.text("id").filter(|id| is_uuid(id))
    }

    /// Whether the wait for `goal` is over, and well. A preview's URL counts whatever the status says,
    /// because the upstream's status after a preview is not uniform; a video needs `done`.
    pub const fn meets(&self, goal: Goal) -> bool {
        match goal {
            Goal::Preview => self.preview,
            Goal::Video => self.video && matches!(self.status, Status::Done),
            Goal::Done => matches!(self.status, Status::Done),
        }
    }

    /// Whether a render was begun: asking for one again would be paid for twice.
    pub const fn is_rendered_or_rendering(&self) -> bool {
        self.video || (self.preview && self.status.is_active())
    }
}

/// Whether a text is a UUID in its usual form.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A request that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// What tells it from another one.
    pub fingerprint: Fingerprint,
    /// The model that it asks for.
    pub model: ModelVersion,
}

impl Checked {
    /// Of a `render` without a body.
    pub fn nothing(step: Step) -> Self {
        Self { fingerprint: Fingerprint::EMPTY.and(step.as_str().as_bytes()), model: ModelVersion::Standard }
    }
}

/// Checks what goes into the body of a charging call, before anything is sent. Fields that are not
/// known here pass: the upstream may learn new ones.
///
/// For `render` the whole body is optional, and so is each field of it.
///
/// # Errors
/// `InvalidRequestError` with the path of the field to mend.
pub fn check_request<V: Value>(step: Step, request: &V) -> Result<Checked, Error> {
    if request.kind() != Kind::Object {
        return Err(Error::invalid("request", &["must be an object with template_id and variables"]));
    }
    let given = |key: &str| request.get(key).map_or(Kind::Null, |field| field.kind());
    let optional = step == Step::Render;

    match given("template_id") {
        Kind::Text if request.text("template_id").is_some_and(|id| is_uuid(&id)) => {}
        Kind::Null if optional => {}
        _ => return Err(Error::invalid("template_id", &["must be the UUID of a template; templates() lists yours"])),
    }
    match given("variables") {
        Kind::Object => {}
        Kind::Null if optional => {}
        _ => return Err(Error::invalid("variables", &["must be a plain object; {} for a template without variables"])),
    }
    if let Some(name) = optional_text(request, "name")? {
        check_length(&name, "name", NAME_MAX, " characters; at most 255 are allowed")?;
    }
    if let Some(url) = optional_text(request, "webhook_url")? {
        check_webhook_url(&url)?;
    }
    let model = model_of(request)?;
    if !matches!(given("is_hidden"), Kind::Null | Kind::Bool(_)) {
        return Err(Error::invalid("is_hidden", &["must be true or false"]));
    }

    // Whatever else is in it must survive JSON too. A field that is undefined is as good as absent.
    let mut fingerprint = Fingerprint::EMPTY.and(step.as_str().as_bytes());
    for key in &request.keys() {
        if let Some(field) = request.get(key) {
            fingerprint = inspect(&field, key, fingerprint.and(key.as_bytes()))?;
        }
    }
    Ok(Checked { fingerprint, model })
}

/// The model that a request asks for.
///
/// # Errors
/// `InvalidRequestError{field: "model_version"}`.
pub fn model_of<V: Value>(request: &V) -> Result<ModelVersion, Error> {
    let field = "model_version";
    let model = match request.get(field).map_or(Kind::Null, |model| model.kind()) {
        Kind::Null => Some(ModelVersion::Standard),
        _ => request.text(field).and_then(|name| ModelVersion::parse(&name)),
    };
    model.ok_or_else(|| Error::invalid(field, &["must be standard, aurora_v1 or aurora_v1_fast"]))
}

/// A field that may be left out or `null`, and else is a string.
fn optional_text<V: Value>(request: &V, field: &str) -> Result<Option<String>, Error> {
    let Some(value) = request.get(field) else { return Ok(None) };
    let text = value.as_text();
    if text.is_none() && value.kind() != Kind::Null {
        return Err(Error::invalid(field, &["must be a string"]));
    }
    Ok(text)
}

/// `most` in words is part of `advice`.
fn check_length(text: &str, field: &str, most: usize, advice: &str) -> Result<(), Error> {
    let length = characters(text);
    if length > most { Err(Error::invalid(field, &["has ", &digits(length as u64), advice])) } else { Ok(()) }
}

/// `chars().count()` is a kilobyte of loops that count many at once.
fn characters(text: &str) -> usize {
    text.bytes().fold(0, |count, byte| count + usize::from(byte & 0xc0 != 0x80))
}

/// Checks an absolute `http` or `https` URL of at most 200 characters.
fn check_webhook_url(url: &str) -> Result<(), Error> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let valid = host
        .is_some_and(|rest| rest.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'['))
        && url.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    if !valid {
        return Err(Error::invalid("webhook_url", &["must be an absolute http or https URL"]));
    }
    check_length(url, "webhook_url", WEBHOOK_URL_MAX, " characters; at most 200 are allowed")
}

/// Checks the id of a job.
///
/// # Errors
/// `InvalidRequestError{field: "id"}`.
pub fn check_id(id: &str) -> Result<(), Error> {
    if is_uuid(id) { Ok(()) } else { Err(Error::invalid("id", &["must be the UUID of a job"])) }
}
