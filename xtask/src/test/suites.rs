//! The test suites: the command of each, and the programs that it needs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

use self::When::{All, Always};
use super::browser;
use super::counts::Counts;
use super::debian::{self, CHROMEDRIVER, CHROMIUM, FFMPEG, FIREFOX, NODE, NPM, PYTHON, TESSERACT, WEBKIT_DRIVER, XVFB};
use super::display::Display;
use super::{docs, frameworks, mutants, openapi, project, publish};
use crate::pack::{self, Package};
use crate::sandbox::{self, Sandbox};
use crate::shell::{self, step};
use crate::toolchain::{self, CLIPPY, RUSTFMT};
use crate::workspace::{LIBRARY, Workspace};
use crate::{demo, npm, site, wasm};

#[derive(Debug)]
pub struct Suite {
    pub name: &'static str,
    pub what: &'static str,
    pub when: When,
    pub exists: fn(&Workspace) -> bool,
    pub run: fn(&mut Lab) -> Result<Counts>,
}

/// When a suite runs without being named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// For every change.
    Always,
    /// Only with `--all`.
    All,
}

/// The suites in their order: those that fail fastest come first.
pub const SUITES: &[Suite] = &[
    Suite { name: "format", what: "cargo fmt --check", when: Always, exists: always, run: format },
    Suite { name: "lint", what: "clippy, natively and for wasm", when: Always, exists: always, run: lint },
    Suite {
        name: "project",
        what: "workflows, spelling, and the licences of dependencies",
        when: Always,
        exists: always,
        run: |lab| with_python(lab, project::run),
    },
    Suite { name: "native", what: "cargo test --workspace", when: Always, exists: always, run: native },
    Suite {
        name: "msrv",
        what: "the crate with the oldest Rust that it promises",
        when: All,
        exists: always,
        run: |lab| project::oldest_rust(&lab.workspace),
    },
    Suite {
        name: "semver",
        what: "the API of the crate against its last release",
        when: All,
        exists: always,
        run: |lab| project::semver(&lab.workspace),
    },
    Suite {
        name: "advisories",
        what: "known vulnerabilities of dependencies",
        when: All,
        exists: always,
        run: |lab| with_python(lab, project::advisories),
    },
    Suite {
        name: "simulation",
        what: "a million simulated operations, with every fault",
        when: All,
        exists: always,
        run: simulation,
    },
    Suite {
        name: "mutants",
        what: "every fault put into the rules of charging fails a test",
        when: All,
        exists: always,
        run: mutants_suite,
    },
    Suite { name: "docs", what: "cargo doc without a warning", when: Always, exists: always, run: docs_suite },
    Suite { name: "wasm-node", what: "wasm tests in Node", when: Always, exists: has_wasm, run: wasm_node },
    Suite {
        name: "wasm-chromium",
        what: "wasm tests in headless Chromium",
        when: Always,
        exists: has_wasm,
        run: wasm_chromium,
    },
    Suite { name: "wasm-firefox", what: "wasm tests in headless Firefox", when: All, exists: has_wasm, run: wasm_firefox },
    Suite { name: "wasm-webkit", what: "wasm tests in WebKit", when: All, exists: has_wasm, run: wasm_webkit },
    Suite { name: "pack", what: "the npm package builds", when: Always, exists: always, run: pack_suite },
    Suite { name: "package", what: "what npm and crates.io would be sent", when: Always, exists: always, run: package },
    Suite { name: "node", what: "the packed package in Node", when: Always, exists: has_node, run: node },
    Suite {
        name: "fuzz",
        what: "generated inputs, FUZZ_SECONDS (60) for each target",
        when: All,
        exists: has_node,
        run: fuzz,
    },
    Suite {
        name: "runtimes",
        what: "the packed package in runtimes and bundlers",
        when: Always,
        exists: has_runtimes,
        run: runtimes,
    },
    Suite {
        name: "frameworks",
        what: "the packed package in projects of frameworks and tools, FRAMEWORKS=vite,astro selects some",
        when: All,
        exists: has_frameworks,
        run: frameworks_suite,
    },
    Suite {
        name: "faults",
        what: "50 faults, each with every call, on real sockets",
        when: Always,
        exists: has_faults,
        run: faults,
    },
    Suite {
        name: "engines",
        what: "the packed package in three browser engines",
        when: All,
        exists: has_engines,
        run: engines,
    },
    Suite {
        name: "guides",
        what: "the tables, code samples and prose of README and docs",
        when: Always,
        exists: always,
        run: guides,
    },
    Suite { name: "site", what: "the documentation site in Chromium", when: All, exists: always, run: site_suite },
    Suite { name: "demo", what: "the demo page in Chromium", when: Always, exists: has_demo, run: demo_suite },
    Suite {
        name: "examples",
        what: "the examples, with the packed package",
        when: Always,
        exists: has_examples,
        run: examples,
    },
    Suite {
        name: "console",
        what: "the sandbox's console in Chromium",
        when: Always,
        exists: has_console,
        run: console_suite,
    },
    Suite {
        name: "video",
        what: "the videos of jobs, read by ffprobe and tesseract, and played",
        when: All,
        exists: has_video,
        run: video,
    },
    Suite {
        name: "openapi",
        what: "the sandbox against its OpenAPI document",
        when: All,
        exists: always,
        run: openapi_suite,
    },
    Suite {
        name: "kills",
        what: "the sandbox's file and the file journal through 200 kills each",
        when: All,
        exists: always,
        run: kills,
    },
];

/// Parts that several suites share, made when the first of them needs one.
pub struct Lab {
    workspace: Workspace,
    sandbox: Option<Sandbox>,
    package: Option<Package>,
    /// Functions that stop child processes when a signal ends this process.
    stoppers: Option<Stoppers>,
}

type Stoppers = Arc<Mutex<Vec<Box<dyn Fn() + Send>>>>;

impl Lab {
    pub fn new(workspace: Workspace) -> Self {
        Self { workspace, sandbox: None, package: None, stoppers: None }
    }

    /// Adds a function to call when a signal ends this process.
    fn on_signal(&mut self, stop: impl Fn() + Send + 'static) -> Result<()> {
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
    fn display(&mut self, xvfb: &Path) -> Result<Display> {
        let display = Display::start(xvfb)?;
        self.on_signal(display.stopper())?;
        Ok(display)
    }

    /// The URL of a sandbox that all suites share. Its clock is accelerated, and it accepts pages of any origin.
    fn sandbox_url(&mut self) -> Result<String> {
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
    fn package(&mut self) -> Result<Package> {
        if self.package.is_none() {
            self.package = Some(pack::run(&self.workspace)?);
        }
        self.package.clone().context("the package has gone")
    }
}

/// Arguments of cargo: the library, compiled to WebAssembly.
const LIBRARY_FOR_WASM: [&str; 4] = ["--package", LIBRARY, "--target", wasm::TARGET];

/// The acceleration of the tests' sandbox: a job of a minute takes three seconds.
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

fn has_frameworks(workspace: &Workspace) -> bool {
    !test_files(workspace, "frameworks").is_empty()
}

fn has_faults(workspace: &Workspace) -> bool {
    !test_files(workspace, "faults").is_empty()
}

fn has_engines(workspace: &Workspace) -> bool {
    !test_files(workspace, "engines").is_empty()
}

fn has_demo(workspace: &Workspace) -> bool {
    !test_files(workspace, "demo").is_empty()
}

fn has_examples(workspace: &Workspace) -> bool {
    !test_files(workspace, "examples").is_empty()
}

fn has_console(workspace: &Workspace) -> bool {
    !test_files(workspace, "console").is_empty()
}

fn has_video(workspace: &Workspace) -> bool {
    !test_files(workspace, "video").is_empty()
}

fn format(lab: &mut Lab) -> Result<Counts> {
    toolchain::ensure(&[&RUSTFMT])?;
    all_pass(&mut [lab.workspace.cargo().args(["fmt", "--all", "--check"])])
}

fn lint(lab: &mut Lab) -> Result<Counts> {
    toolchain::ensure(&[&CLIPPY])?;
    let clippy = || {
        let mut command = lab.workspace.cargo();
        command.arg("clippy");
        command
    };
    let deny = ["--", "-D", "warnings"];
    all_pass(&mut [
        clippy().args(["--workspace", "--all-targets"]).args(deny),
        clippy().args(LIBRARY_FOR_WASM).args(["--lib", "--no-default-features", "--features", "npm"]).args(deny),
        clippy().args(LIBRARY_FOR_WASM).args(["--all-targets", "--features", "serde"]).args(deny),
    ])
}

fn native(lab: &mut Lab) -> Result<Counts> {
    let run = shell::tee(lab.workspace.cargo().args(["test", "--workspace", "--no-fail-fast"]))?;
    Ok(Counts::of_cargo(&run))
}

fn with_python(lab: &mut Lab, run: fn(&Workspace, &Path) -> Result<Counts>) -> Result<Counts> {
    match debian::find([&PYTHON])? {
        Ok([python]) => run(&lab.workspace, &python),
        Err(missing) => Ok(Counts::skipped(&missing)),
    }
}

/// The short one is among the native tests. This one names the seeds that fail.
fn simulation(lab: &mut Lab) -> Result<Counts> {
    all_pass(&mut [lab.workspace.cargo().args(["run", "--package", "simulation", "--", "--seeds", "0..10000"])])
}

fn mutants_suite(lab: &mut Lab) -> Result<Counts> {
    mutants::run(&lab.workspace)
}

fn docs_suite(lab: &mut Lab) -> Result<Counts> {
    let mut doc = lab.workspace.cargo();
    doc.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    let runner = test_runner(lab)?;
    // The examples of the typed API need a JavaScript host, so they are compiled for WebAssembly.
    let mut examples = lab.workspace.cargo();
    examples.args(["test", "--doc"]).args(LIBRARY_FOR_WASM).args(["--features", "serde"]);
    examples.args(with_runner(&runner));
    let mut counts = all_pass(&mut [doc.arg("--workspace"), &mut examples])?;
    counts += Counts::of("docs_rs_shows_every_public_item", docs::run(&lab.workspace));
    Ok(counts)
}

fn wasm_node(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE])? {
        return Ok(Counts::skipped(&missing));
    }
    let mut command = wasm_tests(lab)?;
    // The mode in which the test runner gives Node ES modules, which the crate's scripts are.
    Ok(Counts::of_cargo(&shell::tee(command.env("WASM_BINDGEN_USE_NODE_EXPERIMENTAL", "1"))?))
}

fn wasm_chromium(lab: &mut Lab) -> Result<Counts> {
    let [chromium, driver] = match debian::find([&CHROMIUM, &CHROMEDRIVER])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let capabilities = browser::chromium_capabilities(&lab.workspace, &chromium)?;
    let mut command = browser_tests(lab, "CHROMEDRIVER", &driver)?;
    Ok(Counts::of_cargo(&shell::tee(command.env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities))?))
}

fn wasm_firefox(lab: &mut Lab) -> Result<Counts> {
    let [firefox] = match debian::find([&FIREFOX])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let driver = browser::geckodriver(&lab.workspace)?;
    let capabilities = browser::firefox_capabilities(&lab.workspace, &firefox)?;
    let mut command = browser_tests(lab, "GECKODRIVER", &driver)?;
    Ok(Counts::of_cargo(&shell::tee(command.env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities))?))
}

fn wasm_webkit(lab: &mut Lab) -> Result<Counts> {
    let [driver, xvfb] = match debian::find([&WEBKIT_DRIVER, &XVFB])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let display = lab.display(&xvfb)?;
    // WebKitGTK's driver is used like Safari's: without capabilities, it starts its own MiniBrowser.
    let mut command = browser_tests(lab, "SAFARIDRIVER", &driver)?;
    Ok(Counts::of_cargo(&shell::tee(command.env("DISPLAY", &display.name).env_remove("WAYLAND_DISPLAY"))?))
}

/// The library's wasm tests in the browser whose driver is in this environment variable of the test runner.
fn browser_tests(lab: &mut Lab, variable: &str, driver: &Path) -> Result<Command> {
    let mut command = wasm_tests(lab)?;
    for name in ["GECKODRIVER", "SAFARIDRIVER", "CHROMEDRIVER", "MSEDGEDRIVER"] {
        // The runner uses the first variable that is set, of any browser.
        command.env_remove(name).env_remove(format!("{name}_REMOTE"));
    }
    command.env("WASM_BINDGEN_USE_BROWSER", "1").env(variable, driver);
    Ok(command)
}

/// The library's wasm tests. The sandbox's URL is compiled in, since a page has no environment.
fn wasm_tests(lab: &mut Lab) -> Result<Command> {
    let url = lab.sandbox_url()?;
    let runner = test_runner(lab)?;
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

/// Tells cargo what runs WebAssembly. In a variable of the environment a path with a space would be two words.
fn with_runner(runner: &Path) -> [String; 2] {
    let path = serde_json::Value::from(runner.to_string_lossy());
    ["--config".to_owned(), format!("target.{}.runner = [{path}]", wasm::TARGET)]
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
    lab.package()?;
    Ok(Counts::passed(1))
}

fn package(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        return Ok(Counts::skipped(&missing));
    }
    let first = shell::read_file(&lab.package()?.tarball)?;
    lab.package = None;
    let package = lab.package()?;
    let second = shell::read_file(&package.tarball)?;
    publish::run(&lab.workspace, &package.directory, [&first, &second])
}

fn node(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        return Ok(Counts::skipped(&missing));
    }
    let tarball = lab.package()?.tarball;
    let project = install_package(&lab.workspace, &tarball)?;
    let url = lab.sandbox_url()?;
    let mut command = node_tests(&lab.workspace, "node")?;
    command.env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs")).env("SANDBOX_URL", url);
    run_node_tests(&lab.workspace, "node", &mut command)
}

/// The long runs, with new seeds. Short ones are among the native tests and those in Node.
fn fuzz(lab: &mut Lab) -> Result<Counts> {
    let seconds = std::env::var("FUZZ_SECONDS").unwrap_or_else(|_| "60".to_owned());
    let mut command = lab.workspace.cargo();
    command.args(["test", "--package", "fuzz", "--test", "targets", "--no-fail-fast"]).env("FUZZ_SECONDS", &seconds);
    let mut counts = Counts::of_cargo(&shell::tee(&mut command)?);
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        counts += Counts::skipped(&missing);
        return Ok(counts);
    }
    counts += one_node_file(lab, "fuzz", "fuzz.test.mjs", ("FUZZ_SECONDS", &seconds))?;
    Ok(counts)
}

fn runtimes(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let Package { directory, tarball } = lab.package()?;
    let project = install_package(&lab.workspace, &tarball)?;
    let mut command = node_tests(&lab.workspace, "runtimes")?;
    command
        .env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs"))
        .env("TARBALL", tarball)
        .env("CHROMIUM", chromium);
    let mut counts = run_node_tests(&lab.workspace, "runtimes", &mut command)?;
    // After a failure the records are incomplete.
    if counts.failed == 0 {
        counts += readme(&lab.workspace, &directory)?;
    }
    Ok(counts)
}

/// Compares the package's README with the records of the tests and the sizes of `pack`; `BLESS=1` rewrites it.
fn readme(workspace: &Workspace, package: &Path) -> Result<Counts> {
    let page = pack::page_size(workspace, package)?;
    let inline = pack::all_in_one(workspace, package)?;
    let mut command = node_tests(workspace, "readme")?;
    command
        .env("SEEN_DIR", seen_directory(workspace))
        .env("PAGE_BROTLI", page.brotli.to_string())
        .env("INLINE_BROTLI", inline.brotli.to_string());
    run_node_tests(workspace, "readme", &mut command)
}

/// The directory of the records of what the package ran in; each suite has a subdirectory.
fn seen_directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("test").join("seen")
}

/// Runs the files one by one, since each has builds that use all of a small machine.
fn frameworks_suite(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let tarball = lab.package()?.tarball;
    let project = install_package(&lab.workspace, &tarball)?;
    let results = frameworks::results(&lab.workspace)?;
    let mut counts = Counts::default();
    for file in test_files(&lab.workspace, "frameworks").into_iter().filter(|file| frameworks::asked_for(file)) {
        let name = frameworks::name(&file);
        let suite = format!("frameworks-{name}");
        let tap = tap_path(&lab.workspace, &suite);
        counts += frameworks::resumed(results.as_deref(), &name, &tap, || {
            let mut command = node_tests_of(&lab.workspace, &suite, vec![file])?;
            command
                .env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs"))
                .env("TARBALL", &tarball)
                .env("FRAMEWORKS_DIR", lab.workspace.target.join("test").join("frameworks"))
                .env("CHROMIUM", &chromium);
            run_node_tests(&lab.workspace, &suite, &mut command)
        })?;
    }
    Ok(counts)
}

/// The packed package against faults, in Node, workerd and Deno. The outcomes are written as a table.
fn faults(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        return Ok(Counts::skipped(&missing));
    }
    let tarball = lab.package()?.tarball;
    let project = install_package(&lab.workspace, &tarball)?;
    let table = lab.workspace.target.join("test").join("faults.md");
    let mut command = node_tests(&lab.workspace, "faults")?;
    command.env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs")).env("FAULTS_TABLE", &table);
    let counts = run_node_tests(&lab.workspace, "faults", &mut command)?;
    println!("outcomes: {}", table.display());
    Ok(counts)
}

fn engines(lab: &mut Lab) -> Result<Counts> {
    let wanted = [&NODE, &NPM, &CHROMIUM, &CHROMEDRIVER, &FIREFOX, &WEBKIT_DRIVER, &XVFB];
    let [_, _, chromium, chromedriver, firefox, webkit_driver, xvfb] = match debian::find(wanted)? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let geckodriver = browser::geckodriver(&lab.workspace)?;
    let tarball = lab.package()?.tarball;
    let project = install_package(&lab.workspace, &tarball)?;
    let display = lab.display(&xvfb)?;
    let mut command = node_tests(&lab.workspace, "engines")?;
    command
        .env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs"))
        .env("CHROMIUM", chromium)
        .env("CHROMEDRIVER", chromedriver)
        .env("FIREFOX", firefox)
        .env("GECKODRIVER", geckodriver)
        .env("WEBKIT_DRIVER", webkit_driver)
        .env("DISPLAY", &display.name)
        .env_remove("WAYLAND_DISPLAY");
    run_node_tests(&lab.workspace, "engines", &mut command)
}

fn demo_suite(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let package = lab.package()?.directory;
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

/// The examples, each copied to a directory of its own with the tarball installed.
fn examples(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let tarball = lab.package()?.tarball;
    let screenshots = lab.workspace.target.join("screenshots").join("examples");
    shell::fresh_directory(&screenshots)?;
    let mut command = node_tests(&lab.workspace, "examples")?;
    command.env("TARBALL", tarball).env("CHROMIUM", chromium).env("SCREENSHOT_DIR", &screenshots);
    let counts = run_node_tests(&lab.workspace, "examples", &mut command)?;
    println!("screenshots: {}", screenshots.display());
    Ok(counts)
}

/// The code samples run with the packed package, against the sandbox.
fn guides(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let Package { directory, tarball } = lab.package()?;
    let project = install_package(&lab.workspace, &tarball)?;
    npm::install(&lab.workspace, site::GUIDES)?;
    let page = pack::page_size(&lab.workspace, &directory)?;
    let mut command = node_tests(&lab.workspace, "guides")?;
    command
        .env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs"))
        .env("PAGE_BROTLI", page.brotli.to_string())
        .env("CHROMIUM", chromium);
    run_node_tests(&lab.workspace, "guides", &mut command)
}

fn site_suite(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let directory = site::run(&lab.workspace)?;
    let screenshots = lab.workspace.target.join("screenshots").join("site");
    shell::fresh_directory(&screenshots)?;
    let mut command = node_tests(&lab.workspace, "site")?;
    command.env("SITE_DIR", directory).env("CHROMIUM", chromium).env("SCREENSHOT_DIR", &screenshots);
    let counts = run_node_tests(&lab.workspace, "site", &mut command)?;
    println!("screenshots: {}", screenshots.display());
    Ok(counts)
}

/// It needs no package: the console is the sandbox's own.
fn console_suite(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let screenshots = lab.workspace.target.join("screenshots").join("console");
    shell::fresh_directory(&screenshots)?;
    let mut command = node_tests(&lab.workspace, "console")?;
    command.env("CHROMIUM", chromium).env("SCREENSHOT_DIR", &screenshots);
    let counts = run_node_tests(&lab.workspace, "console", &mut command)?;
    println!("screenshots: {}", screenshots.display());
    Ok(counts)
}

fn video(lab: &mut Lab) -> Result<Counts> {
    let wanted = [&NODE, &NPM, &FFMPEG, &TESSERACT, &CHROMIUM, &CHROMEDRIVER, &FIREFOX];
    let [_, _, ffmpeg, tesseract, chromium, chromedriver, firefox] = match debian::find(wanted)? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let geckodriver = browser::geckodriver(&lab.workspace)?;
    let mut command = node_tests(&lab.workspace, "video")?;
    command
        .env("VIDEO_DIR", lab.workspace.target.join("test").join("video"))
        .env("FFPROBE", ffmpeg.with_file_name("ffprobe"))
        .env("FFMPEG", ffmpeg)
        .env("TESSERACT", tesseract)
        .env("CHROMIUM", chromium)
        .env("CHROMEDRIVER", chromedriver)
        .env("FIREFOX", firefox)
        .env("GECKODRIVER", geckodriver);
    run_node_tests(&lab.workspace, "video", &mut command)
}

/// Generated requests to a sandbox of their own, whose jobs end at once and whose credits suffice.
fn openapi_suite(lab: &mut Lab) -> Result<Counts> {
    let [python] = match debian::find([&PYTHON])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let mut command = Command::new(sandbox_program(&lab.workspace)?);
    command.args(["--port", "0", "--speed", "1000000", "--credits", "1000000000"]);
    let sandbox = Sandbox::start(&mut command)?;
    lab.on_signal(sandbox.stopper())?;
    openapi::run(&lab.workspace, &python, &sandbox.url)
}

/// The kill tests of the file journal with two hundred kills; every change runs them with a few.
fn kills(lab: &mut Lab) -> Result<Counts> {
    let mut command = lab.workspace.cargo();
    command
        .args(["test", "--package", "sandbox", "--test", "data", "--", "--nocapture", "killed"])
        .env("SANDBOX_KILLS", "200");
    let mut counts = Counts::of_cargo(&shell::tee(&mut command)?);
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        counts += Counts::skipped(&missing);
        return Ok(counts);
    }
    counts += one_node_file(lab, "kills", "journals.test.mjs", ("JOURNAL_KILLS", "200"))?;
    Ok(counts)
}

/// One file of the suite `node`, with an environment variable that makes it a long run.
fn one_node_file(lab: &mut Lab, suite: &str, file: &str, setting: (&str, &str)) -> Result<Counts> {
    let tarball = lab.package()?.tarball;
    let project = install_package(&lab.workspace, &tarball)?;
    let file = lab.workspace.path("tests").join("node").join(file);
    let mut command = node_tests_of(&lab.workspace, suite, vec![file])?;
    command.env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs")).env(setting.0, setting.1);
    run_node_tests(&lab.workspace, suite, &mut command)
}

/// Node's test runner for one directory of tests.
fn node_tests(workspace: &Workspace, folder: &str) -> Result<Command> {
    node_tests_of(workspace, folder, test_files(workspace, folder))
}

/// Node's test runner for some test files, with the sandbox's program in the environment.
fn node_tests_of(workspace: &Workspace, folder: &str, files: Vec<PathBuf>) -> Result<Command> {
    npm::install_tools(workspace)?;
    let seen = seen_directory(workspace).join(folder);
    shell::fresh_directory(&seen)?;
    let mut command = Command::new("node");
    command
        .current_dir(&workspace.root)
        .args(["--test", "--test-timeout=1200000"])
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
        .args([OsString::from("--test-reporter=tap"), destination(workspace, folder)])
        .args(files)
        .env("SANDBOX_BIN", sandbox_program(workspace)?)
        .env("SEEN_DIR", seen);
    Ok(command)
}

fn destination(workspace: &Workspace, folder: &str) -> OsString {
    let mut argument = OsString::from("--test-reporter-destination=");
    argument.push(tap_path(workspace, folder));
    argument
}

/// The file to which Node writes the results that [`Counts::of_node`] reads.
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

/// Installs the tarball into an empty project.
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

/// Counts each command as one test, which passes if the command succeeds.
fn all_pass(commands: &mut [&mut Command]) -> Result<Counts> {
    let mut counts = Counts::default();
    for command in commands {
        counts += if shell::succeeds(command)? { Counts::passed(1) } else { Counts::failed(1) };
    }
    Ok(counts)
}

/// The test files of a directory under `tests/`: `x.test.js`, `x.test.mjs`.
fn test_files(workspace: &Workspace, folder: &str) -> Vec<PathBuf> {
    let mut found = files(&workspace.path("tests").join(folder), &["js", "mjs"]);
    found.retain(|path| path.file_stem().is_some_and(|stem| Path::new(stem).extension() == Some("test".as_ref())));
    found
}

/// The files of a directory with this ending, sorted by name; none if the directory does not exist.
fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| extensions.iter().any(|&extension| end == extension)))
        .collect();
    found.sort();
    found
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
