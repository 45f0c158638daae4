//! The commands of this repository: reads the command line and hands each command to the file of its name.

mod bench;
mod demo;
#[cfg(test)]
mod layout;
mod npm;
mod pack;
mod sandbox;
mod shell;
mod sizes;
mod test;
mod toolchain;
mod wasm;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::toolchain::WASM_TARGET;
use crate::workspace::Workspace;

const USAGE: &str = "\
cargo xtask <command>

  demo [--port 8787] [-- SANDBOX-OPTION...]
                       build the wasm, start the sandbox and serve the demo page
  test [--all] [SUITE...]
                       what every change must pass, every suite with `--all`, or those that are named;
                       `test --list` names them
  pack                 build the npm package and print its sizes and its path
  bench [size|start|overhead|polling|charges|watch|load]...
                       measure beside the peers, and write target/bench/report.json
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = words.split_first() else {
        eprint!("{USAGE}");
        return Ok(ExitCode::FAILURE);
    };
    match command.as_str() {
        "demo" => {
            let options = demo::Options::parse(rest)?;
            toolchain::ensure(&[&WASM_TARGET])?;
            demo::run(&Workspace::find()?, &options)
        }
        "test" => test::run(Workspace::find()?, &test::Options::parse(rest)?),
        "pack" => {
            if !rest.is_empty() {
                bail!("`cargo xtask pack` takes no argument, got `{}`", rest.join(" "));
            }
            toolchain::ensure(&[&WASM_TARGET])?;
            let package = pack::run(&Workspace::find()?)?;
            println!("{}", package.tarball.display());
            Ok(ExitCode::SUCCESS)
        }
        "bench" => {
            toolchain::ensure(&[&WASM_TARGET])?;
            bench::run(&Workspace::find()?, rest)
        }
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => {
            eprint!("{USAGE}");
            bail!("there is no command `{other}`");
        }
    }
}
