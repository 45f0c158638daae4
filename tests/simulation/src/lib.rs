//! The client's core and the sandbox's engine on one thread, with virtual time and every fault, drawn from a seed.
//!
//! People charge, wait, click again in this tab or the other, leave, and settle what nobody knows, until a seed has had its
//! operations. Then calm comes, what is open is settled, and the books are compared. A seed that breaks a rule is printed,
//! and breaks it again: `cargo run -p simulation -- --seeds 42 --trace`.
//!
//! The rules, of which `truth.rs` keeps the books:
//! - an operation has a second fetch that charges only where the former was never sent, was refused, or was a render
//!   that failed; and where the server honours an `Idempotency-Key`, a fetch is charged once though the transport
//!   sends it twice;
//! - the journal has an operation as posting before its request leaves, forgets none that may have been charged, binds
//!   it to no job but its own, and does not lose that job again;
//! - no render without a look at the job since the call began;
//! - every call settles, once; a call that was left hears once that it is over;
//! - whoever is told that nothing was sent can believe it, and an answer that names a job is heard by somebody;
//! - at the end every charge in the ledger is known to the journal or was told, `pending()` lists all that is open, and
//!   what a webhook, a list or the job itself can settle is settled; a budget was never passed.
//!
//! What the world may do that no client can see or stop is left out of account: a transport that sends a POST twice to
//! a server without keys, two operations of different names that render one job in the same moment, and a status that
//! no document knows in place of that of a render.
//!
//! Each rule of the client was broken once, and the simulation saw it, with 100 operations a seed. The seeds are those of that
//! day: what happens in one changes with the client.
//!
//! | broken | first seeds |
//! | --- | --- |
//! | an unknown outcome is sent again | 0, 1, 2 |
//! | a 500 is taken for a refusal | 2, 4, 11 |
//! | the request leaves before the journal has it | 0, 1, 2 |
//! | a posting entry is taken for new | 2, 3, 5 |
//! | no look before a render | 0, 1, 2 |
//! | a render is bound by any id in its answer | 80, 90, 94 |
//! | a render is bound by any 2xx | 11, 12, 28 |
//! | a look takes any job for the one that was asked for | 6, 8, 18 |
//! | a caller that leaves aborts the post | 0, 1, 3 |
//! | a caller whose time is over is told that nothing was sent | 1, 2, 3 |
//! | an unknown outcome is written over what stands in the journal | 3, 14, 18 |
//! | `settle` believes the id of a render's job | 1, 2, 3 |
//! | `settle` never binds | 0, 1, 2 |
//! | `settle` clears what stays unknown | 0, 1, 2 |
//! | a change of a running preview proves a render | 57, 94, 101 |
//! | the list settles by a part of the webhook's address | 1, 6, 7 |
//! | a failed render is asked for again under its own id | 16 |
//! | `pending()` leaves out what is being posted | 0, 1, 2 |
//! | a pause before another try of a read is never begun | 1, 2, 4 |
//! | a charge that was left is never said to be over | 0, 2, 3 |
//! | the budget is not reserved | 30, 54, 96 |

mod faults;
mod truth;
mod users;
mod value;
mod world;

use std::fmt;
use std::rc::Rc;

use custom_template_jobs::client::Config;
use custom_template_jobs::value::Value as _;
use custom_template_jobs::value::place::Whole as _;
use sandbox::engine::Command;

pub use crate::faults::{FAULTS, KINDS};
use crate::value::{Json, Value};
use crate::world::{BASE_URL, State, What, World};

/// What one seed is run with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How many operations.
    pub operations: u64,
    /// After how many events the first window crashes.
    pub crash_at: Option<u64>,
    /// Whether it is written down what happened.
    pub trace: bool,
}

/// What one seed, or many, came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls that charge.
    pub operations: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Things that happened.
    pub events: u64,
    /// Charges in the ledger.
    pub charges: u64,
    /// Operations that were unknown or posting at the end, before and after they were settled.
    pub open: [u64; 2],
    /// How often each fault struck.
    pub struck: Vec<u64>,
    /// Of all that happened, in order.
    pub hash: u64,
}

impl Report {
    /// Adds another seed's.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.requests += other.requests;
        self.events += other.events;
        self.charges += other.charges;
        self.hash ^= other.hash;
        for (sum, part) in self.open.iter_mut().zip(other.open) {
            *sum += part;
        }
        self.struck.resize(KINDS, 0);
        for (sum, part) in self.struck.iter_mut().zip(&other.struck) {
            *sum += part;
        }
    }
}

/// A rule was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The seed that breaks it again.
    pub seed: u64,
    /// Which rule.
    pub rule: String,
    /// What had happened, where it was written down.
    pub trace: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {}: {}", self.seed, self.rule)
    }
}

/// Events after which a seed counts as one that never comes to rest.
const TOO_MANY: u64 = 3_000_000;

/// Runs one seed to its end.
///
/// # Errors
/// The first rule that was broken.
pub fn run(seed: u64, options: Options) -> Result<Report, Broken> {
    let mut state = State::new(seed);
    state.users.limit = options.operations;
    state.crash_at = options.crash_at;
    state.trace = options.trace.then(Vec::new);
    state.truth.namespace = Config::new(Value::text(BASE_URL), Value::text("sandbox")).namespace.own().written();
    state.plan(0.0, What::Act);
    let world = World::new(state);
    let open = live(&world);
    world.close();

    let state = &mut *world.state.borrow_mut();
    if let Some(rule) = state.truth.violation.take() {
        return Err(Broken { seed, rule, trace: state.trace.take().unwrap_or_default() });
    }
    Ok(Report {
        operations: state.users.operations,
        requests: state.requests,
        events: state.events,
        charges: state.engine.ledger().charges().len() as u64,
        open,
        struck: state.faults.struck.to_vec(),
        hash: state.hash,
    })
}

/// Lets everything happen, then lets calm come, and settles what is open; how much was open before and after.
fn live(world: &Rc<World>) -> [u64; 2] {
    if !rest(world) {
        return [0; 2];
    }
    let tab = {
        let state = &mut *world.state.borrow_mut();
        state.faults.calm = true;
        state.crash_at = None;
        // Every job ends, and its webhook comes.
        state.now += 86_400_000.0;
        let now = state.engine_now();
        state.engine.handle(now, Command::SetFaults(Vec::new()));
        let effects = state.engine.handle(now, Command::Tick).1;
        state.take_effects(effects);
        let State { users, truth, journal, .. } = state;
        users.check(truth);
        truth.check_ledger(journal);
        users.slots[0]
    };
    let before = open(world);
    world.pending(tab);
    rest(world);
    {
        let state = &mut *world.state.borrow_mut();
        let listed = match state.users.said.take() {
            Some(Ok(Json::List(operations))) => operations.len(),
            _ => 0,
        };
        // How long jobs took stands beside the operations.
        let operations = format!("{}/", state.truth.namespace);
        let operations = state.journal.iter().filter(|(key, _)| key.starts_with(&operations));
        let held = operations.filter(|(_, entry)| entry.get("state").as_text() != "ended").count();
        if listed != held {
            state.truth.violated(|| format!("pending() lists {listed} of {held} operations"));
        }
    }
    for operation in &before {
        let job = {
            let state = world.state.borrow();
            state.truth.operations.get(operation).and_then(|operation| operation.webhook.clone())
        };
        world.settle(tab, operation, job.as_deref());
        rest(world);
    }
    let after = open(world);
    let state = &mut *world.state.borrow_mut();
    for operation in &after {
        if state.truth.settleable(operation, state.lists, &state.engine) {
            state.truth.violated(|| format!("{operation} could be settled, and was not"));
        }
    }
    let State { users, truth, journal, .. } = state;
    users.check(truth);
    truth.check_ledger(journal);
    [before.len() as u64, after.len() as u64]
}

/// Lets everything happen that will. False where a rule was broken.
fn rest(world: &Rc<World>) -> bool {
    loop {
        {
            let state = &mut *world.state.borrow_mut();
            if state.events > TOO_MANY {
                state.truth.violated(|| "it never comes to rest".to_owned());
            }
            if state.truth.violation.is_some() {
                return false;
            }
        }
        if !world.step() {
            return true;
        }
    }
}

/// The operations of which nobody knows whether they were paid for.
fn open(world: &Rc<World>) -> Vec<Rc<str>> {
    let state = world.state.borrow();
    let open = state.journal.iter().filter(|(_, entry)| entry.get("state").one_of("posting unknown") >= 0);
    open.filter_map(|(key, _)| key.split_once('/')).map(|(_, operation)| operation.into()).collect()
}
