//! The corpus through the reader that native tests and the simulation use.
#![cfg(not(target_arch = "wasm32"))]

mod corpus;

use custom_template_jobs::value::{Kind, Value};

#[derive(Clone)]
struct Json(serde_json::Value);

impl Value for Json {
    fn kind(&self) -> Kind {
        match &self.0 {
            serde_json::Value::Null => Kind::Null,
            serde_json::Value::Bool(yes) => Kind::Bool(*yes),
            serde_json::Value::Number(number) => Kind::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Kind::Text(text.clone()),
            serde_json::Value::Array(_) => Kind::List,
            serde_json::Value::Object(_) => Kind::Object,
        }
    }

    fn get(&self, key: &str) -> Option<Self> {
        match &self.0 {
            serde_json::Value::Array(items) => items.get(key.parse::<usize>().ok()?).cloned().map(Self),
            value => value.get(key).cloned().map(Self),
        }
    }

    fn keys(&self) -> Vec<String> {
        match &self.0 {
            serde_json::Value::Array(items) => (0..items.len()).map(|at| at.to_string()).collect(),
            serde_json::Value::Object(fields) => fields.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn with_text(&self, key: &str, text: &str) -> Self {
        let mut copy = self.clone();
        copy.0[key] = text.into();
        copy
    }
}

#[test]
fn serde_json_reads_the_corpus_as_expected() {
    corpus::check(|text| Json(serde_json::from_str(text).expect("JSON")));
}
