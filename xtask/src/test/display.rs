//! The display that a browser without a headless mode draws on: Xvfb, on a number that is free, ended with its owner.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

/// A running Xvfb, ended when it is dropped.
#[derive(Debug)]
pub struct Display {
    child: Arc<Mutex<Child>>,
    /// What `DISPLAY` is set to.
    pub name: String,
}

impl Display {
    /// Starts Xvfb and waits until it says on which display it can be reached.
    pub fn start(xvfb: &Path) -> Result<Self> {
        let mut command = Command::new(xvfb);
        // Whoever asks for a free number by himself may lose it to another; Xvfb keeps the one that it found.
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

    /// A handle that ends this display from another thread.
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

/// One that has already ended cannot be ended again, and that is well.
fn stop(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = child.kill();
    let _ = child.wait();
}
