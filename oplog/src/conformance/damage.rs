//! Rule: an image with one changed bit is refused and leaves nothing behind; an incomplete set of
//! images, or one whose log ends too early, never becomes a state.

use bytes::Bytes;

use super::course::Course;
use super::images::capture_moving;
use crate::state::{Digest, InstallError, Rebuild, ReplicatedState, ShardImage};

/// How many shards' images are damaged.
const SHARDS_MAX: usize = 48;
/// The number of places in which each of them is damaged.
const FLIPS_MAX: usize = 1024;

pub(super) fn flipped<S: ReplicatedState>(course: &Course<'_, S>) {
    let what = "a rebuild that has refused images";
    for held in [course.len() / 2, course.len()] {
        let images = course.capture(&course.state(held));
        let stride = images.len().div_ceil(SHARDS_MAX);
        let mut rebuild = (course.empty)().rebuild();
        for (i, image) in images.iter().enumerate() {
            // Counted from the last image, which depends on the others and so shows most.
            if (images.len() - 1 - i).is_multiple_of(stride) {
                damages(image).for_each(|(damage, damaged)| expect_refused(&mut rebuild, &damaged, &damage));
            }
            course.install(&mut rebuild, std::slice::from_ref(image), what);
            expect_twice(&mut rebuild, image);
        }
        let strange = ShardImage { shard: course.shards, ..images[0].clone() };
        expect_refused(&mut rebuild, &strange, "a number of a shard that does not exist");
        let rebuilt = course.finish(rebuild, what);
        course.compare(&rebuilt, held, what);
    }
}

fn damages(image: &ShardImage) -> impl Iterator<Item = (String, ShardImage)> {
    let bits = image.bytes.len() * 8;
    let flips = (0..bits).step_by(bits.div_ceil(FLIPS_MAX).max(1) | 1).map(move |bit| {
        let mut bytes = image.bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (format!("a flipped bit {bit} of {bits}"), ShardImage { bytes: Bytes::from(bytes), ..image.clone() })
    });
    let cut = image.bytes.slice(..image.bytes.len().saturating_sub(1));
    let longer = Bytes::from([&image.bytes[..], &[0]].concat());
    let digest = image.digest + Digest(1);
    let others = [
        (!image.bytes.is_empty()).then(|| ("its last byte cut off", ShardImage { bytes: cut, ..image.clone() })),
        Some(("a byte too many", ShardImage { bytes: longer, ..image.clone() })),
        Some(("another digest", ShardImage { digest, ..image.clone() })),
        Some(("another number of records", ShardImage { records: image.records + 1, ..image.clone() })),
    ];
    flips.chain(others.into_iter().flatten().map(|(damage, image)| (damage.to_owned(), image)))
}

fn expect_refused<R: Rebuild>(rebuild: &mut R, image: &ShardImage, damage: &str) {
    let taken = rebuild.install(image).is_ok();
    assert!(!taken, "conformance: an image of shard {} with {damage} is installed", image.shard);
}

fn expect_twice<R: Rebuild>(rebuild: &mut R, image: &ShardImage) {
    let shard = image.shard;
    let refused = rebuild.install(image);
    let named = refused == Err(InstallError::ShardTwice { shard });
    assert!(named, "conformance: shard {shard} is installed twice, with {refused:?}");
}

pub(super) fn missing<S: ReplicatedState>(course: &Course<'_, S>) {
    let images = course.capture(&course.state(course.len()));
    for missing in [0, course.shards / 2, course.shards - 1] {
        let mut rebuild = (course.empty)().rebuild();
        let (before, from) = images.split_at(missing as usize);
        course.install(&mut rebuild, before, "a rebuild");
        course.install(&mut rebuild, &from[1..], "a rebuild");
        let refused = rebuild.finish().err();
        let named = refused == Some(InstallError::Incomplete { missing });
        assert!(named, "conformance: a rebuild without shard {missing} is finished, with {refused:?}");
    }
}

/// Images of different moments, without all of the log that brings them to the same one.
pub(super) fn short_log<S: ReplicatedState>(course: &Course<'_, S>) {
    if course.shards < 2 {
        return;
    }
    let (images, held) = capture_moving(course, 0, |shard, left| if shard == 0 { left } else { 0 });
    for end in [0, held - 1] {
        let mut rebuild = (course.empty)().rebuild();
        course.install(&mut rebuild, &images, "a rebuild");
        for entry in &course.history[..end] {
            rebuild.apply(entry).unwrap_or_else(|why| panic!("conformance: a rebuild refuses the log: {why}"));
        }
        let finished = rebuild.finish().is_ok();
        let (reached, needed) = (course.position(end), course.position(held));
        assert!(!finished, "conformance: a rebuild is finished with a log up to {reached} and an image of {needed}");
    }
}
