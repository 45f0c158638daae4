//! The library held against what lies beside it: the corpus of answers, and the provider's document.
#![cfg(not(target_arch = "wasm32"))]

mod corpus;

use custom_template_jobs::api::{Endpoint, ModelVersion, NAME_MAX, Status, WEBHOOK_URL_MAX};
use custom_template_jobs::value::{Kind, Value};

#[derive(Clone)]
struct Json(serde_json::Value);

impl Value for Json {
    fn kind(&self) -> Kind {
        match &self.0 {
            serde_json::Value::Null => Kind::Null,
            serde_json::Value::Bool(yes) => Kind::Bool(*yes),
            serde_json::Value::Number(number) => Kind::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(_) => Kind::Text,
            serde_json::Value::Array(_) => Kind::List,
            serde_json::Value::Object(_) => Kind::Object,
        }
    }

    fn as_text(&self) -> Option<String> {
        self.0.as_str().map(String::from)
    }

    fn get(&self, key: &str) -> Option<Self> {
        match &self.0 {
            serde_json::Value::Array(items) => items.get(key.parse::<usize>().ok()?).cloned().map(Self),
            value => value.get(key).cloned().map(Self),
        }
    }

    fn keys(&self) -> Vec<String> {
        match &self.0 {
            serde_json::Value::Array(items) => (0..items.len()).map(|at| at.to_string()).collect(),
            serde_json::Value::Object(fields) => fields.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn with_text(&self, key: &str, text: &str) -> Self {
        let mut copy = self.clone();
        copy.0[key] = text.into();
        copy
    }
}

#[test]
fn serde_json_reads_the_corpus_as_expected() {
    corpus::check(|text| Json(serde_json::from_str(text).expect("JSON")));
}

/// The part of the provider's document that begins with a line and ends where its indentation does.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let line = format!("\n{heading}\n");
    let start = document.find(&line).unwrap_or_else(|| panic!("the document has no {heading:?}")) + line.len();
    let indent = heading.len() - heading.trim_start().len();
    let rest = &document[start..];
    let lines = rest.lines().take_while(|line| line.len() - line.trim_start().len() > indent || line.trim().is_empty());
    &rest[..lines.map(|line| line.len() + 1).sum::<usize>().min(rest.len())]
}

#[test]
fn every_call_and_every_limit_is_the_providers() {
    let document = include_str!("api/custom_template_jobs.openapi.yaml");
    for endpoint in [
        Endpoint::Submit,
        Endpoint::PreviewSync,
        Endpoint::PreviewAsync,
        Endpoint::Render,
        Endpoint::Get,
        Endpoint::Templates,
        Endpoint::RemainingCredits,
    ] {
        let call = section(document, &format!("  {}:", endpoint.path("{id}")));
        assert!(call.contains(&format!("    {}:\n", endpoint.method().to_lowercase())), "{endpoint:?}");
    }
    let job = section(document, "    CustomTemplateJob:");
    assert!(section(job, "        name:").contains(&format!("maxLength: {NAME_MAX}\n")));
    assert!(section(job, "        webhook_url:").contains(&format!("maxLength: {WEBHOOK_URL_MAX}\n")));
    let names = |heading: &str| -> Vec<String> {
        let list = section(document, heading).lines().find_map(|line| line.trim().strip_prefix("enum: ["));
        let list = list.expect("an enumeration").trim_end_matches(']').split(", ");
        list.map(String::from).collect()
    };
    assert!(names("    StatusEnum:").iter().all(|name| Status::parse(name) != Status::Unknown));
    assert!(names("    ModelVersionEnum:").iter().all(|name| ModelVersion::parse(name).is_some()));
}
