//! Prints what each client costs over the worlds that judge: `polling [--from 3000] [--to 3200] [--jobs 300] [--json FILE]`.
//! `polling --loopback FILE` writes the jobs that real clients wait for in the suite `loopback`, and their replay.

use std::process::ExitCode;

use polling::judge::{Found, JOBS, JUDGED, Verdict};
use polling::{loopback, report, side};
use serde_json::Value;

struct Arguments {
    from: u64,
    to: u64,
    jobs: usize,
    json: Option<String>,
    loopback: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut given = Arguments { from: JUDGED.start, to: JUDGED.end, jobs: JOBS, json: None, loopback: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: {value} is no number"));
        match word.as_str() {
            "--from" => given.from = number()?,
            "--to" => given.to = number()?,
            "--jobs" => given.jobs = number()?.max(1) as usize,
            "--json" => given.json = Some(value),
            "--loopback" => given.loopback = Some(value),
            other => return Err(format!("there is no argument {other}")),
        }
    }
    Ok(given)
}

fn run() -> Result<(), String> {
    let Arguments { from, to, jobs, json, loopback } = arguments()?;
    if let Some(path) = loopback {
        return write(&path, &loopback::worlds());
    }
    let found: Vec<Found> = (from..to).map(|seed| Found::of(seed, jobs)).collect();
    let verdict = Verdict::of(&found, jobs);
    println!("{}", verdict.text());
    if let Some(path) = json {
        write(&path, &report::json(&found, &verdict, &side::jobs(from)))?;
    }
    Ok(())
}

fn write(path: &str, report: &Value) -> Result<(), String> {
    std::fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{path}: {error}"))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
