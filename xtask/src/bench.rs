//! `cargo xtask bench`: ours beside the peers, measured in one run.

mod load;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::shell::{self, step};
use crate::sizes::{self, Size};
use crate::test::debian::{self, CHROMIUM, NODE, NPM};
use crate::workspace::Workspace;
use crate::{npm, pack};

/// Where the peers are pinned, and where each has scripts that do the same job with it.
const BENCH: &str = "xtask/bench";

struct Part {
    name: &'static str,
    measure: fn(&Workspace) -> Result<Value>,
}

const PARTS: &[Part] = &[
    Part { name: "size", measure: size },
    Part { name: "start", measure: start },
    Part { name: "overhead", measure: overhead },
    Part { name: LOAD, measure: load::run },
];

/// The part that measures the sandbox: it needs neither the package nor its peers.
const LOAD: &str = "load";

/// Runs the parts that are named, or all of them, and writes what they found beside what other runs found.
pub fn run(workspace: &Workspace, names: &[String]) -> Result<ExitCode> {
    if let Some(other) = names.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!("there is no bench `{other}`; there are {}", known.join(", "));
    }
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
    Ok(ExitCode::SUCCESS)
}

/// What earlier runs found; nothing where there was none or where it cannot be read.
fn earlier(path: &Path) -> Map<String, Value> {
    let text = shell::read_text(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// What a page loads to run one job to its end, with ours and with each peer, bundled and minified alike.
fn size(workspace: &Workspace) -> Result<Value> {
    let mut rows = vec![("custom-template-jobs".to_owned(), pack::page_size(workspace)?)];
    let entries = workspace.path(BENCH).join("size");
    for entry in fs::read_dir(&entries).with_context(|| format!("{} is missing", entries.display()))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        rows.push((name, Size::of(&pack::bundle(workspace, &path)?)?));
    }
    rows.sort_by_key(|(_, size)| size.brotli);
    let table: Vec<(&str, Size)> = rows.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    println!("{}", sizes::table(&table));
    Ok(rows
        .into_iter()
        .map(|(name, size)| (name, json!({ "raw": size.raw, "gzip": size.gzip, "brotli": size.brotli })))
        .collect())
}

/// How long it takes from a library's import to its first request.
fn start(workspace: &Workspace) -> Result<Value> {
    timed(workspace, "start")
}

/// What a library adds to one status read.
fn overhead(workspace: &Workspace) -> Result<Value> {
    timed(workspace, "overhead")
}

/// Runs `tests/bench/<part>.mjs`, which measures every library in one process and prints what it found as JSON.
fn timed(workspace: &Workspace, part: &str) -> Result<Value> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => bail!("{missing}"),
    };
    // Beside the peers, so that the scripts in `call` find ours as they find them.
    let ours = workspace.path(BENCH).join("node_modules").join("custom-template-jobs");
    shell::fresh_directory(&ours)?;
    shell::copy_directory(&pack::package_directory(workspace), &ours)?;
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

/// A table with a line for each library and a column for each place where it was measured.
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
    fn a_run_of_one_part_keeps_what_the_others_found() {
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
