//! Prints what each client asks and waits, and whether it shows what it must: `polling [--jobs 4000] [--seed 1] [--json FILE]`.

use std::process::ExitCode;

use polling::claims::claims;
use polling::{report, side};

struct Arguments {
    jobs: usize,
    seed: u64,
    json: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut given = Arguments { jobs: 4_000, seed: 1, json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word}: {value} is no number"));
        match word.as_str() {
            "--jobs" => given.jobs = number()?.max(1) as usize,
            "--seed" => given.seed = number()?,
            "--json" => given.json = Some(value),
            other => return Err(format!("there is no argument {other}")),
        }
    }
    Ok(given)
}

fn run() -> Result<bool, String> {
    let Arguments { jobs, seed, json } = arguments()?;
    println!("{}", report::tables(seed, jobs));
    let claims = claims(seed, jobs);
    for claim in &claims {
        println!("{} {}\n   {}", if claim.holds { "ok" } else { "NO" }, claim.says, claim.found);
    }
    if let Some(path) = json {
        let text = format!("{:#}\n", report::json(seed, jobs, &claims, &side::jobs(seed)));
        std::fs::write(&path, text).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(claims.iter().all(|claim| claim.holds))
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
