//! Jobs and their phases. The state of a job at any time is a pure function of its schedule.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::prices::Step;
use crate::random::Random;
use crate::validate::ModelVersion;

/// The six statuses.
// documented: the six statuses; that a job starts as `pending` and that a preview's result is read at `done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Accepted.
    Pending,
    /// Waiting for a worker.
    InQueue,
    /// A worker processes the job.
    Running,
    /// Ended with a result.
    Done,
    /// Ended without one.
    Failed,
    /// Refused after it had been accepted.
    Rejected,
}

impl Status {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InQueue => "in_queue",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// How a phase ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Done,
    /// With a reason.
    Failed(String),
    /// With a reason.
    Rejected(String),
    /// The phase never ends.
    Never,
}

/// One charged step of a job, from its request to its end. Times are the engine's milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// The step.
    pub step: Step,
    /// The time of the request.
    pub start: u64,
    /// The time when `pending` becomes `in_queue`.
    pub queued: u64,
    /// The time when `in_queue` becomes `running` and the credits are debited.
    pub running: u64,
    /// The time of the end; `u64::MAX` for never.
    pub end: u64,
    /// The time of the end without faults, which progress is measured against.
    pub nominal_end: u64,
    /// The ending.
    pub ending: Ending,
    /// The exponent of its progress curve.
    pub curve: f64,
    /// The price in credits.
    pub credits: f64,
    /// An undocumented status that replaces `running`.
    pub odd_status: Option<String>,
    /// The index of its charge in the ledger.
    pub charge: usize,
}

impl Phase {
    /// Draws the schedule of a step.
    // assumed: all durations. They grow with the length of the video.
    pub fn draw(step: Step, start: u64, video_seconds: f64, speed: f64, credits: f64, random: &mut Random) -> Self {
        let pending = random.between(0.3, 0.7);
        let (queue, work) = match step {
            Step::Preview => (random.between(0.4, 1.0), 1.9 + video_seconds * random.between(0.045, 0.065)),
            Step::Render => (random.between(0.8, 1.8), 5.5 + video_seconds * random.between(0.28, 0.38)),
            Step::Submit => (random.between(0.8, 1.8), 7.0 + video_seconds * random.between(0.33, 0.44)),
        };
        let at = |seconds: f64| start + (seconds * 1000.0 / speed).round() as u64;
        let end = at(pending + queue + work);
        Self {
            step,
            start,
            queued: at(pending),
            running: at(pending + queue),
            end,
            nominal_end: end,
            ending: Ending::Done,
            curve: random.between(0.85, 1.25),
            credits,
            odd_status: None,
            charge: 0,
        }
    }

    /// Sets how the phase ends. It ends no earlier than `from`.
    pub fn end_with(&mut self, ending: Ending, from: u64) {
        let span = self.nominal_end.saturating_sub(self.running);
        self.end = match ending {
            Ending::Done => self.nominal_end,
            Ending::Never => u64::MAX,
            // assumed: a job is rejected before it runs, and fails while it runs.
            Ending::Rejected(_) => self.running,
            Ending::Failed(_) => self.running + span * 3 / 5,
        }
        .max(from);
        self.ending = ending;
    }

    /// The status at `now`.
    pub fn status(&self, now: u64) -> Status {
        if now >= self.end {
            return match self.ending {
                Ending::Done => Status::Done,
                Ending::Failed(_) => Status::Failed,
                Ending::Rejected(_) => Status::Rejected,
                Ending::Never => Status::Running,
            };
        }
        if now >= self.running {
            Status::Running
        } else if now >= self.queued {
            Status::InQueue
        } else {
            Status::Pending
        }
    }

    /// Whether it has ended with a result.
    pub fn is_done(&self, now: u64) -> bool {
        now >= self.end && self.ending == Ending::Done
    }

    /// Whether it has ended without a result.
    pub fn is_lost(&self, now: u64) -> bool {
        now >= self.end && matches!(self.ending, Ending::Failed(_) | Ending::Rejected(_))
    }

    /// The time of the last status change.
    pub fn changed(&self, now: u64) -> u64 {
        [self.end, self.running, self.queued].into_iter().find(|moment| *moment <= now).unwrap_or(self.start)
    }

    /// The progress, from 0 to 1.
    // assumed: progress goes from 0 to 1. The documentation does not give its range; two third parties do.
    pub fn progress(&self, now: u64) -> f64 {
        if self.is_done(now) {
            return 1.0;
        }
        let now = now.min(self.end);
        if now < self.running {
            return 0.0;
        }
        let span = self.nominal_end.saturating_sub(self.running).max(1) as f64;
        let part = ((now - self.running) as f64 / span).min(1.0);
        (part.powf(self.curve).min(0.97) * 100.0).floor() / 100.0
    }
}

/// A job with its phases.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// The number of jobs created before it.
    pub number: u64,
    /// The index of its template.
    pub template: usize,
    /// The name from the request.
    pub name: Option<String>,
    /// The variables from the request.
    pub variables: Map<String, Value>,
    /// The receiver of webhooks.
    pub webhook_url: Option<String>,
    /// The avatar model.
    pub model: ModelVersion,
    /// The flag `is_hidden` from the request.
    pub is_hidden: bool,
    /// The id `media_job` of the answer.
    pub media_job: Uuid,
    /// The secret part of the preview's URL.
    pub preview_token: Uuid,
    /// The secret part of the video's URL.
    pub video_token: Uuid,
    /// The time of its creation, in milliseconds.
    pub created: u64,
    /// The microseconds that are added to each of its times.
    pub micros: u64,
    /// The origin of the last charging call, used for the URLs in webhooks.
    pub origin: String,
    /// The phases, oldest first; never empty.
    pub phases: Vec<Phase>,
}

/// The context of a job's JSON form.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The origin of URLs.
    pub origin: &'a str,
    /// The length of the template's video.
    pub seconds: f64,
    /// Whether the account has access to the editor.
    pub editor_access: bool,
}

impl Job {
    /// The latest phase.
    pub fn phase(&self) -> Option<&Phase> {
        self.phases.last()
    }

    /// Its status at `now`.
    pub fn status(&self, now: u64) -> Status {
        self.phase().map_or(Status::Pending, |phase| phase.status(now))
    }

    /// Whether its preview exists at `now`.
    // assumed: a submitted job also has a preview, once it is done.
    pub fn has_preview(&self, now: u64) -> bool {
        self.phases.iter().any(|phase| phase.step != Step::Render && phase.is_done(now))
    }

    /// Whether its video exists at `now`.
    // assumed: videos never expire. The documentation does not say how long they are kept.
    pub fn has_video(&self, now: u64) -> bool {
        self.phases.iter().any(|phase| phase.step != Step::Preview && phase.is_done(now))
    }

    /// The credits charged for it at `now`.
    // observed: in sibling groups, `credits_used` is 0 in the answer that creates the job, and has its final value later.
    // assumed: `credits_used` is the sum over all steps of the job; failed and rejected steps are refunded.
    pub fn credits_used(&self, now: u64) -> f64 {
        self.phases.iter().filter(|phase| now >= phase.running && !phase.is_lost(now)).map(|phase| phase.credits).sum()
    }

    /// The URL of its preview.
    pub fn preview_url(&self, origin: &str) -> String {
        format!("{origin}/preview/{}", self.preview_token)
    }

    /// The URL of its video.
    pub fn video_url(&self, origin: &str) -> String {
        format!("{origin}/media/{}.mp4", self.video_token)
    }

    /// The reason of a failure or rejection; empty for any other job.
    // assumed: `failed_reason` is empty without a failure, since the documented type has no null. Siblings return either.
    pub fn failed_reason(&self, now: u64) -> &str {
        match self.phase() {
            Some(phase) if phase.is_lost(now) => match &phase.ending {
                Ending::Failed(reason) | Ending::Rejected(reason) => reason,
                Ending::Done | Ending::Never => "",
            },
            _ => "",
        }
    }

    /// A time of this job in JSON form.
    pub fn time(&self, ms: u64) -> String {
        rfc3339(ms, self.micros)
    }

    /// The body of every answer about the job.
    // documented: the fields of a job, in this order. `template_id` is write-only.
    pub fn body(&self, now: u64, around: Surroundings<'_>, status: Option<&str>) -> Value {
        let phase = self.phase();
        let changed = phase.map_or(self.created, |phase| phase.changed(now));
        let odd = phase.and_then(|phase| phase.odd_status.as_deref()).filter(|_| self.status(now) == Status::Running);
        let status = status.or(odd).unwrap_or(self.status(now).name());
        let preview = self.has_preview(now);
        let video = self.has_video(now);
        // documented: `editor_url` expires after 24 hours, and needs editor access.
        // assumed: `editor_url` appears with the first result, and its 24 hours start at the last status change.
        let editor = (around.editor_access && (preview || video)).then(|| {
            let expires = changed / 1000 + 24 * 60 * 60;
            format!("{}/editor/{}?expires={expires}", around.origin, self.preview_token)
        });
        json!({
            "id": self.id.to_string(),
            "created_at": self.time(self.created),
            // assumed: `updated_at` changes with the status.
            "updated_at": self.time(changed),
            "name": self.name,
            "variables": self.variables,
            // observed: `media_job` is set from the first answer on, in sibling groups.
            "media_job": self.media_job.to_string(),
            "video_output": video.then(|| self.video_url(around.origin)),
            // assumed: a render keeps the preview.
            "preview": preview.then(|| self.preview_url(around.origin)),
            "editor_url": editor,
            "failed_reason": self.failed_reason(now),
            "credits_used": number(self.credits_used(now)),
            // assumed: `duration` is the length of the template in whole seconds, rounded up, from the first answer on.
            "duration": around.seconds.ceil() as u64,
            "status": status,
            "progress": phase.map_or(0.0, |phase| phase.progress(now)),
            "webhook_url": self.webhook_url,
            "model_version": self.model.name(),
            "is_hidden": self.is_hidden,
        })
    }

    /// The body of a webhook.
    // documented: the video is `video_output` in the webhook of submit, and `output` in that of render.
    // assumed: webhooks of previews have the shape of submit. The URL is null until the video exists.
    pub fn webhook(&self, now: u64) -> Value {
        let video = self.has_video(now).then(|| self.video_url(&self.origin));
        let key = match self.phase().map(|phase| phase.step) {
            Some(Step::Render) => "output",
            _ => "video_output",
        };
        json!({
            "id": self.id.to_string(),
            "status": self.status(now).name(),
            "failed_reason": self.failed_reason(now),
            key: video,
        })
    }
}

/// A number of credits in JSON: an integer if it is whole.
pub fn number(credits: f64) -> Value {
    if credits.fract() == 0.0 { json!(credits as i64) } else { json!(credits) }
}

/// A time with microseconds.
// assumed: times have Django's format, in UTC with a `Z`. The documentation only says `date-time`.
pub fn rfc3339(ms: u64, micros: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        moment.year(),
        u8::from(moment.month()),
        moment.day(),
        moment.hour(),
        moment.minute(),
        moment.second(),
        (ms % 1000) * 1000 + micros % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_microseconds() {
        assert_eq!(rfc3339(1_772_530_200_042, 7), "2026-03-03T09:30:00.042007Z");
    }

    #[test]
    fn progress_never_falls_and_reaches_one_only_at_the_end() {
        let mut random = Random::new(&[9]);
        for step in [Step::Preview, Step::Render, Step::Submit] {
            let phase = Phase::draw(step, 1000, 30.0, 1.0, 1.0, &mut random);
            let seen: Vec<f64> = (1000..=phase.end).map(|now| phase.progress(now)).collect();
            assert!(seen.is_sorted());
            assert!(seen.iter().filter(|progress| **progress >= 1.0).count() == 1);
            assert!(seen[seen.len() / 2] > 0.0);
        }
    }

    #[test]
    fn longer_videos_and_renders_take_longer_than_previews() {
        for seed in 0..200 {
            let took = |step, seconds| {
                let phase = Phase::draw(step, 0, seconds, 1.0, 1.0, &mut Random::new(&[seed]));
                phase.end as f64 / 1000.0
            };
            assert!((2.5..6.5).contains(&took(Step::Preview, 30.0)));
            assert!((7.0..27.0).contains(&took(Step::Render, 30.0)));
            assert!(took(Step::Render, 45.0) > took(Step::Render, 6.0));
        }
    }

    #[test]
    fn speed_divides_every_wait() {
        let draw = |speed| Phase::draw(Step::Render, 0, 30.0, speed, 1.0, &mut Random::new(&[1])).end;
        assert!(draw(1.0).abs_diff(draw(10.0) * 10) <= 10);
    }
}
