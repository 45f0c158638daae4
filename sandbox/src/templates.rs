//! Templates: the built-in ones, and the file of `--templates`.
//!
//! A file given with `--templates` is a JSON array (see [`from_json`] for every field):
//!
//! ```json
//! [
//!   {
//!     "template_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
//!     "name": "Spring sale",
//!     "aspect_ratio": "9:16",
//!     "duration_seconds": 15,
//!     "variables": [
//!       { "name": "headline", "type": "text", "label": "Headline", "default": "Everything 20% off" },
//!       { "name": "photo", "type": "image", "default": "https://example.com/photo.jpg" }
//!     ]
//!   }
//! ]
//! ```

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// A variable type of the provider's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VariableType {
    /// A text.
    Text,
    /// The URL of an image.
    Image,
    /// The URL of a video.
    Video,
    /// The URL of a sound.
    Audio,
    /// The id of an avatar.
    Avatar,
    /// The id of a voice.
    Voiceover,
}

impl VariableType {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Avatar => "avatar",
            Self::Voiceover => "voiceover",
        }
    }

    /// The property that holds the value of this type.
    // observed: the names of the properties in `variables`, which three independent clients share.
    pub fn property(self) -> &'static str {
        match self {
            Self::Text => "content",
            Self::Image | Self::Video | Self::Audio => "url",
            Self::Avatar => "avatar_id",
            Self::Voiceover => "voice_id",
        }
    }
}

/// How every job of a template ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Behaviour {
    /// With a result.
    #[default]
    Done,
    /// With `failed` and a reason.
    Failed,
    /// With `rejected` and a reason.
    Rejected,
}

impl Behaviour {
    /// The name in `GET /__sandbox/templates`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// A variable of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its key in `variables`.
    pub name: String,
    /// Its type.
    pub kind: VariableType,
    /// Its label in a form.
    pub label: String,
    /// A valid value: text, a URL or an id. `{origin}` stands for the origin of the sandbox.
    pub default: String,
}

/// A custom template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// For instance `9:16`.
    pub aspect_ratio: String,
    /// Width of its video in pixels; even.
    pub width: u32,
    /// Height of its video in pixels; even.
    pub height: u32,
    /// Length of its video in seconds.
    pub seconds: f64,
    /// The end of its jobs.
    pub behaviour: Behaviour,
    /// Start and end of the background gradient, and the accent: `0xRRGGBB`.
    pub colors: [u32; 3],
    /// The time of its creation.
    pub created_at: String,
    /// The time of its last change.
    pub updated_at: String,
    /// The variables that a job fills in.
    pub variables: Vec<Variable>,
}

impl Template {
    /// An element of `GET /api/custom_templates/`.
    // documented: a template in the list has exactly these six fields, all of them strings.
    pub fn public(&self, origin: &str) -> Value {
        json!({
            "template_id": self.id.to_string(),
            "name": self.name,
            "preview": format!("{origin}/preview/template/{}", self.id),
            "aspect_ratio": self.aspect_ratio,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }

    /// An element of `GET /__sandbox/templates`, with everything that a form needs.
    pub fn detail(&self, origin: &str) -> Value {
        let variables: Vec<Value> = self
            .variables
            .iter()
            .map(|variable| {
                json!({
                    "name": variable.name,
                    "type": variable.kind.name(),
                    "label": variable.label,
                    "default": variable.default.replace("{origin}", origin),
                })
            })
            .collect();
        json!({
            "template_id": self.id.to_string(),
            "name": self.name,
            "aspect_ratio": self.aspect_ratio,
            "width": self.width,
            "height": self.height,
            "duration_seconds": self.seconds,
            "behaviour": self.behaviour.name(),
            "variables": variables,
        })
    }

    /// The defaults, in the form of a job's `variables`.
    pub fn defaults(&self, origin: &str) -> serde_json::Map<String, Value> {
        self.variables
            .iter()
            .map(|variable| {
                let value = variable.default.replace("{origin}", origin);
                let value = json!({
                    "type": variable.kind.name(),
                    "properties": { variable.kind.property(): value },
                });
                (variable.name.clone(), value)
            })
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateEntry {
    template_id: Uuid,
    name: String,
    aspect_ratio: String,
    width: Option<u32>,
    height: Option<u32>,
    duration_seconds: f64,
    #[serde(default)]
    behaviour: Behaviour,
    colors: Option<[String; 3]>,
    #[serde(default)]
    variables: Vec<VariableEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariableEntry {
    name: String,
    #[serde(rename = "type")]
    kind: VariableType,
    label: Option<String>,
    #[serde(default)]
    default: String,
}

/// Parses a file of templates.
///
/// Required are `template_id` (a UUID), `name`, `aspect_ratio` (two numbers such as `"9:16"`) and `duration_seconds` (up to
/// 600). Optional are `variables`, `width` and `height` (pixels, even, 64 to 1920), `behaviour` (`"done"`, `"failed"` or
/// `"rejected"`) and `colors` (start and end of the background gradient, and the accent, as `"#rrggbb"`). A variable
/// requires `name` and `type`; `label` and `default` are optional.
///
/// # Errors
/// If the file is invalid; the text names the template and the reason.
pub fn from_json(text: &str) -> Result<Vec<Template>, String> {
    let entries: Vec<Value> =
        serde_json::from_str(text).map_err(|error| format!("the file must be a JSON array of templates: {error}"))?;
    if entries.is_empty() {
        return Err("the array contains no template".to_owned());
    }
    let mut templates: Vec<Template> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let template = from_entry(entry).map_err(|error| format!("template {index}: {error}"))?;
        if templates.iter().any(|other| other.id == template.id) {
            return Err(format!("template {index}: the template_id {} is already used", template.id));
        }
        templates.push(template);
    }
    Ok(templates)
}

fn from_entry(entry: Value) -> Result<Template, String> {
    let entry: TemplateEntry = serde_json::from_value(entry).map_err(|error| error.to_string())?;
    let seconds = entry.duration_seconds;
    if !(seconds > 0.0 && seconds <= 600.0) {
        return Err(format!("duration_seconds is {seconds}; it must be above 0 and at most 600"));
    }
    let (width, height) = match (entry.width, entry.height) {
        (Some(width), Some(height)) => (width, height),
        (None, None) => size_of(&entry.aspect_ratio)?,
        _ => return Err("width and height must be given together".to_owned()),
    };
    for (name, pixels) in [("width", width), ("height", height)] {
        if !(64..=1920).contains(&pixels) || !pixels.is_multiple_of(2) {
            return Err(format!("{name} is {pixels}; it must be even, from 64 to 1920"));
        }
    }
    let colors = match entry.colors {
        None => palette_of(entry.template_id),
        Some([from, to, accent]) => [color(&from)?, color(&to)?, color(&accent)?],
    };
    let variables = entry
        .variables
        .into_iter()
        .map(|variable| Variable {
            label: variable.label.unwrap_or_else(|| label_of(&variable.name)),
            name: variable.name,
            kind: variable.kind,
            default: variable.default,
        })
        .collect();
    Ok(Template {
        id: entry.template_id,
        name: entry.name,
        aspect_ratio: entry.aspect_ratio,
        width,
        height,
        seconds,
        behaviour: entry.behaviour,
        colors,
        created_at: "2026-03-02T09:30:00.000000Z".to_owned(),
        updated_at: "2026-03-02T09:30:00.000000Z".to_owned(),
        variables,
    })
}

fn size_of(aspect_ratio: &str) -> Result<(u32, u32), String> {
    let sides = aspect_ratio.split_once([':', 'x']).and_then(|(w, h)| {
        let (w, h) = (w.parse::<f64>().ok()?, h.parse::<f64>().ok()?);
        (w > 0.0 && h > 0.0).then_some((w, h))
    });
    let Some((w, h)) = sides else {
        return Err(format!("aspect_ratio is {aspect_ratio:?}; write two numbers, such as \"9:16\""));
    };
    let even = |pixels: f64| ((pixels / 2.0).round() as u32 * 2).clamp(64, 1920);
    Ok(if w < h { (720, even(720.0 * h / w)) } else { (even(720.0 * w / h), 720) })
}

fn color(text: &str) -> Result<u32, String> {
    text.strip_prefix('#')
        .filter(|digits| digits.len() == 6)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or_else(|| format!("the colour {text:?} is not of the form \"#rrggbb\""))
}

fn palette_of(id: Uuid) -> [u32; 3] {
    const PALETTES: [[u32; 3]; 5] = [INK, FOREST, PLUM, OCEAN, EMBER];
    let pick = id.as_u128() % PALETTES.len() as u128;
    PALETTES.get(pick as usize).copied().unwrap_or(INK)
}

/// The label of a variable without one: `company_name` becomes `Company name`.
fn label_of(name: &str) -> String {
    let mut label = name.replace('_', " ");
    if let Some(first) = label.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    label
}

const INK: [u32; 3] = [0x0011_1827, 0x0037_3f8f, 0x00ff_c857];
const FOREST: [u32; 3] = [0x000b_2b26, 0x0023_6b57, 0x00f5_e663];
const PLUM: [u32; 3] = [0x002a_1038, 0x007a_2e6b, 0x00ff_b3c1];
const OCEAN: [u32; 3] = [0x0006_2a4a, 0x001b_7f9e, 0x00ff_d6a5];
const EMBER: [u32; 3] = [0x0039_1313, 0x00b3_4a2c, 0x00ff_e3b8];
const SLATE: [u32; 3] = [0x001c_1f26, 0x0049_5061, 0x00ff_9b85];

/// The built-in templates.
pub fn built_in() -> Vec<Template> {
    use VariableType::{Audio, Avatar, Image, Text, Video, Voiceover};
    let make = |id: u128,
                name: &str,
                aspect_ratio: &str,
                seconds: f64,
                behaviour: Behaviour,
                colors: [u32; 3],
                day: u32,
                variables: &[(&str, VariableType, &str, &str)]| {
        let (width, height) = size_of(aspect_ratio).unwrap_or((720, 720));
        Template {
            id: Uuid::from_u128(id),
            name: name.to_owned(),
            aspect_ratio: aspect_ratio.to_owned(),
            width,
            height,
            seconds,
            behaviour,
            colors,
            created_at: format!("2026-02-{day:02}T10:24:11.482913Z"),
            updated_at: format!("2026-03-{day:02}T16:05:42.107358Z"),
            variables: variables
                .iter()
                .map(|(name, kind, label, default)| Variable {
                    name: (*name).to_owned(),
                    kind: *kind,
                    label: (*label).to_owned(),
                    default: (*default).to_owned(),
                })
                .collect(),
        }
    };
    vec![
        make(
            0x7e3a_1c52_0b6d_4f0e_9a41_5d2c_8b7f_0001,
            "Product teaser",
            "9:16",
            6.0,
            Behaviour::Done,
            INK,
            3,
            &[
                ("headline", Text, "Headline", "Mornings, made simple"),
                ("offer", Text, "Offer", "20% off your first month"),
                ("product_image", Image, "Product image", "{origin}/samples/coffee.png"),
            ],
        ),
        make(
            0x7e3a_1c52_0b6d_4f0e_9a41_5d2c_8b7f_0002,
            "Launch announcement",
            "16:9",
            15.0,
            Behaviour::Done,
            OCEAN,
            5,
            &[
                ("company_name", Text, "Company", "Northwind"),
                ("headline", Text, "Headline", "Meet the new Northwind"),
                ("call_to_action", Text, "Call to action", "Try it free today"),
                ("hero_image", Image, "Hero image", "{origin}/samples/skyline.png"),
                ("clip", Video, "Clip", "https://example.com/media/launch.mp4"),
                ("music", Audio, "Music", "https://example.com/media/upbeat.mp3"),
            ],
        ),
        make(
            0x7e3a_1c52_0b6d_4f0e_9a41_5d2c_8b7f_0003,
            "Customer story",
            "9:16",
            30.0,
            Behaviour::Done,
            PLUM,
            9,
            &[
                ("quote", Text, "Quote", "We plan the whole week in ten minutes now, and the team actually enjoys it."),
                ("customer_name", Text, "Customer", "Amara Okafor"),
                ("customer_role", Text, "Role", "Head of Operations, Fernhill"),
                ("host", Avatar, "Presenter", "5f6c9d1e-3a2b-4c4d-8e5f-6a7b8c9d0e1f"),
                ("voice", Voiceover, "Voice", "0d4b7c2a-91f3-4e58-b6a7-2c3d4e5f6a7b"),
            ],
        ),
        make(
            0x7e3a_1c52_0b6d_4f0e_9a41_5d2c_8b7f_0004,
            "Weekend sale",
            "1:1",
            15.0,
            Behaviour::Done,
            EMBER,
            12,
            &[
                ("product_name", Text, "Product", "Trail runner 3"),
                ("price", Text, "Price", "$89, until Sunday"),
                ("product_image", Image, "Product image", "{origin}/samples/shoe.png"),
            ],
        ),
        make(
            0x7e3a_1c52_0b6d_4f0e_9a41_5d2c_8b7f_0005,
            "Property tour",
            "16:9",
            45.0,
            Behaviour::Done,
            FOREST,
            17,
            &[
                ("address", Text, "Address", "14 Juniper Lane, Bristol"),
                ("price", Text, "Price", "£640,000"),
                ("summary", Text, "Summary", "Three bedrooms, a walled garden and the park across the road."),
                ("agent", Text, "Agent", "Call Priya Shah: 0117 496 0123"),
                ("image_1", Image, "Front", "{origin}/samples/house.png"),
                ("image_2", Image, "Garden", "{origin}/samples/garden.png"),
                ("voice", Voiceover, "Voice", "0d4b7c2a-91f3-4e58-b6a7-2c3d4e5f6a7b"),
                ("music", Audio, "Music", "https://example.com/media/calm.mp3"),
            ],
        ),
        make(
            0x7e3a_1c52_0b6d_4f0e_9a41_5d2c_8b7f_0006,
            "Always fails",
            "9:16",
            10.0,
            Behaviour::Failed,
            SLATE,
            20,
            &[("headline", Text, "Headline", "This job ends as failed")],
        ),
        make(
            0x7e3a_1c52_0b6d_4f0e_9a41_5d2c_8b7f_0007,
            "Always rejected",
            "16:9",
            10.0,
            Behaviour::Rejected,
            SLATE,
            21,
            &[("headline", Text, "Headline", "This job ends as rejected")],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_list_has_only_the_documented_fields() {
        for template in built_in() {
            let public = template.public("http://127.0.0.1:1");
            let keys: Vec<_> = public.as_object().unwrap().keys().cloned().collect();
            assert_eq!(keys, ["template_id", "name", "preview", "aspect_ratio", "created_at", "updated_at"]);
            assert!(public.as_object().unwrap().values().all(Value::is_string));
        }
    }

    #[test]
    fn optional_fields_of_a_template_have_defaults() {
        let templates = from_json(
            r#"[{"template_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "name": "Mine", "aspect_ratio": "9:16",
                 "duration_seconds": 15, "variables": [{"name": "company_name", "type": "text"}]}]"#,
        )
        .unwrap();
        assert_eq!((templates[0].width, templates[0].height), (720, 1280));
        assert_eq!(templates[0].variables[0].label, "Company name");
    }

    #[test]
    fn an_invalid_file_is_refused_with_the_template_and_the_reason() {
        let template = |extra: &str| {
            format!(
                r#"[{{"template_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "name": "A", "aspect_ratio": "9:16"{extra}}}]"#
            )
        };
        for (text, wanted) in [
            ("{}".to_owned(), "JSON array"),
            ("[]".to_owned(), "no template"),
            ("[{".to_owned(), "line 1"),
            (template(""), "template 0: missing field `duration_seconds`"),
            (template(r#", "duration_seconds": 0"#), "above 0"),
            (template(r#", "duration_seconds": 5, "width": 101, "height": 100"#), "even"),
            (template(r#", "duration_seconds": 5, "colour": 1"#), "unknown field `colour`"),
            (template(r#", "duration_seconds": 5, "variables": [{"name": "a", "type": "img"}]"#), "unknown variant `img`"),
        ] {
            let error = from_json(&text).expect_err(&text);
            assert!(error.contains(wanted), "{error:?} does not say {wanted:?}");
        }
    }
}
