//! Effects of fault rules on replies and jobs.

use serde_json::{Value, json};

use crate::faults::{Kind, Rule};
use crate::job::Ending;
use crate::message::{Reply, Wire, no_such_job, proxy_page};

/// The default reason of a failed job.
pub const FAILED: &str = "The video could not be made: a media file of scene 2 could not be downloaded.";
/// The default reason of a rejected job.
pub const REJECTED: &str = "The job was rejected by content moderation: the text of scene 1 breaks the usage policy.";

/// The undocumented status that a rule sets.
pub fn unknown_status(rule: &Rule) -> String {
    rule.value.clone().unwrap_or_else(|| "archiving".to_owned())
}

/// The ending that a job fault gives to a job.
pub fn ending_of(rule: &Rule) -> Ending {
    let reason = |default: &str| rule.reason.clone().unwrap_or_else(|| default.to_owned());
    match rule.kind {
        Kind::FailJob => Ending::Failed(reason(FAILED)),
        Kind::RejectJob => Ending::Rejected(reason(REJECTED)),
        _ => Ending::Never,
    }
}

/// The reply of a fault that prevents the call from taking effect; `None` if the call takes effect.
pub fn reply_without_effect(rule: Option<&Rule>) -> Option<Reply> {
    let rule = rule?;
    match rule.kind {
        Kind::DropBeforeCommit | Kind::StatusBeforeCommit => {}
        Kind::Html | Kind::Redirect if rule.commit != Some(true) => {}
        _ => return None,
    }
    Some(apply_to_reply(Reply::of_json(200, &json!({})), Some(rule)))
}

/// Applies a fault to a reply.
pub fn apply_to_reply(mut reply: Reply, rule: Option<&Rule>) -> Reply {
    let Some(rule) = rule else { return reply };
    let reset = rule.reset.unwrap_or(false);
    let ready_at = reply.ready_at;
    match rule.kind {
        Kind::DropBeforeCommit | Kind::DropAfterCommit => reply.wire = Wire::Drop { reset },
        Kind::Stall => {
            reply.wire = Wire::Stall { bytes: rule.bytes.unwrap_or(0).min(reply.body.len()) };
        }
        Kind::Drip => reply.wire = Wire::Drip { bytes: rule.bytes.unwrap_or(1).max(1), ms: rule.ms.unwrap_or(100) },
        Kind::Truncate => {
            let bytes = rule.bytes.unwrap_or(reply.body.len() / 2).min(reply.body.len());
            reply.wire = Wire::Truncate { bytes, reset };
        }
        Kind::StatusBeforeCommit => reply = error_page(rule, rule.status.unwrap_or(503)),
        Kind::StatusAfterCommit => reply = error_page(rule, rule.status.unwrap_or(502)),
        Kind::Html => {
            let page = "<!doctype html><title>Sign in</title><h1>Sign in to the network</h1>";
            let page = rule.body.as_ref().and_then(Value::as_str).unwrap_or(page);
            reply = Reply::of_html(200, page);
        }
        Kind::Redirect => {
            let location = rule.location.as_deref().unwrap_or("https://example.com/");
            reply = Reply::of_html(rule.status.unwrap_or(302), "").with("location", location);
        }
        Kind::Delay
        | Kind::Stuck
        | Kind::UnknownStatus
        | Kind::FailJob
        | Kind::RejectJob
        | Kind::WebhookLost
        | Kind::WebhookDuplicated
        | Kind::WebhookReordered
        | Kind::WebhookEarly => {}
    }
    reply.ready_at = ready_at;
    reply
}

// assumed: the body of each error status, and `Retry-After` in seconds with a 429.
fn error_page(rule: &Rule, status: u16) -> Reply {
    let mut reply = match &rule.body {
        Some(Value::String(page)) => Reply::of_html(status, page),
        Some(body) => Reply::of_json(status, body),
        None => match status {
            500 => Reply::of_html(500, "<!doctype html><title>Server Error</title><h1>Server Error (500)</h1>"),
            502 => proxy_page(502, "Bad Gateway"),
            503 => proxy_page(503, "Service Temporarily Unavailable"),
            504 => proxy_page(504, "Gateway Time-out"),
            429 => Reply::detail(429, "Request was throttled. Expected available in 5 seconds."),
            402 => Reply::detail(402, "Insufficient credits."),
            404 => no_such_job(),
            _ => Reply::detail(status, "A fault rule made this answer."),
        },
    };
    let given = |name: &str| rule.headers.iter().flatten().any(|(key, _)| key.eq_ignore_ascii_case(name));
    if status == 429 && rule.body.is_none() && !given("retry-after") {
        reply = reply.with("retry-after", "5");
    }
    for (name, value) in rule.headers.iter().flatten() {
        reply.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        reply = reply.with(name, value.as_str().unwrap_or_default());
    }
    reply
}
