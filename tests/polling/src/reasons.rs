//! Why a world misses a limit, or has a client that is clearly better: the one thing without which it would not.

use crate::SECOND;
use crate::judge::Found;
use crate::world::{Durations, Failures, Progress, Queue, Remembered, World};

/// A reason, and what makes a world one without it.
type Reason = (&'static str, fn(&mut World));

const REASONS: [Reason; 7] = [
    ("a constant duration, which some interval divides", |world| {
        if world.durations == Durations::Constant {
            world.durations = Durations::LogNormal(0.1);
        }
    }),
    ("jobs that fail, which nothing announces", |world| world.failures = Failures::None),
    ("what is remembered is wrong", |world| {
        if world.remembered != Remembered::Nothing {
            world.remembered = Remembered::Right;
        }
    }),
    ("slow answers", |world| world.answer = 20.0),
    ("a queue, of which nothing shows the length", |world| world.queue = Queue::None),
    ("durations that vary", |world| world.durations = Durations::Constant),
    ("progress that shows little", |world| world.progress = Progress::Exact),
];

/// The first reason without which `shows` does not hold of the world any more.
pub fn reason(world: &World, count: usize, shows: impl Fn(&Found) -> bool) -> &'static str {
    let found = REASONS.iter().find(|(_, change)| {
        let mut other = world.clone();
        change(&mut other);
        other != *world && !shows(&Found::over(other, count))
    });
    match found {
        Some((reason, _)) => reason,
        None if world.median() < 10.0 * SECOND => "jobs that end within the first polls",
        None => "several reasons at once",
    }
}
