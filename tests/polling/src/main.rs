//! Prints what each client costs over the worlds that judge: `polling [--from 3000] [--to 3200] [--jobs 300] [--json FILE]`.

use std::process::ExitCode;

use polling::judge::{Found, JOBS, JUDGED, Verdict};
use polling::{report, side};

struct Arguments {
    from: u64,
    to: u64,
    jobs: usize,
    json: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut given = Arguments { from: JUDGED.start, to: JUDGED.end, jobs: JOBS, json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: {value} is no number"));
        match word.as_str() {
            "--from" => given.from = number()?,
            "--to" => given.to = number()?,
            "--jobs" => given.jobs = number()?.max(1) as usize,
            "--json" => given.json = Some(value),
            other => return Err(format!("there is no argument {other}")),
        }
    }
    Ok(given)
}

fn run() -> Result<(), String> {
    let Arguments { from, to, jobs, json } = arguments()?;
    let found: Vec<Found> = (from..to).map(|seed| Found::of(seed, jobs)).collect();
    let verdict = Verdict::of(&found, jobs);
    println!("{}", verdict.text());
    if let Some(path) = json {
        let text = format!("{:#}\n", report::json(&found, &verdict, &side::jobs(from)));
        std::fs::write(&path, text).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
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
