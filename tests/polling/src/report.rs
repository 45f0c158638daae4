//! What was found, as JSON for the bench's report.

use serde_json::{Value, json};

use crate::judge::{Found, Listed, Verdict};
use crate::rules::Cost;

fn figures(cost: &Cost) -> Value {
    json!({ "requests": cost.requests, "lagSeconds": cost.lag })
}

/// Every world, the verdict, and the jobs that the real clients wait for.
pub fn json(found: &[Found], verdict: &Verdict, side: &Value) -> Value {
    let world = |found: &Found| {
        let others: Vec<Value> =
            found.others.iter().map(|(name, cost)| json!({ "name": name, "found": figures(cost) })).collect();
        json!({
            "seed": found.world.seed,
            "world": found.world.describe(),
            "lengthSeconds": found.length,
            "ours": figures(&found.ours),
            "watched": figures(&found.watched),
            "low": figures(&found.low),
            "high": figures(&found.high),
            "baseline": figures(&found.baseline),
            "others": others,
        })
    };
    let listed = |listed: &[Listed]| -> Vec<Value> {
        listed.iter().map(|Listed { reason, line }| json!({ "reason": reason, "world": line })).collect()
    };
    json!({
        "ours": figures(&verdict.ours),
        "watched": figures(&verdict.watched),
        "low": figures(&verdict.low),
        "high": figures(&verdict.high),
        "baseline": figures(&verdict.baseline),
        "fixedLagSeconds": verdict.fixed_lag,
        "missed": listed(&verdict.missed),
        "beaten": listed(&verdict.beaten),
        "worlds": found.iter().map(world).collect::<Vec<_>>(),
        "side": side,
    })
}
