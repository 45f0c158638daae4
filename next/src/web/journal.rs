//! Journals: the default ones of `journal.js`, and the caller's own.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::convert::get;
use crate::host::{JournalCall, JournalReply};

#[wasm_bindgen(module = "/src/web/journal.js")]
extern "C" {
    /// The journal in the memory of this process.
    #[wasm_bindgen(js_name = memoryJournal)]
    pub fn memory_journal() -> Journal;
    /// The journal in IndexedDB.
    #[wasm_bindgen(js_name = indexedDbJournal)]
    pub fn indexed_db_journal() -> Journal;
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
    fn replace(this: &Journal, id: &str, old: &str, entry: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, structural)]
    fn delete(this: &Journal, id: &str, entry: Option<&str>) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, structural)]
    fn list(this: &Journal, prefix: &str) -> Result<JsValue, JsValue>;
}

/// The value of what a caller's function returned: a value, or a promise of one.
pub async fn settled(returned: Result<JsValue, JsValue>) -> Result<JsValue, JsValue> {
    let returned = returned?;
    // What is no promise is there at once: the journal in memory is called without a pause, so a budget in it is exact.
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
    Ok(match call {
        JournalCall::Create(id, entry) => JournalReply::Done(settled(journal.create(id, entry)).await? == JsValue::TRUE),
        JournalCall::Read(id) => JournalReply::Entry(settled(journal.read(id)).await?.as_string()),
        JournalCall::Write(id, entry) => {
            settled(journal.write(id, entry)).await?;
            JournalReply::Done(true)
        }
        JournalCall::Replace(id, old, entry) if get(journal, "replace").is_function() => {
            JournalReply::Done(settled(journal.replace(id, old, entry)).await? == JsValue::TRUE)
        }
        // A journal of the caller's without `replace`: another client may write between the two.
        JournalCall::Replace(id, old, entry) => {
            let same = settled(journal.read(id)).await?.as_string().as_deref() == Some(old);
            if same {
                settled(journal.write(id, entry)).await?;
            }
            JournalReply::Done(same)
        }
        // One that says nothing has deleted.
        JournalCall::Delete(id, entry) => JournalReply::Done(settled(journal.delete(id, entry)).await? != JsValue::FALSE),
        JournalCall::List(prefix) => {
            let keys = settled(journal.list(prefix)).await?;
            let keys = if Array::is_array(&keys) { Array::from(&keys) } else { Array::new() };
            JournalReply::Keys(keys.iter().filter_map(|key| key.as_string()).collect())
        }
    })
}
