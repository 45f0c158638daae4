//! What a progress bar shows that is fed by updates: each second, and at each poll.

use custom_template_jobs::poll::{self, Memory, Urgency};
use polling::SECOND;
use polling::world::{Durations, Failures, Job, Progress, Queue, Remembered, World};

/// What is shown of one job until it is seen to have ended: (when, how far).
fn shown(world: &World, job: &Job, expected: Option<f64>) -> Vec<(f64, f64)> {
    let mut memory = Memory::new(0.0, expected);
    let mut facts = world.facts(job, 0.0);
    let (mut mark, mut bar) = (None, vec![(0.0, 0.0)]);
    let mut polled = 0.0;
    loop {
        let due = polled + poll::next(&facts, &memory, Urgency::Normal, polled);
        let mut now = polled;
        while now < due {
            now = (now + SECOND).min(due);
            mark = poll::progress(&facts, &memory, mark, now);
            bar.push((now, mark.map_or(0.0, |mark| mark.progress)));
        }
        if due >= job.end {
            return bar;
        }
        (facts, polled) = (world.facts(job, due), due);
        memory.observe(&facts, due);
    }
}

#[test]
fn once_something_is_known_the_bar_never_stands_still_and_is_nearly_full_before_the_end() {
    for (seconds, progress, expected) in [6.0, 45.0, 300.0].into_iter().flat_map(|seconds| {
        [(Progress::Exact, false), (Progress::Rounded(0.05), false), (Progress::Bent, false), (Progress::Absent, true)]
            .map(|(progress, expected)| (seconds, progress, expected))
    }) {
        let world = World {
            run: seconds * SECOND,
            durations: Durations::LogNormal(0.1),
            queue: Queue::None,
            progress,
            remembered: Remembered::Nothing,
            failures: Failures::None,
            ..World::draw(seconds as u64)
        };
        let (mut still, mut least) = (0.0f64, Vec::new());
        for job in world.jobs(1_000) {
            let bar = shown(&world, &job, expected.then_some(world.run));
            let mut moved = bar.iter().find(|(_, shown)| *shown > 0.0).map_or(0.0, |(at, _)| *at);
            for pair in bar.windows(2) {
                if pair[1].1 > pair[0].1 {
                    moved = pair[1].0;
                }
                if pair[1].1 < 0.95 && pair[1].0 < job.end && pair[0].1 > 0.0 {
                    still = still.max(pair[1].0 - moved);
                }
            }
            let before = bar.iter().rev().find(|(at, _)| *at < job.end).map_or(0.0, |(_, shown)| *shown);
            least.push(before);
        }
        least.sort_by(f64::total_cmp);
        let what = format!(
            "{seconds} s, {progress:?}, remembered {expected}: {still} ms still, {:.2} and {:.2}",
            least[0], least[100]
        );
        assert!(still <= 1.1 * SECOND, "{what}");
        // A job of a few seconds is over before there is much to show.
        if seconds > 10.0 {
            let informs = matches!(progress, Progress::Exact | Progress::Rounded(_));
            assert!(if informs { least[0] >= 0.9 } else { least[100] >= 0.8 }, "{what}");
        }
    }
}
