//! The library's tests in WebAssembly: in Node and in browsers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::browser;
use super::counts::Counts;
use super::debian::{self, CHROMEDRIVER, CHROMIUM, FIREFOX, NODE, WEBKIT_DRIVER, XVFB};
use super::lab::Lab;
use crate::shell::{self, step};
use crate::wasm;
use crate::workspace::LIBRARY;

/// Arguments of cargo: the library, compiled to WebAssembly.
pub const LIBRARY_FOR_WASM: [&str; 4] = ["--package", LIBRARY, "--target", wasm::TARGET];

pub fn node(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE])? {
        return Ok(Counts::skipped(&missing));
    }
    let mut command = command(lab)?;
    // The mode in which the test runner gives Node ES modules, which the crate's scripts are.
    Ok(Counts::of_cargo(&shell::tee(command.env("WASM_BINDGEN_USE_NODE_EXPERIMENTAL", "1"))?))
}

pub fn chromium(lab: &mut Lab) -> Result<Counts> {
    let [chromium, driver] = match debian::find([&CHROMIUM, &CHROMEDRIVER])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let capabilities = browser::chromium_capabilities(&lab.workspace, &chromium)?;
    let mut command = browser(lab, "CHROMEDRIVER", &driver)?;
    Ok(Counts::of_cargo(&shell::tee(command.env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities))?))
}

pub fn firefox(lab: &mut Lab) -> Result<Counts> {
    let [firefox] = match debian::find([&FIREFOX])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let driver = browser::geckodriver(&lab.workspace)?;
    let capabilities = browser::firefox_capabilities(&lab.workspace, &firefox)?;
    let mut command = browser(lab, "GECKODRIVER", &driver)?;
    Ok(Counts::of_cargo(&shell::tee(command.env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities))?))
}

pub fn webkit(lab: &mut Lab) -> Result<Counts> {
    let [driver, xvfb] = match debian::find([&WEBKIT_DRIVER, &XVFB])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let display = lab.display(&xvfb)?;
    // WebKitGTK's driver is used like Safari's: without capabilities, it starts its own MiniBrowser.
    let mut command = browser(lab, "SAFARIDRIVER", &driver)?;
    Ok(Counts::of_cargo(&shell::tee(command.env("DISPLAY", &display.name).env_remove("WAYLAND_DISPLAY"))?))
}

/// The library's wasm tests in the browser whose driver is in this environment variable of the test runner.
fn browser(lab: &mut Lab, variable: &str, driver: &Path) -> Result<Command> {
    let mut command = command(lab)?;
    for name in ["GECKODRIVER", "SAFARIDRIVER", "CHROMEDRIVER", "MSEDGEDRIVER"] {
        // The runner uses the first variable that is set, of any browser.
        command.env_remove(name).env_remove(format!("{name}_REMOTE"));
    }
    command.env("WASM_BINDGEN_USE_BROWSER", "1").env(variable, driver);
    Ok(command)
}

/// The library's wasm tests. The sandbox's URL is compiled in, since a page has no environment.
fn command(lab: &mut Lab) -> Result<Command> {
    let url = lab.sandbox_url()?;
    let runner = runner(lab)?;
    let mut command = lab.workspace.cargo();
    command
        .arg("test")
        .args(LIBRARY_FOR_WASM)
        .args(["--features", "serde", "--test", "*", "--no-fail-fast"])
        .args(with_runner(&runner))
        .env("WASM_BINDGEN_TEST_TIMEOUT", "120")
        .env("SANDBOX_URL", url);
    Ok(command)
}

/// The cargo option that sets the runner of WebAssembly. An environment variable would split a path at its spaces.
pub fn with_runner(runner: &Path) -> [String; 2] {
    let path = serde_json::Value::from(runner.to_string_lossy());
    ["--config".to_owned(), format!("target.{}.runner = [{path}]", wasm::TARGET)]
}

pub fn runner(lab: &Lab) -> Result<PathBuf> {
    step("build wasm-bindgen's test runner", || {
        shell::run(lab.workspace.cargo().args(["build", "--package", "wasm-bindgen-runner"]))
    })?;
    Ok(lab.workspace.program("wasm-bindgen-test-runner"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_below_a_path_with_a_space_is_one_word() {
        let [flag, config] = with_runner(Path::new("/a path/runner"));
        assert_eq!(
            (flag.as_str(), config.as_str()),
            ("--config", r#"target.wasm32-unknown-unknown.runner = ["/a path/runner"]"#)
        );
    }
}
