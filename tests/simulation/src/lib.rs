//! Clients, people and the sandbox's engine on one thread, with virtual time and every fault, drawn from a seed.
//!
//! People charge, wait, click again in this tab or another, leave, settle and discard what nobody knows, until a seed has
//! had its operations. Then everything is calm, what is open is settled, and the books are compared. A seed that breaks a
//! rule is printed, and breaks it again: `cargo run -p simulation -- --seeds 42 --trace`.
//!
//! The rules, of which `truth.rs` keeps the books:
//! - an operation is sent again only where the former request was refused, proven unsent or discarded; where the server
//!   honours an `Idempotency-Key`, a request is charged once though the transport sends it twice;
//! - before a request leaves, the journal has its operation as sending, `pending()` would list it, and its caller is there;
//! - an entry is changed only by a compare-and-set under its own owner, bound only to a job of its own, and never loses it;
//!   it is deleted only where nothing was charged, or by a discard;
//! - the job that an answer named is in the journal, and its caller gets it; an answer about another job binds no render;
//! - a late answer to a discarded attempt binds nothing and warns; so does an answer with the id of a known job;
//! - no render without a read of the job since the call began;
//! - every call settles and leaves no task and no listener behind; a wait returns what was waited for;
//! - what a call reports as not sent, not charged or charged agrees with the books of the provider;
//! - at the end every charge is in the journal or was returned, `pending()` lists all that may have been charged, and what a
//!   webhook, a list or the job itself can settle is settled; no budget was exceeded.
//!
//! Left out is what no client can see or stop: a transport that sends a POST twice to a server without keys, two operations
//! of different names that render one job in the same moment, a status that no document knows in place of a render's, and a
//! person who discards what was charged.
//!
//! Each rule of the client was broken once, and the simulation saw it, with 100 operations a seed. The seeds are those of
//! that day: what happens in one changes with the client.
//!
//! | broken | first seeds |
//! | --- | --- |
//! | any failed connection is sent again | 1, 2, 3 |
//! | a 500 is a refusal | 1, 4, 10 |
//! | the request leaves without a journal entry | 0, 1, 2 |
//! | without a marker | 0, 1, 2 |
//! | a taken id is sent | 0, 2, 3 |
//! | an unknown outcome frees the id | 0, 1, 2 |
//! | no read before a render | 0, 1, 2 |
//! | that read is not heeded | 0, 3, 4 |
//! | a render is bound by any id in its answer | 22, 48, 60 |
//! | a render is bound by any 2xx | 0, 11, 51 |
//! | a read takes any job for the one that was asked for | 0, 7, 11 |
//! | a caller that leaves aborts the charge | 1, 2, 3 |
//! | the charge of a caller that left is sent | 1, 2, 4 |
//! | a caller whose time is over gets "nothing was sent" | 0, 1, 2 |
//! | a verdict is written over whatever is there | 0, 1, 2 |
//! | a verdict is not written | 0, 1, 2 |
//! | the job of a known operation is not returned | 2, 9, 15 |
//! | an answer that was cut off has no id | 0, 1, 5 |
//! | `settle` believes the id of a render's job | 0, 1, 2 |
//! | `settle` believes any id, and any job of a list | 2, 5, 6 |
//! | `settle` never binds | 0, 2, 3 |
//! | `settle` deletes what stays unknown | 0, 1, 2 |
//! | `discard` takes bound operations | 8, 13, 18 |
//! | a change of a running preview proves a render | 44, 84, 89 |
//! | `pending()` leaves out what is unknown | 0, 1, 2 |
//! | no warning of a known job | 38, 67, 77 |
//! | no warning of a late answer | 21 |
//! | a retry of a read never begins | 1, 2, 4 |
//! | a video is there before the job is done | 0, 1, 2 |
//! | the budget is not checked | 14, 37, 40 |

mod faults;
mod truth;
mod users;
mod world;

use std::fmt;
use std::rc::Rc;

use custom_template_jobs::hash;

pub use crate::faults::{FAULTS, KINDS};
use crate::truth::Entry;
use crate::users::{LastCall, Returned};
use crate::world::{Sim, State};

/// What one seed is run with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How many operations.
    pub operations: u64,
    /// After how many events the first process crashes.
    pub crash_at: Option<u64>,
    /// Whether it is written down what happened.
    pub trace: bool,
}

/// The sums of one seed, or of many.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls that charge.
    pub operations: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Steps of tasks, and of the clock.
    pub events: u64,
    /// Charges in the ledger.
    pub charges: u64,
    /// Operations that were unknown at the end, before and after they were settled.
    pub open: [u64; 2],
    /// How often each fault struck.
    pub struck: Vec<u64>,
    /// Of all calls that ended, in order.
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
const TOO_MANY: u64 = 5_000_000;

/// Runs one seed to its end.
///
/// # Errors
/// The first rule that was broken.
pub fn run(seed: u64, options: Options) -> Result<Report, Broken> {
    let sim = Sim::new(seed, options.trace);
    sim.state.borrow_mut().users.limit = options.operations;
    sim.world.spawn(Rc::clone(&sim).live());
    let mut events = 0;
    let open = if rest(&sim, &mut events, options.crash_at) { settle(&sim, &mut events) } else { [0; 2] };
    sim.close();

    let state = &mut *sim.state.borrow_mut();
    if let Some(rule) = state.truth.violation.take() {
        return Err(Broken { seed, rule, trace: state.trace.take().unwrap_or_default() });
    }
    Ok(Report {
        operations: state.users.operations,
        requests: state.requests,
        events,
        charges: state.engine.ledger().charges().len() as u64,
        open,
        struck: state.faults.struck.to_vec(),
        hash: state.hash,
    })
}

/// Lets everything happen that will. False where a rule was broken.
fn rest(sim: &Rc<Sim>, events: &mut u64, crash_at: Option<u64>) -> bool {
    loop {
        if !sim.world.step() {
            return sim.state.borrow().truth.violation.is_none();
        }
        *events += 1;
        if crash_at == Some(*events) {
            sim.crash(0);
        }
        if *events > TOO_MANY {
            sim.violated(|| "it never comes to rest".to_owned());
        }
        if sim.state.borrow().truth.violation.is_some() {
            return false;
        }
    }
}

/// Settles what is open, when all is calm, and compares the books; how much was open before and after.
fn settle(sim: &Rc<Sim>, events: &mut u64) -> [u64; 2] {
    sim.calm();
    rest(sim, events, None);
    check(sim);
    let before = open(sim);
    if let Some(Ok(Returned::Operations(listed))) = sim.last_call(LastCall::Pending) {
        let state = &mut *sim.state.borrow_mut();
        for operation in &before {
            if state.truth.may_be_charged(operation) && !listed.iter().any(|listed| listed.operation == *operation) {
                state.truth.violated(|| format!("pending() does not list {operation}, which may have been charged"));
            }
        }
        for listed in listed {
            let entry = sim.world.journal().get(&state.truth.key(&listed.operation)).map(|text| Entry::parse(&text));
            if entry.is_none_or(|entry| entry.is_ended()) {
                state.truth.violated(|| format!("pending() lists {}, which has ended", listed.operation));
            }
        }
    } else {
        sim.violated(|| "pending() fails".to_owned());
    }
    for operation in &before {
        let job = {
            let state = sim.state.borrow();
            let job = state.truth.operations.get(operation).and_then(|operation| operation.webhook.clone());
            job.filter(|job| state.truth.is_credible(operation, job))
        };
        sim.last_call(LastCall::Settle(operation, job));
    }
    rest(sim, events, None);
    let after = open(sim);
    {
        let state = &mut *sim.state.borrow_mut();
        for operation in &after {
            if state.truth.is_settleable(operation, state.lists, sim.world.journal(), &state.engine) {
                state.truth.violated(|| format!("{operation} could be settled, and was not"));
            }
        }
    }
    check(sim);
    [before.len() as u64, after.len() as u64]
}

/// Compares the books.
fn check(sim: &Sim) {
    let State { users, truth, tabs, .. } = &mut *sim.state.borrow_mut();
    let (journal, log) = (sim.world.journal(), sim.world.log());
    users.check(truth);
    truth.check_ledger(journal);
    truth.check_answers(journal, &log);
    truth.check_warnings(&log);
    for (host, tab) in tabs.iter().enumerate().filter(|(_, tab)| tab.alive) {
        if tab.client.host().tasks() > 0 {
            truth.violated(|| format!("a task of host {host} never ends"));
        }
        if tab.client.host().is_listening() {
            truth.violated(|| format!("host {host} still listens, and nobody polls"));
        }
    }
}

/// The operations whose outcome is unknown.
fn open(sim: &Sim) -> Vec<String> {
    let entries = sim.world.journal().operations();
    entries.into_iter().filter(|(_, entry)| entry["state"] == "sending").map(|(operation, _)| operation).collect()
}

/// Mixes bytes into a hash.
fn mix(hash: u64, bytes: &[u8]) -> u64 {
    hash::of(&[&hash.to_le_bytes(), bytes].concat())
}
