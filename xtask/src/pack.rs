//! `cargo xtask pack`: builds the npm package and prints what a page loads of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::npm;
use crate::shell::{self, step};
use crate::site;
use crate::sizes::{self, Size};
use crate::wasm::{self, Built};
use crate::workspace::Workspace;

/// The hand-written scripts that every entry loads.
const FACADE: [&str; 9] = [
    "calls.js",
    "client.js",
    "errors.js",
    "loading.js",
    "options.js",
    "template.js",
    "updates.js",
    "version.js",
    "webhook.js",
];

/// The entries that have both forms.
const COMMON_ENTRIES: [&str; 7] =
    ["durable-object.js", "file-journal.js", "inline.js", "node.js", "relay-node.js", "relay.js", "slim.js"];

/// The entries that nobody requires: their runtimes and bundlers know modules.
const ONLY_MODULES: [&str; 4] = ["edge-light.js", "relay/cloudflare.js", "web.js", "workerd.js"];

/// The most bytes of brotli that a page may load: the present size and 1 KB. Lower it when the page gets smaller; raise it only
/// as far as an issue allows.
const BUDGET: usize = 95_900;

/// A built package.
#[derive(Debug, Clone)]
pub struct Package {
    pub directory: PathBuf,
    pub tarball: PathBuf,
}

/// The directory of the tarball and its parts.
fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("npm")
}

/// The directory that [`assemble`] fills.
pub fn package(workspace: &Workspace) -> PathBuf {
    directory(workspace).join("package")
}

/// Builds the tarball.
pub fn run(workspace: &Workspace) -> Result<Package> {
    npm::ensure_node()?;
    npm::install_tools(workspace)?;
    let built = wasm::build(workspace)?;
    let built = step("optimise the wasm", || wasm::shrink(workspace, built))?;
    of_this_version(workspace, &built)?;
    let directory = step("assemble the npm package", || assemble(workspace, &built))?;
    step("write the scripts as CommonJS", || common_js(workspace, &directory))?;
    let tarball = step("npm pack", || pack(workspace))?;
    let rows = measure(workspace, &directory, &built)?;
    println!("\n{}", sizes::table(&rows));
    within_budget(rows.last().map_or(0, |(_, total)| total.brotli))?;
    Ok(Package { directory, tarball })
}

/// Checks that the wasm exports its version, since the scripts accept no other.
fn of_this_version(workspace: &Workspace, built: &Built) -> Result<()> {
    let export = format!("version_{}", workspace.version.replace(['.', '-'], "_"));
    if !built.glue.text.contains(&format!("function {export}(")) {
        bail!("src/web/npm.rs must export {export}, since this is version {}", workspace.version);
    }
    Ok(())
}

fn within_budget(bytes: usize) -> Result<()> {
    if bytes > BUDGET {
        bail!("a page would load {bytes} bytes of brotli, {} more than the budget of {BUDGET}", bytes - BUDGET);
    }
    Ok(())
}

/// Puts the package together: the template with this workspace's version, the generated files, the licences, the guides.
pub fn assemble(workspace: &Workspace, built: &Built) -> Result<PathBuf> {
    let package = package(workspace);
    shell::fresh_directory(&package)?;
    shell::copy_directory(&workspace.path("pkg-template"), &package)?;
    let manifest = package.join("package.json");
    let text = with_version(&shell::read_text(&manifest)?, &workspace.version)?;
    shell::write_file(&manifest, text)?;
    shell::write_file(&package.join(wasm::WASM), &built.wasm)?;
    for (name, half) in wasm::HALVES.iter().zip(halves(&built.wasm)) {
        shell::write_file(&package.join(name), half)?;
    }
    let version = format!("// The version of these scripts.\nexport const version = \"{}\";\n", workspace.version);
    shell::write_file(&package.join("version.js"), version)?;
    for script in built.snippets.iter().chain([&built.glue]) {
        shell::write_file(&package.join(&script.name), &script.text)?;
    }
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        shell::copy_file(&workspace.path(licence), &package.join(licence))?;
    }
    site::copy_guides(workspace, &package)?;
    Ok(package)
}

/// Two scripts that carry the wasm, for bundlers that do not copy files and runtimes that cannot read them. Two, since
/// webpack warns of scripts above 244 KiB.
fn halves(wasm: &[u8]) -> [String; 2] {
    // The first has a multiple of three bytes, so that the base64 texts can be joined.
    let (first, second) = wasm.split_at(wasm.len().div_ceil(6) * 3);
    [first, second].map(|half| {
        format!("// One half of the WebAssembly beside it.\nexport const half = \"{}\";\n", BASE64_STANDARD.encode(half))
    })
}

/// Writes the scripts as `CommonJS` too, with their types, for tools such as Jest that resolve `require` only to that.
fn common_js(workspace: &Workspace, package: &Path) -> Result<()> {
    let directory = package.join("cjs");
    shell::fresh_directory(&directory)?;
    let mut command = Command::new(workspace.path("tests/node_modules/.bin/esbuild"));
    command.current_dir(package).args(["--format=cjs", "--outdir=cjs", "--log-level=error"]);
    for file in shell::all_files(package)? {
        let name = file.strip_prefix(package)?.to_string_lossy().replace('\\', "/");
        match name.split_once('.').map(|(_, ending)| ending) {
            Some("js" | "base64.1.js" | "base64.2.js") if !ONLY_MODULES.contains(&name.as_str()) => {
                command.arg(name);
            }
            // Those of an entry that nobody requires stay in its folder.
            Some("d.ts" | "wasm.d.ts") if !name.contains('/') => shell::copy_file(&file, &directory.join(name))?,
            _ => {}
        }
    }
    shell::read(&mut command)?;
    for entry in COMMON_ENTRIES {
        // Node loads the ES module for `require`. File tracers without the condition `module-sync` (nft on Node 20) follow this
        // file instead, and deploy the ES module only if something refers to it.
        let text = shell::read_text(&directory.join(entry))?;
        shell::write_file(&directory.join(entry), format!("{text}const traced = () => import(\"../{entry}\");\n"))?;
    }
    shell::write_file(&directory.join("package.json"), "{ \"type\": \"commonjs\" }\n")
}

/// The manifest with the version replaced and no other byte changed.
fn with_version(manifest: &str, version: &str) -> Result<String> {
    let parsed: Value = serde_json::from_str(manifest).context("pkg-template/package.json is no JSON")?;
    let written = parsed["version"].as_str().context("pkg-template/package.json names no version")?;
    let (from, to) = (format!("\"version\": \"{written}\""), format!("\"version\": \"{version}\""));
    if manifest.matches(&from).count() != 1 {
        bail!("pkg-template/package.json must hold {from} once");
    }
    Ok(manifest.replace(&from, &to))
}

/// Packs the tarball. npm gives every file the same time, so that the same files give the same tarball.
fn pack(workspace: &Workspace) -> Result<PathBuf> {
    let directory = directory(workspace);
    let tarball = directory.join(format!("custom-template-jobs-{}.tgz", workspace.version));
    let mut command = npm::npm(&package(workspace));
    command.args(["pack", "--silent", "--pack-destination"]).arg(&directory);
    shell::read(&mut command)?;
    if !tarball.is_file() {
        bail!("npm made no {}; is the name in package.json right?", tarball.display());
    }
    Ok(tarball)
}

/// Prints what a page loads, part by part and in all. The total counts the scripts as a bundler emits them.
fn measure(workspace: &Workspace, package: &Path, built: &Built) -> Result<Vec<(&'static str, Size)>> {
    let mut facade = Size::default();
    for script in FACADE {
        facade = facade + Size::of(&shell::read_file(&package.join(script))?)?;
    }
    for script in &built.snippets {
        facade = facade + Size::of(script.text.as_bytes())?;
    }
    let wasm = Size::of(&built.wasm)?;
    let scripts = page_scripts(workspace, package)?;
    let mut halves = Size::default();
    for name in wasm::HALVES {
        halves = halves + Size::of(&shell::read_file(&package.join(name))?)?;
    }
    Ok(vec![
        ("(the wasm in scripts, loaded where it is not served)", halves),
        ("(all in one file, for a bundler that does not split)", all_in_one(workspace, package)?),
        ("wasm", wasm),
        ("glue", Size::of(built.glue.text.as_bytes())?),
        ("facade", facade),
        ("scripts, bundled and minified", scripts),
        ("TOTAL of a page: wasm and scripts", wasm + scripts),
    ])
}

/// The total that a page loads of a package.
pub fn page_size(workspace: &Workspace, package: &Path) -> Result<Size> {
    Ok(Size::of(&shell::read_file(&package.join(wasm::WASM))?)? + page_scripts(workspace, package)?)
}

/// The entry with its static imports, without what it loads only if the .wasm is not served.
fn page_scripts(workspace: &Workspace, package: &Path) -> Result<Size> {
    Size::of(&bundle(workspace, &package.join(web_entry(package)?), &["*.wasm", "*.base64.1.js", "*.base64.2.js"])?)
}

/// What a page loads of an entry that is bundled into one file.
pub fn all_in_one(workspace: &Workspace, package: &Path) -> Result<Size> {
    Size::of(&bundle(workspace, &package.join("inline.js"), &[])?)
}

/// The file that a bundler uses for a page.
fn web_entry(package: &Path) -> Result<PathBuf> {
    let manifest: Value =
        serde_json::from_str(&shell::read_text(&package.join("package.json"))?).context("package.json is no JSON")?;
    let entry = &manifest["exports"]["."]["default"];
    Ok(entry.as_str().context("package.json names no exports[\".\"].default")?.into())
}

/// A script with all its imports except `left`, minified by esbuild for a page.
pub fn bundle(workspace: &Workspace, entry: &Path, left: &[&str]) -> Result<Vec<u8>> {
    let tool = workspace.path("tests/node_modules/.bin/esbuild");
    let text = shell::read(
        Command::new(tool)
            .arg(entry)
            .args(["--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=error"])
            .args(left.iter().map(|pattern| format!("--external:{pattern}"))),
    )?;
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_above_the_budget_is_not_packed() {
        assert!(within_budget(BUDGET).is_ok());
        let message = within_budget(BUDGET + 7).expect_err("too heavy").to_string();
        assert!(message.contains("7 more than the budget"), "{message}");
    }

    #[test]
    fn the_two_scripts_contain_every_byte_of_the_wasm() {
        let texts = halves(b"\0asm\xff").map(|half| half.split('"').nth(1).map(str::to_owned));
        assert_eq!(texts, [Some("AGFz".to_owned()), Some("bf8=".to_owned())]);
    }

    #[test]
    fn the_manifest_gets_the_crates_version_and_keeps_every_other_byte() {
        let template = "{\n  \"name\": \"x\",\n  \"version\": \"0.0.0\",\n  \"z\": 1, \"a\": 2\n}\n";
        let filled = with_version(template, "1.2.3").expect("it holds a version");
        assert_eq!(filled, template.replace("0.0.0", "1.2.3"));
        assert!(with_version("{}", "1.2.3").is_err());
        assert!(with_version("no json", "1.2.3").is_err());
    }
}
