//! Decides what is said about how well each behaviour is known: the tags in these sources, read out of them.
//!
//! A tag is a comment that opens with `documented`, `observed` or `assumed` and a colon; it may fill several lines, and hold
//! another tag after a full stop. `ASSUMPTIONS.md` lists them for people; a test keeps it true.

use std::fmt::Write as _;

/// How well a behaviour is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// Nobody is known to have seen it.
    Assumed,
    /// Somebody has seen a live answer, or several clients agree.
    Observed,
    /// The provider's pages say so.
    Documented,
}

impl Grade {
    /// In the order in which they are listed: what is least sure comes first.
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
            Self::Assumed => {
                "The documentation is silent, and nobody is known to have seen it. The likeliest behaviour was taken."
            }
            Self::Observed => {
                "Seen in live answers to other people, mostly of sibling calls, or agreed on by several clients."
            }
            Self::Documented => "The provider's pages say so.",
        }
    }
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// How well it is known.
    pub grade: Grade,
    /// What is.
    pub text: String,
    /// The source file.
    pub file: &'static str,
    /// The function or constant to which it belongs.
    pub item: String,
}

macro_rules! sources {
    ($($file:literal),* $(,)?) => { &[$(($file, include_str!($file))),*] };
}

/// The sources that decide what the upstream would; a test holds that no tag stands elsewhere.
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

/// The text of a plain comment, which is no documentation.
fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("//").filter(|rest| !rest.starts_with(['/', '!'])).map(str::trim)
}

/// The first tag in a text, and where it is.
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

/// What the tag stands before, or else stands in.
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
        "# What is known about the provider, and what is assumed\n\n\
         Read out of the tags in `sandbox/src`; `BLESS=1 cargo test -p sandbox --lib assumptions` writes it anew. A running sandbox \
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
    fn a_tag_is_read_with_its_lines_and_its_place() {
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

    /// With `BLESS=1` the page is rewritten.
    #[test]
    fn the_page_of_assumptions_is_true() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/ASSUMPTIONS.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(file, markdown()).unwrap();
        }
        assert!(std::fs::read_to_string(file).unwrap_or_default() == markdown(), "run this test with BLESS=1");
        assert!(tags().iter().all(|tag| !tag.item.is_empty() && tag.text.len() > 8));
    }
}
