//! The npm command, and the npm packages that the workspace pins.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell;
use crate::workspace::Workspace;

/// `npm`, printing errors only.
pub fn npm(directory: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(directory).args(["--no-audit", "--no-fund", "--loglevel=error"]);
    command
}

/// Installs the tools that tests and `pack` use.
pub fn install_tools(workspace: &Workspace) -> Result<()> {
    install(workspace, "tests")
}

/// Installs the packages that a directory pins, if they are missing or the pins have changed.
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
