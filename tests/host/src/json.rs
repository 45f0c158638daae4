//! The host's reading of JSON, over `serde_json`.

use custom_template_jobs::job::JobFields;
use custom_template_jobs::member::Member;
use serde_json::Value;

/// How deep an error body is searched for a message.
const DEPTH: u32 = 16;

/// Parses a JSON text.
///
/// # Panics
/// If the text is not JSON.
pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A value of a member.
pub fn member_of(value: Option<&Value>) -> Member {
    match value {
        None | Some(Value::Null) => Member::Unset,
        Some(Value::Bool(truth)) => Member::Bool(*truth),
        Some(Value::Number(number)) => number.as_f64().map_or(Member::Unset, Member::Number),
        Some(Value::String(text)) => Member::Text(text.clone()),
        Some(Value::Array(_)) => Member::List,
        Some(Value::Object(_)) => Member::Object,
    }
}

/// The fields of a job that the core reads.
pub fn job_fields(job: &Value) -> JobFields {
    let member = |name| member_of(job.get(name));
    let is_filled = |name| job.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    JobFields {
        id: member("id"),
        status: member("status"),
        progress: member("progress"),
        has_preview: is_filled("preview"),
        has_video: is_filled("video_output"),
        updated_at: member("updated_at"),
        credits_used: member("credits_used"),
        duration: member("duration"),
    }
}

/// The first message in an error body: its `detail`, or that of a field with the field's path.
pub fn reason(body: &Value) -> Option<String> {
    let detail = body.get("detail").and_then(Value::as_str);
    detail.map(Into::into).or_else(|| first_text(body, "", DEPTH))
}

fn first_text(body: &Value, path: &str, depth: u32) -> Option<String> {
    let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match body {
        Value::String(text) if path.is_empty() => Some(text.clone()),
        Value::String(text) => Some(format!("{path}: {text}")),
        _ if depth == 0 => None,
        Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| match item {
            Value::String(_) => first_text(item, path, depth - 1),
            _ => first_text(item, &within(&at.to_string()), depth - 1),
        }),
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            names.iter().find_map(|name| first_text(&fields[*name], &within(name), depth - 1))
        }
        _ => None,
    }
}

/// The JSON text of a request with its `webhook_url` replaced.
pub fn with_webhook_url(request: &str, url: &str) -> String {
    let mut request = json(request);
    request["webhook_url"] = url.into();
    request.to_string()
}

/// Whether a job has all values of a request that determine the video.
pub fn covers(request: &str, job: &Value) -> bool {
    let request = json(request);
    ["variables", "model_version"].into_iter().all(|name| {
        let (given, found) = (&request[name], &job[name]);
        given.is_null() || has(found, given) || *given == "standard" && !found.is_string()
    })
}

/// Whether a value contains another one. Additional members are ignored.
fn has(found: &Value, given: &Value) -> bool {
    match (given, found) {
        (Value::Object(given), Value::Object(found)) => {
            given.iter().all(|(name, value)| has(found.get(name).unwrap_or(&Value::Null), value))
        }
        (Value::Array(given), Value::Array(found)) => {
            given.len() == found.len() && given.iter().zip(found).all(|(given, found)| has(found, given))
        }
        _ => given == found,
    }
}

/// Parses a time of the provider, `2026-02-03T10:24:11.482913Z`, to milliseconds since 1970.
pub fn parse_time(text: &str) -> Option<f64> {
    let (date, time) = text.split_once('T')?;
    let numbers = |text: &str, separator| text.split(separator).map(str::parse::<f64>).collect::<Result<Vec<_>, _>>().ok();
    let [year, month, day] = numbers(date, '-')?.try_into().ok()?;
    let [hours, minutes, seconds] = numbers(time.strip_suffix('Z')?, ':')?.try_into().ok()?;
    // Howard Hinnant's `days_from_civil`.
    let (year, month) = if month > 2.0 { (year, month - 3.0) } else { (year - 1.0, month + 9.0) };
    let era = (year / 400.0).floor();
    let year_of_era = year - era * 400.0;
    let day_of_year = ((153.0 * month + 2.0) / 5.0).floor() + day - 1.0;
    let day_of_era = year_of_era * 365.0 + (year_of_era / 4.0).floor() - (year_of_era / 100.0).floor() + day_of_year;
    let days = era * 146_097.0 + day_of_era - 719_468.0;
    Some((((days * 24.0 + hours) * 60.0 + minutes) * 60.0 + seconds) * 1_000.0)
}

/// Formats milliseconds since 1970 as the provider writes times.
pub fn format_time(ms: f64) -> String {
    let (days, rest) = ((ms / 86_400_000.0).floor(), ms.rem_euclid(86_400_000.0));
    // The reverse of the above function.
    let days = days + 719_468.0;
    let era = (days / 146_097.0).floor();
    let of_era = days - era * 146_097.0;
    let leaps = (of_era / 1_460.0).floor() - (of_era / 36_524.0).floor() + (of_era / 146_096.0).floor();
    let year_of_era = ((of_era - leaps) / 365.0).floor();
    let of_year = of_era - (365.0 * year_of_era + (year_of_era / 4.0).floor() - (year_of_era / 100.0).floor());
    let part = ((5.0 * of_year + 2.0) / 153.0).floor();
    let day = of_year - ((153.0 * part + 2.0) / 5.0).floor() + 1.0;
    let month = if part < 10.0 { part + 3.0 } else { part - 9.0 };
    let year = year_of_era + era * 400.0 + if month <= 2.0 { 1.0 } else { 0.0 };
    let (hours, minutes, seconds) =
        ((rest / 3_600_000.0).floor(), (rest / 60_000.0).floor() % 60.0, (rest / 1_000.0).floor() % 60.0);
    let micros = (rest % 1_000.0 * 1_000.0).floor();
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        let ms = parse_time("2026-02-03T10:24:11.482913Z").expect("a time");
        assert!((ms - 1_770_114_251_482.913).abs() < 0.01, "{ms}");
        assert_eq!(format_time(1_770_114_251_482.0), "2026-02-03T10:24:11.482000Z");
        for ms in [0.0, 951_782_400_000.0, 1_709_164_800_000.0, 1_795_000_000_001.0] {
            assert_eq!(parse_time(&format_time(ms)), Some(ms));
        }
    }

    #[test]
    fn a_job_covers_a_request_whatever_it_adds() {
        let job = json(r#"{"variables":{"t":{"type":"text","text":"a","color":"red"},"l":[1,2]},"name":"n"}"#);
        for (request, covered) in [
            ("{}", true),
            (r#"{"name":"other"}"#, true),
            (r#"{"variables":{"t":{"text":"a"}}}"#, true),
            (r#"{"variables":{"t":{"text":"b"}}}"#, false),
            (r#"{"variables":{"l":[1]}}"#, false),
            (r#"{"variables":{"new":1}}"#, false),
            (r#"{"model_version":"standard"}"#, true),
            (r#"{"model_version":"aurora_v1"}"#, false),
        ] {
            assert_eq!(covers(request, &job), covered, "{request}");
        }
    }
}
