//! What becomes of the library between rustc and the npm package: glue, fewer and shorter parts, optimisation.
//!
//! The order matters. rustc keeps the function names and the linker its relocations, which [`cut`] needs; wasm-bindgen
//! resolves what the library imports, which [`join`] needs; and `wasm-opt` drops the names together with all that is dead
//! by then.

pub mod plain;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use walrus::{FunctionBuilder, FunctionId, FunctionKind, Module, ModuleConfig};

use self::plain::Library;
use crate::shell::{self, step};
use crate::workspace::Workspace;

/// The name that cargo gives the library's file, and wasm-bindgen its outputs.
const STEM: &str = "custom_template_jobs";

/// The script that hands the wasm what it imports.
const GLUE: &str = "custom_template_jobs_bg.js";

/// The wasm.
pub const WASM: &str = "custom_template_jobs_bg.wasm";

/// The hand-written scripts beside the Rust code, from which the wasm imports: the package holds them under their own names.
const SNIPPETS: [&str; 9] = [
    "values.js",
    "plumbing.js",
    "tabs.js",
    "journal.js",
    "snapshot.js",
    "operation.js",
    "webhook.js",
    "redact.js",
    "options.js",
];

/// The script that holds the wasm for the entry `inline`.
pub const INLINE: &str = "custom_template_jobs_bg.base64.js";

/// What the npm package holds of a library: the wasm, and the scripts from which it imports.
#[derive(Debug)]
pub struct Built {
    pub wasm: Vec<u8>,
    /// What hands the wasm its imports.
    pub glue: Script,
    /// What the glue imports, from beside it.
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

/// Compiles the next core, the workspace member `next/`, for the npm package.
pub fn build_next(workspace: &Workspace, directory: &Path) -> Result<Built> {
    let library = Library {
        package: "custom-template-jobs-next",
        features: &["npm"],
        default_features: false,
        profile: "next",
        flags: &[],
    };
    let output = plain::build(workspace, &library, STEM, directory)?;
    step("optimise the wasm", || plain::optimise(workspace, &output))?;
    let snippets = plain::flatten_snippets(&output)?;
    Ok(Built {
        wasm: shell::read_file(&output.wasm)?,
        glue: Script::read(directory, &format!("{STEM}.js"))?,
        snippets: snippets.iter().map(|name| Script::read(directory, name)).collect::<Result<_>>()?,
    })
}

/// Compiles the library and joins it to its scripts. Enough to run; [`shrink`] makes it small.
pub fn build_with_glue(workspace: &Workspace) -> Result<Built> {
    let linked = step("build the library for WebAssembly", || {
        plain::compile(
            workspace,
            &Library {
                package: "custom-template-jobs",
                features: &["npm"],
                default_features: true,
                profile: "npm",
                flags: FLAGS,
            },
        )
    })?;
    let linked = step("cut what only panics reach", || {
        let directory = workspace.target.join("npm");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(STEM).with_extension("wasm");
        shell::write_file(&path, cut(&shell::read_file(&linked)?)?)?;
        Ok(path)
    })?;
    step("write the glue", || bind(workspace, &linked))
}

/// The wasm at its smallest.
pub fn shrink(workspace: &Workspace, built: Built) -> Result<Built> {
    Ok(Built { wasm: optimise(workspace, &built.wasm)?, ..built })
}

/// The relocations are what [`reach`] reads. A stack of 64 KB is hundreds of our frames deep, and what lies behind it has
/// shorter addresses. The threshold is the measured one: `opt-level = 2` with it is 7 % smaller than "z", which inlines
/// too little where a call costs more than the body, and 6 % smaller than the default of 225.
const FLAGS: &[&str] = &["-Clink-arg=--emit-relocs", "-Clink-arg=-zstack-size=65536", "-Cllvm-args=-inline-threshold=40"];

fn bind(workspace: &Workspace, linked: &Path) -> Result<Built> {
    let out = workspace.target.join("npm").join("bindgen");
    shell::fresh_directory(&out)?;
    plain::bindgen(linked).bundler(true)?.generate(&out)?;
    let mut module = parse(&shell::read_file(&out.join(WASM))?)?;
    let glue = Script { name: GLUE.to_owned(), text: join(&mut module)? };
    let scripts = workspace.path("src/web");
    let snippets = SNIPPETS.iter().map(|name| Script::read(&scripts, name)).collect::<Result<_>>()?;
    Ok(Built { wasm: module.emit_wasm(), glue, snippets })
}

/// The module under which the wasm imports everything, in as few bytes as may be.
const IMPORTS: &str = "a";

/// Gives short names to what the wasm imports, and writes the script that hands it over. wasm-bindgen's own script has
/// nothing to add: what passes is numbers, which need no conversion, and its exports for other types are left out.
fn join(module: &mut Module) -> Result<String> {
    let idle: Vec<_> =
        module.exports.iter().filter(|export| export.name.starts_with("__")).map(walrus::Export::id).collect();
    for id in idle {
        module.exports.delete(id);
    }
    walrus::passes::gc::run(module);

    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut names = short_names();
    let mut entries = Vec::new();
    for import in module.imports.iter_mut() {
        let Some(script) = SNIPPETS.into_iter().find(|script| import.module.ends_with(&format!("/{script}"))) else {
            bail!("the wasm imports `{}` from `{}`, which is none of {SNIPPETS:?}", import.name, import.module);
        };
        let short = names.next().context("there are more imports than short names")?;
        entries.push(format!("{short}: {}", import.name));
        found.entry(script).or_default().push(std::mem::replace(&mut import.name, short));
        IMPORTS.clone_into(&mut import.module);
    }
    let mut glue = String::from("// What the WebAssembly imports, by the short names that it has there. Generated.\n\n");
    for (script, names) in found {
        writeln!(glue, "import {{ {} }} from \"./{script}\";", names.join(", "))?;
    }
    writeln!(glue, "\nexport const imports = {{ {IMPORTS}: {{ {} }} }};", entries.join(", "))?;
    Ok(glue)
}

/// Names of one letter, then of two.
fn short_names() -> impl Iterator<Item = String> {
    let letters = || ('a'..='z').chain('A'..='Z');
    letters()
        .map(String::from)
        .chain(letters().flat_map(move |first| letters().map(move |second| format!("{first}{second}"))))
}

fn parse(wasm: &[u8]) -> Result<Module> {
    let mut config = ModuleConfig::new();
    config.generate_name_section(true).generate_producers_section(false);
    config.parse(wasm).context("wasm-bindgen wrote a module that cannot be read")
}

/// Functions from which Rust never returns: they print a message where somebody listens, then trap. In a page nobody
/// listens. Those that end in `::` or `_` stand for all that begin so.
const PANICS: &[&str] = &[
    "__rustc::__rust_alloc_error_handler",
    "__rustc::__rust_start_panic",
    "__rustc::rust_begin_unwind",
    "__rustc::rust_panic",
    "alloc::alloc::handle_alloc_error",
    "alloc::raw_vec::capacity_overflow",
    "alloc::raw_vec::handle_error",
    "core::cell::panic_already_",
    "core::option::expect_failed",
    "core::option::unwrap_failed",
    "core::panicking::",
    "core::result::unwrap_failed",
    "core::slice::copy_from_slice_impl::len_mismatch_fail",
    "core::slice::index::slice_",
    "core::slice::sort::shared::smallsort::panic_on_ord_violation",
    "core::str::slice_error_fail",
    "core::str::slice_error_fail_rt",
    "std::alloc::rust_oom",
    "std::panicking::begin_panic_handler",
    "std::panicking::panic_handler",
    "std::panicking::panic_with_hook",
    "std::thread::local::panic_access_error",
];

/// Whoever sets a panic hook wants to be told, so then nothing is cut.
const HOOKS: &[&str] = &["std::panicking::set_hook", "std::panicking::update_hook"];

/// Makes every panic a plain trap, which is what it ends in anyway, and takes out what only panics reached: functions
/// become traps, data becomes zeros, and the later steps drop both.
fn cut(linked: &[u8]) -> Result<Vec<u8>> {
    let panics = panics(linked)?;
    let dead = reach::unreached(linked, |index| panics.contains(&index))?;
    println!(
        "   panic entry points: {}, functions: {}, bytes of data: {}",
        panics.len(),
        dead.functions.len(),
        dead.data.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(),
    );

    let mut config = ModuleConfig::new();
    config.generate_name_section(true).generate_producers_section(false).on_parse(move |module, indices| {
        for &index in panics.union(&dead.functions) {
            replace_by_trap(module, indices.get_func(index)?);
        }
        for (segment, range) in &dead.data {
            let data = module.data.get_mut(indices.get_data(*segment)?);
            data.value.get_mut(range.clone()).context("a symbol leaves its segment")?.fill(0);
        }
        Ok(())
    });
    let mut module = config.parse(linked).context("rustc wrote a module that cannot be read")?;
    let notes: Vec<String> = module
        .customs
        .iter()
        .map(|(_, section)| section.name().to_owned())
        .filter(|name| name == "linking" || name.starts_with("reloc.") || name.starts_with(".debug"))
        .collect();
    for name in notes {
        module.customs.remove_raw(&name);
    }
    Ok(module.emit_wasm())
}

/// The numbers of the functions in which panics begin; none where somebody asked to hear of them.
fn panics(linked: &[u8]) -> Result<BTreeSet<u32>> {
    let names = function_names(linked)?;
    if names.values().any(|name| HOOKS.contains(&name.as_str())) {
        return Ok(BTreeSet::new());
    }
    Ok(names.into_iter().filter(|(_, name)| is_panic(name)).map(|(index, _)| index).collect())
}

/// What the name section calls the functions, as a person would write it.
fn function_names(wasm: &[u8]) -> Result<BTreeMap<u32, String>> {
    let mut names = BTreeMap::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let wasmparser::Payload::CustomSection(section) = payload? else { continue };
        let wasmparser::KnownCustom::Name(subsections) = section.as_known() else { continue };
        for subsection in subsections {
            if let wasmparser::Name::Function(functions) = subsection? {
                for naming in functions {
                    let naming = naming?;
                    names.insert(naming.index, plain_name(naming.name));
                }
            }
        }
    }
    if names.is_empty() {
        bail!("rustc wrote no function names; the profile `npm` must not strip them");
    }
    Ok(names)
}

fn is_panic(name: &str) -> bool {
    // Each method of `Vec` that panics has one of its own.
    if name.contains("alloc::vec::Vec<") && name.ends_with("::assert_failed") {
        return true;
    }
    PANICS.iter().any(|panic| {
        if panic.ends_with("::") || panic.ends_with('_') {
            name.starts_with(panic)
        } else {
            name.strip_prefix(panic).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        }
    })
}

fn replace_by_trap(module: &mut Module, id: FunctionId) {
    let function = module.types.get(module.funcs.get(id).ty());
    let (params, results) = (function.params().to_vec(), function.results().to_vec());
    let mut builder = FunctionBuilder::new(&mut module.types, &params, &results);
    builder.func_body().unreachable();
    let args = params.iter().map(|&param| module.locals.add(param)).collect();
    module.funcs.get_mut(id).kind = FunctionKind::Local(builder.local_func(args));
}

/// A function's path without the hash that tells one compilation from another.
fn plain_name(mangled: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(mangled))
}

/// The passes after which brotli sends the fewest bytes, by measurement: control flow built anew before `-Oz` twice over,
/// and the smallest functions inlined. The lowest kilobyte is the end of the stack.
const SMALLEST: &[&str] =
    &["--low-memory-unused", "--flatten", "--rereloop", "-Oz", "-Oz", "--always-inline-max-function-size=8"];

fn optimise(workspace: &Workspace, wasm: &[u8]) -> Result<Vec<u8>> {
    let directory = workspace.target.join("npm").join("bindgen");
    let (from, to) = (directory.join("linked.wasm"), directory.join("optimised.wasm"));
    shell::write_file(&from, wasm)?;
    plain::wasm_opt(workspace, SMALLEST, &from, &to)?;
    shell::read_file(&to)
}

#[cfg(test)]
mod tests {
    use walrus::ValType;

    use super::*;

    /// A module that imports two functions from a script, as wasm-bindgen leaves it.
    fn module(script: &str) -> Module {
        let mut module = Module::default();
        let ty = module.types.add(&[ValType::I32], &[]);
        for (name, export) in [("get", "start"), ("set", "tell"), ("idle", "__wbindgen_start")] {
            let (imported, _) = module.add_import_func(&format!("./snippets/library-0123456789abcdef/{script}"), name, ty);
            let mut builder = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[]);
            let argument = module.locals.add(ValType::I32);
            builder.func_body().local_get(argument).call(imported);
            let function = builder.finish(vec![argument], &mut module.funcs);
            module.exports.add(export, function);
        }
        module
    }

    #[test]
    fn what_is_imported_is_handed_over_under_the_names_that_the_wasm_has() {
        let mut module = module("src/web/values.js");
        let glue = join(&mut module).expect("all of it is from our scripts");
        let names: Vec<_> = module.imports.iter().map(|import| (import.module.as_str(), import.name.as_str())).collect();
        assert_eq!(names, [("a", "a"), ("a", "b")], "what only serves wasm-bindgen is gone");
        assert!(glue.contains("import { get, set } from \"./values.js\";"), "{glue}");
        assert!(glue.contains("export const imports = { a: { a: get, b: set } };"), "{glue}");
    }

    #[test]
    fn what_no_script_of_ours_has_is_found() {
        assert!(join(&mut module("custom_template_jobs_bg.js")).is_err());
    }

    #[test]
    fn panics_are_known_under_both_manglings() {
        for name in [
            "_ZN4core9panicking18panic_bounds_check17h0123456789abcdefE",
            "_RNvNvMs_NtCs5cOc02OMXlo_5alloc3vecINtB6_3VecppE6remove13assert_failed",
            "core::slice::index::slice_index_fail",
            "std::panicking::panic_handler::{closure#0}",
        ] {
            assert!(is_panic(&plain_name(name)), "{name}");
        }
        for name in ["core::panic::Location::caller", "alloc::raw_vec::handle_errors", "start"] {
            assert!(!is_panic(&plain_name(name)), "{name}");
        }
    }
}
