//! The browsers of the tests: how they are found and started, headless, with an empty profile and no requests of their own.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

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

/// Firefox's driver, which Debian does not package.
const GECKODRIVER: &str = "geckodriver";
const GECKODRIVER_VERSION: &str = "0.37.1";

/// Writes the capabilities that wasm-bindgen's test runner passes to chromedriver, and returns their path.
pub fn chromium_capabilities(workspace: &Workspace, chromium: &Path) -> Result<PathBuf> {
    let profile = workspace.target.join("test").join("chromium-profile");
    shell::fresh_directory(&profile)?;
    let mut arguments: Vec<String> = ARGUMENTS.iter().map(|&argument| argument.to_owned()).collect();
    arguments.push(format!("--user-data-dir={}", profile.display()));
    let options = json!({ "binary": chromium, "args": arguments });
    write(workspace, "chromium", &json!({ "goog:chromeOptions": options }))
}

/// The same for geckodriver, which makes an empty profile and keeps Firefox from making requests.
pub fn firefox_capabilities(workspace: &Workspace, firefox: &Path) -> Result<PathBuf> {
    write(workspace, "firefox", &json!({ "moz:firefoxOptions": { "binary": firefox } }))
}

fn write(workspace: &Workspace, browser: &str, capabilities: &Value) -> Result<PathBuf> {
    let path = workspace.target.join("test").join(format!("{browser}-webdriver.json"));
    shell::write_file(&path, capabilities.to_string())?;
    Ok(path)
}

/// The machine's geckodriver, or one that is built once from source.
pub fn geckodriver(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(found) = shell::find_program(&[GECKODRIVER]) {
        return Ok(found);
    }
    let root = workspace.target.join("tools").join(format!("{GECKODRIVER}-{GECKODRIVER_VERSION}"));
    let program = root.join("bin").join(format!("{GECKODRIVER}{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        shell::step(&format!("build {GECKODRIVER} {GECKODRIVER_VERSION} from the crate registry"), || {
            let mut install = workspace.cargo();
            // The fastest build; geckodriver mostly waits for Firefox, so its own speed does not matter.
            install.args(["install", GECKODRIVER, "--version", GECKODRIVER_VERSION, "--locked", "--debug", "--root"]);
            install.env("CARGO_PROFILE_DEV_DEBUG", "0");
            shell::run(install.arg(&root))
        })?;
    }
    Ok(program)
}
