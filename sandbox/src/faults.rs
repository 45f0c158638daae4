//! Fault rules: the body of `PUT /__sandbox/faults`.
//!
//! A rule is `{"on": CALL, "kind": KIND, ...}`. `on` is one of `submit`, `preview`, `preview_async`, `render`, `get`,
//! `templates`, `credits` or `*`. For each part of an answer (the job, the delay, the answer itself), the first rule that
//! applies is used. Every rule may have `after` (the number of matching requests that pass first), `times` (how often
//! the rule is applied; always by default), `probability` (0 to 1, drawn from the seed), and `from_seconds` and
//! `until_seconds` (a window on the sandbox's clock, in seconds since the rules were set).
//!
//! | kind | effect | fields of the kind |
//! | --- | --- | --- |
//! | `drop_before_commit` | the call has no effect; the connection closes without an answer | `reset` |
//! | `drop_after_commit` | the call takes effect; the connection closes without an answer | `reset` |
//! | `status_before_commit` | the call has no effect; the answer is `status` (503) | `status`, `body`, `headers` |
//! | `status_after_commit` | the call takes effect; the answer is `status` (502) | `status`, `body`, `headers` |
//! | `delay` | the call takes effect; the answer is sent `ms` (5000) later | `ms` |
//! | `stall` | the call takes effect; the head and `bytes` (0) of the body are sent, then nothing more | `bytes` |
//! | `drip` | the call takes effect; the body is sent in pieces of `bytes` (1), one every `ms` (100) | `bytes`, `ms` |
//! | `truncate` | the call takes effect; `bytes` of the body (half) are sent, then the connection closes | `bytes`, `reset` |
//! | `html` | a 200 with an HTML page, as from a captive portal; the call has no effect unless `commit` | `commit`, `body` |
//! | `redirect` | `status` (302) to `location`; the call has no effect unless `commit` | `status`, `location`, `commit` |
//! | `stuck` | the job never ends | |
//! | `unknown_status` | the job's status is `value` (`archiving`) while it runs; on `get`, in this answer only | `value` |
//! | `fail_job` | the job ends as `failed` | `reason` |
//! | `reject_job` | the job ends as `rejected` | `reason` |
//! | `webhook_lost` | the webhook is not sent | `value` |
//! | `webhook_duplicated` | the webhook is sent twice | `value` |
//! | `webhook_reordered` | the webhook is sent after the job's next one, or after `ms` (5000) | `value`, `ms` |
//! | `webhook_early` | the webhook is sent `ms` before its status change; without `ms`, before the call's answer | `value`, `ms` |
//!
//! `reset: true` closes the connection with a TCP reset. Webhook rules match webhooks instead of requests: `on` is the call
//! that began the step, `after` and `times` count webhooks, and `value` limits the rule to one status.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::random::Random;
use crate::route::Call;

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Close the connection before the call takes effect.
    DropBeforeCommit,
    /// Close the connection after the call took effect.
    DropAfterCommit,
    /// Return an error before the call takes effect.
    StatusBeforeCommit,
    /// Return an error after the call took effect.
    StatusAfterCommit,
    /// Delay the answer.
    Delay,
    /// Send a part of the answer, then nothing more.
    Stall,
    /// Send the answer piece by piece.
    Drip,
    /// Send a part of the answer, then close the connection.
    Truncate,
    /// Answer with an HTML page.
    Html,
    /// Answer with a redirect.
    Redirect,
    /// Keep the job running for ever.
    Stuck,
    /// Give the job an undocumented status.
    UnknownStatus,
    /// Make the job fail.
    FailJob,
    /// Make the job end as rejected.
    RejectJob,
    /// Drop a webhook.
    WebhookLost,
    /// Send a webhook twice.
    WebhookDuplicated,
    /// Send a webhook after the next one.
    WebhookReordered,
    /// Send a webhook before its status change.
    WebhookEarly,
}

impl Kind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::DropBeforeCommit => "drop_before_commit",
            Self::DropAfterCommit => "drop_after_commit",
            Self::StatusBeforeCommit => "status_before_commit",
            Self::StatusAfterCommit => "status_after_commit",
            Self::Delay => "delay",
            Self::Stall => "stall",
            Self::Drip => "drip",
            Self::Truncate => "truncate",
            Self::Html => "html",
            Self::Redirect => "redirect",
            Self::Stuck => "stuck",
            Self::UnknownStatus => "unknown_status",
            Self::FailJob => "fail_job",
            Self::RejectJob => "reject_job",
            Self::WebhookLost => "webhook_lost",
            Self::WebhookDuplicated => "webhook_duplicated",
            Self::WebhookReordered => "webhook_reordered",
            Self::WebhookEarly => "webhook_early",
        }
    }

    fn part(self) -> Part {
        match self {
            Self::Delay => Part::Delay,
            Self::Stuck | Self::UnknownStatus | Self::FailJob | Self::RejectJob => Part::Job,
            Self::WebhookLost | Self::WebhookDuplicated | Self::WebhookReordered => Part::Webhook,
            Self::WebhookEarly => Part::EarlyWebhook,
            _ => Part::Answer,
        }
    }

    /// The fields of this kind, in addition to [`COMMON`].
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::DropBeforeCommit | Self::DropAfterCommit => &["reset"],
            Self::StatusBeforeCommit | Self::StatusAfterCommit => &["status", "body", "headers"],
            Self::Delay => &["ms"],
            Self::Stall => &["bytes"],
            Self::Drip => &["bytes", "ms"],
            Self::Truncate => &["bytes", "reset"],
            Self::Html => &["commit", "body"],
            Self::Redirect => &["status", "location", "commit"],
            Self::UnknownStatus | Self::WebhookLost | Self::WebhookDuplicated => &["value"],
            Self::WebhookReordered | Self::WebhookEarly => &["value", "ms"],
            Self::FailJob | Self::RejectJob => &["reason"],
            Self::Stuck => &[],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Answer,
    Delay,
    Job,
    Webhook,
    EarlyWebhook,
}

/// The fields that every rule may have.
const COMMON: [&str; 7] = ["on", "kind", "after", "times", "probability", "from_seconds", "until_seconds"];

/// One rule. [`parse`] refuses fields that its kind does not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A call's name, or `*`.
    pub on: String,
    /// The kind of fault.
    pub kind: Kind,
    /// The number of matching requests that pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How often the rule is applied; `None` for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The probability that the rule is applied to a matching request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The start of the window in which the rule applies, in seconds since the rules were set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_seconds: Option<f64>,
    /// The end of the window in which the rule applies, in seconds since the rules were set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_seconds: Option<f64>,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body of the answer: a string is sent unchanged, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Headers of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Map<String, Value>>,
    /// A time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// The number of body bytes to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Whether to close with a TCP reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<bool>,
    /// Whether the call takes effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<bool>,
    /// The target of a redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The undocumented status, or the status whose webhooks the rule matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The job's `failed_reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Parses the body of `PUT /__sandbox/faults`.
///
/// # Errors
/// If a rule is invalid; the text names the rule and the reason.
pub fn parse(value: &Value) -> Result<Vec<Rule>, String> {
    let Some(list) = value.as_array() else {
        return Err("the body must be a JSON array of fault rules".to_owned());
    };
    list.iter().enumerate().map(|(index, rule)| parse_rule(rule).map_err(|error| format!("rule {index}: {error}"))).collect()
}

fn parse_rule(value: &Value) -> Result<Rule, String> {
    let rule: Rule = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    if rule.on != "*" && Call::by_name(&rule.on).is_none() {
        return Err(format!(
            "on is {:?}; it must be one of submit, preview, preview_async, render, get, templates, credits, *",
            rule.on
        ));
    }
    for field in value.as_object().into_iter().flat_map(Map::keys) {
        if !COMMON.contains(&field.as_str()) && !rule.kind.fields().contains(&field.as_str()) {
            return Err(format!("{} has no field {field:?}", rule.kind.name()));
        }
    }
    let part = rule.kind.part();
    if part == Part::Job && matches!(rule.on.as_str(), "templates" | "credits") {
        return Err(format!("{} needs a call about a job", rule.kind.name()));
    }
    if matches!(part, Part::Webhook | Part::EarlyWebhook) {
        if matches!(rule.on.as_str(), "get" | "templates" | "credits") {
            return Err(format!(
                "{} needs a call that begins a step: submit, preview, preview_async, render",
                rule.kind.name()
            ));
        }
        if let Some(value) = &rule.value
            && !WEBHOOK_STATUSES.contains(&value.as_str())
        {
            return Err(format!("value is {value:?}; webhooks are sent for {}", WEBHOOK_STATUSES.join(", ")));
        }
    }
    for (name, seconds) in [("from_seconds", rule.from_seconds), ("until_seconds", rule.until_seconds)] {
        if seconds.is_some_and(|seconds| !(0.0..=1e9).contains(&seconds)) {
            return Err(format!("{name} must be from 0 to 1000000000"));
        }
    }
    if let (Some(from), Some(until)) = (rule.from_seconds, rule.until_seconds)
        && from >= until
    {
        return Err("from_seconds must be before until_seconds".to_owned());
    }
    if rule.bytes == Some(0) && rule.kind == Kind::Drip {
        return Err("bytes must be at least 1 for drip; use stall to send nothing".to_owned());
    }
    if rule.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
        return Err("probability must be from 0 to 1".to_owned());
    }
    if rule.status.is_some_and(|status| !(200..=599).contains(&status)) {
        return Err("status must be from 200 to 599".to_owned());
    }
    for (name, value) in rule.headers.iter().flatten() {
        let valid = axum::http::HeaderName::try_from(name.as_str()).is_ok()
            && value.as_str().is_some_and(|value| axum::http::HeaderValue::from_str(value).is_ok());
        if !valid {
            return Err(format!("the header {name:?} is not valid: its value must be a string that HTTP allows"));
        }
    }
    if let Some(location) = &rule.location
        && axum::http::HeaderValue::from_str(location).is_err()
    {
        return Err("location is not a valid header".to_owned());
    }
    Ok(rule)
}

/// The rules that apply to one request, at most one per part of the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The rule about the answer or the connection.
    pub answer: Option<Rule>,
    /// The rule about the delay.
    pub delay: Option<Rule>,
    /// The rule about the job.
    pub job: Option<Rule>,
}

impl Plan {
    /// The names of the kinds, for the log.
    pub fn kinds(&self) -> Vec<&'static str> {
        [&self.job, &self.delay, &self.answer].into_iter().flatten().map(|rule| rule.kind.name()).collect()
    }
}

/// The statuses that send a webhook.
const WEBHOOK_STATUSES: [&str; 5] = ["in_queue", "running", "done", "failed", "rejected"];

#[derive(Debug, Clone)]
struct Armed {
    rule: Rule,
    seen: u64,
    struck: u64,
}

impl Armed {
    /// Counts a match `elapsed` milliseconds after the rules were set. Returns whether the rule is applied to it.
    fn strikes(&mut self, elapsed: u64, random: &mut Random) -> bool {
        let rule = &self.rule;
        let ms = |seconds: f64| (seconds * 1000.0).round() as u64;
        if rule.from_seconds.is_some_and(|from| elapsed < ms(from))
            || rule.until_seconds.is_some_and(|until| elapsed >= ms(until))
        {
            return false;
        }
        self.seen += 1;
        let strikes = self.seen > rule.after.unwrap_or(0)
            && rule.times.is_none_or(|times| self.struck < times)
            && rule.probability.is_none_or(|chance| random.fraction() < chance);
        self.struck += u64::from(strikes);
        strikes
    }
}

/// The rules in force, with their counters.
#[derive(Debug, Clone)]
pub struct Faults {
    armed: Vec<Armed>,
    random: Random,
    set_at: u64,
}

impl Faults {
    /// No rules. Probabilities are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { armed: Vec::new(), random: Random::new(&[seed, 0xfa]), set_at: 0 }
    }

    /// Whether no rule is in force.
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    /// Replaces the rules at `now`; counters start again.
    pub fn set(&mut self, rules: Vec<Rule>, now: u64) {
        self.set_at = now;
        self.armed = rules.into_iter().map(|rule| Armed { rule, seen: 0, struck: 0 }).collect();
    }

    /// The rules, each with the number of matches (`seen`) and applications (`struck`).
    pub fn list(&self) -> Value {
        self.armed
            .iter()
            .map(|armed| {
                let mut rule = serde_json::to_value(&armed.rule).unwrap_or_default();
                rule["seen"] = armed.seen.into();
                rule["struck"] = armed.struck.into();
                rule
            })
            .collect()
    }

    /// The rules to apply to a request for `call` at `now`.
    pub fn strike(&mut self, call: Call, now: u64) -> Plan {
        let mut plan = Plan::default();
        let elapsed = now.saturating_sub(self.set_at);
        for armed in &mut self.armed {
            let rule = &armed.rule;
            if rule.on != "*" && rule.on != call.name() {
                continue;
            }
            let part = rule.kind.part();
            if part == Part::Job && !call.concerns_a_job() {
                continue;
            }
            let slot = match part {
                Part::Answer => &mut plan.answer,
                Part::Delay => &mut plan.delay,
                Part::Job => &mut plan.job,
                Part::Webhook | Part::EarlyWebhook => continue,
            };
            if slot.is_none() && armed.strikes(elapsed, &mut self.random) {
                *slot = Some(armed.rule.clone());
            }
        }
        plan
    }

    /// The rule that sends the webhook for `status` early, if one applies. `call` began the step.
    pub fn strike_early(&mut self, call: Call, status: &str, now: u64) -> Option<Rule> {
        self.strike_webhook_part(Part::EarlyWebhook, call, status, now)
    }

    /// The rule to apply to the webhook for `status`, if any. `call` began the step.
    pub fn strike_webhook(&mut self, call: Call, status: &str, now: u64) -> Option<Rule> {
        self.strike_webhook_part(Part::Webhook, call, status, now)
    }

    fn strike_webhook_part(&mut self, part: Part, call: Call, status: &str, now: u64) -> Option<Rule> {
        let elapsed = now.saturating_sub(self.set_at);
        for armed in &mut self.armed {
            let rule = &armed.rule;
            let matches = rule.kind.part() == part
                && (rule.on == "*" || rule.on == call.name())
                && rule.value.as_deref().is_none_or(|value| value == status);
            if matches && armed.strikes(elapsed, &mut self.random) {
                return Some(armed.rule.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(rules: &Value) -> Faults {
        let mut faults = Faults::new(1);
        faults.set(parse(rules).unwrap(), 1_000);
        faults
    }

    #[test]
    fn after_and_times_limit_how_often_a_rule_is_applied() {
        let mut faults = faults(&json!([
            {"on": "get", "kind": "html", "after": 1, "times": 2}
        ]));
        let struck: Vec<bool> = (0..5).map(|_| faults.strike(Call::Get, 1_000).answer.is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert!(faults.strike(Call::Submit, 1_000).answer.is_none());
    }

    #[test]
    fn a_rule_is_applied_and_counts_only_within_its_window() {
        let mut faults = faults(&json!([
            {"on": "get", "kind": "html", "from_seconds": 2, "until_seconds": 4.5, "after": 1}
        ]));
        let moments = [1_000, 2_999, 3_000, 3_001, 5_499, 5_500, 9_000];
        let struck = moments.map(|now| faults.strike(Call::Get, now).answer.is_some());
        assert_eq!(struck, [false, false, false, true, true, false, false]);
        assert_eq!((&faults.list()[0]["seen"], &faults.list()[0]["struck"]), (&json!(3), &json!(2)));
    }

    #[test]
    fn a_webhook_rule_counts_webhooks_of_its_status_and_no_requests() {
        let mut faults = faults(&json!([
            {"on": "submit", "kind": "webhook_lost", "value": "done", "times": 1},
            {"on": "*", "kind": "webhook_early"}
        ]));
        assert_eq!(faults.strike(Call::Submit, 1_000), Plan::default());
        let mut strike = |call, status| faults.strike_webhook(call, status, 1_000).map(|rule| rule.kind);
        assert_eq!(strike(Call::Submit, "running"), None);
        assert_eq!(strike(Call::Render, "done"), None);
        assert_eq!(strike(Call::Submit, "done"), Some(Kind::WebhookLost));
        assert_eq!(strike(Call::Submit, "done"), None);
        assert_eq!(faults.strike_early(Call::Render, "failed", 1_000).map(|rule| rule.kind), Some(Kind::WebhookEarly));
    }

    #[test]
    fn probabilities_are_drawn_from_the_seed() {
        let rules = json!([{"on": "*", "kind": "delay", "probability": 0.5}]);
        let draw = || {
            let mut faults = faults(&rules);
            (0..100).map(|_| faults.strike(Call::Get, 1_000).delay.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        let hits = draw().into_iter().filter(|hit| *hit).count();
        assert!((30..70).contains(&hits), "{hits}");
    }

    #[test]
    fn rules_about_different_parts_are_applied_together() {
        let mut faults = faults(&json!([
            {"on": "submit", "kind": "fail_job"},
            {"on": "submit", "kind": "delay", "ms": 5},
            {"on": "submit", "kind": "truncate"},
            {"on": "submit", "kind": "html"}
        ]));
        assert_eq!(faults.strike(Call::Submit, 1_000).kinds(), ["fail_job", "delay", "truncate"]);
    }

    #[test]
    fn an_invalid_rule_is_refused_with_its_index_and_reason() {
        for (rule, wanted) in [
            (json!({"on": "get", "kind": "explode"}), "unknown variant `explode`"),
            (json!({"on": "list", "kind": "html"}), "on is \"list\""),
            (json!({"on": "get", "kind": "html", "ms": 1}), "html has no field \"ms\""),
            (json!({"on": "get", "kind": "html", "foo": 1}), "unknown field `foo`"),
            (json!({"on": "get", "kind": "delay", "probability": 2}), "probability"),
            (json!({"on": "credits", "kind": "stuck"}), "about a job"),
            (json!({"on": "get", "kind": "status_before_commit", "status": 99}), "status must be"),
            (json!({"on": "get", "kind": "webhook_lost"}), "begins a step"),
            (json!({"on": "*", "kind": "webhook_lost", "value": "pending"}), "webhooks are sent for"),
            (json!({"on": "*", "kind": "webhook_lost", "ms": 1}), "webhook_lost has no field \"ms\""),
            (json!({"on": "get", "kind": "html", "from_seconds": -1}), "from_seconds must be from 0"),
            (json!({"on": "get", "kind": "html", "from_seconds": 2, "until_seconds": 2}), "before until_seconds"),
            (json!({"on": "get", "kind": "drip", "bytes": 0}), "at least 1"),
            (json!(7), "invalid type"),
        ] {
            let error = parse(&json!([{"on": "*", "kind": "delay"}, rule])).unwrap_err();
            assert!(error.starts_with("rule 1: "), "{error}");
            assert!(error.contains(wanted), "{error:?} does not say {wanted:?}");
        }
        assert!(parse(&json!({})).is_err());
    }
}
