//! JavaScript values as the core sees them, and the few words in which we speak to them.

use js_sys::{Array, Function, Object};
use wasm_bindgen::prelude::*;

use crate::error::digits;
use crate::value::{Kind, Value};

#[wasm_bindgen]
extern "C" {
    type Any;

    // Catches, because a getter of the caller's may throw; and an index, because it works on every kind of value.
    #[wasm_bindgen(method, structural, indexing_getter, catch)]
    fn at(this: &Any, key: &str) -> Result<JsValue, JsValue>;

    /// js-sys takes the text as a `&str`, which copies an answer into our memory and out again.
    #[wasm_bindgen(js_namespace = JSON, js_name = parse, catch)]
    pub fn parse_json(text: &JsValue) -> Result<JsValue, JsValue>;

    // Does not catch: only frozen and exotic objects refuse, and ours are neither.
    #[wasm_bindgen(method, structural, indexing_setter)]
    fn put(this: &Any, key: &str, value: &JsValue);
}

/// A field, or `undefined`, which also stands for what cannot be read.
pub fn field(object: &JsValue, key: &str) -> JsValue {
    if object.is_null() || object.is_undefined() {
        return JsValue::UNDEFINED;
    }
    object.unchecked_ref::<Any>().at(key).unwrap_or(JsValue::UNDEFINED)
}

/// Sets a field of an object of our own.
pub fn set(object: &JsValue, key: &str, value: &JsValue) {
    object.unchecked_ref::<Any>().put(key, value);
}

/// Sets a field to a text, where there is one.
pub fn set_text(object: &JsValue, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        set(object, key, &text(value));
    }
}

/// Sets a field to a number.
pub fn set_number(object: &JsValue, key: &str, value: f64) {
    set(object, key, &value.into());
}

/// Whether JavaScript takes a field for true.
pub fn holds(object: &JsValue, key: &str) -> bool {
    field(object, key).is_truthy()
}

/// Calls a method, found by name: the object need not be of any class.
///
/// # Errors
/// What the method threw, or the `TypeError` that there is none.
pub fn method(object: &JsValue, name: &str, first: &JsValue, second: &JsValue) -> Result<JsValue, JsValue> {
    let method = object.unchecked_ref::<Any>().at(name)?;
    method.unchecked_ref::<Function>().call2(object, first, second)
}

/// A string of JavaScript.
pub fn text(text: &str) -> JsValue {
    JsValue::from_str(text)
}

impl Value for JsValue {
    fn kind(&self) -> Kind {
        if self.is_string() {
            Kind::Text
        } else if let Some(number) = self.as_f64() {
            Kind::Number(number)
        } else if let Some(yes) = self.as_bool() {
            Kind::Bool(yes)
        } else if self.is_null() || self.is_undefined() {
            Kind::Null
        } else if Array::is_array(self) {
            Kind::List
        } else if self.is_object() && is_plain(self) {
            Kind::Object
        } else {
            Kind::Other
        }
    }

    fn as_text(&self) -> Option<String> {
        self.as_string()
    }

    fn text(&self, key: &str) -> Option<String> {
        field(self, key).as_string()
    }

    fn class(&self) -> String {
        let class = field(self, "constructor").text("name");
        class.unwrap_or_else(|| "unknown".into())
    }

    fn get(&self, key: &str) -> Option<Self> {
        Some(field(self, key)).filter(|value| !value.is_undefined())
    }

    fn keys(&self) -> Vec<String> {
        let names: JsValue = Object::keys(self.unchecked_ref::<Object>()).unchecked_into();
        let mut keys = Vec::new();
        while let Some(key) = names.text(&digits(keys.len() as u64)) {
            keys.push(key);
        }
        keys
    }

    fn with_text(&self, key: &str, value: &str) -> Self {
        let copy = Object::assign(&Object::new(), self.unchecked_ref::<Object>());
        set_text(&copy, key, Some(value));
        copy.into()
    }
}

/// Whether an object is of no class: its prototype is `Object.prototype` of whichever realm, or none.
fn is_plain(value: &JsValue) -> bool {
    let prototype: JsValue = Object::get_prototype_of(value).into();
    prototype.is_null() || Object::get_prototype_of(&prototype).is_null()
}
