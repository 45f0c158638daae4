//! From a library of the workspace to the files of an npm package by standard tools: cargo, wasm-bindgen, `wasm-opt`.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use wasm_bindgen_cli_support::Bindgen;

use crate::shell::{self, step};
use crate::workspace::Workspace;

/// The only target of WebAssembly that browsers and edge workers run.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A library of the workspace, and how it is compiled.
#[derive(Debug, Clone, Copy)]
pub struct Library<'a> {
    /// The package's name in its manifest.
    pub package: &'a str,
    pub features: &'a [&'a str],
    pub default_features: bool,
    /// A profile of the workspace's manifest.
    pub profile: &'a str,
    /// Flags for rustc. Those of the environment are ignored.
    pub flags: &'a [&'a str],
}

/// The files that [`build`] wrote.
#[derive(Debug)]
pub struct Output {
    /// Holds `glue`, `wasm` and, where the library imports scripts, `snippets/`.
    pub directory: PathBuf,
    pub glue: PathBuf,
    pub wasm: PathBuf,
}

/// Compiles a library with cargo and writes its glue with wasm-bindgen (target `web`) into an empty directory, as
/// `NAME.js` and `NAME_bg.wasm`.
pub fn build(workspace: &Workspace, library: &Library, name: &str, directory: &Path) -> Result<Output> {
    let linked = step(&format!("build `{}` for WebAssembly", library.package), || compile(workspace, library))?;
    step("write the glue", || {
        shell::fresh_directory(directory)?;
        let mut bindgen = bindgen(&linked);
        bindgen.web(true)?.out_name(name).omit_default_module_path(true).generate(directory)?;
        Ok(Output {
            directory: directory.to_owned(),
            glue: directory.join(format!("{name}.js")),
            wasm: directory.join(format!("{name}_bg.wasm")),
        })
    })
}

/// Runs `wasm-opt -Oz` on the wasm, in place. Functions that are called once stay apart: the large ones that inlining
/// makes of them compress worse, by 1 KB.
pub fn optimise(workspace: &Workspace, output: &Output) -> Result<()> {
    wasm_opt(workspace, &["-Oz", "--one-caller-inline-max-function-size=0"], &output.wasm, &output.wasm)
}

/// Moves each script from `snippets/` to the directory above it, under its own file name, and rewrites the imports of the
/// glue: some bundlers do not resolve the generated folder names. Returns the names of the scripts.
pub fn flatten_snippets(output: &Output) -> Result<Vec<String>> {
    let snippets = output.directory.join("snippets");
    let files = shell::all_files(&snippets)?;
    let paths = files
        .iter()
        .map(|file| Ok(file.strip_prefix(&snippets)?.to_string_lossy().replace('\\', "/")))
        .collect::<Result<Vec<_>>>()?;
    let (glue, names) = flatten(&shell::read_text(&output.glue)?, &paths)?;
    for (file, name) in files.iter().zip(&names) {
        let target = output.directory.join(name);
        if target.exists() {
            bail!("the script {name} would replace a file that wasm-bindgen wrote; rename the script");
        }
        shell::copy_file(file, &target)?;
    }
    shell::write_file(&output.glue, glue)?;
    if snippets.exists() {
        std::fs::remove_dir_all(&snippets).with_context(|| format!("{} could not be removed", snippets.display()))?;
    }
    Ok(names)
}

/// The glue with its imports rewritten, and the file name of each script; `paths` are relative to `snippets/`.
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
        // Only where it is imported: the wasm knows its imports by the generated path too.
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

/// Runs cargo and returns the wasm that the linker wrote.
pub fn compile(workspace: &Workspace, library: &Library) -> Result<PathBuf> {
    let mut command = workspace.cargo();
    command.args(["build", "--package", library.package, "--lib", "--features", &library.features.join(",")]);
    if !library.default_features {
        command.arg("--no-default-features");
    }
    let mut child = command
        .args(["--target", TARGET, "--profile", library.profile, "--message-format=json-render-diagnostics"])
        // Only these flags count, so that the same commit gives the same bytes everywhere.
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, library).join("\x1f"))
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
        bail!("`{}` does not compile for WebAssembly; rustc's own message stands above", library.package);
    }
    linked.with_context(|| format!("`{}` gives no wasm; is its crate type `cdylib`?", library.package))
}

fn is_wasm(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm")
}

/// Panic messages hold the paths of source files: no path of the machine that built it may be read in the package.
fn flags(workspace: &Workspace, library: &Library) -> Vec<String> {
    let sources = workspace.sources.iter().map(|directory| (directory.as_path(), "dependency"));
    sources
        .chain([(workspace.root.as_path(), "crate")])
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .chain(library.flags.iter().map(|&flag| flag.to_owned()))
        .collect()
}

/// wasm-bindgen, as both pipelines use it.
pub fn bindgen(linked: &Path) -> Bindgen {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(linked).typescript(false).remove_producers_section(true);
    bindgen
}

/// `wasm-opt` reads the features from the module: `--all-features` would ask for more than Node 20 can load. The names
/// go with it, since only `-g` would keep them.
pub fn wasm_opt(workspace: &Workspace, passes: &[&str], from: &Path, to: &Path) -> Result<()> {
    let tool = workspace.path("tests/node_modules/binaryen/bin/wasm-opt");
    shell::run(
        Command::new("node")
            .arg(tool)
            .args(passes)
            .args(["--strip-producers", "--strip-target-features"])
            .arg(from)
            .arg("-o")
            .arg(to),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_imported_from_beside_the_glue() {
        let glue = "import { a } from './snippets/next-0123/src/web/tabs.js';\n\
                    import { b } from './snippets/next-0123/inline0.js';\n";
        let paths = ["next-0123/inline0.js", "next-0123/src/web/tabs.js"].map(str::to_owned);
        let (flat, names) = flatten(glue, &paths).expect("the names differ");
        assert_eq!(flat, "import { a } from './tabs.js';\nimport { b } from './inline0.js';\n");
        assert_eq!(names, ["inline0.js", "tabs.js"]);
    }

    #[test]
    fn two_scripts_of_one_name_are_refused() {
        let paths = ["next-0123/inline0.js", "other-4567/inline0.js"].map(str::to_owned);
        let message = flatten("", &paths).expect_err("one would replace the other").to_string();
        assert!(message.contains("two scripts are named inline0.js"), "{message}");
    }

    #[test]
    fn an_import_without_its_script_is_refused() {
        let glue = "import { a } from './snippets/next-0123/tabs.js';";
        assert!(flatten(glue, &[]).expect_err("it is missing").to_string().contains("tabs.js"));
    }
}
