//! JSON for the simulation: cheap to clone, cheap to look into, and the same in every run.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use custom_template_jobs::value::Kind;
use custom_template_jobs::value::place::{Place, Table, Whole};
use regex::{NoExpand, Regex, RegexBuilder};

/// A value of the simulated world.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// JavaScript's `undefined`.
    Nothing,
    /// `null`
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(Rc<str>),
    /// An array.
    List(Rc<Vec<Json>>),
    /// An object.
    Object(Rc<Vec<(Rc<str>, Json)>>),
}

thread_local! {
    static TABLE: RefCell<Table<Json>> = const { RefCell::new(Table::new()) };
    static REGEXES: RefCell<HashMap<String, Rc<Regex>>> = RefCell::default();
}

fn regex(pattern: &str) -> Rc<Regex> {
    REGEXES.with_borrow_mut(|regexes| {
        if let Some(regex) = regexes.get(pattern) {
            return Rc::clone(regex);
        }
        let built = RegexBuilder::new(pattern).case_insensitive(true).build();
        let regex = Rc::new(built.unwrap_or_else(|error| panic!("{pattern}: {error}")));
        regexes.insert(pattern.to_owned(), Rc::clone(&regex));
        regex
    })
}

/// Whether a pattern stands for itself, but for the backslashes before braces.
fn literal(pattern: &str) -> Option<&str> {
    match pattern {
        "%0" | "%1" => Some(pattern),
        r"\{operation\}" => Some("{operation}"),
        _ => None,
    }
}

/// FNV-1a.
pub fn mix(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Json {
    /// What was parsed from an answer.
    pub fn of(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(yes) => Self::Bool(*yes),
            serde_json::Value::Number(number) => Self::Number(number.as_f64().unwrap_or_default()),
            serde_json::Value::String(text) => Self::Text(text.as_str().into()),
            serde_json::Value::Array(items) => Self::List(Rc::new(items.iter().map(Self::of).collect())),
            serde_json::Value::Object(fields) => {
                Self::Object(Rc::new(fields.iter().map(|(key, value)| (key.as_str().into(), Self::of(value))).collect()))
            }
        }
    }

    /// The text, or an empty one.
    pub fn as_text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// As the wire has it. Nothing is an empty text: no body.
    pub fn written(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Nothing => {}
            Self::Null => out.push_str("null"),
            Self::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Text(text) => quote(text, out),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (at, (key, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    quote(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    fn field(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.iter().find(|(name, _)| &**name == key).map(|(_, value)| value),
            Self::List(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    fn mixed(&self, hash: u64) -> u64 {
        match self {
            Self::Nothing => mix(hash, b"u"),
            Self::Null => mix(hash, b"n"),
            Self::Bool(yes) => mix(hash, &[b'b', u8::from(*yes)]),
            Self::Number(number) => mix(mix(hash, b"#"), &number.to_bits().to_le_bytes()),
            Self::Text(text) => mix(mix(hash, b"t"), text.as_bytes()),
            Self::List(items) => items.iter().fold(mix(hash, b"["), |hash, item| item.mixed(hash)),
            Self::Object(fields) => {
                fields.iter().fold(mix(hash, b"{"), |hash, (key, value)| value.mixed(mix(hash, key.as_bytes())))
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push_str(&serde_json::Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A value as a text has it.
fn plain(value: &Json) -> Rc<str> {
    match value {
        Json::Text(text) => Rc::clone(text),
        other => other.written().into(),
    }
}

/// As the core knows it.
pub type Value = Place<Json>;

impl Whole for Json {
    fn table<R>(act: impl FnOnce(&mut Table<Self>) -> R) -> Option<R> {
        TABLE.try_with(|table| act(&mut table.borrow_mut())).ok()
    }

    fn nothing() -> Self {
        Self::Nothing
    }

    fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    fn number(number: f64) -> Self {
        Self::Number(number)
    }

    fn truth(yes: bool) -> Self {
        Self::Bool(yes)
    }

    fn record() -> Self {
        Self::Object(Rc::default())
    }

    fn with(mut self, key: &str, value: &Self) -> Self {
        if let Self::Object(fields) = &mut self
            && value.is_there()
        {
            let fields = Rc::make_mut(fields);
            match fields.iter_mut().find(|(name, _)| &**name == key) {
                Some((_, old)) => *old = value.clone(),
                None => fields.push((key.into(), value.clone())),
            }
        }
        self
    }

    fn list() -> Self {
        Self::List(Rc::default())
    }

    fn and(mut self, element: &Self) -> Self {
        if let Self::List(items) = &mut self {
            Rc::make_mut(items).push(element.clone());
        }
        self
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Nothing => Kind::Nothing,
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::List(_) => Kind::List,
            Self::Object(_) => Kind::Object,
        }
    }

    fn get(&self, key: &str) -> Self {
        self.field(key).cloned().unwrap_or(Self::Nothing)
    }

    fn at(&self, key: &Self) -> Self {
        self.get(key.as_text())
    }

    fn keys(&self) -> Self {
        match self {
            Self::List(items) => Self::List(Rc::new((0..items.len()).map(|at| Self::text(&at.to_string())).collect())),
            Self::Object(fields) => {
                let mut keys: Vec<&Rc<str>> = fields.iter().map(|(key, _)| key).collect();
                keys.sort();
                Self::List(Rc::new(keys.into_iter().map(|key| Self::Text(Rc::clone(key))).collect()))
            }
            _ => Self::list(),
        }
    }

    fn nth(&self, index: usize) -> Self {
        if let Self::List(items) = self { items.get(index).cloned().unwrap_or(Self::Nothing) } else { Self::Nothing }
    }

    fn as_number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) if regex(r"^\d{1,15}(\.\d+)?$").is_match(text) => text.parse().unwrap_or(f64::NAN),
            _ => f64::NAN,
        }
    }

    fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }

    fn one_of(&self, words: &str) -> i32 {
        let Self::Text(text) = self else { return -1 };
        words.split(' ').position(|word| word == &**text).and_then(|at| i32::try_from(at).ok()).unwrap_or(-1)
    }

    fn matches(&self, pattern: &str) -> bool {
        let Self::Text(text) = self else { return false };
        match pattern {
            "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$" => is_uuid(text),
            "." => !text.is_empty() && &**text != "\n",
            _ => match literal(pattern) {
                Some(plain) => text.contains(plain),
                None => regex(pattern).is_match(text),
            },
        }
    }

    fn filled(template: &str, first: &Self, second: &Self) -> Self {
        let mut parts = template.split('%');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (value, rest) = match part.strip_prefix('0') {
                Some(rest) => (first, rest),
                None => (second, part.get(1..).unwrap_or_default()),
            };
            text += &plain(value);
            text += rest;
        }
        Self::text(&text)
    }

    fn replaced(&self, pattern: &str, by: &Self) -> Self {
        let text = plain(self);
        match literal(pattern) {
            Some(part) if text.contains(part) => Self::Text(text.replace(part, &plain(by)).into()),
            Some(_) => Self::Text(text),
            None => Self::text(&regex(pattern).replace_all(&text, NoExpand(&plain(by)))),
        }
    }

    fn holds(&self, other: &Self) -> bool {
        let (Self::Text(text), Self::Text(part)) = (self, other) else { return false };
        match text.len().cmp(&part.len()) {
            Ordering::Less => false,
            Ordering::Equal => text.eq_ignore_ascii_case(part),
            Ordering::Greater => text.to_ascii_lowercase().contains(&part.to_ascii_lowercase()),
        }
    }

    fn hash(&self, seed: f64) -> f64 {
        (self.mixed(mix(0xcbf2_9ce4_8422_2325, &seed.to_bits().to_le_bytes())) >> 12) as f64
    }

    fn class(&self) -> Self {
        Self::text("Object")
    }

    fn copied(&self) -> Self {
        self.clone()
    }
}
