//! How Chromium is started for the wasm tests: headless, with an empty profile, speaking to nobody but us.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use crate::shell;
use crate::workspace::Workspace;

const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Writes the capabilities that wasm-bindgen's test runner hands to chromedriver, and returns where.
pub fn capabilities(workspace: &Workspace, chromium: &Path) -> Result<PathBuf> {
    let directory = workspace.target.join("test");
    let profile = directory.join("chromium-profile");
    shell::fresh_directory(&profile)?;
    let mut arguments: Vec<String> = ARGUMENTS.iter().map(|&argument| argument.to_owned()).collect();
    arguments.push(format!("--user-data-dir={}", profile.display()));
    let path = directory.join("webdriver.json");
    let options = json!({ "binary": chromium, "args": arguments });
    shell::write_file(&path, json!({ "goog:chromeOptions": options }).to_string())?;
    Ok(path)
}
