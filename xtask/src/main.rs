//! The commands of this repository: reads the command line and hands each command to the file of its name.

mod bench;
mod demo;
#[cfg(test)]
mod layout;
mod npm;
mod pack;
mod sandbox;
mod shell;
mod site;
mod sizes;
mod test;
mod toolchain;
mod wasm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::toolchain::WASM_TARGET;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match run(&commands().get_matches()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn commands() -> Command {
    Command::new("cargo xtask")
        .bin_name("cargo xtask")
        .about("The commands of this repository")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(demo::command())
        .subcommand(test::command())
        .subcommand(Command::new("pack").about("Build the npm package, print its sizes and its path"))
        .subcommand(Command::new("site").about("Build the documentation site and print its path"))
        .subcommand(bench::command())
}

fn run(arguments: &ArgMatches) -> Result<ExitCode> {
    match arguments.subcommand() {
        Some(("demo", arguments)) => {
            toolchain::ensure(&[&WASM_TARGET])?;
            demo::run(&Workspace::find()?, &demo::Options::new(arguments))
        }
        Some(("test", arguments)) => test::run(Workspace::find()?, &test::Options::new(arguments)),
        Some(("bench", arguments)) => {
            toolchain::ensure(&[&WASM_TARGET])?;
            bench::run(&Workspace::find()?, &words(arguments, "part"))
        }
        Some(("site", _)) => {
            toolchain::ensure(&[&WASM_TARGET])?;
            println!("{}", site::run(&Workspace::find()?)?.display());
            Ok(ExitCode::SUCCESS)
        }
        // `pack`; clap has refused what is no command.
        _ => {
            toolchain::ensure(&[&WASM_TARGET])?;
            let package = pack::run(&Workspace::find()?)?;
            println!("{}", package.tarball.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The values of an argument that may be repeated.
fn words(arguments: &ArgMatches, name: &str) -> Vec<String> {
    arguments.get_many(name).into_iter().flatten().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_is_defined_wrongly() {
        commands().debug_assert();
    }

    #[test]
    fn a_wrong_word_is_refused_with_what_to_do() {
        let message = |words: &[&str]| {
            let words = ["xtask"].iter().chain(words).copied();
            commands().try_get_matches_from(words).expect_err("it is wrong").to_string()
        };
        assert!(message(&["demo", "--speed", "10"]).contains("use '-- --speed'"), "{}", message(&["demo", "--speed", "10"]));
        assert!(message(&["demo", "--port", "70000"]).contains("65535"));
        assert!(message(&["demo", "--port"]).contains("a value is required for '--port"));
        assert!(message(&["test", "wasm-opera"]).contains("wasm-chromium"), "it lists the suites");
        assert!(message(&["bench", "sizes"]).contains("overhead"), "it lists the parts");
        assert!(message(&["pack", "now"]).contains("unexpected argument 'now'"));
        assert!(message(&["packs"]).contains("unrecognized subcommand 'packs'"));
        assert!(message(&[]).contains("demo"), "it shows the commands");
    }
}
