//! The npm command, and the npm packages that the workspace pins.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;
use crate::workspace::Workspace;

/// `npm`, printing errors only.
pub fn npm(directory: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(directory).args(["--no-audit", "--no-fund", "--loglevel=error"]);
    command
}

/// The oldest Node that the package and its tools run in.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// Fails with what to install where Node or npm is missing, or Node is too old.
pub fn ensure_node() -> Result<()> {
    let version = |name: &str| {
        let output = Command::new(name).arg("--version").output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if let Some(missing) = missing(version("node").as_deref(), version("npm").as_deref()) {
        bail!(missing);
    }
    Ok(())
}

/// What is missing, given what `node --version` and `npm --version` print.
fn missing(node: Option<&str>, npm: Option<&str>) -> Option<String> {
    let (major, minor) = OLDEST_NODE;
    let what = match (node, npm) {
        (None, _) => "Node is missing".to_owned(),
        (Some(node), _) if parse(node).is_none_or(|version| version < OLDEST_NODE) => {
            format!("Node {} is too old", node.trim())
        }
        (_, None) => "npm is missing".to_owned(),
        _ => return None,
    };
    Some(format!(
        "{what}. Install Node {major}.{minor} or later with npm from https://nodejs.org or with your system's packages \
         (nodejs and npm on Debian and Ubuntu). `cargo xtask demo` and `cargo xtask test native` need neither"
    ))
}

/// `v20.19.1` as its major and minor number.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_node_the_error_says_how_to_get_it() {
        let words = |node, npm| missing(node, npm).unwrap_or_default();
        assert!(words(None, Some("11.0.0")).starts_with("Node is missing. Install Node 20.19 or later"));
        assert!(words(Some("v18.20.4\n"), Some("10.7.0")).starts_with("Node v18.20.4 is too old. Install"));
        assert!(words(Some("v20.18.3\n"), Some("10.7.0")).contains("too old"));
        assert!(words(Some("v24.1.0\n"), None).starts_with("npm is missing. Install"));
        assert_eq!(missing(Some("v20.19.0\n"), Some("10.8.2\n")), None);
        assert_eq!(missing(Some("v26.0.0\n"), Some("12.0.0\n")), None);
    }
}
