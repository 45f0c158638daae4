//! The workspace: its root, cargo's target directory, and its version.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The library's package, the root package of the workspace.
pub const LIBRARY: &str = "custom-template-jobs";

/// The result of `cargo metadata` for the checkout of the working directory.
#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub target: PathBuf,
    /// The library's version, which is also the npm package's.
    pub version: String,
    /// The directories of dependencies' sources, such as cargo's registry cache.
    pub sources: BTreeSet<PathBuf>,
}

impl Workspace {
    /// Runs `cargo metadata`, so that `CARGO_TARGET_DIR` and cargo's configuration are respected.
    pub fn find() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--format-version", "1"])
            // Only the wasm's dependencies, so that packages of other platforms are not downloaded.
            .args(["--filter-platform", "wasm32-unknown-unknown"])
            .stderr(std::process::Stdio::inherit())
            .output()
            .context("cargo could not be started; install Rust with rustup")?;
        if !output.status.success() {
            bail!("`cargo metadata` failed; run this command inside the checkout");
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")?;
        let directory = |name: &str| -> Result<PathBuf> {
            let path = metadata[name].as_str();
            Ok(path.with_context(|| format!("`cargo metadata` names no {name}"))?.into())
        };
        let root = directory("workspace_root")?;
        let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
        let library = packages
            .iter()
            .find(|package| package["name"] == LIBRARY && package["source"].is_null())
            .and_then(|package| package["version"].as_str())
            .with_context(|| format!("{} holds no package `{LIBRARY}`", root.display()))?;
        Ok(Self {
            target: directory("target_directory")?,
            version: library.to_owned(),
            sources: packages.iter().filter_map(source_directory).collect(),
            root,
        })
    }

    /// A path inside the checkout.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A `cargo` command at the root. It shows no progress bar, since two may run in parallel.
    pub fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root).env("CARGO_TERM_PROGRESS_WHEN", "never");
        command
    }

    /// The path of a native program built in the dev profile.
    pub fn program(&self, name: &str) -> PathBuf {
        self.built("debug", name)
    }

    /// The path of a native program built in the release profile.
    pub fn release_program(&self, name: &str) -> PathBuf {
        self.built("release", name)
    }

    fn built(&self, directory: &str, name: &str) -> PathBuf {
        self.target.join(directory).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }
}

/// The cargo that started this program, so that both use the same toolchain.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The parent of a dependency's own directory; none for the workspace's own packages.
fn source_directory(package: &Value) -> Option<PathBuf> {
    package["source"].as_str()?;
    let manifest = Path::new(package["manifest_path"].as_str()?);
    Some(manifest.parent()?.parent()?.to_owned())
}
