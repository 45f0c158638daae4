//! The results of the suite `frameworks`, stored for each test file and commit, so that an interrupted run can be continued.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::counts::Counts;
use super::debian::{self, CHROMIUM, NODE, NPM};
use super::lab::Lab;
use super::node::{install_package, node_tests_of, run_node_tests, tap_path, test_files};
use crate::shell;
use crate::workspace::Workspace;

/// The directory of results for this commit; none if there are uncommitted changes.
fn results(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let git = |words: &[&str]| {
        let output = Command::new("git").current_dir(&workspace.root).args(words).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = match (git(&["status", "--porcelain"]), git(&["rev-parse", "HEAD"])) {
        (Some(changes), Some(commit)) if changes.is_empty() => commit,
        _ => return Ok(None),
    };
    let directory = workspace.target.join("test").join("frameworks-results").join(commit);
    fs::create_dir_all(&directory)?;
    Ok(Some(directory))
}

/// Whether a test file is selected: `FRAMEWORKS=vite,astro` selects some; by default all are.
fn asked_for(file: &Path) -> bool {
    std::env::var("FRAMEWORKS").map_or(true, |names| names.split(',').any(|asked| asked == name(file)))
}

/// `vite` of `vite.test.mjs`.
fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// Runs a test file, unless it passed at this commit.
fn resumed(results: Option<&Path>, name: &str, tap: &Path, run: impl FnOnce() -> Result<Counts>) -> Result<Counts> {
    let kept = results.map(|directory| directory.join(format!("{name}.tap")));
    if let Some(text) = kept.as_ref().and_then(|path| shell::read_text(path).ok()) {
        println!("{name} passed at this commit");
        return Ok(Counts::of_tap(&text));
    }
    let counts = run()?;
    if let Some(kept) = kept.filter(|_| counts.failed == 0 && counts.skipped == 0) {
        shell::copy_file(tap, &kept)?;
    }
    Ok(counts)
}

/// Runs the files one by one, since each has builds that use all of a small machine.
pub fn suite(lab: &mut Lab) -> Result<Counts> {
    let [_, _, chromium] = match debian::find([&NODE, &NPM, &CHROMIUM])? {
        Ok(found) => found,
        Err(missing) => return Ok(Counts::skipped(&missing)),
    };
    let tarball = lab.package()?.tarball;
    let project = install_package(&lab.workspace, &tarball)?;
    let results = results(&lab.workspace)?;
    let mut counts = Counts::default();
    for file in test_files(&lab.workspace, "frameworks").into_iter().filter(|file| asked_for(file)) {
        let name = name(&file);
        let suite = format!("frameworks-{name}");
        let tap = tap_path(&lab.workspace, &suite);
        counts += resumed(results.as_deref(), &name, &tap, || {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_file_is_not_run_again_and_a_failed_one_is() {
        let directory = std::env::temp_dir().join(format!("frameworks-results-{}", std::process::id()));
        shell::fresh_directory(&directory).expect("it can be made");
        let tap = directory.join("run.tap");
        shell::write_file(&tap, "# pass 3\n# fail 0\n").expect("it can be written");
        let run = |counts: Option<Counts>| {
            resumed(Some(&directory), "vite", &tap, || Ok(counts.expect("it passed before"))).expect("it can be counted")
        };
        assert_eq!(run(Some(Counts::failed(1))), Counts::failed(1));
        assert_eq!(run(Some(Counts::passed(3))), Counts::passed(3));
        assert_eq!(run(None), Counts::passed(3));
        assert_eq!(resumed(None, "vite", &tap, || Ok(Counts::passed(4))).ok(), Some(Counts::passed(4)));
        fs::remove_dir_all(directory).expect("it can be removed");
    }

    #[test]
    fn a_test_file_is_named_by_its_first_word() {
        assert_eq!(name(Path::new("tests/frameworks/next.test.mjs")), "next");
    }
}
