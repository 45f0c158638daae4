//! Decides which requests go wrong and how: the rules of `PUT /__sandbox/faults`.
//!
//! A rule is `{"on": CALL, "kind": KIND, ...}`. `on` is one of `submit`, `preview`, `preview_async`, `render`, `get`,
//! `templates`, `credits` or `*`. The first rule in the list that applies takes its part of the answer; rules
//! about different parts (the job, the delay, the answer) work together. Every rule may have
//! `after` (matching requests to let pass first), `times` (how often it strikes; without it, always),
//! `probability` (0 to 1, drawn from the seed), and `from_seconds` and `until_seconds` (a window on the sandbox's clock,
//! counted from when the rules were set).
//!
//! | kind | what happens | its own fields |
//! | --- | --- | --- |
//! | `drop_before_commit` | nothing is changed, the connection closes without an answer | `reset` |
//! | `drop_after_commit` | the call takes effect, the connection closes without an answer | `reset` |
//! | `status_before_commit` | nothing is changed, the answer is `status` (503) | `status`, `body`, `headers` |
//! | `status_after_commit` | the call takes effect, the answer is `status` (502) | `status`, `body`, `headers` |
//! | `delay` | the call takes effect, the answer comes `ms` (5000) later | `ms` |
//! | `stall` | the call takes effect, headers and `bytes` (0) of the body come, then silence | `bytes` |
//! | `drip` | the call takes effect, the body comes in pieces of `bytes` (1), one every `ms` (100) | `bytes`, `ms` |
//! | `truncate` | the call takes effect, `bytes` of the body come (half), then the connection closes | `bytes`, `reset` |
//! | `html` | a 200 with an HTML page, as a captive portal sends it; nothing is changed unless `commit` | `commit`, `body` |
//! | `redirect` | `status` (302) to `location`; nothing is changed unless `commit` | `status`, `location`, `commit` |
//! | `stuck` | the job runs for ever | |
//! | `unknown_status` | the job's status reads `value` (`archiving`) while it runs, or in this answer on `get` | `value` |
//! | `fail_job` | the job ends as `failed` | `reason` |
//! | `reject_job` | the job ends as `rejected` | `reason` |
//!
//! | `webhook_lost` | the webhook is not sent | `value` |
//! | `webhook_duplicated` | the webhook is sent twice | `value` |
//! | `webhook_reordered` | it is held back until the job's next one has gone, or for `ms` (5000) | `value`, `ms` |
//! | `webhook_early` | it comes `ms` before the status that it tells of (at once, before the call's answer) | `value`, `ms` |
//!
//! `reset: true` closes with a TCP reset instead of an orderly end. The rules about webhooks match webhooks in place of
//! requests: `on` is the call that began the step, `after` and `times` count webhooks, and `value` names the one status
//! that is meant.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::random::Random;
use crate::route::Call;

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Close before anything happened.
    DropBeforeCommit,
    /// Close after it happened.
    DropAfterCommit,
    /// Refuse before anything happened.
    StatusBeforeCommit,
    /// Answer with an error after it happened.
    StatusAfterCommit,
    /// Answer late.
    Delay,
    /// Start to answer, then fall silent.
    Stall,
    /// Answer piece by piece.
    Drip,
    /// Start to answer, then close.
    Truncate,
    /// Answer with a page.
    Html,
    /// Answer with a redirect.
    Redirect,
    /// Let the job run for ever.
    Stuck,
    /// Give the job a status that no document knows.
    UnknownStatus,
    /// Let the job fail.
    FailJob,
    /// Let the job be rejected.
    RejectJob,
    /// Do not send a webhook.
    WebhookLost,
    /// Send a webhook twice.
    WebhookDuplicated,
    /// Send a webhook after the next one.
    WebhookReordered,
    /// Send a webhook before the status that it tells of.
    WebhookEarly,
}

impl Kind {
    /// The wire's name.
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

    /// The rule's own fields, beside [`COMMON`].
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

/// What every rule may have.
const COMMON: [&str; 7] = ["on", "kind", "after", "times", "probability", "from_seconds", "until_seconds"];

/// One rule. Fields that its kind does not know are refused by [`parse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A call's name, or `*`.
    pub on: String,
    /// What goes wrong.
    pub kind: Kind,
    /// How many matching requests pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How often the rule strikes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The chance of each strike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Seconds after the rules were set from which it strikes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_seconds: Option<f64>,
    /// Seconds after the rules were set from which it strikes no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_seconds: Option<f64>,
    /// The status to answer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body to answer with: a string as it is, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Headers to answer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Map<String, Value>>,
    /// Milliseconds to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Bytes of the body to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Whether to close with a TCP reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<bool>,
    /// Whether the call takes effect all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<bool>,
    /// Where a redirect leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The unknown status, or the one whose webhooks are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The job's `failed_reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Reads the body of `PUT /__sandbox/faults`. The error says which rule is wrong, and how.
pub fn parse(value: &Value) -> Result<Vec<Rule>, String> {
    let Some(list) = value.as_array() else {
        return Err("a JSON array of fault rules is wanted".to_owned());
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
            return Err(format!("value is {value:?}; webhooks tell of {}", WEBHOOK_STATUSES.join(", ")));
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
        return Err("bytes must be at least 1: a drip of nothing is a stall".to_owned());
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
            return Err(format!("the header {name:?} is not valid: give a string"));
        }
    }
    if let Some(location) = &rule.location
        && axum::http::HeaderValue::from_str(location).is_err()
    {
        return Err("location is not a valid header".to_owned());
    }
    Ok(rule)
}

/// The rules that strike one request, at most one per part of the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What happens to the answer or the connection.
    pub answer: Option<Rule>,
    /// How late the answer comes.
    pub delay: Option<Rule>,
    /// What happens to the job.
    pub job: Option<Rule>,
}

impl Plan {
    /// The kinds that strike, for the log.
    pub fn kinds(&self) -> Vec<&'static str> {
        [&self.job, &self.delay, &self.answer].into_iter().flatten().map(|rule| rule.kind.name()).collect()
    }
}

/// The statuses that a webhook can tell of.
const WEBHOOK_STATUSES: [&str; 5] = ["in_queue", "running", "done", "failed", "rejected"];

#[derive(Debug, Clone)]
struct Armed {
    rule: Rule,
    seen: u64,
    struck: u64,
}

impl Armed {
    /// Counts one more match, and decides whether the rule strikes `elapsed` milliseconds after it was set.
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
    /// No rules; chance comes from `seed`.
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

    /// The rules with how often each was `seen` (matched) and `struck`.
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

    /// Decides what strikes a request for `call` at `now`.
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

    /// Decides how early the webhook goes that will tell of `status`, of a step that `call` began.
    pub fn strike_early(&mut self, call: Call, status: &str, now: u64) -> Option<Rule> {
        self.strike_webhook_part(Part::EarlyWebhook, call, status, now)
    }

    /// Decides what happens to the webhook that tells of `status`, of a step that `call` began.
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
    fn a_rule_strikes_after_so_many_and_so_many_times() {
        let mut faults = faults(&json!([
            {"on": "get", "kind": "html", "after": 1, "times": 2}
        ]));
        let struck: Vec<bool> = (0..5).map(|_| faults.strike(Call::Get, 1_000).answer.is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert!(faults.strike(Call::Submit, 1_000).answer.is_none());
    }

    #[test]
    fn a_rule_strikes_within_its_window_and_counts_only_there() {
        let mut faults = faults(&json!([
            {"on": "get", "kind": "html", "from_seconds": 2, "until_seconds": 4.5, "after": 1}
        ]));
        let moments = [1_000, 2_999, 3_000, 3_001, 5_499, 5_500, 9_000];
        let struck = moments.map(|now| faults.strike(Call::Get, now).answer.is_some());
        assert_eq!(struck, [false, false, false, true, true, false, false]);
        assert_eq!((&faults.list()[0]["seen"], &faults.list()[0]["struck"]), (&json!(3), &json!(2)));
    }

    #[test]
    fn a_rule_about_webhooks_counts_webhooks_of_its_status_and_no_requests() {
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
    fn chance_is_drawn_from_the_seed() {
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
    fn rules_about_different_parts_work_together() {
        let mut faults = faults(&json!([
            {"on": "submit", "kind": "fail_job"},
            {"on": "submit", "kind": "delay", "ms": 5},
            {"on": "submit", "kind": "truncate"},
            {"on": "submit", "kind": "html"}
        ]));
        assert_eq!(faults.strike(Call::Submit, 1_000).kinds(), ["fail_job", "delay", "truncate"]);
    }

    #[test]
    fn a_wrong_rule_is_refused_with_its_place() {
        for (rule, wanted) in [
            (json!({"on": "get", "kind": "explode"}), "unknown variant `explode`"),
            (json!({"on": "list", "kind": "html"}), "on is \"list\""),
            (json!({"on": "get", "kind": "html", "ms": 1}), "html has no field \"ms\""),
            (json!({"on": "get", "kind": "html", "foo": 1}), "unknown field `foo`"),
            (json!({"on": "get", "kind": "delay", "probability": 2}), "probability"),
            (json!({"on": "credits", "kind": "stuck"}), "about a job"),
            (json!({"on": "get", "kind": "status_before_commit", "status": 99}), "status must be"),
            (json!({"on": "get", "kind": "webhook_lost"}), "begins a step"),
            (json!({"on": "*", "kind": "webhook_lost", "value": "pending"}), "webhooks tell of"),
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
