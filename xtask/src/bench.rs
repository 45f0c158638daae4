//! `cargo xtask bench`: ours beside the peers, measured in one run.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::shell;
use crate::sizes::{self, Size};
use crate::workspace::Workspace;
use crate::{npm, pack};

/// Where the peers are pinned, and where each has a script that does the same job with it.
const BENCH: &str = "xtask/bench";

/// Runs the parts that are named, or all of them, and writes what they found.
pub fn run(workspace: &Workspace, parts: &[String]) -> Result<ExitCode> {
    if let Some(other) = parts.iter().find(|part| *part != "size") {
        bail!("there is no bench `{other}`; there is `size`");
    }
    let report = json!({ "size": size(workspace)? });
    let directory = workspace.target.join("bench");
    fs::create_dir_all(&directory)?;
    let path = directory.join("report.json");
    shell::write_file(&path, format!("{report:#}\n"))?;
    println!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// What a page loads to run one job to its end, with ours and with each peer, bundled and minified alike.
fn size(workspace: &Workspace) -> Result<Value> {
    pack::run(workspace)?;
    npm::install(workspace, BENCH)?;
    let mut rows = vec![("custom-template-jobs".to_owned(), pack::page_size(workspace)?)];
    let entries = workspace.path(BENCH).join("size");
    for entry in fs::read_dir(&entries).with_context(|| format!("{} is missing", entries.display()))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        rows.push((name, Size::of(&pack::bundle(workspace, &path)?)?));
    }
    rows.sort_by_key(|(_, size)| size.brotli);
    let table: Vec<(&str, Size)> = rows.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    println!("{}", sizes::table(&table));
    Ok(rows
        .into_iter()
        .map(|(name, size)| (name, json!({ "raw": size.raw, "gzip": size.gzip, "brotli": size.brotli })))
        .collect())
}
