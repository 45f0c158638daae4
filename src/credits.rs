//! The price table, and the estimate before a charge.

use crate::api::Step;
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

    /// The price of `seconds` of video. Every started block is paid in full, at least one.
    pub fn of(self, seconds: f64) -> f64 {
        (seconds / self.seconds).ceil().max(1.0) * self.credits
    }
}

/// What each step costs with each model.
#[derive(Clone, Debug, PartialEq)]
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
    /// `submit` or `render` with models that this version does not know, by their names.
    pub others: Vec<(String, Price)>,
}

impl PriceTable {
    /// The provider's prices before May 2026: blocks of 30 and 15 seconds.
    pub const PER_BLOCK: Self = Self::new(Price::new(20.0, 15.0), Price::new(10.0, 15.0));

    /// The provider's prices since May 2026: the Aurora models by the started second.
    pub const PER_SECOND: Self = Self::new(Price::new(1.0, 1.0), Price::new(0.5, 1.0));

    const fn new(aurora_v1: Price, aurora_v1_fast: Price) -> Self {
        Self {
            preview: Price::new(1.0, 30.0),
            submit: Price::new(5.0, 30.0),
            render: Price::new(4.0, 30.0),
            aurora_v1,
            aurora_v1_fast,
            others: Vec::new(),
        }
    }

    /// Estimates the cost of a step with a model, in credits.
    ///
    /// # Errors
    /// A refusal of `seconds` where the length is not a positive number, or of `model_version` where it has no price.
    pub fn estimate(&self, step: Step, seconds: f64, model: &str) -> Result<f64, Refusal> {
        check_seconds(seconds)?;
        let price = match model {
            "standard" if step == Step::Submit => self.submit,
            "standard" => self.render,
            "aurora_v1" => self.aurora_v1,
            "aurora_v1_fast" => self.aurora_v1_fast,
            _ => match self.others.iter().find(|(name, _)| name == model) {
                Some((_, price)) => *price,
                None => return Err(Refusal::new("model_version", "has no price; add it to the option prices")),
            },
        };
        Ok(if step == Step::Preview { self.preview } else { price }.of(seconds))
    }
}

/// Checks the length of a video.
///
/// # Errors
/// A refusal of `seconds`.
pub fn check_seconds(seconds: f64) -> Result<(), Refusal> {
    if seconds > 0.0 && seconds <= LONGEST {
        return Ok(());
    }
    Err(Refusal::new("seconds", "must be the length of the video, more than 0 and at most 86400"))
}

/// When a budget starts again at 0, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetPeriod {
    /// At midnight.
    Day,
    /// At midnight before the first day of a month.
    Month,
}

impl BudgetPeriod {
    /// The name of the period that a time is in: `2026-11-28` or `2026-11`. `wall` is in milliseconds since 1970.
    pub fn of(self, wall: f64) -> String {
        // Years are counted from March, so that the day of leap years is their last one: H. Hinnant, "chrono-compatible
        // low-level date algorithms", `civil_from_days`.
        let days = (wall / 86_400_000.0) as u64 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        let year = era * 400 + year + u64::from(month < 3);
        match self {
            Self::Day => format!("{year}-{month:02}-{day:02}"),
            Self::Month => format!("{year}-{month:02}"),
        }
    }
}

/// Credits in thousandths, rounded up: the journal sums whole numbers.
pub fn millicredits(credits: f64) -> u64 {
    // `as` converts NaN and negative numbers to 0.
    (credits * 1_000.0 - 1e-6).ceil() as u64
}

/// Thousandths in credits.
pub fn credits(millicredits: u64) -> f64 {
    millicredits as f64 / 1_000.0
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use Step::{Preview, Render, Submit};

    #[test]
    fn a_started_block_is_paid_whole() {
        let per_block = PriceTable::PER_BLOCK;
        for (step, seconds, model, credits) in [
            (Submit, 3.0, "standard", 5.0),
            (Submit, 30.0, "standard", 5.0),
            (Submit, 30.1, "standard", 10.0),
            (Preview, 31.0, "standard", 2.0),
            (Preview, 31.0, "aurora_v1", 2.0),
            (Render, 60.0, "standard", 8.0),
            (Submit, 16.0, "aurora_v1_fast", 20.0),
            (Render, 15.0, "aurora_v1", 20.0),
        ] {
            assert_eq!(per_block.estimate(step, seconds, model), Ok(credits), "{step:?} {seconds} {model}");
        }
        assert_eq!(PriceTable::PER_SECOND.estimate(Submit, 10.4, "aurora_v1"), Ok(11.0));
        assert_eq!(PriceTable::PER_SECOND.estimate(Submit, 10.4, "aurora_v1_fast"), Ok(5.5));
        assert_eq!(PriceTable::PER_SECOND.estimate(Submit, 10.4, "standard"), Ok(5.0));
    }

    #[test]
    fn a_length_that_is_none_is_refused() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 86_401.0] {
            let refusal = PriceTable::PER_BLOCK.estimate(Submit, seconds, "standard").unwrap_err();
            assert_eq!(refusal.field, "seconds");
        }
    }

    #[test]
    fn a_model_that_is_not_known_costs_what_the_table_says_or_is_refused() {
        let table = PriceTable { others: vec![("aurora_v2".into(), Price::new(3.0, 1.0))], ..PriceTable::PER_BLOCK };
        assert_eq!(table.estimate(Submit, 10.0, "aurora_v2"), Ok(30.0));
        assert_eq!(table.estimate(Render, 10.0, "aurora_v2"), Ok(30.0));
        assert_eq!(table.estimate(Preview, 10.0, "aurora_v2"), Ok(1.0));
        for step in [Submit, Preview, Render] {
            assert_eq!(table.estimate(step, 10.0, "aurora_v3").unwrap_err().field, "model_version");
        }
    }

    #[test]
    fn periods_are_those_of_the_calendar() {
        let day = 86_400_000.0;
        for (wall, name) in [
            (0.0, "1970-01-01"),
            (58.0 * day, "1970-02-28"),
            (59.0 * day, "1970-03-01"),
            (951_782_399_999.0, "2000-02-28"),
            (951_782_400_000.0, "2000-02-29"),
            (951_868_800_000.0, "2000-03-01"),
            (1_709_164_800_000.0, "2024-02-29"),
            (1_798_761_599_999.0, "2026-12-31"),
            (1_798_761_600_000.0, "2027-01-01"),
            (4_107_542_400_000.0, "2100-03-01"),
            (4_107_542_399_999.0, "2100-02-28"),
        ] {
            assert_eq!(BudgetPeriod::Day.of(wall), name);
            assert_eq!(BudgetPeriod::Month.of(wall), name.rsplit_once('-').unwrap().0);
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
