//! What a call costs: the price table, the estimate before a charge, and the budget that a client may not pass.

use crate::api::{ModelVersion, Step};
use crate::error::{Failure, refuse};
use crate::value::{Kept, Value};

/// Credits for every started block of video.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Credits a block.
    pub credits: f64,
    /// Seconds a block.
    pub seconds: f64,
}

impl Price {
    const fn new(credits: f64, seconds: f64) -> Self {
        Self { credits, seconds }
    }

    /// For `seconds` of video; a started block is paid whole, and so is the first of an empty video.
    pub fn of(self, seconds: f64) -> f64 {
        (seconds / self.seconds).ceil().max(1.0) * self.credits
    }
}

/// What each step costs with each model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceTable {
    /// Any preview, whatever the model (assumed: no page says how they combine).
    pub preview: Price,
    /// `submit` with the standard model.
    pub submit: Price,
    /// `render` with the standard model.
    pub render: Price,
    /// `submit` or `render` with `aurora_v1`.
    pub aurora_v1: Price,
    /// `submit` or `render` with `aurora_v1_fast`.
    pub aurora_v1_fast: Price,
}

impl PriceTable {
    /// The provider's pages before May 2026: blocks of 30 and 15 seconds.
    pub const SEED: Self = Self {
        preview: Price::new(1.0, 30.0),
        submit: Price::new(5.0, 30.0),
        render: Price::new(4.0, 30.0),
        aurora_v1: Price::new(20.0, 15.0),
        aurora_v1_fast: Price::new(10.0, 15.0),
    };

    /// Since May 2026: the Aurora models by the started second.
    pub const PER_SECOND: Self =
        Self { aurora_v1: Price::new(1.0, 1.0), aurora_v1_fast: Price::new(0.5, 1.0), ..Self::SEED };

    /// What a step is expected to cost, in credits.
    ///
    /// # Errors
    /// `InvalidRequestError{field: "seconds"}` where the length is not a positive number.
    pub fn estimate<V: Value>(&self, step: Step, seconds: f64, model: ModelVersion) -> Result<f64, Failure<V>> {
        if !(seconds > 0.0 && seconds <= 86_400.0) {
            return Err(refuse("seconds", "must be the length of the video, more than 0 and at most 86400"));
        }
        let price = match (step, model) {
            (Step::Preview, _) => self.preview,
            (Step::Submit, ModelVersion::Standard) => self.submit,
            (Step::Render, ModelVersion::Standard) => self.render,
            (_, ModelVersion::AuroraV1) => self.aurora_v1,
            (_, ModelVersion::AuroraV1Fast) => self.aurora_v1_fast,
        };
        Ok(price.of(seconds))
    }
}

/// What a client may spend. A charge reserves its estimate before it is sent, so that parallel calls
/// cannot pass the limit together; a refusal gives it back, and the job's `credits_used` corrects it.
#[derive(Clone, Debug)]
pub struct Budget<V: Value> {
    left: f64,
    /// What is set aside, by operation.
    reserved: Vec<(Kept<V>, f64)>,
}

impl<V: Value> Budget<V> {
    /// Of `limit` credits.
    pub const fn new(limit: f64) -> Self {
        Self { left: limit, reserved: Vec::new() }
    }

    /// What is left, in credits.
    pub const fn remaining(&self) -> f64 {
        self.left.max(0.0)
    }

    /// Sets `credits` aside for an operation.
    ///
    /// # Errors
    /// `BudgetExceededError` where less is left.
    pub fn reserve(&mut self, operation: V, credits: f64) -> Result<(), Failure<V>> {
        check(credits, self.remaining())?;
        self.left -= credits;
        self.reserved.push((operation.into(), credits));
        Ok(())
    }

    /// Corrects what an operation cost once that is known; 0 gives it all back.
    pub fn settle(&mut self, operation: V, credits: f64) {
        if let Some(at) = self.reserved.iter().position(|(reserved, _)| **reserved == operation) {
            self.left += self.reserved.swap_remove(at).1 - credits;
        }
    }
}

/// Whether `credits` may still be spent.
///
/// # Errors
/// `BudgetExceededError` where less remains.
pub fn check<V: Value>(credits: f64, remaining: f64) -> Result<(), Failure<V>> {
    if credits <= remaining {
        return Ok(());
    }
    let message = "This call would pass maxCredits; nothing was sent. Raise maxCredits, or start a new client or budgetKey.";
    Err(Failure::told("BudgetExceededError", message)
        .with("estimate", V::number(credits))
        .with("remaining", V::number(remaining)))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::testing::{Value as Json, value};
    use ModelVersion::{AuroraV1, AuroraV1Fast, Standard};
    use Step::{Preview, Render, Submit};

    #[test]
    fn a_started_block_is_paid_whole() {
        let seed = PriceTable::SEED;
        for (step, seconds, model, credits) in [
            (Submit, 3.0, Standard, 5.0),
            (Submit, 30.0, Standard, 5.0),
            (Submit, 30.1, Standard, 10.0),
            (Preview, 31.0, Standard, 2.0),
            (Preview, 31.0, AuroraV1, 2.0),
            (Render, 60.0, Standard, 8.0),
            (Submit, 16.0, AuroraV1Fast, 20.0),
            (Render, 15.0, AuroraV1, 20.0),
        ] {
            assert_eq!(seed.estimate::<Json>(step, seconds, model), Ok(credits), "{step:?} {seconds} {model:?}");
        }
        assert_eq!(PriceTable::PER_SECOND.estimate::<Json>(Submit, 10.4, AuroraV1), Ok(11.0));
        assert_eq!(PriceTable::PER_SECOND.estimate::<Json>(Submit, 10.4, AuroraV1Fast), Ok(5.5));
        assert_eq!(PriceTable::PER_SECOND.estimate::<Json>(Submit, 10.4, Standard), Ok(5.0));
    }

    #[test]
    fn a_length_that_is_none_is_refused() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let failure = PriceTable::SEED.estimate::<Json>(Submit, seconds, Standard).unwrap_err();
            assert_eq!(failure.own().get("field"), "seconds");
        }
    }

    #[test]
    fn reservations_together_never_pass_the_limit() {
        let mut budget = Budget::new(10.0);
        let [a, b, c] = ["a", "b", "c"].map(value);
        assert!(budget.reserve(a, 5.0).is_ok());
        assert!(budget.reserve(b, 5.0).is_ok());
        let failure = budget.reserve(c, 1.0).unwrap_err();
        assert_eq!((failure.get("estimate"), failure.get("remaining")), (value(1.0), value(0.0)));
        budget.settle(a, 0.0);
        assert!(budget.reserve(c, 5.0).is_ok(), "a refused charge gives its credits back");
        budget.settle(b, 7.0);
        assert!(budget.remaining() <= 0.0, "what was really charged counts, even above the estimate");
    }

    #[test]
    fn a_charge_that_is_settled_gives_back_its_own_credits_and_no_others() {
        let mut budget = Budget::new(10.0);
        let [a, b, c] = ["a", "b", "c"].map(value);
        for (operation, credits) in [(a, 1.0), (b, 4.0), (c, 2.0)] {
            assert!(budget.reserve(operation, credits).is_ok());
        }
        budget.settle(b, 0.0);
        assert_eq!(budget.remaining(), 7.0);
        budget.settle(b, 0.0);
        budget.settle(value("d"), 0.0);
        assert_eq!(budget.remaining(), 7.0, "what is settled or was never set aside gives nothing");
        budget.settle(c, 1.5);
        assert_eq!(budget.remaining(), 7.5, "what was used is spent");
    }
}
