//! Damaged images of shards with valid checksums: refused or accepted, never a panic.
//!
//! An input names a set of recorded images and damages a few of them, in their bytes or beside
//! them. A wrong digest must be refused; it is then corrected, so that damage reaches the code
//! behind. A refused image leaves no trace: the right image follows, and at the end the state is
//! the recorded one. A state made of accepted images is sound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metadata::{Metadata, MetadataRebuild};
use oplog::{Digest, InstallError, Position, Rebuild, ReplicatedState, ShardImage};
use shared::chunks::{edit_chunk, sealed};
use shared::input::Input;
use shared::life;
use shared::recording::{Captured, captured, empty};

const DAMAGED_MAX: u8 = 3;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let set = &captured()[usize::from(input.u8()) % captured().len()];
    let damaged = damages(&mut input, &set.images);
    let mut rebuild = empty().rebuild();
    let mut is_other = false;
    for image in &set.images {
        let damaged = damaged.iter().find(|damaged| damaged.at == image.shard);
        if damaged.is_some_and(|damaged| try_install(&mut rebuild, &damaged.image)) {
            is_other = true;
        } else if let Err(why) = rebuild.install(image) {
            assert!(is_other, "the right image of shard {} is refused: {why}", image.shard);
        }
    }
    if let Some(state) = finish(rebuild, set, is_other) {
        judge(&state, set, is_other);
    }
});

struct Damaged {
    /// The shard at which it comes in.
    at: u32,
    image: ShardImage,
}

fn try_install(rebuild: &mut MetadataRebuild, image: &ShardImage) -> bool {
    let found = match rebuild.install(image) {
        Ok(()) => return true,
        Err(InstallError::DigestMismatch { found, .. }) => found,
        Err(_) => return false,
    };
    assert_ne!(found, image.digest);
    let put_right = rebuild.install(&ShardImage { digest: found, ..image.clone() });
    put_right.unwrap_or_else(|why| panic!("its digest was all that was wrong, and now: {why}"));
    true
}

/// The log, and the end. A state made of the right images must not fail.
fn finish(mut rebuild: MetadataRebuild, set: &Captured, is_other: bool) -> Option<Metadata> {
    for entry in set.log {
        if let Err(why) = rebuild.apply(entry) {
            assert!(is_other, "entry {} is refused: {why}", entry.position());
        }
    }
    match rebuild.finish() {
        Ok(state) => Some(state),
        Err(why) => {
            assert!(is_other, "the right images make no state: {why}");
            None
        }
    }
}

fn judge(state: &Metadata, set: &Captured, is_other: bool) {
    assert!(is_other || state.digest().1 == set.digest, "what was refused has left a trace");
    state.check().unwrap_or_else(|what| panic!("a state was made of images that is not sound: {what}"));
    life::of_another_member(state);
    life::as_primary(state);
}

/// Shards that hold nothing are of little interest.
fn damages(input: &mut Input<'_>, images: &[ShardImage]) -> Vec<Damaged> {
    let held: Vec<&ShardImage> = images.iter().filter(|image| image.records > 0).collect();
    let directory = images.last().expect("there are shards");
    let one = |input: &mut Input<'_>| {
        let kind = input.u8();
        let image = if kind & 1 == 0 { directory } else { held[input.below(held.len())] };
        Damaged { at: image.shard, image: damage(input, kind, image) }
    };
    (0..1 + input.u8() % DAMAGED_MAX).map(|_| one(input)).collect()
}

fn damage(input: &mut Input<'_>, kind: u8, image: &ShardImage) -> ShardImage {
    let bytes = match kind & 2 {
        0 => edit_chunk(input, &image.bytes),
        _ => input.edited(&image.bytes[4..]),
    };
    let mut image = ShardImage { bytes: sealed(&bytes), ..image.clone() };
    if kind & 4 != 0 {
        image.at = Position { epoch: input.u64(), seq: input.u64() };
    }
    if kind & 8 != 0 {
        image.records = input.u64();
    }
    if kind & 16 != 0 {
        image.digest += Digest(u128::from(input.u64()));
    }
    if kind & 32 != 0 {
        image.shard = u32::from(input.u16());
    }
    image
}
