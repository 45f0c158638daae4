//! `cargo xtask bench`: measurements of this package beside its peers, in one run.

mod load;
mod watch;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Arg;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

use crate::shell::{self, step};
use crate::sizes::{self, Size};
use crate::test::debian::{self, CHROMIUM, NODE, NPM};
use crate::workspace::Workspace;
use crate::{npm, pack, sandbox};

/// The directory that pins the peers, with scripts that do the same job with each.
const BENCH: &str = "xtask/bench";

struct Part {
    name: &'static str,
    measure: fn(&Workspace) -> Result<Value>,
}

const PARTS: &[Part] = &[
    Part { name: "size", measure: size },
    Part { name: "start", measure: start },
    Part { name: "preload", measure: preload },
    Part { name: "overhead", measure: overhead },
    Part { name: "polling", measure: polling },
    Part { name: "charges", measure: charges },
    Part { name: "watch", measure: watch::run },
    Part { name: LOAD, measure: load::run },
];

/// The part that measures the sandbox. It needs neither the package nor its peers.
const LOAD: &str = "load";

/// `bench` on the command line.
pub fn command() -> clap::Command {
    let parts = PossibleValuesParser::new(PARTS.iter().map(|part| part.name));
    clap::Command::new("bench")
        .about("Measure beside the peers, and write target/bench/report.json")
        .arg(Arg::new("part").value_name("PART").num_args(0..).value_parser(parts).help("What to measure; all without it"))
}

/// Runs the named parts, or all, and adds their results to the report.
pub fn run(workspace: &Workspace, names: &[String]) -> Result<ExitCode> {
    if names.is_empty() || names.iter().any(|name| name != LOAD) {
        pack::run(workspace)?;
        npm::install(workspace, BENCH)?;
    }
    let directory = workspace.target.join("bench");
    fs::create_dir_all(&directory)?;
    let path = directory.join("report.json");
    let mut report = earlier(&path);
    for part in PARTS.iter().filter(|part| names.is_empty() || names.iter().any(|name| name == part.name)) {
        report.insert(part.name.to_owned(), (part.measure)(workspace)?);
        shell::write_file(&path, format!("{:#}\n", Value::Object(report.clone())))?;
    }
    println!("{}", path.display());
    if std::env::var_os("BLESS").is_some() {
        let script = workspace.path("tests/bench/record.mjs");
        step("write the tables of README.md and docs", || shell::run(Command::new("node").arg(script).arg(&path)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The report of earlier runs; empty if there is none or it cannot be read.
fn earlier(path: &Path) -> Map<String, Value> {
    let text = shell::read_text(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The bytes that a page loads to run one job to its end, with this package and with each peer.
fn size(workspace: &Workspace) -> Result<Value> {
    let mut rows = vec![("custom-template-jobs".to_owned(), pack::page_size(workspace, &pack::package(workspace))?)];
    let entries = workspace.path(BENCH).join("size");
    for entry in fs::read_dir(&entries).with_context(|| format!("{} is missing", entries.display()))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        rows.push((name, Size::of(&pack::bundle(workspace, &path, &[])?)?));
    }
    rows.sort_by_key(|(_, size)| size.brotli);
    let table: Vec<(&str, Size)> = rows.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    println!("{}", sizes::table(&table));
    Ok(rows
        .into_iter()
        .map(|(name, size)| (name, json!({ "raw": size.raw, "gzip": size.gzip, "brotli": size.brotli })))
        .collect())
}

/// The time from a library's import to its first request.
fn start(workspace: &Workspace) -> Result<Value> {
    timed(workspace, "start")
}

/// The time from a click to a page's first request on a slow connection, with and without preloading.
fn preload(workspace: &Workspace) -> Result<Value> {
    timed(workspace, "preload")
}

/// The overhead of a library in one status read.
fn overhead(workspace: &Workspace) -> Result<Value> {
    timed(workspace, "overhead")
}

/// How often one call charges under a fault.
fn charges(workspace: &Workspace) -> Result<Value> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => bail!("{missing}"),
    };
    npm::install_tools(workspace)?;
    let sandbox = step("build the sandbox", || sandbox::build(workspace))?;
    // A project of its own, which Deno and the pages need.
    let project = workspace.target.join("bench").join("charges");
    let ours = project.join("node_modules").join("custom-template-jobs");
    shell::fresh_directory(&ours)?;
    shell::copy_directory(&pack::package(workspace), &ours)?;
    shell::write_file(
        &project.join("package.json"),
        r#"{ "type": "module", "dependencies": { "custom-template-jobs": "*" } }"#,
    )?;
    let text = step("measure the charges", || {
        shell::read(
            Command::new("node")
                .current_dir(&workspace.root)
                .arg(workspace.path("tests/bench/charges.mjs"))
                .env("PACKAGE_DIR", &ours)
                .env("SANDBOX_BIN", sandbox)
                .env("CHROMIUM", chromium),
        )
    })?;
    let found: Value = serde_json::from_str(&text).context("charges.mjs printed no JSON")?;
    for who in ["peers", "ours", "ours, with the key honoured"] {
        println!("\n{who}: {}\n{}", found["what"].as_str().unwrap_or_default(), counted(&found, who));
    }
    Ok(found)
}

/// A table with a row for each fault and connection, and a column for each library or runtime.
fn counted(found: &Value, who: &str) -> String {
    let callers: Vec<(&String, &Value)> = found[who].as_object().into_iter().flatten().collect();
    let line = |fault: &str, connection: &str, cells: Vec<String>| {
        let cells: Vec<String> = cells.into_iter().map(|cell| format!("  {cell:>22}")).collect();
        format!("{fault:26}{connection:10}{}\n", cells.concat())
    };
    let mut text = line("", "", callers.iter().map(|(name, _)| (*name).clone()).collect());
    for fault in found["faults"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        for connection in ["fresh", "reused"] {
            let cells: Vec<&Value> = callers.iter().map(|(_, faults)| &faults[fault][connection]).collect();
            if cells.iter().all(|cell| cell.is_null()) {
                continue;
            }
            let number = |cell: &Value, field: &str| cell[field].as_u64().map_or("-".to_owned(), |count| count.to_string());
            let counts = |cell| ["requests", "posts", "charges"].map(|field| number(cell, field)).join(" / ");
            text.push_str(&line(fault, connection, cells.into_iter().map(counts).collect()));
        }
    }
    text
}

/// Runs `tests/bench/<part>.mjs`, which measures every library in one process and prints JSON.
fn timed(workspace: &Workspace, part: &str) -> Result<Value> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => bail!("{missing}"),
    };
    beside_the_peers(workspace)?;
    let text = step(&format!("measure the {part}"), || {
        shell::read(
            Command::new("node")
                .current_dir(&workspace.root)
                .arg(workspace.path("tests/bench").join(format!("{part}.mjs")))
                .arg(workspace.target.join("bench").join("pages"))
                .env("CHROMIUM", chromium),
        )
    })?;
    let found: Value = serde_json::from_str(&text).with_context(|| format!("{part}.mjs printed no JSON"))?;
    println!("\n{}", times(&found));
    Ok(found)
}

/// Copies this package to where the scripts in `call` and `wait` import the peers from.
fn beside_the_peers(workspace: &Workspace) -> Result<()> {
    let ours = workspace.path(BENCH).join("node_modules").join("custom-template-jobs");
    shell::fresh_directory(&ours)?;
    shell::copy_directory(&pack::package(workspace), &ours)
}

/// The polls of each client and the delay until it sees the end: in a replay of many jobs, and with real clients for a few.
fn polling(workspace: &Workspace) -> Result<Value> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        bail!("{missing}");
    }
    let path = workspace.target.join("bench").join("replay.json");
    let replayed = shell::tee(workspace.cargo().args(["run", "--package", "polling", "--", "--json"]).arg(&path))?;
    beside_the_peers(workspace)?;
    let text = step("let the real clients wait", || {
        shell::read(Command::new("node").arg(workspace.path("tests/bench/polling.mjs")).arg(&path))
    })?;
    let seen: Value = serde_json::from_str(&text).context("polling.mjs printed no JSON")?;
    let clients = by_client(&seen);
    println!("\n{}", side_by_side(&clients));
    let mut report: Map<String, Value> = serde_json::from_str(&shell::read_text(&path)?)?;
    report.insert("side".to_owned(), seen);
    if !replayed.status.success() {
        bail!("the replay does not show what it must");
    }
    if let Some(apart) = clients.iter().find(|client| !client.agrees()) {
        bail!("{} asked {} times where the replay says {}", apart.name, apart.requests, apart.replayed);
    }
    Ok(Value::Object(report))
}

/// The requests of a real client for a few jobs, and those of the replay.
#[derive(Debug, PartialEq)]
struct Client {
    name: String,
    jobs: f64,
    requests: f64,
    replayed: f64,
    /// Sums, in seconds.
    lag: f64,
    replayed_lag: f64,
}

/// The tolerance between a real client and the replay, which has neither a network nor late timers: a share of the requests,
/// and a number for each job.
const APART: (f64, f64) = (0.08, 0.5);

impl Client {
    fn agrees(&self) -> bool {
        (self.requests - self.replayed).abs() <= APART.0 * self.replayed + APART.1 * self.jobs
    }
}

fn by_client(seen: &Value) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::new();
    for wait in seen["waits"].as_array().into_iter().flatten() {
        let name = wait["client"].as_str().unwrap_or_default();
        let number = |side: &str, field: &str| wait[side][field].as_f64().unwrap_or(f64::NAN);
        let at = clients.iter().position(|client| client.name == name).unwrap_or_else(|| {
            let name = name.to_owned();
            clients.push(Client { name, jobs: 0.0, requests: 0.0, replayed: 0.0, lag: 0.0, replayed_lag: 0.0 });
            clients.len() - 1
        });
        let client = &mut clients[at];
        client.jobs += 1.0;
        client.requests += number("real", "requests");
        client.replayed += number("replayed", "requests");
        client.lag += number("real", "lag") / 1_000.0;
        client.replayed_lag += number("replayed", "lag") / 1_000.0;
    }
    clients.sort_by(|one, other| one.requests.total_cmp(&other.requests));
    clients
}

/// A table with a row for each client.
fn side_by_side(clients: &[Client]) -> String {
    let heads = ["requests", "replayed", "lag s", "replayed"];
    let width = clients.iter().map(|client| client.name.len()).max().unwrap_or(0);
    let mut text = format!("real clients: means of a few jobs\n{:width$}", "");
    text.extend(heads.map(|head| format!("  {head:>8}")));
    for client in clients {
        text = format!("{text}\n{:width$}", client.name);
        let sums = [client.requests, client.replayed, client.lag, client.replayed_lag];
        text.extend(sums.map(|sum| format!("  {:>8.2}", sum / client.jobs)));
    }
    text + "\n"
}

/// A table with a row for each library and a column for each place of measurement.
fn times(found: &Value) -> String {
    let places: Vec<(&String, &Value)> = found["results"].as_object().into_iter().flatten().collect();
    let libraries: Vec<&str> = found["libraries"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let width = libraries.iter().map(|name| name.len()).max().unwrap_or(0);
    let line = |name: &str, cells: Vec<String>| format!("{name:width$}{}\n", cells.concat());
    let what = found["what"].as_str().unwrap_or_default();
    let heads = line("", places.iter().map(|(place, _)| format!("  {place:>24}")).collect());
    let rows = libraries.into_iter().map(|library| {
        let cell = |result: &Value| {
            let number = |field: &str| result[library][field].as_f64().unwrap_or(f64::NAN);
            format!("  {:>16.3} (x{:.2})", number("ms"), number("ratio"))
        };
        line(library, places.iter().map(|(_, result)| cell(result)).collect())
    });
    format!("{what}\n{heads}{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_one_part_keeps_the_results_of_the_others() {
        let directory = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a folder");
        let path = directory.join("report.json");
        assert!(earlier(&path).is_empty(), "no report yet");
        fs::write(&path, r#"{"size": {"ours": 1}}"#).expect("a report");
        assert_eq!(earlier(&path)["size"], json!({ "ours": 1 }));
        fs::write(&path, "half a rep").expect("a broken report");
        assert!(earlier(&path).is_empty(), "a report that cannot be read");
        fs::remove_dir_all(&directory).expect("it is there");
    }

    #[test]
    fn a_client_that_differs_from_the_replay_is_an_error() {
        let wait = |client: &str, real: f64, replayed: f64| json!({ "client": client, "real": { "requests": real, "lag": 900 }, "replayed": { "requests": replayed, "lag": 1_000 } });
        let seen = json!({ "waits": [wait("one", 100.0, 108.0), wait("other", 10.0, 8.0), wait("one", 50.0, 53.0)] });
        let clients = by_client(&seen);
        let found: Vec<(&str, f64, bool)> =
            clients.iter().map(|client| (client.name.as_str(), client.requests, client.agrees())).collect();
        assert_eq!(found, [("other", 10.0, false), ("one", 150.0, true)]);
        assert!(
            side_by_side(&clients).contains("one       75.00     80.50      0.90      1.00"),
            "{}",
            side_by_side(&clients)
        );
        let nothing = by_client(&json!({ "waits": [{ "client": "one" }] }));
        assert!(!nothing[0].agrees(), "what was not measured");
    }

    #[test]
    fn the_table_of_charges_has_every_fault_and_connection() {
        let cell = |posts: u32| json!({ "requests": 1, "posts": posts, "charges": posts, "ended": "resolves" });
        let found = json!({
            "faults": ["closed", "refused"],
            "ours": { "Node": { "closed": { "fresh": cell(1), "reused": cell(2) }, "refused": { "fresh": cell(0) } } },
        });
        let lines: Vec<String> =
            counted(&found, "ours").lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["Node", "closed fresh 1 / 1 / 1", "closed reused 1 / 2 / 2", "refused fresh 1 / 0 / 0"]);
    }

    #[test]
    fn the_table_has_every_library_and_every_place() {
        let found = json!({
            "what": "ms",
            "libraries": ["fetch", "ours"],
            "results": { "Node": { "fetch": { "ms": 2.0, "ratio": 1.0 }, "ours": { "ms": 2.5, "ratio": 1.25 } } },
        });
        let lines: Vec<String> =
            times(&found).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["ms", "Node", "fetch 2.000 (x1.00)", "ours 2.500 (x1.25)"]);
    }
}
