//! Test counts, read from the output of cargo's and Node's test runners.

use std::fmt;
use std::ops::AddAssign;

use anyhow::Result;

use crate::shell;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Counts {
    pub fn passed(passed: usize) -> Self {
        Self { passed, ..Self::default() }
    }

    pub fn failed(failed: usize) -> Self {
        Self { failed, ..Self::default() }
    }

    /// Counts one check, and prints its name and why it failed.
    pub fn of(name: &str, result: Result<()>) -> Self {
        match result {
            Ok(()) => {
                println!("test {name} ... ok");
                Self::passed(1)
            }
            Err(error) => {
                println!("test {name} ... FAILED\n{error:#}");
                Self::failed(1)
            }
        }
    }

    /// Counts a suite that cannot run here, and says why.
    pub fn skipped(why: &str) -> Self {
        println!("skipped: {why}");
        Self { skipped: 1, ..Self::default() }
    }

    /// The same counts with every skip as a failure.
    pub fn without_skips(self) -> Self {
        Self { failed: self.failed + self.skipped, skipped: 0, ..self }
    }

    /// The sums of the `test result:` lines of cargo's test binaries and wasm-bindgen's runner.
    pub fn of_cargo(run: &shell::Run) -> Self {
        let mut counts = Self::default();
        for line in run.lines.iter().filter(|line| line.contains("test result: ")) {
            counts.passed += number_before(line, " passed");
            counts.failed += number_before(line, " failed");
        }
        counts.with_status(run)
    }

    /// The totals at the end of Node's TAP: `# pass 3`, `# fail 0`. A cancelled test counts as failed.
    pub fn of_node(run: &shell::Run, tap: &str) -> Self {
        Self::of_tap(tap).with_status(run)
    }

    /// The same for a finished run.
    pub fn of_tap(tap: &str) -> Self {
        let number = |name: &str| -> usize {
            let value = tap.lines().rev().find_map(|line| line.strip_prefix("# ")?.strip_prefix(name));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Self { passed: number("pass "), failed: number("fail ") + number("cancelled "), skipped: number("skipped ") }
    }

    /// A run that failed without a failed test (it did not compile, it was killed) counts as one failure.
    fn with_status(mut self, run: &shell::Run) -> Self {
        if self.failed == 0 && !run.status.success() {
            eprintln!("error: the command ended with {}", run.status);
            self.failed = 1;
        }
        self
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The number before these words, or 0.
fn number_before(line: &str, words: &str) -> usize {
    let before = line.split(words).next().filter(|before| before.len() < line.len());
    before.and_then(|before| before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: &str, lines: &[&str]) -> shell::Run {
        let status = std::process::Command::new(code).status();
        shell::Run { status: status.unwrap_or_default(), lines: lines.iter().map(|&line| line.to_owned()).collect() }
    }

    #[test]
    fn the_result_lines_of_all_test_binaries_are_added_up() {
        let run = run(
            "true",
            &[
                "running 2 tests",
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
                "test result: FAILED. 3 passed; 2 failed; 0 ignored",
            ],
        );
        assert_eq!(Counts::of_cargo(&run), Counts { passed: 15, failed: 2, skipped: 0 });
    }

    #[test]
    fn a_run_that_fails_before_its_tests_is_one_failure() {
        assert_eq!(Counts::of_cargo(&run("false", &[])), Counts::failed(1));
        assert_eq!(Counts::of_node(&run("false", &[]), ""), Counts::failed(1));
    }

    #[test]
    fn the_summary_of_node_is_read_from_its_last_lines() {
        let tap = "# pass 99\nok 1\n# tests 6\n# pass 3\n# fail 1\n# cancelled 1\n# skipped 1\n";
        let counts = Counts::of_node(&run("false", &[]), tap);
        assert_eq!(counts, Counts { passed: 3, failed: 2, skipped: 1 });
        assert_eq!(counts.to_string(), "3 passed, 2 failed, 1 skipped");
        assert_eq!(counts.without_skips().to_string(), "3 passed, 3 failed");
    }
}
