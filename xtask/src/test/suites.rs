//! The suites: what each runs, and what it needs to be there first.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::browser;
use super::counts::Counts;
use super::debian::{self, CHROMEDRIVER, CHROMIUM, NODE, NPM};
use crate::sandbox::{self, Sandbox};
use crate::shell::{self, step};
use crate::workspace::Workspace;
use crate::{demo, npm, pack};

#[derive(Debug)]
pub struct Suite {
    pub name: &'static str,
    pub what: &'static str,
    pub exists: fn(&Workspace) -> bool,
    pub run: fn(&mut Lab) -> Result<Counts>,
}

/// In the order in which they run: what fails fastest comes first.
pub const SUITES: &[Suite] = &[
    Suite { name: "format", what: "cargo fmt --check", exists: always, run: format },
    Suite { name: "lint", what: "clippy, natively and for wasm", exists: always, run: lint },
    Suite { name: "native", what: "cargo test --workspace", exists: always, run: native },
    Suite { name: "docs", what: "cargo doc without a warning", exists: always, run: docs },
    Suite { name: "wasm-node", what: "wasm tests in Node", exists: has_wasm, run: wasm_node },
    Suite { name: "wasm-chromium", what: "wasm tests in headless Chromium", exists: has_wasm, run: wasm_chromium },
    Suite { name: "pack", what: "the npm package builds", exists: always, run: pack_suite },
    Suite { name: "node", what: "the packed package in Node", exists: has_node, run: node },
    Suite { name: "runtimes", what: "the packed package in runtimes and bundlers", exists: has_runtimes, run: runtimes },
    Suite { name: "demo", what: "the demo page in Chromium", exists: has_demo, run: demo_suite },
    Suite { name: "examples", what: "the examples, with the packed package", exists: has_examples, run: examples },
];

const WASM: [&str; 4] = ["--package", "custom-template-jobs", "--target", "wasm32-unknown-unknown"];

/// What several suites share, made when the first of them needs it.
#[derive(Debug)]
pub struct Lab {
    workspace: Workspace,
    sandbox: Option<Sandbox>,
    tarball: Option<PathBuf>,
}

impl Lab {
    pub fn new(workspace: Workspace) -> Self {
        Self { workspace, sandbox: None, tarball: None }
    }

    /// The address of a sandbox that serves every suite. It runs faster than life and lets pages of any origin in.
    fn sandbox_url(&mut self) -> Result<String> {
        if self.sandbox.is_none() {
            let program = sandbox_program(&self.workspace)?;
            let mut command = Command::new(program);
            command.args(["--port", "0", "--cors", "*", "--speed", SPEED]);
            let sandbox = Sandbox::start(&mut command)?;
            let stop = sandbox.stopper();
            ctrlc::set_handler(move || {
                stop();
                std::process::exit(130);
            })
            .context("Ctrl-C could not be watched")?;
            self.sandbox = Some(sandbox);
        }
        let sandbox = self.sandbox.as_ref().context("the sandbox has gone")?;
        Ok(sandbox.url.clone())
    }

    /// The npm package as people install it.
    fn tarball(&mut self) -> Result<PathBuf> {
        if self.tarball.is_none() {
            self.tarball = Some(pack::run(&self.workspace)?);
        }
        self.tarball.clone().context("the tarball has gone")
    }
}

/// How much faster than life the sandbox of the tests runs: a job of a minute takes three seconds.
const SPEED: &str = "20";

fn always(_: &Workspace) -> bool {
    true
}

fn has_wasm(workspace: &Workspace) -> bool {
    !files(&workspace.path("tests"), &["rs"]).is_empty()
}

fn has_node(workspace: &Workspace) -> bool {
    !test_files(workspace, "node").is_empty()
}

fn has_runtimes(workspace: &Workspace) -> bool {
    !test_files(workspace, "runtimes").is_empty()
}

fn has_demo(workspace: &Workspace) -> bool {
    !test_files(workspace, "demo").is_empty()
}

fn has_examples(workspace: &Workspace) -> bool {
    !test_files(workspace, "examples").is_empty()
}

fn format(lab: &mut Lab) -> Result<Counts> {
    all_pass(&mut [lab.workspace.cargo().args(["fmt", "--all", "--check"])])
}

fn lint(lab: &mut Lab) -> Result<Counts> {
    install_wasm_target()?;
    let clippy = || {
        let mut command = lab.workspace.cargo();
        command.arg("clippy");
        command
    };
    let deny = ["--", "-D", "warnings"];
    all_pass(&mut [
        clippy().args(["--workspace", "--all-targets"]).args(deny),
        clippy().args(WASM).args(["--lib", "--features", "npm"]).args(deny),
        clippy().args(WASM).args(["--all-targets", "--features", "serde"]).args(deny),
    ])
}

fn native(lab: &mut Lab) -> Result<Counts> {
    let run = shell::tee(lab.workspace.cargo().args(["test", "--workspace", "--no-fail-fast"]))?;
    Ok(Counts::of_cargo(&run))
}

fn docs(lab: &mut Lab) -> Result<Counts> {
    install_wasm_target()?;
    let doc = || {
        let mut command = lab.workspace.cargo();
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        command
    };
    let runner = test_runner(lab)?;
    // The examples of the typed face need a browser's words, so they are compiled for WebAssembly.
    let mut examples = lab.workspace.cargo();
    examples.args(["test", "--doc"]).args(WASM).args(["--features", "serde"]);
    examples.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    all_pass(&mut [doc().arg("--workspace"), doc().args(WASM).args(["--features", "serde"]), &mut examples])
}

fn wasm_node(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE])? {
        return Ok(Counts::skipped(&missing));
    }
    let mut command = wasm_tests(lab)?;
    Ok(Counts::of_cargo(&shell::tee(command.env("WASM_BINDGEN_TEST_ONLY_NODE", "1"))?))
}

fn wasm_chromium(lab: &mut Lab) -> Result<Counts> {
    let [chromium, driver] = match debian::find([&CHROMIUM, &CHROMEDRIVER])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let capabilities = browser::capabilities(&lab.workspace, &chromium)?;
    let mut command = wasm_tests(lab)?;
    command
        .env("WASM_BINDGEN_USE_BROWSER", "1")
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities)
        .env("CHROMEDRIVER", driver);
    Ok(Counts::of_cargo(&shell::tee(&mut command)?))
}

/// The library's wasm tests. They learn the sandbox's address when they are compiled: a page has no environment.
fn wasm_tests(lab: &mut Lab) -> Result<Command> {
    install_wasm_target()?;
    let url = lab.sandbox_url()?;
    let runner = test_runner(lab)?;
    let mut command = lab.workspace.cargo();
    command
        .arg("test")
        .args(WASM)
        .args(["--features", "serde", "--test", "*", "--no-fail-fast"])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "120")
        .env("SANDBOX_URL", url);
    Ok(command)
}

fn test_runner(lab: &Lab) -> Result<PathBuf> {
    step("build wasm-bindgen's test runner", || {
        shell::run(lab.workspace.cargo().args(["build", "--package", "wasm-bindgen-runner"]))
    })?;
    Ok(lab.workspace.program("wasm-bindgen-test-runner"))
}

fn pack_suite(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        return Ok(Counts::skipped(&missing));
    }
    install_wasm_target()?;
    lab.tarball()?;
    Ok(Counts::passed(1))
}

fn node(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        return Ok(Counts::skipped(&missing));
    }
    install_wasm_target()?;
    let tarball = lab.tarball()?;
    let project = install_package(&lab.workspace, &tarball)?;
    let url = lab.sandbox_url()?;
    let mut command = node_tests(&lab.workspace, "node")?;
    command.env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs")).env("SANDBOX_URL", url);
    run_node_tests(&lab.workspace, "node", &mut command)
}

fn runtimes(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    install_wasm_target()?;
    let tarball = lab.tarball()?;
    let project = install_package(&lab.workspace, &tarball)?;
    let mut command = node_tests(&lab.workspace, "runtimes")?;
    command
        .env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs"))
        .env("TARBALL", tarball)
        .env("CHROMIUM", chromium);
    run_node_tests(&lab.workspace, "runtimes", &mut command)
}

fn demo_suite(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    install_wasm_target()?;
    lab.tarball()?;
    let package = pack::package_directory(&lab.workspace);
    let directories = demo::serve_directories(&lab.workspace, &package)?;
    let screenshots = lab.workspace.target.join("screenshots");
    shell::fresh_directory(&screenshots)?;
    let mut command = node_tests(&lab.workspace, "demo")?;
    command
        .env("WWW_DIRS", std::env::join_paths(&directories)?)
        .env("CHROMIUM", chromium)
        .env("SCREENSHOT_DIR", &screenshots);
    let counts = run_node_tests(&lab.workspace, "demo", &mut command)?;
    println!("screenshots: {}", screenshots.display());
    Ok(counts)
}

/// The examples, each copied to a folder of its own, where the tarball is installed.
fn examples(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    install_wasm_target()?;
    let tarball = lab.tarball()?;
    let screenshots = lab.workspace.target.join("screenshots").join("examples");
    shell::fresh_directory(&screenshots)?;
    let mut command = node_tests(&lab.workspace, "examples")?;
    command.env("TARBALL", tarball).env("CHROMIUM", chromium).env("SCREENSHOT_DIR", &screenshots);
    let counts = run_node_tests(&lab.workspace, "examples", &mut command)?;
    println!("screenshots: {}", screenshots.display());
    Ok(counts)
}

/// Node's test runner over one folder of tests, knowing where the sandbox's program is.
fn node_tests(workspace: &Workspace, folder: &str) -> Result<Command> {
    npm::install_tools(workspace)?;
    let mut command = Command::new("node");
    command
        .current_dir(&workspace.root)
        .args(["--test", "--test-timeout=1200000"])
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
        .args([OsString::from("--test-reporter=tap"), destination(workspace, folder)])
        .args(test_files(workspace, folder))
        .env("SANDBOX_BIN", sandbox_program(workspace)?);
    Ok(command)
}

fn destination(workspace: &Workspace, folder: &str) -> OsString {
    let mut argument = OsString::from("--test-reporter-destination=");
    argument.push(tap_path(workspace, folder));
    argument
}

/// Where Node writes the results that [`Counts::of_node`] reads.
fn tap_path(workspace: &Workspace, folder: &str) -> PathBuf {
    workspace.target.join("test").join(format!("{folder}.tap"))
}

fn run_node_tests(workspace: &Workspace, folder: &str, command: &mut Command) -> Result<Counts> {
    let tap = tap_path(workspace, folder);
    fs::create_dir_all(workspace.target.join("test"))?;
    shell::write_file(&tap, "")?;
    let run = shell::tee(command)?;
    Ok(Counts::of_node(&run, &shell::read_text(&tap)?))
}

/// Installs the tarball into a throw-away project, as a person would.
fn install_package(workspace: &Workspace, tarball: &Path) -> Result<PathBuf> {
    let project = workspace.target.join("test").join("node-project");
    step("install the tarball into an empty project", || {
        shell::fresh_directory(&project)?;
        shell::write_file(&project.join("package.json"), r#"{"private": true, "type": "module"}"#)?;
        shell::run(npm::npm(&project).args(["install", "--no-package-lock"]).arg(tarball))
    })?;
    Ok(project)
}

fn sandbox_program(workspace: &Workspace) -> Result<PathBuf> {
    step("build the sandbox", || sandbox::build(workspace))
}

/// rust-toolchain.toml names the target, yet not every rustup acts on it.
fn install_wasm_target() -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"]);
    if Path::new(shell::read(&mut rustc)?.trim()).is_dir() {
        return Ok(());
    }
    step("install Rust's wasm32-unknown-unknown target", || {
        shell::run(Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]))
    })
}

/// Each command is one test, which passes when the command succeeds.
fn all_pass(commands: &mut [&mut Command]) -> Result<Counts> {
    let mut counts = Counts::default();
    for command in commands {
        counts += if shell::succeeds(command)? { Counts::passed(1) } else { Counts::failed(1) };
    }
    Ok(counts)
}

/// The test files of a folder under `tests/`: `x.test.js`, `x.test.mjs`.
fn test_files(workspace: &Workspace, folder: &str) -> Vec<PathBuf> {
    let mut found = files(&workspace.path("tests").join(folder), &["js", "mjs"]);
    found.retain(|path| path.file_stem().is_some_and(|stem| Path::new(stem).extension() == Some("test".as_ref())));
    found
}

/// The files of a directory that end so, in the order of their names; none where there is no such directory.
fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| extensions.iter().any(|&extension| end == extension)))
        .collect();
    found.sort();
    found
}
