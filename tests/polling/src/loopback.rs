//! Jobs of drawn worlds that real clients wait for over loopback, and what the replay finds of each world.

use custom_template_jobs::api::Status;
use custom_template_jobs::poll::Urgency;
use serde_json::{Value, json};

use crate::SECOND;
use crate::rules::{Cost, ours};
use crate::world::{Job, Remembered, World};

/// Nobody fitted or judged the rule on them.
const FROM: u64 = 7_000;
const WORLDS: usize = 10;
/// Jobs of each world, of those that end soon enough for a test.
const JOBS: usize = 48;
const LONGEST: f64 = 150.0 * SECOND;
/// How exactly the server follows the progress of a job, in milliseconds.
const STEP: f64 = 20.0;

/// The worlds, each with its jobs and their replay.
pub fn worlds() -> Value {
    let short = (FROM..).map(World::draw).filter(|world| world.median() <= 60.0 * SECOND);
    json!(short.take(WORLDS).map(|world| replayed(&world)).collect::<Vec<_>>())
}

fn replayed(world: &World) -> Value {
    let expected = match world.remembered {
        Remembered::Nothing => None,
        Remembered::Right => Some(world.median()),
        Remembered::Short => Some(world.median() / 3.0),
        Remembered::Long => Some(world.median() * 3.0),
        Remembered::Other => Some(world.other),
    };
    let jobs: Vec<Job> = world.jobs(10 * JOBS).into_iter().filter(|job| job.end <= LONGEST).take(JOBS).collect();
    let cost = Cost::mean(jobs.iter().map(|job| ours(world, job, expected, false, Urgency::Normal).into()));
    json!({
        "world": world.describe(),
        "answer": world.answer,
        "expected": expected,
        "replayed": { "requests": cost.requests, "lag": cost.lag },
        "jobs": jobs.iter().map(|job| json!({ "end": job.end, "states": states(world, job) })).collect::<Vec<_>>(),
    })
}

/// What the job shows from each moment on at which that changes: `[milliseconds, status, progress]`.
fn states(world: &World, job: &Job) -> Vec<Value> {
    let mut shown: Vec<(f64, &str, Option<f64>)> = Vec::new();
    for at in (0..).map(|step| f64::from(step) * STEP).take_while(|at| *at < job.end).chain([job.end]) {
        let facts = world.facts(job, at);
        let status = match facts.status {
            Status::InQueue => "in_queue",
            Status::Running => "running",
            Status::Done => "done",
            _ => "failed",
        };
        if shown.last().is_none_or(|(_, before, progress)| (*before, *progress) != (status, facts.progress)) {
            shown.push((at, status, facts.progress));
        }
    }
    shown.into_iter().map(|state| json!(state)).collect()
}
