//! Entries of a corrupt log with valid checksums, applied to a standby: refused or applied, never a
//! panic.
//!
//! An input names a point in a recorded log, then up to a few entries: some made of its bytes, some
//! recorded ones with a few bytes changed. An accepted entry leaves the standby sound: its
//! redundant data agrees, it can be sent to another member as images, and it can be promoted and
//! continue. A refused entry has changed nothing, unless it turned out not to fit half-way: then
//! the state is suspect and thrown away, and reading it must still be possible.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use metadata::Metadata;
use oplog::{ApplyError, ClientId, DomainId, Entry, Position, ReplicatedState, RequestStamp};
use shared::input::Input;
use shared::life;
use shared::recording::{Recording, recording};

const ENTRIES_MAX: usize = 6;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let recording = recording();
    let state = recording.state(input.below(recording.entries.len() + 1));
    for _ in 0..ENTRIES_MAX {
        if input.is_empty() {
            break;
        }
        let entry = next_entry(&mut input, recording, state.applied());
        if !try_apply(&state, &entry) {
            return;
        }
    }
    life::of_another_member(&state);
    life::as_primary(&state);
});

/// `false`: the state is suspect from now on.
fn try_apply(state: &Metadata, entry: &Entry) -> bool {
    let before = state.digest();
    match state.apply(entry) {
        Ok(()) => {
            assert_eq!(state.applied(), entry.position());
            assert_sound(state, "an entry was taken");
            true
        }
        Err(ApplyError::Inconsistent { .. }) => {
            life::look_at(state);
            false
        }
        Err(_) => {
            assert_eq!(state.digest(), before, "what was refused has changed something");
            assert_sound(state, "an entry was refused");
            true
        }
    }
}

fn assert_sound(state: &Metadata, when: &str) {
    state.check().unwrap_or_else(|what| panic!("{when}, and the state is no longer sound: {what}"));
}

fn next_entry(input: &mut Input<'_>, recording: &Recording, applied: Position) -> Entry {
    let kind = input.u8();
    let mut entry = match kind & 1 {
        0 => {
            let recorded = &recording.entries[input.below(recording.entries.len())];
            let payload = Bytes::from(input.edited(&recorded.payload));
            Entry { payload, ..recorded.clone() }
        }
        _ => Entry {
            seq: 0,
            epoch: 0,
            timestamp_ms: 0,
            domain: DomainId::METADATA,
            op_type: input.u8(),
            request: None,
            key: Bytes::new(),
            payload: Bytes::copy_from_slice(input.bytes()),
        },
    };
    (entry.seq, entry.epoch) = (applied.seq + 1, applied.epoch);
    if kind & 2 != 0 {
        entry.op_type = input.u8();
    }
    if kind & 4 != 0 {
        entry.request = Some(stamp(input));
    }
    if kind & 8 != 0 {
        (entry.seq, entry.epoch) = (input.u64(), input.u64());
    }
    if kind & 16 != 0 {
        entry.domain = DomainId(input.u8());
    }
    entry
}

fn stamp(input: &mut Input<'_>) -> RequestStamp {
    RequestStamp {
        client: ClientId([input.u8(); 16]),
        number: input.u64(),
        body_hash: u64::from(input.u8()),
        forget_below: input.u64(),
    }
}
