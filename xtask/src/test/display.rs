//! A display for browsers without a headless mode: Xvfb on a free number, stopped with its owner.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

/// A running Xvfb, which is stopped when dropped.
#[derive(Debug)]
pub struct Display {
    child: Arc<Mutex<Child>>,
    /// The value for `DISPLAY`.
    pub name: String,
}

impl Display {
    /// Starts Xvfb and waits until it prints its display.
    pub fn start(xvfb: &Path) -> Result<Self> {
        let mut command = Command::new(xvfb);
        // A free number found beforehand could be taken in the meantime; Xvfb finds and keeps one.
        command.args(["-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("Xvfb could not be started")?;
        let mut number = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut number)?;
        }
        let display = Self { name: format!(":{}", number.trim()), child: Arc::new(Mutex::new(child)) };
        ensure!(!number.trim().is_empty(), "Xvfb ended before it had a display; its message stands above");
        Ok(display)
    }

    /// A function that stops this display from another thread.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let child = Arc::clone(&self.child);
        move || stop(&child)
    }
}

impl Drop for Display {
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
