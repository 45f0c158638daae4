//! Journals: the default ones of `journal.js`, and the caller's own.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::host::{JournalCall, JournalReply};

#[wasm_bindgen(module = "/src/web/journal.js")]
extern "C" {
    /// The journal in the memory of this process.
    #[wasm_bindgen(js_name = memoryJournal)]
    pub fn memory_journal() -> Journal;
    /// The journal in IndexedDB, if the platform has it.
    #[wasm_bindgen(js_name = indexedDbJournal)]
    pub fn indexed_db_journal() -> Option<Journal>;
}

#[wasm_bindgen(module = "/src/web/platform.js")]
extern "C" {
    #[wasm_bindgen(catch, js_name = replaceEntry)]
    fn replace(journal: &Journal, id: &str, old: &str, entry: &str) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// A journal: an object with these methods, each of which may return a promise.
    #[derive(Clone, Debug)]
    pub type Journal;
    #[wasm_bindgen(method, catch, structural)]
    fn create(this: &Journal, id: &str, entry: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, structural)]
    fn read(this: &Journal, id: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, structural)]
    fn write(this: &Journal, id: &str, entry: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, structural)]
    fn delete(this: &Journal, id: &str, entry: Option<&str>) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, structural)]
    fn list(this: &Journal, prefix: &str) -> Result<JsValue, JsValue>;
}

/// The value that a caller's function returned, directly or as a promise.
pub async fn settled(returned: Result<JsValue, JsValue>) -> Result<JsValue, JsValue> {
    let returned = returned?;
    // No await without a promise: calls of the memory journal are then atomic together, so a budget in it is exact.
    if returned.is_object() && !Array::is_array(&returned) || returned.is_function() {
        JsFuture::from(Promise::resolve(&returned)).await
    } else {
        Ok(returned)
    }
}

/// Calls a journal.
///
/// # Errors
/// What it threw.
pub async fn call(journal: &Journal, call: JournalCall<'_>) -> Result<JournalReply, JsValue> {
    let returned = settled(match call {
        JournalCall::Create(id, entry) => journal.create(id, entry),
        JournalCall::Read(id) => journal.read(id),
        JournalCall::Write(id, entry) => journal.write(id, entry),
        JournalCall::Replace(id, old, entry) => replace(journal, id, old, entry),
        JournalCall::Delete(id, entry) => journal.delete(id, entry),
        JournalCall::List(prefix) => journal.list(prefix),
    })
    .await?;
    Ok(match call {
        JournalCall::Create(..) | JournalCall::Replace(..) => JournalReply::Done(returned == JsValue::TRUE),
        // A journal that returns nothing has deleted.
        JournalCall::Delete(..) => JournalReply::Done(returned != JsValue::FALSE),
        JournalCall::Write(..) => JournalReply::Done(true),
        JournalCall::Read(_) => JournalReply::Entry(returned.as_string()),
        JournalCall::List(_) => {
            let keys = if Array::is_array(&returned) { Array::from(&returned) } else { Array::new() };
            JournalReply::Keys(keys.iter().filter_map(|key| key.as_string()).collect())
        }
    })
}
