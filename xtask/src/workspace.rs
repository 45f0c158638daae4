//! Where things are: the workspace's root, cargo's target directory, and the version that all of it carries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The library's package, which is the workspace's root package.
pub const LIBRARY: &str = "custom-template-jobs";

/// What `cargo metadata` says about the checkout that the command was started in.
#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub target: PathBuf,
    /// The library's version, which the npm package takes over.
    pub version: String,
    /// The directories that hold the sources of dependencies, such as cargo's registry cache.
    pub sources: BTreeSet<PathBuf>,
}

impl Workspace {
    /// Asks cargo, so that `CARGO_TARGET_DIR` and cargo's configuration are respected.
    pub fn find() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--format-version", "1"])
            // What the wasm is made of; the packages of other platforms would be fetched in vain.
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

    /// A `cargo` that runs at the root. It draws no progress bar, since two of them may run at once.
    pub fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root).env("CARGO_TERM_PROGRESS_WHEN", "never");
        command
    }

    /// A native program that cargo built in the dev profile.
    pub fn program(&self, name: &str) -> PathBuf {
        self.built("debug", name)
    }

    /// A native program that cargo built in the release profile.
    pub fn release_program(&self, name: &str) -> PathBuf {
        self.built("release", name)
    }

    fn built(&self, directory: &str, name: &str) -> PathBuf {
        self.target.join(directory).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }
}

/// The cargo that started this program, so that both use one toolchain.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The directory around a dependency's own directory; none for the workspace's own packages.
fn source_directory(package: &Value) -> Option<PathBuf> {
    package["source"].as_str()?;
    let manifest = Path::new(package["manifest_path"].as_str()?);
    Some(manifest.parent()?.parent()?.to_owned())
}
