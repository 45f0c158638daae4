//! A journal in memory, with faults.

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
    /// The entry that is written, or that must be there.
    pub entry: Option<String>,
    /// What replaces it.
    pub new: Option<String>,
    /// The number of the host that calls.
    pub host: usize,
}

impl Call {
    /// The call of a host.
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

/// What a journal does with a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Milliseconds until it acts; infinite where it never does.
    pub before_ms: f64,
    /// Whether it does what was asked.
    pub works: bool,
    /// Whether it throws then.
    pub throws: bool,
    /// Milliseconds from then on until it answers; infinite where it never does.
    pub after_ms: f64,
}

impl Plan {
    /// It does what was asked at once, and says so.
    pub const USUAL: Self = Self { before_ms: 0.0, works: true, throws: false, after_ms: 0.0 };
    /// It does nothing and throws.
    pub const THROWS: Self = Self { works: false, throws: true, ..Self::USUAL };
    /// It does nothing and never answers.
    pub const HANGS: Self = Self { before_ms: f64::INFINITY, ..Self::USUAL };
    /// It does what was asked and throws.
    pub const WORKS_AND_THROWS: Self = Self { throws: true, ..Self::USUAL };
    /// It does what was asked and never answers: the acknowledgement is lost.
    pub const WORKS_AND_HANGS: Self = Self { after_ms: f64::INFINITY, ..Self::USUAL };

    /// It does what was asked at once, and answers after so many milliseconds.
    pub const fn answers_after(ms: f64) -> Self {
        Self { after_ms: ms, ..Self::USUAL }
    }

    /// It does what was asked after so many milliseconds, and says so then.
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
    /// Entries, with the number of their writing.
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

    /// An empty journal that lists its keys in their own order, as `IndexedDB` does.
    pub fn new() -> Rc<Self> {
        Self::of(Order::OfKeys)
    }

    /// An empty journal that lists its keys in the order of their writing, as the memory of a process does.
    pub fn in_memory() -> Rc<Self> {
        Self::of(Order::OfWriting)
    }

    /// From now on, a function decides what becomes of each call.
    pub fn plan(&self, planner: impl FnMut(&Call) -> Plan + 'static) {
        *self.planner.borrow_mut() = Rc::new(RefCell::new(planner));
    }

    /// From now on, the same becomes of every call.
    pub fn plan_all(&self, plan: Plan) {
        self.plan(move |_| plan.clone());
    }

    /// From now on, this becomes of the calls of a method, and the others are as usual.
    pub fn plan_method(&self, method: Method, plan: Plan) {
        self.plan(move |call| if call.method == method { plan.clone() } else { Plan::USUAL });
    }

    pub(crate) fn begin(&self, call: &Call) -> Plan {
        self.calls.borrow_mut().push(call.clone());
        let planner = Rc::clone(&self.planner.borrow());
        let mut planner = planner.borrow_mut();
        planner(call)
    }

    /// From now on, a function sees each call that was carried out, with the entry that was there before, and may answer
    /// something else in place of the truth.
    pub fn witness(&self, witness: impl FnMut(&Call, Option<&str>, JournalReply) -> JournalReply + 'static) {
        *self.witness.borrow_mut() = Some(Rc::new(RefCell::new(witness)));
    }

    /// From now on, every call works, and nobody sees it.
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

    /// Does what a call asks for.
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

    /// What it throws.
    pub fn thrown() -> Value {
        "the journal is broken".into()
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// How often it was called.
    pub fn call_count(&self) -> usize {
        self.calls.borrow().len()
    }

    /// Its keys and entries, by key.
    pub fn entries(&self) -> Vec<(String, String)> {
        self.entries.borrow().iter().map(|(key, (_, entry))| (key.clone(), entry.clone())).collect()
    }

    /// The entries of operations, by their ids, whatever the namespace.
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

    /// Somebody else writes an entry.
    pub fn put(&self, key: &str, entry: &str) {
        let order = self.calls.borrow().len() as u64;
        self.entries.borrow_mut().insert(key.into(), (order, entry.into()));
    }

    /// Somebody else deletes an entry.
    pub fn remove(&self, key: &str) {
        self.entries.borrow_mut().remove(key);
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }
}
