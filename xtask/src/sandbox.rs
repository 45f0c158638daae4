//! The sandbox as a child process: it is built, started, awaited, and stopped with its owner.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::shell;
use crate::workspace::Workspace;

/// The text that the sandbox prints before its URL when it is ready.
const READY: &str = "listening on ";

/// Builds the sandbox and returns the path of the program.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    shell::run(workspace.cargo().args(["build", "--package", "sandbox"]))?;
    Ok(workspace.program("sandbox"))
}

/// Builds the sandbox with all optimisations, for measurements, and returns the path of the program.
pub fn build_for_bench(workspace: &Workspace) -> Result<PathBuf> {
    shell::run(workspace.cargo().args(["build", "--package", "sandbox", "--release"]))?;
    Ok(workspace.release_program("sandbox"))
}

/// A running sandbox, which is stopped when dropped.
#[derive(Debug)]
pub struct Sandbox {
    child: Arc<Mutex<Child>>,
    pub url: String,
}

impl Sandbox {
    /// Starts the sandbox and waits for its URL. Its further output is passed on.
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

    /// A function that stops this sandbox from another thread.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let child = Arc::clone(&self.child);
        move || stop(&child)
    }

    /// Waits until the sandbox exits by itself or is stopped.
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

/// Killing a process that has already exited fails, which is ignored.
fn stop(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = child.kill();
    let _ = child.wait();
}
