//! The tags in the sources that say how well each behaviour of the provider is known.
//!
//! A tag is a comment that begins with `documented`, `observed` or `assumed` and a colon. It may span several lines, and
//! another tag may follow in the same comment. `ASSUMPTIONS.md` is generated from the tags; a test checks that it is
//! current.

use std::fmt::Write as _;

/// How well a behaviour is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// Neither documented nor observed.
    Assumed,
    /// Seen in a live answer, or implemented alike by several clients.
    Observed,
    /// Stated in the provider's documentation.
    Documented,
}

impl Grade {
    /// All grades in the order of the list: the least certain first.
    pub const ALL: [Self; 3] = [Self::Assumed, Self::Observed, Self::Documented];

    fn word(self) -> &'static str {
        match self {
            Self::Assumed => "assumed",
            Self::Observed => "observed",
            Self::Documented => "documented",
        }
    }

    /// What the grade means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Assumed => "Neither documented nor observed. The sandbox implements the most likely behaviour.",
            Self::Observed => {
                "Seen in live answers that others published, mostly of sibling endpoints, or implemented alike by several clients."
            }
            Self::Documented => "Stated in the provider's documentation.",
        }
    }
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// How certain the behaviour is.
    pub grade: Grade,
    /// The behaviour, in one sentence.
    pub text: String,
    /// The source file.
    pub file: &'static str,
    /// The function or constant that the tag belongs to.
    pub item: String,
}

macro_rules! sources {
    ($($file:literal),* $(,)?) => { &[$(($file, include_str!($file))),*] };
}

/// The sources that have tags. A test checks that no other source has one.
const SOURCES: &[(&str, &str)] = sources![
    "engine.rs",
    "engine/charging.rs",
    "engine/schedule.rs",
    "exchange.rs",
    "fault_effects.rs",
    "job.rs",
    "ledger.rs",
    "message.rs",
    "openapi.rs",
    "pages.rs",
    "prices.rs",
    "route.rs",
    "server.rs",
    "storyboard.rs",
    "templates.rs",
    "validate.rs",
    "webhooks.rs",
];

/// Every tag, in the order of files and lines.
pub fn tags() -> Vec<Tag> {
    SOURCES.iter().flat_map(|(file, source)| tags_of(file, source)).collect()
}

fn tags_of(file: &'static str, source: &str) -> Vec<Tag> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        if comment(line).is_none_or(|text| first_grade(text).is_none_or(|(at, _)| at != 0)) {
            index += 1;
            continue;
        }
        let block: Vec<&str> = lines.iter().skip(index).map_while(|line| comment(line)).collect();
        let end = index + block.len();
        let item = item_of(&lines, end);
        let text = block.join(" ");
        let mut rest = text.as_str();
        while let Some((at, grade)) = first_grade(rest) {
            let from = at + grade.word().len() + 1;
            rest = rest.get(from..).unwrap_or_default();
            let words = rest.get(..first_grade(rest).map_or(rest.len(), |(next, _)| next)).unwrap_or_default();
            found.push(Tag { grade, text: sentence(words), file, item: item.clone() });
        }
        index = end;
    }
    found
}

/// The text of a plain comment; `None` for a doc comment.
fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("//").filter(|rest| !rest.starts_with(['/', '!'])).map(str::trim)
}

/// The position and the grade of the first tag in a text.
fn first_grade(text: &str) -> Option<(usize, Grade)> {
    let found = Grade::ALL.into_iter().filter_map(|grade| {
        let at = text.find(&format!("{}:", grade.word()))?;
        Some((at, grade))
    });
    found.min_by_key(|(at, _)| *at)
}

fn sentence(words: &str) -> String {
    let words = words.trim().trim_end_matches(['.', ';']);
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The item that follows the tag, or else the function that contains it.
fn item_of(lines: &[&str], after: usize) -> String {
    let next = lines.iter().skip(after).find(|line| !line.is_empty() && !line.starts_with("//") && !line.starts_with('#'));
    let before = || lines.iter().take(after).rev().find_map(|line| declared(line).filter(|_| line.contains("fn ")));
    next.and_then(|line| declared(line)).or_else(before).unwrap_or_default().to_owned()
}

/// The name that a line declares.
fn declared(line: &str) -> Option<&str> {
    let line = ["pub(crate) ", "pub(super) ", "pub "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let rest = ["fn ", "const ", "enum ", "struct "].iter().find_map(|word| line.strip_prefix(word))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

/// `ASSUMPTIONS.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Known and assumed behaviour of the provider\n\n\
         Generated from the tags in `sandbox/src` by `BLESS=1 cargo test -p sandbox --lib assumptions`. A running sandbox \
         serves the same list at `/__sandbox/assumptions`.\n",
    );
    let tags = tags();
    for grade in Grade::ALL {
        let _ = write!(page, "\n## {}\n\n{}\n\n", sentence(grade.word()), grade.meaning());
        for tag in tags.iter().filter(|tag| tag.grade == grade) {
            let _ = writeln!(page, "- {}. ([`{}`](src/{}), `{}`)", tag.text, tag.file, tag.file, tag.item);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_tag_has_all_its_lines_and_the_item_it_belongs_to() {
        let source = "/// Doc.\n// assumed: one thing,\n// in two lines. documented: another.\n#[must_use]\npub fn first() {\n    \
                      // observed: a third.\n    let x = 1;\n}\n// plain\nconst NEXT: u8 = 1; // assumed: no\n";
        let tags = tags_of("a.rs", source);
        let seen: Vec<_> = tags.iter().map(|tag| (tag.grade, tag.text.as_str(), tag.item.as_str())).collect();
        assert_eq!(
            seen,
            [
                (Grade::Assumed, "One thing, in two lines", "first"),
                (Grade::Documented, "Another", "first"),
                (Grade::Observed, "A third", "first"),
            ]
        );
    }

    /// The Rust files below a directory, relative to it.
    fn sources_below(directory: &Path, prefix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
        entries
            .flat_map(|entry| {
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                if entry.path().is_dir() { sources_below(&entry.path(), &format!("{name}/")) } else { vec![name] }
            })
            .collect()
    }

    #[test]
    fn every_source_with_a_tag_is_listed() {
        let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        for name in sources_below(directory, "") {
            if name == "assumptions.rs" || SOURCES.iter().any(|(file, _)| *file == name) {
                continue;
            }
            let source = std::fs::read_to_string(directory.join(&name)).unwrap();
            assert!(tags_of("", &source).is_empty(), "{name} has tags: add it to SOURCES");
        }
        for (file, _) in SOURCES {
            assert!(tags().iter().any(|tag| tag.file == *file), "{file} has no tag");
        }
    }

    /// `BLESS=1` rewrites the file.
    #[test]
    fn the_list_of_assumptions_is_current() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/ASSUMPTIONS.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(file, markdown()).unwrap();
        }
        assert!(std::fs::read_to_string(file).unwrap_or_default() == markdown(), "run this test with BLESS=1");
        assert!(tags().iter().all(|tag| !tag.item.is_empty() && tag.text.len() > 8));
    }
}
