//! A put from its start to its end, and every way in which it does not get there.

use understudy_metadata::{Config, ItemId, Placement, PutStart, Refusal, Scope, Strategy};

use crate::support::{Primary, config, disk, memory, placed, refusal};

#[test]
fn a_put_can_be_read_once_it_has_ended() {
    let primary = Primary::with_two_segments();
    let started = primary.start(1, "a", 100).unwrap();
    assert_eq!(started.places.len(), 1);
    assert_eq!(primary.lookup("a"), None);
    primary.end_scope(1, "a", started.put, Scope::All, Some(0xfeed)).unwrap();
    let seen = primary.lookup("a").unwrap();
    assert_eq!((seen.size, seen.checksum, seen.places), (100, Some(0xfeed), started.places.to_vec()));
}

#[test]
fn an_address_is_absolute_and_within_its_segment() {
    let primary = Primary::new();
    primary.mount(1, memory(3, "m3", 4096)).unwrap();
    for n in 0..64 {
        let place = primary.put(1, &n.to_string(), 1).places[0];
        assert!(place.address >= 3 << 32 && place.address + 64 <= (3 << 32) + 4096, "{place:?}");
        assert_eq!(place.address % 64, 0);
    }
    assert_eq!(refusal(primary.start(1, "one more", 1)), Refusal::NoSpace);
}

#[test]
fn a_second_end_is_refused() {
    let primary = Primary::with_two_segments();
    let put = primary.put(1, "a", 100).put;
    assert_eq!(primary.end(1, "a", put), Err(Refusal::NotWriting));
    assert_eq!(primary.end(1, "a", ItemId::NONE), Err(Refusal::NotWriting));
    assert_eq!(primary.revoke(1, "a", put), Err(Refusal::NotWriting));
    assert!(primary.lookup("a").is_some());
}

#[test]
fn only_the_owner_ends_or_revokes() {
    let primary = Primary::with_two_segments();
    let put = primary.start(1, "a", 100).unwrap().put;
    assert_eq!(primary.end(2, "a", put), Err(Refusal::NotOwner));
    assert_eq!(primary.end(2, "a", ItemId::NONE), Err(Refusal::NotOwner));
    assert_eq!(primary.revoke(2, "a", put), Err(Refusal::NotOwner));
    assert_eq!(primary.end(1, "a", put), Ok(()));
}

#[test]
fn an_end_of_what_is_not_there_is_refused() {
    let primary = Primary::with_two_segments();
    assert_eq!(primary.end(1, "a", ItemId::NONE), Err(Refusal::NotFound));
    assert_eq!(primary.revoke(1, "a", ItemId::NONE), Err(Refusal::NotFound));
}

#[test]
fn an_end_of_an_earlier_put_is_refused() {
    let primary = Primary::with_two_segments();
    let old = primary.start(1, "a", 100).unwrap().put;
    primary.revoke(1, "a", old).unwrap();
    let new = primary.start(1, "a", 100).unwrap().put;
    assert!(new > old);
    assert_eq!(primary.end(1, "a", old), Err(Refusal::StalePut));
    assert_eq!(primary.revoke(1, "a", old), Err(Refusal::StalePut));
    assert_eq!(primary.end(1, "a", new), Ok(()));
}

#[test]
fn a_second_start_is_refused_while_one_is_open_and_after_it() {
    let primary = Primary::with_two_segments();
    let put = primary.start(1, "a", 100).unwrap().put;
    assert_eq!(refusal(primary.start(1, "a", 100)), Refusal::WriteInProgress);
    assert_eq!(refusal(primary.start_over(2, "a", 100)), Refusal::WriteInProgress);
    primary.end(1, "a", put).unwrap();
    assert_eq!(refusal(primary.start(2, "a", 100)), Refusal::AlreadyExists);
}

#[test]
fn a_revoked_put_gives_its_space_back_at_once() {
    let primary = Primary::with_two_segments();
    let put = primary.start(1, "a", 100).unwrap().put;
    assert_eq!(primary.bytes(), (128, 0));
    primary.revoke(1, "a", put).unwrap();
    assert_eq!(primary.bytes(), (0, 0));
    assert_eq!(primary.revoke(1, "a", put), Err(Refusal::NotFound));
}

#[test]
fn what_never_ends_is_discarded_and_its_space_released_later() {
    let primary = Primary::with_two_segments();
    let put = primary.start(1, "a", 100).unwrap().put;
    primary.pass(29_999);
    assert_eq!(primary.step().puts_discarded, 0);
    primary.pass(1);
    assert_eq!(primary.step().puts_discarded, 1);
    assert_eq!(primary.bytes(), (0, 128));
    assert_eq!(primary.end(1, "a", put), Err(Refusal::NotFound));
    primary.pass(599_999);
    assert_eq!(primary.step().extents_released, 0);
    primary.pass(1);
    assert_eq!(primary.step().extents_released, 1);
    assert_eq!(primary.bytes(), (0, 0));
}

#[test]
fn a_discarded_range_is_not_handed_out_before_its_time() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 128)).unwrap();
    primary.start(1, "a", 128).unwrap();
    primary.pass(30_000);
    primary.step();
    assert_eq!(refusal(primary.start(1, "b", 1)), Refusal::NoSpace);
    primary.pass(600_000);
    primary.step();
    primary.put(1, "b", 128);
}

#[test]
fn many_late_puts_of_many_clients_are_discarded() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    for n in 0..1000_u32 {
        primary.start((n % 7) as u8 + 1, &n.to_string(), 64).unwrap();
    }
    primary.pass(30_000);
    assert_eq!(primary.step().puts_discarded, 1000);
    assert_eq!(primary.keys().len(), 0);
}

#[test]
fn replicas_lie_in_different_segments() {
    let primary = Primary::with_two_segments();
    primary.mount(2, memory(3, "m3", 65536)).unwrap();
    for n in 0..20 {
        let places = primary.put_as(1, &placed(3, 0), &n.to_string(), 100).places;
        let mut segments: Vec<_> = places.iter().map(|place| place.segment).collect();
        segments.sort_unstable();
        segments.dedup();
        assert_eq!(segments.len(), 3);
    }
}

#[test]
fn too_few_segments_are_enough_only_for_a_best_effort() {
    let primary = Primary::with_two_segments();
    assert_eq!(refusal(primary.start_as(1, &placed(3, 0), "a", 100)), Refusal::NoSpace);
    assert_eq!(primary.bytes(), (0, 0));
    let mut best_effort = placed(3, 0);
    best_effort.placement.best_effort = true;
    assert_eq!(primary.start_as(1, &best_effort, "a", 100).unwrap().places.len(), 2);
    assert_eq!(refusal(primary.start_as(1, &best_effort, "b", 1 << 20)), Refusal::NoSpace);
}

#[test]
fn preferred_segments_come_first_and_in_order() {
    let primary = Primary::with_two_segments();
    primary.mount(2, memory(3, "m3", 128)).unwrap();
    let place = |key: &str, preferred: &[&'static str]| {
        let placement = Placement { memory_replicas: 1, preferred: preferred.to_vec(), ..Placement::default() };
        let how = PutStart { placement, ..PutStart::default() };
        primary.put_as(1, &how, key, 128).places[0].address >> 32
    };
    assert_eq!(place("a", &["nowhere", "m3", "m2"]), 3);
    // Full by now.
    assert_eq!(place("b", &["nowhere", "m3", "m2"]), 2);
    assert_eq!(place("c", &["m1"]), 1);
}

#[test]
fn the_callers_host_comes_first_when_asked_for() {
    let primary = Primary::new();
    for n in 1..=8 {
        let host = if n == 5 { "here" } else { "there" };
        primary.mount(n, understudy_metadata::SegmentSpec { host, ..memory(n, "m", 65536) }).unwrap();
    }
    primary.state.heartbeat(&primary.call(5), "here").unwrap();
    let mut how = placed(1, 0);
    how.placement.same_host = true;
    for n in 0..20 {
        assert_eq!(primary.put_as(5, &how, &n.to_string(), 100).places[0].address >> 32, 5);
    }
}

#[test]
fn the_emptiest_segment_comes_first_by_that_strategy() {
    let primary = Primary::with(Config { strategy: Strategy::FreeRatioFirst, ..config() });
    for n in 1..=4 {
        primary.mount(n, memory(n, "m", 65536)).unwrap();
    }
    let mut count = [0; 5];
    for n in 0..400 {
        count[(primary.put(1, &n.to_string(), 64).places[0].address >> 32) as usize] += 1;
    }
    assert_eq!(count, [0, 100, 100, 100, 100]);
}

#[test]
fn random_placement_uses_every_segment() {
    let primary = Primary::new();
    for n in 1..=4 {
        primary.mount(n, memory(n, "m", 65536)).unwrap();
    }
    let mut count = [0; 5];
    for n in 0..400 {
        count[(primary.put(1, &n.to_string(), 64).places[0].address >> 32) as usize] += 1;
    }
    assert!(count[1..].iter().all(|count| (50..150).contains(count)), "{count:?}");
}

#[test]
fn memory_and_disk_end_apart() {
    let primary = Primary::with_two_segments();
    primary.mount(2, disk(3, "d3", 65536)).unwrap();
    let started = primary.start_as(1, &placed(1, 1), "a", 100).unwrap();
    primary.end_scope(1, "a", started.put, Scope::Memory, Some(5)).unwrap();
    let seen = primary.lookup("a").unwrap();
    assert_eq!((seen.places.len(), seen.checksum), (1, Some(5)));
    assert_eq!(primary.end_scope(1, "a", started.put, Scope::Memory, None), Err(Refusal::NotWriting));
    assert_eq!(refusal(primary.start(2, "a", 100)), Refusal::AlreadyExists);
    assert_eq!(refusal(primary.start_over(2, "a", 100)), Refusal::WriteInProgress);
    primary.end_scope(1, "a", started.put, Scope::Disk, None).unwrap();
    let seen = primary.lookup("a").unwrap();
    assert_eq!((seen.places.len(), seen.checksum), (2, Some(5)));
    assert_eq!(primary.end(1, "a", started.put), Err(Refusal::NotWriting));
}

#[test]
fn a_part_that_is_revoked_leaves_what_has_ended() {
    let primary = Primary::with_two_segments();
    primary.mount(2, disk(3, "d3", 65536)).unwrap();
    let put = primary.start_as(1, &placed(1, 1), "a", 100).unwrap().put;
    primary.end_scope(1, "a", put, Scope::Memory, None).unwrap();
    primary.revoke(1, "a", put).unwrap();
    assert_eq!(primary.lookup("a").unwrap().places.len(), 1);
    assert_eq!(primary.bytes(), (128, 0));
    assert_eq!(primary.end(1, "a", put), Err(Refusal::NotWriting));
}

#[test]
fn a_part_that_is_late_is_discarded_and_the_rest_stays() {
    let primary = Primary::with_two_segments();
    primary.mount(2, disk(3, "d3", 65536)).unwrap();
    let put = primary.start_as(1, &placed(1, 1), "a", 100).unwrap().put;
    primary.end_scope(1, "a", put, Scope::Memory, None).unwrap();
    primary.pass(30_000);
    assert_eq!(primary.step().puts_discarded, 1);
    assert_eq!(primary.lookup("a").unwrap().places.len(), 1);
    assert_eq!(primary.bytes(), (128, 128));
}

#[test]
fn files_of_a_disk_segment_have_names_of_their_own() {
    let primary = Primary::new();
    primary.mount(1, disk(1, "d1", 1000)).unwrap();
    let first = primary.put_as(1, &placed(0, 1), "a", 100).places[0];
    let second = primary.put_as(1, &placed(0, 1), "b", 100).places[0];
    let view = primary.state.view();
    let info = view.segment(first.segment).unwrap();
    assert_ne!(info.file_path(first.address), info.file_path(second.address));
    assert!(info.file_path(first.address).starts_with("/data/"));
    assert_eq!(refusal(primary.start_as(1, &placed(0, 1), "c", 1000)), Refusal::NoSpace);
}

#[test]
fn the_same_key_twice_in_one_call_is_one_put() {
    let primary = Primary::with_two_segments();
    let item = understudy_metadata::PutStartItem { key: b"a", size: 10 };
    let answer = primary.state.put_start(&primary.call(1), &placed(1, 0), &[item, item]).unwrap();
    assert!(answer.results[0].is_ok());
    assert_eq!(answer.results[1].as_ref().unwrap_err(), &Refusal::WriteInProgress);
}
