//! The parts of the Rust toolchain that a command needs: checked, and installed by rustup if they are missing.
//!
//! `rust-toolchain.toml` lists them too, but rustup ignores it if `RUSTUP_AUTO_INSTALL=0` is set, and other toolchains do not
//! read it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, step};
use crate::wasm::TARGET;
use crate::workspace;

/// A part of the toolchain.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    is_present: fn() -> Result<bool>,
    /// The arguments with which rustup adds it.
    add: &'static [&'static str],
    /// What to install without rustup.
    without_rustup: &'static str,
}

pub const WASM_TARGET: Part = Part {
    name: "Rust's target wasm32-unknown-unknown",
    is_present: has_wasm_target,
    add: &["target", "add", TARGET],
    without_rustup: "libstd-rust-dev-wasm32 on Debian and Ubuntu, rust-std-static-wasm32-unknown-unknown on Fedora, \
                     rust-wasm on Arch",
};

pub const CLIPPY: Part = Part {
    name: "clippy",
    is_present: || runs("clippy"),
    add: &["component", "add", "clippy"],
    without_rustup: "rust-clippy on Debian and Ubuntu, clippy on Fedora",
};

pub const RUSTFMT: Part = Part {
    name: "rustfmt",
    is_present: || runs("fmt"),
    add: &["component", "add", "rustfmt"],
    without_rustup: "rustfmt on Debian, Ubuntu and Fedora",
};

/// Adds missing parts and prints so. Without rustup, fails with a message about what to install.
pub fn ensure(parts: &[&Part]) -> Result<()> {
    let rustup = shell::find_program(&["rustup", "rustup.exe"]);
    parts.iter().try_for_each(|part| ensure_with(rustup.as_deref(), part))
}

fn ensure_with(rustup: Option<&Path>, part: &Part) -> Result<()> {
    if (part.is_present)()? {
        return Ok(());
    }
    let Part { name, add, without_rustup, .. } = part;
    let Some(rustup) = rustup else {
        bail!(
            "{name} is missing, and there is no rustup to add it. Install it with your system's packages \
             ({without_rustup}), at the version of `rustc`, or install Rust with rustup (https://rustup.rs)"
        );
    };
    step(&format!("{name} is missing: `rustup {}`", add.join(" ")), || shell::run(Command::new(rustup).args(*add)))?;
    if !(part.is_present)()? {
        bail!(
            "rustup added {name}, but not to the toolchain that `cargo` belongs to. Put rustup's `cargo` first in PATH, \
             or install it with your system's packages ({without_rustup})"
        );
    }
    Ok(())
}

fn has_wasm_target() -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    let directory = shell::read(command.args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(Path::new(directory.trim()).is_dir())
}

/// Whether cargo has this command. rustup puts a proxy for it into PATH, which fails if the component is missing.
fn runs(command: &str) -> Result<bool> {
    let mut cargo = workspace::cargo();
    cargo.args([command, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(cargo.status().context("cargo could not be started")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `add` are the arguments of cargo, which stands in for rustup.
    const MISSING: Part =
        Part { name: "the part", is_present: || Ok(false), add: &["--version"], without_rustup: "its package" };

    #[test]
    fn an_installed_part_needs_no_rustup() {
        assert!(ensure_with(None, &Part { is_present: || Ok(true), ..MISSING }).is_ok());
    }

    #[test]
    fn without_rustup_the_error_names_what_to_install() {
        let message = ensure_with(None, &MISSING).expect_err("it is missing").to_string();
        assert!(message.contains("the part is missing") && message.contains("its package"), "{message}");
    }

    #[test]
    fn a_part_that_rustup_added_to_another_toolchain_is_still_missing() {
        let message = ensure_with(Some(Path::new(env!("CARGO"))), &MISSING).expect_err("it is missing").to_string();
        assert!(message.contains("not to the toolchain"), "{message}");
    }
}
