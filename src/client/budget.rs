//! Budgets: the credits that are reserved for charges, and the credits that were spent.

use super::{Client, Config};
use crate::api;
use crate::charge::Entry;
use crate::credits;
use crate::error::{Error, ErrorKind};
use crate::host::{Host, JournalCall, Store};

impl<H: Host> Client<H> {
    /// Reserves credits. Returns the journal key of the reservation.
    ///
    /// It is written first and summed afterwards, so that of two reservations that together exceed the limit, at least one
    /// sees the other. The memory of this process lists keys in the order of writing, so there the first one passes;
    /// elsewhere both may be refused.
    pub(super) async fn reserve(&self, operation: &str, owner: &str, estimate: f64) -> Result<String, Error<H::Value>> {
        let store = self.budget_store();
        let prefix = self.budget_prefix();
        let milli = credits::millicredits(estimate);
        let key = format!("{prefix}{operation}={milli}");
        // Another attempt of the operation may hold the key. The attempt that creates the entry takes it over.
        let created = self.journal(store, JournalCall::Create(&key, owner)).await;
        let sum = async {
            created?;
            let mut sum = 0;
            for other in self.list(store, &prefix).await? {
                if other != key {
                    sum += other.rsplit_once('=').and_then(|(_, milli)| milli.parse::<u64>().ok()).unwrap_or(0);
                } else if store == Store::Process {
                    break;
                }
            }
            Ok(sum)
        };
        let spent: Result<u64, Error<H::Value>> = sum.await;
        let limit = self.config().max_credits.map_or(u64::MAX, |limit| (limit * 1_000.0 + 1e-6) as u64);
        let remaining = spent.map(|spent| limit.saturating_sub(spent));
        if remaining.as_ref().is_ok_and(|remaining| milli <= *remaining) {
            return Ok(key);
        }
        let _ = self.journal(store, JournalCall::Delete(&key, Some(owner))).await;
        let remaining = credits::credits(remaining?);
        let message = "This call would exceed maxCredits; nothing was sent.";
        Err(Error::new(ErrorKind::BudgetExceeded { estimate, remaining }, message))
    }

    /// Takes over the reservation of an operation once its entry is written. Only the owner releases it.
    pub(super) async fn hold(&self, entry: &Entry) -> Result<(), Error<H::Value>> {
        if let Some(key) = &entry.budget {
            self.journal(self.budget_store(), JournalCall::Write(key, &entry.owner)).await?;
        }
        Ok(())
    }

    /// Releases the reservation of an operation, unless another attempt has taken it over.
    pub(super) async fn release(&self, entry: &Entry) {
        if let Some(key) = &entry.budget {
            let _ = self.journal(self.budget_store(), JournalCall::Delete(key, Some(&entry.owner))).await;
        }
    }

    /// Replaces the reservation of an operation by its cost.
    pub(super) async fn spend(&self, reserved: &str, used: f64) {
        let Some((start, _)) = reserved.rsplit_once('=') else { return };
        let spent = format!("{start}={}", credits::millicredits(used));
        if spent == reserved {
            return;
        }
        let store = self.budget_store();
        if self.journal(store, JournalCall::Write(&spent, "spent")).await.is_ok() {
            let _ = self.journal(store, JournalCall::Delete(reserved, None)).await;
        }
    }

    pub(super) fn budget_store(&self) -> Store {
        if self.config().budget_key.is_some() { Store::Configured } else { Store::Process }
    }

    fn budget_prefix(&self) -> String {
        let Config { budget_key, budget_period, .. } = self.config();
        // Encoded, so that no key is a prefix of another.
        let key = api::percent_encode(budget_key.as_deref().unwrap_or_default());
        let period = budget_period.map_or_else(|| "all".into(), |period| period.of(self.host().wall()));
        self.budget_key(&format!("{period}/{key}/"))
    }

    /// A journal key of the budgets.
    pub(super) fn budget_key(&self, rest: &str) -> String {
        format!("{}:budget/{rest}", self.config().namespace)
    }
}
