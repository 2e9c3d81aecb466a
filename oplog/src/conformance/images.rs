//! Rule: images of all shards, and the log from the oldest of them on, make the same state again,
//! even if entries were applied between the captures; a rebuilt state goes on like any other.

use super::course::{Course, capture_one};
use crate::rng::Rng;
use crate::state::{ApplyError, Rebuild, ReplicatedState, ShardImage};

/// Random captures, beside those that are chosen by hand.
const RANDOM_RUNS: u64 = 16;

/// Captured while nothing is applied.
pub(super) fn still<S: ReplicatedState>(course: &Course<'_, S>) {
    // The receiver of a full sync had a state before, none of which may remain.
    let receivers = [(course.empty)(), course.state(course.len())];
    for (i, held) in course.points().enumerate() {
        let state = course.state(held);
        let mut images = course.capture(&state);
        for generation in ["a state from images", "a state from images of a state from images"] {
            let mut rebuild = receivers[i % 2].rebuild();
            course.install(&mut rebuild, &images, generation);
            let rebuilt = course.finish(rebuild, generation);
            course.compare(&rebuilt, held, generation);
            images = course.capture(&rebuilt);
            course.follow(&rebuilt, held, generation);
        }
    }
}

/// Captured while entries are applied.
pub(super) fn moving<S: ReplicatedState>(course: &Course<'_, S>) {
    let half = course.len() / 2;
    let shards = course.shards;
    // All entries at once, at one place: before the last shard, after the first, in the middle,
    // after the last.
    for place in [shards.saturating_sub(2), 0, shards / 2, shards - 1] {
        for start in [0, half] {
            move_through(course, start, |shard, left| if shard == place { left / 2 } else { 0 });
        }
    }
    for seed in 0..RANDOM_RUNS {
        let mut dice = Rng::new(seed);
        let start = dice.below(course.len());
        move_through(course, start, |shard, left| match dice.below(2) {
            0 => 0,
            _ => dice.below(2 * left / (shards - shard) as usize + 2),
        });
    }
}

fn move_through<S: ReplicatedState>(course: &Course<'_, S>, start: usize, steps: impl FnMut(u32, usize) -> usize) {
    let what = "a state from images that were captured while entries were applied";
    let (images, held) = capture_moving(course, start, steps);
    let mut rebuild = (course.empty)().rebuild();
    course.install(&mut rebuild, &images, what);
    let oldest = course.held_at(images[0].at);
    if oldest + 1 < held {
        let refused = rebuild.apply(&course.history[oldest + 1]);
        let named = matches!(refused, Err(ApplyError::NotNext { .. }));
        assert!(named, "conformance: the log of a rebuild may begin after a gap at {}: {refused:?}", images[0].at);
    }
    for entry in &course.history[oldest..held] {
        if let Err(why) = rebuild.apply(entry) {
            panic!("conformance: {what} refuses the valid entry {}: {why}", entry.position());
        }
    }
    let rebuilt = course.finish(rebuild, what);
    course.compare(&rebuilt, held, what);
    course.follow(&rebuilt, held, what);
}

/// `steps(shard, left)` entries are applied after the capture of each shard. Gives how many the
/// state holds at the end.
pub(super) fn capture_moving<S: ReplicatedState>(
    course: &Course<'_, S>,
    start: usize,
    mut steps: impl FnMut(u32, usize) -> usize,
) -> (Vec<ShardImage>, usize) {
    let state = course.state(start);
    let mut held = start;
    let mut images = Vec::new();
    for shard in 0..course.shards {
        images.push(capture_one(&state, shard));
        let left = course.len() - held;
        let upto = held + steps(shard, left).min(left);
        course.apply(&state, held, upto, "a state that is captured");
        held = upto;
    }
    let rising = images.is_sorted_by_key(|image| image.at);
    assert!(rising, "conformance: the image of a later shard is older than the one of an earlier shard");
    (images, held)
}
