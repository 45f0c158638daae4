//! Which functions and which bytes of data a call can reach, by the linker's own relocations.
//!
//! A linker keeps what its inputs refer to. Once the panic entry points are cut much of that is dead, but neither walrus
//! nor `wasm-opt` can know it: to them a function in the table may be called by any number, and a byte of data may be
//! read by any address. `--emit-relocs` makes wasm-ld write down what each address in code and data refers to, so that
//! here the dead can be told from the living without a guess. What no symbol describes counts as alive.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use wasmparser::{
    BinaryReader, ConstExpr, DataKind, ElementItems, ExternalKind, Linking, LinkingSectionReader, Operator, Parser, Payload,
    RelocSectionReader, RelocationEntry, RelocationType, SymbolInfo, TypeRef,
};

/// What no export reaches, by the numbers that the linked module gives its functions and data segments.
#[derive(Debug, Default)]
pub struct Unreached {
    pub functions: BTreeSet<u32>,
    /// A segment's number and the bytes within it.
    pub data: Vec<(u32, Range<usize>)>,
}

/// What wasm-bindgen exports for its own use: it runs these functions to learn the types of imports and exports, then
/// drops them.
const DESCRIBE: &str = "__wbindgen_describe_";

/// Follows calls and addresses from the exports; `is_cut` names the functions whose bodies do not count.
pub fn unreached(wasm: &[u8], is_cut: impl Fn(u32) -> bool) -> Result<Unreached> {
    let linked = Linked::read(wasm)?;
    let reached = linked.reach(is_cut)?;
    let run_by_bindgen = linked.describing();
    Ok(Unreached {
        functions: (linked.imported.len() as u32..linked.params.len() as u32)
            .filter(|index| !reached.functions.contains(index) && !run_by_bindgen.contains(index))
            .collect(),
        data: linked.dead_data(&reached.symbols),
    })
}

/// A module with the linker's notes, as far as reachability asks for them.
#[derive(Debug, Default)]
struct Linked {
    /// The names of the imported functions, which come first in the count of all functions.
    imported: Vec<String>,
    /// How many values each function takes.
    params: Vec<usize>,
    /// The exported functions, and the one that runs at the start under no name.
    exported: Vec<(String, u32)>,
    bodies: Vec<Body>,
    segments: Vec<Segment>,
    symbols: Vec<Symbol>,
    code_relocations: Vec<RelocationEntry>,
    data_relocations: Vec<RelocationEntry>,
    /// Addresses that leave the module as globals.
    addresses: Vec<usize>,
}

/// A function's bytes within the code section, and the functions that it calls by number.
#[derive(Debug)]
struct Body {
    range: Range<usize>,
    calls: Vec<Call>,
}

/// A call, or a reference to a function.
#[derive(Debug)]
struct Call {
    callee: u32,
    /// Where in the code section the constants stand that are pushed for this call and for nothing else.
    constants: Vec<usize>,
}

/// A data segment's bytes within the data section, and where they are in memory.
#[derive(Debug)]
struct Segment {
    range: Range<usize>,
    address: usize,
}

#[derive(Debug)]
enum Symbol {
    Function(u32),
    Data { segment: usize, range: Range<usize> },
    Other,
}

#[derive(Debug, Default)]
struct Reached {
    functions: BTreeSet<u32>,
    symbols: BTreeSet<usize>,
}

/// A thing that is alive.
#[derive(Debug, Clone, Copy)]
enum Node {
    Function(u32),
    Symbol(usize),
}

impl Linked {
    fn read(wasm: &[u8]) -> Result<Self> {
        let mut linked = Self::default();
        let (mut code_start, mut sections, mut code, mut data) = (0, 0, None, None);
        let mut types = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.context("rustc wrote a module that cannot be read")?;
            match &payload {
                Payload::TypeSection(reader) => {
                    for ty in reader.clone().into_iter_err_on_gc_types() {
                        types.push(ty?.params().len());
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.clone().into_imports() {
                        let import = import?;
                        if let TypeRef::Func(ty) = import.ty {
                            linked.imported.push(import.name.to_owned());
                            linked.params.push(params_of(&types, ty)?);
                        }
                    }
                }
                Payload::FunctionSection(reader) => {
                    for ty in reader.clone() {
                        linked.params.push(params_of(&types, ty?)?);
                    }
                }
                Payload::GlobalSection(reader) => {
                    for global in reader.clone() {
                        linked.addresses.extend(constant(&global?.init_expr)?);
                    }
                }
                Payload::ExportSection(reader) => {
                    for export in reader.clone() {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            linked.exported.push((export.name.to_owned(), export.index));
                        }
                    }
                }
                Payload::StartSection { func, .. } => linked.exported.push((String::new(), *func)),
                Payload::ElementSection(reader) => {
                    // The linker's one table of function addresses; the relocations say which of them are used.
                    for element in reader.clone() {
                        if !matches!(element?.items, ElementItems::Functions(_)) {
                            bail!("the linker wrote a table of another kind than known here");
                        }
                    }
                }
                Payload::CodeSectionStart { range, .. } => {
                    code_start = range.start;
                    code = Some(sections);
                }
                Payload::CodeSectionEntry(body) => {
                    let range = body.range();
                    linked.bodies.push(Body {
                        range: range.start - code_start..range.end - code_start,
                        calls: calls(body, code_start, &linked.params)?,
                    });
                }
                Payload::DataSection(reader) => {
                    data = Some(sections);
                    let start = reader.range().start;
                    for segment in reader.clone() {
                        let segment = segment?;
                        let DataKind::Active { offset_expr, .. } = &segment.kind else {
                            bail!("the linker wrote a passive data segment");
                        };
                        let address = constant(offset_expr)?;
                        let end = segment.range.end - start;
                        linked.segments.push(Segment {
                            range: end - segment.data.len()..end,
                            address: address.context("a data segment stands at no fixed address")?,
                        });
                    }
                }
                Payload::CustomSection(section) if section.name() == "linking" => {
                    let reader = BinaryReader::new(section.data(), section.data_offset());
                    linked.read_symbols(&LinkingSectionReader::new(reader)?)?;
                }
                Payload::CustomSection(section) if section.name().starts_with("reloc.") => {
                    let reader = BinaryReader::new(section.data(), section.data_offset());
                    let reader = RelocSectionReader::new(reader)?;
                    let entries = reader.entries().into_iter().collect::<Result<Vec<_>, _>>()?;
                    match Some(reader.section_index()) {
                        index if index == code => linked.code_relocations = entries,
                        index if index == data => linked.data_relocations = entries,
                        _ => {} // of debug information
                    }
                }
                _ => {}
            }
            // Relocations name sections by their place among all of them.
            sections += u32::from(payload.as_section().is_some());
        }
        if linked.symbols.is_empty() || linked.code_relocations.is_empty() {
            bail!("the linker wrote no relocations; was it called with --emit-relocs?");
        }
        Ok(linked)
    }

    fn read_symbols(&mut self, linking: &LinkingSectionReader) -> Result<()> {
        for subsection in linking.subsections() {
            let Linking::SymbolTable(table) = subsection? else { continue };
            for symbol in table {
                self.symbols.push(match symbol? {
                    SymbolInfo::Func { index, .. } => Symbol::Function(index),
                    SymbolInfo::Data { symbol: Some(symbol), .. } => {
                        let start = symbol.offset as usize;
                        let range = start..start + symbol.size as usize;
                        Symbol::Data { segment: symbol.index as usize, range }
                    }
                    _ => Symbol::Other,
                });
            }
        }
        Ok(())
    }

    fn reach(&self, is_cut: impl Fn(u32) -> bool) -> Result<Reached> {
        let mut reached = Reached::default();
        // What describes an import refers to the closures that the import takes: it counts where the import does.
        let mut describes: BTreeMap<&str, u32> = BTreeMap::new();
        let mut open = Vec::new();
        for (name, index) in &self.exported {
            match name.strip_prefix(DESCRIBE) {
                Some(import) if self.imported.iter().any(|name| name == import) => {
                    describes.insert(import, *index);
                }
                _ => open.push(Node::Function(*index)),
            }
        }
        open.extend(self.addresses.iter().flat_map(|&address| self.symbols_at_address(address)));
        // An address in data that no symbol describes might be used by anyone.
        for relocation in &self.data_relocations {
            if self.symbols_around(relocation).next().is_none() {
                open.extend(self.target(relocation)?);
            }
        }
        while let Some(node) = open.pop() {
            match node {
                Node::Function(index) => {
                    if !reached.functions.insert(index) || is_cut(index) {
                        continue;
                    }
                    let Some(body) = self.body(index) else {
                        let import = self.imported.get(index as usize);
                        let describe = import.and_then(|name| describes.get(name.as_str()));
                        open.extend(describe.copied().map(Node::Function));
                        continue;
                    };
                    open.extend(body.calls.iter().map(|call| Node::Function(call.callee)));
                    // A cut function looks at nothing that it is given: the message, the place in the source.
                    let unread: BTreeSet<usize> = (body.calls.iter())
                        .filter(|call| is_cut(call.callee))
                        .flat_map(|call| call.constants.iter().copied())
                        .collect();
                    for relocation in within(&self.code_relocations, &body.range) {
                        if !unread.contains(&(relocation.offset as usize)) {
                            open.extend(self.target(relocation)?);
                        }
                    }
                }
                Node::Symbol(number) => {
                    if !reached.symbols.insert(number) {
                        continue;
                    }
                    let Some(Symbol::Data { segment, range }) = self.symbols.get(number) else {
                        continue;
                    };
                    let Some(segment) = self.segments.get(*segment) else { continue };
                    let start = segment.range.start;
                    let range = start + range.start..start + range.end;
                    for relocation in within(&self.data_relocations, &range) {
                        open.extend(self.target(relocation)?);
                    }
                }
            }
        }
        Ok(reached)
    }

    /// The functions that wasm-bindgen runs, and those that they call.
    fn describing(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let exported = self.exported.iter().filter(|(name, _)| name.starts_with(DESCRIBE));
        let mut open: Vec<u32> = exported.map(|(_, index)| *index).collect();
        while let Some(index) = open.pop() {
            if found.insert(index) {
                let calls = self.body(index).map_or(&[][..], |body| &body.calls);
                open.extend(calls.iter().map(|call| call.callee));
            }
        }
        found
    }

    /// A function's body; none of an imported one.
    fn body(&self, index: u32) -> Option<&Body> {
        self.bodies.get((index as usize).checked_sub(self.imported.len())?)
    }

    /// What a relocation's place in code or data refers to.
    fn target(&self, relocation: &RelocationEntry) -> Result<Option<Node>> {
        use RelocationType as R;
        match relocation.ty {
            R::TypeIndexLeb => return Ok(None),
            R::FunctionIndexLeb
            | R::FunctionIndexI32
            | R::TableIndexSleb
            | R::TableIndexI32
            | R::MemoryAddrLeb
            | R::MemoryAddrSleb
            | R::MemoryAddrI32
            | R::GlobalIndexLeb
            | R::TableNumberLeb
            | R::EventIndexLeb => {}
            other => bail!("the linker wrote a relocation of a kind not known here: {other:?}"),
        }
        let number = relocation.index as usize;
        Ok(match self.symbols.get(number).context("a relocation names no symbol")? {
            Symbol::Function(index) => Some(Node::Function(*index)),
            Symbol::Data { .. } => Some(Node::Symbol(number)),
            Symbol::Other => None,
        })
    }

    /// The data symbols that hold the place of a relocation in the data section.
    fn symbols_around(&self, relocation: &RelocationEntry) -> impl Iterator<Item = usize> {
        let offset = relocation.offset as usize;
        self.data_symbols().filter_map(move |(number, segment, range)| {
            let start = self.segments.get(segment)?.range.start;
            (start + range.start..start + range.end).contains(&offset).then_some(number)
        })
    }

    fn symbols_at_address(&self, address: usize) -> impl Iterator<Item = Node> {
        self.data_symbols().filter_map(move |(number, segment, range)| {
            let start = self.segments.get(segment)?.address;
            let holds = (start + range.start..start + range.end).contains(&address);
            holds.then_some(Node::Symbol(number))
        })
    }

    fn data_symbols(&self) -> impl Iterator<Item = (usize, usize, &Range<usize>)> {
        self.symbols.iter().enumerate().filter_map(|(number, symbol)| match symbol {
            Symbol::Data { segment, range } => Some((number, *segment, range)),
            _ => None,
        })
    }

    /// The bytes that belong to some symbol, and to none that is alive.
    fn dead_data(&self, alive: &BTreeSet<usize>) -> Vec<(u32, Range<usize>)> {
        let mut dead = Vec::new();
        for (number, segment) in self.segments.iter().enumerate() {
            let mut bytes = vec![false; segment.range.len()];
            // The living overwrite the dead, since symbols may share bytes.
            for is_alive in [false, true] {
                for (symbol, of, range) in self.data_symbols() {
                    if of == number && alive.contains(&symbol) == is_alive {
                        bytes.iter_mut().take(range.end).skip(range.start).for_each(|byte| *byte = !is_alive);
                    }
                }
            }
            let mut start = 0;
            for run in bytes.chunk_by(|one, next| one == next) {
                if run.first() == Some(&true) {
                    dead.push((number as u32, start..start + run.len()));
                }
                start += run.len();
            }
        }
        dead
    }
}

/// The relocations, which are in the order of their places, that lie within a range.
fn within<'a>(relocations: &'a [RelocationEntry], range: &Range<usize>) -> impl Iterator<Item = &'a RelocationEntry> {
    let (start, end) = (range.start, range.end);
    let first = relocations.partition_point(|relocation| (relocation.offset as usize) < start);
    relocations.iter().skip(first).take_while(move |entry| (entry.offset as usize) < end)
}

/// The functions that a body names by their number, be it in a call or as a reference.
fn calls(body: &wasmparser::FunctionBody, code_start: usize, params: &[usize]) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    // What was pushed since the last operator that did anything else: where, if it is a constant.
    let mut pushed: Vec<Option<usize>> = Vec::new();
    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
        let (operator, offset) = operator?;
        match operator {
            Operator::I32Const { .. } => {
                pushed.push(Some(offset + 1 - code_start));
                continue;
            }
            Operator::I64Const { .. } | Operator::F64Const { .. } | Operator::LocalGet { .. } => {
                pushed.push(None);
                continue;
            }
            Operator::Call { function_index: callee } => {
                let params = *params.get(callee as usize).context("a call names no function")?;
                let own = pushed.iter().rev().take(params).flatten().copied().collect();
                calls.push(Call { callee, constants: own });
            }
            Operator::ReturnCall { function_index: callee } | Operator::RefFunc { function_index: callee } => {
                calls.push(Call { callee, constants: Vec::new() });
            }
            _ => {}
        }
        pushed.clear();
    }
    Ok(calls)
}

fn params_of(types: &[usize], ty: u32) -> Result<usize> {
    types.get(ty as usize).copied().context("a function is of no known type")
}

/// The number that an initialiser gives, where it is a plain one.
fn constant(expression: &ConstExpr) -> Result<Option<usize>> {
    Ok(match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => Some(value as u32 as usize),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two data symbols in one segment, the second of which only a dead function reads.
    fn linked() -> Linked {
        let relocation = |ty, offset, index| RelocationEntry { ty, offset, index, addend: 0 };
        let call = |callee, constants| Call { callee, constants };
        Linked {
            imported: vec!["imported".into()],
            params: vec![0, 1, 1, 0],
            exported: vec![("start".into(), 1), (format!("{DESCRIBE}imported"), 3)],
            bodies: vec![
                Body { range: 1..10, calls: vec![call(2, vec![5])] },
                Body { range: 10..20, calls: vec![] },
                Body { range: 20..30, calls: vec![] },
            ],
            segments: vec![Segment { range: 4..20, address: 1024 }],
            symbols: vec![Symbol::Data { segment: 0, range: 0..6 }, Symbol::Data { segment: 0, range: 4..12 }],
            code_relocations: vec![
                relocation(RelocationType::MemoryAddrSleb, 5, 0),
                relocation(RelocationType::MemoryAddrSleb, 12, 1),
            ],
            ..Linked::default()
        }
    }

    #[test]
    fn what_a_call_reaches_is_alive_and_bytes_that_no_symbol_describes_are_kept() {
        let linked = linked();
        let reached = linked.reach(|_| false).expect("it can be followed");
        assert_eq!(reached.functions, BTreeSet::from([1, 2]));
        assert_eq!(linked.dead_data(&reached.symbols), []);
    }

    #[test]
    fn a_cut_function_reads_neither_data_nor_its_arguments() {
        let linked = linked();
        let reached = linked.reach(|index| index == 2).expect("it can be followed");
        assert_eq!(reached.functions, BTreeSet::from([1, 2]));
        assert_eq!(linked.dead_data(&reached.symbols), [(0, 0..12)]);
    }

    #[test]
    fn bytes_that_the_living_share_with_the_dead_are_kept() {
        let mut linked = linked();
        linked.bodies[0].calls.clear();
        let reached = linked.reach(|_| false).expect("it can be followed");
        assert_eq!(linked.dead_data(&reached.symbols), [(0, 6..12)]);
    }

    #[test]
    fn a_description_counts_only_where_its_import_does() {
        let mut linked = linked();
        assert_eq!(linked.describing(), BTreeSet::from([3]));
        linked.bodies[1].calls.push(Call { callee: 0, constants: Vec::new() });
        let reached = linked.reach(|_| false).expect("it can be followed");
        assert_eq!(reached.functions, BTreeSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn an_exported_address_keeps_its_data() {
        let mut linked = linked();
        linked.addresses.push(1024 + 8);
        let reached = linked.reach(|index| index == 2).expect("it can be followed");
        assert_eq!(linked.dead_data(&reached.symbols), [(0, 0..4)]);
    }

    #[test]
    fn a_module_without_relocations_is_refused() {
        let message = Linked::read(b"\0asm\x01\0\0\0").expect_err("it has none").to_string();
        assert!(message.contains("--emit-relocs"));
    }
}
