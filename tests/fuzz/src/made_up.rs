//! What may come from outside: JSON of every shape, and jobs, error bodies, answers and journal entries that are nearly right.

use std::rc::Rc;

use custom_template_jobs::host::Answer;
use custom_template_jobs::value::place::Whole as _;

use crate::value::Json;
use crate::{Drawn, Source};

/// Ids of jobs.
pub const IDS: [&str; 3] =
    ["11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555", "abcdefab-2222-4333-8444-abcdefabcdef"];

/// Operation ids that callers choose.
pub const OPERATIONS: [&str; 6] = ["op", "order/7", "__proto__", "a=5", "two\nlines", "{operation}"];

/// What a runtime says where no answer came; only the first three prove that nothing was sent.
const CODES: [&str; 8] =
    ["ECONNREFUSED", "ENOTFOUND", "ConnectionRefused", "ECONNRESET", "", "UND_ERR_SOCKET", "econnrefused", "ECONNREFUSED "];

/// Words that mean something somewhere.
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
    "posting",
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

/// A number: most are ordinary, the others are what JSON can spell and nobody means. `1e999` is infinite to JavaScript.
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
pub fn text(source: &mut Source<'_>) -> Drawn<Json> {
    Ok(match source.int_in_range(0..=5)? {
        0..=2 => Json::text(source.choose(&WORDS)?),
        3 => Json::text(source.choose(&IDS)?),
        4 => {
            let length = source.int_in_range(0..=40_usize)?.min(source.len());
            let letters = source.bytes(length)?;
            Json::text(&String::from_utf8_lossy(letters))
        }
        _ => Json::text(&"x".repeat(source.int_in_range(1..=5_000)?)),
    })
}

/// Any JSON.
pub fn json(source: &mut Source<'_>, depth: u32) -> Drawn<Json> {
    Ok(match source.int_in_range(0..=if depth > 4 { 5 } else { 8 })? {
        0 => Json::Null,
        1 => Json::Bool(source.arbitrary()?),
        2 => Json::Number(number(source)?),
        3..=5 => text(source)?,
        6 => {
            let items: Drawn<Vec<Json>> = (0..source.int_in_range(0..=4)?).map(|_| json(source, depth + 1)).collect();
            Json::List(Rc::new(items?))
        }
        7 => {
            let mut object = Json::record();
            for _ in 0..source.int_in_range(0..=4)? {
                object = object.with(source.choose(&KEYS)?, &json(source, depth + 1)?);
            }
            object
        }
        _ => {
            // A list in a list, and so on.
            let mut deep = Json::Null;
            for _ in 0..source.int_in_range(0..=300)? {
                deep = Json::List(Rc::new(vec![deep]));
            }
            deep
        }
    })
}

thread_local! {
    /// The corpus that both readers of values are held to.
    static CORPUS: Vec<Json> = {
        let cases: serde_json::Value = serde_json::from_str(include_str!("../../corpus/jobs.json")).unwrap_or_default();
        let bodies = cases.as_array().into_iter().flatten().filter_map(|case| case["body"].as_str());
        bodies.filter_map(|body| serde_json::from_str(body).ok()).map(|body| Json::of(&body)).collect()
    };
}

/// A job of that id, with as many odd fields as the data has wishes.
pub fn job(source: &mut Source<'_>, id: &str) -> Drawn<Json> {
    let mut job = if source.ratio(1, 4)? {
        CORPUS.with(|corpus| source.choose(corpus).cloned())?
    } else {
        let status = source.choose(&["done", "pending", "running", "failed", "rejected", "archived"])?;
        let job = Json::record().with_text("id", id).with_text("status", status).with_number("progress", 0.5);
        let job = job.with_text("preview", "https://cdn.test/p").with_text("updated_at", "2026-11-22T00:00:00Z");
        if *status == "done" { job.with_text("video_output", "https://cdn.test/v") } else { job }
    };
    for _ in 0..source.int_in_range(0..=3)? {
        job = job.with(source.choose(&KEYS)?, &json(source, 1)?);
    }
    Ok(job)
}

/// What a refusal says.
fn error_body(source: &mut Source<'_>) -> Drawn<Json> {
    Ok(match source.int_in_range(0..=4)? {
        0 => Json::record().with("detail", &json(source, 2)?),
        1 => Json::record().with(source.choose(&KEYS)?, &json(source, 2)?).with(source.choose(&KEYS)?, &json(source, 2)?),
        2 => Json::list().and(&json(source, 2)?),
        _ => json(source, 0)?,
    })
}

/// A status, in the range of HTTP or not.
fn status(source: &mut Source<'_>) -> Drawn<f64> {
    const STATUSES: [u16; 25] = [
        200, 201, 202, 204, 299, 0, 100, 301, 302, 304, 400, 401, 402, 403, 404, 406, 408, 409, 413, 422, 425, 429, 500,
        503, 599,
    ];
    Ok(if source.ratio(9, 10)? { f64::from(*source.choose(&STATUSES)?) } else { number(source)? })
}

/// What comes of a request for the job of that id: as `Host::send` describes it, and odd within that.
pub fn reply(source: &mut Source<'_>, id: &str) -> Drawn<Answer<Json>> {
    let asked = |record: Json, source: &mut Source<'_>| -> Drawn<Json> {
        Ok(if source.ratio(1, 4)? { record.with_number("retryAfter", number(source)?) } else { record })
    };
    let record = Json::record();
    Ok(Ok(match source.int_in_range(0..=15)? {
        0..=3 => record.with_number("status", 200.0).with("body", &job(source, id)?),
        4..=5 => record.with_number("status", status(source)?).with("body", &job(source, id)?),
        6..=7 => asked(record.with_number("status", status(source)?), source)?.with("body", &error_body(source)?),
        8..=9 => record.with_number("status", status(source)?).with("text", &text(source)?),
        10..=11 => {
            // An answer that broke off.
            let whole = job(source, id)?.written();
            let end = source.int_in_range(0..=whole.len())?;
            let text = String::from_utf8_lossy(&whole.as_bytes()[..end]).into_owned();
            let record = record.with_number("status", status(source)?).with("broken", &Json::Bool(true));
            asked(record, source)?.with_text("text", &text)
        }
        12..=13 => record.with_text("code", source.choose(&CODES)?),
        14 => record.with_text("field", "apiKey").with_text("message", "could not be made"),
        _ if source.arbitrary()? => record,
        _ => return Ok(Err(text(source)?)),
    }))
}

/// What a journal may hold: an entry, nearly one, or anything.
pub fn entry(source: &mut Source<'_>) -> Drawn<Json> {
    if source.ratio(1, 5)? {
        return json(source, 0);
    }
    let mut entry = Json::record()
        .with_number("version", 1.0)
        .with_number("fingerprint", number(source)?)
        .with_text("state", source.choose(&["bound", "posting", "unknown", "ended", "rejected"])?)
        .with_text("step", source.choose(&["submit", "preview", "render", "delete"])?)
        .with_number("at", number(source)?)
        .with_text("job", source.choose(&IDS)?);
    if source.ratio(1, 3)? {
        let key = source.choose(&["version", "fingerprint", "state", "step", "at", "job", "hook"])?;
        entry = entry.with(key, &json(source, 2)?);
    }
    Ok(entry)
}

/// The kind of the jobs that are charged for: by their template, a step, and a model.
pub fn kind(step_and_model: u8) -> f64 {
    Json::text(IDS[2]).hash(f64::from(step_and_model))
}

/// What a journal may hold of how long jobs of a kind took: nearly that, or anything.
pub fn duration(source: &mut Source<'_>, kind: f64) -> Drawn<Json> {
    if source.ratio(1, 5)? {
        return json(source, 0);
    }
    let ms = if source.ratio(1, 4)? { 60_000.0 } else { number(source)? };
    let mut duration = Json::record().with_number("kind", kind).with_number("ms", ms).with_number("at", 1_795_000_000_000.0);
    if source.ratio(1, 3)? {
        let key = source.choose(&["kind", "ms", "at"])?;
        duration = duration.with(key, &json(source, 2)?);
    }
    Ok(duration)
}
