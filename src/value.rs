//! What the core may ask of a value of the host, and the fingerprint of one.
//!
//! In a browser a value is the object that `JSON.parse` made and stays one; in native tests and the
//! simulation it is JSON of theirs. Texts are values too: ids, URLs and messages are handed about and
//! never copied into this memory.
//!
//! The core knows a value by its place in a table of the host's. So it is a number, which is copied and
//! need not be given up, and half of the code that owned values took is not there. A step of the core
//! ends with [`Value::clear`], which empties the table; what is needed for longer is [`Kept`].

#[cfg(not(target_arch = "wasm32"))]
pub mod place;

use std::fmt;
use std::ops::Deref;

use crate::error::{Failure, invalid, say};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is there: JavaScript's `undefined`.
    Nothing,
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A finite number.
    Number,
    /// A string.
    Text,
    /// An array.
    List,
    /// A plain object.
    Object,
    /// Anything that JSON has no word for.
    Other,
}

/// A value of the host: JSON, `undefined`, or whatever a caller passed.
pub trait Value: Copy + PartialEq + 'static {
    /// The same value where it belongs to whoever has it.
    type Owned: Clone + 'static;

    /// As one's own.
    fn own(self) -> Self::Owned;
    /// For the core, until the step is over.
    fn lend(owned: &Self::Owned) -> Self;
    /// Nothing.
    fn nothing() -> Self;
    /// The same value, for longer than the step that it came with: until it is released.
    #[must_use]
    fn keep(self) -> Self;
    /// Gives up a value that was kept.
    fn release(self);
    /// The step is over: gives up every value that is not kept.
    fn clear();
    /// A string.
    fn text(text: &'static str) -> Self;
    /// A string that is not known beforehand.
    fn text_of(text: &str) -> Self;
    /// A number.
    fn number(number: f64) -> Self;
    /// `true` or `false`.
    fn truth(yes: bool) -> Self;
    /// An object of our own, without fields.
    fn record() -> Self;
    /// This record of our own with a field more; without one where the value is nothing.
    #[must_use]
    fn with(self, key: &'static str, value: Self) -> Self;
    /// A list of our own, without elements.
    fn list() -> Self;
    /// This list of our own with an element more.
    #[must_use]
    fn and(self, element: Self) -> Self;
    /// What this is.
    fn kind(self) -> Kind;
    /// The field of an object, or nothing: what cannot be read is not there.
    #[must_use]
    fn get(self, key: &'static str) -> Self;
    /// The field, or element of a list, that a text names.
    #[must_use]
    fn at(self, key: Self) -> Self;
    /// The names of an object's fields, or the indexes of a list, in an order that does not depend on how it was made.
    #[must_use]
    fn keys(self) -> Self;
    /// The element of a list, or nothing.
    #[must_use]
    fn nth(self, index: usize) -> Self;
    /// This number, or the number that this text spells in digits; NaN for anything else.
    fn as_number(self) -> f64;
    /// Whether this is `true`.
    fn is_true(self) -> bool;
    /// Which of these words, parted by spaces, this text is, from 0; -1 where it is none of them.
    fn one_of(self, words: &'static str) -> i32;
    /// Whether this is a text that a regular expression finds something in, whatever the case of its letters.
    fn matches(self, pattern: &'static str) -> bool;
    /// A text in which another one stands wherever the regular expression finds something.
    #[must_use]
    fn replaced(self, pattern: &'static str, by: Self) -> Self;
    /// A text in which `%0` and `%1` stand for these.
    fn filled(template: &'static str, first: Self, second: Self) -> Self;
    /// Whether another text stands somewhere in this one, whatever the case of their letters.
    fn holds(self, other: Self) -> bool;
    /// A whole number that depends on what stands here, and on the seed.
    fn hash(self, seed: f64) -> f64;
    /// The name of the class of what JSON has no word for: `File`, `BigInt`, `Date`, `Function`.
    #[must_use]
    fn class(self) -> Self;
    /// A shallow copy.
    #[must_use]
    fn copied(self) -> Self;

    /// Whether anything is there.
    fn is_there(self) -> bool {
        self.kind() != Kind::Nothing
    }

    /// This, or the other where nothing is here.
    #[must_use]
    fn or(self, other: impl FnOnce() -> Self) -> Self {
        if self.is_there() { self } else { other() }
    }

    /// Whether this is the same text, whatever the case of its letters.
    fn is_like(self, other: Self) -> bool {
        self.holds(other) && other.holds(self)
    }

    /// This record of our own with a text more.
    #[must_use]
    fn with_text(self, key: &'static str, text: &'static str) -> Self {
        self.with(key, Self::text(text))
    }

    /// This record of our own with a number more.
    #[must_use]
    fn with_number(self, key: &'static str, number: f64) -> Self {
        self.with(key, Self::number(number))
    }

    /// The field `key` where it is a finite number or a text that spells one, and NaN elsewhere.
    fn number_of(self, key: &'static str) -> f64 {
        self.get(key).as_number()
    }
}

/// A value that a task or a client holds from one step to the next. Others are gone when the step is over.
pub struct Kept<V: Value>(V);

impl<V: Value> Kept<V> {
    /// Nothing.
    pub fn nothing() -> Self {
        Self(V::nothing())
    }
}

impl<V: Value> From<V> for Kept<V> {
    fn from(value: V) -> Self {
        Self(value.keep())
    }
}

impl<V: Value> Deref for Kept<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}

impl<V: Value> Clone for Kept<V> {
    fn clone(&self) -> Self {
        self.0.into()
    }
}

impl<V: Value> PartialEq<V> for Kept<V> {
    fn eq(&self, other: &V) -> bool {
        self.0 == *other
    }
}

impl<V: Value> Drop for Kept<V> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<V: Value> fmt::Debug for Kept<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Kept")
    }
}

/// How deep a value may nest. A cycle is endless, so it is met here.
const DEPTH: usize = 100;

/// Proves that a value survives JSON unchanged, and adds it to a fingerprint.
///
/// A fingerprint tells two requests apart without keeping either, whatever the order of their fields.
/// It is compared with what the same person sent under the same operation id, so it guards against
/// mistakes, not against an attacker.
///
/// # Errors
/// `InvalidRequestError` with the path of the first part that JSON would drop, change or refuse.
pub fn inspect<V: Value>(value: V, path: V, print: f64) -> Result<f64, Failure<V>> {
    inspect_at(value, path, print, 0)
}

fn inspect_at<V: Value>(value: V, path: V, print: f64, depth: usize) -> Result<f64, Failure<V>> {
    let kind = value.kind();
    let mut print = V::number(f64::from(kind as u8)).hash(print);
    let advice = match kind {
        Kind::Nothing => "is undefined; leave it out or give it a value",
        Kind::List | Kind::Object if depth < DEPTH => {
            let keys = value.keys();
            for index in 0.. {
                let key = keys.nth(index);
                if !key.is_there() {
                    break;
                }
                print = inspect_at(value.at(key), say("%0.%1", path, key), key.hash(print), depth + 1)?;
            }
            // Told apart from the same fields one level further up.
            return Ok(V::nothing().hash(print));
        }
        Kind::List | Kind::Object => "contains itself or nests more than 100 levels deep; pass plain data",
        Kind::Other => {
            let class = value.class();
            let advice = if class.one_of("File Blob") >= 0 {
                "is of type %0; upload it and pass its public https URL"
            } else {
                "is of type %0, which JSON cannot carry; pass plain data"
            };
            return Err(invalid(path, V::text(advice).replaced("%0", class)));
        }
        _ => return Ok(value.hash(print)),
    };
    Err(invalid(path, V::text(advice)))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use crate::corpus;
    use crate::testing::{Value, json, value};
    use crate::value::Value as _;

    fn parse(text: Value) -> Value {
        value(json(text.own().as_str().expect("a text")))
    }

    #[test]
    fn a_fingerprint_ignores_the_order_of_fields_and_nothing_else() {
        corpus::check_fingerprints(parse);
    }

    #[test]
    fn endless_nesting_is_refused_with_its_path() {
        corpus::check_nesting(parse);
    }

    #[test]
    fn a_decimal_is_read_and_anything_else_is_not() {
        corpus::check_decimals::<Value>();
    }
}
