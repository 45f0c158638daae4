//! The build of the npm package's wasm and scripts by standard tools: cargo, wasm-bindgen, `wasm-opt`.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use wasm_bindgen_cli_support::Bindgen;

use crate::shell::{self, step};
use crate::workspace::{LIBRARY, Workspace};

/// The only WebAssembly target that browsers and edge workers run.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The common prefix of wasm-bindgen's output files.
const STEM: &str = "custom_template_jobs";

/// The file of the wasm.
pub const WASM: &str = "custom_template_jobs_bg.wasm";

/// The scripts that carry the wasm, each with one half of it as base64.
pub const HALVES: [&str; 2] = ["custom_template_jobs_bg.base64.1.js", "custom_template_jobs_bg.base64.2.js"];

/// The generated files of the npm package: the wasm and the scripts that it imports from.
#[derive(Debug)]
pub struct Built {
    pub wasm: Vec<u8>,
    /// The glue, which provides the wasm's imports.
    pub glue: Script,
    /// The scripts that the glue imports.
    pub snippets: Vec<Script>,
}

/// A script of the npm package.
#[derive(Debug)]
pub struct Script {
    /// The file's name.
    pub name: String,
    pub text: String,
}

impl Script {
    fn read(directory: &Path, name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), text: shell::read_text(&directory.join(name))? })
    }
}

/// Compiles the library and writes its glue. The result runs; [`shrink`] makes it small.
pub fn build(workspace: &Workspace) -> Result<Built> {
    let linked = step("build the library for WebAssembly", || compile(workspace))?;
    step("write the glue", || {
        let directory = directory(workspace);
        shell::fresh_directory(&directory)?;
        let mut bindgen = Bindgen::new();
        bindgen.input_path(linked).typescript(false).remove_producers_section(true);
        bindgen.web(true)?.out_name(STEM).omit_default_module_path(true).generate(&directory)?;
        let glue = format!("{STEM}.js");
        let snippets = flatten_snippets(&directory, &glue)?;
        Ok(Built {
            wasm: shell::read_file(&directory.join(WASM))?,
            glue: Script::read(&directory, &glue)?,
            snippets: snippets.iter().map(|name| Script::read(&directory, name)).collect::<Result<_>>()?,
        })
    })
}

/// The optimised wasm.
pub fn shrink(workspace: &Workspace, built: Built) -> Result<Built> {
    let wasm = directory(workspace).join(WASM);
    wasm_opt(workspace, &wasm)?;
    Ok(Built { wasm: shell::read_file(&wasm)?, ..built })
}

/// The directory that wasm-bindgen writes to.
fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("npm").join("bindgen")
}

/// Moves each script from `snippets/` to the directory above it, under its own file name, and rewrites the imports of the
/// glue: some bundlers do not resolve the generated folder names. Returns the names of the scripts.
fn flatten_snippets(directory: &Path, glue: &str) -> Result<Vec<String>> {
    let snippets = directory.join("snippets");
    let glue = directory.join(glue);
    let files = shell::all_files(&snippets)?;
    let paths = files
        .iter()
        .map(|file| Ok(file.strip_prefix(&snippets)?.to_string_lossy().replace('\\', "/")))
        .collect::<Result<Vec<_>>>()?;
    let (text, names) = flatten(&shell::read_text(&glue)?, &paths)?;
    for (file, name) in files.iter().zip(&names) {
        let target = directory.join(name);
        if target.exists() {
            bail!("the script {name} would replace a file that wasm-bindgen wrote; rename the script");
        }
        shell::copy_file(file, &target)?;
    }
    shell::write_file(&glue, text)?;
    if snippets.exists() {
        std::fs::remove_dir_all(&snippets).with_context(|| format!("{} could not be removed", snippets.display()))?;
    }
    Ok(names)
}

/// The glue with rewritten imports, and the file name of each script. `paths` are relative to `snippets/`.
fn flatten(glue: &str, paths: &[String]) -> Result<(String, Vec<String>)> {
    let mut glue = glue.to_owned();
    let mut names: Vec<String> = Vec::new();
    for path in paths {
        let name = path.rsplit('/').next().unwrap_or(path);
        if names.iter().any(|other| other == name) {
            bail!(
                "two scripts are named {name}, one of them is {path}; rename one, since a package holds them side by side"
            );
        }
        // Imports only: the wasm's own import names contain the generated path too.
        for quote in ['"', '\''] {
            glue = glue.replace(&format!("from {quote}./snippets/{path}{quote}"), &format!("from {quote}./{name}{quote}"));
        }
        names.push(name.to_owned());
    }
    if let Some(line) = glue.lines().find(|line| line.contains("from ") && line.contains("snippets/")) {
        bail!("the glue imports a script that wasm-bindgen did not write: {}", line.trim());
    }
    Ok((glue, names))
}

/// Runs cargo and returns the path of the linked wasm.
fn compile(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = workspace.cargo();
    command.args(["build", "--package", LIBRARY, "--lib", "--no-default-features", "--features", "npm"]);
    let mut child = command
        .args(["--target", TARGET, "--profile", "npm", "--message-format=json-render-diagnostics"])
        // No other flags apply, so that the same commit gives the same bytes everywhere.
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace).join("\x1f"))
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo could not be started")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    // Dependencies come first, so the last wasm is the library's.
    let mut linked = None;
    for message in serde_json::Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Value>() {
        let message = message.context("cargo printed no JSON")?;
        let files = message["filenames"].as_array().into_iter().flatten();
        linked = files.filter_map(Value::as_str).map(PathBuf::from).find(|file| is_wasm(file)).or(linked);
    }
    if !child.wait()?.success() {
        bail!("the library does not compile for WebAssembly; rustc's own message stands above");
    }
    linked.context("the library gives no wasm; is its crate type `cdylib`?")
}

fn is_wasm(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm")
}

/// Compiler flags that remove the paths of this machine from panic messages, which contain paths of source files.
fn flags(workspace: &Workspace) -> Vec<String> {
    let sources = workspace.sources.iter().map(|directory| (directory.as_path(), "dependency"));
    sources
        .chain([(workspace.root.as_path(), "crate")])
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect()
}

/// Runs `wasm-opt -Oz` on the wasm, in place. Functions with one call are not inlined, since the large functions that result
/// compress worse, by 1 KB. The features are read from the module, since `--all-features` would use more than Node 20 can load.
/// Names are removed, since only `-g` would keep them.
fn wasm_opt(workspace: &Workspace, wasm: &Path) -> Result<()> {
    let tool = workspace.path("tests/node_modules/binaryen/bin/wasm-opt");
    let mut command = Command::new("node");
    command.arg(tool).args([
        "-Oz",
        "--one-caller-inline-max-function-size=0",
        "--strip-producers",
        "--strip-target-features",
    ]);
    shell::run(command.arg(wasm).arg("-o").arg(wasm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_imported_from_the_directory_of_the_glue() {
        let glue = "import { a } from './snippets/library-0123/src/web/tabs.js';\n\
                    import { b } from './snippets/library-0123/inline0.js';\n";
        let paths = ["library-0123/inline0.js", "library-0123/src/web/tabs.js"].map(str::to_owned);
        let (flat, names) = flatten(glue, &paths).expect("the names differ");
        assert_eq!(flat, "import { a } from './tabs.js';\nimport { b } from './inline0.js';\n");
        assert_eq!(names, ["inline0.js", "tabs.js"]);
    }

    #[test]
    fn two_scripts_with_one_name_are_refused() {
        let paths = ["library-0123/inline0.js", "other-4567/inline0.js"].map(str::to_owned);
        let message = flatten("", &paths).expect_err("one would replace the other").to_string();
        assert!(message.contains("two scripts are named inline0.js"), "{message}");
    }

    #[test]
    fn an_import_without_its_script_is_refused() {
        let glue = "import { a } from './snippets/library-0123/tabs.js';";
        assert!(flatten(glue, &[]).expect_err("it is missing").to_string().contains("tabs.js"));
    }
}
