//! The exports of the npm build: numbers and one object for each call; the facade in `pkg-template` gives them their names.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use wasm_bindgen::prelude::*;

use super::host::{Call, Plumbing, WebHost};
use crate::api::Endpoint;
use crate::client::{Client, Config, Wanted};
use crate::credits::{Price, PriceTable};
use crate::value::Value;

/// Half the size of the standard one, and as fast for the few small things that live here.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

thread_local! {
    // Nothing is ever dropped at the end of the one thread, and what needs no drop needs no guard at each use.
    static CLIENTS: RefCell<ManuallyDrop<Vec<Option<Client<WebHost>>>>> =
        const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// Sets up a client over the facade's plumbing; its number.
#[wasm_bindgen]
pub fn connect(plumbing: Plumbing, options: &JsValue) -> u32 {
    let base_url = options.get("baseUrl").or(|| JsValue::text(Config::<JsValue>::BASE_URL));
    let mut config = Config::new(&base_url, &options.get("apiId"));
    take_positive(options, "timeout", &mut config.timeout);
    take_positive(options, "previewTimeout", &mut config.preview_timeout);
    let retries = options.number_of("maxRetries");
    if retries >= 0.0 {
        config.max_retries = retries as u32;
    }
    config.max_credits = options.number_of("maxCredits");
    config.budget_key = options.get("budgetKey");
    let prices = options.get("prices");
    let PriceTable { preview, submit, render, aurora_v1, aurora_v1_fast } = &mut config.prices;
    take_price(&prices, "preview", preview);
    take_price(&prices, "submit", submit);
    take_price(&prices, "render", render);
    take_price(&prices, "aurora_v1", aurora_v1);
    take_price(&prices, "aurora_v1_fast", aurora_v1_fast);
    let client = Client::new(WebHost::new(plumbing), config);
    CLIENTS.with_borrow_mut(|clients| {
        let at = clients.iter().position(Option::is_none).unwrap_or(clients.len());
        match clients.get_mut(at) {
            Some(slot) => *slot = Some(client),
            None => clients.push(Some(client)),
        }
        at as u32
    })
}

/// A price table of JavaScript: what is left out costs what it costs by default.
fn take_price(table: &JsValue, key: &str, price: &mut Price) {
    let given = table.get(key);
    take_positive(&given, "credits", &mut price.credits);
    take_positive(&given, "seconds", &mut price.seconds);
}

/// Takes a field where it is a number above 0.
fn take_positive(object: &JsValue, key: &str, into: &mut f64) {
    let number = object.number_of(key);
    if number > 0.0 {
        *into = number;
    }
}

fn client_of(number: u32) -> Option<Client<WebHost>> {
    CLIENTS.with_borrow(|clients| clients.get(number as usize).cloned().flatten())
}

/// Begins a call; the number of its task, or 0 where it is over already. The order is the facade's too.
#[wasm_bindgen]
pub fn start(client: u32, wanted: u32, call: &Call) -> u32 {
    let wanted = match wanted {
        0 => Wanted::Endpoint(Endpoint::Submit),
        1 => Wanted::Endpoint(Endpoint::PreviewAsync),
        2 => Wanted::Endpoint(Endpoint::PreviewSync),
        3 => Wanted::Endpoint(Endpoint::Render),
        4 => Wanted::Endpoint(Endpoint::Get),
        5 => Wanted::Endpoint(Endpoint::Templates),
        6 => Wanted::Endpoint(Endpoint::RemainingCredits),
        7 => Wanted::Estimate,
        8 => Wanted::Pending,
        9 => Wanted::Settle,
        _ => Wanted::Poll,
    };
    let given = JsValue::from(call.clone());
    client_of(client).map_or(0, |client| client.start(wanted, &given, call))
}

/// Tells a client of something; `what` is the facade's number for it.
#[wasm_bindgen]
pub fn tell(client: u32, what: u32, task: u32, value: JsValue) {
    if what == DISCONNECT {
        // Forgets the client, outside of the table's borrow.
        drop(CLIENTS.with_borrow_mut(|clients| clients.get_mut(client as usize).and_then(Option::take)));
        return;
    }
    let Some(client) = client_of(client) else { return };
    match what {
        RESUME => client.resume(task, Ok(value)),
        RESUME_THROWN => client.resume(task, Err(value)),
        LEAVE => client.leave(task),
        _ => client.late(task),
    }
}

/// What a task waited for is there, or was thrown.
const RESUME: u32 = 0;
const RESUME_THROWN: u32 = 1;
/// A call is not wanted any more.
const LEAVE: u32 = 2;
// 3: the time of a charge's caller is over.
/// A client is closed, and nothing of it goes on.
const DISCONNECT: u32 = 4;

/// Builds a request for the plumbing.
#[wasm_bindgen]
pub fn build(init: &JsValue, headers: &JsValue) -> JsValue {
    super::host::build(init, headers)
}
