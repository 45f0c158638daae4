//! Inputs from outside: JSON of every shape, and nearly valid jobs, error bodies, answers and journal entries.

use custom_template_jobs::hash;
use custom_template_jobs::host::{Answer, Body, Unusable};
use serde_json::{Value, json};
use test_host::{Reply, failed};

use crate::{Drawn, Source};

/// Ids of jobs.
pub const IDS: [&str; 3] =
    ["11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555", "abcdefab-2222-4333-8444-abcdefabcdef"];

/// Operation ids that callers choose.
pub const OPERATIONS: [&str; 6] = ["op", "order/7", "__proto__", "a=5", "two\nlines", "{operation}"];

/// The error codes of runtimes; only the first three prove that nothing was sent.
const CODES: [&str; 8] =
    ["ECONNREFUSED", "ENOTFOUND", "ConnectionRefused", "ECONNRESET", "", "UND_ERR_SOCKET", "econnrefused", "ECONNREFUSED "];

/// Strings that have a meaning in some field.
const WORDS: [&str; 22] = [
    "",
    "done",
    "pending",
    "running",
    "failed",
    "rejected",
    "DONE",
    "https://cdn.test/v.mp4",
    "12",
    "1.5",
    "-3",
    "NaN",
    "\n",
    "%0",
    "{operation}",
    "<html>",
    "Not enough credits",
    "2026-11-22T00:00:00Z",
    "sending",
    "bound",
    "\u{fffd}\u{0}\u{2028}",
    "ﬀ İ",
];

const KEYS: [&str; 20] = [
    "id",
    "status",
    "progress",
    "preview",
    "video_output",
    "failed_reason",
    "updated_at",
    "credits_used",
    "duration",
    "webhook_url",
    "detail",
    "results",
    "remaining_credits",
    "__proto__",
    "constructor",
    "toString",
    "length",
    "name",
    "0",
    "",
];

/// A number: usually ordinary, sometimes an extreme that JSON allows.
pub fn number(source: &mut Source<'_>) -> Drawn<f64> {
    Ok(match source.int_in_range(0..=11)? {
        0 => 0.0,
        1 => 1.0,
        2 => 0.5,
        3 => f64::from(source.int_in_range(0..=100_u8)?),
        4 => -1.0,
        5 => f64::INFINITY,
        6 => f64::NEG_INFINITY,
        7 => 9e15,
        8 => f64::MAX,
        9 => f64::MIN_POSITIVE,
        10 => f64::from(source.arbitrary::<i32>()?),
        _ => Some(source.arbitrary::<f64>()?).filter(|number| number.is_finite()).unwrap_or(-0.0),
    })
}

/// A text.
pub fn text(source: &mut Source<'_>) -> Drawn<String> {
    Ok(match source.int_in_range(0..=5)? {
        0..=2 => (*source.choose(&WORDS)?).into(),
        3 => (*source.choose(&IDS)?).into(),
        4 => {
            let length = source.int_in_range(0..=40_usize)?.min(source.len());
            String::from_utf8_lossy(source.bytes(length)?).into_owned()
        }
        _ => "x".repeat(source.int_in_range(1..=5_000)?),
    })
}

/// Any JSON.
pub fn json(source: &mut Source<'_>, depth: u32) -> Drawn<Value> {
    Ok(match source.int_in_range(0..=if depth > 4 { 5 } else { 8 })? {
        0 => Value::Null,
        1 => source.arbitrary::<bool>()?.into(),
        2 => number(source)?.into(),
        3..=5 => text(source)?.into(),
        6 => (0..source.int_in_range(0..=4)?).map(|_| json(source, depth + 1)).collect::<Drawn<Value>>()?,
        7 => {
            let mut object = json!({});
            for _ in 0..source.int_in_range(0..=4)? {
                object[*source.choose(&KEYS)?] = json(source, depth + 1)?;
            }
            object
        }
        // Nested lists, as deep as can be parsed.
        _ => (0..source.int_in_range(0..=100)?).fold(Value::Null, |deep, _| json!([deep])),
    })
}

thread_local! {
    /// The corpus that all readers of jobs are tested with.
    static CORPUS: Vec<Value> = {
        let cases: Value = serde_json::from_str(include_str!("../../corpus/jobs.json")).unwrap_or_default();
        let bodies = cases.as_array().into_iter().flatten().filter_map(|case| case["body"].as_str());
        bodies.filter_map(|body| serde_json::from_str(body).ok()).collect()
    };
}

/// A job with this id and some odd fields.
pub fn job(source: &mut Source<'_>, id: &str) -> Drawn<Value> {
    let mut job = if source.ratio(1, 4)? {
        CORPUS.with(|corpus| source.choose(corpus).cloned())?
    } else {
        let status = *source.choose(&["done", "pending", "running", "failed", "rejected", "archived"])?;
        let mut job = json!({
            "id": id,
            "status": status,
            "progress": 0.5,
            "preview": "https://cdn.test/p",
            "updated_at": "2026-11-22T00:00:00Z",
        });
        if status == "done" {
            job["video_output"] = "https://cdn.test/v".into();
        }
        job
    };
    for _ in 0..source.int_in_range(0..=3)? {
        let (key, value) = (*source.choose(&KEYS)?, json(source, 1)?);
        if job.is_object() {
            job[key] = value;
        }
    }
    Ok(job)
}

/// The body of a refusal.
fn error_body(source: &mut Source<'_>) -> Drawn<Value> {
    Ok(match source.int_in_range(0..=4)? {
        0 => json!({ "detail": json(source, 2)? }),
        1 => json!({ *source.choose(&KEYS)?: json(source, 2)?, *source.choose(&KEYS)?: json(source, 2)? }),
        2 => json!([json(source, 2)?]),
        _ => json(source, 0)?,
    })
}

/// A status, mostly one that HTTP has.
fn status(source: &mut Source<'_>) -> Drawn<u16> {
    const STATUSES: [u16; 25] = [
        200, 201, 202, 204, 299, 0, 100, 301, 302, 304, 400, 401, 402, 403, 404, 406, 408, 409, 413, 422, 425, 429, 500,
        503, 599,
    ];
    if source.ratio(9, 10)? { Ok(*source.choose(&STATUSES)?) } else { source.arbitrary() }
}

/// The reply to a request for a job: anything that a host may return.
pub fn reply(source: &mut Source<'_>, id: &str) -> Drawn<Reply> {
    let answer = |status, body| Reply::Answer(Answer { status, retry_after_ms: None, request_id: None, body });
    let asked = |source: &mut Source<'_>| if source.ratio(1, 4)? { number(source).map(Some) } else { Ok(None) };
    Ok(match source.int_in_range(0..=15)? {
        0..=3 => answer(200, Body::Json(job(source, id)?)),
        4..=5 => answer(status(source)?, Body::Json(job(source, id)?)),
        6..=7 => {
            let (status, retry_after_ms) = (status(source)?, asked(source)?);
            Reply::Answer(Answer { status, retry_after_ms, request_id: None, body: Body::Json(error_body(source)?) })
        }
        8..=9 => answer(status(source)?, Body::Text(text(source)?)),
        10..=11 => {
            // An answer that was cut off.
            let whole = job(source, id)?.to_string();
            let end = source.int_in_range(0..=whole.len())?;
            let text = String::from_utf8_lossy(&whole.as_bytes()[..end]).into_owned();
            let (status, retry_after_ms) = (status(source)?, asked(source)?);
            Reply::Answer(Answer { status, retry_after_ms, request_id: None, body: Body::Cut(text) })
        }
        12..=13 => failed(source.choose(&CODES)?),
        14 => Reply::Unusable(Unusable { field: "apiKey", advice: "could not be made", cause: None }),
        _ => failed(""),
    })
}

/// A journal entry, nearly one, or anything else.
pub fn entry(source: &mut Source<'_>) -> Drawn<String> {
    if source.ratio(1, 5)? {
        return if source.arbitrary()? { text(source) } else { Ok(json(source, 0)?.to_string()) };
    }
    let mut entry = json!({
        "version": 2,
        "fingerprint": hash::hex(source.arbitrary()?),
        "state": source.choose(&["bound", "sending", "unknown", "ended", "rejected"])?,
        "step": source.choose(&["submit", "preview", "render", "delete"])?,
        "owner": text(source)?,
        "createdAt": number(source)?,
        "explicit": source.arbitrary::<bool>()?,
        "job": source.choose(&IDS)?,
    });
    if source.ratio(1, 3)? {
        let keys = ["version", "fingerprint", "state", "step", "owner", "createdAt", "job", "webhook", "kind", "budget"];
        entry[*source.choose(&keys)?] = json(source, 2)?;
    }
    Ok(entry.to_string())
}

/// The journal's record of a job duration, nearly one, or anything else.
pub fn duration(source: &mut Source<'_>) -> Drawn<String> {
    if source.ratio(1, 5)? {
        return Ok(json(source, 0)?.to_string());
    }
    let ms = if source.ratio(1, 4)? { 60_000.0 } else { number(source)? };
    let mut duration = json!({"version": 2, "kind": hash::hex(source.arbitrary()?), "ms": ms, "at": 1_795_000_000_000_u64});
    if source.ratio(1, 3)? {
        duration[*source.choose(&["kind", "ms", "at"])?] = json(source, 2)?;
    }
    Ok(duration.to_string())
}
