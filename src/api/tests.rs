//! The contract held against what lies beside it: the corpus of answers, and the provider's document.

use serde_json::Value as Json;

use super::*;
use crate::corpus;
use crate::testing::{Value, json, value};
use crate::value::Value as _;

#[test]
fn serde_json_reads_the_corpus_as_expected() {
    corpus::check::<Value>(|text| value(json(text.own().as_str().expect("a text"))));
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
    let document = include_str!("../../tests/api/custom_template_jobs.openapi.yaml");
    for endpoint in [
        Endpoint::Submit,
        Endpoint::PreviewSync,
        Endpoint::PreviewAsync,
        Endpoint::Render,
        Endpoint::Get,
        Endpoint::Templates,
        Endpoint::RemainingCredits,
    ] {
        let call = section(document, &format!("  {}:", endpoint.path().replace("%0", "{id}")));
        assert!(call.contains(&format!("    {}:\n", endpoint.method().to_lowercase())), "{endpoint:?}");
    }
    let job = section(document, "    CustomTemplateJob:");
    let limit = |field: &str| -> usize {
        let lines = section(job, &format!("        {field}:")).lines();
        lines
            .filter_map(|line| line.trim().strip_prefix("maxLength: "))
            .find_map(|limit| limit.parse().ok())
            .expect("a limit")
    };
    for (field, pattern, begins) in [("name", NAME, ""), ("webhook_url", WEBHOOK_URL_LENGTH, "https://")] {
        let text = |length: usize| Json::from(format!("{begins}{}", "x".repeat(length - begins.len())));
        assert!(value(text(limit(field))).matches(pattern), "{field}");
        assert!(!value(text(limit(field) + 1)).matches(pattern), "{field}");
        let mut request = json(r#"{"template_id":"3c90c3cc-0d44-4b50-8888-8dd25736052a","variables":{}}"#);
        request[field] = text(limit(field));
        assert!(check_request(Step::Submit, value(request.clone())).is_ok(), "{field}");
        request[field] = text(limit(field) + 1);
        assert_eq!(check_request(Step::Submit, value(request)).expect_err("too long").own().get("field"), field);
    }
    let names = |heading: &str| -> Vec<String> {
        let list = section(document, heading).lines().find_map(|line| line.trim().strip_prefix("enum: ["));
        let list = list.expect("an enumeration").trim_end_matches(']').split(", ");
        list.map(String::from).collect()
    };
    assert!(names("    StatusEnum:").into_iter().all(|name| Status::parse(value(name)) != Status::Unknown));
    let asking_for = |name: String| Value::record().with("model_version", value(name));
    assert!(names("    ModelVersionEnum:").into_iter().all(|name| ModelVersion::of(asking_for(name)).is_ok()));
}
