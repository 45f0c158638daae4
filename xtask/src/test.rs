//! `cargo xtask test`.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

pub struct Options;
impl Options {
    pub fn parse(_words: &[String]) -> Result<Self> {
        Ok(Self)
    }
}

pub fn run(_workspace: Workspace, _options: &Options) -> Result<ExitCode> {
    bail!("`cargo xtask test` is not built yet");
}
