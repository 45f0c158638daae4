//! The price table, and the estimate before a charge.

use crate::api::{ModelVersion, Step};
use crate::error::Refusal;

/// The longest video that is estimated, in seconds.
const LONGEST: f64 = 86_400.0;

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

    /// For `seconds` of video; a started block is paid whole, and so is the first one of an empty video.
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
    /// The provider's prices before May 2026: blocks of 30 and 15 seconds.
    pub const PER_BLOCK: Self = Self {
        preview: Price::new(1.0, 30.0),
        submit: Price::new(5.0, 30.0),
        render: Price::new(4.0, 30.0),
        aurora_v1: Price::new(20.0, 15.0),
        aurora_v1_fast: Price::new(10.0, 15.0),
    };

    /// The provider's prices since May 2026: the Aurora models by the started second.
    pub const PER_SECOND: Self =
        Self { aurora_v1: Price::new(1.0, 1.0), aurora_v1_fast: Price::new(0.5, 1.0), ..Self::PER_BLOCK };

    /// What a step is expected to cost, in credits.
    ///
    /// # Errors
    /// A refusal of `seconds` where the length is not a positive number.
    pub fn estimate(&self, step: Step, seconds: f64, model: ModelVersion) -> Result<f64, Refusal> {
        if !(seconds > 0.0 && seconds <= LONGEST) {
            return Err(Refusal::new("seconds", "must be the length of the video, more than 0 and at most 86400"));
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

/// Thousandths of a credit, rounded up: the journal sums whole numbers.
pub fn millicredits(credits: f64) -> u64 {
    // `as` turns NaN and what is below 0 into 0.
    (credits * 1_000.0 - 1e-6).ceil() as u64
}

/// Credits of so many thousandths.
pub fn credits(millicredits: u64) -> f64 {
    millicredits as f64 / 1_000.0
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use ModelVersion::{AuroraV1, AuroraV1Fast, Standard};
    use Step::{Preview, Render, Submit};

    #[test]
    fn a_started_block_is_paid_whole() {
        let per_block = PriceTable::PER_BLOCK;
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
            assert_eq!(per_block.estimate(step, seconds, model), Ok(credits), "{step:?} {seconds} {model:?}");
        }
        assert_eq!(PriceTable::PER_SECOND.estimate(Submit, 10.4, AuroraV1), Ok(11.0));
        assert_eq!(PriceTable::PER_SECOND.estimate(Submit, 10.4, AuroraV1Fast), Ok(5.5));
        assert_eq!(PriceTable::PER_SECOND.estimate(Submit, 10.4, Standard), Ok(5.0));
    }

    #[test]
    fn a_length_that_is_none_is_refused() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 86_401.0] {
            let refusal = PriceTable::PER_BLOCK.estimate(Submit, seconds, Standard).unwrap_err();
            assert_eq!(refusal.field, "seconds");
        }
    }

    #[test]
    fn thousandths_are_rounded_up_and_what_is_a_thousandth_stays_one() {
        for (amount, thousandths) in [(5.0, 5_000), (0.5, 500), (0.1, 100), (0.3, 300), (0.000_1, 1), (0.0, 0)] {
            assert_eq!(millicredits(amount), thousandths, "{amount}");
        }
        assert_eq!(millicredits(f64::NAN), 0);
        assert_eq!(credits(5_500), 5.5);
    }
}
