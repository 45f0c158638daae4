//! `cargo xtask site`: the documentation site, made of the guides, the references and the changelog.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{self, step};
use crate::test::debian::{self, NODE, NPM};
use crate::workspace::{LIBRARY, Workspace};
use crate::{npm, wasm};

/// The guides, and the tools that make pages of them.
pub const GUIDES: &str = "docs";

/// Pages that are files of the root, by the names that they have in the site.
const ROOT_PAGES: [(&str, &str); 2] = [("CHANGELOG.md", "changelog.md"), ("CONTRIBUTING.md", "contributing.md")];

/// Where the repository is, for links from a place that has only the guides.
const REPOSITORY: &str = "https://github.com/custom-template-jobs/custom-template-jobs/blob/main/";

/// Builds the site and returns its directory.
pub fn run(workspace: &Workspace) -> Result<PathBuf> {
    if let Err(missing) = debian::find([&NODE, &NPM])? {
        bail!("{missing}");
    }
    npm::install(workspace, GUIDES)?;
    let (pages, site) = (workspace.target.join("docs"), workspace.target.join("site"));
    gather(workspace, &pages)?;
    let tool = |path: &str| {
        let mut command = Command::new("node");
        command.current_dir(workspace.path(GUIDES)).arg(Path::new("node_modules").join(path));
        command
    };
    step("write the JavaScript reference", || {
        shell::run(tool("typedoc/bin/typedoc").args(["--logLevel", "Warn", "--out"]).arg(pages.join("js")))
    })?;
    step("build the pages", || {
        let mut build = tool("vitepress/bin/vitepress.js");
        shell::run(build.args(["build", "."]).env("SITE_PAGES", &pages).env("SITE_OUT", &site))
    })?;
    step("write the Rust reference", || rust_reference(workspace, &site.join("rust")))?;
    copy_guides(workspace, &site)?;
    Ok(site)
}

/// Puts the guides and the pages of the root into one directory.
fn gather(workspace: &Workspace, pages: &Path) -> Result<()> {
    shell::fresh_directory(pages)?;
    for guide in guides(workspace)? {
        shell::copy_file(&guide, &pages.join(guide.file_name().unwrap_or_default()))?;
    }
    for (file, page) in ROOT_PAGES {
        let path = workspace.path(file);
        if path.is_file() {
            shell::copy_file(&path, &pages.join(page))?;
        }
    }
    let public = pages.join("public");
    shell::fresh_directory(&public)?;
    shell::copy_file(&workspace.path("www/icon.svg"), &public.join("icon.svg"))
}

/// The reference that docs.rs shows too.
fn rust_reference(workspace: &Workspace, to: &Path) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["doc", "--no-deps", "--quiet", "--package", LIBRARY, "--target", wasm::TARGET, "--features", "serde"]);
    shell::run(&mut command)?;
    shell::fresh_directory(to)?;
    shell::copy_directory(&workspace.target.join(wasm::TARGET).join("doc"), to)
}

/// Puts the guides as Markdown and their list `llms.txt` into a directory, for coding agents. Links to other files of the
/// repository become addresses.
pub fn copy_guides(workspace: &Workspace, to: &Path) -> Result<()> {
    let directory = to.join("docs");
    shell::fresh_directory(&directory)?;
    for guide in guides(workspace)? {
        let text = shell::read_text(&guide)?.replace("](../", &format!("]({REPOSITORY}"));
        shell::write_file(&directory.join(guide.file_name().unwrap_or_default()), text)?;
    }
    shell::copy_file(&workspace.path(GUIDES).join("llms.txt"), &to.join("llms.txt"))
}

/// The Markdown files directly below `docs`.
fn guides(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(workspace.path(GUIDES))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
