//! `cargo xtask test`: options, the order of the suites, and the summary of their results.

mod browser;
mod counts;
pub mod debian;
mod display;
mod docs;
mod frameworks;
mod lab;
mod mutants;
mod node;
mod openapi;
mod project;
mod publish;
mod suites;
mod tools;
mod wasm_tests;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::shell;
use crate::toolchain::{self, WASM_TARGET};
use crate::workspace::Workspace;
use counts::Counts;
use lab::Lab;
use suites::{SUITES, Suite, When};

#[derive(Debug)]
pub struct Options {
    /// Print the names of the suites and run none.
    list: bool,
    /// Run every suite, and not only what every change must pass.
    all: bool,
    /// The suites that were asked for by name; then no other runs.
    named: Vec<String>,
}

/// `test` on the command line.
pub fn command() -> Command {
    let suites = Arg::new("suite")
        .value_name("SUITE")
        .num_args(0..)
        .hide_possible_values(true)
        .help("Their names; --list prints them");
    Command::new("test")
        .about("Run what every change must pass, or the suites that are named")
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Run every suite"))
        .arg(Arg::new("list").long("list").action(ArgAction::SetTrue).help("Print the names of the suites"))
        .arg(suites.value_parser(PossibleValuesParser::new(SUITES.iter().map(|suite| suite.name))))
}

impl Options {
    pub fn new(arguments: &ArgMatches) -> Self {
        let named = crate::words(arguments, "suite");
        Self { list: arguments.get_flag("list"), all: arguments.get_flag("all"), named }
    }

    fn asks_for(&self, suite: &Suite) -> bool {
        if self.named.is_empty() {
            self.all || self.list || suite.when == When::Always
        } else {
            self.named.iter().any(|name| name == suite.name)
        }
    }
}

pub fn run(workspace: Workspace, options: &Options) -> Result<ExitCode> {
    let suites: Vec<&Suite> = SUITES.iter().filter(|suite| (suite.exists)(&workspace) && options.asks_for(suite)).collect();
    if options.list {
        for suite in suites {
            let when = if suite.when == When::All { " (with --all)" } else { "" };
            println!("{:14} {}{when}", suite.name, suite.what);
        }
        return Ok(ExitCode::SUCCESS);
    }

    toolchain::ensure(&[&WASM_TARGET])?;
    let mut lab = Lab::new(workspace);
    let mut results = Vec::new();
    for suite in suites {
        println!("\n== {}: {}", suite.name, suite.what);
        let start = Instant::now();
        let counts = (suite.run)(&mut lab).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Counts::failed(1)
        });
        let counts = if in_ci() { counts.without_skips() } else { counts };
        results.push((suite.name, counts, start.elapsed()));
    }
    Ok(report(&results))
}

/// One line for each suite, and a last line with the totals.
fn report(results: &[(&str, Counts, Duration)]) -> ExitCode {
    println!();
    let mut total = Counts::default();
    for (name, counts, time) in results {
        println!("{name:14} {:12} {counts}", shell::seconds(*time));
        total += *counts;
    }
    println!("\n{total}");
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// In CI a skipped suite counts as failed, as nobody would notice it.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Vec<&'static str> {
        let arguments = command().try_get_matches_from([&["test"], words].concat()).expect("it is right");
        let options = Options::new(&arguments);
        SUITES.iter().filter(|suite| options.asks_for(suite)).map(|suite| suite.name).collect()
    }

    #[test]
    fn a_suite_of_all_runs_with_all_or_by_its_name() {
        assert!(!asked(&[]).contains(&"wasm-firefox"));
        assert!(asked(&[]).contains(&"wasm-chromium"));
        assert_eq!(asked(&["wasm-firefox"]), ["wasm-firefox"]);
        assert_eq!(asked(&["--all"]).len(), SUITES.len());
        assert_eq!(asked(&["--list"]).len(), SUITES.len());
    }
}
