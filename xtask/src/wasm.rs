//! What becomes of the library between rustc and the npm package: glue, fewer and shorter parts, optimisation.
//!
//! The order matters. rustc keeps the function names and the linker its relocations, which [`cut`] needs; wasm-bindgen
//! writes the glue, which [`shorten_names`] needs; and `wasm-opt` drops the names together with all that is dead by then.

mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use walrus::ir::Value;
use walrus::{ConstExpr, DataKind, FunctionBuilder, FunctionId, FunctionKind, Module, ModuleConfig};

use crate::shell::{self, step};
use crate::workspace::Workspace;

/// The name that cargo gives the library's file, and wasm-bindgen its outputs.
const STEM: &str = "custom_template_jobs";

/// The module name under which the wasm imports from the glue, and the glue's own file name.
pub const GLUE: &str = "custom_template_jobs_bg.js";
pub const WASM: &str = "custom_template_jobs_bg.wasm";

/// The hand-written scripts beside the Rust code: the package holds them under their own names.
pub const SNIPPETS: [&str; 2] = ["values.js", "plumbing.js"];

/// The script that holds the wasm for the entry `inline`.
pub const INLINE: &str = "custom_template_jobs_bg.base64.js";

/// The two generated files of the npm package.
#[derive(Debug)]
pub struct Built {
    pub glue: String,
    pub wasm: Vec<u8>,
}

/// Compiles the library and lets wasm-bindgen write the glue. Enough to run; [`shrink`] makes it small.
pub fn build_with_glue(workspace: &Workspace) -> Result<Built> {
    let linked = step("build the library for WebAssembly", || build(workspace))?;
    let linked = step("cut what only panics reach", || {
        let directory = workspace.target.join("npm");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(STEM).with_extension("wasm");
        shell::write_file(&path, cut(&shell::read_file(&linked)?)?)?;
        Ok(path)
    })?;
    let tool = step("build wasm-bindgen", || {
        shell::run(workspace.cargo().args(["build", "--package", "wasm-bindgen-runner"]))?;
        Ok(workspace.program("wasm-bindgen"))
    })?;
    step("write the glue", || bind(workspace, &tool, &linked))
}

/// Takes everything out that a visitor would load in vain. `scripts` are the package's hand-written files.
pub fn shrink(workspace: &Workspace, built: Built, scripts: &[String]) -> Result<Built> {
    let mut glue = built.glue;
    let mut module = parse(&built.wasm)?;
    let dropped = drop_exports(&mut module, &glue, scripts);
    println!("   exports that no script names: {dropped}");
    walrus::passes::gc::run(&mut module);
    remember_texts(&module, &mut glue)?;
    let renamed = shorten_names(&mut module, &mut glue, scripts);
    println!("   names shortened in wasm and glue: {renamed}");
    check_names(&module, &glue)?;
    let wasm = optimise(workspace, &module.emit_wasm())?;
    Ok(Built { glue, wasm })
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    let status = workspace
        .cargo()
        .args(["build", "--package", "custom-template-jobs", "--lib"])
        .args(["--target", "wasm32-unknown-unknown", "--profile", "npm", "--features", "npm"])
        // Only the flags below count, so that the same commit gives the same bytes everywhere.
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace).join("\x1f"))
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!(
            "the library does not compile for WebAssembly; if rustc misses `core` or `std` for \
             wasm32-unknown-unknown, run `rustup target add wasm32-unknown-unknown`"
        );
    }
    let directory = workspace.target.join("wasm32-unknown-unknown").join("npm");
    Ok(directory.join(STEM).with_extension("wasm"))
}

/// Panic messages hold the paths of source files: no path of the machine that built it may be read in the package. The
/// relocations are what [`reach`] reads.
fn flags(workspace: &Workspace) -> Vec<String> {
    let sources = workspace.sources.iter().map(|directory| (directory.as_path(), "dependency"));
    sources
        .chain([(workspace.root.as_path(), "crate")])
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .chain(["-Clink-arg=--emit-relocs".to_owned()])
        .collect()
}

fn bind(workspace: &Workspace, tool: &Path, linked: &Path) -> Result<Built> {
    let out = workspace.target.join("npm").join("bindgen");
    shell::fresh_directory(&out)?;
    shell::run(
        Command::new(tool)
            .args(["--target", "bundler", "--no-typescript", "--remove-producers-section"])
            .args(["--out-name", STEM, "--out-dir"])
            .arg(&out)
            .arg(linked),
    )?;
    let mut module = parse(&shell::read_file(&out.join(WASM))?)?;
    let mut glue = shell::read_text(&out.join(GLUE))?;
    place_snippets(&mut module, &mut glue);
    Ok(Built { glue, wasm: module.emit_wasm() })
}

/// wasm-bindgen copies the scripts into folders named by a hash; in the package they lie beside the glue.
fn place_snippets(module: &mut Module, glue: &mut String) {
    for import in module.imports.iter_mut() {
        let Some(script) = SNIPPETS.iter().find(|script| import.module.ends_with(&format!("/{script}"))) else { continue };
        let placed = format!("./{script}");
        *glue = glue.replace(&import.module, &placed);
        import.module = placed;
    }
    for script in SNIPPETS {
        let Some(end) = glue.find(&format!("/{script}'")) else { continue };
        let Some(start) = glue[..end].rfind('\'') else { continue };
        glue.replace_range(start + 1..=end, "./");
    }
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

/// Removes the exports that neither the glue nor a hand-written file names, and returns how many.
fn drop_exports(module: &mut Module, glue: &str, scripts: &[String]) -> usize {
    let named: BTreeSet<&str> = scripts.iter().map(String::as_str).chain([glue]).flat_map(words).collect();
    let unused: Vec<_> =
        module.exports.iter().filter(|export| !named.contains(export.name.as_str())).map(walrus::Export::id).collect();
    for &id in &unused {
        module.exports.delete(id);
    }
    unused.len()
}

/// wasm-bindgen decodes a text each time that it passes; ours lie in the data and never change, and there are dozens to a
/// call. So the glue keeps those, and only those, once they are decoded.
fn remember_texts(module: &Module, glue: &mut String) -> Result<()> {
    const DECODES: &str = "    return decodeText(getUint8ArrayMemory0().subarray(ptr, ptr + len));\n";
    let mut data: Option<(u64, u64)> = None;
    for segment in module.data.iter() {
        let DataKind::Active { offset: ConstExpr::Value(Value::I32(start)), .. } = segment.kind else { continue };
        let (start, end) = (u64::from(start.cast_unsigned()), u64::from(start.cast_unsigned()) + segment.value.len() as u64);
        data = Some(data.map_or((start, end), |(first, last)| (first.min(start), last.max(end))));
    }
    let (start, end) = data.context("the module has no data")?;
    if glue.matches(DECODES).count() != 1 {
        bail!("the glue does not decode texts as it did; look at what wasm-bindgen writes now");
    }
    let remembers = format!(
        "    const decode = () => decodeText(getUint8ArrayMemory0().subarray(ptr, ptr + len));\n    \
         if (ptr < {start} || ptr >= {end}) return decode();\n    \
         const place = ptr * 65536 + len;\n    \
         if (!texts.has(place)) texts.set(place, decode());\n    \
         return texts.get(place);\n"
    );
    *glue = glue.replace(DECODES, &remembers);
    glue.push_str("\nconst texts = new Map();\n");
    Ok(())
}

/// Gives short names to all that passes between wasm and glue and that no hand-written file names: the imports
/// (`__wbg_x_<16 hex digits>`, which do not compress) and the exports. Returns how many were renamed.
fn shorten_names(module: &mut Module, glue: &mut String, scripts: &[String]) -> usize {
    let known: BTreeSet<&str> = scripts.iter().flat_map(|script| words(script)).collect();
    let mut taken: BTreeSet<String> = words(glue).chain(known.iter().copied()).map(str::to_owned).collect();
    let mut renamed = 0;

    let mut imports = BTreeMap::new();
    for import in module.imports.iter_mut() {
        let from_glue = import.module.strip_prefix("./") == Some(GLUE);
        if from_glue && !known.contains(import.name.as_str()) && count(glue, &import.name) == 1 {
            let short = imports.entry(import.name.clone()).or_insert_with(|| short_name(&mut taken));
            import.name.clone_from(short);
        }
    }
    for (long, short) in &imports {
        *glue = replace_word(glue, long, short);
        renamed += 1;
    }

    for export in module.exports.iter_mut() {
        let uses = count(glue, &export.name);
        let through_wasm = count_member(glue, &export.name);
        if !known.contains(export.name.as_str()) && uses > 0 && uses == through_wasm {
            let short = short_name(&mut taken);
            *glue = replace_word(glue, &export.name, &short);
            export.name = short;
            renamed += 1;
        }
    }
    renamed
}

/// The next name of one letter, then of two, that nothing in the glue or the hand-written files bears.
fn short_name(taken: &mut BTreeSet<String>) -> String {
    let letters = || ('a'..='z').chain('A'..='Z');
    let one = letters().map(String::from);
    let two = letters().flat_map(|first| letters().map(move |second| format!("{first}{second}")));
    let name = one.chain(two).find(|name| !taken.contains(name)).unwrap_or_else(|| {
        // 2,756 names are more than any API client imports; a longer one is still right.
        format!("x{}", taken.len())
    });
    taken.insert(name.clone());
    name
}

/// Fails where the wasm asks the glue for something that it does not have, or the glue the wasm.
fn check_names(module: &Module, glue: &str) -> Result<()> {
    for import in module.imports.iter() {
        let exported = format!("export function {}(", import.name);
        if import.module.strip_prefix("./") == Some(GLUE) && !glue.contains(&exported) {
            bail!("the wasm imports `{}`, which the glue does not export", import.name);
        }
    }
    let exports: BTreeSet<&str> = module.exports.iter().map(|export| export.name.as_str()).collect();
    for (index, _) in glue.match_indices("wasm.") {
        let starts = !glue[..index].ends_with(is_word);
        let member = words(&glue[index + "wasm.".len()..]).next().unwrap_or_default();
        if starts && !exports.contains(member) {
            bail!("the glue uses `wasm.{member}`, which the wasm does not export");
        }
    }
    Ok(())
}

/// The passes after which brotli sends the fewest bytes. Measured against `-Oz` alone: -1.2 % for keeping functions of one
/// caller apart (inlined they repeat less), -1.1 % for building the control flow anew, twice over.
const SMALLEST: &[&str] = &["--flatten", "--rereloop", "-Oz", "-Oz", "--one-caller-inline-max-function-size=10"];

/// `wasm-opt` at its smallest. It reads the features from the module: `--all-features` would ask for more than Node 20
/// can load. The names go with it, since only `-g` would keep them.
fn optimise(workspace: &Workspace, wasm: &[u8]) -> Result<Vec<u8>> {
    let directory = workspace.target.join("npm").join("bindgen");
    let (from, to) = (directory.join("linked.wasm"), directory.join("optimised.wasm"));
    shell::write_file(&from, wasm)?;
    let tool = workspace.path("tests/node_modules/binaryen/bin/wasm-opt");
    shell::run(
        Command::new("node")
            .arg(tool)
            .args(SMALLEST)
            .args(["--strip-producers", "--strip-target-features"])
            .arg(&from)
            .arg("-o")
            .arg(&to),
    )?;
    shell::read_file(&to)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '$'
}

/// The identifiers and numbers of a script, in order.
fn words(script: &str) -> impl Iterator<Item = &str> {
    script.split(|character| !is_word(character)).filter(|word| !word.is_empty())
}

fn count(script: &str, name: &str) -> usize {
    words(script).filter(|word| *word == name).count()
}

/// How often the script says `wasm.name`.
fn count_member(script: &str, name: &str) -> usize {
    let member = format!("wasm.{name}");
    script
        .match_indices(&member)
        .filter(|(index, _)| !script[..*index].ends_with(is_word) && !script[index + member.len()..].starts_with(is_word))
        .count()
}

fn replace_word(script: &str, name: &str, by: &str) -> String {
    let mut replaced = String::with_capacity(script.len());
    let mut rest = script;
    while let Some(index) = rest.find(name) {
        let (before, after) = (&rest[..index], &rest[index + name.len()..]);
        let whole = !before.ends_with(is_word) && !after.starts_with(is_word);
        replaced.push_str(before);
        replaced.push_str(if whole { by } else { name });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use walrus::ValType;

    use super::*;

    const FETCH: &str = "__wbg_fetch_0123456789abcdef";

    /// A module that imports one function from the glue and exports two, as wasm-bindgen leaves it.
    fn module() -> Module {
        let mut module = Module::default();
        let ty = module.types.add(&[ValType::I32], &[]);
        let (fetch, _) = module.add_import_func(&format!("./{GLUE}"), FETCH, ty);
        let mut function = |callee: FunctionId| {
            let mut builder = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[]);
            let argument = module.locals.add(ValType::I32);
            builder.func_body().local_get(argument).call(callee);
            builder.finish(vec![argument], &mut module.funcs)
        };
        let start = function(fetch);
        module.exports.add("start", start);
        module.exports.add("__wbindgen_malloc", fetch);
        module.exports.add("__unused", fetch);
        module
    }

    fn glue() -> String {
        [
            &format!("export function {FETCH}(arg0) {{ return fetch(arg0, wasm.__wbindgen_malloc); }}"),
            "export function start(a) { wasm.start(a); }",
            "let wasm;",
        ]
        .join("\n")
    }

    #[test]
    fn wasm_and_glue_agree_on_the_shortened_names() {
        let (mut module, mut glue) = (module(), glue());
        let scripts = ["exports.start(glue)".to_owned()];
        assert_eq!(drop_exports(&mut module, &glue, &scripts), 1);
        assert_eq!(shorten_names(&mut module, &mut glue, &scripts), 2);
        check_names(&module, &glue).expect("the names match");
        let names: Vec<&str> = module.imports.iter().map(|import| import.name.as_str()).collect();
        // `a` is taken by the glue.
        assert_eq!(names, ["b"]);
        assert!(glue.starts_with("export function b(arg0) { return fetch(arg0, wasm.c); }"));
        // A hand-written file says `start`, so it stays.
        assert!(module.exports.iter().any(|export| export.name == "start"));
        assert!(glue.contains("wasm.start(a)"));
    }

    #[test]
    fn names_that_do_not_match_are_found() {
        let module = module();
        check_names(&module, &glue()).expect("the names match");
        let without_import = glue().replace(FETCH, "other");
        assert!(check_names(&module, &without_import).is_err());
        let without_export = glue().replace("wasm.start", "wasm.stop");
        assert!(check_names(&module, &without_export).is_err());
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

    #[test]
    fn only_whole_words_are_replaced() {
        assert_eq!(replace_word("ab a.ab(abc, $ab, ab)", "ab", "x"), "x a.x(abc, $ab, x)");
    }
}
