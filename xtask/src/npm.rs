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

/// Installs the pinned tools when they are missing or when the pins have changed since.
pub fn install_tools(workspace: &Workspace) -> Result<()> {
    let tests = workspace.path("tests");
    let wanted = shell::read_text(&tests.join("package-lock.json"))?;
    let stamp = tests.join("node_modules").join(".installed-lock.json");
    if shell::read_text(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    shell::step("install the npm tools that tests/package.json pins", || {
        shell::run(npm(&tests).arg("ci"))?;
        shell::write_file(&stamp, &wanted)
    })
}
