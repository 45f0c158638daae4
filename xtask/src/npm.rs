//! What is fetched from npm and how: the tools that `tests/package.json` pins, and the npm command itself.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell;
use crate::workspace::Workspace;

/// `npm`, quiet about anything but errors.
pub fn npm(directory: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(directory).args(["--no-audit", "--no-fund", "--loglevel=error"]);
    command
}

/// Installs the tools that tests and `pack` use.
pub fn install_tools(workspace: &Workspace) -> Result<()> {
    install(workspace, "tests")
}

/// Installs what a directory of the workspace pins, when it is missing or when the pins have changed since.
pub fn install(workspace: &Workspace, relative: &str) -> Result<()> {
    let directory = workspace.path(relative);
    let wanted = shell::read_text(&directory.join("package-lock.json"))?;
    let stamp = directory.join("node_modules").join(".installed-lock.json");
    if shell::read_text(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    shell::step(&format!("install the npm packages that {relative}/package.json pins"), || {
        shell::run(npm(&directory).arg("ci"))?;
        shell::write_file(&stamp, &wanted)
    })
}
