//! Copies and moves.

use understudy_metadata::{Bound, ItemId, PutStart, Refusal, TransferKind, TransferStartedAt};

use crate::support::{Primary, bound_of, disk, memory, placed, refusal};

const COPY: TransferKind = TransferKind::Copy;
const MOVE: TransferKind = TransferKind::Move;

/// "a" lies in "m1"; "m2" and "d3" are free.
fn one_object() -> Primary {
    let primary = Primary::with_two_segments();
    primary.mount(2, disk(3, "d3", 65536)).unwrap();
    primary.put_as(1, &in_segment("m1"), "a", 100);
    primary
}

fn in_segment(name: &'static str) -> PutStart<'static> {
    let mut how = placed(1, 0);
    how.placement.preferred = vec![name];
    how
}

fn start(primary: &Primary, kind: TransferKind, targets: &[&str]) -> TransferStartedAt {
    primary.transfer(1, kind, "a", "m1", targets).unwrap()
}

#[test]
fn a_copy_adds_replicas() {
    let primary = one_object();
    let started = start(&primary, COPY, &["m2", "d3"]);
    assert_eq!((started.size, started.targets.len()), (100, 2));
    assert_eq!(primary.lookup("a").unwrap().places, [started.source]);
    primary.end_transfer(1, COPY, "a", started.id).unwrap();
    let places = primary.lookup("a").unwrap().places;
    assert_eq!(places, [vec![started.source], started.targets.to_vec()].concat());
    assert_eq!(primary.bytes(), (3 * 128, 0));
}

#[test]
fn a_move_takes_the_source_away() {
    let primary = one_object();
    let started = start(&primary, MOVE, &["m2"]);
    primary.end_transfer(1, MOVE, "a", ItemId::NONE).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places, started.targets.to_vec());
    assert_eq!(primary.bytes(), (128, 0));
}

#[test]
fn a_leased_source_of_a_move_waits_for_its_readers() {
    let primary = one_object();
    start(&primary, MOVE, &["m2"]);
    primary.lookup("a").unwrap();
    primary.end_transfer(1, MOVE, "a", ItemId::NONE).unwrap();
    assert_eq!(primary.bytes(), (128, 128));
    primary.pass(10_000);
    assert_eq!(primary.step().extents_released, 1);
}

#[test]
fn a_revoked_transfer_leaves_everything_as_it_was() {
    for kind in [COPY, MOVE] {
        let primary = one_object();
        let before = primary.lookup("a").unwrap();
        let started = start(&primary, kind, &["m2"]);
        primary.revoke_transfer(1, kind, "a", started.id).unwrap();
        assert_eq!(primary.lookup("a").unwrap(), before);
        assert_eq!(primary.bytes(), (128, 0));
        assert_eq!(primary.end_transfer(1, kind, "a", started.id), Err(Refusal::NotWriting));
    }
}

#[test]
fn a_transfer_that_is_late_is_discarded() {
    let primary = one_object();
    let started = start(&primary, MOVE, &["m2"]);
    primary.pass(30_000);
    assert_eq!(primary.step().puts_discarded, 1);
    assert_eq!(primary.end_transfer(1, MOVE, "a", started.id), Err(Refusal::NotWriting));
    assert_eq!(primary.lookup("a").unwrap().places, [started.source]);
    assert_eq!(primary.bytes(), (128, 128));
}

#[test]
fn only_the_owner_finishes_and_only_what_it_started() {
    let primary = one_object();
    let started = start(&primary, COPY, &["m2"]);
    assert_eq!(primary.end_transfer(2, COPY, "a", started.id), Err(Refusal::NotOwner));
    assert_eq!(primary.revoke_transfer(2, COPY, "a", started.id), Err(Refusal::NotOwner));
    assert_eq!(primary.end_transfer(1, MOVE, "a", started.id), Err(Refusal::NotWriting));
    assert_eq!(primary.end_transfer(1, COPY, "a", ItemId(started.id.0 - 1)), Err(Refusal::StalePut));
    assert_eq!(primary.end_transfer(1, COPY, "b", started.id), Err(Refusal::NotFound));
    assert_eq!(primary.end(1, "a", ItemId::NONE), Err(Refusal::NotWriting), "it is no put");
    primary.end_transfer(1, COPY, "a", started.id).unwrap();
    assert_eq!(primary.end_transfer(1, COPY, "a", started.id), Err(Refusal::NotWriting));
}

#[test]
fn what_cannot_be_transferred_is_refused() {
    let primary = one_object();
    let refused = |key, source, targets: &[&str]| refusal(primary.transfer(1, COPY, key, source, targets));
    assert_eq!(refused("b", "m1", &["m2"]), Refusal::NotFound);
    assert_eq!(refused("a", "m2", &["d3"]), Refusal::ReplicaNotFound);
    assert_eq!(refused("a", "nowhere", &["d3"]), Refusal::ReplicaNotFound);
    assert_eq!(refused("a", "m1", &["nowhere"]), Refusal::SegmentNotFound);
    assert_eq!(refused("a", "m1", &["m1"]), Refusal::ReplicaExists);
    assert_eq!(refused("a", "", &["m2", "m2"]), Refusal::NoSpace);
    primary.mount(3, memory(4, "tiny", 64)).unwrap();
    assert_eq!(refused("a", "", &["tiny"]), Refusal::NoSpace);
    primary.start_as(1, &in_segment("m1"), "open", 100).unwrap();
    assert_eq!(refused("open", "", &["m2"]), Refusal::WriteInProgress);
    start(&primary, COPY, &["m2"]);
    assert_eq!(refused("a", "m1", &["d3"]), Refusal::WriteInProgress);
    assert_eq!(primary.bytes(), (3 * 128, 0));
}

#[test]
fn a_draining_segment_is_a_source_and_never_a_target() {
    let primary = one_object();
    primary.unmount(1, 1, 60_000).unwrap();
    primary.unmount(2, 3, 60_000).unwrap();
    assert_eq!(refusal(primary.transfer(1, MOVE, "a", "m1", &["d3"])), Refusal::NoSpace);
    let started = start(&primary, MOVE, &["m2"]);
    primary.end_transfer(1, MOVE, "a", started.id).unwrap();
    primary.pass(60_000);
    primary.step();
    assert_eq!(primary.lookup("a").unwrap().places, started.targets.to_vec());
}

#[test]
fn a_transfer_loses_a_target_whose_segment_goes_and_ends_with_the_rest() {
    let primary = one_object();
    let started = start(&primary, COPY, &["m2", "d3"]);
    primary.unmount(2, 2, 0).unwrap();
    primary.step();
    primary.end_transfer(1, COPY, "a", started.id).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places, [started.source, started.targets[1]]);
}

#[test]
fn a_transfer_without_targets_or_without_its_source_is_over() {
    let primary = one_object();
    let started = start(&primary, COPY, &["m2"]);
    primary.unmount(2, 2, 0).unwrap();
    primary.step();
    assert_eq!(primary.end_transfer(1, COPY, "a", started.id), Err(Refusal::NotWriting));
    assert!(primary.lookup("a").is_some());
    primary.pass(10_000);
    assert_eq!(primary.remove("a"), Ok(()));

    let primary = one_object();
    let started = start(&primary, COPY, &["m2"]);
    primary.unmount(1, 1, 0).unwrap();
    primary.step();
    assert_eq!(primary.end_transfer(1, COPY, "a", started.id), Err(Refusal::NotFound));
    assert_eq!(primary.bytes(), (0, 256), "the client may still be reading the source, and writing to the target");
}

/// The owner of the source may give its memory back once a lease is over: what is copied later may be something else's bytes.
#[test]
fn a_transfer_whose_source_goes_first_is_over_though_the_object_lies_elsewhere() {
    for kind in [COPY, MOVE] {
        let primary = one_object();
        primary.put_as(1, &placed(2, 0), "b", 100);
        let started = primary.transfer(1, kind, "b", "m1", &["d3"]).unwrap();
        primary.unmount(1, 1, 0).unwrap();
        primary.step();
        assert_eq!(primary.end_transfer(1, kind, "b", started.id), Err(Refusal::NotWriting));
        let places = primary.lookup("b").unwrap().places;
        assert!(places.len() == 1 && !places.contains(&started.targets[0]), "{places:?}");
    }
}

#[test]
fn a_forced_removal_ends_a_transfer() {
    let primary = one_object();
    let started = start(&primary, COPY, &["m2"]);
    assert_eq!(primary.remove("a"), Err(Refusal::WriteInProgress));
    assert_eq!(refusal(primary.start_over(1, "a", 100)), Refusal::WriteInProgress);
    primary.remove_forced("a").unwrap();
    assert_eq!(primary.end_transfer(1, COPY, "a", started.id), Err(Refusal::NotFound));
    assert_eq!(primary.bytes(), (0, 128));
}

#[test]
fn one_of_several_segments_of_a_name_is_found() {
    let primary = one_object();
    primary.mount(3, memory(4, "m1", 65536)).unwrap();
    let started = start(&primary, COPY, &["m1"]);
    assert_eq!(started.targets[0].address >> 32, 4);
}

#[test]
fn an_object_has_a_bounded_number_of_replicas() {
    let primary = Primary::new();
    let names: Vec<String> = (1..=40).map(|n| format!("m{n}")).collect();
    for (n, name) in (1..).zip(&names) {
        primary.mount(n, memory(n, name, 4096)).unwrap();
    }
    primary.put_as(1, &placed(16, 0), "a", 100);
    let holds = |name: &&String| {
        let at = u64::from(name[1..].parse::<u8>().unwrap());
        primary.lookup("a").unwrap().places.iter().any(|place| place.address >> 32 == at)
    };
    let free: Vec<&str> = names.iter().filter(|name| !holds(name)).map(String::as_str).collect();
    let started = primary.transfer(1, COPY, "a", "", &free[..16]).unwrap();
    primary.end_transfer(1, COPY, "a", started.id).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places.len(), 32);
    assert_eq!(bound_of(refusal(primary.transfer(1, COPY, "a", "", &free[16..17]))), Bound::Replicas);
    primary.pass(10_000);
    primary.remove("a").unwrap();
    assert_eq!(primary.bytes(), (0, 0));
}
