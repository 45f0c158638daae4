//! Parts that several suites share: a sandbox, the npm package, and displays.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

use super::display::Display;
use super::node::sandbox_program;
use crate::pack::{self, Package};
use crate::sandbox::Sandbox;
use crate::workspace::Workspace;

/// The acceleration of the tests' sandbox: a job of a minute takes three seconds.
const SPEED: &str = "20";

/// Parts that several suites share, made when the first of them needs one.
pub struct Lab {
    pub workspace: Workspace,
    sandbox: Option<Sandbox>,
    pub package: Option<Package>,
    /// Functions that stop child processes when a signal ends this process.
    stoppers: Option<Stoppers>,
}

type Stoppers = Arc<Mutex<Vec<Box<dyn Fn() + Send>>>>;

impl Lab {
    pub fn new(workspace: Workspace) -> Self {
        Self { workspace, sandbox: None, package: None, stoppers: None }
    }

    /// Adds a function to call when a signal ends this process.
    pub fn on_signal(&mut self, stop: impl Fn() + Send + 'static) -> Result<()> {
        if self.stoppers.is_none() {
            let stoppers = Stoppers::default();
            let watched = Arc::clone(&stoppers);
            ctrlc::set_handler(move || {
                for stop in watched.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    stop();
                }
                std::process::exit(130);
            })
            .context("Ctrl-C could not be watched")?;
            self.stoppers = Some(stoppers);
        }
        if let Some(stoppers) = &self.stoppers {
            stoppers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(stop));
        }
        Ok(())
    }

    /// A display for one suite.
    pub fn display(&mut self, xvfb: &Path) -> Result<Display> {
        let display = Display::start(xvfb)?;
        self.on_signal(display.stopper())?;
        Ok(display)
    }

    /// The URL of a sandbox that all suites share. Its clock is accelerated, and it accepts pages of any origin.
    pub fn sandbox_url(&mut self) -> Result<String> {
        if self.sandbox.is_none() {
            let program = sandbox_program(&self.workspace)?;
            let mut command = Command::new(program);
            command.args(["--port", "0", "--cors", "*", "--speed", SPEED]);
            let sandbox = Sandbox::start(&mut command)?;
            self.on_signal(sandbox.stopper())?;
            self.sandbox = Some(sandbox);
        }
        let sandbox = self.sandbox.as_ref().context("the sandbox has gone")?;
        Ok(sandbox.url.clone())
    }

    /// The packed npm package.
    pub fn package(&mut self) -> Result<Package> {
        if self.package.is_none() {
            self.package = Some(pack::run(&self.workspace)?);
        }
        self.package.clone().context("the package has gone")
    }
}
