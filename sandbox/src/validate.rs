//! Validation of request bodies, with errors in the form of Django REST Framework.

use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use crate::{addresses, samples};

// documented: the maximum lengths of `name` and `webhook_url`.
const NAME_LIMIT: usize = 255;
const URL_LIMIT: usize = 200;
const VARIABLES_LIMIT: usize = 1_000;
const TEXT_LIMIT: usize = 100_000;

// assumed: an invalid field gets the framework's error text. The documentation declares no 4xx answer.
const REQUIRED: &str = "This field is required.";
const NOT_NULL: &str = "This field may not be null.";

/// The avatar model of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ModelVersion {
    /// `standard`, the default.
    #[default]
    Standard,
    /// `aurora_v1`.
    AuroraV1,
    /// `aurora_v1_fast`.
    AuroraV1Fast,
}

impl ModelVersion {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::AuroraV1 => "aurora_v1",
            Self::AuroraV1Fast => "aurora_v1_fast",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Standard, Self::AuroraV1, Self::AuroraV1Fast].into_iter().find(|model| model.name() == name)
    }
}

/// The fields of a request body; `None` for a missing field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    /// The template to fill.
    pub template_id: Option<Uuid>,
    /// The variables, unchanged.
    pub variables: Option<Map<String, Value>>,
    /// The video's name; `Some(None)` for an explicit null.
    pub name: Option<Option<String>>,
    /// The receiver of webhooks; `Some(None)` for an explicit null.
    pub webhook_url: Option<Option<String>>,
    /// The avatar model.
    pub model_version: Option<ModelVersion>,
    /// Whether the provider's website hides the job.
    pub is_hidden: Option<bool>,
}

/// The fields that a call requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// `template_id` and `variables`, for a new job.
    TemplateAndVariables,
    /// No field. Fields that are present are validated.
    Nothing,
}

/// Parses and validates a JSON body.
///
/// # Errors
/// The body of the 400 answer.
pub fn read(body: &[u8], needs: Needs) -> Result<Fields, Value> {
    // assumed: an empty body counts as an object without fields, as in the framework.
    let value = if body.is_empty() { json!({}) } else { parse(body)? };
    let object = match value {
        Value::Object(object) => object,
        Value::Null => return Err(json!({"non_field_errors": ["No data provided"]})),
        other => {
            let message = format!("Invalid data. Expected a dictionary, but got {}.", python_type(&other));
            return Err(json!({"non_field_errors": [message]}));
        }
    };
    let mut errors = Map::new();
    let mut refuse = |field: &str, message: &str| {
        errors.insert(field.to_owned(), json!([message]));
    };
    let mut fields = Fields::default();
    let wanted = needs == Needs::TemplateAndVariables;

    match object.get("name") {
        None => {}
        Some(Value::Null) => fields.name = Some(None),
        Some(value) => match text(value) {
            Err(message) => refuse("name", message),
            Ok(name) if name.chars().count() > NAME_LIMIT => {
                refuse("name", &too_long(NAME_LIMIT));
            }
            Ok(name) => fields.name = Some(Some(name)),
        },
    }
    match object.get("template_id") {
        None if wanted => refuse("template_id", REQUIRED),
        None => {}
        Some(Value::Null) => refuse("template_id", NOT_NULL),
        Some(value) => match value.as_str().and_then(|id| Uuid::try_parse(id).ok()) {
            Some(id) => fields.template_id = Some(id),
            None => refuse("template_id", "Must be a valid UUID."),
        },
    }
    match object.get("variables") {
        None if wanted => refuse("variables", REQUIRED),
        None => {}
        Some(Value::Null) => refuse("variables", NOT_NULL),
        Some(Value::Object(variables)) => match too_much(variables) {
            Some(message) => refuse("variables", &message),
            None => fields.variables = Some(variables.clone()),
        },
        Some(other) => {
            refuse("variables", &format!("Expected a dictionary of items but got type \"{}\".", python_type(other)));
        }
    }
    match object.get("webhook_url") {
        None => {}
        Some(Value::Null) => fields.webhook_url = Some(None),
        Some(value) => match text(value) {
            Err(message) => refuse("webhook_url", message),
            Ok(address) if address.chars().count() > URL_LIMIT => {
                refuse("webhook_url", &too_long(URL_LIMIT));
            }
            Ok(address) if !is_url(&address) => refuse("webhook_url", "Enter a valid URL."),
            Ok(address) => fields.webhook_url = Some(Some(address)),
        },
    }
    match object.get("model_version") {
        None => {}
        Some(Value::Null) => refuse("model_version", NOT_NULL),
        Some(value) => {
            let given = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match ModelVersion::parse(&given) {
                Some(model) => fields.model_version = Some(model),
                None => refuse("model_version", &format!("\"{given}\" is not a valid choice.")),
            }
        }
    }
    match object.get("is_hidden") {
        None => {}
        Some(Value::Null) => refuse("is_hidden", NOT_NULL),
        Some(value) => match boolean(value) {
            Some(hidden) => fields.is_hidden = Some(hidden),
            None => refuse("is_hidden", "Must be a valid boolean."),
        },
    }
    if errors.is_empty() { Ok(fields) } else { Err(Value::Object(errors)) }
}

fn parse(body: &[u8]) -> Result<Value, Value> {
    let reason = match std::str::from_utf8(body) {
        Err(error) => {
            let at = error.valid_up_to();
            let byte = body.get(at).copied().unwrap_or_default();
            format!("'utf-8' codec can't decode byte 0x{byte:02x} in position {at}: invalid start byte")
        }
        Ok(text) => match serde_json::from_str(text) {
            Ok(value) => return Ok(value),
            Err(error) => {
                let before: usize =
                    text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(|line| line.chars().count()).sum();
                let column = error.column().max(1);
                format!("Expecting value: line {} column {column} (char {})", error.line(), before + column - 1)
            }
        },
    };
    Err(json!({"detail": format!("JSON parse error - {reason}")}))
}

fn too_long(limit: usize) -> String {
    format!("Ensure this field has no more than {limit} characters.")
}

/// The error for variables that exceed a limit.
// assumed: variables are not checked against the template. Unknown, missing and mistyped ones are accepted.
// assumed: the number and the length of variables are limited, far above every real template.
fn too_much(variables: &Map<String, Value>) -> Option<String> {
    if variables.len() > VARIABLES_LIMIT {
        return Some(format!("Ensure this field has no more than {VARIABLES_LIMIT} elements."));
    }
    let long = variables.iter().any(|(name, value)| name.len() > TEXT_LIMIT || holds_long_text(value));
    long.then(|| format!("Ensure no text has more than {TEXT_LIMIT} characters."))
}

/// The error for the first media URL that the provider could not fetch.
// assumed: a media URL at a private or loopback address gets a 400 before anything is charged. A job that fails later is as
// likely.
pub fn refuse_unreachable(variables: &Map<String, Value>) -> Option<Value> {
    let unreachable = |value: &Value| {
        let url = Url::parse(value["properties"]["url"].as_str()?).ok()?;
        (addresses::is_local(&url) && samples::at(&url).is_none()).then_some(url)
    };
    let (name, url) = variables.iter().find_map(|(name, value)| Some((name, unreachable(value)?)))?;
    let place = url.host_str().map_or_else(|| format!("a {}: URL", url.scheme()), str::to_owned);
    let words = format!(
        "The provider could not fetch \"{name}\" from {place}, which only this machine or its network can reach. \
         The sandbox accepts such URLs with --lenient-urls."
    );
    Some(json!({"variables": [words]}))
}

/// Whether a value contains a text above the limit. The JSON parser bounds the recursion.
fn holds_long_text(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > TEXT_LIMIT && text.chars().count() > TEXT_LIMIT,
        Value::Array(values) => values.iter().any(holds_long_text),
        Value::Object(values) => values.iter().any(|(name, value)| name.len() > TEXT_LIMIT || holds_long_text(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

// assumed: a number is accepted as text, and surrounding white space is removed, as in the framework.
fn text(value: &Value) -> Result<String, &'static str> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return Err("Not a valid string."),
    };
    if text.contains('\0') {
        return Err("Null characters are not allowed.");
    }
    Ok(text)
}

// assumed: 0, 1 and words such as `yes` are accepted as booleans, as in the framework.
fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => None,
        },
        Value::String(word) => match word.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

// assumed: webhook URLs are validated as in the framework. Loopback addresses are accepted, although the provider could not
// reach them.
fn is_url(address: &str) -> bool {
    if address.chars().any(char::is_whitespace) {
        return false;
    }
    let Ok(url) = Url::parse(address) else {
        return false;
    };
    if !matches!(url.scheme(), "http" | "https" | "ftp" | "ftps") || !address.contains("://") {
        return false;
    }
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.contains('.'),
        Some(_) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "3c90c3cc-0d44-4b50-8888-8dd25736052a";

    fn refused(body: &str) -> Value {
        read(body.as_bytes(), Needs::TemplateAndVariables).expect_err(body)
    }

    fn with(field: &str, value: Value) -> Result<Fields, Value> {
        let mut body = json!({"template_id": TEMPLATE, "variables": {}});
        body[field] = value;
        read(body.to_string().as_bytes(), Needs::TemplateAndVariables)
    }

    #[test]
    fn the_error_names_each_missing_field() {
        assert_eq!(refused("{}"), json!({"template_id": [REQUIRED], "variables": [REQUIRED]}));
        assert_eq!(refused(""), json!({"template_id": [REQUIRED], "variables": [REQUIRED]}));
    }

    #[test]
    fn a_body_that_is_not_an_object_is_refused_with_its_type() {
        for (body, kind) in [("[]", "list"), ("3", "int"), ("1.5", "float"), ("\"a\"", "str")] {
            let message = format!("Invalid data. Expected a dictionary, but got {kind}.");
            assert_eq!(refused(body), json!({"non_field_errors": [message]}));
        }
        assert_eq!(refused("null"), json!({"non_field_errors": ["No data provided"]}));
    }

    #[test]
    fn the_error_for_invalid_json_has_its_position() {
        assert_eq!(refused("{\"a\": }"), json!({"detail": "JSON parse error - Expecting value: line 1 column 7 (char 6)"}));
        let error = read(b"{\"a\": \"\xff\"}", Needs::Nothing).expect_err("not UTF-8");
        assert!(error["detail"].as_str().unwrap().contains("0xff"), "{error}");
        let deep = "[".repeat(100_000);
        assert!(refused(&deep)["detail"].is_string());
    }

    #[test]
    fn lengths_are_counted_in_characters_and_limited() {
        assert!(with("name", json!("é".repeat(255))).is_ok());
        assert_eq!(
            with("name", json!("é".repeat(256))),
            Err(json!({"name": ["Ensure this field has no more than 255 characters."]}))
        );
        let long = format!("https://example.com/{}", "a".repeat(180));
        assert!(with("webhook_url", json!(long)).is_ok());
        assert_eq!(
            with("webhook_url", json!(format!("{long}a"))),
            Err(json!({"webhook_url": ["Ensure this field has no more than 200 characters."]}))
        );
    }

    #[test]
    fn variables_are_limited_in_number_and_length() {
        let many = |count| Value::Object((0..count).map(|n| (format!("v{n}"), json!(n))).collect());
        let long = |count| json!({"a": {"properties": ["é".repeat(count)]}});
        assert!(with("variables", many(1_000)).is_ok() && with("variables", long(100_000)).is_ok());
        let refused = |value| with("variables", value).unwrap_err()["variables"][0].as_str().unwrap().to_owned();
        assert!(refused(many(1_001)).contains("1000 elements"));
        assert!(refused(long(100_001)).contains("100000 characters"));
    }

    #[test]
    fn media_urls_that_the_provider_could_not_fetch_are_refused_by_name() {
        let refusal = |url: &str| {
            let variables = json!({"a": {"type": "text", "properties": {"content": url}}, "b": {"type": "image", "properties": {"url": url}}});
            refuse_unreachable(variables.as_object().unwrap()).map(|body| body["variables"][0].as_str().unwrap().to_owned())
        };
        for (url, place) in [
            ("http://localhost:3000/a.png", "\"b\" from localhost,"),
            ("data:image/png;base64,AAAA", "\"b\" from a data: URL,"),
            ("http://192.168.0.7/samples/coffee.png", "\"b\" from 192.168.0.7,"),
            ("http://127.0.0.1:8787/samples/other.png", "\"b\" from 127.0.0.1,"),
        ] {
            assert!(refusal(url).unwrap().contains(place), "{url}");
        }
        for url in ["https://example.com/a.png", "http://127.0.0.1:8787/samples/coffee.png", "nope", ""] {
            assert_eq!(refusal(url), None, "{url}");
        }
    }

    #[test]
    fn each_invalid_field_has_its_own_error() {
        let cases = [
            ("template_id", json!("nope"), "Must be a valid UUID."),
            ("template_id", json!(5), "Must be a valid UUID."),
            ("template_id", json!(null), NOT_NULL),
            ("variables", json!([]), "Expected a dictionary of items but got type \"list\"."),
            ("variables", json!("{}"), "Expected a dictionary of items but got type \"str\"."),
            ("name", json!({}), "Not a valid string."),
            ("webhook_url", json!("nope"), "Enter a valid URL."),
            ("webhook_url", json!("javascript:alert(1)"), "Enter a valid URL."),
            ("model_version", json!("x"), "\"x\" is not a valid choice."),
            ("model_version", json!(null), NOT_NULL),
            ("is_hidden", json!("perhaps"), "Must be a valid boolean."),
            ("is_hidden", json!(null), NOT_NULL),
        ];
        for (field, value, message) in cases {
            assert_eq!(with(field, value), Err(json!({field: [message]})));
        }
    }

    #[test]
    fn optional_fields_may_be_null_or_missing() {
        assert_eq!(with("name", json!(null)).unwrap().name, Some(None));
        assert_eq!(with("webhook_url", json!(null)).unwrap().webhook_url, Some(None));
        assert_eq!(with("is_hidden", json!("true")).unwrap().is_hidden, Some(true));
        assert_eq!(read(b"{}", Needs::Nothing), Ok(Fields::default()));
    }
}
