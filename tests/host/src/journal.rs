//! A journal in memory, with planned faults.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use custom_template_jobs::host::{JournalCall, JournalReply};
use serde_json::Value;

/// A method of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `create`
    Create,
    /// `read`
    Read,
    /// `write`
    Write,
    /// `replace`
    Replace,
    /// `delete`
    Delete,
    /// `list`
    List,
}

/// A call of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The key, or the prefix of a list.
    pub key: String,
    /// The entry to write, or the entry expected to be there.
    pub entry: Option<String>,
    /// The new entry of a replace.
    pub new: Option<String>,
    /// The number of the host that calls.
    pub host: usize,
}

impl Call {
    /// A journal call of a host.
    pub fn new(call: JournalCall<'_>, host: usize) -> Self {
        let (method, key, entry, new) = match call {
            JournalCall::Create(key, entry) => (Method::Create, key, Some(entry), None),
            JournalCall::Read(key) => (Method::Read, key, None, None),
            JournalCall::Write(key, entry) => (Method::Write, key, Some(entry), None),
            JournalCall::Replace(key, old, new) => (Method::Replace, key, Some(old), Some(new)),
            JournalCall::Delete(key, entry) => (Method::Delete, key, entry, None),
            JournalCall::List(prefix) => (Method::List, prefix, None, None),
        };
        Self { method, key: key.into(), entry: entry.map(Into::into), new: new.map(Into::into), host }
    }
}

/// The behaviour of one journal call.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Milliseconds until it takes effect; infinite if it never does.
    pub before_ms: f64,
    /// Whether it takes effect.
    pub works: bool,
    /// Whether it throws afterwards.
    pub throws: bool,
    /// Milliseconds from then until it returns; infinite if it never does.
    pub after_ms: f64,
}

impl Plan {
    /// Takes effect and returns at once.
    pub const USUAL: Self = Self { before_ms: 0.0, works: true, throws: false, after_ms: 0.0 };
    /// Has no effect and throws.
    pub const THROWS: Self = Self { works: false, throws: true, ..Self::USUAL };
    /// Has no effect and never returns.
    pub const HANGS: Self = Self { before_ms: f64::INFINITY, ..Self::USUAL };
    /// Takes effect and throws.
    pub const WORKS_AND_THROWS: Self = Self { throws: true, ..Self::USUAL };
    /// Takes effect and never returns: the acknowledgement is lost.
    pub const WORKS_AND_HANGS: Self = Self { after_ms: f64::INFINITY, ..Self::USUAL };

    /// Takes effect at once and returns after some milliseconds.
    pub const fn answers_after(ms: f64) -> Self {
        Self { after_ms: ms, ..Self::USUAL }
    }

    /// Takes effect and returns after some milliseconds.
    pub const fn works_after(ms: f64) -> Self {
        Self { before_ms: ms, ..Self::USUAL }
    }
}

type Planner = Rc<RefCell<dyn FnMut(&Call) -> Plan>>;
type Witness = Rc<RefCell<dyn FnMut(&Call, Option<&str>, JournalReply) -> JournalReply>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    OfKeys,
    OfWriting,
}

/// A journal. It outlives the processes that use it.
pub struct Journal {
    /// Entries, each with the number of its write.
    entries: RefCell<BTreeMap<String, (u64, String)>>,
    order: Order,
    planner: RefCell<Planner>,
    witness: RefCell<Option<Witness>>,
    calls: RefCell<Vec<Call>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journal").field("entries", &self.entries.borrow()).finish_non_exhaustive()
    }
}

impl Journal {
    fn of(order: Order) -> Rc<Self> {
        Rc::new(Self {
            entries: RefCell::default(),
            order,
            planner: RefCell::new(Rc::new(RefCell::new(|_: &Call| Plan::USUAL))),
            witness: RefCell::default(),
            calls: RefCell::default(),
        })
    }

    /// An empty journal that lists its keys in sorted order, as `IndexedDB` does.
    pub fn new() -> Rc<Self> {
        Self::of(Order::OfKeys)
    }

    /// An empty journal that lists its keys in order of writing, as the memory journal does.
    pub fn in_memory() -> Rc<Self> {
        Self::of(Order::OfWriting)
    }

    /// Plans each call by a function.
    pub fn plan(&self, planner: impl FnMut(&Call) -> Plan + 'static) {
        *self.planner.borrow_mut() = Rc::new(RefCell::new(planner));
    }

    /// Plans all calls alike.
    pub fn plan_all(&self, plan: Plan) {
        self.plan(move |_| plan.clone());
    }

    /// Plans the calls of one method; the others work.
    pub fn plan_method(&self, method: Method, plan: Plan) {
        self.plan(move |call| if call.method == method { plan.clone() } else { Plan::USUAL });
    }

    pub(crate) fn begin(&self, call: &Call) -> Plan {
        self.calls.borrow_mut().push(call.clone());
        let planner = Rc::clone(&self.planner.borrow());
        let mut planner = planner.borrow_mut();
        planner(call)
    }

    /// Sets a function that sees each call that took effect, with the former entry, and may replace its result.
    pub fn witness(&self, witness: impl FnMut(&Call, Option<&str>, JournalReply) -> JournalReply + 'static) {
        *self.witness.borrow_mut() = Some(Rc::new(RefCell::new(witness)));
    }

    /// Removes the plan and the witness, so that every call works.
    pub fn calm(&self) {
        self.plan_all(Plan::USUAL);
        self.witness.take();
    }

    pub(crate) fn apply(&self, call: &Call) -> JournalReply {
        let before = self.get(&call.key);
        let reply = self.carry_out(call);
        match self.witness.borrow().clone() {
            Some(witness) => (witness.borrow_mut())(call, before.as_deref(), reply),
            None => reply,
        }
    }

    /// Carries out a call.
    fn carry_out(&self, call: &Call) -> JournalReply {
        let mut entries = self.entries.borrow_mut();
        let found = entries.get(&call.key).cloned();
        let next = self.calls.borrow().len() as u64;
        let order = found.as_ref().map_or(next, |(order, _)| *order);
        let found = found.map(|(_, entry)| entry);
        let entry = call.entry.clone().unwrap_or_default();
        let done = match call.method {
            Method::Create => {
                let free = found.is_none();
                if free {
                    entries.insert(call.key.clone(), (order, entry));
                }
                free
            }
            Method::Read => return JournalReply::Entry(found),
            Method::Write => {
                entries.insert(call.key.clone(), (order, entry));
                true
            }
            Method::Replace => {
                let same = found.as_ref() == call.entry.as_ref();
                if same {
                    entries.insert(call.key.clone(), (order, call.new.clone().unwrap_or_default()));
                }
                same
            }
            Method::Delete => {
                let same = found.is_some() && (call.entry.is_none() || found == call.entry);
                if same {
                    entries.remove(&call.key);
                }
                same
            }
            Method::List => {
                let mut keys: Vec<(u64, String)> = entries
                    .range(call.key.clone()..)
                    .take_while(|(key, _)| key.starts_with(&call.key))
                    .map(|(key, (order, _))| (*order, key.clone()))
                    .collect();
                if self.order == Order::OfWriting {
                    keys.sort();
                }
                return JournalReply::Keys(keys.into_iter().map(|(_, key)| key).collect());
            }
        };
        JournalReply::Done(done)
    }

    /// The value that a faulty call throws.
    pub fn thrown() -> Value {
        "the journal is broken".into()
    }

    /// The log of calls.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// The number of calls.
    pub fn call_count(&self) -> usize {
        self.calls.borrow().len()
    }

    /// All keys and entries, by key.
    pub fn entries(&self) -> Vec<(String, String)> {
        self.entries.borrow().iter().map(|(key, (_, entry))| (key.clone(), entry.clone())).collect()
    }

    /// The entries of operations by their ids, in any namespace.
    pub fn operations(&self) -> Vec<(String, Value)> {
        let of = |key: &str| {
            let (namespace, operation) = key.split_once('/')?;
            (!namespace.contains(':')).then(|| operation.to_owned())
        };
        let entries = self.entries();
        entries.iter().filter_map(|(key, entry)| Some((of(key)?, serde_json::from_str(entry).unwrap_or_default()))).collect()
    }

    /// The keys and entries of a kind: `open`, `ended`, `budget`, `took`.
    pub fn marks(&self, kind: &str) -> Vec<(String, String)> {
        let is_it = |key: &str| key.split_once(':').is_some_and(|(_, rest)| rest.starts_with(&format!("{kind}/")));
        self.entries().into_iter().filter(|(key, _)| is_it(key)).collect()
    }

    /// The entry under a key.
    pub fn get(&self, key: &str) -> Option<String> {
        self.entries.borrow().get(key).map(|(_, entry)| entry.clone())
    }

    /// Writes an entry from outside of the client.
    pub fn put(&self, key: &str, entry: &str) {
        let order = self.calls.borrow().len() as u64;
        self.entries.borrow_mut().insert(key.into(), (order, entry.into()));
    }

    /// Deletes an entry from outside of the client.
    pub fn remove(&self, key: &str) {
        self.entries.borrow_mut().remove(key);
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }
}
