//! Commands, files, and progress output: one line before a step, and one with its duration after it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Prints what a step does, runs it, and prints its duration.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {what}");
    let start = Instant::now();
    let result = work()?;
    println!("   done in {} ({what})", seconds(start.elapsed()));
    Ok(result)
}

/// A duration in a readable form.
pub fn seconds(time: Duration) -> String {
    if time.as_secs() >= 60 {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// Runs a command that must succeed, without capturing its output.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    check(command, status)
}

/// Runs a command that may fail, without capturing its output.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(command.status().with_context(|| cannot_start(command))?.success())
}

/// Runs a command that must succeed, and returns its output.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| cannot_start(command))?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", shown(command)))
}

/// The exit status and output of a command.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub lines: Vec<String>,
}

/// Runs a command that may fail, and passes its lines on while capturing them.
pub fn tee(command: &mut Command) -> Result<Run> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| cannot_start(command))?;
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            lines.push(line);
        }
    }
    Ok(Run { status: child.wait()?, lines })
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status}); its own message stands above", shown(command));
    }
    Ok(())
}

fn cannot_start(command: &Command) -> String {
    format!("`{}` could not be started; is it installed?", command.get_program().to_string_lossy())
}

/// A command as typed in a shell, shortened to its first words.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = command.get_args().take(6).map(OsStr::to_string_lossy);
    std::iter::once(program.to_string_lossy()).chain(words).collect::<Vec<_>>().join(" ")
}

/// The first of the named programs that is in `PATH`.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |directory| directory.join(name)))
        .find(|candidate| candidate.is_file())
}

/// Makes an empty directory, and deletes what was there before.
pub fn fresh_directory(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("{} could not be emptied", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("{} could not be made", path.display()))
}

/// Copies a directory with its contents, except for npm's own files.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} could not be made", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("{} is missing", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "node_modules" {
                copy_directory(&entry.path(), &target)?;
            }
        } else {
            copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Every file under a directory, sorted by path; none if the directory does not exist.
pub fn all_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if directory.is_dir() {
        for entry in fs::read_dir(directory).with_context(|| format!("{} could not be read", directory.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                found.append(&mut all_files(&path)?);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies one file.
pub fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} could not be copied to {}", from.display(), to.display()))?;
    Ok(())
}

/// Reads a file; an error names its path.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} could not be read", path.display()))
}

/// Reads a text file; an error names its path.
pub fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()))
}

/// Writes a file; an error names its path.
pub fn write_file(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("{} could not be written", path.display()))
}
