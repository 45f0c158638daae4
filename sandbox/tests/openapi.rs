//! Tests of the served `OpenAPI` document against the provider's.

mod common;

use common::Sandbox;
use serde_json::{Value, json};

const YAML: &str = include_str!("../../tests/api/custom_template_jobs.openapi.yaml");

fn provider() -> Value {
    serde_saphyr::from_str(YAML).unwrap()
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (path.clone(), method.clone(), operation))
    });
    all.collect()
}

/// `BLESS=1` rewrites the copy.
#[test]
fn the_copy_of_the_providers_document_is_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/provider.openapi.json");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, serde_json::to_string_pretty(&provider()).unwrap() + "\n").unwrap();
    }
    let copy: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(copy == provider(), "run this test with BLESS=1");
}

#[test]
fn the_served_document_has_exactly_the_calls_and_schemas_of_the_provider() {
    let sandbox = Sandbox::start(&[]);
    let (served, provider) = (sandbox.control("GET", "openapi.json", &Value::Null), provider());
    assert_eq!(served["servers"][0]["url"], format!("http://{}", sandbox.host()));
    let names = |document| operations(document).into_iter().map(|(path, method, _)| (path, method)).collect::<Vec<_>>();
    assert_eq!(names(&served), names(&provider));
    for ((path, method, ours), (_, _, theirs)) in operations(&served).into_iter().zip(operations(&provider)) {
        for part in ["operationId", "parameters", "security", "callbacks", "tags"] {
            assert_eq!(ours[part], theirs[part], "{method} {path}: {part}");
        }
        assert_eq!(ours.get("requestBody").is_some(), theirs.get("requestBody").is_some(), "{method} {path}");
        for (status, response) in theirs["responses"].as_object().unwrap() {
            assert_eq!(ours["responses"][status]["content"], response["content"], "{method} {path}: {status}");
        }
        for status in ours["responses"].as_object().unwrap().keys() {
            assert!(theirs["responses"].get(status).is_some() || status.starts_with('4'), "{method} {path}: {status}");
        }
        let reference =
            |operation: &Value| operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].clone();
        if !path.ends_with("/render/") {
            assert_eq!(reference(ours), reference(theirs), "{method} {path}");
        }
    }
    let mut schemas = served["components"]["schemas"].clone();
    let mut render = schemas["CustomTemplateJobRender"].take();
    assert_eq!(render["properties"], schemas["CustomTemplateJob"]["properties"]);
    let required = render["required"].as_array_mut().unwrap();
    required.extend([json!("template_id"), json!("variables")]);
    required.sort_by_key(Value::to_string);
    assert_eq!(render["required"], provider["components"]["schemas"]["CustomTemplateJob"]["required"]);
    // The only difference: `credits_used` may be 5.5.
    schemas["CustomTemplateJob"]["properties"]["credits_used"]["type"] = json!("integer");
    for (name, schema) in provider["components"]["schemas"].as_object().unwrap() {
        assert_eq!(&schemas[name], schema, "{name}");
    }
    assert_eq!(served["components"]["securitySchemes"], provider["components"]["securitySchemes"]);
}
