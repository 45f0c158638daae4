//! JavaScript values as the core sees them.

use wasm_bindgen::prelude::*;

use crate::value::{Kind, Value};

/// A value of JavaScript, by its place in the table of `values.js`.
#[derive(Clone, Copy, Debug)]
pub struct Js(pub i32);

#[wasm_bindgen(module = "/src/web/values.js")]
extern "C" {
    fn kind(value: i32) -> i32;
    fn text(text: i32, length: i32) -> i32;
    #[wasm_bindgen(js_name = put)]
    fn from_number(number: f64) -> i32;
    fn get(object: i32, key: i32, length: i32) -> i32;
    fn at(object: i32, key: i32) -> i32;
    fn nth(object: i32, index: i32) -> i32;
    fn set(object: i32, key: i32, length: i32, value: i32) -> i32;
    fn push(list: i32, value: i32) -> i32;
    fn keys(object: i32) -> i32;
    fn copied(object: i32) -> i32;
    #[wasm_bindgen(js_name = className)]
    fn class_name(value: i32) -> i32;
    fn number(value: i32) -> f64;
    #[wasm_bindgen(js_name = oneOf)]
    fn one_of(value: i32, words: i32, length: i32) -> i32;
    fn matches(value: i32, pattern: i32, length: i32) -> bool;
    fn holds(value: i32, part: i32) -> bool;
    fn replaced(value: i32, pattern: i32, length: i32, by: i32) -> i32;
    fn filled(template: i32, length: i32, first: i32, second: i32) -> i32;
    fn hash(value: i32, seed: f64) -> f64;
    fn equal(one: i32, other: i32) -> bool;
    fn keep(value: i32) -> i32;
    fn release(value: i32);
    fn clear();
    #[wasm_bindgen(js_name = put)]
    fn lend(value: &JsValue) -> i32;
    #[wasm_bindgen(js_name = value)]
    fn own(place: i32) -> JsValue;
}

/// Where a text begins that never changes: `values.js` reads it once.
fn start(text: &'static str) -> i32 {
    #[cfg(feature = "serde")]
    ATTACHED.with(|()| ());
    text.as_ptr() as i32
}

const fn length(text: &'static str) -> i32 {
    text.len() as i32
}

/// In the npm package the facade does this.
#[cfg(feature = "serde")]
mod memory {
    use super::{JsValue, wasm_bindgen};

    #[wasm_bindgen(module = "/src/web/values.js")]
    extern "C" {
        fn attach(memory: &JsValue);
    }

    thread_local! {
        /// Lets `values.js` read the texts of this module.
        pub static ATTACHED: () = attach(&wasm_bindgen::memory());
    }
}
#[cfg(feature = "serde")]
use self::memory::ATTACHED;

impl PartialEq for Js {
    fn eq(&self, other: &Self) -> bool {
        equal(self.0, other.0)
    }
}

impl Value for Js {
    type Owned = JsValue;

    fn own(self) -> JsValue {
        own(self.0)
    }

    fn lend(owned: &JsValue) -> Self {
        Self(lend(owned))
    }

    fn nothing() -> Self {
        Self(0)
    }

    fn keep(self) -> Self {
        Self(keep(self.0))
    }

    fn release(self) {
        release(self.0);
    }

    fn clear() {
        clear();
    }

    fn text(it: &'static str) -> Self {
        Self(text(start(it), length(it)))
    }

    fn text_of(text: &str) -> Self {
        Self::lend(&JsValue::from_str(text))
    }

    fn number(number: f64) -> Self {
        Self(from_number(number))
    }

    fn truth(yes: bool) -> Self {
        Self(if yes { 1 } else { 2 })
    }

    fn record() -> Self {
        // The first field makes the object.
        Self(0)
    }

    fn list() -> Self {
        Self(push(0, 0))
    }

    fn with(self, key: &'static str, value: Self) -> Self {
        Self(set(self.0, start(key), length(key), value.0))
    }

    fn and(self, element: Self) -> Self {
        Self(push(self.0, element.0))
    }

    fn kind(self) -> Kind {
        match kind(self.0) {
            0 => Kind::Nothing,
            1 => Kind::Null,
            2 => Kind::Bool,
            3 => Kind::Number,
            4 => Kind::Text,
            5 => Kind::List,
            6 => Kind::Object,
            _ => Kind::Other,
        }
    }

    fn get(self, key: &'static str) -> Self {
        Self(get(self.0, start(key), length(key)))
    }

    fn at(self, key: Self) -> Self {
        Self(at(self.0, key.0))
    }

    fn keys(self) -> Self {
        Self(keys(self.0))
    }

    fn nth(self, index: usize) -> Self {
        Self(nth(self.0, index as i32))
    }

    fn as_number(self) -> f64 {
        number(self.0)
    }

    fn is_true(self) -> bool {
        self.0 == 1
    }

    fn is_there(self) -> bool {
        self.0 != 0
    }

    fn one_of(self, words: &'static str) -> i32 {
        one_of(self.0, start(words), length(words))
    }

    fn matches(self, pattern: &'static str) -> bool {
        matches(self.0, start(pattern), length(pattern))
    }

    fn replaced(self, pattern: &'static str, by: Self) -> Self {
        Self(replaced(self.0, start(pattern), length(pattern), by.0))
    }

    fn filled(template: &'static str, first: Self, second: Self) -> Self {
        Self(filled(start(template), length(template), first.0, second.0))
    }

    fn holds(self, other: Self) -> bool {
        holds(self.0, other.0)
    }

    fn hash(self, seed: f64) -> f64 {
        hash(self.0, seed)
    }

    fn class(self) -> Self {
        Self(class_name(self.0))
    }

    fn copied(self) -> Self {
        Self(copied(self.0))
    }
}
