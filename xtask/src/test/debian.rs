//! Finds the programs that suites need, and installs them from Debian's packages where we may.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// A program that a suite needs: the names it goes by, and the Debian package that holds it.
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
/// It brings the browser that it drives.
pub const WEBKIT_DRIVER: Program = Program { names: &["WebKitWebDriver"], package: "webkit2gtk-driver" };
/// It brings what environments of their own are made with.
pub const PYTHON: Program = Program { names: &["python3"], package: "python3-venv" };
/// It brings ffprobe, and what Firefox decodes H.264 with.
pub const FFMPEG: Program = Program { names: &["ffmpeg"], package: "ffmpeg" };
/// It brings what it reads English with.
pub const TESSERACT: Program = Program { names: &["tesseract"], package: "tesseract-ocr" };
/// The display of a machine that has none.
pub const XVFB: Program = Program { names: &["Xvfb"], package: "xvfb" };

/// Where each of the programs is, installed first if need be; else what is missing, in words.
pub fn find<const N: usize>(programs: [&Program; N]) -> Result<Result<[PathBuf; N], String>> {
    let missing = || programs.iter().filter(|program| shell::find_program(program.names).is_none());
    let packages: Vec<&str> = missing().map(|program| program.package).collect();
    if !packages.is_empty() && is_root_on_debian() {
        install(&packages)?;
    }
    let names: Vec<&str> = missing().filter_map(|program| program.names.first().copied()).collect();
    if !names.is_empty() {
        return Ok(Err(format!("this machine has no {}", names.join(" and no "))));
    }
    Ok(Ok(programs.map(|program| shell::find_program(program.names).unwrap_or_default())))
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
