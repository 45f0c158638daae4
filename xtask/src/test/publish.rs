//! Tests of what would be published to npm and crates.io: reproducible bytes, all required files, and no others.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::counts::Counts;
use crate::workspace::Workspace;
use crate::{npm, shell};

/// What the crate holds beside its sources. Cargo adds the last three.
const CRATE: &[&str] = &[
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "Cargo.toml",
    "Cargo.lock",
    "Cargo.toml.orig",
    ".cargo_vcs_info.json",
];

/// What people look for in an npm package, beside what its `package.json` names.
const PACKAGE: &[&str] =
    &["LICENSE-APACHE", "LICENSE-MIT", "README.md", "docs/index.md", "index.d.ts", "llms.txt", "package.json"];

/// Runs all checks. `package` is the packed directory; `tarballs` are two packs of the same checkout.
pub fn run(workspace: &Workspace, package: &Path, tarballs: [&[u8]; 2]) -> Result<Counts> {
    let [first, second] = tarballs;
    let mut counts = Counts::default();
    let mut check = |name: &str, result: Result<()>| counts += Counts::of(name, result);
    check("two_packs_give_the_same_bytes", same(first, second));
    check("npm_would_publish_the_package_as_it_is", npm_takes_it(package));
    check("the_crate_holds_its_sources_and_licences_and_nothing_else", holds_the_sources(&list(workspace)?));
    check("the_crate_builds_from_what_crates_io_would_be_sent", builds(workspace, &[]));
    let wasm = ["--target", "wasm32-unknown-unknown", "--features", "serde"];
    check("the_crate_builds_so_for_webassembly_too", builds(workspace, &wasm));
    check("a_tag_names_the_version_that_it_releases", tags_fit(workspace));
    let refusal = crates_io_refuses(workspace)?;
    if refusal.as_ref().is_some_and(|refusal| is_offline(refusal)) {
        counts += Counts::skipped("crates.io cannot be reached, which `cargo publish --dry-run` asks for the crate");
    } else {
        counts += Counts::of("crates_io_would_take_the_crate", refusal.map_or(Ok(()), |refusal| bail!(refusal)));
    }
    Ok(counts)
}

fn same(first: &[u8], second: &[u8]) -> Result<()> {
    let at = first.iter().zip(second).position(|(one, other)| one != other);
    ensure!(first == second, "{} and {} bytes; they part at {at:?}", first.len(), second.len());
    Ok(())
}

/// `npm publish --dry-run` succeeds and has nothing to correct. It runs offline, since this version may already be published,
/// which is no fault of the package.
fn npm_takes_it(package: &Path) -> Result<()> {
    let mut command = npm::npm(package);
    command.args(["publish", "--dry-run", "--json", "--loglevel=warn"]);
    command.args(["--registry=http://127.0.0.1:9", "--fetch-retries=0"]);
    let output = command.output().context("npm could not be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let warnings = publish_warnings(&said);
    ensure!(warnings.is_empty(), "{warnings}");
    let sent: Value = serde_json::from_slice(&output.stdout).context("npm printed no JSON")?;
    let files: Vec<&str> = file_names(&sent);
    for file in PACKAGE {
        ensure!(files.contains(file), "{file} would not be sent, only {files:?}");
    }
    Ok(())
}

/// The warnings of npm about the package, without the one about a missing login.
fn publish_warnings(said: &str) -> String {
    said.lines().filter(|line| line.starts_with("npm warn publish") && !line.contains("logged in")).fold(
        String::new(),
        |mut all, line| {
            let _ = writeln!(all, "{line}");
            all
        },
    )
}

/// The file names at the top level, or under the package's name, as npm's versions differ.
fn file_names(sent: &Value) -> Vec<&str> {
    let files = sent["files"].as_array().or_else(|| sent.as_object()?.values().next()?["files"].as_array());
    files.into_iter().flatten().filter_map(|file| file["path"].as_str()).collect()
}

/// `cargo package`, which also accepts a checkout with uncommitted changes.
fn cargo_package(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo();
    command.args(["package", "--package", "custom-template-jobs", "--allow-dirty", "--quiet"]);
    command
}

fn list(workspace: &Workspace) -> Result<Vec<String>> {
    Ok(shell::read(cargo_package(workspace).arg("--list"))?.lines().map(|line| line.replace('\\', "/")).collect())
}

fn holds_the_sources(files: &[String]) -> Result<()> {
    let strangers: Vec<_> =
        files.iter().filter(|file| !file.starts_with("src/") && !CRATE.contains(&file.as_str())).collect();
    ensure!(strangers.is_empty(), "these are not for others: {strangers:?}");
    for wanted in CRATE.iter().chain(&["src/lib.rs"]) {
        // Cargo writes this file only in a git checkout.
        let needed = *wanted != ".cargo_vcs_info.json";
        ensure!(!needed || files.iter().any(|file| file == wanted), "{wanted} is missing");
    }
    Ok(())
}

fn builds(workspace: &Workspace, flags: &[&str]) -> Result<()> {
    let output =
        cargo_package(workspace).args(flags).stdout(Stdio::null()).output().context("cargo could not be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What `cargo publish --dry-run` says against the crate. It asks the registry.
fn crates_io_refuses(workspace: &Workspace) -> Result<Option<String>> {
    let mut command = workspace.cargo();
    command.args(["publish", "--dry-run", "--no-verify", "--package", "custom-template-jobs", "--allow-dirty"]);
    let output = command.output().context("cargo could not be started")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = !output.status.success() || words.contains("warning: manifest has no");
    Ok(refused.then_some(words))
}

/// Whether cargo could not ask the registry.
fn is_offline(words: &str) -> bool {
    ["--offline was specified", "Could not resolve host", "Couldn't resolve host", "Could not connect", "Couldn't connect"]
        .iter()
        .any(|sign| words.contains(sign))
}

/// A release tag of this commit is the version, and the changelog has a section for it.
fn tags_fit(workspace: &Workspace) -> Result<()> {
    let mut git = Command::new("git");
    let tags = git.current_dir(&workspace.root).args(["tag", "--points-at", "HEAD", "v*"]).output();
    // Without git there is no tag: an archive of the sources.
    let tags = tags.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let changelog = shell::read_text(&workspace.path("CHANGELOG.md"))?;
    tags.lines().try_for_each(|tag| tag_fits(tag, &workspace.version, &changelog))
}

fn tag_fits(tag: &str, version: &str, changelog: &str) -> Result<()> {
    ensure!(tag == format!("v{version}"), "the tag {tag} is on version {version}");
    ensure!(changelog.contains(&format!("\n## [{version}]")), "CHANGELOG.md has no section [{version}]");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_file_in_the_crate_and_a_missing_licence_are_errors() {
        let whole: Vec<String> = CRATE.iter().chain(&["src/lib.rs"]).map(|&file| file.to_owned()).collect();
        assert!(holds_the_sources(&whole).is_ok());
        let with_tests: Vec<String> = whole.iter().cloned().chain(["tests/node_modules/x.js".to_owned()]).collect();
        assert!(holds_the_sources(&with_tests).is_err());
        let without_licence: Vec<String> = whole.into_iter().filter(|file| file != "LICENSE-MIT").collect();
        assert!(holds_the_sources(&without_licence).is_err());
    }

    #[test]
    fn corrections_by_npm_are_warnings_and_a_missing_login_is_not() {
        let said =
            "npm warn publish This command requires you to be logged in (dry-run)\nnpm warn publish \"bin\" was removed\n";
        assert_eq!(publish_warnings(said), "npm warn publish \"bin\" was removed\n");
    }

    #[test]
    fn a_tag_of_another_version_or_without_a_section_is_refused() {
        let changelog = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n";
        assert!(tag_fits("v1.2.3", "1.2.3", changelog).is_ok());
        assert!(tag_fits("v1.2.4", "1.2.3", changelog).is_err());
        assert!(tag_fits("v1.2.3", "1.2.3", "## [Unreleased]").is_err());
    }

    #[test]
    fn packs_that_differ_are_told_where() {
        assert!(same(b"abc", b"abc").is_ok());
        assert!(format!("{:#}", same(b"abc", b"axc").expect_err("they differ")).contains("Some(1)"));
    }
}
