//! A primary's messages to a standby, in any order and damaged behind their checksums: accepted or
//! refused, never a panic.
//!
//! An input names how much of a recorded log the standby holds, then a few messages: a welcome,
//! images of a full sync, frames, a committed seq. Whatever follows, the standby's log and cursors
//! are in order, and its state can be read.

#![no_main]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use metadata::Metadata;
use oplog::{Draft, Entry, Frame, Position, ReplicatedState as _, Tail, TailConfig};
use proto::v1::{self, welcome::Start};
use shared::input::Input;
use shared::life;
use shared::recording::{captured, recording};
use standby::{Standby, apply_committed};

const MESSAGES_MAX: usize = 8;
const FRAMES_MAX: usize = 16;
/// The epoch of the primary that sends these messages.
const EPOCH: u64 = 200;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let state = Arc::new(recording().state(input.below(recording().entries.len() + 1)));
    let (tail, log) = Tail::new(config(), state.applied());
    let mut standby = Standby::new(state, tail, log, config());
    for _ in 0..MESSAGES_MAX {
        if input.is_empty() || !take(&mut input, &mut standby) {
            break;
        }
        let holds = standby.holds();
        assert!(holds.history.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", holds.history);
        assert!(holds.applied.seq <= standby.held(), "more is applied than is held");
        assert!(standby.tail().committed().get() <= standby.held(), "more is committed than is held");
    }
    life::look_at(standby.state());
});

fn config() -> TailConfig {
    TailConfig { entries_max: 500, bytes_max: 1 << 20, ..TailConfig::default() }
}

/// One message. `false`: the state is suspect, and a real process would end.
fn take(input: &mut Input<'_>, standby: &mut Standby<Metadata>) -> bool {
    match input.u8() % 5 {
        0 => {
            let start = welcome(input, standby);
            let _ = standby.on_welcome(start, EPOCH);
        }
        1 => images(input, standby),
        2 => {
            let mut frames = frames(input, standby);
            // What comes after the end of a full sync is offered again.
            while standby.on_frames(&mut frames).is_ok() && !frames.is_empty() {}
        }
        3 => {
            let mut bytes = Bytes::copy_from_slice(input.bytes());
            let _ = standby.on_frames(&mut bytes);
        }
        _ => {
            standby.on_committed(if input.u8() & 1 == 0 { u64::MAX } else { input.u64() });
            loop {
                match apply_committed(&**standby.state(), standby.tail(), 7, u64::MAX, |_| {}) {
                    Ok(applied) if applied.entries == 0 => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        }
    }
    true
}

fn welcome(input: &mut Input<'_>, standby: &Standby<Metadata>) -> Start {
    match input.u8() % 4 {
        0 => Start::ForkSeq(standby.held().saturating_sub(u64::from(input.u8()))),
        1 => Start::ForkSeq(input.u64()),
        2 => Start::FullSync(v1::FullSync { first_shard: 0, shards: standby.state().shards() }),
        _ => Start::FullSync(v1::FullSync { first_shard: input.u16().into(), shards: input.u16().into() }),
    }
}

/// A run of images, the last of which may be damaged.
fn images(input: &mut Input<'_>, standby: &mut Standby<Metadata>) {
    let set = &captured()[usize::from(input.u8()) % captured().len()];
    let first = standby.syncing().map_or(0, |sync| sync.shards_done as usize).min(set.images.len());
    let run = &set.images[first..][..input.below(set.images.len() + 1).min(set.images.len() - first)];
    for (at, image) in run.iter().enumerate() {
        let is_last = at + 1 == run.len();
        let mut message = v1::ShardImage {
            shard: image.shard,
            at: Some(v1::Position { epoch: image.at.epoch, seq: image.at.seq }),
            records: image.records,
            digest: Bytes::copy_from_slice(&image.digest.0.to_be_bytes()),
            chunk: image.bytes.clone(),
            last_chunk: true,
        };
        if is_last && input.u8() & 1 == 1 {
            message.chunk = input.edited(&image.bytes).into();
            message.last_chunk = input.u8() & 1 == 0;
            message.shard = message.shard.wrapping_add(u32::from(input.u8()));
        }
        if standby.on_image(message).is_err() {
            return;
        }
    }
}

/// Recorded entries from where the log ends, or from elsewhere, some of them damaged.
fn frames(input: &mut Input<'_>, standby: &Standby<Metadata>) -> Bytes {
    let entries = &recording().entries;
    let next = match input.u8() & 1 {
        0 => usize::try_from(standby.held()).unwrap_or(usize::MAX).min(entries.len()),
        _ => input.below(entries.len()),
    };
    let mut bytes = BytesMut::new();
    for entry in entries[next..].iter().take(1 + usize::from(input.u8()) % FRAMES_MAX) {
        bytes.extend_from_slice(frame(input, entry).as_bytes());
    }
    bytes.freeze()
}

fn frame(input: &mut Input<'_>, entry: &Entry) -> Frame {
    let kind = input.u8();
    let payload = if kind & 1 == 0 { entry.payload.to_vec() } else { input.edited(&entry.payload) };
    let at = match kind & 2 {
        0 => entry.position(),
        _ => Position { epoch: input.u8().into(), seq: entry.seq.wrapping_add(input.u8().into()) },
    };
    let draft = Draft {
        domain: entry.domain,
        op_type: if kind & 4 == 0 { entry.op_type } else { input.u8() },
        timestamp_ms: entry.timestamp_ms,
        request: entry.request,
        key: &entry.key,
        payload: &payload,
    };
    Frame::encode(at, &draft)
}
