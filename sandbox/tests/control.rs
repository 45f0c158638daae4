//! Tests of the control interface against the examples of its README.

mod common;

use common::{JOBS, Request, Sandbox};
use serde_json::{Value, json};

const README: &str = include_str!("../README.md");

/// The fenced blocks of one language, in order.
fn blocks(language: &str) -> Vec<&str> {
    let fence = format!("```{language}\n");
    README.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// Whether an answer matches an example: it has the same fields and values. `...` and numbers match any value.
fn fits(answer: &Value, example: &Value) -> bool {
    match (answer, example) {
        (_, Value::String(text)) if text == "..." => !answer.is_object() && !answer.is_array(),
        (Value::Object(answer), Value::Object(example)) => {
            answer.keys().eq(example.keys()) && example.iter().all(|(key, value)| fits(&answer[key], value))
        }
        (Value::Array(answer), Value::Array(example)) => {
            answer.len() >= example.len() && answer.iter().zip(example).all(|(one, other)| fits(one, other))
        }
        (Value::Object(_), Value::Null) | (Value::Number(_), Value::Number(_)) => true,
        _ => answer == example,
    }
}

#[test]
fn each_example_of_the_readme_returns_its_answer() {
    let sandbox = Sandbox::start(&[]);
    let template = sandbox.body("Product teaser")["template_id"].clone();
    let body = json!({"template_id": template, "variables": {}, "webhook_url": "http://192.0.2.1/hook"});
    assert_eq!(sandbox.post(JOBS, &body).status, 201);
    let preview = format!("/preview/template/{}", template.as_str().unwrap());
    assert_eq!(sandbox.send(&Request::new("GET", &preview)).status, 200);
    let (requests, answers) = (blocks("http"), blocks("json"));
    assert_eq!((requests.len(), answers.len()), (9, 9));
    for (text, example) in requests.into_iter().zip(answers) {
        let (line, body) = text.split_once('\n').unwrap_or((text, ""));
        let (method, path) = line.split_once(' ').unwrap();
        if path.ends_with("/webhooks") {
            while sandbox.control("GET", "webhooks", &Value::Null)[0]["tries"][0].is_null() {}
        }
        let mut request = Request::new(method, path);
        request.body = body.as_bytes().to_vec();
        let answer = sandbox.send(&request);
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
        let example: Value = serde_json::from_str(example).unwrap();
        assert!(fits(&answer.json(), &example), "{line}\n{}\n{example}", answer.text());
    }
}

#[test]
fn each_kind_of_fault_has_a_valid_example_and_is_in_the_console() {
    let sandbox = Sandbox::start(&[]);
    let rows = README.lines().filter(|line| line.contains("\"kind\"") && line.starts_with("| `"));
    let mut kinds = Vec::new();
    for row in rows {
        let rule: Value =
            serde_json::from_str(row.trim_end_matches([' ', '|']).rsplit_once(" `").unwrap().1.trim_matches('`')).unwrap();
        assert!(row.starts_with(&format!("| {} |", rule["kind"]).replace('"', "`")), "{row}");
        sandbox.faults(&json!([rule]));
        kinds.push(rule["kind"].as_str().unwrap().to_owned());
    }
    let wrong = sandbox.send(&Request::new("PUT", "/__sandbox/faults").json(&json!([{"on": "*", "kind": "?"}])));
    let all = wrong.json()["detail"].as_str().unwrap().split("one of ").nth(1).unwrap().to_owned();
    let all: Vec<String> = all.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    kinds.sort();
    let mut wanted = all.clone();
    wanted.sort();
    assert!(wanted.len() > 15 && kinds == wanted, "{kinds:?} {wanted:?}");
    let console = sandbox.send(&Request::new("GET", "/__sandbox/console.js")).text();
    assert!(wanted.iter().all(|kind| console.contains(&format!("\"{kind}\""))), "a kind is missing in the console");
}

#[test]
fn the_page_of_assumptions_lists_every_tag() {
    let sandbox = Sandbox::start(&[]);
    let page = sandbox.send(&Request::new("GET", "/__sandbox/assumptions"));
    assert_eq!(page.status, 200);
    let text = page.text();
    assert_eq!(text.matches("<li>").count(), sandbox::assumptions::tags().len());
    assert!(text.contains("progress goes from 0 to 1") || text.contains("Progress goes from 0 to 1"));
}
