//! Tests: places are reserved before anything changes, and an append cannot fail afterwards.

use super::*;
use crate::entry::DomainId;
use crate::error::Bound;
use crate::tail::{FRAME_OVERHEAD_BYTES, TailConfig, TailError};

fn draft(payload: &[u8]) -> Draft<'_> {
    Draft { domain: DomainId::METADATA, op_type: 1, timestamp_ms: 5, request: None, key: b"key", payload }
}

fn appender(entries_max: usize, bytes_max: usize) -> Appender {
    Tail::new(TailConfig { entries_max, bytes_max, waiters_max: 1 }, Position { epoch: 4, seq: 100 }).1
}

fn append(appender: &mut Appender) -> Position {
    appender.reserve(10).expect("room").append(&draft(b"payload")).position()
}

#[test]
fn entries_follow_on_the_last_position() {
    let mut appender = appender(10, 10_000);
    assert_eq!((appender.next_seq(), appender.epoch()), (101, 4));
    assert_eq!(append(&mut appender), Position { epoch: 4, seq: 101 });
    appender.begin_epoch(6);
    assert_eq!(appender.tail().last(), Position { epoch: 4, seq: 101 });
    assert_eq!(append(&mut appender), Position { epoch: 6, seq: 102 });
    assert_eq!(appender.tail().last(), Position { epoch: 6, seq: 102 });
    assert_eq!(appender.tail().appended().get(), 102);
    assert_eq!(appender.tail().committed().get(), 100);
}

#[test]
fn the_frame_that_is_handed_out_is_the_one_in_the_tail() {
    let mut appender = appender(10, 10_000);
    let slot = appender.reserve(10).expect("room");
    assert_eq!((slot.seq(), slot.position()), (101, Position { epoch: 4, seq: 101 }));
    let frame = slot.append(&draft(b"payload"));
    let held = appender.tail().entries_since(100, 9, usize::MAX).expect("held");
    assert_eq!(held, std::slice::from_ref(&frame));
    assert_eq!(held[0].as_bytes().as_ptr(), frame.as_bytes().as_ptr());
}

#[test]
fn a_dropped_slot_is_given_back() {
    let mut appender = appender(1, 10_000);
    for _ in 0..5 {
        drop(appender.reserve(1000).expect("the one place is free again"));
    }
    assert_eq!(append(&mut appender).seq, 101);
}

#[test]
fn a_full_tail_drops_its_oldest_entries() {
    let mut appender = appender(3, 10_000);
    for _ in 0..5 {
        append(&mut appender);
    }
    let stats = appender.tail().stats();
    assert_eq!((stats.entries, stats.first_seq, stats.last.seq), (3, 103, 105));
}

#[test]
fn what_peers_need_is_kept_and_the_writer_refused() {
    let mut appender = appender(3, 10_000);
    appender.tail().set_floor(Some(102));
    for _ in 0..4 {
        append(&mut appender);
    }
    let refused = appender.reserve(10).expect_err("102 to 104 are needed");
    assert_eq!(refused.bound, Bound::TailEntries { entries: 3, max: 3, floor: 102 });
    assert!(refused.retry_after_ms > 0);
    assert_eq!(appender.tail().last().seq, 104);
    appender.tail().set_floor(Some(103));
    assert_eq!(append(&mut appender).seq, 105);
    appender.tail().set_floor(None);
    assert_eq!(append(&mut appender).seq, 106);
}

#[test]
fn bytes_are_bounded_with_their_overhead() {
    let frame_bytes = 48 + 10;
    let reserved = FRAME_HEADER_BYTES_MAX + 10 + FRAME_OVERHEAD_BYTES;
    let mut appender = appender(1000, 2 * (frame_bytes + FRAME_OVERHEAD_BYTES) + reserved);
    appender.tail().set_floor(Some(0));
    for _ in 0..3 {
        append(&mut appender);
    }
    let stats = appender.tail().stats();
    assert_eq!((stats.entries, stats.bytes), (3, 3 * (frame_bytes + FRAME_OVERHEAD_BYTES)));
    let refused = appender.reserve(10).expect_err("three fit");
    let max = appender.tail().config.bytes_max;
    assert_eq!(refused.bound, Bound::TailBytes { bytes: stats.bytes, needed: reserved, max, floor: 0 });
    let words = refused.to_string();
    assert!(words.contains("peers need all from seq 0 on") && words.contains("try again in 20 ms"), "{words}");
}

#[test]
fn an_entry_that_never_fits_drops_nothing() {
    let mut appender = appender(1000, 2000);
    append(&mut appender);
    let refused = appender.reserve(3000).expect_err("larger than the tail");
    assert!(matches!(refused.bound, Bound::EntryBytes { max: 2000, .. }), "{refused}");
    assert_eq!(appender.tail().stats().entries, 1);
}

#[test]
fn a_large_entry_makes_room_for_itself() {
    // More than one hold of the lock drops.
    let count = 3 * LOCKED_FRAMES_MAX;
    let bytes_max = count * (48 + 10 + FRAME_OVERHEAD_BYTES);
    let mut appender = appender(usize::MAX, bytes_max);
    for _ in 0..count {
        append(&mut appender);
    }
    let payload = vec![0; bytes_max - 1000];
    appender.reserve(payload.len() + 3).expect("everything older may go").append(&draft(&payload));
    let stats = appender.tail().stats();
    assert!(stats.bytes <= bytes_max && stats.entries < 6, "{stats:?}");
    assert_eq!(stats.last.seq, 101 + count as u64);
}

#[test]
#[should_panic(expected = "a draft of 10 bytes in a slot of 9")]
fn a_draft_larger_than_its_reservation_is_a_bug() {
    appender(10, 10_000).reserve(9).expect("room").append(&draft(b"payload"));
}

#[test]
#[should_panic(expected = "an epoch must grow: 4 held, 4 offered")]
fn an_epoch_does_not_begin_twice() {
    appender(10, 10_000).begin_epoch(4);
}

#[test]
#[should_panic(expected = "bytes asked for one frame")]
fn a_reservation_beyond_the_largest_frame_is_a_bug() {
    let _refused = appender(10, usize::MAX).reserve(FRAME_BYTES_MAX);
}

/// A log of two epochs: 1/1, 1/2, 2/3, 2/4.
fn two_epochs() -> (std::sync::Arc<Tail>, Appender) {
    let (tail, mut appender) = Tail::new(TailConfig::default(), Position::default());
    for epoch in 1..=2 {
        appender.begin_epoch(epoch);
        for _ in 0..2 {
            append(&mut appender);
        }
    }
    (tail, appender)
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

#[test]
fn a_standby_takes_the_next_frames_and_no_others() {
    let (tail, _) = two_epochs();
    let frames = tail.entries_since(0, 10, usize::MAX).unwrap();
    let (copy, mut appender) = Tail::new(TailConfig::default(), Position::default());
    let skipped = appender.append_frame(frames[1].clone()).unwrap_err();
    assert_eq!(skipped, AppendFrameError::NotNext { last: at(0, 0), offered: at(1, 2) });
    for frame in &frames[..3] {
        appender.append_frame(frame.clone()).unwrap();
    }
    assert!(appender.append_frame(frames[2].clone()).is_err(), "twice");
    assert_eq!((copy.last(), copy.appended().get(), appender.epoch()), (at(2, 3), 3, 2));
    assert_eq!(copy.entries_since(0, 10, usize::MAX).unwrap(), frames[..3]);
}

#[test]
fn history_names_the_last_position_of_each_epoch() {
    let (tail, _) = two_epochs();
    assert_eq!(tail.history(), [at(0, 0), at(1, 2), at(2, 4)]);
    tail.truncate_before(2);
    assert_eq!(tail.history(), [at(1, 2), at(2, 4)]);
    tail.truncate_before(4);
    assert_eq!(tail.history(), [at(2, 4)], "the one before the oldest is of the same epoch");
    tail.truncate_before(9);
    assert_eq!(tail.history(), [at(2, 4)]);
}

#[test]
fn a_fork_goes_on_from_where_it_was_cut_and_leaves_the_other_alone() {
    let (tail, _appender) = two_epochs();
    tail.truncate_before(2);
    let (fork, mut other) = tail.forked(2, 9).unwrap();
    assert_eq!((fork.last(), fork.committed().get(), other.next_seq()), (at(1, 2), 2, 3));
    other.begin_epoch(7);
    append(&mut other);
    assert_eq!(fork.history(), [at(1, 2), at(7, 3)]);
    assert_eq!(tail.history(), [at(1, 2), at(2, 4)]);
    assert_eq!(tail.forked(0, 0).unwrap_err(), TailError::Purged { first: 2, asked: 0 });
    assert_eq!(tail.forked(5, 0).unwrap_err(), TailError::Ahead { last: at(2, 4), asked: 5 });
    assert!(tail.forked(1, 0).unwrap().0.entries_since(1, 10, 100).unwrap().is_empty());
}

/// Room for two is room for both: the second entry fits without another one being dropped in
/// between.
#[test]
fn room_that_was_made_for_two_is_there_for_both() {
    let mut appender = appender(3, 10_000);
    append(&mut appender);
    append(&mut appender);
    appender.tail().set_floor(Some(101));
    let full = appender.make_room(&[10, 10]).expect_err("there is room for one");
    assert!(matches!(full.bound, Bound::TailEntries { entries: 2, max: 3, floor: 101 }), "{full}");
    assert!(appender.make_room(&[10]).is_ok());
    appender.tail().set_floor(Some(102));
    assert!(appender.make_room(&[10, 10]).is_ok());
    append(&mut appender);
    append(&mut appender);
    assert!(appender.make_room(&[10]).is_err());
}
