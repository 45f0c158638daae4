//! The command that runs many seeds on several threads: `simulation [--seeds FROM..TO] [--operations N] [--threads N] [--trace]`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use simulation::{Broken, FAULTS, Options, Report, run};

struct Arguments {
    first: u64,
    last: u64,
    operations: u64,
    threads: usize,
    trace: bool,
}

fn arguments() -> Result<Arguments, String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut given = Arguments { first: 0, last: 10_000, operations: 100, threads, trace: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--trace" {
            given.trace = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{word}: {text} is not a number"));
        match word.as_str() {
            "--seeds" => {
                let (first, last) = value.split_once("..").unwrap_or((&value, ""));
                given.first = number(first)?;
                given.last = if last.is_empty() { given.first + 1 } else { number(last)? };
            }
            "--operations" => given.operations = number(&value)?,
            "--threads" => given.threads = number(&value)?.max(1) as usize,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(given)
}

/// Runs one seed. Every 100th seed runs twice and must give the same result.
fn checked(seed: u64, options: Options) -> Result<Report, Broken> {
    let report = run(seed, options)?;
    if seed.is_multiple_of(100) && run(seed, options)?.hash != report.hash {
        return Err(Broken { seed, rule: "the same seed ran differently".to_owned(), trace: Vec::new() });
    }
    Ok(report)
}

fn main() -> ExitCode {
    let given = match arguments() {
        Ok(given) => given,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let options = Options { operations: given.operations, ..Options::default() };
    let begun = Instant::now();
    let next = AtomicU64::new(given.first);
    let work = || {
        let (mut sum, mut broken) = (Report::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= given.last {
                return (sum, broken);
            }
            match checked(seed, options) {
                Ok(report) => sum.add(&report),
                Err(rule) => broken.push(rule),
            }
        }
    };
    let (mut sum, mut broken) = (Report::default(), Vec::new());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..given.threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok((report, rules)) => {
                    sum.add(&report);
                    broken.extend(rules);
                }
                Err(_) => broken.push(Broken { seed: 0, rule: "a thread panicked".to_owned(), trace: Vec::new() }),
            }
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} operations over {} seeds in {seconds:.1} s on {} threads: {:.0} operations/s; {} requests, {} charges, {} events",
        sum.operations,
        given.last - given.first,
        given.threads,
        sum.operations as f64 / seconds,
        sum.requests,
        sum.charges,
        sum.events,
    );
    println!("open at the end: {}, after settling: {}; hash {:016x}", sum.open[0], sum.open[1], sum.hash);
    let struck: Vec<String> = FAULTS.iter().zip(&sum.struck).map(|((name, _), struck)| format!("{name} {struck}")).collect();
    println!("faults: {}", struck.join(", "));

    broken.sort_by_key(|broken| broken.seed);
    for broken in broken.iter().take(20) {
        println!("{broken}");
    }
    if let Some(first) = broken.first() {
        println!("{} seeds broke a rule; the first: --seeds {} --operations {}", broken.len(), first.seed, given.operations);
        if given.trace
            && let Err(again) = run(first.seed, Options { trace: true, ..options })
        {
            println!("{}", again.trace.join("\n"));
        }
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
