//! Tools that suites install below `target`, once for each version, from crates.io or `PyPI`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell::{self, step};
use crate::workspace::Workspace;

/// A command of cargo's, built here.
pub fn from_crates_io(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    let root = workspace.target.join("tools").join(format!("{name}-{version}"));
    let program = root.join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        step(&format!("build {name} {version} from crates.io"), || {
            let mut install = workspace.cargo();
            // The build is short this way, and the tool waits for cargo and not for the processor.
            install.args(["install", name, "--version", version, "--locked", "--debug", "--root"]);
            install.env("CARGO_PROFILE_DEV_DEBUG", "0");
            shell::run(install.arg(&root))
        })?;
    }
    Ok(program)
}

/// The programs of an environment of Python's own, with what `tests/<folder>/requirements.txt` pins.
pub fn from_pypi(workspace: &Workspace, python: &Path, folder: &str) -> Result<PathBuf> {
    let wanted = workspace.path("tests").join(folder).join("requirements.txt");
    let environment = workspace.target.join("test").join(format!("python-{folder}"));
    let programs = environment.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let stamp = environment.join("requirements.txt");
    let text = shell::read_text(&wanted)?;
    if shell::read_text(&stamp).is_ok_and(|installed| installed == text) {
        return Ok(programs);
    }
    step(&format!("install what tests/{folder}/requirements.txt pins from PyPI"), || {
        shell::fresh_directory(&environment)?;
        shell::run(Command::new(python).args(["-m", "venv"]).arg(&environment))
            .context("Python could not make an environment; on Debian that needs python3-venv")?;
        shell::run(Command::new(programs.join("pip")).args(["install", "--quiet", "--requirement"]).arg(&wanted))?;
        shell::write_file(&stamp, &text)
    })?;
    Ok(programs)
}
