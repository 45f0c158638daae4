//! A scripted host for native tests.
use crate::value::{Kind, Value};

/// A JSON text as a value.
pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

impl Value for serde_json::Value {
    fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(yes) => Kind::Bool(*yes),
            Self::Number(number) => Kind::Number(number.as_f64().unwrap_or(f64::NAN)),
            Self::String(text) => Kind::Text(text.clone()),
            Self::Array(_) => Kind::List,
            Self::Object(_) => Kind::Object,
        }
    }

    fn get(&self, key: &str) -> Option<Self> {
        match self {
            Self::Array(items) => items.get(key.parse::<usize>().ok()?).cloned(),
            Self::Object(fields) => fields.get(key).cloned(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<String> {
        match self {
            Self::Array(items) => (0..items.len()).map(|at| at.to_string()).collect(),
            Self::Object(fields) => fields.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn with_text(&self, key: &str, text: &str) -> Self {
        let mut copy = self.clone();
        copy[key] = Self::String(text.into());
        copy
    }
}
