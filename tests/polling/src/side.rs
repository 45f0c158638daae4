//! Jobs that real clients wait for side by side, and what the replay says of each.

use custom_template_jobs::poll::Urgency;
use sandbox::random::Random;
use serde_json::{Value, json};

use crate::SECOND;
use crate::rules::{PEERS, Wait, ours};
use crate::world::{Durations, Failures, Job, Progress, Queue, Remembered, World};

/// So many worlds, with jobs of up to a minute, and one job of each.
const WORLDS: u64 = 10;

/// One job of each world. Progress is exact in steps of 1 %, since the server of the bench reports no other; no job fails, since
/// not every client knows one that did. Times are in milliseconds.
pub fn jobs(seed: u64) -> Value {
    let mut random = Random::new(&[seed, 4]);
    let worlds = (0..WORLDS).map(|number| World {
        run: random.between(8.0, 60.0) * SECOND,
        durations: Durations::LogNormal(0.5),
        queue: if number % 2 == 0 { Queue::None } else { Queue::Short },
        progress: Progress::Rounded(0.01),
        remembered: Remembered::Right,
        failures: Failures::None,
        answer: 12.0,
        ..World::draw(seed + number)
    });
    let found: Vec<Value> =
        worlds.flat_map(|world| world.jobs(1).into_iter().map(move |job| side_by_side(&world, &job))).collect();
    json!(found)
}

fn side_by_side(world: &World, job: &Job) -> Value {
    let peer = |name: &str| {
        let peer = PEERS.iter().find(|peer| peer.name.contains(name));
        peer.map(|peer| seen(peer.wait(world, job, &mut Random::new(&[]))))
    };
    let absent = World { progress: Progress::Absent, ..world.clone() };
    json!({
        "running": job.running,
        "end": job.end,
        "expected": world.median(),
        "replayed": {
            "ours": seen(ours(world, job, Some(world.median()), false, Urgency::Normal)),
            "ours, watched": seen(ours(world, job, Some(world.median()), true, Urgency::Normal)),
            "ours, told nothing": seen(ours(&absent, job, None, false, Urgency::Normal)),
            "fal": peer("fal"),
            "replicate": peer("replicate"),
            "openai": peer("openai"),
            "tsavo": peer("tsavo"),
        },
    })
}

fn seen(wait: Wait) -> Value {
    json!({ "requests": wait.requests, "lag": wait.lag })
}
