//! Values of a host that is written in Rust: a table of them, and places in it.
//!
//! A place that is used after its step is over is a mistake of the core's, which in JavaScript would read another value.
//! Here it panics, so that every native test and the simulation look for it.

use std::fmt;
use std::marker::PhantomData;

use super::{Kind, Value};

/// A value that is all there, such as a tree of JSON.
pub trait Whole: Clone + PartialEq + 'static {
    /// Uses the table of this thread, if there still is one.
    fn table<R>(act: impl FnOnce(&mut Table<Self>) -> R) -> Option<R>;

    /// Nothing.
    fn nothing() -> Self;
    /// A string.
    fn text(text: &str) -> Self;
    /// A number.
    fn number(number: f64) -> Self;
    /// `true` or `false`.
    fn truth(yes: bool) -> Self;
    /// An object of our own, without fields.
    fn record() -> Self;
    /// This record of our own with a field more; without one where the value is nothing.
    #[must_use]
    fn with(self, key: &str, value: &Self) -> Self;
    /// A list of our own, without elements.
    fn list() -> Self;
    /// This list of our own with an element more.
    #[must_use]
    fn and(self, element: &Self) -> Self;
    /// What this is.
    fn kind(&self) -> Kind;
    /// The field of an object, or nothing: what cannot be read is not there.
    #[must_use]
    fn get(&self, key: &str) -> Self;
    /// The field, or element of a list, that a text names.
    #[must_use]
    fn at(&self, key: &Self) -> Self;
    /// The names of an object's fields, or the indexes of a list, in an order that does not depend on how it was made.
    #[must_use]
    fn keys(&self) -> Self;
    /// The element of a list, or nothing.
    #[must_use]
    fn nth(&self, index: usize) -> Self;
    /// This number, or the number that this text spells in digits; NaN for anything else.
    fn as_number(&self) -> f64;
    /// Whether this is `true`.
    fn is_true(&self) -> bool;
    /// Which of these words, parted by spaces, this text is, from 0; -1 where it is none of them.
    fn one_of(&self, words: &str) -> i32;
    /// Whether this is a text that a regular expression finds something in, whatever the case of its letters.
    fn matches(&self, pattern: &str) -> bool;
    /// A text in which another one stands wherever the regular expression finds something.
    #[must_use]
    fn replaced(&self, pattern: &str, by: &Self) -> Self;
    /// A text in which `%0` and `%1` stand for these.
    fn filled(template: &str, first: &Self, second: &Self) -> Self;
    /// Whether another text stands somewhere in this one, whatever the case of their letters.
    fn holds(&self, other: &Self) -> bool;
    /// A whole number that depends on what stands here, and on the seed.
    fn hash(&self, seed: f64) -> f64;
    /// The name of the class of what JSON has no word for: `File`, `BigInt`, `Date`, `Function`.
    #[must_use]
    fn class(&self) -> Self;
    /// A shallow copy.
    #[must_use]
    fn copied(&self) -> Self;

    /// Whether anything is there.
    fn is_there(&self) -> bool {
        self.kind() != Kind::Nothing
    }

    /// This record of our own with a text more.
    #[must_use]
    fn with_text(self, key: &str, text: &str) -> Self {
        self.with(key, &Self::text(text))
    }

    /// This record of our own with a number more.
    #[must_use]
    fn with_number(self, key: &str, number: f64) -> Self {
        self.with(key, &Self::number(number))
    }

    /// The field `key` where it is a finite number or a text that spells one, and NaN elsewhere.
    fn number_of(&self, key: &str) -> f64 {
        self.get(key).as_number()
    }
}

/// The values of one thread.
#[derive(Debug)]
pub struct Table<T> {
    /// The number of the step.
    step: u32,
    passing: Vec<T>,
    /// With the number of times that a place was used.
    kept: Vec<(u32, Option<T>)>,
    free: Vec<usize>,
}

impl<T> Table<T> {
    /// Without values.
    pub const fn new() -> Self {
        Self { step: 0, passing: Vec::new(), kept: Vec::new(), free: Vec::new() }
    }

    /// How many values are kept.
    pub fn kept(&self) -> usize {
        self.kept.len() - self.free.len()
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Where nothing is: it needs no place.
const NOTHING: usize = usize::MAX;

/// A place in the table.
pub struct Place<T> {
    at: usize,
    /// The step that it came with; of a kept one, how often its place had been used.
    since: u32,
    kept: bool,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<T> {}

impl<T: Whole> PartialEq for Place<T> {
    fn eq(&self, other: &Self) -> bool {
        self.own() == other.own()
    }
}

impl<T: Whole + fmt::Debug> fmt::Debug for Place<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.own().fmt(formatter)
    }
}

impl<T: Whole> From<T> for Place<T> {
    fn from(value: T) -> Self {
        let (at, since) = T::table(|table| {
            table.passing.push(value);
            (table.passing.len() - 1, table.step)
        })
        .unwrap_or_default();
        Self { at, since, kept: false, of: PhantomData }
    }
}

impl<T: Whole> Value for Place<T> {
    type Owned = T;

    #[expect(clippy::panic, reason = "a mistake of the core's must not go unnoticed")]
    fn own(self) -> T {
        if self.at == NOTHING {
            return T::nothing();
        }
        let found = T::table(|table| match table.kept.get(self.at) {
            Some((since, value)) if self.kept && *since == self.since => value.clone(),
            _ if !self.kept && table.step == self.since => table.passing.get(self.at).cloned(),
            _ => None,
        });
        found.flatten().unwrap_or_else(|| panic!("a value was used after its step was over, or after it was released"))
    }

    fn lend(owned: &T) -> Self {
        owned.clone().into()
    }

    fn keep(self) -> Self {
        if self.at == NOTHING {
            return self;
        }
        let value = Some(self.own());
        let place = T::table(|table| {
            if let Some(at) = table.free.pop()
                && let Some((since, free)) = table.kept.get_mut(at)
            {
                *since += 1;
                *free = value;
                return (at, *since);
            }
            table.kept.push((0, value));
            (table.kept.len() - 1, 0)
        });
        let (at, since) = place.unwrap_or_default();
        Self { at, since, kept: true, of: PhantomData }
    }

    fn release(self) {
        T::table(|table| {
            if let Some((since, value)) = table.kept.get_mut(self.at)
                && self.kept
                && *since == self.since
                && value.take().is_some()
            {
                table.free.push(self.at);
            }
        });
    }

    fn clear() {
        T::table(|table| {
            table.step = table.step.wrapping_add(1);
            table.passing.clear();
        });
    }

    fn nothing() -> Self {
        Self { at: NOTHING, since: 0, kept: true, of: PhantomData }
    }

    fn text(text: &'static str) -> Self {
        T::text(text).into()
    }

    fn text_of(text: &str) -> Self {
        T::text(text).into()
    }

    fn number(number: f64) -> Self {
        T::number(number).into()
    }

    fn truth(yes: bool) -> Self {
        T::truth(yes).into()
    }

    fn record() -> Self {
        T::record().into()
    }

    fn with(self, key: &'static str, value: Self) -> Self {
        T::with(self.own(), key, &value.own()).into()
    }

    fn list() -> Self {
        T::list().into()
    }

    fn and(self, element: Self) -> Self {
        T::and(self.own(), &element.own()).into()
    }

    fn kind(self) -> Kind {
        T::kind(&self.own())
    }

    fn get(self, key: &'static str) -> Self {
        T::get(&self.own(), key).into()
    }

    fn at(self, key: Self) -> Self {
        T::at(&self.own(), &key.own()).into()
    }

    fn keys(self) -> Self {
        T::keys(&self.own()).into()
    }

    fn nth(self, index: usize) -> Self {
        T::nth(&self.own(), index).into()
    }

    fn as_number(self) -> f64 {
        T::as_number(&self.own())
    }

    fn is_true(self) -> bool {
        T::is_true(&self.own())
    }

    fn one_of(self, words: &'static str) -> i32 {
        T::one_of(&self.own(), words)
    }

    fn matches(self, pattern: &'static str) -> bool {
        T::matches(&self.own(), pattern)
    }

    fn replaced(self, pattern: &'static str, by: Self) -> Self {
        T::replaced(&self.own(), pattern, &by.own()).into()
    }

    fn filled(template: &'static str, first: Self, second: Self) -> Self {
        T::filled(template, &first.own(), &second.own()).into()
    }

    fn holds(self, other: Self) -> bool {
        T::holds(&self.own(), &other.own())
    }

    fn hash(self, seed: f64) -> f64 {
        T::hash(&self.own(), seed)
    }

    fn class(self) -> Self {
        T::class(&self.own()).into()
    }

    fn copied(self) -> Self {
        T::copied(&self.own()).into()
    }
}
