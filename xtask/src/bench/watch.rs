//! `cargo xtask bench watch`: the cost of polling many jobs in one process, beside the peers.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{self, step};
use crate::test::debian::{self, NODE, NPM};
use crate::workspace::Workspace;
use crate::{npm, sandbox};

pub fn run(workspace: &Workspace) -> Result<Value> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        bail!("{missing}");
    }
    npm::install(workspace, super::BENCH)?;
    super::beside_the_peers(workspace)?;
    let program = step("build the sandbox", || sandbox::build_for_bench(workspace))?;
    let text = step("wait for many jobs", || {
        shell::read(Command::new("node").arg(workspace.path("tests/bench/watch.mjs")).arg(program))
    })?;
    let found: Value = serde_json::from_str(&text).context("watch.mjs printed no JSON")?;
    println!("\n{}", table(&found));
    let missed: Vec<&str> = found["missed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !missed.is_empty() {
        bail!("the client falls short: {}", missed.join("; "));
    }
    Ok(found)
}

/// A column of the table: its head, the pointer to its figure, a divisor, and its number of decimals.
type Column = (&'static str, &'static str, f64, usize);

const WAITS: &[Column] = &[
    ("jobs", "/jobs", 1.0, 0),
    ("failed", "/failed", 1.0, 0),
    ("bytes a job", "/bytes", 1.0, 0),
    ("cores", "/cores", 1.0, 3),
    ("requests", "/requests", 1.0, 0),
    ("lag s", "/lag/median", 1_000.0, 1),
    ("99 % s", "/lag/last", 1_000.0, 1),
];
const ABORTS: &[Column] =
    &[("abort ms", "/median", 1.0, 1), ("worst ms", "/worst", 1.0, 1), ("looks after", "/looksAfter", 1.0, 2)];

fn table(found: &Value) -> String {
    ["many", "side", "aborts"].map(|part| rows(&found[part], if part == "aborts" { ABORTS } else { WAITS })).join("\n")
}

/// One row for each client.
fn rows(clients: &Value, columns: &[Column]) -> String {
    let width = clients.as_object().into_iter().flatten().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{:width$}", "");
    text.extend(columns.iter().map(|(head, ..)| format!("  {head:>11}")));
    for (name, client) in clients.as_object().into_iter().flatten() {
        text = format!("{text}\n{name:width$}");
        text.extend(columns.iter().map(|(_, path, unit, decimals)| {
            let figure = client.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN) / unit;
            format!("  {figure:>11.decimals$}")
        }));
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_has_every_figure() {
        let wait = json!({ "jobs": 10_000, "failed": 0, "bytes": 1_474.8, "cores": 0.3749, "requests": 67_236, "lag": { "median": 1_060, "last": 3_027 } });
        let found = json!({
            "many": { "poll()": wait }, "side": { "fal": wait }, "aborts": { "ours": { "median": 0.154, "worst": 0.77, "looksAfter": 0.05 } },
        });
        let text = table(&found);
        for words in [
            "poll()        10000            0         1475        0.375        67236          1.1          3.0",
            "\nfal  ",
            "0.2          0.8         0.05",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
