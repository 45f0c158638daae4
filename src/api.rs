//! The provider's contract: its seven endpoints, the fields and limits of a request, and the statuses of a job.
//!
//! Source: the provider's pages on `custom_template_jobs`, as gathered in the `OpenAPI` document under `tests/api`.

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

use std::fmt::Write as _;

use crate::error::Refusal;
use crate::member::Member;

/// The most characters of a job's `name`, in UTF-16 units as JavaScript counts them.
const NAME_LENGTH: usize = 255;
/// The most characters of a `webhook_url`, in UTF-16 units.
const WEBHOOK_URL_LENGTH: usize = 200;
/// The most characters of an operation id, in UTF-16 units.
const OPERATION_LENGTH: usize = 255;
/// The most bytes of the caller's own data of an operation, as JSON.
const METADATA_LENGTH: usize = 1024;
/// The part of a `webhook_url` that becomes the operation id, so that a webhook can settle a charge.
const PLACEHOLDER: &str = "{operation}";

/// A step that costs credits.
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
    /// The name that the journal and JavaScript see.
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

    /// The result that a job is waited for after this step.
    pub const fn goal(self) -> Goal {
        match self {
            Self::Preview => Goal::Preview,
            Self::Submit | Self::Render => Goal::Video,
        }
    }
}

/// The condition that ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// `preview` is set.
    Preview,
    /// `video_output` is set.
    Video,
    /// The first `done`: for a job that this client did not start.
    Done,
    /// No step is in progress, or the video is ready: a render waits for this before it decides.
    Settled,
}

impl Goal {
    /// The goal of that name, as the option `until` has it.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "preview" => Self::Preview,
            "video" => Self::Video,
            "done" => Self::Done,
            _ => return None,
        })
    }
}

/// The endpoints.
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
    /// `GET /operations?key=` of a relay: the state of an operation.
    Operation,
}

impl Endpoint {
    /// The step that the endpoint charges for; `None` for one that reads.
    pub const fn charges(self) -> Option<Step> {
        match self {
            Self::Submit => Some(Step::Submit),
            Self::PreviewSync | Self::PreviewAsync => Some(Step::Preview),
            Self::Render => Some(Step::Render),
            Self::Get | Self::Templates | Self::RemainingCredits | Self::Operation => None,
        }
    }

    /// The HTTP method.
    pub const fn method(self) -> &'static str {
        if self.charges().is_some() { "POST" } else { "GET" }
    }

    /// The path below the base URL. `id` is the job's, or the operation's, percent-encoded. The provider's paths end in a slash:
    /// without one it redirects, and a redirected POST loses its body.
    pub fn path(self, id: &str) -> String {
        match self {
            Self::Submit => "/api/custom_template_jobs/".into(),
            Self::PreviewSync => "/api/custom_template_jobs/preview/".into(),
            Self::PreviewAsync => "/api/custom_template_jobs/preview_async/".into(),
            Self::Render => format!("/api/custom_template_jobs/{id}/render/"),
            Self::Get => format!("/api/custom_template_jobs/{id}/"),
            Self::Templates => "/api/custom_templates/".into(),
            Self::RemainingCredits => "/api/remaining_credits/".into(),
            Self::Operation => format!("/operations?key={id}"),
        }
    }
}

/// The state of a job's current step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Accepted.
    Pending,
    /// Waiting for a machine.
    InQueue,
    /// In progress.
    Running,
    /// The step's result is ready.
    Done,
    /// The step failed.
    Failed,
    /// The provider refused the step.
    Rejected,
    /// A status that is not documented.
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

    /// Whether the step is in progress.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::InQueue | Self::Running)
    }

    /// Whether the step ended without a result.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Rejected)
    }
}

/// The model of a template's avatar, which sets the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
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
    /// The provider's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::AuroraV1 => "aurora_v1",
            Self::AuroraV1Fast => "aurora_v1_fast",
        }
    }

    /// Reads the member `model_version`.
    ///
    /// # Errors
    /// A refusal of `model_version`.
    pub fn read(member: &Member) -> Result<Self, Refusal> {
        match member {
            Member::Unset => return Ok(Self::Standard),
            Member::Text(name) => match name.as_str() {
                "standard" => return Ok(Self::Standard),
                "aurora_v1" => return Ok(Self::AuroraV1),
                "aurora_v1_fast" => return Ok(Self::AuroraV1Fast),
                _ => {}
            },
            _ => {}
        }
        let advice = "must be standard, aurora_v1 or aurora_v1_fast; a newer model goes into the option extra";
        Err(Refusal::new("model_version", advice))
    }
}

/// The members of a request that the core checks, in the order of [`JobRequest::NAMES`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobRequest {
    /// `template_id`
    pub template_id: Member,
    /// `variables`
    pub variables: Member,
    /// `name`
    pub name: Member,
    /// `webhook_url`
    pub webhook_url: Member,
    /// `model_version`
    pub model_version: Member,
    /// `is_hidden`
    pub is_hidden: Member,
}

impl JobRequest {
    /// The names of the members.
    pub const NAMES: [&'static str; 6] = ["template_id", "variables", "name", "webhook_url", "model_version", "is_hidden"];

    /// From the members of those names.
    pub fn new([template_id, variables, name, webhook_url, model_version, is_hidden]: [Member; 6]) -> Self {
        Self { template_id, variables, name, webhook_url, model_version, is_hidden }
    }

    /// Checks the members before anything is sent, and returns the requested model. For a render every member is optional.
    ///
    /// # Errors
    /// A refusal of the first member that the provider would refuse.
    pub fn check(&self, step: Step) -> Result<ModelVersion, Refusal> {
        let optional = step == Step::Render;
        let unset = |member: &Member| optional && *member == Member::Unset;
        if !(self.template_id.text().is_some_and(is_uuid) || unset(&self.template_id)) {
            return Err(Refusal::new("template_id", "must be the UUID of a template; templates() lists yours"));
        }
        if !(self.variables == Member::Object || unset(&self.variables)) {
            return Err(Refusal::new("variables", "must be a plain object; {} for a template without variables"));
        }
        match &self.name {
            Member::Unset => {}
            Member::Text(name) if length(name) <= NAME_LENGTH => {}
            _ => return Err(Refusal::new("name", "must be a text of at most 255 characters")),
        }
        match &self.webhook_url {
            Member::Unset => {}
            Member::Text(url) => check_webhook_url(url)?,
            _ => return Err(Refusal::new("webhook_url", NOT_A_URL)),
        }
        if !matches!(self.is_hidden, Member::Unset | Member::Bool(_)) {
            return Err(Refusal::new("is_hidden", "must be true or false"));
        }
        ModelVersion::read(&self.model_version)
    }
}

const NOT_A_URL: &str = "must be an absolute http or https URL";

fn check_webhook_url(url: &str) -> Result<(), Refusal> {
    let rest = strip_scheme(url).filter(|rest| {
        let begins = rest.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'[');
        begins && !rest.chars().any(|char| char.is_whitespace() || char.is_control() || char == '\u{feff}')
    });
    if rest.is_none() {
        return Err(Refusal::new("webhook_url", NOT_A_URL));
    }
    // With the placeholder in it, the limit holds for the URL that is sent.
    if length(url) > WEBHOOK_URL_LENGTH && split_at_placeholder(url).is_none() {
        return Err(Refusal::new("webhook_url", "must be a text of at most 200 characters"));
    }
    Ok(())
}

fn strip_scheme(url: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// The text before and after the first placeholder.
fn split_at_placeholder(url: &str) -> Option<(&str, &str)> {
    url.match_indices('{').find_map(|(at, _)| {
        let (before, rest) = url.split_at_checked(at)?;
        Some((before, rest.strip_prefix(PLACEHOLDER)?))
    })
}

/// The `webhook_url` with the operation id, percent-encoded, in place of `{operation}`; `None` where it has no
/// placeholder.
///
/// # Errors
/// A refusal of `webhook_url` where the placeholder stands outside of the path and the query, where a proxy would
/// change the id (`.` and `..` as a part of a path), or where the URL becomes longer than 200 characters.
pub fn fill_webhook_url(url: &str, operation: &str) -> Result<Option<String>, Refusal> {
    let refuse = |advice: &str| Err(Refusal::new("webhook_url", advice));
    let (mut filled, mut rest) = (String::new(), url);
    while let Some((before, after)) = split_at_placeholder(rest) {
        filled.push_str(before);
        let address = strip_scheme(&filled).unwrap_or_default();
        let in_query = address.contains('?');
        if address.contains('#') || !in_query && !address.contains('/') {
            return refuse("may have {operation} in its path and its query only");
        }
        if !in_query && matches!(operation, "." | "..") {
            return refuse("cannot carry this operation id in its path; put {operation} into the query");
        }
        filled.push_str(&percent_encode(operation));
        rest = after;
    }
    if filled.is_empty() {
        return Ok(None);
    }
    filled.push_str(rest);
    if length(&filled) > WEBHOOK_URL_LENGTH {
        return refuse("must be at most 200 characters, with the operation id in place of {operation}");
    }
    Ok(Some(filled))
}

/// Encodes as JavaScript's `encodeURIComponent` does.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Whether this is a UUID in its usual form, in either case.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The id of a job, lower-cased: two spellings are one job.
///
/// # Errors
/// A refusal of `id`.
pub fn job_id(id: &str) -> Result<String, Refusal> {
    if is_uuid(id) { Ok(id.to_ascii_lowercase()) } else { Err(Refusal::new("id", "must be the UUID of a job")) }
}

/// Checks a variable: an object with `type` and `properties`. The provider would charge for a plain text and not show it.
///
/// # Errors
/// A refusal of the variable.
pub fn check_variable(name: &str, kind: &Member, properties: &Member) -> Result<(), Refusal> {
    if kind.filled().is_some() && *properties == Member::Object {
        return Ok(());
    }
    let advice = "must be an object with type and properties; text(), image() and their like make them";
    Err(Refusal::new(String::from("variables.") + name, advice))
}

/// Checks a number that an option gives: it must be above 0, or 0 where that is a number that it may be.
///
/// # Errors
/// A refusal of the option.
pub fn check_number(option: &str, number: Option<f64>, or_zero: bool) -> Result<(), Refusal> {
    match number {
        Some(number) if !(number > 0.0 || or_zero && number == 0.0) => {
            Err(Refusal::new(option, if or_zero { "must be a number, 0 or more" } else { "must be a number above 0" }))
        }
        _ => Ok(()),
    }
}

/// The JSON text of an object with the members of both; neither has a name of the other's.
pub fn merged(object: Option<&str>, other: &str) -> String {
    match (object.and_then(|object| object.strip_suffix('}')), other.strip_prefix('{')) {
        (Some("{") | None, _) | (_, None) => other.into(),
        (Some(object), Some(rest)) => {
            let mut text = String::from(object);
            if rest != "}" {
                text.push(',');
            }
            text.push_str(rest);
            text
        }
    }
}

/// Checks the caller's own data of an operation: JSON text.
///
/// # Errors
/// A refusal of `metadata`.
pub fn check_metadata(json: &str) -> Result<(), Refusal> {
    if json.len() <= METADATA_LENGTH { Ok(()) } else { Err(Refusal::new("metadata", "must be at most 1 KB of JSON")) }
}

/// Checks an operation id.
///
/// # Errors
/// A refusal of `operation`.
pub fn check_operation(operation: &str) -> Result<(), Refusal> {
    if (1..=OPERATION_LENGTH).contains(&length(operation)) {
        return Ok(());
    }
    Err(Refusal::new("operation", "must be 1 to 255 characters"))
}

/// The length in UTF-16 units.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}
