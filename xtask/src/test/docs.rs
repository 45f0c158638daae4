//! The documentation as docs.rs builds it: without a warning, and with a page for each public item.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::shell;
use crate::workspace::{LIBRARY, Workspace};

/// Builds the documentation with the target and the features that the manifest names to docs.rs.
pub fn run(workspace: &Workspace) -> Result<()> {
    let settings = settings(workspace)?;
    let target = settings["default-target"].as_str().context("the manifest names docs.rs no target")?;
    let features: Vec<&str> = settings["features"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut doc = workspace.cargo();
    doc.args(["doc", "--no-deps", "--package", LIBRARY, "--target", target, "--features", &features.join(",")]);
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    let pages = workspace.target.join(target).join("doc").join(LIBRARY.replace('-', "_"));
    let missing = missing(&items(&workspace.root)?, &pages)?;
    ensure!(missing.is_empty(), "these public items have no page: {}", missing.join(", "));
    Ok(())
}

/// `[package.metadata.docs.rs]`
fn settings(workspace: &Workspace) -> Result<Value> {
    let mut metadata: Command = workspace.cargo();
    let text = shell::read(metadata.args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text).context("`cargo metadata` printed no JSON")?;
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let library = packages.iter().find(|package| package["name"] == LIBRARY).context("the library has gone")?;
    Ok(library["metadata"]["docs"]["rs"].clone())
}

/// The modules of the crate, and what `web` exports, as `module::Name`.
fn items(root: &Path) -> Result<Vec<String>> {
    let crate_root = shell::read_text(&root.join("src/lib.rs"))?;
    let web = shell::read_text(&root.join("src/web/mod.rs"))?;
    let modules = crate_root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let exports = web.lines().filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix(';'));
    let names = exports.filter_map(|export| export.split_once("::")).flat_map(|(_, names)| {
        names.trim_matches(['{', '}']).split(',').map(|name| format!("web::{}", name.trim())).collect::<Vec<_>>()
    });
    Ok(modules.map(str::to_owned).chain(names).collect())
}

/// The items of which rustdoc wrote no page.
fn missing(items: &[String], pages: &Path) -> Result<Vec<String>> {
    let files = shell::all_files(pages)?;
    let has = |item: &String| match item.split_once("::") {
        None => pages.join(item).join("index.html").is_file(),
        Some((module, name)) => {
            let directory = pages.join(module);
            let end = format!(".{name}.html");
            files.iter().any(|file| file.parent() == Some(&directory) && file.to_string_lossy().ends_with(&end))
        }
    };
    Ok(items.iter().filter(|item| !has(item)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_without_a_page_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let items = items(&root).expect("sources");
        assert!(items.contains(&"client".to_owned()) && items.contains(&"web::TemplateJobs".to_owned()), "{items:?}");
        let pages = std::env::temp_dir().join(format!("docs-{}", std::process::id()));
        for file in ["api/index.html", "web/index.html", "web/struct.Job.html", "web/data/struct.Template.html"] {
            let path = pages.join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            std::fs::write(path, "").expect("it can be written");
        }
        let wanted = ["api", "web", "web::Job", "web::Template", "poll"].map(str::to_owned);
        assert_eq!(missing(&wanted, &pages).expect("a list"), ["web::Template", "poll"]);
        std::fs::remove_dir_all(pages).expect("it is there");
    }
}
