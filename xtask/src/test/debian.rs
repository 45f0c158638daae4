//! The programs that suites need: found on the machine, or installed from Debian's packages where that is possible.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// A program that a suite needs: its possible names, and its Debian package.
#[derive(Debug)]
pub struct Program {
    pub names: &'static [&'static str],
    pub package: &'static str,
}

pub const NODE: Program = Program { names: &["node"], package: "nodejs" };
pub const NPM: Program = Program { names: &["npm"], package: "npm" };
pub const CHROMIUM: Program = Program { names: &["chromium", "chromium-browser", "google-chrome"], package: "chromium" };
pub const CHROMEDRIVER: Program = Program { names: &["chromedriver"], package: "chromium-driver" };
pub const FIREFOX: Program = Program { names: &["firefox-esr", "firefox"], package: "firefox-esr" };
/// Includes the browser.
pub const WEBKIT_DRIVER: Program = Program { names: &["WebKitWebDriver"], package: "webkit2gtk-driver" };
/// Includes the module for virtual environments.
pub const PYTHON: Program = Program { names: &["python3"], package: "python3-venv" };
/// Includes ffprobe, and the H.264 decoder of Firefox.
pub const FFMPEG: Program = Program { names: &["ffmpeg"], package: "ffmpeg" };
/// Includes the data for English.
pub const TESSERACT: Program = Program { names: &["tesseract"], package: "tesseract-ocr" };
/// A display for machines without one.
pub const XVFB: Program = Program { names: &["Xvfb"], package: "xvfb" };

/// The paths of the programs, after an installation if necessary; otherwise a message about what is missing.
pub fn find<const N: usize>(programs: [&Program; N]) -> Result<Result<[PathBuf; N], String>> {
    let missing = || programs.iter().filter(|program| shell::find_program(program.names).is_none());
    let packages: Vec<&str> = missing().map(|program| program.package).collect();
    if !packages.is_empty() && is_root_on_debian() {
        install(&packages)?;
    }
    let missing: Vec<&Program> = missing().copied().collect();
    if !missing.is_empty() {
        return Ok(Err(how_to_get(&missing)));
    }
    Ok(Ok(programs.map(|program| shell::find_program(program.names).unwrap_or_default())))
}

/// What is missing, and the packages that hold it.
fn how_to_get(missing: &[&Program]) -> String {
    let names: Vec<&str> = missing.iter().filter_map(|program| program.names.first().copied()).collect();
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    format!(
        "this machine has no {}. On Debian and Ubuntu, `apt-get install {}` installs it",
        names.join(" and no "),
        packages.join(" ")
    )
}

fn is_root_on_debian() -> bool {
    let root = || {
        let id = Command::new("id").arg("-u").output();
        id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
    };
    Path::new("/etc/debian_version").exists() && shell::find_program(&["apt-get"]).is_some() && root()
}

fn install(packages: &[&str]) -> Result<()> {
    shell::step(&format!("install Debian's {}", packages.join(", ")), || {
        let apt = || {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        };
        shell::run(apt().args(["update", "-qq"]))?;
        shell::run(apt().args(["install", "-qq", "-y", "--no-install-recommends"]).args(packages))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_packages() {
        assert_eq!(
            how_to_get(&[&NODE, &CHROMEDRIVER]),
            "this machine has no node and no chromedriver. On Debian and Ubuntu, `apt-get install nodejs chromium-driver` \
             installs it"
        );
    }
}
