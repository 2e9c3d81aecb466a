//! Segments: mounting, keeping, draining and going.

use oplog::{ApplyError, Entry, Position, ReplicatedState as _};
use understudy_metadata::{AtBound, Bound, Config, ItemId, Metadata, Refusal, SegmentSpec, SegmentState};

use crate::support::{Primary, bound_of, config, disk, memory, one, placed, refusal, segment_id};

fn state_of(primary: &Primary, n: u8) -> Option<SegmentState> {
    let found = primary.state.segments(|info| info.id == segment_id(n)).results;
    found.first().map(|usage| usage.info.state)
}

#[test]
fn a_second_mount_keeps_what_is_there() {
    let primary = Primary::new();
    assert_eq!(primary.mount(1, memory(1, "m1", 4096)), Ok(false));
    primary.put(1, "a", 100);
    assert_eq!(primary.mount(1, memory(1, "m1", 4096)), Ok(true));
    assert!(primary.lookup("a").is_some());
}

#[test]
fn the_same_id_for_something_else_is_a_conflict() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 4096)).unwrap();
    let before = primary.digest();
    assert_eq!(primary.mount(2, memory(1, "m1", 4096)), Err(Refusal::SegmentConflict));
    assert_eq!(primary.mount(1, memory(1, "m1", 8192)), Err(Refusal::SegmentConflict));
    assert_eq!(primary.mount(1, memory(1, "other", 4096)), Err(Refusal::SegmentConflict));
    assert_eq!(primary.digest(), before);
}

#[test]
fn overlapping_ranges_of_one_client_are_a_conflict() {
    let primary = Primary::new();
    let at = |n, base, size| SegmentSpec { base, ..memory(n, "m", size) };
    primary.mount(1, at(1, 1000, 1000)).unwrap();
    let before = primary.digest();
    for (base, size) in [(1000, 1000), (0, 1001), (1999, 64), (1500, 100), (0, 10_000)] {
        assert_eq!(primary.mount(1, at(2, base, size)), Err(Refusal::SegmentConflict), "{base} + {size}");
    }
    assert_eq!(primary.digest(), before);
    primary.mount(1, at(2, 2000, 1000)).unwrap();
    primary.mount(1, at(3, 0, 1000)).unwrap();
    primary.mount(2, at(4, 1500, 1000)).unwrap();
    primary.mount(1, disk(5, "d", 5000)).unwrap();
}

#[test]
fn one_directory_is_mounted_once_by_one_client() {
    let primary = Primary::new();
    primary.mount(1, disk(1, "d1", 1000)).unwrap();
    assert_eq!(primary.mount(1, disk(2, "d2", 1000)), Err(Refusal::SegmentConflict));
    let slash = SegmentSpec { path: "/data/", ..disk(2, "d2", 1000) };
    assert_eq!(primary.mount(1, slash), Err(Refusal::SegmentConflict));
    primary.mount(1, SegmentSpec { path: "/data2", ..disk(2, "d2", 1000) }).unwrap();
}

#[test]
fn two_mounts_of_one_call_see_each_other() {
    let primary = Primary::new();
    let pair = [memory(1, "m1", 4096), memory(1, "m1", 4096), SegmentSpec { id: segment_id(2), ..memory(1, "m", 64) }];
    let results = primary.state.mount(&primary.call(1), &pair).unwrap().results;
    assert!(!results[0].unwrap().kept);
    assert!(results[1].unwrap().kept);
    assert_eq!(results[2].unwrap_err(), Refusal::SegmentConflict);
}

#[test]
fn an_unmount_takes_the_objects_in_steps() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    for n in 0..1000 {
        primary.put(1, &n.to_string(), 100);
    }
    primary.unmount(1, 1, 0).unwrap();
    assert_eq!(primary.lookup("7"), None, "from the moment of the unmount on");
    let first = primary.state.step(primary.now()).unwrap();
    assert_eq!((first.replicas_dropped, first.more), (64, true));
    assert_eq!(primary.mount(1, memory(1, "m1", 1 << 20)), Err(Refusal::SegmentBusy));
    assert_eq!(primary.unmount(1, 1, 0), Err(Refusal::SegmentBusy));
    let rest = primary.step_to_the_end();
    assert_eq!((rest.replicas_dropped, rest.segments_gone), (936, 1));
    assert_eq!((primary.keys().len(), state_of(&primary, 1)), (0, None));
    assert_eq!(primary.mount(1, memory(1, "m1", 1 << 20)), Ok(false));
}

#[test]
fn an_object_with_a_replica_elsewhere_stays() {
    let primary = Primary::with_two_segments();
    primary.put_as(1, &placed(2, 0), "a", 100);
    primary.unmount(1, 1, 0).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places.len(), 1);
    primary.step();
    assert_eq!(primary.lookup("a").unwrap().places.len(), 1);
    assert_eq!(primary.bytes(), (128, 128));
    assert_eq!(primary.step_to_the_end().segments_gone, 1);
    assert_eq!(primary.bytes(), (128, 0));
}

#[test]
fn an_open_put_loses_the_replica_and_ends_with_the_rest() {
    let primary = Primary::with_two_segments();
    let put = primary.start_as(3, &placed(2, 0), "a", 100).unwrap().put;
    let gone = primary.start_as(
        3,
        &{
            let mut how = placed(1, 0);
            how.placement.preferred = vec!["m1"];
            how
        },
        "b",
        100,
    );
    primary.unmount(1, 1, 0).unwrap();
    primary.step();
    primary.end(3, "a", put).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places.len(), 1);
    assert_eq!(primary.end(3, "b", gone.unwrap().put), Err(Refusal::NotFound));
}

#[test]
fn a_put_whose_open_parts_all_go_has_ended() {
    let primary = Primary::with_two_segments();
    primary.mount(3, disk(3, "d3", 65536)).unwrap();
    let put = primary.start_as(1, &placed(1, 1), "a", 100).unwrap().put;
    primary.end_scope(1, "a", put, understudy_metadata::Scope::Memory, None).unwrap();
    primary.unmount(3, 3, 0).unwrap();
    primary.step();
    assert_eq!(primary.end(1, "a", ItemId::NONE), Err(Refusal::NotWriting));
    assert_eq!(primary.remove("a"), Ok(()));
}

#[test]
fn a_draining_segment_takes_nothing_new_and_can_be_read() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 65536)).unwrap();
    primary.put(1, "a", 100);
    primary.unmount(1, 1, 5000).unwrap();
    assert_eq!(state_of(&primary, 1), Some(SegmentState::Draining { grace_ms: 5000 }));
    assert_eq!(refusal(primary.start(1, "b", 100)), Refusal::NoSpace);
    let mut preferred = placed(1, 0);
    preferred.placement.preferred = vec!["m1"];
    assert_eq!(refusal(primary.start_as(1, &preferred, "b", 100)), Refusal::NoSpace);
    assert!(primary.lookup("a").is_some());
    assert_eq!(primary.mount(1, memory(1, "m1", 65536)), Ok(true), "it is still there");
    primary.pass(4999);
    primary.step();
    assert!(primary.lookup("a").is_some());
    primary.pass(1);
    assert_eq!((primary.step().segments_gone, primary.lookup("a")), (0, None), "somebody may be reading it");
    primary.pass(10_000);
    assert_eq!(primary.step().segments_gone, 1);
}

#[test]
fn a_drain_can_be_cut_short() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 65536)).unwrap();
    primary.unmount(1, 1, 5000).unwrap();
    primary.unmount(1, 1, 0).unwrap();
    assert_eq!(primary.step().segments_gone, 1);
}

#[test]
fn a_drain_waits_in_full_after_a_promotion() {
    let old = Primary::new();
    old.mount(1, memory(1, "m1", 65536)).unwrap();
    old.unmount(1, 1, 5000).unwrap();
    old.pass(4999);
    let new = old.fail_over();
    new.pass(4999);
    assert_eq!(new.step().segments_gone, 0);
    new.pass(1);
    assert_eq!(new.step().segments_gone, 1);
}

#[test]
fn a_remount_unmounts_what_it_leaves_out() {
    let primary = Primary::new();
    let (first, second) = (memory(1, "m1", 4096), memory(2, "m2", 4096));
    primary.state.remount(&primary.numbered(1, 1), &[first, second]).unwrap();
    primary.mount(2, memory(3, "m3", 4096)).unwrap();
    primary.state.remount(&primary.numbered(1, 2), &[first]).unwrap();
    assert_eq!(
        (state_of(&primary, 1), state_of(&primary, 2)),
        (Some(SegmentState::Mounted), Some(SegmentState::Unmounting))
    );
    assert_eq!(state_of(&primary, 3), Some(SegmentState::Mounted), "another client's");
    primary.step();
    // A retry is not told of what came later.
    primary.mount(1, second).unwrap();
    primary.state.remount(&primary.numbered(1, 2), &[first]).unwrap();
    assert_eq!(state_of(&primary, 2), Some(SegmentState::Mounted));
    // The same without a segment.
    primary.state.remount(&primary.numbered(1, 3), &[]).unwrap();
    primary.step();
    assert_eq!((state_of(&primary, 1), state_of(&primary, 2)), (None, None));
    primary.mount(1, first).unwrap();
    primary.state.remount(&primary.numbered(1, 3), &[]).unwrap();
    assert_eq!(state_of(&primary, 1), Some(SegmentState::Mounted));
}

#[test]
fn only_the_owner_unmounts() {
    let primary = Primary::with_two_segments();
    assert_eq!(primary.unmount(2, 1, 0), Err(Refusal::NotOwner));
    assert_eq!(primary.unmount(2, 77, 0), Err(Refusal::SegmentNotFound));
}

#[test]
fn a_number_of_a_segment_is_not_used_again() {
    let primary = Primary::new();
    let mut seen = Vec::new();
    for _ in 0..3 {
        primary.mount(1, memory(1, "m1", 4096)).unwrap();
        seen.push(primary.state.segments(|_| true).results[0].info.ix);
        primary.unmount(1, 1, 0).unwrap();
        primary.step();
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_segment_goes_when_nothing_of_it_is_in_use() {
    let primary = Primary::with_two_segments();
    for n in 0..40 {
        primary.put(1, &n.to_string(), 100);
        primary.lookup(&n.to_string());
        primary.remove_forced(&n.to_string()).unwrap();
    }
    let retired = primary.bytes().1;
    primary.unmount(1, 1, 0).unwrap();
    primary.pass(9999);
    assert_eq!((primary.step().segments_gone, primary.bytes().1), (0, retired));
    primary.pass(1);
    assert_eq!(primary.step().segments_gone, 1);
    assert_eq!((primary.state.totals().retired_bytes, primary.bytes().1), (0, 0));
}

/// The memory of a segment that was mounted again at the same addresses: what of it a reader was told, or a writer began
/// to write before, is nobody else's until both are through.
#[test]
fn space_in_use_is_not_handed_out_again_after_an_unmount() {
    let primary = Primary::new();
    let whole = memory(1, "m1", 256);
    primary.mount(1, whole).unwrap();
    let read = primary.put(1, "read", 64).places[0];
    let written = primary.start(2, "written", 64).unwrap().places[0];
    primary.lookup("read").unwrap();
    primary.unmount(1, 1, 0).unwrap();
    assert_eq!(primary.mount(1, whole), Err(Refusal::SegmentBusy), "it is not empty yet");
    primary.step();
    assert_eq!(primary.mount(1, whole), Ok(false), "at once, and empty");
    let starts = |range: std::ops::Range<u32>| -> Vec<_> {
        range.filter_map(|n| primary.start(3, &n.to_string(), 64).ok()).map(|put| put.places[0]).collect()
    };
    let others = starts(0..4);
    assert!(others.len() == 2 && !others.contains(&read) && !others.contains(&written), "{others:?}");
    primary.pass(9999);
    primary.step();
    assert_eq!(starts(4..8), []);
    primary.pass(1);
    primary.step();
    assert_eq!(starts(8..12), [read], "after the lease");
}

#[test]
fn a_segment_over_one_that_is_in_use_must_wait() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 4096)).unwrap();
    primary.put(1, "a", 64);
    primary.unmount(1, 1, 0).unwrap();
    primary.step();
    let over = SegmentSpec { id: segment_id(2), ..memory(1, "m2", 8192) };
    assert_eq!(primary.mount(1, over), Err(Refusal::SegmentBusy));
    primary.pass(10_000);
    primary.step();
    assert_eq!(primary.mount(1, over), Ok(false));
}

/// A new primary was not there when it was read, and waits in full.
#[test]
fn space_in_use_is_not_handed_out_again_after_a_promotion() {
    let old = Primary::new();
    old.mount(1, memory(1, "m1", 64)).unwrap();
    old.put(1, "a", 64);
    old.unmount(1, 1, 0).unwrap();
    old.step();
    old.pass(9999);
    let new = old.fail_over();
    assert_eq!(new.mount(1, memory(1, "m1", 64)), Ok(false));
    new.pass(9999);
    new.step();
    assert_eq!(refusal(new.start(1, "b", 64)), Refusal::NoSpace);
    new.pass(1);
    new.step();
    new.start(1, "b", 64).unwrap();
}

/// What an unmount hides may come back if that unmount is never committed: the answer waits for it.
#[test]
fn a_lookup_that_an_unmount_empties_waits_for_the_unmount() {
    let primary = Primary::with_two_segments();
    primary.put_as(1, &placed(2, 0), "a", 100);
    let (_, before) = primary.lookup_in("", "a");
    primary.put(1, "elsewhere", 1);
    primary.unmount(1, 1, 0).unwrap();
    let unmounted = primary.state.position().seq;
    let (seen, wait) = primary.lookup_in("", "a");
    assert_eq!((seen.unwrap().places.len(), wait), (1, unmounted), "one place less is an effect of the unmount");
    primary.unmount(2, 2, 0).unwrap();
    let unmounted = primary.state.position().seq;
    assert_eq!(primary.lookup_in("", "a"), (None, unmounted));
    assert!(before < unmounted);
}

#[test]
fn the_bytes_of_all_segments_stay_countable() {
    let primary = Primary::with(Config { segments_max: 100, client_segment_bytes_max: u64::MAX, ..config() });
    let huge = 1 << 60;
    let mut taken = 0;
    for n in 1..=40 {
        match primary.mount(n, SegmentSpec { base: 0, ..memory(n, "m", huge) }) {
            Ok(_) => taken += 1,
            Err(refused) => assert_eq!(bound_of(refused), Bound::SegmentBytes),
        }
        let _ = primary.mount(n, disk(n + 100, "d", huge));
    }
    assert!(taken > 0);
    let totals = primary.state.totals();
    assert_eq!(totals.memory_bytes, taken * huge);
    primary.put(1, "a", 1 << 50);
    assert_eq!(primary.bytes(), (1 << 50, 0));
}

#[test]
fn the_number_of_segments_is_bounded() {
    let primary = Primary::with(Config { segments_max: 2, ..config() });
    primary.mount(1, memory(1, "m", 4096)).unwrap();
    primary.mount(1, memory(2, "m", 4096)).unwrap();
    let full = Refusal::Overloaded(AtBound { bound: Bound::Segments, have: 2, limit: 2 });
    assert_eq!(primary.mount(1, memory(3, "m", 4096)), Err(full));
    assert_eq!(primary.mount(1, memory(2, "m", 4096)), Ok(true));
    let remounted = one(primary.state.remount(&primary.call(1), &[memory(3, "m", 4096)]));
    assert_eq!(remounted.unwrap_err(), full);
}

#[test]
fn a_size_that_is_no_multiple_of_the_unit_is_rounded_down() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 64 * 3 + 63)).unwrap();
    for n in 0..3 {
        primary.put(1, &n.to_string(), 1);
    }
    assert_eq!(refusal(primary.start(1, "d", 1)), Refusal::NoSpace);
}

/// No primary logs that; whoever reads it in a log must not believe it.
#[test]
fn a_segment_that_is_going_does_not_drain_and_one_that_lives_does_not_end_whatever_a_log_says() {
    let logged = |grace_ms| {
        let mut primary = Primary::new();
        primary.verify_at_end = false;
        primary.mount(1, memory(1, "m1", 4096)).unwrap();
        primary.unmount(1, 1, grace_ms).unwrap();
        primary.step_to_the_end();
        let frames = primary.tail.entries_since(0, usize::MAX, usize::MAX).unwrap();
        frames.iter().map(|frame| frame.decode().unwrap()).collect::<Vec<Entry>>()
    };
    let at_once = logged(0);
    let [_, mounted, unmounted, gone] = &at_once[..] else { panic!("{at_once:?}") };
    let drained = &logged(1000)[2];
    for history in [[mounted, unmounted, drained], [mounted, gone, gone]] {
        let follower = Metadata::new(config(), Position::default());
        let mut refused = Ok(());
        for (at, entry) in history.into_iter().enumerate() {
            refused = refused.and_then(|()| follower.apply(&Entry { seq: at as u64 + 1, ..entry.clone() }));
        }
        assert!(matches!(refused, Err(ApplyError::Inconsistent { .. })), "{refused:?}");
        follower.check().unwrap();
    }
}
