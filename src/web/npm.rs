//! The exports of the npm build: numbers in and out, some of them places in the table of `values.js`; the facade in
//! `pkg-template` gives them their names.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use wasm_bindgen::prelude::*;

use super::host::{self, by_plumbing};
use super::js::Js;
use crate::api::Endpoint;
use crate::client::{Config, Core, Wanted};
use crate::credits::{Price, PriceTable};
use crate::error::Failure;
use crate::host::Host;
use crate::poll::Look;
use crate::value::Value;

/// The smallest that sets itself up without unsafe code, measured in the packed wasm; few and small things live here.
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

thread_local! {
    // Nothing is ever dropped at the end of the one thread, and what needs no drop needs no guard at each use.
    static CLIENTS: RefCell<ManuallyDrop<Vec<Option<Core<WebHost>>>>> =
        const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

#[wasm_bindgen(module = "/src/web/plumbing.js")]
extern "C" {
    fn settle(call: i32, ok: i32, value: i32);
    fn over(call: i32);
    fn update(call: i32, job: i32, in_ms: f64, remaining_ms: f64);
    fn alarm(call: i32, task: i32, ms: f64);
}

/// The host over the plumbing of a client of JavaScript's, whose calls are numbers too.
#[derive(Debug)]
struct WebHost {
    /// The number of the client.
    client: i32,
    /// Whether anybody reads the log.
    hears: bool,
}

impl Host for WebHost {
    type Value = Js;
    type Call = i32;

    by_plumbing!();

    fn settle(&self, call: &i32, result: Result<Js, Failure<Js>>) {
        match result {
            Ok(value) => settle(*call, 1, value.0),
            Err(failure) => settle(*call, 0, failure.0.0),
        }
    }

    fn over(&self, call: &i32) {
        over(*call);
    }

    fn update(&self, call: &i32, job: Js, look: Look) {
        update(*call, job.0, look.in_ms, look.remaining_ms);
    }

    fn alarm(&self, call: &i32, task: u32, ms: f64) {
        alarm(*call, task as i32, ms);
    }
}

/// Sets up a client over the facade's plumbing; its number.
#[wasm_bindgen]
pub fn connect(options: i32) -> i32 {
    let options = Js(options);
    let base_url = options.get("baseUrl").or(|| Js::text(Config::<Js>::BASE_URL));
    let (api_id, account) = (options.get("apiId"), options.get("account"));
    let mut config = Config::new(base_url, api_id);
    // However the base URL is spelled, it is one place; and each account has entries of its own.
    let place = options.get("place").or(|| *config.base_url);
    let namespace = api_id.hash(place.hash(0.0));
    config.namespace = Js::number(if account.is_there() { account.hash(namespace) } else { namespace }).into();
    take_positive(options, "timeout", &mut config.timeout);
    take_positive(options, "previewTimeout", &mut config.preview_timeout);
    let retries = options.number_of("maxRetries");
    if retries >= 0.0 {
        config.max_retries = retries as u32;
    }
    config.max_credits = options.number_of("maxCredits");
    config.budget_key = options.get("budgetKey").into();
    let prices = options.get("prices");
    let PriceTable { preview, submit, render, aurora_v1, aurora_v1_fast } = &mut config.prices;
    take_price(prices, "preview", preview);
    take_price(prices, "submit", submit);
    take_price(prices, "render", render);
    take_price(prices, "aurora_v1", aurora_v1);
    take_price(prices, "aurora_v1_fast", aurora_v1_fast);
    let hears = options.get("onEvent").is_there();
    let number = CLIENTS.with_borrow_mut(|clients| {
        let at = clients.iter().position(Option::is_none).unwrap_or(clients.len());
        let client = Core::new(WebHost { client: at as i32, hears }, config);
        match clients.get_mut(at) {
            Some(slot) => *slot = Some(client),
            None => clients.push(Some(client)),
        }
        at as i32
    });
    Js::clear();
    number
}

/// A price table of JavaScript: what is left out costs what it costs by default.
fn take_price(table: Js, key: &'static str, price: &mut Price) {
    let given = table.get(key);
    let credits = given.number_of("credits");
    if credits >= 0.0 {
        price.credits = credits;
    }
    take_positive(given, "seconds", &mut price.seconds);
}

/// Takes a field where it is a number above 0.
fn take_positive(object: Js, key: &'static str, into: &mut f64) {
    let number = object.number_of(key);
    if number > 0.0 {
        *into = number;
    }
}

/// Tells a client of something; `what` is the facade's number for it. Where that is a call to be begun, `number` is the
/// call's, and the number of its task comes back, or 0 where it is over already; elsewhere it is that of a task.
#[wasm_bindgen]
pub fn tell(client: i32, what: i32, number: i32, value: i32) -> i32 {
    let (value, task) = (Js(value), number as u32);
    let begun = CLIENTS.with_borrow_mut(|clients| {
        let Some(slot) = clients.get_mut(client as usize) else { return 0 };
        let Some(core) = slot else { return 0 };
        let wanted = match what {
            RESUME => {
                core.resume(task, Ok(value));
                return 0;
            }
            RESUME_THROWN => {
                core.resume(task, Err(value));
                return 0;
            }
            LEAVE => {
                core.leave(task);
                return 0;
            }
            LATE => {
                core.late(task);
                return 0;
            }
            DISCONNECT => {
                *slot = None;
                return 0;
            }
            5 => Wanted::Endpoint(Endpoint::Submit),
            6 => Wanted::Endpoint(Endpoint::PreviewAsync),
            7 => Wanted::Endpoint(Endpoint::PreviewSync),
            8 => Wanted::Endpoint(Endpoint::Render),
            9 => Wanted::Endpoint(Endpoint::Get),
            10 => Wanted::Endpoint(Endpoint::Templates),
            11 => Wanted::Endpoint(Endpoint::RemainingCredits),
            12 => Wanted::Estimate,
            13 => Wanted::Pending,
            14 => Wanted::Settle,
            HEAR => {
                core.hear(value);
                return 0;
            }
            _ => Wanted::Poll,
        };
        core.start(wanted, value, &number)
    });
    Js::clear();
    begun as i32
}

/// What a task waited for is there, or was thrown.
const RESUME: i32 = 0;
const RESUME_THROWN: i32 = 1;
/// A call is not wanted any more.
const LEAVE: i32 = 2;
/// The time of a charge's caller is over.
const LATE: i32 = 3;
/// A client is closed, and nothing of it goes on.
const DISCONNECT: i32 = 4;

/// Another tab has looked at a job.
const HEAR: i32 = 16;

/// Whether headers may be sent: nothing, else a record of the option that is to blame.
#[wasm_bindgen]
pub fn check(headers: i32) -> i32 {
    host::check_headers(Js(headers)).0
}
