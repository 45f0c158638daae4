//! Tests of the source layout: imports point one way, files stay short, and only the loaders call `fetch`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::shell;

/// The modules of the library. Each row imports only from itself and from the rows above it.
const LAYERS: [&[&str]; 5] =
    [&["api", "error", "hash", "job", "member"], &["charge", "credits", "poll", "retry"], &["host"], &["client"], &["web"]];

/// The most lines of a file of the library.
const LINES: usize = 600;

/// The scripts that load the wasm. Only they may call `fetch`.
const LOADERS: [&str; 2] = ["loading.js", "node.js"];

/// The texts of all files with this extension below a directory of the checkout, by their paths in it.
fn sources(directory: &str, extension: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
    let files = shell::all_files(&root).expect("it can be listed");
    let files = files.into_iter().filter(|file| file.extension().is_some_and(|end| end == extension));
    let relative = |file: &Path| file.strip_prefix(&root).expect("it lies below").to_string_lossy().replace('\\', "/");
    files.map(|file| (relative(&file), shell::read_text(&file).expect("it is text"))).collect()
}

/// The imports of each module from other modules. A module is a direct child of the root; its children count as part of it.
/// Comments are skipped.
fn imports(files: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
    for (file, text) in files.iter().filter(|(file, _)| *file != "lib.rs") {
        let module = file.split(['/', '.']).next().unwrap_or_default();
        assert!(file.contains('/') || !text.contains("\nuse super::"), "{file}: say `crate::` for another module");
        let found = imports.entry(module.to_owned()).or_default();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for path in line.split("crate::").skip(1) {
                let name = path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                assert!(!name.is_empty(), "{file}: one module for each `use`: {line}");
                found.insert(name.to_owned());
            }
        }
        found.remove(module);
    }
    imports
}

/// The violations of the layers: modules without a layer, and imports from a later layer.
fn against_the_layers(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let modules = imports.keys().filter(|module| layer(module).is_none()).map(|module| format!("{module} has no layer"));
    let pairs = imports.iter().flat_map(|(module, others)| others.iter().map(move |other| (module, other)));
    let arrows = pairs.filter(|(module, other)| layer(module) < layer(other));
    modules.chain(arrows.map(|(module, other)| format!("{module} imports {other}"))).collect()
}

/// The modules in import cycles, and those that import from them: what remains after repeatedly removing every module that
/// imports none of the remaining ones.
fn in_cycles(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut left: BTreeSet<String> = imports.keys().cloned().collect();
    while let Some(done) = left.iter().find(|module| imports[*module].is_disjoint(&left)).cloned() {
        left.remove(&done);
    }
    left
}

#[test]
fn no_module_imports_from_a_later_layer_and_none_in_a_circle() {
    let imports = imports(&sources("src", "rs"));
    assert_eq!(imports.len(), LAYERS.concat().len(), "each layer names modules that there are");
    assert_eq!(against_the_layers(&imports), Vec::<String>::new());
    assert_eq!(in_cycles(&imports), BTreeSet::new());
}

#[test]
fn a_wrong_import_is_found() {
    let files = [
        ("lib.rs", "use crate::web::Any;"),
        ("api.rs", "use crate::job::JobFacts;\n// crate::web"),
        ("job.rs", "fn id() { crate::api::is_uuid() }"),
        ("poll.rs", "use crate::api::Goal;"),
        ("client/polling.rs", "use super::tasks;\nuse crate::client::Client;\nuse crate::web::WebHost;"),
        ("web/mod.rs", "use crate::client::Client;"),
        ("hash.rs", ""),
    ];
    let imports = imports(&files.map(|(name, text)| (name.into(), text.into())).into());
    assert_eq!(against_the_layers(&imports), ["client imports web"]);
    assert_eq!(in_cycles(&imports).into_iter().collect::<Vec<_>>(), ["api", "client", "job", "poll", "web"]);
}

#[test]
fn no_file_of_the_library_or_its_commands_is_long() {
    let files = sources("src", "rs").into_iter().chain(sources("src", "js")).chain(sources("xtask/src", "rs"));
    let long: Vec<_> = files.filter(|(_, text)| text.lines().count() > LINES).map(|(file, _)| file).collect();
    assert!(long.is_empty(), "more than {LINES} lines: {long:?}");
}

#[test]
fn no_script_fetches_but_those_that_load_the_wasm() {
    let scripts = sources("src", "js").into_iter().chain(sources("pkg-template", "js"));
    let fetching: Vec<_> =
        scripts.filter(|(_, text)| text.contains("fetch(") || text.contains("fetch)(")).map(|(file, _)| file).collect();
    assert_eq!(fetching, LOADERS);
}
