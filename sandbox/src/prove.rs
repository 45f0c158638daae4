//! The subcommand `prove`: counts how often a client, in any language, is charged for one charging call under each fault.
//!
//! The command runs once per fault, each time with a new sandbox. It must make one charging call to `SANDBOX_URL`, with
//! `SANDBOX_API_ID`, `SANDBOX_API_KEY` and `SANDBOX_TEMPLATE_ID`. If `SANDBOX_WARM` is set, it must make one free call
//! first, so that the charging call uses an open connection. The table shows from the log which connection it used.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::app::{App, Options};
use crate::engine::{Command as Order, Config};
use crate::{faults, server};

/// The faults, each applied once to the first charging call.
fn trials() -> Vec<(&'static str, Value)> {
    vec![
        ("nothing", Value::Null),
        ("closed before the charge", json!({"kind": "drop_before_commit"})),
        ("reset before the charge", json!({"kind": "drop_before_commit", "reset": true})),
        ("closed after the charge", json!({"kind": "drop_after_commit"})),
        ("reset after the charge", json!({"kind": "drop_after_commit", "reset": true})),
        ("429 before the charge", json!({"kind": "status_before_commit", "status": 429, "headers": {"retry-after": "1"}})),
        ("503 before the charge", json!({"kind": "status_before_commit", "status": 503})),
        ("500 after the charge", json!({"kind": "status_after_commit", "status": 500})),
        ("502 after the charge", json!({"kind": "status_after_commit", "status": 502})),
        ("504 after the charge", json!({"kind": "status_after_commit", "status": 504})),
        ("answer cut short", json!({"kind": "truncate", "bytes": 20})),
        ("answer cut by a reset", json!({"kind": "truncate", "bytes": 20, "reset": true})),
        ("answer stalls", json!({"kind": "stall", "bytes": 20})),
        ("HTML page instead", json!({"kind": "html", "commit": true})),
        (
            "307 after the charge",
            json!({"kind": "redirect", "commit": true, "status": 307, "location": "/api/custom_template_jobs/"}),
        ),
    ]
}

/// One row of the table.
#[derive(Debug)]
struct Row {
    fault: &'static str,
    connection: &'static str,
    posts: usize,
    charges: usize,
    did: String,
}

/// Runs the command under every fault and prints the table. Returns whether no run was charged more than once.
pub async fn run(command: &[String], timeout: Duration) -> Result<bool, String> {
    let mut rows = Vec::new();
    for warm in [false, true] {
        for (fault, rule) in trials() {
            let row = attempt(command, timeout, fault, &rule, warm).await?;
            eprintln!("{fault}: {} charged", row.charges);
            rows.push(row);
        }
    }
    println!("{}", table(&rows));
    Ok(rows.iter().all(|row| row.charges <= 1))
}

async fn attempt(
    command: &[String],
    timeout: Duration,
    fault: &'static str,
    rule: &Value,
    warm: bool,
) -> Result<Row, String> {
    let (program, arguments) = command.split_first().ok_or("no command after --")?;
    let listener = server::bind(0).await.map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let config = Config { speed: 20.0, ..Config::default() };
    let template = config.templates.first().map(|template| template.id.to_string()).unwrap_or_default();
    let app = App::new(Options { engine: config, ..Options::default() }, port)?;
    if !rule.is_null() {
        app.handle(Order::SetFaults(faults::parse(&rules(rule))?));
    }
    let serving = tokio::spawn(server::serve(listener, std::sync::Arc::clone(&app)));
    let mut client = Command::new(program);
    client
        .args(arguments)
        .env("SANDBOX_URL", format!("http://127.0.0.1:{port}"))
        .env("SANDBOX_API_ID", "sandbox")
        .env("SANDBOX_API_KEY", "sandbox")
        .env("SANDBOX_TEMPLATE_ID", template)
        .env_remove("SANDBOX_WARM")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if warm {
        client.env("SANDBOX_WARM", "1");
    }
    let output = tokio::time::timeout(timeout, client.output()).await;
    let did = match output {
        Err(_) => format!("did not exit within {} s", timeout.as_secs()),
        Ok(Err(error)) => return Err(format!("{program} could not be started: {error}")),
        Ok(Ok(output)) => {
            let end = output.status.code().map_or_else(|| output.status.to_string(), |code| format!("exited with {code}"));
            let said = [output.stderr, output.stdout].concat();
            let last =
                String::from_utf8_lossy(&said).lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
            last.map_or(end.clone(), |line| format!("{end}: {}", line.chars().take(70).collect::<String>()))
        }
    };
    serving.abort();
    let engine = app.engine();
    let (log, charges) = (engine.requests_body(), engine.ledger().charges().len());
    let log = log["requests"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_charge = |entry: &&Value| {
        entry["method"] == "POST"
            && matches!(entry["call"].as_str(), Some("submit" | "preview" | "preview_async" | "render"))
    };
    let first = log.iter().position(|entry| is_charge(&entry));
    let connection = first.and_then(|first| log.split_at_checked(first)).and_then(|(before, rest)| {
        let hit = rest.first()?;
        Some(if before.iter().any(|entry| entry["connection"] == hit["connection"]) { "reused" } else { "fresh" })
    });
    Ok(Row { fault, connection: connection.unwrap_or("none"), posts: log.iter().filter(is_charge).count(), charges, did })
}

/// The rule for each charging call, applied once.
fn rules(rule: &Value) -> Value {
    let calls = ["submit", "preview", "preview_async", "render"];
    calls
        .into_iter()
        .map(|call| {
            let mut rule = rule.clone();
            rule["on"] = json!(call);
            rule["times"] = json!(1);
            rule
        })
        .collect()
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:24} {:10} {:>5} {:>7}  the client\n", "fault", "connection", "POSTs", "charges");
    for row in rows {
        let Row { fault, connection, posts, charges, did } = row;
        let _ = writeln!(text, "{fault:24} {connection:10} {posts:>5} {charges:>7}  {did}");
    }
    let twice = rows.iter().filter(|row| row.charges > 1).count();
    let most = rows.iter().map(|row| row.charges).max().unwrap_or(0);
    let _ = write!(text, "{} runs, at most {most} charges of one command; {twice} charged more than once", rows.len());
    text
}
