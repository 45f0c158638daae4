//! What the core may ask of a JSON value, whichever world it lives in, and the fingerprint of one.
//!
//! In a browser a value is the object that `JSON.parse` made and stays one; in native tests and the
//! simulation it is a `serde_json::Value`. The core reads a handful of fields and never copies the rest.

use crate::error::{Error, join, push_digit};

/// What a value is. What takes memory is asked for on its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; not necessarily finite.
    Number(f64),
    /// A string.
    Text,
    /// An array.
    List,
    /// A plain object.
    Object,
    /// Anything that JSON has no word for.
    Other,
}

/// A JSON value of the host.
pub trait Value: Clone + 'static {
    /// What this is.
    fn kind(&self) -> Kind;
    /// The text of a string.
    fn as_text(&self) -> Option<String>;
    /// The class of what JSON has no word for: `File`, `BigInt`, `Date`, `Function`.
    fn class(&self) -> String {
        "unknown".into()
    }
    /// The field `key` of an object or the element `key` of a list; `None` where it is absent or `undefined`.
    fn get(&self, key: &str) -> Option<Self>;
    /// The names of the fields of an object, or the indexes of a list.
    fn keys(&self) -> Vec<String>;
    /// A shallow copy of an object in which `key` is `text`.
    #[must_use]
    fn with_text(&self, key: &str, text: &str) -> Self;

    /// The field `key` where it is a string.
    fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_text()
    }

    /// The field `key` where it is a finite number, or a string that is one.
    fn number(&self, key: &str) -> Option<f64> {
        let field = self.get(key)?;
        match field.kind() {
            Kind::Number(number) => Some(number).filter(|number| number.is_finite()),
            _ => decimal(&field.as_text()?),
        }
    }
}

/// Reads `12`, `0.5` or `12.25`; nothing else. The standard parser brings 4 KB of tables with it.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let mut value = 0.0;
    let mut scale = 0.0;
    let mut digits = 0;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                if scale > 0.0 {
                    value += f64::from(byte - b'0') * scale;
                    scale /= 10.0;
                } else {
                    value = value * 10.0 + f64::from(byte - b'0');
                }
            }
            b'.' if scale == 0.0 => scale = 0.1,
            _ => return None,
        }
    }
    (digits > 0 && digits < 16).then_some(value)
}

/// Tells two requests apart without keeping either: 64 bits of FNV-1a over the value, whatever the
/// order of its fields. It is compared with what the same person sent under the same operation id,
/// so it guards against mistakes, not against an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of nothing.
    pub const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// This, followed by `bytes`.
    #[must_use]
    pub fn and(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    /// Sixteen hexadecimal digits.
    pub fn hex(self) -> String {
        let mut text = String::new();
        for shift in (0..16).rev() {
            let digit = (self.0 >> (shift * 4)) as u8 & 15;
            push_digit(&mut text, digit);
        }
        text
    }
}

/// How deep a value may nest. A cycle is endless, so it is met here.
const DEPTH: usize = 64;

/// Proves that a value survives JSON unchanged, and takes its fingerprint.
///
/// # Errors
/// `InvalidRequestError` with the path of the first part that JSON would drop, change or refuse.
pub fn inspect<V: Value>(value: &V, path: &str, print: Fingerprint) -> Result<Fingerprint, Error> {
    inspect_at(value, path, print, 0)
}

fn inspect_at<V: Value>(value: &V, path: &str, print: Fingerprint, depth: usize) -> Result<Fingerprint, Error> {
    if depth > DEPTH {
        return Err(Error::invalid(path, &["contains itself or nests more than 64 levels deep; pass plain data"]));
    }
    Ok(match value.kind() {
        Kind::Null => print.and(b"n"),
        Kind::Bool(yes) => print.and(if yes { b"t" } else { b"f" }),
        Kind::Number(number) if number.is_finite() => print.and(b"#").and(&number.to_bits().to_le_bytes()),
        Kind::Number(_) => return Err(Error::invalid(path, &["is not a finite number"])),
        Kind::Text => print.and(b"\"").and(value.as_text().unwrap_or_default().as_bytes()).and(b"\""),
        Kind::Other => {
            let class = value.class();
            let advice = if class == "File" || class == "Blob" {
                "; upload it and pass its public https URL"
            } else {
                ", which JSON cannot carry; pass plain data"
            };
            return Err(Error::invalid(path, &["is of type ", &class, advice]));
        }
        kind @ (Kind::List | Kind::Object) => {
            // Fields are summed, so that their order does not matter; elements are chained, so that it does.
            let mut fields = 0_u64;
            let mut print = print.and(b"[");
            for key in &value.keys() {
                let path = join(&[path, ".", key]);
                let Some(field) = value.get(key) else {
                    return Err(Error::invalid(&path, &["is undefined; leave it out or give it a value"]));
                };
                if kind == Kind::List {
                    print = inspect_at(&field, &path, print, depth + 1)?.and(b",");
                } else {
                    let named = Fingerprint::EMPTY.and(key.as_bytes()).and(b":");
                    fields = fields.wrapping_add(inspect_at(&field, &path, named, depth + 1)?.0);
                }
            }
            print.and(&fields.to_le_bytes()).and(b"]")
        }
    })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::testing::json;

    fn print_of(text: &str) -> Fingerprint {
        inspect(&json(text), "variables", Fingerprint::EMPTY).expect("plain JSON")
    }

    #[test]
    fn a_fingerprint_ignores_the_order_of_fields_and_nothing_else() {
        let one = print_of(r#"{"a":1,"b":{"c":"x","d":null}}"#);
        assert_eq!(one, print_of(r#"{"b":{"d":null,"c":"x"},"a":1}"#));
        for other in [
            r#"{"a":2,"b":{"c":"x","d":null}}"#,
            r#"{"a":1,"b":{"c":"x"}}"#,
            r#"{"a":1,"b":{"c":"x","d":false}}"#,
            r#"{"a":1,"c":"x","b":{"d":null}}"#,
            r#"{"a":"1","b":{"c":"x","d":null}}"#,
        ] {
            assert_ne!(one, print_of(other), "{other}");
        }
        assert_ne!(print_of("[1,2]"), print_of("[2,1]"));
    }

    #[test]
    fn endless_nesting_is_refused_with_its_path() {
        let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        let error = inspect(&json(&deep), "variables", Fingerprint::EMPTY).expect_err("too deep");
        assert!(error.field().is_some_and(|field| field.starts_with("variables.0.0")));
    }

    #[test]
    fn a_decimal_is_read_and_anything_else_is_not() {
        assert_eq!(decimal("12.25"), Some(12.25));
        assert_eq!(decimal("0"), Some(0.0));
        for text in ["", "-1", "1e3", "1.2.3", "NaN", " 1", "99999999999999999999"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }
}
