//! A put of a key that exists: in place, or beside the old version until the new one is whole.

use understudy_metadata::{ItemId, PutStart, Refusal, Scope};

use crate::support::{Primary, disk, memory, placed, refusal};

fn over(memory_replicas: u32, disk_replicas: u32) -> PutStart<'static> {
    PutStart { replace: true, ..placed(memory_replicas, disk_replicas) }
}

#[test]
fn the_same_size_goes_in_place_while_nobody_reads() {
    let primary = Primary::with_two_segments();
    let old = primary.put(1, "a", 100);
    let new = primary.start_over(2, "a", 100).unwrap();
    assert_eq!(new.places, old.places);
    assert_ne!(new.put, old.put);
    assert_eq!(primary.lookup("a"), None, "its bytes are being overwritten");
    assert_eq!(primary.end(1, "a", old.put), Err(Refusal::NotOwner));
    primary.end_scope(2, "a", new.put, Scope::All, Some(2)).unwrap();
    assert_eq!(primary.lookup("a").unwrap().checksum, Some(2));
    assert_eq!(primary.bytes(), (128, 0));
}

#[test]
fn a_put_in_place_that_is_revoked_leaves_nothing() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let put = primary.start_over(1, "a", 100).unwrap().put;
    primary.revoke(1, "a", put).unwrap();
    assert_eq!((primary.keys().len(), primary.bytes()), (0, (0, 0)));
}

#[test]
fn what_is_leased_stays_until_the_new_version_is_whole() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let old = primary.lookup("a").unwrap();
    let new = primary.start_over(1, "a", 100).unwrap();
    assert_ne!(new.places.to_vec(), old.places);
    assert_eq!(primary.lookup("a").unwrap(), old);
    primary.end(1, "a", new.put).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places, new.places.to_vec());
    assert_eq!(primary.bytes(), (128, 128), "a reader may still be at the old bytes");
    primary.pass(9_999);
    assert_eq!(primary.step().extents_released, 0);
    primary.pass(1);
    assert_eq!(primary.step().extents_released, 1);
}

#[test]
fn another_size_goes_beside_and_frees_the_old_one() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let new = primary.start_over(2, "a", 200).unwrap();
    assert_eq!(primary.bytes(), (128 + 256, 0));
    primary.end(2, "a", new.put).unwrap();
    assert_eq!(primary.lookup("a").unwrap().size, 200);
    assert_eq!(primary.bytes(), (256, 0), "nobody was reading the old bytes");
}

#[test]
fn a_revoked_replacement_leaves_the_old_version() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let old = primary.lookup("a").unwrap();
    let new = primary.start_over(2, "a", 200).unwrap();
    assert_eq!(primary.revoke(1, "a", new.put), Err(Refusal::NotOwner));
    primary.revoke(2, "a", new.put).unwrap();
    assert_eq!(primary.lookup("a").unwrap(), old);
    assert_eq!(primary.bytes(), (128, 0));
    assert_eq!(primary.end(2, "a", new.put), Err(Refusal::NotWriting));
}

#[test]
fn a_replacement_that_is_late_leaves_the_old_version() {
    let primary = Primary::with_two_segments();
    primary.put(1, "a", 100);
    let old = primary.lookup("a").unwrap();
    primary.start_over(2, "a", 200).unwrap();
    primary.pass(30_000);
    assert_eq!(primary.step().puts_discarded, 1);
    assert_eq!(primary.lookup("a").unwrap(), old);
    assert_eq!(primary.bytes(), (128, 256));
}

/// Old and new in one segment: the index of one changes when the other one goes.
#[test]
fn a_replacement_in_the_same_segment_keeps_the_index_right() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 4096)).unwrap();
    for round in 0..4 {
        for key in ["a", "b", "c"] {
            let size = 10 + 100 * (round % 2);
            let new = primary.start_as(1, &over(1, 0), key, size).unwrap();
            primary.state.check().unwrap();
            if round == 2 {
                primary.revoke(1, key, new.put).unwrap();
            } else {
                primary.end(1, key, new.put).unwrap();
            }
            primary.state.check().unwrap();
        }
    }
    assert_eq!(primary.keys(), ["a", "b", "c"]);
}

#[test]
fn a_segment_that_goes_takes_old_and_new_of_one_object() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 4096)).unwrap();
    for key in ["a", "b", "c"] {
        primary.put(1, key, 100);
    }
    for key in ["c", "a"] {
        primary.start_over(2, key, 200).unwrap();
    }
    primary.unmount(1, 1, 0).unwrap();
    primary.step_to_the_end();
    assert_eq!((primary.keys().len(), primary.bytes()), (0, (0, 0)));
    assert_eq!(primary.end(2, "a", ItemId::NONE), Err(Refusal::NotFound));
}

#[test]
fn a_replacement_lives_on_when_the_old_version_goes() {
    let primary = Primary::with_two_segments();
    let mut in_first = placed(1, 0);
    in_first.placement.preferred = vec!["m1"];
    primary.put_as(1, &in_first, "a", 100);
    let mut in_second = over(1, 0);
    in_second.placement.preferred = vec!["m2"];
    let new = primary.start_as(2, &in_second, "a", 200).unwrap();
    primary.unmount(1, 1, 0).unwrap();
    primary.step();
    assert_eq!(primary.lookup("a"), None);
    primary.end(2, "a", new.put).unwrap();
    assert_eq!(primary.lookup("a").unwrap().size, 200);
}

#[test]
fn what_can_no_longer_be_read_is_replaced_without_asking() {
    let primary = Primary::with_two_segments();
    let mut in_first = placed(1, 0);
    in_first.placement.preferred = vec!["m1"];
    primary.put_as(1, &in_first, "a", 100);
    primary.unmount(1, 1, 0).unwrap();
    // Not yet dropped, but nobody can read it: a put that must not replace anything is fine.
    let new = primary.start(2, "a", 100).unwrap();
    primary.step();
    primary.end(2, "a", new.put).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places, new.places.to_vec());
}

#[test]
fn a_replacement_ends_in_parts() {
    let primary = Primary::with_two_segments();
    primary.mount(2, disk(3, "d3", 65536)).unwrap();
    primary.put(1, "a", 100);
    let new = primary.start_as(1, &over(1, 1), "a", 200).unwrap();
    primary.end_scope(1, "a", new.put, Scope::Disk, Some(1)).unwrap();
    let seen = primary.lookup("a").unwrap();
    assert_eq!((seen.size, seen.places.len()), (200, 1));
    primary.end_scope(1, "a", new.put, Scope::Memory, None).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places.len(), 2);
    assert_eq!(primary.bytes(), (512, 0));
}

#[test]
fn another_number_or_kind_of_replicas_goes_beside() {
    let primary = Primary::with_two_segments();
    primary.mount(2, disk(3, "d3", 65536)).unwrap();
    primary.put_as(1, &placed(1, 1), "a", 100);
    let two_in_memory = primary.start_as(1, &over(2, 0), "a", 100).unwrap();
    assert_eq!(two_in_memory.places.len(), 2);
    let view = primary.state.view();
    let kinds: Vec<_> = two_in_memory.places.iter().map(|place| view.segment(place.segment).unwrap().kind).collect();
    assert_eq!(kinds, [understudy_metadata::SegmentKind::Memory; 2]);
    primary.end(1, "a", two_in_memory.put).unwrap();
    assert_eq!(primary.bytes(), (256, 0));
}

#[test]
fn nothing_new_goes_in_place_into_a_segment_that_drains() {
    let primary = Primary::with_two_segments();
    let mut in_first = placed(1, 0);
    in_first.placement.preferred = vec!["m1"];
    let old = primary.put_as(1, &in_first, "a", 100);
    primary.unmount(1, 1, 60_000).unwrap();
    let new = primary.start_over(1, "a", 100).unwrap();
    assert_ne!(new.places, old.places);
    primary.end(1, "a", new.put).unwrap();
    primary.pass(60_000);
    primary.step();
    assert!(primary.lookup("a").is_some());
}

#[test]
fn a_replacement_is_refused_without_room_for_both() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 256)).unwrap();
    primary.put(1, "a", 192);
    assert_eq!(refusal(primary.start_over(1, "a", 100)), Refusal::NoSpace);
    assert!(primary.lookup("a").is_some());
}
