//! `cargo xtask test`: which suites there are, in what order they run, and how their results are counted.

mod browser;
mod counts;
pub mod debian;
mod suites;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::shell;
use crate::workspace::Workspace;
use counts::Counts;
use suites::{Lab, SUITES, Suite};

#[derive(Debug)]
pub struct Options {
    /// Print the names of the suites and run none.
    list: bool,
    /// The suites that were asked for; all where none was.
    named: Vec<String>,
}

impl Options {
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self { list: false, named: Vec::new() };
        for word in words {
            match word.as_str() {
                // Every suite that there is belongs to what every change must pass, so far.
                "--all" => {}
                "--list" => options.list = true,
                name if SUITES.iter().any(|suite| suite.name == name) => {
                    options.named.push(name.to_owned());
                }
                other => bail!("there is no suite `{other}`; `cargo xtask test --list` names them"),
            }
        }
        Ok(options)
    }

    fn asks_for(&self, suite: &Suite) -> bool {
        self.named.is_empty() || self.named.iter().any(|name| name == suite.name)
    }
}

pub fn run(workspace: Workspace, options: &Options) -> ExitCode {
    let suites: Vec<&Suite> = SUITES.iter().filter(|suite| (suite.exists)(&workspace) && options.asks_for(suite)).collect();
    if options.list {
        for suite in suites {
            println!("{:14} {}", suite.name, suite.what);
        }
        return ExitCode::SUCCESS;
    }

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
    report(&results)
}

/// One line for each suite, then the one line that says it all.
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

/// Where nobody reads the output, a skipped suite would never be noticed.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}
