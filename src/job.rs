//! The fields of a job that the core reads.

use crate::api::{Goal, Status, is_uuid};
use crate::member::Member;

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
