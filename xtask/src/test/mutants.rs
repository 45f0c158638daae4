//! Mutation tests: each fault that cargo-mutants puts into the rules of charging, retrying and prices must fail a test.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::counts::Counts;
use super::tools;
use crate::shell;
use crate::workspace::Workspace;

const NAME: &str = "cargo-mutants";
const VERSION: &str = "27.1.0";

/// The reviewed mutants that may survive, each with a reason.
const REVIEWED: &str = "tests/mutants/reviewed.txt";

/// Runs all mutants that `.cargo/mutants.toml` selects.
pub fn run(workspace: &Workspace) -> Result<Counts> {
    let reviewed = reviewed(&shell::read_text(&workspace.path(REVIEWED))?);
    let output = workspace.target.join("test").join("mutants");
    shell::fresh_directory(&output)?;
    let mut command = Command::new(tools::from_crates_io(workspace, NAME, VERSION)?);
    command
        .current_dir(&workspace.root)
        .args(["mutants", "--package", "custom-template-jobs", "--jobs", "1", "--no-shuffle", "--colors", "never"])
        .arg("--output")
        .arg(&output);
    // It exits with an error if a mutant survived or hung; the outcomes say which.
    shell::succeeds(&mut command)?;
    let outcomes = shell::read_text(&output.join("mutants.out").join("outcomes.json"))?;
    let outcomes: Value = serde_json::from_str(&outcomes).context("cargo-mutants wrote no JSON")?;
    Ok(judge(&outcomes, &reviewed))
}

/// The names of the reviewed mutants, and the reasons why they may survive.
fn reviewed(list: &str) -> BTreeMap<String, String> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(" | "))
        .map(|(name, why)| (name.trim().to_owned(), why.trim().to_owned()))
        .collect()
}

/// Counts every compiled mutant as a test: it passes if a test failed or hung, or if it is a reviewed one.
fn judge(outcomes: &Value, reviewed: &BTreeMap<String, String>) -> Counts {
    let mut counts = Counts::default();
    let mut stale = reviewed.clone();
    let mut tried = 0;
    for outcome in outcomes["outcomes"].as_array().map_or(&[][..], Vec::as_slice) {
        let Some(name) = outcome["scenario"]["Mutant"]["name"].as_str().map(without_place) else { continue };
        tried += 1;
        match outcome["summary"].as_str() {
            Some("CaughtMutant" | "Timeout") => counts.passed += 1,
            Some("Unviable") => {}
            Some("MissedMutant") if reviewed.contains_key(&name) => {
                println!("may survive: {name}: {}", reviewed[&name]);
                stale.remove(&name);
                counts.passed += 1;
            }
            summary => {
                eprintln!("error: {}: {name}", summary.unwrap_or("no outcome"));
                counts.failed += 1;
            }
        }
    }
    for name in stale.keys() {
        eprintln!("error: {REVIEWED} lists what does not survive: {name}");
        counts.failed += 1;
    }
    if tried == 0 {
        eprintln!("error: no mutant was tried; its own message stands above");
        counts.failed += 1;
    }
    counts
}

/// The name `src/x.rs:3:4: replace …` without line and column.
fn without_place(name: &str) -> String {
    let Some((place, what)) = name.split_once(": ") else { return name.to_owned() };
    format!("{}: {what}", place.split(':').next().unwrap_or(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(name: &str, summary: &str) -> Value {
        json!({ "scenario": { "Mutant": { "name": name } }, "summary": summary })
    }

    #[test]
    fn a_surviving_mutant_fails_unless_listed_and_the_list_has_no_others() {
        let list =
            reviewed("# a comment\nsrc/a.rs: replace + with - in f | the same\nsrc/a.rs: replace g with () | it logs\n");
        assert_eq!(list.len(), 2);
        let outcomes = json!({ "outcomes": [
            { "scenario": "Baseline", "summary": "Success" },
            outcome("src/a.rs:1:2: replace + with - in f", "MissedMutant"),
            outcome("src/a.rs:3:4: replace g with ()", "CaughtMutant"),
            outcome("src/a.rs:5:6: replace h with ()", "MissedMutant"),
            outcome("src/a.rs:7:8: replace i with ()", "Timeout"),
            outcome("src/a.rs:9:1: replace j with k", "Unviable"),
        ] });
        assert_eq!(judge(&outcomes, &list), Counts { passed: 3, failed: 2, skipped: 0 });
    }

    #[test]
    fn a_run_without_mutants_is_a_failure() {
        assert_eq!(
            judge(&json!({ "outcomes": [{ "scenario": "Baseline", "summary": "Failure" }] }), &BTreeMap::new()),
            Counts::failed(1)
        );
    }
}
