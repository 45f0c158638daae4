//! The upstream's contract: its seven calls, the names and limits of its fields, and what is read from a job.
//!
//! Source: the provider's pages on `custom_template_jobs`, as gathered in the `OpenAPI` document under `tests`.

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

use crate::error::{Failure, refuse};
use crate::value::{Kind, Value, inspect};

/// A UUID in its usual form.
const UUID: &str = "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$";
/// A job's `name`: at most so many characters.
pub const NAME: &str = r"^[\s\S]{0,255}$";
/// A `webhook_url`: absolute, and, by a pattern of its own, at most so many characters.
pub const WEBHOOK_URL: &str = r"^https?://[a-z0-9\[][^\s\x00-\x1f\x7f]*$";
pub const WEBHOOK_URL_LENGTH: &str = r"^[\s\S]{0,200}$";
/// What is replaced by the operation id in a `webhook_url`, so that a webhook can settle a charge.
pub const OPERATION_PLACEHOLDER: &str = r"\{operation\}";

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
    pub fn parse<V: Value>(name: V) -> Option<Self> {
        Some(match name.one_of("submit preview render") {
            0 => Self::Submit,
            1 => Self::Preview,
            2 => Self::Render,
            _ => return None,
        })
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

    /// The path below the base URL, where `%0` stands for the job's id. It ends in a slash: without one the upstream
    /// redirects, and a redirected POST loses its body.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Submit => "/api/custom_template_jobs/",
            Self::PreviewSync => "/api/custom_template_jobs/preview/",
            Self::PreviewAsync => "/api/custom_template_jobs/preview_async/",
            Self::Render => "/api/custom_template_jobs/%0/render/",
            Self::Get => "/api/custom_template_jobs/%0/",
            Self::Templates => "/api/custom_templates/",
            Self::RemainingCredits => "/api/remaining_credits/",
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
    pub fn parse<V: Value>(name: V) -> Self {
        match name.one_of("pending in_queue running done failed rejected") {
            0 => Self::Pending,
            1 => Self::InQueue,
            2 => Self::Running,
            3 => Self::Done,
            4 => Self::Failed,
            5 => Self::Rejected,
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
    /// The model that a request asks for in its field `model_version`.
    ///
    /// # Errors
    /// `InvalidRequestError{field: "model_version"}`.
    pub fn of<V: Value>(request: V) -> Result<Self, Failure<V>> {
        let name = request.get("model_version");
        Ok(match name.one_of("standard aurora_v1 aurora_v1_fast") {
            0 => Self::Standard,
            1 => Self::AuroraV1,
            2 => Self::AuroraV1Fast,
            _ if is_left_out(name) => Self::Standard,
            _ => return Err(refuse("model_version", "must be standard, aurora_v1 or aurora_v1_fast")),
        })
    }
}

/// All that the core reads from a job. The job itself stays the host's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobFacts {
    /// Where it stands.
    pub status: Status,
    /// As the upstream reports it; the range is not documented, 0 to 1 or 0 to 100. -1 where it is not told.
    pub progress: f64,
    /// Whether the URL of the preview is there.
    pub preview: bool,
    /// Whether the URL of the video is there.
    pub video: bool,
    /// Changes whenever the upstream touched it.
    pub touched: f64,
    /// Credits that were charged; 0 until the work was done, -1 where it is not told.
    pub credits_used: f64,
    /// Seconds of video; -1 where it is not told.
    pub duration: f64,
}

impl JobFacts {
    /// Reads them; `None` where there is no job: no object, or no `id` that is a UUID.
    pub fn read<V: Value>(job: V) -> Option<Self> {
        if !is_uuid(job.get("id")) {
            return None;
        }
        let filled = |key: &'static str| job.get(key).matches(".");
        // What has no end, or more digits than a text is read with, is not told.
        let number = |key: &'static str| {
            let number = job.number_of(key);
            if (0.0..1e15).contains(&number) { number } else { -1.0 }
        };
        Some(Self {
            status: Status::parse(job.get("status")),
            progress: number("progress"),
            preview: filled("preview"),
            video: filled("video_output"),
            touched: job.get("updated_at").hash(0.0),
            credits_used: number("credits_used"),
            duration: number("duration"),
        })
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

/// Whether this is a UUID in its usual form.
pub fn is_uuid<V: Value>(text: V) -> bool {
    text.matches(UUID)
}

/// Checks the id of a job.
///
/// # Errors
/// `InvalidRequestError{field: "id"}`.
pub fn check_id<V: Value>(id: V) -> Result<(), Failure<V>> {
    if is_uuid(id) { Ok(()) } else { Err(refuse("id", "must be the UUID of a job")) }
}

/// What a field of a request must be.
struct Rule {
    field: &'static str,
    /// Whether only a `render` may leave it out.
    required: bool,
    kind: Kind,
    /// For texts.
    pattern: &'static str,
    advice: &'static str,
}

// Kept as data: a table that code builds weighs three times as much.
static RULES: [Rule; 6] = [
    Rule {
        field: "template_id",
        required: true,
        kind: Kind::Text,
        pattern: UUID,
        advice: "must be the UUID of a template; templates() lists yours",
    },
    Rule {
        field: "variables",
        required: true,
        kind: Kind::Object,
        pattern: "",
        advice: "must be a plain object; {} for a template without variables",
    },
    Rule {
        field: "name",
        required: false,
        kind: Kind::Text,
        pattern: NAME,
        advice: "must be a text of at most 255 characters",
    },
    Rule {
        field: "webhook_url",
        required: false,
        kind: Kind::Text,
        pattern: WEBHOOK_URL,
        advice: "must be an absolute http or https URL",
    },
    Rule {
        field: "webhook_url",
        required: false,
        kind: Kind::Text,
        pattern: WEBHOOK_URL_LENGTH,
        advice: "must be a text of at most 200 characters",
    },
    Rule { field: "is_hidden", required: false, kind: Kind::Bool, pattern: "", advice: "must be true or false" },
];

/// Checks what goes into the body of a charging call, before anything is sent; its fingerprint. Fields that are not
/// known here pass: the upstream may learn new ones.
///
/// For `render` the whole body is optional, and so is each field of it.
///
/// # Errors
/// `InvalidRequestError` with the path of the field to mend.
pub fn check_request<V: Value>(step: Step, request: V) -> Result<f64, Failure<V>> {
    let print = V::text(step.as_str()).hash(0.0);
    let optional = step == Step::Render;
    if optional && is_left_out(request) {
        return Ok(print);
    }
    if request.kind() != Kind::Object {
        return Err(refuse("request", "must be an object with template_id and variables"));
    }
    for rule in &RULES {
        let value = request.get(rule.field);
        let fits = value.kind() == rule.kind && (rule.pattern.is_empty() || value.matches(rule.pattern));
        if !(fits || (optional || !rule.required) && is_left_out(value)) {
            return Err(refuse(rule.field, rule.advice));
        }
    }
    // Whatever else is in it must survive JSON too. A field that is undefined is as good as absent.
    let keys = request.keys();
    let mut print = print;
    for index in 0.. {
        let key = keys.nth(index);
        if !key.is_there() {
            break;
        }
        let value = request.at(key);
        if value.is_there() {
            print = inspect(value, key, key.hash(print))?;
        }
    }
    Ok(print)
}

/// Whether an optional field is not given.
fn is_left_out<V: Value>(value: V) -> bool {
    matches!(value.kind(), Kind::Nothing | Kind::Null)
}
