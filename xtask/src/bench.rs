//! `cargo xtask bench`: ours beside the peers, in one run.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

pub fn run(_workspace: &Workspace, _parts: &[String]) -> Result<ExitCode> {
    bail!("`cargo xtask bench` is not built yet");
}
