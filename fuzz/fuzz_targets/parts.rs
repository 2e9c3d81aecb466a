//! A primary's answer to a standby that differs from it, damaged behind its checksums: refused, or
//! used for a repair, never a panic.
//!
//! An input names how much of a recorded log the standby holds, an earlier moment whose records it
//! has instead of its own, and damage. A refused answer changes nothing; an accepted one leaves a
//! sound state; a repair that breaks off leaves a state that accepts nothing more. An undamaged,
//! complete answer makes the standby equal to it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metadata::Metadata;
use oplog::{
    Digests, InstallError, Part, PartsImage, Position, Rebuild as _, RepairError, ReplicatedState as _, ShardImage,
    Verifiable as _,
};
use prost::Message as _;
use proto::v1;
use shared::chunks::{chunks, edit_chunk, joined, sealed};
use shared::input::Input;
use shared::life;
use shared::recording::{empty, recording};
use verification::{parts_from_wire, parts_to_wire};

const DAMAGES_MAX: u8 = 4;
const PARTS_MAX: u8 = 6;
/// More than there are.
const RECORDS_MAX: usize = 1000;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.u8() % 8 {
        0 => digests(input.rest()),
        1 => answer(input.rest()),
        _ => recorded(&mut input),
    }
});

fn digests(payload: &[u8]) {
    let at = Position { epoch: 1, seq: 7 };
    let shards = payload.len() / 16 % 8;
    let Ok(digests) = Digests::decode(at, payload, shards) else { return };
    let mut encoded = Vec::new();
    digests.encode(&mut encoded);
    assert_eq!(Digests::decode(at, &encoded, shards), Ok(digests));
}

/// Arbitrary bytes, except for the position, after which they begin.
fn answer(bytes: &[u8]) {
    let Ok(wire) = v1::Parts::decode(bytes) else { return };
    let Ok(mut image) = parts_from_wire(wire) else { return };
    let standby = recording().state(recording().entries.len());
    image.digests.at = standby.applied();
    let _ = try_repair(&standby, &image);
}

fn recorded(input: &mut Input<'_>) {
    let held = input.below(recording().entries.len() + 1);
    let standby = recording().state(held);
    let giver = recording().state(input.below(held + 1));
    let (mut image, is_all) = captured(input, &giver, &standby);
    let is_damaged = damage(input, &mut image);
    let image = parts_from_wire(parts_to_wire(image)).expect("it was encoded here");
    let repaired = try_repair(&standby, &image);
    if is_all && !is_damaged {
        let repaired = repaired.unwrap_or_else(|why| panic!("an answer that is right and whole is refused: {why}"));
        let difference = repaired.difference(&image.digests);
        assert!(difference.is_empty(), "it is repaired and differs still: {difference:?}");
    }
}

/// The giver's records, as if they were at the standby's position; and whether they are all in
/// which the two can differ.
fn captured(input: &mut Input<'_>, giver: &Metadata, standby: &Metadata) -> (PartsImage, bool) {
    let filled = filled(&[giver, standby]);
    let directory = Part { shard: standby.shards() - 1, bucket: 0 };
    let kind = input.u8();
    let is_all = kind & 1 == 0;
    let mut parts = match is_all {
        true => filled,
        false if filled.is_empty() => Vec::new(),
        false => (0..=input.u8() % PARTS_MAX).map(|_| filled[input.below(filled.len())]).collect(),
    };
    let has_directory = kind & 2 == 0;
    parts.extend(has_directory.then_some(directory));
    let mut image = giver.capture_parts(&parts);
    image.digests.at = standby.applied();
    if let Some(whole) = &mut image.whole {
        whole.at = standby.applied();
    }
    (image, is_all && has_directory)
}

/// The parts in which one of the states has records, sorted.
fn filled(states: &[&Metadata]) -> Vec<Part> {
    let objects = 0..states[0].shards() - 1;
    let of_shard = |shard| {
        let kept: Vec<_> = states.iter().map(|state| state.buckets(shard).kept).collect();
        let buckets = kept[0].len();
        let is_filled = move |bucket: &usize| kept.iter().any(|kept| kept[*bucket].0 != 0);
        (0..buckets).filter(is_filled).map(move |bucket| Part { shard, bucket: bucket as u32 })
    };
    objects.flat_map(of_shard).collect()
}

fn damage(input: &mut Input<'_>, image: &mut PartsImage) -> bool {
    let damages = input.u8() % DAMAGES_MAX;
    for _ in 0..damages {
        match input.u8() % 6 {
            0 | 1 => image.bytes = sealed(&edit_chunk(input, &image.bytes)),
            2 => image.bytes = sealed(&input.edited(&image.bytes[4..])),
            3 => add_part(input, image),
            4 => image.digests.at.seq = input.u64(),
            _ => image.whole = image.whole.take().map(|whole| damage_directory(input, whole)),
        }
    }
    damages > 0
}

/// A part without records: no key says whether it is here.
fn add_part(input: &mut Input<'_>, image: &mut PartsImage) {
    let part = Part { shard: input.u16().into(), bucket: input.u8().into() };
    let mut nothing = Vec::new();
    oplog::encode_payload(&0_u64, &mut nothing);
    let mut chunks = chunks(&image.bytes);
    if input.u8() & 1 == 0 {
        image.parts.push(part);
        chunks.push(nothing);
    } else {
        image.parts.insert(0, part);
        chunks.insert(0, nothing);
    }
    image.bytes = sealed(&joined(&chunks));
}

/// Damages the directory, and gives it a valid digest.
fn damage_directory(input: &mut Input<'_>, whole: ShardImage) -> ShardImage {
    let kind = input.u8();
    let mut whole = ShardImage { bytes: sealed(&edit_chunk(input, &whole.bytes)), ..whole };
    if kind & 1 != 0 {
        whole.at.seq = input.u64();
    }
    if kind & 2 != 0 {
        whole.records = input.u64();
    }
    if let Err(InstallError::DigestMismatch { found, .. }) = empty().rebuild().install(&whole) {
        whole.digest = found;
    }
    if kind & 4 != 0 {
        whole.shard = input.u16().into();
    }
    whole
}

/// Returns the digests after the repair, before anything else happens.
fn try_repair(standby: &Metadata, image: &PartsImage) -> Result<Digests, RepairError> {
    let before = standby.digests();
    let done = standby.repair(image, RECORDS_MAX).map(|_| standby.digests());
    match &done {
        Ok(_) => {
            standby.check().unwrap_or_else(|what| panic!("a state was repaired and is not sound: {what}"));
            life::of_another_member(standby);
            life::as_primary(standby);
        }
        Err(RepairError::Broken { .. }) => {
            life::look_at(standby);
            let next = recording().entries.get(standby.applied().seq as usize);
            assert!(next.is_none_or(|next| standby.apply(next).is_err()), "a repair broke off, and the state goes on");
        }
        Err(why) => {
            assert_eq!(standby.digests(), before, "what was refused has left a trace: {why}");
            standby.check().unwrap_or_else(|what| panic!("what was refused ({why}) has broken it: {what}"));
        }
    }
    done
}
