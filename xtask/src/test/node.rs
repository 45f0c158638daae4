//! Node's test runner over the files below `tests/`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::counts::Counts;
use crate::shell::{self, step};
use crate::workspace::Workspace;
use crate::{npm, sandbox};

/// Node's test runner for one directory of tests.
pub fn node_tests(workspace: &Workspace, folder: &str) -> Result<Command> {
    node_tests_of(workspace, folder, test_files(workspace, folder))
}

/// Node's test runner for some test files, with the sandbox's program in the environment.
pub fn node_tests_of(workspace: &Workspace, folder: &str, files: Vec<PathBuf>) -> Result<Command> {
    npm::install_tools(workspace)?;
    let seen = seen_directory(workspace).join(folder);
    shell::fresh_directory(&seen)?;
    let mut command = Command::new("node");
    command
        .current_dir(&workspace.root)
        .args(["--test", "--test-timeout=1200000"])
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
        .args([OsString::from("--test-reporter=tap"), destination(workspace, folder)])
        .args(files)
        .env("SANDBOX_BIN", sandbox_program(workspace)?)
        .env("SEEN_DIR", seen);
    Ok(command)
}

fn destination(workspace: &Workspace, folder: &str) -> OsString {
    let mut argument = OsString::from("--test-reporter-destination=");
    argument.push(tap_path(workspace, folder));
    argument
}

/// The file to which Node writes the results that [`Counts::of_node`] reads.
pub fn tap_path(workspace: &Workspace, folder: &str) -> PathBuf {
    workspace.target.join("test").join(format!("{folder}.tap"))
}

pub fn run_node_tests(workspace: &Workspace, folder: &str, command: &mut Command) -> Result<Counts> {
    let tap = tap_path(workspace, folder);
    fs::create_dir_all(workspace.target.join("test"))?;
    shell::write_file(&tap, "")?;
    let run = shell::tee(command)?;
    Ok(Counts::of_node(&run, &shell::read_text(&tap)?))
}

/// Installs the tarball into an empty project.
pub fn install_package(workspace: &Workspace, tarball: &Path) -> Result<PathBuf> {
    let project = workspace.target.join("test").join("node-project");
    step("install the tarball into an empty project", || {
        shell::fresh_directory(&project)?;
        shell::write_file(&project.join("package.json"), r#"{"private": true, "type": "module"}"#)?;
        shell::run(npm::npm(&project).args(["install", "--no-package-lock"]).arg(tarball))
    })?;
    Ok(project)
}

pub fn sandbox_program(workspace: &Workspace) -> Result<PathBuf> {
    step("build the sandbox", || sandbox::build(workspace))
}

/// The test files of a directory under `tests/`: `x.test.js`, `x.test.mjs`.
pub fn test_files(workspace: &Workspace, folder: &str) -> Vec<PathBuf> {
    let mut found = files(&workspace.path("tests").join(folder), &["js", "mjs"]);
    found.retain(|path| path.file_stem().is_some_and(|stem| Path::new(stem).extension() == Some("test".as_ref())));
    found
}

/// The files of a directory with this ending, sorted by name; none if the directory does not exist.
pub fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| extensions.iter().any(|&extension| end == extension)))
        .collect();
    found.sort();
    found
}

/// The directory of the records of what the package ran in; each suite has a subdirectory.
pub fn seen_directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("test").join("seen")
}
