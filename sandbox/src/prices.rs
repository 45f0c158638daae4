//! Prices of the charging calls.

use crate::validate::ModelVersion;

/// A call that charges credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The whole video in one call.
    Submit,
    /// A preview, by the blocking or the asynchronous call.
    Preview,
    /// The video of a job whose preview is done.
    Render,
}

impl Step {
    /// The name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Preview => "preview",
            Self::Render => "render",
        }
    }
}

/// The published price lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Prices {
    /// The list before May 2026: the aurora models cost 20 and 10 credits per started 15 seconds.
    #[default]
    Seed,
    /// The list of May 2026: the aurora models cost 1 and 0.5 credits per started second.
    PerSecond,
}

impl Prices {
    /// The price in credits of one step for a video of `seconds`.
    pub fn of(self, step: Step, model: ModelVersion, seconds: f64) -> f64 {
        // documented: submit 5, preview 1 and render 4 credits for every 30 seconds.
        // assumed: blocks of 30 seconds round up. The documentation does not say how they round.
        let blocks = |length: f64| (seconds / length).ceil().max(1.0);
        let standard = |rate: f64| rate * blocks(30.0);
        // documented: the prices of the aurora models. Since May 2026 partial seconds round up.
        // assumed: the price of the model replaces the price of submit and of render. A preview costs the same with every
        // model.
        match (step, model, self) {
            (Step::Preview, _, _) => standard(1.0),
            (Step::Submit, ModelVersion::Standard, _) => standard(5.0),
            (Step::Render, ModelVersion::Standard, _) => standard(4.0),
            (_, ModelVersion::AuroraV1, Self::Seed) => 20.0 * blocks(15.0),
            (_, ModelVersion::AuroraV1Fast, Self::Seed) => 10.0 * blocks(15.0),
            (_, ModelVersion::AuroraV1, Self::PerSecond) => blocks(1.0),
            (_, ModelVersion::AuroraV1Fast, Self::PerSecond) => 0.5 * blocks(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ModelVersion::{AuroraV1, AuroraV1Fast, Standard};

    #[test]
    fn both_price_lists_charge_per_started_block() {
        let rows = [
            (Prices::Seed, Step::Submit, Standard, 6.0, 5.0),
            (Prices::Seed, Step::Submit, Standard, 30.0, 5.0),
            (Prices::Seed, Step::Submit, Standard, 31.0, 10.0),
            (Prices::Seed, Step::Preview, Standard, 45.0, 2.0),
            (Prices::Seed, Step::Preview, AuroraV1, 15.0, 1.0),
            (Prices::Seed, Step::Render, Standard, 45.0, 8.0),
            (Prices::Seed, Step::Submit, AuroraV1, 15.0, 20.0),
            (Prices::Seed, Step::Submit, AuroraV1, 16.0, 40.0),
            (Prices::Seed, Step::Submit, AuroraV1Fast, 16.0, 20.0),
            (Prices::Seed, Step::Render, AuroraV1Fast, 30.0, 20.0),
            (Prices::PerSecond, Step::Submit, Standard, 45.0, 10.0),
            (Prices::PerSecond, Step::Preview, AuroraV1Fast, 45.0, 2.0),
            (Prices::PerSecond, Step::Submit, AuroraV1, 10.4, 11.0),
            (Prices::PerSecond, Step::Submit, AuroraV1Fast, 10.4, 5.5),
            (Prices::PerSecond, Step::Render, AuroraV1, 30.0, 30.0),
        ];
        for (prices, step, model, seconds, credits) in rows {
            let price = prices.of(step, model, seconds);
            assert!((price - credits).abs() < 1e-9, "{prices:?} {step:?} {model:?} {seconds} s: {price}, not {credits}");
        }
    }
}
