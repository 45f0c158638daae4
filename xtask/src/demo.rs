//! `cargo xtask demo`: builds the demo page's files, then serves the page until Ctrl-C. It needs no Node.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Arg, ArgMatches};

use crate::sandbox::{self, Sandbox};
use crate::shell::{self, step};
use crate::workspace::Workspace;
use crate::{pack, wasm};

#[derive(Debug)]
pub struct Options {
    port: u16,
    /// Options that are passed on to the sandbox.
    rest: Vec<String>,
}

impl Options {
    pub fn new(arguments: &ArgMatches) -> Self {
        let port = arguments.get_one("port").copied().unwrap_or_default();
        Self { port, rest: crate::words(arguments, "sandbox") }
    }
}

/// `demo` on the command line.
pub fn command() -> clap::Command {
    let port = Arg::new("port").long("port").default_value("8787").value_parser(clap::value_parser!(u16));
    clap::Command::new("demo")
        .about("Build the wasm, start the sandbox and serve the demo page")
        .arg(port.help("The port on 127.0.0.1; 0 picks one"))
        .arg(Arg::new("sandbox").value_name("SANDBOX-OPTION").num_args(0..).last(true).help("Options of the sandbox"))
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let start = Instant::now();
    // In parallel, since each build has phases that use one core only.
    let (package, program) = std::thread::scope(|scope| {
        let program = scope.spawn(|| step("build the sandbox", || sandbox::build(workspace)));
        let package = build_package(workspace);
        (package, program.join())
    });
    let directories = serve_directories(workspace, &package?)?;
    let program = program.map_err(|_| anyhow!("building the sandbox panicked"))??;

    let mut command = Command::new(program);
    command.args(["--port", &options.port.to_string()]);
    for directory in &directories {
        command.arg("--www").arg(directory);
    }
    let sandbox = Sandbox::start(command.args(&options.rest))?;

    let asked = Arc::new(AtomicBool::new(false));
    let (flag, stop) = (Arc::clone(&asked), sandbox.stopper());
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::SeqCst);
        stop();
    })
    .context("Ctrl-C could not be watched")?;

    println!("\nready in {}", shell::seconds(start.elapsed()));
    println!("open {}   (Ctrl-C ends it)", sandbox.url);

    let status = sandbox.wait()?;
    if asked.load(Ordering::SeqCst) {
        println!("the sandbox has ended");
        return Ok(ExitCode::SUCCESS);
    }
    bail!("the sandbox ended by itself ({status}); its message stands above");
}

fn build_package(workspace: &Workspace) -> Result<PathBuf> {
    let built = wasm::build(workspace)?;
    step("assemble the npm package", || pack::assemble(workspace, &built))
}

/// The files that the sandbox serves: the page, and the package under the path that the page imports.
pub fn serve_directories(workspace: &Workspace, package: &Path) -> Result<[PathBuf; 2]> {
    let demo = workspace.target.join("demo");
    shell::fresh_directory(&demo)?;
    shell::copy_directory(package, &demo.join("custom-template-jobs"))?;
    Ok([workspace.path("www"), demo])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Options {
        let arguments = command().try_get_matches_from([&["demo"], words].concat()).expect("it is right");
        Options::new(&arguments)
    }

    #[test]
    fn what_stands_after_two_dashes_goes_to_the_sandbox() {
        let options = parse(&["--port", "9000", "--", "--speed", "10"]);
        assert_eq!((options.port, options.rest), (9000, vec!["--speed".into(), "10".into()]));
        assert_eq!(parse(&[]).port, 8787);
        assert_eq!(parse(&["--port=1"]).port, 1);
    }
}
