//! Builds the sandbox, starts it and waits until it says where it listens; it ends with its owner.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::shell;
use crate::workspace::Workspace;

/// What the sandbox prints, followed by its address, when it is ready.
const READY: &str = "listening on ";

/// Builds the sandbox and returns where its program is.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    shell::run(workspace.cargo().args(["build", "--package", "sandbox"]))?;
    Ok(workspace.program("sandbox"))
}

/// Builds the sandbox with all optimisations, to measure it or what talks to it, and returns where its program is.
pub fn build_for_bench(workspace: &Workspace) -> Result<PathBuf> {
    shell::run(workspace.cargo().args(["build", "--package", "sandbox", "--release"]))?;
    Ok(workspace.release_program("sandbox"))
}

/// A running sandbox, ended when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    child: Arc<Mutex<Child>>,
    pub url: String,
}

impl Sandbox {
    /// Starts the sandbox and waits for its address. What it prints afterwards is passed on.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("the sandbox could not be started")?;
        let stdout = child.stdout.take().context("the sandbox has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let url = loop {
            let Some(line) = lines.next() else {
                let status = child.wait()?;
                bail!("the sandbox ended before it listened ({status}); its message stands above");
            };
            let line = line?;
            match line.strip_prefix(READY) {
                Some(url) => break url.trim().to_owned(),
                None => println!("{line}"),
            }
        };
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                println!("{line}");
            }
        });
        Ok(Self { child: Arc::new(Mutex::new(child)), url })
    }

    /// A handle that ends this sandbox from another thread.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let child = Arc::clone(&self.child);
        move || stop(&child)
    }

    /// Waits until the sandbox ends by itself or by its stopper.
    pub fn wait(&self) -> Result<ExitStatus> {
        loop {
            let ended = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?;
            match ended {
                Some(status) => return Ok(status),
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        stop(&self.child);
    }
}

/// A sandbox that has already ended cannot be ended again, and that is well.
fn stop(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = child.kill();
    let _ = child.wait();
}
