//! The provider's data as structs: jobs, requests, variables and templates, to and from JavaScript by serde-wasm-bindgen.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::*;

use super::convert::text;
use super::host::snapshot;
use crate::api::{ModelVersion, Status};
use crate::error::{Error, ErrorKind, Refusal};
use crate::member::Member;

/// The variables of a template, by the names that the provider's editor shows.
pub type Variables = BTreeMap<String, Variable>;

/// One variable of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "properties", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Variable {
    /// A text on the screen or in the script.
    Text {
        /// The text.
        content: String,
    },
    /// An image.
    Image {
        /// Its public URL.
        url: String,
    },
    /// A video clip.
    Video {
        /// Its public URL.
        url: String,
    },
    /// Music or another sound.
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
        /// The id of an accent; the template's own by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        voice_id: Option<String>,
    },
}

impl Variable {
    /// A text.
    pub fn text(content: impl Into<String>) -> Self {
        Self::Text { content: content.into() }
    }

    /// An image, by its public URL.
    pub fn image(url: impl Into<String>) -> Self {
        Self::Image { url: url.into() }
    }
}

/// The request of a `submit` or a preview.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobRequest {
    /// The UUID of a template. `templates` lists yours.
    pub template_id: String,
    /// The template's variables.
    pub variables: Variables,
    /// The job's name on the provider's pages; at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The provider calls it when the job ends; absolute, at most 200 characters. `{operation}` in it becomes the operation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// The model of the avatar; the standard one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<ModelVersion>,
    /// Whether the job is hidden from the provider's project page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_hidden: Option<bool>,
    /// The length of the video in seconds, for the estimate that `max_credits` needs. Never sent.
    #[serde(default, skip_serializing)]
    pub seconds: Option<f64>,
}

/// The request of a `render`: the values that differ from the previewed job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RenderRequest {
    /// The template's variables; the job's own by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Variables>,
    /// As in [`JobRequest`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// As in [`JobRequest`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// As in [`JobRequest`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_version: Option<ModelVersion>,
    /// As in [`JobRequest`].
    #[serde(skip_serializing)]
    pub seconds: Option<f64>,
}

impl JobRequest {
    /// The JSON text that is sent.
    pub(super) fn to_json(&self) -> Result<String, Error<JsValue>> {
        to_json(self, Some(&self.variables))
    }
}

impl RenderRequest {
    /// The JSON text that is sent.
    pub(super) fn to_json(&self) -> Result<String, Error<JsValue>> {
        to_json(self, self.variables.as_ref())
    }
}

/// The JSON text of a request, by the same function as in the npm package, so that one request has one fingerprint.
fn to_json(request: &impl Serialize, variables: Option<&Variables>) -> Result<String, Error<JsValue>> {
    // This name would set the object's prototype.
    if variables.is_some_and(|variables| variables.contains_key("__proto__")) {
        return Err(Refusal::new("variables.__proto__", "cannot be a variable's name").into());
    }
    let value = to_js(request).map_err(|error| refused("request".into(), error.to_string()))?;
    json_of(&value, "request")
}

fn refused(field: String, message: String) -> Error<JsValue> {
    Error::new(ErrorKind::InvalidRequest { field }, message)
}

/// The JSON text of a caller's value. Errors name it `root`.
pub(super) fn json_of(value: &JsValue, root: &str) -> Result<String, Error<JsValue>> {
    snapshot(value, root).map_err(|refusal| {
        let [field, message] = ["field", "message"].map(|name| text(&refusal, name).unwrap_or_default());
        refused(field, message)
    })
}

fn to_js(value: &impl Serialize) -> Result<JsValue, serde_wasm_bindgen::Error> {
    value.serialize(&Serializer::json_compatible())
}

/// A job. A member that is missing or not of its documented type is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// A UUID.
    #[serde(deserialize_with = "text_or_empty")]
    pub id: String,
    /// The status as the provider spells it; see [`Job::status`].
    #[serde(deserialize_with = "text_or_empty")]
    pub status: String,
    /// The progress of the current step. The range is not documented; 0 to 1 was observed.
    #[serde(deserialize_with = "number")]
    pub progress: Option<f64>,
    /// The URL of a page that plays the preview.
    #[serde(deserialize_with = "lenient")]
    pub preview: Option<String>,
    /// The video's URL.
    #[serde(deserialize_with = "lenient")]
    pub video_output: Option<String>,
    /// The URL where the video can be edited, for 24 hours.
    #[serde(deserialize_with = "lenient")]
    pub editor_url: Option<String>,
    /// The reason of a failure.
    #[serde(deserialize_with = "lenient")]
    pub failed_reason: Option<String>,
    /// The job's cost in credits; 0 until the work is done.
    #[serde(deserialize_with = "number")]
    pub credits_used: Option<f64>,
    /// The length of the video, in seconds.
    #[serde(deserialize_with = "number")]
    pub duration: Option<f64>,
    /// As given.
    #[serde(deserialize_with = "lenient")]
    pub name: Option<String>,
    /// As given.
    #[serde(deserialize_with = "lenient")]
    pub webhook_url: Option<String>,
    /// As given.
    #[serde(deserialize_with = "lenient")]
    pub model_version: Option<String>,
    /// As given.
    #[serde(deserialize_with = "lenient")]
    pub is_hidden: Option<bool>,
    /// The id of the provider's media job behind it.
    #[serde(deserialize_with = "lenient")]
    pub media_job: Option<String>,
    /// When it was submitted, RFC 3339.
    #[serde(deserialize_with = "lenient")]
    pub created_at: Option<String>,
    /// When it last changed, RFC 3339.
    #[serde(deserialize_with = "lenient")]
    pub updated_at: Option<String>,
}

impl Job {
    /// The state of its current step.
    pub fn status(&self) -> Status {
        Status::parse(&self.status)
    }

    /// From the object that `JSON.parse` made.
    ///
    /// # Errors
    /// The value is no object.
    pub fn from_js(value: &JsValue) -> Result<Self, serde_wasm_bindgen::Error> {
        serde_wasm_bindgen::from_value(value.clone())
    }

    /// To a plain object.
    ///
    /// # Errors
    /// None is known.
    pub fn to_js(&self) -> Result<JsValue, serde_wasm_bindgen::Error> {
        to_js(self)
    }
}

/// A template of the account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Template {
    /// A UUID.
    #[serde(deserialize_with = "text_or_empty")]
    pub template_id: String,
    /// Its name in the editor.
    #[serde(deserialize_with = "text_or_empty")]
    pub name: String,
    /// The URL of an image or page of it.
    #[serde(deserialize_with = "lenient")]
    pub preview: Option<String>,
    /// Such as `9x16`.
    #[serde(deserialize_with = "lenient")]
    pub aspect_ratio: Option<String>,
    /// RFC 3339.
    #[serde(deserialize_with = "lenient")]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(deserialize_with = "lenient")]
    pub updated_at: Option<String>,
}

/// A member of this type, or `None`: a job that was paid for is read, whatever else its members hold.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient<T> {
        Value(T),
        Other(IgnoredAny),
    }
    Ok(match Lenient::deserialize(deserializer)? {
        Lenient::Value(value) => Some(value),
        Lenient::Other(_) => None,
    })
}

fn text_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(lenient(deserializer)?.unwrap_or_default())
}

/// A number, or the one that a string spells, as the core reads them.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(f64),
        Text(String),
    }
    Ok(match lenient(deserializer)? {
        Some(Number::Number(number)) => Some(number),
        Some(Number::Text(text)) => Member::Text(text).number(),
        None => None,
    })
}
