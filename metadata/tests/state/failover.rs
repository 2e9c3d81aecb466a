//! A follower that takes over, and states made from images: whole, safe, and the same.

use oplog::{ApplyError, Entry, InstallError, Position, Rebuild, ReplicatedState, ShardImage};
use understudy_metadata::{Config, ItemId, Metadata, Refusal, Settings, TransferKind};

use crate::support::{Primary, config, memory, placed, refusal};

/// A bit of everything, with space in use in every way.
fn busy() -> Primary {
    let primary = Primary::with_two_segments();
    for n in 0..40 {
        primary.put(1, &n.to_string(), 64 + n);
    }
    primary.start(1, "open", 100).unwrap();
    primary.start_over(2, "3", 500).unwrap();
    primary.put_as(1, &placed(1, 0), "moving", 70);
    let at = primary.lookup("moving").unwrap().places[0].address >> 32;
    let names = if at == 1 { ["m1", "m2"] } else { ["m2", "m1"] };
    primary.transfer(2, TransferKind::Move, "moving", names[0], &[names[1]]).unwrap();
    for n in 10..20 {
        primary.lookup(&n.to_string()).unwrap();
        primary.remove_forced(&n.to_string()).unwrap();
    }
    primary.state.remove(&primary.numbered(5, 4), true, &[b"21", b"nothing"]).unwrap();
    primary
}

#[test]
fn a_promoted_member_never_hands_out_space_in_use() {
    for by_images in [false, true] {
        let old = busy();
        let next = if by_images { old.rebuilt() } else { old.follower() };
        let new = Primary::promoted(next, config(), 50);
        let mut n = 0;
        while new.start(1, &format!("new/{n}"), 64).is_ok() {
            n += 1;
        }
        assert!(n > 1000, "{n}");
        new.state.check().unwrap();
    }
}

#[test]
fn open_work_goes_on_at_the_next_primary() {
    let old = busy();
    let new = old.fail_over();
    new.end(1, "open", ItemId::NONE).unwrap();
    new.end(2, "3", ItemId::NONE).unwrap();
    new.end_transfer(2, TransferKind::Move, "moving", ItemId::NONE).unwrap();
    assert_eq!(new.lookup("3").unwrap().size, 500);
    new.state.check().unwrap();
    let third = new.follower_of(&old);
    third.check().unwrap();
    assert_eq!(third.totals().digest, new.digest());
}

impl Primary {
    /// One that has applied the log of `first`, then this one's.
    fn follower_of(&self, first: &Primary) -> Metadata {
        let state = first.follower();
        self.entries().iter().for_each(|entry| state.apply(entry).unwrap());
        state
    }
}

#[test]
fn a_follower_that_becomes_a_primary_and_a_follower_again_agrees() {
    let first = busy();
    let second = first.fail_over();
    second.put(7, "by the second", 100);
    let appender = first.state.follow().unwrap();
    assert_eq!(appender.next_seq(), second.entries()[0].seq);
    for entry in second.entries() {
        first.state.apply(&entry).unwrap();
    }
    first.state.check().unwrap();
    assert_eq!(first.digest(), second.digest());
    let third = Primary::promoted(first.follower_of_both(&second), config(), 9);
    third.pass(1 << 41);
    third.step();
    third.pass(1 << 41);
    third.step();
    assert_eq!((third.keys().len(), third.bytes()), (0, (0, 0)));
    // What it holds is no longer what its own tail says.
    std::mem::forget(first);
}

impl Primary {
    fn follower_of_both(&self, second: &Primary) -> Metadata {
        let state = self.follower();
        second.entries().iter().for_each(|entry| state.apply(entry).unwrap());
        state
    }
}

fn images(state: &Metadata) -> Vec<ShardImage> {
    (0..state.shards()).map(|shard| state.capture(shard)).collect()
}

/// Shards of one moment each, with writes in between, and the log from the first of them on.
#[test]
fn a_rebuild_with_writes_between_the_captures_gives_the_same_state() {
    let primary = busy();
    let mut rebuild = primary.state.rebuild();
    let from = primary.state.position();
    for shard in 0..primary.state.shards() {
        rebuild.install(&primary.state.capture(shard)).unwrap();
        if shard % 64 == 0 {
            let key = format!("while/{shard}");
            primary.put(2, &key, 64);
            drop(primary.start_over(2, &(shard / 64).to_string(), 300));
        }
        if shard == 500 {
            primary.unmount(1, 1, 0).unwrap();
            primary.step();
        }
    }
    primary.put(2, "after the last", 64);
    for entry in primary.entries().iter().filter(|entry| entry.seq > from.seq) {
        rebuild.apply(entry).unwrap();
    }
    let rebuilt = rebuild.finish().unwrap();
    rebuilt.check().unwrap();
    assert_eq!(rebuilt.digest(), primary.state.digest());
    assert_eq!(rebuilt.totals().evicted_total, primary.state.totals().evicted_total);
}

#[test]
fn evictions_between_the_captures_are_counted_once() {
    let primary = Primary::with(Config {
        settings: Settings { eviction_high_watermark: 0.5, eviction_ratio: 0.1, ..config().settings },
        ..config()
    });
    primary.mount(1, memory(1, "m1", 6400)).unwrap();
    (0..60).for_each(|n| drop(primary.put(1, &n.to_string(), 64)));
    let from = primary.state.position();
    let mut rebuild = primary.state.rebuild();
    for shard in 0..primary.state.shards() {
        rebuild.install(&primary.state.capture(shard)).unwrap();
        if shard == primary.state.shards() - 2 {
            assert_eq!(primary.step().objects_evicted, 20);
        }
    }
    for entry in primary.entries().iter().filter(|entry| entry.seq > from.seq) {
        rebuild.apply(entry).unwrap();
    }
    assert_eq!(rebuild.finish().unwrap().totals().evicted_total, 20);
}

/// A gap that is offered after the images must not spoil what follows.
#[test]
fn a_rebuild_that_has_refused_a_gap_goes_on() {
    let primary = busy();
    let mut rebuild = primary.state.rebuild();
    let from = primary.state.position();
    for shard in 0..primary.state.shards() {
        if shard == 700 {
            (0..40).for_each(|n| drop(primary.put(2, &format!("while/{n}"), 64)));
            primary.mount(2, memory(3, "m3", 4096)).unwrap();
        }
        rebuild.install(&primary.state.capture(shard)).unwrap();
    }
    primary.put(2, "after", 64);
    let entries: Vec<Entry> = primary.entries().into_iter().filter(|entry| entry.seq > from.seq).collect();
    let gap = rebuild.apply(&entries[entries.len() - 1]).unwrap_err();
    assert!(matches!(gap, ApplyError::NotNext { .. }), "{gap}");
    entries.iter().for_each(|entry| rebuild.apply(entry).unwrap());
    let rebuilt = rebuild.finish().unwrap();
    rebuilt.check().unwrap();
    assert_eq!(rebuilt.digest(), primary.state.digest());
}

#[test]
fn an_image_that_says_another_number_of_records_is_refused() {
    let primary = busy();
    let mut rebuild = primary.state.rebuild();
    for image in images(&primary.state) {
        rebuild.install(&ShardImage { records: image.records + 1, ..image.clone() }).unwrap_err();
        rebuild.install(&image).unwrap();
        let twice = rebuild.install(&image).unwrap_err();
        assert_eq!(twice, InstallError::ShardTwice { shard: image.shard });
    }
    rebuild.finish().unwrap();
}

/// An entry that does not fit says that this state is not the one the log was made from: it is lost.
#[test]
fn a_state_that_met_an_entry_that_does_not_fit_takes_no_more() {
    let primary = busy();
    let entries = primary.entries();
    let (last, earlier) = entries.split_last().unwrap();
    let state = Metadata::new(config(), Position::default());
    earlier.iter().for_each(|entry| state.apply(entry).unwrap());
    // The same removal again: its object is gone the second time.
    let position = last.position();
    let again = Entry {
        seq: position.seq,
        ..earlier.iter().rev().find(|e| e.domain == oplog::DomainId::METADATA && e.op_type == 4).unwrap().clone()
    };
    let refused = state.apply(&again).unwrap_err();
    assert!(matches!(refused, ApplyError::Inconsistent { .. }), "{refused}");
    assert_eq!(state.apply(last).unwrap_err(), refused);
    let (_, appender) = oplog::Tail::new(oplog::TailConfig::default(), state.position());
    let lead = std::panic::AssertUnwindSafe(|| state.lead(appender, primary.now(), 1));
    assert!(std::panic::catch_unwind(lead).is_err(), "it must never be promoted");
}

#[test]
fn the_engines_own_entries_change_nothing_but_the_position() {
    let primary = Primary::with_two_segments();
    let state = primary.follower();
    let at = state.position();
    let entry = Entry {
        seq: at.seq + 1,
        epoch: at.epoch + 3,
        timestamp_ms: 0,
        domain: oplog::DomainId::ENGINE,
        op_type: 1,
        request: None,
        key: Default::default(),
        payload: Default::default(),
    };
    let never = Entry { op_type: oplog::OP_TYPE_NEVER, ..entry.clone() };
    assert!(matches!(state.apply(&never), Err(ApplyError::UnknownOp { .. })));
    state.apply(&entry).unwrap();
    assert_eq!((state.position(), state.totals().digest), (entry.position(), primary.digest()));
}

#[test]
fn a_member_without_a_log_refuses_to_write() {
    let primary = busy();
    let appender = primary.state.follow().unwrap();
    assert!(primary.state.follow().is_none());
    let before = primary.digest();
    let item = understudy_metadata::PutStartItem { key: b"x", size: 1 };
    primary.state.put_start(&primary.call(1), &placed(1, 0), &[item]).unwrap_err();
    assert_eq!(primary.digest(), before);
    primary.state.lead(appender, primary.now(), 1);
    assert_eq!(refusal(primary.start(1, "open", 1)), Refusal::WriteInProgress);
}
