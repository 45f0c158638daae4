//! JavaScript values as the core sees them.

use wasm_bindgen::prelude::*;

use crate::value::{Kind, Value};

#[wasm_bindgen(module = "/src/web/values.js")]
extern "C" {
    fn kind(value: &JsValue) -> u8;
    fn get(object: &JsValue, key: &str) -> JsValue;
    #[wasm_bindgen(js_name = get)]
    fn at(object: &JsValue, key: &JsValue) -> JsValue;
    fn set(object: JsValue, key: &str, value: &JsValue) -> JsValue;
    fn push(list: JsValue, value: &JsValue) -> JsValue;
    fn keys(object: &JsValue) -> JsValue;
    fn copied(object: &JsValue) -> JsValue;
    #[wasm_bindgen(js_name = className)]
    fn class_name(value: &JsValue) -> JsValue;
    fn number(value: &JsValue) -> f64;
    #[wasm_bindgen(js_name = oneOf)]
    fn one_of(value: &JsValue, words: &str) -> i32;
    fn matches(value: &JsValue, pattern: &str) -> bool;
    fn holds(value: &JsValue, part: &JsValue) -> bool;
    fn replaced(value: &JsValue, pattern: &str, by: &JsValue) -> JsValue;
    fn filled(template: &str, first: &JsValue, second: &JsValue) -> JsValue;
    fn hash(value: &JsValue, seed: f64) -> f64;
}

impl Value for JsValue {
    fn nothing() -> Self {
        Self::UNDEFINED
    }

    fn text(text: &str) -> Self {
        Self::from_str(text)
    }

    fn number(number: f64) -> Self {
        Self::from_f64(number)
    }

    fn truth(yes: bool) -> Self {
        Self::from_bool(yes)
    }

    fn record() -> Self {
        // The first field makes the object.
        Self::UNDEFINED
    }

    fn list() -> Self {
        js_sys::Array::new().into()
    }

    fn with(self, key: &str, value: &Self) -> Self {
        set(self, key, value)
    }

    fn and(self, element: &Self) -> Self {
        push(self, element)
    }

    fn kind(&self) -> Kind {
        match kind(self) {
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

    fn get(&self, key: &str) -> Self {
        get(self, key)
    }

    fn at(&self, key: &Self) -> Self {
        at(self, key)
    }

    fn keys(&self) -> Self {
        keys(self)
    }

    fn nth(&self, index: usize) -> Self {
        at(self, &Self::from_f64(index as f64))
    }

    fn as_number(&self) -> f64 {
        number(self)
    }

    fn is_true(&self) -> bool {
        *self == Self::TRUE
    }

    fn is_there(&self) -> bool {
        !self.is_undefined()
    }

    fn one_of(&self, words: &str) -> i32 {
        one_of(self, words)
    }

    fn matches(&self, pattern: &str) -> bool {
        matches(self, pattern)
    }

    fn replaced(&self, pattern: &str, by: &Self) -> Self {
        replaced(self, pattern, by)
    }

    fn filled(template: &str, first: &Self, second: &Self) -> Self {
        filled(template, first, second)
    }

    fn holds(&self, other: &Self) -> bool {
        holds(self, other)
    }

    fn hash(&self, seed: f64) -> f64 {
        hash(self, seed)
    }

    fn class(&self) -> Self {
        class_name(self)
    }

    fn copied(&self) -> Self {
        copied(self)
    }
}
