//! What a call fails with: a record of the host, told apart by name, with a message that says what to do.
//!
//! In JavaScript it becomes an `Error`; in Rust [`Failure`] reads it. It is a record from the start,
//! so that what belongs to it, such as the job or the API's answer, is handed on and never copied.

use std::fmt;

use crate::value::Value;

/// A text in which `%0` and `%1` stand for others. The formatting machinery would cost every visitor 2 KB.
pub(crate) fn say<V: Value>(template: &'static str, first: V, second: V) -> V {
    V::filled(template, first, second)
}

/// What went wrong with a call, with all that is known about it.
#[derive(Clone, Copy, PartialEq)]
pub struct Failure<V>(pub(crate) V);

impl<V: Value> Failure<V> {
    pub(crate) fn new(name: &'static str, message: V) -> Self {
        Self(V::record().with_text("name", name).with("message", message))
    }

    pub(crate) fn told(name: &'static str, message: &'static str) -> Self {
        Self::new(name, V::text(message))
    }

    #[must_use]
    pub(crate) fn with(self, key: &'static str, value: V) -> Self {
        Self(self.0.with(key, value))
    }

    /// What belongs to it: `job`, `body`, `text`, `cause`, `field`, `status`, `operation`, `jobId` and others.
    pub fn get(&self, key: &'static str) -> V {
        self.0.get(key)
    }

    /// As one's own.
    pub fn own(self) -> Failure<V::Owned> {
        Failure(self.0.own())
    }

    /// Whether it has that name.
    pub(crate) fn is(&self, name: &'static str) -> bool {
        self.get("name").one_of(name) == 0
    }
}

impl<V> fmt::Debug for Failure<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Failure")
    }
}

/// An argument cannot be used; nothing was sent. `advice` follows the name of the field.
pub(crate) fn invalid<V: Value>(field: V, advice: V) -> Failure<V> {
    Failure::new("InvalidRequestError", say("%0 %1", field, advice)).with("field", field)
}

/// [`invalid`] where both are known beforehand.
pub(crate) fn refuse<V: Value>(field: &'static str, advice: &'static str) -> Failure<V> {
    invalid(V::text(field), V::text(advice))
}
