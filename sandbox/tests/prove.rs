//! Tests of `sandbox prove` with two clients: one that retries a charging call, and one that does not.

mod common;

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

use common::{JOBS, Request, Wire};
use serde_json::json;

/// Runs one of the clients below. The client is an ignored test of this program.
fn prove(client: &str) -> Output {
    let this = std::env::current_exe().unwrap();
    let client = [this.to_str().unwrap(), "--ignored", "--exact", client, "--nocapture"];
    Command::new(env!("CARGO_BIN_EXE_sandbox")).args(["prove", "--timeout", "20", "--"]).args(client).output().unwrap()
}

fn rows(output: &Output) -> Vec<(String, String, usize)> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let rows = text.lines().skip(1).filter(|line| line.len() > 50 && !line.contains(" runs, "));
    rows.map(|line| {
        let charges = line[42..49].trim().parse().unwrap_or_else(|_| panic!("{line}"));
        (line[..24].trim().to_owned(), line[25..35].trim().to_owned(), charges)
    })
    .collect()
}

/// Makes one charging call and sends it up to `tries` times, until the answer is a 201.
fn charge(tries: usize) {
    let host = std::env::var("SANDBOX_URL").unwrap().replace("http://", "");
    let connect = || {
        let stream = TcpStream::connect(&host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        Wire { stream, host: host.clone() }
    };
    let mut wire = connect();
    if std::env::var_os("SANDBOX_WARM").is_some() {
        wire.send(&Request::new("GET", "/api/remaining_credits/").keys()).unwrap();
    }
    let body = json!({"template_id": std::env::var("SANDBOX_TEMPLATE_ID").unwrap(), "variables": {}});
    for _ in 0..tries {
        wire.stream.write_all(&Request::new("POST", JOBS).keys().json(&body).bytes(&host)).unwrap();
        match wire.receive(false) {
            Ok(answer) if answer.status == 201 => return println!("bound"),
            _ => wire = connect(),
        }
    }
    println!("unknown");
}

#[test]
#[ignore = "a client for other tests"]
fn a_client_that_sends_once() {
    charge(1);
}

#[test]
#[ignore = "a client for other tests"]
fn a_client_that_retries() {
    charge(3);
}

#[test]
fn a_client_that_sends_once_passes() {
    let output = prove("a_client_that_sends_once");
    let rows = rows(&output);
    assert!(output.status.success() && rows.len() == 30, "{output:?}");
    for (index, (fault, connection, charges)) in rows.into_iter().enumerate() {
        assert_eq!(charges, usize::from(!fault.contains("before")), "{fault}");
        assert_eq!(connection, if index < 15 { "fresh" } else { "reused" }, "{fault}");
    }
}

#[test]
fn a_client_that_retries_fails() {
    let output = prove("a_client_that_retries");
    assert!(!output.status.success());
    for (fault, _, charges) in rows(&output) {
        let wanted = if fault == "nothing" || fault.contains("before") { 1 } else { 2 };
        assert_eq!(charges, wanted, "{fault}");
    }
}

#[test]
fn a_missing_command_is_reported() {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox")).args(["prove", "--", "/nonexistent/client"]).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && words.contains("/nonexistent/client could not be started"), "{words}");
}
