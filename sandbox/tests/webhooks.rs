//! Tests of webhooks, from the side of a receiver.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::{JOBS, PREVIEW_ASYNC, Sandbox, path_of};
use serde_json::{Value, json};

/// A server that receives webhooks.
struct Receiver {
    listener: TcpListener,
    url: String,
}

impl Receiver {
    fn new(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{host}:{}/hook?op=1", listener.local_addr().unwrap().port());
        Self { listener, url }
    }

    /// Receives the next webhook and returns its head and body. `answer` is the status line; `None` closes the connection.
    fn take(&self, answer: Option<&str>) -> (String, Value) {
        let (mut stream, _) = self.listener.accept().unwrap();
        let text = read_request(&mut stream);
        let (head, payload) = text.split_once("\r\n\r\n").unwrap();
        if let Some(answer) = answer {
            stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
        }
        (head.to_owned(), serde_json::from_str(payload).unwrap())
    }

    fn statuses(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.take(Some("204 No Content")).1["status"].as_str().unwrap().to_owned()).collect()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).unwrap();
        text += &String::from_utf8_lossy(&chunk[..count]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

fn submit(sandbox: &Sandbox, path: &str, url: &str) -> Value {
    let mut body = sandbox.body("Product teaser");
    body["webhook_url"] = json!(url);
    let answer = sandbox.post(path, &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// Waits until the log of webhooks meets a condition, and returns the log.
fn log(sandbox: &Sandbox, condition: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let log = sandbox.control("GET", "webhooks", &Value::Null).as_array().unwrap().clone();
        if condition(&log) {
            return log;
        }
        assert!(Instant::now() < deadline, "{log:?}");
    }
}

fn all_tried(log: &[Value]) -> bool {
    !log.is_empty() && log.iter().all(|entry| !entry["tries"].as_array().unwrap().is_empty())
}

#[test]
fn webhooks_arrive_in_order_with_the_documented_fields_and_are_logged() {
    let receiver = Receiver::new("127.0.0.1");
    let sandbox = Sandbox::start(&[]);
    let job = submit(&sandbox, PREVIEW_ASYNC, &receiver.url);
    sandbox.advance(90.0);
    let names = |payload: &Value| payload.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for status in ["in_queue", "running", "done"] {
        let (head, payload) = receiver.take(Some("200 OK"));
        assert!(head.starts_with("POST /hook?op=1 HTTP/1.1") && head.contains("application/json"), "{head}");
        assert_eq!(names(&payload), ["id", "status", "failed_reason", "video_output"]);
        assert_eq!((&payload["id"], &payload["status"]), (&job["id"], &json!(status)));
    }
    assert_eq!(sandbox.post(&format!("{}render/", path_of(&job)), &json!({})).status, 200);
    sandbox.advance(90.0);
    assert_eq!(receiver.statuses(2), ["in_queue", "running"]);
    let (_, payload) = receiver.take(Some("200 OK"));
    assert_eq!(names(&payload), ["id", "status", "failed_reason", "output"]);
    assert!(payload["output"].as_str().unwrap().contains("/media/"));
    let log = log(&sandbox, |log| log.len() == 6 && all_tried(log));
    assert_eq!(log[5]["body"], payload);
    assert_eq!(log[5]["tries"][0]["answer"], 200);
}

#[test]
fn a_refused_webhook_is_retried_until_it_is_accepted() {
    let receiver = Receiver::new("localhost");
    let sandbox = Sandbox::start(&["--speed", "50"]);
    submit(&sandbox, PREVIEW_ASYNC, &receiver.url);
    receiver.take(Some("500 Internal Server Error"));
    receiver.take(None);
    let mut statuses = vec![receiver.take(Some("200 OK")).1["status"].clone()];
    statuses.extend(receiver.statuses(2).into_iter().map(Value::String));
    assert_eq!(statuses, ["in_queue", "running", "done"], "later webhooks wait for it");
    let log = log(&sandbox, all_tried);
    let tries = log[0]["tries"].as_array().unwrap();
    assert_eq!((tries.len(), &tries[0]["answer"], &tries[2]["answer"]), (3, &json!(500), &json!(200)));
    assert!(tries[1]["answer"].is_string());
}

#[test]
fn delivery_stops_after_five_tries_on_the_virtual_clock() {
    let sandbox = Sandbox::start(&[]);
    let started = Instant::now();
    submit(&sandbox, JOBS, "http://127.0.0.1:1/hook");
    sandbox.advance(90.0);
    for tries in 1..=5 {
        log(&sandbox, |log| log[0]["tries"].as_array().unwrap().len() == tries);
        sandbox.advance(8.0);
    }
    log(&sandbox, |log| !log[1]["tries"].as_array().unwrap().is_empty());
    assert!(started.elapsed() < Duration::from_secs(10), "the tries are 15 seconds apart on the sandbox's clock");
    assert_eq!(log(&sandbox, |_| true)[0]["tries"].as_array().unwrap().len(), 5);
}

#[test]
fn only_loopback_and_listed_hosts_receive_webhooks() {
    let receiver = Receiver::new("0.0.0.0");
    let closed = Sandbox::start(&[]);
    submit(&closed, JOBS, &receiver.url);
    submit(&closed, JOBS, "https://127.0.0.1:1/hook");
    closed.advance(90.0);
    let refused = log(&closed, |log| log.len() == 6 && all_tried(log));
    let words: Vec<&str> = refused.iter().map(|entry| entry["tries"][0]["answer"].as_str().unwrap()).collect();
    assert_eq!(words.iter().filter(|words| words.contains("--allow-webhooks-to 0.0.0.0")).count(), 3, "{words:?}");
    assert_eq!(words.iter().filter(|words| words.contains("by http only")).count(), 3, "{words:?}");
    assert!(refused.iter().all(|entry| entry["tries"].as_array().unwrap().len() == 1), "a permanent failure is not retried");

    let open = Sandbox::start(&["--allow-webhooks-to", "0.0.0.0"]);
    submit(&open, JOBS, &receiver.url);
    open.advance(90.0);
    assert_eq!(receiver.statuses(3), ["in_queue", "running", "done"]);
}

#[test]
fn rules_drop_duplicate_reorder_and_advance_webhooks() {
    let receiver = Receiver::new("127.0.0.1");
    let sandbox = Sandbox::start(&[]);
    let under = |rule: Value, count| {
        sandbox.faults(&json!([rule]));
        submit(&sandbox, PREVIEW_ASYNC, &receiver.url);
        sandbox.advance(90.0);
        receiver.statuses(count)
    };
    assert_eq!(under(json!({"on": "*", "kind": "webhook_lost", "value": "running"}), 2), ["in_queue", "done"]);
    let doubled = json!({"on": "*", "kind": "webhook_duplicated", "value": "done"});
    assert_eq!(under(doubled, 4), ["in_queue", "running", "done", "done"]);
    let reordered = json!({"on": "*", "kind": "webhook_reordered", "value": "in_queue"});
    assert_eq!(under(reordered, 3), ["running", "in_queue", "done"]);
    sandbox.faults(&json!([{"on": "*", "kind": "webhook_early", "value": "done"}]));
    let job = submit(&sandbox, PREVIEW_ASYNC, &receiver.url);
    assert_eq!(receiver.statuses(1), ["done"]);
    assert_ne!(sandbox.read_job(&job)["status"], "done");
}

#[test]
fn a_reset_cancels_the_retries_of_earlier_webhooks() {
    let receiver = Receiver::new("127.0.0.1");
    let sandbox = Sandbox::start(&[]);
    submit(&sandbox, JOBS, &receiver.url);
    sandbox.advance(90.0);
    receiver.take(Some("500 Internal Server Error"));
    log(&sandbox, |log| all_tried(&log[..1]));
    sandbox.control("POST", "reset", &Value::Null);
    let job = submit(&sandbox, JOBS, &receiver.url);
    sandbox.advance(90.0);
    assert_eq!(receiver.take(Some("200 OK")).1["id"], job["id"]);
}
