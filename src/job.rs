//! The fields of a job that the core reads.

use crate::api::{Goal, Status, is_uuid};

/// A member of a JSON object, copied as far as the core needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Member {
    /// The member is missing, `null`, or of a kind that JSON does not have.
    #[default]
    Unset,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List,
    /// An object.
    Object,
}

impl Member {
    /// The string, if this is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The string, if this is one, by value.
    pub fn into_text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The string, if this is one that is not empty.
    pub fn filled(&self) -> Option<&str> {
        self.text().filter(|text| !text.is_empty())
    }

    /// The number, or the one that this string spells in decimal digits, such as `"12.5"`.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => decimal(text),
            _ => None,
        }
    }

    /// The number, if it is a whole one from 0 to 2^53.
    pub fn whole(&self) -> Option<u64> {
        match self {
            Self::Number(number) if *number >= 0.0 && *number <= 9_007_199_254_740_992.0 => Some(*number as u64),
            _ => None,
        }
    }
}

/// A number that is spelled in at most 15 digits before the point, and at most 15 after it.
fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| {
        let all = !part.is_empty() && part.len() <= 15 && part.bytes().all(|byte| byte.is_ascii_digit());
        if all { part.parse::<u64>().ok() } else { None }
    };
    let scale = (0..fraction.len()).fold(1.0, |scale, _| scale * 10.0);
    Some(digits(whole)? as f64 + digits(fraction)? as f64 / scale)
}

/// The members of a job as the host copies them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFields {
    /// `id`
    pub id: Member,
    /// `status`
    pub status: Member,
    /// `progress`
    pub progress: Member,
    /// Whether `preview` is a string that is not empty.
    pub has_preview: bool,
    /// Whether `video_output` is a string that is not empty.
    pub has_video: bool,
    /// `updated_at`
    pub updated_at: Member,
    /// `credits_used`
    pub credits_used: Member,
    /// `duration`
    pub duration: Member,
}

/// What the core knows of a job. The job itself stays with the host.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFacts {
    /// The id, lower-cased.
    pub id: String,
    /// The state of its current step.
    pub status: Status,
    /// As the server reports it; the range is not documented, 0 to 1 or 0 to 100.
    pub progress: Option<f64>,
    /// Whether the URL of the preview is there.
    pub preview: bool,
    /// Whether the URL of the video is there.
    pub video: bool,
    /// `updated_at`, hashed: it changes whenever the server changed the job.
    pub version: Option<u64>,
    /// Credits that were charged; 0 until the work was done.
    pub credits_used: Option<f64>,
    /// The length of the video, in seconds.
    pub duration: Option<f64>,
}

impl JobFacts {
    /// Reads the members; `None` where they are not those of a job: the `id` is no UUID.
    pub fn read(fields: JobFields) -> Option<Self> {
        let id = fields.id.into_text().filter(|id| is_uuid(id))?.to_ascii_lowercase();
        // A number outside of this range is a mistake of the server's.
        let number = |member: Member| member.number().filter(|number| (0.0..1e15).contains(number));
        Some(Self {
            id,
            status: fields.status.text().map_or(Status::Unknown, Status::parse),
            progress: number(fields.progress),
            preview: fields.has_preview,
            video: fields.has_video,
            version: fields.updated_at.text().map(|text| crate::hash::of(text.as_bytes())),
            credits_used: number(fields.credits_used),
            duration: number(fields.duration),
        })
    }

    /// Whether the wait for `goal` has succeeded. A preview's URL counts whatever the status is, because the provider's
    /// status after a preview is not uniform; a video needs `done`.
    pub const fn meets(&self, goal: Goal) -> bool {
        match goal {
            Goal::Preview => self.preview,
            Goal::Video => self.video && matches!(self.status, Status::Done),
            Goal::Done => matches!(self.status, Status::Done),
            Goal::Settled => !self.status.is_active() || self.video,
        }
    }

    /// Whether a render was begun, for a job that was not seen before the render.
    pub const fn is_rendered_or_rendering(&self) -> bool {
        self.video || (self.preview && self.status.is_active())
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_in_a_string_is_a_number_and_nothing_else_is() {
        for (text, number) in [("12", 12.0), ("0.5", 0.5), ("100.25", 100.25)] {
            assert_eq!(Member::Text(text.into()).number(), Some(number), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "1e3", "Infinity", "0x10", " 1", "1 ", "1.2.3", "1234567890123456"] {
            assert_eq!(Member::Text(text.into()).number(), None, "{text:?}");
        }
        assert_eq!(Member::Bool(true).number(), None);
    }
}
