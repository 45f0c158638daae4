//! `cargo xtask demo`: builds what the demo page loads, then serves it until Ctrl-C. It needs no Node.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::sandbox::{self, Sandbox};
use crate::shell::{self, step};
use crate::workspace::Workspace;
use crate::{pack, wasm};

#[derive(Debug)]
pub struct Options {
    port: u16,
    /// Passed to the sandbox as they are.
    rest: Vec<String>,
}

impl Options {
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self { port: 8787, rest: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--" => {
                    options.rest = words.cloned().collect();
                    break;
                }
                "--port" => {
                    let port = words.next().context("`--port` needs a number, such as 8787")?;
                    options.port = parse_port(port)?;
                }
                other => match other.strip_prefix("--port=") {
                    Some(port) => options.port = parse_port(port)?,
                    None => bail!(
                        "`cargo xtask demo` does not know `{other}`; \
                         options of the sandbox stand after `--`"
                    ),
                },
            }
        }
        Ok(options)
    }
}

fn parse_port(text: &str) -> Result<u16> {
    text.parse().with_context(|| format!("`--port` needs a number up to 65535, got `{text}`"))
}

pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let start = Instant::now();
    // Side by side, since each has stretches in which it keeps only one core busy.
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

/// What the sandbox serves: the page, and beside it the package under the path that the page imports.
pub fn serve_directories(workspace: &Workspace, package: &Path) -> Result<[PathBuf; 2]> {
    let demo = workspace.target.join("demo");
    shell::fresh_directory(&demo)?;
    shell::copy_directory(package, &demo.join("custom-template-jobs"))?;
    Ok([workspace.path("www"), demo])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options> {
        Options::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_stands_after_two_dashes_goes_to_the_sandbox() {
        let options = parse(&["--port", "9000", "--", "--speed", "10"]).expect("it is right");
        assert_eq!((options.port, options.rest), (9000, vec!["--speed".into(), "10".into()]));
        assert_eq!(parse(&[]).expect("it is right").port, 8787);
        assert_eq!(parse(&["--port=1"]).expect("it is right").port, 1);
    }

    #[test]
    fn a_wrong_word_is_refused_with_what_to_do() {
        let message = |words| parse(words).expect_err("it is wrong").to_string();
        assert!(message(&["--speed", "10"]).contains("after `--`"));
        assert!(message(&["--port", "70000"]).contains("65535"));
        assert!(message(&["--port"]).contains("needs a number"));
    }
}
