//! The test suites: the command of each, and the programs that it needs.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use self::When::{All, Always};
use super::browser;
use super::counts::Counts;
use super::debian::{self, CHROMEDRIVER, CHROMIUM, FFMPEG, FIREFOX, NODE, NPM, PYTHON, TESSERACT, WEBKIT_DRIVER, XVFB};
use super::lab::Lab;
use super::node::{files, install_package, node_tests, node_tests_of, run_node_tests, seen_directory, test_files};
use super::wasm_tests::{self, LIBRARY_FOR_WASM};
use super::{docs, frameworks, mutants, openapi, project, publish};
use crate::pack::{self, Package};
use crate::shell;
use crate::toolchain::{self, CLIPPY, RUSTFMT};
use crate::workspace::Workspace;
use crate::{demo, npm, site};

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
    Suite { name: "wasm-node", what: "wasm tests in Node", when: Always, exists: has_wasm, run: wasm_tests::node },
    Suite {
        name: "wasm-chromium",
        what: "wasm tests in headless Chromium",
        when: Always,
        exists: has_wasm,
        run: wasm_tests::chromium,
    },
    Suite {
        name: "wasm-firefox",
        what: "wasm tests in headless Firefox",
        when: All,
        exists: has_wasm,
        run: wasm_tests::firefox,
    },
    Suite { name: "wasm-webkit", what: "wasm tests in WebKit", when: All, exists: has_wasm, run: wasm_tests::webkit },
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
        name: "loopback",
        what: "real waits over loopback against their replay, three minutes",
        when: All,
        exists: always,
        run: loopback,
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
        run: frameworks::suite,
    },
    Suite {
        name: "faults",
        what: "50 faults, each with every call, on real sockets",
        when: Always,
        exists: has_faults,
        run: faults,
    },
    Suite {
        name: "relay",
        what: "the relay of the packed package in Node and workerd",
        when: Always,
        exists: has_relay,
        run: relay,
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
        run: openapi::suite,
    },
    Suite {
        name: "kills",
        what: "the sandbox's file and the file journal through 200 kills each",
        when: All,
        exists: always,
        run: kills,
    },
];

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

fn has_relay(workspace: &Workspace) -> bool {
    !test_files(workspace, "relay").is_empty()
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
    let runner = wasm_tests::runner(lab)?;
    // The examples of the typed API need a JavaScript host, so they are compiled for WebAssembly.
    let mut examples = lab.workspace.cargo();
    examples.args(["test", "--doc"]).args(LIBRARY_FOR_WASM).args(["--features", "serde"]);
    examples.args(wasm_tests::with_runner(&runner));
    let mut counts = all_pass(&mut [doc.arg("--workspace"), &mut examples])?;
    counts += Counts::of("docs_rs_shows_every_public_item", docs::run(&lab.workspace));
    Ok(counts)
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

/// The waits are in real time, all at once.
fn loopback(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        return Ok(Counts::skipped(&missing));
    }
    let tarball = lab.package()?.tarball;
    let project = install_package(&lab.workspace, &tarball)?;
    let mut command = node_tests(&lab.workspace, "loopback")?;
    let replay = lab.workspace.target.join("test").join("loopback.json");
    shell::run(lab.workspace.cargo().args(["run", "--package", "polling", "--", "--loopback"]).arg(&replay))?;
    command.env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs")).env("REPLAY", replay);
    run_node_tests(&lab.workspace, "loopback", &mut command)
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

fn relay(lab: &mut Lab) -> Result<Counts> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        return Ok(Counts::skipped(&missing));
    }
    let tarball = lab.package()?.tarball;
    let project = install_package(&lab.workspace, &tarball)?;
    let mut command = node_tests(&lab.workspace, "relay")?;
    command.env("PACKAGE_DIR", project.join("node_modules").join("custom-template-jobs")).env("TARBALL", &tarball);
    run_node_tests(&lab.workspace, "relay", &mut command)
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

/// Counts each command as one test, which passes if the command succeeds.
fn all_pass(commands: &mut [&mut Command]) -> Result<Counts> {
    let mut counts = Counts::default();
    for command in commands {
        counts += if shell::succeeds(command)? { Counts::passed(1) } else { Counts::failed(1) };
    }
    Ok(counts)
}
