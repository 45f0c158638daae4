//! What must be refused, while the sandbox goes on for everybody else.

mod common;

use std::io::Write as _;
use std::net::TcpListener;

use common::{Answer, JOBS, PREVIEW_ASYNC, Request, Sandbox};
use serde_json::{Value, json};

/// Sends a body as it is; nothing is charged, and the next call works.
fn refused(sandbox: &Sandbox, body: &[u8]) -> Answer {
    let mut request = Request::new("POST", JOBS).keys().json(&Value::Null);
    body.clone_into(&mut request.body);
    let answer = sandbox.send(&request);
    assert_eq!(sandbox.charges(), 0);
    assert_eq!(sandbox.get("/api/remaining_credits/").status, 200);
    answer
}

fn with_variables(sandbox: &Sandbox, variables: Value) -> Vec<u8> {
    let mut body = sandbox.body("Product teaser");
    body["variables"] = variables;
    body.to_string().into_bytes()
}

/// The resident memory of a process at its greatest, in MB.
#[cfg(target_os = "linux")]
fn peak_memory(sandbox: &Sandbox) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_body_of_100_mb_is_refused_and_not_kept() {
    let sandbox = Sandbox::start(&[]);
    let answer = refused(&sandbox, &vec![b' '; 100_000_000]);
    assert_eq!((answer.status, answer.header("content-type")), (413, Some("text/html; charset=utf-8")));
    #[cfg(target_os = "linux")]
    assert!(peak_memory(&sandbox) < 60, "{} MB", peak_memory(&sandbox));
    let mut request = Request::new("PUT", "/__sandbox/faults");
    request.body = vec![b'['; 100_000_000];
    assert_eq!(sandbox.send(&request).status, 400);
}

#[test]
fn a_body_that_says_it_is_longer_than_it_is_holds_up_nobody_else() {
    let sandbox = Sandbox::start(&[]);
    let mut wire = sandbox.connect();
    let head = format!("POST {JOBS} HTTP/1.1\r\nHost: {}\r\nContent-Length: 99999999999999\r\n\r\n{{", sandbox.host());
    wire.stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(sandbox.get("/api/remaining_credits/").status, 200);
    drop(wire);
    assert_eq!(sandbox.charges(), 0);
}

#[test]
fn ten_thousand_variables_a_text_of_a_megabyte_deep_nesting_and_invalid_utf_8_are_refused_in_words() {
    let sandbox = Sandbox::start(&[]);
    let many: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (format!("v{n}"), json!({"type": "text", "properties": {"content": "a"}}))).collect();
    let long = json!({"headline": {"type": "text", "properties": {"content": "a".repeat(1 << 20)}}});
    let deep = format!("{{\"template_id\": \"x\", \"variables\": {{\"a\": {}1{}}}}}", "[".repeat(9_999), "]".repeat(9_999));
    let cases = [
        (with_variables(&sandbox, Value::Object(many)), "variables", "no more than 1000 elements"),
        (with_variables(&sandbox, long), "variables", "more than 100000 characters"),
        (deep.into_bytes(), "detail", "JSON parse error"),
        (b"{\"name\": \"\xff\xfe\"}".to_vec(), "detail", "can't decode byte 0xff"),
        (b"{\"name\": \"\\ud800\"}".to_vec(), "detail", "JSON parse error"),
        (b"{\"name\": \"a\\u0000b\"}".to_vec(), "name", "Null characters"),
        (b"\xef\xbb\xbf{}".to_vec(), "detail", "JSON parse error"),
        (b"{\"name\": 1e999}".to_vec(), "detail", "JSON parse error"),
    ];
    for (body, field, words) in cases {
        let answer = refused(&sandbox, &body);
        let said = answer.json()[field].to_string();
        assert!(answer.status == 400 && said.contains(words), "{field}: {said} does not say {words:?}");
    }
}

#[test]
fn an_image_is_never_fetched_so_that_none_can_be_a_bomb() {
    let sandbox = Sandbox::start(&[]);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let bomb = format!("http://{}/30000x30000.png", server.local_addr().unwrap());
    let mut body = sandbox.body("Product teaser");
    body["variables"]["product_image"]["properties"]["url"] = json!(bomb);
    let job = sandbox.post(PREVIEW_ASYNC, &body).json();
    sandbox.advance(30.0);
    assert_eq!(sandbox.post(&format!("{}render/", common::path_of(&job)), &json!({})).status, 200);
    sandbox.advance(90.0);
    let done = sandbox.look(&job);
    let page = sandbox.send(&Request::new("GET", &common::path(&done["preview"])));
    assert!(page.status == 200 && !page.text().contains(&format!("src=\"{bomb}")));
    assert_eq!(sandbox.send(&Request::new("GET", &common::path(&done["video_output"]))).status, 200);
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_fault_rule_with_unknown_fields_is_refused_and_the_old_rules_stay() {
    let sandbox = Sandbox::start(&[]);
    sandbox.faults(&json!([{"on": "get", "kind": "html"}]));
    for (rule, words) in [
        (json!({"on": "get", "kind": "html", "probabilty": 0.5}), "rule 1: unknown field `probabilty`"),
        (json!({"on": "get", "kind": "html", "ms": 5}), "rule 1: html has no field \"ms\""),
        (json!({"on": "get"}), "missing field `kind`"),
    ] {
        let rules = json!([{"on": "submit", "kind": "stuck"}, rule]);
        let answer = sandbox.send(&Request::new("PUT", "/__sandbox/faults").json(&rules));
        let said = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && said.contains(words), "{said}");
    }
    assert_eq!(sandbox.control("GET", "faults", &Value::Null)[0]["kind"], "html");
}

#[test]
fn what_is_no_http_ends_its_own_connection_alone() {
    let sandbox = Sandbox::start(&[]);
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(1_000_000));
    for noise in [b"\x16\x03\x01\x02\x00\x01\x00".as_slice(), b"GET / HTTP/9.9\r\n\r\n", long.as_bytes()] {
        let mut wire = sandbox.connect();
        // It may be cut off before all is sent.
        let _ = wire.stream.write_all(noise);
        if let Ok(answer) = wire.receive(false) {
            assert!((400..500).contains(&answer.status), "{}", answer.status);
        }
    }
    assert_eq!(sandbox.get("/api/remaining_credits/").status, 200);
}
