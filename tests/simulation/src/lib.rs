//! A simulation of clients, users and the sandbox's engine: one thread, virtual time, and faults drawn from a seed.
//!
//! Users charge, wait, click again in this tab or another, abort, and settle or discard unknown operations, until the seed
//! has made its number of operations. Then all faults stop, open operations are settled, and the final state is checked. A
//! seed that breaks a rule is printed and can be replayed: `cargo run -p simulation -- --seeds 42 --trace`.
//!
//! The rules, which `checker.rs` checks:
//! - an operation is sent again only if the former request was refused, proven unsent or discarded; if the server honours
//!   an `Idempotency-Key`, a request is charged once even if the transport sends it twice;
//! - before a request is sent, the journal has its operation as `sending`, `pending()` would list it, and its caller has
//!   not aborted;
//! - an entry is changed only by a compare-and-set under its own owner. It is bound only to a job of its own and stays
//!   bound to it. It is deleted only if nothing was charged, or by a discard;
//! - the job that an answer named is in the journal and is returned to its caller; an answer about another job binds no
//!   render;
//! - a late answer to a discarded attempt binds nothing and emits a warning; an answer with the id of a known job also
//!   emits a warning;
//! - no render is sent unless its job was read since the call began;
//! - every call settles and leaves no task and no listener behind; a poll returns only when its goal is reached;
//! - what a call reports (not sent, not charged, charged) agrees with the provider's ledger;
//! - at the end every charge is in the journal or was returned, `pending()` lists every operation that may have been
//!   charged, and each that a webhook, a list or the job itself can settle is settled; no budget was exceeded.
//!
//! Not checked, because no client can see or prevent it: a transport that sends a POST twice to a server without
//! idempotency keys; two operations of different names that render one job at the same time; an undocumented status in
//! place of a render's; a user who discards an operation that was charged.
//!
//! Each rule of the client was broken once on purpose, and the simulation found it with 100 operations a seed. The seeds
//! are those of that day: the events of a seed change with the client.
//!
//! | fault put into the client | first seeds that fail |
//! | --- | --- |
//! | any failed connection is retried | 1, 2, 3 |
//! | a 500 is a refusal | 1, 4, 10 |
//! | the request leaves without a journal entry | 0, 1, 2 |
//! | the request leaves without a marker of an open operation | 0, 1, 2 |
//! | a request is sent under an operation id that is taken | 0, 2, 3 |
//! | an unknown outcome frees the id | 0, 1, 2 |
//! | no read before a render | 0, 1, 2 |
//! | the result of that read is ignored | 0, 3, 4 |
//! | a render is bound by any id in its answer | 22, 48, 60 |
//! | a render is bound by any 2xx | 0, 11, 51 |
//! | a read accepts any job in place of the requested one | 0, 7, 11 |
//! | an abort by the caller aborts the charge in flight | 1, 2, 3 |
//! | a charge is sent although its caller has aborted | 1, 2, 4 |
//! | a timeout rejects with "nothing was sent" | 0, 1, 2 |
//! | a verdict overwrites any entry | 0, 1, 2 |
//! | a verdict is not written | 0, 1, 2 |
//! | the job of a known operation is not returned | 2, 9, 15 |
//! | an answer that was cut off never yields an id | 0, 1, 5 |
//! | `settle` accepts the id of a render's job without proof | 0, 1, 2 |
//! | `settle` accepts any id, and any job of a list | 2, 5, 6 |
//! | `settle` never binds | 0, 2, 3 |
//! | `settle` deletes operations that stay unknown | 0, 1, 2 |
//! | `discard` accepts bound operations | 8, 13, 18 |
//! | a change of a running preview counts as a render | 44, 84, 89 |
//! | `pending()` omits unknown operations | 0, 1, 2 |
//! | no warning for the id of a known job | 38, 67, 77 |
//! | no warning for a late answer | 21 |
//! | a retry of a read never starts | 1, 2, 4 |
//! | a poll returns a video before the job is done | 0, 1, 2 |
//! | the budget is not checked | 14, 37, 40 |

mod checker;
mod faults;
mod users;
mod world;

use std::fmt;
use std::rc::Rc;

use custom_template_jobs::hash;

use crate::checker::Entry;
pub use crate::faults::{FAULTS, KINDS};
use crate::users::{LastCall, Returned};
use crate::world::{Sim, State};

/// The options of one seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The number of operations.
    pub operations: u64,
    /// The number of events after which the first process crashes.
    pub crash_at: Option<u64>,
    /// Whether a trace is recorded.
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
    /// Charges in the provider's ledger.
    pub charges: u64,
    /// Operations that were unknown at the end, before and after they were settled.
    pub open: [u64; 2],
    /// How often each fault occurred.
    pub struck: Vec<u64>,
    /// A hash of all calls that ended, in order.
    pub hash: u64,
}

impl Report {
    /// Adds the sums of another seed.
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

/// A broken rule.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The seed that replays it.
    pub seed: u64,
    /// The rule.
    pub rule: String,
    /// The trace, if one was recorded.
    pub trace: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {}: {}", self.seed, self.rule)
    }
}

/// Events after which a seed counts as endless.
const TOO_MANY: u64 = 5_000_000;

/// Runs one seed to its end.
///
/// # Errors
/// The first rule that was broken.
pub fn run(seed: u64, options: Options) -> Result<Report, Broken> {
    let sim = Sim::new(seed, options.trace);
    sim.state.borrow_mut().users.limit = options.operations;
    sim.world.spawn(Rc::clone(&sim).run_users());
    let mut events = 0;
    let open = if run_until_idle(&sim, &mut events, options.crash_at) { settle(&sim, &mut events) } else { [0; 2] };
    sim.close();

    let state = &mut *sim.state.borrow_mut();
    if let Some(rule) = state.checker.violation.take() {
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

/// Runs until nothing is left to do. False if a rule was broken.
fn run_until_idle(sim: &Rc<Sim>, events: &mut u64, crash_at: Option<u64>) -> bool {
    loop {
        if !sim.world.step() {
            return sim.state.borrow().checker.violation.is_none();
        }
        *events += 1;
        if crash_at == Some(*events) {
            sim.crash(0);
        }
        if *events > TOO_MANY {
            sim.violated(|| "the simulation never ends".to_owned());
        }
        if sim.state.borrow().checker.violation.is_some() {
            return false;
        }
    }
}

/// Stops all faults, settles open operations and checks the final state. Returns how many were open before and after.
fn settle(sim: &Rc<Sim>, events: &mut u64) -> [u64; 2] {
    sim.calm();
    run_until_idle(sim, events, None);
    check(sim);
    let before = open(sim);
    if let Some(Ok(Returned::Operations(listed))) = sim.last_call(LastCall::Pending) {
        let state = &mut *sim.state.borrow_mut();
        for operation in &before {
            if state.checker.may_be_charged(operation) && !listed.iter().any(|listed| listed.operation == *operation) {
                state.checker.violated(|| format!("pending() does not list {operation}, which may have been charged"));
            }
        }
        for listed in listed {
            let entry = sim.world.journal().get(&state.checker.key(&listed.operation)).map(|text| Entry::parse(&text));
            if entry.is_none_or(|entry| entry.is_ended()) {
                state.checker.violated(|| format!("pending() lists {}, which is completed", listed.operation));
            }
        }
    } else {
        sim.violated(|| "pending() fails".to_owned());
    }
    for operation in &before {
        let job = {
            let state = sim.state.borrow();
            let job = state.checker.operations.get(operation).and_then(|operation| operation.webhook.clone());
            job.filter(|job| state.checker.is_credible(operation, job))
        };
        sim.last_call(LastCall::Settle(operation, job));
    }
    run_until_idle(sim, events, None);
    let after = open(sim);
    {
        let state = &mut *sim.state.borrow_mut();
        for operation in &after {
            if state.checker.is_settleable(operation, state.lists, sim.world.journal(), &state.engine) {
                state.checker.violated(|| format!("{operation} could be settled but was not"));
            }
        }
    }
    check(sim);
    [before.len() as u64, after.len() as u64]
}

/// Checks the rules that hold whenever nothing is in flight.
fn check(sim: &Sim) {
    let State { users, checker, tabs, .. } = &mut *sim.state.borrow_mut();
    let (journal, log) = (sim.world.journal(), sim.world.log());
    users.check(checker);
    checker.check_ledger(journal);
    checker.check_answers(journal, &log);
    checker.check_warnings(&log);
    for (host, tab) in tabs.iter().enumerate().filter(|(_, tab)| tab.alive) {
        if tab.client.host().tasks() > 0 {
            checker.violated(|| format!("a task of host {host} never ends"));
        }
        if tab.client.host().is_listening() {
            checker.violated(|| format!("host {host} still has a listener although no poll is in flight"));
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
